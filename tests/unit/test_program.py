"""The repository's own program with the sample's stack files."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections import Counter
from dataclasses import fields
from functools import cache
from typing import Any

import pytest
from slipway.build.component import own_buildspec
from slipway.release.function.codedeploy import CodeDeployDeployments
from slipway.release.function.contract import Image, Settings, UserParameters, decode
from slipway.release.function.images import Images
from slipway.release.function.reconcile import Names
from slipway.release.function.state import StateTable
from standin.iam import has_resources
from unit import schema, shapes
from unit.examples import UUID
from unit.harness import Resource, deploy, deploy_stack_file, main, named, of_type, only, program, sg, stack_file
from unit.names import misfits

STACKS = ("dev", "prod")
PIPELINE = "aws:codepipeline/pipeline:Pipeline"
TASK_DEFINITION = "aws:ecs/taskDefinition:TaskDefinition"
ROLE = "aws:iam/role:Role"
ROLE_POLICY = "aws:iam/rolePolicy:RolePolicy"
SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-a1b2c3"

every_stack = pytest.mark.parametrize("stack", STACKS)


@cache
def everything() -> list[Resource]:
    """A stack with everything that is optional, in addition to the two sample stacks: a stage for each strategy."""
    key = "arn:aws:kms:eu-west-1:123456789012:key/k"
    function = "arn:aws:lambda:eu-west-1:123456789012:function:check"
    secrets = {"A": f"{SECRET}:a::", "B": "arn:aws:ssm:eu-west-1:123456789012:parameter/b"}
    commands = {"commands": ["make smoke"], "environment": {"LEVEL": "info"}, "secrets": secrets}
    hooks = [{"stages": ["POST_TEST_TRAFFIC_SHIFT"], "functionArn": function}, {"stages": ["POST_SCALE_UP"]}]
    approval = {"notify": ["ops@example.com"], "link": "https://example.com/{live_commit}/{commit}/{digest}"}
    window = {"cron": "* * 9-16 ? * MON-FRI", "timeZone": "Europe/Berlin"}
    push = [
        {"branches": {"includes": ["main"]}, "filePaths": {"excludes": ["docs/**"]}},
        {"tags": {"includes": ["v*"]}},
    ]
    overrides: dict[str, Any] = {
        "slipway:source": {
            "connection": {"providerType": "GitHub", "repository": "acme/storefront", "push": push},
        },
        "slipway:registry": {
            "kmsKeyArn": key,
            "pullPrincipals": ["arn:aws:iam::111122223333:role/x"],
            "expireDays": 90,
        },
        "slipway:service": {
            "secrets": secrets,
            "secretsKmsKeyArns": [key],
            "tasks": {"min": 2, "max": 4},
            "alarmNames": ["latency"],
            "url": "https://shop.example.com",
        },
        "slipway:loadBalancer": {
            "certificateArn": "arn:aws:acm:eu-west-1:123456789012:certificate/1",
            "testListener": {"ingressCidrs": ["10.0.0.0/8"]},
        },
        "slipway:stages": [
            {"name": "a", "strategy": {"rolling": {"deadlineMinutes": 30, "ecsAction": True}}, "tests": commands},
            {"name": "b", "strategy": {"blueGreen": {"hooks": hooks}}, "tests": {**commands, "inVpc": True}},
            {"name": "c", "strategy": {"canary": {"percent": 2.5}}, "approval": approval, "window": window},
            {"name": "d", "strategy": {"linear": {"hooks": hooks}}, "service": {"errorAlarm": False}},
            {"name": "e", "strategy": {"codeDeployBlueGreen": {}}, "approval": approval, "tests": commands},
            {
                "name": "f",
                "strategy": {"codeDeployBlueGreen": {"onReady": "STOP_DEPLOYMENT", "waitMinutes": 5}},
                "loadBalancer": {"testListener": False},
            },
            {"name": "g", "service": {"port": False, "url": False}, "approval": {}},
        ],
        "slipway:scanGate": {"enhanced": True},
        "slipway:codeScans": [{**commands, "name": "lint"}],
        "slipway:notifications": {
            "emails": ["ops@example.com"],
            "slack": {"teamId": "T0", "channelId": "C0"},
            "teams": {"tenantId": UUID, "teamId": UUID, "channelId": "19%3ab6ef%40thread.tacv2"},
        },
        "slipway:pipeline": {"executionMode": "QUEUED", "variables": {"DEPTH": "full"}},
    }
    return deploy_stack_file("dev", overrides)


@cache
def feature() -> list[Resource]:
    """A stack for a feature branch: a copy of dev's file with two more lines."""
    parts = {
        "slipway:featureBranch": {"imageDays": 3},
        "slipway:source": {"codecommit": {"repository": "storefront", "branch": "x"}},
    }
    return deploy(main, stack_file("dev", parts), stack="feature-x")


@cache
def two_stages() -> list[Resource]:
    """Staging and, after an approval, production, in one stack."""
    stages = [
        {"name": "staging", "strategy": {"rolling": {}}},
        {
            "name": "production",
            "approval": {},
            "strategy": {"canary": {}},
            "service": {"cpu": 512, "memory": 1024, "tasks": {"min": 2, "max": 6}},
            "loadBalancer": {"deletionProtection": True},
        },
    ]
    return deploy_stack_file("dev", {"slipway:stages": stages})


@cache
def pull_requests() -> list[Resource]:
    """A stack that checks pull requests, and deploys nothing."""
    github = "arn:aws:codeconnections:eu-west-1:123456789012:connection/0f-1"
    source = {"connection": {"arn": github, "repository": "acme/storefront"}}
    parts = {"slipway:source": source, "slipway:stages": [], "slipway:pullRequests": {"commands": ["make test"]}}
    return deploy_stack_file("dev", parts)


def programs() -> dict[str, list[Resource]]:
    return {
        **{stack: program(stack) for stack in STACKS},
        "everything": everything(),
        "feature": feature(),
        "two": two_stages(),
        "pull requests": pull_requests(),
    }


def all_resources() -> list[tuple[str, Resource]]:
    return [(name, resource) for name, resources in programs().items() for resource in resources]


def physical_names(resources: list[Resource]) -> dict[str, list[str]]:
    """Physical names that the program sets."""
    names: dict[str, list[str]] = {}
    for resource in resources:
        for key in ("name", "family", "bucket"):
            if key in resource.inputs and resource.type.startswith("aws:") and ":s3/bucket" not in resource.type:
                names.setdefault(resource.type, []).append(resource.inputs[key])
    return {type_: sorted(found) for type_, found in names.items()}


OF_SERVICE = {
    "slipway:index:LoadBalancer": 1,
    "slipway:index:ReleaseFunction": 1,
    "slipway:index:Service": 1,
    "awsx:ec2:Vpc": 1,
    "aws:appautoscaling/policy:Policy": 1,
    "aws:appautoscaling/target:Target": 1,
    "aws:cloudwatch/metricAlarm:MetricAlarm": 1,
    "aws:ec2/securityGroup:SecurityGroup": 2,
    "aws:ecs/cluster:Cluster": 1,
    "aws:ecs/service:Service": 1,
    TASK_DEFINITION: 1,
    "aws:lb/listener:Listener": 1,
    "aws:lb/listenerRule:ListenerRule": 1,
    "aws:lb/loadBalancer:LoadBalancer": 1,
    "aws:lb/targetGroup:TargetGroup": 2,
    "aws:dynamodb/table:Table": 1,
    # A deployment of the service, and an execution that did not succeed.
    "aws:lambda/permission:Permission": 2,
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": 2,
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": 2,
}
OF_PIPELINE = {
    "pulumi:pulumi:Stack": 1,
    "slipway:index:ArtifactStore": 1,
    "slipway:index:Pipeline": 1,
    "aws:cloudwatch/eventRule:EventRule": 3,
    "aws:cloudwatch/eventTarget:EventTarget": 3,
    PIPELINE: 1,
    "aws:kms/key:Key": 1,
    "aws:s3/bucket:Bucket": 1,
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": 1,
    "aws:s3/bucketPolicy:BucketPolicy": 1,
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": 1,
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": 1,
    "aws:s3/bucketVersioning:BucketVersioning": 1,
}


def test_dev_builds_scans_releases_and_tests_with_these_resources_and_no_others() -> None:
    assert Counter(resource.type for resource in program("dev")) == {
        **OF_SERVICE,
        **OF_PIPELINE,
        "slipway:index:Build": 1,
        "slipway:index:CommandProject": 1,
        "slipway:index:Registry": 1,
        "slipway:index:ScanGateFunction": 1,
        "aws:cloudwatch/logGroup:LogGroup": 5,
        "aws:codebuild/project:Project": 2,
        "aws:ecr/lifecyclePolicy:LifecyclePolicy": 1,
        "aws:ecr/repository:Repository": 1,
        ROLE: 8,
        ROLE_POLICY: 9,
        "aws:lambda/function:Function": 2,
        "aws:lambda/invocation:Invocation": 1,
    }


def test_prod_builds_nothing_and_releases_what_dev_verified_with_these_resources_and_no_others() -> None:
    assert Counter(resource.type for resource in program("prod")) == {
        **OF_SERVICE,
        **OF_PIPELINE,
        "aws:cloudwatch/logGroup:LogGroup": 2,
        ROLE: 6,
        ROLE_POLICY: 6,
        "aws:lambda/function:Function": 1,
        "aws:lambda/invocation:Invocation": 3,
    }


def test_prod_uses_the_image_that_dev_verified_waits_for_approval_and_releases_it_as_a_canary() -> None:
    stages = only(program("prod"), PIPELINE).inputs["stages"]
    assert [(stage["name"], [(a["name"], a["provider"]) for a in stage["actions"]]) for stage in stages] == [
        ("Source", [("Source", "ECR")]),
        ("prod", [("Inspect", "Lambda"), ("Approve", "Manual"), ("Deploy", "Lambda")]),
    ]
    source, approve = stages[0]["actions"][0], stages[1]["actions"][1]
    assert source["configuration"] == {"RepositoryName": "storefront-dev", "ImageTag": "verified-dev"}
    assert approve["timeoutInMinutes"] == 1440
    deployment = settings_of(program("prod"), "storefront-prod")["deployment"]
    assert deployment["strategy"] == "CANARY"
    assert deployment["canaryConfiguration"] == {"canaryPercent": 10, "canaryBakeTimeInMinutes": 10}
    assert deployment["bakeTimeInMinutes"] == 10


def settings_of(resources: list[Resource], service: str) -> dict[str, Any]:
    """The settings with which the release function deploys a service."""
    return dict(named(resources, f"{service}-release-rollout-1").json("input")["rollout"]["settings"])


def test_prods_source_is_the_image_that_dev_verifies() -> None:
    repository = only(program("dev"), "aws:ecr/repository:Repository").inputs["name"]
    functions = [r.inputs for r in program("dev") if r.type == "aws:lambda/function:Function"]
    [environment] = [f["environment"]["variables"]["ENVIRONMENT"] for f in functions if f["handler"] == HANDLER]
    [source] = only(program("prod"), PIPELINE).inputs["stages"][0]["actions"]
    assert source["configuration"] == {"RepositoryName": repository, "ImageTag": f"verified-{environment}"}
    [container] = only(program("prod"), TASK_DEFINITION).json("containerDefinitions")
    assert container["image"].partition(":")[0].endswith(f"/{repository}")


HANDLER = "release.handler.handler"


@every_stack
def test_a_stack_exports_where_its_service_pipeline_images_and_releases_are(stack: str) -> None:
    assert only(program(stack), "pulumi:pulumi:Stack").outputs == {
        "url": f"http://storefront-{stack}.elb.example",
        "pipeline": "https://eu-west-1.console.aws.amazon.com/codesuite/codepipeline/pipelines/"
        f"storefront-{stack}/view",
        # Prod has no repository of its own.
        "repository": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/storefront-dev",
        "releaseState": f"storefront-{stack}-release",
        "dnsName": f"storefront-{stack}.elb.example",
    }


def of_service(name: str) -> dict[str, list[str]]:
    return {
        "aws:cloudwatch/logGroup:LogGroup": [f"/aws/lambda/{name}-release", f"/ecs/{name}"],
        "aws:ecs/service:Service": [name],
        TASK_DEFINITION: [f"{name}-template"],
        "aws:lambda/function:Function": [f"{name}-release"],
        "aws:lb/loadBalancer:LoadBalancer": [name],
        "aws:dynamodb/table:Table": [f"{name}-release"],
    }


def joined(*names: dict[str, list[str]]) -> dict[str, list[str]]:
    types = {type_ for each in names for type_ in each}
    return {type_: sorted(n for each in names for n in each.get(type_, [])) for type_ in types}


def of_build(stack: str) -> dict[str, list[str]]:
    return {
        "aws:cloudwatch/logGroup:LogGroup": [f"/aws/codebuild/{stack}", f"/aws/lambda/{stack}-scan-gate"],
        "aws:codebuild/project:Project": [stack],
        "aws:ecr/repository:Repository": [stack],
        "aws:lambda/function:Function": [f"{stack}-scan-gate"],
    }


def of_tests(service: str) -> dict[str, list[str]]:
    return {
        "aws:cloudwatch/logGroup:LogGroup": [f"/aws/codebuild/{service}-tests"],
        "aws:codebuild/project:Project": [f"{service}-tests"],
    }


def of_stack(stack: str) -> dict[str, list[str]]:
    return {PIPELINE: [stack], "aws:ecs/cluster:Cluster": [stack]}


def test_names_are_made_of_the_app_and_the_stack() -> None:
    dev, prod = "storefront-dev", "storefront-prod"
    assert physical_names(program("dev")) == joined(of_stack(dev), of_service(dev), of_build(dev), of_tests(dev))
    assert physical_names(program("prod")) == joined(of_stack(prod), of_service(prod))


def test_the_resources_of_an_environment_are_named_after_it() -> None:
    resources = deploy_stack_file("prod", {"slipway:stages": [{"name": "eu"}]})
    assert physical_names(resources) == joined(of_stack("storefront-prod"), of_service("storefront-eu"))


def test_stacks_share_no_name_in_one_account() -> None:
    stacks = [program("dev"), program("prod"), feature()]
    for number, one in enumerate(stacks):
        for other in stacks[:number]:
            named = [{(t, n) for t, names in physical_names(r).items() for n in names} for r in (one, other)]
            assert named[0] & named[1] == set()
            # Names generated by Pulumi start with the logical one.
            made = [{(r.type, r.name) for r in each if r.type.startswith("aws:")} for each in (one, other)]
            assert made[0] & made[1] == set()


def test_stacks_differ_in_the_settings_of_their_files() -> None:
    def settings(stack: str) -> dict[str, Any]:
        resources = program(stack)
        template = only(resources, TASK_DEFINITION).inputs
        return {
            "size": (template["cpu"], template["memory"]),
            "most tasks": only(resources, "aws:appautoscaling/target:Target").inputs["maxCapacity"],
            "actions": [len(stage["actions"]) for stage in only(resources, PIPELINE).inputs["stages"]],
            "protected": only(resources, "aws:lb/loadBalancer:LoadBalancer").inputs["enableDeletionProtection"],
            "network": only(resources, "awsx:ec2:Vpc").inputs["natGateways"],
            "strategy": only(resources, "aws:ecs/service:Service").inputs["deploymentConfiguration"]["strategy"],
        }

    assert settings("dev") == {
        "size": ("256", "512"),
        "most tasks": 2,
        "actions": [1, 1, 1, 1],
        "protected": False,
        "network": {"strategy": "Single"},
        "strategy": "ROLLING",
    }
    assert settings("prod") == {
        "size": ("512", "1024"),
        "most tasks": 6,
        "actions": [1, 3],
        "protected": True,
        "network": {"strategy": "OnePerAz"},
        "strategy": "CANARY",
    }


# Several stages in one stack


def test_each_stage_has_its_own_service_and_load_balancer_with_its_overrides() -> None:
    resources = two_stages()
    [staging] = [r.inputs for r in of_type(resources, TASK_DEFINITION) if "staging" in r.name]
    [production] = [r.inputs for r in of_type(resources, TASK_DEFINITION) if "production" in r.name]
    assert (staging["cpu"], staging["memory"]) == ("256", "512")
    assert (production["cpu"], production["memory"]) == ("512", "1024")
    for template in (staging, production):  # settings that no stage overrides are those of the file
        [container] = json.loads(template["containerDefinitions"])
        assert container["environment"] == [{"name": "GREETING", "value": "Hello from dev"}]
    balancers = {r.name: r.inputs["enableDeletionProtection"] for r in of_type(resources, BALANCER)}
    assert balancers == {"storefront-staging": False, "storefront-production": True}
    targets = {r.name: r.inputs["maxCapacity"] for r in of_type(resources, "aws:appautoscaling/target:Target")}
    assert targets == {"storefront-staging-scaling": 2, "storefront-production-scaling": 6}
    assert len(of_type(resources, "awsx:ec2:Vpc")) == len(of_type(resources, "aws:ecs/cluster:Cluster")) == 1


BALANCER = "aws:lb/loadBalancer:LoadBalancer"


def test_stages_of_one_stack_share_no_name_and_no_rule() -> None:
    staging, production = "storefront-staging", "storefront-production"
    assert physical_names(two_stages()) == joined(
        of_stack("storefront-dev"), of_build("storefront-dev"), of_service(staging), of_service(production)
    )
    listeners = {r.name: r.inputs["listenerArn"] for r in of_type(two_stages(), "aws:lb/listenerRule:ListenerRule")}
    place = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener"
    assert listeners == {f"{name}-rule": f"{place}/{name}-http" for name in (staging, production)}


def test_stages_of_one_stack_release_one_after_the_other() -> None:
    stages = only(two_stages(), PIPELINE).inputs["stages"]
    assert [(stage["name"], [action["name"] for action in stage["actions"]]) for stage in stages] == [
        ("Source", ["Source"]),
        ("Build", ["Build"]),
        ("Scan", ["Image"]),
        ("staging", ["Deploy"]),
        ("production", ["Inspect", "Approve", "Deploy"]),
    ]


@pytest.mark.parametrize(("zone", "names"), [({}, {"dnsName", "dnsRecords"}), ({"zone": "example.com"}, {"dnsName"})])
def test_the_records_of_a_domain_are_an_output_if_somebody_has_to_make_them(zone: Any, names: set[str]) -> None:
    domain = {"names": ["shop.example.com"], **zone}
    outputs = only(
        deploy_stack_file("dev", {"slipway:loadBalancer": {"domain": domain}}), "pulumi:pulumi:Stack"
    ).outputs
    assert {name for name in outputs if name.startswith("dns")} == names


def test_a_stack_of_several_stages_exports_where_each_of_them_is() -> None:
    assert only(two_stages(), "pulumi:pulumi:Stack").outputs == {
        "pipeline": "https://eu-west-1.console.aws.amazon.com/codesuite/codepipeline/pipelines/storefront-dev/view",
        "repository": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/storefront-dev",
        "url-staging": "http://storefront-staging.elb.example",
        "releaseState-staging": "storefront-staging-release",
        "dnsName-staging": "storefront-staging.elb.example",
        "dnsName-production": "storefront-production.elb.example",
        "url-production": "http://storefront-production.elb.example",
        "releaseState-production": "storefront-production-release",
    }


def test_a_stack_without_stages_has_no_environment_and_can_check_pull_requests() -> None:
    types = Counter(resource.type for resource in pull_requests())
    assert [t for t in types if t.startswith(("aws:ecs/", "aws:lb/", "aws:lambda/invocation", "awsx:"))] == []
    assert [stage["name"] for stage in only(pull_requests(), PIPELINE).inputs["stages"]] == ["Source", "Build", "Scan"]
    assert (
        only(pull_requests(), "aws:codebuild/webhook:Webhook").inputs["projectName"] == "storefront-dev-pull-requests"
    )


# Feature branches


def policies(resources: list[Resource]) -> dict[str, str]:
    """Every policy document of a program, as text, by its resource."""
    keys = ("policy", "assumeRolePolicy")
    return {f"{r.type} {r.name} {key}": r.inputs[key] for r in resources for key in keys if key in r.inputs}


def test_a_feature_branch_has_no_access_to_resources_of_dev_or_prod() -> None:
    documents = policies(feature())
    assert len(documents) > 15
    for where, text in documents.items():
        # Its own, and the CodeCommit repository, which all stacks read.
        names = {name for name in re.findall(r"storefront[\w-]*", text) if not name.startswith("storefront-feature-x")}
        assert (where, names) == (where, {"storefront"} if where == SOURCE else set())
    others = re.compile(r"-(dev|prod)\b|/(dev|prod)\b")
    assert [where for where, text in documents.items() if others.search(text)] == []
    # The same search finds dev's resources in the stack of dev.
    assert len([where for where, text in policies(program("dev")).items() if others.search(text)]) > 10


SOURCE = f"{ROLE_POLICY} storefront-feature-x-pipeline-policy policy"


def test_a_feature_branch_builds_its_branch_and_is_an_environment_of_its_own() -> None:
    resources = feature()
    stages = only(resources, PIPELINE).inputs["stages"]
    assert stages[0]["actions"][0]["configuration"]["BranchName"] == "x"
    event = named(resources, "storefront-feature-x-push", "EventRule").json("eventPattern")
    assert event["detail"]["referenceName"] == ["x"]
    assert [stage["name"] for stage in stages] == ["Source", "Build", "Scan", "feature-x"]
    name = "storefront-feature-x"
    assert physical_names(resources) == joined(of_stack(name), of_service(name), of_build(name), of_tests(name))


def test_the_images_of_a_feature_branch_expire_after_days_unless_they_are_live_or_verified() -> None:
    rules = only(feature(), "aws:ecr/lifecyclePolicy:LifecyclePolicy").json("policy")["rules"]
    [short_lived] = [rule["selection"] for rule in rules if rule["rulePriority"] == 5]
    assert short_lived == {
        "tagStatus": "tagged",
        "tagPatternList": ["*"],
        "countType": "sinceImagePushed",
        "countUnit": "days",
        "countNumber": 3,
    }
    prefixes = [rule["selection"].get("tagPrefixList") for rule in rules if rule["rulePriority"] < 4]
    assert prefixes == [["live-"], ["verified-"], ["cache"]]
    in_dev = only(program("dev"), "aws:ecr/lifecyclePolicy:LifecyclePolicy").json("policy")["rules"]
    assert [rule["rulePriority"] for rule in in_dev] == [1, 2, 3, 4, 6]


def test_all_resources_of_a_feature_branch_are_deleted_with_it() -> None:
    repository = only(feature(), "aws:ecr/repository:Repository")
    assert repository.inputs["forceDelete"] is True
    assert only(feature(), "aws:s3/bucket:Bucket").inputs["forceDestroy"] is True
    assert only(feature(), BALANCER).inputs["enableDeletionProtection"] is False
    assert only(feature(), "aws:dynamodb/table:Table").inputs["deletionProtectionEnabled"] is False
    assert [r.name for r in feature() if r.protect or r.retain] == []


def test_the_longest_accepted_name_fits_everything_that_is_named_after_it() -> None:
    resources = deploy(main, stack_file("dev"), stack="s" * 21)
    assert [len(name) for name in physical_names(resources)[PIPELINE]] == [32]
    assert misfits(resources) == []


def test_all_optional_resources_have_a_name_that_fits() -> None:
    assert misfits(everything()) == []


# Every input


def test_the_providers_schema_accepts_every_input() -> None:
    found = {
        f"{stack} {resource.name}": schema.mistakes(resource.type, resource.inputs)
        for stack, resource in all_resources()
        if resource.type.startswith("aws:")
    }
    assert {where: mistakes for where, mistakes in found.items() if mistakes} == {}
    assert len(found) > 100


def test_ecs_accepts_every_task_definition() -> None:
    for _, resource in all_resources():
        if resource.type == TASK_DEFINITION:
            request = shapes.task_definition(resource.inputs)
            assert shapes.mistakes("ecs", "RegisterTaskDefinition", request) == []


def test_ecs_accepts_all_settings() -> None:
    # The requests of the release function, for the settings that Pulumi sends.
    settings = [r.json("input")["rollout"]["settings"] for _, r in all_resources() if r.name.endswith("-rollout-1")]
    by_ecs = [found for found in settings if found["deployment"]]
    assert [shapes.mistakes("ecs", "UpdateService", shapes.update_service(found)) for found in by_ecs] == [[]] * 10
    assert {found["deployment"]["strategy"] for found in by_ecs} == {"ROLLING", "BLUE_GREEN", "CANARY", "LINEAR"}
    assert len(settings) == 12


class Templates:
    """ECS, as far as the release function reads a template."""

    def __init__(self, definition: dict[str, Any]) -> None:
        self.definition = definition

    def describe_task_definition(self, **_: Any) -> dict[str, Any]:
        return {"taskDefinition": self.definition}


@pytest.mark.parametrize("environment", ["e", "f"])
def test_codedeploy_and_ecs_accept_what_the_function_prepares(environment: str) -> None:
    name = f"storefront-{environment}"
    settings, image = decode(Settings, settings_of(everything(), name)), Image("url", f"sha256:{'a' * 64}")
    template = shapes.task_definition(named(everything(), f"{name}-template").inputs)
    group = named(everything(), f"{name}-group").inputs
    names = Names(cluster="c", service=name, family=name, container="app")
    table, images = StateTable(None, "t"), Images(None, "r")
    service = CodeDeployDeployments(Templates(template), None, table, images, names, None, {})
    with zipfile.ZipFile(io.BytesIO(service.artifact(settings, image))) as archive:
        files = {file: json.loads(archive.read(file)) for file in archive.namelist()}

    assert files.keys() == {"taskdef.json", "appspec.yaml", "imageDetail.json"}
    assert files["imageDetail.json"] == {"ImageURI": f"url@sha256:{'a' * 64}"}
    assert shapes.mistakes("ecs", "RegisterTaskDefinition", files["taskdef.json"]) == []
    assert files["taskdef.json"]["family"] == name
    assert [c["image"] for c in files["taskdef.json"]["containerDefinitions"]] == ["<IMAGE1_NAME>"]
    assert files["appspec.yaml"] == {
        "version": 0.0,
        "Resources": [
            {
                "TargetService": {
                    "Type": "AWS::ECS::Service",
                    "Properties": {
                        "TaskDefinition": "<TASK_DEFINITION>",
                        "LoadBalancerInfo": {"ContainerName": "app", "ContainerPort": 8080},
                        "NetworkConfiguration": {
                            "AwsvpcConfiguration": {
                                "Subnets": ["subnet-3"],
                                "SecurityGroups": [sg(f"{name}-tasks")],
                                "AssignPublicIp": "DISABLED",
                            }
                        },
                    },
                }
            }
        ],
    }
    deployment = shapes.create_deployment(group, files["appspec.yaml"])
    assert shapes.mistakes("codedeploy", "CreateDeployment", deployment) == []


def test_codedeploy_accepts_every_group() -> None:
    groups = [r.inputs for _, r in all_resources() if r.type == "aws:codedeploy/deploymentGroup:DeploymentGroup"]
    requests = [shapes.deployment_group(group) for group in groups]
    assert [shapes.mistakes("codedeploy", "CreateDeploymentGroup", request) for request in requests] == [[], []]


def test_codebuild_accepts_every_project() -> None:
    projects = [r.inputs for _, r in all_resources() if r.type == "aws:codebuild/project:Project"]
    assert [m for p in projects for m in shapes.mistakes("codebuild", "CreateProject", shapes.project(p))] == []
    assert len(projects) > 8


def test_the_environment_of_every_function_is_within_lambdas_limit() -> None:
    # https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
    functions = [r.inputs for _, r in all_resources() if r.type == "aws:lambda/function:Function"]
    assert max(len(json.dumps(function["environment"]["variables"])) for function in functions) <= 4096


def test_every_rollout_is_within_lambdas_limit_for_a_call() -> None:
    # https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
    inputs = [r.inputs["input"] for _, r in all_resources() if r.type == "aws:lambda/invocation:Invocation"]
    assert max(map(len, inputs)) <= 6_000_000


def test_the_function_reads_the_parameters_of_every_action_that_invokes_it() -> None:
    known = {field.name for field in fields(UserParameters)}
    texts = [
        action["configuration"]["UserParameters"]
        for _, resource in all_resources()
        if resource.type == PIPELINE
        for stage in resource.inputs["stages"]
        for action in stage["actions"]
        if action["provider"] == "Lambda"
    ]
    parameters = [decode(UserParameters, json.loads(text)) for text in texts]
    assert {each.step for each in parameters} == {"inspect", "prepare", "deploy", "scan"}
    # A key that the function does not know would be ignored silently.
    assert {key for text in texts for key in json.loads(text)} == known


def test_codepipeline_accepts_every_pipeline() -> None:
    for _, resource in all_resources():
        if resource.type == PIPELINE:
            assert shapes.mistakes("codepipeline", "CreatePipeline", shapes.pipeline(resource.inputs)) == []


def test_every_input_artifact_of_an_action_is_the_output_of_an_earlier_one() -> None:
    # https://docs.aws.amazon.com/codepipeline/latest/userguide/pipeline-requirements.html
    for _, resource in all_resources():
        if resource.type != PIPELINE:
            continue
        stages = resource.inputs["stages"]
        assert 2 <= len(stages) <= 50
        assert len({stage["name"] for stage in stages}) == len(stages)
        assert [action["category"] for action in stages[0]["actions"]] == ["Source"]
        artifacts: list[str] = []
        namespaces = ["codepipeline", "variables"]
        for stage in stages:
            assert len({action["name"] for action in stage["actions"]}) == len(stage["actions"])
            order = [a.get("runOrder", 1) for a in stage["actions"]]
            # Scans do not wait for each other.
            assert order == ([1] * len(order) if stage["name"] == "Scan" else [*range(1, len(order) + 1)])
            for action in stage["actions"]:
                assert set(action.get("inputArtifacts", [])) <= set(artifacts)
                read = re.findall(r"#\{([\w-]+)\.\w+\}", json.dumps(action["configuration"]))
                assert [key for key, value in action["configuration"].items() if len(value) > 1000] == []
                assert set(read) <= set(namespaces)
                artifacts += action.get("outputArtifacts", [])
                namespaces += [action["namespace"]] if "namespace" in action else []
        assert len(set(artifacts)) == len(artifacts)
        assert len(set(namespaces)) == len(namespaces)
        assert set(artifacts) & set(namespaces) == set()


EXPORTED = {
    "deploy": {"IMAGE_URI", "IMAGE_DIGEST", "COMMIT_ID"},
    "inspect": {"IMAGE_DIGEST", "COMMIT_ID", "LIVE_DIGEST", "LIVE_COMMIT_ID"},
    "scan": {"IMAGE_DIGEST", "ALLOWED"},
}
OF_SOURCES = {"CodeCommit": {"CommitId"}, "CodeStarSourceConnection": {"CommitId"}, "ECR": {"ImageDigest"}}


def test_every_variable_that_a_pipeline_reads_is_exported_by_its_action() -> None:
    for _, resource in all_resources():
        if resource.type != PIPELINE:
            continue
        exported = {"codepipeline": {"PipelineExecutionId"}}
        exported["variables"] = {variable["name"] for variable in resource.inputs.get("variables", [])}
        for action in [action for stage in resource.inputs["stages"] for action in stage["actions"]]:
            if action["provider"] == "Lambda" and "namespace" in action:
                step = json.loads(action["configuration"]["UserParameters"])["step"]
                exported[action["namespace"]] = EXPORTED[step]
            exported |= {"Source": OF_SOURCES[action["provider"]]} if action["category"] == "Source" else {}
        read = re.findall(r"#\{([\w-]+)\.(\w+)\}", json.dumps(resource.inputs["stages"]))
        assert [(space, name) for space, name in read if name not in exported[space]] == []
        assert len(read) > 2


def test_the_image_is_for_the_container_that_receives_the_services_requests() -> None:
    dev = only([r for r in program("dev") if r.name == "storefront-dev"], "aws:codebuild/project:Project").inputs
    args = {v["name"]: v["value"] for v in dev["environment"]["environmentVariables"]}
    assert dev["source"] == {"type": "CODEPIPELINE", "buildspec": own_buildspec()}
    for stack in STACKS:
        resources = program(stack)
        [container] = only(resources, TASK_DEFINITION).json("containerDefinitions")
        [balanced] = only(resources, "aws:ecs/service:Service").inputs["loadBalancers"]
        function = named(resources, f"storefront-{stack}-release", ":Function").inputs["environment"]["variables"]
        names = {container["name"], balanced["containerName"], args["CONTAINER_NAME"], function["CONTAINER"]}
        assert names == {"app"}
        assert container["portMappings"][0]["containerPort"] == balanced["containerPort"]
        assert args["REPOSITORY_URL"] == function["REPOSITORY_URL"] == container["image"].partition(":")[0]


def test_no_variable_looks_like_a_secret() -> None:
    variables: dict[str, str] = {}
    for _, resource in all_resources():
        if resource.type == "aws:codebuild/project:Project":
            args = resource.inputs["environment"].get("environmentVariables", [])
            variables |= {variable["name"]: variable["value"] for variable in args if variable["type"] == "PLAINTEXT"}
        if resource.type == "aws:lambda/function:Function":
            variables |= resource.inputs["environment"]["variables"]
        if resource.type == TASK_DEFINITION:
            [container] = resource.json("containerDefinitions")
            variables |= {variable["name"]: variable["value"] for variable in container["environment"]}
    names = re.compile(r"PASS|SECRET|TOKEN|CREDENTIAL|PRIVATE|(^|_)KEY(_ID)?$", re.IGNORECASE)
    values = re.compile(r"\b(AKIA|ASIA)[A-Z0-9]{16}\b|-----BEGIN|\bgh[pousr]_\w{20,}|://[^/\s]+:[^/\s]+@")
    assert {k: v for k, v in variables.items() if names.search(k) or values.search(v)} == {}
    assert len(variables) > 12


def test_no_secret_is_passed_to_a_resource() -> None:
    kept = {(r.type, key) for _, r in all_resources() for key in r.secrets}
    assert kept == set()


# Every policy

STARS = {
    "ec2:CreateNetworkInterface": "CodeBuild's guide has no narrower form",
    "ec2:DeleteNetworkInterface": "CodeBuild's guide has no narrower form",
    "ec2:DescribeDhcpOptions": "takes no resource",
    "ec2:DescribeNetworkInterfaces": "takes no resource",
    "ec2:DescribeSecurityGroups": "takes no resource",
    "ec2:DescribeSubnets": "takes no resource",
    "ec2:DescribeVpcs": "takes no resource",
    "elasticloadbalancing:DescribeListeners": "takes no resource",
    "elasticloadbalancing:DescribeRules": "takes no resource",
    "elasticloadbalancing:DescribeTargetGroups": "takes no resource",
    "elasticloadbalancing:DescribeTargetHealth": "takes no resource",
    "inspector2:ListCoverage": "takes no resource",
    "inspector2:ListFindings": "takes no resource",
    "codedeploy:StopDeployment": "takes no resource",
    "codepipeline:PutJobFailureResult": "takes no resource",
    "codepipeline:PutJobSuccessResult": "takes no resource",
    "ecr:GetAuthorizationToken": "takes no resource",
    "ecs:DescribeTaskDefinition": "takes no resource",
    "ecs:ListTasks": "authorized on container instances, which Fargate has none of; the cluster is a condition",
    "ecs:RegisterTaskDefinition": "AWS's pages contradict each other; the roles that it may pass are named",
    "lambda:ListFunctions": "takes no resource",
}
PERMISSIONS = {
    # Actions that are not operations of the service's API.
    "codecommit:CancelUploadArchive",
    "codecommit:GetUploadArchiveStatus",
    "codecommit:UploadArchive",
    "codeconnections:GetConnectionToken",
    "codeconnections:UseConnection",
    # Those of the former service's API, which boto3 has too, are not looked up.
    "codestar-connections:GetConnection",
    "codestar-connections:GetConnectionToken",
    "codestar-connections:UseConnection",
    "iam:PassRole",
    "lambda:InvokeFunction",
    "s3:GetObjectVersion",
    "s3:ListBucket",
}


MODELS = {"elasticloadbalancing": "elbv2"}
"""Models in botocore whose name is not the prefix of their actions."""


def documents() -> dict[str, dict[str, Any]]:
    """Every policy document, by its resource and input."""
    found = {}
    for stack, resource in all_resources():
        for key in ("policy", "assumeRolePolicy"):
            if key in resource.inputs and "lifecycle" not in resource.type:
                found[f"{stack} {resource.type} {resource.name}"] = resource.json(key)
    return found


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def allowed() -> list[tuple[str, dict[str, Any]]]:
    """Every allowed action, with its statement."""
    statements = [s for document in documents().values() for s in document["Statement"] if s["Effect"] == "Allow"]
    return [(action, statement) for statement in statements for action in listed(statement["Action"])]


def test_every_document_has_the_current_version_and_at_least_one_statement() -> None:
    assert {document["Version"] for document in documents().values()} == {"2012-10-17"}
    assert [where for where, document in documents().items() if not document["Statement"]] == []
    assert len(documents()) > 35


def test_every_action_exists() -> None:
    operations = {
        (prefix, operation)
        for prefix in {action.partition(":")[0] for action, _ in allowed()} - {"codestar-connections"}
        for operation in shapes.description(MODELS.get(prefix, prefix))["operations"]
    }
    unknown = {
        action
        for action, _ in allowed()
        if not any(p == action.partition(":")[0] and matches(action.partition(":")[2], o) for p, o in operations)
    }
    assert unknown == PERMISSIONS


def matches(pattern: str, operation: str) -> bool:
    return operation == pattern or (pattern[-1] == "*" and operation.startswith(pattern[:-1]))


def test_no_action_has_a_wildcard_but_those_that_kms_has_in_two_variants() -> None:
    assert {action for action, _ in allowed() if "*" in action} == {"kms:GenerateDataKey*", "kms:ReEncrypt*"}


def test_only_actions_without_resource_level_permissions_are_allowed_on_everything() -> None:
    assert {action for action, s in allowed() if "*" in listed(s.get("Resource", []))} == STARS.keys()
    reasons = {action: "takes no resource" for action in STARS if not has_resources(action)}
    assert reasons == {action: why for action, why in STARS.items() if why == "takes no resource"}
    lists = [s["Condition"] for action, s in allowed() if action == "ecs:ListTasks"]
    assert [list(condition["ArnEquals"]) for condition in lists] == [["ecs:cluster"]] * 12


def test_an_action_without_resource_level_permissions_is_allowed_on_nothing_else() -> None:
    on = {action: listed(s["Resource"]) for action, s in allowed() if not has_resources(action)}
    assert [action for action, resources in on.items() if resources != ["*"]] == []
    assert len(on) > 10


def test_resources_are_limited_to_the_account_and_region_where_their_arns_have_them() -> None:
    arn = re.compile(r"arn:aws:(s3:::|iam::123456789012:|[a-z-]+:eu-west-1:123456789012:)[a-z0-9][\w:/.-]+?([:/]\*)?")
    resources = {r for _, s in allowed() for r in listed(s.get("Resource", [])) if r != "*"}
    assert {r for r in resources if not arn.fullmatch(r)} == {INTERFACES}
    # The ARN of a new network interface is not known; the subnets that it may be in are.
    conditions = [s["Condition"] for _, s in allowed() if s.get("Resource") == INTERFACES]
    assert conditions == [
        {
            "StringEquals": {"ec2:AuthorizedService": "codebuild.amazonaws.com"},
            "ArnEquals": {"ec2:Subnet": ["arn:aws:ec2:eu-west-1:123456789012:subnet/subnet-3"]},
        }
    ]


INTERFACES = "arn:aws:ec2:eu-west-1:123456789012:network-interface/*"


def test_roles_are_passed_by_name_to_tasks_and_those_of_a_strategy_to_ecs() -> None:
    passed = {"ecs-tasks.amazonaws.com": set[str](), "ecs.amazonaws.com": set[str]()}
    for action, statement in allowed():
        if action == "iam:PassRole":
            [(operator, condition)] = statement["Condition"].items()
            assert (operator, condition.keys()) == ("StringEquals", {"iam:PassedToService"})
            passed[condition["iam:PassedToService"]] |= {r.partition("/")[2] for r in statement["Resource"]}
    services = [f"storefront-{e}" for e in ("dev", "prod", "feature-x", "staging", "production", *"abcdefg")]
    assert passed["ecs-tasks.amazonaws.com"] == {
        f"{service}-{role}-role" for service in services for role in ("execution", "task")
    }
    assert passed["ecs.amazonaws.com"] == {
        *(f"storefront-{environment}-traffic-role" for environment in ("prod", "production", "b", "c", "d")),
        *(f"storefront-{environment}-hooks-role" for environment in ("b", "d")),
    }


BARE = {"lambda.amazonaws.com", "ecs.amazonaws.com", "chatbot.amazonaws.com"}
"""Services that document no condition keys for their roles."""


def test_every_role_is_for_one_service_and_for_this_account_where_possible() -> None:
    services = set()
    for where, document in documents().items():
        if ROLE in where.split(" "):
            [statement] = document["Statement"]
            [(kind, service)] = statement["Principal"].items()
            assert (kind, statement["Action"]) == ("Service", "sts:AssumeRole")
            source = statement.get("Condition", {}).get("StringEquals")
            expected = None if service in BARE else {"aws:SourceAccount": "123456789012"}
            assert (where, source) == (where, expected)
            services.add(service)
    assert services - BARE == {f"{name}.amazonaws.com" for name in CONDITIONED}


CONDITIONED = ("codebuild", "codedeploy", "codepipeline", "ecs-tasks", "events")


def test_each_role_of_a_strategy_exists_for_that_strategy_only() -> None:
    made = {r.name for r in everything() if r.type == ROLE and re.search(r"-(traffic|hooks|codedeploy)-role$", r.name)}
    assert made == {
        *(f"storefront-{environment}-traffic-role" for environment in "bcd"),
        *(f"storefront-{environment}-hooks-role" for environment in "bd"),
        *(f"storefront-{environment}-codedeploy-role" for environment in "ef"),
    }


def test_policies_are_within_iams_limits() -> None:
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html, white space is not counted
    size: Counter[tuple[str, str]] = Counter()
    for stack, resource in all_resources():
        if resource.type == ROLE_POLICY:
            size[stack, resource.inputs["role"]] += len("".join(resource.inputs["policy"].split()))
        if resource.type == ROLE:
            assert len("".join(resource.inputs["assumeRolePolicy"].split())) <= 2048
    assert [where for where, length in size.items() if length > 10_240] == []
