"""Releases of a service with sidecars."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from .conftest import RELEASED, Stack, ended

Make = Callable[..., Stack]
PROXY = "public.ecr.aws/docker/library/nginx:1.29"
SERVICE: dict[str, Any] = {
    "sidecars": {
        "proxy": {"image": PROXY, "port": 8000},
        "init": {"image": PROXY, "command": ["true"], "essential": False},
    },
    "dependsOn": {"init": "SUCCESS"},
    "targetContainer": "proxy",
    "migration": {"command": ["migrate"], "sidecars": ["init"]},
}


def breaks(fault: str, good: str, definition: dict[str, Any]) -> str | None:
    """Breaks the tasks of all images but one."""
    return None if good in str(definition) else fault


def images(dev: Stack) -> dict[str, str]:
    """The images of the containers of the task that runs."""
    of = {"cluster": "storefront-dev", "serviceName": "storefront-dev"}
    tasks = dev.account.ecs.list_tasks(of)["taskArns"]
    [task] = dev.account.ecs.describe_tasks({"cluster": "storefront-dev", "tasks": tasks})["tasks"]
    return {each["name"]: each["image"].rpartition("@")[2] for each in task["containers"]}


def test_a_release_replaces_the_image_of_the_application_and_no_other(stack: Make) -> None:
    dev = stack(**SERVICE)
    first = dev.push()
    assert ended(first) == RELEASED
    assert images(dev) == {"app": first.digest, "proxy": PROXY, "init": PROXY}
    second = dev.release("Second")
    assert images(dev) == {"app": second.digest, "proxy": PROXY, "init": PROXY}
    assert dev.workspace.preview(refresh=True).changes == []


def test_a_release_whose_sidecar_fails_has_failed_and_the_verified_image_runs_again(stack: Make) -> None:
    dev = stack(**SERVICE)
    good = dev.push()
    assert ended(good) == RELEASED

    dev.account.ecs.fault = partial(breaks, "proxy exit 3", good.digest)
    dev.commit("The proxy does not start with this one")
    failed = dev.push()
    assert ended(failed)["Deploy"] == "Failed"
    message = failed.action("Deploy").message
    assert "container proxy exited with 3" in message
    assert f"Rolling back to the last verified image, {dev.state('verified')['image']}" in message
    dev.account.clock.sleep(120)
    assert images(dev)["app"] == good.digest
    assert dev.history()[0]["result"] == "failed"


def test_a_sidecar_of_a_new_version_is_rolled_out_by_pulumi_with_the_live_image(stack: Make) -> None:
    dev = stack(**SERVICE)
    live = dev.push()
    newer = PROXY.replace("1.29", "1.30")
    dev.change(**{**SERVICE, "sidecars": {**SERVICE["sidecars"], "proxy": {"image": newer, "port": 8000}}})
    dev.workspace.up()
    assert images(dev) == {"app": live.digest, "proxy": newer, "init": PROXY}
