"""The schedules reach every line of the release function, except those with a reason."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from schedules.lines import REASONS

LISTED = "import json; from schedules.lines import reached; print(json.dumps(reached()))"


@pytest.mark.long
def test_each_line_that_no_schedule_reaches_has_a_reason(record_property: Callable[[str, object], None]) -> None:
    # In a process of its own: the function is imported while its lines are counted.
    path = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", LISTED], env=path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    count, missed = json.loads(run.stdout.splitlines()[-1])
    record_property("lines", (count, sum(map(len, missed.values()))))
    assert sorted(missed) == sorted(function for functions in REASONS.values() for function in functions)
