"""The examples on the real engine: each is created, previewed without changes, and destroyed; and its head has a
reason."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from standin.tools import registry
from standin.world import ROOT, World, stack_file

EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


@pytest.fixture
def account(engine: Path) -> Iterator[World]:
    with registry() as address, World(address, {}, engine) as made:
        yield made


def configuration(example: Path) -> dict[str, Any]:
    """The configuration of an example, without that of the stack file that it replaces."""
    return {**dict.fromkeys(stack_file("dev")), **yaml.safe_load(example.read_text())["config"]}


@pytest.mark.long
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_a_stack_can_be_created_from_the_example(account: World, example: Path) -> None:
    stack = "prod" if example.stem == "promotion" else "dev"
    config = {**dict.fromkeys(stack_file(stack)), **configuration(example)}
    if stack == "prod":  # it uses dev's images
        account.ecr.create_repository({"repositoryName": "storefront-dev"})
    workspace = account.workspace(stack, config)
    assert workspace.preview().summary == workspace.up().summary
    assert workspace.preview(refresh=True).changes == []
    if example.stem in ("promotion", "staging-and-production"):  # a load balancer that is protected
        config["slipway:loadBalancer"] = None
    if example.stem not in ("promotion", "pull-requests"):  # a repository that is protected
        registry_ = workspace.configuration().get("slipway:registry", {})
        workspace.configure({"slipway:registry": {**registry_, "forceDelete": True}})
        workspace.up()
    workspace.destroy()
    left = {resource.type for resource in account.aws.resources.values()}
    # The release state is retained, except that of a feature branch.
    kept = set() if example.stem == "pull-requests" else {"aws:dynamodb/table:Table"}
    assert kept <= left <= kept | {"aws:codeconnections/connection:Connection"}


def test_the_page_lists_them() -> None:
    listed = re.findall(r"\| \[([\w-]+\.yaml)\]\(\1\) \|", (ROOT / "examples" / "README.md").read_text())
    assert sorted(listed) == [example.name for example in EXAMPLES]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_the_head_gives_the_reason_in_about_ten_lines(example: Path) -> None:
    head = example.read_text().partition("\nconfig:")[0].splitlines()
    assert all(line.startswith("#") and len(line) <= 120 for line in head)
    assert "# Why: " in "\n".join(head)
    assert 10 <= len(head) <= 15
