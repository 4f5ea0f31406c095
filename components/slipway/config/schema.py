"""Stack configuration as typed settings, and every mistake in it at once.

A stack file says what the components' arguments say, in camelCase and under the namespace `slipway:`. The rules stand
in those arguments; here they are only collected. https://www.pulumi.com/docs/iac/concepts/config/
"""

from __future__ import annotations

import dataclasses
import json
import re
import typing
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import pulumi
from pulumi.runtime import config as pulumi_config
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import core_schema

from slipway._constraints import Must, between, check, hints, items, one_of, plain
from slipway._rules import NAME
from slipway.build.component import BuildSettings
from slipway.load_balancer import LoadBalancerSettings, SubnetId, VpcId, is_ipv4_range
from slipway.pipeline.commands import CodeScan, StageTests
from slipway.pipeline.component import PipelineSettings, composition_rules
from slipway.pipeline.notifications import Notifications
from slipway.pipeline.scan_gate import ScanGate
from slipway.pipeline.sources import CodeCommit, Connection, EcrImage, S3Object, Source
from slipway.pipeline.stages import Approval, Window, stage_rules
from slipway.registry import RegistryArgs
from slipway.service.args import ENVIRONMENT_NAME, ServiceSettings, strategy_rules
from slipway.strategies import BlueGreen, Canary, CodeDeployBlueGreen, Linear, Rolling, Strategy

NAMESPACE = "slipway"
UNKNOWN_KEY = ("extra_forbidden", "unexpected_keyword_argument")
"""How pydantic calls a key that a model, or a dataclass, does not have."""
LONGEST_NAME = 32
"""What a load balancer may be called, the shortest of all names."""
OVERRIDDEN = ("service", "loadBalancer")
"""Parts of the file of which a stage may say some keys anew."""


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


@dataclasses.dataclass(frozen=True, kw_only=True)
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


@dataclasses.dataclass(frozen=True, kw_only=True)
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeatureBranch:
    """The stack is for a feature branch: its images are short-lived, it has at most an environment of its own, and its
    images and the release state go with the stack."""

    image_days: Annotated[int, between(1, 3650)] = 14
    """Days until an image expires that is not live."""

    def __post_init__(self) -> None:
        check(self)


def read_as_plain(kind: Any) -> None:
    """Let pydantic read a class of arguments, and those in it, without the Outputs that its fields may be."""
    if not isinstance(kind, type) or not dataclasses.is_dataclass(kind) or "__get_pydantic_core_schema__" in vars(kind):
        for part in typing.get_args(kind):
            read_as_plain(part)
        return
    fields = [(f.name, plain(hints(kind)[f.name]), copy_of(f)) for f in dataclasses.fields(kind)]
    shape = dataclasses.make_dataclass(kind.__name__, fields, kw_only=True)

    def made(given: Any) -> Any:
        return kind(**vars(given))

    def schema(cls: Any, source: Any, handler: Any) -> Any:
        read = core_schema.no_info_after_validator_function(made, handler.generate_schema(shape))
        return core_schema.json_or_python_schema(read, core_schema.is_instance_schema(kind))

    setattr(kind, "__get_pydantic_core_schema__", classmethod(schema))  # noqa: B010 - mypy knows no such attribute
    for _, hint, _ in fields:
        read_as_plain(hint)


def copy_of(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return dataclasses.field(default_factory=field.default_factory)
    return dataclasses.field() if field.default is dataclasses.MISSING else dataclasses.field(default=field.default)


for _part in (
    *(CodeCommit, Connection, EcrImage, S3Object, BuildSettings, RegistryArgs, CodeScan, ScanGate),
    *(Strategy, ServiceSettings, LoadBalancerSettings, Approval, StageTests, Window),
    *(NewNetwork, ExistingNetwork, FeatureBranch, Notifications, PipelineSettings),
):
    read_as_plain(_part)


class Section(BaseModel):
    """A part of a stack file."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True, strict=True)


class Choice(Section):
    """A part that says exactly one of several kinds, by its key."""

    @model_validator(mode="after")
    def one(self) -> Choice:
        given = [key for key, value in self if value is not None]
        kinds = ", ".join(to_camel(key) for key in type(self).model_fields)
        if len(given) != 1:
            raise ValueError(f"must say exactly one of {kinds}, got {', '.join(map(to_camel, given)) or 'none'}")
        return self

    @property
    def chosen(self) -> Any:
        return next(value for _, value in self if value is not None)


class SourceChoice(Choice):
    codecommit: CodeCommit | None = None
    connection: Connection | None = None
    s3: S3Object | None = None
    image: EcrImage | None = None


class StrategyChoice(Choice):
    rolling: Rolling | None = None
    blue_green: BlueGreen | None = None
    canary: Canary | None = None
    linear: Linear | None = None
    code_deploy_blue_green: CodeDeployBlueGreen | None = None


class NetworkChoice(Choice):
    new: NewNetwork | None = None
    existing: ExistingNetwork | None = None


class Stage(Section):
    """One deploy stage. `service` and `load_balancer` hold what the file says of them, with the stage's own keys."""

    name: str | None = None
    """What tags, reports and the service's name call the environment; the name of the stack without it."""

    approval: Approval | None = None
    """Wait for an approval before each release; releases go ahead by themselves without it."""

    strategy: StrategyChoice = StrategyChoice(rolling=Rolling())
    """How tasks are replaced."""

    tests: StageTests | None = None
    """Test the release when it is live; what is live counts as verified without it."""

    window: Window | None = None
    """When the stage may begin; at any time without it."""

    service: ServiceSettings | None = None
    """Keys of `service` that are different in this stage. Each replaces the whole of what the file says of that key."""

    load_balancer: LoadBalancerSettings | None = None
    """Keys of `load_balancer` that are different in this stage."""

    @model_validator(mode="after")
    def named(self) -> Stage:
        if self.name is not None and not ENVIRONMENT_NAME.fullmatch(self.name):
            raise ValueError(f"name must be 1 to 30 characters of a-z 0-9 -, got {self.name!r}")
        return self


class StackFile(Section):
    """All that a stack file can say under `slipway:`."""

    source: SourceChoice
    """Where the pipeline takes from what it builds and releases."""

    service: ServiceSettings = ServiceSettings()
    """The ECS service that runs the image, in each stage."""

    stages: list[Stage] = [Stage()]
    """The deploy stages, one after the other, each with a service and a load balancer of its own. With none (`[]`) the
    image is only built."""

    build: BuildSettings | None = None
    """How a commit is tested, and its image built and pushed. With an image as source nothing is built."""

    registry: RegistryArgs | None = None
    """The ECR repository that the image is pushed to. With an image as source it is another stack's."""

    load_balancer: LoadBalancerSettings = LoadBalancerSettings()
    """The load balancer in front of the service, in each stage."""

    network: NetworkChoice = NetworkChoice(new=NewNetwork())
    """Where the load balancer and the tasks are."""

    scan_gate: ScanGate | None = None
    """What stops an image with known vulnerabilities before the first deployment."""

    code_scans: list[CodeScan] = []
    """What looks at the source before the first deployment."""

    notifications: Notifications | None = None
    """Who hears when the pipeline fails, works again, or waits for an approval."""

    pipeline: PipelineSettings = PipelineSettings()
    """How runs of the pipeline follow each other, and what can be said when somebody starts one."""

    feature_branch: FeatureBranch | None = None
    """Says that the stack is for a feature branch."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageSettings:
    """One deploy stage, with all that it says and what the file says for all stages."""

    environment_name: str
    service_name: str
    """`<app>-<environment>`, what its service and load balancer are called."""
    service: ServiceSettings
    load_balancer: LoadBalancerSettings | None
    """None for a worker."""
    strategy: Strategy
    approval: Approval | None
    tests: StageTests | None
    window: Window | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What the program is told by `Pulumi.yaml` and the stack's own file."""

    name: str
    """`<app>-<stack>`, what registry, build and pipeline are called."""
    source: Source
    image_repository: str | None
    """Repository that another stack builds to, where the source is an image; then there is nothing to build."""
    build: BuildSettings
    registry: RegistryArgs
    cpu_architecture: str
    """Of the build, and of all services."""
    stages: Sequence[StageSettings]
    network: NewNetwork | ExistingNetwork
    scan_gate: ScanGate | None
    code_scans: Sequence[CodeScan]
    notifications: Notifications | None
    pipeline: PipelineSettings

    @staticmethod
    def load() -> Settings:
        """Read the configuration of the stack that is running.

        Raises ConfigurationError, which lists every mistake by key, rule and value.
        """
        prefix = f"{NAMESPACE}:"
        given = {**pulumi_config.get_config_env(), **pulumi_config.CONFIG.get()}
        secret = {*pulumi_config.get_config_secret_keys_env(), *pulumi_config._SECRET_KEYS.get()}
        values = {key.removeprefix(prefix): value for key, value in given.items() if key.startswith(prefix)}
        secrets = {key.removeprefix(prefix) for key in secret if key.startswith(prefix)}
        return read(pulumi.get_project(), pulumi.get_stack(), values, secrets)


class ConfigurationError(ValueError):
    """A stack file with mistakes; the message lists all of them."""


def read(app: str, stack: str, values: Mapping[str, Any], secrets: set[str]) -> Settings:
    """Make settings of configuration values as Pulumi hands them over: text, JSON where they are nested."""
    mistakes = [
        f"{NAMESPACE}:{key} must not be secure: it would reach the state; put the value into Secrets Manager or "
        f"Parameter Store and refer to it by ARN in {NAMESPACE}:service.secrets"
        for key in sorted(secrets)
    ]
    data = {key: parse(value) for key, value in values.items() if key not in secrets}
    file, found = validate(with_overrides(with_dates(data)), secrets)
    mistakes += without_repeats(found)

    name = f"{app}-{stack}"
    mistakes += name_mistakes("project and stack", name, "change `name` in Pulumi.yaml, or the stack's name")
    stages = [stage_settings(app, stack, file, stage) for stage in file.stages] if file else []
    if file and not mistakes:
        mistakes += [
            mistake for stage in stages if stage.environment_name != stack for mistake in named_mistakes(stage)
        ]
        mistakes += combination_mistakes(file, stages)
    if mistakes or not file:
        many = "a mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        raise ConfigurationError(
            f"{many} in the configuration (Pulumi.yaml, Pulumi.{stack}.yaml):\n" + "\n".join(f"  {m}" for m in mistakes)
        )
    source = file.source.chosen
    registry = file.registry or RegistryArgs()
    if file.feature_branch is not None:
        registry = dataclasses.replace(registry, expire_days=file.feature_branch.image_days, force_delete=True)
    return Settings(
        name=name,
        source=source,
        image_repository=source.repository if isinstance(source, EcrImage) else None,
        build=file.build or BuildSettings(),
        registry=registry,
        cpu_architecture=file.service.cpu_architecture,
        stages=stages,
        network=file.network.chosen,
        scan_gate=file.scan_gate,
        code_scans=file.code_scans,
        notifications=file.notifications,
        pipeline=file.pipeline,
    )


def stage_settings(app: str, stack: str, file: StackFile, stage: Stage) -> StageSettings:
    environment, service = stage.name or stack, stage.service or file.service
    balancer = stage.load_balancer or file.load_balancer
    if file.feature_branch is not None:
        service = dataclasses.replace(service, retain_release_state=False)
    return StageSettings(
        environment_name=environment,
        service_name=f"{app}-{environment}",
        service=service,
        load_balancer=None if service.port is None else balancer,
        strategy=stage.strategy.chosen,
        approval=stage.approval,
        tests=stage.tests,
        window=stage.window,
    )


def name_mistakes(parts: str, name: str, remedy: str) -> list[str]:
    if NAME.fullmatch(name) and len(name) <= LONGEST_NAME and not name.startswith("internal-"):
        return []
    return [
        f"{parts} must together have a name of at most {LONGEST_NAME} characters of a-z 0-9 and single - "
        f"between them, not starting with internal-, got {name!r}: {remedy}"
    ]


def named_mistakes(stage: StageSettings) -> list[str]:
    return name_mistakes("project and name of a stage", stage.service_name, f"shorten {stage.environment_name!r}")


def combination_mistakes(file: StackFile, stages: Sequence[StageSettings]) -> list[str]:
    """What is right by itself, and does not go together."""
    source, mistakes = file.source.chosen, list[str]()

    def add(where: str, rules: Sequence[tuple[bool, str]]) -> None:
        mistakes.extend(f"{NAMESPACE}:{where}{as_written(message)}" for wrong, message in rules if wrong)

    environments = [stage.environment_name for stage in stages]
    is_image = isinstance(source, EcrImage)
    rules = composition_rules(
        source,
        not is_image,
        {s.environment_name: s.strategy for s in stages},
        file.code_scans,
        file.pipeline.variables,
    )
    # Of what it is about, the variables alone do not stand at the top of the file.
    add("", [(wrong, re.sub(r"^variables\b", "pipeline.variables", message)) for wrong, message in rules])
    add(
        "",
        [
            (len(set(environments)) < len(environments), f"stages must have different names, got {environments}"),
            (is_image and file.build is not None, "build must not be given with an image as source"),
            (
                is_image and file.registry is not None,
                "registry must not be given with an image as source: the repository is another stack's",
            ),
        ],
    )
    for number, stage in enumerate(stages):
        add(
            f"stages[{number}].",
            [*strategy_rules(stage.service, stage.strategy), *stage_rules(stage.strategy, stage.tests)],
        )
        add(f"stages[{number}].", reach_rules(stage))
        other = stage.service.cpu_architecture != file.service.cpu_architecture
        add(
            f"stages[{number}].service.",
            [
                (
                    other,
                    f"cpu_architecture must be {file.service.cpu_architecture}, as the image was built for all stages, "
                    f"got {stage.service.cpu_architecture!r}",
                )
            ],
        )
    if file.feature_branch is not None:
        expires = file.registry is not None and file.registry.expire_days is not None
        named = [stage.name for stage in file.stages if stage.name is not None]
        add(
            "",
            [
                (bool(named), f"stages must have no name with feature_branch, got {named}: it deploys to its own only"),
                (
                    expires,
                    "registry.expire_days must not be given with feature_branch: its image_days say when images expire",
                ),
                (is_image, "source must not be an image with feature_branch, which builds its own"),
            ],
        )
    return mistakes


def reach_rules(stage: StageSettings) -> list[tuple[bool, str]]:
    """Whether the tests of a stage can reach the address that they are given."""
    balancer, tests = stage.load_balancer, stage.tests
    if balancer is None or tests is None:
        return []
    return [
        (
            balancer.certificate_arn is not None and stage.service.url is None,
            "tests need service.url with a certificate, got none: it is made out to a name of yours, and not to the "
            "load balancer's",
        ),
        (
            balancer.internal and not tests.in_vpc,
            "tests must have in_vpc with an internal load balancer, which only the VPC reaches",
        ),
        (
            not balancer.internal and "0.0.0.0/0" not in balancer.ingress_cidrs and not tests.in_vpc,
            "tests must have in_vpc with load_balancer.ingress_cidrs that leave the internet out: CodeBuild connects "
            "from addresses of AWS's own; in the VPC, add those of its NAT gateways to ingress_cidrs",
        ),
    ]


def with_overrides(data: dict[str, Any]) -> dict[str, Any]:
    """The file with each part that a stage says keys of, in that stage, whole: what the file says, and the stage's."""
    if not isinstance(data.get("stages"), list):
        return data
    stages = []
    for stage in data["stages"]:
        whole = dict(stage) if isinstance(stage, dict) else stage
        for part in OVERRIDDEN:
            if isinstance(whole, dict) and isinstance(whole.get(part), dict) and isinstance(data.get(part, {}), dict):
                whole[part] = {**data.get(part, {}), **whole[part]}
        stages.append(whole)
    return {**data, "stages": stages}


def with_dates(data: dict[str, Any]) -> dict[str, Any]:
    """The file with the days of `scanGate.allow` as days: YAML has no other dates, and Pulumi hands them over as the
    moments that they begin."""
    gate = data.get("scanGate")
    if not isinstance(gate, dict) or not isinstance(gate.get("allow"), list):
        return data
    allow = [
        {**finding, "until": re.sub(r"T00:00:00(\.0+)?Z| 00:00:00 \+0000 UTC", "", finding["until"])}
        if isinstance(finding, dict) and isinstance(finding.get("until"), str)
        else finding
        for finding in gate["allow"]
    ]
    return {**data, "scanGate": {**gate, "allow": allow}}


def without_repeats(mistakes: Sequence[str]) -> list[str]:
    """Each mistake once: what is wrong for all stages is wrong in each stage that says a key anew."""
    return [
        m for m in mistakes if (general := re.sub(r"stages\[\d+\]\.", "", m, count=1)) == m or general not in mistakes
    ]


def parse(value: Any) -> Any:
    """Nested values arrive as JSON, others as text; YAML that is neither is told as what it is."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value


def validate(data: dict[str, Any], secrets: set[str]) -> tuple[StackFile | None, list[str]]:
    """The stack file, or what is wrong with it.

    The rules of a part are checked once all that is in it is right; so what is not is taken out, and the rest is looked
    at again.
    """
    mistakes: list[str] = []
    taken: list[list[int | str]] = []
    rest = json.loads(json.dumps(data))
    while True:
        try:
            file = StackFile.model_validate_json(json.dumps(rest))
            return (None if mistakes else file), mistakes
        except ValidationError as e:
            errors = e.errors()
        before, untouched = json.dumps(rest), rest == data
        for error in errors:
            # What is missing may have been taken out.
            if error["type"] != "missing" or (untouched and error["loc"][0] not in secrets):
                # Rules of what was taken out would be told of its default.
                keys = {str(path[-1]) for path in taken if path[:-1] == list(error["loc"])}
                mistakes += tell(error, keys)
            taken.append(take_out(rest, error["loc"], error["type"]))
        if json.dumps(rest) == before:  # nothing but missing keys is left
            return None, mistakes


def take_out(data: Any, path: Sequence[int | str], error: str) -> list[int | str]:
    """Remove what stands at `path`, or the list that it is an item of, or the choice that it is the kind of; says which
    of them it was."""
    keys = list(path)
    if error != "missing" and len(keys) > 1 and is_choice(kind_at(keys[:-1])):
        keys.pop()
    while isinstance(keys[-1], int):
        keys.pop()
    for key in keys[:-1]:
        data = data[int(key)] if isinstance(data, list) else data.get(str(key), {})
    data.pop(str(keys[-1]), None)
    return keys


def is_choice(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Choice)


def tell(error: Any, but: set[str]) -> list[str]:
    """One mistake of pydantic's in our words: key, rule and value; no rule of the keys `but`."""
    key = f"{NAMESPACE}:" + "".join(f"[{k}]" if isinstance(k, int) else f".{k}" for k in error["loc"]).lstrip(".")
    match error["type"]:
        case "value_error":
            # A line for each broken rule, that begins with the field's name as Python has it.
            lines = [as_written(line) for line in str(error["ctx"]["error"]).split("\n")]
            lines = [line for line in lines if not but & set(re.findall(r"\w+", line.partition(" must ")[0]))]
            return [f"{key} {line}" if line.startswith("must ") else f"{key}.{line}" for line in lines]
        case unknown if unknown in UNKNOWN_KEY:
            possible = ", ".join(fields_of(kind_at(error["loc"][:-1]))) or "none"
            return [f"{key} is not a key; possible here: {possible}"]
        case "missing":
            return [f"{key} is required"]
        case _:
            # What stands where a reference to a secret should may be the secret.
            value = "" if "secrets" in error["loc"] else f", got {json.dumps(error['input'])}"
            return [f"{key} {error['msg'].replace('Input should', 'must')}{value}"]


def as_written(text: str) -> str:
    """Names of arguments in a rule as a stack file writes them; values, in quotes, stay as they are, and so do the
    fields of a text, in braces."""
    kept = r"'[^']*'|\"[^\"]*\"|{\w+}"
    return re.sub(rf"({kept})|\b[a-z]+(?:_[a-z]+)+\b", lambda m: m[1] or to_camel(m[0]), text)


def kind_at(path: Sequence[int | str]) -> Any:
    """The type of what a stack file may have at `path`, without `or nothing` and `a list of` around it."""
    kind: Any = StackFile
    for key in path:
        if not isinstance(key, int):
            kind = fields_of(kind)[str(key)]
    return kind


def fields_of(kind: Any) -> dict[str, Any]:
    """The keys of a part, with their types."""
    return {to_camel(name): bare(hint) for name, hint in types_of(kind).items()}


def types_of(kind: Any) -> dict[str, Any]:
    """The fields of a part, with their types."""
    if dataclasses.is_dataclass(kind):
        return {name: plain(hint) for name, hint in hints(typing.cast(type, kind)).items()}
    return {name: hint for name, hint in typing.get_type_hints(kind).items() if name != "model_config"}


def bare(hint: Any) -> Any:
    """The first of the types that a hint is made of."""
    while typing.get_args(hint):
        hint = next(inner for inner in typing.get_args(hint) if inner is not type(None))
    return hint
