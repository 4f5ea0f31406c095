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

Location = tuple[str, str]
"""Bucket and key."""


class Refused(Exception):
    """The event does not come from an action of a pipeline that is in progress."""


@dataclass(frozen=True)
class Order:
    """What an action asks for, as CodePipeline confirmed it."""

    job: str
    step: str
    """What to do: `deploy`, or the step before it, `inspect`, `prepare` or `scan`."""
    execution: str
    commit: str
    """What the source action took: the id of a commit, or what else a source has."""
    digest: str | None
    """Digest that an approval was given for, or a gate; None where nobody asked."""
    tests: str | None
    """Project of CodeBuild that tests the release."""
    token: str | None
    """What the last run of this job handed to CodePipeline."""
    artifact: Location
    """What names the image."""
    source: Location | None
    """What was built, for the tests."""
    output: Location | None
    """Where the step puts what it makes."""
    credentials: dict[str, str]
    """For the artifacts alone; CodePipeline makes them for this job."""


def confirm(codepipeline: Any, job: dict[str, Any], function: str) -> Order:
    """Believe an event as far as CodePipeline confirms it.

    Whoever may invoke the function can send it any event, but cannot make CodePipeline list an action in progress that
    invokes this function with these very input artifacts: nobody deploys past an approval.
    """
    data = job["data"]
    parameters = data["actionConfiguration"]["configuration"]["UserParameters"]
    asked = json.loads(parameters)
    inputs = [location(artifact) for artifact in data["inputArtifacts"]]
    if not 1 <= len(inputs) <= 2:
        raise Refused(f"an action of a release has one or two input artifacts, and this one has {len(inputs)}")
    # The history may lag a little behind the action that has just begun.
    for _ in range(4):
        if in_progress(codepipeline, asked, function, parameters, inputs):
            credentials = data["artifactCredentials"]
            return Order(
                job=job["id"],
                step=asked["step"],
                execution=asked["execution"],
                commit=asked["commit"],
                digest=asked.get("digest"),
                tests=asked.get("tests"),
                token=data.get("continuationToken"),
                artifact=inputs[0],
                source=inputs[1] if len(inputs) > 1 else None,
                output=next((location(artifact) for artifact in data.get("outputArtifacts", [])), None),
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


def location(artifact: dict[str, Any]) -> Location:
    found = artifact["location"]["s3Location"]
    return found["bucketName"], found["objectKey"]


def in_progress(
    codepipeline: Any, asked: dict[str, str], function: str, parameters: str, inputs: list[Location]
) -> bool:
    pages = codepipeline.get_paginator("list_action_executions").paginate(
        pipelineName=asked["pipeline"], filter={"pipelineExecutionId": asked["execution"]}
    )
    for page in pages:
        for action in page["actionExecutionDetails"]:
            given = action.get("input", {})
            configuration = given.get("resolvedConfiguration") or given.get("configuration", {})
            listed = [a.get("s3location", {}) for a in given.get("inputArtifacts", [])]
            if (
                action["status"] == "InProgress"
                and given.get("actionTypeId", {}).get("provider") == "Lambda"
                and configuration.get("FunctionName") == function
                and configuration.get("UserParameters") == parameters
                # In which order the history lists them is not documented.
                and sorted((each.get("bucket"), each.get("key")) for each in listed) == sorted(inputs)
            ):
                return True
    return False


def image(order: Order, container: str, repository_url: str) -> str:
    """The image to release, by digest: what the build named for the container, or an ECR source found.

    The contract is that of CodePipeline's own ECS actions.
    https://docs.aws.amazon.com/codepipeline/latest/userguide/file-reference.html
    """
    s3 = boto3.client("s3", **order.credentials)
    bucket, key = order.artifact
    body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as artifact:
            if "imageDetail.json" in artifact.namelist():  # of an ECR source
                images = {container: str(json.loads(artifact.read("imageDetail.json"))["ImageURI"])}
            else:
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
        raise RuntimeError(f"the digest {order.digest} was approved, and imagedefinitions.json names {digest}")
    return uri


def put(order: Order, body: bytes) -> None:
    """Hand over an output artifact."""
    if order.output is None:
        raise RuntimeError("the action has no output artifact to put the deployment into; run `pulumi up`")
    bucket, key = order.output
    boto3.client("s3", **order.credentials).put_object(Bucket=bucket, Key=key, Body=body)


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
