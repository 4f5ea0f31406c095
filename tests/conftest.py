"""What all tiers share: which tests are quick, the figures at the end of a run, and the message without an engine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from standin import lambdas, snapshots, tools
from standin.world import Workshop, workshop

ROOT = Path(__file__).parents[1]
TIERS = ("unit", "schedules", "rules", "engine", "journey")
SKIPPED = "engine and journey tests"
OTHER = "imports, collecting, tools"
BEGAN = time.monotonic()
spent: dict[str, float] = defaultdict(float)
"""CPU seconds of each tier's tests, and of everything else."""
schedules: dict[str, int] = defaultdict(int)
"""Number of schedules that ran, by kind."""
files: dict[str, int] = defaultdict(int)
"""Number of stack files that were generated at random, by what was done with them."""
packed: list[tuple[int, int]] = []
"""Number of pairs of options that meet, and of the stack files in which they do."""
rebuilds: list[tuple[float, float]] = []
"""Seconds of a build after a changed line, with the layer cache and without."""
reached: list[tuple[int, int]] = []
"""Number of lines of the release function that the schedules reached, and that they did not."""


@contextmanager
def needed() -> Iterator[None]:
    """Tests are skipped, with a message, only if a program that they need can be neither found nor built."""
    try:
        yield
    except tools.Unavailable as e:
        pytest.skip(f"{SKIPPED}: {e}")


def notify(text: str) -> None:
    print(text, file=sys.__stderr__)  # not captured by pytest, because building takes minutes


@pytest.fixture(scope="session")
def engine() -> Path:
    """The real engine."""
    with needed():
        return tools.engine(notify)


@pytest.fixture(scope="session")
def shared() -> Iterator[Workshop]:
    """The real engine, a real builder, and the base image of the sample service."""
    with ExitStack() as stack:
        with needed():
            made = stack.enter_context(workshop(notify))
        yield made


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="what `make test` runs: see is_quick")
    parser.addoption("--rest", action="store_true", help="all tests that --quick omits")
    parser.addoption("--complete", action="store_true", help="every point of schedules with several processes")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("quick") or config.getoption("rest"):
        chosen = [item for item in items if is_quick(item) == config.getoption("quick")]
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = chosen


def is_quick(item: pytest.Item) -> bool:
    """Journeys that are marked `quick`, and all other tests that are not marked `long`; not the rules of the stand-in,
    whose tests prove it and not the product."""
    if tier(item) == "journey":
        return item.get_closest_marker("quick") is not None
    return tier(item) != "rules" and item.get_closest_marker("long") is None


def tier(item: pytest.Item) -> str:
    return item.path.relative_to(ROOT / "tests").parts[0]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    before = used()
    result = yield
    spent[tier(item)] += used() - before
    return result


def used() -> float:
    """CPU seconds of this process, of the child processes that it has waited for, and of functions."""
    return sum(os.times()[:4]) + lambdas.spent()


def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    not_run = [report for report in skipped if snapshots.NOT_RESTORABLE not in report.longrepr[2]]
    if os.environ.get("CI") and session.exitstatus == 0 and not_run:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED  # nobody reads the output of a check that passed
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["spent"] = {**spent, OTHER: used() - sum(spent.values())}
    else:
        spent[OTHER] += used() - sum(spent.values())


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    for name, seconds in getattr(node, "workeroutput", {}).get("spent", {}).items():
        spent[name] += seconds


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    for name, value in report.user_properties if report.when == "call" else ():
        if name == "schedules" and isinstance(value, tuple | list):
            schedules[value[0]] += value[1]
        if name == "files" and isinstance(value, tuple | list):
            files[value[0]] += value[1]
        if name == "rebuild" and isinstance(value, tuple | list):
            rebuilds.append((value[0], value[1]))
        if name == "packed" and isinstance(value, tuple | list):
            packed.append((value[0], value[1]))
        if name == "lines" and isinstance(value, tuple | list):
            reached.append((value[0], value[1]))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    write = terminalreporter.write_line
    skipped = {report.longrepr[2] for report in terminalreporter.stats.get("skipped", [])}
    if skipped:
        terminalreporter.section("NOT ALL TESTS RAN", red=True, bold=True)
        for reason in sorted(skipped):
            write(reason, red=True, bold=True)
    terminalreporter.section("figures")
    for name in [name for name in (*TIERS, OTHER) if spent[name]]:
        write(f"{name}: {spent[name]:.0f} CPU seconds")
    write(f"in all: {sum(spent.values()):.0f} CPU seconds in {time.monotonic() - BEGAN:.0f} s")
    if schedules:
        write(f"schedules: {sum(schedules.values())}")
        for kind, count in schedules.items():
            write(f"    {kind}: {count}")
    for done, count in files.items():
        write(f"stack files generated at random and {done}: {count}")
    for met, count in packed:
        write(f"pairs of options that can meet: {met}, all in {count} stack files")
    for cached, fresh in rebuilds:
        write(f"build after a changed line: {cached:.1f} s with the layer cache, {fresh:.1f} s without")
    for lines_reached, others in reached:
        write(f"schedules reach {lines_reached} lines of the release function, and {others} others have a reason")
    write(f"components: {lines('components', '*.py', '*.sh')} lines; stand-in: {lines('tests/standin', '*.py')} lines")
    write(f"importing slipway: {importing('slipway') - importing('pulumi_aws'):.2f} s more than pulumi_aws")
    write(f"cold import of the function beside boto3: {1000 * cold_import():.0f} ms")


def lines(folder: str, *patterns: str) -> int:
    return sum(len(path.read_text().splitlines()) for pattern in patterns for path in (ROOT / folder).rglob(pattern))


def importing(module: str, after: str = "sys", **options: Any) -> float:
    """Seconds to import a module in a new interpreter, after another one; the best of three."""
    code = f"import time, {after}; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
    command = [sys.executable, "-B", "-W", "ignore", "-c", code]
    return min(float(subprocess.check_output(command, **options)) for _ in range(3))


def cold_import() -> float:
    """Seconds to import the release function from its archive: without Python's caches."""
    with TemporaryDirectory() as folder:
        code = ROOT / "components" / "slipway" / "release" / "function"
        shutil.copytree(code, Path(folder, "release"), ignore=shutil.ignore_patterns("__pycache__"))
        return importing("release.handler", after="boto3", cwd=folder)
