"""What all tiers share: the figures at the end of a run, and a loud word where the engine cannot be had."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from standin import tools
from standin.world import Workshop, workshop

ROOT = Path(__file__).parents[1]
TIERS = ("unit", "rules", "schedules", "engine", "journey")
spent: dict[str, float] = defaultdict(float)
schedules: dict[str, int] = defaultdict(int)
"""How many ran, by kind."""


@contextmanager
def needed() -> Iterator[None]:
    """Only where a program can neither be found nor made are the tests that need it skipped, and loudly."""
    try:
        yield
    except tools.Unavailable as e:
        pytest.skip(f"engine and journey tests: {e}")


def tell(text: str) -> None:
    print(text, file=sys.__stderr__)  # past pytest, since building takes minutes


@pytest.fixture(scope="session")
def engine() -> Path:
    """The real engine."""
    with needed():
        return tools.engine(tell)


@pytest.fixture(scope="session")
def shared() -> Iterator[Workshop]:
    """The real engine, a real builder, and the base image of the sample service."""
    with ExitStack() as stack:
        with needed():
            made = stack.enter_context(workshop(tell))
        yield made


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    spent[report.nodeid.split("/")[1]] += report.duration
    for kind, count in (
        value for name, value in report.user_properties if name == "schedules" and report.when == "call"
    ):
        schedules[kind] += count


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    write = terminalreporter.write_line
    skipped = {report.longrepr[2] for report in terminalreporter.stats.get("skipped", [])}
    if skipped:
        terminalreporter.section("NOT ALL TESTS RAN", red=True, bold=True)
        for reason in sorted(skipped):
            write(reason, red=True, bold=True)
    if cells := matrix(terminalreporter):
        terminalreporter.section("sources and strategies, on the engine")
        columns = list(dict.fromkeys(strategy for _, strategy in cells))
        for source in ("", *dict.fromkeys(source for source, _ in cells)):
            row = [cells.get((source, strategy), "-") if source else strategy for strategy in columns]
            write(
                f"{source:<12}" + "".join(f"{cell:<{max(len(c), 8) + 2}}" for cell, c in zip(row, columns, strict=True))
            )
    terminalreporter.section("figures")
    for tier in TIERS:
        if spent[tier]:
            write(f"{tier} tests: {spent[tier]:.1f} s of work")
    if schedules:
        write(f"schedules: {sum(schedules.values())}")
        for kind, count in schedules.items():
            write(f"    {kind}: {count}")
    write(f"components: {lines('components', '*.py', '*.sh')} lines; stand-in: {lines('tests/standin', '*.py')} lines")
    write(f"importing slipway: {importing('slipway') - importing('pulumi_aws'):.2f} s more than pulumi_aws")


def matrix(terminalreporter: pytest.TerminalReporter) -> dict[tuple[str, str], str]:
    """How the stack of each source with each strategy came out, in the order in which they stand in their test."""
    from engine.test_matrix import MATRIX

    found = {}
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            if match := re.search(r"test_matrix\.py::test_a_stack_of\[(\w+)-([\w ]+)\]", report.nodeid):
                found[match.group(1), match.group(2)] = outcome
    return {cell: found[cell] for cell in MATRIX if cell in found}


def lines(folder: str, *patterns: str) -> int:
    return sum(len(path.read_text().splitlines()) for pattern in patterns for path in (ROOT / folder).rglob(pattern))


def importing(module: str) -> float:
    """Seconds to import a module in a fresh interpreter, the best of three."""
    code = f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
    return min(float(subprocess.check_output([sys.executable, "-W", "ignore", "-c", code])) for _ in range(3))
