"""One example of every component, with what it needs around it under names that start with `given`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pulumi
import pulumi_aws as aws
from slipway import (
    ArtifactStore,
    Build,
    BuildArgs,
    CodeCommit,
    DeployStage,
    LoadBalancer,
    LoadBalancerArgs,
    Pipeline,
    PipelineArgs,
    Registry,
    RegistryArgs,
    ReleaseFunction,
    Service,
    ServiceArgs,
)
from slipway.release_function import ReleaseFunctionArgs

Opts = pulumi.ResourceOptions | None
SUBNETS = ["subnet-3", "subnet-4"]


def registry(name: str, opts: Opts = None, **told: Any) -> Registry:
    return Registry(name, RegistryArgs(**told), opts)


def build_args(name: str, **told: Any) -> BuildArgs:
    given: dict[str, Any] = {} if "registry" in told else {"registry": Registry(f"given-{name}")}
    return BuildArgs(**given, **told)


def build(name: str, opts: Opts = None, **told: Any) -> Build:
    return Build(name, build_args(name, **told), opts)


def load_balancer_args(**told: Any) -> LoadBalancerArgs:
    return LoadBalancerArgs(vpc_id="vpc-1", subnet_ids=["subnet-1", "subnet-2"], **told)


def load_balancer(name: str, opts: Opts = None, **told: Any) -> LoadBalancer:
    return LoadBalancer(name, load_balancer_args(**told), opts)


def service_args(name: str, **told: Any) -> ServiceArgs:
    return ServiceArgs(
        cluster=aws.ecs.Cluster(f"given-{name}", name=f"given-{name}"),
        registry=Registry(f"given-{name}"),
        load_balancer=load_balancer(f"given-{name}"),
        vpc_id="vpc-1",
        **{"subnet_ids": SUBNETS, **told},
    )


def service(name: str, opts: Opts = None, **told: Any) -> Service:
    return Service(name, service_args(name, **told), opts)


def release_function(name: str, opts: Opts = None, **told: Any) -> ReleaseFunction:
    args: dict[str, Any] = {
        "cluster": aws.ecs.Cluster(f"given-{name}", name=f"given-{name}"),
        "service": aws.ecs.Service(f"given-{name}", name=f"given-{name}"),
        "template": aws.ecs.TaskDefinition(
            f"given-{name}", family=f"given-{name}-template", container_definitions="[]"
        ),
        "scalable_target": None,
        "registry": Registry(f"given-{name}"),
        "environment_name": "dev",
        "family": f"given-{name}",
        "container_name": "app",
        "minimum_tasks": 2,
        "maximum_tasks": 2,
        "deadline_minutes": 10,
        "keep_verified": 5,
        "log_retention_days": 30,
        "role_arns": ["arn:aws:iam::123456789012:role/execution", "arn:aws:iam::123456789012:role/task"],
        "subnet_ids": SUBNETS,
        "security_group_id": "sg-1",
        "target_group_arn": "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/given/1",
        "port": 8080,
    }
    return ReleaseFunction(name, ReleaseFunctionArgs(**{**args, **told}), opts)


def pipeline_args(name: str, **told: Any) -> PipelineArgs:
    args: dict[str, Any] = {"source": CodeCommit(repository="storefront"), **told}
    if "build" not in args:
        args["build"] = build(f"given-{name}-build")
    if "stages" not in args:
        args["stages"] = [DeployStage(service=service(f"given-{name}-service", environment_name="dev"))]
    return PipelineArgs(**args)


def pipeline(name: str, opts: Opts = None, **told: Any) -> Pipeline:
    return Pipeline(name, pipeline_args(name, **told), opts)


EXAMPLES: dict[type[pulumi.ComponentResource], Callable[..., pulumi.ComponentResource]] = {
    ArtifactStore: ArtifactStore,
    Build: build,
    LoadBalancer: load_balancer,
    Pipeline: pipeline,
    Registry: registry,
    ReleaseFunction: release_function,
    Service: service,
}

CHECKED: dict[type[pulumi.ComponentResource], Callable[[str], Any]] = {
    Build: build_args,
    LoadBalancer: lambda name: load_balancer_args(),
    Pipeline: pipeline_args,
    Registry: lambda name: RegistryArgs(),
    Service: service_args,
}
"""What the components that check their name take beside it."""
