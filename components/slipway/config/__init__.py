"""The stack file: its keys, how it is read, and the components that are created from it."""

from slipway.config.components import audit_trail, build, deploy_stage, pipeline, pull_request_checks, registry
from slipway.config.errors import ConfigurationError
from slipway.config.load import Settings, StageSettings
from slipway.config.network import ExistingNetwork, Network, NewNetwork, existing_network, new_network

__all__ = [
    "ConfigurationError",
    "ExistingNetwork",
    "Network",
    "NewNetwork",
    "Settings",
    "StageSettings",
    "audit_trail",
    "build",
    "deploy_stage",
    "existing_network",
    "new_network",
    "pipeline",
    "pull_request_checks",
    "registry",
]
