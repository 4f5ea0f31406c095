"""Reads a stack file into typed settings, and reports every mistake in it at once."""

from __future__ import annotations

import dataclasses
import datetime
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import pulumi
from pulumi.runtime import config as pulumi_config

from slipway._constraints import examine, got, hints
from slipway._secrets import COMMANDS
from slipway.audit import AuditTrailArgs
from slipway.build.component import BuildSettings
from slipway.config.cluster import NewCluster, UsedCluster
from slipway.config.combinations import Given, broken, combinations, name_rules
from slipway.config.errors import ConfigurationError, at, key, nearest, suggestion
from slipway.config.guesses import (
    VARIANTS,
    Guesses,
    Variants,
    certain,
    guesses,
    in_all,
    sample,
    unchecked,
)
from slipway.config.network import ExistingNetwork, NewNetwork
from slipway.config.schema import (
    NAMESPACE,
    REMOVED,
    STAGES_OWN,
    Image,
    LoadBalancerKeys,
    Shape,
    StackFile,
    Stage,
    is_required,
    keys,
    shape,
    to_camel,
)
from slipway.pipeline.commands import CodeScan, StageTests
from slipway.pipeline.component import PipelineSettings
from slipway.pipeline.notifications import Notifications
from slipway.pipeline.scan_gate import ScanGate
from slipway.pipeline.sources import EcrImage, Source
from slipway.pipeline.stages import Approval, Window
from slipway.pull_requests import PullRequestSettings
from slipway.registry import RegistryArgs
from slipway.roles import RoleDefaults
from slipway.service.args import CONDITIONS, ServiceSettings, has_port
from slipway.strategies import Strategy


@dataclass(frozen=True, kw_only=True)
class StageSettings:
    """One deploy stage: its own settings merged with those for all stages."""

    environment_name: str
    service_name: str
    """`<app>-<environment>`, the name of its service and load balancer."""
    service: ServiceSettings
    load_balancer: LoadBalancerKeys | None
    """None for a worker."""
    strategy: Strategy
    approval: Approval | None
    tests: StageTests | None
    window: Window | None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings in `Pulumi.yaml` and in the stack's own file."""

    name: str
    """`<app>-<stack>`, the name of the registry, the build and the pipeline."""
    source: Source
    image_repository: str | None
    """Repository that another stack builds to, if the source is an image; then there is no build."""
    build: BuildSettings
    registry: RegistryArgs
    cpu_architecture: str
    """CPU architecture of the build and of all services."""
    stages: Sequence[StageSettings]
    network: NewNetwork | ExistingNetwork
    cluster: NewCluster | UsedCluster
    scan_gate: ScanGate | None
    code_scans: Sequence[CodeScan]
    pull_requests: PullRequestSettings | None
    notifications: Notifications | None
    pipeline: PipelineSettings
    roles: RoleDefaults
    audit: AuditTrailArgs | None

    @staticmethod
    def load() -> Settings:
        """Read the configuration of the current stack.

        Raises ConfigurationError, which lists every mistake by key, rule and value.
        """
        given = {**pulumi_config.get_config_env(), **pulumi_config.CONFIG.get()}
        secret = {*pulumi_config.get_config_secret_keys_env(), *pulumi_config._SECRET_KEYS.get()}
        return read(pulumi.get_project(), pulumi.get_stack(), given, secret)


def read(app: str, stack: str, configuration: Mapping[str, Any], secret: set[str]) -> Settings:
    """Parse configuration values as Pulumi passes them: by full key, as strings, with nested values as JSON. `secret`
    contains the keys whose values are encrypted.

    Raises ConfigurationError.
    """
    prefix = f"{NAMESPACE}:"
    values = {k.removeprefix(prefix): v for k, v in configuration.items() if k.startswith(prefix)}
    secrets = {k.removeprefix(prefix) for k in secret if k.startswith(prefix)}
    reader = Reader()
    reader.mistakes += [
        f"{key(name)} must not be secure: it would reach the state; put the value into Secrets Manager or "
        f"Parameter Store and refer to it by ARN in {key('service.secrets')}"
        for name in sorted(secrets)
    ]
    reader.mistakes += misplaced(app, configuration)
    data = {name: UNREADABLE if name in secrets else parse(value) for name, value in values.items()}
    known = {name: value for name, value in data.items() if value is not UNREADABLE or name in keys(StackFile)}
    variants = reader.part(StackFile, with_settings_of_all_stages(known), "") or []
    name = f"{app}-{stack}"
    mistakes = without_repeats(reader.mistakes)
    remedy = "change `name` in Pulumi.yaml, or the stack's name"
    mistakes += broken(name_rules("project and stack", name, remedy))
    mistakes += in_all(combinations(Given(file, app, stack, set(data))) for file in variants)
    if mistakes:
        raise ConfigurationError(stack, mistakes)
    file: StackFile = variants[0]
    source = file.source.of(app) if isinstance(file.source, Image) else file.source
    registry = file.registry
    if file.feature_branch is not None:
        registry = dataclasses.replace(registry, expire_days=file.feature_branch.image_days, force_delete=True)
    stages = [stage_settings(app, stack, file, stage) for stage in file.stages]
    if registry.force_delete:
        names = dict.fromkeys([*(stage.environment_name for stage in stages), *registry.force_delete_environments])
        registry = dataclasses.replace(registry, force_delete_environments=[*names])
    return Settings(
        name=name,
        source=source,
        image_repository=cast(str, source.repository) if isinstance(source, EcrImage) else None,
        build=file.build,
        registry=registry,
        cpu_architecture=file.service.cpu_architecture,
        stages=stages,
        network=file.network,
        cluster=file.cluster,
        scan_gate=file.scan_gate,
        code_scans=file.code_scans,
        pull_requests=file.pull_requests,
        notifications=file.notifications,
        pipeline=file.pipeline,
        roles=file.roles,
        audit=file.audit,
    )


def misplaced(app: str, configuration: Iterable[str]) -> Iterator[str]:
    """Keys of another namespace that are probably meant for Slipway. Keys of providers and other packages are
    ignored."""
    possible = {folded(each): each for each in keys(StackFile)}
    for full in sorted(configuration):
        space, _, name = full.partition(":")
        if space == NAMESPACE:
            continue
        if space == app:
            # Only exact names: a program may have its own keys that are similar to ours.
            if re.split(r"[.\[]", name)[0] == NAMESPACE:
                yield f"{name} is not read; write each key in it with the namespace, such as {key('service')}"
            elif folded(name) in possible:
                meant = key(possible[folded(name)])
                yield f"{full} is not read; did you mean {meant}? A key without a namespace has that of the project"
        elif nearest(space, [NAMESPACE, f"pulumi-{NAMESPACE}"]):
            [meant] = nearest(name, possible.values()) or [name]
            yield f"{full} is not read; did you mean {key(meant)}?"


def folded(name: str) -> str:
    """A key without the separators and capitals of its words."""
    return re.sub("[-_]", "", name).lower()


def stage_settings(app: str, stack: str, file: StackFile, stage: Stage) -> StageSettings:
    environment, service = stage.name or stack, stage.service
    if file.feature_branch is not None:
        service = dataclasses.replace(service, retain_release_state=False)
    return StageSettings(
        environment_name=environment,
        service_name=f"{app}-{environment}",
        service=service,
        load_balancer=stage.load_balancer if has_port(service) else None,
        strategy=stage.strategy,
        approval=stage.approval,
        tests=stage.tests,
        window=stage.window,
    )


ENVIRONMENT, NOT_SECRET = "environment", "notSecret"
"""The map of variables, of which the list beside it has names."""
UNREADABLE: Any = object()
"""Replaces a value whose mistake is already reported."""


class Reader:
    """Builds the parts of the file from plain data, and collects the mistakes."""

    def __init__(self) -> None:
        self.mistakes: list[str] = []

    def part(self, kind: type, data: Any, path: str) -> Variants | None:
        """The part with the keys in `data`, or None."""
        if not isinstance(data, Mapping):
            return self._none(path, f"must be a map{got(data)}")
        possible = keys(kind)
        for unknown in [each for each in data if each not in possible]:
            if (kind, unknown) in REMOVED:
                self._mistake(inside(path, unknown), f"is not a key any more: {REMOVED[kind, unknown]}")
                continue
            close = suggestion(unknown, possible)
            self._mistake(inside(path, unknown), f"is not a key{close}; possible here: {', '.join(possible) or 'none'}")
        values: dict[str, Variants] = {}
        for each, name in possible.items():
            if each in data:
                values[name] = self._field(kind, name, data[each], inside(path, each))
            elif is_required(kind, name):
                self._mistake(inside(path, each), "is required")
                values[name] = guesses(kind, name)
        return self._made(kind, values, path)

    def _field(self, kind: type, name: str, data: Any, path: str) -> Variants:
        form = shape(hints(kind)[name])
        off = form.optional and not is_inherited(kind, name, path)
        if data is False and form.optional:
            if not off:
                self._mistake(path, "must not be false: without the key, it is as in the service")
            return certain(None)
        found: Variants | None = None
        if data is None:
            self._mistake(path, blank(form, off, merged=form.merged and bool(OF_A_STAGE.match(path))))
        elif data is UNREADABLE:
            pass
        elif form.choice is not None:
            found = self._choice(form.choice, data, path)
        elif form.part is None:
            return self._plain(kind, name, data, path)
        elif form.listed:
            found = self._list(form.part, data, path)
        elif form.named is not None:
            found = self._map(form.part, form.named, data, path)
        else:
            found = self.part(form.part, data, path)
        return guesses(kind, name) if found is None else found

    def _list(self, kind: type, data: Any, path: str) -> Variants | None:
        if not isinstance(data, list):
            return self._none(path, f"must be a list{got(data)}")
        lists: list[list[Any]] = [[] for _ in range(VARIANTS)]
        for number, each in enumerate(data):
            for made, found in zip(lists, self._entry(kind, each, f"{path}[{number}]"), strict=True):
                made += found
        return lists

    def _map(self, kind: type, named: Any, data: Any, path: str) -> Variants | None:
        if not isinstance(data, Mapping):
            return self._none(path, f"must be a map{got(data)}")
        self.mistakes += examine(Mapping[named, Any], data, key(path))[1]
        maps: list[dict[str, Any]] = [{} for _ in range(VARIANTS)]
        for name, each in data.items():
            for made, found in zip(maps, self._entry(kind, each, inside(path, name)), strict=True):
                made.update((name, value) for value in found)
        return maps

    def _entry(self, kind: type, data: Any, path: str) -> Sequence[Sequence[Any]]:
        """For each variant, the part in a list or a map, or nothing if it cannot be read."""
        if data is None:
            found = self._none(path, "is blank: write {} for the defaults, or remove it")
        else:
            found = self.part(kind, data, path)
        if found is None:
            return [[sample(kind)] if at_ % 2 else [] for at_ in range(VARIANTS)]
        return [[each] for each in found]

    def _choice(self, kinds: Mapping[str, type], data: Any, path: str) -> Variants | None:
        if not isinstance(data, Mapping):
            return self._none(path, f"must be a map with one of {', '.join(kinds)}{got(data)}")
        if len(data) != 1:
            found = ", ".join(sorted(data, key=[*kinds, *data].index)) or "none"
            return self._none(path, f"must have exactly one of {', '.join(kinds)}, got {found}")
        [(each, inner)] = data.items()
        where = inside(path, each)
        if each not in kinds:
            return self._none(where, f"is not a key{suggestion(each, kinds)}; possible here: {', '.join(kinds)}")
        if inner is None:
            return self._none(where, "is blank: write {} for the defaults")
        return self.part(kinds[each], inner, where)

    def _plain(self, kind: type, name: str, data: Any, path: str) -> Variants:
        blanks = list(blanks_in(data, path))
        for where in blanks:
            self._mistake(where, "is blank: write a value, or remove it")
        if blanks:
            return guesses(kind, name)
        form = shape(hints(kind)[name])
        if form.date and isinstance(data, str):
            data = day(data)
        # Something that is not a reference to a secret may be the secret itself.
        hidden = "secrets" in re.split(r"[.\[]", path)
        wrong_types, broken_rules = examine(form.hint, data, key(path), shown=not hidden)
        self.mistakes += wrong_types + broken_rules
        if wrong_types:
            return guesses(kind, name)
        return guesses(kind, name, data) if broken_rules else certain(data)

    def _made(self, kind: type, values: Mapping[str, Variants], path: str) -> Variants:
        """The instances, after the rules for several fields are checked."""
        each = [{name: variants[at_] for name, variants in values.items()} for at_ in range(VARIANTS)]
        if all(variants == certain(variants[0]) and not isinstance(variants, Guesses) for variants in values.values()):
            try:
                return certain(kind(**each[0]))
            except ValueError as e:
                lines = str(e).split("\n")
        else:
            guessed = {name for name, variants in values.items() if isinstance(variants, Guesses)}
            lines = [line for line in in_all(refusals(kind, v) for v in each) if subject(line) not in guessed]
        self.mistakes += [at(path, line) for line in lines]
        for name in {subject(line) for line in lines} & values.keys():
            for at_, guess in enumerate(guesses(kind, name, values[name][0])):
                each[at_][name] = guess
        return [unchecked(kind, variant) for variant in each]

    def _mistake(self, path: str, text: str) -> None:
        self.mistakes.append(f"{key(path)} {text}")

    def _none(self, path: str, text: str) -> Variants | None:
        """Replaces a part that cannot be read."""
        self._mistake(path, text)
        return None


def subject(line: str) -> str:
    """The field with the mistake."""
    return re.split(r"\W", line, maxsplit=1)[0]


def refusals(kind: type, values: Mapping[str, Any]) -> list[str]:
    try:
        kind(**values)
    except ValueError as e:
        return str(e).split("\n")
    return []


def is_inherited(kind: type, name: str, path: str) -> bool:
    """Whether a part without the key has that of the service, so that there is nothing to turn off. A process other
    than `web` has a port and a rule of its own, or none."""
    own = name in ("port", *CONDITIONS, "listener_priority") and not re.search(r"\.processes\.web\.\w+$", f".{path}")
    return getattr(kind, "inherits", False) and not own


OF_A_STAGE = re.compile(r"stages\[\d+\]\.(service|loadBalancer)\b")
"""The path of what is merged over the settings for all stages."""


def blank(form: Shape, off: bool, merged: bool) -> str:
    """The mistake of a key without a value, which may be turned `off`, or has more than its own keys."""
    values = ["false to turn it off"] if off else []
    if form.choice is None and form.part is None:
        values = ["a value", *values]
    elif not merged:
        values = ["[] for none" if form.listed else "{} for none" if form.named else "{} for the defaults", *values]
    written = f"write {', '.join(values)}, or " if values else ""
    return f"is blank: {written}remove the key"


def blanks_in(data: Any, path: str) -> Iterator[str]:
    """The paths of all blank values in a map or list."""
    inner = data.items() if isinstance(data, Mapping) else enumerate(data) if isinstance(data, list) else ()
    for each, value in inner:
        where = f"{path}[{each!r}]"
        if value is None:
            yield where
        yield from blanks_in(value, where)


def day(text: str) -> Any:
    """A date. Pulumi passes a YAML date as the time at which the day begins."""
    try:
        return datetime.date.fromisoformat(re.sub(r"T00:00:00(\.0+)?Z| 00:00:00 \+0000 UTC", "", text))
    except ValueError:
        return text


def with_settings_of_all_stages(data: dict[str, Any]) -> dict[str, Any]:
    """The file with the settings for all stages merged into each stage, below the stage's own."""
    if not isinstance(data.get("stages", [{}]), list):
        return data
    stages = [
        {
            **stage,
            **{
                key: overlaid(data[key], stage.get(key, {}), kind)
                for part, kind in STAGES_OWN.items()
                if (key := to_camel(part)) in data
            },
        }
        if isinstance(stage, dict)
        else stage
        for stage in data.get("stages", [{}])
    ]
    return {**data, "stages": stages}


def overlaid(general: Any, own: Any, kind: type) -> Any:
    """The settings of a stage merged over those for all stages. Of a part, the stage's keys replace the general ones;
    entries are added to a map, or removed with `false`, and then from `notSecret` too. Lists and choices are replaced
    as a whole."""
    if not isinstance(general, dict):
        return general  # its mistakes are reported once
    if not isinstance(own, dict):
        return own
    forms = {each: shape(hints(kind)[name]) for each, name in keys(kind).items()}
    general = {each: value for each, value in general.items() if each not in displaced(own, forms)}
    both = {
        each: with_entries(general[each], own[each], form)
        for each, form in forms.items()
        if form.merged and isinstance(general.get(each), dict) and isinstance(own.get(each), dict)
    }
    merged = {**general, **own, **both}
    if isinstance(general.get(NOT_SECRET), list) and NOT_SECRET not in own:
        gone = {*variables_in(kind, general)} - {*variables_in(kind, merged)}
        # What a file has in place of a name may not be hashable.
        merged[NOT_SECRET] = [name for name in general[NOT_SECRET] if name not in [*gone]]
    return merged


EXCLUSIVE = (("name", "arn"), ("directory", "accessPointId"), ("certificateArn", "domain"), ("bucket", "days"))
"""Keys of a part of which one takes the place of the other."""


def displaced(own: Mapping[str, Any], possible: Collection[str]) -> set[str]:
    """The general keys in whose place a stage has another one."""
    if own.get("existing"):
        return {*possible} - {"existing"}  # an existing load balancer has no settings of a new one
    groups = [group for group in EXCLUSIVE if {*group} <= {*possible}]
    return {each for group in groups for each in group if each not in own and any(own.get(other) for other in group)}


def with_entries(general: dict[str, Any], own: dict[str, Any], form: Shape) -> Any:
    """A map with the entries of a stage, or a part with its keys."""
    if form.part is not None and form.named is None:
        return overlaid(general, own, form.part)
    if form.part is not None:
        own = {name: overlaid(general.get(name, {}), value, form.part) for name, value in own.items()}
    return {name: value for name, value in {**general, **own}.items() if not (value is False and name in general)}


def variables_in(kind: type, data: Any) -> Iterator[str]:
    """The names in `notSecret` that a part and the parts in it give a meaning: of variables, and `commands`."""
    if not isinstance(data, dict):
        return
    for each, name in keys(kind).items():
        form, value = shape(hints(kind)[name]), data.get(each)
        if form.part is not None:
            parts = value.values() if form.named is not None and isinstance(value, dict) else [value]
            yield from (inner for part in parts for inner in variables_in(form.part, part))
        elif name == ENVIRONMENT and isinstance(value, dict):
            yield from value
        elif name in ("command", "entrypoint") and value:
            yield COMMANDS


def without_repeats(mistakes: Sequence[str]) -> list[str]:
    """Each mistake once: a mistake in the settings for all stages appears in each stage."""

    def without_remedy(mistake: str) -> str:
        return mistake.partition(" is blank: ")[0]  # which is another one in a stage

    known = {without_remedy(each) for each in mistakes}
    return [
        m
        for m in dict.fromkeys(mistakes)
        if (general := re.sub(r"stages\[\d+\]\.", "", m, count=1)) == m or without_remedy(general) not in known
    ]


def parse(value: Any) -> Any:
    """A value as written in the file: Pulumi passes nested values as JSON, others as strings, and blank ones as empty
    strings."""
    if value == "":
        return None
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value


def inside(path: str, each: str) -> str:
    return f"{path}.{each}" if path else each
