"""The actions of a pipeline, and the API with which a Lambda function reports the result of its job.

A rule names the AWS page it is based on (CP: codepipeline/latest/userguide); UNCONFIRMED marks what no page documents.
"""

import hashlib
import io
import json
import subprocess
import uuid
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3

from standin.api import ACCOUNT, REGION, Api, AwsError, Params
from standin.clock import Clock
from standin.codebuild import Clone, CodeBuild
from standin.events import Events, stamp
from standin.lambdas import Lambdas
from standin.provider import Aws, Resource

PIPELINE = "aws:codepipeline/pipeline:Pipeline"
CONTINUE_SECONDS = 30.0
"""Until a job is sent again to a function that returned a continuation token; AWS does not document how long."""
SILENCE_SECONDS = 20 * 60.0  # CP limits
APPROVAL_MINUTES = 7 * 24 * 60  # CP limits
POLL_SECONDS = 15.0
"""Between two polls of an action that waits for something; AWS does not document how long."""
ARTIFACT_BYTES = 3 * 1024 * 1024  # CP limits: input artifacts of CodeDeployToECS
VARIABLES = {"ImageDigest": "imageDigest", "RegistryId": "registryId", "RepositoryName": "repositoryName"}


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
    """Commit to use instead of the tip of the branch."""
    revision: str = ""
    """Image digest or object version to use instead of the one that the tag or the key has now."""
    event: dict[str, str] = field(default_factory=dict)
    """What the git event that started the execution adds to the variables of its source."""
    trigger: tuple[str, str] = "StartPipelineExecution", f"arn:aws:iam::{ACCOUNT}:user/somebody"
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    status: str = "InProgress"
    message: str = ""
    """Why a condition was not met."""
    actions: list[Action] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    """By `namespace.name`."""
    artifacts: dict[str, str] = field(default_factory=dict)
    """Keys in the artifact bucket, by the artifact's name."""
    attempts: int = 0
    stop: str = ""
    """`wait` or `abandon`, once a stop has been requested."""
    began: float = 0.0
    ended: float = 0.0

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
    outputs: dict[str, tuple[str, str]]
    token: str | None = None
    result: str | None = None
    message: str = ""
    variables: dict[str, str] = field(default_factory=dict)


class Actions:
    """An action of provider `X` is the method `_x`: it returns the action's variables, or raises ActionFailed."""

    def __init__(
        self, aws: Aws, api: Api, clock: Clock, lambdas: Lambdas, builds: CodeBuild, events: Events, registry: str = ""
    ) -> None:
        self._aws, self._api, self._clock, self._lambdas, self._builds = aws, api, clock, lambdas, builds
        self._events, self._registry, self.poll_seconds = events, registry, POLL_SECONDS
        self.repositories: dict[str, Path] = {}
        """Folders of the git repositories, by the name that sources use for them."""
        self.approve: Callable[[Execution, Action], bool | None] = lambda execution, action: True
        """Decides approvals; None means that nobody responds."""
        self.events: list[Params] = []
        """The events that functions received, the newest last."""
        self._jobs: dict[str, Job] = {}
        self._clones: dict[bytes, tuple[str, Clone]] = {}
        """By what the artifact of a full clone contains: the call that CodeBuild makes, and the clone."""

    def _pipeline(self, name: str) -> Resource:
        found = [r for r in self._events.all(PIPELINE) if r.inputs["name"] == name]
        if not found:
            raise AwsError("PipelineNotFoundException", "The pipeline could not be found.")
        return found[0]

    def _as(self, role: str, service: str) -> Any:
        """A client of the stand-in with a role's credentials."""
        keys = {k.lower(): v for k, v in self._api.credentials_for(role).items()}
        return boto3.client(service, endpoint_url=self._api.url, region_name=REGION, **keys)

    def _place(self, execution: Execution, name: str) -> str:
        # "The artifact's key begins with a shortened name of the pipeline."
        return f"{execution.pipeline[:20]}/{name[:10]}/{uuid.uuid4().hex[:7]}"

    def _put(
        self, execution: Execution, action: Action, role: str, bucket: str, body: bytes | Mapping[str, bytes]
    ) -> None:
        """Stores the same body, or one by name, in the output artifacts."""
        for name in action.given.get("outputArtifacts", []):
            key = self._place(execution, name)
            content = body if isinstance(body, bytes) else body[name]
            self._as(role, "s3").put_object(Bucket=bucket, Key=key, Body=content)
            execution.artifacts[name] = key

    def _get(self, role: str, location: tuple[str, str]) -> bytes:
        body: bytes = self._as(role, "s3").get_object(Bucket=location[0], Key=location[1])["Body"].read()
        return body

    def deliver(self) -> None:
        """Delivers the events that are due."""

    def _wait(self, seconds: float, action: Action) -> None:
        """Lets time pass and delivers events; raises if the action has been abandoned in the meantime."""
        if seconds:
            self._clock.sleep(seconds)
        self.deliver()
        if action.status == "Abandoned":
            raise ActionFailed("The action was abandoned")

    # Sources

    def _codecommit(self, execution: Execution, action: Action, role: str, bucket: str) -> dict[str, str]:
        """The commit at the tip of the branch, as a zip."""
        name = action.configuration["RepositoryName"]
        for operation in ("GetBranch", "GetCommit", "UploadArchive", "GetUploadArchiveStatus"):
            self._events.note(role, "codecommit", operation, {"repositoryName": name})
        if action.configuration.get("OutputArtifactFormat") == "CODEBUILD_CLONE_REF":
            self._events.note(role, "codecommit", "GetRepository", {"repositoryName": name})
        return self._commit(execution, action, role, bucket, name) | {"RepositoryName": name}

    def _codestarsourceconnection(self, execution: Execution, action: Action, role: str, bucket: str) -> dict[str, str]:
        """The commit of the event that started the pipeline, or otherwise the one at the tip of the branch.

        CP action-reference-CodestarConnectionSource. UNCONFIRMED: that an execution for a tag has no BranchName.
        """
        name = action.configuration["FullRepositoryId"]
        connection = {"connectionArn": action.configuration.get("ConnectionArn", "")}
        self._events.note(role, "codestar-connections", "UseConnection", connection)
        return self._commit(execution, action, role, bucket, name) | {"FullRepositoryName": name}

    def _commit(self, execution: Execution, action: Action, role: str, bucket: str, name: str) -> dict[str, str]:
        def git(*command: str) -> bytes:
            done = subprocess.run(["git", "-C", str(self.repositories[name]), *command], capture_output=True)
            if done.returncode:
                raise ActionFailed(done.stderr.decode().strip())
            return done.stdout

        variables = execution.event or {"BranchName": action.configuration["BranchName"]}
        ref = variables.get("TagName") or variables["BranchName"]
        commit = git("rev-parse", f"{execution.commit or ref}^{{commit}}").decode().strip()
        # CP troubleshooting, "File permissions are not retained on source files from GitHub when ZIP does not preserve
        # external attributes": no file is executable, and a symbolic link is a file with its target in it. UNCONFIRMED:
        # that this is so for all providers.
        body = zipped(unzip(git("archive", "--format=zip", commit)))
        if action.configuration.get("OutputArtifactFormat") == "CODEBUILD_CLONE_REF":
            # CP action-reference-CodestarConnectionSource: "can only be used by CodeBuild downstream actions".
            body = f"a clone of {name} at {commit}".encode()
            self._clones[body] = (action.given["provider"], Clone(self.repositories[name], commit))
        self._put(execution, action, role, bucket, body)
        message = git("log", "-1", "--format=%B", commit).decode().strip()
        return {"CommitId": commit, "CommitMessage": message, **variables}

    def _ecr(self, execution: Execution, action: Action, role: str, bucket: str) -> dict[str, str]:
        """Describes an image, as imageDetail.json does: CP action-reference-ECR, file-reference."""
        name, tag = action.configuration["RepositoryName"], action.configuration.get("ImageTag", "latest")
        wanted = {"imageDigest": execution.revision} if execution.revision else {"imageTag": tag}
        found = self._as(role, "ecr").describe_images(repositoryName=name, imageIds=[wanted])["imageDetails"][0]
        uri = f"{self._registry}/{name}@{found['imageDigest']}"
        detail = {"ImageSizeInBytes": str(found["imageSizeInBytes"]), "Version": "1.0", "ImageURI": uri}
        pushed = stamp(found["imagePushedAt"].timestamp(), "%a %b %d %H:%M:%S UTC %Y")
        detail |= {"ImagePushedAt": pushed, **{key: found[attribute] for key, attribute in VARIABLES.items()}}
        text = json.dumps(detail | {"ImageTags": found.get("imageTags", [])})
        self._put(execution, action, role, bucket, zipped({"imageDetail.json": text.encode()}))
        return {key: found[attribute] for key, attribute in VARIABLES.items()} | {"ImageTag": tag, "ImageURI": uri}

    def _s3(self, execution: Execution, action: Action, role: str, bucket: str) -> dict[str, str]:
        """An object, which is a zip: CP action-reference-S3. UNCONFIRMED: the message for a missing one."""
        where = {"Bucket": action.configuration["S3Bucket"], "Key": action.configuration["S3ObjectKey"]}
        client = self._as(role, "s3")
        if client.get_bucket_versioning(Bucket=where["Bucket"]).get("Status") != "Enabled":
            raise ActionFailed(f"The bucket {where['Bucket']} is not versioned: versioning is required of a source")
        version = {"VersionId": execution.revision} if execution.revision else {}
        found = client.get_object(**where, **version)
        self._put(execution, action, role, bucket, found["Body"].read())
        variables = {"BucketName": where["Bucket"], "ObjectKey": where["Key"]}
        return variables | {"ETag": found["ETag"].strip('"'), "VersionId": found["VersionId"]}

    # Builds, approvals

    def _codebuild(self, execution: Execution, action: Action, role: str, bucket: str) -> dict[str, str]:
        name = action.configuration["ProjectName"]
        for operation in ("StartBuild", "BatchGetBuilds"):
            self._events.note(role, "codebuild", operation, {"projectName": name})
        # CP action-reference-CodeBuild
        try:
            variables = json.loads(action.configuration.get("EnvironmentVariables", "[]"))
        except ValueError as e:  # UNCONFIRMED: the message
            raise ActionFailed(f"EnvironmentVariables is not valid JSON: {e}") from None
        body = self._get(role, *action.inputs.values())
        source = self._cloned(name, body, execution) if body in self._clones else body
        # CB build-env-ref-env-vars: the commit, or nothing if the source has none.
        if commit := execution.variables.get("Source.CommitId"):
            variables = [*variables, {"name": "CODEBUILD_RESOLVED_SOURCE_VERSION", "value": commit}]
        try:
            built = self._builds.run(name, source, variables)
        except AwsError as e:  # the message as people quote it
            details = f"(Service: AWSCodeBuild; Status Code: 400; Error Code: {e.code})"
            raise ActionFailed(f"Error calling startBuild: {e.message} {details}") from None
        action.log = built.log
        if not built.succeeded:
            raise ActionFailed(f"Build terminated with state: FAILED. {built.log.strip().splitlines()[-1]}")
        # CB sample-pipeline-multi-input-output: with several, each is the secondary artifact of its name.
        outputs = action.given.get("outputArtifacts", [])
        if missing := [name for name in outputs if len(outputs) > 1 and name not in built.secondary]:
            raise ActionFailed(f"No artifact of the build has the name {missing[0]}")  # UNCONFIRMED: the message
        self._put(execution, action, role, bucket, built.secondary if len(outputs) > 1 else built.artifact)
        return built.exported

    def _cloned(self, project: str, body: bytes, execution: Execution) -> Clone:
        """CP tutorials-github-gitclone, tutorials-codecommit-gitclone: the project's role reads the repository."""
        provider, clone = self._clones[body]
        source = next(a for a in execution.actions if a.given["provider"] == provider).configuration
        role = self._builds.role(project)
        if provider == "CodeCommit":
            self._events.note(role, "codecommit", "GitPull", {"repositoryName": source["RepositoryName"]})
        else:
            connection = {"connectionArn": source["ConnectionArn"]}
            self._events.note(role, "codestar-connections", "UseConnection", connection)
        return clone

    def _manual(self, execution: Execution, action: Action, role: str, bucket: str) -> dict[str, str]:
        """CP approvals-action-add, approvals-json-format. UNCONFIRMED: the message of an approval that expired."""
        expires = self._clock.now() + 60 * int(action.given.get("timeoutInMinutes", APPROVAL_MINUTES))
        configuration, (pipeline, token) = action.configuration, (execution.pipeline, str(uuid.uuid4()))
        link = f"https://console.aws.amazon.com/codepipeline/home?region={REGION}#/view/{pipeline}"
        approval = {"pipelineName": pipeline, "stageName": action.stage, "actionName": action.name, "token": token}
        approval |= {"expires": stamp(expires, "%Y-%m-%dT%H:%MZ"), "customData": configuration.get("CustomData", "")}
        approval["approvalReviewLink"] = f"{link}/{action.stage}/{action.name}/approve/{token}"
        if "ExternalEntityLink" in configuration:
            approval["externalEntityLink"] = configuration["ExternalEntityLink"]
        if "NotificationArn" in configuration:
            message = {"region": REGION, "consoleLink": link, "approval": approval}
            publish = {"TopicArn": configuration["NotificationArn"], "Message": json.dumps(message)}
            self._events.note(role, "sns", "Publish", publish)
        answer = self.approve(execution, action)
        if answer is None:
            self._clock.sleep(max(expires - self._clock.now(), 0))
            raise ActionFailed("The approval expired: nobody responded to it in time")
        if not answer:
            raise ActionFailed("Approval rejected")
        return {}

    def _detail(self, execution: Execution, state: str) -> Params:
        """CP detect-state-changes-cloudwatch-events."""
        detail = {"pipeline": execution.pipeline, "execution-id": execution.id, "state": state, "version": 1.0}
        return detail | {"pipeline-execution-attempt": float(execution.attempts)}

    # Deployments

    def _ecs(self, execution: Execution, action: Action, role: str, bucket: str) -> dict[str, str]:
        """Deploys a revision with new images: CP action-reference-ECS, file-reference.

        It does not notice that ECS rolls back, and goes on waiting: aws/containers-roadmap#1399.
        """
        configuration, ecs = action.configuration, self._as(role, "ecs")
        [artifact] = action.inputs.values()
        name = configuration.get("FileName", "imagedefinitions.json")
        complaint = (
            f"Did not find the image definition file {name} in the input artifacts ZIP file. Verify the file is "
        )
        complaint += f"stored in your pipeline's Amazon S3 artifact bucket: {artifact[0]} key: {artifact[1]}"
        images = self._read(role, artifact, name, complaint)
        wanted = {entry["name"]: entry["imageUri"] for entry in json.loads(images)}
        of = {"cluster": configuration["ClusterName"], "service": configuration["ServiceName"]}

        def look() -> Params:
            found: list[Params] = ecs.describe_services(cluster=of["cluster"], services=[of["service"]])["services"]
            if not found:
                raise ActionFailed(f"The service {of['service']} is not in the cluster {of['cluster']}")
            return found[0]

        used = ecs.describe_task_definition(taskDefinition=look()["taskDefinition"], include=["TAGS"])
        known = ecs.meta.service_model.operation_model("RegisterTaskDefinition").input_shape.members
        copied = {key: value for key, value in used["taskDefinition"].items() if key in known}
        strangers = wanted.keys() - {container["name"] for container in copied["containerDefinitions"]}
        if strangers:  # UNCONFIRMED: the message
            raise ActionFailed(f"No container of the task definition is called {', '.join(sorted(strangers))}")
        for container in copied["containerDefinitions"]:
            container["image"] = wanted.get(container["name"], container["image"])
        copied |= {"tags": used["tags"]} if used.get("tags") else {}
        arn = ecs.register_task_definition(**copied)["taskDefinition"]["taskDefinitionArn"]
        ecs.update_service(**of, taskDefinition=arn)
        minutes = int(configuration.get("DeploymentTimeout", 60))
        deadline = self._clock.now() + 60 * minutes
        while self._clock.now() < deadline:
            self._wait(POLL_SECONDS, action)
            service = look()
            primary, *others = service["deployments"]
            steady = primary["runningCount"] == service["desiredCount"] and not others
            if steady and primary["taskDefinition"] == arn:
                return {}
        # UNCONFIRMED: the message
        raise ActionFailed(f"The Amazon ECS service did not reach a steady state within {minutes} minutes")

    def _codedeploytoecs(self, execution: Execution, action: Action, role: str, bucket: str) -> dict[str, str]:
        """CP action-reference-ECSbluegreen, file-reference; its errors: CP troubleshooting."""
        configuration = action.configuration

        def read(artifact: str, name: str, what: str) -> str:
            complaint = f"Exception while trying to read the {what} file from: {artifact}"
            return self._read(role, action.inputs[artifact], name, complaint, ARTIFACT_BYTES)

        where = (
            configuration["TaskDefinitionTemplateArtifact"],
            configuration.get("TaskDefinitionTemplatePath", "taskdef.json"),
        )
        task = read(*where, "task definition artifact")
        where = configuration["AppSpecTemplateArtifact"], configuration.get("AppSpecTemplatePath", "appspec.yaml")
        appspec = read(*where, "appspec artifact")
        for number in "1234":
            if artifact := configuration.get(f"Image{number}ArtifactName"):
                image = json.loads(read(artifact, "imageDetail.json", "image detail artifact"))["ImageURI"]
                task = task.replace(f"<{configuration[f'Image{number}ContainerName']}>", image)
        made = self._as(role, "ecs").register_task_definition(**json.loads(task))["taskDefinition"]
        content = appspec.replace("<TASK_DEFINITION>", made["taskDefinitionArn"])
        group = {
            "applicationName": configuration["ApplicationName"],
            "deploymentGroupName": configuration["DeploymentGroupName"],
        }
        # The page lists these among what the action's role needs. UNCONFIRMED: when they are called.
        for operation in ("GetApplication", "GetApplicationRevision", "RegisterApplicationRevision"):
            self._events.note(role, "codedeploy", operation, {"applicationName": configuration["ApplicationName"]})
        self._events.note(role, "codedeploy", "GetDeploymentConfig", group)
        client = self._as(role, "codedeploy")
        text = {"content": content, "sha256": hashlib.sha256(content.encode()).hexdigest()}
        revision = {"revisionType": "AppSpecContent", "appSpecContent": text}
        id = client.create_deployment(**group, revision=revision)["deploymentId"]
        while True:
            found = client.get_deployment(deploymentId=id)["deploymentInfo"]
            if found["status"] in ("Failed", "Stopped"):
                # UNCONFIRMED: that it is CodeDeploy's own message, with nothing around it
                raise ActionFailed(found["errorInformation"]["message"])
            if found["status"] == "Succeeded":
                return {}
            self._wait(self.poll_seconds, action)

    def _read(self, role: str, artifact: tuple[str, str], name: str, complaint: str, limit: int = 0) -> str:
        body = self._get(role, artifact)
        files = unzip(body) if not limit or len(body) <= limit else {}
        if name not in files:
            raise ActionFailed(complaint)
        return files[name].decode()

    # Functions

    def _lambda(self, execution: Execution, action: Action, role: str, bucket: str) -> dict[str, str]:
        """A job, sent to the function until it reports a result: CP actions-invoke-lambda-function."""
        outputs = {n: (bucket, self._place(execution, n)) for n in action.given.get("outputArtifacts", [])}
        id, job = str(uuid.uuid4()), Job(action, execution, outputs)
        self._jobs[id] = job
        keys = self._api.credentials_for(f"{role}/artifacts")
        function = action.configuration["FunctionName"]
        while True:
            job.result = None
            self._events.note(role, "lambda", "InvokeFunction", {"functionName": function})
            self.events.append(event := {"CodePipeline.job": _event(id, job, keys)})
            action.log += self._events.invoke(function, event, lambda: job.result is not None)
            self._wait(0, action)
            if job.result == "failure":
                raise ActionFailed(job.message)
            if job.result is None:
                self._wait(SILENCE_SECONDS, action)
                raise ActionFailed("The AWS Lambda function failed to return a result. The job timed out.")
            if job.token is None:
                action.message = job.message
                execution.artifacts |= {name: key for name, (_, key) in outputs.items()}
                return job.variables
            self._wait(CONTINUE_SECONDS, action)

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


def _event(id: str, job: Job, keys: dict[str, str]) -> Params:
    data: Params = {
        "actionConfiguration": {"configuration": job.action.configuration},
        "inputArtifacts": _artifacts(job.action.inputs),
        "outputArtifacts": _artifacts(job.outputs),
        "artifactCredentials": {
            "accessKeyId": keys["AWS_ACCESS_KEY_ID"],
            "secretAccessKey": keys["AWS_SECRET_ACCESS_KEY"],
            "sessionToken": keys["AWS_SESSION_TOKEN"],
        },
    }
    if job.token is not None:
        data["continuationToken"] = job.token
    return {"id": id, "accountId": ACCOUNT, "data": data}


def _artifacts(places: dict[str, tuple[str, str]]) -> list[Params]:
    return [
        {
            "name": name,
            "revision": None,
            "location": {"type": "S3", "s3Location": {"bucketName": bucket, "objectKey": key}},
        }
        for name, (bucket, key) in places.items()
    ]


def zipped(files: dict[str, bytes]) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return body.getvalue()


def unzip(body: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}
