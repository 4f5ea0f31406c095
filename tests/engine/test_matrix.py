"""Each source and each strategy on the real engine: created, previewed without changes, and destroyed.

Which combinations are valid, and their documents and roles, are in unit/test_pairs.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from standin.tools import registry
from standin.world import World
from unit.pairs import SOURCES, STRATEGIES, configuration

QUICK = ("codecommit", "codeDeployBlueGreen")
"""Of these, the one that `make test` runs."""
SINGLES = [
    ("codecommit", "rolling"),
    ("connection", "rolling by the ECS action"),
    ("s3", "blueGreen"),
    ("image", "canary"),
    ("codecommit", "linear"),
    ("codecommit", "codeDeployBlueGreen"),
]


@pytest.fixture
def account(engine: Path) -> Iterator[World]:
    with registry() as address, World(address, {}, engine) as made:
        made.ecr.create_repository({"repositoryName": "storefront-qa"})  # another stack's
        yield made


def test_there_is_one_of_each() -> None:
    sources, strategies = zip(*SINGLES, strict=True)
    assert (set(sources), sorted(strategies)) == (set(SOURCES), sorted(STRATEGIES))


@pytest.mark.parametrize(
    ("source", "strategy"), [pytest.param(*each, marks=[] if each == QUICK else pytest.mark.long) for each in SINGLES]
)
def test_a_stack_of(account: World, source: str, strategy: str) -> None:
    keep = {} if source == "image" else {"slipway:registry": {"forceDelete": True}}  # otherwise it is protected
    workspace = account.workspace("dev", {**configuration(source, strategy), **keep})
    planned = workspace.preview()
    made = workspace.up()
    assert planned.summary == made.summary
    assert set(made.summary) <= {"create", "read"}
    assert workspace.preview().changes == []
    assert workspace.preview(refresh=True).changes == []

    assert workspace.destroy().summary.keys() <= {"delete", "read", "discard"}
    # The release state is retained, and so is a connection that existed before.
    kept = ["aws:codeconnections/connection:Connection"] if source == "connection" else []
    assert sorted(resource.type for resource in account.aws.resources.values()) == [*kept, "aws:dynamodb/table:Table"]
