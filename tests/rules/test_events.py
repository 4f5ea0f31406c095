"""The rules of the stand-in for events, and for executions that are stopped."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from standin.events import matches
from standin.executor import Action, Execution
from standin.world import World

from .accounts import Account, action, invoke

ECS = {"source": ["aws.ecs"]}
KINDS = {"Pipeline": "P", "Stage": "S", "Action": "A"}


@pytest.fixture
def account() -> Iterator[Account]:
    with World("registry.invalid", {}, Path("pulumi")) as world:
        yield Account(world)


def posted(account: Account, **pattern: Any) -> list[dict[str, Any]]:
    return [event for event in account.world.events.posted if matches(pattern, event)]


def published_states(account: Account) -> list[tuple[str, str]]:
    """Events of CodePipeline: level and state."""
    events = posted(account, source=["aws.codepipeline"])
    return [(KINDS[event["detail-type"].split()[1]], event["detail"]["state"]) for event in events]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"source": "a", "kind": "x", "of": ["r"]}, True),
        ({"source": "b", "kind": "y", "of": ["q", "r"]}, True),
        ({"source": "a", "kind": "y", "of": ["r"]}, False),
        ({"source": "a", "kind": "x", "of": ["q"]}, False),
    ],
)
def test_a_pattern_can_have_alternatives(event: dict[str, Any], expected: bool) -> None:
    pattern = {"of": ["r"], "$or": [{"source": ["a"], "kind": ["x"]}, {"source": ["b"], "kind": ["y"]}]}
    assert matches(pattern, event) is expected


# ECS


def deploy(account: Account, image: str, wait: float = 600) -> None:
    ecs = account.world.client("ecs")
    container = {"name": "app", "image": f"elsewhere/{image}"}
    definition = ecs.register_task_definition(family="web", containerDefinitions=[container])["taskDefinition"]
    of = {"cluster": "main", "taskDefinition": definition["taskDefinitionArn"], "desiredCount": 1}
    breaker = {"deploymentConfiguration": {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}}
    if account.world.ecs._services:
        ecs.update_service(service="web", **of, **breaker)
    else:
        account.world.ecs.create_cluster({"clusterName": "main"})
        ecs.create_service(serviceName="web", **of, **breaker)
    account.world.clock.sleep(wait)
    account.world.deliver()


def deployments(account: Account) -> list[tuple[str, str, str]]:
    """Events of ECS: type, name and reason; deployments are named by letters, in order."""
    ids = dict.fromkeys(event["detail"]["deploymentId"] for event in posted(account, **ECS))
    letters, found = dict(zip(ids, "abc", strict=False)), []
    for event in posted(account, **ECS):
        detail = event["detail"]
        reason = detail["reason"]
        for id, letter in letters.items():
            reason = reason.replace(id, letter)
        found.append((detail["eventType"], detail["eventName"].removeprefix("SERVICE_DEPLOYMENT_"), reason))
    return found


def test_ecs_reports_a_deployment_and_its_rollback(account: Account) -> None:
    deploy(account, "v1")
    account.world.ecs.fault = lambda definition: "exit 1" if "v2" in str(definition["containerDefinitions"]) else None
    deploy(account, "v2")
    assert deployments(account) == [
        ("INFO", "IN_PROGRESS", "ECS deployment a in progress."),
        ("INFO", "COMPLETED", "ECS deployment a completed."),
        ("INFO", "IN_PROGRESS", "ECS deployment b in progress."),
        ("ERROR", "FAILED", "ECS deployment circuit breaker: task failed to start."),
        ("INFO", "IN_PROGRESS", "ECS deployment circuit breaker: rolling back to deploymentId a."),
        ("INFO", "COMPLETED", "ECS deployment a completed."),
    ]
    first = posted(account, **ECS)[0]
    arn = "arn:aws:ecs:eu-west-1:123456789012:service/main/web"
    assert (first["detail-type"], first["resources"]) == ("ECS Deployment State Change", [arn])
    assert first["time"] == first["detail"]["updatedAt"] == "2026-01-01T00:00:00Z"


RULE, TARGET = "aws:cloudwatch/eventRule:EventRule", "aws:cloudwatch/eventTarget:EventTarget"
FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:listener"
LISTENER = """
import boto3
def handler(event, context):
    found = boto3.client("ecs").describe_services(cluster="main", services=["web"])["services"]
    boto3.client("s3").put_object(Bucket="artifacts", Key=event["id"] + str(context.get_remaining_time_in_millis()))
"""


@pytest.fixture
def listened(account: Account) -> Account:
    """A function that receives events of completed deployments, and calls ECS."""
    pattern = {**ECS, "detail": {"eventName": ["SERVICE_DEPLOYMENT_COMPLETED"]}}
    account.put(RULE, "rule", eventPattern=json.dumps(pattern))
    account.put(TARGET, "target", rule="rule", arn=FUNCTION)
    may = {"principal": "events.amazonaws.com", "action": "lambda:InvokeFunction", "function": "listener"}
    account.put("aws:lambda/permission:Permission", "permission", **may)
    code = {"assets": {"index.py": {"text": LISTENER}}}
    role = "arn:aws:iam::123456789012:role/function"
    account.put("aws:lambda/function:Function", "listener", code=code, handler="index.handler", role=role, timeout=60.0)
    return account


def heard(account: Account) -> int:
    return sum(call.operation == "PutObject" for call in account.world.api.calls)


def test_a_function_that_receives_the_event_of_a_deployment_may_call_ecs(listened: Account) -> None:
    deploy(listened, "v1")
    assert heard(listened) == 1


def test_a_test_can_lose_delay_or_repeat_events(listened: Account) -> None:
    events, counts = listened.world.events, []
    events.lost = lambda event: True
    deploy(listened, "v1")
    counts.append(heard(listened))
    events.lost, events.delay = lambda event: False, lambda event: 60.0
    deploy(listened, "v2")
    counts.append(heard(listened))
    listened.world.clock.sleep(60)
    listened.world.deliver()
    counts.append(heard(listened))
    events.delay, events.copies = lambda event: 0.0, lambda event: 2
    deploy(listened, "v3")
    counts.append(heard(listened))
    assert counts == [0, 0, 1, 3]


# CodePipeline


def test_stages_and_actions_report_their_states_as_the_pipeline_does(account: Account) -> None:
    account.pipeline([action("First")])
    execution = account.run()
    ways = [("P", "STARTED"), ("S", "STARTED"), ("A", "STARTED")]
    assert published_states(account) == [*ways, ("A", "SUCCEEDED"), ("S", "SUCCEEDED"), ("P", "SUCCEEDED")]
    [ended] = posted(account, **{"detail-type": ["CodePipeline Action Execution State Change"]})[1:]
    assert (ended["resources"], ended["detail"]) == (
        ["arn:pipeline"],
        {
            "pipeline": "pipeline",
            "execution-id": execution.id,
            "version": 1.0,
            "pipeline-execution-attempt": 1.0,
            "state": "SUCCEEDED",
            "stage": "Stage0",
            "action": "First",
            "type": {"owner": "AWS", "category": "Any", "provider": "Manual", "version": "1"},
            "region": "eu-west-1",
            "action-execution-id": execution.action("First").id,
            "execution-result": {"external-execution-summary": ""},
        },
    )


def stop(account: Account, execution: Execution, **more: Any) -> str:
    """The error code, if it is an error."""
    of = {"pipelineName": "pipeline", "pipelineExecutionId": execution.id, **more}
    try:
        account.world.client("codepipeline").stop_pipeline_execution(**of)
    except ClientError as e:
        return str(e.response["Error"]["Code"])
    return ""


def status(account: Account, execution: Execution) -> str:
    of = {"pipelineName": "pipeline", "pipelineExecutionId": execution.id}
    shown = account.world.client("codepipeline").get_pipeline_execution(**of)["pipelineExecution"]
    assert shown["trigger"]["triggerType"] == "StartPipelineExecution"
    return str(shown["status"])


def listed(account: Account) -> list[tuple[str, str]]:
    found = account.world.client("codepipeline").list_action_executions(pipelineName="pipeline")
    return [(a["actionName"], a["status"]) for a in found["actionExecutionDetails"]]


@pytest.mark.parametrize("answer", [True, False])
def test_an_execution_that_is_stopped_finishes_its_action_and_starts_no_other(account: Account, answer: bool) -> None:
    seen = []

    def approve(execution: Execution, action: Action) -> bool:
        seen.append(stop(account, execution, reason="enough"))
        seen.append(status(account, execution))
        seen.append(stop(account, execution))
        return answer

    account.pipelines.approve = approve
    account.pipeline([action("First"), action("Second", runOrder=2)], [action("Third")])
    execution = account.run()
    assert seen == ["", "Stopping", "DuplicatedStopRequestException"]
    assert (status(account, execution), execution.message) == ("Stopped", "enough")
    assert listed(account) == [("First", "Succeeded" if answer else "Failed")]
    ended = [("A", "SUCCEEDED" if answer else "FAILED"), ("S", "STOPPED"), ("P", "STOPPED")]
    assert published_states(account)[-4:] == [("P", "STOPPING"), *ended]
    assert stop(account, execution) == "PipelineExecutionNotStoppableException"
    account.pipelines.approve = lambda execution, action: True
    account.pipelines.retry(execution, "Stage0")
    assert status(account, execution) == "Succeeded"


def test_the_result_of_an_abandoned_action_is_rejected(account: Account) -> None:
    account.function(
        "client.stop_pipeline_execution(pipelineName='pipeline', abandon=True,"
        " pipelineExecutionId=job['data']['actionConfiguration']['configuration']['UserParameters'])\n"
        "    client.put_job_success_result(jobId=job['id'])"
    )
    account.pipeline([invoke(UserParameters="#{codepipeline.PipelineExecutionId}")], [action("Next")])
    execution = account.run()
    assert (status(account, execution), listed(account)) == ("Stopped", [("Invoke", "Abandoned")])
    calls = [call.error for call in account.world.api.calls if call.operation == "PutJobSuccessResult"]
    assert set(calls) == {"InvalidJobStateException"}
    ended = [("P", "STOPPING"), ("A", "ABANDONED"), ("P", "STOPPED"), ("S", "STOPPED")]
    assert published_states(account)[-4:] == ended


def test_a_stage_is_free_as_soon_as_its_execution_is_abandoned(account: Account) -> None:
    waits, go_on, in_time = threading.Event(), threading.Event(), list[bool]()

    def approve(execution: Execution, action: Action) -> bool:
        if execution.number == 0:
            waits.set()
            in_time.append(go_on.wait(5))
        return True

    account.pipelines.approve = approve
    account.pipeline([action("First")])
    thread = threading.Thread(target=account.run)
    thread.start()
    assert waits.wait(10)
    [first] = account.pipelines.executions
    assert stop(account, first, abandon=True) == ""
    assert account.run().status == "Succeeded"
    go_on.set()
    thread.join()
    assert in_time == [True]
    assert (first.status, first.action("First").status) == ("Stopped", "Abandoned")


def test_a_test_can_delay_the_history_of_actions(account: Account) -> None:
    account.pipelines.history_lag = 30
    account.pipeline([action("First")])
    seen = []

    def approve(execution: Execution, action: Action) -> bool:
        for _ in range(2):
            seen.append(listed(account))
            account.world.clock.sleep(30)
        return True

    account.pipelines.approve = approve
    account.run()
    seen.append(listed(account))
    account.world.clock.sleep(30)
    seen.append(listed(account))
    assert seen == [[], [("First", "InProgress")], [("First", "InProgress")], [("First", "Succeeded")]]
