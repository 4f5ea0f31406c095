"""Runs the program of a README, with the second service that follows it, against mocks, and prints what it creates."""

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
    """The Python blocks of a README: a program, a second service to add to it, and a test."""
    return re.findall(r"```python\n(.*?)```", readme.read_text(), re.DOTALL)


def run_example(readme: Path) -> list[Resource]:
    program = compile("\n".join(blocks(readme)[:2]), str(readme), "exec")
    return deploy(lambda: exec(program, {}), CONFIG)


def main(readme: Path, *folder: str) -> None:
    """Runs the program, or writes it and its test to a folder."""
    import slipway

    if folder:
        Path(folder[-1]).mkdir()
        program, second_service, test = blocks(readme)
        Path(folder[-1], "program.py").write_text(f"{program}\n{second_service}")
        Path(folder[-1], "program_test.py").write_text(test)
    else:
        made, version = run_example(readme), sys.version.split()[0]
        print(f"{slipway.__file__}: with Python {version}, the README's program makes {len(made)} resources")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
