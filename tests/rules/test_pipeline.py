"""Further rules of pipelines: their sources, triggers, conditions, approvals, builds and notifications."""

from __future__ import annotations

import io
import json
import threading
import time
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from standin.api import AwsError
from standin.ecr import Scan
from standin.events import Topic, glob
from standin.executor import Action, Execution, within
from standin.tools import registry
from standin.world import World

from .accounts import ROLE, STARTER, Account, action

RULE, TARGET = "aws:cloudwatch/eventRule:EventRule", "aws:cloudwatch/eventTarget:EventTarget"
BUILDER = "arn:aws:iam::123456789012:role/builder"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:topic"
INDEX = "application/vnd.oci.image.index.v1+json"


@pytest.fixture
def account() -> Iterator[Account]:
    with World("registry.invalid", {}, Path("pulumi")) as world:
        yield Account(world)


@pytest.fixture
def stocked() -> Iterator[Account]:
    """An account with a real registry, and a repository `web` in it."""
    with registry() as address, World(address, {}, Path("pulumi")) as world:
        world.client("ecr").create_repository(repositoryName="web", imageScanningConfiguration={"scanOnPush": True})
        yield Account(world)


def put_image(account: Account, text: str, tag: str) -> str:
    manifest = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [], "annotations": {"text": text}}
    image = {"repositoryName": "web", "imageManifest": json.dumps(manifest), "imageTag": tag}
    answer = account.world.client("ecr").put_image(**image)
    return str(answer["image"]["imageId"]["imageDigest"])


def ecr(**configuration: str) -> dict[str, Any]:
    settings = {"RepositoryName": "web", "ImageTag": "latest", **configuration}
    return action("Source", "ECR", configuration=settings, outputArtifacts=["Image"], namespace="Source")


def s3(**configuration: str) -> dict[str, Any]:
    settings = {"S3Bucket": "sources", "S3ObjectKey": "app.zip", **configuration}
    return action("Source", "S3", configuration=settings, outputArtifacts=["Code"], namespace="Source")


def connection(**more: Any) -> dict[str, Any]:
    settings = {"FullRepositoryId": "me/shop", "BranchName": "main", "DetectChanges": "false", "ConnectionArn": "arn:c"}
    given = {"configuration": settings, "outputArtifacts": ["Code"], "namespace": "Source"}
    return action("Source", "CodeStarSourceConnection", **given, **more)


def artifact(account: Account, execution: Execution, name: str) -> dict[str, bytes]:
    found = account.world.client("s3").get_object(Bucket="artifacts", Key=execution.artifacts[name])
    with zipfile.ZipFile(io.BytesIO(found["Body"].read())) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(**files: str) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "."), text)
    return body.getvalue()


def bucket(account: Account, status: str = "Enabled") -> Any:
    client = account.world.client("s3")
    client.create_bucket(Bucket="sources", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    client.put_bucket_versioning(Bucket="sources", VersioningConfiguration={"Status": status})
    return client


def calls(account: Account, principal: str) -> list[tuple[str, str]]:
    return [(call.service, call.operation) for call in account.world.api.calls if call.principal == principal]


# Sources


def test_an_ecr_source_outputs_the_image_that_the_tag_points_to(stocked: Account) -> None:
    digest = put_image(stocked, "one", "latest")
    stocked.pipeline([ecr()])
    execution = stocked.run()
    uri = f"{stocked.world.ecr._registry}/web@{digest}"
    assert execution.variables == {
        "Source.ImageDigest": digest,
        "Source.ImageTag": "latest",
        "Source.ImageURI": uri,
        "Source.RegistryId": "123456789012",
        "Source.RepositoryName": "web",
    }
    assert json.loads(artifact(stocked, execution, "Image")["imageDetail.json"]) == {
        "ImageSizeInBytes": "0",
        "ImageDigest": digest,
        "Version": "1.0",
        "ImagePushedAt": "Thu Jan 01 00:00:00 UTC 2026",
        "RegistryId": "123456789012",
        "RepositoryName": "web",
        "ImageURI": uri,
        "ImageTags": ["latest"],
    }
    assert calls(stocked, ROLE) == [("ecr", "DescribeImages"), ("s3", "PutObject")]


def test_an_ecr_source_uses_the_tag_latest_by_default(stocked: Account) -> None:
    digest = put_image(stocked, "one", "v1")
    stocked.pipeline([ecr(ImageTag="v1")])
    assert stocked.run().variables["Source.ImageDigest"] == digest
    stocked.pipeline([action("Source", "ECR", configuration={"RepositoryName": "web"})])
    message = stocked.run().action("Source").message
    assert "ImageNotFoundException" in message
    assert "{'imageTag': 'latest'}" in message


def test_an_ecr_source_fails_without_the_repository(stocked: Account) -> None:
    stocked.pipeline([ecr(RepositoryName="other")])
    execution = stocked.run()
    assert execution.status == "Failed"
    assert "RepositoryNotFoundException" in execution.action("Source").message


def test_a_digest_can_be_released_instead_of_the_tags_current_image(stocked: Account) -> None:
    first = put_image(stocked, "one", "latest")
    put_image(stocked, "two", "latest")
    stocked.pipeline([ecr()])
    assert stocked.pipelines.start("pipeline", revision=first).variables["Source.ImageDigest"] == first


def test_an_s3_source_outputs_the_object_and_its_version(account: Account) -> None:
    body = zipped(a__txt="a")
    put = bucket(account).put_object(Bucket="sources", Key="app.zip", Body=body)
    account.pipeline([s3()])
    execution = account.run()
    assert execution.variables == {
        "Source.BucketName": "sources",
        "Source.ETag": put["ETag"].strip('"'),
        "Source.ObjectKey": "app.zip",
        "Source.VersionId": put["VersionId"],
    }
    assert artifact(account, execution, "Code") == {"a.txt": b"a"}


def test_an_s3_source_needs_a_versioned_bucket(account: Account) -> None:
    bucket(account, "Suspended").put_object(Bucket="sources", Key="app.zip", Body=zipped(a="a"))
    account.pipeline([s3()])
    message = "The bucket sources is not versioned: versioning is required of a source"
    assert account.run().action("Source").message == message


def test_an_s3_source_fails_without_its_object(account: Account) -> None:
    bucket(account)
    account.pipeline([s3()])
    assert "NoSuchKey" in account.run().action("Source").message


def test_a_version_of_an_object_can_be_released_instead_of_the_newest(account: Account) -> None:
    client = bucket(account)
    first = client.put_object(Bucket="sources", Key="app.zip", Body=zipped(a="1"))["VersionId"]
    client.put_object(Bucket="sources", Key="app.zip", Body=zipped(a="2"))
    account.pipeline([s3()])
    execution = account.pipelines.start("pipeline", revision=first)
    assert execution.variables["Source.VersionId"] == first
    assert artifact(account, execution, "Code") == {"a": b"1"}


# Events


def rule(account: Account, pattern: dict[str, Any], **target: Any) -> None:
    account.put(RULE, "rule", eventPattern=json.dumps(pattern))
    account.put(TARGET, "target", rule="rule", **{"arn": "arn:pipeline", "roleArn": STARTER, **target})


def test_a_pushed_image_starts_the_target_of_a_rule_once_the_current_run_is_over(stocked: Account) -> None:
    detail = {"action-type": ["PUSH"], "result": ["SUCCESS"], "repository-name": ["web"], "image-tag": ["latest"]}
    stocked.pipeline([ecr()])
    rule(stocked, {"source": ["aws.ecr"], "detail-type": ["ECR Image Action"], "detail": detail})
    put_image(stocked, "one", "other")
    assert stocked.pipelines.settle() == []
    digest = put_image(stocked, "one", "latest")
    assert [execution.actions for execution in stocked.pipelines.executions] == [[]]
    [execution] = stocked.pipelines.settle()
    assert (execution.status, execution.variables["Source.ImageDigest"]) == ("Succeeded", digest)
    assert calls(stocked, STARTER) == [("codepipeline", "StartPipelineExecution")]
    assert execution.trigger == ("CloudWatchEvent", "arn:aws:events:eu-west-1:123456789012:rule/rule")
    assert stocked.pipelines.settle() == []


def test_a_target_can_use_the_digest_of_the_event(stocked: Account) -> None:
    stocked.pipeline([ecr()])
    revision = {"actionName": "Source", "revisionType": "IMAGE_DIGEST", "revisionValue": "<digest>"}
    template = json.dumps({"sourceRevisions": [revision]})
    transformer = {"inputPaths": {"digest": "$.detail.image-digest"}, "inputTemplate": template}
    rule(stocked, {"source": ["aws.ecr"]}, inputTransformer=transformer)
    digests = [put_image(stocked, text, "latest") for text in ("one", "two")]
    assert [e.variables["Source.ImageDigest"] for e in stocked.pipelines.settle()] == digests


def test_an_upload_starts_the_target_of_a_rule_if_the_bucket_sends_events(account: Account) -> None:
    bucket(account).put_object(Bucket="sources", Key="app.zip", Body=zipped(a="a"))
    account.pipeline([s3()])
    detail = {"bucket": {"name": ["sources"]}, "object": {"key": ["app.zip"]}}
    rule(account, {"source": ["aws.s3"], "detail-type": ["Object Created"], "detail": detail})
    account.pipelines.uploaded("sources", "app.zip")
    account.put("aws:s3/bucketNotification:BucketNotification", "notification", bucket="sources", eventbridge=False)
    account.pipelines.uploaded("sources", "app.zip")
    assert account.pipelines.settle() == []
    account.put("aws:s3/bucketNotification:BucketNotification", "notification", bucket="sources", eventbridge=True)
    account.pipelines.uploaded("sources", "app.zip")
    assert [execution.status for execution in account.pipelines.settle()] == ["Succeeded"]


def test_a_target_without_a_role_and_a_disabled_rule_start_nothing(account: Account) -> None:
    pattern = {"source": ["aws.s3"]}
    account.put("aws:s3/bucketNotification:BucketNotification", "notification", bucket="sources", eventbridge=True)
    bucket(account).put_object(Bucket="sources", Key="app.zip", Body=zipped(a="a"))
    account.pipeline([s3()])
    rule(account, pattern, roleArn=None)
    account.pipelines.uploaded("sources", "app.zip")
    rule(account, pattern)
    account.put(RULE, "rule", eventPattern=json.dumps(pattern), state="DISABLED")
    account.pipelines.uploaded("sources", "app.zip")
    assert account.pipelines.settle() == []


def test_an_event_that_leaves_a_variable_without_a_value_starts_nothing(stocked: Account) -> None:
    stocked.pipeline([ecr()], variables=[{"name": "SIZE"}])
    rule(stocked, {"source": ["aws.ecr"]})
    put_image(stocked, "one", "latest")
    assert (stocked.pipelines.settle(), stocked.pipelines.executions) == ([], [])


# Triggers


@pytest.fixture
def shop(account: Account, tmp_path: Path) -> Account:
    """A repository with a branch `feature/x` and a tag `v1`, and a pipeline that shows what started it."""
    made = account.world.repository("me/shop", tmp_path)
    made.commit("First", {"a.txt": "a"})
    made._git("tag", "v1")
    made._git("switch", "--quiet", "--create", "feature/x")
    made.commit("Second", {"a.txt": "b"})
    made._git("switch", "--quiet", "main")
    return account


def trigger(account: Account, **events: Any) -> None:
    account.pipeline([connection()], triggers=[{"gitConfiguration": {"sourceActionName": "Source", **events}}])


def test_a_trigger_includes_branches_by_pattern_and_exclusions_take_precedence(shop: Account) -> None:
    trigger(shop, pushes=[{"branches": {"includes": ["feature/**", "main"], "excludes": ["main"]}}])
    [execution] = shop.pipelines.push("me/shop", "feature/x")
    assert execution.variables["Source.BranchName"] == "feature/x"
    assert execution.variables["Source.CommitMessage"] == "Second"
    assert execution.trigger == ("WebhookV2", "me/shop")
    assert shop.pipelines.push("me/shop", "main") == []


def test_all_criteria_of_a_filter_must_match_and_one_matching_filter_is_enough(shop: Account) -> None:
    trigger(
        shop,
        pushes=[
            {"branches": {"includes": ["main"]}, "filePaths": {"includes": ["app/**"]}},
            {"branches": {"includes": ["feature/*"]}},
        ],
    )
    started = [
        len(shop.pipelines.push("me/shop", *pushed))
        for pushed in (("main", ["app/x/y"]), ("main", ["docs/x"]), ("feature/x", ["docs/x"]), ("other", ["app/x"]))
    ]
    assert started == [1, 0, 1, 0]


def test_files_match_if_one_of_the_first_hundred_is_included_and_not_excluded(shop: Account) -> None:
    trigger(shop, pushes=[{"filePaths": {"includes": ["app/**"], "excludes": ["**/README.md"]}}])
    assert shop.pipelines.push("me/shop", files=["app/README.md"]) == []
    assert len(shop.pipelines.push("me/shop", files=["app/README.md", "app/server.py"])) == 1
    assert shop.pipelines.push("me/shop", files=[*["docs/x"] * 100, "app/server.py"]) == []


def test_a_tag_starts_triggers_for_tags_and_none_for_branches(shop: Account) -> None:
    trigger(shop, pushes=[{"branches": {"includes": ["**"]}}, {"tags": {"includes": ["v*"], "excludes": ["v2"]}}])
    [execution] = shop.pipelines.push_tag("me/shop", "v1")
    assert execution.variables == {
        "Source.CommitId": execution.variables["Source.CommitId"],
        "Source.CommitMessage": "First",
        "Source.FullRepositoryName": "me/shop",
        "Source.TagName": "v1",
    }
    assert shop.pipelines.push_tag("me/shop", "v2") == []
    assert len(shop.pipelines.push("me/shop")) == 1


def test_a_connection_is_used_with_the_role_of_the_pipeline(shop: Account) -> None:
    shop.pipeline([connection()])
    assert shop.run().variables["Source.BranchName"] == "main"
    assert calls(shop, ROLE)[0] == ("codestar-connections", "UseConnection")


@pytest.mark.parametrize(
    ("pattern", "fits", "misfits"),
    [
        ("feature/*", "feature/a", "feature/a/b"),
        ("feature/**", "feature/a/b", "features/a"),
        ("v?", "v1", "v12"),
        ("*.{js,ts}", "a.ts", "a.py"),
        ("v[12]", "v2", "v3"),
        (r"a\*b", "a*b", "axb"),
        ("a,b.c", "a,b.c", "a,bxc"),
    ],
)
def test_a_pattern_is_a_glob(pattern: str, fits: str, misfits: str) -> None:
    assert (glob(pattern, fits), glob(pattern, misfits)) == (True, False)


# Repositories


def test_a_repository_with_images_is_deleted_only_with_force(stocked: Account) -> None:
    """https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DeleteRepository.html"""
    client = stocked.world.client("ecr")
    put_image(stocked, "first", "a")
    with pytest.raises(ClientError, match="RepositoryNotEmptyException"):
        client.delete_repository(repositoryName="web")
    assert [image["imageTag"] for image in client.list_images(repositoryName="web")["imageIds"]] == ["a"]
    client.delete_repository(repositoryName="web", force=True)
    with pytest.raises(ClientError, match="RepositoryNotFoundException"):
        client.list_images(repositoryName="web")
    client.create_repository(repositoryName="web")
    assert client.describe_images(repositoryName="web")["imageDetails"] == []
    client.delete_repository(repositoryName="web")


# Variables


def test_a_variable_has_the_given_value_or_its_default(account: Account) -> None:
    configuration = {"CustomData": "#{variables.COLOR} #{variables.SIZE}"}
    declared = [{"name": "COLOR", "defaultValue": "blue"}, {"name": "SIZE"}]
    account.pipeline([action("Approve", configuration=configuration)], variables=declared)
    execution = account.pipelines.start("pipeline", variables={"SIZE": "4"})
    assert execution.action("Approve").configuration == {"CustomData": "blue 4"}


def test_a_variable_without_a_default_is_required_and_an_unknown_one_is_rejected(account: Account) -> None:
    account.pipeline([action("Approve")], variables=[{"name": "SIZE"}])
    for given in ({}, {"SIZE": "4", "SHAPE": "round"}):
        with pytest.raises(AwsError, match="ValidationException"):
            account.pipelines.start("pipeline", variables=given)
    assert account.pipelines.executions == []


@pytest.mark.parametrize("value", ["", "x" * 1001, "two\nlines"])
def test_a_value_is_one_line_of_1_to_1000_characters(account: Account, value: str) -> None:
    account.pipeline([action("Approve")], variables=[{"name": "SIZE"}])
    with pytest.raises(AwsError, match="ValidationException"):
        account.pipelines.start("pipeline", variables={"SIZE": value})
    assert account.pipelines.start("pipeline", variables={"SIZE": "x" * 1000}).status == "Succeeded"


def test_an_execution_shows_the_values_of_its_variables(account: Account) -> None:
    declared = [{"name": "COLOR", "defaultValue": "blue"}, {"name": "SIZE"}]
    account.pipeline([action("Approve")], variables=declared)
    execution = account.pipelines.start("pipeline", variables={"SIZE": '"4"'})
    of = {"pipelineName": "pipeline", "pipelineExecutionId": execution.id}
    assert account.world.client("codepipeline").get_pipeline_execution(**of)["pipelineExecution"]["variables"] == [
        {"name": "COLOR", "resolvedValue": "blue"},
        {"name": "SIZE", "resolvedValue": '"4"'},
    ]


def test_a_value_is_substituted_into_json_unescaped(account: Account) -> None:
    configuration = {"CustomData": json.dumps([{"value": "#{variables.SIZE}"}])}
    account.pipeline([action("Approve", configuration=configuration)], variables=[{"name": "SIZE"}])
    execution = account.pipelines.start("pipeline", variables={"SIZE": '4"},{"value":"5'})
    assert json.loads(execution.action("Approve").configuration["CustomData"]) == [{"value": "4"}, {"value": "5"}]


def test_environment_variables_that_are_not_json_fail_the_action(account: Account) -> None:
    configuration = {"ProjectName": "build", "EnvironmentVariables": '[{"name":"A","value":"#{variables.SIZE}"}]'}
    build = action("Build", "CodeBuild", category="Build", configuration=configuration)
    account.pipeline([build], variables=[{"name": "SIZE"}])
    execution = account.pipelines.start("pipeline", variables={"SIZE": '"'})
    assert execution.action("Build").status == "Failed"
    assert execution.action("Build").message.startswith("EnvironmentVariables is not valid JSON: ")


def test_a_source_action_resolves_no_variables(account: Account) -> None:
    configuration = {"CustomData": "#{codepipeline.PipelineExecutionId}"}
    account.pipeline([action("Source", configuration=configuration, category="Source")])
    assert account.run().action("Source").configuration == configuration


# Conditions


def condition(result: str, provider: str, **configuration: str) -> dict[str, Any]:
    given = {"name": "Check", "ruleTypeId": {"provider": provider}, "configuration": configuration}
    return {"condition": {"result": result, "rules": [given]}}


def guarded(account: Account, result: str, provider: str, **configuration: str) -> Execution:
    account.pipeline([action("First")], [action("Second")], [action("Third")])
    stages = account.world.aws.resources["pipeline"].inputs["stages"]
    stages[1]["beforeEntry"] = condition(result, provider, **configuration)
    return account.run()


def ran(execution: Execution) -> list[str]:
    return [a.name for a in execution.actions]


def test_a_stage_whose_condition_is_met_is_entered(account: Account) -> None:
    execution = guarded(account, "FAIL", "DeploymentWindow", Cron="* * 0-8 ? * THU")
    assert (execution.status, ran(execution)) == ("Succeeded", ["First", "Second", "Third"])


def test_an_unmet_condition_fails_its_stage(account: Account) -> None:
    execution = guarded(account, "FAIL", "DeploymentWindow", Cron="* * 9-17 ? * MON-FRI", TimeZone="Europe/Berlin")
    assert (execution.status, ran(execution)) == ("Failed", ["First"])
    assert execution.message == "Stage1, rule Check: 2026-01-01T01:00+0100 is outside of * * 9-17 ? * MON-FRI"


def test_an_unmet_condition_can_skip_its_stage(account: Account) -> None:
    execution = guarded(account, "SKIP", "VariableCheck", Variable="a", Operator="EQ", Value="b")
    assert (execution.status, ran(execution)) == ("Succeeded", ["First", "Third"])


def test_a_retry_evaluates_the_condition_again(account: Account) -> None:
    execution = guarded(account, "FAIL", "DeploymentWindow", Cron="* * 9-17 ? * *")
    assert account.pipelines.retry(execution, "Stage1").status == "Failed"
    account.world.clock.sleep(9 * 3600)
    assert account.pipelines.retry(execution, "Stage1").status == "Succeeded"
    assert (ran(execution), execution.message) == (["First", "Second", "Third"], "")


def test_a_rule_of_an_unknown_provider_fails_its_stage(account: Account) -> None:
    execution = guarded(account, "FAIL", "CloudWatchAlarm")
    assert execution.message == "Stage1, rule Check: not in the stand-in: CloudWatchAlarm"


@pytest.mark.parametrize(
    ("operator", "value", "met"),
    [
        ("EQ", "shop", True),
        ("EQ", "sho", False),
        ("NE", "shop", False),
        ("NE", "sho", True),
        ("CONTAINS", "ho", True),
        ("CONTAINS", "x", False),
        ("MATCHES", "s.*p", True),
        ("MATCHES", "s.*o", False),
    ],
)
def test_a_variable_is_compared_by_its_operator(account: Account, operator: str, value: str, met: bool) -> None:
    execution = guarded(account, "FAIL", "VariableCheck", Variable="shop", Operator=operator, Value=value)
    assert (execution.status == "Succeeded") == met


@pytest.mark.parametrize(
    ("cron", "inside"),
    [
        ("* 30 9 * * *", True),
        ("* 31 9 * * *", False),
        ("* * 9-17 ? * MON-FRI", True),
        ("* * 10-17 ? * MON-FRI", False),
        ("* * 9 ? * 2", True),
        ("* * 9 ? * SUN,SAT", False),
        ("* 0/15 9 * * ?", True),
        ("* 5/15 9 * * ?", False),
        ("* */10 * 5 JAN ? 2026", True),
        ("* * * * FEB-DEC ?", False),
        ("* * * * * * 2027-2030", False),
    ],
)
def test_a_deployment_window_is_a_cron_expression(cron: str, inside: bool) -> None:
    assert within(cron, datetime(2026, 1, 5, 9, 30, tzinfo=UTC)) == inside  # a Monday


# Approvals


def test_an_approval_expires_without_a_response(account: Account) -> None:
    account.pipelines.approve = lambda execution, action: None
    account.pipeline([action("Approve")])
    began = account.world.clock.now()
    assert account.run().action("Approve").message == "The approval expired: nobody responded to it in time"
    assert 0 <= account.world.clock.now() - began - 7 * 24 * 3600 < 1


def test_an_approval_can_have_a_shorter_timeout(account: Account) -> None:
    account.pipelines.approve = lambda execution, action: None
    account.pipeline([action("Approve", timeoutInMinutes=60)])
    began = account.world.clock.now()
    assert account.run().status == "Failed"
    assert 0 <= account.world.clock.now() - began - 3600 < 1


def test_an_approval_publishes_what_is_to_be_approved(account: Account) -> None:
    configuration = {
        "NotificationArn": TOPIC,
        "CustomData": "#{variables.A}",
        "ExternalEntityLink": "https://x/#{variables.A}",
    }
    account.pipeline([action("Approve", configuration=configuration)], variables=[{"name": "A", "defaultValue": "b"}])
    account.run()
    [sent] = account.pipelines.published
    token = sent["message"]["approval"].pop("token")
    link = "https://console.aws.amazon.com/codepipeline/home?region=eu-west-1#/view/pipeline"
    assert sent == {
        "topic": TOPIC,
        "message": {
            "region": "eu-west-1",
            "consoleLink": link,
            "approval": {
                "pipelineName": "pipeline",
                "stageName": "Stage0",
                "actionName": "Approve",
                "expires": "2026-01-08T00:00Z",
                "externalEntityLink": "https://x/b",
                "approvalReviewLink": f"{link}/Stage0/Approve/approve/{token}",
                "customData": "b",
            },
        },
    }
    assert calls(account, ROLE) == [("sns", "Publish")]


# Modes


def test_in_queued_mode_all_executions_run_in_order(account: Account) -> None:
    inside, go_on, order = threading.Event(), threading.Event(), []

    def approve(execution: Execution, action: Action) -> bool:
        order.append(execution.number)
        if execution.number == 0:
            inside.set()
            assert go_on.wait(20)
        return True

    account.pipelines.approve = approve
    account.pipeline([action("Approve")], executionMode="QUEUED")
    threads = [threading.Thread(target=account.run) for _ in range(4)]
    threads[0].start()
    assert inside.wait(20)
    for number in (1, 2, 3):
        threads[number].start()
        while number not in [e.number for e in account.pipelines._waiting[("pipeline", "Stage0")]]:
            assert threads[number].is_alive()
            time.sleep(0.001)
    go_on.set()
    for thread in threads:
        thread.join()
    assert [execution.status for execution in account.pipelines.executions] == ["Succeeded"] * 4
    assert order == [0, 1, 2, 3]


# The ECS action


def service(account: Account, **container: Any) -> None:
    ecs = account.world.client("ecs")
    ecs.create_cluster(clusterName="main")
    container = {"name": "app", "image": "other/web:1", "portMappings": [{"containerPort": 80}], **container}
    sidecar = {"name": "log", "image": "other/log:1", "essential": False}
    made = ecs.register_task_definition(
        family="web", cpu="256", containerDefinitions=[container, sidecar], tags=[{"key": "a", "value": "b"}]
    )
    arn = made["taskDefinition"]["taskDefinitionArn"]
    breaker = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}
    settings = {"taskDefinition": arn, "desiredCount": 2, "deploymentConfiguration": breaker}
    ecs.create_service(cluster="main", serviceName="web", **settings)
    account.world.clock.sleep(60)


def deploy(account: Account, image: str, name: str = "app", **configuration: str) -> Execution:
    """A pipeline with a source in S3, and the ECS action."""
    definitions = json.dumps([{"name": name, "imageUri": image}])
    if "sources" not in [b["Name"] for b in account.world.client("s3").list_buckets()["Buckets"]]:
        bucket(account)
    body = zipped(imagedefinitions__json=definitions)
    account.world.client("s3").put_object(Bucket="sources", Key="app.zip", Body=body)
    settings = {"ClusterName": "main", "ServiceName": "web", **configuration}
    account.pipeline([s3()], [action("Deploy", "ECS", configuration=settings, inputArtifacts=["Code"])])
    account.world.api.calls.clear()
    return account.run()


def test_the_ecs_action_deploys_the_services_revision_with_a_new_image(account: Account) -> None:
    service(account)
    unused = {"name": "app", "image": "unused"}
    account.world.client("ecs").register_task_definition(family="web", containerDefinitions=[unused])
    assert deploy(account, "other/web:2").status == "Succeeded"
    ecs = account.world.client("ecs")
    found = ecs.describe_services(cluster="main", services=["web"])["services"][0]
    assert [d["status"] for d in found["deployments"]] == ["PRIMARY"]
    made = ecs.describe_task_definition(taskDefinition=found["taskDefinition"], include=["TAGS"])
    images = [container["image"] for container in made["taskDefinition"]["containerDefinitions"]]
    assert (made["taskDefinition"]["revision"], made["taskDefinition"]["cpu"]) == (3, "256")
    assert (images, made["tags"]) == (["other/web:2", "other/log:1"], [{"key": "a", "value": "b"}])
    made_calls = dict.fromkeys(operation for service, operation in calls(account, ROLE) if service == "ecs")
    assert list(made_calls) == ["DescribeServices", "DescribeTaskDefinition", "RegisterTaskDefinition", "UpdateService"]


def test_the_ecs_action_does_not_notice_a_rollback_and_waits_for_its_timeout(account: Account) -> None:
    service(account)
    account.world.ecs.fault = lambda definition: "exit 1" if "other/web:2" in str(definition) else None
    began = account.world.clock.now()
    execution = deploy(account, "other/web:2", DeploymentTimeout="30")
    message = "The Amazon ECS service did not reach a steady state within 30 minutes"
    assert execution.action("Deploy").message == message
    assert 1800 <= account.world.clock.now() - began < 1860
    assert deploy(account, "other/web:2").action("Deploy").message == message.replace("30", "60")


def test_the_ecs_action_waits_until_the_old_tasks_have_stopped(account: Account) -> None:
    service(account)
    account.world.ecs.start_seconds = 12  # a poll of the action sees them running but not healthy
    account.world.ecs.fault = lambda definition: "health check" if "other/web:2" in str(definition) else None
    assert deploy(account, "other/web:2").status == "Failed"


def test_the_ecs_action_fails_without_its_file_its_service_or_the_container(account: Account) -> None:
    service(account)
    execution = deploy(account, "other/web:2", FileName="images.json")
    key = execution.artifacts["Code"]
    assert execution.action("Deploy").message == (
        "Did not find the image definition file images.json in the input artifacts ZIP file. Verify the file is "
        f"stored in your pipeline's Amazon S3 artifact bucket: artifacts key: {key}"
    )
    message = deploy(account, "other/web:2", ServiceName="shop").action("Deploy").message
    assert message == "The service shop is not in the cluster main"
    message = deploy(account, "other/web:2", name="web").action("Deploy").message
    assert message == "No container of the task definition is called web"


# Builds


def project(account: Account, *commands: str, source: str = "NO_SOURCE", **phases: list[str]) -> None:
    spec = {"version": 0.2, "phases": {"build": {"commands": list(commands)}}, "env": {"exported-variables": ["OUT"]}}
    spec["phases"] |= {name: {"commands": lines} for name, lines in phases.items()}  # type: ignore[operator]
    account.put(
        "aws:codebuild/project:Project",
        "project",
        source={"type": source, "buildspec": json.dumps(spec, indent=1)},
        serviceRole=BUILDER,
        environment={
            **{"type": "LINUX_CONTAINER", "image": "aws/codebuild/standard:7.0", "computeType": "BUILD_GENERAL1_SMALL"},
            "environmentVariables": [{"name": "SERVICE_URL", "value": "http://old"}, {"name": "A", "value": "a"}],
        },
    )


def begin(account: Account, **options: Any) -> str:
    answer = account.world.client("codebuild").start_build(projectName="project", **options)
    return str(answer["build"]["id"])


def look(account: Account, id: str) -> dict[str, Any]:
    [found] = account.world.client("codebuild").batch_get_builds(ids=[id])["builds"]
    build: dict[str, Any] = found
    return build


def test_a_build_is_in_progress_first_and_then_ends_with_the_result_of_its_commands(account: Account) -> None:
    project(account, 'export OUT="$CODEBUILD_BUILD_ID to $SERVICE_URL"', install=["true"])
    override = {"name": "SERVICE_URL", "value": "http://new", "type": "PLAINTEXT"}
    id = begin(account, environmentVariablesOverride=[override])
    first, then = look(account, id), look(account, id)
    assert (first["buildStatus"], first["buildComplete"]) == ("IN_PROGRESS", False)
    assert (then["buildStatus"], then["buildComplete"], then["buildNumber"]) == ("SUCCEEDED", True, 1)
    assert then["exportedEnvironmentVariables"] == [{"name": "OUT", "value": f"{id} to http://new"}]
    assert [(p["phaseType"], p["phaseStatus"]) for p in then["phases"]] == [
        ("INSTALL", "SUCCEEDED"),
        ("PRE_BUILD", "SUCCEEDED"),
        ("BUILD", "SUCCEEDED"),
        ("POST_BUILD", "SUCCEEDED"),
    ]
    assert then["environment"]["environmentVariables"] == [override, {"name": "A", "value": "a"}]
    stream = id.removeprefix("project:")
    assert (then["logs"]["groupName"], then["logs"]["streamName"]) == ("/aws/codebuild/project", stream)
    assert stream in then["logs"]["deepLink"]
    assert look(account, begin(account))["buildNumber"] == 2


@pytest.mark.parametrize("command", ["test -f nothing", "exit 1"])
def test_a_failed_build_reports_the_phase_and_the_command(account: Account, command: str) -> None:
    project(account, "true", command)
    id = begin(account)
    look(account, id)
    failed = look(account, id)
    assert failed["buildStatus"] == "FAILED"
    message = f"Error while executing command: {command}. Reason: exit status 1"
    assert [(p["phaseType"], p["contexts"]) for p in failed["phases"] if p["phaseStatus"] == "FAILED"] == [
        ("BUILD", [{"statusCode": "COMMAND_EXECUTION_ERROR", "message": message}])
    ]


def test_a_build_reads_its_source_from_s3_with_the_role_of_its_project(account: Account) -> None:
    project(account, "export OUT=$(cat a.txt)", source="CODEPIPELINE")
    bucket(account).put_object(Bucket="sources", Key="app.zip", Body=zipped(a__txt="text"))
    id = begin(account, sourceTypeOverride="S3", sourceLocationOverride="sources/app.zip")
    look(account, id)
    assert look(account, id)["exportedEnvironmentVariables"] == [{"name": "OUT", "value": "text"}]
    assert calls(account, BUILDER) == [("s3", "GetObject")]
    id = begin(account, sourceTypeOverride="S3", sourceLocationOverride="sources/other.zip")
    look(account, id)
    assert [(p["phaseType"], p["phaseStatus"]) for p in look(account, id)["phases"]] == [("DOWNLOAD_SOURCE", "FAILED")]


def test_a_project_of_a_pipeline_can_be_built_only_with_another_source(account: Account) -> None:
    project(account, "true", source="CODEPIPELINE")
    with pytest.raises(ClientError, match="InvalidInputException.*is built by pipelines only"):
        begin(account)


def test_the_same_token_returns_the_same_build_for_five_minutes(account: Account) -> None:
    project(account, "true")
    first = begin(account, idempotencyToken="t")
    assert begin(account, idempotencyToken="t") == first
    assert begin(account, idempotencyToken="u") != first
    account.world.clock.sleep(300)
    assert begin(account, idempotencyToken="t") != first


def test_a_stopped_build_does_not_run(account: Account, tmp_path: Path) -> None:
    project(account, f"touch {tmp_path}/ran")
    id = begin(account)
    account.world.client("codebuild").stop_build(id=id)
    assert [look(account, id)["buildStatus"] for _ in range(2)] == ["STOPPED", "STOPPED"]
    assert not (tmp_path / "ran").exists()


def test_a_test_can_set_the_result_of_a_build(account: Account) -> None:
    project(account, "true")
    account.world.codebuild.end = lambda project: "TIMED_OUT"
    id = begin(account)
    assert [look(account, id)["buildStatus"] for _ in range(2)] == ["IN_PROGRESS", "TIMED_OUT"]


def test_a_missing_project_or_build_is_an_error(account: Account) -> None:
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        begin(account)
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        account.world.client("codebuild").stop_build(id="project:1")
    answer = account.world.client("codebuild").batch_get_builds(ids=["project:1"])
    assert (answer["builds"], answer["buildsNotFound"]) == ([], ["project:1"])


def test_a_secret_is_read_with_the_role_of_the_project(account: Account) -> None:
    project(account, 'export OUT="$A, $B"')
    arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-AbCdEf"
    given = [{"name": "A", "value": f"{arn}:password", "type": "SECRETS_MANAGER"}]
    given += [{"name": "B", "value": "/shop/key", "type": "PARAMETER_STORE"}]
    id = begin(account, environmentVariablesOverride=given)
    look(account, id)
    [out] = look(account, id)["exportedEnvironmentVariables"]
    assert out["value"] == f"secret of {arn}:password, secret of /shop/key"
    read = [(c.operation, c.params) for c in account.world.api.calls if c.principal == BUILDER]
    assert read == [
        ("GetSecretValue", {"SecretId": arn}),
        ("GetParameters", {"Names": ["/shop/key"], "WithDecryption": True}),
    ]


def test_an_action_of_the_category_test_runs_a_build(account: Account) -> None:
    project(account, "test $(cat a.txt) = text", source="CODEPIPELINE")
    bucket(account).put_object(Bucket="sources", Key="app.zip", Body=zipped(a__txt="text"))
    test = action("Test", "CodeBuild", category="Test", configuration={"ProjectName": "project"})
    account.pipeline([s3()], [test | {"inputArtifacts": ["Code"]}])
    assert account.run().status == "Succeeded"


# Scans


def findings(account: Account, digest: str, **options: Any) -> dict[str, Any]:
    answer: dict[str, Any] = account.world.client("ecr").describe_image_scan_findings(
        repositoryName="web", imageId={"imageDigest": digest}, **options
    )
    return answer


def test_a_scan_starts_some_time_after_the_push_and_ends_later(stocked: Account) -> None:
    digest = put_image(stocked, "one", "latest")
    stocked.world.clock.sleep(9)
    with pytest.raises(ClientError, match="ScanNotFoundException"):
        findings(stocked, digest)
    stocked.world.clock.sleep(2)
    assert findings(stocked, digest)["imageScanStatus"]["status"] == "IN_PROGRESS"
    stocked.world.clock.sleep(10)
    done = findings(stocked, digest)
    assert (done["imageScanStatus"]["status"], done["imageScanFindings"]["findings"]) == ("COMPLETE", [])


def test_an_image_is_not_scanned_if_the_repository_does_not_scan_on_push(stocked: Account) -> None:
    off = {"scanOnPush": False}
    stocked.world.client("ecr").create_repository(repositoryName="web", imageScanningConfiguration=off)
    digest = put_image(stocked, "one", "latest")
    stocked.world.clock.sleep(60)
    with pytest.raises(ClientError, match="ScanNotFoundException"):
        findings(stocked, digest)
    scanning = {"imageScanningConfiguration": {"scanOnPush": True}}
    stocked.put("aws:ecr/repository:Repository", "web", **scanning)
    assert findings(stocked, digest)["imageScanStatus"]["status"] == "COMPLETE"


def test_findings_are_paged_and_counted(stocked: Account) -> None:
    digest = put_image(stocked, "one", "latest")
    found = [{"name": f"CVE-{n}", "severity": "HIGH" if n else "LOW", "uri": "https://x"} for n in range(3)]
    stocked.world.ecr.scan = lambda of: Scan(findings=found) if of == digest else Scan()
    stocked.world.clock.sleep(20)
    first = findings(stocked, digest, maxResults=2)
    then = findings(stocked, digest, maxResults=2, nextToken=first["nextToken"])
    assert [f["name"] for f in first["imageScanFindings"]["findings"]] == ["CVE-0", "CVE-1"]
    assert [f["name"] for f in then["imageScanFindings"]["findings"]] == ["CVE-2"]
    assert first["imageScanFindings"]["findingSeverityCounts"] == {"LOW": 1, "HIGH": 2}
    assert "nextToken" not in then


def test_inspectors_findings_replace_the_basic_ones(stocked: Account) -> None:
    digest = put_image(stocked, "one", "latest")
    found = [{"title": "CVE-1", "severity": "CRITICAL"}]
    stocked.world.ecr.scan = lambda of: Scan("ACTIVE", enhanced=found, description="Continuous scan is selected.")
    stocked.world.clock.sleep(20)
    answer = findings(stocked, digest)
    assert answer["imageScanStatus"] == {"status": "ACTIVE", "description": "Continuous scan is selected."}
    assert answer["imageScanFindings"] == {"enhancedFindings": found, "findingSeverityCounts": {"CRITICAL": 1}}


# Functions


def test_a_function_writes_an_artifact_with_the_credentials_of_its_job(account: Account) -> None:
    account.function(
        'place = job["data"]["outputArtifacts"][0]\n'
        '    keys, where = job["data"]["artifactCredentials"], place["location"]["s3Location"]\n'
        '    s3 = boto3.client("s3", aws_access_key_id=keys["accessKeyId"],\n'
        '        aws_secret_access_key=keys["secretAccessKey"], aws_session_token=keys["sessionToken"])\n'
        '    s3.put_object(Bucket=where["bucketName"], Key=where["objectKey"], Body=b"made")\n'
        '    variables = {"ABOUT": json.dumps([place["name"], place["revision"], place["location"]["type"]])}\n'
        '    client.put_job_success_result(jobId=job["id"], outputVariables=variables)'
    )
    made = action("Make", "Lambda", configuration={"FunctionName": "function"}, namespace="Made")
    account.pipeline([made | {"outputArtifacts": ["Thing"]}], [action("Look", inputArtifacts=["Thing"])])
    execution = account.run()
    assert json.loads(execution.variables["Made.ABOUT"]) == ["Thing", None, "S3"]
    where, key = execution.action("Look").inputs["Thing"]
    assert account.world.client("s3").get_object(Bucket=where, Key=key)["Body"].read() == b"made"
    assert calls(account, f"{ROLE}/artifacts") == [("s3", "PutObject")]


# History and notifications


def test_executions_are_listed_newest_first_and_in_pages(account: Account) -> None:
    account.pipelines.approve = lambda execution, action: execution.number == 0
    account.pipeline([action("Approve")])
    executions = [account.run(), account.run()]
    client = account.world.client("codepipeline")
    [first] = (page := client.list_pipeline_executions(pipelineName="pipeline", maxResults=1))[
        "pipelineExecutionSummaries"
    ]
    rest = client.list_pipeline_executions(pipelineName="pipeline", nextToken=page["nextToken"])
    [then] = rest["pipelineExecutionSummaries"]
    assert (first["pipelineExecutionId"], first["status"]) == (executions[1].id, "Failed")
    assert (then["pipelineExecutionId"], then["status"]) == (executions[0].id, "Succeeded")
    assert first["trigger"]["triggerType"] == "StartPipelineExecution"
    assert "nextToken" not in rest
    with pytest.raises(ClientError, match="PipelineNotFoundException"):
        client.list_pipeline_executions(pipelineName="other")


def test_history_shows_why_an_action_failed(account: Account) -> None:
    account.pipelines.approve = lambda execution, action: False
    account.pipeline([action("Approve")])
    account.run()
    history = account.world.client("codepipeline").list_action_executions(pipelineName="pipeline")
    [shown] = history["actionExecutionDetails"]
    assert shown["output"]["executionResult"]["externalExecutionSummary"] == "Approval rejected"


NOTIFIER = """
import boto3
def handler(event, context):
    detail = event["detail"]
    found = boto3.client("codepipeline").list_pipeline_executions(pipelineName=detail["pipeline"])
    statuses = [summary["status"] for summary in found["pipelineExecutionSummaries"]]
    record = [event["source"], event["detail-type"], detail["state"], detail["execution-id"], statuses]
    boto3.client("s3").put_object(Bucket="artifacts", Key=detail["state"], Body=repr(record).encode())
"""


def notifier(account: Account) -> None:
    code = {"assets": {"index.py": {"text": NOTIFIER}}}
    settings = {"code": code, "handler": "index.handler", "role": "arn:aws:iam::123456789012:role/n", "timeout": 60.0}
    account.put("aws:lambda/function:Function", "notifier", **settings)
    function = "arn:aws:lambda:eu-west-1:123456789012:function:notifier"
    kind = "CodePipeline Pipeline Execution State Change"
    rule(account, {"source": ["aws.codepipeline"], "detail-type": [kind]}, arn=function, roleArn=None)


def heard(account: Account) -> set[str]:
    found = account.world.client("s3").list_objects_v2(Bucket="artifacts").get("Contents", [])
    return {entry["Key"] for entry in found}


def test_a_function_receives_events_of_executions_if_events_may_invoke_it(account: Account) -> None:
    account.pipelines.approve = lambda execution, action: False
    account.pipeline([action("Approve")])
    notifier(account)
    may = {"action": "lambda:InvokeFunction", "principal": "events.amazonaws.com", "function": "notifier"}
    account.put("aws:lambda/permission:Permission", "permission", **may, sourceArn="arn:another")
    account.run()
    assert heard(account) == set()
    account.put("aws:lambda/permission:Permission", "permission", **may, sourceArn="arn:rule")
    execution = account.run()
    assert heard(account) == {"STARTED", "FAILED"}
    record = account.world.client("s3").get_object(Bucket="artifacts", Key="FAILED")["Body"].read().decode()
    kind = "CodePipeline Pipeline Execution State Change"
    assert record == repr(["aws.codepipeline", kind, "FAILED", execution.id, ["Failed", "Failed"]])
    account.pipelines.approve = lambda execution, action: True
    account.pipelines.retry(execution, "Stage0")
    assert heard(account) == {"STARTED", "FAILED", "RESUMED", "SUCCEEDED"}


def test_a_topic_receives_what_a_function_publishes(account: Account) -> None:
    made = Topic(account.world.client("sns")).create("topic", {"name": "topic"})
    client = account.world.client("sns")
    client.publish(TopicArn=TOPIC, Subject="failed", Message="it failed")
    assert (made, account.pipelines.published) == (
        ("", {"arn": TOPIC}),
        [{"topic": TOPIC, "message": "it failed", "subject": "failed"}],
    )
    Topic(client).delete(TOPIC, {})
    with pytest.raises(ClientError, match="NotFound"):
        client.publish(TopicArn=TOPIC, Message="it failed")
    assert len(account.pipelines.published) == 1
