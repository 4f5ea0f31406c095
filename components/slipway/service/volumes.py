"""What a container can write to beside its read-only root file system."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

from slipway._constraints import items, match

ContainerPath = Annotated[
    str,
    match(
        r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._-]+)+",
        "be a path in the container such as /var/cache/shop of a-z A-Z 0-9 . _ - and /",
        "/var/cache/shop",
        ["tmp", "/", "/tmp/", "//tmp", "/a b", "/..", "/a/./b", "/a/.."],
        longest=200,
    ),
]
WritablePaths = Annotated[Sequence[ContainerPath], items(most=20, distinct=True)]
# The agent of ECS Exec writes there, also beside a read-only root. They are mounted in any case: as the task definition
# changes, so do the running tasks, which enabling ECS Exec alone does not change.
EXEC_PATHS = {"exec-lib": "/var/lib/amazon", "exec-log": "/var/log/amazon"}
"""https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-exec.html"""


def writable(paths: Sequence[str], container: str = "") -> dict[str, str]:
    """Volumes of the task's own disk by name, with the paths at which a container has them. The application's container
    has no name here.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/bind-mounts.html
    """
    return {f"{container}{'_' if container else ''}path{_as_name(path)}": path for path in paths}


def _as_name(path: str) -> str:
    """A path as part of a volume's name, which has only a-z A-Z 0-9 - _, so that no two paths have the same."""
    return re.sub(r"[-._]", lambda found: f"_{ord(found[0]):x}", path).replace("/", "-")
