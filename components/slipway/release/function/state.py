"""The three registers of a service, SSM parameters with one writer each.

`settings` is written by Pulumi, `wanted` and `verified` by releases. A register that was never written holds `null`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Settings:
    """What Pulumi owns of a service."""

    template: str
    """ARN of the task definition that a release takes everything from, but the image."""
    minimum: int
    """Tasks to run at least."""
    maximum: int
    """Tasks to run at most; more than the minimum when the service scales by itself."""
    deadline_minutes: int
    """Minutes a deployment may take."""
    subnets: list[str]
    security_groups: list[str]
    """Of the tasks."""
    load_balancers: list[dict[str, Any]]
    """The target group with the container and the port that it reaches, as UpdateService takes it; where ECS shifts
    traffic, with the group beside it, the rules and the role. None for a service that answers no requests."""
    target_groups: list[str]
    """The two groups of the service, of which one has the traffic."""
    deployment: dict[str, Any]
    """How ECS replaces tasks, `deploymentConfiguration` as UpdateService takes it; nothing where CodeDeploy does."""
    availability_zone_rebalancing: str

    def count(self, current: int) -> int:
        """How many tasks to ask for when `current` are asked for now."""
        return min(max(current, self.minimum), self.maximum)


@dataclass(frozen=True)
class Release:
    """What the pipeline owns of a service: an image, by digest, and where it comes from."""

    image: str
    commit: str
    execution: str
    """Execution of the pipeline that released it."""
    begun: float = 0
    """When, in seconds since the epoch."""

    @property
    def digest(self) -> str:
        return self.image.partition("@")[2]


@dataclass(frozen=True)
class Verified:
    """The last release that proved itself."""

    release: Release
    slots: list[tuple[str, int]]
    """The digests verified last, newest first, each with the number of the tag that keeps it from expiring."""


class Registers:
    def __init__(self, ssm: Any, prefix: str) -> None:
        self.ssm = ssm
        self.prefix = prefix

    def settings(self) -> Settings:
        try:
            # An upgrade writes new settings a moment before it brings the function that knows them.
            known = {field.name for field in fields(Settings)}
            return Settings(**{key: value for key, value in self._read("settings").items() if key in known})
        except (AttributeError, TypeError) as e:  # empty, or written by hand
            raise RuntimeError(
                f"the parameter {self.prefix}settings does not hold the settings of a service ({e}); "
                "run `pulumi up --refresh`, which writes it"
            ) from e

    def has_settings(self, text: str) -> bool:
        """Whether the register shows these settings yet; Parameter Store does not promise to at once."""
        return bool(self._read("settings") == json.loads(text))

    def wanted(self) -> Release | None:
        value = self._read("wanted")
        return None if value is None else Release(**value)

    def want(self, release: Release | None) -> None:
        self._write("wanted", None if release is None else asdict(release))

    def verified(self) -> Verified | None:
        value = self._read("verified")
        if value is None:
            return None
        slots = [(digest, slot) for digest, slot in value["slots"]]
        return Verified(Release(**value["release"]), slots)

    def verify(self, verified: Verified) -> None:
        self._write("verified", asdict(verified))

    def _read(self, name: str) -> Any:
        return json.loads(self.ssm.get_parameter(Name=self.prefix + name)["Parameter"]["Value"])

    def _write(self, name: str, value: Any) -> None:
        self.ssm.put_parameter(Name=self.prefix + name, Value=json.dumps(value), Type="String", Overwrite=True)


def remember(slots: list[tuple[str, int]], digest: str, size: int) -> list[tuple[str, int]]:
    """Put `digest` in front of the `size` digests verified last.

    A digest keeps the slot it has; a new one takes a free slot, or that of the oldest.
    """
    known = dict(slots)
    others = [(d, slot) for d, slot in slots if d != digest][: size - 1]
    free = sorted(set(range(size)) - {slot for _, slot in others})
    slot = known[digest] if known.get(digest) in free else free[0]
    return [(digest, slot), *others]
