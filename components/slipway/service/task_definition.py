"""The task definition of a service: everything except the image, which releases supply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from slipway import iam
from slipway._outputs import concat, filled
from slipway._secrets import plaintext_values, secret_statements
from slipway.iam import Scope, Statement, allow
from slipway.service.args import INSTEAD, ServiceArgs
from slipway.service.containers import port_mappings
from slipway.service.logging import FireLens, log_references
from slipway.service.routes import listening
from slipway.service.sidecars import dependencies, pull_statements, references
from slipway.service.volumes import EXEC_PATHS, writable

UNRELEASED = "unreleased"
"""The image tag in the template. The image does not exist and is never started."""
LONGEST = 63 * 1024
"""Maximum size of the container definitions in bytes. A task definition is limited to 64 KiB."""


@dataclass(frozen=True)
class TaskRoles:
    execution: aws.iam.Role
    """Role with which ECS starts a task."""
    policy: aws.iam.RolePolicy
    task: aws.iam.Role
    """Role with the application's permissions."""
    task_policy: aws.iam.RolePolicy | None

    @property
    def arns(self) -> list[pulumi.Output[str]]:
        return [self.execution.arn, self.task.arn]


def task_roles(
    name: str,
    args: ServiceArgs,
    logs: aws.cloudwatch.LogGroup,
    mounts: Sequence[Statement],
    scope: Scope,
    child: pulumi.ResourceOptions,
) -> TaskRoles:
    """The roles of all tasks. `mounts` has the statements for their file systems."""
    # ECS passes no cluster when it assumes a role for a task.
    # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html
    trusted = iam.trust("ecs-tasks.amazonaws.com", scope.only_for(scope.arn("ecs", "*")))
    execution, policy = iam.role(f"{name}-execution", trusted, execution_statements(args, logs, scope), child)
    task = aws.iam.Role(f"{name}-task-role", assume_role_policy=trusted, opts=child)
    statements = [*(permission.statement() for permission in args.permissions), *args.task_statements, *mounts]
    if args.ecs_exec:
        statements += exec_statements(logs)
    task_policy = None
    if statements:
        document = iam.document(*statements)
        task_policy = aws.iam.RolePolicy(f"{name}-task-policy", role=task.name, policy=document, opts=child)
    return TaskRoles(execution, policy, task, task_policy)


def template(
    name: str,
    args: ServiceArgs,
    roles: TaskRoles,
    containers: pulumi.Output[str],
    file_systems: Sequence[aws.ecs.TaskDefinitionVolumeArgs],
    child: pulumi.ResourceOptions,
) -> aws.ecs.TaskDefinition:
    """The task definition that each release copies, except for the image."""
    names = [*mounts(args)]
    for sidecar, each in args.sidecars.items():
        names += writable(each.writable_paths, sidecar)
    own_disk = [aws.ecs.TaskDefinitionVolumeArgs(name=volume) for volume in names]
    return aws.ecs.TaskDefinition(
        f"{name}-template",
        # A separate family: released revisions belong to the service's family.
        family=f"{name}-template",
        requires_compatibilities=[args.capacity.compatibility],
        network_mode="awsvpc",
        cpu=str(args.cpu),
        memory=str(args.memory),
        runtime_platform=aws.ecs.TaskDefinitionRuntimePlatformArgs(
            cpu_architecture=args.cpu_architecture, operating_system_family="LINUX"
        ),
        execution_role_arn=roles.execution.arn,
        task_role_arn=roles.task.arn,
        container_definitions=containers,
        ephemeral_storage=aws.ecs.TaskDefinitionEphemeralStorageArgs(size_in_gib=args.ephemeral_storage_gib)
        if args.ephemeral_storage_gib is not None
        else None,
        volumes=[*own_disk, *file_systems] or None,
        # Old revisions were used for releases, so they are kept.
        skip_destroy=True,
        # Each change creates a new revision, which `protect` on the component must not prevent.
        opts=child.merge(pulumi.ResourceOptions(protect=False)),
    )


def containers(*definitions: Mapping[str, Any]) -> pulumi.Output[str]:
    """Container definitions as JSON, which fails if they are too large for a task definition."""

    def fit(text: str) -> str:
        length = len(text.encode())
        if length > LONGEST:
            raise pulumi.RunError(
                f"environment and secrets must leave room in a task definition, which has 64 KiB: with them, its "
                f"containers take {length} bytes of {LONGEST}"
            )
        return text

    return pulumi.Output.json_dumps(list(definitions), sort_keys=True).apply(fit)


def execution_statements(args: ServiceArgs, logs: aws.cloudwatch.LogGroup, scope: Scope) -> list[Statement]:
    """Statements that ECS needs to start a task.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_execution_IAM_role.html
    """
    read = {**args.secrets, **references(args.sidecars), **log_references(args.logging)}
    secrets = secret_statements(read, args.secrets_kms_key_arns)
    files = read_files(args.environment_files)
    others = [each.image for each in args.sidecars.values()]
    if isinstance(args.logging, FireLens):
        others.append(args.logging.image)
    images = pull_statements(others, scope)
    return [*args.registry.pull_statements(), *images, iam.write_logs(logs.arn), *secrets, *files]


def read_files(files: Sequence[pulumi.Input[str]]) -> list[Statement]:
    """https://docs.aws.amazon.com/AmazonECS/latest/developerguide/use-environment-file.html"""
    if not files:
        return []
    buckets = filled(files, lambda arns: sorted({arn.partition("/")[0] for arn in arns}))
    return [allow("s3:GetObject", on=list(files)), allow("s3:GetBucketLocation", on=buckets)]


def exec_statements(logs: aws.cloudwatch.LogGroup) -> list[Statement]:
    """What the agent in the containers does with the task's role, when somebody runs a command in one of them.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html#ecs-exec-required-iam-permissions
    """
    return [
        # These actions support no resource.
        allow(
            "ssmmessages:CreateControlChannel",
            "ssmmessages:CreateDataChannel",
            "ssmmessages:OpenControlChannel",
            "ssmmessages:OpenDataChannel",
            on="*",
        ),
        # This one lists the groups of the account.
        allow("logs:DescribeLogGroups", on="*"),
        allow("logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents", on=concat(logs.arn, ":*")),
    ]


def mounts(args: ServiceArgs) -> dict[str, str]:
    """Volumes of the task's own disk, by name, with the paths at which the container has them."""
    return {**(EXEC_PATHS if args.ecs_exec else {}), **writable(args.writable_paths)}


def mount(volume: str, path: str, read_only: bool = False) -> dict[str, Any]:
    """https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_MountPoint.html"""
    return {"sourceVolume": volume, "containerPath": path, **({"readOnly": True} if read_only else {})}


def container(
    args: ServiceArgs,
    secrets: Mapping[str, pulumi.Input[str]],
    log: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The container definition, except for the image, which releases supply.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html
    """
    environment = plaintext_values("environment", args.environment, args.not_secret, INSTEAD)
    check = args.container_health_check
    files = [{"value": arn, "type": "s3"} for arn in args.environment_files]
    mounted = [mount(volume, path) for volume, path in mounts(args).items()]
    mounted += [mount(volume, each.path, each.read_only) for volume, each in args.volumes.items()]
    process = {"entryPoint": list(args.entrypoint), "command": list(args.command)}
    return {
        "name": args.container_name,
        "image": concat(args.registry.url, f":{UNRELEASED}"),
        "essential": True,
        **{key: words for key, words in process.items() if words},
        "portMappings": port_mappings(listening(args.routes, None, args.port)),
        "environment": [{"name": key, "value": value} for key, value in sorted(environment.items())],
        "secrets": [{"name": key, "valueFrom": arn} for key, arn in sorted(secrets.items())],
        **({"environmentFiles": files} if files else {}),
        **({"mountPoints": mounted} if mounted else {}),
        **({"healthCheck": check.definition()} if check else {}),
        **({"dependsOn": dependencies(args.depends_on)} if args.depends_on else {}),
        "readonlyRootFilesystem": args.read_only_root_filesystem,
        **args.container.definition(),
        "stopTimeout": args.stop_timeout_seconds,
        **({"logConfiguration": log} if log else {}),
    }


def awslogs(group: pulumi.Input[str], prefix: str, region: pulumi.Input[str]) -> dict[str, Any]:
    """The log configuration of a container whose log streams have names that begin with `prefix`.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/using_awslogs.html
    """
    options = {
        "awslogs-group": group,
        "awslogs-region": region,
        "awslogs-stream-prefix": prefix,
        # Logs that cannot be delivered must not block the application.
        "mode": "non-blocking",
    }
    return {"logDriver": "awslogs", "options": options}
