"""The release function under attack and failure: forged, repeated and interrupted events, and invalid artifacts."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from pulumi.automation import CommandError
from standin.api import AwsError
from standin.codebuild import Built
from standin.executor import Action, Execution
from standin.lambdas import FunctionError

from .conftest import Stack

Make = Callable[..., Stack]
FUNCTION = "storefront-dev-release"
UNRELEASED = ":unreleased"


def forged(stack: Stack, execution: Execution, key: str = "", **changes: Any) -> dict[str, Any]:
    """The event of the deploy action of an execution, forged by somebody else, with changes."""
    name, pipeline = f"storefront-{stack.name}", stack.account.codepipeline
    definition = stack.account.aws.find("aws:codepipeline/pipeline:Pipeline", name).inputs
    deploy = definition["stages"][-1]["actions"][-1]
    parameters = pipeline._resolved(execution, deploy["configuration"]["UserParameters"])
    if changes:
        parameters = json.dumps({**json.loads(parameters), **changes})
    bucket = definition["artifactStores"][0]["location"]
    keys = [execution.artifacts[artifact] for artifact in deploy["inputArtifacts"]]
    locations = [{"bucketName": bucket, "objectKey": each} for each in ([key, *keys[1:]] if key else keys)]
    return {
        "CodePipeline.job": {
            "id": "11111111-2222-3333-4444-555555555555",
            "accountId": "123456789012",
            "data": {
                "actionConfiguration": {
                    "configuration": {"FunctionName": f"{name}-release", "UserParameters": parameters}
                },
                "inputArtifacts": [
                    {"name": artifact, "revision": None, "location": {"type": "S3", "s3Location": location}}
                    for artifact, location in zip(deploy["inputArtifacts"], locations, strict=True)
                ],
                "outputArtifacts": [],
                "artifactCredentials": {"accessKeyId": "a", "secretAccessKey": "b", "sessionToken": "c"},
            },
        }
    }


@pytest.mark.rule("R10")
def test_nobody_can_bypass_an_approval_by_invoking_the_function(stack: Make) -> None:
    dev, prod = stack("dev"), stack("prod")
    refusals = []

    def attack(execution: Execution, action: Action) -> bool:
        """During the approval, somebody sends the event that the deploy action would send."""
        with pytest.raises(FunctionError) as refused:
            prod.account.lambdas.invoke("storefront-prod-release", forged(prod, execution))
        refusals.append(json.loads(str(refused.value)))
        return False

    prod.account.codepipeline.approve = attack
    dev.push()
    [execution] = prod.account.codepipeline.settle()
    assert refusals == [
        {
            "errorType": "UnverifiedEvent",
            "errorMessage": f"refused: the execution {execution.id} of the pipeline storefront-prod has no action in "
            "progress that invokes storefront-prod-release with this artifact; nothing was changed",
        }
    ]
    assert (prod.image, prod.counts, prod.state("claim")) == (UNRELEASED, (0, 0), None)


def test_an_event_that_differs_in_any_field_from_the_action_in_progress_is_rejected(stack: Make) -> None:
    dev = stack()
    first = dev.push()
    old = first.artifacts["BuildArtifact"]
    tried = []

    def attack(execution: Execution, action: Action) -> None:
        if action.name != "Deploy" or action.status != "InProgress":
            return
        for event in (
            forged(dev, execution, key=old),
            forged(dev, execution, commit="0" * 40),
            forged(dev, first),
        ):
            with pytest.raises(FunctionError, match="UnverifiedEvent"):
                dev.account.lambdas.invoke(FUNCTION, event)
            tried.append(dev.state("claim")["execution"])
        with pytest.raises(FunctionError, match="PipelineNotFoundException"):
            dev.account.lambdas.invoke(FUNCTION, forged(dev, execution, pipeline="another"))
        tried.append(dev.state("claim")["execution"])

    dev.account.codepipeline.watch = attack
    second = dev.release("Second")
    assert tried == [first.id] * 4
    assert dev.image == f"@{second.digest}"


def test_an_unknown_kind_of_event_is_rejected(stack: Make) -> None:
    dev = stack()
    with pytest.raises(FunctionError, match="a rollout, an event or a restart, got \\['image'\\]"):
        dev.account.lambdas.invoke(FUNCTION, {"image": "anything"})


@pytest.mark.rule("R9")
def test_a_job_that_is_delivered_twice_releases_once(stack: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    dev = stack()
    invoke = dev.account.lambdas.invoke

    def twice(name: str, event: Any) -> Any:
        invoke(name, event)
        if "CodePipeline.job" in event:
            invoke(name, event)

    monkeypatch.setattr(dev.account.lambdas, "invoke", twice)
    done = dev.push()
    assert done.status == "Succeeded"
    assert (dev.image, dev.counts, dev.running["revision"]) == (f"@{done.digest}", (1, 1), 1)
    deployments = dev.account.ecs.list_service_deployments({"cluster": "storefront-dev", "service": "storefront-dev"})
    assert len(deployments["serviceDeployments"]) == 2  # with zero tasks, when the service was created, and this one


@pytest.mark.rule("R9")
def test_an_interrupted_run_is_continued(stack: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    dev = stack()
    real, polls, cut_at = dev.account.clock.sleep, [0], [0]

    def cut(seconds: float) -> None:
        polls[0] += seconds == 5  # a poll of the function
        if seconds == 5 and polls[0] == cut_at[0]:
            raise FunctionError("the process was killed")
        real(seconds)

    monkeypatch.setattr(dev.account.clock, "sleep", cut)
    for number, poll in enumerate((1, 3, 6), start=1):
        polls[0], cut_at[0] = 0, poll
        done = dev.release(f"Interrupted at poll {poll}")
        assert polls[0] >= poll
        assert (dev.image, dev.counts, dev.running["revision"]) == (f"@{done.digest}", (1, 1), number)


def archive(**files: str) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as made:
        for name, text in files.items():
            made.writestr(name.replace("__", "."), text)
    return body.getvalue()


def genuine(execution: Execution, action: Action, token: dict[str, Any]) -> dict[str, Any]:
    """The exact event of an action in progress, except for the job and the token of the last run."""
    artifacts = [
        {"name": name, "location": {"type": "S3", "s3Location": {"bucketName": bucket, "objectKey": key}}}
        for name, (bucket, key) in action.inputs.items()
    ]
    keys = {"accessKeyId": "a", "secretAccessKey": "b", "sessionToken": "c"}
    data = {"actionConfiguration": {"configuration": action.configuration}, "inputArtifacts": artifacts}
    return {
        "CodePipeline.job": {
            "id": "11111111-2222-3333-4444-555555555555",
            "data": {**data, "artifactCredentials": keys, "continuationToken": json.dumps(token)},
        }
    }


def test_a_forged_token_can_neither_skip_the_tests_nor_roll_back_a_release(stack: Make) -> None:
    dev = stack(config={"slipway:stages": [{"tests": {"commands": ["test ! -f broken"]}}]})
    good = dev.push()
    [green] = list(dev.account.codebuild.builds)
    sent: list[str] = []
    sleep = dev.account.clock.sleep

    def attack(seconds: float) -> None:
        sleep(seconds)
        execution = dev.account.codepipeline.executions[-1]
        action = execution.actions[-1]
        if sent or action.name != "Deploy" or action.status != "InProgress" or dev.image != f"@{execution.digest}":
            return
        # The new image is deployed, and its tests have not ended.
        sent.append(execution.id)
        image = dev.state("claim")["image"]
        for token in ({"image": image, "since": 9e9, "build": green}, {"image": image, "since": 0}):
            dev.account.lambdas.invoke(FUNCTION, genuine(execution, action, {"after": "", **token}))

    dev.account.clock.sleep = attack  # type: ignore[method-assign]
    dev.commit("Fails its tests", {"broken": "yes"})
    bad = dev.push()
    # The tests ran once, for the first caller, and their result counted.
    assert (sent, bad.status) == ([bad.id], "Failed")
    assert (dev.image, dev.moving()["verified-dev"]) == (f"@{good.digest}", good.digest)
    sent.clear()
    dev.repository.remove("broken")
    fixed = dev.push()
    assert (sent, fixed.status, dev.image) == ([fixed.id], "Succeeded", f"@{fixed.digest}")


def test_an_artifact_without_a_valid_image_for_this_service_releases_nothing(
    stack: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    dev = stack(config={"slipway:scanGate": None})
    repository = dev.account.aws.find("aws:ecr/repository:Repository").outputs["repositoryUrl"]
    digest = "sha256:" + "0" * 64

    def images(**containers: str) -> bytes:
        return archive(
            imagedefinitions__json=json.dumps([{"name": name, "imageUri": uri} for name, uri in containers.items()])
        )

    given = {
        b"no zip": "the build's artifact holds no valid imagedefinitions.json",
        archive(other__json="[]"): "the build's artifact holds no valid imagedefinitions.json",
        archive(imagedefinitions__json="{"): "the build's artifact holds no valid imagedefinitions.json",
        archive(imagedefinitions__json="[1]"): "the build's artifact holds no valid imagedefinitions.json",
        images(
            web=f"{repository}@{digest}"
        ): "imagedefinitions.json names the containers ['web'], and this service's is 'app'",
        images(
            app=f"{repository}:1.0"
        ): f"imagedefinitions.json names '{repository}:1.0', and the repository has no image with this tag",
        images(app=f"elsewhere/x@{digest}"): f"this service takes images from {repository}, and imagedefinitions.json "
        f"names 'elsewhere/x@{digest}'",
        images(app=f"{repository}@{digest}"): f"the image {digest} is not in the repository storefront-dev; it was "
        "deleted or has expired: build its commit again",
    }
    for body, reason in given.items():
        exported = {"IMAGE_DIGEST": digest}
        built = Built(True, "", exported, body)
        monkeypatch.setattr("standin.codebuild.CodeBuild.run", lambda *_, built=built: built)
        failed = dev.push()
        message = failed.action("Deploy").message
        assert message.lower().startswith(f"the release could not begin: {reason}".lower())
        again = "Correct what the build writes, and run a new build: a retry of the stage would get the same file."
        assert message.endswith("Fix the cause, then retry the stage." if "expired" in reason else again)
        assert (dev.image, dev.counts, dev.state("claim")) == (UNRELEASED, (0, 0), None)


def test_permissions_that_iam_does_not_show_yet_are_waited_for(stack: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    dev = stack()
    dev.push()
    describe = dev.account.ecs.describe_services
    denied: list[bool] = []

    def deny(params: Any) -> Any:
        if len(denied) < 3:
            denied.append(True)
            raise AwsError("AccessDeniedException", "not authorized to perform: ecs:DescribeServices")
        return describe(params)

    monkeypatch.setattr(dev.account.ecs, "describe_services", deny)
    dev.up(environment={})
    assert len(denied) == 3
    assert dev.running["containerDefinitions"][0]["environment"] == []


def test_permissions_that_are_never_granted_fail_the_up(stack: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    dev = stack()
    dev.push()

    def deny(params: Any) -> Any:
        raise AwsError("AccessDeniedException", "not authorized to perform: ecs:UpdateService")

    monkeypatch.setattr(dev.account.ecs, "update_service", deny)
    began = dev.account.clock.now()
    with pytest.raises(CommandError, match="not authorized to perform: ecs:UpdateService"):
        dev.up(environment={})
    assert 180 <= dev.account.clock.now() - began < 240


def test_a_deployment_that_another_one_superseded_is_not_a_failure(stack: Make) -> None:
    dev = stack()
    dev.push()
    dev.account.ecs.start_seconds = 120
    taken: list[bool] = []

    def take_over(definition: dict[str, Any]) -> None:
        """While the second image starts, somebody forces a new deployment of the same revision."""
        if definition["revision"] == 2 and definition["family"] == "storefront-dev" and not taken:
            taken.append(True)
            again.start()

    def force() -> None:
        dev.account.ecs.update_service(
            {"cluster": "storefront-dev", "service": "storefront-dev", "forceNewDeployment": True}
        )

    again = threading.Thread(target=force)
    dev.account.ecs.fault = take_over
    second = dev.release("Second")
    again.join()
    assert taken == [True]
    assert (dev.image, dev.counts) == (f"@{second.digest}", (1, 1))


def test_a_lost_state_is_restored_from_the_live_and_verified_image(stack: Make) -> None:
    dev = stack()
    live = dev.push()
    before = dev.state("verified")
    dynamodb = dev.account.client("dynamodb")
    dynamodb.delete_item(TableName=FUNCTION, Key={"item": {"S": "release"}, "at": {"S": "-"}})
    dev.up(cpu=512, memory=1024)
    assert (dev.image, dev.running["cpu"], dev.counts) == (f"@{live.digest}", "512", (1, 1))
    assert dev.state("verified") == {**before, "execution": ""}
    assert dev.release("Second").status == "Succeeded"


def test_a_lost_state_without_a_verified_live_image_is_an_error_and_changes_nothing(stack: Make) -> None:
    dev = stack()
    dev.push()
    second = dev.release("Second")
    dynamodb = dev.account.client("dynamodb")
    dynamodb.delete_item(TableName=FUNCTION, Key={"item": {"S": "release"}, "at": {"S": "-"}})
    # Somebody deployed an older image by hand; nothing shows that it was verified last.
    dev.account.ecs.update_service(
        {"cluster": "storefront-dev", "service": "storefront-dev", "taskDefinition": "storefront-dev:1"}
    )
    dev.account.clock.sleep(120)
    by_hand = dev.image
    dev.change(cpu=512, memory=1024)
    with pytest.raises(CommandError, match="the table storefront-dev-release knows of no release: it was lost"):
        dev.workspace.up()
    assert (dev.image, dev.counts) == (by_hand, (1, 1))
    again = dev.start(variables={"IMAGE_DIGEST": second.digest})
    assert again.status == "Succeeded"
    assert (dev.image, dev.running["cpu"]) == (f"@{second.digest}", "512")


def test_a_deleted_table_is_created_again_by_an_up_with_refresh(stack: Make) -> None:
    dev = stack()
    live = dev.push()
    dynamodb = dev.account.client("dynamodb")
    dynamodb.update_table(TableName=FUNCTION, DeletionProtectionEnabled=False)
    dynamodb.delete_table(TableName=FUNCTION)
    dev.workspace.up(refresh=True)
    assert (dev.state("settings")["minimum"], dev.state("verified")["commit"]) == (1, live.variables["Source.CommitId"])
    assert (dev.image, dev.counts) == (f"@{live.digest}", (1, 1))
    assert dev.workspace.preview(refresh=True).changes == []


@pytest.mark.rule("R10")
@pytest.mark.quick
def test_an_image_whose_execution_was_stopped_does_not_go_live_with_an_up(stack: Make) -> None:
    dev = stack()
    good = dev.push()
    dev.account.ecs.start_seconds = 120
    stopped: list[str] = []

    def stop(seconds: float) -> None:
        """Somebody stops the execution while its tasks start."""
        sleep(seconds)
        execution = dev.account.codepipeline.executions[-1]
        if not stopped and execution is not good and dev.image != f"@{good.digest}":
            stopped.append(execution.id)
            of = {"pipelineName": "storefront-dev", "pipelineExecutionId": execution.id, "abandon": True}
            dev.account.codepipeline.stop_pipeline_execution(of)

    sleep, dev.account.clock.sleep = dev.account.clock.sleep, stop  # type: ignore[method-assign]
    dev.commit("Second")
    second = dev.push()
    assert (stopped, second.status) == ([second.id], "Stopped")
    # The event of its end invokes the function; without it, the next `up` would do the same.
    dev.account.deliver()
    assert (dev.image, dev.state("claim")["phase"]) == (f"@{good.digest}", "failed")
    dev.up(cpu=512, memory=1024)
    assert (dev.image, dev.running["cpu"], dev.counts) == (f"@{good.digest}", "512", (1, 1))
    assert [(each["result"], each["digest"]) for each in dev.history()] == [
        ("failed", second.digest),
        ("verified", good.digest),
    ]
    assert "ended Abandoned" in dev.history()[0]["reason"]


def tasks(dev: Stack) -> list[str]:
    found: list[str] = dev.account.ecs.list_tasks({"cluster": "storefront-dev", "serviceName": "storefront-dev"})[
        "taskArns"
    ]
    return found


def test_a_restart_starts_new_tasks_with_the_live_image_once(stack: Make) -> None:
    dev = stack()
    live = dev.push()
    dev.account.clock.sleep(3600)
    before = tasks(dev)
    now = datetime.fromtimestamp(dev.account.clock.now(), UTC).isoformat()
    event = {"restart": {"before": now}}
    answer = dev.account.lambdas.invoke(FUNCTION, event)
    assert answer == f"storefront-dev:1 is running {live.digest} (1 task)"
    after = tasks(dev)
    assert (len(after), set(after) & set(before)) == (1, set())
    assert dev.account.lambdas.invoke(FUNCTION, event) == f"the tasks are newer than {now}"
    assert tasks(dev) == after
    assert dev.workspace.preview(refresh=True).changes == []


SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-AbCdEf"
ROTATING = {"secrets": {"PASSWORD": f"{SECRET}:password::"}, "restartOnSecretChange": True}


def rotation(dev: Stack, secret: str = SECRET, label: str = "AWSCURRENT") -> None:
    """Posts the event of a secret whose label has moved: secretsmanager/latest/userguide,
    event-detail-secret-label-updated-secretsmanager."""
    detail = {"name": "db", "labelUpdated": label, "versionId": "0f-1"}
    dev.account.events.post("aws.secretsmanager", "Secret Label Updated", detail, secret)


def test_a_rotated_secret_starts_new_tasks_with_the_live_image(stack: Make) -> None:
    dev = stack(**ROTATING)
    live = dev.push()
    before = tasks(dev)
    dev.account.clock.sleep(3600)
    rotation(dev, f"{SECRET[:-1]}g")
    rotation(dev, label="TRIAL")
    dev.account.deliver()
    assert tasks(dev) == before
    dev.account.events.copies = lambda event: 2
    rotation(dev)
    dev.account.deliver()
    after = tasks(dev)
    assert (len(after), set(after) & set(before)) == (1, set())
    assert (dev.image, dev.running["revision"]) == (f"@{live.digest}", 1)
    of = {"cluster": "storefront-dev", "service": "storefront-dev"}
    # With zero tasks, the release, and one restart for both copies of the event.
    assert len(dev.account.ecs.list_service_deployments(of)["serviceDeployments"]) == 3
    assert dev.workspace.preview(refresh=True).changes == []


def test_tasks_that_cannot_start_with_a_rotated_secret_leave_the_previous_ones(stack: Make) -> None:
    dev = stack(**ROTATING)
    live = dev.push()
    before = tasks(dev)
    dev.account.clock.sleep(3600)
    dev.account.ecs.fault = lambda definition: "exit 1"
    rotation(dev)
    dev.account.deliver()
    assert (tasks(dev), dev.image) == (before, f"@{live.digest}")
    of = {"cluster": "storefront-dev", "service": "storefront-dev"}
    listed = dev.account.ecs.list_service_deployments(of)["serviceDeployments"]
    # Lambda tries an event three times, and nothing else tries it again.
    assert sorted(each["status"] for each in listed) == ["ROLLBACK_SUCCESSFUL"] * 3 + ["SUCCESSFUL"] * 2
    now = datetime.fromtimestamp(dev.account.clock.now(), UTC).isoformat()
    with pytest.raises(FunctionError, match="was not restarted: the new tasks did not start, and the previous ones"):
        dev.account.lambdas.invoke(FUNCTION, {"restart": {"before": now}})
    # The value is corrected.
    dev.account.ecs.fault = lambda definition: None
    rotation(dev)
    dev.account.deliver()
    assert set(tasks(dev)) & set(before) == set()


@pytest.mark.parametrize("fault", ["", "exit 1"], ids=["good", "bad"])
def test_a_secret_that_is_rotated_during_a_release_reaches_the_tasks_after_it_and_undoes_nothing(
    stack: Make, fault: str
) -> None:
    dev = stack(**ROTATING)
    first = dev.push()
    before, rotated = tasks(dev), list[float]()
    dev.account.ecs.start_seconds = 200
    sleep = dev.account.clock.sleep

    def rotate(seconds: float) -> None:
        sleep(seconds)
        if not rotated and "2" in [d["taskDefinition"].rpartition(":")[2] for d in dev.service["deployments"]]:
            rotated.append(dev.account.clock.now())
            rotation(dev)

    def break_second(definition: dict[str, Any]) -> str | None:
        return fault if fault and definition["revision"] == 2 else None

    dev.account.ecs.fault = break_second
    dev.account.clock.sleep = rotate  # type: ignore[method-assign]
    dev.commit("Second")
    second = dev.push()
    dev.account.deliver()
    assert (len(rotated), second.status) == (1, "Failed" if fault else "Succeeded")
    live = first if fault else second
    assert (dev.image, dev.state("verified")["image"].rpartition("@")[2]) == (f"@{live.digest}", live.digest)
    of = {"cluster": "storefront-dev", "tasks": tasks(dev)}
    found = dev.account.ecs.describe_tasks(of)["tasks"]
    assert [task["createdAt"] > rotated[0] for task in found] == [True]
    assert set(tasks(dev)) & set(before) == set()
    assert dev.workspace.preview(refresh=True).changes == []


def test_an_error_of_aws_during_a_release_fails_it_with_the_reason_and_a_retry_works(
    stack: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    dev = stack()

    def denied(params: Any) -> Any:
        raise AwsError("AccessDeniedException", "not authorized to perform: ecs:UpdateService")

    monkeypatch.setattr(dev.account.ecs, "update_service", denied)
    failed = dev.push()
    message = failed.action("Deploy").message
    assert message.startswith("The release stopped: An error occurred (AccessDeniedException) when calling the Update")
    assert "not authorized to perform: ecs:UpdateService. Fix the cause, then retry the stage." in message
    monkeypatch.undo()
    assert dev.account.codepipeline.retry(failed, "dev").status == "Succeeded"


def test_a_verified_release_whose_tags_cannot_be_moved_succeeds_with_a_message(
    stack: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    dev = stack()

    def denied(params: Any) -> Any:
        raise AwsError("AccessDeniedException", "not authorized to perform: ecr:PutImage")

    monkeypatch.setattr(dev.account.ecr, "put_image", denied)
    done = dev.push()
    assert done.status == "Succeeded"
    assert "the tag verified-dev could not be moved to" in done.action("Deploy").message
    monkeypatch.undo()
    dev.up(cpu=512, memory=1024)
    assert dev.moving() == dict.fromkeys(("live-dev", "verified-dev", "verified-dev-0"), done.digest)


def test_the_function_uses_its_own_role_and_reads_the_artifact_with_the_credentials_of_the_job(stack: Make) -> None:
    dev = stack()
    dev.push()
    role = dev.account.aws.find("aws:lambda/function:Function", FUNCTION).inputs["role"]
    pipeline = dev.account.aws.find("aws:codepipeline/pipeline:Pipeline").inputs["roleArn"]
    called = {(call.service, call.operation) for call in dev.account.api.calls if call.principal == role}
    assert called == {
        ("application-autoscaling", "RegisterScalableTarget"),
        ("codebuild", "BatchGetBuilds"),
        ("codebuild", "StartBuild"),
        ("codepipeline", "GetPipelineExecution"),
        ("codepipeline", "ListActionExecutions"),
        ("codepipeline", "PutJobSuccessResult"),
        ("dynamodb", "GetItem"),
        ("dynamodb", "TransactWriteItems"),
        ("ecr", "BatchGetImage"),
        ("ecr", "DescribeImages"),
        ("ecr", "PutImage"),
        ("ecs", "DescribeServiceDeployments"),
        ("ecs", "DescribeServiceRevisions"),
        ("ecs", "DescribeServices"),
        ("ecs", "DescribeTaskDefinition"),
        ("ecs", "ListServiceDeployments"),
        ("ecs", "RegisterTaskDefinition"),
        ("ecs", "UpdateService"),
        ("lambda", "GetFunctionConfiguration"),
    }
    read = {
        (call.service, call.operation) for call in dev.account.api.calls if call.principal == f"{pipeline}/artifacts"
    }
    assert read == {("s3", "GetObject")}


def test_the_log_of_the_function_contains_no_credentials(stack: Make) -> None:
    dev = stack()
    dev.account.ecs.fault = lambda definition: "exit 1"
    dev.push()
    log = dev.account.lambdas.log_path.read_text()
    assert "deploying storefront-dev:1" in log
    assert [word for word in ("ASIA", "secretAccessKey", "sessionToken") if word in log] == []
