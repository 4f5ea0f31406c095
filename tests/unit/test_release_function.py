import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import fields
from functools import cache, partial
from importlib import resources as files
from pathlib import Path
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest
from slipway import BlueGreen, Canary, CodeDeployBlueGreen, Hook, Linear, ReleaseFunction, Rolling, Tasks
from slipway.release.function.state import Registers, Settings
from slipway.release.lambda_function import MODULES, code
from slipway.strategies import Strategy
from unit.examples import TARGET_GROUP, TEST_LISTENER, load_balancer, release_function, service
from unit.harness import VERSIONS, Resource, deploy, named, of_type, only, resolved, statements, trusted

FUNCTION = "aws:lambda/function:Function"
INVOCATION = "aws:lambda/invocation:Invocation"
PLACE = "eu-west-1:123456789012"
TEMPLATE = f"arn:aws:ecs:{PLACE}:task-definition/api-template:1"
ELB = f"arn:aws:elasticloadbalancing:{PLACE}"
GROUPS = [f"{ELB}:targetgroup/api-tg-a/1", f"{ELB}:targetgroup/api-tg-b/1"]
ROLE = "arn:aws:iam::123456789012:role"
PARAMETERS = f"arn:aws:ssm:{PLACE}:parameter/slipway/api-release/"
IN_RUNTIME = files.files("slipway.release.function")


def of_service(**told: Any) -> list[Resource]:
    return deploy(lambda: service("api", **told)) if told else by_default()


@cache
def by_default() -> list[Resource]:
    return deploy(lambda: service("api"))


GIVEN_BALANCED = {
    "targetGroupArn": TARGET_GROUP,
    "containerName": "app",
    "containerPort": 8080,
}


HOOK = Hook(
    stages=["POST_TEST_TRAFFIC_SHIFT"], function_arn=f"arn:aws:lambda:{PLACE}:function:check", timeout_minutes=5
)


def rollout(**told: Any) -> dict[str, Any]:
    return dict(named(of_service(**told), "api-release-rollout-1").json("input")["rollout"])


def settings_text(minimum: int, maximum: int) -> str:
    """The register of the service `api`, as it is written."""
    return (
        '{"availability_zone_rebalancing": "ENABLED", "deadline_minutes": 10, '
        '"deployment": {"alarms": {"alarmNames": ["api-errors"], "enable": true, "rollback": true}, '
        '"deploymentCircuitBreaker": {"enable": true, "rollback": true}, '
        '"maximumPercent": 200, "minimumHealthyPercent": 100, "strategy": "ROLLING"}, '
        '"load_balancers": [{"containerName": "app", "containerPort": 8080, '
        f'"targetGroupArn": "{GROUPS[0]}"}}], '
        f'"maximum": {maximum}, "minimum": {minimum}, "security_groups": ["api-tasks-id"], '
        f'"subnets": ["subnet-3", "subnet-4"], "target_groups": ["{GROUPS[0]}", "{GROUPS[1]}"], '
        f'"template": "{TEMPLATE}"}}'
    )


def test_the_function_is_for_one_service() -> None:
    function = only(of_service(environment_name="staging", keep_verified=3, container_name="web"), FUNCTION)
    assert function.inputs.pop("code").assets.keys() == {f"release/{module}" for module in MODULES}
    assert function.inputs == {
        "name": "api-release",
        "description": "Deploys api: releases of the pipeline and settings of Pulumi",
        "runtime": "python3.13",
        "architectures": ["arm64"],
        "handler": "release.handler.handler",
        "role": "arn:aws:iam::123456789012:role/api-release-role",
        "timeout": 900,
        "memorySize": 256,
        "environment": {
            "variables": {
                "CLUSTER": "given-api",
                "SERVICE": "api",
                "FAMILY": "api",
                "CONTAINER": "web",
                "ENVIRONMENT": "staging",
                "REPOSITORY_URL": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/given-api",
                "KEEP_VERIFIED": "3",
                "PARAMETERS": "/slipway/api-release/",
                "SERVICE_URL": "http://given-api.elb.example",
            }
        },
        "loggingConfig": {"logFormat": "Text", "logGroup": "/aws/lambda/api-release"},
    }


def test_the_function_is_made_after_its_role_can_do_its_work() -> None:
    assert only(of_service(), FUNCTION).depends_on == {
        "api",
        "given-api",
        "api-release-logs",
        "api-release-policy",
        "api-release-role",
    }


def test_pulumi_owns_the_settings_and_only_makes_what_releases_own() -> None:
    registers = of_type(of_service(tasks=Tasks(min=1, max=4)), "aws:ssm/parameter:Parameter")
    assert {r.name: (r.inputs, r.ignore_changes) for r in registers} == {
        "api-release-settings": (
            {
                "name": "/slipway/api-release/settings",
                "type": "String",
                "value": settings_text(1, 4),
                # Standard until it is longer than 4 KB, and up to 8 KB then.
                "tier": "Intelligent-Tiering",
            },
            [],
        ),
        "api-release-wanted": ({"name": "/slipway/api-release/wanted", "type": "String", "value": "null"}, ["value"]),
        "api-release-verified": (
            {"name": "/slipway/api-release/verified", "type": "String", "value": "null"},
            ["value"],
        ),
    }


def test_settings_are_written_when_all_that_a_release_needs_of_them_is_there() -> None:
    settings = {"api", "api-errors", "api-tasks", "api-template", "api-tg-a", "api-tg-b"}
    assert named(of_service(), "api-release-settings").depends_on == settings


class Parameters:
    """SSM, as far as a register is read."""

    def __init__(self, value: str) -> None:
        self.value = value

    def get_parameter(self, *, Name: str) -> dict[str, Any]:
        return {"Parameter": {"Value": self.value}}


def read(resources: list[Resource]) -> Settings:
    """The settings as the function reads what Pulumi writes."""
    text = named(resources, "api-release-settings").inputs["value"]
    # A key that the function does not know would be left out in silence.
    assert json.loads(text).keys() == {field.name for field in fields(Settings)}
    return Registers(Parameters(text), "/slipway/api-release/").settings()


def test_the_function_reads_what_pulumi_writes() -> None:
    assert read(of_service(tasks=Tasks(min=1, max=4))) == Settings(
        template=TEMPLATE,
        minimum=1,
        maximum=4,
        deadline_minutes=10,
        subnets=["subnet-3", "subnet-4"],
        security_groups=["api-tasks-id"],
        load_balancers=[{"targetGroupArn": GROUPS[0], "containerName": "app", "containerPort": 8080}],
        target_groups=GROUPS,
        deployment={
            "strategy": "ROLLING",
            "minimumHealthyPercent": 100,
            "maximumPercent": 200,
            "deploymentCircuitBreaker": {"enable": True, "rollback": True},
            "alarms": {"alarmNames": ["api-errors"], "enable": True, "rollback": True},
        },
        availability_zone_rebalancing="ENABLED",
    )


def test_the_function_reads_what_pulumi_writes_of_a_strategy_that_shifts_traffic() -> None:
    def program() -> None:
        balancer = load_balancer("given-api", test_listener=TEST_LISTENER)
        service("api", strategy=Canary(hooks=[HOOK]), load_balancer=balancer)

    advanced = {
        "alternateTargetGroupArn": GROUPS[1],
        "productionListenerRule": f"{ELB}:listener-rule/api-rule",
        "testListenerRule": f"{ELB}:listener-rule/api-test-rule",
        "roleArn": f"{ROLE}/api-traffic-role",
    }
    balanced = {"targetGroupArn": GROUPS[0], "containerName": "app", "containerPort": 8080}
    assert read(deploy(program)) == Settings(
        template=TEMPLATE,
        minimum=2,
        maximum=2,
        deadline_minutes=10 + 10 + 10 + 5,
        subnets=["subnet-3", "subnet-4"],
        security_groups=["api-tasks-id"],
        load_balancers=[{**balanced, "advancedConfiguration": advanced}],
        target_groups=GROUPS,
        deployment={
            "strategy": "CANARY",
            "bakeTimeInMinutes": 10,
            "canaryConfiguration": {"canaryPercent": 10, "canaryBakeTimeInMinutes": 10},
            "minimumHealthyPercent": 100,
            "maximumPercent": 200,
            "deploymentCircuitBreaker": {"enable": False, "rollback": False},
            "alarms": {"alarmNames": ["api-errors"], "enable": True, "rollback": True},
            "lifecycleHooks": [
                {
                    "targetType": "AWS_LAMBDA",
                    "hookTargetArn": HOOK.function_arn,
                    "roleArn": f"{ROLE}/api-hooks-role",
                    "lifecycleStages": ["POST_TEST_TRAFFIC_SHIFT"],
                    "timeoutConfiguration": {"timeoutInMinutes": 5, "action": "ROLLBACK"},
                }
            ],
        },
        availability_zone_rebalancing="ENABLED",
    )


def test_the_function_reads_that_ecs_has_nothing_to_say_where_codedeploy_deploys() -> None:
    settings = read(of_service(strategy=CodeDeployBlueGreen()))
    assert (settings.deployment, settings.availability_zone_rebalancing) == ({}, "DISABLED")
    assert settings.load_balancers == [{"targetGroupArn": GROUPS[0], "containerName": "app", "containerPort": 8080}]
    assert settings.target_groups == GROUPS


def test_the_first_release_changes_neither_the_network_nor_the_balancer_of_a_service() -> None:
    resources = of_service(port=3000, container_name="web", subnet_ids=["subnet-9"])
    service_made = only(resources, "aws:ecs/service:Service").inputs
    settings = Settings(**named(resources, "api-release-settings").json("value"))
    assert settings.load_balancers == service_made["loadBalancers"]
    assert service_made["networkConfiguration"] == {
        "subnets": settings.subnets,
        "securityGroups": settings.security_groups,
        "assignPublicIp": False,
    }


def test_lambda_alone_assumes_the_role() -> None:
    assert trusted(of_service(), "api-release-role") == [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ]


SERVICE_ARN = f"arn:aws:ecs:{PLACE}:service/given-api/api"
BY_ECS = [
    {"Effect": "Allow", "Action": ["ecs:ListServiceDeployments"], "Resource": SERVICE_ARN},
    {
        "Effect": "Allow",
        "Action": ["ecs:DescribeServiceDeployments", "ecs:StopServiceDeployment"],
        "Resource": [SERVICE_ARN, f"arn:aws:ecs:{PLACE}:service-deployment/given-api/api/*"],
    },
    {
        "Effect": "Allow",
        "Action": ["ecs:DescribeServiceRevisions"],
        "Resource": [SERVICE_ARN, f"arn:aws:ecs:{PLACE}:service-revision/given-api/api/*"],
    },
]


def role_statements(*more: dict[str, Any], by: Sequence[dict[str, Any]] = BY_ECS) -> list[dict[str, Any]]:
    """What every release function may do, with what this one may do beside it, and what it may by whoever deploys."""
    return [
        {
            "Effect": "Allow",
            "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
            "Resource": f"arn:aws:logs:{PLACE}:log-group:/aws/lambda/api-release:*",
        },
        {
            "Effect": "Allow",
            "Action": ["ssm:GetParameter"],
            "Resource": [f"{PARAMETERS}settings", f"{PARAMETERS}wanted", f"{PARAMETERS}verified"],
        },
        {
            "Effect": "Allow",
            "Action": ["ssm:PutParameter"],
            "Resource": [f"{PARAMETERS}wanted", f"{PARAMETERS}verified"],
        },
        {"Effect": "Allow", "Action": ["ecs:DescribeServices", "ecs:UpdateService"], "Resource": SERVICE_ARN},
        *by,
        {"Effect": "Allow", "Action": ["ecs:DescribeTasks"], "Resource": f"arn:aws:ecs:{PLACE}:task/given-api/*"},
        {
            "Effect": "Allow",
            "Action": ["ecs:ListTasks"],
            "Resource": "*",
            "Condition": {"ArnEquals": {"ecs:cluster": f"arn:aws:ecs:{PLACE}:cluster/given-api"}},
        },
        {"Effect": "Allow", "Action": ["ecs:DescribeTaskDefinition", "ecs:RegisterTaskDefinition"], "Resource": "*"},
        {
            "Effect": "Allow",
            "Action": ["ecs:TagResource"],
            "Resource": [f"arn:aws:ecs:{PLACE}:task-definition/api:*"],
            "Condition": {"StringEquals": {"ecs:CreateAction": "RegisterTaskDefinition"}},
        },
        {
            "Effect": "Allow",
            "Action": ["iam:PassRole"],
            "Resource": [
                "arn:aws:iam::123456789012:role/api-execution-role",
                "arn:aws:iam::123456789012:role/api-task-role",
            ],
            "Condition": {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
        },
        *more,
        {
            "Effect": "Allow",
            "Action": ["ecr:BatchGetImage", "ecr:DescribeImages", "ecr:PutImage"],
            "Resource": f"arn:aws:ecr:{PLACE}:repository/given-api",
        },
        {
            "Effect": "Allow",
            "Action": ["codepipeline:PutJobSuccessResult", "codepipeline:PutJobFailureResult"],
            "Resource": "*",
        },
    ]


def test_the_function_may_deploy_its_one_service_and_tag_its_images() -> None:
    resources = of_service()
    assert named(resources, "api-release-policy").inputs["role"] == "api-release-role"
    assert statements(resources, "api-release-policy") == role_statements()


def test_the_function_may_set_the_bounds_of_a_service_that_scales() -> None:
    scaling = {
        "Effect": "Allow",
        "Action": ["application-autoscaling:RegisterScalableTarget"],
        "Resource": f"arn:aws:application-autoscaling:{PLACE}:scalable-target/api-scaling",
    }
    assert statements(of_service(tasks=Tasks(min=2, max=4)), "api-release-policy") == role_statements(scaling)


def passes(*roles: str) -> dict[str, Any]:
    return {
        "Effect": "Allow",
        "Action": ["iam:PassRole"],
        "Resource": [f"{ROLE}/{role}" for role in roles],
        "Condition": {"StringEquals": {"iam:PassedToService": "ecs.amazonaws.com"}},
    }


@pytest.mark.parametrize("kind", [BlueGreen, Canary, Linear])
def test_the_function_may_hand_ecs_the_roles_that_shift_traffic_and_invoke_hooks(kind: Any) -> None:
    assert statements(of_service(strategy=kind()), "api-release-policy") == role_statements(passes("api-traffic-role"))
    assert statements(of_service(strategy=kind(hooks=[HOOK])), "api-release-policy") == role_statements(
        passes("api-traffic-role", "api-hooks-role")
    )


def test_the_function_of_a_worker_may_do_no_more() -> None:
    resources = of_service(port=None, load_balancer=None)
    assert statements(resources, "api-release-policy") == role_statements()


def test_the_function_may_start_follow_and_stop_deployments_of_its_own_group_of_codedeploy() -> None:
    codedeploy = f"arn:aws:codedeploy:{PLACE}"
    scaling = {
        "Effect": "Allow",
        "Action": ["application-autoscaling:RegisterScalableTarget"],
        "Resource": f"arn:aws:application-autoscaling:{PLACE}:scalable-target/api-scaling",
    }
    resources = of_service(strategy=CodeDeployBlueGreen(), tasks=Tasks(min=2, max=4))
    by_codedeploy = [
        {
            "Effect": "Allow",
            "Action": ["codedeploy:CreateDeployment", "codedeploy:GetDeployment"],
            "Resource": f"{codedeploy}:deploymentgroup:api/api",
        },
        {
            "Effect": "Allow",
            "Action": [
                "codedeploy:GetApplication",
                "codedeploy:GetApplicationRevision",
                "codedeploy:RegisterApplicationRevision",
            ],
            "Resource": f"{codedeploy}:application:api",
        },
        {
            "Effect": "Allow",
            "Action": ["codedeploy:GetDeploymentConfig"],
            "Resource": f"{codedeploy}:deploymentconfig:CodeDeployDefault.ECSCanary10Percent5Minutes",
        },
        {
            "Effect": "Allow",
            "Action": ["codedeploy:ListDeployments", "codedeploy:StopDeployment"],
            "Resource": f"{codedeploy}:deploymentgroup:api/api",
        },
    ]
    assert statements(resources, "api-release-policy") == role_statements(scaling, by=by_codedeploy)
    variables = only(resources, FUNCTION).inputs["environment"]["variables"]
    assert variables["CODEDEPLOY_GROUP"] == "api"


def test_whoever_invokes_the_function_may_do_that_alone() -> None:
    assert resolved(lambda: [release_function("api-release").invoke_statement()]) == [
        {
            "Effect": "Allow",
            "Action": ["lambda:InvokeFunction"],
            "Resource": f"arn:aws:lambda:{PLACE}:function:api-release",
        }
    ]


def test_the_archive_holds_every_module_of_the_function_and_nothing_else() -> None:
    modules = sorted(entry.name for entry in IN_RUNTIME.iterdir() if entry.name.endswith(".py"))
    assert list(MODULES) == modules
    assets = code({}).assets
    assert {path: type(asset) for path, asset in assets.items()} == {
        f"release/{module}": pulumi.StringAsset for module in modules
    }
    texts = {path: asset.text for path, asset in assets.items() if isinstance(asset, pulumi.StringAsset)}
    assert texts == {f"release/{module}": IN_RUNTIME.joinpath(module).read_text() for module in modules}


def test_the_archive_runs_where_there_is_no_pulumi(tmp_path: Path) -> None:
    for path, asset in code({}).assets.items():
        assert isinstance(asset, pulumi.StringAsset)
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(asset.text)
    program = (
        "import sys, release.handler; print(release.handler.__file__); "
        "print(sorted({'pulumi', 'pulumi_aws', 'pydantic', 'slipway'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert (run.stderr, run.stdout.split("\n")) == ("", [str(tmp_path / "release/handler.py"), "[]", ""])


def test_the_rollout_is_run_after_all_that_it_looks_at() -> None:
    resources = of_service(tasks=Tasks(min=2, max=4))
    invocation = only(resources, INVOCATION)
    assert invocation.inputs.keys() == {"functionName", "input", "lifecycleScope"}
    assert (invocation.inputs["functionName"], invocation.inputs["lifecycleScope"]) == ("api-release", "CREATE_ONLY")
    assert invocation.depends_on == {
        "api",
        "api-errors",
        "api-scaling",
        "api-tasks",
        "api-template",
        "api-tg-a",
        "api-tg-b",
        "api-release",
        "api-release-policy",
        "api-release-settings",
        "api-release-wanted",
        "api-release-verified",
    }


def test_the_rollout_says_the_settings_as_they_are_written_with_their_version_and_no_image() -> None:
    resources = of_service(tasks=Tasks(min=2, max=4))
    assert only(resources, INVOCATION).json("input") == {
        "rollout": {"settings": settings_text(2, 4), "version": VERSIONS["settings"]},
        "part": 1,
        "parts": 1,
    }
    assert named(resources, "api-release-settings").inputs["value"] == settings_text(2, 4)


def test_settings_that_failed_and_were_taken_back_are_rolled_out_again(monkeypatch: pytest.MonkeyPatch) -> None:
    before = rollout()
    monkeypatch.setitem(VERSIONS, "settings", VERSIONS["settings"] + 2)
    again = only(deploy(lambda: service("api")), INVOCATION).json("input")["rollout"]
    assert again == {"settings": before["settings"], "version": before["version"] + 2}


def test_a_release_in_between_is_no_rollout(monkeypatch: pytest.MonkeyPatch) -> None:
    before = only(of_service(), INVOCATION).inputs
    monkeypatch.setitem(VERSIONS, "wanted", VERSIONS["wanted"] + 1)
    monkeypatch.setitem(VERSIONS, "verified", VERSIONS["verified"] + 1)
    assert only(deploy(lambda: service("api")), INVOCATION).inputs == before


@pytest.mark.parametrize(
    "told",
    [
        {"tasks": Tasks(min=3)},
        {"tasks": Tasks(min=2, max=3)},
        {"subnet_ids": ["subnet-9"]},
        {"strategy": Rolling(deadline_minutes=11)},
        {"strategy": Rolling(maximum_percent=150)},
        {"strategy": BlueGreen()},
        {"alarm_names": ["latency"]},
        {"error_alarm": None},
        {"port": 3000},
        {"container_name": "web"},
    ],
    ids=[
        "least tasks",
        "most tasks",
        "subnets",
        "deadline",
        "percent",
        "strategy",
        "alarms",
        "no alarm",
        "port",
        "container",
    ],
)
def test_the_rollout_runs_again_when_a_setting_changes(told: dict[str, Any]) -> None:
    assert rollout(**told) != rollout()


@pytest.mark.parametrize(
    ("told", "changed"),
    [
        ({"subnet_ids": ["subnet-9"]}, {"subnets": ["subnet-9"]}),
        ({"security_group_id": "sg-9"}, {"security_groups": ["sg-9"]}),
        (
            {"load_balancers": [{**GIVEN_BALANCED, "containerPort": 3000}]},
            {"load_balancers": [{**GIVEN_BALANCED, "containerPort": 3000}]},
        ),
        ({"target_group_arns": ["arn:8", "arn:9"]}, {"target_groups": ["arn:8", "arn:9"]}),
        ({"deployment": {"strategy": "ROLLING"}}, {"deployment": {"strategy": "ROLLING"}}),
        ({"availability_zone_rebalancing": "DISABLED"}, {"availability_zone_rebalancing": "DISABLED"}),
        ({"minimum_tasks": 1}, {"minimum": 1}),
        ({"maximum_tasks": 3}, {"maximum": 3}),
        ({"strategy": Rolling(deadline_minutes=11)}, {"deadline_minutes": 11}),
    ],
    ids=lambda told: next(iter(told)),
)
def test_a_change_of_one_argument_is_a_change_of_one_setting_of_the_rollout(
    told: dict[str, Any], changed: dict[str, Any]
) -> None:
    def settings(**told: Any) -> dict[str, Any]:
        run = only(deploy(lambda: release_function("fn", **told)), INVOCATION)
        return dict(json.loads(run.json("input")["rollout"]["settings"]))

    before, after = settings(), settings(**told)
    assert after != before
    assert after == {**before, **changed}


def test_the_rollout_runs_again_when_the_template_changes() -> None:
    def program(family: str) -> ReleaseFunction:
        template = aws.ecs.TaskDefinition("given", family=family, container_definitions="[]")
        return release_function("fn", template=template)

    settings = [
        json.loads(only(deploy(partial(program, family)), INVOCATION).json("input")["rollout"]["settings"])
        for family in ("one", "two")
    ]
    assert [told["template"] for told in settings] == [
        f"arn:aws:ecs:{PLACE}:task-definition/{family}:1" for family in ("one", "two")
    ]


def test_the_same_settings_are_the_same_rollout() -> None:
    again = deploy(lambda: service("api"))
    assert only(again, INVOCATION).inputs == only(of_service(), INVOCATION).inputs


@pytest.mark.parametrize(
    ("strategy", "parts"),
    [
        (Rolling(deadline_minutes=3), 1),
        (Rolling(deadline_minutes=13), 1),
        (Rolling(deadline_minutes=14), 2),
        (Rolling(deadline_minutes=27), 2),
        (Rolling(deadline_minutes=28), 3),
        (Rolling(deadline_minutes=180), 13),
        (BlueGreen(deadline_minutes=3, bake_minutes=10), 1),
        (BlueGreen(deadline_minutes=3, bake_minutes=11), 2),
        (Canary(deadline_minutes=3, canary_bake_minutes=5, bake_minutes=20), 3),
        # Eight steps, and no bake after the last.
        (Linear(deadline_minutes=3, step_percent=12.5, step_bake_minutes=5, bake_minutes=3), 3),
        (Canary(deadline_minutes=3, bake_minutes=300, canary_bake_minutes=357), 48),
        (CodeDeployBlueGreen(deadline_minutes=3, termination_minutes=5), 1),
        (CodeDeployBlueGreen(deadline_minutes=3, termination_minutes=6), 2),
        (CodeDeployBlueGreen(on_ready="STOP_DEPLOYMENT", wait_minutes=60), 7),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, int) else str(value),
)
def test_a_rollout_has_as_many_runs_as_its_deadline_needs_each_after_the_other(strategy: Strategy, parts: int) -> None:
    runs = of_type(deploy(lambda: release_function("fn", strategy=strategy)), INVOCATION)
    by_part = {json.loads(run.inputs["input"])["part"]: run for run in runs}
    assert sorted(by_part) == list(range(1, parts + 1))
    assert {json.loads(run.inputs["input"])["parts"] for run in runs} == {parts}
    assert [by_part[part].name for part in range(1, parts + 1)] == [f"fn-rollout-{part + 1}" for part in range(parts)]
    for part in range(2, parts + 1):
        assert by_part[part].depends_on >= {f"fn-rollout-{part - 1}"}
    assert parts * 14 > strategy.total_minutes
