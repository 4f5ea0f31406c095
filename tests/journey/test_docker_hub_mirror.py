"""build.dockerHubMirror with BuildKit's daemon, which reads the file that registries.sh writes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from slipway.build.component import text_of
from standin import tools
from standin.world import Workshop

from journey.builds import SMALL, Account, commit, opened, released, tag

FIRST = commit("first")


@pytest.fixture
def mirrored(shared: Workshop, tmp_path: Path) -> Iterator[tuple[Account, str]]:
    """An account whose builder was started with that file, and the registry that plays the mirror."""
    with tools.registry() as mirror:
        variables = {"DOCKER_HUB_MIRROR": f"{mirror}/docker", "TMPDIR": str(tmp_path)}
        script = f'{text_of("registries.sh")}\nprintf %s "$BUILDKITD_CONFIG"'
        done = subprocess.run(["bash", "-euc", script], env=variables, check=True, stdout=subprocess.PIPE, text=True)
        with (
            tools.builder(buildkitd=Path(done.stdout)) as builder,
            opened(replace(shared, builder=builder), tmp_path) as account,
        ):
            yield account, mirror


def test_images_of_docker_hub_are_pulled_from_the_mirror(
    shared: Workshop, tmp_path: Path, mirrored: tuple[Account, str]
) -> None:
    account, mirror = mirrored
    with opened(shared, tmp_path) as other:  # Docker's own image, as far as the mirror is concerned
        other.build("official", FIRST, {"Dockerfile": "FROM scratch\nCOPY file /\n", "file": "from the mirror"})
        source = f"{other.door.registry}/official:{tag(FIRST)}"
        copy = ["docker", "buildx", "imagetools", "create", "--tag", f"{mirror}/docker/library/small:1", source]
        subprocess.run(copy, env=other.prepare("official", FIRST, SMALL)[1], check=True, capture_output=True)
    run = account.build("mirrored", FIRST, {"Dockerfile": "FROM small:1\nCOPY own /\n", "own": "own"})
    assert run.released == released(account, "mirrored", tag(FIRST)), run.log
    files = account.files("mirrored", tag(FIRST))
    assert (files["file"], files["own"]) == (b"from the mirror", b"own")
