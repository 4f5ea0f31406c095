"""One measurement in a process of its own: `python -m bench.once <mocks | engine> <components | plain> <services>`."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

from slipway.testing import Mocks, Recorder
from standin import tools
from standin.world import World, stack_file
from unit.harness import recorder, run_with

from bench.programs import Registration, components, plain


class Ordered(Recorder):
    """Keeps what mocks answered, and what a resource depends on beside what its inputs say."""

    def __init__(self) -> None:
        super().__init__(Mocks(), "storefront", "dev")
        self.depends: dict[str, list[str]] = {}

    def RegisterResource(self, request: Any) -> Any:
        response = super().RegisterResource(request)
        read = {urn for of in request.propertyDependencies.values() for urn in of.urns}
        self.depends[response.urn] = [urn for urn in request.dependencies if urn not in read]
        return response


def recorded(services: int) -> list[Registration]:
    monitor = Ordered()
    run_with(monitor, lambda: components(services), {}, [])
    found = []
    for urn, made in monitor.recorded.items():
        answer = monitor.resources.get(urn)
        outputs = {"id": answer.id, **answer.state} if answer else {}
        found.append(Registration(made, outputs, monitor.depends[urn]))
    return found


def main(where: str, kind: str, services: int) -> None:
    # For both: what is imported late, and what caches hold, is no cost of a resource.
    registrations = recorded(services)
    program = (lambda: components(services)) if kind == "components" else plain(registrations)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = {"mocks": on_mocks, "engine": on_engine}[where](program)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"resources": len(registrations), "seconds": seconds, "mib": (after - before) / 1024}))


def on_mocks(program: Callable[[], None]) -> float:
    """CPU seconds of the program."""
    began = time.process_time()
    run_with(recorder("dev"), program, {}, [])
    return time.process_time() - began


def on_engine(program: Callable[[], None]) -> float:
    """Seconds that the real engine's preview of an empty stack takes, with the program in this process."""
    with World("registry.invalid", {}, tools.engine()) as account:
        workspace = account.workspace("dev", dict.fromkeys(stack_file("dev")))
        workspace.program = program
        began = time.monotonic()
        workspace.preview()
        return time.monotonic() - began


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
