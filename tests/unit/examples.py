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


def build(name: str, opts: Opts = None, **told: Any) -> Build:
    given: dict[str, Any] = {"registry": Registry(f"given-{name}")} if "registry" not in told else {}
    return Build(name, BuildArgs(**given, **told), opts)


def load_balancer(name: str, opts: Opts = None, **told: Any) -> LoadBalancer:
    return LoadBalancer(name, LoadBalancerArgs(vpc_id="vpc-1", subnet_ids=["subnet-1", "subnet-2"], **told), opts)


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
        "service_settings": {"subnets": SUBNETS},
    }
    return ReleaseFunction(name, ReleaseFunctionArgs(**{**args, **told}), opts)


def pipeline(name: str, opts: Opts = None, **told: Any) -> Pipeline:
    args: dict[str, Any] = {"source": CodeCommit(repository="storefront"), **told}
    if "build" not in args:
        args["build"] = build(f"given-{name}-build")
    if "stages" not in args:
        args["stages"] = [DeployStage(service=service(f"given-{name}-service", environment_name="dev"))]
    return Pipeline(name, PipelineArgs(**args), opts)


EXAMPLES: dict[type[pulumi.ComponentResource], Callable[..., pulumi.ComponentResource]] = {
    ArtifactStore: ArtifactStore,
    Build: build,
    LoadBalancer: load_balancer,
    Pipeline: pipeline,
    Registry: registry,
    ReleaseFunction: release_function,
    Service: service,
}
