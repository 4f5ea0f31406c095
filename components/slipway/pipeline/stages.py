"""The deploy stages of a Pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import pulumi

from slipway._constraints import Must, between, check, match
from slipway._schedules import CRON_FIELDS, TimeZone, is_cron_field
from slipway.pipeline.commands import StageTests
from slipway.pipeline.notifications import Emails
from slipway.service.component import Service

Link = Annotated[
    pulumi.Input[str],
    match(
        # Printable characters, and braces only for these.
        r"https://(?![^/]*@)([!-z|~]|\{(commit|live_commit|digest)\})+",
        "start with https:// and may have {commit}, {live_commit} and {digest} in it, without spaces,",
        "https://example.com/compare/{live_commit}...{commit}?image={digest}",
        [
            "http://example.com",
            "https://",
            "https://example.com/a b",
            "https://user:word@example.com/",
            "https://example.com/{branch}",
            "https://example.com/{commit.x}",
            "https://example.com/{commit!r}",
            "https://example.com/{}",
            "https://example.com/{{commit}}",
            "https://example.com/{",
            "https://example.com/{commit}}",
        ],
        longest=600,
    ),
]
"""CodePipeline allows 1,000 characters, and the inserted values are longer than their names.

https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-Manual.html"""


def is_cron(text: str) -> bool:
    """Whether a deployment window accepts the expression, except for the rule that one of the two days is ?."""
    seconds, *fields = text.split(" ")
    return seconds == "*" and len(fields) in (5, 6) and all(map(is_cron_field, fields, CRON_FIELDS))


Cron = Annotated[
    str,
    Must(
        "have 6 or 7 fields separated by spaces: seconds (always *), minutes 0-59, hours 0-23, day of the month 1-31, "
        "month 1-12 or JAN-DEC, day of the week 1-7 or SUN-SAT, and optionally the year",
        is_cron,
        {"pattern": r"^\* [^ ]+ [^ ]+ [^ ]+ [^ ]+ [^ ]+( [^ ]+)?$"},
        good=[
            "* * 9-16 ? * MON-FRI",
            "* 0-30 9 1,L * ? 2026-2030",
            "* * * LW */2 ?",
            "* 0/15 22-2 15W 1,DEC ?",
            "* * * L-3 * ?",
            "* * * ? * 6#3",
            "* * * ? * FRIL",
        ],
        bad=[
            "",
            "* 9-16 ? * MON-FRI",
            "0 * 9-16 ? * MON-FRI",
            "* 99 9 ? * *",
            "* * 25 ? * *",
            "* * 9 32 * ?",
            "* * 9 0 * ?",
            "* * 9 ? 13 *",
            "* * 9 ? * FUN",
            "* * 9 ? * mon",
            "* * 9 ? * 8",
            "* * 9 ? * 6#6",
            "* * 9 ? * * 1969",
            "* ? 9 ? * *",
            "* */0 9 ? * *",
            "* 1- 9 ? * *",
            "* , 9 ? * *",
            "* * 9 1,? * *",
            "* * 9 ? * MON-FRI 2026 x",
        ],
    ),
]


@dataclass(frozen=True, kw_only=True)
class Approval:
    """A manual approval of the release, in the console or with PutApprovalResult.

    https://docs.aws.amazon.com/codepipeline/latest/userguide/approvals.html
    """

    notify: Emails = ()
    """E-mail addresses to notify, through an SNS topic. AWS asks each of them once to confirm the subscription."""

    # https://docs.aws.amazon.com/codepipeline/latest/userguide/limits.html
    timeout_minutes: Annotated[int, between(5, 86_400)] = 1440
    """Minutes after which an unanswered approval fails. Newer executions wait in the meantime."""

    link: Link | None = None
    """Link shown with the approval. {commit}, {live_commit} and {digest} are replaced, as in
    https://github.com/acme/storefront/compare/{live_commit}...{commit}. By default, the link to the image in the
    console."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class Window:
    """When a stage may begin. An execution that arrives outside the window fails; retry the stage when the window is
    open.

    https://docs.aws.amazon.com/codepipeline/latest/userguide/rule-reference-DeploymentWindow.html
    """

    cron: Cron
    """Minutes in which the stage may begin: seconds (always *), minutes, hours, day of the month, month, day of the
    week and, optionally, the year, as in `* * 9-16 ? * MON-FRI`."""

    time_zone: TimeZone = "UTC"
    """Name of the time zone, such as Europe/Berlin."""

    def __post_init__(self) -> None:
        check(self)

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        fields = self.cron.split()
        yield (
            len(fields) in (6, 7) and (fields[3] == "?") == (fields[5] == "?"),
            f"cron must have a ? in exactly one of day of the month and day of the week, got {self.cron!r}",
        )


def stage_rules(release_minutes: int, tests: StageTests | None) -> Iterator[tuple[bool, str]]:
    """A release, its tests and the rollback must fit into the 24 hours that CodePipeline allows an action."""
    minutes = 2 * release_minutes + (tests.timeout_minutes if tests else 0)
    yield (
        minutes > 1400,
        f"tests must end, with a release and a rollback of {release_minutes} minutes each, within 1400 "
        f"minutes, got {minutes}: CodePipeline ends an action after 24 hours",
    )


def in_vpc_rule(assign_public_ip: bool, tests: StageTests | None, why: str) -> tuple[bool, str]:
    """https://docs.aws.amazon.com/codebuild/latest/userguide/vpc-support.html"""
    return (
        assign_public_ip and tests is not None and tests.in_vpc,
        f"tests must not set in_vpc with {why}: CodeBuild gets no public IP address, so in a public subnet it reaches "
        "neither its source nor its log",
    )


@dataclass(frozen=True, kw_only=True)
class DeployStage:
    """A stage that releases to one Service. It is named after the service's environment."""

    service: Service
    """Service to release to."""

    approval: Approval | None = None
    """Wait for an approval before each release. By default, there is none."""

    tests: StageTests | None = None
    """Tests of the live release. By default, a release is verified as soon as its deployment succeeds."""

    window: Window | None = None
    """When the stage may begin. By default, at any time."""

    def __post_init__(self) -> None:
        check(self)

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        yield from stage_rules(self.service.release_minutes, self.tests)
        yield in_vpc_rule(self.service.assign_public_ip, self.tests, "assign_public_ip")
