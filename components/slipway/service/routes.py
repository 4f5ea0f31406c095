"""Further ports of a service's tasks behind its load balancer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from slipway._constraints import check, items, match
from slipway.release.function.contract import WEB
from slipway.service.processes import HealthPath, ListenerPriority, PathPattern, Port
from slipway.service.requests import (
    HTTP1,
    HeaderName,
    HeaderValues,
    HealthCheck,
    HostPattern,
    ProtocolVersion,
    codes_rule,
    conditions_rules,
)

if TYPE_CHECKING:
    from slipway.service.args import ServiceSettings

MOST_GROUPS = 5
"""Target groups of an ECS service.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/register-multiple-targetgroups.html"""
MOST_ROUTES = MOST_GROUPS - 1
RouteName = Annotated[
    str,
    match(
        r"[a-z][a-z0-9]*(-[a-z0-9]+)*",
        "be a name of a-z 0-9 and single - between them, starting with a letter,",
        "admin",
        ["Admin", "1st", "a_b", "a--b", "a-", "-a"],
        longest=20,
    ),
]


@dataclass(frozen=True, kw_only=True)
class Route:
    """A port of the tasks of `web` that gets the requests of the load balancer that its `paths`, `hosts` or `headers`
    ask for. One of these is required.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/register-multiple-targetgroups.html
    """

    port: Port
    """Port on which the container serves HTTP. It may be the service's own, for requests that its rule does not ask
    for."""

    target_container: str | None = None
    """Name of the sidecar that listens on the port. By default, the application's container does."""

    paths: Annotated[Sequence[PathPattern], items(most=5, distinct=True)] = ()
    """Paths of the load balancer that are routed to this port. By default, all."""

    hosts: Annotated[Sequence[HostPattern], items(most=5, distinct=True)] = ()
    """Host names that are routed to this port. By default, all."""

    headers: Mapping[HeaderName, HeaderValues] = field(default_factory=dict)
    """Headers that a request must have, each with one of these values. By default, none."""

    health_path: HealthPath = "/"
    """Health check path on this port. A task that fails it is replaced, even if it is healthy on its other ports."""

    health_check: HealthCheck = HealthCheck()  # noqa: RUF009 - frozen
    """How the load balancer asks for that path."""

    protocol_version: ProtocolVersion = HTTP1
    """HTTP version of the requests to this port. HTTP2 and GRPC need a load balancer with a certificate, and clients
    that speak HTTP/2: it answers others with 464."""

    listener_priority: ListenerPriority | None = None
    """Priority of the listener rule of this port, unique on the load balancer. Lower numbers are evaluated first. By
    default, it follows from what the rule asks for."""

    def __post_init__(self) -> None:
        check(self)

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        yield (
            not (self.paths or self.hosts or self.headers),
            "paths, hosts or headers are required: those of the service are for its own port",
        )
        yield from conditions_rules(self.paths, self.hosts, self.headers)
        yield codes_rule(self.health_check, self.protocol_version)


def route_rules(processes: Mapping[str, ServiceSettings]) -> Iterator[tuple[bool, str]]:
    """The rules for the routes of a service with these processes."""
    web = processes[WEB]
    routes = web.routes
    yield bool(routes) and web.port is None, f"port is required with routes, got routes {[*routes]}"
    yield (
        len(routes) > MOST_ROUTES,
        f"routes must be at most {MOST_ROUTES}, got {len(routes)}: ECS registers a task with at most {MOST_GROUPS} "
        "target groups, and one is that of port",
    )
    # The resources of both have the same names.
    taken = [name for name in routes if f"route-{name}" in processes]
    yield bool(taken), f"routes must not be {taken} with processes called {[f'route-{name}' for name in taken]}"
    yield from container_rules(web)


def container_rules(web: ServiceSettings) -> Iterator[tuple[bool, str]]:
    """The containers of a task share its ports, so each port is that of one container."""
    owners = {web.port: None, **{each.port: name for name, each in web.sidecars.items()}}
    for name, route in web.routes.items():
        at, target = f"routes[{name!r}]", route.target_container
        known = target is None or target in web.sidecars
        yield not known, f"{at}.target_container must be a sidecar, one of {[*web.sidecars]}, got {target!r}"
        owner = owners.setdefault(route.port, target)
        yield (
            known and owner != target,
            f"{at}.port must be different from that of {_called(owner)}, got {route.port}, or that container must be "
            "the target_container",
        )


def twice_rules(processes: Mapping[str, ServiceSettings]) -> Iterator[tuple[bool, str]]:
    """Each request to these processes, and to the routes, has one rule that it comes to."""
    asking: list[tuple[str, tuple[Any, ...]]] = []
    with_a_port = {name: each for name, each in processes.items() if each.port is not None}
    ports: dict[str, Route | ServiceSettings] = {
        **{"the service" if name == WEB else f"processes[{name!r}]": each for name, each in with_a_port.items()},
        **{f"routes[{name!r}]": route for name, route in processes[WEB].routes.items()},
    }
    for at, each in ports.items():
        if isinstance(each, Route) and not (each.paths or each.hosts or each.headers):
            continue  # which is another rule's mistake
        same = [other for other, given in asking if given == asked(each)]
        yield (
            bool(same),
            f"{at} must ask for other paths, hosts or headers than {', '.join(same)}: only one of them would get "
            "requests",
        )
        asking.append((at, asked(each)))
    priorities = {each.listener_priority: name for name, each in with_a_port.items()}
    for name, route in processes[WEB].routes.items():
        at, priority = f"routes[{name!r}]", route.listener_priority
        first = priorities.setdefault(priority, at) if priority is not None else at
        yield first != at, f"{at}.listener_priority must be different from that of {first}, got {priority} for both"


def asked(given: Route | ServiceSettings) -> tuple[Any, ...]:
    """What a request must have to come to a port, in a comparable form."""
    headers = {name.lower(): {*values} for name, values in given.headers.items()}
    return {*given.paths} or {"/*"}, {*given.hosts}, headers


def listening(routes: Mapping[str, Route], container: str | None, port: int | None) -> list[int]:
    """The ports on which a container gets requests: its own, and those of routes to it. None is the application's."""
    own = [] if port is None else [port]
    return [*dict.fromkeys([*own, *(each.port for each in routes.values() if each.target_container == container)])]


def _called(container: str | None) -> str:
    return "the application's container" if container is None else f"sidecars[{container!r}]"
