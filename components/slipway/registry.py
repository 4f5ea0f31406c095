"""Registry: an ECR repository whose released images cannot be overwritten, nor expire while they are needed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import pulumi
import pulumi_aws as aws

from slipway._constraints import arn, between, check, either, items
from slipway._outputs import answered
from slipway.iam import Statement, allow, canonical, document

NAME = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
MOVING_TAGS = ("live-*", "verified-*", "cache*")
"""The only tags that may be moved from one image to another; all others, the commits, are immutable."""
PULL = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
# The largest count of images carrying a live-* or verified-* tag before the protecting rules would expire any: it is
# never reached, since an environment has a fixed number of those tags.
PROTECTED = 9999
EncryptionKeyArn = Annotated[pulumi.Input[str], arn("a KMS key", "kms", r"(key|alias)/[\w/-]+", "key/1234abcd")]
PrincipalArn = Annotated[
    pulumi.Input[str],
    either(
        arn("an account, a role or a user", "iam", r"(root|(role|user)/[\w+=,.@/-]+)", "role/deploy", regional=False),
        arn("a session", "sts", r"(assumed-role|federated-user)/[\w+=,.@/-]+", "assumed-role/deploy/x", regional=False),
    ),
]
"""Whom a policy can name.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html"""


@dataclass(frozen=True, kw_only=True)
class RegistryArgs:
    """Arguments of Registry."""

    keep_images: Annotated[int, between(1, 10_000)] = 200
    """Built images to keep, newest first. Images that are live or were verified last in any environment are kept
    however old they are."""

    untagged_days: Annotated[int, between(1, 3650)] = 7
    """Days until an image without any tag expires, such as a layer cache that was replaced."""

    kms_key_arn: EncryptionKeyArn | None = None
    """Customer managed KMS key that encrypts the images; AES-256 with a key of ECR's own without it. A repository
    keeps the encryption that it was made with, so a change replaces it: see `force_delete`."""

    pull_principals: Annotated[Sequence[PrincipalArn], items(most=50, distinct=True)] = ()
    """ARNs of principals in other accounts that may pull, such as the execution role of a production account."""

    expire_days: Annotated[int, between(1, 3650)] | None = None
    """Days until a built image expires, however few there are, for the short-lived images of a feature branch. What is
    live, or was verified last, is kept."""

    force_delete: bool = False
    """Let Pulumi delete the repository with the images in it, when the stack is destroyed or a change replaces it.
    Without it, the repository is protected, and whatever would delete it is refused. Run `pulumi up` with it first."""

    def __post_init__(self) -> None:
        check(self)


class Repository:
    """An ECR repository, and what access to it means: a Registry, or one that another stack made."""

    repository_name: str
    url: pulumi.Output[str]
    arn: pulumi.Output[str]

    def login_statement(self) -> Statement:
        """Sign in to the registry, which pulling and pushing both need."""
        return allow("ecr:GetAuthorizationToken", on="*")  # this action takes no resource

    def pull_statements(self) -> list[Statement]:
        """Pull images of this repository.

        https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_execution_IAM_role.html
        """
        return [self.login_statement(), allow(*PULL, on=self.arn)]

    def push_statements(self) -> list[Statement]:
        """Push images to this repository, read back what is there and by which tags, and use it as a layer cache.

        https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-push-iam.html
        """
        push = ("ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload", "ecr:PutImage")
        return [self.login_statement(), allow(*PULL, "ecr:DescribeImages", *push, on=self.arn)]

    def tag_statements(self) -> list[Statement]:
        """Read the manifests and tags of this repository's images and put tags on them, but read or write no layer."""
        return [allow("ecr:BatchGetImage", "ecr:DescribeImages", "ecr:PutImage", on=self.arn)]

    def scan_statements(self) -> list[Statement]:
        """Read what scans found in this repository's images.

        https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-scanning.html
        """
        return [allow("ecr:BatchGetImage", "ecr:DescribeImageScanFindings", on=self.arn)]


class Registry(pulumi.ComponentResource, Repository):
    """An ECR repository: immutable tags, scan on push, and a lifecycle policy that spares what runs.

    `name` is the repository's name. https://docs.aws.amazon.com/AmazonECR/latest/userguide/Repositories.html
    """

    repository_name: str
    url: pulumi.Output[str]
    """`<account>.dkr.ecr.<region>.amazonaws.com/<name>`, what images are pushed to and pulled from."""
    arn: pulumi.Output[str]

    def __init__(self, name: str, args: RegistryArgs | None = None, opts: pulumi.ResourceOptions | None = None) -> None:
        """Create the repository.

        Raises ValueError if `name` cannot be the name of a repository; pulumi.RunError if the repository exists with
        another encryption, since it would be deleted with its images.
        """
        args = args or RegistryArgs()
        if not NAME.fullmatch(name) or not 2 <= len(name) <= 256:
            raise ValueError(
                f"a registry's name must be 2 to 256 characters of a-z, 0-9 and . _ - / between them, got {name!r}"
            )
        super().__init__("slipway:index:Registry", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        key = args.kms_key_arn
        if not args.force_delete:
            key = kept_encryption(name, key, pulumi.InvokeOptions(parent=self))

        repository = aws.ecr.Repository(
            name,
            name=name,
            image_tag_mutability="IMMUTABLE_WITH_EXCLUSION",
            image_tag_mutability_exclusion_filters=[
                aws.ecr.RepositoryImageTagMutabilityExclusionFilterArgs(filter=tag, filter_type="WILDCARD")
                for tag in MOVING_TAGS
            ],
            image_scanning_configuration=aws.ecr.RepositoryImageScanningConfigurationArgs(scan_on_push=True),
            encryption_configurations=encryption(key),
            force_delete=args.force_delete,
            # ECR refuses to delete it with images in it; the engine refuses before anything else is deleted.
            opts=child if args.force_delete else child.merge(pulumi.ResourceOptions(protect=True)),
        )
        aws.ecr.LifecyclePolicy(
            f"{name}-lifecycle", repository=repository.name, policy=canonical(lifecycle_policy(args)), opts=child
        )
        if args.pull_principals:
            aws.ecr.RepositoryPolicy(
                f"{name}-pull", repository=repository.name, policy=document(pull_policy(args)), opts=child
            )

        self.repository_name = name
        self.url = repository.repository_url
        self.arn = repository.arn
        self.register_outputs({"repository_name": name, "url": self.url, "arn": self.arn})


class ExistingRegistry(Repository):
    """An ECR repository of this account and Region that exists already, such as the one that dev builds to and prod
    releases from. It is only looked up: a preview fails where it is missing.

    https://docs.aws.amazon.com/AmazonECR/latest/userguide/Repositories.html
    """

    repository_name: str
    url: pulumi.Output[str]
    arn: pulumi.Output[str]

    def __init__(self, name: str, opts: pulumi.InvokeOptions | None = None) -> None:
        """Look the repository up.

        Raises pulumi.RunError if there is none.
        """
        # At once, so that nothing is made where it is missing.
        try:
            found = aws.ecr.get_repository(name=name, opts=opts)
        except Exception as e:  # the SDK has no class of its own for what an invoke fails with
            if "RepositoryNotFoundException" not in str(e):
                raise
            raise pulumi.RunError(
                f"there is no ECR repository {name} in this account and Region: correct its name, or run `pulumi up` "
                "of the stack that builds to it first"
            ) from None
        self.repository_name = name
        self.url = pulumi.Output.from_input(answered(found.repository_url))
        self.arn = pulumi.Output.from_input(answered(found.arn))


def encryption(key: pulumi.Input[str] | None) -> list[aws.ecr.RepositoryEncryptionConfigurationArgs]:
    kind = "AES256" if key is None else "KMS"
    return [aws.ecr.RepositoryEncryptionConfigurationArgs(encryption_type=kind, kms_key=key)]


def kept_encryption(name: str, key: pulumi.Input[str] | None, opts: pulumi.InvokeOptions) -> pulumi.Input[str] | None:
    """The key, if a repository that exists has it; an Output fails when it is known.

    The error says what is lost, and what to do: of a protected resource, the engine says only that it is protected.
    https://docs.aws.amazon.com/AmazonECR/latest/userguide/encryption-at-rest.html
    """
    try:
        [found] = aws.ecr.get_repository(name=name, opts=opts).encryption_configurations
    except Exception:
        return key  # There is none yet, or it cannot be read; a replacement is refused all the same.

    def same(known: str) -> str:
        # A key may be named by an alias too, and ECR shows the key.
        if found.encryption_type == "KMS" and (found.kms_key == known or ":key/" not in known):
            return known
        raise refusal(known)

    def refusal(known: str | None) -> pulumi.RunError:
        return pulumi.RunError(
            f"kms_key_arn of the repository {name} must stay {found.kms_key or None!r}, got {known!r}: ECR cannot "
            "change the encryption of a repository, so Pulumi would delete it with all its images, also those that are "
            "live or verified in any environment. Take the change back. To delete the images all the same, set "
            "force_delete (slipway:registry.forceDelete in a stack file), run `pulumi up`, and then make this change"
        )

    if key is None:
        if found.encryption_type != "AES256":
            raise refusal(None)
        return None
    if isinstance(key, str):
        return same(key)
    output: pulumi.Output[str] = pulumi.Output.from_input(key)
    return output.apply(same)


def lifecycle_policy(args: RegistryArgs) -> dict[str, Any]:
    """Expire old builds, but never what is live or was verified last.

    An image that matches the tags of a rule cannot be expired by a rule of lower priority, so the first two rules
    protect. https://docs.aws.amazon.com/AmazonECR/latest/userguide/lifecycle_policy_parameters.html
    """

    def rule(priority: int, description: str, **selection: Any) -> dict[str, Any]:
        return {
            "rulePriority": priority,
            "description": description,
            "selection": selection,
            "action": {"type": "expire"},
        }

    def keep(priority: int, prefix: str, description: str) -> dict[str, Any]:
        return rule(
            priority,
            description,
            tagStatus="tagged",
            tagPrefixList=[prefix],
            countType="imageCountMoreThan",
            countNumber=PROTECTED,
        )

    short_lived = []
    if args.expire_days is not None:
        short_lived.append(
            rule(
                5,
                "expire builds after a time",
                tagStatus="tagged",
                tagPatternList=["*"],
                countType="sinceImagePushed",
                countUnit="days",
                countNumber=args.expire_days,
            )
        )
    return {
        "rules": [
            keep(1, "live-", "keep what is live in any environment"),
            keep(2, "verified-", "keep the releases verified last in any environment"),
            keep(3, "cache", "keep the layer caches"),
            rule(
                4,
                "expire what has no tag",
                tagStatus="untagged",
                countType="sinceImagePushed",
                countUnit="days",
                countNumber=args.untagged_days,
            ),
            *short_lived,
            rule(
                6,
                "expire all but the newest builds",
                tagStatus="any",
                countType="imageCountMoreThan",
                countNumber=args.keep_images,
            ),
        ]
    }


def pull_policy(args: RegistryArgs) -> dict[str, Any]:
    """Let other accounts pull. A repository policy has no Resource element.

    https://docs.aws.amazon.com/AmazonECR/latest/userguide/repository-policy-examples.html
    """
    return {"Effect": "Allow", "Principal": {"AWS": list(args.pull_principals)}, "Action": list(PULL)}
