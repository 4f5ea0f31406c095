"""The account in memory: clients are boto3's own, and a test can disturb each call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from schedules.plays import LATER, prepared
from schedules.shop import NAME, ROLLING, STATE_KEY, Shop
from standin import memory


@pytest.fixture(autouse=True)
def account_in_memory() -> Iterator[None]:
    with memory.installed():
        yield


@pytest.fixture
def shop() -> Shop:
    return prepared(ROLLING, True, LATER).copy()


def write(shop: Shop, how: str, retried: bool = True) -> tuple[int, BaseException | None]:
    """How often a disturbed write is performed, and what is raised."""
    before = shop.account.dynamodb.put_item
    done: list[Any] = []

    def put_item(params: Any) -> dict[str, Any]:
        done.append(params)
        return before(params)

    shop.account.dynamodb.put_item = put_item  # type: ignore[method-assign]
    client = boto3.client("dynamodb", config=Config(retries={"total_max_attempts": 6 if retried else 1}))
    shop.at("me", 1, how)
    process = shop.account.scheduler.spawn("me", lambda: client.put_item(TableName=NAME, Item=STATE_KEY))
    shop.run()
    return len(done), process.error


@pytest.mark.parametrize(
    ("how", "times", "error"),
    [
        ("killed before", 0, "Killed"),
        ("killed after", 1, "Killed"),
        ("throttled", 0, "ThrottlingException"),
        ("fault after", 1, "InternalFailure"),
        ("twice", 2, ""),
    ],
)
def test_a_call_is_disturbed_as_specified(shop: Shop, how: str, times: int, error: str) -> None:
    done, raised = write(shop, how)
    assert done == times
    assert error in repr(raised)
    assert (raised is None) == (error == "")


def test_a_client_without_retries_sends_nothing_twice(shop: Shop) -> None:
    assert write(shop, "twice", retried=False) == (1, None)


def test_errors_are_the_clients_own_classes(shop: Shop) -> None:
    client = boto3.client("dynamodb")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_item(TableName="other", Key=STATE_KEY)


def test_a_parameter_that_the_model_does_not_have_is_an_error_after_many_calls_too(shop: Shop) -> None:
    ecs = boto3.client("ecs")
    for _ in range(400):  # most of the calls that were often made alike are not checked again
        ecs.describe_services(cluster="cluster", services=[NAME])
    with pytest.raises(AssertionError, match="Unknown parameter"):
        ecs.describe_services(cluster="cluster", services=[NAME], nonsense=1)


def test_a_copy_of_an_account_is_independent(shop: Shop) -> None:
    shop.do(lambda: shop.release(2))
    other = prepared(ROLLING, True, LATER).copy()
    assert {shop.number_of(image) for image, _ in shop.running()} == {2}
    assert {other.number_of(image) for image, _ in other.running()} == {1}


def test_a_schedule_is_deterministic() -> None:
    traces = [trace_with_an_up() for _ in range(2)]
    assert traces[0] == traces[1]


def test_a_deadlock_is_an_error(shop: Shop) -> None:
    shop.account.scheduler.spawn("me", lambda: shop.account.scheduler.wait(lambda: False))
    with pytest.raises(memory.Stuck, match="wait for each other"):
        shop.run()
    shop.account.scheduler.processes.clear()


def trace_with_an_up() -> list[tuple[str, str, float]]:
    shop = prepared(ROLLING, True, LATER).copy()
    shop.at("release", 30, lambda: void(shop.up(2)))
    shop.do(lambda: shop.release(2))
    return [(made.caller, made.operation, round(made.time, 2)) for made in shop.account.traced]


def void(_: object) -> None:
    """Discards the result."""
