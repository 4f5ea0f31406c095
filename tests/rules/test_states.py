"""The rules of the stand-in for Step Functions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from standin.api import AwsError, Params
from standin.events import matches
from standin.iam import Iam
from standin.provider import Resource
from standin.single_tasks import Outcome
from standin.states import Execution, StateMachine
from standin.world import World

PLACE = "eu-west-1:123456789012"
MACHINE = f"arn:aws:states:{PLACE}:stateMachine:nightly"
CLUSTER = f"arn:aws:ecs:{PLACE}:cluster/main"
TABLE = f"arn:aws:dynamodb:{PLACE}:table/state"
ROLE = "arn:aws:iam::123456789012:role/nightly"
ALLOWED: dict[str, Params] = {
    "dynamodb:GetItem": {"Resource": TABLE, "Condition": {"StringEquals": {"dynamodb:LeadingKeys": "job"}}},
    "ecs:RunTask": {
        "Resource": f"arn:aws:ecs:{PLACE}:task-definition/app:*",
        "Condition": {"ArnEquals": {"ecs:cluster": CLUSTER}},
    },
    "ecs:TagResource": {
        "Resource": f"arn:aws:ecs:{PLACE}:task/main/*",
        "Condition": {"StringEquals": {"ecs:CreateAction": "RunTask"}},
    },
    "iam:PassRole": {
        "Resource": "arn:aws:iam::123456789012:role/app",
        "Condition": {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
    },
    "ecs:DescribeTasks": {"Resource": f"arn:aws:ecs:{PLACE}:task/main/*"},
    "ecs:StopTask": {"Resource": f"arn:aws:ecs:{PLACE}:task/main/*"},
    "ecs:ListTasks": {"Resource": "*", "Condition": {"ArnEquals": {"ecs:cluster": CLUSTER}}},
    "states:ListExecutions": {"Resource": MACHINE},
    **{
        f"events:{action}": {"Resource": f"arn:aws:events:{PLACE}:rule/StepFunctionsGetEventsForECSTaskRule"}
        for action in ("PutRule", "PutTargets", "DescribeRule")
    },
}
RUN: Params = {
    "Type": "Task",
    "Resource": "arn:aws:states:::ecs:runTask.sync",
    "Arguments": {
        "Cluster": CLUSTER,
        "TaskDefinition": "app:1",
        "Group": "{% $states.context.Execution.Name %}",
        "PropagateTags": "TASK_DEFINITION",
        "NetworkConfiguration": {"AwsvpcConfiguration": {"Subnets": ["subnet-1"]}},
    },
    "TimeoutSeconds": 600,
    "End": True,
}
SUCCEED: Params = {"Type": "Succeed"}


def calling(resource: str, arguments: Params, **more: Any) -> Params:
    return {"Type": "Task", "Resource": f"arn:aws:states:::{resource}", "Arguments": arguments, "End": True, **more}


class Nightly:
    """A state machine `nightly`, and what it uses."""

    def __init__(self, world: World) -> None:
        self.world, self.states = world, world.states
        world.ecs.create_cluster({"clusterName": "main"})
        key = {"KeySchema": [{"AttributeName": "item", "KeyType": "HASH"}]}
        types = [{"AttributeName": "item", "AttributeType": "S"}]
        world.dynamodb.create_table({"TableName": "state", **key, "AttributeDefinitions": types})
        container = {"name": "app", "image": "elsewhere/app"}
        role = "arn:aws:iam::123456789012:role/app"
        given = {"family": "app", "networkMode": "awsvpc", "containerDefinitions": [container], "taskRoleArn": role}
        world.ecs.register_task_definition(given)
        self.live = StateMachine(world.states, Iam(world.aws))

    def role(self, without: str = "", source: str = MACHINE) -> None:
        condition = {"ArnLike": {"aws:SourceArn": source}, "StringEquals": {"aws:SourceAccount": "123456789012"}}
        trust = {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}
        statements = [{"Effect": "Allow", "Action": name, **rest} for name, rest in ALLOWED.items() if name != without]
        self._put("role", "aws:iam/role:Role", name="nightly", assumeRolePolicy=[trust | {"Condition": condition}])
        self._put("policy", "aws:iam/rolePolicy:RolePolicy", role="nightly", policy=statements)

    def _put(self, key_: str, type_: str, **inputs: Any) -> None:
        inputs = {
            key: json.dumps({"Version": "2012-10-17", "Statement": value}) if isinstance(value, list) else value
            for key, value in inputs.items()
        }
        self.world.aws.resources[key_] = Resource(f"urn::{key_}", type_, key_, inputs, {"arn": ROLE})

    def made(self, states: Params, start: str = "", **more: Any) -> Params:
        definition = {"QueryLanguage": "JSONata", "StartAt": start or next(iter(states)), "States": states, **more}
        return {"name": "nightly", "roleArn": ROLE, "definition": json.dumps(definition)}

    def create(self, states: Params, **more: Any) -> str:
        """Creates it; returns why it is refused, or ""."""
        try:
            self.live.create("nightly", self.made(states, **more))
        except RuntimeError as e:
            return str(e)
        return ""

    def start(self, **params: Any) -> Execution:
        self.states.start_execution({"stateMachineArn": MACHINE, **params})
        return self.states.executions[-1]

    def run(self, states: Params, **more: Any) -> Execution:
        assert self.create(states, **more) == ""
        execution = self.start()
        self.states.settle()
        return execution

    def tasks(self) -> list[Params]:
        return [task.at(self.world.clock.now()) for task in self.world.ecs._single.values()]


@pytest.fixture
def nightly() -> Iterator[Nightly]:
    with World("registry.invalid", {}, Path("pulumi")) as world:
        made = Nightly(world)
        made.role()
        yield made


def took(execution: Execution) -> float:
    assert execution.stopped is not None
    return execution.stopped - execution.started


# Definitions and roles.


@pytest.mark.parametrize(
    ("states", "problem"),
    [
        ({"A": SUCCEED | {"End": True}}, "A: ['End']"),
        ({"A": {"Type": "Wait", "Seconds": 1, "End": True}}, "A: ['End', 'Seconds']"),
        ({"A": {key: value for key, value in RUN.items() if key != "End"}}, "A needs one of Next and End"),
        ({"A": RUN | {"Next": "B"}, "B": SUCCEED}, "A needs one of Next and End"),
        ({"A": RUN, "B": SUCCEED}, "['B']"),
        ({"A": {key: value for key, value in RUN.items() if key != "End"} | {"Next": "B"}}, "['B']"),
        ({"A" * 81: SUCCEED}, "is too long"),
        ({"A": RUN | {"Resource": "arn:aws:states:::ecs:runTask"}}, "is not recognized"),
        ({"A": RUN | {"Resource": "arn:aws:states:::aws-sdk:nothing:runTask"}}, "is not recognized"),
        ({"A": RUN | {"Arguments": {"StartedBy": "me"}}}, "The field ['StartedBy'] is not supported"),
        ({"A": RUN | {"Arguments": {"cluster": "main"}}}, "The field ['cluster'] is not supported"),
        ({"A": {key: value for key, value in RUN.items() if key != "TimeoutSeconds"}}, "A would wait for a year"),
        ({"A": {"Type": "Fail", "Cause": "{% 1 + %}"}}, "{% 1 + %}"),
        ({"A": {"Type": "Fail", "Cause": "{% $.a %}"}}, "$ is not supported"),
        ({"A": {"Type": "Choice", "Choices": [{"Condition": "true", "Next": "A"}]}}, "a choice needs a condition"),
        ({"A": RUN | {"Retry": [{"ErrorEquals": ["States.ALL", "B"]}]}}, "ErrorEquals ['States.ALL', 'B']"),
        ({"A": RUN | {"Retry": [{"ErrorEquals": ["B"], "BackoffRate": 0.5}]}}, "'BackoffRate': 0.5"),
        ({"A": RUN | {"Retry": [{"ErrorEquals": ["B"], "MaxDelaySeconds": 1}]}}, "'MaxDelaySeconds': 1"),
        ({"A": RUN | {"Retry": [{"ErrorEquals": ["B"], "Times": 1}]}}, "'Times': 1"),
        ({"A": RUN | {"Catch": [{"ErrorEquals": ["B"], "Next": "A", "Times": 1}]}}, "'Times': 1"),
    ],
)
def test_a_definition_with_a_mistake_is_refused(nightly: Nightly, states: Params, problem: str) -> None:
    refusal = nightly.create(states)
    assert "InvalidDefinition" in refusal
    assert problem in refusal
    assert nightly.states.machines == {}


def test_a_definition_in_another_language_is_refused(nightly: Nightly) -> None:
    assert "only JSONata" in nightly.create({"A": SUCCEED}, QueryLanguage="JSONPath")
    assert "StartAt" in nightly.create({"A": SUCCEED}, start="B")


@pytest.mark.parametrize("action", ["events:PutRule", "events:PutTargets", "events:DescribeRule"])
def test_a_role_must_allow_the_rule_that_tells_of_the_end_of_tasks(nightly: Nightly, action: str) -> None:
    nightly.role(without=action)
    assert "is not authorized to create managed-rule" in nightly.create({"A": RUN})
    assert nightly.create({"A": SUCCEED}) == ""


def test_a_role_must_trust_step_functions_for_this_machine(nightly: Nightly) -> None:
    nightly.role(source=MACHINE + "x")
    assert "authorized to assume the provided role" in nightly.create({"A": SUCCEED})


def test_a_running_execution_keeps_its_definition(nightly: Nightly) -> None:
    assert nightly.create({"A": RUN}) == ""
    running = nightly.start()
    nightly.live.update(MACHINE, {}, nightly.made({"B": SUCCEED}))
    newer = nightly.start()
    nightly.states.settle()
    assert (running.path, newer.path) == (["A"], ["B"])
    assert running.status == newer.status == "SUCCEEDED"


# Tasks.


@pytest.mark.parametrize(("exit", "status", "error"), [(0, "SUCCEEDED", None), (3, "FAILED", "States.TaskFailed")])
def test_a_state_waits_for_the_task_and_succeeds_if_it_exits_with_0(
    nightly: Nightly, exit: int, status: str, error: str | None
) -> None:
    nightly.world.ecs.outcome = lambda task: Outcome(exit=exit, seconds=75)
    execution = nightly.run({"A": RUN})
    assert (execution.status, execution.error, took(execution)) == (status, error, 100.0)
    assert json.loads(execution.output or execution.cause or "")["Containers"][0]["ExitCode"] == exit


def test_a_task_without_an_exit_code_has_failed(nightly: Nightly) -> None:
    nightly.world.ecs._why_not_pulled = lambda image, architecture: "not found"
    execution = nightly.run({"A": RUN})
    assert (execution.status, execution.error) == ("FAILED", "States.TaskFailed")
    assert "CannotPullContainerError" in (execution.cause or "")


def test_the_task_has_the_group_that_is_given(nightly: Nightly) -> None:
    execution = nightly.run({"A": RUN})
    assert [task["group"] for task in nightly.tasks()] == [execution.name]


def test_a_timeout_is_not_a_failure_of_the_task_which_runs_on(nightly: Nightly) -> None:
    nightly.world.ecs.outcome = lambda task: Outcome(seconds=5000)
    retry = {"Retry": [{"ErrorEquals": ["States.TaskFailed"], "MaxAttempts": 5}]}
    execution = nightly.run({"A": RUN | retry})
    assert (execution.status, execution.error, took(execution)) == ("FAILED", "States.Timeout", 600.0)
    assert [task["lastStatus"] for task in nightly.tasks()] == ["RUNNING"]


def test_each_attempt_has_its_own_time(nightly: Nightly) -> None:
    nightly.world.ecs.outcome = lambda task: Outcome(exit=1, seconds=400)
    retry = {"Retry": [{"ErrorEquals": ["States.TaskFailed"], "MaxAttempts": 1, "IntervalSeconds": 60}]}
    execution = nightly.run({"A": RUN | retry})
    assert (execution.error, took(execution)) == ("States.TaskFailed", 420.0 + 60 + 420)


@pytest.mark.parametrize(("seconds", "error"), [(570, None), (590, "States.Timeout")])
def test_what_happened_while_nobody_looked_is_judged_by_its_time(
    nightly: Nightly, seconds: float, error: str | None
) -> None:
    nightly.world.ecs.outcome = lambda task: Outcome(seconds=seconds)
    assert nightly.create({"A": RUN}) == ""
    execution = nightly.start()
    nightly.world.clock.sleep(5000)
    nightly.states.live()
    assert execution.error == error
    assert [task["lastStatus"] for task in nightly.tasks()] == ["STOPPED"]


@pytest.mark.parametrize("right", ["", "ecs:StopTask"])
def test_the_task_of_an_execution_that_is_stopped_is_stopped_if_the_role_may(nightly: Nightly, right: str) -> None:
    nightly.role(without=right)
    nightly.world.ecs.outcome = lambda task: Outcome(seconds=300)
    assert nightly.create({"A": RUN}) == ""
    execution = nightly.start()
    nightly.world.clock.sleep(60)
    client = nightly.world.client("stepfunctions")
    client.stop_execution(executionArn=execution.arn, error="Enough", cause="by hand")
    shown = client.describe_execution(executionArn=execution.arn)
    assert (shown["status"], shown["error"], shown["cause"]) == ("ABORTED", "Enough", "by hand")
    assert [task["lastStatus"] for task in nightly.tasks()] == ["RUNNING" if right else "STOPPED"]
    nightly.states.settle()
    assert execution.status == "ABORTED"


@pytest.mark.parametrize(
    ("action", "error"),
    [
        ("ecs:RunTask", "ECS.AccessDeniedException"),
        ("iam:PassRole", "ECS.AccessDeniedException"),
        ("ecs:TagResource", "ECS.AccessDeniedException"),
        ("ecs:DescribeTasks", "ECS.AccessDeniedException"),
    ],
)
def test_a_task_needs_each_right_of_the_role(nightly: Nightly, action: str, error: str) -> None:
    nightly.role(without=action)
    execution = nightly.run({"A": RUN})
    assert (execution.status, execution.error) == ("FAILED", error)
    assert f"is not authorized to perform: {action} " in (execution.cause or "")


def test_a_task_in_another_cluster_does_not_meet_the_condition_of_the_role(nightly: Nightly) -> None:
    nightly.world.ecs.create_cluster({"clusterName": "other"})
    execution = nightly.run({"A": RUN | {"Arguments": RUN["Arguments"] | {"Cluster": "other"}}})
    assert execution.error == "ECS.AccessDeniedException"


GET = {"TableName": "state", "Key": {"item": {"S": "job"}}, "ConsistentRead": True}
LIST = {"Cluster": CLUSTER, "Family": "app"}


@pytest.mark.parametrize(
    ("resource", "arguments", "action", "prefix"),
    [
        ("dynamodb:getItem", GET, "dynamodb:GetItem", "DynamoDB"),
        ("aws-sdk:ecs:listTasks", LIST, "ecs:ListTasks", "Ecs"),
        ("aws-sdk:sfn:listExecutions", {"StateMachineArn": MACHINE}, "states:ListExecutions", "Sfn"),
    ],
)
def test_a_call_needs_the_right_of_the_role(
    nightly: Nightly, resource: str, arguments: Params, action: str, prefix: str
) -> None:
    assert nightly.run({"A": calling(resource, arguments)}).status == "SUCCEEDED"
    nightly.live.delete(MACHINE, {})
    nightly.role(without=action)
    assert nightly.run({"A": calling(resource, arguments)}).error == f"{prefix}.AccessDeniedException"


def test_an_item_is_read_whose_partition_key_the_role_may_read(nightly: Nightly) -> None:
    for key in ("job", "release"):
        item = {"item": {"S": key}, "is": {"S": "here"}}
        nightly.world.dynamodb.put_item({"TableName": "state", "Item": item})
    found = nightly.run({"A": calling("dynamodb:getItem", GET)})
    assert json.loads(found.output or "") == {"Item": {"item": {"S": "job"}, "is": {"S": "here"}}}
    nightly.live.delete(MACHINE, {})
    other = GET | {"Key": {"item": {"S": "release"}}}
    assert nightly.run({"A": calling("dynamodb:getItem", other)}).error == "DynamoDB.AccessDeniedException"


def test_a_table_that_does_not_exist_is_an_error_of_the_call(nightly: Nightly) -> None:
    execution = nightly.run({"A": calling("dynamodb:getItem", GET | {"TableName": "none"})})
    assert execution.error == "DynamoDB.ResourceNotFoundException"


def test_tasks_are_found_and_stopped_by_calls_of_the_sdk(nightly: Nightly) -> None:
    nightly.world.ecs.outcome = lambda task: Outcome(seconds=5000)
    stop = {"Cluster": CLUSTER, "Task": "{% $task %}", "Reason": "over"}
    describe = {"Cluster": CLUSTER, "Tasks": "{% [$states.input.TaskArns] %}"}
    states = {
        "A": RUN | {"Catch": [{"ErrorEquals": ["States.Timeout"], "Next": "B"}]},
        "B": calling("aws-sdk:ecs:listTasks", LIST, Next="C"),
        "C": calling(
            "aws-sdk:ecs:describeTasks", describe, Assign={"task": "{% $states.result.Tasks.TaskArn %}"}, Next="D"
        ),
        "D": calling("aws-sdk:ecs:stopTask", stop, Output="{% $states.result.Task.StoppedReason %}"),
    }
    for name in "BC":
        states[name] = {key: value for key, value in states[name].items() if key != "End"}
    execution = nightly.run(states)
    assert (execution.status, execution.output) == ("SUCCEEDED", '"over"')
    assert [(task["lastStatus"], task["stopCode"]) for task in nightly.tasks()] == [("STOPPED", "UserInitiated")]


# Errors.


def failing(nightly: Nightly, *errors: str) -> list[float]:
    """RunTask has these errors, one after the other; returns the list that its times are added to."""
    times, left = list[float](), list(errors)

    def fails(action: str, arguments: Params) -> str | None:
        if action != "ecs:RunTask":
            return None
        times.append(nightly.world.clock.now())
        return left.pop(0) if left else None

    nightly.states.fails = fails
    return times


def test_a_retrier_waits_longer_each_time_up_to_a_maximum(nightly: Nightly) -> None:
    times = failing(nightly, *["AmazonECS.Unknown"] * 4)
    retrier = {"ErrorEquals": ["AmazonECS.Unknown"], "IntervalSeconds": 10, "BackoffRate": 3, "MaxDelaySeconds": 50}
    execution = nightly.run({"A": RUN | {"Retry": [retrier | {"MaxAttempts": 4}]}})
    assert [later - earlier for earlier, later in zip(times, times[1:], strict=False)] == [10, 30, 50, 50]
    assert execution.status == "SUCCEEDED"


def test_the_first_retrier_that_names_an_error_is_the_only_one_for_it(nightly: Nightly) -> None:
    times = failing(nightly, *["AmazonECS.Unknown"] * 9)
    retry = [{"ErrorEquals": ["AmazonECS.Unknown"], "MaxAttempts": 1}, {"ErrorEquals": ["States.TaskFailed"]}]
    execution = nightly.run({"A": RUN | {"Retry": retry}})
    assert (len(times), execution.status, execution.error) == (2, "FAILED", "AmazonECS.Unknown")


def test_a_retrier_has_three_attempts_of_its_own_by_default(nightly: Nightly) -> None:
    times = failing(nightly, "AmazonECS.Unknown", *["ECS.ServerException"] * 4)
    retry = [{"ErrorEquals": ["AmazonECS.Unknown"]}, {"ErrorEquals": ["States.TaskFailed"]}]
    execution = nightly.run({"A": RUN | {"Retry": retry}})
    assert (len(times), execution.error) == (5, "ECS.ServerException")
    assert [later - earlier for earlier, later in zip(times, times[1:], strict=False)] == [1, 1, 2, 4]


def test_each_state_has_attempts_of_its_own(nightly: Nightly) -> None:
    errors = iter(["Own.Error", None, "Own.Error", None])
    nightly.states.fails = lambda action, arguments: next(errors) if action == "ecs:RunTask" else None
    first = {key: value for key, value in RUN.items() if key != "End"} | {"Next": "B"}
    retry = {"Retry": [{"ErrorEquals": ["Own.Error"], "MaxAttempts": 1}]}
    assert nightly.run({"A": first | retry, "B": RUN | retry}).status == "SUCCEEDED"


def test_a_catcher_leads_to_another_state_with_the_error_as_its_input(nightly: Nightly) -> None:
    failing(nightly, "ECS.ServerException")
    caught = {"Type": "Fail", "Error": "Mine", "Cause": "{% $states.input.Error %}"}
    execution = nightly.run({"A": RUN | {"Catch": [{"ErrorEquals": ["States.ALL"], "Next": "B"}]}, "B": caught})
    assert (execution.path, execution.status) == (["A", "B"], "FAILED")
    assert (execution.error, execution.cause) == ("Mine", "ECS.ServerException")


def test_an_expression_without_a_result_is_an_error(nightly: Nightly) -> None:
    execution = nightly.run({"A": {"Type": "Fail", "Error": "{% $states.input.nothing %}"}})
    assert (execution.status, execution.error) == ("FAILED", "States.QueryEvaluationError")
    assert "returned nothing" in (execution.cause or "")


def test_an_expression_that_fails_is_an_error(nightly: Nightly) -> None:
    execution = nightly.run({"A": {"Type": "Fail", "Error": "{% $toMillis('today') %}"}})
    assert execution.error == "States.QueryEvaluationError"


# Choices and variables.


def test_a_choice_takes_the_first_condition_that_is_true(nightly: Nightly) -> None:
    def chosen(given: int, **more: str) -> Execution:
        nightly.live.delete(MACHINE, {})
        rules = [
            {"Condition": f"{{% $states.input.n {test} %}}", "Next": to} for test, to in ((">= 2", "B"), ("= 2", "C"))
        ]
        states = {"A": {"Type": "Choice", "Choices": rules, **more}, "B": SUCCEED, "C": SUCCEED}
        assert nightly.create(states) == ""
        return nightly.start(input=json.dumps({"n": given}))

    assert chosen(2).path == ["A", "B"]
    assert chosen(1, Default="C").path == ["A", "C"]
    assert chosen(1).error == "States.NoChoiceMatched"


def test_variables_are_kept_and_the_context_names_the_execution(nightly: Nightly) -> None:
    get = calling("dynamodb:getItem", GET, Assign={"n": "{% $count($states.result.Item) %}"}, Next="B")
    end = {"Type": "Fail", "Error": "{% $string($n) %}", "Cause": "{% $string($states.context) %}"}
    execution = nightly.run({"A": {key: value for key, value in get.items() if key != "End"}, "B": end})
    assert execution.error == "0"
    assert json.loads(execution.cause or "") == {
        "Execution": {
            "Id": execution.arn,
            "Name": execution.name,
            "RoleArn": ROLE,
            "Input": {},
            "StartTime": "2026-01-01T00:00:00.000Z",
        },
        "State": {"Name": "B", "EnteredTime": "2026-01-01T00:00:00.000Z", "RetryCount": 0},
        "StateMachine": {"Id": MACHINE, "Name": "nightly"},
    }


# Executions.


def refused(call: Any, **params: Any) -> str:
    with pytest.raises(ClientError) as error:
        call(**params)
    return str(error.value.response["Error"]["Code"])


def test_a_name_belongs_to_one_execution(nightly: Nightly) -> None:
    assert nightly.create({"A": RUN}) == ""
    client, given = nightly.world.client("stepfunctions"), {"stateMachineArn": MACHINE, "name": "today"}
    first = client.start_execution(**given)["executionArn"]
    assert first == f"arn:aws:states:{PLACE}:execution:nightly:today"
    assert client.start_execution(**given)["executionArn"] == first
    assert refused(client.start_execution, **given, input='{"a": 1}') == "ExecutionAlreadyExists"
    nightly.states.settle()
    assert refused(client.start_execution, **given) == "ExecutionAlreadyExists"
    assert refused(client.start_execution, stateMachineArn=MACHINE, name="12:00") == "InvalidName"
    assert refused(client.start_execution, stateMachineArn=MACHINE + "x") == "StateMachineDoesNotExist"
    assert refused(client.describe_execution, executionArn=first + "x") == "ExecutionDoesNotExist"


def test_executions_are_listed_newest_first_by_status_and_in_pages(nightly: Nightly) -> None:
    assert nightly.create({"A": RUN}) == ""
    client = nightly.world.client("stepfunctions")
    for name in "abc":
        nightly.start(name=name)
        nightly.world.clock.sleep(20)
    nightly.world.clock.sleep(5)

    def names(**given: Any) -> list[str]:
        return [each["name"] for each in client.list_executions(stateMachineArn=MACHINE, **given)["executions"]]

    assert names() == ["c", "b", "a"]
    assert (names(statusFilter="RUNNING"), names(statusFilter="SUCCEEDED")) == (["c"], ["b", "a"])
    first = client.list_executions(stateMachineArn=MACHINE, maxResults=2)
    assert names(maxResults=2, nextToken=first["nextToken"]) == ["a"]
    assert refused(client.list_executions, stateMachineArn=MACHINE + "x") == "StateMachineDoesNotExist"


def test_a_test_can_delay_the_list_of_executions(nightly: Nightly) -> None:
    assert nightly.create({"A": RUN}) == ""
    nightly.states.list_lag = 3.0
    nightly.start(name="a")
    params = {"stateMachineArn": MACHINE}
    assert nightly.states.list_executions(params) == {"executions": []}
    nightly.world.clock.sleep(3)
    assert [each["name"] for each in nightly.states.list_executions(params)["executions"]] == ["a"]


def test_what_lists_itself_gets_times_as_text(nightly: Nightly) -> None:
    nightly.world.clock.sleep(0.25)
    execution = nightly.run({"A": calling("aws-sdk:sfn:listExecutions", {"StateMachineArn": MACHINE})})
    [listed] = json.loads(execution.output or "")["Executions"]
    assert (listed["ExecutionArn"], listed["Status"]) == (execution.arn, "RUNNING")
    assert listed["StartDate"] == "2026-01-01T00:00:00.250Z"


def test_each_change_of_status_is_an_event_with_what_describe_execution_returns(nightly: Nightly) -> None:
    nightly.world.ecs.outcome = lambda task: Outcome(exit=1)
    execution = nightly.run({"A": RUN})
    events = [event for event in nightly.world.events.posted if matches({"source": ["aws.states"]}, event)]
    assert {event["detail-type"] for event in events} == {"Step Functions Execution Status Change"}
    assert [event["resources"] for event in events] == [[execution.arn]] * 2
    began = 1_767_225_600_000
    same = {"executionArn": execution.arn, "stateMachineArn": MACHINE, "name": execution.name, "startDate": began}
    same |= {"input": "{}", "inputDetails": {"included": True}, "output": None}
    assert [event["detail"] for event in events] == [
        {**same, "status": "RUNNING", "stopDate": None, "error": None, "cause": None},
        {
            **same,
            "status": "FAILED",
            "stopDate": began + 30_000,
            "error": "States.TaskFailed",
            "cause": execution.cause,
        },
    ]


def test_a_machine_that_exists_or_has_a_wrong_name_is_refused(nightly: Nightly) -> None:
    assert nightly.create({"A": SUCCEED}) == ""
    assert "StateMachineAlreadyExists" in nightly.create({"A": SUCCEED})
    with pytest.raises(RuntimeError, match="InvalidName"):
        nightly.live.create("x", nightly.made({"A": SUCCEED}) | {"name": "a b"})
    nightly.live.delete(MACHINE, {})
    with pytest.raises(AwsError, match="StateMachineDoesNotExist"):
        nightly.start()
