"""The account that journeys use in turn: each starts with what looks like a new one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from standin import snapshots
from standin.world import Workshop, World

from .conftest import RELEASED, Site, Stack, ended, maker

BEGINNING = (":unreleased", (0, 0))


@pytest.fixture(autouse=True)
def can_be_restored(account: World) -> None:
    if not account.can_be_restored:
        pytest.skip(snapshots.NOT_RESTORABLE)


def seen(stack: Stack) -> dict[str, Any]:
    account = stack.account
    families = account.ecs.list_task_definitions({})["taskDefinitionArns"]
    return {
        "service": (stack.image, stack.counts),
        "definitions": families,
        "tags": stack.tags(),
        "verified": stack.state("verified"),
        "executions": len(account.codepipeline.executions),
        "calls": len(account.api.calls),
        "time": account.clock.now(),
        "log": account.lambdas.log_path.read_text(),
        "configuration": stack.workspace.configuration(),
    }


def test_a_journey_finds_nothing_of_the_previous_one(
    shared: Workshop, site: Site, account: World, tmp_path: Path
) -> None:
    first = maker(shared, site, tmp_path / "first")()
    before = seen(first)
    assert before["service"] == BEGINNING
    assert ended(first.push()) == RELEASED
    first.up(cpu=512, memory=1024)
    account.ecs.fault = lambda definition: "exit 1"
    account.codepipeline.watch = lambda execution, action: account.clock.sleep(3600)

    site.clear()
    assert (account.aws.resources, account.api.calls) == ({}, [])
    second = maker(shared, site, tmp_path / "second")()
    assert second.workspace is first.workspace  # it was not deployed again
    assert {key: value for key, value in seen(second).items() if before[key] != value} == {}
    assert second.workspace.preview(refresh=True).changes == []
    assert ended(second.push()) == RELEASED


def test_a_stack_is_deployed_without_a_snapshot_in_an_account_that_is_not_new(
    shared: Workshop, site: Site, account: World, tmp_path: Path
) -> None:
    first = maker(shared, site, tmp_path / "first")()
    site.clear()
    account.ecs.start_seconds = 7
    second = maker(shared, site, tmp_path / "second")()
    assert second.workspace is not first.workspace
    assert account.ecs.start_seconds == 7
