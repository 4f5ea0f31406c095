"""CommandProject: a CodeBuild project that runs commands to scan code or to test a live release."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Annotated, Any, cast

import pulumi
import pulumi_aws as aws

from slipway import codebuild, iam, reports
from slipway._constraints import Must, between, check, items, match
from slipway._outputs import filled, made_of, now_or_later
from slipway._rules import check_args, check_name
from slipway._secrets import (
    KmsKeyArn,
    SecretReference,
    names_twice,
    plaintext_rules,
    plaintext_values,
    secret_statements,
)
from slipway.artifacts import ArtifactStore
from slipway.build.component import export_variables
from slipway.codebuild import IMAGES, VARIABLES_LIMIT, ComputeType, ImageReference, LogDays, VariableName
from slipway.iam import Scope, Statement, allow
from slipway.release.function.contract import TEST_VARIABLES
from slipway.reports import Report, Reports

INSTEAD = "put it into secrets"
Command = Annotated[
    str,
    Must(
        "be a command",
        lambda text: bool(text.strip()),
        {"pattern": r"\S"},
        good=["make lint", "make lint\nmake test"],
        bad=["", " ", "\n"],
    ),
]
ScanName = Annotated[
    str,
    match(
        r"[a-z0-9]+(-[a-z0-9]+)*",
        "be a name of a-z 0-9 and single - between them,",
        "a",
        ["Lint", "a_b", "-a", "a-", "a--b"],
        longest=10,
    ),
]
"""Part of the project's name:"""


@dataclass(frozen=True, kw_only=True)
class CommandSettings:
    """Commands and their environment."""

    commands: Annotated[Sequence[Command], items(1)]
    """Commands that must succeed. Each runs with bash, in the root of the source if there is one."""

    reports: Reports = ()
    """Reports that the commands write. Their report groups are in the same account and Region."""

    environment: Mapping[VariableName, pulumi.Input[str]] = field(default_factory=dict)
    """Environment variables. Anyone who can read the project can read them: put secrets into `secrets`."""

    not_secret: Sequence[str] = ()
    """Names of `environment` variables whose values look like credentials but are not; `commands` for the contents of
    `commands`."""

    secrets: Mapping[VariableName, SecretReference] = field(default_factory=dict)
    """Environment variables by reference: the ARN of a secret in Secrets Manager, optionally followed by `:<json
    key>::` for one of its keys, or of a parameter in Parameter Store; in the same Region. Or, in this account, by name:
    `secretsmanager:shop/db`, which may be followed by a key too, or `ssm:/shop/token`."""

    secrets_kms_key_arns: Annotated[Sequence[KmsKeyArn], items(distinct=True)] = ()
    """Customer managed KMS keys that `secrets` are encrypted with."""

    image: ImageReference = IMAGES["X86_64"][1]
    """Image to run in: an image that CodeBuild provides, or a public one."""

    compute_type: ComputeType = "BUILD_GENERAL1_SMALL"
    """CodeBuild's compute type."""

    privileged: bool = False
    """Let the commands run the Docker daemon, which requires a privileged container."""

    # CodePipeline limits a test action to eight hours.
    # https://docs.aws.amazon.com/codepipeline/latest/userguide/limits.html
    timeout_minutes: Annotated[int, between(5, 480)] = 15
    """Minutes after which the commands fail."""

    log_retention_days: LogDays = 30
    """Days to keep the log."""

    def __post_init__(self) -> None:
        check(self)

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        yield from reports.rules(self.reports)
        yield from names_twice(self.environment, self.secrets)
        yield from plaintext_rules("environment", self.environment, self.not_secret, INSTEAD, commands=self.commands)
        yield too_long(self, self.environment)


def too_long(settings: CommandSettings, environment: Mapping[str, pulumi.Input[str]]) -> tuple[bool, str]:
    """Whether these environment variables and the secrets are too long together, with the message for it."""
    length = codebuild.characters(environment) + codebuild.characters(settings.secrets)
    return (
        length > VARIABLES_LIMIT,
        f"environment and secrets must have at most {VARIABLES_LIMIT} characters in total, got {length}: put long "
        "values into a file of the repository",
    )


@dataclass(frozen=True, kw_only=True)
class CodeScan(CommandSettings):
    """Commands that check the source between build and deployment, with any tool: SonarQube, Snyk, Semgrep, …

    https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-CodeBuild.html
    """

    name: ScanName
    """Name of the pipeline's action."""

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        yield from super().cross_checks()
        yield self.name == "tests", "name must not be tests, which is the name of the tests of a stage"


@dataclass(frozen=True, kw_only=True)
class StageTests(CommandSettings):
    """Commands that test a live release.

    The commands have the environment variables SERVICE_URL, ENVIRONMENT, IMAGE_DIGEST, COMMIT_ID and
    PIPELINE_EXECUTION_ID and, if the pipeline builds, the files of the commit. If they fail, the service is rolled back
    to the last verified image.
    """

    in_vpc: bool = False
    """Run in the service's private subnets and security group, to reach what only its tasks can reach."""

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        yield from super().cross_checks()
        given = sorted({*self.environment, *self.secrets} & set(TEST_VARIABLES))
        yield (
            bool(given),
            f"environment and secrets must not have {list(TEST_VARIABLES)}, which every test has, got {given}",
        )


@dataclass(frozen=True, kw_only=True)
class VpcConfig:
    """The VPC, subnets and security group for commands that run inside a VPC."""

    vpc_id: pulumi.Input[str]
    # https://docs.aws.amazon.com/codebuild/latest/APIReference/API_VpcConfig.html
    subnet_ids: Annotated[pulumi.Input[Sequence[pulumi.Input[str]]], items(1, 16, distinct=True)]
    security_group_id: pulumi.Input[str]

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class CommandProjectArgs:
    """Arguments of CommandProject; built by Pipeline."""

    settings: CommandSettings
    description: str
    artifacts: ArtifactStore | None
    """Artifacts that the commands get their files from; None if they get none."""
    in_pipeline: bool
    """Whether a pipeline action runs the project; otherwise the release function starts it."""
    read_variables: Statement | None = None
    """Statements to read the pipeline's variables, if there are any."""
    vpc: VpcConfig | None = None

    def __post_init__(self) -> None:
        check(self)


class CommandProject(pulumi.ComponentResource):
    """A CodeBuild project whose role can read only the pipeline's artifacts and the project's own secrets.

    `name` is the project's name. https://docs.aws.amazon.com/codebuild/latest/userguide/create-project.html
    """

    project_name: str
    project_arn: pulumi.Output[str]
    role_name: pulumi.Output[str]

    def __init__(self, name: str, args: CommandProjectArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Create the project.

        Raises ValueError if `name` is not a valid project name, or if a secret is in another Region.
        """
        check_name("project", name, longest=51)
        check_args(args, CommandProjectArgs)
        super().__init__("slipway:index:CommandProject", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        scope, settings = Scope.of(self), args.settings
        secrets = codebuild.in_this_region(self, "secrets", settings.secrets)
        files = args.artifacts
        read = [*files.read_statements(), files.bucket_statement()] if files else []
        statements = [*read, *secret_statements(secrets, settings.secrets_kms_key_arns)]
        if args.read_variables is not None:
            statements.append(args.read_variables)
        if args.vpc is not None:
            statements += vpc_statements(args.vpc, scope)
        spec = filled(
            reports.groups(name, settings.reports, scope),
            lambda arns: buildspec(settings, args.read_variables is not None, reports.by_group(arns, settings.reports)),
        )
        project, role = codebuild.project(
            name,
            role_name=name,
            description=args.description,
            source=codebuild.source(args.in_pipeline, spec),
            environment=environment(settings, secrets),
            artifacts=args.artifacts,
            statements=statements,
            given_reports=settings.reports,
            timeout_minutes=settings.timeout_minutes,
            log_retention_days=settings.log_retention_days,
            scope=scope,
            opts=child,
            vpc=vpc_config(args.vpc) if args.vpc else None,
        )

        self.project_name = name
        self.project_arn = project.arn
        self.role_name = role.name
        self.register_outputs(
            {"project_name": name, "project_arn": self.project_arn, "role_name": self.role_name},
        )

    def run_statements(self) -> list[Statement]:
        """Start and follow builds of this project."""
        return [iam.run_builds(self.project_arn)]


def buildspec(settings: CommandSettings, variables: bool, reported: Mapping[str, Report] = MappingProxyType({})) -> str:
    """The buildspec that runs the commands until one fails, as JSON, which is also YAML. If the pipeline has variables,
    it exports them first. `reported` has the reports by the ARN of their group.

    https://docs.aws.amazon.com/codebuild/latest/userguide/build-spec-ref.html
    """
    before = {"pre_build": {"commands": [export_variables()]}} if variables else {}
    phases = {**before, "build": {"commands": list(settings.commands)}}
    spec = {"version": 0.2, "env": {"shell": "bash"}, "phases": phases}
    return json.dumps({**spec, **reports.section(reported)}, indent=1)


def environment(
    settings: CommandSettings, secrets: Mapping[str, pulumi.Input[str]]
) -> aws.codebuild.ProjectEnvironmentArgs:
    """The environment in which the commands run. If the image is known only later, so is its configuration.

    https://docs.aws.amazon.com/codebuild/latest/APIReference/API_ProjectEnvironment.html
    """
    return aws.codebuild.ProjectEnvironmentArgs(
        type=now_or_later(environment_type, settings.image),
        image=settings.image,
        compute_type=settings.compute_type,
        image_pull_credentials_type=now_or_later(pull_credentials, settings.image),
        privileged_mode=settings.privileged,
        environment_variables=[
            *codebuild.variables(plain_variables(settings)),
            *codebuild.references(secrets),
        ],
    )


def plain_variables(settings: CommandSettings) -> dict[str, pulumi.Input[str]]:
    """Environment variables other than secrets. Outputs must also fit once their values are known."""
    values = plaintext_values("environment", settings.environment, settings.not_secret, INSTEAD)
    if all(isinstance(value, str) for value in values.values()):
        return values
    known: Any = pulumi.Output.from_input(cast(Any, values))

    def look(name: str, values: Mapping[str, str]) -> str:
        broken, message = too_long(settings, values)
        if broken:
            raise pulumi.RunError(message)
        return values[name]

    return {name: known.apply(partial(look, name)) for name in values}


def environment_type(image: str) -> str:
    return "ARM_CONTAINER" if "aarch64" in image else "LINUX_CONTAINER"


def pull_credentials(image: str) -> str:
    return "CODEBUILD" if image.startswith("aws/codebuild/") else "SERVICE_ROLE"


def vpc_config(vpc: VpcConfig) -> aws.codebuild.ProjectVpcConfigArgs:
    return aws.codebuild.ProjectVpcConfigArgs(
        vpc_id=vpc.vpc_id, subnets=cast(Any, vpc.subnet_ids), security_group_ids=[vpc.security_group_id]
    )


def vpc_statements(vpc: VpcConfig, scope: Scope) -> list[Statement]:
    """Statements that CodeBuild needs to run a build inside a VPC.

    https://docs.aws.amazon.com/codebuild/latest/userguide/auth-and-access-control-iam-identity-based-access-control.html
    """
    subnets: Any = made_of(
        cast(Any, vpc.subnet_ids), lambda ids: pulumi.Output.all(*(scope.arn("ec2", f"subnet/{id}") for id in ids))
    )
    return [
        # These actions support no resource, and CodeBuild's guide has no narrower form of the next two.
        allow(
            "ec2:DescribeNetworkInterfaces",
            "ec2:DescribeSubnets",
            "ec2:DescribeSecurityGroups",
            "ec2:DescribeDhcpOptions",
            "ec2:DescribeVpcs",
            "ec2:CreateNetworkInterface",
            "ec2:DeleteNetworkInterface",
            on="*",
        ),
        allow(
            "ec2:CreateNetworkInterfacePermission",
            on=scope.arn("ec2", "network-interface/*"),
            when={
                "StringEquals": {"ec2:AuthorizedService": "codebuild.amazonaws.com"},
                "ArnEquals": {"ec2:Subnet": subnets},
            },
        ),
    ]
