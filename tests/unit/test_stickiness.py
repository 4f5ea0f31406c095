"""Sticky sessions, on the target groups and on the rules that forward to them."""

from __future__ import annotations

from typing import Any

import pytest
from slipway import BlueGreen, Canary, CodeDeployBlueGreen, Linear, Process, Rolling, Stickiness
from slipway.strategies import Strategy
from unit.examples import TEST_LISTENER, load_balancer, service
from unit.harness import Resource, deploy, named, of_type

GROUP = "aws:lb/targetGroup:TargetGroup"
RULE = "aws:lb/listenerRule:ListenerRule"
STRATEGIES = [Rolling(), BlueGreen(), Canary(), Linear(), CodeDeployBlueGreen()]


def made(**args: Any) -> list[Resource]:
    return deploy(lambda: service("api", load_balancer=load_balancer("given", test_listener=TEST_LISTENER), **args))


def forward(rule: Resource) -> Any:
    [action] = rule.inputs["actions"]
    return action["forward"]


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda each: type(each).__name__)
def test_with_every_strategy_both_groups_and_every_rule_are_sticky(strategy: Strategy) -> None:
    resources = made(strategy=strategy, stickiness=Stickiness(duration_seconds=600))
    groups, rules = of_type(resources, GROUP), of_type(resources, RULE)
    assert (len(groups), len(rules)) == (2, 2)
    assert [group.inputs["stickiness"] for group in groups] == 2 * [{"type": "lb_cookie", "cookieDuration": 600}]
    assert [forward(rule)["stickiness"] for rule in rules] == 2 * [{"enabled": True, "duration": 600}]


def test_a_session_can_follow_a_cookie_of_the_application() -> None:
    resources = made(stickiness=Stickiness(cookie_name="SESSION"))
    assert named(resources, "api-tg-a").inputs["stickiness"] == {
        "type": "app_cookie",
        "cookieName": "SESSION",
        "cookieDuration": 86_400,
    }
    assert forward(named(resources, "api-rule"))["stickiness"] == {"enabled": True, "duration": 86_400}


def test_without_it_neither_groups_nor_rules_mention_stickiness() -> None:
    resources = made()
    assert [group for group in of_type(resources, GROUP) if "stickiness" in group.inputs] == []
    assert [rule for rule in of_type(resources, RULE) if "stickiness" in forward(rule)] == []


def test_a_process_has_that_of_the_service_or_its_own() -> None:
    api = Process(port=81, paths=["/api/*"])
    admin = Process(port=82, paths=["/admin/*"], stickiness=Stickiness(duration_seconds=60))
    resources = made(stickiness=Stickiness(duration_seconds=600), processes={"api": api, "admin": admin})
    seconds = {
        name: named(resources, f"{name}-tg-a").inputs["stickiness"]["cookieDuration"]
        for name in ("api", "api-api", "api-admin")
    }
    assert seconds == {"api": 600, "api-api": 600, "api-admin": 60}


def test_a_worker_has_no_sessions() -> None:
    with pytest.raises(ValueError) as error:
        made(processes={"worker": Process(stickiness=Stickiness())})
    assert str(error.value) == "processes['worker'].port is required with stickiness"
