#!/usr/bin/env bash
# Tests a commit, builds its image if it does not exist yet, pushes it, and says by digest which image to release.
#
# An image is identified by its commit and by the settings that it is built with; its tag is <commit>-<hash of the settings>.
#
# Reads    COMMIT_ID         the commit, in full, or s3-<version> of an archive in S3
#          IMAGE_DIGEST      digest of an image that is there already, to release it again; none for a build
#          REBUILD           true to build an image that exists again, without the layer cache; false otherwise
#          PIPELINE_EXECUTION_ID  the execution, for the tag of an image that is built again
#          REPOSITORY_URL    the ECR repository
#          CONTAINER_NAME    the container that the image is for
#          CONTEXT           folder to build, relative to the source
#          DOCKERFILE        path of the Dockerfile, relative to CONTEXT
#          TARGET            stage of the Dockerfile to build; none for the last one
#          TEST_COMMANDS     commands to run first, one a line; each must succeed
#          BUILD_ARGS        NAME=value build arguments, one a line
#          BUILD_SECRETS     ids of the secrets for the Dockerfile's mounts, separated by spaces; their values are in
#                            BUILD_SECRET_0, BUILD_SECRET_1, ...; none by default
#          BUILDKITD_CONFIG, DOCKER_HUB_MIRROR, REGISTRY_LOGINS  of registries.sh, where it runs first
#          CACHE_TAG         tag of the layer cache; cache by default
#          BUILDER_IMAGE     the BuildKit image that builds, unless BUILDX_BUILDER names a builder that exists
# Writes   imagedefinitions.json, and slipway.env with IMAGE_URI, IMAGE_DIGEST and IMAGE_TAG
#
# Everything happens in one script, so that nothing runs after a step that failed: CodeBuild runs post_build even then.
# https://docs.aws.amazon.com/codebuild/latest/userguide/view-build-details-phases.html
set -euo pipefail

fail() {
  printf 'slipway: %s\n' "$*" >&2
  exit 1
}

say() {
  printf 'slipway: %s\n' "$*"
}

# The digest of an image of the repository, named by imageTag=… or imageDigest=…; nothing when there is none.
digest_of() {
  local digest
  digest=$(aws ecr batch-get-image --repository-name "$repository" --image-ids "$1" \
    --query 'images[0].imageId.imageDigest' --output text) || return 1
  [ "$digest" = None ] || printf '%s' "$digest"
}

registry=${REPOSITORY_URL%%/*}
repository=${REPOSITORY_URL#*/}
unreadable="the repository $repository could not be read: the error is above; check that it exists and that the build's role may read it."

finish() { # digest, tag
  printf '[{"name":"%s","imageUri":"%s@%s"}]\n' "$CONTAINER_NAME" "$REPOSITORY_URL" "$1" >imagedefinitions.json
  printf 'IMAGE_URI=%s@%s\nIMAGE_DIGEST=%s\nIMAGE_TAG=%s\n' "$REPOSITORY_URL" "$1" "$1" "$2" >slipway.env
  say "image $REPOSITORY_URL@$1, tag $2"
  exit 0
}

if [ "${IMAGE_DIGEST:-none}" != none ]; then
  [[ $IMAGE_DIGEST =~ ^sha256:[0-9a-f]{64}$ ]] ||
    fail "IMAGE_DIGEST must be a digest, sha256: and 64 characters of 0-9 a-f, got '$IMAGE_DIGEST'."
  digest=$(digest_of "imageDigest=$IMAGE_DIGEST") || fail "$unreadable"
  [ -n "$digest" ] ||
    fail "there is no image $IMAGE_DIGEST in $repository: it was deleted, has expired, or is in another repository."
  tags=$(aws ecr describe-images --repository-name "$repository" --image-ids "imageDigest=$IMAGE_DIGEST" \
    --query 'imageDetails[0].imageTags' --output text) || fail "$unreadable"
  say "nothing is built: the image $IMAGE_DIGEST is released again."
  for tag in $tags; do
    if [[ $tag =~ ^([0-9a-f]{40}|[0-9a-f]{64}|s3-.*)(-[0-9a-f]{12}(-[0-9a-f]{8})?)?$ ]]; then finish "$digest" "$tag"; fi
  done
  finish "$digest" unknown
fi

[[ ${COMMIT_ID:-} =~ ^([0-9a-f]{40}|[0-9a-f]{64}|s3-[A-Za-z0-9._-]{1,100})$ ]] ||
  fail "COMMIT_ID must be the full id of a commit, got '${COMMIT_ID:-}': start the build from the pipeline, which passes it on."
[ "$COMMIT_ID" != s3-null ] ||
  fail "the archive in S3 has no version: turn on versioning of its bucket, and upload it again."
[ -f "$CONTEXT/$DOCKERFILE" ] ||
  fail "there is no Dockerfile at '$CONTEXT/$DOCKERFILE' in this commit: add it, or set build.context and build.dockerfile to where it is."

settings=$(printf '%s\0' "$CONTEXT" "$DOCKERFILE" "${TARGET:-}" "${BUILD_ARGS:-}" "$(uname -m)" | sha256sum)
tag=$COMMIT_ID-${settings:0:12}
fresh=()
case ${REBUILD:-false} in
  false) ;;
  true) fresh=(--no-cache) tag+=-${PIPELINE_EXECUTION_ID:0:8} ;;
  *) fail "REBUILD must be true or false, got '$REBUILD'." ;;
esac

digest=$(digest_of "imageTag=$tag") || fail "$unreadable"

while IFS= read -r command; do
  [ -n "$command" ] || continue
  say "test: $command"
  (unset "${!BUILD_SECRET_@}" && exec bash -c "$command") </dev/null ||
    fail "the test command '$command' failed with exit status $?: nothing was pushed; its output is above."
done <<<"${TEST_COMMANDS:-}"

if [ -n "$digest" ]; then
  say "nothing is built: the image of this commit with these settings exists."
else
  aws ecr get-login-password | docker login --username AWS --password-stdin "$registry" ||
    fail "signing in to $registry failed: the error is above; the build's role needs ecr:GetAuthorizationToken."

  # A cache in a registry takes a builder of its own; without one the build is slower, and otherwise the same.
  # https://docs.docker.com/build/cache/backends/registry/
  cache=(--cache-to "type=registry,ref=$REPOSITORY_URL:${CACHE_TAG:-cache},mode=max,image-manifest=true,oci-mediatypes=true,ignore-error=true")
  if [ -z "${BUILDX_BUILDER:-}" ]; then
    export BUILDX_BUILDER=slipway
    if ! docker buildx create --name "$BUILDX_BUILDER" --driver docker-container --driver-opt "image=$BUILDER_IMAGE" \
      ${BUILDKITD_CONFIG:+--buildkitd-config "$BUILDKITD_CONFIG"} --bootstrap; then
      say "the builder could not start from $BUILDER_IMAGE, so this build keeps no layer cache: the error is above; if its registry limits pulls, set build.builderImage to a copy in your own registry."
      BUILDX_BUILDER=default
      cache=()
    fi
  fi

  # What the image is made of: the standard label, and an argument for Dockerfiles that want it.
  # https://github.com/opencontainers/image-spec/blob/main/annotations.md
  number=0
  arguments=(--label "org.opencontainers.image.revision=$COMMIT_ID" --build-arg "COMMIT_ID=$COMMIT_ID")
  while IFS= read -r argument; do
    [ -z "$argument" ] || arguments+=(--build-arg "$argument")
  done <<<"${BUILD_ARGS:-}"

  dockerfile=("$CONTEXT" --file "$CONTEXT/$DOCKERFILE" --target "${TARGET:-}")
  for id in ${BUILD_SECRETS:-}; do
    arguments+=(--secret "id=$id,env=BUILD_SECRET_$((number++))")
  done
  # BuildKit runs a step without the secrets and the SSH agent that it is not given.
  # https://docs.docker.com/reference/dockerfile/#run---mounttypesecret
  if grep -qE 'type=["'\'']?(secret|ssh)' "$CONTEXT/$DOCKERFILE"; then
    mounts=$(docker buildx build "${dockerfile[@]}" "${arguments[@]}" --call=outline) ||
      fail "the secrets that the Dockerfile mounts could not be listed: the error is above, or the Dockerfile's '# syntax' is too old."
    for id in $(awk '$1 == "SECRET" { on = 1; next } NF == 0 { on = 0 } on { print $1 }' <<<"$mounts"); do
      [[ " ${BUILD_SECRETS:-} " == *" $id "* ]] ||
        fail "the Dockerfile mounts the secret '$id', and build.secrets has ${BUILD_SECRETS:-none}: add it there, or remove the mount."
    done
    if grep -q '^SSH ' <<<"$mounts"; then
      fail "the Dockerfile mounts an SSH agent, which a build does not have: use a token in build.secrets instead."
    fi
  fi

  log=${TMPDIR:-/tmp}/slipway-build.log built=0
  # Without attestations the digest is that of one image, not of an index which differs with each build.
  # The cache is a tag of the repository itself; losing it costs time, never the build.
  docker buildx build "${dockerfile[@]}" --tag "$REPOSITORY_URL:$tag" --push \
    --provenance=false --sbom=false "${arguments[@]}" ${fresh[@]+"${fresh[@]}"} \
    --cache-from "type=registry,ref=$REPOSITORY_URL:${CACHE_TAG:-cache}" \
    ${cache[@]+"${cache[@]}"} 2>&1 | tee "$log" || built=$?
  hub=$(grep -oE '[ /]docker\.io/[a-z0-9._/:-]+[a-z0-9]' "$log" | cut -c2- | sort -u | tr '\n' ' ') || true
  if [ -n "$hub" ] && [ -z "${DOCKER_HUB_MIRROR:-}" ] && [[ " ${REGISTRY_LOGINS:-} " != *" docker.io "* ]]; then
    say "Docker Hub limits anonymous pulls, and this build pulls ${hub}from it: set build.dockerHubMirror, for example to public.ecr.aws/docker, or sign in to docker.io with build.registryLogins."
  fi
  if [ $built != 0 ] && grep 'failed to resolve source metadata' "$log" |
    grep -qE '401 Unauthorized|403 Forbidden|no basic auth credentials|pull access denied|insufficient_scope'; then
    say "a registry does not let this build pull an image: the error is above; add the ARN of a repository in ECR to build.pullRepositories, and other registries to build.registryLogins."
  fi
  # A second build of the same image may have pushed it meanwhile; the tag is immutable.
  [ $built = 0 ] || [ -n "$(digest_of "imageTag=$tag" || true)" ] ||
    fail "the image could not be built or pushed: the error is above, beside the step of the Dockerfile or the push that failed."

  digest=$(digest_of "imageTag=$tag" || true)
  [ -n "$digest" ] ||
    fail "the image was pushed, but $repository does not show it under the tag $tag: run the build again."
fi

finish "$digest" "$tag"
