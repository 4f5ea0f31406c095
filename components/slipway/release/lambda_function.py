"""Creates Slipway's Lambda functions: a code archive, a handler, a role and a log group each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import pulumi
import pulumi_aws as aws

from slipway import iam
from slipway.iam import Statement

RUN_MINUTES = 15
"""Lambda's maximum timeout."""


@dataclass(frozen=True)
class LambdaFunction:
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
) -> LambdaFunction:
    """A function `name` that runs the handler of `module`, with the permissions in `statements` and permission to write
    its log."""
    logs = aws.cloudwatch.LogGroup(
        f"{name}-logs", name=f"/aws/lambda/{name}", retention_in_days=log_retention_days, opts=child
    )
    role, policy = iam.role(
        name,
        # AWS documents no condition keys for the role of a function.
        iam.trust("lambda.amazonaws.com"),
        [iam.write_logs(logs.arn), *statements],
        child,
    )
    made = aws.lambda_.Function(
        name,
        name=name,
        description=description[:256],  # as it has a repository's name in it
        runtime="python3.13",
        architectures=["arm64"],
        handler=f"release.{module}.handler",
        code=code(module, files or {}),
        role=role.arn,
        timeout=RUN_MINUTES * 60,
        memory_size=256,
        environment=aws.lambda_.FunctionEnvironmentArgs(variables=environment),
        logging_config=aws.lambda_.FunctionLoggingConfigArgs(log_format="Text", log_group=logs.name),
        opts=child.merge(pulumi.ResourceOptions(depends_on=[policy])),
    )
    return LambdaFunction(made, role, policy)


def code(module: str, files: Mapping[str, str]) -> pulumi.AssetArchive:
    """The modules that `module` needs and the contents of `files`, as text, so that the preview does not depend on
    where they are installed."""
    texts = {**modules(module), **files}
    return pulumi.AssetArchive({f"release/{name}": pulumi.StringAsset(text) for name, text in sorted(texts.items())})


@cache
def modules(entry: str) -> Mapping[str, str]:
    """The files of `entry` and of the modules that it imports from its folder, recursively."""
    folder, texts, found = resources.files("slipway.release.function"), dict[str, str](), ["__init__", entry]
    while found:
        name = f"{found.pop()}.py"
        if name not in texts:
            texts[name] = folder.joinpath(name).read_text()
            found += [a or b for a, b in re.findall(r"^\s*from \.(?:(\w+) import| import (\w+))", texts[name], re.M)]
    return texts


def invoke_on_event(
    name: str,
    description: str,
    pattern: Mapping[str, Any] | pulumi.Input[str],
    function_name: pulumi.Input[str],
    function_arn: pulumi.Input[str],
    child: pulumi.ResourceOptions,
) -> None:
    """An EventBridge rule `name` that invokes a function, and the permission to do so. `pattern` may be JSON.

    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html
    """
    text = pulumi.Output.json_dumps(pattern, sort_keys=True) if isinstance(pattern, Mapping) else pattern
    rule = aws.cloudwatch.EventRule(name, description=description, event_pattern=text, opts=child)
    allowed = aws.lambda_.Permission(
        f"{name}-permission",
        action="lambda:InvokeFunction",
        function=function_name,
        principal="events.amazonaws.com",
        source_arn=rule.arn,
        opts=child,
    )
    aws.cloudwatch.EventTarget(
        f"{name}-target",
        rule=rule.name,
        arn=function_arn,
        opts=child.merge(pulumi.ResourceOptions(depends_on=[allowed])),
    )
