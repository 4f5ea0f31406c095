"""What a stack file may have under `slipway:`.

It has the arguments of the components, in camelCase. Their rules stand at their fields; the classes here add what no
component knows. https://www.pulumi.com/docs/iac/concepts/config/
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

from slipway._constraints import Must, between, check, hints, items, match, one_of, plain
from slipway.build.component import BuildSettings
from slipway.load_balancer import LoadBalancerSettings, SubnetId, VpcId, is_ipv4_range
from slipway.pipeline.commands import CodeScan, StageTests
from slipway.pipeline.component import PipelineSettings
from slipway.pipeline.notifications import Notifications
from slipway.pipeline.scan_gate import ScanGate
from slipway.pipeline.sources import CodeCommit, Connection, EcrImage, S3Object, Source
from slipway.pipeline.stages import Approval, Window
from slipway.registry import RegistryArgs
from slipway.service.args import ServiceSettings
from slipway.strategies import BlueGreen, Canary, CodeDeployBlueGreen, Linear, Rolling, Strategy

NAMESPACE = "slipway"


@dataclass(frozen=True, eq=False)  # as Must: no two are one
class Choice:
    """Marks a field that is one of several kinds; a stack file names the kind by its key."""

    kinds: Mapping[str, type]


VpcRange = Annotated[
    str,
    Must(
        "be an IPv4 range of /16 to /28 such as 10.0.0.0/16",
        lambda text: is_ipv4_range(text) and 16 <= int(text.partition("/")[2]) <= 28,
        {"pattern": r"^\d{1,3}(\.\d{1,3}){3}/(1[6-9]|2[0-8])$"},
        good=["10.0.0.0/16", "192.168.0.0/28"],
        bad=["", "0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/15", "10.0.0.0/29", "10.0.0.1/16", "fd00::/16"],
    ),
]
"""https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html"""


@dataclass(frozen=True, kw_only=True)
class NewNetwork:
    """A VPC of the stack's own, with public subnets for the load balancer and private ones for the tasks."""

    cidr: VpcRange = "10.0.0.0/16"
    """IPv4 range of the VPC."""

    zones: Annotated[int, between(2, 4)] = 2
    """Availability Zones to use."""

    nat_gateways: Annotated[str, one_of(("Single", "OnePerAz"))] = "Single"
    """NAT gateways, each about 35 USD a month: `Single` for all zones, or `OnePerAz`, to survive the loss of one."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class ExistingNetwork:
    """A VPC that exists already."""

    vpc_id: VpcId
    """Its id."""

    public_subnet_ids: Annotated[Sequence[SubnetId], items(2, distinct=True)]
    """Subnets for the load balancer, in at least two Availability Zones."""

    private_subnet_ids: Annotated[Sequence[SubnetId], items(1, 16, distinct=True)]
    """Subnets for the tasks, with a way out to ECR and CloudWatch Logs."""

    def __post_init__(self) -> None:
        check(self)


StackName = Annotated[
    str,
    match(r"[a-z0-9][a-z0-9-]*", "be the name of a stack, of a-z 0-9 -", "dev", ["Dev", "-", "acme/dev"], longest=30),
]


@dataclass(frozen=True, kw_only=True)
class Image:
    """The image that another environment has verified. It is taken unchanged, and nothing is built: a tag of an ECR
    repository in the pipeline's account and Region, whose move starts the pipeline.

    https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-ECR.html
    """

    stack: StackName | None = None
    """Stack of this project that builds the image: its repository is `<project>-<stack>`."""

    repository: str | None = None
    """Name of the repository, where it is not that of a stack of this project. It exists already."""

    tag: str | None = None
    """Tag that moves to each image that may be taken; `verified-<stack>` without it."""

    def __post_init__(self) -> None:
        check(self)
        # Its own rules are those of the source.
        EcrImage(repository=self.repository or "web", tag=self.tag or "stable")

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
    """The stack is for a feature branch: its images are short-lived, it has at most an environment of its own, and its
    images and the release state go with the stack."""

    image_days: Annotated[int, between(1, 3650)] = 14
    """Days until an image expires that is not live."""

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
    """Name of the environment in tags, reports and the service's name; the name of the stack without it."""

    approval: Approval | None = None
    """Wait for an approval before each release; releases go ahead by themselves without it."""

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
    """How tasks are replaced."""

    tests: StageTests | None = None
    """Test the release when it is live; what is live counts as verified without it."""

    window: Window | None = None
    """When the stage may begin; at any time without it."""

    service: ServiceSettings = ServiceSettings()
    """Settings of `service` that are different in this stage. Of `environment` and `secrets`, the entries that are
    different; `false` removes an entry."""

    load_balancer: LoadBalancerSettings = LoadBalancerSettings()
    """Settings of `load_balancer` that are different in this stage."""


@dataclass(frozen=True, kw_only=True)
class StackFile:
    """All that a stack file may have under `slipway:`."""

    source: Annotated[
        Source | Image, Choice({"codecommit": CodeCommit, "connection": Connection, "s3": S3Object, "image": Image})
    ]
    """Where the pipeline takes from what it builds and releases."""

    service: ServiceSettings = ServiceSettings()
    """The ECS service that runs the image, in each stage."""

    stages: Sequence[Stage] = (Stage(),)
    """The deploy stages, one after the other, each with a service and a load balancer of its own. With none (`[]`) the
    image is only built."""

    build: BuildSettings = BuildSettings()
    """How a commit is tested, and its image built and pushed. With an image as source nothing is built."""

    registry: RegistryArgs = RegistryArgs()
    """The ECR repository that the image is pushed to. With an image as source it is another stack's."""

    load_balancer: LoadBalancerSettings = LoadBalancerSettings()
    """The load balancer in front of the service, in each stage."""

    network: Annotated[NewNetwork | ExistingNetwork, Choice({"new": NewNetwork, "existing": ExistingNetwork})] = (
        NewNetwork()
    )
    """Where the load balancer and the tasks are."""

    scan_gate: ScanGate | None = None
    """What stops an image with known vulnerabilities before the first deployment."""

    code_scans: Sequence[CodeScan] = ()
    """What looks at the source before the first deployment."""

    notifications: Notifications | None = None
    """Who is notified when the pipeline fails, works again, or waits for an approval."""

    pipeline: PipelineSettings = PipelineSettings()
    """How runs of the pipeline follow each other, and what can be set when somebody starts one."""

    feature_branch: FeatureBranch | None = None
    """Says that the stack is for a feature branch."""


STAGES_OWN = ("service", "load_balancer")
"""Parts of the file of which a stage may have settings of its own."""


@dataclass(frozen=True)
class Shape:
    """What a stack file may have for a field: a part with keys of its own, a choice between some, a list of parts, or a
    plain value."""

    hint: Any
    """The type without the Outputs that a program may give."""
    optional: bool
    """Whether it may be turned off."""
    part: type | None = None
    choice: Mapping[str, type] | None = None
    listed: bool = False
    """Whether it is a list of parts."""
    merged: bool = False
    """Whether it is a map, to which a stage adds entries."""
    date: bool = False


def shape(hint: Any) -> Shape:
    """The shape of a field, by its type."""
    hint = plain(hint)
    kinds = list(kinds_of(hint))
    optional = types.NoneType in kinds
    if choices := [mark for mark in marks_of(hint) if isinstance(mark, Choice)]:
        return Shape(hint, optional, choice=choices[0].kinds)
    for kind in kinds:
        if dataclasses.is_dataclass(kind):
            return Shape(hint, optional, part=typing.cast(type, kind))
        if get_origin(kind) is Sequence:
            [item] = get_args(kind)
            part = next((each for each in kinds_of(item) if dataclasses.is_dataclass(each)), None)
            return Shape(hint, optional, part=typing.cast(Any, part), listed=part is not None)
    return Shape(hint, optional, merged=any(get_origin(kind) is Mapping for kind in kinds), date=datetime.date in kinds)


def keys(part: type) -> dict[str, str]:
    """The keys of a part in a stack file, each with its field."""
    return {to_camel(name): name for name in hints(part)}


def is_required(part: type, name: str) -> bool:
    """Whether a field has no default."""
    [field] = [field for field in dataclasses.fields(part) if field.name == name]
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def to_camel(name: str) -> str:
    """The name of a field as a stack file has it."""
    return re.sub(r"_([a-z0-9])", lambda m: m[1].upper(), name)


def kinds_of(hint: Any) -> Iterator[Any]:
    """The types that a union is made of, without what stands beside them."""
    if get_origin(hint) is Annotated:
        yield from kinds_of(get_args(hint)[0])
    elif get_origin(hint) in (typing.Union, types.UnionType):
        for kind in get_args(hint):
            yield from kinds_of(kind)
    else:
        yield hint


def marks_of(hint: Any) -> Iterator[Any]:
    """What stands beside a type, and beside those of a union."""
    if get_origin(hint) is Annotated:
        yield from marks_of(get_args(hint)[0])
        yield from get_args(hint)[1:]
    elif get_origin(hint) in (typing.Union, types.UnionType):
        for kind in get_args(hint):
            yield from marks_of(kind)
