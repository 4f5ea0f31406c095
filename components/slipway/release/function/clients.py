"""Clients of AWS."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config


def client(service: str) -> Any:
    # The standard mode tries again, with growing waits, what was throttled or cut.
    return boto3.client(service, config=Config(retries={"mode": "standard", "max_attempts": 6}))


def client_without_retries(service: str) -> Any:
    """For what must not be sent twice without a look in between: a deployment that was overtaken meanwhile would start
    again."""
    return boto3.client(service, config=Config(retries={"mode": "standard", "total_max_attempts": 1}))
