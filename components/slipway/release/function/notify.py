"""Notifies people when a pipeline fails, waits for an approval, or succeeds for the first time after a failure, and
when a run of a scheduled job does not succeed.

EventBridge invokes it. A message has a text for e-mail and a format for chat, which an event target cannot make, and a
notification rule would need a service-linked role that does not exist yet in a new account.
https://docs.aws.amazon.com/codepipeline/latest/userguide/detect-state-changes-cloudwatch-events.html
https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
"""

from __future__ import annotations

import json
import os
from typing import Any

from . import partitions
from .clients import client
from .contract import JOB_TIMED_OUT

# A superseded or stopped execution does not show whether the pipeline works.
DECIDED = ("Succeeded", "Failed")
ENDS = {"FAILED": "failed", "TIMED_OUT": "timed out", "ABORTED": "was stopped"}
LONGEST_SUBJECT = 100
"""https://docs.aws.amazon.com/sns/latest/api/API_Publish.html"""


def recovered(codepipeline: Any, pipeline: str, execution: str) -> bool:
    """Whether the last execution before this one that succeeded or failed had failed."""
    pages = codepipeline.get_paginator("list_pipeline_executions").paginate(pipelineName=pipeline)
    seen = False
    for page in pages:  # newest first
        for each in page["pipelineExecutionSummaries"]:
            if each["pipelineExecutionId"] == execution:
                seen = True
            elif seen and each["status"] in DECIDED:
                return bool(each["status"] == "Failed")
    return False


def pipeline_title(detail: dict[str, Any]) -> str | None:
    """What happened, in one line; None if nobody needs to know."""
    pipeline, execution = detail["pipeline"], detail["execution-id"]
    if "action" in detail:
        return f"The pipeline {pipeline} waits for an approval in the stage {detail['stage']}"
    if detail["state"] == "FAILED":
        return f"The pipeline {pipeline} failed"
    # An execution that failed and was retried keeps its ID.
    retried = float(detail.get("pipeline-execution-attempt", 1)) > 1
    if retried or recovered(client("codepipeline"), pipeline, execution):
        return f"The pipeline {pipeline} works again"
    return None


def job_title(detail: dict[str, Any]) -> str:
    """How a run of a job ended that did not succeed, in one line."""
    # The state machine of a job stops a task that takes too long, and fails then.
    status = "TIMED_OUT" if detail.get("error") == JOB_TIMED_OUT else detail["status"]
    return f"The job {detail['stateMachineArn'].rpartition(':')[2]} {ENDS[status]}"


def handler(event: dict[str, Any], context: Any) -> None:
    """Lambda's entry point, invoked by an event of the pipeline, of one of its approvals, or of a job."""
    detail = event["detail"]
    if event["source"] == "aws.states":
        happened: str | None = job_title(detail)
        path = f"states/home?region={event['region']}#/v2/executions/details/{detail['executionArn']}"
    else:
        happened = pipeline_title(detail)
        path = f"codesuite/codepipeline/pipelines/{detail['pipeline']}/executions/{detail['execution-id']}/timeline"
    if happened is None:
        return
    console = partitions.console(event["resources"][0].split(":")[1], event["region"])
    link = f"https://{console}/{path}"
    # Chat requires a message in this format; e-mail has separate text.
    # https://docs.aws.amazon.com/chatbot/latest/adminguide/custom-notifs.html
    chat = {
        "version": "1.0",
        "source": "custom",
        "content": {"textType": "client-markdown", "title": happened, "description": link},
    }
    client("sns").publish(
        TopicArn=os.environ["TOPIC"],
        Subject=happened[:LONGEST_SUBJECT],
        MessageStructure="json",
        Message=json.dumps({"default": json.dumps(chat), "email": f"{happened}: {link}"}),
    )
