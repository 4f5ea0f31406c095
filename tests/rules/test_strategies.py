"""The rules of the stand-in for Amazon ECS when traffic shifts: strategies, alarms, hooks, task sets."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf import struct_pb2
from pulumi.runtime.proto import provider_pb2 as pb
from standin import live
from standin.ecs import Ecs
from standin.elb import Elb
from standin.provider import Aws

from .test_ecs import BREAKER, WHERE, Params, StandIn, refused

A, B, OTHER = "arn:a", "arn:b", "arn:other"
PRODUCTION, TEST = (f"arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener-rule/app/{n}" for n in "pt")
INFRASTRUCTURE = "arn:aws:iam::123456789012:role/infrastructure"
BLUE_GREEN = {"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 5}
CANARY = {
    "strategy": "CANARY",
    "bakeTimeInMinutes": 5,
    "canaryConfiguration": {"canaryPercent": 10, "canaryBakeTimeInMinutes": 2},
}
ALARMS = {"alarmNames": ["errors", "latency"], "enable": True, "rollback": True}
FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:hook"
STAGES: tuple[str, ...] = ("PRE_SCALE_UP", "POST_SCALE_UP", "TEST_TRAFFIC_SHIFT", "POST_TEST_TRAFFIC_SHIFT")
STAGES += ("PRODUCTION_TRAFFIC_SHIFT", "POST_PRODUCTION_TRAFFIC_SHIFT")


def forward(**weights: int) -> list[Params]:
    groups = [{"arn": f"arn:{name}", "weight": weight} for name, weight in weights.items()]
    return [{"type": "forward", "forward": {"targetGroups": groups}}]


def balancers(group: str = A, alternate: str = B, **advanced: str) -> list[Params]:
    known = {"alternateTargetGroupArn": alternate, "productionListenerRule": PRODUCTION, "roleArn": INFRASTRUCTURE}
    container = {"containerName": "app", "containerPort": 8080}
    return [{"targetGroupArn": group, **container, "advancedConfiguration": known | advanced}]


def plain(group: str = A) -> list[Params]:
    return [{"targetGroupArn": group, "containerName": "app", "containerPort": 8080}]


def pause(stage: str, **timeout: Any) -> Params:
    return {"targetType": "PAUSE", "lifecycleStages": [stage]} | ({"timeoutConfiguration": timeout} if timeout else {})


class Account(StandIn):
    """With a load balancer, and images that need no push: an image is its name."""

    def __init__(self) -> None:
        super().__init__("registry.test")
        self.elb = Elb(self.clock, self.api.calls)
        self.engine = Ecs(self.clock, lambda image, architecture: "", self.elb)
        self.api.register("ecs", self.engine)
        self.elb.set(PRODUCTION, forward(a=100, b=0))
        self.elb.set(TEST, forward(a=100, b=0))

    def begin(self, configuration: Params, count: int = 1, **inputs: Any) -> None:
        """Creates a service with this strategy, and deploys v1 to completion."""
        more = {"deploymentConfiguration": BREAKER | configuration, "loadBalancers": balancers()}
        self.serve("v1", count, wait=3600, **{**more, **inputs})
        self.engine.live()

    def release(self, image: str, wait: float = 0, **changes: Any) -> None:
        self.update(taskDefinition=self.define(image), **changes)
        self.clock.sleep(wait)
        self.engine.live()

    def newest(self) -> Params:
        return self.deployments()[0]

    def stage(self) -> str:
        return str(self.newest()["lifecycleStage"])

    def traffic(self) -> dict[str, int]:
        return self.engine.traffic(PRODUCTION)

    def groups(self) -> list[str]:
        """Target groups of the revisions, newest first."""
        arns = [deployment["targetServiceRevision"]["arn"] for deployment in self.deployments()]
        found = {r["serviceRevisionArn"]: r for r in self._revisions(arns)}
        return [found[arn]["resolvedConfiguration"]["loadBalancers"][0]["targetGroupArn"] for arn in arns]

    def _revisions(self, arns: list[str]) -> list[Params]:
        answer: list[Params] = self.ecs.describe_service_revisions(serviceRevisionArns=arns)["serviceRevisions"]
        return answer

    def running(self) -> list[str]:
        return sorted(task["containers"][0]["image"] for task in self.tasks("RUNNING"))

    def shifts(self) -> list[tuple[str, str, list[int]]]:
        """The principals that shifted each rule, with the weights of A and B."""
        calls = [call for call in self.api.calls if call.operation == "ModifyRule"]
        assert {call.service for call in calls} <= {"elasticloadbalancing"}
        return [(call.principal, call.params["RuleArn"], weights(call.params)) for call in calls]


def weights(params: Params) -> list[int]:
    groups = {g["TargetGroupArn"]: g["Weight"] for g in params["Actions"][0]["ForwardConfig"]["TargetGroups"]}
    return [groups[A], groups[B]]


@pytest.fixture
def aws() -> Iterator[Account]:
    made = Account()
    with made.api:
        made.open()
        yield made


# The stages, and the traffic


def test_blue_green_starts_all_green_tasks_shifts_all_traffic_and_keeps_blue_for_the_bake_time(aws: Account) -> None:
    aws.begin(BLUE_GREEN, 2, loadBalancers=balancers(testListenerRule=TEST))
    aws.release("v2")
    seen = []
    for seconds in (10, 15, 290, 5, 10, 10):
        seen.append((aws.newest()["status"], aws.stage(), aws.traffic(), aws.running()))
        aws.clock.sleep(seconds)
    both = ["v1", "v1", "v2", "v2"]
    assert seen == [
        ("PENDING", "SCALE_UP", {"v1": 100}, both),
        ("IN_PROGRESS", "SCALE_UP", {"v1": 100}, both),
        ("IN_PROGRESS", "BAKE_TIME", {"v2": 100}, both),
        ("IN_PROGRESS", "BAKE_TIME", {"v2": 100}, both),
        ("IN_PROGRESS", "CLEAN_UP", {"v2": 100}, ["v2", "v2"]),
        ("SUCCESSFUL", "CLEAN_UP", {"v2": 100}, ["v2", "v2"]),
    ]
    assert aws.shifts() == [(INFRASTRUCTURE, TEST, [0, 100]), (INFRASTRUCTURE, PRODUCTION, [0, 100])]
    rule = {"targetGroupArn": B, "productionListenerRule": PRODUCTION}
    newest = aws.newest()["targetServiceRevision"]["arn"]
    assert aws._revisions([newest])[0]["resolvedConfiguration"] == {"loadBalancers": [rule]}


def test_the_target_groups_alternate_although_the_service_always_specifies_the_same_one(aws: Account) -> None:
    aws.begin(BLUE_GREEN)
    for image in ("v2", "v3"):
        aws.release(image, wait=3600)
    assert (aws.groups(), aws.service()["loadBalancers"]) == ([A, B, A], balancers())
    assert (aws.traffic(), aws.statuses()) == ({"v3": 100}, ["SUCCESSFUL"] * 3)


def test_a_canary_gets_its_percentage_for_its_bake_time_and_then_all_traffic(aws: Account) -> None:
    aws.begin(CANARY)
    aws.release("v2", wait=25)
    seen = []
    for seconds in (110, 10, 290, 10):
        seen.append((aws.stage(), aws.traffic()))
        aws.clock.sleep(seconds)
    assert seen == [
        ("PRODUCTION_TRAFFIC_SHIFT", {"v1": 90, "v2": 10}),
        ("PRODUCTION_TRAFFIC_SHIFT", {"v1": 90, "v2": 10}),
        ("BAKE_TIME", {"v2": 100}),
        ("BAKE_TIME", {"v2": 100}),
    ]
    aws.clock.sleep(20)
    assert (aws.statuses()[0], aws.running()) == ("SUCCESSFUL", ["v2"])


def test_linear_shifts_one_step_at_a_time_and_does_not_bake_the_last_one(aws: Account) -> None:
    linear = {"stepPercent": 40, "stepBakeTimeInMinutes": 3}
    aws.begin({"strategy": "LINEAR", "linearConfiguration": linear})
    aws.release("v2", wait=20)
    seen = []
    for _ in range(3):
        seen.append((aws.stage(), aws.traffic()))
        aws.clock.sleep(180)
    assert seen == [
        ("PRODUCTION_TRAFFIC_SHIFT", {"v1": 60, "v2": 40}),
        ("PRODUCTION_TRAFFIC_SHIFT", {"v1": 20, "v2": 80}),
        ("CLEAN_UP", {"v2": 100}),
    ]


@pytest.mark.parametrize(
    ("strategy", "first", "seconds"), [("CANARY", [95, 5], 600), ("LINEAR", [90, 10], 9 * 360), ("BLUE_GREEN", None, 0)]
)
def test_unset_options_of_a_strategy_have_their_defaults(
    aws: Account, strategy: str, first: list[int] | None, seconds: int
) -> None:
    aws.begin({"strategy": strategy} | ({"bakeTimeInMinutes": 0} if strategy == "BLUE_GREEN" else {}))
    aws.release("v2", wait=20)
    if first:
        assert aws.traffic() == {"v1": first[0], "v2": first[1]}
        aws.clock.sleep(seconds - 1)
        assert "v1" in aws.traffic()
        aws.clock.sleep(1)
    assert (aws.traffic(), aws.running()) == ({"v2": 100}, ["v2"])


def test_tenths_of_a_percent_are_shifted_in_integers(aws: Account) -> None:
    canary = {"canaryPercent": 0.3, "canaryBakeTimeInMinutes": 1}
    aws.begin({"strategy": "CANARY", "canaryConfiguration": canary})
    aws.release("v2", wait=20)
    assert aws.traffic() == {"v1": 997, "v2": 3}


def test_without_tasks_all_stages_pass_at_once_and_the_traffic_still_shifts(aws: Account) -> None:
    aws.begin(CANARY, 0)
    assert (aws.statuses(), aws.shifts()) == (["SUCCESSFUL"], [])
    aws.release("v2")
    assert (aws.statuses()[0], aws.elb.weights(PRODUCTION)) == ("SUCCESSFUL", {A: 0, B: 100})
    assert aws.traffic() == {"": 100}
    aws.update(desiredCount=1)
    aws.clock.sleep(20)
    assert aws.traffic() == {"v2": 100}


def test_a_bake_ends_when_the_desired_count_becomes_zero(aws: Account) -> None:
    aws.begin(BLUE_GREEN)
    aws.release("v2", wait=30)
    aws.update(desiredCount=0)
    assert (aws.statuses()[0], aws.running()) == ("SUCCESSFUL", [])


def test_a_changed_configuration_starts_nothing_and_applies_to_the_next_deployment(aws: Account) -> None:
    aws.begin(BLUE_GREEN)
    aws.release("v2", wait=30)
    aws.update(deploymentConfiguration=BREAKER | CANARY)
    assert (len(aws.deployments()), aws.newest()["deploymentConfiguration"]["strategy"]) == (2, "BLUE_GREEN")
    aws.clock.sleep(600)
    aws.release("v3", wait=25)
    assert aws.traffic() == {"v2": 90, "v3": 10}


def test_a_service_without_load_balancers_may_be_blue_green_and_nothing_shifts(aws: Account) -> None:
    aws.begin(BLUE_GREEN, loadBalancers=[])
    aws.release("v2", wait=30)
    assert (aws.stage(), aws.running()) == ("BAKE_TIME", ["v1", "v2"])
    aws.clock.sleep(600)
    assert (aws.statuses()[0], aws.running(), aws.shifts()) == ("SUCCESSFUL", ["v2"], [])


def test_traffic_goes_to_healthy_tasks_in_the_groups_that_a_rule_forwards_to(aws: Account) -> None:
    aws.begin({}, loadBalancers=plain())
    aws.elb.set(PRODUCTION, [{"type": "forward", "targetGroupArn": A}])
    assert aws.traffic() == {"v1": 100}
    aws.elb.set(PRODUCTION, forward(a=3, b=1))
    assert aws.traffic() == {"v1": 3, "": 1}
    aws.elb.set(PRODUCTION, [{"type": "forward", "forward": {"targetGroups": [{"arn": A}, {"arn": B}]}}])
    assert aws.traffic() == {"v1": 1, "": 1}
    assert aws.engine.traffic("arn:none") == {}


def test_services_that_share_a_group_share_its_traffic(aws: Account) -> None:
    aws.begin({}, 3, loadBalancers=plain())
    definition = aws.define("v2")
    more = {"desiredCount": 1, "taskDefinition": definition, "loadBalancers": plain()}
    aws.ecs.create_service(cluster="main", serviceName="second", **more)
    assert aws.traffic() == {"v1": 100}
    aws.clock.sleep(20)
    assert aws.traffic() == {"v1": 75, "v2": 25}


# Requirements for the listener rules


@pytest.mark.parametrize("rules", [{}, {"testListenerRule": TEST}])
def test_a_deployment_rolls_back_unless_both_groups_are_behind_the_rules(aws: Account, rules: dict[str, str]) -> None:
    aws.begin(BLUE_GREEN, loadBalancers=balancers(**rules))
    aws.elb.set(PRODUCTION, forward(a=100, other=0))
    aws.elb.set(TEST, forward(other=1))
    aws.release("v2", wait=60)
    reason = "Service deployment rolled back because of invalid networking configuration. Both targetGroup and "
    reason += "alternateTargetGroup must be associated with the productionListenerRule or testListenerRule."
    assert (aws.statuses()[0], aws.newest()["statusReason"]) == ("ROLLBACK_SUCCESSFUL", reason)
    assert (aws.running(), aws.shifts(), aws.newest()["targetServiceRevision"]["requestedTaskCount"]) == (["v1"], [], 0)
    assert any(message.endswith(f"deployment failed: {reason}") for message in aws.messages())


def test_a_group_behind_the_test_rule_only_is_enough(aws: Account) -> None:
    aws.begin(BLUE_GREEN, loadBalancers=balancers(testListenerRule=TEST))
    aws.elb.set(PRODUCTION, forward(a=1))
    aws.elb.set(TEST, forward(b=1))
    aws.release("v2", wait=30)
    assert aws.traffic() == {"v2": 100}


def test_a_call_that_specifies_the_group_in_service_rolls_back_and_the_other_group_deploys(aws: Account) -> None:
    aws.begin(BLUE_GREEN)
    named = balancers(testListenerRule=TEST)
    aws.release("v2", wait=60, loadBalancers=named)
    reason = "Service deployment rolled back because of invalid networking configuration. "
    reason += "The service revision in service is in the target group arn:a already."
    assert (aws.statuses()[0], aws.newest()["statusReason"]) == ("ROLLBACK_SUCCESSFUL", reason)
    assert (aws.groups(), aws.traffic(), aws.service()["loadBalancers"]) == ([A, A], {"v1": 100}, balancers())
    aws.release("v2", wait=600, loadBalancers=balancers(B, A))
    assert (aws.groups(), aws.traffic()) == ([B, A, A], {"v2": 100})


def test_after_a_change_from_rolling_to_blue_green_the_groups_alternate_whatever_the_call_specifies(
    aws: Account,
) -> None:
    aws.begin({}, loadBalancers=plain())
    aws.update(loadBalancers=balancers())
    aws.clock.sleep(60)
    aws.release("v2", wait=600, deploymentConfiguration=BLUE_GREEN, loadBalancers=balancers())
    assert (aws.statuses(), aws.groups(), aws.traffic()) == (["SUCCESSFUL"] * 3, [B, A, A], {"v2": 100})


ADMIN = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener-rule/app/admin"


def two_ports(*groups: str) -> list[Params]:
    """The port of `balancers`, and another one with a rule of its own."""
    first, second, third, fourth = groups
    return balancers(first, second) + balancers(third, fourth, productionListenerRule=ADMIN)


@pytest.mark.parametrize("configuration", [BLUE_GREEN, CANARY], ids=["blue/green", "canary"])
def test_the_rule_of_each_port_shifts_to_its_own_group_and_back(aws: Account, configuration: Params) -> None:
    aws.elb.set(ADMIN, forward(c=100, d=0))
    aws.begin(configuration, loadBalancers=two_ports(A, B, "arn:c", "arn:d"))
    assert (aws.traffic(), aws.engine.traffic(ADMIN)) == ({"v1": 100}, {"v1": 100})
    aws.release("v2", wait=3600)
    assert (aws.traffic(), aws.engine.traffic(ADMIN)) == ({"v2": 100}, {"v2": 100})
    assert (aws.elb.weights(PRODUCTION), aws.elb.weights(ADMIN)) == ({A: 0, B: 100}, {"arn:c": 0, "arn:d": 100})
    aws.release("v3", wait=30)
    share = {"v3": 100} if configuration is BLUE_GREEN else {"v2": 90, "v3": 10}
    assert (aws.traffic(), aws.engine.traffic(ADMIN)) == (share, share)
    aws.ecs.stop_service_deployment(serviceDeploymentArn=aws.newest()["serviceDeploymentArn"], stopType="ROLLBACK")
    aws.clock.sleep(600)
    aws.engine.live()
    assert (aws.traffic(), aws.engine.traffic(ADMIN)) == ({"v2": 100}, {"v2": 100})


def test_a_port_that_is_new_has_no_traffic_before_its_tasks_are_there_and_none_after_a_rollback(aws: Account) -> None:
    aws.begin(BLUE_GREEN)
    aws.elb.set(ADMIN, forward(c=100, d=0))
    assert aws.engine.traffic(ADMIN) == {"": 100}
    aws.release("v2", wait=30, loadBalancers=two_ports(B, A, "arn:c", "arn:d"))
    assert (aws.traffic(), aws.engine.traffic(ADMIN)) == ({"v2": 100}, {"v2": 100})
    aws.ecs.stop_service_deployment(serviceDeploymentArn=aws.newest()["serviceDeploymentArn"], stopType="ROLLBACK")
    aws.clock.sleep(600)
    aws.engine.live()
    assert (aws.traffic(), aws.engine.traffic(ADMIN)) == ({"v1": 100}, {"": 100})


def migration(way: str, why: str) -> tuple[str, str]:
    return "InvalidParameterException", f"The deployment strategy cannot be changed from {way} {why}"


UNDER_WAY = "while a service deployment is in progress."
WITHOUT_ROLLING = "before a rolling deployment with the advancedConfiguration of all loadBalancers has completed."


@pytest.mark.parametrize("strategy", [BLUE_GREEN, CANARY, {"strategy": "LINEAR"}])
def test_a_strategy_that_shifts_traffic_needs_a_rolling_deployment_with_the_rules_first(
    aws: Account, strategy: Params
) -> None:
    aws.begin({}, loadBalancers=plain())
    update, way = aws.ecs.update_service, f"ROLLING to {strategy['strategy']}"
    at_once = refused(update, **WHERE, deploymentConfiguration=strategy, loadBalancers=balancers())
    assert at_once == migration(way, WITHOUT_ROLLING)
    aws.update(loadBalancers=balancers())
    assert refused(update, **WHERE, deploymentConfiguration=strategy) == migration(way, UNDER_WAY)
    aws.clock.sleep(60)
    aws.update(deploymentConfiguration=strategy)
    assert aws.service()["deploymentConfiguration"]["strategy"] == strategy["strategy"]


def test_a_failed_rolling_deployment_does_not_count_for_a_change_of_the_strategy(aws: Account) -> None:
    aws.begin({}, loadBalancers=plain())
    aws.engine.fault = lambda task_definition: "exit 1"
    aws.update(loadBalancers=balancers())
    aws.clock.sleep(600)
    assert aws.statuses()[0] == "ROLLBACK_SUCCESSFUL"
    error = refused(aws.ecs.update_service, **WHERE, deploymentConfiguration=BLUE_GREEN, loadBalancers=balancers())
    assert error == migration("ROLLING to BLUE_GREEN", WITHOUT_ROLLING)


def test_without_a_load_balancer_the_strategy_can_change_when_no_deployment_is_in_progress(aws: Account) -> None:
    aws.begin({}, loadBalancers=[])
    aws.release("v2")
    error = refused(aws.ecs.update_service, **WHERE, deploymentConfiguration=BLUE_GREEN)
    assert error == migration("ROLLING to BLUE_GREEN", UNDER_WAY)
    aws.clock.sleep(60)
    aws.update(deploymentConfiguration=BLUE_GREEN)
    assert aws.service()["deploymentConfiguration"]["strategy"] == "BLUE_GREEN"


def test_a_change_back_to_rolling_is_refused_during_a_deployment_and_while_hooks_remain(aws: Account) -> None:
    hooks = [pause("POST_SCALE_UP", timeoutInMinutes=1, action="CONTINUE")]
    aws.begin(CANARY | {"lifecycleHooks": hooks})
    update, way = aws.ecs.update_service, "CANARY to ROLLING"
    aws.release("v2")
    aws.update(deploymentConfiguration=CANARY)
    assert aws.service()["deploymentConfiguration"]["lifecycleHooks"] == hooks
    assert refused(update, **WHERE, deploymentConfiguration={**BREAKER, "lifecycleHooks": []}) == migration(
        way, UNDER_WAY
    )
    aws.clock.sleep(3600)
    error = refused(update, **WHERE, deploymentConfiguration=BREAKER)
    assert error == migration(way, "while lifecycleHooks are configured.")
    aws.update(deploymentConfiguration={**BREAKER, "lifecycleHooks": []})
    after = aws.service()["deploymentConfiguration"]
    assert (after["strategy"], "lifecycleHooks" in after) == ("ROLLING", False)


def test_a_change_between_strategies_that_shift_traffic_is_accepted_during_a_deployment(aws: Account) -> None:
    aws.begin(BLUE_GREEN)
    aws.release("v2")
    aws.update(deploymentConfiguration=CANARY)
    assert aws.service()["deploymentConfiguration"]["strategy"] == "CANARY"


def test_a_rolling_deployment_uses_the_group_that_the_service_specifies_and_shifts_nothing(aws: Account) -> None:
    aws.begin(BLUE_GREEN)
    aws.release("v2", wait=60, deploymentConfiguration=BREAKER)
    assert (aws.groups(), aws.traffic(), aws.shifts()) == ([A, A], {"v2": 100}, [])
    aws.release("v3", wait=600, deploymentConfiguration=BLUE_GREEN)
    aws.release("v4", wait=60, deploymentConfiguration=BREAKER)
    assert (aws.groups(), aws.traffic(), len(aws.shifts())) == ([A, B, A, A], {"": 100}, 1)


def test_running_tasks_are_in_service_even_if_somebody_has_changed_the_rule(aws: Account) -> None:
    aws.begin(BLUE_GREEN)
    aws.release("v2", wait=600)
    aws.elb.set(PRODUCTION, forward(a=100, b=0))
    assert aws.traffic() == {"": 100}
    aws.release("v3", wait=600)
    assert (aws.groups(), aws.traffic()) == ([A, B, A], {"v3": 100})


SHIFT_HOOK = {"lifecycleHooks": [pause("PRODUCTION_TRAFFIC_SHIFT")]}
LISTENER = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener/app/p"
MISSING = "advancedConfiguration field is required for all loadBalancers when using a non-ROLLING deployment strategy"


@pytest.mark.parametrize(
    ("configuration", "expected"),
    [
        (BLUE_GREEN | {"bakeTimeInMinutes": 1441}, "bakeTimeInMinutes must be between 0 and 1440."),
        ({"strategy": "BLUE_GREEN"}, "bakeTimeInMinutes is required."),
        ({"strategy": "CANARY", "canaryConfiguration": {"canaryPercent": 0.05}}, "canaryPercent must be between 0.1"),
        ({"strategy": "CANARY", "canaryConfiguration": {"canaryPercent": 100.1}}, "canaryPercent must be between 0.1"),
        ({"strategy": "CANARY", "canaryConfiguration": {"canaryPercent": 1.25}}, "canaryPercent must be between 0.1"),
        (
            {"strategy": "CANARY", "canaryConfiguration": {"canaryBakeTimeInMinutes": -1}},
            "canaryBakeTimeInMinutes must be between 0 and 1440.",
        ),
        ({"strategy": "LINEAR", "linearConfiguration": {"stepPercent": 2.9}}, "stepPercent must be between 3 and 100."),
        (
            {"strategy": "LINEAR", "linearConfiguration": {"stepBakeTimeInMinutes": 1441}},
            "stepBakeTimeInMinutes must be between 0 and 1440.",
        ),
        (BLUE_GREEN | {"linearConfiguration": {}}, "linearConfiguration is only valid with the strategy LINEAR."),
        (BLUE_GREEN | {"canaryConfiguration": {}}, "canaryConfiguration is only valid with the strategy CANARY."),
        (BLUE_GREEN | SHIFT_HOOK, "A PAUSE hook cannot be configured at ['PRODUCTION_TRAFFIC_SHIFT']."),
        (
            BLUE_GREEN | {"lifecycleHooks": [pause("TEST_TRAFFIC_SHIFT")]},
            "A PAUSE hook cannot be configured at ['TEST_TRAFFIC_SHIFT'].",
        ),
        (
            BLUE_GREEN | {"lifecycleHooks": [pause("PRE_SCALE_UP", timeoutInMinutes=20161)]},
            "timeoutInMinutes must be between 1 and 20160.",
        ),
        (
            BLUE_GREEN
            | {
                "lifecycleHooks": [
                    {"lifecycleStages": ["PRE_SCALE_UP"], "timeoutConfiguration": {"timeoutInMinutes": 1441}}
                ]
            },
            "timeoutInMinutes must be between 1 and 1440.",
        ),
    ],
)
def test_a_configuration_out_of_range_is_rejected(aws: Account, configuration: Params, expected: str) -> None:
    aws.begin({})
    code, message = refused(aws.ecs.update_service, **WHERE, deploymentConfiguration=configuration)
    assert (code, message[: len(expected)]) == ("InvalidParameterException", expected)


def test_a_strategy_needs_the_rules_and_the_alternate_group(aws: Account) -> None:
    aws.begin({}, loadBalancers=plain())
    update, blue_green = aws.ecs.update_service, {"deploymentConfiguration": BLUE_GREEN}
    assert refused(update, **WHERE, **blue_green) == ("InvalidParameterException", MISSING)
    for key in ("alternateTargetGroupArn", "productionListenerRule", "roleArn"):
        [named] = balancers()
        del named["advancedConfiguration"][key]
        assert refused(update, **WHERE, **blue_green, loadBalancers=[named]) == ("InvalidParameterException", MISSING)
    for key in ("productionListenerRule", "testListenerRule"):
        message = refused(update, **WHERE, **blue_green, loadBalancers=balancers(**{key: LISTENER}))[1]
        assert message.startswith(f"{key} has an invalid ARN format. Must be RuleArn for ALB or ListenerArn for NLB.")
    again = {"cluster": "main", "serviceName": "second", "taskDefinition": "web", **blue_green}
    assert refused(aws.ecs.create_service, **again, loadBalancers=plain()) == ("InvalidParameterException", MISSING)
    assert (len(aws.deployments()), aws.service()["loadBalancers"]) == (1, plain())


def test_unimplemented_parts_of_the_strategies_are_reported_as_such(aws: Account) -> None:
    aws.begin({}, loadBalancers=[])
    hook = {"lifecycleHooks": [pause("PRE_PRODUCTION_TRAFFIC_SHIFT")]}
    for configuration in ({"strategy": "LINEAR"}, {"strategy": "CANARY"}, BLUE_GREEN | hook):
        code, _ = refused(aws.ecs.update_service, **WHERE, deploymentConfiguration=configuration)
        assert code == "UnsupportedFeatureException"


# Failures


def test_failed_green_tasks_leave_the_traffic_where_it_is(aws: Account) -> None:
    aws.begin(CANARY, 2)
    aws.engine.fault = lambda definition: "health check" if definition["revision"] == 2 else None
    aws.release("v2", wait=300)
    reason = "Service deployment rolled back because the circuit breaker threshold was exceeded."
    assert (aws.statuses()[0], aws.newest()["statusReason"]) == ("ROLLBACK_SUCCESSFUL", reason)
    assert (aws.running(), aws.traffic(), aws.shifts()) == (["v1", "v1"], {"v1": 100}, [])
    assert aws.tasks("STOPPED")[0]["stoppedReason"] == "Task failed ELB health checks in (target-group arn:b)"


def test_a_deployment_that_is_stopped_during_the_bake_returns_all_traffic_at_once(aws: Account) -> None:
    aws.begin(BLUE_GREEN, loadBalancers=balancers(testListenerRule=TEST))
    aws.release("v2", wait=60)
    assert (aws.traffic(), aws.engine.traffic(TEST)) == ({"v2": 100}, {"v2": 100})
    aws.ecs.stop_service_deployment(serviceDeploymentArn=aws.newest()["serviceDeploymentArn"])
    assert (aws.traffic(), aws.engine.traffic(TEST), aws.running()) == ({"v1": 100}, {"v1": 100}, ["v1"])
    aws.clock.sleep(15)
    assert aws.statuses()[0] == "ROLLBACK_SUCCESSFUL"
    assert aws.shifts()[2:] == [(INFRASTRUCTURE, TEST, [100, 0]), (INFRASTRUCTURE, PRODUCTION, [100, 0])]


def test_traffic_returns_as_soon_as_one_task_responds_and_green_stays_until_all_do(aws: Account) -> None:
    aws.begin(BLUE_GREEN)
    aws.release("v2", wait=60, desiredCount=3)
    aws.ecs.stop_service_deployment(serviceDeploymentArn=aws.newest()["serviceDeploymentArn"])
    assert (aws.traffic(), aws.running()) == ({"v1": 100}, ["v1"] * 3 + ["v2"] * 3)
    aws.clock.sleep(20)
    assert (aws.traffic(), aws.running()) == ({"v1": 100}, ["v1"] * 3)


def test_traffic_does_not_return_to_a_group_without_tasks(aws: Account) -> None:
    aws.begin(BLUE_GREEN, 0)
    aws.engine.fault = lambda definition: "exit 1" if definition["revision"] == 1 else None
    aws.release("v2", wait=60, desiredCount=1)
    aws.ecs.stop_service_deployment(serviceDeploymentArn=aws.newest()["serviceDeploymentArn"])
    aws.clock.sleep(3600)
    assert (aws.statuses()[0], aws.traffic()) == ("ROLLBACK_IN_PROGRESS", {"v2": 100})
    aws.update(desiredCount=0)
    assert (aws.statuses()[0], aws.elb.weights(PRODUCTION), aws.running()) == (
        "ROLLBACK_SUCCESSFUL",
        {A: 100, B: 0},
        [],
    )


def test_ecs_does_not_revert_changes_to_the_rule_after_a_deployment(aws: Account) -> None:
    aws.begin(BLUE_GREEN)
    aws.release("v2", wait=60)
    aws.ecs.stop_service_deployment(serviceDeploymentArn=aws.newest()["serviceDeploymentArn"])
    aws.clock.sleep(60)
    assert aws.statuses()[0] == "ROLLBACK_SUCCESSFUL"
    aws.elb.set(PRODUCTION, forward(a=0, b=100))
    aws.update(desiredCount=2)
    assert aws.traffic() == {"": 100}


def test_an_aborted_deployment_keeps_both_sets_of_tasks_and_the_traffic_where_they_are(aws: Account) -> None:
    aws.begin(CANARY)
    aws.release("v2", wait=30)
    aws.ecs.stop_service_deployment(serviceDeploymentArn=aws.newest()["serviceDeploymentArn"], stopType="ABORT")
    aws.clock.sleep(3600)
    assert (aws.statuses()[0], aws.traffic(), aws.running()) == ("STOPPED", {"v1": 90, "v2": 10}, ["v1", "v2"])


def test_a_release_during_a_canary_replaces_the_canary(aws: Account) -> None:
    hooks = [{"hookTargetArn": FUNCTION, "roleArn": INFRASTRUCTURE, "lifecycleStages": ["RECONCILE_SERVICE"]}]
    called = functions(aws)
    aws.begin(CANARY | {"lifecycleHooks": hooks})
    aws.release("v2", wait=30)
    assert ([stage for _, stage, _, _ in called], aws.traffic()) == ([], {"v1": 90, "v2": 10})
    aws.release("v3")
    assert ([stage for _, stage, _, _ in called], aws.traffic(), aws.running()) == (
        ["RECONCILE_SERVICE"],
        {"v1": 100},
        ["v1", "v3"],
    )
    aws.clock.sleep(30)
    assert (aws.groups(), aws.traffic()) == ([B, B, A], {"v1": 90, "v3": 10})
    aws.clock.sleep(600)
    assert (aws.statuses(), aws.traffic(), aws.running()) == (
        ["SUCCESSFUL", "STOPPED", "SUCCESSFUL"],
        {"v3": 100},
        ["v3"],
    )


def test_a_release_during_a_bake_leaves_the_traffic_with_the_baking_revision(aws: Account) -> None:
    aws.begin(BLUE_GREEN)
    aws.release("v2", wait=30)
    aws.release("v3")
    assert (aws.groups(), aws.traffic(), aws.running()) == ([A, B, A], {"v2": 100}, ["v2", "v3"])
    aws.clock.sleep(30)
    assert aws.traffic() == {"v3": 100}


def test_after_a_superseded_deployment_ecs_returns_to_the_successful_one_once_it_responds(aws: Account) -> None:
    aws.begin(BLUE_GREEN)
    aws.release("v2", wait=30)
    aws.release("v3", wait=5)
    aws.ecs.stop_service_deployment(serviceDeploymentArn=aws.newest()["serviceDeploymentArn"])
    assert aws.traffic() == {"v2": 100}
    aws.clock.sleep(20)
    assert (aws.traffic(), aws.running()) == ({"v1": 100}, ["v1"])


# New roles


HOOK_ROLE = "arn:aws:iam::123456789012:role/hook"


@pytest.mark.parametrize("code", ["InvalidParameterException", "AccessDeniedException"])
@pytest.mark.parametrize("role", [INFRASTRUCTURE, HOOK_ROLE])
def test_a_role_cannot_be_assumed_for_some_seconds_after_its_creation(aws: Account, code: str, role: str) -> None:
    aws.begin(BLUE_GREEN)
    made = {role: aws.clock.now()}
    aws.engine._role_made = lambda arn: made.get(arn, 0.0)
    aws.engine.role_delay, aws.engine.role_error = 10, code
    lambda_hook = {"hookTargetArn": FUNCTION, "roleArn": HOOK_ROLE, "lifecycleStages": ["POST_SCALE_UP"]}
    settings: Params = {"loadBalancers": balancers(testListenerRule=TEST)}
    settings |= {"deploymentConfiguration": BLUE_GREEN | {"lifecycleHooks": [lambda_hook]}}
    message = f"ECS was unable to assume the configured ECS Infrastructure Role '{role}'. Please verify that the role "
    message += "being passed has the proper trust relationship with Amazon ECS."
    assert refused(aws.ecs.update_service, **WHERE, **settings) == (code, message)
    assert len(aws.deployments()) == 1
    aws.clock.sleep(10)
    aws.update(**settings)
    assert len(aws.deployments()) == 2


def test_a_task_role_cannot_be_assumed_for_some_seconds_either(aws: Account) -> None:
    aws.begin(BLUE_GREEN)
    made, role = aws.clock.now(), "arn:aws:iam::123456789012:role/task"
    aws.engine._role_made = lambda arn: made if arn == role else 0.0
    aws.engine.role_delay = 10
    container = {"name": "app", "image": "v2", "portMappings": [{"containerPort": 8080}]}
    aws.ecs.register_task_definition(family="web", taskRoleArn=role, containerDefinitions=[container])
    assert refused(aws.ecs.update_service, **WHERE, taskDefinition="web")[0] == "InvalidParameterException"
    aws.clock.sleep(10)
    aws.update(taskDefinition="web")
    assert len(aws.deployments()) == 2


def test_a_role_exists_from_when_pulumi_creates_it(aws: Account) -> None:
    roles = live.Role(aws.clock)
    roles.create("task", {"name": "task"})
    aws.clock.sleep(5)
    assert roles.made("arn:aws:iam::123456789012:role/path/task") == aws.clock.now() - 5
    assert roles.made(INFRASTRUCTURE) == -math.inf


# Alarms


def test_an_alarm_rolls_back_and_is_named(aws: Account) -> None:
    aws.begin(CANARY | {"alarms": ALARMS})
    aws.release("v2", wait=60)
    monitoring = {"alarmNames": ["errors", "latency"], "status": "MONITORING", "triggeredAlarmNames": []}
    assert (aws.newest()["alarms"], aws.traffic()) == (monitoring, {"v1": 90, "v2": 10})
    aws.engine.alarms.update({"latency", "unrelated"})
    began = aws.clock.now()
    aws.clock.sleep(600)
    newest = aws.newest()
    reason = "Service deployment rolled back because alarms were triggered: latency."
    assert (newest["status"], newest["statusReason"]) == ("ROLLBACK_SUCCESSFUL", reason)
    assert newest["rollback"]["startedAt"].timestamp() == began + 1
    assert newest["alarms"] == monitoring | {"status": "TRIGGERED", "triggeredAlarmNames": ["latency"]}
    assert (aws.traffic(), aws.running()) == ({"v1": 100}, ["v1"])


def test_an_alarm_counts_from_when_it_goes_into_alarm(aws: Account) -> None:
    aws.begin(BLUE_GREEN | {"alarms": ALARMS})
    aws.release("v2")
    aws.clock.sleep(20 + 300 + 10)
    aws.engine.alarms.add("errors")
    assert (aws.statuses()[0], aws.newest()["alarms"]["status"]) == ("SUCCESSFUL", "MONITORING_COMPLETE")


@pytest.mark.parametrize("before", [set(), {"errors"}])
def test_if_an_alarm_is_on_from_the_start_none_is_monitored(aws: Account, before: set[str]) -> None:
    aws.begin({"alarms": ALARMS})
    aws.engine.alarms.update(before)
    aws.release("v2", wait=10)
    aws.engine.alarms.update({"errors", "latency"})
    aws.clock.sleep(300)
    assert (aws.statuses()[0], aws.newest()["alarms"]["status"]) == (
        ("SUCCESSFUL", "DISABLED") if before else ("ROLLBACK_SUCCESSFUL", "TRIGGERED")
    )


def test_an_alarm_without_rollback_stops_the_deployment_and_a_disabled_one_does_nothing(aws: Account) -> None:
    aws.begin({"alarms": ALARMS | {"rollback": False}})
    aws.release("v2", wait=10)
    aws.engine.alarms.add("errors")
    aws.clock.sleep(10)
    assert aws.statuses()[0] == "STOPPED"
    aws.engine.alarms.clear()
    aws.release("v3", wait=10, deploymentConfiguration={"alarms": ALARMS | {"enable": False}})
    aws.engine.alarms.add("errors")
    aws.clock.sleep(60)
    assert (aws.statuses()[0], aws.newest()["alarms"]["status"]) == ("SUCCESSFUL", "DISABLED")


def test_a_rolling_deployment_continues_for_the_longest_evaluation_period_of_its_alarms(aws: Account) -> None:
    aws.engine.alarm_minutes["errors"] = 30
    aws.begin({"alarms": ALARMS})
    aws.release("v2", wait=20 + 30 * 60 - 1)
    assert (aws.statuses()[0], aws.running()) == ("IN_PROGRESS", ["v2"])
    aws.clock.sleep(1)
    assert aws.statuses()[0] == "SUCCESSFUL"


def test_the_evaluation_period_is_the_deployed_alarms_or_a_default_if_it_is_not_deployed(aws: Account) -> None:
    deployed: dict[str, float] = {"errors": 2.0, "latency": 1.0}
    aws.engine._deployed_alarm = deployed.get
    aws.begin({"alarms": ALARMS})
    for image, until in (("v2", 120), ("v3", 300)):
        aws.release(image, wait=20 + until - 1)
        assert aws.statuses()[0] == "IN_PROGRESS"
        aws.clock.sleep(1)
        assert aws.statuses()[0] == "SUCCESSFUL"
        deployed.clear()


def test_an_alarm_during_the_bake_time_rolls_a_rolling_deployment_back(aws: Account) -> None:
    aws.begin({"alarms": ALARMS})
    aws.release("v2", wait=20 + 290)
    aws.engine.alarms.add("errors")
    aws.clock.sleep(60)
    assert (aws.statuses()[0], aws.running()) == ("ROLLBACK_SUCCESSFUL", ["v1"])


@pytest.mark.parametrize("before", ["enabled, and one is on from the start", "not enabled", "no tasks"])
def test_without_alarms_to_monitor_or_tasks_a_rolling_deployment_ends_once_it_is_steady(
    aws: Account, before: str
) -> None:
    aws.begin({"alarms": ALARMS | {"enable": before != "not enabled"}}, 0 if before == "no tasks" else 1)
    aws.engine.alarms.update({"errors"} if before.startswith("enabled") else set())
    aws.release("v2", wait=20 + 10)
    assert aws.statuses()[0] == "SUCCESSFUL"


# Hooks


def functions(aws: Account, *answers: str) -> list[tuple[str, str, int, float]]:
    """Calls of hooks: function, stage, B's share at that time, and time. They return `answers`, or SUCCEEDED."""
    called: list[tuple[str, str, int, float]] = []

    def hook(arn: str, stage: str) -> str:
        called.append((arn, stage, aws.elb.weights(PRODUCTION)[B], aws.clock.now()))
        return answers[len(called) - 1] if answers else "SUCCEEDED"

    aws.engine.hook = hook
    return called


def test_functions_are_called_at_their_stages_and_at_every_shift(aws: Account) -> None:
    called = functions(aws)
    hook = {"hookTargetArn": FUNCTION, "roleArn": INFRASTRUCTURE, "lifecycleStages": list(STAGES)}
    aws.begin(CANARY, 1)
    aws.release("v2", wait=600, deploymentConfiguration=CANARY | {"lifecycleHooks": [hook]})
    stages = zip([*STAGES[:5], *STAGES[4:]], [0, 0, 0, 0, 0, 10, 100], strict=True)
    seen = [(arn, stage, shifted) for arn, stage, shifted, _ in called]
    assert seen == [(FUNCTION, stage, shifted) for stage, shifted in stages]
    assert aws.statuses()[0] == "SUCCESSFUL"


@pytest.mark.parametrize("stage", STAGES)
def test_a_hook_that_fails_rolls_back(aws: Account, stage: str) -> None:
    hook = {"hookTargetArn": FUNCTION, "roleArn": INFRASTRUCTURE, "lifecycleStages": [stage]}
    aws.begin(CANARY)
    aws.engine.hook = lambda arn, stage: "FAILED"
    aws.release("v2", wait=600, deploymentConfiguration=CANARY | {"lifecycleHooks": [hook]})
    reason = f"Service deployment rolled back because {stage} lifecycle hook(s) failed. "
    reason += f"Lifecycle hook target {FUNCTION} returned FAILED status."
    assert (aws.statuses()[0], aws.newest()["statusReason"]) == ("ROLLBACK_SUCCESSFUL", reason)
    assert (aws.newest()["lifecycleStage"], aws.newest()["lifecycleHookDetails"][0]["status"]) == (stage, "FAILED")
    assert (aws.traffic(), aws.running()) == ({"v1": 100}, ["v1"])


def test_a_hook_that_is_in_progress_is_called_again_after_half_a_minute(aws: Account) -> None:
    called = functions(aws, "IN_PROGRESS", "IN_PROGRESS", "SUCCEEDED")
    hook = {"hookTargetArn": FUNCTION, "roleArn": INFRASTRUCTURE, "lifecycleStages": ["PRE_SCALE_UP"]}
    aws.begin(BLUE_GREEN)
    aws.release("v2", deploymentConfiguration=BLUE_GREEN | {"lifecycleHooks": [hook]})
    [detail] = aws.newest()["lifecycleHookDetails"]
    kind = {"targetType": "AWS_LAMBDA", "targetArn": FUNCTION, "status": "IN_PROGRESS"}
    assert (detail | kind == detail, aws.stage()) == (True, "PRE_SCALE_UP")
    aws.clock.sleep(1)
    of = {"serviceDeploymentArn": aws.newest()["serviceDeploymentArn"], "hookId": detail["hookId"]}
    assert refused(aws.ecs.continue_service_deployment, **of)[0] == "InvalidParameterException"
    stages = []
    for seconds in (29, 30):
        aws.clock.sleep(seconds)
        stages.append(aws.stage())
    assert stages == ["PRE_SCALE_UP", "SCALE_UP"]
    assert [at - called[0][3] for _, _, _, at in called] == [0, 30, 60]


def paused(aws: Account, hook: Params) -> Params:
    aws.begin(BLUE_GREEN)
    aws.release("v2", wait=30, deploymentConfiguration=BLUE_GREEN | {"lifecycleHooks": [hook]})
    [detail] = aws.newest()["lifecycleHookDetails"]
    found: Params = detail
    return found


def test_a_pause_lasts_until_somebody_continues(aws: Account) -> None:
    detail = paused(aws, pause("POST_TEST_TRAFFIC_SHIFT"))
    expires = aws.clock.now() - 10 + 1440 * 60
    assert detail.pop("expiresAt").timestamp() == expires
    rest = {"targetType": "PAUSE", "status": "AWAITING_ACTION", "timeoutAction": "ROLLBACK"}
    assert detail == {"hookId": detail["hookId"]} | rest
    aws.clock.sleep(3600)
    assert (aws.stage(), aws.traffic()) == ("POST_TEST_TRAFFIC_SHIFT", {"v1": 100})
    of = {"serviceDeploymentArn": aws.newest()["serviceDeploymentArn"], "hookId": detail["hookId"]}
    assert refused(aws.ecs.continue_service_deployment, **of | {"hookId": "x"})[0] == "InvalidParameterException"
    assert aws.ecs.continue_service_deployment(**of)["serviceDeploymentArn"] == of["serviceDeploymentArn"]
    assert (aws.stage(), aws.traffic()) == ("BAKE_TIME", {"v2": 100})
    assert refused(aws.ecs.continue_service_deployment, **of)[0] == "InvalidParameterException"
    none = of | {"serviceDeploymentArn": "x"}
    assert refused(aws.ecs.continue_service_deployment, **none)[0] == "ServiceDeploymentNotFoundException"


def test_no_green_task_starts_before_a_pause_at_the_first_stage(aws: Account) -> None:
    paused(aws, pause("PRE_SCALE_UP"))
    assert (aws.stage(), aws.running()) == ("PRE_SCALE_UP", ["v1"])


def test_a_deployment_that_is_stopped_during_a_pause_cannot_be_continued(aws: Account) -> None:
    detail = paused(aws, pause("POST_SCALE_UP"))
    of = {"serviceDeploymentArn": aws.newest()["serviceDeploymentArn"]}
    aws.ecs.stop_service_deployment(**of)
    error = refused(aws.ecs.continue_service_deployment, **of, hookId=detail["hookId"])
    assert error == ("InvalidParameterException", "The hook is not awaiting an action.")


def test_a_pause_can_be_ended_with_a_rollback(aws: Account) -> None:
    detail = paused(aws, pause("POST_SCALE_UP"))
    of = {"serviceDeploymentArn": aws.newest()["serviceDeploymentArn"], "hookId": detail["hookId"]}
    aws.ecs.continue_service_deployment(**of, action="ROLLBACK")
    reason = "Service deployment rolled back because a user requested it."
    assert (aws.statuses()[0], aws.newest()["statusReason"]) == ("ROLLBACK_REQUESTED", reason)
    aws.clock.sleep(30)
    assert (aws.statuses()[0], aws.running()) == ("ROLLBACK_SUCCESSFUL", ["v1"])


@pytest.mark.parametrize(("action", "status"), [("ROLLBACK", "ROLLBACK_SUCCESSFUL"), ("CONTINUE", "SUCCESSFUL")])
def test_a_pause_without_a_response_times_out(aws: Account, action: str, status: str) -> None:
    detail = paused(aws, pause("POST_PRODUCTION_TRAFFIC_SHIFT", timeoutInMinutes=10, action=action))
    assert (detail["timeoutAction"], aws.traffic()) == (action, {"v2": 100})
    aws.clock.sleep(589)
    assert aws.stage() == "POST_PRODUCTION_TRAFFIC_SHIFT"
    aws.clock.sleep(1)
    assert (aws.stage(), aws.statuses()[0]) == (
        ("BAKE_TIME", "IN_PROGRESS")
        if action == "CONTINUE"
        else ("POST_PRODUCTION_TRAFFIC_SHIFT", "ROLLBACK_IN_PROGRESS")
    )
    aws.clock.sleep(600)
    assert aws.statuses()[0] == status
    if action == "ROLLBACK":
        reason = f"POST_PRODUCTION_TRAFFIC_SHIFT lifecycle hook(s) failed. Lifecycle hook {detail['hookId']} timed out."
        assert aws.newest()["statusReason"] == f"Service deployment rolled back because {reason}"


def test_a_service_that_is_created_without_tasks_pauses_too(aws: Account) -> None:
    aws.begin(BLUE_GREEN | {"lifecycleHooks": [pause("PRE_SCALE_UP")]}, 0)
    assert (aws.statuses(), aws.stage()) == (["IN_PROGRESS"], "PRE_SCALE_UP")


# Task sets


@pytest.fixture
def codedeploy(aws: Account) -> Account:
    controller = {"deploymentController": {"type": "CODE_DEPLOY"}, "deploymentConfiguration": {}}
    aws.begin({}, 2, loadBalancers=plain(), **controller)
    return aws


def add(aws: Account, image: str) -> Params:
    made = {"taskDefinition": aws.define(image), "loadBalancers": plain(B), "externalId": "d-1"}
    answer: Params = aws.ecs.create_task_set(**WHERE, **made)["taskSet"]
    return answer


def sets(aws: Account) -> list[tuple[Any, ...]]:
    found = aws.service()["taskSets"]
    return [(s["status"], s["taskDefinition"][-5:], s["runningCount"], s["stabilityStatus"]) for s in found]


def test_a_service_of_codedeploy_starts_with_a_primary_task_set_and_without_deployments(codedeploy: Account) -> None:
    assert sets(codedeploy) == [("PRIMARY", "web:1", 2, "STEADY_STATE")]
    assert (codedeploy.deployments(), codedeploy.service()["deployments"]) == ([], [])
    assert codedeploy.traffic() == {"v1": 100}


@pytest.mark.parametrize(
    "change",
    [
        {"taskDefinition": "web:1"},
        {"networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}},
        {"loadBalancers": plain()},
        {"platformVersion": "LATEST"},
        {"forceNewDeployment": True},
    ],
)
def test_a_service_of_codedeploy_rejects_updates_that_deploy(codedeploy: Account, change: Params) -> None:
    message = "Use AWS CodeDeploy to trigger a new deployment."
    assert refused(codedeploy.ecs.update_service, **WHERE, **change) == ("InvalidParameterException", message)


def test_a_service_of_codedeploy_accepts_other_updates_and_all_its_task_sets_scale(codedeploy: Account) -> None:
    add(codedeploy, "v2")
    codedeploy.update(desiredCount=3, healthCheckGracePeriodSeconds=9, forceNewDeployment=False)
    codedeploy.clock.sleep(20)
    assert [found[2] for found in sets(codedeploy)] == [3, 3]
    codedeploy.update(desiredCount=1)
    assert [found[2] for found in sets(codedeploy)] == [1, 1]
    assert (codedeploy.service()["healthCheckGracePeriodSeconds"], codedeploy.service()["runningCount"]) == (9, 2)


def test_a_second_task_set_becomes_primary_and_the_first_is_deleted(codedeploy: Account) -> None:
    made = add(codedeploy, "v2")
    arn = f"arn:aws:ecs:eu-west-1:123456789012:task-set/main/web/{made['id']}"
    assert (made["taskSetArn"], made["externalId"], made["startedBy"]) == (arn, "d-1", "CODE_DEPLOY")
    assert (made["computedDesiredCount"], made["pendingCount"]) == (2, 2)
    assert (made["scale"], made["loadBalancers"]) == ({"value": 100.0, "unit": "PERCENT"}, plain(B))
    assert sets(codedeploy)[1] == ("ACTIVE", "web:2", 0, "STABILIZING")
    codedeploy.clock.sleep(20)
    assert (sets(codedeploy)[1], codedeploy.running()) == (
        ("ACTIVE", "web:2", 2, "STEADY_STATE"),
        ["v1", "v1", "v2", "v2"],
    )
    assert codedeploy.service()["taskDefinition"].endswith("web:1")

    codedeploy.elb.shift(PRODUCTION, {A: 0, B: 100}, "arn:codedeploy")
    assert (codedeploy.traffic(), codedeploy.shifts()) == ({"v2": 100}, [("arn:codedeploy", PRODUCTION, [0, 100])])
    codedeploy.ecs.update_service_primary_task_set(**WHERE, primaryTaskSet=made["taskSetArn"])
    assert [found[0] for found in sets(codedeploy)] == ["ACTIVE", "PRIMARY"]
    service = codedeploy.service()
    assert (service["taskDefinition"][-5:], service["loadBalancers"]) == ("web:2", plain(B))

    old = {"taskSet": service["taskSets"][0]["id"]}
    assert refused(codedeploy.ecs.delete_task_set, **WHERE, **old)[0] == "InvalidParameterException"
    assert codedeploy.ecs.delete_task_set(**WHERE, **old, force=True)["taskSet"]["status"] == "DRAINING"
    assert (len(sets(codedeploy)), codedeploy.running()) == (1, ["v2", "v2"])
    assert refused(codedeploy.ecs.delete_task_set, **WHERE, **old)[0] == "TaskSetNotFoundException"
    codedeploy.ecs.delete_task_set(**WHERE, taskSet=made["id"], force=True)
    assert refused(codedeploy.ecs.update_service, **WHERE, forceNewDeployment=True)[0] == "InvalidParameterException"


def test_failed_tasks_of_a_task_set_are_replaced_forever(codedeploy: Account) -> None:
    codedeploy.engine.fault = lambda definition: "health check" if definition["revision"] == 2 else None
    add(codedeploy, "v2")
    codedeploy.clock.sleep(600)
    assert sets(codedeploy)[1][3] == "STABILIZING"
    reasons = {task["stoppedReason"] for task in codedeploy.tasks("STOPPED")}
    assert reasons == {"Task failed ELB health checks in (target-group arn:b)"}
    assert len(codedeploy.tasks("STOPPED")) == 40


def test_a_deleted_service_has_no_task_sets_left(codedeploy: Account) -> None:
    codedeploy.ecs.delete_service(**WHERE, force=True)
    assert ("taskSets" in codedeploy.service(), codedeploy.running()) == (False, [])


def test_services_with_the_controller_ecs_have_no_task_sets(aws: Account) -> None:
    aws.begin({})
    definition = aws.define("v2")
    assert refused(aws.ecs.create_task_set, **WHERE, taskDefinition=definition)[0] == "InvalidParameterException"
    assert "taskSets" not in aws.service()


# As through Pulumi's provider


RULE_INPUTS: Params = {
    "listenerArn": "arn:aws:elasticloadbalancing:r:1:listener/app/x/1/2",
    "actions": forward(a=100, b=0),
}


def test_a_rule_of_pulumi_is_found_by_its_arn_and_read_with_changes_by_aws(aws: Account) -> None:
    rule = live.ListenerRule(aws.engine)
    arn, outputs = rule.create("rule", RULE_INPUTS)
    assert outputs == {"arn": arn}
    assert arn.startswith("arn:aws:elasticloadbalancing:r:1:listener-rule/app/x/1/2/")
    aws.elb.shift(arn, {B: 70, A: 30}, INFRASTRUCTURE)
    assert rule.read(arn, RULE_INPUTS) == {"actions": forward(a=30, b=70)}
    same = RULE_INPUTS | {"priority": 2}
    assert rule.update(arn, RULE_INPUTS, same) == {"actions": forward(a=30, b=70)}
    changed = RULE_INPUTS | {"actions": forward(a=1)}
    assert rule.update(arn, RULE_INPUTS, changed) == {"actions": forward(a=1)}
    rule.delete(arn, changed)
    assert (rule.read(arn, changed), aws.elb.weights(arn)) == (None, {})


def test_a_rule_is_read_and_written_after_catching_up_with_the_clock(aws: Account) -> None:
    aws.begin(BLUE_GREEN)
    rule = live.ListenerRule(aws.engine)
    aws.update(taskDefinition=aws.define("v2"))
    aws.clock.sleep(30)
    assert rule.read(PRODUCTION, {}) == {"actions": forward(a=0, b=100)}
    aws.clock.sleep(600)
    assert aws.statuses()[0] == "SUCCESSFUL"
    aws.update(taskDefinition=aws.define("v3"))
    aws.clock.sleep(30)
    rule.update(PRODUCTION, {"actions": forward(a=1)}, {"listenerArn": "arn:l", "actions": forward(a=0, b=100)})
    assert aws.traffic() == {"v2": 100}


def test_ignored_properties_are_not_written_again_although_aws_changed_them_and_a_refresh_read_them(
    aws: Account,
) -> None:
    provider = Aws({"aws:lb/listenerRule:ListenerRule": live.ListenerRule(aws.engine)})
    of: Params = {"urn": "urn", "type": "aws:lb/listenerRule:ListenerRule", "name": "rule"}
    made = provider.Create(pb.CreateRequest(**of, properties=struct(RULE_INPUTS)), None)
    aws.elb.shift(made.id, {A: 0, B: 100}, INFRASTRUCTURE)
    state, inputs = made.properties, RULE_INPUTS
    for priority in (2, 3):
        news = RULE_INPUTS | {"priority": priority}
        update = {"olds": state, "old_inputs": struct(inputs), "news": struct(news)}
        state, inputs = provider.Update(pb.UpdateRequest(**of, id=made.id, **update), None).properties, news
        assert aws.elb.weights(made.id) == {A: 0, B: 100}


def struct(values: Params) -> struct_pb2.Struct:
    result = struct_pb2.Struct()
    result.update(values)
    return result


NETWORK = {"subnets": ["subnet-1"], "securityGroups": ["sg-1"], "assignPublicIp": False}
SERVICE = {
    "cluster": "main",
    "name": "web",
    "launchType": "FARGATE",
    "desiredCount": 0,
    "networkConfiguration": NETWORK,
}
CHOSEN: Params = {
    "deploymentController": {"type": "ECS"},
    "loadBalancers": balancers(),
    "deploymentConfiguration": {
        "strategy": "CANARY",
        "bakeTimeInMinutes": "5",
        "canaryConfiguration": {"canaryPercent": 12.5, "canaryBakeTimeInMinutes": "2"},
        "lifecycleHooks": [pause("POST_SCALE_UP", timeoutInMinutes="7", action="CONTINUE")],
    },
    "deploymentCircuitBreaker": {"enable": True, "rollback": True},
    "alarms": ALARMS,
    "deploymentMinimumHealthyPercent": 100,
    "deploymentMaximumPercent": 200,
    "healthCheckGracePeriodSeconds": 30,
}


def test_a_service_of_pulumi_is_created_with_its_strategy_and_read_unchanged(aws: Account) -> None:
    inputs = SERVICE | CHOSEN | {"taskDefinition": aws.define("v1")}
    service = live.Service(aws.engine)
    service.create("web", inputs)
    assert aws.service()["deploymentConfiguration"] == {
        "strategy": "CANARY",
        "bakeTimeInMinutes": 5,
        "canaryConfiguration": {"canaryPercent": 12.5, "canaryBakeTimeInMinutes": 2},
        "lifecycleHooks": [pause("POST_SCALE_UP", timeoutInMinutes=7, action="CONTINUE")],
        "deploymentCircuitBreaker": {"enable": True, "rollback": True},
        "alarms": ALARMS,
        "minimumHealthyPercent": 100,
        "maximumPercent": 200,
    }
    read = service.read("id", inputs)
    assert read == {key: inputs[key] for key in inputs if key not in ("cluster", "name", "launchType", *CHOSEN)} | {
        key: value for key, value in CHOSEN.items() if key != "deploymentController"
    }


def test_a_service_of_pulumi_without_a_strategy_sends_none(aws: Account) -> None:
    inputs = SERVICE | {"taskDefinition": aws.define("v1")}
    service = live.Service(aws.engine)
    service.create("web", inputs)
    assert service.read("id", inputs) == {key: inputs[key] for key in ("taskDefinition", "desiredCount")} | {
        "networkConfiguration": NETWORK,
        "loadBalancers": [],
        "deploymentConfiguration": {"strategy": "ROLLING"},
        "deploymentCircuitBreaker": {"enable": False, "rollback": False},
        "alarms": {"alarmNames": [], "enable": False, "rollback": False},
        "deploymentMinimumHealthyPercent": 100,
        "deploymentMaximumPercent": 200,
    }


def test_a_service_of_pulumi_can_use_codedeploy(aws: Account) -> None:
    inputs = SERVICE | {"taskDefinition": aws.define("v1"), "deploymentController": {"type": "CODE_DEPLOY"}}
    live.Service(aws.engine).create("web", inputs)
    assert sets(aws) == [("PRIMARY", "web:1", 0, "STEADY_STATE")]


def test_an_update_by_pulumi_sends_what_changed_and_reads_the_pipelines_changes(aws: Account) -> None:
    inputs = SERVICE | CHOSEN | {"taskDefinition": aws.define("v1")}
    service, named = live.Service(aws.engine), list[Params]()
    service.create("web", inputs)
    plan = {"deploymentConfiguration": BLUE_GREEN | {"lifecycleHooks": []}, "desiredCount": 1}
    aws.release("v2", wait=600, **plan)
    update = aws.engine.update_service

    def noted(params: Params) -> Params:
        named.append(params)
        return update(params)

    aws.engine.update_service = noted  # type: ignore[method-assign]
    read = service.update("id", inputs, inputs | {"healthCheckGracePeriodSeconds": 40})
    assert named == [{**WHERE, "healthCheckGracePeriodSeconds": 40}]
    assert (read["taskDefinition"][-5:], read["desiredCount"]) == ("web:2", 1)
    assert read["deploymentConfiguration"] == {"strategy": "BLUE_GREEN", "bakeTimeInMinutes": "5"}
    service.update("id", inputs, inputs | {"alarms": ALARMS | {"enable": False}})
    assert named[1]["deploymentConfiguration"]["alarms"] == ALARMS | {"enable": False}
    assert named[1]["deploymentConfiguration"]["strategy"] == "CANARY"
