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


USERS = "RUN echo app:x:1000:1001::/:/bin/sh >>/etc/passwd && printf 'app:x:1001:\\ndata:x:1002:app\\n' >>/etc/group"
GROUP_OF_DATA = "RUN mkdir -p /data && chgrp data /data && chmod 775 /data"
OWNERS: dict[str, tuple[list[str], bool]] = {
    "of root": (["RUN mkdir -p /data", "VOLUME /data", "USER 1000"], False),
    "made by VOLUME": (["VOLUME /data", "USER 1000"], False),
    "of another user": (["RUN mkdir -p /data && chown 1001 /data", "VOLUME /data", "USER 1000"], False),
    "given away after VOLUME": (["VOLUME /data", "RUN mkdir -p /data", "USER 1000"], False),
    "read-only for its owner": (
        ["RUN mkdir -p /data && chown 1000 /data && chmod 555 /data", "VOLUME /data", "USER 1000"],
        False,
    ),
    "of a group that the user is not in": (
        ["RUN mkdir -p /data && chgrp 1001 /data && chmod 775 /data", "VOLUME /data", "USER 1000"],
        False,
    ),
    "for everybody": (["RUN mkdir -p /data && chmod 1777 /data", "VOLUME /data", "USER 1000"], True),
    "of the user's group": (
        ["RUN mkdir -p /data && chgrp 1001 /data && chmod 775 /data", "VOLUME /data", "USER 1000:1001"],
        True,
    ),
    "of group 0, which a number without an entry has": (
        ["RUN mkdir -p /data && chmod 775 /data", "VOLUME /data", "USER 1000"],
        True,
    ),
    "of a user by name": ([USERS, "RUN mkdir -p /data && chown app /data", "VOLUME /data", "USER app"], True),
    "of a group by name": ([USERS, GROUP_OF_DATA, "VOLUME /data", "USER 1000:data"], True),
    "of a further group of the user": ([USERS, GROUP_OF_DATA, "VOLUME /data", "USER app"], True),
    "of a further group that is not asked for": ([USERS, GROUP_OF_DATA, "VOLUME /data", "USER app:app"], False),
    "of root, by name": ([USERS, "RUN mkdir -p /data", "VOLUME /data", "USER app"], False),
}


OFTEN = ("of root", "made by VOLUME", "of the user's group", "of a user by name", "of a further group of the user")
CASES = [
    pytest.param(*case, id=name, marks=[] if name in OFTEN else pytest.mark.occasional) for name, case in OWNERS.items()
]


@pytest.mark.parametrize(("lines", "can_write"), CASES)
def test_a_path_must_be_one_that_the_user_can_write_to(builds: Account, lines: list[str], can_write: bool) -> None:
    name = f"owned-{list(OWNERS.values()).index((lines, can_write))}"
    run = builds.build(name, FIRST, image(builds, *lines), writable_paths=["/data"])
    said = "can write to /data." if can_write else "could not write to /data, a path of service.writablePaths"
    assert (run.status == 0, said in run.last_line) == (can_write, True), run.log


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
