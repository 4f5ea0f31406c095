"""Classifies errors of AWS as temporary or permanent."""

from __future__ import annotations

from botocore.exceptions import ClientError, ConnectionError, HTTPClientError

NEW_RIGHTS_SECONDS = 180
"""How long a new role or permission may be denied: IAM is eventually consistent."""
THROTTLES = ("Throttl", "TooManyRequests", "RequestLimitExceeded", "SlowDown", "LimitExceededException")


class BadArtifact(RuntimeError):
    """The file of the build that names the image cannot be used."""


def advice(error: Exception) -> str:
    """What to do after a release that failed with this error."""
    if isinstance(error, BadArtifact):
        return "Correct what the build writes, and run a new build: a retry of the stage would get the same file."
    return "Fix the cause, then retry the stage."


def passes(error: Exception) -> bool:
    """Whether a call can be repeated because it was throttled, was interrupted, or met a fault in AWS."""
    if isinstance(error, ConnectionError | HTTPClientError):
        return True
    if not isinstance(error, ClientError):
        return False
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status >= 500 or any(error.response["Error"]["Code"].startswith(code) for code in THROTTLES)


def may_be_too_new(error: Exception) -> bool:
    """Whether the cause may be a role or permission that has not propagated yet.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_general.html#troubleshoot_general_eventual-consistency
    """
    if not isinstance(error, ClientError):
        return False
    code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
    if code.startswith("AccessDenied"):
        return True
    # ECS reports this for a role that it cannot assume yet: hashicorp/terraform-provider-aws#38538.
    return code in ("InvalidParameterException", "ClientException") and "unable to assume" in message.lower()


def sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."
