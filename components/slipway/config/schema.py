"""The keys of a stack file under `slipway:`.

They are the arguments of the components, in camelCase. Rules are defined at the fields; the classes here add those that
no component knows.
"""

from __future__ import annotations

import dataclasses
import datetime
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin

from slipway._constraints import Choice, between, check, hints, items, match, plain
from slipway.audit import AuditTrailArgs
from slipway.build.component import BuildSettings
from slipway.config.cluster import NewCluster, UsedCluster
from slipway.config.network import ExistingNetwork, NewNetwork
from slipway.existing_load_balancer import ExistingLoadBalancerArgs
from slipway.load_balancer import LoadBalancerSettings
from slipway.pipeline.commands import CodeScan, StageTests
from slipway.pipeline.component import MOST_SCANS, MOST_STAGES, PipelineSettings
from slipway.pipeline.notifications import Notifications
from slipway.pipeline.scan_gate import ScanGate
from slipway.pipeline.sources import CodeCommit, Connection, EcrImage, S3Object, Source
from slipway.pipeline.stages import Approval, Window
from slipway.pull_requests import PullRequestSettings
from slipway.registry import RegistryArgs
from slipway.roles import RoleDefaults
from slipway.service.args import ServiceSettings
from slipway.strategies import BlueGreen, Canary, CodeDeployBlueGreen, Linear, Rolling, Strategy

NAMESPACE = "slipway"


@dataclass(frozen=True, kw_only=True)
class LoadBalancerKeys(LoadBalancerSettings):
    """The keys of the load balancer: those of a new one, or `existing`."""

    existing: ExistingLoadBalancerArgs | None = None
    """An Application Load Balancer that is there already, instead of a new one. No other key is possible then."""

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        yield from super().cross_checks()
        for name in hints(LoadBalancerSettings):
            yield (
                self.existing is not None and getattr(self, name) != getattr(LoadBalancerSettings(), name),
                f"{name} must not be set with existing: whoever made that load balancer decides",
            )


StackName = Annotated[
    str,
    match(r"[a-z0-9][a-z0-9-]*", "be the name of a stack, of a-z 0-9 -", "dev", ["Dev", "-", "acme/dev"], longest=30),
]


@dataclass(frozen=True, kw_only=True)
class Image:
    """The image that another environment has verified, unchanged; nothing is built. The source is a tag in an ECR
    repository in the pipeline's account and Region. The pipeline starts when the tag moves.

    https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-ECR.html
    """

    stack: StackName | None = None
    """Stack of this project that builds the image. Its repository is `<project>-<stack>`."""

    repository: str | None = None
    """Name of an existing repository, if the image is not built by a stack of this project."""

    tag: str | None = None
    """Tag that is moved to each image to be released. By default, `verified-<stack>`."""

    def __post_init__(self) -> None:
        check(self)
        # All its other rules are those of the source.
        EcrImage(
            repository="web" if self.repository is None else self.repository,
            tag="stable" if self.tag is None else self.tag,
        )

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        given = [name for name in ("stack", "repository") if getattr(self, name) is not None]
        yield len(given) != 1, f"must have exactly one of stack, repository, got {', '.join(given) or 'none'}"
        yield self.repository is not None and self.tag is None, "tag is required with repository"

    def of(self, project: str) -> EcrImage:
        """The source, for a stack of this project."""
        return EcrImage(
            repository=self.repository or f"{project}-{self.stack}", tag=self.tag or f"verified-{self.stack}"
        )


@dataclass(frozen=True, kw_only=True)
class FeatureBranch:
    """Marks the stack as one for feature branches. Its images are short-lived, it deploys to its own environment or to
    none, and its images and release state are deleted with the stack."""

    image_days: Annotated[int, between(1, 3650)] = 14
    """Days after which images that are not live expire."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One deploy stage."""

    name: (
        Annotated[
            str, match(r"[a-z0-9][a-z0-9-]{0,29}", "be 1 to 30 characters of a-z 0-9 -", "eu", ["EU", "-", "a" * 31])
        ]
        | None
    ) = None
    """Name of the environment in tags, in messages and in the service's name. By default, the name of the stack."""

    approval: Approval | None = None
    """Wait for an approval before each release. By default, there is none."""

    strategy: Annotated[
        Strategy,
        Choice(
            {
                "rolling": Rolling,
                "blueGreen": BlueGreen,
                "canary": Canary,
                "linear": Linear,
                "codeDeployBlueGreen": CodeDeployBlueGreen,
            }
        ),
    ] = Rolling()  # noqa: RUF009 - frozen
    """Deployment strategy."""

    tests: StageTests | None = None
    """Tests of the live release. By default, a release is verified as soon as its deployment succeeds."""

    window: Window | None = None
    """When the stage may begin. By default, at any time."""

    service: ServiceSettings = ServiceSettings()
    """Settings of `service` that differ in this stage: of maps the entries, and of sections the keys. `false` removes
    an entry."""

    load_balancer: LoadBalancerKeys = LoadBalancerKeys()
    """Settings of `load_balancer` that differ in this stage, in the same way."""


@dataclass(frozen=True, kw_only=True)
class StackFile:
    """The keys of a stack file under `slipway:`."""

    source: Annotated[
        Source | Image, Choice({"codecommit": CodeCommit, "connection": Connection, "s3": S3Object, "image": Image})
    ]
    """Source of the pipeline."""

    service: ServiceSettings = ServiceSettings()
    """The ECS service that runs the image, in each stage."""

    stages: Annotated[Sequence[Stage], items(most=MOST_STAGES)] = (Stage(),)
    """The deploy stages, in order. Each has its own service and load balancer. Without stages (`[]`), the image is only
    built."""

    build: BuildSettings = BuildSettings()
    """How a commit is tested, and its image built and pushed. Not allowed if the source is an image."""

    registry: RegistryArgs = RegistryArgs()
    """The ECR repository for the images. Not allowed if the source is an image, which is in another stack's
    repository."""

    load_balancer: LoadBalancerKeys = LoadBalancerKeys()
    """The load balancer in front of the service, in each stage."""

    network: Annotated[NewNetwork | ExistingNetwork, Choice({"new": NewNetwork, "existing": ExistingNetwork})] = (
        NewNetwork()
    )
    """The network of the load balancer and the tasks."""

    cluster: Annotated[NewCluster | UsedCluster, Choice({"new": NewCluster, "existing": UsedCluster})] = NewCluster()
    """The ECS cluster of all stages."""

    scan_gate: ScanGate | None = None
    """Blocks images with known vulnerabilities before the first deployment."""

    code_scans: Annotated[Sequence[CodeScan], items(most=MOST_SCANS)] = ()
    """Checks of the source before the first deployment."""

    pull_requests: PullRequestSettings | None = None
    """Checks of pull requests, by a CodeBuild project that has no secrets and can reach no image and no service. The
    source must be a connection to GitHub, GitLab or Bitbucket. Without this, pull requests are not checked."""

    notifications: Notifications | None = None
    """Who is notified when the pipeline fails, recovers, or waits for an approval, and when a job fails."""

    pipeline: PipelineSettings = PipelineSettings()
    """How executions of the pipeline are queued, and which variables can be set when it is started."""

    feature_branch: FeatureBranch | None = None
    """Marks the stack as one for feature branches."""

    roles: RoleDefaults = RoleDefaults()
    """What every IAM role of the stack has."""

    audit: AuditTrailArgs | None = None
    """A record of all changes in the account, in a bucket in which nobody can change it. One stack of an account is
    enough; by default, there is none."""

    def __post_init__(self) -> None:
        check(self)


REMOVED: Mapping[tuple[type, str], str] = {
    (Connection, "pullRequests"): "write slipway:pullRequests, which checks them in a project without rights: the "
    "pipeline, which can push images, does not build them any more",
}
"""Keys that a part had earlier, with what to do instead."""
STAGES_OWN = {"service": ServiceSettings, "load_balancer": LoadBalancerKeys}
"""Parts of the file that a stage can override."""


@dataclass(frozen=True)
class Shape:
    """The form of a field in a stack file: a part with keys of its own, a choice of several parts, a list or a map of
    parts, or a plain value."""

    hint: Any
    """The type without Outputs, which only a program can pass."""
    optional: bool
    """Whether the field can be turned off."""
    part: type | None = None
    choice: Mapping[str, type] | None = None
    listed: bool = False
    """Whether the field is a list of parts."""
    named: Any = None
    """The type of the names, if the field is a map of parts."""
    merged: bool = False
    """Whether a stage changes single entries of the field, which is a map, or single keys of it, which is a part."""
    date: bool = False


def shape(hint: Any) -> Shape:
    """The shape of a field, from its type."""
    hint = plain(hint)
    kinds = list(kinds_of(hint))
    optional = types.NoneType in kinds
    if choices := [mark for mark in marks_of(hint) if isinstance(mark, Choice)]:
        return Shape(hint, optional, choice=choices[0].kinds)
    for kind in kinds:
        if dataclasses.is_dataclass(kind):
            part: Any = kind
            return Shape(hint, optional, part=part, merged=True)
        if get_origin(kind) is Sequence:
            [item] = get_args(kind)
            part = next((each for each in kinds_of(item) if dataclasses.is_dataclass(each)), None)
            return Shape(hint, optional, part=part, listed=part is not None)
        if get_origin(kind) is Mapping:
            names, item = get_args(kind)
            if dataclasses.is_dataclass(item):
                return Shape(hint, optional, part=typing.cast(Any, item), named=names, merged=True)
            return Shape(hint, optional, merged=True)
    return Shape(hint, optional, date=datetime.date in kinds)


def keys(part: type) -> dict[str, str]:
    """The keys of a part in a stack file, each with its field."""
    return {to_camel(name): name for name in hints(part)}


def is_required(part: type, name: str) -> bool:
    """Whether a field has no default."""
    [field] = [field for field in dataclasses.fields(part) if field.name == name]
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def to_camel(name: str) -> str:
    """The name of a field in a stack file."""
    return re.sub(r"_([a-z0-9])", lambda m: m[1].upper(), name)


def kinds_of(hint: Any) -> Iterator[Any]:
    """The members of a union, without their annotations."""
    if get_origin(hint) is Annotated:
        yield from kinds_of(get_args(hint)[0])
    elif get_origin(hint) in (typing.Union, types.UnionType):
        for kind in get_args(hint):
            yield from kinds_of(kind)
    else:
        yield hint


def marks_of(hint: Any) -> Iterator[Any]:
    """The annotations of a type, and of the members of a union."""
    if get_origin(hint) is Annotated:
        yield from marks_of(get_args(hint)[0])
        yield from get_args(hint)[1:]
    elif get_origin(hint) in (typing.Union, types.UnionType):
        for kind in get_args(hint):
            yield from marks_of(kind)
