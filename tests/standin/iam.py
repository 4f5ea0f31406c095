"""IAM: what the inline policies of a role allow, where no API of AWS is called whose permissions clients would see.

IAM: IAM/latest/UserGuide; SAR: service-authorization/latest/reference. A role that this account did not create, such as
that of a test of one rule, may do everything.
"""

import json
import re
from typing import Any

from standin.api import AwsError
from standin.provider import Aws

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

    def check(self, role: str, session: str, action: str, resource: str) -> None:
        """Raises AccessDeniedException unless the role may perform the action on the resource.

        IAM troubleshoot_access-denied: the message. Conditions are not in the stand-in.
        """
        resources = list(self._aws.resources.values())
        names = [r.inputs["name"] for r in resources if r.type == ROLE and r.outputs["arn"] == role]
        policies = [json.loads(r.inputs["policy"]) for r in resources if r.type == POLICY and r.inputs["role"] in names]
        if not names or allows([s for policy in policies for s in policy["Statement"]], action, resource):
            return
        account, name = role.split(":")[4], role.rpartition("/")[2]
        who = f"arn:aws:sts::{account}:assumed-role/{name}/{session}"
        why = f"because no identity-based policy allows the {action} action"
        message = f"User: {who} is not authorized to perform: {action} on resource: {resource} {why}"
        raise AwsError("AccessDeniedException", message)


def allows(statements: list[dict[str, Any]], action: str, resource: str) -> bool:
    """IAM reference_policies_evaluation-logic: an explicit Deny wins, and without an Allow there is an implicit one.

    An action without resource types matches `*` only.
    """
    resource = resource if has_resources(action) else "*"
    effects = {
        statement["Effect"]
        for statement in statements
        if any(matches(each.lower(), action.lower()) for each in several(statement["Action"]))
        and any(matches(each, resource) for each in several(statement["Resource"]))
    }
    return effects == {"Allow"}


def matches(pattern: str, text: str) -> bool:
    """IAM reference_policies_elements_resource: `*` is any text, `?` any character."""
    parts = re.split(r"([*?])", pattern)
    return bool(re.fullmatch("".join({"*": ".*", "?": "."}.get(part, re.escape(part)) for part in parts), text))


def several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
