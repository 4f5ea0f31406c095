"""What is made of outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import pulumi
from pulumi.runtime import mocks, settings

R = TypeVar("R")


def concat(*parts: pulumi.Input[str]) -> pulumi.Output[str]:
    """The parts as one string, as `pulumi.Output.concat` has it.

    Raises pulumi.RunError, when the parts are resolved, if one of them is None, as with mocks that return no such
    output.
    """
    return pulumi.Output.all(*parts).apply(joined)


def joined(parts: list[Any]) -> str:
    if None in parts:
        raise missing(repr("".join("<None>" if part is None else part for part in parts)))
    return "".join(parts)


def made_of(value: pulumi.Input[Any], make: Callable[[Any], R]) -> pulumi.Output[R]:
    """What is made of one output, as `apply` has it. Raises as `concat` does."""

    def apply(resolved: Any) -> R:
        if resolved is None:
            raise missing("a value")
        return make(resolved)

    return pulumi.Output.from_input(value).apply(apply)


def missing(made: str) -> pulumi.RunError:
    return pulumi.RunError(f"{made} is made of an output that is None{advice()}")


def advice() -> str:
    """Where None comes from in a unit test, to be added to a message; nothing where AWS answers."""
    if not isinstance(settings.get_monitor(), mocks.MockMonitor):
        return ""
    return (
        ": the mocks of this test return none. slipway.testing.Mocks answers as AWS would, and takes `answers` for "
        "what it does not know"
    )
