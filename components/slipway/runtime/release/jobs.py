"""CodePipeline's side of a release: is the order genuine, which image does it name, and how to answer.

https://docs.aws.amazon.com/codepipeline/latest/userguide/actions-invoke-lambda-function.html
"""

from __future__ import annotations

import io
import json
import time
import zipfile
from dataclasses import dataclass
from typing import Any

import boto3

# CodePipeline's limits on what a job may say.
# https://docs.aws.amazon.com/codepipeline/latest/APIReference/API_FailureDetails.html
MESSAGE_LIMIT = 5000
SUMMARY_LIMIT = 2048


class Refused(Exception):
    """The event does not come from an action of a pipeline that is in progress."""


@dataclass(frozen=True)
class Order:
    """What a deploy action asks for, as CodePipeline confirmed it."""

    job: str
    execution: str
    commit: str
    digest: str | None
    """Digest that the build exported, and that an approval was given for; None for a build that exports none."""
    token: str | None
    """What the last run of this job handed to CodePipeline."""
    bucket: str
    key: str
    credentials: dict[str, str]
    """For the input artifact alone; CodePipeline makes them for this job."""


def confirm(codepipeline: Any, job: dict[str, Any], function: str) -> Order:
    """Believe an event as far as CodePipeline confirms it.

    Whoever may invoke the function can send it any event, but cannot make CodePipeline list an action in progress that
    invokes this function with that very input artifact: nobody deploys past an approval.
    """
    data = job["data"]
    parameters = data["actionConfiguration"]["configuration"]["UserParameters"]
    asked = json.loads(parameters)
    if len(data["inputArtifacts"]) != 1:
        raise Refused(f"a deploy action has one input artifact, and this one has {len(data['inputArtifacts'])}")
    location = data["inputArtifacts"][0]["location"]["s3Location"]
    artifact = {"bucket": location["bucketName"], "key": location["objectKey"]}
    # The history may lag a little behind the action that has just begun.
    for _ in range(4):
        if in_progress(codepipeline, asked, function, parameters, artifact):
            credentials = data["artifactCredentials"]
            return Order(
                job=job["id"],
                execution=asked["execution"],
                commit=asked["commit"],
                digest=asked.get("digest"),
                token=data.get("continuationToken"),
                bucket=artifact["bucket"],
                key=artifact["key"],
                credentials={
                    "aws_access_key_id": credentials["accessKeyId"],
                    "aws_secret_access_key": credentials["secretAccessKey"],
                    "aws_session_token": credentials["sessionToken"],
                },
            )
        time.sleep(5)
    raise Refused(
        f"refused: the execution {asked['execution']} of the pipeline {asked['pipeline']} has no action in progress "
        f"that invokes {function} with this artifact; nothing was changed"
    )


def in_progress(
    codepipeline: Any, asked: dict[str, str], function: str, parameters: str, artifact: dict[str, str]
) -> bool:
    pages = codepipeline.get_paginator("list_action_executions").paginate(
        pipelineName=asked["pipeline"], filter={"pipelineExecutionId": asked["execution"]}
    )
    for page in pages:
        for action in page["actionExecutionDetails"]:
            given = action.get("input", {})
            configuration = given.get("resolvedConfiguration") or given.get("configuration", {})
            if (
                action["status"] == "InProgress"
                and given.get("actionTypeId", {}).get("provider") == "Lambda"
                and configuration.get("FunctionName") == function
                and configuration.get("UserParameters") == parameters
                and [a.get("s3location") for a in given.get("inputArtifacts", [])] == [artifact]
            ):
                return True
    return False


def image(order: Order, container: str, repository_url: str) -> str:
    """The image that the build named for the container, by digest: the contract of CodePipeline's own ECS action.

    https://docs.aws.amazon.com/codepipeline/latest/userguide/file-reference.html
    """
    s3 = boto3.client("s3", **order.credentials)
    body = s3.get_object(Bucket=order.bucket, Key=order.key)["Body"].read()
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as artifact:
            images = {
                str(entry["name"]): str(entry["imageUri"])
                for entry in json.loads(artifact.read("imagedefinitions.json"))
            }
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError) as e:
        raise RuntimeError(
            f"the build's artifact holds no valid imagedefinitions.json ({e}); see what the build wrote"
        ) from e
    if container not in images:
        raise RuntimeError(
            f"imagedefinitions.json names the containers {sorted(images)}, and this service's is {container!r}"
        )
    uri = images[container]
    repository, _, digest = uri.partition("@")
    if not digest.startswith("sha256:"):
        raise RuntimeError(f"imagedefinitions.json must name the image by digest, <repository>@sha256:..., got {uri!r}")
    if repository != repository_url:
        raise RuntimeError(f"this service takes images from {repository_url}, and imagedefinitions.json names {uri!r}")
    if order.digest not in (None, digest):
        raise RuntimeError(f"the build exported the digest {order.digest}, and imagedefinitions.json names {digest}")
    return uri


class Answer:
    """Tells CodePipeline how a job stands. A job that is over takes no answer, which does no harm."""

    def __init__(self, codepipeline: Any, job: str) -> None:
        self.codepipeline = codepipeline
        self.job = job

    def continues(self, token: str, message: str) -> None:
        self._send("success", continuationToken=token, executionDetails={"summary": message[:SUMMARY_LIMIT]})

    def succeeded(self, message: str, variables: dict[str, str]) -> None:
        self._send("success", executionDetails={"summary": message[:SUMMARY_LIMIT]}, outputVariables=variables)

    def failed(self, message: str) -> None:
        self._send("failure", failureDetails={"type": "JobFailed", "message": message[:MESSAGE_LIMIT]})

    def _send(self, kind: str, **details: Any) -> None:
        try:
            getattr(self.codepipeline, f"put_job_{kind}_result")(jobId=self.job, **details)
        except (
            self.codepipeline.exceptions.InvalidJobStateException,
            self.codepipeline.exceptions.JobNotFoundException,
        ):
            print(f"CodePipeline takes no answer for the job {self.job}: it is over, or there is none")
