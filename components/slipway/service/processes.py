"""What runs beside a service's web process, with the same image: further processes, a migration and scheduled jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import pulumi

from slipway._constraints import Must, between, check, items, match, one_of
from slipway._schedules import RECURRING_BAD, RECURRING_GOOD, TimeZone, is_recurring
from slipway._secrets import VariableName
from slipway.service.capacity import Capacity
from slipway.service.containers import ContainerHealthCheck
from slipway.service.fargate import FARGATE_MEMORY_MIB
from slipway.service.requests import DrainSeconds, HeaderName, HeaderValues, HealthCheck, HostPattern, ProtocolVersion
from slipway.service.stickiness import Stickiness
from slipway.service.tasks import Tasks

# Each is a part of <service>-<name>, an ECS service or a family of task definitions. There are other families called
# <service>-template, <service>-<name>-template and <service>-migration, and a function called <service>-release.
_NAME = match(
    r"(?!(template|migration|release)$)(?!.*-template$)[a-z][a-z0-9]*(-[a-z0-9]+)*",
    "be a name of a-z 0-9 and single - between them, starting with a letter, other than template, migration, release "
    "and names that end in -template,",
    "worker",
    ["Worker", "1st", "a_b", "a--b", "a-", "-a", "template", "migration", "release", "worker-template"],
    longest=20,
)
ProcessName = Annotated[str, _NAME]
"""Name of a process. Its ECS service is called `<service>-<name>`."""
JobName = Annotated[str, _NAME]
"""Name of a job. The family of its task definitions is called `<service>-<name>`."""
Port = Annotated[int, between(1, 65535)]
Cpu = Annotated[int, one_of(FARGATE_MEMORY_MIB)]
CommandPart = Annotated[
    str, Must("be text", lambda text: "\0" not in text, {}, good=["", "-v", "echo a; echo b"], bad=["a\0"])
]
StopTimeout = Annotated[int, between(2, 120)]
SidecarNames = Annotated[Sequence[str], items(distinct=True)]
HealthPath = Annotated[
    str,
    match(r"/[!-~]*", "be a path such as /healthz without spaces,", "/healthz", ["healthz", "/a b"], longest=1024),
]
"""https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateTargetGroup.html"""
GracePeriod = Annotated[int, between(0, 86_400)]
PathPattern = Annotated[
    str,
    match(
        r"""/[A-Za-z0-9_.$/~"'@:+&;*?-]*""",
        "be a pattern such as /api/* of a-z A-Z 0-9 _-.$/~\"'@:+&;*?",
        "/api",
        ["api", "/a b", "/a#b", "/ä"],
        longest=128,
    ),
]
"""https://docs.aws.amazon.com/elasticloadbalancing/latest/application/rule-condition-types.html"""
Paths = Annotated[Sequence[PathPattern], items(1, 5, distinct=True)]
ListenerPriority = Annotated[int, between(1, 50_000)]
JobSchedule = Annotated[
    str,
    Must(
        "be cron(minutes hours day-of-month month day-of-week year) with a ? for exactly one of the two days, or "
        "rate(5 minutes)",
        is_recurring,
        {"pattern": r"^(cron|rate)\(.+\)$"},
        good=RECURRING_GOOD,
        bad=[*RECURRING_BAD, "at(2026-12-24T08:00:00)"],
    ),
]
"""https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html"""


@dataclass(frozen=True, kw_only=True)
class Process:
    """A process of a service: an ECS service of its own, with the service's image, that is released together with the
    others. What is not set here is as in the settings of the service.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_services.html
    """

    inherits: ClassVar[bool] = True
    """Whether a field without a value is as in the service."""

    port: Port | None = None
    """Port on which the container serves HTTP. Without a port, the process is a worker; `web` has the port of the
    service. A process with a port, except `web`, needs `paths`, `hosts` or `headers` of its own."""

    entrypoint: Sequence[CommandPart] | None = None
    """Entry point of the container, one entry a word. By default, that of the service."""

    command: Sequence[CommandPart] | None = None
    """Command of the container, one entry a word, such as `[npm, run, worker]`. By default, that of the service."""

    cpu: Cpu | None = None
    """CPU units of a task, 1024 to a vCPU. By default, those of the service."""

    memory: int | None = None
    """Memory of a task in MiB, one of the sizes that are possible with `cpu`. By default, that of the service."""

    tasks: Tasks | None = None
    """The number of tasks. By default, two; for `web`, that of the service."""

    capacity: Capacity | None = None
    """What the tasks run on. By default, what those of the service run on."""

    environment: Mapping[VariableName, pulumi.Input[str]] = field(default_factory=dict)
    """Environment variables in addition to those of the service, or with another value than there."""

    stop_timeout_seconds: StopTimeout | None = None
    """Seconds between SIGTERM and SIGKILL. By default, those of the service."""

    container_health_check: ContainerHealthCheck | None = None
    """A command in the container that says whether it is healthy. By default, there is none; for `web`, that of the
    service."""

    sidecars: SidecarNames | None = None
    """Names of the service's sidecars that run in each task. By default, all."""

    target_container: str | None = None
    """Name of the sidecar that receives the requests to a process with a port. By default, the application's container
    does; for `web`, as in the service."""

    health_path: HealthPath | None = None
    """Health check path, for a process with a port. By default, that of the service."""

    health_check: HealthCheck | None = None
    """How the load balancer asks for that path, for a process with a port. By default, as in the service."""

    health_check_grace_seconds: GracePeriod | None = None
    """Seconds after a task starts during which failed health checks are ignored, for a process with a port. By
    default, those of the service."""

    protocol_version: ProtocolVersion | None = None
    """HTTP version of the requests, for a process with a port. By default, that of the service."""

    drain_seconds: DrainSeconds | None = None
    """Seconds that a task has to finish its requests, for a process with a port. By default, those of the service."""

    stickiness: Stickiness | None = None
    """Send the requests of a client to the same task, for a process with a port. By default, as in the service."""

    paths: Paths | None = None
    """Paths of the load balancer that are routed to this process, which needs a port. By default, all; for `web`, those
    of the service."""

    hosts: Annotated[Sequence[HostPattern], items(most=5, distinct=True)] | None = None
    """Host names that are routed to this process. By default, all; for `web`, those of the service."""

    headers: Mapping[HeaderName, HeaderValues] | None = None
    """Headers that a request must have, each with one of these values. By default, none; for `web`, those of the
    service."""

    listener_priority: ListenerPriority | None = None
    """Priority of the listener rule of a process with a port, unique on the load balancer. Lower numbers are evaluated
    first. By default, it follows from what the rule asks for; for `web`, that of the service."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class Migration:
    """A task with the new image that runs, and must succeed, before the processes are released, such as for the schema
    of a database.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/standalone-tasks.html
    """

    inherits: ClassVar[bool] = True

    command: Annotated[Sequence[CommandPart], items(1)]
    """Command of the container, one entry a word, such as `[npm, run, migrate]`."""

    entrypoint: Sequence[CommandPart] | None = None
    """Entry point of the container, one entry a word. By default, that of the service."""

    cpu: Cpu | None = None
    """CPU units of the task, 1024 to a vCPU. By default, those of the service."""

    memory: int | None = None
    """Memory of the task in MiB, one of the sizes that are possible with `cpu`. By default, that of the service."""

    environment: Mapping[VariableName, pulumi.Input[str]] = field(default_factory=dict)
    """Environment variables in addition to those of the service, or with another value than there."""

    timeout_minutes: Annotated[int, between(1, 360)] = 20
    """Minutes after which the task is stopped and the release fails."""

    sidecars: SidecarNames | None = None
    """Names of the service's sidecars that run in the task. By default, none."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A task with the verified image that runs on a schedule.

    https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
    """

    inherits: ClassVar[bool] = True

    command: Annotated[Sequence[CommandPart], items(1)]
    """Command of the container, one entry a word, such as `[npm, run, report]`."""

    schedule: JobSchedule
    """When: `cron(minutes hours day-of-month month day-of-week year)` or `rate(12 hours)`."""

    time_zone: TimeZone = "UTC"
    """Name of the time zone of a `cron` schedule, such as Europe/Berlin."""

    # https://docs.aws.amazon.com/scheduler/latest/APIReference/API_FlexibleTimeWindow.html
    flexible_window_minutes: Annotated[int, between(0, 1440)] = 0
    """Minutes within which a run starts, at any time after the scheduled one. With 0, it starts in that minute."""

    timeout_minutes: Annotated[int, between(1, 1440)] = 60
    """Minutes after which a run is stopped and has failed."""

    retries: Annotated[int, between(0, 10)] = 0
    """How often a run that failed is repeated."""

    overlap: bool = True
    """Whether a run may start while the previous one runs. Otherwise it is left out."""

    sidecars: SidecarNames | None = None
    """Names of the service's sidecars that run in the task. By default, none."""

    entrypoint: Sequence[CommandPart] | None = None
    """Entry point of the container, one entry a word. By default, that of the service."""

    cpu: Cpu | None = None
    """CPU units of a task, 1024 to a vCPU. By default, those of the service."""

    memory: int | None = None
    """Memory of a task in MiB, one of the sizes that are possible with `cpu`. By default, that of the service."""

    environment: Mapping[VariableName, pulumi.Input[str]] = field(default_factory=dict)
    """Environment variables in addition to those of the service, or with another value than there."""

    def __post_init__(self) -> None:
        check(self)
