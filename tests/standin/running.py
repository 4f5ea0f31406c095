"""Runs the command of a task in its image, for real: as a step of a build, since the builder is what is there.

A step has no read-only root file system, and gets neither network nor secrets. A command that does not end by itself is
stopped after a while with SIGTERM, as ECS stops a task.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from standin.api import Params
from standin.single_tasks import Outcome

LINE = re.compile(r"^#\d+ \d+\.\d+ (.*)$", re.M)
FAILED = re.compile(r"exit code: (\d+)")
SECONDS = 3
"""How long a command runs that does not end by itself."""


def run(definition: Params, environment: Mapping[str, str], endless: bool = False) -> Outcome:
    """How the first container of a task definition ends. `environment` is what `docker` needs.

    `endless` stops a command that is not expected to end.
    """
    container = definition["containerDefinitions"][0]
    command = [*container.get("entryPoint", []), *container.get("command", [])]
    return run_image(container["image"], command, container.get("environment", []), environment, endless)


def run_image(
    image: str, command: Sequence[str], variables: Sequence[Params], environment: Mapping[str, str], endless: bool
) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        stopped = ["timeout", "-s", "TERM", str(SECONDS)] if endless else []
        lines = [f"FROM {image}", *(f"ENV {each['name']}={json.dumps(each['value'])}" for each in variables)]
        lines.append(f"RUN --network=none {json.dumps([*stopped, *command])}")
        Path(folder, "Dockerfile").write_text("\n".join(lines) + "\n")
        build = ["docker", "buildx", "build", "--progress=plain", "--no-cache", "--output=type=cacheonly", folder]
        began = time.monotonic()
        done = subprocess.run(build, env={**os.environ, **environment}, capture_output=True, text=True)
        took = time.monotonic() - began
    logged = tuple(line for line in LINE.findall(done.stderr) if not line.startswith("ERROR"))
    if done.returncode == 0:
        return Outcome(exit=0, seconds=took, lines=logged)
    code = FAILED.search(done.stderr)
    if code is None:
        raise RuntimeError(f"{image} could not be run: {done.stderr[-2000:]}")
    return Outcome(exit=int(code[1]), seconds=took, lines=logged)
