#!/usr/bin/env bash
# Makes one image of the images for each CPU architecture: an index, of which each task pulls the image for its own.
# https://github.com/opencontainers/image-spec/blob/main/image-index.md
#
# Reads    COMMIT_ID       the commit, as build.sh
#          IMAGE_DIGESTS   digests of the images, separated by spaces; all the same if an image is released again
#          IMAGE_TAGS      their tags
#          REPOSITORY_URL  the ECR repository
#          CONTAINER_NAME  the container that the image is for
# Writes   what build.sh writes
set -euo pipefail

fail() {
  printf 'slipway: %s\n' "$*" >&2
  exit 1
}

read -ra digests <<<"$IMAGE_DIGESTS"
read -ra tags <<<"$IMAGE_TAGS"
if [ "${digests[0]}" = "${digests[1]}" ]; then
  digest=${digests[0]} tag=${tags[0]}
  printf 'slipway: nothing is put together: the image %s is released again.\n' "$digest"
else
  # Of the same images the same index is made, so that a retry finds the tag, which is immutable, where it belongs.
  content=$(printf '%s\0' "${digests[@]}" | sha256sum)
  tag=$COMMIT_ID-${content:0:12}
  registry=${REPOSITORY_URL%%/*}
  aws ecr get-login-password | docker login --username AWS --password-stdin "$registry" ||
    fail "signing in to $registry failed: the error is above; the role needs ecr:GetAuthorizationToken."
  docker buildx imagetools create --tag "$REPOSITORY_URL:$tag" "${digests[@]/#/$REPOSITORY_URL@}" ||
    fail "the index of ${tags[*]} could not be pushed: the error is above; retry the stage."
  digest=$(aws ecr batch-get-image --repository-name "${REPOSITORY_URL#*/}" --image-ids "imageTag=$tag" \
    --query 'images[0].imageId.imageDigest' --output text) ||
    fail "the index $tag was pushed, but could not be read: the error is above; retry the stage."
fi

printf '[{"name":"%s","imageUri":"%s@%s"}]\n' "$CONTAINER_NAME" "$REPOSITORY_URL" "$digest" >imagedefinitions.json
printf 'IMAGE_URI=%s@%s\nIMAGE_DIGEST=%s\nIMAGE_TAG=%s\n' "$REPOSITORY_URL" "$digest" "$digest" "$tag" >slipway.env
printf 'slipway: image %s@%s, tag %s\n' "$REPOSITORY_URL" "$digest" "$tag"
