"""The applications of examples/from-copilot: their manifests are explained, and their stack files do what they say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from standin.tools import registry
from standin.world import ROOT, World
from unit.copilot import ENVIRONMENT, PIPELINE, SERVICES_AND_JOBS

APPLICATIONS = ROOT / "examples" / "from-copilot"
MANIFESTS = sorted(APPLICATIONS.glob("*/copilot/*/**/manifest.yml"))
FILES = sorted(APPLICATIONS.glob("*/Pulumi.*.yaml"))
NAMED = {"sidecars": "sidecars.<name>", "storage.volumes": "storage.volumes.<name>", "secrets": "secrets.<name>"}
NAMED |= {"environments": "", "stages.pre_deployments": "stages.pre_deployments"}
"""Keys under which each entry has a name of its own, and what the keys of such an entry are called."""
OPEN = ("variables", "depends_on", "additional_policy")
"""Keys whose value has keys that are not Copilot's."""


@pytest.fixture
def account(engine: Path) -> Iterator[World]:
    with registry() as address, World(address, {}, engine) as made:
        for repository in ("shop-test", "orders-test"):
            made.ecr.create_repository({"repositoryName": repository})
        yield made


def keys(value: Any, path: str = "") -> Iterator[str]:
    """The keys of a manifest, as docs/from-copilot.md names them."""
    if isinstance(value, list):
        for each in value:
            yield from keys(each, path)
    if not isinstance(value, dict) or path.endswith(OPEN):
        return
    for name, inner in value.items():
        if path in NAMED:
            yield from keys(inner, NAMED[path])
        else:
            here = f"{path}.{name}" if path else name
            yield here
            yield from keys(inner, here)


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: str(path.relative_to(APPLICATIONS).parent))
def test_each_key_of_a_manifest_is_explained(manifest: Path) -> None:
    content = yaml.load(manifest.read_text(), yaml.BaseLoader)  # `on` is a key
    explained = {"environments": ENVIRONMENT, "pipelines": PIPELINE}.get(manifest.parent.parent.name, SERVICES_AND_JOBS)
    parents = {key[:at] for key in explained for at in range(len(key)) if key[at] == "."}
    assert sorted(set(keys(content)) - {*explained, *parents}) == []


@pytest.mark.long
@pytest.mark.parametrize("file", FILES, ids=lambda path: f"{path.parent.name}-{path.suffixes[0][1:]}")
def test_a_stack_can_be_created_from_the_file(account: World, file: Path) -> None:
    stack = file.suffixes[0][1:]
    workspace = account.workspace(stack, project=file.parent)
    assert workspace.preview().summary == workspace.up().summary
    assert workspace.preview(refresh=True).changes == []
