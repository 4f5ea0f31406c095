"""How ECS replaces the tasks of a service: plain values that a Service takes."""

from __future__ import annotations

from dataclasses import dataclass

from slipway._rules import refuse


@dataclass(frozen=True, kw_only=True)
class Rolling:
    """ECS replaces tasks a few at a time, and rolls back by itself when they do not come up.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-type-ecs.html
    """

    minimum_healthy_percent: int = 100
    """Share of the desired count that stays in service during a deployment, in percent."""

    maximum_percent: int = 200
    """Share of the desired count that may run during a deployment, old and new tasks together, in percent."""

    deadline_minutes: int = 10
    """Minutes a deployment may take before it is stopped and rolled back. The circuit breaker of ECS does not stop a
    deployment whose tasks start, and then fail again and again."""

    def __post_init__(self) -> None:
        least, most = self.minimum_healthy_percent, self.maximum_percent
        refuse(
            (not 0 <= least <= 100, f"minimum_healthy_percent must be between 0 and 100, got {least}"),
            (not 100 <= most <= 200, f"maximum_percent must be between 100 and 200, got {most}"),
            (
                least == most == 100,
                "maximum_percent must be above 100 with minimum_healthy_percent=100, got 100: "
                "ECS could neither stop an old task nor start a new one",
            ),
            (
                not 3 <= self.deadline_minutes <= 180,
                f"deadline_minutes must be between 3 and 180, got {self.deadline_minutes}",
            ),
        )


Strategy = Rolling
