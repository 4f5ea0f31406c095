import functools
import hashlib
import io
import shutil
import tarfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from standin import tools


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tools, "CACHE", tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for module in ("engine", "builder"):
        (tmp_path / module).mkdir()
    (tmp_path / "engine" / "go.mod").write_text("require github.com/pulumi/pulumi/pkg/v3 v3.1.2\n")
    (tmp_path / "builder" / "go.mod").write_text(
        "require (\n\tgithub.com/docker/buildx v0.4.5\n\tgithub.com/moby/buildkit v0.6.7 // indirect\n)\n"
    )
    monkeypatch.setattr(tools, "MODULES", tmp_path)
    return tmp_path


def test_builds_are_cached_by_the_versions_that_go_mod_requires(modules: Path) -> None:
    assert tools._build_name(tools._versions("engine", tools.ENGINE)) == "pulumi-3.1.2"
    assert tools._build_name(tools._versions("builder", tools.BUILDER)) == "buildx-0.4.5-buildkitd-0.6.7"


def test_a_module_that_does_not_require_its_program_is_rejected(modules: Path) -> None:
    (modules / "engine" / "go.mod").write_text("module slipway.invalid/engine\n")
    with pytest.raises(ValueError) as error:
        tools._versions("engine", tools.ENGINE)
    assert str(error.value) == "tests/standin/engine/go.mod must require github.com/pulumi/pulumi/pkg/v3, for pulumi"


def test_a_program_on_path_is_preferred_to_building_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda program: f"/somewhere/{program}")
    assert tools.engine() == Path("/somewhere/pulumi")


def test_without_pulumi_and_go_the_message_says_where_to_get_either(
    cache: Path, modules: Path, site: "Site", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda program, **_: None)
    with pytest.raises(tools.Unavailable) as error:
        tools.engine()
    assert str(error.value) == (
        f"{site.url}/pulumi-3.1.2-checksums.txt cannot be had: HTTP Error 404: Not Found, and pulumi cannot be built, "
        "because Go is not on PATH: install it (https://go.dev/doc/install), "
        "or install pulumi itself (https://www.pulumi.com/docs/install)"
    )
    assert list(cache.glob("pulumi*")) == [cache / "pulumi-3.1.2.lock"]


class Site:
    """Simulates the download site: the files by path, how many bytes of them, and how many per second."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cut: dict[str, int] = {}
        self.slow: set[str] = set()
        self.requests: list[str] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.requests.append(self.path)
                if self.path not in site.files:
                    return self.send_error(404)
                body = site.files[self.path]
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.path in site.slow:
                    for byte in body:
                        self.wfile.write(bytes([byte]))
                        time.sleep(0.1)
                self.wfile.write(body[: site.cut.get(self.path)])

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that goes away
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


NAME = "pulumi-v3.1.2-linux-x64.tar.gz"
ARCHIVE, SUMS = f"/{NAME}", "/pulumi-3.1.2-checksums.txt"
PROGRAM = b"#!/bin/sh\necho v3.1.2\n" + b"#" * 3000


@functools.cache
def packed(name: str = "pulumi/pulumi") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=0) as files:
        for path, content in {"pulumi/README": b"-", name: PROGRAM}.items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            files.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A site without any release, and a machine that Pulumi is released for, with Go."""
    made = Site()
    monkeypatch.setattr(tools, "SITE", made.url)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("platform.system", lambda: "Linux")
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Records what would be built with Go, which would take minutes."""
    made: list[str] = []

    def build(module: str, programs: object, folder: Path, say: object) -> None:
        made.append(module)
        (folder / "bin").mkdir()

    monkeypatch.setattr(shutil, "which", lambda program, **_: None)
    monkeypatch.setattr(tools, "_build", build)
    return made


def release(site: Site, archive: bytes | None = None, name: str = NAME) -> None:
    site.files[ARCHIVE] = packed() if archive is None else archive
    site.files[SUMS] = f"{'0' * 64}  other.tar.gz\n{hashlib.sha256(packed()).hexdigest()}  {name}\n".encode()


def test_the_engine_is_pulumis_release_of_the_version_in_go_mod(
    cache: Path, modules: Path, site: Site, built: list[str]
) -> None:
    release(site)
    lines: list[str] = []
    engine = tools.engine(lines.append)
    assert (engine, engine.read_bytes()) == (cache / "pulumi-3.1.2" / "bin" / "pulumi", PROGRAM)
    assert engine.stat().st_mode & 0o777 == 0o755
    assert (built, site.requests) == ([], [SUMS, ARCHIVE])
    assert lines[0] == f"downloading {NAME}, once (about 10 seconds, 90 at most)"
    assert tools.engine(lines.append) == engine
    assert (len(site.requests), len(lines)) == (2, 2)
    status = list(tools._status())[0]
    assert status == (
        f"engine: {cache}/pulumi-3.1.2 (cache: Pulumi's release, with the SHA-256 that its site publishes)"
    )


def test_a_pinned_checksum_takes_precedence_and_the_sites_is_not_fetched(
    cache: Path, modules: Path, site: Site, built: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    release(site)
    monkeypatch.setitem(tools.PINNED, NAME, hashlib.sha256(packed()).hexdigest())
    tools.engine(lambda _: None)
    assert (built, site.requests) == ([], [ARCHIVE])
    assert (cache / "pulumi-3.1.2" / "origin").read_text() == "Pulumi's release, with the SHA-256 that is pinned"


OTHER = packed("pulumi/other")
SUM, OTHER_SUM = hashlib.sha256(packed()).hexdigest(), hashlib.sha256(OTHER).hexdigest()
THROWN_AWAY = f"{NAME} was thrown away: its SHA-256 is"


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("other archive", f"{THROWN_AWAY} {OTHER_SUM}, and the SHA-256 that its site publishes is {SUM}"),
        ("pinned to another", f"{THROWN_AWAY} {SUM}, and the SHA-256 that is pinned is {'1' * 64}"),
        ("truncated", f"{{site}}{ARCHIVE} ended after 1000 of {len(packed())} bytes"),
        ("no archive", f"{{site}}{ARCHIVE} cannot be had: HTTP Error 404: Not Found"),
        ("no checksum of it", f"the checksums that are published for pulumi 3.1.2 do not name {NAME}"),
        ("no program in it", f"{NAME} holds no program: \"filename 'pulumi/pulumi' not found\""),
        ("no site", f"{{site}}{SUMS} cannot be had: [Errno 111] Connection refused"),
        ("another machine", "pulumi is not released for riscv64"),
    ],
    ids=lambda text: text if len(text) < 20 else "",
)
def test_if_the_release_cannot_be_downloaded_go_builds_the_engine_and_the_reason_is_printed(
    fault: str, reason: str, cache: Path, modules: Path, site: Site, built: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    release(site, archive=OTHER if fault == "other archive" else None)
    match fault:
        case "pinned to another":
            monkeypatch.setitem(tools.PINNED, NAME, "1" * 64)
        case "truncated":
            site.cut[ARCHIVE] = 1000
        case "no archive":
            del site.files[ARCHIVE]
        case "no checksum of it":
            release(site, name="pulumi-v3.1.2-windows-x64.zip")
        case "no program in it":
            site.files[ARCHIVE] = OTHER
            site.files[SUMS] = f"{hashlib.sha256(OTHER).hexdigest()}  {NAME}".encode()
        case "no site":
            site.server.shutdown()
            site.server.server_close()
        case "another machine":
            monkeypatch.setattr("platform.machine", lambda: "riscv64")
    lines: list[str] = []
    tools.engine(lines.append)
    assert lines[-1] == f"{reason.format(site=site.url)}; building it with Go instead"
    assert built == ["engine"]


@pytest.mark.parametrize("slow", [SUMS, ARCHIVE])
def test_a_slow_site_is_abandoned(
    slow: str, cache: Path, modules: Path, site: Site, built: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    release(site)
    site.slow.add(slow)
    monkeypatch.setattr(tools, "LIMIT", 2)
    began, lines = time.monotonic(), list[str]()
    tools.engine(lines.append)
    assert time.monotonic() - began < 15
    assert lines[-1].startswith(f"{site.url}{slow} was too slow: ")
    assert built == ["engine"]


def test_a_stalled_site_is_abandoned(
    cache: Path, modules: Path, site: Site, built: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    release(site)
    site.files[ARCHIVE] += b"-"  # never sent
    site.cut[ARCHIVE] = -1
    monkeypatch.setattr(tools, "SILENCE", 0.3)
    monkeypatch.setattr(BaseHTTPRequestHandler, "finish", lambda _: time.sleep(2))
    lines: list[str] = []
    tools.engine(lines.append)
    assert lines[-1] == f"{site.url}{ARCHIVE} cannot be had: timed out; building it with Go instead"
    assert built == ["engine"]


@pytest.mark.parametrize(("buildx", "expected"), [("exit 0", True), ("exit 1", False)])
def test_a_docker_engine_without_buildx_is_not_a_builder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, buildx: str, expected: bool
) -> None:
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/sh\n[ "$1" = info ] && exit 0\n[ "$1" = buildx ] && {buildx}\nexit 2\n')
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert tools._docker_engine({"PATH": str(tmp_path)}) == str(docker)
    [status] = [line for line in tools._status() if line.startswith("builder: ")]
    assert ("buildx of the Docker engine" in status) == expected


def test_cached_programs_are_not_built_again(cache: Path) -> None:
    made: list[Path] = []
    folders = [tools._once("thing-1", made.append, print) for _ in range(2)]
    assert folders == [cache / "thing-1", cache / "thing-1"]
    assert len(made) == 1


def test_an_interrupted_build_leaves_no_complete_folder(cache: Path) -> None:
    def cut_off(folder: Path) -> None:
        (folder / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tools._once("thing-1", cut_off, print)
    assert [entry.name for entry in cache.iterdir()] == ["thing-1.lock"]


def test_a_daemon_that_exits_at_once_is_reported_with_its_output(tmp_path: Path) -> None:
    command = ["sh", "-c", "echo no room >&2; exit 3"]
    with pytest.raises(tools.Broken) as error, tools._daemon("it", command, tmp_path / "log", lambda: False):
        pass
    assert str(error.value) == "it exited right after its start, with the output:\nno room\n"


def test_a_daemon_ends_with_its_context(tmp_path: Path) -> None:
    number = tmp_path / "number"
    command = ["sh", "-c", f"echo $$ > {number}.part; mv {number}.part {number}; exec sleep 60"]
    with tools._daemon("it", command, tmp_path / "log", number.exists):
        process = Path("/proc") / number.read_text().strip()
        assert process.exists()
    assert not process.exists()
