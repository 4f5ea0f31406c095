"""Amazon ECS, as far as a release needs it: deployments, task sets, and Application Auto Scaling of services.

Operations take and return dicts in the API's own shape. Everything that AWS does on its own (tasks start and fail,
deployments end) is computed from the clock on each request. A rule names the AWS page it is based on (API:
AmazonECS/latest/APIReference, DG: AmazonECS/latest/developerguide); UNCONFIRMED marks what no page documents. Not here:
the pauses between attempts (DG service-throttle-logic), placement on instances, percentages other than 100/200.
strategies.py has the strategies other than ROLLING, placement.py capacity providers.
"""

import itertools
import json
import math
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, wraps
from typing import Any

from botocore.validate import ParamValidator
from moto.core.utils import get_service_model

from standin import connect
from standin.api import ACCOUNT, REGION, AwsError, Params, plain_copy
from standin.clock import Clock
from standin.containers import check_containers, ended
from standin.elb import Elb
from standin.placement import NO_CAPACITY, RETRY_SECONDS, SPOT, WARNED, provider, stop_seconds
from standin.single_tasks import Logs, Outcome, SingleTask, Tokens
from standin.single_tasks import check as check_run
from standin.strategies import Failed, Stages, check, check_migration
from standin.volumes import check_volumes

NEVER = math.inf
ARN = f"arn:aws:ecs:{REGION}:{ACCOUNT}:"
# API API_UpdateService: "This parameter triggers a new service deployment". The page says of all others, even of
# capacityProviderStrategy, that they do not.
MOST_GROUPS = 5  # DG register-multiple-targetgroups
DEPLOYING = {"taskDefinition", "networkConfiguration", "platformVersion", "loadBalancers", "serviceRegistries"}
DEPLOYING |= {"serviceConnectConfiguration", "volumeConfigurations", "vpcLatticeConfigurations"}
PROGRESSING = ("PENDING", "IN_PROGRESS")
SCHEDULER = "ServiceSchedulerInitiated"
DEFAULT_ALARM_MINUTES = 5.0
TASK_DEFINITION_BYTES = 65_536


@dataclass(eq=False)
class Deployment:
    """A service deployment, and the service revision that it creates."""

    id: str
    shown: Params
    """As DescribeServiceDeployments returns it, without what changes over time; likewise the revision."""
    revision: Params
    next: tuple[float, str] | None
    failures: int = 0
    stages: Stages | None = None
    """Its stages; None for a rolling deployment."""
    watched: frozenset[str] = frozenset()
    """Alarms that stop it."""
    bake: float = 0.0
    """Seconds for which ECS monitors them after the old tasks have stopped."""

    @property
    def status(self) -> str:
        return str(self.shown["status"])

    @property
    def groups(self) -> list[str]:
        """Target groups of its tasks."""
        return [balancer["targetGroupArn"] for balancer in self.revision["resolvedConfiguration"]["loadBalancers"]]

    @property
    def ports(self) -> list[tuple[int, str]]:
        """Ports of its tasks, each with its target group."""
        numbers = [balancer["containerPort"] for balancer in self.revision.get("loadBalancers", [])]
        return list(zip(numbers, self.groups, strict=True))

    @property
    def ongoing(self) -> bool:
        return "finishedAt" not in self.shown

    def to(self, status: str, now: float, then: str | None = None, **shown: Any) -> None:
        """Changes to this status, and some seconds later to the next; without a next one, the deployment has ended."""
        self.next = (now + 5, then) if then else None
        self.shown |= {"status": status, "updatedAt": now, **shown} | ({} if then else {"finishedAt": now})


@dataclass(eq=False)
class Task:
    deployment: Deployment
    shown: Params
    runs: float = NEVER
    healthy: float = NEVER
    stops: float = NEVER
    end: tuple[str, str, int | None] = "", "", None
    """Code, reason and exit code, if it stops on its own."""
    broken: str = ""
    """The container that exits with that code, and ends the task; "" for all of them."""

    @property
    def going(self) -> bool:
        """Whether AWS is taking it back."""
        return bool(self.shown["desiredStatus"] == "STOPPED")


@dataclass(eq=False)
class Service:
    shown: Params
    """As DescribeServices returns it, without what changes over time."""
    deployments: list[Deployment] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)
    stopped: list[Task] = field(default_factory=list)
    sets: list[Deployment] = field(default_factory=list)
    """Task sets, which take the place of deployments where ECS is not the deployment controller."""
    goal: Deployment = field(init=False)
    """The deployment whose tasks should run: the newest, or the one that is being rolled back to."""
    time: float = 0.0
    steady_since: float | None = None
    reported: bool = False
    placed_again: float = -NEVER
    """When it tries again to place tasks for which there was no capacity."""

    @property
    def codedeploy(self) -> bool:
        return bool(self.shown["deploymentController"]["type"] != "ECS")

    def of(self, deployment: Deployment) -> list[Task]:
        return [task for task in self.tasks if task.deployment is deployment]

    def healthy(self, deployment: Deployment) -> int:
        return sum(task.healthy <= self.time for task in self.staying(deployment))

    def staying(self, deployment: Deployment) -> list[Task]:
        """Its tasks without those that AWS is taking back, which ECS replaces at once."""
        return [task for task in self.of(deployment) if not task.going]

    def breaker(self, option: str) -> bool:
        return bool(self.shown["deploymentConfiguration"].get("deploymentCircuitBreaker", {}).get(option))

    def threshold(self) -> int:
        """DG deployment-circuit-breaker: half of the desired count, at least 3, at most 200."""
        return min(max(math.ceil(0.5 * int(self.shown["desiredCount"])), 3), 200)


Operation = Callable[["Ecs", Params], Params]


def operation(method: Operation) -> Operation:
    """One at a time, after catching up with the clock."""

    @wraps(method)
    def run(self: "Ecs", params: Params) -> Params:
        with self.lock:
            self.live()
            answer: Params = plain_copy(method(self, plain_copy(params)))
            return answer

    return run


class Ecs:
    def __init__(
        self,
        clock: Clock,
        why_not_pulled: Callable[[str, str], str],
        elb: Elb | None = None,
        deployed_alarm: Callable[[str], float | None] = lambda name: None,
        role_made: Callable[[str], float] = lambda arn: -NEVER,
    ) -> None:
        """`deployed_alarm` returns an alarm's evaluation period in minutes, or None if the alarm is not deployed.
        `role_made` returns the time at which a role was created, by its ARN.
        """
        self.fault: Callable[[Params], str | None] = lambda task_definition: None
        """What is wrong with the tasks of a task definition: None, "exit N", "<container> exit N", "health check",
        "CannotPullContainerError", or "flapping" (healthy, then stopped, repeatedly)."""
        self.hook: Callable[[str, str], str] = lambda arn, stage: "SUCCEEDED"
        """Returns the hookStatus of a Lambda function at a stage. It must not call ECS."""
        self.outcome: Callable[[Params], Outcome] = lambda task: Outcome()
        """How a task ends that RunTask started, by the task as DescribeTasks returns it."""
        self.emit: Callable[[str, str, str, str, float], None] = lambda name, service, deployment, reason, at: None
        """Called when a deployment's state changes, with the event's name, the service's ARN, the deployment's id, the
        reason and the time. ECS is locked meanwhile, so it must leave the event for later, as Events.post does."""
        self.alarm_minutes: dict[str, float] = {}
        """Evaluation periods in minutes of alarms that are not deployed; without an entry, DEFAULT_ALARM_MINUTES."""
        self.why_not_mounted: Callable[[Params], str] = lambda definition: ""
        """Why tasks of a task definition cannot mount a file system; "" if they can."""
        self.without_capacity: set[str] = set()
        """Capacity providers that cannot place a task now."""
        self.unplaced_fails = False
        """Whether a task that cannot be placed counts for the circuit breaker. API API_Deployment: a task is "a failure
        if the service scheduler can't launch the task". UNCONFIRMED: that missing capacity is that."""
        self.role_delay = 0.0
        """Seconds after the creation of a role during which ECS cannot use it yet, and returns `role_error`."""
        self.role_error = "InvalidParameterException"
        """Or AccessDeniedException."""
        self.linked_role_from = -NEVER
        """When the account gets the service-linked role of ECS; NEVER is an account without it."""
        self.shown_digest: Callable[[str], str] = lambda digest: digest
        """The digest that service revisions show for the requested image. If that is an index, AWS does not document
        whether they show the digest of the index or of a platform's image (aws/amazon-ecs-agent 4226)."""
        self.elb = elb or Elb(clock, [])
        self._role_made = role_made
        self._deployed_alarm = deployed_alarm
        self.start_seconds, self.steady_seconds = 20.0, 10.0
        self.lock = threading.RLock()
        self._clock, self._why_not_pulled, self._numbers = clock, why_not_pulled, itertools.count(1)
        self._clusters: set[str] = set()
        self._providers: dict[str, set[str]] = {}
        """Capacity providers that clusters are associated with."""
        self._managed: dict[str, set[str]] = {}
        """Those of Managed Instances, which belong to their cluster."""
        self._services: dict[str, Service] = {}
        self._families: dict[str, list[Params]] = {}
        self._alarms: set[str] = set()
        self._single: dict[str, SingleTask] = {}
        """Tasks without a service, by ARN."""
        self._tokens = Tokens()
        self.logs = Logs(clock)

    def live(self) -> None:
        """Catches up with the clock."""
        with self.lock:
            for service in self._services.values():
                self._catch_up(service)

    def active(self) -> list[Params]:
        """The services that were not deleted."""
        return [service.shown for service in self._services.values() if service.shown["status"] == "ACTIVE"]

    @property
    def alarms(self) -> set[str]:
        """Names of the CloudWatch alarms in the state ALARM, to be changed in place: changes count from now on."""
        with self.lock:
            self.live()
            for service in self._services.values():
                self._step(service, self._clock.now())
            return self._alarms

    def traffic(self, rule: str) -> dict[str, int]:
        """Which images serve a listener rule's traffic: image of the first container -> weight; "" is no task."""
        with self.lock:
            self.live()
            result = Counter[str]()
            for group, weight in self.elb.weights(rule).items():
                tasks = [t for s in self._services.values() for t in s.tasks if group in t.deployment.groups]
                images = [t.shown["containers"][0]["image"] for t in tasks if t.healthy <= self._clock.now()] or [""]
                for image, count in Counter(images).items():
                    result[image] += round(weight * count / len(images))
            return dict(+result)

    # Task definitions

    @operation
    def register_task_definition(self, params: Params) -> Params:
        # general/latest/gr/ecs-service: "Task definition size: 64 KB", which is the message as people quote it.
        # UNCONFIRMED: that it is the size of the JSON without spaces, and that tags do not count.
        size = len(_json({key: value for key, value in params.items() if key != "tags"}))
        if size > TASK_DEFINITION_BYTES:
            message = f"Actual length: '{size}'. Max allowed length is '{TASK_DEFINITION_BYTES}' bytes."
            raise AwsError("ClientException", message)
        check_volumes(params)
        check_containers(params)
        revisions, tags = self._families.setdefault(params["family"], []), params.pop("tags", [])
        revision = len(revisions) + 1  # never one that was used: DG deregister-task-definition-v2
        definition: Params = {"volumes": [], "placementConstraints": []} | params
        definition["containerDefinitions"] = [_container(c, params) for c in params["containerDefinitions"]]
        # API API_TaskDefinition; RegisterTaskDefinition does not take these
        definition |= {"taskDefinitionArn": f"{ARN}task-definition/{params['family']}:{revision}", "revision": revision}
        definition |= {"status": "ACTIVE", "compatibilities": ["EC2", "FARGATE"]}
        definition |= {"registeredAt": self._clock.now(), "registeredBy": f"arn:aws:iam::{ACCOUNT}:root"}
        definition |= {"requiresAttributes": [{"name": "com.amazonaws.ecs.capability.docker-remote-api.1.18"}]}
        revisions.append({"taskDefinition": definition, "tags": tags})
        return revisions[-1]

    @operation
    def describe_task_definition(self, params: Params) -> Params:
        found = self._found_definition(params["taskDefinition"])
        # API API_DescribeTaskDefinition: "If TAGS is specified, the tags are included in the response".
        return found if "TAGS" in params.get("include", []) else {"taskDefinition": found["taskDefinition"]}

    @operation
    def deregister_task_definition(self, params: Params) -> Params:
        if ":" not in params["taskDefinition"].rpartition("/")[2]:
            raise AwsError("ClientException", "You must specify a revision.")  # API API_DeregisterTaskDefinition
        definition = self._definition(params["taskDefinition"])
        definition |= {"status": "INACTIVE", "deregisteredAt": self._clock.now()}
        return {"taskDefinition": definition}

    @operation
    def list_task_definitions(self, params: Params) -> Params:
        # API API_ListTaskDefinitions: ACTIVE by default, the oldest first.
        family, status = params.get("familyPrefix"), params.get("status", "ACTIVE")
        every = [r["taskDefinition"] for name in sorted(self._families) for r in self._families[name]]
        arns = [d["taskDefinitionArn"] for d in every if d["status"] == status and family in (None, d["family"])]
        return _page("taskDefinitionArns", arns[::-1] if params.get("sort") == "DESC" else arns, params, 100)

    def _found_definition(self, reference: str) -> Params:
        # API API_DescribeTaskDefinition: "family for the latest ACTIVE revision, family:revision, or full ARN";
        # INACTIVE ones "remain discoverable": API API_DeregisterTaskDefinition.
        family, _, revision = reference.rpartition("/")[2].partition(":")
        for found in reversed(self._families.get(family, [])):
            definition = found["taskDefinition"]
            if revision == str(definition["revision"]) or not revision and definition["status"] == "ACTIVE":
                return found
        raise AwsError("ClientException", "Unable to describe task definition.")

    def _definition(self, reference: str) -> Params:
        definition: Params = self._found_definition(reference)["taskDefinition"]
        return definition

    # Clusters and services

    @operation
    def create_cluster(self, params: Params) -> Params:
        name = params["clusterName"]
        self._clusters.add(name)
        return {"cluster": {"clusterArn": f"{ARN}cluster/{name}", "clusterName": name, "status": "ACTIVE"}}

    @operation
    def put_cluster_capacity_providers(self, params: Params) -> Params:
        # API API_PutClusterCapacityProviders: one that a service uses cannot be removed.
        # One of Managed Instances is none of these: hashicorp/terraform-provider-aws#44783 has the message.
        cluster, wanted = params["cluster"], set(params["capacityProviders"])
        if self._managed.get(cluster):
            message = "Cannot associate Managed Instances capacity provider to clusters using this API."
            raise AwsError("InvalidParameterException", message)
        self._unused(cluster, self._providers.get(cluster, set()) - wanted)
        self._providers[cluster] = wanted
        return {"cluster": {"clusterName": cluster, "capacityProviders": sorted(wanted)}}

    def manage_instances(self, cluster: str, name: str) -> None:
        """CreateCapacityProvider for Managed Instances.

        API API_CreateCapacityProvider: "it becomes available only within the specified cluster".
        """
        self._managed.setdefault(cluster, set()).add(name)

    def stop_managing_instances(self, cluster: str, name: str) -> None:
        self._unused(cluster, {name})
        self._managed[cluster].discard(name)

    def _unused(self, cluster: str, providers: set[str]) -> None:
        for service in self._services.values():
            of = service.shown["clusterArn"].rpartition("/")[2] == cluster and service.shown["status"] == "ACTIVE"
            used = {item["capacityProvider"] for item in service.shown.get("capacityProviderStrategy", [])}
            if of and used & providers:
                message = "The specified capacity provider is in use and cannot be removed."
                raise AwsError("ResourceInUseException", message)

    def _placed(self, shown: Params) -> Params:
        """The service with its launch type, or its capacity provider strategy.

        API API_UpdateService: an empty list leads back to the launch type. API API_CreateService: a strategy has only
        providers that the cluster is associated with, and DG capacity-launch-type-comparison: Fargate's or others.
        API API_TaskDefinition: what requires Fargate runs there. UNCONFIRMED: the messages.
        """
        names = {item["capacityProvider"] for item in shown.get("capacityProviderStrategy", [])}
        cluster = shown["clusterArn"].rpartition("/")[2]
        if missing := names - self._providers.get(cluster, set()) - self._managed.get(cluster, set()):
            message = f"The specified capacity provider {sorted(missing)} is not associated with the cluster."
            raise AwsError("InvalidParameterException", message)
        fargate = {name for name in names if name.startswith("FARGATE")}
        if fargate and fargate != names:
            raise AwsError("InvalidParameterException", "A strategy cannot mix Fargate and other capacity providers.")
        required = self._definition(shown["taskDefinition"]).get("requiresCompatibilities", ["FARGATE"])
        if ("FARGATE" in required) != (fargate == names):
            raise AwsError("InvalidParameterException", "The task definition is not compatible with this capacity.")
        if names:
            return {key: value for key, value in shown.items() if key != "launchType"}
        return {key: value for key, value in shown.items() if key != "capacityProviderStrategy"} | {
            "launchType": shown.get("launchType", "FARGATE")
        }

    @operation
    def describe_clusters(self, params: Params) -> Params:
        # API API_DescribeClusters: one that does not exist is a failure.
        arns = {f"{ARN}cluster/{name}": name for name in params["clusters"]}
        known = {
            arn: {"clusterArn": arn, "clusterName": name, "status": "ACTIVE"}
            for arn, name in arns.items()
            if name in self._clusters
        }
        return _found("clusters", known, list(arns))

    @operation
    def create_service(self, params: Params) -> Params:
        arn = self._arn(params, params["serviceName"])
        if arn in self._services and self._services[arn].shown["status"] == "ACTIVE":
            raise AwsError("InvalidParameterException", "Creation of service was not idempotent.")
        if self._clock.now() < self.linked_role_from:  # hashicorp/terraform-provider-aws 11417, pulumi-aws 1041
            message = "Unable to assume the service linked role. Please verify that the ECS service linked role exists."
            raise AwsError("InvalidParameterException", message)
        shown: Params = {"desiredCount": 0, "loadBalancers": [], "serviceRegistries": [], "platformVersion": "LATEST"}
        shown |= {"deploymentController": {"type": "ECS"}, "deploymentConfiguration": {}}
        shown |= {
            "serviceArn": arn,
            "clusterArn": f"{ARN}cluster/{arn.split('/')[1]}",
            "status": "ACTIVE",
            "events": [],
        }
        shown = self._placed(self._checked(shown | params | {"createdAt": self._clock.now()}))
        self._reachable(shown)
        self._connected(shown)
        check(shown["deploymentConfiguration"], shown["loadBalancers"])
        service = Service(shown)
        self._services[arn] = service
        if service.codedeploy:
            if len(shown["loadBalancers"]) > 1:  # DG register-multiple-targetgroups; UNCONFIRMED: the message
                message = "Multiple target groups are only supported with the ECS deployment controller."
                raise AwsError("InvalidParameterException", message)
            self._add_set(service, shown, "PRIMARY")
        else:
            self._deploy(service)
        return {"service": self._described(service)}

    @operation
    def update_service(self, params: Params) -> Params:
        service = self._service(params)
        if service.shown["status"] != "ACTIVE":  # API API_UpdateService
            raise AwsError("ServiceNotActiveException", "Service was not ACTIVE.")
        forced, changes = params.pop("forceNewDeployment", False), self._checked(params)
        if service.codedeploy and (forced or DEPLOYING & changes.keys()):  # API API_UpdateService; UNCONFIRMED message
            raise AwsError("InvalidParameterException", "Use AWS CodeDeploy to trigger a new deployment.")
        deploys = forced or any(service.shown.get(key) != changes[key] for key in DEPLOYING & changes.keys())
        if "deploymentConfiguration" in changes:
            # Hooks stay until `lifecycleHooks: []` is sent: aws/containers-roadmap 2664. UNCONFIRMED for the other
            # parts of the configuration, which here are those of the last call.
            before, configuration = service.shown["deploymentConfiguration"], changes["deploymentConfiguration"]
            hooks = configuration.pop("lifecycleHooks", before.get("lifecycleHooks", []))
            configuration |= {"lifecycleHooks": hooks} if hooks else {}
        after = service.shown | changes
        if deploys:
            self._reachable(after)
            self._connected(after)
        if {"deploymentConfiguration", "loadBalancers"} & changes.keys():
            check(after["deploymentConfiguration"], after["loadBalancers"])
        if not service.codedeploy:
            self._check_migration(service, after)
        service.shown = self._placed(service.shown | changes)
        if deploys:
            self._deploy(service, "loadBalancers" in changes)
        self._step(service, self._clock.now())
        return {"service": self._described(service)}

    def _check_migration(self, service: Service, after: Params) -> None:
        goal, ongoing = service.goal, any(deployment.ongoing for deployment in service.deployments)
        balancers: list[Params] = goal.revision.get("loadBalancers", [])
        completed = balancers if goal.status == "SUCCESSFUL" else [{} for _ in balancers]
        before = service.shown["deploymentConfiguration"]
        check_migration(before, after["deploymentConfiguration"], None if ongoing else completed)

    @operation
    def delete_service(self, params: Params) -> Params:
        service = self._service(params)
        if service.shown["desiredCount"] > 0 and not params.get("force"):  # API API_DeleteService
            raise AwsError("InvalidParameterException", "The service cannot be stopped while it is scaled above 0.")
        for task in [*service.tasks]:
            self._stop(service, task, self._clock.now(), SCHEDULER, "Service deleted")
        # "Amazon ECS deletes the service deployment when you delete a service": DG service-deployment
        service.shown |= {"status": "INACTIVE", "desiredCount": 0}
        service.deployments, service.sets = [], []
        return {"service": self._described(service)}

    @operation
    def describe_services(self, params: Params) -> Params:
        arns = [self._arn(params, name) for name in params["services"]]
        known = {arn: self._described(self._services[arn]) for arn in arns if arn in self._services}
        for answer in known.values() if "TAGS" not in params.get("include", []) else ():
            answer.pop("tags", None)
        return _found("services", known, arns)

    def _checked(self, inputs: Params) -> Params:
        if "taskDefinition" in inputs:
            definition = self._definition(inputs["taskDefinition"])
            inputs["taskDefinition"] = definition["taskDefinitionArn"]
            self._usable(*(definition.get(key) for key in ("taskRoleArn", "executionRoleArn")))
            if definition["status"] != "ACTIVE":  # API API_DeregisterTaskDefinition
                raise AwsError("ClientException", "TaskDefinition is inactive")
        if "deploymentConfiguration" in inputs:
            defaults = {"maximumPercent": 200, "minimumHealthyPercent": 100, "strategy": "ROLLING"}
            inputs["deploymentConfiguration"] = defaults | inputs["deploymentConfiguration"]
            self._usable(*(h.get("roleArn") for h in inputs["deploymentConfiguration"].get("lifecycleHooks", [])))
        balancers = inputs.get("loadBalancers", [])
        if len(balancers) > MOST_GROUPS:  # UNCONFIRMED: the message, which was that of the earlier limit of 1
            raise AwsError("InvalidParameterException", f"load balancers can have at most {MOST_GROUPS} items.")
        self._usable(*(balancer.get("advancedConfiguration", {}).get("roleArn") for balancer in balancers))
        return inputs

    def _usable(self, *roles: str | None) -> None:
        """IAM is eventually consistent: hashicorp/terraform-provider-aws 38538, which has the message.

        UNCONFIRMED: that the role of a hook, or of a task, is refused by this call and with this message; the
        message of AccessDeniedException.
        """
        for role in filter(None, roles):
            if self._clock.now() < self._role_made(role) + self.role_delay:
                message = f"ECS was unable to assume the configured ECS Infrastructure Role '{role}'. Please verify "
                message += "that the role being passed has the proper trust relationship with Amazon ECS."
                raise AwsError(self.role_error, message)

    def _reachable(self, shown: Params) -> None:
        """A load balancer needs a port that its container has: API API_LoadBalancer, containerPort."""
        containers = self._definition(shown["taskDefinition"])["containerDefinitions"]
        ports = {(c["name"], mapping["containerPort"]) for c in containers for mapping in c.get("portMappings", [])}
        for target in shown["loadBalancers"]:
            name, port = target["containerName"], target["containerPort"]
            if (name, port) not in ports:
                message = f"The container {name} did not have a container port {port} defined."
                raise AwsError("InvalidParameterException", message)

    def _connected(self, shown: Params) -> None:
        own, before = self._services.get(shown["serviceArn"]), {}
        if own is not None:
            before = connect.protocols(own.shown, self._definition(own.shown["taskDefinition"]))
        others = [each for each in self.active() if each["serviceArn"] != shown["serviceArn"]]
        connect.check(shown, self._definition(shown["taskDefinition"]), before, others)

    def answers(self, namespace: str, name: str) -> dict[str, int]:
        """How many tasks of each image answer at a name of a namespace."""
        with self.lock:
            self.live()
            tasks = [task for service in self._services.values() for task in service.tasks]
            serving = [t for t in tasks if (namespace, name) in connect.served(t.deployment.revision)]
            images = [t.shown["containers"][0]["image"] for t in serving if t.healthy <= self._clock.now()]
            return dict(Counter(images))

    def _arn(self, params: Params, service: str) -> str:
        cluster = params.get("cluster", "default").rpartition("/")[2]
        if cluster not in self._clusters:
            raise AwsError("ClusterNotFoundException", "Cluster not found.")
        return f"{ARN}service/{cluster}/{service.rpartition('/')[2]}"

    def _service(self, params: Params) -> Service:
        if (arn := self._arn(params, params["service"])) not in self._services:
            raise AwsError("ServiceNotFoundException", "Service not found.")
        return self._services[arn]

    def _described(self, service: Service) -> Params:
        answer = _known("Service", service.shown) | _counts(service.tasks) | {"deployments": []}
        if service.deployments:
            newest, goal = service.deployments[-1], service.goal
            old = [d for d in reversed(service.deployments) if service.of(d) or d is newest and d.ongoing]
            shown = [goal, *(deployment for deployment in old if deployment is not goal)]
            answer["deployments"] = [_rollout(service, deployment) for deployment in shown]
            answer["currentServiceDeployment"] = newest.shown["serviceDeploymentArn"]
            answer["currentServiceRevisions"] = [_summary(service, deployment) for deployment in shown]
        if service.sets:
            answer["taskSets"] = [_task_set(service, each) for each in service.sets]
        return answer

    # Service deployments and revisions

    @operation
    def list_service_deployments(self, params: Params) -> Params:
        created, found = params.get("createdAt", {}), []
        for deployment in reversed(self._service(params).deployments):
            brief = deployment.shown | {"targetServiceRevisionArn": deployment.revision["serviceRevisionArn"]}
            in_time = created.get("after", 0) < brief["createdAt"] < created.get("before", NEVER)
            if in_time and brief["status"] in params.get("status", [brief["status"]]):
                found.append(_known("ServiceDeploymentBrief", brief))
        return _page("serviceDeployments", found, params, 20)  # API API_ListServiceDeployments

    @operation
    def describe_service_deployments(self, params: Params) -> Params:
        known = {}
        for service, deployment in self._deployments():
            state = "MONITORING" if deployment.status in PROGRESSING else "MONITORING_COMPLETE"
            state = "TRIGGERED" if deployment.failures >= service.threshold() else state
            breaker: Params = {"failureCount": deployment.failures, "threshold": service.threshold()}
            breaker |= {"status": state if service.breaker("enable") else "DISABLED"}
            answer = {"targetServiceRevision": _summary(service, deployment), "deploymentCircuitBreaker": breaker}
            state = "MONITORING" if deployment.status in PROGRESSING else "MONITORING_COMPLETE"
            state = "TRIGGERED" if deployment.shown["alarms"]["triggeredAlarmNames"] else state
            answer["alarms"] = deployment.shown["alarms"] | {"status": state if deployment.watched else "DISABLED"}
            known[deployment.shown["serviceDeploymentArn"]] = deployment.shown | answer
        return _found("serviceDeployments", known, params["serviceDeploymentArns"])

    @operation
    def describe_service_revisions(self, params: Params) -> Params:
        revisions = [deployment.revision for _, deployment in self._deployments()]
        known = {revision["serviceRevisionArn"]: revision for revision in revisions}
        return _found("serviceRevisions", known, params["serviceRevisionArns"])

    @operation
    def stop_service_deployment(self, params: Params) -> Params:
        now, (service, deployment) = self._clock.now(), self._deployment(params)
        if not deployment.ongoing:  # API API_StopServiceDeployment
            raise AwsError("ConflictException", f"The service deployment is {deployment.status}.")
        # DG stop-service-deployment: PENDING and IN_PROGRESS move to ROLLBACK_REQUESTED, other ongoing states continue,
        # and the rollback option is not needed. ABORT is in the API, but no page says what it does: UNCONFIRMED.
        if deployment.status in PROGRESSING and params.get("stopType", "ROLLBACK") == "ABORT":
            deployment.to("STOP_REQUESTED", now, "STOPPED")
        elif deployment.status in PROGRESSING:
            self._roll_back(service, now, "ROLLBACK_REQUESTED", "a user requested it")
        self._step(service, now)
        return {"serviceDeploymentArn": params["serviceDeploymentArn"]}

    @operation
    def continue_service_deployment(self, params: Params) -> Params:
        now, (service, deployment) = self._clock.now(), self._deployment(params)
        hooks = [
            hook for hook in deployment.shown.get("lifecycleHookDetails", []) if hook["hookId"] == params["hookId"]
        ]
        # DG continue-service-deployment; the code is UNCONFIRMED.
        if deployment.status != "IN_PROGRESS" or [hook.get("status") for hook in hooks] != ["AWAITING_ACTION"]:
            raise AwsError("InvalidParameterException", "The hook is not awaiting an action.")
        back = params.get("action") == "ROLLBACK"
        hooks[0]["status"] = "FAILED" if back else "SUCCEEDED"
        if back:
            self._roll_back(service, now, "ROLLBACK_REQUESTED", "a user requested it")
        self._step(service, now)
        return {"serviceDeploymentArn": params["serviceDeploymentArn"]}

    def _deployment(self, params: Params) -> tuple[Service, Deployment]:
        for service, deployment in self._deployments():
            if deployment.shown["serviceDeploymentArn"] == params["serviceDeploymentArn"]:
                return service, deployment
        raise AwsError("ServiceDeploymentNotFoundException", "Service deployment not found.")

    def _deployments(self) -> list[tuple[Service, Deployment]]:
        return [(service, deployment) for service in self._services.values() for deployment in service.deployments]

    # Task sets, which CodeDeploy creates

    @operation
    def create_task_set(self, params: Params) -> Params:
        service = self._service(params)
        if not service.codedeploy:
            raise AwsError("InvalidParameterException", "The deployment controller is not CODE_DEPLOY.")
        made = self._add_set(service, self._checked(params), "ACTIVE")
        return {"taskSet": _task_set(service, made)}

    @operation
    def update_service_primary_task_set(self, params: Params) -> Params:
        service, chosen = self._set(params, "primaryTaskSet")
        for each in service.sets:
            each.shown |= {"status": "PRIMARY" if each is chosen else "ACTIVE", "updatedAt": self._clock.now()}
        # UNCONFIRMED: that DescribeServices shows all of these as in the primary task set.
        service.shown |= {key: value for key, value in chosen.shown.items() if key in DEPLOYING}
        return {"taskSet": _task_set(service, chosen)}

    @operation
    def delete_task_set(self, params: Params) -> Params:
        service, chosen = self._set(params, "taskSet")
        if not params.get("force"):  # API API_DeleteTaskSet: it "hasn't been scaled down to zero"
            raise AwsError("InvalidParameterException", "The task set is scaled above 0.")
        for task in service.of(chosen):
            self._stop(service, task, self._clock.now(), SCHEDULER, "Task set deleted")
        service.sets.remove(chosen)
        return {"taskSet": _task_set(service, chosen) | {"status": "DRAINING"}}

    def _add_set(self, service: Service, inputs: Params, status: str) -> Deployment:
        now, id = self._clock.now(), f"ecs-svc/{next(self._numbers):019d}"
        arn = service.shown["serviceArn"].replace(":service/", ":task-set/")
        shown: Params = {"platformVersion": "LATEST", "loadBalancers": []} | _known("TaskSet", inputs)
        shown |= {"id": id, "taskSetArn": f"{arn}/{id}", "status": status, "createdAt": now, "updatedAt": now}
        shown |= {"scale": {"value": 100.0, "unit": "PERCENT"}, "startedBy": "CODE_DEPLOY"}
        shown |= {key: service.shown[key] for key in ("serviceArn", "clusterArn")}
        made = Deployment(id, shown, shown | {"resolvedConfiguration": {"loadBalancers": shown["loadBalancers"]}}, None)
        service.sets.append(made)
        self._step(service, now)
        return made

    def _set(self, params: Params, key: str) -> tuple[Service, Deployment]:
        service = self._service(params)
        for each in service.sets:
            if params[key] in (each.id, each.shown["taskSetArn"]):
                return service, each
        raise AwsError("TaskSetNotFoundException", "The specified task set wasn't found.")

    # Tasks

    @operation
    def list_tasks(self, params: Params) -> Params:
        if "serviceName" not in params:
            return self._list_single(params)
        service = self._service(params | {"service": params["serviceName"]})
        wanted = params.get("desiredStatus", "RUNNING")
        tasks = [task for task in service.tasks + service.stopped if task.shown["desiredStatus"] == wanted]
        return _page("taskArns", [task.shown["taskArn"] for task in tasks], params, 100)  # API API_ListTasks

    def _list_single(self, params: Params) -> Params:
        """API API_ListTasks: by the family of the task definition, and by the desired status, RUNNING by default."""
        cluster, wanted = self._arn(params, "-").split("/")[1], params.get("desiredStatus", "RUNNING")
        found = []
        for arn, task in self._single.items():
            family = task.shown["taskDefinitionArn"].rpartition("/")[2].partition(":")[0]
            fits = arn.split("/")[1] == cluster and params.get("family") in (None, family)
            if fits and task.at(self._clock.now())["desiredStatus"] == wanted:
                found.append(arn)
        return _page("taskArns", found, params, 100)

    @operation
    def describe_tasks(self, params: Params) -> Params:
        known = {}
        for task in (task for service in self._services.values() for task in service.tasks + service.stopped):
            same = {key: task.shown[key] for key in ("taskArn", "lastStatus", "healthStatus")}
            containers = [container | same for container in task.shown["containers"]]
            known[task.shown["taskArn"]] = task.shown | {"containers": containers}
        known |= {arn: task.at(self._clock.now()) for arn, task in self._single.items()}
        return _found("tasks", known, params["tasks"])

    @operation
    def run_task(self, params: Params) -> Params:
        # API API_RunTask: "If a revision isn't specified, the latest ACTIVE revision is used".
        definition, now = (
            self._checked({"taskDefinition": params["taskDefinition"]})["taskDefinition"],
            self._clock.now(),
        )
        definition, cluster = self._definition(definition), self._arn(params, "-").split("/")[1]
        check_run(params, definition)
        arns = self._tokens.find(cluster, params, now)
        if arns is None:
            arns = [self._run(params, definition, cluster, now) for _ in range(params.get("count", 1))]
            self._tokens.keep(cluster, params, now, arns)
        return {"tasks": [self._single[arn].at(now) for arn in arns], "failures": []}

    def _run(self, params: Params, definition: Params, cluster: str, now: float) -> str:
        id = f"{next(self._numbers):032x}"
        shown: Params = {"taskArn": f"{ARN}task/{cluster}/{id}", "clusterArn": f"{ARN}cluster/{cluster}"}
        shown |= {"taskDefinitionArn": definition["taskDefinitionArn"], "createdAt": now, "healthStatus": "UNKNOWN"}
        shown |= {"group": params.get("group", f"family:{definition['family']}"), "launchType": "FARGATE"}
        shown |= {"overrides": params.get("overrides", {})} | _known("Task", {"startedBy": params.get("startedBy")})
        of = [{"name": each["name"], "image": each["image"]} for each in definition["containerDefinitions"]]
        shown["containers"] = [each | {"taskArn": shown["taskArn"]} for each in of]
        if why := self._not_pulled(definition):
            end = now + self.start_seconds / 2
            task = SingleTask(shown, NEVER, end, "TaskFailedToStart", why, None, why)
        else:
            runs, outcome = now + self.start_seconds, self.outcome(plain_copy(shown))
            code = "EssentialContainerExited", "Essential container in task exited"
            task = SingleTask(shown, runs, runs + outcome.seconds, *code, outcome.exit)
            self.logs.write(definition["containerDefinitions"][0], id, runs, outcome.lines)
        self._single[shown["taskArn"]] = task
        return str(shown["taskArn"])

    @operation
    def stop_task(self, params: Params) -> Params:
        # API API_StopTask: `reason` is the stoppedReason; DG stopped-task-error-codes has the code.
        now, arn = self._clock.now(), params["task"]
        if arn not in self._single:
            raise AwsError("InvalidParameterException", "The referenced task was not found.")
        task = self._single[arn]
        if task.stops > now:
            # UNCONFIRMED: the reason without one. 143 is SIGTERM, for a program that does not handle it.
            task.code, task.reason = "UserInitiated", params.get("reason", "Task stopped by user")
            task.stops, task.exit = now, 143 if task.runs <= now else None
        return {"task": task.at(now)}

    def _start(self, service: Service, deployment: Deployment, now: float, count: int) -> None:
        definition = self._definition(deployment.revision["taskDefinition"])
        shown = {"clusterArn": service.shown["clusterArn"], "group": f"service:{service.shown['serviceName']}"}
        shown |= {"taskDefinitionArn": definition["taskDefinitionArn"], "startedBy": deployment.id, "createdAt": now}
        shown |= {"lastStatus": "PENDING", "desiredStatus": "RUNNING", "healthStatus": "UNKNOWN"}
        shown["launchType"] = "FARGATE"
        shown["containers"] = [
            {"name": each["name"], "image": each["image"]} for each in definition["containerDefinitions"]
        ]
        fate, started = self._fate(deployment, definition, now), list[Task]()
        for _ in range(count):
            where = self._place(service, deployment, now)
            if where is None:
                break
            arn = f"{ARN}task/{service.shown['clusterArn'].rpartition('/')[2]}/{next(self._numbers):032x}"
            started.append(Task(deployment, shown | where | {"taskArn": arn}, **fate))
            service.tasks.append(started[-1])
        if started:
            names = " ".join(map(_named, started))
            self._event(service, now, f"has started {len(started)} tasks: {names}.")

    def _place(self, service: Service, deployment: Deployment, now: float) -> Params | None:
        """What a task shows of the capacity provider that has room for it; None if that has none now.

        DG fargate-capacity-providers: "Fargate doesn't replace Spot capacity with on-demand capacity".
        """
        taken = [task.shown.get("capacityProviderName", "") for task in service.staying(deployment)]
        name = provider(deployment.revision.get("capacityProviderStrategy", []), taken)
        if not self.without_capacity.intersection([name or "FARGATE"]):
            return {"capacityProviderName": name} if name else {}
        if service.placed_again <= now:
            service.placed_again = now + RETRY_SECONDS
            deployment.failures += self.unplaced_fails
            self._event(service, now, NO_CAPACITY)
        return None

    def take_back(self, image: str) -> int:
        """AWS takes back the tasks of an image on Fargate Spot, with two minutes' warning; returns how many.

        DG fargate-capacity-providers: the containers get SIGTERM with the warning, and the scheduler starts others "if
        there's capacity available". UNCONFIRMED: that it starts none for a revision that is being replaced.
        """
        with self.lock:
            self.live()
            now, count = self._clock.now(), 0
            for service in self._services.values():
                for task in service.tasks:
                    images = [container["image"] for container in task.shown["containers"]]
                    spot = task.shown.get("capacityProviderName") == SPOT and not task.going
                    if spot and any(image in each for each in images):
                        task.shown |= WARNED
                        definition = self._definition(task.shown["taskDefinitionArn"])
                        task.stops = min(task.stops, now + stop_seconds(definition))
                        task.end, count = (WARNED["stopCode"], WARNED["stoppedReason"], 143), count + 1
                self._step(service, now)
            return count

    def _fate(self, deployment: Deployment, definition: Params, now: float) -> dict[str, Any]:
        fault, up = self.fault(plain_copy(definition)), now + self.start_seconds
        if reason := self._not_pulled(definition, fault):
            return {"stops": now + self.start_seconds / 2, "end": ("TaskFailedToStart", reason, None)}
        if fault is None:
            return {"runs": up, "healthy": up}
        if fault.startswith("health check"):  # DG stopped-task-error-codes
            port = int(fault.removeprefix("health check") or 0)
            groups = [group for number, group in deployment.ports if port in (0, number)]
            reason = f"ELB health checks in (target-group {groups[0]})" if groups else "container health checks"
            return {"runs": up, "stops": up + 10, "end": (SCHEDULER, f"Task failed {reason}", None)}
        exited = "EssentialContainerExited", "Essential container in task exited"
        if fault == "flapping":
            return {"runs": up, "healthy": up, "stops": up + 5, "end": (*exited, 1)}
        name, _, code = fault.rpartition("exit ")
        broken = name.strip()
        # API API_ContainerDefinition, essential: if it is false, the failure of a container does not affect the others.
        if not all(each["essential"] for each in definition["containerDefinitions"] if each["name"] == broken):
            return {"runs": up, "healthy": up}
        return {"stops": up, "end": (*exited, int(code)), "broken": broken}

    def _not_pulled(self, definition: Params, fault: str | None = None) -> str:
        """Why its volumes cannot be mounted, or its images not be pulled; "" if they can."""
        images = [container["image"] for container in definition["containerDefinitions"]]
        architecture = definition.get("runtimePlatform", {}).get("cpuArchitecture", "X86_64")
        if why := self.why_not_mounted(plain_copy(definition)):
            return f"ResourceInitializationError: {why}"
        whys = [why for image in images if (why := self._why_not_pulled(image, architecture))]
        if not whys and fault != "CannotPullContainerError":
            return ""
        # DG task_cannot_pull_image
        why = whys[0] if whys else f"{images[0]}: not found"
        return f"CannotPullContainerError: pull image manifest has been retried 1 time(s): {why}"

    def _stop(self, service: Service, task: Task, now: float, code: str, reason: str, exit: int | None = None) -> None:
        service.tasks.remove(task)
        service.stopped.append(task)
        end = ({} if exit is None else {"exitCode": exit}) | ({"reason": reason} if "FailedToStart" in code else {})
        task.shown |= {"lastStatus": "STOPPED", "desiredStatus": "STOPPED", "stoppedAt": now}
        task.shown |= {"stopCode": code, "stoppedReason": reason}
        task.shown["containers"] = [
            container | ended(container, end, task.broken) for container in task.shown["containers"]
        ]
        if code == "TaskFailedToStart":
            self._event(service, now, f"was unable to place a task. Reason: {reason}.")
        elif "target-group" in reason:
            [port] = [number for number, group in task.deployment.ports if f" {group})" in reason]
            where = f"(port {port}) is unhealthy in"
            self._event(service, now, f"{where} ({reason.rpartition('(')[2]} due to (reason Health checks failed).")
        elif "health checks" in reason:
            self._event(service, now, f"{_named(task)} failed container health checks.")
        self._event(service, now, f"has stopped 1 running tasks: {_named(task)}.")

    def _event(self, service: Service, now: float, text: str) -> None:
        # DG service-event-messages-list, and as people quote them; "a maximum of 100 of the latest": API API_Service
        event = {"id": str(next(self._numbers)), "createdAt": now}
        event["message"] = f"(service {service.shown['serviceName']}) {text}"
        service.shown["events"] = [event, *service.shown["events"][:99]]

    def _emit(self, service: Service, now: float, what: str, deployment: Deployment, reason: str) -> None:
        """DG ecs_service_deployment_events, which has the reasons."""
        self.emit(f"SERVICE_DEPLOYMENT_{what}", service.shown["serviceArn"], deployment.id, reason, now)

    # What ECS does on its own

    def _deploy(self, service: Service, named: bool = False) -> None:
        """`named` is whether the deploying call specifies load balancers."""
        now, number, blue = self._clock.now(), next(self._numbers), self._serving(service)
        if service.deployments and (newest := service.deployments[-1]).ongoing:
            if "rollback" in newest.shown:  # UNCONFIRMED: DG service-deployment has no way out but this and success
                newest.to("ROLLBACK_FAILED", now)
            else:  # DG service-deployment: STOP_REQUESTED when "a user starts a new service deployment"
                newest.to("STOP_REQUESTED", now, "STOPPED")
        arns = {key: service.shown[key] for key in ("serviceArn", "clusterArn")} | {"createdAt": now}
        path = f"{service.shown['serviceArn'].rpartition('service/')[2]}/{number}"
        revision = _known("ServiceRevision", service.shown) | arns
        revision["serviceRevisionArn"] = f"{ARN}service-revision/{path}"
        containers = self._definition(service.shown["taskDefinition"])["containerDefinitions"]
        revision["containerImages"] = [self._image(container) for container in containers]
        configuration = service.shown["deploymentConfiguration"]
        revision["resolvedConfiguration"] = {"loadBalancers": _resolved(service.shown, blue, named)}
        shown = arns | {"serviceDeploymentArn": f"{ARN}service-deployment/{path}", "startedAt": now, "updatedAt": now}
        shown |= {"status": "PENDING", "deploymentConfiguration": configuration}
        alarms = configuration.get("alarms", {"alarmNames": [], "enable": False})
        shown["alarms"] = {"alarmNames": alarms["alarmNames"], "triggeredAlarmNames": []}
        shown["sourceServiceRevisions"] = [_summary(service, service.goal)] if service.deployments else []
        service.goal = Deployment(f"ecs-svc/{number:019d}", shown, revision, (now + 1, "IN_PROGRESS"))
        service.deployments.append(service.goal)
        reason = f"ECS deployment {service.goal.id} in progress."
        self._emit(service, now, "IN_PROGRESS", service.goal, reason)
        if configuration["strategy"] != "ROLLING":
            service.goal.stages = Stages(service, service.goal, blue, self.elb, lambda *call: self.hook(*call))
        # DG deployment-alarm-failure: if one "is in the ALARM state at the beginning of a deployment, Amazon ECS will
        # not monitor alarms for the duration of that deployment".
        if alarms["enable"] and not self._alarms.intersection(alarms["alarmNames"]):
            service.goal.watched = frozenset(alarms["alarmNames"])
            # The same page: the bake time is computed "based on the alarm configuration", and comes "after a new
            # service version has scaled out and the old service version has scaled in". UNCONFIRMED: that it is the
            # longest of the alarms' evaluation periods, computed when the deployment starts.
            service.goal.bake = 60 * max(map(self._minutes, alarms["alarmNames"]), default=0.0)
        service.steady_since = None
        self._step(service, now)

    def _image(self, container: Params) -> Params:
        image, digest = container["image"], container["image"].partition("@")[2]
        shown = {"containerName": container["name"], "image": image}
        # A tag's digest, which ECS looks up, is not known here: releases go by digest.
        return shown | ({"imageDigest": self.shown_digest(digest)} if digest else {})

    def _minutes(self, alarm: str) -> float:
        found = self._deployed_alarm(alarm)
        return self.alarm_minutes.get(alarm, DEFAULT_ALARM_MINUTES) if found is None else found

    def _serving(self, service: Service) -> Deployment | None:
        """The deployment that the production rule favors (UNCONFIRMED; matters when one is superseded)."""
        rules = [
            b.get("advancedConfiguration", {}).get("productionListenerRule") for b in service.shown["loadBalancers"]
        ]
        weights = [self.elb.weights(rule) for rule in rules if rule]
        found = [each for each in reversed(service.deployments) if each is service.goal or service.of(each)]
        return max(found, key=lambda d: sum(w.get(group, 0) for w in weights for group in d.groups), default=None)

    def _catch_up(self, service: Service) -> None:
        """Replays what has happened since, moment by moment."""
        while service.deployments or service.sets:
            moments = [moment for task in service.tasks for moment in (task.runs, task.healthy, task.stops)]
            moments += [deployment.next[0] for deployment in service.deployments if deployment.next]
            moments.append(service.placed_again)
            if service.steady_since is not None:
                moments.append(service.steady_since + self._settles(service))
            for newest in service.deployments[-1:]:
                moments += [newest.stages.until] if newest.stages else []
                moments += [service.time + 1] if newest.status in PROGRESSING and newest.watched & self._alarms else []
            moment = min((moment for moment in moments if moment > service.time), default=NEVER)
            if moment > self._clock.now():
                break
            self._step(service, moment)

    def _step(self, service: Service, now: float) -> None:
        before, service.time = service.time, now
        for deployment in service.deployments:
            if deployment.next and deployment.next[0] <= now:
                deployment.shown["status"], deployment.next = deployment.next[1], None
                if deployment.status == "STOPPED":
                    deployment.to("STOPPED", now)
        for task in [*service.tasks]:
            if before < task.runs <= now:
                task.shown["lastStatus"] = "RUNNING"
            if before < task.healthy <= now:
                # API API_DeploymentCircuitBreaker: "a task that reaches a healthy state resets the failure count"
                task.deployment.failures = 0
                containers = self._definition(task.shown["taskDefinitionArn"])["containerDefinitions"]
                if any("healthCheck" in container for container in containers):
                    task.shown["healthStatus"] = "HEALTHY"  # API API_Task: the containers' own checks only
            if task.stops <= now:
                # API API_Deployment: failed are tasks that do not reach RUNNING or fail a health check
                # UNCONFIRMED: that one that AWS takes back while it starts does not count.
                task.deployment.failures += task.healthy == NEVER and not task.going
                self._stop(service, task, now, *task.end)
        if service.deployments:
            self._judge(service, now)
            self._reconcile(service, now)
        for each in service.sets:
            self._scale(service, each, now)

    def _judge(self, service: Service, now: float) -> None:
        newest = service.deployments[-1]
        if newest.status in PROGRESSING and service.breaker("enable") and newest.failures >= service.threshold():
            why = "the circuit breaker threshold was exceeded"
            self._fail(service, now, why, "tasks failed to start.", service.breaker("rollback"))
        if newest.status in PROGRESSING and (alarms := sorted(newest.watched & self._alarms)):
            newest.shown["alarms"]["triggeredAlarmNames"] = alarms
            back = newest.shown["deploymentConfiguration"]["alarms"]["rollback"]
            why = f"alarms were triggered: {', '.join(alarms)}"  # UNCONFIRMED
            self._fail(service, now, why, "alarm detected.", back)
        if newest.status in PROGRESSING and newest.stages:
            try:
                newest.stages.advance()
            except Failed as e:
                self._fail(service, now, str(e), f"Service deployment rolled back because {e}.")

    def _fail(self, service: Service, now: float, why: str, message: str, back: bool = True) -> None:
        newest = service.deployments[-1]
        self._event(service, now, f"(deployment {newest.id}) deployment failed: {message}")
        # UNCONFIRMED: the reason where it is not the circuit breaker, and the event itself where hooks fail.
        breaker = message.startswith("tasks")
        reason = (
            "ECS deployment circuit breaker: task failed to start." if breaker else f"ECS deployment failed: {message}"
        )
        self._emit(service, now, "FAILED", newest, reason)
        if back:  # DG service-deployment: without ROLLBACK_REQUESTED
            self._roll_back(service, now, "ROLLBACK_IN_PROGRESS", why)
        else:  # the same page: "the rollback option is not in use"
            newest.to("STOP_REQUESTED", now, "STOPPED")

    def _reconcile(self, service: Service, now: float) -> None:
        goal, newest, desired = service.goal, service.deployments[-1], service.shown["desiredCount"]
        stages = newest.stages if goal is newest else None
        # "A deployment in FAILED state doesn't launch any new tasks": API API_Deployment
        up = goal is not newest or newest.status in (*PROGRESSING, "SUCCESSFUL") and (not stages or stages.scaling)
        self._scale(service, goal, now, up)
        # Old tasks go when all new ones are healthy: 100 and 200 percent, DG deployment-type-ecs.
        replaced = service.healthy(goal) >= desired and (not stages or stages.over)
        # UNCONFIRMED: that traffic returns as soon as, and not before, a task responds there.
        if newest.stages and "rollback" in newest.shown and newest.ongoing and service.healthy(goal) >= min(desired, 1):
            newest.stages.give_back(goal)
        stray = [task for task in service.tasks if stages and task.deployment not in (goal, stages.blue)]
        old = [task for task in service.tasks if replaced and task.deployment is not goal]
        for task in [task for task in old or stray if not task.going]:
            self._stop(service, task, now, SCHEDULER, f"Scaling activity initiated by deployment {goal.id}")
        if not replaced:
            service.steady_since = None
            return
        if service.steady_since is None:
            service.steady_since, service.reported = now, False
        if service.reported or now < service.steady_since + self._settles(service):
            return
        ends = {"ROLLBACK_IN_PROGRESS": "ROLLBACK_SUCCESSFUL", **dict.fromkeys(PROGRESSING, "SUCCESSFUL")}
        if newest.status in ends:
            newest.to(ends[newest.status], now)
            self._event(service, now, f"(deployment {goal.id}) deployment completed.")
            self._emit(service, now, "COMPLETED", goal, f"ECS deployment {goal.id} completed.")
        if not newest.ongoing:
            service.reported = True
            self._event(service, now, "has reached a steady state.")

    def _settles(self, service: Service) -> float:
        """Seconds during which only the new tasks run before the deployment completes.

        UNCONFIRMED: that with zero tasks there is nothing to wait for; the same in strategies.py.
        """
        newest = service.deployments[-1]
        baking = newest.status in PROGRESSING and not newest.stages
        wait = max(self.steady_seconds, newest.bake if baking else 0.0)
        return wait if service.shown["desiredCount"] else 0.0

    def _scale(self, service: Service, deployment: Deployment, now: float, up: bool = True) -> None:
        """To the desired count."""
        tasks, desired = service.staying(deployment), service.shown["desiredCount"]
        if up and len(tasks) < desired:
            self._start(service, deployment, now, desired - len(tasks))
        for task in tasks[desired:]:
            self._stop(service, task, now, SCHEDULER, f"Scaling activity initiated by deployment {deployment.id}")

    def _roll_back(self, service: Service, now: float, status: str, why: str) -> None:
        newest, reason = service.deployments[-1], f"Service deployment rolled back because {why}."
        # "The rollback method requires a previous deployment in COMPLETED state": DG deployment-failure-detection. One
        # of zero tasks is such a deployment, whatever its image.
        candidates = [deployment for deployment in service.deployments if deployment.status == "SUCCESSFUL"]
        if not candidates:
            newest.to("ROLLBACK_FAILED", now, statusReason="No rollback candidate was found to run the rollback.")
            return
        service.goal, service.steady_since = candidates[-1], None
        # UNCONFIRMED: that a rollback brings back the capacity of the revision too.
        connected = service.shown.keys() & {"serviceConnectConfiguration"}
        off: Params = {"capacityProviderStrategy": [], **dict.fromkeys(connected, {"enabled": False})}
        placed = {**off, **service.goal.revision}
        kept = (*DEPLOYING, "capacityProviderStrategy")
        service.shown = self._placed(service.shown | {key: value for key, value in placed.items() if key in kept})
        to = service.goal.revision["serviceRevisionArn"]
        rollback = {"reason": reason, "startedAt": now, "serviceRevisionArn": to}
        newest.to(status, now, "ROLLBACK_IN_PROGRESS", statusReason=reason, rollback=rollback)
        self._event(service, now, f"rolling back to deployment {service.goal.id}.")
        reason = f"ECS deployment circuit breaker: rolling back to deploymentId {service.goal.id}."
        self._emit(service, now, "IN_PROGRESS", service.goal, reason)


def _rollout(service: Service, deployment: Deployment) -> Params:
    """An entry of DescribeServices' `deployments` (API API_Deployment, reasons: DG ecs_service_deployment_events)."""
    newest, summary, breaker = service.deployments[-1], _summary(service, deployment), "ECS deployment circuit breaker:"
    state, reason = "COMPLETED", f"ECS deployment {deployment.id} completed."
    if deployment is service.goal is not newest and newest.ongoing:
        # UNCONFIRMED: that the deployment that is rolled back to has its old id again.
        state, reason = "IN_PROGRESS", f"{breaker} rolling back to deploymentId {deployment.id}."
    elif deployment.status in PROGRESSING:
        state, reason = "IN_PROGRESS", f"ECS deployment {deployment.id} in progress."
    elif deployment.status != "SUCCESSFUL":
        state, reason = "FAILED", f"{breaker} tasks failed to start."
    answer = _known("Deployment", deployment.revision | deployment.shown) | _counts(service.of(deployment))
    answer |= {"id": deployment.id, "status": "PRIMARY" if deployment is service.goal else "ACTIVE"}
    answer |= {"desiredCount": summary["requestedTaskCount"], "failedTasks": deployment.failures}
    return answer | {"rolloutState": state, "rolloutStateReason": reason}


def _summary(service: Service, deployment: Deployment) -> Params:
    counts, tasks = _counts(service.of(deployment)), len(service.of(deployment))
    answer = {"requestedTaskCount": service.shown["desiredCount"] if deployment is service.goal else tasks}
    answer |= {"runningTaskCount": counts["runningCount"], "pendingTaskCount": counts["pendingCount"]}
    return answer | {"arn": deployment.revision["serviceRevisionArn"]}


def _task_set(service: Service, each: Deployment) -> Params:
    """API API_TaskSet."""
    counts, desired = _counts(service.of(each)), service.shown["desiredCount"]
    steady = service.healthy(each) == len(service.of(each)) == desired
    stable = {"stabilityStatus": "STEADY_STATE" if steady else "STABILIZING", "stabilityStatusAt": service.time}
    return each.shown | counts | stable | {"computedDesiredCount": desired}


def _resolved(shown: Params, blue: Deployment | None, named: bool) -> list[Params]:
    """Load balancers of a new service revision, with the target groups of its tasks.

    Strategies use the target group that is not in service, but one that a call specifies even if it is
    (hashicorp/terraform-provider-aws 45678); after a rolling update they alternate nevertheless, or DG
    migrate-codedeploy-to-ecs-bluegreen could not specify the production target group. UNCONFIRMED: both.
    """
    taken = blue.groups if blue and shown["deploymentConfiguration"]["strategy"] != "ROLLING" else []
    if blue and blue.stages and named:
        taken = []
    resolved = []
    for balancer in shown["loadBalancers"]:
        advanced, group = balancer.get("advancedConfiguration", {}), balancer["targetGroupArn"]
        rule = {key: advanced[key] for key in ("productionListenerRule",) if key in advanced}
        resolved.append({"targetGroupArn": advanced["alternateTargetGroupArn"] if group in taken else group} | rule)
    return resolved


def _container(container: Params, definition: Params) -> Params:
    """As DescribeTaskDefinition returns it: with ECS's defaults (API API_ContainerDefinition, API_PortMapping)."""
    empty = ("portMappings", "environment", "mountPoints", "volumesFrom", "systemControls")
    ports = [{"protocol": "tcp"} | port for port in container.get("portMappings", [])]
    if definition.get("networkMode") == "awsvpc":
        ports = [{"hostPort": port["containerPort"]} | port for port in ports]
    return {"cpu": 0, "essential": True, **{key: [] for key in empty}} | container | {"portMappings": ports}


def _json(document: Params) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def _counts(tasks: list[Task]) -> dict[str, int]:
    running = sum(task.shown["lastStatus"] == "RUNNING" for task in tasks)
    return {"runningCount": running, "pendingCount": len(tasks) - running}


def _named(task: Task) -> str:
    return f"(task {task.shown['taskArn'].rpartition('/')[2]})"


def _known(shape: str, values: Params) -> Params:
    members = _members(shape)
    return {key: value for key, value in values.items() if key in members and value is not None}


@cache
def _members(shape: str) -> frozenset[str]:
    return frozenset(get_service_model("ecs").shape_for(shape).members)


def _found(key: str, known: Params, arns: list[str]) -> Params:
    failures = [{"arn": arn, "reason": "MISSING"} for arn in arns if arn not in known]  # DG api_failures_messages
    return {key: [known[arn] for arn in arns if arn in known], "failures": failures}


def _page(key: str, items: list[Any], params: Params, size: int) -> Params:
    start = int(params.get("nextToken", 0))
    end = start + params.get("maxResults", size)
    return {key: items[start:end]} | ({"nextToken": str(end)} if end < len(items) else {})


class Autoscaling:
    """Application Auto Scaling of a service's count. Moto's rejects services that moto's own ECS does not have.

    UG is autoscaling/application/userguide.
    """

    def __init__(self, ecs: Ecs) -> None:
        self._ecs = ecs
        self._targets: dict[str, Params] = {}
        self.put: dict[tuple[str, str], Params] = {}
        """Scaling policies and scheduled actions, by target and name."""

    def register_scalable_target(self, params: Params) -> Params:
        # autoscaling/application/APIReference/API_RegisterScalableTarget: "Any parameters that you don't specify are
        # not changed", and it "changes the resource's current capacity to a value that is inside of this range".
        id = params["ResourceId"]
        _, cluster, name = id.split("/")
        found = self._ecs.describe_services({"cluster": cluster, "services": [name]})["services"]
        if not found:
            raise AwsError("ValidationException", f"ECS service doesn't exist: {id}")
        arn = f"arn:aws:application-autoscaling:{REGION}:{ACCOUNT}:scalable-target/{len(self._targets):032x}"
        created = {"ScalableTargetARN": arn, "CreationTime": found[0]["createdAt"], "RoleARN": arn}
        known = self._targets.get(id, {})
        # Each of the three kinds of suspension is a parameter of its own.
        state = {"SuspendedState": {**known.get("SuspendedState", {}), **params.get("SuspendedState", {})}}
        target = self._targets[id] = created | known | params | state
        count = min(max(found[0]["desiredCount"], target["MinCapacity"]), target["MaxCapacity"])
        self._ecs.update_service({"cluster": cluster, "service": name, "desiredCount": count})
        return {"ScalableTargetARN": target["ScalableTargetARN"]}

    def describe_scalable_targets(self, params: Params) -> Params:
        wanted = params.get("ResourceIds", list(self._targets))
        return {"ScalableTargets": [target for id, target in self._targets.items() if id in wanted]}

    def deregister_scalable_target(self, params: Params) -> Params:
        if self._targets.pop(params["ResourceId"], None) is None:
            raise AwsError("ObjectNotFoundException", f"No scalable target found: {params['ResourceId']}")
        return {}

    def put_scaling_policy(self, params: Params) -> Params:
        self._put("PutScalingPolicy", params, "PolicyName")
        found = params["TargetTrackingScalingPolicyConfiguration"].get("CustomizedMetricSpecification", {})
        # API_CustomizedMetricSpecification: a metric, or an expression that returns a single time series.
        results = [query for query in found.get("Metrics", []) if query.get("ReturnData", True)]
        if found and ("MetricName" in found) == (len(results) == 1):
            raise AwsError("ValidationException", f"a metric or one result is required, got {found}")
        return {"PolicyARN": f"arn:aws:autoscaling:{REGION}:{ACCOUNT}:scalingPolicy:1:{params['PolicyName']}"}

    def put_scheduled_action(self, params: Params) -> Params:
        return self._put("PutScheduledAction", params, "ScheduledActionName")

    def start_scheduled_action(self, name: str) -> None:
        """What happens at the time of the action whose name begins so: UG scheduled-scaling-policy-overview and
        application-auto-scaling-suspend-resume-scaling."""
        [action] = [put for (_, each), put in self.put.items() if each.startswith(name)]
        target = self._targets[action["ResourceId"]]
        if not target["SuspendedState"].get("ScheduledScalingSuspended"):
            named = {key: target[key] for key in ("ServiceNamespace", "ResourceId", "ScalableDimension")}
            self.register_scalable_target({**named, **action["ScalableTargetAction"]})

    def delete_scaling_policy(self, params: Params) -> None:
        del self.put[params["ResourceId"], params["PolicyName"]]

    def delete_scheduled_action(self, params: Params) -> None:
        del self.put[params["ResourceId"], params["ScheduledActionName"]]

    def _put(self, operation: str, params: Params, name: str) -> Params:
        """Keeps a request that the SDK would send, for a target that exists."""
        shape = get_service_model("application-autoscaling").operation_model(operation).input_shape
        if (problems := ParamValidator().validate(params, shape)).has_errors():
            raise AwsError("ValidationException", problems.generate_report())
        if params["ResourceId"] not in self._targets:
            raise AwsError("ObjectNotFoundException", f"No scalable target registered for {params['ResourceId']}")
        self.put[params["ResourceId"], params[name]] = params
        return {}
