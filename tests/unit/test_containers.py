"""User, limits, health check, files and disk of the containers, and commands in them."""

from __future__ import annotations

from typing import Any

import pytest
from slipway import Container, ContainerHealthCheck, Job, Migration, Process, Ulimit
from unit.examples import service
from unit.harness import Resource, deploy, granted, named, resolved, rights

FILES = "arn:aws:s3:::acme-settings"
LOGS = "arn:aws:logs:eu-west-1:123456789012:log-group:/ecs/api"
ECS = "arn:aws:ecs:eu-west-1:123456789012"
CHECK = ContainerHealthCheck(command=["CMD", "pgrep", "app"])
NEW = {"user", "ulimits", "healthCheck", "environmentFiles", "mountPoints"}
"""Keys of a container definition that only an option makes."""


def made(**args: Any) -> list[Resource]:
    return deploy(lambda: service("api", **args))


def container(resources: list[Resource], template: str = "api-template") -> dict[str, Any]:
    [found] = named(resources, template, "TaskDefinition").json("containerDefinitions")
    return dict(found)


def test_a_service_without_these_options_has_none_of_them_in_its_plan() -> None:
    plain = made()
    assert not NEW & container(plain).keys()
    assert container(plain)["linuxParameters"] == {"initProcessEnabled": True}
    assert not {"volumes", "ephemeralStorage"} & named(plain, "api-template", "TaskDefinition").inputs.keys()
    assert "enableExecuteCommand" not in named(plain, "api", "ecs/service:Service").inputs


def test_a_container_runs_with_its_user_its_capabilities_and_its_limits() -> None:
    options = Container(
        user="1000:1000",
        drop_capabilities=["ALL"],
        add_capabilities=["SYS_PTRACE"],
        ulimits={"nofile": Ulimit(soft=1024, hard=4096), "core": Ulimit(soft=0, hard=0)},
        init_process=False,
    )
    definition = container(made(container=options))
    assert definition["user"] == "1000:1000"
    assert definition["linuxParameters"] == {
        "initProcessEnabled": False,
        "capabilities": {"drop": ["ALL"], "add": ["SYS_PTRACE"]},
    }
    assert definition["ulimits"] == [
        {"name": "core", "softLimit": 0, "hardLimit": 0},
        {"name": "nofile", "softLimit": 1024, "hardLimit": 4096},
    ]


def test_a_limit_that_may_be_raised_is_below_the_one_that_may_not() -> None:
    with pytest.raises(ValueError, match=r"^soft must be at most hard=5, got 6$"):
        Ulimit(soft=6, hard=5)
    assert Ulimit(soft=5, hard=5).soft == 5


@pytest.mark.parametrize("command", [["pgrep", "app"], ["CMD-SHELL", "a", "b"]])
def test_a_health_check_says_whether_a_shell_runs_it(command: list[str]) -> None:
    with pytest.raises(ValueError) as error:
        ContainerHealthCheck(command=command)
    rule = "command must begin with CMD, or with CMD-SHELL and one command for the shell"
    assert str(error.value) == f"{rule}, got {command}"


def test_the_health_check_of_the_container_belongs_to_web() -> None:
    own = ContainerHealthCheck(
        command=["CMD-SHELL", "test -f /tmp/ok"],
        interval_seconds=10,
        timeout_seconds=2,
        retries=1,
        start_period_seconds=9,
    )
    resources = made(
        container_health_check=CHECK,
        processes={"worker": Process(command=["work"]), "mailer": Process(container_health_check=own)},
        migration=Migration(command=["migrate"]),
        jobs={"report": Job(command=["report"], schedule="rate(1 hour)")},
    )
    assert container(resources)["healthCheck"] == {
        "command": ["CMD", "pgrep", "app"],
        "interval": 30,
        "timeout": 5,
        "retries": 3,
        "startPeriod": 0,
    }
    assert container(resources, "api-mailer-template")["healthCheck"] == {
        "command": ["CMD-SHELL", "test -f /tmp/ok"],
        "interval": 10,
        "timeout": 2,
        "retries": 1,
        "startPeriod": 9,
    }
    for other in ("worker", "migration", "report"):
        assert "healthCheck" not in container(resources, f"api-{other}-template")


def test_files_with_variables_are_read_by_the_role_that_starts_a_task_and_by_no_other() -> None:
    files = [f"{FILES}/shop.env", f"{FILES}/common.env", "arn:aws:s3:::other/x.env"]
    before, after = made(), made(environment_files=files)
    assert container(after)["environmentFiles"] == [{"value": each, "type": "s3"} for each in files]
    assert rights(after, "api-execution-policy") - rights(before, "api-execution-policy") == granted(
        [
            {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": files},
            {"Effect": "Allow", "Action": ["s3:GetBucketLocation"], "Resource": [FILES, "arn:aws:s3:::other"]},
        ]
    )
    assert [each.name for each in after if each.type.endswith("RolePolicy")] == [
        each.name for each in before if each.type.endswith("RolePolicy")
    ]


def test_all_tasks_have_the_same_disk() -> None:
    resources = made(ephemeral_storage_gib=50, migration=Migration(command=["migrate"]))
    for template in ("api-template", "api-migration-template"):
        assert named(resources, template, "TaskDefinition").inputs["ephemeralStorage"] == {"sizeInGib": 50}


EXEC = [
    {
        "Effect": "Allow",
        "Action": [
            "ssmmessages:CreateControlChannel",
            "ssmmessages:CreateDataChannel",
            "ssmmessages:OpenControlChannel",
            "ssmmessages:OpenDataChannel",
            "logs:DescribeLogGroups",
        ],
        "Resource": "*",
    },
    {
        "Effect": "Allow",
        "Action": ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
        "Resource": f"{LOGS}:*",
    },
]


@pytest.mark.parametrize("read_only", [True, False])
def test_commands_can_be_run_in_a_container_and_are_logged(read_only: bool) -> None:
    resources = made(ecs_exec=True, read_only_root_filesystem=read_only)
    assert named(resources, "api", "ecs/service:Service").inputs["enableExecuteCommand"] is True
    assert rights(resources, "api-task-policy") == granted(EXEC)
    # What the agent in the container writes to, also beside a read-only root.
    template = named(resources, "api-template", "TaskDefinition")
    assert template.inputs["volumes"] == [{"name": "exec-lib"}, {"name": "exec-log"}]
    assert container(resources)["mountPoints"] == [
        {"sourceVolume": "exec-lib", "containerPath": "/var/lib/amazon"},
        {"sourceVolume": "exec-log", "containerPath": "/var/log/amazon"},
    ]


def test_enabling_commands_changes_the_task_definition_so_that_running_tasks_are_replaced() -> None:
    off, on = (made(ecs_exec=each, read_only_root_filesystem=False) for each in (False, True))
    assert container(off) != container(on)


def test_people_may_run_commands_in_this_services_containers_only() -> None:
    def of(**args: Any) -> Any:
        return lambda: service("api", **args).exec_statements()

    assert resolved(of()) == []
    cluster, tasks = f"{ECS}:cluster/given-api", f"{ECS}:task/given-api/*"
    assert granted(resolved(of(ecs_exec=True, container_name="web"))) == granted(
        [
            {
                "Effect": "Allow",
                "Action": ["ecs:ExecuteCommand"],
                "Resource": [cluster, tasks],
                "Condition": {"StringEquals": {"ecs:container-name": "web"}},
            },
            {
                "Effect": "Allow",
                "Action": ["ecs:ListTasks"],
                "Resource": "*",
                "Condition": {"ArnEquals": {"ecs:cluster": cluster}},
            },
            {"Effect": "Allow", "Action": ["ecs:DescribeTasks"], "Resource": tasks},
        ]
    )
