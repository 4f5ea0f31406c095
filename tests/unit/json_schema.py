"""Writes docs/stack-file.schema.json, with which editors complete stack files, from the types and constraints in code.

`PYTHONPATH=tests python -m unit.json_schema` prints it; a test compares it. It rejects nothing that the program
accepts; rules between fields, and what JSON Schema cannot express, are left to the program.
"""

from __future__ import annotations

import datetime
import json
import types
import typing
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any, get_args, get_origin

from slipway._constraints import Must, hints
from slipway.config import schema
from unit.reference import docstrings, prose

PLAIN: dict[Any, dict[str, Any]] = {
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    bool: {"type": "boolean"},
    datetime.date: {"type": "string", "format": "date"},
}
OFF = {"const": False}


class Definitions:
    def __init__(self) -> None:
        self.made: dict[str, Any] = {}

    def part(self, kind: type, of_a_stage: bool = False) -> dict[str, Any]:
        """A reference to the keys of a part. In a stage's, no key is required and `false` removes an entry of a map."""
        name = f"{kind.__name__}OfAStage" if of_a_stage else kind.__name__
        if name not in self.made:
            self.made[name] = {}
            texts = docstrings(kind)
            properties = {
                key: {"description": texts[field], **self.field(kind, field, of_a_stage)}
                for key, field in schema.keys(kind).items()
            }
            # The general part may have what a stage's does not.
            needed = [] if of_a_stage else schema.keys(kind).items()
            required = [key for key, field in needed if schema.is_required(kind, field)]
            self.made[name] = {
                "type": "object",
                "description": prose((kind.__doc__ or "").split("\n\n")[0]),
                "properties": properties,
                "additionalProperties": False,
                **({"required": required} if required and kind is not schema.StackFile else {}),
            }
        return {"$ref": f"#/$defs/{name}"}

    def field(self, kind: type, name: str, of_a_stage: bool) -> dict[str, Any]:
        form = schema.shape(hints(kind)[name])
        if form.choice is not None:
            kinds = {key: self.part(each) for key, each in form.choice.items()}
            value: dict[str, Any] = {
                "type": "object",
                "properties": kinds,
                "additionalProperties": False,
                "minProperties": 1,
                "maxProperties": 1,
            }
        elif form.part is not None:
            own = name in schema.STAGES_OWN if kind is schema.Stage else of_a_stage and form.merged
            value = self.part(form.part, own)
            if form.listed:
                value = {"type": "array", "items": value}
            elif form.named is not None:
                value = {"type": "object", "propertyNames": plain(form.named), "additionalProperties": value}
        else:
            value = plain(form.hint)
        if of_a_stage and "additionalProperties" in value:
            value = {**value, "additionalProperties": {"anyOf": [value["additionalProperties"], OFF]}}
        return {"anyOf": [value, OFF]} if form.optional else value


def plain(hint: Any) -> dict[str, Any]:
    """The rules of a plain value, from its type and constraints."""
    if get_origin(hint) is Annotated:
        inner, *marks = get_args(hint)
        rules = [plain(inner), *(dict(mark.schema) for mark in marks if isinstance(mark, Must) and mark.schema)]
        return rules[0] if len(rules) == 1 else {"allOf": rules}
    if get_origin(hint) in (typing.Union, types.UnionType):
        kinds = [plain(kind) for kind in get_args(hint) if kind is not types.NoneType]
        return kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
    if get_origin(hint) is Sequence:
        return {"type": "array", "items": plain(get_args(hint)[0])}
    if get_origin(hint) is Mapping:
        names, values = get_args(hint)
        return {"type": "object", "propertyNames": plain(names), "additionalProperties": plain(values)}
    return PLAIN[hint]


@cache
def document() -> dict[str, Any]:
    definitions = Definitions()
    definitions.part(schema.StackFile)
    file = definitions.made.pop(schema.StackFile.__name__)
    keys = {f"{schema.NAMESPACE}:{key}": value for key, value in file["properties"].items()}
    config = {
        "type": "object",
        "properties": keys,
        # A key without a namespace gets that of the project, and is not read.
        "patternProperties": {f"^({'|'.join(file['properties'])})$": False},
        "propertyNames": {"anyOf": [{"enum": list(keys)}, {"not": {"pattern": f"^{schema.NAMESPACE}:"}}]},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Stack file of Slipway",
        "type": "object",
        "properties": {"config": config},
        "$defs": definitions.made,
    }


def page() -> str:
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(page(), end="")
