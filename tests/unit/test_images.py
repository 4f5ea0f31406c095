import json
from typing import Any

import pytest
from slipway.release.function.images import INDEXES, Images
from unit.releases import client, stubbed

COMMIT, OLDER = "c0ffee" + "0" * 34, "0ff1ce" + "0" * 34
DIGEST = "sha256:" + "a" * 64


class Ecr:
    """ECR, as far as it returns the tags of an image."""

    def __init__(self, tags: list[str] | None) -> None:
        self.tags = tags

    def describe_images(self, *, repositoryName: str, imageIds: list[dict[str, str]]) -> dict[str, Any]:
        assert (repositoryName, imageIds) == ("storefront", [{"imageDigest": DIGEST}])
        return {"imageDetails": [{"imageDigest": DIGEST, **({} if self.tags is None else {"imageTags": self.tags})}]}


def revision(tags: list[str] | None, taken: str) -> str:
    return Images(Ecr(tags), "storefront").revision(DIGEST, taken)


def test_an_image_with_the_tag_of_the_sources_revision_was_built_from_it() -> None:
    # An image can have several: two commits may build the same one.
    assert revision(["live-dev", OLDER, COMMIT], COMMIT) == COMMIT
    assert revision([OLDER, "s3-V2", "s3-V1"], "s3-V2") == "s3-V2"


def test_an_image_that_is_released_again_was_built_from_the_revision_in_its_own_tag() -> None:
    assert revision(["live-dev", OLDER, "verified-dev"], COMMIT) == OLDER


def test_an_image_of_another_pipeline_was_built_from_the_revision_in_its_own_tag() -> None:
    assert revision(["verified-dev", COMMIT, "verified-dev-3"], DIGEST) == COMMIT


SETTINGS = "0123456789ab"


def test_an_image_was_built_from_the_commit_at_the_start_of_its_tag() -> None:
    assert revision([f"{COMMIT}-{SETTINGS}", "live-dev", f"{OLDER}-{SETTINGS}"], COMMIT) == COMMIT
    assert revision([f"{OLDER}-{SETTINGS}-0a1b2c3d"], COMMIT) == OLDER
    assert revision([f"s3-V2.-x-{SETTINGS}", f"s3-V1-{SETTINGS}-0a1b2c3d"], "s3-V2.-x") == "s3-V2.-x"
    assert revision([f"s3-V1-{SETTINGS}-0a1b2c3d"], COMMIT) == "s3-V1"


@pytest.mark.parametrize("tag", ["a" * 40, "0123456789abcdef" * 4, "s3-3sL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY"])
def test_commit_ids_and_versions_of_archives_are_revisions(tag: str) -> None:
    assert revision(["live-dev", tag], DIGEST) == tag


@pytest.mark.parametrize(
    "tags",
    [
        None,
        [],
        ["live-dev", "verified-dev", "verified-dev-0", "cache", "latest"],
        ["a" * 39, "a" * 41, "a" * 63, "a" * 65, f"{OLDER}-{SETTINGS[1:]}", f"{OLDER}-{SETTINGS}-0a1b", f"{OLDER}-"],
        ["C0FFEE" + "0" * 34, "g" * 40, "s3-", "xs3-1"],
    ],
)
def test_an_image_without_a_tag_of_a_revision_was_built_from_the_sources_revision(tags: list[str] | None) -> None:
    assert revision(tags, COMMIT) == COMMIT


def test_the_choice_between_several_revisions_is_deterministic() -> None:
    assert revision([COMMIT, OLDER], DIGEST) == revision([OLDER, COMMIT], DIGEST) == OLDER


# Requests to ECR

OTHER = "sha256:" + "b" * 64
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
BY_DIGEST = {"repositoryName": "storefront", "imageIds": [{"imageDigest": DIGEST}]}


@pytest.fixture
def ecr() -> Any:
    with stubbed("ecr") as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def images() -> Images:
    return Images(client("ecr"), "storefront")


def has_image(ecr: Any, media_type: str = MANIFEST, manifest: str = "{}") -> None:
    found = {"imageId": {"imageDigest": DIGEST}, "imageManifest": manifest, "imageManifestMediaType": media_type}
    ecr.add_response("batch_get_image", {"images": [found]}, BY_DIGEST)


def test_a_missing_image_is_an_error_with_a_remedy(ecr: Any) -> None:
    ecr.add_response("batch_get_image", {"images": [], "failures": [{"failureCode": "ImageNotFound"}]}, BY_DIGEST)
    with pytest.raises(RuntimeError) as error:
        images().require(DIGEST)
    assert str(error.value) == (
        f"the image {DIGEST} is not in the repository storefront; it was deleted or has expired: build its commit again"
    )


@pytest.mark.parametrize("media_type", INDEXES)
def test_an_index_contains_the_images_of_its_platforms(ecr: Any, media_type: str) -> None:
    has_image(ecr, media_type, json.dumps({"manifests": [{"digest": OTHER}, {"digest": "sha256:c"}]}))
    assert images().platforms(DIGEST) == {OTHER, "sha256:c"}


def test_an_image_for_one_platform_is_not_an_index(ecr: Any) -> None:
    has_image(ecr, manifest=json.dumps({"manifests": [{"digest": OTHER}]}))
    assert images().platforms(DIGEST) == set()


def test_tags_are_requested_at_once_and_only_existing_ones_have_a_digest(ecr: Any) -> None:
    request = {"repositoryName": "storefront", "imageIds": [{"imageTag": "live-dev"}, {"imageTag": "verified-dev"}]}
    found = [{"imageId": {"imageDigest": DIGEST, "imageTag": "verified-dev"}}, {"imageId": {"imageDigest": OTHER}}]
    ecr.add_response("batch_get_image", {"images": found}, request)
    assert images().tagged(["verified-dev", "live-dev"]) == {"verified-dev": DIGEST}


def put(ecr: Any, digest: str) -> None:
    request = {
        "repositoryName": "storefront",
        "imageManifest": '{"a": 1}',
        "imageManifestMediaType": MANIFEST,
        "imageTag": "live-dev",
        "imageDigest": DIGEST,
    }
    ecr.add_response("put_image", {"image": {"imageId": {"imageDigest": digest}}}, request)


def test_a_tag_is_moved_by_putting_the_same_manifest_again(ecr: Any) -> None:
    has_image(ecr, manifest='{"a": 1}')
    put(ecr, DIGEST)
    images().tag(DIGEST, "live-dev")


def test_a_tag_that_exists_already_is_not_an_error(ecr: Any) -> None:
    has_image(ecr)
    ecr.add_client_error("put_image", "ImageAlreadyExistsException")
    images().tag(DIGEST, "live-dev")


def test_a_tag_that_points_elsewhere_afterwards_is_an_error(ecr: Any) -> None:
    has_image(ecr, manifest='{"a": 1}')
    put(ecr, OTHER)
    with pytest.raises(RuntimeError) as error:
        images().tag(DIGEST, "live-dev")
    assert str(error.value) == f"the tag live-dev of storefront now points at another image than {DIGEST}"
