"""The rules of the stand-in for CodeDeploy, and for the CodePipeline action that deploys with it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from standin.codedeploy import Group
from standin.executor import Execution
from standin.world import World

from .accounts import ROLE, Account, action

DEPLOYER = "arn:aws:iam::123456789012:role/deployer"
OF = {"cluster": "main", "service": "web"}
NAMED = {"applicationName": "app", "deploymentGroupName": "group"}
EVENTS = ["DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM", "DEPLOYMENT_STOP_ON_REQUEST"]
BLUE, GREEN = "arn:blue", "arn:green"


class Site(Account):
    """A service that CodeDeploy deploys, behind a listener with one rule that forwards to its first target group."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.ecs, self.client = world.client("ecs"), world.client("codedeploy")
        for name in ("blue", "green"):
            self.put("aws:lb/targetGroup:TargetGroup", name)
        for name in ("production", "test"):
            self.put("aws:lb/listenerRule:ListenerRule", name, listenerArn=f"arn:{name}-listener")
        self.put("aws:lb/listenerRule:ListenerRule", "foreign", listenerArn="arn:production-listener")
        groups = [{"arn": BLUE, "weight": 100}, {"arn": GREEN, "weight": 0}]
        world.elb.set("arn:production", [{"type": "forward", "forward": {"targetGroups": groups}}])
        world.elb.set("arn:test", [{"type": "forward", "forward": {"targetGroups": groups}}])
        world.elb.set("arn:foreign", [{"type": "forward", "targetGroupArn": "arn:other"}])
        self.put("aws:codedeploy/application:Application", "app")
        self.group()
        self.ecs.create_cluster(clusterName="main")
        balancer = {"targetGroupArn": BLUE, "containerName": "app", "containerPort": 80}
        self.ecs.create_service(
            cluster="main",
            serviceName="web",
            taskDefinition=self.define("other/web:1"),
            desiredCount=2,
            launchType="FARGATE",
            deploymentController={"type": "CODE_DEPLOY"},
            loadBalancers=[balancer],
            networkConfiguration={"awsvpcConfiguration": {"subnets": ["s-1"], "securityGroups": ["sg-1"]}},
        )
        world.clock.sleep(60)

    def group(self, config: str = "ECSAllAtOnce", wait: int = 0, **more: Any) -> None:
        pair = {"targetGroups": [{"name": "blue"}, {"name": "green"}]}
        routes = {"prodTrafficRoute": {"listenerArns": ["arn:production-listener"]}}
        terminate = {"action": "TERMINATE", "terminationWaitTimeInMinutes": wait}
        given: dict[str, Any] = {
            "appName": "app",
            "deploymentGroupName": "group",
            "deploymentConfigName": f"CodeDeployDefault.{config}",
            "serviceRoleArn": DEPLOYER,
            "ecsService": {"clusterName": "main", "serviceName": "web"},
            "loadBalancerInfo": {"targetGroupPairInfo": pair | routes | more.pop("routes", {})},
            "autoRollbackConfiguration": {"enabled": True, "events": EVENTS},
            "blueGreenDeploymentConfig": {
                "deploymentReadyOption": more.pop("ready", {"actionOnTimeout": "CONTINUE_DEPLOYMENT"}),
                "terminateBlueInstancesOnDeploymentSuccess": terminate,
            },
        }
        self.put("aws:codedeploy/deploymentGroup:DeploymentGroup", "group", **given | more)

    def define(self, image: str) -> str:
        container = {"name": "app", "image": image, "portMappings": [{"containerPort": 80}]}
        made = self.ecs.register_task_definition(family="web", networkMode="awsvpc", containerDefinitions=[container])
        return str(made["taskDefinition"]["taskDefinitionArn"])

    def appspec(self, definition: str, **more: Any) -> str:
        balancer = {"ContainerName": "app", "ContainerPort": 80}
        properties = {"TaskDefinition": definition, "LoadBalancerInfo": balancer, **more}
        service = {"TargetService": {"Type": "AWS::ECS::Service", "Properties": properties}}
        return json.dumps({"version": 0.0, "Resources": [service]})

    def deploy(self, image: str = "other/web:2", **options: Any) -> str:
        content = {"content": self.appspec(self.define(image))}
        revision = {"revisionType": "AppSpecContent", "appSpecContent": content}
        return str(self.client.create_deployment(**NAMED, revision=revision, **options)["deploymentId"])

    def info(self, id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.client.get_deployment(deploymentId=id)["deploymentInfo"]
        return found

    def after(self, id: str, seconds: float) -> tuple[str, int]:
        """Status, and percent of the traffic that the new tasks get, after some time."""
        self.world.clock.sleep(seconds)
        status = self.info(id)["status"]
        return status, self.world.elb.weights("arn:production").get(GREEN, 0)

    def sets(self) -> list[tuple[str, str]]:
        [service] = self.ecs.describe_services(cluster="main", services=["web"])["services"]
        return [(s["status"], s["loadBalancers"][0]["targetGroupArn"]) for s in service["taskSets"]]


@pytest.fixture
def site() -> Iterator[Site]:
    with World("registry.invalid", {}, Path("pulumi")) as world:
        yield Site(world)


def test_a_deployment_starts_new_tasks_shifts_the_traffic_and_stops_the_old_ones(site: Site) -> None:
    site.group(wait=5)
    site.world.api.calls.clear()
    id = site.deploy()
    assert site.after(id, 5) == ("InProgress", 0)
    assert sorted(site.sets()) == [("ACTIVE", GREEN), ("PRIMARY", BLUE)]
    assert site.after(id, 60) == ("InProgress", 100)
    assert sorted(site.sets()) == [("ACTIVE", BLUE), ("PRIMARY", GREEN)]
    assert site.after(id, 300) == ("Succeeded", 100)
    assert site.sets() == [("PRIMARY", GREEN)]
    made = [(c.service, c.operation) for c in site.world.api.calls if c.principal == DEPLOYER]
    assert list(dict.fromkeys(made)) == [
        ("ecs", "DescribeServices"),
        ("elasticloadbalancing", "DescribeTargetGroups"),
        ("elasticloadbalancing", "DescribeListeners"),
        ("elasticloadbalancing", "DescribeRules"),
        ("ecs", "CreateTaskSet"),
        ("elasticloadbalancing", "ModifyRule"),
        ("ecs", "UpdateServicePrimaryTaskSet"),
        ("ecs", "DeleteTaskSet"),
    ]
    assert site.world.elb.weights("arn:foreign") == {"arn:other": 100}
    info = site.info(id)
    assert (info["creator"], info["computePlatform"], "errorInformation" in info) == ("user", "ECS", False)


def test_the_next_deployment_uses_the_first_target_group_again(site: Site) -> None:
    site.after(site.deploy(), 60)
    assert site.after(site.deploy("other/web:3"), 60) == ("Succeeded", 0)
    assert site.sets() == [("PRIMARY", BLUE)]


def test_a_canary_gets_ten_percent_of_the_traffic_first(site: Site) -> None:
    site.group("ECSCanary10Percent5Minutes")
    id = site.deploy()
    assert [site.after(id, seconds) for seconds in (60, 240, 60)] == [
        ("InProgress", 10),
        ("InProgress", 10),
        ("Succeeded", 100),
    ]


def test_a_linear_shift_moves_ten_percent_at_a_time(site: Site) -> None:
    site.group("ECSLinear10PercentEvery1Minutes")
    id = site.deploy()
    assert [site.after(id, 60) for _ in range(10)] == [
        *[("InProgress", percent) for percent in range(10, 100, 10)],
        ("Succeeded", 100),
    ]


@pytest.mark.parametrize(
    ("config", "minutes"), [("ECSCanary10Percent15Minutes", 15), ("ECSLinear10PercentEvery3Minutes", 27)]
)
def test_the_slower_configurations_take_longer(site: Site, config: str, minutes: int) -> None:
    id = site.deploy(deploymentConfigName=f"CodeDeployDefault.{config}")
    began = site.world.clock.now()
    while site.after(id, 15)[0] == "InProgress":
        pass
    assert 60 * minutes <= site.world.clock.now() - began <= 60 * minutes + 300


def test_the_tasks_have_the_network_of_the_appspec_or_of_the_previous_task_set(site: Site) -> None:
    def network() -> list[str]:
        [service] = site.ecs.describe_services(cluster="main", services=["web"])["services"]
        subnets: list[str] = service["taskSets"][0]["networkConfiguration"]["awsvpcConfiguration"]["subnets"]
        return subnets

    site.after(site.deploy(), 60)
    assert network() == ["s-1"]
    other = {"AwsvpcConfiguration": {"Subnets": ["s-2"], "SecurityGroups": ["sg-2"], "AssignPublicIp": "DISABLED"}}
    content = {"content": site.appspec(site.define("other/web:3"), NetworkConfiguration=other)}
    revision = {"revisionType": "String", "string": content}
    site.after(site.client.create_deployment(**NAMED, revision=revision)["deploymentId"], 60)
    assert network() == ["s-2"]


def test_the_test_listener_reaches_the_new_tasks_before_any_traffic_shifts(site: Site) -> None:
    ready = {"actionOnTimeout": "STOP_DEPLOYMENT", "waitTimeInMinutes": 10}
    site.group(ready=ready, routes={"testTrafficRoute": {"listenerArns": ["arn:test-listener"]}})
    id = site.deploy()
    assert site.after(id, 60) == ("Ready", 0)
    assert site.world.elb.weights("arn:test") == {BLUE: 0, GREEN: 100}
    site.client.continue_deployment(deploymentId=id)
    assert site.after(id, 1) == ("Succeeded", 100)
    with pytest.raises(ClientError, match="DeploymentIsNotInReadyStateException"):
        site.client.continue_deployment(deploymentId=id)


def test_a_deployment_that_is_not_continued_is_stopped(site: Site) -> None:
    site.group(ready={"actionOnTimeout": "STOP_DEPLOYMENT", "waitTimeInMinutes": 10})
    id = site.deploy()
    assert [site.after(id, seconds) for seconds in (60, 600)] == [("Ready", 0), ("Stopped", 0)]


def test_a_deployment_whose_tasks_are_not_healthy_within_an_hour_fails_and_they_are_deleted(site: Site) -> None:
    site.world.ecs.fault = lambda definition: "exit 1" if "other/web:2" in str(definition) else None
    id = site.deploy()
    assert site.after(id, 3500) == ("InProgress", 0)
    assert site.after(id, 120) == ("Failed", 0)
    failed = site.info(id)
    message = "The deployment timed out while waiting for the replacement task set to become healthy. "
    assert failed["errorInformation"] == {"code": "TIMEOUT", "message": f"{message}This time out period is 60 minutes."}
    back = failed["rollbackInfo"]["rollbackDeploymentId"]
    assert site.info(back)["status"] == "InProgress"
    assert site.after(back, 10) == ("Succeeded", 0)
    info = site.info(back)
    assert (info["creator"], info["rollbackInfo"]["rollbackTriggeringDeploymentId"]) == ("codeDeployRollback", id)
    assert site.sets() == [("PRIMARY", BLUE)]


def test_an_alarm_stops_the_deployment_and_the_traffic_returns(site: Site) -> None:
    alarms = {"enabled": True, "alarms": ["errors"]}
    site.group("ECSCanary10Percent5Minutes", wait=60, alarmConfiguration=alarms)
    id = site.deploy()
    assert site.after(id, 60) == ("InProgress", 10)
    site.world.ecs.alarms.add("latency")
    assert site.after(id, 300) == ("InProgress", 100)
    site.world.ecs.alarms.add("errors")
    assert site.after(id, 60)[0] == "Stopped"
    assert site.info(id)["errorInformation"]["code"] == "ALARM_ACTIVE"
    assert site.after(site.info(id)["rollbackInfo"]["rollbackDeploymentId"], 10) == ("Succeeded", 0)
    assert (site.sets(), site.world.elb.weights("arn:production")) == ([("PRIMARY", BLUE)], {BLUE: 100, GREEN: 0})


def test_alarms_that_are_not_enabled_stop_nothing(site: Site) -> None:
    site.group(alarmConfiguration={"enabled": False, "alarms": ["errors"]})
    site.world.ecs.alarms.add("errors")
    assert site.after(site.deploy(), 60) == ("Succeeded", 100)


@pytest.mark.parametrize(
    ("events", "rollback", "rolled_back"),
    [(EVENTS, None, True), (EVENTS[:2], None, False), (EVENTS[:2], True, True), (EVENTS, False, False)],
)
def test_a_stopped_deployment_is_rolled_back_as_the_group_or_the_call_specifies(
    site: Site, events: list[str], rollback: bool | None, rolled_back: bool
) -> None:
    site.group(autoRollbackConfiguration={"enabled": True, "events": events})
    id = site.deploy()
    more = {} if rollback is None else {"autoRollbackEnabled": rollback}
    assert site.client.stop_deployment(deploymentId=id, **more)["status"] == "Succeeded"
    info = site.info(id)
    assert (info["status"], info["errorInformation"]["code"]) == ("Stopped", "MANUAL_STOP")
    assert ("rollbackInfo" in info) == rolled_back
    with pytest.raises(ClientError, match="DeploymentAlreadyCompletedException"):
        site.client.stop_deployment(deploymentId=id)


def test_a_group_has_only_one_active_deployment(site: Site) -> None:
    id = site.deploy()
    with pytest.raises(ClientError, match=f"DeploymentLimitExceededException.*{id}"):
        site.deploy()
    site.after(id, 60)
    assert site.after(site.deploy(), 60)[0] == "Succeeded"


def test_deployments_are_listed_by_status_and_time(site: Site) -> None:
    first = site.deploy()
    site.after(first, 60)
    second = site.deploy("other/web:3")
    since = site.info(second)["createTime"]
    ids = [
        site.client.list_deployments(**NAMED, **filters)["deployments"]
        for filters in ({}, {"includeOnlyStatuses": ["InProgress"]}, {"createTimeRange": {"start": since}})
    ]
    assert ids == [[second, first], [second], [second]]
    other = {"applicationName": "app", "deploymentGroupName": "other"}
    assert site.client.list_deployments(**other)["deployments"] == []


def test_missing_resources_and_unreadable_revisions_are_rejected(site: Site) -> None:
    revision = {"revisionType": "AppSpecContent", "appSpecContent": {"content": "version: 0.0"}}
    for named, code in (
        ({**NAMED, "applicationName": "other"}, "ApplicationDoesNotExistException"),
        ({**NAMED, "deploymentGroupName": "other"}, "DeploymentGroupDoesNotExistException"),
        (NAMED, "InvalidRevisionException"),
    ):
        with pytest.raises(ClientError, match=code):
            site.client.create_deployment(**named, revision=revision)
    with pytest.raises(ClientError, match="DeploymentDoesNotExistException"):
        site.info("d-ABCDEFGHI")


def test_a_deployment_fails_if_no_rule_forwards_to_the_target_groups(site: Site) -> None:
    site.world.elb.set("arn:production", [{"type": "forward", "targetGroupArn": "arn:other"}])
    message = "The ELB could not be updated due to the following error: Primary taskset target group must be behind"
    assert site.info(site.deploy())["errorInformation"] == {
        "code": "ELASTIC_LOAD_BALANCING_INVALID",
        "message": f"{message} listener arn:production-listener",
    }


def test_a_deployment_fails_if_ecs_rejects_it_or_the_service_has_another_controller(site: Site) -> None:
    content = {"content": site.appspec("web:99")}
    revision = {"revisionType": "AppSpecContent", "appSpecContent": content}
    id = site.client.create_deployment(**NAMED, revision=revision)["deploymentId"]
    assert site.info(id)["errorInformation"]["code"] == "ECS_UPDATE_ERROR"
    definition = site.define("other/web:1")
    site.ecs.create_service(cluster="main", serviceName="rolling", taskDefinition=definition, desiredCount=0)
    for name in ("other", "rolling"):
        site.world.clock.sleep(10)
        site.group(ecsService={"clusterName": "main", "serviceName": name})
        assert site.info(site.deploy())["errorInformation"]["code"] == "INVALID_ECS_SERVICE"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (
            {"ready": {"actionOnTimeout": "CONTINUE_DEPLOYMENT", "waitTimeInMinutes": 5}},
            "InvalidDeploymentReadyOption: CONTINUE_DEPLOYMENT takes no wait time",
        ),
        (
            {"routes": {"targetGroups": [{"name": "blue"}]}},
            "InvalidTargetGroupPairException: the pair must be two target groups",
        ),
        (
            {"terminate": "KEEP_ALIVE"},
            "InvalidBlueGreenDeploymentConfigurationException: the original task set must be terminated",
        ),
    ],
)
def test_invalid_groups_are_rejected_as_codedeploy_rejects_them(site: Site, changes: dict[str, Any], why: str) -> None:
    terminate = changes.pop("terminate", "TERMINATE")
    site.group(**changes)
    inputs = site.world.aws.resources["group"].inputs
    inputs["blueGreenDeploymentConfig"]["terminateBlueInstancesOnDeploymentSuccess"]["action"] = terminate
    for act in (lambda: Group().create("", inputs), lambda: Group().update("", {}, inputs)):
        with pytest.raises(RuntimeError) as refused:
            act()
        assert str(refused.value) == f"creating CodeDeploy Deployment Group (group): {why}"


# The action of CodePipeline


def release(site: Site, more: bytes = b"", **files: str) -> Execution:
    container = {"name": "app", "image": "<IMAGE1_NAME>", "portMappings": [{"containerPort": 80}]}
    definition = {"family": "web", "networkMode": "awsvpc", "containerDefinitions": [container]}
    written = {
        "taskdef.json": json.dumps(definition),
        "appspec.yaml": site.appspec("<TASK_DEFINITION>"),
        "imageDetail.json": json.dumps({"ImageURI": "other/web@sha256:2"}),
    }
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for name, text in {**written, **files}.items():
            archive.writestr(name, text)
        archive.writestr("more", more)
    s3 = site.world.client("s3")
    s3.create_bucket(Bucket="sources", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_bucket_versioning(Bucket="sources", VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket="sources", Key="app.zip", Body=body.getvalue())
    source = {"S3Bucket": "sources", "S3ObjectKey": "app.zip"}
    configuration = {
        "ApplicationName": "app",
        "DeploymentGroupName": "group",
        "TaskDefinitionTemplateArtifact": "Code",
        "AppSpecTemplateArtifact": "Code",
        "Image1ArtifactName": "Code",
        "Image1ContainerName": "IMAGE1_NAME",
    }
    site.pipeline(
        [action("Source", "S3", configuration=source, outputArtifacts=["Code"])],
        [action("Deploy", "CodeDeployToECS", configuration=configuration, inputArtifacts=["Code"])],
    )
    return site.run()


def test_the_action_registers_the_definition_with_the_image_and_follows_the_deployment(site: Site) -> None:
    began = site.world.clock.now()
    site.group(wait=5)
    assert release(site).status == "Succeeded"
    assert site.world.clock.now() - began >= 300
    [deployment] = site.world.codedeploy.deployments
    content = deployment.shown["revision"]["appSpecContent"]
    assert hashlib.sha256(content["content"].encode()).hexdigest() == content["sha256"]
    arn = deployment.green["taskDefinition"]
    assert content["content"] == site.appspec(arn)
    made = site.ecs.describe_task_definition(taskDefinition=arn)["taskDefinition"]
    assert made["containerDefinitions"][0]["image"] == "other/web@sha256:2"
    calls = [(c.service, c.operation) for c in site.world.api.calls if c.principal == ROLE and c.service != "s3"]
    assert list(dict.fromkeys(calls)) == [
        ("ecs", "RegisterTaskDefinition"),
        ("codedeploy", "GetApplication"),
        ("codedeploy", "GetApplicationRevision"),
        ("codedeploy", "RegisterApplicationRevision"),
        ("codedeploy", "GetDeploymentConfig"),
        ("codedeploy", "CreateDeployment"),
        ("codedeploy", "GetDeployment"),
    ]


def test_the_action_fails_with_the_message_of_codedeploy(site: Site) -> None:
    site.world.ecs.fault = lambda definition: "exit 1" if "sha256:2" in str(definition) else None
    message = "The deployment timed out while waiting for the replacement task set to become healthy. "
    assert release(site).action("Deploy").message == f"{message}This time out period is 60 minutes."


def test_the_action_rejects_artifacts_of_more_than_three_megabytes(site: Site) -> None:
    message = "Exception while trying to read the task definition artifact file from: Code"
    assert release(site, more=os.urandom(3 * 1024 * 1024)).action("Deploy").message == message


def test_the_action_fails_without_its_files(site: Site) -> None:
    execution = release(site)
    for name, what in (("appspec.yaml", "appspec"), ("imageDetail.json", "image detail")):
        key = execution.artifacts["Code"]
        s3 = site.world.client("s3")
        with zipfile.ZipFile(io.BytesIO(s3.get_object(Bucket="artifacts", Key=key)["Body"].read())) as before:
            kept = {each: before.read(each) for each in before.namelist() if each != name}
        body = io.BytesIO()
        with zipfile.ZipFile(body, "w") as archive:
            for each, content in kept.items():
                archive.writestr(each, content)
        s3.put_object(Bucket="sources", Key="app.zip", Body=body.getvalue())
        message = f"Exception while trying to read the {what} artifact file from: Code"
        assert site.run().action("Deploy").message == message
