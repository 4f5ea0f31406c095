"""`make demo` as a newcomer runs it: it ends well, touches nothing of theirs, and leaves nothing running."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from standin import tools
from standin.world import ROOT, Workshop

MARK = "SLIPWAY_TEST_RUN"


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not pytest's own, whose path is too long for the sockets that are made in it."""
    with tempfile.TemporaryDirectory(prefix="demo-") as made:
        yield Path(made)


@pytest.fixture
def environment(shared: Workshop, folder: Path) -> Iterator[dict[str, str]]:
    """A home that is empty but for the cache of built programs, and a mark that all processes of the run inherit."""
    home = folder / "home"
    home.mkdir()
    cache = tools.CACHE.parent
    yield {
        **{key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "PULUMI_"))},
        "HOME": str(home),
        "XDG_CACHE_HOME": str(cache),
        "TMPDIR": str(folder),
        "PYTHONPATH": str(ROOT / "tests"),
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
    """What still runs of them, after a moment to end."""
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
    assert [line for line in lines if re.match(r"\d  ", line)] == [
        "1  pulumi up (stack dev): everything, and no image yet",
        "2  git push: the first release",
        "3  git push: the next commit",
        "4  pulumi preview: what the pipeline released is not a change",
        "5  cpu: 256 -> 512 in Pulumi.dev.yaml, pulumi up: the settings change, the image stays",
        "6  a commit that does not start: the release fails with the reason, and is rolled back",
        "7  pulumi up (stack prod): it builds nothing, and takes what dev verified",
        "8  git push: mended, verified in dev, and after an approval a canary in prod",
    ]
    services = [re.sub(r"@sha256:.*", "@…", line).strip() for line in lines if "ECS: " in line]
    assert services == [
        "ECS: storefront-dev runs 0 of 0 tasks of storefront-dev-template:1 (cpu 256), image storefront-dev:unreleased",
        "ECS: storefront-dev runs 1 of 1 tasks of storefront-dev:1 (cpu 256), image storefront-dev@…",
        "ECS: storefront-dev runs 1 of 1 tasks of storefront-dev:2 (cpu 256), image storefront-dev@…",
        "ECS: storefront-dev runs 1 of 1 tasks of storefront-dev:3 (cpu 512), image storefront-dev@…",
        "ECS: storefront-dev runs 1 of 1 tasks of storefront-dev:3 (cpu 512), image storefront-dev@…",
        "ECS: storefront-prod runs 2 of 2 tasks of storefront-prod:1 (cpu 512), image storefront-dev@…",
        "ECS: storefront-prod runs 2 of 2 tasks of storefront-prod:2 (cpu 512), image storefront-dev@…",
    ]
    shares = [sorted(re.findall(r"\d+ %", line)) for line in lines if "traffic: " in line]
    assert shares == [["10 %", "90 %"], ["100 %"]]
    assert "  0 changes, 73 resources are the same" in lines
    marks = [tuple(line.split()[:2]) for line in lines if line.lstrip().startswith(("✓", "✗"))]
    good = [("✓", name) for name in ("Source", "Build", "Image", "Deploy")]
    prod = [("✓", name) for name in ("Source", "Inspect", "Approve", "Deploy")]
    assert marks == [*good, *good, *good[:-1], ("✗", "Deploy"), *prod, *good, *prod]
    assert checkout() == before
    assert list((folder / "home").iterdir()) == []
    assert none_left(environment[MARK]) == []


def test_the_demo_can_be_stopped_with_control_c(environment: dict[str, str], folder: Path) -> None:
    before = checkout()
    process = subprocess.Popen(
        [sys.executable, "-m", "standin.demo"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    for line in process.stdout:
        if "✓ Source" in line:
            break
    assert len(processes(environment[MARK])) > 2
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    rest = process.stdout.read()
    assert (process.wait(30), rest.splitlines()[-1]) == (130, "Stopped; nothing is left running.")
    assert none_left(environment[MARK]) == []
    assert checkout() == before
    assert [path.name for path in folder.iterdir() if path.name.startswith("slipway-")] == []
