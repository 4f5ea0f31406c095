"""Containers that run beside the application's in each task, such as a proxy or a collector of telemetry."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import pulumi

from slipway._constraints import arn, between, check, match, one_of
from slipway._outputs import filled
from slipway._secrets import SecretReference, VariableName, credential_rules, names_twice, plaintext_values
from slipway.codebuild import ImageReference
from slipway.iam import Scope, Statement, allow
from slipway.registry import PULL
from slipway.service.containers import ContainerHealthCheck, User, port_mappings
from slipway.service.logging import FireLens
from slipway.service.processes import CommandPart, Port, StopTimeout
from slipway.service.volumes import ContainerPath, VolumeName, WritablePaths, writable

if TYPE_CHECKING:
    from slipway.service.args import ServiceSettings

MOST = 8
"""A task definition has ten containers: the application's, and that of a log router.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-quotas.html"""
CONDITIONS = ("START", "HEALTHY", "COMPLETE", "SUCCESS")
INSTEAD = "put it into secrets of the sidecar"
SidecarName = Annotated[
    str,
    match(
        r"(?!log-router$)[a-z][a-z0-9]*(-[a-z0-9]+)*",
        "be a name of a-z 0-9 and single - between them, starting with a letter, other than log-router,",
        "otel",
        ["log-router", "Otel", "1st", "a_b", "a--b", "a-", "-a"],
        longest=40,
    ),
]
Condition = Annotated[str, one_of(CONDITIONS)]
"""https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDependency.html"""
CredentialsArn = Annotated[
    pulumi.Input[str],
    arn("a secret in Secrets Manager", "secretsmanager", r"secret:[\w/+=.@-]+", "secret:hub-a1b2c3", shown=False),
]
ECR_IMAGE = re.compile(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/([^:@]+)(?:[:@].*)?")


@dataclass(frozen=True, kw_only=True)
class Sidecar:
    """A container beside the application's, with an image of its own. Releases replace the application's image only.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html
    """

    image: ImageReference
    """Image, best by digest: a tag can be moved to another image between two tasks. If it is in ECR, the service may
    pull it; a repository in another account must allow that too."""

    entrypoint: Sequence[CommandPart] = ()
    """Entry point instead of the image's, one entry a word."""

    command: Sequence[CommandPart] = ()
    """Command instead of the image's, one entry a word."""

    environment: Mapping[VariableName, pulumi.Input[str]] = field(default_factory=dict)
    """Environment variables of this container."""

    secrets: Mapping[VariableName, SecretReference] = field(default_factory=dict)
    """Environment variables by reference, as in the service. `secrets_kms_key_arns` of the service are for these
    too."""

    port: Port | None = None
    """Port on which it listens. The containers of a task reach each other as `localhost`, so each port is another."""

    essential: bool = True
    """Replace the task when this container stops. Turn this off for one that may stop, or is to run to its end."""

    cpu: Annotated[int, between(1, 16_384)] | None = None
    """CPU units of the task that it gets under load. By default, it shares them."""

    memory_mib: Annotated[int, between(6, 122_880)] | None = None
    """MiB of the task's memory at which it is stopped. By default, it may use all of it."""

    memory_reservation_mib: Annotated[int, between(6, 122_880)] | None = None
    """MiB of the task's memory that are kept for it."""

    health_check: ContainerHealthCheck | None = None
    """A command in it that says whether it is healthy."""

    depends_on: Mapping[str, Condition] = field(default_factory=dict)
    """Containers that must reach a condition before it starts: START, HEALTHY, COMPLETE (ended) or SUCCESS (ended
    with exit code 0). It is stopped before them."""

    stop_timeout_seconds: StopTimeout | None = None
    """Seconds between SIGTERM and SIGKILL. By default, 30."""

    user: User | None = None
    """User, and optionally group, by name or number, instead of the image's."""

    read_only_root_filesystem: bool = True
    """Mount its root file system read-only."""

    writable_paths: WritablePaths = ()
    """Paths that it can write to nevertheless, for itself alone. They belong to root unless its image says otherwise,
    which nothing checks."""

    mounts: Mapping[VolumeName, ContainerPath] = field(default_factory=dict)
    """`volumes` of the service that it mounts too, each with the path at which it has them."""

    credentials_secret_arn: CredentialsArn | None = None
    """ARN of a secret with the keys `username` and `password` for a private registry outside ECR."""

    def __post_init__(self) -> None:
        check(self)

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        yield from names_twice(self.environment, self.secrets)
        most, least = self.memory_mib, self.memory_reservation_mib
        yield (
            most is not None and least is not None and least >= most,
            f"memory_reservation_mib must be below memory_mib={most}, got {least}",
        )
        paths = [*self.writable_paths, *self.mounts.values()]
        twice = sorted({path for path in paths if paths.count(path) > 1})
        yield bool(twice), f"mounts must have paths of their own, got {twice} twice"

    @property
    def kept_memory(self) -> int:
        return self.memory_mib or self.memory_reservation_mib or 0


DependsOn = Mapping[str, Condition]


def container_rules(settings: ServiceSettings, app: str) -> Iterator[tuple[bool, str]]:
    """The rules for the containers of a task, of which `app` is the application's."""
    sidecars = settings.sidecars
    yield len(sidecars) > MOST, f"sidecars must be at most {MOST}, got {len(sidecars)}: a task has ten containers"
    yield app in sidecars, f"sidecars must not have the name of the application's container, {app}"
    ports = {settings.port: "port"} if settings.port is not None else {}
    for name, each in sidecars.items():
        at = f"sidecars[{name!r}]"
        if each.port is not None:
            other = ports.setdefault(each.port, f"{at}.port")
            yield other != f"{at}.port", f"{at}.port must be different from {other}, got {each.port} for both"
        unknown = [volume for volume in each.mounts if volume not in settings.volumes]
        yield bool(unknown), f"{at}.mounts must have names of volumes, {[*settings.volumes]}, got {unknown}"
        yield from dependency_rules(settings, app, name)
    yield from dependency_rules(settings, app, app)
    given = {app: settings.depends_on, **{name: each.depends_on for name, each in sidecars.items()}}
    # That a container does not depend on itself is another rule.
    circle = circle_in({name: {other: on[other] for other in on if other != name} for name, on in given.items()})
    yield bool(circle), f"depends_on must not lead back to the same container, got {' -> '.join(circle)}"
    target = settings.target_container
    with_port = [name for name, each in sidecars.items() if each.port is not None]
    yield (
        target is not None and target not in with_port,
        f"target_container must be a sidecar with a port, one of {with_port}, got {target!r}",
    )
    yield target is not None and settings.port is None, "target_container must not be set without a port"
    router = settings.logging.memory_reservation_mib if isinstance(settings.logging, FireLens) else 0
    for size, used in (
        ("cpu", sum(each.cpu or 0 for each in sidecars.values())),
        ("memory", sum(each.kept_memory for each in sidecars.values()) + router),
    ):
        yield (
            used >= getattr(settings, size),
            f"{size} must be above {used}, which the sidecars take, got {getattr(settings, size)}",
        )


def chosen_rules(settings: ServiceSettings, names: Sequence[str]) -> Iterator[tuple[bool, str]]:
    """The rules for the names of sidecars of a process, a migration or a job."""
    unknown = [name for name in names if name not in settings.sidecars]
    yield bool(unknown), f"sidecars must have names of the service's sidecars, {[*settings.sidecars]}, got {unknown}"
    for name in names:
        for other in settings.sidecars[name].depends_on if name in settings.sidecars else ():
            missing = other in settings.sidecars and other not in names
            yield missing, f"sidecars must have {other}, which {name} depends on, got {list(names)}"


def dependency_rules(settings: ServiceSettings, app: str, name: str) -> Iterator[tuple[bool, str]]:
    """What a container may depend on: another one, in a condition that it can reach."""
    own = name == app
    given = settings.depends_on if own else settings.sidecars[name].depends_on
    at = "depends_on" if own else f"sidecars[{name!r}].depends_on"
    possible = [each for each in (app, *settings.sidecars) if each != name]
    for other, condition in given.items():
        yield other not in possible, f"{at} must have names of other containers of the task, {possible}, got {other!r}"
        if other not in possible:
            continue
        if other == app:
            checked, ends = settings.container_health_check is not None, False
        else:
            checked, ends = settings.sidecars[other].health_check is not None, not settings.sidecars[other].essential
        where = f"{at}[{other!r}] must not be {condition}, as that container"
        yield condition == "HEALTHY" and not checked, f"{where} has no health check"
        yield condition in ("COMPLETE", "SUCCESS") and not ends, f"{where} is essential"


def circle_in(graph: Mapping[str, DependsOn]) -> list[str]:
    """A way from a container back to itself, or nothing."""

    def follow(way: list[str]) -> list[str]:
        for each in graph.get(way[-1], {}):
            if each in way:
                return [*way[way.index(each) :], each]
            if found := follow([*way, each]):
                return found
        return []

    return next((found for start in graph if (found := follow([start]))), [])


def plaintext_of_sidecars(settings: ServiceSettings) -> Iterator[tuple[bool, str]]:
    """Nobody writes a credential into the environment of a sidecar."""
    for name, each in settings.sidecars.items():
        commands = {"entrypoint": each.entrypoint, "command": each.command}
        rules = credential_rules("environment", each.environment, settings.not_secret, INSTEAD, **commands)
        yield from ((broken, f"sidecars[{name!r}].{message}") for broken, message in rules)


def definition(
    name: str,
    sidecar: Sidecar,
    secrets: Mapping[str, pulumi.Input[str]],
    not_secret: Sequence[str],
    log: Mapping[str, Any],
    ports: Sequence[int],
) -> dict[str, Any]:
    """The container definition.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html
    """
    environment = plaintext_values("environment", sidecar.environment, not_secret, INSTEAD)
    mounts = {**writable(sidecar.writable_paths, name), **sidecar.mounts}
    optional: dict[str, Any] = {
        "entryPoint": list(sidecar.entrypoint),
        "command": list(sidecar.command),
        "portMappings": port_mappings(ports),
        "environment": [{"name": key, "value": value} for key, value in sorted(environment.items())],
        "secrets": [{"name": key, "valueFrom": value} for key, value in sorted(secrets.items())],
        "cpu": sidecar.cpu,
        "memory": sidecar.memory_mib,
        "memoryReservation": sidecar.memory_reservation_mib,
        "healthCheck": sidecar.health_check and sidecar.health_check.definition(),
        "dependsOn": dependencies(sidecar.depends_on),
        "mountPoints": [{"sourceVolume": volume, "containerPath": path} for volume, path in mounts.items()],
        "stopTimeout": sidecar.stop_timeout_seconds,
        "user": sidecar.user,
    }
    if sidecar.credentials_secret_arn is not None:
        optional["repositoryCredentials"] = {"credentialsParameter": sidecar.credentials_secret_arn}
    return {
        "name": name,
        "image": sidecar.image,
        "essential": sidecar.essential,
        "readonlyRootFilesystem": sidecar.read_only_root_filesystem,
        **{key: value for key, value in optional.items() if value not in (None, [])},
        "logConfiguration": log,
    }


def references(sidecars: Mapping[str, Sidecar]) -> dict[str, pulumi.Input[str]]:
    """The secrets that sidecars read, and those that their images are pulled with, by field."""
    found: dict[str, pulumi.Input[str]] = {}
    for name, each in sidecars.items():
        found |= {f"sidecars[{name!r}].secrets[{key!r}]": reference for key, reference in each.secrets.items()}
        if each.credentials_secret_arn is not None:
            found[f"sidecars[{name!r}].credentials_secret_arn"] = each.credentials_secret_arn
    return found


def dependencies(given: DependsOn) -> list[dict[str, str]]:
    return [{"containerName": name, "condition": condition} for name, condition in sorted(given.items())]


def pull_statements(images: Sequence[pulumi.Input[str]], scope: Scope) -> list[Statement]:
    """Pull those of the images that are in ECR. The token for it is that of the application's image.

    https://docs.aws.amazon.com/AmazonECR/latest/userguide/ECR_on_ECS.html
    """
    if not images:
        return []

    def repositories(known: Sequence[Any]) -> list[str]:
        partition, *references = known
        found = [match for each in references if (match := ECR_IMAGE.fullmatch(each))]
        return sorted({f"arn:{partition}:ecr:{each[2]}:{each[1]}:repository/{each[3]}" for each in found})

    return [allow(*PULL, on=filled([scope.partition, *images], repositories))]
