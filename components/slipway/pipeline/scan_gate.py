"""ScanGate: passes an image only if ECR has scanned it and found nothing that is not allowed."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import pulumi

from slipway._constraints import Must, between, check, match, one_of
from slipway._rules import check_args, check_name
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
    """A finding that is allowed for a limited time."""

    id: FindingId
    """ID of the finding, such as CVE-2026-12345."""

    reason: Reason
    """Why the finding is allowed, for later readers."""

    until: datetime.date
    """Last day (UTC) on which the finding is allowed. From the next day on, it blocks releases."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class ScanGate:
    """Wait for ECR's scan of the image before the first deployment, and block the image if there are findings.

    Anything but a completed scan also blocks the image: a failed scan, an image that cannot be scanned (with basic
    scanning, an image built from scratch), or a timeout.
    """

    threshold: Annotated[str, one_of(SEVERITIES)] = "HIGH"
    """Lowest severity that blocks an image: INFORMATIONAL, LOW, MEDIUM, HIGH or CRITICAL. Findings that have not been
    assessed yet count as MEDIUM."""

    allow: Sequence[AllowedFinding] = ()
    """Findings that are allowed for a limited time."""

    timeout_minutes: Annotated[int, between(1, 1200)] = 20
    """Minutes to wait for the scan."""

    enhanced: bool = False
    """Whether the registry scans with Amazon Inspector, whose findings require additional permissions."""

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
    """A Lambda function that a pipeline action invokes, and that can only read scan findings.

    `name` is the function's name.
    """

    function_name: str
    function_arn: pulumi.Output[str]
    role_name: pulumi.Output[str]

    def __init__(self, name: str, args: ScanGateFunctionArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Create the function.

        Raises ValueError if `name` is not a valid function name.
        """
        check_name("scan gate", name, longest=51)
        check_args(args, ScanGateFunctionArgs)
        super().__init__("slipway:index:ScanGateFunction", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        if not (args.registry.scans_on_push or args.gate.enhanced):
            pulumi.log.warn(
                f"the scan gate blocks each image of {args.registry.repository_name} that is not scanned, and the "
                "repository does not scan on push: set scanOnPush where it is created, unless the scanning "
                "configuration of your registry includes it",
                self,
            )
        made = function(
            name,
            f"Lets an image of {args.registry.repository_name} pass when its scan is clean",
            "scan_gate",
            [
                *args.registry.scan_statements(),
                *(inspector_statements() if args.gate.enhanced else []),
                allow("codepipeline:ListActionExecutions", on=args.pipeline_arn),
                # Job results support no resource.
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
        """Invoke the function, which accepts an event only after CodePipeline confirms it."""
        return allow("lambda:InvokeFunction", on=self.function_arn)


def inspector_statements() -> list[Statement]:
    """Read the findings of Inspector; these actions support no resource.

    https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-scanning-enhanced.html
    """
    return [allow("inspector2:ListFindings", "inspector2:ListCoverage", on="*")]


def policy(gate: ScanGate) -> str:
    """The `Policy` document of the function, a file next to its code, because it can be longer than environment
    variables."""
    allowed = [
        {"id": finding.id, "reason": finding.reason, "until": finding.until.isoformat()}
        for finding in sorted(gate.allow, key=lambda finding: finding.id)
    ]
    settings = {"threshold": gate.threshold, "timeout_minutes": gate.timeout_minutes, "allow": allowed}
    return json.dumps(settings, indent=1)
