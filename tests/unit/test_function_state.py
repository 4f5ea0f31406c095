"""The release state is one item that is written conditionally, with its history in the same transaction."""

import json
import random
import time
from dataclasses import replace
from typing import Any

import pytest
from slipway.release.function import state as module
from slipway.release.function.contract import Claim, Phase, State, encode
from slipway.release.function.state import ATTEMPTS, StateTable, StateUnreadable, iso, record, remember
from unit.releases import CLAIM, DIGEST, MIGRATION, NEW, NOW, OLD_DIGEST, SETTINGS, STATE, VERIFIED, client, stubbed

TABLE = "shop-dev-release"
KEY = {"item": {"S": "release"}, "at": {"S": "-"}}


def item(state: State) -> dict[str, Any]:
    """The item as it is in DynamoDB."""
    parts = {name: getattr(state, name) for name in ("settings", "claim", "verified", "migration")}
    return {
        **KEY,
        "version": {"N": str(state.version)},
        **{name: {"S": json.dumps(encode(part), sort_keys=True)} for name, part in parts.items() if part is not None},
        "rollout_after": {"S": json.dumps(state.rollout_after)},
        "live_settings": {"S": json.dumps(state.live_settings)},
        "bounds": {"S": json.dumps(state.bounds)},
        "other_bounds": {"S": json.dumps(state.other_bounds)},
        "restart_after": {"S": json.dumps(state.restart_after)},
        "migrated": {"S": json.dumps(state.migrated)},
    }


@pytest.fixture
def dynamodb() -> Any:
    with stubbed("dynamodb") as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> StateTable:
    monkeypatch.setattr(time, "sleep", slept.append)
    slept.clear()
    return StateTable(client("dynamodb"), TABLE)


slept: list[float] = []


def reads(dynamodb: Any, found: dict[str, Any]) -> None:
    answer = {"Item": found} if found else {}
    dynamodb.add_response("get_item", answer, {"TableName": TABLE, "Key": KEY, "ConsistentRead": True})


def put(state: State, before: int) -> dict[str, Any]:
    """The conditional write of a state that replaces version `before`."""
    condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(version)"}
    if before:
        condition = {
            "ConditionExpression": "version = :before",
            "ExpressionAttributeValues": {":before": {"N": str(before)}},
        }
    return {
        "Put": {
            "TableName": TABLE,
            "Item": item(state),
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            **condition,
        }
    }


def cancelled(dynamodb: Any, *reasons: dict[str, Any]) -> None:
    dynamodb.add_client_error(
        "transact_write_items",
        "TransactionCanceledException",
        modeled_fields={"CancellationReasons": list(reasons)},
    )


AFTER = replace(STATE, version=8, claim=replace(CLAIM, phase=Phase.TESTING))


# Reading


@pytest.mark.parametrize(
    "state",
    [
        State(),
        STATE,
        replace(STATE, rollout_after=NOW + 0.5, live_settings="5e77", bounds=(2, 6), restart_after=NOW),
        replace(STATE, other_bounds={"worker": (1, 3)}, migration=MIGRATION, migrated=[OLD_DIGEST]),
        replace(STATE, claim=None),
        replace(STATE, verified=None, settings=None),
    ],
    ids=["new", "plain", "scaled", "processes", "no claim", "first"],
)
def test_what_is_written_is_read_back(table: StateTable, dynamodb: Any, state: State) -> None:
    reads(dynamodb, item(state))
    assert table.read() == state


def test_a_new_table_is_empty(table: StateTable, dynamodb: Any) -> None:
    reads(dynamodb, {})
    assert table.read() == State()


def test_the_known_attributes_of_an_item_by_another_version_are_read(table: StateTable, dynamodb: Any) -> None:
    newer = {**item(STATE), "paused": {"BOOL": True}}
    newer["claim"] = {"S": json.dumps({**encode(CLAIM), "attempt": 2})}
    reads(dynamodb, newer)
    assert table.read() == STATE
    older = {
        key: value
        for key, value in item(STATE).items()
        if key not in ("bounds", "other_bounds", "live_settings", "rollout_after", "restart_after", "migrated")
    }
    reads(dynamodb, older)
    assert table.read() == STATE


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"claim": {"S": "{"}}, "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ({"claim": {"S": "{}"}}, "State.claim: Claim lacks image"),
        ({"claim": {"N": "1"}}, "'S'"),
        ({"version": {"N": "x"}}, "invalid literal for int() with base 10: 'x'"),
        ({"bounds": {"S": "[1]"}}, "State.bounds: expected tuple, got [1]"),
        ({"rollout_after": {"S": '"x"'}}, "State.rollout_after: expected float, got 'x'"),
    ],
)
def test_an_item_that_was_changed_by_hand_is_an_error_with_a_remedy(
    table: StateTable, dynamodb: Any, changed: dict[str, Any], why: str
) -> None:
    reads(dynamodb, {**item(STATE), **changed})
    with pytest.raises(StateUnreadable) as error:
        table.read()
    assert str(error.value) == (
        f"the release state in the table {TABLE} cannot be read: {why}. If it was changed by hand, delete the item "
        "`release`; the next `pulumi up` or release makes it anew"
    )


def test_without_settings_nothing_can_be_deployed(table: StateTable) -> None:
    assert table.settings(STATE) == SETTINGS
    with pytest.raises(RuntimeError) as error:
        table.settings(replace(STATE, settings=None))
    assert str(error.value) == (
        f"the table {TABLE} holds no settings; run `pulumi up --refresh`, which writes them again"
    )


# Writing


@pytest.mark.parametrize("before", [0, 7])
def test_a_write_succeeds_only_if_nobody_else_has_written_since(table: StateTable, dynamodb: Any, before: int) -> None:
    after = replace(AFTER, version=before + 1)
    dynamodb.add_response("transact_write_items", {}, {"TransactItems": [put(after, before)]})
    assert table.write(replace(STATE, version=before), replace(after, version=before)) == after


def test_the_history_of_an_ended_claim_is_in_the_same_transaction(
    table: StateTable, dynamodb: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW + 60)
    ended = [replace(CLAIM, phase=Phase.FAILED, reason="It failed."), replace(CLAIM, action="action-0")]
    history = [{"Put": {"TableName": TABLE, "Item": record(claim)}} for claim in ended]
    dynamodb.add_response("transact_write_items", {}, {"TransactItems": [put(AFTER, 7), *history]})
    assert table.write(STATE, AFTER, *ended) == AFTER


def test_a_write_after_somebody_elses_has_no_effect(table: StateTable, dynamodb: Any) -> None:
    newer = replace(STATE, version=8)
    cancelled(dynamodb, {"Code": "ConditionalCheckFailed", "Item": item(newer)})
    assert table.write(STATE, AFTER) is None
    assert slept == []


def test_a_write_after_the_item_was_deleted_has_no_effect(table: StateTable, dynamodb: Any) -> None:
    cancelled(dynamodb, {"Code": "ConditionalCheckFailed"})
    assert table.write(STATE, AFTER) is None


def test_a_write_that_was_sent_twice_recognizes_its_own_result(table: StateTable, dynamodb: Any) -> None:
    cancelled(dynamodb, {"Code": "ConditionalCheckFailed", "Item": item(AFTER)}, {"Code": "None"})
    assert table.write(STATE, AFTER) == AFTER


@pytest.mark.parametrize(
    "code", ["TransactionConflict", "TransactionInProgress", "ThrottlingError", "ProvisionedThroughputExceeded"]
)
def test_a_conflicting_write_is_retried(table: StateTable, dynamodb: Any, code: str) -> None:
    cancelled(dynamodb, {"Code": "None"}, {"Code": code})
    cancelled(dynamodb, {"Code": code})
    dynamodb.add_response("transact_write_items", {}, {"TransactItems": [put(AFTER, 7)]})
    assert table.write(STATE, AFTER) == AFTER
    assert slept == [1, 1]


def test_a_write_fails_after_too_many_conflicts(table: StateTable, dynamodb: Any) -> None:
    for _ in range(ATTEMPTS):
        cancelled(dynamodb, {"Code": "TransactionConflict"})
    assert table.write(STATE, AFTER) is None


# Changing


class Contested(StateTable):
    """A table in which somebody else writes before each of the first writes."""

    def __init__(self, others: int) -> None:
        super().__init__(None, TABLE)
        self.others, self.state, self.writes = others, STATE, 0

    def read(self) -> State:
        return self.state

    def write(self, before: State, after: State, *ended: Claim) -> State | None:
        self.writes += 1
        if self.others:
            self.others -= 1
            self.state = replace(self.state, version=self.state.version + 1, rollout_after=self.state.rollout_after + 1)
            return None
        self.state = replace(after, version=before.version + 1)
        return self.state


@pytest.mark.parametrize("others", [0, 1, ATTEMPTS - 1])
def test_a_change_keeps_concurrent_changes(others: int) -> None:
    table = Contested(others)
    changed = table.update(lambda state: replace(state, bounds=(1, 3)))
    assert changed == replace(STATE, version=STATE.version + others + 1, rollout_after=others, bounds=(1, 3))
    assert table.writes == others + 1


def test_a_change_without_effect_is_not_written() -> None:
    table = Contested(0)
    assert table.update(lambda state: replace(state, bounds=None)) == STATE
    assert table.writes == 0


def test_a_change_that_always_conflicts_is_an_error() -> None:
    table = Contested(ATTEMPTS)
    with pytest.raises(RuntimeError) as error:
        table.update(lambda state: replace(state, bounds=(1, 3)))
    assert str(error.value) == f"the release state in {TABLE} changed 8 times while it was to be written"


# History


@pytest.mark.parametrize(
    ("phase", "result"), [(Phase.VERIFIED, "verified"), (Phase.FAILED, "failed"), (Phase.ROLLING_BACK, "failed")]
)
def test_the_history_records_what_was_released_by_whom_and_how_it_ended(
    phase: Phase, result: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW + 61.9)
    claim = replace(CLAIM, phase=phase, reason="Why – so.", who="Webhook", replaced=VERIFIED.image.digest)
    assert record(claim) == {
        "item": {"S": "history"},
        "at": {"S": "2023-11-14T22:13:20Z#action-1"},
        "result": {"S": result},
        "digest": {"S": DIGEST},
        "commit": {"S": "c0ffee"},
        "replaced": {"S": VERIFIED.image.digest},
        "pipeline": {"S": "shop"},
        "execution": {"S": "execution-1"},
        "who": {"S": "Webhook"},
        "reason": {"S": "Why – so."},
        "began": {"S": "2023-11-14T22:13:20Z"},
        "ended": {"S": "2023-11-14T22:14:21Z"},
    }


def test_a_release_that_ends_again_replaces_its_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW)
    rolling_back, failed = (replace(CLAIM, phase=phase) for phase in (Phase.ROLLING_BACK, Phase.FAILED))
    assert record(rolling_back)["at"] == record(failed)["at"]
    assert record(replace(failed, action="action-2"))["at"] != record(failed)["at"]


def test_entries_are_in_chronological_order() -> None:
    moments = [NOW + seconds for seconds in (0, 1, 60, 86_400, 400 * 86_400)]
    assert [iso(at) for at in moments] == sorted({iso(at) for at in moments})


def test_the_first_entry_has_no_replaced_digest() -> None:
    assert record(replace(CLAIM, image=NEW))["replaced"] == {"S": ""}
    assert module.KEY == KEY


# The last verified digests


@pytest.mark.parametrize(
    ("slots", "digest", "size", "after"),
    [
        ([], "a", 3, [("a", 0)]),
        ([("a", 0)], "b", 3, [("b", 1), ("a", 0)]),
        ([("a", 0)], "a", 3, [("a", 0)]),
        ([("c", 2), ("b", 1), ("a", 0)], "d", 3, [("d", 0), ("c", 2), ("b", 1)]),
        ([("c", 2), ("b", 1), ("a", 0)], "a", 3, [("a", 0), ("c", 2), ("b", 1)]),
        ([("c", 2), ("b", 1), ("a", 0)], "b", 3, [("b", 1), ("c", 2), ("a", 0)]),
        ([("a", 0)], "b", 1, [("b", 0)]),
        ([("c", 2), ("b", 1), ("a", 0)], "d", 2, [("d", 0), ("c", 2)]),
        ([("c", 2), ("b", 1), ("a", 0)], "c", 2, [("c", 0), ("b", 1)]),
        ([("c", 2), ("b", 1)], "a", 5, [("a", 0), ("c", 2), ("b", 1)]),
        ([("c", 2), ("b", 1)], "b", 5, [("b", 1), ("c", 2)]),
    ],
    ids=[
        "the first takes the first slot",
        "the next takes the next slot",
        "the same keeps its slot",
        "a new one takes the slot of the oldest",
        "the oldest verified again moves to the front",
        "one between verified again moves to the front",
        "a ring of one",
        "a smaller ring drops the oldest",
        "a slot beyond a smaller ring is dropped",
        "a larger ring has free slots",
        "the same keeps its slot although a lower one is free",
    ],
)
def test_the_last_verified_digests_are_remembered(
    slots: list[tuple[str, int]], digest: str, size: int, after: list[tuple[str, int]]
) -> None:
    assert remember(slots, digest, size) == after


def test_after_any_sequence_of_releases_the_last_ones_are_remembered_each_in_its_own_slot() -> None:
    chance = random.Random(1)
    for _ in range(300):
        size = chance.randrange(1, 7)
        slots: list[tuple[str, int]] = []
        history: list[str] = []
        tags: dict[int, str] = {}
        for _ in range(chance.randrange(1, 30)):
            digest, before = chance.choice("abcdefghij"), dict(slots)
            history = [digest, *(d for d in history if d != digest)]
            slots = remember(slots, digest, size)
            tags[slots[0][1]] = digest
            assert [d for d, _ in slots] == history[:size]
            assert len({slot for _, slot in slots}) == len(slots)
            assert {slot for _, slot in slots} <= set(range(size))
            assert all(slot == before.get(d, slot) for d, slot in slots)
            # The tags in ECR: moving one tag for each release is enough to protect all that are remembered.
            assert {tags[slot]: slot for _, slot in slots} == dict(slots)
