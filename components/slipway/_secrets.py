"""Environment variables: references to secrets, the statements to read them, and checks for credentials in plain
text."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from typing import Annotated, Any

import pulumi
import pulumi_aws as aws

from slipway._constraints import arn, either, is_output, match
from slipway._credentials import credential
from slipway._outputs import answered, concat, filled, now_or_later
from slipway.iam import Scope, Statement, allow

_SECRET = arn(
    "a secret in Secrets Manager",
    "secretsmanager",
    r"secret:[\w/+=.@-]+(:[^:\r\n]*:[^:\r\n]*:[^:\r\n]*)?",
    "secret:prod/db-a1b2c3:password::",
    shown=False,
)
_PARAMETER = arn("a parameter in Parameter Store", "ssm", r"parameter/[\w./-]+", "parameter/prod/token", shown=False)
NAMED, SECRET_NAMED = "ssm:", "secretsmanager:"
_NAME = match(
    rf"{NAMED}(?=.{{2,1011}}$)(/[\w.-]+)+",
    f"be the name of a parameter of this account and Region, such as {NAMED}/prod/token",
    f"{NAMED}/prod/token",
    but=[NAMED, "/prod/token", f"{NAMED}prod/token", f"{NAMED}/", f"{NAMED}/a b"],
    shown=False,
)
"""https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-su-create.html"""
_SECRET_NAME = match(
    rf"{SECRET_NAMED}[\w/+=.@-]{{1,512}}(:[^:\r\n]*:[^:\r\n]*:[^:\r\n]*)?",
    f"be the name of a secret of this account and Region, such as {SECRET_NAMED}prod/db",
    f"{SECRET_NAMED}prod/db:password::",
    but=[SECRET_NAMED, "prod/db", f"{SECRET_NAMED}a b", f"{SECRET_NAMED}prod/db:password"],
    shown=False,
)
"""https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html"""
SECRET, PARAMETER = (re.compile(mark.schema["pattern"]) for mark in (_SECRET, _PARAMETER))
SecretReference = Annotated[pulumi.Input[str], either(_SECRET, _PARAMETER, _NAME, _SECRET_NAME)]
"""A reference to a value. Because the text may be the secret itself, no error repeats it."""
KmsKeyArn = Annotated[pulumi.Input[str], arn("a KMS key", "kms", r"key/[\w-]+", "key/1234abcd")]
"""A key, not an alias: a policy that names an alias grants no access.

https://docs.aws.amazon.com/kms/latest/developerguide/cmks-in-iam-policies.html"""
VariableName = Annotated[
    str, match(r"[^\s=\x00-\x1f\x7f]+", "be a name without = and spaces", "NAME", but=["A=B", " A", "A B", "A\0"])
]
"""Name of an environment variable of a container."""
COMMANDS = "commands"
"""Name for all commands in `not_secret`."""


def names_twice(environment: Mapping[str, object], secrets: Mapping[str, object]) -> Iterator[tuple[bool, str]]:
    twice = sorted(set(environment) & set(secrets))
    yield bool(twice), f"environment must not have names that are also in secrets, got {twice}"


def by_arn(
    scope: Scope, references: Mapping[str, pulumi.Input[str]], opts: pulumi.InvokeOptions
) -> dict[str, pulumi.Input[str]]:
    """References to values, each by ARN; secrets that are named are looked up, since AWS chooses the end of their ARN.

    Raises pulumi.RunError if there is no secret with such a name.
    """
    secret = cache(lambda name: secret_arn(name, opts))

    def of(reference: str) -> pulumi.Input[str]:
        kind, _, rest = reference.partition(":")
        if reference.startswith(NAMED):
            return concat(scope.arn(kind, "parameter"), rest)
        if reference.startswith(SECRET_NAMED):
            name, *key = rest.split(":", 1)
            return concat(secret(name), *(f":{each}" for each in key))
        return reference

    return {key: now_or_later(of, reference) for key, reference in references.items()}


def secret_arn(name: str, opts: pulumi.InvokeOptions) -> pulumi.Input[str]:
    """The ARN of a secret in this account and Region.

    Raises pulumi.RunError if it does not exist.
    """
    try:
        return answered(aws.secretsmanager.get_secret(name=name, opts=opts).arn)
    except Exception as e:  # the SDK has no specific class for the error of an invoke
        if "couldn't find resource" not in str(e) and "ResourceNotFoundException" not in str(e):
            raise
        raise pulumi.RunError(f"there is no secret called {name} in this account and Region") from None


def kind_of(reference: str) -> str:
    """The service that has the value: `secretsmanager` or `ssm`."""
    named = reference.startswith((NAMED, SECRET_NAMED))
    return reference.partition(":")[0] if named else _service(reference)


def secret_statements(
    secrets: Mapping[str, pulumi.Input[str]], kms_key_arns: Sequence[pulumi.Input[str]]
) -> list[Statement]:
    """Read the referenced values: one statement for each kind of reference. The references may be known only later; a
    statement without resources is left out of the policy.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_execution_IAM_role.html
    """
    statements = []
    if secrets:
        arns = pulumi.Output.all(*secrets.values())
        # A reference may have a JSON key, a stage and a version after the ARN of the secret.
        named = arns.apply(lambda arns: sorted({":".join(a.split(":")[:7]) for a in arns if _service(a) != "ssm"}))
        parameters = arns.apply(lambda arns: sorted({a for a in arns if _service(a) == "ssm"}))
        statements += [
            allow("secretsmanager:GetSecretValue", on=named),
            allow("ssm:GetParameters", on=parameters),
        ]
    if kms_key_arns:
        statements.append(allow("kms:Decrypt", on=list(kms_key_arns)))
    return statements


FIXED = "restart_on_secret_change must not be set if all secrets are fixed versions, which never change"


def is_fixed(reference: object) -> bool:
    """Whether a reference is known, and names a version by its ID."""
    if not isinstance(reference, str):
        return False
    # What stands before the JSON key, the stage and the version.
    before = 2 if reference.startswith(SECRET_NAMED) else 7
    return bool("".join(reference.split(":")[before + 2 :]))


PATTERN, USUAL = 2048, 250
"""Characters that an event pattern may have, and that a reference that is not known yet is taken to have.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html"""


def in_patterns(references: Sequence[pulumi.Input[str]]) -> list[list[pulumi.Input[str]]]:
    """The references that can change, in lists of which each fits into a pattern; all of them in one if none can."""
    parts: list[list[pulumi.Input[str]]] = [[]]
    room = most = PATTERN - 400  # what stands around them, for two services and some labels
    for each in [each for each in references if not is_fixed(each)] or references:
        length = (len(each) if isinstance(each, str) else USUAL) + 3
        if parts[-1] and length > room:
            parts.append([])
            room = most
        parts[-1].append(each)
        room -= length
    return parts


def change_pattern(references: Sequence[pulumi.Input[str]]) -> pulumi.Input[str]:
    """The event pattern, as JSON, for a change of a value that one of the references reads.

    Both services send these events themselves, so no trail of CloudTrail is needed. A secret changes when the staging
    label that is referenced moves to another version, in a rotation or by hand; a version that is referenced by its ID
    never changes. Raises pulumi.RunError, once the references are known, if none can change.
    https://docs.aws.amazon.com/secretsmanager/latest/userguide/event-detail-secret-label-updated-secretsmanager.html
    https://docs.aws.amazon.com/systems-manager/latest/userguide/monitoring-systems-manager-event-examples.html
    """

    def of(known: Sequence[str]) -> str:
        labels: dict[str, set[str]] = {}
        for secret in (each for each in known if _service(each) == "secretsmanager"):
            *name, _, stage, _ = [*secret.split(":"), "", "", ""][:10]
            if not is_fixed(secret):
                # No event says that AWSPREVIOUS moves, but it moves with AWSCURRENT.
                label = stage if stage not in ("", "AWSPREVIOUS") else "AWSCURRENT"
                labels.setdefault(label, set()).add(":".join(name))
        kinds: list[dict[str, Any]] = [
            {
                "source": ["aws.secretsmanager"],
                "detail-type": ["Secret Label Updated"],
                "resources": sorted(arns),
                "detail": {"labelUpdated": [label]},
            }
            for label, arns in sorted(labels.items())
        ]
        if parameters := sorted({each for each in known if _service(each) == "ssm"}):
            kinds.append(
                {
                    "source": ["aws.ssm"],
                    "detail-type": ["Parameter Store Change"],
                    "resources": parameters,
                    # Create: a parameter that was deleted, and is there again.
                    "detail": {"operation": ["Create", "Update"]},
                }
            )
        if not kinds:
            raise pulumi.RunError(FIXED)
        return json.dumps(kinds[0] if len(kinds) == 1 else {"$or": kinds}, sort_keys=True)

    return filled(list(references), of)


def _service(arn: str) -> str:
    return arn.split(":")[2]


def plaintext_rules(
    name: str,
    values: Mapping[str, pulumi.Input[str]],
    not_secret: Sequence[str],
    instead: str,
    **commands: Sequence[str],
) -> Iterator[tuple[bool, str]]:
    """Anyone who can describe the resource can read the values in the field `name` and its commands, which are given by
    their fields: they must not be or contain credentials."""
    yield from credential_rules(name, values, not_secret, instead, **commands)
    yield not_secret_rule(name, values, not_secret, any(commands.values()))


def credential_rules(
    name: str,
    values: Mapping[str, pulumi.Input[str]],
    not_secret: Sequence[str],
    instead: str,
    **commands: Sequence[str],
) -> Iterator[tuple[bool, str]]:
    for key, value in values.items():
        kind = credential(value) if isinstance(value, str) and key not in not_secret else None
        yield kind is not None, _plaintext(name, key, str(kind), instead)
    words = [(field, number, word) for field, given in commands.items() for number, word in enumerate(given)]
    for field, number, command in words:
        kind = credential(command) if COMMANDS not in not_secret else None
        yield (
            kind is not None,
            f"{field}[{number}] must not contain a secret, but contains {kind}: anyone who can describe "
            f"the resource can read it; {instead}, or add {COMMANDS} to not_secret if it is not a secret",
        )


def not_secret_rule(
    name: str, values: Collection[str], not_secret: Sequence[str], has_commands: bool
) -> tuple[bool, str]:
    unknown = [key for key in not_secret if key not in values and not (key == COMMANDS and has_commands)]
    return bool(unknown), f"not_secret must contain only names in {name}, got {unknown}"


def plaintext_values(
    name: str, values: Mapping[str, pulumi.Input[str]], not_secret: Sequence[str], instead: str
) -> dict[str, pulumi.Input[str]]:
    """These values, with Outputs that fail if they are secret or contain credentials."""

    def look(key: str, value: pulumi.Input[str]) -> pulumi.Input[str]:
        if not is_output(value) or key in not_secret:
            return value
        output = pulumi.Output.from_input(value)

        def known(parts: Sequence[object]) -> str:
            text, secret = str(parts[0]), parts[1]
            kind = "a secret Output" if secret else credential(text)
            if kind is not None:
                raise pulumi.RunError(_plaintext(name, key, kind, instead))
            return text

        return pulumi.Output.all(output, output.is_secret()).apply(known)

    return {key: look(key, value) for key, value in values.items()}


def _plaintext(name: str, key: str, kind: str, instead: str) -> str:
    return (
        f"{name}[{key!r}] must not be a secret, but is {kind}: anyone who can describe the resource can read it; "
        f"{instead}, or add its name to not_secret if it is not a secret"
    )
