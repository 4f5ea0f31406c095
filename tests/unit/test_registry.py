from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest
from slipway import ExistingRegistry, Registry, RegistryArgs
from slipway.registry import MOVING_TAGS, Repository, lifecycle_policy
from standin.lifecycle import Image, expired
from unit.examples import registry
from unit.harness import deploy, named, of_type, only, resolved, run

REPOSITORY = "aws:ecr/repository:Repository"
LIFECYCLE = "aws:ecr/lifecyclePolicy:LifecyclePolicy"
ARN = "arn:aws:ecr:eu-west-1:123456789012:repository/storefront"
LOGIN = {"Effect": "Allow", "Action": ["ecr:GetAuthorizationToken"], "Resource": "*"}
READ = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
WRITE = ["ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload", "ecr:PutImage"]


def access(repository: Repository) -> list[Any]:
    """Each kind of access to a repository."""
    return [
        repository.pull_statements(),
        repository.push_statements(),
        repository.tag_statements(),
        repository.scan_statements(),
        [repository.login_statement()],
    ]


ACCESS = [
    [LOGIN, {"Effect": "Allow", "Action": READ, "Resource": ARN}],
    [LOGIN, {"Effect": "Allow", "Action": [*READ, "ecr:DescribeImages", *WRITE], "Resource": ARN}],
    [{"Effect": "Allow", "Action": ["ecr:BatchGetImage", "ecr:DescribeImages", "ecr:PutImage"], "Resource": ARN}],
    [{"Effect": "Allow", "Action": ["ecr:BatchGetImage", "ecr:DescribeImageScanFindings"], "Resource": ARN}],
    [LOGIN],
]


def test_only_moving_tags_can_be_overwritten_and_every_push_is_scanned() -> None:
    repository = only(deploy(lambda: Registry("storefront")), REPOSITORY)
    assert repository.inputs == {
        "name": "storefront",
        "imageTagMutability": "IMMUTABLE_WITH_EXCLUSION",
        "imageTagMutabilityExclusionFilters": [
            {"filter": "live-*", "filterType": "WILDCARD"},
            {"filter": "verified-*", "filterType": "WILDCARD"},
            {"filter": "cache*", "filterType": "WILDCARD"},
        ],
        "imageScanningConfiguration": {"scanOnPush": True},
        "encryptionConfigurations": [{"encryptionType": "AES256"}],
        "forceDelete": False,
    }
    assert (repository.protect, repository.retain) == (True, False)


def test_a_commit_id_is_not_a_moving_tag() -> None:
    prefixes = [tag.rstrip("*") for tag in MOVING_TAGS]
    assert [p for p in prefixes if set(p) <= set("0123456789abcdef")] == []


def test_images_can_be_encrypted_with_a_customer_managed_key() -> None:
    key = "arn:aws:kms:eu-west-1:123456789012:key/k"
    repository = only(deploy(lambda: registry("storefront", kms_key_arn=key)), REPOSITORY)
    assert repository.inputs["encryptionConfigurations"] == [{"encryptionType": "KMS", "kmsKey": key}]


def test_a_repository_can_be_deleted_with_its_images_if_force_delete_is_set() -> None:
    made = deploy(lambda: registry("storefront", force_delete=True, force_delete_environments=["prod"]))
    repository = only(made, REPOSITORY)
    assert (repository.protect, repository.inputs["forceDelete"]) == (False, True)
    # The stacks of other environments can see it.
    assert repository.inputs["tags"] == {"slipway:force-delete": "true", "slipway:force-delete:prod": "true"}


def test_only_force_delete_has_environments() -> None:
    with pytest.raises(ValueError, match="^force_delete_environments must be given only with force_delete"):
        RegistryArgs(force_delete_environments=["prod"])


@pytest.mark.parametrize(
    ("tags", "named", "others"),
    [
        ([], [], []),
        (["c0ffee-0ff1ce", "cache", "lively", "verifiedly"], [], []),
        (["live-dev", "verified-dev", "verified-dev-0", "verified-dev-10"], ["dev"], []),
        (["live-dev", "verified-dev-0"], [], ["dev"]),
        (["live-dev", "live-prod", "verified-prod-0"], ["dev"], ["prod"]),
        # An environment whose release is not verified yet, and one whose other tags were deleted.
        (["live-prod", "verified-eu-3"], ["dev"], ["eu", "prod"]),
        # A name that ends like the tag of an earlier image.
        (["live-prod-1", "verified-prod-1", "verified-prod-1-0"], ["prod-1"], []),
        (["live-prod-1", "verified-prod-1", "verified-prod-1-0"], ["prod"], ["prod-1"]),
        (["verified-prod-1"], ["prod-1"], []),
        (["verified-prod-1"], ["prod"], []),
    ],
)
def test_images_of_an_environment_that_is_not_named_forbid_force_delete(
    monkeypatch: pytest.MonkeyPatch, tags: list[str], named: list[str], others: list[str]
) -> None:
    images = [SimpleNamespace(image_tag=tag) for tag in [*tags, ""]]
    monkeypatch.setattr(aws.ecr, "get_images", lambda repository_name, opts: SimpleNamespace(image_ids=images))

    def program() -> None:
        registry("web", force_delete=True, force_delete_environments=named)

    if others:
        text = rf"are live or verified in {', '.join(others)}: .* add {', '.join(others)} to force_delete_environments"
        with pytest.raises(pulumi.RunError, match=text):
            deploy(program)
    else:
        assert len(of_type(deploy(program), REPOSITORY)) == 1


def test_force_delete_is_rejected_if_the_images_cannot_be_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(message: str) -> Any:
        def get_images(**_: Any) -> Any:
            raise Exception(message)

        return get_images

    monkeypatch.setattr(aws.ecr, "get_images", fails("AccessDeniedException: ecr:ListImages"))
    with pytest.raises(Exception, match="ecr:ListImages"):
        deploy(lambda: registry("web", force_delete=True))
    monkeypatch.setattr(aws.ecr, "get_images", fails("RepositoryNotFoundException: there is none"))
    assert len(of_type(deploy(lambda: registry("web", force_delete=True)), REPOSITORY)) == 1


def test_only_the_repository_is_protected() -> None:
    """Other resources are replaced when a setting changes."""
    resources = deploy(lambda: registry("storefront", pull_principals=["arn:aws:iam::111122223333:role/x"]))
    assert [resource.type for resource in resources if resource.protect] == [REPOSITORY]


def test_a_repository_is_looked_up_where_its_component_is_deployed() -> None:
    def program() -> None:
        Registry("storefront", opts=pulumi.ResourceOptions(provider=aws.Provider("there", region="us-east-1")))

    [(function, provider)] = run(program, {}, [], "dev").calls
    assert (function, provider.rpartition("::")[0]) == (
        "aws:ecr/getRepository:getRepository",
        "urn:pulumi:dev::storefront::pulumi:providers:aws::there",
    )


ALIAS, KEYS = (
    "arn:aws:kms:eu-west-1:123456789012:alias/a",
    [f"arn:aws:kms:eu-west-1:123456789012:key/{k}" for k in "ab"],
)


@pytest.mark.parametrize(
    ("key", "found", "refused"),
    [
        (None, ("AES256", ""), False),
        (KEYS[0], ("KMS", KEYS[0]), False),
        # Only AWS knows which key an alias refers to.
        (ALIAS, ("KMS", KEYS[0]), False),
        (KEYS[0], ("AES256", ""), True),
        (ALIAS, ("AES256", ""), True),
        (None, ("KMS", KEYS[0]), True),
        (KEYS[1], ("KMS", KEYS[0]), True),
        (KEYS[0], ("KMS_DSSE", KEYS[0]), True),
    ],
)
@pytest.mark.parametrize("late", [False, True], ids=["known at once", "known later"])
def test_a_change_of_the_repositorys_encryption_is_rejected(
    monkeypatch: pytest.MonkeyPatch, key: str | None, found: tuple[str, str], refused: bool, late: bool
) -> None:
    encryption = SimpleNamespace(encryption_type=found[0], kms_key=found[1])
    answer = SimpleNamespace(encryption_configurations=[encryption])
    monkeypatch.setattr(aws.ecr, "get_repository", lambda name, opts: answer)

    def program(**args: Any) -> None:
        registry("web", kms_key_arn=pulumi.Output.from_input(key) if late and key else key, **args)

    if refused:
        with pytest.raises(pulumi.RunError, match=r"^kms_key_arn of the repository web must stay "):
            deploy(program)
    else:
        assert len(of_type(deploy(program), REPOSITORY)) == 1
    assert len(of_type(deploy(lambda: program(force_delete=True)), REPOSITORY)) == 1


@pytest.mark.parametrize("answer", [Exception("couldn't find resource"), None])
def test_a_repository_that_is_missing_or_cannot_be_read_is_not_compared(
    monkeypatch: pytest.MonkeyPatch, answer: Exception | None
) -> None:
    def get_repository(name: str, opts: pulumi.InvokeOptions) -> Any:
        if answer is not None:
            raise answer
        return SimpleNamespace(encryption_configurations=None)

    monkeypatch.setattr(aws.ecr, "get_repository", get_repository)
    assert only(deploy(lambda: registry("web", kms_key_arn=KEYS[0])), REPOSITORY).protect is True


def test_other_principals_may_not_pull_by_default() -> None:
    assert of_type(deploy(lambda: Registry("storefront")), "aws:ecr/repositoryPolicy:RepositoryPolicy") == []


def test_given_principals_may_pull_and_do_nothing_else() -> None:
    role = "arn:aws:iam::111122223333:role/x"
    pull = named(deploy(lambda: registry("storefront", pull_principals=[role])), "storefront-pull")
    assert pull.inputs["repository"] == "storefront"
    assert pull.json("policy") == {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": [role]}, "Action": READ}],
    }


def test_each_kind_of_access_is_to_this_repository_only() -> None:
    assert resolved(lambda: access(Registry("storefront"))) == ACCESS


def test_an_existing_repository_is_only_looked_up() -> None:
    resources = deploy(lambda: ExistingRegistry("storefront"))
    assert [resource.type for resource in resources] == ["pulumi:pulumi:Stack"]


def test_an_existing_repository_has_the_same_kinds_of_access() -> None:
    assert resolved(lambda: access(ExistingRegistry("storefront"))) == ACCESS


def test_an_existing_repository_is_identified_by_its_name() -> None:
    def program() -> list[Any]:
        made = ExistingRegistry("team/storefront")
        return [made.repository_name, made.url, made.arn]

    assert resolved(program) == [
        "team/storefront",
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/storefront",
        "arn:aws:ecr:eu-west-1:123456789012:repository/team/storefront",
    ]


def test_an_existing_repository_is_looked_up_where_its_provider_is_configured() -> None:
    def program() -> None:
        there = aws.Provider("there", region="us-east-1")
        ExistingRegistry("storefront", pulumi.InvokeOptions(provider=there))

    [(function, provider)] = run(program, {}, [], "dev").calls
    assert (function, provider.rpartition("::")[0]) == (
        "aws:ecr/getRepository:getRepository",
        "urn:pulumi:dev::storefront::pulumi:providers:aws::there",
    )


def test_the_lifecycle_policy_is_for_the_repository_and_its_text_is_deterministic() -> None:
    policy = named(deploy(lambda: registry("storefront", keep_images=3)), "storefront-lifecycle")
    assert policy.inputs["repository"] == "storefront"
    assert policy.json("policy") == lifecycle_policy(RegistryArgs(keep_images=3))
    assert 100 <= len(policy.inputs["policy"]) <= 30_720


def image(age_days: int, *tags: str) -> Image:
    return Image(frozenset(tags), age_days)


either_reading = pytest.mark.parametrize("sees_protected", [True, False])


@either_reading
def test_old_builds_expire_but_live_and_verified_images_do_not(sees_protected: bool) -> None:
    builds = [image(age, f"commit{age}") for age in range(1, 6)]
    kept = [
        image(2000, "commit2000", "live-prod"),
        image(1500, "commit1500", "verified-prod-0"),
        image(1499, "commit1499", "verified-prod-1"),
        image(900, "commit900", "live-dev", "verified-dev", "verified-dev-0"),
        image(400, "cache"),
    ]
    untagged = [image(8), image(100)]
    policy = lifecycle_policy(RegistryArgs(keep_images=3, untagged_days=7))
    assert expired(policy, [*kept, *builds, *untagged], sees_protected) == {*builds[3:], *untagged}


@either_reading
def test_in_any_repository_only_untagged_images_and_old_builds_expire(sees_protected: bool) -> None:
    chance = random.Random(7)
    tags = ["live-a", "live-b", "verified-a", "verified-a-0", "verified-b-19", "cache"]
    policy = lifecycle_policy(RegistryArgs(keep_images=2, untagged_days=1))
    gone: set[Image] = set()
    for _ in range(200):
        images = [
            image(age, *chance.sample([*tags, f"commit{age}"], chance.randrange(4)))
            for age in chance.sample(range(4000), chance.randrange(1, 40))
        ]
        expire = expired(policy, images, sees_protected)
        newest = {i for i in sorted(images, key=lambda i: i.age_days)[:2] if i.tags}
        assert not expire & newest
        gone |= expire
    assert {bool(i.tags) for i in gone} == {True, False}
    assert {tag[:6] for i in gone for tag in i.tags} == {"commit"}


def test_the_policy_complies_with_ecrs_rules_for_policies() -> None:
    rules = lifecycle_policy(RegistryArgs())["rules"]
    selections = [rule["selection"] for rule in rules]
    assert [rule["rulePriority"] for rule in rules] == [1, 2, 3, 4, 6]
    assert [s["tagStatus"] for s in selections] == ["tagged", "tagged", "tagged", "untagged", "any"]
    assert [s.get("tagPrefixList") for s in selections] == [["live-"], ["verified-"], ["cache"], None, None]
    assert [s["countNumber"] for s in selections] == [9999, 9999, 9999, 7, 200]


@either_reading
def test_short_lived_builds_expire_after_their_days_but_live_and_verified_images_do_not(sees_protected: bool) -> None:
    young = [image(age, f"commit{age}") for age in range(1, 15)]
    old = [image(age, f"commit{age}") for age in (15, 16, 300)]
    kept = [
        image(2000, "commit2000", "live-prod"),
        image(1500, "commit1500", "verified-prod-0"),
        image(900, "commit900", "live-dev", "verified-dev", "verified-dev-0"),
        image(400, "cache"),
    ]
    policy = lifecycle_policy(RegistryArgs(expire_days=14))
    assert expired(policy, [*kept, *young, *old], sees_protected) == set(old)


def test_builds_expire_by_age_only_if_expire_days_is_set() -> None:
    always = lifecycle_policy(RegistryArgs())["rules"]
    rules = lifecycle_policy(RegistryArgs(expire_days=14))["rules"]
    assert rules == [
        *always[:4],
        {
            "rulePriority": 5,
            "description": "expire builds after a time",
            "selection": {
                "tagStatus": "tagged",
                "tagPatternList": ["*"],
                "countType": "sinceImagePushed",
                "countUnit": "days",
                "countNumber": 14,
            },
            "action": {"type": "expire"},
        },
        *always[4:],
    ]


@pytest.mark.parametrize("name", ["ab", "storefront-dev", "team/app.web__x", "a" * 256])
def test_valid_names_of_repositories_are_accepted(name: str) -> None:
    assert only(deploy(lambda: Registry(name)), REPOSITORY).inputs["name"] == name


@pytest.mark.parametrize("name", ["a", "Storefront", "-app", "app-", "a//b", "a" * 257])
def test_invalid_names_of_repositories_are_rejected(name: str) -> None:
    with pytest.raises(ValueError) as error:
        Registry(name)
    rule = "a registry's name must be 2 to 256 characters of a-z, 0-9 and . _ - / between them, got "
    assert str(error.value) == rule + repr(name)
