"""Entry of the release function: the steps of a release, called by a pipeline, and `rollout`, called by `pulumi up`."""

from __future__ import annotations

import json
import os
import time
import traceback
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from . import pipeline_job as jobs
from .codedeploy import CodeDeployDeployments
from .ecs import EcsDeployments
from .images import Images
from .reconcile import Names, Progress, Service
from .stage_tests import StageTests
from .state import Registers, Release, Verified, remember

POLL_SECONDS = 5
RUN_SECONDS = 50
"""How long one run of `deploy` looks on before it hands over to the next, which CodePipeline starts soon after."""
DEADLINES = 3
"""Deadlines of a deployment that a whole release may take: settings that change on the way start another deployment."""


NEW_RIGHTS_SECONDS = 120
"""How long a right that was just given may be denied: IAM is eventually consistent."""
REASON_LIMIT = 1200
"""Characters of a reason that is carried on beside what is done about it."""
TOKEN_LIMIT = 2048
"""Characters that a continuation token takes.

https://docs.aws.amazon.com/codepipeline/latest/APIReference/API_PutJobSuccessResult.html"""


@dataclass(frozen=True)
class State:
    """What one run of `deploy` tells the next, through CodePipeline's continuation token."""

    image: str
    since: float
    """When the release began, or the way back."""
    after: str | None = None
    failure: str = ""
    """Why the release failed, while the last verified image is being put back."""
    back: str = ""
    """The image that is being put back; none, where the service goes back to no tasks."""
    build: str = ""
    """The build that tests the release, once it has begun."""

    def token(self) -> str:
        """As CodePipeline carries it. Letters that JSON writes longer leave less room: the reason loses its beginning,
        and what is done about it stays."""
        text = json.dumps(asdict(self))
        if len(text) <= TOKEN_LIMIT or not self.failure:
            return text
        return replace(self, failure=self.failure[50:]).token()


def client(service: str) -> Any:
    # The standard mode tries again, with growing waits, what was throttled or cut.
    return boto3.client(service, config=Config(retries={"mode": "standard", "max_attempts": 6}))


class Function:
    def __init__(self, environment: dict[str, str]) -> None:
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
        self.codedeploy = self._codedeploy(environment.get("CODEDEPLOY_GROUP"))
        self.service: Service = self.codedeploy or EcsDeployments(
            client("ecs"), client("application-autoscaling"), self.registers, self.names
        )
        self.codepipeline = client("codepipeline")
        self.tests = StageTests(client("codebuild"), self.environment, environment["SERVICE_URL"])

    def _codedeploy(self, group: str | None) -> CodeDeployDeployments | None:
        if group is None:
            return None
        named = {"applicationName": group, "deploymentGroupName": group}
        ecs, scaling = client("ecs"), client("application-autoscaling")
        return CodeDeployDeployments(ecs, scaling, self.registers, self.names, client("codedeploy"), named)

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

    def release(self, job: dict[str, Any], name: str) -> None:
        """One run of a step of a release: begin it or go on with it, and tell CodePipeline how it stands."""
        answer = jobs.Answer(self.codepipeline, job["id"])
        try:
            order = jobs.confirm(self.codepipeline, job, name)
        except ClientError as e:
            return answer.failed(f"the release could not begin: CodePipeline did not confirm it, since {e}.")
        try:
            match order.step:
                case "inspect":
                    self._inspect(order, answer)
                case "prepare":
                    self._prepare(order, answer)
                case "deploy":
                    self._go_on(order, self._state(order), answer)
                case other:
                    raise ValueError(f"this function has no step {other!r}")
        except Exception as e:
            # Whatever went wrong: without an answer the pipeline would wait until it times out. It is not raised, or
            # Lambda would send the event again, perhaps in the middle of a retry.
            traceback.print_exc()
            answer.failed(f"the release could not go on: {e}. When this is mended, retry the stage.")

    def _inspect(self, order: jobs.Order, answer: jobs.Answer) -> None:
        """What is to be released, and instead of what: for the approval that comes next."""
        image, commit = self._asked(order)
        verified = self.registers.verified()
        live, live_commit = (verified.release.digest, verified.release.commit) if verified else ("none", "none")
        answer.succeeded(
            f"{self.environment}: {image} (commit {commit}) instead of {live} (commit {live_commit})",
            {
                "IMAGE_DIGEST": image.partition("@")[2],
                "COMMIT_ID": commit,
                "LIVE_DIGEST": live,
                "LIVE_COMMIT_ID": live_commit,
            },
        )

    def _prepare(self, order: jobs.Order, answer: jobs.Answer) -> None:
        """The files that CodePipeline's action gives to CodeDeploy, made of the newest settings."""
        if self.codedeploy is None:
            raise RuntimeError("CodeDeploy does not deploy this service (any more); run `pulumi up`")
        state = self._begin(order)
        jobs.put(order, self.codedeploy.artifact())
        answer.succeeded(f"{self.environment}: {state.image} is ready to be deployed", {})

    def _asked(self, order: jobs.Order) -> tuple[str, str]:
        """The image that the order names, which must be there, and what it was built from."""
        image = jobs.image(order, self.names.container, self.repository_url)
        digest = image.partition("@")[2]
        self.images.require(digest)
        return image, self.images.revision(digest, order.commit)

    def _state(self, order: jobs.Order) -> State:
        """Where the last run left off.

        Whoever may invoke the function can make a token up. So what it says of the image and of the time counts only as
        far as the artifact and the register bear it out, and what it says of a build, as far as CodeBuild does.
        """
        if order.token is None:
            return self._begin(order)
        state, wanted = State(**json.loads(order.token)), self.registers.wanted()
        image = jobs.image(order, self.names.container, self.repository_url)
        since = max(state.since, wanted.begun if wanted and not state.failure else 0)
        return replace(state, image=image, since=since)

    def _begin(self, order: jobs.Order) -> State:
        image, commit = self._asked(order)
        self.registers.want(Release(image, commit, order.execution, time.time()))
        return State(image=image, since=time.time())

    def _go_on(self, order: jobs.Order, state: State, answer: jobs.Answer) -> None:
        until = time.time() + RUN_SECONDS
        while True:
            if not state.failure and not self._is_ours(order, state):
                time.sleep(POLL_SECONDS)  # Parameter Store may show what was written a moment later
                if not self._is_ours(order, state):
                    state = self._given_up(state)

            progress = self._advance(state)
            if order.tests and progress.state == "done" and progress.image == state.image and not state.failure:
                state, progress = self._tested(order, state, progress)
            if progress.state == "failed" and not state.failure:
                state = self._undo(order, state, progress)
                if self._is_back(progress.rolled_back_to):
                    return answer.failed(f"{state.failure} {self.service.deployer} puts it back by itself.")
            elif progress.state == "failed":
                return answer.failed(f"{state.failure} That failed too: {progress.message}")
            elif progress.state == "done" and state.failure and progress.image == state.back:
                return answer.failed(f"{state.failure} That is done: {sentence(progress.message)}")
            elif progress.state == "done" and progress.image == state.image and not state.failure:
                return self._record(order, state.image, progress, answer)
            else:
                state = replace(state, after=progress.after)
                if time.time() + POLL_SECONDS > until:
                    return answer.continues(state.token(), progress.message)
                time.sleep(POLL_SECONDS)

    def _tested(self, order: jobs.Order, state: State, live: Progress) -> tuple[State, Progress]:
        """The image is live; how its tests stand. Tests that cannot be run have failed."""
        try:
            tests = self.tests.look(order, state.build, state.image) if state.build else None
            if tests is None:
                wanted = self.registers.wanted()
                build = self.tests.start(order, state.image, wanted.commit if wanted else order.commit)
                state, tests = replace(state, build=build), Progress("running", f"the tests have begun: {build}")
        except ClientError as e:
            tests = Progress("failed", f"the tests could not be run: {e}")
        print(tests.message)
        return state, (
            replace(live, message=f"{live.message}, and {tests.message}") if tests.state == "done" else tests
        )

    def _advance(self, state: State) -> Progress:
        progress = self.service.advance(state.after, give_up=bool(state.failure))
        print(progress.message)
        minutes = DEADLINES * self.registers.settings().deadline_minutes
        there = progress.state == "done" and progress.image == (state.back if state.failure else state.image)
        # Once the tests have begun, the image was live: a task that is replaced meanwhile is no fault of the release.
        late = not state.build and time.time() > state.since + minutes * 60
        if progress.state != "failed" and not there and late:
            return Progress("failed", f"the service was not settled after {minutes} minutes: {progress.message}.")
        return progress

    def _undo(self, order: jobs.Order, state: State, progress: Progress) -> State:
        """Want the last verified image again, or what ran before, or nothing; this happens once in a release."""
        verified = self.registers.verified()
        if verified:
            back = f"The last verified image is put back: {verified.release.image} (commit {verified.release.commit})."
            release: Release | None = verified.release
        elif progress.before:
            back = f"No image was verified before; the one that ran is put back: {progress.before}."
            release = Release(progress.before, "", order.execution)
        else:
            back = "No image was verified before, so the service goes back to no tasks."
            release = None
        self.registers.want(release)
        for _ in range(NEW_RIGHTS_SECONDS // POLL_SECONDS):
            # Else the next look could see the failed image, wanted and running, and take it for what was put back.
            if self.registers.wanted() == release:
                break
            time.sleep(POLL_SECONDS)
        if state.build:
            with suppress(ClientError):  # tests that go on do no harm
                self.tests.stop(state.build)
        return self._failed(
            state, f"{sentence(progress.message)[:REASON_LIMIT]} {back}", release.image if release else ""
        )

    def _given_up(self, state: State) -> State:
        """Another image is wanted: a run before this one was cut off while it undid the release, or one is newer."""
        wanted = self.registers.wanted()
        now = f"the image of the execution {wanted.execution}" if wanted else "no image"
        why = f"This release of {state.image} was taken back or replaced, and {now} is wanted now."
        return self._failed(state, why, wanted.image if wanted else "")

    def _failed(self, state: State, why: str, back: str) -> State:
        return State(image=state.image, since=time.time(), failure=why, back=back)

    def _is_ours(self, order: jobs.Order, state: State) -> bool:
        wanted = self.registers.wanted()
        return wanted is not None and (wanted.execution, wanted.image) == (order.execution, state.image)

    def _is_back(self, image: str | None) -> bool:
        """Whether ECS itself is putting back the image that is wanted again."""
        wanted = self.registers.wanted()
        return wanted is not None and wanted.image == image

    def _record(self, order: jobs.Order, image: str, progress: Progress, answer: jobs.Answer) -> None:
        """The release proved itself: keep its image from expiring, and note it as the one to go back to."""
        release = self.registers.wanted()
        if release is None or release.image != image:
            raise RuntimeError(f"{image} runs and is not wanted any more")
        before = self.registers.verified()
        slots = remember(before.slots if before else [], release.digest, self.keep)
        newest = f"verified-{self.environment}"
        self.images.tag(release.digest, f"live-{self.environment}", newest, f"{newest}-{slots[0][1]}")
        self.registers.verify(Verified(release, slots))
        answer.succeeded(
            f"{self.environment}: {progress.message} (commit {release.commit})",
            {"IMAGE_URI": image, "IMAGE_DIGEST": release.digest, "COMMIT_ID": release.commit},
        )


def sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


def handler(event: dict[str, Any], context: Any) -> str | None:
    """Lambda's entry. The event of a pipeline holds credentials: it is never printed."""
    function = Function(dict(os.environ))
    if "CodePipeline.job" in event:
        function.release(event["CodePipeline.job"], context.function_name)
        return None
    if "rollout" in event:
        # Leave time to answer before Lambda ends the run.
        run_seconds = context.get_remaining_time_in_millis() / 1000 - 20
        return function.rollout(event["rollout"]["settings"], run_seconds, event["part"] == event["parts"])
    raise ValueError(f"this function takes a job of CodePipeline or a rollout, got {sorted(event)}")
