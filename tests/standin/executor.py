"""CodePipeline: carries out the pipelines that are deployed, by AWS's documented rules.

https://docs.aws.amazon.com/codepipeline/latest/userguide/concepts-how-it-works.html
"""

import io
import json
import re
import subprocess
import threading
import uuid
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3

from standin.api import ACCOUNT, REGION, Api, AwsError, Call, Params
from standin.clock import Clock
from standin.codebuild import CodeBuild, variables_of
from standin.lambdas import FunctionError, Lambdas
from standin.provider import Aws

PIPELINE = "aws:codepipeline/pipeline:Pipeline"
RULE = "aws:cloudwatch/eventRule:EventRule"
TARGET = "aws:cloudwatch/eventTarget:EventTarget"
CONTINUE_SECONDS = 30.0
"""Until a job is given again to a function that handed over a continuation token; AWS does not document how long."""
SILENCE_SECONDS = 20 * 60.0  # https://docs.aws.amazon.com/codepipeline/latest/userguide/limits.html


class ActionFailed(Exception):
    pass


@dataclass
class Action:
    """One run of an action, as ListActionExecutions shows it."""

    stage: str
    name: str
    given: Params
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    status: str = "InProgress"
    configuration: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Bucket and key of each input artifact."""
    message: str = ""
    log: str = ""
    began: float = 0.0
    ended: float = 0.0


@dataclass
class Execution:
    pipeline: str
    number: int
    commit: str = ""
    """Commit to take instead of the tip of the branch."""
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    status: str = "InProgress"
    actions: list[Action] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    """By `namespace.name`."""
    artifacts: dict[str, str] = field(default_factory=dict)
    """Keys in the artifact bucket, by the artifact's name."""

    def action(self, name: str) -> Action:
        """The last run of the action with this name."""
        return [action for action in self.actions if action.name == name][-1]

    @property
    def digest(self) -> str:
        return self.variables["Build.IMAGE_DIGEST"]


@dataclass
class Job:
    action: Action
    execution: Execution
    token: str | None = None
    result: str | None = None
    message: str = ""
    variables: dict[str, str] = field(default_factory=dict)


class CodePipeline:
    def __init__(self, aws: Aws, api: Api, clock: Clock, lambdas: Lambdas, builds: CodeBuild) -> None:
        self._aws, self._api, self._clock, self._lambdas, self._builds = aws, api, clock, lambdas, builds
        self.repositories: dict[str, Path] = {}
        """Folders of the git repositories, by the name that sources have for them."""
        self.approve: Callable[[Execution, Action], bool] = lambda execution, action: True
        """Who approves."""
        self.watch: Callable[[Execution, Action], None] = lambda execution, action: None
        """Told of each action when it begins and when it has ended."""
        self.executions: list[Execution] = []
        self._jobs: dict[str, Job] = {}
        self._stages = threading.Condition()
        self._inside: dict[tuple[str, str], Execution] = {}
        self._waiting: dict[tuple[str, str], Execution] = {}
        """The newest execution that waits for a stage."""

    # How executions begin

    def push(self, repository: str, branch: str = "main") -> list[Execution]:
        """What a push to a repository starts, by the rules, triggers and sources that are deployed."""
        event: Params = {
            "source": "aws.codecommit",
            "detail-type": "CodeCommit Repository State Change",
            "resources": [f"arn:aws:codecommit:{REGION}:{ACCOUNT}:{repository}"],
            "detail": {"event": "referenceUpdated", "referenceType": "branch", "referenceName": branch},
        }
        resources = list(self._aws.resources.values())
        rules = [
            r.inputs["name"]
            for r in resources
            if r.type == RULE and matches(json.loads(r.inputs["eventPattern"]), event)
        ]
        targets = [r.inputs["arn"] for r in resources if r.type == TARGET and r.inputs["rule"] in rules]
        started = []
        for pipeline in (r for r in resources if r.type == PIPELINE):
            source = pipeline.inputs["stages"][0]["actions"][0]["configuration"]
            mine = source.get("RepositoryName", source.get("FullRepositoryId")) == repository
            pushes = [
                push["branches"]["includes"]
                for trigger in pipeline.inputs.get("triggers", [])
                for push in trigger["gitConfiguration"].get("pushes", [])
            ]
            # A source that polls, or detects changes, starts the pipeline beside its rule or trigger: both default to
            # true. https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-CodeCommit.html
            by_itself = source.get("PollForSourceChanges", source.get("DetectChanges", "true")) == "true"
            starts = targets.count(pipeline.outputs["arn"])
            starts += mine * (
                sum(branch in includes for includes in pushes) + (by_itself and source["BranchName"] == branch)
            )
            started += [self.start(pipeline.inputs["name"]) for _ in range(starts)]
        return started

    def start(self, pipeline: str, commit: str = "") -> Execution:
        """Run a pipeline to its end, for the tip of its branch or, if one is named, for another commit.

        https://docs.aws.amazon.com/codepipeline/latest/userguide/pipelines-trigger-source-overrides.html
        """
        execution = Execution(pipeline, len(self.executions), commit)
        self.executions.append(execution)
        return self._run(execution, 0)

    def retry(self, execution: Execution, stage: str) -> Execution:
        """Run the actions of a stage that failed again, and go on from there.

        https://docs.aws.amazon.com/codepipeline/latest/userguide/actions-retry.html
        """
        names = [s["name"] for s in self._definition(execution)["stages"]]
        execution.status = "InProgress"
        return self._run(execution, names.index(stage), retried=True)

    # How an execution goes on

    def _definition(self, execution: Execution) -> Params:
        found = [r for r in list(self._aws.resources.values()) if r.type == PIPELINE]
        return next(r.inputs for r in found if r.inputs["name"] == execution.pipeline)

    def _run(self, execution: Execution, first: int, retried: bool = False) -> Execution:
        definition = self._definition(execution)
        for number, stage in enumerate(definition["stages"]):
            if number < first:
                continue
            if not self._enter(execution, stage["name"]):
                execution.status = "Superseded"
                return execution
            try:
                succeeded = {a.name for a in execution.actions if a.stage == stage["name"] and a.status == "Succeeded"}
                # "Actions with the same number run in parallel", lower numbers first; ours are all in sequence.
                # https://docs.aws.amazon.com/codepipeline/latest/userguide/action-requirements.html
                for action in sorted(stage["actions"], key=lambda a: int(a.get("runOrder", 1))):
                    # "Retry only the failed actions": those that succeeded are not run again.
                    if not (retried and number == first and action["name"] in succeeded):
                        self._act(execution, definition, stage["name"], action)
            except ActionFailed:
                execution.status = "Failed"
                return execution
            finally:
                with self._stages:
                    self._inside.pop((execution.pipeline, stage["name"]), None)
                    self._stages.notify_all()
        execution.status = "Succeeded"
        return execution

    def _enter(self, execution: Execution, stage: str) -> bool:
        """One execution at a time in a stage; in SUPERSEDED mode, a newer one that waits replaces one that waits.

        https://docs.aws.amazon.com/codepipeline/latest/userguide/execution-modes.html
        """
        key = execution.pipeline, stage
        with self._stages:
            while key in self._inside:
                newest = self._waiting.get(key)
                if newest is None or newest.number < execution.number:
                    self._waiting[key] = execution
                    self._stages.notify_all()
                elif newest is not execution:
                    return False
                self._stages.wait()
            newest = self._waiting.get(key, execution)
            if newest.number > execution.number:
                return False
            self._waiting.pop(key, None)
            self._inside[key] = execution
            return True

    def _act(self, execution: Execution, definition: Params, stage: str, given: Params) -> None:
        action = Action(stage, given["name"], given, began=self._clock.now())
        bucket = definition["artifactStores"][0]["location"]
        execution.actions.append(action)
        self.watch(execution, action)
        run = getattr(self, f"_{given['provider'].lower()}", None)
        try:
            action.configuration = {k: self._resolved(execution, v) for k, v in given.get("configuration", {}).items()}
            action.inputs = {name: (bucket, execution.artifacts[name]) for name in given.get("inputArtifacts", [])}
            if run is None:
                raise ActionFailed(f"not in the stand-in: {given['provider']}")
            variables = run(execution, action, definition["roleArn"], bucket)
        except ActionFailed as e:
            action.status, action.message = "Failed", str(e)
            raise
        else:
            action.status = "Succeeded"
            if "namespace" in given:
                execution.variables |= {f"{given['namespace']}.{k}": v for k, v in variables.items()}
        finally:
            action.ended = self._clock.now()
            self.watch(execution, action)

    def _resolved(self, execution: Execution, value: str) -> str:
        """https://docs.aws.amazon.com/codepipeline/latest/userguide/reference-variables.html"""
        known = {**execution.variables, "codepipeline.PipelineExecutionId": execution.id}

        def look_up(match: re.Match[str]) -> str:
            if match.group(1) not in known:
                raise ActionFailed(f"Variable {match.group()} is not known: no action before has it")
            return known[match.group(1)]

        return re.sub(r"#\{([\w.@-]+)\}", look_up, value)

    def _as(self, role: str, service: str) -> Any:
        """A client of the stand-in with a role's credentials."""
        keys = {k.lower(): v for k, v in self._api.credentials_for(role).items()}
        return boto3.client(service, endpoint_url=self._api.url, region_name=REGION, **keys)

    def _note(self, role: str, service: str, operation: str, params: Params) -> None:
        """What a role does that no client does here."""
        self._api.calls.append(Call(role, service, operation, params, self._clock.now(), None))

    def _put(self, execution: Execution, action: Action, role: str, bucket: str, body: bytes) -> None:
        for name in action.given.get("outputArtifacts", []):
            # "The artifact's key begins with a shortened name of the pipeline."
            key = f"{execution.pipeline[:20]}/{name[:10]}/{uuid.uuid4().hex[:7]}"
            self._as(role, "s3").put_object(Bucket=bucket, Key=key, Body=body)
            execution.artifacts[name] = key

    def _get(self, role: str, location: tuple[str, str]) -> bytes:
        body: bytes = self._as(role, "s3").get_object(Bucket=location[0], Key=location[1])["Body"].read()
        return body

    # What the actions do

    def _codecommit(self, execution: Execution, action: Action, role: str, bucket: str) -> dict[str, str]:
        """The commit at the tip of the branch, as a zip; a connection has the same variables and more."""
        told = action.configuration
        name = told.get("RepositoryName") or told["FullRepositoryId"]

        def git(*command: str) -> bytes:
            return subprocess.run(
                ["git", "-C", str(self.repositories[name]), *command], check=True, capture_output=True
            ).stdout

        for operation in ("GetBranch", "GetCommit", "UploadArchive", "GetUploadArchiveStatus"):
            self._note(role, "codecommit", operation, {"repositoryName": name})
        commit = execution.commit or git("rev-parse", told["BranchName"]).decode().strip()
        self._put(execution, action, role, bucket, git("archive", "--format=zip", commit))
        message = git("log", "-1", "--format=%B", commit).decode().strip()
        return {"CommitId": commit, "BranchName": told["BranchName"], "CommitMessage": message, "RepositoryName": name}

    _codestarsourceconnection = _codecommit

    def _codebuild(self, execution: Execution, action: Action, role: str, bucket: str) -> dict[str, str]:
        for operation in ("StartBuild", "BatchGetBuilds"):
            self._note(role, "codebuild", operation, {"projectName": action.configuration["ProjectName"]})
        variables = variables_of(action.configuration)
        built = self._builds.run(
            action.configuration["ProjectName"], self._get(role, *action.inputs.values()), variables
        )
        action.log = built.log
        if not built.succeeded:
            raise ActionFailed(f"Build terminated with state: FAILED. {built.log.strip().splitlines()[-1]}")
        self._put(execution, action, role, bucket, built.artifact)
        return built.exported

    def _manual(self, execution: Execution, action: Action, role: str, bucket: str) -> dict[str, str]:
        if not self.approve(execution, action):
            raise ActionFailed("Approval rejected")
        return {}

    def _lambda(self, execution: Execution, action: Action, role: str, bucket: str) -> dict[str, str]:
        """A job, given to the function until it says how it ended.

        https://docs.aws.amazon.com/codepipeline/latest/userguide/actions-invoke-lambda-function.html
        """
        id, job = str(uuid.uuid4()), Job(action, execution)
        self._jobs[id] = job
        keys = self._api.credentials_for(f"{role}/artifacts")
        while True:
            job.result = None
            self._note(role, "lambda", "InvokeFunction", {"functionName": action.configuration["FunctionName"]})
            event = {"CodePipeline.job": self._event(id, job, keys)}
            # Lambda tries an asynchronous event three times in all.
            # https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
            for wait in (60.0, 120.0, None):
                try:
                    self._lambdas.invoke(action.configuration["FunctionName"], event)
                    break
                except FunctionError as e:
                    action.log += f"{e}\n"
                    if job.result is not None or wait is None:
                        break
                    self._clock.sleep(wait)
            if job.result == "failure":
                raise ActionFailed(job.message)
            if job.result is None:
                self._clock.sleep(SILENCE_SECONDS)
                raise ActionFailed("The AWS Lambda function failed to return a result. The job timed out.")
            if job.token is None:
                action.message = job.message
                return job.variables
            self._clock.sleep(CONTINUE_SECONDS)

    def _event(self, id: str, job: Job, keys: dict[str, str]) -> Params:
        data: Params = {
            "actionConfiguration": {"configuration": job.action.configuration},
            "inputArtifacts": [
                {
                    "name": name,
                    "revision": None,
                    "location": {"type": "S3", "s3Location": {"bucketName": bucket, "objectKey": key}},
                }
                for name, (bucket, key) in job.action.inputs.items()
            ],
            "outputArtifacts": [],
            "artifactCredentials": {
                "accessKeyId": keys["AWS_ACCESS_KEY_ID"],
                "secretAccessKey": keys["AWS_SECRET_ACCESS_KEY"],
                "sessionToken": keys["AWS_SESSION_TOKEN"],
            },
        }
        if job.token is not None:
            data["continuationToken"] = job.token
        return {"id": id, "accountId": ACCOUNT, "data": data}

    # The API of jobs and of history

    def put_job_success_result(self, params: Params) -> Params:
        job = self._job(params)
        # "PutJobSuccessResult ... outputVariables ... must not be included when a continuation token is."
        # https://docs.aws.amazon.com/codepipeline/latest/APIReference/API_PutJobSuccessResult.html
        if params.get("continuationToken") and params.get("outputVariables"):
            raise AwsError("ValidationException", "output variables and a continuation token exclude each other")
        if len(params.get("continuationToken", "")) > 2048:
            raise AwsError("ValidationException", "continuationToken must have length less than or equal to 2048")
        job.result, job.token = "success", params.get("continuationToken")
        job.message = params.get("executionDetails", {}).get("summary", "")
        job.variables = params.get("outputVariables", {})
        return {}

    def put_job_failure_result(self, params: Params) -> Params:
        job = self._job(params)
        job.result, job.message = "failure", params["failureDetails"]["message"]
        return {}

    def _job(self, params: Params) -> Job:
        job = self._jobs.get(params["jobId"])
        if job is None:
            raise AwsError("JobNotFoundException", "The job could not be found.")
        if job.action.status != "InProgress" or job.result is not None:
            raise AwsError("InvalidJobStateException", "The job is in an invalid state.")
        return job

    def list_action_executions(self, params: Params) -> Params:
        wanted = params.get("filter", {}).get("pipelineExecutionId")
        if not any(
            r.inputs["name"] == params["pipelineName"] for r in self._aws.resources.values() if r.type == PIPELINE
        ):
            raise AwsError("PipelineNotFoundException", "The pipeline could not be found.")
        return {
            "actionExecutionDetails": [
                {
                    "pipelineExecutionId": execution.id,
                    "actionExecutionId": action.id,
                    "stageName": action.stage,
                    "actionName": action.name,
                    "status": action.status,
                    "startTime": action.began,
                    "input": {
                        "actionTypeId": {k: action.given[k] for k in ("category", "owner", "provider", "version")},
                        "configuration": action.given.get("configuration", {}),
                        "resolvedConfiguration": action.configuration,
                        "inputArtifacts": [
                            {"name": name, "s3location": {"bucket": bucket, "key": key}}
                            for name, (bucket, key) in action.inputs.items()
                        ],
                    },
                }
                for execution in reversed(self.executions)
                if execution.pipeline == params["pipelineName"] and wanted in (None, execution.id)
                for action in reversed(execution.actions)
            ]
        }


def matches(pattern: Any, event: Any) -> bool:
    """https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-event-patterns.html"""
    if isinstance(pattern, dict):
        return all(key in event and matches(inner, event[key]) for key, inner in pattern.items())
    return bool(set(pattern) & set(event if isinstance(event, list) else [event]))


def unzip(body: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}
