"""The documents say what the code says."""

import re
import subprocess
from pathlib import Path

import pytest
from unit.example import run_example
from unit.harness import ROOT, of_type
from unit.reference import page

MARKDOWN = sorted(
    ROOT / name
    for name in subprocess.check_output(["git", "-C", str(ROOT), "ls-files", "*.md"], text=True).split()
    if not name.startswith(".github/")
)


def test_the_reference_of_the_configuration_is_what_the_code_says() -> None:
    assert (ROOT / "docs" / "configuration.md").read_text() == page()


def test_the_example_in_the_readme_runs() -> None:
    made = run_example(ROOT / "README.md")
    assert [r.name for r in of_type(made, "slipway:index:Service")] == ["storefront"]
    assert sorted(r.type for r in made if r.parent == "pulumi:pulumi:Stack") == [
        "aws:ecs/cluster:Cluster",
        "slipway:index:Build",
        "slipway:index:LoadBalancer",
        "slipway:index:Pipeline",
        "slipway:index:Registry",
        "slipway:index:Service",
    ]


@pytest.mark.parametrize("document", MARKDOWN, ids=lambda path: path.name)
def test_a_link_to_a_file_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []
