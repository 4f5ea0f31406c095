"""Registry: an ECR repository whose images cannot be overwritten, and do not expire while they are in use."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import pulumi
import pulumi_aws as aws

from slipway._constraints import arn, between, check, either, items, match
from slipway._rules import check_args
from slipway.iam import Statement, allow, canonical, document, in_region

NAME = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
MOVING_TAGS = ("live-*", "verified-*", "cache*")
"""The only tags that can be moved from one image to another. All others, which are commit IDs, are immutable."""
FORCE_DELETE = "slipway:force-delete"
"""Tag of a repository that Pulumi may delete with its images. Followed by a colon and a name, it is for the images of
this environment."""
ENVIRONMENT_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,29}")
EnvironmentName = Annotated[
    str,
    match(
        ENVIRONMENT_NAME.pattern,
        "be 1 to 30 characters of a-z 0-9 -, and not begin with -",
        "prod-eu",
        ["Prod", "-a", "a" * 31],
    ),
]
"""It is part of the tags that releases move."""
PULL = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
# The number of images with a live-* or verified-* tag above which the protecting rules would expire any. It is never
# reached, because an environment has a fixed number of these tags.
PROTECTED = 9999
EncryptionKeyArn = Annotated[pulumi.Input[str], arn("a KMS key", "kms", r"(key|alias)/[\w/-]+", "key/1234abcd")]
PrincipalArn = Annotated[
    pulumi.Input[str],
    either(
        arn("an account, a role or a user", "iam", r"(root|(role|user)/[\w+=,.@/-]+)", "role/deploy", regional=False),
        arn("a session", "sts", r"(assumed-role|federated-user)/[\w+=,.@/-]+", "assumed-role/deploy/x", regional=False),
    ),
]
"""A principal that a policy can name.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html"""


@dataclass(frozen=True, kw_only=True)
class RegistryArgs:
    """Arguments of Registry."""

    keep_images: Annotated[int, between(1, 10_000)] = 200
    """Number of built images to keep. Images that are live or were last verified in any environment are kept regardless
    of their age."""

    untagged_days: Annotated[int, between(1, 3650)] = 7
    """Days until an untagged image expires, such as a replaced layer cache."""

    kms_key_arn: EncryptionKeyArn | None = None
    """Customer managed KMS key that encrypts the images. By default, AES-256 with a key that ECR manages. The
    encryption of a repository cannot be changed, so a change replaces the repository: see `force_delete`."""

    pull_principals: Annotated[Sequence[PrincipalArn], items(most=50, distinct=True)] = ()
    """ARNs of principals in other accounts that may pull images, such as the execution role of a production account."""

    expire_days: Annotated[int, between(1, 3650)] | None = None
    """Days until a built image expires, regardless of how many there are; for the short-lived images of a feature
    branch. Images that are live or were last verified are kept."""

    force_delete: bool = False
    """Let Pulumi delete the repository with its images when the stack is destroyed or a change replaces the repository.
    By default, the repository is protected, and Pulumi refuses to delete it. After you set this, run `pulumi up` once
    before the change or the destroy. It is rejected while the repository has images that are live or verified in an
    environment that `force_delete_environments` does not name."""

    force_delete_environments: Annotated[Sequence[EnvironmentName], items(most=20, distinct=True)] = ()
    """Environments whose images `force_delete` may delete. In a stack file, the environments of the stack are always
    among them, so name only others, such as `prod` if its stack takes its images from this repository."""

    def __post_init__(self) -> None:
        check(self)

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        yield (
            bool(self.force_delete_environments) and not self.force_delete,
            "force_delete_environments must be given only with force_delete, which it limits",
        )


class Repository:
    """An ECR repository and the IAM statements for access to it: a Registry, or a repository that another stack
    created."""

    repository_name: str
    url: pulumi.Output[str]
    arn: pulumi.Output[str]
    scans_on_push: bool = True
    """Whether the repository itself is set to scan each image that is pushed; the registry's own settings may too."""

    def check_release(self, environment_name: str, keep_verified: int) -> None:
        """Raise an error if the repository does not fit the releases to an environment that keeps this number of
        verified images. A Registry fits."""

    def login_statement(self) -> Statement:
        """Sign in to the registry, which both pulling and pushing require."""
        return allow("ecr:GetAuthorizationToken", on="*")  # this action takes no resource

    def pull_statements(self) -> list[Statement]:
        """Pull images of this repository.

        https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_execution_IAM_role.html
        """
        return [self.login_statement(), allow(*PULL, on=self.arn)]

    def push_statements(self) -> list[Statement]:
        """Push images to this repository, read its images and tags, and use it as a layer cache.

        https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-push-iam.html
        """
        push = ("ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload", "ecr:PutImage")
        return [self.login_statement(), allow(*PULL, "ecr:DescribeImages", *push, on=self.arn)]

    def index_statements(self) -> list[Statement]:
        """Push an index of images of this repository, for which their configurations are read."""
        return [self.login_statement(), allow(*PULL, "ecr:PutImage", on=self.arn)]

    def tag_statements(self) -> list[Statement]:
        """Read the manifests and tags of this repository's images and add tags, but read or write no layers."""
        return [allow("ecr:BatchGetImage", "ecr:DescribeImages", "ecr:PutImage", on=self.arn)]

    def scan_statements(self) -> list[Statement]:
        """Read the scan findings for this repository's images.

        https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-scanning.html
        """
        return [allow("ecr:BatchGetImage", "ecr:DescribeImageScanFindings", on=self.arn)]


class Registry(pulumi.ComponentResource, Repository):
    """An ECR repository with immutable tags, scan on push, and a lifecycle policy that keeps images in use.

    `name` is the repository's name. https://docs.aws.amazon.com/AmazonECR/latest/userguide/Repositories.html
    """

    repository_name: str
    url: pulumi.Output[str]
    """`<account>.dkr.ecr.<region>.amazonaws.com/<name>`, the URL for pushing and pulling images."""
    arn: pulumi.Output[str]

    def __init__(self, name: str, args: RegistryArgs | None = None, opts: pulumi.ResourceOptions | None = None) -> None:
        """Create the repository.

        Raises ValueError if `name` is not a valid repository name or the key is in another Region, and pulumi.RunError
        if the repository exists with another encryption, since it would be deleted with its images, or if
        `force_delete` would delete images of an environment that is not named.
        """
        args = RegistryArgs() if args is None else args
        check_args(args, RegistryArgs)
        if not isinstance(name, str) or not NAME.fullmatch(name) or not 2 <= len(name) <= 256:
            raise ValueError(
                f"a registry's name must be 2 to 256 characters of a-z, 0-9 and . _ - / between them, got {name!r}"
            )
        super().__init__("slipway:index:Registry", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        keys = {} if args.kms_key_arn is None else {"kms_key_arn": args.kms_key_arn}
        key = in_region(self, "kms", keys, "ECR takes a key of its own Region").get("kms_key_arn")
        if args.force_delete:
            require_named(name, args.force_delete_environments, pulumi.InvokeOptions(parent=self))
        else:
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
            tags=force_delete_tags(args),
            # ECR refuses to delete a repository with images; the engine refuses earlier, before anything else is
            # deleted.
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


def encryption(key: pulumi.Input[str] | None) -> list[aws.ecr.RepositoryEncryptionConfigurationArgs]:
    kind = "AES256" if key is None else "KMS"
    return [aws.ecr.RepositoryEncryptionConfigurationArgs(encryption_type=kind, kms_key=key)]


def kept_encryption(name: str, key: pulumi.Input[str] | None, opts: pulumi.InvokeOptions) -> pulumi.Input[str] | None:
    """The key, if an existing repository is encrypted with it; an Output fails when its value is known.

    The error says what would be lost, and what to do. For a protected resource, the engine says only that it is
    protected.
    https://docs.aws.amazon.com/AmazonECR/latest/userguide/encryption-at-rest.html
    """
    try:
        [found] = aws.ecr.get_repository(name=name, opts=opts).encryption_configurations
    except Exception:
        return key  # It does not exist yet, or cannot be read; a replacement is refused in any case.

    def same(known: str) -> str:
        # A key can also be given by an alias, and ECR returns the key.
        if found.encryption_type == "KMS" and (found.kms_key == known or ":key/" not in known):
            return known
        raise refusal(known)

    def refusal(known: str | None) -> pulumi.RunError:
        return pulumi.RunError(
            f"kms_key_arn of the repository {name} must stay {found.kms_key or None!r}, got {known!r}: ECR cannot "
            "change the encryption of a repository, so Pulumi would delete it with all its images, also those that are "
            "live or verified in any environment. Revert the change. To delete the images anyway, set "
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


def require_named(name: str, environments: Sequence[str], opts: pulumi.InvokeOptions) -> None:
    """Raise pulumi.RunError if an image in the repository is live or verified in another environment than these.

    Its stack would not notice: the tasks that run keep running, and the next one cannot start.
    """
    try:
        images = aws.ecr.get_images(repository_name=name, opts=opts).image_ids
    except Exception as e:  # the SDK has no specific class for the error of an invoke
        if "RepositoryNotFoundException" in str(e):
            return
        raise
    others = in_use_elsewhere([image.image_tag for image in images if image.image_tag], environments)
    if others:
        raise pulumi.RunError(
            f"force_delete of the repository {name} must not be set while images are live or verified in "
            f"{', '.join(others)}: destroying this stack, or a change that replaces the repository, would delete them, "
            "and their tasks could not start again. Remove force_delete (slipway:registry.forceDelete in a stack "
            "file). To delete them anyway, or if these environments do not exist any more, add "
            f"{', '.join(others)} to force_delete_environments (forceDeleteEnvironments)"
        )


def in_use_elsewhere(tags: Sequence[str], environments: Sequence[str]) -> list[str]:
    """The environments whose releases moved these tags, except these environments."""
    moved = {kind: {tag.removeprefix(kind) for tag in tags if tag.startswith(kind)} for kind in ("live-", "verified-")}
    live = moved["live-"]
    # The tags of earlier images end with a number, as the name of an environment also can.
    verified = {n if n in live or n in environments else re.sub(r"-\d+$", "", n) for n in moved["verified-"]}
    return sorted((live | verified) - set(environments))


def force_delete_tags(args: RegistryArgs) -> dict[str, str] | None:
    """What lets the stacks of other environments see, before they use the repository, that it may be deleted."""
    if not args.force_delete:
        return None
    return {key: "true" for key in (FORCE_DELETE, *(f"{FORCE_DELETE}:{e}" for e in args.force_delete_environments))}


def lifecycle_policy(args: RegistryArgs) -> dict[str, Any]:
    """Expire old builds, but never an image that is live or was last verified.

    An image that matches the tags of a rule cannot be expired by a rule of lower priority, so the first two rules
    protect images.
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
    """Let other accounts pull images. A repository policy has no Resource element.

    https://docs.aws.amazon.com/AmazonECR/latest/userguide/repository-policy-examples.html
    """
    return {"Effect": "Allow", "Principal": {"AWS": list(args.pull_principals)}, "Action": list(PULL)}
