"""Checks inputs as the real provider's schema would: unknown and missing properties, wrong types, enums.

The SDK has the schema as the types of its arguments; what they do not express (patterns, ranges) is not checked.
"""

from __future__ import annotations

import collections.abc
import enum
import importlib
import inspect
import json
import typing
from functools import cache
from pathlib import Path
from typing import Any

import pulumi_aws
from pulumi import _types


def mistakes(type_: str, inputs: dict[str, Any]) -> list[str]:
    """What is wrong with the inputs of a resource, by path."""
    return check_object(inputs, args_class(type_), "")


@cache
def classes() -> dict[str, tuple[str, str]]:
    """Module and class of each type of resource."""
    assert pulumi_aws.__file__
    text = Path(pulumi_aws.__file__).read_text().split('resource_modules="""')[1].split('"""')[0]
    return {token: (m["fqn"], name) for m in json.loads(text) for token, name in m["classes"].items()}


@cache
def args_class(type_: str) -> Any:
    package, name = classes()[type_]
    module = importlib.import_module(getattr(importlib.import_module(package), name).__module__)
    # A nested type may have the name of the resource's arguments, which then have another name.
    return getattr(module, f"{name}InitArgs", None) or getattr(module, f"{name}Args")


def check_object(value: dict[str, Any], args: Any, path: str) -> list[str]:
    types = _types.input_type_types(args)
    names = _types.input_type_py_to_pulumi_names(args)
    parameters = inspect.signature(args.__init__).parameters.values()
    required = {names[p.name] for p in parameters if p.name in names and p.default is inspect.Parameter.empty}
    found = [f"{path}.{key}: unknown property" for key in value if key not in types]
    found += [f"{path}.{key}: required" for key in sorted(required) if value.get(key) is None]
    return found + [m for key, item in value.items() if key in types for m in check(item, types[key], f"{path}.{key}")]


def check(value: Any, hint: Any, path: str) -> list[str]:
    """A value must have one of the types of its input."""
    kinds = alternatives(hint)
    found = [check_kind(value, kind, path) for kind in kinds]
    return [] if value is None or not kinds else min(found, key=len)


def alternatives(hint: Any) -> list[Any]:
    """The plain types that an input may have, without Outputs and awaitables."""
    origin = typing.get_origin(hint)
    if origin is typing.Union:
        return [kind for inner in typing.get_args(hint) for kind in alternatives(inner)]
    unresolved = origin is collections.abc.Awaitable or getattr(origin, "__name__", "") == "Output"
    return [] if unresolved or hint is type(None) or isinstance(hint, typing.ForwardRef) else [hint]


def check_kind(value: Any, kind: Any, path: str) -> list[str]:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (collections.abc.Sequence, list):
        items = enumerate(value) if isinstance(value, list) else None
        return (
            wrong(value, "a list", path)
            if items is None
            else [m for number, item in items for m in check(item, inner[0], f"{path}[{number}]")]
        )
    if origin in (collections.abc.Mapping, dict):
        if not isinstance(value, dict):
            return wrong(value, "a map", path)
        return [m for key, item in value.items() for m in check(item, inner[1], f"{path}.{key}")]
    if not inspect.isclass(kind):
        return []
    if issubclass(kind, enum.Enum):
        return [] if value in [member.value for member in kind] else wrong(value, f"one of {kind.__name__}", path)
    if _types.is_input_type(kind):
        return check_object(value, kind, path) if isinstance(value, dict) else wrong(value, "an object", path)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    right = {
        bool: isinstance(value, bool),
        int: number and value == int(value),
        float: number,
        str: isinstance(value, str),
    }
    return [] if right.get(kind, True) else wrong(value, kind.__name__, path)


def wrong(value: Any, kind: str, path: str) -> list[str]:
    return [f"{path}: {value!r} is not {kind}"]
