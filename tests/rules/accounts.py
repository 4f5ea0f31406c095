"""An account whose resources were created without Pulumi, for tests of the stand-in itself."""

from __future__ import annotations

from typing import Any

from standin.executor import Execution
from standin.provider import Resource
from standin.world import World

ROLE = "arn:aws:iam::123456789012:role/pipeline"
STARTER = "arn:aws:iam::123456789012:role/starter"
FUNCTION = """
import boto3, json, time
def handler(event, context):
    job = event["CodePipeline.job"]
    client = boto3.client("codepipeline")
    {body}
"""


class Account:
    """An account with resources that were created without Pulumi."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.pipelines = world.codepipeline
        world.client("s3").create_bucket(
            Bucket="artifacts", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
        )

    def put(self, type_: str, name: str, **inputs: Any) -> None:
        outputs = {"arn": f"arn:{name}", "name": name, **inputs}
        self.world.aws.resources[name] = Resource(f"urn::{name}", type_, name, {"name": name, **inputs}, outputs)

    def function(self, body: str) -> None:
        self.put(
            "aws:lambda/function:Function",
            "function",
            code={"assets": {"index.py": {"text": FUNCTION.format(body=body)}}},
            handler="index.handler",
            role="arn:aws:iam::123456789012:role/function",
            timeout=900.0,
        )

    def pipeline(self, *stages: list[dict[str, Any]], **more: Any) -> None:
        self.put(
            "aws:codepipeline/pipeline:Pipeline",
            "pipeline",
            roleArn=ROLE,
            artifactStores=[{"location": "artifacts"}],
            stages=[{"name": f"Stage{number}", "actions": actions} for number, actions in enumerate(stages)],
            **more,
        )

    def run(self) -> Execution:
        return self.pipelines.start("pipeline")


def action(name: str, provider: str = "Manual", **more: Any) -> dict[str, Any]:
    return {"name": name, "category": "Any", "owner": "AWS", "version": "1", "provider": provider, **more}


def invoke(**configuration: str) -> dict[str, Any]:
    return action("Invoke", "Lambda", configuration={"FunctionName": "function", **configuration}, namespace="Out")
