"""Releases of a service whose tasks get requests on several ports, and ports that come and go."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from .conftest import Stack, ended, failures, watching

Make = Callable[..., Stack]
ADMIN = {"port": 9090, "paths": ["/admin/*"], "healthPath": "/ready"}
OWN, ROUTE = "storefront-dev-rule", "storefront-dev-route-admin-rule"
STRATEGIES: list[dict[str, Any]] = [
    {"rolling": {}},
    {"canary": {"percent": 20, "canaryBakeMinutes": 1, "bakeMinutes": 5}},
]
every_strategy = pytest.mark.parametrize(
    "strategy",
    [pytest.param(STRATEGIES[0], marks=pytest.mark.occasional), *STRATEGIES[1:]],
    ids=lambda each: next(iter(each)),
)


def breaks(fault: str, good: str, definition: dict[str, Any]) -> str | None:
    """Breaks the tasks of all images but one."""
    return None if good in str(definition) else fault


def both(dev: Stack) -> list[dict[str, int]]:
    """Which images get the requests to the service's own port, and those to the other one."""
    return [dev.served(OWN), dev.served(ROUTE)]


def made_with(stack: Make, strategy: dict[str, Any], **service: Any) -> Stack:
    return stack(config={"slipway:stages": [{"strategy": strategy}]}, **service)


@pytest.mark.rule("R1", "R4")
@every_strategy
def test_a_release_reaches_both_ports_and_a_rollback_brings_both_back(stack: Make, strategy: dict[str, Any]) -> None:
    dev = made_with(stack, strategy, routes={"admin": ADMIN})
    first = dev.push()
    assert failures(first) == []
    assert both(dev) == 2 * [{first.digest: 100}]
    second = dev.release("Second")
    assert both(dev) == 2 * [{second.digest: 100}]
    assert dev.workspace.preview(refresh=True).changes == []

    dev.account.ecs.fault = partial(breaks, "health check 9090", second.digest)
    dev.commit("Does not answer on the other port")
    failed = dev.push()
    assert ended(failed)["Deploy"] == "Failed"
    assert "health checks" in failed.action("Deploy").message
    dev.account.clock.sleep(600)
    assert (dev.image, both(dev)) == (f"@{second.digest}", 2 * [{second.digest: 100}])
    assert dev.workspace.preview(refresh=True).changes == []


@pytest.mark.rule("R1", "R2")
@every_strategy
def test_a_route_of_a_running_service_comes_and_goes_and_its_own_port_loses_no_request(
    stack: Make, strategy: dict[str, Any]
) -> None:
    dev = made_with(stack, strategy)
    live = dev.push().digest
    seen: list[list[int]] = []

    def look() -> None:
        """Percentages of the requests that reach a task with the live image."""
        rules = [r.name for r in dev.account.aws.resources.values() if r.type.endswith("ListenerRule")]
        shares = [dev.served(rule).get(live, 0) for rule in (OWN, ROUTE) if rule in rules]
        if seen[-1:] != [shares]:
            seen.append(shares)

    with watching(dev, look):
        added = dev.up(routes={"admin": ADMIN})
    # Requests to the route fail until the new tasks are there, and those that a canary leaves until the last shift.
    assert seen == [[100, 0], *([[100, 20]] if "canary" in strategy else []), [100, 100]]
    assert both(dev) == 2 * [{live: 100}]
    assert [each["containerPort"] for each in dev.service["loadBalancers"]] == [8080, 9090]
    created = [step.name for step in added.steps if step.op in ("create", "create-replacement")]
    assert created.index(ROUTE) < created.index("storefront-dev-release-rollout-1")
    assert dev.workspace.preview(refresh=True).changes == []
    second = live = dev.release("With both ports").digest
    assert both(dev) == 2 * [{second: 100}]

    seen.clear()
    with watching(dev, look):
        removed = dev.up()
    # Requests to the route fail from when the tasks are replaced until its rule is deleted.
    assert {shares[0] for shares in seen} == {100}
    order = [step.name for step in removed.steps if step.op in ("create-replacement", "delete")]
    assert order.index("storefront-dev-release-rollout-1") < order.index(ROUTE)
    assert order.index("storefront-dev-release-rollout-1") < order.index("storefront-dev-in-9090")
    [balancer] = dev.service["loadBalancers"]
    assert (balancer["containerPort"], dev.image, dev.served(OWN)) == (8080, f"@{second}", {second: 100})
    assert dev.workspace.preview(refresh=True).changes == []


@pytest.mark.occasional
def test_a_route_can_be_renamed_and_moved_to_another_port(stack: Make) -> None:
    dev = made_with(stack, STRATEGIES[1], routes={"admin": ADMIN})
    live = dev.push().digest
    dev.up(routes={"ops": {**ADMIN, "port": 9091, "paths": ["/ops/*"]}})
    assert [dev.served(OWN), dev.served("storefront-dev-route-ops-rule")] == 2 * [{live: 100}]
    assert [each["containerPort"] for each in dev.service["loadBalancers"]] == [8080, 9091]
    assert dev.workspace.preview(refresh=True).changes == []


@pytest.mark.occasional
def test_the_strategy_of_a_service_with_a_route_can_be_changed_and_changed_back(stack: Make) -> None:
    dev = stack(routes={"admin": ADMIN})
    first = dev.push().digest
    dev.strategy(**STRATEGIES[1])
    dev.workspace.up()
    assert both(dev) == 2 * [{first: 100}]
    second = dev.release("Shifted").digest
    assert both(dev) == 2 * [{second: 100}]
    dev.strategy(rolling={})
    dev.workspace.up()
    assert both(dev) == 2 * [{second: 100}]
    third = dev.release("Rolled").digest
    assert both(dev) == 2 * [{third: 100}]
    assert dev.workspace.preview(refresh=True).changes == []
