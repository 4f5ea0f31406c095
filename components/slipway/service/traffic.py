"""Traffic from a load balancer to the tasks of a service, for every strategy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from slipway import iam
from slipway._outputs import concat
from slipway.existing_load_balancer import Balancer
from slipway.iam import Scope, Statement, allow
from slipway.service.args import ErrorAlarm, ServiceArgs, conditions_paths, health_path, request_targets, route_settings
from slipway.service.requests import HTTP1
from slipway.strategies import BlueGreen


@dataclass(frozen=True)
class PortTraffic:
    """Target groups and listener rules of one port. Every port has two target groups, one of which receives the
    traffic, so that the strategy can be changed at any time."""

    target_groups: tuple[aws.lb.TargetGroup, aws.lb.TargetGroup]
    rule: aws.lb.ListenerRule
    test_rule: aws.lb.ListenerRule | None

    @property
    def rules(self) -> list[aws.lb.ListenerRule]:
        return [self.rule, *([self.test_rule] if self.test_rule else [])]


@dataclass(frozen=True)
class TrafficRouting:
    """Target groups, listener rules and the infrastructure role of a service."""

    ports: Sequence[PortTraffic]
    """The service's own port, and those of its routes."""
    infrastructure: aws.iam.Role | None
    """The role with which ECS shifts the traffic."""
    ready: Sequence[pulumi.Resource]
    """Resources that must exist before the service, and be deleted after it."""

    @property
    def target_group_arns(self) -> list[pulumi.Output[str]]:
        """The two of each port."""
        return [group.arn for port in self.ports for group in port.target_groups]


def security_group(name: str, args: ServiceArgs, child: pulumi.ResourceOptions) -> aws.ec2.SecurityGroup:
    """Allows all outbound and no inbound traffic of the tasks."""
    tasks = aws.ec2.SecurityGroup(f"{name}-tasks", description=f"Tasks of {name}", vpc_id=args.vpc_id, opts=child)
    # For images, logs, secrets, and everything that the application calls.
    aws.vpc.SecurityGroupEgressRule(
        f"{name}-out",
        security_group_id=tasks.id,
        description="Anywhere",
        ip_protocol="-1",
        cidr_ipv4="0.0.0.0/0",
        opts=child,
    )
    return tasks


def open_port(
    name: str, port: int, balancer: Balancer, tasks: aws.ec2.SecurityGroup, child: pulumi.ResourceOptions
) -> None:
    """Allows traffic from the load balancer to a port of the tasks, and nothing else."""
    aws.vpc.SecurityGroupIngressRule(
        # Named after the port: when it changes, the old rule stays until the tasks that listen there are gone.
        f"{name}-in-{port}",
        security_group_id=tasks.id,
        description="Load balancer",
        referenced_security_group_id=balancer.security_group_id,
        ip_protocol="tcp",
        from_port=port,
        to_port=port,
        opts=child,
    )
    aws.vpc.SecurityGroupEgressRule(
        f"{name}-from-balancer-{port}",
        security_group_id=balancer.security_group_id,
        description=f"Tasks of {name}",
        referenced_security_group_id=tasks.id,
        ip_protocol="tcp",
        from_port=port,
        to_port=port,
        opts=child,
    )


def attach(name: str, args: ServiceArgs, balancer: Balancer, child: pulumi.ResourceOptions) -> TrafficRouting:
    """The target groups of a process and its routes, and the rules of the load balancer that forward to them."""
    ports = [attach_port(each, settings, balancer, child) for each, settings in named_ports(name, args).items()]
    infrastructure = None
    ready: list[pulumi.Resource] = [rule for port in ports for rule in port.rules]
    if isinstance(args.strategy, BlueGreen):
        infrastructure, policy = iam.role(
            f"{name}-traffic",
            # No condition keys are documented for this role.
            iam.trust("ecs.amazonaws.com"),
            shift_statements(
                [group.arn for port in ports for group in port.target_groups],
                [rule.arn for port in ports for rule in port.rules],
            ),
            child,
        )
        ready.append(policy)
    return TrafficRouting(ports, infrastructure, ready)


def named_ports(name: str, args: ServiceArgs) -> dict[str, ServiceArgs]:
    """The settings of the port of a process, and of its routes, by what the names of their resources begin with."""
    return {name: args, **{route_name(name, route): each for route, each in route_settings(args).items()}}


def route_name(process: str, route: str) -> str:
    return f"{process}-route-{route}"


def attach_port(name: str, args: ServiceArgs, balancer: Balancer, child: pulumi.ResourceOptions) -> PortTraffic:
    groups = target_group(name, "a", args, child), target_group(name, "b", args, child)
    # Groups of another protocol are other groups, which an existing rule cannot forward to: Pulumi ignores its weights.
    suffix = protocol_suffix(args)
    rule = listener_rule(f"{name}-rule{suffix}", balancer.listener_arn, args, groups, child)
    test_rule = None
    if balancer.test_listener_arn is not None:
        # A name that no process or route can give its own rule. It was another one before.
        before = pulumi.ResourceOptions(aliases=[pulumi.Alias(name=f"{name}-test-rule{suffix}")])
        test_rule = listener_rule(
            f"{name}-rule{suffix}-test", balancer.test_listener_arn, args, groups, child.merge(before)
        )
    return PortTraffic(groups, rule, test_rule)


def protocol_suffix(args: ServiceArgs) -> str:
    return "" if args.protocol_version == HTTP1 else f"-{args.protocol_version.lower()}"


def target_group(name: str, letter: str, args: ServiceArgs, child: pulumi.ResourceOptions) -> aws.lb.TargetGroup:
    path, check = health_path(args), args.health_check
    return aws.lb.TargetGroup(
        f"{name}-tg-{letter}{protocol_suffix(args)}",
        # A replacement group exists next to the old one for a while, and its name is limited to 32 characters.
        name_prefix=f"{name[:4].rstrip('-')}-{letter}",
        vpc_id=args.vpc_id,
        target_type="ip",
        protocol="HTTP",
        protocol_version=None if args.protocol_version == HTTP1 else args.protocol_version,
        # Each task is registered with its own port. This one is never used, and changing it would replace the group.
        port=80,
        deregistration_delay=args.drain_seconds,
        stickiness=args.stickiness.of_target_group() if args.stickiness else None,
        health_check=aws.lb.TargetGroupHealthCheckArgs(
            path=path,
            matcher=check.matcher(args.protocol_version, path),
            interval=check.interval_seconds,
            timeout=check.timeout_seconds,
            healthy_threshold=check.healthy_count,
            unhealthy_threshold=check.unhealthy_count,
        ),
        opts=child,
    )


def listener_rule(
    name: str,
    listener_arn: pulumi.Input[str],
    args: ServiceArgs,
    groups: Sequence[aws.lb.TargetGroup],
    child: pulumi.ResourceOptions,
) -> aws.lb.ListenerRule:
    """Forwards to both groups, initially with all weight on one. ECS refuses to shift traffic to a group that is not in
    the rule."""
    return aws.lb.ListenerRule(
        name,
        listener_arn=listener_arn,
        priority=args.listener_priority,
        conditions=[aws.lb.ListenerRuleConditionArgs(**condition) for condition in rule_conditions(args)],
        actions=[
            aws.lb.ListenerRuleActionArgs(
                type="forward",
                forward=aws.lb.ListenerRuleActionForwardArgs(
                    target_groups=[
                        aws.lb.ListenerRuleActionForwardTargetGroupArgs(arn=group.arn, weight=weight)
                        for group, weight in zip(groups, (100, 0), strict=True)
                    ],
                    stickiness=args.stickiness.of_rule() if args.stickiness else None,
                ),
            )
        ],
        # From the first shift on, ECS or CodeDeploy owns the weights.
        opts=child.merge(pulumi.ResourceOptions(ignore_changes=["actions"])),
    )


def rule_conditions(args: ServiceArgs) -> list[dict[str, Any]]:
    """What a request must have to come to the process."""
    given: list[dict[str, Any]] = []
    if paths := conditions_paths(args):
        given.append({"path_pattern": aws.lb.ListenerRuleConditionPathPatternArgs(values=list(paths))})
    if args.hosts:
        given.append({"host_header": aws.lb.ListenerRuleConditionHostHeaderArgs(values=list(args.hosts))})
    for name, values in sorted(args.headers.items()):
        header = aws.lb.ListenerRuleConditionHttpHeaderArgs(http_header_name=name, values=list(values))
        given.append({"http_header": header})
    return given


def shift_statements(target_groups: Sequence[pulumi.Input[str]], rules: Sequence[pulumi.Input[str]]) -> list[Statement]:
    """Statements that ECS needs to shift traffic between these groups with these rules.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/AmazonECSInfrastructureRolePolicyForLoadBalancers.html
    """
    return [
        # These actions support no resource.
        allow(
            "elasticloadbalancing:DescribeListeners",
            "elasticloadbalancing:DescribeRules",
            "elasticloadbalancing:DescribeTargetGroups",
            "elasticloadbalancing:DescribeTargetHealth",
            on="*",
        ),
        allow("elasticloadbalancing:RegisterTargets", "elasticloadbalancing:DeregisterTargets", on=list(target_groups)),
        allow("elasticloadbalancing:ModifyRule", on=list(rules)),
    ]


def load_balancers(args: ServiceArgs, traffic: TrafficRouting | None) -> list[dict[str, Any]]:
    """The service's load balancers in the format of the ECS API."""
    if traffic is None:
        return []
    return [
        load_balancer(port, container, number, traffic.infrastructure)
        for port, (container, number) in zip(traffic.ports, request_targets(args), strict=True)
    ]


def load_balancer(
    port: PortTraffic, container: str, number: int | None, infrastructure: aws.iam.Role | None
) -> dict[str, Any]:
    """https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_LoadBalancer.html"""
    first, second = port.target_groups
    balancer: dict[str, Any] = {
        "targetGroupArn": first.arn,
        "containerName": container,
        "containerPort": number,
    }
    if infrastructure is not None:
        test = {"testListenerRule": port.test_rule.arn} if port.test_rule else {}
        balancer["advancedConfiguration"] = {
            "alternateTargetGroupArn": second.arn,
            "productionListenerRule": port.rule.arn,
            "roleArn": infrastructure.arn,
            **test,
        }
    return balancer


def error_alarms(
    name: str, args: ServiceArgs, balancer: Balancer, traffic: TrafficRouting, child: pulumi.ResourceOptions
) -> list[aws.cloudwatch.MetricAlarm]:
    """One for each port: an alarm has at most ten metrics."""
    if args.error_alarm is None:
        return []
    ports = zip(named_ports(name, args), traffic.ports, strict=True)
    return [error_alarm(each, args.error_alarm, balancer, port, child) for each, port in ports]


def error_alarm(
    name: str, settings: ErrorAlarm, balancer: Balancer, port: PortTraffic, child: pulumi.ResourceOptions
) -> aws.cloudwatch.MetricAlarm:
    """Goes off if too many requests to either target group fail, so also if only the new tasks fail.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Create-alarm-on-metric-math-expression.html
    """
    queries = []
    for letter, group in zip("ab", port.target_groups, strict=True):
        of: Mapping[str, pulumi.Input[str]] = {
            "LoadBalancer": balancer.arn_suffix,
            "TargetGroup": group.arn_suffix,
        }
        queries += [
            metric(f"errors_{letter}", "HTTPCode_Target_5XX_Count", of),
            metric(f"requests_{letter}", "RequestCount", of),
        ]
    enough = settings.requests
    shares = [f"IF(FILL(requests_{g}, 0) >= {enough}, 100 * FILL(errors_{g}, 0) / requests_{g}, 0)" for g in ("a", "b")]
    return aws.cloudwatch.MetricAlarm(
        f"{name}-errors",
        alarm_description=f"More than {settings.percent} percent of the requests to {name} fail.",
        comparison_operator="GreaterThanThreshold",
        threshold=settings.percent,
        evaluation_periods=settings.minutes,
        # No requests means no errors: an alarm without data would never go off or recover.
        treat_missing_data="notBreaching",
        metric_queries=[
            *queries,
            aws.cloudwatch.MetricAlarmMetricQueryArgs(
                id="percent",
                label="Failed requests, percent",
                expression=f"MAX([{', '.join(shares)}])",
                return_data=True,
            ),
        ],
        opts=child,
    )


@dataclass(frozen=True)
class Alarms:
    """The alarms that are watched during a deployment."""

    names: Sequence[pulumi.Input[str]]
    arns: Sequence[pulumi.Input[str]]
    minutes: int
    """Minutes for which the service's own alarms are watched after the tasks are running."""


def watched(args: ServiceArgs, own: Sequence[aws.cloudwatch.MetricAlarm], scope: Scope) -> Alarms:
    """The service's own alarms and the alarms in its arguments."""
    given = [scope.arn("cloudwatch", concat("alarm:", alarm)) for alarm in args.alarm_names]
    return Alarms(
        names=[*(alarm.name for alarm in own), *args.alarm_names],
        arns=[*(alarm.arn for alarm in own), *given],
        minutes=args.error_alarm.minutes if own and args.error_alarm else 0,
    )


def metric(
    id: str, name: str, dimensions: Mapping[str, pulumi.Input[str]]
) -> aws.cloudwatch.MetricAlarmMetricQueryArgs:
    """https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html"""
    return aws.cloudwatch.MetricAlarmMetricQueryArgs(
        id=id,
        metric=aws.cloudwatch.MetricAlarmMetricQueryMetricArgs(
            namespace="AWS/ApplicationELB", metric_name=name, dimensions=dimensions, period=60, stat="Sum"
        ),
    )
