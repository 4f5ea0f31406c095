"""Entry of the release function: a pipeline's actions, `pulumi up`, events, and somebody who wants new tasks."""

from __future__ import annotations

import os
import time
import traceback
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from typing import Any

from . import pipeline_job
from .clients import client, client_without_retries
from .codedeploy import CodeDeployDeployments
from .contract import (
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
from .errors import NEW_RIGHTS_SECONDS, may_be_too_new, passes
from .images import Images
from .pipeline_job import Answer, ReleaseJob, Standing, standing, verify_with_codepipeline
from .reconcile import Broken, Goal, Live, Names, Progress, Waiting
from .release import POLL_SECONDS, Release, sentence
from .stage_tests import StageTests
from .state import StateTable
from .tags import Tags

ANSWER_SECONDS = 20
"""Left of Lambda's time, to answer in."""


class Function:
    def __init__(self, variables: dict[str, str], name: str, until: float) -> None:
        """`until` is when this run must have answered."""
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
        self.service = self._service()
        self.tags = Tags(self.images, self.table, self.environment.environment)

    def _service(self) -> EcsDeployments | CodeDeployDeployments:
        ecs, scaling = client_without_retries("ecs"), client("application-autoscaling")
        group = self.environment.codedeploy_group
        of = ecs, scaling, self.table, self.images, self.names
        if not group:
            return EcsDeployments(*of, client("cloudwatch"))
        named = {"applicationName": group, "deploymentGroupName": group}
        return CodeDeployDeployments(*of, client_without_retries("codedeploy"), named)

    @cached_property
    def codepipeline(self) -> Any:
        return client("codepipeline")

    @cached_property
    def tests(self) -> StageTests:
        return StageTests(client("codebuild"), self.environment.environment, self.environment.service_url)

    # What should run

    def resolve(self, state: State) -> State:
        """The state, with the claim of an action that has ended written as failed: whoever sees it first writes it."""
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
        """The state, with the claim of a rollback that nobody follows any more written as failed, once what should run
        is there: until then the tag of the live image does not move."""
        claim = state.claim
        if claim is None or claim.phase is not Phase.ROLLING_BACK or not isinstance(progress, Live):
            return state
        if standing(self.codepipeline, claim)[0] is Standing.IN_PROGRESS:
            return state  # a run of its own follows it
        reason = f"{claim.reason} Rolled back: {progress.message}."
        failed = replace(claim, phase=Phase.FAILED, reason=reason, since=time.time())
        return self.table.write(state, replace(state, claim=failed), failed) or self.table.read()

    def goal(self, state: State) -> Goal:
        """What should run: the image of the claim that counts, else the last verified one, else nothing."""
        counts = state.claim is not None and state.claim.active
        image = state.claim.image if counts and state.claim else state.verified.image if state.verified else None
        return Goal(image, state.rollout_after)

    def goal_without_claim(self, state: State, after: float) -> Goal:
        """What should run where no claim counts: with the newest settings if somebody saw them live, else with any."""
        proven = state.settings is not None and state.live_settings == state.settings.sha256
        return Goal(state.verified.image if state.verified else None, after, any_settings=not proven)

    def adopt(self, state: State, untagged: bool = False) -> State | None:
        """The state with the image that was verified last by what else tells of it, for a table that is new, was lost,
        or was restored to an older state: nothing older than what runs may come of it.

        The tag `verified-<environment>` says that the live image was verified; one of a digest that the state never
        heard of is newer than the state. `untagged` takes the live image without it: a release that fails then goes
        back to what ran before.
        """
        if state.claim is not None and state.claim.phase not in (Phase.VERIFIED, Phase.FAILED):
            return None
        live = self.service.live_image()
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
        """Make the service what the settings say, and follow it to its end. Raises RuntimeError with ECS's reason.

        A service that is not there when Lambda's time is over is an error of the last part only.
        """
        began, accepted = time.time(), event.part > 1
        while True:
            try:
                if not accepted:
                    self._accept(event.settings)
                    accepted = True
                    self.tags.align(self.resolve(self.table.read()))
                progress = self._roll_out(event.settings)
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
        """Store the settings, if they are those that Pulumi wrote last: the hash in the function's configuration says
        so, which nobody changes who may only invoke it. A run that stalled finds another hash there."""
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
            after = replace(state, settings=known, rollout_after=self.service.newest_created())
            after = self.adopt(after) or after
            if after == state or self.table.write(state, after) is not None:
                return

    def _roll_out(self, settings: dict[str, Any]) -> Progress:
        state = self.resolve(self.table.read())
        if state.settings != decode(Settings, settings):
            self._accept(settings)  # the table was restored meanwhile, or it raises
            state = self.resolve(self.table.read())
        claim = state.claim if state.claim is not None and state.claim.active else None
        if claim is not None and claim.stage:
            # A deployment of ours in between would bring an image to tasks that no release follows yet; the last
            # action of the stage brings the newest settings.
            return Waiting(f"waiting for CodePipeline's own action to deploy {claim.image}")
        goal = self.goal(state)
        progress = self.service.look(state, goal)
        if isinstance(progress, Live):
            self.tags.align(self.finish(state, progress))
            if goal.image is not None and state.settings is not None:
                live = state.settings.sha256
                self.table.update(lambda s: replace(s, live_settings=live) if s.settings == state.settings else s)
            if claim is not None:
                return Live(f"{progress.message}; its release is not verified yet")
        if isinstance(progress, Broken) and progress.image_at_fault and claim is not None:
            # The settings may be good: they are tried with the last verified image once the release has failed.
            return Waiting(f"waiting for the release in progress to fail: {progress.message}")
        return progress

    # Events, and by hand

    def settle(self) -> None:
        """See to it that what should run is there, when nobody else does: a claim that counts has a run of its own.

        Deploys no settings that failed, and starts nothing again that failed once.
        """
        adopted = False
        while True:
            try:
                state = self.resolve(self.table.read())
                if not adopted and (known := self.adopt(state)) is not None:
                    state = self.table.write(state, known) or self.table.read()
                adopted = True
                if state.settings is None or (state.claim is not None and state.claim.active):
                    return
                if state.claim is None and state.verified is None:
                    return
                self.tags.align(state)
                progress = self.service.look(state, self.goal_without_claim(state, after=0))
                if (finished := self.finish(state, progress)) != state:
                    self.tags.align(finished)
            except Exception as e:
                if not passes(e) and not may_be_too_new(e):
                    raise
                progress = Waiting(f"waiting for AWS: {e}")
            print(progress.message)
            if not isinstance(progress, Waiting):
                return
            if time.time() + POLL_SECONDS > self.until:
                raise RuntimeError(f"{self.names.service} did not reach a steady state in time: {progress.message}")
            time.sleep(POLL_SECONDS)

    def restart(self, before: str) -> str:
        """Start new tasks of what runs, if the running ones are older than an ISO time.

        Secrets are read when a task starts, so this is how one that was rotated arrives.
        """
        at = datetime.fromisoformat(before).timestamp()
        state = self.resolve(self.table.read())
        if state.claim is not None and state.claim.active:
            return "a release is in progress, whose tasks are new"
        if state.verified is None:
            return "nothing is released, so there are no tasks to restart"
        if not self.service.restart(state, at):
            return f"the tasks are newer than {before}"
        while True:
            time.sleep(POLL_SECONDS)
            state = self.resolve(self.table.read())
            progress = self.service.look(state, self.goal_without_claim(state, at - 1))
            print(progress.message)
            if isinstance(progress, Live):
                return progress.message
            if isinstance(progress, Broken) or time.time() + POLL_SECONDS > self.until:
                raise RuntimeError(f"{self.names.service} was not restarted: {progress.message}")

    # The pipeline's actions

    def act(self, job: dict[str, Any]) -> None:
        """One run of an action: begin or go on, and tell CodePipeline how it stands."""
        # An event that CodePipeline does not confirm is raised: Lambda sends a genuine one again, when the history
        # shows its action, or a new right has arrived.
        release_job = verify_with_codepipeline(self.codepipeline, job, self.name)
        answer = Answer(self.codepipeline, job["id"])
        release = Release(self, release_job)
        try:
            match release_job.step:
                case Step.INSPECT:
                    self._inspect(release, answer)
                case Step.PREPARE:
                    self._prepare(release, release_job, answer)
                case Step.DEPLOY:
                    release.run()
                case other:
                    raise ValueError(f"this function has no step {other!r}")
        except Exception as e:
            if passes(e):
                raise  # Lambda sends the event again
            # Without an answer the pipeline would wait until it times out.
            traceback.print_exc()
            answer.failed(f"the release stopped: {sentence(str(e))} Fix the cause, then retry the stage.")
            if self.service.deployed:
                with suppress(Exception):
                    self.settle()

    def _inspect(self, release: Release, answer: Answer) -> None:
        """What is to be released, and instead of what: for the approval that comes next."""
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

    def _prepare(self, release: Release, job: ReleaseJob, answer: Answer) -> None:
        """The stage claims the image, which an action of CodePipeline deploys next. CodeDeploy's gets the files for it,
        made of the newest settings."""
        if job.output is not None and not isinstance(self.service, CodeDeployDeployments):
            raise RuntimeError("CodeDeploy does not deploy this service (any more); run `pulumi up`")
        state = release.claim(stage=job.stage)
        if state is None or state.claim is None:
            raise RuntimeError("a release that began later took the place of this one")
        if isinstance(self.service, CodeDeployDeployments):
            pipeline_job.put(job, self.service.artifact(self.table.settings(state), state.claim.image))
        answer.succeeded(f"{self.environment.environment}: {state.claim.image} is ready to be deployed", {})


def handler(event: dict[str, Any], context: Any) -> str | None:
    """Lambda's entry. The event of a pipeline holds credentials: it is never printed."""
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
    if "restart" in event:
        return function.restart(event["restart"]["before"])
    raise ValueError(
        f"this function takes a job of CodePipeline, a rollout, an event or a restart, got {sorted(event)}"
    )
