"""Configuration in, components, outputs out. What differs between stacks stands in Pulumi.<stack>.yaml alone."""

from typing import Any

import pulumi
import pulumi_aws as aws
import pulumi_awsx as awsx
import slipway as sw
from slipway.config.load import Settings, StageSettings
from slipway.config.schema import ExistingNetwork, NewNetwork


def network(name: str, overrides: NewNetwork | ExistingNetwork) -> Any:
    """The VPC of the stack's own, or the one that exists."""
    if isinstance(overrides, ExistingNetwork):
        return overrides
    return awsx.ec2.Vpc(
        name,
        cidr_block=overrides.cidr,
        number_of_availability_zones=overrides.zones,
        nat_gateways=awsx.ec2.NatGatewayConfigurationArgs(strategy=awsx.ec2.NatGatewayStrategy(overrides.nat_gateways)),
        enable_dns_hostnames=True,
    )


def deploy_stage(stage: StageSettings, vpc: Any, cluster: aws.ecs.Cluster) -> sw.DeployStage:
    """An environment: a service, behind a load balancer of its own unless it is a worker."""
    name, balancer = stage.service_name, None
    if stage.load_balancer is not None:
        overrides = vars(stage.load_balancer)
        balancer = sw.LoadBalancer(
            name, sw.LoadBalancerArgs(**overrides, vpc_id=vpc.vpc_id, subnet_ids=vpc.public_subnet_ids)
        )
    service = sw.Service(
        name,
        sw.ServiceArgs(
            **vars(stage.service),
            cluster=cluster,
            registry=registry,
            load_balancer=balancer,
            vpc_id=vpc.vpc_id,
            subnet_ids=vpc.private_subnet_ids,
            environment_name=stage.environment_name,
            strategy=stage.strategy,
        ),
    )
    return sw.DeployStage(service=service, approval=stage.approval, tests=stage.tests, window=stage.window)


settings = Settings.load()
name = settings.name
registry: Any
build = None
if settings.image_repository is not None:
    registry = sw.ExistingRegistry(settings.image_repository)
else:
    registry = sw.Registry(name, settings.registry)
    overrides = vars(settings.build)
    build = sw.Build(name, sw.BuildArgs(**overrides, registry=registry, cpu_architecture=settings.cpu_architecture))
stages = []
if settings.stages:
    vpc = network(name, settings.network)
    cluster = aws.ecs.Cluster(name, name=name)
    stages = [deploy_stage(stage, vpc, cluster) for stage in settings.stages]
pipeline = sw.Pipeline(
    name,
    sw.PipelineArgs(
        **vars(settings.pipeline),
        source=settings.source,
        build=build,
        stages=stages,
        scan_gate=settings.scan_gate,
        code_scans=settings.code_scans,
        notifications=settings.notifications,
    ),
)

pulumi.export("pipeline", pipeline.console_url)
pulumi.export("repository", registry.url)
for stage in stages:
    service, suffix = stage.service, "" if len(stages) == 1 else f"-{stage.service.environment_name}"
    pulumi.export(f"url{suffix}", service.url)
    pulumi.export(f"releaseState{suffix}", service.release_function.table_name)
