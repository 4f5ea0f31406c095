"""Where the logs of the application's container go."""

from __future__ import annotations

from typing import Any

import pytest
from slipway import AwsLogs, FireLens, Job, Migration, NoLogs, Process, Sidecar, Splunk
from unit.examples import service
from unit.harness import Resource, deploy, granted, named, rights

TOKEN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:splunk-a1b2c3"
SPLUNK = Splunk(url="https://splunk.example.com:8088", token=TOKEN, options={"splunk-index": "shop"})
FIRE = FireLens(options={"Name": "datadog", "TLS": "on"}, secret_options={"apikey": f"{TOKEN}:key::"})
TASKS: dict[str, Any] = {
    "sidecars": {"otel": Sidecar(image="otel")},
    "processes": {"worker": Process(command=["work"])},
    "migration": Migration(command=["migrate"]),
    "jobs": {"report": Job(command=["report"], schedule="rate(1 hour)")},
}


def made(**args: Any) -> list[Resource]:
    return deploy(lambda: service("api", **args))


def logs(resources: list[Resource], template: str = "api-template") -> dict[str, Any]:
    found = named(resources, template, "TaskDefinition").json("containerDefinitions")
    return {each["name"]: each.get("logConfiguration") for each in found}


def awslogs(prefix: str) -> dict[str, Any]:
    options = {"awslogs-group": "/ecs/api", "awslogs-region": "eu-west-1", "mode": "non-blocking"}
    return {"logDriver": "awslogs", "options": {**options, "awslogs-stream-prefix": prefix}}


SENT: list[tuple[Any, dict[str, Any] | None]] = [
    (AwsLogs(), awslogs("app")),
    (NoLogs(), None),
    (
        SPLUNK,
        {
            "logDriver": "splunk",
            "options": {"splunk-index": "shop", "splunk-url": "https://splunk.example.com:8088"},
            "secretOptions": [{"name": "splunk-token", "valueFrom": TOKEN}],
        },
    ),
    (
        FIRE,
        {
            "logDriver": "awsfirelens",
            "options": {"Name": "datadog", "TLS": "on"},
            "secretOptions": [{"name": "apikey", "valueFrom": f"{TOKEN}:key::"}],
        },
    ),
    (FireLens(config_file="/etc/own.conf"), {"logDriver": "awsfirelens"}),
]


@pytest.mark.parametrize(("logging", "sent"), SENT, ids=["awslogs", "none", "splunk", "firelens", "file"])
def test_the_log_of_the_application_goes_where_it_is_sent_and_the_others_to_the_log_group(
    logging: Any, sent: dict[str, Any] | None
) -> None:
    resources = made(logging=logging, **TASKS)
    worker = awslogs("worker") if isinstance(logging, AwsLogs) else sent
    router = isinstance(logging, FireLens)
    assert logs(resources) == {
        "app": sent,
        "otel": awslogs("otel"),
        **({"log-router": awslogs("app")} if router else {}),
    }
    assert logs(resources, "api-worker-template") == {
        "app": worker,
        "otel": awslogs("worker"),
        **({"log-router": awslogs("worker")} if router else {}),
    }
    # A release shows the end of the log of a migration.
    assert logs(resources, "api-migration-template") == {"app": awslogs("migration")}
    assert logs(resources, "api-report-template") == {"app": awslogs("report")}


@pytest.mark.parametrize(
    ("logging", "options"),
    [
        (FIRE, {}),
        (
            FireLens(config_file="/etc/own.conf"),
            {"config-file-type": "file", "config-file-value": "/etc/own.conf"},
        ),
    ],
)
def test_fluent_bit_runs_in_a_container_of_its_own(logging: FireLens, options: dict[str, str]) -> None:
    [_, router] = named(made(logging=logging), "api-template", "TaskDefinition").json("containerDefinitions")
    assert router == {
        "name": "log-router",
        "image": "public.ecr.aws/aws-observability/aws-for-fluent-bit:stable",
        "essential": True,
        "user": "0",
        "firelensConfiguration": {"type": "fluentbit", "options": {"enable-ecs-log-metadata": "true", **options}},
        "memoryReservation": 50,
        "logConfiguration": awslogs("app"),
    }


@pytest.mark.parametrize("logging", [SPLUNK, FIRE])
def test_the_role_that_starts_a_task_reads_the_secrets_of_the_log_driver(logging: Any) -> None:
    added = rights(made(logging=logging), "api-execution-policy") - rights(made(), "api-execution-policy")
    assert added == granted([{"Effect": "Allow", "Action": ["secretsmanager:GetSecretValue"], "Resource": [TOKEN]}])


def test_an_image_of_fluent_bit_in_ecr_may_be_pulled() -> None:
    image = "210987654321.dkr.ecr.eu-west-1.amazonaws.com/fluent-bit:1"
    logging = FireLens(options={"Name": "null"}, image=image)
    added = rights(made(logging=logging), "api-execution-policy") - rights(made(), "api-execution-policy")
    assert {right for right in map(str, added) if "repository/fluent-bit" not in right} == set()
    assert added


@pytest.mark.parametrize("logging", [AwsLogs(), NoLogs()])
def test_other_log_drivers_add_no_rights(logging: Any) -> None:
    assert rights(made(logging=logging), "api-execution-policy") == rights(made(), "api-execution-policy")


@pytest.mark.parametrize(
    ("kind", "args", "message"),
    [
        (FireLens, {}, "options or config_file is required"),
        (
            FireLens,
            {"options": {"a": "1"}, "secret_options": {"a": TOKEN}},
            "options must not have names that are also in secret_options, got ['a']",
        ),
        (
            FireLens,
            {"options": {"key": "AKIAIOSFODNN7EXAMPLE"}},
            "options['key'] must not be a secret, but is an AWS access key: anyone who can describe the resource can "
            "read it; put it into secret_options",
        ),
        (
            Splunk,
            {"url": "https://x", "token": TOKEN, "options": {"splunk-token": "x"}},
            "options must not have splunk-token, which have keys of their own",
        ),
        (
            Splunk,
            {"url": "https://x", "token": TOKEN, "options": {"splunk-source": "AKIAIOSFODNN7EXAMPLE"}},
            "options['splunk-source'] must not be a secret, but is an AWS access key: anyone who can describe the "
            "resource can read it; put it into token",
        ),
    ],
)
def test_logging_that_cannot_work_is_refused(kind: Any, args: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        kind(**args)
    assert str(error.value) == message


def test_the_memory_of_fluent_bit_is_part_of_the_tasks() -> None:
    with pytest.raises(ValueError, match=r"^memory must be above 512, which the sidecars take, got 512$"):
        made(logging=FireLens(options={"Name": "null"}, memory_reservation_mib=512))


def test_a_sidecar_is_not_called_like_the_log_router() -> None:
    with pytest.raises(ValueError, match=r"^sidecars: the name 'log-router' must be a name of a-z 0-9"):
        made(sidecars={"log-router": Sidecar(image="otel")})
