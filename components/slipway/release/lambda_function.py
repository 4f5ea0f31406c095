"""How the functions of Slipway are made: one archive of code, a handler, a role and a log group each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

import pulumi
import pulumi_aws as aws

from slipway import iam
from slipway.iam import Statement

MODULES = (
    "__init__.py",
    "codedeploy.py",
    "ecs.py",
    "handler.py",
    "images.py",
    "pipeline_job.py",
    "reconcile.py",
    "recovery.py",
    "scan_gate.py",
    "stage_tests.py",
    "state.py",
    "task_definitions.py",
)
"""The files of the code, by name: the hash of a whole folder would change with what Python caches in it."""
RUN_MINUTES = 15
"""What Lambda allows one run. https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""


@dataclass(frozen=True)
class Made:
    function: aws.lambda_.Function
    role: aws.iam.Role
    policy: aws.iam.RolePolicy


def function(
    name: str,
    description: str,
    module: str,
    statements: Sequence[Statement],
    environment: Mapping[str, pulumi.Input[str]],
    log_retention_days: int,
    child: pulumi.ResourceOptions,
    files: Mapping[str, str] | None = None,
) -> Made:
    """A function called `name` that runs `module`'s handler, and may do what `statements` say, and write its log."""
    logs = aws.cloudwatch.LogGroup(
        f"{name}-logs", name=f"/aws/lambda/{name}", retention_in_days=log_retention_days, opts=child
    )
    role, policy = iam.role(
        name,
        # No condition keys are documented for the role of a function.
        iam.trust("lambda.amazonaws.com"),
        [iam.write_logs(logs.arn), *statements],
        child,
    )
    made = aws.lambda_.Function(
        name,
        name=name,
        description=description,
        runtime="python3.13",
        architectures=["arm64"],
        handler=f"release.{module}.handler",
        code=code(files or {}),
        role=role.arn,
        timeout=RUN_MINUTES * 60,
        memory_size=256,
        environment=aws.lambda_.FunctionEnvironmentArgs(variables=environment),
        logging_config=aws.lambda_.FunctionLoggingConfigArgs(log_format="Text", log_group=logs.name),
        opts=child.merge(pulumi.ResourceOptions(depends_on=[policy])),
    )
    return Made(made, role, policy)


def code(files: Mapping[str, str]) -> pulumi.AssetArchive:
    """The modules and what `files` has, as text: where they are installed does not matter to the preview."""
    folder = resources.files("slipway.release.function")
    texts = {**{module: folder.joinpath(module).read_text() for module in MODULES}, **files}
    return pulumi.AssetArchive({f"release/{name}": pulumi.StringAsset(text) for name, text in texts.items()})
