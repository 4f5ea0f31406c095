"""The JSON Schema of a stack file matches the code, and rejects what the program rejects."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from slipway._constraints import Must, hints
from slipway.config import schema
from unit import json_schema
from unit.harness import ROOT, SAMPLE
from unit.test_settings import BLANKS, FULL, LEAST, RULES, args

FILES = [*sorted(SAMPLE.glob("Pulumi.*.yaml")), *sorted((ROOT / "examples").glob("*.yaml"))]


@cache
def validator() -> Draft202012Validator:
    return Draft202012Validator(json_schema.document())


def refused(file: dict[str, Any]) -> list[str]:
    """What an editor marks in a stack file."""
    return [error.message for error in validator().iter_errors({"config": file})]


def config(parts: dict[str, Any]) -> dict[str, Any]:
    return {f"slipway:{key}": value for key, value in parts.items()}


def test_the_file_matches_the_code() -> None:
    assert (ROOT / "docs" / "stack-file.schema.json").read_text() == json_schema.page()


def test_it_is_a_valid_schema() -> None:
    Draft202012Validator.check_schema(json_schema.document())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_stack_files_and_examples_are_valid_and_refer_to_the_schema(file: Path) -> None:
    text = file.read_text()
    read = json.loads(json.dumps(yaml.safe_load(text), default=str))
    assert [error.message for error in validator().iter_errors(read)] == []
    first = text.splitlines()[0]
    assert first.startswith("# yaml-language-server: $schema=")
    assert (file.parent / first.partition("=")[2]).resolve() == ROOT / "docs" / "stack-file.schema.json"


def test_patterns_have_no_escapes_that_editors_do_not_support() -> None:
    """ECMA-262 with the flag u, which editors use, has fewer escapes than Python."""
    escapes = re.findall(r'"pattern": ("[^\n]*")', json_schema.page())
    allowed = set("^$\\.*+?()[]{}|/-dDwWsSbBfnrtvx")
    assert {each for pattern in escapes for each in re.findall(r"\\(.)", json.loads(pattern))} <= allowed


def test_it_has_every_key() -> None:
    assert refused(config(FULL)) == []


def marked(hint: Any) -> Iterator[Must]:
    for mark in schema.marks_of(hint):
        if isinstance(mark, Must) and mark.schema:
            yield mark


def fields() -> Iterator[Any]:
    """Each field of a top-level part whose rules JSON Schema can express, at least in part."""
    for key, name in schema.keys(schema.StackFile).items():
        form = schema.shape(hints(schema.StackFile)[name])
        if form.part is None or form.listed or form.named:
            continue
        for inner, field in schema.keys(form.part).items():
            hint = schema.shape(hints(form.part)[field]).hint
            for mark in marked(hint):
                yield pytest.param(key, inner, mark, id=f"{key}.{inner}")


@pytest.mark.parametrize(("part", "key", "mark"), list(fields()))
def test_values_at_the_limits_are_rejected_by_both_or_by_neither(part: str, key: str, mark: Must) -> None:
    only = Draft202012Validator(dict(mark.schema))
    assert [value for value in mark.good if not only.is_valid(value)] == []
    for value in mark.bad:
        if not only.is_valid(value):
            assert refused(config({part: {key: value}})) != []
            assert any(line.startswith(f"slipway:{part}.{key} ") for line in args({part: {key: value}}))


@pytest.mark.parametrize("parts", [parts for parts, _ in BLANKS.values()], ids=BLANKS)
def test_a_blank_key_is_rejected(parts: dict[str, Any]) -> None:
    assert refused(config(parts)) != []


@pytest.mark.parametrize(
    ("file", "valid"),
    [
        ({"aws:region": "eu-west-1", "storefront:owner": "me"}, True),
        ({"service": {}}, False),
        ({"slipway:sevice": {}}, False),
        (config({"service": {"port": False, "errorAlarm": False}, "scanGate": False}), True),
        (config({"build": False}), False),
        (config({"stages": [{"service": {"environment": {"A": False}}}]}), True),
        (config({"service": {"environment": {"A": False}}}), False),
        (config({"service": {"environment": {"A": 1}}}), False),
        (config({"service": {"processes": {"worker": {"cpu": 512}}, "migration": False}}), True),
        (config({"service": {"processes": {"Worker": {}}}}), False),
        (config({"service": {"processes": {"worker": {"comand": ["a"]}}}}), False),
        (config({"service": {"processes": {"worker": False}}}), False),
        (config({"service": {"jobs": {"a": {"retries": 1}}}}), False),
        (config({"stages": [{"service": {"jobs": {"a": {"retries": 1}}, "processes": {"worker": False}}}]}), True),
        (config({"stages": [{"service": {"processes": {"a": {"environment": {"A": False}}}}}]}), True),
        (config({"stages": [{"service": {"migration": {"cpu": 512, "environment": {"A": False}}}}]}), True),
        (config({"source": {"image": {"stack": "dev"}, "s3": {"bucket": "b"}}}), False),
    ],
)
def test_editors_mark_common_mistakes(file: dict[str, Any], valid: bool) -> None:
    assert (refused(file) == []) is valid


def test_it_expresses_most_mistakes_in_keys_and_types() -> None:
    words = (
        "is not a key",
        "is required",
        "must be a map",
        "must be a list",
        "must be a whole number",
        "must have exactly",
    )
    shape = {name: parts for name, (parts, line) in RULES.items() if any(word in line for word in words)}
    # Keys that are missing at the top level may be in Pulumi.yaml.
    missed = [name for name, parts in shape.items() if refused(config({**LEAST, **parts})) == []]
    assert missed == []
    assert len(shape) > 15
