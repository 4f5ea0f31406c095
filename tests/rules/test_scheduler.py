"""The rules of the stand-in for EventBridge Scheduler."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from standin.api import AwsError
from standin.iam import Iam
from standin.provider import Resource
from standin.scheduler import GROUP, Schedule, is_expression, wrong
from standin.states import StateMachine
from standin.world import World

PLACE = "eu-west-1:123456789012"
MACHINE = f"arn:aws:states:{PLACE}:stateMachine:nightly"
ROLE = "arn:aws:iam::123456789012:role/starter"
INPUTS: dict[str, Any] = {
    "name": "nightly",
    "scheduleExpression": "rate(1 hour)",
    "flexibleTimeWindow": {"mode": "OFF"},
    "target": {"arn": MACHINE, "roleArn": ROLE},
}


@pytest.fixture
def world() -> Iterator[World]:
    with World("registry.invalid", {}, Path("pulumi")) as made:
        definition = {"QueryLanguage": "JSONata", "StartAt": "A", "States": {"A": {"Type": "Succeed"}}}
        given = {"name": "nightly", "roleArn": "arn:aws:iam::1:role/any", "definition": json.dumps(definition)}
        StateMachine(made.states, Iam(made.aws)).create("nightly", given)
        role(made)
        yield made


def role(world: World, source: str = GROUP, target: str = MACHINE) -> None:
    trust = {"Effect": "Allow", "Principal": {"Service": "scheduler.amazonaws.com"}, "Action": "sts:AssumeRole"}
    trust |= {"Condition": {"ArnLike": {"aws:SourceArn": source}}}
    allowed = {"Effect": "Allow", "Action": "states:StartExecution", "Resource": target}
    inputs = {"name": "starter", "assumeRolePolicy": json.dumps({"Statement": [trust]})}
    policy = {"role": "starter", "policy": json.dumps({"Statement": [allowed]})}
    for name, type_, given in (("role", "role:Role", inputs), ("policy", "rolePolicy:RolePolicy", policy)):
        world.aws.resources[name] = Resource(f"urn::{name}", f"aws:iam/{type_}", name, given, {"arn": ROLE})


def create(world: World, **inputs: Any) -> Schedule:
    made = Schedule(world.scheduler, Iam(world.aws))
    made.create("nightly", INPUTS | inputs)
    return made


def test_a_schedule_that_is_due_starts_its_target_once(world: World) -> None:
    create(world)
    arn = world.scheduler.fire("nightly")
    assert [(each.arn, each.machine, each.status) for each in world.states.executions] == [(arn, MACHINE, "SUCCEEDED")]
    assert [(call.principal, call.operation) for call in world.api.calls] == [(ROLE, "StartExecution")]


def test_a_schedule_that_is_disabled_or_deleted_starts_nothing(world: World) -> None:
    made = create(world)
    made.update("default/nightly", INPUTS, INPUTS | {"state": "DISABLED"})
    assert world.scheduler.fire("nightly") == ""
    made.delete("default/nightly", INPUTS)
    with pytest.raises(KeyError):
        world.scheduler.fire("nightly")
    assert world.states.executions == []


def test_a_role_without_the_right_starts_nothing(world: World) -> None:
    create(world)
    role(world, target=MACHINE + "x")
    with pytest.raises(AwsError, match="not authorized to perform: states:StartExecution"):
        world.scheduler.fire("nightly")
    role(world, source=GROUP + "x")
    with pytest.raises(AwsError, match="not authorized to assume"):
        world.scheduler.fire("nightly")


def test_a_role_must_trust_scheduler_for_the_group_of_the_schedule(world: World) -> None:
    role(world, source=f"arn:aws:scheduler:{PLACE}:schedule/default/nightly")
    with pytest.raises(RuntimeError, match="must allow AWS EventBridge Scheduler to assume the role"):
        create(world)


def test_a_name_is_taken_once(world: World) -> None:
    create(world)
    with pytest.raises(RuntimeError, match="ConflictException"):
        create(world)


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        ("rate(1 hour)", True),
        ("rate(5 minutes)", True),
        ("rate(1 hours)", False),
        ("rate(5 minute)", False),
        ("rate(0 days)", False),
        ("rate(1 week)", False),
        ("at(2026-12-24T08:00:00)", True),
        ("at(2026-02-30T08:00:00)", False),
        ("cron(0 3 * * ? *)", True),
        ("cron(0 8 ? * MON-FRI *)", True),
        ("cron(0 3 * * * *)", False),
        ("cron(0 3 ? * ? *)", False),
        ("cron(0 3 * * ?)", False),
        ("0 3 * * ? *", False),
        ("cron(0 3 * * ? x)", False),
    ],
)
def test_an_expression_is_a_rate_a_time_or_cron_with_one_question_mark(text: str, accepted: bool) -> None:
    assert is_expression(text) is accepted


@pytest.mark.parametrize(
    ("inputs", "problem"),
    [
        ({}, ""),
        ({"name": "a" * 64}, ""),
        ({"name": "a" * 65}, "name"),
        ({"name": "a b"}, "name"),
        ({"groupName": "other"}, "group"),
        ({"scheduleExpression": "hourly"}, "Invalid Schedule Expression"),
        ({"scheduleExpressionTimezone": "Europe/Berlin"}, ""),
        ({"scheduleExpressionTimezone": "Berlin"}, "Invalid Schedule Expression Timezone"),
        ({"flexibleTimeWindow": {"mode": "OFF", "maximumWindowInMinutes": 5}}, "FlexibleTimeWindow"),
        ({"flexibleTimeWindow": {"mode": "FLEXIBLE"}}, "FlexibleTimeWindow"),
        ({"flexibleTimeWindow": {"mode": "FLEXIBLE", "maximumWindowInMinutes": 1}}, ""),
        ({"flexibleTimeWindow": {"mode": "FLEXIBLE", "maximumWindowInMinutes": 0}}, "FlexibleTimeWindow"),
        ({"flexibleTimeWindow": {"mode": "FLEXIBLE", "maximumWindowInMinutes": 1440}}, ""),
        ({"flexibleTimeWindow": {"mode": "FLEXIBLE", "maximumWindowInMinutes": 1441}}, "FlexibleTimeWindow"),
        ({"target": {"arn": "arn:aws:sqs:eu-west-1:123456789012:q", "roleArn": ROLE}}, "target"),
        ({"target": INPUTS["target"] | {"retryPolicy": {"maximumEventAgeInSeconds": 60}}}, ""),
        ({"target": INPUTS["target"] | {"retryPolicy": {"maximumEventAgeInSeconds": 59}}}, "RetryPolicy"),
        ({"target": INPUTS["target"] | {"retryPolicy": {"maximumRetryAttempts": 186}}}, "RetryPolicy"),
        ({"description": "a" * 513}, "description"),
    ],
)
def test_a_schedule_that_scheduler_would_reject_is_refused(inputs: dict[str, Any], problem: str) -> None:
    assert wrong(INPUTS | inputs) == problem
