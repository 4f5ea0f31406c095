"""Creates components from settings. A program creates the network and connects the components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import pulumi

from slipway.audit import AuditTrail
from slipway.build.component import Build, BuildArgs
from slipway.config import endpoints
from slipway.config.load import Settings, StageSettings
from slipway.config.network import Network, NewNetwork
from slipway.config.schema import LoadBalancerKeys
from slipway.existing_cluster import Cluster
from slipway.existing_load_balancer import Balancer, ExistingLoadBalancer
from slipway.existing_registry import ExistingRegistry
from slipway.load_balancer import LoadBalancer, LoadBalancerArgs, LoadBalancerSettings
from slipway.pipeline.component import Pipeline, PipelineArgs
from slipway.pipeline.sources import Connection
from slipway.pipeline.stages import DeployStage
from slipway.pull_requests import PullRequestChecks, PullRequestChecksArgs
from slipway.registry import Registry, Repository
from slipway.service.args import ServiceArgs, ServiceSettings
from slipway.service.component import Service


def vpc_endpoints(
    settings: Settings,
    network: NewNetwork,
    vpc_id: pulumi.Input[str],
    subnet_ids: pulumi.Input[Sequence[pulumi.Input[str]]],
    route_table_ids: pulumi.Input[Sequence[pulumi.Input[str]]],
) -> None:
    """The VPC endpoints in a new VPC, for the tasks in these subnets."""
    assert network.vpc_endpoints is not None
    names = endpoints.services(network.vpc_endpoints, [stage.service for stage in settings.stages])
    endpoints.create(settings.name, names, vpc_id, network.cidr, subnet_ids, route_table_ids)


def registry(settings: Settings) -> Registry | ExistingRegistry:
    """The repository of the images: this stack's own, or that of the stack that builds them."""
    if settings.image_repository is not None:
        existing = ExistingRegistry(settings.image_repository)
        for stage in settings.stages:  # before anything is created
            existing.check_release(stage.environment_name, stage.service.keep_verified)
        return existing
    return Registry(settings.name, settings.registry)


def build(settings: Settings, registry: Repository) -> Build | None:
    """The build of images from commits; None if the source is an image."""
    if settings.image_repository is not None:
        return None
    args = BuildArgs(
        **each(settings.build),
        registry=registry,
        cpu_architecture=settings.cpu_architecture,
        full_clone=settings.source.full_clone,
        **writable_paths([stage.service for stage in settings.stages]),
    )
    return Build(settings.name, args)


def writable_paths(services: Sequence[ServiceSettings]) -> dict[str, Any]:
    """The writable paths of all stages that do not run as root, and the user of one that sets it."""
    users = {service.container.user for service in services if service.writable_paths}
    others = sorted(user for user in users if user is not None and not is_root(user))
    paths = (path for service in services if not is_root(service.container.user) for path in service.writable_paths)
    return {"writable_paths": [*dict.fromkeys(paths)], "container_user": others[0] if others else None}


def is_root(user: str | None) -> bool:
    """Whether a user is root; without one, it is the image's."""
    return user is not None and user.split(":")[0] in ("root", "0")


def deploy_stage(stage: StageSettings, registry: Repository, cluster: Cluster, network: Network) -> DeployStage:
    """An environment: a service with its own load balancer, or a worker without one."""
    balancer = None
    if stage.load_balancer is not None:
        balancer = load_balancer(stage.service_name, stage.load_balancer, network)
    service = Service(
        stage.service_name,
        ServiceArgs(
            **each(stage.service),
            cluster=cluster,
            registry=registry,
            load_balancer=balancer,
            vpc_id=network.vpc_id,
            subnet_ids=network.task_subnet_ids,
            assign_public_ip=network.assign_public_ip,
            environment_name=stage.environment_name,
            strategy=stage.strategy,
        ),
    )
    return DeployStage(service=service, approval=stage.approval, tests=stage.tests, window=stage.window)


def load_balancer(name: str, keys: LoadBalancerKeys, network: Network) -> Balancer:
    """A new load balancer for an environment, or an existing one."""
    if keys.existing is not None:
        return ExistingLoadBalancer(keys.existing)
    settings = {field.name: getattr(keys, field.name) for field in fields(LoadBalancerSettings)}
    args = LoadBalancerArgs(**settings, vpc_id=network.vpc_id, subnet_ids=network.balancer_subnet_ids)
    return LoadBalancer(name, args)


def pipeline(settings: Settings, build: Build | None, stages: Sequence[DeployStage]) -> Pipeline:
    """The pipeline from the source through the stages."""
    args = PipelineArgs(
        **each(settings.pipeline),
        source=settings.source,
        build=build,
        stages=stages,
        scan_gate=settings.scan_gate,
        code_scans=settings.code_scans,
        notifications=settings.notifications,
    )
    return Pipeline(settings.name, args)


def pull_request_checks(settings: Settings, pipeline: Pipeline) -> PullRequestChecks | None:
    """The checks of pull requests, if the stack file has them."""
    if settings.pull_requests is None or not isinstance(settings.source, Connection):
        return None
    assert pipeline.connection_arn is not None
    args = PullRequestChecksArgs(
        **each(settings.pull_requests),
        source=settings.source,
        connection_arn=pipeline.connection_arn,
        test_commands=settings.build.test_commands,
        code_scans=settings.code_scans,
    )
    return PullRequestChecks(f"{settings.name}-pull-requests", args)


def audit_trail(settings: Settings) -> AuditTrail | None:
    """The record of changes in the account, if the stack file has it."""
    return None if settings.audit is None else AuditTrail(settings.name, settings.audit)


def each(settings: Any) -> dict[str, Any]:
    """The fields of settings, for the arguments class that extends them."""
    return {field.name: getattr(settings, field.name) for field in fields(settings)}
