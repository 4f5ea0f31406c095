#!/usr/bin/env bash
set -euo pipefail
aws ecr get-login-password | docker login --username AWS --password-stdin "${REPOSITORY_URL%%/*}"
docker build --tag "$REPOSITORY_URL:$COMMIT_ID" app
docker push "$REPOSITORY_URL:$COMMIT_ID"
image=$(docker inspect --format='{{index .RepoDigests 0}}' "$REPOSITORY_URL:$COMMIT_ID")
printf '[{"name":"%s","imageUri":"%s"}]\n' "$CONTAINER_NAME" "$image" >imagedefinitions.json
