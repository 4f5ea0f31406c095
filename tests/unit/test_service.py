from functools import cache
from typing import Any

import pytest
from slipway import Rolling, Service, Tasks, iam
from unit.examples import service, service_args
from unit.harness import Resource, deploy, named, of_type, only, statements, trusted

SERVICE = "aws:ecs/service:Service"
TEMPLATE = "aws:ecs/taskDefinition:TaskDefinition"
TARGET = "aws:appautoscaling/target:Target"
POLICY = "aws:appautoscaling/policy:Policy"
GROUP = "aws:lb/targetGroup:TargetGroup"
INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
EGRESS = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
TARGET_GROUP = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/api-tg/1"
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


def deployed(**told: Any) -> list[Resource]:
    return deploy(lambda: service("api", **told)) if told else by_default()


@cache
def by_default() -> list[Resource]:
    return deploy(lambda: service("api"))


def container(**told: Any) -> dict[str, Any]:
    [only_one] = only(deployed(**told), TEMPLATE).json("containerDefinitions")
    return dict(only_one)


def test_the_service_rolls_back_by_itself_is_private_and_starts_nothing_before_a_release() -> None:
    assert only(deployed(), SERVICE).inputs == {
        "name": "api",
        "cluster": "arn:aws:ecs:eu-west-1:123456789012:cluster/given-api",
        "taskDefinition": "arn:aws:ecs:eu-west-1:123456789012:task-definition/api-template:1",
        "launchType": "FARGATE",
        "desiredCount": 0,
        "deploymentController": {"type": "ECS"},
        "deploymentCircuitBreaker": {"enable": True, "rollback": True},
        "deploymentMinimumHealthyPercent": 100,
        "deploymentMaximumPercent": 200,
        "healthCheckGracePeriodSeconds": 60,
        "networkConfiguration": {
            "subnets": ["subnet-3", "subnet-4"],
            "securityGroups": ["api-tasks-id"],
            "assignPublicIp": False,
        },
        "loadBalancers": [{"targetGroupArn": TARGET_GROUP, "containerName": "app", "containerPort": 8080}],
        "enableEcsManagedTags": True,
        "propagateTags": "SERVICE",
        "availabilityZoneRebalancing": "ENABLED",
    }


def test_what_makes_ecs_deploy_and_the_count_are_no_change_to_pulumi() -> None:
    assert only(deployed(), SERVICE).ignore_changes == [
        "taskDefinition",
        "desiredCount",
        "networkConfiguration",
        "loadBalancers",
    ]


def test_the_service_is_made_after_its_rule_and_after_its_role_can_do_its_work() -> None:
    assert only(deployed(), SERVICE).depends_on == {
        "given-api",
        "api-template",
        "api-tasks",
        "api-tg",
        "api-rule",
        "api-execution-policy",
    }


def test_the_strategy_says_how_many_tasks_are_replaced_at_once() -> None:
    inputs = only(deployed(strategy=Rolling(minimum_healthy_percent=50, maximum_percent=150)), SERVICE).inputs
    assert (inputs["deploymentMinimumHealthyPercent"], inputs["deploymentMaximumPercent"]) == (50, 150)


@pytest.mark.parametrize(("most", "rebalancing"), [(100, "DISABLED"), (101, "ENABLED"), (200, "ENABLED")])
def test_zones_are_rebalanced_where_more_than_the_desired_count_may_run(most: int, rebalancing: str) -> None:
    strategy = Rolling(minimum_healthy_percent=50, maximum_percent=most)
    assert only(deployed(strategy=strategy), SERVICE).inputs["availabilityZoneRebalancing"] == rebalancing


def test_the_template_has_a_family_of_its_own_and_stays_readable() -> None:
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


def test_the_container_names_an_image_that_never_runs_and_all_else_that_will() -> None:
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


def test_the_container_is_what_it_is_told_to_be() -> None:
    told = container(
        container_name="web",
        port=3000,
        environment={"B": "2", "A": "1"},
        secrets={"TOKEN": PARAMETER, "PASSWORD": f"{SECRET}:password::"},
        read_only_root_filesystem=False,
        stop_timeout_seconds=5,
    )
    assert {**told, "image": None, "logConfiguration": None} == {
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
    assert statements(resources, "api-execution-policy") == [LOGIN, PULL, LOGS]
    policies = [r.inputs["role"] for r in of_type(resources, "aws:iam/rolePolicy:RolePolicy")]
    assert sorted(policies) == ["api-execution-role", "api-release-role"]


def test_the_application_may_do_what_it_is_given() -> None:
    resources = deployed(task_statements=[iam.allow("s3:GetObject", on="arn:aws:s3:::photos/*")])
    assert named(resources, "api-task-policy").inputs["role"] == "api-task-role"
    assert statements(resources, "api-task-policy") == [
        {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": "arn:aws:s3:::photos/*"}
    ]


def test_ecs_may_read_exactly_the_secrets_that_are_referred_to() -> None:
    key = "arn:aws:kms:eu-west-1:123456789012:key/k"
    secrets = {
        "PASSWORD": f"{SECRET}:password::",
        "USER": f"{SECRET}:user:AWSCURRENT:",
        "WHOLE": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:api/all-d4e5f6",
        "TOKEN": PARAMETER,
    }
    assert statements(deployed(secrets=secrets, secrets_kms_key_arns=[key]), "api-execution-policy") == [
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


def test_only_the_balancer_reaches_the_tasks_and_only_on_their_port() -> None:
    resources = deployed(port=3000)
    assert named(resources, "api-tasks").inputs == {"description": "Tasks of api", "vpcId": "vpc-1"}
    into = of_type(resources, INGRESS)
    assert {r.name: r.inputs for r in into if r.inputs["securityGroupId"] == "api-tasks-id"} == {
        "api-in-3000": {
            "securityGroupId": "api-tasks-id",
            "description": "Load balancer",
            "referencedSecurityGroupId": "given-api-balancer-id",
            "ipProtocol": "tcp",
            "fromPort": 3000,
            "toPort": 3000,
        }
    }


def test_the_balancer_reaches_the_tasks_and_the_tasks_reach_what_they_need() -> None:
    out = of_type(deployed(port=3000), EGRESS)
    assert {r.name: r.inputs for r in out} == {
        "api-from-balancer-3000": {
            "securityGroupId": "given-api-balancer-id",
            "description": "Tasks of api",
            "referencedSecurityGroupId": "api-tasks-id",
            "ipProtocol": "tcp",
            "fromPort": 3000,
            "toPort": 3000,
        },
        "api-out": {
            "securityGroupId": "api-tasks-id",
            "description": "Anywhere",
            "ipProtocol": "-1",
            "cidrIpv4": "0.0.0.0/0",
        },
    }


def test_a_change_of_the_port_makes_new_rules_and_keeps_the_target_group() -> None:
    def made(port: int) -> tuple[set[str], Resource]:
        resources = deployed(port=port)
        rules = [*of_type(resources, INGRESS), *of_type(resources, EGRESS)]
        return {r.name for r in rules if r.name.startswith("api-")}, only(resources, GROUP)

    (before, group), (after, same) = made(3000), made(3001)
    assert before - after == {"api-in-3000", "api-from-balancer-3000"}
    assert after - before == {"api-in-3001", "api-from-balancer-3001"}
    assert same == group


def test_the_target_group_asks_each_task_whether_it_can_serve() -> None:
    resources = deployed(port=3000, health_path="/healthz", stop_timeout_seconds=90)
    assert only(resources, GROUP).inputs == {
        "namePrefix": "api-",
        "vpcId": "vpc-1",
        "targetType": "ip",
        "protocol": "HTTP",
        "port": 80,
        "deregistrationDelay": 90,
        "healthCheck": {
            "path": "/healthz",
            "matcher": "200",
            "interval": 15,
            "timeout": 5,
            "healthyThreshold": 2,
            "unhealthyThreshold": 3,
        },
    }


def test_the_rule_forwards_the_services_paths_in_its_place_among_others() -> None:
    resources = deployed(paths=["/api/*", "/v1/*"], listener_priority=7)
    assert only(resources, "aws:lb/listenerRule:ListenerRule").inputs == {
        "listenerArn": "arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener/given-api-http",
        "priority": 7,
        "conditions": [{"pathPattern": {"values": ["/api/*", "/v1/*"]}}],
        "actions": [{"type": "forward", "targetGroupArn": TARGET_GROUP}],
    }


def test_logs_are_kept_as_long_as_told() -> None:
    groups = of_type(deployed(log_retention_days=7), "aws:cloudwatch/logGroup:LogGroup")
    assert {r.name: r.inputs for r in groups} == {
        "api-logs": {"name": "/ecs/api", "retentionInDays": 7},
        "api-release-logs": {"name": "/aws/lambda/api-release", "retentionInDays": 7},
    }


def test_scaling_starts_at_no_task_and_its_bounds_belong_to_the_release_function() -> None:
    resources = deployed(tasks=Tasks(min=2, max=6, target_cpu_percent=45))
    target = only(resources, TARGET)
    assert target.inputs == {
        "serviceNamespace": "ecs",
        "scalableDimension": "ecs:service:DesiredCount",
        "resourceId": "service/given-api/api",
        "minCapacity": 0,
        "maxCapacity": 6,
    }
    assert target.ignore_changes == ["minCapacity", "maxCapacity"]
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


@pytest.mark.parametrize("tasks", [Tasks(), Tasks(min=3, max=3)])
def test_without_room_between_least_and_most_nothing_scales(tasks: Tasks) -> None:
    resources = deployed(tasks=tasks)
    assert [r.type for r in resources if r.type in (TARGET, POLICY)] == []


def test_its_environment_is_the_stacks_unless_it_is_named() -> None:
    def environment(**told: Any) -> Any:
        return only(deployed(**told), "slipway:index:Service").outputs["environment_name"]

    assert (environment(), environment(environment_name="staging")) == ("dev", "staging")


def test_what_a_service_offers() -> None:
    assert only(deployed(), "slipway:index:Service").outputs == {
        "service_name": "api",
        "cluster_name": "given-api",
        "environment_name": "dev",
        "container_name": "app",
        "url": "http://given-api.elb.example",
        "log_group_name": "/ecs/api",
        "task_role_name": "api-task-role",
        "security_group_id": "api-tasks-id",
        "release_function": "urn:pulumi:dev::storefront::slipway:index:Service$slipway:index:ReleaseFunction"
        "::api-release",
    }


def test_an_environment_that_no_tag_can_name_is_refused() -> None:
    with pytest.raises(ValueError) as error:
        deployed(environment_name="Prod EU")
    assert str(error.value) == "environment_name must be 1 to 30 characters of a-z 0-9 -, got 'Prod EU'"


def test_what_is_no_name_of_a_service_is_refused() -> None:
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
