"""One release: its phases, their transitions, and the message at its end."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from types import SimpleNamespace
from typing import Any, cast

import pytest
from slipway.release.function import pipeline_job
from slipway.release.function import release as module
from slipway.release.function.contract import (
    Claim,
    Image,
    MigrationTask,
    Phase,
    Process,
    State,
    UserParameters,
    Verified,
)
from slipway.release.function.errors import sentence
from slipway.release.function.pipeline_job import MESSAGE_LIMIT, ReleaseJob, Standing
from slipway.release.function.processes import Processes
from slipway.release.function.reconcile import Broken, Goal, Live, Names, Progress, Waiting
from slipway.release.function.release import DEADLINES, TRANSITIONS, Release, Seen
from slipway.release.function.stage_tests import Outcome
from slipway.release.function.stage_tests import Tests as Found
from unit.releases import (
    CLAIM,
    DIGEST,
    NEW,
    NOW,
    OLD,
    OLD_DIGEST,
    SETTINGS,
    STATE,
    VERIFIED,
    KeptTable,
    client_error,
)

FINAL = {Phase.VERIFIED, Phase.FAILED}
JOB = ReleaseJob(
    id="job-1",
    parameters=UserParameters(step="deploy", pipeline="shop", execution="execution-1", commit="c0ffee"),
    action="action-1",
    began=NOW,
    stage="dev",
    artifact=("artifacts", "shop/Build/1"),
    source=None,
    output=None,
    credentials={},
)
TESTED = replace(JOB, parameters=replace(JOB.parameters, tests="shop-dev-tests"))
LIVE, BACK = Live("shop-dev:7 is running it (2 tasks)"), Live("shop-dev:6 is running it (2 tasks)")
BROKEN = Broken("the deployment of shop-dev:7 failed (STOPPED): ResourceInitializationError.")
SETTINGS_FAILED = Broken("the deployment of shop-dev:8 failed (STOPPED): no such secret.", image_at_fault=False)
WAITING = Waiting("1 of 2 tasks running")
ERROR = RuntimeError("the template has no container 'app'")
LATER = NOW + 500.5


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Service:
    """A service with a list of states: each poll sees the next one, and then always the last."""

    deployed = False

    def __init__(self, *looks: Progress | Exception) -> None:
        self.looks = list(looks)
        self.goals: list[Goal] = []
        self.live = "shop-dev:6"
        self.definitions = SimpleNamespace(image=lambda revision: str(OLD))

    def look(self, state: State, goal: Goal) -> Progress:
        self.goals.append(goal)
        seen = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        if isinstance(seen, Exception):
            raise seen
        return seen

    def newest_created(self) -> float:
        return LATER

    def describe(self) -> dict[str, Any]:
        return {}

    def live_task_definition(self, service: dict[str, Any]) -> str | None:
        return self.live


class World:
    """A release function for one service, and the results that it reported to CodePipeline."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.table, self.service, self.clock = KeptTable(), Service(LIVE), Clock()
        self.standing = Standing.IN_PROGRESS
        self.tests: list[Found | Exception] = []
        self.stopped: list[str] = []
        self.problems: list[str] = []
        self.aligned: list[State] = []
        self.settled = 0
        self.restarts: list[int] = []
        """How many answers there were at each chance to restart the tasks."""
        self.adopted: State | None = None
        self.migrates = False
        self.migrated: Progress | Exception = Live("migrated by the task 1")
        self.answers: list[tuple[str, dict[str, Any]]] = []
        self.over = False
        monkeypatch.setattr(module, "time", self.clock)
        monkeypatch.setattr(module, "standing", lambda codepipeline, claim: (self.standing, ""))
        monkeypatch.setattr(module, "started_by", lambda codepipeline, parameters: "Webhook")
        monkeypatch.setattr(pipeline_job, "image", lambda job, container, images, url: NEW)

    def answer(self, kind: str, **details: Any) -> None:
        if self.over:
            raise KeyError
        self.answers.append((kind, details))

    def test(self, *_: Any) -> Found:
        seen = self.tests.pop(0) if len(self.tests) > 1 else self.tests[0]
        if isinstance(seen, Exception):
            raise seen
        return seen

    def stop(self, build: str) -> None:
        self.stopped.append(build)
        raise client_error("InvalidInputException")  # stopping tests that continue does no harm

    def align(self, state: State) -> list[str]:
        self.aligned.append(state)
        return self.problems

    def settle(self) -> None:
        self.settled += 1

    def migrate(self, state: State, claim: Claim) -> Progress:
        if isinstance(self.migrated, Exception):
            raise self.migrated
        return self.migrated

    def release(self, job: ReleaseJob = JOB, prepared: Any = None) -> Release:
        over = SimpleNamespace(InvalidJobStateException=KeyError, JobNotFoundException=KeyError)
        function = SimpleNamespace(
            table=self.table,
            processes=Processes(self.table, cast(Any, self.service), cast(Any, None)),
            align=self.align,
            migrations=SimpleNamespace(needed=lambda state, image: self.migrates, look=self.migrate),
            goal_without_claim=lambda state, after: Goal(
                state.verified.image if state.verified else None, after, any_settings=True
            ),
            codepipeline=SimpleNamespace(
                put_job_success_result=lambda **details: self.answer("success", **details),
                put_job_failure_result=lambda **details: self.answer("failure", **details),
                exceptions=over,
            ),
            tests=SimpleNamespace(start=self.test, look=self.test, stop=self.stop),
            images=SimpleNamespace(require=lambda digest: {}, revision=lambda digest, taken: taken),
            names=SimpleNamespace(container="app"),
            environment=SimpleNamespace(environment="dev", keep_verified=3, repository_url="url"),
            settle=self.settle,
            restart_if_requested=lambda: self.restarts.append(len(self.answers)),
            adopt=lambda state, untagged: self.adopted,
        )
        return Release(function, job, prepared)  # type: ignore[arg-type]

    def runs(self, *looks: Progress | Exception, job: ReleaseJob = JOB) -> tuple[str, dict[str, Any]]:
        """The result that one run of the action reports."""
        self.service.looks = list(looks) or [LIVE]
        self.release(job).run()
        [answer] = self.answers
        return answer

    def fails(self, *looks: Progress | Exception, job: ReleaseJob = JOB) -> str:
        kind, details = self.runs(*looks, job=job)
        assert (kind, details["failureDetails"]["type"]) == ("failure", "JobFailed")
        return str(details["failureDetails"]["message"])

    def succeeds(self, *looks: Progress | Exception, job: ReleaseJob = JOB) -> str:
        kind, details = self.runs(*looks, job=job)
        assert (kind, "continuationToken" in details) == ("success", False)
        return str(details["executionDetails"]["summary"])

    def phase(self) -> Phase:
        assert self.table.state.claim is not None
        return self.table.state.claim.phase


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


# The table


def test_every_phase_reaches_a_final_one() -> None:
    def reached(phase: Phase) -> set[Phase]:
        found, new = set[Phase](), {phase}
        while new:
            found |= new
            new = {to for (at, _), to in TRANSITIONS.items() if at in found} - found
        return found

    for phase in set(Phase) - FINAL:
        assert reached(phase) & FINAL
    assert reached(Phase.MIGRATING) == set(Phase)


def test_final_phases_have_no_transitions() -> None:
    assert {phase for phase, _ in TRANSITIONS} == set(Phase) - FINAL


def test_no_phase_is_entered_twice() -> None:
    order = [Phase.MIGRATING, Phase.DEPLOYING, Phase.TESTING, Phase.VERIFIED, Phase.ROLLING_BACK, Phase.FAILED]
    assert [(at, to) for (at, _), to in TRANSITIONS.items() if order.index(to) <= order.index(at)] == []


def test_only_passed_tests_or_none_verify_an_image() -> None:
    assert {key for key, to in TRANSITIONS.items() if to is Phase.VERIFIED} == {(Phase.TESTING, Seen.PASSED)}


PROGRESS: list[Progress | Exception] = [
    LIVE,
    BROKEN,
    SETTINGS_FAILED,
    WAITING,
    ERROR,
    client_error("ThrottlingException"),
    client_error("AccessDeniedException"),
]
TESTS: list[Found | Exception | None] = [
    None,
    Found(Outcome.RUNNING, "running", "b"),
    Found(Outcome.RUNNING, "queued"),
    Found(Outcome.PASSED, "passed", "b"),
    Found(Outcome.FAILED, "failed", "b"),
    client_error("ResourceNotFoundException"),
    client_error("AccessDeniedException"),
]


def test_the_table_covers_all_outcomes_of_a_poll_and_no_others(world: World) -> None:
    found = set()
    phases = [phase for phase in Phase if phase not in FINAL]
    for phase, progress, tests, standing, age in product(phases, PROGRESS, TESTS, Standing, (0, 179, 9000)):
        world.service.looks, world.standing = [progress], standing
        world.tests, world.migrated = [tests] if tests else [], progress
        claim = replace(CLAIM, phase=phase)
        world.table.state, world.clock.now = replace(STATE, claim=claim), NOW + age
        look = world.release(TESTED if tests else JOB)._look(world.table.state, claim)
        if look.seen is not None:
            found.add((phase, look.seen))
    assert found == set(TRANSITIONS)


# The outcomes of a poll


def seen(world: World, phase: Phase, progress: Progress | Exception, age: float = 0, job: ReleaseJob = JOB) -> Any:
    world.service.looks, world.clock.now = [progress], NOW + age
    claim = replace(CLAIM, phase=phase)
    world.table.state = replace(STATE, claim=claim)
    return world.release(job)._look(world.table.state, claim)


@pytest.mark.parametrize("phase", [Phase.DEPLOYING, Phase.ROLLING_BACK])
@pytest.mark.parametrize(("minutes", "late"), [(30, False), (30.1, True)])
def test_a_phase_may_last_three_deadlines(world: World, phase: Phase, minutes: float, late: bool) -> None:
    assert (DEADLINES, SETTINGS.deadline_minutes) == (3, 10)
    look = seen(world, phase, WAITING, minutes * 60)
    assert look.seen is (Seen.LATE if late else None)
    message = "the deployment did not reach a steady state within 30 minutes: 1 of 2 tasks running."
    assert look.message == (message if late else "1 of 2 tasks running")


def test_the_deadline_of_the_deployment_does_not_apply_to_tests(world: World) -> None:
    assert seen(world, Phase.TESTING, WAITING, 86_400).seen is None


@pytest.mark.parametrize("phase", [Phase.DEPLOYING, Phase.TESTING, Phase.ROLLING_BACK])
@pytest.mark.parametrize(
    ("error", "age", "ends"),
    [
        (client_error("ThrottlingException"), 0, False),
        (client_error("ThrottlingException"), 600, False),
        (client_error("AccessDeniedException"), 179, False),
        (client_error("AccessDeniedException"), 180, True),
        (ERROR, 0, True),
    ],
    ids=["throttled", "throttled later", "a new right", "no right", "error"],
)
def test_only_a_permanent_error_ends_a_phase(
    world: World, phase: Phase, error: Exception, age: float, ends: bool
) -> None:
    look = seen(world, phase, error, age)
    assert look.seen is (Seen.ERROR if ends else None)
    stopped = f"the release stopped: {sentence(str(error))} Fix the cause, then retry the stage."
    assert look.message == (stopped if ends else f"waiting for AWS: {error}")


def test_failed_settings_during_the_tests_of_an_image_are_not_its_fault(world: World) -> None:
    look = seen(world, Phase.TESTING, SETTINGS_FAILED)
    assert look.seen is Seen.PASSED
    assert look.message == f"{DIGEST} is running; the newest settings do not: {SETTINGS_FAILED.message}"


def test_passed_tests_count_only_while_the_image_is_live(world: World) -> None:
    world.tests = [Found(Outcome.PASSED, "the tests passed", "b")]
    assert seen(world, Phase.TESTING, WAITING, job=TESTED).seen is None
    assert seen(world, Phase.TESTING, BROKEN, job=TESTED).seen is Seen.BROKEN
    assert seen(world, Phase.TESTING, LIVE, job=TESTED).seen is Seen.PASSED


@pytest.mark.parametrize(("age", "failed"), [(7200, False), (7201, True)])
def test_tests_wait_up_to_two_hours_for_the_quota_of_builds(world: World, age: float, failed: bool) -> None:
    world.tests = [Found(Outcome.RUNNING, "they wait")]
    look = seen(world, Phase.TESTING, LIVE, age, TESTED)
    assert look.seen is (Seen.TESTS_FAILED if failed else None)
    assert look.message == ("the tests could not be run: they wait" if failed else "they wait")


def test_an_image_whose_action_was_stopped_is_not_verified(world: World) -> None:
    world.standing = Standing.ENDED
    assert seen(world, Phase.TESTING, LIVE).seen is Seen.ENDED


def test_a_rollback_accepts_any_settings_and_falls_back_to_the_previous_revision(world: World) -> None:
    claim = replace(CLAIM, phase=Phase.ROLLING_BACK, after=NOW + 3, fallback="shop-dev:6")
    state = replace(STATE, claim=claim)
    world.release()._look(state, claim)
    world.release()._look(replace(state, verified=None), claim)
    back = Goal(OLD, NOW + 3, any_settings=True, fallbacks={"web": "shop-dev:6"})
    assert world.service.goals == [back, replace(back, image=None)]


# A run


def test_a_release_without_tests_is_verified_when_its_image_is_live(world: World) -> None:
    kind, details = world.runs(WAITING, LIVE)
    assert (kind, details["executionDetails"]["summary"]) == (
        "success",
        "dev: shop-dev:7 is running it (2 tasks) (commit c0ffee)",
    )
    assert details["outputVariables"] == {"IMAGE_URI": str(NEW), "IMAGE_DIGEST": DIGEST, "COMMIT_ID": "c0ffee"}
    state = world.table.state
    assert state.verified == Verified(NEW, "c0ffee", "execution-1", [(DIGEST, 1), (OLD_DIGEST, 0)])
    assert state.claim == replace(CLAIM, phase=Phase.VERIFIED, since=NOW + 5, reason=LIVE.message)
    assert world.table.history == [state.claim]
    assert world.aligned[-1] == state


def test_tests_are_started_once_and_followed(world: World) -> None:
    world.tests = [Found(Outcome.RUNNING, "they began", "b-1"), Found(Outcome.PASSED, "the tests passed", "b-1")]
    assert world.succeeds(LIVE, job=TESTED) == (
        "dev: shop-dev:7 is running it (2 tasks), and the tests passed (commit c0ffee)"
    )
    assert world.table.state.claim is not None
    assert world.table.state.claim.build == "b-1"


def test_a_failed_release_is_rolled_back_to_the_last_verified_image(world: World) -> None:
    message = world.fails(BROKEN, WAITING, BACK)
    assert message == (
        "The deployment of shop-dev:7 failed (STOPPED): ResourceInitializationError. Rolling back to the last verified "
        f"image, {OLD} (commit 0ff1ce). Rolled back: shop-dev:6 is running it (2 tasks)."
    )
    assert [goal.image for goal in world.service.goals] == [NEW, OLD, OLD]
    # A failure before the rollback is not the rollback's failure.
    assert [goal.after for goal in world.service.goals] == [0, LATER, LATER]
    state = world.table.state
    assert (state.verified, world.phase()) == (VERIFIED, Phase.FAILED)
    assert [claim.phase for claim in world.table.history] == [Phase.ROLLING_BACK, Phase.FAILED]


def test_the_failure_is_written_before_the_rollback_starts(world: World) -> None:
    phases: list[Phase] = []
    look = world.service.look

    def noted(state: State, goal: Goal) -> Progress:
        phases.append(world.phase())
        return look(state, goal)

    world.service.look = noted  # type: ignore[method-assign]
    world.fails(BROKEN, BACK)
    assert phases == [Phase.DEPLOYING, Phase.ROLLING_BACK]


def test_a_failed_first_release_is_rolled_back_to_zero_tasks(world: World) -> None:
    world.table.state = replace(STATE, verified=None)
    message = world.fails(BROKEN, Live("nothing is released, and the service has no tasks"))
    assert message.endswith(
        " No image was verified before, so the service goes back to zero tasks. Rolled back: nothing is released, and "
        "the service has no tasks."
    )
    assert world.service.goals[-1].image is None


def test_a_failed_rollback_is_reported(world: World) -> None:
    message = world.fails(BROKEN, Broken("the deployment of shop-dev:6 failed."))
    assert message.endswith("(commit 0ff1ce). The rollback failed too: the deployment of shop-dev:6 failed.")
    assert world.phase() is Phase.FAILED


def test_running_tests_are_stopped_when_the_release_is_rolled_back(world: World) -> None:
    world.table.state = replace(STATE, claim=replace(CLAIM, phase=Phase.TESTING, build="b-1"))
    world.tests = [Found(Outcome.RUNNING, "running", "b-1")]
    world.fails(BROKEN, BACK, job=TESTED)
    assert world.stopped == ["b-1"]


def test_a_run_returns_a_continuation_token_before_the_next_run_is_due(world: World) -> None:
    kind, details = world.runs(WAITING)
    assert (kind, details) == (
        "success",
        {
            "jobId": "job-1",
            "continuationToken": "action-1",
            "executionDetails": {"summary": "1 of 2 tasks running"},
        },
    )
    assert world.clock.now == NOW + 50
    assert world.phase() is Phase.DEPLOYING


@pytest.mark.parametrize(("deployed", "over", "settled"), [(True, True, 1), (False, True, 0), (True, False, 0)])
def test_a_run_whose_result_is_not_accepted_settles_its_deployment(
    world: World, deployed: bool, over: bool, settled: int
) -> None:
    world.service.deployed, world.over, world.service.looks = deployed, over, [WAITING]
    world.release().run()
    assert world.settled == settled


def test_a_replaced_release_settles_its_deployment_before_it_reports_its_result(world: World) -> None:
    def settle() -> None:
        assert world.answers == []
        world.settled += 1

    world.settle = settle  # type: ignore[method-assign]
    world.service.deployed = True
    world.table.state = replace(STATE, claim=replace(CLAIM, action="action-2", began=NOW + 1))
    assert world.fails().startswith("This release was replaced: ")
    assert world.settled == 1


@pytest.mark.parametrize("phase", [Phase.VERIFIED, Phase.FAILED])
def test_a_requested_restart_waits_until_the_result_is_reported(world: World, phase: Phase) -> None:
    world.table.state = replace(STATE, claim=replace(CLAIM, phase=phase, reason="It ended."))
    world.runs()
    assert world.restarts == [1]


def test_a_run_that_is_continued_restarts_nothing(world: World) -> None:
    world.runs(WAITING)
    assert world.restarts == []


def test_a_run_after_the_end_of_its_release_reports_the_result_again(world: World) -> None:
    world.table.state = replace(STATE, claim=replace(CLAIM, phase=Phase.FAILED, reason="It failed."))
    assert world.fails() == "It failed."
    assert world.service.goals == []


def test_a_verified_release_stays_verified_whatever_happens_to_the_tags(world: World) -> None:
    world.problems = ["the tag live-dev could not be moved", "the tag verified-dev could not be moved."]
    assert world.succeeds() == (
        "dev: shop-dev:7 is running it (2 tasks) (commit c0ffee). The tag live-dev could not be moved; the tag "
        "verified-dev could not be moved. The next run tries again"
    )
    assert world.phase() is Phase.VERIFIED


def test_a_temporary_error_does_not_end_a_verified_release(world: World) -> None:
    world.table.state = replace(STATE, claim=replace(CLAIM, phase=Phase.VERIFIED, reason="it runs"))
    calls = [client_error("ThrottlingException")] * 3

    def align(state: State) -> list[str]:
        if calls:
            raise calls.pop()
        return []

    world.align = align  # type: ignore[method-assign]
    assert world.succeeds() == "dev: it runs (commit c0ffee)"


def test_a_concurrent_write_makes_the_run_poll_again(world: World) -> None:
    write, contested = world.table.write, [True]

    def once(before: State, after: State, *ended: Claim) -> State | None:
        if contested and contested.pop():
            world.table.state = replace(world.table.state, version=before.version + 1, rollout_after=LATER)
            return None
        return write(before, after, *ended)

    world.table.write = once  # type: ignore[method-assign]
    world.succeeds()
    assert (world.phase(), world.table.state.rollout_after) == (Phase.VERIFIED, LATER)


@pytest.mark.parametrize("letter", ["a", "ü", "„", "😀"])
def test_the_longest_reasons_fit_and_include_what_was_done(world: World, letter: str) -> None:
    message = world.fails(Broken(letter * 9000), Broken(letter * 9000))
    assert len(message) == MESSAGE_LIMIT
    assert f"Rolling back to the last verified image, {OLD} (commit 0ff1ce). The rollback failed too: " in message


# The migration

MIGRATED = Live("migrated by the task 1")
MIGRATION_WAITS = Waiting("the migration is running as the task 1")
MIGRATION_FAILED = Broken("the migration failed: the task 1 exited with 1")
MIGRATING = replace(CLAIM, phase=Phase.MIGRATING)


def migrating(world: World, progress: Progress | Exception, age: float = 0) -> Any:
    """A look at a release that migrates, whose timeout is 20 minutes."""
    task = MigrationTask("template", "shop-dev-migration", 20, "logs", "migration")
    world.migrated, world.clock.now = progress, NOW + age
    world.table.state = replace(STATE, settings=replace(SETTINGS, migration=task), claim=MIGRATING)
    return world.release()._look(world.table.state, MIGRATING)


def test_a_release_migrates_before_anything_is_deployed(world: World) -> None:
    world.migrates, world.migrated = True, MIGRATION_WAITS
    world.table.state = replace(STATE, claim=None)
    kind, details = world.runs()
    assert (kind, details["executionDetails"]["summary"]) == ("success", MIGRATION_WAITS.message)
    assert (world.phase(), world.service.goals) == (Phase.MIGRATING, [])


def test_a_migrated_image_is_deployed_and_earlier_deployments_do_not_count(world: World) -> None:
    world.table.state = replace(STATE, claim=MIGRATING)
    assert world.succeeds() == "dev: shop-dev:7 is running it (2 tasks) (commit c0ffee)"
    assert world.service.goals[0] == Goal(NEW, LATER, ordered=True)
    assert [claim.phase for claim in world.table.history] == [Phase.VERIFIED]


@pytest.mark.parametrize(
    ("verified", "stays"), [(VERIFIED, "what was live stays live"), (None, "nothing was live before")]
)
def test_a_migration_that_fails_ends_the_release_and_nothing_is_deployed(
    world: World, verified: Verified | None, stays: str
) -> None:
    world.table.state = replace(STATE, claim=MIGRATING, verified=verified)
    world.migrated = MIGRATION_FAILED
    assert world.fails() == f"The migration failed: the task 1 exited with 1. Nothing was deployed: {stays}."
    assert (world.phase(), world.service.goals) == (Phase.FAILED, [])
    assert [claim.phase for claim in world.table.history] == [Phase.FAILED]
    assert world.table.state.verified == verified


@pytest.mark.parametrize(("age", "late"), [(3600, False), (3601, True)])
def test_a_migration_may_take_three_timeouts_since_it_may_wait_for_another(
    world: World, age: float, late: bool
) -> None:
    look = migrating(world, MIGRATION_WAITS, age)
    message = f"the migration did not end within 60 minutes: {MIGRATION_WAITS.message}."
    assert (look.seen, look.message) == ((Seen.LATE, message) if late else (None, MIGRATION_WAITS.message))


@pytest.mark.parametrize(("age", "late"), [(1800, False), (1801, True)])
def test_a_migration_may_take_half_an_hour_at_least(world: World, age: float, late: bool) -> None:
    world.migrated, world.clock.now = MIGRATION_WAITS, NOW + age  # its settings have no migration any more
    look = world.release()._look(replace(STATE, claim=MIGRATING), MIGRATING)
    assert look.seen is (Seen.LATE if late else None)


@pytest.mark.parametrize(
    ("progress", "seen"),
    [(MIGRATED, Seen.ENDED), (MIGRATION_WAITS, None), (MIGRATION_FAILED, Seen.BROKEN)],
)
def test_an_image_whose_action_was_stopped_during_the_migration_is_not_deployed(
    world: World, progress: Progress, seen: Seen | None
) -> None:
    world.standing = Standing.ENDED
    assert migrating(world, progress).seen is seen


@pytest.mark.parametrize(
    ("error", "age", "ends"),
    [
        (client_error("ServerException", status=500), 600, False),
        (client_error("AccessDeniedException"), 179, False),
        (client_error("AccessDeniedException"), 180, True),
        (ERROR, 0, True),
    ],
)
def test_only_a_permanent_error_ends_a_migration(world: World, error: Exception, age: float, ends: bool) -> None:
    look = migrating(world, error, age)
    stopped = f"the release stopped: {sentence(str(error))} Fix the cause, then retry the stage."
    assert (look.seen, look.message) == ((Seen.ERROR, stopped) if ends else (None, f"waiting for AWS: {error}"))


@pytest.mark.parametrize("phase", [Phase.MIGRATING, Phase.DEPLOYING, Phase.TESTING])
def test_the_stages_own_action_deploys_only_once_the_image_is_migrated(world: World, phase: Phase) -> None:
    prepared: list[Claim] = []
    world.table.state = replace(STATE, claim=replace(CLAIM, phase=phase))
    world.release(prepared=lambda state, claim: prepared.append(claim)).run()
    assert [claim.phase for claim in prepared] == [Phase.TESTING if phase is Phase.TESTING else Phase.DEPLOYING]
    assert (world.answers, world.service.goals) == ([], [])

    world.table.state, world.migrated = replace(STATE, claim=MIGRATING), MIGRATION_FAILED
    world.release(prepared=lambda state, claim: prepared.append(claim)).run()
    assert ([kind for kind, _ in world.answers], len(prepared)) == (["failure"], 1)


# Several processes


def test_an_image_is_verified_with_the_processes_that_run_it(world: World) -> None:
    worker = Process("worker", "shop-dev-worker", SETTINGS)
    world.table.state = replace(STATE, settings=replace(SETTINGS, processes=[worker]))
    made = SimpleNamespace(look=lambda state, goal: LIVE, newest_created=lambda: NOW, deployed=False)
    release = world.release()
    world.service.names = Names("shop", "shop-dev", "shop-dev", "app")  # type: ignore[attr-defined]
    release.processes._make = lambda names: made  # type: ignore[assignment, return-value]
    release.run()
    assert world.table.state.verified is not None
    assert world.table.state.verified.processes == ["worker"]


def test_a_rollback_falls_back_in_each_process(world: World) -> None:
    claim = replace(CLAIM, phase=Phase.ROLLING_BACK, fallback="shop-dev:6", fallbacks={"worker": "shop-dev-worker:2"})
    world.release()._look(replace(STATE, claim=claim), claim)
    assert world.service.goals[0].fallbacks == {"web": "shop-dev:6", "worker": "shop-dev-worker:2"}


# Claims


def claimed(world: World, found: Claim | None) -> State | None:
    world.table.state = replace(STATE, claim=found)
    return world.release().claim()


def test_an_action_claims_its_image_and_records_the_previous_one(world: World) -> None:
    world.clock.now = NOW + 7
    state = claimed(world, None)
    assert state is not None
    assert state.claim == Claim(
        image=NEW,
        commit="c0ffee",
        execution="execution-1",
        pipeline="shop",
        action="action-1",
        began=NOW,
        phase=Phase.DEPLOYING,
        since=NOW + 7,
        after=LATER,
        fallback="shop-dev:6",
        who="Webhook",
        replaced=OLD_DIGEST,
    )
    assert world.table.history == []


def test_an_action_claims_only_once(world: World) -> None:
    assert claimed(world, replace(CLAIM, phase=Phase.TESTING)) == world.table.state
    assert world.table.state.version == STATE.version


def test_a_later_claim_is_not_replaced(world: World) -> None:
    newer = replace(CLAIM, action="action-2", execution="execution-2", began=NOW + 1)
    assert claimed(world, newer) is None
    assert world.table.state.claim == newer
    assert world.fails() == (
        f"This release was replaced: the execution execution-2, which began later, releases {NEW}. "
        "Nothing is rolled back."
    )
    assert world.service.goals == []


@pytest.mark.parametrize("phase", [Phase.DEPLOYING, Phase.TESTING])
def test_an_earlier_claim_is_replaced_and_has_failed(world: World, phase: Phase) -> None:
    older = replace(CLAIM, action="action-0", execution="execution-0", began=NOW - 1, phase=phase)
    state = claimed(world, older)
    assert state is not None
    assert state.claim is not None
    assert state.claim.action == "action-1"
    reason = "The execution execution-1 replaced it."
    assert world.table.history == [replace(older, phase=Phase.FAILED, reason=reason)]


@pytest.mark.parametrize("phase", [Phase.VERIFIED, Phase.ROLLING_BACK, Phase.FAILED])
def test_a_claim_that_has_ended_does_not_fail_when_it_is_replaced(world: World, phase: Phase) -> None:
    assert claimed(world, replace(CLAIM, action="action-0", began=NOW - 1, phase=phase)) is not None
    assert world.table.history == []


def test_a_retry_of_the_stage_claims_again(world: World) -> None:
    failed = replace(CLAIM, action="action-0", began=NOW - 60, phase=Phase.FAILED, reason="It failed.", build="b-1")
    state = claimed(world, failed)
    assert state is not None
    assert state.claim is not None
    assert (state.claim.phase, state.claim.reason, state.claim.build) == (Phase.DEPLOYING, "", "")


def test_the_next_action_of_a_stage_continues_its_claim(world: World) -> None:
    prepared = replace(
        CLAIM, action="action-0", began=NOW - 60, stage="dev", after=NOW - 70, fallback="shop-dev:5", replaced="x"
    )
    state = claimed(world, prepared)
    assert state is not None
    assert state.claim is not None
    assert (state.claim.action, state.claim.stage) == ("action-1", "")
    assert (state.claim.after, state.claim.fallback, state.claim.replaced) == (NOW - 70, "shop-dev:5", "x")
    assert world.table.history == []


@pytest.mark.parametrize("other", [{"execution": "execution-0"}, {"image": OLD}])
def test_a_claim_of_another_run_of_the_stage_is_not_continued(world: World, other: dict[str, Any]) -> None:
    state = claimed(world, replace(CLAIM, action="action-0", began=NOW - 60, stage="dev", after=NOW - 70, **other))
    assert state is not None
    assert state.claim is not None
    assert state.claim.after == LATER
    assert [claim.phase for claim in world.table.history] == [Phase.FAILED]


def test_a_concurrent_claim_is_decided_again(world: World) -> None:
    newer = replace(CLAIM, action="action-2", began=NOW + 1)
    write = world.table.write

    def overtaken(before: State, after: State, *ended: Claim) -> State | None:
        world.table.state = replace(STATE, version=before.version + 1, claim=newer)
        return write(before, after, *ended)

    world.table.write = overtaken  # type: ignore[method-assign]
    assert claimed(world, None) is None
    assert world.table.state.claim == newer


def test_the_running_image_counts_as_verified_if_the_table_is_empty(world: World) -> None:
    world.table.state = replace(STATE, claim=None, verified=None)
    world.adopted = replace(world.table.state, verified=VERIFIED)
    state = world.release().claim()
    assert state is not None
    assert (state.verified, state.claim.replaced if state.claim else "") == (VERIFIED, OLD_DIGEST)


@pytest.mark.parametrize(
    ("live", "image", "verified", "fallback"),
    [
        ("shop-dev:6", OLD, VERIFIED, "shop-dev:6"),
        ("shop-dev:6", NEW, VERIFIED, ""),
        (None, OLD, VERIFIED, ""),
        ("shop-dev:6", OLD, None, ""),
    ],
)
def test_a_rollback_may_fall_back_only_to_the_revision_of_the_verified_image(
    world: World, live: str | None, image: Image, verified: Verified | None, fallback: str
) -> None:
    world.service.live = live  # type: ignore[assignment]
    world.service.definitions = SimpleNamespace(image=lambda revision: str(image))
    world.table.state = replace(STATE, claim=None, verified=verified)
    state = world.release().claim()
    assert state is not None
    assert state.claim is not None
    assert state.claim.fallback == fallback


@pytest.mark.parametrize(("age", "waits"), [(179, True), (180, False)])
def test_a_new_permission_is_waited_for_before_the_claim(world: World, age: float, waits: bool) -> None:
    def refuse() -> State:
        raise client_error("AccessDeniedException", "no")

    world.table.read = refuse  # type: ignore[method-assign]
    world.clock.now = NOW + age
    kind, details = world.runs()
    if waits:
        assert (kind, details["continuationToken"]) == ("success", "action-1")
        assert details["executionDetails"]["summary"].startswith("waiting for AWS: An error occurred")
    else:
        assert kind == "failure"
        error = client_error("AccessDeniedException", "no")
        assert details["failureDetails"]["message"] == (
            f"the release could not begin: {error}. Fix the cause, then retry the stage."
        )


# Messages


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("", "."),
        ("a", "A."),
        ("it failed.", "It failed."),
        ("ECS said so...", "ECS said so."),
        ("über alles", "Über alles."),
    ],
)
def test_a_reason_becomes_a_sentence(text: str, written: str) -> None:
    assert sentence(text) == written
