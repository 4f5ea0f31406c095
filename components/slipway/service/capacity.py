"""What the tasks of a service run on: Fargate, Fargate Spot, or EC2 instances."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import pulumi

from slipway._constraints import Choice, between, check, match

Weight = Annotated[int, between(0, 1000)]
"""https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_CapacityProviderStrategyItem.html"""
PROVIDER_NAME = match(
    r"(?!(?i:aws|ecs|fargate))[A-Za-z0-9_-]+",
    "be the name of a capacity provider of a-z A-Z 0-9 _ - that does not begin with aws, ecs or fargate,",
    "instances",
    ["FARGATE", "aws-instances", "ecs1", "a b", ""],
    longest=255,
)
ProviderName = Annotated[pulumi.Input[str], PROVIDER_NAME]
"""https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_CreateCapacityProvider.html"""


@dataclass(frozen=True, kw_only=True)
class Fargate:
    """AWS Fargate, on demand."""

    compatibility: ClassVar[str] = "FARGATE"

    @property
    def strategy(self) -> list[dict[str, Any]]:
        """`capacityProviderStrategy` in the ECS API; empty for the launch type FARGATE."""
        return []


@dataclass(frozen=True, kw_only=True)
class FargateSpot:
    """AWS Fargate, in part on spare capacity, which costs up to 70 percent less. AWS takes it back with a warning of
    two minutes: a task gets SIGTERM, and ECS starts another one, as soon as there is capacity.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-capacity-providers.html
    """

    base: Annotated[int, between(0, 100_000)] = 1
    """Number of tasks that run on demand in any case."""

    on_demand_weight: Weight = 1
    """Share of the other tasks that run on demand, in relation to `spot_weight`. With 0, none."""

    spot_weight: Annotated[int, between(1, 1000)] = 3
    """Share of the other tasks that run on Spot."""

    compatibility: ClassVar[str] = "FARGATE"

    def __post_init__(self) -> None:
        check(self)

    @property
    def strategy(self) -> list[dict[str, Any]]:
        return [item("FARGATE", self.on_demand_weight, self.base), item("FARGATE_SPOT", self.spot_weight)]


@dataclass(frozen=True, kw_only=True)
class Ec2:
    """EC2 instances of an Auto Scaling group, by a capacity provider of the cluster. The sizes of tasks are those of
    Fargate.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/asg-capacity-providers.html
    """

    capacity_provider: ProviderName
    """Name of the capacity provider, with which the cluster is associated."""

    compatibility: ClassVar[str] = "EC2"

    def __post_init__(self) -> None:
        check(self)

    @property
    def strategy(self) -> list[dict[str, Any]]:
        return [item(self.capacity_provider, 1)]


@dataclass(frozen=True, kw_only=True)
class ManagedInstances:
    """EC2 instances that ECS chooses, starts, patches and stops, by a capacity provider of the cluster. The sizes of
    tasks are those of Fargate.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/managed-instances-capacity-providers-concept.html
    """

    capacity_provider: ProviderName
    """Name of the capacity provider, with which the cluster is associated."""

    compatibility: ClassVar[str] = "MANAGED_INSTANCES"

    def __post_init__(self) -> None:
        check(self)

    @property
    def strategy(self) -> list[dict[str, Any]]:
        return [item(self.capacity_provider, 1)]


Capacity = Annotated[
    Fargate | FargateSpot | Ec2 | ManagedInstances,
    Choice({"fargate": Fargate, "fargateSpot": FargateSpot, "ec2": Ec2, "managedInstances": ManagedInstances}),
]


def item(provider: pulumi.Input[str], weight: int, base: int = 0) -> dict[str, Any]:
    return {"capacityProvider": provider, "weight": weight, "base": base}


def on_demand(capacity: Capacity) -> Capacity:
    """What a migration or a job runs on: where the service does, but not on Spot, which would cut it off."""
    return Fargate() if isinstance(capacity, FargateSpot) else capacity


def capacity_rules(capacity: Capacity, ephemeral_storage_gib: int | None) -> Iterator[tuple[bool, str]]:
    """https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-task-storage.html"""
    yield (
        ephemeral_storage_gib is not None and capacity.compatibility != "FARGATE",
        f"capacity must be on Fargate with ephemeral_storage_gib, got {type(capacity).__name__}: the disk is that of "
        "the instance",
    )


def address_rule(capacity: Capacity, assign_public_ip: bool, message: str) -> tuple[bool, str]:
    """https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-networking-awsvpc.html"""
    return (
        assign_public_ip and capacity.compatibility != "FARGATE",
        f"capacity must be on Fargate with {message}, got {type(capacity).__name__}: tasks on instances get no "
        "public IP address",
    )
