"""Each source with each strategy that it can be combined with."""

from __future__ import annotations

from functools import cache

import pytest
from unit import schema, shapes
from unit.harness import Resource, deploy_stack_file, named, of_type, only, refuse_stack_file, rights
from unit.pairs import PAIRS, REFUSED, configuration

ROLE_POLICY = "aws:iam/rolePolicy:RolePolicy"
all_pairs = pytest.mark.parametrize(("source", "strategy"), PAIRS)


@cache
def deployed(source: str, strategy: str) -> list[Resource]:
    return deploy_stack_file("dev", configuration(source, strategy))


def may(source: str, strategy: str) -> set[tuple[str, str]]:
    """What each policy of a pair allows."""
    resources = deployed(source, strategy)
    policies = [policy.name for policy in of_type(resources, ROLE_POLICY)]
    return {(policy, right) for policy in policies for right in rights(resources, policy)}


@all_pairs
def test_aws_and_the_provider_accept_every_pair(source: str, strategy: str) -> None:
    resources = deployed(source, strategy)
    refused = [schema.mistakes(r.type, r.inputs) for r in resources if r.type.startswith("aws:")]
    assert [mistakes for mistakes in refused if mistakes] == []
    pipeline = shapes.pipeline(only(resources, "aws:codepipeline/pipeline:Pipeline").inputs)
    assert shapes.mistakes("codepipeline", "CreatePipeline", pipeline) == []
    template = shapes.task_definition(only(resources, "aws:ecs/taskDefinition:TaskDefinition").inputs)
    assert shapes.mistakes("ecs", "RegisterTaskDefinition", template) == []
    update = shapes.update_service(
        named(resources, "storefront-dev-release-rollout-1").json("input")["rollout"]["settings"]
    )
    assert shapes.mistakes("ecs", "UpdateService", update) == []


@all_pairs
def test_a_pair_has_the_permissions_of_its_source_and_its_strategy_and_no_others(source: str, strategy: str) -> None:
    common, of_strategy = may("codecommit", "rolling"), may("codecommit", strategy)
    assert may(source, strategy) == may(source, "rolling") - (common - of_strategy) | (of_strategy - common)


def test_an_image_source_cannot_be_combined_with_the_ecs_action() -> None:
    error, made = refuse_stack_file("dev", configuration(*REFUSED))
    assert "slipway:stages must not have ecsAction with an image as source, as in ['dev']" in error
    assert made == ["pulumi:pulumi:Stack"]
