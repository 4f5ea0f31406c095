"""Runs the one complete program of a README, its first block of Python, against mocks, and says what it made."""

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


if __name__ == "__main__":
    import slipway

    made = run_example(Path(sys.argv[1]))
    print(f"{slipway.__file__}: the README's example makes {len(made)} resources")
