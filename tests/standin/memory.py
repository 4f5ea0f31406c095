"""An AWS account in memory, on a fake clock: the stand-in's own rules without HTTP, threads, processes or a registry.

Clients of boto3 are real except for their `_make_api_call`: parameters and responses are checked against botocore's
model, errors are the client's own classes, paginators work. Each actor (an execution of a pipeline, an invocation of
a function, a user who runs `pulumi up`) is a greenlet. At each call and each sleep another may continue; a test
decides at which call of which actor something happens (`Account.at`). Everything is deterministic.
"""

import json
import os
import sys
import traceback
import types
import urllib.error
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from email.message import Message
from functools import cache
from io import BytesIO
from typing import Any, cast
from unittest import mock

import boto3
from botocore import xform_name
from botocore.client import BaseClient
from botocore.config import Config
from botocore.validate import ParamValidator
from greenlet import getcurrent, greenlet

from standin.actions import Action, ActionFailed, Execution, zipped
from standin.api import ACCOUNT, REGION, Api, AwsError, Call, Params
from standin.clock import Clock
from standin.cloudwatch import CloudWatch
from standin.codebuild import Build, CodeBuild
from standin.codedeploy import CodeDeploy
from standin.dynamodb import DynamoDb
from standin.ecr import MEDIA_TYPES, Ecr, _digest
from standin.ecs import Autoscaling, Ecs
from standin.elb import Elb
from standin.events import Events
from standin.executor import CodePipeline
from standin.functions import Functions
from standin.lambdas import FUNCTION, FunctionError, Lambdas
from standin.provider import Aws, Resource

REGISTRY = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
CALL_SECONDS = 0.02
"""Parameters of a call."""
ENDLESS = 400_000
"""Turns of the scheduler after which a schedule is considered endless."""


class Killed(BaseException):
    """The process that runs a function was killed."""


class Stopped(BaseException):
    """The execution was stopped."""


class Stuck(AssertionError):
    """All processes wait for each other, or never end."""


# Processes


class Process:
    """An actor with a greenlet of its own."""

    def __init__(self, scheduler: "Scheduler", label: str, work: Callable[[], object], order: int) -> None:
        self.greenlet = greenlet(self._work, scheduler.hub)
        self.greenlet.process = self
        self.scheduler, self.label, self.order = scheduler, label, order
        self.wake = scheduler.clock.now()
        self.ready: Callable[[], bool] | None = None
        """What it waits for, other than a time."""
        self.stalled = False
        """Whether it has stalled without a condition of its own, and continues once all others wait for it."""
        self.deadline = float("inf")
        """When Lambda ends its invocation."""
        self.result: object = None
        self.error: BaseException | None = None
        self._do = work

    @property
    def dead(self) -> bool:
        return bool(self.greenlet.dead)

    def _work(self) -> None:
        try:
            self.result = self._do()
        except (Exception, Killed, Stopped) as e:
            self.error = e


class Scheduler:
    """Runs one process at a time, and advances the clock when all of them wait."""

    def __init__(self, clock: "VirtualClock") -> None:
        self.clock, self.hub, self._orders = clock, getcurrent(), 0
        self.processes: list[Process] = []
        self.passed: Callable[[], None] = lambda: None
        """Called after each advance of the clock."""

    def spawn(self, label: str, work: Callable[[], object]) -> Process:
        self._orders += 1
        made = Process(self, label, work, self._orders)
        self.processes.append(made)
        return made

    def now_running(self) -> Process | None:
        process: Process | None = getattr(getcurrent(), "process", None)
        return process

    def wait(self, ready: Callable[[], bool], stalled: bool = False) -> None:
        """Waits for a condition. Outside of a process nothing else can fulfill it."""
        process = self.now_running()
        assert process, "only a process can wait"
        process.ready, process.stalled = ready, stalled
        self.hub.switch()
        process.ready, process.stalled = None, False

    def sleep(self, seconds: float) -> None:
        process = self.now_running()
        if process is None:
            self.clock.advance(seconds)
            return
        process.wake = self.clock.now() + seconds
        self.hub.switch()

    def run(self, until: float = float("inf")) -> None:
        """Runs until all have ended, or until that time."""
        for _ in range(ENDLESS):
            self.processes = [p for p in self.processes if not p.dead]
            now = self.clock.now()
            ready = [p for p in self.processes if (p.ready() if p.ready else p.wake <= now)]
            if ready:
                min(ready, key=lambda p: (p.wake, p.order)).greenlet.switch()
                continue
            moments = [p.wake for p in self.processes if p.ready is None]
            if moments and min(moments) <= until:
                self.clock.advance(min(moments) - now)
                self.passed()
            elif stalled := [p for p in self.processes if p.stalled]:
                stalled[0].ready = lambda: True
            elif self.processes and until == float("inf"):
                raise Stuck(f"all processes wait for each other: {[p.label for p in self.processes]}")
            else:
                if until != float("inf"):
                    self.clock.advance(max(until - now, 0))
                before = len(self.processes)
                self.passed()
                if len(self.processes) == before:
                    return
        raise Stuck(f"these processes do not end: {[p.label for p in self.processes]}")


class VirtualClock(Clock):
    def __init__(self) -> None:
        super().__init__()
        self.scheduler = Scheduler(self)

    def now(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += seconds

    def sleep(self, seconds: float) -> None:
        self.scheduler.sleep(seconds)


# Clients


class _Body(BytesIO):
    """The body of an object, as a client returns it."""


@cache
def _model_of(client: BaseClient, operation: str) -> Any:
    return client.meta.service_model.operation_model(operation)


@cache
def _timestamps(shape: Any) -> Any:
    """Where a response has times, which clients return as datetimes; None if it has none."""
    return _find_timestamps(shape, ())


def _find_timestamps(shape: Any, above: tuple[str, ...]) -> Any:
    if shape is None or shape.name in above:
        return None
    if shape.type_name == "timestamp":
        return "time"
    if shape.type_name == "structure":
        found = {name: _find_timestamps(s, (*above, shape.name)) for name, s in shape.members.items()}
        return {name: inner for name, inner in found.items() if inner} or None
    if shape.type_name == "list":
        inner = _find_timestamps(shape.member, (*above, shape.name))
        return [inner] if inner else None
    return None


def _with_datetimes(answer: Any, where: Any) -> Any:
    if where == "time":
        return answer if hasattr(answer, "timestamp") else _datetime(answer)
    if isinstance(where, list):
        return [_with_datetimes(each, where[0]) for each in answer]
    return {name: _with_datetimes(value, where[name]) if name in where else value for name, value in answer.items()}


def _datetime(seconds: float) -> Any:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC)


def _seconds(value: Any) -> Any:
    """Parameters as the stand-in expects them: times are seconds."""
    if isinstance(value, dict):
        return {key: _seconds(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_seconds(each) for each in value]
    return value.timestamp() if hasattr(value, "timestamp") else value


@cache
def _tokens(shape: Any) -> tuple[str, ...]:
    """Parameters that the SDK generates if they are not given."""
    return tuple(n for n, s in shape.members.items() if s.metadata.get("idempotencyToken")) if shape else ()


def _check(what: str, values: Params, shape: Any) -> None:
    """Checks values against botocore's model, once for each form: the check takes longer than all else. After many
    values with the same names, even the form is computed for every tenth only; a name that is new is always checked."""
    names = what, *values
    _seen[names] += 1
    if _seen[names] > 300 and _seen[names] % 10:
        return
    form = shape.name, _form(values)
    if form in _checked:
        return
    if (problems := _validator.validate(values, shape)).has_errors():
        raise AssertionError(f"{what} {problems.generate_report()}")
    _checked.add(form)


def _form(value: Any) -> Any:
    """Names and types, without values."""
    if isinstance(value, dict):
        return tuple([(name, _form(each)) for name, each in value.items()])
    if isinstance(value, list | tuple):
        return frozenset([_form(each) for each in value])
    return type(value)


_checked: set[Any] = set()
_seen: Counter[tuple[str, ...]] = Counter()
current: "Account | None" = None
"""The account that this process's clients and clock belong to."""
_real_client = boto3.client
_validator = ParamValidator()


@cache
def _client(service: str, retried: bool) -> Any:
    # `total_max_attempts` of 1 is no retries.
    retries: Any = {"mode": "standard", "total_max_attempts": 6 if retried else 1}
    made = _real_client(
        service,
        region_name=REGION,
        aws_access_key_id="A",
        aws_secret_access_key="S",
        config=Config(retries=retries, ignore_configured_endpoint_urls=True),
    )
    made.standin_retried = retried
    return made


def client(service: str, config: Any = None, **_: Any) -> Any:
    """As `boto3.client`; cached, because creating a client is slow."""
    retries = (getattr(config, "retries", None) or {}) if config else {}
    return _client(service, retries.get("total_max_attempts", 2) > 1)


def _make_api_call(self: BaseClient, operation_name: str, api_params: Params) -> Params:
    assert current, "no account is in use"
    return current.call(self, operation_name, api_params)


@contextmanager
def installed(package: str = "slipway.release.function") -> Iterator[None]:
    """Gives the modules of a function the clients, clock and output of the current account."""
    clock = types.SimpleNamespace(time=_now, sleep=_sleep)
    printed = types.SimpleNamespace(print_exc=lambda: _print(traceback.format_exc()))
    with ExitStack() as patched:
        patched.enter_context(mock.patch.object(BaseClient, "_make_api_call", _make_api_call))
        patched.enter_context(mock.patch.object(boto3, "client", client))
        for module in [vars(m) for name, m in list(sys.modules.items()) if name.startswith(f"{package}.")]:
            changed = {name: new for name, new in (("time", clock), ("traceback", printed)) if name in module}
            patched.enter_context(mock.patch.dict(module, {"print": _print, **changed}))
        yield


def _now() -> float:
    assert current
    return current.clock.now() + current.skew


def _sleep(seconds: float) -> None:
    assert current
    current.clock.sleep(seconds)
    current.alive()


def _print(*words: object) -> None:
    assert current
    current.log.append(f"{current.clock.now() - current.began:9.2f} {current.caller():8} {' '.join(map(str, words))}")


# Rules that depend on something outside the account


class _Recorder:
    """In place of Api: there is no HTTP."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.url = ""

    def credentials_for(self, role: str) -> dict[str, str]:
        return {"AWS_ACCESS_KEY_ID": role, "AWS_SECRET_ACCESS_KEY": "S", "AWS_SESSION_TOKEN": "T"}


class _Inside:
    """A client of one of AWS's services: nothing else can happen at its calls."""

    def __init__(self, account: "Account", service: str) -> None:
        self._account, self._client = account, _client(service, True)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if not callable(method):
            return method

        def call(**params: Any) -> Any:
            before, self._account.inside = self._account.inside, True
            try:
                return method(**params)
            finally:
                self._account.inside = before

        return call

    @property
    def meta(self) -> Any:
        return self._client.meta


class MemoryEcr(Ecr):
    """Images in memory: single manifests, and indexes of others."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(REGISTRY, clock)
        self.manifests: dict[str, dict[str, tuple[bytes, str]]] = {}
        self.tags: dict[str, dict[str, str]] = {}
        """By repository: digest of each tag."""

    def push(self, repository: str, tag: str, manifest: Params) -> str:
        """Does what `docker push` does; returns the digest."""
        body = json.dumps({"schemaVersion": 2, "mediaType": MEDIA_TYPES[0], **manifest}).encode()
        digest = _digest(body)
        kind = manifest.get("mediaType", MEDIA_TYPES[0])
        self.manifests.setdefault(repository, {})[digest] = body, kind
        if tag:
            self.tags.setdefault(repository, {})[tag] = digest
        self._pushed.setdefault(digest, self._clock.now())
        return digest

    def remove(self, repository: str, digest: str) -> None:
        del self.manifests[repository][digest]
        tags = self.tags.get(repository, {})
        self.tags[repository] = {tag: other for tag, other in tags.items() if other != digest}

    def _manifest(self, name: str, reference: str) -> tuple[bytes, str] | None:
        digest = reference if reference.startswith("sha256:") else self.tags.get(name, {}).get(reference, "")
        return self.manifests.get(name, {}).get(digest)

    def _tags(self, params: Params) -> dict[str, str]:
        return dict(sorted(self.tags.get(self._name(params), {}).items()))

    def _open(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Any:
        name, _, reference = path.partition("/manifests/")
        if method != "PUT" or body is None:
            raise urllib.error.HTTPError(path, 405, "not in the stand-in", Message(), None)
        self.manifests.setdefault(name, {})[_digest(body)] = body, (headers or {})["Content-Type"]
        if not reference.startswith("sha256:"):
            self.tags.setdefault(name, {})[reference] = _digest(body)


class S3:
    """Objects, with all their versions."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], list[bytes]] = {}

    def put_object(self, params: Params) -> Params:
        body = params.get("Body", b"")
        body = body.encode() if isinstance(body, str) else body if isinstance(body, bytes) else body.read()
        versions = self.objects.setdefault((params["Bucket"], params["Key"]), [])
        versions.append(body)
        return {"ETag": '"etag"', "VersionId": str(len(versions) - 1)}

    def get_object(self, params: Params) -> Params:
        versions = self.objects.get((params["Bucket"], params["Key"]), [])
        number = int(params.get("VersionId", len(versions) - 1))
        if not 0 <= number < len(versions):
            raise AwsError("NoSuchKey", "The specified key does not exist.", 404)
        return {"Body": _Body(versions[number]), "ETag": '"etag"', "VersionId": str(number)}

    def get_bucket_versioning(self, params: Params) -> Params:
        return {"Status": "Enabled"}


class MemoryBuilds(CodeBuild):
    """Builds that end after a minute with the result that a test sets, without a shell."""

    build_seconds = 60.0

    def batch_get_builds(self, params: Params) -> Params:
        for build in self._builds:
            over = self._clock.now() >= build.shown["startTime"] + self.build_seconds
            if over and not build.shown["buildComplete"]:
                self._finish(build)
        known = self.builds
        found = [known[id] for id in params["ids"] if id in known]
        lost = [id for id in params["ids"] if id not in known]
        return {"builds": found} | ({"buildsNotFound": lost} if lost else {})

    def _finish(self, build: Build) -> None:
        self._close(build, self.end(build.shown["projectName"]) or "SUCCEEDED")


class MemoryCodeDeploy(CodeDeploy):
    account: "Account"

    def _ecs(self, group: Params) -> Any:
        return _Inside(self.account, "ecs")


class MemoryLambdas(Lambdas):
    """Runs the function in this process, and ends the invocation at its timeout."""

    def __init__(self, account: "Account", handler: Callable[[Params, Any], Any]) -> None:
        self._account, self._handler = account, handler

    def invoke(self, name: str, event: dict[str, Any]) -> Any:
        account = self._account
        found = [r for r in account.aws.resources.values() if r.type == FUNCTION and r.inputs["name"] == name]
        if not found:
            raise RuntimeError(f"Function not found: {name}")
        timeout, process = float(found[0].inputs["timeout"]), account.scheduler.now_running()
        assert process, "functions run in processes"
        started, before = account.clock.now(), process.deadline
        process.deadline = started + timeout
        os.environ.update({"AWS_LAMBDA_FUNCTION_NAME": name, **found[0].inputs["environment"]["variables"]})
        # https://docs.aws.amazon.com/lambda/latest/dg/python-context.html
        left = lambda: int(1000 * (started + timeout - account.clock.now()))  # noqa: E731
        context = types.SimpleNamespace(function_name=name, get_remaining_time_in_millis=left)
        try:
            return self._handler(json.loads(json.dumps(event)), context)
        except Killed:
            _print("the invocation was killed")
            raise FunctionError('{"errorType": "Runtime.ExitError"}') from None
        except Exception as e:
            _print(f"the run raised {type(e).__name__}: {e}")
            raise FunctionError(json.dumps({"errorMessage": str(e), "errorType": type(e).__name__})) from e
        finally:
            process.deadline = before

    def close(self) -> None:
        pass


class MemoryEvents(Events):
    """An asynchronous event has a process of its own, which continues after its sender has ended."""

    account: "Account"

    def invoke(self, function: str, event: Params, done: Callable[[], bool] = lambda: False) -> str:
        """Like an action of a pipeline: it continues once its job has a result, or all attempts are over."""
        account, process = self.account, self.account.scheduler.now_running()
        label = process.label if process else "event"
        attempts = super().invoke if account.redelivered else self._once
        runs = [account.scheduler.spawn(label, lambda: attempts(function, event, done))]
        if account.twice:
            runs.append(account.scheduler.spawn("copy", lambda: attempts(function, event, done)))
        if process:
            account.scheduler.wait(lambda: done() or all(run.dead for run in runs) or account.is_stopped(process))
            if account.is_stopped(process):
                raise Stopped
        return "\n".join(str(run.result) for run in runs if run.dead and run.result)

    def _once(self, function: str, event: Params, done: Callable[[], bool]) -> str:
        try:
            self._lambdas.invoke(function, event)
        except FunctionError as e:
            return str(e)
        return ""


class MemoryPipelines(CodePipeline):
    """Executions that wait for each other without threads, and can be stopped."""

    account: "Account"

    def _as(self, role: str, service: str) -> Any:
        return _Inside(self.account, service)

    def _place(self, execution: Execution, name: str) -> str:
        return f"{execution.pipeline[:20]}/{name[:10]}/{execution.number}-{len(execution.actions)}"

    def _enter(self, execution: Execution, stage: str, mode: str) -> bool:
        key = execution.pipeline, stage
        waiting = self._waiting.setdefault(key, [])
        waiting.append(execution)
        if mode == "SUPERSEDED":
            waiting[:] = [max(waiting, key=lambda e: e.number)]

        def may_go_on() -> bool:
            first = execution not in waiting or execution is min(waiting, key=lambda e: e.number)
            return (first and key not in self._inside) or execution not in waiting or execution.status != "InProgress"

        if not may_go_on():
            self.account.scheduler.wait(may_go_on)
        if execution.status != "InProgress":
            if execution in waiting:
                waiting.remove(execution)
            raise Stopped
        if execution not in waiting:
            return False
        waiting.remove(execution)
        self._inside[key] = execution
        return True

    def stop(self, execution: Execution) -> None:
        """Stops and abandons: CP pipelines-stop. A running function is not stopped, but its result is rejected."""
        if execution.status != "InProgress":
            return
        for action in execution.actions:
            if action.status == "InProgress":
                action.status, action.ended = "Abandoned", self._clock.now()
        self._end(execution, "Stopped")

    def stop_pipeline_execution(self, params: Params) -> Params:
        self.stop(self._execution(params))
        return {"pipelineExecutionId": params["pipelineExecutionId"]}

    def get_pipeline_execution(self, params: Params) -> Params:
        found = self._execution(params)
        trigger = dict(zip(("triggerType", "triggerDetail"), found.trigger, strict=True))
        shown = {"pipelineName": found.pipeline, "pipelineExecutionId": found.id, "status": found.status}
        return {"pipelineExecution": shown | {"trigger": trigger}}

    def _execution(self, params: Params) -> Execution:
        self._pipeline(params["pipelineName"])
        for execution in self.executions:
            if (execution.pipeline, execution.id) == (params["pipelineName"], params["pipelineExecutionId"]):
                return execution
        raise AwsError("PipelineExecutionNotFoundException", "The pipeline execution could not be found.")

    def _act(self, execution: Execution, definition: Params, stage: str, given: Params) -> None:
        try:
            super()._act(execution, definition, stage, given)
        except ActionFailed:
            if execution.status != "InProgress":
                raise Stopped from None
            raise


# The account

How = str | Callable[[], None]
"""What happens at a call: "killed before", "killed after", "throttled", "fault after", "twice", or a function that
runs before the call."""


@dataclass
class TracedCall:
    """A call, for the trace."""

    caller: str
    number: int
    service: str
    operation: str
    time: float
    error: str = ""

    def __str__(self) -> str:
        return f"{self.time:9.2f} {self.caller:8} {self.number:3} {self.service}:{self.operation} {self.error}".rstrip()


@dataclass
class Account:
    """An empty account. `handler` is the entry point of its functions."""

    handler: Callable[[Params, Any], Any]
    at: dict[tuple[str, int], How] = field(default_factory=dict)
    """What happens at the n-th call (from 1) of the functions that an actor started."""
    redelivered: bool = True
    """Whether Lambda retries an event after a function has failed."""
    skew: float = 0
    """Seconds by which the clock of functions is ahead of AWS's."""
    twice: bool = False
    """Whether each event of an action is delivered twice at once."""

    def __post_init__(self) -> None:
        self.clock = VirtualClock()
        self.began, self.scheduler, self.inside = self.clock.now(), self.clock.scheduler, False
        self._tokens = 0
        self.log: list[str] = []
        self.traced: list[TracedCall] = []
        self.numbers: Counter[str] = Counter()
        self.executing: dict[Process, Execution] = {}
        recorder = cast(Api, _Recorder())
        self.aws = Aws({}, {}, REGISTRY)
        self.elb = Elb(self.clock, recorder.calls)
        self.ecr = MemoryEcr(self.clock)
        self.ecs = Ecs(self.clock, self.ecr.why_not_pulled, self.elb)
        self.autoscaling = Autoscaling(self.ecs)
        self.dynamodb = DynamoDb(self.clock)
        self.s3 = S3()
        self.lambdas = MemoryLambdas(self, self.handler)
        self.events = MemoryEvents(self.aws, recorder, self.clock, self.lambdas)
        self.codebuild = MemoryBuilds(self.aws, recorder, self.clock, self.events, {})
        self.codedeploy = MemoryCodeDeploy(recorder, self.clock, self.events, self.elb, lambda: self.ecs.alarms)
        of = self.aws, recorder, self.clock, self.lambdas, self.codebuild, self.events, REGISTRY
        self.codepipeline = MemoryPipelines(*of)
        self.codepipeline.poll_seconds = 60.0  # CodeDeploy's hour is long
        self.events.account = self.codedeploy.account = self.codepipeline.account = self
        self.services: dict[str, object] = {
            "ecs": self.ecs,
            "logs": self.ecs.logs,
            "ecr": self.ecr,
            "application-autoscaling": self.autoscaling,
            "codepipeline": self.codepipeline,
            "codebuild": self.codebuild,
            "codedeploy": self.codedeploy,
            "dynamodb": self.dynamodb,
            "lambda": Functions(self.aws),
            "s3": self.s3,
            "cloudwatch": CloudWatch(self.aws, self.ecs),
        }

    def use(self) -> None:
        """Makes this account the current one, for clients and clock."""
        global current
        current = self

    def shared(self) -> list[object]:
        """What a copy of this account shares with it; no process may be running."""
        locks: list[Any] = [self.ecs.lock, self.dynamodb._lock, self.codedeploy._lock, self.codebuild._lock]
        locks += [self.codebuild._counting, self.events._delivering]
        return [*locks, self.clock._lock, self.codepipeline._stages, self.scheduler.hub, self.handler]

    def ended(self) -> list[Iterator[Any]]:
        """The stages of all deployments that have ended are in the same, final state."""
        services = self.ecs._services.values()
        stages = [d.stages._steps for s in services for d in s.deployments if d.stages and not d.ongoing]
        return [*stages, *(d.steps for d in self.codedeploy.deployments if not d.active)]

    def put(self, type: str, name: str, inputs: Params, **outputs: Any) -> Resource:
        """Adds a resource without Pulumi."""
        urn = f"urn:{type}::{name}"
        arn = outputs.pop("arn", f"arn:aws:{name}")
        made = Resource(urn, type, name, {"name": name, **inputs}, {"arn": arn, "name": name, **inputs, **outputs})
        self.aws.resources[urn] = made
        return made

    # Calls

    def caller(self) -> str:
        process = self.scheduler.now_running()
        return process.label if process else "-"

    def alive(self) -> None:
        """https://docs.aws.amazon.com/lambda/latest/dg/configuration-timeout.html"""
        process = self.scheduler.now_running()
        if process and self.clock.now() > process.deadline:
            raise Killed

    def is_stopped(self, process: Process) -> bool:
        execution = self.executing.get(process)
        return execution is not None and execution.status == "Stopped"

    def call(self, client: BaseClient, operation: str, params: Params) -> Params:
        """Performs the call of a client's method."""
        model, service = _model_of(client, operation), client.meta.service_model.service_name
        for token in _tokens(model.input_shape):
            self._tokens += 1
            params = {token: f"token-{self._tokens}", **params}
        _check(f"{service}:{operation} is called with", params, model.input_shape)
        params = params if service == "s3" else _seconds(params)
        if self.inside:
            return self._effect(client, model, service, params)
        how, made = self._point(service, operation)
        try:
            if how == "killed before":
                raise Killed
            if how == "throttled":
                raise _error(client, operation, AwsError("ThrottlingException", "Rate exceeded"))
            self.clock.advance(CALL_SECONDS)
            answer = self._effect(client, model, service, params)
            if how == "twice" and client.standin_retried:
                self.clock.advance(CALL_SECONDS)
                answer = self._effect(client, model, service, params)
            if how == "killed after":
                raise Killed
            if how == "fault after":
                raise _error(client, operation, AwsError("InternalFailure", "An internal error occurred", 500))
            return answer
        except BaseException as e:
            made.error = type(e).__name__ + (f": {e}" if str(e) else "")
            raise

    def _point(self, service: str, operation: str) -> tuple[How | None, TracedCall]:
        caller = self.caller()
        self.numbers[caller] += 1
        number = self.numbers[caller]
        how = self.at.get((caller, number))
        if how is not None and not isinstance(how, str):
            how()
            how = None
        self.alive()
        made = TracedCall(caller, number, service, operation, self.clock.now() - self.began)
        self.traced.append(made)
        return how, made

    def _effect(self, client: BaseClient, model: Any, service: str, params: Params) -> Params:
        method = getattr(self.services.get(service), xform_name(model.name), None)
        assert method, f"not in the stand-in: {service}:{model.name}"
        try:
            answer = method(params)
        except AwsError as e:
            raise _error(client, model.name, e) from None
        if model.output_shape is None:
            return {}
        _check(f"{service}:{model.name} answers", answer, model.output_shape)
        where = _timestamps(model.output_shape)
        found: Params = _with_datetimes(answer, where) if where else answer
        return found

    # Actions of users

    def start(self, label: str, pipeline: str, **given: Any) -> tuple[Process, Execution]:
        """Starts an execution of a pipeline."""
        execution = self.codepipeline._begin(pipeline, **given)
        return self._execute(label, execution, lambda: self.codepipeline._run(execution, 0)), execution

    def retry(self, label: str, execution: Execution, stage: str) -> Process:
        return self._execute(label, execution, lambda: self.codepipeline.retry(execution, stage))

    def _execute(self, label: str, execution: Execution, run: Callable[[], object]) -> Process:
        process = self.scheduler.spawn(label, run)
        self.executing[process] = execution
        return process

    def stall(self, until: Callable[[], bool]) -> None:
        """Stalls the current process until something is true, or its time is almost over."""
        process = self.scheduler.now_running()
        assert process
        # Time passes for the others; without others it does not.
        self.scheduler.wait(lambda: until() or self.clock.now() >= process.deadline - 5, stalled=True)

    def trace(self) -> str:
        """All calls and printed lines, in order."""
        lines = [str(made) for made in self.traced] + self.log
        return "\n".join(sorted(lines, key=lambda line: float(line.split()[0])))


def _error(client: BaseClient, operation: str, error: AwsError) -> Exception:
    """The error as a client raises it."""
    parsed = {"Error": {"Code": error.code, "Message": error.message}, **error.more}
    parsed["ResponseMetadata"] = {"HTTPStatusCode": error.status, "RequestId": "0", "RetryAttempts": 0}
    made: Exception = client.exceptions.from_code(error.code)(parsed, operation)
    return made


def source_zip(container: str, image: str) -> bytes:
    """The artifact of a build: CP file-reference."""
    return zipped({"imagedefinitions.json": json.dumps([{"name": container, "imageUri": image}]).encode()})


__all__ = ["Account", "Action", "Killed", "Process", "Stuck", "installed", "source_zip"]
