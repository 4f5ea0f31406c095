from typing import Any

import pytest
from slipway import AuditTrail, AuditTrailArgs
from unit.harness import Resource, deploy, named, only

TRAIL = "arn:aws:cloudtrail:eu-west-1:123456789012:trail/shop-dev"
BUCKET = "arn:aws:s3:::shop-dev-audit"


def trail(**args: Any) -> list[Resource]:
    return deploy(lambda: AuditTrail("shop-dev", AuditTrailArgs(**args)))


def test_changes_are_recorded_and_reads_are_not() -> None:
    assert only(trail(), "aws:cloudtrail/trail:Trail").inputs == {
        "name": "shop-dev",
        "s3BucketName": "shop-dev-audit",
        "enableLogFileValidation": True,
        "isMultiRegionTrail": False,
        "includeGlobalServiceEvents": False,
        "eventSelectors": [{"readWriteType": "WriteOnly", "includeManagementEvents": True}],
    }


def test_all_regions_include_the_services_without_one() -> None:
    inputs = only(trail(all_regions=True), "aws:cloudtrail/trail:Trail").inputs
    assert (inputs["isMultiRegionTrail"], inputs["includeGlobalServiceEvents"]) == (True, True)


@pytest.mark.parametrize("lock", ["GOVERNANCE", "COMPLIANCE"])
def test_a_record_is_locked_for_its_whole_life_and_then_expires(lock: str) -> None:
    resources = trail(lock=lock, retention_days=30)
    assert named(resources, "shop-dev-audit", "Bucket").inputs == {"objectLockEnabled": True}
    rule = named(resources, "shop-dev-audit-lock").inputs["rule"]
    assert rule == {"defaultRetention": {"mode": lock, "days": 30}}
    [expiry] = named(resources, "shop-dev-audit-expiry").inputs["rules"]
    assert (expiry["expiration"], expiry["noncurrentVersionExpiration"]) == ({"days": 30}, {"noncurrentDays": 1})


def test_only_this_trail_writes_to_the_bucket_and_only_with_tls() -> None:
    resources = trail()
    assert named(resources, "shop-dev-audit-private").inputs.keys() >= {"blockPublicPolicy", "restrictPublicBuckets"}
    cloudtrail = {"Effect": "Allow", "Principal": {"Service": "cloudtrail.amazonaws.com"}}
    assert named(resources, "shop-dev-audit-policy").json("policy")["Statement"] == [
        {
            **cloudtrail,
            "Action": "s3:GetBucketAcl",
            "Resource": BUCKET,
            "Condition": {"StringEquals": {"aws:SourceArn": TRAIL}},
        },
        {
            **cloudtrail,
            "Action": "s3:PutObject",
            "Resource": f"{BUCKET}/AWSLogs/123456789012/*",
            "Condition": {"StringEquals": {"aws:SourceArn": TRAIL, "s3:x-amz-acl": "bucket-owner-full-control"}},
        },
        {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [BUCKET, f"{BUCKET}/*"],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        },
    ]


def test_the_bucket_stays_when_the_trail_is_removed() -> None:
    kept = {resource.name for resource in trail() if resource.retain}
    parts = ("", "-lock", "-expiry", "-private", "-policy")
    assert kept == {f"shop-dev-audit{part}" for part in parts}
