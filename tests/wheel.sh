#!/usr/bin/env bash
# Builds the wheel, installs it into an empty environment, and runs the README's program there: with each supported
# Python that is installed, or with one Python and a constraints file. The types of that program and of its test are
# checked once against the installed wheel.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1 constraints=${2:-}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"$python" -m build --quiet --wheel --outdir "$folder" components
# From another folder, so that only installed packages can be imported.
cp -r tests/unit README.md "$folder"
if [ -n "$constraints" ]; then
  cp "$constraints" "$folder/constraints.txt"
  pythons=("$(realpath "$python")")
else
  touch "$folder/constraints.txt"
  pythons=(python3.11 python3.12 python3.13)
  # pyenv runs only versions that are selected.
  if command -v pyenv >/dev/null && [ -z "${PYENV_VERSION:-}" ]; then
    PYENV_VERSION=$(pyenv versions --bare | grep -E '^3\.1[123]\.' | paste -sd: - || true)
    [ -z "$PYENV_VERSION" ] || export PYENV_VERSION
  fi
fi
checker=$(realpath -s "$python")
cd "$folder"

tried=0
for each in "${pythons[@]}"; do
  # A version manager's shim may exist, but fail.
  if ! "$each" -c "" 2>/dev/null; then
    echo "$each is not installed: the wheel was not tested with it"
    continue
  fi
  rm -rf venv
  "$each" -m venv venv
  venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt ./*.whl
  PYTHONPATH=$folder venv/bin/python -W ignore -m unit.example README.md
  if [ "$tried" = 0 ]; then
    PYTHONPATH=$folder venv/bin/python -W ignore -m unit.example README.md blocks consumer
    MYPYPATH='' "$checker" -m mypy --strict --config-file= --python-executable venv/bin/python consumer
  fi
  tried=$((tried + 1))
done
[ "$tried" -gt 0 ] || { echo "none of these is installed: ${pythons[*]}" >&2; exit 1; }
