# Exports the pipeline's variables with the values that they have in this execution.
#
# Reads    PIPELINE_NAME           the pipeline
#          PIPELINE_EXECUTION_ID   the execution
#          PIPELINE_VARIABLES      names of variables, separated by spaces
#
# CodePipeline pastes a value into the JSON of an action's EnvironmentVariables as it is, so that a quote in it breaks the
# build, and whoever may start the pipeline could set any other variable of the build. Here a value is only a value.
# https://docs.aws.amazon.com/codepipeline/latest/APIReference/API_GetPipelineExecution.html
slipway_export_variables() {
  local name value
  for name in ${PIPELINE_VARIABLES:-}; do
    # The dot keeps newlines at the end, which $(...) would drop.
    if ! value=$(aws codepipeline get-pipeline-execution --pipeline-name "$PIPELINE_NAME" \
      --pipeline-execution-id "$PIPELINE_EXECUTION_ID" --output text \
      --query "(pipelineExecution.variables || \`[]\`)[?name=='$name'].resolvedValue" && printf .); then
      printf 'slipway: the variable %s of the pipeline %s could not be read: the error is above; %s\n' "$name" "$PIPELINE_NAME" \
        "the image needs the AWS CLI, and the project's role codepipeline:GetPipelineExecution on the pipeline." >&2
      return 1
    fi
    if [ "$value" = . ]; then
      printf 'slipway: this execution has no value for the variable %s.\n' "$name"
      continue
    fi
    value=${value%$'\n.'}
    # Beyond this function, also one that is called as its own variables are.
    declare -gx "$name=$value"
  done
}
slipway_export_variables
