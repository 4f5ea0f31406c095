"""Entry point of the release function, for pipeline actions, `pulumi up`, events, and manual restarts."""

from __future__ import annotations

import os
import time
import traceback
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from . import pipeline_job
from .clients import client, client_without_retries
from .codedeploy import CodeDeployDeployments
from .contract import (
    Claim,
    Exported,
    FunctionEnvironment,
    Phase,
    Rollout,
    Settings,
    State,
    Step,
    Verified,
    decode,
    settings_text,
    sha256,
)
from .ecs import EcsDeployments
from .errors import NEW_RIGHTS_SECONDS, advice, may_be_too_new, passes, sentence
from .images import Images
from .jobs import Jobs
from .migrations import Migrations
from .pipeline_job import Answer, ReleaseJob, Standing, standing, verify_with_codepipeline
from .processes import Processes
from .reconcile import Broken, Goal, Live, Names, Progress, Waiting
from .release import POLL_SECONDS, Release
from .stage_tests import StageTests
from .state import StateTable
from .tags import Tags

ANSWER_SECONDS = 20
"""Seconds of Lambda's time reserved for the response."""


class Function:
    def __init__(self, variables: dict[str, str], name: str, until: float) -> None:
        """`until` is the time by which this run must respond."""
        self.environment = FunctionEnvironment.read(variables)
        self.name, self.until = name, until
        self.names = Names(
            cluster=self.environment.cluster,
            service=self.environment.service,
            family=self.environment.family,
            container=self.environment.container,
        )
        self.table = StateTable(client("dynamodb"), self.environment.table)
        self.images = Images(client("ecr"), self.environment.repository_url.partition("/")[2])
        self.ecs, self.scaling = client_without_retries("ecs"), client("application-autoscaling")
        self.processes = Processes(self.table, self._web(), self._by_ecs)
        self.tags = Tags(self.images, self.table, self.environment.environment)
        self.jobs = Jobs(self.ecs, self.table, self.names.container)

    def _web(self) -> EcsDeployments | CodeDeployDeployments:
        group = self.environment.codedeploy_group
        if not group:
            return self._by_ecs(self.names)
        named = {"applicationName": group, "deploymentGroupName": group}
        codedeploy = client_without_retries("codedeploy")
        return CodeDeployDeployments(self.ecs, self.scaling, self.table, self.images, self.names, codedeploy, named)

    def _by_ecs(self, names: Names) -> EcsDeployments:
        return EcsDeployments(self.ecs, self.scaling, self.table, self.images, names, client("cloudwatch"))

    @cached_property
    def migrations(self) -> Migrations:
        return Migrations(self.ecs, client("logs"), self.table, self.names)

    @cached_property
    def codepipeline(self) -> Any:
        return client("codepipeline")

    @cached_property
    def tests(self) -> StageTests:
        return StageTests(client("codebuild"), self.environment.environment, self.environment.service_url)

    # The image that should run

    def resolve(self, state: State) -> State:
        """The state, after recording a claim as failed if its action has ended. The first run that notices it does
        this."""
        claim = state.claim
        if claim is None or not claim.active:
            return state
        how, why = standing(self.codepipeline, claim)
        if how is Standing.IN_PROGRESS:
            return state
        failed = replace(claim, phase=Phase.FAILED, reason=f"The release did not end: {why}.", since=time.time())
        print(f"the release of {claim.image} by the execution {claim.execution} did not end: {why}")
        return self.table.write(state, replace(state, claim=failed), failed) or self.resolve(self.table.read())

    def finish(self, state: State, progress: Progress) -> State:
        """The state, after recording a claim as failed if its rollback has no run of its own any more and is complete.
        Until then, the tag of the live image does not move."""
        claim = state.claim
        if claim is None or claim.phase is not Phase.ROLLING_BACK or not isinstance(progress, Live):
            return state
        if standing(self.codepipeline, claim)[0] is Standing.IN_PROGRESS:
            return state  # it has a run of its own
        reason = f"{claim.reason} Rolled back: {progress.message}."
        failed = replace(claim, phase=Phase.FAILED, reason=reason, since=time.time())
        return self.table.write(state, replace(state, claim=failed), failed) or self.table.read()

    def goal(self, state: State) -> Goal:
        """The goal: the image of the claim that deploys; without one, the last verified image; without either, none."""
        if state.claim is not None and state.claim.deploys:
            return Goal(state.claim.image, state.rollout_after, ordered=True)
        return Goal(state.verified.image if state.verified else None, state.rollout_after)

    def goal_without_claim(self, state: State, after: float) -> Goal:
        """The goal without an active claim: with the newest settings if they have been seen live, else with any."""
        proven = state.settings is not None and state.live_settings == state.settings.sha256
        if state.verified is None:
            return Goal(None, after)
        return Goal(state.verified.image, after, any_settings=not proven, processes=state.verified.processes)

    def align(self, state: State) -> list[str]:
        """Bring the tags of images and the revisions of jobs in line with what is verified. Returns the problems."""
        return [*self.tags.align(state), *self.jobs.align(state)]

    def adopt(self, state: State, untagged: bool = False) -> State | None:
        """The state with the last verified image recovered from other sources, if the table is new, was lost, or was
        restored to an older state. The recovered image is never older than the running one.

        The tag `verified-<environment>` shows that the live image was verified. If it points to a digest that the state
        does not know, the tag is newer than the state. `untagged` accepts the live image without the tag, so that a
        release that fails then goes back to it.
        """
        if state.claim is not None and state.claim.phase not in (Phase.VERIFIED, Phase.FAILED):
            return None
        live = self.processes.live_image()
        if live is None or (state.verified is not None and live == state.verified.image):
            return None
        newest = f"verified-{self.environment.environment}"
        ring = {f"{newest}-{slot}": slot for slot in range(self.environment.keep_verified)}
        found = self.images.tagged([newest, *ring])
        tagged = found.get(newest)
        known = [digest for digest, _ in state.verified.slots] if state.verified else []
        if tagged and known and self.environment.keep_verified > 1 and tagged not in known:
            live = replace(live, digest=tagged)
        elif tagged != live.digest and not untagged:
            return None
        slots = sorted(
            ((found[tag], slot) for tag, slot in ring.items() if tag in found), key=lambda s: s[0] != live.digest
        )
        if not slots or slots[0][0] != live.digest:
            free = next((slot for tag, slot in ring.items() if tag not in found), 0)
            slots = [(live.digest, free), *(each for each in slots if each[1] != free)]
        commit = self.images.revision(live.digest, "")
        print(f"the table {self.environment.table} did not know of {live}, which counts as verified")
        return replace(state, verified=Verified(live, commit, "", slots))

    # `pulumi up`

    def rollout(self, event: Rollout) -> str:
        """Apply the settings to the service, and wait for the result. Raises RuntimeError with the reason from ECS.

        If the service is not steady when Lambda's time is over, only the last part raises an error.
        """
        began, accepted = time.time(), event.part > 1
        while True:
            try:
                if not accepted:
                    self._accept(event.settings)
                    accepted = True
                    self.align(self.resolve(self.table.read()))
                progress = self._roll_out(event.settings)
                if isinstance(progress, Live):
                    progress = self._with_jobs(progress, began)
            except Exception as e:
                recent = time.time() < began + NEW_RIGHTS_SECONDS
                if not passes(e) and not (recent and may_be_too_new(e)):
                    raise
                progress = Waiting(f"waiting for AWS: {e}")
            print(progress.message)
            if isinstance(progress, Live):
                return progress.message
            if isinstance(progress, Broken) and not progress.rolling_back:
                raise RuntimeError(f"{self.names.service} does not run with the new settings: {progress.message}")
            if time.time() + POLL_SECONDS > self.until:
                if isinstance(progress, Broken) or event.part == event.parts:
                    raise RuntimeError(f"{self.names.service} did not reach a steady state in time: {progress.message}")
                return progress.message
            time.sleep(POLL_SECONDS)

    def _accept(self, settings: dict[str, Any]) -> None:
        """Store the settings if they are those that Pulumi wrote last. The hash in the function's configuration shows
        this, and a principal that can only invoke the function cannot change it. A stalled run finds another hash."""
        known = decode(Settings, settings)
        while True:
            state = self.table.read()
            found = client("lambda").get_function_configuration(FunctionName=self.name)
            written = found.get("Environment", {}).get("Variables", {}).get("SETTINGS_SHA256")
            if sha256(settings_text(settings)) != written:
                raise RuntimeError(
                    f"refused: these are not the settings that Pulumi wrote last for {self.names.service}; another "
                    "`pulumi up` began meanwhile, or somebody else invoked the function. Nothing was changed"
                )
            after = replace(state, settings=known, rollout_after=self.processes.newest_created(known))
            after = self.adopt(after) or after
            if after == state or self.table.write(state, after) is not None:
                return

    def _roll_out(self, settings: dict[str, Any]) -> Progress:
        state = self.resolve(self.table.read())
        if state.settings != decode(Settings, settings):
            self._accept(settings)  # the table was restored in the meantime; otherwise this raises
            state = self.resolve(self.table.read())
        claim = state.claim if state.claim is not None and state.claim.active else None
        if claim is not None and claim.stage:
            # A deployment by the function would give the image to tasks that no release follows yet. The last action of
            # the stage deploys the newest settings.
            return Waiting(f"waiting for CodePipeline's own action to deploy {claim.image}")
        goal = self.goal(state)
        progress = self.processes.look(state, goal)
        if isinstance(progress, Live):
            self.align(self.finish(state, progress))
            if goal.ordered and (new := added(state)):
                # If the release failed, they would have no tasks, and nobody would hear of it.
                names = ", ".join(new)
                return Waiting(f"waiting for the release in progress to end: no verified image has run as {names}")
            if goal.image is not None and state.settings is not None:
                self.table.update(lambda s: seen_live(s, state, goal))
            if goal.ordered:
                return Live(f"{progress.message}; its release is not verified yet")
        if isinstance(progress, Broken) and progress.image_at_fault and goal.ordered:
            # The settings may be correct: they are deployed with the last verified image after the release has failed.
            return Waiting(f"waiting for the release in progress to fail: {progress.message}")
        return progress

    def _with_jobs(self, live: Live, began: float) -> Progress:
        """Jobs get the settings too, before `pulumi up` ends."""
        problems = self.jobs.align(self.table.read())
        if not problems:
            return live
        if time.time() > began + NEW_RIGHTS_SECONDS:
            raise RuntimeError(f"{self.names.service} runs with the new settings, but {'; '.join(problems)}")
        return Waiting("; ".join(problems))

    # Events and manual invocations

    def settle(self) -> Progress | None:
        """Bring the service to its goal if nobody else does: an active claim has a run of its own. Then replace its
        tasks, if a restart was requested. Returns None if there is nothing to do.

        Does not deploy settings that failed, and does not retry a deployment that failed.
        """
        adopted = False
        while True:
            try:
                state = self.resolve(self.table.read())
                if not adopted and (known := self.adopt(state)) is not None:
                    state = self.table.write(state, known) or self.table.read()
                adopted = True
                if state.settings is None or (state.claim is not None and state.claim.active):
                    return None
                if state.claim is None and state.verified is None:
                    return None
                self.align(state)
                if self.migrations.follow(state) != state.migration:
                    continue  # the state has changed
                goal = self.goal_without_claim(state, after=state.restart_after or 0)
                progress = self.processes.look(state, goal)
                if (finished := self.finish(state, progress)) != state:
                    self.align(finished)
                if isinstance(progress, Live) and goal.image is not None:
                    progress = self.processes.restart(state) or progress
            except Exception as e:
                if not passes(e) and not may_be_too_new(e):
                    raise
                progress = Waiting(f"waiting for AWS: {e}")
            print(progress.message)
            if not isinstance(progress, Waiting):
                return progress
            if time.time() + POLL_SECONDS > self.until:
                raise RuntimeError(f"{self.names.service} did not reach a steady state in time: {progress.message}")
            time.sleep(POLL_SECONDS)

    def restart(self, before: str) -> str:
        """Start new tasks of the running image if the current ones were deployed before an ISO 8601 time.

        Secrets are read when a task starts, so this applies a rotated secret. During a release, the request is kept:
        whoever sees the release end starts the tasks, if the release's own are older.
        """
        at = datetime.fromisoformat(before).timestamp()
        state = self.resolve(self.table.read())
        under_way = state.claim is not None and state.claim.active
        if state.verified is None and not under_way:
            return "nothing is released, so there are no tasks to restart"
        # A deployment from before that time would not count when the event is delivered again.
        time.sleep(min(max(at - time.time(), 0), POLL_SECONDS))
        settings = self.table.settings(state)
        after = self.processes.older_than(at, settings)
        if after is None:
            return f"the tasks are newer than {before}"
        self.table.update(lambda state: replace(state, restart_after=max(after, state.restart_after or 0)))
        progress = self.settle()
        if progress is None:
            return "a release is in progress; its tasks are replaced when it has ended, if they are older"
        if isinstance(progress, Broken) or self.processes.restart_failed(after, settings):
            failed = "the new tasks did not start, and the previous ones run on: "
            raise RuntimeError(f"{self.names.service} was not restarted: {failed}{progress.message}")
        return progress.message

    def restart_if_requested(self) -> None:
        """After a release: replace its tasks if a restart was requested meanwhile. The release stays what it is."""
        try:
            if self.table.read().restart_after is not None:
                self.settle()
        except Exception:
            # The next event or release sees the request too.
            traceback.print_exc()

    # The pipeline's actions

    def act(self, job: dict[str, Any]) -> None:
        """One run of an action: start or continue, and report the result to CodePipeline."""
        # An unconfirmed event raises an error. Lambda retries a genuine one, when the history shows its action or a new
        # permission has propagated.
        release_job = verify_with_codepipeline(self.codepipeline, job, self.name)
        answer = Answer(self.codepipeline, job["id"])
        try:
            match release_job.step:
                case Step.INSPECT:
                    self._inspect(Release(self, release_job), answer)
                case Step.PREPARE:
                    self._prepare(release_job, answer)
                case Step.DEPLOY:
                    Release(self, release_job).run()
                case other:
                    raise ValueError(f"this function has no step {other!r}")
        except Exception as e:
            if passes(e):
                raise  # Lambda retries the event
            # Without a response, the pipeline would wait until the action times out.
            traceback.print_exc()
            answer.failed(f"the release stopped: {sentence(str(e))} {advice(e)}")
            if self.processes.deployed:
                with suppress(Exception):
                    self.settle()

    def _inspect(self, release: Release, answer: Answer) -> None:
        """The image to be released and the one it replaces, for the approval that follows."""
        image, commit = release.requested_image()
        verified = self.table.read().verified
        live, live_commit = (verified.image.digest, verified.commit or "none") if verified else ("none",) * 2
        answer.succeeded(
            f"{self.environment.environment}: {image} (commit {commit}) instead of {live} (commit {live_commit})",
            {
                Exported.IMAGE_DIGEST: image.digest,
                Exported.COMMIT_ID: commit,
                Exported.LIVE_DIGEST: live,
                Exported.LIVE_COMMIT_ID: live_commit,
            },
        )

    def _prepare(self, job: ReleaseJob, answer: Answer) -> None:
        """The stage claims the image, and migrates; CodePipeline's own action deploys it next. For CodeDeploy, the
        files for that action are created from the newest settings."""
        web = self.processes.web
        if job.output is not None and not isinstance(web, CodeDeployDeployments):
            raise RuntimeError("CodeDeploy does not deploy this service; run `pulumi up`")

        def prepared(state: State, claim: Claim) -> None:
            if isinstance(web, CodeDeployDeployments):
                pipeline_job.put(job, web.artifact(self.table.settings(state), claim.image))
            answer.succeeded(f"{self.environment.environment}: {claim.image} is ready to be deployed", {})

        Release(self, job, prepared).run()


def added(state: State) -> list[str]:
    """The processes that no verified image has run as."""
    if state.settings is None or state.verified is None:
        return []
    return [each.name for each in state.settings.processes if each.name not in state.verified.processes]


def seen_live(now: State, before: State, goal: Goal) -> State:
    """The state after `pulumi up` saw the goal live with the settings of `before`, if they are still the newest."""
    if before.settings is None or now.settings != before.settings:
        return now
    verified = now.verified
    if verified is not None and verified.image == goal.image and not goal.ordered:
        verified = replace(verified, processes=[process.name for process in before.settings.processes])
    return replace(now, live_settings=before.settings.sha256, verified=verified)


def handler(event: dict[str, Any], context: Any) -> str | None:
    """Lambda's entry point. A pipeline's event contains credentials, so it is never logged."""
    until = time.time() + context.get_remaining_time_in_millis() / 1000 - ANSWER_SECONDS
    function = Function(dict(os.environ), context.function_name, until)
    if "CodePipeline.job" in event:
        function.act(event["CodePipeline.job"])
        return None
    if "rollout" in event:
        rollout = {**event, "settings": event["rollout"]["settings"]}
        return function.rollout(decode(Rollout, rollout))
    if event.get("source") in ("aws.ecs", "aws.codepipeline"):
        function.settle()
        return None
    if event.get("source") in ("aws.secretsmanager", "aws.ssm"):
        # A value of a secret or parameter has changed. The time of an event has no fractions of a second.
        return function.restart((datetime.fromisoformat(event["time"]) + timedelta(seconds=1)).isoformat())
    if "restart" in event:
        return function.restart(event["restart"]["before"])
    raise ValueError(
        f"this function takes a job of CodePipeline, a rollout, an event or a restart, got {sorted(event)}"
    )
