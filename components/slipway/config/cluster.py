"""The cluster of a stack: a new one, or an existing one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated

import pulumi
import pulumi_aws as aws

from slipway._constraints import check, match, one_of
from slipway.config.instances import AutoScalingGroup, Managed, ManagedProvider, of_the_group
from slipway.config.network import Network
from slipway.existing_cluster import ExistingCluster
from slipway.service.args import ServiceSettings, capacities
from slipway.service.capacity import PROVIDER_NAME, FargateSpot

NamespaceName = Annotated[
    str,
    match(
        r"[A-Za-z0-9_][A-Za-z0-9_.-]*",
        "be a name of A-Z a-z 0-9 _ . - that does not begin with . or -,",
        "internal",
        ["-a", "a b", "a/b", ""],
        longest=253,
    ),
]
"""https://docs.aws.amazon.com/cloud-map/latest/api/API_CreateHttpNamespace.html"""
ClusterName = Annotated[
    str,
    match(r"[A-Za-z][A-Za-z0-9_-]*", "be the name of a cluster of a-z A-Z 0-9 _ -,", "main", ["1st", "a b", ""], 255),
]
"""https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_CreateCluster.html"""


@dataclass(frozen=True, kw_only=True)
class NewCluster:
    """A new ECS cluster, with the name of the project and the stack."""

    # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/cloudwatch-container-insights.html
    container_insights: Annotated[str, one_of(("disabled", "enabled", "enhanced"))] | None = None
    """Metrics of tasks and containers in CloudWatch, which cost extra: `enabled`, or `enhanced` for more of them. By
    default, what the account's settings say, which is `disabled` unless somebody changed them."""

    namespace: NamespaceName | None = None
    """Name of a new namespace in AWS Cloud Map, unique in the account and Region, for `service_connect` of services in
    this cluster and others. Its ARN is an output. By default, there is none."""

    auto_scaling_groups: Mapping[Annotated[str, PROVIDER_NAME], AutoScalingGroup] = field(default_factory=dict)
    """Auto Scaling groups whose instances run tasks of `service.capacity.ec2`, by the name that the capacity provider
    gets, which is unique in the account and Region."""

    managed_instances: Mapping[Annotated[str, PROVIDER_NAME], ManagedProvider] = field(default_factory=dict)
    """Instances of ECS Managed Instances, for tasks of `service.capacity.managedInstances`, by the name that the
    capacity provider gets, which is unique in the account and Region."""

    def __post_init__(self) -> None:
        check(self)

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        yield (
            bool(self.auto_scaling_groups and self.managed_instances),
            f"auto_scaling_groups must not be set with managed_instances, got both: {ASSOCIATED}",
        )


ASSOCIATED = "a list of capacity providers that is set for the cluster would end those of Managed Instances"
"""https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_PutClusterCapacityProviders.html"""


@dataclass(frozen=True, kw_only=True)
class UsedCluster:
    """An existing ECS cluster, which other services may use too."""

    name: ClusterName
    """Name of the cluster."""

    def __post_init__(self) -> None:
        check(self)


def cluster(
    name: str, settings: NewCluster | UsedCluster, deployed: Iterable[ServiceSettings], network: Network
) -> ExistingCluster:
    """The cluster of the stack `name`, for services with these settings, and what a new one needs in the network.

    Raises pulumi.RunError if it should exist and does not.
    """
    if isinstance(settings, UsedCluster):
        return ExistingCluster(settings.name)
    insights = settings.container_insights
    of = [aws.ecs.ClusterSettingArgs(name="containerInsights", value=insights)] if insights else None
    namespace = aws.servicediscovery.HttpNamespace(name, name=settings.namespace).arn if settings.namespace else None
    made = aws.ecs.Cluster(
        name,
        name=name,
        settings=of,
        # A dependency too: services must be gone before their namespace.
        service_connect_defaults=aws.ecs.ClusterServiceConnectDefaultsArgs(namespace=namespace) if namespace else None,
    )
    spot = any(isinstance(capacity, FargateSpot) for service in deployed for _, capacity in capacities(service))
    if settings.managed_instances:
        managed = Managed.of(name, made, network)
        arns = [managed.provider(each, of).arn for each, of in settings.managed_instances.items()]
        # So that services are created after the providers, and deleted before them.
        ready: pulumi.Output[str] = pulumi.Output.all(made.arn, *arns).apply(lambda known: str(known[0]))
        return ExistingCluster.of(name=made.name, arn=ready, namespace_arn=namespace)
    instances = [of_the_group(each, group).name for each, group in settings.auto_scaling_groups.items()]
    if not spot and not instances:
        return ExistingCluster.of(name=made.name, arn=made.arn, namespace_arn=namespace)
    # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-capacity-providers.html
    providers = aws.ecs.ClusterCapacityProviders(
        name, cluster_name=made.name, capacity_providers=[*(["FARGATE", "FARGATE_SPOT"] if spot else []), *instances]
    )
    # So that services are created after the association, and deleted before it.
    return ExistingCluster.of(
        name=providers.cluster_name,
        arn=providers.id.apply(lambda _: made.arn),
        namespace_arn=namespace,
    )
