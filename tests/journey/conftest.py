"""An account for each journey, and what is common to them: a stack that is up, commits, releases."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from standin.executor import Execution
from standin.workspace import Outcome, Workspace
from standin.world import Repository, Workshop, World, sample_app, stack_file


@dataclass
class Stack:
    """A stack of the program in an account of its own, and the repository that it releases from."""

    account: World
    workspace: Workspace
    repository: Repository
    name: str

    def commit(self, message: str, files: dict[str, str] | None = None) -> str:
        return self.repository.commit(message, {"app/NOTES": message, **(files or {})})

    def push(self) -> Execution:
        """What the push of the last commit started, at its end."""
        [execution] = self.account.codepipeline.push("storefront")
        return execution

    def release(self, message: str) -> Execution:
        """Commit something, push it, and see it released."""
        self.commit(message)
        execution = self.push()
        assert [(a.name, a.status, a.message) for a in execution.actions if a.status != "Succeeded"] == []
        return execution

    def change(self, **service: Any) -> None:
        """Change keys of `service` in the stack file."""
        told = {**stack_file(self.name)["slipway:service"], **service}
        self.workspace.configure({"slipway:service": told})

    def up(self, **service: Any) -> Outcome:
        self.change(**service)
        return self.workspace.up()

    @property
    def service(self) -> dict[str, Any]:
        """The service as ECS describes it."""
        name = f"storefront-{self.name}"
        [found] = self.account.ecs.describe_services({"cluster": name, "services": [name]})["services"]
        described: dict[str, Any] = found
        return described

    @property
    def running(self) -> dict[str, Any]:
        """The task definition that the service has."""
        arn = self.service["taskDefinition"]
        definition: dict[str, Any]
        definition = self.account.ecs.describe_task_definition({"taskDefinition": arn})["taskDefinition"]
        return definition

    @property
    def image(self) -> str:
        """Image of the service's one container, as `@digest` or `:tag`."""
        image: str = self.running["containerDefinitions"][0]["image"]
        return image.removeprefix(f"{self.account.aws.find('aws:ecr/repository:Repository').outputs['repositoryUrl']}")

    @property
    def counts(self) -> tuple[int, int]:
        """Tasks asked for, and tasks that run."""
        return self.service["desiredCount"], self.service["runningCount"]

    @property
    def bounds(self) -> tuple[int, int]:
        """Between how many tasks the service scales."""
        [target] = self.account.autoscaling.describe_scalable_targets({})["ScalableTargets"]
        return target["MinCapacity"], target["MaxCapacity"]

    def register(self, name: str) -> Any:
        parameter = f"/slipway/storefront-{self.name}-release/{name}"
        return json.loads(self.account.client("ssm").get_parameter(Name=parameter)["Parameter"]["Value"])

    def tags(self) -> dict[str, str]:
        """The digest that each tag of the repository points at."""
        images = self.account.ecr.describe_images({"repositoryName": f"storefront-{self.name}"})["imageDetails"]
        return {tag: image["imageDigest"] for image in images for tag in image.get("imageTags", [])}


@pytest.fixture
def stack(shared: Workshop, tmp_path: Path) -> Iterator[Callable[..., Stack]]:
    """Bring a stack up in a new account, with a first commit in its repository; keys of `service` may be changed."""
    quick = Path(__file__).with_name("quick")
    path = f"{quick}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with shared.account(PATH=path) as account:

        def make(name: str = "dev", own_tests: bool = False, **service: Any) -> Stack:
            build = shared.build_settings(name)
            if not own_tests:  # the sample's own take a second, in each of many builds
                build["testCommands"] = ["test -f app/server.py"]
            workspace = account.workspace(name, {"slipway:build": build})
            repository = account.repository("storefront", tmp_path / "storefront")
            made = Stack(account, workspace, repository, name)
            repository.commit("First commit", sample_app())
            made.up(**service)
            return made

        yield make
