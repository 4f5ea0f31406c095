"""Where the logs of the application's container go.

Those of sidecars, of the migration and of jobs go to the log group of the service in any case: a release shows the last
lines of a migration that failed.
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/using_awslogs.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import pulumi

from slipway._constraints import Choice, between, check, match
from slipway._credentials import credential
from slipway._secrets import SecretReference
from slipway.codebuild import ImageReference
from slipway.service.volumes import ContainerPath

ROUTER = "log-router"
"""Name of FireLens's container."""
OptionName = Annotated[str, match(r"[A-Za-z0-9_.-]+", "be the name of an option", "Match", ["a b", "a="])]


@dataclass(frozen=True, kw_only=True)
class AwsLogs:
    """The log group of the service in CloudWatch Logs."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class NoLogs:
    """No logs, for an application that sends them itself."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class Splunk:
    """Splunk's HTTP Event Collector. A task does not start while it cannot be reached, unless
    `splunk-verify-connection` is `false`.

    https://docs.docker.com/engine/logging/drivers/splunk/
    """

    url: Annotated[
        pulumi.Input[str],
        match(
            r"https?://[A-Za-z0-9.-]+(:\d+)?",
            "be an address such as https://splunk.example.com:8088, without a path",
            "https://splunk.example.com:8088",
            ["splunk.example.com", "https://splunk.example.com/", "ftp://x"],
        ),
    ]
    """Address of the collector."""

    token: SecretReference
    """Its token by reference, as in `secrets`."""

    options: Mapping[OptionName, pulumi.Input[str]] = field(default_factory=dict)
    """Other options of the log driver, such as `splunk-index`."""

    def __post_init__(self) -> None:
        check(self)

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        own = sorted({"splunk-url", "splunk-token"} & self.options.keys())
        yield bool(own), f"options must not have {', '.join(own)}, which have keys of their own"
        yield from plaintext(self.options, "token")


@dataclass(frozen=True, kw_only=True)
class FireLens:
    """Fluent Bit in a container of its own, `log-router`, which sends the logs wherever it has an output for.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/using_firelens.html
    """

    options: Mapping[OptionName, pulumi.Input[str]] = field(default_factory=dict)
    """Options of an output of Fluent Bit, such as `Name: datadog`. What it needs of AWS must be in `permissions` of the
    service. Without options, `config_file` must have the output."""

    secret_options: Mapping[OptionName, SecretReference] = field(default_factory=dict)
    """Options by reference, as in `secrets`."""

    config_file: ContainerPath | None = None
    """Path in the image of a configuration of Fluent Bit that is read in addition."""

    image: ImageReference = "public.ecr.aws/aws-observability/aws-for-fluent-bit:stable"
    """Image of Fluent Bit, best by digest."""

    memory_reservation_mib: Annotated[int, between(6, 122_880)] = 50
    """MiB of the task's memory that are kept for it."""

    def __post_init__(self) -> None:
        check(self)

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        yield not self.options and self.config_file is None, "options or config_file is required"
        twice = sorted({*self.options} & {*self.secret_options})
        yield bool(twice), f"options must not have names that are also in secret_options, got {twice}"
        yield from plaintext(self.options, "secret_options")


Logging = Annotated[
    AwsLogs | Splunk | FireLens | NoLogs,
    Choice({"awsLogs": AwsLogs, "splunk": Splunk, "fireLens": FireLens, "none": NoLogs}),
]


def plaintext(options: Mapping[str, pulumi.Input[str]], instead: str) -> Iterator[tuple[bool, str]]:
    """Anyone who can describe the task definition can read options."""
    for name, value in options.items():
        kind = credential(value) if isinstance(value, str) else None
        yield (
            kind is not None,
            f"options[{name!r}] must not be a secret, but is {kind}: anyone who can describe the resource can read it; "
            f"put it into {instead}",
        )


def log_references(logging: AwsLogs | Splunk | FireLens | NoLogs) -> dict[str, pulumi.Input[str]]:
    """The secrets of the log driver, by field."""
    if isinstance(logging, Splunk):
        return {"logging.token": logging.token}
    secrets = logging.secret_options if isinstance(logging, FireLens) else {}
    return {f"logging.secret_options[{name!r}]": reference for name, reference in secrets.items()}


def log_configuration(
    logging: AwsLogs | Splunk | FireLens | NoLogs, secrets: Mapping[str, pulumi.Input[str]], group: Mapping[str, Any]
) -> dict[str, Any] | None:
    """The log configuration of the application's container; `group` is that of the log group.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_LogConfiguration.html
    """
    if isinstance(logging, NoLogs):
        return None
    if isinstance(logging, Splunk):
        options = {**dict(sorted(logging.options.items())), "splunk-url": logging.url}
        token = [{"name": "splunk-token", "valueFrom": secrets["logging.token"]}]
        return {"logDriver": "splunk", "options": options, "secretOptions": token}
    if isinstance(logging, FireLens):
        secret = [
            {"name": name, "valueFrom": secrets[f"logging.secret_options[{name!r}]"]}
            for name in sorted(logging.secret_options)
        ]
        given = {"options": dict(sorted(logging.options.items())), "secretOptions": secret}
        return {"logDriver": "awsfirelens", **{key: value for key, value in given.items() if value}}
    return dict(group)


def router(logging: AwsLogs | Splunk | FireLens | NoLogs, group: Mapping[str, Any]) -> list[dict[str, Any]]:
    """FireLens's container, whose own log is in the log group.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/firelens-taskdef.html
    """
    if not isinstance(logging, FireLens):
        return []
    options = {"enable-ecs-log-metadata": "true"}
    if logging.config_file is not None:
        # On Fargate, only a file of the image.
        options |= {"config-file-type": "file", "config-file-value": logging.config_file}
    return [
        {
            "name": ROUTER,
            "image": logging.image,
            "essential": True,
            # It reads the application's log from a socket of root.
            "user": "0",
            "firelensConfiguration": {"type": "fluentbit", "options": options},
            "memoryReservation": logging.memory_reservation_mib,
            "logConfiguration": dict(group),
        }
    ]
