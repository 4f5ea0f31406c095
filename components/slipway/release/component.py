"""ReleaseFunction: deploys one service, for its pipeline and for `pulumi up`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import pulumi
import pulumi_aws as aws

from slipway import iam
from slipway._constraints import between, check
from slipway._outputs import concat
from slipway._rules import check_args, check_name
from slipway.codebuild import LogDays
from slipway.iam import Scope, Statement, allow
from slipway.registry import EnvironmentName, Repository
from slipway.release.code_deploy import CodeDeploy
from slipway.release.function import contract
from slipway.release.lambda_function import RUN_MINUTES, function, invoke_on_event
from slipway.service.args import ContainerName
from slipway.strategies import Strategy


@dataclass(frozen=True, kw_only=True)
class ReleaseFunctionArgs:
    """Arguments of ReleaseFunction; built by Service."""

    cluster: aws.ecs.Cluster
    service: aws.ecs.Service
    template: aws.ecs.TaskDefinition
    """Task definition that each release copies, except for the image."""
    scalable_target: aws.appautoscaling.Target | None
    registry: Repository
    environment_name: EnvironmentName
    family: str
    """Family of the released task definitions."""
    container_name: ContainerName
    minimum_tasks: Annotated[int, between(0, 5000)]
    maximum_tasks: Annotated[int, between(0, 5000)]
    strategy: Strategy
    deployment: Mapping[str, Any]
    """`deploymentConfiguration` in the ECS API."""
    availability_zone_rebalancing: str
    keep_verified: Annotated[int, between(1, 20)]
    log_retention_days: LogDays
    role_arns: Sequence[pulumi.Input[str]]
    """Roles that the released task definitions pass to ECS."""
    service_role_arns: Sequence[pulumi.Input[str]]
    """Roles that the service itself passes to ECS, to shift traffic and to invoke hooks."""
    subnet_ids: pulumi.Input[Sequence[pulumi.Input[str]]]
    security_group_id: pulumi.Input[str]
    load_balancers: Sequence[Mapping[str, Any]]
    """The load balancers in the format of the ECS API."""
    target_group_arns: Sequence[pulumi.Input[str]]
    service_url: pulumi.Input[str] | None
    code_deploy: CodeDeploy | None
    alarm_arns: Sequence[pulumi.Input[str]]
    """Alarms that ECS watches during a deployment."""
    alarm_minutes: int
    """Minutes for which ECS watches the service's own alarm after the tasks are running."""
    retain_state: bool
    """Keep the release state table when the stack is destroyed."""

    def __post_init__(self) -> None:
        check(self)


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
                table_statement(table),
                # With this hash the function checks that the settings it receives are those that Pulumi wrote last.
                allow("lambda:GetFunctionConfiguration", on=scope.arn("lambda", f"function:{name}")),
                *deploy_statements(args, scope),
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
        roll_out(name, args, made.function, table, settings, made.policy, child)
        # Nothing depends on these events. They make the function clean up after a run that was killed.
        invoke_on_event(
            f"{name}-events",
            f"A deployment of {args.family} began or ended",
            {
                "source": ["aws.ecs"],
                "detail-type": ["ECS Deployment State Change"],
                "resources": [scope.arn("ecs", concat("service/", service_path(args)))],
            },
            made.function.name,
            made.function.arn,
            child,
        )

        self.function_name = name
        self.function_arn = made.function.arn
        self.role_name = made.role.name
        self.table_name = name
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


def table_statement(table: aws.dynamodb.Table) -> Statement:
    """Read and write the two kinds of items by their key.

    A transaction is authorized by its individual operations.
    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html
    """
    keys = {"dynamodb:LeadingKeys": ["history", "release"]}
    return allow(
        "dynamodb:GetItem",
        "dynamodb:PutItem",
        on=table.arn,
        # A request without keys would satisfy the first condition.
        when={"ForAllValues:StringEquals": keys, "Null": {"dynamodb:LeadingKeys": "false"}},
    )


def settings_document(args: ReleaseFunctionArgs) -> dict[str, Any]:
    """The function's `Settings`: everything that makes ECS deploy, and the task counts."""
    return contract.document(
        contract.Settings,
        template=args.template.arn,
        minimum=args.minimum_tasks,
        maximum=args.maximum_tasks,
        deadline_minutes=args.strategy.total_minutes,
        subnets=args.subnet_ids,
        security_groups=[args.security_group_id],
        load_balancers=list(args.load_balancers),
        target_groups=list(args.target_group_arns),
        deployment=dict(args.deployment),
        availability_zone_rebalancing=args.availability_zone_rebalancing,
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
) -> None:
    """Invoke the function in the same `pulumi up` whenever the service's settings change.

    A changed input causes another invocation. An invocation contains no image, and its error fails `pulumi up`. If a
    rollout takes longer than one invocation, the next one continues it.
    """
    needed = (args.service, args.scalable_target, args.code_deploy)
    previous: list[pulumi.Resource] = [policy, *(resource for resource in needed if resource is not None)]
    parts = 1 + (args.strategy.total_minutes + args.alarm_minutes) // (RUN_MINUTES - 1)
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


def rollout(settings: pulumi.Output[str], part: int, parts: int) -> pulumi.Output[str]:
    """The function's `Rollout`."""
    return settings.apply(
        lambda text: json.dumps(
            {"rollout": {"settings": json.loads(text)}, "part": part, "parts": parts}, sort_keys=True
        )
    )


def service_path(args: ReleaseFunctionArgs) -> pulumi.Input[str]:
    return concat(args.cluster.name, "/", args.service.name)


def deploy_statements(args: ReleaseFunctionArgs, scope: Scope) -> list[Statement]:
    """Deploy this one service."""
    of_service = service_path(args)

    def ecs(kind: str, path: pulumi.Input[str]) -> pulumi.Input[str]:
        return scope.arn("ecs", concat(kind, "/", path))

    service = ecs("service", of_service)
    deployments = ecs("service-deployment", concat(of_service, "/*"))
    revisions = ecs("service-revision", concat(of_service, "/*"))
    tasks = ecs("task", concat(args.cluster.name, "/*"))
    follow = [
        allow("ecs:ListServiceDeployments", on=service),
        allow("ecs:DescribeServiceDeployments", "ecs:StopServiceDeployment", on=[service, deployments]),
        allow("ecs:DescribeServiceRevisions", on=[service, revisions]),
    ]
    if args.code_deploy is not None:
        follow = [*args.code_deploy.deploy_statements(), *args.code_deploy.stop_statements()]
    statements = [
        allow("ecs:DescribeServices", "ecs:UpdateService", on=service),
        *follow,
        allow("ecs:DescribeTasks", on=tasks),
        # ListTasks is authorized on container instances, which Fargate does not have, so the cluster is a condition.
        allow("ecs:ListTasks", on="*", when={"ArnEquals": {"ecs:cluster": args.cluster.arn}}),
        *register_statements([args.family], scope),
        iam.pass_roles(*args.role_arns, to="ecs-tasks.amazonaws.com"),
    ]
    if args.service_role_arns:
        # UpdateService passes them again.
        statements.append(iam.pass_roles(*args.service_role_arns, to="ecs.amazonaws.com"))
    if args.alarm_arns:
        # To find out how long ECS watches them.
        statements.append(allow("cloudwatch:DescribeAlarms", on=list(args.alarm_arns)))
    if args.scalable_target is not None:
        statements.append(allow("application-autoscaling:RegisterScalableTarget", on=args.scalable_target.arn))
    return statements


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
