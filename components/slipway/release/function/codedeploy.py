"""A service whose tasks CodeDeploy replaces: it starts a second set of tasks, and shifts the traffic to it.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-type-bluegreen.html
"""

from __future__ import annotations

import io
import json
import time
import zipfile
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from .contract import IMAGE_PLACEHOLDER, Image, Settings, State
from .images import Images
from .reconcile import Broken, Goal, Live, Names, Progress, Service, Waiting, joined, network_of, seconds, tasks
from .state import StateTable
from .task_definitions import short

UNDER_WAY = ["Created", "Queued", "InProgress", "Baking", "Ready"]
FAILED = ["Failed", "Stopped"]
ROLLBACK = "codeDeployRollback"
OCCUPIED = Waiting("waiting for another deployment of CodeDeploy")
"""Creator of the deployments with which CodeDeploy rolls back."""
REMEMBERED_SECONDS = 86_400
"""Deployments that began earlier than this have ended."""


class CodeDeployDeployments(Service):
    deployer = "CodeDeploy"

    def __init__(
        self,
        ecs: Any,
        autoscaling: Any,
        table: StateTable,
        images: Images,
        names: Names,
        codedeploy: Any,
        group: dict[str, str],
    ) -> None:
        super().__init__(ecs, autoscaling, table, images, names)
        self.codedeploy, self.group = codedeploy, group

    def artifact(self, settings: Settings, image: Image) -> bytes:
        """The artifact for CodePipeline's action: the newest template with an image, as three files in a zip archive.

        https://docs.aws.amazon.com/codepipeline/latest/userguide/file-reference.html
        """
        definition = self.definitions.released(settings.template, f"<{IMAGE_PLACEHOLDER}>")
        definition = {key: value for key, value in definition.items() if key != "tags" or value}
        files = {
            "taskdef.json": {"family": self.names.family, **definition},
            "appspec.yaml": self._appspec("<TASK_DEFINITION>", settings),  # JSON is YAML too
            "imageDetail.json": {"ImageURI": str(image)},
        }
        body = io.BytesIO()
        with zipfile.ZipFile(body, "w") as archive:
            for name, text in files.items():
                archive.writestr(name, json.dumps(text, indent=1))
        return body.getvalue()

    def newest_created(self) -> float:
        since = self._since()
        created = [seconds(self._deployment(id)["createTime"]) for id in self._deployments(since=since)]
        return max(created, default=since)

    def _since(self) -> float:
        return time.time() - REMEMBERED_SECONDS

    def live_task_definition(self, service: dict[str, Any]) -> str | None:
        primary = self._primary(service)
        return str(primary["taskDefinition"]) if primary else None

    def _look(self, service: dict[str, Any], settings: Settings, state: State, goal: Goal, image: Image) -> Progress:
        under_way = self._deployments(UNDER_WAY)
        if under_way:
            return self._under_way(under_way[0], settings)
        definition, primary = self.definitions.released(settings.template, str(image)), self._primary(service)
        if primary and self._serves(primary, definition, settings, goal, image):
            return self._settle(service, settings, state, goal, primary, image)
        failed = self._failed(definition, goal)
        if failed is not None:
            fallback = self.fallback(goal)
            if not fallback or self._target(failed) == fallback:
                return self._failure(failed, service, definition, image)
            self._give_up_settings()
            return self._create(fallback, settings)
        return self._create(self.definitions.register(definition), settings)

    def _create(self, revision: str, settings: Settings) -> Progress:
        content = json.dumps(self._appspec(revision, settings), sort_keys=True)
        try:
            self.deployed = True
            self.codedeploy.create_deployment(
                **self.group, revision={"revisionType": "AppSpecContent", "appSpecContent": {"content": content}}
            )
        except self.codedeploy.exceptions.DeploymentLimitExceededException:
            return OCCUPIED
        return Waiting(f"deploying with CodeDeploy: {short(revision)}")

    def newest_tasks(self) -> float:
        created = [seconds(self._deployment(id)["createTime"]) for id in self._deployments(since=self._since())]
        return max([*created, *(seconds(s["createdAt"]) for s in self.describe().get("taskSets", []))], default=0)

    def serving_since(self) -> float:
        primary = self._primary(self.describe())
        return seconds(primary["createdAt"]) if primary else 0

    def restart_failed(self, requested: float) -> bool:
        failed = self._deployments(FAILED, since=max(requested, self._since()))
        return any(seconds(self._deployment(id)["createTime"]) > requested for id in failed)

    def restart(self, state: State) -> bool:
        primary = self._primary(self.describe())
        return primary is not None and (
            self._create(str(primary["taskDefinition"]), self.table.settings(state)) is not OCCUPIED
        )

    def _serves(
        self, primary: dict[str, Any], definition: dict[str, Any], settings: Settings, goal: Goal, image: Image
    ) -> bool:
        found = str(primary["taskDefinition"])
        if goal.any_settings:
            return self.definitions.is_released(found) and self.definitions.image(found) == str(image)
        network = primary["networkConfiguration"]["awsvpcConfiguration"]
        return self.definitions.same(found, definition) and network_of(settings, network)

    def _failed(self, definition: dict[str, Any], goal: Goal) -> dict[str, Any] | None:
        """The newest deployment if it failed, and was created for this goal after the goal was set."""
        deployments = [self._deployment(id) for id in self._deployments(FAILED, since=goal.after)]
        later = [d for d in deployments if seconds(d["createTime"]) > goal.after and d.get("creator") != ROLLBACK]
        newest = max(later, key=lambda d: seconds(d["createTime"]), default=None)
        if newest is None:
            return None
        target = self._target(newest)
        # The revision that CodePipeline's action deployed is stored elsewhere; it belongs to the release.
        return newest if target is None or goal.any_settings or self.definitions.same(target, definition) else None

    def _target(self, deployment: dict[str, Any]) -> str | None:
        """The task definition of a deployment, from where CodeDeploy stores it."""
        revision = deployment.get("revision", {})
        content = revision.get("appSpecContent", revision.get("string", {})).get("content", "")
        try:
            [resource] = json.loads(content)["Resources"]
            return str(resource["TargetService"]["Properties"]["TaskDefinition"])
        except (KeyError, TypeError, ValueError):
            return None

    def _under_way(self, id: str, settings: Settings) -> Progress:
        deployment = self._deployment(id)
        late = time.time() - seconds(deployment["createTime"]) > settings.deadline_minutes * 60
        if late and deployment.get("creator") != ROLLBACK:
            with suppress(self.codedeploy.exceptions.DeploymentAlreadyCompletedException):
                self.codedeploy.stop_deployment(deploymentId=id, autoRollbackEnabled=True)
        return Waiting(f"CodeDeploy's deployment {id} is {deployment['status']}")

    def _settle(
        self,
        service: dict[str, Any],
        settings: Settings,
        state: State,
        goal: Goal,
        primary: dict[str, Any],
        image: Image,
    ) -> Progress:
        progress = self._count(service, settings, state, primary["taskDefinition"], image)
        # Running is not enough: outside a deployment, nobody waits for health checks.
        # https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_TaskSet.html
        if isinstance(progress, Live) and primary["stabilityStatus"] != "STEADY_STATE":
            progress = Waiting(f"waiting for {tasks(service['desiredCount'])} to be healthy")
        # Nobody rolls back tasks that start outside a deployment, like those of the first release.
        failing = isinstance(progress, Waiting) and service["desiredCount"] > 0
        since = state.claim.since if state.claim and state.claim.active else goal.after
        if failing and self._failure_threshold_reached(primary["taskDefinition"], service["desiredCount"], since):
            why = joined([*self._stopped_tasks(primary["taskDefinition"], since)])
            return Broken(f"{progress.message}: {why}.")
        return progress

    def _failure(
        self, deployment: dict[str, Any], service: dict[str, Any], definition: dict[str, Any], image: Image
    ) -> Broken:
        """Why a deployment failed, as CodeDeploy reports it. The previous task set is primary again."""
        error = deployment.get("errorInformation", {})
        target = self.definitions.register(definition)
        reasons = [error.get("message"), deployment.get("rollbackInfo", {}).get("rollbackMessage")]
        reasons += self._stopped_tasks(target) or self._health_check_events(seconds(deployment["createTime"]))
        why = joined(reasons) or "CodeDeploy gave no reason"
        primary = self._primary(service)
        before = str(primary["taskDefinition"]) if primary else None
        before = before if before and self.definitions.is_released(before) else None
        message = f"CodeDeploy's deployment {deployment['deploymentId']} failed ({deployment['status']}): {why}."
        runs = before is not None and self.definitions.image(before) == str(image) and service["runningCount"] > 0
        return Broken(message + self._explain_settings_change(before, target), image_at_fault=not runs)

    def _appspec(self, task_definition: str, settings: Settings) -> dict[str, Any]:
        """https://docs.aws.amazon.com/codedeploy/latest/userguide/reference-appspec-file-structure-resources.html"""
        [balancer] = settings.load_balancers
        properties = {
            "TaskDefinition": task_definition,
            "LoadBalancerInfo": {
                "ContainerName": balancer["containerName"],
                "ContainerPort": balancer["containerPort"],
            },
            "NetworkConfiguration": {
                "AwsvpcConfiguration": {
                    "Subnets": settings.subnets,
                    "SecurityGroups": settings.security_groups,
                    "AssignPublicIp": settings.network["assignPublicIp"],
                }
            },
        }
        service = {"TargetService": {"Type": "AWS::ECS::Service", "Properties": properties}}
        return {"version": 0.0, "Resources": [service]}

    # What CodeDeploy and ECS report

    def _deployments(self, statuses: list[str] | None = None, since: float = 0) -> list[str]:
        """IDs of the group's deployments. Their order is not documented."""
        ids: list[str] = []
        only = {"includeOnlyStatuses": statuses} if statuses else {}
        # Whole seconds: a datetime rounds to microseconds, which can be later than the original time.
        span = {"createTimeRange": {"start": datetime.fromtimestamp(int(since), UTC)}} if since else {}
        pages = self.codedeploy.get_paginator("list_deployments")
        for page in pages.paginate(**self.group, **only, **span):
            ids += page["deployments"]
        return ids

    def _deployment(self, id: str) -> dict[str, Any]:
        info: dict[str, Any] = self.codedeploy.get_deployment(deploymentId=id)["deploymentInfo"]
        return info

    def _primary(self, service: dict[str, Any]) -> dict[str, Any] | None:
        return next((s for s in service.get("taskSets", []) if s["status"] == "PRIMARY"), None)
