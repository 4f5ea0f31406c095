"""The one engine of the unit tests: it runs a program against mocks and records every registration."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import json
import logging
import runpy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pulumi
import yaml
from google.protobuf import json_format
from pulumi.runtime import mocks, rpc, settings
from pulumi.runtime.stack import run_in_stack

ROOT = Path(__file__).parents[2]
ACCOUNT, REGION = "123456789012", "eu-west-1"
# The engine's own runner silences what asyncio says of tasks that an error left behind.
logging.getLogger("asyncio").setLevel(logging.CRITICAL)


@dataclass
class Resource:
    """One registration, with its inputs resolved."""

    urn: str
    type: str
    name: str
    parent: str
    """Type of the parent, as it is registered."""
    parent_urn: str
    inputs: dict[str, Any]
    secrets: set[str]
    ignore_changes: list[str]
    protect: bool
    retain: bool
    depends_on: set[str]
    """Names of the resources it depends on."""
    outputs: dict[str, Any]
    provider: str = ""

    def json(self, key: str) -> Any:
        """The document in an input."""
        return json.loads(self.inputs[key])


class Keeping(logging.Handler):
    """Keeps what a program warns of."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


class Recording(mocks.MockMonitor):
    def __init__(self, answers: mocks.Mocks) -> None:
        super().__init__(answers)
        self.recorded: dict[str, Resource] = {}
        self.calls: list[tuple[str, str]] = []
        """Functions of providers that were called, each with the provider it was asked of."""
        self.read: list[tuple[str, str, str, str]] = []
        """Resources that exist already and were looked at: type, name, id and the parent's URN."""
        self.warnings: list[str] = []
        self.logger = logging.Logger("program")
        self.logger.addHandler(Keeping(self.warnings))

    def make_urn(self, parent: str, type_: str, name: str) -> str:
        types = parent.split("::")[2] if parent else "pulumi:pulumi:Stack"
        qualified = type_ if types == "pulumi:pulumi:Stack" else f"{types}${type_}"
        return f"urn:pulumi:{settings.get_stack()}::{settings.get_project()}::{qualified}::{name}"

    def RegisterResource(self, request: Any) -> Any:
        urn = self.make_urn(request.parent, request.type, request.name)
        if urn in self.recorded:
            raise ValueError(f"two resources have the URN {urn}")
        raw = rpc.deserialize_properties(request.object, keep_unknowns=True)
        self.recorded[urn] = Resource(
            urn=urn,
            type=request.type,
            name=request.name,
            parent=request.parent.split("::")[2].rpartition("$")[2] if request.parent else "",
            parent_urn=request.parent,
            inputs={key: plain(value) for key, value in raw.items()},
            secrets={key for key, value in raw.items() if rpc.is_rpc_secret(value)},
            ignore_changes=list(request.ignoreChanges),
            protect=request.protect,
            retain=request.retainOnDelete,
            depends_on={dependency.rpartition("::")[2] for dependency in request.dependencies},
            outputs={},
            provider=request.provider or json_format.MessageToDict(request).get("providers", {}).get("aws", ""),
        )
        return super().RegisterResource(request)  # type: ignore[no-untyped-call]

    def ReadResource(self, request: Any) -> Any:
        self.read.append((request.type, request.name, request.id, request.parent))
        return super().ReadResource(request)  # type: ignore[no-untyped-call]

    def RegisterResourceOutputs(self, request: Any) -> Any:
        outputs = {k: plain(v) for k, v in rpc.deserialize_properties(request.outputs, keep_unknowns=True).items()}
        self.recorded[request.urn].outputs = outputs
        return super().RegisterResourceOutputs(request)  # type: ignore[no-untyped-call]

    def Invoke(self, request: Any) -> Any:
        self.calls.append((request.tok, request.provider))
        return super().Invoke(request)  # type: ignore[no-untyped-call]

    def registered(self) -> list[Resource]:
        """What was registered, in an order that does not change."""
        return sorted(self.recorded.values(), key=lambda resource: resource.urn)


def plain(value: Any) -> Any:
    if rpc.is_rpc_secret(value):
        return plain(rpc.unwrap_rpc_secret(value))
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


ARNS = {
    "aws:appautoscaling/target:Target": "application-autoscaling:{place}:scalable-target/{name}",
    "aws:cloudwatch/eventRule:EventRule": "events:{place}:rule/{name}",
    "aws:cloudwatch/metricAlarm:MetricAlarm": "cloudwatch:{place}:alarm:{name}",
    "aws:codeconnections/connection:Connection": "codeconnections:{place}:connection/{name}",
    "aws:sns/topic:Topic": "sns:{place}:{name}",
    "aws:cloudwatch/logGroup:LogGroup": "logs:{place}:log-group:{name}",
    "aws:codebuild/project:Project": "codebuild:{place}:project/{name}",
    "aws:codepipeline/pipeline:Pipeline": "codepipeline:{place}:{name}",
    "aws:ecr/repository:Repository": "ecr:{place}:repository/{name}",
    "aws:ecs/cluster:Cluster": "ecs:{place}:cluster/{name}",
    "aws:ecs/taskDefinition:TaskDefinition": "ecs:{place}:task-definition/{name}:1",
    "aws:iam/role:Role": "iam::{account}:role/{name}",
    "aws:kms/key:Key": "kms:{place}:key/{name}",
    "aws:lambda/function:Function": "lambda:{place}:function:{name}",
    "aws:lb/listener:Listener": "elasticloadbalancing:{place}:listener/{name}",
    "aws:lb/listenerRule:ListenerRule": "elasticloadbalancing:{place}:listener-rule/{name}",
    "aws:lb/loadBalancer:LoadBalancer": "elasticloadbalancing:{place}:loadbalancer/app/{name}/1",
    "aws:lb/targetGroup:TargetGroup": "elasticloadbalancing:{place}:targetgroup/{name}/1",
    "aws:s3/bucket:Bucket": "s3:::{name}",
    "aws:dynamodb/table:Table": "dynamodb:{place}:table/{name}",
    "aws:ssm/parameter:Parameter": "ssm:{place}:parameter{name}",
}


def arn(type_: str, name: str) -> str:
    """The ARN that AWS would give; other types have none that our programs read."""
    form = ARNS.get(type_, "none")
    return "arn:aws:" + form.format(place=f"{REGION}:{ACCOUNT}", account=ACCOUNT, name=name)


MADE = {"function": "2026-01-01T00:00:00.000+0000", "table": "2026-01-01T00:00:00.000"}
"""When each function was last modified, and the label of each table's stream, which is when it was made."""


class Answers(mocks.Mocks):
    """What AWS would make of a resource, as far as our programs read it."""

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        name = args.inputs.get("name") or args.inputs.get("family") or args.name
        if args.typ == "awsx:ec2:Vpc":
            ids = {"vpcId": "vpc-1", "publicSubnetIds": ["subnet-1", "subnet-2"], "privateSubnetIds": ["subnet-3"]}
            return f"{args.name}-id", ids
        made: dict[str, Any] = {"arn": arn(args.typ, name), "name": name, "bucket": name}
        if args.typ == "aws:ecr/repository:Repository":
            made["repositoryUrl"] = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{name}"
        if args.typ == "aws:lambda/function:Function":
            made["lastModified"] = MADE["function"]
        if args.typ == "aws:dynamodb/table:Table":
            made["streamLabel"] = MADE["table"]
        if args.typ == "aws:codeconnections/connection:Connection":
            # A new one is pending, and one that exists already unless its id says so.
            existing = args.resource_id or ""
            ready = existing and not existing.endswith("pending")
            made |= {"arn": existing or made["arn"], "connectionStatus": "AVAILABLE" if ready else "PENDING"}
        if args.typ == "aws:lb/targetGroup:TargetGroup":
            made["arnSuffix"] = f"targetgroup/{name}/1"
        if args.typ == "aws:lb/loadBalancer:LoadBalancer":
            made |= {"dnsName": f"{name}.elb.example", "arnSuffix": f"app/{name}/1"}
        return f"{args.name}-id", {**made, **args.inputs}

    def call(self, args: mocks.MockCallArgs) -> Any:
        answers: dict[str, dict[str, Any]] = {
            "aws:index/getPartition:getPartition": {"partition": "aws"},
            "aws:index/getRegion:getRegion": {"region": REGION},
            "aws:index/getCallerIdentity:getCallerIdentity": {"accountId": ACCOUNT},
            "aws:ecr/getRepository:getRepository": {
                "arn": f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{args.args.get('name')}",
                "repositoryUrl": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{args.args.get('name')}",
            },
        }
        return answers[args.token]


def as_json(value: Any) -> str:
    """A nested value as Pulumi hands it over: a day of YAML is the moment that it begins."""
    return json.dumps(value, default=lambda day: f"{day.isoformat()}T00:00:00Z")


def run(program: Callable[[], Any], config: Mapping[str, Any], secret: list[str], stack: str) -> Recording:
    """Run a program as the engine would, and wait for all of it."""
    monitor = Recording(Answers())
    run_with(monitor, program, config, secret, stack)
    return monitor


def run_with(
    monitor: Recording, program: Callable[[], Any], config: Mapping[str, Any], secret: list[str], stack: str
) -> None:
    def go() -> None:
        settings.ROOT.set(object())  # type: ignore[arg-type]  # keeps set_mocks from making a stack of its own
        pulumi.runtime.set_mocks(
            Answers(), project="storefront", stack=stack, preview=False, logger=monitor.logger, monitor=monitor
        )
        settings.ROOT.set(None)
        settings.SETTINGS.rpc_manager.clear()
        settings.SETTINGS.outputs.clear()
        texts = {key: value if isinstance(value, str) else as_json(value) for key, value in config.items()}
        pulumi.runtime.set_all_config(texts, secret)
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(run_in_stack(lambda: (program(), None)[1]))
        finally:
            left = [task for task in asyncio.all_tasks(loop) if not task.done()]
            for task in left:
                task.cancel()
            if left:
                loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            loop.close()

    gc.disable()  # looking for garbage takes a third of the time of a run
    try:
        contextvars.copy_context().run(go)  # what the runtime keeps is context: nothing leaks
    finally:
        gc.enable()


def deploy(
    program: Callable[[], Any],
    config: Mapping[str, Any] | None = None,
    secret: list[str] | None = None,
    stack: str = "dev",
) -> list[Resource]:
    """What a program registers, in an order that does not change."""
    return run(program, config or {}, secret or [], stack).registered()


def deploy_stack_file(
    stack: str, overrides: Mapping[str, Any] | None = None, secret: list[str] | None = None
) -> list[Resource]:
    """What the repository's own program registers for one of its stack files."""
    return deploy(main, stack_file(stack, overrides), secret, stack)


def refuse_stack_file(
    stack: str, overrides: Mapping[str, Any], secret: list[str] | None = None
) -> tuple[str, list[str]]:
    """The error that the repository's own program ends with, and the types of what it had registered by then.

    An override of None takes the key out of the stack file.
    """
    monitor = Recording(Answers())
    try:
        run_with(monitor, main, stack_file(stack, overrides), secret or [], stack)
    except (ValueError, pulumi.RunError) as error:
        return str(error), [resource.type for resource in monitor.registered()]
    raise AssertionError("the program accepts it")


@cache
def program(stack: str) -> list[Resource]:
    """What one of the repository's stack files stands for: run once, and only to be read."""
    return deploy_stack_file(stack)


def main() -> None:
    runpy.run_path(str(ROOT / "__main__.py"), run_name="__main__")


def stack_file(stack: str, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
    config = {**yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text())["config"], **(overrides or {})}
    return {key: value for key, value in config.items() if value is not None}


def of_type(resources: list[Resource], type_: str) -> list[Resource]:
    return [resource for resource in resources if resource.type == type_]


def only(resources: list[Resource], type_: str) -> Resource:
    """The one resource of a type."""
    found = of_type(resources, type_)
    assert len(found) == 1, f"{len(found)} resources have the type {type_}: {[r.name for r in found]}"
    return found[0]


def named(resources: list[Resource], name: str, type_: str = "") -> Resource:
    """The one resource with a name, and a type where several have the name."""
    found = [r for r in resources if r.name == name and r.type.endswith(type_)]
    assert len(found) == 1, f"{len(found)} resources are called {name}: {[r.type for r in found]}"
    return found[0]


def statements(resources: list[Resource], policy: str) -> list[dict[str, Any]]:
    """All that the one inline policy with this name says."""
    document = named(resources, policy, "RolePolicy").json("policy")
    assert document.keys() == {"Version", "Statement"}
    assert document["Version"] == "2012-10-17"
    return list(document["Statement"])


def rights(resources: list[Resource], policy: str) -> set[str]:
    """All that the one inline policy with this name allows, to be compared with `granted`."""
    return granted(statements(resources, policy))


def granted(statements: Iterable[Mapping[str, Any]]) -> set[str]:
    """Each action on each resource under its condition: neither their order nor who stands beside whom matters."""
    return {
        json.dumps({**statement, "Action": action, "Resource": resource}, sort_keys=True)
        for statement in statements
        for action in several(statement["Action"])
        for resource in several(statement["Resource"])
    }


def several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def trusted(resources: list[Resource], role: str) -> list[dict[str, Any]]:
    """Who may assume the one role with this name."""
    return list(named(resources, role, "Role").json("assumeRolePolicy")["Statement"])


def resolved(program: Callable[[], Any]) -> Any:
    """What a program returns, with its Outputs resolved."""
    resources = deploy(lambda: pulumi.export("it", program()))
    return only(resources, "pulumi:pulumi:Stack").outputs["it"]
