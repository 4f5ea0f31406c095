"""The tests of a deploy stage: a build of CodeBuild that is started when the image is live, and followed to its end."""

from __future__ import annotations

from typing import Any

from .pipeline_job import Order
from .reconcile import Progress


class StageTests:
    def __init__(self, codebuild: Any, environment: str, service_url: str) -> None:
        self.codebuild, self.environment, self.service_url = codebuild, environment, service_url

    def start(self, order: Order, image: str, commit: str) -> str:
        """The id of the build that tests this release."""
        variables = {
            "SERVICE_URL": self.service_url,
            "ENVIRONMENT": self.environment,
            "IMAGE_DIGEST": image.partition("@")[2],
            "COMMIT_ID": commit,
            "PIPELINE_EXECUTION_ID": order.execution,
        }
        # With the commit's own files, where the pipeline has them.
        source = {}
        if order.source:
            source = {"sourceTypeOverride": "S3", "sourceLocationOverride": "/".join(order.source)}
        answer = self.codebuild.start_build(
            projectName=order.tests,
            environmentVariablesOverride=[
                {"name": name, "value": value, "type": "PLAINTEXT"} for name, value in variables.items()
            ],
            idempotencyToken=order.job,  # an event that is delivered again starts no second build
            **source,
        )
        return str(answer["build"]["id"])

    def look(self, order: Order, build: str, image: str) -> Progress | None:
        """How the build stands; None if it does not test this image in this execution: its id comes from a token."""
        found = next(iter(self.codebuild.batch_get_builds(ids=[build])["builds"]), None)
        if found is None:
            return Progress("running", f"waiting for CodeBuild to show the tests: {build}")
        variables = {v["name"]: v["value"] for v in found.get("environment", {}).get("environmentVariables", [])}
        tested = found["projectName"], variables.get("IMAGE_DIGEST"), variables.get("PIPELINE_EXECUTION_ID")
        if tested != (order.tests, image.partition("@")[2], order.execution):
            return None
        status = found["buildStatus"]
        if status == "IN_PROGRESS":
            return Progress("running", f"the tests are running: {build}")
        if status == "SUCCEEDED":
            return Progress("done", "the tests passed")
        # A phase that failed says which command, and with which status.
        said = [c.get("message", "") for phase in found.get("phases", []) for c in phase.get("contexts", [])]
        link = found.get("logs", {}).get("deepLink", "")
        why = "; ".join([text for text in said if text][:2])
        return Progress(
            "failed",
            f"the tests of {self.environment} ended {status}{f': {why}' if why else ''}. Their log: {link or build}",
        )

    def stop(self, build: str) -> None:
        """The release is undone: what its tests would say does not matter any more."""
        for found in self.codebuild.batch_get_builds(ids=[build])["builds"]:
            if found["buildStatus"] == "IN_PROGRESS":
                self.codebuild.stop_build(id=build)
