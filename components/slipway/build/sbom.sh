#!/usr/bin/env bash
# Attaches a software bill of materials (SBOM) to the image, as a referrer: the image and its digest stay as they are.
# https://docs.aws.amazon.com/AmazonECR/latest/userguide/images.html
# https://github.com/opencontainers/image-spec/blob/main/manifest.md#guidelines-for-artifact-usage
#
# Reads    IMAGE_URI       the image, by digest
#          REPOSITORY_URL  the ECR repository
#          SBOM_GENERATOR  the image that makes the SBOM
#          BUILDER_IMAGE, BUILDKITD_CONFIG, BUILDX_BUILDER  as build.sh
set -euo pipefail
shopt -s inherit_errexit

fail() {
  printf 'slipway: %s\n' "$*" >&2
  trap - EXIT
  exit 1
}
# For the calls below that say nothing of their own.
trap '[ $? = 0 ] || printf "slipway: the image is in the registry, but its SBOM could not be attached: the error is above.\n" >&2' EXIT

say() {
  printf 'slipway: %s\n' "$*"
}

repository=${REPOSITORY_URL#*/} registry=${REPOSITORY_URL%%/*} digest=${IMAGE_URI##*@}
kind=application/spdx+json
files=$(mktemp -d)

# Puts a file into the repository, unless it is there; prints its descriptor.
put() { # media type, file
  local blob size id part first=0
  blob=sha256:$(sha256sum <"$2" | cut -d' ' -f1)
  if [ "$(aws ecr batch-check-layer-availability --repository-name "$repository" --layer-digests "$blob" \
    --query 'layers[0].layerAvailability' --output text)" != AVAILABLE ]; then
    id=$(aws ecr initiate-layer-upload --repository-name "$repository" --query uploadId --output text)
    rm -f "$files"/part.*
    split --bytes=20971520 "$2" "$files/part." # what ECR takes at once
    for part in "$files"/part.*; do
      size=$(wc -c <"$part")
      aws ecr upload-layer-part --repository-name "$repository" --upload-id "$id" --part-first-byte "$first" \
        --part-last-byte $((first + size - 1)) --layer-part-blob "fileb://$part" >/dev/null
      first=$((first + size))
    done
    aws ecr complete-layer-upload --repository-name "$repository" --upload-id "$id" --layer-digests "$blob" >/dev/null
  fi
  printf '{"mediaType":"%s","digest":"%s","size":%s}' "$1" "$blob" "$(wc -c <"$2")"
}

referrers=$(aws ecr list-image-referrers --repository-name "$repository" --subject-id "imageDigest=$digest" \
  --filter "artifactTypes=$kind" --query 'length(referrers)' --output text) ||
  fail "the referrers of $digest could not be read: the error is above."
if [ "$referrers" != 0 ]; then
  say "the image has an SBOM."
  exit 0
fi
manifest=$(aws ecr batch-get-image --repository-name "$repository" --image-ids "imageDigest=$digest" \
  --query 'images[0].imageManifest' --output text) || fail "the image $digest could not be read: the error is above."
type=$(aws ecr batch-get-image --repository-name "$repository" --image-ids "imageDigest=$digest" \
  --query 'images[0].imageManifestMediaType' --output text)
case $type in
  *.index.* | *.list.*)
    say "the image is an index: the images in it have an SBOM each."
    exit 0
    ;;
esac

aws ecr get-login-password | docker login --username AWS --password-stdin "$registry" ||
  fail "signing in to $registry failed: the error is above."
export BUILDX_BUILDER=${BUILDX_BUILDER:-slipway}
docker buildx inspect "$BUILDX_BUILDER" >"$files/builder" 2>&1 ||
  docker buildx create --name "$BUILDX_BUILDER" --driver docker-container --driver-opt "image=$BUILDER_IMAGE" \
    ${BUILDKITD_CONFIG:+--buildkitd-config "$BUILDKITD_CONFIG"} --bootstrap ||
  fail "the builder could not start from $BUILDER_IMAGE: the error is above; set build.builderImage to a copy in your own registry."
# BuildKit puts an SBOM beside an image that it builds: here, one that is the image itself. It has no tag, and expires.
# https://docs.docker.com/build/metadata/attestations/sbom/
printf 'FROM %s\n' "$IMAGE_URI" |
  docker buildx build --attest "type=sbom,generator=$SBOM_GENERATOR" --provenance=false --metadata-file "$files/made" \
    --output "type=image,name=$REPOSITORY_URL,push-by-digest=true,push=true" - ||
  fail "the SBOM could not be made with $SBOM_GENERATOR: the error is above."
made=$(grep -oE '"containerimage.digest": *"sha256:[0-9a-f]{64}"' "$files/made" | grep -oE 'sha256:[0-9a-f]{64}')
docker buildx imagetools inspect "$REPOSITORY_URL@$made" --format '{{json .SBOM.SPDX}}' >"$files/sbom"
grep -q '"spdxVersion"' "$files/sbom" || fail "$SBOM_GENERATOR made no SBOM in the format SPDX."

printf '{}' >"$files/empty"
config=$(put application/vnd.oci.empty.v1+json "$files/empty")
sbom=$(put "$kind" "$files/sbom")
subject="{\"mediaType\":\"$type\",\"digest\":\"$digest\",\"size\":$(printf %s "$manifest" | wc -c)}"
oci=application/vnd.oci.image.manifest.v1+json
artifact="{\"schemaVersion\":2,\"mediaType\":\"$oci\",\"artifactType\":\"$kind\",\"config\":$config,\"layers\":[$sbom],\"subject\":$subject}"
aws ecr put-image --repository-name "$repository" --image-manifest "$artifact" --image-manifest-media-type "$oci" >/dev/null
say "the SBOM is attached to the image."
