"""The requests to CodeDeploy, and how its responses are interpreted; whole releases are in schedules."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from slipway.release.function import codedeploy as module
from slipway.release.function.codedeploy import ROLLBACK, CodeDeployDeployments
from slipway.release.function.images import Images
from slipway.release.function.processes import Processes
from slipway.release.function.reconcile import Goal, Names, Waiting
from unit.releases import NEW, NOW, SETTINGS, STATE, KeptTable, client, stubbed

GROUP = {"applicationName": "shop-dev", "deploymentGroupName": "shop-dev"}
BALANCED = replace(
    SETTINGS, load_balancers=[{"targetGroupArn": "arn:g", "containerName": "app", "containerPort": 8080}]
)
REVISION = "arn:aws:ecs:eu-west-1:123456789012:task-definition/shop-dev:7"


@pytest.fixture
def codedeploy(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: NOW))
    with stubbed("codedeploy") as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def service() -> CodeDeployDeployments:
    names = Names(cluster="shop", service="shop-dev", family="shop-dev", container="app")
    return CodeDeployDeployments(None, None, KeptTable(), Images(None, "shop"), names, client("codedeploy"), GROUP)


def appspec(revision: str = REVISION) -> dict[str, Any]:
    network = {"Subnets": SETTINGS.subnets, "SecurityGroups": SETTINGS.security_groups, "AssignPublicIp": "DISABLED"}
    properties = {
        "TaskDefinition": revision,
        "LoadBalancerInfo": {"ContainerName": "app", "ContainerPort": 8080},
        "NetworkConfiguration": {"AwsvpcConfiguration": network},
    }
    return {
        "version": 0.0,
        "Resources": [{"TargetService": {"Type": "AWS::ECS::Service", "Properties": properties}}],
    }


def info(codedeploy: Any, id: str, created: float, status: str = "Failed", **more: Any) -> None:
    found = {"deploymentId": id, "createTime": datetime.fromtimestamp(created, UTC), "status": status, **more}
    codedeploy.add_response("get_deployment", {"deploymentInfo": found}, {"deploymentId": id})


def since(moment: int) -> dict[str, Any]:
    return {"createTimeRange": {"start": datetime.fromtimestamp(moment, UTC)}}


def test_a_deployment_is_requested_with_its_appspec(codedeploy: Any) -> None:
    content = json.dumps(appspec(), sort_keys=True)
    revision = {"revisionType": "AppSpecContent", "appSpecContent": {"content": content}}
    codedeploy.add_response("create_deployment", {"deploymentId": "d-1"}, {**GROUP, "revision": revision})
    deployments = service()
    assert deployments._create(REVISION, BALANCED) == Waiting("deploying with CodeDeploy: shop-dev:7")
    assert deployments.deployed is True


def test_another_deployment_in_progress_is_waited_for(codedeploy: Any) -> None:
    codedeploy.add_client_error("create_deployment", "DeploymentLimitExceededException")
    assert service()._create(REVISION, BALANCED) == Waiting("waiting for another deployment of CodeDeploy")


def test_deployments_are_listed_from_the_whole_second_on_and_on_all_pages(codedeploy: Any) -> None:
    # A datetime rounds to microseconds, which may be later than the time that it was created from.
    request = {**GROUP, "includeOnlyStatuses": ["Failed"], **since(1767226271)}
    codedeploy.add_response("list_deployments", {"deployments": ["d-1"], "nextToken": "2"}, request)
    codedeploy.add_response("list_deployments", {"deployments": ["d-2"]}, {**request, "nextToken": "2"})
    assert service()._deployments(["Failed"], since=1767226271.8618157) == ["d-1", "d-2"]


def test_the_newest_deployment_of_a_day_counts_whatever_the_order_of_the_list(codedeploy: Any) -> None:
    day = int(NOW) - 86_400
    codedeploy.add_response("list_deployments", {"deployments": ["d-1", "d-2", "d-3"]}, {**GROUP, **since(day)})
    for id, created in (("d-1", NOW - 50), ("d-2", NOW - 5), ("d-3", NOW - 500)):
        info(codedeploy, id, created, "Succeeded")
    assert service().newest_created() == NOW - 5


def test_without_a_deployment_on_the_last_day_a_later_one_is_new(codedeploy: Any) -> None:
    codedeploy.add_response("list_deployments", {"deployments": []}, {**GROUP, **since(int(NOW) - 86_400)})
    assert service().newest_created() == NOW - 86_400


def sets(monkeypatch: pytest.MonkeyPatch, **created: float) -> None:
    found = [{"status": status, "createdAt": at, "taskDefinition": REVISION} for status, at in created.items()]
    monkeypatch.setattr(CodeDeployDeployments, "describe", lambda self: {"taskSets": found})


@pytest.mark.parametrize("deployed", [NOW - 50, NOW - 5])
def test_the_newest_tasks_are_those_of_any_task_set_and_deployment_and_the_primary_serves(
    codedeploy: Any, monkeypatch: pytest.MonkeyPatch, deployed: float
) -> None:
    codedeploy.add_response("list_deployments", {"deployments": ["d-1"]}, {**GROUP, **since(int(NOW) - 86_400)})
    info(codedeploy, "d-1", deployed)
    sets(monkeypatch, PRIMARY=NOW - 700, ACTIVE=NOW - 40)
    deployments = service()
    assert (deployments.newest_tasks(), deployments.serving_since()) == (max(deployed, NOW - 40), NOW - 700)


def test_without_tasks_none_are_new(codedeploy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    codedeploy.add_response("list_deployments", {"deployments": []}, {**GROUP, **since(int(NOW) - 86_400)})
    sets(monkeypatch)
    deployments = service()
    assert (deployments.newest_tasks(), deployments.serving_since()) == (0, 0)


@pytest.mark.parametrize("occupied", [True, False])
def test_a_restart_is_requested_until_its_deployment_is_created(
    codedeploy: Any, monkeypatch: pytest.MonkeyPatch, occupied: bool
) -> None:
    sets(monkeypatch, PRIMARY=NOW - 700)
    if occupied:
        codedeploy.add_client_error("create_deployment", "DeploymentLimitExceededException")
    else:
        codedeploy.add_response("create_deployment", {"deploymentId": "d-1"})
    deployments = service()
    deployments.table = KeptTable(replace(STATE, settings=BALANCED, restart_after=NOW - 60))
    processes = Processes(deployments.table, deployments, lambda names: pytest.fail("only web"))
    assert processes.restart(deployments.table.state) == Waiting("restarting the tasks")
    assert deployments.table.state.restart_after == (NOW - 60 if occupied else None)


@pytest.mark.parametrize(("created", "failed"), [(NOW - 31, False), (NOW - 29, True)])
def test_a_restart_failed_if_its_deployment_did(codedeploy: Any, created: float, failed: bool) -> None:
    only = {"includeOnlyStatuses": ["Failed", "Stopped"], **since(int(NOW) - 30)}
    codedeploy.add_response("list_deployments", {"deployments": ["d-1"]}, {**GROUP, **only})
    info(codedeploy, "d-1", created)
    assert service().restart_failed(int(NOW) - 30) is failed


@pytest.mark.parametrize(
    ("revision", "target"),
    [
        ({"revisionType": "AppSpecContent", "appSpecContent": {"content": json.dumps(appspec())}}, REVISION),
        ({"revisionType": "String", "string": {"content": json.dumps(appspec())}}, REVISION),
        ({"revisionType": "S3", "s3Location": {"bucket": "b", "key": "k"}}, None),
        ({"appSpecContent": {"content": "version: 0.0"}}, None),
        ({"appSpecContent": {"content": "{}"}}, None),
        ({"appSpecContent": {"content": '{"Resources": [{"TargetService": 1}]}'}}, None),
        ({}, None),
    ],
)
def test_the_revision_of_a_deployment_is_known_if_codedeploy_stores_it(revision: Any, target: str | None) -> None:
    assert service()._target({"revision": revision}) == target


OTHER = {"appSpecContent": {"content": json.dumps(appspec("arn:aws:ecs:x:1:task-definition/shop-dev:6"))}}
OURS = {"appSpecContent": {"content": json.dumps(appspec())}}
BY_PIPELINE = {"s3Location": {"bucket": "b", "key": "k"}}


@pytest.mark.parametrize(
    ("found", "any_settings", "failed"),
    [
        ([], False, None),
        ([(5.0, "user", OURS)], False, "d-0"),
        # Before the goal was set: it is retried.
        ([(0.0, "user", OURS), (-5.0, "user", OURS)], False, None),
        ([(9.0, "user", OURS), (5.0, "user", OTHER)], False, "d-0"),
        ([(5.0, "user", OURS), (9.0, "user", OTHER)], False, None),
        ([(9.0, "user", OTHER)], True, "d-0"),
        # For deployments of CodePipeline's own action, CodeDeploy stores no content.
        ([(9.0, "user", BY_PIPELINE)], False, "d-0"),
        # CodeDeploy's rollback is not a deployment of the release.
        ([(5.0, "user", OURS), (9.0, ROLLBACK, OTHER)], False, "d-0"),
        ([(9.0, ROLLBACK, OURS)], False, None),
    ],
)
def test_the_newest_deployment_since_the_goal_was_set_counts_if_it_was_to_the_goal(
    codedeploy: Any, found: list[tuple[float, str, Any]], any_settings: bool, failed: str | None
) -> None:
    ids = [f"d-{number}" for number in range(len(found))]
    request = {**GROUP, "includeOnlyStatuses": ["Failed", "Stopped"], **since(int(NOW))}
    codedeploy.add_response("list_deployments", {"deployments": ids}, request)
    for id, (after, creator, revision) in zip(ids, found, strict=True):
        info(codedeploy, id, NOW + after, creator=creator, revision=revision)
    deployments = service()
    deployments.definitions.same = lambda task_definition, definition: task_definition == REVISION  # type: ignore[method-assign]
    newest = deployments._failed({}, Goal(NEW, NOW, any_settings))
    assert (newest["deploymentId"] if newest else None) == failed


@pytest.mark.parametrize(
    ("minutes", "creator", "stopped"), [(10, "user", False), (10.1, "user", True), (10.1, ROLLBACK, False)]
)
def test_a_deployment_is_stopped_after_its_deadline_but_a_rollback_is_not(
    codedeploy: Any, minutes: float, creator: str, stopped: bool
) -> None:
    info(codedeploy, "d-1", NOW - 60 * minutes, "InProgress", creator=creator)
    if stopped:
        codedeploy.add_response("stop_deployment", {}, {"deploymentId": "d-1", "autoRollbackEnabled": True})
    assert service()._under_way("d-1", SETTINGS) == Waiting("CodeDeploy's deployment d-1 is InProgress")


def test_a_deployment_that_has_ended_in_the_meantime_need_not_be_stopped(codedeploy: Any) -> None:
    info(codedeploy, "d-1", NOW - 3600, "InProgress")
    codedeploy.add_client_error("stop_deployment", "DeploymentAlreadyCompletedException")
    assert isinstance(service()._under_way("d-1", SETTINGS), Waiting)
