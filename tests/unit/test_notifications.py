import json
from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

import boto3
import pulumi
import pytest
from slipway import DeployStage, Notifications, Registry, Slack, Teams
from slipway.release.function import notify
from unit.examples import PIPELINE, UUID, build, notifier, pipeline, service
from unit.harness import Resource, deploy, granted, named, of_type, only, rights, trusted

FUNCTION = "aws:lambda/function:Function"
PLACE = "eu-west-1:123456789012"
TOPIC = f"arn:aws:sns:{PLACE}:shop-news"
SLACK = Slack(team_id="T0", channel_id="C0")
TEAMS = Teams(tenant_id=UUID, team_id=UUID, channel_id="19%3ab6ef%40thread.tacv2")
SENDER = "shop-news-again"
APPROVAL = "shop-news-approval"


def deployed(**args: Any) -> list[Resource]:
    return deploy(lambda: notifier("shop-news", **args)) if args else by_default()


@cache
def by_default() -> list[Resource]:
    return deploy(lambda: notifier("shop-news"))


def telling(**args: Any) -> list[Resource]:
    return deployed(notifications=Notifications(**args))


def refusal(settings: Any, **args: Any) -> str:
    with pytest.raises(ValueError) as error:
        settings(**args)
    return str(error.value)


# The topic.


def test_only_the_account_may_publish_to_the_topic() -> None:
    resources = deployed()
    assert named(resources, "shop-news", "Topic").inputs == {}
    assert of_type(resources, "aws:sns/topicPolicy:TopicPolicy") == []


def test_no_resource_needs_a_service_linked_role_that_a_new_account_does_not_have() -> None:
    # https://github.com/aws/aws-cdk/issues/34406
    assert [r.name for r in telling(emails=["ops@example.com"], slack=SLACK) if "codestarnotifications" in r.type] == []


def test_the_topic_of_a_notifier_is_an_output() -> None:
    assert only(deployed(), "slipway:index:Notifier").outputs == {"topic_arn": TOPIC}


# Subscribers.


def test_each_address_has_an_e_mail_subscription() -> None:
    resources = telling(emails=["ops@example.com", "dev@example.com"])
    assert {s.name: s.inputs for s in of_type(resources, "aws:sns/topicSubscription:TopicSubscription")} == {
        f"shop-news-{address}": {"topic": TOPIC, "protocol": "email", "endpoint": address}
        for address in ("dev@example.com", "ops@example.com")
    }


def chats(resources: list[Resource]) -> dict[str, Any]:
    return {r.name: r.inputs for r in resources if r.type.startswith("aws:chatbot/")}


SLACK_CHANNEL = {
    "configurationName": "shop-news",
    "slackTeamId": "T0",
    "slackChannelId": "C0",
    "region": "us-east-2",
    "iamRoleArn": "arn:aws:iam::123456789012:role/shop-news-chat-role",
    "guardrailPolicyArns": ["arn:aws:iam::aws:policy/AWSDenyAll"],
    "snsTopicArns": [TOPIC],
}
TEAMS_CHANNEL = {
    "configurationName": "shop-news-teams",
    "tenantId": UUID,
    "teamId": UUID,
    "channelId": "19%3ab6ef%40thread.tacv2",
    "region": "us-east-2",
    "iamRoleArn": "arn:aws:iam::123456789012:role/shop-news-chat-role",
    "guardrailPolicyArns": ["arn:aws:iam::aws:policy/AWSDenyAll"],
    "snsTopicArns": [TOPIC],
}


@pytest.mark.parametrize(
    ("args", "channels"),
    [
        ({"slack": SLACK}, {"shop-news-slack": SLACK_CHANNEL}),
        ({"teams": TEAMS}, {"shop-news-teams": TEAMS_CHANNEL}),
        ({"slack": SLACK, "teams": TEAMS}, {"shop-news-slack": SLACK_CHANNEL, "shop-news-teams": TEAMS_CHANNEL}),
    ],
)
def test_a_channel_shows_notifications_and_its_members_can_do_nothing_else(
    args: dict[str, Any], channels: dict[str, Any]
) -> None:
    resources = telling(**args)
    assert chats(resources) == channels
    assert trusted(resources, "shop-news-chat-role") == [
        {"Effect": "Allow", "Principal": {"Service": "chatbot.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ]
    # The role has no policies at all.
    policies = of_type(resources, "aws:iam/rolePolicy:RolePolicy")
    assert [policy.name for policy in policies] == [f"{SENDER}-policy"]
    assert of_type(resources, "aws:iam/rolePolicyAttachment:RolePolicyAttachment") == []
    assert of_type(resources, "aws:sns/topicSubscription:TopicSubscription") == []


def test_without_a_channel_there_are_no_resources_for_one() -> None:
    resources = telling(emails=["ops@example.com"])
    assert chats(resources) == {}
    assert [role.name for role in of_type(resources, "aws:iam/role:Role")] == [f"{SENDER}-role"]


def test_notifications_need_a_recipient() -> None:
    assert refusal(Notifications) == "emails, slack or teams must be given, got none"


# The function that publishes.


def test_the_function_publishes_to_the_topic() -> None:
    resources = deployed(log_retention_days=7)
    function = only(resources, FUNCTION)
    assert {key: value for key, value in function.inputs.items() if key != "code"} == {
        "name": SENDER,
        "description": "Notifies of failures, approvals and the first success after a failure of a pipeline",
        "runtime": "python3.13",
        "architectures": ["arm64"],
        "handler": "release.notify.handler",
        "role": f"arn:aws:iam::123456789012:role/{SENDER}-role",
        "timeout": 900,
        "memorySize": 256,
        "environment": {"variables": {"TOPIC": TOPIC}},
        "loggingConfig": {"logFormat": "Text", "logGroup": f"/aws/lambda/{SENDER}"},
    }
    assert only(resources, "aws:cloudwatch/logGroup:LogGroup").inputs == {
        "name": f"/aws/lambda/{SENDER}",
        "retentionInDays": 7,
    }


def test_the_function_may_read_its_pipeline_and_publish_to_its_topic_and_nothing_else() -> None:
    resources = deployed()
    assert trusted(resources, f"{SENDER}-role") == [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ]
    assert named(resources, f"{SENDER}-policy").inputs["role"] == f"{SENDER}-role"
    assert rights(resources, f"{SENDER}-policy") == granted(
        [
            {
                "Effect": "Allow",
                "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
                "Resource": f"arn:aws:logs:{PLACE}:log-group:/aws/lambda/{SENDER}:*",
            },
            {"Effect": "Allow", "Action": ["codepipeline:ListPipelineExecutions"], "Resource": PIPELINE},
            {"Effect": "Allow", "Action": ["sns:Publish"], "Resource": TOPIC},
        ]
    )


EXECUTIONS = {
    "source": ["aws.codepipeline"],
    "detail-type": ["CodePipeline Pipeline Execution State Change"],
    "detail": {"pipeline": ["given"], "state": ["SUCCEEDED", "FAILED"]},
}
APPROVALS = {
    "source": ["aws.codepipeline"],
    "detail-type": ["CodePipeline Action Execution State Change"],
    "detail": {"pipeline": ["given"], "type": {"category": ["Approval"]}, "state": ["STARTED"]},
}


@pytest.mark.parametrize(
    ("name", "description", "pattern"),
    [
        (SENDER, "The pipeline succeeded or failed", EXECUTIONS),
        (APPROVAL, "The pipeline waits for an approval", APPROVALS),
    ],
)
def test_the_function_runs_on_each_end_and_each_approval_of_the_pipeline(
    name: str, description: str, pattern: Any
) -> None:
    resources = deployed()
    rule = named(resources, name, "EventRule")
    assert rule.inputs.keys() == {"description", "eventPattern"}
    assert (rule.inputs["description"], rule.json("eventPattern")) == (description, pattern)
    target = named(resources, f"{name}-target")
    assert target.inputs == {"rule": name, "arn": f"arn:aws:lambda:{PLACE}:function:{SENDER}"}
    # An event before the permission would be lost.
    assert f"{name}-permission" in target.depends_on


JOBS = [f"arn:aws:states:{PLACE}:stateMachine:shop-job-{number}" for number in range(13)]


def test_the_function_runs_on_each_failure_of_a_job_with_rules_of_twelve_jobs() -> None:
    resources = deployed(job_arns=JOBS)
    for name, arns in (("shop-news-jobs", JOBS[:12]), ("shop-news-jobs-2", JOBS[12:])):
        rule = named(resources, name, "EventRule")
        assert rule.json("eventPattern") == {
            "source": ["aws.states"],
            "detail-type": ["Step Functions Execution Status Change"],
            "detail": {"stateMachineArn": arns, "status": ["FAILED", "TIMED_OUT", "ABORTED"]},
        }
        # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html
        assert len(rule.inputs["eventPattern"]) <= 2048
        assert named(resources, f"{name}-target").inputs["arn"] == f"arn:aws:lambda:{PLACE}:function:{SENDER}"
        assert named(resources, f"{name}-permission").inputs["sourceArn"] == f"arn:aws:events:{PLACE}:rule/{name}"
    rules = of_type(resources, "aws:cloudwatch/eventRule:EventRule")
    assert {rule.name for rule in rules} == {SENDER, APPROVAL, "shop-news-jobs", "shop-news-jobs-2"}


def test_a_pipeline_notifies_of_the_jobs_of_all_its_services() -> None:
    def program() -> None:
        given = Registry("given")
        services = [service(f"shop-{name}", environment_name=name, registry=given) for name in ("dev", "test", "prod")]
        services[0].job_arns, services[2].job_arns = JOBS[:2], [pulumi.Output.from_input(JOBS[2])]
        made = build("shop-build", registry=given)
        stages = [DeployStage(service=each) for each in services]
        pipeline("shop", build=made, stages=stages, notifications=Notifications(emails=["ops@example.com"]))

    rule = named(deploy(program), "shop-news-jobs", "EventRule")
    assert rule.json("eventPattern")["detail"]["stateMachineArn"] == JOBS[:3]


def test_the_longest_names_of_twelve_jobs_fit_into_a_pattern() -> None:
    longest = f"arn:aws-us-gov:states:us-gov-west-1:123456789012:stateMachine:{'s' * 40}-{'j' * 18}"
    resources = deployed(job_arns=[f"{longest}{number:02}" for number in range(12)])
    assert len(named(resources, "shop-news-jobs", "EventRule").inputs["eventPattern"]) <= 2048


def test_only_those_rules_may_invoke_the_function() -> None:
    permissions = of_type(deployed(), "aws:lambda/permission:Permission")
    assert {permission.name: permission.inputs for permission in permissions} == {
        f"{name}-permission": {
            "action": "lambda:InvokeFunction",
            "function": SENDER,
            "principal": "events.amazonaws.com",
            "sourceArn": f"arn:aws:events:{PLACE}:rule/{name}",
        }
        for name in (SENDER, APPROVAL)
    }


# Its behavior.

Pages = list[list[tuple[str, str]]]


class CodePipeline:
    """CodePipeline with a history in pages, newest first."""

    def __init__(self, pages: Pages) -> None:
        self.pages = pages

    def get_paginator(self, operation: str) -> Any:
        assert operation == "list_pipeline_executions"

        def paginate(*, pipelineName: str) -> list[dict[str, Any]]:
            assert pipelineName == "shop"
            return [
                {"pipelineExecutionSummaries": [{"pipelineExecutionId": id, "status": status} for id, status in page]}
                for page in self.pages
            ]

        return SimpleNamespace(paginate=paginate)


def recovered(*pages: list[tuple[str, str]]) -> bool:
    return notify.recovered(CodePipeline(list(pages)), "shop", "now")


def test_the_first_success_after_a_failure_is_a_recovery() -> None:
    assert recovered([("now", "Succeeded"), ("2", "Failed"), ("1", "Succeeded")]) is True


def test_the_second_success_after_a_failure_is_not_a_recovery() -> None:
    assert recovered([("now", "Succeeded"), ("2", "Succeeded"), ("1", "Failed")]) is False


@pytest.mark.parametrize("status", ["Superseded", "Stopped", "Stopping", "Cancelled", "InProgress"])
def test_executions_without_a_result_in_between_do_not_count(status: str) -> None:
    assert recovered([("now", "Succeeded"), ("3", status), ("2", status), ("1", "Failed")]) is True
    assert recovered([("now", "Succeeded"), ("3", status), ("2", "Succeeded"), ("1", "Failed")]) is False


def test_executions_after_this_success_do_not_count() -> None:
    assert recovered([("later", "Failed"), ("now", "Succeeded"), ("1", "Succeeded")]) is False
    assert recovered([("later", "Succeeded"), ("now", "Succeeded"), ("1", "Failed")]) is True


def test_a_failure_on_another_page_counts() -> None:
    assert recovered([("now", "Succeeded")], [], [("2", "Stopped")], [("1", "Failed")]) is True


def test_the_very_first_execution_is_not_a_recovery() -> None:
    assert recovered([("now", "Succeeded")]) is False
    assert recovered([("now", "Succeeded"), ("1", "Superseded")]) is False


def test_an_execution_that_the_history_does_not_show_is_not_a_recovery() -> None:
    assert recovered([("2", "Failed"), ("1", "Failed")]) is False


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict[str, Any]]]:
    """What the function publishes when an execution succeeds, or when the `detail` of an event says otherwise."""

    def publish(
        status_before: str, region: str = "eu-west-1", partition: str = "aws", **detail: Any
    ) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = []
        clients = {
            "codepipeline": CodePipeline([[("now", "Succeeded"), ("1", status_before)]]),
            "sns": SimpleNamespace(publish=lambda **message: messages.append(message)),
        }
        monkeypatch.setattr(boto3, "client", lambda service, **_: clients[service])
        monkeypatch.setenv("TOPIC", TOPIC)
        event = {
            "source": "aws.codepipeline",
            "region": region,
            "resources": [f"arn:{partition}:codepipeline:{region}:123456789012:shop"],
            "detail": {"pipeline": "shop", "execution-id": "now", "state": "SUCCEEDED", **detail},
        }
        notify.handler(event, None)
        return messages

    return publish


def test_a_recovery_is_sent_to_each_kind_of_subscriber_in_its_own_format(published: Any) -> None:
    link = "https://eu-west-1.console.aws.amazon.com/codesuite/codepipeline/pipelines/shop/executions/now/timeline"
    [message] = published("Failed")
    assert message.keys() == {"TopicArn", "Subject", "MessageStructure", "Message"}
    assert (message["TopicArn"], message["Subject"]) == (TOPIC, "The pipeline shop works again")
    assert message["MessageStructure"] == "json"
    args = json.loads(message["Message"])
    assert args.keys() == {"default", "email"}
    assert args["email"] == f"The pipeline shop works again: {link}"
    assert json.loads(args["default"]) == {
        "version": "1.0",
        "source": "custom",
        "content": {"textType": "client-markdown", "title": "The pipeline shop works again", "description": link},
    }


def test_a_success_that_is_not_a_recovery_is_not_published(published: Any) -> None:
    assert published("Succeeded") == []


def test_a_retried_execution_that_succeeds_is_a_recovery(published: Any) -> None:
    [message] = published("Succeeded", **{"pipeline-execution-attempt": 2.0})
    assert message == published("Failed")[0]
    assert published("Succeeded", **{"pipeline-execution-attempt": 1.0}) == []


@pytest.mark.parametrize("before", ["Succeeded", "Failed"])
def test_each_failure_is_published(published: Any, before: str) -> None:
    [message] = published(before, state="FAILED", **{"pipeline-execution-attempt": 2.0})
    assert message["Subject"] == "The pipeline shop failed"
    assert json.loads(message["Message"])["email"].startswith("The pipeline shop failed: https://eu-west-1.console.")


def test_an_approval_is_published_with_its_stage_in_a_subject_that_sns_accepts(published: Any) -> None:
    kind = {"owner": "AWS", "provider": "Manual", "category": "Approval", "version": "1"}
    [message] = published("Succeeded", state="STARTED", stage="prod" * 25, action="Approve", type=kind)
    title = f"The pipeline shop waits for an approval in the stage {'prod' * 25}"
    assert message["Subject"] == title[:100]
    args = json.loads(message["Message"])
    assert args["email"].startswith(f"{title}: https://")
    assert json.loads(args["default"])["content"]["title"] == title


@pytest.mark.parametrize(
    ("region", "partition", "host"),
    [
        ("cn-north-1", "aws-cn", "cn-north-1.console.amazonaws.cn"),
        ("us-gov-west-1", "aws-us-gov", "us-gov-west-1.console.amazonaws-us-gov.com"),
    ],
)
def test_the_link_is_to_the_console_of_the_partition(published: Any, region: str, partition: str, host: str) -> None:
    [message] = published("Failed", region, partition)
    assert json.loads(message["Message"])["email"] == (
        f"The pipeline shop works again: https://{host}/codesuite/codepipeline/pipelines/shop/executions/now/timeline"
    )


@pytest.mark.parametrize(
    ("detail", "title"),
    [
        ({"status": "FAILED", "error": "States.TaskFailed"}, "The job shop-report failed"),
        ({"status": "FAILED", "error": "JobTimedOut"}, "The job shop-report timed out"),
        ({"status": "TIMED_OUT"}, "The job shop-report timed out"),
        ({"status": "ABORTED", "error": None}, "The job shop-report was stopped"),
    ],
)
def test_a_run_of_a_job_that_did_not_succeed_is_published_with_a_link_to_it(
    monkeypatch: pytest.MonkeyPatch, detail: dict[str, Any], title: str
) -> None:
    messages: list[dict[str, Any]] = []
    sns = SimpleNamespace(publish=lambda **message: messages.append(message))
    monkeypatch.setattr(boto3, "client", lambda service, **_: {"sns": sns}[service])
    monkeypatch.setenv("TOPIC", TOPIC)
    execution = f"arn:aws:states:{PLACE}:execution:shop-report:now"
    machine = f"arn:aws:states:{PLACE}:stateMachine:shop-report"
    event = {"source": "aws.states", "region": "eu-west-1", "resources": [execution]}
    notify.handler({**event, "detail": {"executionArn": execution, "stateMachineArn": machine, **detail}}, None)
    [message] = messages
    link = f"https://eu-west-1.console.aws.amazon.com/states/home?region=eu-west-1#/v2/executions/details/{execution}"
    assert (message["Subject"], json.loads(message["Message"])["email"]) == (title, f"{title}: {link}")
    assert json.loads(json.loads(message["Message"])["default"])["content"]["description"] == link
