"""The whole stand-in: one AWS account on loopback, while its context is open."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import yaml

from standin import codedeploy, live, snapshots, tables, tools
from standin.api import ACCOUNT, REGION, Api, AwsError
from standin.clock import Clock
from standin.cloudwatch import CloudWatch
from standin.codebuild import CodeBuild, shell_environment
from standin.codedeploy import CodeDeploy
from standin.connect import HttpNamespace
from standin.dynamodb import DynamoDb
from standin.ecr import Ecr
from standin.ecs import Autoscaling, Ecs
from standin.elb import Elb
from standin.events import Events, Topic
from standin.executor import CodePipeline
from standin.functions import Functions
from standin.iam import Iam
from standin.lambdas import Lambdas
from standin.provider import Aws, Live, Props
from standin.scheduler import Schedule, Scheduler
from standin.states import StateMachine, States
from standin.volumes import Volumes
from standin.webhooks import WEBHOOK, Webhook, Webhooks
from standin.workspace import Workspace

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "tests" / "sample"
"""The project, the stack files and the service of the tests; those of the root belong to the clone's owner."""


class World:
    """An account. `workspace` returns a stack in it; `repository` a git repository that pipelines use as a source."""

    def __init__(self, registry: str, builder: Mapping[str, str], engine: Path, **shell: str) -> None:
        """`shell` overrides the environment of builds."""
        self.engine = engine
        self.clock = Clock()
        self.api = Api(self.clock)
        self.ecr = Ecr(registry, self.clock)
        self.elb = Elb(self.clock, self.api.calls)
        self.roles = live.Role(self.clock)
        self.ecs = Ecs(self.clock, self.ecr.why_not_pulled, self.elb, self._alarm_minutes, self.roles.made)
        self.autoscaling = Autoscaling(self.ecs)
        self.dynamodb = DynamoDb(self.clock)
        self.live: dict[str, Live] = {}
        self.shared: dict[str, Props] = {}
        """Load balancers that belong to nobody's stack, by name."""
        self.missing_secrets: set[str] = set()
        invokes = {
            "aws:ecr/getRepository:getRepository": self._get_repository,
            "aws:ecr/getImages:getImages": self._get_images,
            "aws:cloudcontrol/getResource:getResource": self._get_resource,
            "aws:ecs/getCluster:getCluster": self._get_cluster,
            "aws:secretsmanager/getSecret:getSecret": self._get_secret,
            "aws:lb/getLoadBalancer:getLoadBalancer": self._get_load_balancer,
            "aws:lb/getListener:getListener": self._get_listener,
        }
        self.aws = Aws(self.live, invokes, registry)
        self.cloudwatch = CloudWatch(self.aws, self.ecs)
        self.lambdas = Lambdas(self.aws, self.api, self.clock)
        self.build_environment = {**shell_environment(builder, Path(sys.executable).parent), **shell}
        """What `docker` and `aws` need in order to work in builds."""
        self.events = Events(self.aws, self.api, self.clock, self.lambdas)
        self.codebuild = CodeBuild(self.aws, self.api, self.clock, self.events, self.build_environment)
        self.codedeploy = CodeDeploy(self.api, self.clock, self.events, self.elb, lambda: self.ecs.alarms)
        of = self.aws, self.api, self.clock, self.lambdas, self.codebuild, self.events, registry
        self.codepipeline = CodePipeline(*of)
        self._iam = Iam(self.aws)
        self.states = States(self.clock, self.ecs, self.dynamodb, self.events, self._iam)
        self.volumes = Volumes(self.aws, self._iam)
        self.ecs.why_not_mounted = self.volumes.why_not_mounted
        self.scheduler = Scheduler(self.states, self.events, self._iam)
        self.ecs.emit, self.events.live = self.events.deployment, self._live_services
        self.api.web = self._web
        self.connections = live.Connection()
        self.webhooks = Webhooks(self.codebuild, self.events)
        self.ecr.pushed, self.ecr.deployed = self.codepipeline.pushed, self._repository
        self._registry = registry
        self._parts: list[object] = []
        """The objects that hold the state of the account."""
        self._workspaces: list[Workspace] = []
        self._stack = ExitStack()

    def __enter__(self) -> "World":
        isolate()
        services: dict[str, object] = {"ecs": self.ecs, "ecr": self.ecr, "application-autoscaling": self.autoscaling}
        services |= {"codepipeline": self.codepipeline, "codebuild": self.codebuild, "codedeploy": self.codedeploy}
        services |= {"cloudwatch": self.cloudwatch, "dynamodb": self.dynamodb, "lambda": Functions(self.aws)}
        services |= {"logs": self.ecs.logs, "stepfunctions": self.states}
        for name, service in services.items():
            self.api.register(name, service)
        self._stack.enter_context(self.api)
        self._stack.callback(self.lambdas.close)
        self.live |= {
            "aws:ecs/cluster:Cluster": live.Cluster(self.ecs),
            "aws:ecs/capacityProvider:CapacityProvider": live.CapacityProvider(self.ecs),
            "aws:ecs/clusterCapacityProviders:ClusterCapacityProviders": live.ClusterCapacityProviders(self.ecs),
            "aws:ecs/taskDefinition:TaskDefinition": live.TaskDefinition(self.ecs),
            "aws:ecs/service:Service": live.Service(self.ecs),
            "aws:servicediscovery/httpNamespace:HttpNamespace": HttpNamespace(self.ecs.active),
            "aws:iam/role:Role": self.roles,
            "aws:acm/certificate:Certificate": live.Certificate(),
            "aws:codeconnections/connection:Connection": self.connections,
            WEBHOOK: Webhook(self.aws, self.connections),
            "aws:lb/loadBalancer:LoadBalancer": live.LoadBalancer(self.api),
            "aws:lb/targetGroup:TargetGroup": live.TargetGroup(self.elb),
            "aws:lb/listenerRule:ListenerRule": live.ListenerRule(self.ecs),
            "aws:ecr/repository:Repository": live.Repository(self.ecr),
            "aws:ecr/lifecyclePolicy:LifecyclePolicy": live.RepositoryText(self.ecr.lifecycle_policies),
            "aws:ecr/repositoryPolicy:RepositoryPolicy": live.RepositoryText(self.ecr.policies),
            "aws:ssm/parameter:Parameter": live.Parameter(self.client("ssm")),
            "aws:s3/bucket:Bucket": live.Bucket(self.client("s3"), REGION),
            "aws:appautoscaling/target:Target": live.ScalableTarget(self.autoscaling),
            "aws:appautoscaling/policy:Policy": live.Scaling(self.autoscaling, "scaling_policy"),
            "aws:appautoscaling/scheduledAction:ScheduledAction": live.Scaling(self.autoscaling, "scheduled_action"),
            "aws:sns/topic:Topic": Topic(self.client("sns")),
            codedeploy.GROUP: codedeploy.Group(),
            "aws:dynamodb/table:Table": tables.Table(self.dynamodb),
            "aws:sfn/stateMachine:StateMachine": StateMachine(self.states, self._iam),
            "aws:scheduler/schedule:Schedule": Schedule(self.scheduler, self._iam),
            "aws:lambda/invocation:Invocation": live.Invocation(self.lambdas),
        }
        self.providers = self._stack.enter_context(self.aws.serve())
        mine = [each for each in vars(self).values() if type(each).__module__.startswith("standin.")]
        self._parts = [self, *mine, *self.live.values()]
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def deliver(self) -> None:
        """Delivers the events that are due, and runs the executions that they start."""
        self.codepipeline.deliver()
        self.codepipeline.settle()

    def _live_services(self) -> None:
        """Makes the services whose events are posted later catch up with the clock."""
        self.ecs.live()
        self.states.live()

    def _alarm_minutes(self, name: str) -> float | None:
        return self.cloudwatch.minutes(name)

    @property
    def can_be_restored(self) -> bool:
        """False if its registry runs in a container, whose files are not accessible."""
        return getattr(self._registry, "images", None) is not None

    def snapshot(self) -> "Snapshot":
        """The current state of the account and of its stacks. Raises snapshots.Unsettled."""
        self.lambdas.rest()
        held = snapshots.objects(self._parts)
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="slipway-snapshot-")))
        if self._images.exists():
            shutil.copytree(self._images, folder / "images")
        for number, workspace in enumerate(self._workspaces):
            workspace.save(folder / str(number))
        return Snapshot(held, folder, tuple(self._workspaces), self.lambdas.log_path.read_bytes())

    def restore(self, snapshot: "Snapshot") -> None:
        """Restores the state; also hooks and methods that were replaced since."""
        self.lambdas.rest()
        for workspace in self._workspaces:
            if not workspace.saved:
                workspace.close()
        snapshots.restore(self._parts, snapshot.held)
        self.lambdas.log_path.write_bytes(snapshot.log)
        if self._images.exists():
            shutil.rmtree(self._images)
        if (snapshot.folder / "images").exists():
            shutil.copytree(snapshot.folder / "images", self._images)
        for number, workspace in enumerate(snapshot.workspaces):
            workspace.load(snapshot.folder / str(number))
        self._workspaces = list(snapshot.workspaces)

    def unchanged_since(self, snapshot: "Snapshot") -> bool:
        """Whether nothing was done: not even a client was created."""
        return snapshots.objects(self._parts).same(snapshot.held)

    @property
    def _images(self) -> Path:
        assert isinstance(self._registry, tools.Address)
        assert self._registry.images, "a registry in a container cannot be restored"
        return self._registry.images

    def _repository(self, name: str) -> dict[str, Any]:
        """Pulumi's outputs for a repository of ECR."""
        found = self.events.all("aws:ecr/repository:Repository")
        return next((r.inputs for r in found if r.inputs["name"] == name), {})

    def production_rule(self, balancer: str) -> str:
        """ARN of the rule for production traffic to a load balancer, to the port of its service."""
        found = [r for r in self.events.all("aws:lb/listenerRule:ListenerRule") if f"/{balancer}/" in r.id]
        return next(r.id for r in found if not r.name.endswith("-test") and "-route-" not in r.name)

    def traffic(self, balancer: str) -> dict[str, int]:
        """The digests of the images behind a load balancer, with the weight of each."""
        answers = self.ecs.traffic(self.production_rule(balancer)).items()
        return {image.rpartition("@")[2]: weight for image, weight in answers if weight}

    def _web(self, balancer: str) -> tuple[int, str]:
        """What a client of a load balancer gets: the image with the most traffic, or that there is none."""
        answers = self.traffic(balancer)
        best = max(answers, key=lambda image: answers[image], default="")
        return (200, best) if best else (503, "no healthy target")

    def _get_cluster(self, inputs: Props) -> Props:
        """The provider's data source: an error if there is no such cluster."""
        found = self.ecs.describe_clusters({"clusters": [inputs["clusterName"]]})["clusters"]
        if not found:
            raise RuntimeError(f"reading ECS Cluster ({inputs['clusterName']}): couldn't find resource")
        return {"arn": found[0]["clusterArn"], "clusterName": found[0]["clusterName"], "status": found[0]["status"]}

    def _get_secret(self, inputs: Props) -> Props:
        """The provider's data source: secrets are made up here, but for those that are said to be missing."""
        if inputs["name"] in self.missing_secrets:
            raise RuntimeError(f"reading Secrets Manager Secret ({inputs['name']}): couldn't find resource")
        return {"arn": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{inputs['name']}-a1b2c3"}

    def share(self, name: str, *ports: int) -> str:
        """Makes a load balancer that belongs to nobody's stack, with a listener on each port. Returns its ARN."""
        place = f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}"
        hex = f"{len(self.shared):016x}"
        self.shared[name] = {
            "arn": f"{place}:loadbalancer/app/{name}/{hex}",
            "arnSuffix": f"app/{name}/{hex}",
            "dnsName": f"{name}.localhost:{self.api.url.rpartition(':')[2]}",
            "loadBalancerType": "application",
            "vpcId": "vpc-0a1b2c3d",
            "securityGroups": [f"sg-0{hex}"],
            "listeners": {port: f"{place}:listener/app/{name}/{hex}/{port:016x}" for port in ports},
        }
        return str(self.shared[name]["arn"])

    def _get_load_balancer(self, inputs: Props) -> Props:
        """The provider's data source: an error if there is no such load balancer."""
        for name, found in self.shared.items():
            if inputs.get("name") == name or inputs.get("arn") == found["arn"]:
                shown = {key: value for key, value in found.items() if key != "listeners"}
                return {"id": found["arn"], "name": name, **shown}
        raise RuntimeError("reading ELBv2 Load Balancers: empty result")

    def _get_listener(self, inputs: Props) -> Props:
        for found in self.shared.values():
            if inputs["loadBalancerArn"] == found["arn"] and int(inputs["port"]) in found["listeners"]:
                protocol = "HTTP" if int(inputs["port"]) in (80, 8080) else "HTTPS"
                arn = found["listeners"][int(inputs["port"])]
                return {"id": arn, "arn": arn, "port": inputs["port"], "protocol": protocol}
        raise RuntimeError("reading ELBv2 Listener: empty result")

    def _get_repository(self, inputs: Props) -> Props:
        """The provider's data source: an error if there is no such repository."""
        try:
            [found] = self.ecr.describe_repositories({"repositoryNames": [inputs["name"]]})["repositories"]
        except AwsError as e:
            raise RuntimeError(f"reading ECR Repository ({inputs['name']}): {e}") from None
        known = {"arn": found["repositoryArn"], "repositoryUrl": found["repositoryUri"], "name": inputs["name"]}
        encryption = {"kmsKey": "", **found["encryptionConfiguration"]}
        scanning = found.get("imageScanningConfiguration", {})
        return {
            **known,
            "registryId": found["registryId"],
            "encryptionConfigurations": [encryption],
            "imageScanningConfigurations": [{"scanOnPush": scanning.get("scanOnPush", False)}],
            "imageTagMutability": found["imageTagMutability"],
            "imageTagMutabilityExclusionFilters": found.get("imageTagMutabilityExclusionFilters", []),
            "tags": {tag["Key"]: tag["Value"] for tag in found.get("tags", [])},
        }

    def _get_resource(self, inputs: Props) -> Props:
        """The provider's data source for Cloud Control, as far as repositories have a policy.

        https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-ecr-repository.html
        """
        name, properties = inputs["identifier"], {"RepositoryName": inputs["identifier"]}
        if lifecycle := self.ecr.lifecycle_policies.get(name):
            properties["LifecyclePolicy"] = {"LifecyclePolicyText": lifecycle}
        if policy := self.ecr.policies.get(name):
            properties["RepositoryPolicyText"] = json.loads(policy)
        return {"id": name, "identifier": name, "properties": json.dumps(properties)}

    def _get_images(self, inputs: Props) -> Props:
        """The provider's data source, which lists each tag of an image."""
        try:
            found = self.ecr.list_images(inputs)["imageIds"]
        except AwsError as e:
            raise RuntimeError(f"reading ECR Images ({inputs['repositoryName']}): {e}") from None
        return {"repositoryName": inputs["repositoryName"], "imageIds": found}

    def client(self, service: str) -> Any:
        """A client with the credentials of the user who runs Pulumi."""
        keys = {key.lower(): value for key, value in self.api.credentials_for("pulumi").items()}
        return boto3.client(service, endpoint_url=self.api.url, region_name=REGION, **keys)

    def workspace(
        self,
        stack: str,
        config: Mapping[str, object] | None = None,
        project: Path = SAMPLE,
        as_written: bool = False,
    ) -> Workspace:
        """A stack of this program with the stack file in the folder `project`: as it is, or overridden by `config`."""
        made = Workspace(ROOT, stack, self.engine, self.providers, config, as_written, project)
        self._stack.callback(made.close)
        self._workspaces.append(made)
        return made

    def repository(self, name: str, folder: Path) -> "Repository":
        """An empty git repository that sources refer to by `name`."""
        self.codepipeline.repositories[name] = folder
        return Repository(folder)


@dataclass(frozen=True)
class Snapshot:
    """The state of an account and of its stacks at one time."""

    held: snapshots.Objects
    folder: Path
    workspaces: tuple[Workspace, ...]
    log: bytes
    """Of the functions."""


class Repository:
    """A git repository with commits."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._git("init", "--quiet", "--initial-branch=main")

    def commit(self, message: str, files: Mapping[str, str]) -> str:
        """Commits these files; returns the commit's id."""
        for path, text in files.items():
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / path).write_text(text)
        self._git("add", "--all")
        who = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.com", "-c", "commit.gpgsign=false")
        self._git(*who, "commit", "--quiet", "--message", message)
        return self._git("rev-parse", "HEAD")

    def tag(self, name: str) -> None:
        """Tags the last commit."""
        self._git("tag", name)

    def remove(self, path: str) -> str:
        """Commits the deletion of this file; returns the commit's id."""
        (self.folder / path).unlink()
        return self.commit(f"Without {path}", {})

    def _git(self, *command: str) -> str:
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(self.folder), "GIT_CONFIG_NOSYSTEM": "1"}
        done = subprocess.run(
            ["git", *command], cwd=self.folder, env=environment, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()


def isolate() -> None:
    """Isolates the tests from the user's own settings: no profile, no credentials, no Pulumi account."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "PULUMI_")):
            del os.environ[name]
    os.environ |= {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"


@dataclass(frozen=True)
class Workshop:
    """What accounts share: the engine, a builder, and the base image of the sample service."""

    engine: Path
    builder: Mapping[str, str]
    base_image: str

    @contextmanager
    def account(self, **shell: str) -> Iterator[World]:
        """A new, empty account; `shell` overrides the environment of its builds."""
        with tools.registry() as registry, World(registry, self.builder, self.engine, **shell) as made:
            yield made

    def build_settings(self, stack: str) -> dict[str, object]:
        """The build settings of a stack file, with the base image of this machine."""
        settings: dict[str, object] = stack_file(stack)["slipway:build"]
        return {**settings, "buildArgs": {"BASE_IMAGE": self.base_image}}


@contextmanager
def workshop(say: Callable[[str], None] = print) -> Iterator[Workshop]:
    engine = tools.engine(say)
    with tools.registry() as registry, tools.builder(say) as builder:
        yield Workshop(engine, builder, tools.base_image(registry, builder, say))


def stack_file(stack: str, project: Path = SAMPLE) -> dict[str, Any]:
    """The configuration in a stack file."""
    configuration: dict[str, Any] = yaml.safe_load((project / f"Pulumi.{stack}.yaml").read_text())["config"]
    return configuration


def sample_app() -> dict[str, str]:
    """The files of the sample service, as a commit contains them."""
    folder = SAMPLE / "app"
    return {f"app/{file.name}": file.read_text() for file in sorted(folder.iterdir()) if file.is_file()}
