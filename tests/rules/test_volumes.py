"""The rules of the stand-in for volumes of tasks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from standin.iam import Iam
from standin.provider import Aws, Resource
from standin.tools import registry
from standin.volumes import EFS, POINT, Volumes

from .test_ecs import StandIn

SYSTEM, ID = "fs-0123456789abcdef0", "fsap-0123456789abcdef0"
ROLE = "arn:aws:iam::123456789012:role/task"
SECURE = {"fileSystemId": SYSTEM, "transitEncryption": "ENABLED"}
GIVEN = {"accessPointId": ID, "iam": "ENABLED"}


@pytest.fixture(scope="module")
def aws() -> Iterator[StandIn]:
    with registry() as address:
        made = StandIn(address)
        with made.api:
            made.open()
            yield made


def define(aws: StandIn, system: dict[str, Any] | None, *paths: str, volume: str = "data") -> str:
    """https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Volume.html"""
    answer = aws.ecs.register_task_definition(
        family="volumes",
        volumes=[{"name": "data", **({"efsVolumeConfiguration": system} if system else {})}],
        containerDefinitions=[
            {
                "name": "app",
                "image": "x",
                "mountPoints": [{"sourceVolume": volume, "containerPath": path} for path in paths],
            }
        ],
    )
    return str(answer["taskDefinition"]["taskDefinitionArn"])


@pytest.mark.parametrize(
    ("system", "paths", "volume", "message"),
    [
        (None, ["/a"], "other", "Unknown volume 'other'."),
        (None, ["/a", "/a"], "data", "Duplicate mount points in app"),
        ({**SECURE, "transitEncryption": "DISABLED", "authorizationConfig": GIVEN}, [], "data", "transitEncryption"),
        ({"fileSystemId": SYSTEM, "authorizationConfig": {"iam": "ENABLED"}}, [], "data", "transitEncryption"),
        ({**SECURE, "rootDirectory": "/a", "authorizationConfig": GIVEN}, [], "data", "rootDirectory"),
    ],
)
def test_a_task_definition_whose_volumes_cannot_work_is_refused(
    aws: StandIn, system: dict[str, Any] | None, paths: list[str], volume: str, message: str
) -> None:
    with pytest.raises(ClientError, match=message):
        define(aws, system, *paths, volume=volume)


def test_volumes_that_can_work_are_accepted(aws: StandIn) -> None:
    assert define(aws, None, "/a", "/b")
    assert define(aws, {**SECURE, "rootDirectory": "/", "authorizationConfig": GIVEN}, "/a")
    assert define(aws, {"fileSystemId": SYSTEM, "rootDirectory": "/a"}, "/a")


def test_a_role_mounts_a_file_system_through_the_access_point_that_its_policy_names() -> None:
    """https://docs.aws.amazon.com/efs/latest/ug/access-points-iam-policy.html"""
    account = Aws()
    volumes = Volumes(account, Iam(account))
    only = {"StringEquals": {"elasticfilesystem:AccessPointArn": f"{EFS}access-point/{ID}"}}
    statement = {
        "Effect": "Allow",
        "Action": ["elasticfilesystem:ClientMount"],
        "Resource": f"{EFS}file-system/{SYSTEM}",
        "Condition": only,
    }
    policy = {"role": "task", "policy": json.dumps({"Statement": [statement]})}
    made = {
        "role": Resource("role", "aws:iam/role:Role", "task", {"name": "task"}, {"arn": ROLE}),
        "policy": Resource("policy", "aws:iam/rolePolicy:RolePolicy", "task:p", policy, {}),
    }
    account.resources.update(made)

    def why(system: str, point: str) -> str:
        given = {"fileSystemId": system, "authorizationConfig": {"accessPointId": point, "iam": "ENABLED"}}
        found = [{"name": "own-disk"}, {"name": "data", "efsVolumeConfiguration": given}]
        return volumes.why_not_mounted({"volumes": found, "taskRoleArn": ROLE})

    denied = (
        "failed to invoke EFS utils commands to set up EFS volumes: stderr: mount.nfs4: access denied by server while "
        "mounting 127.0.0.1:/"
    )
    other = ID.replace("0", "1")
    assert [why(SYSTEM, ID), why(SYSTEM, other), why(SYSTEM.replace("0", "1"), ID)] == ["", denied, denied]

    # An access point of another file system.
    account.resources["point"] = Resource("point", POINT, ID, {"fileSystemId": "fs-0fffffff"}, {})
    assert why(SYSTEM, ID) == denied


def test_a_task_that_cannot_mount_a_volume_does_not_start(aws: StandIn) -> None:
    """https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html"""
    definition = define(aws, {**SECURE, "authorizationConfig": GIVEN}, "/a")
    aws.engine.why_not_mounted = lambda definition: "no" if definition["family"] == "volumes" else ""
    try:
        [task] = aws.ecs.run_task(cluster="main", taskDefinition=definition)["tasks"]
        aws.clock.sleep(60)
        [shown] = aws.ecs.describe_tasks(cluster="main", tasks=[task["taskArn"]])["tasks"]
    finally:
        aws.engine.why_not_mounted = lambda definition: ""
    assert (shown["lastStatus"], shown["stopCode"]) == ("STOPPED", "TaskFailedToStart")
    assert shown["stoppedReason"] == "ResourceInitializationError: no"
