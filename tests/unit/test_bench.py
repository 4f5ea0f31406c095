"""Both sides of `make bench` create the same resources."""

from __future__ import annotations

from bench.once import recorded
from bench.programs import plain
from unit.harness import Resource, deploy


def without_code(resources: list[Resource]) -> dict[str, object]:
    """Inputs by URN; an archive of code equals only itself."""
    return {each.urn: {key: value for key, value in each.inputs.items() if key != "code"} for each in resources}


def test_the_plain_program_registers_the_same_resources_as_the_components() -> None:
    registrations = recorded(2)
    assert without_code(deploy(plain(registrations))) == without_code([each.resource for each in registrations])
