"""Each pair of options that can meet, on the real engine: created, previewed without changes, and destroyed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from standin.tools import registry
from standin.world import World
from unit.options import configuration, packed


@pytest.fixture
def account(engine: Path) -> Iterator[World]:
    with registry() as address, World(address, {}, engine) as made:
        # The cluster of the files with an existing one.
        made.ecs.create_cluster({"clusterName": "shared"})
        providers = ["FARGATE", "FARGATE_SPOT", "instances", "managed"]
        made.ecs.put_cluster_capacity_providers({"cluster": "shared", "capacityProviders": providers})
        yield made


OFTEN = 5
"""How many of the files .ci/run creates; most pairs of options are in the first ones."""
NUMBERS = [pytest.param(n, marks=[] if n < OFTEN else pytest.mark.occasional) for n in range(len(packed()))]


@pytest.mark.long
@pytest.mark.parametrize("number", NUMBERS)
def test_a_stack_of_packed_options(account: World, number: int) -> None:
    workspace = account.workspace("dev", {**configuration(packed()[number]), "slipway:registry": {"forceDelete": True}})
    planned = workspace.preview().summary
    assert planned == workspace.up().summary
    assert workspace.preview().changes == []
    assert workspace.refresh().changes == []
    assert workspace.preview(refresh=True).changes == []
    assert workspace.destroy().summary.keys() == {"delete"}
