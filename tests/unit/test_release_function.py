import json
from dataclasses import fields
from functools import cache, partial
from typing import Any

import pulumi_aws as aws
import pytest
from slipway import BlueGreen, Canary, CodeDeployBlueGreen, ErrorAlarm, Hook, Linear, ReleaseFunction, Rolling, Tasks
from slipway.release.function import contract
from slipway.release.function.contract import FunctionEnvironment, Rollout, Settings
from slipway.strategies import Strategy
from unit import harness
from unit.examples import TARGET_GROUP, TEST_LISTENER, load_balancer, release_function, service
from unit.harness import (
    Resource,
    deploy,
    granted,
    named,
    of_type,
    only,
    resolved,
    rights,
    sg,
    trusted,
)

FUNCTION = "aws:lambda/function:Function"
INVOCATION = "aws:lambda/invocation:Invocation"
TABLE = "aws:dynamodb/table:Table"
PLACE = "eu-west-1:123456789012"
TEMPLATE = f"arn:aws:ecs:{PLACE}:task-definition/api-template:1"
ELB = f"arn:aws:elasticloadbalancing:{PLACE}"
GROUPS = [f"{ELB}:targetgroup/api-tg-a/1", f"{ELB}:targetgroup/api-tg-b/1"]
ROLE = "arn:aws:iam::123456789012:role"


def of_service(**arguments: Any) -> list[Resource]:
    return deploy(lambda: service("api", **arguments)) if arguments else by_default()


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


def rollout(resources: list[Resource]) -> dict[str, Any]:
    return dict(named(resources, "api-release-rollout-1").json("input"))


def settings(**arguments: Any) -> dict[str, Any]:
    return dict(rollout(of_service(**arguments))["rollout"]["settings"])


def variables(resources: list[Resource]) -> dict[str, str]:
    return dict(only(resources, FUNCTION).inputs["environment"]["variables"])


# The function


def test_the_function_is_for_one_service() -> None:
    resources = of_service(environment_name="staging", keep_verified=3, container_name="web")
    inputs = {key: value for key, value in only(resources, FUNCTION).inputs.items() if key != "code"}
    assert inputs == {
        "name": "api-release",
        "description": "Deploys api: releases of the pipeline and settings of Pulumi",
        "runtime": "python3.13",
        "architectures": ["arm64"],
        "handler": "release.handler.handler",
        "role": f"{ROLE}/api-release-role",
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
                "TABLE": "api-release",
                "SETTINGS_SHA256": contract.sha256(contract.settings_text(rollout(resources)["rollout"]["settings"])),
                "SERVICE_URL": "http://given-api.elb.example",
            }
        },
        "loggingConfig": {"logFormat": "Text", "logGroup": "/aws/lambda/api-release"},
    }


@pytest.mark.parametrize(
    ("arguments", "url", "group"),
    [
        ({}, "http://given-api.elb.example", ""),
        ({"strategy": CodeDeployBlueGreen()}, "http://given-api.elb.example", "api"),
        ({"port": None, "load_balancer": None}, "", ""),
    ],
    ids=["balanced", "CodeDeploy", "worker"],
)
def test_the_function_reads_the_variables_that_pulumi_sets(arguments: dict[str, Any], url: str, group: str) -> None:
    resources = of_service(**arguments)
    assert FunctionEnvironment.read(variables(resources)) == FunctionEnvironment(
        cluster="given-api",
        service="api",
        family="api",
        container="app",
        environment="dev",
        repository_url="123456789012.dkr.ecr.eu-west-1.amazonaws.com/given-api",
        keep_verified=5,
        table="api-release",
        settings_sha256=contract.sha256(contract.settings_text(rollout(resources)["rollout"]["settings"])),
        service_url=url,
        codedeploy_group=group,
    )


def test_the_function_is_created_after_its_role_has_its_permissions() -> None:
    # Its configuration has the hash of the settings, so it comes after everything that they refer to.
    assert only(of_service(), FUNCTION).depends_on == {
        "api",
        "api-errors",
        "api-release",
        "api-release-logs",
        "api-release-policy",
        "api-release-role",
        "api-tasks",
        "api-template",
        "api-tg-a",
        "api-tg-b",
        "given-api",
    }


# The release state


def test_the_state_is_an_on_demand_table_with_point_in_time_recovery_and_a_stream() -> None:
    assert only(of_service(), TABLE).inputs == {
        "name": "api-release",
        "billingMode": "PAY_PER_REQUEST",
        "hashKey": "item",
        "rangeKey": "at",
        "attributes": [{"name": "item", "type": "S"}, {"name": "at", "type": "S"}],
        "pointInTimeRecovery": {"enabled": True},
        "deletionProtectionEnabled": True,
        # Changes when the table is created again.
        "streamEnabled": True,
        "streamViewType": "KEYS_ONLY",
    }


@pytest.mark.parametrize(("arguments", "kept"), [({}, True), ({"retain_release_state": False}, False)])
def test_the_state_is_retained_with_the_stack_by_default(arguments: dict[str, Any], kept: bool) -> None:
    table = only(of_service(**arguments), TABLE)
    assert (table.retain, table.inputs["deletionProtectionEnabled"]) == (kept, kept)


def test_pulumi_writes_no_items_to_the_table() -> None:
    # Otherwise a release would show as a change.
    kinds = {r.type for r in of_service() if r.type.startswith(("aws:dynamodb/", "aws:ssm/"))}
    assert kinds == {TABLE}


def test_the_table_is_an_output() -> None:
    outputs = only(of_service(), "slipway:index:ReleaseFunction").outputs
    assert outputs == {
        "function_name": "api-release",
        "function_arn": f"arn:aws:lambda:{PLACE}:function:api-release",
        "role_name": "api-release-role",
        "table_name": "api-release",
    }


# Settings


def test_the_settings_have_exactly_the_keys_that_the_function_knows() -> None:
    # A key that it does not know would be ignored silently.
    for strategy in (Rolling(), Canary(hooks=[HOOK]), CodeDeployBlueGreen()):
        assert settings(strategy=strategy).keys() < {field.name for field in fields(Settings)}


def read(resources: list[Resource]) -> Settings:
    """The settings as the function reads them from Pulumi."""
    return contract.decode(Settings, rollout(resources)["rollout"]["settings"])


def test_the_function_reads_the_settings_that_pulumi_sends() -> None:
    assert read(of_service(tasks=Tasks(min=1, max=4))) == Settings(
        template=TEMPLATE,
        minimum=1,
        maximum=4,
        deadline_minutes=10,
        subnets=["subnet-3", "subnet-4"],
        security_groups=[sg("api-tasks")],
        load_balancers=[{"targetGroupArn": GROUPS[0], "containerName": "app", "containerPort": 8080}],
        target_groups=GROUPS,
        deployment={
            "strategy": "ROLLING",
            "minimumHealthyPercent": 100,
            "maximumPercent": 200,
            "deploymentCircuitBreaker": {"enable": True, "rollback": True},
            "alarms": {"alarmNames": ["api-errors"], "enable": True, "rollback": True},
            # Otherwise hooks of an earlier strategy would remain, and ECS rejects them with rolling.
            "lifecycleHooks": [],
        },
        availability_zone_rebalancing="ENABLED",
    )


def test_the_function_reads_the_settings_of_a_strategy_that_shifts_traffic() -> None:
    def program() -> None:
        balancer = load_balancer("given-api", test_listener=TEST_LISTENER)
        service("api", strategy=Canary(hooks=[HOOK]), load_balancer=balancer)

    advanced = {
        "alternateTargetGroupArn": GROUPS[1],
        "productionListenerRule": f"{ELB}:listener-rule/api-rule",
        "testListenerRule": f"{ELB}:listener-rule/api-rule-test",
        "roleArn": f"{ROLE}/api-traffic-role",
    }
    balanced = {"targetGroupArn": GROUPS[0], "containerName": "app", "containerPort": 8080}
    assert read(deploy(program)) == Settings(
        template=TEMPLATE,
        minimum=2,
        maximum=2,
        deadline_minutes=10 + 10 + 10 + 5,
        subnets=["subnet-3", "subnet-4"],
        security_groups=[sg("api-tasks")],
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


def test_with_codedeploy_ecs_has_no_deployment_configuration() -> None:
    found = read(of_service(strategy=CodeDeployBlueGreen()))
    assert (found.deployment, found.availability_zone_rebalancing) == ({}, "DISABLED")
    assert found.load_balancers == [{"targetGroupArn": GROUPS[0], "containerName": "app", "containerPort": 8080}]
    assert found.target_groups == GROUPS


def test_the_first_release_changes_neither_the_network_nor_the_load_balancer_of_a_service() -> None:
    resources = of_service(port=3000, container_name="web", subnet_ids=["subnet-9"])
    service_made = only(resources, "aws:ecs/service:Service").inputs
    found = read(resources)
    assert found.load_balancers == service_made["loadBalancers"]
    assert service_made["networkConfiguration"] == {
        "subnets": found.subnets,
        "securityGroups": found.security_groups,
        "assignPublicIp": False,
    }


# Permissions


def test_only_lambda_can_assume_the_role() -> None:
    assert trusted(of_service(), "api-release-role") == [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ]


def right(*actions: str, on: str | list[str], when: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": on, **({"Condition": when} if when else {})}


SERVICE_ARN = f"arn:aws:ecs:{PLACE}:service/given-api/api"
ALWAYS = [
    right("logs:CreateLogStream", "logs:PutLogEvents", on=f"arn:aws:logs:{PLACE}:log-group:/aws/lambda/api-release:*"),
    # No Scan, Query or DeleteItem; and no request without keys, which would satisfy the first condition alone.
    right(
        "dynamodb:GetItem",
        "dynamodb:PutItem",
        on=f"arn:aws:dynamodb:{PLACE}:table/api-release",
        when={
            "ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["history", "release"]},
            "Null": {"dynamodb:LeadingKeys": "false"},
        },
    ),
    # The hash of Pulumi's latest settings is in its own configuration.
    right("lambda:GetFunctionConfiguration", on=f"arn:aws:lambda:{PLACE}:function:api-release"),
    right("ecs:DescribeServices", "ecs:UpdateService", on=SERVICE_ARN),
    right("ecs:DescribeTasks", on=f"arn:aws:ecs:{PLACE}:task/given-api/*"),
    right("ecs:ListTasks", on="*", when={"ArnEquals": {"ecs:cluster": f"arn:aws:ecs:{PLACE}:cluster/given-api"}}),
    right("ecs:DescribeTaskDefinition", "ecs:RegisterTaskDefinition", on="*"),
    right(
        "ecs:TagResource",
        on=f"arn:aws:ecs:{PLACE}:task-definition/api:*",
        when={"StringEquals": {"ecs:CreateAction": "RegisterTaskDefinition"}},
    ),
    right(
        "iam:PassRole",
        on=[f"{ROLE}/api-execution-role", f"{ROLE}/api-task-role"],
        when={"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
    ),
    right(
        "ecr:BatchGetImage",
        "ecr:DescribeImages",
        "ecr:PutImage",
        on=f"arn:aws:ecr:{PLACE}:repository/given-api",
    ),
    right("codepipeline:PutJobSuccessResult", "codepipeline:PutJobFailureResult", on="*"),
]
BY_ECS = [
    right("ecs:ListServiceDeployments", on=SERVICE_ARN),
    right(
        "ecs:DescribeServiceDeployments",
        "ecs:StopServiceDeployment",
        on=[SERVICE_ARN, f"arn:aws:ecs:{PLACE}:service-deployment/given-api/api/*"],
    ),
    right(
        "ecs:DescribeServiceRevisions",
        on=[SERVICE_ARN, f"arn:aws:ecs:{PLACE}:service-revision/given-api/api/*"],
    ),
]
CODEDEPLOY = f"arn:aws:codedeploy:{PLACE}"
BY_CODEDEPLOY = [
    right("codedeploy:CreateDeployment", "codedeploy:GetDeployment", on=f"{CODEDEPLOY}:deploymentgroup:api/api"),
    right(
        "codedeploy:GetApplication",
        "codedeploy:GetApplicationRevision",
        "codedeploy:RegisterApplicationRevision",
        on=f"{CODEDEPLOY}:application:api",
    ),
    right(
        "codedeploy:GetDeploymentConfig",
        on=f"{CODEDEPLOY}:deploymentconfig:CodeDeployDefault.ECSCanary10Percent5Minutes",
    ),
    right("codedeploy:ListDeployments", on=f"{CODEDEPLOY}:deploymentgroup:api/api"),
    right("codedeploy:StopDeployment", on="*"),  # has no resource-level permissions
]
SCALES = right(
    "application-autoscaling:RegisterScalableTarget",
    on=f"arn:aws:application-autoscaling:{PLACE}:scalable-target/api-scaling",
)


def watches(*alarms: str) -> dict[str, Any]:
    return right("cloudwatch:DescribeAlarms", on=[f"arn:aws:cloudwatch:{PLACE}:alarm:{alarm}" for alarm in alarms])


def passes(*roles: str) -> dict[str, Any]:
    condition = {"StringEquals": {"iam:PassedToService": "ecs.amazonaws.com"}}
    return right("iam:PassRole", on=[f"{ROLE}/{role}" for role in roles], when=condition)


SCALING = Tasks(min=2, max=4)
WORKER: dict[str, Any] = {"port": None, "load_balancer": None}


@pytest.mark.parametrize(
    ("arguments", "more"),
    [
        ({}, [*BY_ECS, watches("api-errors")]),
        ({"alarm_names": ["latency"]}, [*BY_ECS, watches("api-errors", "latency")]),
        ({"error_alarm": None}, BY_ECS),
        (WORKER, BY_ECS),
        ({"tasks": SCALING}, [*BY_ECS, watches("api-errors"), SCALES]),
        ({"strategy": BlueGreen()}, [*BY_ECS, watches("api-errors"), passes("api-traffic-role")]),
        ({"strategy": Canary()}, [*BY_ECS, watches("api-errors"), passes("api-traffic-role")]),
        (
            {"strategy": Linear(hooks=[HOOK])},
            [*BY_ECS, watches("api-errors"), passes("api-traffic-role", "api-hooks-role")],
        ),
        # CodeDeploy itself monitors the alarms.
        ({"strategy": CodeDeployBlueGreen(), "tasks": SCALING}, [*BY_CODEDEPLOY, SCALES]),
    ],
    ids=[
        "rolling",
        "further alarms",
        "no alarm",
        "worker",
        "scaling",
        "blue green",
        "canary",
        "hooks",
        "CodeDeploy",
    ],
)
def test_the_function_may_deploy_its_service_tag_its_images_and_nothing_else(
    arguments: dict[str, Any], more: list[dict[str, Any]]
) -> None:
    resources = of_service(**arguments)
    assert named(resources, "api-release-policy").inputs["role"] == "api-release-role"
    assert rights(resources, "api-release-policy") == granted([*ALWAYS, *more])


def test_a_caller_of_the_function_may_invoke_it_and_nothing_else() -> None:
    assert resolved(lambda: [release_function("api-release").invoke_statement()]) == [
        right("lambda:InvokeFunction", on=f"arn:aws:lambda:{PLACE}:function:api-release")
    ]


# Events


def test_the_function_runs_when_a_deployment_of_its_service_starts_or_ends() -> None:
    resources = of_service()
    rule = only(resources, "aws:cloudwatch/eventRule:EventRule")
    assert rule.name == "api-release-events"
    assert rule.json("eventPattern") == {
        "source": ["aws.ecs"],
        "detail-type": ["ECS Deployment State Change"],
        "resources": [SERVICE_ARN],
    }
    target = only(resources, "aws:cloudwatch/eventTarget:EventTarget")
    assert target.inputs == {"rule": rule.name, "arn": f"arn:aws:lambda:{PLACE}:function:api-release"}
    # An event before the permission would be lost.
    assert "api-release-events-permission" in target.depends_on
    assert only(resources, "aws:lambda/permission:Permission").inputs == {
        "action": "lambda:InvokeFunction",
        "function": "api-release",
        "principal": "events.amazonaws.com",
        "sourceArn": f"arn:aws:events:{PLACE}:rule/{rule.name}",
    }


# `pulumi up`


def test_the_rollout_runs_after_everything_that_it_reads() -> None:
    invocation = only(of_service(tasks=SCALING), INVOCATION)
    assert invocation.inputs.keys() == {"functionName", "input", "lifecycleScope", "triggers"}
    assert (invocation.inputs["functionName"], invocation.inputs["lifecycleScope"]) == ("api-release", "CREATE_ONLY")
    assert invocation.depends_on >= {
        "api",
        "api-errors",
        "api-scaling",
        "api-tasks",
        "api-template",
        "api-tg-a",
        "api-tg-b",
        "api-release",
        "api-release-policy",
    }


def test_the_rollout_runs_after_codedeploy_can_deploy() -> None:
    rolled_out = named(of_service(strategy=CodeDeployBlueGreen()), "api-release-rollout-1")
    assert rolled_out.depends_on >= {"api-group", "api-codedeploy-policy"}


def test_the_function_reads_a_rollout_and_accepts_its_settings() -> None:
    resources = of_service(tasks=SCALING)
    sent = rollout(resources)
    assert (sent["part"], sent["parts"], sent["rollout"].keys()) == (1, 1, {"settings"})
    # The function's configuration has their hash, which a caller of the function cannot change.
    text = contract.settings_text(sent["rollout"]["settings"])
    assert contract.sha256(text) == variables(resources)["SETTINGS_SHA256"]
    read = contract.decode(Rollout, {**sent, "settings": sent["rollout"]["settings"]})
    assert read == Rollout(settings=settings(tasks=SCALING), part=1, parts=1)


@pytest.mark.parametrize("what", ["function", "table"])
def test_the_rollout_runs_again_when_the_function_changed_or_the_table_is_new(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Failed settings that are reverted are the same text as before: each change of them changes the function.
    before = only(of_service(), INVOCATION).inputs
    assert before["triggers"] == harness.MADE
    monkeypatch.setitem(harness.MADE, what, "2026-02-02T00:00:00.000")
    after = only(deploy(lambda: service("api")), INVOCATION).inputs
    assert after == {**before, "triggers": {**before["triggers"], what: "2026-02-02T00:00:00.000"}}


@pytest.mark.parametrize(
    "arguments",
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
        "minimum of tasks",
        "maximum of tasks",
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
def test_the_rollout_runs_again_when_a_setting_changes(arguments: dict[str, Any]) -> None:
    assert settings(**arguments) != settings()
    assert variables(of_service(**arguments))["SETTINGS_SHA256"] != variables(of_service())["SETTINGS_SHA256"]


@pytest.mark.parametrize(
    ("arguments", "changed"),
    [
        ({"subnet_ids": ["subnet-9"]}, {"subnets": ["subnet-9"]}),
        ({"security_group_id": "sg-9"}, {"security_groups": ["sg-9"]}),
        ({"assign_public_ip": True}, {"assign_public_ip": True}),
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
    ids=lambda arguments: next(iter(arguments)),
)
def test_a_change_of_one_argument_changes_one_setting_of_the_rollout(
    arguments: dict[str, Any], changed: dict[str, Any]
) -> None:
    def sent(**arguments: Any) -> dict[str, Any]:
        run = only(deploy(lambda: release_function("web", **arguments)), INVOCATION)
        return dict(run.json("input")["rollout"]["settings"])

    before, after = sent(), sent(**arguments)
    assert after != before
    assert after == {**before, **changed}


def test_the_rollout_runs_again_when_the_template_changes() -> None:
    def program(family: str) -> ReleaseFunction:
        template = aws.ecs.TaskDefinition("given", family=family, container_definitions="[]")
        return release_function("web", template=template)

    sent = [
        only(deploy(partial(program, family)), INVOCATION).json("input")["rollout"]["settings"]
        for family in ("one", "two")
    ]
    assert [each["template"] for each in sent] == [
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
        # Eight steps, and no bake after the last one.
        (Linear(deadline_minutes=3, step_percent=12.5, step_bake_minutes=5, bake_minutes=3), 3),
        (Canary(deadline_minutes=3, bake_minutes=300, canary_bake_minutes=357), 48),
        (CodeDeployBlueGreen(deadline_minutes=3, termination_minutes=5), 1),
        (CodeDeployBlueGreen(deadline_minutes=3, termination_minutes=6), 2),
        (CodeDeployBlueGreen(on_ready="STOP_DEPLOYMENT", wait_minutes=60), 7),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, int) else str(value),
)
def test_a_rollout_has_as_many_invocations_as_its_deadline_needs_in_sequence(strategy: Strategy, parts: int) -> None:
    runs = of_type(deploy(lambda: release_function("web", strategy=strategy)), INVOCATION)
    by_part = {json.loads(run.inputs["input"])["part"]: run for run in runs}
    assert sorted(by_part) == list(range(1, parts + 1))
    assert {json.loads(run.inputs["input"])["parts"] for run in runs} == {parts}
    assert [by_part[part].name for part in range(1, parts + 1)] == [f"web-rollout-{part + 1}" for part in range(parts)]
    for part in range(2, parts + 1):
        assert by_part[part].depends_on >= {f"web-rollout-{part - 1}"}
    assert parts * 14 > strategy.total_minutes


@pytest.mark.parametrize(("minutes", "parts"), [(3, 1), (4, 2), (17, 2), (18, 3)])
def test_a_rollout_also_waits_while_ecs_monitors_the_alarm(minutes: int, parts: int) -> None:
    runs = of_type(
        deploy(lambda: release_function("web", strategy=Rolling(deadline_minutes=10), alarm_minutes=minutes)),
        INVOCATION,
    )
    assert len(runs) == parts
    assert parts * 14 > 10 + minutes


def test_the_alarm_that_is_waited_for_is_the_services() -> None:
    def runs(**arguments: Any) -> int:
        return len(of_type(of_service(strategy=Rolling(deadline_minutes=10), **arguments), INVOCATION))

    assert runs(error_alarm=ErrorAlarm(minutes=18)) == 3
    assert runs(error_alarm=None) == 1
    assert runs(**WORKER) == 1
