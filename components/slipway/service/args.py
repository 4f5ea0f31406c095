"""Arguments of Service: what is checked before anything is created."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import pulumi
import pulumi_aws as aws

from slipway._constraints import between, check, items, match, one_of
from slipway._secrets import KmsKeyArn, SecretReference, VariableName, names_twice, plaintext_rules
from slipway.codebuild import LogDays
from slipway.iam import Statement
from slipway.load_balancer import LoadBalancer, SubnetId, VpcId
from slipway.registry import Repository
from slipway.service.fargate import FARGATE_MEMORY_MIB
from slipway.strategies import BlueGreen, Rolling, Strategy

ENVIRONMENT_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,29}")
EnvironmentName = Annotated[
    str,
    match(
        ENVIRONMENT_NAME.pattern,
        "be 1 to 30 characters of a-z 0-9 -, and not begin with -",
        "prod-eu",
        ["Prod", "-a", "a" * 31],
    ),
]
ARCHITECTURES = ("X86_64", "ARM64")
INSTEAD = "put it into secrets"
VARIABLES_BYTES = 60 * 1024
"""Room for environment variables in a task definition, which has 64 KiB.

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
        r"https?://[A-Za-z0-9.-]+(:\d{1,5})?",
        "be an address such as https://shop.example.com, without a path",
        "https://shop.example.com",
        ["shop.example.com", "https://shop.example.com/", "https://user@shop.example.com", "ftp://shop.example.com"],
    ),
]
AlarmName = Annotated[
    pulumi.Input[str],
    match(
        r"[^\s,]+",
        "be the name of an alarm in CloudWatch, without spaces and commas,",
        "latency",
        ["a b", "a,b"],
        longest=255,
    ),
]
"""https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html"""
# ECS takes 255; but a log stream, of 512, is named by it twice, and by the task.
ContainerName = Annotated[str, match(r"[A-Za-z0-9_-]+", "be a name of a-z A-Z 0-9 _ -", "app", ["a.b", "a b"], 239)]
"""https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html"""


@dataclass(frozen=True, kw_only=True)
class Tasks:
    """How many tasks run."""

    min: Annotated[int, between(1, 5000)] = 2
    """Tasks that run at least; with two, one Availability Zone may fail."""

    max: Annotated[int, between(1, 5000)] | None = None
    """Tasks that run at most. Above `min`, the service scales with its load; without it, `min` tasks run."""

    target_cpu_percent: Annotated[int, between(10, 90)] = 60
    """Average CPU utilization, in percent, that scaling aims at."""

    def __post_init__(self) -> None:
        check(self)

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        most = self.max
        yield most is not None and most < self.min, f"max must be at least min={self.min}, got {most}"

    @property
    def most(self) -> int:
        return self.min if self.max is None else self.max


@dataclass(frozen=True, kw_only=True)
class ErrorAlarm:
    """An alarm on failed requests (5XX), which rolls a deployment back while it is under way.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-alarm-failure.html
    """

    percent: Annotated[int, between(1, 99)] = 5
    """Share of the requests to the old tasks, or to the new ones, that may fail, in percent."""

    requests: Annotated[int, between(1, 1_000_000)] = 20
    """Requests a minute that it takes to judge."""

    minutes: Annotated[int, between(1, 60)] = 2
    """Minutes in a row that are above that share."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """Settings of a Service that a stack file can have too."""

    port: Annotated[int, between(1, 65535)] | None = 8080
    """Port that the container listens on, for HTTP. With none (`false` in a stack file) the service is a worker: it
    answers no requests and has no load balancer."""

    health_path: HealthPath = "/"
    """Path that answers 200 when a task can serve. It changes at once, also for the tasks that run: change it only
    when the image that is live answers the new path too."""

    cpu: Annotated[int, one_of(FARGATE_MEMORY_MIB)] = 256
    """CPU units of a task, 1024 to a vCPU."""

    memory: int = 512
    """MiB of a task; which sizes are possible depends on `cpu`."""

    cpu_architecture: Annotated[str, one_of(ARCHITECTURES)] = "X86_64"
    """X86_64 or ARM64, as the image was built."""

    tasks: Tasks = field(default_factory=Tasks)
    """How many tasks run."""

    environment: Mapping[VariableName, pulumi.Input[str]] = field(default_factory=dict)
    """Environment variables. Whoever may describe task definitions reads them: secrets go into `secrets`."""

    not_secret: Sequence[str] = ()
    """Names that `environment` has whose values look like credentials and are none."""

    secrets: Mapping[VariableName, SecretReference] = field(default_factory=dict)
    """Environment variables by reference: the ARN of a secret in Secrets Manager, with `:<json key>::` behind it for
    one key of it, or of a parameter in Parameter Store. Values are read when a task starts."""

    secrets_kms_key_arns: Annotated[Sequence[KmsKeyArn], items(distinct=True)] = ()
    """Customer managed KMS keys that `secrets` are encrypted with."""

    read_only_root_filesystem: bool = True
    """Mount the container's file system read-only. Turn it off for software that writes to it."""

    health_check_grace_seconds: Annotated[int, between(0, 86_400)] = 60
    """Seconds after its start in which a task's failed health checks do not count."""

    stop_timeout_seconds: Annotated[int, between(2, 120)] = 30
    """Seconds between SIGTERM and SIGKILL, which is also how long a stopping task may finish its requests."""

    paths: Annotated[Sequence[PathPattern], items(1, 5, distinct=True)] = ("/*",)
    """Paths of the load balancer that this service answers."""

    listener_priority: Annotated[int, between(1, 50_000)] = 100
    """Order of the service's rule among those of the load balancer; each service has its own."""

    url: Url | None = None
    """Address that the service answers at, such as https://shop.example.com; that of its load balancer without it."""

    error_alarm: ErrorAlarm | None = field(default_factory=ErrorAlarm)
    """Alarm that rolls a deployment back; none (`false` in a stack file) for a service whose
    errors say nothing."""

    # A deployment group of CodeDeploy takes ten, and error_alarm is one.
    # https://docs.aws.amazon.com/codedeploy/latest/userguide/limits.html
    alarm_names: Annotated[Sequence[AlarmName], items(most=9, distinct=True)] = ()
    """CloudWatch alarms of your own that roll a deployment back too. One that is in ALARM when a deployment begins is
    ignored in it."""

    keep_verified: Annotated[int, between(1, 20)] = 5
    """Verified releases whose images never expire."""

    retain_release_state: bool = True
    """Keep the table of the release state, with the history of releases, when the stack is destroyed. Before the stack
    is made again, delete that table, or import it."""

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
        yield from plaintext_rules("environment", self.environment, self.not_secret, INSTEAD)
        length = variables_bytes(self)
        yield (
            length > VARIABLES_BYTES,
            f"environment and secrets must have at most {VARIABLES_BYTES} bytes together as JSON, got {length}: a task "
            "definition has 64 KiB",
        )
        wildcards = sum(path.count("*") + path.count("?") for path in self.paths)
        # https://docs.aws.amazon.com/elasticloadbalancing/latest/application/rule-condition-types.html
        yield wildcards > 5, f"paths must have at most 5 wildcards together, got {wildcards}"


@dataclass(frozen=True, kw_only=True)
class ServiceArgs(ServiceSettings):
    """Arguments of Service."""

    cluster: aws.ecs.Cluster
    """Cluster to run in."""

    registry: Repository
    """Where the released images are: a Registry, or an ExistingRegistry."""

    load_balancer: LoadBalancer | None = None
    """What requests come through; a worker, without a port, has none."""

    vpc_id: VpcId
    """VPC of the subnets."""

    # What ECS takes: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_AwsVpcConfiguration.html
    subnet_ids: Annotated[pulumi.Input[Sequence[SubnetId]], items(1, 16, distinct=True)]
    """Private subnets to run tasks in, with a way out to ECR and CloudWatch Logs."""

    environment_name: EnvironmentName | None = None
    """What tags and reports call the place where this service runs; the name of the stack without it. Services that
    take images from one registry must have different ones, or they would take each other's tags."""

    container_name: ContainerName = "app"
    """Container that releases bring an image for, as the build names it."""

    strategy: Strategy = field(default_factory=Rolling)
    """How tasks are replaced."""

    task_statements: Sequence[Statement] = ()
    """What the application itself may do in AWS; nothing without it."""

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        yield from super().cross_checks()
        yield (
            (self.load_balancer is None) != (self.port is None),
            f"load_balancer must be given with a port, and only then, got port={self.port}",
        )
        yield from strategy_rules(self, self.strategy)


def strategy_rules(settings: ServiceSettings, strategy: Strategy) -> Iterator[tuple[bool, str]]:
    """What a strategy asks of a service."""
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
    """What the environment variables, as far as they are known, take of a task definition, as JSON."""
    given = [*settings.environment.items(), *settings.secrets.items()]
    known = [{"name": key, "valueFrom": value if isinstance(value, str) else ""} for key, value in given]
    return len(json.dumps(known).encode())
