"""The deploy stages of a pipeline: plain values that a Pipeline takes."""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Sequence
from dataclasses import dataclass

from slipway._rules import refuse
from slipway.pipeline.commands import StageTests
from slipway.pipeline.notifications import EMAIL
from slipway.service.component import Service
from slipway.strategies import Strategy


@dataclass(frozen=True, kw_only=True)
class Approval:
    """Somebody looks at what is about to be released, and says yes in the console or by PutApprovalResult.

    https://docs.aws.amazon.com/codepipeline/latest/userguide/approvals.html
    """

    notify: Sequence[str] = ()
    """E-mail addresses that are asked, through a topic of SNS. Each is asked once by AWS to confirm."""

    timeout_minutes: int = 1440
    """Minutes after which an approval that nobody gave has failed. Newer runs wait behind it meanwhile."""

    link: str | None = None
    """Page that shows what is approved; {commit}, {live_commit} and {digest} in it are filled in, as in
    https://github.com/acme/storefront/compare/{live_commit}...{commit}. Without it, the image's page in the console."""

    def __post_init__(self) -> None:
        bad = [address for address in self.notify if not EMAIL.fullmatch(address)]
        braces = re.search(r"[{}]", re.sub(r"{(commit|live_commit|digest)}", "", self.link or ""))
        refuse(
            (bool(bad), f"notify must be e-mail addresses, got {bad}"),
            (len(set(self.notify)) < len(self.notify), f"notify must be different, got {list(self.notify)}"),
            (
                not 5 <= self.timeout_minutes <= 86_400,
                f"timeout_minutes must be between 5 and 86400, got {self.timeout_minutes}",
            ),
            (
                self.link is not None and len(self.link) > 600,
                f"link must be at most 600 characters, got {len(self.link or '')}",
            ),
            (
                self.link is not None and (not self.link.startswith("https://") or bool(braces)),
                "link must start with https:// and may have {commit}, {live_commit} and {digest} in it, "
                f"got {self.link!r}",
            ),
        )


@dataclass(frozen=True, kw_only=True)
class Window:
    """When a stage may begin; a run that comes at another time fails, and is retried by hand when the window is open.

    https://docs.aws.amazon.com/codepipeline/latest/userguide/rule-reference-DeploymentWindow.html
    """

    cron: str
    """The minutes in which the stage may begin: seconds (always *), minutes, hours, day of the month, month, day of the
    week, and perhaps the year, as in `* * 9-16 ? * MON-FRI`."""

    time_zone: str = "UTC"
    """Name of the time zone, such as Europe/Berlin."""

    def __post_init__(self) -> None:
        fields = self.cron.split()
        refuse(
            (
                len(fields) not in (6, 7)
                or fields[0] != "*"
                or not all(re.fullmatch(r"[0-9A-Z,*?/LW#-]+", f) for f in fields),
                "cron must have 6 or 7 fields: seconds (always *), minutes, hours, day of the month, month, day of the "
                f"week, year; got {self.cron!r}",
            ),
            (
                len(fields) in (6, 7) and (fields[3] == "?") == (fields[5] == "?"),
                "cron must have a ? for either the day of the month or the day of the week, "
                f"whichever is not said, got {self.cron!r}",
            ),
            (
                # Where a machine has no time zones, AWS has to say it.
                self.time_zone not in (zones := zoneinfo.available_timezones()) and bool(zones),
                f"time_zone must be the name of a time zone, such as Europe/Berlin, got {self.time_zone!r}",
            ),
        )


def stage_rules(strategy: Strategy, tests: StageTests | None) -> list[tuple[bool, str]]:
    """What must fit into the day that CodePipeline gives an action: a deployment, its tests, and the way back."""
    minutes = 2 * strategy.total_minutes + (tests.timeout_minutes if tests else 0)
    return [
        (
            minutes > 1400,
            f"tests must fit, with twice the strategy's {strategy.total_minutes} minutes, into 1400 minutes, got "
            f"{minutes}: the action of the pipeline ends after a day, and the last image must be put back in it",
        )
    ]


@dataclass(frozen=True, kw_only=True)
class DeployStage:
    """A stage that releases to one Service; it is named after the service's environment."""

    service: Service
    """What is released to."""

    approval: Approval | None = None
    """Wait for an approval first; releases go ahead by themselves without it."""

    tests: StageTests | None = None
    """Test the release when it is live; what is live counts as verified without it."""

    window: Window | None = None
    """When the stage may begin; at any time without it."""

    def __post_init__(self) -> None:
        refuse(*stage_rules(self.service.strategy, self.tests))
