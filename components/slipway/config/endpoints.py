"""VPC endpoints for private subnets without a NAT gateway."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

import pulumi
import pulumi_aws as aws

from slipway._constraints import check, items, match
from slipway._secrets import kind_of
from slipway.release.function import partitions
from slipway.service.args import ServiceSettings, capacities
from slipway.service.logging import log_references
from slipway.service.sidecars import references

NEEDED = ("ecr.api", "ecr.dkr", "logs")
"""What ECS needs to start a task on Fargate, besides S3, in which ECR keeps the layers of images.

https://docs.aws.amazon.com/AmazonECR/latest/userguide/vpc-endpoints.html"""
OF_INSTANCES = ("ecs", "ecs-agent", "ecs-telemetry")
"""What ECS's agent on an instance needs.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/vpc-endpoints.html"""
GATEWAYS = ("dynamodb", "s3")
"""Gateway endpoints, which cost nothing.

https://docs.aws.amazon.com/vpc/latest/privatelink/gateway-endpoints.html"""
ServiceName = Annotated[
    str,
    match(
        r"[a-z0-9][a-z0-9-]*(\.[a-z0-9-]+)*",
        "be the name of a service of AWS as its endpoint has it, such as sqs or ecr.api,",
        "ecr.api",
        ["SQS", "sqs:443", "a b", ""],
    ),
]
"""https://docs.aws.amazon.com/vpc/latest/privatelink/aws-services-privatelink-support.html"""


@dataclass(frozen=True, kw_only=True)
class VpcEndpoints:
    """VPC endpoints, through which the tasks in the private subnets reach AWS: ECR, CloudWatch Logs and S3 always, and
    Secrets Manager, Parameter Store, Systems Manager and ECS if the service's settings need them. They reach nothing
    else.

    Each service costs about 7 USD a month in each zone, so these cost more than a NAT gateway from three services in
    two zones on. What they give is a network without a way to the internet.
    """

    services: Annotated[Sequence[ServiceName], items(most=20, distinct=True)] = ()
    """Further services that the application calls, such as `sqs` or `sts`. `dynamodb` costs nothing."""

    def __post_init__(self) -> None:
        check(self)


def services(settings: VpcEndpoints, deployed: Iterable[ServiceSettings]) -> list[str]:
    """The services with an endpoint: what ECS needs for these settings, and what is listed."""
    found = {*NEEDED, "s3", *settings.services}
    for each in deployed:
        read = {**each.secrets, **references(each.sidecars), **log_references(each.logging)}
        found |= {kind_of(value) for value in read.values() if isinstance(value, str)}
        # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-exec.html
        found |= {"ssmmessages"} if each.ecs_exec else set()
        on_instances = any(capacity.compatibility != "FARGATE" for _, capacity in capacities(each))
        found |= {*OF_INSTANCES} if on_instances else set()
    return sorted(found)


def create(
    name: str,
    names: Sequence[str],
    vpc_id: pulumi.Input[str],
    cidr: str,
    subnet_ids: pulumi.Input[Sequence[pulumi.Input[str]]],
    route_table_ids: pulumi.Input[Sequence[pulumi.Input[str]]],
) -> None:
    """An endpoint for each service, which takes requests from the VPC only."""
    region, partition = aws.get_region().region, aws.get_partition().partition
    group = aws.ec2.SecurityGroup(f"{name}-endpoints", description=f"VPC endpoints of {name}", vpc_id=vpc_id)
    aws.vpc.SecurityGroupIngressRule(
        f"{name}-endpoints-in",
        security_group_id=group.id,
        description="The VPC",
        ip_protocol="tcp",
        from_port=443,
        to_port=443,
        cidr_ipv4=cidr,
    )
    for service in names:
        endpoint = partitions.endpoint(partition, service, region)
        if service in GATEWAYS:
            aws.ec2.VpcEndpoint(
                f"{name}-{service}",
                vpc_id=vpc_id,
                service_name=endpoint,
                vpc_endpoint_type="Gateway",
                route_table_ids=route_table_ids,
            )
        else:
            aws.ec2.VpcEndpoint(
                f"{name}-{service.replace('.', '-')}",
                vpc_id=vpc_id,
                service_name=endpoint,
                vpc_endpoint_type="Interface",
                subnet_ids=subnet_ids,
                security_group_ids=[group.id],
                # The names of the services then lead to the endpoints, without a setting in the application.
                private_dns_enabled=True,
            )
