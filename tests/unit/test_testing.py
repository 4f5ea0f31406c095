"""`slipway.testing`, as a team's own tests use it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest
import slipway
from pulumi.runtime import mocks
from slipway import Domain, EfsVolume, LoadBalancer, LoadBalancerArgs, ServiceConnect, testing
from slipway.testing import Deployment, deploy
from unit.example import blocks
from unit.examples import service
from unit.harness import ROOT
from unit.test_contract import FORMS


def policy_of(*actions: str) -> str:
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def allows(*actions: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": "*"}


def test_the_test_in_the_readme_passes_and_can_fail(tmp_path: Path) -> None:
    program, _, test = blocks(ROOT / "README.md")
    where = {**os.environ, "PYTHONPATH": str(Path(slipway.__file__).parents[1])}

    def outcome() -> tuple[int, str]:
        run = [sys.executable, "-W", "ignore", "-m", "pytest", "-q", "-p", "no:cacheprovider", "."]
        done = subprocess.run(run, cwd=tmp_path, env=where, capture_output=True, text=True)
        return done.returncode, done.stdout

    (tmp_path / "__main__.py").write_text(program)
    (tmp_path / "test_program.py").write_text(test)
    code, text = outcome()
    assert (code, "1 passed" in text) == (0, True), text
    (tmp_path / "__main__.py").write_text(
        program.replace('DATABASE_URL": config.require("databaseUrlSecretArn")', 'DATABASE_URL": "/shop/database-url"')
    )
    code, text = outcome()
    assert (code, "1 failed" in text) == (1, True), text


def queue() -> None:
    made = aws.sqs.Queue("orders")
    pulumi.export("url", made.url)
    pulumi.export("arn", made.arn)
    pulumi.export("id", made.id)


def test_the_exports_are_what_aws_would_return() -> None:
    url = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"
    assert deploy(queue).exports == {"url": url, "arn": "arn:aws:sqs:eu-west-1:123456789012:orders", "id": url}


def test_a_resource_is_found_by_its_token_and_by_its_class() -> None:
    deployment = deploy(queue)
    by_token = deployment.only("aws:sqs/queue:Queue")
    assert by_token.name == "orders"
    assert deployment.only(aws.sqs.Queue) is by_token
    assert deployment.named(aws.sqs.Queue, "orders") is by_token
    assert deployment.of_type(aws.sns.Topic) == []


def test_a_component_of_slipway_is_found_by_its_class() -> None:
    deployment = deploy(lambda: slipway.Registry("shop"))
    assert deployment.only(slipway.Registry).outputs["url"] == "123456789012.dkr.ecr.eu-west-1.amazonaws.com/shop"


def test_a_class_without_a_token_is_rejected() -> None:
    class Own(pulumi.ComponentResource):
        pass

    with pytest.raises(TypeError, match=r"^Own carries no type token: pass the token, such as 'acme:index:Own'$"):
        deploy(queue).only(Own)


@pytest.mark.parametrize(
    ("look", "message"),
    [
        (
            lambda deployment: deployment.only(aws.sns.Topic),
            "expected one resource of type aws:sns/topic:Topic, found 0: []. "
            "The program has these types: ['aws:sqs/queue:Queue', 'pulumi:pulumi:Stack']",
        ),
        (
            lambda deployment: deployment.named(aws.sqs.Queue, "order"),
            "expected one resource of type aws:sqs/queue:Queue with the name order, found 0. "
            "The program has these of that type: ['orders']",
        ),
    ],
)
def test_a_look_up_without_a_result_lists_what_exists(look: Callable[[Deployment], object], message: str) -> None:
    with pytest.raises(AssertionError) as error:
        look(deploy(queue))
    assert str(error.value) == message


def test_a_name_under_two_parents_is_not_unique() -> None:
    def program() -> None:
        for parent in "AB":
            above = pulumi.ComponentResource(f"acme:index:{parent}", parent)
            aws.sqs.Queue("orders", opts=pulumi.ResourceOptions(parent=above))

    with pytest.raises(AssertionError, match=r"with the name orders, found 2\."):
        deploy(program).named(aws.sqs.Queue, "orders")


@pytest.mark.parametrize("own_name", [None, "its-own"])
def test_the_policy_of_a_role_is_everything_that_the_program_grants_it(own_name: str | None) -> None:
    def program() -> None:
        inline = aws.iam.RoleInlinePolicyArgs(name="first", policy=policy_of("s3:GetObject"))
        role = aws.iam.Role("job", name=own_name, assume_role_policy="{}", inline_policies=[inline])
        other = aws.iam.Role("other", assume_role_policy="{}")
        aws.iam.RolePolicy("by-name", role=role.name, policy=policy_of("sqs:SendMessage"))
        aws.iam.RolePolicy("by-id", role=role.id, policy=policy_of("sns:Publish"))
        aws.iam.RolePolicy("of-other", role=other.name, policy=policy_of("iam:PassRole"))
        own = aws.iam.Policy("own", policy=policy_of("kms:Decrypt"))
        shared = aws.iam.Policy("shared", policy=policy_of("kms:Encrypt"))
        aws.iam.RolePolicyAttachment("own", role=role.name, policy_arn=own.arn)
        aws.iam.PolicyAttachment("shared", roles=[role.name], policy_arn=shared.arn)
        aws.iam.RolePolicyAttachment("aws", role=role.name, policy_arn="arn:aws:iam::aws:policy/ReadOnlyAccess")

    deployment = deploy(program)
    found = deployment.policy("job")
    actions = [statement["Action"][0] for statement in found[:-1]]
    assert sorted(actions) == ["kms:Decrypt", "kms:Encrypt", "s3:GetObject", "sns:Publish", "sqs:SendMessage"]
    assert found[-1] == {"PolicyArn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}
    assert deployment.policy("other") == [allows("iam:PassRole")]
    with pytest.raises(AssertionError, match=r"of type aws:iam/role:Role with the name jobs, found 0"):
        deployment.policy("jobs")


def test_a_function_without_a_mock_is_an_error_with_a_remedy() -> None:
    def program() -> None:
        pulumi.export("cidr", aws.ec2.get_vpc(id="vpc-1").cidr_block)

    with pytest.raises(LookupError) as error:
        deploy(program)
    assert str(error.value) == (
        "the program calls aws:ec2/getVpc:getVpc, which no mock answers: add its result to the answers, as in "
        'deploy(program, answers={"aws:ec2/getVpc:getVpc": {…}})'
    )
    answers: dict[str, testing.Answer] = {"aws:ec2/getVpc:getVpc": lambda args: {"cidrBlock": f"of {args['id']}"}}
    deployment = deploy(program, answers=answers)
    assert (deployment.exports, deployment.calls) == ({"cidr": "of vpc-1"}, [("aws:ec2/getVpc:getVpc", "")])


def test_an_output_function_without_a_mock_is_the_same_error() -> None:
    with pytest.raises(LookupError, match=r"^the program calls aws:ec2/getVpc:getVpc, which no mock answers"):
        deploy(lambda: pulumi.export("cidr", aws.ec2.get_vpc_output(id="vpc-1").cidr_block))


def test_answers_override_inputs_and_the_defaults_of_aws() -> None:
    answers: dict[str, testing.Answer] = {"aws:sqs/queue:Queue": {"id": "mine", "arn": "arn:mine", "url": "u"}}
    assert deploy(queue, answers=answers).exports == {"url": "u", "arn": "arn:mine", "id": "mine"}


def test_configuration_belongs_to_the_project_and_secrets_stay_secret() -> None:
    def program() -> None:
        config = pulumi.Config()
        aws.ssm.Parameter(
            "token", name=config.require("name"), type="SecureString", value=config.require_secret("token")
        )
        pulumi.export("ids", config.require_object("subnetIds"))
        pulumi.export("region", pulumi.Config("aws").require("region"))
        pulumi.export("where", f"{pulumi.get_project()}/{pulumi.get_stack()}")

    config = {"name": "/shop/token", "subnetIds": ["subnet-1"], "aws:region": "eu-west-1"}
    deployment = deploy(program, config=config, secrets={"token": "s3cret"}, project="shop", stack="prod")
    assert deployment.exports == {"ids": ["subnet-1"], "region": "eu-west-1", "where": "shop/prod"}
    parameter = deployment.only(aws.ssm.Parameter)
    assert (parameter.inputs["value"], parameter.secrets) == ("s3cret", {"value"})


class OwnError(Exception):
    pass


def raising() -> None:
    raise OwnError("of the program")


def raising_late() -> None:
    pulumi.export("x", aws.sqs.Queue("orders").arn.apply(lambda _: raising()))


@pytest.mark.parametrize("program", [raising, raising_late])
def test_an_error_of_the_program_is_raised_unchanged(program: Callable[[], None]) -> None:
    with pytest.raises(OwnError, match=r"^of the program$"):
        deploy(program)
    assert deploy(queue).exports.keys() == {"url", "arn", "id"}  # nothing of the failed run is left


def test_everything_is_waited_for_including_coroutines_and_resources_created_in_an_apply() -> None:
    async def program() -> None:
        first = aws.sqs.Queue("first")
        first.arn.apply(lambda arn: aws.sns.Topic("late", name=arn.rpartition(":")[2]))

    assert deploy(program).only(aws.sns.Topic).inputs["name"] == "first"


def test_warnings_and_options_are_recorded() -> None:
    def program() -> None:
        first = aws.sqs.Queue("first", opts=pulumi.ResourceOptions(protect=True, retain_on_delete=True))
        opts = pulumi.ResourceOptions(depends_on=first, ignore_changes=["name"])
        aws.sqs.Queue("second", opts=opts)
        pulumi.log.warn("careful")

    deployment = deploy(program)
    first, second = deployment.of_type(aws.sqs.Queue)
    assert (first.protect, first.retain, second.depends_on, second.ignore_changes) == (True, True, {"first"}, ["name"])
    assert deployment.warnings == ["careful"]


def test_each_run_of_a_file_imports_the_modules_in_its_folder_again(tmp_path: Path) -> None:
    (tmp_path / "parts.py").write_text("import pulumi_aws as aws\nqueue = aws.sqs.Queue('orders')\n")
    (tmp_path / "__main__.py").write_text("import parts, pulumi\npulumi.export('arn', parts.queue.arn)\n")
    before = list(sys.path)
    for _ in range(2):
        deployment = deploy(tmp_path / "__main__.py")
        assert deployment.only(aws.sqs.Queue).name == "orders"
        assert deployment.exports == {"arn": "arn:aws:sqs:eu-west-1:123456789012:orders"}
    assert (sys.path, "parts" in sys.modules) == (before, False)


def test_the_arn_of_an_unknown_type_has_the_common_format() -> None:
    deployment = deploy(lambda: pulumi.export("arn", aws.kinesis.Stream("clicks").arn))
    assert deployment.exports == {"arn": "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"}


def test_the_mocks_also_work_with_pulumis_own_harness() -> None:
    code = """
import pulumi, pulumi_aws as aws
from slipway.testing import Mocks
pulumi.runtime.set_mocks(Mocks(), project="shop", stack="dev", preview=False)
import slipway

@pulumi.runtime.test
def test():
    return slipway.Registry("shop").url.apply(print)

test()
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("123456789012.dkr.ecr.eu-west-1.amazonaws.com/shop\n", "")


def test_neither_pytest_nor_the_release_function_is_needed() -> None:
    code = "import sys, slipway.testing; print({'pytest', 'boto3', 'pulumi_awsx'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("set()\n", "")


class Bare(mocks.Mocks):
    """Mocks as in many tests: a resource has its inputs, and nothing that AWS adds."""

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        return f"{args.name}-id", args.inputs

    def call(self, args: mocks.MockCallArgs) -> Any:
        return {}


class BareButCalls(Bare):
    """The same, with results of functions that nearly every program calls."""

    def call(self, args: mocks.MockCallArgs) -> Any:
        return testing.Mocks().call(args)


@pytest.mark.parametrize("answers", [Bare(), BareButCalls()], ids=lambda mocks: type(mocks).__name__)
@pytest.mark.parametrize("form", FORMS)
def test_a_component_under_mocks_without_outputs_works_or_names_suitable_mocks(form: str, answers: mocks.Mocks) -> None:
    recorder = testing.Recorder(answers, "shop", "dev")
    try:
        testing.run(recorder, lambda: FORMS[form][1]("app"), {}, {})
    except pulumi.RunError as error:
        # Pulumi may prefix the input and the resource, and a constraint the argument.
        assert re.search(r"(.+ is made of an output that is None|, got None)" + re.escape(ADVICE) + "$", str(error))


ADVICE = (
    ": the mocks of this test return none. slipway.testing.Mocks answers as AWS would, and takes `answers` for what it "
    "does not know"
)


def test_a_missing_output_is_shown_in_its_place() -> None:
    recorder = testing.Recorder(BareButCalls(), "shop", "dev")
    with pytest.raises(pulumi.RunError) as error:
        testing.run(recorder, lambda: slipway.ArtifactStore("app"), {}, {})
    assert str(error.value) == f"'<None>/*' is made of an output that is None{ADVICE}"


def test_a_missing_output_of_a_program_is_named_as_an_argument() -> None:
    def program() -> None:
        args = slipway.LoadBalancerArgs(
            vpc_id="vpc-1",
            subnet_ids=["subnet-1", "subnet-2"],
            certificate_arn=aws.acm.Certificate("shop", domain_name="shop.example.com").arn,
        )
        slipway.LoadBalancer("shop", args)

    with pytest.raises(pulumi.RunError, match=r"certificate_arn must be .+, got None" + re.escape(ADVICE)):
        deploy(program, answers={"aws:acm/certificate:Certificate": {"arn": None}})


def test_strings_are_built_from_outputs_in_one_way() -> None:
    """`Output.concat` and similar functions end in a TypeError of `str.join` if an output of mocks is None."""
    folder = Path(slipway.__file__).parent
    texts = {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*.py"))}
    assert [name for name, text in texts.items() if re.search(r"Output\.(concat|format)\(", text)] == []


def test_ids_of_real_resources_have_the_form_that_the_components_check() -> None:
    def program() -> None:
        vpc, system = aws.ec2.Vpc("given"), aws.efs.FileSystem("given")
        subnets = [aws.ec2.Subnet(f"given-{zone}", vpc_id=vpc.id) for zone in "ab"]
        group = aws.ec2.SecurityGroup("given", vpc_id=vpc.id)
        zone = aws.route53.Zone("given", name="example.com")
        balancer = LoadBalancer(
            "shop",
            LoadBalancerArgs(
                vpc_id=vpc.id,
                subnet_ids=[each.id for each in subnets],
                domain=Domain(names=["shop.example.com"], zone=zone.zone_id),
                waf_acl_arn=aws.wafv2.WebAcl(
                    "given",
                    scope="REGIONAL",
                    default_action={"allow": {}},
                    visibility_config={
                        "cloudwatch_metrics_enabled": False,
                        "metric_name": "shop",
                        "sampled_requests_enabled": False,
                    },
                ).arn,
            ),
        )
        point = aws.efs.AccessPoint("given", file_system_id=system.id)
        service(
            "shop",
            load_balancer=balancer,
            service_connect=ServiceConnect(
                namespace_arn=aws.servicediscovery.HttpNamespace("given", name="shop").arn,
                clients={"other": group.id},
            ),
            volumes={
                "data": EfsVolume(
                    file_system_id=system.id, path="/data", access_point_id=point.id, security_group_id=group.id
                )
            },
            writable_paths=["/tmp"],
        )

    assert len(testing.deploy(program).of_type("aws:ecs/service:Service")) == 1
