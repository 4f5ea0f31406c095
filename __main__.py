"""Configuration in, components, outputs out. What differs between stacks stands in Pulumi.<stack>.yaml alone."""

from typing import Any

import pulumi
import pulumi_aws as aws
import pulumi_awsx as awsx
import slipway as sw
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
registry = sw.Registry(name, settings.registry)
balancer = sw.LoadBalancer(
    name, sw.LoadBalancerArgs(**vars(settings.load_balancer), vpc_id=vpc.vpc_id, subnet_ids=vpc.public_subnet_ids)
)
service = sw.Service(
    settings.service_name,
    sw.ServiceArgs(
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
build = sw.Build(
    name, sw.BuildArgs(**vars(settings.build), registry=registry, cpu_architecture=settings.service.cpu_architecture)
)
pipeline = sw.Pipeline(
    name,
    sw.PipelineArgs(
        source=settings.source, build=build, stages=[sw.DeployStage(service=service, approval=settings.approval)]
    ),
)

pulumi.export("url", service.url)
pulumi.export("pipeline", pipeline.console_url)
pulumi.export("repository", registry.url)
pulumi.export("verified", service.release_function.verified_parameter)
