"""The cluster of a stack: a new one, or an existing one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated

import pulumi_aws as aws

from slipway._constraints import between, check, match, one_of
from slipway.existing_cluster import ExistingCluster
from slipway.service.args import ServiceSettings, process_settings
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


AutoScalingGroupArn = Annotated[
    str,
    match(
        r"arn:aws(-[a-z]+)*:autoscaling:[a-z0-9-]+:\d{12}:autoScalingGroup:[0-9a-f-]+:autoScalingGroupName/[ -~]+",
        "be the ARN of an Auto Scaling group",
        "arn:aws:autoscaling:eu-west-1:123456789012:autoScalingGroup:01234567-89ab-cdef-0123-456789abcdef:"
        "autoScalingGroupName/instances",
        ["instances", "arn:aws:autoscaling:eu-west-1:123456789012:launchConfiguration:0:launchConfigurationName/a"],
    ),
]
"""https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_AutoScalingGroup.html"""


@dataclass(frozen=True, kw_only=True)
class AutoScalingGroup:
    """An existing Auto Scaling group, for which a capacity provider is made. Its instances have ECS's agent with this
    cluster, `<project>-<stack>`, in `ECS_CLUSTER`.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/asg-capacity-providers.html
    """

    arn: AutoScalingGroupArn
    """ARN of the group."""

    target_capacity_percent: Annotated[int, between(1, 100)] | None = 100
    """Share of the instances that run tasks, in percent, at which ECS keeps the group by its size. Below 100, some are
    ready for new tasks. With `false`, ECS does not change the size."""

    def __post_init__(self) -> None:
        check(self)


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

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class UsedCluster:
    """An existing ECS cluster, which other services may use too."""

    name: ClusterName
    """Name of the cluster."""

    def __post_init__(self) -> None:
        check(self)


def cluster(name: str, settings: NewCluster | UsedCluster, deployed: Iterable[ServiceSettings]) -> ExistingCluster:
    """The cluster of the stack `name`, for services with these settings.

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
    capacities = [each.capacity for service in deployed for each in process_settings(service).values()]
    spot = any(isinstance(capacity, FargateSpot) for capacity in capacities)
    instances = [capacity_provider(each, group).name for each, group in settings.auto_scaling_groups.items()]
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


def capacity_provider(name: str, group: AutoScalingGroup) -> aws.ecs.CapacityProvider:
    """The capacity provider of a group, whose instances are drained before they are terminated.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_AutoScalingGroupProvider.html
    """
    target = group.target_capacity_percent
    return aws.ecs.CapacityProvider(
        name,
        name=name,
        auto_scaling_group_provider=aws.ecs.CapacityProviderAutoScalingGroupProviderArgs(
            auto_scaling_group_arn=group.arn,
            managed_scaling=aws.ecs.CapacityProviderAutoScalingGroupProviderManagedScalingArgs(
                status="DISABLED" if target is None else "ENABLED", target_capacity=target
            ),
            managed_draining="ENABLED",
            # It needs a group whose instances are protected from scale-in.
            managed_termination_protection="DISABLED",
        ),
    )
