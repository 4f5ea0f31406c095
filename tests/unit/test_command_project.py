import json
from functools import cache
from typing import Any

import pulumi
import pytest
from slipway import CodeScan, CommandProject, StageTests
from slipway.build.component import export_variables
from slipway.pipeline.commands import buildspec
from unit.examples import VPC, command_project_args
from unit.examples import command_project as made
from unit.harness import Resource, deploy, granted, named, only, resolved, rights, trusted

PROJECT = "aws:codebuild/project:Project"
PLACE = "eu-west-1:123456789012"
KEY = f"arn:aws:kms:{PLACE}:key/given-shop-lint-key"
SECRET = f"arn:aws:secretsmanager:{PLACE}:secret:sonar-AbC123"
PARAMETER = f"arn:aws:ssm:{PLACE}:parameter/shop/token"
WRITE_LOG = {
    "Effect": "Allow",
    "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
    "Resource": [f"arn:aws:logs:{PLACE}:log-group:/aws/codebuild/shop-lint{end}" for end in ("", ":*")],
}
READ_ARTIFACTS = [
    {
        "Effect": "Allow",
        "Action": ["s3:GetBucketAcl", "s3:GetBucketLocation"],
        "Resource": "arn:aws:s3:::given-shop-lint",
        "Condition": {"StringEquals": {"aws:ResourceAccount": "123456789012"}},
    },
    {
        "Effect": "Allow",
        "Action": ["s3:GetObject", "s3:GetObjectVersion"],
        "Resource": "arn:aws:s3:::given-shop-lint/*",
        "Condition": {"StringEquals": {"aws:ResourceAccount": "123456789012"}},
    },
    {
        "Effect": "Allow",
        "Action": ["kms:Decrypt"],
        "Resource": KEY,
        "Condition": {"StringEquals": {"kms:ViaService": "s3.eu-west-1.amazonaws.com"}},
    },
]


def scan(**args: Any) -> CodeScan:
    return CodeScan(**{"name": "lint", "commands": ["make lint"], **args})


def for_stage(**args: Any) -> Any:
    """A different name, because pytest would collect the class as tests."""
    return StageTests(**{"commands": ["make smoke"], **args})


def deployed(**args: Any) -> list[Resource]:
    return deploy(lambda: made("shop-lint", **args)) if args else by_default()


@cache
def by_default() -> list[Resource]:
    return deploy(lambda: made("shop-lint"))


def refusal(settings: Any, **args: Any) -> str:
    with pytest.raises(ValueError) as error:
        settings(**args)
    return str(error.value)


def test_the_project_runs_its_commands_on_the_artifact_of_the_pipeline() -> None:
    assert only(deployed(), PROJECT).inputs == {
        "name": "shop-lint",
        "description": "Lints",
        "serviceRole": "arn:aws:iam::123456789012:role/shop-lint-role",
        "buildTimeout": 15,
        "encryptionKey": KEY,
        "source": {"type": "CODEPIPELINE", "buildspec": buildspec(scan(), False)},
        "artifacts": {"type": "CODEPIPELINE"},
        "environment": {
            "type": "LINUX_CONTAINER",
            "image": "aws/codebuild/amazonlinux-x86_64-standard:6.0",
            "computeType": "BUILD_GENERAL1_SMALL",
            "imagePullCredentialsType": "CODEBUILD",
            "privilegedMode": False,
            "environmentVariables": [],
        },
        "logsConfig": {"cloudwatchLogs": {"groupName": "/aws/codebuild/shop-lint"}},
    }


def test_a_project_that_the_release_function_starts_has_no_source_of_its_own() -> None:
    project = only(deployed(settings=for_stage(), in_pipeline=False), PROJECT).inputs
    assert project["source"] == {"type": "NO_SOURCE", "buildspec": buildspec(for_stage(), False)}
    assert project["artifacts"] == {"type": "NO_ARTIFACTS"}


def test_the_project_is_created_after_its_role_has_its_permissions() -> None:
    assert only(deployed(), PROJECT).depends_on == {
        "given-shop-lint-key",
        "shop-lint-logs",
        "shop-lint-policy",
        "shop-lint-role",
    }


def test_the_commands_run_in_order_with_bash_and_without_artifacts() -> None:
    assert json.loads(buildspec(scan(commands=["npm ci", "npm run lint"]), False)) == {
        "version": 0.2,
        "env": {"shell": "bash"},
        "phases": {"build": {"commands": ["npm ci", "npm run lint"]}},
    }


def test_the_pipelines_variables_are_exported_before_the_commands() -> None:
    assert json.loads(buildspec(scan(commands=["npm run lint"]), True))["phases"] == {
        "pre_build": {"commands": [export_variables()]},
        "build": {"commands": ["npm run lint"]},
    }


def test_compute_type_timeout_docker_and_log_retention_of_commands_can_be_set() -> None:
    args = scan(compute_type="BUILD_GENERAL1_LARGE", timeout_minutes=90, privileged=True, log_retention_days=7)
    resources = deployed(settings=args, description="Looks")
    project = only(resources, PROJECT).inputs
    assert (project["environment"]["computeType"], project["environment"]["privilegedMode"]) == (
        "BUILD_GENERAL1_LARGE",
        True,
    )
    assert (project["buildTimeout"], project["description"]) == (90, "Looks")
    assert only(resources, "aws:cloudwatch/logGroup:LogGroup").inputs == {
        "name": "/aws/codebuild/shop-lint",
        "retentionInDays": 7,
    }


def test_an_image_from_elsewhere_is_pulled_with_the_projects_role() -> None:
    environment = only(deployed(settings=scan(image="sonarsource/sonar-scanner-cli:11")), PROJECT).inputs["environment"]
    assert (environment["image"], environment["imagePullCredentialsType"]) == (
        "sonarsource/sonar-scanner-cli:11",
        "SERVICE_ROLE",
    )


@pytest.mark.parametrize(
    ("image", "container"),
    [
        ("aws/codebuild/amazonlinux-aarch64-standard:3.0", "ARM_CONTAINER"),
        ("aws/codebuild/amazonlinux-x86_64-standard:6.0", "LINUX_CONTAINER"),
        ("semgrep/semgrep:1", "LINUX_CONTAINER"),
    ],
)
def test_an_image_for_arm_runs_in_a_container_for_arm(image: str, container: str) -> None:
    environment = only(deployed(settings=scan(image=image)), PROJECT).inputs["environment"]
    assert (environment["image"], environment["type"]) == (image, container)


def test_secrets_are_references_and_only_other_variables_are_plain() -> None:
    args = scan(
        environment={"STAGE": "dev", "DEBUG": "1"},
        secrets={
            "TOKEN": SECRET,
            "PASSWORD": f"{SECRET}:password::",
            "DEEP": PARAMETER,
            "FLAT": f"arn:aws:ssm:{PLACE}:parameter/token",
        },
    )
    assert only(deployed(settings=args), PROJECT).inputs["environment"]["environmentVariables"] == [
        {"name": "DEBUG", "value": "1", "type": "PLAINTEXT"},
        {"name": "STAGE", "value": "dev", "type": "PLAINTEXT"},
        {"name": "DEEP", "value": "/shop/token", "type": "PARAMETER_STORE"},
        {"name": "FLAT", "value": "token", "type": "PARAMETER_STORE"},
        {"name": "PASSWORD", "value": f"{SECRET}:password::", "type": "SECRETS_MANAGER"},
        {"name": "TOKEN", "value": SECRET, "type": "SECRETS_MANAGER"},
    ]


def test_the_role_is_for_this_project_only() -> None:
    assert trusted(deployed(), "shop-lint-role") == [
        {
            "Effect": "Allow",
            "Principal": {"Service": "codebuild.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {
                "StringEquals": {"aws:SourceAccount": "123456789012"},
                "ArnLike": {"aws:SourceArn": f"arn:aws:codebuild:{PLACE}:project/shop-lint"},
            },
        }
    ]


def test_commands_may_write_their_log_and_read_artifacts_and_nothing_else() -> None:
    resources = deployed()
    assert named(resources, "shop-lint-policy").inputs["role"] == "shop-lint-role"
    assert rights(resources, "shop-lint-policy") == granted([WRITE_LOG, *READ_ARTIFACTS])


def test_commands_may_read_their_secrets_and_parameters_with_one_statement_each() -> None:
    other = f"arn:aws:secretsmanager:{PLACE}:secret:a-1"
    flat = f"arn:aws:ssm:{PLACE}:parameter/token"
    args = scan(
        secrets={
            "A": f"{SECRET}:password::",
            "B": f"{SECRET}:user:AWSCURRENT:",
            "C": other,
            "D": flat,
            "E": PARAMETER,
            "F": flat,
        }
    )
    assert rights(deployed(settings=args), "shop-lint-policy") == granted(
        [
            WRITE_LOG,
            *READ_ARTIFACTS,
            {"Effect": "Allow", "Action": ["secretsmanager:GetSecretValue"], "Resource": [other, SECRET]},
            {"Effect": "Allow", "Action": ["ssm:GetParameters"], "Resource": [PARAMETER, flat]},
        ]
    )


def test_commands_may_decrypt_with_the_keys_of_their_secrets_and_no_others() -> None:
    key = f"arn:aws:kms:{PLACE}:key/k"
    args = scan(secrets={"A": SECRET}, secrets_kms_key_arns=[key])
    assert rights(deployed(settings=args), "shop-lint-policy") == granted(
        [
            WRITE_LOG,
            *READ_ARTIFACTS,
            {"Effect": "Allow", "Action": ["secretsmanager:GetSecretValue"], "Resource": [SECRET]},
            {"Effect": "Allow", "Action": ["kms:Decrypt"], "Resource": [key]},
        ]
    )


def test_commands_in_a_vpc_may_create_network_interfaces_in_its_subnets_for_codebuild() -> None:
    assert rights(deployed(vpc=VPC), "shop-lint-policy") == granted(
        [
            WRITE_LOG,
            *READ_ARTIFACTS,
            {
                "Effect": "Allow",
                "Action": [
                    "ec2:DescribeNetworkInterfaces",
                    "ec2:DescribeSubnets",
                    "ec2:DescribeSecurityGroups",
                    "ec2:DescribeDhcpOptions",
                    "ec2:DescribeVpcs",
                    "ec2:CreateNetworkInterface",
                    "ec2:DeleteNetworkInterface",
                ],
                "Resource": "*",
            },
            {
                "Effect": "Allow",
                "Action": ["ec2:CreateNetworkInterfacePermission"],
                "Resource": f"arn:aws:ec2:{PLACE}:network-interface/*",
                "Condition": {
                    "StringEquals": {"ec2:AuthorizedService": "codebuild.amazonaws.com"},
                    "ArnEquals": {
                        "ec2:Subnet": [f"arn:aws:ec2:{PLACE}:subnet/subnet-3", f"arn:aws:ec2:{PLACE}:subnet/subnet-4"]
                    },
                },
            },
        ]
    )


def test_commands_in_a_vpc_use_the_given_security_group_and_create_none() -> None:
    resources = deployed(vpc=VPC)
    assert only(resources, PROJECT).inputs["vpcConfig"] == {
        "vpcId": "vpc-1",
        "subnets": ["subnet-3", "subnet-4"],
        "securityGroupIds": ["sg-1"],
    }
    assert {resource.type for resource in resources} == {resource.type for resource in deployed()}


def test_commands_outside_a_vpc_have_no_vpc_configuration() -> None:
    assert "vpcConfig" not in only(deployed(), PROJECT).inputs


def test_run_access_is_to_start_follow_and_stop_builds_of_this_project() -> None:
    assert resolved(lambda: made("shop-lint").run_statements()) == [
        {
            "Effect": "Allow",
            "Action": ["codebuild:StartBuild", "codebuild:BatchGetBuilds", "codebuild:StopBuild"],
            "Resource": f"arn:aws:codebuild:{PLACE}:project/shop-lint",
        }
    ]


def test_tests_of_a_stage_run_outside_the_vpc_by_default() -> None:
    assert (for_stage().in_vpc, for_stage(in_vpc=True).in_vpc) == (False, True)


TOO_LONG = "environment and secrets must have at most 4500 characters in total, got {}: put long values into a file of "
TOO_LONG += "the repository"
TOKEN = "ghp_" + "a" * 36


@pytest.mark.parametrize("settings", [scan, for_stage])
@pytest.mark.parametrize(
    ("args", "messages"),
    [
        (
            {"environment": {"B": "1", "A": "1", "C": "1"}, "secrets": {"B": SECRET, "A": SECRET}},
            ["environment must not have names that are also in secrets, got ['A', 'B']"],
        ),
        (
            {"environment": {"TOKEN": TOKEN}},
            [
                "environment['TOKEN'] must not be a secret, but is a GitHub token: anyone who can describe the "
                "resource can read it; put it into secrets, or add its name to not_secret if it is not a secret"
            ],
        ),
        (
            {"environment": {"A": "1"}, "not_secret": ["A", "B"]},
            ["not_secret must contain only names in environment, got ['B']"],
        ),
        ({"environment": {"A": "x" * 4500}}, [TOO_LONG.format(4501)]),
        ({"environment": {"A": "x" * 4490}, "secrets": {"B": SECRET}}, [TOO_LONG.format(4492 + len(SECRET))]),
        (
            {"commands": [], "timeout_minutes": 0},
            ["commands must have at least 1 item, got []", "timeout_minutes must be between 5 and 480, got 0"],
        ),
    ],
)
def test_invalid_combinations_of_settings_are_rejected(
    settings: Any, args: dict[str, Any], messages: list[str]
) -> None:
    assert refusal(settings, **args).split("\n") == messages


def test_commands_at_the_limits_are_accepted() -> None:
    args: dict[str, Any] = {"environment": {"A": "x" * 4460, "TOKEN": "ghp_" + "a" * 30}, "not_secret": ["TOKEN"]}
    assert scan(**args).environment == args["environment"]


def test_the_limit_applies_to_variables_that_are_outputs_too() -> None:
    with pytest.raises(Exception) as error:
        deploy(lambda: made("shop-lint", settings=scan(environment={"A": pulumi.Output.from_input("x" * 4500)})))
    assert str(error.value) == TOO_LONG.format(4501)


@pytest.mark.parametrize("late", [False, True], ids=["known at once", "known later"])
@pytest.mark.parametrize("arn", [SECRET, PARAMETER])
def test_a_secret_or_a_parameter_in_another_region_is_rejected(arn: str, late: bool) -> None:
    def program() -> None:
        there: Any = arn.replace("eu-west-1", "us-east-1")
        made("shop-lint", settings=scan(secrets={"A": SECRET, "B": pulumi.Output.from_input(there) if late else there}))

    with pytest.raises(Exception) as error:
        deploy(program)
    assert str(error.value) == (
        "secrets['B'] must be in eu-west-1, got one in us-east-1: CodeBuild reads secrets and parameters of its own "
        "Region"
    )


GIVEN = "environment and secrets must not have ['COMMIT_ID', 'ENVIRONMENT', 'IMAGE_DIGEST', 'PIPELINE_EXECUTION_ID', "
GIVEN += "'SERVICE_URL'], "


@pytest.mark.parametrize("name", ["SERVICE_URL", "ENVIRONMENT", "IMAGE_DIGEST", "COMMIT_ID", "PIPELINE_EXECUTION_ID"])
@pytest.mark.parametrize("where", [{"environment": "x"}, {"secrets": SECRET}], ids=["environment", "secrets"])
def test_tests_cannot_override_the_variables_that_every_test_has(where: dict[str, str], name: str) -> None:
    args = {key: {name: value, "A": value} for key, value in where.items()}
    assert refusal(for_stage, **args) == f"{GIVEN}which every test has, got [{name!r}]"
    # A scan has none of these.
    assert [getattr(scan(**args), key) for key in args] == list(args.values())


def test_a_scan_cannot_have_the_name_of_a_stages_tests() -> None:
    assert refusal(scan, name="tests") == ("name must not be tests, which is the name of the tests of a stage")


@pytest.mark.parametrize("name", ["a", "-api", "Api", "a_b", "a" * 52])
def test_invalid_project_names_are_rejected(name: str) -> None:
    with pytest.raises(ValueError) as error:
        deploy(lambda: CommandProject(name, command_project_args("given")))
    assert str(error.value) == (
        "a project's name must be 2 to 51 characters of a-z 0-9 and single - between them, starting with a letter, "
        f"got {name!r}"
    )
