"""A service whose tasks ECS replaces itself: rolling, blue/green, canary or linear."""

from __future__ import annotations

import time
from typing import Any

from .contract import Image, Settings, State
from .images import Images
from .reconcile import (
    Broken,
    Goal,
    Names,
    Progress,
    Service,
    Waiting,
    capacity_of,
    desired_count,
    joined,
    network_of,
    seconds,
)
from .state import StateTable
from .task_definitions import short

UNDER_WAY = ("PENDING", "IN_PROGRESS", "STOP_REQUESTED")
ROLLING_BACK = ("ROLLBACK_REQUESTED", "ROLLBACK_IN_PROGRESS")
RULES = ("productionListenerRule", "testListenerRule", "roleArn")
SHOWN_SECONDS = 60
"""How long it may take until ECS lists a new deployment."""


class EcsDeployments(Service):
    deployer = "ECS"

    def __init__(
        self, ecs: Any, autoscaling: Any, table: StateTable, images: Images, names: Names, cloudwatch: Any
    ) -> None:
        super().__init__(ecs, autoscaling, table, images, names)
        self.cloudwatch = cloudwatch
        self._asked: tuple[str, float] | None = None
        """The newest deployment when this run started another one, and the time of that."""

    def newest_created(self) -> float:
        newest = self._newest_deployment()
        return seconds(newest["createdAt"]) if newest else 0

    def live_task_definition(self, service: dict[str, Any]) -> str | None:
        return str(service["taskDefinition"])

    def _look(self, service: dict[str, Any], settings: Settings, state: State, goal: Goal, image: Image) -> Progress:
        definition = self.definitions.released(settings.template, str(image))
        newest = self._newest_deployment()
        if self._is_not_listed_yet(newest):
            return Waiting("waiting for ECS to list the deployment")

        def serves(revision: str | None) -> bool:
            if revision is None:
                return False
            if goal.any_settings:
                found = str(self._service_revision(revision)["taskDefinition"])
                return self.definitions.is_released(found) and self.definitions.image(found) == str(image)
            return self._serves(revision, definition, settings)

        # ECS keeps deployments for 90 days, so a service without changes has none.
        # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/view-service-deployment.html
        if newest is None:
            running = service.get("currentServiceRevisions", [])
            if running and serves(running[0]["arn"]):
                return self._settle(service, settings, state, goal, running[0]["arn"], image)
            return self._update(service, settings, state, definition, newest, goal)

        status, back = newest["status"], newest.get("rollback", {}).get("serviceRevisionArn")
        target = newest["targetServiceRevision"]["arn"]
        if serves(target):
            # A rollback counts once ECS reports its target.
            if status in UNDER_WAY or (status == "ROLLBACK_REQUESTED" and not back):
                return self._under_way(newest, settings)
            if status == "SUCCESSFUL":
                return self._settle(service, settings, state, goal, target, image)
        if status in ROLLING_BACK and (goal.any_settings or not serves(target)) and not self._is_late(newest, settings):
            # Even if its target is another revision: a call now would interrupt the rollback.
            return Waiting("ECS is rolling back")
        later = seconds(newest["createdAt"]) > goal.after
        if status == "ROLLBACK_SUCCESSFUL" and serves(back) and (goal.any_settings or not (later and serves(target))):
            return self._settle(service, settings, state, goal, back, image)
        if serves(target) and later:
            if status == "STOPPED" and self._was_overtaken(newest):
                return Waiting("another deployment took over")
            fallback = self.fallback(goal)
            if not fallback or self._target(newest) == fallback:
                return self._failure(newest, settings, image)
            self._give_up_settings()
            return self._update(service, settings, state, None, newest, goal, fallback=fallback)
        if status in ROLLING_BACK and not self._is_late(newest, settings):
            return Waiting("ECS is rolling back")
        return self._update(service, settings, state, definition, newest, goal, retry=serves(target))

    def _is_not_listed_yet(self, newest: dict[str, Any] | None) -> bool:
        if self._asked is None:
            return False
        before, at = self._asked
        if time.time() - at > SHOWN_SECONDS:
            self._asked = None  # ECS had nothing to deploy
            return False
        return (newest["serviceDeploymentArn"] if newest else "") == before

    def _serves(self, revision: str, definition: dict[str, Any], settings: Settings) -> bool:
        """Whether a service revision has this task definition, and the network and load balancers of the settings.

        https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ServiceRevision.html
        """
        found = self._service_revision(revision)
        return (
            self.definitions.same(found["taskDefinition"], definition)
            and network_of(settings, found["networkConfiguration"]["awsvpcConfiguration"])
            and capacity_of(settings, found)
            and attached(found.get("loadBalancers", []), settings) == attached(settings.load_balancers, settings)
            and is_connected(found, settings)
        )

    def _was_overtaken(self, newest: dict[str, Any]) -> bool:
        """Whether a deployment was stopped because a newer one began, which ECS may list a moment later."""
        time.sleep(5)
        now = self._newest_deployment()
        return now is not None and now["serviceDeploymentArn"] != newest["serviceDeploymentArn"]

    # The steps

    def _update(
        self,
        service: dict[str, Any],
        settings: Settings,
        state: State,
        definition: dict[str, Any] | None,
        newest: dict[str, Any] | None,
        goal: Goal,
        retry: bool = False,
        fallback: str = "",
    ) -> Progress:
        """One call with everything that makes ECS deploy, so that no deployment combines old and new settings."""
        self._check_sdk(settings)
        migrating = self._migrate(service, settings, newest, goal)
        if migrating is not None:
            return migrating
        revision = self.definitions.register(definition) if definition else fallback
        network = service["networkConfiguration"]["awsvpcConfiguration"]
        network = {**network, **settings.network}
        count = desired_count(service, settings, self._bounds(state))
        # Tasks of an earlier revision stay where they could run.
        moves = not fallback and self._moves(service, settings, newest)
        self._deploy(
            newest,
            taskDefinition=revision,
            networkConfiguration={"awsvpcConfiguration": network},
            deploymentConfiguration=settings.deployment,
            availabilityZoneRebalancing=settings.availability_zone_rebalancing,
            # A deployment that failed is retried, but ECS would not start a revision that it already has. Nor does it
            # start one for another capacity; an empty list leads back to the launch type.
            # https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_UpdateService.html
            forceNewDeployment=retry or moves,
            **({"capacityProviderStrategy": settings.capacity} if moves else {}),
            **self._connection(service, settings, newest, fallback),
            # A count that scaling changes in the meantime is kept.
            **({} if count == service["desiredCount"] else {"desiredCount": count}),
            # ECS chooses the target group without traffic, as long as the call names none.
            # https://github.com/hashicorp/terraform-provider-aws/issues/45678
            **(
                {}
                if self._is_attached(service, settings)
                else {"loadBalancers": self._load_balancers(service, settings, newest)}
            ),
        )
        return Waiting(f"deploying {short(revision)}")

    def _moves(self, service: dict[str, Any], settings: Settings, newest: dict[str, Any] | None) -> bool:
        """Whether the service, or its newest revision, has another capacity than the settings."""
        if not settings.capacity and not service.get("capacityProviderStrategy"):
            return False
        revisions = [self._service_revision(newest["targetServiceRevision"]["arn"])] if newest else []
        return not all(capacity_of(settings, each) for each in (service, *revisions))

    def _connection(
        self, service: dict[str, Any], settings: Settings, newest: dict[str, Any] | None, fallback: str
    ) -> dict[str, Any]:
        """What UpdateService is told about Service Connect, which needs a port with a name."""
        wanted = settings.service_connect
        names = {each["portName"] for each in wanted.get("services", [])}
        if wanted and not (fallback and names - self.definitions.port_names(fallback)):
            return {"serviceConnectConfiguration": wanted}
        before = [*service.get("deployments", [])]
        before += [self._service_revision(newest["targetServiceRevision"]["arn"])] if newest else []
        enabled = any((each.get("serviceConnectConfiguration") or {}).get("enabled") for each in before)
        return {"serviceConnectConfiguration": {"enabled": False}} if enabled else {}

    def _deploy(self, newest: dict[str, Any] | None, **changes: Any) -> None:
        self._asked = newest["serviceDeploymentArn"] if newest else "", time.time()
        self._update_service(**changes)

    def newest_tasks(self) -> float:
        return self.newest_created()

    def serving_since(self) -> float:
        return max((seconds(d["createdAt"]) for d in self._listed() if d["status"] == "SUCCESSFUL"), default=0)

    def restart_failed(self, requested: float) -> bool:
        newest = self._newest_deployment()
        return newest is not None and newest["status"] != "SUCCESSFUL" and seconds(newest["createdAt"]) > requested

    def restart(self, state: State) -> bool:
        self._deploy(self._newest_deployment(), forceNewDeployment=True)
        return True

    def _is_attached(self, service: dict[str, Any], settings: Settings) -> bool:
        found = attached(service.get("loadBalancers", []), settings)
        return found == attached(settings.load_balancers, settings)

    def _migrate(
        self, service: dict[str, Any], settings: Settings, newest: dict[str, Any] | None, goal: Goal
    ) -> Progress | None:
        """The step before a change between rolling and a strategy that shifts traffic; None if the change can be made.

        No deployment may be in progress. Before traffic can be shifted, a rolling deployment of the running revision
        gives the service the advanced configuration of its load balancers.
        https://docs.aws.amazon.com/AmazonECS/latest/developerguide/migrate-deployment-strategies.html
        """
        shifts = service["deploymentConfiguration"].get("strategy", "ROLLING") != "ROLLING"
        if shifts == settings.shifts_traffic:
            return None
        if newest is not None and newest["status"] in UNDER_WAY:
            return self._under_way(newest, settings)
        if shifts or self._is_attached(service, settings) or not settings.load_balancers:
            return None
        failed = newest is not None and newest["status"] != "SUCCESSFUL" and seconds(newest["createdAt"]) > goal.after
        if newest is not None and failed and self._is_attached_in(newest, settings):
            return self._failure(newest, settings, None)
        self._deploy(newest, loadBalancers=self._load_balancers(service, settings, newest))
        return Waiting("preparing the load balancer for a strategy that shifts traffic")

    def _is_attached_in(self, deployment: dict[str, Any], settings: Settings) -> bool:
        return self._is_attached(self._service_revision(deployment["targetServiceRevision"]["arn"]), settings)

    def _load_balancers(
        self, service: dict[str, Any], settings: Settings, newest: dict[str, Any] | None
    ) -> list[dict[str, Any]]:
        """The load balancers of the settings, but with the current target groups, so that the traffic stays there until
        ECS shifts it."""
        serving = self._serving_groups(service, newest)
        shifts = any(balancer.get("advancedConfiguration") for balancer in service.get("loadBalancers", []))
        return [
            naming(balancer, pair, serving, shifts)
            for balancer, pair in zip(settings.load_balancers, settings.pairs, strict=True)
        ]

    def _serving_groups(self, service: dict[str, Any], newest: dict[str, Any] | None) -> set[str]:
        """The target groups of the revision in service, which during a deployment is the previous one."""
        revisions = service.get("currentServiceRevisions", [])
        if newest is not None and newest["status"] in UNDER_WAY:
            revisions = newest.get("sourceServiceRevisions", []) or revisions
        for revision in revisions[:1]:
            resolved = self._service_revision(revision["arn"]).get("resolvedConfiguration", {})
            return {balancer["targetGroupArn"] for balancer in resolved.get("loadBalancers", [])}
        return set()

    def _under_way(self, newest: dict[str, Any], settings: Settings) -> Progress:
        late = self._is_late(newest, settings)
        if newest["status"] in ("PENDING", "IN_PROGRESS") and (
            late or self._deployment_failure_threshold_reached(newest, settings)
        ):
            try:
                arn = newest["serviceDeploymentArn"]
                self.ecs.stop_service_deployment(serviceDeploymentArn=arn, stopType="ROLLBACK")
            except self.ecs.exceptions.ConflictException:
                pass  # it is already being stopped
        revision = newest["targetServiceRevision"]
        running, requested = revision["runningTaskCount"], revision["requestedTaskCount"]
        message = f"{running} of {requested} tasks of {short(self._target(newest))} running"
        return Waiting(message + stage(newest))

    def _is_late(self, deployment: dict[str, Any], settings: Settings) -> bool:
        """Whether a deployment or its rollback is past its deadline."""
        rollback = deployment.get("rollback", {}).get("startedAt")
        age = time.time() - seconds(rollback or deployment["createdAt"])
        if age <= settings.deadline_minutes * 60:
            return False
        if rollback:
            return True
        configuration = deployment.get("deploymentConfiguration", {})
        # A deployment keeps the timers with which it began, but the deadline is that of the newest settings.
        timed = not settings.deployment or has(configuration, settings.deployment)
        return timed and age > 60 * (settings.deadline_minutes + self._alarm_minutes(configuration))

    def _alarm_minutes(self, configuration: dict[str, Any]) -> float:
        """How long ECS watches the alarms of a deployment after its tasks are running: the longest of the alarms'
        evaluation periods.

        https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-alarm-failure.html
        """
        alarms = configuration.get("alarms", {})
        if not alarms.get("enable") or not alarms.get("alarmNames"):
            return 0
        answer = self.cloudwatch.describe_alarms(AlarmNames=alarms["alarmNames"], AlarmTypes=["MetricAlarm"])
        return max((watched_minutes(alarm) for alarm in answer["MetricAlarms"]), default=0)

    def _deployment_failure_threshold_reached(self, deployment: dict[str, Any], settings: Settings) -> bool:
        """Whether a deployment that ECS's circuit breaker does not watch has failed."""
        configuration = deployment.get("deploymentConfiguration") or settings.deployment
        if configuration.get("deploymentCircuitBreaker", {}).get("enable"):
            return False
        count = int(deployment["targetServiceRevision"]["requestedTaskCount"])
        return self._failure_threshold_reached(self._target(deployment), count, seconds(deployment["createdAt"]))

    def _settle(
        self, service: dict[str, Any], settings: Settings, state: State, goal: Goal, revision: str, image: Image
    ) -> Progress:
        """The deployment has ended: check what runs, and set what needs no deployment."""
        shown = self._service_revision(revision).get("containerImages", [])
        digests = {i.get("imageDigest") for i in shown if i["containerName"] == self.names.container} - {None}
        if digests and digests != {image.digest} and not digests <= self.images.platforms(image.digest):
            return Broken(f"ECS runs the image {sorted(map(str, digests))}, not {image.digest}")
        if service["desiredCount"] == 0:
            # ECS notices only during a deployment that tasks do not start.
            definition = self.definitions.released(settings.template, str(image))
            return self._update(service, settings, state, definition, self._newest_deployment(), goal, retry=True)
        if not goal.any_settings and not has(service["deploymentConfiguration"], settings.deployment):
            self._check_sdk(settings)
            migrating = self._migrate(service, settings, self._newest_deployment(), goal)
            if migrating is not None:
                return migrating
            self._update_service(
                deploymentConfiguration=settings.deployment,
                availabilityZoneRebalancing=settings.availability_zone_rebalancing,
            )
        return self._count(service, settings, state, service["taskDefinition"], image)

    def _check_sdk(self, settings: Settings) -> None:
        """An SDK that does not know some of the settings would drop them from responses, and every run would deploy
        again."""
        shape = self.ecs.meta.service_model.shape_for("DeploymentConfiguration")
        if strangers := unknown(shape, settings.deployment):
            import boto3  # for its version

            raise RuntimeError(
                f"the AWS SDK of this function, boto3 {boto3.__version__}, does not know {', '.join(strangers)} of "
                "ECS's deployment configuration. Nothing was changed; use a strategy without it, or a newer Lambda "
                "runtime"
            )

    # What ECS reports

    def _listed(self) -> list[dict[str, Any]]:
        """The deployments of the last 90 days, in brief."""
        briefs: list[dict[str, Any]] = []
        page: dict[str, Any] = {"nextToken": ""}
        while "nextToken" in page:  # the order of the list is not documented
            of = {"cluster": self.names.cluster, "service": self.names.service, "maxResults": 100}
            more = {"nextToken": page["nextToken"]} if page["nextToken"] else {}
            page = self.ecs.list_service_deployments(**of, **more)
            briefs += page["serviceDeployments"]
        return briefs

    def _newest_deployment(self) -> dict[str, Any] | None:
        briefs = self._listed()
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

    def _failure(self, deployment: dict[str, Any], settings: Settings, image: Image | None) -> Broken:
        """Why a deployment failed, as ECS reports it, and what ECS does about it."""
        target, created = self._target(deployment), seconds(deployment["createdAt"])
        rollback = deployment.get("rollback", {})
        reasons = [deployment.get("statusReason"), rollback.get("reason")]
        alarms = deployment.get("alarms", {}).get("triggeredAlarmNames", [])
        if alarms:
            reasons.append(f"alarms: {', '.join(alarms)}")
        reasons += self._stopped_tasks(target) or self._health_check_events(created)
        why = joined(reasons) or "ECS gave no reason"
        message = f"the deployment of {short(target)} failed ({deployment['status']}): {why}."
        ended = rollback.get("startedAt") or deployment.get("stoppedAt") or time.time()
        # One second less, because AWS rounds times.
        if seconds(ended) - created >= settings.deadline_minutes * 60 - 1:
            message = f"it did not finish within its {settings.deadline_minutes} minutes and was stopped; {message}"
        sources = self._released([r["arn"] for r in deployment.get("sourceServiceRevisions", [])])
        back = self._released([arn for arn in [rollback.get("serviceRevisionArn")] if arn])
        before = next(iter([*back, *sources]), None)
        return Broken(
            message + self._explain_settings_change(before, target),
            image_at_fault=not self._runs_on(image, [*sources, target, *back], bool(sources and back)),
            rolling_back=deployment["status"] in ROLLING_BACK,
        )

    def _runs_on(self, image: Image | None, revisions: list[str], known: bool) -> bool:
        """Whether the settings failed: the revisions before, in and after the deployment all have the image, and tasks
        of it run (with a count of zero, ECS reports success even for an image that crashes)."""
        same = {self.definitions.image(revision) for revision in revisions} == {str(image)}
        return known and same and self.describe()["runningCount"] > 0

    def _released(self, revisions: list[str]) -> list[str]:
        """The released task definitions of service revisions, without the template that the service was created
        with."""
        found = [str(self._service_revision(arn)["taskDefinition"]) for arn in revisions]
        return [definition for definition in found if self.definitions.is_released(definition)]


def naming(balancer: dict[str, Any], pair: list[str], serving: set[str], shifts: bool) -> dict[str, Any]:
    """A load balancer of the settings with the target group of its pair that is in service, if one is. `shifts` is
    whether the service has a strategy that shifts traffic.

    If a call passes load balancers, ECS registers the new tasks with the target group that is named first.
    """
    if not serving & {*pair}:
        return balancer
    other, current = sorted(pair, key=lambda group: group in serving)
    advanced = balancer.get("advancedConfiguration")
    first, second = (other, current) if advanced and shifts else (current, other)
    beside = {"advancedConfiguration": {**advanced, "alternateTargetGroupArn": second}} if advanced else {}
    return {**balancer, "targetGroupArn": first, **beside}


def attached(balancers: list[dict[str, Any]], settings: Settings) -> list[dict[str, Any]]:
    """The load balancers of a service in a comparable form. Which of the two target groups of a port is named first
    does not matter, because ECS alternates between them; nor does the order of the ports."""
    result = []
    for balancer in balancers:
        advanced = balancer.get("advancedConfiguration") or {}
        groups = {balancer["targetGroupArn"], advanced.get("alternateTargetGroupArn")} - {None}
        result.append(
            {
                "groups": sorted(next((pair for pair in settings.pairs if groups <= {*pair}), groups)),
                "container": (balancer["containerName"], balancer["containerPort"]),
                **{key: advanced.get(key) for key in RULES},
            }
        )
    return sorted(result, key=lambda each: each["groups"])


def is_connected(found: dict[str, Any], settings: Settings) -> bool:
    """Whether a service revision or a deployment has the Service Connect configuration of the settings."""
    configuration = found.get("serviceConnectConfiguration") or {"enabled": False}
    return has(configuration, settings.service_connect or {"enabled": False})


def has(found: Any, wanted: Any) -> bool:
    """Whether AWS's response contains all the expected values, ignoring defaults that AWS adds. Disabled or empty
    values may be missing."""
    if isinstance(wanted, dict):
        shown = {} if found is None else found
        return isinstance(shown, dict) and all(has(shown.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        shown = [] if found is None else found
        return isinstance(shown, list) and len(shown) == len(wanted) and all(map(has, shown, wanted))
    return bool(found == wanted) or (found is None and not wanted)


def unknown(shape: Any, value: Any, path: str = "") -> list[str]:
    """The keys of a document that the SDK's model does not define."""
    if isinstance(value, dict) and shape.type_name == "structure":
        result = []
        for key, each in value.items():
            if key not in shape.members:
                result.append(f"{path}{key}")
            else:
                result += unknown(shape.members[key], each, f"{path}{key}.")
        return result
    if isinstance(value, list) and shape.type_name == "list":
        return [name for each in value for name in unknown(shape.member, each, path)]
    return []


def watched_minutes(alarm: dict[str, Any]) -> float:
    """Minutes covered by an alarm's evaluation periods, those of its metric or of the longest in its expression."""
    periods = [m.get("Period") or m.get("MetricStat", {}).get("Period") for m in alarm.get("Metrics", [])]
    period = alarm.get("Period") or max((p for p in periods if p), default=60)
    return float(period * alarm.get("EvaluationPeriods", 1) / 60)


def stage(deployment: dict[str, Any]) -> str:
    """The progress of a deployment that shifts traffic, and what it waits for."""
    text = f" ({deployment['lifecycleStage']})" if "lifecycleStage" in deployment else ""
    for hook in deployment.get("lifecycleHookDetails", []):
        if hook.get("targetType") == "PAUSE" and hook.get("status") == "AWAITING_ACTION":
            text += (
                "; it is paused until somebody runs aws ecs continue-service-deployment --action CONTINUE "
                f"--hook-id {hook['hookId']} --service-deployment-arn {deployment['serviceDeploymentArn']}"
            )
    return text
