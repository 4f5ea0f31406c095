"""The revisions of scheduled jobs, which run the last verified image and nothing else."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from .contract import JobTask, State
from .errors import passes
from .state import StateTable
from .task_definitions import TaskDefinitions


class Jobs:
    def __init__(self, ecs: Any, table: StateTable, container: str) -> None:
        self.ecs, self.table, self.container = ecs, table, container

    def align(self, state: State) -> list[str]:
        """Give each job a revision with the last verified image and the newest settings, and repeat if the state
        changed in the meantime.

        Returns the problems. They do not fail the release, and the next run tries again. Raises temporary errors.
        """
        problems: list[str] = []
        for _ in range(3):
            settings, verified = state.settings, state.verified
            if settings is None or verified is None or not settings.jobs:
                return []
            problems = [p for job in settings.jobs if (p := self._align(job, str(verified.image)))]
            now = self.table.read()  # a run that stalled may have written an older revision
            if (now.settings, now.verified) == (settings, verified):
                break
            state = now
        for problem in problems:
            print(problem)
        return problems

    def _align(self, job: JobTask, image: str) -> str | None:
        definitions = TaskDefinitions(self.ecs, job.family, self.container)
        try:
            definition = definitions.released(job.template, image)
            current = self.table.job(job.name)
            if not current or not definitions.same(current, definition):
                self.table.set_job(job.name, definitions.register(definition))
        except (ClientError, RuntimeError) as e:
            if passes(e):
                raise
            return f"the job {job.name} does not run {image} yet: {e}"
        return None
