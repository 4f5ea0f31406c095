"""The same resources twice: made by the components, and registered in plain pulumi_aws."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import pulumi
import pulumi_aws as aws
from slipway import LoadBalancer, LoadBalancerArgs, Registry, Service, ServiceArgs
from unit.harness import Resource

ATTRIBUTES = ("arn", "id", "name", "url", "repository_url", "dns_name", "arn_suffix", "last_modified", "stream_label")
"""What resources read of each other; a value that two of them have is the one's that was registered first."""
SHORTEST = 8
"""Characters of a value that counts as somebody else's where it stands inside a text."""


def components(services: int) -> None:
    """Some services of one cluster, registry and load balancer."""
    cluster = aws.ecs.Cluster("shop", name="shop")
    registry = Registry("shop")
    subnets = ["subnet-1", "subnet-2"]
    balancer = LoadBalancer("shop", LoadBalancerArgs(vpc_id="vpc-1", subnet_ids=subnets))
    for number in range(1, services + 1):
        settings = ServiceArgs(
            cluster=cluster,
            registry=registry,
            load_balancer=balancer,
            vpc_id="vpc-1",
            subnet_ids=subnets,
            environment_name=f"dev-{number}",
            paths=[f"/{number}/*"],
            listener_priority=number,
        )
        Service(f"shop-{number}", settings)


@dataclass(frozen=True)
class Registration:
    resource: Resource
    outputs: dict[str, Any]
    depends_on: list[str]
    """URNs of what it depends on, and reads nothing of."""


@dataclass(frozen=True)
class Attribute:
    """An output of another resource."""

    urn: str
    name: str


@dataclass(frozen=True)
class Text:
    """A string with outputs of other resources in it."""

    parts: list[str | Attribute]


@dataclass(frozen=True)
class Step:
    """One registration, as somebody would write it by hand."""

    registration: Registration
    kind: Any
    inputs: dict[str, Any]


def plain(registrations: list[Registration]) -> Callable[[], None]:
    """A program that registers what another one did, as one would write it by hand: what is another resource's is read
    from it. What is read from where is found out here, so that it costs the program nothing."""
    steps = []
    known: dict[str, Attribute] = {}
    for registration in registrations:
        resource = registration.resource
        if resource.type == "pulumi:pulumi:Stack":
            continue
        if resource.type.startswith("slipway:"):
            steps.append(Step(registration, None, {}))
            continue
        kind = class_of(resource.type)
        inputs = {parameter(kind, key): referring(value, known) for key, value in resource.inputs.items()}
        steps.append(Step(registration, kind, inputs))
        for attribute in ATTRIBUTES:
            camel = re.sub(r"_(\w)", lambda m: m[1].upper(), attribute)
            value = registration.outputs.get(camel)
            if isinstance(value, str) and len(value) >= SHORTEST and hasattr(kind, attribute):
                known.setdefault(value, Attribute(resource.urn, attribute))

    def program() -> None:
        made: dict[str, Any] = {}
        for step in steps:
            resource = step.registration.resource
            opts = pulumi.ResourceOptions(
                parent=made.get(resource.parent_urn),
                ignore_changes=resource.ignore_changes or None,
                depends_on=[made[urn] for urn in step.registration.depends_on] or None,
            )
            if step.kind is None:
                component = pulumi.ComponentResource(resource.type, resource.name, None, opts)
                made[resource.urn] = component
                component.register_outputs(resource.outputs)
            else:
                inputs = {name: read(value, made) for name, value in step.inputs.items()}
                made[resource.urn] = step.kind(resource.name, **inputs, opts=opts)

    return program


def referring(value: Any, known: dict[str, Attribute]) -> Any:
    """A value with an Attribute or a Text where it has what another resource has as an output."""
    if isinstance(value, dict):
        return {key: referring(item, known) for key, item in value.items()}
    if isinstance(value, list):
        return [referring(item, known) for item in value]
    if not isinstance(value, str):
        return value
    if value in known:
        return known[value]
    inside = sorted((each for each in known if each in value), key=len, reverse=True)
    if not inside:
        return value
    parts = re.split(f"({'|'.join(map(re.escape, inside))})", value)
    return Text([known.get(part, part) for part in parts if part])


def read(value: Any, made: dict[str, Any]) -> Any:
    """A value with Outputs of what is made in the place of each Attribute and Text."""
    if isinstance(value, dict):
        return {key: read(item, made) for key, item in value.items()}
    if isinstance(value, list):
        return [read(item, made) for item in value]
    if isinstance(value, Attribute):
        return getattr(made[value.urn], value.name)
    if isinstance(value, Text):
        return pulumi.Output.concat(*(read(part, made) for part in value.parts))
    return value


@cache
def class_of(type_: str) -> Any:
    """The class of pulumi_aws for a type token such as aws:ecs/service:Service."""
    _, module, name = type_.split(":")
    return getattr(importlib.import_module(f"pulumi_aws.{module.split('/')[0].replace('lambda', 'lambda_')}"), name)


@cache
def parameter(kind: Any, key: str) -> str:
    """The Python name of an input."""
    name = re.sub(r"(?<=[a-z0-9])([A-Z])", lambda m: f"_{m[1].lower()}", key)
    assert name in inspect.signature(kind._internal_init).parameters, (kind, key)
    return name
