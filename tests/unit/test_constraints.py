"""Constraints are declared at the field; these tests check them, for every class of arguments."""

from __future__ import annotations

import dataclasses
import datetime
import importlib
import pkgutil
import types
import typing
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, get_args, get_origin

import pulumi
import pytest
import slipway
from slipway import (
    CodeCommit,
    Connection,
    EfsVolume,
    Filter,
    FireLens,
    Notifications,
    Push,
    Route,
    ScheduledBounds,
    Source,
)
from slipway._constraints import Must, arn, between, check, either, hints, items, match, one_of, plain
from slipway.iam import Statement
from unit.harness import deploy, resolved

WORD = match("[a-z]+", "be a word", "word", longest=8)
SOME = items(1, 3, distinct=True)
TOKEN = match("[A-Z]+", "be a reference", "REFERENCE", shown=False)
KEY = "arn:aws:kms:eu-west-1:123456789012:key/k"


@dataclass(frozen=True, kw_only=True)
class Part:
    size: Annotated[int, between(1, 3)] = 1

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class Example:
    """A field of each kind."""

    number: Annotated[int, between(1, 9)] | None = None
    share: float = 1
    choice: Annotated[str, one_of(("A", "B"))] = "A"
    on: bool = False
    name: Annotated[pulumi.Input[str], WORD] = "word"
    words: Annotated[pulumi.Input[Sequence[Annotated[pulumi.Input[str], WORD]]], SOME] = ("word",)
    values: Mapping[Annotated[str, WORD], pulumi.Input[str]] = field(default_factory=dict)
    secrets: Mapping[str, Annotated[pulumi.Input[str], TOKEN]] = field(default_factory=dict)
    url: Annotated[pulumi.Input[str], WORD] | None = None
    day: datetime.date = datetime.date(2026, 1, 1)
    part: Part = field(default_factory=Part)
    parts: Annotated[Sequence[Part], items(most=1)] = ()
    statements: Sequence[Statement] = ()
    anything: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check(self)

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        yield self.number == 9 and self.choice == "B", "number must not be 9 with choice=B"


def wrong(**args: Any) -> list[str]:
    with pytest.raises(ValueError) as error:
        Example(**args)
    return str(error.value).split("\n")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"number": 0}, "number must be between 1 and 9, got 0"),
        ({"number": "8"}, "number must be a whole number, got '8'"),
        ({"number": True}, "number must be a whole number, got True"),
        ({"number": 1.0}, "number must be a whole number, got 1.0"),
        ({"share": "1"}, "share must be a number, got '1'"),
        ({"share": True}, "share must be a number, got True"),
        ({"share": None}, "share must be a number, got None"),
        ({"choice": "C"}, "choice must be one of ['A', 'B'], got 'C'"),
        ({"on": 1}, "on must be true or false, got 1"),
        ({"name": "WORD"}, "name must be a word of at most 8 characters, got 'WORD'"),
        ({"name": "wordwordw"}, "name must be a word of at most 8 characters, got 'wordwordw'"),
        ({"name": "word\n"}, "name must be a word of at most 8 characters, got 'word\\n'"),
        ({"name": None}, "name must be a string, got None"),
        ({"words": "word"}, "words must be a list, got 'word'"),
        ({"words": []}, "words must have 1 to 3 items, all different, got []"),
        ({"words": ["a", "b", "c", "d"]}, "words must have 1 to 3 items, all different, got ['a', 'b', 'c', 'd']"),
        ({"words": ["a", "a"]}, "words must have 1 to 3 items, all different, got ['a', 'a']"),
        ({"words": ["a", "B"]}, "words[1] must be a word of at most 8 characters, got 'B'"),
        ({"words": ["a", 2]}, "words[1] must be a string, got 2"),
        ({"values": ["a=b"]}, "values must be a map, got ['a=b']"),
        ({"values": {"a": 1}}, "values['a'] must be a string, got 1"),
        ({"values": {"A": "1"}}, "values: the name 'A' must be a word of at most 8 characters"),
        ({"values": {1: "1"}}, "values: the name 1 must be a string, got 1"),
        # The value in place of a reference may be the secret itself.
        ({"secrets": {"A": "hunter2"}}, "secrets['A'] must be a reference"),
        ({"secrets": {"A": 2}}, "secrets['A'] must be a string"),
        ({"secrets": ["hunter2"]}, "secrets must be a map"),
        ({"parts": [Part(), Part()]}, "parts must have at most 1 item, got a list of 2"),
        ({"part": {"size": 1}}, "part must be a Part, got a map"),
        ({"day": "2026-12-31"}, "day must be a day, such as 2026-12-31, got '2026-12-31'"),
        (
            {"day": datetime.datetime(2026, 12, 31)},
            "day must be a day, such as 2026-12-31, got datetime.datetime(2026, 12, 31, 0, 0)",
        ),
        ({"statements": [1]}, "statements[0] must be a Statement, got 1"),
        ({"statements": [{"Action": ["sqs:SendMessage"]}]}, "statements[0] must be a Statement, got a map"),
        ({"name": "x" * 300}, f"name must be a word of at most 8 characters, got '{'x' * 199}… (302 characters)"),
        ({"number": 9, "choice": "B"}, "number must not be 9 with choice=B"),
    ],
)
def test_a_value_of_the_wrong_type_is_rejected_with_the_fields_name(args: dict[str, Any], message: str) -> None:
    assert wrong(**args) == [message]


def test_all_mistakes_are_one_error_and_cross_checks_wait_for_valid_types() -> None:
    number = "number must be between 1 and 9, got 10"
    assert wrong(number=10, words=["B"], on=1, choice="B") == [
        "on must be true or false, got 1",
        number,
        "words[0] must be a word of at most 8 characters, got 'B'",
    ]


def test_a_valid_value_stays_as_it_was_given() -> None:
    words = ("a", "b")
    made = Example(number=9, share=2, words=words, values={"a": "", "b": "1"}, secrets={"A": "REF"}, part=Part(size=3))
    assert (made.number, made.words, made.values) == (9, words, {"a": "", "b": "1"})
    assert made.words is words
    statement: Statement = {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": "*"}
    assert Example(statements=[statement]).statements == [statement]


LATER: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"name": "a"}, {"name": "a"}),
    ({"words": ["a", "b"]}, {"words": ["a", "b"]}),
    ({"values": {"a": "A=b"}}, {"values": {"a": "A=b"}}),
    ({"secrets": {"A": "REF"}}, {"secrets": {"A": "REF"}}),
    ({"url": "a"}, {"url": "a"}),
]


def later(value: Any, deep: bool) -> Any:
    """The same as an Output, or with Outputs in it."""
    if deep and isinstance(value, dict):
        return {key: pulumi.Output.from_input(item) for key, item in value.items()}
    if deep and isinstance(value, list):
        return [pulumi.Output.from_input(item) for item in value]
    return pulumi.Output.from_input(value)


@pytest.mark.parametrize("name", ["name", "words", "values", "secrets", "url"])
def test_an_output_resolves_to_the_same_value(name: str) -> None:
    [args] = [args for args, _ in LATER if name in args]
    assert resolved(lambda: getattr(Example(**{name: later(args[name], deep=True)}), name)) == args[name]


def failure(args: Callable[[], dict[str, Any]]) -> str:
    """The error of a program whose arguments are Outputs."""
    with pytest.raises(Exception) as error:
        deploy(lambda: pulumi.export("it", vars(Example(**args()))))
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("name", "WORD", "name must be a word of at most 8 characters, got 'WORD'"),
        ("name", 1, "name must be a string, got 1"),
        ("name", None, "name must be a string, got None"),
        # Whether it is set has to be known earlier.
        ("url", None, "url must be a string, got None"),
        ("words", ["a", "B"], "words[1] must be a word of at most 8 characters, got 'B'"),
        ("words", "word", "words must be a list, got 'word'"),
        ("words", [], "words must have 1 to 3 items, all different, got []"),
    ],
)
def test_an_output_fails_with_the_same_message(name: str, value: Any, message: str) -> None:
    expected = message if value is not None else message + ADVICE
    assert failure(lambda: {name: later(value, deep=False)}) == expected


ADVICE = (
    ": the mocks of this test return none. slipway.testing.Mocks answers as AWS would, and takes `answers` for what it "
    "does not know"
)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("words", ["a", "B"], "words[1] must be a word of at most 8 characters, got 'B'"),
        ("values", {"a": 1}, "values['a'] must be a string, got 1"),
        ("secrets", {"A": "hunter2"}, "secrets['A'] must be a reference"),
    ],
)
def test_an_output_in_a_list_or_a_map_fails_with_the_same_message(name: str, value: Any, message: str) -> None:
    assert failure(lambda: {name: later(value, deep=True)}) == message


def test_a_secret_output_is_not_repeated_in_the_error() -> None:
    message = "name must be a word of at most 8 characters"
    assert failure(lambda: {"name": pulumi.Output.secret("HUNTER2")}) == message


def test_no_error_repeats_a_credential() -> None:
    message = "name must be a word of at most 8 characters"
    assert wrong(name="postgres://shop:" + "hunter2@db.example.com/shop") == [message]
    assert wrong(words=["ghp_" + "a1" * 18]) == [message.replace("name", "words[0]")]


@pytest.mark.parametrize("name", ["number", "choice", "on", "part", "values", "statements"])
def test_values_that_decide_what_is_created_cannot_be_outputs(name: str) -> None:
    message = f"{name} must be known before anything is created, got an Output"
    assert failure(lambda: {name: pulumi.Output.from_input(1)}) == message


def test_the_types_of_a_hint_without_outputs() -> None:
    of = hints(Example)
    assert plain(of["name"]) == Annotated[str, WORD]
    assert plain(of["words"]) == Annotated[Sequence[Annotated[str, WORD]], SOME]
    assert plain(of["values"]) == Mapping[Annotated[str, WORD], str]
    assert plain(of["url"]) == Annotated[str, WORD] | None
    assert plain(of["part"]) is Part


MARKS = [
    between(0.1, 2),
    one_of((1, 2)),
    WORD,
    arn("a KMS key", "kms", "key/[a-z]+", "key/k"),
    arn("a role", "iam", "role/[a-z]+", "role/r", regional=False),
    either(arn("a KMS key", "kms", "key/[a-z]+", "key/k"), match("alias/[a-z]+", "be an alias", "alias/a")),
]


@pytest.mark.parametrize("mark", MARKS, ids=lambda mark: mark.text)
def test_the_samples_of_a_constraint_are_at_its_limits(mark: Must) -> None:
    assert mark.good and mark.bad
    assert [value for value in mark.good if not mark.holds(value)] == []
    assert [value for value in mark.bad if mark.holds(value)] == []


def test_digits_and_letters_are_those_of_ascii_and_spaces_are_all() -> None:
    name, line = match(r"[\w-]+\d", "be a name", "a1"), match(r"[^\s]+", "be one word", "a-1")
    assert [value for value in ("a1", "a-1", "ü1", "a\u0661", "a\u00b2") if name.holds(value)] == ["a1", "a-1"]
    assert [value for value in ("a-1", "ü", "a\u00a0b", "a\u2028", "a b") if line.holds(value)] == ["a-1", "ü"]
    key = arn("a KMS key", "kms", r"key/[\w-]+", "key/k")
    assert not key.holds(KEY.replace("123456789012", "\u0661" * 12)) and not key.holds(KEY + "ü")


def test_an_arn_has_all_its_parts_and_is_of_its_service() -> None:
    mark = arn("a KMS key", "kms", "key/[a-z]+", "key/k")
    assert mark.text == "be the ARN of a KMS key, such as arn:aws:kms:eu-west-1:123456789012:key/k"
    right = [
        KEY,
        KEY.replace(":aws:", ":aws-us-gov:").replace("eu-west-1", "us-gov-east-1"),
        KEY.replace(":aws:", ":aws-iso-b:"),
    ]
    assert [value for value in right if not mark.holds(value)] == []
    missing = [":".join(KEY.split(":")[:at] + KEY.split(":")[at + 1 :]) for at in range(6)]
    almost = [KEY.replace("kms", "s3"), KEY.replace("eu-west-1", ""), KEY.replace("12:", "1:"), f"{KEY}/k", f" {KEY}"]
    assert [value for value in [*missing, *almost, "arn:", ""] if mark.holds(value)] == []


@pytest.mark.parametrize(
    ("mark", "text", "good", "bad"),
    [
        (items(1), "have at least 1 item", [[1], [1, 1]], [[]]),
        (items(most=2), "have at most 2 items", [[], [1, 1]], [[1, 2, 3]]),
        (items(most=1), "have at most 1 item", [[], [1]], [[1, 2]]),
        (items(most=0), "have at most 0 items", [[]], [[1]]),
        (items(1, 2), "have 1 to 2 items", [[1], [1, 2]], [[], [1, 2, 3]]),
        (items(distinct=True), "be all different", [[], [1, 2]], [[1, 1]]),
        (items(most=2, distinct=True), "have at most 2 items, all different", [[1, 2]], [[1, 1], [1, 2, 3]]),
    ],
)
def test_the_number_of_items_of_a_list_is_checked(mark: Must, text: str, good: list[Any], bad: list[Any]) -> None:
    assert mark.text == text
    assert [values for values in good if not mark.holds(values)] == []
    assert [values for values in bad if mark.holds(values)] == []


def test_two_rules_with_the_same_text_are_different() -> None:
    hints = [Annotated[str, match(pattern, "be a word", "a")] | None for pattern in ("[a-z]", "[ab]")]
    rules = [mark for hint in hints for mark in marks_of(kinds_of(hint)[0])[1]]
    assert [rule.holds("z") for rule in rules] == [True, False]


# Every class of arguments


def classes() -> Iterator[Any]:
    """The classes that check themselves, in any module."""
    for module in pkgutil.walk_packages(slipway.__path__, "slipway."):
        if ".function" in module.name:
            continue
        found = importlib.import_module(module.name)
        for kind in vars(found).values():
            mine = isinstance(kind, type) and kind.__module__ == module.name
            if mine and dataclasses.is_dataclass(kind) and hasattr(kind, "__post_init__") and hasattr(found, "check"):
                yield kind


CLASSES = sorted(set(classes()), key=lambda kind: kind.__name__)
FIELDS = [(kind, name) for kind in CLASSES for name in hints(kind)]
every_field = pytest.mark.parametrize(("kind", "name"), FIELDS, ids=[f"{k.__name__}.{name}" for k, name in FIELDS])


def kinds_of(hint: Any) -> list[Any]:
    """The types of a value that is known."""
    if get_origin(hint) in (typing.Union, types.UnionType):
        return [
            kind
            for kind in get_args(hint)
            if kind is not types.NoneType and get_origin(kind) not in (pulumi.Output, Awaitable)
        ]
    return [hint]


def marks_of(hint: Any) -> tuple[Any, list[Must]]:
    """A type without its constraints, and the constraints."""
    if get_origin(hint) is not Annotated:
        return hint, []
    inner, *marks = get_args(hint)
    return inner, [mark for mark in marks if isinstance(mark, Must)]


SAMPLES: dict[Any, Callable[[int], dict[str, Any]]] = {
    # Without their required arguments they still need one.
    Notifications: lambda number: {"emails": ["ops@example.com"]},
    Connection: lambda number: {"provider_type": "GitHub"},
    FireLens: lambda number: {"config_file": "/etc/own.conf"},
    EfsVolume: lambda number: {"access_point_id": "fsap-0123456789abcdef0"},
    Filter: lambda number: {"includes": [f"v{number}"]},
    Push: lambda number: {"tags": Filter(includes=[f"v{number}"])},
    ScheduledBounds: lambda number: {"min": 1},
    Route: lambda number: {"paths": [f"/{number}"]},
}


def sample(hint: Any, number: int = 0) -> Any:
    """A value of a type; another for each number."""
    inner, marks = marks_of(hint)
    [kind, *_] = kinds_of(inner)
    if kind is not inner:
        return sample(Annotated[(kind, *marks)] if marks else kind, number)
    good = [value for mark in marks for value in mark.good]
    if good:
        several = [*good, *(f"{value}{n}" for value in good for n in range(9) if isinstance(value, str))]
        return [value for value in several if all(mark.holds(value) for mark in marks)][number]
    if get_origin(kind) is Sequence:
        least = max([mark.schema.get("minItems", 0) for mark in marks], default=0)
        return [sample(get_args(kind)[0], number) for number in range(least)]
    if get_origin(kind) is Mapping or typing.is_typeddict(kind):
        return {}
    if dataclasses.is_dataclass(kind):
        return arguments(kind, **(SAMPLES[kind](number) if kind in SAMPLES else {}))
    simple: dict[Any, Any] = {
        datetime.date: datetime.date(2026, 12, 31),
        bool: True,
        int: number,
        float: 0.5 + number,
        str: f"x{number}",
    }
    return simple[kind] if kind in simple else hollow(kind)


def hollow(kind: Any) -> Any:
    """A component, or a substitute for one, with the attributes that rules read."""
    if kind is Source:
        return CodeCommit(repository="shop")
    made = object.__new__(kind)
    if kind is slipway.Service:
        made.strategy, made.environment_name, made.registry = slipway.Rolling(), "dev", slipway.Repository()
        made.registry.repository_name, made.release_minutes = "shop", 10
        made.assign_public_ip = False
    return made


def arguments(kind: Any, **args: Any) -> Any:
    """An instance of a class, with a sample for each required field."""
    required = {
        f.name: sample(hints(kind)[f.name])
        for f in dataclasses.fields(kind)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }
    return kind(**{**required, **args})


def cases(hint: Any, name: str) -> Iterator[tuple[Any, str, bool]]:
    """Values at the limits of all constraints, each with the expected message, and whether it is invalid."""
    inner, marks = marks_of(hint)
    for kind in kinds_of(inner):
        if kind is not inner:
            yield from cases(Annotated[(kind, *marks)] if marks else kind, name)
            continue
        for mark in marks:
            message = f"{name} must {mark.text}"
            yield from ((value, message, False) for value in mark.good)
            yield from ((value, message, True) for value in mark.bad)
            if get_origin(kind) is Sequence:
                yield from ((values, message, bad) for values, bad in lists(get_args(kind)[0], mark))
        if get_origin(kind) is Annotated:
            yield from cases(kind, name)
        if get_origin(kind) is Sequence:
            yield from (([value], message, bad) for value, message, bad in cases(get_args(kind)[0], f"{name}[0]"))
        if get_origin(kind) is Mapping:
            names, items = get_args(kind)
            key = sample(names)
            yield from (({key: value}, message, bad) for value, message, bad in cases(items, f"{name}[{key!r}]"))
            for value, message, bad in cases(names, "?"):
                yield (
                    {value: sample(items) if items is not Any else 1},
                    message.replace("?", f"{name}: the name {value!r}", 1),
                    bad,
                )


def lists(item: Any, mark: Must) -> Iterator[tuple[list[Any], bool]]:
    least, most = mark.schema.get("minItems", 0), mark.schema.get("maxItems")
    one = sample(item)
    if least:
        yield [sample(item, number) for number in range(least)], False
        yield [one] * (least - 1), True
    if most is not None:
        yield [one] * (most + 1), True
    if mark.schema.get("uniqueItems"):
        yield [one, one], True


def errors_of(kind: type, name: str, value: Any) -> list[str]:
    try:
        arguments(kind, **{name: value})
    except ValueError as error:
        return str(error).split("\n")
    return []


def test_classes_of_arguments_are_found() -> None:
    assert {slipway.ServiceArgs, slipway.LoadBalancerArgs, slipway.RegistryArgs, slipway.Canary} <= set(CLASSES)
    assert sum(1 for kind, name in FIELDS for _ in cases(hints(kind)[name], name)) > 200


@every_field
def test_a_field_accepts_what_its_constraints_allow_and_rejects_everything_else(kind: type, name: str) -> None:
    for value, message, bad in cases(hints(kind)[name], name):
        found = [
            line for line in errors_of(kind, name, value) if line == message or line.startswith(f"{message}, got ")
        ]
        assert (value, len(found)) == (value, int(bad))


@every_field
def test_a_field_rejects_values_of_another_type_with_its_name(kind: type, name: str) -> None:
    inner, marks = marks_of(hints(kind)[name])
    strings = [k for k in map(lambda k: marks_of(k)[0], kinds_of(inner)) if k is str or str in kinds_of(k)]
    wrong = [object(), *([] if strings else ["8080"])]
    assert [[line.startswith(f"{name} must be ") for line in errors_of(kind, name, value)] for value in wrong] == [
        [True] for _ in wrong
    ]


LATE = [
    (kind, name, value, message)
    for kind, name in FIELDS
    if pulumi.Output in {get_origin(part) for part in get_args(marks_of(kinds_of(hints(kind)[name])[0])[0])}
    for value, message, bad in cases(hints(kind)[name], name)
    if bad and value != []
]


@pytest.mark.parametrize(
    ("kind", "name"), sorted({(kind, name) for kind, name, _, _ in LATE}, key=str), ids=lambda value: str(value)
)
def test_a_field_that_accepts_an_output_fails_later_with_the_same_message(kind: type, name: str) -> None:
    _, _, value, message = next(case for case in LATE if case[:2] == (kind, name))

    def program() -> None:
        made = arguments(kind, **{name: pulumi.Output.from_input(value)})
        pulumi.export("it", getattr(made, name))

    with pytest.raises(Exception) as error:
        deploy(program)
    assert str(error.value).split(", got ")[0] == message.split(", got ")[0]


def test_one_output_in_two_fields_with_one_name_has_to_hold_to_the_rules_of_each() -> None:
    def fails() -> Any:
        name = pulumi.Output.from_input("a b")
        Tall(name=name)
        return Wide(name=name).name

    @dataclass(frozen=True)
    class Tall:
        name: Annotated[pulumi.Input[str], match(r"[a-z ]+", "be letters", "a b")]

        def __post_init__(self) -> None:
            check(self)

    @dataclass(frozen=True)
    class Wide:
        name: Annotated[pulumi.Input[str], match(r"[a-z]+", "be one word", "a")]

        def __post_init__(self) -> None:
            check(self)

    with pytest.raises(pulumi.RunError, match="name must be one word"):
        resolved(fails)
