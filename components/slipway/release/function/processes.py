"""The processes of a service: one image, released to all of them, and rolled back from all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from .codedeploy import CodeDeployDeployments
from .contract import WEB, Image, Settings, State, Verified
from .ecs import EcsDeployments
from .reconcile import Broken, Goal, Live, Names, Progress, Waiting
from .state import StateTable

Reconciled = EcsDeployments | CodeDeployDeployments


class Processes:
    """`web`, and the processes that the settings name. Each is an ECS service, and is looked at anew each time."""

    def __init__(self, table: StateTable, web: Reconciled, make: Callable[[Names], EcsDeployments]) -> None:
        """`make` gives the others, which ECS deploys."""
        self.table, self.web, self._make = table, web, make
        self._others: dict[str, EcsDeployments] = {}

    def of(self, settings: Settings) -> dict[str, Reconciled]:
        """The processes by name."""
        for process in settings.processes:
            if process.name not in self._others:
                names = replace(self.web.names, service=process.service, family=process.service, process=process.name)
                self._others[process.name] = self._make(names)
        return {WEB: self.web, **{process.name: self._others[process.name] for process in settings.processes}}

    @property
    def deployed(self) -> bool:
        """Whether this run changed a process, and has not seen its goal live since."""
        return any(each.deployed for each in (self.web, *self._others.values()))

    def look(self, state: State, goal: Goal) -> Progress:
        """Compare each process with the goal, and take its next step.

        An ordered goal is for one group of processes after the other, and the first failure of an image is that of
        all. Otherwise each process goes on, whatever becomes of another.
        """
        settings = self.table.settings(state)
        processes = self.of(settings)
        groups = (settings.order if goal.ordered else []) or [list(processes)]
        seen: dict[str, Progress] = {}
        for group in groups:
            seen |= {name: processes[name].look(state, goal) for name in group}
            if not all(isinstance(progress, Live) for progress in seen.values()):
                break
        return together(seen, goal.ordered) if len(processes) > 1 else seen[WEB]

    def newest_created(self, settings: Settings) -> float:
        """When the newest deployment of any process was created, by the clock of ECS or CodeDeploy."""
        return max(each.newest_created() for each in self.of(settings).values())

    def running(self, settings: Settings, verified: Verified | None) -> dict[str, str]:
        """The task definitions with which processes run the verified image."""
        found = {}
        for name, each in self.of(settings).items():
            live = each.live_task_definition(each.describe())
            if verified is not None and live is not None and each.definitions.image(live) == str(verified.image):
                found[name] = live
        return found

    def live_image(self) -> Image | None:
        return self.web.live_image()

    # Restarts

    def restart(self, state: State) -> Progress | None:
        """Start new tasks of the running revisions, once, if a restart is requested and they are older. Returns None if
        there is nothing to do."""
        requested = state.restart_after
        if requested is None:
            return None
        processes = self.of(self.table.settings(state)).values()
        older = [each for each in processes if each.serving_since() <= requested]
        started = [each.restart(state) for each in older]
        if all(started):
            self.table.update(lambda s: replace(s, restart_after=None) if s.restart_after == requested else s)
        return Waiting("restarting the tasks") if older else None

    def older_than(self, at: float, settings: Settings) -> float | None:
        """When the newest deployment was created whose tasks are to be replaced, since they are from before `at`; None
        if all tasks are newer. A deployment in progress that is newer counts once it succeeds."""
        created = []
        for each in self.of(settings).values():
            newest, serving = each.newest_tasks(), each.serving_since()
            if serving < at:
                created.append(newest if newest < at else serving)
        return max(created, default=None)

    def restart_failed(self, requested: float, settings: Settings) -> bool:
        """Whether a deployment after that time failed, so that the previous tasks run on."""
        return any(each.restart_failed(requested) for each in self.of(settings).values())


def together(seen: Mapping[str, Progress], ordered: bool) -> Progress:
    """The progress of all processes as one."""
    broken = {name: each for name, each in seen.items() if isinstance(each, Broken)}
    at_fault = any(each.image_at_fault for each in broken.values())
    waiting = {name: each for name, each in seen.items() if isinstance(each, Waiting)}
    if broken and (not waiting or (ordered and at_fault)):
        return Broken(
            named(broken.items()),
            image_at_fault=at_fault,
            rolling_back=any(each.rolling_back for each in broken.values()),
        )
    if waiting:
        return Waiting(named([*waiting.items(), *broken.items()]))
    return Live(named(seen.items()))


def named(seen: Iterable[tuple[str, Progress]]) -> str:
    return "; ".join(f"{name}: {progress.message.rstrip('.')}" for name, progress in seen)
