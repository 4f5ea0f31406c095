"""The SBOM of an image: made by a generator that follows BuildKit's protocol, and attached through ECR."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from slipway import Sbom
from standin.api import AwsError, Params
from standin.world import Workshop

from .builds import Account, commit, opened, released, tag

FIRST, SECOND = commit("first"), commit("second")
KIND = "application/spdx+json"
# https://github.com/moby/buildkit/blob/master/docs/attestations/sbom-protocol.md
SCAN = """
files=$(ls "$BUILDKIT_SCAN_SOURCE" | tr '\\n' ' ')
printf '{"_type":"https://in-toto.io/Statement/v0.1","predicateType":"https://spdx.dev/Document","predicate":\
{"spdxVersion":"SPDX-2.3","name":"%s","comment":"%s"}}' "$files" "$PADDING" >"$BUILDKIT_SCAN_DESTINATION/sbom.spdx.json"
"""


@pytest.fixture(scope="module")
def builds(shared: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    with opened(shared, tmp_path_factory.mktemp("builds")) as made:
        yield made


def generator(builds: Account, folder: Path, name: str, scan: str = SCAN) -> Sbom:
    """A generator of SBOMs that lists the files of an image, in a registry that needs no password."""
    image = f"{builds.door.registry}/{name}"
    (folder / "scan").write_text(scan)
    (folder / "Dockerfile").write_text(
        f'FROM {builds.workshop.base_image}\nCOPY scan /\nENTRYPOINT ["/bin/sh", "/scan"]\n'
    )
    command = ["docker", "buildx", "build", str(folder), "--tag", image, "--push", "--provenance=false"]
    home, variables = builds.prepare(name, None, {})
    subprocess.run(command, env={**variables, "HOME": str(home)}, check=True, capture_output=True)
    return Sbom(generator=image)


def test_an_sbom_is_attached_to_the_image_once_and_the_image_stays_the_same(builds: Account, tmp_path: Path) -> None:
    source = {"Dockerfile": "FROM scratch\nCOPY a b /\n", "a": "1", "b": "2"}
    sbom = generator(builds, tmp_path, "generator")
    plain = builds.build("plain", FIRST, source)
    run = builds.build("sbom", FIRST, source, sbom=sbom)
    assert run.released == released(builds, "sbom", tag(FIRST))
    assert run.exported["IMAGE_DIGEST"] == plain.exported["IMAGE_DIGEST"]
    assert {*builds.tags("sbom")} == {tag(FIRST), "cache"}

    digest = run.exported["IMAGE_DIGEST"]
    [attached] = builds.referrers("sbom", digest)
    [layer] = attached["layers"]
    assert (attached["artifactType"], layer["mediaType"], attached["subject"]["digest"]) == (KIND, KIND, digest)
    assert attached["subject"]["size"] == len(builds.manifest_text("sbom", tag(FIRST)).encode())
    assert json.loads(builds.blob("sbom", layer["digest"]))["name"] == "a b "

    # The next execution with this image makes none; another image gets its own.
    again = builds.build("sbom", FIRST, source, sbom=sbom)
    assert (again.status, again.last_line) == (0, "slipway: the image has an SBOM.")
    assert len(builds.referrers("sbom", digest)) == 1
    other = builds.build("sbom", SECOND, {**source, "b": "3"}, sbom=sbom)
    assert len(builds.referrers("sbom", other.exported["IMAGE_DIGEST"])) == 1


def test_an_image_that_was_built_without_an_sbom_gets_one(builds: Account, tmp_path: Path) -> None:
    source = {"Dockerfile": "FROM scratch\nCOPY a /\n", "a": "1"}
    first = builds.build("later", FIRST, source)
    then = builds.build("later", FIRST, source, sbom=generator(builds, tmp_path, "later-generator"))
    assert then.released == first.released
    assert len(builds.referrers("later", first.exported["IMAGE_DIGEST"])) == 1


@pytest.mark.occasional
def test_an_sbom_may_be_larger_than_a_part_of_a_layer(builds: Account, tmp_path: Path) -> None:
    large = f"PADDING=$(head -c 22000000 /dev/zero | tr '\\0' x)\n{SCAN}".replace("printf '", "printf '", 1)
    run = builds.build(
        "large",
        FIRST,
        {"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"},
        sbom=generator(builds, tmp_path, "large-generator", large),
    )
    [attached] = builds.referrers("large", run.exported["IMAGE_DIGEST"])
    assert attached["layers"][0]["size"] > 20_971_520
    assert len(builds.blob("large", attached["layers"][0]["digest"])) == attached["layers"][0]["size"]


def test_a_generator_that_makes_no_sbom_fails_the_build_with_its_name(builds: Account, tmp_path: Path) -> None:
    broken = generator(builds, tmp_path, "broken-generator", "exit 3\n")
    run = builds.build("broken", FIRST, {"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"}, sbom=broken)
    assert run.status == 1
    assert run.last_line == f"slipway: the SBOM could not be made with {broken.generator}: the error is above."


@pytest.mark.occasional
def test_a_part_that_cannot_be_uploaded_fails_the_build_and_a_retry_attaches_the_sbom(
    builds: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, sbom = {"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"}, generator(builds, tmp_path, "cut-generator")

    def cut(params: Params) -> Params:
        raise AwsError("InvalidLayerPartException", "the connection was cut")

    with monkeypatch.context() as patched:
        patched.setattr(builds.ecr, "upload_layer_part", cut)
        run = builds.build("cut", FIRST, source, sbom=sbom)
    assert run.status != 0
    assert run.last_line == (
        "slipway: the image is in the registry, but its SBOM could not be attached: the error is above."
    )
    retried = builds.build("cut", FIRST, source, sbom=sbom)
    assert retried.released == released(builds, "cut", tag(FIRST))
    assert len(builds.referrers("cut", retried.exported["IMAGE_DIGEST"])) == 1
