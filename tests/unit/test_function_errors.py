"""Which errors are temporary."""

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
    ReadTimeoutError,
)
from slipway.release.function.errors import may_be_too_new, passes
from unit.releases import client_error


@pytest.mark.parametrize(
    ("error", "does"),
    [
        (client_error("ThrottlingException"), True),
        (client_error("Throttling"), True),
        (client_error("ThrottledException"), True),
        (client_error("TooManyRequestsException", status=429), True),
        (client_error("RequestLimitExceeded"), True),
        (client_error("SlowDown", status=503), True),
        (client_error("LimitExceededException"), True),
        (client_error("InternalFailure", status=500), True),
        (client_error("ServiceUnavailable", status=503), True),
        (client_error("AnythingElse", status=499), False),
        (client_error("AccessDeniedException"), False),
        (client_error("InvalidParameterException", "Throttling"), False),
        (client_error("AccountLimitExceededException"), False),
        (client_error("ConditionalCheckFailedException"), False),
        (client_error("ClusterNotFoundException"), False),
        (ClientError({"Error": {"Code": "Unknown"}}, "Call"), False),  # without any metadata
        (ConnectTimeoutError(endpoint_url="https://x"), True),
        (ReadTimeoutError(endpoint_url="https://x"), True),
        (EndpointConnectionError(endpoint_url="https://x"), True),
        (NoCredentialsError(), False),
        (ParamValidationError(report="x"), False),
        (RuntimeError("Throttling"), False),
        (KeyError("x"), False),
    ],
    ids=lambda value: value if isinstance(value, bool) else f"{type(value).__name__} {value}"[:60],
)
def test_throttling_interruptions_and_faults_of_aws_are_temporary(error: Exception, does: bool) -> None:
    assert passes(error) is does


UNABLE = "Unable to assume the configured ECS Infrastructure Role. Verify that the role exists."


@pytest.mark.parametrize(
    ("error", "may"),
    [
        (client_error("AccessDeniedException"), True),
        (client_error("AccessDenied"), True),
        (client_error("InvalidParameterException", UNABLE), True),
        (client_error("ClientException", UNABLE), True),
        (client_error("InvalidParameterException", "ECS was unable to assume the role"), True),
        (client_error("InvalidParameterException", "Invalid subnet"), False),
        (client_error("InvalidParameterException"), False),
        (client_error("ServerException", UNABLE), False),
        (client_error("UnauthorizedOperation"), False),
        (RuntimeError("AccessDenied"), False),
    ],
    ids=lambda value: value if isinstance(value, bool) else f"{type(value).__name__} {value}"[:90],
)
def test_an_unknown_role_or_a_missing_permission_may_be_too_new(error: Exception, may: bool) -> None:
    assert may_be_too_new(error) is may
