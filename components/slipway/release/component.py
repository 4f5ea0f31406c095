"""ReleaseFunction: what deploys one service, for its pipeline and for `pulumi up`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from slipway import iam
from slipway.iam import Place, Statement, allow
from slipway.registry import Repository
from slipway.release.code_deploy import CodeDeploy
from slipway.release.lambda_function import RUN_MINUTES, function
from slipway.strategies import Strategy


@dataclass(frozen=True, kw_only=True)
class ReleaseFunctionArgs:
    """What a ReleaseFunction is told by its Service."""

    cluster: aws.ecs.Cluster
    service: aws.ecs.Service
    template: aws.ecs.TaskDefinition
    """Task definition that a release takes everything from, but the image."""
    scalable_target: aws.appautoscaling.Target | None
    registry: Repository
    environment_name: str
    family: str
    """Family of the task definitions that are released."""
    container_name: str
    minimum_tasks: int
    maximum_tasks: int
    strategy: Strategy
    deployment: Mapping[str, Any]
    """How ECS replaces tasks, as its API takes it."""
    availability_zone_rebalancing: str
    keep_verified: int
    log_retention_days: int
    role_arns: Sequence[pulumi.Input[str]]
    """Roles that the released task definitions hand to ECS."""
    service_role_arns: Sequence[pulumi.Input[str]]
    """Roles that the service itself hands to ECS, to shift traffic and to invoke hooks."""
    subnet_ids: pulumi.Input[Sequence[str]]
    security_group_id: pulumi.Input[str]
    load_balancers: Sequence[Mapping[str, Any]]
    """As ECS's API takes them."""
    target_group_arns: Sequence[pulumi.Input[str]]
    service_url: pulumi.Input[str] | None
    code_deploy: CodeDeploy | None


class ReleaseFunction(pulumi.ComponentResource):
    """A Lambda function that deploys one service, the registers it reads, and its run in each `pulumi up`.

    `name` is the function's name. The service's registers are SSM parameters: `settings` is written here alone;
    `wanted` and `verified` only by the function, so that a release never shows as a change.
    """

    function_name: str
    function_arn: pulumi.Output[str]
    role_name: pulumi.Output[str]
    verified_parameter: str
    """SSM parameter that holds the last verified release."""

    def __init__(self, name: str, args: ReleaseFunctionArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("slipway:index:ReleaseFunction", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        place = Place.of(self)
        prefix = f"/slipway/{name}/"

        settings = aws.ssm.Parameter(
            f"{name}-settings",
            name=f"{prefix}settings",
            type="String",
            # Many hooks and alarms take more than the 4 KB of the standard tier.
            tier="Intelligent-Tiering",
            value=settings_register(args),
            # A release that is under way takes new settings at once, so all they need is there before them.
            opts=child.merge(pulumi.ResourceOptions(depends_on=[args.service])),
        )
        # The function owns what these hold; here they are only made, and removed.
        released = child.merge(pulumi.ResourceOptions(ignore_changes=["value"]))
        wanted = aws.ssm.Parameter(f"{name}-wanted", name=f"{prefix}wanted", type="String", value="null", opts=released)
        verified = aws.ssm.Parameter(
            f"{name}-verified", name=f"{prefix}verified", type="String", value="null", opts=released
        )
        made = function(
            name,
            f"Deploys {args.family}: releases of the pipeline and settings of Pulumi",
            "handler",
            [
                allow("ssm:GetParameter", on=[settings.arn, wanted.arn, verified.arn]),
                allow("ssm:PutParameter", on=[wanted.arn, verified.arn]),
                *deploy_statements(args, place),
                *args.registry.tag_statements(),
                # Answers to a job name no resource.
                allow("codepipeline:PutJobSuccessResult", "codepipeline:PutJobFailureResult", on="*"),
            ],
            {
                "CLUSTER": args.cluster.name,
                "SERVICE": args.service.name,
                "FAMILY": args.family,
                "CONTAINER": args.container_name,
                "ENVIRONMENT": args.environment_name,
                "REPOSITORY_URL": args.registry.url,
                "KEEP_VERIFIED": str(args.keep_verified),
                "PARAMETERS": prefix,
                "SERVICE_URL": args.service_url or "",
                **({"CODEDEPLOY_GROUP": args.code_deploy.application_name} if args.code_deploy else {}),
            },
            args.log_retention_days,
            child,
        )
        roll_out(name, args, made.function, settings, [wanted, verified, made.policy], child)

        self.function_name = name
        self.function_arn = made.function.arn
        self.role_name = made.role.name
        self.verified_parameter = f"{prefix}verified"
        self.register_outputs(
            {
                "function_name": name,
                "function_arn": self.function_arn,
                "role_name": self.role_name,
                "verified_parameter": self.verified_parameter,
            }
        )

    def invoke_statement(self) -> Statement:
        """Invoke the function, which believes an event only as far as CodePipeline confirms it."""
        return allow("lambda:InvokeFunction", on=self.function_arn)


def settings_register(args: ReleaseFunctionArgs) -> pulumi.Output[str]:
    """What the function reads as `Settings`: all that makes ECS deploy, and the counts."""
    return pulumi.Output.json_dumps(
        {
            "template": args.template.arn,
            "minimum": args.minimum_tasks,
            "maximum": args.maximum_tasks,
            "deadline_minutes": args.strategy.total_minutes,
            "subnets": args.subnet_ids,
            "security_groups": [args.security_group_id],
            "load_balancers": list(args.load_balancers),
            "target_groups": list(args.target_group_arns),
            "deployment": dict(args.deployment),
            "availability_zone_rebalancing": args.availability_zone_rebalancing,
        },
        sort_keys=True,
    )


def roll_out(
    name: str,
    args: ReleaseFunctionArgs,
    function: aws.lambda_.Function,
    settings: aws.ssm.Parameter,
    after: Sequence[pulumi.Resource],
    child: pulumi.ResourceOptions,
) -> None:
    """Run the function in the same `pulumi up` whenever something changed that the service has to run with.

    A changed input is another run. A run takes no image from here, and an error of it fails `pulumi up`. What takes
    longer than one run is looked at by the next.
    """
    needed = (args.service, args.scalable_target, args.code_deploy)
    previous: list[pulumi.Resource] = [*after, *(resource for resource in needed if resource is not None)]
    parts = 1 + args.strategy.total_minutes // (RUN_MINUTES - 1)
    for part in range(1, parts + 1):
        invocation = aws.lambda_.Invocation(
            f"{name}-rollout-{part}",
            function_name=function.name,
            input=pulumi.Output.json_dumps(
                {
                    # With the version, since settings that failed and were taken back must be rolled out too.
                    "rollout": {"settings": settings_register(args), "version": settings.version},
                    "part": part,
                    "parts": parts,
                },
                sort_keys=True,
            ),
            lifecycle_scope="CREATE_ONLY",
            opts=child.merge(pulumi.ResourceOptions(depends_on=previous)),
        )
        previous = [invocation]


def deploy_statements(args: ReleaseFunctionArgs, place: Place) -> list[Statement]:
    """Deploy this one service. https://docs.aws.amazon.com/service-authorization/latest/reference/list_ecs.html"""
    of_service = pulumi.Output.concat(args.cluster.name, "/", args.service.name)

    def ecs(kind: str, path: pulumi.Input[str]) -> pulumi.Output[str]:
        return place.arn("ecs", pulumi.Output.concat(kind, "/", path))

    service = ecs("service", of_service)
    deployments = ecs("service-deployment", pulumi.Output.concat(of_service, "/*"))
    revisions = ecs("service-revision", pulumi.Output.concat(of_service, "/*"))
    tasks = ecs("task", pulumi.Output.concat(args.cluster.name, "/*"))
    follow = [
        allow("ecs:ListServiceDeployments", on=service),
        allow("ecs:DescribeServiceDeployments", "ecs:StopServiceDeployment", on=[service, deployments]),
        allow("ecs:DescribeServiceRevisions", on=[service, revisions]),
    ]
    if args.code_deploy is not None:
        follow = [*args.code_deploy.deploy_statements(), args.code_deploy.stop_statement()]
    statements = [
        allow("ecs:DescribeServices", "ecs:UpdateService", on=service),
        *follow,
        allow("ecs:DescribeTasks", on=tasks),
        # ListTasks is authorized on container instances, of which Fargate has none, so the cluster is a condition.
        allow("ecs:ListTasks", on="*", when={"ArnEquals": {"ecs:cluster": args.cluster.arn}}),
        *register_statements([args.family], place),
        iam.pass_roles(*args.role_arns, to="ecs-tasks.amazonaws.com"),
    ]
    if args.service_role_arns:
        # UpdateService names them again.
        statements.append(iam.pass_roles(*args.service_role_arns, to="ecs.amazonaws.com"))
    if args.scalable_target is not None:
        statements.append(allow("application-autoscaling:RegisterScalableTarget", on=args.scalable_target.arn))
    return statements


def register_statements(families: Sequence[str], place: Place) -> list[Statement]:
    """Register task definitions of these families.

    https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-ECS.html
    """
    return [
        # DescribeTaskDefinition takes no resource. Whether RegisterTaskDefinition can be limited to a family, AWS's
        # pages contradict each other; a revision runs nothing until a service takes it, with roles that are passed.
        allow("ecs:DescribeTaskDefinition", "ecs:RegisterTaskDefinition", on="*"),
        allow(
            "ecs:TagResource",
            on=[place.arn("ecs", f"task-definition/{family}:*") for family in families],
            when={"StringEquals": {"ecs:CreateAction": "RegisterTaskDefinition"}},
        ),
    ]
