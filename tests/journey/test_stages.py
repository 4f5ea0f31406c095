"""Stages: several in one stack, tests after a deployment, windows, variables, and notifications."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from standin.world import stack_file

from .conftest import RELEASED, Stack, ended, failures, until

Make = Callable[..., Stack]
ALIVE = ['curl -fsS "$SERVICE_URL/healthz"']


def staging_and_production(stack: Make, **production: Any) -> tuple[Stack, Stack]:
    """One stack with two environments, in order."""
    service = stack_file("dev")["slipway:service"]
    stages = [
        {"name": "staging", "tests": {"commands": ['test "$ENVIRONMENT" = staging', *ALIVE]}},
        {
            "name": "production",
            "approval": {"notify": ["ops@example.com"]},
            "service": {"cpu": 512, "memory": 1024, "environment": {"GREETING": "Hello"}},
            **production,
        },
    ]
    made = stack(config={"slipway:stages": stages, "slipway:service": service})
    return made.at("staging"), made.at("production")


def actions_of(execution: Any) -> list[tuple[str, str, str]]:
    return [(action.stage, action.name, action.status) for action in execution.actions]


def test_a_commit_goes_to_staging_and_after_an_approval_to_production(stack: Make) -> None:
    staging, production = staging_and_production(stack)
    seen: list[Any] = []

    def approve(execution: Any, action: Any) -> bool:
        seen.append((staging.image, production.image, production.counts))
        return True

    staging.account.codepipeline.approve = approve
    released = staging.push()
    assert failures(released) == []
    assert [(stage, name) for stage, name, _ in actions_of(released)] == [
        ("Source", "Source"),
        ("Build", "Build"),
        ("Scan", "Image"),
        ("staging", "Deploy"),
        ("production", "Inspect"),
        ("production", "Approve"),
        ("production", "Deploy"),
    ]
    image = f"@{released.digest}"
    assert seen == [(image, ":unreleased", (0, 0))]
    assert (staging.image, production.image) == (image, image)
    assert (staging.running["cpu"], production.running["cpu"]) == ("256", "512")
    assert (staging.traffic, production.traffic) == ({released.digest: 100}, {released.digest: 100})
    assert sorted(staging.moving()) == [
        f"{kind}-{environment}{slot}"
        for kind, environment, slot in (
            ("live", "production", ""),
            ("live", "staging", ""),
            ("verified", "production", ""),
            ("verified", "production", "-0"),
            ("verified", "staging", ""),
            ("verified", "staging", "-0"),
        )
    ]
    [notification] = staging.account.codepipeline.published
    summary = f"Release to production: commit {released.variables['Source.CommitId']}"
    assert notification["message"]["approval"]["customData"].startswith(summary)
    assert staging.workspace.preview(refresh=True).changes == []


def test_an_image_that_fails_its_tests_in_staging_does_not_reach_production(stack: Make) -> None:
    staging, production = staging_and_production(stack)
    good = staging.push()
    staging.account.ecs.fault = lambda definition: None if good.digest in str(definition) else "exit 1"
    staging.commit("Does not start")
    bad = staging.push()
    assert actions_of(bad)[-1] == ("staging", "Deploy", "Failed")
    assert (staging.image, production.image) == (f"@{good.digest}", f"@{good.digest}")


def test_a_setting_of_one_stage_is_deployed_to_that_stage_only(stack: Make) -> None:
    staging, production = staging_and_production(stack)
    live = staging.push()
    before = staging.running["revision"]
    [first, second] = [dict(s) for s in json.loads(json.dumps(staging.workspace.configuration()["slipway:stages"]))]
    second["service"] = {**second["service"], "cpu": 1024, "memory": 2048}
    staging.workspace.configure({"slipway:stages": [first, second]})
    changed = {step.name for step in staging.workspace.up().changes}
    assert changed == {
        "storefront-production-template",
        "storefront-production-release",
        "storefront-production-release-rollout-1",
    }
    assert (production.running["cpu"], production.image) == ("1024", f"@{live.digest}")
    assert staging.running["revision"] == before


@pytest.mark.rule("R5")
@pytest.mark.quick
def test_failed_tests_roll_back_to_the_last_verified_image_once_and_keep_its_tags(stack: Make) -> None:
    stage = {"tests": {"commands": [*ALIVE, "test ! -f broken"]}}
    dev = stack(config={"slipway:stages": [stage]})
    good = dev.push()
    assert ended(good) == RELEASED
    tags = dev.moving()
    dev.commit("Starts, but fails its tests", {"broken": "yes"})
    deployments: list[Any] = []
    watch = dev.account.ecs.update_service

    def count(params: dict[str, Any]) -> Any:
        deployments.append(params)
        return watch(params)

    dev.account.ecs.update_service = count  # type: ignore[method-assign]
    bad = dev.push()
    assert ended(bad) == until("Deploy", "Failed")
    message = bad.action("Deploy").message
    assert message.startswith("The tests of dev ended FAILED: ")
    assert message.count("Rolling back to the last verified image") == 1
    assert f"storefront-dev:3 is running {good.digest} (1 task)" in message
    # One deployment of the release, one of the rollback.
    assert len([call for call in deployments if "taskDefinition" in call]) == 2
    assert (dev.image, dev.counts, dev.moving()) == (f"@{good.digest}", (1, 1), tags)
    assert dev.state("claim")["phase"] == "failed"
    assert dev.workspace.preview(refresh=True).changes == []

    # The fix is released as usual.
    dev.commit("Fixed")
    dev.repository.remove("broken")
    assert failures(dev.push()) == []


def test_tests_get_the_release_and_the_files_of_its_commit(stack: Make) -> None:
    commands = [
        *ALIVE,
        'test "$(cat app/NOTES)" = "Second commit"',
        'echo "tested $ENVIRONMENT $IMAGE_DIGEST $COMMIT_ID at $SERVICE_URL"',
    ]
    dev = stack(config={"slipway:stages": [{"tests": {"commands": commands}}]})
    dev.commit("Second commit")
    released = dev.push()
    assert failures(released) == []
    [build] = [b for b in dev.account.codebuild.builds.values() if b["projectName"] == "storefront-dev-tests"]
    given = {variable["name"]: variable["value"] for variable in build["environment"]["environmentVariables"]}
    url = dev.workspace.outputs()["url"]
    assert given == {
        "SERVICE_URL": url,
        "ENVIRONMENT": "dev",
        "IMAGE_DIGEST": released.digest,
        "COMMIT_ID": released.variables["Source.CommitId"],
        "PIPELINE_EXECUTION_ID": released.id,
    }


@pytest.mark.rule("R8")
def test_a_first_release_whose_tests_fail_leaves_no_tasks(stack: Make) -> None:
    dev = stack(config={"slipway:stages": [{"tests": {"commands": ["false"]}}]})
    bad = dev.push()
    assert ended(bad) == until("Deploy", "Failed")
    assert "No image was verified before, so the service goes back to zero tasks." in bad.action("Deploy").message
    assert (dev.counts, dev.moving(), dev.state("verified")) == ((0, 0), {}, None)
    # Autoscaling does not start them again.
    assert dev.bounds == (0, 2)


def test_a_closed_window_fails_a_run_and_a_retry_in_the_open_window_continues(stack: Make) -> None:
    # The stand-in's clock starts on a Thursday at midnight.
    window = {"cron": "* * 9-16 ? * MON-FRI", "timeZone": "Europe/Berlin"}
    dev = stack(config={"slipway:stages": [{"window": window}]})
    closed = dev.push()
    assert (closed.status, ended(closed)) == ("Failed", until("Image", "Succeeded"))
    assert "Window" in closed.message
    assert (dev.image, dev.counts) == (":unreleased", (0, 0))
    dev.account.clock.sleep(9 * 3600)
    opened = dev.account.codepipeline.retry(closed, "dev")
    assert (opened.status, ended(opened)) == ("Succeeded", RELEASED)
    assert dev.image == f"@{opened.digest}"


@pytest.mark.rule("R6")
@pytest.mark.quick
def test_an_earlier_digest_is_released_again_and_nothing_is_built(stack: Make) -> None:
    dev = stack()
    first = dev.push()
    dev.release("Second commit")
    again = dev.start(variables={"IMAGE_DIGEST": first.digest})
    assert ended(again) == RELEASED
    assert f"nothing is built: the image {first.digest} is released again." in again.action("Build").log
    assert "docker" not in again.action("Build").log
    assert dev.image == f"@{first.digest}"
    assert dev.state("verified")["commit"] == first.variables["Source.CommitId"]
    assert dev.moving()["verified-dev"] == first.digest


@pytest.mark.parametrize(
    ("digest", "message"),
    [
        ("sha256:" + "0" * 64, "there is no image sha256:0000"),
        ("latest", "IMAGE_DIGEST must be a digest, sha256: and 64 characters of 0-9 a-f, got 'latest'."),
    ],
)
def test_a_digest_that_is_missing_or_invalid_releases_nothing(stack: Make, digest: str, message: str) -> None:
    dev = stack()
    live = dev.push()
    refused = dev.start(variables={"IMAGE_DIGEST": digest})
    assert ended(refused) == until("Build", "Failed")
    assert message in refused.action("Build").message
    assert dev.image == f"@{live.digest}"


def test_a_variable_reaches_the_build_and_the_code_scans_unchanged(stack: Make) -> None:
    show = "printf '<%s>' \"$GREETING\""
    scans = [{"name": "show", "commands": [show]}]
    dev = stack(config={"slipway:pipeline": {"variables": {"GREETING": "Hello"}}, "slipway:codeScans": scans})
    build = dev.workspace.configuration()["slipway:build"]
    dev.workspace.configure({"slipway:build": {**build, "testCommands": [show]}})
    dev.workspace.up()
    value = r"""It's "quoted", \n \\ $HOME $(id) `id` #{variables.GREETING} *"""
    for execution, seen in (
        (dev.push(), "Hello"),
        (dev.start(commit=dev.commit("New"), variables={"GREETING": value}), value),
    ):
        assert failures(execution) == []
        for action in ("Build", "show"):
            assert f"<{seen}>" in execution.action(action).log


@pytest.mark.parametrize("name", ["IMAGE_DIGEST", "GREETING"])
def test_the_starter_of_an_execution_cannot_set_other_variables_of_its_builds(stack: Make, name: str) -> None:
    """https://github.com/aws/aws-cdk/issues/8458"""
    scans = [{"name": "show", "commands": ["true"]}]
    dev = stack(config={"slipway:pipeline": {"variables": {"GREETING": "Hello"}}, "slipway:codeScans": scans})
    dev.commit("Not built yet")
    commands = {variable: "echo foreign >&2; touch foreign" for variable in ("TEST_COMMANDS", "BASH_ENV")}
    forged = "".join(
        f',{{"name":"{variable}","type":"PLAINTEXT","value":"{command}"}}' for variable, command in commands.items()
    )
    value = f'none","type":"PLAINTEXT"}}{forged},{{"name":"X","type":"PLAINTEXT","value":"x'
    execution = dev.start(variables={name: value})
    # An invalid digest is rejected; any other value is just a value.
    assert ended(execution)["Build"] == ("Failed" if name == "IMAGE_DIGEST" else "Succeeded")
    ran = [action for action in execution.actions if any(line == "foreign" for line in action.log.splitlines())]
    assert [action.name for action in ran] == []


def test_code_is_scanned_between_build_and_deployment_and_a_finding_blocks_the_release(stack: Make) -> None:
    scans = [{"name": "secrets", "commands": ["! grep -r PRIVATE app"], "environment": {"LEVEL": "high"}}]
    dev = stack(config={"slipway:codeScans": scans})
    good = dev.push()
    actions = ("Source", "Build", "secrets", "Image", "Deploy")
    assert ended(good) == dict.fromkeys(actions, "Succeeded")
    dev.commit("With a key", {"app/key": "PRIVATE"})
    bad = dev.push()
    assert ended(bad)["secrets"] == "Failed"
    assert "Deploy" not in ended(bad)
    assert dev.image == f"@{good.digest}"


def test_notifications_are_sent_for_a_failure_and_the_recovery_and_nothing_else(stack: Make) -> None:
    dev = stack(config={"slipway:notifications": {"emails": ["ops@example.com"]}})

    def notified() -> int:
        return len(dev.account.codepipeline.published)

    dev.push()
    assert notified() == 0
    dev.account.ecs.fault = lambda definition: "exit 1"
    dev.commit("Does not start")
    failed = dev.push()
    assert failed.status == "Failed"
    assert [message["subject"] for message in dev.account.codepipeline.published] == [
        "The pipeline storefront-dev failed"
    ]
    dev.account.ecs.fault = lambda definition: None
    recovered = dev.release("Starts again")
    assert notified() == 2
    message = dev.account.codepipeline.published[1]["message"]
    link = (
        "https://eu-west-1.console.aws.amazon.com/codesuite/codepipeline/pipelines/storefront-dev/executions/"
        f"{recovered.id}/timeline"
    )
    assert message["email"] == f"The pipeline storefront-dev works again: {link}"
    assert json.loads(message["default"])["content"] == {
        "textType": "client-markdown",
        "title": "The pipeline storefront-dev works again",
        "description": link,
    }
    dev.release("And goes on")
    assert notified() == 2


def test_a_notification_is_sent_while_an_approval_is_waited_for(stack: Make) -> None:
    stages = [{"name": "staging"}, {"name": "production", "approval": {}}]
    made = stack(config={"slipway:stages": stages, "slipway:notifications": {"emails": ["ops@example.com"]}})
    seen: list[str] = []

    def approve(execution: Any, action: Any) -> bool:
        seen.extend(message["subject"] for message in made.account.codepipeline.published)
        return True

    made.account.codepipeline.approve = approve
    assert failures(made.at("staging").push()) == []
    assert seen == ["The pipeline storefront-dev waits for an approval in the stage production"]
    assert len(made.account.codepipeline.published) == 1
