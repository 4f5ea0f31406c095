"""Sources of a Pipeline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Protocol, cast, runtime_checkable

import pulumi
import pulumi_aws as aws

from slipway import registry
from slipway._constraints import Must, arn, check, either, items, match, one_of
from slipway._outputs import concat
from slipway._rules import shortened
from slipway._secrets import KmsKeyArn
from slipway.artifacts import ArtifactStore
from slipway.iam import Scope, Statement, allow

PROVIDERS = ("Bitbucket", "GitHub", "GitLab", "AzureDevOps")
"""Repository providers for a new connection. Self-managed providers need a host.

https://docs.aws.amazon.com/codeconnections/latest/APIReference/API_CreateConnection.html"""
OWNER_AND_NAME = ("Bitbucket", "GitHub")
"""Providers that do not nest repositories in groups."""


def connections(what: str, kind: str) -> Must:
    """The ARN of a CodeConnections resource, also with the service's former name."""
    prefixes = ("codeconnections", "codestar-connections")
    first, second = (arn(what, prefix, rf"{kind}/[\w/-]+", f"{kind}/0f-1") for prefix in prefixes)
    return replace(either(first, second), text=first.text)


ConnectionArn = Annotated[pulumi.Input[str], connections("a connection", "connection")]
HostArn = Annotated[pulumi.Input[str], connections("a host", "host")]
Branch = Annotated[
    pulumi.Input[str],
    match(
        # Names that git allows, except those that would be patterns in a trigger.
        r"(?![/.-])(?!.*(\.\.|//|/\.|@\{|\.lock(/|$)))[^\s*?\[\\^~:{}\x00-\x1f\x7f]+(?<![/.])",
        "be the name of one branch, without spaces and patterns,",
        "feature/x_1.2",
        ["a b", "a..b", "/a", "a/", "-a", "a.lock", "v[0-9]", "main*", "a{b", "a}b", "a?", "a\\b"],
        longest=255,
    ),
]
"""https://git-scm.com/docs/git-check-ref-format and
https://docs.aws.amazon.com/codepipeline/latest/userguide/limits.html"""
CodeCommitRepository = Annotated[
    pulumi.Input[str],
    match(
        r"[A-Za-z0-9_.-]+(?<!\.git)",
        "be a name of A-Z a-z 0-9 . _ -, without .git at its end,",
        "store-front.web_1",
        ["a/b", "a b", "shop.git", "ä"],
        longest=100,
    ),
]
"""https://docs.aws.amazon.com/codecommit/latest/userguide/limits.html"""
HostedRepository = Annotated[
    pulumi.Input[str],
    match(
        r"(?!(www\.)?(github\.com|gitlab\.com|bitbucket\.org|dev\.azure\.com)/)[^/\s:@?#]+(/[^/\s:@?#]+)+(?<!\.git)",
        "be <owner>/<repository>, without the provider's address and .git,",
        "acme/shop",
        [
            "shop",
            "acme/",
            "/shop",
            "acme/shop.git",
            "github.com/acme/shop",
            "https://github.com/acme/shop",
            "git@github.com:acme/shop",
        ],
        longest=1000,
    ),
]
"""https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-CodestarConnectionSource.html"""
Pattern = Annotated[
    pulumi.Input[str],
    match(r"[^\r\n]+", "be a pattern of one line,", "feature/**", [], longest=255),
]
Patterns = Annotated[Sequence[Pattern], items(most=8, distinct=True)]
"""https://docs.aws.amazon.com/codepipeline/latest/userguide/limits.html"""
BucketName = Annotated[
    pulumi.Input[str],
    match(
        r"(?!xn--|sthree-|amzn-s3-demo-)(?!(\d+\.){3}\d+$)(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
        r"(?<!-s3alias)(?<!--ol-s3)(?<!\.mrap)(?<!--x-s3)(?<!--table-s3)",
        "be the name of an S3 bucket, 3 to 63 characters of a-z 0-9 . -",
        "acme-sources",
        ["ab", "a" * 64, "Sources", "-sources", "sources-", "a..b", "192.0.2.1", "xn--a", "a-s3alias"],
    ),
]
"""https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html"""
ArchiveKey = Annotated[
    pulumi.Input[str],
    match(
        # The key appears in the policy of the pipeline's role, where these characters would match other keys too.
        r"(?!/)[^*?$\x00-\x1f\x7f]*\.zip",
        "be the key of a .zip archive, without / at its start and without * ? $,",
        "storefront/source.zip",
        ["a.tar", "/a.zip", "*.zip", "a?.zip", "${x}.zip"],
        longest=1000,
    ),
]
"""https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-S3.html"""
RepositoryName = Annotated[
    pulumi.Input[str],
    match(
        rf"(?=.{{2,256}}$){registry.NAME.pattern}",
        "be the name of an ECR repository",
        "team/storefront",
        ["a", "Storefront", "-a", "a//b", "a" * 257],
    ),
]
"""https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreateRepository.html"""
ImageTag = Annotated[
    str, match(r"[a-zA-Z0-9_][a-zA-Z0-9._-]*", "be a tag of an image,", "verified-dev", ["-x", "verified-*"], 128)
]


CLONE = "CODEBUILD_CLONE_REF"


@dataclass(frozen=True, kw_only=True)
class SourceParts:
    """The parts that a source adds to its pipeline."""

    configuration: Mapping[str, pulumi.Input[str]]
    """Configuration of the source action."""

    statements: Sequence[Statement]
    """Statements that the pipeline's role needs for the action."""

    event_pattern: Mapping[str, Any] | None = None
    """EventBridge event pattern that starts the pipeline."""

    change: pulumi.Input[str] = ""
    """Description of these events."""

    triggers: Sequence[aws.codepipeline.PipelineTriggerArgs] | None = None
    """Pipeline triggers, for sources that CodePipeline watches itself."""

    connection_arn: pulumi.Output[str] | None = None
    """Connection that the source is reached through."""

    clone_statements: Sequence[Statement] = ()
    """Statements that the build's role needs to clone the repository, if the source is a full clone."""


@runtime_checkable
class Source(Protocol):
    """The source of a pipeline: CodeCommit, Connection, S3Object or EcrImage.

    https://docs.aws.amazon.com/codepipeline/latest/userguide/integrations-action-type.html
    """

    @property
    def provider(self) -> str:
        """Name of the action provider in CodePipeline."""
        ...

    @property
    def revision(self) -> str:
        """Output variable with the commit or version."""
        ...

    @property
    def image_repository(self) -> pulumi.Input[str] | None:
        """Repository of the image; None for files, which are built."""
        ...

    @property
    def full_clone(self) -> bool:
        """Whether the build clones the repository, instead of getting an archive."""
        ...

    def parts(self, name: str, scope: Scope, artifacts: ArtifactStore, opts: pulumi.ResourceOptions) -> SourceParts:
        """The parts that this source adds to the pipeline `name`; any resources are created with `opts`."""
        ...


@dataclass(frozen=True, kw_only=True)
class CodeCommit:
    """A branch of a CodeCommit repository in the pipeline's account and Region.

    An EventBridge rule starts the pipeline on a push.
    https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-CodeCommit.html
    """

    repository: CodeCommitRepository
    """Name of an existing repository."""

    branch: Branch = "main"
    """Branch whose pushes are released."""

    full_clone: bool = False
    """Let the build clone the repository, with its history, submodules and files in Git LFS, instead of getting an
    archive without them. Code scans and tests get the files from the build: your own
    buildspec must fetch submodules itself, and have `secondary-artifacts` BuildArtifact, with imagedefinitions.json,
    and Checkout, with these files."""

    submodule_repositories: Annotated[Sequence[CodeCommitRepository], items(most=20, distinct=True)] = ()
    """Private repositories of submodules, in the same account and Region, that the build may clone too with
    `full_clone`."""

    def __post_init__(self) -> None:
        check(self)

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        yield without_a_clone(self)

    provider = "CodeCommit"
    revision = "#{Source.CommitId}"
    image_repository = None

    def parts(self, name: str, scope: Scope, artifacts: ArtifactStore, opts: pulumi.ResourceOptions) -> SourceParts:
        return SourceParts(
            configuration=self.configuration(),
            statements=[*self.statements(scope), artifacts.list_statement()],
            event_pattern=self.event_pattern(scope),
            change=self.change,
            clone_statements=self.clone_statements(scope),
        )

    @property
    def change(self) -> pulumi.Input[str]:
        """Description of what starts the pipeline."""
        return concat("A push to ", self.branch, " of ", self.repository)

    def configuration(self) -> dict[str, pulumi.Input[str]]:
        """The source action's configuration. By default, the action would also poll."""
        return {
            "RepositoryName": self.repository,
            "BranchName": self.branch,
            "PollForSourceChanges": "false",
            **({"OutputArtifactFormat": CLONE} if self.full_clone else {}),
        }

    def statements(self, scope: Scope) -> list[Statement]:
        """Statements that the pipeline's role needs to read a commit."""
        return [
            allow(
                "codecommit:GetBranch",
                "codecommit:GetCommit",
                "codecommit:UploadArchive",
                "codecommit:GetUploadArchiveStatus",
                "codecommit:CancelUploadArchive",
                *(["codecommit:GetRepository"] if self.full_clone else []),
                on=scope.arn("codecommit", self.repository),
            )
        ]

    def clone_statements(self, scope: Scope) -> list[Statement]:
        if not self.full_clone:
            return []
        cloned = [self.repository, *self.submodule_repositories]
        return [allow("codecommit:GitPull", on=one_or_all([scope.arn("codecommit", each) for each in cloned]))]

    def event_pattern(self, scope: Scope) -> dict[str, Any]:
        """The event for a push to the branch.

        https://docs.aws.amazon.com/codepipeline/latest/userguide/pipelines-trigger-source-repo-changes-cfn.html
        """
        return {
            "source": ["aws.codecommit"],
            "detail-type": ["CodeCommit Repository State Change"],
            "resources": [scope.arn("codecommit", self.repository)],
            "detail": {
                "event": ["referenceCreated", "referenceUpdated"],
                "referenceType": ["branch"],
                "referenceName": [self.branch],
            },
        }


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Glob patterns. A name matches if it matches one of `includes` (or `includes` is empty) and none of `excludes`."""

    includes: Patterns = ()
    """Patterns, at least one of which must match."""

    excludes: Patterns = ()
    """Patterns, none of which may match. They take precedence over `includes`."""

    def __post_init__(self) -> None:
        check(self)

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        yield not self.includes and not self.excludes, "includes or excludes must name a pattern, got none"


@dataclass(frozen=True, kw_only=True)
class Push:
    """A push that starts the pipeline if it matches all of these filters.

    Filter by tags, by branches, or by branches and file paths.
    https://docs.aws.amazon.com/codepipeline/latest/userguide/pipelines-triggers.html
    """

    branches: Filter | None = None
    """Branches of the push."""

    file_paths: Filter | None = None
    """Changed files. CodePipeline checks only the first 100 files of a push."""

    tags: Filter | None = None
    """Git tags. A push is either to a branch or of a tag."""

    def __post_init__(self) -> None:
        check(self)

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        of_a_branch = self.branches is not None or self.file_paths is not None
        yield (
            self.tags is not None and of_a_branch,
            "tags must not be combined with branches or file_paths: a push is either of a tag or of a branch, "
            "so nothing would ever match; write two entries",
        )
        yield self.tags is None and not of_a_branch, "branches, file_paths or tags must be given, got none"
        yield (
            self.file_paths is not None and self.branches is None and self.tags is None,
            "branches must be given with file_paths, got none: CodePipeline takes no filter of file paths alone",
        )


@dataclass(frozen=True, kw_only=True)
class Connection:
    """A repository on GitHub, GitHub Enterprise Server, GitLab, Bitbucket or Azure DevOps, accessed through
    CodeConnections.

    A trigger of the pipeline starts it.
    https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-CodestarConnectionSource.html
    """

    repository: HostedRepository
    """`<owner>/<repository>`, on GitLab including groups, capitalized as the provider shows it."""

    branch: Branch = "main"
    """Branch whose pushes are released, and which is used when somebody starts the pipeline by hand."""

    arn: ConnectionArn | None = None
    """ARN of an existing connection. Without it, a connection is created for `provider_type` or `host_arn`. A new
    connection is PENDING until somebody completes it in the console."""

    provider_type: Annotated[str, one_of(PROVIDERS)] | None = None
    """Provider of a new connection: Bitbucket, GitHub, GitLab or AzureDevOps."""

    host_arn: HostArn | None = None
    """Host of a new connection, for GitHub Enterprise Server or a self-managed GitLab."""

    # https://docs.aws.amazon.com/codepipeline/latest/userguide/limits.html
    push: Annotated[Sequence[Push], items(most=3, distinct=True)] = ()
    """Pushes that start the pipeline if they match one of these entries. By default, pushes to `branch`."""

    full_clone: bool = False
    """Let the build clone the repository, with its history, submodules and files in Git LFS, instead of getting an
    archive without them. Code scans and tests get the files from the build: your own
    buildspec must fetch submodules itself, and have `secondary-artifacts` BuildArtifact, with imagedefinitions.json,
    and Checkout, with these files."""

    submodule_repositories: Annotated[Sequence[HostedRepository], items(most=20, distinct=True)] = ()
    """Private repositories of submodules, `<owner>/<repository>` of the same connection, that the build may clone too
    with `full_clone`."""

    def __post_init__(self) -> None:
        check(self)

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        yield without_a_clone(self)
        ways = [way for way in (self.arn, self.provider_type, self.host_arn) if way is not None]
        yield (
            len(ways) != 1,
            "arn, provider_type or host_arn must be set, but only one of them: an existing connection, or the "
            f"provider or host of a new one, got {len(ways)}",
        )
        grouped = isinstance(self.repository, str) and self.repository.count("/") > 1
        yield (
            grouped and self.provider_type in OWNER_AND_NAME,
            f"repository must be <owner>/<repository> with provider_type={self.provider_type}, got {self.repository!r}",
        )

    provider = "CodeStarSourceConnection"  # the action kept the former name of CodeConnections
    revision = "#{Source.CommitId}"
    image_repository = None

    def parts(self, name: str, scope: Scope, artifacts: ArtifactStore, opts: pulumi.ResourceOptions) -> SourceParts:
        arn = self.connection(name, scope, opts).arn
        return SourceParts(
            configuration=self.configuration(arn),
            statements=[*connection_statements(scope, arn, "UseConnection"), artifacts.acl_statement()],
            triggers=self.triggers(),
            connection_arn=arn,
            clone_statements=self.clone_statements(scope, arn),
        )

    def clone_statements(self, scope: Scope, connection_arn: pulumi.Input[str]) -> list[Statement]:
        """https://docs.aws.amazon.com/codepipeline/latest/userguide/troubleshooting.html#codebuild-role-connections"""
        if not self.full_clone:
            return []
        cloned = one_or_all([self.repository, *self.submodule_repositories])
        return [
            # The connection can reach other repositories too.
            {**statement, "Condition": {"StringEquals": {f"{prefix}:FullRepositoryId": cloned}}}
            for statement in connection_statements(scope, connection_arn, "UseConnection")
            for prefix in [statement["Action"][0].partition(":")[0]]
        ]

    def connection(self, name: str, scope: Scope, opts: pulumi.ResourceOptions) -> aws.codeconnections.Connection:
        """The connection, new or existing. Logs a warning while its setup is not complete."""
        if self.arn is not None:
            connection = aws.codeconnections.Connection.get(f"{name}-connection", self.arn, opts=opts)
        else:
            connection = aws.codeconnections.Connection(
                f"{name}-connection",
                # A connection's name is limited to 32 characters, and unique in the account.
                name=shortened(name, 32),
                provider_type=self.provider_type,
                host_arn=self.host_arn,
                opts=opts,
            )

        def warn(known: Sequence[str]) -> None:
            status, arn, console = known
            if status == "PENDING":
                pulumi.log.warn(
                    f"the connection {arn} is PENDING, and the pipeline {name} cannot start: complete it at "
                    f"https://{console}/codesuite/settings/connections, then start the pipeline",
                    connection,
                )

        pulumi.Output.all(connection.connection_status, connection.arn, scope.console()).apply(warn)
        return connection

    def triggers(self) -> list[aws.codepipeline.PipelineTriggerArgs]:
        """https://docs.aws.amazon.com/codepipeline/latest/userguide/pipelines-filter.html"""
        pushes = self.push or [Push(branches=Filter(includes=[self.branch]))]
        return [
            aws.codepipeline.PipelineTriggerArgs(
                provider_type="CodeStarSourceConnection",
                git_configuration=aws.codepipeline.PipelineTriggerGitConfigurationArgs(
                    source_action_name="Source", pushes=[push_trigger(push) for push in pushes]
                ),
            )
        ]

    def configuration(self, connection_arn: pulumi.Input[str]) -> dict[str, pulumi.Input[str]]:
        """The source action's configuration. By default, the action would also start the pipeline itself."""
        return {
            "ConnectionArn": connection_arn,
            "FullRepositoryId": self.repository,
            "BranchName": self.branch,
            "OutputArtifactFormat": CLONE if self.full_clone else "CODE_ZIP",
            "DetectChanges": "false",
        }


def one_or_all(values: list[pulumi.Input[str]]) -> Any:
    """In an IAM policy, a list of one is the same as its value."""
    return values[0] if len(values) == 1 else values


def without_a_clone(source: CodeCommit | Connection) -> tuple[bool, str]:
    return (
        bool(source.submodule_repositories) and not source.full_clone,
        f"submodule_repositories must be given with full_clone only, got {list(source.submodule_repositories)}: "
        "an archive has no submodules",
    )


def connection_statements(scope: Scope, connection_arn: pulumi.Input[str], *actions: str) -> list[Statement]:
    """Statements for actions on a connection. The service checks either prefix, depending on the age of the ARN."""
    rest = pulumi.Output.from_input(cast(Any, connection_arn)).apply(lambda arn: arn.split(":", 3)[3])
    return [
        allow(*(f"{prefix}:{each}" for each in actions), on=concat("arn:", scope.partition, f":{prefix}:", rest))
        for prefix in ("codeconnections", "codestar-connections")
    ]


def push_trigger(push: Push) -> aws.codepipeline.PipelineTriggerGitConfigurationPushArgs:
    return aws.codepipeline.PipelineTriggerGitConfigurationPushArgs(
        branches=filter_args(push.branches, aws.codepipeline.PipelineTriggerGitConfigurationPushBranchesArgs),
        file_paths=filter_args(push.file_paths, aws.codepipeline.PipelineTriggerGitConfigurationPushFilePathsArgs),
        tags=filter_args(push.tags, aws.codepipeline.PipelineTriggerGitConfigurationPushTagsArgs),
    )


def filter_args(settings: Filter | None, form: Any) -> Any:
    """A filter in the provider's form, which does not allow empty lists."""
    if settings is None:
        return None
    return form(includes=list(settings.includes) or None, excludes=list(settings.excludes) or None)


@dataclass(frozen=True, kw_only=True)
class S3Object:
    """A zip archive in an S3 bucket in the pipeline's Region. Each version of it is built.

    The bucket must exist, with versioning and with notifications to EventBridge, where a rule starts the pipeline.
    https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-S3.html
    """

    bucket: BucketName
    """Name of the bucket."""

    key: ArchiveKey
    """Key of the archive, such as `storefront/source.zip`."""

    kms_key_arn: KmsKeyArn | None = None
    """Customer managed KMS key with which the archive is encrypted."""

    def __post_init__(self) -> None:
        check(self)

    provider = "S3"
    # For other sources, the tag of an image is the commit ID.
    revision = "s3-#{Source.VersionId}"
    image_repository = None
    full_clone = False

    def parts(self, name: str, scope: Scope, artifacts: ArtifactStore, opts: pulumi.ResourceOptions) -> SourceParts:
        return SourceParts(
            configuration=self.configuration(),
            statements=self.statements(scope),
            event_pattern=self.event_pattern(scope),
            change=self.change,
        )

    @property
    def change(self) -> pulumi.Input[str]:
        return concat("A new version of ", self.key, " in ", self.bucket)

    def configuration(self) -> dict[str, pulumi.Input[str]]:
        """The source action's configuration. By default, the action would also poll."""
        return {"S3Bucket": self.bucket, "S3ObjectKey": self.key, "PollForSourceChanges": "false"}

    def statements(self, scope: Scope) -> list[Statement]:
        """Statements that the pipeline's role needs to read a version of the archive."""
        bucket = concat("arn:", scope.partition, ":s3:::", self.bucket)
        return [
            allow("s3:GetObject", "s3:GetObjectVersion", on=concat(bucket, "/", self.key)),
            allow("s3:GetBucketVersioning", "s3:GetBucketAcl", "s3:GetBucketLocation", on=bucket),
            *([allow("kms:Decrypt", on=self.kms_key_arn)] if self.kms_key_arn else []),
        ]

    def event_pattern(self, scope: Scope) -> dict[str, Any]:
        """The event for an upload.

        https://docs.aws.amazon.com/codepipeline/latest/userguide/create-S3-source-events-cfn.html
        """
        return {
            "source": ["aws.s3"],
            "detail-type": ["Object Created"],
            "detail": {"bucket": {"name": [self.bucket]}, "object": {"key": [self.key]}},
        }


@dataclass(frozen=True, kw_only=True)
class EcrImage:
    """A tag in an ECR repository in the pipeline's account and Region, with which an environment takes the unchanged
    image that another has verified. Nothing is built.

    An EventBridge rule starts the pipeline when the tag moves.
    https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-ECR.html
    """

    repository: RepositoryName
    """Name of an existing repository: the one that the other stack builds to."""

    tag: ImageTag
    """Tag that is moved to each image to be released, such as `verified-dev`."""

    def __post_init__(self) -> None:
        check(self)

    provider = "ECR"
    full_clone = False
    revision = "#{Source.ImageDigest}"

    @property
    def image_repository(self) -> pulumi.Input[str]:
        return self.repository

    def parts(self, name: str, scope: Scope, artifacts: ArtifactStore, opts: pulumi.ResourceOptions) -> SourceParts:
        return SourceParts(
            configuration=self.configuration(),
            statements=self.statements(scope),
            event_pattern=self.event_pattern(scope),
            change=self.change,
        )

    @property
    def change(self) -> pulumi.Input[str]:
        return concat(f"The tag {self.tag} of ", self.repository, " moves")

    def configuration(self) -> dict[str, pulumi.Input[str]]:
        """The source action's configuration."""
        return {"RepositoryName": self.repository, "ImageTag": self.tag}

    def statements(self, scope: Scope) -> list[Statement]:
        """Statements that the pipeline's role needs to see which image the tag points to."""
        return [allow("ecr:DescribeImages", on=scope.arn("ecr", concat("repository/", self.repository)))]

    def event_pattern(self, scope: Scope) -> dict[str, Any]:
        """The event for a push of the tag.

        https://docs.aws.amazon.com/codepipeline/latest/userguide/create-cwe-ecr-source.html
        """
        return {
            "source": ["aws.ecr"],
            "detail-type": ["ECR Image Action"],
            "detail": {
                "action-type": ["PUSH"],
                "result": ["SUCCESS"],
                "repository-name": [self.repository],
                "image-tag": [self.tag],
            },
        }
