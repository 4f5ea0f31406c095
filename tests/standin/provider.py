"""Stands in for Pulumi's aws and awsx providers: implements their protocol, and keeps the resources in memory.

A resource whose type has no `Live` of its own is echoed: its inputs, and the outputs that AWS would add. The rules are
those of pulumi-aws 7 (which bridges hashicorp/terraform-provider-aws): what replaces, and the formats of ids and ARNs.
"""

import hashlib
import importlib
import inspect
import json
import re
import secrets
import traceback
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from itertools import count
from typing import Any

import grpc
from google.protobuf import empty_pb2, json_format, struct_pb2
from pulumi.runtime.proto import plugin_pb2, resource_pb2, resource_pb2_grpc
from pulumi.runtime.proto import provider_pb2 as pb
from pulumi.runtime.proto.provider_pb2_grpc import ResourceProviderServicer, add_ResourceProviderServicer_to_server

Props = dict[str, Any]

ACCOUNT = "123456789012"
RESOURCE = "4dabf18193072939515e22adb298388d", "5cf8f73096256a8f31e491e813e4eb8e"
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"

# One row per type: ARN, or service:resource of it | id, if not the name | what replaces it, besides the name (`*`: all
# but tags) | further outputs. {fields} are inputs, and the names that `Aws._added` defines.
_TYPES = """
acm/certificate | acm:certificate/{uuid} | {arn} | domainName subjectAlternativeNames validationMethod |
acm/certificateValidation | | {uuid} | certificateArn validationRecordFqdns |
appautoscaling/policy | autoscaling:scalingPolicy:{uuid}:resource/{resourceId}:policyName/{name} | \
    | resourceId scalableDimension serviceNamespace |
appautoscaling/scheduledAction | autoscaling:scheduledAction:{uuid}:resource/{resourceId}:scheduledActionName/{name} \
    | {name}-{serviceNamespace}-{resourceId} | resourceId scalableDimension serviceNamespace |
appautoscaling/target | application-autoscaling:scalable-target/{hex} | {resourceId} \
    | resourceId scalableDimension serviceNamespace |
cloudtrail/trail | cloudtrail:trail/{name} | {arn} | |
cloudwatch/eventRule | events:rule/{name} | | eventBusName |
cloudwatch/eventTarget | | {rule}-{targetId} | rule targetId eventBusName | targetId={uuid}
cloudwatch/logGroup | logs:log-group:{name} | | logGroupClass |
cloudwatch/metricAlarm | cloudwatch:alarm:{name} | | |
codebuild/project | codebuild:project/{name} | {arn} | |
codebuild/reportGroup | codebuild:report-group/{name} | {arn} | type |
codebuild/webhook | | {projectName} | projectName | payloadUrl=https://codebuild.{region}.amazonaws.com/webhooks
codecommit/repository | codecommit:{repositoryName} | {repositoryName} | |
codeconnections/connection | codeconnections:connection/{uuid} | {arn} | hostArn providerType \
    | connectionStatus=PENDING
codedeploy/application | codedeploy:application:{name} | {uuid}:{name} | computePlatform |
codedeploy/deploymentGroup | codedeploy:deploymentgroup:{appName}/{deploymentGroupName} | {uuid} | appName |
codepipeline/pipeline | codepipeline:{name} | | |
codestarnotifications/notificationRule | codestar-notifications:notificationrule/{uuid} | {arn} | resource |
dynamodb/table | dynamodb:table/{name} | | hashKey rangeKey |
ec2/routeTable | ec2:route-table/rtb-0{hex} | rtb-0{hex} | vpcId |
ec2/vpcEndpoint | ec2:vpc-endpoint/vpce-0{hex} | vpce-0{hex} | serviceName vpcEndpointType vpcId | state=available
ec2/securityGroup | ec2:security-group/sg-0{hex} | sg-0{hex} | name description vpcId |
ecr/lifecyclePolicy | | {repository} | repository |
ecr/repository | ecr:repository/{name} | | encryptionConfigurations \
    | repositoryUrl={registry}/{name} registryId={account}
ecr/repositoryPolicy | | {repository} | repository |
ecs/capacityProvider | ecs:capacity-provider/{name} | {arn} | name cluster |
ecs/cluster | ecs:cluster/{name} | {arn} | |
ecs/clusterCapacityProviders | | {clusterName} | clusterName |
ecs/service | ecs:service/{cluster:/}/{name} | {arn} \
    | cluster launchType schedulingStrategy iamRole deploymentController capacityProviderStrategies |
ecs/taskDefinition | ecs:task-definition/{family}:{serial} | {family} | * \
    | revision={serial} arnWithoutRevision=arn:aws:ecs:{region}:{account}:task-definition/{family}
efs/accessPoint | elasticfilesystem:access-point/fsap-0{hex} | fsap-0{hex} | fileSystemId posixUser rootDirectory |
iam/instanceProfile | arn:aws:iam::{account}:instance-profile{path}{name} | | path | uniqueId=AIPA{hex}
iam/role | arn:aws:iam::{account}:role{path}{name} | | path | uniqueId=AROA{hex}
iam/rolePolicy | | {role}:{name} | role |
iam/rolePolicyAttachment | | {role}/{policyArn} | role policyArn |
kms/alias | kms:{name} | | |
kms/key | kms:key/{uuid} | {uuid} | | keyId={uuid}
lambda/function | lambda:function:{name} | | packageType | version=$LATEST qualifiedArn={arn}:$LATEST \
    lastModified={moment} \
    invokeArn=arn:aws:apigateway:{region}:lambda:path/2015-03-31/functions/{arn}/invocations
lambda/invocation | | {functionName}_{qualifier}_{md5} | functionName qualifier triggers input | result=null
lambda/permission | | {statementId} | * | statementId=terraform-{hex}
lb/listener | elasticloadbalancing:listener/{loadBalancerArn:loadbalancer/}/{hex} | {arn} | loadBalancerArn |
lb/listenerRule | elasticloadbalancing:listener-rule/{listenerArn:listener/}/{hex} | {arn} | listenerArn |
lb/loadBalancer | elasticloadbalancing:loadbalancer/app/{name}/{hex} | {arn} | internal loadBalancerType \
    | arnSuffix=app/{name}/{hex} dnsName={name}-{hex}.{region}.elb.amazonaws.com zoneId=Z32O12XQLNTSW2
lb/targetGroup | elasticloadbalancing:targetgroup/{name}/{hex} | {arn} \
    | port protocol protocolVersion vpcId targetType ipAddressType | arnSuffix=targetgroup/{name}/{hex}
route53/record | | {zoneId}_{name}_{type} | name type zoneId | fqdn={name}
s3/bucket | arn:aws:s3:::{bucket} | {bucket} | bucket objectLockEnabled \
    | bucketDomainName={bucket}.s3.amazonaws.com bucketRegionalDomainName={bucket}.s3.{region}.amazonaws.com
scheduler/schedule | scheduler:schedule/default/{name} | default/{name} | groupName |
secretsmanager/secret | secretsmanager:secret:{name}-{hex} | {arn} | name |
servicediscovery/httpNamespace | servicediscovery:namespace/ns-{hex} | ns-{hex} | | httpName={name}
sfn/stateMachine | states:stateMachine:{name} | {arn} | type | status=ACTIVE
sns/topic | sns:{name} | {arn} | fifoTopic |
sns/topicPolicy | | {arn} | arn |
sns/topicSubscription | {topic}:{uuid} | {arn} | topic protocol endpoint |
sqs/queue | sqs:{name} | https://sqs.{region}.amazonaws.com/{account}/{name} | name fifoQueue \
    | url=https://sqs.{region}.amazonaws.com/{account}/{name}
ssm/parameter | ssm:parameter{slashed} | | dataType | version={serial}
vpc/securityGroupEgressRule | ec2:security-group-rule/sgr-0{hex} | sgr-0{hex} | securityGroupId |
vpc/securityGroupIngressRule | ec2:security-group-rule/sgr-0{hex} | sgr-0{hex} | securityGroupId |
"""
_ROWS = {kind: cells for kind, *cells in ([c.strip() for c in row.split("|")] for row in _TYPES.strip().splitlines())}
# JSON may arrive as objects, and is compared as JSON.
_JSON = {"policy", "assumeRolePolicy", "containerDefinitions", "eventPattern"}
# Outputs that an update computes again.
_FRESH = {"version", "result", "lastModified"}
# The longest generated names, where that is not 255.
_LONGEST = {"lb/loadBalancer": 32, "lb/targetGroup": 32, "iam/role": 64, "lambda/function": 64, "s3/bucket": 63}
_LONGEST |= {"scheduler/schedule": 64, "sfn/stateMachine": 80}


class Live:
    """What happens when a resource of one type is created, updated, read or deleted; here, nothing.

    What the methods return overrides the stand-in's defaults; a RuntimeError becomes the resource's error. A preview
    calls none of them.
    """

    def create(self, name: str, inputs: Props) -> tuple[str, Props]:
        """The id ("": the default one) and outputs; `name` is the logical name."""
        return "", {}

    def update(self, id: str, olds: Props, news: Props) -> Props:
        """Outputs, from the old state and the new inputs."""
        return {}

    def read(self, id: str, inputs: Props) -> Props | None:
        """The current state, or None if the resource is gone."""
        return {}

    def delete(self, id: str, state: Props) -> None:
        return


@dataclass
class Resource:
    urn: str
    type: str
    id: str
    inputs: Props
    outputs: Props
    copies: int = 1
    """2 while its replacement exists and it is not deleted yet; the other fields are then the replacement's."""

    @property
    def name(self) -> str:
        return self.urn.rpartition("::")[2]


def _reported(method: Callable[..., Any]) -> Callable[..., Any]:
    """A RuntimeError becomes the resource's error, with its message only; anything else with its traceback."""

    def call(self: Any, request: Any, context: Any) -> Any:
        try:
            return method(self, request, context)
        except Exception as error:
            expected = isinstance(error, RuntimeError)
            context.abort(grpc.StatusCode.UNKNOWN, str(error) if expected else traceback.format_exc())

    return call


class Aws(ResourceProviderServicer):
    """Both providers. `live` is by type (`aws:ecs/service:Service`); `invokes`, in addition to the few functions
    defined here, by token (`aws:ssm/getParameter:getParameter`); `registry` is the host in the URLs of ECR
    repositories."""

    def __init__(
        self,
        live: Mapping[str, Live] | None = None,
        invokes: Mapping[str, Callable[[Props], Props]] | None = None,
        registry: str = "",
    ) -> None:
        self.resources: dict[str, Resource] = {}
        """What exists, by URN. The engine performs one operation at a time on a URN, so there is no lock."""
        self.region = "us-east-1"
        self.default_tags: dict[str, str] = {}
        self._live = {} if live is None else live
        self._invokes, self._registry = invokes or {}, registry
        self._serials: dict[tuple[str, str], Iterator[int]] = defaultdict(lambda: count(1))
        self._networks: set[str] = set()

    @contextmanager
    def serve(self) -> Iterator[str]:
        """Serves while the context is open; yields the value of PULUMI_DEBUG_PROVIDERS."""
        # This many threads, because a live resource holds one for as long as it waits.
        server = grpc.server(ThreadPoolExecutor(32))
        add_ResourceProviderServicer_to_server(self, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield f"aws:{port},awsx:{port}"
        finally:
            server.stop(None).wait()

    def find(self, type: str, name: str | None = None) -> Resource:
        """The one resource of this type and, if given, logical name."""
        found = [r for r in list(self.resources.values()) if r.type == type and name in (None, r.name)]
        if len(found) != 1:
            raise LookupError(f"expected one {type} ({name or 'any name'}), got {[r.name for r in found]}")
        return found[0]

    def _unanswered(self, request: Any, context: Any) -> Any:
        """The engine works without it; the base class would log an error each time."""
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "")

    Handshake = CheckConfig = DiffConfig = Cancel = _unanswered

    def Attach(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo(version=metadata.version("pulumi_aws"))

    def Configure(self, request: Any, context: Any) -> Any:
        self.region = request.variables.get("aws:config:region", self.region)
        if request.type != "pulumi:providers:awsx":
            self.default_tags = json.loads(request.variables.get("aws:config:defaultTags", "{}")).get("tags", {})
        # The engine rejects components of a provider that does not accept secrets; otherwise it is simpler without.
        return pb.ConfigureResponse(supportsPreview=True, acceptSecrets=request.type == "pulumi:providers:awsx")

    def Check(self, request: Any, context: Any) -> Any:
        olds, news = _plain(request.olds), _plain(request.news)
        for key in _JSON & news.keys():
            if not isinstance(news[key], str):
                news[key] = json.dumps(news[key])
        # Docs aws/installation-configuration: "defaultTags: Configuration block with resource tag settings to apply
        # across all resources handled by this provider".
        if self.default_tags and _has_tags(request.type):
            news["tags"] = {**self.default_tags, **news.get("tags", {})}
        key = _named(request.type)
        if key and key not in news and f"{key}Prefix" not in news:
            random = hashlib.sha256(request.randomSeed or request.urn.encode()).hexdigest()[:7]
            news[key] = olds[key] if _made_up(request.name, olds.get(key)) else f"{request.name}-{random}"
            longest = _LONGEST.get(_short(request.type), 255)
            if len(news[key]) > longest:
                reason = f"{request.name!r} and 7 random characters exceed {longest}"
                return pb.CheckResponse(failures=[pb.CheckFailure(property=key, reason=reason)])
        return pb.CheckResponse(inputs=_struct(news))

    def Diff(self, request: Any, context: Any) -> Any:
        olds, news, key = _plain(request.old_inputs), _plain(request.news), _named(request.type)
        changed = sorted(k for k in olds.keys() | news.keys() if not _same(k, olds.get(k), news.get(k)))
        replaces = [k for k in changed if _forces(request.type, k, olds, news)]
        # A name is free again only when its owner is gone, unless it was generated: then the new resource has another.
        taken = key in news and key not in replaces and not _made_up(request.name, news[key])
        return pb.DiffResponse(
            changes=pb.DiffResponse.DIFF_SOME if changed else pb.DiffResponse.DIFF_NONE,
            diffs=changed,
            replaces=replaces,
            deleteBeforeReplace=bool(replaces and taken),
        )

    @_reported
    def Create(self, request: Any, context: Any) -> Any:
        inputs = _plain(request.properties)
        if request.preview:
            unknown = dict.fromkeys(self._added(request, inputs)[1], UNKNOWN)
            return pb.CreateResponse(properties=_struct({**unknown, **inputs}))
        id, own = self._acts(request).create(request.name, inputs)
        usual, added = self._added(request, inputs)
        state = {**added, **inputs, **own}
        self._keep(request, id or usual, inputs, state, 1)
        return pb.CreateResponse(id=id or usual, properties=_struct(state))

    @_reported
    def Update(self, request: Any, context: Any) -> Any:
        olds, news = _plain(request.olds), _plain(request.news)
        kept = {key: value for key, value in olds.items() if key not in request.old_inputs}
        fresh = _FRESH & kept.keys()
        if request.preview:
            return pb.UpdateResponse(properties=_struct({**kept, **dict.fromkeys(fresh, UNKNOWN), **news}))
        # The old inputs take precedence over the state: the program is not to revert what AWS changed there.
        own = self._acts(request).update(request.id, {**olds, **_plain(request.old_inputs)}, news)
        added = self._added(request, news)[1] if fresh else {}
        state = {**kept, **{key: added[key] for key in fresh}, **news, **own}
        self._keep(request, request.id, news, state)
        return pb.UpdateResponse(properties=_struct(state))

    @_reported
    def Read(self, request: Any, context: Any) -> Any:
        # Without a state it is X.get(name, id): a resource that existed before.
        inputs, state = _plain(request.inputs), _plain(request.properties)
        state = state or self._added(request, {"name": request.id})[1]
        now = self._acts(request).read(request.id, inputs)
        if now is None:
            return pb.ReadResponse()
        state = {**state, **now}
        inputs = _refreshed(inputs, state)
        known = self.resources[request.urn].inputs if request.urn in self.resources else {}
        # The engine does not send the contents of an archive again.
        archives = {key: value for key, value in known.items() if isinstance(value, dict) and "assets" in value}
        self._keep(request, request.id, {**inputs, **archives}, state)
        return pb.ReadResponse(id=request.id, properties=_struct(state), inputs=_struct(inputs))

    @_reported
    def Delete(self, request: Any, context: Any) -> Any:
        self._acts(request).delete(request.id, _plain(request.properties))
        resource = self.resources.pop(request.urn, None)
        if resource and resource.copies > 1:
            self.resources[request.urn] = replace(resource, copies=resource.copies - 1)
        return empty_pb2.Empty()

    @_reported
    def Invoke(self, request: Any, context: Any) -> Any:
        known: dict[str, Props] = {
            "getAvailabilityZones": {"names": [self.region + letter for letter in "abc"]},
            "getCallerIdentity": {"accountId": ACCOUNT, "arn": f"arn:aws:iam::{ACCOUNT}:user/stand-in"},
            "getPartition": {"partition": "aws", "dnsSuffix": "amazonaws.com"},
            "getRegion": {"region": self.region},
            "getZone": {"zoneId": "Z0873220N255IR3MTNR4"},
        }
        if request.tok in self._invokes:
            result = self._invokes[request.tok](_plain(request.args))
        else:
            result = {"id": self.region, **known[request.tok.rpartition(":")[2]]}
        return pb.InvokeResponse(**{"return": _struct(result)})

    def _acts(self, request: Any) -> Live:
        return self._live.get(request.type, Live())

    def _keep(self, request: Any, id: str, inputs: Props, state: Props, more: int = 0) -> None:
        copies = self.resources[request.urn].copies + more if request.urn in self.resources else 1
        self.resources[request.urn] = Resource(request.urn, request.type, id, inputs, state, copies)

    def _added(self, request: Any, inputs: Props) -> tuple[str, Props]:
        """The default id of a new resource, and the outputs that are not inputs."""
        arn, id, _, outputs = _row(request.type)
        name, (service, kind) = str(inputs.get("name", "")), _short(request.type).split("/")
        prefixed = {} if name or "namePrefix" not in inputs else {"name": inputs["namePrefix"] + secrets.token_hex(13)}
        name = prefixed.get("name", name)
        counted = request.type, str(inputs.get("family", name))
        serial = 0 if getattr(request, "preview", False) else next(self._serials[counted])
        facts: dict[str, str] = defaultdict(_Text, account=ACCOUNT, region=self.region, path="/", qualifier="$LATEST")
        facts |= {"service": service, "kind": kind, "logical": request.name, "slashed": "/" + name.lstrip("/")}
        facts |= {"hex": secrets.token_hex(8), "uuid": str(uuid.uuid4()), "serial": str(serial)}
        # By this machine's clock; the last three digits are the resource's, so that no two updates have the same.
        facts["moment"] = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}.{serial % 1000:03d}+0000"
        facts["md5"] = hashlib.md5(str(inputs.get("input")).encode()).hexdigest()
        facts["registry"] = self._registry or f"{ACCOUNT}.dkr.ecr.{self.region}.amazonaws.com"
        facts |= {key: _Text(value) for key, value in inputs.items() if isinstance(value, str)}
        if arn and not arn.startswith(("arn:", "{topic}")):
            arn = "arn:aws:{}:{{region}}:{{account}}:{}".format(*arn.split(":", 1))
        facts |= {key: _Text(value) for key, value in prefixed.items()}
        added: Props = dict(prefixed)
        for key, template in [("arn", arn), *(output.split("=", 1) for output in outputs.split())]:
            if template and key not in inputs:
                facts[key] = template.format_map(facts)
                added[key] = serial if template == "{serial}" else facts[key]
        return (id or "{name}").format_map(facts), added

    @_reported
    def Construct(self, request: Any, context: Any) -> Any:
        """`awsx.ec2.Vpc`: the component and its outputs, without children."""
        inputs = _plain(request.inputs)
        zones = range(len(inputs.get("availabilityZoneNames", [])) or inputs.get("numberOfAvailabilityZones", 3))
        with grpc.insecure_channel(request.monitorEndpoint) as channel:
            monitor = resource_pb2_grpc.ResourceMonitorStub(channel)
            component = {"type": request.type, "name": request.name, "parent": request.parent}
            urn = monitor.RegisterResource(resource_pb2.RegisterResourceRequest(**component)).urn
            key = hashlib.sha256(urn.encode()).hexdigest()[:8]
            outputs: Props = {"vpcId": f"vpc-{key}", "isolatedSubnetIds": []}
            for tier in ("public", "private"):
                outputs[f"{tier}SubnetIds"] = [f"subnet-{key}-{tier}-{zone}" for zone in zones]
            # Those of a network with NAT gateways are not asked for.
            private = zones if inputs.get("natGateways", {}).get("strategy") == "None" else ()
            outputs["routeTables"] = [self._route_table(monitor, urn, f"{request.name}-{zone}") for zone in private]
            if request.dryRun and urn not in self._networks:
                outputs = dict.fromkeys(outputs, UNKNOWN)
            else:
                self._networks.add(urn)
            registered = resource_pb2.RegisterResourceOutputsRequest(urn=urn, outputs=_struct(outputs))
            monitor.RegisterResourceOutputs(registered)
        return pb.ConstructResponse(urn=urn, state=_struct(outputs))

    def _route_table(self, monitor: Any, parent: str, name: str) -> Props:
        """A route table, as a reference to a resource: developer-docs/types/resource-references of pulumi/pulumi."""
        type, nothing = "aws:ec2/routeTable:RouteTable", _struct({})
        asked = resource_pb2.RegisterResourceRequest(type=type, name=name, parent=parent, custom=True, object=nothing)
        made = monitor.RegisterResource(asked)
        return {RESOURCE[0]: RESOURCE[1], "urn": made.urn, "id": made.id or UNKNOWN}


class _Text(str):
    """Formatted as `{cluster:/}` it is the part after its last "/"."""

    def __format__(self, after: str) -> str:
        return self.rpartition(after)[2] if after else str(self)


def _plain(struct: struct_pb2.Struct) -> Props:
    # The protocol's numbers are all floats.
    number = lambda text: int(float(text)) if float(text).is_integer() else float(text)  # noqa: E731
    result: Props = json.loads(json_format.MessageToJson(struct), parse_float=number)
    return result


def _struct(values: Props) -> struct_pb2.Struct:
    struct = struct_pb2.Struct()
    struct.update(values)
    return struct


@cache
def _has_tags(token: str) -> bool:
    """Whether a type such as `aws:ecs/service:Service` has tags."""
    _, module, name = token.split(":")
    module = module.partition("/")[0].replace("lambda", "lambda_")
    kind: Any = getattr(importlib.import_module(f"pulumi_aws.{module}"), name)
    return "tags" in inspect.signature(kind._internal_init).parameters


def _short(type: str) -> str:
    return type.split(":")[1]


def _row(type: str) -> list[str]:
    part_of_bucket = _short(type).startswith("s3/bucket")
    other = (
        ["", "{bucket}", "bucket", ""] if part_of_bucket else ["{service}:{kind}/{logical}", "{logical}-{hex}", "", ""]
    )
    return _ROWS.get(_short(type), other)


def _named(type: str) -> str:
    """The property with the name, which is generated if it is absent."""
    arn, id, forces, _ = _row(type)
    if "name" in forces.split() or "{name}" in arn + id:
        return "name"
    return "bucket" if "{bucket}" in arn + id else ""


def _made_up(logical: str, name: object) -> bool:
    return bool(re.fullmatch(re.escape(logical) + "-[0-9a-f]{7}", str(name)))


def _same(key: str, old: Any, new: Any) -> bool:
    if key in _JSON and isinstance(old, str) and isinstance(new, str) and UNKNOWN not in (old, new):
        old, new = json.loads(old), json.loads(new)
    elif isinstance(old, dict) and isinstance(new, dict) and "hash" in old and "hash" in new:
        # Archives and assets: the engine drops their contents and keeps the hash.
        old, new = old["hash"], new["hash"]
    return bool(old == new)


def _forces(type: str, key: str, olds: Props, news: Props) -> bool:
    forces = _row(type)[2].split()
    if key == "input":
        return news.get("lifecycleScope") != "CRUD"
    if key == "autoScalingGroupProvider":
        return bool(olds[key]["autoScalingGroupArn"] != news[key]["autoScalingGroupArn"])
    if key == "capacityProviderStrategies":
        return not (news.get("forceNewDeployment") and olds.get(key) and news.get(key))
    return key == "name" or key in forces or ("*" in forces and key not in ("tags", "skipDestroy", "trackLatest"))


def _refreshed(inputs: Any, state: Any) -> Any:
    """The inputs as they are now; as in the real provider, what was not set stays unset."""
    if isinstance(inputs, dict) and isinstance(state, dict):
        return {key: _refreshed(value, state.get(key, value)) for key, value in inputs.items()}
    if isinstance(inputs, list) and isinstance(state, list) and len(inputs) == len(state):
        return [_refreshed(*pair) for pair in zip(inputs, state, strict=True)]
    return state
