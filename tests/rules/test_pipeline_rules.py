"""The rules of the stand-in for CodePipeline, CodeBuild and Lambda."""

from __future__ import annotations

import io
import json
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from standin.codebuild import script
from standin.events import matches
from standin.executor import Action, Execution
from standin.world import World

from .accounts import STARTER, Account, action, invoke


@pytest.fixture
def account() -> Iterator[Account]:
    with World("registry.invalid", {}, Path("pulumi")) as world:
        yield Account(world)


def names(execution: Execution) -> list[tuple[str, str]]:
    return [(a.name, a.status) for a in execution.actions]


def test_actions_run_in_the_order_of_their_run_order(account: Account) -> None:
    account.pipeline([action("Second", runOrder=2), action("First", runOrder=1)], [action("Third")])
    assert names(account.run()) == [("First", "Succeeded"), ("Second", "Succeeded"), ("Third", "Succeeded")]


def test_nothing_runs_after_a_failed_action(account: Account) -> None:
    account.pipelines.approve = lambda execution, action: action.name != "First"
    account.pipeline([action("First"), action("Second", runOrder=2)], [action("Third")])
    execution = account.run()
    assert (execution.status, names(execution)) == ("Failed", [("First", "Failed")])


def test_a_retry_runs_failed_actions_only(account: Account) -> None:
    account.pipelines.approve = lambda execution, action: action.name != "Second"
    account.pipeline([action("Zero")], [action("First"), action("Second", runOrder=2)], [action("Third")])
    execution = account.run()
    account.pipelines.approve = lambda execution, action: True
    account.pipelines.retry(execution, "Stage1")
    assert execution.status == "Succeeded"
    assert [name for name, _ in names(execution)] == ["Zero", "First", "Second", "Second", "Third"]


def test_an_action_of_an_unknown_provider_fails(account: Account) -> None:
    account.pipeline([action("Deploy", "CloudFormation")])
    assert account.run().action("Deploy").message == "not in the stand-in: CloudFormation"


def test_variables_of_a_namespace_and_of_the_execution_are_resolved(account: Account) -> None:
    account.function('client.put_job_success_result(jobId=job["id"], outputVariables={"COLOR": "blue"})')
    configuration = {"CustomData": "#{Out.COLOR} #{codepipeline.PipelineExecutionId}"}
    account.pipeline([invoke()], [action("Approve", configuration=configuration)])
    execution = account.run()
    assert execution.action("Approve").configuration == {"CustomData": f"blue {execution.id}"}


def test_an_unknown_variable_fails_its_action(account: Account) -> None:
    account.pipeline([action("Approve", configuration={"CustomData": "#{Nobody.SAYS}"})])
    assert account.run().action("Approve").message == "Variable #{Nobody.SAYS} is not known: no action before has it"


def test_a_job_is_sent_again_with_the_continuation_token_of_its_function(account: Account) -> None:
    account.function(
        'token = job["data"].get("continuationToken")\n'
        '    if token == "2": client.put_job_success_result(jobId=job["id"], outputVariables={"RUNS": token})\n'
        '    else: client.put_job_success_result(jobId=job["id"], continuationToken=str(int(token or 0) + 1))'
    )
    account.pipeline([invoke()])
    began = account.world.clock.now()
    execution = account.run()
    assert (execution.status, execution.variables) == ("Succeeded", {"Out.RUNS": "2"})
    assert account.world.clock.now() - began >= 60


def test_a_continuation_token_excludes_output_variables(account: Account) -> None:
    account.function(
        'client.put_job_success_result(jobId=job["id"], continuationToken="1", outputVariables={"A": "b"})'
    )
    account.pipeline([invoke()])
    assert "output variables and a continuation token exclude each other" in account.run().action("Invoke").log


def test_a_failure_has_the_message_of_the_function(account: Account) -> None:
    account.function(
        'client.put_job_failure_result(jobId=job["id"], failureDetails={"type": "JobFailed", "message": "no luck"})'
    )
    account.pipeline([invoke()])
    execution = account.run()
    assert (execution.status, execution.action("Invoke").message) == ("Failed", "no luck")


def test_a_function_that_reports_no_result_times_out_after_twenty_minutes(account: Account) -> None:
    account.function("pass")
    account.pipeline([invoke()])
    began = account.world.clock.now()
    assert "timed out" in account.run().action("Invoke").message
    assert 1200 <= account.world.clock.now() - began < 1260


def test_an_event_whose_function_raises_is_tried_three_times(account: Account) -> None:
    account.function('raise ValueError("again")')
    account.pipeline([invoke()])
    assert account.run().action("Invoke").log.count("again") == 3


def test_an_invocation_ends_at_its_timeout(account: Account) -> None:
    account.function("time.sleep(901)")
    account.pipeline([invoke()])
    assert "Task timed out after 900.00 seconds" in account.run().action("Invoke").log


def test_a_result_for_a_job_that_has_ended_is_rejected(account: Account) -> None:
    account.function(
        'client.put_job_success_result(jobId=job["id"])\n    client.put_job_success_result(jobId=job["id"])'
    )
    account.pipeline([invoke()])
    assert "InvalidJobStateException" in account.run().action("Invoke").log
    with pytest.raises(ClientError, match="JobNotFoundException"):
        account.world.client("codepipeline").put_job_success_result(jobId="11111111-2222-3333-4444-555555555555")


def test_history_shows_the_action_in_progress_of_the_requested_execution(account: Account) -> None:
    seen = []

    def look(execution: Execution, running: Action) -> bool:
        answer = account.world.client("codepipeline").list_action_executions(
            pipelineName="pipeline", filter={"pipelineExecutionId": execution.id}
        )
        seen.append([(d["actionName"], d["status"]) for d in answer["actionExecutionDetails"]])
        return True

    account.pipelines.approve = look
    account.pipeline([action("First")], [action("Second")])
    account.run()
    account.run()
    assert seen == [[("First", "InProgress")], [("Second", "InProgress"), ("First", "Succeeded")]] * 2


def test_a_newer_execution_replaces_waiting_ones_and_never_the_running_one(account: Account) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def approve(execution: Execution, action: Action) -> bool:
        if execution.number == 0:
            inside.set()
            assert go_on.wait(20)
        return True

    account.pipelines.approve = approve
    account.pipeline([action("Approve")])
    threads = [threading.Thread(target=account.run) for _ in range(3)]
    threads[0].start()
    assert inside.wait(20)
    for number in (1, 2):
        threads[number].start()
        while number not in [execution.number for execution in account.pipelines._waiting[("pipeline", "Stage0")]]:
            assert threads[number].is_alive()
    go_on.set()
    for thread in threads:
        thread.join()
    assert [execution.status for execution in account.pipelines.executions] == ["Succeeded", "Superseded", "Succeeded"]


def repository(account: Account, folder: Path) -> None:
    account.world.repository("shop", folder).commit("First", {"a.txt": "a"})


def source(**configuration: str) -> dict[str, Any]:
    settings = {"RepositoryName": "shop", "BranchName": "main", **configuration}
    return action("Source", "CodeCommit", configuration=settings, outputArtifacts=["Code"], namespace="Source")


def test_a_push_starts_the_target_of_a_rule(account: Account, tmp_path: Path) -> None:
    repository(account, tmp_path)
    account.pipeline([source(PollForSourceChanges="false")])
    assert account.pipelines.push("shop") == []
    pattern = {"source": ["aws.codecommit"], "detail": {"referenceName": ["main"]}}
    account.put("aws:cloudwatch/eventRule:EventRule", "rule", eventPattern=json.dumps(pattern))
    account.put("aws:cloudwatch/eventTarget:EventTarget", "target", rule="rule", arn="arn:other")
    assert account.pipelines.push("shop") == []
    account.put("aws:cloudwatch/eventTarget:EventTarget", "target", rule="rule", arn="arn:pipeline", roleArn=STARTER)
    account.world.aws.resources["pipeline"].outputs["arn"] = "arn:pipeline"
    assert [execution.status for execution in account.pipelines.push("shop")] == ["Succeeded"]
    assert account.pipelines.push("shop", "other") == []


def test_a_source_that_polls_starts_its_pipeline_in_addition_to_the_rule(account: Account, tmp_path: Path) -> None:
    repository(account, tmp_path)
    account.pipeline([source()])
    account.put("aws:cloudwatch/eventRule:EventRule", "rule", eventPattern='{"source": ["aws.codecommit"]}')
    account.put("aws:cloudwatch/eventTarget:EventTarget", "target", rule="rule", arn="arn:pipeline", roleArn=STARTER)
    assert len(account.pipelines.push("shop")) == 2


def test_a_trigger_starts_a_pipeline_for_the_branches_that_it_includes(account: Account, tmp_path: Path) -> None:
    repository(account, tmp_path)
    configuration = {"FullRepositoryId": "shop", "BranchName": "main", "DetectChanges": "false"}
    start = action("Source", "CodeStarSourceConnection", configuration=configuration, outputArtifacts=["Code"])
    pushes = [{"branches": {"includes": ["main"]}}]
    account.pipeline([start], triggers=[{"gitConfiguration": {"sourceActionName": "Source", "pushes": pushes}}])
    assert len(account.pipelines.push("shop")) == 1
    assert account.pipelines.push("shop", "other") == []


def test_a_source_outputs_the_commit_as_a_zip_and_its_id(account: Account, tmp_path: Path) -> None:
    repository(account, tmp_path)
    account.pipeline([source()])
    [execution] = account.pipelines.push("shop")
    head = subprocess.check_output(["git", "-C", str(tmp_path), "rev-parse", "HEAD"], text=True).strip()
    assert execution.variables == {
        "Source.BranchName": "main",
        "Source.CommitId": head,
        "Source.CommitMessage": "First",
        "Source.RepositoryName": "shop",
    }
    stored = account.world.client("s3").get_object(Bucket="artifacts", Key=execution.artifacts["Code"])["Body"].read()
    with zipfile.ZipFile(io.BytesIO(stored)) as archive:
        assert archive.namelist() == ["a.txt"]


def test_an_event_matches_a_pattern_by_all_of_its_keys() -> None:
    event = {"source": "aws.ecr", "resources": ["a", "b"], "detail": {"tag": "x"}}
    assert matches({"source": ["aws.ecr", "aws.s3"], "resources": ["b"], "detail": {"tag": ["x"]}}, event)
    assert not matches({"source": ["aws.s3"]}, event)
    assert not matches({"detail": {"tag": ["y"]}}, event)
    assert not matches({"account": ["1"]}, event)


def build(tmp_path: Path, **phases: list[str]) -> tuple[int, str]:
    spec = {"phases": {name: {"commands": commands} for name, commands in phases.items()}}
    done = subprocess.run(
        ["bash", "-c", script(spec, tmp_path / "exported")], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    return done.returncode, done.stdout


def test_a_phase_ends_at_its_first_command_that_fails(tmp_path: Path) -> None:
    assert build(tmp_path, build=["echo 1", "false", "echo 2"]) == (1, "1\n")


def test_post_build_runs_even_after_a_failed_build(tmp_path: Path) -> None:
    assert build(tmp_path, build=["exit_with() { return 3; }; exit_with"], post_build=["echo pushed"]) == (
        3,
        "pushed\n",
    )


def test_nothing_runs_after_a_failed_pre_build(tmp_path: Path) -> None:
    assert build(tmp_path, pre_build=["false"], build=["echo 1"], post_build=["echo 2"]) == (1, "")


def test_commands_share_one_shell_and_its_variables(tmp_path: Path) -> None:
    assert build(tmp_path, install=["export A=b"], build=["echo $A"]) == (0, "b\n")
    assert "A=b" in (tmp_path / "exported").read_text().split("\0")
