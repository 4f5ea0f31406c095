"""Unit tests for programs that use Slipway, without an AWS account and without the Pulumi engine.

```python
from slipway.testing import deploy

def test_one_service_that_may_read_its_queue() -> None:
    deployment = deploy("__main__.py", config={"vpcId": "vpc-1"})
    assert deployment.only("slipway:index:Service").name == "shop"
    assert [statement["Action"] for statement in deployment.policy("shop-task-role")] == [["sqs:ReceiveMessage"]]
```

Works with any test runner. It does not test what the engine does: changes, replacements, transforms, unknown values.
https://www.pulumi.com/docs/iac/guides/testing/unit/
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import hashlib
import json
import logging
import runpy
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
from google.protobuf import json_format
from pulumi.runtime import mocks, rpc, settings
from pulumi.runtime.stack import run_in_stack

__all__ = ["ACCOUNT", "REGION", "Deployment", "Mocks", "Resource", "deploy"]

ACCOUNT = "123456789012"
"""Account ID in the results of Mocks."""
REGION = "eu-west-1"
"""Region in the results of Mocks."""

Answer = Mapping[str, Any] | Callable[[Mapping[str, Any]], Mapping[str, Any]]
ResourceType = str | type[pulumi.Resource]
STACK = "pulumi:pulumi:Stack"


@dataclass(frozen=True)
class Resource:
    """A resource or component that a program registered."""

    urn: str
    type: str
    """Type token, such as `aws:ecs/service:Service`."""
    name: str
    """Logical name."""
    parent: str
    """Type token of the parent; the empty string for the stack itself."""
    parent_urn: str
    inputs: dict[str, Any]
    """Arguments by their names in AWS's provider (`subnetIds`), with Outputs resolved and secrets in plain text."""
    secrets: set[str]
    """Names of the inputs that are secrets."""
    ignore_changes: list[str]
    protect: bool
    retain: bool
    """`retain_on_delete`."""
    depends_on: set[str]
    """Logical names of the resources that this resource depends on."""
    provider: str
    """URN and id of an explicit provider; the empty string for the default one."""
    outputs: dict[str, Any] = field(default_factory=dict)
    """Outputs that a component registered; for the stack, what the program exported."""

    def json(self, key: str) -> Any:
        """The value of an input that is a JSON document, such as `policy` or `containerDefinitions`."""
        return json.loads(self.inputs[key])


@dataclass(frozen=True)
class Deployment:
    """The resources, calls and exports of a program."""

    resources: list[Resource]
    """All resources, including the stack, sorted by URN."""
    exports: dict[str, Any]
    """Values that the program exported with `pulumi.export`."""
    calls: list[tuple[str, str]]
    """Provider functions that were called: the token, and the URN and ID of an explicit provider."""
    warnings: list[str]
    """Messages of `pulumi.log.warn`."""

    def of_type(self, type: ResourceType) -> list[Resource]:
        """All resources of a type, given by its token or its class (`aws.ecs.Service`, `slipway.Service`)."""
        token = type_token(type)
        return [resource for resource in self.resources if resource.type == token]

    def only(self, type: ResourceType) -> Resource:
        """The one resource of a type.

        Raises AssertionError if there is none, or more than one.
        """
        found = self.of_type(type)
        assert len(found) == 1, (
            f"expected one resource of type {type_token(type)}, found {len(found)}: {[each.name for each in found]}. "
            f"The program has these types: {sorted({each.type for each in self.resources})}"
        )
        return found[0]

    def named(self, type: ResourceType, name: str) -> Resource:
        """The resource of a type with this logical name.

        Raises AssertionError if there is none, or if two have different parents and the same name.
        """
        same = self.of_type(type)
        found = [resource for resource in same if resource.name == name]
        assert len(found) == 1, (
            f"expected one resource of type {type_token(type)} with the name {name}, found {len(found)}. "
            f"The program has these of that type: {sorted(each.name for each in same)}"
        )
        return found[0]

    def policy(self, role: str) -> list[dict[str, Any]]:
        """The permissions of a role: the statements of all its policies that the program creates, inline and attached.

        `role` is the logical name of the role. A policy that the program attaches but does not create, such as an AWS
        managed policy, appears as `{"PolicyArn": "arn:…"}`.

        Raises AssertionError if there is no such role.
        """
        made = self.named("aws:iam/role:Role", role)
        name = physical_name(made.inputs, made.name)
        inline = self.of_type("aws:iam/rolePolicy:RolePolicy")
        documents = [each.inputs["policy"] for each in inline if each.inputs["role"] == name]
        documents += [each["policy"] for each in made.inputs.get("inlinePolicies", [])]
        attachments = self.of_type("aws:iam/rolePolicyAttachment:RolePolicyAttachment")
        attached = [each.inputs["policyArn"] for each in attachments if each.inputs["role"] == name]
        several = self.of_type("aws:iam/policyAttachment:PolicyAttachment")
        attached += [each.inputs["policyArn"] for each in several if name in each.inputs.get("roles", [])]
        attached += made.inputs.get("managedPolicyArns", [])
        managed = {
            arn(each.type, physical_name(each.inputs, each.name)): each.inputs["policy"]
            for each in self.of_type("aws:iam/policy:Policy")
        }
        documents += [managed[policy] for policy in attached if policy in managed]
        statements = [statement for document in documents for statement in listed(json.loads(document)["Statement"])]
        return [*statements, *({"PolicyArn": policy} for policy in attached if policy not in managed)]


def deploy(
    program: Callable[[], object] | str | Path,
    *,
    config: Mapping[str, Any] | None = None,
    secrets: Mapping[str, Any] | None = None,
    answers: Mapping[str, Answer] | None = None,
    project: str = "project",
    stack: str = "dev",
) -> Deployment:
    """Run a program against mocks, and wait until all its resources are registered.

    `program` is a function (or coroutine function), or the path of a program such as `__main__.py`, whose folder is
    then first on the import path. `config` is the configuration as in a stack file: a key without a namespace belongs
    to the project, and a value that is not a string is passed as JSON. `secrets` lists the keys that are `secure:` in
    the stack file. `answers` is passed to Mocks.

    An error of the program is raised unchanged. A call of a provider function that no mock answers raises LookupError.
    """
    recorder = Recorder(Mocks(answers), project, stack)
    run(recorder, program, config or {}, secrets or {})
    return recorder.deployment()


class Mocks(mocks.Mocks):
    """Mocks that return what AWS would: ARNs, URLs, DNS names and IDs, in the account ACCOUNT and the Region REGION.

    `answers` adds to these: outputs by the type token of a resource, or results by the token of a function, with the
    provider's property names (`{"aws:ec2/getVpc:getVpc": {"cidrBlock": "10.0.0.0/16"}}`). A value can also be a
    function of the resource's inputs or of the function's arguments.

    `deploy` uses it; it can also be passed to `pulumi.runtime.set_mocks`.
    """

    def __init__(self, answers: Mapping[str, Answer] | None = None) -> None:
        self.answers = answers or {}

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        inputs = plain(args.inputs)
        name = physical_name(inputs, args.name)
        own = answered(self.answers, args.typ, inputs)
        outputs = {"arn": arn(args.typ, name), "name": name, **of_aws(args.typ, name, args.resource_id, inputs)}
        if args.custom is not False:  # the outputs of a component are not its inputs
            outputs |= args.inputs
        outputs |= own
        return str(own.get("id") or args.resource_id or id_of(args.typ, args.name, outputs)), outputs

    def call(self, args: mocks.MockCallArgs) -> dict[str, Any]:  # type: ignore[override]  # the runtime takes this too
        if args.token not in self.answers and args.token not in CALLS:
            raise LookupError(
                f"the program calls {args.token}, which no mock answers: add its result to the answers, as in "
                f'deploy(program, answers={{"{args.token}": {{…}}}})'
            )
        return {**answered(CALLS, args.token, args.args), **answered(self.answers, args.token, args.args)}


class Recorder(mocks.MockMonitor):
    """Acts as the engine's resource monitor, with the engine's URNs, and records all requests."""

    def __init__(self, answers: mocks.Mocks, project: str, stack: str) -> None:
        super().__init__(answers)
        self.project = project
        self.stack = stack
        self.recorded: dict[str, Resource] = {}
        self.calls: list[tuple[str, str]] = []
        self.read: list[tuple[str, str, str, str]] = []
        """Existing resources that were read: type, name, ID and the parent's URN."""
        self.warnings: list[str] = []
        self.logger = logging.Logger("program")
        self.logger.addHandler(Keeping(self.warnings))

    def make_urn(self, parent: str, type_: str, name: str) -> str:
        types = parent.split("::")[2] if parent else STACK
        qualified = type_ if types == STACK else f"{types}${type_}"
        return f"urn:pulumi:{self.stack}::{self.project}::{qualified}::{name}"

    def RegisterResource(self, request: Any) -> Any:
        urn = self.make_urn(request.parent, request.type, request.name)
        if urn in self.recorded:
            raise ValueError(f"two resources have the URN {urn}")
        inputs = rpc.deserialize_properties(request.object, keep_unknowns=True)
        self.recorded[urn] = Resource(
            urn=urn,
            type=request.type,
            name=request.name,
            parent=request.parent.split("::")[2].rpartition("$")[2] if request.parent else "",
            parent_urn=request.parent,
            inputs=plain(inputs),
            secrets={key for key, value in inputs.items() if rpc.is_rpc_secret(value)},
            ignore_changes=list(request.ignoreChanges),
            protect=request.protect,
            retain=request.retainOnDelete,
            depends_on={dependency.rpartition("::")[2] for dependency in request.dependencies},
            provider=request.provider or json_format.MessageToDict(request).get("providers", {}).get("aws", ""),
        )
        return super().RegisterResource(request)  # type: ignore[no-untyped-call]

    def ReadResource(self, request: Any) -> Any:
        self.read.append((request.type, request.name, request.id, request.parent))
        return super().ReadResource(request)  # type: ignore[no-untyped-call]

    def RegisterResourceOutputs(self, request: Any) -> Any:
        outputs = plain(rpc.deserialize_properties(request.outputs, keep_unknowns=True))
        self.recorded[request.urn].outputs.update(outputs)
        return super().RegisterResourceOutputs(request)  # type: ignore[no-untyped-call]

    def Invoke(self, request: Any) -> Any:
        self.calls.append((request.tok, request.provider))
        return super().Invoke(request)  # type: ignore[no-untyped-call]

    def registered(self) -> list[Resource]:
        """The registered resources, in a stable order."""
        return sorted(self.recorded.values(), key=lambda resource: resource.urn)

    def deployment(self) -> Deployment:
        resources = self.registered()
        [stack] = [resource for resource in resources if resource.type == STACK]
        return Deployment(resources, stack.outputs, self.calls, self.warnings)


class Keeping(logging.Handler):
    """Records a program's warnings."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def run(
    recorder: Recorder,
    program: Callable[[], object] | str | Path,
    config: Mapping[str, Any],
    secrets: Mapping[str, Any],
) -> None:
    """Run a program as the engine would, and wait until it is complete."""

    def qualified(key: str) -> str:
        return key if ":" in key else f"{recorder.project}:{key}"

    def go() -> None:
        settings.ROOT.set(object())  # type: ignore[arg-type]  # keeps set_mocks from making a stack of its own
        pulumi.runtime.set_mocks(
            recorder.mocks, recorder.project, recorder.stack, preview=False, logger=recorder.logger, monitor=recorder
        )
        settings.ROOT.set(None)
        settings.SETTINGS.rpc_manager.clear()
        settings.SETTINGS.outputs.clear()
        values = {
            qualified(key): value if isinstance(value, str) else as_json(value)
            for key, value in {**config, **secrets}.items()
        }
        pulumi.runtime.set_all_config(values, [qualified(key) for key in secrets])
        loop = asyncio.new_event_loop()
        # Like the engine's own runner, silence what asyncio reports about tasks that an error left behind.
        loop.set_exception_handler(lambda loop, context: None)
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(run_in_stack(lambda: started(program)))
        finally:
            left = [task for task in asyncio.all_tasks(loop) if not task.done()]
            for task in left:
                task.cancel()
            if left:
                loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            loop.close()
            asyncio.set_event_loop(None)

    with undisturbed():
        contextvars.copy_context().run(go)  # the runtime keeps its state in the context: nothing leaks


def started(program: Callable[[], object] | str | Path) -> Awaitable[None] | None:
    """Calls a function, or runs a file with a fresh import of the modules beside it."""
    if callable(program):
        result = program()
        return result if isinstance(result, Awaitable) else None
    folder = Path(program).resolve().parent
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        runpy.run_path(str(program), run_name="__main__")
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None)
            if file and Path(file).parent == folder:
                del sys.modules[name]  # otherwise its resources would be missing the next time
    return None


@contextmanager
def undisturbed() -> Iterator[None]:
    """Run without garbage collection, which takes a third of the time of a run."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def as_json(value: Any) -> str:
    """A nested value as Pulumi passes it: a YAML date becomes the time at which the day begins."""
    return json.dumps(value, default=lambda day: f"{day.isoformat()}T00:00:00Z")


def type_token(type: ResourceType) -> str:
    """The type token of a resource's class."""
    if isinstance(type, str):
        return type
    token: str | None = getattr(type, "pulumi_type", None)
    if token is None and type.__module__.startswith("slipway."):
        token = f"slipway:index:{type.__name__}"
    if token is None:
        raise TypeError(f"{type.__name__} carries no type token: pass the token, such as 'acme:index:{type.__name__}'")
    return token


def plain(value: Any) -> Any:
    """A value without the marks of secrets."""
    if rpc.is_rpc_secret(value):
        return plain(rpc.unwrap_rpc_secret(value))
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]


# What AWS would return


def physical_name(inputs: Mapping[str, Any], logical: str) -> str:
    """A resource's name in AWS. If the program gives none, the mocks use the logical name."""
    return str(inputs.get("name") or inputs.get("family") or inputs.get("bucket") or logical)


def arn(type_: str, name: str) -> str:
    """The ARN of a resource. If its format is not known here, it is `service:region:account:type/name`."""
    service, _, rest = type_.removeprefix("aws:").partition("/")
    form = ARNS.get(type_, f"{service}:{{in_region}}:{rest.partition(':')[0].lower()}/{{name}}")
    return "arn:aws:" + form.format(in_region=f"{REGION}:{ACCOUNT}", account=ACCOUNT, name=name, hex=hexadecimal(name))


def hexadecimal(name: str) -> str:
    """What the IDs of a resource have after their prefix: always the same for a name."""
    return hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()[:17]


def id_of(type_: str, logical: str, outputs: Mapping[str, Any]) -> str:
    """The ID that the provider assigns, for types whose ID programs use."""
    if type_ in PREFIXES:
        return f"{PREFIXES[type_]}-{hexadecimal(logical)}"
    key = IDS.get(type_)
    return str(plain(outputs[key])) if key else f"{logical}-id"


def of_aws(type_: str, name: str, id: str | None, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Outputs of a type other than its ARN and its name. `id` is that of an existing resource."""
    match type_:
        case "aws:ecr/repository:Repository":
            return {"repositoryUrl": repository_url(name), "registryId": ACCOUNT}
        case "aws:route53/zone:Zone":
            return {"zoneId": f"Z{hexadecimal(name).upper()}"}
        case "aws:lambda/function:Function":
            return {"lastModified": MADE["function"]}
        case "aws:dynamodb/table:Table":
            return {"streamLabel": MADE["table"]}
        case "aws:codeconnections/connection:Connection":
            # A new connection is pending, and an existing one is not, unless its ID says so.
            ready = id and not id.endswith("pending")
            state = {"connectionStatus": "AVAILABLE" if ready else "PENDING"}
            return state | ({"arn": id, "providerType": "GitHub"} if id else {})
        case "aws:lb/targetGroup:TargetGroup":
            return {"arnSuffix": f"targetgroup/{name}/1"}
        case "aws:lb/loadBalancer:LoadBalancer":
            return {"dnsName": f"{name}.elb.example", "arnSuffix": f"app/{name}/1", "zoneId": "Z1"}
        case "aws:s3/bucket:Bucket":
            return {"bucket": name}
        case "aws:acm/certificate:Certificate":
            names = [inputs["domainName"], *inputs.get("subjectAlternativeNames", ())]
            return {"domainValidationOptions": [validation(each) for each in names]}
        case "aws:route53/record:Record":
            return {"fqdn": inputs["name"]}
        case "aws:sqs/queue:Queue":
            return {"url": f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{name}"}
        case "awsx:ec2:Vpc":
            return {"vpcId": "vpc-1", "publicSubnetIds": ["subnet-1", "subnet-2"], "privateSubnetIds": ["subnet-3"]}
        case _:
            return {}


def validation(name: str) -> dict[str, str]:
    """The record that ACM asks for, which is the same for a name and its wildcard."""
    owned = name.removeprefix("*.")
    record = {
        "resourceRecordName": f"_proof.{owned}",
        "resourceRecordType": "CNAME",
        "resourceRecordValue": f"_{owned}.acm",
    }
    return {"domainName": name, **record}


def repository_url(name: str) -> str:
    return f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{name}"


def answered(answers: Mapping[str, Answer], token: str, args: Mapping[str, Any]) -> Mapping[str, Any]:
    answer = answers.get(token, {})
    return answer(args) if callable(answer) else answer


ARNS = {
    "aws:acm/certificate:Certificate": "acm:{in_region}:certificate/{name}",
    "aws:appautoscaling/target:Target": "application-autoscaling:{in_region}:scalable-target/{name}",
    "aws:cloudwatch/eventRule:EventRule": "events:{in_region}:rule/{name}",
    "aws:cloudwatch/metricAlarm:MetricAlarm": "cloudwatch:{in_region}:alarm:{name}",
    "aws:sns/topic:Topic": "sns:{in_region}:{name}",
    "aws:sqs/queue:Queue": "sqs:{in_region}:{name}",
    "aws:cloudwatch/logGroup:LogGroup": "logs:{in_region}:log-group:{name}",
    "aws:codepipeline/pipeline:Pipeline": "codepipeline:{in_region}:{name}",
    "aws:ecs/taskDefinition:TaskDefinition": "ecs:{in_region}:task-definition/{name}:1",
    "aws:efs/accessPoint:AccessPoint": "elasticfilesystem:{in_region}:access-point/fsap-{hex}",
    "aws:efs/fileSystem:FileSystem": "elasticfilesystem:{in_region}:file-system/fs-{hex}",
    "aws:iam/instanceProfile:InstanceProfile": "iam::{account}:instance-profile/{name}",
    "aws:iam/policy:Policy": "iam::{account}:policy/{name}",
    "aws:iam/role:Role": "iam::{account}:role/{name}",
    "aws:lambda/function:Function": "lambda:{in_region}:function:{name}",
    "aws:lb/listener:Listener": "elasticloadbalancing:{in_region}:listener/{name}",
    "aws:lb/listenerRule:ListenerRule": "elasticloadbalancing:{in_region}:listener-rule/{name}",
    "aws:lb/loadBalancer:LoadBalancer": "elasticloadbalancing:{in_region}:loadbalancer/app/{name}/1",
    "aws:lb/targetGroup:TargetGroup": "elasticloadbalancing:{in_region}:targetgroup/{name}/1",
    "aws:s3/bucket:Bucket": "s3:::{name}",
    "aws:scheduler/schedule:Schedule": "scheduler:{in_region}:schedule/default/{name}",
    "aws:secretsmanager/secret:Secret": "secretsmanager:{in_region}:secret:{name}-AbCdEf",
    "aws:servicediscovery/httpNamespace:HttpNamespace": "servicediscovery:{in_region}:namespace/ns-{hex}",
    "aws:servicediscovery/privateDnsNamespace:PrivateDnsNamespace": "servicediscovery:{in_region}:namespace/ns-{hex}",
    "aws:wafv2/webAcl:WebAcl": "wafv2:{in_region}:regional/webacl/{name}/{hex}",
    "aws:sfn/stateMachine:StateMachine": "states:{in_region}:stateMachine:{name}",
    "aws:ssm/parameter:Parameter": "ssm:{in_region}:parameter{name}",
}

IDS = {
    "aws:ecs/cluster:Cluster": "arn",
    "aws:route53/zone:Zone": "zoneId",
    "aws:iam/policy:Policy": "arn",
    "aws:iam/role:Role": "name",
    "aws:s3/bucket:Bucket": "bucket",
    "aws:secretsmanager/secret:Secret": "arn",
    "aws:sns/topic:Topic": "arn",
    "aws:sqs/queue:Queue": "url",
}
"""The output that is the ID."""

PREFIXES = {
    "aws:ec2/securityGroup:SecurityGroup": "sg",
    "aws:ec2/subnet:Subnet": "subnet",
    "aws:ec2/vpc:Vpc": "vpc",
    "aws:efs/accessPoint:AccessPoint": "fsap",
    "aws:efs/fileSystem:FileSystem": "fs",
    "aws:servicediscovery/httpNamespace:HttpNamespace": "ns",
    "aws:servicediscovery/privateDnsNamespace:PrivateDnsNamespace": "ns",
}
"""What IDs begin with that the components check."""

MADE = {"function": "2026-01-01T00:00:00.000+0000", "table": "2026-01-01T00:00:00.000"}
"""When each function was last modified, and the label of each table's stream, which is its creation time."""

CALLS: Mapping[str, Answer] = {
    "aws:index/getPartition:getPartition": {"partition": "aws", "dnsSuffix": "amazonaws.com"},
    "aws:index/getRegion:getRegion": {"region": REGION},
    "aws:index/getCallerIdentity:getCallerIdentity": {
        "accountId": ACCOUNT,
        "arn": f"arn:aws:iam::{ACCOUNT}:user/somebody",
    },
    "aws:ecr/getRepository:getRepository": lambda args: {
        "arn": arn("aws:ecr/repository:Repository", args["name"]),
        "repositoryUrl": repository_url(args["name"]),
    },
    "aws:cloudcontrol/getResource:getResource": {"properties": "{}"},
    "aws:route53/getZone:getZone": {"zoneId": "Z1"},
    "aws:ecs/getCluster:getCluster": lambda args: {
        "arn": arn("aws:ecs/cluster:Cluster", args["clusterName"]),
        "status": "ACTIVE",
    },
    "aws:lb/getLoadBalancer:getLoadBalancer": lambda args: {
        "arn": args.get("arn") or arn("aws:lb/loadBalancer:LoadBalancer", args["name"]),
        "arnSuffix": "app/shared/1",
        "dnsName": "shared.elb.example",
        "loadBalancerType": "application",
        "securityGroups": ["sg-shared"],
        "vpcId": "vpc-1",
    },
    "aws:lb/getListener:getListener": lambda args: {
        "arn": f"{args['loadBalancerArn'].replace(':loadbalancer/', ':listener/')}/{args['port']:g}",
        "protocol": "HTTP" if args["port"] == 80 else "HTTPS",
    },
    "aws:secretsmanager/getSecret:getSecret": lambda args: {
        "arn": arn("aws:secretsmanager/secret:Secret", args["name"])
    },
    "aws:ecr/getImages:getImages": {"imageIds": []},
}
