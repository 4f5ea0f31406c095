"""Reads the stack's settings, creates the components and exports outputs. Stacks differ only in Pulumi.<stack>.yaml."""

import pulumi
import pulumi_aws as aws
import pulumi_awsx as awsx
from slipway import config


def network(name: str, settings: config.NewNetwork | config.ExistingNetwork) -> config.Network:
    """A new VPC for the stack, or an existing one."""
    if isinstance(settings, config.ExistingNetwork):
        return config.existing_network(settings)
    vpc = awsx.ec2.Vpc(
        name,
        cidr_block=settings.cidr,
        number_of_availability_zones=settings.zones,
        nat_gateways=awsx.ec2.NatGatewayConfigurationArgs(strategy=awsx.ec2.NatGatewayStrategy(settings.nat_gateways)),
        enable_dns_hostnames=True,
    )
    return config.new_network(settings, vpc.vpc_id, vpc.public_subnet_ids, vpc.private_subnet_ids)


settings = config.Settings.load()
settings.roles.register()
registry = config.registry(settings)
build = config.build(settings, registry)
stages = []
if settings.stages:
    vpc = network(settings.name, settings.network)
    cluster = aws.ecs.Cluster(settings.name, name=settings.name)
    stages = [config.deploy_stage(stage, registry, cluster, vpc) for stage in settings.stages]
pipeline = config.pipeline(settings, build, stages)
config.pull_request_checks(settings, pipeline)
trail = config.audit_trail(settings)

pulumi.export("pipeline", pipeline.console_url)
pulumi.export("repository", registry.url)
if trail is not None:
    pulumi.export("auditBucket", trail.bucket_name)
for stage in stages:
    service, suffix = stage.service, "" if len(stages) == 1 else f"-{stage.service.environment_name}"
    pulumi.export(f"url{suffix}", service.url)
    pulumi.export(f"releaseState{suffix}", service.release_function.table_name)
    if service.load_balancer is not None:
        pulumi.export(f"dnsName{suffix}", service.load_balancer.dns_name)
        if service.load_balancer.needs_records:
            pulumi.export(f"dnsRecords{suffix}", service.load_balancer.dns_records)
