"""`make demo` as a new user runs it: it succeeds, changes none of their files, and leaves nothing running."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from standin import tools
from standin.world import ROOT, Workshop

MARK = "SLIPWAY_TEST_RUN"


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not pytest's own, whose path is too long for the sockets that are created in it."""
    with tempfile.TemporaryDirectory(prefix="demo-") as made:
        yield Path(made)


@pytest.fixture
def environment(shared: Workshop, folder: Path) -> Iterator[dict[str, str]]:
    """An empty home with only the cache of built programs, and a mark that all processes of the run inherit."""
    home = folder / "home"
    home.mkdir()
    cache = tools.CACHE.parent
    yield {
        **{key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "PULUMI_"))},
        "HOME": str(home),
        "XDG_CACHE_HOME": str(cache),
        "TMPDIR": str(folder),
        "PYTHONPATH": os.pathsep.join([str(ROOT / "components"), str(ROOT / "tests")]),
        "AWS_PROFILE": "a-profile-that-does-not-exist",
        MARK: uuid.uuid4().hex,
    }


def processes(mark: str) -> list[str]:
    """The command lines of the processes that carry a mark in their environment."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if mark.encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:  # not a process, not ours, or gone
            continue
    return found


def none_left(mark: str) -> list[str]:
    """The processes that are still running, after a moment to end."""
    for _ in range(50):
        if not processes(mark):
            return []
        time.sleep(0.1)
    return processes(mark)


def checkout() -> str:
    return subprocess.check_output(["git", "-C", str(ROOT), "status", "--porcelain"], text=True)


def plain(text: str) -> list[str]:
    """The lines without the times and digests that differ from run to run."""
    return [re.sub(r"^ *\d+\.\d s  ", "", line) for line in text.splitlines()]


def test_the_demo_releases_to_dev_and_to_prod_and_leaves_no_trace(environment: dict[str, str], folder: Path) -> None:
    before = checkout()
    done = subprocess.run(
        [sys.executable, "-m", "standin.demo"], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = plain(done.stdout)
    assert [line for line in lines if re.match(r"\d+  ", line)] == [
        "1  pulumi up (stack dev): everything, and no image yet",
        "2  git push: the first release",
        "3  git push: the next commit",
        "4  pulumi preview: what the pipeline released is not a change",
        "5  cpu: 256 -> 512 in Pulumi.dev.yaml, pulumi up: the settings change, the image stays",
        "6  an image with a critical vulnerability: the scan gate stops it",
        "7  a commit that does not start: ECS rolls it back, and the release fails with the reason",
        "8  pulumi up (stack prod): it builds nothing, and promotes what dev verified",
        "9  git push: fixed, verified in dev, and after an approval a canary in prod",
        "10  a worker and a migration in Pulumi.dev.yaml, pulumi up, git push: one release for all of them",
    ]
    services = [re.sub(r"@sha256:.*", "@…", line).strip() for line in lines if "ECS: " in line]
    assert services == [
        "ECS: 0 of 0 tasks of storefront-dev-template:1 (cpu 256), image storefront-dev:unreleased",
        "ECS: 1 of 1 tasks of storefront-dev:1 (cpu 256), image storefront-dev@…",
        "ECS: 1 of 1 tasks of storefront-dev:2 (cpu 256), image storefront-dev@…",
        "ECS: 1 of 1 tasks of storefront-dev:3 (cpu 512), image storefront-dev@…",
        "ECS: 1 of 1 tasks of storefront-dev:3 (cpu 512), image storefront-dev@…",
        "ECS: 2 of 2 tasks of storefront-prod:1 (cpu 512), image storefront-dev@…",
        "ECS: 2 of 2 tasks of storefront-prod:2 (cpu 512), image storefront-dev@…",
    ]
    shares = [sorted(re.findall(r"\d+ %", line)) for line in lines if "traffic: " in line]
    assert shares == [["10 %", "90 %"], ["100 %"]]
    assert "  0 changes, 74 resources are the same" in lines
    marks = [tuple(line.split()[:2]) for line in lines if line.lstrip().startswith(("✓", "✗"))]
    good = [("✓", name) for name in ("Source", "Build", "Image", "Deploy")]
    prod = [("✓", name) for name in ("Source", "Inspect", "Approve", "Deploy")]
    stopped, failed = [*good[:2], ("✗", "Image")], [*good[:3], ("✗", "Deploy")]
    assert marks == [*good, *good, *stopped, *failed, *prod, *good, *prod, *good]
    assert [line for line in done.stdout.splitlines() if len(line) > 120] == []
    assert re.findall(r"sha256:[0-9a-f]{12}[0-9a-f]", done.stdout) == []
    output = " ".join(" ".join(lines).split())
    assert 'migration: python3 migrate.py really runs, and exits with 0: {"migrated": 1} {"migrated": 2}' in output
    assert 'worker: python3 worker.py really runs, and exits with 0: {"worked": 1, "commit": ' in output
    assert "findings of CRITICAL or higher: CVE-2026-0001" in output
    assert "CVE-2026-0001 (CRITICAL)" in output
    assert len(re.findall(r"(?i)roll(?:ed|ing) back to", output)) == 0
    assert checkout() == before
    assert list((folder / "home").iterdir()) == []
    assert none_left(environment[MARK]) == []


def interrupt(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does


def terminate(process: subprocess.Popen[str]) -> None:
    process.terminate()


IGNORED = ("sh", "-c", 'trap "" INT && exec "$@"', "sh")
"""Runs a command as a shell runs a background job: with SIGINT ignored."""


@pytest.mark.parametrize(
    ("before", "stop", "at", "status"),
    [
        ((), interrupt, "✓ Source", 130),
        pytest.param(IGNORED, interrupt, "✓ Source", 130, marks=pytest.mark.occasional),
        pytest.param((), terminate, "✓ Source", 143, marks=pytest.mark.occasional),
        ((), terminate, "1  pulumi up", 143),
    ],
    ids=["control-c", "SIGINT that was ignored", "SIGTERM in a build", "SIGTERM in an up"],
)
def test_the_demo_can_be_stopped(
    environment: dict[str, str],
    folder: Path,
    before: tuple[str, ...],
    stop: Callable[[subprocess.Popen[str]], None],
    at: str,
    status: int,
) -> None:
    untouched = checkout()
    process = subprocess.Popen(
        [*before, sys.executable, "-m", "standin.demo"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    for line in process.stdout:
        if at in line:
            break
    if "pulumi" in at:
        while not any("pulumi" in command and " up " in command for command in processes(environment[MARK])):
            time.sleep(0.1)
    assert len(processes(environment[MARK])) > 2
    stop(process)
    rest = process.stdout.read()
    assert (process.wait(30), rest.splitlines()[-1]) == (status, "Stopped; nothing is left running.")
    assert none_left(environment[MARK]) == []
    assert checkout() == untouched
    assert [path.name for path in folder.iterdir() if path.name.startswith("slipway-")] == []
