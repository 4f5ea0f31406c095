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


def plain(registrations: list[Registration]) -> Callable[[], None]:
    """A program that registers what another one did, as one would write it by hand: what is another's
    is read of that."""

    def program() -> None:
        made: dict[str, Any] = {}
        read: dict[str, tuple[str, str]] = {}
        for registration in registrations:
            resource = registration.resource
            if resource.type == "pulumi:pulumi:Stack":
                continue
            opts = pulumi.ResourceOptions(
                parent=made.get(resource.parent_urn),
                ignore_changes=resource.ignore_changes or None,
                depends_on=[made[urn] for urn in registration.depends_on] or None,
            )
            if resource.type.startswith("slipway:"):
                component = pulumi.ComponentResource(resource.type, resource.name, None, opts)
                made[resource.urn] = component
                component.register_outputs(resource.outputs)
                continue
            kind = class_of(resource.type)
            values = {parameter(kind, key): referring(value, made, read) for key, value in resource.inputs.items()}
            made[resource.urn] = kind(resource.name, **values, opts=opts)
            for attribute in ATTRIBUTES:
                camel = re.sub(r"_(\w)", lambda m: m[1].upper(), attribute)
                value = registration.outputs.get(camel)
                if isinstance(value, str) and len(value) >= SHORTEST and hasattr(made[resource.urn], attribute):
                    read.setdefault(value, (resource.urn, attribute))

    return program


def referring(value: Any, made: dict[str, Any], read: dict[str, tuple[str, str]]) -> Any:
    """A value with Outputs in the place of what other resources are read for."""
    if isinstance(value, dict):
        return {key: referring(item, made, read) for key, item in value.items()}
    if isinstance(value, list):
        return [referring(item, made, read) for item in value]
    if not isinstance(value, str):
        return value
    if value in read:
        urn, attribute = read[value]
        return getattr(made[urn], attribute)
    inside = sorted((known for known in read if known in value), key=len, reverse=True)
    if not inside:
        return value
    form = re.compile("|".join(map(re.escape, inside)))
    used = list(dict.fromkeys(form.findall(value)))
    parts = [getattr(made[read[known][0]], read[known][1]) for known in used]
    return pulumi.Output.all(*parts).apply(
        lambda values: form.sub(lambda m: dict(zip(used, values, strict=True))[m[0]], value)
    )


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
