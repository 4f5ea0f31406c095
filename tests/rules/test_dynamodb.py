"""The rules of the stand-in for DynamoDB, through a real client."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from standin import tables
from standin.api import REGION, Api, AwsError
from standin.clock import Clock
from standin.dynamodb import DynamoDb
from standin.functions import Functions
from standin.lambdas import FUNCTION
from standin.provider import Aws, Resource

KEYS = [{"AttributeName": "item", "KeyType": "HASH"}, {"AttributeName": "at", "KeyType": "RANGE"}]
TYPES = [{"AttributeName": "item", "AttributeType": "S"}, {"AttributeName": "at", "AttributeType": "S"}]
STATE = {"item": {"S": "release"}, "at": {"S": "-"}}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def api(clock: Clock) -> Iterator[Api]:
    with Api(clock) as made:
        yield made


def client(api: Api, service: str) -> Any:
    keys = {key.lower(): value for key, value in api.credentials_for("somebody").items()}
    return boto3.client(service, endpoint_url=api.url, region_name=REGION, **keys)


@pytest.fixture
def dynamodb(api: Api, clock: Clock) -> Any:
    api.register("dynamodb", DynamoDb(clock))
    made = client(api, "dynamodb")
    made.create_table(TableName="state", KeySchema=KEYS, AttributeDefinitions=TYPES, BillingMode="PAY_PER_REQUEST")
    return made


def state(version: int, **more: str) -> dict[str, Any]:
    return {**STATE, "version": {"N": str(version)}, **{name: {"S": value} for name, value in more.items()}}


def put(version: int, before: int | None, **more: str) -> dict[str, Any]:
    condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(version)"}
    if before is not None:
        condition = {"ConditionExpression": "version = :v", "ExpressionAttributeValues": {":v": {"N": str(before)}}}
    return {"Put": {"TableName": "state", "Item": state(version, **more), **condition}}


def test_an_item_is_read_as_it_was_written(dynamodb: Any) -> None:
    dynamodb.put_item(TableName="state", Item=state(1, claim="x"))
    assert dynamodb.get_item(TableName="state", Key=STATE, ConsistentRead=True)["Item"] == state(1, claim="x")
    assert "Item" not in dynamodb.get_item(TableName="state", Key={**STATE, "at": {"S": "other"}})


def test_a_missing_table_has_its_own_error(dynamodb: Any) -> None:
    with pytest.raises(dynamodb.exceptions.ResourceNotFoundException, match="Table: other not found"):
        dynamodb.get_item(TableName="other", Key=STATE)


def test_a_transaction_writes_all_items_or_none(dynamodb: Any) -> None:
    entry = {"item": {"S": "history"}, "at": {"S": "1"}}
    dynamodb.transact_write_items(TransactItems=[put(1, None), {"Put": {"TableName": "state", "Item": entry}}])
    other = {"item": {"S": "history"}, "at": {"S": "2"}}
    with pytest.raises(dynamodb.exceptions.TransactionCanceledException) as error:
        dynamodb.transact_write_items(TransactItems=[{"Put": {"TableName": "state", "Item": other}}, put(2, 7)])
    assert [reason["Code"] for reason in error.value.response["CancellationReasons"]] == [
        "None",
        "ConditionalCheckFailed",
    ]
    assert "[None, ConditionalCheckFailed]" in str(error.value)
    assert dynamodb.get_item(TableName="state", Key=STATE)["Item"] == state(1)
    assert "Item" not in dynamodb.get_item(TableName="state", Key=other)


def test_a_cancelled_transaction_returns_the_existing_item(dynamodb: Any) -> None:
    dynamodb.transact_write_items(TransactItems=[put(1, None, claim="mine")])
    write = put(2, None)
    write["Put"]["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
    with pytest.raises(dynamodb.exceptions.TransactionCanceledException) as error:
        dynamodb.transact_write_items(TransactItems=[write])
    assert error.value.response["CancellationReasons"][0]["Item"] == state(1, claim="mine")


def test_a_transaction_sent_twice_with_the_same_token_is_applied_once(dynamodb: Any, clock: Clock) -> None:
    dynamodb.transact_write_items(TransactItems=[put(1, None)], ClientRequestToken="token")
    dynamodb.transact_write_items(TransactItems=[put(1, None)], ClientRequestToken="token")
    with pytest.raises(dynamodb.exceptions.IdempotentParameterMismatchException):
        dynamodb.transact_write_items(TransactItems=[put(2, 1)], ClientRequestToken="token")
    clock.sleep(601)
    with pytest.raises(dynamodb.exceptions.TransactionCanceledException):
        dynamodb.transact_write_items(TransactItems=[put(1, None)], ClientRequestToken="token")


def test_two_operations_on_one_item_are_rejected(dynamodb: Any) -> None:
    with pytest.raises(dynamodb.exceptions.ClientError, match="multiple operations on one item"):
        dynamodb.transact_write_items(TransactItems=[put(1, None), put(2, None)])


def test_the_condition_of_a_single_write_is_checked(dynamodb: Any) -> None:
    dynamodb.put_item(TableName="state", Item=state(1))
    with pytest.raises(dynamodb.exceptions.ConditionalCheckFailedException):
        dynamodb.put_item(
            TableName="state",
            Item=state(2),
            ConditionExpression="attribute_not_exists(#i)",
            ExpressionAttributeNames={"#i": "item"},
        )
    with pytest.raises(dynamodb.exceptions.ConditionalCheckFailedException):
        dynamodb.delete_item(
            TableName="state",
            Key=STATE,
            ConditionExpression="version > :v",
            ExpressionAttributeValues={":v": {"N": "9"}},
        )
    dynamodb.delete_item(TableName="state", Key=STATE)
    assert "Item" not in dynamodb.get_item(TableName="state", Key=STATE)


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("attribute_exists(claim)", True),
        ("attribute_not_exists(claim)", False),
        ("version = :ten", True),  # as numbers: 10.0 equals 10
        ("version <> :ten", False),
        ("version < :ten OR claim = :x", True),
        ("version < :ten AND claim = :x", False),
        ("NOT (version < :ten AND claim = :x)", True),
        ("begins_with(claim, :x)", True),
        ("version BETWEEN :ten AND :ten", True),
        ("missing = :x", False),
        ("missing <> :x", True),
        ("claim = :ten", False),  # a different type
    ],
)
def test_conditions_follow_the_developer_guide(dynamodb: Any, condition: str, holds: bool) -> None:
    values = {":ten": {"N": "10.0"}, ":x": {"S": "x"}}
    dynamodb.put_item(TableName="state", Item=state(10, claim="x"))
    used = {name: value for name, value in values.items() if name in condition}
    try:
        dynamodb.put_item(
            TableName="state",
            Item=state(11),
            ConditionExpression=condition,
            **({"ExpressionAttributeValues": used} if used else {}),
        )
    except dynamodb.exceptions.ConditionalCheckFailedException:
        assert not holds
    else:
        assert holds


@pytest.mark.parametrize("condition", ["version =", "version = :no", "(version = :v", "version = :v claim"])
def test_an_invalid_condition_is_rejected(dynamodb: Any, condition: str) -> None:
    with pytest.raises(dynamodb.exceptions.ClientError, match="Invalid expression"):
        dynamodb.put_item(
            TableName="state",
            Item=state(1),
            ConditionExpression=condition,
            ExpressionAttributeValues={":v": {"N": "1"}},
        )


def test_a_query_returns_items_by_sort_key_and_in_pages(dynamodb: Any) -> None:
    for at in ("b", "c", "a"):
        dynamodb.put_item(TableName="state", Item={"item": {"S": "history"}, "at": {"S": at}})
    dynamodb.put_item(TableName="state", Item=state(1))
    query = {"TableName": "state", "KeyConditionExpression": "#i = :i", "ExpressionAttributeNames": {"#i": "item"}}
    query["ExpressionAttributeValues"] = {":i": {"S": "history"}}
    newest = dynamodb.query(**query, ScanIndexForward=False, Limit=2)
    assert [item["at"]["S"] for item in newest["Items"]] == ["c", "b"]
    assert newest["LastEvaluatedKey"] == {"item": {"S": "history"}, "at": {"S": "b"}}
    every = dynamodb.get_paginator("query").paginate(**query, PaginationConfig={"PageSize": 2})
    assert [item["at"]["S"] for page in every for item in page["Items"]] == ["a", "b", "c"]


def test_a_protected_table_cannot_be_deleted(clock: Clock) -> None:
    dynamodb = DynamoDb(clock)
    live = tables.Table(dynamodb)
    attributes = [{"name": "item", "type": "S"}, {"name": "at", "type": "S"}]
    inputs: dict[str, Any] = {"name": "state", "hashKey": "item", "rangeKey": "at", "attributes": attributes}
    inputs |= {"billingMode": "PAY_PER_REQUEST", "deletionProtectionEnabled": True}
    id, outputs = live.create("logical", inputs)
    assert (id, outputs) == ("state", {"arn": f"arn:aws:dynamodb:{REGION}:123456789012:table/state"})
    with pytest.raises(RuntimeError, match="protected against deletion"):
        live.delete("state", inputs)
    live.update("state", inputs, inputs | {"deletionProtectionEnabled": False})
    live.delete("state", inputs)
    assert live.read("state", inputs) is None


def test_a_table_that_is_created_again_has_another_stream(clock: Clock) -> None:
    live = tables.Table(DynamoDb(clock))
    inputs: dict[str, Any] = {"name": "state", "hashKey": "item", "attributes": [{"name": "item", "type": "S"}]}
    inputs |= {"streamEnabled": True, "streamViewType": "KEYS_ONLY"}
    first = live.create("logical", inputs)[1]
    live.delete("state", inputs)
    clock.sleep(1)
    second = live.create("logical", inputs)[1]
    assert first["streamLabel"] == "2026-01-01T00:00:00.000"
    assert second["streamArn"] == f"{second['arn']}/stream/2026-01-01T00:00:01.000"


def test_a_function_reads_its_own_configuration(api: Api) -> None:
    aws = Aws()
    inputs: dict[str, Any] = {"name": "f", "role": "arn:aws:iam::123456789012:role/r", "handler": "m.h"}
    inputs["environment"] = {"variables": {"A": "1"}}
    arn, modified = f"arn:aws:lambda:{REGION}:123456789012:function:f", "2026-01-01T00:00:00.001+0000"
    aws.resources["urn"] = Resource("urn", FUNCTION, "f", inputs, {"arn": arn, "lastModified": modified}, 1)
    api.register("lambda", Functions(aws))
    functions = client(api, "lambda")
    found = functions.get_function_configuration(FunctionName="f")
    assert found["Environment"]["Variables"] == {"A": "1"}
    assert (found["FunctionName"], found["LastModified"]) == ("f", modified)
    assert functions.get_function_configuration(FunctionName=arn)["FunctionName"] == "f"
    with pytest.raises(functions.exceptions.ResourceNotFoundException, match="function:other"):
        functions.get_function_configuration(FunctionName="other")


def test_reads_and_writes_take_microseconds(clock: Clock) -> None:
    """The schedules need hundreds of thousands of them."""
    import timeit

    dynamodb = DynamoDb(clock)
    dynamodb.create_table({"TableName": "state", "KeySchema": KEYS, "AttributeDefinitions": TYPES})
    dynamodb.transact_write_items({"TransactItems": [put(0, None)]})
    write = timeit.timeit(lambda: dynamodb.transact_write_items({"TransactItems": [put(0, 0)]}), number=200) / 200
    read = timeit.timeit(lambda: dynamodb.get_item({"TableName": "state", "Key": STATE}), number=200) / 200
    assert (read < 0.001, write < 0.003) == (True, True)  # tens of microseconds, and this machine may be busy
    with pytest.raises(AwsError, match="ResourceNotFoundException"):
        dynamodb.query({"TableName": "other", "KeyConditionExpression": "a = :a"})
    print(f"{read * 1e6:.0f} and {write * 1e6:.0f} us")
