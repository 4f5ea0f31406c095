"""How long a rollout waits for timers, besides the start of the tasks themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from slipway.strategies import BlueGreen, CodeDeployBlueGreen, Strategy

if TYPE_CHECKING:
    from slipway.service.args import ServiceSettings


@dataclass(frozen=True)
class RolloutTimers:
    """Seconds that one replacement of all tasks waits for timers, if the application answers and stops at once.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/load-balancer-healthcheck.html
    """

    healthy: int
    """Until a new task gets requests: that many checks, each after an interval."""
    shift: int
    """Until all requests go to the new tasks, and the old ones may go."""
    drain: int
    """Until an old task is stopped, in which it can finish its requests."""

    @property
    def total(self) -> int:
        return self.healthy + self.shift + self.drain


def rollout_timers(settings: ServiceSettings, strategy: Strategy) -> RolloutTimers:
    """The timers of a process with a port; without a port, nothing waits."""
    if settings.port is None:
        return RolloutTimers(0, 0, 0)
    # ECS waits until a task is healthy on all its ports.
    checks = [settings.health_check, *(route.health_check for route in settings.routes.values())]
    healthy = max(check.healthy_count * check.interval_seconds for check in checks)
    shift = 0
    if isinstance(strategy, BlueGreen):
        shift = strategy.shift_minutes + strategy.bake_minutes
    elif isinstance(strategy, CodeDeployBlueGreen):
        shift = strategy.total_minutes - strategy.deadline_minutes
    return RolloutTimers(healthy, 60 * shift, settings.drain_seconds)
