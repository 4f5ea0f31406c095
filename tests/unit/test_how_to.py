"""What pages of docs/how-to say about their stack files."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from standin.world import stack_file
from unit.harness import ROOT, Resource, deploy_stack_file, granted, named, refuse_stack_file, rights

pytestmark = pytest.mark.long
TEMPLATE = "storefront-dev-template"
EXECUTION = "storefront-dev-execution-policy"
SECRETS = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:storefront"


NOTHING: dict[str, Any] = dict.fromkeys(stack_file("dev"))
PLAIN = {**NOTHING, "aws:region": "eu-west-1", "slipway:source": {"codecommit": {"repository": "storefront"}}}


def config(page: str, number: int) -> dict[str, Any]:
    """The keys of a stack file of a page, and of no other."""
    text = (ROOT / "docs" / "how-to" / f"{page}.md").read_text()
    blocks = re.findall(r"```yaml\n(config:.*?)```", text, re.DOTALL)
    return {**NOTHING, **yaml.safe_load(blocks[number])["config"]}


def made(page: str, number: int) -> list[Resource]:
    return deploy_stack_file("dev", config(page, number))


def added(policy: str, resources: list[Resource]) -> set[str]:
    return rights(resources, policy) - rights(deploy_stack_file("dev", PLAIN), policy)


def logs(resources: list[Resource]) -> dict[str, str]:
    containers = named(resources, TEMPLATE).json("containerDefinitions")
    return {each["name"]: each["logConfiguration"]["logDriver"] for each in containers}


def test_fluent_bit_may_write_to_the_delivery_stream_by_the_role_of_the_task_and_nothing_else_is_added() -> None:
    resources = made("logging", 0)
    stream = "arn:aws:firehose:eu-west-1:123456789012:deliverystream/storefront-logs"
    allowed = granted([{"Effect": "Allow", "Action": ["firehose:PutRecordBatch"], "Resource": [stream]}])
    assert rights(resources, "storefront-dev-task-policy") == allowed
    assert added(EXECUTION, resources) == set()
    assert logs(resources) == {"app": "awsfirelens", "log-router": "awslogs"}


@pytest.mark.parametrize(("number", "secret", "driver"), [(1, "datadog", "awsfirelens"), (2, "splunk", "splunk")])
def test_the_role_that_starts_a_task_reads_the_secret_of_a_log_driver(number: int, secret: str, driver: str) -> None:
    resources = made("logging", number)
    reads = {"Effect": "Allow", "Action": ["secretsmanager:GetSecretValue"], "Resource": [f"{SECRETS}/{secret}-AbCdEf"]}
    assert added(EXECUTION, resources) == granted([reads])
    assert [each for each in resources if each.name == "storefront-dev-task-policy"] == []
    assert logs(resources)["app"] == driver


@pytest.mark.parametrize(
    "acl",
    [
        "arn:aws:wafv2:us-east-1:123456789012:regional/webacl/shop/1234abcd",
        "arn:aws:wafv2:us-east-1:123456789012:global/webacl/shop/1234abcd",
    ],
)
def test_a_web_acl_of_another_region_or_of_cloudfront_is_refused_before_anything_is_created(acl: str) -> None:
    message, created = refuse_stack_file("dev", {"slipway:loadBalancer": {"wafAclArn": acl}})
    assert "waf" in message.lower()
    assert [type for type in created if type.startswith("aws:lb")] == []


def test_an_existing_bucket_gets_the_logs_and_no_other_is_made() -> None:
    resources = made("waf-and-access-logs", 1)
    balancer = named(resources, "storefront-dev", "aws:lb/loadBalancer:LoadBalancer")
    assert balancer.inputs["accessLogs"] == {"bucket": "acme-logs", "enabled": True, "prefix": "storefront"}
    assert [each.name for each in resources if "access" in each.name] == []
