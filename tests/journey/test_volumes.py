"""Releases of a service with volumes, on Fargate."""

from __future__ import annotations

from collections.abc import Callable

from .conftest import RELEASED, Stack, ended, until

Make = Callable[..., Stack]
SYSTEM = "fs-0123456789abcdef0"
SERVICE = {
    "volumes": {"uploads": {"fileSystemId": SYSTEM, "path": "/data", "directory": {"path": "/uploads"}}},
}


def test_a_release_mounts_a_file_system_and_fails_with_the_reason_of_ecs_once_it_cannot(stack: Make) -> None:
    dev = stack(**SERVICE)
    good = dev.push()
    assert ended(good) == RELEASED
    assert dev.workspace.preview(refresh=True).changes == []

    dev.account.volumes.unreachable.add(SYSTEM)
    dev.commit("Second")
    failed = dev.push()
    assert ended(failed) == until("Deploy", "Failed")
    reason = "ResourceInitializationError: failed to invoke EFS utils commands to set up EFS volumes"
    assert reason in failed.action("Deploy").message
    assert dev.image == f"@{good.digest}"

    dev.account.volumes.unreachable.clear()
    assert ended(dev.release("Third")) == RELEASED
