"""CodePipeline's side of a release: confirming jobs, reading their artifacts, and reporting their results."""

import io
import json
import zipfile
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from slipway.release.function import pipeline_job
from slipway.release.function.contract import UserParameters, encode
from slipway.release.function.pipeline_job import (
    LONGEST_SECONDS,
    MESSAGE_LIMIT,
    SUMMARY_LIMIT,
    Answer,
    ReleaseJob,
    Standing,
    UnverifiedEvent,
    standing,
    started_by,
    verify_with_codepipeline,
)
from unit.releases import CLAIM, DIGEST, NEW, NOW, OLD, OLD_DIGEST, URL, client, stubbed

FUNCTION = "shop-dev-release"
PARAMETERS = UserParameters(step="deploy", pipeline="shop", execution="execution-1", commit="c0ffee")
TEXT = json.dumps({key: value for key, value in encode(PARAMETERS).items() if value is not None})
BUILT, SOURCE, OUTPUT = ("artifacts", "shop/Build/1"), ("artifacts", "shop/Source/1"), ("artifacts", "shop/Out/1")
CREDENTIALS = {"aws_access_key_id": "a", "aws_secret_access_key": "s", "aws_session_token": "t"}
JOB = ReleaseJob(
    id="job-1",
    parameters=PARAMETERS,
    action="action-1",
    began=NOW,
    stage="dev",
    artifact=BUILT,
    source=None,
    output=None,
    credentials=CREDENTIALS,
)
LIST = {"pipelineName": "shop", "filter": {"pipelineExecutionId": "execution-1"}}


def artifact(location: tuple[str, str]) -> dict[str, Any]:
    return {"location": {"s3Location": {"bucketName": location[0], "objectKey": location[1]}}}


def event(*inputs: tuple[str, str], output: tuple[str, str] | None = None, text: str = TEXT) -> dict[str, Any]:
    data = {
        "actionConfiguration": {"configuration": {"FunctionName": FUNCTION, "UserParameters": text}},
        "inputArtifacts": [artifact(each) for each in inputs],
        "outputArtifacts": [artifact(output)] if output else [],
        "artifactCredentials": {"accessKeyId": "a", "secretAccessKey": "s", "sessionToken": "t"},
    }
    return {"id": "job-1", "data": data}


def listed(*inputs: tuple[str, str], **changes: Any) -> dict[str, Any]:
    """The action as the history lists it."""
    given = {
        "actionTypeId": {"category": "Invoke", "owner": "AWS", "provider": "Lambda", "version": "1"},
        "configuration": {"FunctionName": FUNCTION, "UserParameters": "#{unresolved}"},
        "resolvedConfiguration": {"FunctionName": FUNCTION, "UserParameters": TEXT},
        "inputArtifacts": [{"name": "x", "s3location": {"bucket": b, "key": k}} for b, k in inputs or [BUILT]],
    }
    found = {
        "actionExecutionId": "action-1",
        "actionName": "Deploy",
        "stageName": "dev",
        "startTime": datetime.fromtimestamp(NOW, UTC),
        "status": "InProgress",
        "input": given,
    }
    return {**found, **changes}


def with_input(**changes: Any) -> dict[str, Any]:
    found = listed()
    return {**found, "input": {**found["input"], **changes}}


@pytest.fixture
def codepipeline() -> Any:
    with stubbed("codepipeline") as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr(pipeline_job, "time", SimpleNamespace(sleep=slept.append, time=lambda: NOW))
    return slept


def lists(codepipeline: Any, *actions: dict[str, Any]) -> None:
    codepipeline.add_response("list_action_executions", {"actionExecutionDetails": list(actions)}, LIST)


def verify(job: dict[str, Any]) -> ReleaseJob:
    return verify_with_codepipeline(client("codepipeline"), job, FUNCTION)


# Which events are accepted


def test_a_job_that_codepipeline_confirms_is_accepted(codepipeline: Any, slept: list[float]) -> None:
    lists(codepipeline, listed())
    assert verify(event(BUILT)) == JOB


def test_the_artifacts_may_be_listed_in_another_order(codepipeline: Any, slept: list[float]) -> None:
    lists(codepipeline, listed(SOURCE, BUILT))
    assert verify(event(BUILT, SOURCE, output=OUTPUT)) == replace(JOB, source=SOURCE, output=OUTPUT)


def test_an_action_on_another_page_is_found(codepipeline: Any, slept: list[float]) -> None:
    first = {"actionExecutionDetails": [listed(status="Succeeded")], "nextToken": "2"}
    codepipeline.add_response("list_action_executions", first, LIST)
    codepipeline.add_response(
        "list_action_executions", {"actionExecutionDetails": [listed()]}, {**LIST, "nextToken": "2"}
    )
    assert verify(event(BUILT)) == JOB


def test_a_configuration_without_variables_is_not_resolved(codepipeline: Any, slept: list[float]) -> None:
    plain = {"FunctionName": FUNCTION, "UserParameters": TEXT}
    lists(codepipeline, with_input(configuration=plain, resolvedConfiguration={}))
    assert verify(event(BUILT)) == JOB


def test_an_action_that_is_listed_late_is_waited_for(codepipeline: Any, slept: list[float]) -> None:
    for _ in range(4):
        lists(codepipeline)
    lists(codepipeline, listed())
    assert verify(event(BUILT)) == JOB
    assert slept == [5] * 4


@pytest.mark.parametrize(
    "found",
    [
        listed(status="Succeeded"),
        listed(status="Failed"),
        listed(status="Abandoned"),
        listed(SOURCE),
        listed(BUILT, SOURCE),
        with_input(inputArtifacts=[]),
        with_input(resolvedConfiguration={"FunctionName": "another", "UserParameters": TEXT}),
        with_input(resolvedConfiguration={"FunctionName": FUNCTION, "UserParameters": TEXT.replace("c0f", "0ff")}),
        with_input(actionTypeId={"category": "Deploy", "owner": "AWS", "provider": "ECS", "version": "1"}),
        {key: value for key, value in listed().items() if key != "input"},
    ],
    ids=[
        "succeeded",
        "failed",
        "abandoned",
        "another artifact",
        "more artifacts",
        "no artifacts",
        "another function",
        "other parameters",
        "another kind",
        "no input",
    ],
)
def test_an_event_that_does_not_match_the_action_in_progress_is_rejected(
    codepipeline: Any, slept: list[float], found: dict[str, Any]
) -> None:
    for _ in range(5):
        lists(codepipeline, found)
    with pytest.raises(UnverifiedEvent) as error:
        verify(event(BUILT))
    assert str(error.value) == (
        "refused: the execution execution-1 of the pipeline shop has no action in progress that invokes "
        "shop-dev-release with this artifact; nothing was changed"
    )
    assert sum(slept) == 20


@pytest.mark.parametrize("inputs", [[], [BUILT, SOURCE, OUTPUT]])
def test_an_action_has_one_or_two_artifacts(inputs: list[tuple[str, str]]) -> None:
    with pytest.raises(UnverifiedEvent) as error:
        verify(event(*inputs))
    assert str(error.value) == (
        f"an action of a release has one or two input artifacts, and this one has {len(inputs)}"
    )


# The status of a claim's action


def stands(now: float = NOW, **claim: Any) -> tuple[Standing, str]:
    # Only the difference of the two times matters.
    return standing(client("codepipeline"), replace(CLAIM, **{"began": CLAIM.began + NOW - now, **claim}))


@pytest.mark.parametrize("status", ["Succeeded", "Failed", "Abandoned"])
def test_the_claim_of_an_action_that_has_ended_is_not_active(
    codepipeline: Any, slept: list[float], status: str
) -> None:
    lists(codepipeline, listed(actionExecutionId="action-0"), listed(status=status))
    assert stands() == (Standing.ENDED, f"its action Deploy ended {status}")


def test_the_claim_of_an_action_in_progress_is_active_whatever_others_do(codepipeline: Any, slept: list[float]) -> None:
    lists(codepipeline, listed(actionExecutionId="action-0", status="Failed"), listed())
    assert stands() == (Standing.IN_PROGRESS, "")


@pytest.mark.parametrize(
    ("age", "expected"),
    [(0, Standing.IN_PROGRESS), (LONGEST_SECONDS, Standing.IN_PROGRESS), (LONGEST_SECONDS + 1, Standing.ENDED)],
)
def test_the_claim_of_an_action_that_is_not_listed_yet_stays_active_for_days(
    codepipeline: Any, slept: list[float], age: float, expected: Standing
) -> None:
    lists(codepipeline)
    assert stands(NOW + age)[0] is expected


@pytest.mark.parametrize("code", ["PipelineNotFoundException", "PipelineExecutionNotFoundException"])
def test_the_claim_of_a_deleted_pipeline_is_not_active(codepipeline: Any, slept: list[float], code: str) -> None:
    codepipeline.add_client_error("list_action_executions", code)
    assert stands() == (Standing.ENDED, "the execution execution-1 of the pipeline shop is gone")


def execution(codepipeline: Any, status: str) -> None:
    codepipeline.add_response(
        "get_pipeline_execution",
        {"pipelineExecution": {"status": status}},
        {"pipelineName": "shop", "pipelineExecutionId": "execution-1"},
    )


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("InProgress", (Standing.IN_PROGRESS, "")),
        ("Stopping", (Standing.IN_PROGRESS, "")),
        ("Stopped", (Standing.ENDED, "its execution ended Stopped")),
        ("Failed", (Standing.ENDED, "its execution ended Failed")),
        ("Superseded", (Standing.ENDED, "its execution ended Superseded")),
    ],
)
def test_between_two_actions_of_its_stage_a_claim_is_active_as_long_as_the_execution(
    codepipeline: Any, slept: list[float], status: str, expected: tuple[Standing, str]
) -> None:
    lists(codepipeline, listed(actionName="Prepare", status="Succeeded"))
    execution(codepipeline, status)
    assert stands(stage="dev") == expected


def test_the_claim_of_a_stage_ends_with_its_first_failed_action(codepipeline: Any, slept: list[float]) -> None:
    lists(
        codepipeline,
        listed(actionName="Deploy", status="Failed", actionExecutionId="action-2"),
        listed(actionName="Prepare", status="Succeeded"),
    )
    assert stands(stage="dev") == (Standing.ENDED, "the action Deploy of its stage ended Failed")


def test_actions_of_an_earlier_attempt_or_of_another_stage_do_not_end_a_claim(
    codepipeline: Any, slept: list[float]
) -> None:
    before = datetime.fromtimestamp(NOW - 1, UTC)
    lists(codepipeline, listed(status="Failed", startTime=before), listed(status="Failed", stageName="prod"), listed())
    execution(codepipeline, "InProgress")
    assert stands(stage="dev") == (Standing.IN_PROGRESS, "")


def test_the_claim_of_a_stage_without_listed_actions_is_active(codepipeline: Any, slept: list[float]) -> None:
    lists(codepipeline)
    assert stands(stage="dev") == (Standing.IN_PROGRESS, "")


@pytest.mark.parametrize(
    ("trigger", "who"),
    [
        ({"triggerType": "StartPipelineExecution", "triggerDetail": "arn:x"}, "StartPipelineExecution arn:x"),
        ({"triggerType": "CloudWatchEvent"}, "CloudWatchEvent"),
        ({}, ""),
    ],
)
def test_the_starter_of_an_execution_is_codepipelines_trigger(
    codepipeline: Any, trigger: dict[str, str], who: str
) -> None:
    codepipeline.add_response("get_pipeline_execution", {"pipelineExecution": {"trigger": trigger}})
    assert started_by(client("codepipeline"), PARAMETERS) == who


# The image in the artifact


def zipped(**files: Any) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"{name}.json", content if isinstance(content, str) else json.dumps(content))
    return body.getvalue()


def named(monkeypatch: pytest.MonkeyPatch, body: bytes, digest: str | None = None) -> Any:
    """The image of an artifact, for the container `app`."""
    requests: list[Any] = []

    def get_object(**where: str) -> dict[str, Any]:
        requests.append(where)
        return {"Body": io.BytesIO(body)}

    def s3(service: str, **credentials: str) -> Any:
        assert (service, credentials) == ("s3", CREDENTIALS)
        return SimpleNamespace(get_object=get_object)

    monkeypatch.setattr(boto3, "client", s3)
    job = replace(JOB, parameters=replace(PARAMETERS, digest=digest))
    images: Any = SimpleNamespace(tagged=lambda tags: {tag: TAGS[tag] for tag in tags if tag in TAGS})
    found = pipeline_job.image(job, "app", images, URL)
    assert requests == [{"Bucket": "artifacts", "Key": "shop/Build/1"}]
    return found


TAGS = {"latest": DIGEST, "1.2": OLD_DIGEST}


def definitions(uri: str, container: str = "app") -> bytes:
    return zipped(imagedefinitions=[{"name": "sidecar", "imageUri": "x"}, {"name": container, "imageUri": uri}])


@pytest.mark.parametrize("digest", [None, DIGEST])
def test_the_image_is_the_one_in_the_builds_image_definitions_for_the_container(
    monkeypatch: pytest.MonkeyPatch, digest: str | None
) -> None:
    assert named(monkeypatch, definitions(str(NEW)), digest) == NEW


@pytest.mark.parametrize(
    ("uri", "image"),
    [(URL, NEW), (f"{URL}:latest", NEW), (f"{URL}:1.2", OLD), (f"{URL}:1.2@{DIGEST}", NEW)],
)
def test_an_image_is_named_as_codepipelines_own_actions_read_it(
    monkeypatch: pytest.MonkeyPatch, uri: str, image: Any
) -> None:
    assert named(monkeypatch, definitions(uri)) == image
    assert named(monkeypatch, zipped(imageDetail={"ImageURI": uri})) == image
    # imageDetail.json is for CodeDeploy's action.
    both = {"imagedefinitions": [{"name": "app", "imageUri": uri}], "imageDetail": {"ImageURI": "x"}}
    assert named(monkeypatch, zipped(**both)) == image


def test_the_image_of_an_ecr_source_is_the_one_in_its_image_detail(monkeypatch: pytest.MonkeyPatch) -> None:
    assert named(monkeypatch, zipped(imageDetail={"ImageURI": str(OLD), "ImageTags": ["verified-dev"]})) == OLD


@pytest.mark.parametrize(
    ("body", "digest", "message"),
    [
        (b"no zip", None, "the build's artifact holds no valid imagedefinitions.json (File is not a zip file)"),
        (zipped(other={}), None, "the build's artifact holds no valid imagedefinitions.json ("),
        (zipped(imagedefinitions="{"), None, "the build's artifact holds no valid imagedefinitions.json ("),
        (zipped(imagedefinitions=[{}]), None, "the build's artifact holds no valid imagedefinitions.json ('name')"),
        (zipped(imagedefinitions=[1]), None, "the build's artifact holds no valid imagedefinitions.json ("),
        (
            definitions(str(NEW), "web"),
            None,
            "imagedefinitions.json names the containers ['sidecar', 'web'], and this service's is 'app'",
        ),
        (
            definitions(f"{URL}:1.3"),
            None,
            f"imagedefinitions.json names '{URL}:1.3', and the repository has no image with this tag",
        ),
        (
            definitions(f"{URL}@sha256:1"),
            None,
            "imagedefinitions.json must name an image by digest or tag: an image must be <repository>@sha256:",
        ),
        (
            zipped(imageDetail={"ImageURI": f"registry:5000/{URL}"}),
            None,
            f"this service takes images from {URL}, and imageDetail.json names 'registry:5000/{URL}'",
        ),
        (zipped(imageDetail={"ImageUri": "x"}), None, "the build's artifact holds no valid imageDetail.json ('ImageU"),
        (
            definitions(f"{URL}-other@{DIGEST}"),
            None,
            f"this service takes images from {URL}, and imagedefinitions.json names '{URL}-other@{DIGEST}'",
        ),
        (
            definitions(str(NEW)),
            OLD_DIGEST,
            f"the digest {OLD_DIGEST} was approved, and imagedefinitions.json names {DIGEST}",
        ),
    ],
    ids=[
        "no zip",
        "no file",
        "no JSON",
        "no name",
        "no object",
        "container",
        "tag",
        "digest",
        "host",
        "no URI",
        "repository",
        "not approved",
    ],
)
def test_an_artifact_without_a_valid_image_for_the_service_is_rejected(
    monkeypatch: pytest.MonkeyPatch, body: bytes, digest: str | None, message: str
) -> None:
    with pytest.raises(RuntimeError) as error:
        named(monkeypatch, body, digest)
    assert str(error.value).startswith(message)


def test_the_output_of_a_step_is_stored_where_codepipeline_specifies(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Any] = []
    monkeypatch.setattr(boto3, "client", lambda service, **_: SimpleNamespace(put_object=lambda **x: kept.append(x)))
    pipeline_job.put(replace(JOB, output=OUTPUT), b"zip")
    assert kept == [{"Bucket": "artifacts", "Key": "shop/Out/1", "Body": b"zip"}]
    with pytest.raises(RuntimeError, match="^the action has no output artifact to put the deployment into; "):
        pipeline_job.put(JOB, b"zip")


# Results

LETTERS = ["a", "ü", "„", "😀"]


def limit(operation: str, *path: str) -> int:
    """CodePipeline's limits, from its API's own model."""
    shape = client("codepipeline").meta.service_model.operation_model(operation).input_shape
    for key in path:
        shape = shape.members[key]
    return int(shape.metadata["max"])


def test_the_limits_are_those_of_the_api() -> None:
    assert limit("PutJobFailureResult", "failureDetails", "message") == MESSAGE_LIMIT
    assert limit("PutJobSuccessResult", "executionDetails", "summary") == SUMMARY_LIMIT
    # The token is the id of an action.
    token, action = limit("PutJobSuccessResult", "continuationToken"), 36
    assert action <= token


@pytest.mark.parametrize("letter", LETTERS)
def test_a_message_is_truncated_to_codepipelines_limit_and_no_shorter(codepipeline: Any, letter: str) -> None:
    answer, text = Answer(client("codepipeline"), "job-1"), letter * 6000
    summary = {"executionDetails": {"summary": letter * 2048}}
    codepipeline.add_response(
        "put_job_failure_result",
        {},
        {"jobId": "job-1", "failureDetails": {"type": "JobFailed", "message": letter * 5000}},
    )
    codepipeline.add_response(
        "put_job_success_result", {}, {"jobId": "job-1", "outputVariables": {"A": "b"}, **summary}
    )
    codepipeline.add_response(
        "put_job_success_result", {}, {"jobId": "job-1", "continuationToken": "action-1", **summary}
    )
    assert answer.failed(text) is True
    assert answer.succeeded(text, {"A": "b"}) is True
    assert answer.continues("action-1", text) is True


@pytest.mark.parametrize("code", ["InvalidJobStateException", "JobNotFoundException"])
def test_a_job_that_has_ended_accepts_no_result(codepipeline: Any, code: str) -> None:
    answer = Answer(client("codepipeline"), "job-1")
    for call in ("success", "success", "failure"):
        codepipeline.add_client_error(f"put_job_{call}_result", code)
    assert [answer.continues("t", "m"), answer.succeeded("m", {}), answer.failed("m")] == [False] * 3


def test_other_errors_of_reporting_a_result_are_raised(codepipeline: Any) -> None:
    codepipeline.add_client_error("put_job_failure_result", "ThrottlingException")
    with pytest.raises(client("codepipeline").exceptions.ClientError):
        Answer(client("codepipeline"), "job-1").failed("m")
