"""The images of a stack: no change of settings deletes them, and one option does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pulumi.automation import CommandError
from slipway import Registry, config
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
    """What must not change: the images, the running tasks, and Pulumi's resources."""
    return dev.tags(), dev.running, dev.counts, sorted(dev.account.aws.resources)


@pytest.mark.rule("R7")
@pytest.mark.quick
def test_a_key_for_a_repository_with_images_is_rejected_before_anything_changes(stack: Make) -> None:
    dev = stack()
    live = dev.push()
    before = held(dev)
    dev.workspace.configure(ENCRYPTED)
    service = {"slipway:service": {**dev.workspace.configuration()["slipway:service"], "cpu": 512, "memory": 1024}}
    dev.workspace.configure(service)
    for command in (dev.workspace.preview, dev.workspace.up):
        output = failure(command)
        assert REFUSED in output
        assert "Traceback" not in output
        assert held(dev) == before
    assert dev.image == f"@{live.digest}"

    # After reverting it, everything works again.
    dev.workspace.configure({"slipway:registry": None})
    dev.workspace.up()
    assert (dev.running["cpu"], dev.image) == ("512", f"@{live.digest}")


@pytest.mark.rule("R7")
def test_the_engine_also_refuses_to_replace_or_delete_protected_images_in_a_preview(stack: Make) -> None:
    """As if the program could not see it: the repository cannot be read, or another name refers to another one."""
    dev = stack()
    dev.push()
    before = held(dev)
    dev.account.aws._invokes = {}
    dev.workspace.configure(ENCRYPTED)
    for command in (dev.workspace.preview, dev.workspace.up):
        assert f"unable to replace {PROTECTED}" in failure(command).replace("\n", " ")
        assert held(dev) == before


def renamed(dev: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program of one's own that gives the repository another name."""
    monkeypatch.setattr(config, "registry", lambda settings: Registry("storefront-images", settings.registry))


def removed(dev: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """dev is to build nothing any more: it releases another repository's images."""
    dev.account.ecr.create_repository({"repositoryName": "team/web"})
    dev.workspace.configure(
        {
            "slipway:source": {"image": {"repository": "team/web", "tag": "stable"}},
            "slipway:build": None,
            "slipway:registry": None,
        }
    )


def encrypted(dev: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = dev.workspace.configuration().get("slipway:registry", {})
    dev.workspace.configure({"slipway:registry": {**registry, "kmsKeyArn": KEY}})


Change = Callable[[Stack, pytest.MonkeyPatch], None]
CHANGES: dict[Change, str] = {
    encrypted: REFUSED,
    renamed: f"{PROTECTED}cannot be deleted",
    removed: f"{PROTECTED}cannot be deleted",
}
change = pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)


@pytest.mark.rule("R7")
@change
def test_a_repository_whose_image_prod_runs_is_kept_when_it_is(
    stack: Make, monkeypatch: pytest.MonkeyPatch, change: Change
) -> None:
    dev, prod = dev_and_prod(stack)
    before = held(dev), held(prod)
    change(dev, monkeypatch)
    assert CHANGES[change] in failure(dev.workspace.preview).replace("\n", " ")
    assert (held(dev), held(prod)) == before


@pytest.mark.rule("R7")
@change
@pytest.mark.occasional
def test_only_by_name_are_the_images_of_prod_deleted_with_a_repository_that_is(
    stack: Make, monkeypatch: pytest.MonkeyPatch, change: Change
) -> None:
    dev, prod = dev_and_prod(stack)
    before = held(dev), held(prod)
    dev.workspace.configure({"slipway:registry": {"forceDelete": True}})
    for command in (dev.workspace.preview, dev.workspace.up):
        output = failure(command)
        assert "must not be set while images are live or verified in prod: destroying this stack" in output
        assert "Traceback" not in output
        assert (held(dev), held(prod)) == before

    dev.workspace.configure({"slipway:registry": {"forceDelete": True, "forceDeleteEnvironments": ["prod"]}})
    dev.workspace.up()
    assert (held(dev), held(prod)) == before
    change(dev, monkeypatch)
    dev.workspace.up()
    names = [each["repositoryName"] for each in dev.account.ecr.describe_repositories({})["repositories"]]
    assert "storefront-dev" not in names or dev.tags() == {}


def dev_and_prod(stack: Make) -> tuple[Stack, Stack]:
    """Both run one image."""
    dev = stack()
    live = dev.push()
    prod = stack("prod")
    prod.start()
    assert dev.image == prod.image == f"@{live.digest}"
    return dev, prod


@pytest.mark.rule("R7")
def test_destroy_is_refused_while_images_may_be_in_use_elsewhere(stack: Make) -> None:
    dev = stack(retainReleaseState=False)
    live = dev.push()
    prod = stack("prod")
    prod.start()
    assert prod.image == f"@{live.digest}"
    before = held(dev)
    output = failure(dev.workspace.preview_destroy).replace("\n", " ")
    assert f"{PROTECTED}cannot be deleted" in output
    assert held(dev) == before

    # Everything but the repository is destroyed.
    dev.workspace.destroy(exclude_protected=True)
    assert [name for name in map(_name, dev.account.aws.resources) if name.startswith("storefront-dev")] == [dev.images]
    assert prod.image == f"@{live.digest}"
    assert live.digest in dev.tags().values()
    # And created again.
    dev.workspace.up()
    dev.release("After that")


@pytest.mark.rule("R7")
def test_an_unreviewed_destroy_leaves_the_images(stack: Make) -> None:
    dev = stack()
    dev.push()
    images = dev.tags()
    assert f"{PROTECTED}cannot be deleted" in failure(dev.workspace.destroy).replace("\n", " ")
    assert dev.tags() == images
    # ECR does not delete them either, if the protection is removed by hand.
    dev.workspace.unprotect()
    assert "not empty, consider using force_delete" in failure(dev.workspace.destroy)
    assert dev.tags() == images


def test_images_are_deleted_if_the_stack_file_enables_it(stack: Make) -> None:
    dev = stack()
    dev.push()
    images = dev.tags()
    forced = {"slipway:registry": {"forceDelete": True, "kmsKeyArn": KEY}}
    dev.workspace.configure(forced)
    # Pulumi deletes a resource with the options it was created with: the setting needs a `pulumi up` first.
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


def test_a_repository_that_somebody_deleted_is_created_again(stack: Make) -> None:
    dev = stack()
    dev.push()
    dev.account.ecr.delete_repository({"repositoryName": "storefront-dev", "force": True})
    dev.workspace.configure(ENCRYPTED)
    dev.workspace.up(refresh=True)
    assert dev.tags() == {}


def _name(urn: str) -> str:
    return urn.rpartition("::")[2]
