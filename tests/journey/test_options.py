"""Options that meet what runs: changed on a service with tasks and traffic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from .conftest import Stack

Make = Callable[..., Stack]


@pytest.mark.rule("R1", "R2")
def test_ecs_exec_beside_a_read_only_root_replaces_the_tasks_with_the_live_image(stack: Make) -> None:
    dev = stack()
    image = f"@{dev.push().digest}"
    before = dev.service["taskDefinition"]
    dev.up(ecsExec=True)
    [container] = dev.running["containerDefinitions"]
    assert container["readonlyRootFilesystem"] is True
    assert {mount["containerPath"] for mount in container["mountPoints"]} == {"/var/lib/amazon", "/var/log/amazon"}
    assert (dev.image, dev.counts, dev.service["enableExecuteCommand"]) == (image, (1, 1), True)
    assert dev.service["taskDefinition"] != before
    assert dev.workspace.preview(refresh=True).changes == []
    dev.up(ecsExec=False)
    assert (dev.image, dev.service["enableExecuteCommand"]) == (image, False)
    assert dev.running["containerDefinitions"][0]["mountPoints"] == []


@pytest.mark.rule("R1", "R2")
@pytest.mark.parametrize("strategy", [{"rolling": {}}, {"canary": {"canaryBakeMinutes": 1, "bakeMinutes": 5}}])
def test_another_protocol_reaches_a_running_service_with_the_live_image(stack: Make, strategy: dict[str, Any]) -> None:
    dev = stack()
    dev.strategy(**strategy)
    dev.workspace.up()
    dev.push()
    image = dev.image
    outcome = dev.up(protocolVersion="HTTP2")
    assert dev.image == image
    assert dev.served("storefront-dev-rule-http2") == {image.partition("@")[2]: 100}
    gone = {step.name for step in outcome.changes if step.op == "delete"}
    assert {"storefront-dev-tg-a", "storefront-dev-tg-b", "storefront-dev-rule"} <= gone
    assert dev.workspace.preview(refresh=True).changes == []
    dev.release("After the change")
    assert dev.workspace.preview(refresh=True).changes == []
