"""A service of ECS, as far as it is the same whoever replaces its tasks: how many run, and why they stopped."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .state import Registers, Release, Settings
from .task_definitions import Definitions, short


@dataclass(frozen=True)
class Progress:
    """How far the service is from what is wanted."""

    state: str
    """`done`, `running` or `failed`."""
    message: str
    after: str | None = None
    """What the next look needs to know whose deployment it sees: with ECS, the newest that there was before the one we
    asked for; with CodeDeploy, the one we follow."""
    before: str | None = None
    """The image that ran before a deployment that failed; None when nothing was released then."""
    rolled_back_to: str | None = None
    """The image that AWS itself is putting back."""
    image: str = ""
    """The image that runs, once it does."""


@dataclass(frozen=True)
class Names:
    """What one release function is for."""

    cluster: str
    service: str
    family: str
    """Family of the released task definitions."""
    container: str


class Service:
    deployer = ""
    """Who replaces the tasks."""

    def __init__(self, ecs: Any, autoscaling: Any, registers: Registers, names: Names) -> None:
        self.ecs = ecs
        self.autoscaling = autoscaling
        self.registers = registers
        self.names = names
        self.definitions = Definitions(ecs, names.family, names.container)

    def advance(self, after: str | None, give_up: bool) -> Progress:
        """Read the registers, look at the service, and take the one step that brings it nearer to what is wanted.

        `after` is None at first, then what the last call returned. `give_up` says that a release has failed, so that no
        image may be wanted any more. Does nothing that was done already.
        """
        settings, wanted = self.registers.settings(), self.registers.wanted()
        service = self.describe()
        if wanted is None:
            return self._stand_down(service, give_up)
        return self._advance(service, settings, wanted, self.definitions.wanted(settings, wanted.image), after)

    def _advance(
        self,
        service: dict[str, Any],
        settings: Settings,
        wanted: Release,
        definition: dict[str, Any],
        after: str | None,
    ) -> Progress:
        raise NotImplementedError

    def _failed_at_first(self) -> bool:
        """Whether a first release failed, and whoever undid it was cut off."""
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        answer = self.ecs.describe_services(cluster=self.names.cluster, services=[self.names.service])
        services: list[dict[str, Any]] = [s for s in answer["services"] if s["status"] == "ACTIVE"]
        if not services:
            raise RuntimeError(
                f"the service {self.names.service} does not exist in the cluster {self.names.cluster}; "
                "run `pulumi up`, which creates it"
            )
        return services[0]

    def _count(self, service: dict[str, Any], settings: Settings, task_definition: str, wanted: Release) -> Progress:
        """The right task definition is there: see to it that so many tasks of it run."""
        count = settings.count(service["desiredCount"])
        if settings.maximum > settings.minimum:
            self._bounds(settings.minimum, settings.maximum)
        if service["desiredCount"] != count:
            self.ecs.update_service(cluster=self.names.cluster, service=self.names.service, desiredCount=count)
            return Progress("running", f"asked ECS for {count} tasks", "")
        if service["runningCount"] < count:
            return Progress("running", f"{service['runningCount']} of {count} tasks run", "")
        message = f"{short(task_definition)} runs {wanted.digest} in {count} tasks"
        return Progress("done", message, image=wanted.image)

    def _bounds(self, minimum: int, maximum: int) -> None:
        """Between how many tasks the service scales.

        Registering a scalable target moves the count into its bounds at once, so this comes after the release.
        https://docs.aws.amazon.com/autoscaling/application/APIReference/API_RegisterScalableTarget.html
        """
        self.autoscaling.register_scalable_target(
            ServiceNamespace="ecs",
            ResourceId=f"service/{self.names.cluster}/{self.names.service}",
            ScalableDimension="ecs:service:DesiredCount",
            MinCapacity=minimum,
            MaxCapacity=maximum,
        )

    def _stand_down(self, service: dict[str, Any], give_up: bool) -> Progress:
        """No image is wanted, so no task may try to start; but what somebody's mistake left on the air stays there."""
        if service["desiredCount"]:
            if not give_up and not self._failed_at_first():
                raise RuntimeError(
                    f"no image is wanted, but the service runs {short(service['taskDefinition'])}: "
                    f"somebody emptied the parameter {self.registers.prefix}wanted, or a first release was cut off "
                    "while it was undone. Nothing was changed; release a commit, which fills it again"
                )
            settings = self.registers.settings()
            if settings.maximum > settings.minimum:
                self._bounds(0, settings.maximum)  # else scaling would raise the count again
            self.ecs.update_service(cluster=self.names.cluster, service=self.names.service, desiredCount=0)
        return Progress("done", "nothing is released, and the service has no tasks")

    def _failures(self, task_definition: str, since: float = 0) -> list[str]:
        """Why each task of this revision stopped that was not asked to; ECS remembers that for about an hour."""
        # One page is enough for a reason.
        listed = self.ecs.list_tasks(
            cluster=self.names.cluster, serviceName=self.names.service, desiredStatus="STOPPED"
        )
        if not listed["taskArns"]:
            return []
        tasks = self.ecs.describe_tasks(cluster=self.names.cluster, tasks=listed["taskArns"])["tasks"]
        reasons = []
        for task in tasks:
            scaled = task.get("stoppedReason", "").startswith("Scaling activity")
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

    def _are_hopeless(self, task_definition: str, count: int, since: float) -> bool:
        """Whether as many tasks failed as trip ECS's circuit breaker, for where it does not watch.

        https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html
        """
        return len(self._failures(task_definition, since)) >= min(max(math.ceil(count / 2), 3), 200)

    def _stopped_tasks(self, task_definition: str) -> list[str]:
        """Why tasks of this revision stopped, the same reason once."""
        return list(dict.fromkeys(self._failures(task_definition)))[:3]

    def _complaints(self, since: float) -> list[str]:
        """Events of the service that tell of failed health checks."""
        events = [e["message"] for e in self.describe()["events"] if seconds(e["createdAt"]) >= since]
        return [m for m in events if "unhealthy" in m or "failed" in m or "unable" in m][:3]

    def _blame(self, before: str | None, target: str) -> str:
        """Whether it may be the settings that failed, if they changed with the image."""
        if not before or self.definitions.settings(before) == self.definitions.settings(target):
            return ""
        same = self.definitions.image(before) == self.definitions.image(target)
        fault = "the image did not change, so the new settings are at fault" if same else "either may be at fault"
        return f" It came with settings that {short(before)} did not have: {fault}."


def joined(reasons: list[str | None]) -> str:
    """Each reason once, in one sentence."""
    said = list(dict.fromkeys(r.strip().rstrip(".") for r in reasons if r))
    return "; ".join(said)


def network_of(settings: Settings, found: dict[str, Any]) -> bool:
    """Whether an `awsvpcConfiguration` has the subnets and the security groups of the settings."""
    return set(found["subnets"]) == set(settings.subnets) and set(found["securityGroups"]) == set(
        settings.security_groups
    )


def seconds(at: datetime | float) -> float:
    return at.timestamp() if isinstance(at, datetime) else float(at)
