"""How the containers of a task run: their user, limits and health."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import pulumi

from slipway._constraints import Must, between, check, items, match, one_of

CAPABILITIES = (
    *("ALL", "AUDIT_CONTROL", "AUDIT_WRITE", "BLOCK_SUSPEND", "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER"),
    *("FSETID", "IPC_LOCK", "IPC_OWNER", "KILL", "LEASE", "LINUX_IMMUTABLE", "MAC_ADMIN", "MAC_OVERRIDE", "MKNOD"),
    *("NET_ADMIN", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID"),
    *("SYS_ADMIN", "SYS_BOOT", "SYS_CHROOT", "SYS_MODULE", "SYS_NICE", "SYS_PACCT", "SYS_PTRACE", "SYS_RAWIO"),
    *("SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "SYSLOG", "WAKE_ALARM"),
)
"""https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_KernelCapabilities.html"""
ULIMITS = (
    *("core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio"),
    *("rttime", "sigpending", "stack"),
)
"""https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Ulimit.html"""
User = Annotated[
    str,
    match(
        r"[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?",
        "be a user such as app, 1000 or 1000:1000",
        "1000:1000",
        ["-1", "app:", ":app", "a:b:c", "a b"],
    ),
]
Limit = Annotated[int, Must("be 0 or more", lambda value: value >= 0, {"minimum": 0}, [0, 65535], [-1])]
EnvironmentFileArn = Annotated[
    pulumi.Input[str],
    match(
        r"arn:aws(-[a-z]+)*:s3:::[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[!-)+->@-~]*\.env",
        "be the ARN of an object in S3 whose name ends with .env, such as arn:aws:s3:::acme-settings/shop.env",
        "arn:aws:s3:::acme-settings/shop.env",
        [
            "arn:aws:s3:::acme-settings",
            "arn:aws:s3:::acme-settings/shop.txt",
            "s3://acme-settings/shop.env",
            "arn:aws:s3:::acme/*.env",
        ],
    ),
]
"""https://docs.aws.amazon.com/AmazonECS/latest/developerguide/use-environment-file.html"""


@dataclass(frozen=True, kw_only=True)
class Ulimit:
    """A resource limit of a container."""

    soft: Limit
    """Limit that a process may raise up to `hard`: in bytes, seconds or a number, depending on its kind."""

    hard: Limit
    """Limit that no process may raise."""

    def __post_init__(self) -> None:
        check(self)

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        yield self.soft > self.hard, f"soft must be at most hard={self.hard}, got {self.soft}"


@dataclass(frozen=True, kw_only=True)
class Container:
    """With which user and limits a container runs.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_definition_parameters.html
    """

    user: User | None = None
    """User, and optionally group, by name or number, instead of the image's."""

    drop_capabilities: Annotated[Sequence[Annotated[str, one_of(CAPABILITIES)]], items(distinct=True)] = ()
    """Linux capabilities that the container does not get, or `ALL`."""

    # Fargate adds no other.
    add_capabilities: Annotated[Sequence[Annotated[str, one_of(("SYS_PTRACE",))]], items(distinct=True)] = ()
    """Linux capabilities that the container gets in addition: SYS_PTRACE, for tools that watch its processes."""

    ulimits: Mapping[Annotated[str, one_of(ULIMITS)], Ulimit] = field(default_factory=dict)
    """Resource limits by name, such as `nofile` for the number of open files, which is 65535 by default."""

    init_process: bool = True
    """Run an init process that forwards signals and reaps children. Turn it off if the image has its own."""

    def __post_init__(self) -> None:
        check(self)

    def definition(self) -> dict[str, Any]:
        """What a container definition says of it.

        https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_LinuxParameters.html
        """
        capabilities = {"drop": list(self.drop_capabilities), "add": list(self.add_capabilities)}
        given = {key: names for key, names in capabilities.items() if names}
        linux = {"initProcessEnabled": self.init_process, **({"capabilities": given} if given else {})}
        ulimits = [
            {"name": name, "softLimit": each.soft, "hardLimit": each.hard}
            for name, each in sorted(self.ulimits.items())
        ]
        user = {"user": self.user} if self.user is not None else {}
        return {"linuxParameters": linux, **user, **({"ulimits": ulimits} if ulimits else {})}


@dataclass(frozen=True, kw_only=True)
class ContainerHealthCheck:
    """A command in the container that says whether it is healthy. A task with an unhealthy essential container is
    replaced, and a deployment waits until its new tasks are healthy.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/healthcheck.html
    """

    command: Annotated[Sequence[str], items(2)]
    """Command, one entry a word: `[CMD, pgrep, worker]`, or `[CMD-SHELL, "curl -f http://localhost/ || exit 1"]`. The
    image must contain it."""

    interval_seconds: Annotated[int, between(5, 300)] = 30
    """Seconds between two checks."""

    timeout_seconds: Annotated[int, between(2, 60)] = 5
    """Seconds after which a check has failed."""

    retries: Annotated[int, between(1, 10)] = 3
    """Consecutive failures after which the container is unhealthy."""

    start_period_seconds: Annotated[int, between(0, 300)] = 0
    """Seconds after the start in which failures do not count."""

    def __post_init__(self) -> None:
        check(self)

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        kind, *words = self.command or [""]
        yield (
            kind != "CMD" and (kind != "CMD-SHELL" or len(words) > 1),
            f"command must begin with CMD, or with CMD-SHELL and one command for the shell, got {list(self.command)}",
        )

    def definition(self) -> dict[str, Any]:
        """https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_HealthCheck.html"""
        return {
            "command": list(self.command),
            "interval": self.interval_seconds,
            "timeout": self.timeout_seconds,
            "retries": self.retries,
            "startPeriod": self.start_period_seconds,
        }
