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
from typing import Any

import pulumi
from pulumi.runtime import config as pulumi_config
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator
from pydantic.alias_generators import to_camel

from slipway._rules import NAME, refuse
from slipway.build import BuildSettings
from slipway.load_balancer import LoadBalancerSettings, is_ipv4_range
from slipway.pipeline import Approval
from slipway.registry import RegistryArgs
from slipway.service import ENVIRONMENT_NAME, ServiceSettings
from slipway.sources import CodeCommit, Connection, Source
from slipway.strategies import Rolling, Strategy

NAMESPACE = "slipway"
UNKNOWN_KEY = ("extra_forbidden", "unexpected_keyword_argument")
"""How pydantic calls a key that a model, or a dataclass, does not have."""
LONGEST_NAME = 32
"""What a load balancer may be called, the shortest of all names."""
LONGEST_SERVICE_NAME = 40


@dataclasses.dataclass(frozen=True, kw_only=True)
class NewNetwork:
    """A VPC of the stack's own, with public subnets for the load balancer and private ones for the tasks."""

    cidr: str = "10.0.0.0/16"
    """IPv4 range of the VPC."""

    zones: int = 2
    """Availability Zones to use."""

    nat_gateways: str = "Single"
    """NAT gateways, each about 35 USD a month: `Single` for all zones, or `OnePerAz`, to survive the loss of one."""

    def __post_init__(self) -> None:
        refuse(
            (not is_ipv4_range(self.cidr), f"cidr must be an IPv4 range such as 10.0.0.0/16, got {self.cidr!r}"),
            (not 2 <= self.zones <= 4, f"zones must be between 2 and 4, got {self.zones}"),
            (
                self.nat_gateways not in ("Single", "OnePerAz"),
                f"nat_gateways must be one of ['Single', 'OnePerAz'], got {self.nat_gateways!r}",
            ),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExistingNetwork:
    """A VPC that exists already."""

    vpc_id: str
    """Its id."""

    public_subnet_ids: Sequence[str]
    """Subnets for the load balancer, in at least two Availability Zones."""

    private_subnet_ids: Sequence[str]
    """Subnets for the tasks, with a way out to ECR and CloudWatch Logs."""

    def __post_init__(self) -> None:
        refuse(
            (not re.fullmatch(r"vpc-\w+", self.vpc_id), f"vpc_id must be the id of a VPC, got {self.vpc_id!r}"),
            (
                len(self.public_subnet_ids) < 2,
                f"public_subnet_ids must be at least two, got {list(self.public_subnet_ids)}",
            ),
            (
                not self.private_subnet_ids,
                f"private_subnet_ids must be at least one, got {list(self.private_subnet_ids)}",
            ),
        )


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


class StrategyChoice(Choice):
    rolling: Rolling | None = None


class NetworkChoice(Choice):
    new: NewNetwork | None = None
    existing: ExistingNetwork | None = None


class Stage(Section):
    """One deploy stage."""

    name: str | None = None
    approval: Approval | None = None
    strategy: StrategyChoice = StrategyChoice(rolling=Rolling())

    @model_validator(mode="after")
    def named(self) -> Stage:
        if self.name is not None and not ENVIRONMENT_NAME.fullmatch(self.name):
            raise ValueError(f"name must be 1 to 30 characters of a-z 0-9 -, got {self.name!r}")
        return self


class StackFile(Section):
    """All that a stack file can say under `slipway:`."""

    source: SourceChoice
    service: ServiceSettings
    stages: list[Stage] = [Stage()]
    build: BuildSettings = BuildSettings()
    registry: RegistryArgs = RegistryArgs()
    load_balancer: LoadBalancerSettings = LoadBalancerSettings()
    network: NetworkChoice = NetworkChoice(new=NewNetwork())

    @field_validator("stages")
    @classmethod
    def one_stage(cls, stages: list[Stage]) -> list[Stage]:
        if len(stages) != 1:
            raise ValueError(f"must be one deploy stage, got {len(stages)}")
        return stages


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What the program is told by `Pulumi.yaml` and the stack's own file."""

    name: str
    """`<app>-<stack>`, what registry, build and pipeline are called."""
    service_name: str
    """`<app>-<environment>`."""
    environment_name: str
    source: Source
    service: ServiceSettings
    strategy: Strategy
    approval: Approval | None
    build: BuildSettings
    registry: RegistryArgs
    load_balancer: LoadBalancerSettings
    network: NewNetwork | ExistingNetwork

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
    file, found = validate(data, secrets)
    mistakes += found

    name = f"{app}-{stack}"
    environment = (file.stages[0].name if file else None) or stack
    service_name = f"{app}-{environment}"
    if not NAME.fullmatch(name) or len(name) > LONGEST_NAME or name.startswith("internal-"):
        mistakes.append(
            f"project and stack must together have a name of at most {LONGEST_NAME} characters of a-z 0-9 and single - "
            f"between them, not starting with internal-, got {name!r}: "
            "change `name` in Pulumi.yaml, or the stack's name"
        )
    elif not NAME.fullmatch(service_name) or len(service_name) > LONGEST_SERVICE_NAME:
        mistakes.append(
            f"project and {NAMESPACE}:stages[0].name must together have a name of at most {LONGEST_SERVICE_NAME} "
            f"characters of a-z 0-9 and single - between them, got {service_name!r}"
        )
    if mistakes or not file:
        many = "a mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        raise ConfigurationError(
            f"{many} in the configuration (Pulumi.yaml, Pulumi.{stack}.yaml):\n" + "\n".join(f"  {m}" for m in mistakes)
        )
    return Settings(
        name=name,
        service_name=service_name,
        environment_name=environment,
        source=file.source.chosen,
        service=file.service,
        strategy=file.stages[0].strategy.chosen,
        approval=file.stages[0].approval,
        build=file.build,
        registry=file.registry,
        load_balancer=file.load_balancer,
        network=file.network.chosen,
    )


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
                mistakes += tell(error)
            take_out(rest, error["loc"], error["type"])
        if json.dumps(rest) == before:  # nothing but missing keys is left
            return None, mistakes


def take_out(data: Any, path: Sequence[int | str], error: str) -> None:
    """Remove what stands at `path`, or the list that it is an item of, or the choice that it is the kind of."""
    keys = list(path)
    if error != "missing" and len(keys) > 1 and is_choice(kind_at(keys[:-1])):
        keys.pop()
    while isinstance(keys[-1], int):
        keys.pop()
    for key in keys[:-1]:
        data = data[int(key)] if isinstance(data, list) else data.get(str(key), {})
    data.pop(str(keys[-1]), None)


def is_choice(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Choice)


def tell(error: Any) -> list[str]:
    """One mistake of pydantic's in our words: key, rule and value."""
    key = f"{NAMESPACE}:" + "".join(f"[{k}]" if isinstance(k, int) else f".{k}" for k in error["loc"]).lstrip(".")
    match error["type"]:
        case "value_error":
            # A line for each broken rule, that begins with the field's name as Python has it.
            lines = [as_written(line) for line in str(error["ctx"]["error"]).split("\n")]
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
    """Names of arguments in a rule as a stack file writes them; values, in quotes, stay as they are."""
    return re.sub(r"'[^']*'|\b[a-z]+(?:_[a-z]+)+\b", lambda m: m[0] if m[0][0] == "'" else to_camel(m[0]), text)


def kind_at(path: Sequence[int | str]) -> Any:
    """The type of what a stack file may have at `path`, without `or nothing` and `a list of` around it."""
    kind: Any = StackFile
    for key in path:
        if not isinstance(key, int):
            kind = fields_of(kind)[str(key)]
    return kind


def fields_of(kind: Any) -> dict[str, Any]:
    """The keys of a part, with their types."""
    hints = {name: hint for name, hint in typing.get_type_hints(kind).items() if name != "model_config"}
    return {to_camel(name): bare(hint) for name, hint in hints.items()}


def bare(hint: Any) -> Any:
    """The first of the types that a hint is made of."""
    while typing.get_args(hint):
        hint = next(inner for inner in typing.get_args(hint) if inner is not type(None))
    return hint
