"""Further ports of the tasks of a service, each with target groups and a rule of its own."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from slipway import (
    BlueGreen,
    Canary,
    CodeDeployBlueGreen,
    HealthCheck,
    Linear,
    Migration,
    Process,
    Rolling,
    Route,
    Sidecar,
    Stickiness,
    Tasks,
)
from slipway.service.args import ServiceSettings, task_settings
from slipway.service.requests import GRPC, HTTP2
from slipway.service.timers import rollout_timers
from unit.examples import TEST_LISTENER, load_balancer, service
from unit.harness import Resource, deploy, granted, named, of_type, rights

ADMIN = Route(port=9090, paths=["/admin/*"], health_path="/ready")
CERTIFICATE = "arn:aws:acm:eu-west-1:123456789012:certificate/1"
ELB = "arn:aws:elasticloadbalancing:eu-west-1:123456789012"
GROUP, RULE = "aws:lb/targetGroup:TargetGroup", "aws:lb/listenerRule:ListenerRule"
PROXY = Sidecar(image="proxy:1", port=8000)


def made(test_listener: bool = False, **args: Any) -> list[Resource]:
    listener = TEST_LISTENER if test_listener else None
    return deploy(lambda: service("api", load_balancer=load_balancer("given", test_listener=listener), **args))


def encrypted(**args: Any) -> list[Resource]:
    return deploy(lambda: service("api", load_balancer=load_balancer("given", certificate_arn=CERTIFICATE), **args))


def refused(**args: Any) -> str:
    with pytest.raises(ValueError) as error:
        made(**args)
    return str(error.value)


def settings(resources: list[Resource]) -> Any:
    return named(resources, "api-release-rollout-1").json("input")["rollout"]["settings"]


def group(name: str) -> str:
    return f"{ELB}:targetgroup/{name}/1"


def rule(name: str) -> str:
    return f"{ELB}:listener-rule/{name}"


def containers(resources: list[Resource]) -> dict[str, Any]:
    return {each["name"]: each for each in named(resources, "api-template").json("containerDefinitions")}


def mapped(port: int) -> dict[str, Any]:
    return {"containerPort": port, "hostPort": port, "protocol": "tcp"}


# Without routes


def plan(resources: list[Resource]) -> list[Any]:
    # An archive is equal to itself only.
    return [(r.type, r.name, {key: value for key, value in r.inputs.items() if key != "code"}) for r in resources]


@pytest.mark.parametrize("strategy", [Rolling(), Canary(), CodeDeployBlueGreen()], ids=lambda each: type(each).__name__)
def test_a_route_adds_resources_and_leaves_those_of_the_service_without_it_as_they_are(strategy: Any) -> None:
    before = plan(made(strategy=strategy, test_listener=True))
    assert [name for _, name, _ in before if "route" in name] == []
    assert plan(made(strategy=strategy, test_listener=True, routes={})) == before
    if isinstance(strategy, CodeDeployBlueGreen):
        return
    after = plan(made(strategy=strategy, test_listener=True, routes={"admin": ADMIN}))
    changed = {(kind.rpartition(":")[2], name) for kind, name, inputs in before if (kind, name, inputs) not in after}
    assert changed == {
        # The ports, the load balancers and the alarm.
        ("TaskDefinition", "api-template"),
        ("Service", "api"),
        ("Function", "api-release"),
        *(("Invocation", name) for _, name, _ in before if "rollout" in name),
        # The rights to watch the alarm, and to shift the traffic.
        ("RolePolicy", "api-release-policy"),
        *([("RolePolicy", "api-traffic-policy")] if isinstance(strategy, BlueGreen) else []),
    }
    assert {name for _, name, _ in after} - {name for _, name, _ in before} == {
        *("api-route-admin-tg-a", "api-route-admin-tg-b", "api-route-admin-rule", "api-route-admin-rule-test"),
        *("api-route-admin-errors", "api-in-9090", "api-from-balancer-9090"),
    }


# What a route makes


def test_its_target_groups_have_its_health_check_and_otherwise_the_settings_of_the_service() -> None:
    check = HealthCheck(success_codes="200,204", interval_seconds=20, healthy_count=3)
    route = dataclasses.replace(ADMIN, health_check=check)
    sticky = Stickiness(duration_seconds=600)
    resources = made(routes={"admin": route}, health_path="/healthz", drain_seconds=7, stickiness=sticky)
    own, admin = (named(resources, f"api-{name}tg-b").inputs for name in ("", "route-admin-"))
    assert admin["healthCheck"] == {
        **{"path": "/ready", "matcher": "200,204", "interval": 20, "timeout": 4},
        **{"healthyThreshold": 3, "unhealthyThreshold": 5},
    }
    assert own["healthCheck"]["path"] == "/healthz"
    assert {key for key in own if own[key] != admin.get(key)} == {"healthCheck"}
    assert (admin["deregistrationDelay"], admin["stickiness"]["cookieDuration"]) == (7, 600)


def test_its_rules_ask_for_its_conditions_and_forward_to_its_groups() -> None:
    route = Route(port=9090, hosts=["admin.example.com"], headers={"X-Admin": ["1"]}, listener_priority=7)
    resources = made(test_listener=True, routes={"admin": route}, paths=["/shop/*"], listener_priority=8)
    for name in ("api-route-admin-rule", "api-route-admin-rule-test"):
        inputs = named(resources, name).inputs
        assert inputs["priority"] == 7
        assert inputs["conditions"] == [
            {"hostHeader": {"values": ["admin.example.com"]}},
            {"httpHeader": {"httpHeaderName": "X-Admin", "values": ["1"]}},
        ]
        [action] = inputs["actions"]
        assert action["forward"]["targetGroups"] == [
            {"arn": group("api-route-admin-tg-a"), "weight": 100},
            {"arn": group("api-route-admin-tg-b"), "weight": 0},
        ]
    listeners = [named(resources, name).inputs["listenerArn"] for name in ("api-rule", "api-rule-test")]
    routed = [named(resources, f"api-route-admin-{n}").inputs["listenerArn"] for n in ("rule", "rule-test")]
    assert routed == listeners
    assert named(resources, "api-rule").inputs["priority"] == 8
    assert named(resources, "api-rule").inputs["conditions"] == [{"pathPattern": {"values": ["/shop/*"]}}]


def test_a_rule_without_a_priority_comes_before_the_one_that_asks_for_less_and_no_two_have_the_same() -> None:
    routes = {name: Route(port=9090, paths=[f"/{name}/*"]) for name in ("aa", "bb", "cc", "dd")}
    resources = made(routes=routes, processes={"api": Process(port=81, paths=["/ee/*"])})
    priorities = {each.name: each.inputs["priority"] for each in of_type(resources, RULE)}
    assert len({*priorities.values()}) == len(priorities) == 6
    assert max(priorities, key=lambda name: priorities[name]) == "api-rule"


def test_each_port_is_opened_once_for_the_load_balancer() -> None:
    routes = {"admin": ADMIN, "more": Route(port=9090, paths=["/m"]), "own": Route(port=8080, hosts=["a.example.com"])}
    resources = made(routes=routes)
    for kind, name in (("Ingress", "api-in-"), ("Egress", "api-from-balancer-")):
        rules = of_type(resources, f"aws:vpc/securityGroup{kind}Rule:SecurityGroup{kind}Rule")
        opened = {each.name: each.inputs["fromPort"] for each in rules if each.name.startswith(name)}
        assert opened == {f"{name}8080": 8080, f"{name}9090": 9090}


def test_the_container_that_listens_has_the_port() -> None:
    routes = {"admin": ADMIN, "again": Route(port=8080, hosts=["a.example.com"])}
    routes |= {"proxy": Route(port=8000, target_container="proxy", paths=["/p"])}
    routes |= {"stats": Route(port=8001, target_container="proxy", paths=["/s"])}
    found = containers(made(routes=routes, sidecars={"proxy": PROXY, "otel": Sidecar(image="otel:1")}))
    assert found["app"]["portMappings"] == [mapped(8080), mapped(9090)]
    assert found["proxy"]["portMappings"] == [mapped(8000), mapped(8001)]
    assert "portMappings" not in found["otel"]


def test_the_service_and_its_releases_have_a_load_balancer_for_each_port() -> None:
    routes = {"admin": ADMIN, "stats": Route(port=8000, target_container="proxy", paths=["/s"])}
    resources = made(routes=routes, sidecars={"proxy": PROXY})
    expected = [
        {"targetGroupArn": group("api-tg-a"), "containerName": "app", "containerPort": 8080},
        {"targetGroupArn": group("api-route-admin-tg-a"), "containerName": "app", "containerPort": 9090},
        {"targetGroupArn": group("api-route-stats-tg-a"), "containerName": "proxy", "containerPort": 8000},
    ]
    created = named(resources, "api", "ecs/service:Service").inputs
    assert created["loadBalancers"] == expected
    document = settings(resources)
    assert document["load_balancers"] == expected
    assert document["target_groups"] == [
        group(f"api-{name}tg-{letter}") for name in ("", "route-admin-", "route-stats-") for letter in "ab"
    ]
    needed = named(resources, "api", "ecs/service:Service").depends_on
    assert needed >= {"api-rule", "api-route-admin-rule", "api-route-stats-rule"}


@pytest.mark.parametrize("strategy", [BlueGreen(), Canary(), Linear()], ids=lambda each: type(each).__name__)
def test_a_strategy_shifts_the_rules_of_each_port_and_may_shift_no_others(strategy: BlueGreen) -> None:
    resources = made(test_listener=True, strategy=strategy, routes={"admin": ADMIN})
    _, admin = settings(resources)["load_balancers"]
    assert admin["advancedConfiguration"] == {
        "alternateTargetGroupArn": group("api-route-admin-tg-b"),
        "productionListenerRule": rule("api-route-admin-rule"),
        "testListenerRule": rule("api-route-admin-rule-test"),
        "roleArn": "arn:aws:iam::123456789012:role/api-traffic-role",
    }
    describe = ("Listeners", "Rules", "TargetGroups", "TargetHealth")
    groups = [group(f"api-{name}tg-{letter}") for name in ("", "route-admin-") for letter in "ab"]
    rules = [rule(f"api-{name}") for name in ("rule", "rule-test", "route-admin-rule", "route-admin-rule-test")]
    assert rights(resources, "api-traffic-policy") == granted(
        [
            {
                "Effect": "Allow",
                "Action": [f"elasticloadbalancing:Describe{each}" for each in describe],
                "Resource": "*",
            },
            {
                "Effect": "Allow",
                "Action": ["elasticloadbalancing:RegisterTargets", "elasticloadbalancing:DeregisterTargets"],
                "Resource": groups,
            },
            {"Effect": "Allow", "Action": "elasticloadbalancing:ModifyRule", "Resource": rules},
        ]
    )


def test_the_failed_requests_of_each_port_are_watched() -> None:
    resources = made(routes={"admin": ADMIN}, alarm_names=["latency"])
    alarm = named(resources, "api-route-admin-errors").inputs
    metrics = [query["metric"] for query in alarm["metricQueries"] if "metric" in query]
    of = [(metric["dimensions"]["TargetGroup"], metric["metricName"]) for metric in metrics]
    errors, requests = "HTTPCode_Target_5XX_Count", "RequestCount"
    a, b = (f"targetgroup/api-route-admin-tg-{letter}/1" for letter in "ab")
    assert of == [(a, errors), (a, requests), (b, errors), (b, requests)]
    own = named(resources, "api-errors").inputs
    assert [query for query in alarm["metricQueries"] if "expression" in query] == [
        query for query in own["metricQueries"] if "expression" in query
    ]
    assert alarm["alarmDescription"] == "More than 5 percent of the requests to api-route-admin fail."
    watched = settings(resources)["deployment"]["alarms"]["alarmNames"]
    assert watched == ["api-errors", "api-route-admin-errors", "latency"]
    assert [each.name for each in made(routes={"admin": ADMIN}, error_alarm=None) if "errors" in each.name] == []


def test_a_service_scales_with_the_requests_to_all_its_ports() -> None:
    resources = made(routes={"admin": ADMIN}, tasks=Tasks(min=1, max=2, target_requests_per_task=10))
    policy = named(resources, "api-scaling-requests").inputs["targetTrackingScalingPolicyConfiguration"]
    *queries, result = policy["customizedMetricSpecification"]["metrics"]
    of = [
        next(d["value"] for d in query["metricStat"]["metric"]["dimensions"] if d["name"] == "TargetGroup")
        for query in queries
    ]
    assert of == [f"targetgroup/api-{name}tg-{letter}/1" for name in ("", "route-admin-") for letter in "ab"]
    assert result["expression"] == "FILL(a, 0) + FILL(b, 0) + FILL(c, 0) + FILL(d, 0)"


def test_a_rollout_waits_for_the_slowest_of_the_health_checks() -> None:
    slow = Route(port=9091, paths=["/slow"], health_check=HealthCheck(interval_seconds=30, healthy_count=4))
    assert rollout_timers(ServiceSettings(routes={"admin": ADMIN}), Rolling()).healthy == 10
    assert rollout_timers(ServiceSettings(routes={"admin": ADMIN, "slow": slow}), Rolling()).healthy == 120


def test_another_protocol_of_a_route_has_groups_and_a_rule_of_its_own() -> None:
    before, after = (
        made(routes={"admin": ADMIN}),
        encrypted(routes={"admin": dataclasses.replace(ADMIN, protocol_version=HTTP2)}),
    )
    assert {each.name for each in (*of_type(after, GROUP), *of_type(after, RULE))} == {
        *("api-tg-a", "api-tg-b", "api-rule"),
        *("api-route-admin-tg-a-http2", "api-route-admin-tg-b-http2", "api-route-admin-rule-http2"),
    }
    first, second = named(before, "api-route-admin-rule"), named(after, "api-route-admin-rule-http2")
    assert first.inputs["priority"] + 1 == second.inputs["priority"]


def test_grpc_of_a_route_needs_a_certificate_and_calls_a_method() -> None:
    route = Route(port=50051, paths=["/shop.Orders/*"], protocol_version=GRPC)
    message = refused(routes={"orders": route})
    assert message == "load_balancer must have a certificate for the protocol_version GRPC of routes['orders']"
    resources = encrypted(routes={"orders": route})
    check = named(resources, "api-route-orders-tg-a-grpc").inputs["healthCheck"]
    assert (check["path"], check["matcher"]) == ("/AWS.ALB/healthcheck", "12")
    assert "protocolVersion" not in named(resources, "api-tg-a").inputs


# Which tasks have it


def test_the_tasks_of_web_have_the_routes_and_no_others() -> None:
    processes = {"web": Process(cpu=512, memory=1024), "api": Process(port=81, paths=["/api/*"]), "work": Process()}
    resources = made(routes={"admin": ADMIN}, processes=processes, migration=Migration(command=["migrate"]))
    ports = {
        name: [each["containerPort"] for each in named(resources, name).json("containerDefinitions")[0]["portMappings"]]
        for name in ("api-template", "api-api-template", "api-work-template", "api-migration-template")
    }
    assert ports == {
        "api-template": [8080, 9090],
        "api-api-template": [81],
        "api-work-template": [],
        "api-migration-template": [],
    }
    document = settings(resources)
    assert len(document["load_balancers"]) == 2
    assert [len(each["settings"]["load_balancers"]) for each in document["processes"]] == [1, 0]
    assert task_settings(ServiceSettings(routes={"admin": ADMIN}), Migration(command=["m"])).routes == {}


def test_the_port_of_web_may_be_that_of_its_process() -> None:
    processes = {"web": Process(port=81)}
    assert refused(port=None, routes={"admin": ADMIN}) == (
        "port is required with routes, got routes ['admin']\n"
        "load_balancer must be set if, and only if, port is set, got port=None"
    )
    resources = made(port=None, processes=processes, routes={"admin": ADMIN})
    ports = [each["containerPort"] for each in settings(resources)["load_balancers"]]
    assert ports == [81, 9090]


# What is refused


def test_a_route_asks_for_something() -> None:
    with pytest.raises(ValueError) as error:
        Route(port=9090)
    assert str(error.value) == "paths, hosts or headers are required: those of the service are for its own port"
    for given in ({"paths": ["/a"]}, {"hosts": ["a.example.com"]}, {"headers": {"X": ["1"]}}):
        Route(port=9090, **given)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"paths": ["/*"] * 1, "hosts": [f"{n}.a.b" for n in range(5)]}, "paths and hosts must have at most 5 entries"),
        ({"paths": ["/a"], "health_check": HealthCheck(success_codes="500")}, "health_check.success_codes must be"),
        ({"paths": ["/a"], "port": 0}, "port must be between 1 and 65535, got 0"),
        ({"paths": ["a"]}, "paths[0] must be a pattern such as /api/*"),
        ({"paths": ["/a"], "listener_priority": 50_001}, "listener_priority must be between 1 and 50000, got 50001"),
    ],
)
def test_a_route_has_the_limits_of_a_rule_and_a_target_group(args: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        Route(**{"port": 9090, **args})
    assert str(error.value).startswith(message)


def numbered(count: int) -> dict[str, Route]:
    return {f"r{n}": Route(port=9000 + n, paths=[f"/{n}"]) for n in range(1, count + 1)}


def test_a_task_has_five_target_groups() -> None:
    assert len(settings(made(routes=numbered(4)))["load_balancers"]) == 5
    assert refused(routes=numbered(5)) == (
        "routes must be at most 4, got 5: ECS registers a task with at most 5 target groups, and one is that of port"
    )


@pytest.mark.parametrize("strategy", [BlueGreen(), Canary(), Linear()], ids=lambda each: type(each).__name__)
def test_a_strategy_that_shifts_traffic_has_two_groups_for_each_port(strategy: BlueGreen) -> None:
    made(routes=numbered(1), strategy=strategy)
    assert refused(routes=numbered(2), strategy=strategy) == (
        f"strategy must be Rolling with more than 1 route, got {type(strategy).__name__} and ['r1', 'r2']: a service "
        "has at most 5 target groups, and each port has two if traffic is shifted"
    )


def test_code_deploy_supports_one_port() -> None:
    assert refused(routes=numbered(1), strategy=CodeDeployBlueGreen()) == (
        "strategy must not be CodeDeployBlueGreen with routes, got ['r1']: CodeDeploy supports one port; BlueGreen "
        "supports two, and Rolling more"
    )


BUSY = "or that container must be the target_container"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            {"routes": {"a": Route(port=8000, paths=["/a"])}, "sidecars": {"proxy": PROXY}},
            f"routes['a'].port must be different from that of sidecars['proxy'], got 8000, {BUSY}",
        ),
        (
            {"routes": {"a": Route(port=8080, paths=["/a"], target_container="proxy")}, "sidecars": {"proxy": PROXY}},
            f"routes['a'].port must be different from that of the application's container, got 8080, {BUSY}",
        ),
        (
            {
                "routes": {
                    "a": Route(port=9090, paths=["/a"]),
                    "b": Route(port=9090, paths=["/b"], target_container="proxy"),
                },
                "sidecars": {"proxy": PROXY},
            },
            f"routes['b'].port must be different from that of the application's container, got 9090, {BUSY}",
        ),
        (
            {"routes": {"a": Route(port=9090, paths=["/a"], target_container="app")}, "sidecars": {"proxy": PROXY}},
            "routes['a'].target_container must be a sidecar, one of ['proxy'], got 'app'",
        ),
        (
            {
                "routes": {"a": Route(port=8000, paths=["/a"], target_container="proxy")},
                "sidecars": {"proxy": PROXY},
                "processes": {"web": Process(sidecars=[])},
            },
            "routes['a'].target_container must be a sidecar, one of [], got 'proxy'",
        ),
        (
            {"routes": {"admin": ADMIN}, "processes": {"route-admin": Process()}},
            "routes must not be ['admin'] with processes called ['route-admin']",
        ),
        (
            {"routes": {"a": dataclasses.replace(ADMIN, listener_priority=7)}, "listener_priority": 7},
            "routes['a'].listener_priority must be different from that of web, got 7 for both",
        ),
        (
            {
                "routes": {
                    "a": Route(port=9090, paths=["/a"], listener_priority=7),
                    "b": Route(port=9091, paths=["/b"], listener_priority=7),
                }
            },
            "routes['b'].listener_priority must be different from that of routes['a'], got 7 for both",
        ),
        (
            {
                "routes": {"a": dataclasses.replace(ADMIN, listener_priority=7)},
                "processes": {"api": Process(port=81, paths=["/api/*"], listener_priority=7)},
            },
            "routes['a'].listener_priority must be different from that of api, got 7 for both",
        ),
        (
            {"routes": {"a": Route(port=9090, paths=["/*"])}},
            "routes['a'] must ask for other paths, hosts or headers than the service: only one of them would get "
            "requests",
        ),
        (
            {
                "routes": {
                    "a": Route(port=9090, paths=["/a", "/b"], headers={"X-A": ["1"]}),
                    "b": Route(port=9091, paths=["/b", "/a"], headers={"x-a": ["1"]}),
                }
            },
            "routes['b'] must ask for other paths, hosts or headers than routes['a']: only one of them would get "
            "requests",
        ),
        (
            {"routes": {"a": Route(port=9090, hosts=["a.example.com"])}, "hosts": ["a.example.com"]},
            "routes['a'] must ask for other paths, hosts or headers than the service: only one of them would get "
            "requests",
        ),
        ({"routes": {"load_test": ADMIN}}, "routes: the name 'load_test' must be a name of a-z 0-9 and single -"),
    ],
)
def test_a_combination_that_cannot_work_is_refused_with_the_reason(args: dict[str, Any], message: str) -> None:
    found = refused(**args)
    assert found.startswith(message) and "\n" not in found
