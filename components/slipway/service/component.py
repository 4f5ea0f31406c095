"""Service: an ECS service on Fargate. The pipeline owns its image, Pulumi owns everything else."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, cast

import pulumi
import pulumi_aws as aws

from slipway import iam
from slipway._outputs import concat
from slipway._rules import check_args, check_name
from slipway._secrets import by_arn, change_pattern, in_patterns
from slipway.existing_load_balancer import Balancer, ExistingLoadBalancer
from slipway.iam import Scope, Statement, allow, in_region
from slipway.registry import ENVIRONMENT_NAME
from slipway.release.code_deploy import CodeDeploy, CodeDeployArgs
from slipway.release.component import ReleasedProcess, ReleaseFunction, ReleaseFunctionArgs, register_statements
from slipway.release.function.contract import MIGRATION, WEB
from slipway.release.lambda_function import invoke_on_event
from slipway.service.args import (
    ServiceArgs,
    changed,
    conditions_paths,
    connect_target,
    process_settings,
    release_minutes,
    release_order,
    request_targets,
    route_settings,
)
from slipway.service.capacity import on_demand
from slipway.service.connect import open_to_clients
from slipway.service.deployment import Parts, hook_functions, hook_role
from slipway.service.jobs import Place
from slipway.service.jobs import jobs as schedule
from slipway.service.logging import log_references
from slipway.service.process import Shared, make, task
from slipway.service.requests import PROTOCOL_VERSIONS, priority
from slipway.service.sidecars import references
from slipway.service.task_definition import task_roles
from slipway.service.traffic import open_port, route_name, security_group
from slipway.service.volumes import file_systems
from slipway.strategies import CodeDeployBlueGreen, Rolling

SECRETS_REGION = "a task would wait for another Region whenever it starts; replicate the secret"
EVENTS_PLACE = "its events are sent there"
HOOKS_REGION = "ECS invokes functions of its own Region"
NAMESPACE_REGION = "ECS uses the namespaces of its own Region"
QUEUES_PLACE = "its metrics are there, and the service is scaled by those of its own Region and account"


class Service(pulumi.ComponentResource):
    """An ECS service that has no tasks until its pipeline releases an image, and then runs that image; with further
    processes, one ECS service for each.

    `name` is the service's name, and the family of its released task definitions. Those of a further process are
    `<name>-<process>`.
    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_services.html
    """

    service_name: str
    cluster_name: pulumi.Output[str]
    environment_name: str
    container_name: str
    url: pulumi.Output[str] | None
    """Address of the service; None for a worker."""
    vpc_id: pulumi.Output[str]
    subnet_ids: pulumi.Output[Sequence[str]]
    log_group_name: pulumi.Output[str]
    task_role_name: pulumi.Output[str]
    security_group_id: pulumi.Output[str]
    """Security group of the tasks, for example to allow them access to a database."""
    release_function: ReleaseFunction
    """The function that deploys this service."""
    code_deploy: CodeDeploy | None
    """CodeDeploy's resources for this service, if CodeDeploy replaces its tasks."""

    def __init__(self, name: str, args: ServiceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Create the service.

        Raises ValueError if `name` is not valid for every resource that is named after the service, if another service
        of the load balancer has its priority, or if something it refers to is in another Region; pulumi.RunError if an
        existing repository does not fit its releases, or an existing load balancer is in another VPC.
        """
        check_name("service", name)
        check_args(args, ServiceArgs)
        environment_name = args.environment_name or stack_environment()
        args.registry.check_release(environment_name, args.keep_verified)
        if isinstance(args.load_balancer, ExistingLoadBalancer):
            args.load_balancer.check_vpc(args.vpc_id)
        processes = process_settings(args)
        for part in (*processes, *args.jobs):
            check_name("process", part_name(name, part))
        for process, each in processes.items():
            if each.load_balancer is not None:
                processes[process] = with_priority(part_name(name, process), each, each.load_balancer)
        super().__init__("slipway:index:Service", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        scope = Scope.of(self)
        given = {**by_field("secrets", args.secrets), **references(args.sidecars), **log_references(args.logging)}
        secrets = by_arn(scope, given, pulumi.InvokeOptions(parent=self))
        secrets = in_region(self, "secretsmanager", secrets, SECRETS_REGION)
        if args.restart_on_secret_change:
            for kind in ("secretsmanager", "ssm"):
                secrets = in_region(self, kind, secrets, EVENTS_PLACE, account=True)
        queues = {process: queue_arns(process, each) for process, each in processes.items()}
        processes = {
            process: with_queues(each, in_region(self, "sqs", queues[process], QUEUES_PLACE, account=True))
            for process, each in processes.items()
        }
        functions = in_region(self, "lambda", hook_functions(args.strategy), HOOKS_REGION)
        namespace = {"service_connect.namespace_arn": args.namespace_arn} if args.namespace_arn else {}
        namespace = in_region(self, "servicediscovery", namespace, NAMESPACE_REGION)

        logs = aws.cloudwatch.LogGroup(
            f"{name}-logs", name=f"/ecs/{name}", retention_in_days=args.log_retention_days, opts=child
        )
        tasks = security_group(name, args, child)
        systems = file_systems(name, args.volumes, tasks, scope, child)
        roles = task_roles(name, args, logs, secrets, systems.statements, scope, child)
        if roles.task_policy is not None and args.volumes:
            systems.ready.append(roles.task_policy)
        shared = Shared(
            roles=roles,
            logs=logs,
            tasks=tasks,
            systems=systems,
            secrets=secrets,
            hooks=hook_role(name, list(functions.values()), child),
            scope=scope,
            namespace_arn=next(iter(namespace.values()), None),
        )
        if args.load_balancer is not None:
            ports = {port for each in processes.values() for _, port in request_targets(each)}
            for port in sorted(each for each in ports if each is not None):
                open_port(name, port, args.load_balancer, shared.tasks, child)
        if args.service_connect is not None:
            ports = {connect_target(each)[1] for each in processes.values()}
            served = [port for port in ports if port is not None]
            open_to_clients(name, args.service_connect, served, shared.tasks, len(processes) > 1, child)
        made = {
            process: make(part_name(name, process), each, log_prefix(args, process), shared, child)
            for process, each in processes.items()
        }
        web = made.pop(WEB)
        migration = (
            task(f"{name}-{MIGRATION}", args, args.migration, MIGRATION, shared, child) if args.migration else None
        )
        jobs = {job: task(part_name(name, job), args, each, job, shared, child) for job, each in args.jobs.items()}
        self.code_deploy = code_deploy(name, processes[WEB], web.parts, web.released.service, child)
        self.url = args.load_balancer.url if args.load_balancer else None
        if args.load_balancer is not None and args.url is not None:
            self.url = pulumi.Output.from_input(args.url)
        self.release_function = ReleaseFunction(
            f"{name}-release",
            ReleaseFunctionArgs(
                **each_field(web.released),
                cluster=args.cluster,
                registry=args.registry,
                environment_name=environment_name,
                container_name=args.container_name,
                keep_verified=args.keep_verified,
                log_retention_days=args.log_retention_days,
                role_arns=shared.roles.arns,
                subnet_ids=args.subnet_ids,
                assign_public_ip=args.assign_public_ip,
                security_group_id=shared.tasks.id,
                log_group=logs,
                service_url=self.url,
                code_deploy=self.code_deploy,
                retain_state=args.retain_release_state,
                processes={process: each.released for process, each in made.items()},
                order=release_order(args),
                migration=migration,
                jobs=jobs,
            ),
            opts=child,
        )

        place = Place(
            scope=scope,
            cluster_arn=args.cluster.arn,
            cluster_name=args.cluster.name,
            subnet_ids=args.subnet_ids,
            security_group_id=shared.tasks.id,
            role_arns=shared.roles.arns,
            table_name=self.release_function.table_name,
            table_arn=self.release_function.table_arn,
            assign_public_ip=args.assign_public_ip,
            capacity=on_demand(args.capacity).strategy,
        )
        # For its Pipeline; not an output.
        rollout = self.release_function.rollout
        self.job_arns: Sequence[pulumi.Input[str]] = schedule(name, args.jobs, place, [rollout], child)
        if args.restart_on_secret_change:
            restart_on_change(name, list(secrets.values()), self.release_function, child)

        self.service_name, self.container_name, self.environment_name = name, args.container_name, environment_name
        self.cluster_name = args.cluster.name
        # For its Pipeline; not outputs.
        self.strategy, self.registry, self.load_balancer = args.strategy, args.registry, args.load_balancer
        self.assign_public_ip = args.assign_public_ip
        self.release_minutes = release_minutes(args, args.strategy)
        self._scope, self._role_arns, self._cluster = scope, shared.roles.arns, args.cluster
        self._ecs_exec, self.connects = args.ecs_exec, args.service_connect is not None
        self.vpc_id = pulumi.Output.from_input(args.vpc_id)
        self.subnet_ids = pulumi.Output.from_input(cast(Any, args.subnet_ids))
        self.log_group_name, self._log_group_arn = logs.name, logs.arn
        self.task_role_name = shared.roles.task.name
        self.security_group_id = shared.tasks.id
        self.register_outputs({output: getattr(self, output) for output in inspect.get_annotations(Service)})

    def deploy_statements(self) -> list[Statement]:
        """Statements that CodePipeline's own action needs to deploy this service; none if the release function deploys
        it.

        https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-ECS.html
        """
        definitions = register_statements([self.service_name, f"{self.service_name}-template"], self._scope)
        passes = iam.pass_roles(*self._role_arns, to="ecs-tasks.amazonaws.com")
        if self.code_deploy is not None:
            return [*self.code_deploy.deploy_statements(), *definitions, passes]
        if isinstance(self.strategy, Rolling) and self.strategy.ecs_action:
            path = concat("service/", self._cluster.name, f"/{self.service_name}")
            update = allow("ecs:DescribeServices", "ecs:UpdateService", on=self._scope.arn("ecs", path))
            return [update, *definitions, passes]
        return []

    def run_statements(self) -> list[Statement]:
        """Statements for people, or a role, that run one-off tasks of the live image with this service's settings.

        They allow every revision of the service, and any command in it with the application's own permissions. The
        commands are in docs/how-to/one-off-task.md. StopTask is not among them, as it would also stop the service's
        tasks.
        https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RunTask.html
        """
        cluster, arn = self._cluster, self._scope.arn
        return [
            allow("ecs:DescribeServices", on=arn("ecs", concat("service/", cluster.name, f"/{self.service_name}"))),
            allow(
                "ecs:RunTask",
                on=arn("ecs", f"task-definition/{self.service_name}:*"),
                when={"ArnEquals": {"ecs:cluster": cluster.arn}},
            ),
            allow("ecs:DescribeTasks", on=arn("ecs", concat("task/", cluster.name, "/*"))),
            iam.pass_roles(*self._role_arns, to="ecs-tasks.amazonaws.com"),
            iam.read_logs(self._log_group_arn),
        ]

    def exec_statements(self) -> list[Statement]:
        """Statements for people, or a role, that run commands in the running containers; none without `ecs_exec`.

        Such a command has the application's own permissions and its secrets. The commands are in
        docs/how-to/ecs-exec.md.
        https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-exec-best-practices.html
        """
        if not self._ecs_exec:
            return []
        cluster, arn = self._cluster, self._scope.arn
        tasks = arn("ecs", concat("task/", cluster.name, "/*"))
        return [
            # The cluster may run other services too, so the container's name is asked for as well.
            allow(
                "ecs:ExecuteCommand",
                on=[cluster.arn, tasks],
                when={"StringEquals": {"ecs:container-name": self.container_name}},
            ),
            # Tasks are listed by service, and their names are generated.
            allow("ecs:ListTasks", on="*", when={"ArnEquals": {"ecs:cluster": cluster.arn}}),
            allow("ecs:DescribeTasks", on=tasks),
        ]


def stack_environment() -> str:
    """The stack's name as the name of an environment.

    Raises ValueError if the name cannot be used in a tag.
    """
    name = pulumi.get_stack()
    if not ENVIRONMENT_NAME.fullmatch(name):
        raise ValueError(f"environment_name must be given where the stack's name has not its form, got stack {name!r}")
    return name


def by_field(field: str, values: Mapping[str, pulumi.Input[str]]) -> dict[str, pulumi.Input[str]]:
    return {f"{field}[{key!r}]": value for key, value in values.items()}


def part_name(service: str, part: str) -> str:
    """Name of a process or job in AWS: `web` has that of the service."""
    return service if part == WEB else f"{service}-{part}"


def log_prefix(args: ServiceArgs, process: str) -> str:
    """What the names of the log streams of a process begin with."""
    return args.container_name if process == WEB else process


def with_priority(name: str, args: ServiceArgs, balancer: Balancer) -> ServiceArgs:
    """The arguments with the priorities of the process's rule and of its routes."""
    own = rule_priority(name, args, balancer)
    routes = {
        route: replace(args.routes[route], listener_priority=rule_priority(route_name(name, route), each, balancer))
        for route, each in route_settings(args).items()
    }
    return changed(args, {"listener_priority": own, "routes": routes})


def rule_priority(name: str, args: ServiceArgs, balancer: Balancer) -> int:
    usual = priority(name, conditions_paths(args), args.hosts, args.headers)
    # A rule of another protocol stands beside the one that it takes the place of until the new tasks are there.
    usual += PROTOCOL_VERSIONS.index(args.protocol_version)
    return balancer.give_priority(name, args.listener_priority, usual)


def queue_arns(process: str, args: ServiceArgs) -> dict[str, pulumi.Input[str]]:
    """The queues that a process is scaled by, by field."""
    prefix = "" if process == WEB else f"processes[{process!r}]."
    return {f"{prefix}tasks.queues[{number}].arn": queue.arn for number, queue in enumerate(args.tasks.queues)}


def with_queues(args: ServiceArgs, arns: Mapping[str, pulumi.Input[str]]) -> ServiceArgs:
    """The arguments with these ARNs of the queues."""
    if not arns:
        return args
    queues = [replace(queue, arn=arn) for queue, arn in zip(args.tasks.queues, arns.values(), strict=True)]
    return changed(args, {"tasks": replace(args.tasks, queues=queues)})


def each_field(released: ReleasedProcess) -> dict[str, Any]:
    return {field.name: getattr(released, field.name) for field in fields(released)}


def restart_on_change(
    name: str, references: Sequence[pulumi.Input[str]], function: ReleaseFunction, child: pulumi.ResourceOptions
) -> None:
    """Events that make the function replace the tasks: as many rules as it takes, since a pattern is limited."""
    for number, part in enumerate(in_patterns(references)):
        invoke_on_event(
            f"{name}-secrets{f'-{number + 1}' if number else ''}",
            f"A secret of {name} has changed",
            change_pattern(part),
            function.function_name,
            function.function_arn,
            child,
        )


def code_deploy(
    name: str, args: ServiceArgs, parts: Parts, service: aws.ecs.Service, child: pulumi.ResourceOptions
) -> CodeDeploy | None:
    """CodeDeploy's resources, if it replaces the tasks."""
    if not isinstance(args.strategy, CodeDeployBlueGreen) or parts.traffic is None or args.load_balancer is None:
        return None
    return CodeDeploy(
        name,
        CodeDeployArgs(
            cluster=args.cluster,
            service=service,
            strategy=args.strategy,
            target_groups=parts.traffic.ports[0].target_groups,
            listener_arn=args.load_balancer.listener_arn,
            test_listener_arn=args.load_balancer.test_listener_arn,
            alarm_names=parts.alarms.names,
            alarm_arns=parts.alarms.arns,
            role_arns=parts.roles.arns,
        ),
        opts=child,
    )
