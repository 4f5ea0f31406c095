import json
import random
from dataclasses import asdict
from typing import Any

import pytest
from slipway.runtime.release.registers import Registers, Release, Settings, Verified, remember

RELEASE = Release("url@sha256:aa", "c0ffee", "execution-1")


class Parameters:
    """SSM, as far as the registers use it."""

    def __init__(self, **values: str) -> None:
        self.values = {f"/slipway/api-release/{name}": value for name, value in values.items()}

    def get_parameter(self, *, Name: str) -> dict[str, Any]:
        return {"Parameter": {"Value": self.values[Name]}}

    def put_parameter(self, *, Name: str, Value: str, Type: str, Overwrite: bool) -> None:
        assert (Type, Overwrite) == ("String", True)
        self.values[Name] = Value


def registers(**values: str) -> Registers:
    return Registers(Parameters(**values), "/slipway/api-release/")


@pytest.mark.parametrize(("current", "count"), [(0, 2), (1, 2), (2, 2), (4, 4), (6, 6), (9, 6)])
def test_the_count_stays_what_scaling_made_it_within_the_bounds(current: int, count: int) -> None:
    assert Settings(template="t", minimum=2, maximum=6, deadline_minutes=10).count(current) == count


def test_what_was_never_written_is_nothing() -> None:
    empty = registers(wanted="null", verified="null")
    assert (empty.wanted(), empty.verified()) == (None, None)


def test_settings_that_pulumi_did_not_write_are_an_error_that_says_what_to_do() -> None:
    with pytest.raises(RuntimeError) as error:
        registers(settings="null").settings()
    assert str(error.value) == (
        "the parameter /slipway/api-release/settings is empty; run `pulumi up`, which writes it"
    )


def test_settings_are_read_as_pulumi_writes_them() -> None:
    written = '{"deadline_minutes":10,"maximum":6,"minimum":2,"template":"arn:t"}'
    assert registers(settings=written).settings() == Settings(
        template="arn:t", minimum=2, maximum=6, deadline_minutes=10
    )


def test_what_is_written_is_read_back() -> None:
    kept = registers(wanted="null", verified="null")
    verified = Verified(RELEASE, [("sha256:aa", 1), ("sha256:bb", 0)])
    kept.want(RELEASE)
    kept.verify(verified)
    assert (kept.wanted(), kept.verified()) == (RELEASE, verified)
    kept.want(None)
    assert (kept.wanted(), kept.verified()) == (None, verified)


def test_a_register_holds_plain_json() -> None:
    kept = registers()
    kept.want(RELEASE)
    assert json.loads(kept.ssm.values["/slipway/api-release/wanted"]) == asdict(RELEASE)


def test_the_digest_of_a_release_is_that_of_its_image() -> None:
    assert RELEASE.digest == "sha256:aa"


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
        "a ring made smaller forgets the oldest",
        "a slot beyond a ring made smaller is given up",
        "a ring made larger has free slots",
        "the same keeps its slot though a lower one is free",
    ],
)
def test_the_digests_verified_last_are_remembered(
    slots: list[tuple[str, int]], digest: str, size: int, after: list[tuple[str, int]]
) -> None:
    assert remember(slots, digest, size) == after


def test_the_last_of_any_sequence_of_releases_are_remembered_each_in_a_slot_of_its_own() -> None:
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
            # The tags in ECR: putting one tag for each release is enough to protect all that are remembered.
            assert {tags[slot]: slot for _, slot in slots} == dict(slots)
