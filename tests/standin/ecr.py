"""Amazon ECR's API in front of a real registry on loopback (Docker Registry HTTP API v2), which stores the images.

Not here: images without a tag in lists (a registry cannot enumerate them), scans on demand. Lifecycle policies act when
`expire` is called; ECR does it within a day. ECR
enforces immutable tags at `docker push` too; the registry on loopback cannot, so only PutImage does. UNCONFIRMED:
messages.
"""

import base64
import hashlib
import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPResponse

from standin.api import ACCOUNT, REGION, AwsError, Params
from standin.clock import Clock
from standin.lifecycle import Image, expired

MEDIA_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
PART_BYTES = 20_971_520
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback never goes through a proxy


@dataclass
class Scan:
    """How the scan of an image ends, as DescribeImageScanFindings returns it."""

    status: str = "COMPLETE"
    findings: list[Params] = field(default_factory=list)
    enhanced: list[Params] = field(default_factory=list)
    """Amazon Inspector's findings, which replace the basic ones."""
    description: str = ""


class Ecr:
    def __init__(self, registry: str, clock: Clock) -> None:
        self._registry, self._clock = registry, clock
        self.scan: Callable[[str], Scan] = lambda digest: Scan()
        """Result of the scan of each image, by its digest."""
        self.scan_starts, self.scan_ends = 10.0, 20.0
        """Seconds after the push; AWS does not document how many."""
        self.pushed: Callable[[str, str, str], None] = lambda repository, tag, digest: None
        """Called after each PutImage."""
        self.deployed: Callable[[str], Params] = lambda repository: {}
        """The settings of a repository that can change after it was created."""
        self.lifecycle_policies: dict[str, str] = {}
        self.policies: dict[str, str] = {}
        """Policies by repository, as text."""
        self._repositories: dict[str, Params] = {}
        self._pushed: dict[str, float] = {}
        self._referrers: dict[tuple[str, str], list[str]] = {}
        """By repository and digest of the subject."""
        self._uploads: dict[str, tuple[str, bytes]] = {}

    def why_not_pulled(self, image: str, architecture: str) -> str:
        """Why a task with this CPU architecture could not pull the image, if it could not. Images of other registries
        are assumed to exist. An index needs an image for the architecture (the message as people quote it); another
        image is pulled whatever it is for."""
        host, _, rest = image.partition("/")
        if host != self._registry:
            return ""
        name, _, reference = rest.rpartition("@") if "@" in rest else rest.rpartition(":")
        if (found := self._manifest(name, reference)) is None:
            return f"{image}: not found"
        platform = {"X86_64": "amd64", "ARM64": "arm64"}[architecture]
        entries = json.loads(found[0]).get("manifests")
        if entries is None or any(e.get("platform", {}).get("architecture", platform) == platform for e in entries):
            return ""
        return f"image Manifest does not contain descriptor matching platform 'linux/{platform}'"

    def create_repository(self, params: Params) -> Params:
        """Creates the repository, or changes its settings."""
        name = params["repositoryName"]
        self._repositories[name] = {
            "repositoryArn": f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{name}",
            "registryId": ACCOUNT,
            "repositoryUri": f"{self._registry}/{name}",
            "createdAt": self._clock.now(),
            "imageTagMutability": "MUTABLE",
            "encryptionConfiguration": {"encryptionType": "AES256"},
        } | params
        return {"repository": self._repositories[name]}

    def delete_repository(self, params: Params) -> Params:
        """API_DeleteRepository"""
        repository = self._repository(params["repositoryName"])
        name, tags = repository["repositoryName"], self._tags(params)
        if tags and not params.get("force"):
            why = "cannot be deleted because it still contains images"
            message = f"The repository with name '{name}' in registry with id '{ACCOUNT}' {why}"
            raise AwsError("RepositoryNotEmptyException", message)
        for digest in set(tags.values()):
            self._open("DELETE", f"{name}/manifests/{digest}")
        self.lifecycle_policies.pop(name, None)
        self.policies.pop(name, None)
        return {"repository": self._repositories.pop(name)}

    def tag_resource(self, params: Params) -> Params:
        """Replaces all tags."""
        self._repositories[params["resourceArn"].partition("/")[2]]["tags"] = params["tags"]
        return {}

    def batch_delete_image(self, params: Params) -> Params:
        """API_BatchDeleteImage: removes a tag, and the image with its last one; by digest, the image."""
        name, tags = self._name(params), self._tags(params)
        for wanted in params["imageIds"]:
            digest = self._digest_of(name, wanted)
            found = self._manifest(name, digest)
            self._open("DELETE", f"{name}/manifests/{digest}")
            tags = {tag: of for tag, of in tags.items() if tag != wanted.get("imageTag")}
            # A registry deletes an image with all its tags.
            for tag in [tag for tag, of in tags.items() if of == digest and "imageTag" in wanted]:
                assert found
                self._open("PUT", f"{name}/manifests/{tag}", found[0], {"Content-Type": found[1]})
        return {"imageIds": params["imageIds"], "failures": []}

    def expire(self, name: str) -> list[list[str]]:
        """Deletes the images that the lifecycle policy expires now; returns the tags of each."""
        details = self.describe_images({"repositoryName": name})["imageDetails"]
        now = self._clock.now()
        images = [
            Image(frozenset(each["imageTags"]), (now - each["imagePushedAt"]) / 86_400, each["imageDigest"])
            for each in details
        ]
        gone = expired(json.loads(self.lifecycle_policies[name]), images) if name in self.lifecycle_policies else set()
        for image in gone:
            self._open("DELETE", f"{name}/manifests/{image.digest}")
        return sorted(sorted(image.tags) for image in gone)

    def describe_repositories(self, params: Params) -> Params:
        names = params.get("repositoryNames", list(self._repositories))
        return {"repositories": [self._repository(name) for name in names]}

    def get_authorization_token(self, params: Params) -> Params:
        # API_AuthorizationData: user AWS, valid for 12 hours
        token = base64.b64encode(b"AWS:password").decode()
        data = {"authorizationToken": token, "expiresAt": self._clock.now() + 12 * 3600}
        return {"authorizationData": [data | {"proxyEndpoint": f"http://{self._registry}"}]}

    def batch_get_image(self, params: Params) -> Params:
        name, images, failures = self._name(params), [], []
        for wanted in params["imageIds"]:
            found = self._manifest(name, wanted.get("imageDigest") or wanted["imageTag"])
            if found:
                images.append(self._image(name, *found, wanted.get("imageTag")))
            else:  # API_ImageFailure
                reason = "Requested image not found"
                failures.append({"imageId": wanted, "failureCode": "ImageNotFound", "failureReason": reason})
        return {"images": images, "failures": failures}

    def put_image(self, params: Params) -> Params:
        name, tag, manifest = self._name(params), params.get("imageTag"), params["imageManifest"].encode()
        media_type = params.get("imageManifestMediaType") or json.loads(manifest).get("mediaType", MEDIA_TYPES[0])
        digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
        if params.get("imageDigest", digest) != digest:  # API_PutImage, as all errors here
            raise AwsError("ImageDigestDoesNotMatchException", f"The manifest's digest is {digest}.")
        here = self._manifest(name, tag or digest)
        if here and _digest(here[0]) == digest:
            what = f"digest '{digest}'" + (f" and tag '{tag}'" if tag else "")
            raise AwsError("ImageAlreadyExistsException", f"Image with {what} already exists in repository '{name}'.")
        if here and tag and not self._mutable(name, tag):
            why = f"The image tag '{tag}' already exists in the '{name}' repository and cannot be overwritten"
            raise AwsError("ImageTagAlreadyExistsException", f"{why} because the tag is immutable.")
        try:
            self._open("PUT", f"{name}/manifests/{tag or digest}", manifest, {"Content-Type": media_type})
        except urllib.error.HTTPError as error:
            raise AwsError("LayersNotFoundException", error.read().decode()) from error
        self._pushed.setdefault(digest, self._clock.now())
        if subject := json.loads(manifest).get("subject"):
            self._referrers.setdefault((name, subject["digest"]), []).append(digest)
        self.pushed(name, tag or "", digest)
        return {"image": self._image(name, manifest, media_type, tag)}

    def list_image_referrers(self, params: Params) -> Params:
        """API_ListImageReferrers. One without a type has that of its configuration: OCI image-spec, manifest."""
        name, subject = self._name(params), params["subjectId"]["imageDigest"]
        wanted = params.get("filter", {}).get("artifactTypes")
        referrers = []
        for digest in self._referrers.get((name, subject), []):
            if (found := self._manifest(name, digest)) is None:
                continue
            manifest = json.loads(found[0])
            kind = manifest.get("artifactType") or manifest["config"]["mediaType"]
            if wanted is None or kind in wanted:
                shown = {"digest": digest, "mediaType": found[1], "artifactType": kind, "size": len(found[0])}
                referrers.append({**shown, "artifactStatus": "ACTIVE"})
        return {"referrers": referrers}

    # Layers: what `docker push` does, call by call.

    def batch_check_layer_availability(self, params: Params) -> Params:
        name, layers = self._name(params), []
        for digest in params["layerDigests"]:
            try:
                self._open("HEAD", f"{name}/blobs/{digest}")
                available = "AVAILABLE"
            except urllib.error.HTTPError:
                available = "UNAVAILABLE"
            layers.append({"layerDigest": digest, "layerAvailability": available})
        return {"layers": layers, "failures": []}

    def initiate_layer_upload(self, params: Params) -> Params:
        id = f"upload-{len(self._uploads) + 1}"
        self._uploads[id] = self._name(params), b""
        return {"uploadId": id, "partSize": PART_BYTES}

    def upload_layer_part(self, params: Params) -> Params:
        """API_UploadLayerPart: parts follow each other, and each is at most 20,971,520 bytes."""
        name, body = self._uploads[params["uploadId"]]
        part, first, last = base64.b64decode(params["layerPartBlob"]), params["partFirstByte"], params["partLastByte"]
        if first != len(body) or last - first + 1 != len(part) or len(part) > PART_BYTES:
            raise AwsError("InvalidLayerPartException", f"the part {first} to {last} does not follow {len(body)} bytes")
        self._uploads[params["uploadId"]] = name, body + part
        return {"uploadId": params["uploadId"], "lastByteReceived": last}

    def complete_layer_upload(self, params: Params) -> Params:
        name, body = self._uploads.pop(params["uploadId"])
        [digest] = params["layerDigests"]
        if digest != _digest(body):
            raise AwsError("InvalidLayerException", f"the layer has the digest {_digest(body)}")
        if self.batch_check_layer_availability(params)["layers"][0]["layerAvailability"] == "AVAILABLE":
            raise AwsError("LayerAlreadyExistsException", f"the layer {digest} exists in the repository")
        place = self._open("POST", f"{name}/blobs/uploads/").headers["Location"]
        place = place.partition("/v2/")[2]
        kind = {"Content-Type": "application/octet-stream"}
        self._open("PUT", f"{place}{'&' if '?' in place else '?'}digest={digest}", body, kind)
        return {"layerDigest": digest, "uploadId": params["uploadId"]}

    def describe_images(self, params: Params) -> Params:
        name, tags = self._name(params), self._tags(params)
        digests = list(dict.fromkeys(tags.values()))
        if "imageIds" in params:
            digests = [self._digest_of(name, image) for image in params["imageIds"]]
        details = [
            {
                "registryId": ACCOUNT,
                "repositoryName": name,
                "imageDigest": digest,
                "imageSizeInBytes": self._size(name, digest),
                # The time when it was first seen: the registry does not record when it was pushed.
                "imagePushedAt": self._pushed.setdefault(digest, self._clock.now()),
            }
            | ({"imageTags": named} if (named := [tag for tag, other in tags.items() if other == digest]) else {})
            for digest in digests
        ]
        return {"imageDetails": details}

    def describe_image_scan_findings(self, params: Params) -> Params:
        """In repositories that scan on push, each image's first push: ECR user guide, image-scanning-basic."""
        name, digest = self._name(params), self._digest_of(params["repositoryName"], params["imageId"])
        age = self._clock.now() - self._pushed.setdefault(digest, self._clock.now())
        settings = self._repository(name) | self.deployed(name)
        if not settings.get("imageScanningConfiguration", {}).get("scanOnPush") or age < self.scan_starts:
            message = f"Image scan does not exist for the image with '{{imageDigest:'{digest}'}}'"
            raise AwsError("ScanNotFoundException", f"{message} in the repository with name '{name}'")
        answer = {"registryId": ACCOUNT, "repositoryName": name, "imageId": {"imageDigest": digest}}
        if age < self.scan_ends:
            return answer | {"imageScanStatus": {"status": "IN_PROGRESS"}}
        scan = self.scan(digest)
        answer["imageScanStatus"] = {"status": scan.status, "description": scan.description}
        found, start = scan.enhanced or scan.findings, int(params.get("nextToken", 0))
        end = start + params.get("maxResults", 100)  # API_DescribeImageScanFindings
        counts: dict[str, int] = {}
        for finding in found:
            counts[finding["severity"]] = counts.get(finding["severity"], 0) + 1
        key = "enhancedFindings" if scan.enhanced else "findings"
        answer["imageScanFindings"] = {key: found[start:end], "findingSeverityCounts": counts}
        return answer | ({"nextToken": str(end)} if end < len(found) else {})

    def list_images(self, params: Params) -> Params:
        return {"imageIds": [{"imageTag": tag, "imageDigest": digest} for tag, digest in self._tags(params).items()]}

    def _repository(self, name: str) -> Params:
        if name not in self._repositories:
            raise AwsError("RepositoryNotFoundException", f"The repository with name '{name}' does not exist.")
        return self._repositories[name]

    def _name(self, params: Params) -> str:
        return str(self._repository(params["repositoryName"])["repositoryName"])

    def _mutable(self, name: str, tag: str) -> bool:
        """ECR user guide, image-tag-mutability: the filters name the tags that are excluded from the setting."""
        repository = self._repository(name)
        filters = [entry["filter"] for entry in repository.get("imageTagMutabilityExclusionFilters", [])]
        excluded = any(re.fullmatch(re.escape(text).replace(r"\*", ".*"), tag) for text in filters)
        return bool(repository["imageTagMutability"].startswith("MUTABLE")) != excluded

    def _tags(self, params: Params) -> dict[str, str]:
        name = self._name(params)
        try:
            tags = json.load(self._open("GET", f"{name}/tags/list"))["tags"] or []
        except urllib.error.HTTPError:  # nothing was ever pushed
            tags = []
        return {tag: self._digest_of(name, {"imageTag": tag}) for tag in sorted(tags)}

    def _digest_of(self, name: str, image: Params) -> str:
        found = self._manifest(name, image.get("imageDigest") or image["imageTag"])
        if not found:  # API_DescribeImages
            raise AwsError("ImageNotFoundException", f"The image with imageId {image} does not exist in '{name}'.")
        return _digest(found[0])

    def _size(self, name: str, digest: str) -> int:
        found = self._manifest(name, digest)
        manifest = json.loads(found[0]) if found else {}
        parts = [manifest.get("config", {}), *manifest.get("layers", []), *manifest.get("manifests", [])]
        return sum(int(part.get("size", 0)) for part in parts)

    def _manifest(self, name: str, reference: str) -> tuple[bytes, str] | None:
        try:
            answer = self._open("GET", f"{name}/manifests/{reference}", None, {"Accept": ", ".join(MEDIA_TYPES)})
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise
        return answer.read(), answer.headers["Content-Type"]

    def _image(self, name: str, manifest: bytes, media_type: str, tag: str | None) -> Params:
        return {
            "registryId": ACCOUNT,
            "repositoryName": name,
            "imageId": {"imageDigest": _digest(manifest)} | ({"imageTag": tag} if tag else {}),
            "imageManifest": manifest.decode(),
            "imageManifestMediaType": media_type,
        }

    def _open(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> HTTPResponse:
        request = urllib.request.Request(f"http://{self._registry}/v2/{path}", body, headers or {}, method=method)
        answer: HTTPResponse = DIRECT.open(request)
        return answer


def _digest(manifest: bytes) -> str:
    return f"sha256:{hashlib.sha256(manifest).hexdigest()}"
