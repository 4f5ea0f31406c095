from dataclasses import replace
from typing import Any

import pytest
from slipway.release.function import stage_tests
from slipway.release.function.contract import TEST_VARIABLES, UserParameters
from slipway.release.function.pipeline_job import ReleaseJob
from slipway.release.function.stage_tests import Outcome
from slipway.release.function.stage_tests import Tests as Standing
from unit.releases import CLAIM, DIGEST, NOW, client, stubbed

BUILD = "storefront-tests:0f1"
LOG = "https://eu-west-1.console.aws.amazon.com/cloudwatch/home#logsV2:x"
JOB = ReleaseJob(
    id="job-1",
    parameters=UserParameters(
        step="deploy", pipeline="shop", execution="execution-1", commit="c0ffee", tests="storefront-tests"
    ),
    action="action-1",
    began=NOW,
    stage="dev",
    artifact=("artifacts", "storefront/Build/1"),
    source=("artifacts", "storefront/Source/1"),
    output=None,
    credentials={},
)
CLAIMED = replace(CLAIM, commit="0ff1ce")
VARIABLES = [
    {"name": "COMMIT_ID", "value": "0ff1ce", "type": "PLAINTEXT"},
    {"name": "ENVIRONMENT", "value": "dev", "type": "PLAINTEXT"},
    {"name": "IMAGE_DIGEST", "value": DIGEST, "type": "PLAINTEXT"},
    {"name": "PIPELINE_EXECUTION_ID", "value": "execution-1", "type": "PLAINTEXT"},
    {"name": "SERVICE_URL", "value": "https://shop.example.com", "type": "PLAINTEXT"},
]
REQUEST = {
    "projectName": "storefront-tests",
    "environmentVariablesOverride": VARIABLES,
    # The action's token: a repeated event, or a later job, starts no second build.
    "idempotencyToken": "action-1",
}
OF_SOURCE = {"sourceTypeOverride": "S3", "sourceLocationOverride": "artifacts/storefront/Source/1"}


@pytest.fixture
def codebuild() -> Any:
    with stubbed("codebuild") as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def of_dev() -> stage_tests.StageTests:
    return stage_tests.StageTests(client("codebuild"), "dev", "https://shop.example.com")


def look(codebuild: Any, **build: Any) -> Standing:
    codebuild.add_response("batch_get_builds", {"builds": [{"id": BUILD, **build}] if build else []}, {"ids": [BUILD]})
    return of_dev().look(BUILD)


def test_the_tests_get_the_live_image_and_environment_and_the_files_of_the_source(codebuild: Any) -> None:
    assert tuple(variable["name"] for variable in VARIABLES) == TEST_VARIABLES
    codebuild.add_response("start_build", {"build": {"id": BUILD}}, {**REQUEST, **OF_SOURCE})
    assert of_dev().start(JOB, CLAIMED) == Standing(Outcome.RUNNING, f"the tests have started: {BUILD}", BUILD)


def test_the_tests_have_no_files_without_a_build(codebuild: Any) -> None:
    codebuild.add_response("start_build", {"build": {"id": BUILD}}, REQUEST)
    assert of_dev().start(replace(JOB, source=None), CLAIMED).build == BUILD


def test_tests_that_wait_for_the_quota_of_builds_have_not_failed(codebuild: Any) -> None:
    codebuild.add_client_error("start_build", "AccountLimitExceededException")
    assert of_dev().start(JOB, CLAIMED) == Standing(
        Outcome.RUNNING, "the tests wait for other builds: CodeBuild's quota of concurrent builds is used up"
    )


def test_tests_are_running_until_codebuild_reports_their_end(codebuild: Any) -> None:
    assert look(codebuild, buildStatus="IN_PROGRESS") == Standing(
        Outcome.RUNNING, "the tests are running: storefront-tests:0f1", BUILD
    )
    assert look(codebuild, buildStatus="SUCCEEDED") == Standing(Outcome.PASSED, "the tests passed", BUILD)


@pytest.mark.parametrize("status", ["FAILED", "FAULT", "STOPPED", "TIMED_OUT", "ANOTHER"])
def test_tests_with_any_other_status_have_failed_and_link_to_their_log(codebuild: Any, status: str) -> None:
    assert look(codebuild, buildStatus=status, logs={"deepLink": LOG}) == Standing(
        Outcome.FAILED, f"the tests of dev ended {status}. Their log: {LOG}", BUILD
    )


def test_failed_tests_report_the_first_two_reasons_that_codebuild_has(codebuild: Any) -> None:
    phases = [
        {"phaseType": "SUBMITTED"},
        {"phaseType": "BUILD", "contexts": [{"statusCode": "X"}, {"message": ""}, {"message": "make smoke: 1"}]},
        {"phaseType": "POST_BUILD", "contexts": [{"message": "no report"}, {"message": "a third"}]},
    ]
    found = look(codebuild, buildStatus="FAILED", phases=phases, logs={"deepLink": LOG})
    assert found.message == f"the tests of dev ended FAILED: make smoke: 1; no report. Their log: {LOG}"


@pytest.mark.parametrize("logs", [{}, {"logs": {}}, {"logs": {"deepLink": ""}}])
def test_tests_without_a_log_name_their_build(codebuild: Any, logs: dict[str, Any]) -> None:
    found = look(codebuild, buildStatus="FAILED", **logs)
    assert found.message == "the tests of dev ended FAILED. Their log: storefront-tests:0f1"


def test_tests_that_codebuild_does_not_show_yet_are_running(codebuild: Any) -> None:
    assert look(codebuild) == Standing(
        Outcome.RUNNING, "waiting for CodeBuild to show the tests: storefront-tests:0f1", BUILD
    )


@pytest.mark.parametrize("status", ["IN_PROGRESS", "SUCCEEDED", "FAILED", "STOPPED", None])
def test_only_running_tests_are_stopped(codebuild: Any, status: str | None) -> None:
    builds = [{"id": BUILD, "buildStatus": status}] if status else []
    codebuild.add_response("batch_get_builds", {"builds": builds}, {"ids": [BUILD]})
    if status == "IN_PROGRESS":
        codebuild.add_response("stop_build", {}, {"id": BUILD})
    of_dev().stop(BUILD)
