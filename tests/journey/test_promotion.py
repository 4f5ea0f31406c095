"""From dev to prod: prod builds nothing and releases the image that dev verified, after an approval, as a canary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pulumi.automation import CommandError
from standin.world import World, stack_file

from .conftest import Stack, ended, failures

Make = Callable[..., Stack]
PROD = ("Source", "Inspect", "Approve", "Deploy")


def settled(stack: Stack) -> Any:
    """The only execution that events started."""
    [execution] = stack.account.codepipeline.settle()
    return execution


def dev_and_prod(stack: Make) -> tuple[Stack, Stack]:
    return stack("dev"), stack("prod")


@pytest.mark.rule("R6")
def test_an_image_verified_in_dev_reaches_prod_unchanged_as_a_canary(stack: Make) -> None:
    dev, prod = dev_and_prod(stack)
    first = dev.push()
    to_prod = settled(prod)
    assert (to_prod.pipeline, ended(to_prod)) == ("storefront-prod", dict.fromkeys(PROD, "Succeeded"))
    assert (prod.image, prod.counts, prod.bounds) == (f"@{first.digest}", (2, 2), (2, 6))
    assert prod.traffic == {first.digest: 100}
    assert prod.state("verified")["commit"] == first.variables["Source.CommitId"]

    second = dev.release("Second commit")
    shares: list[dict[str, int]] = []
    seen = prod.account.clock.sleep

    def look(seconds: float) -> None:
        seen(seconds)
        if shares[-1:] != [prod.traffic]:
            shares.append(prod.traffic)

    prod.account.clock.sleep = look  # type: ignore[method-assign]
    began = prod.account.clock.now()
    assert failures(settled(prod)) == []
    prod.account.clock.sleep = seen  # type: ignore[method-assign]
    assert shares == [{first.digest: 100}, {first.digest: 90, second.digest: 10}, {second.digest: 100}]
    # Ten minutes with ten percent of the traffic, ten more before the old tasks stop.
    assert 20 * 60 <= prod.account.clock.now() - began <= 25 * 60
    assert (prod.image, prod.counts) == (f"@{second.digest}", (2, 2))
    assert prod.moving() == {
        **{tag: second.digest for tag in ("live-dev", "verified-dev", "live-prod", "verified-prod")},
        **{f"verified-{environment}-0": first.digest for environment in ("dev", "prod")},
        **{f"verified-{environment}-1": second.digest for environment in ("dev", "prod")},
    }


@pytest.mark.rule("R1")
def test_a_release_to_prod_is_not_a_change_for_pulumi_and_does_not_affect_the_traffic(stack: Make) -> None:
    dev, prod = dev_and_prod(stack)
    dev.push()
    settled(prod)
    dev.release("Second commit")
    settled(prod)
    assert prod.weights == [100, 0] or prod.weights == [0, 100]
    before = prod.weights
    assert prod.workspace.preview(refresh=True).changes == []
    assert prod.workspace.up().changes == []
    prod.workspace.refresh()
    assert prod.workspace.up().changes == []
    assert prod.weights == before


def test_an_approval_shows_what_replaces_what_and_where_to_review_it(stack: Make) -> None:
    dev, prod = dev_and_prod(stack)
    first = dev.push()
    settled(prod)
    second = dev.release("Second commit")
    requests: list[dict[str, str]] = []

    def approve(execution: Any, action: Any) -> bool:
        requests.append(action.configuration)
        return True

    prod.account.codepipeline.approve = approve
    to_prod = settled(prod)
    commits = [execution.variables["Source.CommitId"] for execution in (first, second)]
    console = "https://eu-west-1.console.aws.amazon.com"
    assert requests == [
        {
            "CustomData": f"Release to prod: commit {commits[1]} instead of {commits[0]}, image {second.digest} "
            f"instead of {first.digest}. {console}/codesuite/codepipeline/pipelines/storefront-prod/"
            f"executions/{to_prod.id}/visualization",
            "ExternalEntityLink": f"{console}/ecr/repositories/private/123456789012/storefront-dev/_/image/"
            f"{second.digest}/details",
        }
    ]


@pytest.mark.parametrize(("answer", "message"), [(False, "Approval rejected"), (None, "expired")])
def test_an_approval_that_is_rejected_or_expires_releases_nothing(
    stack: Make, answer: bool | None, message: str
) -> None:
    dev, prod = dev_and_prod(stack)
    prod.account.codepipeline.approve = lambda execution, action: answer
    dev.push()
    began = prod.account.clock.now()
    refused = settled(prod)
    assert ended(refused) == {"Source": "Succeeded", "Inspect": "Succeeded", "Approve": "Failed"}
    assert message in refused.action("Approve").message
    assert (prod.image, prod.counts, prod.state("claim")) == (":unreleased", (0, 0), None)
    waited = prod.account.clock.now() - began
    assert waited < 60 if answer is False else 86_400 <= waited < 86_500


@pytest.mark.occasional
def test_an_image_that_is_verified_while_prod_waits_for_an_approval_is_released_next(stack: Make) -> None:
    dev, prod = dev_and_prod(stack)
    dev.push()
    approvals: list[str] = []

    def approve(execution: Any, action: Any) -> bool:
        if not approvals:
            approvals.append(execution.id)
            dev.release("Verified meanwhile")
        return True

    prod.account.codepipeline.approve = approve
    first, second = prod.account.codepipeline.settle()
    # The approved image was deployed, although the tag had moved by then; the image that it moved to came next.
    assert (failures(first), failures(second)) == ([], [])
    older, newer = (run.variables["Inspect-prod.IMAGE_DIGEST"] for run in (first, second))
    assert f"is running {older} (2 tasks)" in first.action("Deploy").message
    assert older != newer == dev.tags()["verified-dev"]
    assert prod.image == f"@{newer}"


@pytest.mark.occasional
@pytest.mark.rule("R6")
def test_an_earlier_digest_is_released_to_prod_again(stack: Make) -> None:
    dev, prod = dev_and_prod(stack)
    first = dev.push()
    settled(prod)
    dev.release("Second commit")
    settled(prod)
    again = prod.start(revision=first.digest)
    assert ended(again) == dict.fromkeys(PROD, "Succeeded")
    assert prod.image == f"@{first.digest}"
    assert prod.state("verified")["commit"] == first.variables["Source.CommitId"]


def test_prod_waits_for_the_repository_of_dev_and_reports_that_before_anything_is_created(
    stack: Make, account: World
) -> None:
    with pytest.raises(CommandError) as failure:
        stack("prod")
    assert account.aws.resources == {}
    message = str(failure.value)
    assert "there is no ECR repository storefront-dev in this account and Region" in message
    assert "run `pulumi up` of the stack that builds to it first" in " ".join(message.split())
    assert "Traceback" not in message


@pytest.mark.rule("R4")
def test_a_canary_that_fails_is_rolled_back_and_the_action_fails_with_the_reason(stack: Make) -> None:
    dev, prod = dev_and_prod(stack)
    good = dev.push()
    settled(prod)
    prod.account.ecs.fault = lambda definition: (
        "exit 1" if "storefront-prod" in definition["family"] and good.digest not in str(definition) else None
    )
    bad = dev.release("Works in dev only")
    began = prod.account.clock.now()
    refused = settled(prod)
    assert ended(refused)["Deploy"] == "Failed"
    message = refused.action("Deploy").message
    assert "container app exited with 1" in message
    assert f"Rolling back to the last verified image, {prod.state('verified')['image']}" in message
    # Long before the deadline, although ECS's circuit breaker does not apply to canaries.
    assert prod.account.clock.now() - began < 5 * 60
    prod.account.clock.sleep(120)
    assert (prod.image, prod.counts, prod.traffic) == (f"@{good.digest}", (2, 2), {good.digest: 100})
    assert prod.tags()["verified-prod"] == good.digest != bad.digest
    assert prod.workspace.preview(refresh=True).changes == []


def test_a_canary_whose_requests_fail_is_rolled_back_by_the_alarm(stack: Make) -> None:
    dev, prod = dev_and_prod(stack)
    good = dev.push()
    settled(prod)
    dev.release("Answers with errors")
    alarm = prod.account.aws.find("aws:cloudwatch/metricAlarm:MetricAlarm", "storefront-prod-errors").inputs["name"]
    sleep = prod.account.clock.sleep

    def errors_once_it_has_traffic(seconds: float) -> None:
        sleep(seconds)
        if len(prod.traffic) > 1:
            prod.account.ecs.alarms.add(alarm)

    prod.account.clock.sleep = errors_once_it_has_traffic  # type: ignore[method-assign]
    refused = settled(prod)
    assert ended(refused)["Deploy"] == "Failed"
    assert f"alarms: {alarm}" in refused.action("Deploy").message
    prod.account.clock.sleep = sleep  # type: ignore[method-assign]
    sleep(120)
    assert (prod.traffic, prod.image) == ({good.digest: 100}, f"@{good.digest}")


def test_a_change_of_prods_settings_is_deployed_as_a_canary_in_the_same_up_with_the_live_image(
    stack: Make,
) -> None:
    dev, prod = dev_and_prod(stack)
    live = dev.push()
    settled(prod)
    began = prod.account.clock.now()
    changed = prod.up(cpu=1024, memory=2048)
    assert {step.name for step in changed.changes} == {
        "storefront-prod-template",
        "storefront-prod-release",
        *(f"storefront-prod-release-rollout-{part}" for part in (1, 2, 3)),
    }
    assert 20 * 60 <= prod.account.clock.now() - began <= 25 * 60
    assert (prod.image, prod.running["cpu"], prod.traffic) == (f"@{live.digest}", "1024", {live.digest: 100})
    assert prod.workspace.preview(refresh=True).changes == []


def test_the_stage_of_prod_has_the_settings_of_its_file() -> None:
    assert stack_file("prod")["slipway:stages"] == [
        {
            "approval": {"timeoutMinutes": 1440},
            "strategy": {"canary": {"percent": 10, "canaryBakeMinutes": 10, "bakeMinutes": 10}},
        }
    ]
