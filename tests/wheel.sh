#!/usr/bin/env bash
# Builds the wheel, installs it alone into an empty environment, and runs the README's example there.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"$python" -m build --quiet --wheel --outdir "$folder" components
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check "$folder"/*.whl
# From another folder, so that only what is installed can be imported.
cp -r tests/unit README.md "$folder"
cd "$folder"
PYTHONPATH=$folder "$folder/venv/bin/python" -W ignore -m unit.example "$folder/README.md"
