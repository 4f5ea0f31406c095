"""Pull requests: checked by a project of their own, which shows the result, and never by the pipeline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pulumi.automation import CommandError
from standin.webhooks import PullRequest, Status

from .conftest import Stack

Make = Callable[..., Stack]
GITHUB = "arn:aws:codeconnections:eu-west-1:123456789012:connection/0f-1"
PROJECT = "storefront-dev-pull-requests"
CHECKS = {"commands": ["grep -q good app/NOTES", 'echo "checked $CODEBUILD_WEBHOOK_TRIGGER"']}


def checked(stack: Make, **connection: Any) -> Stack:
    source = {"connection": {"arn": GITHUB, "repository": "acme/shop", **connection}}
    return stack(config={"slipway:source": source, "slipway:pullRequests": CHECKS, "slipway:stages": []})


def request(dev: Stack, message: str, files: dict[str, str] | None = None, **args: Any) -> PullRequest:
    commit = dev.commit(message, files)
    return PullRequest("acme/shop", dev.repository.folder, commit, **args)


def test_the_result_of_a_pull_request_from_a_branch_is_shown_beside_its_commit(stack: Make) -> None:
    dev = checked(stack)
    good = request(dev, "good")
    [built] = dev.account.webhooks.happened("PULL_REQUEST_CREATED", good)
    assert (built.succeeded, "checked pr/1" in built.log) == (True, True)
    bad = request(dev, "bad")
    [built] = dev.account.webhooks.happened("PULL_REQUEST_UPDATED", bad)
    assert (built.succeeded, "checked" in built.log) == (False, False)
    assert dev.account.webhooks.statuses == [
        Status(good.commit, PROJECT, "pending"),
        Status(good.commit, PROJECT, "success"),
        Status(bad.commit, PROJECT, "pending"),
        Status(bad.commit, PROJECT, "failure"),
    ]
    # The pipeline has not run: nothing was pushed.
    assert (dev.account.codepipeline.executions, dev.tags()) == ([], {})


def test_the_role_of_the_checks_uses_the_connection_and_nothing_else(stack: Make) -> None:
    dev = checked(stack)
    [built] = dev.account.webhooks.happened("PULL_REQUEST_CREATED", request(dev, "good"))
    assert built.succeeded
    calls = [(c.service, c.operation) for c in dev.account.api.calls if PROJECT in c.principal]
    assert calls == [("codeconnections", "GetConnection"), ("codeconnections", "GetConnectionToken")]


def test_nothing_of_a_fork_runs_before_somebody_who_can_push_approves_its_commit(stack: Make) -> None:
    dev = checked(stack)
    hooks = dev.account.webhooks
    fork = request(dev, "good", fork=True, author="GITHUB_READ")
    assert hooks.happened("PULL_REQUEST_CREATED", fork) == []
    approval = f"/codebuild_run({fork.commit})"
    assert hooks.commented(approval, "GITHUB_READ", fork) == []
    assert hooks.commented(f"/codebuild_run({'0' * 40})", "GITHUB_ADMIN", fork) == []
    assert hooks.statuses == []
    [built] = hooks.commented(approval, "GITHUB_WRITE", fork)
    assert (built.succeeded, [status.state for status in hooks.statuses]) == (True, ["pending", "success"])


def test_a_buildspec_in_a_pull_request_is_not_read(stack: Make) -> None:
    dev = checked(stack)
    own = {"buildspec.yml": "version: 0.2\nphases: {build: {commands: [echo stolen]}}"}
    [built] = dev.account.webhooks.happened("PULL_REQUEST_CREATED", request(dev, "good", own))
    assert ("stolen" in built.log, "checked pr/1" in built.log) == (False, True)


def test_a_pull_request_that_is_closed_or_into_another_branch_is_not_checked(stack: Make) -> None:
    dev = checked(stack)
    hooks = dev.account.webhooks
    good = request(dev, "good")
    for event in ("PULL_REQUEST_CLOSED", "PULL_REQUEST_MERGED", "PUSH"):
        assert hooks.happened(event, good) == []
    assert hooks.happened("PULL_REQUEST_CREATED", replace(good, base="next")) == []
    assert hooks.statuses == []


def test_with_a_new_connection_up_says_where_to_complete_it_and_then_creates_the_webhook(stack: Make) -> None:
    dev = stack()
    source = {"connection": {"providerType": "GitHub", "repository": "acme/shop"}}
    dev.workspace.configure({"slipway:source": source, "slipway:pullRequests": CHECKS})
    with pytest.raises(CommandError) as failed:
        dev.workspace.up()
    arn = dev.account.aws.find("aws:codeconnections/connection:Connection", "storefront-dev-connection").outputs["arn"]
    assert f"the connection {arn} is PENDING, and no webhook for pull requests can be created" in str(failed.value)
    dev.account.connections.complete()
    dev.workspace.up(refresh=True)
    assert dev.workspace.preview(refresh=True).changes == []
    [built] = dev.account.webhooks.happened("PULL_REQUEST_CREATED", request(dev, "good"))
    assert built.succeeded
