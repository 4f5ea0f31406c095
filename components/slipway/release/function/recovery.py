"""Reports the first successful execution of a pipeline after a failed one, for which AWS has no event.

https://docs.aws.amazon.com/codepipeline/latest/userguide/detect-state-changes-cloudwatch-events.html
"""

from __future__ import annotations

import json
import os
from typing import Any

from .clients import client

# A superseded or stopped execution does not show whether the pipeline works.
DECIDED = ("Succeeded", "Failed")


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


def handler(event: dict[str, Any], context: Any) -> None:
    """Lambda's entry point, invoked by an event when the pipeline succeeds."""
    detail = event["detail"]
    pipeline, execution = detail["pipeline"], detail["execution-id"]
    # An execution that failed and was retried keeps its ID.
    retried = float(detail.get("pipeline-execution-attempt", 1)) > 1
    if not retried and not recovered(client("codepipeline"), pipeline, execution):
        return
    region, partition = event["region"], event["resources"][0].split(":")[1]
    console = "console.amazonaws.cn" if partition == "aws-cn" else "console.aws.amazon.com"
    link = f"https://{region}.{console}/codesuite/codepipeline/pipelines/{pipeline}/executions/{execution}/timeline"
    title = f"The pipeline {pipeline} works again"
    # Chat requires a message in this format; e-mail has separate text.
    # https://docs.aws.amazon.com/chatbot/latest/adminguide/custom-notifs.html
    chat = {
        "version": "1.0",
        "source": "custom",
        "content": {"textType": "client-markdown", "title": title, "description": link},
    }
    client("sns").publish(
        TopicArn=os.environ["TOPIC"],
        Subject=title,
        MessageStructure="json",
        Message=json.dumps({"default": json.dumps(chat), "email": f"{title}: {link}"}),
    )
