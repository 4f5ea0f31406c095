"""The repository's own program, as its stack files have it."""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import cache
from typing import Any

import pytest
from slipway.build import own_buildspec
from unit import schema, shapes
from unit.harness import Resource, deploy, deploy_stack_file, main, only, program, stack_file
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
    """A stack that has all that is optional, beside the two that there are."""
    key = "arn:aws:kms:eu-west-1:123456789012:key/k"
    github = "arn:aws:codeconnections:eu-west-1:123456789012:connection/0f-1"
    secrets = {"A": f"{SECRET}:a::", "B": "arn:aws:ssm:eu-west-1:123456789012:parameter/b"}
    overrides: dict[str, Any] = {
        "slipway:source": {"connection": {"arn": github, "repository": "acme/storefront"}},
        "slipway:registry": {"kmsKeyArn": key, "pullPrincipals": ["arn:aws:iam::111122223333:role/x"]},
        "slipway:service": {"secrets": secrets, "secretsKmsKeyArns": [key], "tasks": {"min": 2, "max": 4}},
        "slipway:loadBalancer": {"certificateArn": "arn:aws:acm:eu-west-1:123456789012:certificate/1"},
        "slipway:stages": [{"approval": {}, "strategy": {"rolling": {"deadlineMinutes": 30}}}],
    }
    return deploy_stack_file("dev", overrides)


def all_resources() -> list[tuple[str, Resource]]:
    programs = {**{stack: program(stack) for stack in STACKS}, "everything": everything()}
    return [(stack, resource) for stack, resources in programs.items() for resource in resources]


def physical_names(resources: list[Resource]) -> dict[str, list[str]]:
    """What AWS calls things, where the program says so."""
    names: dict[str, list[str]] = {}
    for resource in resources:
        for key in ("name", "family", "bucket"):
            if key in resource.inputs and resource.type.startswith("aws:") and ":s3/bucket" not in resource.type:
                names.setdefault(resource.type, []).append(resource.inputs[key])
    return {type_: sorted(found) for type_, found in names.items()}


@every_stack
def test_a_stack_is_these_resources_and_no_others(stack: str) -> None:
    assert Counter(resource.type for resource in program(stack)) == {
        "pulumi:pulumi:Stack": 1,
        "slipway:index:ArtifactStore": 1,
        "slipway:index:Build": 1,
        "slipway:index:LoadBalancer": 1,
        "slipway:index:Pipeline": 1,
        "slipway:index:Registry": 1,
        "slipway:index:ReleaseFunction": 1,
        "slipway:index:Service": 1,
        "awsx:ec2:Vpc": 1,
        "aws:appautoscaling/policy:Policy": 1,
        "aws:appautoscaling/target:Target": 1,
        "aws:cloudwatch/eventRule:EventRule": 1,
        "aws:cloudwatch/eventTarget:EventTarget": 1,
        "aws:cloudwatch/logGroup:LogGroup": 3,
        "aws:codebuild/project:Project": 1,
        PIPELINE: 1,
        "aws:ec2/securityGroup:SecurityGroup": 2,
        "aws:ecr/lifecyclePolicy:LifecyclePolicy": 1,
        "aws:ecr/repository:Repository": 1,
        "aws:ecs/cluster:Cluster": 1,
        "aws:ecs/service:Service": 1,
        TASK_DEFINITION: 1,
        ROLE: 6,
        ROLE_POLICY: 6,
        "aws:kms/key:Key": 1,
        "aws:lambda/function:Function": 1,
        "aws:lambda/invocation:Invocation": 1,
        "aws:lb/listener:Listener": 1,
        "aws:lb/listenerRule:ListenerRule": 1,
        "aws:lb/loadBalancer:LoadBalancer": 1,
        "aws:lb/targetGroup:TargetGroup": 1,
        "aws:s3/bucket:Bucket": 1,
        "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": 1,
        "aws:s3/bucketPolicy:BucketPolicy": 1,
        "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": 1,
        "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": 1,
        "aws:ssm/parameter:Parameter": 3,
        "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": 2,
        "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": 2,
    }


@every_stack
def test_a_stack_says_where_its_service_pipeline_images_and_releases_are(stack: str) -> None:
    assert only(program(stack), "pulumi:pulumi:Stack").outputs == {
        "url": f"http://storefront-{stack}.elb.example",
        "pipeline": "https://eu-west-1.console.aws.amazon.com/codesuite/codepipeline/pipelines/"
        f"storefront-{stack}/view",
        "repository": f"123456789012.dkr.ecr.eu-west-1.amazonaws.com/storefront-{stack}",
        "verified": f"/slipway/storefront-{stack}-release/verified",
    }


def expected_names(of_stack: str, of_service: str) -> dict[str, list[str]]:
    return {
        "aws:cloudwatch/logGroup:LogGroup": [
            f"/aws/codebuild/{of_stack}",
            f"/aws/lambda/{of_service}-release",
            f"/ecs/{of_service}",
        ],
        "aws:codebuild/project:Project": [of_stack],
        PIPELINE: [of_stack],
        "aws:ecr/repository:Repository": [of_stack],
        "aws:ecs/cluster:Cluster": [of_stack],
        "aws:ecs/service:Service": [of_service],
        TASK_DEFINITION: [f"{of_service}-template"],
        "aws:lambda/function:Function": [f"{of_service}-release"],
        "aws:lb/loadBalancer:LoadBalancer": [of_stack],
        "aws:ssm/parameter:Parameter": [
            f"/slipway/{of_service}-release/{register}" for register in ("settings", "verified", "wanted")
        ],
    }


@every_stack
def test_names_are_made_of_the_app_and_the_stack(stack: str) -> None:
    assert physical_names(program(stack)) == expected_names(f"storefront-{stack}", f"storefront-{stack}")


def test_what_belongs_to_an_environment_is_named_after_it() -> None:
    resources = deploy_stack_file("prod", {"slipway:stages": [{"name": "eu"}]})
    assert physical_names(resources) == expected_names("storefront-prod", "storefront-eu")


def test_dev_and_prod_share_no_name_in_one_account() -> None:
    dev, prod = ({(t, n) for t, names in physical_names(program(s)).items() for n in names} for s in STACKS)
    assert dev & prod == set()
    # Pulumi's own names start with the logical one.
    made = [{(r.type, r.name) for r in program(s) if r.type.startswith("aws:")} for s in STACKS]
    assert made[0] & made[1] == set()


def test_stacks_differ_in_what_their_files_say() -> None:
    def said(stack: str) -> dict[str, Any]:
        resources = program(stack)
        template = only(resources, TASK_DEFINITION).inputs
        repository = only(resources, "aws:ecr/repository:Repository")
        return {
            "size": (template["cpu"], template["memory"]),
            "most tasks": only(resources, "aws:appautoscaling/target:Target").inputs["maxCapacity"],
            "actions": [len(stage["actions"]) for stage in only(resources, PIPELINE).inputs["stages"]],
            "images stay": (repository.retain, repository.inputs["forceDelete"]),
            "protected": only(resources, "aws:lb/loadBalancer:LoadBalancer").inputs["enableDeletionProtection"],
            "network": only(resources, "awsx:ec2:Vpc").inputs["natGateways"],
        }

    assert said("dev") == {
        "size": ("256", "512"),
        "most tasks": 2,
        "actions": [1, 1, 1],
        "images stay": (False, True),
        "protected": False,
        "network": {"strategy": "Single"},
    }
    assert said("prod") == {
        "size": ("512", "1024"),
        "most tasks": 6,
        "actions": [1, 1, 2],
        "images stay": (True, False),
        "protected": True,
        "network": {"strategy": "OnePerAz"},
    }


def test_the_longest_name_that_is_accepted_fits_everything_that_is_named_after_it() -> None:
    resources = deploy(main, stack_file("dev"), stack="s" * 21)
    assert [len(name) for name in physical_names(resources)[PIPELINE]] == [32]
    assert misfits(resources) == []


# Every input


def test_the_providers_schema_refuses_no_input() -> None:
    found = {
        f"{stack} {resource.name}": schema.mistakes(resource.type, resource.inputs)
        for stack, resource in all_resources()
        if resource.type.startswith("aws:")
    }
    assert {where: mistakes for where, mistakes in found.items() if mistakes} == {}
    assert len(found) > 100


def test_ecs_refuses_no_task_definition() -> None:
    for _, resource in all_resources():
        if resource.type == TASK_DEFINITION:
            request = shapes.task_definition(resource.inputs)
            assert shapes.mistakes("ecs", "RegisterTaskDefinition", request) == []


def test_ecs_refuses_no_settings() -> None:
    # What the release function asks for, of the register that Pulumi writes.
    settings = [r.json("value") for _, r in all_resources() if r.name.endswith("-release-settings")]
    for told in settings:
        network = {"subnets": told["subnets"], "securityGroups": told["security_groups"], "assignPublicIp": "DISABLED"}
        request = {
            "service": "api",
            "taskDefinition": told["template"],
            "desiredCount": told["minimum"],
            "networkConfiguration": {"awsvpcConfiguration": network},
            "loadBalancers": told["load_balancers"],
        }
        assert shapes.mistakes("ecs", "UpdateService", request) == []
    assert len(settings) == 3


def test_no_register_is_longer_than_a_parameter_may_be() -> None:
    # https://docs.aws.amazon.com/general/latest/gr/ssm.html, of a standard parameter
    values = [r.inputs["value"] for _, r in all_resources() if r.type == "aws:ssm/parameter:Parameter"]
    assert [value for value in values if len(value.encode()) > 4096] == []


def test_codepipeline_refuses_no_pipeline() -> None:
    for _, resource in all_resources():
        if resource.type == PIPELINE:
            assert shapes.mistakes("codepipeline", "CreatePipeline", shapes.pipeline(resource.inputs)) == []


def test_a_pipeline_hands_on_only_what_an_action_before_made() -> None:
    # https://docs.aws.amazon.com/codepipeline/latest/userguide/pipeline-requirements.html
    for _, resource in all_resources():
        if resource.type != PIPELINE:
            continue
        stages = resource.inputs["stages"]
        assert 2 <= len(stages) <= 50
        assert len({stage["name"] for stage in stages}) == len(stages)
        assert [action["category"] for action in stages[0]["actions"]] == ["Source"]
        artifacts: list[str] = []
        namespaces = ["codepipeline"]
        for stage in stages:
            assert len({action["name"] for action in stage["actions"]}) == len(stage["actions"])
            assert [a.get("runOrder", 1) for a in stage["actions"]] == [*range(1, len(stage["actions"]) + 1)]
            for action in stage["actions"]:
                assert set(action.get("inputArtifacts", [])) <= set(artifacts)
                read = re.findall(r"#\{([\w-]+)\.\w+\}", json.dumps(action["configuration"]))
                assert set(read) <= set(namespaces)
                artifacts += action.get("outputArtifacts", [])
                namespaces += [action["namespace"]] if "namespace" in action else []
        assert len(set(artifacts)) == len(artifacts)
        assert len(set(namespaces)) == len(namespaces)
        assert set(artifacts) & set(namespaces) == set()


def test_the_builds_variables_that_a_pipeline_reads_are_those_it_exports() -> None:
    exported = {f"Build.{name}" for name in json.loads(own_buildspec())["env"]["exported-variables"]}
    for _, resource in all_resources():
        if resource.type == PIPELINE:
            read = re.findall(r"#\{(Build\.\w+)\}", json.dumps(resource.inputs["stages"]))
            assert set(read) == {"Build.IMAGE_DIGEST"}
            assert set(read) <= exported


def test_the_image_is_for_the_container_that_the_service_sends_requests_to() -> None:
    for stack in STACKS:
        resources = program(stack)
        [container] = only(resources, TASK_DEFINITION).json("containerDefinitions")
        [balanced] = only(resources, "aws:ecs/service:Service").inputs["loadBalancers"]
        project = only(resources, "aws:codebuild/project:Project").inputs
        told = {v["name"]: v["value"] for v in project["environment"]["environmentVariables"]}
        function = only(resources, "aws:lambda/function:Function").inputs["environment"]["variables"]
        names = {container["name"], balanced["containerName"], told["CONTAINER_NAME"], function["CONTAINER"]}
        assert names == {"app"}
        assert container["portMappings"][0]["containerPort"] == balanced["containerPort"]
        assert told["REPOSITORY_URL"] == function["REPOSITORY_URL"] == container["image"].partition(":")[0]
        assert project["source"] == {"type": "CODEPIPELINE", "buildspec": own_buildspec()}


def test_no_variable_looks_like_a_secret() -> None:
    variables: dict[str, str] = {}
    for _, resource in all_resources():
        if resource.type == "aws:codebuild/project:Project":
            told = resource.inputs["environment"]["environmentVariables"]
            assert {variable["type"] for variable in told} == {"PLAINTEXT"}
            variables |= {variable["name"]: variable["value"] for variable in told}
        if resource.type == "aws:lambda/function:Function":
            variables |= resource.inputs["environment"]["variables"]
        if resource.type == TASK_DEFINITION:
            [container] = resource.json("containerDefinitions")
            variables |= {variable["name"]: variable["value"] for variable in container["environment"]}
    names = re.compile(r"PASS|SECRET|TOKEN|CREDENTIAL|PRIVATE|(^|_)KEY(_ID)?$", re.IGNORECASE)
    values = re.compile(r"\b(AKIA|ASIA)[A-Z0-9]{16}\b|-----BEGIN|\bgh[pousr]_\w{20,}|://[^/\s]+:[^/\s]+@")
    assert {k: v for k, v in variables.items() if names.search(k) or values.search(v)} == {}
    assert len(variables) > 12


def test_nothing_secret_is_handed_to_a_resource() -> None:
    kept = {(r.type, key) for _, r in all_resources() for key in r.secrets}
    assert kept == {("aws:ssm/parameter:Parameter", "value")}  # the SDK keeps every parameter's value a secret


# Every policy

STARS = {
    "codepipeline:PutJobFailureResult": "takes no resource",
    "codepipeline:PutJobSuccessResult": "takes no resource",
    "ecr:GetAuthorizationToken": "takes no resource",
    "ecs:DescribeTaskDefinition": "takes no resource",
    "ecs:ListTasks": "authorized on container instances, which Fargate has none of; the cluster is a condition",
    "ecs:RegisterTaskDefinition": "AWS's pages contradict each other; the roles that it may pass are named",
    "lambda:ListFunctions": "takes no resource",
}
PERMISSIONS = {
    # Actions that are no operation of the service's API.
    "codecommit:CancelUploadArchive",
    "codecommit:GetUploadArchiveStatus",
    "codecommit:UploadArchive",
    "codeconnections:UseConnection",
    "codestar-connections:UseConnection",
    "iam:PassRole",
    "lambda:InvokeFunction",
    "s3:GetObjectVersion",
    "s3:ListBucket",
}


def documents() -> dict[str, dict[str, Any]]:
    """Every policy document, by the resource and the input that it is in."""
    found = {}
    for stack, resource in all_resources():
        for key in ("policy", "assumeRolePolicy"):
            if key in resource.inputs and "lifecycle" not in resource.type:
                found[f"{stack} {resource.type} {resource.name}"] = resource.json(key)
    return found


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def allowed() -> list[tuple[str, dict[str, Any]]]:
    """Every action that is allowed, with its statement."""
    statements = [s for document in documents().values() for s in document["Statement"] if s["Effect"] == "Allow"]
    return [(action, statement) for statement in statements for action in listed(statement["Action"])]


def test_every_document_is_of_the_version_that_knows_variables_and_says_something() -> None:
    assert {document["Version"] for document in documents().values()} == {"2012-10-17"}
    assert [where for where, document in documents().items() if not document["Statement"]] == []
    assert len(documents()) > 35


def test_every_action_exists() -> None:
    operations = {
        (prefix, operation)
        for prefix in {action.partition(":")[0] for action, _ in allowed()} - {"codestar-connections"}
        for operation in shapes.description(prefix)["operations"]
    }
    unknown = {
        action
        for action, _ in allowed()
        if not any(p == action.partition(":")[0] and matches(action.partition(":")[2], o) for p, o in operations)
    }
    assert unknown == PERMISSIONS


def matches(pattern: str, operation: str) -> bool:
    return operation == pattern or (pattern[-1] == "*" and operation.startswith(pattern[:-1]))


def test_no_action_is_a_pattern_but_those_that_kms_has_in_two_variants() -> None:
    assert {action for action, _ in allowed() if "*" in action} == {"kms:GenerateDataKey*", "kms:ReEncrypt*"}


def test_nothing_is_allowed_on_everything_but_what_takes_nothing_narrower() -> None:
    assert {action for action, s in allowed() if "*" in listed(s.get("Resource", []))} == STARS.keys()
    lists = [s["Condition"] for action, s in allowed() if action == "ecs:ListTasks"]
    assert [list(condition["ArnEquals"]) for condition in lists] == [["ecs:cluster"]] * 3


def test_resources_are_named_by_account_and_region_as_far_as_they_have_them() -> None:
    arn = re.compile(r"arn:aws:(s3:::|iam::123456789012:|[a-z-]+:eu-west-1:123456789012:)[a-z0-9][\w:/.-]+?([:/]\*)?")
    resources = {r for _, s in allowed() for r in listed(s.get("Resource", [])) if r != "*"}
    assert [r for r in resources if not arn.fullmatch(r)] == []


def test_roles_are_passed_by_name_and_to_tasks_alone() -> None:
    passed = [s for action, s in allowed() if action == "iam:PassRole"]
    assert [s["Condition"] for s in passed] == [
        {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
    ] * 3
    assert [r for s in passed for r in s["Resource"] if "*" in r] == []


def test_every_role_is_for_one_service_and_of_this_account_where_that_can_be_said() -> None:
    for where, document in documents().items():
        if ROLE in where.split(" "):
            [statement] = document["Statement"]
            [(kind, service)] = statement["Principal"].items()
            assert (kind, statement["Action"]) == ("Service", "sts:AssumeRole")
            source = statement.get("Condition", {}).get("StringEquals")
            expected = None if service == "lambda.amazonaws.com" else {"aws:SourceAccount": "123456789012"}
            assert (where, source) == (where, expected)


def test_policies_fit_into_what_iam_allows() -> None:
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html, white space is not counted
    size: Counter[tuple[str, str]] = Counter()
    for stack, resource in all_resources():
        if resource.type == ROLE_POLICY:
            size[stack, resource.inputs["role"]] += len("".join(resource.inputs["policy"].split()))
        if resource.type == ROLE:
            assert len("".join(resource.inputs["assumeRolePolicy"].split())) <= 2048
    assert [where for where, length in size.items() if length > 10_240] == []
