"""Slipway: from `git push` to a verified, running Amazon ECS service."""

from slipway.artifacts import ArtifactStore
from slipway.build import Build, BuildArgs
from slipway.load_balancer import LoadBalancer, LoadBalancerArgs
from slipway.pipeline import Approval, DeployStage, Pipeline, PipelineArgs
from slipway.registry import Registry, RegistryArgs
from slipway.release_function import ReleaseFunction
from slipway.service import Service, ServiceArgs, Tasks
from slipway.sources import CodeCommit, Connection
from slipway.strategies import Rolling

__all__ = [
    "Approval",
    "ArtifactStore",
    "Build",
    "BuildArgs",
    "CodeCommit",
    "Connection",
    "DeployStage",
    "LoadBalancer",
    "LoadBalancerArgs",
    "Pipeline",
    "PipelineArgs",
    "Registry",
    "RegistryArgs",
    "ReleaseFunction",
    "Rolling",
    "Service",
    "ServiceArgs",
    "Tasks",
]
