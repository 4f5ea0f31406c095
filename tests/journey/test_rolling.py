"""Releases with the strategy Rolling, from a commit to a service that runs it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from pulumi.automation import CommandError

from .conftest import RELEASED, Stack, ended, until

Make = Callable[..., Stack]
UNRELEASED = ":unreleased"
BROKEN_TEST = """
import unittest

class Broken(unittest.TestCase):
    def test(self):
        self.fail()
"""


def breaks(fault: str, good: str, definition: dict[str, Any]) -> str | None:
    """Breaks the tasks of all images but one."""
    return None if good in str(definition) else fault


def test_a_commit_goes_live_and_so_does_the_next(stack: Make) -> None:
    dev = stack()
    assert (dev.image, dev.counts) == (UNRELEASED, (0, 0))

    first = dev.push()
    assert ended(first) == RELEASED
    assert (dev.image, dev.counts, dev.bounds) == (f"@{first.digest}", (1, 1), (1, 2))

    second = dev.release("Second commit")
    assert second.digest != first.digest
    assert (dev.image, dev.counts, dev.bounds) == (f"@{second.digest}", (1, 1), (1, 2))
    assert dev.state("verified")["commit"] == second.variables["Source.CommitId"]


@pytest.mark.rule("R7")
def test_a_release_moves_the_tags_that_protect_its_image_and_earlier_ones_from_expiring(stack: Make) -> None:
    dev = stack(keepVerified=2)
    digests = [dev.push().digest, dev.release("Second").digest, dev.release("Third").digest]
    moving = {tag: digest for tag, digest in dev.tags().items() if tag.startswith(("live-", "verified-"))}
    assert moving == {
        "live-dev": digests[2],
        "verified-dev": digests[2],
        "verified-dev-0": digests[2],
        "verified-dev-1": digests[1],
    }


@pytest.mark.rule("R1")
@pytest.mark.quick
def test_a_release_by_the_pipeline_is_not_a_change_for_pulumi(stack: Make) -> None:
    dev = stack()
    dev.push()
    assert dev.workspace.preview().changes == []
    assert dev.workspace.preview(refresh=True).changes == []
    dev.workspace.refresh()
    assert dev.workspace.preview().changes == []
    assert dev.workspace.up().changes == []


@pytest.mark.rule("R8")
@pytest.mark.quick
def test_a_failed_first_release_leaves_no_tasks_and_its_action_fails_with_the_reason(stack: Make) -> None:
    dev = stack()
    dev.account.ecs.fault = lambda definition: "exit 1"
    failed = dev.push()

    assert ended(failed) == until("Deploy", "Failed")
    message = failed.action("Deploy").message
    assert "container app exited with 1" in message
    assert "No image was verified before, so the service goes back to zero tasks." in message
    assert dev.counts == (0, 0)
    assert (dev.state("claim")["phase"], dev.state("verified")) == ("failed", None)
    assert dev.workspace.preview(refresh=True).changes == []

    dev.account.ecs.fault = lambda definition: None
    fixed = dev.release("Fixed")
    assert (dev.image, dev.counts) == (f"@{fixed.digest}", (1, 1))


@pytest.mark.rule("R4")
@pytest.mark.quick
def test_releases_that_ecs_rolls_back_fail_within_a_minute_with_the_reason_of_ecs(stack: Make) -> None:
    dev = stack()
    good = dev.push()
    reasons = {
        "exit 3": "container app exited with 3",
        "health check": "health checks",
        "CannotPullContainerError": "CannotPullContainerError",
    }
    for fault, reason in reasons.items():
        dev.account.ecs.fault = partial(breaks, fault, good.digest)
        dev.commit(f"Broken: {fault}")
        bad = dev.push()

        assert ended(bad)["Deploy"] == "Failed"
        message = bad.action("Deploy").message
        assert reason in message
        assert f"Rolling back to the last verified image, {dev.state('verified')['image']}" in message
        deployments = dev.account.ecs.list_service_deployments(
            {"cluster": "storefront-dev", "service": "storefront-dev"}
        )
        newest = [deployments["serviceDeployments"][0]["serviceDeploymentArn"]]
        [failed] = dev.account.ecs.describe_service_deployments({"serviceDeploymentArns": newest})["serviceDeployments"]
        assert 0 <= bad.action("Deploy").ended - failed["rollback"]["startedAt"] <= 60

        dev.account.clock.sleep(120)
        assert (dev.image, dev.counts) == (f"@{good.digest}", (1, 1))
        assert (dev.state("claim")["phase"], dev.history()[0]["result"]) == ("failed", "failed")
        assert dev.tags()["verified-dev"] == dev.tags()["live-dev"] == good.digest
    assert dev.workspace.preview(refresh=True).changes == []


def test_flapping_tasks_are_stopped_at_the_deadline_and_the_verified_image_is_restored(stack: Make) -> None:
    dev = stack()
    good = dev.push()
    dev.account.ecs.fault = lambda definition: "flapping" if good.digest not in str(definition) else None
    dev.commit("Flapping")
    began = dev.account.clock.now()
    bad = dev.push()

    assert ended(bad)["Deploy"] == "Failed"
    assert "did not finish within its 10 minutes and was stopped" in bad.action("Deploy").message
    assert 600 <= dev.account.clock.now() - began <= 900
    dev.account.clock.sleep(120)
    assert (dev.image, dev.counts) == (f"@{good.digest}", (1, 1))


def test_failing_unit_tests_push_nothing_and_release_nothing(stack: Make) -> None:
    dev = stack(own_tests=True)
    dev.commit(
        "Breaks a test",
        {"app/test_server.py": BROKEN_TEST},
    )
    failed = dev.push()
    assert ended(failed) == until("Build", "Failed")
    assert failed.action("Build").message == (
        "Build terminated with state: FAILED. slipway: the test command 'cd app && python3 -m unittest' failed with "
        "exit status 1: nothing was pushed; its output is above."
    )
    assert dev.tags() == {}
    assert (dev.image, dev.counts) == (UNRELEASED, (0, 0))


def test_a_second_build_of_a_commit_releases_the_image_of_the_first(stack: Make) -> None:
    dev = stack()
    first = dev.push()
    again = dev.push()
    assert ended(again) == RELEASED
    assert again.digest == first.digest
    assert "nothing is built: the image of this commit with these settings exists" in again.action("Build").log
    assert dev.running["revision"] == 1


@pytest.mark.rule("R6")
def test_an_earlier_commit_is_released_again_without_a_build(stack: Make) -> None:
    dev = stack()
    first = dev.push()
    second = dev.release("Second")
    again = dev.account.codepipeline.start("storefront-dev", commit=first.variables["Source.CommitId"])
    assert again.status == "Succeeded"
    assert "nothing is built: the image of this commit with these settings exists" in again.action("Build").log
    assert (dev.image, again.digest) == (f"@{first.digest}", first.digest)
    assert dev.state("verified")["slots"] == [[first.digest, 0], [second.digest, 1]]
    assert dev.workspace.preview(refresh=True).changes == []


def test_a_commit_is_built_again_where_somebody_asks_for_it(stack: Make) -> None:
    dev = stack()
    first = dev.push()
    again = dev.start(variables={"REBUILD": "true"})
    assert ended(again) == RELEASED
    assert "nothing is built" not in again.action("Build").log
    tags = {tag for tag in dev.tags() if tag.startswith(first.variables["Source.CommitId"])}
    # The prebuilt image of these tests is the same both times.
    assert tags == {first.variables["Build.IMAGE_TAG"], f"{first.variables['Build.IMAGE_TAG']}-{again.id[:8]}"}
    assert dev.state("verified")["commit"] == first.variables["Source.CommitId"]


def test_other_build_arguments_make_another_image_of_the_same_commit(stack: Make) -> None:
    dev = stack()
    first = dev.push()
    build = {"context": "app", "buildArgs": {"BASE_IMAGE": "other"}, "testCommands": ["test -f app/server.py"]}
    dev.workspace.configure({"slipway:build": build})
    dev.workspace.up()
    again = dev.push()
    assert ended(again) == RELEASED
    assert dev.image == f"@{again.digest}" != f"@{first.digest}"
    assert dev.state("verified")["commit"] == first.variables["Source.CommitId"]


def test_a_failed_deploy_stage_can_be_retried(stack: Make) -> None:
    dev = stack()
    dev.account.ecs.fault = lambda definition: "exit 1"
    failed = dev.push()
    assert failed.status == "Failed"

    dev.account.ecs.fault = lambda definition: None
    retried = dev.account.codepipeline.retry(failed, "dev")
    assert retried.status == "Succeeded"
    assert (dev.image, dev.counts) == (f"@{failed.digest}", (1, 1))


@pytest.mark.rule("R2")
@pytest.mark.quick
def test_a_change_of_settings_reaches_the_service_with_the_live_image(stack: Make) -> None:
    dev = stack()
    live = dev.push()
    changed = dev.up(cpu=512, memory=1024, environment={"GREETING": "Good evening"})
    assert sorted({step.name for step in changed.changes}) == [
        "storefront-dev-release",  # the hash of the settings
        "storefront-dev-release-rollout-1",
        "storefront-dev-template",
    ]
    assert (dev.image, dev.running["cpu"], dev.counts) == (f"@{live.digest}", "512", (1, 1))
    assert dev.running["containerDefinitions"][0]["environment"] == [{"name": "GREETING", "value": "Good evening"}]
    assert dev.workspace.preview(refresh=True).changes == []


def test_a_change_of_the_port_reaches_the_service_in_one_deployment(stack: Make) -> None:
    dev = stack()
    live = dev.push()
    changed = dev.up(port=9090)
    assert dev.running["containerDefinitions"][0]["portMappings"][0]["containerPort"] == 9090
    [balancer] = dev.service["loadBalancers"]
    assert (dev.image, balancer["containerPort"], dev.counts) == (f"@{live.digest}", 9090, (1, 1))
    assert dev.running["revision"] == 2
    # The rule for the old port is removed after its tasks have stopped, and not before.
    order = [step.name for step in changed.steps if step.op in ("create", "create-replacement", "delete")]
    assert order.index("storefront-dev-in-9090") < order.index("storefront-dev-release-rollout-1")
    assert order.index("storefront-dev-release-rollout-1") < order.index("storefront-dev-in-8080")
    assert dev.workspace.preview(refresh=True).changes == []


def test_a_change_of_the_network_reaches_the_service_or_fails_the_up_until_it_does(stack: Make) -> None:
    dev = stack()
    live = dev.push()
    there = {"vpcId": "vpc-2", "publicSubnetIds": ["subnet-a", "subnet-b"], "privateSubnetIds": ["subnet-c"]}
    dev.workspace.configure({"slipway:network": {"existing": there}})
    dev.account.ecs.fault = lambda definition: "exit 1"
    with pytest.raises(CommandError, match="does not run with the new settings"):
        dev.workspace.up()
    assert dev.image == f"@{live.digest}"
    dev.account.ecs.fault = lambda definition: None
    dev.workspace.up()
    network = dev.service["networkConfiguration"]["awsvpcConfiguration"]
    assert (network["subnets"], network["assignPublicIp"]) == (["subnet-c"], "DISABLED")
    assert (dev.image, dev.counts) == (f"@{live.digest}", (1, 1))

    dev.workspace.configure({"slipway:network": {"existing": {**there, "assignPublicIp": True}}})
    dev.workspace.up()
    network = dev.service["networkConfiguration"]["awsvpcConfiguration"]
    assert (network["subnets"], network["assignPublicIp"]) == (["subnet-a", "subnet-b"], "ENABLED")
    assert (dev.image, dev.counts) == (f"@{live.digest}", (1, 1))
    assert dev.workspace.preview(refresh=True).changes == []


def test_a_count_that_cannot_be_reached_can_be_reverted(stack: Make) -> None:
    dev = stack(tasks={"min": 1})
    dev.push()
    dev.account.ecs.fault = lambda definition: "exit 1"
    dev.change(tasks={"min": 4})
    with pytest.raises(CommandError, match="did not reach a steady state in time: 1 of 4 tasks running"):
        dev.workspace.up()
    assert dev.counts[0] == 4
    dev.account.ecs.fault = lambda definition: None
    dev.up(tasks={"min": 1})
    assert dev.counts == (1, 1)


@pytest.mark.rule("R3")
@pytest.mark.quick
def test_a_change_of_settings_before_the_first_release_applies_to_it(stack: Make) -> None:
    dev = stack()
    dev.up(cpu=512, memory=1024)
    assert (dev.image, dev.counts) == (UNRELEASED, (0, 0))
    dev.push()
    assert (dev.running["cpu"], dev.counts) == ("512", (1, 1))


@pytest.mark.rule("R2")
def test_settings_that_fail_fail_the_up_and_do_not_affect_running_tasks(stack: Make) -> None:
    dev = stack()
    live = dev.push()
    dev.account.ecs.fault = lambda definition: "exit 1" if definition["cpu"] == "512" else None
    dev.change(cpu=512, memory=1024)
    with pytest.raises(CommandError) as failure:
        dev.workspace.up()
    assert "the image did not change, so the new settings are at fault" in str(failure.value)
    assert "container app exited with 1" in str(failure.value)
    dev.account.clock.sleep(120)
    assert (dev.image, dev.running["cpu"], dev.counts) == (f"@{live.digest}", "256", (1, 1))

    # The next preview shows what is still to be done, and reverting the settings resolves it.
    todo = {(step.op, step.name) for step in dev.workspace.preview().changes}
    assert {step for step in todo if not step[0].startswith("delete")} == {
        ("create-replacement", "storefront-dev-release-rollout-1"),
        ("replace", "storefront-dev-release-rollout-1"),
    }
    dev.account.ecs.fault = lambda definition: None
    dev.up(cpu=256, memory=512)
    assert (dev.image, dev.running["cpu"], dev.counts) == (f"@{live.digest}", "256", (1, 1))
    assert dev.workspace.preview(refresh=True).changes == []


@pytest.mark.rule("R3")
def test_a_release_reports_that_new_settings_may_be_at_fault(stack: Make) -> None:
    dev = stack()
    dev.push()
    dev.account.ecs.fault = lambda definition: "exit 1" if definition["cpu"] == "512" else None
    dev.change(cpu=512, memory=1024)
    with pytest.raises(CommandError):
        dev.workspace.up()
    dev.commit("Second")
    bad = dev.push()
    assert "It came with settings that storefront-dev:1 did not have: either may be at fault." in (
        bad.action("Deploy").message
    )


@pytest.mark.rule("R9")
@pytest.mark.quick
def test_a_change_of_settings_during_a_release_ends_with_the_newest_image_and_settings(stack: Make) -> None:
    dev = stack()
    dev.push()
    changed: list[bool] = []

    def change_meanwhile(definition: dict[str, Any]) -> None:
        """When the tasks of the new image are about to start, somebody runs `pulumi up`."""
        if definition["revision"] == 2 and not changed:
            changed.append(True)
            changes.start()

    changes = threading.Thread(target=lambda: dev.up(cpu=512, memory=1024))
    dev.account.ecs.start_seconds = 200
    dev.account.ecs.fault = change_meanwhile
    second = dev.release("Second")
    changes.join()
    assert changed == [True]
    assert (dev.image, dev.running["cpu"], dev.counts) == (f"@{second.digest}", "512", (1, 1))
    assert dev.state("verified")["image"].endswith(second.digest)
    assert dev.workspace.preview(refresh=True).changes == []


def test_counts_change_with_autoscaling_and_without(stack: Make) -> None:
    dev = stack()
    dev.push()
    assert (dev.counts, dev.bounds) == ((1, 1), (1, 2))

    dev.up(tasks={"min": 2, "max": 4})
    assert (dev.counts, dev.bounds) == ((2, 2), (2, 4))
    assert dev.running["revision"] == 1

    dev.up(tasks={"min": 3})
    assert dev.counts == (3, 3)
    assert dev.account.autoscaling.describe_scalable_targets({})["ScalableTargets"] == []

    dev.up(tasks={"min": 1})
    assert dev.counts == (1, 1)

    dev.up(tasks={"min": 1, "max": 3})
    assert (dev.counts, dev.bounds) == ((1, 1), (1, 3))
    assert dev.workspace.preview(refresh=True).changes == []


def test_a_schedule_changes_the_bounds_after_the_first_release_and_releases_leave_them(stack: Make) -> None:
    schedules = [{"schedule": "rate(1 day)", "min": 3, "max": 6}]
    dev = stack(tasks={"min": 1, "max": 4, "schedules": schedules})
    begin = partial(dev.account.autoscaling.start_scheduled_action, "storefront-dev-scaling-schedule-1")
    begin()
    assert (dev.counts, dev.bounds) == ((0, 0), (0, 4))
    dev.push()
    assert (dev.counts, dev.bounds) == ((1, 1), (1, 4))
    begin()
    dev.release("Second")
    assert (dev.counts, dev.bounds) == ((3, 3), (3, 6))
    dev.up(cpu=512, memory=1024, tasks={"min": 1, "max": 4, "schedules": schedules})
    assert (dev.counts, dev.bounds) == ((3, 3), (3, 6))
    assert dev.workspace.preview(refresh=True).changes == []


def test_a_count_chosen_by_autoscaling_survives_a_release_and_a_change_of_settings(stack: Make) -> None:
    dev = stack(tasks={"min": 1, "max": 4})
    dev.push()
    dev.account.ecs.update_service({"cluster": "storefront-dev", "service": "storefront-dev", "desiredCount": 3})
    dev.release("Second")
    assert (dev.counts, dev.bounds) == ((3, 3), (1, 4))
    dev.up(cpu=512, memory=1024, tasks={"min": 1, "max": 4})
    assert (dev.counts, dev.bounds) == ((3, 3), (1, 4))


def test_destroy_leaves_only_task_definition_revisions_and_the_release_state(stack: Make) -> None:
    dev = stack()
    dev.push()
    dev.workspace.configure({"slipway:registry": {"forceDelete": True}})
    dev.workspace.up()
    dev.workspace.destroy()
    # The release state is retained, unless the stack file overrides that.
    assert [resource.name for resource in dev.account.aws.resources.values()] == ["storefront-dev-release"]
    assert dev.state("verified") is not None
    families = dev.account.ecs.list_task_definitions({})["taskDefinitionArns"]
    assert [arn.rpartition("/")[2] for arn in families] == ["storefront-dev:1", "storefront-dev-template:1"]
    assert dev.account.client("s3").list_buckets()["Buckets"] == []


SPOT = [
    {"capacityProvider": "FARGATE", "weight": 1, "base": 1},
    {"capacityProvider": "FARGATE_SPOT", "weight": 3, "base": 0},
]


def test_a_running_service_moves_to_spot_and_back_by_deployments_and_a_failure_leaves_it_where_it_is(
    stack: Make,
) -> None:
    def capacity() -> tuple[Any, Any]:
        return dev.service.get("launchType"), dev.service.get("capacityProviderStrategy", [])

    dev = stack()
    live = dev.push()
    assert capacity() == ("FARGATE", [])

    dev.up(capacity={"fargateSpot": {}})
    assert (capacity(), dev.image, dev.counts) == ((None, SPOT), f"@{live.digest}", (1, 1))
    assert dev.workspace.preview(refresh=True).changes == []

    second = dev.release("On Spot")
    assert (ended(second), dev.image, capacity()) == (RELEASED, f"@{second.digest}", (None, SPOT))

    dev.account.ecs.fault = lambda definition: "exit 1"
    dev.change(capacity={"fargateSpot": {"base": 0, "spotWeight": 1}})
    with pytest.raises(CommandError, match="does not run with the new settings"):
        dev.workspace.up()
    assert (dev.image, capacity()) == (f"@{second.digest}", (None, SPOT))
    dev.account.ecs.fault = lambda definition: None

    dev.up(capacity={"fargate": {}})
    assert (capacity(), dev.image, dev.counts) == (("FARGATE", []), f"@{second.digest}", (1, 1))
    assert dev.workspace.preview(refresh=True).changes == []
