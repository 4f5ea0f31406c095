"""What the page on one-off tasks takes for live."""

import re
from typing import Any

import jmespath  # type: ignore[import-untyped]
import pytest
from unit.harness import ROOT

PAGE = (ROOT / "docs" / "how-to" / "one-off-task.md").read_text()
[QUERY] = re.findall(r'describe-services .*?--query "(.*?)"\)', PAGE, re.DOTALL)
NETWORK = {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}


def entry(revision: int, status: str, rollout: str | None = None) -> dict[str, Any]:
    shown = {"taskDefinition": f"api:{revision}", "status": status, "networkConfiguration": NETWORK}
    return shown | ({"rolloutState": rollout} if rollout else {})


@pytest.mark.parametrize(
    ("case", "desired", "deployments", "sets", "live"),
    [
        ("released", 2, [entry(1, "PRIMARY", "COMPLETED")], None, "api:1"),
        ("nothing is released", 0, [entry(1, "PRIMARY", "COMPLETED")], None, None),
        ("new tasks start", 2, [entry(2, "PRIMARY", "IN_PROGRESS"), entry(1, "ACTIVE", "COMPLETED")], None, None),
        ("old tasks are gone", 2, [entry(2, "PRIMARY", "IN_PROGRESS")], None, None),
        ("rolling back", 2, [entry(1, "PRIMARY", "IN_PROGRESS"), entry(2, "ACTIVE", "FAILED")], None, None),
        ("rolled back", 2, [entry(1, "PRIMARY", "COMPLETED"), entry(2, "ACTIVE", "FAILED")], None, "api:1"),
        ("failed", 2, [entry(2, "PRIMARY", "FAILED")], None, None),
        ("failed, old tasks run", 2, [entry(2, "PRIMARY", "FAILED"), entry(1, "ACTIVE", "COMPLETED")], None, None),
        # AWS documents the rollout state for rolling updates only.
        ("released, no state", 2, [entry(1, "PRIMARY")], None, "api:1"),
        ("deploying, no state", 2, [entry(2, "PRIMARY"), entry(1, "ACTIVE")], None, None),
        ("CodeDeploy", 2, [], [entry(1, "PRIMARY")], "api:1"),
        ("CodeDeploy starts tasks", 2, [], [entry(2, "ACTIVE"), entry(1, "PRIMARY")], "api:1"),
        ("CodeDeploy, nothing is released", 0, [], [entry(1, "PRIMARY")], None),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value else "",
)
def test_live_is_the_revision_of_the_primary_deployment_that_completed(
    case: str, desired: int, deployments: list[Any], sets: list[Any] | None, live: str | None
) -> None:
    service = {"desiredCount": desired, "deployments": deployments} | ({"taskSets": sets} if sets else {})
    found = jmespath.search(QUERY.replace("\\`", "`"), {"services": [service]})
    assert found == (live and {"taskDefinition": live, "networkConfiguration": NETWORK}), case
