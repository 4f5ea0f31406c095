"""Hosts of AWS in its partitions."""

import ast
import json
import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from slipway import testing
from slipway.iam import Scope
from slipway.release.function import partitions
from unit.harness import deploy_stack_file

PRINCIPAL = re.compile(r"(logdelivery\.)?[a-z-]+\.amazonaws\.com")
"""https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html"""
HOST = re.compile(r"amazonaws|console\.aws")
MAY_NAME_A_HOST = {
    "release/function/partitions.py": "it is the one",
    "testing.py": "answers of mocks",
    "build/component.py": "an example of an argument",
    "service/sidecars.py": "how an image in ECR is recognized, in each partition",
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


def test_the_endpoints_of_many_services_have_another_prefix_in_china() -> None:
    assert partitions.endpoint("aws-cn", "sqs", "cn-north-1") == "cn.com.amazonaws.cn-north-1.sqs"
    assert partitions.endpoint("aws-cn", "transcribe", "cn-north-1") == "cn.com.amazonaws.cn-north-1.transcribe.cn"
    assert partitions.endpoint("aws-cn", "s3", "cn-north-1") == "com.amazonaws.cn-north-1.s3"
    assert partitions.endpoint("aws", "sqs", "eu-west-1") == "com.amazonaws.eu-west-1.sqs"
    assert partitions.endpoint("aws-cn", "ecr.dkr", "cn-north-1") == "cn.com.amazonaws.cn-north-1.ecr.dkr"
    assert partitions.endpoint("aws-cn", "logs", "cn-north-1") == "com.amazonaws.cn-north-1.logs"
    assert partitions.endpoint("aws-us-gov", "ecr.dkr", "us-gov-west-1") == "com.amazonaws.us-gov-west-1.ecr.dkr"


def test_ec2_is_another_principal_in_china() -> None:
    assert partitions.ec2("aws-cn") == "ec2.amazonaws.com.cn"
    assert {partitions.ec2(each) for each in ("aws", "aws-us-gov")} == {"ec2.amazonaws.com"}


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


EVERYTHING: dict[str, Any] = {
    "slipway:network": {"new": {"natGateways": "None", "vpcEndpoints": {"services": ["sts"]}}},
    "slipway:cluster": {"new": {"managedInstances": {"instances": {}}}},
    "slipway:service": {
        "capacity": {"managedInstances": {"capacityProvider": "instances"}},
        "ecsExec": True,
        "processes": {"worker": {"command": ["work"]}},
        "migration": {"command": ["migrate"]},
        "jobs": {"report": {"command": ["report"], "schedule": "rate(1 hour)", "overlap": False}},
    },
    "slipway:stages": [{"approval": {}, "strategy": {"canary": {}}, "tests": {"commands": ["make"], "inVpc": True}}],
    "slipway:loadBalancer": {"internal": True},
    "slipway:scanGate": {},
    "slipway:notifications": {"emails": ["ops@example.com"]},
    "slipway:audit": {},
}


@pytest.mark.parametrize(("partition", "region"), [("aws-cn", "cn-north-1"), ("aws-us-gov", "us-gov-west-1")])
def test_a_plan_names_no_other_partition_and_no_other_region(
    partition: str, region: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, suffix = testing.arn, ".cn" if partition == "aws-cn" else ""

    def here(text: str) -> str:
        return text.replace("arn:aws:", f"arn:{partition}:").replace(testing.REGION, region)

    answers: dict[str, Any] = {
        "aws:index/getPartition:getPartition": {"partition": partition},
        "aws:index/getRegion:getRegion": {"region": region},
    }
    url = here(testing.repository_url("web")).replace("amazonaws.com", f"amazonaws.com{suffix}")
    monkeypatch.setattr(testing, "arn", lambda type_, name: here(usual(type_, name)))
    monkeypatch.setattr(testing, "repository_url", lambda name: url)
    monkeypatch.setattr(testing, "CALLS", {**testing.CALLS, **answers})
    made = deploy_stack_file("dev", {"aws:region": region, **EVERYTHING})
    shown = {each.name: json.dumps(each.inputs, default=lambda archive: "") for each in made}
    hosts = re.compile(rf"{region}\.amazonaws\.com(?!{re.escape(suffix)})" if suffix else "amazonaws.com.cn")
    assert {name for name, text in shown.items() if "arn:aws:" in text or "eu-west-1" in text} == set()
    assert {name for name, text in shown.items() if hosts.search(text)} == set()
    assert [name for name, text in shown.items() if f"arn:{partition}:" in text] != []
