"""Data that the program exchanges with its functions, and one invocation of a function with the next.

Both sides import this module, so each name and format is defined once. It needs only the standard library. Reading is
tolerant, because during an upgrade an older side exchanges data with a newer one: unknown keys are ignored, and missing
ones take their defaults.
"""

from __future__ import annotations

import hashlib
import json
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from enum import StrEnum
from functools import cache, partial
from typing import Any, Self, TypeVar

T = TypeVar("T")

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
IMAGE_PLACEHOLDER = "IMAGE1_NAME"
"""Placeholder for the image in the task definition that CodePipeline registers for CodeDeploy, as `<IMAGE1_NAME>`."""
JOB = "job"
"""Partition key, in the release state table, of the items that hold the released task definition of each job. The sort
key is the name of the job, and the attribute `taskDefinition` is the ARN."""
JOB_TIMED_OUT = "JobTimedOut"
"""Error of a run of a job that took too long."""


@dataclass(frozen=True)
class Image:
    """An image by digest, `<repository>@sha256:<64 hexadecimal digits>`."""

    repository: str
    digest: str

    @classmethod
    def parse(cls, uri: str) -> Self:
        """Raises ValueError for anything but a repository with a digest."""
        repository, _, digest = uri.partition("@")
        if not repository or not DIGEST.fullmatch(digest):
            raise ValueError(f"an image must be <repository>@sha256:<64 hexadecimal digits>, got {uri!r}")
        return cls(repository, digest)

    def __str__(self) -> str:
        return f"{self.repository}@{self.digest}"


# Between the program and the function

WEB = "web"
"""The process that has the name of the service itself. A service without further processes has only this one."""
MIGRATION = "migration"
"""What the log streams of migrations begin with."""


@dataclass(frozen=True)
class FunctionEnvironment:
    """Environment variables of the release function. Each has the name of its field, in capitals."""

    cluster: str
    service: str
    family: str
    """Family of the released task definitions."""
    container: str
    """Container whose image a release replaces."""
    environment: str
    repository_url: str
    keep_verified: int
    table: str
    """DynamoDB table with the release state."""
    settings_sha256: str
    """Hash of the settings that Pulumi wrote last. A principal that can only invoke the function cannot change it."""
    service_url: str = ""
    codedeploy_group: str = ""
    """CodeDeploy application and deployment group, if CodeDeploy replaces the tasks."""

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> Self:
        known = {f.name: variables[f.name.upper()] for f in fields(cls) if f.name.upper() in variables}
        return decode(cls, {**known, "keep_verified": int(known.get("keep_verified", "1"))})


@dataclass(frozen=True)
class Settings:
    """The settings of a service, which Pulumi owns: everything except its image."""

    template: str
    """ARN of the task definition that each release copies, except for the image."""
    minimum: int
    """Minimum number of tasks."""
    maximum: int
    """Maximum number of tasks. Above the minimum if the service scales automatically."""
    deadline_minutes: int
    """Minutes that a deployment may take, not counting the time for which ECS watches alarms."""
    subnets: list[str]
    security_groups: list[str]
    """Security groups of the tasks."""
    load_balancers: list[dict[str, Any]]
    """The target group of each port with its container, in UpdateService's format. If ECS shifts traffic, also the
    alternate target group, the rules and the role. Empty for a worker."""
    target_groups: list[str]
    """The two target groups of each port, one of which receives the traffic."""
    deployment: dict[str, Any]
    """`deploymentConfiguration` in UpdateService's format; empty if CodeDeploy replaces the tasks."""
    availability_zone_rebalancing: str
    processes: list[Process] = field(default_factory=list)
    """The processes besides `web`, which the fields above describe."""
    order: list[list[str]] = field(default_factory=list)
    """The names of all processes in the groups in which they are released. Empty if there is only `web`."""
    migration: MigrationTask | None = None
    jobs: list[JobTask] = field(default_factory=list)
    assign_public_ip: bool = False
    """Whether the tasks get public IP addresses, since their subnets have no other way out."""
    capacity: list[dict[str, Any]] = field(default_factory=list)
    """`capacityProviderStrategy` in UpdateService's format; empty for the launch type FARGATE."""
    service_connect: dict[str, Any] = field(default_factory=dict)
    """`serviceConnectConfiguration` in UpdateService's format; empty without Service Connect."""

    @property
    def network(self) -> dict[str, Any]:
        """`awsvpcConfiguration` of the tasks, in UpdateService's format."""
        return awsvpc(self.subnets, self.security_groups, self.assign_public_ip)

    @property
    def pairs(self) -> list[list[str]]:
        """The two target groups of each of the load balancers."""
        return [self.target_groups[at : at + 2] for at in range(0, len(self.target_groups), 2)]

    @property
    def sha256(self) -> str:
        return sha256(settings_text(encode(self)))

    @property
    def total_minutes(self) -> int:
        """Minutes that the deployments of a release may take: groups follow each other."""
        minutes = {WEB: self.deadline_minutes, **{p.name: p.settings.deadline_minutes for p in self.processes}}
        return sum(max(minutes[name] for name in group) for group in self.order or [[WEB]])

    @property
    def scales(self) -> bool:
        return self.maximum > self.minimum

    @property
    def shifts_traffic(self) -> bool:
        """Whether ECS uses a strategy other than rolling."""
        return bool(self.deployment.get("strategy", "ROLLING") != "ROLLING")


@dataclass(frozen=True)
class Process:
    """A process besides `web`: an ECS service of its own."""

    name: str
    service: str
    """Name of its ECS service, and family of its released task definitions."""
    settings: Settings


@dataclass(frozen=True)
class MigrationTask:
    """The task that runs once with each image before the image gets traffic."""

    template: str
    """ARN of the task definition that each migration copies, except for the image."""
    family: str
    timeout_minutes: int
    """Minutes after which the task is stopped, and has failed."""
    log_group: str
    log_prefix: str
    """What the names of its log streams begin with."""
    capacity: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class JobTask:
    """The task of a scheduled job, which runs with the last verified image."""

    name: str
    template: str
    """ARN of the task definition that its revisions copy, except for the image."""
    family: str


def awsvpc(subnets: list[str], security_groups: list[str], assign_public_ip: bool) -> dict[str, Any]:
    """https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_AwsVpcConfiguration.html"""
    public = "ENABLED" if assign_public_ip else "DISABLED"
    return {"subnets": subnets, "securityGroups": security_groups, "assignPublicIp": public}


def settings_text(settings: object) -> str:
    """The text of settings for hashing and storing: equal settings have equal text."""
    return json.dumps(settings, sort_keys=True)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Rollout:
    """The payload of an invocation by `pulumi up`: the settings, and which of several invocations this is."""

    settings: dict[str, Any]
    part: int = 1
    parts: int = 1


class Step(StrEnum):
    """The step that a pipeline action requests from a function."""

    INSPECT = "inspect"
    PREPARE = "prepare"
    DEPLOY = "deploy"
    SCAN = "scan"


@dataclass(frozen=True)
class UserParameters:
    """`UserParameters` of an action that invokes a function, as JSON."""

    step: str
    pipeline: str
    execution: str
    commit: str
    """The revision from the source action: a commit ID, or the equivalent for another source."""
    digest: str | None = None
    """Digest that was approved or passed the scan gate; None without either."""
    tests: str | None = None
    """CodeBuild project that tests the release."""


class Exported(StrEnum):
    """Output variables of the function's actions."""

    IMAGE_URI = "IMAGE_URI"
    IMAGE_DIGEST = "IMAGE_DIGEST"
    COMMIT_ID = "COMMIT_ID"
    LIVE_DIGEST = "LIVE_DIGEST"
    LIVE_COMMIT_ID = "LIVE_COMMIT_ID"


TEST_VARIABLES = ("COMMIT_ID", "ENVIRONMENT", "IMAGE_DIGEST", "PIPELINE_EXECUTION_ID", "SERVICE_URL")
"""Environment variables of the tests of a stage."""


# Between one run of the function and the next


class Phase(StrEnum):
    """The phase of a release. The transitions are in release.py."""

    MIGRATING = "migrating"
    DEPLOYING = "deploying"
    TESTING = "testing"
    VERIFIED = "verified"
    ROLLING_BACK = "rolling back"
    FAILED = "failed"


@dataclass(frozen=True)
class Claim:
    """The record that a pipeline action is releasing an image. It is active until its phase is verified, rolling back
    or failed, and while its action is in progress, so whatever ends the action also ends the claim."""

    image: Image
    commit: str
    execution: str
    pipeline: str
    action: str
    """`actionExecutionId`. A retry of a stage keeps the execution ID, but has new action IDs."""
    began: float
    """When the action began, by CodePipeline's clock."""
    phase: Phase = Phase.DEPLOYING
    since: float = 0
    """When the phase began, by the function's clock. The duration is measured from here."""
    after: float = 0
    """When the newest deployment before this phase was created, by the clock of ECS or CodeDeploy. A later deployment
    that fails is this phase's failure; an earlier one is retried."""
    fallback: str = ""
    """Task definition with which the last verified image ran when the release began."""
    fallbacks: dict[str, str] = field(default_factory=dict)
    """The same for the other processes, by name."""
    stage: str = ""
    """Stage of the pipeline, if several of its actions release the image one after the other (CodeDeploy)."""
    build: str = ""
    """ID of the CodeBuild build that tests the release, once it has started."""
    reason: str = ""
    """Why the release failed."""
    who: str = ""
    """Who or what started the execution."""
    replaced: str = ""
    """Digest that was verified when the release began."""

    @property
    def active(self) -> bool:
        return self.phase in (Phase.MIGRATING, Phase.DEPLOYING, Phase.TESTING)

    @property
    def deploys(self) -> bool:
        """Whether its image is the one that should run."""
        return self.phase in (Phase.DEPLOYING, Phase.TESTING)


@dataclass(frozen=True)
class Migration:
    """One attempt to migrate, written before its task is started. It outlives its release, because the next one must
    not begin while its task is running."""

    image: Image
    action: str
    """`actionExecutionId` of the release, and the client token of RunTask: each action makes one attempt."""
    intended: float
    """When it was written."""
    definition: str
    subnets: list[str]
    security_groups: list[str]
    task: str = ""
    """ARN of the task, once that is known."""
    started: float = 0
    """When the task was known; its minutes and its first appearance count from then. 0 in the state of an older
    function."""
    ended: bool = False
    succeeded: bool = False
    reason: str = ""
    """What became of it."""
    assign_public_ip: bool = False
    capacity: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Verified:
    """The last verified image, and the digests verified before it."""

    image: Image
    commit: str
    execution: str = ""
    slots: list[tuple[str, int]] = field(default_factory=list)
    """The last verified digests, newest first, each with the number of the tag that keeps it from expiring."""
    processes: list[str] = field(default_factory=list)
    """The processes besides `web` that have run with the image."""


@dataclass(frozen=True)
class State:
    """The release state of an environment, stored as one item of its table: each read is a snapshot."""

    version: int = 0
    settings: Settings | None = None
    claim: Claim | None = None
    verified: Verified | None = None
    rollout_after: float = 0
    """Like `Claim.after`, for the latest `pulumi up`."""
    live_settings: str = ""
    """Hash of the settings that a `pulumi up` last saw live. A run that finds older settings deploys these again."""
    bounds: tuple[int, int] | None = None
    """The scaling bounds of `web` that were set last. Somebody may have changed them since."""
    other_bounds: dict[str, tuple[int, int]] = field(default_factory=dict)
    """The same for the other processes, by name."""
    restart_after: float | None = None
    """Set while a restart is requested, for example because a secret has changed: tasks of deployments up to this time,
    by the clock of ECS or CodeDeploy, are to be replaced."""
    migration: Migration | None = None
    """The last attempt to migrate."""
    migrated: list[str] = field(default_factory=list)
    """The last digests whose migration succeeded, newest first. It is not run for them again."""


# Reading and writing JSON


def encode(value: Any) -> Any:
    """A value of this module as plain JSON types."""
    if isinstance(value, Image):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: encode(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, list | tuple):
        return [encode(each) for each in value]
    if isinstance(value, dict):
        return {key: encode(each) for key, each in value.items()}
    return value


def decode(kind: type[T], value: object) -> T:
    """A value of this module from plain JSON types. Raises ValueError if it is invalid."""
    decoder: Callable[[Any], T] = _decoder(typing.cast(Any, kind))
    decoded = decoder(value)
    return decoded


def document(kind: type, /, **values: Any) -> dict[str, Any]:
    """The JSON object for a `kind`. Its values may be Outputs.

    Raises TypeError for an unknown or a missing name.
    """
    names = {f.name for f in fields(kind)}
    needed = {f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING}
    if not needed <= values.keys() <= names:
        raise TypeError(f"{kind.__name__} has the fields {sorted(names)}, got {sorted(values)}")
    return values


def variables(**values: Any) -> dict[str, Any]:
    """Environment variables of the release function. The values may be Outputs."""
    return {name.upper(): value for name, value in document(FunctionEnvironment, **values).items()}


@cache
def _decoder(kind: Any) -> Callable[[Any], Any]:
    """The decoder from plain JSON types to a `kind`. It is cached, since the state is read often."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        inner = _decoder(next(each for each in arguments if each is not type(None)))
        return lambda value: None if value is None else inner(value)
    if kind is Image:
        return lambda value: Image.parse(_of_type(str, value))
    if is_dataclass(kind) and isinstance(kind, type):
        return partial(_decode_fields, kind)
    if origin is list:
        item = _decoder(arguments[0])
        return lambda value: [item(each) for each in _of_type(list, value)]
    if origin is tuple:
        items = [_decoder(each) for each in arguments]
        return partial(_decode_tuple, items)
    if origin is dict and arguments[1] is not Any:
        item = _decoder(arguments[1])
        return lambda value: {key: item(each) for key, each in _of_type(dict, value).items()}
    if origin is dict or kind is Any:
        return partial(_of_type, dict if origin is dict else object)
    if issubclass(kind, StrEnum):
        return partial(_enum, kind)
    return partial(_of_type, kind)


def _enum(kind: type[StrEnum], value: Any) -> StrEnum:
    return kind(value)


def _of_type(kind: type, value: Any) -> Any:
    if kind is float and type(value) is int:
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"expected {kind.__name__}, got {value!r}")
    return value


def _decode_tuple(items: list[Callable[[Any], Any]], value: Any) -> Any:
    if not isinstance(value, list) or len(value) != len(items):
        raise ValueError(f"expected tuple, got {value!r}")
    return tuple(item(each) for item, each in zip(items, value, strict=True))


@cache
def _fields(kind: type) -> list[tuple[str, Callable[[Any], Any], bool]]:
    """Name, decoder and whether it is required, for each field."""
    hints = typing.get_type_hints(kind)
    needed = [each.default is MISSING and each.default_factory is MISSING for each in fields(kind)]
    return [(each.name, _decoder(hints[each.name]), must) for each, must in zip(fields(kind), needed, strict=True)]


def _decode_fields(kind: type, value: Any) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"expected an object for {kind.__name__}, got {value!r}")
    known = {}
    for name, decoder, must in _fields(kind):
        if name in value:
            try:
                known[name] = decoder(value[name])
            except ValueError as e:
                raise ValueError(f"{kind.__name__}.{name}: {e}") from None
        elif must:
            raise ValueError(f"{kind.__name__} lacks {name}")
    return kind(**known)
