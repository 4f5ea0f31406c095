"""Environment variables: which may be plain text, and what reading the others needs."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest
from slipway import CodeScan, Migration, Sidecar, StageTests
from slipway._credentials import credential
from slipway._secrets import (
    PARAMETER,
    SECRET,
    by_arn,
    is_fixed,
    names_twice,
    plaintext_rules,
    plaintext_values,
    secret_statements,
)
from slipway.build.component import BuildSettings
from slipway.iam import Scope, document
from unit.examples import build, service
from unit.harness import Resource, deploy, named, of_type, resolved, several, statements

WHERE = "eu-west-1:123456789012"
A_SECRET = f"arn:aws:secretsmanager:{WHERE}:secret:db-a1b2c3"
A_PARAMETER = f"arn:aws:ssm:{WHERE}:parameter/token"
# Assembled here, so that scanners for credentials find none in this repository.
CREDENTIALS = {
    "an AWS access key": "AKIA" + "IOSFODNN7EXAMPLE",
    "a private key": "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIE",
    "a GitHub token": "ghp_" + "a1" * 18,
    "a GitLab token": "glpat-" + "a1" * 10,
    "a Slack token": "xoxb-" + "1" * 12,
    "an npm token": "npm_" + "a1B2" * 9,
    "a PyPI token": "pypi-" + "AgEIcHlwaS5vcmc" + "a1" * 25,
    "a Stripe key": "sk_" + "live_" + "a1B2" * 6,
    "a Google API key": "AIza" + "Sy" + "a1B" * 11,
    "a SendGrid key": "SG." + "a1B2" * 5 + "." + "a1B2" * 10,
    "a JSON Web Token": "eyJ" + "hbGciOiJI" + ".eyJ" + "zdWIiOiIx" + ".a1-_B2c3",
    "an AWS secret key": "wJalrXUtnFEMI/K7MDENG/" + "bPxRfiCYEXAMPLEKEY",
    "a URL with a password": "postgres://shop:" + "hunter2@db.example.com/shop",
}


@pytest.mark.parametrize(("kind", "value"), CREDENTIALS.items())
def test_a_credential_is_recognized_by_its_format(kind: str, value: str) -> None:
    assert credential(value) == kind
    assert credential(f"before {value} after") == kind


@pytest.mark.parametrize(
    "value",
    [
        "",
        "info",
        "https://shop.example.com/path?user=a@b",
        "postgres://db.example.com/shop",
        "postgres://shop@db.example.com/shop",
        # A placeholder.
        "postgres://shop:${PASSWORD}@db.example.com/shop",
        "postgres://shop:{password}@db.example.com/shop",
        "postgres://shop:<password>@db.example.com/shop",
        "redis://db.example.com:6379/0",
        "-----BEGIN PUBLIC KEY-----",
        "-----BEGIN CERTIFICATE-----",
        # A commit's id, a path and a name of 40 characters.
        "3f786850e387550fdab836ed7e6dc881de23001b",
        "src/components/storefront/checkout/index",
        "src/Components/StoreFront2/Checkout/Icon",
        "arn:aws:sns:eu-west-1:123456789012:storefrontOrders",
        "https://sqs.eu-west-1.amazonaws.com/123456789012/Storefront0Orders",
        "A" * 40,
        "aB3/" * 11,
        "MAKIA" + "IOSFODNN7EXAMPLE",
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    ],
)
def test_values_without_the_format_of_a_credential_are_accepted(value: str) -> None:
    assert credential(value) is None


def broken(values: dict[str, Any], not_secret: list[str]) -> list[str]:
    return [message for wrong, message in plaintext_rules("environment", values, not_secret, "move it") if wrong]


@pytest.mark.parametrize(("kind", "value"), CREDENTIALS.items())
def test_a_plain_credential_is_rejected_unless_it_is_listed_as_not_secret(kind: str, value: str) -> None:
    assert broken({"A": value, "B": "b"}, []) == [
        f"environment['A'] must not be a secret, but is {kind}: anyone who can describe the resource can read it; "
        "move it, or add its name to not_secret if it is not a secret"
    ]
    assert broken({"A": value, "B": "b"}, ["A"]) == []


def test_a_credential_in_a_command_is_rejected_unless_it_is_listed_as_not_secret() -> None:
    commands = ["make", "curl -H 'Authorization: Bearer " + CREDENTIALS["a GitHub token"] + "' https://x"]
    for made, field, instead in (
        (
            lambda **args: BuildSettings(test_commands=commands, **args),
            "test_commands",
            "put it into secrets and mount",
        ),
        (lambda **args: StageTests(commands=commands, **args), "commands", "put it into secrets"),
        (lambda **args: CodeScan(name="a", commands=commands, **args), "commands", "put it into secrets"),
    ):
        with pytest.raises(ValueError) as error:
            made()
        assert str(error.value).startswith(
            f"{field}[1] must not contain a secret, but contains a GitHub token: anyone who can describe the "
            f"resource can read it; {instead}"
        )
        assert str(error.value).endswith(", or add commands to not_secret if it is not a secret")
        made(not_secret=["commands"])
    with pytest.raises(ValueError, match="not_secret must contain only names in build_args, got \\['commands'\\]"):
        BuildSettings(not_secret=["commands"])


def test_names_listed_as_not_secret_must_exist() -> None:
    assert broken({"A": "a"}, ["A", "B"]) == ["not_secret must contain only names in environment, got ['B']"]


def exported(values: Callable[[], dict[str, Any]], not_secret: list[str]) -> Callable[[], Any]:
    return lambda: plaintext_values("environment", values(), not_secret, "move it")


def test_plain_outputs_resolve_to_the_same_value() -> None:
    output, url = pulumi.Output.from_input, CREDENTIALS["a URL with a password"]
    assert resolved(exported(lambda: {"A": output("a"), "B": "b"}, [])) == {"A": "a", "B": "b"}
    assert resolved(exported(lambda: {"A": output(url)}, ["A"])) == {"A": url}


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (lambda: pulumi.Output.from_input(CREDENTIALS["a GitHub token"]), "a GitHub token"),
        (lambda: pulumi.Output.secret("hunter2"), "a secret Output"),
        (lambda: pulumi.Output.concat("prefix-", pulumi.Output.secret("hunter2")), "a secret Output"),
    ],
)
def test_a_plain_output_fails_if_it_is_a_credential(value: Callable[[], Any], kind: str) -> None:
    with pytest.raises(Exception) as error:
        deploy(lambda: pulumi.export("it", exported(lambda: {"A": value()}, [])()))
    assert str(error.value) == (
        f"environment['A'] must not be a secret, but is {kind}: anyone who can describe the resource can read it; "
        "move it, or add its name to not_secret if it is not a secret"
    )


def test_a_name_cannot_be_both_a_variable_and_a_secret() -> None:
    assert [message for wrong, message in names_twice({"A": "", "B": ""}, {"B": "", "C": ""}) if wrong] == [
        "environment must not have names that are also in secrets, got ['B']"
    ]


SECRETS = {"A": f"{A_SECRET}:key::", "B": f"{A_SECRET}:ssm::", "C": A_PARAMETER}
GET_SECRET = {"Effect": "Allow", "Action": ["secretsmanager:GetSecretValue"], "Resource": [A_SECRET]}
GET_PARAMETER = {"Effect": "Allow", "Action": ["ssm:GetParameters"], "Resource": [A_PARAMETER]}


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(
    ("names", "statements"),
    [("ABC", [GET_SECRET, GET_PARAMETER]), ("AB", [GET_SECRET]), ("C", [GET_PARAMETER]), ("", [])],
)
def test_a_policy_has_a_statement_for_each_kind_of_reference_that_is_used(
    names: str, statements: list[Any], late: bool
) -> None:
    def program() -> Any:
        chosen = {name: SECRETS[name] for name in names}
        given = {n: pulumi.Output.from_input(v) if late else v for n, v in chosen.items()}
        return document(*secret_statements(given, []))

    assert json.loads(resolved(program))["Statement"] == statements


def test_the_formats_of_references() -> None:
    assert [bool(SECRET.fullmatch(value)) for value in (A_SECRET, SECRETS["A"], f"{A_SECRET}:key", A_PARAMETER)] == [
        True,
        True,
        False,
        False,
    ]
    assert [bool(PARAMETER.fullmatch(value)) for value in (A_PARAMETER, f"{A_PARAMETER} ", A_SECRET)] == [
        True,
        False,
        False,
    ]


# By name


MIGRATE = Migration(command=["migrate"])
NAME, ARN = "ssm:/shop/token", f"arn:aws:ssm:{WHERE}:parameter/shop/token"
SECRET_NAME, SECRET_ARN = "secretsmanager:shop/db", f"arn:aws:secretsmanager:{WHERE}:secret:shop/db-AbCdEf"


def test_a_name_becomes_the_arn_and_an_arn_stays() -> None:
    def found(name: str, later: bool) -> Any:
        scope = Scope("aws-cn", "cn-north-1", "123456789012")

        def value() -> pulumi.Input[str]:
            given = pulumi.Output.from_input(name) if later else name
            return by_arn(scope, {"A": given}, pulumi.InvokeOptions())["A"]

        return resolved(value)

    here = "arn:aws-cn:ssm:cn-north-1:123456789012:parameter/shop/token"
    for name, expected in (
        (NAME, here),
        (SECRET_NAME, SECRET_ARN),
        (f"{SECRET_NAME}:password::", f"{SECRET_ARN}:password::"),
        (A_SECRET, A_SECRET),
        (A_PARAMETER, A_PARAMETER),
    ):
        assert (found(name, later=False), found(name, later=True)) == (expected, expected)


def looked_up(monkeypatch: pytest.MonkeyPatch, answer: Callable[[str], Any]) -> list[str]:
    """The secrets that are looked up, by name."""
    asked: list[str] = []

    def get_secret(name: str, opts: pulumi.InvokeOptions) -> Any:
        asked.append(name)
        return answer(name)

    monkeypatch.setattr(aws.secretsmanager, "get_secret", get_secret)
    return asked


def test_a_secret_is_looked_up_once_for_all_its_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = looked_up(monkeypatch, lambda name: SimpleNamespace(arn=SECRET_ARN))
    secrets = {"USER": f"{SECRET_NAME}:user::", "PASSWORD": f"{SECRET_NAME}:password::", "TOKEN": A_SECRET}
    deploy(lambda: service("api", secrets=secrets))
    assert asked == ["shop/db"]


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("reading Secrets Manager Secret (shop/db): couldn't find resource", "there is no secret called shop/db"),
        ("api error ResourceNotFoundException: Secrets Manager can't", "there is no secret called shop/db"),
        ("api error AccessDeniedException", "AccessDeniedException"),
    ],
)
def test_a_secret_that_cannot_be_found_is_an_error_before_anything_is_created(
    monkeypatch: pytest.MonkeyPatch, message: str, shown: str
) -> None:
    def fail(name: str) -> None:
        raise Exception(message)

    looked_up(monkeypatch, fail)
    with pytest.raises(Exception, match=shown):
        deploy(lambda: service("api", secrets={"DB": SECRET_NAME}))


def test_a_service_and_its_sidecars_read_what_is_given_by_name() -> None:
    sidecar = Sidecar(image="public.ecr.aws/otel:1", secrets={"OTHER": "ssm:/shop/other"})
    secrets = {"TOKEN": NAME, "PASSWORD": f"{SECRET_NAME}:password::"}
    made = deploy(
        lambda: service(
            "api", secrets=secrets, sidecars={"otel": sidecar}, restart_on_secret_change=True, migration=MIGRATE
        )
    )
    for template in ("api-template", "api-migration-template"):
        app = named(made, template, "TaskDefinition").json("containerDefinitions")[0]
        assert {each["name"]: each["valueFrom"] for each in app["secrets"]} == {
            "TOKEN": ARN,
            "PASSWORD": f"{SECRET_ARN}:password::",
        }
    otel = named(made, "api-template", "TaskDefinition").json("containerDefinitions")[1]
    assert otel["secrets"] == [{"name": "OTHER", "valueFrom": ARN.replace("token", "other")}]
    assert read(made, "api-execution-policy") == {ARN, ARN.replace("token", "other"), SECRET_ARN}
    secret, parameters = named(made, "api-secrets", "eventRule:EventRule").json("eventPattern")["$or"]
    assert secret["resources"] == [SECRET_ARN]
    assert parameters["resources"] == sorted([ARN, ARN.replace("token", "other")])


def test_a_build_and_tests_read_what_is_given_by_name() -> None:
    made = deploy(lambda: build("shop", secrets={"npm": NAME, "pip": SECRET_NAME}))
    variables = [
        (each["type"], each["value"])
        for each in named(made, "shop", "codebuild/project:Project").inputs["environment"]["environmentVariables"]
        if each["name"].startswith("BUILD_SECRET_")
    ]
    assert sorted(variables) == [("PARAMETER_STORE", "/shop/token"), ("SECRETS_MANAGER", SECRET_ARN)]
    assert {ARN, SECRET_ARN} <= read(made, "shop-build-policy")


@pytest.mark.parametrize("start", [SECRET_NAME, SECRET_ARN])
def test_a_version_by_its_id_never_changes_whether_the_secret_is_named_or_not(start: str) -> None:
    assert is_fixed(f"{start}:::a1b2c3d4-5678-90ab-cdef-EXAMPLE11111")
    assert not any(is_fixed(each) for each in (start, f"{start}:password::", f"{start}::AWSPREVIOUS:"))


def test_as_many_rules_as_their_patterns_need_hear_of_changes() -> None:
    secrets = {f"S{n}": f"arn:aws:secretsmanager:{WHERE}:secret:{'x' * 100}-{n:03}-a1b2c3" for n in range(40)}
    secrets["OLD"] = f"{A_SECRET}:::a1b2c3d4-5678-90ab-cdef-EXAMPLE11111"
    made = deploy(lambda: service("api", secrets=secrets, restart_on_secret_change=True))
    rules = [each for each in of_type(made, "aws:cloudwatch/eventRule:EventRule") if "secrets" in each.name]
    assert max(len(each.inputs["eventPattern"]) for each in rules) <= 2048
    assert [each.name for each in rules][:2] == ["api-secrets", "api-secrets-2"]
    heard = [arn for each in rules for arn in each.json("eventPattern")["resources"]]
    assert sorted(heard) == sorted(value for name, value in secrets.items() if name != "OLD")


def read(made: list[Resource], policy: str) -> set[str]:
    """The secrets and parameters that a policy lets a role read."""
    actions = {"ssm:GetParameters", "secretsmanager:GetSecretValue"}
    found = [each for each in statements(made, policy) if {*several(each["Action"])} <= actions]
    return {arn for each in found for arn in several(each["Resource"])}
