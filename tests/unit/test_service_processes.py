"""A service with several processes, a migration and jobs."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
from slipway import BlueGreen, Canary, CodeDeployBlueGreen, Rolling, Tasks
from slipway.release.function import contract
from slipway.release.function.contract import JobTask, MigrationTask, Settings
from slipway.service.args import MOST_PROCESSES, ServiceSettings
from slipway.service.processes import Job, Migration, Process
from slipway.service.routes import Route
from slipway.service.sidecars import Sidecar
from slipway.service.tasks import QueueBacklog
from slipway.strategies import Strategy
from unit.examples import TEST_LISTENER, load_balancer, service
from unit.harness import Resource, deploy, granted, named, of_type, resolved, rights
from unit.test_release_function import ALWAYS, BY_ECS, passes, right, watches

PLACE = "eu-west-1:123456789012"
ECS = f"arn:aws:ecs:{PLACE}"
CLUSTER = f"{ECS}:cluster/given-api"
ROLLING = Rolling()
OTHERS: dict[str, Any] = {
    "processes": {
        "admin": Process(port=8081, paths=["/admin/*"], listener_priority=50),
        "worker": Process(command=["work"], cpu=512, memory=1024, environment={"Q": "high"}, tasks=Tasks(min=1, max=3)),
    },
    "migration": Migration(command=["migrate"], timeout_minutes=7),
    "jobs": {"report": Job(command=["report"], schedule="rate(1 hour)")},
    "environment": {"LOG_LEVEL": "info"},
}


@cache
def made(strategy: Any = ROLLING) -> list[Resource]:
    return deploy(lambda: service("api", strategy=strategy, **OTHERS))


@cache
def plain(strategy: Any = ROLLING) -> list[Resource]:
    return deploy(lambda: service("api", strategy=strategy, environment={"LOG_LEVEL": "info"}))


def sent(resources: list[Resource]) -> dict[str, Any]:
    return dict(named(resources, "api-release-rollout-1").json("input")["rollout"]["settings"])


def container(resources: list[Resource], template: str) -> dict[str, Any]:
    [found] = named(resources, template, "TaskDefinition").json("containerDefinitions")
    return dict(found)


# A service with one process


def test_the_settings_of_one_process_have_the_keys_that_they_always_had() -> None:
    # Others would make the function of every service run again.
    options = {"assign_public_ip", "capacity", "service_connect"}
    more = {"processes", "order", "migration", "jobs"}
    assert sent(plain()).keys() == set(contract.Settings.__dataclass_fields__) - more - options
    assert sent(made()).keys() == set(contract.Settings.__dataclass_fields__) - options


def test_processes_replace_nothing_of_a_service() -> None:
    changed = {"api-release", "api-release-policy", "api-release-events", "api-release-rollout-1", "api"}
    before = {(r.type, r.name): r.inputs for r in plain() if r.name not in changed}
    after = {(r.type, r.name): r.inputs for r in made()}
    assert before.keys() <= after.keys()
    assert {key for key, inputs in before.items() if after[key] != inputs} == set()
    assert named(made(), "api", "ecs/service:Service").inputs == named(plain(), "api", "ecs/service:Service").inputs


# Processes


def test_each_process_is_a_service_of_its_own_without_tasks() -> None:
    services = {r.name: r.inputs for r in of_type(made(), "aws:ecs/service:Service")}
    assert services.keys() == {"api", "api-admin", "api-worker"}
    worker = services["api-worker"]
    assert (worker["desiredCount"], worker["taskDefinition"]) == (0, f"{ECS}:task-definition/api-worker-template:1")
    assert worker["networkConfiguration"] == services["api"]["networkConfiguration"]
    assert worker["loadBalancers"] == []
    assert services["api-admin"]["loadBalancers"][0]["containerPort"] == 8081


def test_a_process_has_its_own_command_size_and_variables_and_the_rest_of_the_service() -> None:
    web, worker = container(made(), "api-template"), container(made(), "api-worker-template")
    assert worker["environment"] == [{"name": "LOG_LEVEL", "value": "info"}, {"name": "Q", "value": "high"}]
    assert (worker["command"], worker["portMappings"]) == (["work"], [])
    assert worker["logConfiguration"]["options"]["awslogs-stream-prefix"] == "worker"
    different = {"command", "environment", "portMappings", "logConfiguration"}
    assert {key: value for key, value in worker.items() if key not in different} == {
        key: value for key, value in web.items() if key not in different
    }
    definition, template = (named(made(), f"api{of}-template").inputs for of in ("-worker", ""))
    assert (definition["cpu"], definition["memory"]) == ("512", "1024")
    assert [definition[role] for role in ("taskRoleArn", "executionRoleArn")] == [
        template[role] for role in ("taskRoleArn", "executionRoleArn")
    ]


def test_a_process_with_a_port_gets_the_strategy_of_the_stage_and_others_are_replaced_a_few_at_a_time() -> None:
    settings = contract.decode(Settings, sent(made(Canary())))
    kinds = {p.name: p.settings.deployment["strategy"] for p in settings.processes}
    assert {contract.WEB: settings.deployment["strategy"], **kinds} == {
        "web": "CANARY",
        "admin": "CANARY",
        "worker": "ROLLING",
    }
    assert {p.name: p.settings.deadline_minutes for p in settings.processes} == {"admin": 30, "worker": 10}


def test_each_port_is_opened_once() -> None:
    def opened(second: int) -> set[str]:
        processes = {"admin": Process(port=second, paths=["/admin"], listener_priority=50)}
        resources = deploy(lambda: service("api", processes=processes))
        kinds = ("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",)
        return {r.name for kind in kinds for r in of_type(resources, kind) if r.name.startswith("api-")}

    assert opened(8080) == {"api-in-8080"}
    assert opened(9000) == {"api-in-8080", "api-in-9000"}


def test_processes_with_traffic_are_released_first_unless_an_order_is_given() -> None:
    assert sent(made())["order"] == [["web", "admin"], ["worker"]]
    ordered = deploy(lambda: service("api", order=["worker", "admin", "web"], **OTHERS))
    assert sent(ordered)["order"] == [["worker"], ["admin"], ["web"]]


def test_the_function_reads_what_pulumi_sends() -> None:
    settings = contract.decode(Settings, sent(made()))
    assert [(p.name, p.service) for p in settings.processes] == [("admin", "api-admin"), ("worker", "api-worker")]
    worker = settings.processes[1].settings
    assert (worker.minimum, worker.maximum, worker.template) == (1, 3, f"{ECS}:task-definition/api-worker-template:1")
    assert settings.migration == MigrationTask(
        template=f"{ECS}:task-definition/api-migration-template:1",
        family="api-migration",
        timeout_minutes=7,
        log_group="/ecs/api",
        log_prefix="migration",
    )
    assert settings.jobs == [JobTask("report", f"{ECS}:task-definition/api-report-template:1", "api-report")]


def test_a_queue_in_another_region_is_refused_by_the_process_that_follows_it() -> None:
    tasks = Tasks(max=3, queues=[QueueBacklog(arn="arn:aws:sqs:us-east-1:123456789012:q", messages_per_task=5)])
    with pytest.raises(ValueError, match=r"processes\['worker'\].tasks.queues\[0\].arn must be in eu-west-1"):
        deploy(lambda: service("api", processes={"worker": Process(tasks=tasks)}))


SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-a1b2c3"
BACKLOG = QueueBacklog(arn=f"arn:aws:sqs:{PLACE}:orders", messages_per_task=1)
FIXED = f"{SECRET}:::a1b2c3d4-5678-90ab-cdef-EXAMPLE11111"
OTEL = Sidecar(image="otel:1", secrets={"TOKEN": SECRET}, environment={"BUILD_ID": "x"})


@pytest.mark.parametrize(
    "args",
    [
        {"not_secret": ["BUILD_ID"], "processes": {"worker": Process(environment={"BUILD_ID": "x"})}},
        {"not_secret": ["commands"], "processes": {"worker": Process(command=["work"])}},
        {"not_secret": ["BUILD_ID"], "sidecars": {"otel": OTEL}, "processes": {"web": Process(sidecars=[])}},
        {
            "restart_on_secret_change": True,
            "sidecars": {"otel": OTEL},
            "processes": {"web": Process(sidecars=[]), "worker": Process()},
        },
        {
            "restart_on_secret_change": True,
            "secrets": {"DB": FIXED},
            "sidecars": {"otel": OTEL},
            "processes": {"web": Process(sidecars=[]), "worker": Process()},
        },
        {
            "port": None,
            "load_balancer": None,
            "processes": {"worker": Process(tasks=Tasks(min=1, max=2, queues=[BACKLOG]))},
        },
    ],
    ids=["a variable", "a command", "a sidecar", "its secret", "its secret beside a fixed one", "a queue"],
)
def test_a_rule_for_the_service_is_not_applied_to_each_process(args: dict[str, Any]) -> None:
    assert of_type(deploy(lambda: service("api", **args)), "aws:ecs/service:Service") != []


def test_two_processes_may_not_have_one_priority_of_the_load_balancer() -> None:
    def program() -> None:
        balancer = load_balancer("shared")
        processes = {"admin": Process(port=81, paths=["/a"], listener_priority=7)}
        service("api", load_balancer=balancer, processes=processes)
        service("shop", load_balancer=balancer, listener_priority=7, environment_name="shop")

    with pytest.raises(ValueError, match="got 7 for 'api-admin' and 'shop'"):
        deploy(program)


def test_a_name_that_is_too_long_for_a_process_is_refused() -> None:
    with pytest.raises(ValueError, match="a process's name must be 2 to 40 characters"):
        deploy(
            lambda: service(
                "a" * 34, load_balancer=load_balancer("balancer"), processes={"worker": Process(command=["work"])}
            )
        )


# Permissions


ROUTES = {"admin": Route(port=9090, paths=["/console/*"])}


def accepted(name: str) -> bool:
    try:
        ServiceSettings(processes={name: Process()}, routes=ROUTES)
    except ValueError:
        return False
    return True


def test_no_name_that_a_process_or_a_job_may_have_makes_the_name_of_another_resource() -> None:
    def deployed(**parts: Any) -> list[str]:
        def main() -> None:
            balancer = load_balancer("given", test_listener=TEST_LISTENER)
            given = {"strategy": BlueGreen(), "routes": ROUTES, "migration": OTHERS["migration"], **parts}
            service("api", load_balancer=balancer, **given)

        # Two resources with the same URN are an error.
        return [each.name for each in deploy(main)]

    # All that stands behind the service's name in the names of its resources.
    words = [name.split("-")[1:] for name in deployed(processes=OTHERS["processes"], jobs=OTHERS["jobs"])]
    parts = {"-".join(each[:length]) for each in words for length in range(1, len(each) + 1)}
    names = sorted(name for name in {*parts, "a", "a-test"} if accepted(name))
    assert {"test", "a-test", "rule", "task", "route"} - {*names} == set()
    for start in range(0, len(names), MOST_PROCESSES):
        some = names[start : start + MOST_PROCESSES]
        processes = {
            name: Process(port=8100 + number, paths=[f"/of/{name}"], listener_priority=1 + number)
            for number, name in enumerate(some)
        }
        jobs = {name: Job(command=["run"], schedule="rate(1 hour)") for name in some}
        assert {f"api-{name}" for name in some} <= {*deployed(processes=processes)} & {*deployed(jobs=jobs)}


def test_the_function_may_deploy_its_processes_migrate_and_nothing_else() -> None:
    others = [
        f"{ECS}:{kind}/given-api/api-{of}"
        for of in ("admin", "worker")
        for kind in ("service", "service-deployment", "service-revision")
    ]
    others = [arn if ":service/" in arn else f"{arn}/*" for arn in others]
    families = [f"{ECS}:task-definition/api-{of}:*" for of in ("admin", "worker", "migration", "report")]
    registered = {"StringEquals": {"ecs:CreateAction": "RegisterTaskDefinition"}}
    keys = {"dynamodb:LeadingKeys": ["history", "job", "release"]}
    expected = [
        *(s for s in ALWAYS if "dynamodb:GetItem" not in s["Action"]),
        *BY_ECS,
        right(
            *("ecs:DescribeServices", "ecs:UpdateService", "ecs:ListServiceDeployments"),
            *("ecs:DescribeServiceDeployments", "ecs:StopServiceDeployment", "ecs:DescribeServiceRevisions"),
            on=others,
        ),
        right("ecs:TagResource", on=families, when=registered),
        watches("api-errors", "api-admin-errors"),
        passes("api-traffic-role", "api-admin-traffic-role"),
        right(
            "application-autoscaling:RegisterScalableTarget",
            on=f"arn:aws:application-autoscaling:{PLACE}:scalable-target/api-worker-scaling",
        ),
        right(
            "dynamodb:GetItem",
            "dynamodb:PutItem",
            on=f"arn:aws:dynamodb:{PLACE}:table/api-release",
            when={"ForAllValues:StringEquals": keys, "Null": {"dynamodb:LeadingKeys": "false"}},
        ),
        right(
            "ecs:RunTask",
            on=f"{ECS}:task-definition/api-migration:*",
            when={"ArnEquals": {"ecs:cluster": CLUSTER}},
        ),
        right("ecs:StopTask", on=f"{ECS}:task/given-api/*"),
        right("logs:GetLogEvents", on=f"arn:aws:logs:{PLACE}:log-group:/ecs/api:log-stream:migration/*"),
    ]
    assert rights(made(Canary()), "api-release-policy") == granted(expected)


def test_codedeploy_deploys_web_and_ecs_the_others() -> None:
    processes = {"worker": Process(command=["work"])}
    resources = deploy(lambda: service("api", strategy=CodeDeployBlueGreen(), processes=processes))
    allowed = rights(resources, "api-release-policy")
    worker = [f"{ECS}:service/given-api/api-worker", f"{ECS}:service-deployment/given-api/api-worker/*"]
    assert granted([right("ecs:DescribeServiceDeployments", "ecs:StopServiceDeployment", on=worker)]) <= allowed
    assert not [each for each in allowed if "ServiceDeployment" in each and '/api"' in each]
    assert sent(resources)["deployment"] == {}
    assert sent(resources)["processes"][0]["settings"]["deployment"]["strategy"] == "ROLLING"


def test_the_function_hears_of_the_deployments_of_each_process() -> None:
    [rule] = [r for r in of_type(made(), "aws:cloudwatch/eventRule:EventRule") if r.name == "api-release-events"]
    names = ("api", "api-admin", "api-worker")
    assert rule.json("eventPattern")["resources"] == [f"{ECS}:service/given-api/{name}" for name in names]


def test_the_rollout_begins_when_every_process_is_there() -> None:
    needed = {"api", "api-admin", "api-worker", "api-worker-scaling", "api-migration-template", "api-report-template"}
    assert named(made(), "api-release-rollout-1").depends_on >= needed


def test_a_rollout_has_time_for_one_group_after_the_other() -> None:
    def parts(**arguments: Any) -> int:
        resources = deploy(lambda: service("api", strategy=Rolling(deadline_minutes=30), **arguments))
        return len(of_type(resources, "aws:lambda/invocation:Invocation"))

    # 30 minutes for a group, two for the alarm on failed requests, and 14 in each invocation.
    assert parts() == 1 + 32 // 14
    assert parts(processes={"worker": Process(command=["work"])}) == 1 + 62 // 14


@pytest.mark.parametrize(("strategy", "routes"), [(Canary(), 1), (Rolling(), 4)])
def test_the_largest_service_fits_into_the_policy_of_a_role(strategy: Strategy, routes: int) -> None:
    """An IAM role has 10,240 characters for its inline policies, without white space.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
    """
    name = "storefront-pre-production"
    processes = {f"a-long-name-{n}": Process(port=81, paths=[f"/p{n}"], listener_priority=n) for n in range(1, 7)}
    jobs = {f"a-long-job-{n}": Job(command=["x"], schedule="rate(1 hour)") for n in range(15)}
    further = {f"a-long-route-name-{n}": Route(port=82, paths=[f"/{n}"]) for n in range(routes)}
    others: dict[str, Any] = {"jobs": jobs, "migration": Migration(command=["x"]), "routes": further}
    resources = deploy(lambda: service(name, strategy=strategy, processes=processes, **others))
    policy = json.dumps(named(resources, f"{name}-release-policy").json("policy"), separators=(",", ":"))
    assert len(policy) < 9_700  # The pipeline adds another policy, of about 400.


def test_the_minutes_of_a_release_include_its_migration() -> None:
    assert resolved(lambda: service("api", **OTHERS).release_minutes) == 10 + 10 + 7
