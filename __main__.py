"""Configuration in, components, outputs out. What differs between stacks stands in Pulumi.<stack>.yaml alone."""

from typing import Any

import pulumi
import pulumi_aws as aws
import pulumi_awsx as awsx
from slipway import (
    Build,
    BuildArgs,
    DeployStage,
    LoadBalancer,
    LoadBalancerArgs,
    Pipeline,
    PipelineArgs,
    Registry,
    Service,
    ServiceArgs,
)
from slipway.settings import ExistingNetwork, NewNetwork, Settings


def network(name: str, told: NewNetwork | ExistingNetwork) -> Any:
    """The VPC of the stack's own, or the one that exists."""
    if isinstance(told, ExistingNetwork):
        return told
    return awsx.ec2.Vpc(
        name,
        cidr_block=told.cidr,
        number_of_availability_zones=told.zones,
        nat_gateways=awsx.ec2.NatGatewayConfigurationArgs(strategy=awsx.ec2.NatGatewayStrategy(told.nat_gateways)),
        enable_dns_hostnames=True,
    )


settings = Settings.load()
name = settings.name
vpc = network(name, settings.network)
cluster = aws.ecs.Cluster(name, name=name)
registry = Registry(name, settings.registry)
balancer = LoadBalancer(
    name, LoadBalancerArgs(**vars(settings.load_balancer), vpc_id=vpc.vpc_id, subnet_ids=vpc.public_subnet_ids)
)
service = Service(
    settings.service_name,
    ServiceArgs(
        **vars(settings.service),
        cluster=cluster,
        registry=registry,
        load_balancer=balancer,
        vpc_id=vpc.vpc_id,
        subnet_ids=vpc.private_subnet_ids,
        environment_name=settings.environment_name,
        strategy=settings.strategy,
    ),
)
build = Build(
    name, BuildArgs(**vars(settings.build), registry=registry, cpu_architecture=settings.service.cpu_architecture)
)
pipeline = Pipeline(
    name,
    PipelineArgs(
        source=settings.source, build=build, stages=[DeployStage(service=service, approval=settings.approval)]
    ),
)

pulumi.export("url", service.url)
pulumi.export("pipeline", pipeline.console_url)
pulumi.export("repository", registry.url)
pulumi.export("verified", service.release_function.verified_parameter)
