"""Common parts of the CodeBuild projects: the build, and those that run commands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

import pulumi
import pulumi_aws as aws

from slipway import iam, reports
from slipway._constraints import Must, match, one_of
from slipway._outputs import concat, now_or_later
from slipway._secrets import SECRET, by_arn
from slipway.artifacts import ArtifactStore
from slipway.iam import Scope, Statement, in_region
from slipway.reports import Report

IMAGES = {
    "X86_64": ("LINUX_CONTAINER", "aws/codebuild/amazonlinux-x86_64-standard:6.0"),
    "ARM64": ("ARM_CONTAINER", "aws/codebuild/amazonlinux-aarch64-standard:3.0"),
}
"""CodeBuild's environment type and image for each CPU architecture, as ECS names them.

https://docs.aws.amazon.com/codebuild/latest/userguide/ec2-compute-images.html"""
LOG_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653)
"""Retention periods of CloudWatch Logs, in days."""
COMPUTE = ("BUILD_GENERAL1_SMALL", "BUILD_GENERAL1_MEDIUM", "BUILD_GENERAL1_LARGE", "BUILD_GENERAL1_XLARGE")
VARIABLES_LIMIT = 4500
"""Maximum number of characters in a project's environment variables. A build allows 5,500 in total, and the pipeline
adds some."""

LogDays = Annotated[int, one_of(LOG_DAYS)]
ComputeType = Annotated[str, one_of(COMPUTE)]
VariableName = Annotated[
    str,
    match(
        r"(?!CODEBUILD_)[A-Za-z_][A-Za-z0-9_]*",
        "be a name of A-Z a-z 0-9 _ that does not begin with a digit or CODEBUILD_",
        "LEVEL",
        ["A-B", "1A", "C D", "Ä", "CODEBUILD_SRC_DIR"],
    ),
]
"""Name of an environment variable.

https://docs.aws.amazon.com/codebuild/latest/userguide/build-env-ref-env-vars.html"""
ImageReference = Annotated[
    pulumi.Input[str],
    match(
        r"[A-Za-z0-9][A-Za-z0-9._:@/-]*",
        "be the reference of an image, such as public.ecr.aws/docker/library/python:3.13",
        "registry.example.com:5000/tools/python:3.13",
        ["python 3", "https://example.com?x", "-x"],
    ),
]


def _inside(path: str) -> bool:
    return bool(path) and not path.startswith("/") and ".." not in path.split("/") and path.isprintable()


def path_inside(folder: str) -> Must:
    """The path of a file or folder in the source, relative to `folder`."""
    return Must(
        f"be a path inside {folder}",
        _inside,
        {"pattern": r"^(?!/)(?!(.*/)?\.\.(/|$)).+$"},
        good=[".", "services/api..old", "..Dockerfile"],
        bad=["", "/", "/app", "..", "app/../..", "a\nb"],
    )


def characters(variables: Mapping[str, pulumi.Input[str]]) -> int:
    """Number of characters in the environment variables whose values are known."""
    return sum(len(name) + len(value if isinstance(value, str) else "") for name, value in variables.items())


def variables(
    values: Mapping[str, pulumi.Input[str]],
) -> list[aws.codebuild.ProjectEnvironmentEnvironmentVariableArgs]:
    """A project's environment variables in plain text, which anyone who can read the project can read."""
    return [
        aws.codebuild.ProjectEnvironmentEnvironmentVariableArgs(name=name, value=value, type="PLAINTEXT")
        for name, value in sorted(values.items())
    ]


def in_this_region(
    component: pulumi.ComponentResource, field: str, secrets: Mapping[str, pulumi.Input[str]]
) -> dict[str, pulumi.Input[str]]:
    """References to secrets and parameters in a field, checked to be in the same Region."""
    given = {f"{field}[{name!r}]": reference for name, reference in secrets.items()}
    found = by_arn(Scope.of(component), given, pulumi.InvokeOptions(parent=component))
    for service in ("secretsmanager", "ssm"):
        found = in_region(component, service, found, "CodeBuild reads secrets and parameters of its own Region")
    return dict(zip(secrets, found.values(), strict=True))


def references(
    secrets: Mapping[str, pulumi.Input[str]],
) -> list[aws.codebuild.ProjectEnvironmentEnvironmentVariableArgs]:
    """Secrets and parameters as environment variables. Which of the two one is may be known only later."""
    return [
        aws.codebuild.ProjectEnvironmentEnvironmentVariableArgs(
            name=name, value=now_or_later(reference, arn), type=now_or_later(reference_type, arn)
        )
        for name, arn in sorted(secrets.items())
    ]


def reference_type(arn: str) -> str:
    """CodeBuild's type for a secret or a parameter.

    https://docs.aws.amazon.com/codebuild/latest/APIReference/API_EnvironmentVariable.html
    """
    return "SECRETS_MANAGER" if SECRET.fullmatch(arn) else "PARAMETER_STORE"


def reference(arn: str) -> str:
    """The ARN of a secret, or the name of a parameter."""
    if SECRET.fullmatch(arn):
        return arn
    name = arn.split(":parameter/", 1)[1]
    return f"/{name}" if "/" in name else name


def source(in_pipeline: bool, buildspec: pulumi.Input[str]) -> aws.codebuild.ProjectSourceArgs:
    """The source of a project that a pipeline action runs, or that has none."""
    return aws.codebuild.ProjectSourceArgs(type="CODEPIPELINE" if in_pipeline else "NO_SOURCE", buildspec=buildspec)


def write_logs(group_arn: pulumi.Input[str]) -> Statement:
    """Write the log of a build; CodeBuild's documentation lists the group itself too.

    https://docs.aws.amazon.com/codebuild/latest/userguide/setting-up-service-role.html
    """
    return {**iam.write_logs(group_arn), "Resource": [group_arn, concat(group_arn, ":*")]}


def project(
    name: str,
    *,
    role_name: str,
    description: str,
    source: aws.codebuild.ProjectSourceArgs,
    environment: aws.codebuild.ProjectEnvironmentArgs,
    artifacts: ArtifactStore | None,
    statements: Iterable[Statement],
    timeout_minutes: int,
    log_retention_days: int,
    scope: Scope,
    opts: pulumi.ResourceOptions,
    given_reports: Sequence[Report] = (),
    vpc: aws.codebuild.ProjectVpcConfigArgs | None = None,
) -> tuple[aws.codebuild.Project, aws.iam.Role]:
    """A project with its log group, report groups and role, which may write to these and has the permissions in
    `statements`.

    Its artifact goes where the source comes from: to a pipeline action, or nowhere.
    https://docs.aws.amazon.com/codebuild/latest/userguide/create-project.html
    """
    logs = aws.cloudwatch.LogGroup(
        f"{name}-logs", name=f"/aws/codebuild/{name}", retention_in_days=log_retention_days, opts=opts
    )
    role, policy = iam.role(
        role_name,
        # The ARN is made from the name, because the project needs the role first.
        iam.trust("codebuild.amazonaws.com", scope.only_for(scope.arn("codebuild", f"project/{name}"))),
        [write_logs(logs.arn), *reports.statements(name, given_reports, scope), *statements],
        opts,
    )
    groups = reports.create(name, given_reports, opts)
    made = aws.codebuild.Project(
        name,
        name=name,
        description=description[:255],  # a repository's name in it may have 256 characters
        service_role=role.arn,
        build_timeout=timeout_minutes,
        encryption_key=artifacts.key_arn if artifacts else None,
        source=source,
        artifacts=aws.codebuild.ProjectArtifactsArgs(
            type="CODEPIPELINE" if source.type == "CODEPIPELINE" else "NO_ARTIFACTS"
        ),
        environment=environment,
        vpc_config=vpc,
        logs_config=aws.codebuild.ProjectLogsConfigArgs(
            cloudwatch_logs=aws.codebuild.ProjectLogsConfigCloudwatchLogsArgs(group_name=logs.name)
        ),
        opts=opts.merge(pulumi.ResourceOptions(depends_on=[policy, *groups])),
    )
    return made, role
