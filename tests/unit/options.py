"""Options of a stack file, packed into a few files so that each pair of values that can meet does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from itertools import combinations
from random import Random
from typing import Any

CERTIFICATE = "arn:aws:acm:eu-west-1:123456789012:certificate/01234567-89ab-cdef-0123-456789abcdef"
SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:datadog-a1b2c3"
WEB_ACL = "arn:aws:wafv2:eu-west-1:123456789012:regional/webacl/shop/1234abcd"
NAMESPACE = "arn:aws:servicediscovery:eu-west-1:123456789012:namespace/ns-0123456789abcdef"
QUEUE = "arn:aws:sqs:eu-west-1:123456789012:orders"
ECR = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
NO: dict[str, Any] = {}
"""Nothing in the file: the default."""


def service(**keys: Any) -> dict[str, Any]:
    return {"service": keys}


WORKER = {"worker": {"command": ["work"], "tasks": {"min": 1, "max": 3}}}
JOBS = {"report": {"command": ["report"], "schedule": "rate(1 hour)"}}
HEALTH = {"command": ["CMD-SHELL", "test -f /tmp/ok"]}
OPTIONS: dict[str, dict[str, dict[str, Any]]] = {
    "strategy": {
        "rolling": NO,
        "blueGreen": {"stage": {"strategy": {"blueGreen": {}}}},
        "canary": {"stage": {"strategy": {"canary": {}}}},
        "codeDeploy": {"stage": {"strategy": {"codeDeployBlueGreen": {}}}},
    },
    "requests": {"http": NO, "http2": service(protocolVersion="HTTP2"), "grpc": service(protocolVersion="GRPC")},
    "encryption": {
        "none": NO,
        "certificate": {"loadBalancer": {"certificateArn": CERTIFICATE}},
        "domain": {
            "loadBalancer": {"domain": {"names": ["shop.example.com", "*.shop.example.com"], "zone": "example.com"}}
        },
    },
    "health": {
        "default": NO,
        "slow": service(
            healthCheck={"intervalSeconds": 30, "healthyCount": 3}, drainSeconds=300, containerHealthCheck=HEALTH
        ),
    },
    "rule": {"paths": NO, "hosts": service(hosts=["*.example.com"], headers={"X-Version": ["1"]})},
    "ports": {"one": NO, "two": service(routes={"admin": {"port": 9090, "paths": ["/admin/*"]}})},
    "sessions": {
        "none": NO,
        "balancer": service(stickiness={}),
        "application": service(stickiness={"cookieName": "SESSION"}),
    },
    "processes": {
        "web": NO,
        "worker": service(processes=WORKER),
        "all": service(processes=WORKER, migration={"command": ["migrate"]}, jobs=JOBS),
    },
    "network": {
        "new": NO,
        "no NAT": {"network": {"new": {"natGateways": "None"}}},
        "endpoints": {"network": {"new": {"natGateways": "None", "vpcEndpoints": {"services": ["sqs", "dynamodb"]}}}},
        "existing": {
            "network": {
                "existing": {
                    "vpcId": "vpc-0a",
                    "publicSubnetIds": ["subnet-1", "subnet-2"],
                    "privateSubnetIds": ["subnet-3"],
                }
            }
        },
    },
    "balancer": {
        "public": NO,
        "internal": {"loadBalancer": {"internal": True, "ingressCidrs": ["10.0.0.0/16"]}},
    },
    "records": {
        "none": NO,
        "logs": {"loadBalancer": {"accessLogs": {}, "wafAclArn": WEB_ACL}},
    },
    "container": {
        "default": NO,
        "hardened": service(
            container={
                "user": "1000",
                "dropCapabilities": ["ALL"],
                "ulimits": {"nofile": {"soft": 1024, "hard": 4096}},
            },
            writablePaths=["/tmp"],
        ),
    },
    "disk": {"default": NO, "larger": service(ephemeralStorageGib=50)},
    "cluster": {
        "new": NO,
        "insights": {"cluster": {"new": {"containerInsights": "enhanced"}}},
        "existing": {"cluster": {"existing": {"name": "shared"}}},
        "instances": {"cluster": {"new": {"managedInstances": {"managed": {"instanceTypes": ["m7g.*"]}}}}},
    },
    "capacity": {
        "fargate": NO,
        "spot": service(capacity={"fargateSpot": {}}),
        "ec2": service(capacity={"ec2": {"capacityProvider": "instances"}}),
        "managed": service(capacity={"managedInstances": {"capacityProvider": "managed"}}),
    },
    "files": {"none": NO, "s3": service(environmentFiles=["arn:aws:s3:::acme-settings/shop.env"])},
    "volumes": {
        "none": NO,
        "efs": service(
            volumes={
                "uploads": {
                    "fileSystemId": "fs-0123456789abcdef0",
                    "path": "/data",
                    "directory": {"path": "/uploads"},
                    "securityGroupId": "sg-0a",
                },
                "shared": {
                    "fileSystemId": "fs-0123456789abcdef1",
                    "path": "/shared",
                    "accessPointId": "fsap-0123456789abcdef0",
                    "readOnly": True,
                },
            },
            writablePaths=["/tmp"],
        ),
    },
    "logging": {
        "awslogs": NO,
        "fireLens": service(
            logging={
                "fireLens": {
                    "image": f"{ECR}/fluent-bit:1",
                    "options": {"Name": "datadog"},
                    "secretOptions": {"apikey": SECRET},
                }
            },
            sidecars={"otel": {"image": f"{ECR}/otel:1"}},
        ),
        "none": service(logging={"none": {}}),
    },
    "connect": {
        "none": NO,
        "served": service(serviceConnect={"namespaceArn": NAMESPACE, "clients": {"shop": "sg-0b"}}),
    },
    "exec": {"off": NO, "on": service(ecsExec=True)},
    "permissions": {"none": NO, "sqs": service(permissions=[{"actions": ["sqs:SendMessage"], "resources": [QUEUE]}])},
    "roles": {"none": NO, "boundary": {"roles": {"permissionsBoundaryArn": "arn:aws:iam::123456789012:policy/b"}}},
    "audit": {"none": NO, "trail": {"audit": {}}},
}
INSTANCES = (("capacity", "ec2"), ("capacity", "managed"))
OF_FARGATE = (("cluster", "new"), ("cluster", "insights"), ("network", "no NAT"), ("disk", "larger"))
"""What needs Fargate: there are no instances, or they have their own disks and no public IP addresses."""
REFUSED = {
    *(frozenset({("requests", version), ("encryption", "none")}) for version in ("http2", "grpc")),
    *(frozenset({("strategy", "codeDeploy"), capacity}) for capacity in (("capacity", "spot"), *INSTANCES)),
    *(frozenset({capacity, other}) for capacity in INSTANCES for other in OF_FARGATE),
    *(frozenset({("cluster", "instances"), ("capacity", other)}) for other in ("spot", "ec2")),
    frozenset({("strategy", "codeDeploy"), ("ports", "two")}),
    frozenset({("strategy", "codeDeploy"), ("connect", "served")}),
}
"""Pairs that the configuration refuses."""
NEEDS = {
    **{("requests", version): {"encryption": "certificate"} for version in ("http2", "grpc")},
    **{capacity: {"cluster": "existing"} for capacity in INSTANCES},
}
"""Values that cannot be alone, with what they need."""
FIRST = {name: next(iter(values)) for name, values in OPTIONS.items()}
"""The defaults."""

Choice = Mapping[str, str]
Pair = frozenset[tuple[str, str]]


SEED = 11
"""Chosen because it leads to few files; any other is as good a test."""
ATTEMPTS = 10


@cache
def packed() -> tuple[dict[str, str], ...]:
    """The value of each option in each file: file by file, the one of some attempts with the most new pairs."""
    random, missing, files = Random(SEED), set(pairs()), list[dict[str, str]]()
    while missing:
        begun = random.choices(sorted(missing, key=sorted), k=ATTEMPTS)
        attempts = (attempt(random, pair, missing) for pair in begun)
        files.append(max((file for file in attempts if file), key=lambda file: len(met(file) & missing)))
        missing -= met(files[-1])
    return tuple(files)


def attempt(random: Random, pair: Pair, missing: set[Pair]) -> dict[str, str]:
    """A file that begins with a pair; its other options, in any order, get the value with the most missing pairs. Empty
    if an option has no possible value left."""
    file = dict(pair)
    for name in random.sample([*OPTIONS], len(OPTIONS)):
        if name not in file:
            possible = [value for value in OPTIONS[name] if not new(file, name, value) & REFUSED]
            if not possible:
                return {}
            file[name] = max(possible, key=lambda value: len(new(file, name, value) & missing))  # noqa: B023
    return {name: file[name] for name in OPTIONS}


def new(file: Choice, name: str, value: str) -> set[Pair]:
    """The pairs that a value adds to a file."""
    return {frozenset({(name, value), other}) for other in file.items()}


def met(file: Choice) -> set[Pair]:
    return set(map(frozenset, combinations(file.items(), 2)))


def pairs() -> Iterator[Pair]:
    """All pairs that can meet."""
    for (one, values), (other, others) in combinations(OPTIONS.items(), 2):
        for value in values:
            for another in others:
                pair = frozenset({(one, value), (other, another)})
                if pair not in REFUSED:
                    yield pair


def configuration(choice: Choice) -> dict[str, Any]:
    """Overrides for dev's stack file, with these values of these options."""
    keys: dict[str, dict[str, Any]] = {"service": {"tasks": {"min": 1, "max": 2}}, "stage": {}}
    for name, value in choice.items():
        for key, given in OPTIONS[name][value].items():
            keys[key] = {**keys.get(key, {}), **given}
    stage = keys.pop("stage")
    return {f"slipway:{key}": value for key, value in keys.items()} | {"slipway:stages": [stage]}
