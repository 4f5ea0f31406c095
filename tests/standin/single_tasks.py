"""Amazon ECS: tasks without a service, which RunTask starts, and CloudWatch Logs with what they log.

Pages are named as in ecs.py (LOGS: AmazonCloudWatchLogs/latest/APIReference). A task does nothing here; the hook
`outcome` of Ecs says how it ends.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from standin.api import AwsError, Params
from standin.clock import Clock

OVERRIDES = 8192
LIFETIME = 24 * 3600
"""Seconds for which a client token is known at most: API ECS_Idempotency."""


@dataclass(frozen=True)
class Outcome:
    """How the command of a task ends."""

    exit: int = 0
    seconds: float = 10.0
    lines: tuple[str, ...] = ()
    """What it logs."""


@dataclass(eq=False)
class SingleTask:
    shown: Params
    """As DescribeTasks returns it, without what changes over time."""
    runs: float
    stops: float
    code: str
    reason: str
    exit: int | None
    why: str = ""
    """Why its containers did not start."""

    def at(self, now: float) -> Params:
        status = "STOPPED" if self.stops <= now else "RUNNING" if self.runs <= now else "PENDING"
        answer = self.shown | {"lastStatus": status, "desiredStatus": "STOPPED" if status == "STOPPED" else "RUNNING"}
        if min(self.runs, self.stops) == self.runs <= now:
            answer["startedAt"] = self.runs
        container: Params = {"lastStatus": status}
        if status == "STOPPED":
            answer |= {"stopCode": self.code, "stoppedReason": self.reason, "stoppedAt": self.stops}
            # API API_Container: exitCode is absent if the container did not run.
            container |= ({} if self.exit is None else {"exitCode": self.exit}) | (
                {"reason": self.why} if self.why else {}
            )
        return answer | {"containers": [each | container for each in self.shown["containers"]]}


def check(params: Params, definition: Params) -> None:
    """API API_RunTask, which has the rules but not the messages; these are as people quote them."""
    if definition.get("networkMode") == "awsvpc" and "networkConfiguration" not in params:
        message = "Network Configuration must be provided when networkMode 'awsvpc' is specified."
        raise AwsError("InvalidParameterException", message)
    names = [container["name"] for container in definition["containerDefinitions"]]
    for override in params.get("overrides", {}).get("containerOverrides", []):
        if override.get("name") not in names:
            message = f"Override for container named {override.get('name')} is not a container in the TaskDefinition."
            raise AwsError("InvalidParameterException", message)
    # UNCONFIRMED: that the limit counts JSON without spaces, and the messages from here on.
    if len(json.dumps(params.get("overrides", {}), separators=(",", ":"))) > OVERRIDES:
        raise AwsError("InvalidParameterException", f"Container Overrides length must be at most {OVERRIDES}")
    if not re.fullmatch(r"[A-Za-z0-9/_-]{0,128}", params.get("startedBy", "")):
        raise AwsError("InvalidParameterException", "startedBy must be up to 128 letters, numbers, -, / and _.")
    if not 1 <= params.get("count", 1) <= 10:
        raise AwsError("InvalidParameterException", "Count must be between 1 and 10.")
    if not re.fullmatch(r"[!-~]{0,64}", params.get("clientToken", "")):
        raise AwsError("InvalidParameterException", "clientToken must be up to 64 characters in the range of 33-126.")


class Tokens:
    """API ECS_Idempotency: in a cluster, a token belongs to one request and its tasks."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[float, Params, list[str]]] = {}

    def find(self, cluster: str, params: Params, now: float) -> list[str] | None:
        """The tasks of the same request; None if its token is new."""
        since, request, arns = self._known.get((cluster, params.get("clientToken", "")), (0.0, Params(), []))
        if not arns or now >= since + LIFETIME:
            return None
        if request != params:
            message = "The clientToken is in use with a different request."  # UNCONFIRMED
            raise AwsError("ConflictException", message, resourceIds=arns)
        return arns

    def keep(self, cluster: str, params: Params, now: float, arns: list[str]) -> None:
        if "clientToken" in params:
            self._known[cluster, params["clientToken"]] = now, params, arns


class Logs:
    """CloudWatch Logs: the events of log streams."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._streams: dict[tuple[str, str], list[tuple[float, str]]] = {}

    def write(self, container: Params, task: str, at: float, lines: tuple[str, ...]) -> None:
        """DG using_awslogs: the stream is `prefix-name/container-name/ecs-task-id`."""
        options = container.get("logConfiguration", {}).get("options", {})
        if "awslogs-group" in options:
            stream = f"{options['awslogs-stream-prefix']}/{container['name']}/{task}"
            self._streams[options["awslogs-group"], stream] = [(at, line) for line in lines]

    def get_log_events(self, params: Params) -> Params:
        """LOGS API_GetLogEvents: by default, the latest events of one stream, oldest first."""
        written = self._streams.get((params["logGroupName"], params["logStreamName"]), [])
        if not written or written[0][0] > self._clock.now():
            raise AwsError("ResourceNotFoundException", "The specified log stream does not exist.")
        limit = params.get("limit", 10_000)
        shown = written[:limit] if params.get("startFromHead") else written[-limit:]
        events = [{"timestamp": int(at * 1000), "ingestionTime": int(at * 1000), "message": line} for at, line in shown]
        return {"events": events}

    def filter_log_events(self, params: Params) -> Params:
        """LOGS API_FilterLogEvents, by the names of streams; the message is as people quote it."""
        events: list[Any] = []
        for stream in params["logStreamNames"]:
            written = self._streams.get((params["logGroupName"], stream), [])
            if not written or written[0][0] > self._clock.now():
                raise AwsError("ResourceNotFoundException", "The specified log stream does not exist.")
            events += [
                {"logStreamName": stream, "timestamp": int(at * 1000), "ingestionTime": int(at * 1000)}
                | {"message": line, "eventId": f"{stream}#{number}"}
                for number, (at, line) in enumerate(written)
            ]
        return {"events": events}
