"""`pulumi up` upgrades a stack that an earlier version created."""

from __future__ import annotations

import io
import runpy
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from standin.api import REGION
from standin.world import ROOT, Workshop, World, sample_app

from .conftest import Stack

# What an earlier version left does not change any more.
pytestmark = pytest.mark.occasional
PARAMETERS = "dd7f7e3"
"""The last commit that stored the release state in parameters of Parameter Store."""
RULE = "a99bc38"
"""The last commit whose notifications came from a notification rule of the developer tools."""


@contextmanager
def version(commit: str, folder: Path) -> Iterator[Callable[[], object]]:
    """The program of a commit, with its own components, for as long as the engine runs it."""
    command = ["git", "-C", str(ROOT), "archive", commit, "components", "__main__.py"]
    done = subprocess.run(command, capture_output=True)
    if done.returncode:
        pytest.skip(f"the upgrade of a stack: this clone has no history with the commit {commit}")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    own = {name: sys.modules.pop(name) for name in [*sys.modules] if name.partition(".")[0] == "slipway"}
    sys.path.insert(0, str(folder / "components"))
    try:
        yield lambda: runpy.run_path(str(folder / "__main__.py"), run_name="__main__")
    finally:
        sys.path.remove(str(folder / "components"))
        for name in [name for name in sys.modules if name.partition(".")[0] == "slipway"]:
            del sys.modules[name]
        sys.modules.update(own)


@pytest.mark.rule("R9")
def test_an_up_moves_the_state_from_parameters_to_the_table_and_keeps_the_live_image(
    shared: Workshop, account: World, tmp_path: Path
) -> None:
    build = {**shared.build_settings("dev"), "testCommands": ["test -f app/server.py"]}
    workspace = account.workspace("dev", {"aws:region": REGION, "slipway:build": build})
    repository = account.repository("storefront", tmp_path / "storefront")
    repository.commit("First commit", sample_app())
    this = workspace.program
    with version(PARAMETERS, tmp_path / "before") as workspace.program:
        workspace.up()
    dev = Stack(account, workspace, repository, "dev", "dev")
    first, second = dev.push(), dev.release("Second")
    before = dev.running["taskDefinitionArn"]

    workspace.program = this
    done = workspace.up()
    removed = {step.name for step in done.changes if step.op == "delete"}
    assert {f"storefront-dev-release-{name}" for name in ("settings", "wanted", "verified")} <= removed
    replaced = {step.type for step in done.changes if step.op == "replace"}
    # Nothing that serves traffic is replaced.
    assert replaced <= {"aws:lambda/invocation:Invocation", "aws:cloudwatch/eventTarget:EventTarget"}
    assert (dev.image, dev.running["taskDefinitionArn"], dev.counts) == (f"@{second.digest}", before, (1, 1))
    verified = dev.state("verified")
    assert (verified["commit"], verified["image"].partition("@")[2]) == (
        second.variables["Source.CommitId"],
        second.digest,
    )
    assert sorted(digest for digest, _ in verified["slots"]) == sorted([first.digest, second.digest])
    assert workspace.preview(refresh=True).changes == []

    third = dev.release("Third")
    assert (dev.image, dev.counts) == (f"@{third.digest}", (1, 1))
    assert [each["result"] for each in dev.history()] == ["verified"]


def test_an_up_replaces_the_notification_rule_and_its_subscribers_stay_and_miss_nothing(
    shared: Workshop, account: World, tmp_path: Path
) -> None:
    build = {**shared.build_settings("dev"), "testCommands": ["test -f app/server.py"]}
    notifications = {
        "emails": ["ops@example.com"],
        "slack": {"teamId": "T0123ABC4", "channelId": "C0123ABC4"},
    }
    config = {"aws:region": REGION, "slipway:build": build, "slipway:notifications": notifications}
    workspace = account.workspace("dev", config)
    repository = account.repository("storefront", tmp_path / "storefront")
    repository.commit("First commit", sample_app())
    this = workspace.program
    with version(RULE, tmp_path / "before") as workspace.program:
        workspace.up()
    dev = Stack(account, workspace, repository, "dev", "dev")
    good = dev.push()
    account.ecs.fault = lambda definition: "exit 1"
    dev.commit("Does not start")
    assert dev.push().status == "Failed"  # which the rule reports
    account.codepipeline.published.clear()

    workspace.program = this
    done = workspace.up()
    kinds = {"delete", "replace", "create"}
    ops = {op: {step.type.partition(":")[2] for step in done.changes if step.op == op} for op in kinds}
    # Only after what replaces it exists.
    assert "codestarnotifications/notificationRule:NotificationRule" in ops["delete"]
    names = [(step.op, step.type.rpartition(":")[2]) for step in done.changes]
    assert names.index(("create", "EventTarget")) < names.index(("delete", "NotificationRule"))
    # Nobody has to confirm an address again, or to connect a channel.
    subscribed = {"sns/topic:Topic", "sns/topicSubscription:TopicSubscription"}
    subscribed |= {"chatbot/slackChannelConfiguration:SlackChannelConfiguration"}
    assert not subscribed & (ops["delete"] | ops["replace"] | ops["create"])
    assert dev.image == f"@{good.digest}"
    assert workspace.preview(refresh=True).changes == []

    def subjects() -> list[str]:
        return [message["subject"] for message in account.codepipeline.published]

    assert subjects() == []  # nothing that the rule had reported
    dev.commit("Does not start either")
    assert dev.push().status == "Failed"
    assert subjects() == ["The pipeline storefront-dev failed"]
    account.ecs.fault = lambda definition: None
    dev.release("Starts again")
    assert subjects()[1:] == ["The pipeline storefront-dev works again"]
