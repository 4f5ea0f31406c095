"""Sources that an archive cannot hold: submodules, files in Git LFS, history and file modes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from slipway.build.component import text_of
from standin.executor import Execution
from standin.world import Repository, Workshop, sample_app

from .conftest import Stack, failures

Make = Callable[..., Stack]
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 7\n"
GITHUB = "arn:aws:codeconnections:eu-west-1:123456789012:connection/0f-1"
SUBMODULE = ["test -s app/vendor/style.css", "test ! -e left-by-tests"]


def commit(dev: Stack, files: dict[str, str]) -> None:
    dev.repository.commit("Files", files)


def with_submodule(dev: Stack, folder: Path) -> None:
    """Commits a submodule, whose file is in the image, and a script that is executable."""
    Repository(folder / "theme").commit("Theme", {"style.css": "a {}"})
    at = dev.repository.folder
    git(at, "-c", "protocol.file.allow=always", "submodule", "add", "--quiet", str(folder / "theme"), "app/vendor")
    script = at / "check.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    dockerfile = sample_app()["app/Dockerfile"].replace("COPY server.py ./", "COPY server.py vendor/style.css ./")
    commit(dev, {"app/Dockerfile": dockerfile})


def git(folder: Path, *command: str) -> None:
    subprocess.run(["git", *command], cwd=folder, check=True, capture_output=True)


def build(execution: Execution) -> str:
    return execution.action("Build").log


def called(dev: Stack, role: str, service: str) -> list[str]:
    return [c.operation for c in dev.account.api.calls if c.service == service and f":role/{role}" in c.principal]


def test_a_full_clone_has_history_and_submodules_and_scans_and_tests_get_its_files(
    stack: Make, shared: Workshop, tmp_path: Path
) -> None:
    history = ['test "$(git rev-list --count HEAD)" -gt 1', "./check.sh", "touch left-by-tests"]
    config: dict[str, Any] = {
        "slipway:source": {"codecommit": {"repository": "storefront", "fullClone": True}},
        "slipway:build": {**shared.build_settings("dev"), "testCommands": [*history, "test -s app/vendor/style.css"]},
        "slipway:codeScans": [{"name": "lint", "commands": SUBMODULE}],
        "slipway:stages": [{"tests": {"commands": [*SUBMODULE, "./check.sh"]}}],
    }
    dev = stack(real_build=True, config=config)
    with_submodule(dev, tmp_path)
    released = dev.push()
    assert failures(released) == [], build(released)
    assert dev.image == f"@{released.digest}"
    assert called(dev, "storefront-dev-build", "codecommit") == ["GitPull"]
    assert "GetRepository" in called(dev, "storefront-dev-pipeline", "codecommit")


def test_a_connection_is_cloned_with_the_role_of_the_build(stack: Make) -> None:
    source = {"connection": {"arn": GITHUB, "repository": "acme/storefront", "fullClone": True}}
    dev = stack(config={"slipway:source": source})
    dev.account.codepipeline.repositories["acme/storefront"] = dev.repository.folder
    [released] = dev.account.codepipeline.push("acme/storefront")
    assert failures(released) == []
    assert called(dev, "storefront-dev-build", "codestar-connections") == ["UseConnection"]


def test_an_archive_without_its_submodules_is_not_built(stack: Make, tmp_path: Path) -> None:
    dev = stack()
    with_submodule(dev, tmp_path)
    failed = dev.push()
    assert (
        "slipway: the submodule 'app/vendor' is empty, because CodePipeline passes the source on without submodules: "
        "set fullClone: true in slipway:source; if the source is an archive in S3, put the files into it."
    ) in build(failed)
    assert [name for name, _ in failures(failed)] == ["Build"]
    assert dev.tags() == {}


def test_a_pointer_of_git_lfs_is_not_built_unless_it_is_ignored(stack: Make) -> None:
    dev = stack(real_build=True)
    commit(dev, {"app/static/logo.png": POINTER.format("0" * 64)})
    failed = dev.push()
    assert (
        "slipway: static/logo.png is a pointer of Git LFS, and would be in the image instead of the file: set "
        "fullClone: true in slipway:source"
    ) in build(failed)
    assert [name for name, _ in failures(failed)] == ["Build"]
    commit(dev, {"app/.dockerignore": "static\n"})
    assert failures(dev.push()) == []
    # The ignore file of a Dockerfile replaces the other one.
    commit(dev, {"app/Dockerfile.dockerignore": "docs\n"})
    assert [name for name, _ in failures(dev.push())] == ["Build"]


FETCH = """#!/bin/sh
# Stands in for git-lfs: `pull` replaces pointers by their files.
[ "$1" = pull ] || exit 1
echo pulled >>"$PULLED"
[ -z "$BROKEN" ] || { echo "batch response: not found" >&2; exit 2; }
for file in $(git grep -l 'git-lfs.github.com'); do printf 'picture' >"$file"; done
"""


@pytest.mark.parametrize(("broken", "status"), [("", 0), ("1", 1)])
def test_files_in_git_lfs_are_fetched_into_a_clone(tmp_path: Path, broken: str, status: int) -> None:
    clone, bin = Repository(tmp_path / "clone"), tmp_path / "bin"
    clone.commit("Logo", {"logo.png": POINTER.format("0" * 64), "Dockerfile": "FROM scratch\n"})
    bin.mkdir()
    (bin / "git-lfs").write_text(FETCH)
    (bin / "git-lfs").chmod(0o755)
    done = run(clone.folder, {"PATH": f"{bin}:{os.environ['PATH']}", "PULLED": str(tmp_path / "log"), "BROKEN": broken})
    assert (done.returncode, (tmp_path / "log").read_text()) == (status, "pulled\n")
    assert ((clone.folder / "logo.png").read_text() == "picture") == (status == 0)
    message = "slipway: the files in Git LFS could not be fetched: the error is above.\n"
    assert done.stderr.endswith(message) == (status != 0)


def test_a_submodule_that_cannot_be_fetched_fails_the_build(tmp_path: Path) -> None:
    clone = Repository(tmp_path / "clone")
    theme = Repository(tmp_path / "theme")
    theme.commit("Theme", {"style.css": "a {}"})
    git(clone.folder, "-c", "protocol.file.allow=always", "submodule", "add", "--quiet", str(theme.folder), "vendor")
    clone.commit("Theme", {})
    git(clone.folder, "submodule", "deinit", "--force", "--all")
    # Without GIT_CONFIG_COUNT, git refuses the folder as it would a repository that it may not read.
    (clone.folder / ".git" / "modules" / "vendor").rename(tmp_path / "gone")
    done = run(clone.folder, {"PATH": os.environ["PATH"]})
    assert done.returncode == 1
    assert "slipway: the submodules could not be fetched: the error is above." in done.stderr


def test_a_source_without_submodules_and_pointers_starts_no_program_of_docker_or_git_lfs(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "README").write_text("About the line\nversion https://git-lfs.github.com/spec/v1\n")
    bin = tmp_path / "bin"
    bin.mkdir()
    for name in ("docker", "git", "git-lfs"):
        (bin / name).write_text("#!/bin/sh\nexit 9\n")
        (bin / name).chmod(0o755)
    done = run(tmp_path, {"PATH": f"{bin}:{os.environ['PATH']}"})
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def run(folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """source.sh as a command of a build."""
    given = {"CONTEXT": ".", "DOCKERFILE": "Dockerfile", "HOME": str(folder), **environment}
    return subprocess.run(
        ["bash", "-c", text_of("source.sh")],
        cwd=folder,
        env=given,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
