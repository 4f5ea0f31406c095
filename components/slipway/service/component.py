"""Service: an ECS service on Fargate whose image belongs to its pipeline, and all else to Pulumi."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_aws as aws

from slipway import iam
from slipway._rules import check_name, refuse
from slipway._secrets import secret_rules, secret_statements
from slipway.build.component import LOG_DAYS
from slipway.iam import Scope, Statement, allow
from slipway.load_balancer import LoadBalancer
from slipway.registry import Repository
from slipway.release.code_deploy import CodeDeploy, CodeDeployArgs
from slipway.release.component import ReleaseFunction, ReleaseFunctionArgs, register_statements
from slipway.service.deployment import (
    IGNORED_BY_PULUMI,
    deployment_configuration,
    first_deployment,
    hook_role,
    load_balancer,
    rebalancing,
)
from slipway.service.fargate import FARGATE_MEMORY_MIB
from slipway.service.scaling import scale
from slipway.service.traffic import attach, error_alarm, load_balancers, security_group
from slipway.strategies import BlueGreen, CodeDeployBlueGreen, Rolling, Strategy

ENVIRONMENT_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,29}")
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
class ErrorAlarm:
    """An alarm on failed requests (5XX), which rolls a deployment back while it is under way.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-alarm-failure.html
    """

    percent: int = 5
    """Share of the requests to the old tasks, or to the new ones, that may fail, in percent."""

    requests: int = 20
    """Requests a minute that it takes to judge."""

    minutes: int = 2
    """Minutes in a row that are above that share."""

    def __post_init__(self) -> None:
        refuse(
            (not 1 <= self.percent <= 99, f"percent must be between 1 and 99, got {self.percent}"),
            (not 1 <= self.requests <= 1_000_000, f"requests must be between 1 and 1000000, got {self.requests}"),
            (not 1 <= self.minutes <= 60, f"minutes must be between 1 and 60, got {self.minutes}"),
        )


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """Settings of a Service that a stack file can have too."""

    port: int | None = 8080
    """Port that the container listens on, for HTTP. Without one (null) the service is a worker: it answers no requests
    and has no load balancer."""

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

    url: str | None = None
    """Address that the service answers at, such as https://shop.example.com; that of its load balancer without it."""

    error_alarm: ErrorAlarm | None = field(default_factory=ErrorAlarm)
    """Alarm that rolls a deployment back; none (null) for a service whose errors say nothing."""

    alarm_names: Sequence[str] = ()
    """CloudWatch alarms of your own that roll a deployment back too. One that is in ALARM when a deployment begins is
    ignored in it."""

    keep_verified: int = 5
    """Verified releases whose images never expire."""

    retain_release_state: bool = True
    """Keep the table of the release state, with the history of releases, when the stack is destroyed. Before the stack
    is made again, delete that table, or import it."""

    log_retention_days: int = 30
    """Days to keep the logs of the service and of its releases."""

    def __post_init__(self) -> None:
        possible = list(FARGATE_MEMORY_MIB.get(self.cpu, ()))
        refuse(
            (
                self.port is not None and not 1 <= self.port <= 65535,
                f"port must be between 1 and 65535, got {self.port}",
            ),
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
            *secret_rules(self.environment, self.secrets),
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
            (
                self.url is not None and not re.fullmatch(r"https?://[^\s/]+", self.url),
                f"url must be an address such as https://shop.example.com, got {self.url!r}",
            ),
            (
                not all(re.fullmatch(r"[^\s,]{1,255}", name) for name in self.alarm_names),
                f"alarm_names must be names of alarms in CloudWatch, got {list(self.alarm_names)}",
            ),
            # A deployment group of CodeDeploy takes ten, and error_alarm is one.
            # https://docs.aws.amazon.com/codedeploy/latest/userguide/limits.html
            (
                len(self.alarm_names) > 9 or len(set(self.alarm_names)) < len(self.alarm_names),
                f"alarm_names must be at most 9, all different, got {list(self.alarm_names)}",
            ),
            (not 1 <= self.keep_verified <= 20, f"keep_verified must be between 1 and 20, got {self.keep_verified}"),
            (
                self.log_retention_days not in LOG_DAYS,
                f"log_retention_days must be one of {list(LOG_DAYS)}, got {self.log_retention_days}",
            ),
        )


@dataclass(frozen=True, kw_only=True)
class ServiceArgs(ServiceSettings):
    """Arguments of Service."""

    cluster: aws.ecs.Cluster
    """Cluster to run in."""

    registry: Repository
    """Where the released images are: a Registry, or an ExistingRegistry."""

    load_balancer: LoadBalancer | None = None
    """What requests come through; a worker, without a port, has none."""

    vpc_id: pulumi.Input[str]
    """VPC of the subnets."""

    subnet_ids: pulumi.Input[Sequence[str]]
    """Private subnets to run tasks in, with a way out to ECR and CloudWatch Logs."""

    environment_name: str | None = None
    """What tags and reports call the place where this service runs; the name of the stack without it. Services that
    take images from one registry must have different ones, or they would take each other's tags."""

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
                (self.load_balancer is None) != (self.port is None),
                f"load_balancer must be given with a port, and only then, got port={self.port}",
            ),
            *strategy_rules(self, self.strategy),
            (
                name is not None and not ENVIRONMENT_NAME.fullmatch(name),
                f"environment_name must be 1 to 30 characters of a-z 0-9 -, got {name!r}",
            ),
        )


def strategy_rules(settings: ServiceSettings, strategy: Strategy) -> list[tuple[bool, str]]:
    """What a strategy asks of a service."""
    worker = settings.port is None and not isinstance(strategy, Rolling)
    kind = type(strategy).__name__
    bake = strategy.bake_minutes if isinstance(strategy, BlueGreen) else 0
    alarm = settings.error_alarm
    return [
        (
            worker,
            f"strategy must be Rolling for a service without a port, got {kind}: there is no load balancer "
            "whose traffic could be shifted",
        ),
        (
            isinstance(strategy, BlueGreen) and not worker and alarm is not None and bake < alarm.minutes,
            f"strategy must have bake_minutes of at least error_alarm.minutes={alarm and alarm.minutes}, got {bake}: "
            "the old tasks would be gone before the alarm could go off",
        ),
    ]


class Service(pulumi.ComponentResource):
    """An ECS service that has no tasks until its pipeline releases an image, and then runs that image.

    `name` is the service's name, and the family of its released task definitions.
    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_services.html
    """

    service_name: str
    cluster_name: pulumi.Output[str]
    environment_name: str
    container_name: str
    url: pulumi.Output[str] | None
    """Where the service answers; a worker does not."""
    vpc_id: pulumi.Output[str]
    subnet_ids: pulumi.Output[Sequence[str]]
    log_group_name: pulumi.Output[str]
    task_role_name: pulumi.Output[str]
    security_group_id: pulumi.Output[str]
    """Security group of the tasks, for rules that let them into a database, say."""
    release_function: ReleaseFunction
    """What deploys this service."""
    code_deploy: CodeDeploy | None
    """What CodeDeploy has for this service, where it replaces the tasks."""

    def __init__(self, name: str, args: ServiceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Create the service.

        Raises ValueError if `name` cannot be the name of all that is named after the service.
        """
        check_name("service", name)
        super().__init__("slipway:index:Service", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        scope = Scope.of(self)
        environment_name = args.environment_name or pulumi.get_stack()

        logs = aws.cloudwatch.LogGroup(
            f"{name}-logs", name=f"/ecs/{name}", retention_in_days=args.log_retention_days, opts=child
        )
        # ECS names no cluster when it assumes a role for a task.
        # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html
        trusted = iam.trust("ecs-tasks.amazonaws.com", scope.only_for(scope.arn("ecs", "*")))
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
            container_definitions=pulumi.Output.json_dumps([container(args, logs.name, scope.region)], sort_keys=True),
            # Releases were made from the old revisions; they stay readable.
            skip_destroy=True,
            # Each change of it is a new one, which a component that is protected must not refuse.
            opts=child.merge(pulumi.ResourceOptions(protect=False)),
        )
        tasks = security_group(name, args, child)
        traffic, alarms = None, list[aws.cloudwatch.MetricAlarm]()
        if args.load_balancer is not None and args.port is not None:
            traffic = attach(name, args, args.load_balancer, args.port, tasks, child)
            alarm = error_alarm(name, args, args.load_balancer, traffic, child)
            alarms = [alarm] if alarm else []
        alarm_names: list[pulumi.Input[str]] = [*(alarm.name for alarm in alarms), *args.alarm_names]
        alarm_arns: list[pulumi.Input[str]] = [
            *(alarm.arn for alarm in alarms),
            *(scope.arn("cloudwatch", f"alarm:{alarm}") for alarm in args.alarm_names),
        ]
        hooks = hook_role(name, args.strategy, child)
        needed = [execution_policy, *(traffic.ready if traffic else []), *([hooks.policy] if hooks else [])]
        balancers = load_balancers(args, traffic)
        by_codedeploy = isinstance(args.strategy, CodeDeployBlueGreen)
        deployment = deployment_configuration(args.strategy, alarm_names, hooks)
        service = aws.ecs.Service(
            name,
            name=name,
            cluster=args.cluster.arn,
            task_definition=template.arn,
            launch_type="FARGATE",
            # Nothing is released yet, so no task can start: the first release sets the count.
            desired_count=0,
            deployment_controller=aws.ecs.ServiceDeploymentControllerArgs(
                type="CODE_DEPLOY" if by_codedeploy else "ECS"
            ),
            **first_deployment(deployment),
            health_check_grace_period_seconds=args.health_check_grace_seconds if traffic else None,
            network_configuration=aws.ecs.ServiceNetworkConfigurationArgs(
                subnets=args.subnet_ids, security_groups=[tasks.id], assign_public_ip=False
            ),
            load_balancers=[load_balancer(balancer) for balancer in balancers],
            enable_ecs_managed_tags=True,
            propagate_tags="SERVICE",
            opts=child.merge(
                pulumi.ResourceOptions(
                    ignore_changes=list(IGNORED_BY_PULUMI),
                    depends_on=needed,
                )
            ),
        )
        roles = [execution.arn, task_role.arn]
        self.code_deploy = None
        self._place, self._role_arns, self._cluster = scope, roles, args.cluster
        if isinstance(args.strategy, CodeDeployBlueGreen) and traffic and args.load_balancer:
            self.code_deploy = CodeDeploy(
                name,
                CodeDeployArgs(
                    cluster=args.cluster,
                    service=service,
                    strategy=args.strategy,
                    target_groups=traffic.target_groups,
                    listener_arn=args.load_balancer.listener_arn,
                    test_listener_arn=args.load_balancer.test_listener_arn,
                    alarm_names=alarm_names,
                    alarm_arns=alarm_arns,
                    role_arns=roles,
                ),
                opts=child,
            )
        self.url = None
        if args.load_balancer is not None:
            self.url = pulumi.Output.from_input(args.url) if args.url else args.load_balancer.url
        shifting = traffic.infrastructure if traffic else None
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
                strategy=args.strategy,
                deployment=deployment,
                availability_zone_rebalancing=rebalancing(deployment),
                keep_verified=args.keep_verified,
                log_retention_days=args.log_retention_days,
                role_arns=roles,
                service_role_arns=[*([shifting.arn] if shifting else []), *([hooks.role.arn] if hooks else [])],
                subnet_ids=args.subnet_ids,
                security_group_id=tasks.id,
                load_balancers=balancers,
                target_group_arns=traffic.target_group_arns if traffic else [],
                service_url=self.url,
                code_deploy=self.code_deploy,
                alarm_arns=[] if by_codedeploy else alarm_arns,
                alarm_minutes=args.error_alarm.minutes if alarms and args.error_alarm else 0,
                retain_state=args.retain_release_state,
            ),
            opts=child,
        )

        self.service_name = name
        self.cluster_name = args.cluster.name
        self.environment_name = environment_name
        self.container_name = args.container_name
        # For its Pipeline; not outputs.
        self.strategy, self.registry = args.strategy, args.registry
        self.vpc_id = pulumi.Output.from_input(args.vpc_id)
        self.subnet_ids = pulumi.Output.from_input(args.subnet_ids)
        self.log_group_name = logs.name
        self.task_role_name = task_role.name
        self.security_group_id = tasks.id
        self.register_outputs(
            {
                "service_name": name,
                "cluster_name": self.cluster_name,
                "environment_name": environment_name,
                "container_name": self.container_name,
                "url": self.url,
                "vpc_id": self.vpc_id,
                "subnet_ids": self.subnet_ids,
                "log_group_name": self.log_group_name,
                "task_role_name": self.task_role_name,
                "security_group_id": self.security_group_id,
                "release_function": self.release_function,
                "code_deploy": self.code_deploy,
            }
        )

    def deploy_statements(self) -> list[Statement]:
        """What CodePipeline's own action needs to deploy this service; nothing where the release function deploys.

        https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-ECS.html
        """
        definitions = register_statements([self.service_name, f"{self.service_name}-template"], self._place)
        passes = iam.pass_roles(*self._role_arns, to="ecs-tasks.amazonaws.com")
        if self.code_deploy is not None:
            return [*self.code_deploy.deploy_statements(), *definitions, passes]
        if isinstance(self.strategy, Rolling) and self.strategy.ecs_action:
            path = pulumi.Output.concat("service/", self._cluster.name, f"/{self.service_name}")
            update = allow("ecs:DescribeServices", "ecs:UpdateService", on=self._place.arn("ecs", path))
            return [update, *definitions, passes]
        return []


def execution_statements(args: ServiceArgs, logs: aws.cloudwatch.LogGroup) -> list[Statement]:
    """What ECS itself needs to start a task.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_execution_IAM_role.html
    """
    secrets = secret_statements(args.secrets, args.secrets_kms_key_arns)
    return [*args.registry.pull_statements(), iam.write_logs(logs.arn), *secrets]


def container(args: ServiceArgs, log_group: pulumi.Input[str], region: pulumi.Input[str]) -> dict[str, Any]:
    """The container definition, all but the image that releases bring.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html
    """
    return {
        "name": args.container_name,
        "image": pulumi.Output.concat(args.registry.url, f":{UNRELEASED}"),
        "essential": True,
        "portMappings": [{"containerPort": args.port, "hostPort": args.port, "protocol": "tcp"}] if args.port else [],
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
