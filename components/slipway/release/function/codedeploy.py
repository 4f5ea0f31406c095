"""A service whose tasks CodeDeploy replaces: a second set of tasks, to which it shifts the traffic.

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

from .reconcile import Names, Progress, Service, joined, network_of, seconds
from .state import Registers, Release, Settings
from .task_definitions import short

UNDER_WAY = ["Created", "Queued", "InProgress", "Baking", "Ready"]
FAILED = ["Failed", "Stopped"]
PLACEHOLDER = "IMAGE1_NAME"
"""What stands for the image in the task definition that CodePipeline registers, `<IMAGE1_NAME>`."""


class CodeDeployDeployments(Service):
    deployer = "CodeDeploy"

    def __init__(
        self, ecs: Any, autoscaling: Any, registers: Registers, names: Names, codedeploy: Any, group: dict[str, str]
    ) -> None:
        super().__init__(ecs, autoscaling, registers, names)
        self.codedeploy, self.group = codedeploy, group

    def artifact(self) -> bytes:
        """What CodePipeline's action deploys: the newest template with the wanted image, as three files in a zip.

        https://docs.aws.amazon.com/codepipeline/latest/userguide/file-reference.html
        """
        settings, wanted = self.registers.settings(), self.registers.wanted()
        if wanted is None:
            raise RuntimeError("no image is wanted, so there is nothing to deploy")
        definition = self.definitions.wanted(settings, f"<{PLACEHOLDER}>")
        definition = {key: value for key, value in definition.items() if key != "tags" or value}
        files = {
            "taskdef.json": {"family": self.names.family, **definition},
            "appspec.yaml": self._appspec("<TASK_DEFINITION>", settings),  # JSON is YAML too
            "imageDetail.json": {"ImageURI": wanted.image},
        }
        body = io.BytesIO()
        with zipfile.ZipFile(body, "w") as archive:
            for name, text in files.items():
                archive.writestr(name, json.dumps(text, indent=1))
        return body.getvalue()

    def _advance(
        self,
        service: dict[str, Any],
        settings: Settings,
        wanted: Release,
        definition: dict[str, Any],
        after: str | None,
    ) -> Progress:
        under_way = self._deployments(UNDER_WAY)
        if under_way:
            return self._under_way(under_way[0], settings)
        primary = self._primary(service)
        if primary and self._serves(primary, definition, settings):
            return self._settle(service, settings, wanted, primary)
        if after and (deployment := self._deployment(after))["status"] in FAILED:
            return self._failure(deployment, service, definition)
        if not after and self._failed_unseen(wanted, primary):
            return self._drop(wanted)
        revision = self.definitions.register(definition)
        content = json.dumps(self._appspec(revision, settings), sort_keys=True)
        try:
            answer = self.codedeploy.create_deployment(
                **self.group, revision={"revisionType": "AppSpecContent", "appSpecContent": {"content": content}}
            )
        except self.codedeploy.exceptions.DeploymentLimitExceededException:
            return Progress("running", "waiting for another deployment of CodeDeploy", after)
        return Progress("running", f"asked CodeDeploy to deploy {short(revision)}", answer["deploymentId"])

    def _failed_unseen(self, wanted: Release, primary: dict[str, Any] | None) -> bool:
        """Whether the wanted image failed in CodePipeline's action, which deploys without the function."""
        verified = self.registers.verified()
        if wanted == (verified and verified.release):
            return False
        if primary and self.definitions.image(primary["taskDefinition"]) == wanted.image:
            return False
        return bool(self._deployments(FAILED, since=wanted.begun))

    def _drop(self, wanted: Release) -> Progress:
        """Want the last verified image again."""
        verified = self.registers.verified()
        self.registers.want(verified.release if verified else None)
        back = verified.release.image if verified else "no image"
        return Progress("running", f"CodeDeploy could not deploy {wanted.image}; {back} is wanted again")

    def _serves(self, primary: dict[str, Any], definition: dict[str, Any], settings: Settings) -> bool:
        network = primary["networkConfiguration"]["awsvpcConfiguration"]
        return self.definitions.says(primary["taskDefinition"], definition) and network_of(settings, network)

    def _under_way(self, id: str, settings: Settings) -> Progress:
        deployment = self._deployment(id)
        is_rollback = deployment.get("creator") == "codeDeployRollback"
        late = time.time() - seconds(deployment["createTime"]) > settings.deadline_minutes * 60
        if late and not is_rollback:
            with suppress(self.codedeploy.exceptions.DeploymentAlreadyCompletedException):
                self.codedeploy.stop_deployment(deploymentId=id, autoRollbackEnabled=True)
        failed = deployment.get("rollbackInfo", {}).get("rollbackTriggeringDeploymentId")
        message = f"CodeDeploy's deployment {id} is {deployment['status']}"
        return Progress("running", message, failed if is_rollback else id)

    def _settle(
        self, service: dict[str, Any], settings: Settings, wanted: Release, primary: dict[str, Any]
    ) -> Progress:
        progress = self._count(service, settings, primary["taskDefinition"], wanted)
        # Nothing rolls back tasks that are started outside of a deployment, as those of the first release are.
        failed = progress.state == "running" and service["runningCount"] < service["desiredCount"]
        if failed and self._are_hopeless(primary["taskDefinition"], service["desiredCount"], wanted.begun):
            why = joined([*self._stopped_tasks(primary["taskDefinition"])])
            return Progress("failed", f"{progress.message}: {why}.")
        return progress

    def _failure(self, deployment: dict[str, Any], service: dict[str, Any], definition: dict[str, Any]) -> Progress:
        """Why a deployment failed, in CodeDeploy's own words; what ran before is the primary task set again."""
        error = deployment.get("errorInformation", {})
        target = self.definitions.register(definition)
        reasons = [error.get("message"), deployment.get("rollbackInfo", {}).get("rollbackMessage")]
        reasons += self._stopped_tasks(target) or self._complaints(seconds(deployment["createTime"]))
        why = joined(reasons) or "CodeDeploy gave no reason"
        primary = self._primary(service)
        before = primary["taskDefinition"] if primary else None
        before = before if before and self.definitions.is_released(before) else None
        image = self.definitions.image(before) if before else None
        message = f"CodeDeploy's deployment {deployment['deploymentId']} ended {deployment['status']}: {why}."
        return Progress("failed", message + self._blame(before, target), before=image, rolled_back_to=image)

    def _failed_at_first(self) -> bool:
        primary = self._primary(self.describe())
        return self.registers.verified() is None and primary is not None

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
                    "AssignPublicIp": "DISABLED",
                }
            },
        }
        service = {"TargetService": {"Type": "AWS::ECS::Service", "Properties": properties}}
        return {"version": 0.0, "Resources": [service]}

    # What CodeDeploy and ECS say

    def _deployments(self, statuses: list[str], since: float = 0) -> list[str]:
        """Ids of deployments of the group, in no order that is documented."""
        ids: list[str] = []
        # Whole seconds: a datetime rounds to microseconds, which may be later than the time it is made from.
        span = {"createTimeRange": {"start": datetime.fromtimestamp(int(since), UTC)}} if since else {}
        pages = self.codedeploy.get_paginator("list_deployments")
        for page in pages.paginate(**self.group, includeOnlyStatuses=statuses, **span):
            ids += page["deployments"]
        return ids

    def _deployment(self, id: str) -> dict[str, Any]:
        info: dict[str, Any] = self.codedeploy.get_deployment(deploymentId=id)["deploymentInfo"]
        return info

    def _primary(self, service: dict[str, Any]) -> dict[str, Any] | None:
        return next((s for s in service.get("taskSets", []) if s["status"] == "PRIMARY"), None)
