from typing import Any

import pulumi
import pytest
from slipway import CodeCommit, Connection
from slipway.iam import Place
from unit.harness import resolved

GITHUB = "arn:aws:codeconnections:eu-west-1:123456789012:connection/0f-1"


class Here(pulumi.ComponentResource):
    def __init__(self) -> None:
        super().__init__("test:index:Here", "here")
        self.place = Place.of(self)


def test_codecommit_is_not_polled() -> None:
    assert CodeCommit(repository="storefront").configuration() == {
        "RepositoryName": "storefront",
        "BranchName": "main",
        "PollForSourceChanges": "false",
    }


def test_codecommit_needs_its_one_repository() -> None:
    assert resolved(lambda: CodeCommit(repository="storefront").statements(Here().place)) == [
        {
            "Effect": "Allow",
            "Action": [
                "codecommit:GetBranch",
                "codecommit:GetCommit",
                "codecommit:UploadArchive",
                "codecommit:GetUploadArchiveStatus",
                "codecommit:CancelUploadArchive",
            ],
            "Resource": "arn:aws:codecommit:eu-west-1:123456789012:storefront",
        }
    ]


def test_the_event_of_codecommit_is_a_push_to_that_branch_of_that_repository() -> None:
    assert resolved(lambda: CodeCommit(repository="storefront", branch="release").event_pattern(Here().place)) == {
        "source": ["aws.codecommit"],
        "detail-type": ["CodeCommit Repository State Change"],
        "resources": ["arn:aws:codecommit:eu-west-1:123456789012:storefront"],
        "detail": {
            "event": ["referenceCreated", "referenceUpdated"],
            "referenceType": ["branch"],
            "referenceName": ["release"],
        },
    }


def test_a_connection_leaves_the_start_to_the_trigger() -> None:
    assert Connection(arn=GITHUB, repository="acme/storefront").configuration() == {
        "ConnectionArn": GITHUB,
        "FullRepositoryId": "acme/storefront",
        "BranchName": "main",
        "OutputArtifactFormat": "CODE_ZIP",
        "DetectChanges": "false",
    }


@pytest.mark.parametrize("prefix", ["codeconnections", "codestar-connections"])
def test_a_connection_may_be_used_under_either_prefix_and_no_other_one(prefix: str) -> None:
    arn = f"arn:aws:{prefix}:eu-west-1:123456789012:connection/0f-1"
    source = Connection(arn=arn, repository="acme/storefront")
    assert resolved(lambda: source.statements(Here().place)) == [
        {"Effect": "Allow", "Action": ["codeconnections:UseConnection"], "Resource": GITHUB},
        {
            "Effect": "Allow",
            "Action": ["codestar-connections:UseConnection"],
            "Resource": "arn:aws:codestar-connections:eu-west-1:123456789012:connection/0f-1",
        },
    ]


def test_the_providers_are_called_what_codepipeline_calls_them() -> None:
    assert CodeCommit(repository="x").provider == "CodeCommit"
    assert Connection(arn=GITHUB, repository="acme/x").provider == "CodeStarSourceConnection"


@pytest.mark.parametrize("repository", ["acme/storefront", "group/sub-group/storefront.web"])
def test_repositories_with_and_without_groups_are_accepted(repository: str) -> None:
    assert Connection(arn=GITHUB, repository=repository).repository == repository


@pytest.mark.parametrize("branch", ["main", "feature/x_1.2-y", "release@2"])
def test_names_of_branches_are_accepted(branch: str) -> None:
    assert CodeCommit(repository="x", branch=branch).branch == branch


BRANCH = "branch must be the name of one branch, without spaces and patterns, since what matches is released, got "


@pytest.mark.parametrize(
    ("source", "told", "message"),
    [
        (CodeCommit, {"repository": "a/b"}, "repository must be 1 to 100 characters of A-Z a-z 0-9 . _ -, got 'a/b'"),
        (CodeCommit, {"repository": "a", "branch": "main*"}, BRANCH + "'main*'"),
        (CodeCommit, {"repository": "a", "branch": ""}, BRANCH + "''"),
        (CodeCommit, {"repository": "a", "branch": "a b"}, BRANCH + "'a b'"),
        (
            Connection,
            {"arn": "github", "repository": "a/b"},
            "arn must be the ARN of a connection, arn:aws:codeconnections:<region>:<account>:connection/<id>, "
            "got 'github'",
        ),
        (Connection, {"arn": GITHUB, "repository": "b"}, "repository must be <owner>/<repository>, got 'b'"),
        (Connection, {"arn": GITHUB, "repository": "a/b", "branch": "v[0-9]"}, BRANCH + "'v[0-9]'"),
    ],
)
def test_what_is_no_source_is_refused_with_the_rule(source: Any, told: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError) as error:
        source(**told)
    assert str(error.value) == message
