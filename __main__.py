"""Reads the stack's settings, creates the components and exports outputs. Stacks differ only in Pulumi.<stack>.yaml."""

import pulumi
import pulumi_awsx as awsx
from slipway import config


def network(settings: config.Settings) -> config.Network:
    """A new VPC for the stack, or an existing one."""
    given = settings.network
    if isinstance(given, config.ExistingNetwork):
        return config.existing_network(given)
    vpc = awsx.ec2.Vpc(
        settings.name,
        cidr_block=given.cidr,
        number_of_availability_zones=given.zones,
        nat_gateways=awsx.ec2.NatGatewayConfigurationArgs(strategy=awsx.ec2.NatGatewayStrategy(given.nat_gateways)),
        enable_dns_hostnames=True,
    )
    if given.vpc_endpoints is not None:
        tables = vpc.route_tables.apply(lambda tables: [table.id for table in tables or []])
        config.vpc_endpoints(settings, given, vpc.vpc_id, vpc.private_subnet_ids, tables)
    return config.new_network(given, vpc.vpc_id, vpc.public_subnet_ids, vpc.private_subnet_ids)


settings = config.Settings.load()
settings.roles.register()
registry = config.registry(settings)
build = config.build(settings, registry)
stages = []
if settings.stages:
    vpc = network(settings)
    cluster = config.cluster(settings.name, settings.cluster, [stage.service for stage in settings.stages], vpc)
    stages = [config.deploy_stage(stage, registry, cluster, vpc) for stage in settings.stages]
pipeline = config.pipeline(settings, build, stages)
config.pull_request_checks(settings, pipeline)
trail = config.audit_trail(settings)

pulumi.export("pipeline", pipeline.console_url)
pulumi.export("repository", registry.url)
if trail is not None:
    pulumi.export("auditBucket", trail.bucket_name)
if stages and cluster.namespace_arn is not None:
    pulumi.export("namespaceArn", cluster.namespace_arn)
for stage in stages:
    service, suffix = stage.service, "" if len(stages) == 1 else f"-{stage.service.environment_name}"
    pulumi.export(f"url{suffix}", service.url)
    pulumi.export(f"releaseState{suffix}", service.release_function.table_name)
    if service.connects:
        pulumi.export(f"securityGroup{suffix}", service.security_group_id)
    if service.load_balancer is not None:
        pulumi.export(f"dnsName{suffix}", service.load_balancer.dns_name)
        if service.load_balancer.needs_records:
            pulumi.export(f"dnsRecords{suffix}", service.load_balancer.dns_records)
