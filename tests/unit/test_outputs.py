"""Arguments that only refer to something else may be Outputs of the same program, with the same result."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import pulumi
import pytest
from slipway import (
    Approval,
    BlueGreen,
    CodeCommit,
    CodeScan,
    Connection,
    DeployStage,
    EcrImage,
    ExistingRegistry,
    Filter,
    Hook,
    Notifications,
    Pipeline,
    Push,
    S3Object,
    Slack,
    Teams,
)
from unit.examples import (
    GITHUB,
    TEST_LISTENER,
    UUID,
    build,
    command_project,
    load_balancer,
    notifier,
    pipeline,
    registry,
    service,
)
from unit.harness import Resource, deploy

WHERE = "eu-west-1:123456789012"
SECRET, PARAMETER = f"arn:aws:secretsmanager:{WHERE}:secret:db-a1b2c3", f"arn:aws:ssm:{WHERE}:parameter/token"
KEY = f"arn:aws:kms:{WHERE}:key/k"
SUBNETS = ["subnet-8", "subnet-9"]
Late = Callable[[Any], Any]


def with_hook(late: Late) -> BlueGreen:
    hooks = [Hook(stages=["PRE_SCALE_UP"], function_arn=late(f"arn:aws:lambda:{WHERE}:function:{n}")) for n in "ab"]
    return BlueGreen(hooks=hooks)


def with_source(name: str, source: Any = None, **args: Any) -> Pipeline:
    if not isinstance(source, EcrImage):
        return pipeline(name, stages=[], source=source or CodeCommit(repository="given"), **args)
    given = service(f"{name}-service", environment_name="dev", registry=ExistingRegistry("shop-dev"))
    return pipeline(name, source=source, build=None, stages=[DeployStage(service=given)])


def with_approval(name: str, link: Any = None) -> Pipeline:
    given = registry(f"given-{name}")
    made = service(f"{name}-service", environment_name="dev", registry=given)
    stage = DeployStage(service=made, approval=Approval(link=link))
    return pipeline(name, build=build(f"{name}-build", registry=given), stages=[stage])


def scan(**args: Any) -> dict[str, Any]:
    return {"settings": CodeScan(name="lint", commands=["make lint"], **args)}


def from_git(late: Late) -> Connection:
    filters = Filter(includes=[late("release/*")], excludes=[late("main")])
    return Connection(
        arn=late(GITHUB), repository=late("acme/shop"), branch=late("release"), push=[Push(branches=filters)]
    )


def of_a_host(late: Late) -> Connection:
    return Connection(host_arn=late(GITHUB.replace("connection/", "host/")), repository="acme/shop")


FIELDS: dict[str, tuple[Any, Callable[[Late], dict[str, Any]]]] = {
    "service: environment": (service, lambda late: {"environment": {"QUEUE": late("https://sqs/q"), "B": "b"}}),
    "service: secrets": (service, lambda late: {"secrets": {"A": late(f"{SECRET}:key::"), "B": late(PARAMETER)}}),
    "service: secrets, all in Secrets Manager": (service, lambda late: {"secrets": {"A": late(SECRET)}}),
    "service: secrets, all parameters": (service, lambda late: {"secrets": {"A": late(PARAMETER)}}),
    "service: secrets_kms_key_arns": (service, lambda late: {"secrets_kms_key_arns": [late(KEY)]}),
    "service: alarm_names": (service, lambda late: {"alarm_names": [late("latency"), "errors"]}),
    "service: url": (service, lambda late: {"url": late("https://shop.example.com")}),
    "service: subnet_ids": (service, lambda late: {"subnet_ids": late(SUBNETS)}),
    "service: each of subnet_ids": (service, lambda late: {"subnet_ids": [late(id) for id in SUBNETS]}),
    "service: hooks": (service, lambda late: {"strategy": with_hook(late)}),
    "load balancer: certificate_arn": (
        load_balancer,
        lambda late: {"certificate_arn": late(f"arn:aws:acm:{WHERE}:certificate/c"), "test_listener": TEST_LISTENER},
    ),
    "load balancer: ingress_cidrs": (load_balancer, lambda late: {"ingress_cidrs": [late("10.0.0.0/8")]}),
    "build: build_args": (build, lambda late: {"build_args": {"B": late("https://x"), "A": "1"}}),
    "build: builder_image": (build, lambda late: {"builder_image": late("registry.example.com/buildkit:1")}),
    "commands: environment": (command_project, lambda late: scan(environment={"URL": late("https://x"), "A": "1"})),
    "commands: secrets": (
        command_project,
        lambda late: scan(secrets={"A": late(f"{SECRET}:key::"), "B": late(PARAMETER), "C": SECRET}),
    ),
    "commands: secrets_kms_key_arns": (command_project, lambda late: scan(secrets_kms_key_arns=[late(KEY)])),
    "commands: image": (command_project, lambda late: scan(image=late("example.com/aarch64/tools:1"))),
    "commands: an image of CodeBuild's": (command_project, lambda late: scan(image=late("aws/codebuild/x:1"))),
    "pipeline: variables": (with_source, lambda late: {"variables": {"LEVEL": late("info"), "A": "1"}}),
    "codecommit": (
        with_source,
        lambda late: {"source": CodeCommit(repository=late("shop"), branch=late("release"))},
    ),
    "connection": (with_source, lambda late: {"source": from_git(late)}),
    "connection: host_arn": (with_source, lambda late: {"source": of_a_host(late)}),
    "s3": (
        with_source,
        lambda late: {"source": S3Object(bucket=late("acme-sources"), key=late("a.zip"), kms_key_arn=late(KEY))},
    ),
    "image": (with_source, lambda late: {"source": EcrImage(repository=late("shop-dev"), tag="verified-x")}),
    "approval: link": (with_approval, lambda late: {"link": late("https://example.com/{commit}")}),
    "notifications: slack": (
        notifier,
        lambda late: {"notifications": Notifications(slack=Slack(team_id=late("T1"), channel_id=late("C1")))},
    ),
    "notifications: teams": (
        notifier,
        lambda late: {
            "notifications": Notifications(
                teams=Teams(tenant_id=late(UUID), team_id=late(UUID), channel_id=late("19%3a0%40thread.tacv2"))
            )
        },
    ),
    "registry: kms_key_arn": (registry, lambda late: {"kms_key_arn": late(KEY)}),
    "registry: pull_principals": (registry, lambda late: {"pull_principals": [late("arn:aws:iam::123456789012:root")]}),
}


@pytest.mark.parametrize("field", FIELDS)
def test_an_output_creates_the_same_resources_as_its_value(field: str) -> None:
    component, args = FIELDS[field]

    def made(late: Late) -> list[Resource]:
        return comparable(deploy(lambda: component("api", **args(late))))

    plain, later = made(lambda value: value), made(pulumi.Output.from_input)
    if field == "load balancer: ingress_cidrs":
        # Rules have the names of their ranges as soon as these are known.
        plain, later = ([dataclasses.replace(each, name="", urn="") for each in made] for made in (plain, later))
    assert later == plain
    assert comparable(deploy(lambda: component("api"))) != plain


def comparable(resources: list[Resource]) -> list[Resource]:
    """Archives never compare equal."""
    for resource in resources:
        resource.inputs.pop("code", None)
    return resources


def failure(program: Callable[[], Any]) -> str:
    with pytest.raises(Exception) as error:
        deploy(program)
    return str(error.value)


def either(late: bool) -> Late:
    return pulumi.Output.from_input if late else lambda value: value


either_way = pytest.mark.parametrize("late", [False, True], ids=["known at once", "known later"])


@either_way
def test_a_secret_in_another_region_is_rejected(late: bool) -> None:
    there = SECRET.replace("eu-west-1", "us-east-1")
    # ECS reads a parameter in another Region by its ARN.
    # https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Secret.html
    secrets = {"A": PARAMETER.replace("eu-west-1", "us-east-1"), "B": there}
    assert failure(lambda: service("api", secrets={k: either(late)(v) for k, v in secrets.items()})) == (
        "secrets['B'] must be in eu-west-1, got one in us-east-1: a task would wait for another Region whenever it "
        "starts; replicate the secret"
    )


@either_way
def test_a_key_in_another_region_is_rejected(late: bool) -> None:
    key = KEY.replace("eu-west-1", "us-east-1")
    message = "kms_key_arn must be in eu-west-1, got one in us-east-1: "
    assert failure(lambda: registry("web", kms_key_arn=either(late)(key))) == message + (
        "ECR takes a key of its own Region"
    )


@either_way
def test_a_function_in_another_region_is_rejected(late: bool) -> None:
    function = f"arn:aws:lambda:{WHERE}:function:f".replace("eu-west-1", "us-east-1")

    def program() -> None:
        hooks = [Hook(stages=["PRE_SCALE_UP"]), Hook(stages=["POST_SCALE_UP"], function_arn=either(late)(function))]
        service("api", strategy=BlueGreen(hooks=hooks))

    assert failure(program) == (
        "strategy.hooks[1].function_arn must be in eu-west-1, got one in us-east-1: ECS invokes functions of its own "
        "Region"
    )


@either_way
def test_a_credential_in_the_environment_is_rejected_unless_it_is_listed_as_not_secret(late: bool) -> None:
    url = "postgres://shop:" + "hunter2@db.example.com/shop"
    assert failure(lambda: service("api", environment={"URL": either(late)(url)})) == (
        "environment['URL'] must not be a secret, but is a URL with a password: anyone who can describe the resource "
        "can read it; put it into secrets, or add its name to not_secret if it is not a secret"
    )
    deploy(lambda: service("api", environment={"URL": either(late)(url)}, not_secret=["URL"]))


def test_the_variables_must_fit_in_a_task_definition() -> None:
    # The list, the two keys and the separators between them.
    around = len('[{"name": "A", "valueFrom": ""}]')
    deploy(lambda: service("api", environment={"A": "x" * (61_440 - around)}))
    # JSON encodes each of these in six bytes.
    for value, got in (("x" * (61_440 - around + 1), 61_441), ("ä" * 11_000, 66_000 + around)):
        assert failure(partial(service, "api", environment={"A": value})) == (
            f"environment and secrets must have at most 61440 bytes in total as JSON, got {got}: "
            "a task definition has 64 KiB"
        )
    late = failure(lambda: service("api", environment={"A": pulumi.Output.from_input("x" * 70_000)}))
    assert late.startswith("environment and secrets must leave room in a task definition, which has 64 KiB: ")


@either_way
@pytest.mark.parametrize(
    ("component", "args", "message"),
    [
        (
            build,
            lambda late: {"build_args": {"TOKEN": late("ghp_" + "a" * 36)}},
            "build_args['TOKEN'] must not be a secret, but is a GitHub token: anyone who can describe the resource "
            "can read it; put it into secrets and mount it in the Dockerfile, or add its name to not_secret if it "
            "is not a secret",
        ),
        (
            command_project,
            lambda late: scan(environment={"TOKEN": late("ghp_" + "a" * 36)}),
            "environment['TOKEN'] must not be a secret, but is a GitHub token: anyone who can describe the resource "
            "can read it; put it into secrets, or add its name to not_secret if it is not a secret",
        ),
        (
            with_source,
            lambda late: {"variables": {"TOKEN": late("ghp_" + "a" * 36)}},
            "variables['TOKEN'] must not be a secret, but is a GitHub token: anyone who can describe the resource "
            "can read it; read it from Secrets Manager in the commands, or add its name to not_secret if it is not a "
            "secret",
        ),
    ],
    ids=["build", "commands", "pipeline"],
)
def test_a_credential_in_a_projects_plain_variables_is_rejected(
    component: Any, args: Callable[[Late], dict[str, Any]], message: str, late: bool
) -> None:
    assert failure(lambda: component("api", **args(either(late)))) == message
