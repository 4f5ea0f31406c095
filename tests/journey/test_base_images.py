"""Base images: private ones, and ones that change."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable
from fnmatch import fnmatchcase
from types import SimpleNamespace
from typing import Any

import pytest
import slipway.build.component
from standin.executor import Execution
from standin.world import Workshop, World

from .builds import NOT_BUILT, Door, serving
from .conftest import Stack, ended, failures

Make = Callable[..., Stack]
BASE = "arn:aws:ecr:eu-west-1:123456789012:repository/team/base"
LOGIN = base64.b64encode(b"AWS:password").decode()
REFUSED = (
    "slipway: a registry does not let this build pull an image: the error is above; add the ARN of a repository in ECR "
    "to build.pullRepositories, and other registries to build.registryLogins."
)


def is_allowed(account: World, role: str, action: str, resource: str) -> bool:
    """Whether the deployed policies of a role allow an action on a resource."""

    def several(value: Any) -> list[str]:
        return value if isinstance(value, list) else [value]

    policies = [p.inputs for p in account.events.all("aws:iam/rolePolicy:RolePolicy")]
    statements = [s for p in policies if p["role"].startswith(role) for s in json.loads(p["policy"])["Statement"]]
    return any(
        statement["Effect"] == "Allow"
        and action in several(statement["Action"])
        and any(fnmatchcase(resource, each) for each in several(statement["Resource"]))
        for statement in statements
    )


def log(execution: Execution) -> list[str]:
    return execution.action("Build").log.splitlines()


def copy(account: World, source: str, name: str) -> None:
    """Pushes an image to a repository of the account."""
    account.ecr.create_repository({"repositoryName": name.partition(":")[0]})
    command = ["docker", "buildx", "imagetools", "create", "--tag", f"{account._registry}/{name}", source]
    subprocess.run(command, env=account.build_environment, check=True, capture_output=True)


def test_a_private_base_image_is_pulled_only_with_the_right_to_its_repository(
    stack: Make, account: World, shared: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy(account, shared.base_image, "team/base:1")
    with Door(account._registry, LOGIN) as door, serving(door):
        door.denies = lambda path: (
            "/team/base/" in path and not is_allowed(account, "storefront-dev-build", "ecr:BatchGetImage", BASE)
        )
        host = SimpleNamespace(host=lambda *_: door.address)
        monkeypatch.setattr(slipway.build.component, "partitions", host)
        build = {"context": "app", "testCommands": ["true"]}
        dev = stack(real_build=True, config={"slipway:build": build})
        dev.commit("Private", {"app/Dockerfile": f"FROM {door.address}/team/base:1\nCOPY server.py /\n"})

        for given in ({}, {"pullRepositories": [f"{BASE}-of-others"]}):
            dev.workspace.configure({"slipway:build": {**build, **given}})
            dev.workspace.up()
            refused = dev.push()
            assert ended(refused) == {"Source": "Succeeded", "Build": "Failed"}
            assert log(refused)[-2:] == [REFUSED, NOT_BUILT], refused.action("Build").log
            assert ("403 Forbidden" if given else "401 Unauthorized") in refused.action("Build").log

        dev.workspace.configure({"slipway:build": {**build, "pullRepositories": [BASE]}})
        dev.workspace.up()
        released = dev.push()
        assert failures(released) == [], released.action("Build").log
        assert dev.image == f"@{released.digest}"


def test_a_base_image_that_changed_is_taken_by_the_next_commit_or_where_somebody_asks_for_it(
    stack: Make, account: World, shared: Workshop
) -> None:
    copy(account, shared.base_image, "team/base:3")
    base = f"{account._registry}/team/base:3"
    config = {"slipway:build": {"context": "app", "testCommands": ["true"]}}
    dev = stack(real_build=True, config=config)
    dev.commit("A base by tag", {"app/Dockerfile": f"FROM {base}\nCOPY server.py /\nLABEL of=first\n"})
    first = dev.push()
    assert failures(first) == [], first.action("Build").log

    # Somebody pushes another image with the same tag.
    copy(account, f"{account._registry}/storefront-dev@{first.digest}", "team/base:3")
    again = dev.push()
    assert "nothing is built: the image of this commit with these settings exists" in again.action("Build").log
    assert again.digest == first.digest

    rebuilt = dev.start(variables={"REBUILD": "true"})
    assert failures(rebuilt) == [], rebuilt.action("Build").log
    assert dev.image == f"@{rebuilt.digest}" != f"@{first.digest}"
    assert len(layers(dev, rebuilt)) == len(layers(dev, first)) + 1
    # The earlier one can be released again.
    assert dev.start(revision=first.variables["Source.CommitId"], variables={"IMAGE_DIGEST": first.digest}).status == (
        "Succeeded"
    )
    assert dev.image == f"@{first.digest}"

    following = dev.release("Nothing but a note")
    assert len(layers(dev, following)) == len(layers(dev, rebuilt))


def layers(dev: Stack, execution: Execution) -> list[str]:
    ids = [{"imageDigest": execution.digest}]
    [image] = dev.account.ecr.batch_get_image({"repositoryName": dev.images, "imageIds": ids})["images"]
    return [layer["digest"] for layer in json.loads(image["imageManifest"])["layers"]]
