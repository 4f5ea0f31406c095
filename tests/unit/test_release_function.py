import json
import subprocess
import sys
from functools import cache, partial
from importlib import resources as files
from pathlib import Path
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest
from slipway import ReleaseFunction, Rolling, Tasks
from slipway.release_function import MODULES, code
from slipway.runtime.release.registers import Settings
from unit.examples import release_function, service
from unit.harness import VERSIONS, Resource, deploy, named, of_type, only, resolved, statements, trusted

FUNCTION = "aws:lambda/function:Function"
INVOCATION = "aws:lambda/invocation:Invocation"
PLACE = "eu-west-1:123456789012"
TEMPLATE = f"arn:aws:ecs:{PLACE}:task-definition/api-template:1"
TARGET_GROUP = f"arn:aws:elasticloadbalancing:{PLACE}:targetgroup/api-tg/1"
PARAMETERS = f"arn:aws:ssm:{PLACE}:parameter/slipway/api-release/"
IN_RUNTIME = files.files("slipway.runtime").joinpath("release")


def of_service(**told: Any) -> list[Resource]:
    return deploy(lambda: service("api", **told)) if told else by_default()


@cache
def by_default() -> list[Resource]:
    return deploy(lambda: service("api"))


GIVEN_BALANCED = {
    "targetGroupArn": f"arn:aws:elasticloadbalancing:{PLACE}:targetgroup/given/1",
    "containerName": "app",
    "containerPort": 8080,
}


def rollout(**told: Any) -> dict[str, Any]:
    return dict(named(of_service(**told), "api-release-rollout-1").json("input")["rollout"])


def settings_text(minimum: int, maximum: int) -> str:
    """The register of the service `api`, as it is written."""
    return (
        '{"deadline_minutes": 10, '
        '"load_balancers": [{"containerName": "app", "containerPort": 8080, '
        f'"targetGroupArn": "{TARGET_GROUP}"}}], '
        f'"maximum": {maximum}, "minimum": {minimum}, "security_groups": ["api-tasks-id"], '
        f'"subnets": ["subnet-3", "subnet-4"], "template": "{TEMPLATE}"}}'
    )


def test_the_function_is_for_one_service() -> None:
    function = only(of_service(environment_name="staging", keep_verified=3, container_name="web"), FUNCTION)
    assert function.inputs.pop("code").assets.keys() == {f"release/{module}" for module in MODULES}
    assert function.inputs == {
        "name": "api-release",
        "description": "Deploys api: releases of the pipeline and settings of Pulumi",
        "runtime": "python3.13",
        "architectures": ["arm64"],
        "handler": "release.handler.handler",
        "role": "arn:aws:iam::123456789012:role/api-release-role",
        "timeout": 900,
        "memorySize": 256,
        "environment": {
            "variables": {
                "CLUSTER": "given-api",
                "SERVICE": "api",
                "FAMILY": "api",
                "CONTAINER": "web",
                "ENVIRONMENT": "staging",
                "REPOSITORY_URL": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/given-api",
                "KEEP_VERIFIED": "3",
                "PARAMETERS": "/slipway/api-release/",
            }
        },
        "loggingConfig": {"logFormat": "Text", "logGroup": "/aws/lambda/api-release"},
    }


def test_the_function_is_made_after_its_role_can_do_its_work() -> None:
    assert only(of_service(), FUNCTION).depends_on == {
        "api",
        "given-api",
        "api-release-logs",
        "api-release-policy",
        "api-release-role",
    }


def test_pulumi_owns_the_settings_and_only_makes_what_releases_own() -> None:
    registers = of_type(of_service(tasks=Tasks(min=1, max=4)), "aws:ssm/parameter:Parameter")
    assert {r.name: (r.inputs, r.ignore_changes) for r in registers} == {
        "api-release-settings": (
            {"name": "/slipway/api-release/settings", "type": "String", "value": settings_text(1, 4)},
            [],
        ),
        "api-release-wanted": ({"name": "/slipway/api-release/wanted", "type": "String", "value": "null"}, ["value"]),
        "api-release-verified": (
            {"name": "/slipway/api-release/verified", "type": "String", "value": "null"},
            ["value"],
        ),
    }


def test_settings_are_written_when_all_that_a_release_needs_of_them_is_there() -> None:
    assert named(of_service(), "api-release-settings").depends_on == {"api", "api-tasks", "api-template", "api-tg"}


def test_the_function_reads_what_pulumi_writes() -> None:
    written = named(of_service(tasks=Tasks(min=1, max=4)), "api-release-settings").json("value")
    assert Settings(**written) == Settings(
        template=TEMPLATE,
        minimum=1,
        maximum=4,
        deadline_minutes=10,
        subnets=["subnet-3", "subnet-4"],
        security_groups=["api-tasks-id"],
        load_balancers=[{"targetGroupArn": TARGET_GROUP, "containerName": "app", "containerPort": 8080}],
    )


def test_the_first_release_changes_neither_the_network_nor_the_balancer_of_a_service() -> None:
    resources = of_service(port=3000, container_name="web", subnet_ids=["subnet-9"])
    service_made = only(resources, "aws:ecs/service:Service").inputs
    settings = Settings(**named(resources, "api-release-settings").json("value"))
    assert settings.load_balancers == service_made["loadBalancers"]
    assert service_made["networkConfiguration"] == {
        "subnets": settings.subnets,
        "securityGroups": settings.security_groups,
        "assignPublicIp": False,
    }


def test_lambda_alone_assumes_the_role() -> None:
    assert trusted(of_service(), "api-release-role") == [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ]


def role_statements(*scaling: dict[str, Any]) -> list[dict[str, Any]]:
    service_arn = f"arn:aws:ecs:{PLACE}:service/given-api/api"
    return [
        {
            "Effect": "Allow",
            "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
            "Resource": f"arn:aws:logs:{PLACE}:log-group:/aws/lambda/api-release:*",
        },
        {
            "Effect": "Allow",
            "Action": ["ssm:GetParameter"],
            "Resource": [f"{PARAMETERS}settings", f"{PARAMETERS}wanted", f"{PARAMETERS}verified"],
        },
        {
            "Effect": "Allow",
            "Action": ["ssm:PutParameter"],
            "Resource": [f"{PARAMETERS}wanted", f"{PARAMETERS}verified"],
        },
        {
            "Effect": "Allow",
            "Action": ["ecs:DescribeServices", "ecs:UpdateService", "ecs:ListServiceDeployments"],
            "Resource": service_arn,
        },
        {
            "Effect": "Allow",
            "Action": ["ecs:DescribeServiceDeployments", "ecs:StopServiceDeployment"],
            "Resource": [service_arn, f"arn:aws:ecs:{PLACE}:service-deployment/given-api/api/*"],
        },
        {
            "Effect": "Allow",
            "Action": ["ecs:DescribeServiceRevisions"],
            "Resource": [service_arn, f"arn:aws:ecs:{PLACE}:service-revision/given-api/api/*"],
        },
        {"Effect": "Allow", "Action": ["ecs:DescribeTasks"], "Resource": f"arn:aws:ecs:{PLACE}:task/given-api/*"},
        {
            "Effect": "Allow",
            "Action": ["ecs:ListTasks"],
            "Resource": "*",
            "Condition": {"ArnEquals": {"ecs:cluster": f"arn:aws:ecs:{PLACE}:cluster/given-api"}},
        },
        {"Effect": "Allow", "Action": ["ecs:DescribeTaskDefinition", "ecs:RegisterTaskDefinition"], "Resource": "*"},
        {
            "Effect": "Allow",
            "Action": ["ecs:TagResource"],
            "Resource": f"arn:aws:ecs:{PLACE}:task-definition/api:*",
            "Condition": {"StringEquals": {"ecs:CreateAction": "RegisterTaskDefinition"}},
        },
        {
            "Effect": "Allow",
            "Action": ["iam:PassRole"],
            "Resource": [
                "arn:aws:iam::123456789012:role/api-execution-role",
                "arn:aws:iam::123456789012:role/api-task-role",
            ],
            "Condition": {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
        },
        *scaling,
        {
            "Effect": "Allow",
            "Action": ["ecr:BatchGetImage", "ecr:PutImage"],
            "Resource": f"arn:aws:ecr:{PLACE}:repository/given-api",
        },
        {
            "Effect": "Allow",
            "Action": ["codepipeline:PutJobSuccessResult", "codepipeline:PutJobFailureResult"],
            "Resource": "*",
        },
    ]


def test_the_function_may_deploy_its_one_service_and_tag_its_images() -> None:
    resources = of_service()
    assert named(resources, "api-release-policy").inputs["role"] == "api-release-role"
    assert statements(resources, "api-release-policy") == role_statements()


def test_the_function_may_set_the_bounds_of_a_service_that_scales() -> None:
    scaling = {
        "Effect": "Allow",
        "Action": ["application-autoscaling:RegisterScalableTarget"],
        "Resource": f"arn:aws:application-autoscaling:{PLACE}:scalable-target/api-scaling",
    }
    assert statements(of_service(tasks=Tasks(min=2, max=4)), "api-release-policy") == role_statements(scaling)


def test_whoever_invokes_the_function_may_do_that_alone() -> None:
    assert resolved(lambda: [release_function("api-release").invoke_statement()]) == [
        {
            "Effect": "Allow",
            "Action": ["lambda:InvokeFunction"],
            "Resource": f"arn:aws:lambda:{PLACE}:function:api-release",
        }
    ]


def test_the_archive_holds_every_module_of_the_function_and_nothing_else() -> None:
    modules = sorted(entry.name for entry in IN_RUNTIME.iterdir() if entry.name.endswith(".py"))
    assert list(MODULES) == modules
    assets = code().assets
    assert {path: type(asset) for path, asset in assets.items()} == {
        f"release/{module}": pulumi.StringAsset for module in modules
    }
    texts = {path: asset.text for path, asset in assets.items() if isinstance(asset, pulumi.StringAsset)}
    assert texts == {f"release/{module}": IN_RUNTIME.joinpath(module).read_text() for module in modules}


def test_the_archive_runs_where_there_is_no_pulumi(tmp_path: Path) -> None:
    for path, asset in code().assets.items():
        assert isinstance(asset, pulumi.StringAsset)
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(asset.text)
    program = (
        "import sys, release.handler; print(release.handler.__file__); "
        "print(sorted({'pulumi', 'pulumi_aws', 'pydantic', 'slipway'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert (run.stderr, run.stdout.split("\n")) == ("", [str(tmp_path / "release/handler.py"), "[]", ""])


def test_the_rollout_is_run_after_all_that_it_looks_at() -> None:
    resources = of_service(tasks=Tasks(min=2, max=4))
    invocation = only(resources, INVOCATION)
    assert invocation.inputs.keys() == {"functionName", "input", "lifecycleScope"}
    assert (invocation.inputs["functionName"], invocation.inputs["lifecycleScope"]) == ("api-release", "CREATE_ONLY")
    assert invocation.depends_on == {
        "api",
        "api-scaling",
        "api-tasks",
        "api-template",
        "api-tg",
        "api-release",
        "api-release-policy",
        "api-release-settings",
        "api-release-wanted",
        "api-release-verified",
    }


def test_the_rollout_says_the_settings_as_they_are_written_with_their_version_and_no_image() -> None:
    resources = of_service(tasks=Tasks(min=2, max=4))
    assert only(resources, INVOCATION).json("input") == {
        "rollout": {"settings": settings_text(2, 4), "version": VERSIONS["settings"]},
        "part": 1,
        "parts": 1,
    }
    assert named(resources, "api-release-settings").inputs["value"] == settings_text(2, 4)


def test_settings_that_failed_and_were_taken_back_are_rolled_out_again(monkeypatch: pytest.MonkeyPatch) -> None:
    before = rollout()
    monkeypatch.setitem(VERSIONS, "settings", VERSIONS["settings"] + 2)
    again = only(deploy(lambda: service("api")), INVOCATION).json("input")["rollout"]
    assert again == {"settings": before["settings"], "version": before["version"] + 2}


def test_a_release_in_between_is_no_rollout(monkeypatch: pytest.MonkeyPatch) -> None:
    before = only(of_service(), INVOCATION).inputs
    monkeypatch.setitem(VERSIONS, "wanted", VERSIONS["wanted"] + 1)
    monkeypatch.setitem(VERSIONS, "verified", VERSIONS["verified"] + 1)
    assert only(deploy(lambda: service("api")), INVOCATION).inputs == before


@pytest.mark.parametrize(
    "told",
    [
        {"tasks": Tasks(min=3)},
        {"tasks": Tasks(min=2, max=3)},
        {"subnet_ids": ["subnet-9"]},
        {"strategy": Rolling(deadline_minutes=11)},
        {"port": 3000},
        {"container_name": "web"},
    ],
    ids=["least tasks", "most tasks", "subnets", "deadline", "port", "container"],
)
def test_the_rollout_runs_again_when_a_setting_changes(told: dict[str, Any]) -> None:
    assert rollout(**told) != rollout()


@pytest.mark.parametrize(
    ("told", "changed"),
    [
        ({"subnet_ids": ["subnet-9"]}, {"subnets": ["subnet-9"]}),
        ({"security_group_id": "sg-9"}, {"security_groups": ["sg-9"]}),
        ({"target_group_arn": "arn:9"}, {"load_balancers": [{**GIVEN_BALANCED, "targetGroupArn": "arn:9"}]}),
        ({"container_name": "web"}, {"load_balancers": [{**GIVEN_BALANCED, "containerName": "web"}]}),
        ({"port": 3000}, {"load_balancers": [{**GIVEN_BALANCED, "containerPort": 3000}]}),
        ({"minimum_tasks": 1}, {"minimum": 1}),
        ({"maximum_tasks": 3}, {"maximum": 3}),
        ({"deadline_minutes": 11}, {"deadline_minutes": 11}),
    ],
    ids=lambda told: next(iter(told)),
)
def test_a_change_of_one_argument_is_a_change_of_one_setting_of_the_rollout(
    told: dict[str, Any], changed: dict[str, Any]
) -> None:
    def settings(**told: Any) -> dict[str, Any]:
        run = only(deploy(lambda: release_function("fn", **told)), INVOCATION)
        return dict(json.loads(run.json("input")["rollout"]["settings"]))

    before, after = settings(), settings(**told)
    assert after != before
    assert after == {**before, **changed}


def test_the_rollout_runs_again_when_the_template_changes() -> None:
    def program(family: str) -> ReleaseFunction:
        template = aws.ecs.TaskDefinition("given", family=family, container_definitions="[]")
        return release_function("fn", template=template)

    settings = [
        json.loads(only(deploy(partial(program, family)), INVOCATION).json("input")["rollout"]["settings"])
        for family in ("one", "two")
    ]
    assert [told["template"] for told in settings] == [
        f"arn:aws:ecs:{PLACE}:task-definition/{family}:1" for family in ("one", "two")
    ]


def test_the_same_settings_are_the_same_rollout() -> None:
    again = deploy(lambda: service("api"))
    assert only(again, INVOCATION).inputs == only(of_service(), INVOCATION).inputs


@pytest.mark.parametrize(("deadline", "parts"), [(3, 1), (13, 1), (14, 2), (27, 2), (28, 3), (180, 13)])
def test_a_rollout_has_as_many_runs_as_its_deadline_needs_each_after_the_other(deadline: int, parts: int) -> None:
    runs = of_type(deploy(lambda: release_function("fn", deadline_minutes=deadline)), INVOCATION)
    by_part = {json.loads(run.inputs["input"])["part"]: run for run in runs}
    assert sorted(by_part) == list(range(1, parts + 1))
    assert {json.loads(run.inputs["input"])["parts"] for run in runs} == {parts}
    assert [by_part[part].name for part in range(1, parts + 1)] == [f"fn-rollout-{part + 1}" for part in range(parts)]
    for part in range(2, parts + 1):
        assert by_part[part].depends_on >= {f"fn-rollout-{part - 1}"}
    assert parts * 14 > deadline
