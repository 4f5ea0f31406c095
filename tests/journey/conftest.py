"""An account for each journey, and common steps: a deployed stack, commits, releases."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from standin.api import REGION
from standin.executor import Execution
from standin.snapshots import Unsettled
from standin.workspace import Outcome, Workspace
from standin.world import Repository, Snapshot, Workshop, World, sample_app, stack_file


@dataclass
class Stack:
    """A stack of the program in an account, one of its environments, and the repository that it releases from."""

    account: World
    workspace: Workspace
    repository: Repository
    name: str
    environment: str
    images: str = "storefront-dev"
    """The ECR repository of its images."""

    def at(self, environment: str) -> Stack:
        """Another environment of the stack."""
        return replace(self, environment=environment)

    @property
    def service_name(self) -> str:
        return f"storefront-{self.environment}"

    def commit(self, message: str, files: dict[str, str] | None = None) -> str:
        return self.repository.commit(message, {"app/NOTES": message, **(files or {})})

    def push(self) -> Execution:
        """Runs the execution that a push of the last commit starts, to its end."""
        [execution] = self.account.codepipeline.push("storefront")
        return execution

    def release(self, message: str) -> Execution:
        """Commits something, pushes it, and asserts that it is released."""
        self.commit(message)
        execution = self.push()
        assert failures(execution) == []
        return execution

    def start(self, **options: Any) -> Execution:
        """Runs an execution that a user starts, to its end."""
        return self.account.codepipeline.start(f"storefront-{self.name}", **options)

    def change(self, **service: Any) -> None:
        """Changes keys of `service` in the stack file."""
        settings = {**stack_file(self.name)["slipway:service"], **service}
        self.workspace.configure({"slipway:service": settings})

    def up(self, **service: Any) -> Outcome:
        self.change(**service)
        return self.workspace.up()

    def strategy(self, **kind: dict[str, Any]) -> None:
        """Sets another strategy in the stack file's only stage."""
        [stage] = stack_file(self.name)["slipway:stages"]
        self.workspace.configure({"slipway:stages": [{**stage, "strategy": kind}]})

    @property
    def service(self) -> dict[str, Any]:
        """The service as ECS describes it."""
        of = {"cluster": f"storefront-{self.name}", "services": [self.service_name]}
        [found] = self.account.ecs.describe_services(of)["services"]
        described: dict[str, Any] = found
        return described

    @property
    def running(self) -> dict[str, Any]:
        """The service's task definition."""
        arn = self.service["taskDefinition"]
        definition: dict[str, Any]
        definition = self.account.ecs.describe_task_definition({"taskDefinition": arn})["taskDefinition"]
        return definition

    @property
    def image(self) -> str:
        """Image of the service's only container, as `@digest` or `:tag`."""
        image: str = self.running["containerDefinitions"][0]["image"]
        return f"@{image.partition('@')[2]}" if "@" in image else f":{image.rpartition(':')[2]}"

    @property
    def traffic(self) -> dict[str, int]:
        """The digests behind the load balancer, with their percentages of the traffic."""
        return self.account.traffic(self.service_name)

    def served(self, rule: str) -> dict[str, int]:
        """The digests behind a listener rule, with their percentages of its requests; "" is no task."""
        arn = self.account.aws.find("aws:lb/listenerRule:ListenerRule", rule).outputs["arn"]
        return {image.partition("@")[2]: weight for image, weight in self.account.ecs.traffic(str(arn)).items()}

    @property
    def weights(self) -> list[int]:
        """The weights of the two target groups."""
        return [*self.account.elb.weights(self.account.production_rule(self.service_name)).values()]

    @property
    def counts(self) -> tuple[int, int]:
        """Desired and running count of tasks."""
        return self.service["desiredCount"], self.service["runningCount"]

    @property
    def bounds(self) -> tuple[int, int]:
        """Minimum and maximum of tasks between which the service scales."""
        id = f"service/storefront-{self.name}/{self.service_name}"
        targets = self.account.autoscaling.describe_scalable_targets({"ResourceIds": [id]})["ScalableTargets"]
        return targets[0]["MinCapacity"], targets[0]["MaxCapacity"]

    def state(self, part: str) -> Any:
        """A part of the release state: `settings`, `claim` or `verified`; None if there is none."""
        key = {"item": {"S": "release"}, "at": {"S": "-"}}
        table = self.account.client("dynamodb").get_item(TableName=f"{self.service_name}-release", Key=key)
        return json.loads(table["Item"][part]["S"]) if part in table.get("Item", {}) else None

    def history(self) -> list[dict[str, str]]:
        """The results of releases, newest first."""
        query = {
            "KeyConditionExpression": "#i = :history",
            "ExpressionAttributeNames": {"#i": "item"},
            "ExpressionAttributeValues": {":history": {"S": "history"}},
        }
        found = self.account.client("dynamodb").query(
            TableName=f"{self.service_name}-release", ScanIndexForward=False, **query
        )
        return [{name: value["S"] for name, value in item.items()} for item in found["Items"]]

    def tags(self) -> dict[str, str]:
        """The digest that each tag of the repository points to."""
        images = self.account.ecr.describe_images({"repositoryName": self.images})["imageDetails"]
        return {tag: image["imageDigest"] for image in images for tag in image.get("imageTags", [])}

    def moving(self) -> dict[str, str]:
        """The tags of these that releases move."""
        return {tag: digest for tag, digest in self.tags().items() if tag.startswith(("live-", "verified-"))}


def ended(execution: Execution) -> dict[str, str]:
    """The status of each action of an execution."""
    return {action.name: action.status for action in execution.actions}


@contextmanager
def watching(stack: Stack, look: Callable[[], None]) -> Iterator[None]:
    """Calls `look` after each advance of the clock."""
    sleep = stack.account.clock.sleep

    def sleep_and_look(seconds: float) -> None:
        sleep(seconds)
        look()

    stack.account.clock.sleep = sleep_and_look  # type: ignore[method-assign]
    try:
        yield
    finally:
        stack.account.clock.sleep = sleep  # type: ignore[method-assign]


def failures(execution: Execution) -> list[tuple[str, str]]:
    """The actions that did not succeed, with their messages."""
    return [(a.name, a.message) for a in execution.actions if a.status != "Succeeded"]


ACTIONS = ("Source", "Build", "Image", "Deploy")
"""Of dev's pipeline."""


def until(name: str, status: str, actions: tuple[str, ...] = ACTIONS) -> dict[str, str]:
    """The actions of a pipeline that succeeded up to this action, which ended with this status."""
    before = actions[: actions.index(name)]
    return {**dict.fromkeys(before, "Succeeded"), name: status}


RELEASED = until("Deploy", "Succeeded")


class Site:
    """The account that the journeys of this process use in turn, each as a new one, and snapshots of its deployed
    stacks.

    Deploying a stack takes most of a journey's time, and many journeys start with the same stack.
    """

    def __init__(self, account: World) -> None:
        self.account = account
        self._new = account.snapshot() if account.can_be_restored else None
        self._up: dict[str, Snapshot] = {}

    def clear(self) -> None:
        """Resets it to a new account, including hooks and methods that a test replaced."""
        if self._new is not None:
            self.account.restore(self._new)
            self._new = self.account.snapshot()

    @property
    def is_new(self) -> bool:
        return self._new is not None and self.account.unchanged_since(self._new)

    def keep(self, stack: str) -> None:
        """Saves the account as the one in which this stack, and nothing else, was deployed."""
        with suppress(Unsettled):
            self._up[stack] = self.account.snapshot()

    def restore(self, stack: str) -> Workspace | None:
        """Restores the stack as it was after its deployment, if it was saved."""
        if stack not in self._up:
            return None
        self.account.restore(self._up[stack])
        [workspace] = self._up[stack].workspaces
        return workspace


def path(shared: Workshop, *folders: str) -> str:
    """PATH of builds, with folders whose programs take precedence: `quick` has an `aws`, `ready` a `docker`."""
    first = [*(str(Path(__file__).with_name(folder)) for folder in folders), str(Path(sys.executable).parent)]
    return os.pathsep.join([*first, shared.builder.get("PATH", os.environ["PATH"])])


def maker(shared: Workshop, site: Site, folder: Path) -> Callable[..., Stack]:
    """The function that the fixture `stack` provides; the repository is created in `folder`."""
    repositories: list[Repository] = []
    account = site.account

    def make(
        name: str = "dev",
        own_tests: bool = False,
        real_build: bool = False,
        config: dict[str, Any] | None = None,
        **service: Any,
    ) -> Stack:
        settings = dict(config or {})
        if name != "prod":
            build = shared.build_settings("dev")
            if not own_tests:  # the sample's own take a second in each of many builds
                build["testCommands"] = ["test -f app/server.py"]
            settings = {"aws:region": REGION, "slipway:build": build, **settings}
        key = json.dumps([name, settings, service], sort_keys=True) if not repositories and site.is_new else ""
        restored = site.restore(key)
        workspace = restored or account.workspace(name, settings)
        account.build_environment["PATH"] = path(shared, "quick", *([] if real_build else ["ready"]))
        if not repositories:
            repositories.append(account.repository("storefront", folder))
            repositories[0].commit("First commit", sample_app())
        made = Stack(account, workspace, repositories[0], name, name)
        if not restored:
            if name == "dev" or service:
                made.change(**service)
            workspace.up()
            if key:
                site.keep(key)
        return made

    return make


@pytest.fixture(scope="session")
def only_site(shared: Workshop) -> Iterator[Site]:
    with shared.account() as made:
        yield Site(made)


@pytest.fixture
def site(shared: Workshop, only_site: Site) -> Iterator[Site]:
    if only_site.account.can_be_restored:
        yield only_site
    else:
        with shared.account() as made:
            yield Site(made)


@pytest.fixture
def account(site: Site) -> World:
    """A new account."""
    site.clear()
    return site.account


@pytest.fixture
def stack(shared: Workshop, site: Site, account: World, tmp_path: Path) -> Callable[..., Stack]:
    """Deploys a stack in the test's account; parts of its file and keys of `service` may be changed.

    The first one has a repository with a first commit; later ones share it. Builds run as they are deployed, but their
    image is a prebuilt one, with a digest of its own for each commit, unless docker is to build it: `real_build`.
    """
    return maker(shared, site, tmp_path / "storefront")
