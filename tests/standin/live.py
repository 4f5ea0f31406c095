"""Resources with behavior of their own when Pulumi creates them: what a release reads or changes on AWS."""

import hashlib
import json
import math
import secrets
import threading
import uuid
from typing import Any

from standin import connect, volumes
from standin.api import ACCOUNT, REGION, Api, AwsError
from standin.clock import Clock
from standin.ecr import Ecr
from standin.ecs import Autoscaling, Ecs
from standin.elb import Elb
from standin.lambdas import FunctionError, Lambdas
from standin.provider import Live, Props

NETWORK = {True: "ENABLED", False: "DISABLED"}
STRATEGY = ("strategy", "bakeTimeInMinutes", "linearConfiguration", "canaryConfiguration", "lifecycleHooks")


class Cluster(Live):
    def __init__(self, ecs: Ecs) -> None:
        self._ecs = ecs

    def create(self, name: str, inputs: Props) -> tuple[str, Props]:
        self._ecs.create_cluster({"clusterName": inputs["name"]})
        return "", {}


class TaskDefinition(Live):
    SAME = ("family", "cpu", "memory", "networkMode", "requiresCompatibilities", "executionRoleArn", "taskRoleArn")

    def __init__(self, ecs: Ecs) -> None:
        self._ecs = ecs

    def create(self, name: str, inputs: Props) -> tuple[str, Props]:
        request = {key: inputs[key] for key in (*self.SAME, "runtimePlatform") if key in inputs}
        if "ephemeralStorage" in inputs:
            request["ephemeralStorage"] = {"sizeInGiB": inputs["ephemeralStorage"]["sizeInGib"]}
        request["volumes"] = [volumes.described(volume) for volume in inputs.get("volumes", [])]
        request["containerDefinitions"] = json.loads(inputs["containerDefinitions"])
        request["tags"] = [{"key": key, "value": value} for key, value in inputs.get("tags", {}).items()]
        made = self._ecs.register_task_definition(request)["taskDefinition"]
        arn, revision = made["taskDefinitionArn"], made["revision"]
        return "", {"arn": arn, "revision": revision, "arnWithoutRevision": arn.rpartition(":")[0]}

    def delete(self, id: str, state: Props) -> None:
        if not state.get("skipDestroy"):
            self._ecs.deregister_task_definition({"taskDefinition": state["arn"]})


class Service(Live):
    """Like the provider's, an update sends only what changed, and never what is ignored."""

    def __init__(self, ecs: Ecs) -> None:
        self._ecs = ecs

    def create(self, name: str, inputs: Props) -> tuple[str, Props]:
        of = {"cluster": inputs["cluster"], "serviceName": inputs["name"], **capacity(inputs)}
        if "serviceConnectConfiguration" in inputs:
            of["serviceConnectConfiguration"] = connect.requested(inputs["serviceConnectConfiguration"])
        controller = {key: inputs[key] for key in ("deploymentController",) if key in inputs}
        self._ecs.create_service({**of, **controller, **self._request(inputs)})
        return "", {}

    def update(self, id: str, olds: Props, news: Props) -> Props:
        before, after = self._request(olds), self._request(news)
        changed = {key: value for key, value in after.items() if before.get(key) != value}
        self._ecs.update_service({"cluster": news["cluster"], "service": news["name"], **changed})
        return self.read(id, news) or {}

    def read(self, id: str, inputs: Props) -> Props | None:
        found = self._ecs.describe_services({"cluster": inputs["cluster"], "services": [inputs["name"]]})["services"]
        if not found or found[0]["status"] != "ACTIVE":
            return None
        network = found[0]["networkConfiguration"]["awsvpcConfiguration"]
        configuration = found[0]["deploymentConfiguration"]
        off = {"enable": False, "rollback": False}
        connected: Props = {}
        for each in found[0]["deployments"][:1]:
            if given := each.get("serviceConnectConfiguration"):
                connected = {"serviceConnectConfiguration": connect.shown_by_the_provider(given)}
        grace = {key: found[0][key] for key in ("healthCheckGracePeriodSeconds",) if key in found[0]}
        return {
            "taskDefinition": found[0]["taskDefinition"],
            "desiredCount": found[0]["desiredCount"],
            "networkConfiguration": {**network, "assignPublicIp": network["assignPublicIp"] == NETWORK[True]},
            "loadBalancers": found[0]["loadBalancers"],
            "deploymentConfiguration": minutes({key: configuration.get(key) for key in STRATEGY}, str),
            "deploymentCircuitBreaker": configuration.get("deploymentCircuitBreaker", off),
            "alarms": configuration.get("alarms", {"alarmNames": [], **off}),
            "deploymentMinimumHealthyPercent": configuration["minimumHealthyPercent"],
            "deploymentMaximumPercent": configuration["maximumPercent"],
            **connected,
            **grace,
        }

    def delete(self, id: str, state: Props) -> None:
        # The provider scales the service to zero first.
        of = {"cluster": state["cluster"], "service": state["name"]}
        self._ecs.update_service({**of, "desiredCount": 0})
        self._ecs.delete_service(of)

    def _request(self, inputs: Props) -> Props:
        """The parameters of the request; like the provider, it sends each part only if it is set."""
        network = inputs["networkConfiguration"]
        configuration = minutes(inputs.get("deploymentConfiguration", {}), int)
        names = {
            "deploymentMinimumHealthyPercent": "minimumHealthyPercent",
            "deploymentMaximumPercent": "maximumPercent",
            "deploymentCircuitBreaker": "deploymentCircuitBreaker",
            "alarms": "alarms",
        }
        configuration |= {name: inputs[key] for key, name in names.items() if key in inputs}
        same = ("taskDefinition", "desiredCount", "loadBalancers", "healthCheckGracePeriodSeconds")
        return {
            "networkConfiguration": {
                "awsvpcConfiguration": {
                    "subnets": network["subnets"],
                    "securityGroups": network["securityGroups"],
                    "assignPublicIp": NETWORK[network["assignPublicIp"]],
                }
            },
            **({"deploymentConfiguration": configuration} if configuration else {}),
            "enableExecuteCommand": inputs.get("enableExecuteCommand", False),
            **{key: inputs[key] for key in same if key in inputs},
        }


def minutes(value: Any, kind: type) -> Any:
    """With numbers for the minutes of this kind, as in the API; Pulumi has strings."""
    if isinstance(value, list):
        return [minutes(each, kind) for each in value]
    if isinstance(value, dict):
        known = {key: each for key, each in value.items() if each is not None}
        return {key: kind(each) if key.endswith("InMinutes") else minutes(each, kind) for key, each in known.items()}
    return value


class Certificate(Live):
    """A certificate of ACM that is validated by DNS.

    acm/latest/userguide/dns-validation: a record for each name, and one for a name and its wildcard together.
    """

    def create(self, name: str, inputs: Props) -> tuple[str, Props]:
        names = [inputs["domainName"], *inputs.get("subjectAlternativeNames", [])]
        options = [
            {
                "domainName": each,
                "resourceRecordName": f"_{_digest(each)}.{each.removeprefix('*.')}.",
                "resourceRecordType": "CNAME",
                "resourceRecordValue": f"_{_digest(each)[::-1]}.acm-validations.aws.",
            }
            for each in names
        ]
        return "", {"domainValidationOptions": options[::-1], "status": "PENDING_VALIDATION"}


def _digest(name: str) -> str:
    return hashlib.md5(name.removeprefix("*.").encode()).hexdigest()


def capacity(inputs: Props) -> Props:
    """The launch type or the capacity provider strategy, of which the provider sends one."""
    if "launchType" in inputs:
        return {"launchType": inputs["launchType"]}
    return {"capacityProviderStrategy": inputs["capacityProviderStrategies"]}


class CapacityProvider(Live):
    """Managed Instances belong to a cluster from the beginning; a group is associated with it by another resource."""

    def __init__(self, ecs: Ecs) -> None:
        self._ecs = ecs

    def create(self, name: str, inputs: Props) -> tuple[str, Props]:
        if managed := inputs.get("managedInstancesProvider"):
            # The provider's schema: IntAtLeast(1).
            required = managed["instanceLaunchTemplate"].get("instanceRequirements", {})
            for size in ("vcpuCount", "memoryMib"):
                if required and required[size]["min"] < 1:
                    raise RuntimeError(f"expected {size}.min to be at least (1)")
            self._ecs.manage_instances(inputs["cluster"], inputs["name"])
        return "", {}

    def delete(self, id: str, state: Props) -> None:
        if "managedInstancesProvider" in state:
            self._ecs.stop_managing_instances(state["cluster"], state["name"])


class ClusterCapacityProviders(Live):
    def __init__(self, ecs: Ecs) -> None:
        self._ecs = ecs

    def create(self, name: str, inputs: Props) -> tuple[str, Props]:
        self._put(inputs["clusterName"], inputs["capacityProviders"])
        return "", {}

    def delete(self, id: str, state: Props) -> None:
        self._put(state["clusterName"], [])

    def _put(self, cluster: str, providers: list[str]) -> None:
        of = {"cluster": cluster, "capacityProviders": providers, "defaultCapacityProviderStrategy": []}
        self._ecs.put_cluster_capacity_providers(of)


class Role(Live):
    """Records when each role was created."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._made: dict[str, float] = {}

    def create(self, name: str, inputs: Props) -> tuple[str, Props]:
        self._made[inputs["name"]] = self._clock.now()
        return "", {}

    def made(self, arn: str) -> float:
        """When a role was created; one that Pulumi did not create has always existed."""
        return self._made.get(arn.rpartition("/")[2], -math.inf)


class Connection(Live):
    """PENDING until somebody completes its handshake in the console, unless it existed before."""

    def __init__(self) -> None:
        self.status: dict[str, str] = {}
        """By ARN, where it is not AVAILABLE."""
        self._providers: dict[str, str] = {}

    def state(self, arn: str) -> str:
        return self.status.get(arn, "AVAILABLE")

    def complete(self) -> None:
        """Completes all of them."""
        self.status.clear()

    def create(self, name: str, inputs: Props) -> tuple[str, Props]:
        arn = f"arn:aws:codeconnections:{REGION}:{ACCOUNT}:connection/{uuid.uuid4()}"
        self.status[arn], self._providers[arn] = "PENDING", inputs.get("providerType", "GitHubEnterpriseServer")
        return arn, {"arn": arn, "connectionStatus": "PENDING", "providerType": self._providers[arn]}

    def read(self, id: str, inputs: Props) -> Props | None:
        return {"arn": id, "providerType": self._providers.get(id, "GitHub"), "connectionStatus": self.state(id)}


class LoadBalancer(Live):
    """Its address leads here: names that end with .localhost resolve to this machine (RFC 6761)."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def create(self, name: str, inputs: Props) -> tuple[str, Props]:
        port = self._api.url.rpartition(":")[2]
        return "", {"dnsName": f"{inputs['name']}.localhost:{port}"}


class TargetGroup(Live):
    """Its stickiness, which a rule with several groups must have too. The provider sets it after the creation."""

    def __init__(self, elb: Elb) -> None:
        self._elb = elb

    def create(self, name: str, inputs: Props) -> tuple[str, Props]:
        called = inputs.get("name") or inputs["namePrefix"] + secrets.token_hex(13)
        suffix = f"targetgroup/{called}/{secrets.token_hex(8)}"
        arn = f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:{suffix}"
        stick(self._elb, arn, inputs)
        return arn, {"arn": arn, "name": called, "arnSuffix": suffix}

    def update(self, id: str, olds: Props, news: Props) -> Props:
        stick(self._elb, id, news)
        return {}

    def delete(self, id: str, state: Props) -> None:
        self._elb.stick(id, False)


def stick(elb: Elb, group: str, inputs: Props) -> None:
    given = inputs.get("stickiness")
    try:
        elb.stick(group, given is not None and given.get("enabled", True))
    except AwsError as e:
        raise RuntimeError(f"modifying ELBv2 Target Group ({group}) attributes: {e}") from None


RULES_PER_LOAD_BALANCER, VALUES_PER_RULE, VALUE_CHARACTERS = 100, 5, 128


class ListenerRule(Live):
    """Like a service's, its update sends the actions only if they changed.

    It rejects what Elastic Load Balancing rejects (elasticloadbalancing/latest): more than 100 rules of a load balancer
    or 5 values of a rule (application/load-balancer-limits), a host or path pattern of more than 128 characters
    (APIReference/API_RuleCondition), a priority that another rule of the listener has (API_CreateRule).
    """

    def __init__(self, ecs: Ecs) -> None:
        self._ecs, self._elb = ecs, ecs.elb
        self._rules: dict[str, tuple[str, Any]] = {}
        """Listener and priority of each."""
        self._lock = threading.Lock()

    def create(self, name: str, inputs: Props) -> tuple[str, Props]:
        arn = f"{inputs['listenerArn'].replace(':listener/', ':listener-rule/')}/{secrets.token_hex(8)}"
        with self._lock:
            self._check(arn, inputs)
            balancer = _balancer(inputs["listenerArn"])
            if sum(_balancer(listener) == balancer for listener, _ in self._rules.values()) >= RULES_PER_LOAD_BALANCER:
                message = f"The maximum number of rules has been reached for load balancer '{balancer}'"
                raise RuntimeError(f"creating ELBv2 Listener Rule: TooManyRules: {message}")
            self._keep(arn, inputs)
        try:
            self._elb.set(arn, inputs["actions"])
        except AwsError as e:
            raise RuntimeError(f"creating ELBv2 Listener Rule: {e}") from None
        return arn, {"arn": arn}

    def update(self, id: str, olds: Props, news: Props) -> Props:
        with self._lock:
            self._check(id, news)
            self._keep(id, news)
        if olds["actions"] != news["actions"]:
            self._ecs.live()
            self._elb.set(id, news["actions"])
        return self.read(id, news) or {}

    def read(self, id: str, inputs: Props) -> Props | None:
        self._ecs.live()
        actions = self._elb.actions(id)
        return None if actions is None else {"actions": actions}

    def delete(self, id: str, state: Props) -> None:
        self._rules.pop(id, None)
        self._elb.remove(id)

    def _check(self, arn: str, inputs: Props) -> None:
        listener, priority = inputs["listenerArn"], inputs.get("priority")
        others = [rule for other, rule in self._rules.items() if other != arn]
        if priority is not None and (listener, float(priority)) in others:
            raise RuntimeError(f"ELBv2 Listener Rule: PriorityInUse: Priority '{int(priority)}' is currently in use")
        kinds = [part for condition in inputs.get("conditions", []) for part in condition.values()]
        values = [value for part in kinds if isinstance(part, dict) for value in part.get("values", [])]
        if len(values) > VALUES_PER_RULE:
            message = f"The rule has {len(values)} condition values: the maximum is {VALUES_PER_RULE}"  # UNCONFIRMED
            raise RuntimeError(f"ELBv2 Listener Rule: ValidationError: {message}")
        for value in values:
            if isinstance(value, str) and len(value) > VALUE_CHARACTERS:
                message = f"Condition value '{value}' is too long: the maximum is {VALUE_CHARACTERS}"  # UNCONFIRMED
                raise RuntimeError(f"ELBv2 Listener Rule: ValidationError: {message} characters")

    def _keep(self, arn: str, inputs: Props) -> None:
        priority = inputs.get("priority")
        self._rules[arn] = inputs["listenerArn"], None if priority is None else float(priority)


def _balancer(listener: str) -> str:
    return "/".join(listener.split("/")[1:4])


class Repository(Live):
    def __init__(self, ecr: Ecr) -> None:
        self._ecr = ecr

    def create(self, name: str, inputs: Props) -> tuple[str, Props]:
        [encryption] = inputs.get("encryptionConfigurations", [{"encryptionType": "AES256"}])
        self._ecr.create_repository(
            {
                "repositoryName": inputs["name"],
                "imageTagMutability": inputs["imageTagMutability"],
                "imageTagMutabilityExclusionFilters": inputs.get("imageTagMutabilityExclusionFilters", []),
                "encryptionConfiguration": encryption,
                "imageScanningConfiguration": inputs.get("imageScanningConfiguration", {}),
                "tags": tags(inputs),
            }
        )
        return "", {}

    def update(self, id: str, olds: Props, news: Props) -> Props:
        self._ecr.tag_resource({"resourceArn": f"repository/{id}", "tags": tags(news)})
        return {}

    def read(self, id: str, inputs: Props) -> Props | None:
        try:
            self._ecr.describe_repositories({"repositoryNames": [id]})
        except AwsError:
            return None
        return {}

    def delete(self, id: str, state: Props) -> None:
        try:
            self._ecr.delete_repository({"repositoryName": id, "force": bool(state.get("forceDelete"))})
        except AwsError as e:
            if e.code == "RepositoryNotFoundException":
                return
            # The provider's message.
            raise RuntimeError(f"ECR Repository ({id}) not empty, consider using force_delete: {e}") from None


def tags(inputs: Props) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in inputs.get("tags", {}).items()]


class RepositoryText(Live):
    """A policy of a repository: the one for images, or the one for principals."""

    def __init__(self, texts: dict[str, str]) -> None:
        self._texts = texts

    def create(self, name: str, inputs: Props) -> tuple[str, Props]:
        self._texts[inputs["repository"]] = inputs["policy"]
        return "", {}

    def update(self, id: str, olds: Props, news: Props) -> Props:
        self._texts[news["repository"]] = news["policy"]
        return {}

    def read(self, id: str, inputs: Props) -> Props | None:
        return {"policy": self._texts[id]} if id in self._texts else None

    def delete(self, id: str, state: Props) -> None:
        self._texts.pop(state["repository"], None)


class Parameter(Live):
    def __init__(self, ssm: Any) -> None:
        self._ssm = ssm

    def create(self, name: str, inputs: Props) -> tuple[str, Props]:
        self._ssm.put_parameter(Name=inputs["name"], Value=inputs["value"], Type=inputs["type"])
        return "", {}

    def update(self, id: str, olds: Props, news: Props) -> Props:
        self._ssm.put_parameter(Name=news["name"], Value=news["value"], Type=news["type"], Overwrite=True)
        return {}

    def read(self, id: str, inputs: Props) -> Props | None:
        found = self._ssm.get_parameters(Names=[id])["Parameters"]
        return {"value": found[0]["Value"]} if found else None

    def delete(self, id: str, state: Props) -> None:
        self._ssm.delete_parameter(Name=state["name"])


class Bucket(Live):
    def __init__(self, s3: Any, region: str) -> None:
        self._s3, self._region = s3, region

    def create(self, name: str, inputs: Props) -> tuple[str, Props]:
        where = {"LocationConstraint": self._region}
        self._s3.create_bucket(Bucket=inputs["bucket"], CreateBucketConfiguration=where)
        return "", {}

    def delete(self, id: str, state: Props) -> None:
        if state.get("forceDestroy"):
            for found in self._s3.list_objects_v2(Bucket=state["bucket"]).get("Contents", []):
                self._s3.delete_object(Bucket=state["bucket"], Key=found["Key"])
        self._s3.delete_bucket(Bucket=state["bucket"])


class ScalableTarget(Live):
    def __init__(self, autoscaling: Autoscaling) -> None:
        self._autoscaling = autoscaling

    def create(self, name: str, inputs: Props) -> tuple[str, Props]:
        self._autoscaling.register_scalable_target(
            {
                **self._named(inputs),
                "MinCapacity": int(inputs["minCapacity"]),
                "MaxCapacity": int(inputs["maxCapacity"]),
                **({"SuspendedState": request(inputs["suspendedState"])} if "suspendedState" in inputs else {}),
            }
        )
        return "", {}

    def read(self, id: str, inputs: Props) -> Props | None:
        found = self._autoscaling.describe_scalable_targets({"ResourceIds": [id]})["ScalableTargets"]
        if not found:
            return None
        state = {f"{key[0].lower()}{key[1:]}": value for key, value in found[0]["SuspendedState"].items()}
        shown = {"suspendedState": state} if state else {}
        return {"minCapacity": found[0]["MinCapacity"], "maxCapacity": found[0]["MaxCapacity"], **shown}

    def delete(self, id: str, state: Props) -> None:
        self._autoscaling.deregister_scalable_target(self._named(state))

    def _named(self, inputs: Props) -> Props:
        named: Props = request({key: inputs[key] for key in ("serviceNamespace", "resourceId", "scalableDimension")})
        return named


class Scaling(Live):
    """A policy or a scheduled action of a scalable target: the request that the provider sends is kept by its name."""

    def __init__(self, autoscaling: Autoscaling, operation: str) -> None:
        self._autoscaling, self._operation = autoscaling, operation
        self._name = {"scaling_policy": "PolicyName", "scheduled_action": "ScheduledActionName"}[operation]

    def create(self, name: str, inputs: Props) -> tuple[str, Props]:
        sent = {key: value for key, value in request(inputs).items() if key != "Name"}
        getattr(self._autoscaling, f"put_{self._operation}")({self._name: inputs["name"], **sent})
        return "", {}

    def update(self, id: str, olds: Props, news: Props) -> Props:
        self.create("", news)
        return {}

    def delete(self, id: str, state: Props) -> None:
        named = {self._name: state["name"], "ResourceId": state["resourceId"]}
        getattr(self._autoscaling, f"delete_{self._operation}")(named)


def request(inputs: Any) -> Any:
    """The inputs of a resource as parameters of the API: the same names, which begin with a capital letter."""
    if isinstance(inputs, dict):
        return {f"{key[0].upper()}{key[1:]}": request(value) for key, value in inputs.items()}
    if isinstance(inputs, float) and inputs.is_integer():
        return int(inputs)
    return [request(each) for each in inputs] if isinstance(inputs, list) else inputs


class Invocation(Live):
    """Runs the function; an error of the function is the resource's error."""

    def __init__(self, lambdas: Lambdas) -> None:
        self._lambdas = lambdas

    def create(self, name: str, inputs: Props) -> tuple[str, Props]:
        try:
            result = self._lambdas.invoke(inputs["functionName"], json.loads(inputs["input"]))
        except FunctionError as e:
            # The provider's message.
            raise RuntimeError(f"invoking Lambda Function ({inputs['functionName']}): Unhandled: {e}") from None
        return "", {"result": json.dumps(result)}
