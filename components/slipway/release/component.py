"""ReleaseFunction: deploys one service, for its pipeline and for `pulumi up`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import pulumi
import pulumi_aws as aws

from slipway import iam
from slipway._constraints import between, check
from slipway._outputs import concat
from slipway._rules import check_args, check_name
from slipway.codebuild import LogDays
from slipway.existing_cluster import Cluster
from slipway.iam import Scope, Statement, allow
from slipway.registry import EnvironmentName, Repository
from slipway.release.code_deploy import CodeDeploy
from slipway.release.function import contract
from slipway.release.lambda_function import RUN_MINUTES, function, invoke_on_event
from slipway.service.args import ContainerName
from slipway.strategies import Strategy


@dataclass(frozen=True, kw_only=True)
class ReleasedProcess:
    """One process: an ECS service, and everything of it that the release function deploys. Built by Service."""

    service: aws.ecs.Service
    family: str
    """Family of the released task definitions."""
    template: aws.ecs.TaskDefinition
    """Task definition that each release copies, except for the image."""
    scalable_target: aws.appautoscaling.Target | None
    minimum_tasks: Annotated[int, between(0, 5000)]
    maximum_tasks: Annotated[int, between(0, 5000)]
    strategy: Strategy
    deployment: Mapping[str, Any]
    """`deploymentConfiguration` in the ECS API."""
    availability_zone_rebalancing: str
    service_role_arns: Sequence[pulumi.Input[str]]
    """Roles that the service itself passes to ECS, to shift traffic and to invoke hooks."""
    load_balancers: Sequence[Mapping[str, Any]]
    """The load balancers in the format of the ECS API."""
    target_group_arns: Sequence[pulumi.Input[str]]
    alarm_arns: Sequence[pulumi.Input[str]]
    """Alarms that ECS watches during a deployment."""
    alarm_minutes: int
    """Minutes for which ECS watches the service's own alarm after the tasks are running."""
    capacity: Sequence[Mapping[str, Any]] = ()
    """`capacityProviderStrategy` in the ECS API; empty for the launch type FARGATE."""
    service_connect: Mapping[str, Any] = field(default_factory=dict)
    """`serviceConnectConfiguration` in the ECS API; empty without Service Connect."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class ReleasedTask:
    """A migration or a job: a task without a service. Built by Service."""

    family: str
    """Family of its task definitions."""
    template: aws.ecs.TaskDefinition
    """Task definition that they copy, except for the image."""
    timeout_minutes: int
    """Minutes after which it is stopped."""
    capacity: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, kw_only=True)
class ReleaseFunctionArgs(ReleasedProcess):
    """Arguments of ReleaseFunction, of which those of ReleasedProcess are for the process `web`; built by Service."""

    cluster: Cluster
    registry: Repository
    environment_name: EnvironmentName
    container_name: ContainerName
    keep_verified: Annotated[int, between(1, 20)]
    log_retention_days: LogDays
    role_arns: Sequence[pulumi.Input[str]]
    """Roles that the released task definitions pass to ECS."""
    subnet_ids: pulumi.Input[Sequence[pulumi.Input[str]]]
    security_group_id: pulumi.Input[str]
    log_group: aws.cloudwatch.LogGroup
    """Log group of the tasks, with the logs of migrations."""
    service_url: pulumi.Input[str] | None
    code_deploy: CodeDeploy | None
    retain_state: bool
    """Keep the release state table when the stack is destroyed."""
    processes: Mapping[str, ReleasedProcess] = field(default_factory=dict)
    """The other processes by name."""
    order: Sequence[Sequence[str]] = ((contract.WEB,),)
    """The names of all processes in the groups in which they are released."""
    migration: ReleasedTask | None = None
    jobs: Mapping[str, ReleasedTask] = field(default_factory=dict)
    assign_public_ip: bool = False

    @property
    def all_processes(self) -> Mapping[str, ReleasedProcess]:
        return {contract.WEB: self, **self.processes}

    @property
    def tasks(self) -> list[ReleasedTask]:
        return [*([self.migration] if self.migration else []), *self.jobs.values()]

    @property
    def total_minutes(self) -> int:
        """Minutes that the deployments of a `pulumi up` may take, with the time for which ECS watches alarms."""
        longest = {name: each.strategy.total_minutes + each.alarm_minutes for name, each in self.all_processes.items()}
        return sum(max(longest[name] for name in group) for group in self.order)


class ReleaseFunction(pulumi.ComponentResource):
    """A Lambda function that deploys one service, its release state, and its invocation in each `pulumi up`.

    `name` is the name of the function and of the DynamoDB table with the release state. Only the function writes to the
    table, so a release never shows as a change.
    """

    function_name: str
    function_arn: pulumi.Output[str]
    role_name: pulumi.Output[str]
    table_name: str
    """DynamoDB table with the release state and the history of releases."""

    def __init__(self, name: str, args: ReleaseFunctionArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        check_name("release function", name, longest=49, shortest=3)  # a table takes 3 characters
        check_args(args, ReleaseFunctionArgs)
        super().__init__("slipway:index:ReleaseFunction", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        scope = Scope.of(self)

        table = state_table(name, args, child)
        settings = settings_text(args)
        made = function(
            name,
            f"Deploys {args.family}: releases of the pipeline and settings of Pulumi",
            "handler",
            [
                table_statement(table, ["history", *([contract.JOB] if args.jobs else []), "release"]),
                # With this hash the function checks that the settings it receives are those that Pulumi wrote last.
                allow("lambda:GetFunctionConfiguration", on=scope.arn("lambda", f"function:{name}")),
                *deploy_statements(args, scope),
                *migrate_statements(args, scope),
                *args.registry.tag_statements(),
                # Job results support no resource.
                allow("codepipeline:PutJobSuccessResult", "codepipeline:PutJobFailureResult", on="*"),
            ],
            contract.variables(
                cluster=args.cluster.name,
                service=args.service.name,
                family=args.family,
                container=args.container_name,
                environment=args.environment_name,
                repository_url=args.registry.url,
                keep_verified=str(args.keep_verified),
                table=table.name,
                settings_sha256=settings.apply(contract.sha256),
                service_url=args.service_url or "",
                **({"codedeploy_group": args.code_deploy.application_name} if args.code_deploy else {}),
            ),
            args.log_retention_days,
            child,
        )
        rollout = roll_out(name, args, made.function, table, settings, made.policy, child)
        # Nothing depends on these events. They make the function clean up after a run that was killed.
        invoke_on_event(
            f"{name}-events",
            f"A deployment of {args.family} began or ended",
            {
                "source": ["aws.ecs"],
                "detail-type": ["ECS Deployment State Change"],
                "resources": [
                    scope.arn("ecs", concat("service/", service_path(args, each)))
                    for each in args.all_processes.values()
                ],
            },
            made.function.name,
            made.function.arn,
            child,
        )

        self.function_name = name
        self.function_arn = made.function.arn
        self.role_name = made.role.name
        self.table_name = name
        # For jobs; not outputs.
        self.rollout, self.table_arn = rollout, table.arn
        self.register_outputs(
            {
                "function_name": name,
                "function_arn": self.function_arn,
                "role_name": self.role_name,
                "table_name": self.table_name,
            }
        )

    def invoke_statement(self) -> Statement:
        """Invoke the function, which accepts an event only after CodePipeline confirms it."""
        return allow("lambda:InvokeFunction", on=self.function_arn)


def state_table(name: str, args: ReleaseFunctionArgs, child: pulumi.ResourceOptions) -> aws.dynamodb.Table:
    """The release state table: on-demand capacity, recoverable to any second of the last 35 days, and retained.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.CoreComponents.html
    """
    return aws.dynamodb.Table(
        name,
        name=name,
        billing_mode="PAY_PER_REQUEST",
        hash_key="item",
        range_key="at",
        attributes=[
            aws.dynamodb.TableAttributeArgs(name="item", type="S"),
            aws.dynamodb.TableAttributeArgs(name="at", type="S"),
        ],
        point_in_time_recovery=aws.dynamodb.TablePointInTimeRecoveryArgs(enabled=True),
        deletion_protection_enabled=args.retain_state,
        # The stream is not read. Its label changes when the table is created again, so that the settings are written
        # again.
        stream_enabled=True,
        stream_view_type="KEYS_ONLY",
        opts=child.merge(pulumi.ResourceOptions(retain_on_delete=args.retain_state)),
    )


def table_statement(table: aws.dynamodb.Table, items: Sequence[str]) -> Statement:
    """Read and write these kinds of items.

    A transaction is authorized by its individual operations.
    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html
    """
    keys = {"dynamodb:LeadingKeys": list(items)}
    return allow(
        "dynamodb:GetItem",
        "dynamodb:PutItem",
        on=table.arn,
        # A request without keys would satisfy the first condition.
        when={"ForAllValues:StringEquals": keys, "Null": {"dynamodb:LeadingKeys": "false"}},
    )


def settings_document(args: ReleaseFunctionArgs) -> dict[str, Any]:
    """The function's `Settings`: everything that makes ECS deploy, and the task counts."""
    if len(args.all_processes) == 1 and not args.tasks:
        return process_settings(args, args)
    processes = [
        contract.document(contract.Process, name=name, service=each.family, settings=process_settings(args, each))
        for name, each in args.processes.items()
    ]
    jobs = [
        contract.document(contract.JobTask, name=name, template=each.template.arn, family=each.family)
        for name, each in args.jobs.items()
    ]
    migration = {"migration": migration_settings(args, args.migration)} if args.migration else {}
    order = [list(group) for group in args.order]
    return process_settings(args, args, processes=processes, order=order, jobs=jobs, **migration)


def process_settings(args: ReleaseFunctionArgs, process: ReleasedProcess, **more: Any) -> dict[str, Any]:
    return contract.document(
        contract.Settings,
        template=process.template.arn,
        minimum=process.minimum_tasks,
        maximum=process.maximum_tasks,
        deadline_minutes=process.strategy.total_minutes,
        subnets=args.subnet_ids,
        security_groups=[args.security_group_id],
        load_balancers=list(process.load_balancers),
        target_groups=list(process.target_group_arns),
        deployment=dict(process.deployment),
        availability_zone_rebalancing=process.availability_zone_rebalancing,
        **({"assign_public_ip": True} if args.assign_public_ip else {}),
        **({"capacity": list(process.capacity)} if process.capacity else {}),
        **({"service_connect": dict(process.service_connect)} if process.service_connect else {}),
        **more,
    )


def migration_settings(args: ReleaseFunctionArgs, migration: ReleasedTask) -> dict[str, Any]:
    return contract.document(
        contract.MigrationTask,
        template=migration.template.arn,
        family=migration.family,
        timeout_minutes=migration.timeout_minutes,
        log_group=args.log_group.name,
        log_prefix=contract.MIGRATION,
        **({"capacity": list(migration.capacity)} if migration.capacity else {}),
    )


def settings_text(args: ReleaseFunctionArgs) -> pulumi.Output[str]:
    return pulumi.Output.json_dumps(settings_document(args), sort_keys=True)


def roll_out(
    name: str,
    args: ReleaseFunctionArgs,
    function: aws.lambda_.Function,
    table: aws.dynamodb.Table,
    settings: pulumi.Output[str],
    policy: aws.iam.RolePolicy,
    child: pulumi.ResourceOptions,
) -> pulumi.Resource:
    """Invoke the function in the same `pulumi up` whenever the service's settings change. Returns the last invocation.

    A changed input causes another invocation. An invocation contains no image, and its error fails `pulumi up`. If a
    rollout takes longer than one invocation, the next one continues it.
    """
    needed = [
        args.code_deploy,
        *(r for each in args.all_processes.values() for r in (each.service, each.scalable_target)),
    ]
    previous: list[pulumi.Resource] = [policy, *(resource for resource in needed if resource is not None)]
    parts = 1 + args.total_minutes // (RUN_MINUTES - 1)
    for part in range(1, parts + 1):
        invocation = aws.lambda_.Invocation(
            f"{name}-rollout-{part}",
            function_name=function.name,
            input=rollout(settings, part, parts),
            # Settings that are reverted after a failure are rolled out too: each change of them changes the function.
            triggers={"function": function.last_modified, "table": table.stream_label},
            lifecycle_scope="CREATE_ONLY",
            # Each invocation is a new resource, which `protect` on the component must not prevent.
            opts=child.merge(pulumi.ResourceOptions(depends_on=previous, protect=False)),
        )
        previous = [invocation]
    return previous[0]


def rollout(settings: pulumi.Output[str], part: int, parts: int) -> pulumi.Output[str]:
    """The function's `Rollout`."""
    return settings.apply(
        lambda text: json.dumps(
            {"rollout": {"settings": json.loads(text)}, "part": part, "parts": parts}, sort_keys=True
        )
    )


def service_path(args: ReleaseFunctionArgs, process: ReleasedProcess) -> pulumi.Input[str]:
    return concat(args.cluster.name, "/", process.service.name)


DEPLOY = (
    "ecs:DescribeServiceDeployments",
    "ecs:DescribeServiceRevisions",
    "ecs:DescribeServices",
    "ecs:ListServiceDeployments",
    "ecs:StopServiceDeployment",
    "ecs:UpdateService",
)
"""The actions of a deployment by ECS."""


def deploy_statements(args: ReleaseFunctionArgs, scope: Scope) -> list[Statement]:
    """Deploy the processes of this service."""
    processes = list(args.all_processes.values())

    def ecs(kind: str, process: ReleasedProcess, rest: str = "") -> pulumi.Input[str]:
        return scope.arn("ecs", concat(kind, "/", service_path(args, process), rest))

    def kinds(process: ReleasedProcess) -> tuple[pulumi.Input[str], pulumi.Input[str], pulumi.Input[str]]:
        return (
            ecs("service", process),
            ecs("service-deployment", process, "/*"),
            ecs("service-revision", process, "/*"),
        )

    service, deployments, revisions = kinds(args)
    follow = [
        allow("ecs:ListServiceDeployments", on=service),
        allow("ecs:DescribeServiceDeployments", "ecs:StopServiceDeployment", on=[service, deployments]),
        allow("ecs:DescribeServiceRevisions", on=[service, revisions]),
    ]
    if args.code_deploy is not None:
        follow = [*args.code_deploy.deploy_statements(), *args.code_deploy.stop_statements()]
    if args.processes:
        # In one statement, since a role's policies have 10,240 characters. An action ignores other kinds of resources.
        others = [arn for each in args.processes.values() for arn in kinds(each)]
        follow.append(allow(*DEPLOY, on=others))
    families = [*(each.family for each in processes), *(task.family for task in args.tasks)]
    statements = [
        allow("ecs:DescribeServices", "ecs:UpdateService", on=service),
        *follow,
        allow("ecs:DescribeTasks", on=tasks_of(args, scope)),
        # ListTasks is authorized on container instances, which Fargate does not have, so the cluster is a condition.
        allow("ecs:ListTasks", on="*", when={"ArnEquals": {"ecs:cluster": args.cluster.arn}}),
        *register_statements(families, scope),
        iam.pass_roles(*args.role_arns, to="ecs-tasks.amazonaws.com"),
    ]
    service_roles = list(dict.fromkeys(arn for each in processes for arn in each.service_role_arns))
    if service_roles:
        # UpdateService passes them again.
        statements.append(iam.pass_roles(*service_roles, to="ecs.amazonaws.com"))
    alarms = list(dict.fromkeys(arn for each in processes for arn in each.alarm_arns))
    if alarms:
        # To find out how long ECS watches them.
        statements.append(allow("cloudwatch:DescribeAlarms", on=alarms))
    targets = [each.scalable_target.arn for each in processes if each.scalable_target is not None]
    if targets:
        statements.append(allow("application-autoscaling:RegisterScalableTarget", on=one_or_all(targets)))
    return statements


def migrate_statements(args: ReleaseFunctionArgs, scope: Scope) -> list[Statement]:
    """Run the migration with each image, stop it if it takes too long, and read the end of its log.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RunTask.html
    """
    if args.migration is None:
        return []
    return [
        allow(
            "ecs:RunTask",
            on=scope.arn("ecs", f"task-definition/{args.migration.family}:*"),
            when={"ArnEquals": {"ecs:cluster": args.cluster.arn}},
        ),
        # The ID of a task is random, and no condition key names its family.
        allow("ecs:StopTask", on=tasks_of(args, scope)),
        allow("logs:GetLogEvents", on=concat(args.log_group.arn, f":log-stream:{contract.MIGRATION}/*")),
    ]


def tasks_of(args: ReleaseFunctionArgs, scope: Scope) -> pulumi.Input[str]:
    return scope.arn("ecs", concat("task/", args.cluster.name, "/*"))


def one_or_all(arns: Sequence[pulumi.Input[str]]) -> Any:
    """A statement with one resource names it as text."""
    return arns[0] if len(arns) == 1 else list(arns)


def register_statements(families: Sequence[str], scope: Scope) -> list[Statement]:
    """Register task definitions of these families.

    https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-ECS.html
    """
    return [
        # DescribeTaskDefinition supports no resource. AWS's pages contradict each other on whether
        # RegisterTaskDefinition can be limited to a family. A revision runs nothing until a service uses it, with roles
        # that are passed.
        allow("ecs:DescribeTaskDefinition", "ecs:RegisterTaskDefinition", on="*"),
        allow(
            "ecs:TagResource",
            on=[scope.arn("ecs", f"task-definition/{family}:*") for family in families],
            when={"StringEquals": {"ecs:CreateAction": "RegisterTaskDefinition"}},
        ),
    ]
