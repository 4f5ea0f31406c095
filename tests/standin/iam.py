"""IAM: what the inline policies of a role allow, where no API of AWS is called whose permissions clients would see.

IAM: IAM/latest/UserGuide; SAR: service-authorization/latest/reference. A role that this account did not create, such as
that of a test of one rule, may do everything.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from standin.api import AwsError
from standin.provider import Aws

Context = Mapping[str, Any]
"""Values of condition keys in a request, by key; a list for a key with several values."""

ROLE, POLICY = "aws:iam/role:Role", "aws:iam/rolePolicy:RolePolicy"

# SAR: actions without a resource type, by service: "you must specify all resources (*)" in a policy.
WITHOUT_RESOURCES = {
    "codedeploy": {"StopDeployment"},
    "codepipeline": {"PutJobFailureResult", "PutJobSuccessResult"},
    "ec2": {"DescribeDhcpOptions", "DescribeNetworkInterfaces", "DescribeSecurityGroups", "DescribeSubnets"}
    | {"DescribeVpcs"},
    "ecr": {"GetAuthorizationToken"},
    "ecs": {"DescribeTaskDefinition"},
    "elasticloadbalancing": {"DescribeListeners", "DescribeRules", "DescribeTargetGroups", "DescribeTargetHealth"},
    "inspector2": {"ListCoverage", "ListFindings"},
    "lambda": {"ListFunctions"},
    "sqs": {"ListQueues"},
    "ssm": {"DescribeParameters"},
}


def has_resources(action: str) -> bool:
    """Whether a policy can limit an action, whose case does not matter, to resources."""
    service, _, name = action.lower().partition(":")
    return name not in {each.lower() for each in WITHOUT_RESOURCES.get(service, ())}


class Iam:
    def __init__(self, aws: Aws) -> None:
        self._aws = aws

    def check(self, role: str, session: str, action: str, resource: str, context: Context | None = None) -> None:
        """Raises AccessDeniedException unless the role may perform the action on the resource.

        IAM troubleshoot_access-denied: the message. Conditions are met without a `context`.
        """
        resources = list(self._aws.resources.values())
        names = [r.inputs["name"] for r in resources if r.type == ROLE and r.outputs["arn"] == role]
        policies = [json.loads(r.inputs["policy"]) for r in resources if r.type == POLICY and r.inputs["role"] in names]
        if not names or allows([s for policy in policies for s in policy["Statement"]], action, resource, context):
            return
        account, name = role.split(":")[4], role.rpartition("/")[2]
        who = f"arn:aws:sts::{account}:assumed-role/{name}/{session}"
        why = f"because no identity-based policy allows the {action} action"
        message = f"User: {who} is not authorized to perform: {action} on resource: {resource} {why}"
        raise AwsError("AccessDeniedException", message)

    def trusts(self, role: str, service: str, source: str) -> bool:
        """Whether a service may assume the role for the resource `source`: IAM confused-deputy."""
        found = [r for r in list(self._aws.resources.values()) if r.type == ROLE and r.outputs["arn"] == role]
        context: Context = {"aws:SourceArn": source, "aws:SourceAccount": source.split(":")[4]}
        statements = json.loads(found[0].inputs["assumeRolePolicy"])["Statement"] if found else []
        of = [each for each in statements if service in several(each["Principal"].get("Service", []))]
        return not found or any(met(each.get("Condition", {}), context) for each in of)


def allows(statements: list[dict[str, Any]], action: str, resource: str, context: Context | None = None) -> bool:
    """IAM reference_policies_evaluation-logic: an explicit Deny wins, and without an Allow there is an implicit one.

    An action without resource types matches `*` only.
    """
    resource = resource if has_resources(action) else "*"
    effects = {
        statement["Effect"]
        for statement in statements
        if any(matches(each.lower(), action.lower()) for each in several(statement["Action"]))
        and any(matches(each, resource) for each in several(statement["Resource"]))
        and (context is None or met(statement.get("Condition", {}), context))
    }
    return effects == {"Allow"}


def met(condition: Mapping[str, Mapping[str, Any]], context: Context) -> bool:
    """IAM reference_policies_elements_condition_operators, as far as policies here use them; a key that the request
    does not have meets only `Null`, and `ForAllValues` (reference_policies_condition-single-vs-multi-valued)."""
    return all(
        _is_met(operator, context.get(key), [str(each) for each in several(values)])
        for operator, keys in condition.items()
        for key, values in keys.items()
    )


def _is_met(operator: str, given: Any, values: list[str]) -> bool:
    quantifier, _, operator = operator.rpartition(":")
    if operator == "Null":
        return values == ["true" if given is None else "false"]
    if operator not in ("StringEquals", "StringLike", "ArnEquals", "ArnLike"):
        raise NotImplementedError(operator)
    one: Callable[[str], bool] = lambda text: any(  # noqa: E731
        text == value if operator == "StringEquals" else matches(value, text) for value in values
    )
    if quantifier == "ForAllValues":
        return all(one(str(each)) for each in several(given or []))
    return given is not None and any(one(str(each)) for each in several(given))


def matches(pattern: str, text: str) -> bool:
    """IAM reference_policies_elements_resource: `*` is any text, `?` any character."""
    parts = re.split(r"([*?])", pattern)
    return bool(re.fullmatch("".join({"*": ".*", "?": "."}.get(part, re.escape(part)) for part in parts), text))


def several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
