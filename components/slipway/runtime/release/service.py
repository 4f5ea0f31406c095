"""The ECS service: what runs, what should run, and why a deployment did not work."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .registers import Registers, Release, Settings

# What DescribeTaskDefinition returns and RegisterTaskDefinition takes; the rest is ECS's own.
# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RegisterTaskDefinition.html
REGISTERED = (
    "taskRoleArn",
    "executionRoleArn",
    "networkMode",
    "containerDefinitions",
    "volumes",
    "placementConstraints",
    "requiresCompatibilities",
    "cpu",
    "memory",
    "pidMode",
    "ipcMode",
    "proxyConfiguration",
    "inferenceAccelerators",
    "ephemeralStorage",
    "runtimePlatform",
    "enableFaultInjection",
)
LOAD_BALANCER = ("targetGroupArn", "containerName", "containerPort")
UNDER_WAY = ("PENDING", "IN_PROGRESS", "STOP_REQUESTED")


@dataclass(frozen=True)
class Progress:
    """How far the service is from what is wanted."""

    state: str
    """`done`, `running` or `failed`."""
    message: str
    after: str | None = None
    """The newest deployment that there was before the one we asked for; what is newer is ours to follow."""
    before: str | None = None
    """The image that ran before a deployment that failed; None when nothing was released then."""
    rolled_back_to: str | None = None
    """The image that ECS itself is putting back."""
    image: str = ""
    """The image that runs, once it does."""


@dataclass(frozen=True)
class Names:
    """What one release function is for."""

    cluster: str
    service: str
    family: str
    """Family of the released task definitions."""
    container: str


class Service:
    def __init__(self, ecs: Any, autoscaling: Any, registers: Registers, names: Names) -> None:
        self.ecs = ecs
        self.autoscaling = autoscaling
        self.registers = registers
        self.names = names
        self._definitions: dict[str, dict[str, Any]] = {}

    def advance(self, after: str | None, give_up: bool) -> Progress:
        """Read the registers, look at the service, and take the one step that brings it nearer to what is wanted.

        `after` is None at first, then what the last call returned. `give_up` says that a release has failed, so that no
        image may be wanted any more. Does nothing that was done already.
        """
        settings, wanted = self.registers.settings(), self.registers.wanted()
        service = self.describe()
        if wanted is None:
            return self._stand_down(service, give_up)

        definition = self._definition(settings, wanted)
        newest = self._newest_deployment()
        if newest is not None and newest["serviceDeploymentArn"] == after:
            # UpdateService was called, and ECS does not show its deployment yet.
            return Progress("running", "waiting for ECS to start the deployment", after)

        state = self._state(newest, definition, settings)
        if newest is not None and state == "failed" and after is not None:
            if newest["status"] == "STOPPED" and self._was_overtaken(newest):
                return Progress("running", "another deployment took over", after)
            return self._failure(newest, settings)
        if newest is None or state in ("elsewhere", "failed"):
            return self._update(service, settings, definition, newest, retry=state == "failed")
        if state == "running":
            return self._under_way(newest, settings)
        return self._settle(service, settings, wanted, newest)

    def _state(self, newest: dict[str, Any] | None, definition: dict[str, Any], settings: Settings) -> str:
        """What the newest deployment does for what is wanted: `running`, `done`, `failed`, or it goes `elsewhere`.

        A rollback counts from when ECS says where it goes to; a deployment that is asked to stop is still running.
        https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ServiceDeployment.html
        """
        if newest is None:
            return "elsewhere"
        status, back = newest["status"], newest.get("rollback", {}).get("serviceRevisionArn")
        if self._serves(newest["targetServiceRevision"]["arn"], definition, settings):
            undecided = status in UNDER_WAY or (status == "ROLLBACK_REQUESTED" and not back)
            return "running" if undecided else {"SUCCESSFUL": "done"}.get(status, "failed")
        if back and self._serves(back, definition, settings):
            return {"ROLLBACK_SUCCESSFUL": "done", "ROLLBACK_FAILED": "failed"}.get(status, "running")
        return "elsewhere"

    def _serves(self, revision: str, definition: dict[str, Any], settings: Settings) -> bool:
        """Whether a revision of the service is what is wanted: its task definition, its network, its load balancers.

        https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ServiceRevision.html
        """
        found = self._service_revision(revision)
        network = found["networkConfiguration"]["awsvpcConfiguration"]
        return (
            self._is(found["taskDefinition"], definition)
            and set(network["subnets"]) == set(settings.subnets)
            and set(network["securityGroups"]) == set(settings.security_groups)
            and [{key: b.get(key) for key in LOAD_BALANCER} for b in found["loadBalancers"]] == settings.load_balancers
        )

    def _was_overtaken(self, newest: dict[str, Any]) -> bool:
        """Whether a deployment was stopped because a newer one began, which ECS may list a moment later."""
        time.sleep(5)
        now = self._newest_deployment()
        return now is not None and now["serviceDeploymentArn"] != newest["serviceDeploymentArn"]

    def describe(self) -> dict[str, Any]:
        answer = self.ecs.describe_services(cluster=self.names.cluster, services=[self.names.service])
        services: list[dict[str, Any]] = [s for s in answer["services"] if s["status"] == "ACTIVE"]
        if not services:
            raise RuntimeError(
                f"the service {self.names.service} does not exist in the cluster {self.names.cluster}; "
                "run `pulumi up`, which creates it"
            )
        return services[0]

    # What should run

    def _definition(self, settings: Settings, wanted: Release) -> dict[str, Any]:
        """The template with the wanted image, as it would be registered."""
        template = self._read(settings.template)
        definition = content(template)
        names = [c["name"] for c in definition["containerDefinitions"]]
        if self.names.container not in names:
            raise RuntimeError(
                f"the template {settings.template} has the containers {names}, and none is {self.names.container!r}"
            )
        definition["containerDefinitions"] = [
            {**c, "image": wanted.image} if c["name"] == self.names.container else c
            for c in definition["containerDefinitions"]
        ]
        return {**definition, "tags": template.get("tags", [])}

    def _is(self, task_definition: str, wanted: dict[str, Any]) -> bool:
        """Whether a registered task definition says what is wanted; its number and tags do not matter."""
        registered = self._read(task_definition)
        same = canonical(content(registered)) == canonical(content(wanted))
        return bool(registered["family"] == self.names.family and same)

    def _read(self, task_definition: str) -> dict[str, Any]:
        """A task definition with its tags. Its content never changes, so it is read once."""
        if task_definition not in self._definitions:
            answer = self.ecs.describe_task_definition(taskDefinition=task_definition, include=["TAGS"])
            self._definitions[task_definition] = {**answer["taskDefinition"], "tags": answer.get("tags", [])}
        return self._definitions[task_definition]

    def _register(self, definition: dict[str, Any]) -> str:
        """The ARN of a revision with this content: the newest, if a cut left it unused, or a new one."""
        try:
            newest = self.ecs.describe_task_definition(taskDefinition=self.names.family)["taskDefinition"][
                "taskDefinitionArn"
            ]
            if self._is(newest, definition):
                return str(newest)
        except self.ecs.exceptions.ClientException:
            pass  # the family has no revision yet
        request = {key: value for key, value in definition.items() if key != "tags" or value}
        answer = self.ecs.register_task_definition(family=self.names.family, **request)
        revision = str(answer["taskDefinition"]["taskDefinitionArn"])
        if not self._is(revision, definition):  # else each look would register another, for ever
            raise RuntimeError(f"ECS registered {short(revision)} with another content than the template has")
        return revision

    # The steps

    def _update(
        self,
        service: dict[str, Any],
        settings: Settings,
        definition: dict[str, Any],
        newest: dict[str, Any] | None,
        retry: bool,
    ) -> Progress:
        """One call that changes all that makes ECS deploy, so that no deployment mixes old settings with new."""
        revision = self._register(definition)
        network = service["networkConfiguration"]["awsvpcConfiguration"]
        network = {**network, "subnets": settings.subnets, "securityGroups": settings.security_groups}
        count = settings.count(service["desiredCount"])
        self.ecs.update_service(
            cluster=self.names.cluster,
            service=self.names.service,
            taskDefinition=revision,
            networkConfiguration={"awsvpcConfiguration": network},
            loadBalancers=settings.load_balancers,
            # What failed before we were called is tried again; ECS would not start what it has already.
            forceNewDeployment=retry,
            # A count that scaling changes meanwhile is left alone.
            **({} if count == service["desiredCount"] else {"desiredCount": count}),
        )
        after = newest["serviceDeploymentArn"] if newest else ""
        return Progress("running", f"asked ECS to deploy {short(revision)}", after)

    def _under_way(self, newest: dict[str, Any], settings: Settings) -> Progress:
        rollback = newest.get("rollback", {}).get("startedAt")
        late = time.time() - seconds(rollback or newest["createdAt"]) > settings.deadline_minutes * 60
        if late and rollback:
            return self._failure(newest, settings)
        if late and newest["status"] in ("PENDING", "IN_PROGRESS"):
            try:
                arn = newest["serviceDeploymentArn"]
                self.ecs.stop_service_deployment(serviceDeploymentArn=arn, stopType="ROLLBACK")
            except self.ecs.exceptions.ConflictException:
                pass  # it is being stopped already
        tasks = newest["targetServiceRevision"]
        running, requested = tasks["runningTaskCount"], tasks["requestedTaskCount"]
        return Progress("running", f"{running} of {requested} tasks of {short(self._target(newest))} run", "")

    def _settle(self, service: dict[str, Any], settings: Settings, wanted: Release, newest: dict[str, Any]) -> Progress:
        """The deployment is over: check what runs, and set the counts."""
        revision = newest.get("rollback", {}).get("serviceRevisionArn") or newest["targetServiceRevision"]["arn"]
        images = self._service_revision(revision).get("containerImages", [])
        digests = {i.get("imageDigest") for i in images if i["containerName"] == self.names.container} - {None}
        if digests and digests != {wanted.digest}:
            return Progress("failed", f"ECS runs the image {sorted(map(str, digests))}, not {wanted.digest}")
        count = settings.count(service["desiredCount"])
        if settings.maximum > settings.minimum:
            # Registering a scalable target moves the count into its bounds at once, so this comes after the release.
            # https://docs.aws.amazon.com/autoscaling/application/APIReference/API_RegisterScalableTarget.html
            self.autoscaling.register_scalable_target(
                ServiceNamespace="ecs",
                ResourceId=f"service/{self.names.cluster}/{self.names.service}",
                ScalableDimension="ecs:service:DesiredCount",
                MinCapacity=settings.minimum,
                MaxCapacity=settings.maximum,
            )
        if service["desiredCount"] != count:
            self.ecs.update_service(cluster=self.names.cluster, service=self.names.service, desiredCount=count)
            return Progress("running", f"asked ECS for {count} tasks", "")
        if service["runningCount"] < count:
            return Progress("running", f"{service['runningCount']} of {count} tasks run", "")
        message = f"{short(service['taskDefinition'])} runs {wanted.digest} in {count} tasks"
        return Progress("done", message, image=wanted.image)

    def _stand_down(self, service: dict[str, Any], give_up: bool) -> Progress:
        """No image is wanted, so no task may try to start; but what somebody's mistake left on the air stays there."""
        if service["desiredCount"]:
            if not give_up and not self._failed_at_first():
                raise RuntimeError(
                    f"no image is wanted, but the service runs {short(service['taskDefinition'])}: "
                    f"somebody emptied the parameter {self.registers.prefix}wanted. "
                    "Nothing was changed; release a commit, which fills it again"
                )
            self.ecs.update_service(cluster=self.names.cluster, service=self.names.service, desiredCount=0)
        return Progress("done", "nothing is released, and the service has no tasks")

    def _failed_at_first(self) -> bool:
        """Whether a first release failed, and whoever undid it was cut off."""
        newest = self._newest_deployment()
        failed = newest is not None and newest["status"] not in (*UNDER_WAY, "SUCCESSFUL")
        return failed and self.registers.verified() is None and self._before(newest or {}) is None

    # What ECS says

    def _newest_deployment(self) -> dict[str, Any] | None:
        briefs: list[dict[str, Any]] = []
        page: dict[str, Any] = {"nextToken": ""}
        while "nextToken" in page:  # the order of the list is not documented
            of = {"cluster": self.names.cluster, "service": self.names.service, "maxResults": 100}
            more = {"nextToken": page["nextToken"]} if page["nextToken"] else {}
            page = self.ecs.list_service_deployments(**of, **more)
            briefs += page["serviceDeployments"]
        if not briefs:
            return None
        newest = max(briefs, key=lambda d: seconds(d["createdAt"]))["serviceDeploymentArn"]
        answer = self.ecs.describe_service_deployments(serviceDeploymentArns=[newest])
        deployments: list[dict[str, Any]] = answer["serviceDeployments"]
        return deployments[0] if deployments else None

    def _service_revision(self, arn: str) -> dict[str, Any]:
        answer = self.ecs.describe_service_revisions(serviceRevisionArns=[arn])
        revision: dict[str, Any] = answer["serviceRevisions"][0]
        return revision

    def _target(self, deployment: dict[str, Any]) -> str:
        return str(self._service_revision(deployment["targetServiceRevision"]["arn"])["taskDefinition"])

    def _failure(self, deployment: dict[str, Any], settings: Settings) -> Progress:
        """Why a deployment failed, in ECS's own words, and what ECS does about it."""
        target = self._target(deployment)
        rollback = deployment.get("rollback", {})
        reasons = [deployment.get("statusReason"), rollback.get("reason")]
        alarms = deployment.get("alarms", {}).get("triggeredAlarmNames", [])
        if alarms:
            reasons.append(f"alarms: {', '.join(alarms)}")
        reasons += self._stopped_tasks(target) or self._complaints(seconds(deployment["createdAt"]))
        said = list(dict.fromkeys(r.strip().rstrip(".") for r in reasons if r))
        why = "; ".join(said) or "ECS gave no reason"
        message = f"the deployment of {short(target)} ended {deployment['status']}: {why}."
        ended = rollback.get("startedAt") or deployment.get("stoppedAt") or time.time()
        # A second less, since AWS's times are rounded.
        if seconds(ended) - seconds(deployment["createdAt"]) >= settings.deadline_minutes * 60 - 1:
            message = f"it did not finish within its {settings.deadline_minutes} minutes and was stopped; {message}"
        before = self._before(deployment)
        if before and self._settings(before) != self._settings(target):
            same = self._image(before) == self._image(target)
            fault = "the image did not change, so the new settings are at fault" if same else "either may be at fault"
            message += f" It came with settings that {short(before)} did not have: {fault}."
        image = self._image(before) if before else None
        back = rollback.get("serviceRevisionArn")
        is_back = bool(back) and self._service_revision(back)["taskDefinition"] == before
        return Progress("failed", message, before=image, rolled_back_to=image if is_back else None)

    def _before(self, deployment: dict[str, Any]) -> str | None:
        """The released task definition that ran before, or None when nothing was released then."""
        sources = [r["arn"] for r in deployment.get("sourceServiceRevisions", [])]
        for arn in [deployment.get("rollback", {}).get("serviceRevisionArn"), *sources]:
            if arn:
                task_definition = str(self._service_revision(arn)["taskDefinition"])
                if self._read(task_definition)["family"] == self.names.family:
                    return task_definition
        return None

    def _image(self, task_definition: str) -> str:
        """The image of the released container."""
        containers = self._read(task_definition)["containerDefinitions"]
        return next((str(c["image"]) for c in containers if c["name"] == self.names.container), "")

    def _settings(self, task_definition: str) -> dict[str, Any]:
        """All of a task definition but the image of the released container."""
        definition = self._read(task_definition)
        containers = [
            {**c, "image": None} if c["name"] == self.names.container else c for c in definition["containerDefinitions"]
        ]
        settings: dict[str, Any] = canonical({**content(definition), "containerDefinitions": containers})
        return settings

    def _stopped_tasks(self, task_definition: str) -> list[str]:
        """Why tasks of this revision stopped; ECS remembers that for about an hour."""
        # One page is enough for a reason.
        listed = self.ecs.list_tasks(
            cluster=self.names.cluster, serviceName=self.names.service, desiredStatus="STOPPED"
        )
        if not listed["taskArns"]:
            return []
        tasks = self.ecs.describe_tasks(cluster=self.names.cluster, tasks=listed["taskArns"])["tasks"]
        reasons = []
        for task in tasks:
            if task["taskDefinitionArn"] != task_definition or task.get("stoppedReason", "").startswith(
                "Scaling activity"
            ):
                continue
            parts = [task.get("stoppedReason", "")]
            for container in task["containers"]:
                if container.get("exitCode") is not None:
                    parts.append(f"container {container['name']} exited with {container['exitCode']}")
                if container.get("reason"):
                    parts.append(container["reason"])
            reasons.append(", ".join(p for p in parts if p))
        return list(dict.fromkeys(reasons))[:3]

    def _complaints(self, since: float) -> list[str]:
        """Events of the service that tell of failed health checks."""
        events = [e["message"] for e in self.describe()["events"] if seconds(e["createdAt"]) >= since]
        return [m for m in events if "unhealthy" in m or "failed" in m or "unable" in m][:3]


def content(definition: dict[str, Any]) -> dict[str, Any]:
    """What a task definition says, without what ECS knows of it."""
    return {key: definition[key] for key in REGISTERED if definition.get(key) is not None}


def canonical(value: Any) -> Any:
    """A part of a task definition as it can be compared: ECS reorders named lists, and fills in what is empty."""
    if isinstance(value, dict):
        inner = {key: canonical(item) for key, item in value.items()}
        return {key: item for key, item in inner.items() if item not in (None, [], {})}
    if isinstance(value, list):
        return (
            sorted((canonical(item) for item in value), key=named)
            if all(map(named, value))
            else list(map(canonical, value))
        )
    return value


def named(value: Any) -> str:
    return str(value.get("name", "")) if isinstance(value, dict) else ""


def seconds(at: datetime | float) -> float:
    return at.timestamp() if isinstance(at, datetime) else float(at)


def short(arn: str) -> str:
    """`family:revision` of a task definition's ARN."""
    return arn.rpartition("/")[2]
