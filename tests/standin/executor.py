"""CodePipeline: runs the pipelines that are deployed, by AWS's documented rules.

A rule names the AWS page it is based on (CP: codepipeline/latest/userguide); UNCONFIRMED marks what no page documents.
This module has executions, their stages and conditions; actions.py has the actions, events.py what starts executions.
"""

import re
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from botocore.exceptions import ClientError

from standin.actions import PIPELINE, Action, ActionFailed, Actions, Execution
from standin.api import ACCOUNT, REGION, AwsError, Params
from standin.events import triggered
from standin.provider import Resource

__all__ = ["PIPELINE", "Action", "CodePipeline", "Execution"]

NOTIFICATION = "aws:s3/bucketNotification:BucketNotification"
# CP reference-variables, rule-reference-DeploymentWindow
DAYS, MONTHS = "SUN MON TUE WED THU FRI SAT", "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC"


class CodePipeline(Actions):
    def __init__(self, *of: Any) -> None:
        super().__init__(*of)
        self.watch: Callable[[Execution, Action], None] = lambda execution, action: None
        """Called for each action when it starts and when it has ended."""
        self.executions: list[Execution] = []
        self.pending: list[Execution] = []
        """Executions that events started while something else was running: `settle` runs them."""
        self.history_lag = 0.0
        """Seconds after which ListActionExecutions shows that an action has started, and that it has ended."""
        self._stages = threading.Condition()
        self._inside: dict[tuple[str, str], Execution] = {}
        self._waiting: dict[tuple[str, str], list[Execution]] = {}

    @property
    def published(self) -> list[Params]:
        """Messages sent to topics: `topic` and `message`."""
        return self._events.published

    # How executions start

    def push(self, repository: str, branch: str = "main", files: list[str] | None = None) -> list[Execution]:
        """Runs the executions that a push starts, by the deployed rules, triggers and sources.

        `files` are the paths that it changed; without them, every path that a trigger filters by has changed.
        """
        detail = {"event": "referenceUpdated", "referenceType": "branch", "referenceName": branch}
        resource = f"arn:aws:codecommit:{REGION}:{ACCOUNT}:{repository}"
        started = self._happened("aws.codecommit", "CodeCommit Repository State Change", detail, resource)
        started += self._triggered(repository, {"branches": branch, "files": files}, {"BranchName": branch})
        # A source that polls or detects changes, which are the defaults, also starts the pipeline.
        # CP action-reference-CodeCommit, action-reference-CodestarConnectionSource
        for pipeline, source in self._sources(repository):
            by_itself = source.get("PollForSourceChanges", source.get("DetectChanges", "true")) == "true"
            if by_itself and source["BranchName"] == branch:
                started.append(self._begin(pipeline, trigger=("PollForSourceChanges", repository)))
        return [self._run(execution, 0) for execution in started]

    def push_tag(self, repository: str, tag: str) -> list[Execution]:
        """Runs the executions that the push of a git tag starts: only triggers can match tags."""
        return [self._run(e, 0) for e in self._triggered(repository, {"tags": tag}, {"TagName": tag})]

    def pushed(self, repository: str, tag: str, digest: str) -> None:
        """Reports a new image in ECR: CP create-cwe-ecr-source. UNCONFIRMED: that a new tag of an old image counts."""
        detail = {"result": "SUCCESS", "repository-name": repository, "image-digest": digest, "action-type": "PUSH"}
        arn = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{repository}"
        self.pending += self._happened("aws.ecr", "ECR Image Action", detail | {"image-tag": tag}, arn)

    def uploaded(self, bucket: str, key: str) -> None:
        """Reports a new object in S3, if the bucket sends notifications: CP create-S3-source-events-cfn."""
        if any(r.inputs["bucket"] == bucket and r.inputs.get("eventbridge") for r in self._events.all(NOTIFICATION)):
            version = self._as("s3.amazonaws.com", "s3").head_object(Bucket=bucket, Key=key).get("VersionId", "")
            detail = {"bucket": {"name": bucket}, "object": {"key": key, "version-id": version}}
            self.pending += self._happened("aws.s3", "Object Created", detail, f"arn:aws:s3:::{bucket}")

    def settle(self) -> list[Execution]:
        """Runs executions that events started and that have not run yet, and those that they start in turn."""
        done = []
        while self.pending:
            done.append(self._run(self.pending.pop(0), 0))
        return done

    def start(
        self, pipeline: str, commit: str = "", revision: str = "", variables: dict[str, str] | None = None
    ) -> Execution:
        """Runs a pipeline to its end, with the current revisions of its sources or with those that are given.

        CP pipelines-trigger-source-overrides: `commit` is a COMMIT_ID; `revision` an IMAGE_DIGEST or an
        S3_OBJECT_VERSION_ID.
        """
        return self._run(self._begin(pipeline, variables, commit=commit, revision=revision), 0)

    def retry(self, execution: Execution, stage: str) -> Execution:
        """Retries the failed actions of a stage, and continues from there: CP stage-retry."""
        names = [s["name"] for s in self._pipeline(execution.pipeline).inputs["stages"]]
        return self._run(execution, names.index(stage), retried=True)

    def _begin(self, pipeline: str, variables: dict[str, str] | None = None, **given: Any) -> Execution:
        """CP reference-variables: a variable without a default needs a value; unknown variables are rejected."""
        declared = {v["name"]: v for v in self._pipeline(pipeline).inputs.get("variables", [])}
        if strangers := (variables or {}).keys() - declared.keys():
            raise AwsError("ValidationException", f"The pipeline has no variables {sorted(strangers)}")
        # API_PipelineVariable
        if wrong := [name for name, value in (variables or {}).items() if not re.fullmatch(".{1,1000}", value)]:
            raise AwsError("ValidationException", f"Values must be 1 to 1000 characters of one line: {wrong}")
        values = {name: v["defaultValue"] for name, v in declared.items() if "defaultValue" in v} | (variables or {})
        if missing := declared.keys() - values.keys():
            raise AwsError("ValidationException", f"The pipeline needs a value for the variables {sorted(missing)}")
        execution = Execution(pipeline, len(self.executions), began=self._clock.now(), **given)
        execution.variables |= {f"variables.{name}": value for name, value in values.items()}
        self.executions.append(execution)
        return execution

    def deliver(self) -> None:
        """Delivers the events that are due; `settle` runs the executions that they start."""
        self.pending += self._started(self._events.deliver())

    def _happened(self, source: str, kind: str, detail: Params, resource: str) -> list[Execution]:
        return self._started(self._events.emit(source, kind, detail, resource))

    def _started(self, targets: list[tuple[Resource, Params]]) -> list[Execution]:
        started = []
        pipelines = {p.outputs["arn"]: p.inputs["name"] for p in self._events.all(PIPELINE)}
        for target, input in targets:
            name, role = pipelines.get(target.inputs["arn"]), target.inputs.get("roleArn")
            # eventbridge/latest/APIReference/API_PutTargets: a target that is a pipeline needs a role.
            if name is None or role is None:
                continue
            self._events.note(role, "codepipeline", "StartPipelineExecution", {"name": name})
            overrides = input.get("sourceRevisions", [])
            given = {}
            for override in overrides if isinstance(overrides, list) else [overrides]:
                key = "commit" if override["revisionType"] == "COMMIT_ID" else "revision"
                given[key] = override["revisionValue"]
            trigger = "CloudWatchEvent", f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{target.inputs['rule']}"
            # A start that is refused is not reported anywhere: EB eb-rule-dlq.
            with suppress(AwsError):
                started.append(self._begin(name, trigger=trigger, **given))
        return started

    def _triggered(self, repository: str, facts: Params, variables: dict[str, str]) -> list[Execution]:
        return [
            self._begin(pipeline, trigger=("WebhookV2", repository), event=variables)
            for pipeline, _ in self._sources(repository)
            if triggered(self._pipeline(pipeline).inputs, facts)
        ]

    def _sources(self, repository: str) -> Iterable[tuple[str, Params]]:
        """The pipelines that have a repository as their source, with the configuration of the source."""
        for pipeline in self._events.all(PIPELINE):
            for action in pipeline.inputs["stages"][0]["actions"]:
                configuration = action.get("configuration", {})
                names = configuration.get("RepositoryName"), configuration.get("FullRepositoryId")
                if "BranchName" in configuration and repository in names:
                    yield pipeline.inputs["name"], configuration

    # How an execution proceeds

    def _run(self, execution: Execution, first: int, retried: bool = False) -> Execution:
        definition = self._pipeline(execution.pipeline).inputs
        if execution.stop and not retried:  # before it started
            return execution
        execution.status, execution.attempts, execution.stop = "InProgress", execution.attempts + 1, ""
        self._tell(execution, "RESUMED" if retried else "STARTED")
        for number, stage in enumerate(definition["stages"]):
            if number < first:
                continue
            if not self._enter(execution, stage["name"], definition.get("executionMode", "SUPERSEDED")):
                return self._end(execution, "Stopped" if execution.stop else "Superseded")
            outcome = "FAILED"
            try:
                succeeded = {a.name for a in execution.actions if a.stage == stage["name"] and a.status == "Succeeded"}
                self._tell_stage(execution, stage["name"], "RESUMED" if retried and number == first else "STARTED")
                # "Actions with the same number run in parallel", lower numbers first; ours are all in sequence.
                # CP action-requirements
                actions = sorted(stage["actions"], key=lambda a: int(a.get("runOrder", 1)))
                for action in actions if self._admitted(execution, stage) else []:
                    # "Retry only the failed actions": those that succeeded do not run again.
                    if not (retried and number == first and action["name"] in succeeded):
                        self._act(execution, definition, stage["name"], action)
                    if execution.stop:
                        break
                outcome = "STOPPED" if execution.stop else "SUCCEEDED"
            except ActionFailed:
                # UNCONFIRMED: that an execution that is being stopped becomes Stopped even if its last action failed.
                outcome = "STOPPED" if execution.stop else "FAILED"
            finally:
                self._leave(execution, stage["name"])
                self._tell_stage(execution, stage["name"], outcome)
            if outcome != "SUCCEEDED":
                return self._end(execution, outcome.title())
        return self._end(execution, "Succeeded")

    def _leave(self, execution: Execution, stage: str) -> None:
        with self._stages:
            if self._inside.get((execution.pipeline, stage)) is execution:
                del self._inside[execution.pipeline, stage]
            self._stages.notify_all()

    def _end(self, execution: Execution, status: str) -> Execution:
        if execution.status == status == "Stopped":  # abandoned, and already reported
            return execution
        execution.status, execution.ended = status, self._clock.now()
        self._tell(execution, status.upper())
        return execution

    def _tell(self, execution: Execution, state: str) -> None:
        """CP detect-state-changes-cloudwatch-events."""
        self._post(execution, "Pipeline", self._detail(execution, state))

    def _tell_stage(self, execution: Execution, stage: str, state: str) -> None:
        self._post(execution, "Stage", self._detail(execution, state) | {"stage": stage})

    def _tell_action(self, execution: Execution, action: Action, state: str) -> None:
        """The same page. UNCONFIRMED: that it has the id of the action execution."""
        kind = {key: action.given[key] for key in ("owner", "category", "provider", "version")}
        detail = self._detail(execution, state) | {"stage": action.stage, "action": action.name, "type": kind}
        detail |= {"region": REGION, "action-execution-id": action.id}
        if action.ended:
            detail["execution-result"] = {"external-execution-summary": action.message}
        self._post(execution, "Action", detail)

    def _post(self, execution: Execution, level: str, detail: Params) -> None:
        arn = self._pipeline(execution.pipeline).outputs["arn"]
        self._events.post("aws.codepipeline", f"CodePipeline {level} Execution State Change", detail, arn)
        self.deliver()

    def _enter(self, execution: Execution, stage: str, mode: str) -> bool:
        """One execution at a time in a stage; in SUPERSEDED mode, a newer execution replaces one that waits.

        In QUEUED mode all wait, and enter in the order in which they started. CP execution-modes
        """
        key = execution.pipeline, stage
        with self._stages:
            waiting = self._waiting.setdefault(key, [])
            waiting.append(execution)
            if mode == "SUPERSEDED":
                waiting[:] = [max(waiting, key=lambda e: e.number)]
            self._stages.notify_all()
            while (
                not execution.stop
                and execution in waiting
                and (key in self._inside or execution is not min(waiting, key=lambda e: e.number))
            ):
                self._stages.wait()
            if execution not in waiting:
                return False
            waiting.remove(execution)
            if execution.stop:  # an inbound execution: CP pipelines-stop
                return False
            self._inside[key] = execution
            return True

    def _admitted(self, execution: Execution, stage: Params) -> bool:
        """Whether a stage is entered or skipped, by its condition: CP stage-conditions."""
        condition = stage.get("beforeEntry", {}).get("condition")
        execution.message = ""
        for rule in condition["rules"] if condition else []:
            check = getattr(self, f"_{rule['ruleTypeId']['provider'].lower()}", None)
            try:
                if check is None:
                    raise ActionFailed(f"not in the stand-in: {rule['ruleTypeId']['provider']}")
                check({key: self._resolved(execution, value) for key, value in rule.get("configuration", {}).items()})
            except ActionFailed as e:
                execution.message = f"{stage['name']}, rule {rule['name']}: {e}"
                if condition.get("result", "FAIL") == "SKIP":
                    return False
                raise
        return True

    def _deploymentwindow(self, configuration: dict[str, str]) -> None:
        """CP rule-reference-DeploymentWindow. UNCONFIRMED: that the window includes the whole of its last minute."""
        now = datetime.fromtimestamp(self._clock.now(), UTC).astimezone(ZoneInfo(configuration.get("TimeZone", "UTC")))
        if not within(configuration["Cron"], now):
            raise ActionFailed(f"{now:%Y-%m-%dT%H:%M%z} is outside of {configuration['Cron']}")

    def _variablecheck(self, configuration: dict[str, str]) -> None:
        """CP rule-reference-VariableCheck."""
        variable, value, operator = configuration["Variable"], configuration["Value"], configuration["Operator"]
        met = {"EQ": variable == value, "NE": variable != value, "CONTAINS": value in variable}
        met["MATCHES"] = operator == "MATCHES" and bool(re.fullmatch(value, variable))
        if not met[operator]:
            raise ActionFailed(f"{variable!r} {operator} {value!r} does not hold")

    def _act(self, execution: Execution, definition: Params, stage: str, given: Params) -> None:
        action = Action(stage, given["name"], given, began=self._clock.now())
        bucket = definition["artifactStores"][0]["location"]
        execution.actions.append(action)
        self._tell_action(execution, action, "STARTED")
        self.watch(execution, action)
        run = getattr(self, f"_{given['provider'].lower()}", None)
        try:
            # CP reference-variables: "variables cannot be used in source actions"
            source = given["category"] == "Source"
            configuration = given.get("configuration", {})
            action.configuration = {k: v if source else self._resolved(execution, v) for k, v in configuration.items()}
            action.inputs = {name: (bucket, execution.artifacts[name]) for name in given.get("inputArtifacts", [])}
            if run is None:
                raise ActionFailed(f"not in the stand-in: {given['provider']}")
            variables = run(execution, action, definition["roleArn"], bucket)
        except (ActionFailed, ClientError) as e:
            if action.status != "Abandoned":
                action.status, action.message = "Failed", str(e)
            raise ActionFailed(str(e)) from e
        else:
            if action.status == "Abandoned":
                return
            action.status = "Succeeded"
            if "namespace" in given:
                execution.variables |= {f"{given['namespace']}.{k}": v for k, v in variables.items()}
        finally:
            if action.status != "Abandoned":
                action.ended = self._clock.now()
                self._tell_action(execution, action, action.status.upper())
            self.watch(execution, action)

    def _resolved(self, execution: Execution, value: str) -> str:
        """CP reference-variables. A value is substituted as it is, in JSON too: aws/aws-cdk 8458, 31213."""
        known = {**execution.variables, "codepipeline.PipelineExecutionId": execution.id}

        def look_up(match: re.Match[str]) -> str:
            if match.group(1) not in known:
                raise ActionFailed(f"Variable {match.group()} is not known: no action before has it")
            return known[match.group(1)]

        return re.sub(r"#\{([\w.@-]+)\}", look_up, value)

    # The API of executions: CP pipelines-stop, APIReference/API_StopPipelineExecution, API_GetPipelineExecution

    def stop_pipeline_execution(self, params: Params) -> Params:
        """Waits for the action in progress and starts no other, or abandons it: then the result of its job is rejected.

        What an abandoned action has started, such as a function or a build, continues. UNCONFIRMED: that the stage of
        an execution that is being stopped has the status STOPPING.
        """
        execution, abandon = self._execution(params), params.get("abandon", False)
        with self._stages:
            if execution.ended or execution.status not in ("InProgress", "Stopping"):
                message = f"The pipeline execution is {execution.status}."
                raise AwsError("PipelineExecutionNotStoppableException", message)
            if execution.stop and not abandon:
                message = "The pipeline execution is already in a Stopping state."
                raise AwsError("DuplicatedStopRequestException", message)
            execution.stop, execution.status = "abandon" if abandon else "wait", "Stopping"
            execution.message = params.get("reason", "")
            current = [action for action in execution.actions if action.status == "InProgress"]
            for action in current if abandon else []:
                action.status, action.ended = "Abandoned", self._clock.now()
            self._stages.notify_all()
        self._tell(execution, "STOPPING")
        if abandon or not execution.attempts:
            for action in current:
                self._leave(execution, action.stage)
                self._tell_action(execution, action, "ABANDONED")
            self._end(execution, "Stopped")
        return {"pipelineExecutionId": execution.id}

    def get_pipeline_execution(self, params: Params) -> Params:
        execution = self._execution(params)
        shown: Params = {"pipelineName": execution.pipeline, "pipelineExecutionId": execution.id, "pipelineVersion": 1}
        shown |= {"status": execution.status, "statusSummary": execution.message}
        shown["executionMode"] = self._pipeline(execution.pipeline).inputs.get("executionMode", "SUPERSEDED")
        shown["trigger"] = dict(zip(("triggerType", "triggerDetail"), execution.trigger, strict=True))
        # UNCONFIRMED: that variables with their default value are listed too.
        declared = [v["name"] for v in self._pipeline(execution.pipeline).inputs.get("variables", [])]
        shown["variables"] = [
            {"name": name, "resolvedValue": execution.variables[f"variables.{name}"]}
            for name in declared
            if f"variables.{name}" in execution.variables
        ]
        return {"pipelineExecution": shown}

    def _execution(self, params: Params) -> Execution:
        name, id = self._pipeline(params["pipelineName"]).inputs["name"], params["pipelineExecutionId"]
        found = [e for e in self.executions if (e.pipeline, e.id) == (name, id)]
        if not found:
            raise AwsError("PipelineExecutionNotFoundException", "The pipeline execution could not be found.")
        return found[0]

    # The API of history

    def list_pipeline_executions(self, params: Params) -> Params:
        name = self._pipeline(params["pipelineName"]).inputs["name"]
        found = [
            {
                "pipelineExecutionId": execution.id,
                "status": execution.status,
                "startTime": execution.began,
                "lastUpdateTime": execution.ended or self._clock.now(),
                "trigger": dict(zip(("triggerType", "triggerDetail"), execution.trigger, strict=True)),
            }
            for execution in reversed(self.executions)
            if execution.pipeline == name
        ]
        start = int(params.get("nextToken", 0))
        end = start + params.get("maxResults", 100)
        more = {"nextToken": str(end)} if end < len(found) else {}
        return {"pipelineExecutionSummaries": found[start:end], **more}

    def list_action_executions(self, params: Params) -> Params:
        wanted = params.get("filter", {}).get("pipelineExecutionId")
        self._pipeline(params["pipelineName"])
        seen = self._clock.now() - self.history_lag

        def known(action: Action) -> bool:
            """Whether the history shows its end."""
            return action.status != "InProgress" and action.ended <= seen

        return {
            "actionExecutionDetails": [
                {
                    "pipelineExecutionId": execution.id,
                    "actionExecutionId": action.id,
                    "stageName": action.stage,
                    "actionName": action.name,
                    "status": action.status if known(action) else "InProgress",
                    "startTime": action.began,
                    "lastUpdateTime": action.ended if known(action) else action.began,
                    "input": {
                        "actionTypeId": {k: action.given[k] for k in ("category", "owner", "provider", "version")},
                        "configuration": action.given.get("configuration", {}),
                        "resolvedConfiguration": action.configuration,
                        "inputArtifacts": [
                            {"name": name, "s3location": {"bucket": bucket, "key": key}}
                            for name, (bucket, key) in action.inputs.items()
                        ],
                    },
                    "output": {
                        "executionResult": {"externalExecutionSummary": action.message if known(action) else ""}
                    },
                }
                for execution in reversed(self.executions)
                if execution.pipeline == params["pipelineName"] and wanted in (None, execution.id)
                for action in reversed(execution.actions)
                if action.began <= seen
            ]
        }


def within(cron: str, now: datetime) -> bool:
    """Whether a time matches a cron expression: CP rule-reference-DeploymentWindow.

    Seconds, minutes, hours, days of the month, months, days of the week, and optionally years. Not here: L, W, #.
    """
    values = [0, now.minute, now.hour, now.day, now.month, now.isoweekday() % 7 + 1, now.year]
    names = ["", "", "", "", MONTHS, DAYS, ""]
    fields = cron.upper().split()
    if not 6 <= len(fields) <= 7:
        raise ActionFailed(f"A cron expression has 6 or 7 fields: {cron}")
    return all(
        any(_names(part, value, named.split()) for part in text.split(","))
        for text, value, named in zip(fields, values, names, strict=False)
    )


def _names(part: str, value: int, names: list[str]) -> bool:
    text, _, step = part.partition("/")
    low, _, high = text.partition("-")
    first, last = (str(names.index(end) + 1) if end in names else end for end in (low, high))
    if low in ("*", "?"):
        first, last = "0", "9999"
    elif step and not last:
        last = "9999"
    return int(first) <= value <= int(last or first) and (value - int(first)) % int(step or 1) == 0
