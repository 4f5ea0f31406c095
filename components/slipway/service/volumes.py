"""What a container can write to beside its read-only root file system: the task's own disk, and file systems in EFS."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import pulumi
import pulumi_aws as aws

from slipway._constraints import between, check, items, match
from slipway._outputs import concat
from slipway.iam import Scope, Statement, allow

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
# The others are ours: those of ECS Exec, and of writable paths.
VolumeName = Annotated[
    str,
    match(
        r"(?!exec-|path-)[a-z0-9]+(-[a-z0-9]+)*",
        "be a name of a-z 0-9 and single - between them that does not begin with exec- or path-,",
        "uploads",
        ["Uploads", "a_b", "-a", "a-", "a--b", "path-tmp", "exec-lib"],
        longest=40,
    ),
]
FileSystemId = Annotated[
    pulumi.Input[str],
    match(
        r"fs-[0-9a-f]{8,40}",
        "be the ID of a file system in EFS, such as fs-0123456789abcdef0",
        "fs-0123456789abcdef0",
        ["fs-1", "fs-0123456G", "fsap-0123456789abcdef0", "0123456789abcdef0"],
    ),
]
AccessPointId = Annotated[
    pulumi.Input[str],
    match(
        r"fsap-[0-9a-f]{8,40}",
        "be the ID of an access point, such as fsap-0123456789abcdef0",
        "fsap-0123456789abcdef0",
        ["fsap-1", "fsap-0123456G", "fs-0123456789abcdef0"],
    ),
]
SecurityGroupId = Annotated[
    pulumi.Input[str],
    match(
        r"sg-[0-9a-f]+",
        "be the ID of a security group, such as sg-0123456789abcdef0",
        "sg-0a",
        ["sg-", "sg-G", "0123456789abcdef0"],
    ),
]
PosixId = Annotated[int, between(1, 4_294_967_295)]
"""Not 0: EFS lets root do what nobody may, unless it is asked for otherwise.

https://docs.aws.amazon.com/efs/latest/ug/enforce-identity-access-points.html"""


@dataclass(frozen=True, kw_only=True)
class EfsDirectory:
    """A directory of a file system that a volume is limited to, by an access point that is made for it.

    https://docs.aws.amazon.com/efs/latest/ug/efs-access-points.html
    """

    path: Annotated[
        str,
        match(
            r"(/(?!\.)[A-Za-z0-9._-]+){1,4}",
            "be a path of one to four directories, such as /uploads,",
            "/uploads",
            ["/", "uploads", "/uploads/", "/a/b/c/d/e", "/.a", "/a b"],
            longest=100,
        ),
    ]
    """Path of the directory in the file system. If it does not exist, it is created with this owner and these
    permissions."""

    user_id: PosixId = 1000
    """Number of the user that all files are read and written as, whatever the user of the container is."""

    group_id: PosixId = 1000
    """Number of the group of that user."""

    permissions: Annotated[
        str,
        match(
            r"[0-7]{3,4}", "be three or four octal digits in quotes, such as '0755',", "0755", ["75", "0o755", "00755"]
        ),
    ] = "0755"
    """Permissions of the directory when it is created, in octal digits."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class EfsVolume:
    """A file system in EFS that all tasks mount, the migration and the jobs too: encrypted in transit, and with the
    rights of the service's own task role on one access point.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/efs-volumes.html
    """

    file_system_id: FileSystemId
    """ID of the file system, in the account and Region of the service. It needs a mount target in each Availability
    Zone of the tasks' subnets."""

    path: ContainerPath
    """Path at which the container has the volume."""

    read_only: bool = False
    """Mount the volume read-only, and let the tasks do no more."""

    directory: EfsDirectory | None = None
    """Directory of the file system, for which an access point is made. Either this or `access_point_id` is required."""

    access_point_id: AccessPointId | None = None
    """ID of an existing access point of the file system."""

    security_group_id: SecurityGroupId | None = None
    """Security group of the file system's mount targets, to which a rule is added that lets the tasks in. Without it,
    let them in yourself, on port 2049."""

    def __post_init__(self) -> None:
        check(self)

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        given = [name for name in ("directory", "access_point_id") if getattr(self, name) is not None]
        yield (
            len(given) != 1,
            f"directory or access_point_id is required, exactly one of them, got {', '.join(given) or 'none'}",
        )


@dataclass(frozen=True)
class FileSystems:
    """The volumes of a service in EFS."""

    volumes: Sequence[aws.ecs.TaskDefinitionVolumeArgs] = ()
    statements: Sequence[Statement] = ()
    """What the task role needs to mount them."""
    ready: list[pulumi.Resource] = field(default_factory=list)
    """What must exist before a task mounts them."""


# The agent of ECS Exec writes there, also beside a read-only root. They are mounted in any case: as the task definition
# changes, so do the running tasks, which enabling ECS Exec alone does not change.
EXEC_PATHS = {"exec-lib": "/var/lib/amazon", "exec-log": "/var/log/amazon"}
"""https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-exec.html"""


LONGEST = 180
"""Characters of a path in the name of a volume, which has at most 255, with the name of a container before it."""


def writable(paths: Sequence[str], container: str = "") -> dict[str, str]:
    """Volumes of the task's own disk by name, with the paths at which a container has them. The application's container
    has no name here.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/bind-mounts.html
    """
    return {f"{container}{'_' if container else ''}path{_as_name(path)}": path for path in paths}


def _as_name(path: str) -> str:
    """A path as part of a volume's name, which has only a-z A-Z 0-9 - _, so that no two paths have the same.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Volume.html
    """
    name = re.sub(r"[-._]", lambda found: f"_{ord(found[0]):x}", path).replace("/", "-")
    return name if len(name) <= LONGEST else f"{name[:LONGEST]}-{hashlib.sha256(path.encode()).hexdigest()[:16]}"


def file_systems(
    name: str,
    given: Mapping[str, EfsVolume],
    tasks: aws.ec2.SecurityGroup,
    scope: Scope,
    child: pulumi.ResourceOptions,
) -> FileSystems:
    """The volumes, with an access point for each directory, and a rule for each security group."""
    volumes, statements = [], []
    ready: list[pulumi.Resource] = []
    for volume, each in given.items():
        point: pulumi.Input[str] = each.access_point_id or ""
        point_arn = scope.arn("elasticfilesystem", concat("access-point/", point))
        if each.directory is not None:
            made = access_point(f"{name}-{volume}", each, each.directory, child)
            point, point_arn = made.id, made.arn
            ready.append(made)
        statements.append(mount_statement(each, point_arn, scope))
        volumes.append(
            aws.ecs.TaskDefinitionVolumeArgs(
                name=volume,
                efs_volume_configuration=aws.ecs.TaskDefinitionVolumeEfsVolumeConfigurationArgs(
                    file_system_id=each.file_system_id,
                    transit_encryption="ENABLED",
                    authorization_config=aws.ecs.TaskDefinitionVolumeEfsVolumeConfigurationAuthorizationConfigArgs(
                        access_point_id=point, iam="ENABLED"
                    ),
                ),
            )
        )
    groups: dict[Any, tuple[str, pulumi.Input[str]]] = {}
    for volume, each in given.items():
        if each.security_group_id is not None:
            key = each.security_group_id if isinstance(each.security_group_id, str) else id(each.security_group_id)
            groups.setdefault(key, (volume, each.security_group_id))
    ready += [let_in(f"{name}-{volume}", group, tasks, child) for volume, group in groups.values()]
    return FileSystems(volumes, statements, ready)


def access_point(
    name: str, volume: EfsVolume, directory: EfsDirectory, child: pulumi.ResourceOptions
) -> aws.efs.AccessPoint:
    """https://docs.aws.amazon.com/efs/latest/ug/API_CreateAccessPoint.html"""
    return aws.efs.AccessPoint(
        name,
        file_system_id=volume.file_system_id,
        posix_user=aws.efs.AccessPointPosixUserArgs(uid=directory.user_id, gid=directory.group_id),
        root_directory=aws.efs.AccessPointRootDirectoryArgs(
            path=directory.path,
            creation_info=aws.efs.AccessPointRootDirectoryCreationInfoArgs(
                owner_uid=directory.user_id, owner_gid=directory.group_id, permissions=directory.permissions
            ),
        ),
        opts=child,
    )


def mount_statement(volume: EfsVolume, point_arn: pulumi.Input[str], scope: Scope) -> Statement:
    """https://docs.aws.amazon.com/efs/latest/ug/access-points-iam-policy.html"""
    write = [] if volume.read_only else ["elasticfilesystem:ClientWrite"]
    return allow(
        "elasticfilesystem:ClientMount",
        *write,
        on=scope.arn("elasticfilesystem", concat("file-system/", volume.file_system_id)),
        # Only through this access point.
        when={"StringEquals": {"elasticfilesystem:AccessPointArn": point_arn}},
    )


def let_in(
    name: str, group: pulumi.Input[str], tasks: aws.ec2.SecurityGroup, child: pulumi.ResourceOptions
) -> aws.vpc.SecurityGroupIngressRule:
    """https://docs.aws.amazon.com/efs/latest/ug/network-access.html"""
    return aws.vpc.SecurityGroupIngressRule(
        f"{name}-mount",
        security_group_id=group,
        referenced_security_group_id=tasks.id,
        ip_protocol="tcp",
        from_port=2049,
        to_port=2049,
        description=f"Tasks that mount {name}",
        opts=child,
    )
