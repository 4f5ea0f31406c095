"""How many tasks run, and what their number follows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

import pulumi

from slipway._constraints import Must, arn, between, check, items, match, one_of
from slipway._schedules import RECURRING_BAD, RECURRING_GOOD, TimeZone, is_recurring

Count = Annotated[int, between(1, 5000)]
"""https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-quotas.html"""
QueueArn = Annotated[pulumi.Input[str], arn("a queue in SQS", "sqs", r"[A-Za-z0-9_-]{1,80}(\.fifo)?", "orders")]
TEXT = r"[!-~]([ -~]*[!-~])?"
Above0 = Annotated[float, Must("be above 0", lambda value: value > 0, {"exclusiveMinimum": 0}, [0.5, 1000], [0, -1])]
STATISTICS = ("Average", "Minimum", "Maximum", "SampleCount", "Sum")


def is_schedule(text: str) -> bool:
    """Whether Application Auto Scaling accepts the expression.

    https://docs.aws.amazon.com/autoscaling/application/APIReference/API_PutScheduledAction.html
    """
    form = re.fullmatch(r"at\((.+)\)", text)
    if form is None:
        return is_recurring(text)
    try:
        return f"{datetime.strptime(form[1], '%Y-%m-%dT%H:%M:%S'):%Y-%m-%dT%H:%M:%S}" == form[1]
    except ValueError:
        return False


Expression = Annotated[
    str,
    Must(
        "be cron(minutes hours day-of-month month day-of-week year) with a ? for exactly one of the two days, "
        "rate(5 minutes) or at(2026-12-24T08:00:00)",
        is_schedule,
        {"pattern": r"^(cron|rate|at)\(.+\)$"},
        good=[*RECURRING_GOOD, "at(2026-12-24T08:00:00)"],
        bad=[
            *RECURRING_BAD,
            "at(2026-12-24)",
            "at(2026-02-30T08:00:00)",
            "at(2026-12-24T08:00:00Z)",
            "at(2026-1-24T08:00:00)",
        ],
    ),
]


@dataclass(frozen=True, kw_only=True)
class QueueBacklog:
    """A queue in SQS whose waiting messages are divided among the tasks.

    https://docs.aws.amazon.com/autoscaling/application/userguide/application-auto-scaling-target-tracking-metric-math.html
    """

    arn: QueueArn
    """ARN of the queue, in the Region and account of the service. `permissions` let the application read it."""

    messages_per_task: Above0
    """Waiting messages for each running task that scaling aims for: the time that a message may wait, divided by the
    time that a task takes for one."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class MetricTarget:
    """Any metric in CloudWatch that falls in proportion when tasks are added, such as one that each task reports for
    itself.

    https://docs.aws.amazon.com/autoscaling/application/APIReference/API_CustomizedMetricSpecification.html
    """

    namespace: Annotated[str, match(TEXT, "be a namespace of CloudWatch", "Storefront", [" a", "ä"], longest=255)]
    """Namespace of the metric."""

    name: Annotated[str, match(TEXT, "be the name of a metric", "JobsInProgress", [" a", "ä"], longest=255)]
    """Name of the metric."""

    target: Above0
    """Value that scaling aims for."""

    statistic: Annotated[str, one_of(STATISTICS)] = "Average"
    """Statistic of each minute."""

    dimensions: Mapping[
        Annotated[str, match(TEXT, "be the name of a dimension", "Service", [" a", "ä"], longest=255)],
        Annotated[pulumi.Input[str], match(TEXT, "be the value of a dimension", "api", [" a", "ä"], longest=1024)],
    ] = field(default_factory=dict)
    """All dimensions of the metric, with their values."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class ScheduledBounds:
    """A time at which `min`, `max` or both of them change. They stay until another schedule, or a change of `min` or
    `max` in the stack file, changes them again.

    https://docs.aws.amazon.com/autoscaling/application/userguide/scheduled-scaling-policy-overview.html
    """

    schedule: Expression
    """When: `cron(minutes hours day-of-month month day-of-week year)`, `rate(12 hours)`, or once,
    `at(2026-12-24T08:00:00)`."""

    time_zone: TimeZone = "UTC"
    """Name of the time zone of a `cron` or `at` schedule, such as Europe/Berlin."""

    min: Count | None = None
    """Minimum number of tasks from then on."""

    max: Count | None = None
    """Maximum number of tasks from then on."""

    def __post_init__(self) -> None:
        check(self)

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        yield self.min is None and self.max is None, "min or max must be set"
        least, most = self.min or 1, self.max or 5000
        yield least > most, f"max must be at least min={least}, got {most}"


@dataclass(frozen=True, kw_only=True)
class Tasks:
    """The number of tasks. It follows the largest demand of all targets, and falls only when all of them allow it.

    https://docs.aws.amazon.com/autoscaling/application/userguide/target-tracking-scaling-policy-overview.html
    """

    min: Count = 2
    """Minimum number of tasks. With two, the service survives the loss of an Availability Zone."""

    max: Count | None = None
    """Maximum number of tasks. If it is above `min`, the service scales with its load; without it, `min` tasks run."""

    target_cpu_percent: Annotated[int, between(10, 90)] | None = 60
    """Average CPU utilization that scaling aims for, in percent. Turn it off (`false` in a stack file) if CPU says
    nothing about the load."""

    target_memory_percent: Annotated[int, between(10, 90)] | None = None
    """Average memory utilization that scaling aims for, in percent."""

    target_requests_per_task: Annotated[int, between(1, 10_000_000)] | None = None
    """Requests a minute for each task that scaling aims for."""

    # Together with the three above, at most 50, the quota of policies of a target. It may have 200 schedules.
    # https://docs.aws.amazon.com/autoscaling/application/userguide/application-auto-scaling-limits.html
    queues: Annotated[Sequence[QueueBacklog], items(most=20)] = ()
    """Queues whose backlog for each task scaling aims for."""

    metrics: Annotated[Sequence[MetricTarget], items(most=20)] = ()
    """Other metrics whose value scaling aims for."""

    schedules: Annotated[Sequence[ScheduledBounds], items(most=200)] = ()
    """Times at which `min` and `max` change."""

    def __post_init__(self) -> None:
        check(self)

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        most = self.max
        yield most is not None and most < self.min, f"max must be at least min={self.min}, got {most}"
        fixed = self.most == self.min
        given = [name for name in SCALING if getattr(self, name) not in (None, ())]
        yield fixed and bool(given), f"max must be above min={self.min} with {', '.join(given)}, got {most}"
        yield (
            self.most > self.min and not given and self.target_cpu_percent is None,
            f"max must be above min={self.min} only if the number of tasks follows something, such as "
            f"target_cpu_percent, got {most}",
        )
        yield from self._schedules()

    def _schedules(self) -> Iterator[tuple[bool, str]]:
        """A schedule that sets one bound fails if the other is beyond it, and any schedule may have been the last."""
        lowest = min([self.most, *(each.max for each in self.schedules if each.max is not None)])
        highest = max([self.min, *(each.min for each in self.schedules if each.min is not None)])
        for number, each in enumerate(self.schedules):
            yield (
                each.max is None and each.min is not None and each.min > lowest,
                f"schedules[{number}].max is required with min={each.min}: the max may be {lowest} at that time",
            )
            yield (
                each.min is None and each.max is not None and each.max < highest,
                f"schedules[{number}].min is required with max={each.max}: the min may be {highest} at that time",
            )

    @property
    def most(self) -> int:
        return self.min if self.max is None else self.max

    @property
    def acts_without_tasks(self) -> bool:
        """Whether something could raise the number while there are no tasks: CPU and memory are reported by tasks."""
        return any(getattr(self, name) not in (None, ()) for name in SCALING if name != "target_memory_percent")


SCALING = ("target_memory_percent", "target_requests_per_task", "queues", "metrics", "schedules")
"""Fields of Tasks that make no sense for a fixed number of tasks."""
