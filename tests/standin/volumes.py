"""Volumes of tasks in ECS: what RegisterTaskDefinition refuses, and why a task cannot mount a file system in EFS.

A file system that Pulumi did not create exists, with mount targets that let every task in. EFS is efs/latest/ug, and
other pages are named as in ecs.py.
"""

from standin.api import ACCOUNT, REGION, AwsError, Params
from standin.iam import Iam
from standin.provider import Aws

EFS = f"arn:aws:elasticfilesystem:{REGION}:{ACCOUNT}:"
POINT = "aws:efs/accessPoint:AccessPoint"


def described(volume: Params) -> Params:
    """A volume of the provider's resource, as DescribeTaskDefinition returns it.

    API API_EFSVolumeConfiguration: without a root directory, it is the root.
    """
    if system := volume.get("efsVolumeConfiguration"):
        return {"name": volume["name"], "efsVolumeConfiguration": {"rootDirectory": "/", **system}}
    return {"name": volume["name"], "host": {}}  # one on the task's own disk, on Fargate


def check_volumes(definition: Params) -> None:
    """API API_MountPoint, API_EFSVolumeConfiguration, API_EFSAuthorizationConfig. UNCONFIRMED: the messages, except the
    first, which is as people quote it."""
    names = [volume["name"] for volume in definition.get("volumes", [])]
    if len({*names}) < len(names):
        raise AwsError("ClientException", f"Duplicate volume names: {names}")
    for container in definition["containerDefinitions"]:
        points = container.get("mountPoints", [])
        if unknown := [each["sourceVolume"] for each in points if each["sourceVolume"] not in names]:
            raise AwsError("ClientException", f"Unknown volume '{unknown[0]}'.")
        if len({each["containerPath"] for each in points}) < len(points):
            raise AwsError("ClientException", f"Duplicate mount points in {container['name']}")
    for volume in definition.get("volumes", []):
        system = volume.get("efsVolumeConfiguration", {})
        given = system.get("authorizationConfig", {})
        if given.get("accessPointId") and system.get("rootDirectory", "/") != "/":
            raise AwsError("ClientException", "rootDirectory must be omitted or / with an access point")
        needs = given.get("accessPointId") or given.get("iam") == "ENABLED"
        if needs and system.get("transitEncryption") != "ENABLED":
            raise AwsError("ClientException", "transitEncryption must be ENABLED with IAM or an access point")


class Volumes:
    def __init__(self, aws: Aws, iam: Iam) -> None:
        self._aws, self._iam = aws, iam
        self.unreachable: set[str] = set()
        """Ids of file systems whose mount targets the tasks cannot reach."""

    def why_not_mounted(self, definition: Params) -> str:
        """EFS troubleshooting-efs-mounting, iam-access-control-nfs-efs; the messages are as people quote them:
        compose-cli 1490, amazon-ecs-cli 1083."""
        for volume in definition.get("volumes", []):
            system = volume.get("efsVolumeConfiguration")
            if system and (why := self._why(system, definition["taskRoleArn"])):
                return f"failed to invoke EFS utils commands to set up EFS volumes: stderr: {why}"
        return ""

    def _why(self, system: Params, role: str) -> str:
        id, point = system["fileSystemId"], system["authorizationConfig"]["accessPointId"]
        if id in self.unreachable:
            return f'Failed to resolve "{id}.efs.{REGION}.amazonaws.com" - check that your file system ID is correct'
        made = [each for each in list(self._aws.resources.values()) if each.type == POINT and each.id == point]
        denied = "mount.nfs4: access denied by server while mounting 127.0.0.1:/"
        if made and made[0].inputs["fileSystemId"] != id:
            return denied
        context = {"elasticfilesystem:AccessPointArn": f"{EFS}access-point/{point}"}
        try:
            self._iam.check(role, "task", "elasticfilesystem:ClientMount", f"{EFS}file-system/{id}", context)
        except AwsError:
            return denied
        return ""
