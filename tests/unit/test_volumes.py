"""What the containers of a task mount."""

from __future__ import annotations

from typing import Any

import pulumi
import pytest
from slipway import Container, EfsDirectory, EfsVolume, Job, Migration, Process, testing
from slipway.config.components import writable_paths
from slipway.service.args import ServiceSettings
from slipway.service.volumes import writable
from unit.examples import service
from unit.harness import Resource, deploy, granted, named, of_type, only, rights, sg

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


def test_volumes_with_one_security_group_have_one_rule_also_if_it_is_an_output() -> None:
    def program() -> None:
        group = pulumi.Output.from_input("sg-0a")
        systems = {
            name: EfsVolume(
                file_system_id=f"fs-0123456789abcdef{name}",
                path=f"/{name}",
                access_point_id=f"fsap-0123456789abcdef{name}",
                security_group_id=group,
            )
            for name in ("0", "1")
        }
        service("api", volumes={f"v{name}": each for name, each in systems.items()}, writable_paths=["/tmp"])

    rules = of_type(deploy(program), "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule")
    assert len([each for each in rules if each.inputs["fromPort"] == 2049]) == 1


def test_no_two_paths_have_the_same_volume() -> None:
    paths = ["/a-b", "/a/b", "/a_b", "/a.b", "/a_2db", "/a-/b", "/a/-b"]
    assert len(writable(paths)) == len(paths)
    long = ["/" + "a.b-" * 49, "/" + "a.b-" * 49 + "c"]
    assert len(writable(long)) == 2
    assert max(map(len, writable(long, "a" * 40))) <= 255
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


SYSTEM = "fs-0123456789abcdef0"
POINT = "fsap-0123456789abcdef0"
UPLOADS = testing.id_of("aws:efs/accessPoint:AccessPoint", "api-uploads", {})
EFS = "arn:aws:elasticfilesystem:eu-west-1:123456789012"


def volume(**args: Any) -> EfsVolume:
    given = {"file_system_id": SYSTEM, "path": "/data", **args}
    return EfsVolume(**given if "access_point_id" in args else {"directory": EfsDirectory(path="/uploads"), **given})


def test_a_file_system_is_mounted_in_every_task_encrypted_and_with_the_task_role() -> None:
    resources = made(volumes={"uploads": volume(access_point_id=POINT, read_only=True)}, **TASKS)
    for template in TEMPLATES:
        assert named(resources, template, "TaskDefinition").inputs["volumes"] == [
            {
                "name": "uploads",
                "efsVolumeConfiguration": {
                    "fileSystemId": SYSTEM,
                    "transitEncryption": "ENABLED",
                    "authorizationConfig": {"accessPointId": POINT, "iam": "ENABLED"},
                },
            }
        ]
        assert container(resources, template)["mountPoints"] == [
            {"sourceVolume": "uploads", "containerPath": "/data", "readOnly": True}
        ]
    assert [each for each in resources if "AccessPoint" in each.type or each.name.endswith("-mount")] == []


def test_a_directory_gets_an_access_point_with_its_owner() -> None:
    directory = EfsDirectory(path="/uploads", user_id=33, group_id=44, permissions="0750")
    resources = made(volumes={"uploads": volume(directory=directory)})
    point = only(resources, "aws:efs/accessPoint:AccessPoint")
    assert (point.name, point.parent) == ("api-uploads", "slipway:index:Service")
    assert point.inputs == {
        "fileSystemId": SYSTEM,
        "posixUser": {"uid": 33, "gid": 44},
        "rootDirectory": {
            "path": "/uploads",
            "creationInfo": {"ownerUid": 33, "ownerGid": 44, "permissions": "0750"},
        },
    }
    [mounted] = named(resources, "api-template", "TaskDefinition").inputs["volumes"]
    assert mounted["efsVolumeConfiguration"]["authorizationConfig"]["accessPointId"] == UPLOADS
    assert container(resources)["mountPoints"] == [{"sourceVolume": "uploads", "containerPath": "/data"}]


@pytest.mark.parametrize(("read_only", "write"), [(True, []), (False, ["elasticfilesystem:ClientWrite"])])
def test_the_task_role_may_use_the_access_point_of_a_volume_and_nothing_else(read_only: bool, write: list[str]) -> None:
    resources = made(volumes={"uploads": volume(access_point_id=POINT, read_only=read_only)})
    assert rights(resources, "api-task-policy") == granted(
        [
            {
                "Effect": "Allow",
                "Action": ["elasticfilesystem:ClientMount", *write],
                "Resource": f"{EFS}:file-system/{SYSTEM}",
                "Condition": {"StringEquals": {"elasticfilesystem:AccessPointArn": f"{EFS}:access-point/{POINT}"}},
            }
        ]
    )
    assert rights(resources, "api-execution-policy") == rights(made(), "api-execution-policy")


def test_the_tasks_are_let_in_to_a_security_group_of_mount_targets_once() -> None:
    volumes = {
        "a": volume(security_group_id="sg-0a"),
        "b": volume(path="/b", security_group_id="".join(["sg-", "0a"])),  # equal, but another object
        "c": volume(path="/c", security_group_id="sg-0c"),
        "d": volume(path="/d"),
    }
    resources = made(volumes=volumes)
    rules = {each.name: each.inputs for each in resources if each.name.endswith("-mount")}
    assert {named(resources, name).parent for name in rules} == {"slipway:index:Service"}
    assert {name: rule["securityGroupId"] for name, rule in rules.items()} == {
        "api-a-mount": "sg-0a",
        "api-c-mount": "sg-0c",
    }
    assert rules["api-a-mount"] == {
        "securityGroupId": "sg-0a",
        "referencedSecurityGroupId": sg("api-tasks"),
        "ipProtocol": "tcp",
        "fromPort": 2049,
        "toPort": 2049,
        "description": "Tasks that mount api-a",
    }


def test_a_service_waits_for_what_its_tasks_need_to_mount_a_file_system() -> None:
    plain, mounted = (
        {n: named(made(**args), n, "ecs/service:Service").depends_on for n in ("api", "api-worker")}
        for args in (TASKS, {**TASKS, "volumes": {"uploads": volume(security_group_id="sg-0a")}})
    )
    needed = {"api-uploads", "api-uploads-mount", "api-task-policy"}
    assert {name: mounted[name] - plain[name] for name in plain} == {"api": needed, "api-worker": needed}


def test_a_volume_has_a_directory_or_an_access_point() -> None:
    rule = "directory or access_point_id is required, exactly one of them, got "
    with pytest.raises(ValueError) as error:
        EfsVolume(file_system_id=SYSTEM, path="/data")
    assert str(error.value) == f"{rule}none"
    with pytest.raises(ValueError) as error:
        volume(directory=EfsDirectory(path="/a"), access_point_id=POINT)
    assert str(error.value) == f"{rule}directory, access_point_id"


def test_two_volumes_have_different_paths() -> None:
    with pytest.raises(ValueError, match=r"^volumes\['b'\]\.path must not be /data, which volumes\['a'\] mounts$"):
        ServiceSettings(volumes={"a": volume(), "b": volume()})
    with pytest.raises(ValueError, match=r"^volumes\['a'\]\.path must not be /data, which writable_paths mounts$"):
        ServiceSettings(writable_paths=["/data"], volumes={"a": volume()})


def test_a_directory_is_checked_where_it_is_written() -> None:
    with pytest.raises(ValueError, match=r"^path must be a path of one to four directories"):
        EfsDirectory(path="uploads")
