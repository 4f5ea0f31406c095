"""What must hold at the end of a schedule: rules R1 to R10 of docs/architecture.md, as far as a schedule can break
them, and that a restart replaces all tasks. The engine's tests cover R1, R3 is part of R9's "newest settings", and R6
is asserted where digests are released again.
"""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise

from schedules.shop import COUNT, NAME, STAGE, TIMEOUT, Shop

SETTLED_MINUTES = 240
"""How many seconds something that nothing waits for has to end on its own."""


def settle(shop: Shop) -> None:
    """Lets everything that is in progress end."""
    account = shop.account
    account.scheduler.run()
    until = account.clock.now() + 60 * SETTLED_MINUTES
    while account.clock.now() < until and (under_way(shop) or not steady(shop)):
        account.scheduler.run(until=account.clock.now() + 30)
        account.ecs.live()
        if account.codedeploy.deployments:
            account.codedeploy.list_deployments({})


def under_way(shop: Shop) -> list[str]:
    """Deployments that have not ended."""
    found = [f"{d.id} {d.status}" for service in shop.services for d in service.deployments if d.ongoing]
    return found + [d.shown["deploymentId"] for d in shop.account.codedeploy.deployments if d.active]


def steady(shop: Shop) -> bool:
    now = shop.account.clock.now()
    return all(
        len(each.tasks) == each.shown["desiredCount"] and all(t.healthy <= now for t in each.tasks)
        for each in shop.services
    )


def verified_images(shop: Shop) -> list[int]:
    """Images that are verified according to the history, in the order in which their actions started."""
    items = shop.account.dynamodb.tables[NAME].items.values()
    found = [item for item in items if item["item"] == {"S": "history"} and item["result"]["S"] == "verified"]
    return [shop.number_of(f"@{item['digest']['S']}") for item in sorted(found, key=lambda item: item["at"]["S"])]


def problems(shop: Shop, known: tuple[int, ...] = ()) -> list[str]:
    """Each is a line that begins with its rule.

    `known` are images that were verified in a history that was lost.
    """
    settle(shop)
    found = []
    for process in shop.account.scheduler.processes:
        found.append(f"R9: {process.label} never ends")
    running = shop.running()
    images, settings = {shop.number_of(image) for image, _ in running}, {number for _, number in running}
    history = verified_images(shop)
    verified = [*known, *(image for image in history if image not in known)]
    state, counts = shop.state(), [each.shown["desiredCount"] for each in shop.services]
    faults = shop.image_faults | shop.worker_faults
    if going := under_way(shop):
        found.append(f"R9: a deployment that nothing waits for never ends: {going}")
    for image in images - set(verified):
        statuses = [r.execution.status for r in shop.releases if r.image == image]
        found.append(f"R10: image {image} runs, and was never verified; its releases: {statuses}")
    for image in images & (faults.keys() | shop.tests_fail):
        found.append(f"R10: image {image} runs, which is broken")
    if not verified and (any(counts) or running):
        found.append(f"R8: nothing was ever verified, and the desired counts are {counts}")
    if verified and images <= set(verified) and images != {verified[-1]}:
        found.append(f"R9: image {verified[-1]} was verified last, and {sorted(images)} run")
    if verified and (set(counts) != {COUNT} or not steady(shop)):
        found.append(f"R5: the desired counts are {counts}, {len(running)} tasks run, steady: {steady(shop)}")
    if history and not (known and "verified" not in state):  # a release that found no settings has reported that
        found += tag_problems(shop, state)
    found += settings_problems(shop, settings)
    found += late_problems(shop)
    found += migration_problems(shop, lost=bool(known))
    found += job_problems(shop, state)
    tasks = [task for each in shop.services for task in each.tasks]
    if old := [task for task in tasks if task.shown["createdAt"] < max(shop.restarts, default=0) - 1e-3]:
        found.append(f"a restart was accepted, and {len(old)} older tasks run")
    if shop.blameless and shop.releases[-1].execution.status != "Succeeded":
        found.append("R3: settings failed while the image was tested, and its release failed for that")
    for release in shop.releases:
        status, broken = (
            release.execution.status,
            release.image in shop.tests_fail or release.image in faults,
        )
        if status == "InProgress":
            found.append(f"R4: the execution of image {release.image} has not ended")
        if status == "Succeeded" and (broken or release.image not in verified):
            found.append(f"R4: the execution of image {release.image} succeeded, but it is not verified")
        if status == "Failed" and not any(a.message for a in release.execution.actions if a.status == "Failed"):
            found.append(f"R4: the execution of image {release.image} failed without a reason")
    return found


def migration_problems(shop: Shop, lost: bool) -> list[str]:
    """A migration runs before its image, never beside another one, and never again after it succeeded, unless the
    state in which that was written was lost."""
    found = [f"migration: tasks were started before their image was migrated: {shop.unmigrated}"] * bool(
        shop.unmigrated
    )
    for first, second in pairwise(shop.migrations):
        if second.began < shop.ended_at(first):
            found.append(f"migration: those of the images {first.image} and {second.image} ran at the same time")
    done: set[int] = set()
    for each in shop.migrations:
        if each.image in done and not lost:
            found.append(f"migration: image {each.image} was migrated again")
        if shop.succeeded(each):
            done.add(each.image)
        if shop.ended_at(each) > each.began + TIMEOUT * 60 + 300:
            found.append(f"migration: that of image {each.image} was not stopped after its timeout")
    actions = [str(shop.account.ecs._single[each.arn].shown["startedBy"]) for each in shop.migrations]
    if len(set(actions)) < len(actions):
        found.append("migration: an action started two")
    return found


def job_problems(shop: Shop, state: dict[str, object]) -> list[str]:
    """A job runs the image that is verified, and none if nothing is."""
    verified = state.get("verified")
    wanted = shop.number_of(verified["image"]) if isinstance(verified, dict) else None
    if not shop.more or shop.job() == wanted or "settings" not in state:  # without settings there are no jobs
        return []
    return [f"job: it runs the image {shop.job()}, and {wanted} was verified last"]


def late_problems(shop: Shop) -> list[str]:
    """An image is not verified after its execution failed or was stopped; one second is allowed for a last poll."""
    found = []
    for item in shop.account.dynamodb.tables[NAME].items.values():
        if item["item"] == {"S": "history"} and item["result"] == {"S": "verified"}:
            at = datetime.strptime(item["ended"]["S"], "%Y-%m-%dT%H:%M:%S%z").timestamp() - shop.account.skew
            for execution in (r.execution for r in shop.releases if r.execution.id == item["execution"]["S"]):
                if execution.status in ("Stopped", "Failed") and at > execution.ended + 1:
                    late = f"{at - execution.ended:.0f} s after its execution was {execution.status}"
                    found.append(f"R10: {item['digest']['S'][:14]} was verified {late}")
    return found


def tag_problems(shop: Shop, state: dict[str, object]) -> list[str]:
    verified = state.get("verified")
    if not isinstance(verified, dict):
        return ["R9: the history has a verified image, and the state none"]
    wanted = {f"verified-{STAGE}-{slot}": digest for digest, slot in verified["slots"]}
    digest = verified["image"].partition("@")[2]
    wanted |= {f"verified-{STAGE}": digest, f"live-{STAGE}": digest}
    tags = shop.tags()
    wrong = {tag: shop.number_of(f"@{tags.get(tag, '')}") for tag, d in wanted.items() if tags.get(tag) != d}
    return [f"R7: tags point elsewhere: {wrong}"] if wrong else []


def settings_problems(shop: Shop, settings: set[int]) -> list[str]:
    """The newest settings run, or the `up` or release that deployed them has failed."""
    found = []
    if shop.ups and settings:
        newest = shop.ups[-1]
        if settings != {newest.number} and not newest.error:
            found.append(
                f"R9: settings {sorted(settings)} run, and those of the last up, {newest.number}, did not fail"
            )
        if newest.number in settings and newest.number in shop.settings_faults:
            found.append(f"R2: settings {newest.number} run, which are broken")
    for number, up in enumerate(shop.ups):
        overtaken = any(other.began < up.over for other in shop.ups[number + 1 :])
        if up.ended and not up.error and not overtaken and {n for _, n in up.ran} - {up.number}:
            found.append(f"R2: the up of settings {up.number} succeeded while others ran: {up.ran}")
        if up.ended and not up.error and up.number in shop.settings_faults and up.ran:
            found.append(f"R2: the up of broken settings {up.number} succeeded")
    return found
