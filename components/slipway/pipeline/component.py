"""Pipeline: from a source to a released image, through CodePipeline."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import pulumi
import pulumi_aws as aws

from slipway import iam
from slipway._rules import check_name, refuse
from slipway.artifacts import ArtifactStore
from slipway.build.component import Build
from slipway.iam import Scope, Statement, allow
from slipway.pipeline import actions as _actions
from slipway.pipeline.actions import Release
from slipway.pipeline.commands import CodeScan, CommandProject, CommandProjectArgs, VpcConfig
from slipway.pipeline.notifications import Notifications, Notifier, NotifierArgs, subscribe
from slipway.pipeline.scan_gate import ScanGate, ScanGateFunction, ScanGateFunctionArgs
from slipway.pipeline.sources import CodeCommit, Connection, EcrImage, Source
from slipway.pipeline.stages import DeployStage, Window
from slipway.release.function.contract import Exported
from slipway.release.lambda_function import invoke_on_event
from slipway.service.component import Service
from slipway.strategies import Rolling, Strategy

RESERVED_VARIABLES = (
    _actions.RELEASE_DIGEST,
    *_actions.VARIABLES_OF,
    "COMMIT_ID",
    "REPOSITORY_URL",
    "CONTAINER_NAME",
    "CONTEXT",
    "DOCKERFILE",
    "TEST_COMMANDS",
    "BUILD_ARGS",
    "BUILDER_IMAGE",
    "BUILDX_BUILDER",
    "PATH",
    "HOME",
    "TMPDIR",
    "BASH_ENV",
    "IFS",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
)
"""What a pipeline and its build call variables of their own, and what would change how their shell runs commands."""


@dataclass(frozen=True, kw_only=True)
class PipelineSettings:
    """Settings of a Pipeline that a stack file can have too."""

    execution_mode: str = "SUPERSEDED"
    """What becomes of runs that wait for a stage: a newer one replaces them (SUPERSEDED), or they keep their order
    (QUEUED)."""

    variables: Mapping[str, str] = field(default_factory=dict)
    """Variables that somebody who starts the pipeline can set, with their defaults; the build and the code scans have
    them as environment variables. They are read with the AWS CLI, which the `image` of a code scan has to have; a
    buildspec of your own reads them itself, by PIPELINE_NAME and PIPELINE_EXECUTION_ID."""

    parallel_scans: bool = False
    """Run the code scans side by side, and not one after the other. Each is a build: CodeBuild's quota of concurrent
    builds, which can be 1 in a new account, has to allow that."""

    def __post_init__(self) -> None:
        bad = [name for name in self.variables if not re.fullmatch(r"(?!CODEBUILD_|AWS_)[A-Za-z_]\w{0,127}", name)]
        values = [name for name, value in self.variables.items() if not 1 <= len(value) <= 1000]
        taken = [name for name in self.variables if name in RESERVED_VARIABLES]
        settings = _actions.environment({"COMMIT_ID": "", **_actions.variable_names("", self.variables)})
        refuse(
            (
                self.execution_mode == "PARALLEL",
                "execution_mode must not be PARALLEL: runs would pass each other, and an older commit could be "
                "released after a newer one",
            ),
            (
                self.execution_mode not in ("SUPERSEDED", "QUEUED", "PARALLEL"),
                f"execution_mode must be one of ['SUPERSEDED', 'QUEUED'], got {self.execution_mode!r}",
            ),
            (
                bool(bad),
                "variables must have names of A-Z a-z 0-9 _ that do not begin with CODEBUILD_ or AWS_, "
                f"got wrong ones: {bad}",
            ),
            (bool(values), f"variables must have defaults of 1 to 1000 characters, got wrong ones of: {values}"),
            (bool(taken), f"variables must not have names that Slipway's own build reads, got {taken}"),
            # A pipeline has 50, one of which names an image; an action's configuration takes 1,000 characters a key,
            # of which the build needs some. https://docs.aws.amazon.com/codepipeline/latest/userguide/limits.html
            (len(self.variables) > 49, f"variables must be at most 49, got {len(self.variables)}"),
            (
                len(settings) > 800,
                f"variables must be fewer, or have shorter names: they take {len(settings)} of 800 characters",
            ),
        )


@dataclass(frozen=True, kw_only=True)
class PipelineArgs(PipelineSettings):
    """Arguments of Pipeline."""

    source: Source
    """Where it takes from what it releases."""

    build: Build | None = None
    """What makes an image of it; none where the source is an image."""

    stages: Sequence[DeployStage] = ()
    """Where the image is released, one after the other; none where it is only built."""

    scan_gate: ScanGate | None = None
    """What stops an image with known vulnerabilities before the first deployment."""

    code_scans: Sequence[CodeScan] = ()
    """What looks at the source before the first deployment."""

    notifications: Notifications | None = None
    """Who hears of failures, recoveries and approvals."""

    def __post_init__(self) -> None:
        super().__post_init__()
        environments = [stage.service.environment_name for stage in self.stages]
        strategies = {stage.service.environment_name: stage.service.strategy for stage in self.stages}
        repository = self.source.repository if isinstance(self.source, EcrImage) else None
        if self.build is not None:
            repository = self.build.registry.repository_name
        elsewhere = [stage.service.registry.repository_name for stage in self.stages]
        refuse(
            *composition_rules(self.source, self.build is not None, strategies, self.code_scans, self.variables),
            (
                len(set(environments)) < len(environments),
                f"stages must have services in different environments, got {environments}",
            ),
            (
                repository is not None and any(other != repository for other in elsewhere),
                f"stages must have services that take images from {repository}, got {elsewhere}",
            ),
        )


def composition_rules(
    source: Source,
    builds: bool,
    strategies: Mapping[str, Strategy],
    scans: Sequence[CodeScan],
    variables: Mapping[str, str],
) -> list[tuple[bool, str]]:
    """What does not go together in a pipeline; `strategies` are those of its environments."""
    is_image, environments = isinstance(source, EcrImage), list(strategies)
    asked = isinstance(source, Connection) and bool(source.pull_requests)
    by_action = [name for name, strategy in strategies.items() if isinstance(strategy, Rolling) and strategy.ecs_action]
    names = [scan.name for scan in scans]
    of_scans = {name for scan in scans for name in (*scan.environment, *scan.secrets)}
    hidden, taken = sorted(set(variables) & of_scans), sorted(set(_actions.VARIABLES_OF) & of_scans)
    return [
        (is_image and builds, "build must not be given with an image as source: it is built already"),
        (not is_image and not builds, "build must be given, unless the source is an image"),
        # Of the 50 stages a pipeline may have, three are Source, Build and Scan.
        (len(environments) > 47, f"stages must be at most 47 deploy stages, got {len(environments)}"),
        (is_image and not environments, "stages must be one or more with an image as source, got none"),
        (
            asked and bool(environments),
            f"stages must be none when pull requests start the pipeline, got {environments}: what a pull request "
            "brings was not reviewed",
        ),
        (
            is_image and bool(by_action),
            f"stages must not have ecs_action with an image as source, as in {by_action}: CodePipeline's ECS action "
            "takes what a build wrote",
        ),
        (is_image and bool(names), f"code_scans must be none with an image as source, got {names}: there is no code"),
        (len(set(names)) < len(names), f"code_scans must have different names, got {names}"),
        (
            bool(hidden),
            f"variables must not have the names that code_scans have in environment or secrets, got {hidden}: "
            "the scan would see the variable instead",
        ),
        (
            bool(variables and taken),
            f"variables must not be given where code_scans have {taken} in environment or secrets: the variables are "
            "read by that",
        ),
    ]


class Pipeline(pulumi.ComponentResource):
    """A CodePipeline V2 that a change of its source starts.

    `name` is the pipeline's name. https://docs.aws.amazon.com/codepipeline/latest/userguide/welcome.html
    """

    pipeline_name: str
    arn: pulumi.Output[str]
    console_url: pulumi.Output[str]
    role_name: pulumi.Output[str]
    connection_arn: pulumi.Output[str] | None
    """Connection that the source is reached through."""
    notifier: Notifier | None

    def __init__(self, name: str, args: PipelineArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Create the pipeline.

        Raises ValueError if `name` cannot be the name of a pipeline.
        """
        check_name("pipeline", name)
        super().__init__("slipway:index:Pipeline", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        scope = Scope.of(self)
        self.arn = scope.arn("codepipeline", name)
        artifacts = args.build.artifacts if args.build else ArtifactStore(f"{name}-artifacts", opts=child)
        source, connection = connected(name, args.source, scope, child)
        release = Release(
            pipeline=name,
            artifact=_actions.BUILD if args.build else _actions.SOURCE,
            source=_actions.SOURCE if args.build else None,
            revision=source.revision,
            digest=f"#{{{_actions.SCAN}.{Exported.IMAGE_DIGEST}}}" if args.scan_gate else None,
            scope=scope,
        )
        gate = scan_gate(name, args, self.arn, child)
        declared = variables(args)
        read_variables = allow("codepipeline:GetPipelineExecution", on=self.arn)
        before: list[pulumi.Resource] = []
        if args.build and declared:
            before.append(read_in_build(name, args.build, read_variables, child))
        read = read_variables if args.variables else None
        scans = {scan.name: code_scan(name, scan, artifacts, read, child) for scan in args.code_scans}
        tests = {stage.service.environment_name: stage_tests(stage, artifacts, child) for stage in args.stages}
        topics = {stage.service.environment_name: approval_topic(name, stage, child) for stage in args.stages}

        statements = [*artifacts.statements(), *source.statements(scope)]
        if isinstance(source, CodeCommit):
            statements.append(artifacts.list_statement())
        if isinstance(source, Connection):
            statements.append(artifacts.acl_statement())
        statements += action_statements(args, gate, [*scans.values()], [t for t in topics.values() if t])
        role, policy = iam.role(
            f"{name}-pipeline",
            iam.trust("codepipeline.amazonaws.com", scope.same_account()),
            statements,
            child,
        )
        stages: list[tuple[str, list[_actions.Action], Window | None]]
        stages = [("Source", [_actions.source_action(source)], None)]
        if args.build:
            stages.append(("Build", [_actions.build_action(args.build, source, name, declared)], None))
        checks = [
            _actions.code_scan_action(scan, project, name, args.variables, 1 if args.parallel_scans else order)
            for order, (scan, project) in enumerate(scans.items(), start=1)
        ]
        checks += [_actions.scan_gate_action(gate, release)] if gate else []
        stages += [(_actions.SCAN, checks, None)] if checks else []
        for stage in args.stages:
            of = stage.service.environment_name
            stages.append((of, _actions.release_actions(release, stage, tests[of], topics[of]), stage.window))
        pipeline = aws.codepipeline.Pipeline(
            name,
            name=name,
            pipeline_type="V2",
            execution_mode=args.execution_mode,
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
                aws.codepipeline.PipelineStageArgs(
                    name=stage, actions=actions, before_entry=_actions.before_entry(window)
                )
                for stage, actions, window in stages
            ],
            triggers=_actions.triggers(source),
            variables=[*declared.values()] or None,
            opts=child.merge(pulumi.ResourceOptions(depends_on=[policy, *before])),
        )
        start_by_event(name, source, pipeline, scope, child)
        for number, stage in enumerate(args.stages, 1):
            allow_stage(name, stage, tests[stage.service.environment_name], artifacts, self.arn, child)
            wake_when_ended(name, number, stage.service, child)
        self.notifier = None
        if args.notifications is not None:
            settings = NotifierArgs(
                notifications=args.notifications, pipeline_name=pipeline.name, pipeline_arn=pipeline.arn
            )
            self.notifier = Notifier(f"{name}-news", settings, opts=child)

        self.pipeline_name = name
        self.connection_arn = connection.arn if connection else None
        self.console_url = pulumi.Output.concat(
            "https://", scope.region, f".console.aws.amazon.com/codesuite/codepipeline/pipelines/{name}/view"
        )
        self.role_name = role.name
        self.register_outputs(
            {
                "pipeline_name": name,
                "arn": self.arn,
                "console_url": self.console_url,
                "role_name": self.role_name,
                "connection_arn": self.connection_arn,
                "notifier": self.notifier,
            }
        )

    def approve_statements(self, environment: str) -> list[Statement]:
        """What somebody needs who approves releases to an environment: see the pipeline, and answer.

        https://docs.aws.amazon.com/codepipeline/latest/userguide/approvals-iam-permissions.html
        """
        return [
            allow(
                "codepipeline:GetPipeline",
                "codepipeline:GetPipelineState",
                "codepipeline:GetPipelineExecution",
                on=self.arn,
            ),
            allow("codepipeline:PutApprovalResult", on=pulumi.Output.concat(self.arn, f"/{environment}/Approve")),
        ]


def connected(
    name: str, source: Source, scope: Scope, child: pulumi.ResourceOptions
) -> tuple[Source, aws.codeconnections.Connection | None]:
    """The source with the connection that it is reached through: a new one, or the one that exists; says so while
    nobody has finished its handshake."""
    if not isinstance(source, Connection):
        return source, None
    if source.arn is not None:
        connection = aws.codeconnections.Connection.get(f"{name}-connection", source.arn, opts=child)
    else:
        connection = aws.codeconnections.Connection(
            f"{name}-connection",
            # A connection's name takes 32 characters.
            name=name[:32].rstrip("-"),
            provider_type=source.provider_type,
            host_arn=source.host_arn,
            opts=child,
        )

    def tell(settings: Sequence[str]) -> None:
        status, arn, region = settings
        if status == "PENDING":
            pulumi.log.warn(
                f"the connection {arn} is PENDING, and the pipeline {name} cannot start: finish its handshake at "
                f"https://{region}.console.aws.amazon.com/codesuite/settings/connections, then start the pipeline",
                connection,
            )

    pulumi.Output.all(connection.connection_status, connection.arn, scope.region).apply(tell)
    # The arguments hold plain text; from here on it is what the connection says of itself.
    arn = cast(str, connection.arn)
    return dataclasses.replace(source, arn=arn, provider_type=None, host_arn=None), connection


def scan_gate(
    name: str, args: PipelineArgs, pipeline_arn: pulumi.Input[str], child: pulumi.ResourceOptions
) -> ScanGateFunction | None:
    if args.scan_gate is None:
        return None
    registry = args.build.registry if args.build else args.stages[0].service.registry
    container = args.build.container_name if args.build else args.stages[0].service.container_name
    return ScanGateFunction(
        f"{name}-scan-gate",
        ScanGateFunctionArgs(
            gate=args.scan_gate, registry=registry, container_name=container, pipeline_arn=pipeline_arn
        ),
        opts=child,
    )


def read_in_build(name: str, build: Build, statement: Statement, child: pulumi.ResourceOptions) -> aws.iam.RolePolicy:
    """Let the build read the variables of this pipeline's executions."""
    return aws.iam.RolePolicy(
        f"{name}-build-variables", role=build.role_name, policy=iam.document(statement), opts=child
    )


def code_scan(
    name: str,
    scan: CodeScan,
    artifacts: ArtifactStore,
    read_variables: Statement | None,
    child: pulumi.ResourceOptions,
) -> CommandProject:
    args = CommandProjectArgs(
        settings=scan,
        description=f"Scans the code of {name} with {scan.name}",
        artifacts=artifacts,
        in_pipeline=True,
        read_variables=read_variables,
    )
    return CommandProject(f"{name}-{scan.name}", args, opts=child)


def stage_tests(stage: DeployStage, artifacts: ArtifactStore, child: pulumi.ResourceOptions) -> CommandProject | None:
    if stage.tests is None:
        return None
    service = stage.service
    args = CommandProjectArgs(
        settings=stage.tests,
        description=f"Tests {service.service_name} when a release is live",
        artifacts=artifacts,
        in_pipeline=False,
        vpc=VpcConfig(vpc_id=service.vpc_id, subnet_ids=service.subnet_ids, security_group_id=service.security_group_id)
        if stage.tests.in_vpc
        else None,
    )
    return CommandProject(f"{service.service_name}-tests", args, opts=child)


def approval_topic(name: str, stage: DeployStage, child: pulumi.ResourceOptions) -> aws.sns.Topic | None:
    """A topic whose subscribers are asked for an approval."""
    if stage.approval is None or not stage.approval.notify:
        return None
    topic_name = f"{name}-{stage.service.environment_name}-approval"
    topic = aws.sns.Topic(topic_name, kms_master_key_id="alias/aws/sns", opts=child)
    subscribe(topic_name, stage.approval.notify, topic, child)
    return topic


def action_statements(
    args: PipelineArgs, gate: ScanGateFunction | None, scans: Sequence[CommandProject], topics: Sequence[aws.sns.Topic]
) -> list[Statement]:
    """What the pipeline's own role needs for its actions.

    https://docs.aws.amazon.com/codepipeline/latest/userguide/how-to-custom-role.html
    """
    statements = args.build.run_statements() if args.build else []
    for scan in scans:
        statements += scan.run_statements()
    if gate is not None:
        statements.append(gate.invoke_statement())
    for stage in args.stages:
        statements += [stage.service.release_function.invoke_statement(), *stage.service.deploy_statements()]
    if gate is not None or args.stages:
        # The Lambda action asks for this; it takes no resource.
        # https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-Lambda.html
        statements.append(allow("lambda:ListFunctions", on="*"))
    if topics:
        statements.append(allow("sns:Publish", on=[topic.arn for topic in topics]))
    return statements


def wake_when_ended(name: str, number: int, service: Service, child: pulumi.ResourceOptions) -> None:
    """Nothing rests on this event. It ends what a release leaves behind that was stopped.

    The rule has the stage's number, since with its environment the name could be longer than a rule's may be.
    """
    invoke_on_event(
        f"{name}-ended-{number}",
        "An execution of the pipeline did not succeed",
        {
            "source": ["aws.codepipeline"],
            "detail-type": ["CodePipeline Pipeline Execution State Change"],
            "detail": {"pipeline": [name], "state": ["CANCELED", "FAILED", "STOPPED", "SUPERSEDED"]},
        },
        service.release_function.function_name,
        service.release_function.function_arn,
        child,
    )


def allow_stage(
    name: str,
    stage: DeployStage,
    tests: CommandProject | None,
    artifacts: ArtifactStore,
    pipeline_arn: pulumi.Input[str],
    child: pulumi.ResourceOptions,
) -> None:
    """What those who release need of this pipeline."""
    service = stage.service
    aws.iam.RolePolicy(
        f"{name}-{service.environment_name}-confirm",
        role=service.release_function.role_name,
        policy=iam.document(
            # The release function accepts an event of this pipeline only after asking it.
            allow("codepipeline:GetPipelineExecution", "codepipeline:ListActionExecutions", on=pipeline_arn),
            *(tests.run_statements() if tests else []),
        ),
        opts=child,
    )
    if service.code_deploy is not None:
        aws.iam.RolePolicy(
            f"{name}-{service.environment_name}-artifacts",
            role=service.code_deploy.role_name,
            policy=iam.document(*artifacts.read_statements()),
            opts=child,
        )


def variables(args: PipelineArgs) -> dict[str, aws.codepipeline.PipelineVariableArgs]:
    """What somebody who starts the pipeline can set, by name.

    https://docs.aws.amazon.com/codepipeline/latest/userguide/reference-variables.html
    """
    declared = {
        name: aws.codepipeline.PipelineVariableArgs(name=name, default_value=value)
        for name, value in sorted(args.variables.items())
    }
    if args.build is not None and args.build.exported_variables:
        declared[_actions.RELEASE_DIGEST] = aws.codepipeline.PipelineVariableArgs(
            name=_actions.RELEASE_DIGEST,
            default_value=_actions.NO_DIGEST,
            description="Digest of an image in the repository, to release it again instead of building one",
        )
    return declared


def start_by_event(
    name: str, source: Source, pipeline: aws.codepipeline.Pipeline, scope: Scope, child: pulumi.ResourceOptions
) -> None:
    """Start the pipeline by an event, and let EventBridge do that and nothing else."""
    pattern = source.event_pattern(scope)
    if pattern is None:
        return
    rule = aws.cloudwatch.EventRule(
        f"{name}-push",
        description=source.change,
        event_pattern=pulumi.Output.json_dumps(pattern, sort_keys=True),
        opts=child,
    )
    role, policy = iam.role(
        f"{name}-push",
        iam.trust("events.amazonaws.com", scope.only_for(rule.arn)),
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
