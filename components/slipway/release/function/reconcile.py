"""Reconciles a service with its goal: compares the actual state with it, and takes one step.

It does not matter who calls this, and how often. The differences between deployments by ECS and by CodeDeploy are in
ecs.py and codedeploy.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from .contract import WEB, Image, Settings, State
from .images import Images
from .state import StateTable
from .task_definitions import TaskDefinitions, short

INTERRUPTED = ("SpotInterruption", "TerminationNotice")
"""https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Task.html"""
SUSPENDED = ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended")


@dataclass(frozen=True)
class Goal:
    """What the service should run."""

    image: Image | None
    """None means no tasks."""
    after: float = 0
    """A failed deployment to this goal is final if it was created after this time; an earlier one is retried."""
    any_settings: bool = False
    """Whether the image may run with older settings, because the newest ones have never been seen live."""
    fallbacks: dict[str, str] = field(default_factory=dict)
    """For each process, the task definition to deploy if the image does not run with the newest settings."""
    ordered: bool = False
    """Whether one group of processes follows the other, and a failure of one ends it for all."""
    processes: Sequence[str] | None = None
    """Processes that have run with the image; None for all. A process that has not is stopped, unless somebody is
    deploying the image to it."""


@dataclass(frozen=True)
class Waiting:
    """The service has not reached the goal yet."""

    message: str


@dataclass(frozen=True)
class Live:
    """The goal is running."""

    message: str


@dataclass(frozen=True)
class Broken:
    """A deployment to the goal failed."""

    message: str
    image_at_fault: bool = True
    """False if tasks of the image run with the previous settings: then the new settings failed."""
    rolling_back: bool = False
    """Whether ECS or CodeDeploy is still rolling back."""


Progress = Waiting | Live | Broken


@dataclass(frozen=True)
class Names:
    """The names of the service that a release function deploys."""

    cluster: str
    service: str
    family: str
    """Family of the released task definitions."""
    container: str
    process: str = WEB


class Service:
    """One process: what is common to ECS and CodeDeploy, which is task counts, and the reasons why tasks stopped."""

    deployer = ""
    """Name of the service that replaces the tasks."""

    def __init__(self, ecs: Any, autoscaling: Any, table: StateTable, images: Images, names: Names) -> None:
        self.ecs, self.autoscaling, self.table, self.images, self.names = ecs, autoscaling, table, images, names
        self.definitions = TaskDefinitions(ecs, names.family, names.container)
        self.deployed = False
        """Whether this run changed the service, and has not seen its goal live since."""

    def look(self, state: State, goal: Goal) -> Progress:
        """Compare the service with its goal, and take the next step towards it."""
        settings, service = self.settings(state), self.describe()
        if goal.image is None:
            return self._scale_to_zero(service, settings, state)
        if goal.processes is not None and self.names.process not in (WEB, *goal.processes):
            live = self.live_task_definition(service)
            if live is not None and self.definitions.image(live) == str(goal.image):
                return Live(f"{short(live)} is not released yet")
            return self._scale_to_zero(service, settings, state)
        progress = self._look(service, settings, state, goal, goal.image)
        if isinstance(progress, Live):
            self.deployed = False
        return progress

    def settings(self, state: State) -> Settings:
        """The settings of this process."""
        settings = self.table.settings(state)
        others = {process.name: process.settings for process in settings.processes}
        return others.get(self.names.process, settings)

    def fallback(self, goal: Goal) -> str:
        return goal.fallbacks.get(self.names.process, "")

    def newest_tasks(self) -> float:
        """When the newest deployment of tasks was created, whatever became of it; 0 if there is none."""
        raise NotImplementedError

    def serving_since(self) -> float:
        """When the deployment of the tasks in service was created; 0 if that is not known any more."""
        raise NotImplementedError

    def restart_failed(self, requested: float) -> bool:
        """Whether a deployment after that time failed, so that the previous tasks run on."""
        raise NotImplementedError

    def restart(self, state: State) -> bool:
        """Start new tasks. Returns False if that has to wait."""
        raise NotImplementedError

    def _look(self, service: dict[str, Any], settings: Settings, state: State, goal: Goal, image: Image) -> Progress:
        raise NotImplementedError

    def newest_created(self) -> float:
        """When the newest deployment was created, by the clock of ECS or CodeDeploy."""
        raise NotImplementedError

    def _give_up_settings(self) -> None:
        """The newest settings do not work with this image: from here on, keep what runs with older ones."""
        self.table.update(lambda state: replace(state, live_settings=""))

    def live_task_definition(self, service: dict[str, Any]) -> str | None:
        """The task definition in service."""
        raise NotImplementedError

    def live_image(self) -> Image | None:
        """The released image that runs; None if no task should run, or the image was not released."""
        service = self.describe()
        live = self.live_task_definition(service) if service["desiredCount"] else None
        if live is None or not self.definitions.is_released(live):
            return None
        try:
            return Image.parse(self.definitions.image(live))
        except ValueError:
            return None

    def describe(self) -> dict[str, Any]:
        answer = self.ecs.describe_services(cluster=self.names.cluster, services=[self.names.service])
        services: list[dict[str, Any]] = [s for s in answer["services"] if s["status"] == "ACTIVE"]
        if not services:
            raise RuntimeError(
                f"the service {self.names.service} does not exist in the cluster {self.names.cluster}; "
                "run `pulumi up`, which creates it"
            )
        return services[0]

    # Counts

    def _count(
        self, service: dict[str, Any], settings: Settings, state: State, task_definition: str, image: Image
    ) -> Progress:
        """The correct task definition is in service: make sure that the right number of its tasks run."""
        bounds = self._bounds(state)
        if settings.scales and bounds != (settings.minimum, settings.maximum):
            begins = bounds is None or bounds[0] == 0
            self._set_bounds(settings.minimum, settings.maximum, suspended=False if begins else None)
        elif not settings.scales and bounds is not None:
            self._remember_bounds(None)  # a later target has other bounds
        count = desired_count(service, settings, bounds)
        if service["desiredCount"] != count:
            self._update_service(desiredCount=count)
            return Waiting(f"scaling to {tasks(count)}")
        if service["runningCount"] < count:
            return Waiting(f"{service['runningCount']} of {tasks(count)} running")
        return Live(f"{short(task_definition)} is running {image.digest} ({tasks(count)})")

    def _set_bounds(self, minimum: int, maximum: int, suspended: bool | None) -> None:
        """Set the scaling bounds, but only if the settings change them: bounds that somebody changed are kept.

        Registering a scalable target moves the task count within its bounds at once, so this follows the release.
        Scaling is suspended while there are no tasks: a queue or a schedule would start some that cannot run. None
        keeps a suspension that somebody else began.
        https://docs.aws.amazon.com/autoscaling/application/APIReference/API_RegisterScalableTarget.html
        """
        state = {} if suspended is None else {"SuspendedState": dict.fromkeys(SUSPENDED, suspended)}
        self.autoscaling.register_scalable_target(
            ServiceNamespace="ecs",
            ResourceId=f"service/{self.names.cluster}/{self.names.service}",
            ScalableDimension="ecs:service:DesiredCount",
            MinCapacity=minimum,
            MaxCapacity=maximum,
            **state,
        )
        self._remember_bounds((minimum, maximum))

    def _bounds(self, state: State) -> tuple[int, int] | None:
        """The scaling bounds that were set last."""
        return state.bounds if self.names.process == WEB else state.other_bounds.get(self.names.process)

    def _remember_bounds(self, bounds: tuple[int, int] | None) -> None:
        process = self.names.process

        def remembered(state: State) -> State:
            if process == WEB:
                return replace(state, bounds=bounds)
            others = {name: each for name, each in state.other_bounds.items() if name != process}
            return replace(state, other_bounds={**others, **({process: bounds} if bounds else {})})

        self.table.update(remembered)

    def _scale_to_zero(self, service: dict[str, Any], settings: Settings, state: State) -> Progress:
        """No task should run or try to start. If there is no state at all, running tasks are kept, since the state was
        lost."""
        if service["desiredCount"]:
            if state.claim is None:
                live = short(self.live_task_definition(service) or service["taskDefinition"])
                raise RuntimeError(
                    f"the service runs {live}, and the table {self.table.table} knows of no release: it was lost, or "
                    "restored. Nothing was changed; release the digest that should run, which fills it again"
                )
            if settings.scales and self._bounds(state) != (0, settings.maximum):
                # Otherwise scaling would raise the count again.
                self._set_bounds(0, settings.maximum, suspended=True)
            self._update_service(desiredCount=0)
        self.deployed = False
        return Live("nothing is released, and the service has no tasks")

    def _update_service(self, **changes: Any) -> None:
        self.deployed = True
        self.ecs.update_service(cluster=self.names.cluster, service=self.names.service, **changes)

    # Reasons

    def _failures(self, task_definition: str, since: float = 0) -> list[str]:
        """Why tasks of this revision stopped, except those that were scaled in. ECS keeps this for about an hour."""
        # One page is enough for a reason.
        listed = self.ecs.list_tasks(
            cluster=self.names.cluster, serviceName=self.names.service, desiredStatus="STOPPED"
        )
        if not listed["taskArns"]:
            return []
        described = self.ecs.describe_tasks(cluster=self.names.cluster, tasks=listed["taskArns"])["tasks"]
        reasons = []
        for task in described:
            # Neither is the image's fault: a task that was scaled in, and one whose capacity AWS took back.
            scaled = task.get("stoppedReason", "").startswith("Scaling activity") or task.get("stopCode") in INTERRUPTED
            if task["taskDefinitionArn"] != task_definition or scaled or seconds(task["createdAt"]) < since:
                continue
            parts = [task.get("stoppedReason", "")]
            for container in task["containers"]:
                if container.get("exitCode") is not None:
                    parts.append(f"container {container['name']} exited with {container['exitCode']}")
                if container.get("reason"):
                    parts.append(container["reason"])
            reasons.append(", ".join(p for p in parts if p))
        return reasons

    def _failure_threshold_reached(self, task_definition: str, count: int, since: float) -> bool:
        """Whether enough tasks failed to trigger ECS's circuit breaker, for deployments that it does not watch.

        https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html
        """
        return len(self._failures(task_definition, since)) >= min(max(math.ceil(count / 2), 3), 200)

    def _stopped_tasks(self, task_definition: str, since: float = 0) -> list[str]:
        """Why tasks of this revision stopped, without duplicates."""
        return list(dict.fromkeys(self._failures(task_definition, since)))[:3]

    def _health_check_events(self, since: float) -> list[str]:
        """Events of the service about failed health checks."""
        events = [e["message"] for e in self.describe()["events"] if seconds(e["createdAt"]) >= since]
        return [m for m in events if "unhealthy" in m or "failed" in m or "unable" in m][:3]

    def _explain_settings_change(self, before: str | None, target: str) -> str:
        """An explanation for the message if the settings changed with the image, and may have failed."""
        if not before or self.definitions.settings(before) == self.definitions.settings(target):
            return ""
        same = self.definitions.image(before) == self.definitions.image(target)
        fault = "the image did not change, so the new settings are at fault" if same else "either may be at fault"
        return f" It came with settings that {short(before)} did not have: {fault}."


def desired_count(service: dict[str, Any], settings: Settings, bounds: tuple[int, int] | None) -> int:
    """The task count to set. A count from scaling within the bounds is kept, and so is a count after somebody changed
    the bounds."""
    current = int(service["desiredCount"])
    if settings.scales and current and bounds == (settings.minimum, settings.maximum):
        return current
    return min(max(current, settings.minimum), settings.maximum)


def tasks(count: int) -> str:
    return "1 task" if count == 1 else f"{count} tasks"


def joined(reasons: list[str | None]) -> str:
    """The reasons without duplicates, in one sentence."""
    return "; ".join(dict.fromkeys(r.strip().rstrip(".") for r in reasons if r))


def network_of(settings: Settings, found: dict[str, Any]) -> bool:
    """Whether an `awsvpcConfiguration` has the subnets, the security groups and the addresses of the settings."""
    return (
        set(found["subnets"]) == set(settings.subnets)
        and set(found["securityGroups"]) == set(settings.security_groups)
        and found.get("assignPublicIp", "DISABLED") == settings.network["assignPublicIp"]
    )


def capacity_of(settings: Settings, found: dict[str, Any]) -> bool:
    """Whether a service or a service revision has the capacity of the settings."""

    def strategy(items: list[dict[str, Any]]) -> list[tuple[str, int, int]]:
        return sorted((each["capacityProvider"], each.get("weight", 0), each.get("base", 0)) for each in items)

    return strategy(found.get("capacityProviderStrategy") or []) == strategy(settings.capacity)


def seconds(at: datetime | float) -> float:
    return at.timestamp() if isinstance(at, datetime) else float(at)
