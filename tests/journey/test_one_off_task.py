"""The commands of docs/how-to/one-off-task.md, run by the real `aws`."""

from __future__ import annotations

import os
import re
import subprocess
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from standin.api import REGION
from standin.single_tasks import Outcome
from standin.world import ROOT, World

from .conftest import Stack
from .test_rolling import breaks

Make = Callable[..., Stack]
PAGE = ROOT / "docs" / "how-to" / "one-off-task.md"
READ, RUN, WAIT, SHOW = (textwrap.dedent(b) for b in re.findall(r"^ *```sh\n(.*?)```", PAGE.read_text(), re.M | re.S))


def run(dev: Stack, *commands: str) -> subprocess.CompletedProcess[str]:
    """Runs commands as `operator`, until one fails."""
    account = dev.account
    environment = {**os.environ, **account.build_environment, **account.api.credentials_for("operator")}
    environment |= {"AWS_ENDPOINT_URL": account.api.url, "AWS_DEFAULT_REGION": REGION, "NO_PROXY": "127.0.0.1"}
    # Not the `aws` of quick builds.
    environment["PATH"] = os.pathsep.join(p for p in environment["PATH"].split(os.pathsep) if not p.endswith("quick"))
    return subprocess.run(["sh", "-euc", "".join(commands)], env=environment, capture_output=True, text=True)


def shell(dev: Stack, *commands: str) -> list[str]:
    """What the commands print, by line."""
    done = run(dev, *commands)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@contextmanager
def passing(account: World) -> Iterator[None]:
    """Time passes as on a clock, but faster."""
    over = threading.Event()

    def tick() -> None:
        while not over.wait(0.5):
            account.clock.sleep(5)

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def live(dev: Stack) -> str:
    """The revision that the page reads."""
    answer = "\n".join(shell(dev, READ))
    return answer if answer == "null" else re.findall(r"task-definition/(.*)\"", answer)[0]


def test_a_one_off_task_runs_the_live_image_with_the_settings_of_the_service(stack: Make) -> None:
    dev = stack()
    good = dev.push().digest
    dev.account.ecs.fault = partial(breaks, "exit 1", good)
    dev.commit("Does not start")
    failed = dev.push()
    assert failed.status == "Failed"
    started: list[dict[str, Any]] = []

    def outcome(task: dict[str, Any]) -> Outcome:
        started.append(task)
        return Outcome(exit=3, lines=("42 rows", "one is broken"))

    dev.account.ecs.outcome = outcome
    before = len(dev.account.api.calls)
    with passing(dev.account):
        *_, first, second, reason, code = shell(dev, READ, RUN, WAIT, SHOW)
    assert (first, second) == ("42 rows", "one is broken")
    assert (reason, code) == ("Essential container in task exited", "3")

    [task] = started
    [container] = task["containers"]
    assert container["image"].endswith(f"@{good}")
    assert task["taskDefinitionArn"] == dev.service["taskDefinition"]
    newest = dev.account.ecs.describe_task_definition({"taskDefinition": "storefront-dev"})["taskDefinition"]
    assert newest["taskDefinitionArn"] != task["taskDefinitionArn"]
    command = task["overrides"]["containerOverrides"][0]["command"]
    assert command == ["python", "-m", "backfill", "--since", "2026-01-01"]

    calls = [call for call in dev.account.api.calls[before:] if call.principal == "operator"]
    [sent] = [call.params for call in calls if call.operation == "RunTask"]
    assert sent["networkConfiguration"] == dev.service["networkConfiguration"]
    # All that Service.run_statements allows, and no more.
    assert {f"{call.service}:{call.operation}" for call in calls} == {
        "ecs:DescribeServices",
        "ecs:RunTask",
        "ecs:DescribeTasks",
        "logs:FilterLogEvents",
    }


def test_nothing_is_run_before_the_first_release_or_during_a_deployment(stack: Make) -> None:
    dev = stack()
    refused = run(dev, READ, RUN)
    assert (refused.stdout, refused.returncode != 0) == ("null\n", True)
    assert "RunTask" not in {call.operation for call in dev.account.api.calls}
    dev.push()
    released = dev.service["taskDefinition"].rpartition("/")[2]
    assert live(dev) == released
    dev.account.ecs.update_service(
        {"cluster": "storefront-dev", "service": "storefront-dev", "forceNewDeployment": True}
    )
    assert live(dev) == "null"
    dev.account.clock.sleep(300)
    assert live(dev) == released


def test_after_a_first_release_whose_tests_failed_nothing_is_live(stack: Make) -> None:
    dev = stack(config={"slipway:stages": [{"tests": {"commands": ["false"]}}]})
    assert dev.push().status == "Failed"
    dev.account.clock.sleep(300)
    assert live(dev) == "null"


def test_with_codedeploy_the_primary_task_set_is_live(stack: Make) -> None:
    dev = stack(config={"slipway:stages": [{"strategy": {"codeDeployBlueGreen": {}}}]})
    assert live(dev) == "null"
    dev.push()
    newer = dev.release("Second commit").digest
    family, revision = live(dev).split(":")
    found = dev.account.ecs.describe_task_definition({"taskDefinition": f"{family}:{revision}"})["taskDefinition"]
    assert (family, found["containerDefinitions"][0]["image"].partition("@")[2]) == ("storefront-dev", newer)
