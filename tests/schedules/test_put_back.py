"""The net holds: whatever of these mistakes is put back into the release function, some schedule finds it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from schedules.put_back import MISTAKES, Mistake


@pytest.mark.long
@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.what)
def test_a_schedule_finds_that(mistake: Mistake) -> None:
    # In a process of its own, since it imports a changed function.
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "schedules.put_back", mistake.what],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    print(found.stdout)
    assert ": found by [" in found.stdout, found.stdout + found.stderr
