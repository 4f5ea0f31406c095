"""Writes docs/configuration.md from the fields, defaults and docstrings of the classes for a stack file.

`PYTHONPATH=tests python -m unit.reference` prints it; a test compares it.
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
from typing import Annotated, Any, get_args, get_origin

from slipway._constraints import Must, hints
from slipway.config import schema
from slipway.config.cluster import NewCluster
from slipway.config.errors import as_written
from slipway.config.network import NewNetwork
from slipway.strategies import Rolling

HEAD = """# Configuration

The keys of a stack file, `Pulumi.<stack>.yaml`, under `slipway:`. All mistakes in the file are reported at once, before
anything is created. Values marked `secure:` are refused: store a secret in Secrets Manager or Parameter Store, and
refer to it in `service.secrets`.

In paths, `[]` stands for each entry of a list or a map. A default of "none" means that the feature is off without the
key, or that it has the default in its text. A key without a value (`approval:`) is an error: write `{}` for the
defaults of a section. Write `false` to turn off a key whose type includes "or false" or whose default is "none", such
as `port: false` for a worker.

A stage's `service` and `loadBalancer` are merged over those of the file, key by key, also inside sections such as
`tasks` or a process. To a map such as `environment`, a stage adds entries; it replaces those of the same name, and
removes those that are `false` (`environment: {LOG_LEVEL: false}`). Lists, and sections with one of several keys such as
`capacity`, are replaced as a whole.

An editor with a YAML language server completes the keys if the file begins with
`# yaml-language-server: $schema=docs/stack-file.schema.json` ([the schema](stack-file.schema.json)).

Pulumi reads the file as YAML 1.2: `on` and `yes` are strings, `010` is the number 8, and a key can appear only once.
(`make docs` generates this page from the code.)
"""
PLAIN = {
    int: "number",
    float: "number",
    str: "string",
    bool: "true or false",
    datetime.date: "day, such as 2026-12-31",
}


class Page:
    """The sections of the page; each kind of part has one, which other sections refer to."""

    def __init__(self) -> None:
        self.sections: list[str] = []
        # Keys of a stage that the file has too are documented at the file's key.
        forms = {
            key: schema.shape(hints(schema.StackFile)[name]) for key, name in schema.keys(schema.StackFile).items()
        }
        self.titles: dict[Any, str] = {form.part: key for key, form in forms.items() if form.part is not None}
        self.written: set[Any] = set()

    def part(self, title: str, kind: type, about: str = "") -> None:
        """The section of a part of the file, and those of all parts inside it."""
        self.titles.setdefault(kind, title.removesuffix("[]"))
        if kind in self.written or self.titles[kind] != title.removesuffix("[]"):
            return
        self.written.add(kind)
        own = prose(kind.__doc__ or "")
        # For a component's own arguments, the class says only that.
        internal = own.startswith(("Arguments of ", "Settings of ")) or kind is schema.Stage
        self.fields(title, kind, about if internal else own)

    def choice(self, title: str, kinds: Mapping[str, type], about: str) -> None:
        lines = [f"## {title}", "", f"{about} Set exactly one of:".strip(), ""]
        for key, one in kinds.items():
            # Each kind has one section, also if several fields can have it.
            where = self.titles.setdefault(one, f"{title}.{key}")
            lines.append(f"- [`{key}`]({anchor(where)}): {summary(one)}")
        self.sections.append("\n".join([*lines, ""]))
        for key, one in kinds.items():
            self.part(f"{title}.{key}", one)

    def fields(self, title: str, kind: type, about: str) -> None:
        texts = docstrings(kind)
        place = len(self.sections)
        self.sections.append("")
        rows = []
        for key, name in schema.keys(kind).items():
            form, inner = schema.shape(hints(kind)[name]), f"{title}.{key}".removeprefix(".")
            if form.choice is not None:
                self.choice(inner, form.choice, texts[name])
            elif form.part is not None:
                self.part(f"{inner}{'[]' if form.listed or form.named else ''}", form.part, texts[name])
            of_the_file = kind is schema.Stage and name in schema.STAGES_OWN
            default = "as in the file" if of_the_file else default_of(kind, name)
            off = " or false" if form.optional and default != "none" else ""
            rows.append(f"| `{key}` | {self.type_of(form, inner)}{off} | {default} | {cell(texts[name])} |")
        head = [f"## {title}", "", about, ""] if title else []
        self.sections[place] = "\n".join([*head, "| key | type | default | |", "| --- | --- | --- | --- |", *rows, ""])

    def type_of(self, form: schema.Shape, title: str) -> str:
        if form.choice is not None:
            return f"[{title.rpartition('.')[2]}]({anchor(title)})"
        if form.part is None:
            return limited(form.hint)
        name = re.sub(r"(Settings|Args)$", "", form.part.__name__)
        link = f"[{name[0].lower()}{name[1:]}]({anchor(self.titles[form.part])})"
        return f"list of {link}" if form.listed else f"map of {link}" if form.named else link


def limited(hint: Any) -> str:
    """The type of a plain value, with the range and the choices of its constraints."""
    if get_origin(hint) is Annotated:
        inner, *marks = get_args(hint)
        limits = [limit(mark.schema) for mark in marks if isinstance(mark, Must)]
        return ", ".join([limited(inner), *filter(None, limits)])
    if get_origin(hint) in (types.UnionType, typing.Union):
        return limited(next(kind for kind in get_args(hint) if kind is not types.NoneType))
    if get_origin(hint) is Sequence:
        item = limited(get_args(hint)[0])
        plural = item.replace("number", "numbers", 1).replace("string", "strings", 1)
        return "list of " + plural.replace("strings, at most", "strings of at most")
    if get_origin(hint) is Mapping:
        return "map of strings"
    return PLAIN[hint]


def limit(rule: Mapping[str, Any]) -> str:
    """The JSON Schema of a value, if it is short."""
    if "enum" in rule:
        return "one of " + ", ".join(f"`{json.dumps(each).strip(chr(34))}`" for each in rule["enum"])
    words = {"minimum": "at least {}", "maximum": "at most {}", "maxLength": "at most {} characters"}
    words |= {"minItems": "at least {} entries", "maxItems": "at most {} entries"}
    if {"minimum", "maximum"} <= rule.keys():
        return f"{rule['minimum']} to {rule['maximum']}"
    limits = ", ".join(words[key].format(value) for key, value in rule.items() if key in words)
    return limits.replace("at least 1 entries", "at least 1 entry")


def default_of(kind: type, name: str) -> str:
    """The value of a field that the file does not have."""
    [field] = [field for field in dataclasses.fields(kind) if field.name == name]
    if field.default_factory is not dataclasses.MISSING:
        return shown(field.default_factory())
    return "required" if field.default is dataclasses.MISSING else shown(field.default)


CHOSEN = {Rolling: "`{rolling: {}}`", NewNetwork: "`{new: {}}`", NewCluster: "`{new: {}}`"}


def shown(default: Any) -> str:
    if type(default) in CHOSEN:
        return CHOSEN[type(default)]
    if dataclasses.is_dataclass(default):
        return "defaults"
    if isinstance(default, list | tuple) and default and dataclasses.is_dataclass(default[0]):
        return "`[{}]`"
    if default is None or default in ((), [], {}):
        return "none"
    if isinstance(default, str):
        return f"`{default}`"
    return f"`{json.dumps(list(default) if isinstance(default, tuple) else default)}`"


def docstrings(kind: type) -> dict[str, str]:
    """The docstrings under the fields of a class, and of its base classes."""
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
    """A docstring as it reads on the page: names as in a stack file, and AWS's pages as links."""
    text = " ".join(text.split())
    text = re.sub(r"`[^`]*`", lambda m: as_written(m[0]), text)
    text = re.sub(r"\b(BlueGreen|Canary|Linear)\b", lambda m: f"`{m[0][0].lower()}{m[0][1:]}`", text)
    return re.sub(r"(?<![\w(/])https://docs\.aws\.amazon\.com/\S+", lambda m: f"([AWS]({m[0]}))", text)


def summary(kind: Any) -> str:
    """The first paragraph of a class's docstring."""
    return prose((kind.__doc__ or "").split("\n\n")[0])


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def anchor(title: str) -> str:
    """The anchor of a heading, as GitHub generates it."""
    return "#" + re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


@cache
def page() -> str:
    made = Page()
    made.part("", schema.StackFile)
    return "\n".join([HEAD, *made.sections]).rstrip() + "\n"


if __name__ == "__main__":
    print(page(), end="")
