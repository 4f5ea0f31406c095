"""Writable paths of a service: the build fails if the user of its image could not write to them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from standin.world import Workshop

from .builds import Account, commit, opened, released, tag

FIRST = commit("first")


@pytest.fixture(scope="module")
def builds(shared: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    with opened(shared, tmp_path_factory.mktemp("builds")) as made:
        yield made


def image(builds: Account, *lines: str) -> dict[str, str]:
    return {"Dockerfile": "\n".join([f"FROM {builds.workshop.base_image}", *lines, ""])}


OWNED = "RUN mkdir -p /tmp /var/cache/shop && chown 1000 /tmp /var/cache/shop"
PATHS = ["/tmp", "/var/cache/shop"]


def test_a_build_fails_until_the_dockerfile_declares_the_paths_and_says_how(builds: Account) -> None:
    source = image(builds, OWNED, "USER 1000")
    run = builds.build("undeclared", FIRST, source, writable_paths=PATHS)
    assert (run.status, run.last_line) == (
        1,
        "slipway: the user '1000' could not write to /tmp /var/cache/shop, a path of service.writablePaths that "
        "belongs to root unless the image says otherwise. Add to the Dockerfile, before USER and where the user exists"
        ": RUN mkdir -p /tmp /var/cache/shop && chown 1000 /tmp /var/cache/shop, and then VOLUME /tmp /var/cache/shop",
    )

    # The image of this commit is there: the next execution checks it again.
    again = builds.build("undeclared", FIRST, source, writable_paths=PATHS)
    assert (again.status, again.last_line) == (1, run.last_line)

    second = commit("second")
    mended = image(builds, OWNED, "VOLUME /tmp /var/cache/shop/", "USER 1000")
    run = builds.build("undeclared", second, mended, writable_paths=PATHS)
    assert run.released == released(builds, "undeclared", tag(second))
    assert run.last_line == "slipway: the user '1000' can write to /tmp /var/cache/shop."


def test_only_the_paths_that_are_missing_are_named(builds: Account) -> None:
    run = builds.build("one", FIRST, image(builds, OWNED, "VOLUME /tmp", "USER 1000:1000"), writable_paths=PATHS)
    assert run.status == 1
    assert "could not write to /var/cache/shop, " in run.last_line


@pytest.mark.parametrize("user", ["", "USER root", "USER 0:0"])
def test_root_can_write_anywhere(builds: Account, user: str) -> None:
    name = f"root{user.lower().replace(' ', '-').replace(':', '-')}"
    assert builds.build(name, FIRST, image(builds, user), writable_paths=["/tmp"]).status == 0


def test_the_user_of_the_container_counts_and_not_that_of_the_image(builds: Account) -> None:
    run = builds.build("user", FIRST, image(builds), writable_paths=["/tmp"], container_user="app")
    assert run.status == 1
    assert run.last_line.startswith("slipway: the user 'app' could not write to /tmp, ")


def test_without_writable_paths_nothing_is_checked(builds: Account) -> None:
    run = builds.build("none", FIRST, image(builds, "USER 1000"))
    assert run.released == released(builds, "none", tag(FIRST))
