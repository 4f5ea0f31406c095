"""Environment variables by reference: what a reference looks like, and what reading it takes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from slipway.iam import Statement, allow

SECRET = re.compile(r"arn:[\w-]+:secretsmanager:[\w-]+:\d{12}:secret:[^:]+(:[^:]*:[^:]*:[^:]*)?")
PARAMETER = re.compile(r"arn:[\w-]+:ssm:[\w-]+:\d{12}:parameter/\S+")


def secret_rules(environment: Mapping[str, str], secrets: Mapping[str, str]) -> list[tuple[bool, str]]:
    twice = sorted(set(environment) & set(secrets))
    values = sorted(k for k, v in secrets.items() if not SECRET.fullmatch(v) and not PARAMETER.fullmatch(v))
    return [
        (bool(twice), f"environment must not have the names that secrets has, got {twice} in both"),
        # What stands there may be the secret itself, so it is not repeated.
        (bool(values), f"secrets must be ARNs of secrets or parameters, and these are not: {values}"),
    ]


def secret_statements(secrets: Mapping[str, str], kms_key_arns: Sequence[str]) -> list[Statement]:
    """Read what these refer to.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_execution_IAM_role.html
    """
    # A reference may go on behind the ARN of the secret with a JSON key, a stage and a version.
    named = sorted({":".join(arn.split(":")[:7]) for arn in secrets.values() if SECRET.fullmatch(arn)})
    parameters = sorted({arn for arn in secrets.values() if PARAMETER.fullmatch(arn)})
    statements = []
    if named:
        statements.append(allow("secretsmanager:GetSecretValue", on=named))
    if parameters:
        statements.append(allow("ssm:GetParameters", on=parameters))
    if kms_key_arns:
        statements.append(allow("kms:Decrypt", on=list(kms_key_arns)))
    return statements
