"""CommandProject: a CodeBuild project that runs commands, to scan code or to test what is live."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_aws as aws

from slipway import iam
from slipway._rules import check_name, refuse
from slipway._secrets import SECRET, secret_rules, secret_statements
from slipway.artifacts import ArtifactStore
from slipway.build.component import COMPUTE, IMAGES, LOG_DAYS, export_variables
from slipway.iam import Scope, Statement, allow
from slipway.release.function.contract import TEST_VARIABLES


@dataclass(frozen=True, kw_only=True)
class CommandSettings:
    """Commands, and what they need."""

    commands: Sequence[str]
    """Commands that must succeed, each with bash in the root of the source, where there is one."""

    environment: Mapping[str, str] = field(default_factory=dict)
    """Environment variables. Whoever can read the project reads them: secrets go into `secrets`."""

    secrets: Mapping[str, str] = field(default_factory=dict)
    """Environment variables by reference: the ARN of a secret in Secrets Manager, with `:<json key>::` behind it for
    one key of it, or of a parameter in Parameter Store."""

    secrets_kms_key_arns: Sequence[str] = ()
    """Customer managed KMS keys that `secrets` are encrypted with."""

    image: str = IMAGES["X86_64"][1]
    """Image to run in: one of CodeBuild's own, or a public one."""

    compute_type: str = "BUILD_GENERAL1_SMALL"
    """CodeBuild's compute type."""

    privileged: bool = False
    """Let the commands run Docker's daemon, which takes a privileged container."""

    timeout_minutes: int = 15
    """Minutes after which the commands have failed."""

    log_retention_days: int = 30
    """Days to keep the log."""

    def __post_init__(self) -> None:
        empty = [command for command in self.commands if not command.strip()]
        names = [n for n in (*self.environment, *self.secrets) if not re.fullmatch(r"(?!CODEBUILD_)[A-Za-z_]\w*", n)]
        refuse(
            (isinstance(self.commands, str), f"commands must be a list of commands, got {self.commands!r}"),
            (not self.commands or bool(empty), f"commands must be one or more commands, got {list(self.commands)}"),
            (
                bool(names),
                "environment and secrets must have names of A-Z a-z 0-9 _ that do not begin with CODEBUILD_, "
                f"got wrong ones: {names}",
            ),
            *secret_rules(self.environment, self.secrets),
            (
                self.compute_type not in COMPUTE,
                f"compute_type must be one of {list(COMPUTE)}, got {self.compute_type!r}",
            ),
            (
                not 5 <= self.timeout_minutes <= 480,
                f"timeout_minutes must be between 5 and 480, got {self.timeout_minutes}",
            ),
            (
                self.log_retention_days not in LOG_DAYS,
                f"log_retention_days must be one of {list(LOG_DAYS)}, got {self.log_retention_days}",
            ),
        )


@dataclass(frozen=True, kw_only=True)
class CodeScan(CommandSettings):
    """Commands that look at the source between build and deployment, with any tool: SonarQube, Snyk, Semgrep, …

    https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-CodeBuild.html
    """

    name: str
    """What the pipeline calls it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse(
            (
                not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", self.name) or len(self.name) > 10,
                f"name must be 1 to 10 characters of a-z 0-9 and single - between them, got {self.name!r}",
            ),
            (self.name == "tests", "name must not be tests, which is what the tests of a stage are called"),
        )


@dataclass(frozen=True, kw_only=True)
class StageTests(CommandSettings):
    """Commands that test a release when it is live.

    They are given SERVICE_URL, ENVIRONMENT, IMAGE_DIGEST, COMMIT_ID and PIPELINE_EXECUTION_ID, and the files of the
    commit where the pipeline builds. When they fail, the service is rolled back to the last verified image.
    """

    in_vpc: bool = False
    """Run in the service's private subnets and security group, for what only its tasks can reach."""

    def __post_init__(self) -> None:
        super().__post_init__()
        given = sorted({*self.environment, *self.secrets} & set(TEST_VARIABLES))
        refuse(
            (
                bool(given),
                f"environment and secrets must not have {list(TEST_VARIABLES)}, which every test is given, got {given}",
            )
        )


@dataclass(frozen=True, kw_only=True)
class VpcConfig:
    """Where commands run that need to be inside a VPC."""

    vpc_id: pulumi.Input[str]
    subnet_ids: pulumi.Input[Sequence[str]]
    security_group_id: pulumi.Input[str]


@dataclass(frozen=True, kw_only=True)
class CommandProjectArgs:
    """Arguments of CommandProject; its Pipeline makes them."""

    settings: CommandSettings
    description: str
    artifacts: ArtifactStore
    in_pipeline: bool
    """Whether an action of the pipeline runs it; else the release function starts it."""
    read_variables: Statement | None = None
    """Lets the commands read the pipeline's variables, where they have them."""
    vpc: VpcConfig | None = None


class CommandProject(pulumi.ComponentResource):
    """A CodeBuild project whose role can read the pipeline's artifacts and its own secrets, and nothing else.

    `name` is the project's name. https://docs.aws.amazon.com/codebuild/latest/userguide/create-project.html
    """

    project_name: str
    project_arn: pulumi.Output[str]
    role_name: pulumi.Output[str]

    def __init__(self, name: str, args: CommandProjectArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Create the project.

        Raises ValueError if `name` cannot be the name of a project.
        """
        check_name("project", name, longest=51)
        super().__init__("slipway:index:CommandProject", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        scope = Scope.of(self)
        settings = args.settings

        logs = aws.cloudwatch.LogGroup(
            f"{name}-logs", name=f"/aws/codebuild/{name}", retention_in_days=settings.log_retention_days, opts=child
        )
        statements = [
            iam.write_logs(logs.arn),
            *args.artifacts.read_statements(),
            *secret_statements(settings.secrets, settings.secrets_kms_key_arns),
        ]
        if args.read_variables is not None:
            statements.append(args.read_variables)
        if args.vpc is not None:
            statements += vpc_statements(args.vpc, scope)
        role, policy = iam.role(
            name,
            # The ARN from the name: the project needs the role first.
            iam.trust("codebuild.amazonaws.com", scope.only_for(scope.arn("codebuild", f"project/{name}"))),
            statements,
            child,
        )
        kind = "CODEPIPELINE" if args.in_pipeline else "NO_SOURCE"
        project = aws.codebuild.Project(
            name,
            name=name,
            description=args.description,
            service_role=role.arn,
            build_timeout=settings.timeout_minutes,
            encryption_key=args.artifacts.key_arn,
            source=aws.codebuild.ProjectSourceArgs(
                type=kind, buildspec=buildspec(settings, args.read_variables is not None)
            ),
            artifacts=aws.codebuild.ProjectArtifactsArgs(type="CODEPIPELINE" if args.in_pipeline else "NO_ARTIFACTS"),
            environment=aws.codebuild.ProjectEnvironmentArgs(
                type="ARM_CONTAINER" if "aarch64" in settings.image else "LINUX_CONTAINER",
                image=settings.image,
                compute_type=settings.compute_type,
                image_pull_credentials_type="CODEBUILD"
                if settings.image.startswith("aws/codebuild/")
                else "SERVICE_ROLE",
                privileged_mode=settings.privileged,
                environment_variables=[
                    aws.codebuild.ProjectEnvironmentEnvironmentVariableArgs(name=key, value=value, type=type_)
                    for key, value, type_ in variables(settings)
                ],
            ),
            vpc_config=aws.codebuild.ProjectVpcConfigArgs(
                vpc_id=args.vpc.vpc_id,
                subnets=args.vpc.subnet_ids,
                security_group_ids=[args.vpc.security_group_id],
            )
            if args.vpc
            else None,
            logs_config=aws.codebuild.ProjectLogsConfigArgs(
                cloudwatch_logs=aws.codebuild.ProjectLogsConfigCloudwatchLogsArgs(group_name=logs.name)
            ),
            opts=child.merge(pulumi.ResourceOptions(depends_on=[policy])),
        )

        self.project_name = name
        self.project_arn = project.arn
        self.role_name = role.name
        self.register_outputs(
            {"project_name": name, "project_arn": self.project_arn, "role_name": self.role_name},
        )

    def run_statements(self) -> list[Statement]:
        """Run this project's builds."""
        return [iam.run_builds(self.project_arn)]


def buildspec(settings: CommandSettings, variables: bool) -> str:
    """The buildspec that runs the commands until one fails, as JSON, which is YAML too; with the pipeline's variables
    exported before, where it has any.

    https://docs.aws.amazon.com/codebuild/latest/userguide/build-spec-ref.html
    """
    before = {"pre_build": {"commands": [export_variables()]}} if variables else {}
    phases = {**before, "build": {"commands": list(settings.commands)}}
    return json.dumps({"version": 0.2, "env": {"shell": "bash"}, "phases": phases}, indent=1)


def variables(settings: CommandSettings) -> list[tuple[str, str, str]]:
    """Name, value and type of each environment variable, as CodeBuild takes them."""
    plain = [(key, value, "PLAINTEXT") for key, value in sorted(settings.environment.items())]
    return plain + [(key, *reference(arn)) for key, arn in sorted(settings.secrets.items())]


def reference(arn: str) -> tuple[str, str]:
    """A secret or parameter as an environment variable of CodeBuild refers to it.

    https://docs.aws.amazon.com/codebuild/latest/APIReference/API_EnvironmentVariable.html
    """
    if SECRET.fullmatch(arn):
        return arn, "SECRETS_MANAGER"
    name = arn.split(":parameter/", 1)[1]
    return (f"/{name}" if "/" in name else name), "PARAMETER_STORE"


def vpc_statements(vpc: VpcConfig, scope: Scope) -> list[Statement]:
    """What CodeBuild needs to run a build inside a VPC.

    https://docs.aws.amazon.com/codebuild/latest/userguide/auth-and-access-control-iam-identity-based-access-control.html
    """
    subnets: Any = pulumi.Output.from_input(vpc.subnet_ids).apply(
        lambda ids: pulumi.Output.all(*(scope.arn("ec2", f"subnet/{id}") for id in ids))
    )
    return [
        # These take no resource, and CodeBuild's guide has no narrower form of the next two.
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
