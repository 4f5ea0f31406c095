"""The access logs of a load balancer, one line a request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import pulumi
import pulumi_aws as aws

from slipway._constraints import between, check, match
from slipway._outputs import concat
from slipway.artifacts import keep_private, tls_only
from slipway.iam import Scope, document

BucketName = Annotated[
    pulumi.Input[str],
    match(
        r"(?!\d+\.\d+\.\d+\.\d+$)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]",
        "be the name of a bucket in S3, such as acme-logs",
        "acme-logs",
        ["ab", "Acme", "-acme", "acme_logs", "s3://acme", "10.0.0.1"],
    ),
]


@dataclass(frozen=True, kw_only=True)
class AccessLogs:
    """Where a load balancer writes its access logs.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html
    """

    bucket: BucketName | None = None
    """Existing bucket in the same Region, whose policy lets Elastic Load Balancing write. By default, a new one, which
    is deleted with the stack when it is empty."""

    prefix: (
        Annotated[
            str, match(r"(?!.*AWSLogs)[\w.-]+(/[\w.-]+)*", "be a prefix such as shop", "shop", ["/a", "a/", "AWSLogs"])
        ]
        | None
    ) = None
    """Prefix of the objects."""

    days: Annotated[int, between(1, 3650)] | None = None
    """Days to keep the logs in a new bucket. By default, 90."""

    def __post_init__(self) -> None:
        check(self)

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        yield (
            self.bucket is not None and self.days not in (None, 90),
            f"days must not be set for an existing bucket, whose own rules say how long logs are kept, got {self.days}",
        )


def log_access(
    name: str, logs: AccessLogs, scope: Scope, child: pulumi.ResourceOptions
) -> tuple[aws.lb.LoadBalancerAccessLogsArgs, list[pulumi.Resource]]:
    """Where the logs go, and what must exist before."""
    if logs.bucket is not None:
        return aws.lb.LoadBalancerAccessLogsArgs(bucket=logs.bucket, prefix=logs.prefix, enabled=True), []
    # Elastic Load Balancing writes to a bucket only if it is encrypted with Amazon S3 managed keys, as all are.
    bucket = aws.s3.Bucket(f"{name}-access", opts=child)
    private = keep_private(f"{name}-access", bucket, child)
    aws.s3.BucketLifecycleConfiguration(
        f"{name}-access-expiry",
        bucket=bucket.bucket,
        rules=[
            aws.s3.BucketLifecycleConfigurationRuleArgs(
                id="expire",
                status="Enabled",
                filter=aws.s3.BucketLifecycleConfigurationRuleFilterArgs(prefix=""),
                expiration=aws.s3.BucketLifecycleConfigurationRuleExpirationArgs(days=logs.days or 90),
            )
        ],
        opts=child,
    )
    path = concat(bucket.arn, f"/{logs.prefix}" if logs.prefix else "", "/AWSLogs/", scope.account, "/*")
    policy = document(
        {
            "Effect": "Allow",
            "Principal": {"Service": "logdelivery.elasticloadbalancing.amazonaws.com"},
            "Action": "s3:PutObject",
            "Resource": path,
            "Condition": {"ArnLike": {"aws:SourceArn": scope.arn("elasticloadbalancing", "loadbalancer/*")}},
        },
        tls_only(bucket),
    )
    # S3 accepts one change of a bucket's access settings at a time.
    after = child.merge(pulumi.ResourceOptions(depends_on=[private]))
    allowed = aws.s3.BucketPolicy(f"{name}-access-policy", bucket=bucket.bucket, policy=policy, opts=after)
    return aws.lb.LoadBalancerAccessLogsArgs(bucket=bucket.bucket, prefix=logs.prefix, enabled=True), [allowed]
