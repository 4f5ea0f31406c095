"""Service Connect: a name in a namespace, while what answers there is released, fails and is turned off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pulumi.automation import CommandError

from .conftest import Stack, failures

Make = Callable[..., Stack]
CONNECTED = {"slipway:cluster": {"new": {"namespace": "internal"}}}


def namespace(dev: Stack) -> str:
    [arn] = {
        each.outputs["arn"]
        for each in dev.account.aws.resources.values()
        if each.type == "aws:servicediscovery/httpNamespace:HttpNamespace"
    }
    return str(arn)


def answers(dev: Stack, name: str) -> dict[str, int]:
    """The digests that answer at a name, each with its number of tasks."""
    found = dev.account.ecs.answers(namespace(dev), name)
    return {f"@{image.partition('@')[2]}": count for image, count in found.items()}


@pytest.mark.rule("R1", "R2")
def test_a_backend_without_a_load_balancer_is_reached_by_name_through_releases(stack: Make) -> None:
    dev = stack()
    # Its tests ask for the address of a load balancer.
    dev.workspace.configure({**CONNECTED, "slipway:stages": [{}]})
    dev.up(port=False, serviceConnect={"name": "orders", "port": 9090})
    assert answers(dev, "orders") == {}
    first = f"@{dev.push().digest}"
    assert (answers(dev, "orders"), dev.image) == ({first: 1}, first)
    dev.release("Second")
    second = dev.image
    assert (answers(dev, "orders"), second != first) == ({second: 1}, True)
    dev.account.ecs.fault = lambda definition: "exit 1" if second not in str(definition) else None
    dev.commit("Broken")
    assert failures(dev.push()) != []
    assert answers(dev, "orders") == {second: 1}
    assert dev.workspace.preview(refresh=True).changes == []


@pytest.mark.rule("R1", "R2")
@pytest.mark.parametrize(
    "strategy",
    [
        {"rolling": {}},
        pytest.param({"canary": {"canaryBakeMinutes": 1, "bakeMinutes": 5}}, marks=pytest.mark.occasional),
    ],
)
def test_a_running_service_gets_a_name_another_one_and_none(stack: Make, strategy: dict[str, Any]) -> None:
    dev = stack()
    dev.strategy(**strategy)
    dev.workspace.configure(CONNECTED)
    dev.workspace.up()
    dev.push()
    image, traffic = dev.image, dev.traffic
    dev.up(serviceConnect={})
    assert (answers(dev, "storefront-dev"), dev.image, dev.traffic) == ({image: 1}, image, traffic)
    dev.up(serviceConnect={"name": "shop"})
    assert (answers(dev, "shop"), answers(dev, "storefront-dev")) == ({image: 1}, {})
    assert dev.workspace.preview(refresh=True).changes == []
    dev.up()
    assert (answers(dev, "shop"), dev.image, dev.traffic) == ({}, image, traffic)
    assert dev.workspace.preview(refresh=True).changes == []
    dev.release("After it")


@pytest.mark.rule("R1", "R2")
def test_settings_that_fail_leave_the_service_as_it_was_connected(stack: Make) -> None:
    dev = stack()
    dev.workspace.configure(CONNECTED)
    dev.workspace.up()
    dev.push()
    image = dev.image
    dev.account.ecs.fault = lambda definition: "exit 1" if "connect" in str(definition) else None
    with pytest.raises(CommandError, match="exited with 1"):
        dev.up(serviceConnect={})
    assert (answers(dev, "storefront-dev"), dev.image, dev.counts) == ({}, image, (1, 1))
    # The next release tries them again, and keeps what runs.
    dev.commit("Still broken")
    assert failures(dev.push()) != []
    assert (dev.image, dev.counts) == (image, (1, 1))
    dev.account.ecs.fault = lambda definition: None
    dev.up(serviceConnect={})
    assert answers(dev, "storefront-dev") == {image: 1}


def test_the_namespace_is_deleted_after_the_service(stack: Make) -> None:
    dev = stack()
    dev.workspace.configure(CONNECTED)
    dev.up(serviceConnect={})
    dev.push()
    dev.workspace.destroy(exclude_protected=True)
    assert [each for each in dev.account.aws.resources.values() if "servicediscovery" in each.type] == []
