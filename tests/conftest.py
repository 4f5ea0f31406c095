"""What all tiers share: the figures at the end of a run, and a loud word where the engine cannot be had."""

from __future__ import annotations

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
TIERS = ("unit", "engine", "journey")
spent: dict[str, float] = defaultdict(float)


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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    write = terminalreporter.write_line
    skipped = {report.longrepr[2] for report in terminalreporter.stats.get("skipped", [])}
    if skipped:
        terminalreporter.section("NOT ALL TESTS RAN", red=True, bold=True)
        for reason in sorted(skipped):
            write(reason, red=True, bold=True)
    terminalreporter.section("figures")
    for tier in TIERS:
        if spent[tier]:
            write(f"{tier} tests: {spent[tier]:.1f} s of work")
    write(f"components: {lines('components', '*.py', '*.sh')} lines; stand-in: {lines('tests/standin', '*.py')} lines")
    write(f"importing slipway: {importing('slipway') - importing('pulumi_aws'):.2f} s more than pulumi_aws")


def lines(folder: str, *patterns: str) -> int:
    return sum(len(path.read_text().splitlines()) for pattern in patterns for path in (ROOT / folder).rglob(pattern))


def importing(module: str) -> float:
    """Seconds to import a module in a fresh interpreter, the best of three."""
    code = f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
    return min(float(subprocess.check_output([sys.executable, "-W", "ignore", "-c", code])) for _ in range(3))
