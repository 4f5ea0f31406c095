"""The images of a stack: what no change of settings deletes, and the one option that does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pulumi.automation import CommandError
from standin.workspace import Outcome

from .conftest import Stack

Make = Callable[..., Stack]
KEY = "arn:aws:kms:eu-west-1:123456789012:key/0f"
ENCRYPTED = {"slipway:registry": {"kmsKeyArn": KEY}}
REFUSED = (
    f"error: kms_key_arn of the repository storefront-dev must stay None, got '{KEY}': ECR cannot change the "
    "encryption of a repository, so Pulumi would delete it with all its images"
)
PROTECTED = (
    'resource "urn:pulumi:dev::storefront::slipway:index:Registry$aws:ecr/repository:Repository::storefront-dev" '
)


def failure(command: Callable[..., Outcome]) -> str:
    with pytest.raises(CommandError) as failed:
        command()
    return str(failed.value)


def held(dev: Stack) -> tuple[Any, ...]:
    """What must stay: the images, what runs, and what Pulumi made."""
    return dev.tags(), dev.running, dev.counts, sorted(dev.account.aws.resources)


@pytest.mark.rule("R7")
@pytest.mark.quick
def test_a_key_for_a_repository_with_images_is_refused_before_anything_changes(stack: Make) -> None:
    dev = stack()
    live = dev.push()
    before = held(dev)
    dev.workspace.configure(ENCRYPTED)
    service = {"slipway:service": {**dev.workspace.configuration()["slipway:service"], "cpu": 512, "memory": 1024}}
    dev.workspace.configure(service)
    for command in (dev.workspace.preview, dev.workspace.up):
        said = failure(command)
        assert REFUSED in said
        assert "Traceback" not in said
        assert held(dev) == before
    assert dev.image == f"@{live.digest}"

    # Taken back, all goes on.
    dev.workspace.configure({"slipway:registry": None})
    dev.workspace.up()
    assert (dev.running["cpu"], dev.image) == ("512", f"@{live.digest}")


@pytest.mark.rule("R7")
@pytest.mark.quick
def test_what_the_engine_would_replace_or_delete_it_refuses_in_a_preview_too(stack: Make) -> None:
    """As where the program does not see it: the repository cannot be read, or another name leads to another one."""
    dev = stack()
    dev.push()
    before = held(dev)
    dev.account.aws._invokes = {}
    dev.workspace.configure(ENCRYPTED)
    for command in (dev.workspace.preview, dev.workspace.up):
        assert f"unable to replace {PROTECTED}" in failure(command).replace("\n", " ")
        assert held(dev) == before


@pytest.mark.rule("R7")
def test_destroy_is_refused_while_the_images_may_be_anothers(stack: Make) -> None:
    dev = stack(retainReleaseState=False)
    live = dev.push()
    prod = stack("prod")
    prod.start()
    assert prod.image == f"@{live.digest}"
    before = held(dev)
    said = failure(dev.workspace.preview_destroy).replace("\n", " ")
    assert f"{PROTECTED}cannot be deleted" in said
    assert held(dev) == before

    # All but the repository goes.
    dev.workspace.destroy(exclude_protected=True)
    assert [name for name in map(_name, dev.account.aws.resources) if name.startswith("storefront-dev")] == [dev.images]
    assert prod.image == f"@{live.digest}"
    assert live.digest in dev.tags().values()
    # And comes again.
    dev.workspace.up()
    dev.release("After that")


@pytest.mark.rule("R7")
def test_a_destroy_that_nobody_looked_at_leaves_the_images(stack: Make) -> None:
    dev = stack()
    dev.push()
    images = dev.tags()
    assert f"{PROTECTED}cannot be deleted" in failure(dev.workspace.destroy).replace("\n", " ")
    assert dev.tags() == images
    # Nor does ECR delete them, where the protection is taken away by hand.
    dev.workspace.unprotect()
    assert "not empty, consider using force_delete" in failure(dev.workspace.destroy)
    assert dev.tags() == images


def test_images_are_deleted_where_the_stack_file_says_so(stack: Make) -> None:
    dev = stack()
    dev.push()
    images = dev.tags()
    forced = {"slipway:registry": {"forceDelete": True, "kmsKeyArn": KEY}}
    dev.workspace.configure(forced)
    # Pulumi deletes a resource as it was made: the option takes a `pulumi up` of its own.
    assert "not empty, consider using force_delete" in failure(dev.workspace.up)
    assert dev.tags() == images

    dev.workspace.configure({"slipway:registry": {"forceDelete": True}})
    dev.workspace.up()
    assert dev.tags() == images
    dev.workspace.configure(forced)
    dev.workspace.up()
    assert dev.tags() == {}
    assert dev.account.ecr.describe_repositories({})["repositories"][0]["encryptionConfiguration"]["kmsKey"] == KEY
    dev.workspace.destroy()
    assert dev.account.ecr.describe_repositories({})["repositories"] == []


def test_a_repository_that_somebody_deleted_is_made_again(stack: Make) -> None:
    dev = stack()
    dev.push()
    dev.account.ecr.delete_repository({"repositoryName": "storefront-dev", "force": True})
    dev.workspace.configure(ENCRYPTED)
    dev.workspace.up(refresh=True)
    assert dev.tags() == {}


def _name(urn: str) -> str:
    return urn.rpartition("::")[2]
