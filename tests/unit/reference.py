"""Writes docs/configuration.md from the fields, defaults and docstrings of what a stack file is read into.

`PYTHONPATH=tests python -m unit.reference` prints it; a test compares.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from typing import Any

from pydantic.alias_generators import to_camel
from slipway import settings

HEAD = """# Configuration

What a stack file, `Pulumi.<stack>.yaml`, can say under `slipway:`. All mistakes in it are told at once, before anything
is made. Values marked `secure:` are refused: a secret goes into Secrets Manager or Parameter Store, and
`service.secrets` refers to it.
(`make docs` writes this page from the code.)
"""
KINDS = {"int": "number", "str": "text", "bool": "true or false"}


def docstrings(kind: type) -> dict[str, str]:
    """What stands under each field of a class, and of the classes it extends."""
    found: dict[str, str] = {}
    for owner in reversed(kind.__mro__[:-1]):
        body = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, text in zip(body.body, body.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                assert isinstance(field.target, ast.Name)
                found[field.target.id] = " ".join(str(text.value.value).split())
    return found


def type_of(hint: Any) -> str:
    text = str(hint).replace(" | None", "")
    if text.startswith("Sequence"):
        return "list of texts"
    if text.startswith("Mapping"):
        return "map of texts"
    return KINDS.get(text, text)


def default_of(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        value = list(field.default) if isinstance(field.default, tuple) else field.default
        if value is None:
            return ""
        return f"`{str(value).lower() if isinstance(value, bool) else value}`"
    return "" if field.default_factory is not dataclasses.MISSING else "required"


def table(title: str, kind: type) -> list[str]:
    """A section for one part of the file, and for the parts inside it."""
    about = docstrings(kind)
    intro = " ".join((kind.__doc__ or "").split("\n\n")[0].split())
    rows = [f"## {title}", "", intro, ""]
    fields = dataclasses.fields(kind)
    if fields:
        rows += ["| key | type | default | |", "| --- | --- | --- | --- |"]
    inner = []
    for field in fields:
        if field.type == "Tasks":
            inner.append(table(f"{title}.tasks", settings.kind_at(["service", "tasks"])))
        rows.append(f"| `{to_camel(field.name)}` | {type_of(field.type)} | {default_of(field)} | {about[field.name]} |")
    return [*rows, ""] + [line for part in inner for line in part]


def page() -> str:
    parts = [HEAD]
    for name, kind in settings.fields_of(settings.StackFile).items():
        if settings.is_choice(kind):
            for key, one in settings.fields_of(kind).items():
                parts.append("\n".join(table(f"{name}.{key}", one)))
        elif name == "stages":
            parts.append("\n".join(stages()))
        else:
            parts.append("\n".join(table(name, kind)))
    return "\n".join(parts).rstrip() + "\n"


def stages() -> list[str]:
    """The list of deploy stages; there is one."""
    rolling = settings.kind_at(["stages", "strategy", "rolling"])
    return [
        "## stages",
        "",
        "A list of one deploy stage.",
        "",
        "| key | type | default | |",
        "| --- | --- | --- | --- |",
        "| `name` | text | the stack's name | What tags, reports and the service's name call the environment. |",
        "| `approval` | `{}` | | Wait for an approval before each release. |",
        "| `strategy` | `{rolling: …}` | `{rolling: {}}` | How tasks are replaced. |",
        "",
        *table("stages[].strategy.rolling", rolling),
    ]


if __name__ == "__main__":
    print(page(), end="")
