"""Containers beside the application's."""

from __future__ import annotations

from typing import Any

import pulumi
import pytest
from slipway import (
    ContainerHealthCheck,
    EfsDirectory,
    EfsVolume,
    Job,
    Migration,
    Process,
    Sidecar,
)
from slipway.service.args import ServiceSettings
from unit.examples import service
from unit.harness import Resource, deploy, granted, named, of_type, rights

OTEL = "public.ecr.aws/aws-observability/aws-otel-collector:v0.43.0"
PLACE = "eu-west-1:123456789012"
SECRET = f"arn:aws:secretsmanager:{PLACE}:secret:otel-a1b2c3"
INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
PROXY = Sidecar(image="nginx", port=8000)
CHECK = ContainerHealthCheck(command=["CMD", "check"])
CHECKED = Sidecar(image=OTEL, health_check=CHECK)
ENDS = Sidecar(image=OTEL, essential=False)
LOG = {
    "logDriver": "awslogs",
    "options": {
        "awslogs-group": "/ecs/api",
        "awslogs-region": "eu-west-1",
        "awslogs-stream-prefix": "otel",
        "mode": "non-blocking",
    },
}


def made(**args: Any) -> list[Resource]:
    return deploy(lambda: service("api", **args))


def containers(resources: list[Resource], template: str = "api-template") -> dict[str, Any]:
    found = named(resources, template, "TaskDefinition").json("containerDefinitions")
    return {each["name"]: each for each in found}


def refused(**settings: Any) -> list[str]:
    with pytest.raises(ValueError) as error:
        ServiceSettings(**settings)
    return str(error.value).split("\n")


def test_a_sidecar_runs_beside_the_applications_container_and_logs_under_its_own_name() -> None:
    plain, both = containers(made()), containers(made(sidecars={"otel": Sidecar(image=OTEL)}))
    assert both == {
        **plain,
        "otel": {
            "name": "otel",
            "image": OTEL,
            "essential": True,
            "readonlyRootFilesystem": True,
            "logConfiguration": LOG,
        },
    }


def test_a_sidecar_has_all_of_its_options() -> None:
    sidecar = Sidecar(
        image=OTEL,
        entrypoint=["/otel"],
        command=["--config", "/etc/otel"],
        environment={"B": "2", "A": "1"},
        secrets={"TOKEN": SECRET},
        port=4317,
        essential=False,
        cpu=64,
        memory_mib=128,
        memory_reservation_mib=64,
        health_check=CHECK,
        depends_on={"app": "START"},
        stop_timeout_seconds=10,
        user="1000",
        read_only_root_filesystem=False,
        writable_paths=["/tmp"],
        mounts={"uploads": "/uploads"},
        credentials_secret_arn=f"{SECRET[:-11]}hub-a1b2c3",
    )
    uploads = EfsVolume(file_system_id="fs-0123456789abcdef0", path="/data", directory=EfsDirectory(path="/a"))
    resources = made(sidecars={"otel": sidecar}, volumes={"uploads": uploads})
    assert containers(resources)["otel"] == {
        "name": "otel",
        "image": OTEL,
        "entryPoint": ["/otel"],
        "command": ["--config", "/etc/otel"],
        "environment": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
        "secrets": [{"name": "TOKEN", "valueFrom": SECRET}],
        "portMappings": [{"containerPort": 4317, "hostPort": 4317, "protocol": "tcp"}],
        "essential": False,
        "cpu": 64,
        "memory": 128,
        "memoryReservation": 64,
        "healthCheck": CHECK.definition(),
        "dependsOn": [{"containerName": "app", "condition": "START"}],
        "stopTimeout": 10,
        "user": "1000",
        "readonlyRootFilesystem": False,
        "mountPoints": [
            {"sourceVolume": "otel_path-tmp", "containerPath": "/tmp"},
            {"sourceVolume": "uploads", "containerPath": "/uploads"},
        ],
        "repositoryCredentials": {"credentialsParameter": f"{SECRET[:-11]}hub-a1b2c3"},
        "logConfiguration": LOG,
    }
    volumes = named(resources, "api-template", "TaskDefinition").inputs["volumes"]
    assert [each["name"] for each in volumes] == ["otel_path-tmp", "uploads"]


def test_the_role_that_starts_a_task_reads_what_its_sidecars_need_and_nothing_else() -> None:
    hub = f"arn:aws:secretsmanager:{PLACE}:secret:hub-a1b2c3"
    registry, other = "210987654321.dkr.ecr.eu-central-1.amazonaws.com", "123456789012.dkr.ecr.eu-west-3.amazonaws.com"
    sidecars = {
        "public": Sidecar(image=OTEL),
        "tagged": Sidecar(image=f"{registry}/base/proxy:1"),
        "pinned": Sidecar(image=f"{registry}/base/proxy@sha256:{'0' * 64}"),
        "bare": Sidecar(image=f"{other}/tools"),
        "secret": Sidecar(image=OTEL, secrets={"A": f"{SECRET}:a::"}, credentials_secret_arn=hub),
    }
    added = rights(made(sidecars=sidecars), "api-execution-policy") - rights(made(), "api-execution-policy")
    pull = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    assert added == granted(
        [
            {
                "Effect": "Allow",
                "Action": pull,
                "Resource": [
                    "arn:aws:ecr:eu-central-1:210987654321:repository/base/proxy",
                    "arn:aws:ecr:eu-west-3:123456789012:repository/tools",
                ],
            },
            {"Effect": "Allow", "Action": ["secretsmanager:GetSecretValue"], "Resource": [hub, SECRET]},
        ]
    )


def test_an_image_outside_ecr_adds_no_rights() -> None:
    with_sidecar = rights(made(sidecars={"otel": Sidecar(image=OTEL)}), "api-execution-policy")
    assert with_sidecar == rights(made(), "api-execution-policy")


def test_sidecars_run_in_all_processes_and_elsewhere_only_where_they_are_named() -> None:
    sidecars = {"otel": CHECKED, "proxy": PROXY}
    resources = made(
        sidecars=sidecars,
        depends_on={"otel": "HEALTHY"},
        processes={"worker": Process(command=["w"]), "mailer": Process(command=["m"], sidecars=["proxy"])},
        migration=Migration(command=["migrate"]),
        jobs={
            "report": Job(command=["report"], schedule="rate(1 hour)"),
            "export": Job(command=["export"], schedule="rate(1 hour)", sidecars=["otel"]),
        },
    )
    parts = ("", "worker-", "mailer-", "migration-", "report-", "export-")
    found = {part: containers(resources, f"api-{part}template") for part in parts}
    assert {part: {*each} for part, each in found.items()} == {
        "": {"app", "otel", "proxy"},
        "worker-": {"app", "otel", "proxy"},
        "mailer-": {"app", "proxy"},
        "migration-": {"app"},
        "report-": {"app"},
        "export-": {"app", "otel"},
    }
    waits = {part: each["app"].get("dependsOn") for part, each in found.items()}
    for_otel = [{"containerName": "otel", "condition": "HEALTHY"}]
    assert waits == {part: for_otel if part in ("", "worker-", "export-") else None for part in parts}
    prefixes = {
        part: each["otel"]["logConfiguration"]["options"]["awslogs-stream-prefix"]
        for part, each in found.items()
        if "otel" in each
    }
    assert prefixes == {"": "otel", "worker-": "worker", "export-": "export"}


def test_a_proxy_gets_the_requests_in_place_of_the_application() -> None:
    resources = made(sidecars={"proxy": PROXY}, target_container="proxy")
    target = {"containerName": "proxy", "containerPort": 8000}
    [balancer] = named(resources, "api", "ecs/service:Service").inputs["loadBalancers"]
    assert {key: balancer[key] for key in target} == target
    [sent] = named(resources, "api-release-rollout-1").json("input")["rollout"]["settings"]["load_balancers"]
    assert {key: sent[key] for key in target} == target
    # Only the proxy can be reached from outside.
    rules = [each.inputs["fromPort"] for each in of_type(resources, INGRESS) if each.name.startswith("api-in-")]
    assert rules == [8000]
    assert containers(resources)["app"]["portMappings"][0]["containerPort"] == 8080


def test_a_process_has_a_target_of_its_own_and_not_that_of_web() -> None:
    api = Process(port=9000, paths=["/api/*"])
    admin = Process(port=9001, hosts=["x.y"], target_container="proxy")
    resources = made(sidecars={"proxy": PROXY}, target_container="proxy", processes={"api": api, "admin": admin})
    services = of_type(resources, "aws:ecs/service:Service")
    targets = {each.name: each.inputs["loadBalancers"][0]["containerName"] for each in services}
    assert targets == {"api": "proxy", "api-api": "app", "api-admin": "proxy"}


def test_secrets_of_sidecars_replace_the_tasks_when_they_change() -> None:
    resources = made(sidecars={"otel": Sidecar(image=OTEL, secrets={"A": SECRET})}, restart_on_secret_change=True)
    assert named(resources, "api-secrets", "eventRule:EventRule").json("eventPattern")["resources"] == [SECRET]


def test_a_secret_of_a_sidecar_is_in_the_region_of_the_service() -> None:
    elsewhere = SECRET.replace("eu-west-1", "us-east-1")
    with pytest.raises(
        ValueError, match=r"^sidecars\['otel'\]\.secrets\['A'\] must be in eu-west-1, got one in us-east"
    ):
        made(sidecars={"otel": Sidecar(image=OTEL, secrets={"A": elsewhere})})


def test_the_repository_of_an_image_that_is_known_later_may_be_pulled_from_too() -> None:
    def program() -> None:
        image = pulumi.Output.from_input("210987654321.dkr.ecr.eu-west-3.amazonaws.com/tools:1")
        service("api", sidecars={"tools": Sidecar(image=image)})

    pulled = map(str, rights(deploy(program), "api-execution-policy"))
    assert any("arn:aws:ecr:eu-west-3:210987654321:repository/tools" in right for right in pulled)


IMPOSSIBLE: list[tuple[dict[str, Any], str]] = [
    (
        {"sidecars": {"app": PROXY}},
        "sidecars must not have the name of the application's container, app",
    ),
    (
        {"sidecars": {f"s{number}": ENDS for number in range(9)}},
        "sidecars must be at most 8, got 9: a task has ten containers",
    ),
    (
        {"sidecars": {"a": Sidecar(image=OTEL, port=8080)}},
        "sidecars['a'].port must be different from port, got 8080 for both",
    ),
    (
        {"sidecars": {"a": PROXY, "b": PROXY}},
        "sidecars['b'].port must be different from sidecars['a'].port, got 8000 for both",
    ),
    (
        {"sidecars": {"a": Sidecar(image=OTEL, mounts={"x": "/x"})}},
        "sidecars['a'].mounts must have names of volumes, [], got ['x']",
    ),
    (
        {"sidecars": {"a": ENDS}, "depends_on": {"b": "START"}},
        "depends_on must have names of other containers of the task, ['a'], got 'b'",
    ),
    (
        {"sidecars": {"a": Sidecar(image=OTEL, depends_on={"a": "START"})}},
        "sidecars['a'].depends_on must have names of other containers of the task, ['app'], got 'a'",
    ),
    (
        {"sidecars": {"a": ENDS}, "depends_on": {"a": "HEALTHY"}},
        "depends_on['a'] must not be HEALTHY, as that container has no health check",
    ),
    (
        {"sidecars": {"a": CHECKED}, "depends_on": {"a": "SUCCESS"}},
        "depends_on['a'] must not be SUCCESS, as that container is essential",
    ),
    (
        {"sidecars": {"a": Sidecar(image=OTEL, depends_on={"app": "COMPLETE"})}},
        "sidecars['a'].depends_on['app'] must not be COMPLETE, as that container is essential",
    ),
    (
        {"sidecars": {"a": Sidecar(image=OTEL, depends_on={"app": "HEALTHY"})}},
        "sidecars['a'].depends_on['app'] must not be HEALTHY, as that container has no health check",
    ),
    (
        {"sidecars": {"a": Sidecar(image=OTEL, depends_on={"app": "START"})}, "depends_on": {"a": "START"}},
        "depends_on must not lead back to the same container, got app -> a -> app",
    ),
    (
        {"sidecars": {"a": Sidecar(image=OTEL, cpu=200), "b": Sidecar(image=OTEL, cpu=56)}},
        "cpu must be above 256, which the sidecars take, got 256",
    ),
    (
        {"sidecars": {"a": Sidecar(image=OTEL, memory_mib=256), "b": Sidecar(image=OTEL, memory_reservation_mib=256)}},
        "memory must be above 512, which the sidecars take, got 512",
    ),
    (
        {"sidecars": {"a": ENDS, "b": PROXY}, "target_container": "a"},
        "target_container must be a sidecar with a port, one of ['b'], got 'a'",
    ),
    (
        {"sidecars": {"b": PROXY}, "port": None, "target_container": "b"},
        "target_container must not be set without a port",
    ),
    (
        {"sidecars": {"a": Sidecar(image=OTEL, environment={"K": "AKIAIOSFODNN7EXAMPLE"})}},
        "sidecars['a'].environment['K'] must not be a secret, but is an AWS access key: anyone who can "
        "describe the resource can read it; put it into secrets of the sidecar, or add its name to not_secret if it is "
        "not a secret",
    ),
    *(
        (
            {"sidecars": {"a": sidecar}},
            f"sidecars['a'].{words}[1] must not contain a secret, but contains an AWS access key: anyone who can "
            "describe the resource can read it; put it into secrets of the sidecar, or add commands to not_secret if "
            "it is not a secret",
        )
        for words, sidecar in (
            ("entrypoint", Sidecar(image=OTEL, entrypoint=["--key", "AKIAIOSFODNN7EXAMPLE"])),
            ("command", Sidecar(image=OTEL, command=["--key", "AKIAIOSFODNN7EXAMPLE"])),
        )
    ),
    (
        {"sidecars": {"a": ENDS}, "processes": {"worker": Process(sidecars=["b"])}},
        "processes['worker'].sidecars must have names of the service's sidecars, ['a'], got ['b']",
    ),
    (
        {
            "sidecars": {"a": ENDS, "b": Sidecar(image=OTEL, depends_on={"a": "START"})},
            "jobs": {"report": Job(command=["r"], schedule="rate(1 hour)", sidecars=["b"])},
        },
        "jobs['report'].sidecars must have a, which b depends on, got ['b']",
    ),
    (
        {
            "sidecars": {"a": Sidecar(image=OTEL, cpu=300)},
            "cpu": 512,
            "memory": 1024,
            "processes": {"w": Process(cpu=256)},
        },
        "processes['w'].cpu must be above 300, which the sidecars take, got 256",
    ),
    (
        {"sidecars": {"a": PROXY}, "processes": {"api": Process(port=8000, paths=["/x"])}},
        "processes['api'].sidecars['a'].port must be different from port, got 8000 for both",
    ),
]


@pytest.mark.parametrize(("settings", "message"), IMPOSSIBLE, ids=[message for _, message in IMPOSSIBLE])
def test_containers_that_cannot_run_together_are_refused(settings: dict[str, Any], message: str) -> None:
    assert refused(**settings) == [message]


def test_the_applications_container_may_have_another_name() -> None:
    assert {*containers(made(container_name="web", sidecars={"app": PROXY}))} == {"web", "app"}
    with pytest.raises(ValueError, match=r"^sidecars must not have the name of the application's container, web$"):
        made(container_name="web", sidecars={"web": PROXY})


def test_containers_that_can_run_together_are_accepted() -> None:
    ServiceSettings(
        container_health_check=CHECK,
        depends_on={"init": "SUCCESS", "otel": "HEALTHY"},
        sidecars={
            "init": Sidecar(image=OTEL, essential=False, cpu=100, depends_on={"otel": "START"}),
            "otel": Sidecar(image=OTEL, health_check=CHECK, cpu=155, memory_mib=511),
            "proxy": Sidecar(image=OTEL, port=81, depends_on={"app": "HEALTHY"}),
        },
        target_container="proxy",
    )


@pytest.mark.parametrize(
    ("sidecar", "message"),
    [
        (
            {"memory_mib": 64, "memory_reservation_mib": 64},
            "memory_reservation_mib must be below memory_mib=64, got 64",
        ),
        (
            {"writable_paths": ["/a"], "mounts": {"x": "/a"}},
            "mounts must have paths of their own, got ['/a'] twice",
        ),
        (
            {"environment": {"A": "1"}, "secrets": {"A": SECRET}},
            "environment must not have names that are also in secrets, got ['A']",
        ),
    ],
)
def test_a_sidecar_that_cannot_run_is_refused(sidecar: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        Sidecar(image=OTEL, **sidecar)
    assert str(error.value) == message


def test_what_is_not_the_arn_of_a_registrys_credentials_is_not_shown() -> None:
    with pytest.raises(ValueError, match=r"^credentials_secret_arn must be the ARN of a secret") as error:
        Sidecar(image=OTEL, credentials_secret_arn="hunter2")
    assert "hunter2" not in str(error.value)
