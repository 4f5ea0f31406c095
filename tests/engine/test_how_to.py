"""The stack files of the pages in docs/how-to on the real engine."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from standin.tools import registry
from standin.world import ROOT, World, stack_file

PAGES = sorted((ROOT / "docs" / "how-to").glob("*.md"))
COMMANDS = {"one-off-task"}
"""Pages without a stack file: tests/journey runs their commands."""


@pytest.fixture
def account(engine: Path) -> Iterator[World]:
    with registry() as address, World(address, {}, engine) as made:
        # The cluster of the pages about an existing one.
        made.ecs.create_cluster({"clusterName": "shared"})
        made.ecs.put_cluster_capacity_providers({"cluster": "shared", "capacityProviders": ["instances"]})
        yield made


def stack_files(page: Path) -> list[str]:
    blocks = re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)
    return [block for block in blocks if block.startswith("config:")]


def test_each_page_has_a_stack_file_or_commands() -> None:
    assert {page.stem for page in PAGES if not stack_files(page)} == COMMANDS


FILES = [pytest.param(file, id=f"{page.stem}-{n}") for page in PAGES for n, file in enumerate(stack_files(page), 1)]


@pytest.mark.long
@pytest.mark.parametrize("file", FILES)
def test_a_stack_can_be_created_from_the_file_of_the_page(account: World, file: str) -> None:
    account.share("acme-shared", 443, 8443)  # for the page on existing load balancers
    config = {**dict.fromkeys(stack_file("dev")), **yaml.safe_load(file)["config"]}
    workspace = account.workspace("dev", config)
    assert workspace.preview().summary == workspace.up().summary
    assert workspace.preview(refresh=True).changes == []


@pytest.mark.long
def test_the_rule_of_the_page_on_rotation_names_its_two_values(account: World) -> None:
    [file] = stack_files(ROOT / "docs" / "how-to" / "rotated-secret.md")
    account.workspace("dev", {**dict.fromkeys(stack_file("dev")), **yaml.safe_load(file)["config"]}).up()
    rule = account.aws.find("aws:cloudwatch/eventRule:EventRule", "storefront-dev-secrets")
    named = [each["resources"] for each in json.loads(rule.inputs["eventPattern"])["$or"]]
    assert named == [
        ["arn:aws:secretsmanager:eu-west-1:123456789012:secret:storefront/database-AbCdEf"],
        ["arn:aws:ssm:eu-west-1:123456789012:parameter/storefront/api-token"],
    ]


@pytest.mark.long
def test_the_tags_of_the_page_reach_the_service_and_its_task_definition_and_the_roles_have_the_boundary(
    account: World,
) -> None:
    [file] = stack_files(ROOT / "docs" / "how-to" / "iam-and-tags.md")
    account.workspace("dev", {**dict.fromkeys(stack_file("dev")), **yaml.safe_load(file)["config"]}).up()
    tags = {"team": "shop", "cost-center": "4711"}
    service = account.aws.find("aws:ecs/service:Service", "storefront-dev")
    template = account.aws.find("aws:ecs/taskDefinition:TaskDefinition", "storefront-dev-template")
    assert service.inputs["tags"] == template.inputs["tags"] == tags
    roles = [each.inputs for each in account.aws.resources.values() if each.type == "aws:iam/role:Role"]
    assert {(role["permissionsBoundary"], role["path"]) for role in roles} == {
        ("arn:aws:iam::123456789012:policy/boundary", "/teams/shop/")
    }


@pytest.mark.long
def test_the_web_acl_and_the_access_logs_of_the_page_are_added_and_removed_without_another_change(
    account: World,
) -> None:
    config = yaml.safe_load(stack_files(ROOT / "docs" / "how-to" / "waf-and-access-logs.md")[0])["config"]
    only = {"certificateArn": config["slipway:loadBalancer"]["certificateArn"]}
    without = {**dict.fromkeys(stack_file("dev")), **config, "slipway:loadBalancer": only}
    workspace = account.workspace("dev", without)
    workspace.up()
    workspace.configure({"slipway:loadBalancer": config["slipway:loadBalancer"]})
    added = workspace.up()
    assert [step.name for step in added.changes if step.op == "update"] == ["storefront-dev"]
    assert sorted(step.name for step in added.changes if step.op == "create") == [
        "storefront-dev-access",
        "storefront-dev-access-expiry",
        "storefront-dev-access-policy",
        "storefront-dev-access-private",
        "storefront-dev-waf",
    ]
    workspace.configure({"slipway:loadBalancer": only})
    removed = workspace.up()
    assert sorted({step.op for step in removed.changes}) == ["delete", "update"]
    assert len(removed.changes) == len(added.changes)
