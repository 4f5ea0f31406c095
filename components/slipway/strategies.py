"""How the tasks of a service are replaced: plain values that a Service takes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import pulumi

from slipway._constraints import Must, arn, between, check, items, one_of

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
FunctionArn = Annotated[
    pulumi.Input[str], arn("a Lambda function", "lambda", r"function:[\w-]{1,64}(:[\w$-]{1,128})?", "function:check")
]
BakeMinutes = Annotated[int, between(0, 1440)]
DeadlineMinutes = Annotated[int, between(3, 180)]


def tenths(low: float, high: float) -> Must:
    """A share in percent as ECS takes it."""
    return Must(
        f"be between {low} and {high}, with at most one decimal",
        lambda value: low <= value <= high and round(value * 10) == round(value * 10, 6),
        {"minimum": low, "maximum": high},
        good=[low, high, low + 0.1, 12.5],
        bad=[low - 0.1, high + 0.1, 12.34, float("nan")],
    )


@dataclass(frozen=True, kw_only=True)
class Hook:
    """Something that must happen in a deployment before it goes on: a Lambda function of yours says that it may, or,
    where no function is named, somebody does (a pause).

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-lifecycle-hooks.html
    """

    stages: Annotated[Sequence[Annotated[str, one_of(HOOK_STAGES)]], items(1, distinct=True)]
    """Stages of the deployment in which it happens."""

    function_arn: FunctionArn | None = None
    """Lambda function that answers `{"hookStatus": "SUCCEEDED"}`, or FAILED or IN_PROGRESS. Without one, the deployment
    pauses until somebody runs `aws ecs continue-service-deployment`."""

    # What the API takes for a function; a pause may be longer, but not the action that waits for it.
    timeout_minutes: Annotated[int, between(1, 1440)] = 60
    """Minutes to wait for the answer."""

    on_timeout: Annotated[str, one_of(("ROLLBACK", "CONTINUE"))] = "ROLLBACK"
    """What happens without an answer: ROLLBACK or CONTINUE."""

    def __post_init__(self) -> None:
        check(self)

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        shifts = [stage for stage in self.stages if stage in TRAFFIC_SHIFTS]
        yield (
            self.function_arn is None and bool(shifts),
            f"stages of a hook without function_arn, a pause, must not be {list(TRAFFIC_SHIFTS)}, got {shifts}: "
            "ECS cannot pause while it shifts traffic; pause at POST_TEST_TRAFFIC_SHIFT instead",
        )


@dataclass(frozen=True, kw_only=True)
class Rolling:
    """ECS replaces tasks a few at a time, and rolls back by itself when they do not come up.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-type-ecs.html
    """

    minimum_healthy_percent: Annotated[int, between(0, 100)] = 100
    """Share of the desired count that stays in service during a deployment, in percent."""

    maximum_percent: Annotated[int, between(100, 200)] = 200
    """Share of the desired count that may run during a deployment, old and new tasks together, in percent."""

    deadline_minutes: DeadlineMinutes = 10
    """Minutes a deployment may take before it is stopped and rolled back. The circuit breaker of ECS does not stop a
    deployment whose tasks start, and then fail again and again."""

    ecs_action: bool = False
    """Let CodePipeline's own ECS action deploy, for those who may use managed actions only; the release function then
    only finishes the release. The action does not notice a rollback and stays in progress until its timeout, which is
    the deadline and at most 60 minutes; it says no reason; it copies the settings of the revision in service; and what
    comes up after its timeout stays, untested."""

    def __post_init__(self) -> None:
        check(self)

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        yield (
            self.minimum_healthy_percent == self.maximum_percent == 100,
            "maximum_percent must be above 100 with minimum_healthy_percent=100, got 100: "
            "ECS could neither stop an old task nor start a new one",
        )
        yield (
            self.ecs_action and self.deadline_minutes > 60,
            f"deadline_minutes must be at most 60 with ecs_action, got {self.deadline_minutes}: "
            "CodePipeline's ECS action waits no longer",
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

    bake_minutes: BakeMinutes = 10
    """Minutes that the old tasks stay after the shift. An alarm in this time rolls back."""

    deadline_minutes: DeadlineMinutes = 10
    """Minutes a deployment may take, beside its bakes and hooks, before it is stopped and rolled back."""

    hooks: Annotated[Sequence[Hook], items(most=10)] = ()
    """What must happen on the way; hooks run from the first release on."""

    def __post_init__(self) -> None:
        check(self)

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        yield (
            self.total_minutes > LONGEST_MINUTES,
            f"bake_minutes, deadline_minutes and the other timers must be at most {LONGEST_MINUTES} together, "
            f"got {self.total_minutes}: the action that waits for the deployment, and for the one that puts the "
            "last image back if it fails, ends after 24 hours",
        )

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

    percent: Annotated[float, tenths(0.1, 100)] = 10
    """Share of the traffic that the new tasks get first, in percent, to a tenth."""

    canary_bake_minutes: BakeMinutes = 10
    """Minutes that they have only this share."""

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

    step_percent: Annotated[float, tenths(3, 100)] = 10
    """Share of the traffic that shifts with each step, in percent, to a tenth."""

    step_bake_minutes: BakeMinutes = 6
    """Minutes between two steps."""

    @property
    def shift_minutes(self) -> int:
        # There is no bake after the step that reaches 100 percent; a step of 0 percent has a rule of its own.
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
    ECS itself does the same with BlueGreen, Canary and Linear. A release whose tasks do not start fails only
    after the hour that CodeDeploy waits for them.

    Changing to or from it replaces the ECS service, which answers nothing meanwhile: Amazon ECS does not let a service
    change its deployment controller by this provider.
    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-type-bluegreen.html
    """

    deployment_config: Annotated[str, one_of(CODEDEPLOY_CONFIGS)] = "CodeDeployDefault.ECSCanary10Percent5Minutes"
    """CodeDeploy's deployment configuration: how the traffic shifts."""

    on_ready: Annotated[str, one_of(("CONTINUE_DEPLOYMENT", "STOP_DEPLOYMENT"))] = "CONTINUE_DEPLOYMENT"
    """What happens when the new tasks are ready: CONTINUE_DEPLOYMENT shifts the traffic at once; STOP_DEPLOYMENT waits
    `wait_minutes` for somebody who runs `aws deploy continue-deployment`, and else stops and rolls back."""

    wait_minutes: Annotated[int, between(0, 600)] = 0
    """Minutes to wait for somebody, with STOP_DEPLOYMENT."""

    termination_minutes: Annotated[int, between(0, 2880)] = 10
    """Minutes that the old tasks stay after the shift."""

    deadline_minutes: Annotated[int, between(3, 60)] = 10
    """Minutes a deployment may take, beside its timers, before it is stopped and rolled back."""

    def __post_init__(self) -> None:
        check(self)

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        yield (
            self.on_ready == "CONTINUE_DEPLOYMENT" and self.wait_minutes != 0,
            f"wait_minutes must be 0 with on_ready=CONTINUE_DEPLOYMENT, got {self.wait_minutes}: "
            "CodeDeploy waits only to stop",
        )
        yield (
            self.on_ready == "STOP_DEPLOYMENT" and self.wait_minutes < 1,
            f"wait_minutes must be at least 1 with on_ready=STOP_DEPLOYMENT, got {self.wait_minutes}",
        )
        yield (
            self.total_minutes > LONGEST_MINUTES,
            f"deadline_minutes, wait_minutes, termination_minutes and the shift must be at most {LONGEST_MINUTES} "
            f"together, got {self.total_minutes}: the action that waits for a deployment ends after 24 hours",
        )

    @property
    def total_minutes(self) -> int:
        """Minutes until a deployment is late."""
        shift = CODEDEPLOY_CONFIGS.get(self.deployment_config, 0)
        return self.deadline_minutes + self.wait_minutes + shift + self.termination_minutes

    def configuration(self) -> dict[str, Any]:
        """CodeDeploy owns how the tasks are replaced; ECS has nothing to say of it."""
        return {}


Strategy = Rolling | BlueGreen | Canary | Linear | CodeDeployBlueGreen
