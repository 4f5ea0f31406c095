"""Entry of the release function: `deploy`, called by a pipeline, and `rollout`, called by `pulumi up`."""

from __future__ import annotations

import json
import os
import time
import traceback
from dataclasses import asdict, dataclass, replace
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from . import jobs
from .images import Images
from .registers import Registers, Release, Verified, remember
from .service import Names, Progress, Service

POLL_SECONDS = 5
RUN_SECONDS = 50
"""How long one run of `deploy` looks on before it hands over to the next, which CodePipeline starts soon after."""
DEADLINES = 3
"""Deadlines of a deployment that a whole release may take: settings that change on the way start another deployment."""


NEW_RIGHTS_SECONDS = 120
"""How long a right that was just given may be denied: IAM is eventually consistent."""
REASON_LIMIT = 1200
"""Characters of a reason that a continuation token, which takes 2,048 in all, carries on."""


@dataclass(frozen=True)
class State:
    """What one run of `deploy` tells the next, through CodePipeline's continuation token."""

    image: str
    since: float
    after: str | None = None
    failure: str = ""
    """Why the release failed, while the last verified image is being put back."""


class Function:
    def __init__(self, environment: dict[str, str]) -> None:
        # The standard mode tries again, with growing waits, what was throttled or cut.
        config = Config(retries={"mode": "standard", "max_attempts": 6})

        def client(service: str) -> Any:
            return boto3.client(service, config=config)

        self.names = Names(
            cluster=environment["CLUSTER"],
            service=environment["SERVICE"],
            family=environment["FAMILY"],
            container=environment["CONTAINER"],
        )
        self.environment = environment["ENVIRONMENT"]
        self.repository_url = environment["REPOSITORY_URL"]
        self.keep = int(environment["KEEP_VERIFIED"])
        self.registers = Registers(client("ssm"), environment["PARAMETERS"])
        self.images = Images(client("ecr"), self.repository_url.partition("/")[2])
        self.service = Service(client("ecs"), client("application-autoscaling"), self.registers, self.names)
        self.codepipeline = client("codepipeline")

    def rollout(self, settings: str, run_seconds: float, last: bool) -> str:
        """Make the service what the registers say, and follow it to its end.

        Looks on for `run_seconds`; a service that is not settled by then is an error when nobody looks on after that.
        """
        began, after = time.time(), None
        while True:
            progress = self._attempt(settings, after, patient=time.time() < began + NEW_RIGHTS_SECONDS)
            print(progress.message)
            if progress.state == "done":
                return progress.message
            if progress.state == "failed":
                raise RuntimeError(f"{self.names.service} does not run with the new settings: {progress.message}")
            if time.time() + POLL_SECONDS > began + run_seconds:
                if last:
                    raise RuntimeError(f"{self.names.service} was not settled in time: {progress.message}")
                return progress.message
            after = progress.after
            time.sleep(POLL_SECONDS)

    def _attempt(self, settings: str, after: str | None, patient: bool) -> Progress:
        """One step of a rollout, right after `pulumi up` wrote settings and gave rights that AWS may not show yet."""
        try:
            if patient and not self.registers.has_settings(settings):
                return Progress("running", "waiting for Parameter Store to show the new settings", after)
            return self.service.advance(after, give_up=False)
        except ClientError as e:
            if not patient or not e.response["Error"]["Code"].startswith("AccessDenied"):
                raise
            return Progress("running", f"waiting for IAM: {e}", after)

    def deploy(self, job: dict[str, Any], name: str) -> None:
        """One run of a release: begin it or go on with it, and tell CodePipeline how it stands."""
        answer = jobs.Answer(self.codepipeline, job["id"])
        try:
            order = jobs.confirm(self.codepipeline, job, name)
        except ClientError as e:
            answer.failed(f"the release could not begin: CodePipeline did not confirm it, since {e}.")
            raise
        try:
            state = State(**json.loads(order.token)) if order.token else self._begin(order)
            self._go_on(order, state, answer)
        except Exception as e:
            # Whatever went wrong: without an answer the pipeline would wait until it times out. It is not raised, or
            # Lambda would send the event again, perhaps in the middle of a retry.
            traceback.print_exc()
            answer.failed(f"the release could not go on: {e}. When this is mended, retry the stage.")

    def _begin(self, order: jobs.Order) -> State:
        image = jobs.image(order, self.names.container, self.repository_url)
        self.images.require(image.partition("@")[2])
        self.registers.want(Release(image, order.commit, order.execution))
        return State(image=image, since=time.time())

    def _go_on(self, order: jobs.Order, state: State, answer: jobs.Answer) -> None:
        until = time.time() + RUN_SECONDS
        while True:
            if not state.failure and not self._is_ours(order):
                time.sleep(POLL_SECONDS)  # Parameter Store may show what was written a moment later
                if not self._is_ours(order):
                    state = self._given_up(state)

            progress = self._advance(state)
            if progress.state == "failed" and not state.failure:
                state = self._undo(order, state, progress)
                if self._is_back(progress.rolled_back_to):
                    return answer.failed(f"{state.failure} ECS puts it back by itself.")
            elif progress.state == "failed":
                return answer.failed(f"{state.failure} That failed too: {progress.message}")
            elif progress.state == "done" and state.failure:
                return answer.failed(f"{state.failure} That is done: {sentence(progress.message)}")
            elif progress.state == "done" and progress.image == state.image:
                return self._record(order, state.image, progress, answer)
            else:
                state = replace(state, after=progress.after)
                if time.time() + POLL_SECONDS > until:
                    return answer.continues(json.dumps(asdict(state)), progress.message)
                time.sleep(POLL_SECONDS)

    def _advance(self, state: State) -> Progress:
        progress = self.service.advance(state.after, give_up=bool(state.failure))
        print(progress.message)
        minutes = DEADLINES * self.registers.settings().deadline_minutes
        if progress.state == "running" and time.time() > state.since + minutes * 60:
            return Progress("failed", f"the service was not settled after {minutes} minutes: {progress.message}.")
        return progress

    def _undo(self, order: jobs.Order, state: State, progress: Progress) -> State:
        """Want the last verified image again, or what ran before, or nothing; this happens once in a release."""
        verified = self.registers.verified()
        if verified:
            back = f"The last verified image is put back: {verified.release.image} (commit {verified.release.commit})."
            self.registers.want(verified.release)
        elif progress.before:
            back = f"No image was verified before; the one that ran is put back: {progress.before}."
            self.registers.want(Release(progress.before, "", order.execution))
        else:
            back = "No image was verified before, so the service goes back to no tasks."
            self.registers.want(None)
        return self._failed(state, f"{sentence(progress.message)[:REASON_LIMIT]} {back}")

    def _given_up(self, state: State) -> State:
        """Another image is wanted: a run before this one was cut off while it undid the release, or one is newer."""
        wanted = self.registers.wanted()
        now = f"the image of the execution {wanted.execution}" if wanted else "no image"
        return self._failed(
            state, f"This release of {state.image} was taken back or replaced, and {now} is wanted now."
        )

    def _failed(self, state: State, why: str) -> State:
        return State(image=state.image, since=time.time(), failure=why)

    def _is_ours(self, order: jobs.Order) -> bool:
        wanted = self.registers.wanted()
        return wanted is not None and wanted.execution == order.execution

    def _is_back(self, image: str | None) -> bool:
        """Whether ECS itself is putting back the image that is wanted again."""
        wanted = self.registers.wanted()
        return wanted is not None and wanted.image == image

    def _record(self, order: jobs.Order, image: str, progress: Progress, answer: jobs.Answer) -> None:
        """The release proved itself: keep its image from expiring, and note it as the one to go back to."""
        release = Release(image, order.commit, order.execution)
        before = self.registers.verified()
        slots = remember(before.slots if before else [], release.digest, self.keep)
        newest = f"verified-{self.environment}"
        self.images.tag(release.digest, f"live-{self.environment}", newest, f"{newest}-{slots[0][1]}")
        self.registers.verify(Verified(release, slots))
        answer.succeeded(
            f"{self.environment}: {progress.message} (commit {release.commit})",
            {"IMAGE_URI": image, "IMAGE_DIGEST": release.digest},
        )


def sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


def handler(event: dict[str, Any], context: Any) -> str | None:
    """Lambda's entry. The event of a pipeline holds credentials: it is never printed."""
    function = Function(dict(os.environ))
    if "CodePipeline.job" in event:
        function.deploy(event["CodePipeline.job"], context.function_name)
        return None
    if "rollout" in event:
        # Leave time to answer before Lambda ends the run.
        run_seconds = context.get_remaining_time_in_millis() / 1000 - 20
        return function.rollout(event["rollout"]["settings"], run_seconds, event["part"] == event["parts"])
    raise ValueError(f"this function takes a job of CodePipeline or a rollout, got {sorted(event)}")
