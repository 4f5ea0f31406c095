"""What the containers of a task mount."""

from __future__ import annotations

from typing import Any

import pytest
from slipway import Container, Job, Migration, Process
from slipway.config.components import writable_paths
from slipway.service.args import ServiceSettings
from slipway.service.volumes import writable
from unit.examples import service
from unit.harness import Resource, deploy, named

TEMPLATES = ("api-template", "api-worker-template", "api-migration-template", "api-report-template")
"""Of a service with each kind of task."""
TASKS: dict[str, Any] = {
    "processes": {"worker": Process(command=["work"])},
    "migration": Migration(command=["migrate"]),
    "jobs": {"report": Job(command=["report"], schedule="rate(1 hour)")},
}


def made(**args: Any) -> list[Resource]:
    return deploy(lambda: service("api", **args))


def container(resources: list[Resource], template: str = "api-template") -> dict[str, Any]:
    [found] = named(resources, template, "TaskDefinition").json("containerDefinitions")
    return dict(found)


def test_writable_paths_are_on_the_tasks_disk_beside_a_read_only_root_in_every_task() -> None:
    resources = made(writable_paths=["/tmp", "/var/cache/shop"], **TASKS)
    for template in TEMPLATES:
        assert named(resources, template, "TaskDefinition").inputs["volumes"] == [
            {"name": "path-tmp"},
            {"name": "path-var-cache-shop"},
        ]
        assert container(resources, template)["mountPoints"] == [
            {"sourceVolume": "path-tmp", "containerPath": "/tmp"},
            {"sourceVolume": "path-var-cache-shop", "containerPath": "/var/cache/shop"},
        ]
        assert container(resources, template)["readonlyRootFilesystem"] is True


def test_no_two_paths_have_the_same_volume() -> None:
    paths = ["/a-b", "/a/b", "/a_b", "/a.b", "/a_2db", "/a-/b", "/a/-b"]
    assert len(writable(paths)) == len(paths)
    assert not writable(["/a"]).keys() & writable(["/a"], "proxy").keys()


def test_a_path_is_mounted_once() -> None:
    with pytest.raises(ValueError, match=r"^writable_paths must not have /var/log/amazon, which ecs_exec mounts$"):
        ServiceSettings(ecs_exec=True, writable_paths=["/tmp", "/var/log/amazon"])
    assert ServiceSettings(writable_paths=["/var/log/amazon"]).writable_paths == ["/var/log/amazon"]


ROOT, APP, NONE = (Container(user=user) for user in ("root:app", "app", None))


@pytest.mark.parametrize(
    ("stages", "paths", "user"),
    [
        ([], [], None),
        ([(["/a"], NONE), (["/b", "/a"], NONE), ([], APP)], ["/a", "/b"], None),
        ([(["/a"], ROOT), (["/b"], NONE)], ["/b"], None),
        ([(["/a"], NONE), (["/b"], APP)], ["/a", "/b"], "app"),
        ([(["/a"], ROOT), (["/b"], Container(user="0"))], [], None),
    ],
)
def test_the_build_checks_the_paths_of_all_stages_that_do_not_run_as_root(
    stages: list[tuple[list[str], Container]], paths: list[str], user: str | None
) -> None:
    services = [ServiceSettings(writable_paths=each, container=container) for each, container in stages]
    assert writable_paths(services) == {"writable_paths": paths, "container_user": user}
