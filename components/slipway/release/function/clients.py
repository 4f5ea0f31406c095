"""AWS clients."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config


def client(service: str) -> Any:
    # The standard mode retries throttled and interrupted calls, with increasing delays.
    return boto3.client(service, config=Config(retries={"mode": "standard", "max_attempts": 6}))


def client_without_retries(service: str) -> Any:
    """For calls that must not be repeated without a check in between: a deployment that was superseded in the meantime
    would start again."""
    return boto3.client(service, config=Config(retries={"mode": "standard", "total_max_attempts": 1}))
