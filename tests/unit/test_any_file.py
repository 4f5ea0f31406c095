"""Stack files generated at random from the types and constraints of their keys: a valid one is planned, and one with
mistakes ends in one list of them."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, get_args, get_origin

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from slipway._constraints import Must, hints
from slipway.config import ConfigurationError, Settings, schema
from slipway.config.load import read
from unit.harness import deploy, main, of_type
from unit.test_json_schema import config, refused
from unit.test_settings import FULL

File = dict[str, Any]
JUNK: st.SearchStrategy[Any] = st.sampled_from(
    [
        None,
        False,
        True,
        0,
        -1,
        99_999,
        1.5,
        "",
        "x",
        "on",
        "a b",
        "Ä" * 300,
        [],
        {},
        [None],
        [{}],
        {"x": {}},
        {"": None},
    ]
)
COUNTS = {"quick": (100, 4), "long": (2000, 80)}
"""Files that are read, and files that are planned."""


def of_part(kind: type, full: Any) -> st.SearchStrategy[Any]:
    """A part with any of its keys. With `full`, the values go together."""
    required: dict[str, st.SearchStrategy[Any]] = {}
    optional: dict[str, st.SearchStrategy[Any]] = {}
    for key, name in schema.keys(kind).items():
        value = of_field(schema.shape(hints(kind)[name]), full.get(key) if isinstance(full, Mapping) else None)
        (required if schema.is_required(kind, name) else optional)[key] = value
    return st.fixed_dictionaries(required, optional=optional)


def of_field(form: schema.Shape, full: Any) -> st.SearchStrategy[Any]:
    off = [st.just(False)] if form.optional else []
    known = [st.just(full)] if full is not None else []
    if form.choice is not None:
        kinds = {
            key: of_part(kind, full.get(key) if isinstance(full, Mapping) else None)
            for key, kind in form.choice.items()
        }
        return st.one_of(*known, *(st.fixed_dictionaries({key: value}) for key, value in kinds.items()))
    if form.part is not None:
        one = full[0] if form.listed and full else next(iter(full.values())) if form.named and full else full
        part = of_part(form.part, one)
        if form.listed:
            part = st.lists(part, max_size=3)
        elif form.named is not None:
            part = st.dictionaries(of_plain(form.named), part, max_size=3)
        return st.one_of(*off, *known, part)
    return st.one_of(*off, *known, of_plain(form.hint))


def of_plain(hint: Any) -> st.SearchStrategy[Any]:
    good = [value for mark in schema.marks_of(hint) if isinstance(mark, Must) for value in mark.good]
    if good:
        return st.sampled_from(good)
    kind = next(schema.kinds_of(hint))
    if get_origin(kind) is Sequence:
        return st.lists(of_plain(get_args(kind)[0]), max_size=3, unique_by=json.dumps)
    if get_origin(kind) is Mapping:
        names, values = (of_plain(each) for each in get_args(kind))
        return st.dictionaries(names, values, max_size=3)
    plain: dict[Any, st.SearchStrategy[Any]] = {
        int: st.integers(1, 600),
        float: st.floats(1, 50),
        bool: st.booleans(),
        str: st.sampled_from(["a", "make test", "lint", "ops@example.com", "2026"]),
    }
    return plain.get(kind, st.just("2026-12-31"))


def paths(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here, *(path for key, each in inner for path in paths(each, (*here, key)))]


@st.composite
def files(draw: Callable[..., Any], most: int) -> File:
    """A file with up to this many mistakes."""
    file: File = copy.deepcopy(draw(of_file()))
    for _ in range(draw(st.integers(0, most))):
        where = [path for path in paths(file) if path]
        *outer, key = draw(st.sampled_from(where))
        holder: Any = file
        for each in outer:
            holder = holder[each]
        change = draw(st.sampled_from(["junk", "junk", "unknown", "gone"]))
        if change == "junk":
            holder[key] = copy.deepcopy(draw(JUNK))
        elif change == "unknown" and isinstance(holder, dict):
            holder[f"{key}s"] = copy.deepcopy(draw(JUNK))
        else:
            del holder[key]
        if not file:
            break
    return file


@cache
def of_file() -> st.SearchStrategy[File]:
    return of_part(schema.StackFile, FULL)


def verdict(file: File, stack: str = "dev") -> Settings | list[str]:
    """The settings in a file, or the mistakes in it."""
    values = {key: "" if value is None else json.dumps(value) for key, value in config(file).items()}
    try:
        return read("storefront", stack, values, set())
    except ConfigurationError as e:
        head, *lines = str(e).split("\n  ")
        many = "a mistake" if len(lines) == 1 else f"{len(lines)} mistakes"
        assert head == f"{many} in the configuration (Pulumi.yaml, Pulumi.{stack}.yaml):"
        return lines


def running(count: int) -> Callable[[Any], Any]:
    quiet = [
        HealthCheck.too_slow,
        HealthCheck.filter_too_much,
        HealthCheck.data_too_large,
        HealthCheck.large_base_example,
    ]
    return settings(max_examples=count, deadline=None, derandomize=True, database=None, suppress_health_check=quiet)


HOW_MANY = [pytest.param(*COUNTS["quick"], id="some"), pytest.param(*COUNTS["long"], id="many", marks=pytest.mark.long)]


@pytest.mark.parametrize(("count", "_"), HOW_MANY)
def test_a_file_is_read_or_has_one_list_of_mistakes(
    count: int, _: int, record_property: Callable[[str, object], None]
) -> None:
    seen = Counter[str]()

    @running(count)
    @given(files(3))
    def check(file: File) -> None:
        found = verdict(file)
        if isinstance(found, Settings):
            seen["accepted"] += 1
            assert refused(config(file)) == []
            return
        seen["refused"] += 1
        assert found
        assert Counter(found).most_common(1)[0][1] == 1
        assert [line for line in found if not line.startswith(("slipway:", "project and "))] == []
        assert [line for line in found if " object at 0x" in line or "Traceback" in line] == []

    check()
    record_property("files", ("read", count))
    assert min(seen["accepted"], seen["refused"]) > count // 50


@pytest.mark.parametrize(("_", "count"), HOW_MANY)
def test_a_file_that_is_read_is_planned(_: int, count: int, record_property: Callable[[str, object], None]) -> None:
    planned = Counter[str]()

    @running(count)
    @given(files(0).filter(lambda file: isinstance(verdict(file), Settings)))
    def check(file: File) -> None:
        made = deploy(main, {"aws:region": "eu-west-1", **config(file)})
        assert len(of_type(made, "aws:codepipeline/pipeline:Pipeline")) == 1
        planned["files"] += 1

    check()
    record_property("files", ("planned", planned["files"]))
    assert planned["files"] >= count // 2
