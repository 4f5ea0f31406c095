"""CloudWatch: the alarms that are deployed, and those that the stand-in of ECS was given otherwise.

Pages are named as in ecs.py (CW: AmazonCloudWatch/latest/APIReference).
"""

from collections.abc import Iterator
from typing import Any

from standin.api import ACCOUNT, REGION, Params
from standin.ecs import DEFAULT_ALARM_MINUTES, Ecs
from standin.provider import Aws, Props

ALARM = "aws:cloudwatch/metricAlarm:MetricAlarm"
MATH_SECONDS = 60
"""The period of metric math whose queries specify none."""


class CloudWatch:
    def __init__(self, aws: Aws, ecs: Ecs) -> None:
        self._aws, self._ecs = aws, ecs

    def minutes(self, name: str) -> float | None:
        """The period over which a deployed alarm evaluates its metrics: CW API_MetricAlarm."""
        return next((seconds(inputs) / 60 for inputs in self._deployed() if inputs["name"] == name), None)

    def describe_alarms(self, params: Params) -> Params:
        """CW API_DescribeAlarms. An alarm that is named but not deployed is one that somebody else created."""
        known = {inputs["name"]: _shown(inputs) for inputs in self._deployed()}
        known |= {name: _foreign(self._ecs.alarm_minutes[name]) for name in self._ecs.alarm_minutes.keys() - known}
        names = params.get("AlarmNames", sorted(known))
        prefix, wanted, ringing = params.get("AlarmNamePrefix", ""), params.get("StateValue"), self._ecs.alarms
        answer = []
        for name in (name for name in names if name.startswith(prefix)):
            state = "ALARM" if name in ringing else "OK"
            arn = f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{name}"
            shown = known.get(name) or _foreign(DEFAULT_ALARM_MINUTES)
            if wanted in (None, state):
                answer.append({"AlarmName": name, "AlarmArn": arn, "StateValue": state, **shown})
        return {"MetricAlarms": answer, "CompositeAlarms": []}

    def _deployed(self) -> Iterator[Props]:
        return (r.inputs for r in list(self._aws.resources.values()) if r.type == ALARM)


def seconds(inputs: Props) -> float:
    periods = [inputs["period"]] if inputs.get("period") else [_period(q) for q in inputs.get("metricQueries", [])]
    return float(inputs["evaluationPeriods"]) * float(max(periods, default=MATH_SECONDS))


def _period(query: Props) -> int:
    return int(query.get("metric", query).get("period") or MATH_SECONDS)


def _shown(inputs: Props) -> Params:
    shown: Params = {"EvaluationPeriods": int(inputs["evaluationPeriods"])}
    if inputs.get("period"):
        return shown | {"Period": int(inputs["period"])}
    return shown | {"Metrics": [_query(query) for query in inputs.get("metricQueries", [])]}


def _query(query: Props) -> Params:
    """CW API_MetricDataQuery."""
    shown: dict[str, Any] = {"Id": query["id"], "ReturnData": bool(query.get("returnData"))}
    if "expression" in query:
        return shown | {"Expression": query["expression"]} | ({"Period": _period(query)} if "period" in query else {})
    metric = query["metric"]
    named = {"Namespace": metric.get("namespace", "AWS/Any"), "MetricName": metric["metricName"]}
    return shown | {"MetricStat": {"Metric": named, "Period": _period(query), "Stat": metric["stat"]}}


def _foreign(minutes: float) -> Params:
    whole = minutes == int(minutes)
    return {"EvaluationPeriods": int(minutes) if whole else 1, "Period": 60 if whole else round(60 * minutes)}
