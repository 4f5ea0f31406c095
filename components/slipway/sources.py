"""Where a pipeline takes its commits from: plain values that a Pipeline takes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from slipway._rules import refuse
from slipway.iam import Place, Statement, allow

CONNECTION_ARN = re.compile(r"arn:[\w-]+:(codeconnections|codestar-connections):[\w-]+:\d{12}:connection/[\w-]+")
BRANCH = re.compile(r"[^\s*?\[\\^~:]+")
BRANCH_RULE = "the name of one branch, without spaces and patterns, since what matches is released"


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

    @property
    def provider(self) -> str:
        return "CodeCommit"

    def configuration(self) -> dict[str, str]:
        """The source action's configuration. By default the action would poll, beside the rule."""
        return {"RepositoryName": self.repository, "BranchName": self.branch, "PollForSourceChanges": "false"}

    def statements(self, place: Place) -> list[Statement]:
        """What the pipeline's role needs to take a commit."""
        return [
            allow(
                "codecommit:GetBranch",
                "codecommit:GetCommit",
                "codecommit:UploadArchive",
                "codecommit:GetUploadArchiveStatus",
                "codecommit:CancelUploadArchive",
                on=place.arn("codecommit", self.repository),
            )
        ]

    def event_pattern(self, place: Place) -> dict[str, Any]:
        """The event of a push to the branch.

        https://docs.aws.amazon.com/codepipeline/latest/userguide/pipelines-trigger-source-repo-changes-cfn.html
        """
        return {
            "source": ["aws.codecommit"],
            "detail-type": ["CodeCommit Repository State Change"],
            "resources": [place.arn("codecommit", self.repository)],
            "detail": {
                "event": ["referenceCreated", "referenceUpdated"],
                "referenceType": ["branch"],
                "referenceName": [self.branch],
            },
        }


@dataclass(frozen=True, kw_only=True)
class Connection:
    """A branch of a repository at GitHub, GitHub Enterprise Server, GitLab or Bitbucket, through CodeConnections.

    A trigger of the pipeline starts it on a push.
    https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-CodestarConnectionSource.html
    """

    arn: str
    """ARN of the connection. Somebody finished its handshake in the console: a new connection is PENDING."""

    repository: str
    """`<owner>/<repository>` (GitLab: with its groups), in the letter case that the provider shows."""

    branch: str = "main"
    """Branch whose pushes are released."""

    def __post_init__(self) -> None:
        refuse(
            (
                not CONNECTION_ARN.fullmatch(self.arn),
                "arn must be the ARN of a connection, arn:aws:codeconnections:<region>:<account>:connection/<id>, "
                f"got {self.arn!r}",
            ),
            (
                not re.fullmatch(r"[^/\s]+(/[^/\s]+)+", self.repository),
                f"repository must be <owner>/<repository>, got {self.repository!r}",
            ),
            (not BRANCH.fullmatch(self.branch), f"branch must be {BRANCH_RULE}, got {self.branch!r}"),
        )

    @property
    def provider(self) -> str:
        return "CodeStarSourceConnection"  # the action kept the name that CodeConnections had before

    def configuration(self) -> dict[str, str]:
        """The source action's configuration. By default the action would start the pipeline beside the trigger."""
        return {
            "ConnectionArn": self.arn,
            "FullRepositoryId": self.repository,
            "BranchName": self.branch,
            "OutputArtifactFormat": "CODE_ZIP",
            "DetectChanges": "false",
        }

    def statements(self, place: Place) -> list[Statement]:
        """What the pipeline's role needs to take a commit; the service checks either prefix, by the age of the ARN."""
        _, partition, _, rest = self.arn.split(":", 3)
        return [
            allow(f"{prefix}:UseConnection", on=f"arn:{partition}:{prefix}:{rest}")
            for prefix in ("codeconnections", "codestar-connections")
        ]


Source = CodeCommit | Connection
