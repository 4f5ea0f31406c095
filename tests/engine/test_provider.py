"""What the stand-in for Pulumi's providers guarantees, on the real engine."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pulumi.automation import CommandError
from pulumi.runtime.proto import provider_pb2 as pb
from standin.provider import Aws, Live, Props
from standin.workspace import Outcome, Workspace

PROGRAM = """
import json

import pulumi
import pulumi_aws as aws
import pulumi_awsx as awsx

config = pulumi.Config()
vpc = awsx.ec2.Vpc("net", awsx.ec2.VpcArgs(number_of_availability_zones=2))
group = aws.ec2.SecurityGroup("group", vpc_id=vpc.vpc_id)
role = aws.iam.Role("role", path="/app/", assume_role_policy=json.dumps({"Version": "2012-10-17", "Statement": []}))
repository = aws.ecr.Repository("repository", name="app-dev")
task = aws.ecs.TaskDefinition(
    "task",
    family="app-dev-template",
    cpu=config.get("cpu") or "256",
    container_definitions=pulumi.Output.json_dumps(
        [{"name": "app", "image": repository.repository_url}], sort_keys=config.get_bool("sorted")
    ),
    tags={"team": config.require("team")},
)
cluster = aws.ecs.Cluster("cluster")
service = aws.ecs.Service(
    "service",
    name="app-dev",
    cluster=cluster.arn,
    launch_type=config.get("launch") or "FARGATE",
    task_definition=task.arn,
    desired_count=0,
    enable_execute_command=False,
    network_configuration={"subnets": vpc.private_subnet_ids, "security_groups": [group.id]},
    opts=pulumi.ResourceOptions(ignore_changes=["task_definition", "desired_count"]),
)
function = aws.lambda_.Function(
    "function",
    name="app-dev-release",
    role=role.arn,
    runtime="python3.13",
    handler="handler.handle",
    code=pulumi.AssetArchive({"handler.py": pulumi.StringAsset(config.get("code") or "pass")}),
)
rollout = aws.lambda_.Invocation(
    "rollout", function_name=function.name, input=pulumi.Output.json_dumps({"template": task.arn})
)
wanted = aws.ssm.Parameter(
    "wanted", name="/app/wanted", type="String", value="none", opts=pulumi.ResourceOptions(ignore_changes=["value"])
)
balancer = aws.lb.LoadBalancer("balancer", subnets=vpc.public_subnet_ids)
listener = aws.lb.Listener("listener", load_balancer_arn=balancer.arn, port=80, default_actions=[{"type": "forward"}])
folder = aws.quicksight.Folder("folder", folder_id="reports")
pulumi.export("image", repository.repository_url)
pulumi.export("revision", task.revision)
pulumi.export("result", rollout.result)
pulumi.export("subnets", vpc.private_subnet_ids)
pulumi.export("caller", aws.get_caller_identity_output().account_id)
pulumi.export("region", aws.get_region_output().region)
"""
PROJECT = "name: sample\nruntime: python\n"
# A user with secrets has a salt in the file, for a passphrase that the stand-in does not know.
STACK = "encryptionsalt: v1:nobody:knows\nconfig:\n  aws:region: eu-west-1\n  sample:team: web\n"
FILES = {"__main__.py": PROGRAM, "Pulumi.yaml": PROJECT, "Pulumi.dev.yaml": STACK}

SERVICE, TASK = "aws:ecs/service:Service", "aws:ecs/taskDefinition:TaskDefinition"
INVOCATION, PARAMETER = "aws:lambda/invocation:Invocation", "aws:ssm/parameter:Parameter"
RUNNING = "arn:aws:ecs:eu-west-1:123456789012:task-definition/app-dev:7"


class Service(Live):
    """A service whose task definition and count are changed by others."""

    def __init__(self) -> None:
        self.now: Props = {}

    def read(self, id: str, inputs: Props) -> Props:
        return self.now


class Rollout(Live):
    def __init__(self) -> None:
        self.inputs: list[str] = []
        self.failure = ""

    def create(self, name: str, inputs: Props) -> tuple[str, Props]:
        if self.failure:
            raise RuntimeError(self.failure)
        self.inputs.append(inputs["input"])
        return "", {"result": f"rollout {len(self.inputs)}"}


class Parameters(Live):
    """A parameter whose value is stored elsewhere, and can be written by others."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def create(self, name: str, inputs: Props) -> tuple[str, Props]:
        self.values[inputs["name"]] = inputs["value"]
        return "", {}

    def read(self, id: str, inputs: Props) -> Props | None:
        return {"value": self.values[id]} if id in self.values else None

    def delete(self, id: str, state: Props) -> None:
        del self.values[id]


class World:
    """The sample program, deployed, with the steps that this took, and its live resources."""

    def __init__(
        self, root: Path, aws: Aws, live: tuple[Service, Rollout, Parameters], engine: Path, providers: str
    ) -> None:
        self.root, self.aws = root, aws
        self.service, self.rollout, self.parameters = live
        self.workspace = Workspace(root, "dev", engine, providers, {"sample:launch": "FARGATE"})
        self.planned = self.workspace.preview()
        self.touched = [*aws.resources, *self.parameters.values, *self.rollout.inputs]
        self.made = self.workspace.up()
        self.outputs = self.workspace.outputs()

    def changed(self, **config: object) -> dict[str, list[str]]:
        """The operations on each resource with these settings."""
        keys = {f"sample:{key}": value for key, value in config.items()}
        self.workspace.configure(keys)
        outcome = self.workspace.preview()
        self.workspace.configure({**dict.fromkeys(keys), "sample:team": "web"})
        return ops(outcome)


def ops(outcome: Outcome) -> dict[str, list[str]]:
    result: dict[str, list[str]] = {}
    for step in outcome.changes:
        result.setdefault(step.name, []).append(step.op)
    return result


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, engine: Path) -> Iterator[World]:
    root = tmp_path_factory.mktemp("sample")
    for name, text in FILES.items():
        (root / name).write_text(text)
    live = Service(), Rollout(), Parameters()
    aws = Aws({SERVICE: live[0], INVOCATION: live[1], PARAMETER: live[2]}, registry="127.0.0.1:5000")
    with aws.serve() as providers:
        world = World(root, aws, live, engine, providers)
        yield world
        world.workspace.close()


def test_a_first_preview_plans_everything_that_up_creates_and_changes_nothing(world: World) -> None:
    assert world.planned.summary == {"create": 14}
    assert set(world.planned.steps) == set(world.made.steps)
    assert world.touched == []


def test_the_users_files_stay_as_they_are(world: World) -> None:
    assert {path.name: path.read_text() for path in world.root.iterdir()} == FILES


def test_ids_and_arns_have_awss_formats(world: World) -> None:
    def masked(text: str) -> str:
        return re.sub(r"(?<![0-9a-f])(0?[0-9a-f]{16}|[0-9a-f]{32}|[0-9a-f]{7})(?![0-9a-f])", "#", text)

    made = {r.name: (masked(r.id), masked(r.outputs.get("arn", ""))) for r in world.aws.resources.values()}
    here = "eu-west-1:123456789012"
    assert made == {
        "balancer": (f"arn:aws:elasticloadbalancing:{here}:loadbalancer/app/balancer-#/#",) * 2,
        "cluster": (f"arn:aws:ecs:{here}:cluster/cluster-#",) * 2,
        "folder": ("folder-#", f"arn:aws:quicksight:{here}:folder/folder"),
        "function": ("app-dev-release", f"arn:aws:lambda:{here}:function:app-dev-release"),
        "group": ("sg-#", f"arn:aws:ec2:{here}:security-group/sg-#"),
        "listener": (f"arn:aws:elasticloadbalancing:{here}:listener/app/balancer-#/#/#",) * 2,
        "repository": ("app-dev", f"arn:aws:ecr:{here}:repository/app-dev"),
        "role": ("role-#", "arn:aws:iam::123456789012:role/app/role-#"),
        "rollout": ("app-dev-release_$LATEST_#", ""),
        "service": (f"arn:aws:ecs:{here}:service/cluster-#/app-dev",) * 2,
        "task": ("app-dev-template", f"arn:aws:ecs:{here}:task-definition/app-dev-template:1"),
        "wanted": ("/app/wanted", f"arn:aws:ssm:{here}:parameter/app/wanted"),
    }


def test_a_program_reads_computed_outputs(world: World) -> None:
    assert {name: len(value) if name == "subnets" else value for name, value in world.outputs.items()} == {
        "caller": "123456789012",
        "image": "127.0.0.1:5000/app-dev",
        "region": "eu-west-1",
        "result": "rollout 1",
        "revision": 1,
        "subnets": 2,
    }


def test_deployed_resources_can_be_looked_up(world: World) -> None:
    template = world.aws.find(TASK, "task").outputs["arn"]
    assert [json.loads(text) for text in world.rollout.inputs] == [{"template": template}]
    with pytest.raises(LookupError, match=r"expected one aws:ecs/service:Service \(other\), got \[\]"):
        world.aws.find(SERVICE, "other")


def test_nothing_changes_without_a_change(world: World) -> None:
    assert world.workspace.preview(refresh=True).summary == {"same": 14}
    assert world.workspace.refresh().summary == {"same": 14}


def test_external_changes_to_ignored_properties_are_not_changes(world: World) -> None:
    world.service.now = {"taskDefinition": RUNNING, "desiredCount": 2}
    world.parameters.values["/app/wanted"] = "sha256:1"

    assert ops(world.workspace.preview(refresh=True)) == {}
    # The command itself reports the drift, and there is nothing left to do.
    assert ops(world.workspace.refresh()) == {"service": ["update"], "wanted": ["update"]}
    assert ops(world.workspace.preview()) == {}
    assert world.aws.find(SERVICE).inputs["taskDefinition"] == RUNNING


def test_external_changes_to_other_properties_are_changes(world: World) -> None:
    world.service.now = {"enableExecuteCommand": True, "healthCheckGracePeriodSeconds": 30}
    stored = world.parameters.values.pop("/app/wanted")

    found = world.workspace.preview(refresh=True)

    world.service.now, world.parameters.values["/app/wanted"] = {}, stored
    assert ops(found) == {"service": ["update"], "wanted": ["create"]}
    assert [step.diffs for step in found.changes if step.name == "service"] == [("enableExecuteCommand",)]


def test_a_change_affects_its_dependents_and_nothing_else(world: World) -> None:
    made_first = ["create-replacement", "replace", "delete-replaced"]
    assert world.changed(cpu="512") == {"task": made_first, "rollout": made_first}


def test_tags_and_code_are_updated_in_place_and_the_order_of_json_is_not_a_change(world: World) -> None:
    assert world.changed(sorted=True, team="data", code="print(1)") == {"task": ["update"], "function": ["update"]}


def test_resources_with_a_fixed_name_are_deleted_before_they_are_replaced(world: World) -> None:
    assert world.changed(launch="EC2") == {"service": ["delete-replaced", "replace", "create-replacement"]}


@pytest.mark.parametrize(
    ("type", "before", "after", "replaces"),
    [
        (PARAMETER, {"type": "String"}, {"type": "SecureString"}, []),
        (INVOCATION, {"input": "1"}, {"input": "2"}, ["input"]),
        (INVOCATION, {"input": "1"}, {"input": "2", "lifecycleScope": "CRUD"}, []),
        (SERVICE, {}, {"capacityProviderStrategies": [{}]}, ["capacityProviderStrategies"]),
        (
            SERVICE,
            {"capacityProviderStrategies": [{}]},
            {"capacityProviderStrategies": [{}, {}], "forceNewDeployment": True},
            [],
        ),
        (TASK, {"tags": {}}, {"tags": {"a": "b"}, "skipDestroy": True}, []),
        ("aws:iam/policy:Policy", {"name": "a", "policy": "{}"}, {"name": "b", "policy": "{ }"}, ["name"]),
    ],
)
def test_only_changes_that_aws_cannot_make_replace_a_resource(
    type: str, before: Props, after: Props, replaces: list[str]
) -> None:
    before, after = {"name": "x", **before}, {"name": "x", **after}
    request = pb.DiffRequest(type=type, name="logical", old_inputs=before, news=after)
    assert list(Aws().Diff(request, None).replaces) == replaces


@pytest.mark.parametrize(
    ("type", "inputs", "id"),
    [
        (
            "aws:cloudwatch/eventTarget:EventTarget",
            {"rule": "push", "targetId": "pipeline", "arn": "arn:x"},
            "push-pipeline",
        ),
        ("aws:iam/rolePolicy:RolePolicy", {"role": "builder", "name": "push"}, "builder:push"),
        ("aws:s3/bucketPolicy:BucketPolicy", {"bucket": "artifacts", "policy": "{}"}, "artifacts"),
        ("aws:sns/topicPolicy:TopicPolicy", {"arn": "arn:aws:sns:::topic", "policy": "{}"}, "arn:aws:sns:::topic"),
    ],
)
def test_attachments_have_ids_made_of_their_owners_ids(type: str, inputs: Props, id: str) -> None:
    created = Aws().Create(pb.CreateRequest(urn="urn", type=type, name="logical", properties=inputs), None)
    assert (created.id, dict(created.properties)) == (id, inputs)


def test_a_generated_name_that_is_too_long_is_rejected() -> None:
    request = pb.CheckRequest(type="aws:lb/targetGroup:TargetGroup", name="storefront-production-blue", urn="urn")
    failures = Aws().Check(request, None).failures
    assert [(f.property, f.reason) for f in failures] == [
        ("name", "'storefront-production-blue' and 7 random characters exceed 32")
    ]


def test_policies_given_as_objects_become_json() -> None:
    request = pb.CheckRequest(type="aws:iam/policy:Policy", name="policy", news={"policy": {"Statement": []}})
    assert Aws().Check(request, None).inputs["policy"] == '{"Statement": []}'


def test_a_failing_live_resource_fails_up_with_its_own_message_and_is_retried(world: World) -> None:
    world.rollout.failure = "the new tasks did not come up: out of memory"
    world.workspace.configure({"sample:cpu": "512"})
    with pytest.raises(CommandError, match="error: the new tasks did not come up: out of memory\n"):
        world.workspace.up()
    assert world.aws.find(INVOCATION).outputs["result"] == "rollout 1"

    world.rollout.failure = ""
    world.workspace.up()
    assert world.workspace.outputs()["result"] == "rollout 2"
    assert world.aws.find(TASK).outputs["revision"] == 2


def test_destroy_leaves_nothing(world: World) -> None:
    lines: list[str] = []
    assert world.workspace.destroy(on_output=lines.append).summary == {"delete": 14}
    assert "    - 14 deleted" in lines
    assert [*world.aws.resources, *world.parameters.values] == []
