from typing import Any

from slipway import ArtifactStore
from unit.harness import deploy, named, only, resolved

BUCKET = "arn:aws:s3:::build-artifacts"
KEY = "arn:aws:kms:eu-west-1:123456789012:key/build-artifacts-key"
MINE = {"StringEquals": {"aws:ResourceAccount": "123456789012"}}
THROUGH_S3 = {"StringEquals": {"kms:ViaService": "s3.eu-west-1.amazonaws.com"}}


def program() -> ArtifactStore:
    return ArtifactStore("build-artifacts")


def test_artifacts_are_encrypted_with_their_own_rotating_key() -> None:
    resources = deploy(program)
    assert only(resources, "aws:kms/key:Key").inputs == {
        "description": "Artifacts of build-artifacts",
        "enableKeyRotation": True,
        "deletionWindowInDays": 7,
    }
    assert named(resources, "build-artifacts-encryption").inputs == {
        "bucket": "build-artifacts",
        "rules": [
            {
                "applyServerSideEncryptionByDefault": {"sseAlgorithm": "aws:kms", "kmsMasterKeyId": KEY},
                "bucketKeyEnabled": True,
            }
        ],
    }


def test_the_bucket_is_deleted_with_its_stack_and_pulumi_names_it() -> None:
    assert named(deploy(program), "build-artifacts", "Bucket").inputs == {"forceDestroy": True}


def test_the_bucket_can_never_be_public() -> None:
    assert named(deploy(program), "build-artifacts-private").inputs == {
        "bucket": "build-artifacts",
        "blockPublicAcls": True,
        "blockPublicPolicy": True,
        "ignorePublicAcls": True,
        "restrictPublicBuckets": True,
    }


def test_the_bucket_accepts_tls_only() -> None:
    policy = named(deploy(program), "build-artifacts-tls")
    assert policy.inputs["bucket"] == "build-artifacts"
    assert policy.json("policy") == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": [BUCKET, f"{BUCKET}/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ],
    }
    # S3 accepts only one change of a bucket's access at a time.
    assert policy.depends_on == {"build-artifacts", "build-artifacts-private"}


def test_the_bucket_keeps_an_artifact_that_is_overwritten() -> None:
    assert named(deploy(program), "build-artifacts-versions").inputs == {
        "bucket": "build-artifacts",
        "versioningConfiguration": {"status": "Enabled"},
    }


def test_artifacts_expire_after_a_month_and_their_old_versions_a_week_later() -> None:
    expiry = named(deploy(program), "build-artifacts-expiry")
    assert "build-artifacts-versions" in expiry.depends_on
    assert expiry.inputs == {
        "bucket": "build-artifacts",
        "rules": [
            {
                "id": "expire",
                "status": "Enabled",
                "filter": {"prefix": ""},
                "expiration": {"days": 30},
                "noncurrentVersionExpiration": {"noncurrentDays": 7},
                "abortIncompleteMultipartUpload": {"daysAfterInitiation": 1},
            }
        ],
    }


def test_access_to_artifacts_is_limited_to_this_bucket_in_this_account_and_to_its_key_through_s3() -> None:
    def statements() -> list[Any]:
        store = program()
        return [*store.statements(), store.list_statement()]

    assert resolved(statements) == [
        {
            "Effect": "Allow",
            "Action": ["s3:GetBucketVersioning", "s3:GetBucketAcl", "s3:GetBucketLocation"],
            "Resource": BUCKET,
            "Condition": MINE,
        },
        {
            "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"],
            "Resource": f"{BUCKET}/*",
            "Condition": MINE,
        },
        {
            "Effect": "Allow",
            "Action": ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"],
            "Resource": KEY,
            "Condition": THROUGH_S3,
        },
        {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": BUCKET},
    ]


def test_readers_of_artifacts_cannot_write_any() -> None:
    assert resolved(lambda: program().read_statements()) == [
        {
            "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:GetObjectVersion"],
            "Resource": f"{BUCKET}/*",
            "Condition": MINE,
        },
        {"Effect": "Allow", "Action": ["kms:Decrypt"], "Resource": KEY, "Condition": THROUGH_S3},
    ]


def test_a_build_that_reads_artifacts_may_look_at_the_bucket() -> None:
    assert resolved(lambda: program().bucket_statement()) == {
        "Effect": "Allow",
        "Action": ["s3:GetBucketAcl", "s3:GetBucketLocation"],
        "Resource": BUCKET,
        "Condition": MINE,
    }


def test_a_connection_may_set_acls_on_artifacts_in_this_account_only() -> None:
    assert resolved(lambda: program().acl_statement()) == {
        "Effect": "Allow",
        "Action": ["s3:PutObjectAcl"],
        "Resource": f"{BUCKET}/*",
        "Condition": MINE,
    }
