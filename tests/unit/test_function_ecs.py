"""Comparisons, counts and calculations for a service that ECS deploys; whole releases are in schedules."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from slipway.release.function.contract import Image, Process, Settings, State
from slipway.release.function.ecs import EcsDeployments, attached, has, stage, unknown, watched_minutes
from slipway.release.function.images import Images
from slipway.release.function.processes import Processes
from slipway.release.function.reconcile import (
    Broken,
    Goal,
    Live,
    Names,
    Waiting,
    desired_count,
    joined,
    network_of,
    tasks,
)
from slipway.release.function.task_definitions import TaskDefinitions, canonical, short
from unit.releases import DIGEST, NEW, NOW, OLD, OLD_DIGEST, SETTINGS, STATE, KeptTable, client

PLACE = "arn:aws:ecs:eu-west-1:123456789012"
NAMES = Names(cluster="shop", service="shop-dev", family="shop-dev", container="app")


def definition(number: int) -> str:
    return f"{PLACE}:task-definition/shop-dev:{number}"


# Counts


@pytest.mark.parametrize(
    ("minimum", "maximum", "bounds", "current", "count"),
    [
        # A fixed count.
        *((2, 2, None, current, 2) for current in (0, 1, 2, 3, 9)),
        # Within the range, the count that scaling chose stays.
        *((2, 6, (2, 6), current, current) for current in (2, 4, 6)),
        # A count chosen by somebody who changed the range stays too.
        *((2, 6, (2, 6), current, current) for current in (1, 9)),
        # A range that is not set yet, or has changed.
        *((2, 6, None, current, min(max(current, 2), 6)) for current in (0, 1, 2, 4, 6, 9)),
        *((2, 6, (1, 9), current, min(max(current, 2), 6)) for current in (1, 2, 6, 9)),
        # From zero it starts at the minimum.
        (2, 6, (2, 6), 0, 2),
        (2, 6, (0, 6), 0, 2),
    ],
)
def test_the_count_chosen_by_scaling_stays(
    minimum: int, maximum: int, bounds: tuple[int, int] | None, current: int, count: int
) -> None:
    settings = replace(SETTINGS, minimum=minimum, maximum=maximum)
    assert desired_count({"desiredCount": current}, settings, bounds) == count


@pytest.mark.parametrize(("count", "text"), [(0, "0 tasks"), (1, "1 task"), (2, "2 tasks")])
def test_tasks_are_counted_in_words(count: int, text: str) -> None:
    assert tasks(count) == text


@pytest.mark.parametrize(
    ("reasons", "text"),
    [
        ([], ""),
        ([None, ""], ""),
        (["a.", None, "b", "a", " a. "], "a; b"),
        (["OutOfMemory...", "OutOfMemory"], "OutOfMemory"),
    ],
)
def test_each_reason_is_reported_once(reasons: list[str | None], text: str) -> None:
    assert joined(reasons) == text


# Comparing


@pytest.mark.parametrize(
    ("found", "wanted", "same"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ({"a": 1}, {"a": 2}, False),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, True),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, False),
        # Disabled or empty values may be missing.
        (None, {}, True),
        ({}, {"a": False, "b": [], "c": {}, "d": 0, "e": "", "f": None}, True),
        ({}, {"a": {"enable": False, "alarmNames": []}}, True),
        ({}, {"a": {"enable": True}}, False),
        ({"a": True}, {"a": False}, False),
        # In a list, order and length matter.
        ({"a": [1, 2]}, {"a": [1, 2]}, True),
        ({"a": [2, 1]}, {"a": [1, 2]}, False),
        ({"a": [1, 2]}, {"a": [1]}, False),
        ({"a": [1]}, {"a": []}, False),
        ({"a": [{"x": 1, "y": 2}]}, {"a": [{"x": 1}]}, True),
        # A value of another type.
        ({"a": "x"}, {"a": {}}, False),
        ({"a": "x"}, {"a": []}, False),
        ({"a": 1.0}, {"a": 1}, True),
        ([], {}, False),
    ],
)
def test_a_service_with_the_requested_settings_and_ecs_defaults_is_up_to_date(
    found: Any, wanted: Any, same: bool
) -> None:
    assert has(found, wanted) is same


@pytest.mark.parametrize(
    ("subnets", "groups", "same"),
    [
        (["subnet-4", "subnet-3"], ["sg-1"], True),
        (["subnet-3"], ["sg-1"], False),
        (["subnet-3", "subnet-4", "subnet-5"], ["sg-1"], False),
        (["subnet-3", "subnet-4"], ["sg-2"], False),
        (["subnet-3", "subnet-4"], [], False),
    ],
)
def test_the_order_within_a_network_configuration_does_not_matter(
    subnets: list[str], groups: list[str], same: bool
) -> None:
    assert network_of(SETTINGS, {"subnets": subnets, "securityGroups": groups}) is same


@pytest.mark.parametrize(
    ("wanted", "found", "same"),
    [
        (True, {"assignPublicIp": "ENABLED"}, True),
        (True, {"assignPublicIp": "DISABLED"}, False),
        (True, {}, False),
        (False, {"assignPublicIp": "ENABLED"}, False),
        (False, {"assignPublicIp": "DISABLED"}, True),
    ],
)
def test_a_network_includes_whether_tasks_have_public_addresses(
    wanted: bool, found: dict[str, str], same: bool
) -> None:
    network = {"subnets": SETTINGS.subnets, "securityGroups": SETTINGS.security_groups, **found}
    assert network_of(replace(SETTINGS, assign_public_ip=wanted), network) is same


BALANCED = {"targetGroupArn": "arn:g", "containerName": "app", "containerPort": 8080}
ADVANCED = {"alternateTargetGroupArn": "arn:h", "productionListenerRule": "arn:p", "roleArn": "arn:r"}
TWO = replace(
    SETTINGS, load_balancers=[{**BALANCED, "advancedConfiguration": ADVANCED}], target_groups=["arn:g", "arn:h"]
)
SWAPPED = {
    **BALANCED,
    "targetGroupArn": "arn:h",
    "advancedConfiguration": {**ADVANCED, "alternateTargetGroupArn": "arn:g"},
}


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({}, True),
        (SWAPPED, True),
        ({"containerPort": 8081}, False),
        ({"containerName": "web"}, False),
        ({"targetGroupArn": "arn:x"}, False),
        ({"advancedConfiguration": {**ADVANCED, "alternateTargetGroupArn": "arn:x"}}, False),
        ({"advancedConfiguration": {**ADVANCED, "productionListenerRule": "arn:q"}}, False),
        ({"advancedConfiguration": {**ADVANCED, "testListenerRule": "arn:t"}}, False),
        ({"advancedConfiguration": {**ADVANCED, "roleArn": "arn:s"}}, False),
        ({"advancedConfiguration": None}, False),
    ],
)
def test_it_does_not_matter_which_target_group_a_service_uses(changed: dict[str, Any], same: bool) -> None:
    found = {**BALANCED, "advancedConfiguration": ADVANCED, **changed}
    assert (attached([found], TWO) == attached(TWO.load_balancers, TWO)) is same


def test_without_a_traffic_shift_either_target_group_may_serve() -> None:
    plain = replace(TWO, load_balancers=[BALANCED])
    assert attached([{**BALANCED, "targetGroupArn": "arn:h"}], plain) == attached([BALANCED], plain)
    assert attached([], plain) != attached([BALANCED], plain)


ADMIN = {"targetGroupArn": "arn:i", "containerName": "proxy", "containerPort": 9090}
PORTS = replace(TWO, load_balancers=[BALANCED, ADMIN], target_groups=["arn:g", "arn:h", "arn:i", "arn:j"])


def test_settings_may_have_one_target_group_for_each_service() -> None:
    one = replace(SETTINGS, load_balancers=[BALANCED], target_groups=["arn:g"])
    assert attached([BALANCED], one) == attached(one.load_balancers, one)
    assert attached([{**BALANCED, "targetGroupArn": "arn:h"}], one) != attached(one.load_balancers, one)
    assert (one.pairs, PORTS.pairs) == ([["arn:g"]], [["arn:g", "arn:h"], ["arn:i", "arn:j"]])


@pytest.mark.parametrize(
    ("found", "same"),
    [
        ([BALANCED, ADMIN], True),
        # Neither the order of the ports nor which group of each is in service matters.
        ([{**ADMIN, "targetGroupArn": "arn:j"}, {**BALANCED, "targetGroupArn": "arn:h"}], True),
        ([BALANCED], False),
        ([ADMIN], False),
        ([BALANCED, {**ADMIN, "containerPort": 9091}], False),
        ([BALANCED, {**ADMIN, "containerName": "app"}], False),
        # A group of another port.
        ([BALANCED, {**ADMIN, "targetGroupArn": "arn:h"}], False),
        ([{**BALANCED, "targetGroupArn": "arn:i"}, {**ADMIN, "targetGroupArn": "arn:g"}], False),
        ([BALANCED, {**ADMIN, "targetGroupArn": "arn:x"}], False),
    ],
)
def test_each_port_has_its_own_two_target_groups(found: list[dict[str, Any]], same: bool) -> None:
    assert (attached(found, PORTS) == attached(PORTS.load_balancers, PORTS)) is same


def test_a_task_definition_is_compared_without_what_ecs_reorders_or_adds() -> None:
    ours = {"containerDefinitions": [{"name": "b", "cpu": 1}, {"name": "a", "links": []}], "volumes": [], "x": None}
    theirs = {"containerDefinitions": [{"name": "a"}, {"name": "b", "cpu": 1, "mountPoints": []}]}
    assert canonical(ours) == canonical(theirs)
    # The order of a list without names matters.
    assert canonical({"command": ["a", "b"]}) != canonical({"command": ["b", "a"]})
    assert canonical({"essential": False}) != canonical({})
    assert short(definition(7)) == "shop-dev:7"


# The SDK


def test_an_sdk_that_does_not_support_a_setting_is_detected() -> None:
    shape = client("ecs").meta.service_model.shape_for("DeploymentConfiguration")
    known = {
        "strategy": "CANARY",
        "bakeTimeInMinutes": 10,
        "canaryConfiguration": {"canaryPercent": 10, "canaryBakeTimeInMinutes": 10},
        "alarms": {"alarmNames": ["a"], "enable": True, "rollback": True},
        "lifecycleHooks": [{"hookTargetArn": "arn:f", "roleArn": "arn:r", "lifecycleStages": ["PRE_SCALE_UP"]}],
    }
    assert unknown(shape, known) == []
    newer = {
        "rainbowConfiguration": {"colours": 7},
        "canaryConfiguration": {"canaryPercent": 10, "patience": 3},
        "lifecycleHooks": [{"hookTargetArn": "arn:f"}, {"mood": "x"}],
    }
    assert unknown(shape, newer) == ["rainbowConfiguration", "canaryConfiguration.patience", "lifecycleHooks.mood"]


def test_settings_that_the_sdk_does_not_support_are_rejected_before_any_request() -> None:
    service = of_ecs()
    with pytest.raises(RuntimeError) as error:
        service._check_sdk(replace(SETTINGS, deployment={"strategy": "ROLLING", "rainbow": {}}))
    assert "does not know rainbow of ECS's deployment configuration. Nothing was changed" in str(error.value)


# The duration of a deployment


@pytest.mark.parametrize(
    ("alarm", "minutes"),
    [
        ({"Period": 60, "EvaluationPeriods": 5}, 5),
        ({"Period": 300, "EvaluationPeriods": 3}, 15),
        ({"Period": 3600, "EvaluationPeriods": 1}, 60),
        ({"Period": 10, "EvaluationPeriods": 3}, 0.5),
        ({"Period": 60}, 1),
        ({"EvaluationPeriods": 5}, 5),
        (
            {
                "EvaluationPeriods": 2,
                "Metrics": [
                    {"Id": "e", "Expression": "a / b"},
                    {"Id": "a", "MetricStat": {"Period": 60}},
                    {"Id": "b", "MetricStat": {"Period": 300}},
                ],
            },
            10,
        ),
        ({"EvaluationPeriods": 2, "Metrics": [{"Id": "e", "Expression": "x", "Period": 120}]}, 4),
        ({"EvaluationPeriods": 3, "Metrics": [{"Id": "e", "Expression": "x"}]}, 3),
    ],
)
def test_an_alarm_is_monitored_for_its_evaluation_periods(alarm: dict[str, Any], minutes: float) -> None:
    assert watched_minutes(alarm) == minutes


class Cloudwatch:
    def __init__(self, *minutes: int) -> None:
        self.minutes = minutes

    def describe_alarms(self, *, AlarmNames: list[str], AlarmTypes: list[str]) -> dict[str, Any]:
        assert (AlarmNames, AlarmTypes) == (["errors", "latency"], ["MetricAlarm"])
        return {"MetricAlarms": [{"Period": 60, "EvaluationPeriods": minutes} for minutes in self.minutes]}


class Ecs:
    """ECS with one service and its revisions, each with its task definition."""

    meta = client("ecs").meta
    exceptions = client("ecs").exceptions

    def __init__(self) -> None:
        self.service: dict[str, Any] = {
            "status": "ACTIVE",
            "desiredCount": 2,
            "runningCount": 2,
            "taskDefinition": definition(7),
            "events": [],
        }
        self.updates: list[dict[str, Any]] = []
        self.targets: list[tuple[int, int]] = []
        self.suspended: list[dict[str, bool] | None] = []
        self.stopped: list[dict[str, Any]] = []
        self.revisions: dict[str, dict[str, Any]] = {}
        self.images = {6: str(OLD), 7: str(NEW)}

    def describe_services(self, **_: Any) -> dict[str, Any]:
        return {"services": [self.service]}

    def update_service(self, *, cluster: str, service: str, **changes: Any) -> None:
        assert (cluster, service) == ("shop", "shop-dev")
        self.updates.append(changes)

    def register_scalable_target(self, **target: Any) -> None:
        assert target["ResourceId"] == "service/shop/shop-dev"
        self.targets.append((target["MinCapacity"], target["MaxCapacity"]))
        self.suspended.append(target.get("SuspendedState"))

    def list_tasks(self, **_: Any) -> dict[str, Any]:
        return {"taskArns": [str(number) for number, _ in enumerate(self.stopped)]}

    def describe_tasks(self, *, cluster: str, tasks: list[str]) -> dict[str, Any]:
        return {"tasks": [self.stopped[int(number)] for number in tasks]}

    def describe_service_revisions(self, *, serviceRevisionArns: list[str]) -> dict[str, Any]:
        return {"serviceRevisions": [self.revisions[arn] for arn in serviceRevisionArns]}

    def describe_task_definition(self, *, taskDefinition: str, include: list[str]) -> dict[str, Any]:
        number = int(taskDefinition.rpartition(":")[2])
        containers = [{"name": "app", "image": self.images[number]}]
        return {"taskDefinition": {"family": "shop-dev", "containerDefinitions": containers}, "tags": []}


def of_ecs(ecs: Ecs | None = None, table: KeptTable | None = None, *alarms: int) -> EcsDeployments:
    client = ecs or Ecs()
    images = Images(None, "shop")
    return EcsDeployments(client, client, table or KeptTable(), images, NAMES, Cloudwatch(*alarms))


@pytest.mark.parametrize("before", [True, False])
def test_preparing_the_load_balancer_is_retried_only_if_it_failed_before(before: bool) -> None:
    ecs, created = Ecs(), NOW
    service = {**ecs.service, "deploymentConfiguration": {"strategy": "ROLLING"}, "loadBalancers": [BALANCED]}
    ecs.revisions["arn:new"] = {"taskDefinition": definition(7), "loadBalancers": TWO.load_balancers}
    failed = {
        "serviceDeploymentArn": "arn:d",
        "status": "STOPPED",
        "createdAt": datetime.fromtimestamp(created, UTC),
        "targetServiceRevision": {"arn": "arn:new"},
    }
    settings = replace(TWO, deployment={"strategy": "CANARY"})
    goal = Goal(NEW, after=created if before else created - 1)
    progress = of_ecs(ecs)._migrate(service, settings, failed, goal)
    if before:
        assert isinstance(progress, Waiting)
        assert [update["loadBalancers"][0]["advancedConfiguration"] for update in ecs.updates] == [ADVANCED]
    else:
        assert isinstance(progress, Broken)
        assert ecs.updates == []


ALARMED = {**SETTINGS.deployment, "alarms": {"alarmNames": ["errors", "latency"], "enable": True, "rollback": True}}


@pytest.mark.parametrize(
    ("alarms", "minutes"), [((), 0), ((5,), 5), ((5, 30), 30)], ids=["not found", "one", "the longest"]
)
def test_the_longest_alarm_of_a_deployment_counts(alarms: tuple[int, ...], minutes: int) -> None:
    assert of_ecs(None, None, *alarms)._alarm_minutes({"alarms": ALARMED["alarms"]}) == minutes


@pytest.mark.parametrize(
    "watched", [{}, {"alarms": {"enable": False, "alarmNames": ["errors"]}}, {"alarms": {"enable": True}}]
)
def test_a_deployment_without_alarms_is_not_monitored(watched: dict[str, Any]) -> None:
    assert of_ecs(None, None, 30)._alarm_minutes(watched) == 0


def is_late(monkeypatch: pytest.MonkeyPatch, minutes: float, wanted: Any, began_with: Any, **more: Any) -> bool:
    monkeypatch.setattr(time, "time", lambda: NOW + 60 * minutes)
    deployment = {"createdAt": datetime.fromtimestamp(NOW, UTC), "deploymentConfiguration": began_with, **more}
    return of_ecs(None, None, 5, 30)._is_late(deployment, replace(SETTINGS, deployment=wanted))


@pytest.mark.parametrize(
    ("minutes", "wanted", "began_with", "late"),
    [
        (10, SETTINGS.deployment, SETTINGS.deployment, False),
        (10.1, SETTINGS.deployment, SETTINGS.deployment, True),
        # ECS monitors the alarms after its tasks run.
        (40, ALARMED, ALARMED, False),
        (40.1, ALARMED, ALARMED, True),
        # Its timers may be longer than those of the settings, which changed in the meantime.
        (600, SETTINGS.deployment, {"strategy": "CANARY", "bakeTimeInMinutes": 600}, False),
        # CodeDeploy's settings do not apply to ECS.
        (10.1, {}, {}, True),
    ],
)
def test_a_deployment_is_late_after_its_deadline_and_the_time_for_its_alarms(
    monkeypatch: pytest.MonkeyPatch, minutes: float, wanted: Any, began_with: Any, late: bool
) -> None:
    assert is_late(monkeypatch, minutes, wanted, began_with) is late


@pytest.mark.parametrize(("minutes", "late"), [(65, False), (70, False), (70.1, True)])
def test_a_rollback_has_its_own_deadline(monkeypatch: pytest.MonkeyPatch, minutes: float, late: bool) -> None:
    rollback = {"startedAt": datetime.fromtimestamp(NOW + 3600, UTC)}
    assert is_late(monkeypatch, minutes, ALARMED, ALARMED, rollback=rollback) is late


# Failed tasks


def failed(number: int = 7, created: float = NOW, reason: str = "Essential container in task exited") -> dict[str, Any]:
    return {
        "taskDefinitionArn": definition(number),
        "stoppedReason": reason,
        "createdAt": datetime.fromtimestamp(created, UTC),
        "containers": [{"name": "app", "exitCode": 3}, {"name": "sidecar", "reason": "OutOfMemoryError"}],
    }


@pytest.mark.parametrize(
    ("count", "threshold"),
    # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html
    [(0, 3), (1, 3), (2, 3), (6, 3), (7, 4), (8, 4), (25, 13), (400, 200), (401, 200), (800, 200)],
)
def test_as_many_tasks_may_fail_as_trip_the_circuit_breaker_of_ecs(count: int, threshold: int) -> None:
    ecs = Ecs()
    ecs.stopped = [failed()] * (threshold - 1)
    assert of_ecs(ecs)._failure_threshold_reached(definition(7), count, NOW) is False
    ecs.stopped.append(failed())
    assert of_ecs(ecs)._failure_threshold_reached(definition(7), count, NOW) is True


def test_tasks_of_other_revisions_earlier_ones_and_those_stopped_by_scaling_did_not_fail() -> None:
    ecs = Ecs()
    ecs.stopped = [failed(6), failed(created=NOW - 1), failed(reason="Scaling activity initiated by deployment x")] * 9
    assert of_ecs(ecs)._failures(definition(7), NOW) == []
    ecs.stopped.append(failed())
    why = "Essential container in task exited, container app exited with 3, OutOfMemoryError"
    assert of_ecs(ecs)._failures(definition(7), NOW) == [why]


def test_the_first_three_different_reasons_are_reported() -> None:
    ecs = Ecs()
    ecs.stopped = [failed(reason=reason) for reason in "aabcd"]
    assert [reason[0] for reason in of_ecs(ecs)._stopped_tasks(definition(7))] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("status", "created", "failed"),
    [
        ("SUCCESSFUL", NOW, False),
        ("ROLLBACK_SUCCESSFUL", NOW, True),
        ("STOPPED", NOW, True),
        ("ROLLBACK_SUCCESSFUL", NOW - 30, False),
    ],
)
def test_a_restart_failed_if_its_deployment_did(
    monkeypatch: pytest.MonkeyPatch, status: str, created: float, failed: bool
) -> None:
    newest = {"status": status, "createdAt": created}
    monkeypatch.setattr(EcsDeployments, "_newest_deployment", lambda self: newest)
    assert of_ecs(Ecs()).restart_failed(NOW - 30) is failed


@pytest.mark.parametrize(
    ("requested", "listed", "restarts"),
    [
        (None, [("SUCCESSFUL", NOW - 60)], False),
        (NOW - 60, [("SUCCESSFUL", NOW - 60)], True),
        (NOW - 60, [("SUCCESSFUL", NOW - 30), ("SUCCESSFUL", NOW - 60)], False),
        # Its tasks are gone, and the previous ones run.
        (NOW - 60, [("ROLLBACK_SUCCESSFUL", NOW - 30), ("SUCCESSFUL", NOW - 60)], True),
        (0, [], True),
    ],
)
def test_tasks_are_restarted_once_if_they_are_older_than_the_request(
    monkeypatch: pytest.MonkeyPatch, requested: float | None, listed: list[tuple[str, float]], restarts: bool
) -> None:
    briefs = [{"status": status, "createdAt": at, "serviceDeploymentArn": "arn"} for status, at in listed]
    monkeypatch.setattr(EcsDeployments, "_listed", lambda self: briefs)
    monkeypatch.setattr(EcsDeployments, "_newest_deployment", lambda self: briefs[0] if briefs else None)
    ecs, table = Ecs(), KeptTable(replace(STATE, restart_after=requested))
    processes = Processes(table, of_ecs(ecs, table), lambda names: of_ecs())
    assert processes.restart(table.state) == (Waiting("restarting the tasks") if restarts else None)
    assert (ecs.updates, table.state.restart_after) == ([{"forceNewDeployment": True}] if restarts else [], None)


# Counts of a service with the right task definition


def counts(ecs: Ecs, table: KeptTable, **settings: Any) -> Any:
    changed = replace(SETTINGS, **settings)
    return of_ecs(ecs, table)._count(ecs.service, changed, table.state, definition(7), NEW)


def test_a_service_is_live_when_the_desired_number_of_tasks_runs() -> None:
    ecs = Ecs()
    assert counts(ecs, KeptTable()) == Live(f"shop-dev:7 is running {DIGEST} (2 tasks)")
    ecs.service["runningCount"] = 1
    assert counts(ecs, KeptTable()) == Waiting("1 of 2 tasks running")
    assert counts(ecs, KeptTable(), minimum=3, maximum=3) == Waiting("scaling to 3 tasks")
    assert (ecs.updates, ecs.targets) == ([{"desiredCount": 3}], [])


def test_the_scaling_range_is_set_when_the_settings_change_it_and_not_again() -> None:
    ecs, table = Ecs(), KeptTable()
    assert isinstance(counts(ecs, table, maximum=6), Live)
    assert (ecs.targets, table.state.bounds) == ([(2, 6)], (2, 6))
    # A later change by somebody else stays.
    assert isinstance(counts(ecs, table, maximum=6), Live)
    assert ecs.targets == [(2, 6)]
    counts(ecs, table, minimum=1, maximum=6)
    assert (ecs.targets, table.state.bounds) == ([(2, 6), (1, 6)], (1, 6))


SUSPENDED = ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended")


@pytest.mark.parametrize(
    ("bounds", "suspended"),
    [(None, dict.fromkeys(SUSPENDED, False)), ((0, 6), dict.fromkeys(SUSPENDED, False)), ((2, 5), None)],
)
def test_scaling_begins_with_the_first_tasks_and_a_suspension_by_somebody_else_is_kept(
    bounds: tuple[int, int] | None, suspended: dict[str, bool] | None
) -> None:
    ecs = Ecs()
    counts(ecs, KeptTable(replace(STATE, bounds=bounds)), maximum=6)
    assert (ecs.targets, ecs.suspended) == ([(2, 6)], [suspended])


def test_a_service_that_does_not_scale_any_more_has_no_scaling_range() -> None:
    table = KeptTable(replace(STATE, bounds=(2, 6)))
    counts(Ecs(), table)
    assert table.state.bounds is None


@pytest.mark.parametrize(("maximum", "targets"), [(2, []), (6, [(0, 6)])])
def test_without_a_release_there_are_zero_tasks_and_scaling_starts_none(
    maximum: int, targets: list[tuple[int, int]]
) -> None:
    ecs, table = Ecs(), KeptTable()
    settings = replace(SETTINGS, maximum=maximum)
    found = of_ecs(ecs, table)._scale_to_zero(ecs.service, settings, table.state)
    assert found == Live("nothing is released, and the service has no tasks")
    assert (ecs.updates, ecs.targets) == ([{"desiredCount": 0}], targets)
    assert ecs.suspended == [dict.fromkeys(SUSPENDED, True) for _ in targets]


WORKER = Process("worker", "shop-dev", replace(SETTINGS, maximum=6))
WITH_WORKER = replace(STATE, settings=replace(SETTINGS, processes=[WORKER]), bounds=(1, 1))


def worker(ecs: Ecs, table: KeptTable) -> EcsDeployments:
    found = of_ecs(ecs, table)
    found.names = replace(NAMES, process="worker")
    return found


@pytest.mark.parametrize(("image", "stopped"), [(OLD, True), (NEW, False)], ids=["another image", "this image"])
def test_a_process_that_never_ran_with_the_verified_image_has_no_tasks_unless_they_run_it(
    image: Image, stopped: bool
) -> None:
    ecs, table = Ecs(), KeptTable(WITH_WORKER)
    ecs.images[7] = str(image)
    found = worker(ecs, table).look(table.state, Goal(NEW, processes=["other"]))
    if stopped:
        assert found == Live("nothing is released, and the service has no tasks")
        assert (ecs.updates, ecs.targets) == ([{"desiredCount": 0}], [(0, 6)])
    else:
        assert found == Live("shop-dev:7 is not released yet")
        assert (ecs.updates, ecs.targets) == ([], [])


def test_each_process_has_its_own_scaling_range() -> None:
    ecs, table = Ecs(), KeptTable(replace(WITH_WORKER, other_bounds={"other": (3, 4), "worker": (2, 5)}))
    assert isinstance(worker(ecs, table)._count(ecs.service, WORKER.settings, table.state, definition(7), NEW), Live)
    assert ecs.targets == [(2, 6)]
    assert (table.state.bounds, table.state.other_bounds) == ((1, 1), {"other": (3, 4), "worker": (2, 6)})
    worker(ecs, table)._count(ecs.service, SETTINGS, table.state, definition(7), NEW)
    assert (table.state.bounds, table.state.other_bounds) == ((1, 1), {"other": (3, 4)})


def test_running_tasks_without_a_release_state_are_left_unchanged() -> None:
    ecs, state = Ecs(), State(version=1, settings=SETTINGS)
    with pytest.raises(RuntimeError) as error:
        of_ecs(ecs)._scale_to_zero(ecs.service, SETTINGS, state)
    assert str(error.value) == (
        "the service runs shop-dev:7, and the table shop-dev-release knows of no release: it was lost, or restored. "
        "Nothing was changed; release the digest that should run, which fills it again"
    )
    assert ecs.updates == []
    ecs.service["desiredCount"] = 0
    assert isinstance(of_ecs(ecs)._scale_to_zero(ecs.service, SETTINGS, state), Live)


# The state of a deployment in ECS


def revision(ecs: Ecs, arn: str, number: int, *groups: str) -> dict[str, str]:
    ecs.revisions[arn] = {
        "taskDefinition": definition(number),
        "resolvedConfiguration": {"loadBalancers": [{"targetGroupArn": group} for group in groups or ("arn:g",)]},
    }
    return {"arn": arn}


def deployment(ecs: Ecs, status: str, source: int = 6, target: int = 7, back: int | None = None, **more: Any) -> Any:
    rollback = {"serviceRevisionArn": revision(ecs, "back", back)["arn"]} if back else {}
    return {
        "serviceDeploymentArn": "d-1",
        "status": status,
        "createdAt": datetime.fromtimestamp(NOW, UTC),
        "stoppedAt": datetime.fromtimestamp(NOW + 60, UTC),
        "sourceServiceRevisions": [revision(ecs, "source", source)],
        "targetServiceRevision": revision(ecs, "target", target),
        "rollback": rollback,
        **more,
    }


@pytest.mark.parametrize(
    ("source", "target", "back", "running", "at_fault"),
    [
        (6, 7, 6, 2, True),
        (7, 7, 7, 2, False),
        # With a count of zero, ECS considers the deployment of a crashing image successful.
        (7, 7, 7, 0, True),
        (7, 7, 6, 2, True),
        (6, 7, 7, 2, True),
        # If ECS does not say what it rolls back to, nothing is known.
        (7, 7, None, 2, True),
    ],
)
def test_an_image_is_not_at_fault_if_its_tasks_ran_before_and_run_after(
    source: int, target: int, back: int | None, running: int, at_fault: bool
) -> None:
    ecs = Ecs()
    ecs.service["runningCount"] = running
    found = of_ecs(ecs)._failure(deployment(ecs, "ROLLBACK_SUCCESSFUL", source, target, back), SETTINGS, NEW)
    assert found.image_at_fault is at_fault


@pytest.mark.parametrize(("seconds", "late"), [(598, False), (599, True)])
def test_a_deployment_that_was_stopped_at_its_deadline_has_that_in_its_message(seconds: int, late: bool) -> None:
    ecs = Ecs()
    stopped = deployment(ecs, "STOPPED", stoppedAt=datetime.fromtimestamp(NOW + seconds, UTC))
    message = of_ecs(ecs)._failure(stopped, SETTINGS, NEW).message
    plain = "the deployment of shop-dev:7 failed (STOPPED): ECS gave no reason."
    assert message == (f"it did not finish within its 10 minutes and was stopped; {plain}" if late else plain)


def test_a_failure_has_the_reason_that_ecs_gives() -> None:
    ecs = Ecs()
    ecs.stopped = [failed()]
    alarms = {"triggeredAlarmNames": ["errors", "latency"]}
    reason = "Service deployment rolled back because the circuit breaker threshold was exceeded."
    found = of_ecs(ecs)._failure(
        deployment(ecs, "ROLLBACK_IN_PROGRESS", statusReason=reason, alarms=alarms), SETTINGS, NEW
    )
    assert found == Broken(
        f"the deployment of shop-dev:7 failed (ROLLBACK_IN_PROGRESS): {reason[:-1]}; alarms: errors, latency; "
        "Essential container in task exited, container app exited with 3, OutOfMemoryError.",
        rolling_back=True,
    )


@pytest.mark.parametrize(
    ("status", "shifts", "serving", "expected"),
    [
        # If ECS does not shift traffic yet, the first group serves.
        ("SUCCESSFUL", False, "arn:g", ("arn:g", "arn:h")),
        ("SUCCESSFUL", False, "arn:h", ("arn:h", "arn:g")),
        # If it does, new tasks use the other one, which is specified first.
        ("SUCCESSFUL", True, "arn:g", ("arn:h", "arn:g")),
        ("SUCCESSFUL", True, "arn:h", ("arn:g", "arn:h")),
        # A group that is not ours: as in the settings.
        ("SUCCESSFUL", True, "arn:x", ("arn:g", "arn:h")),
    ],
)
def test_a_call_with_load_balancers_leaves_the_traffic_where_it_is(
    status: str, shifts: bool, serving: str, expected: tuple[str, str]
) -> None:
    ecs = Ecs()
    ecs.service["currentServiceRevisions"] = [revision(ecs, "now", 7, serving)]
    ecs.service["loadBalancers"] = [{**BALANCED, **({"advancedConfiguration": ADVANCED} if shifts else {})}]
    [found] = of_ecs(ecs)._load_balancers(ecs.service, TWO, None)
    named = found["targetGroupArn"], found["advancedConfiguration"]["alternateTargetGroupArn"]
    assert named == expected
    assert {key: found["advancedConfiguration"][key] for key in ("productionListenerRule", "roleArn")} == {
        "productionListenerRule": "arn:p",
        "roleArn": "arn:r",
    }


@pytest.mark.parametrize(
    ("shifts", "serving", "named"),
    [
        (False, ["arn:h", "arn:i"], [("arn:h", "arn:g"), ("arn:i", "arn:j")]),
        (False, ["arn:g", "arn:j"], [("arn:g", "arn:h"), ("arn:j", "arn:i")]),
        (True, ["arn:h", "arn:i"], [("arn:g", "arn:h"), ("arn:j", "arn:i")]),
        (True, ["arn:g", "arn:j"], [("arn:h", "arn:g"), ("arn:i", "arn:j")]),
        # A port that the revision in service does not have: as in the settings.
        (False, ["arn:h"], [("arn:h", "arn:g"), ("arn:i", "arn:j")]),
        (True, ["arn:h"], [("arn:g", "arn:h"), ("arn:i", "arn:j")]),
    ],
)
def test_the_traffic_of_each_port_stays_where_it_is(
    shifts: bool, serving: list[str], named: list[tuple[str, str]]
) -> None:
    ecs = Ecs()
    both = [
        {**BALANCED, "advancedConfiguration": ADVANCED},
        {**ADMIN, "advancedConfiguration": {**ADVANCED, "alternateTargetGroupArn": "arn:j"}},
    ]
    ecs.service["currentServiceRevisions"] = [revision(ecs, "now", 7, *serving)]
    ecs.service["loadBalancers"] = both if shifts else [BALANCED, ADMIN]
    found = of_ecs(ecs)._load_balancers(ecs.service, replace(PORTS, load_balancers=both), None)
    assert [
        (each["targetGroupArn"], each["advancedConfiguration"]["alternateTargetGroupArn"]) for each in found
    ] == named
    assert [each["containerPort"] for each in found] == [8080, 9090]


def test_during_a_deployment_the_previous_revision_serves() -> None:
    ecs = Ecs()
    under_way = deployment(ecs, "IN_PROGRESS")
    revision(ecs, "source", 6, "arn:h")
    ecs.service["currentServiceRevisions"] = [revision(ecs, "now", 7, "arn:g")]
    service = of_ecs(ecs)
    assert service._serving_groups(ecs.service, under_way) == {"arn:h"}
    assert service._serving_groups(ecs.service, {**under_way, "status": "SUCCESSFUL"}) == {"arn:g"}
    assert service._serving_groups({}, None) == set()


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({}, ""),
        ({"lifecycleStage": "BAKE_TIME"}, " (BAKE_TIME)"),
        (
            {
                "lifecycleStage": "POST_SCALE_UP",
                "lifecycleHookDetails": [
                    {"targetType": "AWS_LAMBDA", "status": "IN_PROGRESS", "hookId": "h-0"},
                    {"targetType": "PAUSE", "status": "SUCCEEDED", "hookId": "h-1"},
                    {"targetType": "PAUSE", "status": "AWAITING_ACTION", "hookId": "h-2"},
                ],
            },
            " (POST_SCALE_UP); it is paused until somebody runs aws ecs continue-service-deployment --action CONTINUE "
            "--hook-id h-2 --service-deployment-arn d-1",
        ),
    ],
)
def test_a_deployment_that_shifts_traffic_reports_its_stage_and_what_it_waits_for(more: Any, text: str) -> None:
    assert stage({"serviceDeploymentArn": "d-1", **more}) == text


# Task definitions


class Registry:
    """ECS with the template and the registered task definitions."""

    exceptions = client("ecs").exceptions

    def __init__(self, *registered: dict[str, Any]) -> None:
        self.template = {"family": "shop-dev-template", "cpu": "256", "containerDefinitions": [{"name": "app"}]}
        self.registered = list(registered)
        self.requests: list[dict[str, Any]] = []
        self.drops: tuple[str, ...] = ()

    def describe_task_definition(self, *, taskDefinition: str, include: Any = ()) -> dict[str, Any]:
        if taskDefinition == SETTINGS.template:
            return {"taskDefinition": {**self.template, "revision": 1}, "tags": [{"key": "team", "value": "web"}]}
        if not self.registered:
            raise self.exceptions.ClientException({"Error": {"Code": "ClientException"}}, "DescribeTaskDefinition")
        number = len(self.registered) if taskDefinition == "shop-dev" else int(taskDefinition.rpartition(":")[2])
        found = {**self.registered[number - 1], "taskDefinitionArn": definition(number), "family": "shop-dev"}
        return {"taskDefinition": found}

    def register_task_definition(self, **request: Any) -> dict[str, Any]:
        self.requests.append(request)
        self.registered.append({key: value for key, value in request.items() if key not in ("tags", *self.drops)})
        return {"taskDefinition": {"taskDefinitionArn": definition(len(self.registered))}}


def test_a_release_is_the_template_with_the_image_and_its_tags() -> None:
    ecs = Registry()
    ecs.template["containerDefinitions"] = [{"name": "app", "image": "x:unreleased"}, {"name": "otel", "image": "o:1"}]
    released = TaskDefinitions(ecs, "shop-dev", "app").released(SETTINGS.template, str(NEW))
    assert released == {
        "cpu": "256",
        "containerDefinitions": [{"name": "app", "image": str(NEW)}, {"name": "otel", "image": "o:1"}],
        "tags": [{"key": "team", "value": "web"}],
    }


def test_a_template_without_the_container_is_an_error() -> None:
    with pytest.raises(RuntimeError) as error:
        TaskDefinitions(Registry(), "shop-dev", "web").released(SETTINGS.template, str(NEW))
    assert str(error.value) == f"the template {SETTINGS.template} has the containers ['app'], and none is 'web'"


def test_an_unused_revision_of_an_interrupted_run_is_used() -> None:
    content = {"cpu": "256", "containerDefinitions": [{"name": "app", "image": str(NEW)}]}
    ecs = Registry({"cpu": "512"}, content)
    definitions = TaskDefinitions(ecs, "shop-dev", "app")
    assert definitions.register({**content, "tags": []}) == definition(2)
    assert ecs.requests == []
    other = {**content, "cpu": "1024"}
    assert definitions.register({**other, "tags": [{"key": "a", "value": "b"}]}) == definition(3)
    assert ecs.requests == [{"family": "shop-dev", **other, "tags": [{"key": "a", "value": "b"}]}]


def test_the_first_revision_of_a_family_is_registered_without_empty_tags() -> None:
    ecs = Registry()
    assert TaskDefinitions(ecs, "shop-dev", "app").register({"cpu": "256", "tags": []}) == definition(1)
    assert ecs.requests == [{"family": "shop-dev", "cpu": "256"}]


def test_a_revision_that_ecs_registers_differently_is_an_error_and_not_registered_repeatedly() -> None:
    ecs = Registry()
    ecs.drops = ("enableFaultInjection",)
    with pytest.raises(RuntimeError) as error:
        TaskDefinitions(ecs, "shop-dev", "app").register({"cpu": "256", "enableFaultInjection": True, "tags": []})
    assert str(error.value) == "ECS registered shop-dev:1 with another content than the template has"


def test_a_revision_with_another_digest_than_requested_is_not_a_success() -> None:
    ecs = Ecs()
    ecs.revisions["now"] = {"containerImages": [{"containerName": "app", "imageDigest": OLD_DIGEST}]}
    service = of_ecs(ecs)
    service.images = SimpleNamespace(platforms=lambda digest: {"sha256:p"})  # type: ignore[assignment]
    found = service._settle(ecs.service, settings_of(ecs), STATE, SimpleNamespace(any_settings=True), "now", NEW)  # type: ignore[arg-type]
    assert found == Broken(f"ECS runs the image ['{OLD_DIGEST}'], not {DIGEST}")


@pytest.mark.parametrize(
    "shown",
    [
        [],
        [{"containerName": "app", "imageDigest": DIGEST}],
        [{"containerName": "app", "imageDigest": "sha256:p"}],
        [{"containerName": "app"}],
        [{"containerName": "app", "imageDigest": DIGEST}, {"containerName": "otel", "imageDigest": OLD_DIGEST}],
    ],
    ids=["nothing", "itself", "a platform of its index", "no digest", "a sidecar"],
)
def test_the_digest_of_a_platform_matches_its_index(shown: list[dict[str, str]]) -> None:
    ecs = Ecs()
    ecs.revisions["now"] = {"containerImages": shown}
    service = of_ecs(ecs)
    service.images = SimpleNamespace(platforms=lambda digest: {"sha256:p"})  # type: ignore[assignment]
    found = service._settle(ecs.service, settings_of(ecs), STATE, SimpleNamespace(any_settings=True), "now", NEW)  # type: ignore[arg-type]
    assert isinstance(found, Live)


def settings_of(ecs: Ecs) -> Settings:
    ecs.service["deploymentConfiguration"] = SETTINGS.deployment
    return SETTINGS
