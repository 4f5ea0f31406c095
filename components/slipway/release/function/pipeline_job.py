"""CodePipeline's part of a release: the job that an action gives the function, and the history of actions.

https://docs.aws.amazon.com/codepipeline/latest/userguide/actions-invoke-lambda-function.html
"""

from __future__ import annotations

import io
import json
import time
import zipfile
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import boto3

from .contract import Claim, Image, UserParameters, decode
from .errors import BadArtifact
from .images import Images

# CodePipeline's limits on the text of a job result.
# https://docs.aws.amazon.com/codepipeline/latest/APIReference/API_FailureDetails.html
MESSAGE_LIMIT = 5000
SUMMARY_LIMIT = 2048
LISTING_SECONDS = 20
"""How long it may take until the history lists a new action."""
LONGEST_SECONDS = 6 * 86_400
"""No action or stage of a release lasts longer. An older action that is not in the history has ended.
https://docs.aws.amazon.com/codepipeline/latest/userguide/limits.html"""

Location = tuple[str, str]
"""Bucket and key."""


class UnverifiedEvent(Exception):
    """The event does not come from a pipeline action that is in progress."""


@dataclass(frozen=True)
class ReleaseJob:
    """An action's request, confirmed by CodePipeline."""

    id: str
    parameters: UserParameters
    action: str
    """`actionExecutionId` of the action."""
    began: float
    """When the action began, by CodePipeline's clock."""
    stage: str
    artifact: Location
    """The artifact that names the image."""
    source: Location | None
    """The source files, for the tests."""
    output: Location | None
    """The output artifact of the step."""
    credentials: dict[str, str]
    """Credentials for the artifacts only, which CodePipeline creates for this job."""

    @property
    def step(self) -> str:
        return self.parameters.step


def verify_with_codepipeline(codepipeline: Any, job: dict[str, Any], function: str) -> ReleaseJob:
    """Accept an event only after CodePipeline confirms that the action is in progress.

    Anyone who can invoke the function can send it any event, but cannot make CodePipeline list an action in progress
    that invokes this function with exactly these input artifacts. Approvals therefore cannot be bypassed.
    """
    data = job["data"]
    text = data["actionConfiguration"]["configuration"]["UserParameters"]
    parameters = decode(UserParameters, json.loads(text))
    inputs = [location(artifact) for artifact in data["inputArtifacts"]]
    if not 1 <= len(inputs) <= 2:
        raise UnverifiedEvent(f"an action of a release has one or two input artifacts, and this one has {len(inputs)}")
    credentials = data["artifactCredentials"]
    for wait in (*[5] * (LISTING_SECONDS // 5), 0):
        for found in actions(codepipeline, parameters.pipeline, parameters.execution):
            if is_this(found, function, text, inputs):
                return ReleaseJob(
                    id=job["id"],
                    parameters=parameters,
                    action=found["actionExecutionId"],
                    began=seconds(found["startTime"]),
                    stage=found["stageName"],
                    artifact=inputs[0],
                    source=inputs[1] if len(inputs) > 1 else None,
                    output=next((location(artifact) for artifact in data.get("outputArtifacts", [])), None),
                    credentials={
                        "aws_access_key_id": credentials["accessKeyId"],
                        "aws_secret_access_key": credentials["secretAccessKey"],
                        "aws_session_token": credentials["sessionToken"],
                    },
                )
        time.sleep(wait)
    raise UnverifiedEvent(
        f"refused: the execution {parameters.execution} of the pipeline {parameters.pipeline} has no action in "
        f"progress that invokes {function} with this artifact; nothing was changed"
    )


def location(artifact: dict[str, Any]) -> Location:
    found = artifact["location"]["s3Location"]
    return found["bucketName"], found["objectKey"]


def actions(codepipeline: Any, pipeline: str, execution: str) -> list[dict[str, Any]]:
    """The action history of an execution."""
    pages = codepipeline.get_paginator("list_action_executions").paginate(
        pipelineName=pipeline, filter={"pipelineExecutionId": execution}
    )
    return [action for page in pages for action in page["actionExecutionDetails"]]


def is_this(action: dict[str, Any], function: str, parameters: str, inputs: list[Location]) -> bool:
    given = action.get("input", {})
    configuration = given.get("resolvedConfiguration") or given.get("configuration", {})
    listed = [a.get("s3location", {}) for a in given.get("inputArtifacts", [])]
    return bool(
        action["status"] == "InProgress"
        and given.get("actionTypeId", {}).get("provider") == "Lambda"
        and configuration.get("FunctionName") == function
        and configuration.get("UserParameters") == parameters
        # The order of the history is not documented.
        and sorted((each.get("bucket"), each.get("key")) for each in listed) == sorted(inputs)
    )


class Standing(Enum):
    """Whether the action behind a claim is still in progress."""

    IN_PROGRESS = auto()
    ENDED = auto()


def standing(codepipeline: Any, claim: Claim) -> tuple[Standing, str]:
    """The status of a claim's action or stage and, if it has ended, why.

    An action that the history does not list yet is in progress. An action of a deleted pipeline has ended.
    """
    try:
        listed = actions(codepipeline, claim.pipeline, claim.execution)
        if claim.stage:
            return _stage_standing(codepipeline, claim, listed)
    except (
        codepipeline.exceptions.PipelineNotFoundException,
        codepipeline.exceptions.PipelineExecutionNotFoundException,
    ):
        return Standing.ENDED, f"the execution {claim.execution} of the pipeline {claim.pipeline} is gone"
    for action in listed:
        if action["actionExecutionId"] == claim.action:
            if action["status"] == "InProgress":
                return Standing.IN_PROGRESS, ""
            return Standing.ENDED, f"its action {action['actionName']} ended {action['status']}"
    return _unlisted(claim)


def _stage_standing(codepipeline: Any, claim: Claim, listed: list[dict[str, Any]]) -> tuple[Standing, str]:
    """With CodeDeploy, several actions of a stage release the image one after the other."""
    of_stage = [a for a in listed if a["stageName"] == claim.stage and seconds(a["startTime"]) >= claim.began]
    for action in of_stage:
        if action["status"] not in ("InProgress", "Succeeded"):
            return Standing.ENDED, f"the action {action['actionName']} of its stage ended {action['status']}"
    if not of_stage:
        return _unlisted(claim)
    execution = codepipeline.get_pipeline_execution(pipelineName=claim.pipeline, pipelineExecutionId=claim.execution)[
        "pipelineExecution"
    ]
    if execution["status"] in ("InProgress", "Stopping"):
        return Standing.IN_PROGRESS, ""
    return Standing.ENDED, f"its execution ended {execution['status']}"


def _unlisted(claim: Claim) -> tuple[Standing, str]:
    if time.time() - claim.began > LONGEST_SECONDS:
        return Standing.ENDED, f"the history of {claim.pipeline} does not list its action, which began days ago"
    return Standing.IN_PROGRESS, ""


def started_by(codepipeline: Any, parameters: UserParameters) -> str:
    """Who or what started an execution, according to CodePipeline."""
    found = codepipeline.get_pipeline_execution(
        pipelineName=parameters.pipeline, pipelineExecutionId=parameters.execution
    )["pipelineExecution"].get("trigger", {})
    return " ".join(found[key] for key in ("triggerType", "triggerDetail") if found.get(key))


def seconds(at: Any) -> float:
    return at.timestamp() if hasattr(at, "timestamp") else float(at)


# Artifacts


def image(job: ReleaseJob, container: str, images: Images, repository_url: str) -> Image:
    """The image to release: the one that the build named for the container, or the one from an ECR source.

    As for CodePipeline's own ECS actions, imagedefinitions.json or imageDetail.json names it by digest or by tag. The
    image that a tag points to now is released.
    https://docs.aws.amazon.com/codepipeline/latest/userguide/file-reference.html
    """
    file, uri = image_uri(job, container)
    name, _, digest = uri.partition("@")
    path, colon, tag = name.rpartition(":")
    # A colon before the last slash belongs to the host.
    repository, tag = (path, tag) if colon and "/" not in tag else (name, "latest")
    if repository != repository_url:
        raise BadArtifact(f"this service takes images from {repository_url}, and {file} names {uri!r}")
    if not digest:
        digest = images.tagged([tag]).get(tag, "")
        if not digest:
            raise BadArtifact(f"{file} names {uri!r}, and the repository has no image with this tag")
    try:
        found = Image.parse(f"{repository}@{digest}")
    except ValueError as e:
        raise BadArtifact(f"{file} must name an image by digest or tag: {e}") from e
    if job.parameters.digest not in (None, found.digest):
        raise RuntimeError(f"the digest {job.parameters.digest} was approved, and {file} names {found.digest}")
    return found


def image_uri(job: ReleaseJob, container: str) -> tuple[str, str]:
    """The name of the file that names the image of the container, and the image."""
    s3 = boto3.client("s3", **job.credentials)
    bucket, key = job.artifact
    body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    file = "imagedefinitions.json"
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as artifact:
            # Of an ECR source, or of a build that writes it for CodeDeploy.
            if file not in artifact.namelist() and "imageDetail.json" in artifact.namelist():
                file = "imageDetail.json"
                return file, str(json.loads(artifact.read(file))["ImageURI"])
            found = {str(entry["name"]): str(entry["imageUri"]) for entry in json.loads(artifact.read(file))}
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError) as e:
        raise BadArtifact(f"the build's artifact holds no valid {file} ({e})") from e
    if container not in found:
        raise BadArtifact(f"{file} names the containers {sorted(found)}, and this service's is {container!r}")
    return file, found[container]


def put(job: ReleaseJob, body: bytes) -> None:
    """Upload an output artifact."""
    if job.output is None:
        raise RuntimeError("the action has no output artifact to put the deployment into; run `pulumi up`")
    bucket, key = job.output
    boto3.client("s3", **job.credentials).put_object(Bucket=bucket, Key=key, Body=body)


class Answer:
    """Reports the result of a job. Each method returns whether CodePipeline accepted it: a job that has ended accepts
    no result."""

    def __init__(self, codepipeline: Any, job: str) -> None:
        self.codepipeline, self.job = codepipeline, job

    def continues(self, token: str, message: str) -> bool:
        return self._send("success", continuationToken=token, executionDetails={"summary": message[:SUMMARY_LIMIT]})

    def succeeded(self, message: str, variables: dict[str, str]) -> bool:
        return self._send("success", executionDetails={"summary": message[:SUMMARY_LIMIT]}, outputVariables=variables)

    def failed(self, message: str) -> bool:
        return self._send("failure", failureDetails={"type": "JobFailed", "message": message[:MESSAGE_LIMIT]})

    def _send(self, kind: str, **details: Any) -> bool:
        try:
            getattr(self.codepipeline, f"put_job_{kind}_result")(jobId=self.job, **details)
        except (
            self.codepipeline.exceptions.InvalidJobStateException,
            self.codepipeline.exceptions.JobNotFoundException,
        ):
            print(f"CodePipeline takes no answer for the job {self.job}: it is over, or there is none")
            return False
        return True
