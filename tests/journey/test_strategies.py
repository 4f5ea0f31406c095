"""Blue/green, canary, linear and CodeDeploy: releases, settings, failures, and the next `pulumi up`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from standin.executor import Execution

from .conftest import ACTIONS, RELEASED, Stack, ended, failures, watching

Make = Callable[..., Stack]
MANAGED = (*ACTIONS[:-1], "Prepare", "Deploy", "Finish")
QUICK: dict[str, dict[str, Any]] = {
    "blueGreen": {"bakeMinutes": 5},
    "canary": {"percent": 20, "canaryBakeMinutes": 5, "bakeMinutes": 5},
    "linear": {"stepPercent": 50, "stepBakeMinutes": 5, "bakeMinutes": 5},
}
SHARES: dict[str, list[int]] = {"blueGreen": [100], "canary": [20, 100], "linear": [50, 100]}
every_shift = pytest.mark.parametrize(
    "kind", ["blueGreen", "canary", pytest.param("linear", marks=pytest.mark.occasional)]
)


def made_with(stack: Make, **strategy: dict[str, Any]) -> Stack:
    [stage] = [{"strategy": strategy, "tests": {"commands": ['curl -fsS "$SERVICE_URL/healthz"']}}]
    return stack(config={"slipway:stages": [stage]})


def shares(stack: Stack, digest: str, act: Callable[[], Any]) -> list[int]:
    """The percentages of the traffic that an image gets during an action, one after the other."""
    seen: list[int] = []

    def look() -> None:
        share = stack.traffic.get(digest, 0)
        if seen[-1:] != [share]:
            seen.append(share)

    with watching(stack, look):
        act()
    return seen


def image_of(stack: Stack, execution: Execution) -> str:
    assert failures(execution) == []
    assert stack.image == f"@{execution.digest}"
    return execution.digest


@every_shift
def test_a_release_shifts_traffic_with_its_strategy_and_pulumi_does_not_shift_it_back(stack: Make, kind: str) -> None:
    dev = made_with(stack, **{kind: QUICK[kind]})
    assert (dev.image, dev.counts, dev.workspace.preview(refresh=True).changes) == (":unreleased", (0, 0), [])
    first = dev.push()
    assert ended(first) == RELEASED
    assert (dev.traffic, dev.bounds) == ({first.digest: 100}, (1, 2))

    began, weights = dev.account.clock.now(), dev.weights
    seen = shares(dev, first.digest, lambda: image_of(dev, dev.release("Second commit")))
    assert seen == [100, *(100 - share for share in SHARES[kind])]
    minutes = sum(value for key, value in QUICK[kind].items() if key.endswith("Minutes"))
    assert minutes * 60 <= dev.account.clock.now() - began <= (minutes + 3) * 60
    assert dev.weights == weights[::-1]

    assert dev.workspace.preview().changes == []
    assert dev.workspace.preview(refresh=True).changes == []
    dev.workspace.refresh()
    assert dev.workspace.up().changes == []
    assert dev.weights == weights[::-1]


def test_a_canary_of_a_service_with_sticky_sessions_shifts_traffic_and_stays_sticky(stack: Make) -> None:
    stages = [{"strategy": {"canary": QUICK["canary"]}}]
    dev = stack(config={"slipway:stages": stages}, stickiness={"durationSeconds": 600})
    first = dev.push()
    assert seen_shares(dev, first.digest) == [100, 80, 0]
    [action] = dev.account.elb.actions(dev.account.production_rule("storefront-dev")) or []
    assert action["forward"]["stickiness"] == {"enabled": True, "duration": 600}
    assert dev.workspace.preview(refresh=True).changes == []
    # It can be turned off at any time; the rule stays as it is.
    weights = dev.weights
    dev.up()
    assert (dev.weights, dev.workspace.preview().changes) == (weights, [])


def test_sticky_sessions_of_a_running_service_need_a_rule_that_allows_them(stack: Make) -> None:
    dev = made_with(stack, canary=QUICK["canary"])
    dev.push()
    dev.release("Second commit")
    weights = dev.weights
    with pytest.raises(Exception, match="You must enable group stickiness before enabling target stickiness"):
        dev.up(stickiness={"durationSeconds": 600})
    # As docs/operations.md says: the same groups and weights, with stickiness.
    rule = dev.account.production_rule("storefront-dev")
    [action] = dev.account.elb.actions(rule) or []
    sticky = {**action["forward"], "stickiness": {"enabled": True, "duration": 600}}
    dev.account.elb.set(rule, [{**action, "forward": sticky}])
    dev.workspace.up()
    assert (dev.weights, dev.workspace.preview(refresh=True).changes) == (weights, [])
    assert seen_shares(dev, dev.image.removeprefix("@")) == [100, 80, 0]


def seen_shares(dev: Stack, digest: str) -> list[int]:
    return shares(dev, digest, lambda: image_of(dev, dev.release("Another commit")))


@pytest.mark.rule("R2")
@every_shift
def test_a_change_of_settings_shifts_traffic_to_the_same_image_in_the_same_up(stack: Make, kind: str) -> None:
    dev = made_with(stack, **{kind: QUICK[kind]})
    live = dev.push()
    weights = dev.weights
    dev.up(cpu=512, memory=1024)
    assert (dev.image, dev.running["cpu"], dev.counts) == (f"@{live.digest}", "512", (1, 1))
    assert (dev.traffic, dev.weights) == ({live.digest: 100}, weights[::-1])
    # Timers are settings too; changing them deletes nothing.
    revision = dev.running["revision"]
    dev.strategy(**{kind: {**QUICK[kind], "bakeMinutes": 7}})
    dev.workspace.up()
    assert dev.service["deploymentConfiguration"]["bakeTimeInMinutes"] == 7
    assert (dev.running["revision"], dev.workspace.preview(refresh=True).changes) == (revision, [])


@every_shift
def test_tasks_that_do_not_start_get_no_traffic_and_the_release_fails(stack: Make, kind: str) -> None:
    dev = made_with(stack, **{kind: QUICK[kind]})
    good = dev.push()
    dev.account.ecs.fault = lambda definition: None if good.digest in str(definition) else "exit 1"
    dev.commit("Does not start")
    seen = shares(dev, good.digest, lambda: dev.push())
    bad = dev.account.codepipeline.executions[-1]
    assert (seen, ended(bad)["Deploy"]) == ([100], "Failed")
    assert "container app exited with 1" in bad.action("Deploy").message
    dev.account.clock.sleep(120)
    assert (dev.image, dev.counts, dev.traffic) == (f"@{good.digest}", (1, 1), {good.digest: 100})
    assert dev.state("claim")["phase"] == "failed"
    assert dev.workspace.preview(refresh=True).changes == []


@every_shift
def test_a_failed_first_release_leaves_no_tasks(stack: Make, kind: str) -> None:
    dev = made_with(stack, **{kind: QUICK[kind]})
    dev.account.ecs.fault = lambda definition: "exit 1"
    assert ended(dev.push())["Deploy"] == "Failed"
    assert (dev.counts, dev.state("verified")) == ((0, 0), None)
    dev.account.ecs.fault = lambda definition: None
    assert failures(dev.push()) == []
    assert dev.traffic == {dev.image.removeprefix("@"): 100}


def test_the_strategy_of_a_running_service_is_changed_in_one_up_and_the_traffic_stays_with_its_image(
    stack: Make,
) -> None:
    dev = stack()
    dev.push()
    for kind in ("canary", "blueGreen", "rolling", "linear", "rolling"):
        dev.strategy(**{kind: QUICK.get(kind, {})})
        seen = shares(dev, dev.image.removeprefix("@"), lambda: dev.workspace.up())
        assert set(seen) <= {100}, kind
        assert dev.service["deploymentConfiguration"]["strategy"] == {"blueGreen": "BLUE_GREEN"}.get(kind, kind.upper())
        assert dev.workspace.preview(refresh=True).changes == []
        released = dev.release(f"By {kind}")
        assert (dev.image, dev.traffic) == (f"@{released.digest}", {released.digest: 100})
        assert dev.workspace.preview(refresh=True).changes == []


def test_an_alarm_rolls_back_a_release_and_is_named(stack: Make) -> None:
    dev = made_with(stack, blueGreen=QUICK["blueGreen"])
    good = dev.push()
    dev.commit("Answers with errors")
    alarm = dev.account.aws.find("aws:cloudwatch/metricAlarm:MetricAlarm").inputs["name"]

    def go_off() -> None:
        if good.digest not in dev.traffic:
            dev.account.ecs.alarms.add(alarm)

    with watching(dev, go_off):
        bad = dev.push()
    assert ended(bad)["Deploy"] == "Failed"
    assert f"alarms: {alarm}" in bad.action("Deploy").message
    dev.account.clock.sleep(120)
    assert (dev.image, dev.traffic) == (f"@{good.digest}", {good.digest: 100})


@pytest.mark.parametrize(("action", "status"), [("CONTINUE", "Succeeded"), ("ROLLBACK", "Failed")])
def test_a_pause_waits_to_be_continued_and_the_action_says_how(stack: Make, action: str, status: str) -> None:
    hook = {"stages": ["POST_TEST_TRAFFIC_SHIFT"], "timeoutMinutes": 120}
    dev = made_with(stack, blueGreen={**QUICK["blueGreen"], "hooks": [hook]})

    def answer() -> None:
        of = {"cluster": "storefront-dev", "service": "storefront-dev"}
        listed = dev.account.ecs.list_service_deployments(of)["serviceDeployments"]
        arns = [brief["serviceDeploymentArn"] for brief in listed]
        for deployment in dev.account.ecs.describe_service_deployments({"serviceDeploymentArns": arns})[
            "serviceDeployments"
        ]:
            for paused in deployment.get("lifecycleHookDetails", []):
                # Somebody responds after half an hour.
                late = dev.account.clock.now() > deployment["createdAt"] + 1800
                if paused["status"] == "AWAITING_ACTION" and deployment["status"] == "IN_PROGRESS" and late:
                    arn = deployment["serviceDeploymentArn"]
                    request = {"serviceDeploymentArn": arn, "hookId": paused["hookId"], "action": action}
                    dev.account.ecs.continue_service_deployment(request)

    # The service was created without its hooks, so that nothing waited before there was anything to release.
    assert dev.workspace.preview(refresh=True).changes == []
    began = dev.account.clock.now()
    with watching(dev, answer):
        released = dev.push()
    assert ended(released)["Deploy"] == status
    assert dev.account.clock.now() - began > 1800
    log = dev.account.lambdas.log_path.read_text()
    assert "it is paused until somebody runs aws ecs continue-service-deployment --action CONTINUE --hook-id" in log
    assert dev.counts == ((1, 1) if action == "CONTINUE" else (0, 0))


@pytest.mark.rule("R9")
def test_a_change_of_settings_during_a_canary_ends_with_the_newest_image_and_settings(
    stack: Make,
) -> None:
    dev = made_with(stack, canary=QUICK["canary"])
    good = dev.push()
    done: list[str] = []

    def change() -> None:
        if not done and dev.traffic.get(good.digest) == 80:
            done.append("changed")
            sleep, dev.account.clock.sleep = dev.account.clock.sleep, original  # type: ignore[method-assign]
            dev.up(cpu=512, memory=1024)
            dev.account.clock.sleep = sleep  # type: ignore[method-assign]

    original = dev.account.clock.sleep
    with watching(dev, change):
        second = dev.release("Second commit")
    assert (done, dev.image, dev.running["cpu"]) == (["changed"], f"@{second.digest}", "512")
    assert (dev.traffic, dev.counts) == ({second.digest: 100}, (1, 1))
    assert dev.workspace.preview(refresh=True).changes == []


def test_codedeploy_shifts_traffic_to_what_the_function_prepared_and_pulumi_does_not_shift_it_back(stack: Make) -> None:
    dev = made_with(stack, codeDeployBlueGreen={"terminationMinutes": 5})
    assert (dev.counts, dev.workspace.preview(refresh=True).changes) == ((0, 0), [])
    first = dev.push()
    assert (ended(first), failures(first)) == (dict.fromkeys(MANAGED, "Succeeded"), [])
    assert (dev.image, dev.counts, dev.bounds, dev.traffic) == (f"@{first.digest}", (1, 1), (1, 2), {first.digest: 100})

    weights = dev.weights
    seen = shares(dev, first.digest, lambda: dev.release("Second commit"))
    assert seen == [100, 90, 0]
    second = dev.account.codepipeline.executions[-1]
    assert (dev.image, dev.traffic, dev.weights) == (f"@{second.digest}", {second.digest: 100}, weights[::-1])
    assert dev.moving()["verified-dev"] == second.digest
    assert dev.workspace.preview(refresh=True).changes == []
    dev.workspace.refresh()
    assert dev.workspace.up().changes == []
    assert dev.weights == weights[::-1]


def test_with_codedeploy_the_function_deploys_a_change_of_settings_with_the_live_image(
    stack: Make,
) -> None:
    dev = made_with(stack, codeDeployBlueGreen={"terminationMinutes": 5})
    live = dev.push()
    dev.up(cpu=512, memory=1024)
    assert (dev.image, dev.running["cpu"], dev.counts) == (f"@{live.digest}", "512", (1, 1))
    assert dev.traffic == {live.digest: 100}
    assert dev.workspace.preview(refresh=True).changes == []
    # Counts need no deployment, however old the tasks are.
    dev.account.clock.sleep(86_400)
    dev.up(cpu=512, memory=1024, tasks={"min": 2, "max": 4})
    assert (dev.counts, dev.bounds) == ((2, 2), (2, 4))
    # The next release is prepared from the newest settings.
    newer = dev.release("Second commit")
    assert (dev.image, dev.running["cpu"]) == (f"@{newer.digest}", "512")


def test_after_a_rollback_by_codedeploy_the_next_up_deploys_the_verified_image_with_new_settings(
    stack: Make,
) -> None:
    dev = made_with(stack, codeDeployBlueGreen={"terminationMinutes": 5})
    good = dev.push()
    dev.account.ecs.fault = lambda definition: None if good.digest in str(definition) else "exit 1"
    dev.commit("Does not start")
    bad = dev.push()
    assert ended(bad) == {**dict.fromkeys(MANAGED[:-2], "Succeeded"), "Deploy": "Failed"}
    dev.account.clock.sleep(600)
    assert (dev.image, dev.counts, dev.traffic) == (f"@{good.digest}", (1, 1), {good.digest: 100})
    assert dev.workspace.preview(refresh=True).changes == []
    dev.up(cpu=512, memory=1024)
    assert (dev.image, dev.running["cpu"], dev.traffic) == (f"@{good.digest}", "512", {good.digest: 100})
    assert dev.state("claim")["phase"] == "failed"


@pytest.mark.occasional
def test_an_up_during_a_rollback_by_codedeploy_deploys_the_verified_image_with_the_new_settings(stack: Make) -> None:
    dev = made_with(stack, codeDeployBlueGreen={"terminationMinutes": 5})
    good = dev.push()
    dev.account.ecs.fault = lambda definition: None if good.digest in str(definition) else "exit 1"
    dev.commit("Does not start")
    assert ended(dev.push())["Deploy"] == "Failed"
    dev.up(cpu=512, memory=1024)
    assert (dev.image, dev.running["cpu"], dev.traffic) == (f"@{good.digest}", "512", {good.digest: 100})
    assert dev.state("claim")["phase"] == "failed"


def test_with_codedeploy_failed_tests_roll_back_to_the_verified_image(stack: Make) -> None:
    dev = made_with(stack, codeDeployBlueGreen={"terminationMinutes": 5})
    good = dev.push()
    dev.commit("Breaks the tests", {"broken": "yes"})
    stage = {
        "strategy": {"codeDeployBlueGreen": {"terminationMinutes": 5}},
        "tests": {"commands": ["test ! -f broken"]},
    }
    dev.workspace.configure({"slipway:stages": [stage]})
    dev.workspace.up()
    bad = dev.push()
    assert ended(bad) == {**dict.fromkeys(MANAGED[:-1], "Succeeded"), "Finish": "Failed"}
    assert "the tests of dev ended FAILED" in bad.action("Finish").message.replace("The tests", "the tests")
    assert (dev.image, dev.traffic) == (f"@{good.digest}", {good.digest: 100})
    assert dev.moving()["verified-dev"] == good.digest


def test_codepipelines_own_ecs_action_deploys_and_the_function_finishes(stack: Make) -> None:
    dev = made_with(stack, rolling={"ecsAction": True})
    first = dev.push()
    assert (ended(first), failures(first)) == (dict.fromkeys(MANAGED, "Succeeded"), [])
    assert (dev.image, dev.counts, dev.bounds) == (f"@{first.digest}", (1, 1), (1, 2))
    second = dev.release("Second commit")
    revision = dev.running["revision"]
    assert (dev.image, dev.moving()["verified-dev"]) == (f"@{second.digest}", second.digest)
    # The action's revision equals the template's, so the function deploys no second one.
    assert f"storefront-dev:{revision}" in second.action("Finish").message
    calls = [c for c in dev.account.api.calls if c.operation == "RegisterTaskDefinition" and "pipeline" in c.principal]
    assert len(calls) == 2
    assert dev.workspace.preview(refresh=True).changes == []


def test_the_ecs_action_does_not_notice_a_rollback_and_fails_at_its_timeout_as_documented(
    stack: Make,
) -> None:
    dev = made_with(stack, rolling={"ecsAction": True})
    good = dev.push()
    dev.account.ecs.fault = lambda definition: None if good.digest in str(definition) else "exit 1"
    dev.commit("Does not start")
    began = dev.account.clock.now()
    bad = dev.push()
    assert ended(bad)["Deploy"] == "Failed"
    assert 600 <= dev.account.clock.now() - began <= 660
    assert (dev.image, dev.traffic) == (f"@{good.digest}", {good.digest: 100})
    dev.up(cpu=512, memory=1024)
    assert (dev.image, dev.running["cpu"]) == (f"@{good.digest}", "512")


def test_blue_green_behind_an_existing_load_balancer_changes_nothing_of_it_but_its_rules(stack: Make) -> None:
    # The account of a journey is restored between stacks, but nobody's load balancer is part of no stack.
    there = {"vpcId": "vpc-0a1b2c3d", "privateSubnetIds": ["subnet-a", "subnet-b"]}
    probe = stack(config={"slipway:network": {"existing": {**there, "publicSubnetIds": ["subnet-c", "subnet-d"]}}})
    account = probe.account
    account.share("acme-shared", 443, 8443)
    existing = {"existing": {"name": "acme-shared", "listenerPort": 443, "testListenerPort": 8443}}
    probe.workspace.configure(
        {"slipway:loadBalancer": existing, "slipway:stages": [{"strategy": {"blueGreen": QUICK["blueGreen"]}}]}
    )
    probe.up(hosts=["shop.example.com"], url="https://shop.example.com")
    assert [r.name for r in account.events.all("aws:lb/loadBalancer:LoadBalancer")] == []
    first = probe.push()
    assert failures(first) == []
    assert account.traffic("acme-shared") == {first.digest: 100}
    second = probe.release("Second commit")
    assert account.traffic("acme-shared") == {second.digest: 100}
    assert probe.workspace.preview(refresh=True).changes == []
    assert account.shared["acme-shared"]["securityGroups"] == ["sg-00000000000000000"]
