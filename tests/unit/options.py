"""Options of a stack file, packed into a few files so that each pair of values that can meet does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from itertools import combinations
from typing import Any

from allpairspy import AllPairs

CERTIFICATE = "arn:aws:acm:eu-west-1:123456789012:certificate/01234567-89ab-cdef-0123-456789abcdef"
SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:datadog-a1b2c3"
WEB_ACL = "arn:aws:wafv2:eu-west-1:123456789012:regional/webacl/shop/1234abcd"
QUEUE = "arn:aws:sqs:eu-west-1:123456789012:orders"
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
            ephemeralStorageGib=50,
            writablePaths=["/tmp"],
        ),
    },
    "capacity": {"fargate": NO, "spot": service(capacity={"fargateSpot": {}})},
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
            logging={"fireLens": {"options": {"Name": "datadog"}, "secretOptions": {"apikey": SECRET}}},
            sidecars={"otel": {"image": "public.ecr.aws/aws-observability/aws-otel-collector:v0.43.3"}},
        ),
        "none": service(logging={"none": {}}),
    },
    "exec": {"off": NO, "on": service(ecsExec=True)},
    "permissions": {"none": NO, "sqs": service(permissions=[{"actions": ["sqs:SendMessage"], "resources": [QUEUE]}])},
    "roles": {"none": NO, "boundary": {"roles": {"permissionsBoundaryArn": "arn:aws:iam::123456789012:policy/b"}}},
    "audit": {"none": NO, "trail": {"audit": {}}},
}
REFUSED = {
    frozenset({("requests", "grpc"), ("encryption", "none")}),
    frozenset({("strategy", "codeDeploy"), ("capacity", "spot")}),
    frozenset({("strategy", "codeDeploy"), ("ports", "two")}),
}
"""Pairs that the configuration refuses."""
NEEDS = {("requests", "grpc"): {"encryption": "certificate"}}
"""Values that cannot be alone, with what they need."""
FIRST = {name: next(iter(values)) for name, values in OPTIONS.items()}
"""The defaults."""

Choice = Mapping[str, str]


@cache
def packed() -> tuple[dict[str, str], ...]:
    """The value of each option in each file."""
    names = list(OPTIONS)

    def possible(row: list[str]) -> bool:
        given = list(zip(names, row, strict=False))
        return all(frozenset(pair) not in REFUSED for pair in combinations(given, 2))

    rows = AllPairs([list(values) for values in OPTIONS.values()], filter_func=possible)
    files = [dict(zip(names, row, strict=True)) for row in rows]
    # With refused pairs, it leaves a few others out.
    for pair in pairs():
        if not any(pair <= file.items() for file in files):
            files.append({**FIRST, **dict(pair)})
    return tuple(files)


def pairs() -> Iterator[frozenset[tuple[str, str]]]:
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
