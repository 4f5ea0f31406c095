"""What the release function does about a service, beyond what the journeys show of the stand-in."""

import json
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from slipway.release.function.codedeploy import CodeDeployDeployments
from slipway.release.function.ecs import EcsDeployments
from slipway.release.function.reconcile import Names, Progress
from slipway.release.function.state import Registers, Release, Settings

URL = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/shop"
NEW, OLD = f"{URL}@sha256:{'a' * 64}", f"{URL}@sha256:{'b' * 64}"
DIGEST = NEW.partition("@")[2]
NAMES = Names(cluster="shop", service="shop-dev", family="shop-dev", container="app")
NETWORK = {"subnets": ["subnet-3"], "securityGroups": ["sg-1"], "assignPublicIp": "DISABLED"}
DEPLOYMENT = {
    "strategy": "CANARY",
    "bakeTimeInMinutes": 10,
    "deploymentCircuitBreaker": {"enable": False, "rollback": False},
}
SETTINGS = Settings(
    template="shop-dev-template:1",
    minimum=4,
    maximum=4,
    deadline_minutes=10,
    subnets=["subnet-3"],
    security_groups=["sg-1"],
    load_balancers=[],
    target_groups=[],
    deployment=DEPLOYMENT,
    availability_zone_rebalancing="ENABLED",
)
RELEASE = Release(NEW, "c0ffee", "execution-1", 1_000.0)
MINUTE = 60


class Aws:
    """ECS and scaling with one service, whose revisions r1 and r2 run the old image and the new one."""

    def __init__(self) -> None:
        self.definitions = {
            "shop-dev-template:1": ("shop-dev-template", "none"),
            "shop-dev:1": ("shop-dev", OLD),
            "shop-dev:2": ("shop-dev", NEW),
        }
        self.revisions = {"r1": "shop-dev:1", "r2": "shop-dev:2"}
        self.service: dict[str, Any] = {
            "status": "ACTIVE",
            "taskDefinition": "shop-dev:2",
            "desiredCount": 4,
            "runningCount": 4,
            "networkConfiguration": {"awsvpcConfiguration": NETWORK},
            "deploymentConfiguration": DEPLOYMENT,
            "currentServiceRevisions": [{"arn": "r2"}],
            "events": [],
        }
        self.deployments: list[dict[str, Any]] = []
        self.tasks: list[dict[str, Any]] = []
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.exceptions = SimpleNamespace(ConflictException=KeyError, ClientException=KeyError)

    def describe_services(self, **_: Any) -> dict[str, Any]:
        return {"services": [self.service]}

    def list_service_deployments(self, **_: Any) -> dict[str, Any]:
        return {"serviceDeployments": self.deployments}

    def describe_service_deployments(self, *, serviceDeploymentArns: list[str]) -> dict[str, Any]:
        return {
            "serviceDeployments": [d for d in self.deployments if d["serviceDeploymentArn"] in serviceDeploymentArns]
        }

    def describe_service_revisions(self, *, serviceRevisionArns: list[str]) -> dict[str, Any]:
        [arn] = serviceRevisionArns
        revision = {"taskDefinition": self.revisions[arn], "networkConfiguration": {"awsvpcConfiguration": NETWORK}}
        return {"serviceRevisions": [revision]}

    def describe_task_definition(self, *, taskDefinition: str, **_: Any) -> dict[str, Any]:
        arn = "shop-dev:2" if taskDefinition == "shop-dev" else taskDefinition
        family, image = self.definitions[arn]
        told = {"family": family, "taskDefinitionArn": arn, "containerDefinitions": [{"name": "app", "image": image}]}
        return {"taskDefinition": told}

    def list_tasks(self, **_: Any) -> dict[str, Any]:
        return {"taskArns": [str(number) for number, _ in enumerate(self.tasks)]}

    def describe_tasks(self, **_: Any) -> dict[str, Any]:
        return {"tasks": self.tasks}

    def update_service(self, **told: Any) -> None:
        self.asked.append(("update", {k: v for k, v in told.items() if k not in ("cluster", "service")}))

    def stop_service_deployment(self, **told: Any) -> None:
        self.asked.append(("stop", told))

    def register_scalable_target(self, **told: Any) -> None:
        self.asked.append(("scale", {key: told[key] for key in ("MinCapacity", "MaxCapacity")}))


@pytest.fixture
def aws() -> Aws:
    return Aws()


def registers(wanted: Release | None = RELEASE, **told: Any) -> Registers:
    values = {
        "/settings": json.dumps(asdict(replace(SETTINGS, **told))),
        "/wanted": json.dumps(asdict(wanted) if wanted else None),
        "/verified": "null",
    }
    return Registers(SimpleNamespace(get_parameter=lambda Name: {"Parameter": {"Value": values[Name]}}), "/")


def by_ecs(aws: Aws, *of: Any, **told: Any) -> EcsDeployments:
    return EcsDeployments(aws, aws, registers(*of, **told), NAMES)


def failed_task(definition: str = "shop-dev:2", created: float = 2_000.0, reason: str = "Essential container") -> Any:
    return {"taskDefinitionArn": definition, "createdAt": created, "stoppedReason": reason, "containers": []}


def deployment(status: str = "IN_PROGRESS", age_minutes: float = 1, **told: Any) -> dict[str, Any]:
    """A deployment of the new image, as ECS describes it."""
    return {
        "serviceDeploymentArn": "d2",
        "status": status,
        "createdAt": time.time() - age_minutes * MINUTE,
        "targetServiceRevision": {"arn": "r2", "runningTaskCount": 1, "requestedTaskCount": 4},
        "sourceServiceRevisions": [{"arn": "r1"}],
        "deploymentConfiguration": DEPLOYMENT,
        **told,
    }


# How many failures are enough


@pytest.mark.parametrize(
    ("count", "enough"), [(0, 3), (1, 3), (6, 3), (7, 4), (8, 4), (100, 50), (400, 200), (5000, 200)]
)
def test_tasks_are_hopeless_when_as_many_failed_as_trip_the_circuit_breaker(aws: Aws, count: int, enough: int) -> None:
    aws.tasks = [failed_task()] * (enough - 1)
    assert by_ecs(aws)._are_hopeless("shop-dev:2", count, 1_000.0) is False
    aws.tasks.append(failed_task())
    assert by_ecs(aws)._are_hopeless("shop-dev:2", count, 1_000.0) is True


@pytest.mark.parametrize(
    "other",
    [
        failed_task("shop-dev:1"),
        failed_task(created=999.0),
        failed_task(reason="Scaling activity initiated by (deployment ecs-svc/1)"),
    ],
    ids=["of another revision", "of an earlier deployment", "scaled in"],
)
def test_tasks_that_stopped_for_another_reason_do_not_count(aws: Aws, other: dict[str, Any]) -> None:
    aws.tasks = [failed_task(), failed_task(), other, other]
    assert by_ecs(aws)._are_hopeless("shop-dev:2", 2, 1_000.0) is False


# Nothing is wanted


def test_a_service_that_scales_may_go_to_no_tasks_before_it_stands_down(aws: Aws) -> None:
    done = Progress("done", "nothing is released, and the service has no tasks")
    assert by_ecs(aws, None, maximum=8).advance(None, give_up=True) == done
    assert aws.asked == [("scale", {"MinCapacity": 0, "MaxCapacity": 8}), ("update", {"desiredCount": 0})]


def test_a_service_that_does_not_scale_has_no_bounds_to_change(aws: Aws) -> None:
    by_ecs(aws, None).advance(None, give_up=True)
    assert aws.asked == [("update", {"desiredCount": 0})]


def test_the_bounds_are_those_of_the_settings_again_when_an_image_runs(aws: Aws) -> None:
    progress = by_ecs(aws, RELEASE, maximum=8).advance(None, give_up=False)
    assert (progress.state, progress.image) == ("done", NEW)
    assert aws.asked == [("scale", {"MinCapacity": 4, "MaxCapacity": 8})]


# Deployments of ECS


def test_a_service_without_deployments_is_judged_by_what_it_runs(aws: Aws) -> None:
    done = Progress("done", f"shop-dev:2 runs {DIGEST} in 4 tasks", image=NEW)
    assert by_ecs(aws).advance(None, give_up=False) == done
    assert aws.asked == []


@pytest.mark.parametrize("running", [[{"arn": "r1"}], []], ids=["another image", "nothing"])
def test_a_service_without_deployments_that_runs_something_else_is_deployed(aws: Aws, running: list[Any]) -> None:
    aws.service["currentServiceRevisions"] = running
    assert by_ecs(aws).advance(None, give_up=False) == Progress("running", "asked ECS to deploy shop-dev:2", after="")
    [(kind, asked)] = aws.asked
    assert (kind, asked["taskDefinition"]) == ("update", "shop-dev:2")


@pytest.mark.parametrize(
    ("began_with", "age", "stopped"),
    [
        (DEPLOYMENT, 9, False),
        (DEPLOYMENT, 11, True),
        # It goes by timers that may take longer than those of the settings, which came meanwhile.
        ({**DEPLOYMENT, "bakeTimeInMinutes": 60}, 11, False),
        ({**DEPLOYMENT, "bakeTimeInMinutes": 60}, 600, False),
    ],
)
def test_a_deployment_is_late_only_by_the_timers_that_it_began_with(
    aws: Aws, began_with: dict[str, Any], age: int, stopped: bool
) -> None:
    aws.deployments = [deployment(age_minutes=age, deploymentConfiguration=began_with)]
    progress = by_ecs(aws).advance("d1", give_up=False)
    assert progress == Progress("running", "1 of 4 tasks of shop-dev:2 run", after="")
    stop = ("stop", {"serviceDeploymentArn": "d2", "stopType": "ROLLBACK"})
    assert aws.asked == ([stop] if stopped else [])


@pytest.mark.parametrize(("failures", "stopped"), [(2, False), (3, True)])
def test_a_deployment_whose_tasks_fail_is_stopped_where_ecs_does_not_watch(
    aws: Aws, failures: int, stopped: bool
) -> None:
    aws.deployments = [deployment()]
    aws.tasks = [failed_task(created=time.time())] * failures
    by_ecs(aws).advance("d1", give_up=False)
    assert [kind for kind, _ in aws.asked] == (["stop"] if stopped else [])


@pytest.mark.parametrize(
    ("status", "back"),
    [("ROLLBACK_IN_PROGRESS", OLD), ("ROLLBACK_SUCCESSFUL", OLD), ("ROLLBACK_FAILED", None), ("STOPPED", None)],
)
def test_an_image_is_put_back_by_ecs_itself_only_where_its_rollback_did_not_fail(
    aws: Aws, status: str, back: str | None
) -> None:
    rollback = {"serviceRevisionArn": "r1", "startedAt": time.time()} if "ROLL" in status else {}
    progress = by_ecs(aws)._failure(deployment(status, rollback=rollback), SETTINGS)
    assert (progress.state, progress.before, progress.rolled_back_to) == ("failed", OLD, back)


# Deployments of CodeDeploy


def by_codedeploy(aws: Aws) -> CodeDeployDeployments:
    pages = SimpleNamespace(paginate=lambda **_: [{"deployments": []}])
    codedeploy = SimpleNamespace(get_paginator=lambda _: pages)
    aws.service["taskSets"] = [
        {
            "status": "PRIMARY",
            "taskDefinition": "shop-dev:2",
            "networkConfiguration": {"awsvpcConfiguration": NETWORK},
        }
    ]
    return CodeDeployDeployments(aws, aws, registers(), NAMES, codedeploy, {})


def test_a_first_release_whose_tasks_fail_ends_where_nothing_rolls_them_back(aws: Aws) -> None:
    aws.service["runningCount"] = 1
    aws.tasks = [failed_task(), failed_task()]
    assert by_codedeploy(aws).advance(None, give_up=False) == Progress("running", "1 of 4 tasks run", after="")
    aws.tasks.append(failed_task(reason="Task failed container health checks."))
    assert by_codedeploy(aws).advance(None, give_up=False) == Progress(
        "failed", "1 of 4 tasks run: Essential container; Task failed container health checks."
    )


def test_tasks_that_failed_before_all_ran_are_forgiven(aws: Aws) -> None:
    aws.tasks = [failed_task()] * 9
    assert by_codedeploy(aws).advance(None, give_up=False).state == "done"


def test_tasks_that_failed_before_the_release_began_do_not_end_it(aws: Aws) -> None:
    aws.service["runningCount"] = 1
    aws.tasks = [failed_task(created=999.0)] * 9
    assert by_codedeploy(aws).advance(None, give_up=False).state == "running"


def test_failed_deployments_count_from_the_whole_second_in_which_the_release_began(aws: Aws) -> None:
    asked: list[dict[str, Any]] = []

    def paginate(**told: Any) -> list[dict[str, Any]]:
        asked.append(told)
        return [{"deployments": ["d-1"]}]

    service = by_codedeploy(aws)
    service.codedeploy = SimpleNamespace(get_paginator=lambda _: SimpleNamespace(paginate=paginate))
    assert service._deployments(["Failed"], since=1767226271.8618157) == ["d-1"]
    start = datetime.fromtimestamp(1767226271, UTC)
    assert asked == [{"includeOnlyStatuses": ["Failed"], "createTimeRange": {"start": start}}]
