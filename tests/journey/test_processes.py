"""Services of several processes, with a migration and jobs: from a commit to all of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pulumi.automation import CommandError
from standin.api import AwsError
from standin.single_tasks import Outcome

from .conftest import RELEASED, Stack, ended, failures, until

Make = Callable[..., Stack]
WORKER: dict[str, Any] = {"command": ["python3", "worker.py"], "tasks": {"min": 1}}
MIGRATION = {"command": ["python3", "migrate.py"], "timeoutMinutes": 10}
REPORT = {"command": ["python3", "-m", "report"], "schedule": "rate(1 hour)"}


def worker(dev: Stack) -> Stack:
    return dev.at("dev-worker")


def fails(dev: Stack, process: str, good: str = "none") -> None:
    """Breaks the tasks of a process, except those of one image."""
    family = f"storefront-dev-{process}" if process else "storefront-dev"

    def fault(definition: dict[str, Any]) -> str | None:
        return "exit 1" if definition["family"] == family and good not in str(definition) else None

    dev.account.ecs.fault = fault


class Migrations:
    """What the migrations of a stack do, and what they were started with."""

    def __init__(self, dev: Stack, *outcomes: Outcome) -> None:
        self.dev, self.outcomes = dev, list(outcomes)
        self.started: list[str] = []
        """The digests that were migrated, in order."""
        dev.account.ecs.outcome = self.start

    def start(self, task: dict[str, Any]) -> Outcome:
        [container] = task["containers"]
        assert task["taskDefinitionArn"].rpartition("/")[2].startswith("storefront-dev-migration:")
        self.started.append(container["image"].partition("@")[2])
        return self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]


def calls_of(dev: Stack, operation: str) -> int:
    return len([call for call in dev.account.api.calls if call.operation == operation])


# Processes


@pytest.mark.rule("R1")
def test_a_web_process_and_a_worker_are_released_together(stack: Make) -> None:
    dev = stack(processes={"worker": WORKER})
    assert (dev.counts, worker(dev).counts) == ((0, 0), (0, 0))
    first = dev.push()
    assert ended(first) == RELEASED
    assert (dev.image, worker(dev).image) == (f"@{first.digest}",) * 2
    assert (dev.counts, worker(dev).counts) == ((1, 1), (1, 1))
    assert worker(dev).running["containerDefinitions"][0]["command"] == ["python3", "worker.py"]
    second = dev.release("Second commit")
    assert (dev.image, worker(dev).image) == (f"@{second.digest}",) * 2
    assert dev.state("verified")["processes"] == ["worker"]
    # R1
    assert dev.workspace.preview(refresh=True).changes == []


@pytest.mark.rule("R5")
def test_a_worker_that_fails_after_web_is_live_takes_both_back(stack: Make) -> None:
    dev = stack(processes={"worker": WORKER})
    good = dev.push().digest
    fails(dev, "worker", good)
    dev.commit("The worker crashes")
    bad = dev.push()
    assert ended(bad) == until("Deploy", "Failed")
    message = bad.action("Deploy").message
    assert message.startswith("Worker: the deployment of storefront-dev-worker:2 failed")
    assert "container app exited with 1" in message
    dev.account.clock.sleep(120)
    assert (dev.image, worker(dev).image) == (f"@{good}",) * 2
    assert (dev.counts, worker(dev).counts) == ((1, 1), (1, 1))
    assert dev.moving()["live-dev"] == good
    assert dev.workspace.up().changes == []


@pytest.mark.rule("R8")
def test_a_first_release_whose_worker_fails_leaves_no_tasks_at_all(stack: Make) -> None:
    dev = stack(processes={"worker": WORKER})
    fails(dev, "worker")
    assert ended(dev.push()) == until("Deploy", "Failed")
    dev.account.clock.sleep(120)
    assert (dev.counts, worker(dev).counts) == ((0, 0), (0, 0))
    fails(dev, "nobody")
    fixed = dev.release("Fixed")
    assert (dev.image, worker(dev).image, worker(dev).counts) == (f"@{fixed.digest}", f"@{fixed.digest}", (1, 1))


def test_the_worker_is_replaced_when_web_is_live_unless_the_order_is_another(stack: Make) -> None:
    dev = stack(processes={"worker": WORKER})
    for order, first in (([], "storefront-dev"), (["worker", "web"], "storefront-dev-worker")):
        dev.up(processes={"worker": WORKER}, order=order)
        before = len(dev.account.api.calls)
        dev.release(f"Order {order}")
        calls = [c.params for c in dev.account.api.calls[before:] if c.operation == "UpdateService"]
        services = [call["service"] for call in calls if "taskDefinition" in call]
        assert services[0] == first
        assert sorted(services) == ["storefront-dev", "storefront-dev-worker"]


def test_a_worker_is_added_to_a_running_service_and_removed_again(stack: Make) -> None:
    dev = stack()
    live = dev.push().digest
    tasks = dev.service["taskDefinition"]
    added = dev.up(processes={"worker": WORKER})
    replaced = [step.name for step in added.changes if "replace" in step.op]
    assert [name for name in replaced if not name.startswith("storefront-dev-release-rollout")] == []
    assert (worker(dev).image, worker(dev).counts) == (f"@{live}", (1, 1))
    assert (dev.service["taskDefinition"], dev.counts) == (tasks, (1, 1))
    assert dev.state("verified")["processes"] == ["worker"]
    assert dev.workspace.preview(refresh=True).changes == []

    removed = dev.up()
    assert [step.name for step in removed.changes if "replace" in step.op and "rollout" not in step.name] == []
    services = dev.account.ecs.describe_services(
        {"cluster": "storefront-dev", "services": ["storefront-dev", "storefront-dev-worker"]}
    )["services"]
    assert [s["serviceName"] for s in services if s["status"] == "ACTIVE"] == ["storefront-dev"]
    assert (dev.service["taskDefinition"], dev.counts) == (tasks, (1, 1))
    assert dev.workspace.preview(refresh=True).changes == []
    assert dev.release("Without a worker").status == "Succeeded"


@pytest.mark.rule("R2", "R9")
def test_a_worker_that_is_added_during_a_release_that_fails_runs_the_verified_image(
    stack: Make, tmp_path: Path
) -> None:
    begun, seen, fail = (tmp_path / name for name in ("begun", "seen", "fail"))
    wait = f"touch {begun}; n=0; until [ -e {seen} ] || [ $n -gt 600 ]; do sleep 0.1; n=$((n+1)); done; exit 1"
    dev = stack(config={"slipway:stages": [{"tests": {"commands": [f"if [ -e {fail} ]; then {wait}; fi"]}}]})
    good = dev.push().digest
    fail.touch()
    dev.change(processes={"worker": WORKER})
    refused: list[str] = []

    def change() -> None:
        while not begun.exists():
            time.sleep(0.1)
        # It waits for the end of the release, at most as long as an `up` may take, which here is soon over.
        try:
            dev.workspace.up()
        except CommandError as e:
            refused.append(str(e))

    def watch() -> None:
        """The tests go on when the worker runs the image that is being tested."""
        while not seen.exists():
            time.sleep(0.1)
            with suppress(ValueError):  # until there is such a service
                if begun.exists() and worker(dev).counts == (1, 1):
                    seen.touch()

    threads = [threading.Thread(target=each, daemon=True) for each in (change, watch)]
    for each in threads:
        each.start()
    dev.commit("Its tests fail")
    bad = dev.push()
    for each in threads:
        each.join()
    assert ended(bad) == until("Deploy", "Failed")
    for error in refused:
        assert "waiting for the release in progress to end: no verified image has run as worker" in error
        dev.workspace.up()
    assert (dev.image, dev.counts) == (f"@{good}", (1, 1))
    assert (worker(dev).image, worker(dev).counts) == (f"@{good}", (1, 1))
    assert dev.state("verified")["processes"] == ["worker"]
    assert dev.workspace.preview(refresh=True).changes == []


def test_an_added_worker_that_the_live_image_does_not_know_fails_the_up_and_the_next_release_starts_it(
    stack: Make,
) -> None:
    dev = stack()
    live = dev.push().digest
    fails(dev, "worker")
    dev.change(processes={"worker": WORKER})
    with pytest.raises(CommandError, match="worker: the deployment of storefront-dev-worker:1 failed"):
        dev.workspace.up()
    assert (dev.image, dev.counts) == (f"@{live}", (1, 1))
    fails(dev, "nobody")
    dev.workspace.up()
    newer = dev.release("With a worker").digest
    assert (dev.image, worker(dev).image, worker(dev).counts) == (f"@{newer}", f"@{newer}", (1, 1))


def test_settings_of_one_process_change_without_a_deployment_of_the_other(stack: Make) -> None:
    dev = stack(processes={"worker": WORKER})
    live = dev.push().digest
    before = len(dev.account.api.calls)
    dev.up(processes={"worker": {**WORKER, "cpu": 512, "memory": 1024, "tasks": {"min": 3}}})
    updated = {c.params["service"] for c in dev.account.api.calls[before:] if c.operation == "UpdateService"}
    assert updated == {"storefront-dev-worker"}
    assert (worker(dev).running["cpu"], worker(dev).counts, worker(dev).image) == ("512", (3, 3), f"@{live}")


def test_with_codedeploy_the_worker_is_released_after_web(stack: Make) -> None:
    config = {"slipway:stages": [{"strategy": {"codeDeployBlueGreen": {"terminationMinutes": 1}}}]}
    dev = stack(config=config, processes={"worker": WORKER}, migration=MIGRATION)
    migrations = Migrations(dev, Outcome(lines=("done",)))
    first = dev.push()
    assert failures(first) == []
    assert (worker(dev).image, worker(dev).counts) == (f"@{first.digest}", (1, 1))
    fails(dev, "worker", first.digest)
    dev.commit("The worker crashes")
    bad = dev.push()
    assert [name for name, _ in failures(bad)] == ["Finish"]
    assert "worker: the deployment of storefront-dev-worker:2 failed" in failures(bad)[0][1].lower()
    dev.account.clock.sleep(600)
    [primary] = [s for s in dev.service["taskSets"] if s["status"] == "PRIMARY"]
    definition = dev.account.ecs.describe_task_definition({"taskDefinition": primary["taskDefinition"]})
    assert definition["taskDefinition"]["containerDefinitions"][0]["image"].endswith(first.digest)
    assert worker(dev).image == f"@{first.digest}"
    # Prepare migrates, before CodePipeline's own action deploys; none in the rollback.
    assert migrations.started == [first.digest, bad.digest]


@pytest.mark.occasional
def test_with_codedeploy_a_worker_is_added_and_removed_and_web_stays(stack: Make) -> None:
    dev = stack(config={"slipway:stages": [{"strategy": {"codeDeployBlueGreen": {"terminationMinutes": 1}}}]})
    live = dev.push().digest
    dev.account.clock.sleep(600)
    [before] = dev.service["taskSets"]
    dev.up(processes={"worker": WORKER})
    assert (worker(dev).image, worker(dev).counts) == (f"@{live}", (1, 1))
    assert dev.workspace.preview(refresh=True).changes == []
    dev.up()
    assert [each["id"] for each in dev.service["taskSets"]] == [before["id"]]
    assert dev.workspace.preview(refresh=True).changes == []


def test_with_the_action_of_codepipeline_the_worker_is_released_after_web(stack: Make) -> None:
    config = {"slipway:stages": [{"strategy": {"rolling": {"ecsAction": True}}}]}
    dev = stack(config=config, processes={"worker": WORKER}, migration=MIGRATION)
    migrations = Migrations(dev, Outcome())
    first = dev.push().digest
    assert (dev.image, worker(dev).image, migrations.started) == (f"@{first}", f"@{first}", [first])
    fails(dev, "worker", first)
    dev.commit("The worker crashes")
    bad = dev.push()
    assert [name for name, _ in failures(bad)] == ["Finish"]
    assert (dev.image, worker(dev).image, migrations.started) == (f"@{first}", f"@{first}", [first, bad.digest])


def test_with_codedeploy_a_migration_that_fails_stops_the_stage_before_the_deployment(stack: Make) -> None:
    dev = stack(config={"slipway:stages": [{"strategy": {"codeDeployBlueGreen": {}}}]}, migration=MIGRATION)
    Migrations(dev, Outcome(exit=3, lines=("no such column",)))
    failed = dev.push()
    [(name, message)] = failures(failed)
    assert name == "Prepare"
    assert "exited with 3" in message
    assert calls_of(dev, "CreateDeployment") == 0


# Migrations


def test_a_migration_runs_once_with_each_image_before_it_gets_traffic(stack: Make) -> None:
    dev = stack(migration=MIGRATION, environment={"LOG_LEVEL": "debug"})
    migrations = Migrations(dev, Outcome(lines=("migrated",)))
    first = dev.push().digest
    assert migrations.started == [first]
    [call] = [c for c in dev.account.api.calls if c.operation == "RunTask"]
    definition = dev.account.ecs.describe_task_definition({"taskDefinition": call.params["taskDefinition"]})
    [container] = definition["taskDefinition"]["containerDefinitions"]
    assert (container["command"], container["portMappings"]) == (["python3", "migrate.py"], [])
    assert {"name": "LOG_LEVEL", "value": "debug"} in container["environment"]
    operations = [c.operation for c in dev.account.api.calls if c.operation in ("RunTask", "UpdateService")]
    assert operations[0] == "RunTask"

    second = dev.release("Second").digest
    assert migrations.started == [first, second]
    # An earlier image is not migrated again, nor by `pulumi up`.
    assert dev.start(variables={"IMAGE_DIGEST": first}).status == "Succeeded"
    dev.up(cpu=512, memory=1024, migration=MIGRATION)
    assert migrations.started == [first, second]


def test_a_migration_that_fails_leaves_the_old_version_and_a_retry_is_a_new_attempt(stack: Make) -> None:
    dev = stack(migration=MIGRATION)
    migrations = Migrations(dev, Outcome())
    good = dev.push().digest
    tasks = dev.service["taskDefinition"]
    migrations.outcomes = [Outcome(exit=3, lines=tuple(f"line {n}" for n in range(100))), Outcome()]
    dev.commit("A wrong migration")
    bad = dev.push()
    assert ended(bad) == until("Deploy", "Failed")
    message = bad.action("Deploy").message
    assert "exited with 3 (Essential container in task exited). The end of its log:\nline 80" in message
    assert message.endswith("line 99. Nothing was deployed: what was live stays live.")
    assert (dev.service["taskDefinition"], dev.counts, dev.history()[0]["result"]) == (tasks, (1, 1), "failed")
    assert dev.workspace.up().changes == []
    assert dev.image == f"@{good}"

    dev.account.codepipeline.retry(bad, "dev")
    assert bad.status == "Succeeded"
    assert migrations.started == [good, bad.digest, bad.digest]
    assert dev.image == f"@{bad.digest}"


def test_a_migration_that_hangs_is_stopped(stack: Make) -> None:
    dev = stack(migration=MIGRATION)
    Migrations(dev, Outcome(seconds=1e9, lines=("waiting for a lock",)))
    failed = dev.push()
    message = failed.action("Deploy").message
    assert "The migration takes longer than 10 minutes" in message
    assert "waiting for a lock" in message
    deploy = failed.action("Deploy")
    assert 600 <= deploy.ended - deploy.began < 900
    assert calls_of(dev, "StopTask") == 1
    assert dev.counts == (0, 0)


def test_a_deployment_that_fails_after_its_migration_is_retried_without_one(stack: Make) -> None:
    dev = stack(migration=MIGRATION)
    migrations = Migrations(dev, Outcome())
    fails(dev, "")
    bad = dev.push()
    assert ended(bad) == until("Deploy", "Failed")
    fails(dev, "nobody")
    dev.account.codepipeline.retry(bad, "dev")
    assert dev.image == f"@{bad.digest}"
    assert migrations.started == [bad.digest]


# Jobs


def test_a_job_runs_nothing_but_the_image_that_was_verified_last(stack: Make) -> None:
    dev = stack(jobs={"report": REPORT})
    ran, definitions = list[str](), list[str]()

    def outcome(task: dict[str, Any]) -> Outcome:
        ran.append(task["containers"][0]["image"].partition("@")[2])
        definitions.append(task["taskDefinitionArn"])
        return Outcome()

    dev.account.ecs.outcome = outcome

    def run() -> str:
        arn = dev.account.scheduler.fire("storefront-dev-report")
        dev.account.states.settle()
        return str(dev.account.states.describe_execution({"executionArn": arn})["status"])

    assert (run(), ran) == ("SUCCEEDED", [])  # before the first release
    first = dev.push().digest
    assert (run(), ran) == ("SUCCEEDED", [first])
    fails(dev, "", first)
    dev.commit("Does not start")
    assert dev.push().status == "Failed"
    assert (run(), ran) == ("SUCCEEDED", [first, first])  # after a rollback
    fails(dev, "nobody")
    second = dev.release("Second").digest
    assert (run(), ran[-1]) == ("SUCCEEDED", second)
    # A change of settings reaches the job in the same up.
    dev.up(jobs={"report": {**REPORT, "command": ["python3", "-m", "other"]}})
    run()
    definition = dev.account.ecs.describe_task_definition({"taskDefinition": definitions[-1]})
    assert definition["taskDefinition"]["containerDefinitions"][0]["command"] == ["python3", "-m", "other"]
    assert ran[-1] == second
    assert dev.workspace.preview(refresh=True).changes == []


def test_a_job_that_fails_is_notified(stack: Make) -> None:
    dev = stack(config={"slipway:notifications": {"emails": ["team@example.com"]}}, jobs={"report": REPORT})
    dev.account.ecs.outcome = lambda task: Outcome(exit=1)
    dev.push()
    dev.account.scheduler.fire("storefront-dev-report")
    dev.account.states.settle()
    dev.account.deliver()
    published = [c.params for c in dev.account.api.calls if c.operation == "Publish"]
    assert [call["Subject"] for call in published] == ["The job storefront-dev-report failed"]


# What is cut, and what happens at the same time


def test_a_migration_whose_start_was_not_answered_runs_once(stack: Make) -> None:
    dev = stack(migration=MIGRATION)
    migrations = Migrations(dev, Outcome())
    run_task, lost = dev.account.ecs.run_task, list[str]()

    def answer_is_lost(params: dict[str, Any]) -> dict[str, Any]:
        answer = run_task(params)
        if not lost:
            lost.append(answer["tasks"][0]["taskArn"])
            raise AwsError("ServerException", "try again", status=500)
        return answer

    dev.account.ecs.run_task = answer_is_lost  # type: ignore[method-assign]
    released = dev.push()
    assert failures(released) == []
    assert migrations.started == [released.digest]
    assert dev.state("migration")["task"] == lost[0]


def test_a_migration_whose_task_is_killed_fails_with_the_reason(stack: Make) -> None:
    dev = stack(migration=MIGRATION)
    Migrations(dev, Outcome(exit=137, lines=("half done",)))
    failed = dev.push()
    message = failed.action("Deploy").message
    assert "exited with 137" in message
    assert "half done" in message
    assert (dev.counts, dev.state("migrated")) == ((0, 0), [])


@pytest.mark.occasional
def test_a_change_of_settings_during_a_migration_is_deployed_with_the_image_that_is_live(stack: Make) -> None:
    slow = {**MIGRATION, "timeoutMinutes": 60}
    dev = stack(migration=slow)
    Migrations(dev, Outcome())
    good = dev.push().digest
    deployed: list[tuple[str, str]] = []

    def change() -> None:
        dev.up(migration=slow, cpu=512, memory=1024)

    def meanwhile(task: dict[str, Any]) -> Outcome:
        changes.start()
        return Outcome(seconds=3000)

    def note(definition: dict[str, Any]) -> None:
        image = definition["containerDefinitions"][0]["image"]
        deployed.append((image.partition("@")[2], definition["cpu"]))

    changes = threading.Thread(target=change)
    dev.account.ecs.outcome, dev.account.ecs.fault = meanwhile, note
    newer = dev.release("During an up").digest
    changes.join()
    order = list(dict.fromkeys(deployed))
    assert order == [(good, "512"), (newer, "512")]
    assert dev.image == f"@{newer}"
