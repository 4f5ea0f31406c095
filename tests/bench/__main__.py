"""`make bench`: 1, 10 and 50 services of the components, and the same resources in plain pulumi_aws, side by side."""

from __future__ import annotations

import json
import subprocess
import sys
from statistics import median

RUNS = 5
SERVICES = (1, 10, 50)
LIMIT = 1.15
"""What the components may cost, as a multiple of the plain resources at 50 services."""


def measure(where: str, kind: str, services: int) -> dict[str, float]:
    command = [sys.executable, "-W", "ignore", "-m", "bench.once", where, kind, str(services)]
    result: dict[str, float] = json.loads(subprocess.check_output(command, text=True).splitlines()[-1])
    return result


def main(places: list[str]) -> int:
    failed = False
    for where in places:
        what = "CPU time of the program" if where == "mocks" else "time of `pulumi preview`"
        print(f"{where}: {what}, median of {RUNS}; component resources are counted")
        print("services  resources  components        plain pulumi_aws  ratio  memory, components and plain")
        per_resource = {}
        for services in SERVICES:
            # One after the other, so that what else the machine does is shared.
            runs = [(measure(where, "components", services), measure(where, "plain", services)) for _ in range(RUNS)]
            ours, others = (median(run[side]["seconds"] for run in runs) for side in (0, 1))
            memory, theirs = (median(run[side]["mib"] for run in runs) for side in (0, 1))
            count = runs[0][0]["resources"]
            per_resource[services] = ours / count
            print(
                f"{services:8}  {count:9.0f}  {1000 * ours / count:6.2f} ms each  {1000 * others / count:10.2f} ms each"
                f"  {ours / others:5.2f}  {memory:.0f} and {theirs:.0f} MiB",
                flush=True,
            )
        ratio = ours / others
        growth = per_resource[SERVICES[-1]] / per_resource[SERVICES[1]]
        print(
            f"ratio {ratio:.2f} at {SERVICES[-1]} services (goal: at most {LIMIT}); each resource "
            f"costs {growth:.2f} times as much as at {SERVICES[1]}\n"
        )
        failed |= ratio > LIMIT
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["mocks", "engine"]))
