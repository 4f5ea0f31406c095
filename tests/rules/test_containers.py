"""The rules of the stand-in for several containers in a task."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from standin.tools import registry

from .test_ecs import StandIn

ENDS = {"essential": False}
CHECKED = {"healthCheck": {"command": ["CMD", "check"]}}


@pytest.fixture
def aws() -> Iterator[StandIn]:
    with registry() as address:
        made = StandIn(address)
        with made.api:
            made.open()
            yield made


def define(aws: StandIn, containers: dict[str, dict[str, Any]], **task: Any) -> str:
    """https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html"""
    given = [{"name": name, "image": "x", **each} for name, each in containers.items()]
    answer = aws.ecs.register_task_definition(family="web", networkMode="awsvpc", containerDefinitions=given, **task)
    return str(answer["taskDefinition"]["taskDefinitionArn"])


def on(name: str, condition: str) -> dict[str, Any]:
    return {"dependsOn": [{"containerName": name, "condition": condition}]}


def log(driver: str, options: dict[str, str] | None = None) -> dict[str, Any]:
    return {"logConfiguration": {"logDriver": driver, "options": options or {}}}


def port(number: int) -> dict[str, Any]:
    return {"portMappings": [{"containerPort": number}]}


@pytest.mark.parametrize(
    ("containers", "message"),
    [
        ({"a": ENDS, "b": ENDS}, "at least one essential"),
        ({f"c{number}": {} for number in range(11)}, "Too many"),
        ({"a": on("b", "START")}, "cannot depend on b"),
        ({"a": on("a", "START")}, "cannot depend on a"),
        ({"a": on("b", "HEALTHY"), "b": {}}, "no health check"),
        ({"a": on("b", "SUCCESS"), "b": {}}, "is essential"),
        ({"a": on("b", "COMPLETE"), "b": {}}, "is essential"),
        ({"a": on("b", "START"), "b": on("a", "START")}, r"Circular dependency of \['a', 'b'\]"),
        ({"a": port(80), "b": port(80)}, "must be different"),
        ({"a": {"memory": 64, "memoryReservation": 64}}, "greater than memoryReservation"),
        ({"a": log("fluentd")}, "not supported"),
        ({"a": log("awsfirelens")}, "needs one container"),
        ({"a": log("splunk", {"splunk-url": "https://x"})}, "splunk-token"),
        ({"a": {"cpu": 200}, "b": {"cpu": 57}}, "cpu of the containers"),
        ({"a": {"memory": 300}, "b": {"memoryReservation": 213}}, "memory of the containers"),
    ],
)
def test_containers_that_cannot_run_together_are_refused(
    aws: StandIn, containers: dict[str, dict[str, Any]], message: str
) -> None:
    with pytest.raises(ClientError, match=message):
        define(aws, containers, cpu="256", memory="512")


def test_containers_that_can_run_together_are_accepted(aws: StandIn) -> None:
    containers = {
        "a": {**on("b", "HEALTHY"), **port(80), "cpu": 200, "memory": 300},
        "b": {**CHECKED, **on("c", "SUCCESS"), **port(81), "cpu": 56, "memoryReservation": 212},
        "c": {**ENDS, **log("awsfirelens")},
        "d": {"firelensConfiguration": {"type": "fluentbit"}},
    }
    assert define(aws, containers, cpu="256", memory="512")


def test_an_essential_container_that_exits_ends_the_others(aws: StandIn) -> None:
    definition = define(aws, {"app": port(8080), "proxy": {}})
    aws.engine.fault = lambda definition: "proxy exit 3"
    aws.ecs.create_service(cluster="main", serviceName="web", taskDefinition=definition, desiredCount=1)
    aws.clock.sleep(30)
    task = aws.tasks("STOPPED")[0]
    assert task["stopCode"] == "EssentialContainerExited"
    assert {each["name"]: each["exitCode"] for each in task["containers"]} == {"app": 143, "proxy": 3}


def test_a_container_that_is_not_essential_may_exit_and_the_others_run_on(aws: StandIn) -> None:
    definition = define(aws, {"app": port(8080), "proxy": ENDS})
    aws.engine.fault = lambda definition: "proxy exit 3"
    aws.ecs.create_service(cluster="main", serviceName="web", taskDefinition=definition, desiredCount=1)
    aws.clock.sleep(30)
    assert (aws.tasks("RUNNING")[0]["lastStatus"], aws.tasks("STOPPED")) == ("RUNNING", [])
