import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pulumi
import pytest
from slipway import (
    BlueGreen,
    Canary,
    CodeDeployBlueGreen,
    ErrorAlarm,
    HealthCheck,
    Hook,
    Linear,
    MetricTarget,
    Permission,
    Process,
    QueueBacklog,
    Rolling,
    ScheduledBounds,
    Service,
    Tasks,
    iam,
)
from slipway.service.args import ServiceSettings, process_settings
from slipway.strategies import Strategy
from unit.examples import TEST_LISTENER, load_balancer, service, service_args
from unit.harness import Resource, deploy, granted, named, of_type, only, resolved, rights, sg, statements, trusted

SERVICE = "aws:ecs/service:Service"
TEMPLATE = "aws:ecs/taskDefinition:TaskDefinition"
TARGET = "aws:appautoscaling/target:Target"
POLICY = "aws:appautoscaling/policy:Policy"
SCHEDULED = "aws:appautoscaling/scheduledAction:ScheduledAction"
GROUP = "aws:lb/targetGroup:TargetGroup"
INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
EGRESS = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
RULE = "aws:lb/listenerRule:ListenerRule"
ALARM = "aws:cloudwatch/metricAlarm:MetricAlarm"
ELB = "arn:aws:elasticloadbalancing:eu-west-1:123456789012"
GROUPS = [f"{ELB}:targetgroup/api-tg-a/1", f"{ELB}:targetgroup/api-tg-b/1"]
FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:check"
ROLE = "arn:aws:iam::123456789012:role"
SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-a1b2c3"
PARAMETER = "arn:aws:ssm:eu-west-1:123456789012:parameter/api/token"
LOGIN = {"Effect": "Allow", "Action": ["ecr:GetAuthorizationToken"], "Resource": "*"}
PULL = {
    "Effect": "Allow",
    "Action": ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
    "Resource": "arn:aws:ecr:eu-west-1:123456789012:repository/given-api",
}
LOGS = {
    "Effect": "Allow",
    "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
    "Resource": "arn:aws:logs:eu-west-1:123456789012:log-group:/ecs/api:*",
}


def deployed(**args: Any) -> list[Resource]:
    return deploy(lambda: service("api", **args)) if args else by_default()


@cache
def by_default() -> list[Resource]:
    return deploy(lambda: service("api"))


def with_test_listener(**args: Any) -> list[Resource]:
    return deploy(lambda: service("api", load_balancer=load_balancer("given-api", test_listener=TEST_LISTENER), **args))


@cache
def by(strategy: Strategy) -> list[Resource]:
    return deployed(strategy=strategy)


@cache
def worker() -> list[Resource]:
    return deployed(port=None, load_balancer=None)


def settings(resources: list[Resource]) -> dict[str, Any]:
    """The settings with which the release function deploys."""
    return dict(named(resources, "api-release-rollout-1").json("input")["rollout"]["settings"])


SHIFTING = [BlueGreen(), Canary(), Linear()]
every_shift = pytest.mark.parametrize("strategy", SHIFTING, ids=lambda s: type(s).__name__)


def container(**args: Any) -> dict[str, Any]:
    [only_one] = only(deployed(**args), TEMPLATE).json("containerDefinitions")
    return dict(only_one)


def test_the_service_is_private_rolls_back_automatically_and_starts_no_tasks_before_a_release() -> None:
    assert only(deployed(), SERVICE).inputs == {
        "name": "api",
        "cluster": "arn:aws:ecs:eu-west-1:123456789012:cluster/given-api",
        "taskDefinition": "arn:aws:ecs:eu-west-1:123456789012:task-definition/api-template:1",
        "launchType": "FARGATE",
        "desiredCount": 0,
        "deploymentController": {"type": "ECS"},
        "deploymentConfiguration": {"strategy": "ROLLING"},
        "deploymentCircuitBreaker": {"enable": True, "rollback": True},
        "deploymentMinimumHealthyPercent": 100,
        "deploymentMaximumPercent": 200,
        "healthCheckGracePeriodSeconds": 60,
        "networkConfiguration": {
            "subnets": ["subnet-3", "subnet-4"],
            "securityGroups": [sg("api-tasks")],
            "assignPublicIp": False,
        },
        "loadBalancers": [{"targetGroupArn": GROUPS[0], "containerName": "app", "containerPort": 8080}],
        "enableEcsManagedTags": True,
        "propagateTags": "SERVICE",
        "availabilityZoneRebalancing": "ENABLED",
    }


def test_task_definition_count_and_other_properties_of_the_release_function_are_ignored() -> None:
    for resources in (deployed(), worker(), *map(by, SHIFTING), by(CodeDeployBlueGreen())):
        assert only(resources, SERVICE).ignore_changes == [
            "launchType",
            "capacityProviderStrategies",
            "taskDefinition",
            "desiredCount",
            "networkConfiguration",
            "loadBalancers",
            "serviceConnectConfiguration",
            "deploymentConfiguration",
            "deploymentCircuitBreaker",
            "deploymentMinimumHealthyPercent",
            "deploymentMaximumPercent",
            "alarms",
            "availabilityZoneRebalancing",
        ]


def test_the_service_is_created_after_its_rule_and_after_its_role_has_its_permissions() -> None:
    needed = {"given-api", "api-template", "api-tasks", "api-tg-a", "api-rule", "api-execution-policy"}
    assert only(deployed(), SERVICE).depends_on == needed
    shifting = needed | {"api-tg-b", "api-traffic-role", "api-traffic-policy"}
    assert only(by(Canary()), SERVICE).depends_on == shifting
    assert only(with_test_listener(strategy=Canary()), SERVICE).depends_on == shifting | {"api-rule-test"}
    hooks = Canary(hooks=[Hook(stages=["POST_SCALE_UP"], function_arn=FUNCTION)])
    assert only(deployed(strategy=hooks), SERVICE).depends_on == shifting | {"api-hooks-policy"}
    assert only(worker(), SERVICE).depends_on == {
        "given-api",
        "api-template",
        "api-tasks",
        "api-execution-policy",
    }


def test_the_strategy_determines_how_many_tasks_are_replaced_at_once() -> None:
    inputs = only(deployed(strategy=Rolling(minimum_healthy_percent=50, maximum_percent=150)), SERVICE).inputs
    assert (inputs["deploymentMinimumHealthyPercent"], inputs["deploymentMaximumPercent"]) == (50, 150)


@pytest.mark.parametrize(("most", "rebalancing"), [(100, "DISABLED"), (101, "ENABLED"), (200, "ENABLED")])
def test_zones_are_rebalanced_if_more_than_the_desired_count_may_run(most: int, rebalancing: str) -> None:
    strategy = Rolling(minimum_healthy_percent=50, maximum_percent=most)
    assert only(deployed(strategy=strategy), SERVICE).inputs["availabilityZoneRebalancing"] == rebalancing


def test_the_command_and_the_entry_point_of_the_image_can_be_replaced() -> None:
    def container(**args: Any) -> dict[str, Any]:
        [made] = json.loads(only(deployed(**args), TEMPLATE).inputs["containerDefinitions"])
        return dict(made)

    words = ["npm", "run", "worker"]
    assert container(command=words) == {**container(), "command": words}
    both = {"entryPoint": ["/bin/sh", "-c"], "command": ["echo a; exec b", ""]}
    assert container(entrypoint=both["entryPoint"], command=both["command"]) == {**container(), **both}


@pytest.mark.parametrize("field", ["entrypoint", "command"])
def test_the_words_of_a_command_contain_no_credentials_and_are_a_list(field: str) -> None:
    secret = "AKIAIOSFODNN7EXAMPLE"
    settings: Callable[..., object] = ServiceSettings
    with pytest.raises(ValueError) as error:
        settings(**{field: ["run", f"--key={secret}"]})
    assert f"{field}[1] must not contain a secret, but contains" in str(error.value)
    assert secret not in str(error.value)
    settings(**{field: ["run", f"--key={secret}"]}, not_secret=["commands"])
    with pytest.raises(ValueError, match=f"{field} must be a list"):
        settings(**{field: "npm run worker"})


def test_the_template_has_its_own_family_and_is_retained() -> None:
    template = only(deployed(cpu=1024, memory=4096, cpu_architecture="ARM64"), TEMPLATE)
    template.inputs.pop("containerDefinitions")
    assert template.inputs == {
        "family": "api-template",
        "requiresCompatibilities": ["FARGATE"],
        "networkMode": "awsvpc",
        "cpu": "1024",
        "memory": "4096",
        "runtimePlatform": {"cpuArchitecture": "ARM64", "operatingSystemFamily": "LINUX"},
        "executionRoleArn": "arn:aws:iam::123456789012:role/api-execution-role",
        "taskRoleArn": "arn:aws:iam::123456789012:role/api-task-role",
        "skipDestroy": True,
    }
    assert template.ignore_changes == []


def test_the_container_has_a_placeholder_image_and_its_final_settings() -> None:
    assert container() == {
        "name": "app",
        "image": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/given-api:unreleased",
        "essential": True,
        "portMappings": [{"containerPort": 8080, "hostPort": 8080, "protocol": "tcp"}],
        "environment": [],
        "secrets": [],
        "readonlyRootFilesystem": True,
        "linuxParameters": {"initProcessEnabled": True},
        "stopTimeout": 30,
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": "/ecs/api",
                "awslogs-region": "eu-west-1",
                "awslogs-stream-prefix": "app",
                "mode": "non-blocking",
            },
        },
    }


def test_the_container_has_the_given_settings() -> None:
    args = container(
        container_name="web",
        port=3000,
        environment={"B": "2", "A": "1"},
        secrets={"TOKEN": PARAMETER, "PASSWORD": f"{SECRET}:password::"},
        read_only_root_filesystem=False,
        stop_timeout_seconds=5,
    )
    assert {**args, "image": None, "logConfiguration": None} == {
        "name": "web",
        "image": None,
        "essential": True,
        "portMappings": [{"containerPort": 3000, "hostPort": 3000, "protocol": "tcp"}],
        "environment": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
        "secrets": [
            {"name": "PASSWORD", "valueFrom": f"{SECRET}:password::"},
            {"name": "TOKEN", "valueFrom": PARAMETER},
        ],
        "readonlyRootFilesystem": False,
        "linuxParameters": {"initProcessEnabled": True},
        "stopTimeout": 5,
        "logConfiguration": None,
    }


def test_the_text_of_the_template_does_not_depend_on_the_order_of_its_settings() -> None:
    texts = [
        only(deployed(environment=environment), TEMPLATE).inputs["containerDefinitions"]
        for environment in ({"A": "1", "B": "2"}, {"B": "2", "A": "1"})
    ]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("seconds", [2, 120])
def test_a_task_may_take_two_seconds_to_two_minutes_to_stop(seconds: int) -> None:
    assert container(stop_timeout_seconds=seconds)["stopTimeout"] == seconds


@pytest.mark.parametrize("role", ["api-execution-role", "api-task-role"])
def test_the_roles_of_a_task_are_for_tasks_of_this_account_and_region(role: str) -> None:
    assert trusted(deployed(), role) == [
        {
            "Effect": "Allow",
            "Principal": {"Service": "ecs-tasks.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {
                "StringEquals": {"aws:SourceAccount": "123456789012"},
                "ArnLike": {"aws:SourceArn": "arn:aws:ecs:eu-west-1:123456789012:*"},
            },
        }
    ]


def test_ecs_may_pull_the_image_and_write_the_log_and_the_application_may_do_nothing() -> None:
    resources = deployed()
    assert rights(resources, "api-execution-policy") == granted([LOGIN, PULL, LOGS])
    policies = [r.inputs["role"] for r in of_type(resources, "aws:iam/rolePolicy:RolePolicy")]
    assert sorted(policies) == ["api-execution-role", "api-release-role"]


def test_the_application_has_the_given_permissions() -> None:
    queue = "arn:aws:sqs:eu-west-1:123456789012:orders"
    resources = deployed(
        permissions=[Permission(actions=["sqs:ReceiveMessage", "sqs:DeleteMessage"], resources=[queue])],
        task_statements=[iam.allow("s3:GetObject", on="arn:aws:s3:::photos/*")],
    )
    assert named(resources, "api-task-policy").inputs["role"] == "api-task-role"
    assert statements(resources, "api-task-policy") == [
        {"Effect": "Allow", "Action": ["sqs:ReceiveMessage", "sqs:DeleteMessage"], "Resource": [queue]},
        {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": "arn:aws:s3:::photos/*"},
    ]


LABEL = {"source": ["aws.secretsmanager"], "detail-type": ["Secret Label Updated"]}
CHANGE = {
    "source": ["aws.ssm"],
    "detail-type": ["Parameter Store Change"],
    "detail": {"operation": ["Create", "Update"]},
}


@pytest.mark.parametrize(
    ("references", "pattern"),
    [
        (
            [f"{SECRET}:password::", f"{SECRET}:user:AWSCURRENT:", f"{SECRET}2", f"{SECRET}3::AWSPREVIOUS:"],
            {
                **LABEL,
                "resources": [SECRET, f"{SECRET}2", f"{SECRET}3"],
                "detail": {"labelUpdated": ["AWSCURRENT"]},
            },
        ),
        ([PARAMETER], {**CHANGE, "resources": [PARAMETER]}),
        (
            [f"{SECRET}::TRIAL:", f"{SECRET}4:::0f-1", PARAMETER, SECRET],
            {
                "$or": [
                    {**LABEL, "resources": [SECRET], "detail": {"labelUpdated": ["AWSCURRENT"]}},
                    {**LABEL, "resources": [SECRET], "detail": {"labelUpdated": ["TRIAL"]}},
                    {**CHANGE, "resources": [PARAMETER]},
                ]
            },
        ),
    ],
    ids=["secrets", "a parameter", "all"],
)
@pytest.mark.parametrize("known", [True, False], ids=["known", "known later"])
def test_a_change_of_exactly_the_referenced_values_invokes_the_release_function(
    references: list[str], pattern: dict[str, Any], known: bool
) -> None:
    def program() -> Service:
        given = {f"V{n}": r if known else pulumi.Output.from_input(r) for n, r in enumerate(references)}
        return service("api", secrets=given, restart_on_secret_change=True)

    resources = deploy(program)
    rule = named(resources, "api-secrets", "EventRule")
    assert rule.json("eventPattern") == pattern
    target = named(resources, "api-secrets-target")
    assert target.inputs == {"rule": rule.name, "arn": "arn:aws:lambda:eu-west-1:123456789012:function:api-release"}
    assert named(resources, "api-secrets-permission").inputs["function"] == "api-release"


def test_without_being_asked_a_change_of_a_secret_starts_nothing() -> None:
    assert [r.name for r in deployed(secrets={"A": SECRET}) if "api-secrets" in r.name] == []


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({}, "restart_on_secret_change must not be set without secrets"),
        (
            {"secrets": {"A": f"{SECRET}:::0f-1"}},
            "restart_on_secret_change must not be set if all secrets are fixed versions, which never change",
        ),
        (
            {"secrets": {"A": SECRET.replace("1234567", "7654321")}},
            "secrets['A'] must be in eu-west-1/123456789012, got one in eu-west-1/765432189012: its events are sent "
            "there",
        ),
        (
            {"secrets": {"A": SECRET, "B": PARAMETER.replace("eu-west-1", "us-east-1")}},
            "secrets['B'] must be in eu-west-1/123456789012, got one in us-east-1/123456789012: its events are sent "
            "there",
        ),
    ],
)
def test_secrets_whose_changes_are_not_seen_are_refused(args: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, pulumi.RunError)) as error:
        deployed(restart_on_secret_change=True, **args)
    assert str(error.value) == message


def test_fixed_versions_that_are_known_later_are_refused_then() -> None:
    def program() -> Service:
        return service(
            "api", secrets={"A": pulumi.Output.from_input(f"{SECRET}:::0f-1")}, restart_on_secret_change=True
        )

    with pytest.raises(pulumi.RunError, match="if all secrets are fixed versions"):
        deploy(program)


def test_ecs_may_read_exactly_the_referenced_secrets() -> None:
    key = "arn:aws:kms:eu-west-1:123456789012:key/k"
    secrets = {
        "PASSWORD": f"{SECRET}:password::",
        "USER": f"{SECRET}:user:AWSCURRENT:",
        "WHOLE": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:api/all-d4e5f6",
        "TOKEN": PARAMETER,
    }
    assert rights(deployed(secrets=secrets, secrets_kms_key_arns=[key]), "api-execution-policy") == granted(
        [
            LOGIN,
            PULL,
            LOGS,
            {
                "Effect": "Allow",
                "Action": ["secretsmanager:GetSecretValue"],
                "Resource": ["arn:aws:secretsmanager:eu-west-1:123456789012:secret:api/all-d4e5f6", SECRET],
            },
            {"Effect": "Allow", "Action": ["ssm:GetParameters"], "Resource": [PARAMETER]},
            {"Effect": "Allow", "Action": ["kms:Decrypt"], "Resource": [key]},
        ]
    )


def test_only_the_load_balancer_reaches_the_tasks_and_only_on_their_port() -> None:
    resources = deployed(port=3000)
    assert named(resources, "api-tasks").inputs == {"description": "Tasks of api", "vpcId": "vpc-1"}
    into = of_type(resources, INGRESS)
    assert {r.name: r.inputs for r in into if r.inputs["securityGroupId"] == sg("api-tasks")} == {
        "api-in-3000": {
            "securityGroupId": sg("api-tasks"),
            "description": "Load balancer",
            "referencedSecurityGroupId": sg("given-api-balancer"),
            "ipProtocol": "tcp",
            "fromPort": 3000,
            "toPort": 3000,
        }
    }


def test_the_load_balancer_reaches_the_tasks_and_the_tasks_reach_what_they_need() -> None:
    out = of_type(deployed(port=3000), EGRESS)
    assert {r.name: r.inputs for r in out} == {
        "api-from-balancer-3000": {
            "securityGroupId": sg("given-api-balancer"),
            "description": "Tasks of api",
            "referencedSecurityGroupId": sg("api-tasks"),
            "ipProtocol": "tcp",
            "fromPort": 3000,
            "toPort": 3000,
        },
        "api-out": {
            "securityGroupId": sg("api-tasks"),
            "description": "Anywhere",
            "ipProtocol": "-1",
            "cidrIpv4": "0.0.0.0/0",
        },
    }


def test_a_change_of_the_port_creates_new_rules_and_keeps_the_target_group() -> None:
    def made(port: int) -> tuple[set[str], list[Resource]]:
        resources = deployed(port=port)
        rules = [*of_type(resources, INGRESS), *of_type(resources, EGRESS)]
        return {r.name for r in rules if r.name.startswith("api-")}, of_type(resources, GROUP)

    (before, group), (after, same) = made(3000), made(3001)
    assert len(group) == 2
    assert before - after == {"api-in-3000", "api-from-balancer-3000"}
    assert after - before == {"api-in-3001", "api-from-balancer-3001"}
    assert same == group


def test_both_target_groups_check_the_health_of_each_task() -> None:
    check = HealthCheck(interval_seconds=20, timeout_seconds=9, healthy_count=3, unhealthy_count=4)
    resources = deployed(port=3000, health_path="/healthz", drain_seconds=90, health_check=check)
    assert {r.name: r.inputs for r in of_type(resources, GROUP)} == {
        f"api-tg-{letter}": {
            "namePrefix": f"api-{letter}",
            "vpcId": "vpc-1",
            "targetType": "ip",
            "protocol": "HTTP",
            "port": 80,
            "deregistrationDelay": 90,
            "healthCheck": {
                "path": "/healthz",
                "matcher": "200",
                "interval": 20,
                "timeout": 9,
                "healthyThreshold": 3,
                "unhealthyThreshold": 4,
            },
        }
        for letter in "ab"
    }


def test_the_rule_forwards_the_services_paths_with_its_priority() -> None:
    resources = deployed(paths=["/api/*", "/v1/*"], listener_priority=7)
    rule = only(resources, RULE)
    assert rule.inputs == {
        "listenerArn": f"{ELB}:listener/given-api-http",
        "priority": 7,
        "conditions": [{"pathPattern": {"values": ["/api/*", "/v1/*"]}}],
        "actions": [FORWARD],
    }


FORWARD = {
    "type": "forward",
    "forward": {"targetGroups": [{"arn": GROUPS[0], "weight": 100}, {"arn": GROUPS[1], "weight": 0}]},
}


@pytest.mark.parametrize(
    "strategy", [Rolling(), *SHIFTING, CodeDeployBlueGreen()], ids=lambda strategy: type(strategy).__name__
)
def test_every_strategy_has_both_groups_in_one_rule_whose_weights_pulumi_ignores(
    strategy: Strategy,
) -> None:
    rule = only(by(strategy), RULE)
    assert (rule.name, rule.inputs["actions"], rule.ignore_changes) == ("api-rule", [FORWARD], ["actions"])
    assert [group.name for group in of_type(by(strategy), GROUP)] == ["api-tg-a", "api-tg-b"]


def test_test_traffic_has_its_own_rule_if_the_load_balancer_has_a_test_listener() -> None:
    rules = {rule.name: rule for rule in of_type(with_test_listener(strategy=BlueGreen()), RULE)}
    assert rules["api-rule-test"].inputs == {
        **rules["api-rule"].inputs,
        "listenerArn": f"{ELB}:listener/given-api-test",
    }
    assert rules["api-rule-test"].ignore_changes == ["actions"]
    assert len(rules) == 2


# Strategies


def test_a_service_is_created_with_its_strategy_and_without_timers_before_the_first_release() -> None:
    def made(strategy: Strategy) -> dict[str, Any]:
        inputs = only(by(strategy), SERVICE).inputs
        keys = (*KEYS, "deploymentController", "loadBalancers")
        return {key: inputs[key] for key in keys if key in inputs}

    advanced = {
        "alternateTargetGroupArn": GROUPS[1],
        "productionListenerRule": f"{ELB}:listener-rule/api-rule",
        "roleArn": f"{ROLE}/api-traffic-role",
    }
    balanced = {"targetGroupArn": GROUPS[0], "containerName": "app", "containerPort": 8080}
    shifts = {
        "deploymentController": {"type": "ECS"},
        "deploymentMinimumHealthyPercent": 100,
        "deploymentMaximumPercent": 200,
        "availabilityZoneRebalancing": "ENABLED",
        "loadBalancers": [{**balanced, "advancedConfiguration": advanced}],
    }
    on, off = {"enable": True, "rollback": True}, {"enable": False, "rollback": False}
    assert made(BlueGreen(bake_minutes=30)) == {
        **shifts,
        "deploymentConfiguration": {"strategy": "BLUE_GREEN", "bakeTimeInMinutes": "0"},
        "deploymentCircuitBreaker": on,
    }
    assert made(Canary(bake_minutes=30, percent=20)) == {
        **shifts,
        "deploymentConfiguration": {
            "strategy": "CANARY",
            "bakeTimeInMinutes": "0",
            "canaryConfiguration": {"canaryPercent": 20, "canaryBakeTimeInMinutes": "0"},
        },
        "deploymentCircuitBreaker": off,
    }
    assert made(Linear(bake_minutes=30, step_percent=25)) == {
        **shifts,
        "deploymentConfiguration": {
            "strategy": "LINEAR",
            "bakeTimeInMinutes": "0",
            "linearConfiguration": {"stepPercent": 25, "stepBakeTimeInMinutes": "0"},
        },
        "deploymentCircuitBreaker": off,
    }
    assert made(CodeDeployBlueGreen()) == {
        "deploymentController": {"type": "CODE_DEPLOY"},
        "availabilityZoneRebalancing": "DISABLED",
        "loadBalancers": [balanced],
    }


KEYS = (
    "deploymentConfiguration",
    "deploymentCircuitBreaker",
    "deploymentMinimumHealthyPercent",
    "deploymentMaximumPercent",
    "availabilityZoneRebalancing",
)
ALARMED = {"alarmNames": ["api-errors"], "enable": True, "rollback": True}
NO_ALARM: dict[str, Any] = {"alarmNames": [], "enable": False, "rollback": False}
BREAKS, GOES_ON = {"enable": True, "rollback": True}, {"enable": False, "rollback": False}


@pytest.mark.parametrize(
    ("strategy", "deployment"),
    [
        (
            Rolling(minimum_healthy_percent=50, maximum_percent=150),
            {
                "strategy": "ROLLING",
                "minimumHealthyPercent": 50,
                "maximumPercent": 150,
                "deploymentCircuitBreaker": BREAKS,
                "alarms": ALARMED,
                # Otherwise hooks of the earlier strategy would remain.
                "lifecycleHooks": [],
            },
        ),
        (
            BlueGreen(bake_minutes=7),
            {
                "strategy": "BLUE_GREEN",
                "bakeTimeInMinutes": 7,
                "minimumHealthyPercent": 100,
                "maximumPercent": 200,
                "deploymentCircuitBreaker": BREAKS,
                "alarms": ALARMED,
                "lifecycleHooks": [],
            },
        ),
        (
            Canary(percent=2.5, canary_bake_minutes=4, bake_minutes=7),
            {
                "strategy": "CANARY",
                "bakeTimeInMinutes": 7,
                "canaryConfiguration": {"canaryPercent": 2.5, "canaryBakeTimeInMinutes": 4},
                "minimumHealthyPercent": 100,
                "maximumPercent": 200,
                "deploymentCircuitBreaker": GOES_ON,
                "alarms": ALARMED,
                "lifecycleHooks": [],
            },
        ),
        (
            Linear(step_percent=25, step_bake_minutes=3, bake_minutes=7),
            {
                "strategy": "LINEAR",
                "bakeTimeInMinutes": 7,
                "linearConfiguration": {"stepPercent": 25, "stepBakeTimeInMinutes": 3},
                "minimumHealthyPercent": 100,
                "maximumPercent": 200,
                "deploymentCircuitBreaker": GOES_ON,
                "alarms": ALARMED,
                "lifecycleHooks": [],
            },
        ),
        (CodeDeployBlueGreen(), {}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_release_function_gets_the_whole_strategy_and_the_deadline_that_ecs_does_not_have(
    strategy: Strategy, deployment: dict[str, Any]
) -> None:
    assert settings(by(strategy))["deployment"] == deployment


@every_shift
def test_ecs_may_shift_traffic_only_between_the_two_groups_and_by_the_services_rules(strategy: Strategy) -> None:
    def may(*rules: str) -> list[dict[str, Any]]:
        return [
            {
                "Effect": "Allow",
                "Action": [
                    "elasticloadbalancing:DescribeListeners",
                    "elasticloadbalancing:DescribeRules",
                    "elasticloadbalancing:DescribeTargetGroups",
                    "elasticloadbalancing:DescribeTargetHealth",
                ],
                "Resource": "*",
            },
            {
                "Effect": "Allow",
                "Action": ["elasticloadbalancing:RegisterTargets", "elasticloadbalancing:DeregisterTargets"],
                "Resource": GROUPS,
            },
            {
                "Effect": "Allow",
                "Action": ["elasticloadbalancing:ModifyRule"],
                "Resource": [f"{ELB}:listener-rule/{rule}" for rule in rules],
            },
        ]

    resources, tested = by(strategy), with_test_listener(strategy=strategy)
    assert trusted(resources, "api-traffic-role") == [
        {"Effect": "Allow", "Principal": {"Service": "ecs.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ]
    assert named(resources, "api-traffic-policy").inputs["role"] == "api-traffic-role"
    assert rights(resources, "api-traffic-policy") == granted(may("api-rule"))
    assert rights(tested, "api-traffic-policy") == granted(may("api-rule", "api-rule-test"))
    advanced = settings(tested)["load_balancers"][0]["advancedConfiguration"]
    assert advanced["testListenerRule"] == f"{ELB}:listener-rule/api-rule-test"
    assert "testListenerRule" not in settings(resources)["load_balancers"][0]["advancedConfiguration"]


@pytest.mark.parametrize("strategy", [Rolling(), CodeDeployBlueGreen()], ids=lambda s: type(s).__name__)
def test_ecs_has_no_role_unless_it_shifts_traffic(strategy: Strategy) -> None:
    resources = with_test_listener(strategy=strategy)
    assert [r.name for r in resources if "traffic" in r.name or "hooks" in r.name] == []
    assert "advancedConfiguration" not in settings(resources)["load_balancers"][0]


def test_ecs_may_invoke_exactly_the_functions_of_hooks() -> None:
    hooks = [
        Hook(stages=["POST_TEST_TRAFFIC_SHIFT"], function_arn=FUNCTION, timeout_minutes=5),
        Hook(stages=["PRE_SCALE_UP"], function_arn=f"{FUNCTION}-a", timeout_minutes=1, on_timeout="CONTINUE"),
        Hook(stages=["POST_SCALE_UP", "PRODUCTION_TRAFFIC_SHIFT"], function_arn=FUNCTION, timeout_minutes=2),
        Hook(stages=["POST_PRODUCTION_TRAFFIC_SHIFT"], timeout_minutes=3),
    ]
    resources = deployed(strategy=Linear(hooks=hooks))
    assert trusted(resources, "api-hooks-role") == [
        {"Effect": "Allow", "Principal": {"Service": "ecs.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ]
    assert rights(resources, "api-hooks-policy") == granted(
        [{"Effect": "Allow", "Action": ["lambda:InvokeFunction"], "Resource": [FUNCTION, f"{FUNCTION}-a"]}]
    )

    def called(function: str, minutes: int, action: str, *stages: str) -> dict[str, Any]:
        return {
            "targetType": "AWS_LAMBDA",
            "hookTargetArn": function,
            "roleArn": f"{ROLE}/api-hooks-role",
            "lifecycleStages": [*stages],
            "timeoutConfiguration": {"timeoutInMinutes": minutes, "action": action},
        }

    assert settings(resources)["deployment"]["lifecycleHooks"] == [
        called(FUNCTION, 5, "ROLLBACK", "POST_TEST_TRAFFIC_SHIFT"),
        called(f"{FUNCTION}-a", 1, "CONTINUE", "PRE_SCALE_UP"),
        called(FUNCTION, 2, "ROLLBACK", "POST_SCALE_UP", "PRODUCTION_TRAFFIC_SHIFT"),
        {
            "targetType": "PAUSE",
            "lifecycleStages": ["POST_PRODUCTION_TRAFFIC_SHIFT"],
            "timeoutConfiguration": {"timeoutInMinutes": 3, "action": "ROLLBACK"},
        },
    ]


def test_a_pause_needs_no_role() -> None:
    resources = deployed(strategy=BlueGreen(hooks=[Hook(stages=["POST_TEST_TRAFFIC_SHIFT"])]))
    assert [r.name for r in resources if "hooks" in r.name] == []
    assert settings(resources)["deployment"]["lifecycleHooks"] == [
        {
            "targetType": "PAUSE",
            "lifecycleStages": ["POST_TEST_TRAFFIC_SHIFT"],
            "timeoutConfiguration": {"timeoutInMinutes": 60, "action": "ROLLBACK"},
        }
    ]


# The alarm


def test_the_alarm_goes_off_when_requests_to_either_group_fail() -> None:
    resources = deployed(error_alarm=ErrorAlarm(percent=7, requests=50, minutes=3))

    def metric(id: str, name: str, letter: str) -> dict[str, Any]:
        dimensions = {"LoadBalancer": "app/given-api/1", "TargetGroup": f"targetgroup/api-tg-{letter}/1"}
        of = {"namespace": "AWS/ApplicationELB", "metricName": name, "dimensions": dimensions}
        return {"id": id, "metric": {**of, "period": 60, "stat": "Sum"}}

    assert only(resources, ALARM).inputs == {
        "alarmDescription": "More than 7 percent of the requests to api fail.",
        "comparisonOperator": "GreaterThanThreshold",
        "threshold": 7,
        "evaluationPeriods": 3,
        "treatMissingData": "notBreaching",
        "metricQueries": [
            metric("errors_a", "HTTPCode_Target_5XX_Count", "a"),
            metric("requests_a", "RequestCount", "a"),
            metric("errors_b", "HTTPCode_Target_5XX_Count", "b"),
            metric("requests_b", "RequestCount", "b"),
            {
                "id": "percent",
                "label": "Failed requests, percent",
                "expression": "MAX([IF(FILL(requests_a, 0) >= 50, 100 * FILL(errors_a, 0) / requests_a, 0), "
                "IF(FILL(requests_b, 0) >= 50, 100 * FILL(errors_b, 0) / requests_b, 0)])",
                "returnData": True,
            },
        ],
    }


def test_without_the_alarm_only_the_given_alarms_if_any_roll_back() -> None:
    none = deployed(error_alarm=None)
    assert of_type(none, ALARM) == []
    assert settings(none)["deployment"]["alarms"] == NO_ALARM
    own = deployed(error_alarm=None, alarm_names=["latency"])
    assert settings(own)["deployment"]["alarms"] == {**ALARMED, "alarmNames": ["latency"]}
    both = deployed(alarm_names=["latency"])
    assert settings(both)["deployment"]["alarms"] == {**ALARMED, "alarmNames": ["api-errors", "latency"]}


# A worker


def test_a_worker_serves_no_requests_and_cannot_be_reached() -> None:
    inputs = only(worker(), SERVICE).inputs
    assert inputs.get("loadBalancers", []) == []
    assert "healthCheckGracePeriodSeconds" not in inputs
    assert [r.type for r in worker() if r.type.startswith("aws:lb/") or r.type in (INGRESS, ALARM)] == []
    assert [r.name for r in of_type(worker(), EGRESS)] == ["api-out"]
    [definition] = only(worker(), TEMPLATE).json("containerDefinitions")
    assert definition["portMappings"] == []
    outputs = only(worker(), "slipway:index:Service").outputs
    assert "url" not in outputs
    args = settings(worker())
    assert (args["load_balancers"], args["target_groups"]) == ([], [])
    assert args["deployment"]["alarms"] == NO_ALARM
    variables = only(worker(), "aws:lambda/function:Function").inputs["environment"]["variables"]
    assert variables["SERVICE_URL"] == ""


@pytest.mark.parametrize(
    ("strategy", "name"),
    [
        (BlueGreen(), "BlueGreen"),
        (Canary(), "Canary"),
        (Linear(), "Linear"),
        (CodeDeployBlueGreen(), "CodeDeployBlueGreen"),
    ],
)
def test_a_worker_cannot_have_a_strategy_that_shifts_traffic(strategy: Strategy, name: str) -> None:
    with pytest.raises(ValueError) as error:
        deploy(lambda: service("api", port=None, load_balancer=None, strategy=strategy))
    assert str(error.value) == (
        f"strategy must be Rolling for a service without a port, got {name}: there is no load balancer whose traffic "
        "could be shifted"
    )


@pytest.mark.parametrize(("args", "got"), [({"port": None}, None), ({"load_balancer": None}, 8080)])
def test_a_port_requires_a_load_balancer_and_the_other_way_round(args: dict[str, Any], got: int | None) -> None:
    with pytest.raises(ValueError) as error:
        deployed(**args)
    assert str(error.value) == f"load_balancer must be set if, and only if, port is set, got port={got}"


@pytest.mark.parametrize(
    ("args", "got"),
    [
        ({"load_balancer": None}, {"web": 8080, "worker": None}),
        ({"port": None}, {"web": None, "worker": None}),
    ],
)
def test_a_port_of_any_process_requires_a_load_balancer_and_the_other_way_round(
    args: dict[str, Any], got: dict[str, int | None]
) -> None:
    with pytest.raises(ValueError) as error:
        deployed(processes={"worker": Process()}, **args)
    assert str(error.value) == f"load_balancer must be set if, and only if, a process has a port, got {got}"


def test_a_load_balancer_may_be_that_of_another_process_than_web() -> None:
    api = Process(port=81, paths=["/api"], listener_priority=7)

    def attached() -> dict[str, bool]:
        args = service_args("api", port=None, processes={"api": api})
        return {name: each.load_balancer is not None for name, each in process_settings(args).items()}

    assert resolved(attached) == {"web": False, "api": True}


@every_shift
def test_the_bake_time_is_at_least_the_evaluation_period_of_the_alarm(strategy: Strategy) -> None:
    kind: Any = type(strategy)
    with pytest.raises(ValueError) as error:
        deployed(strategy=kind(bake_minutes=2), error_alarm=ErrorAlarm(minutes=3))
    assert str(error.value) == (
        "strategy must have bake_minutes of at least error_alarm.minutes=3, got 2: the old tasks would be gone before "
        "the alarm could go off"
    )


def test_without_the_alarm_no_bake_time_is_required() -> None:
    resources = deployed(strategy=BlueGreen(bake_minutes=0), error_alarm=None)
    assert settings(resources)["deployment"]["bakeTimeInMinutes"] == 0
    deployed(strategy=BlueGreen(bake_minutes=3), error_alarm=ErrorAlarm(minutes=3))


# Permissions of CodePipeline's own actions


def action_statements(*first: dict[str, Any]) -> list[dict[str, Any]]:
    definition = "arn:aws:ecs:eu-west-1:123456789012:task-definition"
    return [
        *first,
        {"Effect": "Allow", "Action": ["ecs:DescribeTaskDefinition", "ecs:RegisterTaskDefinition"], "Resource": "*"},
        {
            "Effect": "Allow",
            "Action": ["ecs:TagResource"],
            "Resource": [f"{definition}/api:*", f"{definition}/api-template:*"],
            "Condition": {"StringEquals": {"ecs:CreateAction": "RegisterTaskDefinition"}},
        },
        {
            "Effect": "Allow",
            "Action": ["iam:PassRole"],
            "Resource": [f"{ROLE}/api-execution-role", f"{ROLE}/api-task-role"],
            "Condition": {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
        },
    ]


def test_codepipelines_own_action_may_deploy_this_service_if_it_is_used() -> None:
    def may(strategy: Strategy) -> Any:
        return resolved(lambda: service("api", strategy=strategy).deploy_statements())

    assert may(Rolling()) == may(Canary()) == []
    assert may(Rolling(ecs_action=True)) == action_statements(
        {
            "Effect": "Allow",
            "Action": ["ecs:DescribeServices", "ecs:UpdateService"],
            "Resource": "arn:aws:ecs:eu-west-1:123456789012:service/given-api/api",
        }
    )
    codedeploy = "arn:aws:codedeploy:eu-west-1:123456789012"
    config = "CodeDeployDefault.ECSAllAtOnce"
    assert may(CodeDeployBlueGreen(deployment_config=config)) == action_statements(
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
            "Resource": f"{codedeploy}:deploymentconfig:{config}",
        },
    )


@pytest.mark.parametrize("strategy", [Rolling(), CodeDeployBlueGreen()])
def test_one_off_tasks_of_this_service_may_be_run_and_followed_and_nothing_else(strategy: Strategy) -> None:
    ecs = "arn:aws:ecs:eu-west-1:123456789012"
    assert resolved(lambda: service("api", strategy=strategy).run_statements()) == [
        {"Effect": "Allow", "Action": ["ecs:DescribeServices"], "Resource": f"{ecs}:service/given-api/api"},
        {
            "Effect": "Allow",
            "Action": ["ecs:RunTask"],
            "Resource": f"{ecs}:task-definition/api:*",
            "Condition": {"ArnEquals": {"ecs:cluster": f"{ecs}:cluster/given-api"}},
        },
        {"Effect": "Allow", "Action": ["ecs:DescribeTasks"], "Resource": f"{ecs}:task/given-api/*"},
        {
            "Effect": "Allow",
            "Action": ["iam:PassRole"],
            "Resource": [f"{ROLE}/api-execution-role", f"{ROLE}/api-task-role"],
            "Condition": {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
        },
        {
            "Effect": "Allow",
            "Action": ["logs:FilterLogEvents"],
            "Resource": "arn:aws:logs:eu-west-1:123456789012:log-group:/ecs/api:*",
        },
    ]


def test_codedeploy_gets_both_groups_the_listeners_and_the_alarms() -> None:
    resources = with_test_listener(strategy=CodeDeployBlueGreen(), alarm_names=["latency"])
    group = only(resources, "aws:codedeploy/deploymentGroup:DeploymentGroup").inputs
    assert group["loadBalancerInfo"] == {
        "targetGroupPairInfo": {
            "targetGroups": [{"name": "api-tg-a"}, {"name": "api-tg-b"}],
            "prodTrafficRoute": {"listenerArns": [f"{ELB}:listener/given-api-http"]},
            "testTrafficRoute": {"listenerArns": [f"{ELB}:listener/given-api-test"]},
        }
    }
    assert group["alarmConfiguration"] == {"enabled": True, "alarms": ["api-errors", "latency"]}
    [watched] = [
        s for s in statements(resources, "api-codedeploy-policy") if s["Action"] == ["cloudwatch:DescribeAlarms"]
    ]
    alarm = "arn:aws:cloudwatch:eu-west-1:123456789012:alarm"
    assert watched["Resource"] == [f"{alarm}:api-errors", f"{alarm}:latency"]
    [passed] = [s for s in statements(resources, "api-codedeploy-policy") if s["Action"] == ["iam:PassRole"]]
    assert passed["Resource"] == [f"{ROLE}/api-execution-role", f"{ROLE}/api-task-role"]


def test_log_retention_can_be_set() -> None:
    groups = of_type(deployed(log_retention_days=7), "aws:cloudwatch/logGroup:LogGroup")
    assert {r.name: r.inputs for r in groups} == {
        "api-logs": {"name": "/ecs/api", "retentionInDays": 7},
        "api-release-logs": {"name": "/aws/lambda/api-release", "retentionInDays": 7},
    }


def test_scaling_starts_at_zero_tasks_and_pulumi_ignores_its_range() -> None:
    resources = deployed(tasks=Tasks(min=2, max=6, target_cpu_percent=45))
    target = only(resources, TARGET)
    assert target.inputs == {
        "serviceNamespace": "ecs",
        "scalableDimension": "ecs:service:DesiredCount",
        "resourceId": "service/given-api/api",
        "minCapacity": 0,
        "maxCapacity": 6,
    }
    assert target.ignore_changes == ["minCapacity", "maxCapacity", "suspendedState"]
    assert only(resources, POLICY).inputs == {
        "policyType": "TargetTrackingScaling",
        "serviceNamespace": "ecs",
        "scalableDimension": "ecs:service:DesiredCount",
        "resourceId": "service/given-api/api",
        "targetTrackingScalingPolicyConfiguration": {
            "predefinedMetricSpecification": {"predefinedMetricType": "ECSServiceAverageCPUUtilization"},
            "targetValue": 45,
        },
    }


def tracking(resources: list[Resource]) -> dict[str, Any]:
    """The configurations of the scaling policies by the end of their name."""
    return {
        policy.name.removeprefix("api-scaling-"): policy.inputs["targetTrackingScalingPolicyConfiguration"]
        for policy in of_type(resources, POLICY)
    }


def stat(id: str, namespace: str, name: str, statistic: str, **dimensions: str) -> dict[str, Any]:
    named = [{"name": key, "value": value} for key, value in dimensions.items()]
    metric = {"namespace": namespace, "metricName": name, "dimensions": named}
    return {"id": id, "metricStat": {"metric": metric, "stat": statistic}, "returnData": False}


def test_a_service_scales_with_its_memory_and_not_with_its_cpu() -> None:
    tasks = Tasks(min=1, max=4, target_cpu_percent=None, target_memory_percent=70)
    resources = deployed(tasks=tasks)
    assert tracking(resources) == {
        "memory": {
            "predefinedMetricSpecification": {"predefinedMetricType": "ECSServiceAverageMemoryUtilization"},
            "targetValue": 70,
        }
    }
    assert "suspendedState" not in only(resources, TARGET).inputs


@pytest.mark.parametrize("strategy", [Rolling(), Canary(), CodeDeployBlueGreen()], ids=lambda s: type(s).__name__)
def test_a_service_scales_with_the_requests_to_either_target_group(strategy: Strategy) -> None:
    tasks = Tasks(min=1, max=4, target_requests_per_task=300)
    balancer = "app/given-api/1"
    assert tracking(deployed(tasks=tasks, strategy=strategy))["requests"] == {
        "customizedMetricSpecification": {
            "metrics": [
                *(
                    stat(
                        letter,
                        "AWS/ApplicationELB",
                        "RequestCountPerTarget",
                        "Sum",
                        LoadBalancer=balancer,
                        TargetGroup=f"targetgroup/api-tg-{letter}/1",
                    )
                    for letter in "ab"
                ),
                {"id": "result", "expression": "FILL(a, 0) + FILL(b, 0)", "returnData": True},
            ]
        },
        "targetValue": 300,
    }


def test_a_worker_scales_with_the_backlog_of_its_queues_for_each_running_task() -> None:
    queue = "arn:aws:sqs:eu-west-1:123456789012:orders"

    def program() -> Service:
        later = pulumi.Output.from_input(f"{queue}-late")
        queues = [
            QueueBacklog(arn=f"{queue}.fifo", messages_per_task=50),
            QueueBacklog(arn=later, messages_per_task=0.5),
        ]
        return service("api", port=None, load_balancer=None, tasks=Tasks(min=1, max=9, queues=queues))

    resources = deploy(program)
    running = stat("tasks", "AWS/ECS", "CPUUtilization", "SampleCount", ClusterName="given-api", ServiceName="api")

    def backlog(name: str, target: float) -> dict[str, Any]:
        waiting = stat("messages", "AWS/SQS", "ApproximateNumberOfMessagesVisible", "Sum", QueueName=name)
        result = {"id": "result", "expression": "messages / tasks", "returnData": True}
        return {"customizedMetricSpecification": {"metrics": [waiting, running, result]}, "targetValue": target}

    found = tracking(resources)
    assert found.keys() == {"cpu", "queue-1", "queue-2"}
    assert (found["queue-1"], found["queue-2"]) == (backlog("orders.fifo", 50), backlog("orders-late", 0.5))


def test_a_service_scales_with_any_metric() -> None:
    metric = MetricTarget(
        namespace="Shop", name="Jobs", statistic="Maximum", target=12.5, dimensions={"Queue": "late", "App": "shop"}
    )
    assert tracking(deployed(tasks=Tasks(min=1, max=4, metrics=[metric])))["metric-1"] == {
        "customizedMetricSpecification": {
            "namespace": "Shop",
            "metricName": "Jobs",
            "statistic": "Maximum",
            "dimensions": [{"name": "App", "value": "shop"}, {"name": "Queue", "value": "late"}],
        },
        "targetValue": 12.5,
    }


def test_a_service_scales_by_schedule() -> None:
    schedules = [
        ScheduledBounds(schedule="cron(0 8 ? * MON-FRI *)", time_zone="Europe/Berlin", min=4),
        ScheduledBounds(schedule="at(2026-12-24T20:00:00)", min=1, max=2),
    ]
    resources = deployed(tasks=Tasks(min=1, max=8, schedules=[*schedules[:1], replace(schedules[1], max=4)]))
    of_target = {
        "serviceNamespace": "ecs",
        "scalableDimension": "ecs:service:DesiredCount",
        "resourceId": "service/given-api/api",
    }
    assert {action.name: action.inputs for action in of_type(resources, SCHEDULED)} == {
        "api-scaling-schedule-1": {
            **of_target,
            "schedule": "cron(0 8 ? * MON-FRI *)",
            "timezone": "Europe/Berlin",
            "scalableTargetAction": {"minCapacity": 4},
        },
        "api-scaling-schedule-2": {
            **of_target,
            "schedule": "at(2026-12-24T20:00:00)",
            "timezone": "UTC",
            "scalableTargetAction": {"minCapacity": 1, "maxCapacity": 4},
        },
    }


QUEUE = QueueBacklog(arn="arn:aws:sqs:eu-west-1:123456789012:orders", messages_per_task=1)
NIGHT = ScheduledBounds(schedule="rate(1 day)", min=1, max=1)


@pytest.mark.parametrize(
    "reason",
    [
        {"target_requests_per_task": 1},
        {"queues": [QUEUE]},
        {"metrics": [MetricTarget(namespace="Shop", name="Jobs", target=1)]},
        {"schedules": [NIGHT]},
    ],
    ids=lambda reason: next(iter(reason)),
)
def test_what_could_start_tasks_before_the_first_release_is_suspended(reason: dict[str, Any]) -> None:
    assert only(deployed(tasks=Tasks(min=1, max=4, **reason)), TARGET).inputs["suspendedState"] == {
        "dynamicScalingInSuspended": True,
        "dynamicScalingOutSuspended": True,
        "scheduledScalingSuspended": True,
    }


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ({"queues": [QUEUE]}, "max must be above min=2 with queues, got None"),
        (
            {"max": 2, "schedules": [NIGHT], "target_memory_percent": 50},
            "max must be above min=2 with target_memory_percent, schedules, got 2",
        ),
        (
            {"max": 3, "target_cpu_percent": None},
            "max must be above min=2 only if the number of tasks follows something, such as target_cpu_percent, got 3",
        ),
        (
            {"max": 3, "schedules": [ScheduledBounds(schedule="rate(1 day)", min=4)]},
            "schedules[0].max is required with min=4: the max may be 3 at that time",
        ),
        (
            {"max": 9, "schedules": [ScheduledBounds(schedule="rate(1 day)", min=4), NIGHT]},
            "schedules[0].max is required with min=4: the max may be 1 at that time",
        ),
        (
            {"max": 9, "schedules": [ScheduledBounds(schedule="rate(1 day)", max=1)]},
            "schedules[0].min is required with max=1: the min may be 2 at that time",
        ),
    ],
)
def test_bounds_that_cannot_work_are_refused(tasks: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        Tasks(**tasks)
    assert str(error.value).split("\n") == [message]


@pytest.mark.parametrize(
    ("bounds", "message"), [({}, "min or max must be set"), ({"min": 3, "max": 2}, "max must be at least min=3, got 2")]
)
def test_a_schedule_sets_bounds(bounds: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        ScheduledBounds(schedule="rate(1 day)", **bounds)
    assert str(error.value) == message


def test_a_worker_does_not_scale_with_requests() -> None:
    with pytest.raises(ValueError) as error:
        deployed(port=None, load_balancer=None, tasks=Tasks(min=1, max=2, target_requests_per_task=1))
    assert str(error.value) == (
        "tasks.target_requests_per_task must not be set for a process without a port, which receives no requests"
    )


@pytest.mark.parametrize("place", ["us-east-1:123456789012", "eu-west-1:999999999999"])
def test_a_queue_of_another_region_or_account_is_refused(place: str) -> None:
    queue = replace(QUEUE, arn=f"arn:aws:sqs:{place}:orders")
    with pytest.raises(ValueError) as error:
        deployed(tasks=Tasks(min=1, max=2, queues=[QUEUE, queue]))
    assert str(error.value) == (
        f"tasks.queues[1].arn must be in eu-west-1/123456789012, got one in {place.replace(':', '/')}: its metrics are "
        "there, and the service is scaled by those of its own Region and account"
    )


@pytest.mark.parametrize("tasks", [Tasks(), Tasks(min=3, max=3)])
def test_a_service_with_a_fixed_count_does_not_scale(tasks: Tasks) -> None:
    resources = deployed(tasks=tasks)
    assert [r.type for r in resources if r.type in (TARGET, POLICY, SCHEDULED)] == []


def test_the_environment_is_named_after_the_stack_by_default() -> None:
    def environment(**args: Any) -> Any:
        return only(deployed(**args), "slipway:index:Service").outputs["environment_name"]

    assert (environment(), environment(environment_name="staging")) == ("dev", "staging")


def test_the_outputs_of_a_service() -> None:
    assert only(deployed(), "slipway:index:Service").outputs == {
        "service_name": "api",
        "cluster_name": "given-api",
        "environment_name": "dev",
        "container_name": "app",
        "url": "http://given-api.elb.example",
        "vpc_id": "vpc-1",
        "subnet_ids": ["subnet-3", "subnet-4"],
        "log_group_name": "/ecs/api",
        "task_role_name": "api-task-role",
        "security_group_id": sg("api-tasks"),
        "release_function": "urn:pulumi:dev::storefront::slipway:index:Service$slipway:index:ReleaseFunction"
        "::api-release",
    }


def test_the_given_url_is_the_services_output_and_that_of_its_tests() -> None:
    resources = deployed(url="https://shop.example.com")
    assert only(resources, "slipway:index:Service").outputs["url"] == "https://shop.example.com"
    variables = only(resources, "aws:lambda/function:Function").inputs["environment"]["variables"]
    assert variables["SERVICE_URL"] == "https://shop.example.com"


def test_an_environment_name_that_is_not_a_valid_tag_is_rejected() -> None:
    with pytest.raises(ValueError) as error:
        deployed(environment_name="Prod EU")
    assert (
        str(error.value)
        == "environment_name must be 1 to 30 characters of a-z 0-9 -, and not begin with -, got 'Prod EU'"
    )


def test_a_stack_whose_name_is_not_a_valid_tag_needs_an_environment_name() -> None:
    with pytest.raises(ValueError) as error:
        deploy(lambda: service("api"), stack="Feature_X")
    assert str(error.value) == (
        "environment_name must be given where the stack's name has not its form, got stack 'Feature_X'"
    )
    deploy(lambda: service("api", environment_name="feature-x"), stack="Feature_X")


def test_each_service_of_a_load_balancer_has_its_own_priority() -> None:
    def program(second: int) -> None:
        shared = load_balancer("given")
        service("api", load_balancer=shared, listener_priority=100)
        service("web", load_balancer=shared, listener_priority=second)

    deploy(lambda: program(101))
    with pytest.raises(ValueError) as error:
        deploy(lambda: program(100))
    assert str(error.value) == (
        "listener_priority must be different for each service of a load balancer, got 100 for 'api' and 'web'"
    )


@pytest.mark.parametrize(("paths", "wildcards"), [(["/*/*/*/*/*"], 5), (["/*/a?", "/b/*", "/??", "/?"], 6)])
def test_a_rule_can_have_five_wildcards(paths: list[str], wildcards: int) -> None:
    if wildcards <= 5:
        deployed(paths=paths)
        return
    with pytest.raises(ValueError) as error:
        deployed(paths=paths)
    assert str(error.value) == f"paths must have at most 5 wildcards in total, got {wildcards}"


def test_invalid_names_of_services_are_rejected() -> None:
    names, messages = ["", "-api", "api.web", "api_web", "a" * 41], []

    def program() -> None:
        args = service_args("api")
        for name in names:
            with pytest.raises(ValueError) as error:
                Service(name, args)
            messages.append(str(error.value))

    deploy(program)
    rule = (
        "a service's name must be 2 to 40 characters of a-z 0-9 and single - between them, starting with a letter, got "
    )
    assert messages == [rule + repr(name) for name in names]
