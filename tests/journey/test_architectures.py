"""One image for several CPU architectures: two builds, and an index of their images."""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Callable, Iterator

import pytest
from slipway.release.function.images import INDEXES
from standin.codebuild import machine
from standin.ecr import DIRECT, Scan
from standin.world import Workshop

from .builds import Account, commit, opened, released, tag
from .conftest import Stack, ended, failures

Make = Callable[..., Stack]
BOTH = ["X86_64", "ARM64"]
NATIVE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
COMMIT = commit("both")


@pytest.fixture(scope="module")
def builds(shared: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    with opened(shared, tmp_path_factory.mktemp("builds")) as made:
        yield made


def test_the_index_has_the_image_that_was_built_on_each_architecture(builds: Account) -> None:
    source = {"Dockerfile": "FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH /is\n", "amd64": "AMD", "arm64": "ARM"}
    home, variables = builds.prepare("both", COMMIT, source)
    native = builds.run(home, variables)
    home, variables = builds.prepare("both", COMMIT, source)
    arm = builds.run(home, {**variables, **machine("ARM_CONTAINER"), "CACHE_TAG": "cache-arm64"})

    digests = [build.exported["IMAGE_DIGEST"] for build in (native, arm)]
    content = "".join(f"{digest}\0" for digest in digests)
    name = f"{COMMIT}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"
    made = builds.index("both", COMMIT, [native, arm])
    assert made.released == released(builds, "both", name)
    index = builds.manifest("both", name)
    assert index["mediaType"] in INDEXES
    found = {each["platform"]["architecture"]: each["digest"] for each in index["manifests"]}
    assert found == dict(zip((NATIVE, "arm64"), digests, strict=True))
    tags = [tag(COMMIT), tag(COMMIT, "aarch64")]
    assert [build.exported["IMAGE_TAG"] for build in (native, arm)] == tags
    assert [builds.files("both", each) for each in tags] == [{"is": b"AMD"}, {"is": b"ARM"}]

    # A retry of the stage.
    assert builds.index("both", COMMIT, [native, arm]).released == made.released
    assert {*builds.tags("both")} == {name, *tags, "cache", "cache-arm64"}
    caches = [re.findall(r"importing cache manifest from \S+:(cache[a-z0-9-]*)", build.log) for build in (native, arm)]
    assert [{*found} for found in caches] == [{"cache"}, {"cache-arm64"}]

    # All builds find the image that is released again.
    again = builds.index("both", COMMIT, [made, made])
    assert again.released == made.released
    assert again.calls == []


def both(stack: Make, **config: object) -> Stack:
    return stack(
        config={"slipway:build": {"context": "app", "cpuArchitectures": BOTH, "testCommands": ["uname -m"]}, **config}
    )


def test_an_image_for_both_is_released_by_its_index_and_runs_on_either(stack: Make) -> None:
    dev = both(stack)
    first = dev.push()
    assert failures(first) == []
    index = dev.tags()[first.variables["Build.IMAGE_TAG"]]
    children = [first.variables[f"Build-{name}.IMAGE_DIGEST"] for name in BOTH]
    assert len({index, *children}) == 3
    assert (dev.image, dev.moving()["verified-dev"]) == (f"@{index}", index)
    assert "uname -m\naarch64\n" in first.action("Build-ARM64").log

    # Its tasks are moved to the other architecture, where ECS reports the digest of that image.
    dev.account.ecs.shown_digest = lambda digest: children[1] if digest == index else digest
    dev.up(cpuArchitecture="ARM64")
    assert (dev.image, dev.running["runtimePlatform"]["cpuArchitecture"]) == (f"@{index}", "ARM64")
    dev.release("Second commit")

    # The earlier index is released again; nothing is built.
    again = dev.start(variables={"IMAGE_DIGEST": index})
    assert failures(again) == []
    assert f"nothing is put together: the image {index} is released again" in again.action("Index").log
    assert dev.image == f"@{index}"


def test_a_service_on_arm_runs_the_image_that_was_built_on_arm(stack: Make) -> None:
    dev = stack(cpuArchitecture="ARM64")
    released = dev.release("Second commit")
    assert (dev.image, dev.counts) == (f"@{released.digest}", (1, 1))
    assert dev.running["runtimePlatform"] == {"cpuArchitecture": "ARM64", "operatingSystemFamily": "LINUX"}
    of = {"repositoryName": dev.images, "imageIds": [{"imageDigest": released.digest}]}
    [image] = dev.account.ecr.batch_get_image(of)["images"]
    [repository] = dev.account.ecr.describe_repositories({"repositoryNames": [dev.images]})["repositories"]
    host, _, name = repository["repositoryUri"].partition("/")
    config = json.loads(image["imageManifest"])["config"]["digest"]
    with DIRECT.open(f"http://{host}/v2/{name}/blobs/{config}") as answer:
        assert json.load(answer)["architecture"] == "arm64"


def test_the_scan_gate_looks_at_the_image_for_each_architecture(stack: Make) -> None:
    dev = both(stack, **{"slipway:scanGate": {"threshold": "HIGH"}})
    dev.account.ecr.scan = lambda digest: Scan(findings=[{"name": f"CVE-{digest[7:17]}", "severity": "HIGH"}])
    stopped = dev.push()
    assert ended(stopped)["Image"] == "Failed"
    names = sorted(f"CVE-{stopped.variables[f'Build-{name}.IMAGE_DIGEST'][7:17]} (HIGH)" for name in BOTH)
    assert stopped.action("Image").message == (
        f"scan gate: blocked {dev.tags()[stopped.variables['Build.IMAGE_TAG']]}: findings of HIGH or higher: "
        f"{'; '.join(names)}. Fix them, or allow them for a limited time in slipway:scanGate.allow"
    )
    assert dev.counts == (0, 0)
