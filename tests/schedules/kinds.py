"""The kinds of schedules: each yields its failing schedules, for a strategy and a start."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

from schedules import circumstances, processes
from schedules.plays import Failure, Play, interruptions, switches
from schedules.shop import CANARY, CODEDEPLOY, MORE, NAME, ROLLING, STRATEGIES, Shop

BAD_IMAGES = ("exit 1", "health check", "CannotPullContainerError", "flapping", "tests")
"""How an image fails: `tests` means that its tests fail."""
Kind = Callable[..., Iterator[Failure]]


def release(shop: Shop) -> object:
    return shop.release(2)


def up(shop: Shop) -> object:
    return shop.up(2)


def stop(shop: Shop) -> None:
    """Somebody stops the last execution that started."""
    shop.account.codepipeline.stop(shop.releases[-1].execution)


def interrupted_release(strategy: str, start: str, every: int = 1) -> Iterator[Failure]:
    yield from interruptions(Play("a release is interrupted", strategy, "release", release, start), every=every)


def interrupted_failing_release(strategy: str, start: str, every: int = 1) -> Iterator[Failure]:
    """The rollback is interrupted too."""

    def act(shop: Shop) -> None:
        shop.tests_fail.add(2)
        shop.release(2)

    yield from interruptions(
        Play("a release whose tests fail is interrupted", strategy, "release", act, start), every=every
    )


def interrupted_up(strategy: str, start: str, every: int = 1) -> Iterator[Failure]:
    yield from interruptions(Play("an up is interrupted", strategy, "up", up, start), ("nothing",), every)


def up_during_release(strategy: str, start: str, every: int = 1) -> Iterator[Failure]:
    for stalled in (False, True):
        play = Play("an up during a release", strategy, "release", release, start)
        yield from switches(play, "up", up, stalled, every)


def release_during_up(strategy: str, start: str, every: int = 1) -> Iterator[Failure]:
    for stalled in (False, True):
        play = Play("a release during an up", strategy, "up", up, start)
        yield from switches(play, "release", release, stalled, every)


def two_releases(strategy: str, start: str, every: int = 1) -> Iterator[Failure]:
    for stalled in (False, True):
        play = Play("two releases", strategy, "release", release, start)
        yield from switches(play, "another", lambda shop: shop.release(3, "other"), stalled, every)


def release_after_stopped(strategy: str, start: str, every: int = 1) -> Iterator[Failure]:
    def another(shop: Shop) -> object:
        stop(shop)
        return shop.release(3, "other")

    for stalled in (False, True):
        play = Play("a release after one that was stopped", strategy, "release", release, start)
        yield from switches(play, "stopped, and another", another, stalled, every)


def stopped(strategy: str, start: str, every: int = 1) -> Iterator[Failure]:
    """Stopped, and then an event, or an `up` during and after it."""

    def with_event(shop: Shop) -> None:
        shop.events = "once"
        stop(shop)

    def with_up(shop: Shop) -> object:
        stop(shop)
        return shop.up(2)

    play = Play("a release is stopped", strategy, "release", release, start)
    yield from switches(play, "stopped", with_event, False, every)
    for stalled in (False, True):
        yield from switches(play, "stopped, and an up", with_up, stalled, every)


def delivered_twice(strategy: str, start: str, every: int = 1) -> Iterator[Failure]:
    def act(shop: Shop) -> None:
        shop.account.twice = True
        shop.release(2)

    def copies(shop: Shop) -> object:
        return next((p for p in shop.account.scheduler.processes if p.label == "copy"), None)

    for stalled in (False, True):
        play = Play("a job is delivered twice", strategy, "release", act, start)
        yield from switches(play, "its copy continues", copies, stalled, every)


def bad_image(strategy: str, start: str, every: int = 1) -> Iterator[Failure]:
    """A release fails in each way; an `up` runs at each call of it, or after it."""
    for fault in BAD_IMAGES:
        if (fault, strategy) == ("flapping", CODEDEPLOY):
            continue  # CodeDeploy succeeds as soon as all tasks are healthy, and nothing monitors them afterwards

        def act(shop: Shop, fault: str = fault) -> None:
            if fault == "tests":
                shop.tests_fail.add(2)
            else:
                shop.image_faults[2] = fault
            shop.release(2)

        play = Play(f"a release that fails ({fault})", strategy, "release", act, start)
        yield from play.run("alone", lambda shop: None)
        yield from play.run("an up after it", lambda shop: None, up)
        yield from play.run("its stage is retried", lambda shop: None, lambda shop: shop.retry(shop.releases[-1]))
        yield from play.run("another release after it", lambda shop: None, lambda shop: shop.release(3, "other"))
        for stalled in (False, True):
            yield from switches(play, "an up", up, stalled, every)


def bad_settings(strategy: str, start: str, every: int = 1) -> Iterator[Failure]:
    """Tasks crash with the settings of an `up`, whatever the image: before a release, or at each call of it."""

    def act(shop: Shop) -> None:
        shop.settings_faults[2] = "exit 1"
        shop.release(2)

    def before(shop: Shop) -> None:
        shop.settings_faults[2] = "exit 1"
        shop.do(lambda: shop.up(2))
        shop.release(2)

    play = Play("bad settings", strategy, "release", before, start)
    yield from play.run("before a release", lambda shop: None)
    yield from play.run("before a release, and good ones after it", lambda shop: None, lambda shop: shop.up(3, "other"))

    def while_tested(shop: Shop) -> object:
        shop.blameless = shop.state().get("claim", {}).get("phase") == "testing"
        return up(shop)

    play = Play("bad settings", strategy, "release", act, start)
    for stalled in (False, True):
        yield from switches(play, "an up", while_tested, stalled, every)
    only = Play(
        "bad settings", strategy, "up", lambda shop: (shop.settings_faults.update({2: "exit 1"}), up(shop)), start
    )
    yield from only.run("alone", lambda shop: None)
    yield from switches(only, "a release", release, False, every)


def lost_state(strategy: str, start: str, every: int = 1) -> Iterator[Failure]:
    """The item is deleted, the table is emptied or restored to an earlier state; then an `up`, a release, or both."""
    ways: dict[str, Callable[[Shop], None]] = {"the item is deleted": _delete_item, "the table is emptied": _empty}
    ways["the table is restored"] = _restore
    for name, lose in ways.items():
        for then in ("up", "release", "both", "event"):

            def act(shop: Shop, lose: Callable[[Shop], None] = lose, then: str = then) -> None:
                before = copy.deepcopy(shop.account.dynamodb.tables[NAME].items)
                shop.do(lambda: shop.release(2, "before"))
                shop.older = before
                lose(shop)
                if then == "event":
                    shop.do(lambda: shop.event())
                if then in ("up", "both"):
                    shop.do(lambda: shop.up(2))
                if then in ("release", "both"):
                    shop.release(3)

            play = Play(f"{name}", strategy, "release", act, start, known=(1, 2))
            yield from play.run(f"then {then}", lambda shop: None)


def _delete_item(shop: Shop) -> None:
    items = shop.account.dynamodb.tables[NAME].items
    for key in [key for key, item in items.items() if item["item"] == {"S": "release"}]:
        del items[key]


def _empty(shop: Shop) -> None:
    shop.account.dynamodb.tables[NAME].items.clear()


def _restore(shop: Shop) -> None:
    shop.account.dynamodb.tables[NAME].items = shop.older


def events(strategy: str, start: str, every: int = 1) -> Iterator[Failure]:
    """EventBridge's events are sent once, twice or late, for a good release and for one that fails; also, one arrives
    at each call of a release."""
    for how in ("once", "twice", "late"):
        for fails in (False, True):

            def act(shop: Shop, how: str = how, fails: bool = fails) -> None:
                shop.events = how
                if fails:
                    shop.tests_fail.add(2)
                shop.release(2)

            play = Play("events", strategy, "release", act, start)
            yield from play.run(f"{how}, {'a release that fails' if fails else 'a release'}", lambda shop: None)
    play = Play("events", strategy, "release", release, start)
    for stalled in (False, True):
        yield from switches(play, "an event", lambda shop: shop.event(), stalled, every)


KINDS: dict[str, Kind] = {
    "failing migration": processes.failing_migration,
    "failing worker": processes.failing_worker,
    "changing processes": processes.changing_processes,
    "interrupted release": interrupted_release,
    "interrupted failing release": interrupted_failing_release,
    "interrupted up": interrupted_up,
    "up during a release": up_during_release,
    "release during an up": release_during_up,
    "two releases": two_releases,
    "release after a stopped one": release_after_stopped,
    "stopped release": stopped,
    "job delivered twice": delivered_twice,
    "bad image": bad_image,
    "bad settings": bad_settings,
    "lost state": lost_state,
    "events": events,
    "pairs": circumstances.pairs,
    "earlier digest": circumstances.earlier_digest,
    "state lost during a release": circumstances.state_lost_during_release,
    "new role": circumstances.new_role,
    "quota of builds": circumstances.quota,
    "image index": circumstances.index,
    "long alarm": circumstances.long_alarm,
    "change of strategy": circumstances.strategy_change,
    "lagging history": circumstances.lagging_history,
    "clock skew": circumstances.clock_skew,
    "restart": circumstances.restart,
    "autoscaling": circumstances.scaled,
}
BOTH = tuple(MORE)[:2]
"""Rolling and canary, with a worker and a migration."""
ONLY = {
    "new role": (CANARY,),
    "long alarm": (ROLLING,),
    "change of strategy": (ROLLING,),
    "failing migration": tuple(MORE),
    "failing worker": tuple(MORE),
    "changing processes": BOTH,
    **{
        kind: (*STRATEGIES, *BOTH)
        for kind in ("interrupted release", "interrupted failing release", "interrupted up", "up during a release")
    },
    **{
        kind: (*STRATEGIES, *BOTH)
        for kind in ("release during an up", "two releases", "release after a stopped one", "stopped release")
    },
    **{kind: (*STRATEGIES, BOTH[0]) for kind in ("job delivered twice", "lost state", "events", "restart")},
}
"""Strategies of kinds that do not run with exactly those without a worker."""
LATER_ONLY = ("lost state", "state lost during a release")
"""Kinds that need an existing state."""
