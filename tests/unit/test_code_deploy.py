from functools import cache
from typing import Any

import pulumi_aws as aws
import pytest
from slipway import CodeDeployBlueGreen
from unit import shapes
from unit.examples import LISTENER, code_deploy
from unit.harness import Resource, deploy, granted, named, of_type, only, resolved, rights, trusted

GROUP = "aws:codedeploy/deploymentGroup:DeploymentGroup"
PLACE = "eu-west-1:123456789012"
CODEDEPLOY = f"arn:aws:codedeploy:{PLACE}"
RULES = f"arn:aws:elasticloadbalancing:{PLACE}:listener-rule/app"
TEST_LISTENER = f"arn:aws:elasticloadbalancing:{PLACE}:listener/app/given/1/3"


def deployed(**args: Any) -> list[Resource]:
    return deploy(lambda: code_deploy("api", **args)) if args else by_default()


@cache
def by_default() -> list[Resource]:
    return deploy(lambda: code_deploy("api"))


def test_the_application_and_its_one_group_are_named_after_the_service() -> None:
    assert only(deployed(), "aws:codedeploy/application:Application").inputs == {
        "name": "api",
        "computePlatform": "ECS",
    }
    assert only(deployed(), "slipway:index:CodeDeploy").outputs == {
        "application_name": "api",
        "role_name": "api-codedeploy-role",
        "deployment_config": "CodeDeployDefault.ECSCanary10Percent5Minutes",
    }


def test_the_group_shifts_traffic_rolls_back_and_keeps_the_old_tasks_for_a_while() -> None:
    group = only(deployed(), GROUP)
    assert group.name == "api-group"
    assert group.inputs == {
        "appName": "api",
        "deploymentGroupName": "api",
        "serviceRoleArn": "arn:aws:iam::123456789012:role/api-codedeploy-role",
        "deploymentConfigName": "CodeDeployDefault.ECSCanary10Percent5Minutes",
        "deploymentStyle": {"deploymentType": "BLUE_GREEN", "deploymentOption": "WITH_TRAFFIC_CONTROL"},
        "ecsService": {"clusterName": "given-api", "serviceName": "given-api"},
        "loadBalancerInfo": {
            "targetGroupPairInfo": {
                "targetGroups": [{"name": "given-api-a"}, {"name": "given-api-b"}],
                "prodTrafficRoute": {"listenerArns": [LISTENER]},
            }
        },
        "blueGreenDeploymentConfig": {
            "deploymentReadyOption": {"actionOnTimeout": "CONTINUE_DEPLOYMENT"},
            "terminateBlueInstancesOnDeploymentSuccess": {"action": "TERMINATE", "terminationWaitTimeInMinutes": 10},
        },
        "autoRollbackConfiguration": {
            "enabled": True,
            "events": ["DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM", "DEPLOYMENT_STOP_ON_REQUEST"],
        },
        "alarmConfiguration": {"enabled": True, "alarms": ["errors"]},
    }


def test_the_group_is_created_after_its_role_has_its_permissions() -> None:
    assert only(deployed(), GROUP).depends_on >= {"api", "api-codedeploy-policy", "api-codedeploy-role", "given-api"}


def test_a_deployment_can_wait_to_be_continued_and_is_stopped_otherwise() -> None:
    strategy = CodeDeployBlueGreen(
        deployment_config="CodeDeployDefault.ECSAllAtOnce",
        on_ready="STOP_DEPLOYMENT",
        wait_minutes=90,
        termination_minutes=0,
    )
    group = only(deployed(strategy=strategy), GROUP).inputs
    assert group["deploymentConfigName"] == "CodeDeployDefault.ECSAllAtOnce"
    assert group["blueGreenDeploymentConfig"] == {
        "deploymentReadyOption": {"actionOnTimeout": "STOP_DEPLOYMENT", "waitTimeInMinutes": 90},
        "terminateBlueInstancesOnDeploymentSuccess": {"action": "TERMINATE", "terminationWaitTimeInMinutes": 0},
    }


def test_without_alarms_none_is_monitored_and_no_permission_is_given() -> None:
    resources = deployed(alarm_names=[], alarm_arns=[])
    assert "alarmConfiguration" not in only(resources, GROUP).inputs
    assert rights(resources, "api-codedeploy-policy") == granted(role_statements([LISTENER], [f"{RULES}/given/1/2/*"]))


def test_only_codedeploy_can_assume_the_role_and_only_for_groups_of_this_application() -> None:
    assert trusted(deployed(), "api-codedeploy-role") == [
        {
            "Effect": "Allow",
            "Principal": {"Service": "codedeploy.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {
                "StringEquals": {"aws:SourceAccount": "123456789012"},
                "ArnLike": {"aws:SourceArn": f"{CODEDEPLOY}:deploymentgroup:api/*"},
            },
        }
    ]


def role_statements(listeners: list[str], rules: list[str], *more: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "Effect": "Allow",
            "Action": ["ecs:DescribeServices", "ecs:UpdateServicePrimaryTaskSet"],
            "Resource": f"arn:aws:ecs:{PLACE}:service/given-api/given-api",
        },
        {
            "Effect": "Allow",
            "Action": ["ecs:CreateTaskSet", "ecs:DeleteTaskSet"],
            "Resource": f"arn:aws:ecs:{PLACE}:task-set/given-api/given-api/*",
        },
        {
            "Effect": "Allow",
            "Action": [
                "elasticloadbalancing:DescribeListeners",
                "elasticloadbalancing:DescribeRules",
                "elasticloadbalancing:DescribeTargetGroups",
            ],
            "Resource": "*",
        },
        {"Effect": "Allow", "Action": ["elasticloadbalancing:ModifyListener"], "Resource": listeners},
        {"Effect": "Allow", "Action": ["elasticloadbalancing:ModifyRule"], "Resource": rules},
        {
            "Effect": "Allow",
            "Action": ["iam:PassRole"],
            "Resource": ["arn:aws:iam::123456789012:role/execution", "arn:aws:iam::123456789012:role/task"],
            "Condition": {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
        },
        *more,
    ]


WATCH = {
    "Effect": "Allow",
    "Action": ["cloudwatch:DescribeAlarms"],
    "Resource": [f"arn:aws:cloudwatch:{PLACE}:alarm:errors"],
}


def test_codedeploy_may_replace_the_tasks_of_this_service_only() -> None:
    assert named(deployed(), "api-codedeploy-policy").inputs["role"] == "api-codedeploy-role"
    assert rights(deployed(), "api-codedeploy-policy") == granted(
        role_statements([LISTENER], [f"{RULES}/given/1/2/*"], WATCH)
    )
    policies = of_type(deployed(), "aws:iam/rolePolicy:RolePolicy")
    assert [r.name for r in policies if not r.name.startswith("given")] == ["api-codedeploy-policy"]


def test_test_traffic_is_shifted_if_the_load_balancer_has_a_test_listener() -> None:
    resources = deployed(test_listener_arn=TEST_LISTENER)
    info = only(resources, GROUP).inputs["loadBalancerInfo"]["targetGroupPairInfo"]
    assert info["prodTrafficRoute"] == {"listenerArns": [LISTENER]}
    assert info["testTrafficRoute"] == {"listenerArns": [TEST_LISTENER]}
    assert rights(resources, "api-codedeploy-policy") == granted(
        role_statements([LISTENER, TEST_LISTENER], [f"{RULES}/given/1/2/*", f"{RULES}/given/1/3/*"], WATCH)
    )


def test_deployments_of_this_group_can_be_started_and_followed_and_with_another_statement_stopped() -> None:
    def statements() -> Any:
        made = code_deploy("api")
        return [made.deploy_statements(), made.stop_statements()]

    group = f"{CODEDEPLOY}:deploymentgroup:api/api"
    assert resolved(statements) == [
        [
            {
                "Effect": "Allow",
                "Action": ["codedeploy:CreateDeployment", "codedeploy:GetDeployment"],
                "Resource": group,
            },
            {
                "Effect": "Allow",
                "Action": [
                    "codedeploy:GetApplication",
                    "codedeploy:GetApplicationRevision",
                    "codedeploy:RegisterApplicationRevision",
                ],
                "Resource": f"{CODEDEPLOY}:application:api",
            },
            {
                "Effect": "Allow",
                "Action": ["codedeploy:GetDeploymentConfig"],
                "Resource": f"{CODEDEPLOY}:deploymentconfig:CodeDeployDefault.ECSCanary10Percent5Minutes",
            },
        ],
        [
            {"Effect": "Allow", "Action": ["codedeploy:ListDeployments"], "Resource": group},
            {"Effect": "Allow", "Action": ["codedeploy:StopDeployment"], "Resource": "*"},
        ],
    ]


@pytest.mark.parametrize(
    "args",
    [
        {},
        {"test_listener_arn": TEST_LISTENER},
        {"alarm_names": [], "alarm_arns": []},
        {"strategy": CodeDeployBlueGreen(on_ready="STOP_DEPLOYMENT", wait_minutes=5)},
    ],
    ids=["by default", "with test traffic", "without alarms", "that waits"],
)
def test_codedeploy_accepts_every_group(args: dict[str, Any]) -> None:
    request = shapes.deployment_group(only(deployed(**args), GROUP).inputs)
    assert shapes.mistakes("codedeploy", "CreateDeploymentGroup", request) == []


def test_the_group_has_the_target_groups_of_its_arguments() -> None:
    def program() -> None:
        args: dict[str, Any] = {"vpc_id": "vpc-1", "target_type": "ip", "port": 80, "protocol": "HTTP"}
        code_deploy(
            "api", target_groups=[aws.lb.TargetGroup(name, name=name, **args) for name in ("given-2", "given-1")]
        )

    info = only(deploy(program), GROUP).inputs["loadBalancerInfo"]["targetGroupPairInfo"]
    assert info["targetGroups"] == [{"name": "given-2"}, {"name": "given-1"}]
