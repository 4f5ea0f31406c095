"""Buildspecs of public kinds as `build.buildspec`, each through a whole release. docs/buildspec.md lists them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from standin.executor import Execution
from standin.world import ROOT, Workshop

from .conftest import RELEASED, Stack, ended, failures, path

Make = Callable[..., Stack]
FOLDER = Path(__file__).with_name("buildspecs")
BUILDSPECS = sorted(FOLDER.glob("*.yml"))


@pytest.fixture
def dev(stack: Make, shared: Workshop) -> Stack:
    variables = {"variables": {"LEVEL": "info"}}
    made = stack(config={"slipway:build": {"buildspec": "ci/buildspec.yml"}, "slipway:pipeline": variables})
    # The AWS CLI itself, and docker with images of its own.
    made.account.build_environment["PATH"] = path(shared, "daemon")
    return made


def release(dev: Stack, message: str, buildspec: str) -> Execution:
    script = (FOLDER / "release.sh").read_text()
    dev.commit(message, {"ci/buildspec.yml": buildspec, "release.sh": script})
    return dev.push()


def test_there_are_at_least_twelve() -> None:
    assert len(BUILDSPECS) >= 12


@pytest.mark.parametrize("file", BUILDSPECS, ids=lambda file: file.stem)
def test_the_image_of_an_own_buildspec_is_released(dev: Stack, file: Path) -> None:
    live: list[str] = []
    for message in ("One", "Two"):  # the second push finds the tags of the first
        execution = release(dev, f"{file.stem} {message}", file.read_text())
        assert failures(execution) == []
        assert ended(execution) == RELEASED
        assert dev.image not in live
        live.append(dev.image)
    assert {f"@{digest}" for digest in dev.tags().values()} == set(live)


def changed(old: str, new: str) -> str:
    text = (FOLDER / "ecs-tutorial.yml").read_text()
    assert old in text
    return text.replace(old, new)


def test_a_tag_that_every_build_pushes_fails_the_second_build(dev: Stack) -> None:
    latest = changed("IMAGE_TAG=${COMMIT_HASH:=latest}", "IMAGE_TAG=latest")
    assert failures(release(dev, "One", latest)) == []
    [(action, message)] = failures(release(dev, "Two", latest))
    assert (action, "Build terminated with state: FAILED" in message) == ("Build", True)
    [build] = [each for each in dev.account.codepipeline.executions[-1].actions if each.name == "Build"]
    assert "The image tag 'latest' already exists in the 'storefront-dev' repository" in build.log


def test_a_failed_build_pushes_nothing_if_post_build_looks_at_it(dev: Stack) -> None:
    broken = (FOLDER / "guarded-post-build.yml").read_text().replace(" app", " missing")
    [(action, _)] = failures(release(dev, "Broken", broken))
    [build] = [each for each in dev.account.codepipeline.executions[-1].actions if each.name == "Build"]
    assert (action, "the build failed: nothing is pushed" in build.log, dev.tags()) == ("Build", True, {})


def test_a_container_of_another_name_is_not_released_and_the_message_has_both_names(dev: Stack) -> None:
    [(_, message)] = failures(release(dev, "Other", changed("$CONTAINER_NAME", "hello-world")))
    assert "names the containers ['hello-world'], and this service's is 'app'. Correct what the build writes" in message


def test_the_page_lists_the_buildspecs_and_only_variables_that_a_build_has(dev: Stack) -> None:
    page = (ROOT / "docs" / "buildspec.md").read_text()
    assert [file.name for file in BUILDSPECS if f"/{file.name})" not in page] == []
    [project] = [r.inputs for r in dev.account.aws.resources.values() if r.id.endswith(":project/storefront-dev")]
    [action] = [
        each
        for stage in dev.account.aws.find("aws:codepipeline/pipeline:Pipeline").inputs["stages"]
        for each in stage["actions"]
        if each["name"] == "Build"
    ]
    passed = yaml.safe_load(action["configuration"]["EnvironmentVariables"])
    given = {each["name"] for each in [*project["environment"]["environmentVariables"], *passed]}
    rows = {line.split("`")[1] for line in page.splitlines() if line.startswith("| `") and "CODEBUILD" not in line}
    rows -= {row for row in rows if row.endswith(".yml")}
    assert rows - {"AWS_DEFAULT_REGION"} <= given
    assert {"REPOSITORY_URL", "CONTAINER_NAME", "COMMIT_ID"} <= rows
