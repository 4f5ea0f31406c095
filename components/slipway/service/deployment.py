"""Deployment configuration of an ECS service: the document of the ECS API, and the part of it that Pulumi sends when it
creates the service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from slipway import iam
from slipway.iam import allow
from slipway.service.args import ServiceArgs
from slipway.service.capacity import Capacity
from slipway.service.connect import as_the_provider_takes_it
from slipway.service.task_definition import TaskRoles
from slipway.service.traffic import Alarms, TrafficRouting, load_balancers
from slipway.service.volumes import FileSystems
from slipway.strategies import BlueGreen, CodeDeployBlueGreen, Hook, Rolling, Strategy

IGNORED_BY_PULUMI = (
    # A change of these two would even replace the service.
    "launch_type",
    "capacity_provider_strategies",
    "task_definition",
    "desired_count",
    "network_configuration",
    "load_balancers",
    "service_connect_configuration",
    "deployment_configuration",
    "deployment_circuit_breaker",
    "deployment_minimum_healthy_percent",
    "deployment_maximum_percent",
    "alarms",
    "availability_zone_rebalancing",
)
"""Properties that only the release function changes, in one call. A deployment started by Pulumi would combine the new
network or port with the old revision, or a strategy with missing target groups."""


@dataclass(frozen=True)
class HookRole:
    role: aws.iam.Role
    policy: aws.iam.RolePolicy


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Resources that a service needs in addition to its arguments."""

    roles: TaskRoles
    template: aws.ecs.TaskDefinition
    tasks: aws.ec2.SecurityGroup
    traffic: TrafficRouting | None
    alarms: Alarms
    hooks: HookRole | None
    systems: FileSystems
    connect: Mapping[str, Any] | None
    """`serviceConnectConfiguration` in the ECS API."""

    @property
    def needed(self) -> list[pulumi.Resource]:
        """Resources that must exist before the service, and be deleted after it."""
        hooks = [self.hooks.policy] if self.hooks else []
        return [self.roles.policy, *(self.traffic.ready if self.traffic else []), *hooks, *self.systems.ready]

    @property
    def service_role_arns(self) -> list[pulumi.Output[str]]:
        """Roles that the service itself passes to ECS, to shift traffic and to invoke hooks."""
        shifting = self.traffic.infrastructure if self.traffic else None
        return [*([shifting.arn] if shifting else []), *([self.hooks.role.arn] if self.hooks else [])]

    def deployment(self, args: ServiceArgs) -> dict[str, Any]:
        """`deploymentConfiguration` in the ECS API."""
        return deployment_configuration(args.strategy, self.alarms.names, self.hooks)


def ecs_service(name: str, args: ServiceArgs, parts: Parts, child: pulumi.ResourceOptions) -> aws.ecs.Service:
    """The service, without tasks."""
    by_codedeploy = isinstance(args.strategy, CodeDeployBlueGreen)
    return aws.ecs.Service(
        name,
        name=name,
        cluster=args.cluster.arn,
        task_definition=parts.template.arn,
        **capacity(args.capacity),
        # No image is released yet, so no task can start. The first release sets the count.
        desired_count=0,
        deployment_controller=aws.ecs.ServiceDeploymentControllerArgs(type="CODE_DEPLOY" if by_codedeploy else "ECS"),
        **first_deployment(parts.deployment(args)),
        health_check_grace_period_seconds=args.health_check_grace_seconds if parts.traffic else None,
        network_configuration=aws.ecs.ServiceNetworkConfigurationArgs(
            subnets=args.subnet_ids, security_groups=[parts.tasks.id], assign_public_ip=args.assign_public_ip
        ),
        load_balancers=[load_balancer(balancer) for balancer in load_balancers(args, parts.traffic)],
        service_connect_configuration=as_the_provider_takes_it(parts.connect) if parts.connect else None,
        enable_ecs_managed_tags=True,
        enable_execute_command=args.ecs_exec or None,
        propagate_tags="SERVICE",
        opts=child.merge(
            pulumi.ResourceOptions(
                ignore_changes=list(IGNORED_BY_PULUMI),
                depends_on=parts.needed,
            )
        ),
    )


def capacity(given: Capacity) -> dict[str, Any]:
    """What the tasks run on, as the provider takes it."""
    if not given.strategy:
        return {"launch_type": "FARGATE"}
    return {
        "capacity_provider_strategies": [
            aws.ecs.ServiceCapacityProviderStrategyArgs(
                capacity_provider=each["capacityProvider"], weight=each["weight"], base=each["base"]
            )
            for each in given.strategy
        ]
    }


def deployment_configuration(
    strategy: Strategy, alarm_names: Sequence[pulumi.Input[str]], hooks: HookRole | None
) -> dict[str, Any]:
    """`deploymentConfiguration` in the ECS API; empty if CodeDeploy deploys.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentConfiguration.html
    """
    if isinstance(strategy, CodeDeployBlueGreen):
        return {}
    # AWS documents that the circuit breaker supports only these two. For the others, the release function stops the
    # deployment.
    # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-failure-detection.html
    breaker = type(strategy) in (Rolling, BlueGreen)
    result: dict[str, Any] = {
        **strategy.configuration(),
        "deploymentCircuitBreaker": {"enable": breaker, "rollback": breaker},
        "alarms": {"alarmNames": list(alarm_names), "enable": bool(alarm_names), "rollback": bool(alarm_names)},
    }
    # Also for rolling: otherwise hooks of the previous strategy would remain, which ECS refuses with rolling.
    result["lifecycleHooks"] = (
        [lifecycle_hook(hook, hooks) for hook in strategy.hooks] if isinstance(strategy, BlueGreen) else []
    )
    return result


def lifecycle_hook(hook: Hook, invoker: HookRole | None) -> dict[str, Any]:
    """https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentLifecycleHook.html"""
    timeout = {"timeoutInMinutes": hook.timeout_minutes, "action": hook.on_timeout}
    settings = {"lifecycleStages": list(hook.stages), "timeoutConfiguration": timeout}
    if hook.function_arn is None or invoker is None:
        return {"targetType": "PAUSE", **settings}
    return {"targetType": "AWS_LAMBDA", "hookTargetArn": hook.function_arn, "roleArn": invoker.role.arn, **settings}


def hook_functions(strategy: Strategy) -> dict[str, pulumi.Input[str]]:
    """The functions of hooks, by field."""
    hooks = strategy.hooks if isinstance(strategy, BlueGreen) else ()
    return {
        f"strategy.hooks[{number}].function_arn": hook.function_arn
        for number, hook in enumerate(hooks)
        if hook.function_arn is not None
    }


def hook_role(name: str, functions: Sequence[pulumi.Input[str]], child: pulumi.ResourceOptions) -> HookRole | None:
    """The role with which ECS invokes the functions of hooks.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/blue-green-permissions.html
    """
    if not functions:
        return None
    # AWS documents no condition keys for this role.
    invoke = [allow("lambda:InvokeFunction", on=pulumi.Output.all(*functions).apply(lambda arns: sorted(set(arns))))]
    return HookRole(*iam.role(f"{name}-hooks", iam.trust("ecs.amazonaws.com"), invoke, child))


def first_deployment(deployment: Mapping[str, Any]) -> dict[str, Any]:
    """How a service is created: with its strategy, but without bake times and hooks, since there is nothing to wait for
    yet.

    The release function sets the complete configuration before it deploys the first image.
    """
    if not deployment:
        return {"availability_zone_rebalancing": rebalancing(deployment)}
    strategy, breaker = deployment["strategy"], deployment["deploymentCircuitBreaker"]
    return {
        "deployment_configuration": aws.ecs.ServiceDeploymentConfigurationArgs(
            strategy=strategy,
            bake_time_in_minutes=None if strategy == "ROLLING" else "0",
            canary_configuration=aws.ecs.ServiceDeploymentConfigurationCanaryConfigurationArgs(
                canary_percent=deployment["canaryConfiguration"]["canaryPercent"], canary_bake_time_in_minutes="0"
            )
            if strategy == "CANARY"
            else None,
            linear_configuration=aws.ecs.ServiceDeploymentConfigurationLinearConfigurationArgs(
                step_percent=deployment["linearConfiguration"]["stepPercent"], step_bake_time_in_minutes="0"
            )
            if strategy == "LINEAR"
            else None,
        ),
        "deployment_circuit_breaker": aws.ecs.ServiceDeploymentCircuitBreakerArgs(**breaker),
        "deployment_minimum_healthy_percent": deployment["minimumHealthyPercent"],
        "deployment_maximum_percent": deployment["maximumPercent"],
        "availability_zone_rebalancing": rebalancing(deployment),
    }


def rebalancing(deployment: Mapping[str, Any]) -> str:
    """AWS does not allow rebalancing if no more than the desired count may run."""
    return "ENABLED" if deployment.get("maximumPercent", 100) > 100 else "DISABLED"


def load_balancer(balancer: Mapping[str, Any]) -> aws.ecs.ServiceLoadBalancerArgs:
    """A load balancer of the ECS API in the provider's format."""
    advanced = balancer.get("advancedConfiguration")
    return aws.ecs.ServiceLoadBalancerArgs(
        target_group_arn=balancer["targetGroupArn"],
        container_name=balancer["containerName"],
        container_port=balancer["containerPort"],
        advanced_configuration=aws.ecs.ServiceLoadBalancerAdvancedConfigurationArgs(
            alternate_target_group_arn=advanced["alternateTargetGroupArn"],
            production_listener_rule=advanced["productionListenerRule"],
            test_listener_rule=advanced.get("testListenerRule"),
            role_arn=advanced["roleArn"],
        )
        if advanced
        else None,
    )
