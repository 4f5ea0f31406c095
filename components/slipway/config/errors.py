"""Reports mistakes in a stack file by key, rule and value."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

import pulumi

from slipway.config.schema import NAMESPACE, to_camel


class ConfigurationError(pulumi.RunError):
    """Raised for a stack file with mistakes; the message lists all of them. Pulumi prints it once, without a
    traceback."""

    def __init__(self, stack: str, mistakes: Sequence[str]) -> None:
        many = "a mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        lines = [f"  {mistake}" for mistake in mistakes]
        super().__init__("\n".join([f"{many} in the configuration (Pulumi.yaml, Pulumi.{stack}.yaml):", *lines]))


def key(path: str) -> str:
    """The key of the value at `path`, as in a stack file."""
    return f"{NAMESPACE}:{path}"


def at(path: str, line: str) -> str:
    """A broken rule of the part at `path`. The line begins with a field's Python name, or with `must`."""
    # A part in a map is at a key of its own.
    line = re.sub(r"^(\S*?)\['([^']*)'\](?=\.)", r"\1.\2", as_written(line))
    if not path:
        return key(line)
    return f"{key(path)} {line}" if line.startswith("must ") else f"{key(path)}.{line}"


def as_written(text: str) -> str:
    """The text of a rule, with argument names as in a stack file. Quoted values and fields in braces are unchanged."""
    kept = r"'[^']*'|\"[^\"]*\"|{\w+}"
    return re.sub(rf"({kept})|\b[a-z]+(?:_[a-z]+)+\b", lambda m: m[1] or to_camel(m[0]), text)


def suggestion(name: str, possible: Iterable[str]) -> str:
    """` (did you mean …?)`, if one of these is close to `name`."""
    found = nearest(name, possible)
    return f" (did you mean {found[0]}?)" if found else ""


def nearest(name: str, possible: Iterable[str]) -> list[str]:
    """The one of these that is close to `name`, if any, ignoring case."""
    folded = {each.lower(): each for each in possible}
    return [folded[found] for found in difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.75)]
