"""The quotas and limits of the stand-in for listener rules of Elastic Load Balancing."""

from __future__ import annotations

from typing import Any

import pytest
from standin import live
from standin.clock import Clock
from standin.ecs import Ecs

LISTENER = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener/app/shop/1/"


@pytest.fixture
def rules() -> live.ListenerRule:
    return live.ListenerRule(Ecs(Clock(), lambda image, architecture: ""))


def rule(*patterns: str, listener: str = "a", **more: Any) -> dict[str, Any]:
    conditions = [{"pathPattern": {"values": [pattern]}} for pattern in patterns]
    return {"listenerArn": LISTENER + listener, "actions": [], "conditions": conditions, **more}


def test_a_priority_is_unique_within_a_listener(rules: live.ListenerRule) -> None:
    first, _ = rules.create("first", rule("/a", priority=10.0))
    with pytest.raises(RuntimeError, match="PriorityInUse: Priority '10' is currently in use"):
        rules.create("second", rule("/b", priority=10.0))
    rules.create("elsewhere", rule("/b", listener="b", priority=10.0))
    second, _ = rules.create("second", rule("/b", priority=11.0))
    with pytest.raises(RuntimeError, match="PriorityInUse"):
        rules.update(second, rule("/b", priority=11.0), rule("/b", priority=10.0))
    rules.update(first, rule("/a", priority=10.0), rule("/c", priority=10.0))
    rules.delete(first, {})
    rules.update(second, rule("/b", priority=11.0), rule("/b", priority=10.0))


def test_a_load_balancer_has_at_most_100_rules_whatever_their_listener(rules: live.ListenerRule) -> None:
    for number in range(100):
        last, _ = rules.create(f"r{number}", rule("/a", listener="ab"[number % 2]))
    with pytest.raises(RuntimeError, match="TooManyRules"):
        rules.create("more", rule("/a"))
    rules.delete(last, {})
    rules.create("more", rule("/a"))


def test_a_rule_has_at_most_5_values_of_at_most_128_characters(rules: live.ListenerRule) -> None:
    longest = "/" + 127 * "x"
    rules.create("most", rule("/1", "/2", "/3", "/4", longest))
    with pytest.raises(RuntimeError, match="The rule has 6 condition values: the maximum is 5"):
        rules.create("values", rule("/1", "/2", "/3", "/4", "/5", "/6"))
    with pytest.raises(RuntimeError, match="is too long: the maximum is 128 characters"):
        rules.create("long", rule(longest + "x"))
    header = {"httpHeader": {"httpHeaderName": "X", "values": ["4", "5", "6"]}}
    mixed = rule("/1", "/2", "/3")
    with pytest.raises(RuntimeError, match="The rule has 6 condition values"):
        rules.create("mixed", {**mixed, "conditions": [*mixed["conditions"], header]})
