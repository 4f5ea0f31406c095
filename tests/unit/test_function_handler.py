"""What the release function decides for `pulumi up` and for events, and before it reports the result of a job."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from slipway.release.function import handler as module
from slipway.release.function.contract import (
    Image,
    Migration,
    Phase,
    Process,
    Rollout,
    Settings,
    State,
    UserParameters,
    Verified,
    encode,
    settings_text,
    sha256,
    variables,
)
from slipway.release.function.handler import Function, added, seen_live
from slipway.release.function.pipeline_job import ReleaseJob, Standing, UnverifiedEvent
from slipway.release.function.processes import Processes
from slipway.release.function.reconcile import Broken, Goal, Live, Progress, Waiting
from slipway.release.function.release import Release
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
    VERIFIED,
    KeptTable,
    client_error,
)

SENT = encode(SETTINGS)
OTHER = {**SENT, "minimum": 3, "maximum": 3}
LIVE, WAITING = Live("shop-dev:7 is running it (2 tasks)"), Waiting("1 of 2 tasks running")
BROKEN = Broken("the deployment of shop-dev:7 failed (STOPPED): no such secret.")
QUIET = replace(STATE, claim=None)


class Service:
    """A service with a list of states: each poll sees the next one, and then always the last."""

    deployed = False

    def __init__(self) -> None:
        self.looks: list[Progress | Exception] = [LIVE]
        self.goals: list[Goal] = []
        self.live: Image | None = None
        self.created, self.under_way, self.failed = NOW - 60, 0.0, False
        self.restarted: list[float | None] = []

    def look(self, state: State, goal: Goal) -> Progress:
        self.goals.append(goal)
        seen = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        if isinstance(seen, Exception):
            raise seen
        return seen

    def newest_created(self) -> float:
        return NOW - 60

    def live_image(self) -> Image | None:
        return self.live

    def newest_tasks(self) -> float:
        return max(self.created, self.under_way)

    def serving_since(self) -> float:
        return self.created

    def restart(self, state: State) -> bool:
        assert state.restart_after is not None
        self.restarted.append(state.restart_after)
        self.created = NOW + 1
        return True

    def restart_failed(self, requested: float) -> bool:
        return self.failed


class World:
    """The function, with one service and one table."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.service, self.table = NOW, Service(), KeptTable(QUIET)
        self.written = [sha256(settings_text(SENT))]
        """Hashes in the function's configuration: each read gets the next one, and then always the last."""
        self.tags: dict[str, str] = {}
        self.aligned: list[State] = []
        self.standing = (Standing.IN_PROGRESS, "")
        self.answers: list[tuple[str, dict[str, Any]]] = []
        clients: dict[str, Any] = {
            "lambda": SimpleNamespace(get_function_configuration=self.configuration),
            "codepipeline": SimpleNamespace(
                put_job_success_result=lambda **details: self.answers.append(("success", details)),
                put_job_failure_result=lambda **details: self.answers.append(("failure", details)),
                exceptions=SimpleNamespace(InvalidJobStateException=KeyError, JobNotFoundException=KeyError),
            ),
        }
        monkeypatch.setattr(module, "client", clients.get)
        monkeypatch.setattr(module, "client_without_retries", clients.get)
        monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: self.now, sleep=self.sleep))
        monkeypatch.setattr(module, "standing", lambda codepipeline, claim: self.standing)
        environment = variables(
            cluster="shop",
            service="shop-dev",
            family="shop-dev",
            container="app",
            environment="dev",
            repository_url=URL,
            keep_verified="3",
            table="shop-dev-release",
            settings_sha256="of its own start",
        )
        self.function = Function(environment, "shop-dev-release", until=NOW + 600)
        self.function.processes = Processes(self.table, cast(Any, self.service), cast(Any, None))
        self.function.table = self.table
        self.function.tags = SimpleNamespace(align=self.align)  # type: ignore[assignment]
        self.function.images = SimpleNamespace(  # type: ignore[assignment]
            tagged=lambda tags: {tag: self.tags[tag] for tag in tags if tag in self.tags},
            revision=lambda digest, taken: f"commit of {digest[7]}",
        )

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def align(self, state: State) -> list[str]:
        self.aligned.append(state)
        return []

    def configuration(self, *, FunctionName: str) -> dict[str, Any]:
        assert FunctionName == "shop-dev-release"
        written = self.written.pop(0) if len(self.written) > 1 else self.written[0]
        return {"Environment": {"Variables": {"SETTINGS_SHA256": written}}}

    def rolls_out(self, *looks: Progress | Exception, settings: Any = SENT, part: int = 1, parts: int = 1) -> str:
        self.service.looks = list(looks) or [LIVE]
        return self.function.rollout(Rollout(settings, part, parts))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


# Settings


def test_pulumis_latest_settings_are_stored_with_the_time_of_the_newest_deployment(world: World) -> None:
    world.table.state = State()
    world.rolls_out()
    assert world.table.state == State(version=1, settings=SETTINGS, rollout_after=NOW - 60)


def test_settings_that_are_already_stored_are_not_written_again(world: World) -> None:
    world.table.state = replace(QUIET, rollout_after=NOW - 60, live_settings=SETTINGS.sha256)
    world.rolls_out()
    assert world.table.state.version == QUIET.version


def test_a_change_of_settings_keeps_the_claim_and_the_verified_image(world: World) -> None:
    world.table.state, world.written = STATE, [sha256(settings_text(OTHER))]
    world.rolls_out(settings=OTHER)
    changed = replace(SETTINGS, minimum=3, maximum=3)
    after = replace(STATE, version=9, rollout_after=NOW - 60)
    assert world.table.state == replace(after, settings=changed, live_settings=changed.sha256)


REFUSED = (
    "refused: these are not the settings that Pulumi wrote last for shop-dev; another `pulumi up` began meanwhile, or "
    "somebody else invoked the function. Nothing was changed"
)


@pytest.mark.parametrize("written", [sha256(settings_text(OTHER)), "", "of its own start"])
def test_settings_with_another_hash_are_rejected_and_nothing_is_written(world: World, written: str) -> None:
    # The hash at the function's start does not count: a run that stalled has an old environment.
    world.written = [written]
    with pytest.raises(RuntimeError) as error:
        world.rolls_out()
    assert str(error.value) == REFUSED
    assert (world.table.state, world.service.goals) == (QUIET, [])


def test_invalid_settings_are_rejected_before_any_request(world: World) -> None:
    with pytest.raises(ValueError, match="^Settings lacks template$"):
        world.rolls_out(settings={})
    assert world.table.state == QUIET


def test_of_two_concurrent_rollouts_the_one_that_stalled_is_rejected(world: World) -> None:
    """The newer one writes between the older one's check of the hash and its write."""
    world.written = [sha256(settings_text(SENT)), sha256(settings_text(OTHER))]
    write = world.table.write

    def overtaken(before: State, after: State, *ended: Any) -> State | None:
        changed = replace(SETTINGS, minimum=3, maximum=3)
        world.table.state = replace(QUIET, version=before.version + 1, settings=changed)
        return write(before, after, *ended)

    world.table.write = overtaken  # type: ignore[method-assign]
    with pytest.raises(RuntimeError) as error:
        world.rolls_out()
    assert str(error.value) == REFUSED
    assert world.table.state.settings == replace(SETTINGS, minimum=3, maximum=3)


# `pulumi up`


def test_a_rollout_ends_when_the_intended_image_runs_with_the_settings(world: World) -> None:
    assert world.rolls_out(WAITING, WAITING, LIVE) == LIVE.message
    # A deployment that failed before this `up` is retried.
    assert world.service.goals == [Goal(OLD, NOW - 60)] * 3
    assert world.now == NOW + 10
    # At the beginning, and again for later changes.
    assert world.aligned == [replace(QUIET, version=8, rollout_after=NOW - 60)] * 2


def test_a_rollout_during_a_release_deploys_the_claimed_image(world: World) -> None:
    world.table.state = STATE
    assert world.rolls_out() == f"{LIVE.message}; its release is not verified yet"
    assert world.service.goals == [Goal(NEW, NOW - 60, ordered=True)]


def test_a_process_is_new_until_a_verified_image_has_run_as_it() -> None:
    worker = replace(SETTINGS, processes=[Process("worker", "shop-dev-worker", SETTINGS)])
    assert added(replace(STATE, settings=worker)) == ["worker"]
    assert STATE.verified is not None
    seen = replace(STATE.verified, processes=["worker"])
    assert added(replace(STATE, settings=worker, verified=seen)) == []
    # Before the first release, nothing has tasks.
    assert added(replace(STATE, settings=worker, verified=None)) == added(State()) == []


@pytest.mark.parametrize("new", [["worker"], []])
def test_a_rollout_with_a_new_process_waits_for_the_end_of_a_release(
    world: World, monkeypatch: pytest.MonkeyPatch, new: list[str]
) -> None:
    world.table.state = STATE
    monkeypatch.setattr(module, "added", lambda state: new)
    if not new:
        assert world.rolls_out() == f"{LIVE.message}; its release is not verified yet"
        return
    with pytest.raises(RuntimeError) as error:
        world.rolls_out(*[LIVE] * 1000)
    assert str(error.value) == (
        "shop-dev did not reach a steady state in time: waiting for the release in progress to end: no verified image "
        "has run as worker"
    )


def test_settings_that_fail_fail_the_rollout_with_the_reason_of_ecs(world: World) -> None:
    with pytest.raises(RuntimeError) as error:
        world.rolls_out(WAITING, BROKEN)
    assert str(error.value) == f"shop-dev does not run with the new settings: {BROKEN.message}"


@pytest.mark.parametrize("image_at_fault", [True, False])
def test_an_image_that_fails_while_it_is_claimed_fails_its_release_and_not_the_rollout(
    world: World, image_at_fault: bool
) -> None:
    world.table.state = STATE
    broken = replace(BROKEN, image_at_fault=image_at_fault)
    if image_at_fault:
        assert world.rolls_out(broken, LIVE).startswith(LIVE.message)
    else:
        with pytest.raises(RuntimeError, match="does not run with the new settings"):
            world.rolls_out(broken, LIVE)


def test_a_failed_rollout_waits_for_the_rollback(world: World) -> None:
    with pytest.raises(RuntimeError, match="does not run with the new settings"):
        world.rolls_out(*[replace(BROKEN, rolling_back=True)] * 3, BROKEN)
    assert world.now == NOW + 15


@pytest.mark.parametrize(
    ("progress", "part", "ends"),
    [
        (WAITING, 1, "goes on"),
        (WAITING, 2, "did not reach a steady state in time"),
        (replace(BROKEN, rolling_back=True), 1, "did not reach a steady state in time"),
    ],
)
def test_when_lambdas_timeout_is_near_the_next_invocation_continues_if_there_is_one(
    world: World, progress: Progress, part: int, ends: str
) -> None:
    if ends == "goes on":
        assert world.rolls_out(progress, part=part, parts=2) == progress.message
    else:
        with pytest.raises(RuntimeError) as error:
            world.rolls_out(progress, part=part, parts=2)
        assert str(error.value) == f"shop-dev {ends}: {progress.message}"
    assert NOW + 595 < world.now <= NOW + 600


def test_a_later_invocation_of_a_rollout_stores_no_settings(world: World) -> None:
    world.written = ["newer"]
    assert world.rolls_out(part=2, parts=2) == LIVE.message
    assert world.table.state == replace(QUIET, version=8, live_settings=SETTINGS.sha256)


@pytest.mark.parametrize(
    ("error", "seconds", "waits"),
    [
        (client_error("ThrottlingException"), 400, True),
        (client_error("AccessDeniedException"), 175, True),
        (client_error("AccessDeniedException"), 185, False),
        (client_error("InvalidParameterException", "Unable to assume the role"), 175, True),
        (client_error("InvalidParameterException", "Invalid subnet"), 0, False),
        (RuntimeError("no such container"), 0, False),
    ],
)
def test_a_rollout_waits_until_new_resources_are_consistent(
    world: World, error: Exception, seconds: int, waits: bool
) -> None:
    errors: list[Progress | Exception] = [error] * (seconds // 5 + 1)
    if waits:
        assert world.rolls_out(*errors, LIVE) == LIVE.message
    else:
        with pytest.raises(type(error)):
            world.rolls_out(*errors, LIVE)


def test_a_rollout_during_a_migration_deploys_the_last_verified_image(world: World) -> None:
    world.table.state = replace(STATE, claim=replace(CLAIM, phase=Phase.MIGRATING))
    assert world.rolls_out() == LIVE.message
    assert world.service.goals == [Goal(OLD, NOW - 60)]


WORKER = Process("worker", "shop-dev-worker", SETTINGS)
WITH_WORKER = replace(SETTINGS, processes=[WORKER], order=[["web"], ["worker"]])


@pytest.mark.parametrize(
    ("now", "goal", "live", "processes"),
    [
        (WITH_WORKER, Goal(OLD), True, ["worker"]),
        (WITH_WORKER, Goal(NEW), True, []),
        # The release in progress may fail, and the next one with this image would be its first.
        (WITH_WORKER, Goal(OLD, ordered=True), True, []),
        (SETTINGS, Goal(OLD), False, []),
    ],
    ids=["verified", "another image", "in a release", "newer settings"],
)
def test_processes_that_an_up_saw_live_have_run_with_the_verified_image(
    now: Settings, goal: Goal, live: bool, processes: list[str]
) -> None:
    state = replace(QUIET, settings=now)
    after = seen_live(state, replace(state, settings=WITH_WORKER), goal)
    expected = replace(VERIFIED, processes=processes)
    assert after == replace(state, live_settings=WITH_WORKER.sha256 if live else "", verified=expected)


# A table that is new or was lost


@pytest.mark.parametrize(
    ("tags", "untagged", "slots"),
    [
        ({}, False, None),
        ({"verified-dev": OLD_DIGEST}, False, None),
        ({"verified-dev": DIGEST}, False, [(DIGEST, 0)]),
        ({}, True, [(DIGEST, 0)]),
        ({"verified-dev": OLD_DIGEST, "verified-dev-0": OLD_DIGEST}, True, [(DIGEST, 1), (OLD_DIGEST, 0)]),
        (
            {"verified-dev": DIGEST, "verified-dev-0": OLD_DIGEST, "verified-dev-2": DIGEST},
            False,
            [(DIGEST, 2), (OLD_DIGEST, 0)],
        ),
        (
            {"verified-dev": DIGEST, "verified-dev-0": OLD_DIGEST, "verified-dev-1": "c", "verified-dev-2": "d"},
            False,
            [(DIGEST, 0), ("c", 1), ("d", 2)],
        ),
    ],
    ids=["no tag", "another", "verified", "untagged", "beside another", "in its slot", "full ring"],
)
def test_the_running_image_counts_as_verified_if_its_tag_says_so(
    world: World, tags: dict[str, str], untagged: bool, slots: list[tuple[str, int]] | None
) -> None:
    world.service.live, world.tags, empty = NEW, tags, State(version=1, settings=SETTINGS)
    adopted = world.function.adopt(empty, untagged)
    expected = None if slots is None else replace(empty, verified=Verified(NEW, "commit of a", "", slots))
    assert adopted == expected


def test_without_a_running_image_nothing_counts_as_verified(world: World) -> None:
    world.tags = {"verified-dev": DIGEST}
    assert world.function.adopt(State(), untagged=True) is None


def test_a_rollout_adopts_what_a_lost_or_restored_table_does_not_know(world: World) -> None:
    # A tag at an image that the state knows adds nothing: somebody else moved the live tag there.
    world.service.live, world.tags = NEW, {"verified-dev": OLD_DIGEST}
    world.rolls_out()
    assert world.table.state.verified == VERIFIED
    for state in (replace(QUIET, version=8), State()):
        world.table.state, world.tags = state, {"verified-dev": DIGEST}
        world.rolls_out()
        assert world.table.state.verified is not None
        assert (world.table.state.verified.image, world.table.state.verified.slots[0][0]) == (NEW, DIGEST)


# Jobs

PROBLEM = "the job report does not run it yet: AccessDenied"


def align(world: World, failures: int) -> list[float]:
    """Jobs get no revision in the first runs. Returns when they are tried."""
    tried: list[float] = []

    def aligned(state: State) -> list[str]:
        tried.append(world.now)
        # Each look aligns twice: with the tags, and at its end.
        return [PROBLEM] if len(tried) <= failures else []

    world.function.jobs.align = aligned  # type: ignore[method-assign]
    return tried


def test_a_job_without_a_revision_is_waited_for(world: World) -> None:
    tried = align(world, 4)
    assert world.rolls_out(LIVE) == LIVE.message
    assert NOW < tried[-1] < NOW + 60


def test_a_job_that_gets_no_revision_fails_the_up_with_the_reason(world: World) -> None:
    tried = align(world, 10_000)
    with pytest.raises(RuntimeError, match=f"runs with the new settings, but {PROBLEM}"):
        world.rolls_out(LIVE)
    assert NOW + 180 < tried[-1] < NOW + 200


# Claims that ended


def test_a_claim_whose_action_has_ended_is_marked_as_failed_by_the_next_run(world: World) -> None:
    world.table.state, world.standing = STATE, (Standing.ENDED, "its action Deploy ended Abandoned")
    failed = replace(CLAIM, phase=Phase.FAILED, reason="The release did not end: its action Deploy ended Abandoned.")
    assert world.function.resolve(STATE) == replace(STATE, version=8, claim=failed)
    assert world.table.history == [failed]


@pytest.mark.parametrize("phase", [Phase.VERIFIED, Phase.FAILED, Phase.ROLLING_BACK])
def test_a_claim_that_has_ended_normally_is_left_unchanged(world: World, phase: Phase) -> None:
    world.standing = (Standing.ENDED, "x")
    state = replace(STATE, claim=replace(CLAIM, phase=phase))
    assert world.function.resolve(state) == state
    assert world.function.resolve(QUIET) == QUIET


def test_a_claim_that_was_ended_concurrently_is_read_again(world: World) -> None:
    world.standing = (Standing.ENDED, "x")
    world.table.state = replace(STATE, version=8, claim=replace(CLAIM, phase=Phase.VERIFIED))
    assert world.function.resolve(STATE) == world.table.state
    assert world.table.history == []


@pytest.mark.parametrize(
    ("phase", "image"),
    [
        (None, OLD),
        (Phase.MIGRATING, OLD),
        (Phase.DEPLOYING, NEW),
        (Phase.TESTING, NEW),
        (Phase.VERIFIED, OLD),
        (Phase.ROLLING_BACK, OLD),
        (Phase.FAILED, OLD),
    ],
)
def test_the_intended_image_is_that_of_a_claim_that_deploys_else_the_last_verified_one_else_none(
    world: World, phase: Phase | None, image: Image
) -> None:
    state = replace(STATE, claim=replace(CLAIM, phase=phase) if phase else None)
    state = replace(state, rollout_after=7)
    ordered = image == NEW
    assert world.function.goal(state) == Goal(image, 7, ordered=ordered)
    first = replace(state, verified=None)
    assert world.function.goal(first) == Goal(NEW if image == NEW else None, 7, ordered=ordered)


@pytest.mark.parametrize("seen_live", [True, False])
def test_without_a_claim_the_newest_settings_count_once_they_were_live(world: World, seen_live: bool) -> None:
    assert STATE.settings is not None
    state = replace(STATE, claim=None, live_settings=STATE.settings.sha256 if seen_live else "of others")
    assert world.function.goal_without_claim(state, 7) == Goal(OLD, 7, any_settings=not seen_live, processes=[])


# Events


@pytest.mark.parametrize(
    "state",
    [State(), replace(QUIET, settings=None), STATE, replace(QUIET, verified=None)],
    ids=["new", "no settings", "a release", "no release"],
)
def test_an_event_changes_nothing_during_other_work_or_without_a_state(world: World, state: State) -> None:
    world.table.state = state
    world.function.settle()
    assert world.service.goals == []


def test_an_event_restores_the_intended_image_whatever_its_settings(world: World) -> None:
    world.table.state, world.standing = STATE, (Standing.ENDED, "stopped")
    world.service.looks = [WAITING, client_error("ThrottlingException"), LIVE]
    world.function.settle()
    # Does not retry what failed once.
    assert world.service.goals == [Goal(OLD, 0, any_settings=True, processes=[])] * 3
    assert len(world.aligned) == 3


def test_an_event_follows_a_migration_that_its_release_left_behind(world: World) -> None:
    world.table.state = replace(QUIET, migration=MIGRATION)
    ended = replace(MIGRATION, ended=True)

    def follow(state: State) -> Migration | None:
        if state.migration == MIGRATION:
            world.table.write(state, replace(state, migration=ended))
        return ended

    world.function.migrations = SimpleNamespace(follow=follow)  # type: ignore[assignment]
    world.function.settle()
    assert (world.table.state.migration, len(world.service.goals)) == (ended, 1)


@pytest.mark.parametrize("migration", [None, MIGRATION])
def test_the_end_of_a_rollback_is_recorded_although_a_migration_ended_just_before(
    world: World, migration: Migration | None
) -> None:
    claim = replace(CLAIM, phase=Phase.ROLLING_BACK, reason="It failed.")
    world.table.state, world.standing = replace(STATE, claim=claim, migration=migration), (Standing.ENDED, "stopped")

    def follow(state: State) -> Migration | None:
        if state.migration is None or state.migration.ended:
            return state.migration
        ended = replace(state.migration, ended=True)
        world.table.write(state, replace(state, migration=ended))
        return ended

    world.function.migrations = SimpleNamespace(follow=follow)  # type: ignore[assignment]
    world.function.settle()
    assert [each.phase for each in world.table.history] == [Phase.FAILED]


def test_an_event_does_not_retry_what_failed(world: World) -> None:
    world.service.looks = [BROKEN]
    world.function.settle()
    assert len(world.service.goals) == 1


def test_an_event_that_times_out_is_an_error_so_that_lambda_retries_it(world: World) -> None:
    world.service.looks = [WAITING]
    with pytest.raises(RuntimeError, match="^shop-dev did not reach a steady state in time: 1 of 2 tasks running$"):
        world.function.settle()


# Restarts

BEFORE = "2023-11-14T22:13:20+00:00"
EVENT_TIME = "2023-11-14T22:13:19Z"


@pytest.mark.parametrize(
    ("state", "created", "message", "restarted"),
    [
        (replace(QUIET, verified=None), NOW - 60, "nothing is released, so there are no tasks to restart", []),
        (QUIET, NOW, f"the tasks are newer than {BEFORE}", []),
        (QUIET, NOW - 60, LIVE.message, [NOW - 60]),
        # No deployment for 90 days.
        (QUIET, 0, LIVE.message, [0]),
        (replace(QUIET, restart_after=NOW - 30), NOW - 60, LIVE.message, [NOW - 30]),
    ],
)
def test_a_restart_replaces_tasks_that_are_older(
    world: World, state: State, created: float, message: str, restarted: list[float]
) -> None:
    world.table.state, world.service.created = state, created
    assert world.function.restart(BEFORE) == message
    assert world.service.restarted == restarted


@pytest.mark.parametrize(("under_way", "after"), [(NOW - 30, NOW - 30), (NOW + 1, NOW - 60)])
def test_a_deployment_in_progress_that_is_older_does_not_count(world: World, under_way: float, after: float) -> None:
    world.service.under_way = under_way
    world.function.restart(BEFORE)
    assert world.service.restarted == [after]


def test_a_restart_during_a_release_is_made_when_the_release_has_ended(world: World) -> None:
    world.table.state = STATE
    assert world.function.restart(BEFORE) == (
        "a release is in progress; its tasks are replaced when it has ended, if they are older"
    )
    assert (world.service.goals, world.service.restarted) == ([], [])
    assert world.table.state.claim is not None
    world.table.state = replace(world.table.state, claim=replace(CLAIM, phase=Phase.VERIFIED))
    world.function.restart_if_requested()
    world.function.restart_if_requested()
    assert world.service.restarted == [NOW - 60]
    # A deployment that failed before the request does not prevent it.
    assert world.service.goals[0].after == NOW - 60


def test_a_restart_after_a_release_that_fails_is_left_to_the_next_event(world: World) -> None:
    world.table.state = replace(QUIET, restart_after=NOW - 60)
    world.service.looks = [RuntimeError("no such service")]
    world.function.restart_if_requested()
    world.service.looks = [LIVE]
    world.function.settle()
    assert world.service.restarted == [NOW - 60]


@pytest.mark.parametrize(("looks", "failed"), [([WAITING, BROKEN], False), ([LIVE], True)])
def test_a_failed_restart_has_the_reason(world: World, looks: list[Progress | Exception], failed: bool) -> None:
    world.service.looks, world.service.failed = looks, failed
    with pytest.raises(RuntimeError) as error:
        world.function.restart(BEFORE)
    why = "the new tasks did not start, and the previous ones run on"
    message = BROKEN.message if not failed else LIVE.message
    assert str(error.value) == f"shop-dev was not restarted: {why}: {message}"


# Jobs


def job(step: str) -> ReleaseJob:
    parameters = UserParameters(step=step, pipeline="shop", execution="execution-1", commit="c0ffee")
    return ReleaseJob("job-1", parameters, "action-1", NOW, "dev", ("b", "k"), None, None, {})


def acts(world: World, monkeypatch: pytest.MonkeyPatch, step: str, fails: Exception | None = None) -> Any:
    def act(self: Release) -> Any:
        if fails:
            raise fails
        return NEW, "c0ffee"

    monkeypatch.setattr(
        module, "verify_with_codepipeline", lambda *_: replace(job(step), output=("artifacts", "shop/Deployment/1"))
    )
    monkeypatch.setattr(Release, "requested_image", act)
    monkeypatch.setattr(Release, "run", act)
    world.function.act({"id": "job-1"})
    return world.answers


@pytest.mark.parametrize(
    ("verified", "live", "commit"),
    [(VERIFIED, OLD_DIGEST, "0ff1ce"), (None, "none", "none"), (replace(VERIFIED, commit=""), OLD_DIGEST, "none")],
)
def test_an_inspection_compares_the_image_with_the_verified_one(
    world: World, monkeypatch: pytest.MonkeyPatch, verified: Verified | None, live: str, commit: str
) -> None:
    world.table.state = replace(QUIET, verified=verified)
    [(kind, details)] = acts(world, monkeypatch, "inspect")
    assert (kind, details["outputVariables"]) == (
        "success",
        # A variable of CodePipeline is never empty.
        {"IMAGE_DIGEST": DIGEST, "COMMIT_ID": "c0ffee", "LIVE_DIGEST": live, "LIVE_COMMIT_ID": commit},
    )
    assert details["executionDetails"]["summary"] == (f"dev: {NEW} (commit c0ffee) instead of {live} (commit {commit})")
    assert world.table.state.claim is None


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("destroy", "This function has no step 'destroy'."),
        ("prepare", "CodeDeploy does not deploy this service; run `pulumi up`."),
    ],
)
def test_an_unsupported_step_is_a_failure(
    world: World, monkeypatch: pytest.MonkeyPatch, step: str, message: str
) -> None:
    [(kind, details)] = acts(world, monkeypatch, step)
    assert (kind, details["failureDetails"]["message"]) == (
        "failure",
        f"the release stopped: {message} Fix the cause, then retry the stage.",
    )


@pytest.mark.parametrize(("deployed", "settled"), [(True, 1), (False, 0)])
def test_an_error_fails_the_job_after_the_deployment_in_progress_has_settled(
    world: World, monkeypatch: pytest.MonkeyPatch, deployed: bool, settled: int
) -> None:
    world.service.deployed = deployed
    [(kind, details)] = acts(world, monkeypatch, "deploy", ValueError("no such thing"))
    assert (kind, details["failureDetails"]["message"]) == (
        "failure",
        "the release stopped: No such thing. Fix the cause, then retry the stage.",
    )
    assert len(world.service.goals) == settled


def test_a_temporary_error_does_not_fail_the_job_so_that_lambda_retries_the_event(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Exception, match="ThrottlingException"):
        acts(world, monkeypatch, "deploy", client_error("ThrottlingException"))
    assert world.answers == []


def test_an_event_that_codepipeline_does_not_confirm_gets_no_result(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> ReleaseJob:
        raise UnverifiedEvent("refused")

    monkeypatch.setattr(module, "verify_with_codepipeline", refuse)
    with pytest.raises(UnverifiedEvent):
        world.function.act({"id": "job-1"})
    assert world.answers == []


# Lambda's entry


class Called:
    """The function, which only records its calls."""

    calls: list[tuple[str, Any]] = []

    def __init__(self, environment: dict[str, str], name: str, until: float) -> None:
        self.calls.append(("until", until))

    def __getattr__(self, name: str) -> Any:
        def call(*given: Any) -> str:
            self.calls.append((name, given))
            return f"{name} is done"

        return call


@pytest.mark.parametrize(
    ("event", "call", "answer"),
    [
        ({"CodePipeline.job": {"id": "1"}}, ("act", ({"id": "1"},)), None),
        (
            {"rollout": {"settings": SENT}, "part": 2, "parts": 3, "newer": 1},
            ("rollout", (Rollout(SENT, 2, 3),)),
            "rollout is done",
        ),
        ({"source": "aws.ecs", "detail": {}}, ("settle", ()), None),
        ({"source": "aws.codepipeline", "detail": {}}, ("settle", ()), None),
        ({"restart": {"before": BEFORE}}, ("restart", (BEFORE,)), "restart is done"),
        # The time of an event has whole seconds, so the secret may have changed up to one later.
        ({"source": "aws.secretsmanager", "time": EVENT_TIME}, ("restart", (BEFORE,)), "restart is done"),
        ({"source": "aws.ssm", "time": EVENT_TIME}, ("restart", (BEFORE,)), "restart is done"),
    ],
)
def test_each_kind_of_event_has_its_own_handler(
    monkeypatch: pytest.MonkeyPatch, event: dict[str, Any], call: Any, answer: str | None
) -> None:
    context = SimpleNamespace(function_name="shop-dev-release", get_remaining_time_in_millis=lambda: 900_000)
    monkeypatch.setattr(module, "Function", Called)
    monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: NOW))
    Called.calls.clear()
    assert module.handler(event, context) == answer
    # Some of Lambda's time is left for reporting the result.
    assert Called.calls == [("until", NOW + 880), call]


@pytest.mark.parametrize("event", [{}, {"source": "aws.s3"}, {"settings": SENT}])
def test_an_unknown_kind_of_event_is_an_error(monkeypatch: pytest.MonkeyPatch, event: dict[str, Any]) -> None:
    context = SimpleNamespace(function_name="shop-dev-release", get_remaining_time_in_millis=lambda: 900_000)
    monkeypatch.setattr(module, "Function", Called)
    with pytest.raises(ValueError) as error:
        module.handler(event, context)
    assert str(error.value) == (
        f"this function takes a job of CodePipeline, a rollout, an event or a restart, got {sorted(event)}"
    )
