"""ScanGate: lets an image pass to deployment once ECR has scanned it and found nothing that is not allowed."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import pulumi

from slipway._constraints import Must, between, check, match, one_of
from slipway._rules import check_name
from slipway.codebuild import LogDays
from slipway.iam import Statement, allow
from slipway.pipeline.notifications import PipelineArn
from slipway.registry import Repository
from slipway.release.lambda_function import function
from slipway.service.args import ContainerName

SEVERITIES = ("INFORMATIONAL", "LOW", "MEDIUM", "HIGH", "CRITICAL")
FindingId = Annotated[
    str,
    match(
        r"[A-Za-z0-9_.:-]{4,100}",
        "be the id of a finding, such as CVE-2026-12345",
        "CVE-2026-12345",
        ["CVE", "CVE 2026", "a" * 101],
    ),
]
Reason = Annotated[
    str,
    Must(
        "be a reason of 10 characters or more",
        lambda text: len(text.strip()) >= 10,
        {"minLength": 10},
        good=["0123456789"],
        bad=["", " 123456789 "],
    ),
]


@dataclass(frozen=True, kw_only=True)
class AllowedFinding:
    """A finding that does not stop a release, for a time."""

    id: FindingId
    """What the scan calls it, such as CVE-2026-12345."""

    reason: Reason
    """Why it may pass, for whoever reads it later."""

    until: datetime.date
    """Last day (UTC) that it may; from the next day on it stops releases."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class ScanGate:
    """Wait for ECR's scan of the image before the first deployment, and stop what it finds.

    Whatever is not a finished scan stops too: a failed one, an image that cannot be scanned (with basic scanning, one
    made from scratch), a time-out. https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-scanning.html
    """

    threshold: Annotated[str, one_of(SEVERITIES)] = "HIGH"
    """The least severity that stops: INFORMATIONAL, LOW, MEDIUM, HIGH or CRITICAL. Findings that nobody has assessed
    yet count as MEDIUM."""

    allow: Sequence[AllowedFinding] = ()
    """Findings that may pass for a time."""

    timeout_minutes: Annotated[int, between(1, 1200)] = 20
    """Minutes to wait for the scan."""

    enhanced: bool = False
    """Whether the registry scans with Amazon Inspector, whose findings take rights of their own."""

    def __post_init__(self) -> None:
        check(self)

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        ids = [finding.id for finding in self.allow]
        yield len(set(ids)) < len(ids), f"allow must name each finding once, got {ids}"


@dataclass(frozen=True, kw_only=True)
class ScanGateFunctionArgs:
    """Arguments of ScanGateFunction; built by Pipeline."""

    gate: ScanGate
    registry: Repository
    container_name: ContainerName
    pipeline_arn: PipelineArn
    """Pipeline that invokes it."""
    log_retention_days: LogDays = 30

    def __post_init__(self) -> None:
        check(self)


class ScanGateFunction(pulumi.ComponentResource):
    """A Lambda function that an action of a pipeline invokes, and that can read scans and nothing else.

    `name` is the function's name.
    """

    function_name: str
    function_arn: pulumi.Output[str]
    role_name: pulumi.Output[str]

    def __init__(self, name: str, args: ScanGateFunctionArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Create the function.

        Raises ValueError if `name` cannot be the name of a function.
        """
        check_name("scan gate", name, longest=51)
        super().__init__("slipway:index:ScanGateFunction", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        made = function(
            name,
            f"Lets an image of {args.registry.repository_name} pass when its scan is clean",
            "scan_gate",
            [
                *args.registry.scan_statements(),
                *(inspector_statements() if args.gate.enhanced else []),
                allow("codepipeline:ListActionExecutions", on=args.pipeline_arn),
                # Answers to a job name no resource.
                allow("codepipeline:PutJobSuccessResult", "codepipeline:PutJobFailureResult", on="*"),
            ],
            {"REPOSITORY_URL": args.registry.url, "CONTAINER": args.container_name},
            args.log_retention_days,
            child,
            {"scan_policy.json": policy(args.gate)},
        )
        self.function_name = name
        self.function_arn = made.function.arn
        self.role_name = made.role.name
        self.register_outputs({"function_name": name, "function_arn": self.function_arn, "role_name": self.role_name})

    def invoke_statement(self) -> Statement:
        """Invoke the function, which believes an event only as far as CodePipeline confirms it."""
        return allow("lambda:InvokeFunction", on=self.function_arn)


def inspector_statements() -> list[Statement]:
    """Read what Inspector found; these take no resource.

    https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-scanning-enhanced.html
    """
    return [allow("inspector2:ListFindings", "inspector2:ListCoverage", on="*")]


def policy(gate: ScanGate) -> str:
    """What the function reads as `Policy`, a file beside its code: it may be longer than environment variables."""
    allowed = [
        {"id": finding.id, "reason": finding.reason, "until": finding.until.isoformat()}
        for finding in sorted(gate.allow, key=lambda finding: finding.id)
    ]
    settings = {"threshold": gate.threshold, "timeout_minutes": gate.timeout_minutes, "allow": allowed}
    return json.dumps(settings, indent=1)
