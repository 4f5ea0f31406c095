"""Where a pipeline takes from what it releases: plain values that a Pipeline takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Protocol, cast, runtime_checkable

import pulumi
import pulumi_aws as aws

from slipway import registry
from slipway._constraints import Must, arn, check, either, items, match, one_of
from slipway._outputs import concat
from slipway._secrets import KmsKeyArn
from slipway.artifacts import ArtifactStore
from slipway.iam import Scope, Statement, allow

PROVIDERS = ("Bitbucket", "GitHub", "GitLab", "AzureDevOps")
"""Providers of repositories that a new connection can be made to; those that a company runs itself need a host.

https://docs.aws.amazon.com/codeconnections/latest/APIReference/API_CreateConnection.html"""
OWNER_AND_NAME = ("Bitbucket", "GitHub")
"""Providers whose repositories are in no further groups."""
EVENTS = ("OPEN", "UPDATED", "CLOSED")


def connections(what: str, kind: str) -> Must:
    """The ARN of something in CodeConnections, also by the name that the service had before."""
    prefixes = ("codeconnections", "codestar-connections")
    first, second = (arn(what, prefix, rf"{kind}/[\w/-]+", f"{kind}/0f-1") for prefix in prefixes)
    return replace(either(first, second), text=first.text)


ConnectionArn = Annotated[pulumi.Input[str], connections("a connection", "connection")]
HostArn = Annotated[pulumi.Input[str], connections("a host", "host")]
Branch = Annotated[
    pulumi.Input[str],
    match(
        # What git takes, without what would be a pattern in a trigger.
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
        # The pipeline's role may read this key: there, these would mean others too.
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


@dataclass(frozen=True, kw_only=True)
class SourceParts:
    """What a source adds to its pipeline."""

    configuration: Mapping[str, pulumi.Input[str]]
    """Configuration of the source action."""

    statements: Sequence[Statement]
    """What the pipeline's role needs for the action."""

    event_pattern: Mapping[str, Any] | None = None
    """Events of EventBridge that start the pipeline."""

    change: pulumi.Input[str] = ""
    """What these events are about."""

    triggers: Sequence[aws.codepipeline.PipelineTriggerArgs] | None = None
    """Triggers of the pipeline, for what CodePipeline watches itself."""

    connection_arn: pulumi.Output[str] | None = None
    """Connection that the source is reached through."""


@runtime_checkable
class Source(Protocol):
    """Where a pipeline takes from what it releases: CodeCommit, Connection, S3Object or EcrImage.

    https://docs.aws.amazon.com/codepipeline/latest/userguide/integrations-action-type.html
    """

    @property
    def provider(self) -> str:
        """What CodePipeline calls it."""
        ...

    @property
    def revision(self) -> str:
        """Variable that says what was taken."""
        ...

    @property
    def image_repository(self) -> pulumi.Input[str] | None:
        """Repository of the image that is taken; None for files, which are built."""
        ...

    @property
    def reviewed(self) -> bool:
        """Whether what is taken was reviewed, and may be released."""
        ...

    def parts(self, name: str, scope: Scope, artifacts: ArtifactStore, opts: pulumi.ResourceOptions) -> SourceParts:
        """What the pipeline `name` needs of this source, with resources under `opts` where it takes some."""
        ...


@dataclass(frozen=True, kw_only=True)
class CodeCommit:
    """A branch of a CodeCommit repository in the pipeline's account and Region.

    An EventBridge rule starts the pipeline on a push.
    https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-CodeCommit.html
    """

    repository: CodeCommitRepository
    """Name of the repository, which exists already."""

    branch: Branch = "main"
    """Branch whose pushes are released."""

    def __post_init__(self) -> None:
        check(self)

    provider = "CodeCommit"
    revision = "#{Source.CommitId}"
    image_repository = None
    reviewed = True

    def parts(self, name: str, scope: Scope, artifacts: ArtifactStore, opts: pulumi.ResourceOptions) -> SourceParts:
        return SourceParts(
            configuration=self.configuration(),
            statements=[*self.statements(scope), artifacts.list_statement()],
            event_pattern=self.event_pattern(scope),
            change=self.change,
        )

    @property
    def change(self) -> pulumi.Input[str]:
        """What starts the pipeline."""
        return concat("A push to ", self.branch, " of ", self.repository)

    def configuration(self) -> dict[str, pulumi.Input[str]]:
        """The source action's configuration. By default the action would poll, beside the rule."""
        return {"RepositoryName": self.repository, "BranchName": self.branch, "PollForSourceChanges": "false"}

    def statements(self, scope: Scope) -> list[Statement]:
        """What the pipeline's role needs to take a commit."""
        return [
            allow(
                "codecommit:GetBranch",
                "codecommit:GetCommit",
                "codecommit:UploadArchive",
                "codecommit:GetUploadArchiveStatus",
                "codecommit:CancelUploadArchive",
                on=scope.arn("codecommit", self.repository),
            )
        ]

    def event_pattern(self, scope: Scope) -> dict[str, Any]:
        """The event of a push to the branch.

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
    """Glob patterns: what matches one of `includes`, or anything where there are none, and none of `excludes`."""

    includes: Patterns = ()
    """Patterns of which one must match."""

    excludes: Patterns = ()
    """Patterns of which none may match; they come first."""

    def __post_init__(self) -> None:
        check(self)

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        yield not self.includes and not self.excludes, "includes or excludes must name a pattern, got none"


@dataclass(frozen=True, kw_only=True)
class Push:
    """A push that starts the pipeline: all that is given here must match.

    Filters are of tags, of branches, or of branches and file paths.
    https://docs.aws.amazon.com/codepipeline/latest/userguide/pipelines-triggers.html
    """

    branches: Filter | None = None
    """Branches that are pushed to."""

    file_paths: Filter | None = None
    """Files that are changed, among the first 100 of a push."""

    tags: Filter | None = None
    """Git tags that are pushed; a push is either of a branch or of a tag."""

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
class PullRequest:
    """A pull request that starts the pipeline: all that is given here must match.

    https://docs.aws.amazon.com/codepipeline/latest/userguide/pipelines-triggers.html
    """

    branches: Filter
    """Branches that it is to be merged into. CodePipeline takes no filter without them."""

    events: Annotated[Sequence[Annotated[str, one_of(EVENTS)]], items(1, distinct=True)] = ("OPEN", "UPDATED")
    """What happens to it: OPEN, UPDATED, CLOSED."""

    file_paths: Filter | None = None
    """Files that it changes."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class Connection:
    """A repository at GitHub, GitHub Enterprise Server, GitLab, Bitbucket or Azure DevOps, through CodeConnections.

    A trigger of the pipeline starts it.
    https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-CodestarConnectionSource.html
    """

    repository: HostedRepository
    """`<owner>/<repository>` (GitLab: with its groups), in the letter case that the provider shows."""

    branch: Branch = "main"
    """Branch whose pushes are released, and that is taken when somebody starts the pipeline by hand."""

    arn: ConnectionArn | None = None
    """ARN of a connection that exists. Without it, the pipeline makes one, by `provider_type` or `host_arn`; a new
    connection is PENDING until somebody finishes its handshake in the console."""

    provider_type: Annotated[str, one_of(PROVIDERS)] | None = None
    """Provider that a new connection is made to: Bitbucket, GitHub, GitLab, AzureDevOps."""

    host_arn: HostArn | None = None
    """Host that a new connection is made to, for GitHub Enterprise Server or a GitLab that a company runs itself."""

    # https://docs.aws.amazon.com/codepipeline/latest/userguide/limits.html
    push: Annotated[Sequence[Push], items(most=3, distinct=True)] = ()
    """Pushes that start the pipeline, each for itself. Without any, and without `pull_requests`, those to `branch`."""

    pull_requests: Annotated[Sequence[PullRequest], items(most=3, distinct=True)] = ()
    """Pull requests that start the pipeline, each for itself. What they bring was not reviewed, so the pipeline must
    not deploy."""

    def __post_init__(self) -> None:
        check(self)

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        ways = [way for way in (self.arn, self.provider_type, self.host_arn) if way is not None]
        yield (
            len(ways) != 1,
            "arn, provider_type or host_arn must be given, and only one: a connection that exists, or what to make one "
            f"to, got {len(ways)}",
        )
        grouped = isinstance(self.repository, str) and self.repository.count("/") > 1
        yield (
            grouped and self.provider_type in OWNER_AND_NAME,
            f"repository must be <owner>/<repository> with provider_type={self.provider_type}, got {self.repository!r}",
        )

    provider = "CodeStarSourceConnection"  # the action kept the name that CodeConnections had before
    revision = "#{Source.CommitId}"
    image_repository = None

    @property
    def reviewed(self) -> bool:
        return not self.pull_requests

    def parts(self, name: str, scope: Scope, artifacts: ArtifactStore, opts: pulumi.ResourceOptions) -> SourceParts:
        arn = self.connection(name, scope, opts).arn
        return SourceParts(
            configuration=self.configuration(arn),
            statements=[*self.statements(scope, arn), artifacts.acl_statement()],
            triggers=self.triggers(),
            connection_arn=arn,
        )

    def connection(self, name: str, scope: Scope, opts: pulumi.ResourceOptions) -> aws.codeconnections.Connection:
        """The connection: a new one, or the one that exists. Warns while nobody has finished its handshake."""
        if self.arn is not None:
            connection = aws.codeconnections.Connection.get(f"{name}-connection", self.arn, opts=opts)
        else:
            connection = aws.codeconnections.Connection(
                f"{name}-connection",
                # A connection's name takes 32 characters.
                name=name[:32].rstrip("-"),
                provider_type=self.provider_type,
                host_arn=self.host_arn,
                opts=opts,
            )

        def warn(known: Sequence[str]) -> None:
            status, arn, region = known
            if status == "PENDING":
                pulumi.log.warn(
                    f"the connection {arn} is PENDING, and the pipeline {name} cannot start: finish its handshake at "
                    f"https://{region}.console.aws.amazon.com/codesuite/settings/connections, then start the pipeline",
                    connection,
                )

        pulumi.Output.all(connection.connection_status, connection.arn, scope.region).apply(warn)
        return connection

    def starts(self) -> tuple[Sequence[Push], Sequence[PullRequest]]:
        """The pushes and the pull requests that start the pipeline."""
        if self.push or self.pull_requests:
            return self.push, self.pull_requests
        return [Push(branches=Filter(includes=[self.branch]))], []

    def triggers(self) -> list[aws.codepipeline.PipelineTriggerArgs]:
        """https://docs.aws.amazon.com/codepipeline/latest/userguide/pipelines-filter.html"""
        pushes, requests = self.starts()
        return [
            aws.codepipeline.PipelineTriggerArgs(
                provider_type="CodeStarSourceConnection",
                git_configuration=aws.codepipeline.PipelineTriggerGitConfigurationArgs(
                    source_action_name="Source",
                    pushes=[push_trigger(push) for push in pushes] or None,
                    pull_requests=[request_trigger(request) for request in requests] or None,
                ),
            )
        ]

    def configuration(self, connection_arn: pulumi.Input[str]) -> dict[str, pulumi.Input[str]]:
        """The source action's configuration. By default the action would start the pipeline beside the trigger."""
        return {
            "ConnectionArn": connection_arn,
            "FullRepositoryId": self.repository,
            "BranchName": self.branch,
            "OutputArtifactFormat": "CODE_ZIP",
            "DetectChanges": "false",
        }

    def statements(self, scope: Scope, connection_arn: pulumi.Input[str]) -> list[Statement]:
        """What the pipeline's role needs to take a commit; the service checks either prefix, by the age of the ARN."""
        rest = pulumi.Output.from_input(cast(Any, connection_arn)).apply(lambda arn: arn.split(":", 3)[3])
        return [
            allow(f"{prefix}:UseConnection", on=concat("arn:", scope.partition, f":{prefix}:", rest))
            for prefix in ("codeconnections", "codestar-connections")
        ]


def push_trigger(push: Push) -> aws.codepipeline.PipelineTriggerGitConfigurationPushArgs:
    return aws.codepipeline.PipelineTriggerGitConfigurationPushArgs(
        branches=filter_args(push.branches, aws.codepipeline.PipelineTriggerGitConfigurationPushBranchesArgs),
        file_paths=filter_args(push.file_paths, aws.codepipeline.PipelineTriggerGitConfigurationPushFilePathsArgs),
        tags=filter_args(push.tags, aws.codepipeline.PipelineTriggerGitConfigurationPushTagsArgs),
    )


def request_trigger(request: PullRequest) -> aws.codepipeline.PipelineTriggerGitConfigurationPullRequestArgs:
    return aws.codepipeline.PipelineTriggerGitConfigurationPullRequestArgs(
        events=list(request.events),
        branches=filter_args(request.branches, aws.codepipeline.PipelineTriggerGitConfigurationPullRequestBranchesArgs),
        file_paths=filter_args(
            request.file_paths, aws.codepipeline.PipelineTriggerGitConfigurationPullRequestFilePathsArgs
        ),
    )


def filter_args(settings: Filter | None, form: Any) -> Any:
    """A filter in the form that the provider has for it; empty lists are not taken."""
    if settings is None:
        return None
    return form(includes=list(settings.includes) or None, excludes=list(settings.excludes) or None)


@dataclass(frozen=True, kw_only=True)
class S3Object:
    """A zip archive in an S3 bucket of the pipeline's Region: its versions are what is built.

    The bucket exists, with versioning and with notifications to EventBridge, where a rule starts the pipeline.
    https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-S3.html
    """

    bucket: BucketName
    """Name of the bucket."""

    key: ArchiveKey
    """Key of the archive, such as `storefront/source.zip`."""

    kms_key_arn: KmsKeyArn | None = None
    """Customer managed KMS key that the archive is encrypted with."""

    def __post_init__(self) -> None:
        check(self)

    provider = "S3"
    # Tags of images are ids of commits otherwise.
    revision = "s3-#{Source.VersionId}"
    image_repository = None
    reviewed = True

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
        """The source action's configuration. By default the action would poll, beside the rule."""
        return {"S3Bucket": self.bucket, "S3ObjectKey": self.key, "PollForSourceChanges": "false"}

    def statements(self, scope: Scope) -> list[Statement]:
        """What the pipeline's role needs to take a version of the archive."""
        bucket = concat("arn:", scope.partition, ":s3:::", self.bucket)
        return [
            allow("s3:GetObject", "s3:GetObjectVersion", on=concat(bucket, "/", self.key)),
            allow("s3:GetBucketVersioning", "s3:GetBucketAcl", "s3:GetBucketLocation", on=bucket),
            *([allow("kms:Decrypt", on=self.kms_key_arn)] if self.kms_key_arn else []),
        ]

    def event_pattern(self, scope: Scope) -> dict[str, Any]:
        """The event of an upload.

        https://docs.aws.amazon.com/codepipeline/latest/userguide/create-S3-source-events-cfn.html
        """
        return {
            "source": ["aws.s3"],
            "detail-type": ["Object Created"],
            "detail": {"bucket": {"name": [self.bucket]}, "object": {"key": [self.key]}},
        }


@dataclass(frozen=True, kw_only=True)
class EcrImage:
    """A tag of an ECR repository in the pipeline's account and Region: how one environment takes, unchanged, the image
    that another has verified. Nothing is built.

    An EventBridge rule starts the pipeline when the tag moves.
    https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-ECR.html
    """

    repository: RepositoryName
    """Name of the repository, which exists already: the one that the other stack builds to."""

    tag: ImageTag
    """Tag that moves to each image that may be taken, such as `verified-dev`."""

    def __post_init__(self) -> None:
        check(self)

    provider = "ECR"
    revision = "#{Source.ImageDigest}"
    reviewed = True

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
        """What the pipeline's role needs to see which image the tag points at."""
        return [allow("ecr:DescribeImages", on=scope.arn("ecr", concat("repository/", self.repository)))]

    def event_pattern(self, scope: Scope) -> dict[str, Any]:
        """The event of a push of the tag.

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
