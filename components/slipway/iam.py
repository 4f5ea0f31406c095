"""IAM statements and documents as plain values.

A statement names its actions and its resource. There is no default resource, so a `"*"` is always visible where it is
used, with its reason next to it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NotRequired, TypedDict
from weakref import WeakKeyDictionary

import pulumi
import pulumi_aws as aws
from pulumi.runtime import settings

from slipway._constraints import check, items, match
from slipway._outputs import answered, concat, filled
from slipway.release.function import partitions

Condition = Mapping[str, Mapping[str, Any]]
ActionName = Annotated[
    str,
    match(
        r"[a-z0-9-]+:(?=[*?]*[A-Za-z0-9])[A-Za-z0-9*?]+",
        "be an action of one service, such as sqs:SendMessage",
        "s3:Get*",
        ["*", "s3:*", "s3:**", "s3:?*", "s3", "S3:Get", "s3:", "s3:Get Object"],
    ),
]
ACTION = re.compile(r"\*|[a-z0-9-]+:[A-Za-z0-9*?]+")
"""https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_action.html"""

EVERY_RESOURCE = re.compile(
    r"\*|arn(:[^:]*){4}:[*?:/]+|arn:[^:]*:(?!s3:|execute-api:)[^:]*(:[^:]*){2}:[a-z-]+[:/][*?:/]+"
)
"""Every resource, or every resource of a service, account, Region or type. In S3 and API Gateway, names come first."""
RESOURCE = re.compile(r"\*|arn:[^:]+:[^:]+:[^:]*:[^:]*:.+")
"""https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html"""


class Statement(TypedDict):
    """One statement of a policy; values may be Outputs."""

    Effect: str
    Action: list[str]
    Resource: Any
    Condition: NotRequired[Condition]


def allow(*actions: str, on: Any, when: Condition | None = None) -> Statement:
    """Allow `actions`, such as `sqs:SendMessage`, on the resource or resources `on`, optionally under a condition.

    Raises ValueError if an action is none, or if there is no action.
    """
    wrong = [action for action in actions if not isinstance(action, str) or not ACTION.fullmatch(action)]
    if wrong or not actions:
        raise ValueError(f"actions must be one or more such as sqs:SendMessage, got {wrong or 'none'}")
    statement: Statement = {"Effect": "Allow", "Action": list(actions), "Resource": on}
    if when is not None:
        statement["Condition"] = when
    return statement


@dataclass(frozen=True, kw_only=True)
class Permission:
    """Permissions that a role gets in addition: actions on resources."""

    actions: Annotated[Sequence[ActionName], items(1)]
    """Actions, such as `sqs:SendMessage`. Each belongs to one service; a wildcard may be in its name, but not be all of
    it."""

    resources: Annotated[Sequence[pulumi.Input[str]], items(1)]
    """ARNs of the resources. `*`, or an ARN with only wildcards instead of a resource, needs a `reason`."""

    reason: Annotated[str, match(r"\S(.*\S)?", "be a sentence", "ListQueues supports no resource")] | None = None
    """Why the resources cannot be named, for example because the action supports none. Not part of the policy."""

    def __post_init__(self) -> None:
        check(self)

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        known = [arn for arn in self.resources if isinstance(arn, str)]
        wrong = [arn for arn in known if not RESOURCE.fullmatch(arn)]
        yield bool(wrong), f"resources must be ARNs, or * for every resource, got {wrong}"
        every = [arn for arn in self.resources if isinstance(arn, str) and EVERY_RESOURCE.fullmatch(arn)]
        yield (
            bool(every) and self.reason is None,
            f"resources must name resources, or reason must say why they cannot, got {every}",
        )

    def statement(self) -> Statement:
        return allow(*self.actions, on=list(self.resources))


def pass_roles(*roles: pulumi.Input[str], to: str) -> Statement:
    """Allow `iam:PassRole` for exactly these role ARNs, and only to the service `to`.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html
    """
    return allow("iam:PassRole", on=list(roles), when={"StringEquals": {"iam:PassedToService": to}})


def document(*statements: Mapping[str, Any]) -> pulumi.Input[str]:
    """The policy document of these statements, as JSON, without statements whose list of resources is empty."""

    def of(known: Sequence[Mapping[str, Any]]) -> str:
        return json.dumps({"Version": "2012-10-17", "Statement": [s for s in known if s.get("Resource") != []]})

    return filled(statements, of)


def trust(service: str, when: Condition | None = None) -> pulumi.Input[str]:
    """The trust policy that lets one AWS service assume a role.

    `when` contains the confused-deputy conditions, for services that document them: a condition key that is missing
    from the request would make it impossible to assume the role.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html
    """
    statement: dict[str, Any] = {
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": "sts:AssumeRole",
    }
    if when is not None:
        statement["Condition"] = when
    return document(statement)


@dataclass(frozen=True)
class Scope:
    """The partition, Region and account of a component's provider.

    They are plain strings, so that an ARN built from plain names is one too; Outputs in a preview in which the provider
    cannot be configured yet.
    """

    partition: pulumi.Input[str]
    region: pulumi.Input[str]
    account: pulumi.Input[str]

    @staticmethod
    def of(component: pulumi.ComponentResource) -> Scope:
        """Look them up with the provider that `component` passes to its children, once in a program."""
        provider: object = component.get_provider("aws:index/getRegion:getRegion") or settings.get_monitor()
        if provider not in _SCOPES:
            opts = pulumi.InvokeOptions(parent=component)
            _SCOPES[provider] = Scope(
                partition=answered(aws.get_partition(opts=opts).partition),
                region=answered(aws.get_region(opts=opts).region),
                account=answered(aws.get_caller_identity(opts=opts).account_id),
            )
        return _SCOPES[provider]

    def arn(self, service: str, resource: pulumi.Input[str]) -> pulumi.Input[str]:
        """`arn:<partition>:<service>:<region>:<account>:<resource>`."""
        return concat("arn:", self.partition, ":", service, ":", self.region, ":", self.account, ":", resource)

    def host(self, service: str) -> pulumi.Input[str]:
        """The host of a service such as `s3` in this Region."""
        return filled([self.partition, self.region], lambda known: partitions.host(known[0], service, known[1]))

    def console(self) -> pulumi.Input[str]:
        """The host of the console in this Region."""
        return filled([self.partition, self.region], lambda known: partitions.console(*known))

    def same_account(self) -> Condition:
        """The request is made on behalf of a resource in this account."""
        return {"StringEquals": {"aws:SourceAccount": self.account}}

    def only_for(self, arn: pulumi.Input[str]) -> Condition:
        """The request is made on behalf of the resource `arn` (wildcards allowed) in this account."""
        return {"StringEquals": {"aws:SourceAccount": self.account}, "ArnLike": {"aws:SourceArn": arn}}


_SCOPES: WeakKeyDictionary[object, Scope] = WeakKeyDictionary()
"""By provider; the default provider has the key of the program's engine."""


def in_region(
    component: pulumi.ComponentResource,
    service: str,
    arns: Mapping[str, pulumi.Input[str]],
    why: str,
    account: bool = False,
) -> dict[str, pulumi.Input[str]]:
    """ARNs by field name. Those of `service` must be in the Region of the component's provider, and also in its account
    if `account` says so.

    Raises ValueError with a line for each that is not. An Output fails when its value is known.
    """
    if not arns:
        return {}
    scope = Scope.of(component)
    place = [scope.region, *([scope.account] if account else [])]

    def wrong(field: str, arn: str, *here: str) -> list[str]:
        parts = arn.split(":")
        there = parts[3 : 3 + len(here)]
        if parts[2] != service or there == list(here):
            return []
        return [f"{field} must be in {'/'.join(here)}, got one in {'/'.join(there)}: {why}"]

    def checked(field: str, arn: pulumi.Input[str]) -> pulumi.Input[str]:
        if isinstance(arn, str) and all(isinstance(part, str) for part in place):
            mistakes.extend(wrong(field, arn, *(str(part) for part in place)))
            return arn
        return pulumi.Output.all(field, arn, *place).apply(later)

    def later(known: list[str]) -> str:
        if found := wrong(*known):
            raise pulumi.RunError(found[0])
        return known[1]

    mistakes: list[str] = []
    arns = {field: checked(field, arn) for field, arn in arns.items()}
    if mistakes:
        raise ValueError("\n".join(mistakes))
    return arns


def write_logs(group_arn: pulumi.Input[str]) -> Statement:
    """Write to an existing log group.

    CreateLogStream and PutLogEvents are authorized on the group's streams.
    https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/permissions-reference-cwl.html
    """
    return allow("logs:CreateLogStream", "logs:PutLogEvents", on=concat(group_arn, ":*"))


def read_logs(group_arn: pulumi.Input[str]) -> Statement:
    """Read the events of a log group.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/iam-access-control-overview-cwl.html
    """
    return allow("logs:FilterLogEvents", on=concat(group_arn, ":*"))


def run_builds(project_arn: pulumi.Input[str]) -> Statement:
    """Start a project's builds, follow them, and stop one that is abandoned.

    https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-CodeBuild.html
    """
    return allow("codebuild:StartBuild", "codebuild:BatchGetBuilds", "codebuild:StopBuild", on=project_arn)


def role(
    name: str, assumed_by: pulumi.Input[str], statements: Sequence[Statement], opts: pulumi.ResourceOptions
) -> tuple[aws.iam.Role, aws.iam.RolePolicy]:
    """A role and its one inline policy, named after the role."""
    made = aws.iam.Role(f"{name}-role", assume_role_policy=assumed_by, opts=opts)
    policy = aws.iam.RolePolicy(f"{name}-policy", role=made.name, policy=document(*statements), opts=opts)
    return made, policy


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text, so it never shows as a change."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
