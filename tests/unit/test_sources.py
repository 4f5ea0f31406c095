from typing import Any

import pulumi
import pytest
from slipway import CodeCommit, Connection, EcrImage, Filter, Push, S3Object
from slipway.iam import Scope
from slipway.pipeline.sources import connection_statements
from unit.harness import resolved

GITHUB = "arn:aws:codeconnections:eu-west-1:123456789012:connection/0f-1"
HOST = "arn:aws:codeconnections:eu-west-1:123456789012:host/ghes-0f1"
ARCHIVE = "arn:aws:s3:::acme-sources"
KMS_KEY = "arn:aws:kms:eu-west-1:123456789012:key/k"
FILTER = Filter(includes=["main"])


class Here(pulumi.ComponentResource):
    def __init__(self) -> None:
        super().__init__("test:index:Here", "here")
        self.place = Scope.of(self)


def connection(**args: Any) -> Connection:
    return Connection(**{"arn": GITHUB, "repository": "acme/storefront", **args})


def refusal(source: Any, **args: Any) -> str:
    with pytest.raises(ValueError) as error:
        source(**args)
    return str(error.value)


def test_the_providers_have_codepipelines_names() -> None:
    assert CodeCommit(repository="x").provider == "CodeCommit"
    assert connection().provider == "CodeStarSourceConnection"
    assert S3Object(bucket="acme-sources", key="app.zip").provider == "S3"
    assert EcrImage(repository="storefront", tag="verified-dev").provider == "ECR"


def test_the_revision_of_a_source_is_the_output_variable_of_its_action() -> None:
    assert CodeCommit(repository="x").revision == "#{Source.CommitId}"
    assert connection().revision == "#{Source.CommitId}"
    assert S3Object(bucket="acme-sources", key="app.zip").revision == "s3-#{Source.VersionId}"
    assert EcrImage(repository="storefront", tag="verified-dev").revision == "#{Source.ImageDigest}"


def test_every_source_describes_what_starts_the_pipeline() -> None:
    assert resolved(
        lambda: [
            CodeCommit(repository="storefront", branch="release").change,
            S3Object(bucket="acme-sources", key="a/b.zip").change,
            EcrImage(repository="storefront", tag="verified-dev").change,
        ]
    ) == [
        "A push to release of storefront",
        "A new version of a/b.zip in acme-sources",
        "The tag verified-dev of storefront moves",
    ]


def test_codecommit_is_not_polled() -> None:
    assert CodeCommit(repository="storefront", branch="release").configuration() == {
        "RepositoryName": "storefront",
        "BranchName": "release",
        "PollForSourceChanges": "false",
    }


def test_an_archive_is_not_polled() -> None:
    assert S3Object(bucket="acme-sources", key="storefront/source.zip").configuration() == {
        "S3Bucket": "acme-sources",
        "S3ObjectKey": "storefront/source.zip",
        "PollForSourceChanges": "false",
    }


def test_an_image_is_identified_by_its_tag() -> None:
    assert EcrImage(repository="storefront-dev", tag="verified-dev").configuration() == {
        "RepositoryName": "storefront-dev",
        "ImageTag": "verified-dev",
    }


def test_a_connection_is_started_by_the_trigger() -> None:
    assert resolved(lambda: connection(branch="release").configuration(GITHUB)) == {
        "ConnectionArn": GITHUB,
        "FullRepositoryId": "acme/storefront",
        "BranchName": "release",
        "OutputArtifactFormat": "CODE_ZIP",
        "DetectChanges": "false",
    }


def test_codecommit_needs_access_to_its_repository_only() -> None:
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


def test_a_full_clone_of_codecommit_is_pulled_by_the_build() -> None:
    arn = "arn:aws:codecommit:eu-west-1:123456789012:storefront"
    source = CodeCommit(repository="storefront", full_clone=True)
    assert source.configuration()["OutputArtifactFormat"] == "CODEBUILD_CLONE_REF"
    [statement] = resolved(lambda: source.statements(Here().place))
    assert statement["Action"][-1] == "codecommit:GetRepository"
    assert resolved(lambda: source.clone_statements(Here().place)) == [
        {"Effect": "Allow", "Action": ["codecommit:GitPull"], "Resource": arn}
    ]
    assert resolved(lambda: CodeCommit(repository="storefront").clone_statements(Here().place)) == []


def test_the_build_may_clone_the_private_repositories_of_submodules_that_are_named() -> None:
    commit = CodeCommit(repository="storefront", full_clone=True, submodule_repositories=["theme"])
    [statement] = resolved(lambda: commit.clone_statements(Here().place))
    of = "arn:aws:codecommit:eu-west-1:123456789012:"
    assert (statement["Action"], statement["Resource"]) == (["codecommit:GitPull"], [f"{of}storefront", f"{of}theme"])
    source = connection(full_clone=True, submodule_repositories=["acme/theme"])
    [now, before] = resolved(lambda: source.clone_statements(Here().place, GITHUB))
    cloned = [source.repository, "acme/theme"]
    assert now["Condition"] == {"StringEquals": {"codeconnections:FullRepositoryId": cloned}}
    assert before["Condition"] == {"StringEquals": {"codestar-connections:FullRepositoryId": cloned}}


def test_repositories_of_submodules_are_refused_without_a_clone() -> None:
    rule = "submodule_repositories must be given with full_clone only, got ['acme-theme']: an archive has no submodules"
    assert refusal(CodeCommit, repository="shop", submodule_repositories=["acme-theme"]) == rule
    rule = rule.replace("acme-theme", "acme/theme")
    assert refusal(connection, submodule_repositories=["acme/theme"]) == rule


def test_a_full_clone_through_a_connection_is_of_its_repository_only() -> None:
    source = connection(full_clone=True)
    assert source.configuration(GITHUB)["OutputArtifactFormat"] == "CODEBUILD_CLONE_REF"
    former = GITHUB.replace("codeconnections", "codestar-connections")
    assert resolved(lambda: source.clone_statements(Here().place, GITHUB)) == [
        {
            "Effect": "Allow",
            "Action": ["codeconnections:UseConnection"],
            "Resource": GITHUB,
            "Condition": {"StringEquals": {"codeconnections:FullRepositoryId": source.repository}},
        },
        {
            "Effect": "Allow",
            "Action": ["codestar-connections:UseConnection"],
            "Resource": former,
            "Condition": {"StringEquals": {"codestar-connections:FullRepositoryId": source.repository}},
        },
    ]
    assert resolved(lambda: connection().clone_statements(Here().place, GITHUB)) == []


@pytest.mark.parametrize("prefix", ["codeconnections", "codestar-connections"])
def test_a_connection_may_be_used_with_either_prefix_and_no_other_connection_may(prefix: str) -> None:
    arn = f"arn:aws:{prefix}:eu-west-1:123456789012:connection/0f-1"
    assert resolved(lambda: connection_statements(Here().place, arn, "UseConnection")) == [
        {"Effect": "Allow", "Action": ["codeconnections:UseConnection"], "Resource": GITHUB},
        {
            "Effect": "Allow",
            "Action": ["codestar-connections:UseConnection"],
            "Resource": "arn:aws:codestar-connections:eu-west-1:123456789012:connection/0f-1",
        },
    ]


def test_an_archive_needs_access_to_its_object_and_the_versioning_of_its_bucket() -> None:
    assert resolved(lambda: S3Object(bucket="acme-sources", key="a/b.zip").statements(Here().place)) == [
        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:GetObjectVersion"], "Resource": f"{ARCHIVE}/a/b.zip"},
        {
            "Effect": "Allow",
            "Action": ["s3:GetBucketVersioning", "s3:GetBucketAcl", "s3:GetBucketLocation"],
            "Resource": ARCHIVE,
        },
    ]


def test_an_encrypted_archive_needs_access_to_its_key() -> None:
    source = S3Object(bucket="acme-sources", key="a/b.zip", kms_key_arn=KMS_KEY)
    decrypt = {"Effect": "Allow", "Action": ["kms:Decrypt"], "Resource": KMS_KEY}
    plain = resolved(lambda: S3Object(bucket="acme-sources", key="a/b.zip").statements(Here().place))
    assert resolved(lambda: source.statements(Here().place)) == [*plain, decrypt]


def test_an_image_needs_access_to_its_repository_only() -> None:
    assert resolved(lambda: EcrImage(repository="storefront", tag="verified-dev").statements(Here().place)) == [
        {
            "Effect": "Allow",
            "Action": ["ecr:DescribeImages"],
            "Resource": "arn:aws:ecr:eu-west-1:123456789012:repository/storefront",
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


def test_the_event_of_an_archive_is_an_upload_of_that_key_to_that_bucket() -> None:
    assert resolved(lambda: S3Object(bucket="acme-sources", key="a/b.zip").event_pattern(Here().place)) == {
        "source": ["aws.s3"],
        "detail-type": ["Object Created"],
        "detail": {"bucket": {"name": ["acme-sources"]}, "object": {"key": ["a/b.zip"]}},
    }


def test_the_event_of_an_image_is_a_successful_push_of_that_tag_to_that_repository() -> None:
    assert resolved(lambda: EcrImage(repository="storefront", tag="verified-dev").event_pattern(Here().place)) == {
        "source": ["aws.ecr"],
        "detail-type": ["ECR Image Action"],
        "detail": {
            "action-type": ["PUSH"],
            "result": ["SUCCESS"],
            "repository-name": ["storefront"],
            "image-tag": ["verified-dev"],
        },
    }


def test_the_default_branch_of_a_source_is_main() -> None:
    assert (CodeCommit(repository="x").branch, connection().branch) == ("main", "main")


@pytest.mark.parametrize("repository", ["acme/storefront", "group/sub-group/storefront.web", "my.group/x"])
def test_repositories_with_and_without_groups_are_accepted(repository: str) -> None:
    assert connection(repository=repository).repository == repository


@pytest.mark.parametrize("branch", ["main", "feature/x_1.2-y", "release@2", "ä", "a" * 255])
def test_valid_names_of_branches_are_accepted(branch: str) -> None:
    assert (CodeCommit(repository="x", branch=branch).branch, connection(branch=branch).branch) == (branch, branch)


@pytest.mark.parametrize("provider", ["Bitbucket", "GitHub", "GitLab", "AzureDevOps"])
def test_a_new_connection_can_be_created_to_each_provider_without_a_host(provider: str) -> None:
    assert connection(arn=None, provider_type=provider).provider_type == provider


def test_a_new_connection_can_be_created_to_a_host() -> None:
    assert connection(arn=None, host_arn=HOST).host_arn == HOST


@pytest.mark.parametrize(
    ("source", "args"),
    [
        (S3Object, {"bucket": "abc", "key": ".zip"}),
        (S3Object, {"bucket": "a.b-" + "9" * 59, "key": "k" * 996 + ".zip"}),
        (EcrImage, {"repository": "team/" + "a" * 251, "tag": "_" + "a" * 127}),
        (Filter, {"includes": [str(number) for number in range(8)], "excludes": [str(number) for number in range(8)]}),
        (Push, {"branches": FILTER, "file_paths": FILTER}),
        (Push, {"branches": FILTER}),
        (Push, {"tags": FILTER}),
    ],
)
def test_settings_at_the_limits_are_accepted(source: Any, args: dict[str, Any]) -> None:
    made = source(**args)
    assert {name: getattr(made, name) for name in args} == args


WAYS = (
    "arn, provider_type or host_arn must be set, but only one of them: an existing connection, or the provider or "
    "host of a new one, got "
)


@pytest.mark.parametrize(
    ("source", "args", "message"),
    [
        (connection, {"arn": None}, WAYS + "0"),
        (connection, {"provider_type": "GitHub"}, WAYS + "2"),
        (connection, {"host_arn": HOST}, WAYS + "2"),
        (connection, {"arn": None, "provider_type": "GitHub", "host_arn": HOST}, WAYS + "2"),
        (
            connection,
            {"arn": None, "provider_type": "GitHub", "repository": "acme/shops/web"},
            "repository must be <owner>/<repository> with provider_type=GitHub, got 'acme/shops/web'",
        ),
        (Filter, {}, "includes or excludes must name a pattern, got none"),
        (
            Push,
            {"file_paths": FILTER},
            "branches must be given with file_paths, got none: CodePipeline takes no filter of file paths alone",
        ),
        (Push, {}, "branches, file_paths or tags must be given, got none"),
        *(
            (
                Push,
                {"tags": FILTER, other: FILTER},
                "tags must not be combined with branches or file_paths: a push is either of a tag or of a branch, "
                "so nothing would ever match; write two entries",
            )
            for other in ("branches", "file_paths")
        ),
    ],
)
def test_an_invalid_source_is_rejected_with_the_rule(source: Any, args: dict[str, Any], message: str) -> None:
    assert refusal(source, **args) == message


def test_all_rules_that_a_source_breaks_are_reported_at_once() -> None:
    lines = refusal(connection, repository="b", branch="", provider_type="GitHub").split("\n")
    assert [line.partition(" ")[0] for line in lines] == ["repository", "branch", "arn,"]
