"""Guesses at the intended value behind a mistake, so that rules that involve it can still be checked.

A file with mistakes is read into several variants, which differ where the mistakes are. A rule is broken if it is
broken in all variants; otherwise its message may only be a consequence of a mistake that is already reported.
"""

from __future__ import annotations

import dataclasses
import datetime
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, get_args, get_origin

from slipway._constraints import hints
from slipway.config.schema import Shape, is_required, kinds_of, marks_of, shape

VARIANTS = 6
"""Enough for each kind of the largest choice, and for none."""

Variants = Sequence[Any]
"""One value for each variant of the file."""


class Guesses(list[Any]):
    """The variants of a value with a mistake."""


def certain(value: Any) -> Variants:
    return [value] * VARIANTS


def guesses(kind: type, name: str, *given: Any) -> Variants:
    """Values for a field with a mistake: the given value, if it has the right type, and other possible values."""
    [field] = [field for field in dataclasses.fields(kind) if field.name == name]
    form = shape(hints(kind)[name])
    default = [] if is_required(kind, name) else [default_of(field)]
    none = [None] if form.optional else []
    return Guesses(itertools.islice(itertools.cycle([*given, *default, *none, *samples(form)]), VARIANTS))


def in_all(found: Iterable[Iterable[str]]) -> list[str]:
    """The messages that all variants have in common."""
    first, *others = [list(dict.fromkeys(messages)) for messages in found]
    return [message for message in first if all(message in other for other in others)]


def unchecked(kind: type, values: Mapping[str, Any]) -> Any:
    """An instance of a dataclass whose rules are not checked."""
    made: Any = object.__new__(kind)
    for field in dataclasses.fields(kind):
        if field.name in values or not is_required(kind, field.name):
            object.__setattr__(made, field.name, values[field.name] if field.name in values else default_of(field))
    return made


def sample(kind: type) -> Any:
    """A part with all required fields."""
    required = [field.name for field in dataclasses.fields(kind) if is_required(kind, field.name)]
    return unchecked(kind, {name: samples(shape(hints(kind)[name]))[-1] for name in required})


def samples(form: Shape) -> list[Any]:
    """Possible values of a field."""
    if form.choice is not None:
        return [sample(kind) for kind in form.choice.values()]
    if form.named is not None:
        return [{}]
    if form.part is not None:
        return [[], [sample(form.part)]] if form.listed else [sample(form.part)]
    for mark in marks_of(form.hint):
        if getattr(mark, "good", ()):
            return list(mark.good[:2])
    kind = next(iter(kinds_of(form.hint)))
    plain: dict[Any, Callable[[], Any]] = {str: lambda: "x", int: lambda: 1, float: lambda: 1.0, bool: bool}
    plain[datetime.date] = datetime.date.today
    if get_origin(kind) is Sequence:
        return [[], samples(shape(get_args(kind)[0]))]
    return [plain.get(kind, dict)()]


def default_of(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
