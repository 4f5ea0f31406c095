"""The resources of jobs. test_job_runs.py has what their state machines do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest
from slipway.iam import Scope
from slipway.service.jobs import Place, jobs
from slipway.service.processes import Job
from unit.harness import Resource, deploy, granted, of_type, only, resolved, rights, trusted

PLACE = "eu-west-1:123456789012"
ROLES = [f"arn:aws:iam::123456789012:role/{name}" for name in ("execution", "task")]
MACHINE = f"arn:aws:states:{PLACE}:stateMachine:shop-report"
CLUSTER = f"arn:aws:ecs:{PLACE}:cluster/main"
TASKS = f"arn:aws:ecs:{PLACE}:task/main/*"


class Here(pulumi.ComponentResource):
    def __init__(self, given: Mapping[str, Job], service: str) -> None:
        super().__init__("test:index:Here", "here")
        child, scope = pulumi.ResourceOptions(parent=self), Scope.of(self)
        rollout = aws.lambda_.Invocation("rollout", function_name="f", input="{}", opts=child)
        place = Place(
            scope=scope,
            cluster_arn=scope.arn("ecs", "cluster/main"),
            cluster_name="main",
            subnet_ids=["subnet-1", "subnet-2"],
            security_group_id=pulumi.Output.from_input("sg-1"),
            role_arns=ROLES,
            table_name=f"{service}-release",
            table_arn=scope.arn("dynamodb", f"table/{service}-release"),
            assign_public_ip=False,
            capacity=[],
        )
        self.arns = jobs(service, given, place, [rollout], child)


def here(given: Mapping[str, Job], service: str = "shop") -> list[pulumi.Input[str]]:
    return Here(given, service).arns


def job(**given: Any) -> Job:
    return Job(**{"command": ["report"], "schedule": "rate(1 hour)", **given})


@cache
def deployed(**given: Any) -> list[Resource]:
    return deploy(lambda: here({"report": job(**given)}))


def states(**given: Any) -> dict[str, Any]:
    definition = only(deployed(**given), "aws:sfn/stateMachine:StateMachine").json("definition")
    return dict(definition["States"])


def test_a_service_without_jobs_has_no_resources_for_them() -> None:
    assert [resource.name for resource in deploy(lambda: here({})) if resource.type.startswith("aws:")] == ["rollout"]


def test_the_arns_of_the_state_machines_are_returned_in_order() -> None:
    two = {"report": job(), "clean-up": job()}
    assert resolved(lambda: here(two)) == [MACHINE, f"arn:aws:states:{PLACE}:stateMachine:shop-clean-up"]


def test_the_machine_and_the_schedule_are_named_after_the_service_and_the_job() -> None:
    names = [
        (resource.name, resource.inputs["name"])
        for type_ in ("aws:sfn/stateMachine:StateMachine", "aws:scheduler/schedule:Schedule")
        for resource in of_type(deployed(), type_)
    ]
    assert names == [("shop-report", "shop-report")] * 2


def test_the_names_of_the_roles_are_short_enough_for_iam() -> None:
    service, name = "s" * 40, "j" * 20
    roles = of_type(deploy(lambda: here({name: job(), f"{name[:-1]}k": job()}, service)), "aws:iam/role:Role")
    assert len({role.name for role in roles}) == 4
    # Pulumi adds 8 characters.
    assert max(len(role.name) for role in roles) == 56


# The schedule.


def test_a_schedule_starts_the_state_machine_after_the_rollout() -> None:
    resources = deployed(schedule="cron(0 3 * * ? *)", time_zone="Europe/Berlin")
    schedule = only(resources, "aws:scheduler/schedule:Schedule")
    assert schedule.inputs == {
        "name": "shop-report",
        "scheduleExpression": "cron(0 3 * * ? *)",
        "scheduleExpressionTimezone": "Europe/Berlin",
        "flexibleTimeWindow": {"mode": "OFF"},
        "target": {
            "arn": MACHINE,
            "roleArn": "arn:aws:iam::123456789012:role/shop-report-schedule-role",
            "retryPolicy": {"maximumEventAgeInSeconds": 3600},
        },
    }
    assert {"rollout", "shop-report-schedule-policy"} <= set(schedule.depends_on)


def test_a_run_may_start_within_a_window() -> None:
    schedule = only(deployed(flexible_window_minutes=15), "aws:scheduler/schedule:Schedule")
    assert schedule.inputs["flexibleTimeWindow"] == {"mode": "FLEXIBLE", "maximumWindowInMinutes": 15}


def test_the_role_of_the_schedule_may_start_this_state_machine_and_nothing_else() -> None:
    group = f"arn:aws:scheduler:{PLACE}:schedule-group/default"
    assert trusted(deployed(), "shop-report-schedule-role") == [
        {
            "Effect": "Allow",
            "Principal": {"Service": "scheduler.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {
                "StringEquals": {"aws:SourceAccount": "123456789012"},
                "ArnLike": {"aws:SourceArn": group},
            },
        }
    ]
    start = {"Effect": "Allow", "Action": ["states:StartExecution"], "Resource": MACHINE}
    assert rights(deployed(), "shop-report-schedule-policy") == granted([start])


# The state machine.


def test_the_role_of_the_machine_may_run_revisions_of_this_job_in_this_cluster() -> None:
    assert trusted(deployed(), "shop-report-job-role") == [
        {
            "Effect": "Allow",
            "Principal": {"Service": "states.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {
                "StringEquals": {"aws:SourceAccount": "123456789012"},
                "ArnLike": {"aws:SourceArn": MACHINE},
            },
        }
    ]
    in_cluster = {"ArnEquals": {"ecs:cluster": CLUSTER}}
    of_jobs = {
        "ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["job"]},
        "Null": {"dynamodb:LeadingKeys": "false"},
    }
    expected: list[tuple[list[str], Any, Any]] = [
        (["dynamodb:GetItem"], f"arn:aws:dynamodb:{PLACE}:table/shop-release", of_jobs),
        (["ecs:RunTask"], f"arn:aws:ecs:{PLACE}:task-definition/shop-report:*", in_cluster),
        (["ecs:TagResource"], TASKS, {"StringEquals": {"ecs:CreateAction": "RunTask"}}),
        (["ecs:DescribeTasks", "ecs:StopTask"], TASKS, None),
        (["ecs:ListTasks"], "*", in_cluster),
        (
            ["events:DescribeRule", "events:PutRule", "events:PutTargets"],
            f"arn:aws:events:{PLACE}:rule/StepFunctionsGetEventsForECSTaskRule",
            None,
        ),
        (["iam:PassRole"], ROLES, {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}),
    ]
    statements = [
        {"Effect": "Allow", "Action": actions, "Resource": resource, **({"Condition": when} if when else {})}
        for actions, resource, when in expected
    ]
    assert rights(deployed(), "shop-report-job-policy") == granted(statements)
    # Without overlap, it also lists its own executions.
    own = {"Effect": "Allow", "Action": ["states:ListExecutions"], "Resource": MACHINE}
    assert rights(deployed(overlap=False), "shop-report-job-policy") == granted([*statements, own])


def test_the_machine_is_created_after_the_policy_of_its_role() -> None:
    machine = only(deployed(), "aws:sfn/stateMachine:StateMachine")
    assert machine.inputs.keys() == {"name", "roleArn", "definition"}
    assert machine.inputs["roleArn"] == "arn:aws:iam::123456789012:role/shop-report-job-role"
    assert "shop-report-job-policy" in machine.depends_on


def test_the_definition_does_not_change_with_the_order_of_its_keys() -> None:
    definition = only(deployed(), "aws:sfn/stateMachine:StateMachine").inputs["definition"]
    assert definition == json.dumps(json.loads(definition), sort_keys=True, separators=(",", ":"))


def test_a_task_runs_in_the_network_of_the_service_with_the_tags_of_its_definition() -> None:
    run = states(timeout_minutes=30)["Run"]
    assert run["Resource"] == "arn:aws:states:::ecs:runTask.sync"
    assert run["TimeoutSeconds"] == 1800
    assert run["Arguments"] == {
        "Cluster": CLUSTER,
        "TaskDefinition": "{% $taskDefinition %}",
        "LaunchType": "FARGATE",
        "Group": "{% $states.context.Execution.Name %}",
        "PropagateTags": "TASK_DEFINITION",
        "NetworkConfiguration": {
            "AwsvpcConfiguration": {
                "Subnets": ["subnet-1", "subnet-2"],
                "SecurityGroups": ["sg-1"],
                "AssignPublicIp": "DISABLED",
            }
        },
    }


def test_the_item_of_the_job_is_read_consistently() -> None:
    read = states()["ReadRelease"]
    assert read["Resource"] == "arn:aws:states:::dynamodb:getItem"
    assert read["Arguments"] == {
        "TableName": "shop-release",
        "Key": {"item": {"S": "job"}, "at": {"S": "report"}},
        "ConsistentRead": True,
    }


@pytest.mark.parametrize(("overlap", "further"), [(True, set()), (False, {"ListRuns", "Alone", "Skipped"})])
def test_executions_are_listed_only_without_overlap(overlap: bool, further: set[str]) -> None:
    assert {"ListRuns", "Alone", "Skipped"} & states(overlap=overlap).keys() == further
