from functools import cache
from importlib import resources as files
from typing import Any

import pytest
import yaml
from slipway import Build, BuildArgs, ExistingRegistry
from slipway.build.component import BuildSettings, environment, own_buildspec
from unit.examples import build, registry
from unit.harness import Resource, deploy, granted, named, of_type, only, resolved, rights, statements, trusted

PROJECT = "aws:codebuild/project:Project"
URL = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/api"
BUCKET = "arn:aws:s3:::api-artifacts"


def deployed(**args: Any) -> list[Resource]:
    return deploy(lambda: build("api", registry=registry("api"), **args)) if args else by_default()


@cache
def by_default() -> list[Resource]:
    return deploy(lambda: build("api", registry=registry("api")))


def test_the_project_builds_with_docker_what_its_pipeline_brings() -> None:
    assert only(deployed(), PROJECT).inputs == {
        "name": "api",
        "description": "Tests a commit, builds its image and pushes it to api",
        "serviceRole": "arn:aws:iam::123456789012:role/api-build-role",
        "buildTimeout": 30,
        "encryptionKey": "arn:aws:kms:eu-west-1:123456789012:key/api-artifacts-key",
        "source": {"type": "CODEPIPELINE", "buildspec": own_buildspec()},
        "artifacts": {"type": "CODEPIPELINE"},
        "environment": {
            "type": "LINUX_CONTAINER",
            "image": "aws/codebuild/amazonlinux-x86_64-standard:6.0",
            "computeType": "BUILD_GENERAL1_SMALL",
            "privilegedMode": True,
            "environmentVariables": [
                {"name": "BUILDER_IMAGE", "value": "moby/buildkit:buildx-stable-1", "type": "PLAINTEXT"},
                {"name": "BUILD_ARGS", "value": "", "type": "PLAINTEXT"},
                {"name": "CONTAINER_NAME", "value": "app", "type": "PLAINTEXT"},
                {"name": "CONTEXT", "value": ".", "type": "PLAINTEXT"},
                {"name": "DOCKERFILE", "value": "Dockerfile", "type": "PLAINTEXT"},
                {"name": "REPOSITORY_URL", "value": URL, "type": "PLAINTEXT"},
                {"name": "TEST_COMMANDS", "value": "", "type": "PLAINTEXT"},
            ],
        },
        "logsConfig": {"cloudwatchLogs": {"groupName": "/aws/codebuild/api"}},
    }


def test_the_project_is_made_after_its_role_can_do_its_work() -> None:
    assert only(deployed(), PROJECT).depends_on == {
        "api",
        "api-artifacts-key",
        "api-build-policy",
        "api-build-role",
        "api-logs",
    }


def test_a_build_for_arm_runs_on_arm() -> None:
    args = only(deployed(cpu_architecture="ARM64"), PROJECT).inputs["environment"]
    assert (args["type"], args["image"]) == ("ARM_CONTAINER", "aws/codebuild/amazonlinux-aarch64-standard:3.0")


def test_a_build_can_have_another_size_and_time_and_a_log_of_another_length() -> None:
    resources = deployed(compute_type="BUILD_GENERAL1_LARGE", timeout_minutes=90, log_retention_days=7)
    project = only(resources, PROJECT).inputs
    assert (project["environment"]["computeType"], project["buildTimeout"]) == ("BUILD_GENERAL1_LARGE", 90)
    assert only(resources, "aws:cloudwatch/logGroup:LogGroup").inputs == {
        "name": "/aws/codebuild/api",
        "retentionInDays": 7,
    }


def test_the_repositorys_own_buildspec_replaces_slipways() -> None:
    assert only(deployed(buildspec="ci/buildspec.yml"), PROJECT).inputs["source"] == {
        "type": "CODEPIPELINE",
        "buildspec": "ci/buildspec.yml",
    }


def test_variables_are_known_of_slipways_own_build_alone() -> None:
    def known(**args: Any) -> Any:
        return only(deployed(**args), "slipway:index:Build").outputs["exported_variables"]

    assert known() == ["IMAGE_URI", "IMAGE_DIGEST", "IMAGE_TAG"]
    assert known(buildspec="ci/buildspec.yml") == []
    assert resolved(lambda: build("api", buildspec="ci/buildspec.yml").exported_variables == ()) is True


def test_the_script_is_told_what_to_test_and_build() -> None:
    def args() -> object:
        return environment(
            BuildArgs(
                registry=registry("api"),
                context="app",
                dockerfile="docker/Dockerfile",
                test_commands=["make lint", "make test"],
                build_args={"VERSION": "1.2", "BASE": "alpine=3"},
                builder_image="example/buildkit:1",
                container_name="web",
            )
        )

    assert resolved(args) == {
        "REPOSITORY_URL": URL,
        "CONTAINER_NAME": "web",
        "CONTEXT": "app",
        "DOCKERFILE": "docker/Dockerfile",
        "TEST_COMMANDS": "make lint\nmake test",
        "BUILD_ARGS": "BASE=alpine=3\nVERSION=1.2",
        "BUILDER_IMAGE": "example/buildkit:1",
    }


def test_the_buildspec_runs_the_script_and_hands_over_its_results() -> None:
    script = files.files("slipway.build").joinpath("build.sh").read_text()
    path = '"${TMPDIR:-/tmp}/slipway-build.sh"'
    assert yaml.safe_load(own_buildspec()) == {
        "version": 0.2,
        "env": {"shell": "bash", "exported-variables": ["IMAGE_URI", "IMAGE_DIGEST", "IMAGE_TAG"]},
        "phases": {
            "pre_build": {"commands": [files.files("slipway.build").joinpath("variables.sh").read_text()]},
            "build": {
                "commands": [
                    f"cat >{path} <<'SLIPWAY_BUILD_SCRIPT'\n{script}SLIPWAY_BUILD_SCRIPT",
                    f"bash {path}",
                    "set -a; . ./slipway.env; set +a",
                ]
            },
        },
        "artifacts": {"files": ["imagedefinitions.json"]},
    }
    assert "SLIPWAY_BUILD_SCRIPT" not in script
    assert script[-1] == "\n"


def test_the_role_is_for_this_project_alone() -> None:
    assert trusted(deployed(), "api-build-role") == [
        {
            "Effect": "Allow",
            "Principal": {"Service": "codebuild.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {
                "StringEquals": {"aws:SourceAccount": "123456789012"},
                "ArnLike": {"aws:SourceArn": "arn:aws:codebuild:eu-west-1:123456789012:project/api"},
            },
        }
    ]


def test_a_build_may_write_its_log_and_its_artifacts_and_push_its_image() -> None:
    mine = {"StringEquals": {"aws:ResourceAccount": "123456789012"}}
    resources = deployed()
    assert named(resources, "api-build-policy").inputs["role"] == "api-build-role"
    assert rights(resources, "api-build-policy") == granted(
        [
            {
                "Effect": "Allow",
                "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
                "Resource": "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/codebuild/api:*",
            },
            {
                "Effect": "Allow",
                "Action": ["s3:GetBucketVersioning", "s3:GetBucketAcl", "s3:GetBucketLocation"],
                "Resource": BUCKET,
                "Condition": mine,
            },
            {
                "Effect": "Allow",
                "Action": ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"],
                "Resource": f"{BUCKET}/*",
                "Condition": mine,
            },
            {
                "Effect": "Allow",
                "Action": ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"],
                "Resource": "arn:aws:kms:eu-west-1:123456789012:key/api-artifacts-key",
                "Condition": {"StringEquals": {"kms:ViaService": "s3.eu-west-1.amazonaws.com"}},
            },
            {"Effect": "Allow", "Action": ["ecr:GetAuthorizationToken"], "Resource": "*"},
            {
                "Effect": "Allow",
                "Action": [
                    "ecr:BatchCheckLayerAvailability",
                    "ecr:BatchGetImage",
                    "ecr:GetDownloadUrlForLayer",
                    "ecr:DescribeImages",
                    "ecr:InitiateLayerUpload",
                    "ecr:UploadLayerPart",
                    "ecr:CompleteLayerUpload",
                    "ecr:PutImage",
                ],
                "Resource": "arn:aws:ecr:eu-west-1:123456789012:repository/api",
            },
        ]
    )


def test_who_starts_builds_may_start_follow_and_stop_those_of_this_project() -> None:
    assert resolved(lambda: build("api").run_statements()) == [
        {
            "Effect": "Allow",
            "Action": ["codebuild:StartBuild", "codebuild:BatchGetBuilds", "codebuild:StopBuild"],
            "Resource": "arn:aws:codebuild:eu-west-1:123456789012:project/api",
        }
    ]


def test_an_image_can_be_pushed_to_a_repository_that_exists_already() -> None:
    resources = deploy(lambda: build("api", registry=ExistingRegistry("shared/api")))
    assert of_type(resources, "aws:ecr/repository:Repository") == []
    variables = {v["name"]: v["value"] for v in only(resources, PROJECT).inputs["environment"]["environmentVariables"]}
    assert variables["REPOSITORY_URL"] == "123456789012.dkr.ecr.eu-west-1.amazonaws.com/shared/api"
    assert (
        statements(resources, "api-build-policy")[-1]["Resource"]
        == "arn:aws:ecr:eu-west-1:123456789012:repository/shared/api"
    )


def test_a_build_tells_its_pipeline_which_container_and_registry_its_image_is_for() -> None:
    def args() -> list[object]:
        made = build("api", registry=registry("shop"), container_name="web")
        return [made.container_name, made.registry.repository_name]

    assert resolved(args) == ["web", "shop"]


def test_an_architecture_that_nothing_builds_on_is_refused() -> None:
    with pytest.raises(ValueError) as error:
        deployed(cpu_architecture="arm64")
    assert str(error.value) == "cpu_architecture must be one of ['X86_64', 'ARM64'], got 'arm64'"


@pytest.mark.parametrize(
    "args",
    [
        {"timeout_minutes": 5},
        {"timeout_minutes": 2160},
        {"log_retention_days": 3653},
        {"context": "services/api..old", "dockerfile": "..Dockerfile"},
        {"test_commands": ["x" * 4500]},
        # Each argument takes an equals sign and a line's end.
        {"test_commands": ["x" * 2000, "x" * 2000], "build_args": {"A": "x" * 496}},
        {"build_args": {"_a1": "", "B": "a=b c"}},
        {"buildspec": "ci/buildspec.yml"},
    ],
)
def test_what_is_just_within_the_rules_is_accepted(args: dict[str, Any]) -> None:
    made = BuildSettings(**args)
    assert {name: getattr(made, name) for name in args} == args


ROOM = (
    "test_commands and build_args must have at most 4500 characters together, got {}: put the commands into a script "
)
OWN = "buildspec must not be given beside test_commands or build_args, got 'b.yml': put them into that file"
NAMES = "build_args must have names of A-Z a-z 0-9 _ and values of one line, got wrong ones: "
COMPUTE = (
    "compute_type must be one of ['BUILD_GENERAL1_SMALL', 'BUILD_GENERAL1_MEDIUM', 'BUILD_GENERAL1_LARGE', "
    "'BUILD_GENERAL1_XLARGE'], got "
)
LOG_DAYS = (
    "log_retention_days must be one of [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, "
    "2192, 2557, 2922, 3288, 3653], got "
)


@pytest.mark.parametrize(
    ("args", "messages"),
    [
        *(
            ({"context": path}, [f"context must be a path inside the repository, got {path!r}"])
            for path in ("", "/app", "..", "app/../..")
        ),
        *(
            ({"dockerfile": path}, [f"dockerfile must be a path inside the context, got {path!r}"])
            for path in ("", "/Dockerfile", "../Dockerfile")
        ),
        *(
            ({"buildspec": path}, [f"buildspec must be a path inside the repository, got {path!r}"])
            for path in ("", "/buildspec.yml", "../buildspec.yml")
        ),
        ({"test_commands": "make"}, ["test_commands must be a list of commands, got 'make'"]),
        (
            {"test_commands": ["make", " ", "a\nb"]},
            ["test_commands must be commands of one line each, got [' ', 'a\\nb']"],
        ),
        ({"build_args": {"A-B": "1", "1A": "1", "A": "1\n2", "B": "1"}}, [f"{NAMES}['A-B', '1A', 'A']"]),
        ({"test_commands": ["x" * 4501]}, [ROOM.format(4501) + "in the repository"]),
        (
            {"test_commands": ["x" * 2000, "x" * 2000], "build_args": {"A": "x" * 497}},
            [ROOM.format(4501) + "in the repository"],
        ),
        ({"buildspec": "b.yml", "test_commands": ["make"]}, [OWN]),
        ({"buildspec": "b.yml", "build_args": {"A": "1"}}, [OWN]),
        ({"compute_type": "small"}, [COMPUTE + "'small'"]),
        ({"timeout_minutes": 4}, ["timeout_minutes must be between 5 and 2160, got 4"]),
        ({"timeout_minutes": 2161}, ["timeout_minutes must be between 5 and 2160, got 2161"]),
        ({"log_retention_days": 0}, [LOG_DAYS + "0"]),
        (
            {"context": "/", "timeout_minutes": 0},
            [
                "context must be a path inside the repository, got '/'",
                "timeout_minutes must be between 5 and 2160, got 0",
            ],
        ),
    ],
)
def test_what_no_build_can_be_told_is_refused_with_the_rules(args: dict[str, Any], messages: list[str]) -> None:
    with pytest.raises(ValueError) as error:
        BuildSettings(**args)
    assert str(error.value).split("\n") == messages


@pytest.mark.parametrize("name", ["a", "-api", "api.web", "api web", "Api", "a" * 41])
def test_what_is_no_name_of_a_project_is_refused(name: str) -> None:
    with pytest.raises(ValueError) as error:
        deploy(lambda: Build(name, BuildArgs(registry=registry("api"))))
    assert str(error.value) == (
        "a build's name must be 2 to 40 characters of a-z 0-9 and single - between them, starting with a letter, "
        f"got {name!r}"
    )
