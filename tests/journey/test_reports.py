"""Reports of tests, of Slipway's build and of an own buildspec, and what CodeBuild reads for the latter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from standin.executor import Execution
from standin.world import Workshop

from .conftest import RELEASED, Stack, ended, failures, path

Make = Callable[..., Stack]
GROUP = "arn:aws:codebuild:eu-west-1:123456789012:report-group"
JUNIT = (
    '<testsuite><testcase classname="cart" name="{}"/><testcase classname="cart" name="pays">{}</testcase></testsuite>'
)
FAILURE = '<failure message="expected 200, got 500"/>'
# As a test runner does: the report has the failures, and the command fails.
TEST = "mkdir -p out && cp app/junit.xml out/ && ! grep -q failure out/junit.xml"


def push(dev: Stack, failure: str = "", **files: str) -> Execution:
    dev.commit(f"Tests {failure} {len(files)}", {"app/junit.xml": JUNIT.format("adds", failure), **files})
    return dev.push()


def cases(dev: Stack, group: str, **filter: str) -> list[list[tuple[str, str]]]:
    """The test cases of the reports of a group, newest first, as the page for on-call engineers says."""
    client = dev.account.client("codebuild")
    found = client.list_reports_for_report_group(reportGroupArn=f"{GROUP}/{group}", sortOrder="DESCENDING")["reports"]
    described = [client.describe_test_cases(reportArn=arn, **({"filter": filter} if filter else {})) for arn in found]
    return [[(case["name"], case["status"]) for case in each["testCases"]] for each in described]


@pytest.mark.parametrize("source", ["archive", "clone"])
def test_reports_have_the_failed_tests_and_an_earlier_image_is_released_without_tests(stack: Make, source: str) -> None:
    build = {"context": "app", "testCommands": [TEST], "reports": [{"name": "unit", "files": ["out/*.xml"]}]}
    config: dict[str, Any] = {"slipway:build": build}
    if source == "clone":
        config["slipway:source"] = {"codecommit": {"repository": "storefront", "fullClone": True}}
    dev = stack(config=config)
    first = push(dev)
    assert (failures(first), ended(first)) == ([], RELEASED)
    broken = push(dev, FAILURE)
    assert [action for action, _ in failures(broken)] == ["Build"]
    assert cases(dev, "storefront-dev-unit") == [
        [("adds", "SUCCEEDED"), ("pays", "FAILED")],
        [("adds", "SUCCEEDED"), ("pays", "SUCCEEDED")],
    ]
    assert cases(dev, "storefront-dev-unit", status="FAILED")[0] == [("pays", "FAILED")]

    again = dev.start(variables={"IMAGE_DIGEST": first.digest})
    assert failures(again) == []
    assert cases(dev, "storefront-dev-unit")[0] == [
        ("nothing was tested: an earlier image is released again", "SKIPPED")
    ]


def test_tests_of_a_stage_and_scans_have_reports(stack: Make) -> None:
    settings = {"commands": [TEST], "reports": [{"name": "live", "files": ["out/junit.xml"]}]}
    stages = [{"name": "dev", "tests": settings}]
    dev = stack(config={"slipway:stages": stages, "slipway:codeScans": [{"name": "lint", **settings}]})
    assert failures(push(dev)) == []
    passed = [[("adds", "SUCCEEDED"), ("pays", "SUCCEEDED")]]
    assert cases(dev, "storefront-dev-lint-live") == passed
    assert cases(dev, "storefront-dev-tests-live") == passed


def test_a_build_that_writes_no_report_fails_and_says_so(stack: Make) -> None:
    report = {"name": "unit", "files": ["elsewhere/*.xml"]}
    dev = stack(config={"slipway:build": {"context": "app", "testCommands": [TEST], "reports": [report]}})
    [(action, message)] = failures(push(dev))
    assert (action, "storefront-dev-unit: [report files not found in build]" in message) == ("Build", True)


# An own buildspec

OWN = (Path(__file__).with_name("buildspecs") / "ecs-tutorial.yml").read_text()
ENV = """env:
  parameter-store:
    LEVEL: /storefront/level
  secrets-manager:
    TOKEN: storefront:token
"""
REPORTS = """reports:
  unit:
    files: [app/junit.xml]
"""
RIGHTS = {
    "parameter": (["ssm:GetParameters"], "arn:aws:ssm:eu-west-1:123456789012:parameter/storefront/*"),
    "secret": (
        ["secretsmanager:GetSecretValue"],
        "arn:aws:secretsmanager:eu-west-1:123456789012:secret:storefront-??????",
    ),
    "reports": (
        [f"codebuild:{name}" for name in ("CreateReportGroup", "CreateReport", "UpdateReport", "BatchPutTestCases")],
        f"{GROUP}/storefront-dev-*",
    ),
}


def own(stack: Make, shared: Workshop, *rights: str) -> Stack:
    permissions = [{"actions": RIGHTS[each][0], "resources": [RIGHTS[each][1]]} for each in rights]
    dev = stack(config={"slipway:build": {"buildspec": "ci/buildspec.yml", "permissions": permissions}})
    dev.account.build_environment["PATH"] = path(shared, "daemon")
    return dev


def test_an_own_buildspec_reads_secrets_and_writes_reports_with_permissions(stack: Make, shared: Workshop) -> None:
    dev = own(stack, shared, "parameter", "secret", "reports")
    released = push(dev, **{"ci/buildspec.yml": OWN + ENV + REPORTS})
    assert (failures(released), ended(released)) == ([], RELEASED)
    assert cases(dev, "storefront-dev-unit") == [[("adds", "SUCCEEDED"), ("pays", "SUCCEEDED")]]


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("parameter", "ssm:GetParameters on resource: arn:aws:ssm:eu-west-1:123456789012:parameter/storefront/level"),
        ("secret", "secretsmanager:GetSecretValue on resource: arn:aws:secretsmanager:eu-west-1:123456789012:secret:"),
        ("reports", f"codebuild:CreateReportGroup on resource: {GROUP}/storefront-dev-unit"),
    ],
)
def test_without_a_permission_an_own_buildspec_fails_with_the_action_and_the_resource(
    stack: Make, shared: Workshop, missing: str, message: str
) -> None:
    dev = own(stack, shared, *(each for each in RIGHTS if each != missing))
    [(action, reason)] = failures(push(dev, **{"ci/buildspec.yml": OWN + ENV + REPORTS}))
    assert (action, message in reason) == ("Build", True), reason
