"""A service with its release function and its pipeline, in an account in memory: Slipway's resources, created without
Pulumi in a few milliseconds."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from slipway.release.function.handler import handler
from standin.api import ACCOUNT, REGION, Params
from standin.codebuild import PROJECT
from standin.codedeploy import APPLICATION, GROUP, LISTENER_RULE, TARGET_GROUP
from standin.executor import PIPELINE, Execution
from standin.lambdas import FUNCTION, FunctionError
from standin.memory import REGISTRY, Account, How, Process, source_zip
from standin.single_tasks import Outcome

NAME, CLUSTER, STAGE, CONTAINER, TESTS = "shop", "cluster", "dev", "app", "shop-tests"
FUNCTION_NAME = f"{NAME}-release"
REPOSITORY = f"{REGISTRY}/{NAME}"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/role"
LB = f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:"
GROUPS = [f"{LB}targetgroup/shop-a/1", f"{LB}targetgroup/shop-b/2"]
LISTENER, RULE = f"{LB}listener/app/shop/1/2", f"{LB}listener-rule/app/shop/1/2/3"
KEEP = 3
ROLLING, BLUE_GREEN, CANARY, CODEDEPLOY = "rolling", "blue/green", "canary", "CodeDeploy"
STRATEGIES = (ROLLING, BLUE_GREEN, CANARY, CODEDEPLOY)
MORE = {f"{each}, worker and migration": each for each in (ROLLING, CANARY, CODEDEPLOY)}
"""Strategies of `web`, with a worker and a migration beside it."""
WORKER, MIGRATION, JOB = f"{NAME}-worker", f"{NAME}-migration", f"{NAME}-report"
TIMEOUT = 10
"""Minutes that a migration may take."""
COUNT = 2
STATE_KEY = {"item": {"S": "release"}, "at": {"S": "-"}}
PARTS = 2
"""Invocations of the function in one `pulumi up`."""
KINDS = {
    "aws.ecs": "ECS Deployment State Change",
    "aws.codepipeline": "CodePipeline Pipeline Execution State Change",
}


def deployment_configuration(strategy: str) -> Params:
    """The deployment configuration as the component passes it to the function."""
    if strategy == CODEDEPLOY:
        return {}
    breaker = strategy != CANARY
    common: Params = {"minimumHealthyPercent": 100, "maximumPercent": 200, "lifecycleHooks": []}
    common["deploymentCircuitBreaker"] = {"enable": breaker, "rollback": breaker}
    common["alarms"] = {"alarmNames": [], "enable": False, "rollback": False}
    canary = {"canaryPercent": 10.0, "canaryBakeTimeInMinutes": 1}
    own: dict[str, Params] = {
        ROLLING: {"strategy": "ROLLING"},
        BLUE_GREEN: {"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 1},
        CANARY: {"strategy": "CANARY", "bakeTimeInMinutes": 0, "canaryConfiguration": canary},
    }
    return common | own[strategy]


def load_balancers(strategy: str) -> list[Params]:
    balancer: Params = {"targetGroupArn": GROUPS[0], "containerName": CONTAINER, "containerPort": 8080}
    if strategy in (BLUE_GREEN, CANARY):
        advanced = {"alternateTargetGroupArn": GROUPS[1], "productionListenerRule": RULE, "roleArn": ROLE}
        balancer["advancedConfiguration"] = advanced
    return [balancer]


@dataclass
class Up:
    """A `pulumi up`, and how it ended."""

    settings: Params
    number: int
    began: float
    over: float = 0
    error: str = ""
    ended: bool = False
    ran: list[tuple[str, int]] = field(default_factory=list)
    """What ran when it ended: image and number of the settings of each task."""


@dataclass
class Migrated:
    """A migration that was started."""

    image: int
    began: float
    arn: str
    """Of its task."""


@dataclass
class Release:
    """An execution of the pipeline that releases an image."""

    image: int
    execution: Execution


class Shop:
    """`image_faults` and `settings_faults` are by number; their values are those of Ecs.fault."""

    def __init__(self, strategy: str, tests: bool = False, **given: Any) -> None:
        """`strategy` may be one of MORE."""
        self.strategy, self.tests, self.more = MORE.get(strategy, strategy), tests, strategy in MORE
        self.account = account = Account(handler, **given)
        account.use()
        self.image_faults: dict[int, str] = {}
        self.settings_faults: dict[int, str] = {}
        self.worker_faults: dict[int, str] = {}
        """By image; values as in `image_faults`, for tasks of the worker only."""
        self.migration_faults: dict[int, str] = {}
        """By image: "exit 1", "killed", "hangs" or "does not start"."""
        self.migrations: list[Migrated] = []
        self.unmigrated: list[str] = []
        """Tasks that were started of images whose migration had not succeeded."""
        self.added = self.more
        """Whether settings have the worker, and its service exists."""
        self.tests_fail: set[int] = set()
        self.blameless = False
        """Whether failing settings were deployed while the image of the last release was tested."""
        self.roles: dict[int, str] = {}
        self.alarms: dict[int, list[str]] = {}
        self.strategies: dict[int, str] = {}
        """By number of the settings, where they differ from the service's: the role for the load balancer, the alarms
        that ECS monitors, the strategy."""
        self.scaled: set[int] = set()
        """Numbers of the settings with which the service scales."""
        self.releases: list[Release] = []
        self.ups: list[Up] = []
        self.restarts: list[float] = []
        """When the restarts that were accepted were requested."""
        self.digests: dict[int, str] = {}
        self.older: dict[Any, Any] = {}
        """Earlier items of the table."""
        # Short, so that there are few polls of the same state.
        account.ecs.start_seconds, account.ecs.steady_seconds, account.codebuild.build_seconds = 4.0, 6.0, 7.0
        self.events = "lost"
        """How the events of EventBridge, a best-effort service, are delivered: "lost", "once", "twice", "late"."""
        self.ended: set[tuple[str, str]] = set()
        """The deployments and executions whose events were sent."""
        account.scheduler.passed = self.watch
        account.ecs.fault = self._fault
        account.ecs.outcome = self._migrated
        account.codebuild.end = self._tested
        self._infrastructure()

    def copy(self) -> Shop:
        """A copy of this one; no process may be running."""
        account = self.account
        account.scheduler.run()
        account.executing.clear()
        account.log.clear()
        account.traced.clear()
        account.numbers.clear()
        memo: dict[int, Any] = {id(each): each for each in account.shared()}
        memo |= {id(each): iter(()) for each in account.ended()}
        made = copy.deepcopy(self, memo)
        made.account.codedeploy._alarms = lambda: made.account.ecs.alarms
        made.account.use()
        return made

    # Resources that Pulumi creates

    def _infrastructure(self) -> None:
        account = self.account
        account.ecs.create_cluster({"clusterName": CLUSTER})
        excluded = [{"filterType": "WILDCARD", "filter": f"{kind}-*"} for kind in ("live", "verified")]
        repository: Params = {"repositoryName": NAME, "imageTagMutability": "IMMUTABLE_WITH_EXCLUSION"}
        account.ecr.create_repository(repository | {"imageTagMutabilityExclusionFilters": excluded})
        self.make_table()
        for letter, group in zip("ab", GROUPS, strict=True):
            account.put(TARGET_GROUP, f"shop-{letter}", {}, arn=group)
        weights = [{"arn": GROUPS[0], "weight": 100}, {"arn": GROUPS[1], "weight": 0}]
        weights = weights[:1] if self.strategy in (ROLLING, CODEDEPLOY) else weights
        account.elb.set(RULE, [{"type": "forward", "forward": {"targetGroups": weights}}])
        account.put(LISTENER_RULE, "rule", {"listenerArn": LISTENER}, arn=RULE)
        account.ecs.create_service(self._service_as_made())
        if self.more:
            self.add_worker()
        if self.strategy == CODEDEPLOY:
            self._codedeploy()
        image = {"type": "LINUX_CONTAINER", "image": "standard", "computeType": "BUILD_GENERAL1_SMALL"}
        account.put(PROJECT, TESTS, {"source": {"type": "NO_SOURCE"}, "environment": image, "serviceRole": ROLE})
        function = {"timeout": 900, "role": ROLE, "handler": "h", "environment": {"variables": self._variables()}}
        account.put(FUNCTION, FUNCTION_NAME, function, lastModified="2026-01-01T00:00:00.001+0000")
        pipeline = {"roleArn": ROLE, "artifactStores": [{"location": "artifacts"}], "stages": self._stages()}
        account.put(PIPELINE, NAME, pipeline, arn=f"arn:aws:codepipeline:{REGION}:{ACCOUNT}:{NAME}")

    def make_table(self) -> None:
        keys = [{"AttributeName": "item", "KeyType": "HASH"}, {"AttributeName": "at", "KeyType": "RANGE"}]
        types = [{"AttributeName": each["AttributeName"], "AttributeType": "S"} for each in keys]
        request = {"TableName": NAME, "KeySchema": keys, "AttributeDefinitions": types}
        self.account.dynamodb.create_table(request)

    def _service_as_made(self) -> Params:
        """With the strategy, but without bake times and hooks."""
        service: Params = {"cluster": CLUSTER, "serviceName": NAME, "desiredCount": 0, "launchType": "FARGATE"}
        service["taskDefinition"] = self.register_template(0)
        service["networkConfiguration"] = {"awsvpcConfiguration": network()}
        service["loadBalancers"] = load_balancers(self.strategy)
        if self.strategy == CODEDEPLOY:
            return service | {"deploymentController": {"type": "CODE_DEPLOY"}}
        made = deployment_configuration(self.strategy)
        made = {key: value for key, value in made.items() if key not in ("alarms", "lifecycleHooks")}
        made |= {key: 0 for key in made if key == "bakeTimeInMinutes"}
        if "canaryConfiguration" in made:
            made["canaryConfiguration"] = {**made["canaryConfiguration"], "canaryBakeTimeInMinutes": 0}
        return service | {"deploymentConfiguration": made}

    def add_worker(self) -> None:
        """Pulumi creates the worker's service; the next settings have it."""
        made = deployment_configuration(ROLLING)
        made = {key: value for key, value in made.items() if key not in ("alarms", "lifecycleHooks")}
        service: Params = {"cluster": CLUSTER, "serviceName": WORKER, "desiredCount": 0, "launchType": "FARGATE"}
        service |= {"taskDefinition": self.register_template(0, WORKER), "deploymentConfiguration": made}
        service["networkConfiguration"] = {"awsvpcConfiguration": network()}
        self.account.ecs.create_service(service)
        self.added = True

    def remove_worker(self) -> None:
        """What Pulumi does after an `up` whose settings have no worker any more."""
        of: Params = {"cluster": CLUSTER, "service": WORKER}
        self.account.ecs.update_service({**of, "desiredCount": 0})
        self.account.ecs.delete_service(of)

    def _codedeploy(self) -> None:
        pair: Params = {"targetGroups": [{"name": "shop-a"}, {"name": "shop-b"}]}
        pair["prodTrafficRoute"] = {"listenerArns": [LISTENER]}
        events = ["DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM", "DEPLOYMENT_STOP_ON_REQUEST"]
        group: Params = {"appName": NAME, "deploymentGroupName": NAME, "serviceRoleArn": ROLE}
        group["deploymentConfigName"] = "CodeDeployDefault.ECSAllAtOnce"
        group["ecsService"] = {"clusterName": CLUSTER, "serviceName": NAME}
        group["loadBalancerInfo"] = {"targetGroupPairInfo": pair}
        group["autoRollbackConfiguration"] = {"enabled": True, "events": events}
        group["blueGreenDeploymentConfig"] = {
            "deploymentReadyOption": {"actionOnTimeout": "CONTINUE_DEPLOYMENT"},
            "terminateBlueInstancesOnDeploymentSuccess": {"action": "TERMINATE", "terminationWaitTimeInMinutes": 1},
        }
        self.account.put(APPLICATION, NAME, {})
        self.account.put(GROUP, f"{NAME}-group", group)

    def _variables(self) -> dict[str, str]:
        return {
            "CLUSTER": CLUSTER,
            "SERVICE": NAME,
            "FAMILY": NAME,
            "CONTAINER": CONTAINER,
            "ENVIRONMENT": STAGE,
            "REPOSITORY_URL": REPOSITORY,
            "KEEP_VERIFIED": str(KEEP),
            "TABLE": NAME,
            "SETTINGS_SHA256": "none",
            "SERVICE_URL": "http://shop.example.com",
            "AWS_REGION": REGION,
            "CODEDEPLOY_GROUP": NAME if self.strategy == CODEDEPLOY else "",
        }

    def _stages(self) -> list[Params]:
        source = action("Source", "Source", "S3", {"S3Bucket": "source", "S3ObjectKey": "build.zip"})
        source |= {"outputArtifacts": ["Built"], "namespace": "Source"}
        actions = []
        if self.strategy == CODEDEPLOY:
            actions.append(self._invoke("Prepare", "prepare") | {"outputArtifacts": ["Deploy"], "runOrder": 1})
            deploy = {"ApplicationName": NAME, "DeploymentGroupName": NAME, "Image1ContainerName": "IMAGE1_NAME"}
            parts = ("TaskDefinitionTemplateArtifact", "AppSpecTemplateArtifact", "Image1ArtifactName")
            deploy |= dict.fromkeys(parts, "Deploy")
            shift = action("CodeDeploy", "Deploy", "CodeDeployToECS", deploy)
            actions.append(shift | {"inputArtifacts": ["Deploy"], "runOrder": 2})
        actions.append(self._invoke("Deploy", "deploy") | {"runOrder": 3, "namespace": "Deployed"})
        return [{"name": "Source", "actions": [source]}, {"name": STAGE, "actions": actions}]

    def _invoke(self, name: str, step: str) -> Params:
        parameters = {"step": step, "pipeline": NAME, "execution": "#{codepipeline.PipelineExecutionId}"}
        parameters |= {"commit": "#{Source.VersionId}"} | ({"tests": TESTS} if self.tests else {})
        configuration = {"FunctionName": FUNCTION_NAME, "UserParameters": json.dumps(parameters)}
        return action(name, "Invoke", "Lambda", configuration) | {"inputArtifacts": ["Built"]}

    # Settings

    def register_template(self, number: int, name: str = NAME) -> str:
        container: Params = {"name": CONTAINER, "image": f"{REPOSITORY}:unreleased"}
        container["portMappings"] = [{"containerPort": 8080}]
        container["environment"] = [{"name": "SETTINGS", "value": str(number)}]
        request: Params = {"family": f"{name}-template", "containerDefinitions": [container], "networkMode": "awsvpc"}
        request |= {"cpu": "256", "memory": "512", "requiresCompatibilities": ["FARGATE"]}
        return str(self.account.ecs.register_task_definition(request)["taskDefinition"]["taskDefinitionArn"])

    def settings(self, number: int) -> Params:
        web = self._web(number)
        if not self.more:
            return web
        migration: Params = {"template": self.register_template(number, MIGRATION), "family": MIGRATION}
        migration |= {"timeout_minutes": TIMEOUT, "log_group": "/ecs/shop", "log_prefix": "migration"}
        job = {"name": "report", "template": self.register_template(number, JOB), "family": JOB}
        worker: Params = {
            "template": self.register_template(number, WORKER),
            "minimum": COUNT,
            "maximum": COUNT,
            "deadline_minutes": 30,
            "subnets": network()["subnets"],
            "security_groups": network()["securityGroups"],
            "load_balancers": [],
            "target_groups": [],
            "deployment": deployment_configuration(ROLLING),
            "availability_zone_rebalancing": "ENABLED",
        }
        processes = [{"name": "worker", "service": WORKER, "settings": worker}] if self.added else []
        order = [["web"], *([["worker"]] if self.added else [])]
        return {**web, "processes": processes, "order": order, "migration": migration, "jobs": [job]}

    def _web(self, number: int) -> Params:
        strategy = self.strategies.get(number, self.strategy)
        one_group = strategy == ROLLING and not self.strategies
        deployment = deployment_configuration(strategy)
        if number in self.alarms:
            deployment["alarms"] = {"alarmNames": self.alarms[number], "enable": True, "rollback": True}
        balancers = load_balancers(strategy)
        for advanced in [b["advancedConfiguration"] for b in balancers if "advancedConfiguration" in b]:
            advanced["roleArn"] = self.roles.get(number, ROLE)
        return {
            "template": self.register_template(number),
            "minimum": COUNT,
            "maximum": COUNT + 2 * (number in self.scaled),
            "deadline_minutes": 30,
            "subnets": network()["subnets"],
            "security_groups": network()["securityGroups"],
            "load_balancers": balancers,
            "target_groups": GROUPS[:1] if one_group else GROUPS,
            "deployment": deployment,
            "availability_zone_rebalancing": "DISABLED" if strategy == CODEDEPLOY else "ENABLED",
        }

    def both_groups(self) -> None:
        """The listener's rule forwards to both target groups, as required by a strategy that shifts traffic."""
        weights = [{"arn": GROUPS[0], "weight": 100}, {"arn": GROUPS[1], "weight": 0}]
        self.account.elb.set(RULE, [{"type": "forward", "forward": {"targetGroups": weights}}])

    # Actions of users

    def image(self, number: int) -> str:
        """URI of the image of a build, which is pushed if it does not exist yet."""
        if number not in self.digests:
            manifest: Params = {"config": {"digest": f"sha256:{number:064d}", "size": 1}, "layers": []}
            manifest |= {"annotations": {"org.opencontainers.image.revision": f"commit-{number}"}}
            self.digests[number] = self.account.ecr.push(NAME, f"commit-{number}", manifest)
        return f"{REPOSITORY}@{self.digests[number]}"

    def number_of(self, image: str) -> int:
        """-1 for an image that was not built here."""
        digest = image.partition("@")[2]
        return next((number for number, known in self.digests.items() if known == digest), -1)

    def release(self, image: int, label: str = "release") -> Process:
        """Starts the pipeline for an image."""
        body = source_zip(CONTAINER, self.image(image))
        version = self.account.s3.put_object({"Bucket": "source", "Key": "build.zip", "Body": body})["VersionId"]
        process, execution = self.account.start(label, NAME, revision=version)
        self.releases.append(Release(image, execution))
        return process

    def retry(self, release: Release, label: str = "retry") -> Process:
        return self.account.retry(label, release.execution, STAGE)

    def up(self, number: int, label: str = "up") -> Process:
        """`pulumi up` with these settings."""
        return self.account.scheduler.spawn(label, lambda: self._up(number))

    def _up(self, number: int) -> None:
        function = next(r for r in self.account.aws.resources.values() if r.type == FUNCTION)
        made = Up(self.settings(number), number, self.account.clock.now())
        self.ups.append(made)
        sha256 = hashlib.sha256(json.dumps(made.settings, sort_keys=True).encode()).hexdigest()
        variables = {**function.inputs["environment"]["variables"], "SETTINGS_SHA256": sha256}
        function.inputs["environment"] = {"variables": variables}
        try:
            for part in range(1, PARTS + 1):
                event = {"rollout": {"settings": made.settings}, "part": part, "parts": PARTS}
                self.account.lambdas.invoke(FUNCTION_NAME, event)
        except FunctionError as e:
            made.error = str(e)
        made.ran, made.ended, made.over = self.running(), True, self.account.clock.now()

    def restart(self, label: str = "restart") -> Process:
        """Restarts the running tasks; an error concerns only the caller."""

        def ask() -> None:
            now = self.account.clock.now()
            event = {"restart": {"before": datetime.fromtimestamp(now, UTC).isoformat()}}
            with suppress(FunctionError):
                answer = self.account.lambdas.invoke(FUNCTION_NAME, event)
                if not str(answer).startswith("nothing is released"):
                    self.restarts.append(now)

        return self.account.scheduler.spawn(label, ask)

    def event(self, source: str = "aws.ecs", label: str = "event") -> Process:
        """Sends an event of EventBridge to the function."""
        event = {"source": source, "detail-type": KINDS[source], "detail": {}}
        return self.account.scheduler.spawn(label, lambda: self.account.events.invoke(FUNCTION_NAME, event))

    def watch(self) -> None:
        """Sends the events of deployments and executions that have ended."""
        if self.events == "lost":
            return
        self.account.ecs.live()
        ended = {("aws.ecs", d.id) for service in self.services for d in service.deployments if not d.ongoing}
        # Like the rule that the component creates.
        states = ("Cancelled", "Failed", "Stopped", "Superseded")
        ended |= {("aws.codepipeline", r.execution.id) for r in self.releases if r.execution.status in states}
        for source, id in sorted(ended - self.ended):
            self.ended.add((source, id))
            for _ in range(2 if self.events == "twice" else 1):
                process = self.event(source)
                process.wake += 90 if self.events == "late" else 0

    def run(self) -> None:
        self.account.scheduler.run()

    def at(self, caller: str, number: int, how: How) -> None:
        self.account.at[caller, number] = how

    def do(self, *steps: Callable[[], object]) -> None:
        """Runs each after the end of the one before."""
        for step in steps:
            step()
            self.run()

    # State

    @property
    def services(self) -> list[Any]:
        """`web`, and the worker if the settings have one."""
        names = [NAME, *([WORKER] if self.added else [])]
        found = [s for s in self.account.ecs._services.values() if s.shown["serviceName"] in names]
        return sorted(found, key=lambda service: service.shown["serviceName"] != NAME)

    @property
    def service(self) -> Any:
        return self.services[0]

    def running(self) -> list[tuple[str, int]]:
        """Image and number of the settings of each task, of all processes."""
        self.account.ecs.live()
        return sorted(found for service in self.services for found in self.running_in(service))

    def running_in(self, service: Any) -> list[tuple[str, int]]:
        found = []
        for task in service.tasks:
            container = self.account.ecs._definition(task.shown["taskDefinitionArn"])["containerDefinitions"][0]
            found.append((str(container["image"]), int(container["environment"][0]["value"])))
        return found

    def job(self) -> int | None:
        """Number of the image that the job runs; None if it runs none."""
        for item in self.account.dynamodb.tables[NAME].items.values():
            if item["item"] == {"S": "job"}:
                definition = self.account.ecs._definition(item["taskDefinition"]["S"])
                return self.number_of(str(definition["containerDefinitions"][0]["image"]))
        return None

    def state(self) -> dict[str, Any]:
        """The item of the release state, parsed."""
        for item in self.account.dynamodb.tables[NAME].items.values():
            if item["item"] == {"S": "release"}:
                values = {key: next(iter(value.values())) for key, value in item.items()}
                return {key: json.loads(value) for key, value in values.items() if key not in ("item", "at")}
        return {}

    def tags(self) -> dict[str, str]:
        return self.account.ecr.tags.get(NAME, {})

    def _fault(self, definition: Params) -> str | None:
        container = definition["containerDefinitions"][0]
        settings, image = int(container["environment"][0]["value"]), self.number_of(container["image"])
        if self.more and image > 0 and not any(self.succeeded(each) for each in self.migrations if each.image == image):
            self.unmigrated.append(f"{definition['family']} {image}")
        faults = self.settings_faults.get(settings) or self.image_faults.get(image)
        return faults or (self.worker_faults.get(image) if definition["family"] == WORKER else None)

    def ended_at(self, migration: Migrated) -> float:
        return float(self.account.ecs._single[migration.arn].stops)

    def succeeded(self, migration: Migrated) -> bool:
        """Whether it has ended, and with 0."""
        task = self.account.ecs._single[migration.arn]
        return bool(task.stops <= self.account.clock.now() and task.exit == 0)

    def _migrated(self, task: Params) -> Outcome:
        image = self.number_of(str(task["containers"][0]["image"]))
        self.migrations.append(Migrated(image, self.account.clock.now(), task["taskArn"]))
        fault = self.migration_faults.get(image, "")
        lasts = {"hangs": 1e6}.get(fault, 20.0)
        return Outcome(exit={"exit 1": 1, "killed": 137}.get(fault, 0), seconds=lasts, lines=("migrating",))

    def _tested(self, project: str) -> str | None:
        """The result of tests, which depends on the image."""
        for build in self.account.codebuild.builds.values():
            if not build["buildComplete"]:
                variables = {v["name"]: v["value"] for v in build["environment"]["environmentVariables"]}
                if self.number_of(f"@{variables['IMAGE_DIGEST']}") in self.tests_fail:
                    return "FAILED"
        return None


def network() -> Params:
    return {"subnets": ["subnet-1", "subnet-2"], "securityGroups": ["sg-1"], "assignPublicIp": "DISABLED"}


def action(name: str, category: str, provider: str, configuration: Params) -> Params:
    kind = {"category": category, "owner": "AWS", "version": "1", "provider": provider}
    return {"name": name, "configuration": configuration, **kind}
