"""AWS CodeDeploy for Amazon ECS: starts a second task set and shifts the traffic to it.

The groups are those that are deployed. CodeDeploy's own actions happen on each request, up to the current time of the
clock, through the operations of ECS and with the group's role. A rule names the AWS page it is based on (CD:
codedeploy/latest/userguide, API: codedeploy/latest/APIReference); UNCONFIRMED marks what no page documents. Not here:
hooks, configurations other than CodeDeploy's own, listeners that forward by their default action, DescribeAlarms.
"""

import secrets
import string
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3
import yaml
from botocore.exceptions import ClientError

from standin.api import REGION, Api, AwsError, Params
from standin.clock import Clock
from standin.elb import Elb
from standin.events import Events
from standin.provider import Live, Props

APPLICATION = "aws:codedeploy/application:Application"
GROUP = "aws:codedeploy/deploymentGroup:DeploymentGroup"
TARGET_GROUP, LISTENER_RULE = "aws:lb/targetGroup:TargetGroup", "aws:lb/listenerRule:ListenerRule"
ACTIVE = ("Created", "Queued", "InProgress", "Ready")
HEALTHY_MINUTES = 60  # CD troubleshooting-ecs
ROLLBACK_SECONDS = 10.0
"""How long a rollback takes; AWS does not document that."""
# Minutes after a step, and percent of the traffic in it: CD deployment-configurations.
STEPS = {
    "ECSAllAtOnce": [(0, 100)],
    "ECSCanary10Percent5Minutes": [(5, 10), (0, 100)],
    "ECSCanary10Percent15Minutes": [(15, 10), (0, 100)],
    "ECSLinear10PercentEvery1Minutes": [(1 if percent < 100 else 0, percent) for percent in range(10, 101, 10)],
    "ECSLinear10PercentEvery3Minutes": [(3 if percent < 100 else 0, percent) for percent in range(10, 101, 10)],
}


class Ended(Exception):
    """Why a deployment ends, as `errorInformation`; `status` is its last status, `event` what triggers a rollback."""

    def __init__(self, code: str, message: str, status: str = "Failed", event: str = "DEPLOYMENT_FAILURE") -> None:
        super().__init__(message)
        self.error, self.status, self.event = {"code": code, "message": message}, status, event


@dataclass(eq=False)
class Deployment:
    shown: Params
    """As GetDeployment returns it."""
    group: Params
    blue: Params = field(default_factory=dict)
    green: Params = field(default_factory=dict)
    continued: bool = False
    steps: Iterator[None] = field(default_factory=lambda: iter(()))

    @property
    def active(self) -> bool:
        return self.shown["status"] in ACTIVE


class CodeDeploy:
    def __init__(self, api: Api, clock: Clock, events: Events, elb: Elb, alarms: Callable[[], set[str]]) -> None:
        """`alarms` are those in the state ALARM."""
        self._api, self._clock, self._events, self._elb, self._alarms = api, clock, events, elb, alarms
        self.deployments: list[Deployment] = []
        self._lock = threading.RLock()

    def create_deployment(self, params: Params) -> Params:
        group = self._group(params)
        with self._lock:
            self._advance()
            for other in self.deployments:  # API_CreateDeployment; like all messages here, this one is UNCONFIRMED
                if other.active and other.group is group:
                    message = f"The Deployment Group '{group['deploymentGroupName']}' already has an active Deployment"
                    raise AwsError("DeploymentLimitExceededException", f"{message} '{other.shown['deploymentId']}'")
            revision = params["revision"]
            content = revision.get("appSpecContent", revision.get("string", {})).get("content", "")
            try:
                [resource] = yaml.safe_load(content)["Resources"]
                [target] = resource.values()
                properties = target["Properties"]
                wanted = properties["TaskDefinition"], properties["LoadBalancerInfo"]["ContainerName"]
            except (KeyError, TypeError, ValueError, yaml.YAMLError) as error:
                raise AwsError("InvalidRevisionException", f"The AppSpec cannot be read: {content}") from error
            made = self._made(group, "user", revision, params)
            made.steps = self._go(made, properties | {"TaskDefinition": wanted[0]})
            self._advance()
        return {"deploymentId": made.shown["deploymentId"]}

    def get_deployment(self, params: Params) -> Params:
        return {"deploymentInfo": self._found(params).shown}

    def list_deployments(self, params: Params) -> Params:
        with self._lock:
            self._advance()
        names = [params.get(key) for key in ("applicationName", "deploymentGroupName")]
        start = params.get("createTimeRange", {}).get("start", 0)
        found = [
            shown["deploymentId"]
            for shown in (deployment.shown for deployment in reversed(self.deployments))
            if names in ([None, None], [shown["applicationName"], shown["deploymentGroupName"]])
            and shown["status"] in params.get("includeOnlyStatuses", [shown["status"]])
            and shown["createTime"] >= start
        ]
        return {"deployments": found}

    def continue_deployment(self, params: Params) -> Params:
        deployment = self._found(params)
        if deployment.shown["status"] != "Ready":  # API_ContinueDeployment
            raise AwsError("DeploymentIsNotInReadyStateException", "The deployment is not in the state Ready.")
        deployment.continued = True
        return {}

    def stop_deployment(self, params: Params) -> Params:
        deployment = self._found(params)
        if not deployment.active:  # API_StopDeployment
            raise AwsError("DeploymentAlreadyCompletedException", "The deployment is already complete.")
        end = Ended("MANUAL_STOP", "The deployment was stopped by a request.", "Stopped", "DEPLOYMENT_STOP_ON_REQUEST")
        with self._lock:
            self._end(deployment, end, params.get("autoRollbackEnabled"))
        return {"status": "Succeeded", "statusMessage": "The deployment was stopped."}

    def _group(self, params: Params) -> Params:
        name, group = params["applicationName"], params.get("deploymentGroupName")
        if name not in [application.inputs["name"] for application in self._events.all(APPLICATION)]:
            raise AwsError("ApplicationDoesNotExistException", f"No application found for name: {name}")
        for found in self._events.all(GROUP):
            if (found.inputs["appName"], found.inputs["deploymentGroupName"]) == (name, group):
                return found.inputs
        raise AwsError("DeploymentGroupDoesNotExistException", f"No Deployment Group found for name: {group}")

    def _made(self, group: Params, creator: str, revision: Params, given: Params) -> Deployment:
        id = "d-" + "".join(secrets.choice(string.ascii_uppercase + string.digits) for _ in range(9))
        rollback = given.get("autoRollbackConfiguration", group.get("autoRollbackConfiguration", {"enabled": False}))
        config = group.get("deploymentConfigName", "CodeDeployDefault.ECSAllAtOnce")
        shown = {"deploymentId": id, "applicationName": group["appName"], "creator": creator, "revision": revision}
        shown |= {"deploymentGroupName": group["deploymentGroupName"], "computePlatform": "ECS", "status": "Created"}
        shown |= {"createTime": self._clock.now(), "autoRollbackConfiguration": rollback}
        shown["deploymentConfigName"] = given.get("deploymentConfigName", config)
        made = Deployment(shown, group)
        self.deployments.append(made)
        return made

    def _found(self, params: Params) -> Deployment:
        with self._lock:
            self._advance()
        for deployment in self.deployments:
            if deployment.shown["deploymentId"] == params["deploymentId"]:
                return deployment
        raise AwsError("DeploymentDoesNotExistException", f"The deployment {params['deploymentId']} does not exist.")

    # What happens by itself

    def _advance(self) -> None:
        for deployment in self.deployments:  # a rollback is appended to it, and is advanced in turn
            if not deployment.active:
                continue
            try:
                deployment.shown.setdefault("startTime", self._clock.now())
                if deployment.shown["status"] == "Created":
                    deployment.shown["status"] = "InProgress"
                self._watch(deployment)
                next(deployment.steps)
            except StopIteration:
                deployment.shown |= {"status": "Succeeded", "completeTime": self._clock.now()}
            except Ended as end:
                self._end(deployment, end)
            except ClientError as error:
                self._end(deployment, Ended("ECS_UPDATE_ERROR", str(error)))

    def _watch(self, deployment: Deployment) -> None:
        """CD deployment-groups-configure-advanced-options: an alarm stops a deployment. A rollback is not stopped."""
        watched = deployment.group.get("alarmConfiguration", {})
        if deployment.shown["creator"] != "user" or not watched.get("enabled"):
            return
        if set(watched["alarms"]) & set(self._alarms()):
            message = "One or more alarms have been activated according to the Amazon CloudWatch metrics you selected, "
            message += "and the affected deployments have been stopped."
            raise Ended("ALARM_ACTIVE", message, "Stopped", "DEPLOYMENT_STOP_ON_ALARM")

    def _end(self, deployment: Deployment, end: Ended, rollback: bool | None = None) -> None:
        """CD deployments-rollback-and-redeploy: a rollback is a deployment of its own."""
        shown = deployment.shown
        shown |= {"status": end.status, "errorInformation": end.error, "completeTime": self._clock.now()}
        settings = shown["autoRollbackConfiguration"]
        if rollback is None:
            rollback = settings.get("enabled", False) and end.event in settings.get("events", [])
        if rollback and shown["creator"] == "user":
            back = self._made(deployment.group, "codeDeployRollback", shown["revision"], {})
            back.blue, back.green = deployment.blue, deployment.green
            id, message = shown["deploymentId"], f"{end.status}: {end}"
            back.shown["rollbackInfo"] = {"rollbackTriggeringDeploymentId": id, "rollbackMessage": message}
            shown["rollbackInfo"] = {"rollbackDeploymentId": back.shown["deploymentId"], "rollbackMessage": message}
            back.steps = self._back(back)

    def _ecs(self, group: Params) -> Any:
        keys = {key.lower(): value for key, value in self._api.credentials_for(group["serviceRoleArn"]).items()}
        return boto3.client("ecs", endpoint_url=self._api.url, region_name=REGION, **keys)

    def _service(self, deployment: Deployment) -> Params:
        of = _of(deployment.group)
        found = self._ecs(deployment.group).describe_services(cluster=of["cluster"], services=[of["service"]])[
            "services"
        ]
        if not found or found[0].get("deploymentController", {}).get("type") != "CODE_DEPLOY":
            message = f"The ECS service {of['service']} is not one that CodeDeploy deploys"
            raise Ended("INVALID_ECS_SERVICE", message)
        service: Params = found[0]
        return service

    def _go(self, deployment: Deployment, properties: Params) -> Iterator[None]:
        """The steps of a deployment; yields whenever it has to wait."""
        group, of, shown = deployment.group, _of(deployment.group), deployment.shown
        blue = next(each for each in self._service(deployment)["taskSets"] if each["status"] == "PRIMARY")
        balancer = {"containerName": properties["LoadBalancerInfo"]["ContainerName"]}
        balancer["containerPort"] = properties["LoadBalancerInfo"]["ContainerPort"]
        pair, used = self._pair(group), blue["loadBalancers"][0]["targetGroupArn"]
        if used not in pair or not self._rules(group, "prodTrafficRoute"):
            message = (
                "The ELB could not be updated due to the following error: Primary taskset target group must be behind"
            )
            listeners = group["loadBalancerInfo"]["targetGroupPairInfo"]["prodTrafficRoute"]["listenerArns"]
            raise Ended("ELASTIC_LOAD_BALANCING_INVALID", f"{message} listener {listeners[0]}")
        [other] = [arn for arn in pair if arn != used]
        same = {key: blue[key] for key in ("networkConfiguration", "launchType", "platformVersion") if key in blue}
        if network := properties.get("NetworkConfiguration", {}).get("AwsvpcConfiguration"):
            named = {key[0].lower() + key[1:]: value for key, value in network.items()}
            same["networkConfiguration"] = {"awsvpcConfiguration": named}
        made = self._ecs(group).create_task_set(
            **of,
            **same,
            taskDefinition=properties["TaskDefinition"],
            externalId=shown["deploymentId"],
            loadBalancers=[{**balancer, "targetGroupArn": other}],
            scale={"value": 100.0, "unit": "PERCENT"},
        )["taskSet"]
        deployment.blue, deployment.green = blue, made
        deadline = self._clock.now() + 60 * HEALTHY_MINUTES
        while not self._healthy(deployment):
            if self._clock.now() >= deadline:
                message = "The deployment timed out while waiting for the replacement task set to become healthy. "
                raise Ended("TIMEOUT", f"{message}This time out period is {HEALTHY_MINUTES} minutes.")
            yield
        self._shift(deployment, "testTrafficRoute", 100)
        options = group["blueGreenDeploymentConfig"]
        ready = options.get("deploymentReadyOption", {})
        if ready.get("actionOnTimeout") == "STOP_DEPLOYMENT":  # API_DeploymentReadyOption
            shown["status"], until = "Ready", self._clock.now() + 60 * ready.get("waitTimeInMinutes", 0)
            while not deployment.continued:
                if self._clock.now() >= until:
                    message = "The deployment was not continued before its wait time was over."
                    raise Ended("TIMEOUT", message, "Stopped", "DEPLOYMENT_STOP_ON_REQUEST")
                yield
            shown["status"] = "InProgress"
        for minutes, percent in STEPS[shown["deploymentConfigName"].removeprefix("CodeDeployDefault.")]:
            self._shift(deployment, "prodTrafficRoute", percent)
            yield from self._wait(minutes)
        self._ecs(group).update_service_primary_task_set(**of, primaryTaskSet=made["taskSetArn"])
        # API_BlueInstanceTerminationOption
        yield from self._wait(
            options["terminateBlueInstancesOnDeploymentSuccess"].get("terminationWaitTimeInMinutes", 0)
        )
        self._ecs(group).delete_task_set(**of, taskSet=blue["taskSetArn"], force=True)

    def _back(self, deployment: Deployment) -> Iterator[None]:
        """CD deployment-steps-ecs: the traffic returns to the original task set, and the replacement is deleted."""
        until = self._clock.now() + ROLLBACK_SECONDS
        while self._clock.now() < until:
            yield
        if not deployment.green:
            return
        for route in ("testTrafficRoute", "prodTrafficRoute"):
            self._shift(deployment, route, 0)
        of, ecs = _of(deployment.group), self._ecs(deployment.group)
        ecs.update_service_primary_task_set(**of, primaryTaskSet=deployment.blue["taskSetArn"])
        ecs.delete_task_set(**of, taskSet=deployment.green["taskSetArn"], force=True)

    def _wait(self, minutes: float) -> Iterator[None]:
        until = self._clock.now() + 60 * minutes
        while self._clock.now() < until:
            yield

    def _healthy(self, deployment: Deployment) -> bool:
        sets = {each["taskSetArn"]: each for each in self._service(deployment)["taskSets"]}
        green = sets[deployment.green["taskSetArn"]]
        running = green["runningCount"] == green["computedDesiredCount"]
        return bool(running and green["stabilityStatus"] == "STEADY_STATE")

    def _pair(self, group: Params) -> list[str]:
        names = [entry["name"] for entry in group["loadBalancerInfo"]["targetGroupPairInfo"]["targetGroups"]]
        self._events.note(group["serviceRoleArn"], "elasticloadbalancing", "DescribeTargetGroups", {"Names": names})
        return [r.outputs["arn"] for r in self._events.all(TARGET_GROUP) if r.outputs["name"] in names]

    def _rules(self, group: Params, route: str) -> list[str]:
        """The rules of a listener that forward to one of the groups."""
        pair = set(self._pair(group))
        listeners = group["loadBalancerInfo"]["targetGroupPairInfo"].get(route, {}).get("listenerArns", [])
        for arn in listeners:
            for operation in ("DescribeListeners", "DescribeRules"):
                params = {"ListenerArns": [arn]} if operation == "DescribeListeners" else {"ListenerArn": arn}
                self._events.note(group["serviceRoleArn"], "elasticloadbalancing", operation, params)
        rules = [r.outputs["arn"] for r in self._events.all(LISTENER_RULE) if r.inputs["listenerArn"] in listeners]
        return [arn for arn in rules if pair & self._elb.weights(arn).keys()]

    def _shift(self, deployment: Deployment, route: str, percent: int) -> None:
        blue, green = (each["loadBalancers"][0]["targetGroupArn"] for each in (deployment.blue, deployment.green))
        for rule in self._rules(deployment.group, route):
            self._elb.shift(rule, {blue: 100 - percent, green: percent}, deployment.group["serviceRoleArn"])


class Group(Live):
    """Creation fails where CodeDeploy's would. UNCONFIRMED: the messages."""

    def create(self, name: str, inputs: Props) -> tuple[str, Props]:
        options, wrong = inputs.get("blueGreenDeploymentConfig", {}), ""
        ready = options.get("deploymentReadyOption", {})
        if ready.get("actionOnTimeout") == "CONTINUE_DEPLOYMENT" and ready.get("waitTimeInMinutes"):
            # hashicorp/terraform-provider-aws#9653
            wrong = "InvalidDeploymentReadyOption: CONTINUE_DEPLOYMENT takes no wait time"
        elif len(inputs["loadBalancerInfo"]["targetGroupPairInfo"]["targetGroups"]) != 2:  # API_TargetGroupPairInfo
            wrong = "InvalidTargetGroupPairException: the pair must be two target groups"
        elif options["terminateBlueInstancesOnDeploymentSuccess"].get("action") != "TERMINATE":
            # hashicorp/terraform-provider-aws#23995
            wrong = "InvalidBlueGreenDeploymentConfigurationException: the original task set must be terminated"
        if wrong:
            raise RuntimeError(f"creating CodeDeploy Deployment Group ({inputs['deploymentGroupName']}): {wrong}")
        return "", {}

    def update(self, id: str, olds: Props, news: Props) -> Props:
        return self.create("", news)[1]


def _of(group: Params) -> Params:
    return {"cluster": group["ecsService"]["clusterName"], "service": group["ecsService"]["serviceName"]}
