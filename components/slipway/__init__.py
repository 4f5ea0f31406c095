"""Slipway: from `git push` to a verified, running Amazon ECS service."""

from slipway.access_logs import AccessLogs
from slipway.artifacts import ArtifactStore
from slipway.audit import AuditTrail, AuditTrailArgs
from slipway.build.component import Build, BuildArgs, Sbom
from slipway.domain import Domain
from slipway.existing_cluster import ExistingCluster
from slipway.existing_load_balancer import ExistingLoadBalancer, ExistingLoadBalancerArgs
from slipway.existing_registry import ExistingRegistry
from slipway.iam import Permission, Statement, allow
from slipway.load_balancer import LoadBalancer, LoadBalancerArgs, TestListener
from slipway.pipeline.commands import CodeScan, CommandProject, CommandProjectArgs, StageTests, VpcConfig
from slipway.pipeline.component import Pipeline, PipelineArgs
from slipway.pipeline.notifications import Notifications, Notifier, NotifierArgs, Slack, Teams
from slipway.pipeline.scan_gate import AllowedFinding, ScanGate, ScanGateFunction, ScanGateFunctionArgs
from slipway.pipeline.sources import (
    CodeCommit,
    Connection,
    EcrImage,
    Filter,
    Push,
    S3Object,
    Source,
    SourceParts,
)
from slipway.pipeline.stages import Approval, DeployStage, Window
from slipway.pull_requests import PullRequestChecks, PullRequestChecksArgs
from slipway.registry import Registry, RegistryArgs, Repository
from slipway.release.code_deploy import CodeDeploy, CodeDeployArgs
from slipway.release.component import ReleaseFunction, ReleaseFunctionArgs
from slipway.reports import Report
from slipway.roles import RoleDefaults
from slipway.service.args import ErrorAlarm, ServiceArgs
from slipway.service.capacity import Ec2, Fargate, FargateSpot, ManagedInstances
from slipway.service.component import Service
from slipway.service.connect import ServiceConnect
from slipway.service.containers import Container, ContainerHealthCheck, Ulimit
from slipway.service.logging import AwsLogs, FireLens, NoLogs, Splunk
from slipway.service.processes import Job, Migration, Process
from slipway.service.requests import HealthCheck
from slipway.service.routes import Route
from slipway.service.sidecars import Sidecar
from slipway.service.stickiness import Stickiness
from slipway.service.tasks import MetricTarget, QueueBacklog, ScheduledBounds, Tasks
from slipway.service.volumes import EfsDirectory, EfsVolume
from slipway.strategies import BlueGreen, Canary, CodeDeployBlueGreen, Hook, Linear, Rolling

__version__ = "0.1.0"
__all__ = [
    "AccessLogs",
    "AllowedFinding",
    "Approval",
    "ArtifactStore",
    "AuditTrail",
    "AuditTrailArgs",
    "AwsLogs",
    "BlueGreen",
    "Build",
    "BuildArgs",
    "Canary",
    "CodeCommit",
    "CodeDeploy",
    "CodeDeployArgs",
    "CodeDeployBlueGreen",
    "CodeScan",
    "CommandProject",
    "CommandProjectArgs",
    "Connection",
    "Container",
    "ContainerHealthCheck",
    "DeployStage",
    "Domain",
    "Ec2",
    "EcrImage",
    "EfsDirectory",
    "EfsVolume",
    "ErrorAlarm",
    "ExistingCluster",
    "ExistingLoadBalancer",
    "ExistingLoadBalancerArgs",
    "ExistingRegistry",
    "Fargate",
    "FargateSpot",
    "Filter",
    "FireLens",
    "HealthCheck",
    "Hook",
    "Job",
    "Linear",
    "LoadBalancer",
    "LoadBalancerArgs",
    "ManagedInstances",
    "MetricTarget",
    "Migration",
    "NoLogs",
    "Notifications",
    "Notifier",
    "NotifierArgs",
    "Permission",
    "Pipeline",
    "PipelineArgs",
    "Process",
    "PullRequestChecks",
    "PullRequestChecksArgs",
    "Push",
    "QueueBacklog",
    "Registry",
    "RegistryArgs",
    "ReleaseFunction",
    "ReleaseFunctionArgs",
    "Report",
    "Repository",
    "RoleDefaults",
    "Rolling",
    "Route",
    "S3Object",
    "Sbom",
    "ScanGate",
    "ScanGateFunction",
    "ScanGateFunctionArgs",
    "ScheduledBounds",
    "Service",
    "ServiceArgs",
    "ServiceConnect",
    "Sidecar",
    "Slack",
    "Source",
    "SourceParts",
    "Splunk",
    "StageTests",
    "Statement",
    "Stickiness",
    "Tasks",
    "Teams",
    "TestListener",
    "Ulimit",
    "VpcConfig",
    "Window",
    "__version__",
    "allow",
]
