"""Auto scaling of a service."""

from __future__ import annotations

import pulumi
import pulumi_aws as aws

from slipway._outputs import concat
from slipway.service.args import ServiceArgs


def scale(
    name: str, args: ServiceArgs, service: aws.ecs.Service, child: pulumi.ResourceOptions
) -> aws.appautoscaling.Target | None:
    """Scale with the load, if the maximum is above the minimum."""
    if args.tasks.most == args.tasks.min:
        return None
    target = aws.appautoscaling.Target(
        f"{name}-scaling",
        service_namespace="ecs",
        scalable_dimension="ecs:service:DesiredCount",
        resource_id=concat("service/", args.cluster.name, "/", service.name),
        # Registering a target moves the task count within its bounds at once, but no image is released yet. The release
        # function sets the actual bounds.
        min_capacity=0,
        max_capacity=args.tasks.most,
        opts=child.merge(pulumi.ResourceOptions(ignore_changes=["min_capacity", "max_capacity"])),
    )
    aws.appautoscaling.Policy(
        f"{name}-scaling-cpu",
        policy_type="TargetTrackingScaling",
        service_namespace=target.service_namespace,
        scalable_dimension=target.scalable_dimension,
        resource_id=target.resource_id,
        target_tracking_scaling_policy_configuration=aws.appautoscaling.PolicyTargetTrackingScalingPolicyConfigurationArgs(
            predefined_metric_specification=aws.appautoscaling.PolicyTargetTrackingScalingPolicyConfigurationPredefinedMetricSpecificationArgs(
                predefined_metric_type="ECSServiceAverageCPUUtilization"
            ),
            target_value=args.tasks.target_cpu_percent,
        ),
        opts=child,
    )
    return target
