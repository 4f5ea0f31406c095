"""Pipeline: from a push to a released image, through CodePipeline."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from slipway import iam
from slipway._rules import check_name, refuse
from slipway.artifacts import ArtifactStore
from slipway.build import Build
from slipway.iam import Place, Statement, allow
from slipway.service import Service
from slipway.sources import CodeCommit, Connection, Source

Action = aws.codepipeline.PipelineStageActionArgs


@dataclass(frozen=True, kw_only=True)
class Approval:
    """Somebody looks at what is about to be released, and says yes in the console or by PutApprovalResult.

    https://docs.aws.amazon.com/codepipeline/latest/userguide/approvals.html
    """


@dataclass(frozen=True, kw_only=True)
class DeployStage:
    """A stage that releases to one Service; it is named after the service's environment."""

    service: Service
    """What is released to."""

    approval: Approval | None = None
    """Wait for an approval first; releases go ahead by themselves without it."""


@dataclass(frozen=True, kw_only=True)
class PipelineArgs:
    """What a Pipeline can be told."""

    source: Source
    """Where commits come from."""

    build: Build
    """What makes an image of a commit."""

    stages: Sequence[DeployStage]
    """Where the image is released, one after the other."""

    def __post_init__(self) -> None:
        names = [stage.service.environment_name for stage in self.stages]
        refuse(
            # Of the 50 stages a pipeline may have, two are Source and Build.
            (not 1 <= len(names) <= 48, f"stages must be 1 to 48 deploy stages, got {len(names)}"),
            (len(set(names)) < len(names), f"stages must have services in different environments, got {names}"),
        )


class Pipeline(pulumi.ComponentResource):
    """A CodePipeline V2 that a push starts, and that a newer commit overtakes while it waits.

    `name` is the pipeline's name. https://docs.aws.amazon.com/codepipeline/latest/userguide/welcome.html
    """

    pipeline_name: str
    arn: pulumi.Output[str]
    console_url: pulumi.Output[str]
    role_name: pulumi.Output[str]

    def __init__(self, name: str, args: PipelineArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Create the pipeline.

        Raises ValueError if `name` cannot be the name of a pipeline.
        """
        check_name("pipeline", name)
        super().__init__("slipway:index:Pipeline", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        place = Place.of(self)
        artifacts = args.build.artifacts

        role, policy = iam.role(
            f"{name}-pipeline",
            iam.trust("codepipeline.amazonaws.com", place.same_account()),
            pipeline_statements(args, artifacts, place),
            child,
        )
        pipeline = aws.codepipeline.Pipeline(
            name,
            name=name,
            pipeline_type="V2",
            # A newer commit replaces those that wait, and never passes one that is being released.
            execution_mode="SUPERSEDED",
            role_arn=role.arn,
            artifact_stores=[
                aws.codepipeline.PipelineArtifactStoreArgs(
                    type="S3",
                    location=artifacts.bucket_name,
                    encryption_key=aws.codepipeline.PipelineArtifactStoreEncryptionKeyArgs(
                        type="KMS", id=artifacts.key_arn
                    ),
                )
            ],
            stages=[
                aws.codepipeline.PipelineStageArgs(name="Source", actions=[source_action(args.source)]),
                aws.codepipeline.PipelineStageArgs(name="Build", actions=[build_action(args.build)]),
                *(deploy_stage(name, stage, args.build) for stage in args.stages),
            ],
            triggers=triggers(args.source),
            opts=child.merge(pulumi.ResourceOptions(depends_on=[policy])),
        )
        if isinstance(args.source, CodeCommit):
            start_on_push(name, args.source, pipeline, place, child)
        for stage in args.stages:
            aws.iam.RolePolicy(
                f"{name}-{stage.service.environment_name}-confirm",
                role=stage.service.release_function.role_name,
                # The release function believes this pipeline, because it can ask it.
                policy=iam.document(allow("codepipeline:ListActionExecutions", on=pipeline.arn)),
                opts=child,
            )

        self.pipeline_name = name
        self.arn = pipeline.arn
        self.console_url = pulumi.Output.concat(
            "https://", place.region, f".console.aws.amazon.com/codesuite/codepipeline/pipelines/{name}/view"
        )
        self.role_name = role.name
        self.register_outputs(
            {
                "pipeline_name": name,
                "arn": self.arn,
                "console_url": self.console_url,
                "role_name": self.role_name,
            }
        )


def pipeline_statements(args: PipelineArgs, artifacts: ArtifactStore, place: Place) -> list[Statement]:
    """What the pipeline's own role needs, action by action.

    https://docs.aws.amazon.com/codepipeline/latest/userguide/how-to-custom-role.html
    """
    statements = [*artifacts.statements(), *args.source.statements(place), *args.build.run_statements()]
    if isinstance(args.source, CodeCommit):
        statements.append(artifacts.list_statement())
    if isinstance(args.source, Connection):
        statements.append(artifacts.acl_statement())
    statements += [stage.service.release_function.invoke_statement() for stage in args.stages]
    # The Lambda action asks for this; it takes no resource.
    # https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-Lambda.html
    statements.append(allow("lambda:ListFunctions", on="*"))
    return statements


def source_action(source: Source) -> Action:
    return Action(
        name="Source",
        category="Source",
        owner="AWS",
        provider=source.provider,
        version="1",
        configuration=source.configuration(),
        output_artifacts=["SourceArtifact"],
        namespace="Source",
    )


def build_action(build: Build) -> Action:
    commit = [{"name": "COMMIT_ID", "value": "#{Source.CommitId}", "type": "PLAINTEXT"}]
    return Action(
        name="Build",
        category="Build",
        owner="AWS",
        provider="CodeBuild",
        version="1",
        configuration={"ProjectName": build.project_name, "EnvironmentVariables": json.dumps(commit)},
        input_artifacts=["SourceArtifact"],
        output_artifacts=["BuildArtifact"],
        namespace="Build",
    )


def deploy_stage(pipeline: str, stage: DeployStage, build: Build) -> aws.codepipeline.PipelineStageArgs:
    """The approval, if there is one, and the release. While they wait, a newer run waits behind this stage."""
    actions = [] if stage.approval is None else [approval_action(stage.service, build)]
    deploy = deploy_action(pipeline, stage.service, build, run_order=len(actions) + 1)
    return aws.codepipeline.PipelineStageArgs(name=stage.service.environment_name, actions=[*actions, deploy])


def approval_action(service: Service, build: Build) -> Action:
    told = ["commit #{Source.CommitId}"]
    if "IMAGE_DIGEST" in build.exported_variables:
        told.append("image #{Build.IMAGE_DIGEST}")
    return Action(
        name="Approve",
        category="Approval",
        owner="AWS",
        provider="Manual",
        version="1",
        configuration={"CustomData": f"Release to {service.environment_name}: " + ", ".join(told)},
        run_order=1,
    )


def deploy_action(pipeline: str, service: Service, build: Build, run_order: int) -> Action:
    """One action that does the whole of a release, and reports how it ended."""
    parameters = {
        "pipeline": pipeline,
        "execution": "#{codepipeline.PipelineExecutionId}",
        "commit": "#{Source.CommitId}",
    }
    if "IMAGE_DIGEST" in build.exported_variables:
        parameters["digest"] = "#{Build.IMAGE_DIGEST}"  # what was approved is what is deployed
    return Action(
        name="Deploy",
        category="Invoke",
        owner="AWS",
        provider="Lambda",
        version="1",
        configuration={
            "FunctionName": service.release_function.function_name,
            "UserParameters": json.dumps(parameters),
        },
        input_artifacts=["BuildArtifact"],
        namespace=f"Deploy-{service.environment_name}",
        run_order=run_order,
    )


def triggers(source: Source) -> list[aws.codepipeline.PipelineTriggerArgs] | None:
    """A connection starts the pipeline by a trigger; other sources by a rule of EventBridge.

    https://docs.aws.amazon.com/codepipeline/latest/userguide/pipelines-filter.html
    """
    if not isinstance(source, Connection):
        return None
    push = aws.codepipeline.PipelineTriggerGitConfigurationPushArgs(
        branches=aws.codepipeline.PipelineTriggerGitConfigurationPushBranchesArgs(includes=[source.branch])
    )
    return [
        aws.codepipeline.PipelineTriggerArgs(
            provider_type="CodeStarSourceConnection",
            git_configuration=aws.codepipeline.PipelineTriggerGitConfigurationArgs(
                source_action_name="Source", pushes=[push]
            ),
        )
    ]


def start_on_push(
    name: str, source: CodeCommit, pipeline: aws.codepipeline.Pipeline, place: Place, child: pulumi.ResourceOptions
) -> None:
    """Start the pipeline by an event, and let EventBridge do that and nothing else.

    https://docs.aws.amazon.com/codepipeline/latest/userguide/pipelines-trigger-source-repo-changes-cfn.html
    """
    pattern: dict[str, Any] = source.event_pattern(place)
    rule = aws.cloudwatch.EventRule(
        f"{name}-push",
        description=f"A push to {source.branch} of {source.repository}",
        event_pattern=pulumi.Output.json_dumps(pattern, sort_keys=True),
        opts=child,
    )
    role, policy = iam.role(
        f"{name}-push",
        iam.trust("events.amazonaws.com", place.only_for(rule.arn)),
        [allow("codepipeline:StartPipelineExecution", on=pipeline.arn)],
        child,
    )
    aws.cloudwatch.EventTarget(
        f"{name}-push-target",
        rule=rule.name,
        arn=pipeline.arn,
        role_arn=role.arn,
        opts=child.merge(pulumi.ResourceOptions(depends_on=[policy])),
    )
