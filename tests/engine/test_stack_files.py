"""Both stack files on the real engine: created, previewed without changes, changed in one setting, and destroyed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pulumi
import pytest
import slipway
from pulumi.automation import CommandError
from standin.tools import registry
from standin.workspace import Step
from standin.world import World, stack_file


@pytest.fixture
def account(engine: Path) -> Iterator[World]:
    with registry() as address, World(address, {}, engine) as made:
        yield made


def touched(steps: list[Step]) -> dict[str, str]:
    """What happens to each resource, by name; a replacement counts once."""
    return {s.name: "replace" if "replace" in s.op else s.op for s in steps}


@pytest.mark.long
@pytest.mark.parametrize(("stack", "size"), [("dev", 74), ("prod", 59)])
def test_a_stack_is_created_previewed_without_changes_and_destroyed(account: World, stack: str, size: int) -> None:
    account.ecr.create_repository({"repositoryName": "storefront-dev"})  # prod's image is dev's
    workspace = account.workspace(stack)
    planned = workspace.preview()
    made = workspace.up()
    assert planned.summary == made.summary == {"create": size}
    assert sorted(workspace.outputs()) == ["dnsName", "pipeline", "releaseState", "repository", "url"]

    assert workspace.preview().changes == []
    assert workspace.preview(refresh=True).changes == []
    assert workspace.refresh().changes == []
    assert workspace.preview().changes == []

    if stack == "dev":  # its repository is protected
        workspace.configure({"slipway:registry": {"forceDelete": True}})
        assert touched(workspace.up().changes) == {"storefront-dev": "update"}
    assert workspace.destroy().summary == {"delete": size}
    # The release state is retained.
    assert [resource.type for resource in account.aws.resources.values()] == ["aws:dynamodb/table:Table"]
    families = account.ecs.list_task_definitions({})["taskDefinitionArns"]
    assert [arn.rpartition("/")[2] for arn in families] == [f"storefront-{stack}-template:1"]


ROLLOUT = {"storefront-dev-release-rollout-1": "replace", "storefront-dev-release": "update"}
TEMPLATE = {**ROLLOUT, "storefront-dev-template": "replace"}


def changes() -> Iterator[Any]:
    service = stack_file("dev")["slipway:service"]

    def of_service(**keys: Any) -> dict[str, Any]:
        return {"slipway:service": {**service, **keys}}

    yield pytest.param(of_service(cpu=512, memory=1024), TEMPLATE, id="the size of a task")
    yield pytest.param(of_service(environment={"A": "1"}), TEMPLATE, id="an environment variable")
    yield pytest.param(of_service(tasks={"min": 2, "max": 4}), ROLLOUT, id="the counts")
    yield pytest.param(
        of_service(healthPath="/ready"),
        {"storefront-dev-tg-a": "update", "storefront-dev-tg-b": "update"},
        id="the path of the health check",
    )
    [stage] = stack_file("dev")["slipway:stages"]

    def of_stage(**keys: Any) -> dict[str, Any]:
        return {"slipway:stages": [{**stage, **keys}]}

    yield pytest.param(of_stage(strategy={"rolling": {"deadlineMinutes": 11}}), ROLLOUT, id="the deadline")
    yield pytest.param(
        of_stage(strategy={"rolling": {"maximumPercent": 150}}),
        ROLLOUT,
        id="how many tasks may run during a deployment",
    )
    yield pytest.param(
        of_stage(strategy={"blueGreen": {}}),
        {
            **ROLLOUT,
            "storefront-dev-release-rollout-2": "create",
            "storefront-dev-traffic-role": "create",
            "storefront-dev-traffic-policy": "create",
            "storefront-dev-release-policy": "update",
        },
        id="the strategy",
    )
    yield pytest.param(of_stage(approval={}), {"storefront-dev": "update"}, id="an approval")
    yield pytest.param(
        of_stage(window={"cron": "* * 9-16 ? * MON-FRI"}), {"storefront-dev": "update"}, id="a deployment window"
    )
    yield pytest.param({"slipway:pipeline": {"executionMode": "QUEUED"}}, {"storefront-dev": "update"}, id="the order")
    yield pytest.param(
        {"slipway:scanGate": {"threshold": "MEDIUM"}}, {"storefront-dev-scan-gate": "update"}, id="the scan gate"
    )
    yield pytest.param(
        {"slipway:source": {"codecommit": {"repository": "storefront", "branch": "trunk"}}},
        {"storefront-dev": "update", "storefront-dev-push": "update"},
        id="the branch",
    )
    yield pytest.param(
        {"slipway:registry": {"keepImages": 50}}, {"storefront-dev-lifecycle": "update"}, id="how many images are kept"
    )


@pytest.fixture(scope="module")
def dev(engine: Path) -> Iterator[Callable[[dict[str, Any]], dict[str, str]]]:
    """The resources that a change of dev's stack file affects in a preview; each change is reverted before the next."""
    with registry() as address, World(address, {}, engine) as account:
        workspace = account.workspace("dev")
        workspace.up()

        def preview(config: dict[str, Any]) -> dict[str, str]:
            workspace.configure(config)
            steps = workspace.preview().changes
            workspace.configure({**dict.fromkeys(config), **stack_file("dev")})
            return touched(steps)

        yield preview


LONG = ("the deadline", "an approval", "a deployment window", "the order", "the branch", "how many images are kept")
"""What `make test` does not change."""


@pytest.mark.parametrize(
    ("config", "expected"),
    [pytest.param(*each.values, id=each.id, marks=pytest.mark.long if each.id in LONG else []) for each in changes()],
)
def test_a_change_of_one_setting_affects_only_the_expected_resources(
    dev: Callable[[dict[str, Any]], dict[str, str]], config: dict[str, Any], expected: dict[str, str]
) -> None:
    assert dev(config) == expected


def test_settings_of_a_protected_service_can_be_changed(account: World, monkeypatch: pytest.MonkeyPatch) -> None:
    protected = pulumi.ResourceOptions(protect=True)
    monkeypatch.setattr(slipway, "Service", partial(slipway.Service, opts=protected))
    workspace = account.workspace("dev")
    service = stack_file("dev")["slipway:service"]
    [stage] = stack_file("dev")["slipway:stages"]
    # A rollout in several parts, the second of which is deleted by the next change.
    workspace.configure({"slipway:stages": [{**stage, "strategy": {"rolling": {"deadlineMinutes": 20}}}]})
    workspace.up()
    workspace.configure({"slipway:stages": [stage], "slipway:service": {**service, "cpu": 512, "memory": 1024}})
    assert touched(workspace.up().changes) == {**TEMPLATE, "storefront-dev-release-rollout-2": "delete"}
    with pytest.raises(CommandError, match=r"cannot be deleted"):
        workspace.preview_destroy()


def test_nothing_is_created_from_a_stack_file_with_mistakes(account: World) -> None:
    workspace = account.workspace("dev", {"slipway:service": {"cpu": 100}, "slipway:sauce": {}})
    with pytest.raises(CommandError) as failure:
        workspace.up()
    # The full text of each is in the unit tests of the settings.
    assert "slipway:sauce is not a key" in str(failure.value)
    assert "slipway:service.cpu must be" in str(failure.value)
    assert account.aws.resources == {}
