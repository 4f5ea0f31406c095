"""The rules of the stand-in for the conditions of policies."""

from __future__ import annotations

from typing import Any

import pytest
from standin.iam import allows, met

CLUSTER = "arn:aws:ecs:eu-west-1:123456789012:cluster/main"
OF_JOBS = {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["job", "history"]}}
NOT_NULL = {"Null": {"dynamodb:LeadingKeys": "false"}}


@pytest.mark.parametrize(
    ("condition", "context", "expected"),
    [
        ({}, {}, True),
        ({"StringEquals": {"a": "x"}}, {"a": "x"}, True),
        ({"StringEquals": {"a": ["x", "y"]}}, {"a": "y"}, True),
        ({"StringEquals": {"a": "x*"}}, {"a": "xy"}, False),
        ({"StringEquals": {"a": "x"}}, {}, False),
        ({"StringEquals": {"a": "x", "b": "y"}}, {"a": "x", "b": "z"}, False),
        ({"StringLike": {"a": "x*"}}, {"a": "xy"}, True),
        ({"StringLike": {"a": "*"}}, {}, False),
        ({"ArnEquals": {"a": CLUSTER}}, {"a": CLUSTER}, True),
        ({"ArnLike": {"a": f"{CLUSTER}*"}}, {"a": f"{CLUSTER}-2"}, True),
        ({"ArnLike": {"a": CLUSTER}}, {"a": f"{CLUSTER}-2"}, False),
        (OF_JOBS, {"dynamodb:LeadingKeys": ["job"]}, True),
        (OF_JOBS, {"dynamodb:LeadingKeys": ["job", "release"]}, False),
        (OF_JOBS, {}, True),
        (OF_JOBS | NOT_NULL, {}, False),
        (OF_JOBS | NOT_NULL, {"dynamodb:LeadingKeys": ["job"]}, True),
        ({"Null": {"a": "true"}}, {}, True),
    ],
)
def test_a_condition_is_met_if_all_its_keys_are(condition: Any, context: Any, expected: bool) -> None:
    assert met(condition, context) is expected


def test_a_statement_whose_condition_is_not_met_allows_nothing() -> None:
    when = {"ArnEquals": {"ecs:cluster": CLUSTER}}
    statement = {"Effect": "Allow", "Action": "ecs:RunTask", "Resource": "*", "Condition": when}
    assert allows([statement], "ecs:RunTask", "arn:x", {"ecs:cluster": CLUSTER}) is True
    assert allows([statement], "ecs:RunTask", "arn:x", {"ecs:cluster": f"{CLUSTER}-2"}) is False


def test_an_operator_that_is_not_in_the_stand_in_is_an_error() -> None:
    with pytest.raises(NotImplementedError, match="NumericLessThan"):
        met({"NumericLessThan": {"a": "1"}}, {"a": "0"})
