"""Jobs of a service: tasks with the verified image, which run on a schedule.

EventBridge Scheduler starts an execution of a state machine, which runs the task. Scheduler alone would repeat only the
start of a task: it does not see how the task ends, and stops none.
https://docs.aws.amazon.com/step-functions/latest/dg/connect-ecs.html
https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from slipway import iam
from slipway._outputs import concat, filled
from slipway._rules import shortened
from slipway.iam import Scope, Statement, allow
from slipway.release.function.contract import JOB, JOB_TIMED_OUT
from slipway.service.processes import Job

# What fails when ECS is busy or short of capacity, and not the job: RunTask is throttled, or answers with failures.
# https://docs.aws.amazon.com/step-functions/latest/dg/connect-ecs.html
BUSY = ["AmazonECS.Unknown", "ECS.AmazonECSException", "ECS.ServerException", "ECS.ThrottlingException"]
START_RETRY = {
    "ErrorEquals": BUSY,
    "IntervalSeconds": 10,
    "BackoffRate": 2,
    "MaxDelaySeconds": 120,
    "MaxAttempts": 8,
    "JitterStrategy": "FULL",
}
CALL_RETRY = {"ErrorEquals": ["States.TaskFailed"], "IntervalSeconds": 2, "BackoffRate": 2, "MaxAttempts": 5}

DELIVERY_SECONDS = 3600
"""Seconds for which Scheduler tries to start an execution. A run that would start later than that is left out."""


@dataclass(frozen=True)
class Place:
    """Where the tasks of a service's jobs run, and with what."""

    scope: Scope
    cluster_arn: pulumi.Input[str]
    cluster_name: pulumi.Input[str]
    subnet_ids: pulumi.Input[Sequence[pulumi.Input[str]]]
    security_group_id: pulumi.Input[str]
    role_arns: Sequence[pulumi.Input[str]]
    """Roles that the task definitions of the jobs pass to ECS."""
    table_name: pulumi.Input[str]
    """The release state table."""
    table_arn: pulumi.Input[str]
    assign_public_ip: bool
    capacity: Sequence[Mapping[str, Any]]
    """`capacityProviderStrategy` in the ECS API; empty for the launch type FARGATE."""


def jobs(
    service: str,
    given: Mapping[str, Job],
    place: Place,
    needed: Sequence[pulumi.Resource],
    child: pulumi.ResourceOptions,
) -> list[pulumi.Input[str]]:
    """Create a state machine and a schedule for each job of the service `service`, both named `<service>-<job>`.

    A schedule is created after `needed`, the last rollout: the first run has the settings of this `pulumi up`.

    Returns the ARNs of the state machines.
    """
    return [job(f"{service}-{name}", name, each, place, needed, child) for name, each in given.items()]


def job(
    family: str,
    name: str,
    given: Job,
    place: Place,
    needed: Sequence[pulumi.Resource],
    child: pulumi.ResourceOptions,
) -> pulumi.Input[str]:
    """The state machine and the schedule of one job. `family` is also the family of its released task definitions."""
    scope = place.scope
    arn = scope.arn("states", f"stateMachine:{family}")
    # IAM allows 64 characters, with the 8 that Pulumi adds.
    short = shortened(family, 42)
    # The account and ARN are documented for this role:
    # https://docs.aws.amazon.com/step-functions/latest/dg/procedure-create-iam-role.html
    role, policy = iam.role(
        f"{short}-job",
        iam.trust("states.amazonaws.com", scope.only_for(arn)),
        job_statements(family, given, place),
        child,
    )
    machine = aws.sfn.StateMachine(
        family,
        name=family,
        role_arn=role.arn,
        definition=filled(definition(family, name, given, place), iam.canonical),
        # It is refused while its role may not receive the events of tasks that end.
        opts=child.merge(pulumi.ResourceOptions(depends_on=[policy])),
    )
    # The ARN is that of the group, not of the schedule:
    # https://docs.aws.amazon.com/scheduler/latest/UserGuide/cross-service-confused-deputy-prevention.html
    starter, may_start = iam.role(
        f"{short}-schedule",
        iam.trust("scheduler.amazonaws.com", scope.only_for(scope.arn("scheduler", "schedule-group/default"))),
        [allow("states:StartExecution", on=arn)],
        child,
    )
    aws.scheduler.Schedule(
        family,
        name=family,
        schedule_expression=given.schedule,
        schedule_expression_timezone=given.time_zone,
        flexible_time_window=window(given.flexible_window_minutes),
        target=aws.scheduler.ScheduleTargetArgs(
            arn=machine.arn,
            role_arn=starter.arn,
            retry_policy=aws.scheduler.ScheduleTargetRetryPolicyArgs(maximum_event_age_in_seconds=DELIVERY_SECONDS),
        ),
        opts=child.merge(pulumi.ResourceOptions(depends_on=[may_start, *needed])),
    )
    return arn


def window(minutes: int) -> aws.scheduler.ScheduleFlexibleTimeWindowArgs:
    """https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-flexible-time-windows.html"""
    if minutes == 0:
        return aws.scheduler.ScheduleFlexibleTimeWindowArgs(mode="OFF")
    return aws.scheduler.ScheduleFlexibleTimeWindowArgs(mode="FLEXIBLE", maximum_window_in_minutes=minutes)


def job_statements(family: str, given: Job, place: Place) -> list[Statement]:
    """What the state machine of a job may do.

    https://docs.aws.amazon.com/step-functions/latest/dg/connect-ecs.html
    """
    arn = place.scope.arn
    tasks = arn("ecs", concat("task/", place.cluster_name, "/*"))
    in_cluster = {"ArnEquals": {"ecs:cluster": place.cluster_arn}}
    # A request without keys would satisfy the first condition.
    of_jobs = {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [JOB]}}
    statements = [
        allow("dynamodb:GetItem", on=place.table_arn, when={**of_jobs, "Null": {"dynamodb:LeadingKeys": "false"}}),
        allow("ecs:RunTask", on=arn("ecs", f"task-definition/{family}:*"), when=in_cluster),
        # For the tags of the task definition, which the task gets.
        allow("ecs:TagResource", on=tasks, when={"StringEquals": {"ecs:CreateAction": "RunTask"}}),
        allow("ecs:DescribeTasks", "ecs:StopTask", on=tasks),
        # ListTasks is authorized on container instances, which Fargate does not have, so the cluster is a condition.
        allow("ecs:ListTasks", on="*", when=in_cluster),
        # With this rule, which it creates, Step Functions receives the events of tasks that end.
        allow(
            "events:DescribeRule",
            "events:PutRule",
            "events:PutTargets",
            on=arn("events", "rule/StepFunctionsGetEventsForECSTaskRule"),
        ),
        iam.pass_roles(*place.role_arns, to="ecs-tasks.amazonaws.com"),
    ]
    if not given.overlap:
        statements.append(allow("states:ListExecutions", on=arn("states", f"stateMachine:{family}")))
    return statements


def definition(family: str, name: str, given: Job, place: Place) -> dict[str, Any]:
    """The state machine of a job, in Amazon States Language.

    A run that begins before any image is verified succeeds without a task. A failed exit code fails the execution,
    after the retries of the job; if ECS is busy, the start is retried on its own. Step Functions does not promise to
    stop a task that times out (only one whose execution is stopped), so the state machine does: it finds the task by
    its group, which is the name of the execution.

    https://docs.aws.amazon.com/step-functions/latest/dg/concepts-amazon-states-language.html
    https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
    https://docs.aws.amazon.com/step-functions/latest/dg/connect-to-resource.html
    """
    first = "Run" if given.overlap else "ListRuns"
    states = {
        "ReadRelease": {
            **task(place, "dynamodb:getItem"),
            "Arguments": {
                "TableName": place.table_name,
                "Key": {"item": {"S": JOB}, "at": {"S": name}},
                "ConsistentRead": True,
            },
            "Assign": {"taskDefinition": expression(or_empty("$states.result.Item.taskDefinition.S"))},
            "Retry": [CALL_RETRY],
            "Next": "Released",
        },
        "Released": choice("$taskDefinition != ''", first, "NothingReleased"),
        "NothingReleased": {"Type": "Succeed"},
        **({} if given.overlap else alone(family, place)),
        "Run": {
            **task(place, "ecs:runTask.sync"),
            "Arguments": {
                "Cluster": place.cluster_arn,
                "TaskDefinition": expression("$taskDefinition"),
                **launch(place.capacity),
                "Group": expression("$states.context.Execution.Name"),
                "PropagateTags": "TASK_DEFINITION",
                "NetworkConfiguration": {
                    "AwsvpcConfiguration": {
                        "Subnets": place.subnet_ids,
                        "SecurityGroups": [place.security_group_id],
                        "AssignPublicIp": "ENABLED" if place.assign_public_ip else "DISABLED",
                    }
                },
            },
            "TimeoutSeconds": 60 * given.timeout_minutes,
            "Retry": [START_RETRY, *retries(given.retries)],
            "Catch": [{"ErrorEquals": ["States.Timeout"], "Next": "ListTasks"}],
            "End": True,
        },
        **stop_after_timeout(family, given, place),
    }
    return {
        "Comment": f"Runs the job {name} with the image that is verified",
        "QueryLanguage": "JSONata",
        "StartAt": "ReadRelease",
        "States": states,
    }


def launch(capacity: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a task runs on. Step Functions begins the names of the API's keys with a capital letter."""
    if not capacity:
        return {"LaunchType": "FARGATE"}
    return {"CapacityProviderStrategy": [{key[0].upper() + key[1:]: each[key] for key in each} for each in capacity]}


def retries(number: int) -> list[dict[str, Any]]:
    """Repeat a task that failed, but not one that timed out: States.TaskFailed is every error except that."""
    again = {"ErrorEquals": ["States.TaskFailed"], "IntervalSeconds": 60, "BackoffRate": 2, "MaxDelaySeconds": 900}
    return [{**again, "MaxAttempts": number}] if number else []


def alone(family: str, place: Place) -> dict[str, Any]:
    """Succeed without a task if an execution runs that began earlier; of two at the same time, one has the first ARN.

    ListExecutions is eventually consistent, so two runs that begin within moments of each other may not see each other.
    https://docs.aws.amazon.com/step-functions/latest/apireference/API_ListExecutions.html
    """
    own, began = "$states.context.Execution.Id", "$toMillis($states.context.Execution.StartTime)"
    earlier = f"$toMillis(StartDate) < {began} or $toMillis(StartDate) = {began} and ExecutionArn < {own}"
    return {
        "ListRuns": {
            **task(place, "aws-sdk:sfn:listExecutions"),
            "Arguments": {
                "StateMachineArn": place.scope.arn("states", f"stateMachine:{family}"),
                "StatusFilter": "RUNNING",
                "MaxResults": 1000,
            },
            "Assign": {"earlier": expression(f"$count($states.result.Executions[{earlier}])")},
            "Retry": [CALL_RETRY],
            "Next": "Alone",
        },
        "Alone": choice("$earlier = 0", "Run", "Skipped"),
        "Skipped": {"Type": "Succeed"},
    }


def stop_after_timeout(family: str, given: Job, place: Place) -> dict[str, Any]:
    """Stop the task of this execution, if it still runs, and fail."""
    mine = "$states.result.Tasks[Group = $states.context.Execution.Name].TaskArn"
    minutes = f"{given.timeout_minutes} minute{'s' if given.timeout_minutes > 1 else ''}"
    return {
        "ListTasks": {
            **task(place, "aws-sdk:ecs:listTasks"),
            "Arguments": {"Cluster": place.cluster_arn, "Family": family, "DesiredStatus": "RUNNING"},
            "Assign": {"tasks": expression("[$states.result.TaskArns]")},
            "Retry": [CALL_RETRY],
            "Next": "TasksRun",
        },
        "TasksRun": choice("$count($tasks) > 0", "DescribeTasks", "TimedOut"),
        "DescribeTasks": {
            **task(place, "aws-sdk:ecs:describeTasks"),
            "Arguments": {"Cluster": place.cluster_arn, "Tasks": expression("$tasks")},
            "Assign": {"task": expression(or_empty(f"({mine})[0]"))},
            "Retry": [CALL_RETRY],
            "Next": "TaskRuns",
        },
        "TaskRuns": choice("$task != ''", "StopTask", "TimedOut"),
        "StopTask": {
            **task(place, "aws-sdk:ecs:stopTask"),
            "Arguments": {
                "Cluster": place.cluster_arn,
                "Task": expression("$task"),
                "Reason": f"The job did not end within {minutes}",
            },
            "Retry": [CALL_RETRY],
            "Next": "TimedOut",
        },
        "TimedOut": {
            "Type": "Fail",
            "Error": JOB_TIMED_OUT,
            "Cause": f"The job did not end within {minutes}. Its task was stopped.",
        },
    }


def task(place: Place, integration: str) -> dict[str, Any]:
    return {"Type": "Task", "Resource": concat("arn:", place.scope.partition, ":states:::", integration)}


def choice(condition: str, then: str, otherwise: str) -> dict[str, Any]:
    return {
        "Type": "Choice",
        "Choices": [{"Condition": expression(condition), "Next": then}],
        "Default": otherwise,
    }


def expression(text: str) -> str:
    """https://docs.aws.amazon.com/step-functions/latest/dg/transforming-data.html"""
    return f"{{% {text} %}}"


def or_empty(text: str) -> str:
    """An expression without a result would be an error."""
    return f"$exists({text}) ? {text} : ''"
