#!/usr/bin/env bash
# Fails if the image's user cannot write to a writable path of the service. Such a path is a volume, which belongs to
# root unless the image declares it: then it has the owner and the mode that the image gives it.
# https://github.com/aws/containers-roadmap/issues/938
# https://docs.docker.com/reference/dockerfile/#volume
#
# Reads    IMAGE_URI       the image, by digest
#          REPOSITORY_URL  the ECR repository
#          WRITABLE_PATHS  the paths, separated by spaces
#          BUILDER_IMAGE   the image of BuildKit, with which the files of the image are read
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

files=$(mktemp -d)
trap 'rm -rf "$files"' EXIT
export BUILDX_BUILDER=${BUILDX_BUILDER:-slipway}
docker buildx inspect "$BUILDX_BUILDER" >"$files/builder" 2>&1 ||
  docker buildx create --name "$BUILDX_BUILDER" --driver docker-container --driver-opt "image=$BUILDER_IMAGE" \
    ${BUILDKITD_CONFIG:+--buildkitd-config "$BUILDKITD_CONFIG"} --bootstrap || BUILDX_BUILDER=default
printf 'FROM %s\n' "$IMAGE_URI" | docker buildx build --quiet --output "type=tar,dest=$files/image.tar" - ||
  fail "the files of $IMAGE_URI could not be read: the error is above."

# The user's number and groups, as the container gets them: a number without an entry has group 0.
# https://docs.docker.com/reference/dockerfile/#user
of_image() { tar -xOf "$files/image.tar" "$1" 2>/dev/null || true; }
name=${user%%:*} group=
case $user in *:*) group=${user#*:} ;; esac
ids=$(of_image etc/passwd | awk -F: -v name="$name" '$1 == name || $3 == name {print $1, $3, $4; exit}')
read -r called uid gid <<<"${ids:-$name $name 0}"
groups=$(of_image etc/group | awk -F: -v given="$group" -v name="$called" '
  given != "" { if ($1 == given) print $3; next }
  ("," $4 ",") ~ ("," name ",") { print $3 }')
[ -n "$group" ] && groups="$groups $group" || groups="$groups $gid"

# A directory is listed as drwxr-xr-x 1000/1000 0 2026-01-01 00:00 var/cache/
tar --numeric-owner -tvf "$files/image.tar" | awk -v uid="$uid" -v groups=" ${groups//$'\n'/ } " '
  $1 ~ /^[dl]/ {
    path = $6; sub(/^\.?\//, "", path); sub(/\/$/, "", path); split($2, owner, "/")
    from = owner[1] == uid ? 2 : index(groups, " " owner[2] " ") ? 5 : 8
    if ($1 ~ /^l/ || substr($1, from + 1, 2) ~ /^w[xst]$/) print "/" path
  }' >"$files/writable"

wrong=()
for path in $WRITABLE_PATHS; do
  grep -qxF -e "$path" -e "$path/" <<<"${config#*$'\n'}" && grep -qxF -e "${path%/}" "$files/writable" || wrong+=("$path")
done
[ ${#wrong[@]} = 0 ] ||
  fail "the user '$user' could not write to ${wrong[*]}, a path of service.writablePaths that belongs to root unless the" \
    "image says otherwise. Add to the Dockerfile, before USER and where the user exists:" \
    "RUN mkdir -p ${wrong[*]} && chown $user ${wrong[*]}, and then VOLUME ${wrong[*]}"
printf 'slipway: the user %s can write to %s.\n' "'$user'" "$WRITABLE_PATHS"
