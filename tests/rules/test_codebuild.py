"""The rules that the stand-in claims CodeBuild follows: quota, variables, artifacts, archives."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from standin import iam
from standin.codebuild import Built
from standin.world import World

from .accounts import Account, action

ROLE = "arn:aws:iam::123456789012:role/builder"
MACHINE = {"type": "LINUX_CONTAINER", "image": "aws/codebuild/standard:7.0", "computeType": "BUILD_GENERAL1_SMALL"}


@pytest.fixture
def account() -> Iterator[Account]:
    with World("registry.invalid", {}, Path("pulumi")) as world:
        yield Account(world)


def project(account: Account, *commands: str, variables: dict[str, str] | None = None, **spec: Any) -> None:
    spec = {"version": 0.2, "phases": {"build": {"commands": list(commands)}}, **spec}
    account.put(
        "aws:codebuild/project:Project",
        "project",
        source={"type": "NO_SOURCE", "buildspec": json.dumps(spec, indent=1)},
        serviceRole=ROLE,
        environment={
            **MACHINE,
            "environmentVariables": [{"name": name, "value": value} for name, value in (variables or {}).items()],
        },
    )


def built(account: Account, source: bytes = b"", **overrides: str) -> Built:
    variables = [{"name": name, "value": value} for name, value in overrides.items()]
    done = account.world.codebuild.run("project", source, variables)
    assert done.succeeded, done.log
    return done


def names(body: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        return sorted(archive.namelist())


# Quota


def test_a_build_above_the_quota_does_not_start(account: Account) -> None:
    project(account, "true")
    client, account.world.codebuild.quota = account.world.client("codebuild"), 1
    first = client.start_build(projectName="project")["build"]["id"]
    with pytest.raises(ClientError) as caught:
        client.start_build(projectName="project")
    message = "Cannot have more than 1 builds in queue for the account"
    assert caught.value.response["Error"] == {"Code": "AccountLimitExceededException", "Message": message}
    for _ in range(2):
        client.batch_get_builds(ids=[first])
    assert client.start_build(projectName="project")["build"]["buildStatus"] == "IN_PROGRESS"


def test_a_build_of_a_pipeline_above_the_quota_fails_its_action(account: Account, tmp_path: Path) -> None:
    project(account, "true")
    account.world.codebuild.quota = 0
    account.world.repository("shop", tmp_path).commit("One", {"a.txt": "a"})
    source = {"configuration": {"RepositoryName": "shop", "BranchName": "main"}, "outputArtifacts": ["Code"]}
    build = {"configuration": {"ProjectName": "project"}, "inputArtifacts": ["Code"]}
    of = action("Source", "CodeCommit", **source) | {"category": "Source"}
    account.pipeline([of], [action("Build", "CodeBuild", **build)])
    message = account.run().action("Build").message
    error = "Cannot have more than 0 builds in queue for the account"
    why = "(Service: AWSCodeBuild; Status Code: 400; Error Code: AccountLimitExceededException)"
    assert message == f"Error calling startBuild: {error} {why}"
    account.world.codebuild.quota = 1
    assert account.run().status == "Succeeded"


# Variables


def test_a_variable_of_the_start_overrides_the_projects_and_that_the_buildspecs(account: Account) -> None:
    env = {"variables": {"A": "spec", "B": "spec", "C": "spec"}, "exported-variables": ["A", "B", "C"]}
    project(account, "true", variables={"A": "project", "B": "project"}, env=env)
    assert built(account, A="start").exported == {"A": "start", "B": "project", "C": "spec"}


def test_secrets_that_a_buildspec_refers_to_are_read_with_the_projects_role(account: Account) -> None:
    env = {"parameter-store": {"P": "/shop/key"}, "secrets-manager": {"S": "shop:password"}}
    project(account, "true", env=env | {"exported-variables": ["P", "S"]})
    assert built(account).exported == {"P": "secret of /shop/key", "S": "secret of shop:password"}
    read = [(c.principal, c.operation, c.params) for c in account.world.api.calls if c.principal == ROLE]
    assert read == [
        (ROLE, "GetParameters", {"Names": ["/shop/key"], "WithDecryption": True}),
        (ROLE, "GetSecretValue", {"SecretId": "shop"}),
    ]


# Reports, and what a role may do

GROUP = "arn:aws:codebuild:eu-west-1:123456789012:report-group"
JUNIT = (
    """echo '<testsuite><testcase name="a"/><testcase name="b"><failure message="no"/></testcase></testsuite>' >r.xml"""
)


def reported(account: Account, *commands: str, reports: dict[str, Any], **spec: Any) -> list[str]:
    """The groups of the reports of a build, and the message of the phase that uploads them, if it failed."""
    project(account, *commands, reports=reports, **spec)
    done = account.world.codebuild.run("project", b"", [])
    failed = [phase["contexts"][0]["message"] for phase in done.phases if phase["phaseType"] == "UPLOAD_ARTIFACTS"]
    return [report.group for report in account.world.codebuild.reports] + failed


def role(account: Account, *statements: tuple[str, str]) -> None:
    """Makes the project's role one with these rights: actions and a resource."""
    account.put("aws:iam/role:Role", "builder")
    account.world.aws.resources["builder"].outputs["arn"] = ROLE
    allowed = [{"Effect": "Allow", "Action": action, "Resource": on} for action, on in statements]
    account.put("aws:iam/rolePolicy:RolePolicy", "policy", role="builder", policy=json.dumps({"Statement": allowed}))


def test_a_report_group_that_is_named_belongs_to_the_project_and_is_created(account: Account) -> None:
    report = {"files": ["*.xml"]}
    assert reported(account, JUNIT, reports={"unit": report}) == [f"{GROUP}/project-unit"]
    assert account.world.codebuild.created_groups == [f"{GROUP}/project-unit"]
    problem = f"Error in UPLOAD_ARTIFACTS phase: [{GROUP}/a: [error creating report: ResourceNotFoundException"
    assert reported(account, JUNIT, reports={f"{GROUP}/a": report})[-1].startswith(problem)


def test_a_report_is_there_after_failed_commands_unless_their_phase_is_to_abort(account: Account) -> None:
    report = {"unit": {"files": ["r.xml"]}}
    aborting = {"build": {"commands": [JUNIT, "false"], "on-failure": "ABORT"}}
    assert reported(account, "true", reports=report, phases=aborting) == []
    assert reported(account, JUNIT, "false", reports=report) == [f"{GROUP}/project-unit"]
    [case] = [c for r in account.world.codebuild.reports for c in r.cases if c["status"] == "FAILED"]
    assert (case["name"], case["message"]) == ("b", "no")


def test_a_report_without_files_fails_the_build(account: Account) -> None:
    message = "Error in UPLOAD_ARTIFACTS phase: [unit: [report files not found in build]]"
    assert reported(account, "true", reports={"unit": {"files": ["r.xml"]}}) == [message]


def test_a_group_for_tests_takes_no_coverage(account: Account) -> None:
    account.put("aws:codebuild/reportGroup:ReportGroup", "group", type="TEST")
    account.world.aws.resources["group"].outputs["arn"] = f"{GROUP}/group"
    [message] = reported(account, JUNIT, reports={f"{GROUP}/group": {"files": ["*"], "file-format": "CloverXml"}})
    assert "is for TEST, not for CLOVERXML" in message


@pytest.mark.parametrize("missing", ["CreateReportGroup", "CreateReport", "UpdateReport", "BatchPutTestCases"])
def test_each_action_of_a_report_needs_a_right_on_its_group(account: Account, missing: str) -> None:
    names = ["CreateReportGroup", "CreateReport", "UpdateReport", "BatchPutTestCases"]
    role(account, *((f"codebuild:{name}", f"{GROUP}/{'other' if name == missing else 'project-*'}") for name in names))
    [message] = reported(account, JUNIT, reports={"unit": {"files": ["r.xml"]}})
    assert f"is not authorized to perform: codebuild:{missing} on resource: {GROUP}/project-unit" in message


@pytest.mark.parametrize(
    ("statement", "action", "allowed"),
    [
        (("ecr:GetAuthorizationToken", "*"), "ecr:GetAuthorizationToken", True),
        (("ecr:GetAuthorizationToken", "arn:aws:ecr:x"), "ecr:GetAuthorizationToken", False),
        (("ecr:*", "arn:aws:ecr:x"), "ecr:getauthorizationtoken", False),
        (("ecr:Put*", "arn:aws:ecr:?"), "ecr:PutImage", True),
        (("ecr:Put*", "arn:aws:ecr:"), "ecr:PutImage", False),
        (("ecr:PutImag?", "*"), "ecr:GetImage", False),
    ],
)
def test_an_action_without_resource_types_is_allowed_only_on_everything(
    statement: tuple[str, str], action: str, allowed: bool
) -> None:
    named, on = statement
    assert iam.allows([{"Effect": "Allow", "Action": named, "Resource": on}], action, "arn:aws:ecr:x") == allowed


def test_a_denial_wins() -> None:
    both = [{"Effect": effect, "Action": ["s3:Get*"], "Resource": ["*"]} for effect in ("Allow", "Deny")]
    assert iam.allows(both[:1], "s3:GetObject", "arn") and not iam.allows(both, "s3:GetObject", "arn")


# Phases


def ran(account: Account, **phases: dict[str, Any]) -> tuple[bool, list[str]]:
    """Whether a build with these phases succeeded, and the lines that it printed."""
    project(account, "true", phases=phases)
    done = account.world.codebuild.run("project", b"", [])
    return done.succeeded, done.log.splitlines()


SUCCEEDING = {"commands": ["echo succeeding=$CODEBUILD_BUILD_SUCCEEDING"]}


def test_post_build_runs_after_a_failed_build_and_can_see_it(account: Account) -> None:
    assert ran(account, build={"commands": ["true"]}, post_build=SUCCEEDING) == (True, ["succeeding=1"])
    assert ran(account, build={"commands": ["false", "echo no"]}, post_build=SUCCEEDING) == (False, ["succeeding=0"])


def test_nothing_runs_after_a_phase_that_is_to_abort_or_that_comes_before_the_build(account: Account) -> None:
    aborted = {"commands": ["false"], "on-failure": "ABORT"}
    assert ran(account, build=aborted, post_build=SUCCEEDING) == (False, [])
    assert ran(account, pre_build={"commands": ["false"]}, build=SUCCEEDING, post_build=SUCCEEDING) == (False, [])


def test_the_last_commands_of_a_phase_run_whether_it_failed_or_not(account: Account) -> None:
    for command, succeeded in (("true", True), ("false", False)):
        phase = {"commands": [command], "finally": ["echo finally"]}
        assert ran(account, build=phase, post_build=SUCCEEDING) == (
            succeeded,
            ["finally", f"succeeding={int(succeeded)}"],
        )
    assert ran(account, pre_build={"commands": ["false"], "finally": ["echo finally"]}) == (False, ["finally"])


# Artifacts


@pytest.mark.parametrize(
    ("artifacts", "kept"),
    [
        ({"files": "one.txt"}, ["one.txt"]),
        ({"files": ["one.txt", "missing.txt"]}, ["one.txt"]),
        ({"files": "**/*"}, ["a/b/three.txt", "a/two.txt", "one.txt"]),
        ({"files": ["a/*"]}, ["a/two.txt"]),
        ({"files": ["a/**/*"]}, ["a/b/three.txt", "a/two.txt"]),
        ({"files": "**/*", "base-directory": "a"}, ["b/three.txt", "two.txt"]),
        ({"files": "a/**/*", "discard-paths": "yes"}, ["three.txt", "two.txt"]),
        ({}, []),
    ],
)
def test_artifacts_contain_the_files_at_their_locations(
    account: Account, artifacts: dict[str, Any], kept: list[str]
) -> None:
    project(account, "mkdir -p a/b && touch one.txt a/two.txt a/b/three.txt", artifacts=artifacts)
    assert names(built(account).artifact) == kept


# Archives

SHOW = "test -x run.sh && OUT=executable || OUT=plain; test -L link && OUT=$OUT,link || OUT=$OUT,file; export OUT"


def test_a_git_source_loses_execute_bits_and_symbolic_links(account: Account, tmp_path: Path) -> None:
    repository = account.world.repository("shop", tmp_path)
    (tmp_path / "run.sh").write_text("true")
    (tmp_path / "run.sh").chmod(0o755)
    (tmp_path / "link").symlink_to("run.sh")
    repository.commit("One", {"a/b.txt": "b"})
    project(account, SHOW, "test $(cat link) = run.sh", "test $(cat a/b.txt) = b", env={"exported-variables": ["OUT"]})
    source = {"configuration": {"RepositoryName": "shop", "BranchName": "main"}, "outputArtifacts": ["Code"]}
    build = {"configuration": {"ProjectName": "project"}, "inputArtifacts": ["Code"], "namespace": "Build"}
    of = action("Source", "CodeCommit", **source) | {"category": "Source"}
    account.pipeline([of], [action("Build", "CodeBuild", **build)])
    execution = account.run()
    assert (execution.status, execution.variables["Build.OUT"]) == ("Succeeded", "plain,file")


@pytest.mark.parametrize(("symlinks", "seen"), [("yes", "executable,link"), ("no", "executable,file")])
def test_a_build_artifact_keeps_execute_bits_and_links_if_enabled(account: Account, symlinks: str, seen: str) -> None:
    make = "echo true >run.sh && chmod +x run.sh && ln -s run.sh link"
    project(account, make, artifacts={"files": "**/*", "enable-symlinks": symlinks})
    artifact = built(account).artifact
    project(account, SHOW, env={"exported-variables": ["OUT"]})
    assert built(account, artifact).exported == {"OUT": seen}
