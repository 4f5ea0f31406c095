"""What the state machine of a job does, in the stand-in for Step Functions, ECS, DynamoDB and IAM."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from slipway.service.processes import Job
from standin.iam import Iam
from standin.provider import Resource
from standin.scheduler import Schedule
from standin.single_tasks import Outcome
from standin.states import Execution
from standin.states import StateMachine as Machines
from standin.world import World
from unit.harness import deploy
from unit.test_jobs import ROLES, here, job

CLUSTER, TABLE = "main", "shop-release"


class Shop:
    """A service with one job, `report`, of which nothing is verified yet."""

    def __init__(self, world: World, given: Job) -> None:
        self.world = world
        world.ecs.create_cluster({"clusterName": CLUSTER})
        keys = [("item", "HASH"), ("at", "RANGE")]
        schema = [{"AttributeName": name, "KeyType": kind} for name, kind in keys]
        types = [{"AttributeName": name, "AttributeType": "S"} for name, _ in keys]
        world.dynamodb.create_table({"TableName": TABLE, "KeySchema": schema, "AttributeDefinitions": types})
        resources = deploy(lambda: here({"report": given}))
        live = {
            "aws:sfn/stateMachine:StateMachine": Machines(world.states, Iam(world.aws)),
            "aws:scheduler/schedule:Schedule": Schedule(world.scheduler, Iam(world.aws)),
        }
        for made in [r for r in resources if r.type.startswith("aws:iam/")]:
            outputs = {"arn": f"arn:aws:iam::123456789012:role/{made.name}", "name": made.name}
            inputs = {"name": made.name, **made.inputs}
            world.aws.resources[made.name] = Resource(f"urn::{made.name}", made.type, made.name, inputs, outputs)
        for made in [r for r in resources if r.type in live]:
            live[made.type].create(made.name, made.inputs)

    def register(self, image: str) -> str:
        """Registers a revision with an image; returns its ARN."""
        container = {"name": "app", "image": f"elsewhere/{image}"}
        roles = {"executionRoleArn": ROLES[0], "taskRoleArn": ROLES[1]}
        given = {"family": "shop-report", "networkMode": "awsvpc", "containerDefinitions": [container], **roles}
        return str(self.world.ecs.register_task_definition(given)["taskDefinition"]["taskDefinitionArn"])

    def verify(self, image: str = "v1") -> None:
        """What the release function does when an image is verified."""
        item = {"item": {"S": "job"}, "at": {"S": "report"}, "taskDefinition": {"S": self.register(image)}}
        self.world.dynamodb.put_item({"TableName": TABLE, "Item": item})

    def run(self) -> Execution:
        execution = self.start()
        self.world.states.settle()
        return execution

    def start(self) -> Execution:
        arn = self.world.scheduler.fire("shop-report")
        [found] = [each for each in self.world.states.executions if each.arn == arn]
        return found


@pytest.fixture
def world() -> Iterator[World]:
    with World("registry.invalid", {}, Path("pulumi")) as made:
        yield made


def images(shop: Shop) -> list[str]:
    """The images of the tasks that were started."""
    return [task.shown["containers"][0]["image"] for task in shop.world.ecs._single.values()]


def exits(*codes: int) -> Callable[[Any], Outcome]:
    """One task after the other exits with these codes."""
    left = list(codes)
    return lambda task: Outcome(exit=left.pop(0))


def test_before_an_image_is_verified_a_run_succeeds_without_a_task(world: World) -> None:
    shop = Shop(world, job())
    execution = shop.run()
    assert (execution.status, execution.path[-1], images(shop)) == ("SUCCEEDED", "NothingReleased", [])


def test_a_run_has_the_revision_that_is_verified_at_its_start(world: World) -> None:
    shop = Shop(world, job())
    shop.verify("v1")
    assert shop.run().status == "SUCCEEDED"
    shop.verify("v2")
    running = shop.start()
    shop.verify("v3")
    world.states.settle()
    assert (running.status, images(shop)) == ("SUCCEEDED", ["elsewhere/v1", "elsewhere/v2"])


def test_a_newer_revision_that_is_not_verified_is_not_run(world: World) -> None:
    shop = Shop(world, job())
    shop.verify("v1")
    shop.register("v2")
    shop.run()
    assert images(shop) == ["elsewhere/v1"]


def test_a_failed_exit_code_fails_the_run(world: World) -> None:
    shop = Shop(world, job())
    shop.verify()
    world.ecs.outcome = exits(3)
    execution = shop.run()
    assert (execution.status, execution.error, len(images(shop))) == ("FAILED", "States.TaskFailed", 1)


def test_a_failed_task_is_repeated_as_often_as_the_job_says(world: World) -> None:
    shop = Shop(world, job(retries=2))
    shop.verify()
    world.ecs.outcome = exits(1, 1, 0, 1, 1, 1)
    assert (shop.run().status, len(images(shop))) == ("SUCCEEDED", 3)
    assert (shop.run().status, len(images(shop))) == ("FAILED", 6)


@pytest.mark.parametrize("error", ["AmazonECS.Unknown", "ECS.AmazonECSException", "ECS.ServerException"])
def test_a_start_that_ecs_is_too_busy_for_is_repeated_and_takes_no_retry_of_the_job(world: World, error: str) -> None:
    shop = Shop(world, job(retries=1))
    shop.verify()
    left = [error] * 8
    world.states.fails = lambda action, _: left.pop() if action == "ecs:RunTask" and left else None
    world.ecs.outcome = exits(1, 0)
    assert (shop.run().status, len(images(shop))) == ("SUCCEEDED", 2)


def test_an_error_of_permissions_is_not_taken_for_a_busy_ecs(world: World) -> None:
    shop = Shop(world, job())
    shop.verify()
    world.states.fails = lambda action, _: "ECS.AccessDeniedException" if action == "ecs:RunTask" else None
    execution = shop.run()
    assert (execution.error, execution.stopped) == ("ECS.AccessDeniedException", execution.started)


def test_a_run_that_takes_too_long_is_stopped_and_not_repeated(world: World) -> None:
    shop = Shop(world, job(timeout_minutes=30, retries=3))
    shop.verify()
    world.ecs.outcome = lambda task: Outcome(seconds=10_000)
    other = shop.start()
    world.clock.sleep(300)
    execution = shop.start()
    world.states.settle()
    assert (execution.status, execution.error) == ("FAILED", "JobTimedOut")
    assert execution.cause == "The job did not end within 30 minutes. Its task was stopped."
    assert execution.stopped == execution.started + 1800
    ends = [task.at(world.clock.now()) for task in world.ecs._single.values()]
    # Each execution stops its own task.
    assert [(end["stoppedReason"], end["stoppedAt"]) for end in ends] == [
        ("The job did not end within 30 minutes", each.started + 1800) for each in (other, execution)
    ]


def test_a_run_whose_task_is_gone_after_the_timeout_stops_no_other(world: World) -> None:
    shop = Shop(world, job(timeout_minutes=1))
    shop.verify()
    world.ecs.outcome = lambda task: Outcome(seconds=10_000)
    execution, other = shop.start(), shop.start()
    own = next(arn for arn, task in world.ecs._single.items() if task.shown["group"] == execution.name)
    world.clock.sleep(59)

    # As if Step Functions itself had stopped it at that moment.
    def fails(action: str, _: Any) -> None:
        world.ecs.stop_task({"cluster": CLUSTER, "task": own})

    world.states.fails = fails
    world.clock.sleep(1)
    world.states.live()
    assert execution.path[-2:] == ["TaskRuns", "TimedOut"]
    assert other.cause == "The job did not end within 1 minute. Its task was stopped."


def test_a_run_without_any_task_after_the_timeout_has_timed_out(world: World) -> None:
    shop = Shop(world, job(timeout_minutes=1))
    shop.verify()
    world.ecs.outcome = lambda task: Outcome(seconds=10_000)
    execution = shop.start()
    world.clock.sleep(59)

    def fails(action: str, _: Any) -> None:
        for task in world.ecs._single:
            world.ecs.stop_task({"cluster": CLUSTER, "task": task})

    world.states.fails = fails
    world.clock.sleep(1)
    world.states.live()
    assert (execution.path[-2:], execution.error) == (["TasksRun", "TimedOut"], "JobTimedOut")


def test_runs_overlap_unless_the_job_says_otherwise(world: World) -> None:
    shop = Shop(world, job())
    shop.verify()
    first, second = shop.start(), shop.start()
    world.states.settle()
    assert (first.status, second.status, len(images(shop))) == ("SUCCEEDED", "SUCCEEDED", 2)


def test_without_overlap_a_run_is_left_out_while_an_earlier_one_runs(world: World) -> None:
    shop = Shop(world, job(overlap=False))
    shop.verify()
    first = shop.start()
    world.clock.sleep(5)
    second = shop.start()
    world.states.settle()
    third = shop.run()
    assert [each.path[-1] for each in (first, second, third)] == ["Run", "Skipped", "Run"]
    assert ({each.status for each in (first, second, third)}, len(images(shop))) == ({"SUCCEEDED"}, 2)


def test_of_two_runs_at_the_same_time_one_is_left_out(world: World) -> None:
    shop = Shop(world, job(overlap=False))
    shop.verify()
    # Both are there before either lists them.
    world.states.fails = lambda action, _: "DynamoDB.Busy" if world.clock.now() == began else None
    began = world.clock.now()
    runs = sorted([shop.start(), shop.start()], key=lambda each: each.arn)
    world.states.settle()
    assert [each.path[-1] for each in runs] == ["Run", "Skipped"]


def test_each_call_that_is_throttled_is_repeated(world: World) -> None:
    shop = Shop(world, job(overlap=False))
    shop.verify()
    seen: list[str] = []

    def fails(action: str, _: Any) -> str | None:
        seen.append(action)
        return "ECS.ThrottlingException" if seen.count(action) == 1 else None

    world.states.fails = fails
    world.ecs.outcome = lambda task: Outcome(seconds=10_000)
    assert shop.run().error == "JobTimedOut"
    calls = ["dynamodb:GetItem", "states:ListExecutions", "ecs:RunTask", "ecs:ListTasks", "ecs:DescribeTasks"]
    calls += ["ecs:StopTask"]
    assert seen == [call for call in calls for _ in range(2)]
