"""Writes the parts of docs/architecture.md that come from the code and from the tests marked with a rule.

`PYTHONPATH=tests python -m unit.architecture` writes the page; a test compares it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from slipway.release.function.contract import Phase
from slipway.release.function.release import TRANSITIONS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "architecture.md"
RULES = {
    "R1": "After a release by the pipeline, `pulumi preview` shows no change, with `--refresh` and without.",
    "R2": """A change of settings reaches the service in the same `pulumi up`, with the image that is live; `up` fails,
        with ECS's reason, if the new tasks do not come up.""",
    "R3": "A release runs with the newest settings; if it is these that fail, the message says so.",
    "R4": """A release that ECS rolled back, or whose tests failed, has failed in the pipeline within about a minute,
        with the reason. What counts is the digest that runs.""",
    "R5": "A release that fails after it went live is rolled back automatically, once, to the last verified image.",
    "R6": "Any digest that is still in the registry can be released again without a build, and promoted unchanged.",
    "R7": "No lifecycle rule and no change of settings can delete an image that is live or was verified last.",
    "R8": "The first `pulumi up` succeeds with zero tasks; a first release that fails leaves zero tasks.",
    "R9": """Whatever happens during a release (a change of settings, another release, a retry, an interruption), the
        result is the newest image with the newest settings, or a clear error, never an older image.""",
    "R10": "An image whose release did not succeed goes live only with a new release.",
}


def phases() -> str:
    """The table of phases and transitions, from the code."""
    rows = ["| phase | observation | next phase |", "| --- | --- | --- |"]
    rows += [f"| {phase} | {seen} | {to} |" for (phase, seen), to in TRANSITIONS.items()]
    final = [phase for phase in Phase if phase not in {start for start, _ in TRANSITIONS}]
    return "\n".join([*rows, "", f"{' and '.join(final).capitalize()} are final."])


def rules() -> str:
    proofs = sorted(marked(), key=lambda proof: proof[1:])
    rows = ["| rule | | proved by |", "| --- | --- | --- |"]
    for rule, text in RULES.items():
        tests = [f"[{name}](../{path.relative_to(ROOT)})" for of, path, name in proofs if of == rule]
        rows.append(f"| {rule} | {' '.join(text.split())} | {', '.join(tests)} |")
    return "\n".join(rows)


def marked() -> Iterator[tuple[str, Path, str]]:
    """Rule, file and name in words of each test that is marked with a rule."""
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                words = node.name.removeprefix("test_").replace("_", " ")
                for decorator in node.decorator_list:
                    yield from ((rule, path, words) for rule in rules_of(decorator))


def rules_of(decorator: ast.expr) -> list[str]:
    if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.rule":
        return [str(ast.literal_eval(argument)) for argument in decorator.args]
    return []


def page() -> str:
    text = PAGE.read_text()
    for name, made in (("phases", phases()), ("rules", rules())):
        start, end = f"<!-- made by `make docs`: {name} -->\n", "\n<!-- end -->"
        before, _, rest = text.partition(start)
        text = before + start + made + end + rest.partition(end.strip())[2]
    return text


if __name__ == "__main__":
    PAGE.write_text(page())
