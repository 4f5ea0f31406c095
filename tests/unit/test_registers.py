import json
import random
from dataclasses import asdict
from typing import Any

import pytest
from slipway.release.function.state import Registers, Release, Settings, Verified, remember

RELEASE = Release("url@sha256:aa", "c0ffee", "execution-1", 1_700_000_000.5)
BALANCED = {"targetGroupArn": "arn:g", "containerName": "app", "containerPort": 8080}
SETTINGS = Settings(
    template="arn:t",
    minimum=2,
    maximum=6,
    deadline_minutes=10,
    subnets=["subnet-3", "subnet-4"],
    security_groups=["sg-1"],
    load_balancers=[BALANCED],
    target_groups=["arn:g", "arn:h"],
    deployment={"strategy": "ROLLING", "maximumPercent": 200},
    availability_zone_rebalancing="ENABLED",
)
WRITTEN = (
    '{"availability_zone_rebalancing": "ENABLED", "deadline_minutes": 10, '
    '"deployment": {"maximumPercent": 200, "strategy": "ROLLING"}, '
    '"load_balancers": [{"containerName": "app", "containerPort": 8080, "targetGroupArn": "arn:g"}], '
    '"maximum": 6, "minimum": 2, "security_groups": ["sg-1"], "subnets": ["subnet-3", "subnet-4"], '
    '"target_groups": ["arn:g", "arn:h"], "template": "arn:t"}'
)


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
    assert SETTINGS.count(current) == count


def test_what_was_never_written_is_nothing() -> None:
    empty = registers(wanted="null", verified="null")
    assert (empty.wanted(), empty.verified()) == (None, None)


@pytest.mark.parametrize(
    "written",
    ["null", "{}", WRITTEN.replace('"minimum": 2, ', "")],
    ids=["nothing", "no settings", "too few"],
)
def test_what_are_not_all_the_settings_is_an_error(written: str) -> None:
    with pytest.raises(RuntimeError, match="does not hold the settings of a service .*; run `pulumi up --refresh`"):
        registers(settings=written).settings()


def test_settings_are_read_as_pulumi_writes_them() -> None:
    assert registers(settings=WRITTEN).settings() == SETTINGS


def test_settings_of_a_newer_version_are_read_as_far_as_they_are_known() -> None:
    assert registers(settings=WRITTEN.replace("{", '{"more": 1, ', 1)).settings() == SETTINGS


def test_settings_show_when_they_say_the_same_however_they_are_written() -> None:
    kept = registers(settings=WRITTEN)
    again = json.dumps(dict(reversed(json.loads(WRITTEN).items())), indent=1)
    assert again != WRITTEN
    assert (kept.has_settings(WRITTEN), kept.has_settings(again)) == (True, True)


@pytest.mark.parametrize(
    "changed",
    [
        {"template": "arn:u"},
        {"minimum": 1},
        {"maximum": 7},
        {"deadline_minutes": 11},
        {"subnets": ["subnet-4", "subnet-3"]},
        {"security_groups": []},
        {"load_balancers": [{**BALANCED, "containerPort": 8081}]},
        {"target_groups": ["arn:h", "arn:g"]},
        {"deployment": {"strategy": "ROLLING", "maximumPercent": 150}},
        {"availability_zone_rebalancing": "DISABLED"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_other_settings_do_not_show_yet(changed: dict[str, Any]) -> None:
    other = json.dumps({**asdict(SETTINGS), **changed})
    assert other != json.dumps(asdict(SETTINGS))
    assert registers(settings=WRITTEN).has_settings(other) is False


def test_before_pulumi_wrote_them_no_settings_show() -> None:
    assert registers(settings="null").has_settings(WRITTEN) is False


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


def test_a_release_that_was_written_before_releases_had_a_beginning_is_read() -> None:
    old = json.dumps({"image": "url@sha256:aa", "commit": "c0ffee", "execution": "execution-1"})
    assert registers(wanted=old).wanted() == Release("url@sha256:aa", "c0ffee", "execution-1", begun=0)


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
