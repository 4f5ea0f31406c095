"""Pipeline: from a source to a released image, through CodePipeline."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import pulumi
import pulumi_aws as aws

from slipway import iam
from slipway._constraints import Must, check, items, match, one_of
from slipway._outputs import concat
from slipway._rules import check_args, check_name
from slipway._secrets import plaintext_rules, plaintext_values
from slipway.artifacts import ArtifactStore
from slipway.build.component import Build
from slipway.iam import Scope, Statement, allow
from slipway.pipeline import actions as _actions
from slipway.pipeline.actions import Part, Release
from slipway.pipeline.commands import CodeScan, CommandProject, CommandProjectArgs, VpcConfig
from slipway.pipeline.notifications import Notifications, Notifier, NotifierArgs, subscribe
from slipway.pipeline.scan_gate import ScanGate, ScanGateFunction, ScanGateFunctionArgs
from slipway.pipeline.sources import EcrImage, Source, SourceParts
from slipway.pipeline.stages import DeployStage
from slipway.release.function.contract import Exported
from slipway.release.lambda_function import invoke_on_event
from slipway.service.component import Service
from slipway.strategies import Rolling, Strategy

RESERVED_VARIABLES = (
    _actions.RELEASE_DIGEST,
    _actions.REBUILD,
    *_actions.VARIABLES_OF,
    "COMMIT_ID",
    "REPOSITORY_URL",
    "CONTAINER_NAME",
    "CONTEXT",
    "DOCKERFILE",
    "TARGET",
    "TEST_COMMANDS",
    "BUILD_ARGS",
    "BUILD_SECRETS",
    "PULL_REGISTRIES",
    "REGISTRY_LOGINS",
    "DOCKER_HUB_MIRROR",
    "BUILDKITD_CONFIG",
    "CACHE_TAG",
    "SBOM_GENERATOR",
    "BUILDER_IMAGE",
    "BUILDX_BUILDER",
    "BUILDX_CONFIG",
    "BUILDKIT_HOST",
    "DOCKER_CONFIG",
    "DOCKER_CONTEXT",
    "DOCKER_HOST",
    "PATH",
    "HOME",
    "TMPDIR",
    "BASH_ENV",
    "IFS",
    "LD_AUDIT",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "PS4",
    # A shell does not let these be set.
    "BASHOPTS",
    "BASH_VERSINFO",
    "EUID",
    "PPID",
    "SHELLOPTS",
    "UID",
)
"""Variables that the pipeline and its build define themselves, or that would change how a shell runs commands, or
which builder it uses."""
RESERVED_PREFIXES = ("BUILD_SECRET_", "REGISTRY_LOGIN_")
# The Lambda action requires this; it supports no resource.
# https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-Lambda.html
LIST_FUNCTIONS = allow("lambda:ListFunctions", on="*")

# A pipeline allows 50 stages, three of which are Source, Build and Scan; a stage allows 50 actions, one of which is the
# scan gate. https://docs.aws.amazon.com/codepipeline/latest/userguide/limits.html
MOST_STAGES, MOST_SCANS = 47, 49
INSTEAD = "read it from Secrets Manager in the commands"
VariableName = Annotated[
    str,
    match(
        r"(?!CODEBUILD_|AWS_)[A-Za-z_][A-Za-z0-9_]*",
        "be a name of A-Z a-z 0-9 _ that does not begin with a digit, CODEBUILD_ or AWS_,",
        "LEVEL",
        ["A-B", "1A", "\u00c4", "CODEBUILD_X", "AWS_REGION"],
        longest=128,
    ),
]
VariableDefault = Annotated[
    pulumi.Input[str],
    Must(
        "be one line of 1 to 1000 characters",
        lambda value: re.fullmatch(r"[^\r\n]{1,1000}", value) is not None,
        {"pattern": r"^[^\r\n]{1,1000}$"},
        good=["x", "x" * 1000],
        bad=["", "x" * 1001, "a\nb"],
    ),
]
"""https://docs.aws.amazon.com/codepipeline/latest/APIReference/API_PipelineVariableDeclaration.html"""


@dataclass(frozen=True, kw_only=True)
class PipelineSettings:
    """Settings of a Pipeline that can also be set in a stack file."""

    execution_mode: Annotated[str, one_of(("SUPERSEDED", "QUEUED"))] = "SUPERSEDED"
    """How waiting executions are handled: SUPERSEDED (only the newest runs) or QUEUED (all run, in order). PARALLEL is
    not supported, because it could release an older commit after a newer one."""

    # A pipeline allows 50 variables, two of which are IMAGE_DIGEST and REBUILD.
    # https://docs.aws.amazon.com/codepipeline/latest/userguide/limits.html
    variables: Annotated[Mapping[VariableName, VariableDefault], items(most=48)] = field(default_factory=dict)
    """Variables that can be set when the pipeline is started, with their defaults. The build and the code scans have
    them as environment variables. They are read with the AWS CLI, which the `image` of a code scan must contain. Your
    own buildspec reads them itself, with PIPELINE_NAME and PIPELINE_EXECUTION_ID."""

    not_secret: Sequence[str] = ()
    """Names of `variables` whose defaults look like credentials but are not."""

    parallel_scans: bool = False
    """Run the code scans in parallel instead of one after the other. Each scan is a build, so CodeBuild's quota of
    concurrent builds, which can be 1 in a new account, must allow it."""

    def __post_init__(self) -> None:
        check(self)

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        taken = [name for name in self.variables if name in RESERVED_VARIABLES or name.startswith(RESERVED_PREFIXES)]
        yield bool(taken), f"variables must not have names that Slipway's build uses, got {taken}"
        settings = _actions.environment({"COMMIT_ID": "", **_actions.variable_names("", self.variables)})
        # CodePipeline limits a value of an action's configuration to 1,000 characters, of which the build needs some.
        # https://docs.aws.amazon.com/codepipeline/latest/userguide/limits.html
        yield (
            len(settings) > 800,
            f"variables must have names of at most 800 characters in total, got {len(settings)}: use fewer or "
            "shorter names",
        )
        yield from plaintext_rules("variables", self.variables, self.not_secret, INSTEAD)


@dataclass(frozen=True, kw_only=True)
class PipelineArgs(PipelineSettings):
    """Arguments of Pipeline."""

    source: Source
    """Source of the releases."""

    build: Build | None = None
    """Build that creates the image; none if the source is an image."""

    stages: Annotated[Sequence[DeployStage], items(most=MOST_STAGES)] = ()
    """Deploy stages, in order. Without any, the image is only built."""

    scan_gate: ScanGate | None = None
    """Blocks images with known vulnerabilities before the first deployment."""

    code_scans: Annotated[Sequence[CodeScan], items(most=MOST_SCANS)] = ()
    """Checks of the source before the first deployment."""

    notifications: Notifications | None = None
    """Who is notified of failures, recoveries and approvals."""

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        yield from super().cross_checks()
        environments = [stage.service.environment_name for stage in self.stages]
        strategies = {stage.service.environment_name: stage.service.strategy for stage in self.stages}
        yield from composition_rules(self.source, self.build is not None, strategies, self.code_scans, self.variables)
        yield (
            len(set(environments)) < len(environments),
            f"stages must have services in different environments, got {environments}",
        )
        yield (
            self.build is not None and self.build.full_clone != self.source.full_clone,
            f"build must have full_clone={self.source.full_clone}, as source has: with it, it outputs the files of the "
            "commit too",
        )
        repository = self.build.registry.repository_name if self.build else self.source.image_repository
        elsewhere = [stage.service.registry.repository_name for stage in self.stages]
        yield (
            isinstance(repository, str) and any(other != repository for other in elsewhere),
            f"stages must have services that take images from {repository}, got {elsewhere}",
        )


def composition_rules(
    source: Source,
    builds: bool,
    strategies: Mapping[str, Strategy],
    scans: Sequence[CodeScan],
    variables: Mapping[str, pulumi.Input[str]],
) -> Iterator[tuple[bool, str]]:
    """Rules for combinations of a pipeline's arguments; `strategies` are those of its environments."""
    is_image, environments = source.image_repository is not None, list(strategies)
    yield is_image and builds, "build must not be set if the source is an image: it is built already"
    yield not is_image and not builds, "build must be given, unless the source is an image"
    yield is_image and not environments, "stages must not be empty if the source is an image"
    by_action = [name for name, strategy in strategies.items() if isinstance(strategy, Rolling) and strategy.ecs_action]
    yield (
        is_image and bool(by_action),
        f"stages must not have ecs_action with an image as source, as in {by_action}: CodePipeline's ECS action takes "
        "what a build wrote",
    )
    tag = source.tag if isinstance(source, EcrImage) else ""
    yield (
        any(re.fullmatch(rf"live-{name}|verified-{name}(-\d+)?", tag) for name in map(re.escape, environments)),
        f"source must not be the tag {tag}, which the releases of this pipeline move: each would start it again",
    )
    names = [scan.name for scan in scans]
    yield is_image and bool(names), f"code_scans must be empty if the source is an image, got {names}: there is no code"
    yield len(set(names)) < len(names), f"code_scans must have different names, got {names}"
    of_scans = {name for scan in scans for name in (*scan.environment, *scan.secrets)}
    hidden, taken = sorted(set(variables) & of_scans), sorted(set(_actions.VARIABLES_OF) & of_scans)
    yield (
        bool(hidden),
        f"variables must not have the names that code_scans have in environment or secrets, got {hidden}: the "
        "scan would get the variable instead",
    )
    yield (
        bool(variables and taken),
        f"variables must not be given where code_scans have {taken} in environment or secrets: the variables "
        "are read by that",
    )


class Pipeline(pulumi.ComponentResource):
    """A CodePipeline V2 pipeline that starts when its source changes.

    `name` is the pipeline's name. https://docs.aws.amazon.com/codepipeline/latest/userguide/welcome.html
    """

    pipeline_name: str
    arn: pulumi.Output[str]
    console_url: pulumi.Output[str]
    role_name: pulumi.Output[str]
    connection_arn: pulumi.Output[str] | None
    """Connection to the source's repository."""
    notifier: Notifier | None

    def __init__(self, name: str, args: PipelineArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Create the pipeline.

        Raises ValueError if `name` is not a valid pipeline name.
        """
        check_name("pipeline", name)
        check_args(args, PipelineArgs)
        super().__init__("slipway:index:Pipeline", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        scope = Scope.of(self)
        arn = scope.arn("codepipeline", name)
        artifacts = args.build.artifacts if args.build else ArtifactStore(f"{name}-artifacts", opts=child)
        source = args.source.parts(name, scope, artifacts, child)
        gate = scan_gate(name, args, arn, child)
        release = Release(
            pipeline=name,
            artifact=_actions.BUILD if args.build else _actions.SOURCE,
            source=_actions.files(args.source) if args.build else None,
            revision=args.source.revision,
            digest=f"#{{{_actions.SCAN}.{Exported.IMAGE_DIGEST}}}" if args.scan_gate else None,
            scope=scope,
        )
        # Without a build there is no source code that the tests could get.
        tests = [stage_tests(stage, artifacts if args.build else None, child) for stage in args.stages]
        parts = [
            Part("Source", [_actions.source_action(args.source, source)], source.statements),
            *build_part(name, args),
            *scan_part(name, args, gate, release, artifacts, child),
            *(deploy_part(name, stage, of, release, child) for stage, of in zip(args.stages, tests, strict=True)),
        ]
        pipeline, role = create(name, args, parts, source, artifacts, scope, child)
        start_by_event(name, source, pipeline, scope, child)
        for number, (stage, of) in enumerate(zip(args.stages, tests, strict=True), 1):
            allow_stage(name, stage, of, artifacts, arn, child)
            wake_when_ended(name, number, stage.service, child)

        self.notifier = notifier(name, args, pipeline, child)
        self.arn = pulumi.Output.from_input(arn)
        self.pipeline_name = name
        self.connection_arn = source.connection_arn
        view = f"/codesuite/codepipeline/pipelines/{name}/view"
        self.console_url = pulumi.Output.from_input(concat("https://", scope.console(), view))
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
        """IAM statements for people who approve releases to an environment: view the pipeline, and answer the approval.

        https://docs.aws.amazon.com/codepipeline/latest/userguide/approvals-iam-permissions.html
        """
        return [
            allow(
                "codepipeline:GetPipeline",
                "codepipeline:GetPipelineState",
                "codepipeline:GetPipelineExecution",
                on=self.arn,
            ),
            allow("codepipeline:PutApprovalResult", on=concat(self.arn, f"/{environment}/Approve")),
        ]


def create(
    name: str,
    args: PipelineArgs,
    parts: Sequence[Part],
    source: SourceParts,
    artifacts: ArtifactStore,
    scope: Scope,
    child: pulumi.ResourceOptions,
) -> tuple[aws.codepipeline.Pipeline, aws.iam.Role]:
    """The pipeline resource and its role."""
    role, policy = iam.role(
        f"{name}-pipeline",
        iam.trust("codepipeline.amazonaws.com", scope.same_account()),
        added_up([*artifacts.statements(), *(statement for part in parts for statement in part.statements)]),
        child,
    )
    declared = variables(args)
    before: list[pulumi.Resource] = [policy]
    if args.build and declared:
        before += in_builds(name, "variables", args.build, [read_variables(name, scope)], child)
    if args.build and source.clone_statements:
        before += in_builds(name, "clone", args.build, source.clone_statements, child)
    key = aws.codepipeline.PipelineArtifactStoreEncryptionKeyArgs(type="KMS", id=artifacts.key_arn)
    pipeline = aws.codepipeline.Pipeline(
        name,
        name=name,
        pipeline_type="V2",
        execution_mode=args.execution_mode,
        role_arn=role.arn,
        artifact_stores=[
            aws.codepipeline.PipelineArtifactStoreArgs(type="S3", location=artifacts.bucket_name, encryption_key=key)
        ],
        stages=[
            aws.codepipeline.PipelineStageArgs(
                name=part.name, actions=list(part.actions), before_entry=_actions.before_entry(part.window)
            )
            for part in parts
        ],
        triggers=source.triggers,
        variables=[*declared.values()] or None,
        opts=child.merge(pulumi.ResourceOptions(depends_on=before)),
    )
    return pipeline, role


def added_up(statements: Iterable[Statement]) -> list[Statement]:
    """These statements without duplicates; those with the same actions and lists of resources are merged."""
    found: list[Statement] = []
    for statement in statements:
        same = [
            other
            for other in found
            if {**other, "Resource": None} == {**statement, "Resource": None}
            and isinstance(other["Resource"], list)
            and isinstance(statement["Resource"], list)
        ]
        if same:
            same[0]["Resource"] = [*same[0]["Resource"], *statement["Resource"]]
        elif statement not in found:
            found.append({**statement})
    return found


def build_part(name: str, args: PipelineArgs) -> list[Part]:
    if args.build is None:
        return []
    actions = _actions.build_actions(args.build, args.source, name, variables(args))
    return [Part("Build", actions, args.build.run_statements())]


def scan_part(
    name: str,
    args: PipelineArgs,
    gate: ScanGateFunction | None,
    release: Release,
    artifacts: ArtifactStore,
    child: pulumi.ResourceOptions,
) -> list[Part]:
    """The stage with the code scans and the image scan, if there are any."""
    actions, statements = list[_actions.Action](), list[Statement]()
    read = read_variables(name, release.scope) if args.variables else None
    for order, scan in enumerate(args.code_scans, start=1):
        project = code_scan(name, scan, artifacts, read, child)
        order = 1 if args.parallel_scans else order
        actions.append(_actions.code_scan_action(scan.name, project, args.source, name, args.variables, order))
        statements += project.run_statements()
    if gate is not None:
        actions.append(_actions.scan_gate_action(gate, release))
        statements += [gate.invoke_statement(), LIST_FUNCTIONS]
    return [Part(_actions.SCAN, actions, statements)] if actions else []


def deploy_part(
    name: str, stage: DeployStage, tests: CommandProject | None, release: Release, child: pulumi.ResourceOptions
) -> Part:
    service, topic = stage.service, approval_topic(name, stage, child)
    statements = [service.release_function.invoke_statement(), *service.deploy_statements(), LIST_FUNCTIONS]
    if topic is not None:
        statements.append(allow("sns:Publish", on=[topic.arn]))
    return Part(
        service.environment_name, _actions.release_actions(release, stage, tests, topic), statements, stage.window
    )


def read_variables(name: str, scope: Scope) -> Statement:
    """Read the variables of the pipeline's executions."""
    return allow("codepipeline:GetPipelineExecution", on=scope.arn("codepipeline", name))


def notifier(
    name: str, args: PipelineArgs, pipeline: aws.codepipeline.Pipeline, child: pulumi.ResourceOptions
) -> Notifier | None:
    if args.notifications is None:
        return None
    settings = NotifierArgs(
        notifications=args.notifications,
        pipeline_name=pipeline.name,
        pipeline_arn=pipeline.arn,
        job_arns=[arn for stage in args.stages for arn in stage.service.job_arns],
    )
    return Notifier(f"{name}-news", settings, opts=child)


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


def in_builds(
    name: str, kind: str, build: Build, statements: Sequence[Statement], child: pulumi.ResourceOptions
) -> list[pulumi.Resource]:
    """Statements on this pipeline for the roles that build."""
    names = [
        (f"{name}{p.name.removeprefix(build.project_name)}-build-{kind}", p) for p in build.by_architecture.values()
    ]
    return [
        aws.iam.RolePolicy(policy_name, role=project.role_name, policy=iam.document(*statements), opts=child)
        for policy_name, project in names
    ]


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


def stage_tests(
    stage: DeployStage, artifacts: ArtifactStore | None, child: pulumi.ResourceOptions
) -> CommandProject | None:
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
    """A topic that notifies its subscribers of an approval request."""
    if stage.approval is None or not stage.approval.notify:
        return None
    topic_name = f"{name}-{stage.service.environment_name}-approval"
    topic = aws.sns.Topic(topic_name, kms_master_key_id="alias/aws/sns", opts=child)
    subscribe(topic_name, stage.approval.notify, topic, child)
    return topic


def wake_when_ended(name: str, number: int, service: Service, child: pulumi.ResourceOptions) -> None:
    """Nothing depends on this event. It makes the function clean up after a release that was stopped.

    The rule's name contains the stage's number, because with the environment's name it could be too long.
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
    """Statements on this pipeline for the functions and actions that release."""
    service = stage.service
    aws.iam.RolePolicy(
        f"{name}-{service.environment_name}-confirm",
        role=service.release_function.role_name,
        policy=iam.document(
            # The release function confirms every event with this pipeline before it accepts it.
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
    """The variables that can be set when the pipeline is started, by name.

    https://docs.aws.amazon.com/codepipeline/latest/userguide/reference-variables.html
    """
    values = plaintext_values("variables", args.variables, args.not_secret, INSTEAD)
    declared = {
        name: aws.codepipeline.PipelineVariableArgs(name=name, default_value=value)
        for name, value in sorted(values.items())
    }
    if args.build is not None and args.build.exported_variables:
        declared[_actions.RELEASE_DIGEST] = aws.codepipeline.PipelineVariableArgs(
            name=_actions.RELEASE_DIGEST,
            default_value=_actions.NO_DIGEST,
            description="Digest of an image in the repository, to release it again instead of building one",
        )
        declared[_actions.REBUILD] = aws.codepipeline.PipelineVariableArgs(
            name=_actions.REBUILD,
            default_value="false",
            description="true to build an image that exists again, without the layer cache: for a new base image",
        )
    return declared


def start_by_event(
    name: str, source: SourceParts, pipeline: aws.codepipeline.Pipeline, scope: Scope, child: pulumi.ResourceOptions
) -> None:
    """Start the pipeline on an event, with a role that allows EventBridge only that."""
    if source.event_pattern is None:
        return
    rule = aws.cloudwatch.EventRule(
        f"{name}-push",
        # The key of an archive may have 1000 characters.
        description=pulumi.Output.from_input(source.change).apply(lambda change: change[:512]),
        event_pattern=pulumi.Output.json_dumps(source.event_pattern, sort_keys=True),
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
