"""The tests of a deploy stage: a CodeBuild build that starts when the image is live."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from .contract import TEST_VARIABLES, Claim
from .pipeline_job import ReleaseJob


class Outcome(Enum):
    RUNNING = auto()
    PASSED = auto()
    FAILED = auto()


@dataclass(frozen=True)
class Tests:
    """The status of the tests."""

    outcome: Outcome
    message: str
    build: str = ""
    """The build that runs the tests, once it has started."""


class StageTests:
    def __init__(self, codebuild: Any, environment: str, service_url: str) -> None:
        self.codebuild, self.environment, self.service_url = codebuild, environment, service_url

    def start(self, job: ReleaseJob, claim: Claim) -> Tests:
        """Start the build that tests this release. A build that has to wait for others is not a failed test."""
        values = {
            "SERVICE_URL": self.service_url,
            "ENVIRONMENT": self.environment,
            "IMAGE_DIGEST": claim.image.digest,
            "COMMIT_ID": claim.commit,
            "PIPELINE_EXECUTION_ID": claim.execution,
        }
        # With the files of the commit, if the pipeline builds.
        source = {}
        if job.source:
            source = {"sourceTypeOverride": "S3", "sourceLocationOverride": "/".join(job.source)}
        try:
            answer = self.codebuild.start_build(
                projectName=job.parameters.tests,
                environmentVariablesOverride=[
                    {"name": name, "value": values[name], "type": "PLAINTEXT"} for name in TEST_VARIABLES
                ],
                idempotencyToken=claim.action,  # an event that is delivered twice starts one build
                **source,
            )
        except self.codebuild.exceptions.AccountLimitExceededException:
            return Tests(
                Outcome.RUNNING, "the tests wait for other builds: CodeBuild's quota of concurrent builds is used up"
            )
        build = str(answer["build"]["id"])
        return Tests(Outcome.RUNNING, f"the tests have started: {build}", build)

    def look(self, build: str) -> Tests:
        """The status of a build."""
        found = next(iter(self.codebuild.batch_get_builds(ids=[build])["builds"]), None)
        if found is None:
            return Tests(Outcome.RUNNING, f"waiting for CodeBuild to show the tests: {build}", build)
        status = found["buildStatus"]
        if status == "IN_PROGRESS":
            return Tests(Outcome.RUNNING, f"the tests are running: {build}", build)
        if status == "SUCCEEDED":
            return Tests(Outcome.PASSED, "the tests passed", build)
        # A failed phase shows the command and its exit status.
        contexts = [c.get("message", "") for phase in found.get("phases", []) for c in phase.get("contexts", [])]
        link = found.get("logs", {}).get("deepLink", "")
        why = "; ".join([text for text in contexts if text][:2])
        return Tests(
            Outcome.FAILED,
            f"the tests of {self.environment} ended {status}{f': {why}' if why else ''}. Their log: {link or build}",
            build,
        )

    def stop(self, build: str) -> None:
        """Stop the tests: the release is rolled back, so their result does not matter."""
        for found in self.codebuild.batch_get_builds(ids=[build])["builds"]:
            if found["buildStatus"] == "IN_PROGRESS":
                self.codebuild.stop_build(id=build)
