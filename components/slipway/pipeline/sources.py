"""Where a pipeline takes from what it releases: plain values that a Pipeline takes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from slipway._rules import refuse
from slipway.iam import Scope, Statement, allow

CONNECTION_ARN = re.compile(r"arn:[\w-]+:(codeconnections|codestar-connections):[\w-]+:\d{12}:connection/[\w-]+")
HOST_ARN = re.compile(r"arn:[\w-]+:(codeconnections|codestar-connections):[\w-]+:\d{12}:host/\S+")
PROVIDERS = ("Bitbucket", "GitHub", "GitLab", "AzureDevOps")
"""Providers of repositories that a new connection can be made to; those that a company runs itself need a host.

https://docs.aws.amazon.com/codeconnections/latest/APIReference/API_CreateConnection.html"""
EVENTS = ("OPEN", "UPDATED", "CLOSED")
BRANCH = re.compile(r"[^\s*?\[\\^~:{}]+")
BRANCH_RULE = "the name of one branch, without spaces and patterns"


@dataclass(frozen=True, kw_only=True)
class CodeCommit:
    """A branch of a CodeCommit repository in the pipeline's account and Region.

    An EventBridge rule starts the pipeline on a push.
    https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-CodeCommit.html
    """

    repository: str
    """Name of the repository, which exists already."""

    branch: str = "main"
    """Branch whose pushes are released."""

    def __post_init__(self) -> None:
        refuse(
            (
                not re.fullmatch(r"[\w.-]{1,100}", self.repository),
                f"repository must be 1 to 100 characters of A-Z a-z 0-9 . _ -, got {self.repository!r}",
            ),
            (not BRANCH.fullmatch(self.branch), f"branch must be {BRANCH_RULE}, got {self.branch!r}"),
        )

    provider = "CodeCommit"
    revision = "#{Source.CommitId}"
    """Variable that says what was taken."""

    @property
    def change(self) -> str:
        """What starts the pipeline."""
        return f"A push to {self.branch} of {self.repository}"

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

    def event_pattern(self, scope: Scope) -> dict[str, Any] | None:
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

    includes: Sequence[str] = ()
    """Patterns of which one must match."""

    excludes: Sequence[str] = ()
    """Patterns of which none may match; they come first."""

    def __post_init__(self) -> None:
        for name, patterns in (("includes", self.includes), ("excludes", self.excludes)):
            bad = [pattern for pattern in patterns if not 1 <= len(pattern) <= 255]
            refuse(
                (isinstance(patterns, str), f"{name} must be a list of patterns, got {patterns!r}"),
                (len(patterns) > 8, f"{name} must be at most 8 patterns, got {len(patterns)}"),
                (bool(bad), f"{name} must be patterns of 1 to 255 characters, got {bad}"),
                (len(set(patterns)) < len(patterns), f"{name} must be different patterns, got {list(patterns)}"),
            )
        refuse((not self.includes and not self.excludes, "includes or excludes must name a pattern, got none"))


@dataclass(frozen=True, kw_only=True)
class Push:
    """A push that starts the pipeline: all that is given here must match."""

    branches: Filter | None = None
    """Branches that are pushed to."""

    file_paths: Filter | None = None
    """Files that are changed, among the first 100 of a push."""

    tags: Filter | None = None
    """Git tags that are pushed; a push is either of a branch or of a tag."""

    def __post_init__(self) -> None:
        refuse(
            (
                self.tags is not None and (self.branches is not None or self.file_paths is not None),
                "tags must not be combined with branches or file_paths: a push is either of a tag or of a branch, "
                "so nothing would ever match; write two entries",
            ),
            (
                self.tags is None and self.branches is None and self.file_paths is None,
                "branches, file_paths or tags must be given, got none",
            ),
        )


@dataclass(frozen=True, kw_only=True)
class PullRequest:
    """A pull request that starts the pipeline: all that is given here must match."""

    events: Sequence[str] = ("OPEN", "UPDATED")
    """What happens to it: OPEN, UPDATED, CLOSED."""

    branches: Filter | None = None
    """Branches that it is to be merged into."""

    file_paths: Filter | None = None
    """Files that it changes."""

    def __post_init__(self) -> None:
        unknown = [event for event in self.events if event not in EVENTS]
        refuse(
            (not self.events or bool(unknown), f"events must be some of {list(EVENTS)}, got {list(self.events)}"),
            # CodePipeline takes no filter of events alone.
            (self.branches is None and self.file_paths is None, "branches or file_paths must be given, got none"),
        )


@dataclass(frozen=True, kw_only=True)
class Connection:
    """A repository at GitHub, GitHub Enterprise Server, GitLab, Bitbucket or Azure DevOps, through CodeConnections.

    A trigger of the pipeline starts it.
    https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-CodestarConnectionSource.html
    """

    repository: str
    """`<owner>/<repository>` (GitLab: with its groups), in the letter case that the provider shows."""

    branch: str = "main"
    """Branch whose pushes are released, and that is taken when somebody starts the pipeline by hand."""

    arn: str | None = None
    """ARN of a connection that exists. Without it, the pipeline makes one, by `provider_type` or `host_arn`; a new
    connection is PENDING until somebody finishes its handshake in the console."""

    provider_type: str | None = None
    """Provider that a new connection is made to: Bitbucket, GitHub, GitLab, AzureDevOps."""

    host_arn: str | None = None
    """Host that a new connection is made to, for GitHub Enterprise Server or a GitLab that a company runs itself."""

    push: Sequence[Push] = ()
    """Pushes that start the pipeline, each for itself. Without any, and without `pull_requests`, those to `branch`."""

    pull_requests: Sequence[PullRequest] = ()
    """Pull requests that start the pipeline, each for itself. What they bring was not reviewed, so the pipeline must
    not deploy."""

    def __post_init__(self) -> None:
        ways = [way for way in (self.arn, self.provider_type, self.host_arn) if way is not None]
        refuse(
            (
                len(ways) != 1,
                "arn, provider_type and host_arn must be one of the three: a connection that exists, or what to make "
                f"one to, got {len(ways)}",
            ),
            (
                isinstance(self.arn, str) and not CONNECTION_ARN.fullmatch(self.arn),
                "arn must be the ARN of a connection, arn:aws:codeconnections:<region>:<account>:connection/<id>, "
                f"got {self.arn!r}",
            ),
            (
                self.provider_type is not None and self.provider_type not in PROVIDERS,
                f"provider_type must be one of {list(PROVIDERS)}, got {self.provider_type!r}",
            ),
            (
                self.host_arn is not None and not HOST_ARN.fullmatch(self.host_arn),
                f"host_arn must be the ARN of a host of CodeConnections, got {self.host_arn!r}",
            ),
            (
                not re.fullmatch(r"[^/\s]+(/[^/\s]+)+", self.repository),
                f"repository must be <owner>/<repository>, got {self.repository!r}",
            ),
            (not BRANCH.fullmatch(self.branch), f"branch must be {BRANCH_RULE}, got {self.branch!r}"),
            # https://docs.aws.amazon.com/codepipeline/latest/userguide/limits.html
            *((len(f) > 3, f"{name} must be at most 3, got {len(f)}") for name, f in self._filters()),
            *(
                (any(e in f[:i] for i, e in enumerate(f)), f"{name} must be different, got the same one twice")
                for name, f in self._filters()
            ),
        )

    def _filters(self) -> list[tuple[str, list[Any]]]:
        return [("push", list(self.push)), ("pull_requests", list(self.pull_requests))]

    provider = "CodeStarSourceConnection"  # the action kept the name that CodeConnections had before
    revision = "#{Source.CommitId}"

    @property
    def change(self) -> str:
        return f"What {self.repository} has for it"

    def starts(self) -> tuple[Sequence[Push], Sequence[PullRequest]]:
        """The pushes and the pull requests that start the pipeline."""
        if self.push or self.pull_requests:
            return self.push, self.pull_requests
        return [Push(branches=Filter(includes=[self.branch]))], []

    def configuration(self) -> dict[str, pulumi.Input[str]]:
        """The source action's configuration. By default the action would start the pipeline beside the trigger."""
        return {
            "ConnectionArn": self._arn(),
            "FullRepositoryId": self.repository,
            "BranchName": self.branch,
            "OutputArtifactFormat": "CODE_ZIP",
            "DetectChanges": "false",
        }

    def statements(self, scope: Scope) -> list[Statement]:
        """What the pipeline's role needs to take a commit; the service checks either prefix, by the age of the ARN."""
        rest = self._arn().apply(lambda arn: arn.split(":", 3)[3])
        return [
            allow(f"{prefix}:UseConnection", on=pulumi.Output.concat("arn:", scope.partition, f":{prefix}:", rest))
            for prefix in ("codeconnections", "codestar-connections")
        ]

    def event_pattern(self, scope: Scope) -> dict[str, Any] | None:
        """A trigger of the pipeline starts it, and no event."""
        return None

    def _arn(self) -> pulumi.Output[str]:
        return pulumi.Output.from_input(self.arn or "")


@dataclass(frozen=True, kw_only=True)
class S3Object:
    """A zip archive in an S3 bucket of the pipeline's Region: its versions are what is built.

    The bucket exists, with versioning and with notifications to EventBridge, where a rule starts the pipeline.
    https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-S3.html
    """

    bucket: str
    """Name of the bucket."""

    key: str
    """Key of the archive, such as `storefront/source.zip`."""

    kms_key_arn: str | None = None
    """Customer managed KMS key that the archive is encrypted with."""

    def __post_init__(self) -> None:
        refuse(
            (
                not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", self.bucket),
                f"bucket must be the name of an S3 bucket, got {self.bucket!r}",
            ),
            (
                not self.key.endswith(".zip") or self.key.startswith("/") or len(self.key) > 1000,
                f"key must be the key of a .zip archive, got {self.key!r}",
            ),
            (
                self.kms_key_arn is not None and not re.fullmatch(r"arn:[\w-]+:kms:\S+", self.kms_key_arn),
                f"kms_key_arn must be the ARN of a KMS key, got {self.kms_key_arn!r}",
            ),
        )

    provider = "S3"
    # Tags of images are ids of commits otherwise.
    revision = "s3-#{Source.VersionId}"

    @property
    def change(self) -> str:
        return f"A new version of {self.key} in {self.bucket}"

    def configuration(self) -> dict[str, pulumi.Input[str]]:
        """The source action's configuration. By default the action would poll, beside the rule."""
        return {"S3Bucket": self.bucket, "S3ObjectKey": self.key, "PollForSourceChanges": "false"}

    def statements(self, scope: Scope) -> list[Statement]:
        """What the pipeline's role needs to take a version of the archive."""
        bucket = pulumi.Output.concat("arn:", scope.partition, f":s3:::{self.bucket}")
        return [
            allow("s3:GetObject", "s3:GetObjectVersion", on=pulumi.Output.concat(bucket, f"/{self.key}")),
            allow("s3:GetBucketVersioning", "s3:GetBucketAcl", "s3:GetBucketLocation", on=bucket),
            *([allow("kms:Decrypt", on=self.kms_key_arn)] if self.kms_key_arn else []),
        ]

    def event_pattern(self, scope: Scope) -> dict[str, Any] | None:
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

    repository: str
    """Name of the repository, which exists already: the one that the other stack builds to."""

    tag: str
    """Tag that moves to each image that may be taken, such as `verified-dev`."""

    def __post_init__(self) -> None:
        refuse(
            (
                not re.fullmatch(r"[a-z0-9][a-z0-9._/-]{0,254}[a-z0-9]", self.repository),
                f"repository must be the name of an ECR repository, got {self.repository!r}",
            ),
            (
                not re.fullmatch(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", self.tag),
                f"tag must be a tag of an image, got {self.tag!r}",
            ),
        )

    provider = "ECR"
    revision = "#{Source.ImageDigest}"

    @property
    def change(self) -> str:
        return f"The tag {self.tag} of {self.repository} moves"

    def configuration(self) -> dict[str, pulumi.Input[str]]:
        """The source action's configuration."""
        return {"RepositoryName": self.repository, "ImageTag": self.tag}

    def statements(self, scope: Scope) -> list[Statement]:
        """What the pipeline's role needs to see which image the tag points at."""
        return [allow("ecr:DescribeImages", on=scope.arn("ecr", f"repository/{self.repository}"))]

    def event_pattern(self, scope: Scope) -> dict[str, Any] | None:
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


Source = CodeCommit | Connection | S3Object | EcrImage
