"""The processes of a service: the order of their groups, and what their progress amounts to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest
from slipway.release.function.contract import Process, Settings, State
from slipway.release.function.ecs import EcsDeployments
from slipway.release.function.processes import Processes, together
from slipway.release.function.reconcile import Broken, Goal, Live, Names, Progress, Waiting
from unit.releases import NEW, OLD, SETTINGS, STATE, VERIFIED, KeptTable

NAMES = Names("shop", "shop-dev", "shop-dev", "app")
TWO = replace(
    SETTINGS,
    processes=[Process("worker", "shop-dev-worker", replace(SETTINGS, deadline_minutes=20))],
    order=[["web"], ["worker"]],
)
LIVE, LIVE_TOO = Live("shop-dev:7 is running it."), Live("shop-dev-worker:3 is running it")
WAITING, WAITING_TOO = Waiting("1 of 2 tasks running"), Waiting("0 of 1 task running")
BROKEN = Broken("the deployment of shop-dev:7 failed.")
BROKEN_TOO = Broken("the deployment of shop-dev-worker:3 failed.", image_at_fault=False)
RELEASED, KEPT = Goal(NEW, ordered=True), Goal(OLD)


class Reconciled:
    """One process, which is as a test says."""

    def __init__(self, names: Names, progress: Progress = LIVE) -> None:
        self.names, self.progress, self.goals = names, progress, list[Goal]()
        self.deployed, self.created, self.newest, self.serving = False, 0.0, 0.0, 0.0
        self.live: str | None = f"{names.family}:7"
        self.image_of: dict[str, str] = {}
        self.started, self.accepts, self.failed = 0, True, False
        self.definitions = self

    def look(self, state: State, goal: Goal) -> Progress:
        self.goals.append(goal)
        return self.progress

    def newest_created(self) -> float:
        return self.created

    def describe(self) -> dict[str, Any]:
        return {}

    def live_task_definition(self, service: dict[str, Any]) -> str | None:
        return self.live

    def image(self, definition: str) -> str:
        return self.image_of[definition]

    def newest_tasks(self) -> float:
        return self.newest

    def serving_since(self) -> float:
        return self.serving

    def restart(self, state: State) -> bool:
        self.started += 1
        return self.accepts

    def restart_failed(self, requested: float) -> bool:
        return self.failed


class Made:
    """The processes of a service, and what was made for them."""

    def __init__(self, settings: Settings = TWO) -> None:
        self.table = KeptTable(replace(STATE, settings=settings))
        self.web, self.others = Reconciled(NAMES), dict[str, Reconciled]()
        self.processes = Processes(self.table, cast(Any, self.web), self.make)
        self.processes.of(settings)

    def make(self, names: Names) -> EcsDeployments:
        self.others[names.process] = Reconciled(names, LIVE_TOO)
        return cast(EcsDeployments, self.others[names.process])

    @property
    def worker(self) -> Reconciled:
        return self.others["worker"]

    def look(self, goal: Goal, *progress: Progress) -> Progress:
        self.web.progress, self.worker.progress = progress
        return self.processes.look(self.table.state, goal)


@pytest.fixture
def made() -> Made:
    return Made()


def test_a_process_is_a_service_and_a_family_of_its_own_in_the_same_cluster(made: Made) -> None:
    first = made.processes.of(TWO)
    assert list(first) == ["web", "worker"]
    assert made.worker.names == Names("shop", "shop-dev-worker", "shop-dev-worker", "app", process="worker")
    # The same object each time, since it knows whether this run deployed it.
    assert made.processes.of(TWO)["worker"] is first["worker"]


def test_a_process_that_the_settings_do_not_name_any_more_is_left_alone(made: Made) -> None:
    assert list(made.processes.of(SETTINGS)) == ["web"]


# Order


def test_a_group_is_released_once_the_groups_before_it_are_live(made: Made) -> None:
    for progress in (WAITING, BROKEN):
        made.look(RELEASED, progress, LIVE_TOO)
    assert made.worker.goals == []
    made.look(RELEASED, LIVE, LIVE_TOO)
    assert (made.web.goals, made.worker.goals) == ([RELEASED] * 3, [RELEASED])


def test_the_processes_of_one_group_are_released_at_once() -> None:
    made = Made(replace(TWO, order=[["worker", "web"]]))
    made.look(RELEASED, WAITING, WAITING_TOO)
    assert (len(made.web.goals), len(made.worker.goals)) == (1, 1)


def test_a_group_may_come_before_web() -> None:
    made = Made(replace(TWO, order=[["worker"], ["web"]]))
    assert made.look(RELEASED, LIVE, WAITING_TOO) == Waiting("worker: 0 of 1 task running")
    assert made.web.goals == []


@pytest.mark.parametrize("progress", [WAITING, BROKEN])
def test_without_an_order_each_process_goes_on_whatever_becomes_of_another(made: Made, progress: Progress) -> None:
    made.look(KEPT, progress, WAITING_TOO)
    assert (made.web.goals, made.worker.goals) == ([KEPT], [KEPT])


# What the progress of all amounts to


@pytest.mark.parametrize(
    ("seen", "ordered", "result"),
    [
        ((LIVE, LIVE_TOO), True, Live("web: shop-dev:7 is running it; worker: shop-dev-worker:3 is running it")),
        ((LIVE, WAITING_TOO), True, Waiting("worker: 0 of 1 task running")),
        ((WAITING, WAITING_TOO), False, Waiting("web: 1 of 2 tasks running; worker: 0 of 1 task running")),
        ((LIVE, BROKEN), True, Broken("worker: the deployment of shop-dev:7 failed")),
        ((LIVE, BROKEN), False, Broken("worker: the deployment of shop-dev:7 failed")),
    ],
)
def test_all_processes_are_live_or_some_wait_or_fail(
    seen: tuple[Progress, ...], ordered: bool, result: Progress
) -> None:
    assert together(dict(zip(("web", "worker"), seen, strict=True)), ordered) == result


@pytest.mark.parametrize(
    ("failed", "ordered", "ends"),
    [(BROKEN, True, True), (BROKEN, False, False), (BROKEN_TOO, True, False), (BROKEN_TOO, False, False)],
    ids=["image, ordered", "image", "settings, ordered", "settings"],
)
def test_only_an_image_that_fails_ends_a_release_while_another_process_is_deployed(
    failed: Broken, ordered: bool, ends: bool
) -> None:
    progress = together({"web": WAITING, "worker": failed}, ordered)
    message = f"worker: {failed.message.rstrip('.')}"
    assert progress == (Broken(message) if ends else Waiting(f"web: 1 of 2 tasks running; {message}"))


@pytest.mark.parametrize(("first", "second"), [(True, False), (False, True), (False, False)])
def test_the_image_is_at_fault_if_it_is_for_one_process(first: bool, second: bool) -> None:
    both = {"web": replace(BROKEN, image_at_fault=first), "worker": replace(BROKEN_TOO, image_at_fault=second)}
    progress = together(both, ordered=True)
    assert isinstance(progress, Broken)
    assert progress.image_at_fault is (first or second)
    assert progress.message == (
        "web: the deployment of shop-dev:7 failed; worker: the deployment of shop-dev-worker:3 failed"
    )


@pytest.mark.parametrize(("first", "second"), [(True, False), (False, True), (False, False)])
def test_a_rollback_goes_on_until_that_of_the_last_process_has_ended(first: bool, second: bool) -> None:
    both = {"web": replace(BROKEN, rolling_back=first), "worker": replace(BROKEN_TOO, rolling_back=second)}
    progress = together(both, ordered=False)
    assert isinstance(progress, Broken)
    assert progress.rolling_back is (first or second)


@pytest.mark.parametrize("progress", [LIVE, WAITING, BROKEN, BROKEN_TOO])
def test_the_progress_of_a_service_with_one_process_is_passed_on_as_it_is(progress: Progress) -> None:
    made = Made(SETTINGS)
    made.web.progress = progress
    assert made.processes.look(made.table.state, RELEASED) is progress


@pytest.mark.parametrize(
    ("order", "minutes"), [([], 10), ([["web"], ["worker"]], 30), ([["web", "worker"]], 20)], ids=str
)
def test_groups_take_their_time_one_after_the_other(order: list[list[str]], minutes: int) -> None:
    assert replace(TWO, order=order).total_minutes == minutes


@pytest.mark.parametrize(("web", "worker"), [(True, False), (False, True), (False, False)])
def test_a_run_that_deployed_one_process_deployed_the_service(made: Made, web: bool, worker: bool) -> None:
    made.web.deployed, made.worker.deployed = web, worker
    assert made.processes.deployed is (web or worker)


def test_the_newest_deployment_is_that_of_any_process(made: Made) -> None:
    made.web.created, made.worker.created = 7, 9
    assert (made.processes.newest_created(TWO), made.processes.newest_created(SETTINGS)) == (9, 7)


def test_only_processes_that_run_the_verified_image_have_something_to_fall_back_to(made: Made) -> None:
    made.web.image_of, made.worker.image_of = {"shop-dev:7": str(OLD)}, {"shop-dev-worker:7": str(NEW)}
    assert made.processes.running(TWO, VERIFIED) == {"web": "shop-dev:7"}
    assert made.processes.running(TWO, replace(VERIFIED, image=NEW)) == {"worker": "shop-dev-worker:7"}
    assert made.processes.running(TWO, None) == {}
    made.web.live = None
    assert made.processes.running(TWO, VERIFIED) == {}


# Restarts


@pytest.mark.parametrize(
    ("web", "worker", "after"),
    [
        ((5, 5), (6, 6), 6),
        ((5, 5), (20, 20), 5),
        ((20, 20), (5, 5), 5),
        ((20, 20), (10, 10), None),
        # A deployment in progress counts once it succeeds, unless it is older too.
        ((20, 5), (20, 20), 5),
        ((8, 5), (20, 20), 8),
    ],
)
def test_a_restart_concerns_the_processes_whose_tasks_are_older(
    made: Made, web: tuple[float, float], worker: tuple[float, float], after: float | None
) -> None:
    (made.web.newest, made.web.serving), (made.worker.newest, made.worker.serving) = web, worker
    assert made.processes.older_than(10, TWO) == after


def test_a_restart_starts_tasks_of_older_processes_only_and_once(made: Made) -> None:
    made.table.state = replace(made.table.state, restart_after=10)
    made.web.serving, made.worker.serving = 10, 11
    assert made.processes.restart(made.table.state) == Waiting("restarting the tasks")
    assert (made.web.started, made.worker.started) == (1, 0)
    assert made.table.state.restart_after is None
    assert made.processes.restart(made.table.state) is None


def test_a_restart_stays_requested_until_all_processes_could_start_tasks(made: Made) -> None:
    made.table.state = replace(made.table.state, restart_after=10)
    made.worker.accepts = False
    assert made.processes.restart(made.table.state) == Waiting("restarting the tasks")
    assert (made.web.started, made.worker.started, made.table.state.restart_after) == (1, 1, 10)


def test_a_restart_without_older_tasks_is_done(made: Made) -> None:
    made.table.state = replace(made.table.state, restart_after=10)
    made.web.serving = made.worker.serving = 11
    assert made.processes.restart(made.table.state) is None
    assert (made.web.started, made.worker.started, made.table.state.restart_after) == (0, 0, None)


def test_a_newer_request_for_a_restart_is_kept(made: Made) -> None:
    before = replace(made.table.state, restart_after=10)
    made.table.state = replace(made.table.state, restart_after=12)
    made.processes.restart(before)
    assert made.table.state.restart_after == 12


@pytest.mark.parametrize(("web", "worker"), [(True, False), (False, True), (False, False)])
def test_a_restart_failed_if_that_of_one_process_did(made: Made, web: bool, worker: bool) -> None:
    made.web.failed, made.worker.failed = web, worker
    assert made.processes.restart_failed(10, TWO) is (web or worker)
