"""Prints the lowest allowed versions as constraints for pip, which `make test-lowest` installs."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def lowest(requirements: list[str]) -> list[str]:
    """`pulumi==3.200` for `pulumi>=3.200,<4`."""
    found = [re.match(r"([\w-]+)>=([\d.]+)", line) for line in requirements]
    return [f"{each[1]}=={each[2]}" for each in found if each]


if __name__ == "__main__":
    project = tomllib.loads((ROOT / "components" / "pyproject.toml").read_text())["project"]
    program = (ROOT / "requirements.txt").read_text().splitlines()
    # The tools that run the tests are pinned in the extra `dev`.
    print("\n".join(lowest([*project["dependencies"], *(line for line in program if not line.startswith("pytest"))])))
