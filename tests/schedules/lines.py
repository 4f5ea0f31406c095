"""Which lines of the release function the schedules reach, and why they do not reach the others.

`python -m schedules.lines` prints the lines that none reached; test_lines.py compares them with REASONS.
"""

from __future__ import annotations

import ast
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from inspect import signature
from pathlib import Path
from types import CodeType, ModuleType

FUNCTION = "slipway.release.function"
FOLDER = Path(__file__).parents[2] / "components" / "slipway" / "release" / "function"
NOT_OF_RELEASES = {"__init__", "clients", "notify", "partitions", "scan_gate"}
"""Modules of other functions, or that create clients, which the schedules replace."""
EVERY = 24
"""Only every n-th point of a play is used: the others reach the same lines."""

REASONS = {
    "the program calls it, not the function": ["contract.document", "contract.variables"],
    "rejects invalid archives, files, tables, ARNs and events, which do not occur here (unit tests)": [
        "codedeploy._target",
        "contract._decode_fields",
        "contract._decode_tuple",
        "contract._of_type",
        "contract.parse",
        "errors.advice",
        "handler.handler",
        "images.platforms",
        "images.require",
        "images.tag",
        "pipeline_job.image",
        "pipeline_job.image_uri",
        "pipeline_job.put",
        "pipeline_job.verify_with_codepipeline",
        "reconcile.describe",
        "reconcile.live_image",
        "state._state",
        "task_definitions.register",
        "task_definitions.released",
    ],
    "overridden for each strategy": [
        "reconcile._look",
        "reconcile.restart",
        "reconcile.live_task_definition",
        "reconcile.newest_created",
        "reconcile.newest_tasks",
        "reconcile.restart_failed",
        "reconcile.serving_since",
    ],
    "the pipeline here has no such action, and its tests no source (unit tests, journeys)": [
        "handler._inspect",
        "stage_tests.start",
    ],
    "a temporary or permanent error at a point where similar ones are tried (unit tests)": [
        "codedeploy._create",
        "errors.passes",
        "handler._prepare",
        "handler._with_jobs",
        "handler.act",
        "handler.restart_if_requested",
        "handler.settle",
        "jobs._align",
        "jobs.align",
        "migrations._start",
        "release._claimed",
        "release._tests",
        "release._who",
        "release.run",
        "stage_tests.look",
        "stage_tests.stop",
        "state.update",
        "state.write",
        "tags.align",
    ],
    "the history of a pipeline that was deleted, or is days old (unit tests)": [
        "pipeline_job._stage_standing",
        "pipeline_job._unlisted",
        "pipeline_job.standing",
    ],
    "a migration that nobody saw start or end, or that has a log or is started by hand (unit tests, journeys)": [
        "migrations._ended",
        "migrations._followed",
        "migrations._log",
        "migrations._started",
        "migrations._step",
        "migrations.look",
        "release._migrated",
    ],
    "a worker that scales, or that fails before it was ever verified (unit tests)": [
        "reconcile.look",
        "reconcile.remembered",
    ],
    "a capacity other than the launch type of Fargate (journeys)": ["ecs._moves"],
    "Service Connect (journeys)": ["ecs._connection", "task_definitions.port_names"],
    "an SDK that does not support a field, and responses with unknown fields (unit tests)": [
        "ecs._check_sdk",
        "ecs.unknown",
    ],
    "a pause that waits to be continued, and a restart that fails (journeys)": ["ecs.stage", "handler.restart"],
    "reached at the points that are left out here": ["handler._accept", "release._tested"],
    "a service that was changed by hand, or whose deployments ECS no longer lists (journeys)": [
        "ecs._is_attached_in",
        "ecs._look",
        "ecs._migrate",
        "ecs._newest_deployment",
        "ecs._serving_groups",
        "ecs._settle",
        "ecs.naming",
        "ecs.serves",
    ],
}
"""Functions with lines that the schedules do not reach, by the reason, with the tests that run them instead."""


class Marked(ast.NodeTransformer):
    """Each statement inside a function records that it ran. A Python tracer makes the schedules take three times as
    long, and its successor (sys.monitoring) needs Python 3.12."""

    def __init__(self, module: str) -> None:
        self.module, self.inside = module, 0

    def visit(self, node: ast.AST) -> ast.AST:
        deeper = isinstance(node, ast.FunctionDef)
        self.inside += deeper
        self.generic_visit(node)
        for name in ("body", "orelse", "finalbody") if self.inside else ():
            statements = getattr(node, name, None)
            if isinstance(statements, list):
                setattr(node, name, [each for s in statements for each in (*self._mark(s), s)])
        self.inside -= deeper
        return node

    def _mark(self, statement: ast.AST) -> list[ast.stmt]:
        if not isinstance(statement, ast.stmt) or is_docstring(statement):
            return []
        call = ast.parse(f"__reached__(({self.module!r}, {statement.lineno}))").body[0]
        return [ast.fix_missing_locations(ast.copy_location(call, statement))]


def is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


class Marking(MetaPathFinder):
    """Finds the modules of the function, and adds the marks."""

    def __init__(self) -> None:
        self.reached: set[tuple[str, int]] = set()

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        package, _, module = name.rpartition(".")
        if package != FUNCTION or module in NOT_OF_RELEASES:
            return None
        source = FOLDER / f"{module}.py"
        tree = ast.parse(source.read_text())
        Marked(module).visit(tree)
        code = compile(tree, str(source), "exec")
        return spec_from_loader(name, _Loader(code, self.reached), origin=str(source))


class _Loader(Loader):
    def __init__(self, code: CodeType, reached: set[tuple[str, int]]) -> None:
        self.code, self.reached = code, reached

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__reached__"] = self.reached.add
        exec(self.code, vars(module))


def statements(path: Path) -> set[int]:
    """The lines of the statements inside functions."""
    functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
    inside = [each for function in functions for each in ast.walk(function) if each is not function]
    return {each.lineno for each in inside if isinstance(each, ast.stmt) and not is_docstring(each)}


def reached() -> tuple[int, dict[str, list[str]]]:
    """The number of lines reached, and by module and function those that were not."""
    sys.meta_path.insert(0, marking := Marking())
    from schedules import kinds
    from schedules.shop import CANARY, CODEDEPLOY, MORE, ROLLING, STRATEGIES
    from standin import memory

    starts = [(ROLLING, "first"), (ROLLING, "later"), (CANARY, "later"), (CODEDEPLOY, "first"), (CODEDEPLOY, "later")]
    starts += [(each, "later") for each in MORE]
    with memory.installed():
        for name, kind in kinds.KINDS.items():
            for strategy, start in starts:
                if strategy not in kinds.ONLY.get(name, STRATEGIES) or (name in kinds.LATER_ONLY and start == "first"):
                    continue
                every = (EVERY,) if "every" in signature(kind).parameters else ()
                for failure in kind(strategy, start, *every):
                    raise AssertionError(failure)
    count, missed = 0, dict[str, list[str]]()
    for path in sorted(path for path in FOLDER.glob("*.py") if path.stem not in NOT_OF_RELEASES):
        lines = statements(path)
        missing = lines - {line for module, line in marking.reached if module == path.stem}
        count += len(lines - missing)
        for line in sorted(missing):
            missed.setdefault(f"{path.stem}.{function_of(path, line)}", []).append(text(path, line))
    return count, missed


def text(path: Path, line: int) -> str:
    return path.read_text().splitlines()[line - 1].strip()


def function_of(path: Path, line: int) -> str:
    """The name of the innermost function around a line."""
    around = [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.lineno <= line <= (node.end_lineno or line)
    ]
    return max(around, key=lambda node: node.lineno).name if around else "(module)"


if __name__ == "__main__":
    number, found = reached()
    print(f"{number} lines of the release function reached; not reached:")
    for function, lines in found.items():
        print("\n    ".join([function, *lines]))
