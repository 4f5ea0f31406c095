"""Notifies people when a pipeline fails, waits for an approval, or succeeds for the first time after a failure.

EventBridge invokes it. A message has a text for e-mail and a format for chat, which an event target cannot make, and a
notification rule would need a service-linked role that does not exist yet in a new account.
https://docs.aws.amazon.com/codepipeline/latest/userguide/detect-state-changes-cloudwatch-events.html
"""

from __future__ import annotations

import json
import os
from typing import Any

from . import partitions
from .clients import client

# A superseded or stopped execution does not show whether the pipeline works.
DECIDED = ("Succeeded", "Failed")
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


def title(detail: dict[str, Any]) -> str | None:
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


def handler(event: dict[str, Any], context: Any) -> None:
    """Lambda's entry point, invoked by an event of the pipeline or of one of its approvals."""
    detail = event["detail"]
    happened = title(detail)
    if happened is None:
        return
    console = partitions.console(event["resources"][0].split(":")[1], event["region"])
    path = f"codesuite/codepipeline/pipelines/{detail['pipeline']}/executions/{detail['execution-id']}/timeline"
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
