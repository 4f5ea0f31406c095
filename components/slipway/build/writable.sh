#!/usr/bin/env bash
# Fails if the image's user cannot write to a writable path of the service. Such a path is a volume, which belongs to
# root unless the image declares it: then it has the owner and the mode that the image gives it.
# https://github.com/aws/containers-roadmap/issues/938
# https://docs.docker.com/reference/dockerfile/#volume
#
# Reads    IMAGE_URI       the image, by digest
#          REPOSITORY_URL  the ECR repository
#          WRITABLE_PATHS  the paths, separated by spaces
#          CONTAINER_USER  the user of the container; the image's by default
set -euo pipefail

fail() {
  printf 'slipway: %s\n' "$*" >&2
  exit 1
}

registry=${REPOSITORY_URL%%/*} repository=${REPOSITORY_URL#*/}
type=$(aws ecr batch-get-image --repository-name "$repository" --image-ids "imageDigest=${IMAGE_URI##*@}" \
  --query 'images[0].imageManifestMediaType' --output text) || fail "the image $IMAGE_URI could not be read: the error is above."
case $type in
  # An earlier release for several CPU architectures: its images were checked when they were built.
  *.index.* | *.list.*) exit 0 ;;
esac

aws ecr get-login-password | docker login --username AWS --password-stdin "$registry" ||
  fail "signing in to $registry failed: the error is above."
config=$(docker buildx imagetools inspect "$IMAGE_URI" \
  --format '{{.Image.Config.User}}{{range $path, $_ := .Image.Config.Volumes}}{{"\n"}}{{$path}}{{end}}') ||
  fail "the configuration of $IMAGE_URI could not be read: the error is above."
user=${CONTAINER_USER:-${config%%$'\n'*}}
case ${user%%:*} in
  '' | root | 0) exit 0 ;;
esac

missing=()
for path in $WRITABLE_PATHS; do
  grep -qxF -e "$path" -e "$path/" <<<"${config#*$'\n'}" || missing+=("$path")
done
[ ${#missing[@]} = 0 ] ||
  fail "the user '$user' could not write to ${missing[*]}, a path of service.writablePaths that belongs to root unless the" \
    "image says otherwise. Add to the Dockerfile, before USER and where the user exists:" \
    "RUN mkdir -p ${missing[*]} && chown $user ${missing[*]}, and then VOLUME ${missing[*]}"
printf 'slipway: the user %s can write to %s.\n' "'$user'" "$WRITABLE_PATHS"
