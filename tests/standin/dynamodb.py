"""Amazon DynamoDB, as far as the release state needs it: tables of items, conditional writes, transactions.

A rule names the AWS page it is based on (API: amazondynamodb/latest/APIReference, DG: amazondynamodb/latest/
developerguide); UNCONFIRMED marks what no page documents. All reads are strongly consistent. Not here: indexes, Scan,
projections, capacity, records of streams. Moto's backend is not used because each transaction copies all of its
tables, and because it has no client request tokens.
"""

import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from standin.api import ACCOUNT, REGION, AwsError, Params, plain_copy
from standin.clock import Clock

Item = dict[str, Params]
Values = tuple[dict[str, str], Item]
"""Expression attribute names and values."""
Condition = Callable[[Item, Values], Any]

TOKEN_SECONDS = 600.0  # API API_TransactWriteItems: a client request token is valid for 10 minutes
FAILED = "The conditional request failed"
PAGE_ITEMS = 100
"""DynamoDB's pages have up to 1 MB; here they have up to this many items."""


@dataclass
class Table:
    shown: Params
    """As DescribeTable returns it."""
    items: dict[tuple[str, ...], Item] = field(default_factory=dict)

    @property
    def keys(self) -> list[str]:
        """Names of the partition key and, if there is one, of the sort key."""
        return [each["AttributeName"] for each in self.shown["KeySchema"]]

    def key(self, attributes: Item) -> tuple[str, ...]:
        """API API_PutItem: each key attribute must be present and have the type that the table defines."""
        types = {each["AttributeName"]: each["AttributeType"] for each in self.shown["AttributeDefinitions"]}
        for name in self.keys:
            if [*attributes.get(name, {})] != [types[name]]:
                raise _invalid(f"One or more parameter values were invalid: Missing the key {name} in the item")
            if attributes[name][types[name]] == "":
                # DG HowItWorks.NamingRulesDataTypes: a key attribute may not be empty.
                raise _invalid(f"One or more parameter values are not valid. Empty value for the key {name}")
        return tuple(json.dumps(attributes[name]) for name in self.keys)


class DynamoDb:
    def __init__(self, clock: Clock) -> None:
        self.tables: dict[str, Table] = {}
        """By name; a test may read and change items in place, as a user of the console does."""
        self._clock = clock
        self._tokens: dict[str, tuple[float, str]] = {}
        self._lock = threading.RLock()

    # Tables

    def create_table(self, params: Params) -> Params:
        name = params["TableName"]
        if name in self.tables:  # API API_CreateTable
            raise AwsError("ResourceInUseException", f"Table already exists: {name}")
        now, arn = self._clock.now(), f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}"
        shown: Params = {"TableName": name, "TableArn": arn, "TableStatus": "ACTIVE", "CreationDateTime": now}
        shown |= {key: params[key] for key in ("KeySchema", "AttributeDefinitions")}
        shown["DeletionProtectionEnabled"] = params.get("DeletionProtectionEnabled", False)
        if params.get("StreamSpecification", {}).get("StreamEnabled"):
            # API API_TableDescription: the label is a timestamp in ISO 8601, and part of the stream's ARN.
            label = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
            shown |= {"StreamSpecification": params["StreamSpecification"]}
            shown |= {"LatestStreamLabel": label, "LatestStreamArn": f"{arn}/stream/{label}"}
        self.tables[name] = Table(shown)
        return {"TableDescription": plain_copy(shown)}

    def describe_table(self, params: Params) -> Params:
        table = self._table(params)
        return {"Table": plain_copy(table.shown) | {"ItemCount": len(table.items)}}

    def update_table(self, params: Params) -> Params:
        shown = self._table(params).shown
        shown |= {key: params[key] for key in ("DeletionProtectionEnabled",) if key in params}
        return {"TableDescription": plain_copy(shown)}

    def delete_table(self, params: Params) -> Params:
        table = self._table(params)
        if table.shown["DeletionProtectionEnabled"]:  # DG WorkingWithTables.Basics, deletion protection
            arn = table.shown["TableArn"]
            raise _invalid(f"Resource cannot be deleted as it is currently protected against deletion: {arn}")
        del self.tables[params["TableName"]]
        return {"TableDescription": table.shown | {"TableStatus": "DELETING"}}

    def _table(self, params: Params) -> Table:
        name = params["TableName"].rpartition("/")[2]
        if name not in self.tables:
            raise AwsError("ResourceNotFoundException", f"Requested resource not found: Table: {name} not found")
        return self.tables[name]

    # Items

    def get_item(self, params: Params) -> Params:
        with self._lock:
            table = self._table(params)
            found = table.items.get(table.key(params["Key"]))
            return {} if found is None else {"Item": plain_copy(found)}

    def put_item(self, params: Params) -> Params:
        with self._lock:
            return self._write_one("Put", params)

    def delete_item(self, params: Params) -> Params:
        with self._lock:
            return self._write_one("Delete", params)

    def _write_one(self, kind: str, params: Params) -> Params:
        key, before = self._checked(kind, params)
        if not _holds(params, before):
            raise AwsError("ConditionalCheckFailedException", FAILED, **_old(params, before))
        self._write(kind, params, key)
        wanted = params.get("ReturnValues") == "ALL_OLD" and before is not None
        return {"Attributes": plain_copy(before)} if wanted else {}

    def transact_write_items(self, params: Params) -> Params:
        """All or nothing: API API_TransactWriteItems. Requests never overlap here, so transactions never conflict."""
        with self._lock:
            now, token = self._clock.now(), params.get("ClientRequestToken", "")
            text = json.dumps(params["TransactItems"], sort_keys=True)
            sent, known = self._tokens.get(token, (-TOKEN_SECONDS, ""))
            if token and now < sent + TOKEN_SECONDS:
                if known == text:  # "multiple identical calls have the same effect as one single call"
                    return {}
                message = "The request uses the same client token as a previous, but non-identical request."
                raise AwsError("IdempotentParameterMismatchException", message)
            writes = [
                (kind, of, *self._checked(kind, of)) for each in params["TransactItems"] for kind, of in each.items()
            ]
            places = {(of["TableName"], key) for _, of, key, _ in writes}
            if len(places) < len(writes):
                raise _invalid("Transaction request cannot include multiple operations on one item")
            met = [_holds(of, before) for _, of, _, before in writes]
            if not all(met):
                raise _cancelled([(of, before, ok) for (_, of, _, before), ok in zip(writes, met, strict=True)])
            for kind, of, key, _ in writes:
                self._write(kind, of, key)
            if token:
                self._tokens[token] = now, text
            return {}

    def _checked(self, kind: str, params: Params) -> tuple[tuple[str, ...], Item | None]:
        """The key of the item that is written, and the item that exists."""
        if kind not in ("Put", "Delete", "ConditionCheck"):
            raise AwsError("UnsupportedOperation", f"not in the stand-in: {kind} in DynamoDB")
        table = self._table(params)
        key = table.key(params["Item"] if kind == "Put" else params["Key"])
        return key, table.items.get(key)

    def _write(self, kind: str, params: Params, key: tuple[str, ...]) -> None:
        items = self._table(params).items
        if kind == "Put":
            items[key] = plain_copy(params["Item"])
        elif kind == "Delete":
            items.pop(key, None)

    def query(self, params: Params) -> Params:
        """By one partition key, in the order of the sort key: API API_Query."""
        with self._lock:
            table = self._table(params)
            found = [item for item in table.items.values() if _true(params["KeyConditionExpression"], item, params)]
        if len(table.keys) == 2:
            found.sort(key=lambda item: _comparable(item[table.keys[1]]))
        found = found if params.get("ScanIndexForward", True) else found[::-1]
        keys = [{name: item[name] for name in table.keys} for item in found]
        start = keys.index(params["ExclusiveStartKey"]) + 1 if params.get("ExclusiveStartKey") in keys else 0
        end = start + min(params.get("Limit", PAGE_ITEMS), PAGE_ITEMS)
        page = plain_copy(found[start:end])
        # API API_Query: there is a last key whenever a page is full, even if nothing comes after it.
        full = end < len(found) or len(page) == params.get("Limit")
        last = {"LastEvaluatedKey": keys[min(end, len(keys)) - 1]} if full else {}
        if "FilterExpression" in params:
            page = [item for item in page if _true(params["FilterExpression"], item, params)]
        return {"Items": page, "Count": len(page), "ScannedCount": len(found[start:end]), **last}


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationException", message)


def _cancelled(writes: list[tuple[Params, Item | None, bool]]) -> AwsError:
    """API API_TransactWriteItems: reasons in the order of the items, "None" for those that did not fail."""
    reasons: list[Params] = [
        {"Code": "None"} if met else {"Code": "ConditionalCheckFailed", "Message": FAILED, **_old(params, before)}
        for params, before, met in writes
    ]
    codes = ", ".join(reason["Code"] for reason in reasons)
    message = f"Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]"
    return AwsError("TransactionCanceledException", message, CancellationReasons=reasons)


def _old(params: Params, before: Item | None) -> Params:
    requested = params.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
    return {"Item": plain_copy(before)} if requested and before is not None else {}


# Expressions: DG Expressions.OperatorsAndFunctions


def _holds(params: Params, item: Item | None) -> bool:
    text = params.get("ConditionExpression")
    return text is None or _true(text, item or {}, params)


def _true(text: str, item: Item, params: Params) -> bool:
    given = params.get("ExpressionAttributeNames", {}), params.get("ExpressionAttributeValues", {})
    condition, used = _parsed(text)
    for name in used:
        if name not in (given[0] if name.startswith("#") else given[1]):
            raise _invalid(f"Invalid expression: An expression attribute used in it is not defined: {name}")
    return bool(condition(item, given))


@lru_cache
def _parsed(text: str) -> tuple[Condition, frozenset[str]]:
    """The predicate of an expression, and the placeholders in it."""
    tokens = re.findall(r"<>|<=|>=|[=<>(),]|[\w.:#\-]+", text)
    reader = _Reader(tokens)
    condition = reader.either()
    if reader.rest:
        raise _invalid(f"Invalid expression: Syntax error; token: {reader.rest[0]}")
    return condition, frozenset(token for token in tokens if token[0] in "#:")


class _Reader:
    """Recursive descent: OR, then AND, then NOT, then comparisons and functions."""

    def __init__(self, tokens: list[str]) -> None:
        self.rest = tokens

    def _take(self, *wanted: str) -> str:
        """The next token if it is one of these (any, if none are given), or an empty string."""
        if self.rest and (not wanted or self.rest[0].upper() in wanted):
            token, *self.rest = self.rest
            return token
        return ""

    def _need(self, wanted: str) -> None:
        if not self._take(wanted):
            raise _invalid(f"Invalid expression: Syntax error; expected {wanted}")

    def either(self) -> Condition:
        parts = [self._all()]
        while self._take("OR"):
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else lambda item, given: any(part(item, given) for part in parts)

    def _all(self) -> Condition:
        parts = [self._one()]
        while self._take("AND"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else lambda item, given: all(part(item, given) for part in parts)

    def _one(self) -> Condition:
        if self._take("NOT"):
            inner = self._one()
            return lambda item, given: not inner(item, given)
        if self._take("("):
            condition = self.either()
            self._need(")")
            return condition
        if len(self.rest) > 1 and self.rest[1] == "(":
            return self._function()
        left = self._operand()
        if self._take("BETWEEN"):
            low = self._operand()
            self._need("AND")
            high = self._operand()
            return lambda item, given: (
                _compare(low, left, item, given, "<=") and _compare(left, high, item, given, "<=")
            )
        operator = self._take("=", "<>", "<", "<=", ">", ">=")
        if not operator:
            raise _invalid(f"Invalid expression: Syntax error; token: {[*self.rest, '<EOF>'][0]}")
        right = self._operand()
        return lambda item, given: _compare(left, right, item, given, operator)

    def _function(self) -> Condition:
        name = self._take()
        self._need("(")
        path = self._operand()
        argument = self._operand() if self._take(",") else None
        self._need(")")
        match name, argument:
            case "attribute_exists", None:
                return lambda item, given: path(item, given) is not None
            case "attribute_not_exists", None:
                return lambda item, given: path(item, given) is None
            case "begins_with", other if other:
                return lambda item, given: _text(path(item, given)).startswith(_text(other(item, given)))
        raise AwsError("UnsupportedOperation", f"not in the stand-in: {name} in DynamoDB")

    def _operand(self) -> Condition:
        name = self._take()
        if not re.fullmatch(r"[#:]?[\w.\-]+", name):
            raise _invalid(f"Invalid expression: Syntax error; token: {name or '<EOF>'}")
        if name.startswith(":"):
            return lambda item, given: given[1][name]
        return lambda item, given: item.get(given[0].get(name, name))


def _compare(left: Condition, right: Condition, item: Item, given: Values, operator: str) -> bool:
    """ "If the types differ, or an attribute is missing, a comparison is false", except for `<>`."""
    a, b = left(item, given), right(item, given)
    if a is None or b is None or [*a] != [*b]:
        return operator == "<>" and a is not b
    x, y = _comparable(a), _comparable(b)
    return bool({"=": x == y, "<>": x != y}[operator] if operator in ("=", "<>") else _ordered(x, y, operator))


def _ordered(x: Any, y: Any, operator: str) -> bool:
    return bool({"<": x < y, "<=": x <= y, ">": x > y, ">=": x >= y}[operator])


def _comparable(value: Params) -> Any:
    [(kind, content)] = value.items()
    # DG HowItWorks.NamingRulesDataTypes: numbers as numbers, strings by the bytes of UTF-8.
    return Decimal(content) if kind == "N" else content.encode() if kind == "S" else content


def _text(value: Params | None) -> str:
    return str(next(iter(value.values()))) if value else "\0"


def history(table: Table, partition: str) -> Iterator[Item]:
    """Items of one partition, in the order of the sort key."""
    [first, second] = table.keys
    found = [item for item in table.items.values() if item[first] == {"S": partition}]
    return iter(sorted(found, key=lambda item: _comparable(item[second])))
