"""Each source with each strategy that goes with it, on the real engine: made, found unchanged, and removed; what its
documents say is what AWS's API takes, and its roles are exactly these."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pulumi.automation import CommandError
from standin.tools import registry
from standin.world import World
from unit import shapes

SOURCES: dict[str, dict[str, Any]] = {
    "codecommit": {"repository": "storefront"},
    "connection": {
        "arn": "arn:aws:codeconnections:eu-west-1:123456789012:connection/0f-1",
        "repository": "acme/storefront",
        "push": [
            {"branches": {"includes": ["main"]}, "filePaths": {"includes": ["app/**"]}},
            {"tags": {"includes": ["v*"]}},
        ],
    },
    "s3": {"bucket": "acme-sources", "key": "storefront/source.zip"},
    "image": {"repository": "storefront-qa", "tag": "verified-qa"},
}
STRATEGIES: dict[str, dict[str, Any]] = {
    "rolling": {},
    "rolling by the ECS action": {"ecsAction": True},
    "blueGreen": {"hooks": [{"stages": ["POST_TEST_TRAFFIC_SHIFT"]}]},
    "canary": {},
    "linear": {},
    "codeDeployBlueGreen": {},
}
REFUSED = {("image", "rolling by the ECS action")}
MATRIX = [(source, strategy) for source in SOURCES for strategy in STRATEGIES if (source, strategy) not in REFUSED]
TEST_LISTENER = {"testListener": {"ingressCidrs": ["10.0.0.0/16"]}}


def configuration(source: str, strategy: str) -> dict[str, Any]:
    told: dict[str, Any] = {
        "slipway:source": {source: SOURCES[source]},
        "slipway:loadBalancer": TEST_LISTENER,
        "slipway:stages": [{"strategy": {strategy.split()[0]: STRATEGIES[strategy]}}],
    }
    return {**told, "slipway:build": None} if source == "image" else told


@pytest.fixture
def account(engine: Path) -> Iterator[World]:
    with registry() as address, World(address, {}, engine) as made:
        made.ecr.create_repository({"repositoryName": "storefront-qa"})  # another stack's
        yield made


@pytest.mark.parametrize(("source", "strategy"), MATRIX)
def test_a_stack_of(account: World, source: str, strategy: str) -> None:
    workspace = account.workspace("dev", configuration(source, strategy))
    planned = workspace.preview()
    made = workspace.up()
    assert planned.summary == made.summary
    assert set(made.summary) <= {"create", "read"}
    assert workspace.preview().changes == []
    assert workspace.refresh().changes == []
    assert workspace.preview(refresh=True).changes == []

    assert roles(account) == expected_roles(source, strategy)
    assert mistakes(account) == []

    assert workspace.destroy().summary.keys() <= {"delete", "read", "discard"}
    # A connection that was there before stays.
    kept = ["aws:codeconnections/connection:Connection"] if source == "connection" else []
    assert [resource.type for resource in account.aws.resources.values()] == kept


def test_an_image_is_not_for_the_ecs_action(account: World) -> None:
    workspace = account.workspace("dev", configuration(*REFUSED.copy().pop()))
    with pytest.raises(CommandError) as failure:
        workspace.up()
    assert "slipway:stages must not have ecsAction with an image as source, as in ['dev']" in str(failure.value)
    assert account.aws.resources == {}


def mistakes(account: World) -> list[str]:
    """What the API would refuse of the pipeline, the template, and the settings that the release function sends."""
    pipeline = account.aws.find("aws:codepipeline/pipeline:Pipeline").inputs
    template = account.aws.find("aws:ecs/taskDefinition:TaskDefinition").inputs
    settings = json.loads(
        account.aws.find("aws:ssm/parameter:Parameter", "storefront-dev-release-settings").inputs["value"]
    )
    update: dict[str, Any] = {
        "cluster": "storefront-dev",
        "service": "storefront-dev",
        "taskDefinition": settings["template"],
        "loadBalancers": settings["load_balancers"],
        "availabilityZoneRebalancing": settings["availability_zone_rebalancing"],
    }
    if settings["deployment"]:
        update["deploymentConfiguration"] = settings["deployment"]
    return [
        *shapes.mistakes("codepipeline", "CreatePipeline", shapes.pipeline(pipeline)),
        *shapes.mistakes("ecs", "RegisterTaskDefinition", shapes.task_definition(template)),
        *shapes.mistakes("ecs", "UpdateService", update),
    ]


# What may be done, a statement a line: actions @ resources ? conditions.


def roles(account: World) -> dict[str, list[str]]:
    """The policies of a stack, by name."""
    policies = [r for r in account.aws.resources.values() if r.type == "aws:iam/rolePolicy:RolePolicy"]
    return {
        policy.name.removeprefix("storefront-dev-"): [line(s) for s in json.loads(policy.inputs["policy"])["Statement"]]
        for policy in policies
    }


def line(statement: dict[str, Any]) -> str:
    on = statement["Resource"]
    text = " ".join(statement["Action"]) + " @ " + " ".join(on if isinstance(on, list) else [on])
    for operator, pairs in statement.get("Condition", {}).items():
        text += "".join(f" ? {operator} {key} {value}" for key, value in pairs.items())
    return plain(text)


def plain(text: str) -> str:
    """Without the account and the Region, and with # for what AWS and Pulumi make up."""
    text = (
        text.replace("arn:aws:", "").replace("eu-west-1:123456789012:", "").replace("s3.eu-west-1.amazonaws.com", "s3")
    )
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}|[0-9a-f]{16,27}|-[0-9a-f]{7}\b", "#", text)
    return text.replace("storefront-dev", "ME").replace("123456789012", "ACCOUNT")


LOGIN = "ecr:GetAuthorizationToken @ *"
MINE = "? StringEquals aws:ResourceAccount ACCOUNT"
VIA_S3 = "@ kms:key/# ? StringEquals kms:ViaService s3"
ARTIFACTS = [
    f"s3:GetBucketVersioning s3:GetBucketAcl s3:GetBucketLocation @ s3:::ME-artifacts# {MINE}",
    f"s3:GetObject s3:GetObjectVersion s3:PutObject @ s3:::ME-artifacts#/* {MINE}",
    f"kms:Decrypt kms:DescribeKey kms:Encrypt kms:GenerateDataKey* kms:ReEncrypt* {VIA_S3}",
]
READ_ARTIFACTS = [f"s3:GetObject s3:GetObjectVersion @ s3:::ME-artifacts#/* {MINE}", f"kms:Decrypt {VIA_S3}"]
TASK_ROLES = "iam::ACCOUNT:role/ME-execution-role# iam::ACCOUNT:role/ME-task-role#"
PASS = f"iam:PassRole @ {TASK_ROLES} ? StringEquals iam:PassedToService ecs-tasks.amazonaws.com"
REGISTER = "ecs:DescribeTaskDefinition ecs:RegisterTaskDefinition @ *"
CREATED = "? StringEquals ecs:CreateAction RegisterTaskDefinition"
ANSWER = "codepipeline:PutJobSuccessResult codepipeline:PutJobFailureResult @ *"
ASK = "codepipeline:ListActionExecutions @ codepipeline:ME"

OF_SOURCE = {
    "codecommit": [
        "codecommit:GetBranch codecommit:GetCommit codecommit:UploadArchive codecommit:GetUploadArchiveStatus "
        "codecommit:CancelUploadArchive @ codecommit:storefront",
        "s3:ListBucket @ s3:::ME-artifacts#",
    ],
    "connection": [
        "codeconnections:UseConnection @ codeconnections:connection/0f-1",
        "codestar-connections:UseConnection @ codestar-connections:connection/0f-1",
        f"s3:PutObjectAcl @ s3:::ME-artifacts#/* {MINE}",
    ],
    "s3": [
        "s3:GetObject s3:GetObjectVersion @ s3:::acme-sources/storefront/source.zip",
        "s3:GetBucketVersioning s3:GetBucketAcl s3:GetBucketLocation @ s3:::acme-sources",
    ],
    "image": ["ecr:DescribeImages @ ecr:repository/storefront-qa"],
}
OF_CODEDEPLOY = [
    "codedeploy:CreateDeployment codedeploy:GetDeployment @ codedeploy:deploymentgroup:ME/ME",
    "codedeploy:GetApplication codedeploy:GetApplicationRevision codedeploy:RegisterApplicationRevision @ "
    "codedeploy:application:ME",
    "codedeploy:GetDeploymentConfig @ codedeploy:deploymentconfig:CodeDeployDefault.ECSCanary10Percent5Minutes",
]
MANAGED = [REGISTER, f"ecs:TagResource @ ecs:task-definition/ME:* ecs:task-definition/ME-template:* {CREATED}", PASS]
OF_ACTION = {
    "codeDeployBlueGreen": [*OF_CODEDEPLOY, *MANAGED],
    "rolling by the ECS action": ["ecs:DescribeServices ecs:UpdateService @ ecs:service/ME/ME", *MANAGED],
}
FOLLOW = [
    "ecs:ListServiceDeployments @ ecs:service/ME/ME",
    "ecs:DescribeServiceDeployments ecs:StopServiceDeployment @ ecs:service/ME/ME ecs:service-deployment/ME/ME/*",
    "ecs:DescribeServiceRevisions @ ecs:service/ME/ME ecs:service-revision/ME/ME/*",
]
SHIFTS = ("blueGreen", "canary", "linear")


def expected_roles(source: str, strategy: str) -> dict[str, list[str]]:
    repository = "storefront-qa" if source == "image" else "ME"
    images = f"@ ecr:repository/{repository}"
    shifts, by_codedeploy = strategy in SHIFTS, strategy == "codeDeployBlueGreen"
    pass_on = "iam:PassRole @ iam::ACCOUNT:role/ME-traffic-role# ? StringEquals iam:PassedToService ecs.amazonaws.com"
    follow = [*OF_CODEDEPLOY, "codedeploy:ListDeployments codedeploy:StopDeployment @ codedeploy:deploymentgroup:ME/ME"]
    builds = "codebuild:StartBuild codebuild:BatchGetBuilds codebuild:StopBuild @ codebuild:project/ME"
    code = [REGISTER, f"ecs:TagResource @ ecs:task-definition/ME:* {CREATED}", PASS]
    expected = {
        "pipeline-policy": [
            *ARTIFACTS,
            *(lines for lines in OF_SOURCE[source] if "ME-artifacts" not in lines),
            *(lines for lines in OF_SOURCE[source] if "ME-artifacts" in lines),
            *([builds] if source != "image" else []),
            "lambda:InvokeFunction @ lambda:function:ME-scan-gate",
            "lambda:InvokeFunction @ lambda:function:ME-release",
            *OF_ACTION.get(strategy, []),
            "lambda:ListFunctions @ *",
        ],
        "execution-policy": [
            LOGIN,
            f"ecr:BatchCheckLayerAvailability ecr:BatchGetImage ecr:GetDownloadUrlForLayer {images}",
            "logs:CreateLogStream logs:PutLogEvents @ logs:log-group:/ecs/ME:*",
        ],
        "release-policy": [
            "logs:CreateLogStream logs:PutLogEvents @ logs:log-group:/aws/lambda/ME-release:*",
            "ssm:GetParameter @ " + " ".join(f"ssm:parameter/slipway/ME-release/{r}" for r in REGISTERS),
            "ssm:PutParameter @ " + " ".join(f"ssm:parameter/slipway/ME-release/{r}" for r in REGISTERS[1:]),
            "ecs:DescribeServices ecs:UpdateService @ ecs:service/ME/ME",
            *(follow if by_codedeploy else FOLLOW),
            "ecs:DescribeTasks @ ecs:task/ME/*",
            "ecs:ListTasks @ * ? ArnEquals ecs:cluster ecs:cluster/ME",
            *code,
            *([pass_on] if shifts else []),
            "application-autoscaling:RegisterScalableTarget @ application-autoscaling:scalable-target/#",
            f"ecr:BatchGetImage ecr:DescribeImages ecr:PutImage {images}",
            ANSWER,
        ],
        "scan-gate-policy": [
            "logs:CreateLogStream logs:PutLogEvents @ logs:log-group:/aws/lambda/ME-scan-gate:*",
            f"ecr:BatchGetImage ecr:DescribeImageScanFindings {images}",
            ASK,
            ANSWER,
        ],
        "dev-confirm": [ASK],
    }
    if source != "connection":
        expected["push-policy"] = ["codepipeline:StartPipelineExecution @ codepipeline:ME"]
    if source != "image":
        expected["build-policy"] = [
            "logs:CreateLogStream logs:PutLogEvents @ logs:log-group:/aws/codebuild/ME:*",
            *ARTIFACTS,
            LOGIN,
            "ecr:BatchCheckLayerAvailability ecr:BatchGetImage ecr:GetDownloadUrlForLayer ecr:DescribeImages "
            f"ecr:InitiateLayerUpload ecr:UploadLayerPart ecr:CompleteLayerUpload ecr:PutImage {images}",
        ]
    describe = "elasticloadbalancing:DescribeListeners elasticloadbalancing:DescribeRules "
    describe += "elasticloadbalancing:DescribeTargetGroups"
    listener = "elasticloadbalancing:listener/app/ME/#/#"
    rule = "elasticloadbalancing:listener-rule/app/ME/#/#"
    if shifts:
        groups = "elasticloadbalancing:targetgroup/stor-#/# elasticloadbalancing:targetgroup/stor-#/#"
        expected["traffic-policy"] = [
            f"{describe} elasticloadbalancing:DescribeTargetHealth @ *",
            f"elasticloadbalancing:RegisterTargets elasticloadbalancing:DeregisterTargets @ {groups}",
            f"elasticloadbalancing:ModifyRule @ {rule}/# {rule}/#",
        ]
    if by_codedeploy:
        expected["dev-artifacts"] = READ_ARTIFACTS
        expected["codedeploy-policy"] = [
            "ecs:DescribeServices ecs:UpdateServicePrimaryTaskSet @ ecs:service/ME/ME",
            "ecs:CreateTaskSet ecs:DeleteTaskSet @ ecs:task-set/ME/ME/*",
            f"{describe} @ *",
            f"elasticloadbalancing:ModifyListener @ {listener} {listener}",
            f"elasticloadbalancing:ModifyRule @ {rule}/* {rule}/*",
            PASS,
            "cloudwatch:DescribeAlarms @ cloudwatch:alarm:ME-errors#",
        ]
    return expected


REGISTERS = ("settings", "wanted", "verified")
