"""One release: the phases that it goes through, and what moves it from one to the next.

migrating -> deploying -> testing -> verified
    |            |           |
    |            +-----------+-> rolling back -> failed
    +------------------------------------------> failed
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from . import pipeline_job
from .contract import WEB, Claim, Exported, Image, Phase, State, Verified
from .errors import NEW_RIGHTS_SECONDS, advice, may_be_too_new, passes, sentence
from .pipeline_job import Answer, ReleaseJob, Standing, standing, started_by
from .reconcile import Broken, Goal, Live, Progress
from .stage_tests import Outcome
from .state import remember

if TYPE_CHECKING:
    from .handler import Function

POLL_SECONDS = 5
RUN_SECONDS = 50
"""How long one run lasts before CodePipeline starts the next one."""
DEADLINES = 3
"""Number of deployment deadlines that a phase may take, since changed settings start another deployment."""
SHORTEST_MINUTES = 30
"""How long a migration may take at least until its release fails, since it may wait for an earlier one."""
QUEUE_SECONDS = 2 * 3600
"""How long tests may wait because of CodeBuild's quota of concurrent builds."""
REASON_LIMIT = 3000


class Seen(StrEnum):
    """An observation that ends the current phase of a release."""

    MIGRATED = "the migration succeeded, or there is nothing to migrate"
    RUNS = "the image that should run is running"
    BROKEN = "its migration or deployment failed"
    LATE = "it takes longer than three deadlines"
    PASSED = "the tests passed, or there are none"
    TESTS_FAILED = "the tests failed"
    ENDED = "its action is no longer in progress"
    ERROR = "a permanent error"


TRANSITIONS: Mapping[tuple[Phase, Seen], Phase] = {
    (Phase.MIGRATING, Seen.MIGRATED): Phase.DEPLOYING,
    (Phase.MIGRATING, Seen.BROKEN): Phase.FAILED,
    (Phase.MIGRATING, Seen.LATE): Phase.FAILED,
    (Phase.MIGRATING, Seen.ENDED): Phase.FAILED,
    (Phase.MIGRATING, Seen.ERROR): Phase.FAILED,
    (Phase.DEPLOYING, Seen.RUNS): Phase.TESTING,
    (Phase.DEPLOYING, Seen.BROKEN): Phase.ROLLING_BACK,
    (Phase.DEPLOYING, Seen.LATE): Phase.ROLLING_BACK,
    (Phase.DEPLOYING, Seen.ERROR): Phase.ROLLING_BACK,
    (Phase.TESTING, Seen.PASSED): Phase.VERIFIED,
    (Phase.TESTING, Seen.TESTS_FAILED): Phase.ROLLING_BACK,
    (Phase.TESTING, Seen.BROKEN): Phase.ROLLING_BACK,
    (Phase.TESTING, Seen.ENDED): Phase.ROLLING_BACK,
    (Phase.TESTING, Seen.ERROR): Phase.ROLLING_BACK,
    (Phase.ROLLING_BACK, Seen.RUNS): Phase.FAILED,
    (Phase.ROLLING_BACK, Seen.BROKEN): Phase.FAILED,
    (Phase.ROLLING_BACK, Seen.LATE): Phase.FAILED,
    (Phase.ROLLING_BACK, Seen.ERROR): Phase.FAILED,
}
"""The next phase. Verified and failed are final; other combinations stay in the phase."""


@dataclass(frozen=True)
class Look:
    """The result of one look: an observation that ends the phase, or None, and a message."""

    seen: Seen | None
    message: str


class Release:
    """One run of the deploy action, within Lambda's time limit."""

    def __init__(
        self, function: Function, job: ReleaseJob, prepared: Callable[[State, Claim], None] | None = None
    ) -> None:
        """`prepared` is called instead of deploying, if other actions of the stage deploy the image."""
        self.function, self.job, self.prepared = function, job, prepared
        self.table, self.processes = function.table, function.processes
        self.answer = Answer(function.codepipeline, job.id)

    # Claims

    def requested_image(self) -> tuple[Image, str]:
        """The image that the action names, which must exist, and what it was built from."""
        names = self.function.names
        image = pipeline_job.image(
            self.job, names.container, self.function.images, self.function.environment.repository_url
        )
        self.function.images.require(image.digest)
        return image, self.function.images.revision(image.digest, self.job.parameters.commit)

    def claim(self) -> State | None:
        """The state with this action's claim. Returns None if an action that began later has a claim, which ends this
        one."""
        requested: tuple[Image, str] | None = None
        while True:
            state = self.table.read()
            found, job = state.claim, self.job
            if found is not None and found.action == job.action:
                return state
            if found is not None and found.began > job.began:
                return None
            requested = requested or self.requested_image()
            image, commit = requested
            settings = self.table.settings(state)
            ended: list[Claim] = []
            state = self._adopted(state)
            verified = state.verified
            running = self.processes.running(settings, verified)
            claim = Claim(
                image=image,
                commit=commit,
                execution=job.parameters.execution,
                pipeline=job.parameters.pipeline,
                action=job.action,
                began=job.began,
                phase=Phase.MIGRATING if self.function.migrations.needed(state, image) else Phase.DEPLOYING,
                since=time.time(),
                after=self.processes.newest_created(settings),
                fallback=running.pop(WEB, ""),
                fallbacks=running,
                stage=self.job.stage if self.prepared else "",
                who=self._who(),
                replaced=verified.image.digest if verified else "",
            )
            if found is not None and found.active:
                if found.stage and (found.execution, found.image) == (claim.execution, image):
                    # The previous action of this stage claimed the image; this action continues the release.
                    kept = {name: getattr(found, name) for name in ("after", "fallback", "fallbacks", "replaced")}
                    claim = replace(claim, **kept)
                else:
                    why = f"The execution {claim.execution} replaced it."
                    ended = [replace(found, phase=Phase.FAILED, reason=why)]
            written = self.table.write(state, replace(state, claim=claim), *ended)
            if written is not None:
                return written

    def _adopted(self, state: State) -> State:
        """A lost or restored table does not know what runs, and the release must not lose it."""
        unknown = state.claim is None and state.verified is None
        return self.function.adopt(state, untagged=unknown) or state

    def _who(self) -> str:
        with suppress(ClientError):  # nothing depends on it
            return started_by(self.function.codepipeline, self.job.parameters)
        return ""

    # The course of a release

    def run(self) -> None:
        """Continue the release, and respond to CodePipeline when it is prepared, verified or failed, or when another
        run must continue."""
        until = time.time() + RUN_SECONDS
        aligned = False
        while True:
            try:
                state = self._claimed()
                if state is None:
                    return
                if not aligned:
                    self.function.align(state)
                    aligned = True
                if self._step(state, until):
                    return
            except Exception as e:
                if not passes(e):
                    raise
                print(f"waiting for AWS: {e}")
                if time.time() > until:
                    self._continue(f"waiting for AWS: {e}")
                    return
            time.sleep(POLL_SECONDS)

    def _claimed(self) -> State | None:
        """The state with this action's claim; None if the job was answered instead."""
        try:
            state = self.claim()
        except Exception as e:
            recent = time.time() < self.job.began + NEW_RIGHTS_SECONDS
            if passes(e) or (recent and may_be_too_new(e)):
                if not self.answer.continues(self.job.action, f"waiting for AWS: {e}"):
                    print("the job is over")
                return None
            traceback.print_exc()
            self._leave(f"the release could not begin: {sentence(str(e))} {advice(e)}")
            return None
        if state is None:
            self._leave(self._replaced(self.table.read()))
        return state

    def _step(self, state: State, until: float) -> bool:
        """Look once, and act on the result. Returns whether the job was answered."""
        claim = state.claim
        if claim is None or claim.action != self.job.action:
            self._leave(self._replaced(state))
            return True
        if claim.phase in (Phase.VERIFIED, Phase.FAILED):
            self._end(state, claim)
            return True
        if self.prepared and claim.deploys:
            self.prepared(state, claim)
            return True
        look = self._look(state, claim)
        print(f"{claim.phase}: {look.message}")
        to = TRANSITIONS.get((claim.phase, look.seen)) if look.seen else None
        if to is not None:
            return self._step(self._enter(state, claim, to, look), until)
        if time.time() + POLL_SECONDS > until:
            self._continue(look.message)
            return True
        return False

    def _look(self, state: State, claim: Claim) -> Look:
        """Take one step, and return what was observed. Temporary errors are ignored; others end the phase."""
        try:
            match claim.phase:
                case Phase.MIGRATING:
                    return self._migrated(state, claim)
                case Phase.DEPLOYING:
                    return self._deployed(self.processes.look(state, released(claim)), claim, state)
                case Phase.TESTING:
                    return self._tested(state, claim)
                case _:
                    fallbacks = {WEB: claim.fallback, **claim.fallbacks}
                    goal = replace(self.function.goal_without_claim(state, claim.after), fallbacks=fallbacks)
                    return self._deployed(self.processes.look(state, goal), claim, state)
        except Exception as e:
            recent = time.time() < claim.since + NEW_RIGHTS_SECONDS
            if passes(e) or (recent and may_be_too_new(e)):
                return self._late(claim, state, f"waiting for AWS: {e}")
            traceback.print_exc()
            return Look(Seen.ERROR, f"the release stopped: {sentence(str(e))} {advice(e)}")

    def _migrated(self, state: State, claim: Claim) -> Look:
        progress = self.function.migrations.look(state, claim)
        if isinstance(progress, Broken):
            return Look(Seen.BROKEN, progress.message)
        if not isinstance(progress, Live):
            return self._late(claim, state, progress.message)
        if standing(self.function.codepipeline, claim)[0] is Standing.ENDED:
            return Look(Seen.ENDED, "its action was stopped during the migration")
        return Look(Seen.MIGRATED, progress.message)

    def _deployed(self, progress: Progress, claim: Claim, state: State) -> Look:
        if isinstance(progress, Live):
            return Look(Seen.RUNS, progress.message)
        if isinstance(progress, Broken):
            return Look(Seen.BROKEN, progress.message)
        return self._late(claim, state, progress.message)

    def _late(self, claim: Claim, state: State, message: str) -> Look:
        settings = self.table.settings(state)
        minutes, what = DEADLINES * settings.total_minutes, "the deployment did not reach a steady state"
        if claim.phase is Phase.MIGRATING:
            timeout = settings.migration.timeout_minutes if settings.migration else 0
            minutes, what = max(DEADLINES * timeout, SHORTEST_MINUTES), "the migration did not end"
        if claim.phase is not Phase.TESTING and time.time() > claim.since + minutes * 60:
            return Look(Seen.LATE, f"{what} within {minutes} minutes: {message}.")
        return Look(None, message)

    def _tested(self, state: State, claim: Claim) -> Look:
        """The image is live: keep it live, and check its tests.

        Settings that fail in the meantime do not count against the release; `pulumi up` reports them.
        """
        progress = self.processes.look(state, released(claim))
        if isinstance(progress, Broken) and progress.image_at_fault:
            return Look(Seen.BROKEN, progress.message)
        note = f"; the newest settings do not: {progress.message}" if isinstance(progress, Broken) else ""
        passed = "no tests"
        if self.job.parameters.tests:
            tests = self._tests(state, claim)
            if tests.seen is not Seen.PASSED:
                return tests
            passed = tests.message
        if not isinstance(progress, Live | Broken):
            return Look(None, progress.message)
        # As late as possible, so that a release that was stopped is not verified.
        if standing(self.function.codepipeline, claim)[0] is Standing.ENDED:
            return Look(Seen.ENDED, "its action was stopped")
        runs = progress.message if isinstance(progress, Live) else f"{claim.image.digest} is running{note}"
        return Look(Seen.PASSED, f"{runs}, and {passed}" if self.job.parameters.tests else runs)

    def _tests(self, state: State, claim: Claim) -> Look:
        try:
            if claim.build:
                tests = self.function.tests.look(claim.build)
            else:
                tests = self.function.tests.start(self.job, claim)
                if tests.build:
                    self.table.write(state, replace(state, claim=replace(claim, build=tests.build)))
                elif time.time() > claim.since + QUEUE_SECONDS:
                    return Look(Seen.TESTS_FAILED, f"the tests could not be run: {tests.message}")
        except ClientError as e:
            if passes(e) or (time.time() < claim.since + NEW_RIGHTS_SECONDS and may_be_too_new(e)):
                return Look(None, f"waiting for AWS: {e}")
            return Look(Seen.TESTS_FAILED, f"the tests could not be run: {e}")
        seen = {Outcome.PASSED: Seen.PASSED, Outcome.FAILED: Seen.TESTS_FAILED}.get(tests.outcome)
        return Look(seen, tests.message)

    def _enter(self, state: State, claim: Claim, phase: Phase, look: Look) -> State:
        """Write the next phase, unless another run wrote first: then the next look decides again.

        Returns the current state.
        """
        now = replace(claim, phase=phase, since=time.time())
        match phase:
            case Phase.VERIFIED:
                before = state.verified.slots if state.verified else []
                slots = remember(before, claim.image.digest, self.function.environment.keep_verified)
                processes = [process.name for process in self.table.settings(state).processes]
                verified = Verified(claim.image, claim.commit, claim.execution, slots, processes)
                now = replace(now, reason=look.message)
                written = self.table.write(state, replace(state, claim=now, verified=verified), now)
            case Phase.ROLLING_BACK:
                # Written before the rollback begins: from here on, the image no longer counts.
                back = (
                    f"Rolling back to the last verified image, {state.verified.image} (commit {state.verified.commit})."
                    if state.verified
                    else "No image was verified before, so the service goes back to zero tasks."
                )
                now = replace(now, reason=f"{sentence(look.message)[:REASON_LIMIT]} {back}", after=self._after(claim))
                written = self.table.write(state, replace(state, claim=now), now)
                if written and claim.build:
                    with suppress(ClientError):  # tests that keep running do no harm
                        self.function.tests.stop(claim.build)
            case Phase.DEPLOYING:
                now = replace(now, after=self._after(claim))
                written = self.table.write(state, replace(state, claim=now))
            case Phase.FAILED if claim.phase is Phase.MIGRATING:
                stays = "what was live stays live" if state.verified else "nothing was live before"
                now = replace(now, reason=f"{sentence(look.message)[:REASON_LIMIT]} Nothing was deployed: {stays}.")
                written = self.table.write(state, replace(state, claim=now), now)
            case Phase.FAILED:
                rolled_back = look.seen is Seen.RUNS
                outcome = "Rolled back: " if rolled_back else "The rollback failed too: "
                now = replace(now, reason=f"{claim.reason} {outcome}{look.message[:REASON_LIMIT].rstrip('.')}.")
                written = self.table.write(state, replace(state, claim=now), now)
            case _:
                written = self.table.write(state, replace(state, claim=now))
        if written is None:
            return self.table.read()
        if phase not in (Phase.VERIFIED, Phase.FAILED):  # the end of these phases does
            self.function.align(written)
        return written

    def _after(self, claim: Claim) -> float:
        try:
            return self.processes.newest_created(self.table.settings(self.table.read()))
        except Exception:  # then a deployment that failed before is retried once
            return claim.after

    # Answers

    def _end(self, state: State, claim: Claim) -> None:
        """Respond that the release is verified or failed. It stays so, whatever happens to the response."""
        problems = self.function.align(state)
        if claim.phase is Phase.FAILED:
            self._leave(claim.reason)
            return
        image = claim.image
        note = f". {sentence('; '.join(problems))} The next run tries again" if problems else ""
        self.answer.succeeded(
            f"{self.function.environment.environment}: {claim.reason} (commit {claim.commit}){note}",
            {
                Exported.IMAGE_URI: str(image),
                Exported.IMAGE_DIGEST: image.digest,
                Exported.COMMIT_ID: claim.commit,
            },
        )
        self._close()
        self.function.restart_if_requested()

    def _leave(self, reason: str) -> None:
        self._close()
        self.answer.failed(reason)
        self.function.restart_if_requested()

    def _continue(self, message: str) -> None:
        """Let CodePipeline start another run. If it does not accept that, this run stays until the goal is live."""
        if not self.answer.continues(self.job.action, message):
            self._close()

    def _close(self) -> None:
        """A run that started a deployment does not end before the goal is live."""
        if self.processes.deployed:
            self.function.settle()

    def _replaced(self, state: State) -> str:
        newer = state.claim
        by = f"the execution {newer.execution}, which began later, releases {newer.image}" if newer else "nothing is"
        return f"This release was replaced: {by}. Nothing is rolled back."


def released(claim: Claim) -> Goal:
    """The goal of a release: its image in all processes, one group after the other."""
    return Goal(claim.image, claim.after, ordered=True)
