"""Checks of the program with the root's stack files, whatever a team has changed in them."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from slipway import Pipeline, Service
from slipway.testing import Deployment, deploy
from unit import schema
from unit.harness import ROOT
from unit.names import misfits

FILES = {path.name.split(".")[1]: path for path in sorted(ROOT.glob("Pulumi.*.yaml"))}
DEPLOYED: dict[str, Deployment] = {}


def deployed(stack: str) -> Deployment:
    """The resources for the stack; secrets in the file are replaced, because the tests cannot decrypt them."""
    if stack not in DEPLOYED:
        project: str = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())["name"]
        config: dict[str, Any] = yaml.safe_load(FILES[stack].read_text())["config"]
        secrets = {key: "secret" for key, value in config.items() if isinstance(value, dict) and "secure" in value}
        DEPLOYED[stack] = deploy(ROOT / "__main__.py", config=config, secrets=secrets, project=project, stack=stack)
    return DEPLOYED[stack]


every_stack = pytest.mark.parametrize("stack", FILES)


@every_stack
def test_a_stack_has_one_pipeline_and_exports_its_url(stack: str) -> None:
    deployment = deployed(stack)
    assert deployment.only(Pipeline).outputs["console_url"] == deployment.exports["pipeline"]
    exported = {name.partition("-")[0] for name in deployment.exports}
    assert exported >= {"pipeline", "repository", *(["url", "releaseState"] if deployment.of_type(Service) else [])}


@every_stack
def test_aws_accepts_all_names_of_a_stack(stack: str) -> None:
    assert misfits(deployed(stack).resources) == []


@every_stack
def test_the_provider_accepts_all_inputs_of_a_stack(stack: str) -> None:
    made = [resource for resource in deployed(stack).resources if resource.type.startswith("aws:")]
    mistakes = {r.name: found for r in made if (found := schema.mistakes(r.type, r.inputs))}
    assert mistakes == {}
    assert len(made) > 20
