from copy import deepcopy
from functools import cache
from importlib import resources as files
from typing import Any

import pulumi
import pytest
import yaml
from slipway import Build, BuildArgs, ExistingRegistry, Permission, Sbom
from slipway.build.component import BuildSettings, environment, own_buildspec
from unit.examples import build, build_args, registry
from unit.harness import Resource, deploy, granted, named, of_type, only, resolved, rights, statements, trusted

PROJECT = "aws:codebuild/project:Project"
URL = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/api"
BUCKET = "arn:aws:s3:::api-artifacts"


def deployed(**args: Any) -> list[Resource]:
    return deploy(lambda: build("api", registry=registry("api"), **args)) if args else by_default()


@cache
def by_default() -> list[Resource]:
    return deploy(lambda: build("api", registry=registry("api")))


def test_the_project_builds_the_artifact_of_its_pipeline_with_docker() -> None:
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
                {"name": "BUILDER_IMAGE", "value": "moby/buildkit:v0.34.2", "type": "PLAINTEXT"},
                {"name": "BUILD_ARGS", "value": "", "type": "PLAINTEXT"},
                {"name": "CONTAINER_NAME", "value": "app", "type": "PLAINTEXT"},
                {"name": "CONTEXT", "value": ".", "type": "PLAINTEXT"},
                {"name": "DOCKERFILE", "value": "Dockerfile", "type": "PLAINTEXT"},
                {"name": "REPOSITORY_URL", "value": URL, "type": "PLAINTEXT"},
                {"name": "TARGET", "value": "", "type": "PLAINTEXT"},
                {"name": "TEST_COMMANDS", "value": "", "type": "PLAINTEXT"},
            ],
        },
        "logsConfig": {"cloudwatchLogs": {"groupName": "/aws/codebuild/api"}},
    }


def test_the_project_is_created_after_its_role_has_its_permissions() -> None:
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


def test_compute_type_timeout_and_log_retention_of_a_build_can_be_set() -> None:
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


def test_the_variables_of_slipways_own_build_are_reserved() -> None:
    def known(**args: Any) -> Any:
        return only(deployed(**args), "slipway:index:Build").outputs["exported_variables"]

    assert known() == ["IMAGE_URI", "IMAGE_DIGEST", "IMAGE_TAG"]
    assert known(buildspec="ci/buildspec.yml") == []
    assert resolved(lambda: build("api", buildspec="ci/buildspec.yml").exported_variables == ()) is True


def test_the_script_gets_test_commands_and_build_arguments_as_variables() -> None:
    def args() -> object:
        return environment(
            BuildArgs(
                registry=registry("api"),
                context="app",
                dockerfile="../docker/Dockerfile",
                target="release",
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
        "DOCKERFILE": "../docker/Dockerfile",
        "TARGET": "release",
        "TEST_COMMANDS": "make lint\nmake test",
        "BUILD_ARGS": "BASE=alpine=3\nVERSION=1.2",
        "BUILDER_IMAGE": "example/buildkit:1",
    }


def test_the_buildspec_runs_the_script_and_outputs_its_results() -> None:
    script = files.files("slipway.build").joinpath("build.sh").read_text()
    path = '"${TMPDIR:-/tmp}/slipway-build.sh"'
    assert yaml.safe_load(own_buildspec()) == {
        "version": 0.2,
        "env": {"shell": "bash", "exported-variables": ["IMAGE_URI", "IMAGE_DIGEST", "IMAGE_TAG"]},
        "phases": {
            "pre_build": {
                "commands": [
                    "rm -f imagedefinitions.json slipway.env",
                    files.files("slipway.build").joinpath("variables.sh").read_text(),
                    files.files("slipway.build").joinpath("source.sh").read_text(),
                ]
            },
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


def test_the_build_of_a_clone_also_outputs_the_files_of_the_commit() -> None:
    [project] = [r for r in deployed(full_clone=True) if r.type == PROJECT]
    buildspec, archive = yaml.safe_load(project.inputs["source"]["buildspec"]), yaml.safe_load(own_buildspec())
    assert buildspec["env"] == {**archive["env"], "git-credential-helper": "yes"}
    assert buildspec["phases"]["build"]["commands"] == [
        *archive["phases"]["build"]["commands"],
        "git clean -ffdxq --exclude=imagedefinitions.json --exclude=slipway.env && "
        "git submodule --quiet foreach --recursive git clean -ffdxq",
    ]
    assert buildspec["artifacts"] == {
        "files": ["imagedefinitions.json"],
        "secondary-artifacts": {
            "BuildArtifact": {"files": ["imagedefinitions.json"]},
            "Checkout": {"files": ["**/*"], "exclude-paths": [".git/**/*"], "enable-symlinks": "yes"},
        },
    }


def test_the_role_is_for_this_project_only() -> None:
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
                "Resource": [
                    f"arn:aws:logs:eu-west-1:123456789012:log-group:/aws/codebuild/api{end}" for end in ("", ":*")
                ],
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


def test_build_access_is_to_start_follow_and_stop_builds_of_this_project() -> None:
    assert resolved(lambda: build("api").run_statements()) == [
        {
            "Effect": "Allow",
            "Action": ["codebuild:StartBuild", "codebuild:BatchGetBuilds", "codebuild:StopBuild"],
            "Resource": "arn:aws:codebuild:eu-west-1:123456789012:project/api",
        }
    ]


def test_an_image_can_be_pushed_to_an_existing_repository() -> None:
    resources = deploy(lambda: build("api", registry=ExistingRegistry("shared/api")))
    assert of_type(resources, "aws:ecr/repository:Repository") == []
    variables = {v["name"]: v["value"] for v in only(resources, PROJECT).inputs["environment"]["environmentVariables"]}
    assert variables["REPOSITORY_URL"] == "123456789012.dkr.ecr.eu-west-1.amazonaws.com/shared/api"
    assert (
        statements(resources, "api-build-policy")[-1]["Resource"]
        == "arn:aws:ecr:eu-west-1:123456789012:repository/shared/api"
    )


def test_a_build_passes_the_container_and_registry_of_its_image_to_its_pipeline() -> None:
    def args() -> list[object]:
        made = build("api", registry=registry("shop"), container_name="web")
        return [made.container_name, made.registry.repository_name]

    assert resolved(args) == ["web", "shop"]


SECRETS: dict[str, Any] = {
    "npmrc": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:npm-a1b2c3:rc::",
    "a.pip": "arn:aws:ssm:eu-west-1:123456789012:parameter/pip/conf",
}
KEY = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd"


def test_secrets_of_a_build_are_variables_by_reference_that_only_its_role_can_read() -> None:
    resources = deployed(secrets=SECRETS, secrets_kms_key_arns=[KEY])
    variables = only(resources, PROJECT).inputs["environment"]["environmentVariables"]
    assert [each for each in variables if "SECRET" in each["name"]] == [
        {"name": "BUILD_SECRETS", "value": "a.pip npmrc", "type": "PLAINTEXT"},
        {"name": "BUILD_SECRET_0", "value": "/pip/conf", "type": "PARAMETER_STORE"},
        {"name": "BUILD_SECRET_1", "value": SECRETS["npmrc"], "type": "SECRETS_MANAGER"},
    ]
    assert rights(resources, "api-build-policy") - rights(deployed(), "api-build-policy") == granted(
        [
            {"Effect": "Allow", "Action": ["secretsmanager:GetSecretValue"], "Resource": SECRETS["npmrc"][:-5]},
            {"Effect": "Allow", "Action": ["ssm:GetParameters"], "Resource": SECRETS["a.pip"]},
            {"Effect": "Allow", "Action": ["kms:Decrypt"], "Resource": KEY},
        ]
    )


BASES = [
    "arn:aws:ecr:eu-west-1:210987654321:repository/base/python",
    "arn:aws:ecr:eu-west-1:210987654321:repository/base/node",
    "arn:aws:ecr:us-east-1:123456789012:repository/docker-hub/*",
]
HUB = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:hub-a1b2c3"


def variables(resources: list[Resource]) -> dict[str, tuple[str, str]]:
    found = only(resources, PROJECT).inputs["environment"]["environmentVariables"]
    return {each["name"]: (each["type"], each["value"]) for each in found}


@pytest.mark.parametrize("later", [False, True])
def test_a_build_signs_in_to_the_registries_that_it_may_pull_from(later: bool) -> None:
    def program() -> None:
        bases: Any = [pulumi.Output.from_input(each) for each in BASES] if later else BASES
        build("api", registry=registry("api"), pull_repositories=bases)

    resources = deploy(program)
    assert variables(resources)["PULL_REGISTRIES"] == (
        "PLAINTEXT",
        "eu-west-1/210987654321.dkr.ecr.eu-west-1.amazonaws.com us-east-1/123456789012.dkr.ecr.us-east-1.amazonaws.com",
    )
    sign_in = files.files("slipway.build").joinpath("registries.sh").read_text()
    buildspec = yaml.safe_load(only(resources, PROJECT).inputs["source"]["buildspec"])
    assert buildspec["phases"]["pre_build"]["commands"][-1] == sign_in
    assert rights(resources, "api-build-policy") - rights(deployed(), "api-build-policy") == granted(
        [
            {
                "Effect": "Allow",
                "Action": ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
                "Resource": BASES,
            },
            {
                "Effect": "Allow",
                "Action": ["ecr:BatchImportUpstreamImage", "ecr:CreateRepository"],
                "Resource": BASES[2],
            },
        ]
    )


def test_a_registry_in_china_has_the_domain_of_its_partition() -> None:
    [base] = [each.replace("arn:aws:ecr:eu-west-1", "arn:aws-cn:ecr:cn-north-1") for each in BASES[:1]]
    resources = deployed(pull_repositories=[base])
    assert variables(resources)["PULL_REGISTRIES"][1] == ("cn-north-1/210987654321.dkr.ecr.cn-north-1.amazonaws.com.cn")


def test_a_build_signs_in_to_other_registries_with_keys_of_a_secret() -> None:
    resources = deployed(registry_logins={"docker.io": HUB}, docker_hub_mirror="public.ecr.aws/docker")
    found = variables(resources)
    assert {name: value for name, value in found.items() if name not in variables(deployed())} == {
        "REGISTRY_LOGINS": ("PLAINTEXT", "docker.io"),
        "REGISTRY_LOGIN_0_PASSWORD": ("SECRETS_MANAGER", f"{HUB}:password::"),
        "REGISTRY_LOGIN_0_USERNAME": ("SECRETS_MANAGER", f"{HUB}:username::"),
        "DOCKER_HUB_MIRROR": ("PLAINTEXT", "public.ecr.aws/docker"),
    }
    assert rights(resources, "api-build-policy") - rights(deployed(), "api-build-policy") == granted(
        [{"Effect": "Allow", "Action": ["secretsmanager:GetSecretValue"], "Resource": HUB}]
    )


def test_a_secret_and_a_login_may_have_the_same_name() -> None:
    secret = SECRETS["npmrc"].removesuffix(":rc::")
    resources = deployed(secrets={"docker.io": secret}, registry_logins={"docker.io": HUB})
    assert rights(resources, "api-build-policy") - rights(deployed(), "api-build-policy") == granted(
        [{"Effect": "Allow", "Action": ["secretsmanager:GetSecretValue"], "Resource": [secret, HUB]}]
    )


def test_a_build_gets_the_permissions_that_its_buildspec_needs() -> None:
    queue = "arn:aws:sqs:eu-west-1:123456789012:orders"
    resources = deployed(buildspec="b.yml", permissions=[Permission(actions=["sqs:Get*"], resources=[queue])])
    assert rights(resources, "api-build-policy") - rights(deployed(), "api-build-policy") == granted(
        [{"Effect": "Allow", "Action": ["sqs:Get*"], "Resource": queue}]
    )


def test_a_secret_of_a_build_is_in_the_region_of_its_project() -> None:
    far = SECRETS["npmrc"].replace("eu-west-1", "us-east-1")
    with pytest.raises(ValueError) as error:
        deploy(lambda: build("api", registry=registry("api"), secrets={"npmrc": far}))
    assert str(error.value) == (
        "secrets['npmrc'] must be in eu-west-1, got one in us-east-1: CodeBuild reads secrets and parameters of its "
        "own Region"
    )


# In addition to commands and arguments: two paths and an image, by default.
ROOM = 4500 - len(".") - len("Dockerfile") - len("moby/buildkit:v0.34.2")


@pytest.mark.parametrize(
    "args",
    [
        {"test_commands": ["x" * ROOM]},
        # Each argument also needs an equals sign and a newline.
        {"test_commands": ["x" * 2000, "x" * 2000], "build_args": {"A": "x" * (ROOM - 4004)}},
        {"test_commands": ["x" * (ROOM - 8)], "dockerfile": "dev/Dockerfile.dev"},
        {"buildspec": "ci/buildspec.yml"},
        {"context": "app/web", "dockerfile": "../../Dockerfile"},
        {"context": "app", "dockerfile": "docker/../../Dockerfile"},
    ],
)
def test_settings_at_the_limits_are_accepted(args: dict[str, Any]) -> None:
    made = BuildSettings(**args)
    assert {name: getattr(made, name) for name in args} == args


TOO_LONG = (
    "test_commands, build_args and the build's other settings must have at most 4500 characters in total, "
    "got 4501: put the commands into a script in the repository"
)
OWN = "buildspec must not be combined with {}, got 'b.yml': put that into the buildspec"
SECRET = (
    "build_args['TOKEN'] must not be a secret, but is a GitHub token: anyone who can describe the resource can read "
    "it; put it into secrets and mount it in the Dockerfile, or add its name to not_secret if it is not a secret"
)
TOKEN = "ghp_" + "a" * 36


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"test_commands": ["x" * (ROOM + 1)]}, TOO_LONG),
        ({"test_commands": ["x" * 2000, "x" * 2000], "build_args": {"A": "x" * (ROOM - 4003)}}, TOO_LONG),
        ({"test_commands": ["x" * ROOM], "context": "./"}, TOO_LONG),
        ({"test_commands": ["x" * ROOM], "dockerfile": "Dockerfile2"}, TOO_LONG),
        ({"test_commands": ["x" * ROOM], "builder_image": "x" * 22}, TOO_LONG),
        ({"buildspec": "b.yml", "test_commands": ["make"]}, OWN.format("test_commands")),
        (
            {"buildspec": "b.yml", "build_args": {"A": "1"}, "target": "a"},
            OWN.format("build_args and target"),
        ),
        ({"test_commands": ["x" * ROOM], "target": "a"}, TOO_LONG),
        (
            {"context": "app", "dockerfile": "../../Dockerfile"},
            "dockerfile must be in the repository, got '../../Dockerfile', which is relative to the context 'app'",
        ),
        (
            {"dockerfile": "docker/../../Dockerfile"},
            "dockerfile must be in the repository, got 'docker/../../Dockerfile', which is relative to the context '.'",
        ),
        ({"build_args": {"TOKEN": TOKEN, "A": "1"}}, SECRET),
        (
            {"build_args": {"A": "1"}, "not_secret": ["B"]},
            "not_secret must contain only names in build_args, got ['B']",
        ),
    ],
)
def test_invalid_combinations_of_settings_are_rejected(args: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        BuildSettings(**args)
    assert str(error.value) == message


def test_a_build_argument_listed_as_not_secret_is_accepted() -> None:
    made = resolved(
        lambda: environment(build_args("api", build_args={"TOKEN": TOKEN}, not_secret=["TOKEN"]))["BUILD_ARGS"]
    )
    assert made == f"TOKEN={TOKEN}"


def test_the_limit_applies_to_arguments_that_are_outputs_too() -> None:
    with pytest.raises(Exception) as error:
        deploy(lambda: build("api", build_args={"A": pulumi.Output.from_input("x" * 4500)}))
    assert str(error.value) == TOO_LONG.replace("4501", str(4502 + 1 + 4500 - ROOM))


@pytest.mark.parametrize("name", ["a", "-api", "api.web", "api web", "Api", "a" * 41])
def test_invalid_project_names_are_rejected(name: str) -> None:
    with pytest.raises(ValueError) as error:
        deploy(lambda: Build(name, BuildArgs(registry=registry("api"))))
    assert str(error.value) == (
        "a build's name must be 2 to 40 characters of a-z 0-9 and single - between them, starting with a letter, "
        f"got {name!r}"
    )


BOTH = ["X86_64", "ARM64"]


def test_an_image_for_two_architectures_is_built_on_each_and_the_index_without_the_rights_and_secrets_of_a_build() -> (
    None
):
    resources = deployed(cpu_architectures=BOTH, secrets=SECRETS)
    projects = {r.inputs["name"]: r.inputs for r in of_type(resources, PROJECT)}
    environments = {name: project["environment"] for name, project in projects.items()}
    assert {name: (each["type"], each.get("privilegedMode", False)) for name, each in environments.items()} == {
        "api": ("LINUX_CONTAINER", True),
        "api-arm64": ("ARM_CONTAINER", True),
        "api-index": ("LINUX_CONTAINER", False),
    }
    variables = {
        name: {each["name"]: each["value"] for each in environment["environmentVariables"]}
        for name, environment in environments.items()
    }
    assert variables["api-arm64"] == {**variables["api"], "CACHE_TAG": "cache-arm64"}
    assert variables["api-index"] == {"CONTAINER_NAME": "app", "REPOSITORY_URL": URL}

    allowed = {name: rights(resources, f"{name}-build-policy") for name in projects}
    logs = {name: rights_on(each, f":log-group:/aws/codebuild/{name}") for name, each in allowed.items()}
    assert len(logs["api"]) == len(logs["api-arm64"]) == len(logs["api-index"]) > 0
    assert allowed["api"] - logs["api"] == allowed["api-arm64"] - logs["api-arm64"]
    assert (allowed["api"] - logs["api"]) - (allowed["api-index"] - logs["api-index"]) == granted(
        [
            {
                "Effect": "Allow",
                "Action": [
                    "ecr:DescribeImages",
                    "ecr:InitiateLayerUpload",
                    "ecr:UploadLayerPart",
                    "ecr:CompleteLayerUpload",
                ],
                "Resource": "arn:aws:ecr:eu-west-1:123456789012:repository/api",
            },
            {"Effect": "Allow", "Action": ["secretsmanager:GetSecretValue"], "Resource": SECRETS["npmrc"][:-5]},
            {"Effect": "Allow", "Action": ["ssm:GetParameters"], "Resource": SECRETS["a.pip"]},
        ]
    )
    assert allowed["api-index"] - logs["api-index"] < allowed["api"]


def rights_on(rights: set[str], resource: str) -> set[str]:
    return {each for each in rights if resource in each}


def test_the_first_architecture_keeps_the_project_of_a_build_for_one() -> None:
    before, after = (only_named(deployed(**args)) for args in ({}, {"cpu_architectures": BOTH}))
    buildspecs = [yaml.safe_load(inputs["source"].pop("buildspec")) for inputs in (before, after)]
    assert before == after
    # That names the image is the index.
    assert buildspecs[0].pop("artifacts") == {"files": ["imagedefinitions.json"]}
    assert buildspecs[0] == buildspecs[1]


def only_named(resources: list[Resource]) -> dict[str, Any]:
    return deepcopy(next(r.inputs for r in of_type(resources, PROJECT) if r.inputs["name"] == "api"))


def test_with_a_clone_the_first_architecture_outputs_the_files_of_the_commit() -> None:
    resources = deployed(cpu_architectures=BOTH, full_clone=True)
    specs = {r.inputs["name"]: yaml.safe_load(r.inputs["source"]["buildspec"]) for r in of_type(resources, PROJECT)}
    assert {name: spec.get("artifacts") for name, spec in specs.items()} == {
        "api": {"files": ["**/*"], "exclude-paths": [".git/**/*"], "enable-symlinks": "yes"},
        "api-arm64": None,
        "api-index": {"files": ["imagedefinitions.json"]},
    }
    assert [name for name, spec in specs.items() if "git-credential-helper" in spec["env"]] == ["api", "api-arm64"]


def test_the_pipeline_may_run_each_project_of_a_build() -> None:
    found = resolved(lambda: build("api", cpu_architectures=BOTH).run_statements())
    assert [each["Resource"].rpartition("/")[2] for each in found] == ["api", "api-arm64", "api-index"]


def test_writable_paths_are_checked_by_a_script_after_the_build_and_before_the_sbom() -> None:
    resources = deployed(sbom=Sbom(), writable_paths=["/tmp", "/var/cache"], container_user="1000")
    made = (yaml.safe_load(only(r, PROJECT).inputs["source"]["buildspec"]) for r in (resources, deployed(sbom=Sbom())))
    spec, plain = made
    before, after = (each["phases"]["build"].pop("commands") for each in (plain, spec))
    script = files.files("slipway.build").joinpath("writable.sh").read_text()
    path = '"${TMPDIR:-/tmp}/slipway-writable.sh"'
    added = [f"cat >{path} <<'SLIPWAY_BUILD_SCRIPT'\n{script}SLIPWAY_BUILD_SCRIPT", f"bash {path}"]
    assert after == [*before[:-2], *added, *before[-2:]]
    assert plain == spec
    assert variables(resources) == {
        **variables(deployed(sbom=Sbom())),
        "WRITABLE_PATHS": ("PLAINTEXT", "/tmp /var/cache"),
        "CONTAINER_USER": ("PLAINTEXT", "1000"),
    }
    assert rights(resources, "api-build-policy") == rights(deployed(), "api-build-policy")


def test_a_user_of_the_container_without_writable_paths_changes_nothing() -> None:
    assert variables(deployed(container_user="1000")) == variables(deployed())


def test_an_sbom_is_attached_by_a_script_after_the_build_with_the_rights_of_the_build() -> None:
    resources = deployed(sbom=Sbom())
    spec, plain = (yaml.safe_load(only(r, PROJECT).inputs["source"]["buildspec"]) for r in (resources, deployed()))
    before, after = (each["phases"]["build"].pop("commands") for each in (plain, spec))
    script = files.files("slipway.build").joinpath("sbom.sh").read_text()
    path = '"${TMPDIR:-/tmp}/slipway-sbom.sh"'
    assert after == [
        *before,
        f"cat >{path} <<'SLIPWAY_BUILD_SCRIPT'\n{script}SLIPWAY_BUILD_SCRIPT",
        f"bash {path}",
    ]
    assert plain == spec
    assert variables(resources) == {
        **variables(deployed()),
        "SBOM_GENERATOR": ("PLAINTEXT", "docker/buildkit-syft-scanner:stable-1"),
    }
    assert rights(resources, "api-build-policy") == rights(deployed(), "api-build-policy")
