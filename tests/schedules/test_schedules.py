"""The release function, run through every schedule of each kind: R1 to R10 hold after each."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from schedules import kinds
from schedules.kinds import BOTH
from schedules.plays import FIRST, LATER, ran, report
from schedules.shop import BLUE_GREEN, CODEDEPLOY, MORE, ROLLING, STRATEGIES
from standin import memory

# The interruptions of rolling and canary, and some of the other kinds.
SHORT = {
    ("interrupted release", ROLLING, LATER),
    ("interrupted up", ROLLING, LATER),
    ("up during a release", ROLLING, FIRST),
    ("release during an up", ROLLING, LATER),
    ("two releases", ROLLING, LATER),
    ("release after a stopped one", ROLLING, LATER),
    ("stopped release", ROLLING, FIRST),
    ("job delivered twice", ROLLING, LATER),
    ("lost state", ROLLING, LATER),
    ("lost state", BLUE_GREEN, LATER),
    ("lost state", CODEDEPLOY, LATER),
    ("events", ROLLING, LATER),
}
"""Kind, strategy and start of schedules that `make test` runs completely."""
SAMPLED = {kind: kinds.ONLY.get(kind, (ROLLING,))[0] for kind in kinds.KINDS if kind not in {k for k, _, _ in SHORT}}
"""Kinds that `make test` runs at some of their points, with one strategy each."""
THINNED = {"bad image": 12}
"""Kinds of which only every n-th point is used: their schedules last hours of polls, with four faults per point."""
MORE_EVERY = 24
"""With a worker and a migration, only every n-th point is used without `--complete`: there are twice as many calls in a
release that takes twice as long."""
EVERY = {"pairs": 6, "bad image": 150}
"""Kinds of which `make test` uses another than every 24th point."""
CASES = [
    pytest.param(kind, strategy, start, marks=[] if (kind, strategy, start) in SHORT else pytest.mark.long)
    for kind in kinds.KINDS
    for strategy in kinds.ONLY.get(kind, STRATEGIES)
    for start in ((LATER,) if kind in kinds.LATER_ONLY or strategy == BOTH[1] else (FIRST, LATER))
]


@pytest.fixture(scope="module", autouse=True)
def account_in_memory() -> Iterator[None]:
    with memory.installed():
        yield


@pytest.mark.rule("R2", "R3", "R4", "R5", "R6", "R7", "R8", "R9", "R10")
@pytest.mark.parametrize(("kind", "strategy", "start"), CASES)
def test_the_rules_hold_after_every_schedule_of(
    kind: str, strategy: str, start: str, request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> None:
    before = sum(ran.values())
    every = THINNED.get(kind, 1)
    if strategy in MORE and not request.config.getoption("complete"):
        every = MORE_EVERY
    failures = list(kinds.KINDS[kind](strategy, start, every))
    record_property("schedules", (kind, sum(ran.values()) - before))  # conftest.py adds them up
    assert not failures, report(failures)


@pytest.mark.parametrize(("kind", "strategy"), SAMPLED.items())
def test_the_rules_hold_after_some_schedules_of(
    kind: str, strategy: str, record_property: Callable[[str, object], None]
) -> None:
    before = sum(ran.values())
    failures = list(kinds.KINDS[kind](strategy, LATER, EVERY.get(kind, 24)))
    assert sum(ran.values()) > before
    record_property("schedules", (kind, sum(ran.values()) - before))
    assert not failures, report(failures)
