"""Reports of tests and of code coverage that a build sends to CodeBuild."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import pulumi
import pulumi_aws as aws

from slipway._constraints import Must, check, items, match, one_of
from slipway.iam import Scope, Statement, allow

TEST, COVERAGE = "TEST", "CODE_COVERAGE"
FORMATS = {
    "CLOVERXML": COVERAGE,
    "COBERTURAXML": COVERAGE,
    "CUCUMBERJSON": TEST,
    "JACOCOXML": COVERAGE,
    "JUNITXML": TEST,
    "NUNIT3XML": TEST,
    "NUNITXML": TEST,
    "SIMPLECOV": COVERAGE,
    "TESTNGXML": TEST,
    "VISUALSTUDIOTRX": TEST,
}
"""The type of a report group for each file format.

https://docs.aws.amazon.com/codebuild/latest/userguide/build-spec-ref.html"""
REPORTS_LIMIT = 5
"""https://docs.aws.amazon.com/codebuild/latest/userguide/report-create.html"""

ReportName = Annotated[
    str,
    match(
        r"[a-z0-9]+(-[a-z0-9]+)*",
        "be a name of a-z 0-9 and single - between them,",
        "a",
        ["Unit", "a_b", "-a", "a-", "a--b"],
        longest=30,
    ),
]
FilePattern = Annotated[
    str,
    Must(
        "be the path of files in the source, with * or ** as wildcards and without spaces",
        lambda path: (
            bool(path)
            and set(path) <= CHARACTERS
            and path[0] not in "-/"
            and path[-1] != "/"
            and ".." not in path.split("/")
        ),
        {"pattern": r"^(?![-/])(?!(.*/)?\.\.(/|$))[A-Za-z0-9._*/-]*[A-Za-z0-9._*-]$"},
        good=["build/junit/*.xml", "**/*", "report.xml", "a..b"],
        bad=["", "/a.xml", "a/", "../a.xml", "a/../b", "-a", "a b.xml", "$HOME/a.xml", "a;b"],
    ),
]
CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._*/-")


@dataclass(frozen=True, kw_only=True)
class Report:
    """A report of tests or of code coverage, which CodeBuild reads from files after the commands, whether they
    succeeded or failed. It keeps each report for 30 days.

    https://docs.aws.amazon.com/codebuild/latest/userguide/test-reporting.html
    """

    name: ReportName
    """Name of the report. The report group is `<project>-<name>`."""

    files: Annotated[Sequence[FilePattern], items(1, distinct=True)]
    """Files that the commands write, relative to the root of the source, such as `build/junit/*.xml`. If there are none
    after commands that succeeded, the build fails."""

    format: Annotated[str, one_of(FORMATS)] = "JUNITXML"
    """Format of the files."""

    def __post_init__(self) -> None:
        check(self)


Reports = Annotated[Sequence[Report], items(most=REPORTS_LIMIT)]


def rules(reports: Sequence[Report]) -> Iterator[tuple[bool, str]]:
    """Rules for several reports of one project."""
    twice = [name for name, count in Counter(report.name for report in reports).items() if count > 1]
    yield bool(twice), f"reports must have different names, got {twice} more than once"


def groups(project: str, reports: Sequence[Report], scope: Scope) -> list[pulumi.Input[str]]:
    """ARNs of the report groups of a project."""
    return [scope.arn("codebuild", f"report-group/{project}-{report.name}") for report in reports]


def by_group(arns: Sequence[str], reports: Sequence[Report]) -> Mapping[str, Report]:
    """The reports by the ARN of their group, in the order of `groups`."""
    return dict(zip(arns, reports, strict=True))


def create(project: str, reports: Sequence[Report], opts: pulumi.ResourceOptions) -> list[aws.codebuild.ReportGroup]:
    """The report groups of a project. Its builds then need no right to create any."""
    return [
        aws.codebuild.ReportGroup(
            f"{project}-{report.name}",
            name=f"{project}-{report.name}",
            type=FORMATS[report.format],
            export_config=aws.codebuild.ReportGroupExportConfigArgs(type="NO_EXPORT"),
            # Otherwise a group with reports cannot be deleted.
            delete_reports=True,
            opts=opts,
        )
        for report in reports
    ]


def statements(project: str, reports: Sequence[Report], scope: Scope) -> list[Statement]:
    """Write reports to the groups of a project.

    https://docs.aws.amazon.com/codebuild/latest/userguide/test-permissions.html
    """
    put = {TEST: "codebuild:BatchPutTestCases", COVERAGE: "codebuild:BatchPutCodeCoverages"}
    arns = groups(project, reports, scope)
    return [
        allow("codebuild:CreateReport", "codebuild:UpdateReport", action, on=on)
        for kind, action in put.items()
        if (on := [arn for arn, report in zip(arns, reports, strict=True) if FORMATS[report.format] == kind])
    ]


SAVED = ".git/slipway-reports"
"""Folder for report files that are to survive `git clean`, and that are no files of the commit."""


def section(reports: Mapping[str, Report], saved: bool = False) -> dict[str, Any]:
    """A buildspec's reports, by the ARN of their group; nothing if there are none. With `saved`, their files may also
    be where `save` and `placeholders` put them."""
    if not reports:
        return {}
    return {
        "reports": {
            arn: {
                "files": [*report.files, *([f"{SAVED}/{report.name}/**/*"] if saved else [])],
                "file-format": report.format,
            }
            for arn, report in reports.items()
        }
    }


def save(reports: Sequence[Report]) -> str:
    """The command that copies the report files to where `git clean` leaves them."""
    # No character of a pattern needs quotes but the wildcards, which bash is to expand.
    copies = "; ".join(
        f"mkdir -p {SAVED}/{report.name}; for file in {' '.join(report.files)}; do "
        f'[ ! -f "$file" ] || cp --parents "$file" {SAVED}/{report.name}; done'
        for report in reports
    )
    return f"(set -e; shopt -s globstar nullglob; {copies})"


def placeholders(reports: Sequence[Report]) -> str:
    """The command that writes reports that say that nothing was tested, if an earlier image is released again: a build
    without report files fails."""
    writes = "; ".join(
        f"mkdir -p {SAVED}/{report.name}; printf '%s' '{NOTHING_TESTED[report.format]}' >{SAVED}/{report.name}/none"
        for report in reports
    )
    return f'[ "${{IMAGE_DIGEST:-none}}" = none ] || {{ {writes}; }}'


SKIPPED = "nothing was tested: an earlier image is released again"
TRX, TRX_TEST = "http://microsoft.com/schemas/VisualStudio/TeamTest/2010", "00000000-0000-0000-0000-000000000001"
NOTHING_TESTED = {
    "CLOVERXML": '<coverage generated="0"><project timestamp="0"><metrics/></project></coverage>',
    "COBERTURAXML": '<coverage line-rate="0" branch-rate="0" version="0" timestamp="0"><packages/></coverage>',
    "CUCUMBERJSON": '[{"id":"slipway","uri":"slipway","keyword":"Feature","name":"slipway","line":1,"elements":[{"id":'
    f'"slipway","type":"scenario","keyword":"Scenario","name":"{SKIPPED}","line":1,"steps":[{{"keyword":"Given ",'
    f'"name":"{SKIPPED}","line":1,"result":{{"status":"skipped"}}}}]}}]}}]',
    "JACOCOXML": '<report name="slipway"/>',
    "JUNITXML": '<testsuites><testsuite name="slipway" tests="1" skipped="1"><testcase classname="slipway" '
    f'name="{SKIPPED}"><skipped/></testcase></testsuite></testsuites>',
    "NUNIT3XML": '<test-run id="1" testcasecount="1" result="Skipped" total="1" passed="0" failed="0" inconclusive="0" '
    'skipped="1"><test-suite type="TestFixture" id="2" name="slipway" fullname="slipway" result="Skipped"><test-case '
    f'id="3" name="{SKIPPED}" fullname="{SKIPPED}" result="Skipped"/></test-suite></test-run>',
    "NUNITXML": '<test-results name="slipway" total="0" not-run="1"><test-suite name="slipway" executed="False">'
    f'<results><test-case name="{SKIPPED}" executed="False"/></results></test-suite></test-results>',
    "SIMPLECOV": '{"meta":{"simplecov_version":"0"},"coverage":{}}',
    "TESTNGXML": '<testng-results skipped="1" failed="0" total="1" passed="0"><suite name="slipway">'
    f'<test name="slipway"><class name="slipway"><test-method name="{SKIPPED}" status="SKIP"/></class></test>'
    "</suite></testng-results>",
    "VISUALSTUDIOTRX": f'<TestRun xmlns="{TRX}"><Results><UnitTestResult testId="{TRX_TEST}" testName="{SKIPPED}" '
    f'outcome="NotExecuted"/></Results><TestDefinitions><UnitTest id="{TRX_TEST}" name="{SKIPPED}"/></TestDefinitions>'
    "</TestRun>",
}
"""For each format a report without results, or with one test that was skipped."""
