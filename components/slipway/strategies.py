"""How the tasks of a service are replaced: plain values that a Service takes."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from slipway._rules import refuse

LONGEST_MINUTES = 660
"""What a deployment may take with its bakes and hooks. CodePipeline ends the action that waits for it after 24 hours,
and when the release fails, another deployment puts the last verified image back in the same action.
https://docs.aws.amazon.com/codepipeline/latest/userguide/limits.html"""
HOOK_STAGES = (
    "RECONCILE_SERVICE",
    "PRE_SCALE_UP",
    "POST_SCALE_UP",
    "TEST_TRAFFIC_SHIFT",
    "POST_TEST_TRAFFIC_SHIFT",
    "PRODUCTION_TRAFFIC_SHIFT",
    "POST_PRODUCTION_TRAFFIC_SHIFT",
)
"""Stages of a deployment in which a hook can run.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-lifecycle-hooks.html"""
TRAFFIC_SHIFTS = ("TEST_TRAFFIC_SHIFT", "PRODUCTION_TRAFFIC_SHIFT")


@dataclass(frozen=True, kw_only=True)
class Hook:
    """Something that must happen in a deployment before it goes on: a Lambda function of yours says that it may, or,
    where no function is named, somebody does (a pause).

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-lifecycle-hooks.html
    """

    stages: Sequence[str]
    """Stages of the deployment in which it happens."""

    function_arn: str | None = None
    """Lambda function that answers `{"hookStatus": "SUCCEEDED"}`, or FAILED or IN_PROGRESS. Without one, the deployment
    pauses until somebody runs `aws ecs continue-service-deployment`."""

    timeout_minutes: int = 60
    """Minutes to wait for the answer."""

    on_timeout: str = "ROLLBACK"
    """What happens without an answer: ROLLBACK or CONTINUE."""

    def __post_init__(self) -> None:
        unknown = [stage for stage in self.stages if stage not in HOOK_STAGES]
        shifts = [stage for stage in self.stages if stage in TRAFFIC_SHIFTS]
        refuse(
            (not self.stages, f"stages must be some of {list(HOOK_STAGES)}, got none"),
            (bool(unknown), f"stages must be some of {list(HOOK_STAGES)}, got {unknown}"),
            (
                self.function_arn is None and bool(shifts),
                f"stages of a hook without function_arn, a pause, must not be {list(TRAFFIC_SHIFTS)}, got {shifts}: "
                "ECS cannot pause while it shifts traffic; pause at POST_TEST_TRAFFIC_SHIFT instead",
            ),
            (
                self.function_arn is not None
                and not re.fullmatch(r"arn:[\w-]+:lambda:[\w-]+:\d{12}:function:\S+", self.function_arn),
                f"function_arn must be the ARN of a Lambda function, got {self.function_arn!r}",
            ),
            # What the API takes for a function; a pause may be longer, but not the action that waits for it.
            (
                not 1 <= self.timeout_minutes <= 1440,
                f"timeout_minutes must be between 1 and 1440, got {self.timeout_minutes}",
            ),
            (
                self.on_timeout not in ("ROLLBACK", "CONTINUE"),
                f"on_timeout must be one of ['ROLLBACK', 'CONTINUE'], got {self.on_timeout!r}",
            ),
        )


@dataclass(frozen=True, kw_only=True)
class Rolling:
    """ECS replaces tasks a few at a time, and rolls back by itself when they do not come up.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-type-ecs.html
    """

    minimum_healthy_percent: int = 100
    """Share of the desired count that stays in service during a deployment, in percent."""

    maximum_percent: int = 200
    """Share of the desired count that may run during a deployment, old and new tasks together, in percent."""

    deadline_minutes: int = 10
    """Minutes a deployment may take before it is stopped and rolled back. The circuit breaker of ECS does not stop a
    deployment whose tasks start, and then fail again and again."""

    ecs_action: bool = False
    """Let CodePipeline's own ECS action deploy, for those who may use managed actions only; the release function then
    only finishes the release. The action does not notice a rollback and stays in progress until its timeout, which is
    the deadline and at most 60 minutes; it says no reason; it copies the settings of the revision in service; and what
    comes up after its timeout stays, untested."""

    def __post_init__(self) -> None:
        least, most = self.minimum_healthy_percent, self.maximum_percent
        refuse(
            (not 0 <= least <= 100, f"minimum_healthy_percent must be between 0 and 100, got {least}"),
            (not 100 <= most <= 200, f"maximum_percent must be between 100 and 200, got {most}"),
            (
                least == most == 100,
                "maximum_percent must be above 100 with minimum_healthy_percent=100, got 100: "
                "ECS could neither stop an old task nor start a new one",
            ),
            (
                not 3 <= self.deadline_minutes <= 180,
                f"deadline_minutes must be between 3 and 180, got {self.deadline_minutes}",
            ),
            (
                self.ecs_action and self.deadline_minutes > 60,
                f"deadline_minutes must be at most 60 with ecs_action, got {self.deadline_minutes}: "
                "CodePipeline's ECS action waits no longer",
            ),
        )

    @property
    def total_minutes(self) -> int:
        """Minutes until a deployment is late."""
        return self.deadline_minutes

    def configuration(self) -> dict[str, Any]:
        """The strategy's part of `deploymentConfiguration`, as ECS's API takes it."""
        return {
            "strategy": "ROLLING",
            "minimumHealthyPercent": self.minimum_healthy_percent,
            "maximumPercent": self.maximum_percent,
        }


@dataclass(frozen=True, kw_only=True)
class BlueGreen:
    """ECS starts the new tasks beside the old ones and shifts all traffic at once; the old tasks stay for a while, so
    that going back takes a second.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-type-blue-green.html
    """

    bake_minutes: int = 10
    """Minutes that the old tasks stay after the shift. An alarm in this time rolls back."""

    deadline_minutes: int = 10
    """Minutes a deployment may take, beside its bakes and hooks, before it is stopped and rolled back."""

    hooks: Sequence[Hook] = ()
    """What must happen on the way; hooks run from the first release on."""

    def __post_init__(self) -> None:
        refuse(*self._rules())

    def _rules(self) -> list[tuple[bool, str]]:
        return [
            minutes("bake_minutes", self.bake_minutes),
            (
                not 3 <= self.deadline_minutes <= 180,
                f"deadline_minutes must be between 3 and 180, got {self.deadline_minutes}",
            ),
            (len(self.hooks) > 10, f"hooks must be at most 10, got {len(self.hooks)}"),
            (
                self.total_minutes > LONGEST_MINUTES,
                f"bake_minutes, deadline_minutes and the other timers must be at most {LONGEST_MINUTES} together, "
                f"got {self.total_minutes}: the action that waits for the deployment, and for the one that puts the "
                "last image back if it fails, ends after 24 hours",
            ),
        ]

    @property
    def shift_minutes(self) -> int:
        """Minutes from the first to the last shift of traffic."""
        return 0

    @property
    def total_minutes(self) -> int:
        """Minutes until a deployment is late."""
        hooks = sum(len(hook.stages) * hook.timeout_minutes for hook in self.hooks)
        return self.deadline_minutes + self.shift_minutes + self.bake_minutes + hooks

    def configuration(self) -> dict[str, Any]:
        """The strategy's part of `deploymentConfiguration`, as ECS's API takes it, but for hooks: they need a role."""
        # Both sets run at once in any case: these are the values that the API asks for.
        both = {"minimumHealthyPercent": 100, "maximumPercent": 200}
        return {"strategy": "BLUE_GREEN", "bakeTimeInMinutes": self.bake_minutes, **both}


@dataclass(frozen=True, kw_only=True)
class Canary(BlueGreen):
    """As BlueGreen, but a share of the traffic goes to the new tasks first, and the rest when that went well.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/canary-deployment.html
    """

    percent: float = 10
    """Share of the traffic that the new tasks get first, in percent, to a tenth."""

    canary_bake_minutes: int = 10
    """Minutes that they have only this share."""

    def _rules(self) -> list[tuple[bool, str]]:
        return [
            (
                not 0.1 <= self.percent <= 100 or not tenth(self.percent),
                f"percent must be between 0.1 and 100, with at most one decimal, got {self.percent}",
            ),
            minutes("canary_bake_minutes", self.canary_bake_minutes),
            *super()._rules(),
        ]

    @property
    def shift_minutes(self) -> int:
        return self.canary_bake_minutes

    def configuration(self) -> dict[str, Any]:
        canary = {"canaryPercent": self.percent, "canaryBakeTimeInMinutes": self.canary_bake_minutes}
        return {**super().configuration(), "strategy": "CANARY", "canaryConfiguration": canary}


@dataclass(frozen=True, kw_only=True)
class Linear(BlueGreen):
    """As BlueGreen, but the traffic shifts in equal steps.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-type-linear.html
    """

    step_percent: float = 10
    """Share of the traffic that shifts with each step, in percent, to a tenth."""

    step_bake_minutes: int = 6
    """Minutes between two steps."""

    def _rules(self) -> list[tuple[bool, str]]:
        return [
            (
                not 3 <= self.step_percent <= 100 or not tenth(self.step_percent),
                f"step_percent must be between 3 and 100, with at most one decimal, got {self.step_percent}",
            ),
            minutes("step_bake_minutes", self.step_bake_minutes),
            *super()._rules(),
        ]

    @property
    def shift_minutes(self) -> int:
        # There is no bake after the step that reaches 100 percent; a step that is none is told by a rule of its own.
        steps = math.ceil(100 / self.step_percent) if self.step_percent > 0 else 1
        return (steps - 1) * self.step_bake_minutes

    def configuration(self) -> dict[str, Any]:
        linear = {"stepPercent": self.step_percent, "stepBakeTimeInMinutes": self.step_bake_minutes}
        return {**super().configuration(), "strategy": "LINEAR", "linearConfiguration": linear}


CODEDEPLOY_CONFIGS = {
    "CodeDeployDefault.ECSAllAtOnce": 0,
    "CodeDeployDefault.ECSCanary10Percent5Minutes": 5,
    "CodeDeployDefault.ECSCanary10Percent15Minutes": 15,
    "CodeDeployDefault.ECSLinear10PercentEvery1Minutes": 9,
    "CodeDeployDefault.ECSLinear10PercentEvery3Minutes": 27,
}
"""CodeDeploy's own deployment configurations for ECS, with the minutes that each shifts traffic.

https://docs.aws.amazon.com/codedeploy/latest/userguide/deployment-configurations.html"""


@dataclass(frozen=True, kw_only=True)
class CodeDeployBlueGreen:
    """CodeDeploy starts a second set of tasks and shifts the traffic to it, for those whose processes know CodeDeploy;
    ECS itself does the same with BlueGreen, Canary and Linear. Tasks that do not start make a release red only after
    the hour that CodeDeploy waits for them.

    Changing to or from it replaces the ECS service, which answers nothing meanwhile: Amazon ECS does not let a service
    change its deployment controller by this provider.
    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-type-bluegreen.html
    """

    deployment_config: str = "CodeDeployDefault.ECSCanary10Percent5Minutes"
    """CodeDeploy's deployment configuration: how the traffic shifts."""

    on_ready: str = "CONTINUE_DEPLOYMENT"
    """What happens when the new tasks are ready: CONTINUE_DEPLOYMENT shifts the traffic at once; STOP_DEPLOYMENT waits
    `wait_minutes` for somebody who runs `aws deploy continue-deployment`, and else stops and rolls back."""

    wait_minutes: int = 0
    """Minutes to wait for somebody, with STOP_DEPLOYMENT."""

    termination_minutes: int = 10
    """Minutes that the old tasks stay after the shift."""

    deadline_minutes: int = 10
    """Minutes a deployment may take, beside its timers, before it is stopped and rolled back."""

    def __post_init__(self) -> None:
        waits, actions = self.on_ready == "STOP_DEPLOYMENT", ("CONTINUE_DEPLOYMENT", "STOP_DEPLOYMENT")
        refuse(
            (
                self.deployment_config not in CODEDEPLOY_CONFIGS,
                f"deployment_config must be one of {list(CODEDEPLOY_CONFIGS)}, got {self.deployment_config!r}",
            ),
            (self.on_ready not in actions, f"on_ready must be one of {list(actions)}, got {self.on_ready!r}"),
            (
                self.on_ready == "CONTINUE_DEPLOYMENT" and self.wait_minutes != 0,
                f"wait_minutes must be 0 with on_ready=CONTINUE_DEPLOYMENT, got {self.wait_minutes}: "
                "CodeDeploy waits only to stop",
            ),
            (
                waits and not 1 <= self.wait_minutes <= 600,
                f"wait_minutes must be between 1 and 600 with on_ready=STOP_DEPLOYMENT, got {self.wait_minutes}",
            ),
            (
                not 0 <= self.termination_minutes <= 2880,
                f"termination_minutes must be between 0 and 2880, got {self.termination_minutes}",
            ),
            (
                not 3 <= self.deadline_minutes <= 60,
                f"deadline_minutes must be between 3 and 60, got {self.deadline_minutes}",
            ),
            (
                self.total_minutes > LONGEST_MINUTES,
                f"deadline_minutes, wait_minutes, termination_minutes and the shift must be at most {LONGEST_MINUTES} "
                f"together, got {self.total_minutes}: the action that waits for a deployment ends after 24 hours",
            ),
        )

    @property
    def total_minutes(self) -> int:
        """Minutes until a deployment is late."""
        shift = CODEDEPLOY_CONFIGS.get(self.deployment_config, 0)
        return self.deadline_minutes + self.wait_minutes + shift + self.termination_minutes

    def configuration(self) -> dict[str, Any]:
        """CodeDeploy owns how the tasks are replaced; ECS has nothing to say of it."""
        return {}


def minutes(name: str, value: int) -> tuple[bool, str]:
    """The rule of ECS's bake times."""
    return not 0 <= value <= 1440, f"{name} must be between 0 and 1440, got {value}"


def tenth(percent: float) -> bool:
    """Whether a share has at most one decimal, as ECS takes it."""
    return round(percent * 10) == round(percent * 10, 6)


Strategy = Rolling | BlueGreen | Canary | Linear | CodeDeployBlueGreen
