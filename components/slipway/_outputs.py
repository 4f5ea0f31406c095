"""Strings and values derived from outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from inspect import isawaitable
from typing import Any, TypeVar, cast

import pulumi
from pulumi.runtime import mocks, settings

R = TypeVar("R")


def answered(value: str | None) -> pulumi.Input[str]:
    """The answer of a data source; unknown in a preview if its provider depends on a resource that does not exist."""
    if value is None and pulumi.runtime.is_dry_run():
        return pulumi.Output.from_input(cast(str, pulumi.UNKNOWN))
    return cast(str, value)


def now_or_later(function: Callable[[str], pulumi.Input[str]], value: pulumi.Input[str]) -> pulumi.Input[str]:
    return function(value) if isinstance(value, str) else pulumi.Output.from_input(cast(Any, value)).apply(function)


def concat(*parts: pulumi.Input[str]) -> pulumi.Input[str]:
    """The concatenation of the parts: a plain string if all of them are plain, else like `pulumi.Output.concat`.

    Raises pulumi.RunError when the parts are resolved if one of them is None, as with mocks that do not return this
    output.
    """
    if all(isinstance(part, str) for part in parts):
        return "".join(part for part in parts if isinstance(part, str))
    return pulumi.Output.all(*parts).apply(joined)


def filled(value: Any, make: Callable[[Any], R]) -> R | pulumi.Output[R]:
    """The result of `make` for nested maps and lists, once all Outputs in them are known; at once if there are none.

    Like `pulumi.Output.from_input(value).apply(make)`, which starts a task for each of the maps and lists.
    """
    outputs: list[Any] = []
    collect(value, outputs)
    if not outputs:
        return make(value)
    return pulumi.Output.all(*outputs).apply(lambda known: make(fill(value, iter(known))))


def collect(value: Any, outputs: list[Any]) -> None:
    if isinstance(value, Mapping):
        for item in value.values():
            collect(item, outputs)
    elif isinstance(value, list | tuple):
        for item in value:
            collect(item, outputs)
    elif isinstance(value, pulumi.Output) or isawaitable(value):
        outputs.append(value)


def fill(value: Any, known: Iterator[Any]) -> Any:
    """`value` with the known value of each Output, in the order in which `collect` found them."""
    if isinstance(value, Mapping):
        return {key: fill(item, known) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [fill(item, known) for item in value]
    return next(known) if isinstance(value, pulumi.Output) or isawaitable(value) else value


def joined(parts: list[Any]) -> str:
    if None in parts:
        raise missing(repr("".join("<None>" if part is None else part for part in parts)))
    return "".join(parts)


def made_of(value: pulumi.Input[Any], make: Callable[[Any], R]) -> pulumi.Output[R]:
    """The result of a function of one output, like `apply`. Raises as `concat` does."""

    def apply(resolved: Any) -> R:
        if resolved is None:
            raise missing("a value")
        return make(resolved)

    return pulumi.Output.from_input(value).apply(apply)


def missing(made: str) -> pulumi.RunError:
    return pulumi.RunError(f"{made} is made of an output that is None{advice()}")


def advice() -> str:
    """An explanation of None in a unit test, to add to a message; empty in a real deployment."""
    if not isinstance(settings.get_monitor(), mocks.MockMonitor):
        return ""
    return (
        ": the mocks of this test return none. slipway.testing.Mocks answers as AWS would, and takes `answers` for "
        "what it does not know"
    )
