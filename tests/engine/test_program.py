"""The example program on the real engine: what it makes beside the components reaches them as Outputs."""

from __future__ import annotations

import json
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest
from slipway import (
    Build,
    BuildArgs,
    CodeCommit,
    DeployStage,
    LoadBalancer,
    LoadBalancerArgs,
    Notifications,
    Pipeline,
    PipelineArgs,
    Registry,
    Service,
    ServiceArgs,
    Slack,
)
from standin.world import ROOT, World

FOLDER = ROOT / "examples" / "program"


@pytest.fixture
def account(engine: Path) -> Iterator[World]:
    # No image is built or pulled, so any address does for the registry.
    with World("registry.invalid", {}, engine) as made:
        yield made


def test_what_the_program_makes_reaches_the_components(account: World) -> None:
    workspace = account.workspace("dev", project=FOLDER)
    workspace.program = lambda: runpy.run_path(str(FOLDER / "__main__.py"), run_name="__main__")
    assert workspace.preview().summary == workspace.up().summary
    assert workspace.preview(refresh=True).changes == []

    def inputs(type_: str, name: str) -> dict[str, Any]:
        return account.aws.find(type_, name).inputs

    def output(type_: str, name: str, key: str = "arn") -> str:
        return str(account.aws.find(type_, name).outputs[key])

    def allowed(policy: str) -> list[Any]:
        statements = json.loads(inputs("aws:iam/rolePolicy:RolePolicy", policy)["policy"])["Statement"]
        return [(set(s["Action"]), s["Resource"]) for s in statements]

    queue, bucket = output("aws:sqs/queue:Queue", "orders"), output("aws:s3/bucket:Bucket", "pictures")
    secret, key = output("aws:secretsmanager/secret:Secret", "payment"), output("aws:kms/key:Key", "shop")
    check = output("aws:lambda/function:Function", "check")
    assert allowed("shop-web-task-policy") == [
        ({"s3:GetObject", "s3:PutObject"}, f"{bucket}/*"),
        ({"sqs:SendMessage"}, queue),
    ]
    assert allowed("shop-worker-task-policy") == [({"sqs:ReceiveMessage", "sqs:DeleteMessage"}, queue)]
    reads = [resource for actions, resource in allowed("shop-web-execution-policy") if "kms:Decrypt" in actions]
    assert reads == [[key]]
    assert ({"lambda:InvokeFunction"}, [check]) in allowed("shop-web-hooks-policy")
    [container] = json.loads(
        inputs("aws:ecs/taskDefinition:TaskDefinition", "shop-web-template")["containerDefinitions"]
    )
    assert container["secrets"] == [{"name": "PAYMENT_KEY", "valueFrom": secret}]
    assert {"name": "ORDERS", "value": output("aws:sqs/queue:Queue", "orders", "url")} in container["environment"]
    listener = inputs("aws:lb/listener:Listener", "shop-https")
    assert listener["certificateArn"] == output("aws:acm/certificate:Certificate", "shop")
    for name in ("shop-web", "shop-worker"):
        encryption = inputs("aws:ecr/repository:Repository", name)["encryptionConfigurations"]
        assert encryption == [{"encryptionType": "KMS", "kmsKey": key}]
        [source] = inputs("aws:codepipeline/pipeline:Pipeline", name)["stages"][0]["actions"]
        assert source["configuration"]["ConnectionArn"] == output("aws:codeconnections/connection:Connection", "shop")
    backlog = output("aws:cloudwatch/metricAlarm:MetricAlarm", "backlog", "name")
    rollouts = [r for r in account.aws.resources.values() if r.name.startswith("shop-worker-release-rollout")]
    assert backlog in "".join(r.inputs["input"] for r in rollouts)


@pytest.mark.long
def test_a_provider_that_is_configured_by_a_resource_has_a_preview_before_there_is_that_resource(
    account: World,
) -> None:
    def program() -> None:
        topic = aws.sns.Topic("shop")
        region = topic.arn.apply(lambda arn: arn.split(":")[3])
        opts = pulumi.ResourceOptions(provider=aws.Provider("other", region=region))
        subnets = ["subnet-1", "subnet-2"]
        registry = Registry("shop", opts=opts)
        service = Service(
            "shop",
            ServiceArgs(
                cluster=aws.ecs.Cluster("shop", opts=opts),
                registry=registry,
                load_balancer=LoadBalancer("shop", LoadBalancerArgs(vpc_id="vpc-1", subnet_ids=subnets), opts=opts),
                vpc_id="vpc-1",
                subnet_ids=subnets,
                secrets={"KEY": "arn:aws:ssm:eu-west-1:123456789012:parameter/key"},
            ),
            opts=opts,
        )
        args = PipelineArgs(
            source=CodeCommit(repository="shop"),
            build=Build("shop", BuildArgs(registry=registry), opts=opts),
            stages=[DeployStage(service=service)],
            notifications=Notifications(slack=Slack(team_id="T0123456789", channel_id="C0123456789")),
        )
        Pipeline("shop", args, opts=opts)

    workspace = account.workspace("dev", {})
    workspace.program = program
    assert workspace.preview().summary == workspace.up().summary
    assert workspace.preview().changes == []
