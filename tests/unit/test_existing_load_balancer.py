"""A service behind a load balancer that is there already."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pulumi
import pytest
from slipway import BlueGreen, CodeDeployBlueGreen, ExistingLoadBalancer, ExistingLoadBalancerArgs, Service
from slipway.config.schema import LoadBalancerKeys
from slipway.existing_load_balancer import security_group
from unit.examples import service, service_args
from unit.harness import Resource, deploy, named, of_type

ELB = "arn:aws:elasticloadbalancing:eu-west-1:123456789012"
ARN = f"{ELB}:loadbalancer/app/shared/0a1b2c3d4e5f6071"
RULE = "aws:lb/listenerRule:ListenerRule"
PORTS: dict[str, Any] = {"listener_port": 443, "test_listener_port": 8443}


def made(balancer: dict[str, Any] | None = None, **args: Any) -> list[Resource]:
    def program() -> None:
        given = ExistingLoadBalancerArgs(**{"arn": ARN, **(balancer or {})})
        service("api", load_balancer=ExistingLoadBalancer(given), **args)

    return deploy(program)


def test_nothing_of_it_is_created_but_rules_and_rules_of_its_security_group() -> None:
    resources = made()
    made_of_it = {r.name for r in resources if r.type.startswith("aws:lb/")}
    assert made_of_it == {"api-rule", "api-tg-a", "api-tg-b"}
    assert named(resources, "api-rule").inputs["listenerArn"] == f"{ARN.replace(':loadbalancer/', ':listener/')}/443"
    opened = named(resources, "api-in-8080").inputs
    assert (opened["referencedSecurityGroupId"], opened["fromPort"]) == ("sg-shared", 8080)
    assert named(resources, "api-from-balancer-8080").inputs["securityGroupId"] == "sg-shared"


@pytest.mark.parametrize("strategy", [BlueGreen(), CodeDeployBlueGreen()], ids=lambda each: type(each).__name__)
def test_strategies_that_shift_traffic_use_its_listeners(strategy: Any) -> None:
    resources = made(PORTS, strategy=strategy)
    listener = ARN.replace(":loadbalancer/", ":listener/")
    assert {r.name: r.inputs["listenerArn"] for r in of_type(resources, RULE)} == {
        "api-rule": f"{listener}/443",
        "api-rule-test": f"{listener}/8443",
    }


@pytest.mark.parametrize(
    ("balancer", "url"),
    [
        ({}, "https://shared.elb.example"),
        ({"listener_port": 80}, "http://shared.elb.example"),
        ({"listener_port": 8443}, "https://shared.elb.example:8443"),
    ],
)
def test_its_address_has_the_protocol_and_port_of_the_listener(balancer: dict[str, Any], url: str) -> None:
    [component] = [r for r in made(balancer) if r.type == "slipway:index:Service"]
    assert component.outputs["url"] == url


def test_grpc_needs_a_listener_with_a_certificate() -> None:
    made(protocol_version="GRPC")
    with pytest.raises(ValueError, match="load_balancer must have a certificate for the protocol_version GRPC"):
        made({"listener_port": 80}, protocol_version="GRPC")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({}, "name or arn must be set, and not both, got none"),
        ({"name": "shared", "arn": ARN}, "name or arn must be set, and not both, got name and arn"),
        (
            {"name": "shared", "listener_port": 80, "test_listener_port": 80},
            "test_listener_port must be different from listener_port, got 80 for both",
        ),
    ],
)
def test_it_has_one_name_and_two_different_listeners(args: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        ExistingLoadBalancerArgs(**args)
    assert str(error.value) == message


def test_the_security_group_is_its_only_one_or_one_of_its_several() -> None:
    def found(groups: list[str], given: str | None = None) -> str:
        return security_group(groups, ExistingLoadBalancerArgs(name="shared", security_group_id=given))

    assert (found(["sg-1"]), found(["sg-1", "sg-2"], "sg-2")) == ("sg-1", "sg-2")
    for groups, given, got in [(["sg-1", "sg-2"], None, "none"), (["sg-1"], "sg-3", "'sg-3'"), ([], None, "none")]:
        with pytest.raises(Exception) as error:
            found(groups, given)
        assert str(error.value) == (
            f"security_group_id must be one of {groups}, the security groups of the load balancer, got {got}"
        )


def test_keys_of_a_new_load_balancer_are_refused_beside_it() -> None:
    with pytest.raises(ValueError) as error:
        LoadBalancerKeys(existing=ExistingLoadBalancerArgs(name="shared"), internal=True, idle_timeout_seconds=9)
    assert str(error.value).split("\n") == [
        f"{key} must not be set with existing: whoever made that load balancer decides"
        for key in ("internal", "idle_timeout_seconds")
    ]


def test_it_is_in_the_vpc_of_the_service_as_far_as_that_is_known() -> None:
    def program(vpc_id: Any) -> Callable[[], None]:
        def make() -> None:
            given = service_args("api", load_balancer=ExistingLoadBalancer(ExistingLoadBalancerArgs(arn=ARN)))
            Service("api", replace(given, vpc_id=vpc_id()))

        return make

    assert named(deploy(program(lambda: "vpc-1")), "api-tg-a").inputs["vpcId"] == "vpc-1"
    later = deploy(program(lambda: pulumi.Output.from_input("vpc-2")))
    assert named(later, "api-tg-a").inputs["vpcId"] == "vpc-2"
    with pytest.raises(pulumi.RunError) as error:
        deploy(program(lambda: "vpc-2"))
    assert str(error.value) == "load_balancer must be in the VPC of the service, vpc-2, got one in vpc-1"


def test_services_that_share_it_in_a_program_have_different_priorities() -> None:
    def program() -> None:
        shared = ExistingLoadBalancer(ExistingLoadBalancerArgs(arn=ARN))
        service("api", load_balancer=shared, listener_priority=7)
        service("web", load_balancer=shared, listener_priority=7)

    with pytest.raises(ValueError, match="listener_priority must be different for each service of a load balancer"):
        deploy(program)


@pytest.mark.parametrize("ports", [[443, 443], [443, 8443]], ids=["one listener", "two listeners"])
def test_a_program_that_looks_it_up_for_each_service_gives_each_priority_of_a_listener_once(ports: list[int]) -> None:
    def program() -> None:
        for name, port in zip(("shop-4", "shop-11"), ports, strict=True):
            given = ExistingLoadBalancerArgs(arn=ARN, listener_port=port)
            hosts = [f"{name[-1]}.example.com"]
            service(name, load_balancer=ExistingLoadBalancer(given), hosts=hosts, environment_name=name)

    # These two names have the same usual priority for such rules.
    for _ in range(2):  # another program begins from the start
        first, second = (each.inputs["priority"] for each in of_type(deploy(program), RULE))
        assert (first == second) is (ports[0] != ports[1])
