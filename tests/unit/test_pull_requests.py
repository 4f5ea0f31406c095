from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

import pulumi
import pytest
from slipway import CodeScan, Connection
from slipway.pull_requests import PROVIDERS, filter_group, usable
from unit.examples import GITHUB, pull_request_checks, pull_request_checks_args
from unit.harness import Resource, deploy, granted, only, resolved, rights, trusted

PROJECT, WEBHOOK = "aws:codebuild/project:Project", "aws:codebuild/webhook:Webhook"
PLACE = "eu-west-1:123456789012"


def deployed(**args: Any) -> list[Resource]:
    return deploy(lambda: pull_request_checks("shop", **args)) if args else by_default()


@cache
def by_default() -> list[Resource]:
    return deploy(lambda: pull_request_checks("shop"))


def refusal(**args: Any) -> str:
    with pytest.raises(ValueError) as error:
        pull_request_checks_args("shop", **args)
    return str(error.value)


def buildspec(**args: Any) -> Any:
    return json.loads(only(deployed(**args), PROJECT).inputs["source"]["buildspec"])


def test_the_project_clones_the_pull_request_and_reports_its_result_there() -> None:
    inputs = only(deployed(), PROJECT).inputs
    assert {key: value for key, value in inputs["source"].items() if key != "buildspec"} == {
        "type": "GITHUB",
        "location": "https://github.com/acme/storefront.git",
        "auth": {"type": "CODECONNECTIONS", "resource": GITHUB},
        "reportBuildStatus": True,
    }
    assert inputs["artifacts"] == {"type": "NO_ARTIFACTS"}


def test_the_project_has_no_secrets_and_no_privilege_by_default() -> None:
    environment = only(deployed(), PROJECT).inputs["environment"]
    assert (environment["privilegedMode"], environment["environmentVariables"]) == (False, [])
    assert only(deployed(privileged=True), PROJECT).inputs["environment"]["privilegedMode"] is True


def test_the_role_can_write_its_log_and_use_the_connection_and_nothing_else() -> None:
    assert trusted(deployed(), "shop-role") == [
        {
            "Effect": "Allow",
            "Principal": {"Service": "codebuild.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {
                "StringEquals": {"aws:SourceAccount": "123456789012"},
                "ArnLike": {"aws:SourceArn": f"arn:aws:codebuild:{PLACE}:project/shop"},
            },
        }
    ]
    log = [f"arn:aws:logs:{PLACE}:log-group:/aws/codebuild/shop{end}" for end in ("", ":*")]
    allowed = [{"Effect": "Allow", "Action": ["logs:CreateLogStream", "logs:PutLogEvents"], "Resource": log}]
    for prefix in ("codeconnections", "codestar-connections"):
        actions = [f"{prefix}:GetConnectionToken", f"{prefix}:GetConnection"]
        arn = f"arn:aws:{prefix}:{PLACE}:connection/0f-1"
        allowed.append({"Effect": "Allow", "Action": actions, "Resource": arn})
    assert rights(deployed(), "shop-policy") == granted(allowed)


def test_a_webhook_starts_it_for_pull_requests_into_the_branch_of_the_source() -> None:
    assert only(deployed(), WEBHOOK).inputs == {
        "projectName": "shop",
        "buildType": "BUILD",
        "filterGroups": [
            {
                "filters": [
                    {
                        "type": "EVENT",
                        "pattern": "PULL_REQUEST_CREATED, PULL_REQUEST_UPDATED, PULL_REQUEST_REOPENED",
                    },
                    {"type": "BASE_REF", "pattern": "^refs/heads/main$"},
                ]
            }
        ],
        "pullRequestBuildPolicy": {
            "requiresCommentApproval": "FORK_PULL_REQUESTS",
            "approverRoles": ["GITHUB_WRITE", "GITHUB_MAINTAIN", "GITHUB_ADMIN"],
        },
    }


def test_other_branches_and_an_approval_of_all_pull_requests_can_be_set() -> None:
    webhook = only(deployed(branches=["main", "v1.x"], approval="ALL_PULL_REQUESTS"), WEBHOOK).inputs
    patterns = [group["filters"][1]["pattern"] for group in webhook["filterGroups"]]
    assert [
        [bool(re.search(p, f"refs/heads/{name}")) for name in ("main", "v1.x", "v1ax", "main2")] for p in patterns
    ] == [
        [True, False, False, False],
        [False, True, False, False],
    ]
    assert webhook["pullRequestBuildPolicy"]["requiresCommentApproval"] == "ALL_PULL_REQUESTS"


def test_bitbucket_does_not_reopen_pull_requests() -> None:
    # https://docs.aws.amazon.com/codebuild/latest/userguide/bitbucket-webhook.html
    def events() -> Any:
        group: Any = filter_group(pulumi.Output.from_input(PROVIDERS["Bitbucket"]), "main")
        return group.filters[0].pattern

    assert resolved(events) == "PULL_REQUEST_CREATED, PULL_REQUEST_UPDATED"


def test_the_commands_are_those_of_the_build_by_default_and_then_those_of_the_named_scans() -> None:
    scans = [
        CodeScan(name="lint", commands=["make lint"], environment={"LEVEL": "1"}),
        CodeScan(name="audit", commands=["make audit"]),
    ]
    args: dict[str, Any] = {"commands": (), "test_commands": ["make test"], "code_scans": scans, "scans": ["lint"]}
    assert buildspec(**args) == {
        "version": 0.2,
        "env": {"shell": "bash"},
        "phases": {"build": {"commands": ["make test", "make lint"]}},
    }
    environment = only(deployed(**args), PROJECT).inputs["environment"]["environmentVariables"]
    assert environment == [{"name": "LEVEL", "value": "1", "type": "PLAINTEXT"}]
    assert buildspec(test_commands=["make all"])["phases"] == {"build": {"commands": ["make test"]}}


LINT = CodeScan(name="lint", commands=["make lint"])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            {"source": Connection(host_arn=f"arn:aws:codeconnections:{PLACE}:host/ghes/1", repository="a/b")},
            "source must be a repository of GitHub, GitLab, Bitbucket with pull requests, got a host: CodeBuild has no "
            "other webhooks through a connection",
        ),
        (
            {"commands": ()},
            "commands or scans must be given, unless the build has test_commands, got none",
        ),
        (
            {"scans": ["lint", "style"], "code_scans": [LINT]},
            "scans must be names of code_scans, one of ['lint'], got ['style']",
        ),
        (
            {
                "scans": ["lint"],
                "code_scans": [
                    CodeScan(name="lint", commands=["x"], secrets={"T": f"arn:aws:ssm:{PLACE}:parameter/t"})
                ],
            },
            "scans must not have secrets, as ['lint'] have: the code in a pull request, which nobody has reviewed, "
            "could read them",
        ),
        (
            {"scans": ["lint"], "code_scans": [CodeScan(name="lint", commands=["x"], privileged=True)]},
            "scans must have the image aws/codebuild/amazonlinux-x86_64-standard:6.0, and be privileged only if the "
            "checks are, unlike ['lint']: they run in one build",
        ),
        (
            {
                "environment": {"A": "1"},
                "scans": ["lint"],
                "code_scans": [CodeScan(name="lint", commands=["x"], environment={"A": "2"})],
            },
            "environment must have the values that the scans give to ['A']: they run in one build",
        ),
        (
            {"environment": {"A": "x" * 5000}},
            "environment must have at most 4500 characters in total, got 5001: put long values into a file of the "
            "repository",
        ),
    ],
    ids=["host", "nothing", "unknown", "secrets", "privileged", "different values", "too long"],
)
def test_what_cannot_work_or_would_be_unsafe_is_an_error(args: dict[str, Any], message: str) -> None:
    assert refusal(**args) == message


def test_a_value_that_two_scans_share_is_accepted() -> None:
    scans = [CodeScan(name=name, commands=["x"], environment={"A": "1"}) for name in ("lint", "style")]
    assert buildspec(scans=["lint", "style"], code_scans=scans)["phases"]["build"]["commands"] == [
        "make test",
        "x",
        "x",
    ]


def test_a_connection_that_nobody_has_completed_or_to_another_provider_is_an_error() -> None:
    with pytest.raises(pulumi.RunError) as pending:
        usable([GITHUB, "GitHub", "PENDING", "eu-west-1.console.aws.amazon.com"])
    assert str(pending.value) == (
        f"the connection {GITHUB} is PENDING, and no webhook for pull requests can be created: complete it at "
        "https://eu-west-1.console.aws.amazon.com/codesuite/settings/connections, then run pulumi up again"
    )
    with pytest.raises(pulumi.RunError) as other:
        usable([GITHUB, "AzureDevOps", "AVAILABLE", "eu-west-1.console.aws.amazon.com"])
    assert str(other.value) == (
        f"the connection {GITHUB} must be to one of GitHub, GitLab, Bitbucket to check pull requests, got AzureDevOps"
    )
