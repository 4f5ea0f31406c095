"""ExistingRegistry: a repository of another owner, which is examined before a release depends on it."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pulumi
import pulumi_aws as aws

from slipway._outputs import answered
from slipway.registry import FORCE_DELETE, PROTECTED, PULL, Repository

NEVER = 1000
"""An imageCountMoreThan rule with at least this number expires nothing: fewer images are live or verified."""
NEEDED = (*PULL, "ecr:DescribeImages", "ecr:PutImage")
"""What the release function and the tasks do with a repository."""


class ExistingRegistry(Repository):
    """An existing ECR repository in this account and Region, such as the one that dev builds to and prod releases from.
    It is only looked up: a preview fails if it does not exist, or if its settings do not fit a service's releases.

    https://docs.aws.amazon.com/AmazonECR/latest/userguide/Repositories.html
    """

    repository_name: str
    url: pulumi.Output[str]
    arn: pulumi.Output[str]

    def __init__(self, name: str, opts: pulumi.InvokeOptions | None = None) -> None:
        """Look up the repository.

        Raises pulumi.RunError if it does not exist.
        """
        # At once, so that nothing is created if it does not exist.
        try:
            self._found = aws.ecr.get_repository(name=name, opts=opts)
        except Exception as e:  # the SDK has no specific class for the error of an invoke
            if "RepositoryNotFoundException" not in str(e):
                raise
            raise pulumi.RunError(
                f"there is no ECR repository {name} in this account and Region: correct its name, or run `pulumi up` "
                "of the stack that builds to it first"
            ) from None
        self.repository_name = name
        self.url = pulumi.Output.from_input(answered(self._found.repository_url))
        self.arn = pulumi.Output.from_input(answered(self._found.arn))
        self.scans_on_push = all(each.scan_on_push for each in self._found.image_scanning_configurations or [])
        self._opts = opts
        self._policies: tuple[Any, Any] | None = None

    def check_release(self, environment_name: str, keep_verified: int) -> None:
        """Raise pulumi.RunError, with all reasons, if releases would fail or their images could be deleted."""
        tags = [f"{kind}-{environment_name}" for kind in ("live", "verified")]
        tags += [f"verified-{environment_name}-{slot}" for slot in range(keep_verified)]
        found, account = self._found, str(self._found.registry_id)
        filters = [each.filter for each in found.image_tag_mutability_exclusion_filters or []]
        lifecycle, policy = self._read_policies()
        problems = [
            *immovable(found.image_tag_mutability or "MUTABLE", filters, tags),
            *expiring(lifecycle, tags),
            *denied(policy, account),
            *deletable(found.tags or {}, environment_name),
        ]
        if problems:
            raise pulumi.RunError(
                f"the ECR repository {self.repository_name} does not fit the releases to {environment_name}, which "
                "take their images from it and move tags in it. Change these settings where the repository is "
                "created:" + "".join(f"\n- {problem}" for problem in problems)
            )

    def _read_policies(self) -> tuple[Any, Any]:
        """The lifecycle policy and the repository policy. Only Cloud Control has data sources for them.

        https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-ecr-repository.html
        """
        if self._policies is None:
            try:
                read = aws.cloudcontrol.get_resource(
                    type_name="AWS::ECR::Repository", identifier=self.repository_name, opts=self._opts
                )
            except Exception as e:  # the principal needs a permission that nothing else requires
                pulumi.log.warn(
                    f"the lifecycle policy and the repository policy of {self.repository_name} are not examined, "
                    f"because they could not be read: {e}. Allow cloudformation:GetResource, ecr:GetLifecyclePolicy "
                    "and ecr:GetRepositoryPolicy"
                )
                self._policies = None, None
            else:
                properties = document(read.properties)
                lifecycle = properties.get("LifecyclePolicy", {}).get("LifecyclePolicyText")
                self._policies = lifecycle, properties.get("RepositoryPolicyText")
        return self._policies


def document(value: Any) -> dict[str, Any]:
    """A JSON document that may be text, or missing."""
    parsed = json.loads(value) if isinstance(value, str) and value else value
    return parsed if isinstance(parsed, dict) else {}


def several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def matches(pattern: str, text: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text) is not None


def immovable(mutability: str, filters: Iterable[str], tags: Sequence[str]) -> Iterator[str]:
    """https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-tag-mutability.html"""
    filters = list(filters)
    excluded = {tag for tag in tags if any(matches(pattern, tag) for pattern in filters)}
    fixed = [tag for tag in tags if mutability.startswith("IMMUTABLE") != (tag in excluded)]
    if fixed:
        exclusions = f" with the exclusion filters {', '.join(filters)}" if filters else ""
        yield (
            f"image tag mutability is {mutability}{exclusions}, so {', '.join(fixed)} could not be moved to the next "
            "image: set IMMUTABLE_WITH_EXCLUSION with the exclusion filters live-* and verified-*"
        )


def expiring(policy: Any, tags: Sequence[str]) -> Iterator[str]:
    """The first rule for each tag that can expire or archive an image with this tag and any others.

    An image that matches the tags of a rule cannot be expired by a rule of lower priority.
    https://docs.aws.amazon.com/AmazonECR/latest/userguide/LifecyclePolicies.html
    """
    rules = sorted(document(policy).get("rules", []), key=lambda rule: int(rule["rulePriority"]))
    culprits: dict[int, list[str]] = {}
    for tag in tags:
        for rule in rules:
            selection = rule["selection"]
            if selection["tagStatus"] == "untagged":
                continue
            if selection["countType"] != "imageCountMoreThan" or int(selection["countNumber"]) < NEVER:
                culprits.setdefault(rule["rulePriority"], []).append(tag)
                break
            if selection["tagStatus"] == "tagged" and protects(selection, tag):
                break
    for priority, endangered in culprits.items():
        prefixes = sorted({re.match("[a-z]+-", tag)[0] for tag in endangered})  # type: ignore[index]
        instead = [
            {"tagStatus": "tagged", "tagPrefixList": [p], "countType": "imageCountMoreThan", "countNumber": PROTECTED}
            for p in prefixes
        ]
        yield (
            f"rule {priority} of the lifecycle policy can expire an image with the tag {', '.join(endangered)}: before "
            f"it, add a rule for each selection of {json.dumps(instead)}"
        )


def protects(selection: Mapping[str, Any], tag: str) -> bool:
    """Whether a rule matches each image with this tag. All its patterns have to match."""
    patterns = [f"{prefix}*" for prefix in selection.get("tagPrefixList", [])] or selection.get("tagPatternList", [])
    return all(matches(pattern, tag) for pattern in patterns)


def denied(policy: Any, account: str) -> Iterator[str]:
    """What the repository policy denies to everyone; other principals and conditions are not evaluated.

    https://docs.aws.amazon.com/AmazonECR/latest/userguide/repository-policies.html
    """
    everyone = {"*", account, f":iam::{account}:root"}

    def is_for_all(statement: Mapping[str, Any]) -> bool:
        principal = statement.get("Principal")
        names = several(principal.get("AWS") if isinstance(principal, dict) else principal)
        return any(name in everyone or name.endswith(f":iam::{account}:root") for name in names)

    for statement in several(document(policy).get("Statement")):
        if statement["Effect"] != "Deny" or "Condition" in statement or not is_for_all(statement):
            continue
        actions = [action for action in NEEDED if applies(statement, action)]
        if actions:
            yield f"its repository policy denies {', '.join(actions)} to everyone: limit this statement, or remove it"


def applies(statement: Mapping[str, Any], action: str) -> bool:
    def listed(key: str) -> bool:
        return any(matches(pattern.lower(), action.lower()) for pattern in several(statement[key]))

    return listed("Action") if "Action" in statement else not listed("NotAction")


def deletable(tags: Collection[str], environment_name: str) -> Iterator[str]:
    """Whether its stack may delete the repository without asking for this environment."""
    if FORCE_DELETE in tags and f"{FORCE_DELETE}:{environment_name}" not in tags:
        yield (
            "force_delete is set where it is created, so destroying that stack would delete the images that run here: "
            "remove it (slipway:registry.forceDelete in a stack file), or accept this by adding "
            f"{environment_name} to force_delete_environments (forceDeleteEnvironments) there"
        )
