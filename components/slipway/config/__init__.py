"""The stack file: its keys, how it is read, and the components that are created from it."""

from slipway.config.cluster import NewCluster, UsedCluster, cluster
from slipway.config.components import (
    audit_trail,
    build,
    deploy_stage,
    pipeline,
    pull_request_checks,
    registry,
    vpc_endpoints,
)
from slipway.config.errors import ConfigurationError
from slipway.config.load import Settings, StageSettings
from slipway.config.network import ExistingNetwork, Network, NewNetwork, existing_network, new_network

__all__ = [
    "ConfigurationError",
    "ExistingNetwork",
    "Network",
    "NewCluster",
    "NewNetwork",
    "Settings",
    "StageSettings",
    "UsedCluster",
    "audit_trail",
    "build",
    "cluster",
    "deploy_stage",
    "existing_network",
    "new_network",
    "pipeline",
    "pull_request_checks",
    "registry",
    "vpc_endpoints",
]
