"""The settings of a service's processes, migration and jobs, and the rules between them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pulumi
import pytest
from slipway import (
    BlueGreen,
    Canary,
    CodeDeployBlueGreen,
    ErrorAlarm,
    Job,
    Migration,
    Process,
    Rolling,
    Tasks,
)
from slipway.service.args import (
    ServiceArgs,
    ServiceSettings,
    has_port,
    process_settings,
    release_minutes,
    release_order,
    strategy_rules,
    task_settings,
    variables_bytes,
)
from slipway.strategies import Strategy
from unit.harness import resolved

SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-a1b2c3"
KEY = "AKIA" + "A" * 16
API = Process(port=81, paths=["/api/*"], listener_priority=50)
JOB = Job(command=["report"], schedule="rate(1 hour)")
PLAINTEXT = "anyone who can describe the resource can read it; put it into secrets, or add"


def refused(**settings: Any) -> list[str]:
    try:
        ServiceSettings(**settings)
    except ValueError as error:
        return str(error).split("\n")
    return []


def test_a_service_without_processes_is_its_own_web_process() -> None:
    settings = ServiceSettings(migration=Migration(command=["migrate"]), jobs={"report": JOB})
    processes = process_settings(settings)
    assert list(processes) == ["web"]
    assert processes["web"] is settings
    assert release_order(settings) == [["web"]]


def test_a_process_has_the_settings_of_the_service_and_its_own() -> None:
    tasks, url = Tasks(min=1), "https://shop.example.com"
    service: dict[str, Any] = {"command": ["serve"], "cpu": 512, "memory": 1024, "secrets": {"TOKEN": SECRET}}
    service |= {"stop_timeout_seconds": 90, "url": url, "keep_verified": 9, "health_path": "/healthz"}
    settings = ServiceSettings(
        **service,
        tasks=Tasks(min=3, max=9, target_requests_per_task=100),
        environment={"LEVEL": "info", "COLOR": "blue"},
        processes={
            "worker": Process(command=[], memory=2048, environment={"LEVEL": "debug", "QUEUE": "high"}),
            "api": dataclasses.replace(API, health_path="/", health_check_grace_seconds=0, tasks=tasks),
            "web": Process(cpu=1024, memory=4096, stop_timeout_seconds=5, listener_priority=7),
        },
        order=["worker", "web", "api"],
        migration=Migration(command=["migrate"]),
        jobs={"report": JOB},
    )
    alone: dict[str, Any] = {"processes": {}, "order": (), "migration": None, "jobs": {}}
    general = dataclasses.replace(settings, **alone)
    assert process_settings(settings) == {
        "web": dataclasses.replace(general, cpu=1024, memory=4096, stop_timeout_seconds=5, listener_priority=7),
        "worker": dataclasses.replace(
            general,
            port=None,
            command=[],
            memory=2048,
            tasks=Tasks(),
            environment={"LEVEL": "debug", "COLOR": "blue", "QUEUE": "high"},
            error_alarm=None,
        ),
        "api": dataclasses.replace(
            general,
            port=81,
            tasks=tasks,
            health_path="/",
            health_check_grace_seconds=0,
            paths=["/api/*"],
            listener_priority=50,
        ),
    }
    assert list(process_settings(settings)) == ["web", "worker", "api"]


def test_outputs_in_the_environment_stay_the_same_in_every_process() -> None:
    def same() -> list[bool]:
        color = pulumi.Output.from_input("blue")
        worker = Process(environment={"A": "1"})
        settings = ServiceSettings(environment={"COLOR": color}, processes={"worker": worker})
        processes = process_settings(settings)
        return [
            processes["web"].environment is settings.environment,
            processes["worker"].environment["COLOR"] is settings.environment["COLOR"],
        ]

    assert resolved(same) == [True, True]


def test_a_migration_and_a_job_have_no_port_and_are_otherwise_like_the_service() -> None:
    settings = ServiceSettings(
        entrypoint=["/bin/tini"],
        tasks=Tasks(min=5),
        environment={"LEVEL": "info"},
        processes={"web": Process(cpu=1024, memory=4096)},
    )
    general = dataclasses.replace(settings, processes={}, port=None, tasks=Tasks(), error_alarm=None)
    migration = Migration(command=["migrate"], cpu=512, memory=1024, environment={"LOCK": "1"})
    assert task_settings(settings, migration) == dataclasses.replace(
        general, command=["migrate"], cpu=512, memory=1024, environment={"LEVEL": "info", "LOCK": "1"}
    )
    assert task_settings(settings, JOB) == dataclasses.replace(general, command=["report"])
    none = Job(command=["report"], schedule="rate(1 hour)", entrypoint=[])
    assert task_settings(settings, none) == dataclasses.replace(general, command=["report"], entrypoint=[])


def arguments(**args: Any) -> ServiceArgs:
    """Arguments whose other components are not looked at."""
    made = object.__new__(ServiceArgs)
    settings = ServiceSettings(**args)
    for field in dataclasses.fields(settings):
        object.__setattr__(made, field.name, getattr(settings, field.name))
    return made


@pytest.mark.parametrize(
    ("strategy", "without_a_port"),
    [
        (Rolling(minimum_healthy_percent=50), Rolling(minimum_healthy_percent=50)),
        (Canary(deadline_minutes=30), Rolling(deadline_minutes=30)),
        (CodeDeployBlueGreen(deadline_minutes=45), Rolling(deadline_minutes=45)),
    ],
)
def test_a_process_without_a_port_is_replaced_a_few_tasks_at_a_time(
    strategy: Strategy, without_a_port: Rolling
) -> None:
    args = arguments(processes={"worker": Process(), "api": API})
    balancer: Any = object()
    object.__setattr__(args, "strategy", strategy)
    object.__setattr__(args, "load_balancer", balancer)
    processes = process_settings(args)
    assert {name: each.strategy for name, each in processes.items()} == {
        "web": strategy,
        "worker": without_a_port,
        "api": strategy,
    }
    assert [name for name, each in processes.items() if each.load_balancer is balancer] == ["web", "api"]
    assert task_settings(args, JOB).load_balancer is None


@pytest.mark.parametrize(
    ("settings", "groups"),
    [
        ({"processes": {"worker": Process(), "api": API, "mail": Process()}}, [["web", "api"], ["worker", "mail"]]),
        ({"processes": {"worker": Process()}, "port": None}, [["web", "worker"]]),
        (
            {"processes": {"worker": Process(), "api": API}, "order": ["worker", "api", "web"]},
            [["worker"], ["api"], ["web"]],
        ),
    ],
)
def test_processes_with_a_port_are_released_first_unless_they_have_an_order(
    settings: dict[str, Any], groups: list[list[str]]
) -> None:
    assert release_order(ServiceSettings(**settings)) == groups


@pytest.mark.parametrize(
    ("settings", "strategy", "minutes"),
    [
        ({}, Rolling(deadline_minutes=7), 7),
        ({"port": None, "processes": {"a": Process(), "b": Process()}}, Rolling(deadline_minutes=7), 7),
        ({"processes": {"worker": Process()}}, BlueGreen(bake_minutes=60, deadline_minutes=7), 67 + 7),
        ({"processes": {"a": Process(), "b": Process(), "api": API}}, BlueGreen(deadline_minutes=7), 17 + 7),
        ({"processes": {"api": API, "a": Process()}, "order": ["a", "api", "web"]}, BlueGreen(), 10 + 20 + 20),
        ({"migration": Migration(command=["migrate"], timeout_minutes=45)}, Rolling(), 45 + 10),
    ],
)
def test_a_release_takes_as_long_as_its_groups_and_its_migration(
    settings: dict[str, Any], strategy: Strategy, minutes: int
) -> None:
    assert release_minutes(ServiceSettings(**settings), strategy) == minutes


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, True),
        ({"port": None}, False),
        ({"port": None, "processes": {"worker": Process()}}, False),
        ({"port": None, "processes": {"api": API}}, True),
        ({"port": None, "processes": {"web": Process(port=80)}}, True),
    ],
)
def test_a_service_has_a_port_if_one_of_its_processes_has_one(settings: dict[str, Any], expected: bool) -> None:
    assert has_port(ServiceSettings(**settings)) is expected


def size(number: int) -> str:
    """A value with which the variable V of a process makes all variables this many bytes more than may be."""
    empty = ServiceSettings(environment={"V": ""}, secrets={"TOKEN": SECRET})
    return "x" * (60 * 1024 + number - variables_bytes(empty))


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "the memory of a process goes with the cpu of the service": (
        {"processes": {"worker": Process(memory=4096)}},
        "processes['worker'].memory must be one of [512, 1024, 2048] with cpu=256, got 4096",
    ),
    "the cpu of a process goes with the memory of the service": (
        {"processes": {"web": Process(cpu=512)}},
        "processes['web'].memory must be one of [1024, 2048, 3072, 4096] with cpu=512, got 512",
    ),
    "the cpu of a migration goes with the memory of the service": (
        {"migration": Migration(command=["a"], cpu=512)},
        "migration.memory must be one of [1024, 2048, 3072, 4096] with cpu=512, got 512",
    ),
    "the cpu of a job goes with the memory of the service": (
        {"jobs": {"report": dataclasses.replace(JOB, cpu=512)}},
        "jobs['report'].memory must be one of [1024, 2048, 3072, 4096] with cpu=512, got 512",
    ),
    "the service's own size is that of each process that has none": (
        {"cpu": 512, "processes": {"web": Process(memory=1024), "worker": Process()}},
        "memory must be one of [1024, 2048, 3072, 4096] with cpu=512, got 512",
    ),
    "the service's own size is that of web if nothing else has it": (
        {"cpu": 512, "processes": {"worker": Process(memory=1024)}},
        "memory must be one of [1024, 2048, 3072, 4096] with cpu=512, got 512",
    ),
    "a variable of a process is not also a secret": (
        {"secrets": {"TOKEN": SECRET}, "processes": {"worker": Process(environment={"TOKEN": "1"})}},
        "processes['worker'].environment must not have names that are also in secrets, got ['TOKEN']",
    ),
    "a variable of a job is not also a secret": (
        {"secrets": {"TOKEN": SECRET}, "jobs": {"report": dataclasses.replace(JOB, environment={"TOKEN": "1"})}},
        "jobs['report'].environment must not have names that are also in secrets, got ['TOKEN']",
    ),
    "a variable of a process is not a credential": (
        {"processes": {"worker": Process(environment={"A": KEY})}},
        f"processes['worker'].environment['A'] must not be a secret, but is an AWS access key: {PLAINTEXT} its name to "
        "not_secret if it is not a secret",
    ),
    "a variable of a migration is not a credential": (
        {"migration": Migration(command=["a"], environment={"A": KEY})},
        f"migration.environment['A'] must not be a secret, but is an AWS access key: {PLAINTEXT} its name to "
        "not_secret if it is not a secret",
    ),
    "the command of a process contains no credential": (
        {"processes": {"worker": Process(command=["run", KEY])}},
        f"processes['worker'].command[1] must not contain a secret, but contains an AWS access key: {PLAINTEXT} "
        "commands to not_secret if it is not a secret",
    ),
    "the entry point of a job contains no credential": (
        {"jobs": {"report": dataclasses.replace(JOB, entrypoint=[KEY])}},
        f"jobs['report'].entrypoint[0] must not contain a secret, but contains an AWS access key: {PLAINTEXT} "
        "commands to not_secret if it is not a secret",
    ),
    "a name in not_secret is one of a variable": (
        {"not_secret": ["B"], "processes": {"worker": Process(environment={"A": "1"})}},
        "not_secret must contain only names in environment, got ['B']",
    ),
    "the variables of a process fit into a task definition together with those of the service": (
        {"secrets": {"TOKEN": SECRET}, "processes": {"worker": Process(environment={"V": size(1)})}},
        "processes['worker'].environment and secrets must have at most 61440 bytes in total as JSON, got 61441: a task "
        "definition has 64 KiB",
    ),
    "a process without a port does not scale with requests": (
        {"processes": {"worker": Process(tasks=Tasks(max=5, target_requests_per_task=1))}},
        "processes['worker'].tasks.target_requests_per_task must not be set for a process without a port, which "
        "receives no requests",
    ),
    "the paths of a process have a few wildcards": (
        {"processes": {"api": dataclasses.replace(API, paths=["/*/*/*", "/?/?/?"])}},
        "processes['api'].paths must have at most 5 wildcards in total, got 6",
    ),
    "a process with a port has paths of its own": (
        {"processes": {"api": Process(port=80, listener_priority=1)}},
        "processes['api'].paths, hosts or headers are required with a port: those of the service are for web",
    ),
    "a process with paths has a port": (
        {"processes": {"api": Process(paths=["/api"], health_path="/healthz")}},
        "processes['api'].port is required with health_path, paths",
    ),
    "two processes have different priorities": (
        {"processes": {"a": API, "b": dataclasses.replace(API, paths=["/b"])}},
        "processes['b'].listener_priority must be different from that of a, got 50 for both",
    ),
    "a process has another priority than web": (
        {"listener_priority": 100, "processes": {"a": dataclasses.replace(API, listener_priority=100)}},
        "processes['a'].listener_priority must be different from that of web, got 100 for both",
    ),
    "the order has all processes": (
        {"processes": {"worker": Process()}, "order": ["worker"]},
        "order must have each of ['web', 'worker'] exactly once, got ['worker']",
    ),
    "the order has each process once": (
        {"processes": {"worker": Process()}, "order": ["web", "worker", "web"]},
        "order must have each of ['web', 'worker'] exactly once, got ['web', 'worker', 'web']",
    ),
    "the order has only processes": (
        {"order": ["web", "worker"]},
        "order must have each of ['web'] exactly once, got ['web', 'worker']",
    ),
    "a job is not called like a process": (
        {"processes": {"worker": Process()}, "jobs": {"worker": JOB, "web": JOB, "report": JOB}},
        "jobs must not have names of processes, got ['worker', 'web']",
    ),
}


@pytest.mark.parametrize(("settings", "message"), REFUSED.values(), ids=REFUSED)
def test_settings_that_do_not_go_together_are_refused(settings: dict[str, Any], message: str) -> None:
    assert refused(**settings) == [message]


ACCEPTED: dict[str, dict[str, Any]] = {
    "the service's own size is that of no process": {
        "cpu": 512,
        "processes": {"web": Process(memory=1024), "worker": Process(cpu=256)},
    },
    "a credential that is none": {
        "not_secret": ["A", "commands"],
        "processes": {"worker": Process(environment={"A": KEY}, command=[KEY])},
    },
    "as many variables as fit": {
        "secrets": {"TOKEN": SECRET},
        "processes": {"worker": Process(environment={"V": size(0)})},
    },
    "a process with a port scales with requests": {
        "port": None,
        "processes": {"web": Process(port=80, tasks=Tasks(max=5, target_requests_per_task=1))},
    },
    "five wildcards": {"processes": {"api": dataclasses.replace(API, paths=["/*/*/*", "/?/?"])}},
    "the priority of a service whose web process has no port": {
        **{"port": None, "listener_priority": 100},
        "processes": {"api": dataclasses.replace(API, listener_priority=100)},
    },
    "a process with hosts": {"processes": {"api": Process(port=81, hosts=["api.example.com"])}},
    "a process with headers": {"processes": {"api": Process(port=81, headers={"X-Api": ["1"]})}},
    "an order of one process": {"order": ["web"]},
}


@pytest.mark.parametrize("settings", ACCEPTED.values(), ids=ACCEPTED)
def test_settings_at_the_limits_are_accepted(settings: dict[str, Any]) -> None:
    assert refused(**settings) == []


ECS_ACTION = Rolling(ecs_action=True)
ONE = "with a port for a process other than web, got ['api']: CodePipeline's action deploys one service"


@pytest.mark.parametrize(
    ("settings", "strategy", "messages"),
    [
        ({"processes": {"api": API}}, CodeDeployBlueGreen(), [f"strategy must not be CodeDeployBlueGreen {ONE}"]),
        (
            {"processes": {"api": API}},
            Rolling(ecs_action=True),
            [f"strategy must not be Rolling with ecs_action {ONE}"],
        ),
        ({"processes": {"api": API}}, Rolling(), []),
        ({"processes": {"worker": Process()}}, CodeDeployBlueGreen(), []),
        ({"processes": {"worker": Process()}}, ECS_ACTION, []),
        ({"port": None, "processes": {"api": API}}, BlueGreen(), []),
        (
            {"port": None, "processes": {"worker": Process()}},
            BlueGreen(),
            [
                "strategy must be Rolling for a service without a port, got BlueGreen: there is no load balancer whose "
                "traffic could be shifted"
            ],
        ),
        (
            {"port": None, "processes": {"api": API}, "error_alarm": ErrorAlarm(minutes=3)},
            BlueGreen(bake_minutes=2),
            [
                "strategy must have bake_minutes of at least error_alarm.minutes=3, got 2: the old tasks would be gone "
                "before the alarm could go off"
            ],
        ),
    ],
)
def test_a_strategy_goes_with_the_ports_of_all_processes(
    settings: dict[str, Any], strategy: Strategy, messages: list[str]
) -> None:
    rules = strategy_rules(ServiceSettings(**settings), strategy)
    assert [message for is_broken, message in rules if is_broken] == messages
