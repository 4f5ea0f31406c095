"""variables.sh, run as CodeBuild runs it: real bash and aws, and the stand-in's GetPipelineExecution."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from slipway.build.component import export_variables
from standin.api import REGION, Api, AwsError, Params
from standin.clock import Clock
from standin.codebuild import script

EXECUTION = "b59babff-5f34-4f3a-9d2e-000000000000"
VALUES = [
    "plain",
    "None",
    ".",
    " two  spaces ",
    "\"quoted\", 'quoted', \\n \\\\ $HOME $(touch foreign) `touch foreign` ${X} * ~ ! #{variables.A}",
    'none","type":"PLAINTEXT"},{"name":"PATH","value":"/foreign',
    "a\ttab",
    "two\nlines\n\n",
    "name\tvalue\nPATH\t/foreign",
    "Grüße 🚢",
]


def run(folder: Path, answer: Any, names: str, path: str = "") -> tuple[int, str, dict[str, str]]:
    """Status, log, and the environment of the command that follows."""

    def get_pipeline_execution(params: Params) -> Params:
        assert params == {"pipelineName": "web", "pipelineExecutionId": EXECUTION}
        if isinstance(answer, AwsError):
            raise answer
        variables = [{"name": name, "resolvedValue": value} for name, value in answer.items()]
        return {"pipelineExecution": {"pipelineName": "web", **({"variables": variables} if variables else {})}}

    with Api(Clock()) as api:
        api.register("codepipeline", SimpleNamespace(get_pipeline_execution=get_pipeline_execution))
        phases = {"pre_build": {"commands": [export_variables()]}, "build": {"commands": ["env -0 >seen"]}}
        environment = {
            "PATH": path or os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "LANG": "C.UTF-8",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": api.url,
            **api.credentials_for("arn:aws:iam::123456789012:role/web-build-role"),
            "PIPELINE_NAME": "web",
            "PIPELINE_EXECUTION_ID": EXECUTION,
            "PIPELINE_VARIABLES": names,
        }
        command = ["/bin/bash", "-c", script({"phases": phases}, folder / "exported")]
        done = subprocess.run(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
    seen = folder / "seen"
    pairs = seen.read_text().split("\0") if seen.exists() else []
    assert not (folder / "foreign").exists()
    return done.returncode, done.stdout, dict(pair.split("=", 1) for pair in pairs if pair)


def test_each_value_arrives_unchanged_and_sets_nothing_else(tmp_path: Path) -> None:
    variables = {f"V{number}": value for number, value in enumerate(VALUES)} | {"name": "a", "value": "b"}
    status, log, seen = run(tmp_path, {**variables, "OTHER": "not requested"}, " ".join(variables))
    assert (status, log) == (0, "")
    assert {name: seen.get(name) for name in variables} == variables
    assert ("OTHER" in seen, seen["PATH"].endswith("/foreign")) == (False, False)


def test_without_variables_there_is_no_request(tmp_path: Path) -> None:
    status, log, seen = run(tmp_path, AwsError("AccessDeniedException", "No"), "")
    assert (status, log, seen["PIPELINE_NAME"]) == (0, "", "web")


@pytest.mark.parametrize("listed", [{}, {"B": "x"}], ids=["none", "others"])
def test_a_variable_without_a_value_in_the_execution_is_not_set(listed: dict[str, str], tmp_path: Path) -> None:
    status, log, seen = run(tmp_path, listed, "A")
    assert (status, log, "A" in seen) == (0, "slipway: this execution has no value for the variable A.\n", False)


@pytest.mark.parametrize("why", ["denied", "no aws"])
def test_variables_that_cannot_be_read_fail_the_build_before_its_commands(why: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    answer, path = AwsError("AccessDeniedException", "No"), str(tmp_path / "empty") if why == "no aws" else ""
    status, log, seen = run(tmp_path, answer, "A B", path)
    assert (status, seen) == (1, {})
    assert log.splitlines()[-1] == (
        "slipway: the variable A of the pipeline web could not be read: the error is above; the image needs the AWS "
        "CLI, and the project's role codepipeline:GetPipelineExecution on the pipeline."
    )
