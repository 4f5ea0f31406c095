"""Runs the components and the repository's own program in the unit tests, on the mocks of `slipway.testing`."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pulumi
import yaml
from slipway import testing
from slipway.testing import MADE, Recorder, Resource

__all__ = ["MADE", "Recorder", "Resource"]

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "tests" / "sample"
"""The project and the stack files of the tests; those of the root belong to the clone's owner."""


def run(program: Callable[[], Any], config: Mapping[str, Any], secret: list[str], stack: str) -> Recorder:
    """Runs a program as the engine would, until everything has completed."""
    made = recorder(stack)
    run_with(made, program, config, secret)
    return made


def recorder(stack: str) -> Recorder:
    return Recorder(testing.Mocks(), "storefront", stack)


def run_with(recorder: Recorder, program: Callable[[], Any], config: Mapping[str, Any], secret: list[str]) -> None:
    testing.run(recorder, program, config, {key: value for key, value in config.items() if key in secret})


def deploy(
    program: Callable[[], Any],
    config: Mapping[str, Any] | None = None,
    secret: list[str] | None = None,
    stack: str = "dev",
) -> list[Resource]:
    """The resources that a program registers, in a deterministic order."""
    return run(program, config or {}, secret or [], stack).registered()


def deploy_stack_file(
    stack: str, overrides: Mapping[str, Any] | None = None, secret: list[str] | None = None
) -> list[Resource]:
    """The resources that the repository's own program registers for one of the sample's stack files."""
    return deploy(main, stack_file(stack, overrides), secret, stack)


def refuse_stack_file(
    stack: str, overrides: Mapping[str, Any], secret: list[str] | None = None
) -> tuple[str, list[str]]:
    """The error of the repository's own program, and the types of the resources that it registered before.

    An override of None removes the key from the stack file.
    """
    monitor = recorder(stack)
    try:
        run_with(monitor, main, stack_file(stack, overrides), secret or [])
    except (ValueError, pulumi.RunError) as error:
        return str(error), [resource.type for resource in monitor.registered()]
    raise AssertionError("the program accepts it")


@cache
def program(stack: str) -> list[Resource]:
    """The resources for one of the sample's stack files: run once, read-only."""
    return deploy_stack_file(stack)


def main() -> None:
    runpy.run_path(str(ROOT / "__main__.py"), run_name="__main__")


def stack_file(stack: str, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
    config = {**yaml.safe_load((SAMPLE / f"Pulumi.{stack}.yaml").read_text())["config"], **(overrides or {})}
    return {key: value for key, value in config.items() if value is not None}


def of_type(resources: list[Resource], type_: str) -> list[Resource]:
    return [resource for resource in resources if resource.type == type_]


def only(resources: list[Resource], type_: str) -> Resource:
    """The one resource of a type."""
    found = of_type(resources, type_)
    assert len(found) == 1, f"{len(found)} resources have the type {type_}: {[r.name for r in found]}"
    return found[0]


def named(resources: list[Resource], name: str, type_: str = "") -> Resource:
    """The one resource with a name, and a type if several have the name."""
    found = [r for r in resources if r.name == name and r.type.endswith(type_)]
    assert len(found) == 1, f"{len(found)} resources are called {name}: {[r.type for r in found]}"
    return found[0]


def statements(resources: list[Resource], policy: str) -> list[dict[str, Any]]:
    """The statements of the one inline policy with this name."""
    document = named(resources, policy, "RolePolicy").json("policy")
    assert document.keys() == {"Version", "Statement"}
    assert document["Version"] == "2012-10-17"
    return list(document["Statement"])


def rights(resources: list[Resource], policy: str) -> set[str]:
    """What the one inline policy with this name allows, to be compared with `granted`."""
    return granted(statements(resources, policy))


def granted(statements: Iterable[Mapping[str, Any]]) -> set[str]:
    """Each action on each resource under its condition, independent of their order and grouping."""
    return {
        json.dumps({**statement, "Action": action, "Resource": resource}, sort_keys=True)
        for statement in statements
        for action in several(statement["Action"])
        for resource in several(statement["Resource"])
    }


def sg(name: str) -> str:
    """The ID of a security group."""
    return testing.id_of("aws:ec2/securityGroup:SecurityGroup", name, {})


def several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def trusted(resources: list[Resource], role: str) -> list[dict[str, Any]]:
    """Who may assume the one role with this name."""
    return list(named(resources, role, "Role").json("assumeRolePolicy")["Statement"])


def resolved(program: Callable[[], Any]) -> Any:
    """The return value of a program, with its Outputs resolved."""
    resources = deploy(lambda: pulumi.export("it", program()))
    return only(resources, "pulumi:pulumi:Stack").outputs["it"]
