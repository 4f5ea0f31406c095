"""CodeBuild: runs a project's build, as the project is deployed, with the real shell and the real builder."""

import io
import json
import os
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from standin.api import REGION, Api
from standin.clock import Clock
from standin.provider import Aws

PROJECT = "aws:codebuild/project:Project"
# https://docs.aws.amazon.com/codebuild/latest/userguide/view-build-details-phases.html
PHASES = ("install", "pre_build", "build", "post_build")


@dataclass
class Built:
    succeeded: bool
    log: str
    exported: dict[str, str]
    artifact: bytes


class CodeBuild:
    def __init__(self, aws: Aws, api: Api, clock: Clock, environment: Mapping[str, str]) -> None:
        """`environment` has what makes `docker` and `aws` work here."""
        self._aws, self._api, self._clock, self._environment = aws, api, clock, environment

    def run(self, project: str, source: bytes, overrides: Mapping[str, str]) -> Built:
        """Run the build of a source, a zip, with environment variables laid over the project's."""
        resource = next(
            r for r in list(self._aws.resources.values()) if r.type == PROJECT and r.inputs["name"] == project
        )
        given = resource.inputs
        with tempfile.TemporaryDirectory(prefix="slipway-build-") as folder:
            work, temporary = Path(folder, "src"), Path(folder, "tmp")
            temporary.mkdir()
            with zipfile.ZipFile(io.BytesIO(source)) as archive:
                archive.extractall(work)
            buildspec = yaml.safe_load(_buildspec(given["source"].get("buildspec", "buildspec.yml"), work))
            variables = {v["name"]: v["value"] for v in given["environment"].get("environmentVariables", [])}
            # https://docs.aws.amazon.com/codebuild/latest/userguide/build-env-ref-env-vars.html
            environment = {
                **self._environment,
                "HOME": folder,
                "TMPDIR": str(temporary),
                "AWS_REGION": REGION,
                "AWS_DEFAULT_REGION": REGION,
                "AWS_ENDPOINT_URL": self._api.url,
                "CODEBUILD_BUILD_ID": f"{project}:1",
                **self._api.credentials_for(given["serviceRole"]),
                **variables,
                **overrides,
            }
            began = time.monotonic()
            exported = Path(folder, "exported")
            done = subprocess.run(
                ["bash", "-c", script(buildspec, exported)],
                cwd=work,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            self._clock.sleep(time.monotonic() - began)
            names = buildspec.get("env", {}).get("exported-variables", [])
            values = dict(
                pair.split("=", 1) for pair in (exported.read_text() if exported.exists() else "").split("\0") if pair
            )
            return Built(
                done.returncode == 0,
                done.stdout,
                {name: values[name] for name in names if name in values},
                _artifact(work, buildspec.get("artifacts", {}).get("files", [])),
            )


def script(buildspec: dict[str, Any], exported: Path) -> str:
    """One shell for all commands: "commands in version 0.2 run in the same instance of the default shell".

    A phase ends at its first command that fails; after a failed `build`, `post_build` is run all the same.
    https://docs.aws.amazon.com/codebuild/latest/userguide/build-spec-ref.html
    """
    text = ["slipway_status=0"]
    for phase in PHASES:
        commands = buildspec["phases"].get(phase, {}).get("commands", [])
        body = "".join(
            f"{command}\nslipway_last=$?; [ $slipway_last = 0 ] || return $slipway_last\n" for command in commands
        )
        text.append(f"{phase}() {{\n{body}:\n}}")
        entry = "true" if phase == "post_build" else "[ $slipway_status = 0 ]"
        text.append(f"if {entry}; then {phase} || slipway_status=$?; fi")
        if phase == "pre_build":  # then nothing else is run
            text.append("[ $slipway_status = 0 ] || exit $slipway_status")
    return "\n".join([*text, f"env -0 >'{exported}'", "exit $slipway_status"])


def _buildspec(given: str, work: Path) -> str:
    """The project's buildspec: a path in the source, or the text itself."""
    return given if "\n" in given else (work / given).read_text()


def _artifact(work: Path, files: list[str]) -> bytes:
    """What is there of the artifact's files; UPLOAD_ARTIFACTS is attempted whatever happened before."""
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for name in files:
            if (work / name).exists():
                archive.write(work / name, name)
    return body.getvalue()


def variables_of(configuration: Mapping[str, str]) -> dict[str, str]:
    """https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-CodeBuild.html"""
    return {v["name"]: v["value"] for v in json.loads(configuration.get("EnvironmentVariables", "[]"))}


def shell_environment(builder: Mapping[str, str], tools: Path) -> dict[str, str]:
    """What a build has of this machine: the builder, and the tools beside the interpreter (`aws`)."""
    path = builder.get("PATH", os.environ["PATH"])
    return {"LANG": "C.UTF-8", **builder, "PATH": f"{tools}{os.pathsep}{path}"}
