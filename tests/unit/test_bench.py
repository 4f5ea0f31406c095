"""Both sides of `make bench` create the same resources."""

from __future__ import annotations

import pytest
from bench.__main__ import LIMIT, measure
from bench.once import recorded
from bench.programs import plain
from unit.harness import Resource, deploy


def without_code(resources: list[Resource]) -> dict[str, object]:
    """Inputs by URN; an archive of code equals only itself."""
    return {each.urn: {key: value for key, value in each.inputs.items() if key != "code"} for each in resources}


def test_the_plain_program_registers_the_same_resources_as_the_components() -> None:
    registrations = recorded(2)
    assert without_code(deploy(plain(registrations))) == without_code([each.resource for each in registrations])


@pytest.mark.long
def test_fifty_services_cost_no_more_than_the_same_plain_resources() -> None:
    runs = [(measure("mocks", "components", 50), measure("mocks", "plain", 50)) for _ in range(3)]
    # The least of each side, since other tests run beside this one.
    ours, plain_ones = (min(run[side]["seconds"] for run in runs) for side in (0, 1))
    assert ours / plain_ones <= LIMIT
