"""The tags in ECR are derived from the release state."""

from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from slipway.release.function.contract import Phase, State, Verified
from slipway.release.function.images import Images
from slipway.release.function.tags import Tags
from unit.releases import CLAIM, DIGEST, NEW, OLD, OLD_DIGEST, STATE, KeptTable, client_error

ALL = {"verified-dev-0": OLD_DIGEST, "live-dev": OLD_DIGEST, "verified-dev": OLD_DIGEST}


class Repository(Images):
    """A repository with tags, some of which cannot be moved."""

    def __init__(self, **tags: str) -> None:
        super().__init__(None, "shop")
        self.tags = {name.replace("_", "-"): digest for name, digest in tags.items()}
        self.moved: list[str] = []
        self.fails: dict[str, Exception] = {}
        self.unreadable: Exception | None = None
        self.after: Any = lambda: None

    def tagged(self, tags: Any) -> dict[str, str]:
        if self.unreadable:
            raise self.unreadable
        return {tag: self.tags[tag] for tag in tags if tag in self.tags}

    def tag(self, digest: str, tag: str) -> None:
        if tag in self.fails:
            raise self.fails[tag]
        self.tags[tag] = digest
        self.moved.append(tag)
        self.after()


def tags(repository: Repository, table: KeptTable | None = None) -> Tags:
    return Tags(repository, table or KeptTable(), "dev")


def with_claim(phase: Phase | None, verified: Verified | None = STATE.verified) -> State:
    return replace(STATE, verified=verified, claim=replace(CLAIM, phase=phase) if phase else None)


@pytest.mark.parametrize(
    ("phase", "live"),
    [
        (None, OLD_DIGEST),
        # While tasks are being replaced, it is not known which image runs.
        (Phase.DEPLOYING, None),
        (Phase.TESTING, DIGEST),
        (Phase.ROLLING_BACK, None),
        (Phase.FAILED, OLD_DIGEST),
        (Phase.VERIFIED, OLD_DIGEST),
    ],
)
def test_the_live_tag_moves_only_while_the_running_image_is_known(phase: Phase | None, live: str | None) -> None:
    expected = {"verified-dev-0": OLD_DIGEST, "verified-dev": OLD_DIGEST} | ({"live-dev": live} if live else {})
    assert tags(Repository()).of(with_claim(phase)) == expected


@pytest.mark.parametrize("phase", [None, *Phase])
def test_an_unverified_image_gets_no_verified_tag(phase: Phase | None) -> None:
    assert tags(Repository()).of(with_claim(phase, None)) == {}
    verified = {tag: digest for tag, digest in tags(Repository()).of(with_claim(phase)).items() if "verified" in tag}
    assert set(verified.values()) == {OLD_DIGEST}


def test_each_of_the_last_verified_images_keeps_the_tag_of_its_slot() -> None:
    slots = [(DIGEST, 2), (OLD_DIGEST, 0), ("sha256:c", 1)]
    wanted = tags(Repository()).of(with_claim(None, Verified(NEW, "c", "e", slots)))
    assert wanted == {
        "verified-dev-2": DIGEST,
        "verified-dev-0": OLD_DIGEST,
        "verified-dev-1": "sha256:c",
        "live-dev": DIGEST,
        "verified-dev": DIGEST,
    }
    # Last: whatever waits for this tag finds the others already moved.
    assert list(wanted)[-1] == "verified-dev"


def test_correct_tags_are_not_moved() -> None:
    repository = Repository(live_dev=OLD_DIGEST, verified_dev=OLD_DIGEST, verified_dev_0=OLD_DIGEST, other=DIGEST)
    assert tags(repository).align(with_claim(None)) == []
    assert repository.moved == []


def test_missing_or_wrong_tags_are_moved_the_newest_last() -> None:
    repository = Repository(live_dev=DIGEST, other=DIGEST)
    table = KeptTable(with_claim(None))
    assert tags(repository, table).align(table.state) == []
    assert repository.tags == {**ALL, "other": DIGEST}
    assert repository.moved == ["verified-dev-0", "live-dev", "verified-dev"]


def test_without_a_verified_image_there_is_no_request() -> None:
    repository = Repository()
    repository.unreadable = client_error("Asked")
    assert tags(repository).align(with_claim(Phase.TESTING, None)) == []


def test_tags_that_a_stalled_run_moved_back_are_moved_again() -> None:
    repository, table = Repository(), KeptTable(with_claim(None))
    newer = replace(STATE, claim=None, verified=Verified(NEW, "c", "e", [(DIGEST, 0)]))

    def another_release_is_verified() -> None:
        table.state = newer

    repository.after = another_release_is_verified
    assert tags(repository, table).align(with_claim(None)) == []
    assert repository.tags == {"verified-dev-0": DIGEST, "live-dev": DIGEST, "verified-dev": DIGEST}


def test_a_state_that_keeps_changing_is_followed_three_times() -> None:
    repository, table = Repository(), KeptTable(with_claim(None))
    images = [NEW, OLD]

    def another() -> None:
        if repository.moved[-1] == "verified-dev":
            images.reverse()
            image = images[0]
            table.state = replace(STATE, claim=None, verified=Verified(image, "c", "e", [(image.digest, 0)]))

    repository.after = another
    images.reverse()
    tags(repository, table).align(replace(STATE, claim=None))
    assert repository.moved.count("verified-dev") == 3


def test_a_temporary_error_is_raised_to_the_caller() -> None:
    repository, table = Repository(), KeptTable(with_claim(None))
    repository.fails["live-dev"] = client_error("Throttling", "slow down")
    with pytest.raises(ClientError, match="slow down"):
        tags(repository, table).align(table.state)
    repository.unreadable = client_error("Throttling", "slow down")
    with pytest.raises(ClientError, match="slow down"):
        tags(repository, table).align(table.state)


@pytest.mark.parametrize("error", [client_error("AccessDeniedException", "no"), RuntimeError("it is gone")])
def test_a_tag_that_cannot_be_moved_is_reported_and_the_others_are_moved(error: Exception) -> None:
    repository, table = Repository(), KeptTable(with_claim(None))
    repository.fails["live-dev"] = error
    assert tags(repository, table).align(table.state) == [
        f"the tag live-dev could not be moved to {OLD_DIGEST}: {error}"
    ]
    assert repository.tags == {"verified-dev-0": OLD_DIGEST, "verified-dev": OLD_DIGEST}


def test_tags_that_cannot_be_read_are_reported() -> None:
    repository = Repository()
    repository.unreadable = client_error("AccessDeniedException", "no")
    assert tags(repository).align(with_claim(None)) == [f"the tags could not be read: {repository.unreadable}"]


def test_a_bug_in_the_function_is_not_hidden() -> None:
    repository = Repository()
    repository.fails["verified-dev-0"] = KeyError("x")
    with pytest.raises(KeyError):
        tags(repository, KeptTable(with_claim(None))).align(with_claim(None))
