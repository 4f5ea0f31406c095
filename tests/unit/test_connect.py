"""Service Connect between the services of a namespace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pulumi_aws as aws
import pytest
from slipway import BlueGreen, CodeDeployBlueGreen, Job, Migration, Process, Route, ServiceConnect, Sidecar
from slipway.existing_cluster import Cluster, ExistingCluster
from slipway.release.function.ecs import EcsDeployments, is_connected
from slipway.release.function.images import Images
from slipway.release.function.reconcile import Names
from slipway.service.args import ServiceSettings
from unit.examples import load_balancer, service
from unit.harness import Resource, deploy, deploy_stack_file, named, of_type, only, program, refuse_stack_file, sg
from unit.releases import SETTINGS, KeptTable

CERTIFICATE = "arn:aws:acm:eu-west-1:123456789012:certificate/1"
NAMESPACE = "arn:aws:servicediscovery:eu-west-1:123456789012:namespace/ns-0123456789abcdef"
SERVICE = "ecs/service:Service"
INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
WORKER = {"worker": Process(command=["work"])}
LOG = {
    "logDriver": "awslogs",
    "options": {
        "awslogs-group": "/ecs/api",
        "awslogs-region": "eu-west-1",
        "awslogs-stream-prefix": "service-connect",
        "mode": "non-blocking",
    },
}


def made(connect: dict[str, Any] | None = None, **args: Any) -> list[Resource]:
    given = ServiceConnect(namespace_arn=NAMESPACE, **(connect or {}))
    return deploy(lambda: service("api", service_connect=given, **args))


def settings(resources: list[Resource]) -> dict[str, Any]:
    return dict(named(resources, "api-release-rollout-1").json("input")["rollout"]["settings"])


def ports(resources: list[Resource], template: str = "api-template", container: str = "app") -> Any:
    found = named(resources, template, "TaskDefinition").json("containerDefinitions")
    return next(each.get("portMappings") for each in found if each["name"] == container)


def served(resources: list[Resource]) -> Any:
    return settings(resources)["service_connect"]["services"]


def port(number: int, **named: str) -> dict[str, Any]:
    return {"containerPort": number, "hostPort": number, "protocol": "tcp", **named}


def test_a_service_is_reached_by_its_name_on_its_port() -> None:
    resources = made()
    assert settings(resources)["service_connect"] == {
        "enabled": True,
        "namespace": NAMESPACE,
        "services": [
            {
                "portName": "connect",
                "discoveryName": "api",
                "clientAliases": [{"port": 8080, "dnsName": "api"}],
            }
        ],
        "logConfiguration": LOG,
    }
    assert ports(resources) == [port(8080, name="connect", appProtocol="http")]


def test_pulumi_creates_the_service_with_what_the_function_deploys() -> None:
    resources = made({"client_port": 80, "idle_timeout_seconds": 600, "request_timeout_seconds": 0})
    given = named(resources, "api", SERVICE).inputs["serviceConnectConfiguration"]
    [each] = given.pop("services")
    assert given == {"enabled": True, "namespace": NAMESPACE, "logConfiguration": LOG}
    timeout = {"idleTimeoutSeconds": 600, "perRequestTimeoutSeconds": 0}
    names = {"portName": "connect", "discoveryName": "api", "timeout": timeout}
    assert each == {**names, "clientAlias": [{"port": 80, "dnsName": "api"}]}
    assert served(resources) == [{**names, "clientAliases": [{"port": 80, "dnsName": "api"}]}]


def test_without_it_nothing_is_named_and_nothing_is_sent() -> None:
    resources = deploy(lambda: service("api"))
    assert "serviceConnectConfiguration" not in named(resources, "api", SERVICE).inputs
    assert "service_connect" not in settings(resources)
    assert ports(resources) == [port(8080)]


# What each version of the requests of a load balancer may be for the proxy, which they come through too.
ALLOWED = {"HTTP1": ["http", "tcp"], "HTTP2": ["http2", "grpc", "tcp"], "GRPC": ["grpc", "http2", "tcp"]}


@pytest.mark.parametrize("version", ALLOWED)
@pytest.mark.parametrize("protocol", ["http", "http2", "grpc", "tcp", None])
def test_the_protocol_is_that_of_the_port_or_one_that_goes_with_it(protocol: str | None, version: str) -> None:
    def found() -> Any:
        given = ServiceConnect(namespace_arn=NAMESPACE, protocol=protocol)
        settings: dict[str, Any] = {"service_connect": given, "protocol_version": version}
        return deploy(
            lambda: service("api", load_balancer=load_balancer("given", certificate_arn=CERTIFICATE), **settings)
        )

    if protocol is None or protocol in ALLOWED[version]:
        [mapping] = ports(found())
        spoken = protocol or ALLOWED[version][0]
        assert mapping.get("appProtocol") == (None if spoken == "tcp" else spoken)
        return
    with pytest.raises(ValueError) as error:
        found()
    assert str(error.value) == (
        f"service_connect.protocol must be one of {ALLOWED[version]} for a port with protocol_version={version}, got "
        f"{protocol!r}: the requests of the load balancer come through its proxy too"
    )


@pytest.mark.parametrize("protocol", ["http", "http2", "grpc", "tcp"])
def test_a_port_without_a_load_balancer_speaks_any_protocol(protocol: str) -> None:
    resources = made({"port": 9090, "protocol": protocol}, port=None, load_balancer=None)
    [mapping] = ports(resources)
    assert mapping.get("appProtocol") == (None if protocol == "tcp" else protocol)


def test_a_port_of_a_sidecar_that_web_leaves_out_is_not_served() -> None:
    sidecars = {"proxy": Sidecar(image="proxy:1", port=9000)}
    with pytest.raises(ValueError) as error:
        made({"port": 9000}, sidecars=sidecars, processes={"web": Process(sidecars=[])})
    assert str(error.value) == (
        "service_connect.port must be that of a container of web, got 9000: processes['web'].sidecars leaves out proxy"
    )
    assert ports(made({"port": 9000}, sidecars=sidecars)) == [port(8080)]


def test_a_port_of_its_own_needs_no_load_balancer() -> None:
    resources = made({"port": 9090, "name": "orders"}, port=None, load_balancer=None)
    assert ports(resources) == [port(9090, name="connect", appProtocol="http")]
    [each] = served(resources)
    assert (each["discoveryName"], each["clientAliases"]) == ("orders", [{"port": 9090, "dnsName": "orders"}])
    assert of_type(resources, "aws:lb/targetGroup:TargetGroup") == []


def test_beside_the_port_of_the_load_balancer_it_is_another_port() -> None:
    assert ports(made({"port": 9090})) == [port(8080), port(9090, name="connect", appProtocol="http")]


PROXY = {"proxy": Sidecar(image="public.ecr.aws/envoy:1", port=9000)}


def test_it_is_the_port_of_the_container_that_has_it() -> None:
    by_port = made({"port": 9000}, sidecars=PROXY)
    by_target = made(sidecars=PROXY, target_container="proxy")
    for resources in (by_port, by_target):
        assert ports(resources) == [port(8080)]
        assert ports(resources, container="proxy") == [port(9000, name="connect", appProtocol="http")]
        assert served(resources)[0]["clientAliases"] == [{"port": 9000, "dnsName": "api"}]


@pytest.mark.parametrize("target", [None, "proxy"])
def test_it_may_be_the_port_of_a_route(target: str | None) -> None:
    admin = {"admin": Route(port=9090, target_container=target, paths=["/admin"])}
    resources = made({"port": 9090}, sidecars={"proxy": Sidecar(image="public.ecr.aws/envoy:1")}, routes=admin)
    mapped = {"app": ports(resources), "proxy": ports(resources, container="proxy")}
    shared = port(9090, name="connect", appProtocol="http")
    other = {"app": [port(8080), shared], "proxy": None}
    assert mapped == ({"app": [port(8080)], "proxy": [shared]} if target else other)


def test_without_a_port_a_service_only_calls_others() -> None:
    resources = made(port=None, load_balancer=None)
    assert (served(resources), ports(resources)) == ([], [])
    assert not [rule for rule in of_type(resources, INGRESS) if "from" in rule.name]


def test_every_process_takes_part_and_one_with_a_port_has_a_name_of_its_own() -> None:
    admin = {"admin": Process(command=["admin"], port=3000, paths=["/admin"])}
    resources = made({"name": "orders", "port": 9090}, processes={**WORKER, **admin})
    processes = {each["name"]: each["settings"]["service_connect"] for each in settings(resources)["processes"]}
    assert [each["discoveryName"] for each in served(resources)] == ["orders"]
    assert processes["worker"] == {"enabled": True, "namespace": NAMESPACE, "services": [], "logConfiguration": LOG}
    [each] = processes["admin"]["services"]
    assert (each["discoveryName"], each["clientAliases"]) == ("api-admin", [{"port": 3000, "dnsName": "api-admin"}])
    assert ports(resources, "api-admin-template") == [port(3000, name="connect", appProtocol="http")]
    assert ports(resources, "api-worker-template") == []


def test_a_migration_and_jobs_do_not_take_part() -> None:
    parts: dict[str, Any] = {
        "migration": Migration(command=["migrate"]),
        "jobs": {"report": Job(command=["report"], schedule="rate(1 hour)")},
    }
    resources = made({"port": 9090}, **parts)
    for template in ("api-migration-template", "api-report-template"):
        assert ports(resources, template) == []


def opened(resources: list[Resource]) -> dict[str, tuple[Any, int]]:
    rules = [rule for rule in of_type(resources, INGRESS) if "-from-" in rule.name]
    assert {(rule.inputs["fromPort"] == rule.inputs["toPort"], rule.inputs["ipProtocol"]) for rule in rules} <= {
        (True, "tcp")
    }
    return {rule.name: (rule.inputs["referencedSecurityGroupId"], rule.inputs["fromPort"]) for rule in rules}


def test_only_the_clients_and_the_other_processes_may_connect() -> None:
    assert opened(made()) == {}
    clients = {"clients": {"shop": "sg-0b", "admin": "sg-0c"}, "port": 9090}
    assert opened(made(clients)) == {
        "api-in-9090-from-shop": ("sg-0b", 9090),
        "api-in-9090-from-admin": ("sg-0c", 9090),
    }
    admin = {"admin": Process(command=["admin"], port=3000, paths=["/admin"])}
    assert opened(made(processes={**WORKER, **admin})) == {
        "api-in-3000-from-itself": (sg("api-tasks"), 3000),
        "api-in-8080-from-itself": (sg("api-tasks"), 8080),
    }


@pytest.mark.parametrize(
    ("connect", "args", "message"),
    [
        (
            {"protocol": "tcp", "request_timeout_seconds": 5},
            {},
            "request_timeout_seconds must not be set with protocol=tcp, which has no requests; idle_timeout_seconds "
            "can be",
        ),
        (
            {"name": "orders", "clients": {"shop": "sg-0b"}},
            {"port": None},
            "service_connect.port is required with name, clients for a service without a port",
        ),
    ],
)
def test_what_has_no_effect_is_refused(connect: dict[str, Any], args: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        ServiceSettings(service_connect=ServiceConnect(namespace_arn=NAMESPACE, **connect), **args)
    assert str(error.value) == message


def test_codedeploy_does_not_support_it_and_other_strategies_do() -> None:
    connect = ServiceConnect(namespace_arn=NAMESPACE)
    with pytest.raises(ValueError) as error:
        deploy(lambda: service("api", service_connect=connect, strategy=CodeDeployBlueGreen()))
    assert str(error.value) == (
        "strategy must not be CodeDeployBlueGreen with service_connect: CodeDeploy does not support it; BlueGreen does"
    )
    assert served(made(strategy=BlueGreen()))


# Namespaces


def test_the_namespace_is_in_the_region_of_the_service() -> None:
    elsewhere = NAMESPACE.replace("eu-west-1", "us-east-1")
    with pytest.raises(
        ValueError, match=r"^service_connect\.namespace_arn must be in eu-west-1, got one in us-east-1: "
    ):
        deploy(lambda: service("api", service_connect=ServiceConnect(namespace_arn=elsewhere)))


def test_a_cluster_may_have_a_default_namespace() -> None:
    def on(cluster: Callable[[], Cluster]) -> list[Resource]:
        return deploy(lambda: service("api", service_connect=ServiceConnect(), cluster=cluster()))

    resources = on(lambda: ExistingCluster.of(name="main", arn="arn:c", namespace_arn=NAMESPACE))
    assert settings(resources)["service_connect"]["namespace"] == NAMESPACE
    without: list[Callable[[], Cluster]] = [
        lambda: aws.ecs.Cluster("main"),
        lambda: ExistingCluster.of(name="main", arn="arn:c"),
    ]
    for cluster in without:
        with pytest.raises(ValueError) as error:
            on(cluster)
        assert str(error.value) == (
            "service_connect.namespace_arn is required with a cluster that has no default namespace"
        )


def test_the_default_namespace_of_an_existing_cluster_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    for defaults, expected in (([SimpleNamespace(namespace=NAMESPACE)], NAMESPACE), ([], None)):
        found = SimpleNamespace(arn="arn:c", status="ACTIVE", service_connect_defaults=defaults)
        monkeypatch.setattr(aws.ecs, "get_cluster", Mock(return_value=found))
        clusters: list[ExistingCluster] = []
        deploy(lambda: clusters.append(ExistingCluster("shared")))  # noqa: B023 - called at once
        assert clusters[0].namespace_arn == expected


CONNECTED = {"slipway:cluster": {"new": {"namespace": "internal"}}, "slipway:service": {"serviceConnect": {}}}


@pytest.mark.parametrize("capacity", [{}, {"capacity": {"fargateSpot": {}}}], ids=["Fargate", "Spot"])
def test_a_new_cluster_makes_the_namespace_of_its_services(capacity: dict[str, Any]) -> None:
    keys = {**CONNECTED, "slipway:service": {"serviceConnect": {}, **capacity}}
    resources = deploy_stack_file("dev", keys)
    namespace = only(resources, "aws:servicediscovery/httpNamespace:HttpNamespace")
    assert namespace.inputs == {"name": "internal"}
    default = only(resources, "aws:ecs/cluster:Cluster").inputs["serviceConnectDefaults"]
    given = named(resources, "storefront-dev", SERVICE).inputs["serviceConnectConfiguration"]
    assert given["namespace"] == default["namespace"]


def test_a_plain_cluster_has_no_namespace() -> None:
    assert "serviceConnectDefaults" not in only(program("dev"), "aws:ecs/cluster:Cluster").inputs


def test_a_stack_file_needs_a_namespace() -> None:
    message, registered = refuse_stack_file("dev", {"slipway:service": {"serviceConnect": {}}})
    assert "service.serviceConnect.namespaceArn or cluster.new.namespace is required" in message
    assert registered == ["pulumi:pulumi:Stack"]


def test_a_mistake_is_reported_once_beside_further_processes() -> None:
    service = {"serviceConnect": {"clients": {"shop": "on"}}, "processes": {"worker": {"command": ["work"]}}}
    message, _ = refuse_stack_file("dev", {**CONNECTED, "slipway:service": service})
    assert message.count("service.serviceConnect.clients['shop'] must be the ID of a security group") == 1
    assert "Traceback" not in message


def test_the_stages_of_a_namespace_have_different_names() -> None:
    def stages(*names: str) -> dict[str, Any]:
        each = [{"name": f"s{number}", "service": {"serviceConnect": {"name": n}}} for number, n in enumerate(names)]
        return {**CONNECTED, "slipway:stages": each}

    message, _ = refuse_stack_file("dev", stages("orders", "orders"))
    assert "stages must have different names in service.serviceConnect, got ['orders'] twice" in message
    found = of_type(deploy_stack_file("dev", stages("orders-a", "orders-b")), f"aws:{SERVICE}")
    assert [r.inputs["serviceConnectConfiguration"]["services"][0]["discoveryName"] for r in found] == [
        "orders-a",
        "orders-b",
    ]


# What the function compares and sends


ON = {"enabled": True, "namespace": NAMESPACE, "services": [{"portName": "connect"}]}
OFF = {"enabled": False}
FOUND = {"serviceConnectConfiguration": ON}


@pytest.mark.parametrize(
    ("found", "wanted", "same"),
    [
        ({}, {}, True),
        ({"serviceConnectConfiguration": OFF}, {}, True),
        (FOUND, {}, False),
        ({}, ON, False),
        (FOUND, ON, True),
        (FOUND, {**ON, "services": []}, False),
        (FOUND, {**ON, "namespace": "arn:other"}, False),
    ],
)
def test_a_revision_is_connected_as_the_settings_say(found: Any, wanted: Any, same: bool) -> None:
    assert is_connected(found, replace(SETTINGS, service_connect=wanted)) is same


class Ecs:
    """The task definitions and revisions of one service."""

    def __init__(self, *names: str) -> None:
        self.ports = [{"containerPort": 8080}, *({"containerPort": 9090, "name": name} for name in names)]

    def describe_task_definition(self, **_: Any) -> dict[str, Any]:
        return {"taskDefinition": {"containerDefinitions": [{"name": "app", "portMappings": self.ports}]}}

    def describe_service_revisions(self, **_: Any) -> dict[str, Any]:
        return {"serviceRevisions": [FOUND]}


NEWEST = {"targetServiceRevision": {"arn": "arn:revision"}}
CONNECTS: dict[str, Any] = {"deployments": [FOUND]}


@pytest.mark.parametrize(
    ("wanted", "service", "newest", "fallback", "sent"),
    [
        (ON, {}, None, "", ON),
        (ON, CONNECTS, NEWEST, "", ON),
        # An earlier revision to go back to has the port, or has not.
        (ON, CONNECTS, NEWEST, "with the port", ON),
        (ON, CONNECTS, NEWEST, "without it", OFF),
        (ON, {}, None, "without it", None),
        # Turned off.
        ({}, CONNECTS, None, "", OFF),
        ({}, {"deployments": [{}]}, NEWEST, "", OFF),
        ({}, {"deployments": [{"serviceConnectConfiguration": OFF}]}, None, "", None),
        ({}, {}, None, "", None),
    ],
)
def test_a_deployment_gets_the_configuration_that_fits_its_task_definition(
    wanted: Any, service: Any, newest: Any, fallback: str, sent: Any
) -> None:
    ecs = Ecs(*(["connect"] if fallback == "with the port" else []))
    names = Names(cluster="shop", service="shop-dev", family="shop-dev", container="app")
    deployments = EcsDeployments(ecs, ecs, KeptTable(), Images(None, "shop"), names, None)
    found = deployments._connection(service, replace(SETTINGS, service_connect=wanted), newest, fallback)
    assert found == ({} if sent is None else {"serviceConnectConfiguration": sent})
