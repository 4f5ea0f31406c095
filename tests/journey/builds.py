"""An account in which build.sh runs as in CodeBuild: real bash, aws and docker buildx, a registry with a password."""

from __future__ import annotations

import base64
import gzip
import hashlib
import http.client
import io
import json
import os
import platform
import secrets
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, cast

import yaml
from slipway import BuildArgs, Repository
from slipway.build.component import environment, index_buildspec, own_buildspec
from standin import tools
from standin.api import REGION, Api, Params
from standin.clock import Clock
from standin.codebuild import script, shell_environment
from standin.ecr import DIRECT, Ecr
from standin.world import Workshop

ROLE = "arn:aws:iam::123456789012:role/storefront-build-role"
# Of this run only, so that they can be found wherever they end up.
PASSWORD, SECRET, TOKEN, NPM, PIP = (secrets.token_hex(20) for _ in range(5))
LOGIN = base64.b64encode(f"AWS:{PASSWORD}".encode()).decode()

SMALL = {"Dockerfile": "FROM scratch\nCOPY . /\n"}
COMMITTED = {
    "imagedefinitions.json": '[{"name":"app","imageUri":"stale"}]',
    "slipway.env": "IMAGE_URI=stale\nIMAGE_DIGEST=stale\nIMAGE_TAG=stale\n",
}
"""Files that every commit here contains by mistake."""

NOT_BUILT = (
    "slipway: the image could not be built or pushed: the error is above, "
    "beside the step of the Dockerfile or the push that failed."
)


def commit(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest()


def tag(commit: str, machine: str = platform.machine(), **build: Any) -> str:
    """The tag of an image that is built with these settings: a hash of what it is built with follows the commit."""
    given = {"context": ".", "dockerfile": "Dockerfile", "target": "", "build_args": {}, **build}
    arguments = "\n".join(f"{name}={value}" for name, value in sorted(given["build_args"].items()))
    settings = given["context"], given["dockerfile"], given["target"], arguments, machine
    known = "".join(f"{each}\0" for each in settings)
    return f"{commit}-{hashlib.sha256(known.encode()).hexdigest()[:12]}"


class Door(ThreadingHTTPServer):
    """What ECR does and a registry on loopback does not: require the password and the right to a repository, and
    refuse to overwrite a tag."""

    def __init__(self, registry: str, login: str = LOGIN) -> None:
        super().__init__(("127.0.0.1", 0), Visitor)
        self.registry, self.login = registry, login
        self.denies: Callable[[str], bool] = lambda path: False
        self.caches = True

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPConnection(self.registry)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return answer, answer.read()
        finally:
            connection.close()

    def refuses(self, path: str) -> bool:
        if path.endswith("/manifests/cache"):
            return not self.caches
        return self.ask("HEAD", path, headers={"Accept": "*/*"})[0].status == 200


class Visitor(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Door

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Authorization") != f"Basic {self.server.login}":
            self._answer(401, {"WWW-Authenticate": 'Basic realm="ECR"'})
        elif self.server.denies(self.path):
            self._answer(403, {}, b'{"errors":[{"code":"DENIED","message":"is not authorized to perform"}]}')
        elif self.command == "PUT" and "/manifests/" in self.path and self.server.refuses(self.path):
            self._answer(400, {}, b'{"errors":[{"code":"TAG_INVALID","message":"the tag is immutable"}]}')
        else:
            answer, data = self.server.ask(self.command, self.path, body, dict(self.headers))
            self._answer(answer.status, dict(answer.headers), data)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = _pass_on

    def _answer(self, status: int, headers: dict[str, str], data: bytes = b"") -> None:
        self.send_response(status)
        length = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(data))
        for name, value in {**headers, "Content-Length": length}.items():
            if name not in ("Transfer-Encoding", "Connection", "Date", "Server"):
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


class PasswordEcr(Ecr):
    def get_authorization_token(self, params: Params) -> Params:
        [data] = super().get_authorization_token(params)["authorizationData"]
        return {"authorizationData": [{**data, "authorizationToken": LOGIN}]}


@dataclass(frozen=True)
class Run:
    """What CodeBuild gets from a build."""

    status: int
    log: str
    exported: dict[str, str]
    artifact: str | None
    """imagedefinitions.json, which is uploaded whether or not the build succeeded."""
    folder: Path
    calls: list[str]
    """The requests to AWS."""

    @property
    def last_line(self) -> str:
        return self.log.splitlines()[-1]

    @property
    def released(self) -> tuple[int, str | None, dict[str, str]]:
        """The digest that the pipeline continues with."""
        return self.status, self.artifact, self.exported


NOTHING_RELEASED = (1, None, dict[str, str]())


@dataclass(frozen=True)
class Account:
    workshop: Workshop
    api: Api
    ecr: Ecr
    door: Door
    folder: Path

    def url(self, repository: str) -> str:
        return f"{self.door.address}/{repository}"

    def prepare(
        self, repository: str, commit: str | None, source: Mapping[str, str], **build: Any
    ) -> tuple[Path, Params]:
        """The folder of a source, and the environment of its build."""
        self.ecr.create_repository({"repositoryName": repository})
        home = Path(mkdtemp(dir=self.folder))
        for path, text in {**COMMITTED, **source}.items():
            (home / "src" / path).parent.mkdir(parents=True, exist_ok=True)
            (home / "src" / path).write_text(text)
        registry = Repository()
        registry.url = cast(Any, self.url(repository))
        return home, {
            **shell_environment(self.workshop.builder, Path(sys.executable).parent),
            "HOME": str(home),
            "TMPDIR": str(home),
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self.api.url,
            **self.api.credentials_for(ROLE),
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_SESSION_TOKEN": TOKEN,
            **environment(BuildArgs(registry=registry, **build)),
            **({} if commit is None else {"COMMIT_ID": commit}),
        }

    def run(self, home: Path, variables: Params) -> Run:
        signs_in = not {"PULL_REGISTRIES", "REGISTRY_LOGINS", "DOCKER_HUB_MIRROR"}.isdisjoint(variables)
        buildspec = own_buildspec(
            signs_in, with_sbom="SBOM_GENERATOR" in variables, with_paths="WRITABLE_PATHS" in variables
        )
        return self.run_buildspec(buildspec, home, variables)

    def index(self, repository: str, commit: str, builds: Sequence[Run]) -> Run:
        """Makes an index of the images of these builds."""
        home, variables = self.prepare(repository, commit, {})
        made = {f"{name}S": " ".join(b.exported[name] for b in builds) for name in ("IMAGE_DIGEST", "IMAGE_TAG")}
        return self.run_buildspec(index_buildspec(), home, {**variables, **made})

    def run_buildspec(self, text: str, home: Path, variables: Params) -> Run:
        before, exported, buildspec = len(self.api.calls), home / "exported", yaml.safe_load(text)
        done = subprocess.run(
            ["bash", "-c", script(buildspec, exported)],
            cwd=home / "src",
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        values = dict(pair.split("=", 1) for pair in exported.read_text().split("\0") if pair)
        assert buildspec["artifacts"]["files"] == ["imagedefinitions.json"]
        artifact = home / "src" / "imagedefinitions.json"
        return Run(
            done.returncode,
            done.stdout,
            {name: values[name] for name in buildspec["env"]["exported-variables"] if name in values},
            artifact.read_text() if artifact.exists() else None,
            home,
            [call.operation for call in self.api.calls[before:]],
        )

    def build(self, repository: str, commit: str | None, source: Mapping[str, str], **build: Any) -> Run:
        return self.run(*self.prepare(repository, commit, source, **build))

    def tags(self, repository: str) -> dict[str, str]:
        """The digest of each tag."""
        images = self.ecr.list_images({"repositoryName": repository})["imageIds"]
        return {image["imageTag"]: image["imageDigest"] for image in images}

    def manifest(self, repository: str, tag: str) -> Params:
        manifest: Params = json.loads(self.manifest_text(repository, tag))
        return manifest

    def manifest_text(self, repository: str, tag: str) -> str:
        found = self.ecr.batch_get_image({"repositoryName": repository, "imageIds": [{"imageTag": tag}]})
        return str(found["images"][0]["imageManifest"])

    def referrers(self, repository: str, digest: str) -> list[Params]:
        """The manifests that refer to an image."""
        found = self.ecr.list_image_referrers({"repositoryName": repository, "subjectId": {"imageDigest": digest}})
        ids = [{"imageDigest": each["digest"]} for each in found["referrers"]]
        images = self.ecr.batch_get_image({"repositoryName": repository, "imageIds": ids})["images"]
        return [json.loads(image["imageManifest"]) for image in images]

    def blob(self, repository: str, digest: str) -> bytes:
        with DIRECT.open(f"http://{self.door.registry}/v2/{repository}/blobs/{digest}") as answer:
            data: bytes = answer.read()
        return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data

    def config(self, repository: str, tag: str) -> Params:
        config: Params = json.loads(self.blob(repository, self.manifest(repository, tag)["config"]["digest"]))
        return config

    def files(self, repository: str, tag: str) -> dict[str, bytes]:
        """The files in an image."""
        found = {}
        for layer in self.manifest(repository, tag)["layers"]:
            with tarfile.open(fileobj=io.BytesIO(self.blob(repository, layer["digest"]))) as archive:
                for member in archive:
                    if member.isreg() and (file := archive.extractfile(member)):
                        found[member.name] = file.read()
        return found

    def forget_local_cache(self) -> None:
        """As if the next build ran on another machine."""
        prune = ["docker", "buildx", "prune", "--all", "--force"]
        subprocess.run(prune, env={**os.environ, **self.workshop.builder}, check=True, capture_output=True)


@contextmanager
def serving(door: Door) -> Iterator[None]:
    threading.Thread(target=door.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield
    finally:
        door.shutdown()
        door.server_close()


@contextmanager
def opened(shared: Workshop, folder: Path) -> Iterator[Account]:
    """An account for builds."""
    clock = Clock()
    with tools.registry() as registry, Door(registry) as door, serving(door), Api(clock) as api:
        ecr = PasswordEcr(registry, clock)
        api.register("ecr", ecr)
        yield Account(shared, api, ecr, door, folder)


def uri(account: Account, repository: str, tag: str) -> str:
    return f"{account.url(repository)}@{account.tags(repository)[tag]}"


def released(account: Account, repository: str, tag: str, container: str = "app") -> tuple[int, str, dict[str, str]]:
    """The outputs of a build whose image has this tag in the registry."""
    image = uri(account, repository, tag)
    artifact = f'[{{"name":"{container}","imageUri":"{image}"}}]\n'
    exported = {"IMAGE_URI": image, "IMAGE_DIGEST": image.rpartition("@")[2], "IMAGE_TAG": tag}
    return 0, artifact, exported


def places(account: Account, repository: str, run: Run, *values: str) -> set[str]:
    """Where any of these values is: in the log, in a file of the build, or in a layer of its image or of the cache."""
    texts = {"log": run.log.encode()}
    texts |= {file.name: file.read_bytes() for file in run.folder.rglob("*") if file.is_file()}
    texts.pop("exported")  # CodeBuild's own
    for name in account.tags(repository):
        manifest = account.manifest(repository, name)
        texts[f"manifest {name}"] = json.dumps(manifest).encode()
        for blob in (manifest["config"], *manifest["layers"]):
            texts[f"{name} {blob['digest']}"] = account.blob(repository, blob["digest"])
    assert {"imagedefinitions.json", "slipway.env", "slipway-build.sh", "manifest cache"} <= {*texts}
    return {name for name, text in texts.items() for value in values if value.encode() in text}
