"""What is made of outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import pulumi

T = TypeVar("T")
R = TypeVar("R")


def concat(*parts: pulumi.Input[str]) -> pulumi.Output[str]:
    """The parts as one string, as `pulumi.Output.concat` has it.

    Raises pulumi.RunError, when the parts are resolved, if one of them is None: that of mocks which return no such
    output. AWS's provider always does.
    """
    return pulumi.Output.all(*parts).apply(joined)


def joined(parts: list[Any]) -> str:
    if None in parts:
        raise pulumi.RunError(missing(repr("".join("<None>" if part is None else part for part in parts))))
    return "".join(parts)


def made_of(value: pulumi.Input[T], make: Callable[[T], R]) -> pulumi.Output[R]:
    """What is made of one output, as `apply` has it. Raises as `concat` does."""

    def apply(resolved: T) -> R:
        if resolved is None:
            raise pulumi.RunError(missing("another value"))
        return make(resolved)

    return pulumi.Output.from_input(value).apply(apply)


def missing(made: str) -> str:
    return (
        f"an output of a resource is None, and {made} is made of it: the mocks of this test do not return what AWS "
        "would. Use slipway.testing.deploy, or pass slipway.testing.Mocks() to pulumi.runtime.set_mocks"
    )
