"""A service whose tasks ECS replaces by itself: rolling, blue/green, canary or linear."""

from __future__ import annotations

import time
from typing import Any

from .reconcile import Progress, Service, joined, network_of, seconds
from .state import Release, Settings
from .task_definitions import short

UNDER_WAY = ("PENDING", "IN_PROGRESS", "STOP_REQUESTED")
RULES = ("productionListenerRule", "testListenerRule", "roleArn")


class EcsDeployments(Service):
    deployer = "ECS"

    def _advance(
        self,
        service: dict[str, Any],
        settings: Settings,
        wanted: Release,
        definition: dict[str, Any],
        after: str | None,
    ) -> Progress:
        newest = self._newest_deployment()
        running = service.get("currentServiceRevisions", [])
        # ECS keeps the deployments of 90 days, so a service that nobody touched has none.
        # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/view-service-deployment.html
        if newest is None and running and self._serves(running[0]["arn"], definition, settings):
            return self._settle(service, settings, wanted, running[0]["arn"])
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
        revision = newest.get("rollback", {}).get("serviceRevisionArn") or newest["targetServiceRevision"]["arn"]
        return self._settle(service, settings, wanted, revision)

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
        return (
            self.definitions.says(found["taskDefinition"], definition)
            and network_of(settings, found["networkConfiguration"]["awsvpcConfiguration"])
            and attached(found.get("loadBalancers", []), settings) == attached(settings.load_balancers, settings)
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
        definition: dict[str, Any],
        newest: dict[str, Any] | None,
        retry: bool,
    ) -> Progress:
        """One call that changes all that makes ECS deploy, so that no deployment mixes old settings with new."""
        revision = self.definitions.register(definition)
        network = service["networkConfiguration"]["awsvpcConfiguration"]
        network = {**network, "subnets": settings.subnets, "securityGroups": settings.security_groups}
        count = settings.count(service["desiredCount"])
        balancers = attached(service.get("loadBalancers", []), settings) == attached(settings.load_balancers, settings)
        self.ecs.update_service(
            cluster=self.names.cluster,
            service=self.names.service,
            taskDefinition=revision,
            networkConfiguration={"awsvpcConfiguration": network},
            deploymentConfiguration=settings.deployment,
            availabilityZoneRebalancing=settings.availability_zone_rebalancing,
            # What failed before we were called is tried again; ECS would not start what it has already.
            forceNewDeployment=retry,
            # A count that scaling changes meanwhile is left alone.
            **({} if count == service["desiredCount"] else {"desiredCount": count}),
            # Of its two target groups ECS takes the one without traffic, as long as no call names one.
            # https://github.com/hashicorp/terraform-provider-aws/issues/45678
            **({} if balancers else {"loadBalancers": self._load_balancers(service, settings, newest)}),
        )
        after = newest["serviceDeploymentArn"] if newest else ""
        return Progress("running", f"asked ECS to deploy {short(revision)}", after)

    def _load_balancers(
        self, service: dict[str, Any], settings: Settings, newest: dict[str, Any] | None
    ) -> list[dict[str, Any]]:
        """As the settings say, but so that the traffic stays where it is until ECS shifts it.

        Where a call names load balancers, ECS puts the new tasks into the group that is named first.
        """
        serving = self._serving_group(service, newest)
        if serving not in settings.target_groups:
            return settings.load_balancers
        [other] = [group for group in settings.target_groups if group != serving]
        shifts = any(balancer.get("advancedConfiguration") for balancer in service.get("loadBalancers", []))
        balancers = []
        for balancer in settings.load_balancers:
            advanced = balancer.get("advancedConfiguration")
            first, second = (other, serving) if advanced and shifts else (serving, other)
            beside = {"advancedConfiguration": {**advanced, "alternateTargetGroupArn": second}} if advanced else {}
            balancers.append({**balancer, "targetGroupArn": first, **beside})
        return balancers

    def _serving_group(self, service: dict[str, Any], newest: dict[str, Any] | None) -> str | None:
        """The target group of the revision in service: of the one before, while a deployment is under way."""
        revisions = service.get("currentServiceRevisions", [])
        if newest is not None and newest["status"] in UNDER_WAY:
            revisions = newest.get("sourceServiceRevisions", []) or revisions
        for revision in revisions[:1]:
            resolved = self._service_revision(revision["arn"]).get("resolvedConfiguration", {})
            for balancer in resolved.get("loadBalancers", []):
                return str(balancer["targetGroupArn"])
        return None

    def _under_way(self, newest: dict[str, Any], settings: Settings) -> Progress:
        rollback = newest.get("rollback", {}).get("startedAt")
        # A deployment goes by the timers that it began with, and these are the newest.
        timed = has(newest.get("deploymentConfiguration", {}), settings.deployment)
        late = timed and time.time() - seconds(rollback or newest["createdAt"]) > settings.deadline_minutes * 60
        if late and rollback:
            return self._failure(newest, settings)
        if newest["status"] in ("PENDING", "IN_PROGRESS") and (late or self._is_hopeless(newest, settings)):
            try:
                arn = newest["serviceDeploymentArn"]
                self.ecs.stop_service_deployment(serviceDeploymentArn=arn, stopType="ROLLBACK")
            except self.ecs.exceptions.ConflictException:
                pass  # it is being stopped already
        tasks = newest["targetServiceRevision"]
        running, requested = tasks["runningTaskCount"], tasks["requestedTaskCount"]
        message = f"{running} of {requested} tasks of {short(self._target(newest))} run"
        return Progress("running", message + stage(newest), "")

    def _is_hopeless(self, deployment: dict[str, Any], settings: Settings) -> bool:
        """Whether a deployment that ECS's circuit breaker does not watch over has failed all the same."""
        if settings.deployment["deploymentCircuitBreaker"]["enable"]:
            return False
        count = int(deployment["targetServiceRevision"]["requestedTaskCount"])
        return self._are_hopeless(self._target(deployment), count, seconds(deployment["createdAt"]))

    def _settle(self, service: dict[str, Any], settings: Settings, wanted: Release, revision: str) -> Progress:
        """The deployment is over: check what runs, and set what needs no deployment."""
        images = self._service_revision(revision).get("containerImages", [])
        digests = {i.get("imageDigest") for i in images if i["containerName"] == self.names.container} - {None}
        if digests and digests != {wanted.digest}:
            return Progress("failed", f"ECS runs the image {sorted(map(str, digests))}, not {wanted.digest}")
        if not has(service["deploymentConfiguration"], settings.deployment):
            self.ecs.update_service(
                cluster=self.names.cluster,
                service=self.names.service,
                deploymentConfiguration=settings.deployment,
                availabilityZoneRebalancing=settings.availability_zone_rebalancing,
            )
        return self._count(service, settings, service["taskDefinition"], wanted)

    def _failed_at_first(self) -> bool:
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
        why = joined(reasons) or "ECS gave no reason"
        message = f"the deployment of {short(target)} ended {deployment['status']}: {why}."
        ended = rollback.get("startedAt") or deployment.get("stoppedAt") or time.time()
        # A second less, since AWS's times are rounded.
        if seconds(ended) - seconds(deployment["createdAt"]) >= settings.deadline_minutes * 60 - 1:
            message = f"it did not finish within its {settings.deadline_minutes} minutes and was stopped; {message}"
        before = self._before(deployment)
        image = self.definitions.image(before) if before else None
        back = rollback.get("serviceRevisionArn")
        going_back = bool(back) and deployment["status"] != "ROLLBACK_FAILED"
        is_back = going_back and self._service_revision(back)["taskDefinition"] == before
        return Progress(
            "failed",
            message + self._blame(before, target),
            before=image,
            rolled_back_to=image if is_back else None,
        )

    def _before(self, deployment: dict[str, Any]) -> str | None:
        """The released task definition that ran before, or None when nothing was released then."""
        sources = [r["arn"] for r in deployment.get("sourceServiceRevisions", [])]
        for arn in [deployment.get("rollback", {}).get("serviceRevisionArn"), *sources]:
            if arn:
                task_definition = str(self._service_revision(arn)["taskDefinition"])
                if self.definitions.is_released(task_definition):
                    return task_definition
        return None


def attached(balancers: list[dict[str, Any]], settings: Settings) -> list[dict[str, Any]]:
    """What load balancers of a service come to. Which of the service's own two target groups is named first does not
    matter: ECS takes them in turn."""
    result = []
    for balancer in balancers:
        advanced = balancer.get("advancedConfiguration") or {}
        groups = {balancer["targetGroupArn"], advanced.get("alternateTargetGroupArn")} - {None}
        result.append(
            {
                "groups": sorted(settings.target_groups if groups <= set(settings.target_groups) else groups),
                "container": (balancer["containerName"], balancer["containerPort"]),
                **{key: advanced.get(key) for key in RULES},
            }
        )
    return result


def has(found: Any, wanted: Any) -> bool:
    """Whether what AWS shows has all that is wanted beside its own defaults; what is off or empty may be missing."""
    if isinstance(wanted, dict):
        shown = {} if found is None else found
        return isinstance(shown, dict) and all(has(shown.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        shown = [] if found is None else found
        return isinstance(shown, list) and len(shown) == len(wanted) and all(map(has, shown, wanted))
    return bool(found == wanted) or (found is None and not wanted)


def stage(deployment: dict[str, Any]) -> str:
    """Where a deployment is that shifts traffic, and what it waits for."""
    told = f" ({deployment['lifecycleStage']})" if "lifecycleStage" in deployment else ""
    for hook in deployment.get("lifecycleHookDetails", []):
        if hook.get("targetType") == "PAUSE" and hook.get("status") == "AWAITING_ACTION":
            told += (
                "; it is paused until somebody runs aws ecs continue-service-deployment --action CONTINUE "
                f"--hook-id {hook['hookId']} --service-deployment-arn {deployment['serviceDeploymentArn']}"
            )
    return told
