"""PullRequestChecks: a CodeBuild project that checks pull requests, apart from the pipeline."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, cast

import pulumi
import pulumi_aws as aws

from slipway import codebuild
from slipway._constraints import between, check, is_output, items, one_of
from slipway._rules import check_args, check_name
from slipway._secrets import plaintext_rules
from slipway.build.component import TestCommand
from slipway.codebuild import IMAGES, VARIABLES_LIMIT, ComputeType, ImageReference, LogDays, VariableName
from slipway.iam import Scope
from slipway.pipeline import commands
from slipway.pipeline.commands import CodeScan, Command, CommandSettings, ScanName
from slipway.pipeline.sources import Branch, Connection, ConnectionArn, connection_statements

INSTEAD = "a check of a pull request must not have secrets"
APPROVALS = ("FORK_PULL_REQUESTS", "ALL_PULL_REQUESTS")


@dataclass(frozen=True)
class Provider:
    """A repository provider, as CodeBuild names it."""

    source_type: str
    host: str
    events: Sequence[str]
    approvers: Sequence[str]
    """Roles in the repository that can push to it."""


# https://docs.aws.amazon.com/codebuild/latest/userguide/github-webhook.html, gitlab-webhook.html and
# bitbucket-webhook.html: Bitbucket does not reopen pull requests.
# https://docs.aws.amazon.com/codebuild/latest/APIReference/API_PullRequestBuildPolicy.html
CHANGED = ("PULL_REQUEST_CREATED", "PULL_REQUEST_UPDATED")
PROVIDERS = {
    "GitHub": Provider(
        "GITHUB",
        "github.com",
        (*CHANGED, "PULL_REQUEST_REOPENED"),
        ("GITHUB_WRITE", "GITHUB_MAINTAIN", "GITHUB_ADMIN"),
    ),
    "GitLab": Provider(
        "GITLAB",
        "gitlab.com",
        (*CHANGED, "PULL_REQUEST_REOPENED"),
        ("GITLAB_DEVELOPER", "GITLAB_MAINTAINER", "GITLAB_OWNER"),
    ),
    "Bitbucket": Provider("BITBUCKET", "bitbucket.org", CHANGED, ("BITBUCKET_WRITE", "BITBUCKET_ADMIN")),
}


@dataclass(frozen=True, kw_only=True)
class PullRequestSettings:
    """Settings of PullRequestChecks that can also be set in a stack file."""

    commands: Sequence[Command] = ()
    """Commands that must succeed, each with bash in the root of the pull request's source. By default, the
    `test_commands` of the build."""

    scans: Annotated[Sequence[ScanName], items(distinct=True)] = ()
    """Names of code scans whose commands run after these. They must not have secrets."""

    branches: Annotated[Sequence[Branch], items(most=10, distinct=True)] = ()
    """Branches into which pull requests are checked. By default, the source's `branch`."""

    approval: Annotated[str, one_of(APPROVALS)] = "FORK_PULL_REQUESTS"
    """Pull requests that are checked only after somebody who can push to the repository has approved them with the
    comment `/codebuild_run(<commit>)`: those from forks (FORK_PULL_REQUESTS), or all (ALL_PULL_REQUESTS). A pull
    request by somebody who can push needs no approval."""

    environment: Mapping[VariableName, pulumi.Input[str]] = field(default_factory=dict)
    """Environment variables. The code in a pull request can read them."""

    not_secret: Sequence[str] = ()
    """Names of `environment` variables whose values look like credentials but are not; `commands` for the contents of
    `commands`."""

    image: ImageReference = IMAGES["X86_64"][1]
    """Image to run in: an image that CodeBuild provides, or a public one."""

    compute_type: ComputeType = "BUILD_GENERAL1_SMALL"
    """CodeBuild's compute type."""

    privileged: bool = False
    """Let the commands run the Docker daemon, which requires a privileged container. Code that nobody has reviewed then
    runs in it too."""

    timeout_minutes: Annotated[int, between(5, 480)] = 15
    """Minutes after which the checks fail."""

    log_retention_days: LogDays = 30
    """Days to keep the log."""

    def __post_init__(self) -> None:
        check(self)

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        yield from plaintext_rules("environment", self.environment, self.not_secret, INSTEAD, commands=self.commands)
        length = codebuild.characters(self.environment)
        yield (
            length > VARIABLES_LIMIT,
            f"environment must have at most {VARIABLES_LIMIT} characters in total, got {length}: put long values into "
            "a file of the repository",
        )


@dataclass(frozen=True, kw_only=True)
class PullRequestChecksArgs(PullRequestSettings):
    """Arguments of PullRequestChecks."""

    source: Connection
    """Source of the pipeline, whose repository has the pull requests."""

    connection_arn: ConnectionArn
    """ARN of the connection, `connection_arn` of the Pipeline."""

    test_commands: Sequence[TestCommand] = ()
    """Test commands of the build."""

    code_scans: Sequence[CodeScan] = ()
    """Code scans of the pipeline, of which `scans` names some."""

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        yield from super().cross_checks()
        yield from check_rules(self, self.source, self.test_commands, self.code_scans)


def check_rules(
    settings: PullRequestSettings, source: object, test_commands: Sequence[str], code_scans: Sequence[CodeScan]
) -> Iterator[tuple[bool, str]]:
    """Rules between these settings and the pipeline's source, build and scans."""
    hosted = isinstance(source, Connection)
    yield not hosted, f"source must be a connection with pull requests, got {type(source).__name__}"
    if isinstance(source, Connection):
        yield (
            source.host_arn is not None or source.provider_type not in (None, *PROVIDERS),
            f"source must be a repository of {', '.join(PROVIDERS)} with pull requests, got "
            f"{source.provider_type or 'a host'}: CodeBuild has no other webhooks through a connection",
        )
    yield (
        not settings.commands and not test_commands and not settings.scans,
        "commands or scans must be given, unless the build has test_commands, got none",
    )
    known = {scan.name: scan for scan in code_scans}
    missing = [name for name in settings.scans if name not in known]
    yield bool(missing), f"scans must be names of code_scans, one of {list(known)}, got {missing}"
    named = [known[name] for name in settings.scans if name in known]
    secret = [scan.name for scan in named if scan.secrets]
    yield (
        bool(secret),
        f"scans must not have secrets, as {secret} have: the code in a pull request, which nobody has reviewed, could "
        "read them",
    )
    others = [s.name for s in named if s.image != settings.image or (s.privileged and not settings.privileged)]
    yield (
        bool(others),
        f"scans must have the image {settings.image}, and be privileged only if the checks are, unlike {others}: they "
        "run in one build",
    )
    differ = sorted(unequal([settings.environment, *(scan.environment for scan in named)]))
    yield bool(differ), f"environment must have the values that the scans give to {differ}: they run in one build"


def unequal(environments: Sequence[Mapping[str, Any]]) -> set[str]:
    """Names with different values."""
    seen: dict[str, Any] = {}
    found = set()
    for name, value in (pair for environment in environments for pair in environment.items()):
        # Two Outputs cannot be compared.
        if name in seen and seen[name] is not value and (is_output(value) or seen[name] != value):
            found.add(name)
        seen[name] = value
    return found


class PullRequestChecks(pulumi.ComponentResource):
    """A CodeBuild project that checks pull requests and shows the result in them. It has no secrets, no access to
    images, artifacts and services, and its buildspec is not read from the pull request.

    `name` is the project's name. https://docs.aws.amazon.com/codebuild/latest/userguide/webhooks.html
    """

    project_name: str
    project_arn: pulumi.Output[str]
    role_name: pulumi.Output[str]

    def __init__(self, name: str, args: PullRequestChecksArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Create the project and its webhook.

        Raises ValueError if `name` is not a valid project name. `pulumi up` fails if the connection's provider has no
        webhooks, or if nobody has completed the connection.
        """
        check_name("project", name, longest=51)
        check_args(args, PullRequestChecksArgs)
        super().__init__("slipway:index:PullRequestChecks", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        scope = Scope.of(self)
        connection = aws.codeconnections.Connection.get(f"{name}-connection", args.connection_arn, opts=child)
        provider = pulumi.Output.all(
            connection.arn, connection.provider_type, connection.connection_status, scope.console()
        ).apply(usable)
        commands_ = all_commands(args)
        project, role = codebuild.project(
            name,
            role_name=name,
            description="Checks pull requests",
            source=aws.codebuild.ProjectSourceArgs(
                type=provider.apply(lambda of: of.source_type),
                location=pulumi.Output.all(provider, args.source.repository).apply(location),
                auth=aws.codebuild.ProjectSourceAuthArgs(type="CODECONNECTIONS", resource=args.connection_arn),
                report_build_status=True,
                # It must be here: the buildspec of the pull request would be its author's.
                buildspec=commands.buildspec(commands_, False),
            ),
            environment=commands.environment(commands_, {}),
            artifacts=None,
            statements=connection_statements(scope, args.connection_arn, "GetConnectionToken", "GetConnection"),
            timeout_minutes=args.timeout_minutes,
            log_retention_days=args.log_retention_days,
            scope=scope,
            opts=child,
        )
        aws.codebuild.Webhook(
            f"{name}-webhook",
            project_name=project.name,
            build_type="BUILD",
            filter_groups=[filter_group(provider, branch) for branch in args.branches or [args.source.branch]],
            pull_request_build_policy=aws.codebuild.WebhookPullRequestBuildPolicyArgs(
                requires_comment_approval=args.approval,
                approver_roles=provider.apply(lambda of: list(of.approvers)),
            ),
            opts=child,
        )

        self.project_name = name
        self.project_arn = project.arn
        self.role_name = role.name
        self.register_outputs(
            {"project_name": name, "project_arn": self.project_arn, "role_name": self.role_name},
        )


def usable(known: Sequence[Any]) -> Provider:
    """The provider of a connection, through which a webhook can be created."""
    arn, provider_type, status, console = known
    if provider_type not in PROVIDERS:
        raise pulumi.RunError(
            f"the connection {arn} must be to one of {', '.join(PROVIDERS)} to check pull requests, got {provider_type}"
        )
    if status != "AVAILABLE":
        raise pulumi.RunError(
            f"the connection {arn} is {status}, and no webhook for pull requests can be created: complete it at "
            f"https://{console}/codesuite/settings/connections, then run pulumi up again"
        )
    return PROVIDERS[provider_type]


def location(known: Sequence[Any]) -> str:
    provider, repository = known
    return f"https://{provider.host}/{repository}.git"


def filter_group(provider: pulumi.Output[Provider], branch: pulumi.Input[str]) -> aws.codebuild.WebhookFilterGroupArgs:
    """Pull requests into one branch, when they are opened, changed or reopened.

    https://docs.aws.amazon.com/codebuild/latest/APIReference/API_WebhookFilter.html
    """
    base = pulumi.Output.from_input(cast(Any, branch)).apply(lambda name: f"^refs/heads/{re.escape(name)}$")
    return aws.codebuild.WebhookFilterGroupArgs(
        filters=[
            aws.codebuild.WebhookFilterGroupFilterArgs(
                type="EVENT", pattern=provider.apply(lambda of: ", ".join(of.events))
            ),
            aws.codebuild.WebhookFilterGroupFilterArgs(type="BASE_REF", pattern=base),
        ]
    )


def all_commands(args: PullRequestChecksArgs) -> CommandSettings:
    """The commands of the checks and then those of the scans, with the environment in which they run."""
    scans = [scan for name in args.scans for scan in args.code_scans if scan.name == name]
    given = args.commands or args.test_commands
    parts: list[PullRequestSettings | CodeScan] = [args, *scans]
    environment = {name: value for part in parts for name, value in part.environment.items()}
    return CommandSettings(
        commands=[*given, *(command for scan in scans for command in scan.commands)],
        environment=environment,
        not_secret=list(dict.fromkeys(name for part in parts for name in part.not_secret)),
        image=args.image,
        compute_type=args.compute_type,
        privileged=args.privileged,
        timeout_minutes=args.timeout_minutes,
        log_retention_days=args.log_retention_days,
    )
