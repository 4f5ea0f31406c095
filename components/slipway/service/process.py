"""One process of a service: an ECS service of its own, with everything that only it needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from slipway.iam import Scope
from slipway.release.component import ReleasedProcess, ReleasedTask
from slipway.service.args import ServiceArgs, connect_target, port_mappings, task_settings
from slipway.service.deployment import HookRole, Parts, ecs_service, rebalancing
from slipway.service.logging import log_configuration, router
from slipway.service.processes import Job, Migration
from slipway.service.scaling import scale
from slipway.service.sidecars import definition
from slipway.service.task_definition import TaskRoles, awslogs, container, containers, template
from slipway.service.traffic import attach, error_alarms, load_balancers, watched
from slipway.service.volumes import FileSystems
from slipway.strategies import BlueGreen


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What the processes and tasks of a service share."""

    roles: TaskRoles
    logs: aws.cloudwatch.LogGroup
    tasks: aws.ec2.SecurityGroup
    systems: FileSystems
    secrets: Mapping[str, pulumi.Input[str]]
    """Those of all containers, by field."""
    hooks: HookRole | None
    scope: Scope
    namespace_arn: pulumi.Input[str] | None
    """The namespace of Service Connect."""

    def template(
        self, name: str, args: ServiceArgs, log_prefix: str, child: pulumi.ResourceOptions
    ) -> aws.ecs.TaskDefinition:
        log = log_configuration(args.logging, self.secrets, self._log(log_prefix))
        own = container(args, self._secrets("", args.secrets), log)
        others = [
            definition(
                sidecar,
                each,
                self._secrets(f"sidecars[{sidecar!r}].", each.secrets),
                args.not_secret,
                # In each process, its log streams begin with another name than the application's.
                self._log(sidecar if log_prefix == args.container_name else log_prefix),
                port_mappings(args, sidecar, each.port),
            )
            for sidecar, each in args.sidecars.items()
        ] + router(args.logging, self._log(log_prefix))
        return template(name, args, self.roles, containers(own, *others), self.systems.volumes, child)

    def connect(self, name: str, args: ServiceArgs) -> dict[str, Any] | None:
        """The Service Connect configuration of a process."""
        if args.service_connect is None or self.namespace_arn is None:
            return None
        _, port = connect_target(args)
        return args.service_connect.configuration(name, port, self.namespace_arn, self._log("service-connect"))

    def _secrets(self, container: str, names: Iterable[str]) -> dict[str, pulumi.Input[str]]:
        return {name: self.secrets[f"{container}secrets[{name!r}]"] for name in names}

    def _log(self, prefix: str) -> dict[str, Any]:
        return awslogs(self.logs.name, prefix, self.scope.region)


@dataclass(frozen=True, kw_only=True)
class ProcessResources:
    """The parts of a process, and the process as it is released."""

    parts: Parts
    released: ReleasedProcess


def make(
    name: str, args: ServiceArgs, log_prefix: str, shared: Shared, child: pulumi.ResourceOptions
) -> ProcessResources:
    """The ECS service `name`, with the settings of the process."""
    traffic, alarms = None, []
    if args.load_balancer is not None:
        traffic = attach(name, args, args.load_balancer, child)
        alarms = error_alarms(name, args, args.load_balancer, traffic, child)
    parts = Parts(
        roles=shared.roles,
        template=shared.template(name, args, log_prefix, child),
        tasks=shared.tasks,
        traffic=traffic,
        alarms=watched(args, alarms, shared.scope),
        hooks=shared.hooks if isinstance(args.strategy, BlueGreen) else None,
        systems=shared.systems,
        connect=shared.connect(name, args),
    )
    service = ecs_service(name, args, parts, child)
    groups = [group for port in traffic.ports for group in port.target_groups] if traffic else []
    target = scale(name, args.tasks, args.cluster.name, service.name, args.load_balancer, groups, child)
    deployment = parts.deployment(args)
    released = ReleasedProcess(
        service=service,
        family=name,
        template=parts.template,
        scalable_target=target,
        minimum_tasks=args.tasks.min,
        maximum_tasks=args.tasks.most,
        strategy=args.strategy,
        deployment=deployment,
        availability_zone_rebalancing=rebalancing(deployment),
        service_role_arns=parts.service_role_arns,
        load_balancers=load_balancers(args, traffic),
        target_group_arns=traffic.target_group_arns if traffic else [],
        alarm_arns=parts.alarms.arns if deployment else [],
        alarm_minutes=parts.alarms.minutes,
        capacity=args.capacity.strategy,
        service_connect=parts.connect or {},
    )
    return ProcessResources(parts=parts, released=released)


def task(
    name: str,
    args: ServiceArgs,
    given: Migration | Job,
    log_prefix: str,
    shared: Shared,
    child: pulumi.ResourceOptions,
) -> ReleasedTask:
    """The task definition template of a migration or a job."""
    settings = task_settings(args, given)
    return ReleasedTask(
        family=name,
        template=shared.template(name, settings, log_prefix, child),
        timeout_minutes=given.timeout_minutes,
        capacity=settings.capacity.strategy,
    )
