"""build.sh, run as CodeBuild runs it (builds.py)."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from standin.api import REGION, AwsError, Params
from standin.world import Workshop

from journey.builds import (
    LOGIN,
    NOT_BUILT,
    NOTHING_RELEASED,
    NPM,
    PASSWORD,
    PIP,
    ROLE,
    SECRET,
    SMALL,
    TOKEN,
    Account,
    Door,
    Run,
    commit,
    opened,
    places,
    released,
    serving,
    tag,
    uri,
)


@pytest.fixture(scope="module")
def account(shared: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """An account for all tests here, each of which has its own repository."""
    with opened(shared, tmp_path_factory.mktemp("builds")) as made:
        yield made


FIRST = commit("first")
ARGUMENTS = {"GREETING": "Good morning, = 'you' \"all\" $HOME \\ `id`", "EMPTY": "", "VERSION": "a=b=c"}
TESTS = [
    "pwd",
    "cd my*service && test -f docker/Dockerfile && export LEFT=over",
    "cat; printf '%s|' \"$0\" 'a  b' \"${LEFT-nothing}\" \\$HOME; echo",
    "basename \"$PWD\" | tr '[:lower:]' '[:upper:]' >&2",
]


def large(account: Account, text: str) -> dict[str, str]:
    """A source whose image shows how it was built, in a folder of the repository and in two stages."""
    dockerfile = f"""
FROM {account.workshop.base_image} AS made
ARG AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN
RUN head -c 16 /dev/urandom >/made && env >/environment
COPY text /

FROM scratch
COPY --from=made /made /environment /text /
COPY . /source
ARG COMMIT_ID GREETING EMPTY=full VERSION
LABEL commit=$COMMIT_ID greeting=$GREETING empty=$EMPTY version=$VERSION
"""
    return {"my service/docker/Dockerfile": dockerfile, "my service/text": text}


LARGE: Params = {
    "context": "my service",
    "dockerfile": "docker/Dockerfile",
    "container_name": "web",
    "build_args": ARGUMENTS,
}


@pytest.fixture(scope="module")
def first(account: Account) -> Run:
    """A build of the commit FIRST into the repository `storefront`."""
    return account.build("storefront", FIRST, large(account, "first"), **LARGE, test_commands=TESTS)


FIRST_TAG = tag(FIRST, **LARGE)


def test_an_image_is_tagged_with_its_commit_and_a_hash_of_its_settings_and_passed_on_by_the_registrys_digest(
    account: Account, first: Run
) -> None:
    assert {*account.tags("storefront")} == {FIRST_TAG, "cache"}
    assert first.released == released(account, "storefront", FIRST_TAG, "web")
    assert json.loads(first.artifact or "") == [{"name": "web", "imageUri": uri(account, "storefront", FIRST_TAG)}]
    assert first.last_line == f"slipway: image {uri(account, 'storefront', FIRST_TAG)}, tag {FIRST_TAG}"


def test_the_pushed_manifest_is_an_image_and_not_an_index(account: Account, first: Run) -> None:
    manifest = account.manifest("storefront", FIRST_TAG)
    assert manifest["mediaType"] in (
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
    assert account.config("storefront", FIRST_TAG)["os"] == "linux"


def test_the_image_has_the_commit_as_a_label_and_gets_build_arguments_unchanged(account: Account, first: Run) -> None:
    assert account.config("storefront", FIRST_TAG)["config"]["Labels"] == {
        "org.opencontainers.image.revision": FIRST,
        "commit": FIRST,
        "greeting": ARGUMENTS["GREETING"],
        "empty": "",
        "version": "a=b=c",
    }


def test_test_commands_run_first_and_in_order_each_in_its_own_shell_at_the_root_of_the_source(first: Run) -> None:
    expected = f"""\
slipway: test: {TESTS[0]}
{first.folder}/src
slipway: test: {TESTS[1]}
slipway: test: {TESTS[2]}
bash|a  b|nothing|$HOME|
slipway: test: {TESTS[3]}
SRC
"""
    assert first.log[: len(expected)] == expected
    assert first.calls == ["BatchGetImage", "GetAuthorizationToken", "BatchGetImage"]


def test_no_credential_is_in_the_image_the_outputs_or_the_log(account: Account, first: Run) -> None:
    assert places(account, "storefront", first, PASSWORD, LOGIN, SECRET, TOKEN) == set()


def test_a_commit_that_was_built_before_is_tested_again_and_keeps_its_image(account: Account, first: Run) -> None:
    before = account.tags("storefront")
    again = account.build("storefront", FIRST, {"my service/docker/Dockerfile": "RUN false"}, **LARGE)
    tested = account.build("storefront", FIRST, large(account, "first"), **LARGE, test_commands=["echo tested; exit 1"])
    assert again.released == first.released
    assert again.log == (
        "slipway: nothing is built: the image of this commit with these settings exists.\n"
        f"slipway: image {uri(account, 'storefront', FIRST_TAG)}, tag {FIRST_TAG}\n"
    )
    assert again.calls == ["BatchGetImage"]
    assert tested.released == NOTHING_RELEASED
    assert tested.log.splitlines()[1] == "tested"
    assert account.tags("storefront") == before


SHOWS = {
    "Dockerfile": "FROM scratch AS a\nARG X\nLABEL x=$X\nFROM a\nLABEL last=1\n",
    "ci/D": "FROM scratch\nLABEL d=1\n",
}


@pytest.mark.parametrize(
    ("settings", "labels"),
    [
        ({}, {"x": "", "last": "1"}),
        ({"build_args": {"X": "1"}}, {"x": "1", "last": "1"}),
        ({"build_args": {"X": "2"}}, {"x": "2", "last": "1"}),
        ({"target": "a"}, {"x": ""}),
        ({"dockerfile": "ci/D"}, {"d": "1"}),
        ({"context": "ci", "dockerfile": "../Dockerfile"}, {"x": "", "last": "1"}),
    ],
)
def test_a_commit_has_another_image_for_other_settings(
    account: Account, settings: dict[str, Any], labels: dict[str, str]
) -> None:
    run = account.build("settings", FIRST, SHOWS, **settings)
    assert run.released == released(account, "settings", tag(FIRST, **settings))
    found = account.config("settings", tag(FIRST, **settings))["config"]["Labels"]
    assert found == {"org.opencontainers.image.revision": FIRST, **labels}


def test_an_image_that_is_built_again_takes_nothing_from_the_cache_and_has_a_tag_of_its_execution(
    account: Account,
) -> None:
    source = {"Dockerfile": f"FROM {account.workshop.base_image}\nRUN head -c 16 /dev/urandom >/made\n"}
    account.build("again", FIRST, source)
    home, variables = account.prepare("again", FIRST, source)
    rebuilt = account.run(home, {**variables, "REBUILD": "true", "PIPELINE_EXECUTION_ID": "0a1b2c3d-4e5f-6789"})
    retried = account.run(home, {**variables, "REBUILD": "true", "PIPELINE_EXECUTION_ID": "0a1b2c3d-4e5f-6789"})
    second = f"{tag(FIRST)}-0a1b2c3d"
    assert rebuilt.released == retried.released == released(account, "again", second)
    assert {*account.tags("again")} == {tag(FIRST), second, "cache"}
    assert account.files("again", second)["made"] != account.files("again", tag(FIRST))["made"]


def test_rebuild_has_two_values(account: Account) -> None:
    home, variables = account.prepare("again", FIRST, SMALL)
    run = account.run(home, {**variables, "REBUILD": "yes"})
    assert (run.released, run.calls) == (NOTHING_RELEASED, [])
    assert run.log == "slipway: REBUILD must be true or false, got 'yes'.\n"


SECRETS = {
    "npmrc": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:npm-a1b2c3",
    "pip.conf": "arn:aws:ssm:eu-west-1:123456789012:parameter/pip",
}


def with_secrets(account: Account, repository: str, dockerfile: str, **build: Any) -> tuple[Path, Params]:
    home, variables = account.prepare(repository, FIRST, {"Dockerfile": dockerfile}, secrets=SECRETS, **build)
    return home, {**variables, "BUILD_SECRET_0": NPM, "BUILD_SECRET_1": PIP}


def test_secrets_are_in_their_mounts_and_nowhere_else(account: Account) -> None:
    dockerfile = f"""
FROM {account.workshop.base_image} AS made
RUN --mount=type=secret,id=npmrc,required=true --mount=id=pip.conf,target=/etc/pip.conf,type=secret \\
    cat /run/secrets/npmrc /etc/pip.conf | sha256sum >/sum && env >/environment
RUN --mount=type=secret,id=npmrc,env=NPM printf %s "$NPM" | sha256sum >/variable
FROM scratch
COPY --from=made /sum /variable /environment /
COPY . /source
"""
    home, variables = with_secrets(account, "mounts", dockerfile, test_commands=["env; declare -p"])
    run = account.run(home, variables)
    assert run.released == released(account, "mounts", tag(FIRST))
    files = account.files("mounts", tag(FIRST))
    sums = [hashlib.sha256(value.encode()).hexdigest().encode() for value in (NPM + PIP, NPM)]
    assert [files["sum"].split()[0], files["variable"].split()[0]] == sums
    assert places(account, "mounts", run, NPM, PIP) == set()


@pytest.mark.parametrize(
    ("mount", "message"),
    [
        (
            "type=secret,id=token",
            "the Dockerfile mounts the secret 'token', and build.secrets has npmrc pip.conf: add it there, or remove "
            "the mount.",
        ),
        (
            "type=secret,target=/etc/.netrc",
            "the Dockerfile mounts the secret '.netrc', and build.secrets has npmrc pip.conf: add it there, or remove "
            "the mount.",
        ),
        (
            "type=ssh",
            "the Dockerfile mounts an SSH agent, which a build does not have: use a token in build.secrets instead.",
        ),
    ],
)
def test_a_mount_that_nobody_gives_fails_the_build(account: Account, mount: str, message: str) -> None:
    dockerfile = f"FROM {account.workshop.base_image} AS a\nRUN --mount={mount} true\nFROM a\nRUN true\n"
    home, variables = with_secrets(account, "unmounted", dockerfile)
    run = account.run(home, variables)
    assert run.released == NOTHING_RELEASED
    assert run.last_line == f"slipway: {message}"
    assert account.tags("unmounted") == {}


def test_a_mount_in_a_stage_that_is_not_built_needs_no_secret(account: Account) -> None:
    base = account.workshop.base_image
    dockerfile = f"FROM {base} AS dev\nRUN --mount=type=secret,id=token true\nFROM {base}\nRUN echo type=ssh >/x\n"
    run = account.build("staged", FIRST, {"Dockerfile": dockerfile})
    assert run.released == released(account, "staged", tag(FIRST))


@pytest.fixture(scope="module")
def private(account: Account) -> Iterator[str]:
    """The base image in a registry that requires a password."""
    registry, _, path = account.workshop.base_image.partition("/")
    with Door(registry) as door, serving(door):
        yield f"{door.address}/{path}"


def private_build(account: Account, private: str, **variables: str) -> Run:
    files = {"Dockerfile": f"FROM {private}\nRUN echo made >/made\n"}
    home, given = account.prepare("derived", FIRST, files, test_commands=["env"])
    account.forget_local_cache()
    return account.run(home, {**given, **variables})


def test_a_private_base_image_needs_its_registry_among_those_that_the_build_signs_in_to(
    account: Account, private: str
) -> None:
    host = private.partition("/")[0]
    run = private_build(account, private)
    assert run.released == NOTHING_RELEASED
    assert "401 Unauthorized" in run.log
    run = private_build(account, private, PULL_REGISTRIES=f"{REGION}/{host}")
    assert run.released == released(account, "derived", tag(FIRST))
    assert run.calls.count("GetAuthorizationToken") == 2  # also its own registry
    assert places(account, "derived", run, PASSWORD) <= {"config.json"}


def test_a_build_signs_in_to_other_registries_with_a_secret_that_the_tests_do_not_see(
    account: Account, private: str
) -> None:
    login = {"REGISTRY_LOGIN_0_USERNAME": "AWS", "REGISTRY_LOGIN_0_PASSWORD": PASSWORD}
    run = private_build(account, private, REGISTRY_LOGINS=private.partition("/")[0], **login)
    assert run.released == released(account, "derived", tag(FIRST))
    assert places(account, "derived", run, PASSWORD) <= {"config.json"}


def test_a_registry_that_refuses_the_password_stops_the_build_before_its_tests(account: Account, private: str) -> None:
    host = private.partition("/")[0]
    login = {"REGISTRY_LOGIN_0_USERNAME": "AWS", "REGISTRY_LOGIN_0_PASSWORD": "wrong"}
    run = private_build(account, private, REGISTRY_LOGINS=host, **login)
    assert run.released == NOTHING_RELEASED
    assert run.last_line == f"slipway: signing in to {host} failed: the error is above; see build.registryLogins."
    run = private_build(account, private, PULL_REGISTRIES=f"{REGION}/127.0.0.1:1")
    assert run.released == NOTHING_RELEASED
    assert run.last_line == (
        "slipway: signing in to 127.0.0.1:1 failed: the error is above; see build.pullRepositories."
    )


HUB = (
    "slipway: Docker Hub limits anonymous pulls, and this build pulls docker.io/library/nothing:1 from it: set "
    "build.dockerHubMirror, for example to public.ecr.aws/docker, or sign in to docker.io with build.registryLogins."
)


@pytest.mark.parametrize(
    "dockerfile", ["FROM nothing:1\n", "ARG B=nothing:1\nFROM $B\n", "COPY --from=nothing:1 / /\n"]
)
def test_an_anonymous_pull_from_docker_hub_is_named_with_the_way_out(account: Account, dockerfile: str) -> None:
    files = {"Dockerfile": dockerfile if "FROM" in dockerfile else f"FROM scratch\n{dockerfile}"}
    home, variables = account.prepare("hub", FIRST, files)
    # Without a network the pull fails, which is what it does at the limit.
    run = account.run(home, variables)
    assert run.released == NOTHING_RELEASED
    assert run.log.splitlines()[-2:] == [HUB, NOT_BUILT]
    mirrored = account.run(home, {**variables, "DOCKER_HUB_MIRROR": "public.ecr.aws/docker"})
    assert HUB not in mirrored.log.splitlines()


def test_a_second_commit_uses_the_registrys_cache_for_unchanged_layers(account: Account, first: Run) -> None:
    second = commit("second")
    account.forget_local_cache()
    # `text` comes after RUN in a stage that is not part of the image: only a cache of all stages contains it.
    run = account.build("storefront", second, large(account, "second"), **LARGE)
    assert run.released == released(account, "storefront", tag(second, **LARGE), "web")
    old, new = account.files("storefront", FIRST_TAG), account.files("storefront", tag(second, **LARGE))
    assert (old["text"], new["text"]) == (b"first", b"second")
    assert new["made"] == old["made"]


def test_a_cache_that_can_be_neither_read_nor_written_does_not_fail_the_build(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account.door, "caches", False)
    run = account.build("cacheless", FIRST, SMALL)
    assert run.released == released(account, "cacheless", tag(FIRST))
    assert {*account.tags("cacheless")} == {tag(FIRST)}
    assert "ERROR: failed to solve" not in run.log


def test_two_concurrent_builds_of_a_commit_both_release_the_image_that_was_pushed_first(
    account: Account, tmp_path: Path
) -> None:
    long = hashlib.sha256(b"a commit of a repository with SHA-256").hexdigest()
    looked, pushed = tmp_path / "looked", tmp_path / "pushed"
    until = "timeout 30 sh -c 'until test -e {}; do sleep 0.05; done'"
    slow = [f"touch {looked}; {until.format(pushed)}", "echo slow >text"]
    with ThreadPoolExecutor() as pool:
        second = pool.submit(account.build, "race", long, SMALL, test_commands=slow)
        first = account.build("race", long, SMALL, test_commands=[until.format(looked)])
        pushed.touch()
    assert "ERROR: failed to solve: failed to push" in second.result().log
    assert first.released == second.result().released == released(account, "race", tag(long))
    assert {*account.tags("race")} == {tag(long), "cache"}
    assert {*account.files("race", tag(long))} == {"Dockerfile"}


def test_a_build_ends_with_its_first_failed_test_command(account: Account) -> None:
    commands = ["echo fine", "echo broken >&2; exit 3", "echo never"]
    run = account.build("tested", FIRST, SMALL, test_commands=commands)
    assert run.released == NOTHING_RELEASED
    assert run.log == (
        "slipway: test: echo fine\n"
        "fine\n"
        "slipway: test: echo broken >&2; exit 3\n"
        "broken\n"
        "slipway: the test command 'echo broken >&2; exit 3' failed with exit status 3: "
        "nothing was pushed; its output is above.\n"
    )
    assert run.calls == ["BatchGetImage"]
    assert account.tags("tested") == {}


def test_a_failed_step_of_the_dockerfile_pushes_nothing(account: Account) -> None:
    dockerfile = f"FROM {account.workshop.base_image}\nRUN echo made >/made\nRUN echo broken >&2; exit 3\n"
    run = account.build("broken", FIRST, {"Dockerfile": dockerfile})
    assert run.released == NOTHING_RELEASED
    assert run.last_line == NOT_BUILT
    assert "exit code: 3" in run.log
    assert account.tags("broken") == {}


@pytest.mark.parametrize(
    "wrong", [None, "", "latest", "1a2b3c4", FIRST.upper(), f"{FIRST}0", f"{FIRST}\n", f"sha256:{FIRST}"]
)
def test_an_image_needs_a_full_commit_id(account: Account, wrong: str | None) -> None:
    run = account.build("refused", wrong, SMALL, test_commands=["echo tested"])
    assert run.released == NOTHING_RELEASED
    assert run.log == (
        f"slipway: COMMIT_ID must be the full id of a commit, got '{wrong or ''}': "
        "start the build from the pipeline, which passes it on.\n"
    )
    assert (run.calls, account.tags("refused")) == ([], {})


def test_a_commit_without_the_dockerfile_fails_with_its_expected_path(account: Account) -> None:
    run = account.build("missing", FIRST, SMALL, context="my service", dockerfile="docker/Dockerfile")
    assert run.released == NOTHING_RELEASED
    assert run.log == (
        "slipway: there is no Dockerfile at 'my service/docker/Dockerfile' in this commit: "
        "add it, or set build.context and build.dockerfile to where it is.\n"
    )


def unreadable(repository: str) -> str:
    return (
        f"slipway: the repository {repository} could not be read: the error is above; "
        "check that it exists and that the build's role may read it."
    )


def not_signed_in(address: str) -> str:
    return (
        f"slipway: signing in to {address} failed: the error is above; the build's role needs "
        "ecr:GetAuthorizationToken."
    )


def test_a_repository_that_does_not_exist_fails_the_build(account: Account) -> None:
    home, variables = account.prepare("unused", FIRST, SMALL, test_commands=["echo tested"])
    run = account.run(home, {**variables, "REPOSITORY_URL": account.url("team/nowhere")})
    assert run.released == NOTHING_RELEASED
    assert run.log.splitlines() == [
        "",
        "An error occurred (RepositoryNotFoundException) when calling the BatchGetImage operation: "
        "The repository with name 'team/nowhere' does not exist.",
        unreadable("team/nowhere"),
    ]


@pytest.mark.parametrize("operation", ["batch_get_image", "get_authorization_token"])
def test_a_role_without_access_to_the_registry_fails_the_build(
    account: Account, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(params: Params) -> Params:
        raise AwsError("AccessDeniedException", f"{ROLE} is not authorized")

    monkeypatch.setattr(account.ecr, operation, deny)
    run = account.build("denied", FIRST, SMALL)
    last = {"batch_get_image": unreadable("denied"), "get_authorization_token": not_signed_in(account.door.address)}
    assert run.released == NOTHING_RELEASED
    assert run.last_line == last[operation]
    assert f"{ROLE} is not authorized" in run.log


def test_a_registry_that_does_not_respond_fails_the_build(account: Account) -> None:
    home, variables = account.prepare("unused", FIRST, SMALL)
    run = account.run(home, {**variables, "REPOSITORY_URL": "127.0.0.1:1/unused"})
    assert run.released == NOTHING_RELEASED
    assert run.last_line == not_signed_in("127.0.0.1:1")


def test_if_the_builder_cannot_start_dockers_own_one_builds_without_a_cache(account: Account) -> None:
    home, variables = account.prepare("uncached", FIRST, SMALL, builder_image="127.0.0.1:1/buildkit")
    # Docker's own builder needs an engine, which is not always there: here its name refers to the builder of the tests.
    shim = home / "bin" / "docker"
    shim.parent.mkdir()
    shim.write_text(
        "#!/bin/bash\n"
        f'[ "$BUILDX_BUILDER" != default ] || export BUILDX_BUILDER={variables["BUILDX_BUILDER"]} '
        f"BUILDX_CONFIG={variables['BUILDX_CONFIG']}\n"
        f'exec {shutil.which("docker", path=variables["PATH"])} "$@"\n'
    )
    shim.chmod(0o755)
    del variables["BUILDX_BUILDER"]
    changed = {"BUILDX_CONFIG": str(home / "buildx"), "PATH": f"{shim.parent}:{variables['PATH']}"}
    run = account.run(home, {**variables, **changed})
    assert run.released == released(account, "uncached", tag(FIRST))
    assert {*account.tags("uncached")} == {tag(FIRST)}
    assert (
        "slipway: the builder could not start from 127.0.0.1:1/buildkit, so this build keeps no layer cache: the error "
        "is above; if its registry limits pulls, set build.builderImage to a copy in your own registry."
    ) in run.log.splitlines()


def test_a_pushed_image_that_the_repository_does_not_show_is_not_released(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account.ecr, "batch_get_image", lambda params: {"images": [], "failures": []})
    run = account.build("lost", FIRST, SMALL)
    assert run.released == NOTHING_RELEASED
    assert run.last_line == (
        f"slipway: the image was pushed, but lost does not show it under the tag {tag(FIRST)}: run the build again."
    )
