"""Runs the complete program of a README, its first block of Python, against mocks, and prints what it creates."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from unit.harness import Resource, deploy

CONFIG = {
    "storefront:vpcId": "vpc-1",
    "storefront:publicSubnetIds": ["subnet-1", "subnet-2"],
    "storefront:privateSubnetIds": ["subnet-3"],
    "storefront:certificateArn": "arn:aws:acm:eu-west-1:123456789012:certificate/1",
    "storefront:databaseUrlSecretArn": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-AbCdEf",
    "storefront:connectionArn": "arn:aws:codeconnections:eu-west-1:123456789012:connection/1",
}


def blocks(readme: Path) -> list[str]:
    """The blocks of Python in a README."""
    return re.findall(r"```python\n(.*?)```", readme.read_text(), re.DOTALL)


def run_example(readme: Path) -> list[Resource]:
    program = compile(blocks(readme)[0], str(readme), "exec")
    return deploy(lambda: exec(program, {}), CONFIG)


def main(readme: Path, *folder: str) -> None:
    """Runs the program, or writes it and its test to a folder."""
    import slipway

    if folder:
        Path(folder[-1]).mkdir()
        for name, block in zip(("program.py", "program_test.py"), blocks(readme), strict=True):
            Path(folder[-1], name).write_text(block)
    else:
        made, version = run_example(readme), sys.version.split()[0]
        print(f"{slipway.__file__}: with Python {version}, the README's program makes {len(made)} resources")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
