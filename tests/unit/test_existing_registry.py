"""What a release needs of a repository that another owner created."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest
from slipway import ExistingRegistry, RegistryArgs, ScanGate
from slipway.existing_registry import NEEDED, NEVER
from slipway.registry import MOVING_TAGS, lifecycle_policy
from unit.examples import scan_gate, service
from unit.harness import deploy, run

ACCOUNT = "123456789012"
EXCLUDED, FIXED = "IMMUTABLE_WITH_EXCLUSION", "MUTABLE_WITH_EXCLUSION"
PREFIXES = ("live-", "verified-")


def rule(priority: int, count: int = 5, kind: str = "imageCountMoreThan", **selection: Any) -> dict[str, Any]:
    selection = {"tagStatus": "tagged", "countType": kind, "countNumber": count, **selection}
    return {"rulePriority": priority, "selection": selection, "action": {"type": "expire"}}


def keep(priority: int, prefix: str, count: int = 9999) -> dict[str, Any]:
    return rule(priority, count, tagPrefixList=[prefix])


KEEP = [keep(1, "live-"), keep(2, "verified-")]
OLD = rule(9, tagStatus="any")
DENY = {"Effect": "Deny", "Principal": "*", "Action": "ecr:PutImage"}


def refusal(
    monkeypatch: pytest.MonkeyPatch,
    mutability: str | None = None,
    filters: list[str] | None = None,
    rules: list[dict[str, Any]] | None = None,
    policy: list[dict[str, Any]] | None = None,
    tags: dict[str, str] | None = None,
) -> list[str]:
    """Why a repository does not fit a service that keeps two images, in the environment prod."""
    found = SimpleNamespace(
        repository_url="web",
        arn="arn",
        registry_id=ACCOUNT,
        image_scanning_configurations=None,
        image_tag_mutability=mutability,
        image_tag_mutability_exclusion_filters=[SimpleNamespace(filter=each) for each in filters or []],
        tags=tags,
    )
    properties: dict[str, Any] = {}
    if rules is not None:
        properties["LifecyclePolicy"] = {"LifecyclePolicyText": json.dumps({"rules": rules})}
    if policy is not None:
        properties["RepositoryPolicyText"] = {"Statement": policy if len(policy) > 1 else policy[0]}
    monkeypatch.setattr(aws.ecr, "get_repository", lambda name, opts: found)
    read = SimpleNamespace(properties=json.dumps(properties))
    monkeypatch.setattr(aws.cloudcontrol, "get_resource", lambda type_name, identifier, opts: read)
    try:
        deploy(lambda: service("web", registry=ExistingRegistry("web"), environment_name="prod", keep_verified=2))
    except pulumi.RunError as e:
        head, *problems = str(e).split("\n- ")
        assert head.startswith("the ECR repository web does not fit the releases to prod")
        return problems
    return []


@pytest.mark.parametrize(
    ("mutability", "filters", "fixed"),
    [
        (None, [], ""),
        ("MUTABLE", [], ""),
        (EXCLUDED, list(MOVING_TAGS), ""),
        (EXCLUDED, ["*"], ""),
        (EXCLUDED, ["live-prod", "verified-prod*"], ""),
        (EXCLUDED, ["live-prod", "verified-prod"], "verified-prod-0, verified-prod-1"),
        (EXCLUDED, ["live*", "verified-dev*"], "verified-prod, verified-prod-0, verified-prod-1"),
        (EXCLUDED, ["*-prod"], "verified-prod-0, verified-prod-1"),
        ("IMMUTABLE", [], "live-prod, verified-prod, verified-prod-0, verified-prod-1"),
        (FIXED, ["release-*"], ""),
        (FIXED, ["live*"], "live-prod"),
    ],
)
def test_each_tag_that_releases_move_has_to_be_movable(
    monkeypatch: pytest.MonkeyPatch, mutability: str | None, filters: list[str], fixed: str
) -> None:
    given = f" with the exclusion filters {', '.join(filters)}" if filters else ""
    expected = f"image tag mutability is {mutability}{given}, so {fixed} could not be moved to the next image: "
    problems = refusal(monkeypatch, mutability, filters)
    assert [problem[: len(expected)] for problem in problems] == ([expected] if fixed else [])


@pytest.mark.parametrize(
    ("rules", "culprits"),
    [
        (None, {}),
        ([], {}),
        (lifecycle_policy(RegistryArgs(expire_days=1))["rules"], {}),
        ([*KEEP, OLD], {}),
        ([OLD, *KEEP], {}),  # the order in the document does not matter, only the priority
        ([rule(1, tagStatus="untagged", kind="sinceImagePushed"), keep(2, "live-"), keep(3, "verified-"), OLD], {}),
        ([OLD], {9: "live-prod, verified-prod, verified-prod-0, verified-prod-1"}),
        ([keep(1, "live-"), OLD], {9: "verified-prod, verified-prod-0, verified-prod-1"}),
        ([keep(1, "live-dev"), keep(2, "verified-"), OLD], {9: "live-prod"}),
        # Rules that protect until they have too many images.
        ([keep(1, "live-", NEVER), keep(2, "verified-", NEVER), OLD], {}),
        (
            [keep(1, "live-", NEVER - 1), keep(2, "verified-"), OLD],
            {1: "live-prod, verified-prod, verified-prod-0, verified-prod-1"},
        ),
        # A rule may match other tags of the same image.
        (
            [rule(1, kind="sinceImagePushed", tagPatternList=["*"]), keep(2, "live-"), keep(3, "verified-")],
            {1: "live-prod, verified-prod, verified-prod-0, verified-prod-1"},
        ),
        # An image has to match all prefixes of a rule.
        ([rule(1, 9999, tagPrefixList=["live-", "release-"]), keep(2, "verified-"), OLD], {9: "live-prod"}),
        ([rule(1, 9999, tagPatternList=["*-prod*"]), OLD], {}),
    ],
)
def test_no_rule_may_be_able_to_expire_an_image_that_is_live_or_verified(
    monkeypatch: pytest.MonkeyPatch, rules: list[dict[str, Any]] | None, culprits: dict[int, str]
) -> None:
    problems = refusal(monkeypatch, rules=rules)
    starts = [
        f"rule {priority} of the lifecycle policy can expire an image with the tag {tags}: before it, add a rule"
        for priority, tags in culprits.items()
    ]
    assert [problem[: len(start)] for problem, start in zip(problems, starts, strict=True)] == starts
    for problem in problems:  # the rules that it advises are enough
        advised = json.loads(problem.partition("selection of ")[2])
        kept = [{"rulePriority": at - 5, "selection": each} for at, each in enumerate(advised)]
        assert refusal(monkeypatch, rules=[*kept, *(rules or [])]) == [p for p in problems if p != problem]


@pytest.mark.parametrize(
    ("statement", "actions"),
    [
        ({}, ["ecr:PutImage"]),
        ({"Principal": {"AWS": ["*"]}}, ["ecr:PutImage"]),
        ({"Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}}, ["ecr:PutImage"]),
        ({"Action": ["ecr:get*", "ecr:DeleteRepository"]}, ["ecr:GetDownloadUrlForLayer"]),
        ({"Action": "*"}, list(NEEDED)),
        ({"Action": None, "NotAction": ["ecr:*Get*"]}, ["ecr:BatchCheckLayerAvailability", *NEEDED[3:]]),
        ({"Effect": "Allow"}, []),
        ({"Action": "ecr:DeleteRepository"}, []),
        # Not evaluated.
        ({"Condition": {"Bool": {"aws:SecureTransport": "false"}}}, []),
        ({"Principal": {"AWS": "arn:aws:iam::210987654321:root"}}, []),
        ({"Principal": {"Service": "codebuild.amazonaws.com"}}, []),
        ({"Principal": None, "NotPrincipal": {"AWS": "*"}}, []),
    ],
)
def test_no_statement_may_deny_to_everyone_what_a_release_does(
    monkeypatch: pytest.MonkeyPatch, statement: dict[str, Any], actions: list[str]
) -> None:
    given = {key: value for key, value in {**DENY, **statement}.items() if value is not None}
    text = f"its repository policy denies {', '.join(actions)} to everyone: limit this statement, or remove it"
    assert refusal(monkeypatch, policy=[given]) == ([text] if actions else [])
    allow = {"Effect": "Allow", "Principal": "*", "Action": "ecr:*"}
    assert refusal(monkeypatch, policy=[allow, given]) == ([text] if actions else [])


@pytest.mark.parametrize(
    ("tags", "refused"),
    [
        ({}, False),
        ({"team": "web"}, False),
        ({"slipway:force-delete": "true", "slipway:force-delete:dev": "true"}, True),
        ({"slipway:force-delete": "true", "slipway:force-delete:prod": "true"}, False),
    ],
)
def test_its_stack_may_delete_it_only_with_the_name_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, tags: dict[str, str], refused: bool
) -> None:
    problems = refusal(monkeypatch, tags=tags)
    assert [problem.partition(",")[0] for problem in problems] == (
        ["force_delete is set where it is created"] if refused else []
    )


def test_all_that_does_not_fit_is_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tags = {"slipway:force-delete": "true"}
    assert len(refusal(monkeypatch, "IMMUTABLE", rules=[OLD], policy=[DENY], tags=tags)) == 4


def test_policies_that_cannot_be_read_are_a_warning_that_names_the_permissions(monkeypatch: pytest.MonkeyPatch) -> None:
    def get_resource(**_: Any) -> Any:
        raise Exception("AccessDeniedException")

    monkeypatch.setattr(aws.cloudcontrol, "get_resource", get_resource)

    def program() -> None:
        existing = ExistingRegistry("web")
        for name in ("staging", "prod"):
            service(f"web-{name}", registry=existing, environment_name=name)

    [warning] = run(program, {}, [], "dev").warnings
    assert warning == (
        "the lifecycle policy and the repository policy of web are not examined, because they could not be read: "
        "AccessDeniedException. Allow cloudformation:GetResource, ecr:GetLifecyclePolicy and ecr:GetRepositoryPolicy"
    )


@pytest.mark.parametrize(("scans", "enhanced", "warned"), [(True, False, 0), (False, False, 1), (False, True, 0)])
def test_a_scan_gate_warns_about_a_repository_that_does_not_scan_on_push(
    monkeypatch: pytest.MonkeyPatch, scans: bool, enhanced: bool, warned: int
) -> None:
    found = SimpleNamespace(
        repository_url="web", arn="arn", image_scanning_configurations=[SimpleNamespace(scan_on_push=scans)]
    )
    monkeypatch.setattr(aws.ecr, "get_repository", lambda name, opts: found)
    warnings = run(
        lambda: scan_gate("gate", registry=ExistingRegistry("web"), gate=ScanGate(enhanced=enhanced)), {}, [], "dev"
    ).warnings
    assert len(warnings) == warned
