"""Service: an ECS service on Fargate whose image belongs to its pipeline, and all else to Pulumi."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_aws as aws

from slipway import iam
from slipway._fargate import FARGATE_MEMORY_MIB
from slipway._rules import check_name, refuse
from slipway.build import LOG_DAYS
from slipway.iam import Place, Statement, allow
from slipway.load_balancer import LoadBalancer
from slipway.registry import Registry
from slipway.release_function import ReleaseFunction, ReleaseFunctionArgs
from slipway.strategies import Rolling, Strategy

ENVIRONMENT_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,29}")
SECRET = re.compile(r"arn:[\w-]+:secretsmanager:[\w-]+:\d{12}:secret:[^:]+(:[^:]*:[^:]*:[^:]*)?")
PARAMETER = re.compile(r"arn:[\w-]+:ssm:[\w-]+:\d{12}:parameter/\S+")
ARCHITECTURES = ("X86_64", "ARM64")
UNRELEASED = "unreleased"
"""The tag that the template names; no such image exists, and nothing ever starts one."""


@dataclass(frozen=True, kw_only=True)
class Tasks:
    """How many tasks run."""

    min: int = 2
    """Tasks that run at least; with two, one Availability Zone may fail."""

    max: int | None = None
    """Tasks that run at most. Above `min`, the service scales with its load; without it, `min` tasks run."""

    target_cpu_percent: int = 60
    """Average CPU utilization, in percent, that scaling aims at."""

    def __post_init__(self) -> None:
        refuse(
            (not 1 <= self.min <= 5000, f"min must be between 1 and 5000, got {self.min}"),
            (
                self.max is not None and not self.min <= self.max <= 5000,
                f"max must be between min={self.min} and 5000, got {self.max}",
            ),
            (
                not 10 <= self.target_cpu_percent <= 90,
                f"target_cpu_percent must be between 10 and 90, got {self.target_cpu_percent}",
            ),
        )

    @property
    def most(self) -> int:
        return self.min if self.max is None else self.max


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """What a Service can be told that a stack file can say too."""

    port: int = 8080
    """Port that the container listens on, for HTTP."""

    health_path: str = "/"
    """Path that answers 200 when a task can serve. It changes at once, also for the tasks that run: change it only
    when the image that is live answers the new path too."""

    cpu: int = 256
    """CPU units of a task, 1024 to a vCPU."""

    memory: int = 512
    """MiB of a task; which sizes are possible depends on `cpu`."""

    cpu_architecture: str = "X86_64"
    """X86_64 or ARM64, as the image was built."""

    tasks: Tasks = field(default_factory=Tasks)
    """How many tasks run."""

    environment: Mapping[str, str] = field(default_factory=dict)
    """Environment variables. Whoever may describe task definitions reads them: secrets go into `secrets`."""

    secrets: Mapping[str, str] = field(default_factory=dict)
    """Environment variables by reference: the ARN of a secret in Secrets Manager, with `:<json key>::` behind it for
    one key of it, or of a parameter in Parameter Store. Values are read when a task starts."""

    secrets_kms_key_arns: Sequence[str] = ()
    """Customer managed KMS keys that `secrets` are encrypted with."""

    read_only_root_filesystem: bool = True
    """Mount the container's file system read-only. Turn it off for software that writes to it."""

    health_check_grace_seconds: int = 60
    """Seconds after its start in which a task's failed health checks do not count."""

    stop_timeout_seconds: int = 30
    """Seconds between SIGTERM and SIGKILL, which is also how long a stopping task may finish its requests."""

    paths: Sequence[str] = ("/*",)
    """Paths of the load balancer that this service answers."""

    listener_priority: int = 100
    """Order of the service's rule among those of the load balancer; each service has its own."""

    keep_verified: int = 5
    """Verified releases whose images never expire."""

    log_retention_days: int = 30
    """Days to keep the logs of the service and of its releases."""

    def __post_init__(self) -> None:
        possible = list(FARGATE_MEMORY_MIB.get(self.cpu, ()))
        twice = sorted(set(self.environment) & set(self.secrets))
        values = sorted(k for k, v in self.secrets.items() if not SECRET.fullmatch(v) and not PARAMETER.fullmatch(v))
        refuse(
            (not 1 <= self.port <= 65535, f"port must be between 1 and 65535, got {self.port}"),
            (not self.health_path.startswith("/"), f"health_path must start with /, got {self.health_path!r}"),
            (
                self.cpu not in FARGATE_MEMORY_MIB,
                f"cpu must be one of {list(FARGATE_MEMORY_MIB)}, got {self.cpu}",
            ),
            (
                self.cpu in FARGATE_MEMORY_MIB and self.memory not in possible,
                f"memory must be one of {possible} with cpu={self.cpu}, got {self.memory}",
            ),
            (
                self.cpu_architecture not in ARCHITECTURES,
                f"cpu_architecture must be one of {list(ARCHITECTURES)}, got {self.cpu_architecture!r}",
            ),
            (bool(twice), f"environment must not have the names that secrets has, got {twice} in both"),
            # What stands there may be the secret itself, so it is not repeated.
            (bool(values), f"secrets must be ARNs of secrets or parameters, and these are not: {values}"),
            (
                not 0 <= self.health_check_grace_seconds <= 86_400,
                f"health_check_grace_seconds must be between 0 and 86400, got {self.health_check_grace_seconds}",
            ),
            (
                not 2 <= self.stop_timeout_seconds <= 120,
                f"stop_timeout_seconds must be between 2 and 120, got {self.stop_timeout_seconds}",
            ),
            (
                not 1 <= len(self.paths) <= 5 or not all(path.startswith("/") for path in self.paths),
                f"paths must be 1 to 5 patterns that start with /, got {list(self.paths)}",
            ),
            (
                not 1 <= self.listener_priority <= 50_000,
                f"listener_priority must be between 1 and 50000, got {self.listener_priority}",
            ),
            (not 1 <= self.keep_verified <= 20, f"keep_verified must be between 1 and 20, got {self.keep_verified}"),
            (
                self.log_retention_days not in LOG_DAYS,
                f"log_retention_days must be one of {list(LOG_DAYS)}, got {self.log_retention_days}",
            ),
        )


@dataclass(frozen=True, kw_only=True)
class ServiceArgs(ServiceSettings):
    """What a Service can be told."""

    cluster: aws.ecs.Cluster
    """Cluster to run in."""

    registry: Registry
    """Where the released images are."""

    load_balancer: LoadBalancer
    """What requests come through."""

    vpc_id: pulumi.Input[str]
    """VPC of the subnets."""

    subnet_ids: pulumi.Input[Sequence[str]]
    """Private subnets to run tasks in, with a way out to ECR and CloudWatch Logs."""

    environment_name: str | None = None
    """What tags and reports call the place where this service runs; the name of the stack without it."""

    container_name: str = "app"
    """Container that releases bring an image for, as the build names it."""

    strategy: Strategy = field(default_factory=Rolling)
    """How tasks are replaced."""

    task_statements: Sequence[Statement] = ()
    """What the application itself may do in AWS; nothing without it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        name = self.environment_name
        refuse(
            (
                name is not None and not ENVIRONMENT_NAME.fullmatch(name),
                f"environment_name must be 1 to 30 characters of a-z 0-9 -, got {name!r}",
            ),
        )


class Service(pulumi.ComponentResource):
    """An ECS service that has no tasks until its pipeline releases an image, and then runs that image.

    `name` is the service's name, and the family of its released task definitions.
    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_services.html
    """

    service_name: str
    cluster_name: pulumi.Output[str]
    environment_name: str
    container_name: str
    url: pulumi.Output[str]
    """Where the load balancer answers for this service."""
    log_group_name: pulumi.Output[str]
    task_role_name: pulumi.Output[str]
    security_group_id: pulumi.Output[str]
    """Security group of the tasks, for rules that let them into a database, say."""
    release_function: ReleaseFunction
    """What deploys this service."""

    def __init__(self, name: str, args: ServiceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Create the service.

        Raises ValueError if `name` cannot be the name of all that is named after the service.
        """
        check_name("service", name)
        super().__init__("slipway:index:Service", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        place = Place.of(self)
        environment_name = args.environment_name or pulumi.get_stack()

        logs = aws.cloudwatch.LogGroup(
            f"{name}-logs", name=f"/ecs/{name}", retention_in_days=args.log_retention_days, opts=child
        )
        # ECS names no cluster when it assumes a role for a task.
        # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html
        trusted = iam.trust("ecs-tasks.amazonaws.com", place.only_for(place.arn("ecs", "*")))
        execution, execution_policy = iam.role(f"{name}-execution", trusted, execution_statements(args, logs), child)
        task_role = aws.iam.Role(f"{name}-task-role", assume_role_policy=trusted, opts=child)
        if args.task_statements:
            aws.iam.RolePolicy(
                f"{name}-task-policy", role=task_role.name, policy=iam.document(*args.task_statements), opts=child
            )

        template = aws.ecs.TaskDefinition(
            f"{name}-template",
            # A family of its own: what is released is a revision of the service's family.
            family=f"{name}-template",
            requires_compatibilities=["FARGATE"],
            network_mode="awsvpc",
            cpu=str(args.cpu),
            memory=str(args.memory),
            runtime_platform=aws.ecs.TaskDefinitionRuntimePlatformArgs(
                cpu_architecture=args.cpu_architecture, operating_system_family="LINUX"
            ),
            execution_role_arn=execution.arn,
            task_role_arn=task_role.arn,
            container_definitions=pulumi.Output.json_dumps([container(args, logs.name, place.region)], sort_keys=True),
            # Releases were made from the old revisions; they stay readable.
            skip_destroy=True,
            opts=child,
        )
        security_group, target_group, rule = attach(name, args, child)
        service = aws.ecs.Service(
            name,
            name=name,
            cluster=args.cluster.arn,
            task_definition=template.arn,
            launch_type="FARGATE",
            # Nothing is released yet, so no task can start: the first release sets the count.
            desired_count=0,
            deployment_controller=aws.ecs.ServiceDeploymentControllerArgs(type="ECS"),
            deployment_circuit_breaker=aws.ecs.ServiceDeploymentCircuitBreakerArgs(enable=True, rollback=True),
            deployment_minimum_healthy_percent=args.strategy.minimum_healthy_percent,
            deployment_maximum_percent=args.strategy.maximum_percent,
            health_check_grace_period_seconds=args.health_check_grace_seconds,
            network_configuration=aws.ecs.ServiceNetworkConfigurationArgs(
                subnets=args.subnet_ids, security_groups=[security_group.id], assign_public_ip=False
            ),
            load_balancers=[
                aws.ecs.ServiceLoadBalancerArgs(
                    target_group_arn=target_group.arn, container_name=args.container_name, container_port=args.port
                )
            ],
            enable_ecs_managed_tags=True,
            propagate_tags="SERVICE",
            # AWS refuses to rebalance where no more than the desired count may run.
            availability_zone_rebalancing="ENABLED" if args.strategy.maximum_percent > 100 else "DISABLED",
            # The release function alone changes what makes ECS deploy, in one call: a deployment that Pulumi started
            # would mix the new network or port with the old revision.
            opts=child.merge(
                pulumi.ResourceOptions(
                    ignore_changes=["task_definition", "desired_count", "network_configuration", "load_balancers"],
                    depends_on=[rule, execution_policy],
                )
            ),
        )
        self.release_function = ReleaseFunction(
            f"{name}-release",
            ReleaseFunctionArgs(
                cluster=args.cluster,
                service=service,
                template=template,
                scalable_target=scale(name, args, service, child),
                registry=args.registry,
                environment_name=environment_name,
                family=name,
                container_name=args.container_name,
                minimum_tasks=args.tasks.min,
                maximum_tasks=args.tasks.most,
                deadline_minutes=args.strategy.deadline_minutes,
                keep_verified=args.keep_verified,
                log_retention_days=args.log_retention_days,
                role_arns=[execution.arn, task_role.arn],
                subnet_ids=args.subnet_ids,
                security_group_id=security_group.id,
                target_group_arn=target_group.arn,
                port=args.port,
            ),
            opts=child,
        )

        self.service_name = name
        self.cluster_name = args.cluster.name
        self.environment_name = environment_name
        self.container_name = args.container_name
        self.url = args.load_balancer.url
        self.log_group_name = logs.name
        self.task_role_name = task_role.name
        self.security_group_id = security_group.id
        self.register_outputs(
            {
                "service_name": name,
                "cluster_name": self.cluster_name,
                "environment_name": environment_name,
                "container_name": self.container_name,
                "url": self.url,
                "log_group_name": self.log_group_name,
                "task_role_name": self.task_role_name,
                "security_group_id": self.security_group_id,
                "release_function": self.release_function,
            }
        )


def execution_statements(args: ServiceArgs, logs: aws.cloudwatch.LogGroup) -> list[Statement]:
    """What ECS itself needs to start a task.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_execution_IAM_role.html
    """
    # A reference may go on behind the ARN of the secret with a JSON key, a stage and a version.
    secrets = sorted({":".join(arn.split(":")[:7]) for arn in args.secrets.values() if SECRET.fullmatch(arn)})
    parameters = sorted({arn for arn in args.secrets.values() if PARAMETER.fullmatch(arn)})
    statements = [*args.registry.pull_statements(), iam.write_logs(logs.arn)]
    if secrets:
        statements.append(allow("secretsmanager:GetSecretValue", on=secrets))
    if parameters:
        statements.append(allow("ssm:GetParameters", on=parameters))
    if args.secrets_kms_key_arns:
        statements.append(allow("kms:Decrypt", on=list(args.secrets_kms_key_arns)))
    return statements


def container(args: ServiceArgs, log_group: pulumi.Input[str], region: pulumi.Input[str]) -> dict[str, Any]:
    """The container definition, all but the image that releases bring.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html
    """
    return {
        "name": args.container_name,
        "image": pulumi.Output.concat(args.registry.url, f":{UNRELEASED}"),
        "essential": True,
        "portMappings": [{"containerPort": args.port, "hostPort": args.port, "protocol": "tcp"}],
        "environment": [{"name": key, "value": value} for key, value in sorted(args.environment.items())],
        "secrets": [{"name": key, "valueFrom": arn} for key, arn in sorted(args.secrets.items())],
        "readonlyRootFilesystem": args.read_only_root_filesystem,
        # An init process passes signals on and reaps children.
        "linuxParameters": {"initProcessEnabled": True},
        "stopTimeout": args.stop_timeout_seconds,
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": log_group,
                "awslogs-region": region,
                "awslogs-stream-prefix": args.container_name,
                # A log that cannot be delivered must not hold up the application.
                "mode": "non-blocking",
            },
        },
    }


def attach(
    name: str, args: ServiceArgs, child: pulumi.ResourceOptions
) -> tuple[aws.ec2.SecurityGroup, aws.lb.TargetGroup, aws.lb.ListenerRule]:
    """The way from the load balancer to the tasks, and no other way in."""
    tasks = aws.ec2.SecurityGroup(f"{name}-tasks", description=f"Tasks of {name}", vpc_id=args.vpc_id, opts=child)
    aws.vpc.SecurityGroupIngressRule(
        # By its port: when that changes, the old rule stays until the tasks that listen there are gone.
        f"{name}-in-{args.port}",
        security_group_id=tasks.id,
        description="Load balancer",
        referenced_security_group_id=args.load_balancer.security_group_id,
        ip_protocol="tcp",
        from_port=args.port,
        to_port=args.port,
        opts=child,
    )
    aws.vpc.SecurityGroupEgressRule(
        f"{name}-from-balancer-{args.port}",
        security_group_id=args.load_balancer.security_group_id,
        description=f"Tasks of {name}",
        referenced_security_group_id=tasks.id,
        ip_protocol="tcp",
        from_port=args.port,
        to_port=args.port,
        opts=child,
    )
    # Images, logs, secrets, and whatever the application calls.
    aws.vpc.SecurityGroupEgressRule(
        f"{name}-out",
        security_group_id=tasks.id,
        description="Anywhere",
        ip_protocol="-1",
        cidr_ipv4="0.0.0.0/0",
        opts=child,
    )
    target_group = aws.lb.TargetGroup(
        f"{name}-tg",
        # A group that is replaced stands beside the old one for a while, and its name takes 32 characters in all.
        name_prefix=f"{name[:5].rstrip('-')}-",
        vpc_id=args.vpc_id,
        target_type="ip",
        protocol="HTTP",
        # Each task is registered with its own port; this one is never used, and changing it would replace the group.
        port=80,
        # A task that is stopped has this long to finish its requests, so no longer is needed here.
        deregistration_delay=args.stop_timeout_seconds,
        health_check=aws.lb.TargetGroupHealthCheckArgs(
            path=args.health_path, matcher="200", interval=15, timeout=5, healthy_threshold=2, unhealthy_threshold=3
        ),
        opts=child,
    )
    rule = aws.lb.ListenerRule(
        f"{name}-rule",
        listener_arn=args.load_balancer.listener_arn,
        priority=args.listener_priority,
        conditions=[
            aws.lb.ListenerRuleConditionArgs(
                path_pattern=aws.lb.ListenerRuleConditionPathPatternArgs(values=list(args.paths))
            )
        ],
        actions=[aws.lb.ListenerRuleActionArgs(type="forward", target_group_arn=target_group.arn)],
        opts=child,
    )
    return tasks, target_group, rule


def scale(
    name: str, args: ServiceArgs, service: aws.ecs.Service, child: pulumi.ResourceOptions
) -> aws.appautoscaling.Target | None:
    """Scale with the load, where there is room between the least and the most tasks."""
    if args.tasks.most == args.tasks.min:
        return None
    target = aws.appautoscaling.Target(
        f"{name}-scaling",
        service_namespace="ecs",
        scalable_dimension="ecs:service:DesiredCount",
        resource_id=pulumi.Output.concat("service/", args.cluster.name, "/", service.name),
        # Registering a target moves the count into its bounds at once, and nothing is released yet; the release
        # function sets the real bounds.
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
