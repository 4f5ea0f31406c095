"""The migration: a task that runs once with each image, before the image gets traffic.

Never two at once, and never again after it succeeded. The attempt is written before its task is started, and RunTask is
repeated only with the same client token, so whatever is cut off, one attempt has one task.
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/ECS_Idempotency.html
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from typing import Any

from botocore.exceptions import ClientError

from .contract import Claim, Image, Migration, MigrationTask, Settings, State, awsvpc
from .errors import NEW_RIGHTS_SECONDS, may_be_too_new, passes
from .reconcile import Broken, Live, Names, Progress, Waiting
from .state import StateTable
from .task_definitions import TaskDefinitions, short

LONGEST_RUN_SECONDS = 16 * 60
"""No run of the function lasts longer. After that, a run that was cut off does not start the task of an attempt."""
REPEATED_SECONDS = 30 * 60
"""How long RunTask is repeated with the same token, which ECS knows for an hour at least."""
SHOWN_SECONDS = 120
"""How long it may take until ECS shows a new task."""
ENDED = "EssentialContainerExited"
"""`stopCode` of a task that ended by itself."""
REMEMBERED = 100
"""Number of digests whose migration is remembered."""
LINES, LOG_LIMIT = 20, 2000
"""How many lines of the log are shown after a failure, and how many characters."""


class Migrations:
    def __init__(self, ecs: Any, logs: Any, table: StateTable, names: Names) -> None:
        self.ecs, self.logs, self.table, self.names = ecs, logs, table, names

    def needed(self, state: State, image: Image) -> bool:
        """Whether the migration has to run before this image is deployed."""
        return self.table.settings(state).migration is not None and image.digest not in state.migrated

    def look(self, state: State, claim: Claim) -> Progress:
        """Take one step of the migration of a release."""
        settings, attempt = self.table.settings(state), state.migration
        own = attempt is not None and attempt.action == claim.action
        # Also if the settings have no migration any more: nothing is deployed beside one.
        if attempt is not None and not attempt.ended:
            attempt = self.follow(state) or attempt
            if not own:
                return Waiting("waiting for the migration of an earlier release to end")
            if not attempt.ended:
                return Waiting(f"the migration is running as the task {short(attempt.task) or 'that is being started'}")
        if attempt is not None and own:
            return Live(attempt.reason) if attempt.succeeded else Broken(f"the migration failed: {attempt.reason}")
        if settings.migration is None or claim.image.digest in state.migrated:
            return Live("there is nothing to migrate")
        if others := self._running(settings.migration.family):
            return Waiting(f"waiting for the task {short(others[0])}, which migrates too, to end")
        self._intend(state, claim, settings, settings.migration)
        return Waiting("starting the migration")

    def follow(self, state: State) -> Migration | None:
        """Take one step of the last attempt, whoever made it, and record its end. Returns the attempt."""
        attempt, settings = state.migration, state.settings
        if attempt is None or attempt.ended or settings is None:
            return attempt
        after = self._step(attempt, settings.migration, self._is_of(state))
        if after == attempt:
            return attempt
        migrated = state.migrated
        if after.succeeded:
            migrated = [after.image.digest, *(each for each in migrated if each != after.image.digest)][:REMEMBERED]
        written = self.table.write(state, replace(state, migration=after, migrated=migrated))
        return after if written else attempt

    def _is_of(self, state: State) -> bool:
        """Whether the attempt is that of the release in progress, which may start its task."""
        claim, attempt = state.claim, state.migration
        return claim is not None and attempt is not None and claim.active and claim.action == attempt.action

    def _intend(self, state: State, claim: Claim, settings: Settings, task: MigrationTask) -> None:
        definitions = TaskDefinitions(self.ecs, task.family, self.names.container)
        attempt = Migration(
            image=claim.image,
            action=claim.action,
            intended=time.time(),
            definition=definitions.register(definitions.released(task.template, str(claim.image))),
            subnets=settings.subnets,
            security_groups=settings.security_groups,
            assign_public_ip=settings.assign_public_ip,
            capacity=task.capacity,
        )
        self.table.write(state, replace(state, migration=attempt))

    def _step(self, attempt: Migration, task: MigrationTask | None, own: bool) -> Migration:
        if attempt.task:
            return self._followed(attempt, task)
        age = time.time() - attempt.intended
        if own and age < REPEATED_SECONDS:
            return self._start(attempt)
        if found := self._started(attempt):
            return started(attempt, found)
        if age < LONGEST_RUN_SECONDS:
            return attempt  # a run that was cut off may still start it
        return ended(attempt, "whether its task was started is not known, and ECS shows none")

    def _start(self, attempt: Migration) -> Migration:
        network = awsvpc(attempt.subnets, attempt.security_groups, attempt.assign_public_ip)
        try:
            answer = self.ecs.run_task(
                cluster=self.names.cluster,
                taskDefinition=attempt.definition,
                **({"capacityProviderStrategy": attempt.capacity} if attempt.capacity else {"launchType": "FARGATE"}),
                networkConfiguration={"awsvpcConfiguration": network},
                clientToken=attempt.action,
                startedBy=attempt.action,
            )
        except self.ecs.exceptions.ConflictException:
            # A version of the function with other parameters has started it.
            found = self._started(attempt)
            return started(attempt, found) if found else attempt
        except ClientError as e:
            if passes(e):
                raise
            if time.time() < attempt.intended + NEW_RIGHTS_SECONDS and may_be_too_new(e):
                print(f"waiting for AWS: {e}")
                return attempt
            return ended(attempt, f"its task could not be started: {e}")
        if answer["tasks"]:
            return started(attempt, str(answer["tasks"][0]["taskArn"]))
        reasons = [f"{each.get('reason', '')} {each.get('detail', '')}".strip() for each in answer["failures"]]
        return ended(attempt, f"its task could not be started: {'; '.join(reasons)}")

    def _started(self, attempt: Migration) -> str | None:
        """The task of an attempt whose start was cut off, if ECS shows it."""
        family = short(attempt.definition).rpartition(":")[0]
        arns = [*self._running(family), *self._listed(family, "STOPPED")]
        if not arns:
            return None
        found = self.ecs.describe_tasks(cluster=self.names.cluster, tasks=arns[:100])["tasks"]
        return next((str(each["taskArn"]) for each in found if each.get("startedBy") == attempt.action), None)

    def _running(self, family: str) -> list[str]:
        return self._listed(family, "RUNNING")

    def _listed(self, family: str, status: str) -> list[str]:
        answer = self.ecs.list_tasks(cluster=self.names.cluster, family=family, desiredStatus=status)
        return [str(arn) for arn in answer["taskArns"]]

    def _followed(self, attempt: Migration, task: MigrationTask | None) -> Migration:
        found = self.ecs.describe_tasks(cluster=self.names.cluster, tasks=[attempt.task])["tasks"]
        since = attempt.started or attempt.intended
        if not found:
            if time.time() < since + SHOWN_SECONDS:
                return attempt
            return ended(
                attempt, f"its result is not known, as ECS does not show the task {short(attempt.task)} any more"
            )
        shown = found[0]
        if shown["lastStatus"] == "STOPPED":
            return self._ended(attempt, task, shown)
        late = task is not None and time.time() > since + task.timeout_minutes * 60
        if task is not None and late and shown.get("desiredStatus") != "STOPPED":
            reason = f"The migration takes longer than {task.timeout_minutes} minutes"
            self.ecs.stop_task(cluster=self.names.cluster, task=attempt.task, reason=reason)
        return attempt

    def _ended(self, attempt: Migration, task: MigrationTask | None, shown: dict[str, Any]) -> Migration:
        """What became of the task.

        https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Task.html
        """
        name = f"the task {short(attempt.task)}"
        container: dict[str, Any] = next((c for c in shown["containers"] if c["name"] == self.names.container), {})
        code = container.get("exitCode")
        # A task that was stopped gets SIGTERM, after which many programs exit with 0, whatever they have done.
        stopped = shown.get("stopCode", ENDED) not in (ENDED, "TaskFailedToStart")
        if code == 0 and not stopped:
            return replace(attempt, ended=True, succeeded=True, reason=f"migrated by {name}")
        why = ", ".join(filter(None, [shown.get("stoppedReason"), container.get("reason")])) or "ECS gave no reason"
        if code == 0:
            result = f"the result of {name} is not known: it was stopped, and exited with 0 ({why})"
        elif code is not None:
            result = f"{name} exited with {code} ({why})"
        elif shown.get("stopCode") == "TaskFailedToStart":
            result = f"{name} did not start ({why})"
        else:
            result = f"the result of {name} is not known ({why})"
        return ended(attempt, result + self._log(attempt, task))

    def _log(self, attempt: Migration, task: MigrationTask | None) -> str:
        if task is None:
            return ""
        stream = f"{task.log_prefix}/{self.names.container}/{short(attempt.task)}"
        events: list[dict[str, Any]] = []
        with suppress(ClientError):  # a task that did not start has no log
            answer = self.logs.get_log_events(
                logGroupName=task.log_group, logStreamName=stream, limit=LINES, startFromHead=False
            )
            events = answer["events"]
        text = "\n".join(str(event["message"]).rstrip() for event in events)[-LOG_LIMIT:]
        return f". The end of its log:\n{text}" if text else ""


def started(attempt: Migration, task: str) -> Migration:
    return replace(attempt, task=task, started=time.time())


def ended(attempt: Migration, reason: str) -> Migration:
    """An attempt that did not succeed, or of which nobody knows."""
    return replace(attempt, ended=True, reason=reason)
