"""Rules for combinations of settings that are valid individually."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from slipway._rules import NAME
from slipway.config.cluster import ASSOCIATED, UsedCluster
from slipway.config.errors import at
from slipway.config.network import NO_NAT, ExistingNetwork
from slipway.config.schema import Image, StackFile, Stage
from slipway.pipeline.component import composition_rules
from slipway.pipeline.sources import EcrImage
from slipway.pipeline.stages import in_vpc_rule, stage_rules
from slipway.pull_requests import check_rules
from slipway.release.function.contract import WEB
from slipway.service.args import (
    capacities,
    has_port,
    process_settings,
    protocol_rule,
    release_minutes,
    route_settings,
    strategy_rules,
)
from slipway.service.capacity import Ec2, FargateSpot, ManagedInstances, address_rule
from slipway.service.logging import FireLens
from slipway.service.sidecars import ECR_IMAGE

LONGEST_NAME = 32
"""Maximum length of a load balancer's name, the shortest of all names.

https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateLoadBalancer.html"""


@dataclass(frozen=True)
class Given:
    """A stack file and the stack that it belongs to."""

    file: StackFile
    app: str
    stack: str
    keys: set[str]
    """The keys in the file."""

    @property
    def is_image(self) -> bool:
        return isinstance(self.file.source, Image)

    def environment(self, stage: Stage) -> str:
        return stage.name or self.stack


Rules = Iterator[tuple[bool, str]]
"""For each rule, whether it is broken and its message, which begins with a key."""


def combinations(given: Given) -> Iterator[str]:
    """The broken rules between parts."""
    for rules in OF_THE_FILE:
        yield from (at("", message) for message in broken(rules(given)))
    for number, stage in enumerate(given.file.stages):
        yield from broken(name_of_a_stage(given, stage))
        for each in OF_A_STAGE:
            yield from (at("", f"stages[{number}].{message}") for message in broken(each(given, stage)))


def broken(rules: Iterable[tuple[bool, str]]) -> Iterator[str]:
    return (message for is_broken, message in rules if is_broken)


def name_rules(parts: str, name: str, remedy: str) -> Rules:
    """The rules for names of load balancers, services and repositories."""
    possible = NAME.fullmatch(name) and len(name) <= LONGEST_NAME and not name.startswith("internal-")
    yield (
        not possible,
        f"{parts} must together have a name of at most {LONGEST_NAME} characters of a-z 0-9 and single - "
        f"between them, not starting with internal-, got {name!r}: {remedy}",
    )


def name_of_a_stage(given: Given, stage: Stage) -> Rules:
    environment = given.environment(stage)
    if environment != given.stack:
        name = f"{given.app}-{environment}"
        yield from name_rules("project and name of a stage", name, f"shorten {environment!r}")


def of_the_pipeline(given: Given) -> Rules:
    file, is_image = given.file, given.is_image
    rules = composition_rules(
        EcrImage(repository="web", tag="stable") if isinstance(file.source, Image) else file.source,
        not is_image,
        {given.environment(stage): stage.strategy for stage in file.stages},
        file.code_scans,
        file.pipeline.variables,
    )
    for is_broken, message in rules:
        # Of the keys concerned, only `variables` is not at the top level of the file.
        yield is_broken, re.sub(r"^variables\b", "pipeline.variables", message)


def of_pull_requests(given: Given) -> Rules:
    file = given.file
    if file.pull_requests is None:
        return
    rules = check_rules(file.pull_requests, file.source, file.build.test_commands, file.code_scans)
    for is_broken, message in rules:
        yield is_broken, re.sub("^(?!source)", "pull_requests.", message)


def names_of_stages(given: Given) -> Rules:
    environments = [given.environment(stage) for stage in given.file.stages]
    yield (
        len(set(environments)) < len(environments),
        f"stages must have different names, got {environments}",
    )


def names_in_the_cluster(given: Given) -> Rules:
    """The stages have one cluster, and a family of task definitions has the account and Region to itself."""
    names = Counter(name for stage in given.file.stages for name in names_of_a_service(given, stage))
    twice = sorted(name for name, count in names.items() if count > 1)
    environments = {given.environment(stage) for stage in given.file.stages}
    yield (
        bool(twice) and len(environments) == len(given.file.stages),
        f"stages must have names with which ECS services and task definitions of all of them are different, got "
        f"{twice} twice: rename a stage, a process or a job",
    )


def names_of_a_service(given: Given, stage: Stage) -> set[str]:
    """The names of the ECS services and the families of task definitions in a stage."""
    name, settings = f"{given.app}-{given.environment(stage)}", stage.service
    others = [*settings.processes, *settings.jobs, *(["migration"] if settings.migration else [])]
    families = {name, *(f"{name}-{other}" for other in others if other != WEB)}
    return families | {f"{family}-template" for family in families}


def names_of_the_domains(given: Given) -> Rules:
    domains = [stage.load_balancer.domain for stage in given.file.stages if has_port(stage.service)]
    # A name and its wildcard are proven by one record, which would go with the first stage that is removed.
    names = Counter(
        each for domain in domains if domain is not None for each in {n.removeprefix("*.") for n in domain.names}
    )
    twice = [name for name, count in names.items() if count > 1]
    yield bool(twice), f"stages must have different names in load_balancer.domain, got {twice} twice"


def names_in_the_namespace(given: Given) -> Rules:
    """A namespace has each name once."""
    connects = [stage.service.service_connect for stage in given.file.stages]
    names = Counter((each.name, each.namespace_arn) for each in connects if each is not None and each.name is not None)
    twice = sorted(str(name) for (name, _), count in names.items() if count > 1)
    yield bool(twice), f"stages must have different names in service.service_connect, got {twice} twice"


def subnets_of_the_load_balancers(given: Given) -> Rules:
    """A load balancer needs two subnets, and public ones if it is public itself."""
    network = given.file.network
    if not isinstance(network, ExistingNetwork):
        return
    public, private = network.public_subnet_ids, network.private_subnet_ids
    balanced = [
        stage for stage in given.file.stages if has_port(stage.service) and stage.load_balancer.existing is None
    ]
    facing = [given.environment(stage) for stage in balanced if not stage.load_balancer.internal]
    yield (
        bool(balanced) and bool(public or facing) and len(public) < 2,
        f"network.existing.public_subnet_ids must have at least 2 items for a load balancer, got {list(public)}",
    )
    yield (
        bool(balanced) and not public and not facing and len(private) < 2,
        "network.existing.private_subnet_ids must have at least 2 items for an internal load balancer without "
        f"public_subnet_ids, got {list(private)}",
    )


def rules_of_the_balancer(given: Given) -> Rules:
    """Stages that share an existing load balancer must not ask for the same requests."""
    seen: dict[str, str] = {}
    priorities: dict[tuple[object, int], str] = {}
    for stage in given.file.stages:
        existing = stage.load_balancer.existing
        if existing is None or not has_port(stage.service):
            continue
        # An ARN has the name too: …:loadbalancer/app/<name>/<id>.
        name = existing.arn.split("/")[-2] if isinstance(existing.arn, str) else existing.name
        listener = name, existing.listener_port
        processes = process_settings(stage.service)
        for each in (*processes.values(), *route_settings(processes[WEB]).values()):
            if each.port is None:
                continue
            rule = repr((listener, sorted(each.paths), sorted(each.hosts), sorted(each.headers.items())))
            other = seen.setdefault(rule, given.environment(stage))
            yield (
                other != given.environment(stage),
                f"stages must have different service.hosts, paths or headers with one load_balancer.existing, got the "
                f"same for {other} and {given.environment(stage)}",
            )
            number = each.listener_priority
            first = priorities.setdefault((listener, number), given.environment(stage)) if number is not None else ""
            yield (
                number is not None and first != given.environment(stage),
                f"stages must have different service.listener_priority with one load_balancer.existing, got {number} "
                f"for {first} and {given.environment(stage)}",
            )


def with_an_image(given: Given) -> Rules:
    yield given.is_image and "build" in given.keys, "build must not be set if the source is an image"
    yield (
        given.is_image and "registry" in given.keys,
        "registry must not be set if the source is an image: the repository is another stack's",
    )


def without_a_circle(given: Given) -> Rules:
    source = given.file.source
    if not isinstance(source, Image):
        return
    tag = source.tag or f"verified-{source.stack}"
    environments = [given.environment(stage) for stage in given.file.stages]
    moved = [f"{kind}-{environment}" for environment in environments for kind in ("live", "verified")]
    yield (
        tag in moved,
        f"source.image must not be the tag {tag}, which the releases of this stack move: each would start the pipeline "
        "again",
    )


def for_a_feature_branch(given: Given) -> Rules:
    file = given.file
    if file.feature_branch is None:
        return
    yield given.is_image, "source must not be an image with feature_branch, which builds its own"
    yield (
        file.registry.expire_days is not None,
        "registry.expire_days must not be given with feature_branch: its image_days say when images expire",
    )
    named = [stage.name for stage in file.stages if stage.name is not None]
    yield bool(named), f"stages must have no name with feature_branch, got {named}: it deploys to its own only"


def of_the_strategy(given: Given, stage: Stage) -> Rules:
    yield from strategy_rules(stage.service, stage.strategy)


def of_the_day(given: Given, stage: Stage) -> Rules:
    yield from stage_rules(release_minutes(stage.service, stage.strategy), stage.tests)


def of_the_tests(given: Given, stage: Stage) -> Rules:
    """Whether the tests of a stage can reach the service's address."""
    network = given.file.network
    existing = isinstance(network, ExistingNetwork)
    why = "network.existing.assign_public_ip" if existing else "network.new.nat_gateways=None"
    yield in_vpc_rule(network.assign_public_ip, stage.tests, why)
    balancer, service, tests = stage.load_balancer, stage.service, stage.tests
    if not has_port(service) or tests is None:
        return
    yield (
        balancer.certificate_arn is not None and service.url is None,
        "tests need service.url with a certificate, got none: the certificate is for your domain name, not for the "
        "load balancer's",
    )
    yield (
        balancer.existing is not None and service.url is None,
        "tests need service.url with load_balancer.existing, got none: they need a name of this service",
    )
    yield (
        not isinstance(network, ExistingNetwork)
        and network.vpc_endpoints is not None
        and network.nat_gateways == NO_NAT
        and tests.in_vpc
        and not balancer.internal,
        "tests must not set in_vpc with network.new.nat_gateways=None, vpc_endpoints and a public load balancer, whose "
        "address is on the internet; without in_vpc, they reach it",
    )
    yield (
        balancer.internal and not tests.in_vpc,
        "tests must set in_vpc with an internal load balancer, which can be reached only from the VPC",
    )
    yield (
        not balancer.internal and "0.0.0.0/0" not in balancer.ingress_cidrs and not tests.in_vpc,
        "tests must set in_vpc if load_balancer.ingress_cidrs excludes the internet: CodeBuild connects from AWS's "
        "addresses; with in_vpc, add the addresses of the NAT gateways to ingress_cidrs",
    )


def of_the_architecture(given: Given, stage: Stage) -> Rules:
    run, several = stage.service.cpu_architecture, given.file.build.cpu_architectures
    built = several or [given.file.service.cpu_architecture]
    yield (
        run not in built,
        f"service.cpu_architecture must be {' or '.join(built)}, as the image was built for all stages, got {run!r}"
        + ("" if several else ": build.cpu_architectures can be both"),
    )


OF_THE_FILE = (
    of_the_pipeline,
    of_pull_requests,
    names_of_stages,
    names_in_the_cluster,
    names_of_the_domains,
    names_in_the_namespace,
    subnets_of_the_load_balancers,
    rules_of_the_balancer,
    with_an_image,
    without_a_circle,
    for_a_feature_branch,
)


def of_the_protocol(given: Given, stage: Stage) -> Rules:
    balancer = stage.load_balancer
    if balancer.existing is not None:
        return  # whether it has a certificate is known when it is looked up
    yield protocol_rule(stage.service, balancer.is_encrypted, "load_balancer.certificate_arn or domain is required")


def of_the_network(given: Given, stage: Stage) -> Rules:
    network, existing = given.file.network, stage.load_balancer.existing
    if isinstance(network, ExistingNetwork):
        return  # what it reaches, and whether it is the load balancer's, is known to AWS
    yield (
        has_port(stage.service) and existing is not None,
        "load_balancer.existing must not be set with a new network, in which it is not; use network.existing",
    )
    if network.vpc_endpoints is None or network.nat_gateways != NO_NAT:
        return
    images = {f"sidecars['{name}'].image": each.image for name, each in stage.service.sidecars.items()}
    if isinstance(stage.service.logging, FireLens):
        images["logging.fire_lens.image"] = stage.service.logging.image
    for field, image in images.items():
        yield (
            isinstance(image, str) and not ECR_IMAGE.fullmatch(image),
            f"service.{field} must be in ECR with network.new.nat_gateways=None and vpc_endpoints, got {image!r}: "
            "there is no way to other registries",
        )


def of_the_capacity(given: Given, stage: Stage) -> Rules:
    cluster, network = given.file.cluster, given.file.network
    why = f"network.{'existing.assign_public_ip' if isinstance(network, ExistingNetwork) else 'new.nat_gateways=None'}"
    for field, capacity in capacities(stage.service):
        key = f"service.{field}"
        broken, message = address_rule(capacity, network.assign_public_ip, why)
        yield broken, message.replace("capacity", key, 1)
        if isinstance(cluster, UsedCluster):
            continue  # whether it is associated with a provider is known to ECS
        groups, managed = [*cluster.auto_scaling_groups], [*cluster.managed_instances]
        yield (
            isinstance(capacity, Ec2) and capacity.capacity_provider not in groups,
            f"{key}.ec2.capacity_provider must be one of cluster.new.auto_scaling_groups, {groups}, in a new cluster",
        )
        yield (
            isinstance(capacity, ManagedInstances) and capacity.capacity_provider not in managed,
            f"{key}.managed_instances.capacity_provider must be one of cluster.new.managed_instances, {managed}, in a "
            "new cluster",
        )
        yield (
            isinstance(capacity, FargateSpot) and bool(managed),
            f"{key} must not be FargateSpot with cluster.new.managed_instances: {ASSOCIATED}",
        )


def of_the_namespace(given: Given, stage: Stage) -> Rules:
    cluster, connect = given.file.cluster, stage.service.service_connect
    yield (
        # Whether an existing cluster has one is known when it is looked up.
        connect is not None
        and connect.namespace_arn is None
        and not isinstance(cluster, UsedCluster)
        and cluster.namespace is None,
        "service.service_connect.namespace_arn or cluster.new.namespace is required: Service Connect needs a namespace",
    )


OF_A_STAGE = (
    of_the_network,
    of_the_capacity,
    of_the_namespace,
    of_the_protocol,
    of_the_strategy,
    of_the_day,
    of_the_tests,
    of_the_architecture,
)
