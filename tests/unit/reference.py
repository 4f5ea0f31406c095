"""Writes docs/configuration.md from the fields, defaults and docstrings of what a stack file is read into.

`PYTHONPATH=tests python -m unit.reference` prints it; a test compares.
"""

from __future__ import annotations

import ast
import dataclasses
import datetime
import inspect
import json
import re
import textwrap
import types
import typing
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from pydantic.alias_generators import to_camel
from pydantic_core import PydanticUndefined
from slipway.config import schema

HEAD = """# Configuration

What a stack file, `Pulumi.<stack>.yaml`, can say under `slipway:`. All mistakes in it are told at once, before anything
is made. Values marked `secure:` are refused: a secret goes into Secrets Manager or Parameter Store, and
`service.secrets` refers to it.

In paths, `[]` stands for each entry of a list. A default of "none" means that without the key there is none of it.
(`make docs` writes this page from the code.)
"""
PLAIN = {int: "number", float: "number", str: "text", bool: "true or false", datetime.date: "day, such as 2026-12-31"}
WITHOUT = {"build", "registry"}
"""Parts that have their defaults also where the file does not say them."""


class Page:
    """The sections of the page; each kind of part has one, and is referred to from wherever else it can stand."""

    def __init__(self) -> None:
        self.sections: list[str] = []
        # What a stage says anew is that of the file.
        self.titles = {kind: key for key, kind in schema.fields_of(schema.StackFile).items()}
        self.written: set[Any] = set()

    def part(self, title: str, kind: Any, about: str = "") -> None:
        """The section of a part of the file, or of each of the kinds that it can be, with those of all inside it."""
        self.titles.setdefault(kind, title.removesuffix("[]"))
        if schema.is_choice(kind):
            self.choice(title, kind, about)
        elif kind not in self.written and self.titles[kind] == title.removesuffix("[]"):
            self.written.add(kind)
            own = prose(kind.__doc__ or "")
            # Of what a component takes too, the class says only that.
            internal = own.startswith(("Arguments of ", "Settings of ")) or kind is schema.Stage
            self.fields(title, kind, about if internal else own)

    def choice(self, title: str, kind: Any, about: str) -> None:
        kinds = schema.fields_of(kind)
        lines = [f"## {title}", "", f"{about} It is exactly one of:".strip(), ""]
        for key, one in kinds.items():
            lines.append(f"- [`{key}`]({anchor(f'{title}.{key}')}): {summary(one)}")
        self.sections.append("\n".join([*lines, ""]))
        for key, one in kinds.items():
            self.part(f"{title}.{key}", one)

    def fields(self, title: str, kind: Any, about: str) -> None:
        texts, hints = docstrings(kind), schema.types_of(kind)
        place = len(self.sections)
        self.sections.append("")
        rows = []
        for name, default in defaults(kind).items():
            inner, key = schema.bare(hints[name]), to_camel(name)
            listed = is_list(hints[name])
            if is_part(inner):
                self.part(f"{title}.{key}{'[]' if listed else ''}".removeprefix("."), inner, texts[name])
            null = " or null" if type(None) in typing.get_args(hints[name]) and default != "none" else ""
            null = "" if name in WITHOUT else null
            rows.append(f"| `{key}` | {self.type_of(hints[name])}{null} | {default} | {cell(texts[name])} |")
        head = [f"## {title}", "", about, ""] if title else []
        self.sections[place] = "\n".join([*head, "| key | type | default | |", "| --- | --- | --- | --- |", *rows, ""])

    def type_of(self, hint: Any) -> str:
        if typing.get_origin(hint) is typing.Annotated:
            return self.type_of(typing.get_args(hint)[0])
        kinds = [kind for kind in typing.get_args(hint) if kind is not type(None)]
        if typing.get_origin(hint) in (types.UnionType, typing.Union):
            return self.type_of(kinds[0])
        if typing.get_origin(hint) in (Sequence, list):
            return f"list of {self.type_of(kinds[0])}{'' if is_part(kinds[0]) else 's'}"
        if typing.get_origin(hint) is Mapping:
            return "map of texts"
        if is_part(hint):
            name = re.sub(r"(Settings|Args|Choice)$", "", hint.__name__)
            return f"[{name[0].lower()}{name[1:]}]({anchor(self.titles[hint])})"
        return PLAIN[hint]


def is_list(hint: Any) -> bool:
    inner = typing.get_args(hint)[0] if typing.get_origin(hint) is typing.Annotated else hint
    return typing.get_origin(inner) in (Sequence, list)


def is_part(kind: Any) -> bool:
    return dataclasses.is_dataclass(kind) or (isinstance(kind, type) and issubclass(kind, schema.Section))


def defaults(kind: Any) -> dict[str, str]:
    """What each field of a part is where the file does not say it."""
    if dataclasses.is_dataclass(kind):
        return {field.name: of_field(field) for field in dataclasses.fields(kind)}
    return {name: shown(field.default, name) for name, field in kind.model_fields.items()}


def of_field(field: dataclasses.Field[Any]) -> str:
    if field.default_factory is not dataclasses.MISSING:
        return shown(field.default_factory(), field.name)
    return shown(PydanticUndefined if field.default is dataclasses.MISSING else field.default, field.name)


def shown(default: Any, name: str) -> str:
    if default is PydanticUndefined:
        return "required"
    if isinstance(default, schema.Choice):
        [key] = [to_camel(key) for key, value in default if value is not None]
        return f"`{{{key}: {{}}}}`"
    if dataclasses.is_dataclass(default) or name in WITHOUT:
        return "its defaults"
    if isinstance(default, list) and default:
        return "`[{}]`"
    if default is None or default in ((), [], {}):
        return "none"
    if isinstance(default, str):
        return f"`{default}`"
    return f"`{json.dumps(list(default) if isinstance(default, tuple) else default)}`"


def docstrings(kind: type) -> dict[str, str]:
    """What stands under each field of a class, and of the classes it extends."""
    found: dict[str, str] = {}
    for owner in reversed(kind.__mro__[:-1]):
        if not owner.__module__.startswith("slipway"):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, text in zip(body.body, body.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                assert isinstance(field.target, ast.Name)
                found[field.target.id] = prose(str(text.value.value))
    return found


def prose(text: str) -> str:
    """A docstring as it reads on the page: names as a stack file has them, and AWS's pages as links."""
    text = " ".join(text.split())
    text = re.sub(r"`[^`]*`", lambda m: schema.as_written(m[0]), text)
    text = re.sub(r"\b(BlueGreen|Canary|Linear)\b", lambda m: f"`{m[0][0].lower()}{m[0][1:]}`", text)
    return re.sub(r"(?<![\w(/])https://docs\.aws\.amazon\.com/\S+", lambda m: f"([AWS]({m[0]}))", text)


def summary(kind: Any) -> str:
    """The first paragraph of what a kind is."""
    return prose((kind.__doc__ or "").split("\n\n")[0])


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def anchor(title: str) -> str:
    """Where a heading is, as GitHub makes it."""
    return "#" + re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


@cache
def page() -> str:
    made = Page()
    made.part("", schema.StackFile)
    return "\n".join([HEAD, *made.sections]).rstrip() + "\n"


if __name__ == "__main__":
    print(page(), end="")
