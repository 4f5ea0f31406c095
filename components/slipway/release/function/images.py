"""The images of the repository: whether an image exists, what it was built from, and which tags point to it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

BUILT = re.compile(r"([0-9a-f]{40}|[0-9a-f]{64}|s3-[\w.-]+?)(-[0-9a-f]{12}(-[0-9a-f]{8})?)?")
"""Tags of builds: a commit ID, or the version of an archive in S3, with a hash of the build's settings and, if the
image was built again, the start of the execution's ID. Earlier versions of Slipway used only the first part."""
INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)


class Images:
    def __init__(self, ecr: Any, repository: str) -> None:
        self.ecr = ecr
        self.repository = repository

    def require(self, digest: str) -> dict[str, Any]:
        """The image with this digest. Raises an error if it does not exist."""
        answer = self.ecr.batch_get_image(repositoryName=self.repository, imageIds=[{"imageDigest": digest}])
        if not answer["images"]:
            raise RuntimeError(
                f"the image {digest} is not in the repository {self.repository}; it was deleted or has expired: "
                "build its commit again"
            )
        image: dict[str, Any] = answer["images"][0]
        return image

    def platforms(self, digest: str) -> set[str]:
        """The digests of the platform images if `digest` is an index: ECS may report one of these.

        https://github.com/opencontainers/image-spec/blob/main/image-index.md
        """
        image = self.require(digest)
        if image.get("imageManifestMediaType") not in INDEXES:
            return set()
        return {manifest["digest"] for manifest in json.loads(image["imageManifest"]).get("manifests", [])}

    def revision(self, digest: str, source_revision: str) -> str:
        """What the image was built from, according to its tags.

        This differs from the revision of the pipeline's source action if the image is an earlier one that is released
        again, or was built by another pipeline.
        """
        answer = self.ecr.describe_images(repositoryName=self.repository, imageIds=[{"imageDigest": digest}])
        tags = sorted(answer["imageDetails"][0].get("imageTags", []))
        built_from = [match[1] for match in map(BUILT.fullmatch, tags) if match]
        return source_revision if source_revision in built_from else next(iter(built_from), source_revision)

    def tagged(self, tags: Iterable[str]) -> dict[str, str]:
        """The digests that existing tags point to."""
        answer = self.ecr.batch_get_image(
            repositoryName=self.repository, imageIds=[{"imageTag": tag} for tag in sorted(tags)]
        )
        ids = [image["imageId"] for image in answer["images"]]
        return {each["imageTag"]: each["imageDigest"] for each in ids if "imageTag" in each}

    def tag(self, digest: str, tag: str) -> None:
        """Point a tag to the image, wherever it pointed before.

        Putting the same manifest with another tag adds the tag.
        https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-retag.html
        """
        image = self.require(digest)
        try:
            answer = self.ecr.put_image(
                repositoryName=self.repository,
                imageManifest=image["imageManifest"],
                imageManifestMediaType=image["imageManifestMediaType"],
                imageTag=tag,
                imageDigest=digest,
            )
        except self.ecr.exceptions.ImageAlreadyExistsException:
            return  # the tag already points there
        if answer["image"]["imageId"]["imageDigest"] != digest:
            raise RuntimeError(f"the tag {tag} of {self.repository} now points at another image than {digest}")
