"""Build: the CodeBuild project that tests a commit, builds its image and pushes it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import pulumi
import pulumi_aws as aws

from slipway import iam
from slipway._rules import check_name, refuse
from slipway.artifacts import ArtifactStore
from slipway.iam import Scope, Statement
from slipway.registry import Repository

IMAGES = {
    "X86_64": ("LINUX_CONTAINER", "aws/codebuild/amazonlinux-x86_64-standard:6.0"),
    "ARM64": ("ARM_CONTAINER", "aws/codebuild/amazonlinux-aarch64-standard:3.0"),
}
"""CodeBuild's environment type and image for each CPU architecture, as ECS names them.

https://docs.aws.amazon.com/codebuild/latest/userguide/ec2-compute-images.html"""
LOG_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653)
"""The days of retention that CloudWatch Logs knows."""
COMPUTE = ("BUILD_GENERAL1_SMALL", "BUILD_GENERAL1_MEDIUM", "BUILD_GENERAL1_LARGE", "BUILD_GENERAL1_XLARGE")
ENVIRONMENT_LIMIT = 4500
"""Characters for commands and arguments: all environment variables of a build may have 5,500 together."""


@dataclass(frozen=True, kw_only=True)
class BuildSettings:
    """Settings of a Build that a stack file can have too."""

    context: str = "."
    """Folder of the repository to build the image from."""

    dockerfile: str = "Dockerfile"
    """Path of the Dockerfile, relative to `context`."""

    test_commands: Sequence[str] = ()
    """Commands run before the image is built, each with bash in the root of the source; nothing is pushed when one
    of them fails."""

    build_args: Mapping[str, str] = field(default_factory=dict)
    """Build arguments of the Dockerfile. They can be read by whoever can read the project: no place for secrets."""

    buildspec: str | None = None
    """Path of a buildspec in the repository that is run instead of Slipway's build. It pushes the image itself and
    writes imagedefinitions.json, by digest; the pipeline then has no variable for a digest to release again."""

    compute_type: str = "BUILD_GENERAL1_SMALL"
    """CodeBuild's compute type."""

    timeout_minutes: int = 30
    """Minutes after which a build is ended."""

    builder_image: str = "moby/buildkit:buildx-stable-1"
    """BuildKit image that builds. Docker Hub limits anonymous pulls: a copy in a registry of your own is safer."""

    log_retention_days: int = 30
    """Days to keep the build's log."""

    def __post_init__(self) -> None:
        length = len("\n".join(self.test_commands)) + sum(len(k) + len(v) + 2 for k, v in self.build_args.items())
        bad_commands = [command for command in self.test_commands if not command.strip() or "\n" in command]
        bad_arguments = [k for k, v in self.build_args.items() if not re.fullmatch(r"[A-Za-z_]\w*", k) or "\n" in v]
        refuse(
            (
                isinstance(self.test_commands, str),
                f"test_commands must be a list of commands, got {self.test_commands!r}",
            ),
            (not is_inside(self.context), f"context must be a path inside the repository, got {self.context!r}"),
            (not is_inside(self.dockerfile), f"dockerfile must be a path inside the context, got {self.dockerfile!r}"),
            (bool(bad_commands), f"test_commands must be commands of one line each, got {bad_commands}"),
            (
                bool(bad_arguments),
                f"build_args must have names of A-Z a-z 0-9 _ and values of one line, got wrong ones: {bad_arguments}",
            ),
            (
                length > ENVIRONMENT_LIMIT,
                f"test_commands and build_args must have at most {ENVIRONMENT_LIMIT} characters together, "
                f"got {length}: put the commands into a script in the repository",
            ),
            (
                self.buildspec is not None and not is_inside(self.buildspec),
                f"buildspec must be a path inside the repository, got {self.buildspec!r}",
            ),
            (
                self.buildspec is not None and bool(self.test_commands or self.build_args),
                f"buildspec must not be given beside test_commands or build_args, got {self.buildspec!r}: "
                "put them into that file",
            ),
            (
                self.compute_type not in COMPUTE,
                f"compute_type must be one of {list(COMPUTE)}, got {self.compute_type!r}",
            ),
            (
                not 5 <= self.timeout_minutes <= 2160,
                f"timeout_minutes must be between 5 and 2160, got {self.timeout_minutes}",
            ),
            (
                self.log_retention_days not in LOG_DAYS,
                f"log_retention_days must be one of {list(LOG_DAYS)}, got {self.log_retention_days}",
            ),
        )


def is_inside(path: str) -> bool:
    return bool(path) and not path.startswith("/") and ".." not in path.split("/")


@dataclass(frozen=True, kw_only=True)
class BuildArgs(BuildSettings):
    """Arguments of Build."""

    registry: Repository
    """Where the image is pushed to."""

    container_name: str = "app"
    """Name of the container, in each service that is deployed, that the image is for."""

    cpu_architecture: str = "X86_64"
    """CPU architecture of the build and so of the image: X86_64 or ARM64, as the service's."""

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse(
            (
                self.cpu_architecture not in IMAGES,
                f"cpu_architecture must be one of {list(IMAGES)}, got {self.cpu_architecture!r}",
            ),
        )


class Build(pulumi.ComponentResource):
    """A CodeBuild project that only a pipeline starts, with its role and its log group.

    `name` is the project's name. https://docs.aws.amazon.com/codebuild/latest/userguide/create-project.html
    """

    project_name: str
    project_arn: pulumi.Output[str]
    role_name: pulumi.Output[str]
    artifacts: ArtifactStore
    """Where the build's pipeline keeps its artifacts."""
    exported_variables: tuple[str, ...]
    """Variables that later actions of a pipeline can read; none are known of a buildspec of your own."""

    def __init__(self, name: str, args: BuildArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Create the project.

        Raises ValueError if `name` cannot be the name of a project.
        """
        check_name("build", name)
        super().__init__("slipway:index:Build", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        scope = Scope.of(self)
        environment_type, image = IMAGES[args.cpu_architecture]

        logs = aws.cloudwatch.LogGroup(
            f"{name}-logs", name=f"/aws/codebuild/{name}", retention_in_days=args.log_retention_days, opts=child
        )
        self.artifacts = ArtifactStore(f"{name}-artifacts", opts=child)
        role, policy = iam.role(
            f"{name}-build",
            # The ARN from the name: the project needs the role first.
            iam.trust("codebuild.amazonaws.com", scope.only_for(scope.arn("codebuild", f"project/{name}"))),
            [iam.write_logs(logs.arn), *self.artifacts.statements(), *args.registry.push_statements()],
            child,
        )
        project = aws.codebuild.Project(
            name,
            name=name,
            description=f"Tests a commit, builds its image and pushes it to {args.registry.repository_name}",
            service_role=role.arn,
            build_timeout=args.timeout_minutes,
            encryption_key=self.artifacts.key_arn,
            # The pipeline brings the source and takes the artifact.
            source=aws.codebuild.ProjectSourceArgs(type="CODEPIPELINE", buildspec=args.buildspec or own_buildspec()),
            artifacts=aws.codebuild.ProjectArtifactsArgs(type="CODEPIPELINE"),
            environment=aws.codebuild.ProjectEnvironmentArgs(
                type=environment_type,
                image=image,
                compute_type=args.compute_type,
                # Docker's daemon runs inside the build container.
                # https://docs.aws.amazon.com/codebuild/latest/userguide/sample-docker.html
                privileged_mode=True,
                environment_variables=[
                    aws.codebuild.ProjectEnvironmentEnvironmentVariableArgs(name=key, value=value, type="PLAINTEXT")
                    for key, value in sorted(environment(args).items())
                ],
            ),
            logs_config=aws.codebuild.ProjectLogsConfigArgs(
                cloudwatch_logs=aws.codebuild.ProjectLogsConfigCloudwatchLogsArgs(group_name=logs.name)
            ),
            opts=child.merge(pulumi.ResourceOptions(depends_on=[policy])),
        )

        self.project_name = name
        self.project_arn = project.arn
        self.role_name = role.name
        # For its Pipeline; not outputs.
        self.registry, self.container_name = args.registry, args.container_name
        self.exported_variables = () if args.buildspec else EXPORTED
        self.register_outputs(
            {
                "project_name": name,
                "project_arn": self.project_arn,
                "role_name": self.role_name,
                "artifacts": self.artifacts,
                "exported_variables": list(self.exported_variables),
            }
        )

    def run_statements(self) -> list[Statement]:
        """Run this project's builds."""
        return [iam.run_builds(self.project_arn)]


SCRIPT = '"${TMPDIR:-/tmp}/slipway-build.sh"'
EXPORTED = ("IMAGE_URI", "IMAGE_DIGEST", "IMAGE_TAG")


def environment(args: BuildArgs) -> dict[str, pulumi.Input[str]]:
    """What build.sh reads, but for the commit's id, which the pipeline passes to each build."""
    return {
        "REPOSITORY_URL": args.registry.url,
        "CONTAINER_NAME": args.container_name,
        "CONTEXT": args.context,
        "DOCKERFILE": args.dockerfile,
        "TEST_COMMANDS": "\n".join(args.test_commands),
        "BUILD_ARGS": "\n".join(f"{key}={value}" for key, value in sorted(args.build_args.items())),
        "BUILDER_IMAGE": args.builder_image,
    }


def own_buildspec() -> str:
    """The buildspec that runs build.sh, as JSON, which is YAML too.

    The script runs in a shell of its own, so that its settings do not reach CodeBuild's shell, and hands its results
    over in a file. The pipeline's variables are exported before. https://docs.aws.amazon.com/codebuild/latest/userguide/build-spec-ref.html
    """
    script = resources.files("slipway.build").joinpath("build.sh").read_text()
    buildspec: dict[str, Any] = {
        "version": 0.2,
        "env": {"shell": "bash", "exported-variables": list(EXPORTED)},
        "phases": {
            "pre_build": {"commands": [export_variables()]},
            "build": {
                "commands": [
                    f"cat >{SCRIPT} <<'SLIPWAY_BUILD_SCRIPT'\n{script}SLIPWAY_BUILD_SCRIPT",
                    f"bash {SCRIPT}",
                    "set -a; . ./slipway.env; set +a",
                ]
            },
        },
        "artifacts": {"files": ["imagedefinitions.json"]},
    }
    return json.dumps(buildspec, indent=1)


def export_variables() -> str:
    """The command that exports the pipeline's variables, in CodeBuild's own shell."""
    return resources.files("slipway.build").joinpath("variables.sh").read_text()
