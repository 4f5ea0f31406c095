"""The actions of a pipeline, in CodePipeline's format.

https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference.html
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from slipway._outputs import concat
from slipway.build.component import BUILD_ARTIFACT, CHECKOUT_ARTIFACT, Build, Project
from slipway.iam import Scope, Statement
from slipway.pipeline.commands import CommandProject
from slipway.pipeline.scan_gate import ScanGateFunction
from slipway.pipeline.sources import Source, SourceParts
from slipway.pipeline.stages import Approval, DeployStage, Window
from slipway.release.function.contract import IMAGE_PLACEHOLDER, Exported, Step, UserParameters, document
from slipway.service.component import Service
from slipway.strategies import Rolling

Action = aws.codepipeline.PipelineStageActionArgs
SOURCE, BUILD, CHECKOUT, SCAN = "SourceArtifact", BUILD_ARTIFACT, CHECKOUT_ARTIFACT, "Scan"
RELEASE_DIGEST = "IMAGE_DIGEST"
"""The pipeline variable with the digest of an image to release again."""
REBUILD = "REBUILD"
"""The pipeline variable with which an image that exists is built again."""
NO_DIGEST = "none"
"""A variable cannot be empty."""
EXECUTION = "#{codepipeline.PipelineExecutionId}"
VARIABLES_OF = ("PIPELINE_NAME", "PIPELINE_EXECUTION_ID", "PIPELINE_VARIABLES")
"""Environment variables that variables.sh reads."""


@dataclass(frozen=True)
class Part:
    """A stage of a pipeline: its actions, and the statements that the pipeline's role needs for them."""

    name: str
    actions: Sequence[Action]
    statements: Sequence[Statement]
    window: Window | None = None
    """When the stage may begin."""


@dataclass(frozen=True)
class Release:
    """What the deploy stages of a pipeline have in common."""

    pipeline: str
    artifact: str
    """Artifact that names the image."""
    source: str | None
    """Artifact with the source files, if the pipeline builds."""
    revision: str
    """Variable with the commit or version from the source."""
    digest: str | None
    """Variable with the image that passed the scan gate, if there is one."""
    scope: Scope


def source_action(source: Source, parts: SourceParts) -> Action:
    return Action(
        name="Source",
        category="Source",
        owner="AWS",
        provider=source.provider,
        version="1",
        configuration=parts.configuration,
        output_artifacts=[SOURCE],
        namespace="Source",
    )


def build_actions(build: Build, source: Source, pipeline: str, variables: Iterable[str]) -> list[Action]:
    """The build; for an image of several CPU architectures one for each, at the same time, and then the index."""
    settings = {"COMMIT_ID": source.revision, **variable_names(pipeline, variables)}
    if build.index is None:
        [project] = build.by_architecture.values()
        return [project_action("Build", project, settings, SOURCE, "Build")]
    names = {architecture: f"Build-{architecture}" for architecture in build.by_architecture}
    actions = [
        project_action(names[architecture], project, settings, SOURCE, names[architecture])
        for architecture, project in build.by_architecture.items()
    ]
    made = {
        "COMMIT_ID": source.revision,
        "IMAGE_DIGESTS": " ".join(f"#{{{name}.{Exported.IMAGE_DIGEST}}}" for name in names.values()),
        "IMAGE_TAGS": " ".join(f"#{{{name}.IMAGE_TAG}}" for name in names.values()),
    }
    return [*actions, project_action("Index", build.index, made, files(source), "Build", order=2)]


def project_action(
    name: str, project: Project, variables: Mapping[str, str], files: str, namespace: str, order: int | None = None
) -> Action:
    return Action(
        name=name,
        category="Build",
        owner="AWS",
        provider="CodeBuild",
        version="1",
        configuration={"ProjectName": project.name, "EnvironmentVariables": environment(variables)},
        input_artifacts=[files],
        output_artifacts=list(project.outputs) or None,
        namespace=namespace,
        run_order=order,
    )


def variable_names(pipeline: str, variables: Iterable[str]) -> dict[str, str]:
    """Environment variables with which variables.sh reads the pipeline's variables; none if the pipeline has no
    variables.

    The script reads the values itself: CodePipeline would insert them into the JSON of `environment` without escaping.
    """
    names = " ".join(sorted(variables))
    return dict(zip(VARIABLES_OF, (pipeline, EXECUTION, names), strict=True)) if names else {}


def environment(variables: Mapping[str, str]) -> str:
    """The environment variables of a build. A value given as `#{...}` must not be one that a person can choose.

    https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-CodeBuild.html"""
    return json.dumps([{"name": name, "value": value, "type": "PLAINTEXT"} for name, value in variables.items()])


def files(source: Source) -> str:
    """The artifact with the source files, for scans and tests."""
    return CHECKOUT if source.full_clone else SOURCE


def code_scan_action(
    name: str, project: CommandProject, source: Source, pipeline: str, variables: Iterable[str], order: int
) -> Action:
    settings = variable_names(pipeline, variables)
    return Action(
        name=name,
        category="Test",
        owner="AWS",
        provider="CodeBuild",
        version="1",
        configuration={"ProjectName": project.project_name, "EnvironmentVariables": environment(settings)}
        if settings
        else {"ProjectName": project.project_name},
        input_artifacts=[files(source)],
        run_order=order,
    )


def scan_gate_action(gate: ScanGateFunction, release: Release) -> Action:
    return function_action("Image", gate.function_name, Step.SCAN, release, namespace=SCAN)


def release_actions(
    release: Release, stage: DeployStage, tests: CommandProject | None, topic: aws.sns.Topic | None
) -> list[Action]:
    """The approval, if there is one, and the release. While they are in progress, newer executions wait."""
    service, actions = stage.service, list[Action]()
    of, function = service.environment_name, service.release_function.function_name
    digest = {} if release.digest is None else {"digest": release.digest}

    if stage.approval is not None:
        actions.append(function_action("Inspect", function, Step.INSPECT, release, f"Inspect-{of}", 1, **digest))
        actions.append(approval_action(stage.approval, service, release, topic, order=2))
        # Deploy exactly the image that was approved.
        digest = {"digest": f"#{{Inspect-{of}.{Exported.IMAGE_DIGEST}}}"}
    if service.code_deploy is not None:
        order, prepared = len(actions) + 1, f"Deployment-{of}"
        # Just before the deployment, so that it has the newest settings.
        prepare = function_action("Prepare", function, Step.PREPARE, release, None, order, [prepared], **digest)
        actions += [prepare, codedeploy_action(service.code_deploy.application_name, prepared, order + 1)]
    if isinstance(service.strategy, Rolling) and service.strategy.ecs_action:
        order = len(actions) + 1
        # The stage claims the image first. Otherwise the release function would treat it as an image that nobody is
        # releasing.
        actions.append(function_action("Prepare", function, Step.PREPARE, release, None, order, **digest))
        actions.append(ecs_action(service, service.strategy, release, order + 1))
    name = "Finish" if actions and actions[-1].provider in ("ECS", "CodeDeployToECS") else "Deploy"
    tested = {"tests": tests.project_name} if tests else {}
    order = len(actions) + 1
    actions.append(function_action(name, function, Step.DEPLOY, release, f"Deploy-{of}", order, **digest, **tested))
    return actions


def function_action(
    name: str,
    function: str,
    step: str,
    release: Release,
    namespace: str | None = None,
    order: int = 1,
    outputs: Sequence[str] = (),
    **more: str,
) -> Action:
    """A step of a release that a function performs; the function reports the result."""
    parameters = document(
        UserParameters,
        step=step,
        pipeline=release.pipeline,
        execution=EXECUTION,
        commit=release.revision,
        **more,
    )
    inputs = [release.artifact]
    if "tests" in more and release.source:
        inputs.append(release.source)
    return Action(
        name=name,
        category="Invoke",
        owner="AWS",
        provider="Lambda",
        version="1",
        configuration={"FunctionName": function, "UserParameters": json.dumps(parameters)},
        input_artifacts=inputs,
        output_artifacts=list(outputs) or None,
        namespace=namespace,
        run_order=order,
    )


def approval_action(
    approval: Approval, service: Service, release: Release, topic: aws.sns.Topic | None, order: int
) -> Action:
    """Reports which image is to be released, which one it replaces, and where to view it."""
    seen = f"Inspect-{service.environment_name}"
    commit, live, digest = (
        f"#{{{seen}.{name}}}" for name in (Exported.COMMIT_ID, Exported.LIVE_COMMIT_ID, Exported.IMAGE_DIGEST)
    )
    console = concat("https://", release.scope.console())
    message = concat(
        f"Release to {service.environment_name}: commit {commit} instead of {live}, image {digest} instead of "
        f"#{{{seen}.{Exported.LIVE_DIGEST}}}. ",
        console,
        f"/codesuite/codepipeline/pipelines/{release.pipeline}/executions/{EXECUTION}/visualization",
    )
    page: pulumi.Input[str]
    if approval.link is not None:
        link = pulumi.Output.from_input(approval.link)
        page = link.apply(lambda link: link.format(commit=commit, live_commit=live, digest=digest))
    else:
        repository = service.registry.repository_name
        page = concat(
            console, "/ecr/repositories/private/", release.scope.account, f"/{repository}/_/image/{digest}/details"
        )
    return Action(
        name="Approve",
        category="Approval",
        owner="AWS",
        provider="Manual",
        version="1",
        configuration={
            "CustomData": message,
            "ExternalEntityLink": page,
            **({"NotificationArn": topic.arn} if topic else {}),
        },
        timeout_in_minutes=approval.timeout_minutes,
        run_order=order,
    )


def codedeploy_action(application: str, artifact: str, order: int) -> Action:
    """https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-ECSbluegreen.html"""
    return Action(
        name="Deploy",
        category="Deploy",
        owner="AWS",
        provider="CodeDeployToECS",
        version="1",
        configuration={
            "ApplicationName": application,
            "DeploymentGroupName": application,
            "TaskDefinitionTemplateArtifact": artifact,
            "AppSpecTemplateArtifact": artifact,
            "Image1ArtifactName": artifact,
            "Image1ContainerName": IMAGE_PLACEHOLDER,
        },
        input_artifacts=[artifact],
        run_order=order,
    )


def ecs_action(service: Service, strategy: Rolling, release: Release, order: int) -> Action:
    """https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-ECS.html"""
    return Action(
        name="Deploy",
        category="Deploy",
        owner="AWS",
        provider="ECS",
        version="1",
        configuration={
            "ClusterName": service.cluster_name,
            "ServiceName": service.service_name,
            "DeploymentTimeout": str(strategy.deadline_minutes),
        },
        input_artifacts=[release.artifact],
        run_order=order,
    )


def before_entry(window: Window | None) -> aws.codepipeline.PipelineStageBeforeEntryArgs | None:
    """https://docs.aws.amazon.com/codepipeline/latest/userguide/stage-conditions.html"""
    if window is None:
        return None
    rule = aws.codepipeline.PipelineStageBeforeEntryConditionRuleArgs(
        name="Window",
        rule_type_id=aws.codepipeline.PipelineStageBeforeEntryConditionRuleRuleTypeIdArgs(
            category="Rule", owner="AWS", provider="DeploymentWindow", version="1"
        ),
        configuration={"Cron": window.cron, "TimeZone": window.time_zone},
    )
    return aws.codepipeline.PipelineStageBeforeEntryArgs(
        condition=aws.codepipeline.PipelineStageBeforeEntryConditionArgs(result="FAIL", rules=[rule])
    )
