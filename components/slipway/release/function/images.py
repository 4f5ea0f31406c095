"""The images of the repository: is one there, what is known of it, and which tags point at it."""

from __future__ import annotations

import re
from typing import Any

REVISION = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}|s3-[\w.-]+")
"""Tags that say what an image was built from: the id of a commit, or the version of an archive in S3."""


class Images:
    def __init__(self, ecr: Any, repository: str) -> None:
        self.ecr = ecr
        self.repository = repository

    def require(self, digest: str) -> dict[str, Any]:
        """The image with this digest, or an error that says it is gone."""
        answer = self.ecr.batch_get_image(repositoryName=self.repository, imageIds=[{"imageDigest": digest}])
        if not answer["images"]:
            raise RuntimeError(
                f"the image {digest} is not in the repository {self.repository}; it was deleted or has expired: "
                "build its commit again"
            )
        image: dict[str, Any] = answer["images"][0]
        return image

    def revision(self, digest: str, taken: str) -> str:
        """What the image was built from, by its tags; `taken` is what the pipeline's source took.

        The two differ where an earlier image is released again, or one that another pipeline built.
        """
        answer = self.ecr.describe_images(repositoryName=self.repository, imageIds=[{"imageDigest": digest}])
        tags = answer["imageDetails"][0].get("imageTags", [])
        if taken in tags:
            return taken
        return next((tag for tag in sorted(tags) if REVISION.fullmatch(tag)), taken)

    def tag(self, digest: str, *tags: str) -> None:
        """Make each of `tags` point at the image, wherever it pointed before.

        Putting the same manifest again adds a tag to it.
        https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-retag.html
        """
        image = self.require(digest)
        for tag in tags:
            try:
                answer = self.ecr.put_image(
                    repositoryName=self.repository,
                    imageManifest=image["imageManifest"],
                    imageManifestMediaType=image["imageManifestMediaType"],
                    imageTag=tag,
                    imageDigest=digest,
                )
            except self.ecr.exceptions.ImageAlreadyExistsException:
                continue  # the tag points there already
            if answer["image"]["imageId"]["imageDigest"] != digest:
                raise RuntimeError(f"the tag {tag} of {self.repository} now points at another image than {digest}")
