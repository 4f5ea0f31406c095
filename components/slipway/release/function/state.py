"""The release state of an environment: one item of a DynamoDB table, and its history.

Each read is a strongly consistent snapshot, and each write is conditional on the version. The history of releases is
written in the same transaction as the state.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from .contract import JOB, Claim, Migration, Phase, Settings, State, Verified, decode, encode

KEY = {"item": {"S": "release"}, "at": {"S": "-"}}
PARTS: dict[str, Any] = {"settings": Settings, "claim": Claim, "verified": Verified, "migration": Migration}
PLAIN = ("rollout_after", "live_settings", "bounds", "other_bounds", "restart_after", "migrated")
CONFLICTS = ("TransactionConflict", "TransactionInProgress", "ThrottlingError", "ProvisionedThroughputExceeded")
ATTEMPTS = 8


class StateUnreadable(RuntimeError):
    """The item was edited manually, or written by a version that this one cannot read."""


class StateTable:
    def __init__(self, dynamodb: Any, table: str) -> None:
        self.dynamodb, self.table = dynamodb, table

    def read(self) -> State:
        answer = self.dynamodb.get_item(TableName=self.table, Key=KEY, ConsistentRead=True)
        return self._state(answer.get("Item", {}))

    def settings(self, state: State) -> Settings:
        """The settings, which only `pulumi up` writes."""
        if state.settings is None:
            raise RuntimeError(
                f"the table {self.table} holds no settings; run `pulumi up --refresh`, which writes them again"
            )
        return state.settings

    def write(self, before: State, after: State, *ended: Claim) -> State | None:
        """Replace the state `before` with `after`, and record ended claims in the history.

        Returns None if another run wrote in the meantime: read again, and decide again.
        """
        after = replace(after, version=before.version + 1)
        item = self._item(after)
        condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(version)"}
        if before.version:
            condition = {
                "ConditionExpression": "version = :before",
                "ExpressionAttributeValues": {":before": {"N": str(before.version)}},
            }
        put = {"TableName": self.table, "Item": item, "ReturnValuesOnConditionCheckFailure": "ALL_OLD", **condition}
        history = [{"Put": {"TableName": self.table, "Item": record(claim)}} for claim in ended]
        for _ in range(ATTEMPTS):
            try:
                self.dynamodb.transact_write_items(TransactItems=[{"Put": put}, *history])
                return after
            except self.dynamodb.exceptions.TransactionCanceledException as e:
                reasons = e.response.get("CancellationReasons", [])
                if any(reason.get("Code") in CONFLICTS for reason in reasons):
                    time.sleep(1)
                    continue
                # A write that was sent twice finds its own result.
                found: Any = next((reason["Item"] for reason in reasons if reason.get("Item")), {})
                return after if found == item else None
        return None

    def update(self, change: Callable[[State], State]) -> State:
        """Change the state, retrying on concurrent changes."""
        for _ in range(ATTEMPTS):
            before = self.read()
            after = change(before)
            written = before if after == before else self.write(before, after)
            if written is not None:
                return written
        raise RuntimeError(f"the release state in {self.table} changed {ATTEMPTS} times while it was to be written")

    # The revisions of jobs, which their state machines read

    def job(self, name: str) -> str:
        """ARN of the task definition that a job runs; empty if there is none."""
        answer = self.dynamodb.get_item(TableName=self.table, Key=job_key(name), ConsistentRead=True)
        return str(answer.get("Item", {}).get("taskDefinition", {}).get("S", ""))

    def set_job(self, name: str, task_definition: str) -> None:
        item = {**job_key(name), "taskDefinition": {"S": task_definition}}
        self.dynamodb.put_item(TableName=self.table, Item=item)

    def _item(self, state: State) -> dict[str, Any]:
        item: dict[str, Any] = {**KEY, "version": {"N": str(state.version)}}
        for name in PARTS:
            if (part := getattr(state, name)) is not None:
                item[name] = {"S": json.dumps(encode(part), sort_keys=True)}
        return item | {name: {"S": json.dumps(encode(getattr(state, name)))} for name in PLAIN}

    def _state(self, item: dict[str, Any]) -> State:
        try:
            values = {name: json.loads(item[name]["S"]) for name in (*PARTS, *PLAIN) if name in item}
            return decode(State, {**values, "version": int(item.get("version", {"N": "0"})["N"])})
        except (KeyError, TypeError, ValueError) as e:
            raise StateUnreadable(
                f"the release state in the table {self.table} cannot be read: {e}. If it was changed by hand, delete "
                "the item `release`; the next `pulumi up` or release makes it anew"
            ) from e


def job_key(name: str) -> dict[str, Any]:
    return {"item": {"S": JOB}, "at": {"S": name}}


def record(claim: Claim) -> dict[str, Any]:
    """An entry of the history, in plain attributes, so that one `aws` command can show it as a table."""
    values = {
        "result": "verified" if claim.phase is Phase.VERIFIED else "failed",
        "digest": claim.image.digest,
        "commit": claim.commit,
        "replaced": claim.replaced,
        "pipeline": claim.pipeline,
        "execution": claim.execution,
        "who": claim.who,
        "reason": claim.reason,
        "began": iso(claim.began),
        "ended": iso(time.time()),
    }
    key = {"item": {"S": "history"}, "at": {"S": f"{iso(claim.began)}#{claim.action}"}}
    return {**key, **{name: {"S": value} for name, value in values.items()}}


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def remember(slots: list[tuple[str, int]], digest: str, size: int) -> list[tuple[str, int]]:
    """Put `digest` first among the last `size` verified digests.

    A digest keeps its slot. A new one takes a free slot, or that of the oldest digest.
    """
    known = dict(slots)
    others = [(d, slot) for d, slot in slots if d != digest][: size - 1]
    free = sorted(set(range(size)) - {slot for _, slot in others})
    slot = known[digest] if known.get(digest) in free else free[0]
    return [(digest, slot), *others]
