"""Kinds of schedules in unusual circumstances of AWS or of the account."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial

from schedules import oracle
from schedules.plays import Failure, Play, interruptions, ran, switches
from schedules.shop import CANARY, ROLLING, Shop
from standin.api import Params
from standin.ecr import MEDIA_TYPES
from standin.memory import Stuck, TracedCall

INDEX = "application/vnd.oci.image.index.v1+json"
DELAY = 90.0
"""Seconds during which a new role cannot be used."""


def nothing(shop: Shop) -> None:
    pass


def pairs(strategy: str, start: str, every: int = 1) -> Iterator[Failure]:
    """Two others start, at each pair of every third call of a release."""
    up: Callable[[Shop], object] = lambda shop: shop.up(2)  # noqa: E731
    another: Callable[[Shop], object] = lambda shop: shop.release(3, "other")  # noqa: E731
    second: Callable[[Shop], object] = lambda shop: shop.up(3, "second up")  # noqa: E731

    def stop(shop: Shop) -> None:
        shop.events = "once"  # between two invocations of the function, nothing else would notice
        shop.account.codepipeline.stop(shop.releases[-1].execution)

    of: dict[str, tuple[Callable[[Shop], object], Callable[[Shop], object]]]
    of = {"up, release": (up, another), "release, up": (another, up), "up, stop": (up, stop), "up, up": (up, second)}
    play = Play("pairs", strategy, "release", lambda shop: shop.release(2), start)
    points = play.disturbed_points()[:: 3 * every]
    for name, others in of.items():
        for number, first in enumerate(points):
            for last in points[number + 1 :]:

                def disturb(
                    shop: Shop,
                    others: tuple[Callable[[Shop], object], ...] = others,
                    at: tuple[TracedCall, TracedCall] = (first, last),
                ) -> None:
                    for point, other in zip(at, others, strict=True):
                        shop.at("release", point.number, lambda other=other: other(shop))  # type: ignore[misc]

                yield from play.run(f"{name} at {first.number} and {last.number}", disturb)


def earlier_digest(strategy: str, start: str, every: int = 1) -> Iterator[Failure]:
    """An earlier verified digest is released again without a build, and is what runs afterwards."""

    def act(shop: Shop) -> None:
        shop.do(lambda: shop.release(1, "first"), lambda: shop.release(2, "before"))
        builds = len(shop.account.codebuild.builds)
        shop.release(1)
        assert len(shop.account.codebuild.builds) == builds

    play = Play("earlier digest", strategy, "release", act, start)
    yield from play.run("alone", nothing)
    yield from play.run("and an up", nothing, lambda shop: shop.up(2))
    play.points = play.disturbed_points()[::every]
    yield from interruptions(play, ("redelivered",))


def state_lost_during_release(strategy: str, start: str, every: int = 1) -> Iterator[Failure]:
    """The table is emptied, or restored to an earlier state, at each call of a release and of an `up`.

    An `up` that reports success has not changed the running image, and a release of a digest repairs everything.
    """
    ways: dict[str, Callable[[Shop], None]] = {"emptied": _empty, "restored": _restore}
    acts: dict[str, Callable[[Shop], object]] = {"release": lambda s: s.release(3), "up": lambda s: s.up(2)}
    for subject, begin in acts.items():

        def act(shop: Shop, begin: Callable[[Shop], object] = begin) -> None:
            shop.older = copy.deepcopy(shop.account.dynamodb.tables["shop"].items)
            shop.do(lambda: shop.release(2, "before"))
            begin(shop)

        play = Play("state lost during a release", strategy, subject, act, start)
        written = max(point.number for point in play.disturbed_points() if point.operation == "TransactWriteItems")
        for point in play.disturbed_points()[::every]:
            for way, lose in ways.items():
                if (subject, way) == ("release", "restored") and point.number > written:
                    continue  # it updates the tags from what it reads then, and nothing records the release
                ran[play.kind] += 1
                shop = play.shop()
                shop.at(subject, point.number, partial(lose, shop))
                try:
                    play.act(shop)
                    found = survived(shop)
                except Stuck as e:
                    found = [f"R9: {e}"]
                if found:
                    name = f"{play.kind}, {strategy}: {way} at {point.number} {point.operation} of {subject}"
                    yield Failure(name, tuple(found), shop.account.trace())


def survived(shop: Shop) -> list[str]:
    oracle.settle(shop)
    before = {shop.number_of(image) for image, _ in shop.running()}
    shop.do(lambda: shop.up(2, "again"))
    oracle.settle(shop)
    after = {shop.number_of(image) for image, _ in shop.running()}
    if after not in (before, {2}):  # 2 is the newest image that was verified before the state was lost
        how = "failed" if shop.ups[-1].error else "succeeded"
        return [f"R9: an up {how}, and images {sorted(after)} run instead of {sorted(before)}"]
    shop.do(lambda: shop.up(2, "again"), lambda: shop.release(4, "repair"), lambda: shop.up(2, "again"))
    return [] if shop.ups[-1].error else oracle.problems(shop, known=(1, 2, 3))


def _empty(shop: Shop) -> None:
    shop.account.dynamodb.tables["shop"].items.clear()


def _restore(shop: Shop) -> None:
    shop.account.dynamodb.tables["shop"].items = copy.deepcopy(shop.older)


def new_role(strategy: str, start: str, every: int = 1) -> Iterator[Failure]:
    """The settings refer to a role that cannot be used yet: an `up` waits, and so does a release with these
    settings."""
    for error in ("InvalidParameterException", "AccessDeniedException"):

        def prepare(shop: Shop, error: str = error) -> None:
            made = shop.account.clock.now()
            shop.account.ecs._role_made = lambda arn: made
            shop.account.ecs.role_delay, shop.account.ecs.role_error = DELAY, error
            shop.roles[2] = "arn:aws:iam::123456789012:role/new"

        def up(shop: Shop, prepare: Callable[[Shop], None] = prepare) -> None:
            prepare(shop)
            shop.up(2)

        def release(shop: Shop, prepare: Callable[[Shop], None] = prepare) -> None:
            prepare(shop)
            shop.release(2)

        yield from Play("new role", strategy, "up", up, start).run(f"{error}, an up", nothing)
        play = Play("new role", strategy, "release", release, start)
        yield from switches(play, f"{error}, an up", lambda shop: shop.up(2), False, 2 * every)


def quota(strategy: str, start: str, every: int = 1) -> Iterator[Failure]:
    """CodeBuild's quota is exhausted when the tests start: they wait, and pass."""

    def act(shop: Shop) -> None:
        builds = shop.account.codebuild
        builds.quota, builds._running = 1, 1

        def end() -> None:
            shop.account.clock.sleep(400)
            builds._running = 0

        shop.account.scheduler.spawn("another build", end)
        shop.release(2)

    play = Play("quota of builds", strategy, "release", act, start)
    yield from play.run("alone", nothing, succeeded)
    yield from switches(play, "an up", lambda shop: shop.up(2), False, 2 * every)


def succeeded(shop: Shop) -> None:
    statuses = [release.execution.status for release in shop.releases]
    if statuses != ["Succeeded"] * len(statuses):
        raise Stuck(f"a release did not succeed: {statuses}")


def index(strategy: str, start: str, every: int = 1) -> Iterator[Failure]:
    """An image index is released, and ECS shows the digest of a platform."""

    def act(shop: Shop) -> None:
        platforms: dict[str, str] = {}
        for number in (2, 3):
            child: Params = {"config": {"digest": f"sha256:{number + 50:064d}", "size": 1}, "layers": []}
            platform = shop.account.ecr.push("shop", "", child)
            manifests = [{"digest": platform, "mediaType": MEDIA_TYPES[0], "size": 1}]
            digest = shop.account.ecr.push("shop", f"commit-{number}", {"mediaType": INDEX, "manifests": manifests})
            shop.digests[number], platforms[digest] = digest, platform
        shop.account.ecs.shown_digest = lambda digest: platforms.get(digest, digest)
        shop.release(2)

    play = Play("image index", strategy, "release", act, start)
    yield from play.run("alone", nothing, succeeded)
    yield from play.run(
        "and another", nothing, lambda shop: shop.do(lambda: shop.release(3, "other"), lambda: succeeded(shop))
    )

    def back(shop: Shop) -> None:
        shop.tests_fail.add(3)
        shop.release(3, "other")

    yield from play.run("and another one that fails", nothing, back)


def long_alarm(strategy: str, start: str, every: int = 1) -> Iterator[Failure]:
    """ECS monitors alarms for longer than the deadline of a deployment."""

    def act(shop: Shop) -> None:
        shop.alarms[2] = ["slow"]
        shop.account.ecs.alarm_minutes["slow"] = 45.0
        shop.do(lambda: shop.up(2))
        shop.release(2)

    play = Play("long alarm", strategy, "release", act, start)
    yield from play.run("alone", nothing, succeeded)

    def ring(shop: Shop) -> None:
        newest = shop.service.deployments[-1]
        if newest.ongoing and shop.number_of(newest.revision["containerImages"][0]["image"]) == 2:
            shop.account.ecs.alarms.add("slow")
            shop.image_faults[2] = ""  # unhealthy, as far as the alarm is concerned

    for point in play.disturbed_points()[:: 12 * every]:

        def disturb(shop: Shop, point: TracedCall = point) -> None:
            shop.at("release", point.number, partial(ring, shop))

        yield from play.run(f"it rings at {point.number}", disturb)


def strategy_change(strategy: str, start: str, every: int = 1) -> Iterator[Failure]:
    """From rolling to canary and back with an `up` each, with nothing else and during a release."""

    def change(shop: Shop) -> None:
        shop.both_groups()
        shop.strategies |= {2: CANARY, 3: ROLLING}

    def idle(shop: Shop) -> None:
        change(shop)
        shop.do(lambda: shop.up(2), lambda: shop.release(2, "between"))
        shop.up(3)

    def release(shop: Shop) -> None:
        change(shop)
        shop.release(2)

    def back(shop: Shop) -> None:
        change(shop)
        shop.do(lambda: shop.up(2))
        shop.release(2)

    yield from Play("change of strategy", strategy, "up", idle, start).run("idle", nothing)
    for stalled in (False, True):
        play = Play("change of strategy", strategy, "release", release, start)
        yield from switches(play, "to canary", lambda shop: shop.up(2), stalled, every)
        play = Play("change of strategy", strategy, "release", back, start)
        yield from switches(play, "back to rolling", lambda shop: shop.up(3), stalled, every)


def lagging_history(strategy: str, start: str, every: int = 1) -> Iterator[Failure]:
    """ListActionExecutions shows with a delay of 15 seconds that an action has started or ended."""

    def act(shop: Shop) -> None:
        shop.account.codepipeline.history_lag = 15.0
        shop.release(2)

    play = Play("lagging history", strategy, "release", act, start)
    yield from play.run("alone", nothing, succeeded)
    for stalled in (False, True):
        yield from switches(play, "an up", lambda shop: shop.up(2), stalled, 2 * every)
        yield from switches(play, "another", lambda shop: shop.release(3, "other"), stalled, 2 * every)


def clock_skew(strategy: str, start: str, every: int = 1) -> Iterator[Failure]:
    """The clock of the function is three minutes ahead of AWS's, or behind it."""
    for skew in (-180.0, 180.0):

        def act(shop: Shop, skew: float = skew, fails: bool = False, bad: bool = False) -> None:
            shop.account.skew = skew
            if fails:
                shop.tests_fail.add(2)
            if bad:
                shop.image_faults[2] = "exit 1"
            shop.release(2)

        play = Play("clock skew", strategy, "release", act, start)
        yield from play.run(f"{skew} s, a release", nothing, succeeded)
        yield from switches(play, f"{skew} s, an up", lambda shop: shop.up(2), False, 3 * every)
        yield from switches(play, f"{skew} s, another", lambda shop: shop.release(3, "other"), True, 3 * every)
        for how, failing_act in (("its tests", partial(act, fails=True)), ("its tasks", partial(act, bad=True))):
            failing = Play("clock skew", strategy, "release", failing_act, start)
            yield from failing.run(f"{skew} s, a release that fails by {how}", nothing)
            yield from switches(failing, f"{skew} s, an up, {how} fail", lambda shop: shop.up(2), False, 6 * every)


def restart(strategy: str, start: str, every: int = 1) -> Iterator[Failure]:
    """Somebody restarts the tasks: at each call of a release and of an `up`, and a release or an `up` at each call of
    it."""
    for subject, act in (("release", lambda shop: shop.release(2)), ("up", lambda shop: shop.up(2))):
        play = Play(f"a restart during {subject}", strategy, subject, act, start)
        for stalled in (False, True):
            yield from switches(play, "a restart", lambda shop: shop.restart(), stalled, 2 * every)

    def fails(shop: Shop) -> None:
        shop.image_faults[2] = "exit 1"
        shop.release(2)
        shop.events = "once"  # CodeDeploy's own action has no run that notices the end of the release

    bad = Play("a restart during a release that fails", strategy, "release", fails, start)
    yield from switches(bad, "a restart", lambda shop: shop.restart(), False, 6 * every)
    alone = Play("a restart", strategy, "restart", lambda shop: shop.restart(), start)
    yield from alone.run("alone", lambda shop: None)
    yield from interruptions(alone, ("nothing",), every)
    for stalled in (False, True):
        yield from switches(alone, "a release", lambda shop: shop.release(2), stalled, every)
        yield from switches(alone, "an up", lambda shop: shop.up(2), stalled, every)


def scaled(strategy: str, start: str, every: int = 1) -> Iterator[Failure]:
    """Autoscaling is turned on or off: with a good release, and with one that fails."""
    for fault in ("", "exit 1"):

        def act(shop: Shop, fault: str = fault) -> None:
            shop.scaled.add(2)
            shop.do(lambda: shop.up(2))
            shop.image_faults.update({2: fault} if fault else {})
            shop.release(2)

        play = Play(f"a service that scales, {fault or 'a good image'}", strategy, "release", act, start)
        yield from play.run("alone", lambda shop: None)
        yield from play.run("and then does not", lambda shop: None, lambda shop: shop.up(3))
        for stalled in (False, True):
            yield from switches(play, "an up that ends it", lambda shop: shop.up(3), stalled, 6 * every)
