"""Options of the stack file together: each pair of values that can meet."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from itertools import combinations

import pytest
from unit import schema, shapes
from unit.harness import Resource, deploy_stack_file, named, of_type, rights
from unit.options import FIRST, NEEDS, configuration, packed, pairs

POLICY = "aws:iam/rolePolicy:RolePolicy"
TEMPLATE = "aws:ecs/taskDefinition:TaskDefinition"
every_file = pytest.mark.parametrize("number", range(len(packed())))
QUICK = 8
"""How many of the files `make test` checks; most pairs of options are in the first ones."""


@cache
def deployed(*choice: tuple[str, str]) -> list[Resource]:
    return deploy_stack_file("dev", configuration({**FIRST, **dict(choice)}))


def of(choice: Mapping[str, str]) -> list[Resource]:
    return deployed(*((name, value) for name, value in choice.items() if value != FIRST[name]))


def may(choice: Mapping[str, str]) -> set[tuple[str, str]]:
    """What each policy allows, where the stack's cluster has the same name whichever it is."""
    resources = of(choice)
    cluster = "shared" if choice.get("cluster") == "existing" else "storefront-dev"
    of_it = re.compile(rf"(:(?:cluster|service|service-deployment|service-revision|task)/){cluster}(?=[/\"])")
    policies = [policy.name for policy in of_type(resources, POLICY)]
    return {(policy, of_it.sub(r"\1its-own", right)) for policy in policies for right in rights(resources, policy)}


def test_the_files_have_every_pair(record_property: Callable[[str, object], None]) -> None:
    met = {frozenset(pair) for file in packed() for pair in combinations(file.items(), 2)}
    assert met == set(pairs())
    record_property("packed", (len(met), len(packed())))  # conftest.py shows it


@pytest.mark.parametrize(
    "number", [pytest.param(n, marks=[] if n < QUICK else pytest.mark.long) for n in range(len(packed()))]
)
def test_aws_and_the_provider_accept_the_file(number: int) -> None:
    resources = of(packed()[number])
    refused = [schema.mistakes(r.type, r.inputs) for r in resources if r.type.startswith("aws:")]
    assert [mistakes for mistakes in refused if mistakes] == []
    for template in of_type(resources, TEMPLATE):
        definition = shapes.task_definition(template.inputs)
        assert shapes.mistakes("ecs", "RegisterTaskDefinition", definition) == []
    settings = named(resources, "storefront-dev-release-rollout-1").json("input")["rollout"]["settings"]
    for each in (settings, *(process["settings"] for process in settings.get("processes", []))):
        assert shapes.mistakes("ecs", "UpdateService", shapes.update_service(each)) == []


@pytest.mark.long
@every_file
def test_a_file_has_the_permissions_of_its_options_and_no_others(number: int) -> None:
    choice = packed()[number]
    expected = may({})
    for name, value in choice.items():
        needed = NEEDS.get((name, value), {})
        before, after = may(needed), may({**needed, name: value})
        expected = expected - (before - after) | (after - before)
    unexpected = may(choice) ^ expected
    assert {policy for policy, _ in unexpected} <= TOGETHER


TOGETHER = {"storefront-dev-traffic-policy", "storefront-dev-codedeploy-policy"}
"""Policies in which options meet: what they allow depends on both, and other tests state it."""
