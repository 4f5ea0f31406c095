"""Hosts of AWS in its partitions."""

import ast
import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from slipway.iam import Scope
from slipway.release.function import partitions

PRINCIPAL = re.compile(r"(logdelivery\.)?[a-z-]+\.amazonaws\.com")
"""https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html"""
HOST = re.compile(r"amazonaws|console\.aws")
MAY_NAME_A_HOST = {
    "release/function/partitions.py": "it is the one",
    "testing.py": "answers of mocks",
    "build/component.py": "an example of an argument",
}


@pytest.mark.parametrize(
    ("partition", "region", "s3", "registry", "console"),
    [
        (
            "aws",
            "eu-west-1",
            "s3.eu-west-1.amazonaws.com",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
            "eu-west-1.console.aws.amazon.com",
        ),
        (
            "aws-cn",
            "cn-north-1",
            "s3.cn-north-1.amazonaws.com.cn",
            "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
            "cn-north-1.console.amazonaws.cn",
        ),
        (
            "aws-us-gov",
            "us-gov-west-1",
            "s3.us-gov-west-1.amazonaws.com",
            "123456789012.dkr.ecr.us-gov-west-1.amazonaws.com",
            "us-gov-west-1.console.amazonaws-us-gov.com",
        ),
    ],
)
def test_hosts_are_those_of_the_partition(partition: str, region: str, s3: str, registry: str, console: str) -> None:
    scope = Scope(partition=partition, region=region, account="123456789012")
    assert (scope.host("s3"), scope.host("123456789012.dkr.ecr"), scope.console()) == (s3, registry, console)
    assert partitions.host(partition, "s3", region) == s3


def texts(tree: ast.AST) -> Iterator[str]:
    """The strings of a module that are not docstrings; each piece of an f-string by itself."""
    documentation = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.value


def test_no_other_module_names_a_host() -> None:
    folder: Any = resources.files("slipway")
    found = {}
    for path in sorted(Path(folder).rglob("*.py")):
        named = [text for text in texts(ast.parse(path.read_text())) if HOST.search(text)]
        if hosts := [text for text in named if not PRINCIPAL.fullmatch(text)]:
            found[path.relative_to(folder).as_posix()] = hosts
    assert found.keys() == MAY_NAME_A_HOST.keys(), found
    assert found["build/component.py"] == ["123456789012.dkr.ecr.eu-west-1.amazonaws.com/docker-hub"]
