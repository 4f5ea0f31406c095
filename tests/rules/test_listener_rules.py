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


STICKY = {"type": "lb_cookie", "cookieDuration": 60}


def forward(*groups: str, **more: Any) -> list[dict[str, Any]]:
    weighted = [{"arn": group, "weight": weight} for group, weight in zip(groups, (100, 0), strict=False)]
    return [{"type": "forward", "forward": {"targetGroups": weighted, **more}}]


@pytest.fixture
def ecs() -> Ecs:
    return Ecs(Clock(), lambda image, architecture: "")


def test_a_rule_with_two_groups_of_which_one_is_sticky_must_be_sticky_itself(ecs: Ecs) -> None:
    rules, groups = live.ListenerRule(ecs), live.TargetGroup(ecs.elb)
    a, _ = groups.create("a", {"name": "a", "stickiness": STICKY})
    b, _ = groups.create("b", {"name": "b"})
    with pytest.raises(RuntimeError, match="You must enable group stickiness on a rule if you enabled target"):
        rules.create("both", rule("/a", actions=forward(a, b)))
    rules.create("one", rule("/a", actions=forward(a)))
    both, _ = rules.create("both", rule("/b", actions=forward(a, b, stickiness={"enabled": True, "duration": 9})))
    ecs.elb.shift(both, {a: 0, b: 100}, "somebody")
    assert (ecs.elb.weights(both), ecs.elb.actions(both)) == (
        {a: 0, b: 100},
        [
            {
                "type": "forward",
                "forward": {
                    "targetGroups": [{"arn": a, "weight": 0}, {"arn": b, "weight": 100}],
                    "stickiness": {"enabled": True, "duration": 9},
                },
            }
        ],
    )


def test_a_group_behind_a_rule_that_is_not_sticky_cannot_become_sticky(ecs: Ecs) -> None:
    rules, groups = live.ListenerRule(ecs), live.TargetGroup(ecs.elb)
    (a, _), (b, _) = groups.create("a", {"name": "a"}), groups.create("b", {"namePrefix": "b-"})
    made, _ = rules.create("both", rule("/a", actions=forward(a, b)))
    with pytest.raises(RuntimeError, match="behind a rule with group stickiness disabled .* before enabling target"):
        groups.update(a, {}, {"stickiness": STICKY})
    groups.update(a, {}, {"stickiness": {**STICKY, "enabled": False}})
    ecs.elb.set(made, forward(a, b, stickiness={"enabled": True, "duration": 9}))
    groups.update(a, {}, {"stickiness": STICKY})
    groups.update(a, {"stickiness": STICKY}, {})
    ecs.elb.set(made, forward(a, b))
