"""The net holds: whatever of these mistakes is put back into the release function, some schedule finds it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from schedules.put_back import MISTAKES


@pytest.mark.long
@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.what)
def test_a_schedule_finds_that(mistake: object) -> None:
    # In a process of its own, since it imports a changed function.
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "schedules.put_back", mistake.what],  # type: ignore[attr-defined]
        capture_output=True,
        text=True,
        cwd="tests",
    )
    print(found.stdout)
    assert ": found by [" in found.stdout, found.stdout + found.stderr
