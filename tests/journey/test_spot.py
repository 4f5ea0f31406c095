"""Releases of a service on Fargate Spot, whose capacity AWS takes back, or does not have."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .conftest import RELEASED, Stack, ended, watching

Make = Callable[..., Stack]
HALF = {"fargateSpot": {"base": 1, "onDemandWeight": 0, "spotWeight": 1}}
"""The first task is on demand, and the second on Spot."""
ONLY_SPOT = {"fargateSpot": {"base": 0, "onDemandWeight": 0, "spotWeight": 1}}
NO_CAPACITY = "was unable to place a task. Reason: Capacity is unavailable at this time."


@pytest.mark.rule("R4", "R9")
@pytest.mark.parametrize("which", ["an old one", "a new one that starts", "a new one that runs"])
def test_a_spot_task_that_is_taken_back_during_a_rollout_delays_the_release_and_does_not_fail_it(
    stack: Make, which: str
) -> None:
    dev = stack(capacity=HALF, tasks={"min": 2})
    old = dev.push().digest
    seen, taken = list[dict[str, int]](), list[int]()

    def look() -> None:
        seen.append(dev.traffic)
        deploying, serving = dev.image != f"@{old}", seen[-1].keys() - {old}
        if deploying and not taken and (serving or which != "a new one that runs"):
            taken.append(dev.account.ecs.take_back(old if which == "an old one" else dev.image))

    dev.commit("Second")
    with watching(dev, look):
        second = dev.push()

    assert (ended(second), taken) == (RELEASED, [1])
    assert (dev.image, dev.counts) == (f"@{second.digest}", (2, 2))
    assert (dev.state("claim")["phase"], dev.state("verified")["image"]) == ("verified", dev.state("claim")["image"])
    assert {sum(shares.values()) for shares in seen} == {100}
    assert {digest for shares in seen for digest in shares} == {old, second.digest}
    assert dev.workspace.preview(refresh=True).changes == []


@pytest.mark.occasional
@pytest.mark.rule("R4")
def test_spot_tasks_that_are_taken_back_do_not_count_as_failures_where_no_circuit_breaker_of_ecs_watches(
    stack: Make,
) -> None:
    dev = stack(capacity=HALF, tasks={"min": 2})
    dev.strategy(canary={"percent": 20, "canaryBakeMinutes": 5, "bakeMinutes": 5})
    dev.workspace.up()
    old, taken = dev.push().digest, list[int]()

    def look() -> None:
        if dev.image != f"@{old}" and sum(taken) < 4:  # ECS's threshold for two tasks is three
            taken.append(dev.account.ecs.take_back(dev.image))

    dev.commit("Second")
    with watching(dev, look):
        second = dev.push()
    assert (ended(second), sum(taken), dev.traffic) == (RELEASED, 4, {second.digest: 100})


@pytest.mark.rule("R4")
@pytest.mark.parametrize("breaks", [pytest.param(False, marks=pytest.mark.occasional), True])
def test_a_release_without_spot_capacity_fails_with_that_reason_and_the_old_tasks_stay(
    stack: Make, breaks: bool
) -> None:
    dev = stack(capacity=ONLY_SPOT)
    good = dev.push()
    dev.account.ecs.without_capacity, dev.account.ecs.unplaced_fails = {"FARGATE_SPOT"}, breaks
    dev.commit("Second")
    seen = list[dict[str, int]]()
    with watching(dev, lambda: seen.append(dev.traffic)):
        bad = dev.push()

    message = bad.action("Deploy").message
    assert ended(bad)["Deploy"] == "Failed"
    assert NO_CAPACITY in message
    assert ("did not finish within its 10 minutes and was stopped" in message) == (not breaks)
    assert {str(shares) for shares in seen} == {str({good.digest: 100})}
    dev.account.clock.sleep(120)
    assert (dev.image, dev.counts, dev.state("claim")["phase"]) == (f"@{good.digest}", (1, 1), "failed")

    dev.account.ecs.without_capacity = set()
    retried = dev.account.codepipeline.retry(bad, "dev")
    assert (retried.status, dev.image) == ("Succeeded", f"@{bad.digest}")


def test_a_task_that_was_taken_back_does_not_hide_that_there_is_no_capacity_for_another(stack: Make) -> None:
    dev = stack(capacity=ONLY_SPOT)
    good, taken = dev.push().digest, list[int]()

    def look() -> None:
        if dev.image != f"@{good}" and not taken:
            dev.account.ecs.without_capacity = {"FARGATE_SPOT"}
            taken.append(dev.account.ecs.take_back(dev.image))

    dev.commit("Second")
    with watching(dev, look):
        message = dev.push().action("Deploy").message
    assert (taken, NO_CAPACITY in message, "interrupted" in message) == ([1], True, False)
    assert dev.traffic == {good: 100}
