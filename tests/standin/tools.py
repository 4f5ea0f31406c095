"""Finds, or builds once, the programs that the engine tests, the journey tests and `make demo` run.

Programs on this machine come first (PATH, a Docker engine with buildx). Otherwise the engine is Pulumi's own release of
the version that engine/go.mod requires; if it cannot be downloaded within LIMIT seconds, Go builds it, as it does the
builder if no Docker engine responds. The rest comes from Debian's packages, which are unpacked into a cache and not
installed. `python -m standin.tools setup` prepares everything, `python -m standin.tools status` shows the sources.
"""

import argparse
import contextlib
import fcntl
import hashlib
import http.client
import io
import json
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "slipway"

Say = Callable[[str], object]

MODULES = Path(__file__).parent
APP = MODULES.parent / "sample" / "app"


@dataclass(frozen=True)
class Program:
    """A Go program of a module that go.mod requires."""

    name: str
    module: str
    stamp: str
    """Variables that the linker sets, so that the program knows its own version."""

    @property
    def package(self) -> str:
        return f"{self.module}/cmd/{self.name}"


ENGINE = [
    Program(
        "pulumi",
        "github.com/pulumi/pulumi/pkg/v3",
        "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version={version}",
    )
]
BUILDER = [
    Program("buildx", "github.com/docker/buildx", "github.com/docker/buildx/version.Version=v{version}"),
    Program("buildkitd", "github.com/moby/buildkit", "github.com/moby/buildkit/version.Version=v{version}"),
]

SITE = "https://get.pulumi.com/releases/sdk"
LIMIT = 90
"""Seconds that a download may take."""
SILENCE = 5
"""Seconds without data after which a download fails."""
PINNED: dict[str, str] = {}
"""SHA-256 of archives, by name. It takes precedence over the site's checksum, which is then not fetched."""

BASE_LEFT_OUT = (
    "./usr/share/*",
    "./usr/lib/*/gconv/*",
    "./usr/lib/python3*/ensurepip*",
    "./usr/lib/python3*/lib2to3*",
    "./usr/lib/python3*/pydoc_data*",
)

# Runs a command until it ends, or until its parent closes its input, for example by dying: then the command is killed,
# because it holds nothing worth keeping, and buildkitd would wait for the build in progress.
GUARD = """
exec 3<&0
"$@" </dev/null 3<&- & command=$!
{ cat <&3 >/dev/null; kill -9 $command; } &
wait $command
"""
# With its own namespaces for processes and mounts, which end with the guard, as do containers of a build in progress.
APART = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")


class Unavailable(Exception):
    """A program is missing and cannot be installed here; the message says why, and how to get it."""


class NotDownloaded(Exception):
    """A release could not be downloaded, or does not match what was published; the message says why."""


class Broken(Exception):
    """A program is here, or could be built here, but does not work: an error, never a reason to skip a test."""


def engine(say: Say = print) -> Path:
    """The `pulumi` executable: that on PATH, else that in the cache, else Pulumi's release, else one built with Go."""
    if found := shutil.which("pulumi"):
        return Path(found)
    versions = _versions("engine", ENGINE)

    def make(folder: Path) -> None:
        try:
            _download_engine(versions["pulumi"], folder, say)
        except NotDownloaded as e:
            say(f"{e}; building it with Go instead")
            try:
                _build("engine", ENGINE, folder, say)
            except Unavailable as no_go:
                raise Unavailable(f"{e}, and {no_go}") from None

    return _once(_build_name(versions), make, say) / "bin" / "pulumi"


class Address(str):
    """Of a registry: `127.0.0.1:PORT`."""

    images: Path | None = None
    """The folder with all its contents, if they are in one."""


@contextmanager
def registry() -> Iterator[Address]:
    """An empty image registry on loopback; it ends, and its images are deleted, when the context ends."""
    program = shutil.which("docker-registry") or shutil.which("registry")
    if program is None and (docker := _docker_engine(os.environ)):
        with _registry_container(docker) as address:
            yield Address(address)
        return
    if program is None:
        program = str(_unpacked("docker-registry", ["docker-registry"], print))

    with tempfile.TemporaryDirectory(prefix="slipway-registry-") as name:
        folder, address = Path(name), Address(f"127.0.0.1:{_free_port()}")
        address.images = folder / "images"
        settings = {
            "version": 0.1,
            "log": {"level": "warn", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(address.images)}, "delete": {"enabled": True}},
            "http": {"addr": address},
        }
        # JSON is YAML too.
        (folder / "config.yml").write_text(json.dumps(settings))
        command = [program, "serve", str(folder / "config.yml")]
        with _daemon("the registry", command, folder / "log", lambda: _answers(address)):
            yield address


@contextmanager
def builder(say: Say = print, buildkitd: Path | None = None) -> Iterator[dict[str, str]]:
    """Environment variables with which `docker buildx build --push`, `buildx imagetools` and `docker login` work.

    `buildkitd` is a configuration file of BuildKit's daemon.

    Of the user's own `~/.docker`, at most the plugins are read: the client's configuration is in a temporary folder.
    """
    with tempfile.TemporaryDirectory(prefix="slipway-builder-") as name:
        folder = Path(name)
        config = folder / "docker"
        config.mkdir()
        variables = {"DOCKER_CONFIG": str(config), "BUILDX_CONFIG": str(config / "buildx"), "BUILDX_BUILDER": "slipway"}
        docker = _docker_engine(os.environ)
        if docker and _has_buildx(docker):
            with _engines_builder(docker, config, variables, say, buildkitd):
                yield variables
        else:
            with _own_builder(folder, config, variables, say, buildkitd):
                yield variables


def base_image(registry: str, env: Mapping[str, str], say: Say = print) -> str:
    """The base image of the sample service: the one in its Dockerfile if a Docker engine can pull it, else a small one.

    The small one is pushed to `registry`. It consists of Debian's packages, and is not for use outside tests. `env` is
    what `builder` yields.
    """
    env = {**os.environ, **env}
    if _docker_engine(env):
        return _default_base_image()

    rootfs = _rootfs(say)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(rootfs, folder)
        (folder / "Dockerfile").write_text("FROM scratch\nADD rootfs.tar /\n")
        repository = f"{registry}/base/python"
        described = folder / "described.json"
        build = ["docker", "buildx", "build", "--provenance=false", f"--metadata-file={described}"]
        # Loopback is faster than any compression.
        output = f"--output=type=image,name={repository}:latest,push=true,compression=uncompressed"
        _run([*build, output, str(folder)], env=env)
        # By digest, so that a build need not look up the tag in the registry.
        return f"{repository}@{json.loads(described.read_text())['containerimage.digest']}"


# Docker's own builder


@contextmanager
def _engines_builder(
    docker: str, config: Path, variables: dict[str, str], say: Say, buildkitd: Path | None
) -> Iterator[None]:
    """A builder in a container of the Docker engine: the engine's built-in one cannot export a cache to a registry."""
    own = os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker"
    (config / "config.json").write_text(json.dumps({"cliPluginsExtraDirs": [str(Path(own) / "cli-plugins")]}))
    # The user's context is part of the configuration that is not used here.
    host = _run([docker, "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]).strip()
    variables |= {"PATH": _path_with(docker), "DOCKER_HOST": host, "BUILDX_BUILDER": config.parent.name}
    env = {**os.environ, **variables}
    create = [docker, "buildx", "create", "--name", variables["BUILDX_BUILDER"], "--bootstrap"]
    create += ["--buildkitd-config", str(buildkitd)] if buildkitd else []
    try:
        with _timed(say, "starting a builder in Docker", "20 seconds, longer the first time"):
            # On the host's network, or the builder would look for a registry on loopback in its own container.
            _run([*create, "--driver", "docker-container", "--driver-opt", "network=host"], env=env)
        yield
    finally:
        subprocess.run([docker, "buildx", "rm", "--force", variables["BUILDX_BUILDER"]], env=env, capture_output=True)


# Our own builder: buildx and buildkitd, without a Docker engine


@contextmanager
def _own_builder(
    folder: Path, config: Path, variables: dict[str, str], say: Say, buildkitd: Path | None
) -> Iterator[None]:
    if platform.system() != "Linux" or os.geteuid() != 0:
        raise Unavailable(
            "no Docker engine with buildx answers, and the builder that stands in for it runs as root on Linux only: "
            "start Docker, install its plugin buildx, or run this as root"
        )
    programs = _built("builder", BUILDER, say)
    docker = shutil.which("docker") or str(_unpacked("docker", ["docker-cli", "docker.io"], say))
    runc = shutil.which("runc") or str(_unpacked("runc", ["runc"], say))

    (config / "cli-plugins").mkdir()
    (config / "cli-plugins" / "docker-buildx").symlink_to(programs / "buildx")
    socket_path = folder / "buildkitd.sock"
    # `docker login` tries the engine first, and logs in itself if none listens. Here none does, whatever DOCKER_HOST
    # was, and no request goes over the network.
    variables |= {"PATH": _path_with(docker), "DOCKER_HOST": f"unix://{folder}/no-engine.sock"}
    command = [str(programs / "buildkitd"), "--addr", f"unix://{socket_path}", "--root", str(folder / "state")]
    # This socket needs its own path, or a second buildkitd on the machine would not start.
    command += ["--otel-socket-path", str(folder / "otel.sock")]
    # Overlayfs where the kernel has it, else plain copies.
    command += ["--oci-worker-snapshotter", "auto", "--containerd-worker=false"]
    command += ["--config", str(buildkitd)] if buildkitd else []
    env = {**os.environ, "PATH": _path_with(runc)}
    log = folder / "buildkitd.log"
    with _daemon("buildkitd", command, log, lambda: _listens(socket_path), env=env, inside=APART):
        create = [docker, "buildx", "create", "--name", variables["BUILDX_BUILDER"], "--driver", "remote"]
        _run([*create, f"unix://{socket_path}"], env={**os.environ, **variables})
        yield


# The base image


def _default_base_image() -> str:
    found = re.search(r"^ARG BASE_IMAGE=(\S+)$", (APP / "Dockerfile").read_text(), re.MULTILINE)
    if found is None:
        raise ValueError("tests/sample/app/Dockerfile must begin with `ARG BASE_IMAGE=<image>`, got no such line")
    return found[1]


def _rootfs(say: Say) -> Path:
    """A tar of /bin/sh with common tools, and of Python with its standard library; created once per Debian release."""

    def make(folder: Path) -> None:
        with _timed(say, "making a base image of Debian's packages, once", "10 seconds"):
            _need_debian("a base image")
            # Debian says which Python is its own: python3.11, python3.13, ...
            python = next(name for name in _dependencies("python3-minimal") if name.startswith("python3."))
            python = python.removesuffix("-minimal")
            packages = [f"{python}-minimal", f"lib{python}-minimal", f"lib{python}-stdlib"]
            packages += [*_dependencies(*packages), "busybox-static"]
            root = folder / "root"
            for place in ("bin", "sbin", "lib", "lib64"):
                (root / "usr" / place).mkdir(parents=True)
                (root / place).symlink_to(f"usr/{place}")
            (root / "tmp").mkdir()
            (root / "tmp").chmod(0o1777)
            (root / "etc").mkdir()
            # Without it a RUN with a numeric user ID fails.
            (root / "etc" / "passwd").write_text("root:x:0:0::/:/bin/sh\n")
            _download(sorted(set(packages)), folder)
            for package in sorted(folder.glob("*.deb")):
                _unpack(package, root, [f"--exclude={pattern}" for pattern in BASE_LEFT_OUT])
            (root / "usr/bin/python3").symlink_to(python)
            for tool in _run([str(root / "usr/bin/busybox"), "--list"]).split():
                with contextlib.suppress(FileExistsError):
                    (root / "usr/bin" / tool).symlink_to("busybox")
            _run(["tar", "-cf", str(folder / "rootfs.tar"), "-C", str(root), "--sort=name", "--numeric-owner", "."])
            shutil.rmtree(root)
            for package in folder.glob("*.deb"):
                package.unlink()

    return _once(_rootfs_name(), make, say) / "rootfs.tar"


def _rootfs_name() -> str:
    # Increment when _rootfs is changed.
    return f"base-1-{_debian()}-{platform.machine()}"


# A registry in a container


@contextmanager
def _registry_container(docker: str) -> Iterator[str]:
    run = [docker, "run", "--detach", "--rm", "--publish", "127.0.0.1::5000"]
    run += ["--env", "REGISTRY_STORAGE_DELETE_ENABLED=true", "registry:2"]
    container = _run(run).split()[-1]
    try:
        address = _run([docker, "port", container, "5000/tcp"]).split()[0]
        _wait("the registry's container", lambda: _answers(address), lambda: None)
        yield address
    finally:
        subprocess.run([docker, "rm", "--force", "--volumes", container], capture_output=True)


# Pulumi's release


def _download_engine(version: str, folder: Path, say: Say) -> None:
    """Pulumi's own archive for this machine; only `bin/pulumi` is kept.

    It is verified against the SHA-256 in PINNED, or without an entry there, against the checksum file that the same
    site serves over HTTPS. The latter detects a broken download, but not a compromised site, which could serve both. No
    signature is checked.
    """
    name = f"pulumi-v{version}-{_platform()}.tar.gz"
    with _timed(say, f"downloading {name}, once", f"10 seconds, {LIMIT} at most"):
        deadline = time.monotonic() + LIMIT
        expected, said_by = PINNED.get(name), "the SHA-256 that is pinned"
        if expected is None:
            published = _fetch(f"{SITE}/pulumi-{version}-checksums.txt", deadline).decode(errors="replace")
            lines = [line.split() for line in published.splitlines()]
            # sha256sum marks a binary file with a star.
            sums = {line[1].lstrip("*"): line[0].lower() for line in lines if len(line) == 2}
            expected, said_by = sums.get(name), "the SHA-256 that its site publishes"
        if expected is None:
            raise NotDownloaded(f"the checksums that are published for pulumi {version} do not name {name}")
        archive = _fetch(f"{SITE}/{name}", deadline)
        found = hashlib.sha256(archive).hexdigest()
        if found != expected:
            raise NotDownloaded(f"{name} was thrown away: its SHA-256 is {found}, and {said_by} is {expected}")
        (folder / "bin").mkdir()
        program = folder / "bin" / "pulumi"
        try:
            with tarfile.open(fileobj=io.BytesIO(archive)) as files, program.open("wb") as output:
                member = files.extractfile("pulumi/pulumi")
                assert member is not None, "pulumi/pulumi is a file"
                shutil.copyfileobj(member, output)
        except (tarfile.TarError, KeyError) as e:
            shutil.rmtree(folder / "bin")
            raise NotDownloaded(f"{name} holds no program: {e}") from None
        program.chmod(0o755)
        (folder / ORIGIN).write_text(f"Pulumi's release, with {said_by}")


def _platform() -> str:
    """Pulumi's name for this machine's platform."""
    machine = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}.get(platform.machine().lower())
    if machine is None:
        raise NotDownloaded(f"pulumi is not released for {platform.machine()}")
    return f"{platform.system().lower()}-{machine}"


def _fetch(url: str, deadline: float) -> bytes:
    parts, length = [], 0
    try:
        with urllib.request.urlopen(url, timeout=SILENCE) as response:
            expected = int(response.headers.get("Content-Length") or -1)
            # One packet at a time: `read` would wait for all of it, however slow.
            while part := response.read1(1 << 20):
                parts.append(part)
                length += len(part)
                if time.monotonic() > deadline:
                    raise NotDownloaded(f"{url} was too slow: {length} bytes in {LIMIT} seconds")
    except (OSError, http.client.HTTPException, ValueError) as e:
        reason = e.reason if isinstance(e, urllib.error.URLError) and not isinstance(e, urllib.error.HTTPError) else e
        raise NotDownloaded(f"{url} cannot be had: {reason}") from None
    if 0 <= length < expected:
        raise NotDownloaded(f"{url} ended after {length} of {expected} bytes")
    return b"".join(parts)


# Built once and kept in the cache


ORIGIN = "origin"
"""A file beside the result that describes how it was built."""


def _built(module: str, programs: Sequence[Program], say: Say) -> Path:
    """The folder with these programs, built in the versions that tests/standin/<module>/go.mod requires."""
    name = _build_name(_versions(module, programs))
    return _once(name, lambda folder: _build(module, programs, folder, say), say) / "bin"


def _build(module: str, programs: Sequence[Program], folder: Path, say: Say) -> None:
    versions = _versions(module, programs)
    go = shutil.which("go")
    if go is None:
        raise Unavailable(_no_go(programs))
    with _timed(say, f"building {_build_name(versions)} with Go, once", "4 minutes on two cores"):
        for program in programs:
            stamp = program.stamp.format(version=versions[program.name])
            output = str(folder / "bin" / program.name)
            command = [go, "build", "-ldflags", f"-s -w -X {stamp}", "-o", output, program.package]
            _run(command, cwd=MODULES / module)
    (folder / ORIGIN).write_text("built with Go")


def _versions(module: str, programs: Sequence[Program]) -> dict[str, str]:
    go_mod = (MODULES / module / "go.mod").read_text()
    versions = {}
    for program in programs:
        found = re.search(rf"^(?:require)?\s+{re.escape(program.module)} v(\S+)", go_mod, re.MULTILINE)
        if found is None:
            raise ValueError(f"tests/standin/{module}/go.mod must require {program.module}, for {program.name}")
        versions[program.name] = found[1]
    return versions


def _build_name(versions: Mapping[str, str]) -> str:
    return "-".join(f"{program}-{version}" for program, version in versions.items())


def _no_go(programs: Sequence[Program]) -> str:
    names = " and ".join(program.name for program in programs)
    instead = (
        "install pulumi itself (https://www.pulumi.com/docs/install)"
        if programs == ENGINE
        else "start a Docker engine (https://docs.docker.com/engine/install)"
    )
    return f"{names} cannot be built, because Go is not on PATH: install it (https://go.dev/doc/install), or {instead}"


def _unpacked(program: str, packages: Sequence[str], say: Say) -> Path:
    """A program from the first of these Debian packages that exists; not installed, so that no service starts."""

    def make(folder: Path) -> None:
        _need_debian(program)
        known = [package for package in packages if _known(package)]
        with _timed(say, f"{program} is not installed: unpacking Debian's package, once", "5 seconds"):
            _download(known[:1] or packages[:1], folder)
            for package in folder.glob("*.deb"):
                _unpack(package, folder, [])
                package.unlink()

    folder = _once(f"{program}-{_debian()}", make, say)
    return next(folder / place / program for place in ("usr/bin", "usr/sbin") if (folder / place / program).exists())


def _once(name: str, make: Callable[[Path], None], say: Say) -> Path:
    """The folder CACHE/name, filled by `make` the first time; an interrupted `make` leaves no folder of that name."""
    folder = CACHE / name
    if folder.exists():
        return folder
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with _timed(say, f"another process is making {name}: waiting for it", "4 minutes at most"):
                fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            return folder
        unfinished = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=CACHE))
        try:
            make(unfinished)
            unfinished.rename(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return folder


# Debian's packages


def _debian() -> str:
    with contextlib.suppress(OSError):
        return platform.freedesktop_os_release().get("VERSION_CODENAME", "unknown")
    return "unknown"


def _need_debian(what: str) -> None:
    if not shutil.which("apt-get"):
        raise Unavailable(
            f"{what} is missing, and this system has no apt-get to take it from Debian's packages: "
            "install it, or start a Docker engine"
        )
    # A new machine has no package lists, or old ones. Only root can update them; others continue with the existing
    # ones.
    subprocess.run(["apt-get", "update", "-q"], capture_output=True)


def _known(package: str) -> bool:
    return bool(subprocess.run(["apt-cache", "show", package], capture_output=True).stdout)


def _dependencies(*packages: str) -> list[str]:
    return re.findall(r"Depends: (\w\S*)$", _run(["apt-cache", "depends", *packages]), re.MULTILINE)


def _download(packages: Sequence[str], folder: Path) -> None:
    # As root, apt would download as another user, who cannot write here, and warn about it.
    _run(["apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", *packages], cwd=folder)


def _unpack(package: Path, root: Path, options: Sequence[str]) -> None:
    # Not `dpkg-deb --extract`, which would replace a link to /usr/lib with /lib.
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE) as files:
        _run(["tar", "-x", "-C", str(root), "--keep-directory-symlink", *options], stdin=files.stdout)


# Processes


@contextmanager
def _daemon(
    program: str,
    command: Sequence[str],
    log: Path,
    ready: Callable[[], bool],
    env: Mapping[str, str] | None = None,
    inside: Sequence[str] = (),
) -> Iterator[None]:
    """A process that runs as long as the context, and no longer, even if this process is killed."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*inside, "sh", "-c", GUARD, "sh", *command],
            env=env,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            # Ctrl-C in a terminal signals a whole group: this process is ended afterwards, when its users are done.
            start_new_session=True,
        )
    try:
        _wait(program, ready, lambda: None if process.poll() is None else log.read_text(errors="replace"))
        yield
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait(program: str, ready: Callable[[], bool], ended: Callable[[], str | None]) -> None:
    deadline = time.monotonic() + 20
    while not ready():
        if (log := ended()) is not None:
            raise Broken(f"{program} exited right after its start, with the output:\n{log[-1500:]}")
        if time.monotonic() > deadline:
            raise Broken(f"{program} does not answer 20 seconds after its start: is the machine overloaded?")
        time.sleep(0.02)


def _run(
    command: Sequence[str],
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: IO[bytes] | None = None,
) -> str:
    try:
        done = subprocess.run(command, env=env, cwd=cwd, stdin=stdin, capture_output=True, text=True)
    except FileNotFoundError:
        raise Unavailable(f"{command[0]} is needed and is not on PATH: install it") from None
    if done.returncode:
        raise Broken(f"`{' '.join(command[:4])} ...` failed, with the output:\n{(done.stderr or done.stdout)[-1500:]}")
    return done.stdout


def _docker_engine(env: Mapping[str, str]) -> str | None:
    """The Docker client, if an engine responds to it."""
    docker = shutil.which("docker", path=env.get("PATH"))
    if docker is None:
        return None
    try:
        done = subprocess.run([docker, "info"], env=env, capture_output=True, timeout=10)
    except subprocess.TimeoutExpired:
        return None
    return docker if done.returncode == 0 else None


def _has_buildx(docker: str) -> bool:
    return subprocess.run([docker, "buildx", "version"], capture_output=True).returncode == 0


def _answers(address: str) -> bool:
    connection = http.client.HTTPConnection(address, timeout=2)
    try:
        connection.request("GET", "/v2/")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _path_with(program: str) -> str:
    """PATH, extended so that the program is found by its name."""
    path = os.environ.get("PATH", os.defpath)
    return path if shutil.which(Path(program).name) else f"{Path(program).parent}{os.pathsep}{path}"


@contextmanager
def _timed(say: Say, doing: str, expected: str) -> Iterator[None]:
    say(f"{doing} (about {expected})")
    started = time.monotonic()
    yield
    say(f"{doing}: done in {time.monotonic() - started:.1f} s")


# python -m standin.tools


def _setup() -> None:
    engine()
    with registry() as address, builder() as env:
        print(f"the base image is {base_image(address, env)}")


def _status() -> Iterator[str]:
    docker = _docker_engine(os.environ)
    missing = "missing: `python -m standin.tools setup` makes it"

    def place(programs: Sequence[str], folder: str) -> str:
        if found := next(filter(None, map(shutil.which, programs)), None):
            return f"{found} (PATH)"
        if not (CACHE / folder).exists():
            return missing
        origin = CACHE / folder / ORIGIN
        return f"{CACHE / folder} (cache{f': {origin.read_text()}' if origin.exists() else ''})"

    yield f"engine: {place(['pulumi'], _build_name(_versions('engine', ENGINE)))}"
    builds = docker is not None and _has_buildx(docker)
    own = place([], _build_name(_versions("builder", BUILDER)))
    yield f"builder: {f'buildx of the Docker engine that answers {docker}' if builds else own}"
    if not builds:
        yield f"docker: {place(['docker'], f'docker-{_debian()}')}"
        yield f"runc: {place(['runc'], f'runc-{_debian()}')}"
    registries = place(["docker-registry", "registry"], f"docker-registry-{_debian()}")
    yield f"registry: {'a container' if docker and registries == missing else registries}"
    yield f"base image: {_default_base_image() if docker else place([], _rootfs_name())}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m standin.tools", description="The programs that the tests run.")
    parser.add_argument("command", choices=["setup", "status"], help="make what is missing, or only say what is there")
    try:
        if parser.parse_args().command == "setup":
            _setup()
        for line in _status():
            print(line)
    except (Unavailable, Broken) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
