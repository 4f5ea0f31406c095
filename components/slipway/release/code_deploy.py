"""CodeDeploy: the application and the deployment group with which CodeDeploy replaces the tasks of one service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from slipway import iam
from slipway._constraints import check
from slipway._outputs import concat, made_of
from slipway._rules import check_args, check_name
from slipway.existing_cluster import Cluster
from slipway.iam import Scope, Statement, allow
from slipway.strategies import CodeDeployBlueGreen


@dataclass(frozen=True, kw_only=True)
class CodeDeployArgs:
    """Arguments of CodeDeploy; built by Service."""

    cluster: Cluster
    service: aws.ecs.Service
    strategy: CodeDeployBlueGreen
    target_groups: Sequence[aws.lb.TargetGroup]
    """The two target groups between which the traffic shifts."""
    listener_arn: pulumi.Input[str]
    test_listener_arn: pulumi.Input[str] | None
    alarm_names: Sequence[pulumi.Input[str]]
    alarm_arns: Sequence[pulumi.Input[str]]
    role_arns: Sequence[pulumi.Input[str]]
    """Roles that the released task definitions pass to ECS."""

    def __post_init__(self) -> None:
        check(self)


class CodeDeploy(pulumi.ComponentResource):
    """A CodeDeploy application with one deployment group, both named `name`, and the role that deploys.

    https://docs.aws.amazon.com/codedeploy/latest/userguide/deployment-groups-create-ecs.html
    """

    application_name: str
    """Name of the application and of its deployment group."""
    role_name: pulumi.Output[str]
    deployment_config: str

    def __init__(self, name: str, args: CodeDeployArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        check_name("CodeDeploy", name)
        check_args(args, CodeDeployArgs)
        super().__init__("slipway:index:CodeDeploy", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        self._scope = scope = Scope.of(self)

        application = aws.codedeploy.Application(name, name=name, compute_platform="ECS", opts=child)
        role, policy = iam.role(
            f"{name}-codedeploy",
            # All groups of the application, because the group needs the role first.
            iam.trust("codedeploy.amazonaws.com", scope.only_for(scope.arn("codedeploy", f"deploymentgroup:{name}/*"))),
            deploy_statements(args, scope),
            child,
        )
        deployment_group(name, args, application, role, child.merge(pulumi.ResourceOptions(depends_on=[policy])))

        self.application_name = name
        self.role_name = role.name
        self.deployment_config = args.strategy.deployment_config
        self.register_outputs(
            {
                "application_name": name,
                "role_name": self.role_name,
                "deployment_config": self.deployment_config,
            }
        )

    def deploy_statements(self) -> list[Statement]:
        """Start and follow deployments of this group.

        https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-ECSbluegreen.html
        """
        name = self.application_name
        return [
            allow(
                "codedeploy:CreateDeployment",
                "codedeploy:GetDeployment",
                on=self._scope.arn("codedeploy", f"deploymentgroup:{name}/{name}"),
            ),
            allow(
                "codedeploy:GetApplication",
                "codedeploy:GetApplicationRevision",
                "codedeploy:RegisterApplicationRevision",
                on=self._scope.arn("codedeploy", f"application:{name}"),
            ),
            allow(
                "codedeploy:GetDeploymentConfig",
                on=self._scope.arn("codedeploy", f"deploymentconfig:{self.deployment_config}"),
            ),
        ]

    def stop_statements(self) -> list[Statement]:
        """Find and stop deployments of this group."""
        name = self.application_name
        group = self._scope.arn("codedeploy", f"deploymentgroup:{name}/{name}")
        return [
            allow("codedeploy:ListDeployments", on=group),
            # This action supports no resource:
            allow("codedeploy:StopDeployment", on="*"),
        ]


def deployment_group(
    name: str,
    args: CodeDeployArgs,
    application: aws.codedeploy.Application,
    role: aws.iam.Role,
    opts: pulumi.ResourceOptions,
) -> aws.codedeploy.DeploymentGroup:
    """The deployment group: what is deployed, how the traffic shifts, and what triggers a rollback."""
    strategy, waits = args.strategy, args.strategy.on_ready == "STOP_DEPLOYMENT"
    routes = [args.listener_arn] if args.test_listener_arn is None else [args.listener_arn, args.test_listener_arn]
    return aws.codedeploy.DeploymentGroup(
        f"{name}-group",
        app_name=application.name,
        deployment_group_name=name,
        service_role_arn=role.arn,
        deployment_config_name=strategy.deployment_config,
        deployment_style=aws.codedeploy.DeploymentGroupDeploymentStyleArgs(
            deployment_type="BLUE_GREEN", deployment_option="WITH_TRAFFIC_CONTROL"
        ),
        ecs_service=aws.codedeploy.DeploymentGroupEcsServiceArgs(
            cluster_name=args.cluster.name, service_name=args.service.name
        ),
        load_balancer_info=aws.codedeploy.DeploymentGroupLoadBalancerInfoArgs(
            target_group_pair_info=aws.codedeploy.DeploymentGroupLoadBalancerInfoTargetGroupPairInfoArgs(
                target_groups=[
                    aws.codedeploy.DeploymentGroupLoadBalancerInfoTargetGroupPairInfoTargetGroupArgs(name=group.name)
                    for group in args.target_groups
                ],
                prod_traffic_route=aws.codedeploy.DeploymentGroupLoadBalancerInfoTargetGroupPairInfoProdTrafficRouteArgs(
                    listener_arns=routes[:1]
                ),
                test_traffic_route=aws.codedeploy.DeploymentGroupLoadBalancerInfoTargetGroupPairInfoTestTrafficRouteArgs(
                    listener_arns=routes[1:]
                )
                if routes[1:]
                else None,
            )
        ),
        blue_green_deployment_config=aws.codedeploy.DeploymentGroupBlueGreenDeploymentConfigArgs(
            deployment_ready_option=aws.codedeploy.DeploymentGroupBlueGreenDeploymentConfigDeploymentReadyOptionArgs(
                action_on_timeout=strategy.on_ready, wait_time_in_minutes=strategy.wait_minutes if waits else None
            ),
            # AWS does not allow the alternative, keeping the old tasks, for ECS.
            terminate_blue_instances_on_deployment_success=aws.codedeploy.DeploymentGroupBlueGreenDeploymentConfigTerminateBlueInstancesOnDeploymentSuccessArgs(
                action="TERMINATE", termination_wait_time_in_minutes=strategy.termination_minutes
            ),
        ),
        auto_rollback_configuration=aws.codedeploy.DeploymentGroupAutoRollbackConfigurationArgs(
            enabled=True, events=["DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM", "DEPLOYMENT_STOP_ON_REQUEST"]
        ),
        alarm_configuration=aws.codedeploy.DeploymentGroupAlarmConfigurationArgs(
            enabled=True, alarms=list(args.alarm_names)
        )
        if args.alarm_names
        else None,
        opts=opts,
    )


def deploy_statements(args: CodeDeployArgs, scope: Scope) -> list[Statement]:
    """Statements that CodeDeploy needs to replace the tasks of this one service.

    A narrower version of AWSCodeDeployRoleForECS.
    https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AWSCodeDeployRoleForECS.html
    """
    service = concat(args.cluster.name, "/", args.service.name)
    # CodeDeploy finds out which rule of the listener forwards the traffic.
    listeners = [args.listener_arn] if args.test_listener_arn is None else [args.listener_arn, args.test_listener_arn]
    rules = [made_of(arn, lambda arn: arn.replace(":listener/", ":listener-rule/", 1) + "/*") for arn in listeners]
    statements = [
        allow(
            "ecs:DescribeServices",
            "ecs:UpdateServicePrimaryTaskSet",
            on=scope.arn("ecs", concat("service/", service)),
        ),
        allow(
            "ecs:CreateTaskSet",
            "ecs:DeleteTaskSet",
            on=scope.arn("ecs", concat("task-set/", service, "/*")),
        ),
        # These actions support no resource.
        allow(
            "elasticloadbalancing:DescribeListeners",
            "elasticloadbalancing:DescribeRules",
            "elasticloadbalancing:DescribeTargetGroups",
            on="*",
        ),
        allow("elasticloadbalancing:ModifyListener", on=listeners),
        allow("elasticloadbalancing:ModifyRule", on=rules),
        iam.pass_roles(*args.role_arns, to="ecs-tasks.amazonaws.com"),
    ]
    if args.alarm_arns:
        statements.append(allow("cloudwatch:DescribeAlarms", on=list(args.alarm_arns)))
    return statements
