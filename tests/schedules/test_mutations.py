"""The schedules detect each of these mutations of the release function."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from schedules.mutations import MUTATIONS, Mutation


@pytest.mark.long
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.description)
def test_a_schedule_detects(mutation: Mutation) -> None:
    # In a process of its own, because it imports a mutated function.
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "schedules.mutations", mutation.description],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    print(found.stdout)
    assert ": detected by [" in found.stdout, found.stdout + found.stderr
