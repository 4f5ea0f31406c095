"""What ECR's lifecycle rules delete of the images of a stack, and what they keep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from .conftest import Stack
from .test_stages import staging_and_production

Make = Callable[..., Stack]
DAY = 86_400


def kept(dev: Stack) -> set[str]:
    return {*dev.tags().values()}


def build(dev: Stack, number: int) -> str:
    """An image that is built, and not released."""
    ended = dev.account.ecs.fault
    dev.account.ecs.fault = lambda definition: "exit 1"
    dev.commit(f"Broken {number}")
    digest = str(dev.push().digest)
    dev.account.ecs.fault = ended
    return digest


@pytest.mark.occasional
@pytest.mark.rule("R7")
def test_fewer_images_to_keep_delete_neither_what_runs_nor_what_was_verified_last(stack: Make) -> None:
    dev = stack(keepVerified=2)
    first, second = dev.push(), dev.release("Second")
    prod = stack("prod")
    prod.start(revision=first.digest)
    third = dev.release("Third")
    broken = [build(dev, number) for number in range(3)]
    assert kept(dev) == {first.digest, second.digest, third.digest, *broken}
    assert dev.account.ecr.expire(dev.images) == []

    dev.workspace.configure({"slipway:registry": {"keepImages": 1}})
    dev.workspace.up()
    gone = dev.account.ecr.expire(dev.images)
    # All that count as builds are the broken ones: each of the others has a tag that protects it.
    assert all(len(tags) == 1 for tags in gone)
    assert kept(dev) >= {first.digest, second.digest, third.digest}
    assert (prod.image, dev.image) == (f"@{first.digest}", f"@{third.digest}")

    # All can still be released.
    for digest in (first.digest, second.digest):
        assert dev.start(revision=digest, variables={"IMAGE_DIGEST": digest}).status == "Succeeded"


@pytest.mark.rule("R7")
def test_images_that_expire_by_age_are_neither_live_nor_verified_last(stack: Make) -> None:
    dev = stack(config={"slipway:registry": {"expireDays": 7}}, keepVerified=1)
    first = dev.push()
    second = dev.release("Second")
    broken = build(dev, 1)
    dev.account.clock.sleep(6 * DAY)
    assert dev.account.ecr.expire(dev.images) == []
    dev.account.clock.sleep(2 * DAY)
    dev.account.ecr.expire(dev.images)
    assert kept(dev) == {second.digest}
    assert first.digest != second.digest != broken
    assert dev.image == f"@{second.digest}"


@pytest.mark.rule("R7")
def test_the_images_of_a_removed_stage_are_kept_until_its_tags_are_removed(stack: Make) -> None:
    staging, production = staging_and_production(stack)
    staging.account.codepipeline.approve = lambda execution, action: True
    first = staging.push()
    staging.account.codepipeline.approve = lambda execution, action: False
    staging.commit("Only in staging")
    second = staging.push()
    assert (staging.image, production.image) == (f"@{second.digest}", f"@{first.digest}")

    stages = staging.workspace.configuration()["slipway:stages"]
    staging.workspace.configure({"slipway:stages": stages[1:], "slipway:registry": {"expireDays": 1}})
    staging.workspace.up()
    left = {tag for tag in staging.tags() if "staging" in tag}
    assert left == {"live-staging", "verified-staging", "verified-staging-0", "verified-staging-1"}
    staging.account.clock.sleep(2 * DAY)
    assert staging.account.ecr.expire(staging.images) == []

    # The command in docs/operations.md.
    ids: list[dict[str, Any]] = [{"imageTag": tag} for tag in left]
    staging.account.client("ecr").batch_delete_image(repositoryName=staging.images, imageIds=ids)
    assert kept(staging) == {first.digest, second.digest}
    staging.account.ecr.expire(staging.images)
    assert kept(staging) == {first.digest}
    assert production.image == f"@{first.digest}"
