"""ArtifactStore: the bucket for the artifacts that a pipeline's actions exchange."""

from __future__ import annotations

from typing import Any

import pulumi
import pulumi_aws as aws

from slipway._outputs import concat
from slipway._rules import check_name
from slipway.iam import Condition, Scope, Statement, allow, document

KEEP_DAYS = 30
"""Days to keep an artifact: long enough to retry a stage. An image never depends on an artifact."""
KEEP_OLD_DAYS = 7
"""Days to keep a version that was overwritten or has expired."""


class ArtifactStore(pulumi.ComponentResource):
    """An S3 bucket for artifacts, encrypted with its own KMS key.

    It belongs to the component that writes to it: a Build, or a Pipeline without one.
    https://docs.aws.amazon.com/codepipeline/latest/userguide/welcome-introducing-artifacts.html
    """

    bucket_name: pulumi.Output[str]
    bucket_arn: pulumi.Output[str]
    key_arn: pulumi.Output[str]

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        check_name("store", name, longest=55)
        super().__init__("slipway:index:ArtifactStore", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        self._scope = Scope.of(self)

        # The default key policy delegates access to the IAM policies of this account.
        key = aws.kms.Key(
            f"{name}-key",
            description=f"Artifacts of {name}",
            enable_key_rotation=True,
            deletion_window_in_days=7,
            opts=child,
        )
        # An artifact can be created again from a commit or a build, so the bucket can be deleted with the stack.
        bucket = aws.s3.Bucket(name, force_destroy=True, opts=child)
        encrypt(name, bucket, key, child)
        private = keep_private(name, bucket, child)
        versioned = keep_versions(name, bucket, child)
        expire(name, bucket, versioned, child)
        require_tls(name, bucket, private, child)

        self.bucket_name = bucket.bucket
        self.bucket_arn = bucket.arn
        self.key_arn = key.arn
        self.register_outputs({"bucket_name": self.bucket_name, "bucket_arn": self.bucket_arn, "key_arn": self.key_arn})

    def statements(self) -> list[Statement]:
        """Read and write artifacts.

        https://docs.aws.amazon.com/codepipeline/latest/userguide/how-to-custom-role.html
        """
        mine = self._mine()
        s3 = self._scope.host("s3")
        return [
            allow("s3:GetBucketVersioning", "s3:GetBucketAcl", "s3:GetBucketLocation", on=self.bucket_arn, when=mine),
            allow(
                "s3:GetObject",
                "s3:GetObjectVersion",
                "s3:PutObject",
                # The key of an artifact starts with a shortened pipeline name, and AWS does not document how it is
                # shortened.
                on=concat(self.bucket_arn, "/*"),
                when=mine,
            ),
            allow(
                "kms:Decrypt",
                "kms:DescribeKey",
                "kms:Encrypt",
                "kms:GenerateDataKey*",
                "kms:ReEncrypt*",
                on=self.key_arn,
                when={"StringEquals": {"kms:ViaService": s3}},
            ),
        ]

    def read_statements(self) -> list[Statement]:
        """Read artifacts."""
        s3 = self._scope.host("s3")
        objects = concat(self.bucket_arn, "/*")  # as above
        return [
            allow("s3:GetObject", "s3:GetObjectVersion", on=objects, when=self._mine()),
            allow("kms:Decrypt", on=self.key_arn, when={"StringEquals": {"kms:ViaService": s3}}),
        ]

    def bucket_statement(self) -> Statement:
        """What a role of CodeBuild needs on the bucket itself.

        https://docs.aws.amazon.com/codebuild/latest/userguide/setting-up-service-role.html
        """
        return allow("s3:GetBucketAcl", "s3:GetBucketLocation", on=self.bucket_arn, when=self._mine())

    def acl_statement(self) -> Statement:
        """Set the ACL of an artifact, which a connection's source action does when it uploads one."""
        return allow("s3:PutObjectAcl", on=concat(self.bucket_arn, "/*"), when=self._mine())

    def list_statement(self) -> Statement:
        """Check that the bucket exists, which a CodeCommit source does first.

        https://docs.aws.amazon.com/codepipeline/latest/userguide/troubleshooting.html
        """
        return allow("s3:ListBucket", on=self.bucket_arn)

    def _mine(self) -> Condition:
        return {"StringEquals": {"aws:ResourceAccount": self._scope.account}}


def encrypt(name: str, bucket: aws.s3.Bucket, key: aws.kms.Key, opts: pulumi.ResourceOptions) -> None:
    aws.s3.BucketServerSideEncryptionConfiguration(
        f"{name}-encryption",
        bucket=bucket.bucket,
        rules=[
            aws.s3.BucketServerSideEncryptionConfigurationRuleArgs(
                apply_server_side_encryption_by_default=aws.s3.BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultArgs(
                    sse_algorithm="aws:kms", kms_master_key_id=key.arn
                ),
                bucket_key_enabled=True,
            )
        ],
        opts=opts,
    )


def keep_private(name: str, bucket: aws.s3.Bucket, opts: pulumi.ResourceOptions) -> pulumi.Resource:
    return aws.s3.BucketPublicAccessBlock(
        f"{name}-private",
        bucket=bucket.bucket,
        block_public_acls=True,
        block_public_policy=True,
        ignore_public_acls=True,
        restrict_public_buckets=True,
        opts=opts,
    )


def keep_versions(name: str, bucket: aws.s3.Bucket, opts: pulumi.ResourceOptions) -> pulumi.Resource:
    """Whoever may write artifacts cannot replace one without leaving the version that an execution has used."""
    return aws.s3.BucketVersioning(
        f"{name}-versions",
        bucket=bucket.bucket,
        versioning_configuration=aws.s3.BucketVersioningVersioningConfigurationArgs(status="Enabled"),
        opts=opts,
    )


def expire(name: str, bucket: aws.s3.Bucket, after: pulumi.Resource, opts: pulumi.ResourceOptions) -> None:
    """Expire artifacts, then their versions; S3 removes delete markers that have nothing behind them by the same rule.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html
    """
    aws.s3.BucketLifecycleConfiguration(
        f"{name}-expiry",
        bucket=bucket.bucket,
        rules=[
            aws.s3.BucketLifecycleConfigurationRuleArgs(
                id="expire",
                status="Enabled",
                filter=aws.s3.BucketLifecycleConfigurationRuleFilterArgs(prefix=""),
                expiration=aws.s3.BucketLifecycleConfigurationRuleExpirationArgs(days=KEEP_DAYS),
                noncurrent_version_expiration=aws.s3.BucketLifecycleConfigurationRuleNoncurrentVersionExpirationArgs(
                    noncurrent_days=KEEP_OLD_DAYS
                ),
                abort_incomplete_multipart_upload=aws.s3.BucketLifecycleConfigurationRuleAbortIncompleteMultipartUploadArgs(
                    days_after_initiation=1
                ),
            )
        ],
        # The rule for old versions applies only to a bucket that has versions.
        opts=opts.merge(pulumi.ResourceOptions(depends_on=[after])),
    )


def tls_only(bucket: aws.s3.Bucket) -> dict[str, Any]:
    """The statement of a bucket's policy that refuses requests without TLS."""
    return {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [bucket.arn, concat(bucket.arn, "/*")],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def require_tls(name: str, bucket: aws.s3.Bucket, after: pulumi.Resource, opts: pulumi.ResourceOptions) -> None:
    aws.s3.BucketPolicy(
        f"{name}-tls",
        bucket=bucket.bucket,
        policy=document(tls_only(bucket)),
        # S3 accepts one change of a bucket's access settings at a time.
        opts=opts.merge(pulumi.ResourceOptions(depends_on=[after])),
    )
