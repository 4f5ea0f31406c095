"""Prints the lowest versions that are allowed, as constraints for pip: what `make test-lowest` installs."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def lowest(requirements: list[str]) -> list[str]:
    """`pulumi==3.200` of `pulumi>=3.200,<4`."""
    found = [re.match(r"([\w-]+)>=([\d.]+)", line) for line in requirements]
    return [f"{each[1]}=={each[2]}" for each in found if each]


if __name__ == "__main__":
    project = tomllib.loads((ROOT / "components" / "pyproject.toml").read_text())["project"]
    program = (ROOT / "requirements.txt").read_text().splitlines()
    # What only runs the tests is pinned in the extra `dev`.
    print("\n".join(lowest([*project["dependencies"], *(line for line in program if not line.startswith("pytest"))])))
