"""The revisions of scheduled jobs follow what is verified."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from slipway.release.function.contract import JobTask, State
from slipway.release.function.jobs import Jobs
from unit.releases import NEW, OLD, SETTINGS, STATE, URL, VERIFIED, KeptTable, client, client_error, stubbed

ARN = "arn:aws:ecs:eu-west-1:123456789012:task-definition/"
TEMPLATE, FAMILY = f"{ARN}shop-dev-report-template:1", "shop-dev-report"
SETTINGS_WITH_JOB = replace(SETTINGS, jobs=[JobTask("report", TEMPLATE, FAMILY)])
QUIET = replace(STATE, settings=SETTINGS_WITH_JOB, claim=None)
CONTENT = {"cpu": "256", "memory": "512", "networkMode": "awsvpc"}
UNRELEASED = f"{URL}:unreleased"


class JobTable(KeptTable):
    """Also keeps the items of jobs."""

    def __init__(self, state: State = QUIET) -> None:
        super().__init__(state)
        self.jobs: dict[str, str] = {}

    def job(self, name: str) -> str:
        return self.jobs.get(name, "")

    def set_job(self, name: str, task_definition: str) -> None:
        self.jobs[name] = task_definition


@pytest.fixture
def table() -> JobTable:
    return JobTable()


@pytest.fixture
def ecs() -> Iterator[Any]:
    with stubbed("ecs") as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def containers(image: str) -> list[dict[str, Any]]:
    return [{"name": "app", "image": image, "essential": True}]


def definition(arn: str, image: str) -> dict[str, Any]:
    family = arn.rpartition("/")[2].rpartition(":")[0]
    return {"taskDefinitionArn": arn, "family": family, "containerDefinitions": containers(image), **CONTENT}


def described(ecs: Any, asked: str, arn: str, image: str, tags: bool = True) -> None:
    more = {"include": ["TAGS"]} if tags else {}
    answer = {"taskDefinition": definition(arn, image), "tags": []}
    ecs.add_response("describe_task_definition", answer, {"taskDefinition": asked, **more})


def registered(ecs: Any, image: Any, revision: int) -> None:
    """There is no revision with this image yet, and this one is registered."""
    ecs.add_client_error("describe_task_definition", "ClientException", expected_params={"taskDefinition": FAMILY})
    arn = f"{ARN}{FAMILY}:{revision}"
    expected = {"family": FAMILY, "containerDefinitions": containers(str(image)), **CONTENT}
    answer = {"taskDefinition": definition(arn, str(image))}
    ecs.add_response("register_task_definition", answer, expected)
    described(ecs, arn, arn, str(image))


def align(table: JobTable) -> list[str]:
    return Jobs(client("ecs"), table, "app").align(table.state)


def test_a_job_gets_a_revision_with_the_last_verified_image(table: JobTable, ecs: Any) -> None:
    described(ecs, TEMPLATE, TEMPLATE, UNRELEASED)
    registered(ecs, OLD, 1)
    assert (align(table), table.jobs) == ([], {"report": f"{ARN}{FAMILY}:1"})


def test_a_job_keeps_its_revision_as_long_as_image_and_template_are_the_same(table: JobTable, ecs: Any) -> None:
    table.jobs = {"report": f"{ARN}{FAMILY}:1"}
    described(ecs, TEMPLATE, TEMPLATE, UNRELEASED)
    described(ecs, table.jobs["report"], table.jobs["report"], str(OLD))
    assert (align(table), table.jobs) == ([], {"report": f"{ARN}{FAMILY}:1"})


def test_a_job_gets_another_revision_after_another_image_was_verified(table: JobTable, ecs: Any) -> None:
    table.jobs = {"report": f"{ARN}{FAMILY}:1"}
    table.state = replace(QUIET, verified=replace(VERIFIED, image=NEW))
    described(ecs, TEMPLATE, TEMPLATE, UNRELEASED)
    described(ecs, table.jobs["report"], table.jobs["report"], str(OLD))
    registered(ecs, NEW, 2)
    assert (align(table), table.jobs) == ([], {"report": f"{ARN}{FAMILY}:2"})


@pytest.mark.parametrize(
    "state",
    [replace(QUIET, verified=None), replace(QUIET, settings=None), replace(QUIET, settings=SETTINGS)],
    ids=["nothing verified", "no settings", "no jobs"],
)
def test_without_a_verified_image_or_jobs_nothing_is_registered(table: JobTable, ecs: Any, state: State) -> None:
    table.state = state
    assert (align(table), table.jobs) == ([], {})


def test_an_image_that_is_verified_meanwhile_is_the_one_that_the_job_runs(table: JobTable, ecs: Any) -> None:
    before, table.state = table.state, replace(QUIET, version=8, verified=replace(VERIFIED, image=NEW))
    for image, revision in ((OLD, 1), (NEW, 2)):
        described(ecs, TEMPLATE, TEMPLATE, UNRELEASED)
        if revision == 2:
            described(ecs, f"{ARN}{FAMILY}:1", f"{ARN}{FAMILY}:1", str(OLD))
        registered(ecs, image, revision)
    assert Jobs(client("ecs"), table, "app").align(before) == []
    assert table.jobs == {"report": f"{ARN}{FAMILY}:2"}


def test_a_revision_that_cannot_be_registered_is_a_problem_and_not_an_error(table: JobTable, ecs: Any) -> None:
    ecs.add_client_error("describe_task_definition", "AccessDeniedException", "no")
    error = "An error occurred (AccessDeniedException) when calling the DescribeTaskDefinition operation: no"
    assert align(table) == [f"the job report does not run {OLD} yet: {error}"]
    assert table.jobs == {}


def test_a_template_without_the_container_is_a_problem(table: JobTable, ecs: Any) -> None:
    described(ecs, TEMPLATE, TEMPLATE, UNRELEASED)
    [problem] = Jobs(client("ecs"), table, "other").align(table.state)
    assert problem == (
        f"the job report does not run {OLD} yet: the template {TEMPLATE} has the containers ['app'], and none is "
        "'other'"
    )


def test_one_job_that_has_a_problem_does_not_keep_others_from_their_revisions(table: JobTable, ecs: Any) -> None:
    other = JobTask("other", f"{TEMPLATE}0", FAMILY)
    table.state = replace(QUIET, settings=replace(SETTINGS_WITH_JOB, jobs=[other, *SETTINGS_WITH_JOB.jobs]))
    ecs.add_client_error("describe_task_definition", "ClientException", "no such template")
    described(ecs, TEMPLATE, TEMPLATE, UNRELEASED)
    registered(ecs, OLD, 1)
    [problem] = align(table)
    assert problem.startswith(f"the job other does not run {OLD} yet: ")
    assert table.jobs == {"report": f"{ARN}{FAMILY}:1"}


def test_a_temporary_error_is_passed_on_so_that_the_caller_repeats_it(table: JobTable, ecs: Any) -> None:
    ecs.add_client_error("describe_task_definition", "ThrottlingException")
    with pytest.raises(type(client_error("")), match="ThrottlingException"):
        align(table)
