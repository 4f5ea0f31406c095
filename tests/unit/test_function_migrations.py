"""The migration of a release: one task for each attempt, and what becomes of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from slipway.release.function import migrations as module
from slipway.release.function.contract import Migration, MigrationTask, Phase, State
from slipway.release.function.migrations import Migrations
from slipway.release.function.reconcile import Broken, Live, Names, Progress, Waiting
from unit.releases import (
    CLAIM,
    DIGEST,
    MIGRATION,
    NEW,
    NOW,
    OLD,
    OLD_DIGEST,
    SETTINGS,
    STATE,
    URL,
    KeptTable,
    client,
    stubbed,
)

FAMILY = "shop-dev-migration"
TEMPLATE = f"arn:aws:ecs:eu-west-1:123456789012:task-definition/{FAMILY}-template:1"
TASK = "arn:aws:ecs:eu-west-1:123456789012:task/shop/0123456789abcdef"
OTHER = "arn:aws:ecs:eu-west-1:123456789012:task/shop/fedcba9876543210"
SETTINGS_WITH_MIGRATION = replace(SETTINGS, migration=MigrationTask(TEMPLATE, FAMILY, 20, "/shop/dev", "migration"))
MIGRATING = replace(STATE, settings=SETTINGS_WITH_MIGRATION, claim=replace(CLAIM, phase=Phase.MIGRATING))
INTENDED = replace(MIGRATING, migration=MIGRATION)
STARTED = replace(MIGRATING, migration=replace(MIGRATION, task=TASK))
OF_AN_EARLIER_RELEASE = replace(MIGRATION, image=OLD, action="action-0")
RUN = {
    "cluster": "shop",
    "taskDefinition": MIGRATION.definition,
    "launchType": "FARGATE",
    "networkConfiguration": {
        "awsvpcConfiguration": {
            "subnets": ["subnet-3", "subnet-4"],
            "securityGroups": ["sg-1"],
            "assignPublicIp": "DISABLED",
        }
    },
    "clientToken": "action-1",
    "startedBy": "action-1",
}
RUNNING = Waiting("the migration is running as the task 0123456789abcdef")
UNKNOWN_START = "whether its task was started is not known, and ECS shows none"
NOT_SHOWN = "its result is not known, as ECS does not show the task 0123456789abcdef any more"


class World:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, ecs: Any, logs: Any) -> None:
        self.table, self.ecs, self.logs, self.now = KeptTable(MIGRATING), ecs, logs, NOW
        self.names = Names("shop", "shop-dev", "shop-dev", "app")
        monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: self.now))
        self.migrations = Migrations(client("ecs"), client("logs"), self.table, self.names)

    def look(self, state: State, after: float = 0) -> Progress:
        """One look, so many seconds after the attempt was written."""
        self.table.state, self.now = state, NOW + after
        assert state.claim is not None
        return self.migrations.look(state, state.claim)

    def follow(self, state: State, after: float = 0) -> Migration | None:
        self.table.state, self.now = state, NOW + after
        return self.migrations.follow(state)

    @property
    def attempt(self) -> Migration:
        assert self.table.state.migration is not None
        return self.table.state.migration

    # What ECS and CloudWatch Logs answer

    def lists(self, status: str, *arns: str) -> None:
        expected = {"cluster": "shop", "family": FAMILY, "desiredStatus": status}
        self.ecs.add_response("list_tasks", {"taskArns": list(arns)}, expected)

    def shows(self, *arns: str, **shown: Any) -> None:
        tasks = [{"taskArn": arn, **shown} for arn in arns]
        self.ecs.add_response("describe_tasks", {"tasks": tasks}, {"cluster": "shop", "tasks": list(arns)})

    def shows_nothing(self) -> None:
        self.ecs.add_response("describe_tasks", {"tasks": []}, {"cluster": "shop", "tasks": [TASK]})

    def stopped(self, exit_code: int | None, reason: str = "", container_reason: str = "", code: str = "") -> None:
        container = {"name": "app", **({} if exit_code is None else {"exitCode": exit_code})}
        container |= {"reason": container_reason} if container_reason else {}
        more = ({"stoppedReason": reason} if reason else {}) | ({"stopCode": code} if code else {})
        self.shows(TASK, lastStatus="STOPPED", containers=[{"name": "sidecar", "exitCode": 0}, container], **more)

    def logged(self, *lines: str) -> None:
        events = [{"timestamp": 1, "message": line} for line in lines]
        expected = {
            "logGroupName": "/shop/dev",
            "logStreamName": "migration/app/0123456789abcdef",
            "limit": 20,
            "startFromHead": False,
        }
        self.logs.add_response("get_log_events", {"events": events}, expected)

    def started(self, *arns: str, failures: list[dict[str, str]] | None = None) -> None:
        answer = {"tasks": [{"taskArn": arn} for arn in arns], "failures": failures or []}
        self.ecs.add_response("run_task", answer, RUN)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with stubbed("ecs") as ecs, stubbed("logs") as logs:
        yield World(monkeypatch, ecs, logs)
        ecs.assert_no_pending_responses()
        logs.assert_no_pending_responses()


# Whether it has to run


@pytest.mark.parametrize(
    ("state", "needed"),
    [
        (MIGRATING, True),
        (replace(MIGRATING, migrated=[OLD_DIGEST]), True),
        (replace(MIGRATING, migrated=[OLD_DIGEST, DIGEST]), False),
        (STATE, False),
    ],
    ids=["never", "of another image", "of this image", "no migration"],
)
def test_a_migration_is_needed_once_for_each_digest(world: World, state: State, needed: bool) -> None:
    assert world.migrations.needed(state, NEW) is needed
    if not needed:
        assert world.look(state) == Live("there is nothing to migrate")


# The attempt, which is written before its task is started


def test_an_attempt_is_written_before_its_task_is_started(world: World) -> None:
    containers = [{"name": "app", "image": f"{URL}:unreleased"}]
    template = {"taskDefinitionArn": TEMPLATE, "family": f"{FAMILY}-template", "containerDefinitions": containers}
    made = {**template, "taskDefinitionArn": MIGRATION.definition, "family": FAMILY}
    made["containerDefinitions"] = [{"name": "app", "image": str(NEW)}]
    world.lists("RUNNING")
    described = {"taskDefinition": template, "tags": []}
    world.ecs.add_response("describe_task_definition", described, {"taskDefinition": TEMPLATE, "include": ["TAGS"]})
    world.ecs.add_client_error(
        "describe_task_definition", "ClientException", expected_params={"taskDefinition": FAMILY}
    )
    expected = {"family": FAMILY, "containerDefinitions": made["containerDefinitions"]}
    world.ecs.add_response("register_task_definition", {"taskDefinition": made}, expected)
    expected = {"taskDefinition": MIGRATION.definition, "include": ["TAGS"]}
    world.ecs.add_response("describe_task_definition", {"taskDefinition": made, "tags": []}, expected)
    assert world.look(MIGRATING) == Waiting("starting the migration")
    assert world.attempt == MIGRATION


def test_a_task_of_the_family_that_nobody_knows_of_is_waited_for(world: World) -> None:
    world.lists("RUNNING", OTHER)
    assert world.look(MIGRATING) == Waiting("waiting for the task fedcba9876543210, which migrates too, to end")
    assert world.table.state == MIGRATING


def test_the_task_is_started_with_the_action_as_its_token(world: World) -> None:
    world.started(TASK)
    assert world.look(INTENDED) == RUNNING
    assert world.attempt == replace(MIGRATION, task=TASK, started=NOW)


@pytest.mark.parametrize(("age", "repeated"), [(1799, True), (1800, False)])
def test_an_attempt_without_a_task_is_started_with_the_same_token_for_half_an_hour(
    world: World, age: float, repeated: bool
) -> None:
    if repeated:
        world.started(TASK)
        assert world.look(INTENDED, age) == RUNNING
    else:
        world.lists("RUNNING")
        world.lists("STOPPED")
        assert world.look(INTENDED, age) == Broken(f"the migration failed: {UNKNOWN_START}")


def test_a_temporary_error_leaves_the_attempt_to_be_repeated(world: World) -> None:
    world.ecs.add_client_error("run_task", "ServerException", http_status_code=500)
    with pytest.raises(ClientError, match="ServerException"):
        world.look(INTENDED, 600)
    assert world.table.state == INTENDED


@pytest.mark.parametrize(("age", "waits"), [(179, True), (180, False)])
def test_a_new_right_to_start_the_task_is_waited_for(world: World, age: float, waits: bool) -> None:
    world.ecs.add_client_error("run_task", "AccessDeniedException", "no")
    if waits:
        assert isinstance(world.look(INTENDED, age), Waiting)
        assert world.table.state == INTENDED
        return
    error = "An error occurred (AccessDeniedException) when calling the RunTask operation: no"
    assert world.look(INTENDED, age) == Broken(f"the migration failed: its task could not be started: {error}")
    assert (world.attempt.ended, world.attempt.succeeded) == (True, False)


@pytest.mark.parametrize(
    ("failures", "reason"),
    [
        ([{"reason": "Capacity is unavailable at this time."}], "Capacity is unavailable at this time."),
        ([{"reason": "RESOURCE", "detail": "no ENI"}, {"reason": "AGENT"}], "RESOURCE no ENI; AGENT"),
    ],
)
def test_a_task_that_ecs_does_not_place_has_failed_with_its_reasons(
    world: World, failures: list[dict[str, str]], reason: str
) -> None:
    world.started(failures=failures)
    assert world.look(INTENDED) == Broken(f"the migration failed: its task could not be started: {reason}")


@pytest.mark.parametrize("found", [True, False])
def test_a_token_that_is_in_use_belongs_to_a_task_of_this_attempt(world: World, found: bool) -> None:
    world.ecs.add_client_error("run_task", "ConflictException")
    world.lists("RUNNING", *([TASK] if found else []))
    world.lists("STOPPED")
    if found:
        world.shows(TASK, startedBy="action-1")
    shown = "0123456789abcdef" if found else "that is being started"
    assert world.look(INTENDED) == Waiting(f"the migration is running as the task {shown}")
    assert (world.attempt.task, world.attempt.ended) == (TASK if found else "", False)


# An attempt of another action, whose run does not start a task any more


def test_a_release_waits_for_the_migration_of_an_earlier_one(world: World) -> None:
    state = replace(MIGRATING, migration=replace(OF_AN_EARLIER_RELEASE, task=TASK))
    world.shows(TASK, lastStatus="RUNNING", desiredStatus="RUNNING")
    assert world.look(state, 60) == Waiting("waiting for the migration of an earlier release to end")
    assert world.table.state == state


@pytest.mark.parametrize(("age", "ended"), [(959, False), (960, True)])
def test_an_attempt_that_was_cut_off_may_still_get_a_task_for_as_long_as_a_run_can_last(
    world: World, age: float, ended: bool
) -> None:
    world.lists("RUNNING")
    world.lists("STOPPED")
    earlier = OF_AN_EARLIER_RELEASE
    waiting = Waiting("waiting for the migration of an earlier release to end")
    assert world.look(replace(MIGRATING, migration=earlier), age) == waiting
    assert world.attempt == (replace(earlier, ended=True, reason=UNKNOWN_START) if ended else earlier)


@pytest.mark.parametrize("status", ["RUNNING", "STOPPED"])
def test_the_task_of_an_attempt_that_was_cut_off_is_found_by_who_started_it(world: World, status: str) -> None:
    world.lists("RUNNING", *([OTHER, TASK] if status == "RUNNING" else [OTHER]))
    world.lists("STOPPED", *([] if status == "RUNNING" else [TASK]))
    tasks = [{"taskArn": OTHER, "startedBy": "somebody"}, {"taskArn": TASK, "startedBy": "action-0"}]
    world.ecs.add_response("describe_tasks", {"tasks": tasks}, {"cluster": "shop", "tasks": [OTHER, TASK]})
    world.look(replace(MIGRATING, migration=OF_AN_EARLIER_RELEASE), 5)
    assert world.attempt == replace(OF_AN_EARLIER_RELEASE, task=TASK, started=NOW + 5)


@pytest.mark.parametrize("phase", [Phase.VERIFIED, Phase.ROLLING_BACK, Phase.FAILED])
def test_a_release_that_has_ended_starts_no_task(world: World, phase: Phase) -> None:
    world.lists("RUNNING")
    world.lists("STOPPED")
    state = replace(INTENDED, claim=replace(CLAIM, phase=phase))
    assert world.follow(state, 5) == MIGRATION


@pytest.mark.parametrize(
    "state",
    [MIGRATING, replace(INTENDED, migration=replace(MIGRATION, ended=True)), replace(INTENDED, settings=None)],
    ids=["no attempt", "ended", "no settings"],
)
def test_without_an_attempt_in_progress_there_is_nothing_to_follow(world: World, state: State) -> None:
    assert world.follow(state) == state.migration
    assert world.table.state == state


def test_what_another_run_wrote_meanwhile_is_not_overwritten(world: World) -> None:
    world.started(TASK)
    world.table.state = replace(INTENDED, version=8)
    assert INTENDED.claim is not None
    assert world.migrations.look(INTENDED, INTENDED.claim) == Waiting(
        "the migration is running as the task that is being started"
    )
    assert world.table.state == replace(INTENDED, version=8)


# The task


def test_an_image_whose_task_exits_with_0_is_migrated(world: World) -> None:
    world.stopped(0, "Essential container in task exited")
    before = replace(STARTED, migrated=[OLD_DIGEST])
    assert world.look(before, 60) == Live("migrated by the task 0123456789abcdef")
    assert world.attempt == replace(
        MIGRATION, task=TASK, ended=True, succeeded=True, reason="migrated by the task 0123456789abcdef"
    )
    assert world.table.state.migrated == [DIGEST, OLD_DIGEST]


def test_a_hundred_digests_are_remembered_and_each_once(world: World) -> None:
    known = [f"sha256:{number:064d}" for number in range(100)]
    world.stopped(0)
    world.look(replace(STARTED, migrated=known), 60)
    assert world.table.state.migrated == [DIGEST, *known[:99]]
    world.stopped(0)
    # A restored table may know the digest of an attempt that it takes for one in progress.
    world.follow(replace(STARTED, migrated=[OLD_DIGEST, DIGEST]), 60)
    assert world.table.state.migrated == [DIGEST, OLD_DIGEST]


@pytest.mark.parametrize(
    ("code", "reason", "container_reason", "stop_code", "result"),
    [
        (1, "Essential container in task exited", "", "EssentialContainerExited", "exited with 1 ({reason})"),
        (137, "", "OutOfMemoryError", "", "exited with 137 (OutOfMemoryError)"),
        (None, "CannotPullContainerError: no", "", "TaskFailedToStart", "did not start ({reason})"),
        (None, "", "", "TaskFailedToStart", "did not start (ECS gave no reason)"),
        (None, "Host lost", "", "TerminationNotice", "{unknown} (Host lost)"),
        (0, "By hand", "", "UserInitiated", "{unknown}: it was stopped, and exited with 0 (By hand)"),
        (0, "Host lost", "", "TerminationNotice", "{unknown}: it was stopped, and exited with 0 (Host lost)"),
    ],
    ids=["exit 1", "killed", "not pulled", "no reason", "no exit code", "stopped", "stopped with its host"],
)
def test_a_failed_task_has_its_exit_code_or_why_it_has_none(
    world: World, code: int | None, reason: str, container_reason: str, stop_code: str, result: str
) -> None:
    world.stopped(code, reason, container_reason, stop_code)
    world.logged()
    unknown = "the result of the task 0123456789abcdef is not known"
    text = result.format(reason=reason, unknown=unknown)
    text = text if text.startswith(unknown) else f"the task 0123456789abcdef {text}"
    assert world.look(STARTED, 60) == Broken(f"the migration failed: {text}")
    assert (world.attempt.ended, world.attempt.succeeded, world.table.state.migrated) == (True, False, [])


def test_a_failure_shows_the_end_of_the_log(world: World) -> None:
    world.stopped(1, "exited")
    world.logged("migrating…\n", "no such table\n")
    assert world.look(STARTED, 60) == Broken(
        "the migration failed: the task 0123456789abcdef exited with 1 (exited). The end of its log:\n"
        "migrating…\nno such table"
    )


def test_of_a_long_log_the_last_2000_characters_are_shown(world: World) -> None:
    world.stopped(1, "exited")
    world.logged("a" * 1500, "b" * 1500)
    world.look(STARTED, 60)
    assert world.attempt.reason.partition("log:\n")[2] == "a" * 499 + "\n" + "b" * 1500


def test_a_log_that_does_not_exist_or_cannot_be_read_is_left_out(world: World) -> None:
    world.stopped(1, "exited")
    world.logs.add_client_error("get_log_events", "ResourceNotFoundException")
    assert world.look(STARTED, 60) == Broken("the migration failed: the task 0123456789abcdef exited with 1 (exited)")


def test_an_attempt_ends_after_the_settings_have_lost_its_migration(world: World) -> None:
    world.stopped(1, "exited")
    state = replace(STARTED, settings=SETTINGS, claim=None)
    assert world.follow(state, 60) == replace(
        MIGRATION, task=TASK, ended=True, reason="the task 0123456789abcdef exited with 1 (exited)"
    )


@pytest.mark.parametrize(("age", "ended"), [(119, False), (120, True)])
def test_a_task_that_ecs_does_not_show_is_unknown_after_two_minutes(world: World, age: float, ended: bool) -> None:
    world.shows_nothing()
    assert world.look(STARTED, age) == (Broken(f"the migration failed: {NOT_SHOWN}") if ended else RUNNING)


@pytest.mark.parametrize(
    ("age", "desired", "stopped"),
    [(1200, "RUNNING", False), (1200.1, "RUNNING", True), (1200.1, "STOPPED", False)],
    ids=["in time", "late", "is being stopped"],
)
def test_a_task_is_stopped_once_when_its_timeout_is_over(world: World, age: float, desired: str, stopped: bool) -> None:
    world.shows(TASK, lastStatus="RUNNING", desiredStatus=desired)
    if stopped:
        expected = {"cluster": "shop", "task": TASK, "reason": "The migration takes longer than 20 minutes"}
        world.ecs.add_response("stop_task", {}, expected)
    assert world.look(STARTED, age) == RUNNING
    assert world.table.state == STARTED


@pytest.mark.parametrize(("age", "ended"), [(170 + 119, False), (170 + 121, True)])
def test_the_two_minutes_begin_with_the_task_and_not_with_the_attempt(world: World, age: float, ended: bool) -> None:
    late = replace(STARTED, migration=replace(MIGRATION, task=TASK, started=NOW + 170))
    world.shows_nothing()
    assert world.look(late, age) == (Broken(f"the migration failed: {NOT_SHOWN}") if ended else RUNNING)


@pytest.mark.parametrize(("age", "stopped"), [(100 + 1200, False), (100 + 1201, True)])
def test_the_timeout_begins_with_the_task_too(world: World, age: float, stopped: bool) -> None:
    late = replace(STARTED, migration=replace(MIGRATION, task=TASK, started=NOW + 100))
    world.shows(TASK, lastStatus="RUNNING", desiredStatus="RUNNING", containers=[])
    if stopped:
        expected = {"cluster": "shop", "task": TASK, "reason": "The migration takes longer than 20 minutes"}
        world.ecs.add_response("stop_task", {}, expected)
    assert world.look(late, age) == RUNNING


def test_nothing_is_deployed_beside_a_migration_that_the_settings_do_not_have_any_more(world: World) -> None:
    removed = replace(STARTED, settings=SETTINGS)
    world.shows(TASK, lastStatus="RUNNING", desiredStatus="RUNNING", containers=[])
    assert world.look(removed, 60) == RUNNING
    world.stopped(1, "exited", code="EssentialContainerExited")
    failed = "the migration failed: the task 0123456789abcdef exited with 1 (exited)"
    assert world.look(removed, 60) == Broken(failed)


def test_a_task_is_not_stopped_after_the_settings_have_lost_its_migration(world: World) -> None:
    world.shows(TASK, lastStatus="RUNNING", desiredStatus="RUNNING")
    assert world.follow(replace(STARTED, settings=SETTINGS), 9000) == STARTED.migration


def test_an_attempt_that_failed_is_not_repeated_by_its_action(world: World) -> None:
    failed = replace(MIGRATION, task=TASK, ended=True, reason="the task 0123456789abcdef exited with 1")
    assert world.look(replace(MIGRATING, migration=failed)) == Broken(f"the migration failed: {failed.reason}")


def test_a_retry_of_the_stage_is_a_new_attempt(world: World) -> None:
    failed = replace(MIGRATION, action="action-0", task=TASK, ended=True, reason="exited with 1")
    world.lists("RUNNING", OTHER)  # it gets as far as its own attempt
    assert world.look(replace(MIGRATING, migration=failed)) == Waiting(
        "waiting for the task fedcba9876543210, which migrates too, to end"
    )
