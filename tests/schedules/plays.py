"""How schedules are enumerated: a play runs once undisturbed, and then once for each point at which something can
happen to it.

Polls in a row with no write between them see the same state; of each such sequence, the points of the first and the
last poll are used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache

from schedules.oracle import problems
from schedules.shop import Shop
from standin.memory import Stuck, TracedCall

FIRST, LATER = "first", "later"
"""Starts: nothing is released yet, or image 1 is verified."""
READS = ("Get", "Describe", "List", "Batch")
WAYS = ("killed before", "killed after", "throttled", "fault after", "twice")

ran: Counter[str] = Counter()
"""Number of schedules that ran, by kind."""


@dataclass(frozen=True)
class Failure:
    schedule: str
    found: tuple[str, ...]
    trace: str

    def __str__(self) -> str:
        return f"{self.schedule}\n    " + "\n    ".join(self.found)


@dataclass
class Play:
    """An undisturbed course of events; `subject` is the label of the process that something happens to."""

    kind: str
    strategy: str
    subject: str
    act: Callable[[Shop], object]
    start: str = LATER
    tests: bool = True
    known: tuple[int, ...] = ()
    points: list[TracedCall] = field(default_factory=list)

    def shop(self) -> Shop:
        return prepared(self.strategy, self.tests, self.start).copy()

    def disturbed_points(self) -> list[TracedCall]:
        """The calls of the subject at which something may happen."""
        if not self.points:
            shop = self.shop()
            self.act(shop)
            shop.run()
            self.points = distinct([m for m in shop.account.traced if m.caller == self.subject])
        return self.points

    def run(
        self,
        name: str,
        disturb: Callable[[Shop], None],
        after: Callable[[Shop], object] | None = None,
        unattended: bool = False,
    ) -> Iterator[Failure]:
        """Yields the failure of one schedule, if it fails: `disturb` adds disturbances, `after` runs afterwards."""
        ran[self.kind] += 1
        shop = self.shop()
        found: list[str] = []
        try:
            disturb(shop)
            self.act(shop)
            shop.run()
            if after:
                after(shop)
                shop.run()
            # If nothing follows, the next `up` has to restore what should run.
            found = [] if unattended else problems(shop, self.known)
            if not found:
                found = [f"after another up: {each}" for each in again(shop, self.known)]
        except Stuck as e:
            found = [f"R9: {e}"]
        if found:
            yield Failure(f"{self.kind}, {self.strategy}: {name}", tuple(found), shop.account.trace())


def again(shop: Shop, known: tuple[int, ...]) -> list[str]:
    """The problems after another `up`, which changes nothing, or repairs the state."""
    last = shop.ups[-1].number if shop.ups else 1
    # Like the engine: a successful invocation is not repeated without a change.
    shop.do(lambda: shop.up(last, "again"))
    found = problems(shop, known)
    broken = last in shop.settings_faults
    if shop.ups[-1].error and not broken:
        found.append(f"R2: an up of good settings failed: {shop.ups[-1].error}")
    return found


def distinct(calls: list[TracedCall]) -> list[TracedCall]:
    """The first and the last cycle of polls of each stretch without a write."""
    stretches: list[list[TracedCall]] = [[]]
    for each in calls:
        stretches[-1].append(each)
        if not each.operation.startswith(READS):
            stretches.append([])
    found: list[TracedCall] = []
    for stretch in stretches:
        first: dict[str, TracedCall] = {}
        last: dict[str, TracedCall] = {}
        for each in stretch:
            first.setdefault(each.operation, each)
            last[each.operation] = each
        found += sorted({m.number: m for m in [*first.values(), *last.values()]}.values(), key=lambda m: m.number)
    return found


def interruptions(
    play: Play, follow: Iterable[str] = ("redelivered", "retried", "an event", "nothing"), every: int = 1
) -> Iterator[Failure]:
    """The subject is interrupted at each call, in five ways; after a kill, each of several things follows."""
    for point in play.disturbed_points()[::every]:
        for way in WAYS:
            kill = way.startswith("killed")
            for then in follow if kill else ("redelivered",):

                def disturb(shop: Shop, point: TracedCall = point, way: str = way, then: str = then) -> None:
                    shop.at(play.subject, point.number, way)
                    shop.account.redelivered = then == "redelivered"
                    if then == "an event":
                        shop.events = "once"

                def after(shop: Shop, then: str = then) -> None:
                    shop.account.redelivered = True
                    if then == "retried" and shop.releases[-1].execution.status == "Failed":
                        shop.retry(shop.releases[-1])

                name = f"{way} {point.number} {point.service}:{point.operation}, {then}"
                yield from play.run(name, disturb, after, unattended=then == "nothing")


def switches(
    play: Play, name: str, other: Callable[[Shop], object], stalled: bool, every: int = 1
) -> Iterator[Failure]:
    """At each call of the subject another process starts; the subject continues, or stalls until the other ends."""
    for point in play.disturbed_points()[::every]:

        def disturb(shop: Shop, point: TracedCall = point) -> None:
            def begin() -> None:
                process = other(shop)
                if stalled:
                    shop.account.stall(lambda: bool(getattr(process, "dead", True)))

            shop.at(play.subject, point.number, begin)

        how = "until it ends" if stalled else "beside"
        yield from play.run(f"{name} at {point.number} {point.service}:{point.operation}, {how}", disturb)


@cache
def prepared(strategy: str, tests: bool, start: str) -> Shop:
    """An account in which nothing is released yet, or in which an image is verified."""
    shop = Shop(strategy, tests=tests)
    shop.do(lambda: shop.up(1, "before"))
    if start == LATER:
        shop.do(lambda: shop.release(1, "before"))
    return shop


def report(failures: list[Failure]) -> str:
    """Grouped by problem, the shortest name first, with one trace."""
    if not failures:
        return ""
    groups: dict[str, list[Failure]] = {}
    for failure in failures:
        groups.setdefault(" | ".join(failure.found), []).append(failure)
    lines = [f"{len(failures)} schedules fail:"]
    for found, members in groups.items():
        lines.append(f"{len(members)} x {found}")
        lines += [f"    {member.schedule}" for member in members[:4]]
    shortest = min(failures, key=lambda f: len(f.trace))
    return "\n".join([*lines, f"The shortest, {shortest}", shortest.trace])
