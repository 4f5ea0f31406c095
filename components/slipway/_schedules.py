"""Cron and rate expressions and time zones, as several services of AWS have them."""

from __future__ import annotations

import re
import zoneinfo
from typing import Annotated

from slipway._constraints import Must

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
CRON_FIELDS: tuple[tuple[int, int, tuple[str, ...], str], ...] = (
    (0, 59, (), ""),
    (0, 23, (), ""),
    (1, 31, (), r"\?|L(-([1-9]|[12]\d|30))?|LW|([1-9]|[12]\d|3[01])W"),
    (1, 12, MONTHS, ""),
    (1, 7, WEEKDAYS, r"\?|L|([1-7]|SUN|MON|TUE|WED|THU|FRI|SAT)(L|#[1-5])"),
    (1970, 2199, (), ""),
)
"""For each field, from the minutes to the year: the lowest and highest value, their names, and what else is allowed.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html
https://docs.aws.amazon.com/codepipeline/latest/userguide/rule-reference-DeploymentWindow.html"""


def is_cron_field(text: str, field: tuple[int, int, tuple[str, ...], str]) -> bool:
    least, most, names, others = field

    def number(part: str) -> int | None:
        if part in names:
            return names.index(part) + 1
        return int(part) if re.fullmatch("[0-9]{1,4}", part) and least <= int(part) <= most else None

    def is_item(item: str) -> bool:
        values, slash, step = item.partition("/")
        steps = not slash or (re.fullmatch("[0-9]{1,4}", step) is not None and 1 <= int(step) <= most)
        return steps and (values == "*" or all(number(part) is not None for part in values.split("-", 1)))

    if others and re.fullmatch(others, text):
        return True
    items = text.split(",")
    # The n-th of a weekday stands alone: "3#1,6#3" is the guide's example of what is wrong.
    if len(items) > 1 and "#" in text:
        return False
    return all(is_item(item) or bool(others and item != "?" and re.fullmatch(others, item)) for item in items)


def is_recurring(text: str) -> bool:
    """Whether a text is `cron(…)` or `rate(…)`, as Application Auto Scaling and EventBridge Scheduler have them.

    https://docs.aws.amazon.com/autoscaling/application/APIReference/API_PutScheduledAction.html
    https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
    """
    form = re.fullmatch(r"(cron|rate)\(([!-~]+(?: [!-~]+)*)\)", text)
    if form is None:
        return False
    if form[1] == "rate":
        return re.fullmatch("1 (minute|hour|day)|([2-9]|[1-9][0-9]{1,5}) (minutes|hours|days)", form[2]) is not None
    fields = form[2].split(" ")
    parts = len(fields) == 6 and all(map(is_cron_field, fields, CRON_FIELDS))
    return parts and (fields[2] == "?") != (fields[4] == "?")


RECURRING_GOOD = ("cron(0 8 ? * MON-FRI *)", "cron(30 22 L * ? 2026-2030)", "rate(1 hour)", "rate(12 hours)")
RECURRING_BAD = (
    "",
    "0 8 ? * MON-FRI *",
    "cron(0 8 * * MON-FRI *)",
    "cron(0 8 ? * ? *)",
    "cron(0 8 ? * MON-FRI)",
    "cron(* 0 8 ? * MON-FRI *)",
    "cron(60 8 ? * MON *)",
    "cron(0 8  ? * MON *)",
    "rate(1 hours)",
    "rate(0 hours)",
    "rate(2 weeks)",
)
NOT_IANA = ("localtime", "Factory", "posixrules")
"""Files beside the time zones on some machines."""
TimeZone = Annotated[
    str,
    Must(
        "be the name of a time zone, such as Europe/Berlin",
        # On a machine without a time zone database, AWS has to validate the name.
        lambda name: name not in NOT_IANA and (name in (zones := zoneinfo.available_timezones()) or not zones),
        good=["UTC", "Europe/Berlin"],
        bad=["", "Berlin", "+01:00", "localtime"],
    ),
]
