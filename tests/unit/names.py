"""AWS's rules for names, for all resources that are named after a component."""

from __future__ import annotations

import re

from unit.harness import Resource

SUFFIX = "-0123abc"
"""The suffix that Pulumi adds to a logical name if the program sets no name."""
PREFIXED = "0" * 26
"""The suffix that the provider adds to a name prefix."""
NAMES = {
    # https://docs.aws.amazon.com/chatbot/latest/APIReference/API_CreateSlackChannelConfiguration.html
    "aws:chatbot/slackChannelConfiguration:SlackChannelConfiguration": r"[A-Za-z0-9_-]{1,128}",
    "aws:chatbot/teamsChannelConfiguration:TeamsChannelConfiguration": r"[A-Za-z0-9_-]{1,128}",
    "aws:cloudwatch/eventRule:EventRule": r"[.\-_A-Za-z0-9]{1,64}",
    "aws:cloudwatch/metricAlarm:MetricAlarm": r"[^,]{1,255}",
    "aws:cloudwatch/logGroup:LogGroup": r"[.\-_/#A-Za-z0-9]{1,512}",
    "aws:codebuild/project:Project": r"[A-Za-z0-9][A-Za-z0-9\-_]{1,149}",
    "aws:codeconnections/connection:Connection": r"[\s\S]{1,32}",
    "aws:codedeploy/application:Application": r"[A-Za-z0-9+=,.@_-]{1,100}",
    "aws:codedeploy/deploymentGroup:DeploymentGroup": r"[A-Za-z0-9+=,.@_-]{1,100}",
    "aws:codepipeline/pipeline:Pipeline": r"[A-Za-z0-9.@\-_]{1,100}",
    "aws:dynamodb/table:Table": r"[a-zA-Z0-9_.-]{3,255}",
    "aws:ec2/securityGroup:SecurityGroup": r"[A-Za-z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{1,255}",
    "aws:ecr/repository:Repository": r"[a-z0-9][a-z0-9._/-]{0,254}[a-z0-9]",
    "aws:ecs/service:Service": r"[A-Za-z0-9_-]{1,255}",
    "aws:ecs/taskDefinition:TaskDefinition": r"[A-Za-z0-9_-]{1,255}",
    "aws:iam/role:Role": r"[\w+=,.@-]{1,64}",
    "aws:iam/rolePolicy:RolePolicy": r"[\w+=,.@-]{1,128}",
    "aws:lambda/function:Function": r"[A-Za-z0-9-_]{1,64}",
    "aws:lb/loadBalancer:LoadBalancer": r"(?!internal-)(?!-)[A-Za-z0-9-]{1,32}(?<!-)",
    "aws:lb/targetGroup:TargetGroup": r"(?!-)[A-Za-z0-9-]{1,32}(?<!-)",
    # Pulumi makes a bucket's name lower case.
    "aws:s3/bucket:Bucket": r"[A-Za-z0-9][A-Za-z0-9.-]{1,61}[A-Za-z0-9]",
    "aws:sns/topic:Topic": r"[A-Za-z0-9_-]{1,256}",
}


def misfits(resources: list[Resource]) -> list[str]:
    """Names that AWS would reject."""
    named = [r for r in resources if r.type in NAMES]
    return [f"{r.type} {name(r)}" for r in named if not re.fullmatch(NAMES[r.type], name(r))]


def name(resource: Resource) -> str:
    if "namePrefix" in resource.inputs:
        return str(resource.inputs["namePrefix"]) + PREFIXED
    for key in ("family", "name", "configurationName", "deploymentGroupName"):
        if key in resource.inputs:
            return str(resource.inputs[key])
    return resource.name + SUFFIX
