"""Constraints on the fields of arguments, which are part of their types. `check` reports all violations at once.

    port: Annotated[int, between(1, 65535)] | None = 8080
    subnet_ids: pulumi.Input[Sequence[str]]

Types are checked as written. A known value is checked at once, and an Output when its value is known, with the same
message. Rules for several fields together are in the class's `cross_checks`.
"""

from __future__ import annotations

import dataclasses
import datetime
import inspect
import re
import types
import typing
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Protocol, cast, get_args, get_origin

import pulumi

from slipway._credentials import credential
from slipway._outputs import advice

SHOWN = 200
"""Maximum number of characters of a value in an error."""


# No two are equal: typing merges unions of equal types, so equal constraints would get the rule of the first.
@dataclass(frozen=True, eq=False)
class Must:
    """A constraint: `holds` tests a value, and `text` completes "<field> must …"."""

    text: str
    holds: Callable[[Any], bool]
    schema: Mapping[str, Any] = field(default_factory=dict)
    """The same rule in JSON Schema, as far as it can be expressed."""
    good: Sequence[Any] = ()
    """Valid values at the boundary; `bad` has invalid ones. The tests use both."""
    bad: Sequence[Any] = ()
    shown: bool = True
    """Whether an error repeats the value, which it must not do if the value may be a secret."""


def between(low: float, high: float) -> Must:
    """A number between two bounds, inclusive."""
    return Must(
        f"be between {low} and {high}",
        lambda value: low <= value <= high,
        {"minimum": low, "maximum": high},
        good=[low, high],
        bad=[low - 1, high + 1],
    )


def one_of(values: Iterable[Any]) -> Must:
    possible = list(values)
    wrong = "none of these" if isinstance(possible[0], str) else max(possible) + 1
    return Must(f"be one of {possible}", lambda value: value in possible, {"enum": possible}, possible, [wrong])


def match(
    pattern: str, text: str, like: str, but: Sequence[str] = (), longest: int | None = None, shown: bool = True
) -> Must:
    """A string that matches a whole pattern. `like` is an example that matches; the strings in `but` almost match.

    If a length is given, `like` must still match when it is repeated.
    """
    # Digits and letters are those of ASCII, as AWS has them, but a space is any space.
    forms = re.compile(pattern), re.compile(pattern, re.ASCII)
    limit = {"maxLength": longest} if longest else {}
    repeated = like * (longest // len(like) + 1) if longest else ""
    return Must(
        f"{text} of at most {longest} characters" if longest else text,
        lambda value: all(form.fullmatch(value) for form in forms) and len(value) <= (longest or len(value)),
        {"pattern": f"^(?:{pattern})$", **limit},
        good=[like, *([repeated[:longest]] if longest and forms[0].fullmatch(repeated[:longest]) else [])],
        bad=["", f"{like}\n", *but, *([repeated[: longest + 1]] if longest else [])],
        shown=shown,
    )


def arn(what: str, service: str, resource: str, like: str, regional: bool = True, shown: bool = True) -> Must:
    """The ARN of a resource of one service. `resource` is a pattern, and `like` an example that matches it.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html
    """
    region = r"[a-z]+(-[a-z]+)+-\d+" if regional else ""
    example = f"arn:aws:{service}:{'eu-west-1' if regional else ''}:123456789012:{like}"
    parts = example.split(":")
    return match(
        rf"arn:aws(-[a-z]+)*:{service}:{region}:\d{{12}}:{resource}",
        f"be the ARN of {what}, such as {example}",
        example,
        but=["arn:", f"{example} ", *(":".join(parts[:at] + parts[at + 1 :]) for at in range(6))],
        shown=shown,
    )


def either(first: Must, *others: Must) -> Must:
    """A string in one of several forms."""
    forms = [first, *others]
    texts = [form.text.removeprefix("be ") for form in forms]
    return Must(
        f"be {', or '.join(texts)}",
        lambda value: any(form.holds(value) for form in forms),
        {"anyOf": [form.schema for form in forms]},
        good=[value for form in forms for value in form.good],
        bad=[value for form in forms for value in form.bad if not any(other.holds(value) for other in forms)],
        shown=all(form.shown for form in forms),
    )


def items(least: int = 0, most: int | None = None, distinct: bool = False) -> Must:
    """The number of items in a list, and whether they must be distinct."""
    count = f"{least} to {most}" if least and most else f"at least {least}" if least else f"at most {most}"
    parts = [f"have {count} item{'' if (most or least) == 1 else 's'}"] if least or most is not None else []
    schema = {"minItems": least, "maxItems": most, "uniqueItems": distinct}

    def holds(values: Collection[Any]) -> bool:
        known = [value for value in values if not is_output(value)]
        many = least <= len(values) <= (len(values) if most is None else most)
        return many and not (distinct and any(value in known[:at] for at, value in enumerate(known)))

    return Must(
        ", ".join([*parts, *(["be all different" if not parts else "all different"] if distinct else [])]),
        holds,
        {key: value for key, value in schema.items() if value},
    )


@dataclass(frozen=True, eq=False)  # like Must: no two are equal
class Choice:
    """Marks a field that is one of several kinds. A stack file selects the kind by its key."""

    kinds: Mapping[str, type]


class Checked(Protocol):
    """Arguments with rules that involve several fields."""

    def cross_checks(self) -> Iterable[tuple[bool, str]]:
        """For each rule, whether it is broken and its message, which begins with a field's name."""
        ...


def check(args: Any) -> None:
    """Raise one ValueError with a line for each field of the wrong type and for each broken rule.

    Call it in `__post_init__`. Outputs are replaced by Outputs that fail if their value is invalid.
    """
    found = problems(args)
    if found:
        raise ValueError("\n".join(found))


def problems(args: Any) -> list[str]:
    """The mistakes in arguments. Rules are checked only if the types are correct."""
    found = _Found()
    for name, hint in hints(cast(Any, type(args))).items():
        value = getattr(args, name)
        checked = _checked(hint, value, name, found)
        if checked is not value:
            object.__setattr__(args, name, checked)
    lines = found.wrong_types + found.broken
    if not found.wrong_types and hasattr(args, "cross_checks"):
        lines += [message for broken, message in args.cross_checks() if broken]
    return list(dict.fromkeys(lines))


def examine(hint: Any, value: Any, path: str, shown: bool = True) -> tuple[list[str], list[str]]:
    """Whether a plain value has the wrong type for a field, and which of the field's rules it breaks."""
    found = _Found(shown=shown)
    _checked(hint, value, path, found)
    return found.wrong_types, found.broken


@cache
def hints(kind: type) -> dict[str, Any]:
    """The fields of a dataclass, with their types as written."""
    # pulumi.Input names Output and its T as strings.
    written = typing.get_type_hints(kind, localns={"Output": pulumi.Output, "T": Any}, include_extras=True)
    return {f.name: written[f.name] for f in dataclasses.fields(kind)}


def plain(hint: Any) -> Any:
    """A type without the Outputs that it allows: `T` for `pulumi.Input[T]`, at any depth."""
    if get_origin(hint) is Annotated:
        inner, *marks = get_args(hint)
        return Annotated[(plain(inner), *marks)]
    if get_origin(hint) in (typing.Union, types.UnionType):
        kinds = [plain(kind) for kind in get_args(hint) if get_origin(kind) not in (pulumi.Output, Awaitable)]
        return typing.Union[tuple(kinds)]  # noqa: UP007 - created at run time
    if get_origin(hint) in (Sequence, Mapping):
        return get_origin(hint)[tuple(plain(kind) for kind in get_args(hint))]
    return hint


def is_output(value: Any) -> bool:
    return isinstance(value, pulumi.Output) or inspect.isawaitable(value)


@dataclass
class _Found:
    wrong_types: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    shown: bool = True


def _checked(hint: Any, value: Any, path: str, found: _Found, marks: Sequence[Must] = ()) -> Any:
    """The value, with Outputs that check themselves. Mistakes are added to `found`."""
    if get_origin(hint) is Annotated:
        inner, *more = get_args(hint)
        return _checked(inner, value, path, found, [*marks, *(m for m in more if isinstance(m, Must))])
    if hint is Any:
        return value
    kinds = list(get_args(hint)) if get_origin(hint) in (typing.Union, types.UnionType) else [hint]
    if value is None and types.NoneType in kinds:
        return value
    if is_output(value):
        if any(get_origin(kind) in (pulumi.Output, Awaitable) for kind in _flat(kinds)):
            return _later(hint, value, path, marks)
        found.wrong_types.append(f"{path} must be known before anything is created, got an Output")
        return value
    kinds = [
        kind for kind in kinds if kind is not types.NoneType and get_origin(kind) not in (pulumi.Output, Awaitable)
    ]
    fitting = [kind for kind in kinds if _is_a(value, kind)]
    if not fitting:
        possible = " or ".join(dict.fromkeys(called(kind) for kind in kinds))
        hidden = any(not mark.shown for mark in [*marks, *_marks(hint)])
        found.wrong_types.append(f"{path} must be {possible}{'' if hidden else _got(value, found)}")
        return value
    kind = fitting[0]
    if get_origin(kind) is Annotated:
        return _checked(kind, value, path, found, marks)
    for mark in marks:
        if not mark.holds(value):
            found.broken.append(f"{path} must {mark.text}{_got(value, found) if mark.shown else ''}")
    if get_origin(kind) is Sequence:
        [item] = get_args(kind)
        inner = [_checked(item, each, f"{path}[{at}]", found) for at, each in enumerate(value)]
        return inner if any(a is not b for a, b in zip(inner, value, strict=True)) else value
    if get_origin(kind) is Mapping:
        named, item = get_args(kind)
        for key in value:
            names = _Found(shown=found.shown)
            _checked(named, key, f"{path}: the name {key!r}", names)
            found.wrong_types += names.wrong_types
            found.broken += [line.rpartition(", got ")[0] or line for line in names.broken]
        inside = {key: _checked(item, each, f"{path}[{key!r}]", found) for key, each in value.items()}
        return inside if any(inside[key] is not value[key] for key in inside) else value
    return value


def _later(hint: Any, value: Any, path: str, marks: Sequence[Must]) -> Any:
    """An Output that fails if its value is invalid. A secret value is not repeated.

    It is the same one each time, as long as the field is: several fields with one Output have one value.
    """
    output = pulumi.Output.from_input(value)
    known_by_checks: dict[tuple[str, ...], Any] = (
        vars(value).setdefault("_slipway_checked", {}) if isinstance(value, pulumi.Output) else {}
    )
    # Fields of two classes may have one name and type, and other rules.
    checks = (repr(hint), path, *(mark.text for mark in marks))
    if (found := known_by_checks.get(checks)) is not None:
        return found

    def wrong(known: Any, found: _Found) -> Any:
        # Whether the field is set is decided before its value is known.
        return _checked(_present(hint), known, path, found, marks)

    def fail(known: Any, secret: bool) -> None:
        found = _Found(shown=not secret)
        wrong(known, found)
        raise pulumi.RunError("\n".join(found.wrong_types + found.broken) + (advice() if known is None else ""))

    def look(known: Any) -> Any:
        found = _Found()
        checked = wrong(known, found)
        if found.wrong_types or found.broken:
            is_secret: pulumi.Output[bool] = pulumi.Output.from_input(cast(Any, output.is_secret()))
            return is_secret.apply(lambda secret: fail(known, secret))
        return checked

    checked = known_by_checks[checks] = output.apply(look)
    return checked


def _present(hint: Any) -> Any:
    """A type without None."""
    if get_origin(hint) in (typing.Union, types.UnionType):
        return typing.Union[tuple(k for k in get_args(hint) if k is not types.NoneType)]  # noqa: UP007
    return hint


def _flat(kinds: Iterable[Any]) -> Iterable[Any]:
    for kind in kinds:
        yield from _flat(get_args(kind)[:1]) if get_origin(kind) is Annotated else [kind]
        if get_origin(kind) is Annotated and get_origin(get_args(kind)[0]) in (typing.Union, types.UnionType):
            yield from _flat(get_args(get_args(kind)[0]))


def _marks(hint: Any) -> Iterable[Must]:
    """All constraints in a type, at any depth."""
    for part in get_args(hint):
        if isinstance(part, Must):
            yield part
        else:
            yield from _marks(part)


def _is_a(value: Any, hint: Any) -> bool:
    kind = get_origin(hint) or hint
    if kind is Annotated:
        return _is_a(value, get_args(hint)[0])
    if kind in (typing.Union, types.UnionType):
        return any(_is_a(value, each) for each in get_args(hint)) or is_output(value)
    if typing.is_typeddict(kind):
        written = typing.get_type_hints(kind, include_extras=True).items()
        needed = {key for key, hint in written if get_origin(hint) is not typing.NotRequired}
        return isinstance(value, Mapping) and needed <= value.keys()
    if getattr(kind, "_is_protocol", False):
        # A class has the members of its instances.
        is_one = not isinstance(value, type) and isinstance(value, kind)
        return is_one or not getattr(kind, "_is_runtime_protocol", False)
    if kind is Any or kind is Callable:
        return True
    if kind is datetime.date:
        return isinstance(value, datetime.date) and not isinstance(value, datetime.datetime)
    if kind is Sequence:
        return isinstance(value, Sequence) and not isinstance(value, str | bytes)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)


CALLED = {
    bool: "true or false",
    datetime.date: "a day, such as 2026-12-31",
    float: "a number",
    int: "a whole number",
    str: "a string",
    Mapping: "a map",
    Sequence: "a list",
}


def called(hint: Any) -> str:
    kind = get_origin(hint) or hint
    if kind is Annotated:
        return called(get_args(hint)[0])
    if kind in (typing.Union, types.UnionType):
        kinds = [
            k for k in get_args(hint) if get_origin(k) not in (pulumi.Output, Awaitable) and k is not types.NoneType
        ]
        return " or ".join(dict.fromkeys(called(each) for each in kinds))
    return CALLED.get(kind) or f"{'an' if kind.__name__[0] in 'AEIOU' else 'a'} {kind.__name__}"


def _got(value: Any, found: _Found) -> str:
    return got(value) if found.shown else ""


def got(value: Any) -> str:
    """The end of an error message that repeats a value, without contents that may be secret, such as those of a map."""
    if isinstance(value, Mapping):
        return ", got a map"
    if isinstance(value, list | tuple) and any(
        isinstance(each, Mapping | list | tuple) or dataclasses.is_dataclass(each) for each in value
    ):
        return f", got a list of {len(value)}"
    text = repr(list(value) if isinstance(value, tuple) else value)
    if credential(text):
        return ""
    return f", got {text if len(text) <= SHOWN else f'{text[:SHOWN]}… ({len(text)} characters)'}"
