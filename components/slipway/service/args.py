"""Arguments of Service, which are checked before anything is created."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

import pulumi

from slipway._constraints import between, check, hints, items, match, one_of
from slipway._secrets import (
    FIXED,
    KmsKeyArn,
    SecretReference,
    VariableName,
    credential_rules,
    is_fixed,
    names_twice,
    not_secret_rule,
)
from slipway.codebuild import LogDays
from slipway.existing_cluster import Cluster, ExistingCluster
from slipway.existing_load_balancer import Balancer
from slipway.iam import Permission, Statement
from slipway.load_balancer import SubnetId, VpcId
from slipway.registry import EnvironmentName, Repository
from slipway.release.function.contract import WEB
from slipway.service.capacity import Capacity, Fargate, address_rule, capacity_rules, on_demand
from slipway.service.connect import PROTOCOLS, SPOKEN, ServiceConnect, port_mapping
from slipway.service.containers import Container, ContainerHealthCheck, EnvironmentFileArn
from slipway.service.fargate import FARGATE_MEMORY_MIB
from slipway.service.logging import AwsLogs, Logging
from slipway.service.processes import (
    CommandPart,
    Cpu,
    GracePeriod,
    HealthPath,
    Job,
    JobName,
    ListenerPriority,
    Migration,
    Paths,
    Port,
    Process,
    ProcessName,
    StopTimeout,
)
from slipway.service.requests import (
    GRPC,
    GRPC_PATH,
    HTTP1,
    DrainSeconds,
    HeaderName,
    HeaderValues,
    HealthCheck,
    HostPattern,
    ProtocolVersion,
    codes_rule,
    conditions_rules,
)
from slipway.service.routes import MOST_GROUPS, Route, RouteName, listening, route_rules, twice_rules
from slipway.service.sidecars import (
    DependsOn,
    Sidecar,
    SidecarName,
    chosen_rules,
    container_rules,
    plaintext_of_sidecars,
    references,
)
from slipway.service.stickiness import Stickiness
from slipway.service.tasks import Tasks
from slipway.service.timers import rollout_timers
from slipway.service.volumes import EXEC_PATHS, EfsVolume, VolumeName, WritablePaths
from slipway.strategies import BlueGreen, CodeDeployBlueGreen, Rolling, Strategy

ARCHITECTURES = ("X86_64", "ARM64")
INSTEAD = "put it into secrets"
APP = "app"
"""Name of the application's container in a stack file."""
EVERY_PATH = ("/*",)
VARIABLES_BYTES = 60 * 1024
"""Maximum size of the environment variables of a task definition, which is limited to 64 KiB.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-quotas.html"""
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

    port: Port | None = 8080
    """Port on which the container serves HTTP. Without a port (`false` in a stack file), the service is a worker: it
    receives no requests and has no load balancer."""

    health_path: HealthPath = "/"
    """Health check path, which returns 200 when a task can serve requests. A change takes effect immediately, also for
    running tasks: change it only if the live image answers the new path too. With GRPC, the method that is called, such
    as `/grpc.health.v1.Health/Check`; by default one that no server has."""

    health_check: HealthCheck = HealthCheck()  # noqa: RUF009 - frozen
    """How the load balancer asks for that path."""

    protocol_version: ProtocolVersion = HTTP1
    """HTTP version of the requests to the container. HTTP2 and GRPC need a load balancer with a certificate, and
    clients that speak HTTP/2: it answers others with 464. A change on a running service interrupts its requests from
    when the last old task is gone until the old rule is deleted, at the end of the `pulumi up`; give
    `listener_priority` a higher number in the same one, if you have given one."""

    entrypoint: Sequence[CommandPart] = ()
    """Entry point of the container instead of the image's, one entry a word; it is not run by a shell. The image's own
    command is not used either then."""

    command: Sequence[CommandPart] = ()
    """Command of the container instead of the image's, one entry a word, such as `[npm, run, worker]`."""

    cpu: Cpu = 256
    """CPU units of a task, 1024 to a vCPU."""

    memory: int = 512
    """Memory of a task in MiB. The possible sizes depend on `cpu`."""

    cpu_architecture: Annotated[str, one_of(ARCHITECTURES)] = "X86_64"
    """X86_64 or ARM64; the image must be built for it."""

    tasks: Tasks = field(default_factory=Tasks)
    """The number of tasks."""

    capacity: Capacity = Fargate()  # noqa: RUF009 - frozen
    """What the tasks run on. A migration and jobs run there too, but on demand if that is Fargate Spot."""

    processes: Mapping[ProcessName, Process] = field(default_factory=dict)
    """Further processes with the same image, each an ECS service of its own, by name. `web` is the process that these
    settings describe, and can be changed here. All of them are released together, and are verified and rolled back
    together."""

    order: Sequence[str] = ()
    """Names of all processes in the order in which they are released, one after the other. By default, those with a
    port are released at once, and then the others at once."""

    migration: Migration | None = None
    """A task with the new image that must succeed before the processes are released."""

    jobs: Mapping[JobName, Job] = field(default_factory=dict)
    """Tasks with the verified image that run on a schedule, by name."""

    environment: Mapping[VariableName, pulumi.Input[str]] = field(default_factory=dict)
    """Environment variables. Anyone who can describe task definitions can read them: put secrets into `secrets`."""

    not_secret: Sequence[str] = ()
    """Names of `environment` variables whose values look like credentials but are not; `commands` for the contents of
    `entrypoint` and `command`."""

    secrets: Mapping[VariableName, SecretReference] = field(default_factory=dict)
    """Environment variables by reference: the ARN of a secret in Secrets Manager, optionally followed by `:<json
    key>::` for one of its keys, or of a parameter in Parameter Store. Or by name, in this account and Region:
    `secretsmanager:shop/db`, which may be followed by a key too, or `ssm:/shop/token`. Values are read when a task
    starts."""

    secrets_kms_key_arns: Annotated[Sequence[KmsKeyArn], items(distinct=True)] = ()
    """Customer managed KMS keys that `secrets`, or objects in `environment_files`, are encrypted with."""

    restart_on_secret_change: bool = False
    """Replace the tasks when a value in `secrets` changes, by a rotation or by hand. The new tasks have the live image,
    and are deployed with the strategy of the service. The secrets must be in its account and Region."""

    # https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_EnvironmentFile.html
    environment_files: Annotated[Sequence[EnvironmentFileArn], items(most=10, distinct=True)] = ()
    """Files in S3 with environment variables, one `NAME=value` a line, by ARN. They are read when a task starts;
    `environment` and `secrets` come before them, and an earlier file before a later one."""

    permissions: Sequence[Permission] = ()
    """Permissions of the application itself, such as to read a queue. Without this, it has none."""

    read_only_root_filesystem: bool = True
    """Mount the container's root file system read-only. Turn this off for software that writes to it in places that
    `writable_paths` cannot name."""

    writable_paths: WritablePaths = ()
    """Paths such as `/tmp` that the container can write to nevertheless. What is written is on the task's own disk, and
    is lost with the task. If the container's user is not root, the Dockerfile must give the path to it and declare it
    with `VOLUME`, or the build fails; an image that is built elsewhere is not checked."""

    volumes: Mapping[VolumeName, EfsVolume] = field(default_factory=dict)
    """File systems in EFS that the tasks mount, by name. What is written there stays."""

    ephemeral_storage_gib: Annotated[int, between(21, 200)] | None = None
    """Disk of a task in GiB, which is lost with the task. By default, 20; more than that costs extra."""

    container: Container = Container()  # noqa: RUF009 - frozen
    """With which user and limits the container runs."""

    container_health_check: ContainerHealthCheck | None = None
    """A command in the container that says whether it is healthy. It is that of the process `web`; the load balancer's
    health check is another one."""

    sidecars: Mapping[SidecarName, Sidecar] = field(default_factory=dict)
    """Containers with images of their own that run beside the application's in each task of the processes, by name.
    They write to the log of the service."""

    depends_on: DependsOn = field(default_factory=dict)
    """Sidecars that must reach a condition before the application's container starts: START, HEALTHY, COMPLETE (ended)
    or SUCCESS (ended with exit code 0). It is stopped before them."""

    target_container: str | None = None
    """Name of a sidecar, such as a proxy, that receives the requests of the load balancer on its own port, and passes
    them on to `port` of the application's container on `localhost`."""

    service_connect: ServiceConnect | None = None
    """Names under which other services of a namespace reach this one, and this one reaches them. By default, there are
    none."""

    logging: Logging = AwsLogs()  # noqa: RUF009 - frozen
    """Where the log of the application's container goes. The migration, the jobs and the sidecars write to the log of
    the service in any case."""

    ecs_exec: bool = False
    """Let people run commands in the running containers, as `Service.exec_statements` or their own permissions allow.
    What is shown in such a session is in the service's log if a container writes there, with `awsLogs` or as FireLens'
    router does; with `splunk` and `none` it is in no log."""

    health_check_grace_seconds: GracePeriod = 60
    """Seconds after a task starts during which failed health checks are ignored."""

    stop_timeout_seconds: StopTimeout = 30
    """Seconds between SIGTERM and SIGKILL, after the requests of `drain_seconds`."""

    drain_seconds: DrainSeconds = 30
    """Seconds that a task has to finish its requests before it is stopped, up to an hour. It gets no new ones."""

    stickiness: Stickiness | None = None
    """Send the requests of a client to the same task. By default, each goes to any task."""

    paths: Paths = EVERY_PATH
    """Paths of the load balancer that are routed to this service."""

    hosts: Annotated[Sequence[HostPattern], items(most=5, distinct=True)] = ()
    """Host names that are routed to this service, such as `shop.example.com` or `*.example.com`. By default, all."""

    headers: Mapping[HeaderName, HeaderValues] = field(default_factory=dict)
    """Headers that a request must have, each with one of these values, which may have `*` and `?`."""

    listener_priority: ListenerPriority | None = None
    """Priority of the service's listener rule, unique on the load balancer. Lower numbers are evaluated first. By
    default, it follows from what the rule asks for: the more, the earlier."""

    routes: Mapping[RouteName, Route] = field(default_factory=dict)
    """Further ports of the tasks of `web`, by name. Each has a rule of its own in the load balancer."""

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
        parts = parts_of(self)
        if WEB not in self.processes or any(part.cpu is None and part.memory is None for part in parts.values()):
            yield memory_rule(self)
        yield from names_twice(self.environment, self.secrets)
        secrets = [*self.secrets.values(), *references(self.sidecars).values()]
        yield (
            self.restart_on_secret_change and not secrets,
            "restart_on_secret_change must not be set without secrets",
        )
        fixed = bool(secrets) and all(map(is_fixed, secrets))
        yield self.restart_on_secret_change and fixed, FIXED
        commands = {"entrypoint": self.entrypoint, "command": self.command}
        yield from credential_rules("environment", self.environment, self.not_secret, INSTEAD, **commands)
        with_variables = [self, *parts.values(), *self.sidecars.values()]
        names = {name for each in with_variables for name in each.environment}
        words = [each.entrypoint or each.command for each in with_variables]
        yield not_secret_rule("environment", names, self.not_secret, any(words))
        yield size_rule(self)
        yield from mount_rules(self)
        yield from plaintext_of_sidecars(self)
        yield from sidecar_rules(self)
        yield from request_rules(self)
        yield from connect_rules(self)
        yield from capacity_rules(self.capacity, self.ephemeral_storage_gib)
        for key, part in parts.items():
            yield from ((is_broken, f"{key}.{message}") for is_broken, message in part_rules(self, part))
        yield from process_rules(self)
        yield from route_rules(process_settings(self))


@dataclass(frozen=True, kw_only=True)
class ServiceArgs(ServiceSettings):
    """Arguments of Service."""

    cluster: Cluster
    """ECS cluster to run in: an `aws.ecs.Cluster`, or an ExistingCluster."""

    registry: Repository
    """Repository of the released images: a Registry or an ExistingRegistry."""

    load_balancer: Balancer | None = None
    """Load balancer that routes requests to the service: a LoadBalancer or an ExistingLoadBalancer. A worker, which has
    no port, has none."""

    vpc_id: VpcId
    """VPC of the subnets."""

    # The limit of ECS:
    subnet_ids: Annotated[pulumi.Input[Sequence[SubnetId]], items(1, 16, distinct=True)]
    """Subnets for the tasks, with outbound access to ECR and CloudWatch Logs: private ones, or with
    `assign_public_ip` public ones."""

    # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-task-networking.html
    assign_public_ip: bool = False
    """Give each task a public IP address, through which it reaches the internet from a public subnet without a NAT
    gateway. Requests still come from the load balancer only."""

    environment_name: EnvironmentName | None = None
    """Name of the environment in tags and messages. By default, the name of the stack. Services that use images from
    the same registry need different names, because their tags contain it."""

    container_name: ContainerName = APP
    """Name of the container whose image a release replaces, as in the build."""

    strategy: Strategy = field(default_factory=Rolling)
    """Deployment strategy."""

    task_statements: Sequence[Statement] = ()
    """Further IAM statements for the application itself, for example with a condition."""

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        yield from super().cross_checks()
        ports = {name: each.port for name, each in process_settings(self).items()}
        rule = f"a process has a port, got {ports}" if self.processes else f"port is set, got port={self.port}"
        yield (self.load_balancer is not None) != has_port(self), f"load_balancer must be set if, and only if, {rule}"
        if self.load_balancer is not None:
            yield protocol_rule(self, self.load_balancer.is_encrypted, "load_balancer must have a certificate")
        yield from strategy_rules(self, self.strategy)
        yield (
            self.service_connect is not None and self.namespace_arn is None,
            "service_connect.namespace_arn is required with a cluster that has no default namespace",
        )
        for _, capacity in capacities(self):
            yield address_rule(capacity, self.assign_public_ip, "assign_public_ip")

    @property
    def namespace_arn(self) -> pulumi.Input[str] | None:
        """The namespace of Service Connect."""
        given = self.service_connect.namespace_arn if self.service_connect else None
        return given or (self.cluster.namespace_arn if isinstance(self.cluster, ExistingCluster) else None)


S = TypeVar("S", bound=ServiceSettings)
Part = Process | Migration | Job


def process_settings(settings: S) -> dict[str, S]:
    """The complete settings of each process by name, `web` first. Without `processes`, these are the settings
    themselves.

    The settings of a process have no processes, migration and jobs, and without a port no load balancer, no alarm on
    failed requests and no strategy but Rolling.
    """
    if not settings.processes:
        return {WEB: settings}
    own = {WEB: Process(), **settings.processes}
    tasks = {name: settings.tasks if name == WEB else Tasks() for name in own}
    ports = {name: settings.port if name == WEB else None for name in own}
    checks = {name: settings.container_health_check if name == WEB else None for name in own}
    connect = settings.service_connect
    # The service's own rule is for web; the other processes have rules of their own.
    rule: dict[str, Any] = {"paths": EVERY_PATH, "hosts": (), "headers": {}, "listener_priority": None, "routes": {}}
    return {
        name: _with(
            settings,
            each,
            **{"port": ports[name], "tasks": tasks[name], "container_health_check": checks[name]},
            target_container=settings.target_container if name == WEB else None,
            service_connect=settings.service_connect if name == WEB else connect and connect.of_others,
            **({} if name == WEB else rule),
        )
        for name, each in own.items()
    }


def task_settings(settings: S, task: Migration | Job) -> S:
    """The complete settings of a migration or a job: of a task without a port and a load balancer."""
    nothing: dict[str, Any] = {"port": None, "container_health_check": None, "target_container": None, "routes": {}}
    # ECS supports only the tasks of its services.
    nothing |= {"service_connect": None}
    # A release shows the last lines of a migration.
    return _with(settings, task, **nothing, tasks=Tasks(), capacity=on_demand(settings.capacity), logging=AwsLogs())


def request_target(settings: ServiceArgs) -> tuple[str, int | None]:
    """The container and the port that get the requests of a process."""
    if settings.target_container is None:
        return settings.container_name, settings.port
    return settings.target_container, settings.sidecars[settings.target_container].port


def route_settings(settings: S) -> dict[str, S]:
    """The settings of each route by name, as if its port were the process's only one."""
    return {
        name: changed(
            settings,
            {**{each: getattr(route, each) for each in hints(Route)}, "paths": route.paths or EVERY_PATH, "routes": {}},
        )
        for name, route in settings.routes.items()
    }


def request_targets(settings: ServiceArgs) -> list[tuple[str, int | None]]:
    """The container and the port that get the requests of a process, and those of its routes."""
    routes = settings.routes.values()
    further = [(route.target_container or settings.container_name, route.port) for route in routes]
    return [request_target(settings), *further]


def connect_target(settings: ServiceArgs) -> tuple[str, int | None]:
    """The container and the port that others reach by Service Connect."""
    port = settings.service_connect.port if settings.service_connect else None
    if port is None:
        return request_target(settings)
    owners = {route.port: route.target_container for route in settings.routes.values()}
    owners |= {each.port: name for name, each in settings.sidecars.items() if each.port is not None}
    return owners.get(port) or settings.container_name, port


def port_mappings(settings: ServiceArgs, container: str, port: int | None) -> list[dict[str, Any]]:
    """The ports of a container: its own, those of routes to it, and the one that others reach by Service Connect."""
    ports = listening(settings.routes, None if container == settings.container_name else container, port)
    connect, (reached, served) = settings.service_connect, connect_target(settings)
    if connect is None or reached != container or served is None:
        return [port_mapping(each) for each in ports]
    version = versions(settings).get(served, HTTP1)
    return [*(port_mapping(each) for each in ports if each != served), port_mapping(served, connect, version)]


def versions(settings: ServiceSettings) -> dict[int, str]:
    """The HTTP versions of the requests of a load balancer, by port."""
    found = {route.port: route.protocol_version for route in settings.routes.values()}
    return found if settings.port is None else {**found, settings.port: settings.protocol_version}


def release_order(settings: ServiceSettings) -> list[list[str]]:
    """The names of the processes in groups: those of a group are released at once, and the groups one after the
    other."""
    processes = process_settings(settings)
    if settings.order:
        return [[name] for name in settings.order if name in processes]
    groups = [[name for name, each in processes.items() if (each.port is None) is late] for late in (False, True)]
    return [group for group in groups if group]


def release_minutes(settings: ServiceSettings, strategy: Strategy) -> int:
    """Minutes after which a release with its migration is late."""
    minutes = {name: _strategy(each, strategy).total_minutes for name, each in process_settings(settings).items()}
    groups = sum(max(minutes[name] for name in group) for group in release_order(settings))
    return groups + (settings.migration.timeout_minutes if settings.migration else 0)


def has_port(settings: ServiceSettings) -> bool:
    """Whether any process has a port, so that the service has a load balancer."""
    return any(each.port is not None for each in process_settings(settings).values())


def strategy_rules(settings: ServiceSettings, strategy: Strategy) -> Iterator[tuple[bool, str]]:
    """The requirements of a strategy on its service."""
    kind = type(strategy).__name__
    ports = [name for name, each in process_settings(settings).items() if each.port is not None]
    worker = not ports and not isinstance(strategy, Rolling)
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
    one = "CodeDeployBlueGreen" if isinstance(strategy, CodeDeployBlueGreen) else "Rolling with ecs_action"
    capacity = process_settings(settings)[WEB].capacity
    yield (
        isinstance(strategy, CodeDeployBlueGreen) and not isinstance(capacity, Fargate),
        f"strategy must not be CodeDeployBlueGreen with capacity {type(capacity).__name__}: CodeDeploy supports no "
        "capacity providers; BlueGreen does",
    )
    yield (
        isinstance(strategy, CodeDeployBlueGreen) and settings.service_connect is not None,
        "strategy must not be CodeDeployBlueGreen with service_connect: CodeDeploy does not support it; BlueGreen does",
    )
    others = [name for name in ports if name != WEB]
    yield (
        bool(others) and (isinstance(strategy, CodeDeployBlueGreen) or _by_ecs_action(strategy)),
        f"strategy must not be {one} with a port for a process other than web, got {others}: CodePipeline's action "
        "deploys one service",
    )
    yield from strategy_of_routes(settings, strategy)
    for name, each in process_settings(settings).items():
        timers = rollout_timers(each, strategy)
        waits = timers.healthy + timers.drain + each.stop_timeout_seconds
        yield (
            each.port is not None and waits >= 60 * strategy.deadline_minutes,
            f"strategy must have deadline_minutes above {waits / 60:g}, got {strategy.deadline_minutes}: a rollout of "
            f"{name} waits {timers.healthy} s for health checks, {timers.drain} s for requests to end and up to "
            f"{each.stop_timeout_seconds} s for a task to stop",
        )
    first = settings.order[0] if settings.order else WEB
    yield (
        first != WEB and (isinstance(strategy, CodeDeployBlueGreen) or _by_ecs_action(strategy)),
        f"strategy must not be {one} with an order that begins with {first}: CodePipeline's action deploys web before "
        "the release function deploys the others",
    )


def strategy_of_routes(settings: ServiceSettings, strategy: Strategy) -> Iterator[tuple[bool, str]]:
    """https://docs.aws.amazon.com/AmazonECS/latest/developerguide/register-multiple-targetgroups.html"""
    routes = [*process_settings(settings)[WEB].routes]
    yield (
        bool(routes) and isinstance(strategy, CodeDeployBlueGreen),
        f"strategy must not be CodeDeployBlueGreen with routes, got {routes}: CodeDeploy supports one port; BlueGreen "
        "supports two, and Rolling more",
    )
    # AWS does not say that the alternate target groups are not counted.
    most = MOST_GROUPS // 2 - 1
    yield (
        len(routes) > most and isinstance(strategy, BlueGreen),
        f"strategy must be Rolling with more than {most} route, got {type(strategy).__name__} and {routes}: a service "
        f"has at most {MOST_GROUPS} target groups, and each port has two if traffic is shifted",
    )


def protocol_rule(settings: ServiceSettings, encrypted: bool, message: str) -> tuple[bool, str]:
    """Clients speak HTTP/2 to a load balancer over TLS only, and others get 464 from tasks that do.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html
    """
    processes = process_settings(settings)
    ports = {name: each.protocol_version for name, each in processes.items() if each.port is not None}
    ports |= {f"routes[{name!r}]": each.protocol_version for name, each in processes[WEB].routes.items()}
    given = [f"{version} of {name}" for name, version in ports.items() if version != HTTP1]
    return bool(given) and not encrypted, f"{message} for the protocol_version {', '.join(given)}"


def capacities(settings: ServiceSettings) -> list[tuple[str, Capacity]]:
    """What the tasks run on, those of a migration and of jobs too, each once, with the field that says so."""
    found = []
    for name, each in process_settings(settings).items():
        own = settings.processes.get(name, Process()).capacity is not None
        found.append((f"processes[{name!r}].capacity" if own else "capacity", each.capacity))
    if settings.migration is not None or settings.jobs:
        found.append(("capacity", on_demand(settings.capacity)))
    return [*dict.fromkeys(found)]


def parts_of(settings: ServiceSettings) -> dict[str, Part]:
    """The processes, the migration and the jobs, each with the field that it is in."""
    return {
        **{f"processes[{name!r}]": process for name, process in settings.processes.items()},
        **({"migration": settings.migration} if settings.migration else {}),
        **{f"jobs[{name!r}]": job for name, job in settings.jobs.items()},
    }


def part_rules(settings: ServiceSettings, part: Part) -> Iterator[tuple[bool, str]]:
    """The rules for what a process, a migration or a job adds to the settings of its service."""
    merged = _with(settings, part)
    if part.cpu is not None or part.memory is not None:
        yield memory_rule(merged)
    yield from names_twice(part.environment, settings.secrets)
    commands = {"entrypoint": part.entrypoint or (), "command": part.command or ()}
    yield from credential_rules("environment", part.environment, settings.not_secret, INSTEAD, **commands)
    if part.environment:
        yield size_rule(merged)
    if isinstance(part, Process) and part.capacity is not None:
        yield from capacity_rules(part.capacity, settings.ephemeral_storage_gib)
    if isinstance(part, Process) and any(getattr(part, name) for name in (*CONDITIONS, *OF_CODES)):
        yield from request_rules(merged)


def process_rules(settings: ServiceSettings) -> Iterator[tuple[bool, str]]:
    """The rules for all processes together."""
    processes = process_settings(settings)
    priorities: dict[int, str] = {}
    for name, merged in processes.items():
        own, key = settings.processes.get(name, Process()), f"processes[{name!r}]."
        yield (
            merged.port is None and merged.tasks.target_requests_per_task is not None,
            f"{key if own.tasks else ''}tasks.target_requests_per_task must not be set for a process without a port, "
            "which receives no requests",
        )
        if name != WEB:
            given = [field for field in FOR_A_PORT if getattr(own, field) is not None]
            yield own.port is None and bool(given), f"{key}port is required with {', '.join(given)}"
            yield (
                own.port is not None and not any(getattr(own, field) for field in CONDITIONS),
                f"{key}paths, hosts or headers are required with a port: those of the service are for web",
            )
        if merged.port is not None and merged.listener_priority is not None:
            first = priorities.setdefault(merged.listener_priority, name)
            yield (
                first != name,
                f"{key}listener_priority must be different from that of {first}, got {merged.listener_priority} for "
                "both",
            )
    # One that asks for nothing is another rule's mistake.
    asking = {name for name, own in settings.processes.items() if any(getattr(own, field) for field in CONDITIONS)}
    yield from twice_rules({name: each for name, each in processes.items() if name in {WEB, *asking}})
    yield (
        bool(settings.order) and sorted(settings.order) != sorted(processes),
        f"order must have each of {list(processes)} exactly once, got {list(settings.order)}",
    )
    others, jobs = len(processes) - 1, len(settings.jobs)
    full = "the policies of the release function's role have 10,240 characters"
    yield others > MOST_PROCESSES, f"processes must be at most {MOST_PROCESSES} besides web, got {others}: {full}"
    yield jobs > MOST_JOBS, f"jobs must be at most {MOST_JOBS}, got {jobs}: {full}"
    twice = [name for name in settings.jobs if name in processes]
    yield bool(twice), f"jobs must not have names of processes, got {twice}"


MOST_PROCESSES, MOST_JOBS = 6, 15
"""https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html"""
CONDITIONS = ("paths", "hosts", "headers")
"""Fields that say which requests a process gets."""
OF_CODES = ("protocol_version", "health_check")
"""Fields that say which codes a process answers its health check with."""
FOR_A_PORT = (
    *("health_path", "health_check", "health_check_grace_seconds", "protocol_version", "drain_seconds", "stickiness"),
    *(*CONDITIONS, "listener_priority"),
)
"""Fields of a process that do nothing without a port."""


def memory_rule(settings: ServiceSettings) -> tuple[bool, str]:
    possible = list(FARGATE_MEMORY_MIB.get(settings.cpu, ()))
    return (
        bool(possible) and settings.memory not in possible,
        f"memory must be one of {possible} with cpu={settings.cpu}, got {settings.memory}",
    )


def size_rule(settings: ServiceSettings) -> tuple[bool, str]:
    length = variables_bytes(settings)
    return (
        length > VARIABLES_BYTES,
        f"environment and secrets must have at most {VARIABLES_BYTES} bytes in total as JSON, got {length}: a task "
        "definition has 64 KiB",
    )


def sidecar_rules(settings: ServiceSettings) -> Iterator[tuple[bool, str]]:
    """The rules for the containers of each task. Those of a part are checked if the service's are not broken."""
    app = settings.container_name if isinstance(settings, ServiceArgs) else APP
    rules = list(container_rules(settings, app))
    yield from rules
    if any(broken for broken, _ in rules):
        return
    merged = {f"processes[{name!r}]": each for name, each in process_settings(settings).items()}
    for key, part in parts_of(settings).items():
        chosen = list(chosen_rules(settings, part.sidecars or ()))
        if not any(broken for broken, _ in chosen):
            each = merged[key] if isinstance(part, Process) else task_settings(settings, part)
            chosen = list(container_rules(each, app))
        yield from ((broken, f"{key}.{message}") for broken, message in chosen)


def mount_rules(settings: ServiceSettings) -> Iterator[tuple[bool, str]]:
    """A container has one mount at a path."""
    taken = dict.fromkeys(EXEC_PATHS.values(), "ecs_exec") if settings.ecs_exec else {}
    for path in settings.writable_paths:
        yield path in taken, f"writable_paths must not have {path}, which {taken.get(path)} mounts"
        taken[path] = "writable_paths"
    for name, volume in settings.volumes.items():
        field = f"volumes[{name!r}]"
        yield (
            volume.path in taken,
            f"{field}.path must not be {volume.path}, which {taken.get(volume.path)} mounts",
        )
        taken[volume.path] = field


def connect_rules(settings: ServiceSettings) -> Iterator[tuple[bool, str]]:
    """Names and clients of a service are for a port that it serves."""
    connect, web = settings.service_connect, process_settings(settings)[WEB]
    if connect is None:
        return
    served = ("name", "client_port", "clients", "request_timeout_seconds", "idle_timeout_seconds")
    given = [field for field in served if getattr(connect, field)]
    port = web.port if connect.port is None else connect.port
    yield (
        port is None and bool(given),
        f"service_connect.port is required with {', '.join(given)} for a service without a port",
    )
    absent = [name for name, each in settings.sidecars.items() if each.port == port is not None]
    yield (
        bool(absent) and absent[0] not in web.sidecars,
        f"service_connect.port must be that of a container of web, got {port}: processes['web'].sidecars leaves out "
        f"{', '.join(absent)}",
    )
    version = versions(web).get(port, "") if port is not None else ""
    possible = SPOKEN.get(version, PROTOCOLS)
    yield (
        connect.protocol is not None and connect.protocol not in possible,
        f"service_connect.protocol must be one of {list(possible)} for a port with protocol_version={version}, got "
        f"{connect.protocol!r}: the requests of the load balancer come through its proxy too",
    )


def request_rules(settings: ServiceSettings) -> Iterator[tuple[bool, str]]:
    """The rules for the requests to a process."""
    yield from conditions_rules(conditions_paths(settings), settings.hosts, settings.headers)
    yield codes_rule(settings.health_check, settings.protocol_version)


def conditions_paths(settings: ServiceSettings) -> Sequence[str]:
    """The paths that the listener rule asks for: none if it asks for something else, and every path is meant."""
    every = tuple(settings.paths) == EVERY_PATH and bool(settings.hosts or settings.headers)
    return () if every else settings.paths


def health_path(settings: ServiceSettings) -> str:
    """The path of the load balancer's health check."""
    return GRPC_PATH if settings.protocol_version == GRPC and settings.health_path == "/" else settings.health_path


def variables_bytes(settings: ServiceSettings) -> int:
    """Size of the environment variables whose values are known, as JSON in a task definition."""
    given = [*settings.environment.items(), *settings.secrets.items()]
    known = [{"name": key, "valueFrom": value if isinstance(value, str) else ""} for key, value in given]
    return len(json.dumps(known).encode())


def _with(settings: S, part: Part, **defaults: Any) -> S:
    """The settings with what the part sets, and otherwise these defaults. They are not checked a second time."""
    given = {name: getattr(part, name) for name in hints(Process) if getattr(part, name, None) is not None}
    chosen = given.pop("sidecars", settings.sidecars if isinstance(part, Process) else ())
    changes = {**defaults, **given, "processes": {}, "order": (), "migration": None, "jobs": {}}
    # The same object without additions, so that Outputs in it stay the same.
    changes["environment"] = {**settings.environment, **part.environment} if part.environment else settings.environment
    for name in ("sidecars", "depends_on"):
        every = getattr(settings, name)
        changes[name] = {sidecar: value for sidecar, value in every.items() if sidecar in chosen}
    made = changed(settings, changes)
    if made.port is None:
        object.__setattr__(made, "error_alarm", None)
        if isinstance(made, ServiceArgs):
            object.__setattr__(made, "load_balancer", None)
            object.__setattr__(made, "strategy", _strategy(made, made.strategy))
    return made


def changed(settings: S, changes: Mapping[str, Any]) -> S:
    """The settings with other values, which are not checked: some rules hold for a service, and not for a process."""
    made = copy.copy(settings)
    for name, value in changes.items():
        object.__setattr__(made, name, value)
    return made


def _strategy(settings: ServiceSettings, strategy: Strategy) -> Strategy:
    """The strategy of a process: without a port, there is no traffic to shift."""
    if settings.port is not None or isinstance(strategy, Rolling):
        return strategy
    return Rolling(deadline_minutes=strategy.deadline_minutes)


def _by_ecs_action(strategy: Strategy) -> bool:
    return isinstance(strategy, Rolling) and strategy.ecs_action
