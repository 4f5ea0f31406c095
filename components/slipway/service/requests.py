"""What a process behind a load balancer says about its requests: their protocol, health checks, sessions and routes."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from slipway._constraints import Must, between, check, items, match, one_of

HTTP1, HTTP2, GRPC = PROTOCOL_VERSIONS = ("HTTP1", "HTTP2", "GRPC")
ProtocolVersion = Annotated[str, one_of(PROTOCOL_VERSIONS)]
"""https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-target-groups.html"""
GRPC_PATH = "/AWS.ALB/healthcheck"
"""A method that no server has, which answers UNIMPLEMENTED (12): the default of AWS."""
_CODES = r"\d{1,3}(-\d{1,3})?(,\d{1,3}(-\d{1,3})?)*"
DrainSeconds = Annotated[int, between(0, 3600)]
HostPattern = Annotated[
    str,
    match(
        r"[A-Za-z0-9*?](?:[A-Za-z0-9.*?-]*[A-Za-z0-9*?])?\.[A-Za-z]+",
        "be a name such as shop.example.com or *.example.com",
        "*.example.com",
        ["localhost", "https://shop.example.com", "shop.example.com/", "-a.example.com", "a b.com", "10.0.0.1"],
        longest=128,
    ),
]
"""https://docs.aws.amazon.com/elasticloadbalancing/latest/application/rule-condition-types.html"""
HeaderName = Annotated[
    str,
    Must(
        "be the name of a header such as X-Version, of at most 40 characters, other than Host",
        lambda name: (
            0 < len(name) <= 40
            and all(c.isascii() and (c.isalnum() or c in "-_") for c in name)
            and name.lower() != "host"
        ),
        {"pattern": "^[A-Za-z0-9_-]{1,40}$"},
        good=["X-Version", "a" * 40],
        bad=["", "a" * 41, "X Version", "X:", "host", "Host"],
    ),
]
HeaderValues = Annotated[
    Sequence[Annotated[str, match(r"[ -~]+", "be the value of a header", "beta*", ["ä", "a\nb"], longest=128)]],
    items(1, 5, distinct=True),
]
VALUES, WILDCARDS = 5, 5
"""Values, and wildcards, in all conditions of a rule.

https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-limits.html"""


@dataclass(frozen=True, kw_only=True)
class HealthCheck:
    """How the load balancer asks for the health check path. A new task gets requests after `healthy_count` answers, and
    a task that fails `unhealthy_count` times is replaced.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html
    """

    success_codes: (
        Annotated[
            str,
            match(
                _CODES,
                "be codes such as 200, 200,301 or 200-299",
                "200,301",
                ["200 301", "ok", "200-", ",200", "200,", "2000"],
            ),
        ]
        | None
    ) = None
    """Codes of a healthy answer, as in `200,301` or `200-299`, between 200 and 499; with GRPC, between 0 and 99. By
    default 200, and with GRPC 0, or 12 without a `health_path`."""

    interval_seconds: Annotated[int, between(5, 300)] = 5
    """Seconds between two checks."""

    timeout_seconds: Annotated[int, between(2, 120)] = 4
    """Seconds without an answer after which a check has failed."""

    healthy_count: Annotated[int, between(2, 10)] = 2
    """Consecutive healthy answers after which a new task gets requests."""

    unhealthy_count: Annotated[int, between(2, 10)] = 5
    """Consecutive failures after which a task gets no more requests, and is replaced."""

    def __post_init__(self) -> None:
        check(self)

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        yield (
            self.timeout_seconds >= self.interval_seconds,
            f"timeout_seconds must be less than interval_seconds={self.interval_seconds}, got {self.timeout_seconds}",
        )

    def matcher(self, protocol_version: str, path: str) -> str:
        """The codes of a healthy answer."""
        if self.success_codes is not None:
            return self.success_codes
        return "200" if protocol_version != GRPC else "12" if path == GRPC_PATH else "0"


def codes_rule(check: HealthCheck, protocol_version: str) -> tuple[bool, str]:
    """Whether the load balancer knows the codes for this protocol."""
    least, most = (0, 99) if protocol_version == GRPC else (200, 499)
    ranges = [part.split("-") for part in (check.success_codes or "").split(",") if part]
    numbers = [(int(ends[0]), int(ends[-1])) for ends in ranges]
    return (
        any(not least <= first <= last <= most for first, last in numbers),
        f"health_check.success_codes must be codes from {least} to {most} with protocol_version={protocol_version}, "
        f"got {check.success_codes!r}",
    )


def conditions_rules(
    paths: Sequence[str], hosts: Sequence[str], headers: Mapping[str, Sequence[str]]
) -> Iterator[tuple[bool, str]]:
    """The limits of a listener rule: https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-rules.html"""
    values = [*paths, *hosts, *(value for values in headers.values() for value in values)]
    names = " and ".join(name for name, given in (("paths", paths), ("hosts", hosts), ("headers", headers)) if given)
    yield (
        len(values) > VALUES,
        f"{names} must have at most {VALUES} entries in total, got {len(values)}: a listener rule has no more",
    )
    wildcards = sum(value.count("*") + value.count("?") for value in values)
    yield wildcards > WILDCARDS, f"{names} must have at most {WILDCARDS} wildcards in total, got {wildcards}"


def priority(name: str, paths: Sequence[str], hosts: Sequence[str], headers: Mapping[str, Sequence[str]]) -> int:
    """The priority of a rule that none is given for: the more a rule asks for, the earlier it is evaluated.

    It depends on nothing but the rule and its name, so that it stays when other services come and go.
    """
    literal = [max((len(value.rstrip("*")) for value in values), default=0) for values in (paths, hosts)]
    asked = min(sum(literal) + 40 * len(headers), 98)
    # Every third number, as the two after it are for the same rule with another protocol.
    return 1000 + 399 * (98 - asked) + 3 * (zlib.crc32(name.encode()) % 133)
