"""Arguments of Service, which are checked before anything is created."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import pulumi
import pulumi_aws as aws

from slipway._constraints import Must, between, check, items, match, one_of
from slipway._secrets import (
    FIXED,
    KmsKeyArn,
    SecretReference,
    VariableName,
    is_fixed,
    names_twice,
    plaintext_rules,
)
from slipway.codebuild import LogDays
from slipway.iam import Permission, Statement
from slipway.load_balancer import LoadBalancer, SubnetId, VpcId
from slipway.registry import EnvironmentName, Repository
from slipway.service.fargate import FARGATE_MEMORY_MIB
from slipway.service.tasks import Tasks
from slipway.strategies import BlueGreen, Rolling, Strategy

ARCHITECTURES = ("X86_64", "ARM64")
INSTEAD = "put it into secrets"
VARIABLES_BYTES = 60 * 1024
"""Maximum size of the environment variables of a task definition, which is limited to 64 KiB.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-quotas.html"""
HealthPath = Annotated[
    str,
    match(r"/[!-~]*", "be a path such as /healthz without spaces,", "/healthz", ["healthz", "/a b"], longest=1024),
]
"""https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateTargetGroup.html"""
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
Url = Annotated[
    pulumi.Input[str],
    match(
        r"https?://(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*\.?"
        r"(:([1-9]\d{0,3}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d\d|655[0-2]\d|6553[0-5]))?",
        "be an address such as https://shop.example.com, without a path",
        "https://shop.example.com",
        [
            "shop.example.com",
            "https://shop.example.com/",
            "https://user@shop.example.com",
            "ftp://shop.example.com",
            "https://shop.example.com:0",
            "https://shop.example.com:65536",
            "https://shop..example.com",
            "https://-shop.example.com",
        ],
    ),
]
CommandPart = Annotated[
    str, Must("be text", lambda text: "\0" not in text, {}, good=["", "-v", "echo a; echo b"], bad=["a\0"])
]
AlarmName = Annotated[
    pulumi.Input[str],
    match(
        r"(?!arn:)[^\s,\x00-\x1f\x7f]+",
        "be the name of an alarm in CloudWatch, not its ARN, without spaces and commas,",
        "latency",
        ["a b", "a,b", "a\0", "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:latency"],
        longest=255,
    ),
]
"""https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html"""
# ECS allows 255 characters, but the name of a log stream (at most 512) contains it twice, and the task ID.
ContainerName = Annotated[str, match(r"[A-Za-z0-9_-]+", "be a name of a-z A-Z 0-9 _ -", "app", ["a.b", "a b"], 239)]
"""https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html"""


@dataclass(frozen=True, kw_only=True)
class ErrorAlarm:
    """An alarm on failed requests (5XX) that rolls back the current deployment.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-alarm-failure.html
    """

    percent: Annotated[int, between(1, 99)] = 5
    """Percentage of failed requests, to the old tasks or to the new ones, above which the alarm goes off."""

    requests: Annotated[int, between(1, 1_000_000)] = 20
    """Minimum number of requests a minute for the alarm to be evaluated."""

    minutes: Annotated[int, between(1, 60)] = 2
    """Consecutive minutes above that percentage after which the alarm goes off."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """Settings of a Service that can also be set in a stack file."""

    port: Annotated[int, between(1, 65535)] | None = 8080
    """Port on which the container serves HTTP. Without a port (`false` in a stack file), the service is a worker: it
    receives no requests and has no load balancer."""

    health_path: HealthPath = "/"
    """Health check path, which returns 200 when a task can serve requests. A change takes effect immediately, also for
    running tasks: change it only if the live image answers the new path too."""

    entrypoint: Sequence[CommandPart] = ()
    """Entry point of the container instead of the image's, one entry a word; it is not run by a shell. The image's own
    command is not used either then."""

    command: Sequence[CommandPart] = ()
    """Command of the container instead of the image's, one entry a word, such as `[npm, run, worker]`."""

    cpu: Annotated[int, one_of(FARGATE_MEMORY_MIB)] = 256
    """CPU units of a task, 1024 to a vCPU."""

    memory: int = 512
    """Memory of a task in MiB. The possible sizes depend on `cpu`."""

    cpu_architecture: Annotated[str, one_of(ARCHITECTURES)] = "X86_64"
    """X86_64 or ARM64; the image must be built for it."""

    tasks: Tasks = field(default_factory=Tasks)
    """The number of tasks."""

    environment: Mapping[VariableName, pulumi.Input[str]] = field(default_factory=dict)
    """Environment variables. Anyone who can describe task definitions can read them: put secrets into `secrets`."""

    not_secret: Sequence[str] = ()
    """Names of `environment` variables whose values look like credentials but are not; `commands` for the contents of
    `entrypoint` and `command`."""

    secrets: Mapping[VariableName, SecretReference] = field(default_factory=dict)
    """Environment variables by reference: the ARN of a secret in Secrets Manager, optionally followed by `:<json
    key>::` for one of its keys, or of a parameter in Parameter Store. Values are read when a task starts."""

    secrets_kms_key_arns: Annotated[Sequence[KmsKeyArn], items(distinct=True)] = ()
    """Customer managed KMS keys that `secrets` are encrypted with."""

    restart_on_secret_change: bool = False
    """Replace the tasks when a value in `secrets` changes, by a rotation or by hand. The new tasks have the live image,
    and are deployed with the strategy of the service. The secrets must be in its account and Region."""

    permissions: Sequence[Permission] = ()
    """Permissions of the application itself, such as to read a queue. Without this, it has none."""

    read_only_root_filesystem: bool = True
    """Mount the container's root file system read-only. Turn this off for software that writes to it."""

    health_check_grace_seconds: Annotated[int, between(0, 86_400)] = 60
    """Seconds after a task starts during which failed health checks are ignored."""

    stop_timeout_seconds: Annotated[int, between(2, 120)] = 30
    """Seconds between SIGTERM and SIGKILL. A stopping task also has this long to finish its requests."""

    paths: Annotated[Sequence[PathPattern], items(1, 5, distinct=True)] = ("/*",)
    """Paths of the load balancer that are routed to this service."""

    listener_priority: Annotated[int, between(1, 50_000)] = 100
    """Priority of the service's listener rule, unique on the load balancer. Lower numbers are evaluated first."""

    url: Url | None = None
    """Address of the service, such as https://shop.example.com. By default, the address of its load balancer."""

    error_alarm: ErrorAlarm | None = field(default_factory=ErrorAlarm)
    """Alarm that rolls a deployment back. Turn it off (`false` in a stack file) if failed requests do not indicate a
    bad release."""

    # A CodeDeploy deployment group allows ten alarms, and error_alarm is one.
    # https://docs.aws.amazon.com/codedeploy/latest/userguide/limits.html
    alarm_names: Annotated[Sequence[AlarmName], items(most=9, distinct=True)] = ()
    """Your own CloudWatch alarms that also roll a deployment back. An alarm that is in ALARM when a deployment begins
    is ignored during that deployment."""

    keep_verified: Annotated[int, between(1, 20)] = 5
    """Number of verified releases whose images never expire."""

    retain_release_state: bool = True
    """Keep the release state table, with the history of releases, when the stack is destroyed. Before you create the
    stack again, delete or import the table."""

    log_retention_days: LogDays = 30
    """Days to keep the logs of the service and of its releases."""

    def __post_init__(self) -> None:
        check(self)

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        possible = list(FARGATE_MEMORY_MIB.get(self.cpu, ()))
        yield (
            bool(possible) and self.memory not in possible,
            f"memory must be one of {possible} with cpu={self.cpu}, got {self.memory}",
        )
        yield from names_twice(self.environment, self.secrets)
        yield (
            self.restart_on_secret_change and not self.secrets,
            "restart_on_secret_change must not be set without secrets",
        )
        fixed = bool(self.secrets) and all(map(is_fixed, self.secrets.values()))
        yield self.restart_on_secret_change and fixed, FIXED
        commands = {"entrypoint": self.entrypoint, "command": self.command}
        yield from plaintext_rules("environment", self.environment, self.not_secret, INSTEAD, **commands)
        length = variables_bytes(self)
        yield (
            length > VARIABLES_BYTES,
            f"environment and secrets must have at most {VARIABLES_BYTES} bytes in total as JSON, got {length}: a task "
            "definition has 64 KiB",
        )
        yield (
            self.port is None and self.tasks.target_requests_per_task is not None,
            "tasks.target_requests_per_task must not be set for a service without a port, which receives no requests",
        )
        wildcards = sum(path.count("*") + path.count("?") for path in self.paths)
        # https://docs.aws.amazon.com/elasticloadbalancing/latest/application/rule-condition-types.html
        yield wildcards > 5, f"paths must have at most 5 wildcards in total, got {wildcards}"


@dataclass(frozen=True, kw_only=True)
class ServiceArgs(ServiceSettings):
    """Arguments of Service."""

    cluster: aws.ecs.Cluster
    """ECS cluster to run in."""

    registry: Repository
    """Repository of the released images: a Registry or an ExistingRegistry."""

    load_balancer: LoadBalancer | None = None
    """Load balancer that routes requests to the service. A worker, which has no port, has none."""

    vpc_id: VpcId
    """VPC of the subnets."""

    # The limit of ECS:
    subnet_ids: Annotated[pulumi.Input[Sequence[SubnetId]], items(1, 16, distinct=True)]
    """Private subnets for the tasks, with outbound access to ECR and CloudWatch Logs."""

    environment_name: EnvironmentName | None = None
    """Name of the environment in tags and messages. By default, the name of the stack. Services that use images from
    the same registry need different names, because their tags contain it."""

    container_name: ContainerName = "app"
    """Name of the container whose image a release replaces, as in the build."""

    strategy: Strategy = field(default_factory=Rolling)
    """Deployment strategy."""

    task_statements: Sequence[Statement] = ()
    """Further IAM statements for the application itself, for example with a condition."""

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        yield from super().cross_checks()
        yield (
            (self.load_balancer is None) != (self.port is None),
            f"load_balancer must be set if, and only if, port is set, got port={self.port}",
        )
        yield from strategy_rules(self, self.strategy)


def strategy_rules(settings: ServiceSettings, strategy: Strategy) -> Iterator[tuple[bool, str]]:
    """The requirements of a strategy on its service."""
    worker = settings.port is None and not isinstance(strategy, Rolling)
    kind = type(strategy).__name__
    bake = strategy.bake_minutes if isinstance(strategy, BlueGreen) else 0
    alarm = settings.error_alarm
    yield (
        worker,
        f"strategy must be Rolling for a service without a port, got {kind}: there is no load balancer "
        "whose traffic could be shifted",
    )
    yield (
        isinstance(strategy, BlueGreen) and not worker and alarm is not None and bake < alarm.minutes,
        f"strategy must have bake_minutes of at least error_alarm.minutes={alarm and alarm.minutes}, got {bake}: "
        "the old tasks would be gone before the alarm could go off",
    )


def variables_bytes(settings: ServiceSettings) -> int:
    """Size of the environment variables whose values are known, as JSON in a task definition."""
    given = [*settings.environment.items(), *settings.secrets.items()]
    known = [{"name": key, "valueFrom": value if isinstance(value, str) else ""} for key, value in given]
    return len(json.dumps(known).encode())
