import io
import json
import zipfile
from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from slipway.release.function import handler
from slipway.release.function.handler import Function, State
from slipway.release.function.pipeline_job import Answer, Order
from slipway.release.function.reconcile import Progress
from slipway.release.function.state import Release, Settings

URL = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/shop"
IMAGE, OTHER = f"{URL}@sha256:{'a' * 64}", f"{URL}@sha256:{'b' * 64}"
BACK = "The last verified image is put back."
PREFIX = "/slipway/shop-dev-release/"
BUILD = "shop-dev-tests:0f1"
NOW = 1_700_000_000.0
ORDER = Order(
    job="job-1",
    step="deploy",
    execution="execution-1",
    commit="c0ffee",
    digest=None,
    tests=None,
    token=None,
    artifact=("artifacts", "shop/Build/1"),
    source=None,
    output=None,
    credentials={},
)
SETTINGS = Settings(
    template="arn:t",
    minimum=2,
    maximum=2,
    deadline_minutes=10,
    subnets=["subnet-3"],
    security_groups=["sg-1"],
    load_balancers=[],
    target_groups=[],
    deployment={"strategy": "ROLLING"},
    availability_zone_rebalancing="ENABLED",
)


def state(**told: Any) -> State:
    return State(**{"image": IMAGE, "since": NOW, **told})


# What one run tells the next


def test_a_token_says_all_that_the_next_run_needs() -> None:
    full = state(after="arn:d", failure=f"It failed. {BACK}", back=OTHER, build=BUILD)
    assert State(**json.loads(full.token())) == full


@pytest.mark.parametrize("letter", ["a", "ü", '"', "\n", "😀"], ids=ascii)
def test_a_token_is_never_longer_than_codepipeline_takes_and_says_what_is_done(letter: str) -> None:
    full = state(failure=f"It failed: {letter * handler.REASON_LIMIT}. {BACK}", back=OTHER)
    token = full.token()
    assert len(token) <= 2048
    read = State(**json.loads(token))
    assert replace(read, failure="") == replace(full, failure="")
    # The reason loses its beginning, and no more of it than it must.
    assert full.failure.endswith(read.failure)
    assert read.failure.endswith(f"{letter * 30}. {BACK}")
    written = len(json.dumps(letter)) - 2
    assert read.failure == full.failure or len(token) + 50 * written > 2048


# Where a run begins


class World:
    """The services that the function asks, with one artifact and the registers of one service."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.named = [{"name": "app", "imageUri": IMAGE}]
        self.registers = {"settings": json.dumps(asdict(SETTINGS)), "wanted": "null", "verified": "null"}
        self.answers: list[tuple[str, dict[str, Any]]] = []
        self.builds: list[dict[str, Any]] = []
        self.started: list[dict[str, Any]] = []
        self.stopped: list[str] = []
        self.tags: list[str] = []
        clients: dict[str, Any] = {
            "s3": SimpleNamespace(get_object=self.artifact),
            "ssm": SimpleNamespace(get_parameter=self.parameter, put_parameter=self.put_parameter),
            "ecr": SimpleNamespace(
                batch_get_image=lambda **_: {"images": [{"imageManifest": "{}", "imageManifestMediaType": "m"}]},
                describe_images=lambda **_: {"imageDetails": [{}]},
                put_image=self.tag,
                exceptions=SimpleNamespace(ImageAlreadyExistsException=KeyError),
            ),
            "codebuild": SimpleNamespace(
                batch_get_builds=lambda ids: {"builds": [b for b in self.builds if b["id"] in ids]},
                start_build=self.start,
                stop_build=lambda id: self.stopped.append(id),
            ),
            "codepipeline": SimpleNamespace(
                put_job_success_result=lambda **told: self.answers.append(("success", told)),
                put_job_failure_result=lambda **told: self.answers.append(("failure", told)),
                exceptions=SimpleNamespace(InvalidJobStateException=KeyError, JobNotFoundException=KeyError),
            ),
            "ecs": None,
            "application-autoscaling": None,
        }
        monkeypatch.setattr(boto3, "client", lambda service, **_: clients[service])
        self.now = NOW
        monkeypatch.setattr(handler, "time", SimpleNamespace(time=lambda: self.now, sleep=self.sleep))
        self.function = Function(
            {
                "CLUSTER": "shop",
                "SERVICE": "shop-dev",
                "FAMILY": "shop-dev",
                "CONTAINER": "app",
                "ENVIRONMENT": "dev",
                "REPOSITORY_URL": URL,
                "KEEP_VERIFIED": "5",
                "PARAMETERS": PREFIX,
                "SERVICE_URL": "https://shop.example.com",
            }
        )

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def artifact(self, **_: str) -> dict[str, Any]:
        body = io.BytesIO()
        with zipfile.ZipFile(body, "w") as archive:
            archive.writestr("imagedefinitions.json", json.dumps(self.named))
        return {"Body": io.BytesIO(body.getvalue())}

    def parameter(self, *, Name: str) -> dict[str, Any]:
        return {"Parameter": {"Value": self.registers[Name.removeprefix(PREFIX)]}}

    def put_parameter(self, *, Name: str, Value: str, **_: Any) -> None:
        self.registers[Name.removeprefix(PREFIX)] = Value

    def tag(self, *, imageTag: str, imageDigest: str, **_: str) -> dict[str, Any]:
        self.tags.append(imageTag)
        return {"image": {"imageId": {"imageDigest": imageDigest}}}

    def start(self, **asked: Any) -> dict[str, Any]:
        self.started.append(asked)
        variables = asked["environmentVariablesOverride"]
        self.builds.append(
            {
                "id": BUILD,
                "projectName": asked["projectName"],
                "buildStatus": "IN_PROGRESS",
                "environment": {"environmentVariables": variables},
            }
        )
        return {"build": {"id": BUILD}}

    def want(self, image: str = IMAGE, execution: str = "execution-1", begun: float = NOW) -> None:
        self.function.registers.want(Release(image, "c0ffee", execution, begun))

    def begins(self, order: Order) -> State:
        return self.function._state(order)

    def deploys(self, told: State, *progress: Progress, **order: Any) -> tuple[str, dict[str, Any]]:
        """How one run answers that sees the service like this, one look after the other, and then as at last."""
        looks = [*progress]

        def advance(after: str | None, give_up: bool) -> Progress:
            return looks.pop(0) if len(looks) > 1 else looks[0]

        self.function.service = SimpleNamespace(advance=advance, deployer="ECS")  # type: ignore[assignment]
        answer = Answer(self.function.codepipeline, "job-1")
        self.function._go_on(replace(ORDER, **order), told, answer)
        [answered] = self.answers
        return answered


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


LIVE = Progress("done", "shop-dev:7 runs it in 2 tasks", image=IMAGE)


def test_the_first_run_wants_the_image_of_the_artifact_from_now_on(world: World) -> None:
    assert world.begins(ORDER) == state()
    assert world.function.registers.wanted() == Release(IMAGE, "c0ffee", "execution-1", NOW)


def test_a_later_run_goes_on_where_the_last_one_left_off_and_wants_nothing_anew(world: World) -> None:
    world.want()
    before, left = dict(world.registers), state(after="arn:d", build=BUILD)
    assert world.begins(replace(ORDER, token=left.token())) == left
    assert world.registers == before


def test_the_image_is_that_of_the_artifact_whatever_a_token_says(world: World) -> None:
    world.want()
    assert world.begins(replace(ORDER, token=state(image=OTHER).token())) == state()


def test_a_token_cannot_bring_an_image_past_an_approval(world: World) -> None:
    world.named[0]["imageUri"] = OTHER
    with pytest.raises(RuntimeError) as error:
        world.begins(replace(ORDER, token=state().token(), digest=IMAGE.partition("@")[2]))
    assert str(error.value) == (
        f"the digest sha256:{'a' * 64} was approved, and imagedefinitions.json names sha256:{'b' * 64}"
    )


def test_a_release_did_not_begin_before_the_register_says_so_whatever_a_token_says(world: World) -> None:
    world.want(begun=NOW - 60)
    assert world.begins(replace(ORDER, token=state(since=0).token())).since == NOW - 60
    assert world.begins(replace(ORDER, token=state(since=NOW).token())).since == NOW


def test_the_way_back_has_a_time_of_its_own(world: World) -> None:
    # What is put back was released at another time.
    world.want(OTHER, "execution-0", NOW + 60)
    left = state(failure=f"It failed. {BACK}", back=OTHER)
    assert world.begins(replace(ORDER, token=left.token())) == left


# What one run does


def test_an_image_that_is_live_is_recorded(world: World) -> None:
    world.want()
    kind, told = world.deploys(state(), LIVE)
    assert (kind, told["executionDetails"]["summary"]) == (
        "success",
        "dev: shop-dev:7 runs it in 2 tasks (commit c0ffee)",
    )
    assert world.tags == ["live-dev", "verified-dev", "verified-dev-0"]


def test_another_image_that_runs_is_not_recorded(world: World) -> None:
    world.want()
    kind, told = world.deploys(state(), replace(LIVE, image=OTHER, message="the other one runs"))
    assert (kind, told["executionDetails"]["summary"]) == ("success", "the other one runs")
    assert State(**json.loads(told["continuationToken"])) == state()
    assert world.tags == []


def test_an_image_that_is_live_is_not_recorded_by_a_run_that_says_that_its_release_failed(world: World) -> None:
    world.want()
    kind, told = world.deploys(state(failure=f"It failed. {BACK}", back=OTHER), LIVE, tests="shop-dev-tests")
    assert (kind, "continuationToken" in told) == ("success", True)
    assert (world.tags, world.registers["verified"]) == ([], "null")


def test_tests_are_started_when_the_image_is_live_and_followed_by_the_next_run(world: World) -> None:
    world.want()
    kind, told = world.deploys(state(), LIVE, tests="shop-dev-tests")
    assert (kind, told["executionDetails"]["summary"]) == ("success", f"the tests are running: {BUILD}")
    assert State(**json.loads(told["continuationToken"])) == state(build=BUILD)
    assert [asked["projectName"] for asked in world.started] == ["shop-dev-tests"]
    assert world.tags == []


def test_an_image_whose_tests_passed_is_recorded(world: World) -> None:
    world.want()
    world.function.tests.start(replace(ORDER, tests="shop-dev-tests"), IMAGE, "c0ffee")
    world.builds[0]["buildStatus"] = "SUCCEEDED"
    kind, told = world.deploys(state(build=BUILD), LIVE, tests="shop-dev-tests")
    assert (kind, told["executionDetails"]["summary"]) == (
        "success",
        "dev: shop-dev:7 runs it in 2 tasks, and the tests passed (commit c0ffee)",
    )
    assert len(world.started) == 1


def test_a_build_of_something_else_that_a_token_names_is_no_test_of_the_image(world: World) -> None:
    world.want()
    foreign = {"id": "shop-dev:1", "projectName": "shop-dev", "buildStatus": "SUCCEEDED"}
    world.builds.append(foreign)
    kind, told = world.deploys(state(build="shop-dev:1"), LIVE, tests="shop-dev-tests")
    assert State(**json.loads(told["continuationToken"])).build == BUILD
    assert (kind, len(world.started), world.tags) == ("success", 1, [])


def test_an_image_whose_tests_failed_is_taken_back_and_the_last_verified_one_wanted_again(world: World) -> None:
    world.want(OTHER, "execution-0")
    world.deploys(state(image=OTHER), replace(LIVE, image=OTHER), execution="execution-0")
    world.answers.clear()
    world.want()
    world.function.tests.start(replace(ORDER, tests="shop-dev-tests"), IMAGE, "c0ffee")
    world.builds[0]["buildStatus"] = "FAILED"
    back = Progress("done", "shop-dev:6 runs it in 2 tasks", image=OTHER)
    kind, told = world.deploys(state(build=BUILD), LIVE, back, tests="shop-dev-tests")
    assert (kind, told["failureDetails"]["message"]) == (
        "failure",
        f"The tests of dev ended FAILED. Their log: {BUILD}. The last verified image is put back: {OTHER} "
        "(commit c0ffee). That is done: Shop-dev:6 runs it in 2 tasks.",
    )
    assert world.function.registers.wanted() == Release(OTHER, "c0ffee", "execution-0", NOW)


def test_tests_that_cannot_be_stopped_do_not_keep_the_service_from_being_put_back(world: World) -> None:
    def refuse(id: str) -> None:
        world.stopped.append(id)
        raise ClientError({"Error": {"Code": "InvalidInputException"}}, "StopBuild")

    world.want()
    world.function.tests.start(replace(ORDER, tests="shop-dev-tests"), IMAGE, "c0ffee")
    world.function.tests.codebuild.stop_build = refuse
    rolled_back = Progress("failed", "the alarm went off", before=OTHER)
    back = Progress("done", "shop-dev:6 runs it in 2 tasks", image=OTHER)
    kind, told = world.deploys(state(build=BUILD), rolled_back, back, tests="shop-dev-tests")
    assert (kind, told["failureDetails"]["message"]) == (
        "failure",
        f"The alarm went off. No image was verified before; the one that ran is put back: {OTHER}. "
        "That is done: Shop-dev:6 runs it in 2 tasks.",
    )
    assert (world.stopped, world.function.registers.wanted()) == ([BUILD], Release(OTHER, "", "execution-1"))


def test_a_release_is_late_until_its_tests_have_begun(world: World) -> None:
    world.want(begun=NOW - 1801)
    running = Progress("running", "1 of 2 tasks run")
    assert world.function.registers.settings().deadline_minutes * handler.DEADLINES == 30
    kind, told = world.deploys(state(since=NOW - 1801, build=BUILD), running)
    assert (kind, "continuationToken" in told) == ("success", True)
    world.answers.clear()
    kind, told = world.deploys(state(since=NOW - 1801), running, Progress("done", "no tasks"))
    assert (kind, told["failureDetails"]["message"]) == (
        "failure",
        "The service was not settled after 30 minutes: 1 of 2 tasks run. No image was verified before, so the service "
        "goes back to no tasks. That is done: No tasks.",
    )
