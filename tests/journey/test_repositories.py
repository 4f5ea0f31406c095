"""Repositories of the kinds that public ones are of, from a commit through the zip to the files in the image."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from standin.actions import unzip, zipped
from standin.codebuild import unpack
from standin.world import Workshop

from journey.builds import NOT_BUILT, NOTHING_RELEASED, Account, Run, opened, released, tag


@pytest.fixture(scope="module")
def account(shared: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    with opened(shared, tmp_path_factory.mktemp("repositories")) as made:
        yield made


@dataclass(frozen=True)
class Kind:
    """A repository, the settings of its build, and what is in its image."""

    files: Mapping[str, str | bytes]
    """Contents by path; BASE stands for an image with a shell and Python."""
    image: Mapping[str, bytes] = field(default_factory=dict)
    """Exactly the files in the image, by path."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Parts of the image's configuration."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    executable: tuple[str, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    """Targets of symbolic links, by path."""


def dockerfile(*lines: str, end: str = "\n") -> str:
    return "".join(f"{line}{end}" for line in lines)


def made(*lines: str) -> str:
    """A Dockerfile whose image has only what a stage with a shell put into /out."""
    return dockerfile("FROM BASE AS made", "WORKDIR /src", *lines, "FROM scratch", "COPY --from=made /out /")


KINDS = {
    "the last of several stages": Kind(
        {"Dockerfile": dockerfile("FROM scratch AS a", "COPY a /", "FROM scratch", "COPY b /"), "a": "1", "b": "2"},
        {"b": b"2"},
    ),
    "a stage that is the target": Kind(
        {"Dockerfile": dockerfile("FROM scratch AS a", "COPY a /", "FROM scratch", "COPY b /"), "a": "1", "b": "2"},
        {"a": b"1"},
        settings={"target": "a"},
    ),
    "a stage named like an image": Kind(
        {"Dockerfile": dockerfile("FROM scratch AS node", "COPY a /", "FROM node", "COPY b /"), "a": "1", "b": "2"},
        {"a": b"1", "b": b"2"},
    ),
    "a stage by number": Kind(
        {"Dockerfile": dockerfile("FROM scratch", "COPY a /", "FROM scratch", "COPY --from=0 /a /c"), "a": "1"},
        {"c": b"1"},
    ),
    "ARG before FROM": Kind(
        {"Dockerfile": dockerfile("ARG OF=none", "FROM ${OF}", "ARG OF", "COPY a /$OF"), "a": "1"},
        {"scratch": b"1"},
        settings={"build_args": {"OF": "scratch"}},
    ),
    "a default of ARG": Kind(
        {"Dockerfile": made("ARG GREETING='a  b'", 'RUN mkdir /out && printf %s "$GREETING" >/out/g')}, {"g": b"a  b"}
    ),
    "the commit as an argument": Kind(
        {"Dockerfile": dockerfile("FROM scratch", "ARG COMMIT_ID", "LABEL c=$COMMIT_ID", "COPY a /"), "a": "1"},
        {"a": b"1"},
    ),
    "the platform as an argument": Kind(
        {"Dockerfile": made("ARG TARGETOS TARGETARCH", 'RUN mkdir /out && printf %s "$TARGETOS" >/out/p')},
        {"p": b"linux"},
    ),
    "a mount of a cache": Kind(
        {"Dockerfile": made("RUN --mount=type=cache,target=/c mkdir /out && touch /c/left && echo 1 >/out/a")},
        {"a": b"1\n"},
    ),
    "a mount of the context": Kind(
        {"Dockerfile": made("RUN --mount=type=bind,target=/ctx mkdir /out && cp /ctx/a /out"), "a": "1"}, {"a": b"1"}
    ),
    "a mount in memory": Kind(
        {"Dockerfile": made("RUN --mount=type=tmpfs,target=/out/t mkdir -p /out && echo 1 >/out/t/x; echo 1 >/out/a")},
        {"a": b"1\n"},
    ),
    "RUN with a heredoc": Kind(
        {"Dockerfile": made("RUN <<EOF", "mkdir /out", "echo one >/out/a", "echo $((1 + 1)) >>/out/a", "EOF")},
        {"a": b"one\n2\n"},
    ),
    "RUN with a heredoc for an interpreter": Kind(
        {"Dockerfile": made("RUN mkdir /out", "RUN python3 <<EOF", "open('/out/a', 'w').write('py')", "EOF")},
        {"a": b"py"},
    ),
    "COPY with heredocs": Kind(
        {"Dockerfile": dockerfile("FROM scratch", "COPY <<a <<'b' /", "one", "a", "$two", "b")},
        {"a": b"one\n", "b": b"$two\n"},
    ),
    "a .dockerignore": Kind(
        {
            "Dockerfile": dockerfile("FROM scratch", "COPY . /"),
            ".dockerignore": "*\n!kept\nkept/*.key\n",
            "kept/a": "1",
            "kept/b.key": "private",
            "node_modules/c": "2",
            ".env": "PASSWORD=1",
        },
        {"kept/a": b"1"},
    ),
    "a .dockerignore for one Dockerfile": Kind(
        {
            "docker/web": dockerfile("FROM scratch", "COPY . /"),
            "docker/web.dockerignore": "docker\nb\n.dockerignore\nimagedefinitions.json\nslipway.env\n",
            ".dockerignore": "a\n",
            "a": "1",
            "b": "2",
        },
        {"a": b"1"},
        settings={"dockerfile": "docker/web"},
    ),
    "a Dockerfile outside the context": Kind(
        {"docker/Dockerfile": dockerfile("FROM scratch", "COPY . /"), "app/a": "1", "b": "2"},
        {"a": b"1"},
        settings={"context": "app", "dockerfile": "../docker/Dockerfile"},
    ),
    "a Dockerfile with another name": Kind(
        {"Containerfile": dockerfile("FROM scratch", "COPY a /"), "a": "1", "Dockerfile": "FROM broken"},
        {"a": b"1"},
        settings={"dockerfile": "Containerfile"},
    ),
    "a monorepo, from its root": Kind(
        {
            "services/api/Dockerfile": dockerfile("FROM scratch", "COPY shared services/api/src /"),
            "services/api/src/a": "1",
            "services/web/src/a": "2",
            "shared/s": "3",
        },
        {"a": b"1", "s": b"3"},
        settings={"dockerfile": "services/api/Dockerfile"},
    ),
    "a monorepo, from a folder": Kind(
        {"services/my api/Dockerfile": dockerfile("FROM scratch", "COPY . /"), "services/my api/a": "1", "b": "2"},
        {"Dockerfile": dockerfile("FROM scratch", "COPY . /").encode(), "a": b"1"},
        settings={"context": "services/my api"},
    ),
    "names with spaces and of any language": Kind(
        {"Dockerfile": dockerfile("FROM scratch", 'COPY ["a b", "größe", "/"]'), "a b": "1", "größe": "2"},
        {"a b": b"1", "größe": b"2"},
    ),
    "wildcards": Kind(
        {"Dockerfile": dockerfile("FROM scratch", "COPY *.txt d?/x /"), "a.txt": "1", "d1/x": "2", "b.md": "3"},
        {"a.txt": b"1", "x": b"2"},
    ),
    "binary and empty files": Kind(
        {"Dockerfile": dockerfile("FROM scratch", "COPY b e /"), "b": bytes(range(256)), "e": ""},
        {"b": bytes(range(256)), "e": b""},
    ),
    "a symbolic link, which CodePipeline's zip turns into a file": Kind(
        {"Dockerfile": dockerfile("FROM scratch", "COPY a link /"), "a": "1"},
        {"a": b"1", "link": b"a"},
        links={"link": "a"},
    ),
    "a script whose permission CodePipeline's zip loses": Kind(
        {
            "Dockerfile": made("COPY run.sh .", "RUN test ! -x run.sh && sh run.sh"),
            "run.sh": "mkdir /out; echo 1 >/out/a",
        },
        {"a": b"1\n"},
        executable=("run.sh",),
    ),
    "a script whose permission the Dockerfile sets": Kind(
        {
            "Dockerfile": made("COPY --chmod=755 run.sh .", "RUN ./run.sh"),
            "run.sh": "#!/bin/sh\nmkdir /out; echo 1 >/out/a",
        },
        {"a": b"1\n"},
        executable=("run.sh",),
    ),
    "another owner and a layer of its own": Kind(
        {"Dockerfile": dockerfile("FROM scratch", "COPY --link --chown=1000:1000 a /"), "a": "1"}, {"a": b"1"}
    ),
    "lines that end in CRLF": Kind(
        {"Dockerfile": dockerfile("FROM scratch", "COPY a \\", "  b /", end="\r\n"), "a": "1\r\n", "b": "2"},
        {"a": b"1\r\n", "b": b"2"},
    ),
    "a byte order mark": Kind(
        {"Dockerfile": "\ufeff" + dockerfile("FROM scratch", "COPY a /"), "a": "\ufeff1"},
        {"a": "\ufeff1".encode()},
    ),
    "small letters, comments and continued lines": Kind(
        {
            "Dockerfile": dockerfile("# a comment", "from scratch", "copy a \\", "# between", "", "  b /"),
            "a": "1",
            "b": "2",
        },
        {"a": b"1", "b": b"2"},
    ),
    "another character that continues a line": Kind(
        {"Dockerfile": dockerfile("# escape=`", "FROM scratch", "COPY a `", "  b /"), "a": "1", "b": "2"},
        {"a": b"1", "b": b"2"},
    ),
    "another shell": Kind(
        {"Dockerfile": made('SHELL ["/bin/sh", "-ec"]', "RUN mkdir /out; false || true; echo $0 >/out/a")},
        {"a": b"/bin/sh\n"},
    ),
    "what the image says": Kind(
        {
            "Dockerfile": dockerfile(
                "FROM scratch",
                "ENV A=1 B=$A",
                "WORKDIR /srv",
                "WORKDIR app",
                "USER 1000:1000",
                "EXPOSE 8080/tcp",
                "VOLUME /data",
                "STOPSIGNAL SIGINT",
                'HEALTHCHECK --interval=5s CMD ["/run", "check"]',
                "COPY a .",
                'ENTRYPOINT ["/run"]',
                'CMD ["serve"]',
            ),
            "a": "1",
        },
        {"srv/app/a": b"1"},
        {
            "User": "1000:1000",
            "WorkingDir": "/srv/app",
            "ExposedPorts": {"8080/tcp": {}},
            "Volumes": {"/data": {}},
            "StopSignal": "SIGINT",
            "Entrypoint": ["/run"],
            "Cmd": ["serve"],
            "Healthcheck": {"Test": ["CMD", "/run", "check"], "Interval": 5_000_000_000},
        },
    ),
}


def build(account: Account, kind: Kind, folder: Path, repository: str) -> tuple[Run, str]:
    """Commits the repository and builds what a source action stores of it. Returns the run and the commit."""

    def git(*arguments: str) -> bytes:
        who = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "core.autocrlf=false"]
        return subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True).stdout

    for path, content in kind.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        data = content if isinstance(content, bytes) else content.encode()
        (folder / path).write_bytes(data.replace(b"BASE", account.workshop.base_image.encode()))
    for path in kind.executable:
        (folder / path).chmod(0o755)
    for path, target in kind.links.items():
        (folder / path).symlink_to(target)
    git("init", "--quiet")
    git("add", "--all")
    git("commit", "--quiet", "--message", "all")
    commit = git("rev-parse", "HEAD").decode().strip()
    home, variables = account.prepare(repository, commit, {}, **kind.settings)
    unpack(zipped(unzip(git("archive", "--format=zip", "HEAD"))), home / "src")
    return account.run(home, variables), commit


@pytest.mark.parametrize("name", KINDS)
def test_a_repository_is_built_into_an_image_with_exactly_these_files(
    account: Account, name: str, tmp_path: Path
) -> None:
    kind, repository = KINDS[name], f"kind-{list(KINDS).index(name)}"
    run, commit = build(account, kind, tmp_path, repository)
    built = tag(commit, **kind.settings)
    assert run.released == released(account, repository, built), run.log
    assert account.files(repository, built) == kind.image
    config = account.config(repository, built)["config"]
    assert config["Labels"]["org.opencontainers.image.revision"] == commit
    assert {key: config.get(key) for key in kind.config} == kind.config


REFUSED = {
    "no Dockerfile": (
        Kind({"a": "1"}),
        "slipway: there is no Dockerfile at './Dockerfile' in this commit: add it, or set build.context and "
        "build.dockerfile to where it is.",
    ),
    "a file that does not exist": (Kind({"Dockerfile": dockerfile("FROM scratch", "COPY a /")}), NOT_BUILT),
    "a file that is ignored": (
        Kind({"Dockerfile": dockerfile("FROM scratch", "COPY a /"), ".dockerignore": "a", "a": "1"}),
        NOT_BUILT,
    ),
    "a file outside the context": (
        Kind({"app/Dockerfile": dockerfile("FROM scratch", "COPY ../a /"), "a": "1"}, settings={"context": "app"}),
        NOT_BUILT,
    ),
    "a target that does not exist": (
        Kind({"Dockerfile": dockerfile("FROM scratch AS a", "COPY a /"), "a": "1"}, settings={"target": "b"}),
        NOT_BUILT,
    ),
    "an instruction that does not exist": (Kind({"Dockerfile": dockerfile("FROM scratch", "COPPY a /")}), NOT_BUILT),
    "a script that is run without its permission": (
        Kind({"Dockerfile": made("COPY run.sh .", "RUN ./run.sh"), "run.sh": "#!/bin/sh\n"}, executable=("run.sh",)),
        NOT_BUILT,
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_repository_that_cannot_be_built_releases_nothing(account: Account, name: str, tmp_path: Path) -> None:
    kind, message = REFUSED[name]
    repository = f"refused-{list(REFUSED).index(name)}"
    run, _ = build(account, kind, tmp_path, repository)
    assert run.released == NOTHING_RELEASED
    assert run.last_line == message
    assert account.tags(repository) == {}
