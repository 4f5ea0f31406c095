"""Kinds of schedules for a service with a worker and a migration."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from schedules.plays import Failure, Play, switches
from schedules.shop import Shop

MIGRATION_FAULTS = ("exit 1", "killed", "hangs")


def failing_migration(strategy: str, start: str, every: int = 1) -> Iterator[Failure]:
    """A migration fails in each way; then nothing, a retry without the fault, another release, or an `up` at each
    call."""
    for fault in MIGRATION_FAULTS:

        def act(shop: Shop, fault: str = fault) -> None:
            shop.migration_faults[2] = fault
            shop.release(2)

        def mended(shop: Shop) -> object:
            shop.migration_faults.clear()
            return shop.retry(shop.releases[-1])

        play = Play(f"a migration that fails ({fault})", strategy, "release", act, start)
        yield from play.run("alone", lambda shop: None)
        yield from play.run("its stage is retried", lambda shop: None, mended)
        yield from play.run("another release after it", lambda shop: None, lambda shop: shop.release(3, "other"))
        yield from switches(play, "an up", lambda shop: shop.up(2), False, every)
        yield from switches(play, "another release", lambda shop: shop.release(3, "other"), True, every)


def failing_worker(strategy: str, start: str, every: int = 1) -> Iterator[Failure]:
    """The worker fails after web is live: both go back. An `up` or a retry follows, or runs at each call."""

    def act(shop: Shop) -> None:
        shop.worker_faults[2] = "exit 1"
        shop.release(2)

    def mended(shop: Shop) -> object:
        shop.worker_faults.clear()
        return shop.retry(shop.releases[-1])

    play = Play("a worker that fails", strategy, "release", act, start)
    yield from play.run("alone", lambda shop: None)
    yield from play.run("its stage is retried", lambda shop: None, mended)
    yield from play.run("another release after it", lambda shop: None, lambda shop: shop.release(3, "other"))
    yield from switches(play, "an up", lambda shop: shop.up(2), False, every)


def changing_processes(strategy: str, start: str, every: int = 1) -> Iterator[Failure]:
    """The worker is removed from the service, and added again, during a release."""

    def removed(shop: Shop) -> object:
        shop.added = False
        process = shop.up(2)
        then(shop, process, shop.remove_worker)
        return process

    def added(shop: Shop) -> object:
        shop.add_worker()
        return shop.up(2)

    play = Play("the worker is removed", strategy, "release", lambda shop: shop.release(2), start)
    yield from switches(play, "removed", removed, False, every)

    def without(shop: Shop) -> None:
        shop.added = False
        shop.do(lambda: shop.up(1))
        shop.remove_worker()
        shop.release(2)

    play = Play("the worker is added", strategy, "release", without, start)
    yield from switches(play, "added", added, False, every)


def then(shop: Shop, process: object, act: Callable[[], None]) -> None:
    """Does something after a process has ended."""

    def wait() -> None:
        shop.account.stall(lambda: bool(getattr(process, "dead", True)))
        act()

    shop.account.scheduler.spawn("then", wait)
