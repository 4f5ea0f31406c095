"""docs/from-copilot.md has each key of Copilot's manifests once, and names keys that exist."""

import re
from typing import Any

import pytest
from slipway._constraints import hints
from slipway.config import schema
from unit.copilot import KEYS
from unit.harness import ROOT

PAGE = (ROOT / "docs" / "from-copilot.md").read_text()
SECTIONS = dict(re.findall(r"^## (.+)\n((?:(?!## ).*\n)*)", PAGE, re.MULTILINE))
ROW = re.compile(r"^\| (.+?) \| (.+) \|$", re.MULTILINE)


def rows(section: str) -> list[tuple[str, str]]:
    return [(left, right) for left, right in ROW.findall(SECTIONS[section]) if left not in ("Copilot", "---")]


def exists(path: str) -> bool:
    """Whether a path such as `service.sidecars.<name>.image` or `stages[].tests` is a key of a stack file."""
    part: Any = schema.StackFile
    for key in path.replace("[]", "").split("."):
        if part is None:
            return False
        if isinstance(part, list):  # the name of an entry of a map, or of a kind
            part = part[0] if key.startswith("<") else dict(part[1]).get(key)
            continue
        fields = schema.keys(part)
        if key not in fields:
            return False
        shape = schema.shape(hints(part)[fields[key]])
        part = [None, shape.choice] if shape.choice else [shape.part, {}] if shape.named is not None else shape.part
    return True


@pytest.mark.parametrize("section", KEYS)
def test_each_key_of_copilot_has_one_row(section: str) -> None:
    keys = [key for left, _ in rows(section) for key in re.findall(r"`([^`]+)`", left)]
    assert sorted(keys) == sorted(KEYS[section])


@pytest.mark.parametrize("section", SECTIONS)
def test_each_key_in_place_of_it_exists(section: str) -> None:
    quoted = [path for _, right in rows(section) for path in re.findall(r"`([A-Za-z][\w.<>\[\]]*)`", right)]
    top = schema.keys(schema.StackFile)
    paths = [path for path in quoted if re.split(r"[.\[]", path)[0] in top]
    assert [path for path in paths if not exists(path)] == []


def test_a_key_that_does_not_exist_is_noticed() -> None:
    right = ("service.tasks.min", "stages[].tests.commands", "source.connection.branch", "service.jobs.<name>.schedule")
    wrong = ("service.replicas", "service.tasks.min.x", "source.connection.url", "service.jobs.<name>.when")
    assert [path for path in (*right, *wrong) if exists(path)] == list(right)
