"""The documentation agrees with the code."""

import dataclasses
import re
import subprocess
from pathlib import Path

import pytest
from slipway import (
    AllowedFinding,
    CodeDeployBlueGreen,
    CodeScan,
    Connection,
    ErrorAlarm,
    Filter,
    Hook,
    Rolling,
    Slack,
    StageTests,
    Teams,
)
from slipway._constraints import hints
from slipway.config import schema
from slipway.service.args import ServiceSettings
from unit import architecture
from unit.example import run_example
from unit.harness import ROOT, of_type
from unit.reference import anchor, page

MARKDOWN = sorted(
    ROOT / name
    for name in subprocess.check_output(["git", "-C", str(ROOT), "ls-files", "*.md"], text=True).split()
    if not name.startswith((".github/", "app/"))
)


def test_the_configuration_reference_matches_the_code() -> None:
    assert (ROOT / "docs" / "configuration.md").read_text() == page()


def test_the_architecture_page_has_the_phases_of_the_code_and_the_tests_of_each_rule() -> None:
    assert architecture.PAGE.read_text() == architecture.page()


def test_each_rule_has_a_test() -> None:
    proved = {rule for rule, _, _ in architecture.marked()}
    assert proved == set(architecture.RULES)


def test_every_key_of_a_stack_file_is_in_the_reference_with_its_own_text() -> None:
    rows = re.findall(r"^\| `(\w+)` \| .+ \| .+ \| (.*) \|$", page(), re.MULTILINE)
    assert [key for key, text in rows if len(text) < 5] == []
    assert {key for key, _ in rows} >= {*schema.keys(schema.StackFile), *schema.keys(schema.Stage)}
    titles = re.findall(r"^## (.+)$", page(), re.MULTILINE)
    assert len(set(titles)) == len(titles)
    kinds = {f"{name}.{kind}" for name in ("source", "network") for kind in kinds_of(schema.StackFile, name)}
    kinds |= {f"stages[].strategy.{kind}" for kind in kinds_of(schema.Stage, "strategy")}
    assert kinds <= set(titles)


def kinds_of(part: type, name: str) -> list[str]:
    choice = schema.shape(hints(part)[name]).choice
    assert choice is not None
    return list(choice)


@pytest.mark.parametrize("kind", [Filter, Hook, Slack, Teams, AllowedFinding, CodeScan, StageTests, ErrorAlarm])
def test_every_field_of_a_nested_part_is_in_the_reference(kind: type) -> None:
    names = {schema.to_camel(field.name) for field in dataclasses.fields(kind)}
    tables = [set(re.findall(r"^\| `(\w+)` ", section, re.MULTILINE)) for section in page().split("## ")]
    assert names in tables


def test_links_within_the_reference_have_a_target() -> None:
    anchors = {anchor(title) for title in re.findall(r"^## (.+)$", page(), re.MULTILINE)}
    links = set(re.findall(r"\]\((#[^)]*)\)", page()))
    assert links - anchors == set()
    assert len(links) > 25


def test_names_in_the_reference_are_those_of_a_stack_file() -> None:
    fields = {
        field.name
        for kind in (ServiceSettings, Rolling, CodeDeployBlueGreen, Connection)
        for field in dataclasses.fields(kind)
    }
    pythons = {name for name in fields if "_" in name}
    assert [name for name in pythons if re.search(rf"\b{name}\b", page())] == []
    assert "{live_commit}" in page()  # a placeholder of a link, spelled like this


def test_the_example_in_the_readme_runs_with_its_second_service() -> None:
    made = run_example(ROOT / "README.md")
    assert [r.name for r in of_type(made, "slipway:index:Service")] == ["orders", "storefront"]
    assert sorted(r.type for r in made if r.parent == "pulumi:pulumi:Stack") == [
        "aws:ecs/cluster:Cluster",
        "slipway:index:Build",
        "slipway:index:Build",
        "slipway:index:LoadBalancer",
        "slipway:index:Pipeline",
        "slipway:index:Pipeline",
        "slipway:index:Registry",
        "slipway:index:Registry",
        "slipway:index:Service",
        "slipway:index:Service",
    ]
    assert {r.name for r in of_type(made, "aws:ecs/service:Service")} == {"storefront", "orders", "orders-worker"}
    families = {r.inputs["family"] for r in of_type(made, "aws:ecs/taskDefinition:TaskDefinition")}
    assert families >= {"orders-migration-template", "orders-report-template"}
    assert [r.name for r in of_type(made, "aws:scheduler/schedule:Schedule")] == ["orders-report"]
    rules = {r.name: r.inputs for r in of_type(made, "aws:lb/listenerRule:ListenerRule")}
    assert rules.keys() == {"storefront-rule", "orders-rule"}
    assert rules["orders-rule"]["priority"] < rules["storefront-rule"]["priority"]
    assert rules["storefront-rule"]["listenerArn"] == rules["orders-rule"]["listenerArn"]


@pytest.mark.parametrize("document", MARKDOWN, ids=lambda path: path.name)
def test_links_to_files_have_a_target(document: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []
