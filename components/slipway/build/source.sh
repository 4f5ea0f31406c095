# Completes a clone with its submodules and its files in Git LFS, and fails if an archive lacks them.
#
# Reads    CONTEXT           folder to build, relative to the source
#          DOCKERFILE        path of the Dockerfile, relative to CONTEXT
#          IMAGE_DIGEST      digest of an image to release again, for which an archive does not matter; none for a build
#
# CodePipeline passes a source on as an archive, unless it is a full clone: then .git is there.
# https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-CodestarConnectionSource.html
(
  set -euo pipefail

  fail() {
    printf 'slipway: %s\n' "$*" >&2
    exit 1
  }

  # Files in this folder that are pointers: they are shorter than 1024 bytes, and begin with this line.
  # https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
  pointers() {
    find "$1" -name .git -prune -o -type f -size -1024c -exec awk \
      'FNR == 1 && index($0, "version https://git-lfs.github.com/spec/") == 1 { print FILENAME }' {} +
  }

  remedy='set fullClone: true in slipway:source; if the source is an archive in S3, put the files into it.'
  if [ -e .git ]; then
    git submodule update --init --recursive </dev/null ||
      fail "the submodules could not be fetched: the error is above. The build can read its own repository, public ones, and those in submoduleRepositories of the source."
    if [ -n "$(pointers .)" ]; then
      git lfs pull </dev/null && git submodule --quiet foreach --recursive 'git lfs pull </dev/null' ||
        fail "the files in Git LFS could not be fetched: the error is above."
    fi
  elif [ "${IMAGE_DIGEST:-none}" != none ] || [ ! -d "$CONTEXT" ]; then
    exit 0
  elif [ -f .gitmodules ]; then
    while read -r _ path; do
      [ -n "$(ls -A "$path" 2>/dev/null)" ] ||
        fail "the submodule '$path' is empty, because CodePipeline passes the source on without submodules: $remedy"
    done < <(git config --file .gitmodules --get-regexp '^submodule\..*\.path$')
  fi

  found=$(pointers "./$CONTEXT")
  if [ -n "$found" ]; then
    # Those that .dockerignore excludes do no harm.
    folder=$(mktemp -d)
    printf 'FROM scratch\nCOPY . /\n' >"$folder/Dockerfile"
    ignore=$CONTEXT/$DOCKERFILE.dockerignore
    [ ! -f "$ignore" ] || cp "$ignore" "$folder/Dockerfile.dockerignore"
    docker buildx build --quiet --file "$folder/Dockerfile" --output "type=local,dest=$folder/context" "$CONTEXT" ||
      fail "the build context could not be read: the error is above."
    found=$(pointers "$folder/context")
    rm -rf "$folder"
    [ -z "$found" ] ||
      fail "$(head -1 <<<"${found#"$folder/context/"}") is a pointer of Git LFS, and would be in the image instead of the file: $remedy"
  fi
)
