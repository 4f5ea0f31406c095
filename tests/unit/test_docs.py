"""The documents say what the code says."""

import re
import subprocess

import pytest

from unit.harness import ROOT, deploy, of_type
from unit.reference import page

MARKDOWN = sorted(
    ROOT / name
    for name in subprocess.check_output(["git", "-C", str(ROOT), "ls-files", "*.md"], text=True).split()
    if not name.startswith(".github/")
)


def readme_example() -> str:
    """The one complete program in the README."""
    [example] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return str(example)


def test_the_reference_of_the_configuration_is_what_the_code_says() -> None:
    assert (ROOT / "docs" / "configuration.md").read_text() == page()


def test_the_example_in_the_readme_runs() -> None:
    config = {
        "storefront:vpcId": "vpc-1",
        "storefront:publicSubnetIds": ["subnet-1", "subnet-2"],
        "storefront:privateSubnetIds": ["subnet-3"],
        "storefront:certificateArn": "arn:aws:acm:eu-west-1:123456789012:certificate/1",
        "storefront:databaseUrlSecretArn": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-AbCdEf",
        "storefront:connectionArn": "arn:aws:codeconnections:eu-west-1:123456789012:connection/1",
    }
    made = deploy(lambda: exec(compile(readme_example(), "README.md", "exec"), {}), config)
    assert [r.name for r in of_type(made, "slipway:index:Service")] == ["storefront"]
    assert sorted(r.type for r in made if r.parent == "pulumi:pulumi:Stack") == [
        "aws:ecs/cluster:Cluster",
        "slipway:index:Build",
        "slipway:index:LoadBalancer",
        "slipway:index:Pipeline",
        "slipway:index:Registry",
        "slipway:index:Service",
    ]


@pytest.mark.parametrize("page", MARKDOWN, ids=lambda path: path.name)
def test_a_link_to_a_file_leads_somewhere(page: "object") -> None:
    from pathlib import Path

    assert isinstance(page, Path)
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []
