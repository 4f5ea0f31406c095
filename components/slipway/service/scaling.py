"""Auto scaling of a service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import ascii_lowercase
from typing import Any, cast

import pulumi
import pulumi_aws as aws

from slipway._outputs import concat, filled
from slipway.existing_load_balancer import Balancer
from slipway.service.tasks import MetricTarget, QueueBacklog, Tasks

ELB, ECS, SQS = "AWS/ApplicationELB", "AWS/ECS", "AWS/SQS"


def scale(
    name: str,
    tasks: Tasks,
    cluster_name: pulumi.Input[str],
    service_name: pulumi.Input[str],
    balancer: Balancer | None,
    target_groups: Sequence[aws.lb.TargetGroup],
    child: pulumi.ResourceOptions,
) -> aws.appautoscaling.Target | None:
    """Scale with the load, if the maximum is above the minimum."""
    if tasks.most == tasks.min:
        return None
    target = aws.appautoscaling.Target(
        f"{name}-scaling",
        service_namespace="ecs",
        scalable_dimension="ecs:service:DesiredCount",
        resource_id=concat("service/", cluster_name, "/", service_name),
        # Registering a target moves the task count within its bounds at once, but no image is released yet. The release
        # function sets the actual bounds.
        min_capacity=0,
        max_capacity=tasks.most,
        # For the same reason, a queue or a schedule must not raise the count yet. The function ends the suspension.
        suspended_state=suspended() if tasks.acts_without_tasks else None,
        opts=child.merge(pulumi.ResourceOptions(ignore_changes=["min_capacity", "max_capacity", "suspended_state"])),
    )
    of_target: dict[str, Any] = {
        "service_namespace": target.service_namespace,
        "scalable_dimension": target.scalable_dimension,
        "resource_id": target.resource_id,
    }
    service = {"ClusterName": cluster_name, "ServiceName": service_name}
    groups = [
        {"LoadBalancer": balancer.arn_suffix, "TargetGroup": group.arn_suffix} for group in target_groups if balancer
    ]
    for suffix, configuration in configurations(tasks, service, groups).items():
        aws.appautoscaling.Policy(
            f"{name}-scaling-{suffix}",
            policy_type="TargetTrackingScaling",
            **of_target,
            target_tracking_scaling_policy_configuration=cast(Any, configuration),
            opts=child,
        )
    for number, each in enumerate(tasks.schedules, 1):
        aws.appautoscaling.ScheduledAction(
            f"{name}-scaling-schedule-{number}",
            **of_target,
            schedule=each.schedule,
            timezone=each.time_zone,
            scalable_target_action=aws.appautoscaling.ScheduledActionScalableTargetActionArgs(
                min_capacity=each.min, max_capacity=each.max
            ),
            opts=child,
        )
    return target


def suspended() -> aws.appautoscaling.TargetSuspendedStateArgs:
    """https://docs.aws.amazon.com/autoscaling/application/APIReference/API_SuspendedState.html"""
    return aws.appautoscaling.TargetSuspendedStateArgs(
        dynamic_scaling_in_suspended=True, dynamic_scaling_out_suspended=True, scheduled_scaling_suspended=True
    )


def configurations(
    tasks: Tasks,
    service: Mapping[str, pulumi.Input[str]],
    groups: Sequence[Mapping[str, pulumi.Input[str]]],
) -> dict[str, dict[str, Any]]:
    """The target tracking configurations by the end of their name. `service` and `groups` are dimensions of metrics.

    https://docs.aws.amazon.com/autoscaling/application/APIReference/API_TargetTrackingScalingPolicyConfiguration.html
    """
    found = {}
    if tasks.target_cpu_percent is not None:
        found["cpu"] = predefined("ECSServiceAverageCPUUtilization", tasks.target_cpu_percent)
    if tasks.target_memory_percent is not None:
        found["memory"] = predefined("ECSServiceAverageMemoryUtilization", tasks.target_memory_percent)
    if tasks.target_requests_per_task is not None:
        found["requests"] = requests(groups, tasks.target_requests_per_task)
    for number, queue in enumerate(tasks.queues, 1):
        found[f"queue-{number}"] = backlog(queue, service)
    for number, metric in enumerate(tasks.metrics, 1):
        found[f"metric-{number}"] = any_metric(metric)
    return found


def predefined(metric: str, target: float) -> dict[str, Any]:
    return {"predefined_metric_specification": {"predefined_metric_type": metric}, "target_value": target}


def requests(groups: Sequence[Mapping[str, pulumi.Input[str]]], target: float) -> dict[str, Any]:
    """Requests for each task. AWS's predefined ALBRequestCountPerTarget is for one target group, but a strategy that
    shifts traffic alternates between two. Each has its requests divided by its tasks; without traffic that is 0, and
    during a shift the shares add up.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html
    """
    letters = ascii_lowercase[: len(groups)]
    # The only valid statistic is Sum, and it is the average.
    queries = [
        query(letter, ELB, "RequestCountPerTarget", of, "Sum") for letter, of in zip(letters, groups, strict=True)
    ]
    return by_math(" + ".join(f"FILL({letter}, 0)" for letter in letters), queries, target)


def backlog(queue: QueueBacklog, service: Mapping[str, pulumi.Input[str]]) -> dict[str, Any]:
    """Waiting messages for each running task.

    The number of tasks is the number of samples of their CPU utilization, one a minute for each, because
    RunningTaskCount, which AWS's example uses, needs Container Insights and costs extra. Without tasks there are no
    samples, so the result is missing, and nothing is scaled.
    """
    name = filled([queue.arn], lambda known: str(known[0]).rpartition(":")[2])
    queries = [
        query("messages", SQS, "ApproximateNumberOfMessagesVisible", {"QueueName": name}, "Sum"),
        query("tasks", ECS, "CPUUtilization", service, "SampleCount"),
    ]
    return by_math("messages / tasks", queries, queue.messages_per_task)


def any_metric(metric: MetricTarget) -> dict[str, Any]:
    return {
        "customized_metric_specification": {
            "namespace": metric.namespace,
            "metric_name": metric.name,
            "statistic": metric.statistic,
            "dimensions": dimensions(metric.dimensions),
        },
        "target_value": metric.target,
    }


def by_math(expression: str, queries: Sequence[Mapping[str, Any]], target: float) -> dict[str, Any]:
    result = {"id": "result", "expression": expression, "return_data": True}
    return {"customized_metric_specification": {"metrics": [*queries, result]}, "target_value": target}


def query(id: str, namespace: str, name: str, of: Mapping[str, pulumi.Input[str]], statistic: str) -> dict[str, Any]:
    """One metric of an expression, by the minute."""
    metric = {"namespace": namespace, "metric_name": name, "dimensions": dimensions(of)}
    return {"id": id, "metric_stat": {"metric": metric, "stat": statistic}, "return_data": False}


def dimensions(of: Mapping[str, pulumi.Input[str]]) -> list[dict[str, Any]]:
    return [{"name": name, "value": value} for name, value in sorted(of.items())]
