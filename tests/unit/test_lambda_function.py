"""The archives of Slipway's functions."""

import json
import re
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pulumi
import pytest
from slipway.release.lambda_function import code, modules

FOLDER = resources.files("slipway.release.function")
ARCHIVES = {
    "handler": {
        "clients",
        "codedeploy",
        "contract",
        "ecs",
        "errors",
        "handler",
        "images",
        "jobs",
        "migrations",
        "pipeline_job",
        "processes",
        "reconcile",
        "release",
        "stage_tests",
        "state",
        "tags",
        "task_definitions",
    },
    "scan_gate": {"clients", "contract", "errors", "images", "pipeline_job", "scan_gate"},
    "notify": {"clients", "contract", "notify", "partitions"},
}
every_function = pytest.mark.parametrize("entry", ARCHIVES)


def texts(entry: str) -> dict[str, str]:
    assets = code(entry, {}).assets
    return {path: asset.text for path, asset in assets.items() if isinstance(asset, pulumi.StringAsset)}


@every_function
def test_the_archive_of_a_function_contains_these_modules_unchanged(entry: str) -> None:
    names = {"__init__", *ARCHIVES[entry]}
    assert texts(entry) == {f"release/{name}.py": FOLDER.joinpath(f"{name}.py").read_text() for name in names}


def test_every_module_is_in_the_archive_of_some_function() -> None:
    names = {entry.name.removesuffix(".py") for entry in FOLDER.iterdir() if entry.name.endswith(".py")}
    assert names == {"__init__"}.union(*ARCHIVES.values())


@every_function
def test_an_archive_runs_without_pulumi_and_contains_only_modules_that_are_imported(entry: str, tmp_path: Path) -> None:
    for path, text in texts(entry).items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    program = (
        f"import json, sys, release.{entry}\n"
        "loaded = {name.partition('.')[2] for name in sys.modules if name.startswith('release.')}\n"
        "foreign = {'pulumi', 'pulumi_aws', 'slipway'} & set(sys.modules)\n"
        f"print(json.dumps([release.{entry}.__file__, sorted(loaded), sorted(foreign)]))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert run.stderr == ""
    assert json.loads(run.stdout) == [str(tmp_path / f"release/{entry}.py"), sorted(ARCHIVES[entry]), []]


def test_further_files_are_in_the_archive_too() -> None:
    assets = code("notify", {"policy.json": "{}"}).assets
    modules = {f"release/{name}.py" for name in ("__init__", *ARCHIVES["notify"])}
    assert assets.keys() == {*modules, "release/policy.json"}
    policy = assets["release/policy.json"]
    assert isinstance(policy, pulumi.StringAsset)
    assert policy.text == "{}"


@every_function
def test_no_module_has_an_import_that_the_archive_would_miss(entry: str) -> None:
    # They are found by their text: `from .x import`, and one `from . import x` per line.
    for name, text in modules(entry).items():
        for line in re.findall(r"^\s*(?:from \.|import slipway|from slipway).*$", text, re.M):
            assert re.fullmatch(r"\s*from \.(\w+ import (\(|[\w, ]+)| import \w+)", line), f"{name}: {line}"
