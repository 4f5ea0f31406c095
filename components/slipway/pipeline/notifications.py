"""Notifier: notifies people only when a pipeline fails, recovers, or waits for an approval, and when a job fails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import pulumi
import pulumi_aws as aws

from slipway import iam
from slipway._constraints import arn, check, items, match
from slipway._outputs import concat
from slipway._rules import check_args, check_name
from slipway.codebuild import LogDays
from slipway.iam import Scope, allow
from slipway.release.lambda_function import function, invoke_on_event

# Subscriptions are named after their address, so it must be known at preview.
Email = Annotated[
    str,
    match(
        r"[^@\s,;]+@[^@\s,;]+\.[^@\s,;]+",
        "be an e-mail address",
        "dev.lead+slipway@mail.example.com",
        ["ops", "@example.com", "o ps@example.com", "ops@example", "a@example.com,b@example.com"],
    ),
]
Emails = Annotated[Sequence[Email], items(distinct=True)]
SlackTeamId = Annotated[
    pulumi.Input[str], match(r"[0-9A-Z]+", "be the id of a workspace, such as T0123ABC4,", "T0123ABC4", ["acme"], 255)
]
SlackChannelId = Annotated[
    pulumi.Input[str],
    match(r"[0-9A-Za-z]+", "be the id of a channel, such as C0123ABC4,", "C0123abc4", ["#releases", "a b"], 255),
]
"""https://docs.aws.amazon.com/chatbot/latest/APIReference/API_CreateSlackChannelConfiguration.html"""
Uuid = Annotated[
    pulumi.Input[str],
    match(
        r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}",
        "be an id such as 01234567-89ab-cdef-0123-456789abcdef",
        "01234567-89ab-cdef-0123-456789abcdef",
        ["t", "0123456789abcdef0123456789abcdef"],
    ),
]
TeamsChannelId = Annotated[
    pulumi.Input[str],
    match(
        r"[A-Za-z0-9_=+/.,-]*%3[aA][A-Za-z0-9_=+/.,-]*%40[A-Za-z0-9_=+/.,-]*",
        "be the id of a channel as its link has it, such as 19%3a0123abcd%40thread.tacv2",
        "19%3a0123abcd%40thread.tacv2",
        ["c", "19:0123abcd@thread.tacv2"],
    ),
]
"""https://docs.aws.amazon.com/chatbot/latest/APIReference/API_CreateMicrosoftTeamsChannelConfiguration.html"""
PipelineArn = Annotated[pulumi.Input[str], arn("a pipeline", "codepipeline", r"[\w.@-]+", "shop")]
JOBS_PER_RULE = 12
"""State machines in the pattern of one rule. It may have 2048 characters, and an ARN has up to 140.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html"""
CHAT_REGION = "us-east-2"
"""Channels are configured in one of the few Regions that offer the service, for topics in any Region.

https://docs.aws.amazon.com/general/latest/gr/chatbot.html"""


@dataclass(frozen=True, kw_only=True)
class Slack:
    """A Slack channel. Its workspace must be connected once in the console of Amazon Q Developer in chat applications.

    https://docs.aws.amazon.com/chatbot/latest/adminguide/slack-setup.html
    """

    team_id: SlackTeamId
    """ID of the workspace, such as T0123ABC4."""

    channel_id: SlackChannelId
    """ID of the channel, such as C0123ABC4."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class Teams:
    """A Microsoft Teams channel. Its team must be connected once in the console of Amazon Q Developer in chat
    applications.

    https://docs.aws.amazon.com/chatbot/latest/adminguide/teams-setup.html
    """

    tenant_id: Uuid
    """ID of the Microsoft tenant."""

    team_id: Uuid
    """ID of the team."""

    channel_id: TeamsChannelId
    """ID of the channel, as in the link to it."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class Notifications:
    """Who is notified when the pipeline fails, recovers, or waits for an approval, and when a job fails."""

    emails: Emails = ()
    """E-mail addresses. AWS asks each of them once to confirm the subscription."""

    slack: Slack | None = None
    """Slack channel."""

    teams: Teams | None = None
    """Microsoft Teams channel."""

    def __post_init__(self) -> None:
        check(self)

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        yield (
            not self.emails and self.slack is None and self.teams is None,
            "emails, slack or teams must be given, got none",
        )


@dataclass(frozen=True, kw_only=True)
class NotifierArgs:
    """Arguments of Notifier; built by Pipeline."""

    notifications: Notifications
    pipeline_name: pulumi.Input[str]
    pipeline_arn: PipelineArn
    job_arns: Sequence[pulumi.Input[str]] = ()
    """State machines of the jobs of the pipeline's services."""
    log_retention_days: LogDays = 30

    def __post_init__(self) -> None:
        check(self)


class Notifier(pulumi.ComponentResource):
    """An SNS topic with its subscribers, and a function that publishes to it when EventBridge reports a failure, an
    approval that is waited for, the first success after a failure, or a run of a job that failed.

    https://docs.aws.amazon.com/codepipeline/latest/userguide/detect-state-changes-cloudwatch-events.html
    """

    topic_arn: pulumi.Output[str]

    def __init__(self, name: str, args: NotifierArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        check_name("notifier", name, longest=45)
        check_args(args, NotifierArgs)
        super().__init__("slipway:index:Notifier", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        scope = Scope.of(self)

        # Not encrypted by SNS: a message contains only the name of a pipeline and what happened. Without a policy of
        # its own, only this account may publish.
        topic = aws.sns.Topic(name, opts=child)
        subscribe(name, args.notifications.emails, topic, child)
        chat(name, args.notifications, topic, scope, child)
        publish_events(name, args, topic, child)

        self.topic_arn = topic.arn
        self.register_outputs({"topic_arn": self.topic_arn})


def subscribe(name: str, emails: Sequence[str], topic: aws.sns.Topic, child: pulumi.ResourceOptions) -> None:
    """Subscriptions; each address receives an e-mail to confirm."""
    for address in emails:
        aws.sns.TopicSubscription(f"{name}-{address}", topic=topic.arn, protocol="email", endpoint=address, opts=child)


def chat(name: str, settings: Notifications, topic: aws.sns.Topic, scope: Scope, child: pulumi.ResourceOptions) -> None:
    """Channels that show the topic's messages, and have no permissions in the account."""
    if settings.slack is None and settings.teams is None:
        return
    role = aws.iam.Role(
        f"{name}-chat-role",
        # No condition keys are documented for this role.
        assume_role_policy=iam.trust("chatbot.amazonaws.com"),
        opts=child,
    )
    nothing = [concat("arn:", scope.partition, ":iam::aws:policy/AWSDenyAll")]
    if settings.slack is not None:
        aws.chatbot.SlackChannelConfiguration(
            f"{name}-slack",
            region=CHAT_REGION,
            configuration_name=name,
            slack_team_id=settings.slack.team_id,
            slack_channel_id=settings.slack.channel_id,
            iam_role_arn=role.arn,
            guardrail_policy_arns=nothing,
            sns_topic_arns=[topic.arn],
            opts=child,
        )
    if settings.teams is not None:
        aws.chatbot.TeamsChannelConfiguration(
            f"{name}-teams",
            region=CHAT_REGION,
            configuration_name=f"{name}-teams",
            tenant_id=settings.teams.tenant_id,
            team_id=settings.teams.team_id,
            channel_id=settings.teams.channel_id,
            iam_role_arn=role.arn,
            guardrail_policy_arns=nothing,
            sns_topic_arns=[topic.arn],
            opts=child,
        )


def publish_events(name: str, args: NotifierArgs, topic: aws.sns.Topic, child: pulumi.ResourceOptions) -> None:
    """A function that publishes, and the rules that invoke it.

    https://docs.aws.amazon.com/codepipeline/latest/userguide/detect-state-changes-cloudwatch-events.html
    """
    # The name that it had when it reported recoveries only: a new name would replace the function and lose its log.
    function_name = f"{name}-again"
    made = function(
        function_name,
        "Notifies of failures, approvals and the first success after a failure of a pipeline",
        "notify",
        [
            allow("codepipeline:ListPipelineExecutions", on=args.pipeline_arn),
            allow("sns:Publish", on=topic.arn),
        ],
        {"TOPIC": topic.arn},
        args.log_retention_days,
        child,
    )
    invoke_on_event(
        function_name,
        "The pipeline succeeded or failed",
        {
            "source": ["aws.codepipeline"],
            "detail-type": ["CodePipeline Pipeline Execution State Change"],
            "detail": {"pipeline": [args.pipeline_name], "state": ["SUCCEEDED", "FAILED"]},
        },
        made.function.name,
        made.function.arn,
        child,
    )
    invoke_on_event(
        f"{name}-approval",
        "The pipeline waits for an approval",
        {
            "source": ["aws.codepipeline"],
            "detail-type": ["CodePipeline Action Execution State Change"],
            "detail": {"pipeline": [args.pipeline_name], "type": {"category": ["Approval"]}, "state": ["STARTED"]},
        },
        made.function.name,
        made.function.arn,
        child,
    )
    for start in range(0, len(args.job_arns), JOBS_PER_RULE):
        invoke_on_event(
            f"{name}-jobs" if start == 0 else f"{name}-jobs-{start // JOBS_PER_RULE + 1}",
            "A run of a job failed, timed out or was stopped",
            {
                "source": ["aws.states"],
                "detail-type": ["Step Functions Execution Status Change"],
                "detail": {
                    "stateMachineArn": list(args.job_arns[start : start + JOBS_PER_RULE]),
                    "status": ["FAILED", "TIMED_OUT", "ABORTED"],
                },
            },
            made.function.name,
            made.function.arn,
            child,
        )
