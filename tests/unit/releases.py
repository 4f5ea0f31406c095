"""What the tests of the release function share: one service, one release, and clients without a network."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cache
from typing import Any

import boto3
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from slipway.release.function.contract import Claim, Image, Migration, Settings, State, Verified
from slipway.release.function.state import StateTable

URL = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/shop"
DIGEST, OLD_DIGEST = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
NEW, OLD = Image(URL, DIGEST), Image(URL, OLD_DIGEST)
NOW = 1_700_000_000.0
SETTINGS = Settings(
    template="arn:aws:ecs:eu-west-1:123456789012:task-definition/shop-dev-template:1",
    minimum=2,
    maximum=2,
    deadline_minutes=10,
    subnets=["subnet-3", "subnet-4"],
    security_groups=["sg-1"],
    load_balancers=[],
    target_groups=[],
    deployment={"strategy": "ROLLING", "maximumPercent": 200},
    availability_zone_rebalancing="ENABLED",
)
CLAIM = Claim(
    image=NEW, commit="c0ffee", execution="execution-1", pipeline="shop", action="action-1", began=NOW, since=NOW
)
VERIFIED = Verified(OLD, "0ff1ce", "execution-0", [(OLD_DIGEST, 0)])
MIGRATION = Migration(
    image=NEW,
    action="action-1",
    intended=NOW,
    definition="arn:aws:ecs:eu-west-1:123456789012:task-definition/shop-dev-migration:3",
    subnets=["subnet-3", "subnet-4"],
    security_groups=["sg-1"],
)
STATE = State(version=7, settings=SETTINGS, claim=CLAIM, verified=VERIFIED)


@cache
def client(service: str) -> Any:
    """A real client, whose requests and responses botocore checks; each test stubs its calls."""
    return boto3.client(
        service, region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="s", aws_session_token="t"
    )


def stubbed(service: str) -> AbstractContextManager[Any]:
    """Responds to the added calls, in their order, and to no others."""
    stubber: AbstractContextManager[Any] = Stubber(client(service))
    return stubber


def client_error(code: str, message: str = "", status: int = 400) -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "Call")


class KeptTable(StateTable):
    """A table in memory that records its history."""

    def __init__(self, state: State = STATE) -> None:
        super().__init__(None, "shop-dev-release")
        self.state = state
        self.history: list[Claim] = []

    def read(self) -> State:
        return self.state

    def write(self, before: State, after: State, *ended: Claim) -> State | None:
        if before.version != self.state.version:
            return None
        self.state = replace(after, version=before.version + 1)
        self.history += ended
        return self.state
