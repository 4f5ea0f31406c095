from typing import Any

import pytest
from slipway.release.function.images import Images

COMMIT, OLDER = "c0ffee" + "0" * 34, "0ff1ce" + "0" * 34
DIGEST = "sha256:" + "a" * 64


class Ecr:
    """ECR, as far as it is asked which tags an image has."""

    def __init__(self, tags: list[str] | None) -> None:
        self.tags = tags

    def describe_images(self, *, repositoryName: str, imageIds: list[dict[str, str]]) -> dict[str, Any]:
        assert (repositoryName, imageIds) == ("storefront", [{"imageDigest": DIGEST}])
        return {"imageDetails": [{"imageDigest": DIGEST, **({} if self.tags is None else {"imageTags": self.tags})}]}


def revision(tags: list[str] | None, taken: str) -> str:
    return Images(Ecr(tags), "storefront").revision(DIGEST, taken)


def test_an_image_that_has_the_tag_of_what_was_taken_was_built_from_it() -> None:
    # An image can have several: two commits may build the same one.
    assert revision(["live-dev", OLDER, COMMIT], COMMIT) == COMMIT
    assert revision([OLDER, "s3-V2", "s3-V1"], "s3-V2") == "s3-V2"


def test_an_image_that_is_released_again_was_built_from_what_its_own_tag_says() -> None:
    assert revision(["live-dev", OLDER, "verified-dev"], COMMIT) == OLDER


def test_an_image_of_another_pipeline_was_built_from_what_its_own_tag_says() -> None:
    assert revision(["verified-dev", COMMIT, "verified-dev-3"], DIGEST) == COMMIT


@pytest.mark.parametrize("tag", ["a" * 40, "0123456789abcdef" * 4, "s3-3sL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY"])
def test_ids_of_commits_and_versions_of_archives_say_what_was_built(tag: str) -> None:
    assert revision(["live-dev", tag], DIGEST) == tag


@pytest.mark.parametrize(
    "tags",
    [
        None,
        [],
        ["live-dev", "verified-dev", "verified-dev-0", "cache", "latest"],
        ["a" * 39, "a" * 41, "a" * 63, "a" * 65],
        ["C0FFEE" + "0" * 34, "g" * 40, "s3-", "xs3-1"],
    ],
)
def test_without_a_tag_that_says_it_an_image_was_built_from_what_was_taken(tags: list[str] | None) -> None:
    assert revision(tags, COMMIT) == COMMIT


def test_of_several_revisions_it_is_always_the_same_one() -> None:
    assert revision([COMMIT, OLDER], DIGEST) == revision([OLDER, COMMIT], DIGEST) == OLDER
