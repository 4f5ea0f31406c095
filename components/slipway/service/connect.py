"""Service Connect: how the services of a namespace reach each other by name, without a load balancer between them."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import pulumi
import pulumi_aws as aws

from slipway._constraints import between, check, match, one_of
from slipway.service import requests
from slipway.service.processes import Port
from slipway.service.requests import HTTP1
from slipway.service.volumes import SecurityGroupId

HTTP, HTTP2, GRPC, TCP = PROTOCOLS = ("http", "http2", "grpc", "tcp")
SPOKEN = {HTTP1: (HTTP, TCP), requests.HTTP2: (HTTP2, GRPC, TCP), requests.GRPC: (GRPC, HTTP2, TCP)}
"""What the proxy may speak at a port that gets requests of this version from a load balancer, which come through it
too; the first is the default.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ServiceConnectService.html"""
PORT_NAME = "connect"
"""Name of the port in a task definition. It stays when the port changes."""
NamespaceArn = Annotated[
    pulumi.Input[str],
    match(
        r"arn:aws(-[a-z]+)*:servicediscovery:[a-z0-9-]+:\d{12}:namespace/ns-[a-z0-9]+",
        "be the ARN of a namespace in AWS Cloud Map",
        "arn:aws:servicediscovery:eu-west-1:123456789012:namespace/ns-0123456789abcdef",
        ["internal", "ns-0123456789abcdef", "arn:aws:servicediscovery:eu-west-1:123456789012:service/srv-0123"],
    ),
]
"""https://docs.aws.amazon.com/cloud-map/latest/dg/working-with-namespaces.html"""
ConnectName = Annotated[
    str,
    match(
        r"[a-z0-9_][a-z0-9_-]*",
        "be a name of a-z 0-9 _ - that does not begin with -",
        "orders",
        ["Orders", "-orders", "orders.internal", "a b"],
        longest=64,
    ),
]
"""https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ServiceConnectService.html"""
ClientName = Annotated[
    str,
    match(r"[a-z0-9]+(-[a-z0-9]+)*", "be a name of a-z 0-9 and single - between them", "shop", ["Shop", "a--b"], 40),
]
Timeout = Annotated[int, between(0, 2_147_483_647)]


@dataclass(frozen=True, kw_only=True)
class ServiceConnect:
    """The service and the others of a namespace reach each other as `http://<name>:<port>`. ECS runs a proxy in each
    task for that, which uses the task's CPU and memory: AWS recommends 256 CPU units and 64 MiB more for it.

    A task knows the names that exist when it starts, so deploy a new service before those that call it. A migration and
    jobs do not take part.
    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-connect.html
    """

    namespace_arn: NamespaceArn | None = None
    """ARN of the namespace in AWS Cloud Map. By default, that of the cluster."""

    name: ConnectName | None = None
    """Name of the service in the namespace, where each is another. By default, the name of the service. A further
    process with a port has the name `<service>-<process>`."""

    port: Port | None = None
    """Port on which the container, or a sidecar, serves the others. By default, `port` of the service; without either,
    the service only calls others."""

    client_port: Port | None = None
    """Port that the others connect to. By default, the same."""

    # https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_PortMapping.html
    protocol: Annotated[str, one_of(PROTOCOLS)] | None = None
    """What is spoken there: http, http2, grpc, or tcp for everything else, whose requests the proxy does not see. By
    default, what `protocol_version` says of the port. It stays: give a service that speaks another one another name."""

    clients: Mapping[ClientName, SecurityGroupId] = field(default_factory=dict)
    """Security groups whose tasks may connect, by name. By default, only the other processes of the service can."""

    request_timeout_seconds: Timeout | None = None
    """Seconds after which the proxy gives up a request, also one of the load balancer to the same port, or 0 for never.
    By default, 15."""

    idle_timeout_seconds: Timeout | None = None
    """Seconds after which the proxy closes a connection without traffic, or 0 for never. By default, 300, and with tcp
    an hour."""

    def __post_init__(self) -> None:
        check(self)

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        groups = [group for group in self.clients.values() if isinstance(group, str)]
        twice = sorted({group for group in groups if groups.count(group) > 1})
        yield bool(twice), f"clients must have different security groups, got {twice} twice"
        yield (
            self.protocol == TCP and self.request_timeout_seconds is not None,
            "request_timeout_seconds must not be set with protocol=tcp, which has no requests; idle_timeout_seconds "
            "can be",
        )

    @property
    def of_others(self) -> ServiceConnect:
        """That of the processes besides `web`. It is not checked a second time."""
        made = copy.copy(self)
        for name in ("name", "port", "client_port"):
            object.__setattr__(made, name, None)
        return made

    def configuration(
        self, name: str, port: int | None, namespace: pulumi.Input[str], log: Mapping[str, Any]
    ) -> dict[str, Any]:
        """`serviceConnectConfiguration` in the ECS API, for a service that serves this port, if any.

        https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ServiceConnectConfiguration.html
        """
        timeout = {
            "idleTimeoutSeconds": self.idle_timeout_seconds,
            "perRequestTimeoutSeconds": self.request_timeout_seconds,
        }
        given = {key: value for key, value in timeout.items() if value is not None}
        served = {
            "portName": PORT_NAME,
            "discoveryName": self.name or name,
            "clientAliases": [{"port": self.client_port or port, "dnsName": self.name or name}],
            **({"timeout": given} if given else {}),
        }
        return {
            "enabled": True,
            "namespace": namespace,
            "services": [] if port is None else [served],
            "logConfiguration": log,
        }


def port_mapping(port: int, connect: ServiceConnect | None = None, version: str = HTTP1) -> dict[str, Any]:
    """A port of a container, which others reach by Service Connect if that is given. `version` is that of its requests.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_PortMapping.html
    """
    mapping: dict[str, Any] = {"containerPort": port, "hostPort": port, "protocol": "tcp"}
    if connect is None:
        return mapping
    protocol = connect.protocol or SPOKEN[version][0]
    return {**mapping, "name": PORT_NAME, **({} if protocol == TCP else {"appProtocol": protocol})}


def open_to_clients(
    name: str,
    connect: ServiceConnect,
    ports: Iterable[int],
    tasks: aws.ec2.SecurityGroup,
    own: bool,
    child: pulumi.ResourceOptions,
) -> None:
    """Allows traffic to these ports of the tasks from the clients, and if `own` from the service's other tasks."""
    clients: dict[str, pulumi.Input[str]] = {f"from-{client}": group for client, group in connect.clients.items()}
    if own:
        clients["from-itself"] = tasks.id
    for port in sorted(set(ports)):
        for client, group in clients.items():
            aws.vpc.SecurityGroupIngressRule(
                f"{name}-in-{port}-{client}",
                security_group_id=tasks.id,
                description=f"Service Connect {client}",
                referenced_security_group_id=group,
                ip_protocol="tcp",
                from_port=port,
                to_port=port,
                opts=child,
            )


def as_the_provider_takes_it(configuration: Mapping[str, Any]) -> aws.ecs.ServiceServiceConnectConfigurationArgs:
    """A configuration of the ECS API in the provider's format."""
    log = configuration["logConfiguration"]
    return aws.ecs.ServiceServiceConnectConfigurationArgs(
        enabled=True,
        namespace=configuration["namespace"],
        services=[
            aws.ecs.ServiceServiceConnectConfigurationServiceArgs(
                port_name=each["portName"],
                discovery_name=each["discoveryName"],
                client_alias=[
                    aws.ecs.ServiceServiceConnectConfigurationServiceClientAliasArgs(
                        port=alias["port"], dns_name=alias["dnsName"]
                    )
                    for alias in each["clientAliases"]
                ],
                timeout=aws.ecs.ServiceServiceConnectConfigurationServiceTimeoutArgs(
                    idle_timeout_seconds=each["timeout"].get("idleTimeoutSeconds"),
                    per_request_timeout_seconds=each["timeout"].get("perRequestTimeoutSeconds"),
                )
                if "timeout" in each
                else None,
            )
            for each in configuration["services"]
        ],
        log_configuration=aws.ecs.ServiceServiceConnectConfigurationLogConfigurationArgs(
            log_driver=log["logDriver"], options=log["options"]
        ),
    )
