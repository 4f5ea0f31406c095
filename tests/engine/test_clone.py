"""A team's clone: its project has another name and another service, and its stack files match.

README, "Deploy to AWS", says what is changed. Its commands and the tests must go on working, or the first pull
request of each team fails.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from standin.world import ROOT

PROJECT = """\
name: orders
runtime:
  name: python
"""
DEV = """\
config:
  aws:region: us-east-1
  slipway:source: {connection: {providerType: GitHub, repository: acme/orders}}
  slipway:build: {context: app, testCommands: [cd app && npm test]}
  slipway:service: {port: 3000, healthPath: /up}
  slipway:stages:
    - strategy: {blueGreen: {}}
"""
PROD = """\
config:
  aws:region: us-east-1
  slipway:source: {image: {stack: dev}}
  slipway:service: {port: 3000, healthPath: /up, cpu: 1024, memory: 2048, tasks: {min: 3, max: 9}}
  slipway:stages:
    - approval: {}
"""
DOCKERFILE = """\
FROM node:24-slim
COPY . .
EXPOSE 3000
CMD ["node", "index.js"]
"""
CHANGED = {
    "Pulumi.yaml": PROJECT,
    "Pulumi.dev.yaml": DEV,
    "Pulumi.prod.yaml": PROD,
    "app/Dockerfile": DOCKERFILE,
    "app/index.js": "require('http').createServer((_, answer) => answer.end('ok')).listen(3000)\n",
    "app/tool.py": "import os, sys\nx  = lambda y: y\n",
}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("orders")
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.check_output(command, text=True).split("\0"):
        if name and not name.startswith("app/") and (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((ROOT / name).read_bytes())
            (folder / name).chmod((ROOT / name).stat().st_mode)
    for name, text in CHANGED.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    subprocess.run("git init --quiet && git add --all", shell=True, cwd=folder, check=True)
    return folder


def made(clone: Path, *command: str) -> str:
    """The output of a command, which must succeed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "MAKE"))}
    # Ahead of the editable installation of this folder.
    environment["PYTHONPATH"] = os.pathsep.join([str(clone / "components"), str(clone / "tests")])
    done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    return done.stdout


@pytest.mark.long
@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_a_stack_of_a_clone_can_be_previewed(clone: Path, engine: Path, stack: str) -> None:
    output = made(clone, sys.executable, "-m", "standin.preview", stack)
    assert f"orders-{stack}" in output
    assert "storefront" not in output


def of_the_clone() -> list[str]:
    """The files of unit tests that read the files of a clone, of which its team changes some."""
    found = [each for each in (ROOT / "tests" / "unit").glob("test_*.py") if "ROOT" in each.read_text()]
    return [str(each.relative_to(ROOT)) for each in sorted(found)]


@pytest.mark.long
def test_the_unit_tests_that_read_the_files_of_a_clone_pass(clone: Path) -> None:
    assert {"tests/unit/test_own_stacks.py", "tests/unit/test_docs.py"} <= {*of_the_clone()}
    output = made(clone, sys.executable, "-m", "pytest", *of_the_clone(), "--quick", "-q", "-n", "2")
    assert " passed" in output
    assert " failed" not in output


@pytest.mark.long
def test_the_service_of_a_clone_is_not_checked_like_this_repository(clone: Path) -> None:
    made(clone, sys.executable, "-m", "ruff", "check", ".")
    made(clone, sys.executable, "-m", "ruff", "format", "--check", ".")
    # Everything that `make` would install exists.
    assert made(clone, "make", "test-app", "--assume-old=.venv/ready") == ""
