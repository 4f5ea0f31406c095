"""Slipway: from `git push` to a verified, running Amazon ECS service."""

from slipway.artifacts import ArtifactStore
from slipway.build.component import Build, BuildArgs
from slipway.load_balancer import LoadBalancer, LoadBalancerArgs, TestListener
from slipway.pipeline.commands import CodeScan, CommandProject, StageTests
from slipway.pipeline.component import Pipeline, PipelineArgs
from slipway.pipeline.notifications import Notifications, Notifier, Slack, Teams
from slipway.pipeline.scan_gate import AllowedFinding, ScanGate, ScanGateFunction
from slipway.pipeline.sources import CodeCommit, Connection, EcrImage, Filter, PullRequest, Push, S3Object
from slipway.pipeline.stages import Approval, DeployStage, Window
from slipway.registry import ExistingRegistry, Registry, RegistryArgs
from slipway.release.code_deploy import CodeDeploy
from slipway.release.component import ReleaseFunction
from slipway.service.component import ErrorAlarm, Service, ServiceArgs, Tasks
from slipway.strategies import BlueGreen, Canary, CodeDeployBlueGreen, Hook, Linear, Rolling

__version__ = "0.1.0"
__all__ = [
    "AllowedFinding",
    "Approval",
    "ArtifactStore",
    "BlueGreen",
    "Build",
    "BuildArgs",
    "Canary",
    "CodeCommit",
    "CodeDeploy",
    "CodeDeployBlueGreen",
    "CodeScan",
    "CommandProject",
    "Connection",
    "DeployStage",
    "EcrImage",
    "ErrorAlarm",
    "ExistingRegistry",
    "Filter",
    "Hook",
    "Linear",
    "LoadBalancer",
    "LoadBalancerArgs",
    "Notifications",
    "Notifier",
    "Pipeline",
    "PipelineArgs",
    "PullRequest",
    "Push",
    "Registry",
    "RegistryArgs",
    "ReleaseFunction",
    "Rolling",
    "S3Object",
    "ScanGate",
    "ScanGateFunction",
    "Service",
    "ServiceArgs",
    "Slack",
    "StageTests",
    "Tasks",
    "Teams",
    "TestListener",
    "Window",
    "__version__",
]
