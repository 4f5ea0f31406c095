# Signs Docker in to the registries that base images and the builder's image come from, for the build and its test commands.
#
# Reads    PULL_REGISTRIES   ECR registries, each after its Region and a slash, separated by spaces
#          REGISTRY_LOGINS   other registries, separated by spaces; user name and password are in REGISTRY_LOGIN_0_USERNAME and
#                            REGISTRY_LOGIN_0_PASSWORD, REGISTRY_LOGIN_1_USERNAME, ...
#          DOCKER_HUB_MIRROR  where images of Docker Hub are pulled from instead: a registry, with or without a prefix
# Writes   the file that BUILDKITD_CONFIG names, if there is a mirror
#
# https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html
slipway_sign_in() {
  local each host number=0 username password
  for each in ${PULL_REGISTRIES:-}; do
    host=${each#*/}
    if ! aws ecr get-login-password --region "${each%%/*}" | docker login --username AWS --password-stdin "$host"; then
      printf 'slipway: signing in to %s failed: the error is above; see build.pullRepositories.\n' "$host" >&2
      return 1
    fi
  done
  for host in ${REGISTRY_LOGINS:-}; do
    username=REGISTRY_LOGIN_${number}_USERNAME password=REGISTRY_LOGIN_${number}_PASSWORD
    if ! docker login --username "${!username}" --password-stdin "$host" <<<"${!password}"; then
      printf 'slipway: signing in to %s failed: the error is above; see build.registryLogins.\n' "$host" >&2
      return 1
    fi
    unset "$username" "$password"
    number=$((number + 1))
  done
  if [ -n "${DOCKER_HUB_MIRROR:-}" ]; then
    export BUILDKITD_CONFIG=${TMPDIR:-/tmp}/slipway-buildkitd.toml
    printf '[registry."docker.io"]\n  mirrors = ["%s"]\n' "$DOCKER_HUB_MIRROR" >"$BUILDKITD_CONFIG"
  fi
}
slipway_sign_in
