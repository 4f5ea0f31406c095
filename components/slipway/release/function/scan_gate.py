"""The scan gate: passes an image once ECR has scanned it and found nothing that is not allowed.

It fails closed: anything but a completed scan blocks the release.
https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-scanning.html
"""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from . import pipeline_job
from .clients import client
from .contract import Exported
from .errors import BadArtifact, advice, sentence
from .images import INDEXES, Images
from .pipeline_job import Answer, verify_with_codepipeline

POLL_SECONDS = 5
RUN_SECONDS = 50
"""How long one run lasts before CodePipeline starts the next one."""

# In ascending order. UNDEFINED (basic scans) and UNTRIAGED (enhanced scans) are not assessed yet, and count as MEDIUM.
# https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ImageScanFinding.html
SEVERITIES = ("INFORMATIONAL", "LOW", "MEDIUM", "HIGH", "CRITICAL")
NOT_ASSESSED = {"UNDEFINED": "MEDIUM", "UNTRIAGED": "MEDIUM"}
FINISHED = ("COMPLETE", "ACTIVE")
"""A basic scan ends with COMPLETE; an enhanced scan stays ACTIVE while Inspector keeps monitoring."""
WAITING = ("IN_PROGRESS", "PENDING", "NOT_STARTED")


@dataclass(frozen=True)
class Finding:
    id: str
    severity: str


@dataclass(frozen=True)
class Policy:
    threshold: str
    """Lowest severity that blocks a release."""
    timeout_minutes: int
    allowed: dict[str, tuple[date, str]]
    """Allowed findings, each with its last day and reason."""

    @staticmethod
    def read(text: str) -> Policy:
        policy = json.loads(text)
        allowed = {each["id"]: (date.fromisoformat(each["until"]), each["reason"]) for each in policy["allow"]}
        return Policy(policy["threshold"], policy["timeout_minutes"], allowed)

    def judge(self, findings: list[Finding], today: date) -> tuple[list[str], list[str]]:
        """The findings that block the release, and those that would if they were not allowed; a line each."""
        stops, passes = [], []
        for finding in sorted(set(findings), key=lambda f: (-rank(f.severity), f.id)):
            if rank(finding.severity) < rank(self.threshold):
                continue
            until, reason = self.allowed.get(finding.id, (None, ""))
            if until is None:
                stops.append(f"{finding.id} ({finding.severity})")
            elif until < today:
                stops.append(f"{finding.id} ({finding.severity}; allowed until {until}, which is over)")
            else:
                passes.append(f"{finding.id} ({finding.severity}; until {until}: {reason})")
        return stops, passes


def rank(severity: str) -> int:
    """An unknown severity counts as the highest."""
    known = NOT_ASSESSED.get(severity, severity)
    return SEVERITIES.index(known) if known in SEVERITIES else len(SEVERITIES)


class ScanGate:
    def __init__(self, environment: dict[str, str], policy: Policy) -> None:
        self.repository_url, self.container = environment["REPOSITORY_URL"], environment["CONTAINER"]
        self.repository = self.repository_url.partition("/")[2]
        self.policy = policy
        self.ecr, self.codepipeline = client("ecr"), client("codepipeline")
        self.images = Images(self.ecr, self.repository)

    def look(self, job: dict[str, Any], name: str) -> None:
        """One run: watch the scan until it is complete, or let the next run continue."""
        answer = Answer(self.codepipeline, job["id"])
        # An unconfirmed event raises an error. Lambda retries a genuine one, when the history shows its action.
        confirmed = verify_with_codepipeline(self.codepipeline, job, name)
        try:
            image = pipeline_job.image(confirmed, self.container, self.images, self.repository_url)
            self._wait(image.digest, confirmed.began, answer)
        except Exception as e:
            # On any error: without a response, the pipeline would wait until the action times out.
            traceback.print_exc()
            why = f"{sentence(str(e))} {advice(e)}" if isinstance(e, BadArtifact) else str(e)
            answer.failed(f"scan gate: {why}")

    def _wait(self, digest: str, began: float, answer: Answer) -> None:
        until = time.time() + RUN_SECONDS
        while True:
            scans = {image: self._scan(image) for image in self._images(digest)}
            bad = {image: status for image, status in scans.items() if status not in (*FINISHED, *WAITING)}
            if bad:
                answer.failed(f"scan gate: blocked {digest}: scan status {statuses(bad)}; only a completed scan passes")
                return
            if all(status in FINISHED for status in scans.values()):
                self._judge(digest, list(scans), answer)
                return
            if time.time() > began + self.policy.timeout_minutes * 60:
                answer.failed(
                    f"scan gate: blocked {digest}: the scan did not complete in {self.policy.timeout_minutes} minutes; "
                    f"scan status {statuses(scans)}. Is scanning on for {self.repository} in the registry's settings?"
                )
                return
            if time.time() + POLL_SECONDS > until:
                answer.continues(digest, f"waiting for the scan: {statuses(scans)}")
                return
            time.sleep(POLL_SECONDS)

    def _judge(self, digest: str, images: list[str], answer: Answer) -> None:
        findings = [finding for image in images for finding in self._findings(image)]
        stops, passes = self.policy.judge(findings, datetime.fromtimestamp(time.time(), UTC).date())
        for line in [*stops, *passes]:
            print(line)
        if stops:
            answer.failed(
                f"scan gate: blocked {digest}: findings of {self.policy.threshold} or higher: "
                f"{'; '.join(stops)}. Fix them, or allow them for a limited time in slipway:scanGate.allow"
            )
            return
        allowed = f", except allowed ones: {'; '.join(passes)}" if passes else ""
        answer.succeeded(
            f"no findings of {self.policy.threshold} or higher ({len(findings)} in total){allowed}",
            {Exported.IMAGE_DIGEST: digest, "ALLOWED": str(len(passes))},
        )

    def _images(self, digest: str) -> list[str]:
        """The digests to check: for an index, those of its images, since an index itself is not scanned."""
        answer = self.ecr.batch_get_image(repositoryName=self.repository, imageIds=[{"imageDigest": digest}])
        if not answer["images"]:
            raise RuntimeError(f"the image {digest} is not in the repository {self.repository}")
        [image] = answer["images"]
        if image.get("imageManifestMediaType") not in INDEXES:
            return [digest]
        entries = json.loads(image["imageManifest"])["manifests"]
        # Attestations of an image are also in the index, without a platform.
        images = [e["digest"] for e in entries if e.get("platform", {}).get("architecture") != "unknown"]
        if not images:
            raise RuntimeError(f"the index {digest} names no image")
        return images

    def _scan(self, digest: str) -> str:
        try:
            first = self.ecr.describe_image_scan_findings(
                repositoryName=self.repository, imageId={"imageDigest": digest}, maxResults=1
            )
        except self.ecr.exceptions.ScanNotFoundException:
            return "NOT_STARTED"
        return str(first.get("imageScanStatus", {}).get("status", "UNKNOWN"))

    def _findings(self, digest: str) -> Iterator[Finding]:
        pages = self.ecr.get_paginator("describe_image_scan_findings")
        for page in pages.paginate(repositoryName=self.repository, imageId={"imageDigest": digest}):
            found = page.get("imageScanFindings", {})
            for basic in found.get("findings", []):
                yield Finding(str(basic["name"]), str(basic.get("severity", "UNDEFINED")))
            for enhanced in found.get("enhancedFindings", []):
                if enhanced.get("status", "ACTIVE") != "ACTIVE":
                    continue  # closed, or suppressed by a rule in Inspector
                details = enhanced.get("packageVulnerabilityDetails", {})
                id = details.get("vulnerabilityId") or enhanced.get("title") or enhanced["findingArn"]
                yield Finding(str(id), str(enhanced.get("severity", "UNDEFINED")))


def statuses(scans: dict[str, str]) -> str:
    return ", ".join(f"{status} ({digest[:19]})" for digest, status in scans.items())


def handler(event: dict[str, Any], context: Any) -> None:
    """Lambda's entry point. The event contains credentials, so it is never logged."""
    policy = Policy.read(Path(__file__).with_name("scan_policy.json").read_text())
    ScanGate(dict(os.environ), policy).look(event["CodePipeline.job"], context.function_name)
