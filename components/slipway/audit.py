"""AuditTrail: a record of who changed what in the account, in a bucket in which nobody can change or delete it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pulumi
import pulumi_aws as aws

from slipway._constraints import between, check, one_of
from slipway._outputs import concat
from slipway._rules import check_args, check_name
from slipway.artifacts import keep_private, tls_only
from slipway.iam import Scope, document


@dataclass(frozen=True, kw_only=True)
class AuditTrailArgs:
    """Arguments of AuditTrail."""

    retention_days: Annotated[int, between(1, 3650)] = 365
    """Days for which the record cannot be deleted, after which it expires."""

    lock: Annotated[str, one_of(("GOVERNANCE", "COMPLIANCE"))] = "GOVERNANCE"
    """Who can delete the record earlier: with GOVERNANCE, a principal with `s3:BypassGovernanceRetention`; with
    COMPLIANCE nobody, not even the account's root user, so try it with few `retention_days` first."""

    all_regions: bool = False
    """Record the events of all Regions, and of services without one, such as IAM."""

    def __post_init__(self) -> None:
        check(self)


class AuditTrail(pulumi.ComponentResource):
    """A CloudTrail trail of all changes in the account, by whoever made them, with a locked bucket of its own.

    The bucket stays when the component is removed. The first trail of an account costs nothing but the storage.
    https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-create-and-update-a-trail.html
    """

    trail_arn: pulumi.Output[str]
    bucket_name: pulumi.Output[str]

    def __init__(self, name: str, args: AuditTrailArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Create the trail and its bucket. Raises ValueError if `name` is not valid for them."""
        check_name("trail", name, shortest=3)
        check_args(args, AuditTrailArgs)
        super().__init__("slipway:index:AuditTrail", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        # A locked object cannot be deleted, and so its bucket cannot either.
        kept = child.merge(pulumi.ResourceOptions(retain_on_delete=True))
        arn = Scope.of(self).arn("cloudtrail", f"trail/{name}")

        bucket = aws.s3.Bucket(f"{name}-audit", object_lock_enabled=True, opts=kept)
        lock(name, bucket, args, kept)
        expire(name, bucket, args.retention_days, kept)
        private = keep_private(f"{name}-audit", bucket, kept)
        policy = let_write(name, bucket, arn, Scope.of(self).account, kept, after=private)
        trail = aws.cloudtrail.Trail(
            name,
            name=name,
            s3_bucket_name=bucket.bucket,
            # Digest files show later whether a log file was changed.
            enable_log_file_validation=True,
            is_multi_region_trail=args.all_regions,
            include_global_service_events=args.all_regions,
            # Reads are many, and change nothing.
            event_selectors=[
                aws.cloudtrail.TrailEventSelectorArgs(read_write_type="WriteOnly", include_management_events=True)
            ],
            opts=child.merge(pulumi.ResourceOptions(depends_on=[policy])),
        )

        self.trail_arn, self.bucket_name = trail.arn, bucket.bucket
        self.register_outputs({"trail_arn": self.trail_arn, "bucket_name": self.bucket_name})


def lock(name: str, bucket: aws.s3.Bucket, args: AuditTrailArgs, opts: pulumi.ResourceOptions) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock.html"""
    aws.s3.BucketObjectLockConfiguration(
        f"{name}-audit-lock",
        bucket=bucket.bucket,
        rule=aws.s3.BucketObjectLockConfigurationRuleArgs(
            default_retention=aws.s3.BucketObjectLockConfigurationRuleDefaultRetentionArgs(
                mode=args.lock, days=args.retention_days
            )
        ),
        opts=opts,
    )


def expire(name: str, bucket: aws.s3.Bucket, days: int, opts: pulumi.ResourceOptions) -> None:
    """A bucket with a lock has versions: an expired object leaves one, which can go after its lock has ended."""
    aws.s3.BucketLifecycleConfiguration(
        f"{name}-audit-expiry",
        bucket=bucket.bucket,
        rules=[
            aws.s3.BucketLifecycleConfigurationRuleArgs(
                id="expire",
                status="Enabled",
                filter=aws.s3.BucketLifecycleConfigurationRuleFilterArgs(prefix=""),
                expiration=aws.s3.BucketLifecycleConfigurationRuleExpirationArgs(days=days),
                noncurrent_version_expiration=aws.s3.BucketLifecycleConfigurationRuleNoncurrentVersionExpirationArgs(
                    noncurrent_days=1
                ),
            )
        ],
        opts=opts,
    )


def let_write(
    name: str,
    bucket: aws.s3.Bucket,
    trail_arn: pulumi.Input[str],
    account: pulumi.Input[str],
    opts: pulumi.ResourceOptions,
    after: pulumi.Resource,
) -> aws.s3.BucketPolicy:
    """Only this trail writes, and everything is encrypted in transit.

    https://docs.aws.amazon.com/awscloudtrail/latest/userguide/create-s3-bucket-policy-for-cloudtrail.html
    """
    cloudtrail = {"Effect": "Allow", "Principal": {"Service": "cloudtrail.amazonaws.com"}}
    of_the_trail = {"aws:SourceArn": trail_arn}
    policy = document(
        {
            **cloudtrail,
            "Action": "s3:GetBucketAcl",
            "Resource": bucket.arn,
            "Condition": {"StringEquals": of_the_trail},
        },
        {
            **cloudtrail,
            "Action": "s3:PutObject",
            "Resource": concat(bucket.arn, "/AWSLogs/", account, "/*"),
            "Condition": {"StringEquals": {**of_the_trail, "s3:x-amz-acl": "bucket-owner-full-control"}},
        },
        tls_only(bucket),
    )
    # S3 accepts one change of a bucket's access settings at a time.
    after_that = opts.merge(pulumi.ResourceOptions(depends_on=[after]))
    return aws.s3.BucketPolicy(f"{name}-audit-policy", bucket=bucket.bucket, policy=policy, opts=after_that)
