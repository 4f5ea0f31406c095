"""One example of every component; the resources that it needs have names that start with `given`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pulumi
import pulumi_aws as aws
from slipway import (
    Approval,
    ArtifactStore,
    AuditTrail,
    AuditTrailArgs,
    Build,
    BuildArgs,
    Canary,
    CodeCommit,
    CodeDeploy,
    CodeDeployBlueGreen,
    CodeScan,
    CommandProject,
    Connection,
    DeployStage,
    Hook,
    LoadBalancer,
    LoadBalancerArgs,
    Notifications,
    Notifier,
    Pipeline,
    PipelineArgs,
    PullRequestChecks,
    PullRequestChecksArgs,
    Registry,
    RegistryArgs,
    ReleaseFunction,
    Rolling,
    ScanGate,
    ScanGateFunction,
    Service,
    ServiceArgs,
    Slack,
    StageTests,
    Tasks,
    Teams,
    TestListener,
)
from slipway.pipeline.commands import CommandProjectArgs, VpcConfig
from slipway.pipeline.notifications import NotifierArgs
from slipway.pipeline.scan_gate import ScanGateFunctionArgs
from slipway.release.code_deploy import CodeDeployArgs
from slipway.release.component import ReleaseFunctionArgs

Opts = pulumi.ResourceOptions | None
SUBNETS = ["subnet-3", "subnet-4"]
VPC = VpcConfig(vpc_id="vpc-1", subnet_ids=SUBNETS, security_group_id="sg-1")
TARGET_GROUP = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/given/1"
LISTENER = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener/app/given/1/2"
UUID = "01234567-89ab-cdef-0123-456789abcdef"
PIPELINE = "arn:aws:codepipeline:eu-west-1:123456789012:given"


def registry(name: str, opts: Opts = None, **overrides: Any) -> Registry:
    return Registry(name, RegistryArgs(**overrides), opts)


def build_args(name: str, **overrides: Any) -> BuildArgs:
    given: dict[str, Any] = {} if "registry" in overrides else {"registry": Registry(f"given-{name}")}
    return BuildArgs(**given, **overrides)


def build(name: str, opts: Opts = None, **overrides: Any) -> Build:
    return Build(name, build_args(name, **overrides), opts)


def load_balancer_args(**overrides: Any) -> LoadBalancerArgs:
    return LoadBalancerArgs(vpc_id="vpc-1", subnet_ids=["subnet-1", "subnet-2"], **overrides)


def load_balancer(name: str, opts: Opts = None, **overrides: Any) -> LoadBalancer:
    return LoadBalancer(name, load_balancer_args(**overrides), opts)


def service_args(name: str, **overrides: Any) -> ServiceArgs:
    args: dict[str, Any] = {"subnet_ids": SUBNETS, **overrides}
    if "registry" not in args:
        args["registry"] = Registry(f"given-{name}")
    if "load_balancer" not in args:
        args["load_balancer"] = load_balancer(f"given-{name}")
    if "cluster" not in args:
        args["cluster"] = aws.ecs.Cluster(f"given-{name}", name=f"given-{name}")
    return ServiceArgs(vpc_id="vpc-1", **args)


def service(name: str, opts: Opts = None, **overrides: Any) -> Service:
    return Service(name, service_args(name, **overrides), opts)


def release_function_args(name: str, **overrides: Any) -> ReleaseFunctionArgs:
    args: dict[str, Any] = {
        "cluster": aws.ecs.Cluster(f"given-{name}", name=f"given-{name}"),
        "service": aws.ecs.Service(f"given-{name}", name=f"given-{name}"),
        "template": aws.ecs.TaskDefinition(
            f"given-{name}", family=f"given-{name}-template", container_definitions="[]"
        ),
        "scalable_target": None,
        "registry": Registry(f"given-{name}"),
        "environment_name": "dev",
        "family": f"given-{name}",
        "container_name": "app",
        "minimum_tasks": 2,
        "maximum_tasks": 2,
        "strategy": Rolling(),
        "deployment": {"strategy": "ROLLING", "maximumPercent": 200},
        "availability_zone_rebalancing": "ENABLED",
        "keep_verified": 5,
        "log_retention_days": 30,
        "role_arns": ["arn:aws:iam::123456789012:role/execution", "arn:aws:iam::123456789012:role/task"],
        "service_role_arns": [],
        "subnet_ids": SUBNETS,
        "security_group_id": "sg-1",
        "load_balancers": [{"targetGroupArn": TARGET_GROUP, "containerName": "app", "containerPort": 8080}],
        "target_group_arns": [TARGET_GROUP, f"{TARGET_GROUP}2"],
        "log_group": aws.cloudwatch.LogGroup(f"given-{name}", name=f"/ecs/given-{name}"),
        "service_url": "https://shop.example.com",
        "code_deploy": None,
        "alarm_arns": [],
        "alarm_minutes": 0,
        "retain_state": True,
    }
    return ReleaseFunctionArgs(**{**args, **overrides})


def release_function(name: str, opts: Opts = None, **overrides: Any) -> ReleaseFunction:
    return ReleaseFunction(name, release_function_args(name, **overrides), opts)


def code_deploy_args(name: str, **overrides: Any) -> CodeDeployArgs:
    group: dict[str, Any] = {"vpc_id": "vpc-1", "target_type": "ip", "port": 80, "protocol": "HTTP"}
    args: dict[str, Any] = {
        "cluster": aws.ecs.Cluster(f"given-{name}", name=f"given-{name}"),
        "service": aws.ecs.Service(f"given-{name}", name=f"given-{name}"),
        "strategy": CodeDeployBlueGreen(),
        "target_groups": [aws.lb.TargetGroup(f"given-{name}-{letter}", **group) for letter in "ab"],
        "listener_arn": LISTENER,
        "test_listener_arn": None,
        "alarm_names": ["errors"],
        "alarm_arns": ["arn:aws:cloudwatch:eu-west-1:123456789012:alarm:errors"],
        "role_arns": ["arn:aws:iam::123456789012:role/execution", "arn:aws:iam::123456789012:role/task"],
    }
    return CodeDeployArgs(**{**args, **overrides})


def code_deploy(name: str, opts: Opts = None, **overrides: Any) -> CodeDeploy:
    return CodeDeploy(name, code_deploy_args(name, **overrides), opts)


def command_project_args(name: str, **overrides: Any) -> CommandProjectArgs:
    args: dict[str, Any] = {
        "settings": CodeScan(name="lint", commands=["make lint"]),
        "description": "Lints",
        "artifacts": ArtifactStore(f"given-{name}"),
        "in_pipeline": True,
    }
    return CommandProjectArgs(**{**args, **overrides})


def command_project(name: str, opts: Opts = None, **overrides: Any) -> CommandProject:
    return CommandProject(name, command_project_args(name, **overrides), opts)


def scan_gate_args(name: str, **overrides: Any) -> ScanGateFunctionArgs:
    args: dict[str, Any] = {"gate": ScanGate(), "container_name": "app", "pipeline_arn": PIPELINE, **overrides}
    if "registry" not in args:
        args["registry"] = Registry(f"given-{name}")
    return ScanGateFunctionArgs(**args)


def scan_gate(name: str, opts: Opts = None, **overrides: Any) -> ScanGateFunction:
    return ScanGateFunction(name, scan_gate_args(name, **overrides), opts)


def notifier_args(name: str, **overrides: Any) -> NotifierArgs:
    slack = Slack(team_id="T0", channel_id="C0")
    args: dict[str, Any] = {
        "notifications": Notifications(emails=["ops@example.com"], slack=slack),
        "pipeline_name": "given",
        "pipeline_arn": PIPELINE,
    }
    return NotifierArgs(**{**args, **overrides})


def notifier(name: str, opts: Opts = None, **overrides: Any) -> Notifier:
    return Notifier(name, notifier_args(name, **overrides), opts)


def pipeline_args(name: str, **overrides: Any) -> PipelineArgs:
    """By default a CodeCommit source, a build, and one service in `dev`, all with one registry."""
    args: dict[str, Any] = {"source": CodeCommit(repository="storefront"), **overrides}
    given = Registry(f"given-{name}") if not {"build", "stages"} <= args.keys() else None
    if "build" not in args:
        args["build"] = build(f"given-{name}-build", registry=given)
    if "stages" not in args:
        registry = args["build"].registry if args["build"] else given
        args["stages"] = [
            DeployStage(service=service(f"given-{name}-service", environment_name="dev", registry=registry))
        ]
    return PipelineArgs(**args)


def pipeline(name: str, opts: Opts = None, **overrides: Any) -> Pipeline:
    return Pipeline(name, pipeline_args(name, **overrides), opts)


HOOK = "arn:aws:lambda:eu-west-1:123456789012:function:check"
GITHUB = "arn:aws:codeconnections:eu-west-1:123456789012:connection/0f-1"
TEST_LISTENER = TestListener(ingress_cidrs=["10.0.0.0/8"])


def complete_pipeline_args(name: str) -> PipelineArgs:
    """Everything optional at once: a stage that shifts traffic, and one that CodeDeploy deploys."""
    given = Registry(f"given-{name}")
    made: dict[str, Any] = {"registry": given, "load_balancer": load_balancer(f"given-{name}")}
    canary = service(f"given-{name}-a", environment_name="a", strategy=Canary(), **made)
    by_codedeploy = service(
        f"given-{name}-b", environment_name="b", strategy=CodeDeployBlueGreen(), listener_priority=101, **made
    )
    approval, tests = Approval(notify=["ops@example.com"]), StageTests(commands=["true"], in_vpc=True)
    return PipelineArgs(
        source=Connection(provider_type="GitHub", repository="acme/storefront"),
        build=build(f"given-{name}-build", registry=given),
        stages=[
            DeployStage(service=canary, approval=approval, tests=tests),
            DeployStage(service=by_codedeploy, approval=approval, tests=tests),
        ],
        scan_gate=ScanGate(),
        # The longest name that a scan may have.
        code_scans=[CodeScan(name="s" * 10, commands=["make lint"])],
        notifications=complete_notifications(),
        variables={"LEVEL": "info"},
    )


def complete_notifications() -> Notifications:
    teams = Teams(tenant_id=UUID, team_id=UUID, channel_id="19%3ab6ef%40thread.tacv2")
    return Notifications(emails=["ops@example.com"], slack=Slack(team_id="T0", channel_id="C0"), teams=teams)


def complete_service_args(name: str, **overrides: Any) -> ServiceArgs:
    hook = Hook(stages=["POST_TEST_TRAFFIC_SHIFT"], function_arn=HOOK, timeout_minutes=1)
    balancer = load_balancer(f"given-{name}", test_listener=TEST_LISTENER)
    scaled = {"strategy": Canary(hooks=[hook]), "tasks": Tasks(min=2, max=4)}
    return service_args(name, load_balancer=balancer, **scaled, **overrides)


def worker_args(name: str) -> ServiceArgs:
    return service_args(name, port=None, load_balancer=None)


def by_codedeploy_args(name: str) -> ServiceArgs:
    return service_args(name, strategy=CodeDeployBlueGreen())


def pull_request_checks_args(name: str, **overrides: Any) -> PullRequestChecksArgs:
    args: dict[str, Any] = {
        "source": Connection(arn=GITHUB, repository="acme/storefront"),
        "connection_arn": GITHUB,
        "commands": ["make test"],
    }
    return PullRequestChecksArgs(**{**args, **overrides})


def pull_request_checks(name: str, opts: Opts = None, **overrides: Any) -> PullRequestChecks:
    return PullRequestChecks(name, pull_request_checks_args(name, **overrides), opts)


def audit_trail(name: str, opts: Opts = None) -> AuditTrail:
    return AuditTrail(name, AuditTrailArgs(), opts)


Factory = Callable[..., pulumi.ComponentResource]

EXAMPLES: dict[type[pulumi.ComponentResource], Factory] = {
    ArtifactStore: ArtifactStore,
    AuditTrail: audit_trail,
    Build: build,
    CodeDeploy: code_deploy,
    CommandProject: command_project,
    LoadBalancer: load_balancer,
    Notifier: notifier,
    Pipeline: pipeline,
    PullRequestChecks: pull_request_checks,
    Registry: registry,
    ReleaseFunction: release_function,
    ScanGateFunction: scan_gate,
    Service: service,
}

VARIANTS: list[tuple[type[pulumi.ComponentResource], str, Factory]] = [
    (
        CommandProject,
        "inside a VPC",
        lambda name, opts=None: command_project(name, opts, vpc=VPC),
    ),
    (
        LoadBalancer,
        "with a test listener",
        lambda name, opts=None: load_balancer(name, opts, test_listener=TEST_LISTENER),
    ),
    (
        Notifier,
        "with all kinds of channels",
        lambda name, opts=None: notifier(name, opts, notifications=complete_notifications()),
    ),
    (
        Pipeline,
        "with everything",
        lambda name, opts=None: Pipeline(name, complete_pipeline_args(name), opts),
    ),
    (Service, "as a worker", lambda name, opts=None: Service(name, worker_args(name), opts)),
    (Service, "by CodeDeploy", lambda name, opts=None: Service(name, by_codedeploy_args(name), opts)),
    (Service, "that shifts traffic", lambda name, opts=None: Service(name, complete_service_args(name), opts)),
]
"""Further forms of components, with resources or outputs that the examples do not have."""

CHECKED: list[tuple[type[pulumi.ComponentResource], Callable[[str], Any]]] = [
    (ArtifactStore, lambda name: None),
    (AuditTrail, lambda name: AuditTrailArgs()),
    (Build, build_args),
    (CodeDeploy, code_deploy_args),
    (CommandProject, command_project_args),
    (LoadBalancer, lambda name: load_balancer_args(test_listener=TEST_LISTENER)),
    (Notifier, notifier_args),
    (Pipeline, pipeline_args),
    (Pipeline, complete_pipeline_args),
    (PullRequestChecks, pull_request_checks_args),
    (Registry, lambda name: RegistryArgs()),
    (ReleaseFunction, release_function_args),
    (ScanGateFunction, scan_gate_args),
    (Service, complete_service_args),
    (Service, by_codedeploy_args),
]
"""Further parameters of the components that check their name."""
