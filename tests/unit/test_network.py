"""Where the tasks of a service run: in private subnets, or in public ones with public addresses."""

from __future__ import annotations

import json
import re
from functools import cache
from types import SimpleNamespace
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest
from slipway import (
    CodeDeployBlueGreen,
    DeployStage,
    ExistingCluster,
    Job,
    Migration,
    Process,
    StageTests,
)
from unit.costs import AS_OF, HOURS, PRICED_IN, PRICES, TRAFFIC, monthly
from unit.examples import service
from unit.harness import ROOT, Resource, deploy, deploy_stack_file, named, of_type, only, sg

SERVICE = "aws:ecs/service:Service"
EVERY_PART: dict[str, Any] = {
    "processes": {"worker": Process(command=["work"])},
    "migration": Migration(command=["migrate"]),
    "jobs": {"report": Job(command=["report"], schedule="rate(1 hour)")},
}


@cache
def with_every_part(assign_public_ip: bool) -> list[Resource]:
    return deploy(lambda: service("api", **EVERY_PART, assign_public_ip=assign_public_ip))


def inputs(resources: list[Resource]) -> dict[tuple[str, str], str]:
    return {
        (each.type, each.name): json.dumps(each.inputs, sort_keys=True, default=lambda archive: "")
        for each in resources
    }


def test_public_addresses_reach_the_services_the_jobs_and_the_function_and_nothing_else() -> None:
    private, public = inputs(with_every_part(False)), inputs(with_every_part(True))
    assert private.keys() == public.keys()
    changed = {key: (private[key], public[key]) for key in private if private[key] != public[key]}
    for (type_, name), (before, after) in list(changed.items()):
        if type_ == SERVICE:
            assert after == before.replace('"assignPublicIp": false', '"assignPublicIp": true'), name
        elif type_ == "aws:sfn/stateMachine:StateMachine":
            assert after == before.replace(r"\"AssignPublicIp\":\"DISABLED\"", r"\"AssignPublicIp\":\"ENABLED\"")
    assert set(changed) == {
        (SERVICE, "api"),
        (SERVICE, "api-worker"),
        ("aws:sfn/stateMachine:StateMachine", "api-report"),
        # The hash of the settings, and the settings.
        ("aws:lambda/function:Function", "api-release"),
        *(("aws:lambda/invocation:Invocation", f"api-release-rollout-{part}") for part in (1, 2)),
    }


def test_the_function_gets_them_for_each_process() -> None:
    def settings(public: bool) -> list[dict[str, Any]]:
        invocation = named(with_every_part(public), "api-release-rollout-1").json("input")
        web = invocation["rollout"]["settings"]
        return [web, *(process["settings"] for process in web["processes"])]

    assert [each.get("assign_public_ip") for each in settings(True)] == [True, True]
    # So that the settings of a service without them are the same as before.
    assert ["assign_public_ip" in each for each in settings(False)] == [False, False]


def test_codedeploy_creates_the_service_with_them_too() -> None:
    made = deploy(lambda: service("api", assign_public_ip=True, strategy=CodeDeployBlueGreen()))
    assert only(made, SERVICE).inputs["networkConfiguration"]["assignPublicIp"] is True


def test_codebuild_would_have_no_way_out_of_a_public_subnet() -> None:
    def stage(public: bool, in_vpc: bool) -> DeployStage:
        made = service("api", assign_public_ip=public)
        return DeployStage(service=made, tests=StageTests(commands=["make smoke"], in_vpc=in_vpc))

    deploy(lambda: stage(True, False))
    deploy(lambda: stage(False, True))
    with pytest.raises(Exception, match="tests must not set in_vpc with assign_public_ip: CodeBuild gets no public IP"):
        deploy(lambda: stage(True, True))


# Stack files


def program(network: dict[str, Any], **more: Any) -> list[Resource]:
    return deploy_stack_file("dev", {"slipway:network": network, **more})


def placed(resources: list[Resource]) -> tuple[Any, Any, Any]:
    """The subnets of the load balancer and of the tasks, and whether these have public addresses."""
    network = only(resources, SERVICE).inputs["networkConfiguration"]
    return (
        only(resources, "aws:lb/loadBalancer:LoadBalancer").inputs["subnets"],
        network["subnets"],
        network["assignPublicIp"],
    )


PUBLIC, PRIVATE = ["subnet-a", "subnet-b"], ["subnet-c", "subnet-d"]


@pytest.mark.parametrize(
    ("network", "internal", "where"),
    [
        ({"new": {}}, False, (["subnet-1", "subnet-2"], ["subnet-3"], False)),
        ({"new": {"natGateways": "None"}}, False, (["subnet-1", "subnet-2"], ["subnet-1", "subnet-2"], True)),
        (
            {"new": {"natGateways": "None", "vpcEndpoints": {}}},
            False,
            (["subnet-1", "subnet-2"], ["subnet-3"], False),
        ),
        ({"existing": {"publicSubnetIds": PUBLIC, "privateSubnetIds": PRIVATE}}, False, (PUBLIC, PRIVATE, False)),
        # An internal load balancer stays where it was before public subnets were optional.
        ({"existing": {"publicSubnetIds": PUBLIC, "privateSubnetIds": PRIVATE}}, True, (PUBLIC, PRIVATE, False)),
        ({"existing": {"privateSubnetIds": PRIVATE}}, True, (PRIVATE, PRIVATE, False)),
        ({"existing": {"publicSubnetIds": PUBLIC, "assignPublicIp": True}}, False, (PUBLIC, PUBLIC, True)),
    ],
)
def test_the_network_says_where_load_balancers_and_tasks_are(
    network: dict[str, Any], internal: bool, where: tuple[Any, Any, Any]
) -> None:
    given = {kind: {**({"vpcId": "vpc-9"} if kind == "existing" else {}), **keys} for kind, keys in network.items()}
    stages: Any = [{"strategy": {"rolling": {}}}]
    balancer = {"slipway:loadBalancer": {"internal": internal}}
    assert placed(program(given, **{"slipway:stages": stages, **balancer})) == where


def test_a_network_without_nat_gateways_has_none() -> None:
    [vpc] = of_type(program({"new": {"natGateways": "None"}}), "awsx:ec2:Vpc")
    assert vpc.inputs["natGateways"] == {"strategy": "None"}


ENDPOINT = "aws:ec2/vpcEndpoint:VpcEndpoint"
WITH_ENDPOINTS: dict[str, Any] = {"new": {"natGateways": "None", "vpcEndpoints": {}}}
REGION = "com.amazonaws.eu-west-1"
SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-a1b2c3"
PARAMETER = "arn:aws:ssm:eu-west-1:123456789012:parameter/token"


def endpoints(service: dict[str, Any], services: list[str] | None = None) -> set[str]:
    network = {"new": {**WITH_ENDPOINTS["new"], "vpcEndpoints": {"services": services or []}}}
    cluster: dict[str, Any] = {"new": {"managedInstances": {"managed": {}}}}
    made = of_type(program(network, **{"slipway:service": service, "slipway:cluster": cluster}), ENDPOINT)
    return {each.inputs["serviceName"].removeprefix(f"{REGION}.") for each in made}


def test_a_service_has_the_endpoints_that_its_settings_need_and_those_that_are_listed() -> None:
    always = {"ecr.api", "ecr.dkr", "logs", "s3"}
    assert endpoints({}) == always
    assert endpoints({"secrets": {"DB": SECRET}}) == always | {"secretsmanager"}
    assert endpoints({"secrets": {"TOKEN": "ssm:/shop/token"}}) == always | {"ssm"}
    assert endpoints({"secrets": {"TOKEN": PARAMETER}}) == always | {"ssm"}
    splunk = {"splunk": {"url": "https://splunk.example.com:8088", "token": SECRET}}
    assert endpoints({"logging": splunk}) == always | {"secretsmanager"}
    otel = {"image": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/otel", "secrets": {"TOKEN": PARAMETER}}
    assert endpoints({"sidecars": {"otel": otel}}) == always | {"ssm"}
    assert endpoints({"ecsExec": True}) == always | {"ssmmessages"}
    worker = {"worker": {"capacity": {"managedInstances": {"capacityProvider": "managed"}}}}
    assert endpoints({"processes": worker}) == always | {"ecs", "ecs-agent", "ecs-telemetry"}
    migration = {"capacity": worker["worker"]["capacity"], "migration": {"command": ["migrate"]}}
    alone = {**migration, "processes": {"web": {"capacity": {"fargate": {}}}}}
    assert endpoints(alone) == always | {"ecs", "ecs-agent", "ecs-telemetry"}
    assert endpoints({}, ["sqs", "dynamodb", "logs"]) == always | {"sqs", "dynamodb"}


def test_endpoints_are_in_the_private_subnets_and_take_https_from_the_vpc_only() -> None:
    made = program({"new": {"cidr": "10.8.0.0/16", "natGateways": "None", "vpcEndpoints": {}}})
    assert named(made, "storefront-dev-ecr-api", "VpcEndpoint").inputs == {
        "vpcId": "vpc-1",
        "serviceName": f"{REGION}.ecr.api",
        "vpcEndpointType": "Interface",
        "subnetIds": ["subnet-3"],
        "securityGroupIds": [sg("storefront-dev-endpoints")],
        "privateDnsEnabled": True,
    }
    # The mocks show no route tables.
    assert named(made, "storefront-dev-s3", "VpcEndpoint").inputs == {
        "vpcId": "vpc-1",
        "serviceName": f"{REGION}.s3",
        "vpcEndpointType": "Gateway",
        "routeTableIds": [],
    }
    assert named(made, "storefront-dev-endpoints-in").inputs == {
        "securityGroupId": sg("storefront-dev-endpoints"),
        "description": "The VPC",
        "ipProtocol": "tcp",
        "fromPort": 443,
        "toPort": 443,
        "cidrIpv4": "10.8.0.0/16",
    }


def test_without_endpoints_there_are_none() -> None:
    assert of_type(program({"new": {}}), ENDPOINT) == []


def test_from_three_interface_endpoints_in_two_zones_on_a_nat_gateway_costs_less() -> None:
    hourly = {name: price.amount * HOURS for name, price in PRICES.items()}
    endpoint, gateway = hourly["interface endpoints"], hourly["NAT gateways"] + hourly["public IPv4 addresses"]
    assert 2 * 2 * endpoint < gateway < 3 * 2 * endpoint
    assert monthly(program(WITH_ENDPOINTS))["interface endpoints"] == 3 * 2 * endpoint
    said = f"costs about {endpoint:.0f} USD a month in each zone, so these cost more than a NAT gateway from three"
    assert said in (ROOT / "docs" / "configuration.md").read_text()


# Clusters


def test_an_existing_cluster_is_looked_up_and_no_other_is_made() -> None:
    made = program({"new": {}}, **{"slipway:cluster": {"existing": {"name": "shared"}}})
    assert of_type(made, "aws:ecs/cluster:Cluster") == []
    assert only(made, SERVICE).inputs["cluster"] == "arn:aws:ecs:eu-west-1:123456789012:cluster/shared"
    target = only(made, "aws:appautoscaling/target:Target").inputs["resourceId"]
    assert target == "service/shared/storefront-dev"
    function = named(made, "storefront-dev-release", "/function:Function").inputs["environment"]["variables"]
    assert function["CLUSTER"] == "shared"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [({}, None), ({"containerInsights": "enhanced"}, [{"name": "containerInsights", "value": "enhanced"}])],
)
def test_a_new_cluster_has_container_insights_if_they_are_asked_for(settings: dict[str, Any], expected: Any) -> None:
    made = program({"new": {}}, **{"slipway:cluster": {"new": settings}})
    assert only(made, "aws:ecs/cluster:Cluster").inputs.get("settings") == expected


def looked_up(monkeypatch: pytest.MonkeyPatch, found: Any) -> None:
    def answer(cluster_name: str, opts: Any) -> Any:
        if isinstance(found, Exception):
            raise found
        return SimpleNamespace(arn="arn:c", status=found, service_connect_defaults=None)

    monkeypatch.setattr(aws.ecs, "get_cluster", answer)
    deploy(lambda: ExistingCluster("shared"))


def test_a_cluster_that_does_not_exist_or_is_not_active_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up(monkeypatch, "ACTIVE")
    with pytest.raises(pulumi.RunError, match="there is no ECS cluster shared in this account and Region"):
        looked_up(monkeypatch, Exception("reading ECS Cluster (shared): couldn't find resource"))
    with pytest.raises(pulumi.RunError, match="the ECS cluster shared must be ACTIVE, got INACTIVE"):
        looked_up(monkeypatch, "INACTIVE")
    with pytest.raises(Exception, match="AccessDeniedException"):
        looked_up(monkeypatch, Exception("AccessDeniedException"))


# Costs


ADDRESSES = "public IPv4 addresses"


def test_the_costs_in_the_description_of_nat_gateways() -> None:
    month = {name: price.amount * HOURS for name, price in PRICES.items()}
    address, gateway = month["public IPv4 addresses"], month["NAT gateways"]
    [text] = [line for line in (ROOT / "docs" / "configuration.md").read_text().split("\n") if "`natGateways`" in line]
    assert f"each about {gateway + address:.0f} USD a month with its address" in text
    assert f"each task has a public IP address, about {address:.0f} USD a month" in text


def month(tasks: int = 1, **new: Any) -> dict[str, float]:
    return monthly(program({"new": new}, **{"slipway:service": {"tasks": {"min": tasks}}}))


@pytest.mark.long
def test_the_figures_of_the_page_on_networks_without_nat_gateways_are_those_of_its_plans() -> None:
    page = (ROOT / "docs" / "how-to" / "no-nat.md").read_text()
    rows = dict(re.findall(r"^\| `natGateways: (\w+`[^|]*?) \| [^|]+ \| ([^|]+) \|$", page, re.MULTILINE))
    single, public, three = (month(**each) for each in ({}, {"natGateways": "None"}, WITH_ENDPOINTS["new"]))
    four = month(natGateways="None", vpcEndpoints={"services": ["sqs", "dynamodb"]})
    # The rest are the addresses of the load balancer, which each network has.
    of_gateway, of_task = (each[ADDRESSES] - three[ADDRESSES] for each in (single, public))
    nat, endpoints = single["NAT gateways"], three["interface endpoints"]
    nat_traffic, endpoint_traffic = (TRAFFIC[name].amount for name in ("NAT gateways", "interface endpoints"))
    assert rows == {
        "Single` (default)": f"{nat + of_gateway:.0f} USD, and {nat_traffic} USD a GB",
        "None`": f"{of_task:.0f} USD for each task",
        "None` and `vpcEndpoints`": f"{endpoints:.0f} USD for the three that ECS needs, "
        f"{four['interface endpoints'] - endpoints:.0f} USD for each further one, and {endpoint_traffic} USD a GB",
    }
    assert month(3, natGateways="None")[ADDRESSES] - three[ADDRESSES] == pytest.approx(3 * of_task)
    assert f"A NAT gateway costs {nat:.0f} USD a month and its public IPv4 address {of_gateway:.0f} USD" in page
    assert f"({PRICED_IN}, {AS_OF}" in page
    assert [price.source for price in TRAFFIC.values() if price.source not in page] == []


def test_one_task_with_an_address_costs_less_than_a_nat_gateway() -> None:
    tasks = {"slipway:service": {"tasks": {"min": 1}}}
    with_nat, without = (monthly(program({"new": {"natGateways": kind}}, **tasks)) for kind in ("Single", "None"))
    assert round(sum(with_nat.values()) - sum(without.values())) == 33
    assert with_nat["public IPv4 addresses"] == without["public IPv4 addresses"]
