"""Options that meet what runs: changed on a service with tasks and traffic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from .conftest import Stack, ended

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
@pytest.mark.parametrize(
    "strategy",
    [
        {"rolling": {}},
        pytest.param({"canary": {"canaryBakeMinutes": 1, "bakeMinutes": 5}}, marks=pytest.mark.occasional),
    ],
)
def test_another_protocol_reaches_a_running_service_with_the_live_image(stack: Make, strategy: dict[str, Any]) -> None:
    config = {"slipway:loadBalancer": {"certificateArn": CERTIFICATE}, "slipway:stages": [{"strategy": strategy}]}
    dev = stack(config=config)
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


CERTIFICATE = "arn:aws:acm:eu-west-1:123456789012:certificate/01234567-89ab-cdef-0123-456789abcdef"
TOKEN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:splunk-a1b2c3"
DRIVERS: dict[str, dict[str, Any]] = {
    "awsfirelens": {"fireLens": {"options": {"Name": "datadog"}, "secretOptions": {"apikey": TOKEN}}},
    "splunk": {"splunk": {"url": "https://splunk.example.com:8088", "token": TOKEN}},
}


def drivers(dev: Stack) -> dict[str, str]:
    """The log driver of each container of the running task definition."""
    return {each["name"]: each["logConfiguration"]["logDriver"] for each in dev.running["containerDefinitions"]}


@pytest.mark.rule("R1", "R2")
@pytest.mark.parametrize("driver", ["awsfirelens", pytest.param("splunk", marks=pytest.mark.occasional)])
def test_another_log_driver_reaches_a_running_service_and_a_release_with_it_is_verified(
    stack: Make, driver: str
) -> None:
    dev = stack()
    live = dev.push()
    dev.up(logging=DRIVERS[driver])
    router = {"log-router": "awslogs"} if driver == "awsfirelens" else {}
    assert (dev.image, dev.counts, drivers(dev)) == (f"@{live.digest}", (1, 1), {"app": driver, **router})
    second = dev.release("With another log driver")
    assert (dev.image, drivers(dev)) == (f"@{second.digest}", {"app": driver, **router})
    assert dev.state("verified")["image"].endswith(second.digest)
    assert dev.workspace.preview(refresh=True).changes == []
    dev.up(logging={"awsLogs": {}})
    assert (dev.image, drivers(dev)) == (f"@{second.digest}", {"app": "awslogs"})


@pytest.mark.rule("R4")
def test_a_log_router_that_fails_ends_the_release_which_names_it_and_the_verified_image_runs_again(stack: Make) -> None:
    dev = stack(logging=DRIVERS["awsfirelens"])
    good = dev.push()
    dev.account.ecs.fault = lambda definition: None if good.digest in str(definition) else "log-router exit 1"
    dev.commit("The log router does not start with this one")
    bad = dev.push()
    message = bad.action("Deploy").message
    assert ended(bad)["Deploy"] == "Failed"
    assert "container log-router exited with 1" in message
    assert f"Rolling back to the last verified image, {dev.state('verified')['image']}" in message
    dev.account.clock.sleep(120)
    assert (dev.image, dev.counts, dev.history()[0]["result"]) == (f"@{good.digest}", (1, 1), "failed")
