"""Sources and strategies of a stack file, for the tests of all pairs and the engine's tests of each one."""

from __future__ import annotations

from typing import Any

SOURCES: dict[str, dict[str, Any]] = {
    "codecommit": {"repository": "storefront"},
    "connection": {
        "arn": "arn:aws:codeconnections:eu-west-1:123456789012:connection/0f-1",
        "repository": "acme/storefront",
        "push": [
            {"branches": {"includes": ["main"]}, "filePaths": {"includes": ["app/**"]}},
            {"tags": {"includes": ["v*"]}},
        ],
    },
    "s3": {"bucket": "acme-sources", "key": "storefront/source.zip"},
    "image": {"repository": "storefront-qa", "tag": "verified-qa"},
}
STRATEGIES: dict[str, dict[str, Any]] = {
    "rolling": {},
    "rolling by the ECS action": {"ecsAction": True},
    "blueGreen": {"hooks": [{"stages": ["POST_TEST_TRAFFIC_SHIFT"]}]},
    "canary": {},
    "linear": {},
    "codeDeployBlueGreen": {},
}
REFUSED = ("image", "rolling by the ECS action")
PAIRS = [(source, strategy) for source in SOURCES for strategy in STRATEGIES if (source, strategy) != REFUSED]


def configuration(source: str, strategy: str) -> dict[str, Any]:
    """Overrides for dev's stack file; a key that is None is removed."""
    config: dict[str, Any] = {
        "slipway:source": {source: SOURCES[source]},
        "slipway:loadBalancer": {"testListener": {"ingressCidrs": ["10.0.0.0/16"]}},
        "slipway:stages": [{"strategy": {strategy.split()[0]: STRATEGIES[strategy]}}],
    }
    return {**config, "slipway:build": None} if source == "image" else config
