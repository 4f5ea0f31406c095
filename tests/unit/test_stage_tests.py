from dataclasses import replace
from typing import Any

import pytest
from slipway.release.function import stage_tests
from slipway.release.function.pipeline_job import Order
from slipway.release.function.reconcile import Progress

IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/storefront@sha256:aa"
BUILD = "storefront-tests:0f1"
LOG = "https://eu-west-1.console.aws.amazon.com/cloudwatch/home#logsV2:x"
ORDER = Order(
    job="job-1",
    step="deploy",
    execution="execution-1",
    commit="c0ffee",
    digest=None,
    tests="storefront-tests",
    token=None,
    artifact=("artifacts", "storefront/Build/1"),
    source=("artifacts", "storefront/Source/1"),
    output=None,
    credentials={},
)


def told(digest: str = "sha256:aa", execution: str = "execution-1") -> dict[str, Any]:
    """The environment of a build."""
    values = {"ENVIRONMENT": "dev", "IMAGE_DIGEST": digest, "PIPELINE_EXECUTION_ID": execution}
    return {"environmentVariables": [{"name": name, "value": value} for name, value in values.items()]}


OF_IMAGE = told()


class CodeBuild:
    """CodeBuild with one build of the tests of the image, which stands as it is told; with none if it is told so."""

    def __init__(self, there: bool = True, **build: Any) -> None:
        self.builds = [{"projectName": "storefront-tests", "environment": OF_IMAGE, **build}] if there else []
        self.started: list[dict[str, Any]] = []
        self.stopped: list[str] = []

    def start_build(self, **asked: Any) -> dict[str, Any]:
        self.started.append(asked)
        return {"build": {"id": BUILD}}

    def batch_get_builds(self, *, ids: list[str]) -> dict[str, Any]:
        assert ids == [BUILD]
        return {"builds": self.builds}

    def stop_build(self, *, id: str) -> None:
        self.stopped.append(id)


def of_dev(codebuild: CodeBuild) -> stage_tests.StageTests:
    return stage_tests.StageTests(codebuild, "dev", "https://shop.example.com")


def started(order: Order) -> dict[str, Any]:
    codebuild = CodeBuild()
    assert of_dev(codebuild).start(order, IMAGE, "0ff1ce") == BUILD
    [asked] = codebuild.started
    return asked


def look(**build: Any) -> Progress | None:
    return of_dev(CodeBuild(**build)).look(ORDER, BUILD, IMAGE)


def message(**build: Any) -> str:
    progress = look(**build)
    assert progress is not None
    return progress.message


def test_the_tests_are_told_what_is_live_where_and_have_the_files_of_the_source() -> None:
    assert started(ORDER) == {
        "projectName": "storefront-tests",
        "environmentVariablesOverride": [
            {"name": "SERVICE_URL", "value": "https://shop.example.com", "type": "PLAINTEXT"},
            {"name": "ENVIRONMENT", "value": "dev", "type": "PLAINTEXT"},
            {"name": "IMAGE_DIGEST", "value": "sha256:aa", "type": "PLAINTEXT"},
            {"name": "COMMIT_ID", "value": "0ff1ce", "type": "PLAINTEXT"},
            {"name": "PIPELINE_EXECUTION_ID", "value": "execution-1", "type": "PLAINTEXT"},
        ],
        "idempotencyToken": "job-1",
        "sourceTypeOverride": "S3",
        "sourceLocationOverride": "artifacts/storefront/Source/1",
    }


def test_the_tests_have_no_files_where_nothing_was_built() -> None:
    asked = started(replace(ORDER, source=None))
    assert asked.keys() == {"projectName", "environmentVariablesOverride", "idempotencyToken"}


def test_an_event_that_is_delivered_again_starts_no_second_build() -> None:
    assert started(ORDER)["idempotencyToken"] == started(replace(ORDER, token="{}"))["idempotencyToken"]
    assert started(ORDER)["idempotencyToken"] != started(replace(ORDER, job="job-2"))["idempotencyToken"]


def test_tests_run_until_codebuild_says_how_they_ended() -> None:
    assert look(buildStatus="IN_PROGRESS") == Progress("running", "the tests are running: storefront-tests:0f1")
    assert look(buildStatus="SUCCEEDED") == Progress("done", "the tests passed")


@pytest.mark.parametrize("status", ["FAILED", "FAULT", "STOPPED", "TIMED_OUT", "ANOTHER"])
def test_tests_that_ended_otherwise_failed_and_link_to_their_log(status: str) -> None:
    assert look(buildStatus=status, logs={"deepLink": LOG}) == Progress(
        "failed", f"the tests of dev ended {status}. Their log: {LOG}"
    )


def test_tests_that_failed_say_the_first_two_reasons_that_codebuild_has() -> None:
    phases = [
        {"phaseType": "SUBMITTED"},
        {"phaseType": "BUILD", "contexts": [{"statusCode": "X"}, {"message": ""}, {"message": "make smoke: 1"}]},
        {"phaseType": "POST_BUILD", "contexts": [{"message": "no report"}, {"message": "a third"}]},
    ]
    assert message(buildStatus="FAILED", phases=phases, logs={"deepLink": LOG}) == (
        f"the tests of dev ended FAILED: make smoke: 1; no report. Their log: {LOG}"
    )


@pytest.mark.parametrize("logs", [{}, {"logs": {}}, {"logs": {"deepLink": ""}}])
def test_tests_without_a_log_name_their_build(logs: dict[str, Any]) -> None:
    assert message(buildStatus="FAILED", **logs) == "the tests of dev ended FAILED. Their log: storefront-tests:0f1"


def test_tests_that_codebuild_does_not_show_yet_are_running() -> None:
    assert look(there=False) == Progress("running", "waiting for CodeBuild to show the tests: storefront-tests:0f1")


@pytest.mark.parametrize("status", ["SUCCEEDED", "IN_PROGRESS", "FAILED"])
@pytest.mark.parametrize(
    "foreign",
    [
        {"projectName": "storefront-dev"},
        {"environment": told(digest="sha256:bb")},
        {"environment": told(execution="execution-0")},
        {"environment": {"environmentVariables": []}},
        {"environment": {}},
    ],
    ids=["of another project", "of another image", "of another run", "of no image", "without variables"],
)
def test_a_build_that_is_none_of_the_images_tests_says_nothing_of_it(foreign: dict[str, Any], status: str) -> None:
    assert look(**foreign, buildStatus=status) is None


@pytest.mark.parametrize(
    ("build", "stopped"),
    [
        ({"buildStatus": "IN_PROGRESS"}, [BUILD]),
        *(({"buildStatus": status}, []) for status in ("SUCCEEDED", "FAILED", "STOPPED")),
        ({"there": False}, []),
    ],
)
def test_only_tests_that_are_running_are_stopped(build: dict[str, Any], stopped: list[str]) -> None:
    codebuild = CodeBuild(**build)
    of_dev(codebuild).stop(BUILD)
    assert codebuild.stopped == stopped
