"""prod releases images of a repository that somebody else created and changes."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from pulumi.automation import CommandError
from standin.world import World

from .conftest import Stack

Make = Callable[..., Stack]
OLD = {
    "rulePriority": 1,
    "description": "keep ten",
    "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 10},
    "action": {"type": "expire"},
}


@pytest.mark.rule("R7")
def test_a_repository_that_does_not_fit_is_reported_before_anything_is_created(stack: Make, account: World) -> None:
    account.ecr.create_repository({"repositoryName": "team/web", "imageTagMutability": "IMMUTABLE"})
    account.ecr.lifecycle_policies["team/web"] = json.dumps({"rules": [OLD]})
    source = {"slipway:source": {"image": {"repository": "team/web", "tag": "stable"}}}
    with pytest.raises(CommandError) as failure:
        stack("prod", config=source)
    message = " ".join(str(failure.value).split())
    assert "error: the ECR repository team/web does not fit the releases to prod, which take their images" in message
    tags = ", ".join(["live-prod", "verified-prod", *(f"verified-prod-{slot}" for slot in range(5))])
    assert f"- image tag mutability is IMMUTABLE, so {tags}" in message
    assert f"- rule 1 of the lifecycle policy can expire an image with the tag {tags}" in message
    assert "Traceback" not in message
    assert account.aws.resources == {}


@pytest.mark.rule("R7")
def test_a_policy_that_somebody_changed_by_hand_is_reported_and_a_refresh_restores_it(stack: Make) -> None:
    dev = stack()
    dev.push()
    prod = stack("prod")
    prod.start()
    before = prod.running, prod.tags()
    prod.account.ecr.lifecycle_policies["storefront-dev"] = json.dumps({"rules": [OLD]})
    with pytest.raises(CommandError, match="rule 1 of the lifecycle policy can expire an image with the tag live-prod"):
        prod.workspace.preview()
    dev.workspace.up(refresh=True)
    assert prod.workspace.preview().changes == []
    assert (prod.running, prod.tags()) == before


@pytest.mark.rule("R7")
def test_prod_does_not_begin_to_use_a_repository_that_dev_may_delete(stack: Make) -> None:
    dev = stack(config={"slipway:registry": {"forceDelete": True}})
    dev.push()
    with pytest.raises(CommandError, match="force_delete is set where it is created"):
        stack("prod")
    dev.workspace.configure({"slipway:registry": {"forceDelete": True, "forceDeleteEnvironments": ["prod"]}})
    dev.workspace.up()
    prod = stack("prod")
    prod.start()
    assert prod.image == dev.image
