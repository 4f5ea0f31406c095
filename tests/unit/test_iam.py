import json
from collections import Counter
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest
from slipway import iam, testing
from slipway.iam import Permission, Scope
from slipway.testing import ACCOUNT, REGION
from unit.harness import deploy, granted, named, resolved, rights, trusted


class Here(pulumi.ComponentResource):
    def __init__(self, name: str = "here", opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("test:index:Here", name, None, opts)
        self.scope = Scope.of(self)


def test_a_statement_allows_the_given_actions_on_the_given_resources() -> None:
    assert iam.allow("ecr:PutImage", "ecr:BatchGetImage", on="arn:x") == {
        "Effect": "Allow",
        "Action": ["ecr:PutImage", "ecr:BatchGetImage"],
        "Resource": "arn:x",
    }


def test_a_statement_can_have_a_condition() -> None:
    when = {"ArnEquals": {"ecs:cluster": "arn:cluster"}}
    assert iam.allow("ecs:ListTasks", on="*", when=when) == {
        "Effect": "Allow",
        "Action": ["ecs:ListTasks"],
        "Resource": "*",
        "Condition": when,
    }


@pytest.mark.parametrize(
    ("resource", "every"),
    [
        ("*", True),
        ("arn:aws:s3:::*", True),
        ("arn:aws:sqs:eu-west-1:123456789012:*", True),
        ("arn:aws:s3:::*/*", True),
        ("arn:aws:sqs:*:*:**", True),
        ("arn:aws:sqs:eu-west-1:123456789012:?*", True),
        ("arn:aws:dynamodb:eu-west-1:123456789012:table/*", True),
        ("arn:aws:secretsmanager:eu-west-1:123456789012:secret:*", True),
        ("arn:aws:s3:::photos/*", False),
        ("arn:aws:dynamodb:eu-west-1:123456789012:table/orders-*", False),
        ("arn:aws:dynamodb:eu-west-1:123456789012:table/orders/index/*", False),
        ("arn:aws:sqs:eu-west-1:123456789012:orders-*", False),
        ("arn:aws:logs:eu-west-1:123456789012:log-group:/ecs/api:*", False),
    ],
)
def test_a_permission_on_every_resource_needs_a_reason(resource: str, every: bool) -> None:
    if every:
        with pytest.raises(ValueError) as error:
            Permission(actions=["s3:GetObject"], resources=["arn:aws:s3:::photos/1", resource])
        assert str(error.value) == (
            f"resources must name resources, or reason must say why they cannot, got ['{resource}']"
        )
    given = Permission(actions=["s3:GetObject"], resources=[resource], reason="all are ours" if every else None)
    assert given.statement() == {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": [resource]}


@pytest.mark.parametrize(
    "resource", ["", "orders", "https://sqs.eu-west-1.amazonaws.com/1/orders", "**", "arn:*", "arn:aws:sqs:*"]
)
def test_a_permission_names_its_resources_as_iam_does(resource: str) -> None:
    with pytest.raises(ValueError) as error:
        Permission(actions=["sqs:SendMessage"], resources=[resource], reason="all are ours")
    assert str(error.value) == f"resources must be ARNs, or * for every resource, got ['{resource}']"


def test_roles_are_passed_to_one_service_only() -> None:
    assert iam.pass_roles("arn:one", "arn:two", to="ecs-tasks.amazonaws.com") == {
        "Effect": "Allow",
        "Action": ["iam:PassRole"],
        "Resource": ["arn:one", "arn:two"],
        "Condition": {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
    }


def test_a_document_is_json_with_its_outputs_resolved() -> None:
    text = resolved(lambda: iam.document(iam.allow("s3:GetObject", on=pulumi.Output.from_input("arn:bucket/*"))))
    assert json.loads(text) == {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": "arn:bucket/*"}],
    }


def test_a_trust_policy_names_one_service_and_has_no_condition_by_default() -> None:
    assert json.loads(resolved(lambda: iam.trust("lambda.amazonaws.com"))) == {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }


def test_a_place_provides_the_arns_and_conditions_of_its_account_and_region() -> None:
    def program() -> list[object]:
        scope = Here().scope
        return [scope.arn("ecs", "service/x"), scope.same_account(), scope.only_for("arn:x")]

    assert resolved(program) == [
        "arn:aws:ecs:eu-west-1:123456789012:service/x",
        {"StringEquals": {"aws:SourceAccount": "123456789012"}},
        {"StringEquals": {"aws:SourceAccount": "123456789012"}, "ArnLike": {"aws:SourceArn": "arn:x"}},
    ]


def test_a_writer_of_logs_may_write_to_the_streams_of_a_group_but_not_create_it() -> None:
    assert resolved(lambda: [iam.write_logs("arn:group")]) == [
        {"Effect": "Allow", "Action": ["logs:CreateLogStream", "logs:PutLogEvents"], "Resource": "arn:group:*"}
    ]


def test_a_role_has_one_policy_with_its_statements() -> None:
    resources = deploy(
        lambda: iam.role(
            "x",
            iam.trust("events.amazonaws.com"),
            [iam.allow("sqs:SendMessage", on="arn:q")],
            pulumi.ResourceOptions(protect=True),
        )
    )
    made = [(r.type, r.name, r.protect) for r in resources if r.type.startswith("aws:")]
    assert sorted(made) == [
        ("aws:iam/role:Role", "x-role", True),
        ("aws:iam/rolePolicy:RolePolicy", "x-policy", True),
    ]
    assert trusted(resources, "x-role") == [
        {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ]
    assert named(resources, "x-policy").inputs["role"] == "x-role"
    assert rights(resources, "x-policy") == granted(
        [{"Effect": "Allow", "Action": ["sqs:SendMessage"], "Resource": "arn:q"}]
    )


def test_canonical_json_is_the_same_text_for_the_same_value() -> None:
    assert iam.canonical({"b": [1, {"d": 2, "c": 3}], "a": None}) == '{"a":null,"b":[1,{"c":3,"d":2}]}'


def test_each_provider_is_asked_once_where_it_works_and_arns_of_plain_names_are_plain() -> None:
    def program() -> None:
        other = aws.Provider("other", region="eu-west-1")
        scopes = [Here("one").scope, Here("two").scope]
        scopes += [Here("three", pulumi.ResourceOptions(provider=other)).scope]
        assert {scope.arn("ecs", "cluster/a") for scope in scopes} == {f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/a"}
        document = iam.document(iam.allow("ecs:ListTasks", on=scopes[0].arn("ecs", "cluster/a")))
        assert isinstance(document, str)

    calls = Counter(token.rpartition(":")[2] for token, _ in testing.deploy(program).calls)
    assert calls == {"getPartition": 2, "getRegion": 2, "getCallerIdentity": 2}


@pytest.mark.parametrize(
    ("actions", "got"),
    [
        ([], "none"),
        (["ReceiveMessage"], "['ReceiveMessage']"),
        ([["sqs:ReceiveMessage"]], "[['sqs:ReceiveMessage']]"),
        (["sqs:SendMessage", "sqs:", "sqs:Send Message"], "['sqs:', 'sqs:Send Message']"),
    ],
)
def test_what_is_no_action_is_refused(actions: list[Any], got: str) -> None:
    with pytest.raises(ValueError) as error:
        iam.allow(*actions, on="arn:x")
    assert str(error.value) == f"actions must be one or more such as sqs:SendMessage, got {got}"
    for action in ("*", "s3:*", "s3:Get*", "elasticloadbalancing:Describe?ules"):
        iam.allow(action, on="arn:x")
