"""The ECR tags that keep images from expiring. Each run updates them from the release state."""

from __future__ import annotations

from botocore.exceptions import ClientError

from .contract import Phase, State
from .errors import passes
from .images import Images
from .state import StateTable


class Tags:
    def __init__(self, images: Images, table: StateTable, environment: str) -> None:
        self.images, self.table, self.environment = images, table, environment

    def of(self, state: State) -> dict[str, str]:
        """Each tag with the digest that it should point to."""
        verified, claim = state.verified, state.claim
        if verified is None:
            return {}
        newest = f"verified-{self.environment}"
        tags = {f"{newest}-{slot}": digest for digest, slot in verified.slots}
        if claim is not None and claim.phase is Phase.TESTING:
            tags[f"live-{self.environment}"] = claim.image.digest
        elif claim is None or claim.phase in (Phase.VERIFIED, Phase.FAILED):
            # Neither moves while the digest that runs is not the released one.
            tags[f"live-{self.environment}"] = verified.image.digest
        # Last, so that whoever waits for this tag finds the others.
        return {**tags, newest: verified.image.digest}

    def align(self, state: State) -> list[str]:
        """Move the tags to where they should point, and repeat if the state changed in the meantime.

        Returns the problems. They do not fail the release, and the next run tries again. Raises temporary errors.
        """
        problems: list[str] = []
        for _ in range(3):
            wanted = self.of(state)
            try:
                found = self.images.tagged(wanted) if wanted else {}
            except ClientError as e:
                if passes(e):
                    raise
                return [f"the tags could not be read: {e}"]
            moved, problems = {tag: d for tag, d in wanted.items() if found.get(tag) != d}, []
            for tag, digest in moved.items():
                try:
                    self.images.tag(digest, tag)
                except (ClientError, RuntimeError) as e:
                    if passes(e):
                        raise
                    problems.append(f"the tag {tag} could not be moved to {digest}: {e}")
            if not moved:
                break
            state = self.table.read()  # a run that stalled before it moved a tag may have moved it back
            if self.of(state) == wanted:
                break
        for problem in problems:
            print(problem)
        return problems
