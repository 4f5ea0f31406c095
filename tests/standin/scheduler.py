"""EventBridge Scheduler: schedules, and what happens when one is due.

A rule names the AWS page it is based on (API: scheduler/latest/APIReference, UG: scheduler/latest/UserGuide);
UNCONFIRMED marks what no page documents. Times are not computed from expressions: a test says when a schedule is due.
Moto's accepts any expression, time zone, role and target.
"""

import re
import zoneinfo
from datetime import datetime
from typing import Any

from standin.api import ACCOUNT, REGION, AwsError
from standin.events import Events
from standin.iam import Iam
from standin.provider import Live, Props
from standin.states import States

GROUP = f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule-group/default"
MACHINE = re.compile(r"arn:aws:states:[\w-]+:\d{12}:stateMachine:[\w-]+")
RATE = re.compile(r"rate\(([1-9]\d*) (minute|hour|day)s?\)")
NUMBERS = r"\d{1,4}([-/]\d{1,4})*"


class Scheduler:
    def __init__(self, states: States, events: Events, iam: Iam) -> None:
        self.schedules: dict[str, Props] = {}
        """Inputs of the resources, by name."""
        self._states, self._events, self._iam = states, events, iam

    def fire(self, name: str) -> str:
        """What happens when a schedule is due: it starts its target with its role, if it is enabled.

        Returns the ARN of the execution, "" if it is disabled. Raises AwsError if the role does not allow it; Scheduler
        would try again, and drop the invocation in the end (UG troubleshooting).
        """
        schedule = self.schedules[name]
        if schedule.get("state", "ENABLED") != "ENABLED":  # API API_CreateSchedule
            return ""
        target = schedule["target"]
        if not self._iam.trusts(target["roleArn"], "scheduler.amazonaws.com", GROUP):
            raise AwsError("AccessDeniedException", f"not authorized to assume {target['roleArn']}")
        given = {"stateMachineArn": target["arn"], "input": target.get("input", "{}")}
        self._events.note(target["roleArn"], "stepfunctions", "StartExecution", given)
        self._iam.check(target["roleArn"], "scheduler", "states:StartExecution", target["arn"], {})
        return str(self._states.start_execution(given)["executionArn"])


class Schedule(Live):
    """`aws.scheduler.Schedule` in the default group."""

    def __init__(self, scheduler: Scheduler, iam: Iam) -> None:
        self._scheduler, self._iam = scheduler, iam

    def create(self, name: str, inputs: Props) -> tuple[str, Props]:
        if inputs["name"] in self._scheduler.schedules:
            raise RuntimeError(f"creating EventBridge Scheduler Schedule: ConflictException: {inputs['name']}")
        self._keep(inputs)
        arn = f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/default/{inputs['name']}"
        return f"default/{inputs['name']}", {"arn": arn}

    def update(self, id: str, olds: Props, news: Props) -> Props:
        self._keep(news)
        return {}

    def delete(self, id: str, state: Props) -> None:
        self._scheduler.schedules.pop(state["name"], None)

    def _keep(self, inputs: Props) -> None:
        if problem := wrong(inputs):
            raise RuntimeError(f"EventBridge Scheduler Schedule ({inputs['name']}): ValidationException: {problem}")
        if not self._iam.trusts(inputs["target"]["roleArn"], "scheduler.amazonaws.com", GROUP):
            # As people quote it.
            message = "The execution role you provide must allow AWS EventBridge Scheduler to assume the role."
            raise RuntimeError(f"EventBridge Scheduler Schedule ({inputs['name']}): ValidationException: {message}")
        self._scheduler.schedules[inputs["name"]] = inputs


def wrong(inputs: Props) -> str:
    """What Scheduler rejects in a schedule, "" if nothing: API API_CreateSchedule. UNCONFIRMED: the messages."""
    window, target = inputs["flexibleTimeWindow"], inputs["target"]
    longest, retry = window.get("maximumWindowInMinutes"), target.get("retryPolicy", {})
    zone = inputs.get("scheduleExpressionTimezone", "UTC")
    mistakes = {
        "name": not re.fullmatch(r"[0-9a-zA-Z-_.]{1,64}", inputs["name"]),
        "group": inputs.get("groupName", "default") != "default",  # others are not in the stand-in
        "Invalid Schedule Expression": not is_expression(inputs["scheduleExpression"]),
        "Invalid Schedule Expression Timezone": zone not in zoneinfo.available_timezones(),
        "FlexibleTimeWindow": not is_window(window.get("mode"), longest),
        "target": not MACHINE.fullmatch(target["arn"]),  # others are not in the stand-in
        "RetryPolicy": not (
            60 <= retry.get("maximumEventAgeInSeconds", 86_400) <= 86_400
            and 0 <= retry.get("maximumRetryAttempts", 185) <= 185
        ),
        "description": len(inputs.get("description", "")) > 512,
    }
    return ", ".join(name for name, found in mistakes.items() if found)


def is_window(mode: Any, minutes: Any) -> bool:
    """API API_FlexibleTimeWindow."""
    return mode == "OFF" and minutes is None or mode == "FLEXIBLE" and minutes is not None and 1 <= minutes <= 1440


def is_expression(text: str) -> bool:
    """UG schedule-types: `rate(1 hour)`, `cron(0 3 * * ? *)`, `at(2026-12-24T08:00:00)`.

    UNCONFIRMED: that the unit must be singular for 1 and plural for others, as EventBridge's rules require.
    """
    if rate := RATE.fullmatch(text):
        return (rate[1] == "1") != text.endswith("s)")
    if text.startswith("at("):
        try:
            return bool(datetime.strptime(text, "at(%Y-%m-%dT%H:%M:%S)"))
        except ValueError:
            return False
    fields = text.removeprefix("cron(").removesuffix(")").split(" ")
    if not (text.startswith("cron(") and text.endswith(")") and len(fields) == 6):
        return False
    # "You can't use * in both the Day-of-month and Day-of-week fields. If you use it in one, you must use ? in the
    # other."
    return [fields[2], fields[4]].count("?") == 1 and all(
        re.fullmatch(r"[A-Z\d*?#LW,/-]+", each) is not None for each in fields
    )
