"""The rules of the stand-in as a client sees them: real boto3 over HTTP."""

import base64
import hashlib
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from standin.api import Api, AwsError
from standin.clock import Clock
from standin.ecr import MEDIA_TYPES, Ecr
from standin.ecs import Autoscaling, Ecs
from standin.single_tasks import Outcome
from standin.tools import registry

Params = dict[str, Any]
ROLE = "arn:aws:iam::123456789012:role/release"
BREAKER = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}
WHERE = {"cluster": "main", "service": "web"}
NETWORK = {"awsvpcConfiguration": {"subnets": ["subnet-1"], "securityGroups": ["sg-1"]}}
SESSION = boto3.Session(region_name="eu-west-1")
DIRECT = Config(proxies={})  # loopback never goes through a proxy
OCI = "application/vnd.oci.image.manifest.v1+json"


class StandIn:
    """Everything registered, and clients that use ROLE."""

    def __init__(self, address: str) -> None:
        self.address, self.clock = address, Clock()
        self.images = Ecr(address, self.clock)
        self.engine = Ecs(self.clock, self.images.why_not_pulled)
        self.api = Api(self.clock)
        self.api.register("ecs", self.engine)
        self.api.register("ecr", self.images)
        self.api.register("logs", self.engine.logs)
        self.api.register("application-autoscaling", Autoscaling(self.engine))

    def client(self, service: str, role: str = ROLE) -> Any:
        keys = {name.lower(): value for name, value in self.api.credentials_for(role).items()}
        return SESSION.client(service, endpoint_url=self.api.url, config=DIRECT, **keys)

    def open(self) -> None:
        self.ecs, self.ecr, self.scaling = (self.client(n) for n in ("ecs", "ecr", "application-autoscaling"))
        self.images.create_repository({"repositoryName": "web"})
        self.engine.create_cluster({"clusterName": "main"})

    def push(self, text: str, tag: str) -> str:
        """Adds an image (its config only) with this tag, as `docker push` does; returns its URI by digest."""
        blob = json.dumps({"architecture": "amd64", "os": "linux", "text": text}).encode()
        config = f"sha256:{hashlib.sha256(blob).hexdigest()}"
        place = self._open("POST", f"http://{self.address}/v2/web/blobs/uploads/").headers["Location"]
        self._open("PUT", f"{place}&digest={config}", blob)
        entry = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": len(blob)}
        manifest = json.dumps({"schemaVersion": 2, "mediaType": OCI, "config": entry, "layers": []}).encode()
        self._open("PUT", f"http://{self.address}/v2/web/manifests/{tag}", manifest, OCI)
        return f"{self.address}/web@sha256:{hashlib.sha256(manifest).hexdigest()}"

    def _open(self, method: str, url: str, body: bytes = b"", media_type: str = "application/octet-stream") -> Any:
        request = urllib.request.Request(url, body, {"Content-Type": media_type}, method=method)
        return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request)

    def define(self, image: str, **container: Any) -> str:
        answer = self.ecs.register_task_definition(
            family="web",
            networkMode="awsvpc",
            containerDefinitions=[
                {"name": "app", "image": image, "portMappings": [{"containerPort": 8080}], **container}
            ],
        )
        return str(answer["taskDefinition"]["taskDefinitionArn"])

    def serve(self, image: str, count: int, wait: float = 60, **inputs: Any) -> str:
        """Creates a service with this image; returns its task definition."""
        definition = self.define(image)
        defaults = {"deploymentConfiguration": BREAKER, "desiredCount": count, "taskDefinition": definition}
        self.ecs.create_service(cluster="main", serviceName="web", **{**defaults, **inputs})
        self.clock.sleep(wait)
        return definition

    def update(self, **changes: Any) -> Params:
        answer: Params = self.ecs.update_service(**WHERE, **changes)["service"]
        return answer

    def service(self) -> Params:
        answer: Params = self.ecs.describe_services(cluster="main", services=["web"])["services"][0]
        return answer

    def deployments(self) -> list[Params]:
        """The service deployments, the newest first."""
        brief = self.ecs.list_service_deployments(**WHERE)["serviceDeployments"]
        arns = [deployment["serviceDeploymentArn"] for deployment in brief]
        found: list[Params] = self.ecs.describe_service_deployments(serviceDeploymentArns=arns)["serviceDeployments"]
        return found

    def statuses(self) -> list[str]:
        return [deployment["status"] for deployment in self.deployments()]

    def messages(self) -> list[str]:
        return [event["message"] for event in self.service()["events"]]

    def tasks(self, status: str) -> list[Params]:
        arns = self.ecs.list_tasks(cluster="main", serviceName="web", desiredStatus=status)["taskArns"]
        found: list[Params] = self.ecs.describe_tasks(cluster="main", tasks=arns)["tasks"] if arns else []
        return found


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with registry() as found:
        yield found


@pytest.fixture
def aws(address: str) -> Iterator[StandIn]:
    made = StandIn(address)
    with made.api:
        made.open()
        yield made


@pytest.fixture
def v1(aws: StandIn) -> str:
    return aws.push("v1", "v1")


@pytest.fixture
def v2(aws: StandIn) -> str:
    return aws.push("v2", "v2")


def run(aws: StandIn, definition: str, **inputs: Any) -> str:
    """Runs one task; returns its ARN."""
    defaults = {"cluster": "main", "networkConfiguration": NETWORK, "launchType": "FARGATE"}
    answer = aws.ecs.run_task(taskDefinition=definition, **{**defaults, **inputs})
    return str(answer["tasks"][0]["taskArn"])


def task(aws: StandIn, arn: str) -> Params:
    [found] = aws.ecs.describe_tasks(cluster="main", tasks=[arn])["tasks"]
    return dict(found)


def refused(call: Any, **params: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**params)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


# The endpoint


def test_a_call_is_recorded_with_its_principal_time_and_result(aws: StandIn) -> None:
    aws.clock.sleep(5)
    refused(aws.ecs.describe_services, cluster="none", services=["web"])
    call = aws.api.calls[-1]
    assert (call.principal, call.service, call.operation) == (ROLE, "ecs", "DescribeServices")
    assert (call.params, call.time) == ({"cluster": "none", "services": ["web"]}, aws.clock.now())
    assert call.error == "ClusterNotFoundException"


def test_unknown_credentials_belong_to_nobody(aws: StandIn) -> None:
    keys = {"aws_access_key_id": "AKIAOTHER", "aws_secret_access_key": "secret"}
    SESSION.client("ecs", endpoint_url=aws.api.url, config=DIRECT, **keys).list_task_definitions()
    assert aws.api.calls[-1].principal == "unknown"


def test_unimplemented_operations_are_reported_as_such(aws: StandIn) -> None:
    assert refused(aws.ecs.list_attributes, targetType="container-instance") == (
        "NotInTheStandIn",
        "not in the stand-in: ecs:ListAttributes",
    )
    assert refused(aws.client("logs").describe_log_groups) == (
        "NotInTheStandIn",
        "not in the stand-in: logs:DescribeLogGroups",
    )


def test_a_request_that_does_not_match_the_model_is_rejected(aws: StandIn) -> None:
    # clients other than boto3 check less, or nothing
    headers = {
        "Authorization": "Credential=AKIAOTHER/20260101/eu-west-1/ecs/aws4_request",
        "X-Amz-Target": "x.UpdateService",
    }
    request = urllib.request.Request(aws.api.url, b'{"cluster": "main", "sevrice": "web"}', headers)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request)
    answer = json.load(caught.value)
    assert (caught.value.code, answer["__type"]) == (400, "InvalidParameterException")
    assert 'Unknown parameter in input: "sevrice"' in answer["message"]


def test_services_whose_models_list_another_protocol_first_are_supported_too(aws: StandIn) -> None:
    class Pipelines:
        def put_job_success_result(self, params: Params) -> Params:
            return {"wrong": 1} if params["jobId"].startswith("1") else {}

        def get_pipeline_state(self, params: Params) -> Params:
            if params["name"] == "none":
                raise AwsError("PipelineNotFoundException", "no such pipeline")
            return {"pipelineName": params["name"], "created": aws.clock.now(), "colour": "red"}

    aws.api.register("codepipeline", Pipelines())
    client = aws.client("codepipeline")
    client.put_job_success_result(jobId="00000000-0000-0000-0000-000000000000")
    assert refused(client.get_pipeline_state, name="none") == ("PipelineNotFoundException", "no such pipeline")
    # a wrong key in our response, which a client would silently drop
    code, message = refused(client.get_pipeline_state, name="web")
    assert (code, 'Unknown parameter in input: "colour"' in message) == ("StandInFault", True)


def test_parameters_and_objects_are_stored_by_moto_and_their_calls_recorded(aws: StandIn) -> None:
    ssm, s3, sts = aws.client("ssm"), aws.client("s3"), aws.client("sts")
    ssm.put_parameter(Name="/web/wanted", Value="v1", Type="String")
    assert ssm.get_parameter(Name="/web/wanted")["Parameter"]["Value"] == "v1"
    s3.create_bucket(Bucket="artifacts", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_object(Bucket="artifacts", Key="a/b c.zip", Body=b"zip")
    assert aws.api.calls[-1].params["Key"] == "a/b c.zip"
    assert s3.get_object(Bucket="artifacts", Key="a/b c.zip")["Body"].read() == b"zip"
    assert sts.get_caller_identity()["Account"] == "123456789012"
    assert refused(ssm.get_parameter, Name="/web/none")[0] == aws.api.calls[-1].error == "ParameterNotFound"
    assert [call.operation for call in aws.api.calls[-5:-1]] == [
        "CreateBucket",
        "PutObject",
        "GetObject",
        "GetCallerIdentity",
    ]


def test_motos_state_is_gone_when_the_endpoint_opens_again(aws: StandIn) -> None:
    aws.client("ssm").put_parameter(Name="/web/wanted", Value="v1", Type="String")
    aws.api.__exit__()
    aws.api.__enter__()
    assert refused(aws.client("ssm").get_parameter, Name="/web/wanted")[0] == "ParameterNotFound"


def test_the_command_line_client_works_too(aws: StandIn, v1: str) -> None:
    aws.serve(v1, 1)
    environ = {**os.environ, **aws.api.credentials_for(ROLE), "AWS_ENDPOINT_URL": aws.api.url, "NO_PROXY": "127.0.0.1"}
    command = "-m awscli --region eu-west-1 --output text ecs describe-services --cluster main --services web"
    query = ["--query", "services[0].[runningCount,deployments[0].rolloutState]"]
    done = subprocess.run([sys.executable, *command.split(), *query], env=environ, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("1\tCOMPLETED\n", "")


# Task definitions


def test_a_revision_number_is_never_reused(aws: StandIn, v1: str) -> None:
    first = aws.define(v1)
    aws.ecs.deregister_task_definition(taskDefinition=first)
    assert (first[-6:], aws.define(v1)[-6:]) == ("/web:1", "/web:2")


def test_a_family_refers_to_its_newest_active_revision(aws: StandIn, v1: str, v2: str) -> None:
    first, second = aws.define(v1), aws.define(v2)
    assert aws.ecs.describe_task_definition(taskDefinition="web")["taskDefinition"]["taskDefinitionArn"] == second
    aws.ecs.deregister_task_definition(taskDefinition="web:2")
    described = {
        name: aws.ecs.describe_task_definition(taskDefinition=name)["taskDefinition"]["taskDefinitionArn"]
        for name in ("web", "web:1", "web:2", second)
    }
    assert described == {"web": first, "web:1": first, "web:2": second, second: second}
    assert refused(aws.ecs.describe_task_definition, taskDefinition="none")[0] == "ClientException"
    assert refused(aws.ecs.deregister_task_definition, taskDefinition="web")[0] == "ClientException"
    assert aws.ecs.list_task_definitions(familyPrefix="web")["taskDefinitionArns"] == [first]
    assert aws.ecs.list_task_definitions(familyPrefix="web", status="INACTIVE")["taskDefinitionArns"] == [second]


def test_a_definition_is_returned_with_defaults_and_with_fields_that_cannot_be_registered(
    aws: StandIn, v1: str
) -> None:
    aws.define(v1)
    answer = aws.ecs.describe_task_definition(taskDefinition="web")["taskDefinition"]
    container = answer.pop("containerDefinitions")[0]
    assert container == {
        "name": "app",
        "image": v1,
        "cpu": 0,
        "essential": True,
        "portMappings": [{"containerPort": 8080, "hostPort": 8080, "protocol": "tcp"}],
        **{key: [] for key in ("environment", "mountPoints", "volumesFrom", "systemControls")},
    }
    request = set(aws.ecs.meta.service_model.operation_model("RegisterTaskDefinition").input_shape.members)
    extra = {"taskDefinitionArn", "revision", "status", "requiresAttributes", "compatibilities"}
    assert answer.keys() - request == extra | {"registeredAt", "registeredBy"}


def test_tags_are_stored_and_returned_on_request(aws: StandIn, v1: str) -> None:
    tags = [{"key": "release", "value": "7"}]
    containers = [{"name": "app", "image": v1}]
    aws.ecs.register_task_definition(family="web", containerDefinitions=containers, tags=tags)
    assert aws.ecs.describe_task_definition(taskDefinition="web", include=["TAGS"])["tags"] == tags
    assert "tags" not in aws.ecs.describe_task_definition(taskDefinition="web")


# Deployments that succeed


def test_a_deployment_without_tasks_completes_at_once(aws: StandIn) -> None:
    aws.serve(f"{aws.address}/web:unreleased", 0, wait=0)
    assert aws.statuses() == ["SUCCESSFUL"]
    assert aws.service()["deployments"][0]["rolloutState"] == "COMPLETED"
    done = f"(service web) (deployment {aws.service()['deployments'][0]['id']}) deployment completed."
    assert aws.messages() == ["(service web) has reached a steady state.", done]
    aws.update(forceNewDeployment=True)
    assert aws.statuses() == ["SUCCESSFUL", "SUCCESSFUL"]


def test_tasks_take_time_to_start_and_then_the_deployment_succeeds(aws: StandIn, v1: str) -> None:
    aws.serve(v1, 2, wait=0)
    seen = []
    for _ in range(4):
        service = aws.service()
        counts = service["pendingCount"], service["runningCount"]
        seen.append((*counts, *aws.statuses(), service["deployments"][0]["rolloutState"]))
        aws.clock.sleep(10)
    assert seen == [
        (2, 0, "PENDING", "IN_PROGRESS"),
        (2, 0, "IN_PROGRESS", "IN_PROGRESS"),
        (0, 2, "IN_PROGRESS", "IN_PROGRESS"),
        (0, 2, "SUCCESSFUL", "COMPLETED"),
    ]


def test_new_tasks_are_healthy_before_old_ones_stop(aws: StandIn, v1: str, v2: str) -> None:
    old = aws.serve(v1, 1)
    new = aws.define(v2)
    answer = aws.update(taskDefinition=new)
    assert [(d["status"], d["taskDefinition"]) for d in answer["deployments"]] == [("PRIMARY", new), ("ACTIVE", old)]
    assert answer["taskDefinition"] == new
    seen = []
    for _ in range(3):
        seen.append(sorted((t["taskDefinitionArn"], t["lastStatus"]) for t in aws.tasks("RUNNING")))
        aws.clock.sleep(10)
    assert seen == [[(old, "RUNNING"), (new, "PENDING")], [(old, "RUNNING"), (new, "PENDING")], [(new, "RUNNING")]]
    assert aws.statuses() == ["SUCCESSFUL", "SUCCESSFUL"]
    assert [d["taskDefinition"] for d in aws.service()["deployments"]] == [new]


def test_a_revision_has_the_digests_that_it_runs(aws: StandIn, v1: str) -> None:
    aws.serve(v1, 1)
    service = aws.service()
    deployment = aws.deployments()[0]
    assert service["currentServiceDeployment"] == deployment["serviceDeploymentArn"]
    arn = deployment["targetServiceRevision"]["arn"]
    assert [revision["arn"] for revision in service["currentServiceRevisions"]] == [arn]
    revision = aws.ecs.describe_service_revisions(serviceRevisionArns=[arn])["serviceRevisions"][0]
    assert revision["taskDefinition"] == service["taskDefinition"]
    assert revision["containerImages"] == [{"containerName": "app", "image": v1, "imageDigest": v1.partition("@")[2]}]


@pytest.mark.parametrize(
    ("change", "deploys"),
    [
        ({"forceNewDeployment": True}, True),
        ({"platformVersion": "1.4.0"}, True),
        ({"networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}}, True),
        ({"loadBalancers": [{"targetGroupArn": "arn:group", "containerName": "app", "containerPort": 8080}]}, True),
        ({"serviceRegistries": [{"registryArn": "arn:registry"}]}, True),
        ({"serviceConnectConfiguration": {"enabled": False}}, True),
        ({"volumeConfigurations": [{"name": "data"}]}, True),
        ({"taskDefinition": "web"}, False),  # which it runs already
        ({"platformVersion": "LATEST"}, False),
        ({"desiredCount": 2}, False),
        ({"deploymentConfiguration": {"maximumPercent": 150}}, False),
        ({"capacityProviderStrategy": [{"capacityProvider": "FARGATE_SPOT"}]}, False),
        ({"enableExecuteCommand": True}, False),
        ({"healthCheckGracePeriodSeconds": 60}, False),
    ],
)
def test_only_parameters_named_in_the_api_reference_start_a_deployment(
    aws: StandIn, v1: str, change: Params, deploys: bool
) -> None:
    associate(aws, "FARGATE", "FARGATE_SPOT")
    aws.serve(v1, 1)
    answer = aws.update(**change)
    assert len(aws.deployments()) == (2 if deploys else 1)
    # stored either way; DescribeServices does not show all of it, the revision does
    shown = {key: value for key, value in change.items() if key in answer and key != "taskDefinition"}
    assert {key: answer[key] for key in shown if key != "deploymentConfiguration"} == {
        key: value for key, value in shown.items() if key != "deploymentConfiguration"
    }


def test_a_count_changes_over_time_without_a_deployment(aws: StandIn, v1: str) -> None:
    aws.serve(v1, 1)
    aws.update(desiredCount=3)
    assert [len(aws.tasks("RUNNING")), aws.service()["runningCount"]] == [3, 1]
    aws.clock.sleep(20)
    assert aws.service()["runningCount"] == 3
    aws.update(desiredCount=0)
    assert [len(aws.tasks("RUNNING")), len(aws.tasks("STOPPED")), aws.statuses()] == [0, 3, ["SUCCESSFUL"]]


def test_a_newer_deployment_stops_one_that_is_in_progress(aws: StandIn, v1: str, v2: str) -> None:
    aws.serve(v1, 1, wait=5)
    aws.update(taskDefinition=aws.define(v2))
    assert aws.statuses() == ["PENDING", "STOP_REQUESTED"]
    aws.clock.sleep(5)
    assert aws.statuses() == ["IN_PROGRESS", "STOPPED"]
    aws.clock.sleep(60)
    assert aws.statuses() == ["SUCCESSFUL", "STOPPED"]
    assert [task["taskDefinitionArn"][-6:] for task in aws.tasks("RUNNING")] == ["/web:2"]


def test_service_deployments_can_be_filtered_by_status_and_time(aws: StandIn, v1: str, v2: str) -> None:
    aws.serve(v1, 1)
    middle = aws.clock.now()
    aws.clock.sleep(1)
    aws.update(taskDefinition=aws.define(v2))
    newest, oldest = (deployment["serviceDeploymentArn"] for deployment in aws.deployments())

    def listed(**filters: Any) -> list[str]:
        found = aws.ecs.list_service_deployments(**WHERE, **filters)["serviceDeployments"]
        return [deployment["serviceDeploymentArn"] for deployment in found]

    assert listed() == [newest, oldest]
    assert listed(status=["PENDING", "IN_PROGRESS"]) == [newest]
    assert listed(createdAt={"after": middle}) == [newest]
    assert listed(createdAt={"before": middle}) == [oldest]
    for _ in range(20):
        aws.update(forceNewDeployment=True)
    assert len(listed()) == 20
    first = aws.ecs.list_service_deployments(**WHERE, maxResults=21)
    assert listed(nextToken=first["nextToken"]) == [oldest]


# Deployments that fail


@pytest.mark.parametrize(
    ("fault", "code", "reason", "exit_code", "event"),
    [
        ("exit 3", "EssentialContainerExited", "Essential container in task exited", 3, "has stopped 1 running tasks"),
        (
            "health check",
            "ServiceSchedulerInitiated",
            "Task failed container health checks",
            None,
            "failed container health checks.",
        ),
        (
            "CannotPullContainerError",
            "TaskFailedToStart",
            "CannotPullContainerError: pull image manifest",
            None,
            "was unable to place a task. Reason: CannotPullContainerError",
        ),
    ],
)
def test_the_circuit_breaker_rolls_back_to_the_last_completed_deployment(
    aws: StandIn, v1: str, v2: str, fault: str, code: str, reason: str, exit_code: int | None, event: str
) -> None:
    old = aws.serve(v1, 1)
    good = aws.deployments()[0]["targetServiceRevision"]["arn"]
    new = aws.define(v2)
    aws.engine.fault = lambda definition: fault if definition["taskDefinitionArn"] == new else None
    primary = aws.update(taskDefinition=new)["deployments"][0]["id"]
    while (failed := aws.deployments()[0])["status"] in ("PENDING", "IN_PROGRESS"):
        aws.clock.sleep(1)
    why = "Service deployment rolled back because the circuit breaker threshold was exceeded."
    assert (failed["status"], failed["statusReason"]) == ("ROLLBACK_IN_PROGRESS", why)
    assert failed["deploymentCircuitBreaker"] == {"status": "TRIGGERED", "failureCount": 3, "threshold": 3}
    assert (failed["rollback"]["serviceRevisionArn"], failed["rollback"]["reason"]) == (good, why)
    service = aws.service()
    assert service["taskDefinition"] == old
    back = service["deployments"][0]["id"]
    assert [(d["status"], d["taskDefinition"], d["rolloutState"]) for d in service["deployments"]] == [
        ("PRIMARY", old, "IN_PROGRESS"),
        ("ACTIVE", new, "FAILED"),
    ]
    assert [d["rolloutStateReason"] for d in service["deployments"]] == [
        f"ECS deployment circuit breaker: rolling back to deploymentId {back}.",
        "ECS deployment circuit breaker: tasks failed to start.",
    ]
    messages = aws.messages()
    assert messages[:2] == [
        f"(service web) rolling back to deployment {back}.",
        f"(service web) (deployment {primary}) deployment failed: tasks failed to start.",
    ]
    assert any(event in message for message in messages)
    stopped = aws.tasks("STOPPED")[0]
    assert (stopped["stopCode"], stopped["containers"][0].get("exitCode")) == (code, exit_code)
    assert stopped["stoppedReason"].startswith(reason)
    aws.clock.sleep(10)
    assert aws.statuses() == ["ROLLBACK_SUCCESSFUL", "SUCCESSFUL"]
    assert [(d["taskDefinition"], d["rolloutState"]) for d in aws.service()["deployments"]] == [(old, "COMPLETED")]
    assert aws.messages()[0] == "(service web) has reached a steady state."


def test_a_failed_load_balancer_health_check_names_the_target_group(aws: StandIn, v1: str) -> None:
    aws.engine.fault = lambda definition: "health check"
    balancer = {"targetGroupArn": "arn:group", "containerName": "app", "containerPort": 8080}
    aws.serve(v1, 1, wait=30, loadBalancers=[balancer])
    event = "(service web) (port 8080) is unhealthy in (target-group arn:group) due to (reason Health checks failed)."
    assert event in aws.messages()
    assert aws.tasks("STOPPED")[0]["stoppedReason"] == "Task failed ELB health checks in (target-group arn:group)"


PORTS = [{"containerPort": 8080}, {"containerPort": 9090}]


def of_port(group: str, port: int) -> Params:
    return {"targetGroupArn": f"arn:{group}", "containerName": "app", "containerPort": port}


def test_a_failed_health_check_of_one_of_several_ports_names_its_target_group(aws: StandIn, v1: str) -> None:
    image = aws.ecs.describe_task_definition(taskDefinition=aws.define(v1, portMappings=PORTS))["taskDefinition"]
    aws.engine.fault = lambda definition: "health check 9090"
    both = [of_port("web", 8080), of_port("admin", 9090)]
    aws.serve(v1, 1, wait=30, loadBalancers=both, taskDefinition=image["taskDefinitionArn"])
    event = "(service web) (port 9090) is unhealthy in (target-group arn:admin) due to (reason Health checks failed)."
    assert event in aws.messages()
    assert aws.tasks("STOPPED")[0]["stoppedReason"] == "Task failed ELB health checks in (target-group arn:admin)"


def test_a_service_has_at_most_five_target_groups_and_each_port_is_one_of_its_container(aws: StandIn, v1: str) -> None:
    five = [of_port(f"g{n}", 8080) for n in range(5)]
    definition = aws.serve(v1, 1, loadBalancers=five)
    assert aws.service()["loadBalancers"] == five
    wrong = "InvalidParameterException", "load balancers can have at most 5 items."
    assert refused(aws.ecs.update_service, **WHERE, loadBalancers=[*five, of_port("g5", 8080)]) == wrong
    wrong = "InvalidParameterException", "The container app did not have a container port 9090 defined."
    assert refused(aws.ecs.update_service, **WHERE, loadBalancers=[*five[:1], of_port("g5", 9090)]) == wrong
    of_codedeploy = {"deploymentController": {"type": "CODE_DEPLOY"}, "taskDefinition": definition}
    wrong = (
        "InvalidParameterException",
        ("Multiple target groups are only supported with the ECS deployment controller."),
    )
    create = {"cluster": "main", "serviceName": "other", "desiredCount": 0, **of_codedeploy}
    assert refused(aws.ecs.create_service, **create, loadBalancers=five[:2]) == wrong


@pytest.mark.parametrize(("count", "threshold"), [(1, 3), (6, 3), (7, 4), (20, 10), (500, 200)])
def test_the_circuit_breaker_trips_at_half_of_the_tasks_at_least_3_at_most_200(
    aws: StandIn, v1: str, count: int, threshold: int
) -> None:
    aws.serve(v1, count, wait=0)
    assert aws.deployments()[0]["deploymentCircuitBreaker"]["threshold"] == threshold


def test_an_image_that_does_not_exist_cannot_be_pulled(aws: StandIn, v1: str) -> None:
    aws.serve(f"{aws.address}/web:unreleased", 1, wait=30)
    assert [task["stopCode"] for task in aws.tasks("STOPPED")] == ["TaskFailedToStart"] * 3
    assert f"{aws.address}/web:unreleased: not found" in aws.tasks("STOPPED")[0]["stoppedReason"]
    missing = f"{aws.address}/web@sha256:{'0' * 64}"
    images = (v1, f"{aws.address}/web:v1", missing, "public.ecr.aws/x-ray/aws-xray-daemon:latest")
    assert [aws.images.why_not_pulled(image, "X86_64") for image in images] == ["", "", f"{missing}: not found", ""]


def test_a_task_pulls_the_image_for_its_architecture_of_an_index(aws: StandIn, v1: str) -> None:
    """As people quote the message: aws/containers-roadmap 1468."""
    [found] = aws.images.batch_get_image({"repositoryName": "web", "imageIds": [{"imageTag": "v1"}]})["images"]
    child = {"mediaType": found["imageManifestMediaType"], "digest": found["imageId"]["imageDigest"]}
    child |= {"size": len(found["imageManifest"]), "platform": {"architecture": "amd64", "os": "linux"}}
    index = {"schemaVersion": 2, "mediaType": MEDIA_TYPES[1], "manifests": [child]}
    aws.images.put_image({"repositoryName": "web", "imageTag": "both", "imageManifest": json.dumps(index)})
    of = [aws.images.why_not_pulled(f"{aws.address}/web:both", name) for name in ("X86_64", "ARM64")]
    assert of == ["", "image Manifest does not contain descriptor matching platform 'linux/arm64'"]


def test_a_rollback_without_a_previous_deployment_fails(aws: StandIn, v1: str) -> None:
    aws.engine.fault = lambda definition: "exit 1"
    aws.serve(v1, 1, wait=60)
    deployment = aws.deployments()[0]
    reason = "No rollback candidate was found to run the rollback."
    assert (deployment["status"], deployment["statusReason"]) == ("ROLLBACK_FAILED", reason)
    assert [task["taskDefinitionArn"] for task in aws.tasks("RUNNING")] == []


def test_a_completed_deployment_of_zero_tasks_is_a_rollback_target_and_its_tasks_keep_failing(
    aws: StandIn, v1: str
) -> None:
    unreleased = aws.serve(f"{aws.address}/web:unreleased", 0)
    aws.engine.fault = lambda definition: "exit 1" if definition["revision"] == 2 else None
    aws.update(taskDefinition=aws.define(v1), desiredCount=1)
    aws.clock.sleep(3600)
    assert aws.statuses() == ["ROLLBACK_IN_PROGRESS", "SUCCESSFUL"]
    assert [task["taskDefinitionArn"] for task in aws.tasks("RUNNING")] == [unreleased]
    assert len(aws.ecs.list_tasks(cluster="main", serviceName="web", desiredStatus="STOPPED")["taskArns"]) == 100
    aws.update(desiredCount=0)
    assert (aws.statuses()[0], aws.tasks("RUNNING")) == ("ROLLBACK_SUCCESSFUL", [])


def test_a_deployment_that_did_not_complete_is_not_a_rollback_target(aws: StandIn, v1: str, v2: str) -> None:
    old = aws.serve(v1, 1)
    aws.update(taskDefinition=aws.define(v2))
    aws.clock.sleep(10)
    aws.engine.fault = lambda definition: "exit 1" if definition["revision"] == 3 else None
    aws.update(taskDefinition=aws.define(v2))
    aws.clock.sleep(120)
    assert aws.statuses() == ["ROLLBACK_SUCCESSFUL", "STOPPED", "SUCCESSFUL"]
    assert [task["taskDefinitionArn"] for task in aws.tasks("RUNNING")] == [old]


def test_without_rollback_a_failed_deployment_stops_and_starts_no_more_tasks(aws: StandIn, v1: str, v2: str) -> None:
    breaker = {"deploymentCircuitBreaker": {"enable": True, "rollback": False}}
    old = aws.serve(v1, 1, deploymentConfiguration=breaker)
    aws.engine.fault = lambda definition: "exit 1"
    new = aws.define(v2)
    aws.update(taskDefinition=new)
    aws.clock.sleep(60)
    assert aws.statuses()[0] == "STOP_REQUESTED"
    aws.clock.sleep(60)
    assert aws.statuses() == ["STOPPED", "SUCCESSFUL"]
    assert [(d["taskDefinition"], d["rolloutState"]) for d in aws.service()["deployments"]] == [
        (new, "FAILED"),
        (old, "COMPLETED"),
    ]
    assert [task["taskDefinitionArn"] for task in aws.tasks("RUNNING")] == [old]


def test_without_a_circuit_breaker_tasks_are_started_forever(aws: StandIn, v1: str) -> None:
    aws.engine.fault = lambda definition: "exit 1"
    aws.serve(v1, 1, wait=3600, deploymentConfiguration={})
    assert (aws.statuses(), len(aws.tasks("RUNNING"))) == (["IN_PROGRESS"], 1)
    assert aws.deployments()[0]["deploymentCircuitBreaker"]["status"] == "DISABLED"


def test_flapping_tasks_never_trip_the_circuit_breaker(aws: StandIn, v1: str, v2: str) -> None:
    aws.serve(v1, 1)
    aws.engine.fault = lambda definition: "flapping" if definition["revision"] == 2 else None
    aws.update(taskDefinition=aws.define(v2))
    aws.clock.sleep(3600)
    assert aws.statuses()[0] == "IN_PROGRESS"
    assert (len(aws.tasks("STOPPED")), len(aws.messages())) == (100, 100)


def test_a_healthy_task_resets_the_failure_count(aws: StandIn, v1: str) -> None:
    faults = iter(["exit 1", "exit 1", "flapping", "exit 1", "exit 1", None])
    aws.engine.fault = lambda definition: next(faults)
    aws.serve(v1, 1, wait=180)
    assert aws.statuses() == ["SUCCESSFUL"]


def test_the_tags_of_a_service_are_returned_on_request(aws: StandIn, v1: str) -> None:
    tags = [{"key": "team", "value": "web"}]
    aws.serve(v1, 0, tags=tags)
    assert "tags" not in aws.service()
    assert aws.ecs.describe_services(cluster="main", services=["web"], include=["TAGS"])["services"][0]["tags"] == tags


def test_a_container_health_check_is_shown_on_the_task(aws: StandIn, v1: str) -> None:
    aws.serve(v1, 1)
    assert aws.tasks("RUNNING")[0]["healthStatus"] == "UNKNOWN"
    aws.update(taskDefinition=aws.define(v1, healthCheck={"command": ["CMD-SHELL", "true"]}))
    aws.clock.sleep(60)
    task = aws.tasks("RUNNING")[0]
    assert (task["healthStatus"], task["containers"][0]["healthStatus"]) == ("HEALTHY", "HEALTHY")


# Stopping


def test_a_deployment_is_rolled_back_on_request_without_the_option(aws: StandIn, v1: str, v2: str) -> None:
    old = aws.serve(v1, 1, deploymentConfiguration={})
    aws.update(taskDefinition=aws.define(v2))
    arn = aws.deployments()[0]["serviceDeploymentArn"]
    statuses = []
    for _ in range(4):
        aws.ecs.stop_service_deployment(serviceDeploymentArn=arn, stopType="ROLLBACK")  # again: it "continues"
        statuses.append(aws.statuses()[0])
        aws.clock.sleep(3)
    assert [task["taskDefinitionArn"] for task in aws.tasks("RUNNING")] == [old]
    assert [task["stoppedReason"][:16] for task in aws.tasks("STOPPED")] == ["Scaling activity"]
    assert statuses == ["ROLLBACK_REQUESTED", "ROLLBACK_REQUESTED", "ROLLBACK_IN_PROGRESS", "ROLLBACK_IN_PROGRESS"]
    assert (aws.statuses()[0], aws.service()["taskDefinition"]) == ("ROLLBACK_SUCCESSFUL", old)
    assert refused(aws.ecs.stop_service_deployment, serviceDeploymentArn=arn)[0] == "ConflictException"
    assert refused(aws.ecs.stop_service_deployment, serviceDeploymentArn="x")[0] == "ServiceDeploymentNotFoundException"


def test_an_aborted_deployment_stops_where_it_is(aws: StandIn, v1: str, v2: str) -> None:
    aws.serve(v1, 1)
    new = aws.define(v2)
    aws.update(taskDefinition=new)
    arn = aws.deployments()[0]["serviceDeploymentArn"]
    aws.ecs.stop_service_deployment(serviceDeploymentArn=arn, stopType="ABORT")
    assert aws.statuses()[0] == "STOP_REQUESTED"
    aws.clock.sleep(5)
    assert (aws.statuses()[0], aws.service()["taskDefinition"]) == ("STOPPED", new)


def test_a_superseded_rollback_has_failed(aws: StandIn, v1: str, v2: str) -> None:
    aws.serve(v1, 1)
    aws.update(taskDefinition=aws.define(v2))
    aws.ecs.stop_service_deployment(serviceDeploymentArn=aws.deployments()[0]["serviceDeploymentArn"])
    aws.update(taskDefinition=aws.define(v2))
    aws.clock.sleep(60)
    assert aws.statuses() == ["SUCCESSFUL", "ROLLBACK_FAILED", "SUCCESSFUL"]
    assert aws.service()["taskDefinition"].endswith("/web:3")


# Errors, deletion, scaling


def test_a_load_balancer_needs_a_port_that_its_container_has(aws: StandIn, v1: str) -> None:
    balancer = {"targetGroupArn": "arn:group", "containerName": "app", "containerPort": 9090}
    aws.serve(v1, 1, wait=30)
    code, message = refused(aws.ecs.update_service, **WHERE, loadBalancers=[balancer])
    assert code == "InvalidParameterException"
    assert "The container app did not have a container port 9090 defined." in message


def test_errors_have_their_documented_codes(aws: StandIn, v1: str) -> None:
    definition = aws.serve(v1, 1)
    assert refused(aws.ecs.update_service, cluster="none", service="web")[0] == "ClusterNotFoundException"
    assert refused(aws.ecs.update_service, cluster="main", service="none")[0] == "ServiceNotFoundException"
    assert refused(aws.ecs.update_service, **WHERE, taskDefinition="web:9")[0] == "ClientException"
    aws.define(v1)
    aws.ecs.deregister_task_definition(taskDefinition="web:2")
    assert refused(aws.ecs.update_service, **WHERE, taskDefinition="web:2") == (
        "ClientException",
        "TaskDefinition is inactive",
    )
    again = {"cluster": "main", "serviceName": "web", "taskDefinition": definition}
    assert refused(aws.ecs.create_service, **again)[0] == "InvalidParameterException"
    canary = {"strategy": "CANARY"}
    assert refused(aws.ecs.update_service, **WHERE, deploymentConfiguration=canary)[0] == "UnsupportedFeatureException"
    assert aws.ecs.describe_services(cluster="main", services=["none"])["failures"][0]["reason"] == "MISSING"
    missing = aws.ecs.describe_service_deployments(serviceDeploymentArns=["x"])["failures"]
    assert missing == [{"arn": "x", "reason": "MISSING"}]


def test_a_deleted_service_is_inactive_and_its_deployments_are_deleted(aws: StandIn, v1: str) -> None:
    aws.serve(v1, 1)
    assert refused(aws.ecs.delete_service, **WHERE)[0] == "InvalidParameterException"
    aws.update(desiredCount=0)
    aws.ecs.delete_service(**WHERE)
    assert (aws.service()["status"], aws.deployments()) == ("INACTIVE", [])
    assert refused(aws.ecs.update_service, **WHERE, desiredCount=1)[0] == "ServiceNotActiveException"
    aws.serve(v1, 1)
    assert aws.statuses() == ["SUCCESSFUL"]


def test_registering_a_scalable_target_moves_the_count_into_its_range_at_once(aws: StandIn, v1: str) -> None:
    aws.serve(v1, 0)
    target = {
        "ServiceNamespace": "ecs",
        "ResourceId": "service/main/web",
        "ScalableDimension": "ecs:service:DesiredCount",
    }
    counts = []
    for bounds in ({"MinCapacity": 0, "MaxCapacity": 4}, {"MinCapacity": 2}, {"MinCapacity": 0, "MaxCapacity": 1}):
        aws.scaling.register_scalable_target(**target, **bounds)
        found = aws.scaling.describe_scalable_targets(ServiceNamespace="ecs")["ScalableTargets"][0]
        counts.append((found["MinCapacity"], found["MaxCapacity"], aws.service()["desiredCount"]))
    assert counts == [(0, 4, 0), (2, 4, 2), (0, 1, 1)]
    aws.scaling.deregister_scalable_target(**target)
    assert aws.scaling.describe_scalable_targets(ServiceNamespace="ecs")["ScalableTargets"] == []


# ECR


def test_an_image_is_found_by_digest_and_by_tag_and_a_missing_one_is_a_failure(aws: StandIn, v1: str) -> None:
    digest = v1.partition("@")[2]
    ids = [{"imageDigest": digest}, {"imageTag": "v1"}, {"imageTag": "none"}]
    answer = aws.ecr.batch_get_image(repositoryName="web", imageIds=ids)
    assert [image["imageId"]["imageDigest"] for image in answer["images"]] == [digest, digest]
    manifest = answer["images"][0]["imageManifest"].encode()
    assert f"sha256:{hashlib.sha256(manifest).hexdigest()}" == digest
    assert answer["images"][0]["imageManifestMediaType"] == OCI
    assert [(f["imageId"], f["failureCode"]) for f in answer["failures"]] == [({"imageTag": "none"}, "ImageNotFound")]
    described = aws.ecr.describe_images(repositoryName="web", imageIds=[{"imageTag": "v1"}])["imageDetails"][0]
    assert (described["imageDigest"], "v1" in described["imageTags"]) == (digest, True)
    assert {"imageTag": "v1", "imageDigest": digest} in aws.ecr.list_images(repositoryName="web")["imageIds"]
    missing = {"repositoryName": "web", "imageIds": [{"imageTag": "none"}]}
    assert refused(aws.ecr.describe_images, **missing)[0] == "ImageNotFoundException"
    assert refused(aws.ecr.list_images, repositoryName="none")[0] == "RepositoryNotFoundException"


def test_a_layer_is_uploaded_in_parts_that_follow_each_other(aws: StandIn, v1: str) -> None:
    """API_InitiateLayerUpload, API_UploadLayerPart, API_CompleteLayerUpload"""
    body, where = b"x" * 20_971_520 + b"y", {"repositoryName": "web"}
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"

    def available() -> str:
        [layer] = aws.ecr.batch_check_layer_availability(**where, layerDigests=[digest])["layers"]
        return str(layer["layerAvailability"])

    def upload(parts: Sequence[tuple[int, int]]) -> Params:
        upload = {**where, "uploadId": aws.ecr.initiate_layer_upload(**where)["uploadId"]}
        for first, last in parts:
            part = {"partFirstByte": first, "partLastByte": last, "layerPartBlob": body[first : last + 1]}
            aws.ecr.upload_layer_part(**upload, **part)
        return upload

    both = [(0, 20_971_519), (20_971_520, 20_971_520)]
    assert available() == "UNAVAILABLE"
    assert refused(upload, parts=[(0, 20_971_520)])[0] == "InvalidLayerPartException"
    assert refused(upload, parts=[(0, 9), (11, 20)])[0] == "InvalidLayerPartException"
    incomplete = upload(both[:1])
    assert refused(aws.ecr.complete_layer_upload, **incomplete, layerDigests=[digest])[0] == "InvalidLayerException"
    aws.ecr.complete_layer_upload(**upload(both), layerDigests=[digest])
    assert available() == "AVAILABLE"
    again = upload(both)
    assert refused(aws.ecr.complete_layer_upload, **again, layerDigests=[digest])[0] == "LayerAlreadyExistsException"


def test_referrers_are_the_manifests_that_name_an_image_as_their_subject(aws: StandIn, v1: str, v2: str) -> None:
    digest, other = (image.partition("@")[2] for image in (v1, v2))
    [found] = aws.ecr.batch_get_image(repositoryName="web", imageIds=[{"imageDigest": digest}])["images"]
    manifest = json.loads(found["imageManifest"])
    subject = {"mediaType": OCI, "digest": digest, "size": len(found["imageManifest"])}
    put = json.dumps({**manifest, "artifactType": "application/spdx+json", "subject": subject})
    made = aws.ecr.put_image(repositoryName="web", imageManifest=put)["image"]["imageId"]["imageDigest"]

    def referrers(of: str, **filter: Any) -> list[tuple[str, str]]:
        found = aws.ecr.list_image_referrers(repositoryName="web", subjectId={"imageDigest": of}, **filter)["referrers"]
        return [(each["digest"], each["artifactType"]) for each in found]

    assert referrers(digest) == [(made, "application/spdx+json")]
    assert referrers(digest, filter={"artifactTypes": ["application/spdx+json"]}) == [(made, "application/spdx+json")]
    assert referrers(digest, filter={"artifactTypes": ["application/other"]}) == []
    assert referrers(other) == []


def test_a_tag_is_added_to_the_same_manifest_which_keeps_its_digest(aws: StandIn, v1: str, v2: str) -> None:
    for image in (v1, v2):
        digest = image.partition("@")[2]
        found = aws.ecr.batch_get_image(repositoryName="web", imageIds=[{"imageDigest": digest}])["images"][0]
        put = {"repositoryName": "web", "imageManifest": found["imageManifest"], "imageTag": f"live-{aws.clock.now()}"}
        assert aws.ecr.put_image(**put)["image"]["imageId"]["imageDigest"] == digest
        assert refused(aws.ecr.put_image, **put)[0] == "ImageAlreadyExistsException"
    wrong = put | {"imageTag": "other", "imageDigest": v1.partition("@")[2]}
    assert refused(aws.ecr.put_image, **wrong)[0] == "ImageDigestDoesNotMatchException"
    entry = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": f"sha256:{'0' * 64}", "size": 2}
    manifest = json.dumps({"schemaVersion": 2, "mediaType": OCI, "config": entry, "layers": []})
    no_layers = {"repositoryName": "web", "imageManifest": manifest, "imageTag": "other"}
    assert refused(aws.ecr.put_image, **no_layers)[0] == "LayersNotFoundException"


@pytest.mark.parametrize(
    ("mutability", "moves"),
    [
        ("MUTABLE", {"live-dev": True, "v1": True}),
        ("IMMUTABLE", {"live-dev": False, "v1": False}),
        ("IMMUTABLE_WITH_EXCLUSION", {"live-dev": True, "v1": False}),
        ("MUTABLE_WITH_EXCLUSION", {"live-dev": False, "v1": True}),
    ],
)
def test_an_immutable_tag_cannot_move_unless_a_filter_excludes_it(
    aws: StandIn, mutability: str, moves: dict[str, bool]
) -> None:
    filters = [{"filterType": "WILDCARD", "filter": "live-*"}] if "EXCLUSION" in mutability else []
    settings = {"imageTagMutability": mutability, "imageTagMutabilityExclusionFilters": filters}
    aws.images.create_repository({"repositoryName": "web"} | settings)
    for tag in moves:
        aws.push("before", tag)
    new = aws.push("after", "new").partition("@")[2]
    found = aws.ecr.batch_get_image(repositoryName="web", imageIds=[{"imageDigest": new}])["images"][0]
    for tag, may_move in moves.items():
        put = {"repositoryName": "web", "imageManifest": found["imageManifest"], "imageTag": tag}
        if may_move:
            assert aws.ecr.put_image(**put)["image"]["imageId"] == {"imageDigest": new, "imageTag": tag}
        else:
            assert refused(aws.ecr.put_image, **put)[0] == "ImageTagAlreadyExistsException"


def test_a_login_is_for_the_registry_and_lasts_twelve_hours(aws: StandIn) -> None:
    login = aws.ecr.get_authorization_token()["authorizationData"][0]
    assert base64.b64decode(login["authorizationToken"]).startswith(b"AWS:")
    assert (login["proxyEndpoint"], login["expiresAt"].timestamp()) == (
        f"http://{aws.address}",
        aws.clock.now() + 43200,
    )
    repository = aws.ecr.describe_repositories(repositoryNames=["web"])["repositories"][0]
    assert repository["repositoryUri"] == f"{aws.address}/web"


# What ECS rejects, and what it returns


def test_a_task_definition_can_have_65536_bytes(aws: StandIn) -> None:
    def size(filling: int) -> int:
        container = {"name": "app", "image": "web", "environment": [{"name": "A", "value": "x" * filling}]}
        request = {"family": "big", "containerDefinitions": [container]}
        aws.ecs.register_task_definition(**request)
        return len(json.dumps(request, separators=(",", ":")))

    most = 65_536 - size(0)
    assert size(most) == 65_536
    with pytest.raises(ClientError) as caught:
        size(most + 1)
    message = "Actual length: '65537'. Max allowed length is '65536' bytes."
    error = caught.value.response["Error"]
    assert (error["Code"], error["Message"]) == ("ClientException", message)


def test_a_repeated_update_starts_no_deployment(aws: StandIn) -> None:
    aws.serve(aws.push("one", "1"), 1)
    network = {"awsvpcConfiguration": {"subnets": ["subnet-1"], "assignPublicIp": "DISABLED"}}
    request: Params = {"taskDefinition": aws.define(aws.push("two", "2")), "networkConfiguration": network}
    request |= {"deploymentConfiguration": BREAKER, "desiredCount": 1}
    for _ in range(2):
        aws.update(**request)
        aws.clock.sleep(60)
        aws.update(**request | {"taskDefinition": "web:2"})
        assert len(aws.deployments()) == 2
    sent = [call.params for call in aws.api.calls if call.operation == "UpdateService"]
    assert sent == [WHERE | request, WHERE | request | {"taskDefinition": "web:2"}] * 2


def test_a_service_cannot_be_created_without_the_service_linked_role(aws: StandIn) -> None:
    aws.engine.linked_role_from = aws.clock.now() + 60
    image = aws.push("one", "1")
    request = {"cluster": "main", "serviceName": "web", "taskDefinition": aws.define(image)}
    message = "Unable to assume the service linked role. Please verify that the ECS service linked role exists."
    assert refused(aws.ecs.create_service, **request) == ("InvalidParameterException", message)
    aws.clock.sleep(60)
    aws.serve(image, 1)
    assert aws.statuses() == ["SUCCESSFUL"]


def test_a_revision_shows_the_digest_that_ecs_resolves_for_the_requested_one(aws: StandIn) -> None:
    digest = "sha256:" + "1" * 64
    shown = []
    aws.serve(f"elsewhere/web@{digest}", 1)
    for end in ("", "-of-a-platform"):
        aws.engine.shown_digest = lambda digest, end=end: f"{digest}{end}"  # type: ignore[misc]
        aws.update(taskDefinition=aws.define(f"elsewhere/web@{digest}"))
        arn = aws.deployments()[0]["targetServiceRevision"]["arn"]
        [revision] = aws.ecs.describe_service_revisions(serviceRevisionArns=[arn])["serviceRevisions"]
        shown.append(revision["containerImages"][0]["imageDigest"])
    assert shown == [digest, f"{digest}-of-a-platform"]


# Tasks without a service


def test_a_task_runs_its_command_and_stops_with_the_exit_code_of_the_container(aws: StandIn, v1: str) -> None:
    aws.serve(v1, 1)
    aws.engine.outcome = lambda shown: Outcome(exit=len(shown["overrides"]["containerOverrides"][0]["command"]))
    overrides = {"containerOverrides": [{"name": "app", "command": ["make", "it", "so"]}]}
    arn = run(aws, "web:1", overrides=overrides, startedBy="jobs/1")
    seen = []
    for seconds in (0, 20, 10):
        aws.clock.sleep(seconds)
        seen.append((task(aws, arn)["lastStatus"], task(aws, arn)["containers"][0].get("exitCode")))
    assert seen == [("PENDING", None), ("RUNNING", None), ("STOPPED", 3)]
    ended = task(aws, arn)
    assert (ended["stopCode"], ended["stoppedReason"]) == (
        "EssentialContainerExited",
        "Essential container in task exited",
    )
    assert (ended["group"], ended["startedBy"], ended["overrides"]) == ("family:web", "jobs/1", overrides)
    assert arn not in [of_service["taskArn"] for of_service in aws.tasks("RUNNING") + aws.tasks("STOPPED")]


def test_a_family_runs_its_newest_active_revision_even_if_no_service_does(aws: StandIn, v1: str, v2: str) -> None:
    aws.serve(v1, 1)
    aws.define(v2)
    assert task(aws, run(aws, "web"))["taskDefinitionArn"].endswith(":2")
    assert task(aws, run(aws, "web:1"))["containers"][0]["image"] == v1


def test_a_task_whose_image_cannot_be_pulled_has_no_exit_code(aws: StandIn, v1: str) -> None:
    arn = run(aws, aws.define(f"{aws.address}/web@sha256:{'0' * 64}"))
    aws.clock.sleep(60)
    ended = task(aws, arn)
    assert (ended["stopCode"], "startedAt" in ended) == ("TaskFailedToStart", False)
    assert ended["stoppedReason"].startswith("CannotPullContainerError: ")
    assert ended["containers"][0]["reason"] == ended["stoppedReason"]
    assert "exitCode" not in ended["containers"][0]


def test_a_request_is_repeated_with_its_token_without_a_second_task(aws: StandIn, v1: str) -> None:
    definition = aws.define(v1)
    first = run(aws, definition, clientToken="once")
    aws.clock.sleep(60)
    assert run(aws, definition, clientToken="once") == first
    code, _ = refused(run, aws=aws, definition=definition, clientToken="once", startedBy="other")
    assert (code, aws.api.calls[-1].error) == ("ConflictException", "ConflictException")
    assert run(aws, definition, clientToken="other") != first
    aws.clock.sleep(24 * 3600)
    assert run(aws, definition, clientToken="once") != first


@pytest.mark.parametrize(
    ("inputs", "code", "message"),
    [
        ({"cluster": "none"}, "ClusterNotFoundException", "Cluster not found"),
        ({"definition": "none"}, "ClientException", "task definition"),
        ({"definition": "web:2"}, "ClientException", "inactive"),
        ({"networkConfiguration": None}, "InvalidParameterException", "Network Configuration must be provided"),
        ({"overrides": {"containerOverrides": [{"name": "x"}]}}, "InvalidParameterException", "container named x"),
        ({"overrides": {"cpu": "1" * 8192}}, "InvalidParameterException", "at most 8192"),
        ({"startedBy": "a b"}, "InvalidParameterException", "startedBy"),
        ({"count": 11}, "InvalidParameterException", "between 1 and 10"),
        ({"clientToken": "x" * 65}, "InvalidParameterException", "up to 64"),
    ],
)
def test_a_task_that_cannot_be_run_is_refused(aws: StandIn, v1: str, inputs: Params, code: str, message: str) -> None:
    aws.define(v1)
    aws.ecs.deregister_task_definition(taskDefinition=aws.define(v1))
    given = {"cluster": "main", "networkConfiguration": NETWORK, "taskDefinition": inputs.pop("definition", "web:1")}
    found = refused(aws.ecs.run_task, **{key: value for key, value in {**given, **inputs}.items() if value is not None})
    assert (found[0], message in found[1]) == (code, True), found


def test_tasks_without_a_service_are_listed_by_family_and_desired_status(aws: StandIn, v1: str) -> None:
    other = aws.ecs.register_task_definition(family="other", containerDefinitions=[{"name": "app", "image": v1}])
    first, second = run(aws, aws.define(v1)), run(aws, other["taskDefinition"]["taskDefinitionArn"])

    def listed(**given: Any) -> list[str]:
        arns: list[str] = aws.ecs.list_tasks(cluster="main", **given)["taskArns"]
        return arns

    assert (listed(), listed(family="web")) == ([first, second], [first])
    aws.ecs.stop_task(cluster="main", task=first)
    assert (listed(), listed(desiredStatus="STOPPED")) == ([second], [first])
    aws.engine.create_cluster({"clusterName": "empty"})
    assert aws.ecs.list_tasks(cluster="empty")["taskArns"] == []


def test_a_stopped_task_has_the_reason_that_was_given(aws: StandIn, v1: str) -> None:
    waiting, running = run(aws, aws.define(v1)), run(aws, "web")
    aws.ecs.stop_task(cluster="main", task=waiting, reason="a mistake")
    aws.clock.sleep(25)
    aws.ecs.stop_task(cluster="main", task=running)
    aws.clock.sleep(60)
    ends = [(task(aws, arn)["stopCode"], task(aws, arn)["stoppedReason"]) for arn in (waiting, running)]
    assert ends == [("UserInitiated", "a mistake"), ("UserInitiated", "Task stopped by user")]
    exits = [task(aws, arn)["containers"][0].get("exitCode") for arn in (waiting, running)]
    assert exits == [None, 143]
    aws.ecs.stop_task(cluster="main", task=running, reason="again")
    assert task(aws, running)["stoppedReason"] == "Task stopped by user"
    assert refused(aws.ecs.stop_task, cluster="main", task=running[:-1])[0] == "InvalidParameterException"


def test_the_log_stream_of_a_task_is_named_after_prefix_container_and_task(aws: StandIn, v1: str) -> None:
    options = {"awslogs-group": "/ecs/web", "awslogs-stream-prefix": "jobs", "awslogs-region": "eu-west-1"}
    aws.engine.outcome = lambda shown: Outcome(lines=("one", "two"))
    arn = run(aws, aws.define(v1, logConfiguration={"logDriver": "awslogs", "options": options}))
    logs, stream = aws.client("logs"), f"jobs/app/{arn.rpartition('/')[2]}"
    read = {"logGroupName": "/ecs/web", "logStreamNames": [stream]}
    assert refused(logs.filter_log_events, **read)[0] == "ResourceNotFoundException"
    aws.clock.sleep(20)
    assert [event["message"] for event in logs.filter_log_events(**read)["events"]] == ["one", "two"]


# Capacity


SPOT = [{"capacityProvider": "FARGATE_SPOT", "weight": 1, "base": 0}]


def associate(aws: StandIn, *providers: str) -> None:
    aws.ecs.put_cluster_capacity_providers(
        cluster="main", capacityProviders=list(providers), defaultCapacityProviderStrategy=[]
    )


def test_another_capacity_takes_effect_with_the_next_deployment_and_an_empty_list_leads_back(
    aws: StandIn, v1: str
) -> None:
    associate(aws, "FARGATE", "FARGATE_SPOT")
    aws.serve(v1, 1, launchType="FARGATE")
    shown = aws.update(capacityProviderStrategy=SPOT)
    assert (shown["capacityProviderStrategy"], "launchType" in shown) == (SPOT, False)
    assert len(aws.deployments()) == 1
    aws.update(capacityProviderStrategy=SPOT, forceNewDeployment=True)
    aws.clock.sleep(60)
    revision = aws.deployments()[0]["targetServiceRevision"]["arn"]
    [found] = aws.ecs.describe_service_revisions(serviceRevisionArns=[revision])["serviceRevisions"]
    assert found["capacityProviderStrategy"] == SPOT
    shown = aws.update(capacityProviderStrategy=[], forceNewDeployment=True)
    assert (shown["launchType"], shown.get("capacityProviderStrategy")) == ("FARGATE", None)


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        (["other"], "is not associated with the cluster"),
        (["FARGATE", "instances"], "cannot mix Fargate and other capacity providers"),
        (["instances"], "not compatible"),
    ],
)
def test_a_strategy_needs_providers_of_the_cluster_and_a_task_definition_that_fits(
    aws: StandIn, v1: str, strategy: list[str], message: str
) -> None:
    associate(aws, "FARGATE", "FARGATE_SPOT", "instances")
    aws.serve(v1, 1, launchType="FARGATE")
    items = [{"capacityProvider": name, "weight": 1} for name in strategy]
    code, text = refused(aws.ecs.update_service, **WHERE, capacityProviderStrategy=items)
    assert (code, message in text) == ("InvalidParameterException", True)


def test_a_provider_that_is_in_use_stays_with_its_cluster(aws: StandIn, v1: str) -> None:
    associate(aws, "FARGATE", "FARGATE_SPOT")
    aws.serve(v1, 1, capacityProviderStrategy=SPOT)
    of = {"cluster": "main", "capacityProviders": ["FARGATE"], "defaultCapacityProviderStrategy": []}
    assert refused(aws.ecs.put_cluster_capacity_providers, **of)[0] == "ResourceInUseException"


def test_managed_instances_belong_to_their_cluster_which_takes_no_list_of_providers_then(aws: StandIn, v1: str) -> None:
    aws.engine.manage_instances("main", "instances")
    code, message = refused(lambda: associate(aws, "FARGATE", "FARGATE_SPOT"))
    assert (code, "Managed Instances" in message) == ("InvalidParameterException", True)
    aws.serve(v1, 1, launchType="FARGATE")
    items = [{"capacityProvider": "instances", "weight": 1}]
    # The provider is there: only the task definition is not for it.
    assert "not compatible" in refused(aws.ecs.update_service, **WHERE, capacityProviderStrategy=items)[1]
    aws.engine.stop_managing_instances("main", "instances")
    assert "is not associated" in refused(aws.ecs.update_service, **WHERE, capacityProviderStrategy=items)[1]


def test_a_rollback_brings_back_the_capacity(aws: StandIn, v1: str) -> None:
    associate(aws, "FARGATE", "FARGATE_SPOT")
    aws.serve(v1, 1, launchType="FARGATE")
    aws.engine.fault = lambda definition: "exit 1"
    aws.update(capacityProviderStrategy=SPOT, forceNewDeployment=True)
    aws.clock.sleep(600)
    assert aws.statuses()[0].startswith("ROLLBACK")
    assert (aws.service()["launchType"], aws.service().get("capacityProviderStrategy")) == ("FARGATE", None)


MIXED = [
    {"capacityProvider": "FARGATE", "weight": 1, "base": 1},
    {"capacityProvider": "FARGATE_SPOT", "weight": 3, "base": 0},
]


def on_spot(aws: StandIn, image: str, count: int, strategy: list[Params]) -> None:
    associate(aws, "FARGATE", "FARGATE_SPOT")
    aws.serve(image, count, capacityProviderStrategy=strategy)


def placed(aws: StandIn) -> list[str]:
    """Where the tasks that should run are, in alphabetical order."""
    return sorted(task["capacityProviderName"] for task in aws.tasks("RUNNING"))


def test_tasks_are_placed_by_the_base_first_and_the_weights_after_it(aws: StandIn, v1: str) -> None:
    on_spot(aws, v1, 5, MIXED)
    assert placed(aws) == ["FARGATE"] * 2 + ["FARGATE_SPOT"] * 3
    aws.update(capacityProviderStrategy=[], forceNewDeployment=True)
    aws.clock.sleep(60)
    assert [task.get("capacityProviderName") for task in aws.tasks("RUNNING")] == [None] * 5


def test_a_spot_task_is_taken_back_with_a_warning_and_replaced_at_once(aws: StandIn, v1: str) -> None:
    on_spot(aws, v1, 2, MIXED)
    began = aws.clock.now()
    assert aws.engine.take_back(v1) == 1
    [going] = aws.tasks("STOPPED")
    assert (going["lastStatus"], going["stopCode"]) == ("RUNNING", "SpotInterruption")
    assert going["stoppedReason"] == "Your Spot Task was interrupted."
    assert [task["lastStatus"] for task in aws.tasks("RUNNING")] == ["RUNNING", "PENDING"]
    assert placed(aws) == ["FARGATE", "FARGATE_SPOT"]

    aws.clock.sleep(60)
    [gone] = aws.tasks("STOPPED")
    assert (gone["taskArn"], gone["lastStatus"]) == (going["taskArn"], "STOPPED")
    assert (gone["stoppedAt"].timestamp() - began, gone["containers"][0]["exitCode"]) == (30, 143)
    assert [task["lastStatus"] for task in aws.tasks("RUNNING")] == ["RUNNING", "RUNNING"]
    assert (aws.deployments()[0]["deploymentCircuitBreaker"]["failureCount"], aws.engine.take_back("other")) == (0, 0)


@pytest.mark.parametrize(("timeout", "seconds"), [(90, 90), (120, 120)])
def test_a_task_that_is_taken_back_has_its_stop_timeout(aws: StandIn, v1: str, timeout: int, seconds: int) -> None:
    associate(aws, "FARGATE_SPOT")
    aws.serve(v1, 1, taskDefinition=aws.define(v1, stopTimeout=timeout), capacityProviderStrategy=SPOT)
    began = aws.clock.now()
    aws.engine.take_back(v1)
    aws.clock.sleep(seconds - 1)
    assert aws.tasks("STOPPED")[0]["lastStatus"] == "RUNNING"
    aws.clock.sleep(1)
    assert aws.tasks("STOPPED")[0]["stoppedAt"].timestamp() - began == seconds


def test_without_spot_capacity_the_others_start_and_the_service_retries_until_there_is_some(
    aws: StandIn, v1: str
) -> None:
    aws.engine.without_capacity = {"FARGATE_SPOT"}
    on_spot(aws, v1, 2, MIXED)
    assert placed(aws) == ["FARGATE"]
    unplaced = [message for message in aws.messages() if "was unable to place a task" in message]
    assert len(unplaced) == 3  # at 0, 30 and 60 seconds
    assert "Reason: Capacity is unavailable at this time." in unplaced[0]
    assert aws.statuses() == ["IN_PROGRESS"]

    aws.engine.without_capacity = set()
    aws.clock.sleep(60)
    assert (placed(aws), aws.statuses()) == (["FARGATE", "FARGATE_SPOT"], ["SUCCESSFUL"])


@pytest.mark.parametrize(("counts", "status"), [(False, "IN_PROGRESS"), (True, "ROLLBACK_SUCCESSFUL")])
def test_missing_capacity_counts_for_the_circuit_breaker_if_that_is_a_task_that_cannot_be_launched(
    aws: StandIn, v1: str, v2: str, counts: bool, status: str
) -> None:
    on_spot(aws, v1, 1, SPOT)
    aws.engine.without_capacity, aws.engine.unplaced_fails = {"FARGATE_SPOT"}, counts
    aws.update(taskDefinition=aws.define(v2))
    aws.clock.sleep(300)
    assert aws.statuses()[0] == status
    assert [task["containers"][0]["image"] for task in aws.tasks("RUNNING")] == [v1]


def test_a_cluster_is_described_if_it_exists(aws: StandIn) -> None:
    answer = aws.ecs.describe_clusters(clusters=["main", "other"])
    assert [each["clusterName"] for each in answer["clusters"]] == ["main"]
    assert [each["reason"] for each in answer["failures"]] == ["MISSING"]
