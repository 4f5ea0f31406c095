"""Mistakes of earlier versions, and others like them, put into a copy of the release function one at a time: some
schedule must find each.

`python -m schedules.put_back` prints which kind finds what; test_put_back.py asserts it.
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
class Mistake:
    what: str
    module: str
    right: str
    """Text of the module that is replaced: it must be there once."""
    wrong: str
    kind: str
    strategy: str
    start: str = "later"
    every: int = 4


MISTAKES = [
    Mistake(
        "1.1 an image stays wanted after its release ended with an error",
        "handler",
        "        if how is Standing.IN_PROGRESS:\n            return state\n        failed",
        "        if how is not None:\n            return state\n        failed",
        "release cut",
        "rolling",
    ),
    Mistake(
        "1.2 the first release crashes, and its tasks are not taken away",
        "reconcile",
        '        if service["desiredCount"]:\n            if state.claim is None:',
        '        if service["desiredCount"] < 0:\n            if state.claim is None:',
        "bad image",
        "rolling",
        "first",
    ),
    Mistake(
        "1.3 a deployment whose alarms are watched for long is stopped at the deadline",
        "ecs",
        "settings.deadline_minutes + self._alarm_minutes(configuration)",
        "settings.deadline_minutes",
        "long alarm",
        "rolling",
    ),
    Mistake(
        "1.4 a change of strategy is one call at any time",
        "ecs",
        "        if shifts == settings.shifts_traffic:\n",
        "        if True:\n",
        "change of strategy",
        "rolling",
    ),
    Mistake(
        "1.5 a role that cannot be used yet is an error",
        "errors",
        "def may_be_too_new(error: Exception) -> bool:\n",
        "def may_be_too_new(error: Exception) -> bool:\n    return False\n\n\ndef _right(error: Exception) -> bool:\n",
        "new role",
        "canary",
    ),
    Mistake(
        "1.6 settings that fail while an image is tested are blamed on it",
        "release",
        "isinstance(progress, Broken) and progress.image_at_fault",
        "isinstance(progress, Broken)",
        "bad settings",
        "rolling",
        every=1,
    ),
    Mistake(
        "1.7 a run that stalled sends its image after a newer release has ended",
        "release",
        "        if self.service.deployed:\n            self.function.settle()",
        "        if False:\n            self.function.settle()",
        "release after a stopped one",
        "rolling",
        every=1,
    ),
    Mistake(
        "1.8 an up beside the first release takes the state to be lost",
        "reconcile",
        "            if state.claim is None:\n                live",
        "            if state.verified is None:\n                live",
        "bad image",
        "rolling",
        "first",
    ),
    Mistake(
        "writes are not conditional",
        "state",
        '"ConditionExpression": "version = :before",',
        '"ConditionExpression": "version = :before OR attribute_exists(version)",',
        "up in release",
        "rolling",
        every=1,
    ),
    Mistake(
        "tags are not brought in line",
        "tags",
        "            wanted = self.of(state)\n            try:",
        "            wanted = {}\n            try:",
        "release cut",
        "rolling",
    ),
    Mistake(
        "nobody looks whether the action goes on before its image is verified",
        "release",
        "if standing(self.function.codepipeline, claim)[0] is Standing.ENDED:",
        "if False:",
        "stopped release",
        "rolling",
        every=1,
    ),
    Mistake(
        "tests that wait for CodeBuild's quota have failed",
        "stage_tests",
        '                Outcome.RUNNING, "the tests wait',
        '                Outcome.FAILED, "the tests wait',
        "quota of builds",
        "rolling",
    ),
    Mistake(
        "the digest of a platform is taken for another image",
        "ecs",
        "and not digests <= self.images.platforms(image.digest)",
        "",
        "index",
        "rolling",
    ),
    Mistake(
        "the tags of a release that failed stay",
        "release",
        "        problems = self.function.tags.align(state)\n        if claim.phase is Phase.FAILED:\n",
        "        problems: list[str] = []\n        if claim.phase is Phase.FAILED:\n",
        "bad image",
        "rolling",
    ),
    Mistake(
        "a table that was restored is believed",
        "handler",
        "            after = self.adopt(after) or after\n",
        "",
        "lost state",
        "rolling",
    ),
    Mistake(
        "an up beside a release deploys its image before CodeDeploy's action of the pipeline does",
        "handler",
        "        if claim is not None and claim.stage:\n",
        "        if False:\n",
        "bad image",
        "CodeDeploy",
        "first",
        every=12,
    ),
    Mistake(
        "with CodeDeploy, tasks that run are healthy",
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
    """Finds the modules of the function, one of them with a mistake."""

    def __init__(self, mistake: Mistake) -> None:
        self.mistake = mistake

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name != f"{FUNCTION}.{self.mistake.module}":
            return None
        [folder] = sys.modules[FUNCTION].__path__
        source = Path(folder, f"{self.mistake.module}.py")
        text = source.read_text()
        assert text.count(self.mistake.right) == 1, f"{self.mistake.what}: {text.count(self.mistake.right)} places"
        code = compile(text.replace(self.mistake.right, self.mistake.wrong), str(source), "exec")
        return spec_from_loader(name, _Loader(code), origin=str(source))


class _Loader(Loader):
    def __init__(self, code: CodeType) -> None:
        self.code = code

    def exec_module(self, module: ModuleType) -> None:
        exec(self.code, vars(module))


@contextmanager
def put_back(mistake: Mistake) -> Iterator[ModuleType]:
    """The schedules' own `kinds`, over a copy of the function with the mistake."""
    from importlib import import_module

    mine = [n for n in sys.modules if n.startswith(f"{FUNCTION}.") or n.split(".")[0] == "schedules" and n != __name__]
    before = {name: sys.modules.pop(name) for name in mine if name != "schedules"}
    _forget()
    finder = Changed(mistake)
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
    """`from package import module` takes what the package still has."""
    for name in ("schedules", FUNCTION):
        package = sys.modules.get(name)
        for child in [n for n, each in vars(package).items() if isinstance(each, ModuleType)] if package else []:
            delattr(package, child)


def found_by(mistake: Mistake) -> str:
    """The first schedule that finds a mistake; nothing if none does."""
    with put_back(mistake) as kinds:
        from inspect import signature

        kind = kinds.KINDS[mistake.kind]
        every = (mistake.every,) if "every" in signature(kind).parameters else ()
        try:
            failure = next(iter(kind(mistake.strategy, mistake.start, *every)), None)
        except Exception as e:  # a schedule that cannot even be prepared
            return f"{mistake.kind}, {mistake.strategy}: {type(e).__name__}: {e}"
        return str(failure) if failure else ""


if __name__ == "__main__":
    for each in MISTAKES:
        if len(sys.argv) < 2 or sys.argv[1] in each.what:
            print(f"{each.what}: found by {found_by(each).splitlines() or 'NO SCHEDULE'}", flush=True)
