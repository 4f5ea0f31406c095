import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from slipway import AllowedFinding, Registry, ScanGate
from slipway.pipeline import scan_gate
from slipway.release.function import pipeline_job as jobs
from slipway.release.function import scan_gate as runtime
from slipway.release.function.pipeline_job import UnverifiedEvent
from slipway.release.function.scan_gate import Finding, Policy, rank
from slipway.release.lambda_function import modules
from unit.examples import PIPELINE
from unit.examples import scan_gate as made
from unit.harness import Resource, deploy, granted, named, only, resolved, rights, trusted

FUNCTION = "aws:lambda/function:Function"
PLACE = "eu-west-1:123456789012"
URL = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/storefront"
WRITE_LOG = {
    "Effect": "Allow",
    "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
    "Resource": f"arn:aws:logs:{PLACE}:log-group:/aws/lambda/shop-scan-gate:*",
}
READ_SCANS = {
    "Effect": "Allow",
    "Action": ["ecr:BatchGetImage", "ecr:DescribeImageScanFindings"],
    "Resource": f"arn:aws:ecr:{PLACE}:repository/given-shop-scan-gate",
}
CONFIRM = {"Effect": "Allow", "Action": ["codepipeline:ListActionExecutions"], "Resource": PIPELINE}
ANSWER = {
    "Effect": "Allow",
    "Action": ["codepipeline:PutJobSuccessResult", "codepipeline:PutJobFailureResult"],
    "Resource": "*",
}
SEVERITIES = ["INFORMATIONAL", "LOW", "MEDIUM", "HIGH", "CRITICAL"]


def deployed(**args: Any) -> list[Resource]:
    return deploy(lambda: made("shop-scan-gate", **args)) if args else by_default()


@cache
def by_default() -> list[Resource]:
    return deploy(lambda: made("shop-scan-gate"))


def allowed(id: str = "CVE-2026-1", **args: Any) -> AllowedFinding:
    return AllowedFinding(**{"id": id, "reason": "not reachable here", "until": date(2026, 3, 31), **args})


def refusal(settings: Any, **args: Any) -> str:
    with pytest.raises(ValueError) as error:
        settings(**args)
    return str(error.value)


# The component


def test_the_function_is_for_one_repository_and_container() -> None:
    resources = deployed(container_name="web", log_retention_days=7)
    function = only(resources, FUNCTION)
    assert {name: value for name, value in function.inputs.items() if name != "code"} == {
        "name": "shop-scan-gate",
        "description": "Lets an image of given-shop-scan-gate pass when its scan is clean",
        "runtime": "python3.13",
        "architectures": ["arm64"],
        "handler": "release.scan_gate.handler",
        "role": "arn:aws:iam::123456789012:role/shop-scan-gate-role",
        "timeout": 900,
        "memorySize": 256,
        "environment": {
            "variables": {
                "REPOSITORY_URL": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/given-shop-scan-gate",
                "CONTAINER": "web",
            }
        },
        "loggingConfig": {"logFormat": "Text", "logGroup": "/aws/lambda/shop-scan-gate"},
    }
    assert only(resources, "aws:cloudwatch/logGroup:LogGroup").inputs == {
        "name": "/aws/lambda/shop-scan-gate",
        "retentionInDays": 7,
    }


def test_the_function_is_created_after_its_role_has_its_permissions() -> None:
    assert only(deployed(), FUNCTION).depends_on == {
        "given-shop-scan-gate",
        "shop-scan-gate-logs",
        "shop-scan-gate-policy",
        "shop-scan-gate-role",
    }


def test_the_archive_contains_the_function_and_its_policy_as_a_file() -> None:
    gate = ScanGate(threshold="MEDIUM", timeout_minutes=7, allow=[allowed("CVE-2026-2"), allowed("CVE-2026-1")])
    assets = only(deployed(gate=gate), FUNCTION).inputs["code"].assets
    assert assets.keys() == {*(f"release/{module}" for module in modules("scan_gate")), "release/scan_policy.json"}
    assert json.loads(assets["release/scan_policy.json"].text) == {
        "threshold": "MEDIUM",
        "timeout_minutes": 7,
        "allow": [
            {"id": "CVE-2026-1", "reason": "not reachable here", "until": "2026-03-31"},
            {"id": "CVE-2026-2", "reason": "not reachable here", "until": "2026-03-31"},
        ],
    }


def test_by_default_high_findings_block_and_the_timeout_is_twenty_minutes() -> None:
    assert json.loads(scan_gate.policy(ScanGate())) == {"threshold": "HIGH", "timeout_minutes": 20, "allow": []}


def test_the_order_of_allowed_findings_does_not_change_the_function() -> None:
    one, other = allowed("CVE-2026-1"), allowed("CVE-2026-2")
    assert scan_gate.policy(ScanGate(allow=[one, other])) == scan_gate.policy(ScanGate(allow=[other, one]))


def test_the_role_is_for_lambda_functions() -> None:
    assert trusted(deployed(), "shop-scan-gate-role") == [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ]


def test_the_function_may_read_scans_and_report_its_result_and_nothing_else() -> None:
    resources = deployed()
    assert named(resources, "shop-scan-gate-policy").inputs["role"] == "shop-scan-gate-role"
    assert rights(resources, "shop-scan-gate-policy") == granted([WRITE_LOG, READ_SCANS, CONFIRM, ANSWER])


def test_enhanced_scans_need_permission_to_read_inspectors_findings() -> None:
    inspector = {"Effect": "Allow", "Action": ["inspector2:ListFindings", "inspector2:ListCoverage"], "Resource": "*"}
    assert rights(deployed(gate=ScanGate(enhanced=True)), "shop-scan-gate-policy") == granted(
        [
            WRITE_LOG,
            READ_SCANS,
            inspector,
            CONFIRM,
            ANSWER,
        ]
    )


def test_a_caller_of_the_function_may_invoke_it_and_nothing_else() -> None:
    assert resolved(lambda: made("shop-scan-gate").invoke_statement()) == {
        "Effect": "Allow",
        "Action": ["lambda:InvokeFunction"],
        "Resource": f"arn:aws:lambda:{PLACE}:function:shop-scan-gate",
    }


@pytest.mark.parametrize("name", ["a", "-gate", "Gate", "a_b", "a" * 52])
def test_an_invalid_name_of_a_function_is_rejected(name: str) -> None:
    with pytest.raises(ValueError) as error:
        deploy(lambda: made(name, registry=Registry("given")))
    assert str(error.value) == (
        "a scan gate's name must be 2 to 51 characters of a-z 0-9 and single - between them, starting with a letter, "
        f"got {name!r}"
    )


@pytest.mark.parametrize("id", ["GHSA-xxxx-yyyy-zzzz", "SNYK:x.1", "abcd", "a" * 100])
def test_valid_ids_of_findings_are_accepted(id: str) -> None:
    assert allowed(id).id == id


def test_each_finding_can_be_allowed_only_once() -> None:
    twice = [allowed("CVE-2026-1"), allowed("CVE-2026-2"), allowed("CVE-2026-1", until=date(2027, 1, 1))]
    assert refusal(ScanGate, allow=twice) == (
        "allow must name each finding once, got ['CVE-2026-1', 'CVE-2026-2', 'CVE-2026-1']"
    )


# The function: its policy for findings

TODAY = date(2026, 3, 31)


def policy(threshold: str = "HIGH", *allow: AllowedFinding, timeout_minutes: int = 20) -> Policy:
    """The policy that the function reads, for the arguments of a stack."""
    gate = ScanGate(threshold=threshold, allow=allow, timeout_minutes=timeout_minutes)
    return Policy.read(scan_gate.policy(gate))


def test_the_function_reads_what_the_component_wrote() -> None:
    assert policy("LOW", allowed("CVE-2026-2"), timeout_minutes=7) == Policy(
        "LOW", 7, {"CVE-2026-2": (date(2026, 3, 31), "not reachable here")}
    )


def test_the_function_and_the_component_have_the_same_severities() -> None:
    assert list(runtime.SEVERITIES) == list(scan_gate.SEVERITIES) == SEVERITIES


def test_severities_rank_from_informational_to_unknown_ones() -> None:
    assert [rank(severity) for severity in SEVERITIES] == [0, 1, 2, 3, 4]
    assert [rank(severity) for severity in ("UNDEFINED", "UNTRIAGED")] == [2, 2]
    assert [rank(severity) for severity in ("", "high", "SEVERE")] == [5, 5, 5]


@pytest.mark.parametrize("threshold", SEVERITIES)
def test_findings_at_or_above_the_threshold_block_and_others_do_not(threshold: str) -> None:
    findings = [Finding(f"CVE-{severity}", severity) for severity in SEVERITIES]
    worst_first = SEVERITIES[SEVERITIES.index(threshold) :][::-1]
    assert policy(threshold).judge(findings, TODAY) == (
        [f"CVE-{severity} ({severity})" for severity in worst_first],
        [],
    )


def test_an_unassessed_finding_counts_as_medium_and_an_unknown_severity_as_the_worst() -> None:
    findings = [Finding("CVE-1", "UNDEFINED"), Finding("CVE-2", "UNTRIAGED"), Finding("CVE-3", "SEVERE")]
    assert policy("MEDIUM").judge(findings, TODAY)[0] == ["CVE-3 (SEVERE)", "CVE-1 (UNDEFINED)", "CVE-2 (UNTRIAGED)"]
    assert policy("HIGH").judge(findings, TODAY)[0] == ["CVE-3 (SEVERE)"]
    assert policy("CRITICAL").judge(findings, TODAY)[0] == ["CVE-3 (SEVERE)"]


def test_a_finding_in_several_packages_is_reported_once() -> None:
    findings = [Finding("CVE-2", "HIGH"), Finding("CVE-1", "HIGH"), Finding("CVE-2", "HIGH")]
    assert policy().judge(findings, TODAY) == (["CVE-1 (HIGH)", "CVE-2 (HIGH)"], [])


def test_an_allowed_finding_passes_until_the_end_of_its_last_day_with_its_reason() -> None:
    findings = [Finding("CVE-2026-1", "CRITICAL"), Finding("CVE-2026-9", "HIGH")]
    passes = ["CVE-2026-1 (CRITICAL; until 2026-03-31: not reachable here)"]
    for today in (date(2026, 1, 1), date(2026, 3, 31)):
        assert policy("HIGH", allowed()).judge(findings, today) == (["CVE-2026-9 (HIGH)"], passes)


def test_an_allowed_finding_blocks_from_the_next_day_on() -> None:
    assert policy("HIGH", allowed()).judge([Finding("CVE-2026-1", "CRITICAL")], date(2026, 4, 1)) == (
        ["CVE-2026-1 (CRITICAL; allowed until 2026-03-31, which is over)"],
        [],
    )


def test_an_allowed_finding_below_the_threshold_is_not_reported() -> None:
    assert policy("HIGH", allowed()).judge([Finding("CVE-2026-1", "MEDIUM")], date(2026, 4, 1)) == ([], [])


# The function: how it handles the scan of an image

INDEX = "application/vnd.oci.image.index.v1+json"
LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DIGEST = "sha256:" + "a" * 64
AMD, ARM, ATTESTATION = ("sha256:" + letter * 64 for letter in "bcd")
JOB = "11111111-abcd-1111-abcd-111111abcdef"
ARTIFACT = ("artifacts", "storefront/Build/1")
BEGAN = datetime(2026, 3, 31, 12, tzinfo=UTC).timestamp()
PARAMETERS = json.dumps({"step": "scan", "pipeline": "shop", "execution": "execution-1", "commit": "c0ffee"})


class ScanNotFoundException(Exception):
    pass


class Ecr:
    """ECR with one image, whose scan has these statuses: each request returns the next one, and then always the
    last."""

    exceptions = SimpleNamespace(ScanNotFoundException=ScanNotFoundException)

    def __init__(self) -> None:
        self.image: dict[str, Any] | None = {"imageManifestMediaType": MANIFEST, "imageManifest": "{}"}
        self.statuses: dict[str, list[str]] = {DIGEST: ["COMPLETE"]}
        self.findings: dict[str, list[dict[str, Any]]] = {}
        """Pages of findings."""

    def is_index(self, media_type: str, *entries: dict[str, Any]) -> None:
        self.image = {"imageManifestMediaType": media_type, "imageManifest": json.dumps({"manifests": entries})}

    def batch_get_image(self, *, repositoryName: str, imageIds: list[dict[str, str]]) -> dict[str, Any]:
        assert (repositoryName, imageIds) == ("storefront", [{"imageDigest": DIGEST}])
        return {"images": [self.image] if self.image else []}

    def describe_image_scan_findings(
        self, *, repositoryName: str, imageId: dict[str, str], maxResults: int
    ) -> dict[str, Any]:
        assert repositoryName == "storefront"
        statuses = self.statuses[imageId["imageDigest"]]
        status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
        if status == "NO SCAN":
            raise ScanNotFoundException
        # Results other than the status can have several pages.
        return {"imageScanStatus": {"status": status}} if status else {}

    def get_paginator(self, operation: str) -> Any:
        assert operation == "describe_image_scan_findings"

        def paginate(*, repositoryName: str, imageId: dict[str, str]) -> list[dict[str, Any]]:
            assert repositoryName == "storefront"
            assert self.statuses[imageId["imageDigest"]][0] in ("COMPLETE", "ACTIVE")
            return [
                {"imageScanFindings": page} if page else {} for page in self.findings.get(imageId["imageDigest"], [{}])
            ]

        return SimpleNamespace(paginate=paginate)


class CodePipeline:
    """CodePipeline with one action in progress, and the results that were reported to it."""

    exceptions = SimpleNamespace(InvalidJobStateException=KeyError, JobNotFoundException=KeyError)

    def __init__(self) -> None:
        self.function = "shop-scan-gate"
        self.answers: list[tuple[str, dict[str, Any]]] = []

    def get_paginator(self, operation: str) -> Any:
        assert operation == "list_action_executions"
        filters = {
            "actionTypeId": {"provider": "Lambda"},
            "configuration": {"FunctionName": self.function, "UserParameters": PARAMETERS},
            "inputArtifacts": [{"s3location": {"bucket": ARTIFACT[0], "key": ARTIFACT[1]}}],
        }

        def paginate(*, pipelineName: str, filter: dict[str, str]) -> list[dict[str, Any]]:
            assert (pipelineName, filter) == ("shop", {"pipelineExecutionId": "execution-1"})
            action = {
                "actionExecutionId": "action-1",
                "stageName": "Scan",
                "actionName": "Image",
                "status": "InProgress",
                "startTime": datetime.fromtimestamp(BEGAN, UTC),
                "input": filters,
            }
            return [{"actionExecutionDetails": [action]}]

        return SimpleNamespace(paginate=paginate)

    def put_job_success_result(self, **args: Any) -> None:
        self.answers.append(("success", args))

    def put_job_failure_result(self, **args: Any) -> None:
        self.answers.append(("failure", args))


class Clock:
    """A clock that only sleeping advances."""

    def __init__(self) -> None:
        self.now = BEGAN
        self.slept: list[float] = []

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class World:
    """The function's environment, and one run of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ecr, self.codepipeline, self.clock = Ecr(), CodePipeline(), Clock()
        self.policy = policy()
        clients: dict[str, Callable[[], Any]] = {
            "ecr": lambda: self.ecr,
            "codepipeline": lambda: self.codepipeline,
            "s3": lambda: SimpleNamespace(get_object=self.artifact),
        }
        monkeypatch.setattr(boto3, "client", lambda service, **_: clients[service]())
        monkeypatch.setattr(runtime, "time", self.clock)
        monkeypatch.setattr(jobs, "time", self.clock)

    def artifact(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        assert (Bucket, Key) == ARTIFACT
        body = io.BytesIO()
        with zipfile.ZipFile(body, "w") as archive:
            named = [{"name": "app", "imageUri": f"{URL}@{DIGEST}"}]
            archive.writestr("imagedefinitions.json", json.dumps(named))
        return {"Body": io.BytesIO(body.getvalue())}

    def job(self, token: str | None) -> dict[str, Any]:
        bucket, key = ARTIFACT
        data: dict[str, Any] = {
            "actionConfiguration": {"configuration": {"FunctionName": "x", "UserParameters": PARAMETERS}},
            "inputArtifacts": [{"location": {"s3Location": {"bucketName": bucket, "objectKey": key}}}],
            "artifactCredentials": {"accessKeyId": "a", "secretAccessKey": "s", "sessionToken": "t"},
        }
        return {"id": JOB, "data": {**data, **({"continuationToken": token} if token else {})}}

    def look(self, token: str | None = None) -> tuple[str, dict[str, Any]]:
        """The result that the function reports for one event."""
        gate = runtime.ScanGate({"REPOSITORY_URL": URL, "CONTAINER": "app"}, self.policy)
        gate.look(self.job(token), "shop-scan-gate")
        answer = self.codepipeline.answers.pop()
        assert self.codepipeline.answers == []
        return answer


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def passed(summary: str, allowed: int = 0) -> tuple[str, dict[str, Any]]:
    args = {"IMAGE_DIGEST": DIGEST, "ALLOWED": str(allowed)}
    return "success", {"jobId": JOB, "executionDetails": {"summary": summary}, "outputVariables": args}


def stopped(message: str) -> tuple[str, dict[str, Any]]:
    return "failure", {"jobId": JOB, "failureDetails": {"type": "JobFailed", "message": message}}


def goes_on(summary: str) -> tuple[str, dict[str, Any]]:
    # The content of a token does not matter.
    return "success", {"jobId": JOB, "continuationToken": DIGEST, "executionDetails": {"summary": summary}}


def basic(*findings: tuple[str, str]) -> dict[str, Any]:
    return {"findings": [{"name": name, "severity": severity} for name, severity in findings]}


CLEAN = passed("no findings of HIGH or higher (0 in total)")
MEND = ". Fix them, or allow them for a limited time in slipway:scanGate.allow"


@pytest.mark.parametrize("status", ["COMPLETE", "ACTIVE"])
def test_an_image_passes_when_its_scan_is_complete_and_clean(world: World, status: str) -> None:
    world.ecr.statuses[DIGEST] = [status]
    assert world.look() == CLEAN
    assert world.clock.slept == []


def test_findings_below_the_threshold_do_not_block(world: World) -> None:
    world.ecr.findings[DIGEST] = [basic(("CVE-1", "LOW"), ("CVE-2", "MEDIUM"))]
    assert world.look() == passed("no findings of HIGH or higher (2 in total)")


def test_findings_at_the_threshold_block_the_release_by_name(world: World) -> None:
    world.ecr.findings[DIGEST] = [basic(("CVE-1", "LOW"), ("CVE-2", "HIGH"), ("CVE-3", "CRITICAL"))]
    assert world.look() == stopped(
        f"scan gate: blocked {DIGEST}: findings of HIGH or higher: CVE-3 (CRITICAL); CVE-2 (HIGH){MEND}"
    )


def test_findings_on_every_page_count(world: World) -> None:
    world.ecr.findings[DIGEST] = [basic(("CVE-1", "LOW")), {}, basic(("CVE-2", "HIGH"))]
    assert world.look() == stopped(f"scan gate: blocked {DIGEST}: findings of HIGH or higher: CVE-2 (HIGH){MEND}")


def test_a_finding_without_a_severity_is_unassessed(world: World) -> None:
    world.policy = policy("MEDIUM")
    world.ecr.findings[DIGEST] = [{"findings": [{"name": "CVE-1"}], "enhancedFindings": [{"title": "CVE-2"}]}]
    assert world.look() == stopped(
        f"scan gate: blocked {DIGEST}: findings of MEDIUM or higher: CVE-1 (UNDEFINED); CVE-2 (UNDEFINED){MEND}"
    )


def test_enhanced_findings_count_while_they_are_active(world: World) -> None:
    details = {"vulnerabilityId": "CVE-1"}
    world.ecr.statuses[DIGEST] = ["ACTIVE"]
    world.ecr.findings[DIGEST] = [
        {
            "enhancedFindings": [
                {"severity": "HIGH", "status": "ACTIVE", "packageVulnerabilityDetails": details, "title": "CVE-1 - x"},
                {"severity": "CRITICAL", "status": "SUPPRESSED", "packageVulnerabilityDetails": details},
                {"severity": "CRITICAL", "status": "CLOSED", "packageVulnerabilityDetails": details},
            ]
        }
    ]
    assert world.look() == stopped(f"scan gate: blocked {DIGEST}: findings of HIGH or higher: CVE-1 (HIGH){MEND}")


def test_enhanced_findings_without_an_id_are_reported_by_their_title_or_arn(world: World) -> None:
    world.ecr.findings[DIGEST] = [
        {
            "enhancedFindings": [
                {"severity": "HIGH", "title": "A key in a layer"},
                {"severity": "HIGH", "findingArn": "arn:f"},
            ]
        }
    ]
    assert world.look() == stopped(
        f"scan gate: blocked {DIGEST}: findings of HIGH or higher: A key in a layer (HIGH); arn:f (HIGH){MEND}"
    )


def test_allowed_findings_do_not_block_and_are_reported(world: World) -> None:
    world.policy = policy("HIGH", allowed())
    world.ecr.findings[DIGEST] = [basic(("CVE-2026-1", "CRITICAL"), ("CVE-2", "LOW"))]
    assert world.look() == passed(
        "no findings of HIGH or higher (2 in total), except allowed ones: "
        "CVE-2026-1 (CRITICAL; until 2026-03-31: not reachable here)",
        allowed=1,
    )


@pytest.fixture
def far_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A time zone where it is already tomorrow."""
    with monkeypatch.context() as there:
        there.setenv("TZ", "Pacific/Kiritimati")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("far_east")
def test_the_last_day_of_an_allowed_finding_ends_at_midnight_utc(world: World) -> None:
    world.policy = policy("HIGH", allowed())
    world.ecr.findings[DIGEST] = [basic(("CVE-2026-1", "CRITICAL"))]
    midnight = datetime(2026, 4, 1, tzinfo=UTC).timestamp()
    world.clock.now = midnight - 1
    assert world.look()[0] == "success"
    world.clock.now = midnight
    assert world.look() == stopped(
        f"scan gate: blocked {DIGEST}: findings of HIGH or higher: "
        f"CVE-2026-1 (CRITICAL; allowed until 2026-03-31, which is over){MEND}"
    )


@pytest.mark.parametrize(
    "status",
    [
        "FAILED",
        "UNSUPPORTED_IMAGE",
        "SCAN_ELIGIBILITY_EXPIRED",
        "FINDINGS_UNAVAILABLE",
        "LIMIT_EXCEEDED",
        "IMAGE_ARCHIVED",
        "SOMETHING_NEW",
        "complete",
    ],
)
def test_any_status_but_a_completed_scan_blocks_the_release(world: World, status: str) -> None:
    world.ecr.statuses[DIGEST] = [status]
    assert world.look() == stopped(
        f"scan gate: blocked {DIGEST}: scan status {status} (sha256:aaaaaaaaaaaa); only a completed scan passes"
    )


def test_a_scan_without_a_status_blocks_the_release(world: World) -> None:
    world.ecr.statuses[DIGEST] = [""]
    assert world.look() == stopped(
        f"scan gate: blocked {DIGEST}: scan status UNKNOWN (sha256:aaaaaaaaaaaa); only a completed scan passes"
    )


@pytest.mark.parametrize("status", ["IN_PROGRESS", "PENDING", "NO SCAN"])
def test_a_scan_in_progress_is_waited_for(world: World, status: str) -> None:
    world.ecr.statuses[DIGEST] = [status, status, "COMPLETE"]
    assert world.look() == CLEAN
    assert world.clock.slept == [5, 5]


def test_a_run_continues_in_the_next_one(world: World) -> None:
    world.ecr.statuses[DIGEST] = ["IN_PROGRESS"]
    waiting = goes_on("waiting for the scan: IN_PROGRESS (sha256:aaaaaaaaaaaa)")
    assert world.look() == waiting
    # Polls until less than one pause of its 50 seconds is left.
    assert world.clock.slept == [5] * 10
    world.clock.now += 30
    assert world.look(DIGEST) == waiting
    world.ecr.statuses[DIGEST] = ["COMPLETE"]
    assert world.look(DIGEST) == CLEAN


@pytest.mark.parametrize(("status", "args"), [("IN_PROGRESS", "IN_PROGRESS"), ("NO SCAN", "NOT_STARTED")])
def test_a_scan_that_does_not_complete_within_the_timeout_blocks_the_release(
    world: World, status: str, args: str
) -> None:
    world.policy = policy(timeout_minutes=7)
    world.ecr.statuses[DIGEST] = [status]
    world.clock.now = BEGAN + 7 * 60
    # To the second: the last poll is after the timeout, not at its end.
    message = (
        f"scan gate: blocked {DIGEST}: the scan did not complete in 7 minutes; scan status {args} "
        "(sha256:aaaaaaaaaaaa). Is scanning on for storefront in the registry's settings?"
    )
    assert world.look(DIGEST) == stopped(message)
    assert world.clock.slept == [5]


def test_a_scan_that_completes_late_still_counts(world: World) -> None:
    world.clock.now = BEGAN + 21 * 60
    assert world.look(DIGEST) == CLEAN


def platform(digest: str, architecture: str) -> dict[str, Any]:
    return {"digest": digest, "mediaType": MANIFEST, "platform": {"architecture": architecture, "os": "linux"}}


@pytest.mark.parametrize("media_type", [INDEX, LIST])
def test_the_images_of_an_index_are_checked_and_its_attestations_are_not(world: World, media_type: str) -> None:
    world.ecr.is_index(media_type, platform(AMD, "amd64"), platform(ARM, "arm64"), platform(ATTESTATION, "unknown"))
    # The index itself and attestations have no scan.
    world.ecr.statuses = {AMD: ["COMPLETE"], ARM: ["COMPLETE"]}
    world.ecr.findings = {AMD: [basic(("CVE-1", "LOW"))], ARM: [basic(("CVE-2", "HIGH"))]}
    assert world.look() == stopped(f"scan gate: blocked {DIGEST}: findings of HIGH or higher: CVE-2 (HIGH){MEND}")
    world.ecr.findings[ARM] = [basic(("CVE-2", "LOW"))]
    assert world.look() == passed("no findings of HIGH or higher (2 in total)")


def test_an_image_of_an_index_without_a_platform_is_checked(world: World) -> None:
    world.ecr.is_index(INDEX, {"digest": AMD})
    world.ecr.statuses = {AMD: ["COMPLETE"]}
    world.ecr.findings = {AMD: [basic(("CVE-1", "HIGH"))]}
    assert world.look()[0] == "failure"


def test_an_index_waits_for_all_of_its_images(world: World) -> None:
    world.ecr.is_index(INDEX, platform(AMD, "amd64"), platform(ARM, "arm64"))
    world.ecr.statuses = {AMD: ["COMPLETE"], ARM: ["IN_PROGRESS", "COMPLETE"]}
    assert world.look() == CLEAN
    assert world.clock.slept == [5]


def test_one_image_of_an_index_that_cannot_be_scanned_blocks_the_release_at_once(world: World) -> None:
    world.ecr.is_index(INDEX, platform(AMD, "amd64"), platform(ARM, "arm64"))
    world.ecr.statuses = {AMD: ["IN_PROGRESS"], ARM: ["UNSUPPORTED_IMAGE"]}
    assert world.look() == stopped(
        f"scan gate: blocked {DIGEST}: scan status UNSUPPORTED_IMAGE (sha256:cccccccccccc); only a completed scan "
        "passes"
    )
    assert world.clock.slept == []


def test_an_index_without_images_blocks_the_release(world: World) -> None:
    world.ecr.is_index(INDEX, platform(ATTESTATION, "unknown"))
    assert world.look() == stopped(f"scan gate: the index {DIGEST} names no image")


def test_a_missing_image_blocks_the_release(world: World) -> None:
    world.ecr.image = None
    assert world.look() == stopped(f"scan gate: the image {DIGEST} is not in the repository storefront")


def test_an_error_of_any_kind_blocks_the_release(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: Any) -> Iterator[None]:
        raise OSError("no route to ECR")

    monkeypatch.setattr(world.ecr, "describe_image_scan_findings", broken)
    assert world.look() == stopped("scan gate: no route to ECR")


def test_an_event_that_codepipeline_does_not_confirm_is_rejected_before_any_request_to_ecr(world: World) -> None:
    world.codepipeline.function = "another-function"
    world.ecr.image = None
    # No result is reported: Lambda retries a genuine event, by when the history shows its action.
    with pytest.raises(UnverifiedEvent) as error:
        world.look()
    assert str(error.value) == (
        "refused: the execution execution-1 of the pipeline shop has no action in progress that invokes shop-scan-gate "
        "with this artifact; nothing was changed"
    )
    assert world.codepipeline.answers == []


def test_lambda_runs_it_with_the_policy_in_its_archive(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gate = ScanGate(threshold="LOW")
    (tmp_path / "scan_policy.json").write_text(scan_gate.policy(gate))
    monkeypatch.setattr(runtime, "__file__", str(tmp_path / "scan_gate.py"))
    monkeypatch.setenv("REPOSITORY_URL", URL)
    monkeypatch.setenv("CONTAINER", "app")
    world.ecr.findings[DIGEST] = [basic(("CVE-1", "LOW"))]
    runtime.handler({"CodePipeline.job": world.job(None)}, SimpleNamespace(function_name="shop-scan-gate"))
    assert world.codepipeline.answers == [
        stopped(f"scan gate: blocked {DIGEST}: findings of LOW or higher: CVE-1 (LOW){MEND}")
    ]
