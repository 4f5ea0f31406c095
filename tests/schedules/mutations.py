"""Mutations of the release function, from earlier bugs and similar ones: some schedule must detect each.

`python -m schedules.mutations` prints which kind detects which; test_mutations.py asserts that all are detected.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from pathlib import Path
from types import CodeType, ModuleType

FUNCTION = "slipway.release.function"


@dataclass(frozen=True)
class Mutation:
    description: str
    module: str
    right: str
    """Text of the module that is replaced; it must occur exactly once."""
    wrong: str
    kind: str
    strategy: str
    start: str = "later"
    every: int = 4


MUTATIONS = [
    Mutation(
        "1.1 an image is still deployed after its release has ended with an error",
        "handler",
        "        if how is Standing.IN_PROGRESS:\n            return state\n        failed",
        "        if how is not None:\n            return state\n        failed",
        "interrupted release",
        "rolling",
    ),
    Mutation(
        "1.2 the first release crashes, and its tasks are not stopped",
        "reconcile",
        '        if service["desiredCount"]:\n            if state.claim is None:',
        '        if service["desiredCount"] < 0:\n            if state.claim is None:',
        "bad image",
        "rolling",
        "first",
    ),
    Mutation(
        "1.3 a deployment whose alarms are monitored for long is stopped at the deadline",
        "ecs",
        "settings.deadline_minutes + self._alarm_minutes(configuration)",
        "settings.deadline_minutes",
        "long alarm",
        "rolling",
    ),
    Mutation(
        "1.4 a change of strategy is one call, whatever the state",
        "ecs",
        "        if shifts == settings.shifts_traffic:\n",
        "        if True:\n",
        "change of strategy",
        "rolling",
    ),
    Mutation(
        "1.5 a role that cannot be used yet is an error",
        "errors",
        "def may_be_too_new(error: Exception) -> bool:\n",
        "def may_be_too_new(error: Exception) -> bool:\n    return False\n\n\ndef _right(error: Exception) -> bool:\n",
        "new role",
        "canary",
    ),
    Mutation(
        "1.6 an image is blamed for settings that fail during its tests",
        "release",
        "isinstance(progress, Broken) and progress.image_at_fault",
        "isinstance(progress, Broken)",
        "bad settings",
        "rolling",
        every=1,
    ),
    Mutation(
        "1.7 a stalled run deploys its image after a newer release has ended",
        "release",
        "        if self.processes.deployed:\n            self.function.settle()",
        "        if False:\n            self.function.settle()",
        "release after a stopped one",
        "rolling",
        every=1,
    ),
    Mutation(
        "1.8 an up during the first release considers the state lost",
        "reconcile",
        "            if state.claim is None:\n                live",
        "            if state.verified is None:\n                live",
        "bad image",
        "rolling",
        "first",
    ),
    Mutation(
        "writes are not conditional",
        "state",
        '"ConditionExpression": "version = :before",',
        '"ConditionExpression": "version = :before OR attribute_exists(version)",',
        "up during a release",
        "rolling",
        every=1,
    ),
    Mutation(
        "tags are not updated",
        "tags",
        "            wanted = self.of(state)\n            try:",
        "            wanted = {}\n            try:",
        "interrupted release",
        "rolling",
    ),
    Mutation(
        "an image is verified without checking that its action is still in progress",
        "release",
        'is Standing.ENDED:\n            return Look(Seen.ENDED, "its action was stopped")',
        'is None:\n            return Look(Seen.ENDED, "its action was stopped")',
        "stopped release",
        "rolling",
        every=1,
    ),
    Mutation(
        "tests that wait for CodeBuild's quota have failed",
        "stage_tests",
        '                Outcome.RUNNING, "the tests wait',
        '                Outcome.FAILED, "the tests wait',
        "quota of builds",
        "rolling",
    ),
    Mutation(
        "the digest of a platform is considered another image",
        "ecs",
        "and not digests <= self.images.platforms(image.digest)",
        "",
        "image index",
        "rolling",
    ),
    Mutation(
        "the tags of a failed release are not updated",
        "release",
        "        problems = self.function.align(state)\n        if claim.phase is Phase.FAILED:\n",
        "        problems: list[str] = []\n        if claim.phase is Phase.FAILED:\n",
        "bad image",
        "rolling",
    ),
    Mutation(
        "a restored table is trusted",
        "handler",
        "            after = self.adopt(after) or after\n",
        "",
        "lost state",
        "rolling",
    ),
    Mutation(
        "an up during a release deploys its image before the pipeline's CodeDeploy action",
        "handler",
        "        if claim is not None and claim.stage:\n",
        "        if False:\n",
        "bad image",
        "CodeDeploy",
        "first",
        every=12,
    ),
    Mutation(
        "with CodeDeploy, running tasks count as healthy",
        "codedeploy",
        'primary["stabilityStatus"] != "STEADY_STATE"',
        "False",
        "bad image",
        "CodeDeploy",
        "first",
        every=12,
    ),
]


class Changed(MetaPathFinder):
    """Finds the modules of the function, one of them mutated."""

    def __init__(self, mutation: Mutation) -> None:
        self.mutation = mutation

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name != f"{FUNCTION}.{self.mutation.module}":
            return None
        [folder] = sys.modules[FUNCTION].__path__
        source = Path(folder, f"{self.mutation.module}.py")
        text = source.read_text()
        assert text.count(self.mutation.right) == 1, (
            f"{self.mutation.description}: {text.count(self.mutation.right)} places"
        )
        code = compile(text.replace(self.mutation.right, self.mutation.wrong), str(source), "exec")
        return spec_from_loader(name, _Loader(code), origin=str(source))


class _Loader(Loader):
    def __init__(self, code: CodeType) -> None:
        self.code = code

    def exec_module(self, module: ModuleType) -> None:
        exec(self.code, vars(module))


@contextmanager
def mutated(mutation: Mutation) -> Iterator[ModuleType]:
    """The schedules' own `kinds`, importing a copy of the function with the mutation."""
    from importlib import import_module

    mine = [n for n in sys.modules if n.startswith(f"{FUNCTION}.") or n.split(".")[0] == "schedules" and n != __name__]
    before = {name: sys.modules.pop(name) for name in mine if name != "schedules"}
    _forget()
    finder = Changed(mutation)
    sys.meta_path.insert(0, finder)
    try:
        kinds = import_module("schedules.kinds")
        from standin import memory

        with memory.installed():
            yield kinds
    finally:
        sys.meta_path.remove(finder)
        for name in [n for n in sys.modules if n in before or n.startswith(f"{FUNCTION}.")]:
            del sys.modules[name]
        for name in [n for n in sys.modules if n.startswith("schedules.") and n != __name__]:
            del sys.modules[name]
        _forget()
        sys.modules.update(before)
        for name, module in before.items():
            setattr(sys.modules[name.rpartition(".")[0]], name.rpartition(".")[2], module)


def _forget() -> None:
    """`from package import module` uses the attributes that the package still has."""
    for name in ("schedules", FUNCTION):
        package = sys.modules.get(name)
        for child in [n for n, each in vars(package).items() if isinstance(each, ModuleType)] if package else []:
            delattr(package, child)


def detected_by(mutation: Mutation) -> str:
    """The first schedule that detects a mutation; empty if none does."""
    with mutated(mutation) as kinds:
        from inspect import signature

        kind = kinds.KINDS[mutation.kind]
        every = (mutation.every,) if "every" in signature(kind).parameters else ()
        try:
            failure = next(iter(kind(mutation.strategy, mutation.start, *every)), None)
        except Exception as e:  # a schedule that cannot even be prepared
            return f"{mutation.kind}, {mutation.strategy}: {type(e).__name__}: {e}"
        return str(failure) if failure else ""


if __name__ == "__main__":
    for each in MUTATIONS:
        if len(sys.argv) < 2 or sys.argv[1] in each.description:
            print(f"{each.description}: detected by {detected_by(each).splitlines() or 'NO SCHEDULE'}", flush=True)
