"""Reports: report groups, the rights to write to them, and what a buildspec says about them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from slipway import CodeScan, CommandProject, CommandProjectArgs, Report, reports
from unit.examples import build
from unit.harness import Resource, deploy, of_type, only, statements

GROUP, PROJECT = "aws:codebuild/reportGroup:ReportGroup", "aws:codebuild/project:Project"
ARN = "arn:aws:codebuild:eu-west-1:123456789012:report-group"
UNIT = Report(name="unit", files=["build/junit/*.xml", "**/TEST-*.xml"])
COVERAGE = Report(name="coverage", files=["cover.xml"], format="COBERTURAXML")


def built(*given: Report, **args: Any) -> list[Resource]:
    return deploy(lambda: build("api", test_commands=["make test"], reports=given, **args))


def scanned(*given: Report) -> list[Resource]:
    settings = CodeScan(name="lint", commands=["make lint"], reports=given)
    args = CommandProjectArgs(settings=settings, description="Lints", artifacts=None, in_pipeline=False)
    return deploy(lambda: CommandProject("api", args))


@pytest.mark.parametrize("deployed", [built, scanned])
def test_a_project_writes_to_groups_of_its_own_which_it_may_not_create(deployed: Any) -> None:
    resources = deployed(UNIT, COVERAGE)
    assert [(group.inputs["name"], group.inputs["type"]) for group in of_type(resources, GROUP)] == [
        ("api-coverage", "CODE_COVERAGE"),
        ("api-unit", "TEST"),
    ]
    policy = "api-build-policy" if deployed is built else "api-policy"
    allowed = [s for s in statements(resources, policy) if s["Action"][0].startswith("codebuild:")]
    assert [(s["Action"], s["Resource"]) for s in allowed] == [
        (["codebuild:CreateReport", "codebuild:UpdateReport", "codebuild:BatchPutTestCases"], [f"{ARN}/api-unit"]),
        (
            ["codebuild:CreateReport", "codebuild:UpdateReport", "codebuild:BatchPutCodeCoverages"],
            [f"{ARN}/api-coverage"],
        ),
    ]
    project = only(resources, PROJECT)
    assert {"api-unit", "api-coverage"} <= project.depends_on
    section = json.loads(project.inputs["source"]["buildspec"])["reports"]
    assert {arn: report["file-format"] for arn, report in section.items()} == {
        f"{ARN}/api-unit": "JUNITXML",
        f"{ARN}/api-coverage": "COBERTURAXML",
    }
    assert section[f"{ARN}/api-unit"]["files"][:2] == ["build/junit/*.xml", "**/TEST-*.xml"]


@pytest.mark.parametrize("deployed", [built, scanned])
def test_without_reports_there_are_no_groups_and_no_section(deployed: Any) -> None:
    resources = deployed()
    assert of_type(resources, GROUP) == []
    assert "reports" not in json.loads(only(resources, PROJECT).inputs["source"]["buildspec"])


def test_groups_are_deleted_with_their_reports() -> None:
    assert only(built(UNIT), GROUP).inputs == {
        "name": "api-unit",
        "type": "TEST",
        "exportConfig": {"type": "NO_EXPORT"},
        "deleteReports": True,
    }


def test_each_architecture_has_groups_of_its_own() -> None:
    resources = built(UNIT, cpu_architectures=["X86_64", "ARM64"])
    assert [group.inputs["name"] for group in of_type(resources, GROUP)] == ["api-arm64-unit", "api-unit"]
    specs = {r.inputs["name"]: json.loads(r.inputs["source"]["buildspec"]) for r in of_type(resources, PROJECT)}
    assert {name: list(spec.get("reports", {})) for name, spec in specs.items()} == {
        "api": [f"{ARN}/api-unit"],
        "api-arm64": [f"{ARN}/api-arm64-unit"],
        "api-index": [],
    }


def shell(folder: Path, command: str, **variables: str) -> None:
    run = {"PATH": "/usr/bin:/bin", **variables}
    subprocess.run(["bash", "-c", command], cwd=folder, env=run, check=True)


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_the_files_of_reports_are_saved_before_the_clone_is_cleaned(tmp_path: Path) -> None:
    for name in ("build/junit/a.xml", "build/junit/a.txt", "deep/er/TEST-b.xml", "TEST-c.xml", "build/junit/d.xml/e"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    shell(tmp_path, reports.save([UNIT, COVERAGE]))
    saved = tmp_path / ".git" / "slipway-reports"
    assert files(saved) == ["unit/TEST-c.xml", "unit/build/junit/a.xml", "unit/deep/er/TEST-b.xml"]
    section = reports.section({"arn": UNIT}, saved=True)["reports"]["arn"]["files"]
    assert {p for pattern in section[2:] for p in tmp_path.glob(pattern) if p.is_file()} == {
        saved / name for name in files(saved)
    }


def test_with_a_clone_they_are_saved_before_it_is_cleaned() -> None:
    spec = json.loads(only(built(UNIT, full_clone=True), PROJECT).inputs["source"]["buildspec"])
    assert spec["phases"]["build"]["commands"][-2] == reports.save([UNIT])
    assert spec["phases"]["build"]["commands"][-1].startswith("git clean ")


@pytest.mark.parametrize("format", reports.FORMATS)
def test_each_format_has_a_report_that_nothing_was_tested_for_a_release_without_a_build(
    format: str, tmp_path: Path
) -> None:
    report = Report(name="unit", files=["x"], format=format)
    for digest, expected in (("none", []), ("sha256:1", [".git/slipway-reports/unit/none"])):
        shell(tmp_path, reports.placeholders([report]), IMAGE_DIGEST=digest)
        assert files(tmp_path) == expected
    text = (tmp_path / expected[0]).read_text()
    if format in ("CUCUMBERJSON", "SIMPLECOV"):
        json.loads(text)
    else:
        ElementTree.fromstring(text)
    assert (reports.SKIPPED in text) == (reports.FORMATS[format] == reports.TEST)


def test_a_source_without_git_is_examined_before_reports_are_put_there() -> None:
    commands = json.loads(only(built(UNIT), PROJECT).inputs["source"]["buildspec"])["phases"]["pre_build"]["commands"]
    [source] = [at for at, command in enumerate(commands) if "[ -e .git ]" in command]
    assert commands.index(reports.placeholders([UNIT])) > source
