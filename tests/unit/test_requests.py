"""Which requests a process gets, with which protocol, and how long a rollout waits for the load balancer."""

from __future__ import annotations

from typing import Any

import pytest
from slipway import (
    BlueGreen,
    Canary,
    CodeDeployBlueGreen,
    HealthCheck,
    Linear,
    LoadBalancer,
    Process,
    Rolling,
    Service,
)
from slipway.service.args import ServiceSettings
from slipway.service.requests import GRPC, HTTP2, priority
from slipway.service.timers import RolloutTimers, rollout_timers
from unit.examples import load_balancer, service
from unit.harness import Resource, deploy, named, of_type

CERTIFICATE = "arn:aws:acm:eu-west-1:123456789012:certificate/1"
RULE = "aws:lb/listenerRule:ListenerRule"
GROUP = "aws:lb/targetGroup:TargetGroup"


def made(**args: Any) -> list[Resource]:
    def program() -> Service:
        args.setdefault("load_balancer", load_balancer("given"))
        return service("api", **args)

    return deploy(program)


def by_http2(version: str, **args: Any) -> list[Resource]:
    def program() -> Service:
        return service("api", load_balancer=encrypted(), protocol_version=version, **args)

    return deploy(program)


def encrypted() -> LoadBalancer:
    return load_balancer("given", certificate_arn=CERTIFICATE)


# Rules


def test_a_rule_asks_for_paths_hosts_and_headers() -> None:
    rule = named(made(paths=["/v2/*"], hosts=["a.example.com"], headers={"X-B": ["1", "2"], "X-A": ["*"]}), "api-rule")
    assert rule.inputs["conditions"] == [
        {"pathPattern": {"values": ["/v2/*"]}},
        {"hostHeader": {"values": ["a.example.com"]}},
        {"httpHeader": {"httpHeaderName": "X-A", "values": ["*"]}},
        {"httpHeader": {"httpHeaderName": "X-B", "values": ["1", "2"]}},
    ]


def test_every_path_is_a_condition_only_if_there_is_no_other() -> None:
    def conditions(**args: Any) -> Any:
        return named(made(**args), "api-rule").inputs["conditions"]

    assert conditions() == [{"pathPattern": {"values": ["/*"]}}]
    assert conditions(hosts=["a.example.com"]) == [{"hostHeader": {"values": ["a.example.com"]}}]


FIVE = [f"/{n}" for n in range(5)]


@pytest.mark.parametrize(
    "args",
    [
        {"paths": FIVE},
        {"paths": FIVE[:4], "hosts": ["a.b"]},
        {"hosts": ["*.a?.c", "?.b"], "headers": {"X": ["*", "a*"]}},
    ],
)
def test_a_rule_may_have_five_values_and_five_wildcards(args: dict[str, Any]) -> None:
    ServiceSettings(**args)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            {"paths": FIVE, "hosts": ["a.b"]},
            "paths and hosts must have at most 5 entries in total, got 6: a listener rule has no more",
        ),
        (
            {"hosts": ["a.b"], "headers": {"X": ["1", "2", "3"], "Y": ["4", "5"]}},
            "hosts and headers must have at most 5 entries in total, got 6: a listener rule has no more",
        ),
        (
            {"hosts": ["*.a*.b*.c"], "headers": {"X": ["***"]}},
            "hosts and headers must have at most 5 wildcards in total, got 6",
        ),
    ],
)
def test_a_rule_has_no_more_than_a_load_balancer_allows(args: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        ServiceSettings(**args)
    assert str(error.value) == message


# Priorities


def test_the_more_a_rule_asks_for_the_earlier_it_is_evaluated() -> None:
    every, path, longer = (priority("a", [each], (), {}) for each in ("/*", "/api/*", "/api/v2/*"))
    host, both = priority("a", (), ["shop.example.com"], {}), priority("a", ["/api"], ["shop.example.com"], {})
    header = priority("a", ["/api"], ["shop.example.com"], {"X": ["1"]})
    assert header < both < host < longer < path < every


@pytest.mark.parametrize("name", ["a", "storefront-dev", "z" * 40])
@pytest.mark.parametrize("length", [1, 50, 128])
def test_a_priority_is_one_that_a_load_balancer_has(name: str, length: int) -> None:
    assert 1000 <= priority(name, ["/" * length], ["a" * length], {}) <= 50_000 - 2


def test_priorities_are_the_same_whatever_else_there_is() -> None:
    def rules(*names: str) -> dict[str, int]:
        def program() -> None:
            shared = load_balancer("given")
            for name in names:
                service(name, load_balancer=shared, environment_name=name, hosts=[f"{name}.example.com"])

        return {rule.name: rule.inputs["priority"] for rule in of_type(deploy(program), RULE)}

    alone, together = rules("one"), rules("two", "three", "one", "four")
    assert together["one-rule"] == alone["one-rule"]
    assert len(set(together.values())) == 4


def test_two_rules_that_would_have_the_same_priority_have_different_ones() -> None:
    def program() -> None:
        balancer = load_balancer("given")
        given = [balancer.give_priority(name, None, 2000) for name in ("a", "b", "a")]
        assert given == [2000, 2001, 2000]
        assert balancer.give_priority("c", 1999, 2000) == 1999
        assert balancer.give_priority("d", None, 1999) == 2002

    deploy(program)


def test_a_process_is_evaluated_before_web_if_it_asks_for_more() -> None:
    resources = made(processes={"admin": Process(port=81, paths=["/admin/*"])})
    assert named(resources, "api-admin-rule").inputs["priority"] < named(resources, "api-rule").inputs["priority"]


def test_a_process_does_not_get_the_requests_that_the_service_names_for_web() -> None:
    settings = {"hosts": ["shop.example.com"], "headers": {"X": ["1"]}, "listener_priority": 7}
    resources = made(**settings, processes={"admin": Process(port=81, paths=["/admin/*"])})
    rule = named(resources, "api-admin-rule").inputs
    assert rule["conditions"] == [{"pathPattern": {"values": ["/admin/*"]}}]
    assert rule["priority"] != 7


# Protocols and health checks


def test_a_health_check_is_quick_by_default() -> None:
    assert named(made(), "api-tg-a").inputs["healthCheck"] == {
        "path": "/",
        "matcher": "200",
        "interval": 5,
        "timeout": 4,
        "healthyThreshold": 2,
        "unhealthyThreshold": 5,
    }


def test_the_timeout_of_a_check_is_shorter_than_its_interval() -> None:
    with pytest.raises(ValueError, match=r"^timeout_seconds must be less than interval_seconds=5, got 5$"):
        HealthCheck(timeout_seconds=5)


@pytest.mark.parametrize(
    ("codes", "protocol", "possible"),
    [
        *((codes, "HTTP1", True) for codes in ("200", "499", "200,301", "200-299,499")),
        *((codes, "HTTP2", False) for codes in ("199", "500", "200,500", "100-299", "300-200")),
        *((codes, GRPC, True) for codes in ("0", "99", "0-5,12")),
        *((codes, GRPC, False) for codes in ("100", "0,200")),
    ],
)
def test_the_codes_are_those_of_the_protocol(codes: str, protocol: str, possible: bool) -> None:
    args: Any = {"health_check": HealthCheck(success_codes=codes), "protocol_version": protocol}
    if possible:
        ServiceSettings(**args)
        return
    with pytest.raises(ValueError) as error:
        ServiceSettings(**args)
    least, most = (0, 99) if protocol == GRPC else (200, 499)
    rule = f"health_check.success_codes must be codes from {least} to {most} with protocol_version={protocol}"
    assert str(error.value) == f"{rule}, got {codes!r}"


@pytest.mark.parametrize(
    ("args", "path", "codes"),
    [
        ({}, "/AWS.ALB/healthcheck", "12"),
        ({"health_path": "/grpc.health.v1.Health/Check"}, "/grpc.health.v1.Health/Check", "0"),
        ({"health_check": HealthCheck(success_codes="0,12")}, "/AWS.ALB/healthcheck", "0,12"),
    ],
)
def test_a_check_by_grpc_calls_a_method(args: dict[str, Any], path: str, codes: str) -> None:
    group = named(by_http2(GRPC, **args), "api-tg-b-grpc").inputs
    assert (group["protocol"], group["protocolVersion"]) == ("HTTP", "GRPC")
    assert (group["healthCheck"]["path"], group["healthCheck"]["matcher"]) == (path, codes)


@pytest.mark.parametrize("version", [HTTP2, GRPC])
def test_http2_needs_a_certificate(version: str) -> None:
    with pytest.raises(ValueError) as error:
        made(protocol_version=version)
    assert str(error.value) == f"load_balancer must have a certificate for the protocol_version {version} of web"


def test_another_protocol_has_groups_and_a_rule_of_its_own_beside_the_old_ones() -> None:
    before, after = made(), by_http2(HTTP2)
    names = {each.name for each in (*of_type(before, GROUP), *of_type(before, RULE))}
    assert names == {"api-tg-a", "api-tg-b", "api-rule"}
    assert names.isdisjoint(each.name for each in (*of_type(after, GROUP), *of_type(after, RULE)))
    # The rule that has requests is evaluated first until it is deleted.
    first, second = named(before, "api-rule"), named(after, "api-rule-http2")
    assert first.inputs["priority"] + 1 == second.inputs["priority"]


# Timers


@pytest.mark.parametrize(
    ("strategy", "shift"),
    [
        (Rolling(), 0),
        (BlueGreen(bake_minutes=5), 300),
        (Canary(canary_bake_minutes=10, bake_minutes=5), 900),
        (Linear(step_percent=50, step_bake_minutes=6, bake_minutes=5), 660),
        (CodeDeployBlueGreen(deployment_config="CodeDeployDefault.ECSAllAtOnce", termination_minutes=3), 180),
    ],
)
def test_a_default_rollout_waits_forty_seconds_and_what_its_strategy_says(strategy: Any, shift: int) -> None:
    timers = rollout_timers(ServiceSettings(), strategy)
    assert timers == RolloutTimers(healthy=10, shift=shift, drain=30)
    assert timers.total == 40 + shift


def test_a_worker_waits_for_no_timer() -> None:
    assert rollout_timers(ServiceSettings(port=None), Rolling()).total == 0


def test_a_deployment_is_late_only_after_all_its_timers() -> None:
    slow = {"drain_seconds": 400, "health_check": HealthCheck(interval_seconds=10, healthy_count=10)}
    made(**slow, stop_timeout_seconds=99)
    with pytest.raises(ValueError) as error:
        made(**slow, stop_timeout_seconds=100)
    assert str(error.value) == (
        "strategy must have deadline_minutes above 10, got 10: a rollout of web waits 100 s for health checks, 400 s "
        "for requests to end and up to 100 s for a task to stop"
    )
    made(**slow, stop_timeout_seconds=100, strategy=Rolling(deadline_minutes=11))
