"""The figures of docs/defaults.md are those of the code."""

import re
from typing import Any

from slipway import BlueGreen, Canary, CodeDeployBlueGreen, Linear, Rolling
from slipway.service.args import ServiceSettings
from slipway.service.timers import rollout_timers
from unit.costs import PRICES, monthly
from unit.harness import ROOT, Resource, program

PAGE = (ROOT / "docs" / "defaults.md").read_text()
STRATEGIES: dict[str, Any] = {
    "rolling": Rolling(),
    "blueGreen": BlueGreen(),
    "canary": Canary(),
    "linear": Linear(),
    "codeDeployBlueGreen": CodeDeployBlueGreen(),
}


def test_the_timers_of_each_strategy() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", PAGE, re.MULTILINE)
    timers = {name: rollout_timers(ServiceSettings(), strategy) for name, strategy in STRATEGIES.items()}
    assert {name: tuple(map(int, figures)) for name, *figures in rows} == {
        name: (each.healthy, each.shift, each.drain, each.total) for name, each in timers.items()
    }


def test_slipways_row_among_the_others() -> None:
    check = ServiceSettings().health_check
    row = (
        f"| Slipway | {check.healthy_count} × {check.interval_seconds} | {ServiceSettings().drain_seconds} | "
        f"{rollout_timers(ServiceSettings(), Rolling()).total} |"
    )
    assert row in PAGE


def row(resources: list[Resource]) -> str:
    costs = monthly(resources)
    tasks = costs.pop("vCPU") + costs.pop("GB")
    assert costs.pop("interface endpoints") == 0
    figures = [*list(costs.values())[:3], tasks, *list(costs.values())[3:]]
    return " | ".join(f"{figure:.0f}" for figure in (*figures, sum(figures)))


def test_what_an_idle_environment_costs() -> None:
    environments = {
        name: figures for name, figures in re.findall(r"^\| the sample's (\w+): .+? \| ([\d |]+) \|$", PAGE, re.M)
    }
    assert environments == {stack: row(program(stack)) for stack in ("dev", "prod")}
    assert [price.source for price in PRICES.values() if price.source not in PAGE] == [
        PRICES["interface endpoints"].source  # on the page about networks without NAT
    ]
