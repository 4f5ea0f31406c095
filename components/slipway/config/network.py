"""The network of a stack: a new VPC, or an existing one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import pulumi

from slipway._constraints import Must, between, check, items, one_of
from slipway.config.endpoints import VpcEndpoints
from slipway.load_balancer import SubnetId, VpcId, is_ipv4_range

NAT_GATEWAYS, NO_NAT = ("Single", "OnePerAz"), "None"
"""https://www.pulumi.com/registry/packages/awsx/api-docs/ec2/vpc/#natgatewaystrategy"""
SMALLEST_SUBNET = 27
"""Prefix length of the smallest subnet of a load balancer.

https://docs.aws.amazon.com/elasticloadbalancing/latest/application/application-load-balancers.html#subnets"""


def prefix_length(text: str) -> int:
    return int(text.partition("/")[2])


VpcRange = Annotated[
    str,
    Must(
        "be an IPv4 range of /16 to /24 such as 10.0.0.0/16",
        lambda text: is_ipv4_range(text) and 16 <= prefix_length(text) <= SMALLEST_SUBNET - 3,
        {"pattern": r"^\d{1,3}(\.\d{1,3}){3}/(1[6-9]|2[0-4])$"},
        good=["10.0.0.0/16", "192.168.0.0/24"],
        bad=["", "0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/15", "10.0.0.0/25", "10.0.0.0/28", "10.0.0.1/16", "fd00::/16"],
    ),
]
"""A VPC may be as small as a subnet, but this one has eight parts or more, of which each zone takes two subnets.

https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html"""


@dataclass(frozen=True, kw_only=True)
class NewNetwork:
    """A new VPC, with public subnets for the load balancer and private subnets for the tasks. Without NAT gateways and
    VPC endpoints, the tasks are in the public subnets too, each with a public IP address.
    """

    cidr: VpcRange = "10.0.0.0/16"
    """IPv4 range of the VPC."""

    zones: Annotated[int, between(2, 4)] = 2
    """Number of Availability Zones."""

    nat_gateways: Annotated[str, one_of((*NAT_GATEWAYS, NO_NAT))] = "Single"
    """NAT gateways, each about 36 USD a month with its address: `Single` for all zones, or `OnePerAz` to survive the
    loss of a zone. With `None`, each task has a public IP address, about 4 USD a month; requests still come from the
    load balancer only."""

    vpc_endpoints: VpcEndpoints | None = None
    """VPC endpoints for tasks in the private subnets, for AWS without the internet. With `natGateways: None`, the tasks
    are there too, without public IP addresses. By default, there are none."""

    def __post_init__(self) -> None:
        check(self)

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        # awsx gives half of a zone to its private subnet, and a quarter to the public one.
        longest = SMALLEST_SUBNET - 2 - math.ceil(math.log2(self.zones))
        yield (
            is_ipv4_range(self.cidr) and prefix_length(self.cidr) > longest,
            f"cidr must be /{longest} or larger with zones={self.zones}, got {self.cidr!r}: a load balancer needs "
            "subnets of /27 or larger",
        )

    @property
    def assign_public_ip(self) -> bool:
        """Whether the tasks have public IP addresses."""
        return self.nat_gateways == NO_NAT and self.vpc_endpoints is None


@dataclass(frozen=True, kw_only=True)
class ExistingNetwork:
    """An existing VPC."""

    vpc_id: VpcId
    """ID of the VPC."""

    public_subnet_ids: Annotated[Sequence[SubnetId], items(distinct=True)] = ()
    """Public subnets for load balancers that are not `internal`, in at least two Availability Zones, and for tasks with
    `assign_public_ip`."""

    private_subnet_ids: Annotated[Sequence[SubnetId], items(most=16, distinct=True)] = ()
    """Private subnets for the tasks, with outbound access to ECR and CloudWatch Logs. An `internal` load balancer is
    here, in at least two Availability Zones, if no public subnets are given."""

    assign_public_ip: bool = False
    """Run the tasks in the public subnets, each with a public IP address, because the private ones have no outbound
    access. Requests still come from the load balancer only."""

    def __post_init__(self) -> None:
        check(self)

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        given, why = (
            (self.public_subnet_ids, "public_subnet_ids must have 1 to 16 items with assign_public_ip")
            if self.assign_public_ip
            else (self.private_subnet_ids, "private_subnet_ids must have 1 to 16 items without assign_public_ip")
        )
        yield not 1 <= len(given) <= 16, f"{why}, got {len(given)}: the tasks run there"


@dataclass(frozen=True, kw_only=True)
class Network:
    """The VPC of the load balancers and tasks."""

    vpc_id: pulumi.Input[str]
    """Its id."""

    balancer_subnet_ids: pulumi.Input[Sequence[pulumi.Input[str]]]
    """Subnets for the load balancers."""

    task_subnet_ids: pulumi.Input[Sequence[pulumi.Input[str]]]
    """Subnets for the tasks."""

    assign_public_ip: bool = False
    """Whether each task has a public IP address."""


def existing_network(settings: ExistingNetwork) -> Network:
    public, private = settings.public_subnet_ids, settings.private_subnet_ids
    return Network(
        vpc_id=settings.vpc_id,
        balancer_subnet_ids=public or private,
        task_subnet_ids=public if settings.assign_public_ip else private,
        assign_public_ip=settings.assign_public_ip,
    )


def new_network(
    settings: NewNetwork,
    vpc_id: pulumi.Input[str],
    public_subnet_ids: pulumi.Input[Sequence[pulumi.Input[str]]],
    private_subnet_ids: pulumi.Input[Sequence[pulumi.Input[str]]],
) -> Network:
    """The network in a VPC with these subnets, which the program creates."""
    return Network(
        vpc_id=vpc_id,
        balancer_subnet_ids=public_subnet_ids,
        task_subnet_ids=public_subnet_ids if settings.assign_public_ip else private_subnet_ids,
        assign_public_ip=settings.assign_public_ip,
    )
