"""The rules that the stand-in claims CloudWatch follows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from standin.cloudwatch import ALARM
from standin.world import World

from .accounts import Account


@pytest.fixture
def account() -> Iterator[Account]:
    with World("registry.invalid", {}, Path("pulumi")) as world:
        yield Account(world)


def alarms(account: Account, **filters: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = account.world.client("cloudwatch").describe_alarms(**filters)["MetricAlarms"]
    return [{key: value for key, value in alarm.items() if key != "AlarmArn"} for alarm in found]


def test_alarms_are_those_that_are_deployed_and_others_that_are_named(account: Account) -> None:
    account.put(ALARM, "errors", evaluationPeriods=3.0, period=300.0)
    account.world.ecs.alarm_minutes["theirs"] = 0.5
    account.world.ecs.alarms.add("theirs")
    errors = {"AlarmName": "errors", "StateValue": "OK", "EvaluationPeriods": 3, "Period": 300}
    theirs = {"AlarmName": "theirs", "StateValue": "ALARM", "EvaluationPeriods": 1, "Period": 30}
    assert alarms(account) == [errors, theirs]
    assert alarms(account, AlarmNames=["errors"]) == [errors]
    assert alarms(account, StateValue="ALARM") == [theirs]
    assert alarms(account, AlarmNamePrefix="err") == [errors]
    other = {"AlarmName": "other", "StateValue": "OK", "EvaluationPeriods": 5, "Period": 60}
    assert alarms(account, AlarmNames=["other"]) == [other]


def test_an_alarm_with_metric_math_shows_the_periods_of_its_queries(account: Account) -> None:
    metric = {"metricName": "5XX", "namespace": "AWS/ApplicationELB", "stat": "Sum", "period": 120.0}
    queries = [{"id": "rate", "expression": "e1", "returnData": True}, {"id": "e1", "metric": metric}]
    account.put(ALARM, "rate", evaluationPeriods=2.0, metricQueries=queries)
    [shown] = alarms(account)
    of = {"Namespace": "AWS/ApplicationELB", "MetricName": "5XX"}
    assert shown["Metrics"] == [
        {"Id": "rate", "Expression": "e1", "ReturnData": True},
        {"Id": "e1", "MetricStat": {"Metric": of, "Period": 120, "Stat": "Sum"}, "ReturnData": False},
    ]
    assert account.world.cloudwatch.minutes("rate") == 4


@pytest.mark.parametrize(
    ("deployed", "minutes"),
    [
        ({"evaluationPeriods": 30.0, "period": 60.0}, 30),
        ({"evaluationPeriods": 2.0, "metricQueries": [{"id": "x", "expression": "1"}]}, 2),
    ],
)
def test_ecs_monitors_for_the_evaluation_period_of_the_deployed_alarm(
    account: Account, deployed: dict[str, Any], minutes: float
) -> None:
    account.put(ALARM, "errors", **deployed)
    assert account.world.cloudwatch.minutes("errors") == minutes
    assert account.world.ecs._minutes("errors") == minutes
    assert account.world.ecs._minutes("other") == 5
