"""Capacity providers of a new cluster, for EC2 instances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import pulumi
import pulumi_aws as aws

from slipway import iam
from slipway._constraints import between, check, items, match
from slipway.config.network import Network
from slipway.release.function import partitions

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
InstanceType = Annotated[
    str,
    match(
        r"[a-z0-9*][a-z0-9.*-]*",
        "be an instance type, in which * may stand for anything, such as m7g.*,",
        "m7g.*",
        ["", "M7g.large", "m7g large", ".large"],
        longest=30,
    ),
]
"""https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_InstanceRequirementsRequest.html"""


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
class ManagedProvider:
    """Instances of ECS Managed Instances, in the subnets of the tasks: a capacity provider is made, with the roles that
    AWS documents for ECS and for the instances.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/managed-instances-capacity-providers-concept.html
    """

    instance_types: Annotated[Sequence[InstanceType], items(most=400, distinct=True)] = ()
    """Types of instances that ECS may choose, such as `m7g.large`, or `m7g.*` for all of a family. By default, those
    that cost least for the tasks."""

    def __post_init__(self) -> None:
        check(self)


def of_the_group(name: str, group: AutoScalingGroup) -> aws.ecs.CapacityProvider:
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


@dataclass(frozen=True)
class Managed:
    """What all managed instances of a cluster have in common."""

    cluster: pulumi.Input[str]
    infrastructure_role: pulumi.Input[str]
    instance_profile: pulumi.Input[str]
    subnets: pulumi.Input[Sequence[pulumi.Input[str]]]
    security_group: pulumi.Input[str]
    ready: Sequence[pulumi.Resource]
    """Resources that must exist before an instance, and be deleted after it."""

    @staticmethod
    def of(name: str, cluster: aws.ecs.Cluster, network: Network) -> Managed:
        """Their roles and security group, for the cluster of the stack `name`.

        AWS keeps the policies, since ECS's own needs change with its versions.
        https://docs.aws.amazon.com/AmazonECS/latest/developerguide/infrastructure_IAM_role.html
        https://docs.aws.amazon.com/AmazonECS/latest/developerguide/managed-instances-instance-profile.html
        """
        ec2 = partitions.ec2(aws.get_partition().partition)
        instance = aws.iam.Role(f"{name}-instance-role", assume_role_policy=iam.trust(ec2))
        # AWS's policy lets ECS pass only roles with names that begin with ecsInstanceRole, and without a path.
        passes = iam.pass_roles(instance.arn, to=ec2)
        # No condition keys are documented for this role.
        trusted = iam.trust("ecs.amazonaws.com")
        infrastructure, policy = iam.role(f"{name}-infrastructure", trusted, [passes], pulumi.ResourceOptions())
        group = aws.ec2.SecurityGroup(f"{name}-instances", description=f"Instances of {name}", vpc_id=network.vpc_id)
        # For images, logs and ECS. Nothing may connect to them: tasks have network interfaces of their own.
        out = aws.vpc.SecurityGroupEgressRule(
            f"{name}-instances-out",
            security_group_id=group.id,
            description="Anywhere",
            ip_protocol="-1",
            cidr_ipv4="0.0.0.0/0",
        )
        attached = [
            attach(f"{name}-instance", instance, "AmazonECSInstanceRolePolicyForManagedInstances"),
            attach(f"{name}-infrastructure", infrastructure, "AmazonECSInfrastructureRolePolicyForManagedInstances"),
        ]
        return Managed(
            cluster=cluster.name,
            infrastructure_role=infrastructure.arn,
            instance_profile=aws.iam.InstanceProfile(f"{name}-instance", role=instance.name).arn,
            subnets=network.task_subnet_ids,
            security_group=group.id,
            ready=[policy, out, *attached],
        )

    def provider(self, name: str, settings: ManagedProvider) -> aws.ecs.CapacityProvider:
        """https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_InstanceLaunchTemplate.html"""
        types = [*settings.instance_types]
        template: Any = {
            "ec2_instance_profile_arn": self.instance_profile,
            "network_configuration": {"subnets": self.subnets, "security_groups": [self.security_group]},
        }
        if types:
            # The sizes are required; any instance has 1 of each. Listed types such as t4g would be left out by default.
            template["instance_requirements"] = {
                "allowed_instance_types": types,
                "burstable_performance": "included",
                "vcpu_count": {"min": 1},
                "memory_mib": {"min": 1},
            }
        return aws.ecs.CapacityProvider(
            name,
            name=name,
            cluster=self.cluster,
            managed_instances_provider=aws.ecs.CapacityProviderManagedInstancesProviderArgs(
                infrastructure_role_arn=self.infrastructure_role, instance_launch_template=template
            ),
            opts=pulumi.ResourceOptions(depends_on=self.ready),
        )


def attach(name: str, role: aws.iam.Role, policy: str) -> aws.iam.RolePolicyAttachment:
    """A policy that AWS keeps, for a role."""
    arn = f"arn:{aws.get_partition().partition}:iam::aws:policy/{policy}"
    return aws.iam.RolePolicyAttachment(f"{name}-policy", role=role.name, policy_arn=arn)
