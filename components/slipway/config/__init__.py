"""The stack file: its keys, how it is read, and the components that are created from it."""

from slipway.config.components import Network, audit_trail, build, deploy_stage, pipeline, pull_request_checks, registry
from slipway.config.errors import ConfigurationError
from slipway.config.load import Settings, StageSettings
from slipway.config.schema import ExistingNetwork, NewNetwork

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
    "pipeline",
    "pull_request_checks",
    "registry",
]
