"""The scan gate before the first deployment."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from standin.ecr import Scan
from standin.lambdas import FunctionError

from .conftest import RELEASED, Stack, ended, until

Make = Callable[..., Stack]
HIGH = {"name": "CVE-2026-0001", "severity": "HIGH", "uri": "https://example.com"}
LOW = {"name": "CVE-2026-0002", "severity": "LOW", "uri": "https://example.com"}


def gated(stack: Make, **gate: Any) -> Stack:
    return stack(config={"slipway:scanGate": {"threshold": "HIGH", **gate}})


def test_a_finding_blocks_the_release_and_is_named(stack: Make) -> None:
    dev = gated(stack)
    dev.account.ecr.scan = lambda digest: Scan(findings=[HIGH, LOW])
    stopped = dev.push()
    assert ended(stopped) == until("Image", "Failed")
    assert stopped.action("Image").message == (
        f"scan gate: blocked {stopped.digest}: findings of HIGH or higher: CVE-2026-0001 (HIGH). "
        "Fix them, or allow them for a limited time in slipway:scanGate.allow"
    )
    assert (dev.image, dev.counts, dev.state("claim")) == (":unreleased", (0, 0), None)


def test_an_allowed_finding_passes_until_its_day_and_blocks_after_it(stack: Make) -> None:
    allowed = {"id": "CVE-2026-0001", "reason": "not reachable: no shell in the image", "until": "2026-01-02"}
    dev = gated(stack, allow=[allowed])
    dev.account.ecr.scan = lambda digest: Scan(findings=[HIGH])
    assert datetime.fromtimestamp(dev.account.clock.now(), UTC).date().isoformat() == "2026-01-01"
    passed = dev.push()
    assert ended(passed) == RELEASED
    assert passed.action("Image").message == (
        "no findings of HIGH or higher (1 in total), except allowed ones: CVE-2026-0001 (HIGH; until 2026-01-02: "
        "not reachable: no shell in the image)"
    )
    dev.account.clock.sleep(2 * 86_400)
    again = dev.push()
    assert ended(again) == until("Image", "Failed")
    assert "CVE-2026-0001 (HIGH; allowed until 2026-01-02, which is over)" in again.action("Image").message
    assert dev.image == f"@{passed.digest}"


def test_a_scan_that_never_ends_blocks_the_release_at_the_timeout(stack: Make) -> None:
    dev = gated(stack, timeoutMinutes=30)
    dev.account.ecr.scan = lambda digest: Scan(status="IN_PROGRESS")
    began = dev.account.clock.now()
    stopped = dev.push()
    assert ended(stopped) == until("Image", "Failed")
    assert "the scan did not complete in 30 minutes; scan status IN_PROGRESS" in stopped.action("Image").message
    assert 1800 <= dev.account.clock.now() - began <= 2000


@pytest.mark.parametrize("status", ["FAILED", "UNSUPPORTED_IMAGE", "SCAN_ELIGIBILITY_EXPIRED", "LIMIT_EXCEEDED"])
def test_any_status_but_a_completed_scan_blocks_the_release_at_once(stack: Make, status: str) -> None:
    dev = gated(stack)
    dev.account.ecr.scan = lambda digest: Scan(status=status)
    began = dev.account.clock.now()
    stopped = dev.push()
    assert ended(stopped) == until("Image", "Failed")
    assert f"scan status {status}" in stopped.action("Image").message
    assert dev.account.clock.now() - began < 300


def test_a_continuous_scan_counts_with_its_current_findings(stack: Make) -> None:
    dev = gated(stack, enhanced=True)
    dev.account.ecr.scan = lambda digest: Scan(status="ACTIVE")
    assert ended(dev.push()) == RELEASED


def test_the_gate_accepts_only_events_that_the_pipeline_confirms(stack: Make) -> None:
    dev = gated(stack)
    released = dev.push()
    action = released.action("Image")
    [(bucket, key)] = action.inputs.values()
    keys = {"accessKeyId": "a", "secretAccessKey": "s", "sessionToken": "t"}
    location = {"type": "S3", "s3Location": {"bucketName": bucket, "objectKey": key}}
    forged = {
        "id": "forged",
        "data": {
            "actionConfiguration": {"configuration": action.configuration},
            "inputArtifacts": [{"name": "BuildArtifact", "location": location}],
            "artifactCredentials": keys,
        },
    }
    before = len(dev.account.api.calls)
    with pytest.raises(FunctionError, match="UnverifiedEvent"):
        dev.account.lambdas.invoke("storefront-dev-scan-gate", {"CodePipeline.job": forged})
    calls = {call.operation for call in dev.account.api.calls[before:]}
    # That action has ended, so no scan is read, and no success is reported.
    assert calls == {"ListActionExecutions"}
