"""Deployment strategies of a Service."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import pulumi

from slipway._constraints import Must, arn, between, check, items, one_of

LONGEST_MINUTES = 660
"""Longest duration of a deployment with its bake times and hooks. CodePipeline ends an action after 24 hours, and if
the release fails, another deployment rolls back to the last verified image in the same action.
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
"""Lifecycle stages of a deployment in which a hook can run.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-lifecycle-hooks.html"""
TRAFFIC_SHIFTS = ("TEST_TRAFFIC_SHIFT", "PRODUCTION_TRAFFIC_SHIFT")
FunctionArn = Annotated[
    pulumi.Input[str], arn("a Lambda function", "lambda", r"function:[\w-]{1,64}(:[\w$-]{1,128})?", "function:check")
]
BakeMinutes = Annotated[int, between(0, 1440)]
DeadlineMinutes = Annotated[int, between(3, 180)]


def tenths(low: float, high: float) -> Must:
    """A percentage with at most one decimal place, as ECS requires."""
    return Must(
        f"be between {low} and {high}, with at most one decimal",
        lambda value: low <= value <= high and round(value * 10) == round(value * 10, 6),
        {"minimum": low, "maximum": high},
        good=[low, high, low + 0.1, 12.5],
        bad=[low - 0.1, high + 0.1, 12.34, float("nan")],
    )


@dataclass(frozen=True, kw_only=True)
class Hook:
    """A check during a deployment. The deployment continues when your Lambda function allows it or, if you name no
    function, when somebody continues it (a pause).

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-lifecycle-hooks.html
    """

    stages: Annotated[Sequence[Annotated[str, one_of(HOOK_STAGES)]], items(1, distinct=True)]
    """Lifecycle stages of the deployment in which the hook runs."""

    function_arn: FunctionArn | None = None
    """Lambda function that returns `{"hookStatus": "SUCCEEDED"}`, or FAILED or IN_PROGRESS. Without a function, the
    deployment pauses until somebody runs `aws ecs continue-service-deployment`."""

    # The API's maximum for a function. A pause may be longer, but the action that waits for it may not.
    timeout_minutes: Annotated[int, between(1, 1440)] = 60
    """Minutes to wait for the function or the person to continue."""

    on_timeout: Annotated[str, one_of(("ROLLBACK", "CONTINUE"))] = "ROLLBACK"
    """What happens after the timeout: ROLLBACK or CONTINUE."""

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
    """ECS replaces the tasks a few at a time, and rolls back if the new tasks do not start.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-type-ecs.html
    """

    minimum_healthy_percent: Annotated[int, between(0, 100)] = 100
    """Minimum number of healthy tasks during a deployment, in percent of the desired count."""

    maximum_percent: Annotated[int, between(100, 200)] = 200
    """Maximum number of running tasks during a deployment, old and new together, in percent of the desired count."""

    deadline_minutes: DeadlineMinutes = 10
    """Minutes after which a deployment is stopped and rolled back. The ECS circuit breaker does not stop a deployment
    whose tasks start and then fail repeatedly."""

    ecs_action: bool = False
    """Deploy with CodePipeline's own ECS action, if you may use managed actions only. The release function then only
    completes the release. The action does not detect a rollback: it stays in progress until it times out
    (`deadline_minutes`, at most 60), and gives no reason. It copies the settings of the revision in service. Tasks that
    become healthy after the timeout stay, untested."""

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
        """Minutes after which a deployment is late."""
        return self.deadline_minutes

    def configuration(self) -> dict[str, Any]:
        """The strategy's part of `deploymentConfiguration` in the ECS API."""
        return {
            "strategy": "ROLLING",
            "minimumHealthyPercent": self.minimum_healthy_percent,
            "maximumPercent": self.maximum_percent,
        }


@dataclass(frozen=True, kw_only=True)
class BlueGreen:
    """ECS starts the new tasks beside the old ones and shifts all traffic at once. The old tasks stay for a while, so
    that a rollback takes seconds.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-type-blue-green.html
    """

    bake_minutes: BakeMinutes = 10
    """Minutes to keep the old tasks after the shift. An alarm in this time rolls the deployment back."""

    deadline_minutes: DeadlineMinutes = 10
    """Minutes after which a deployment is stopped and rolled back, not counting bake times and hooks."""

    hooks: Annotated[Sequence[Hook], items(most=10)] = ()
    """Checks during the deployment. They run from the first release on."""

    def __post_init__(self) -> None:
        check(self)

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        yield (
            self.total_minutes > LONGEST_MINUTES,
            f"bake_minutes, deadline_minutes and the other timers must be at most {LONGEST_MINUTES} in total, "
            f"got {self.total_minutes}: CodePipeline ends an action after 24 hours, in which a deployment and a "
            "rollback must fit",
        )

    @property
    def shift_minutes(self) -> int:
        """Minutes from the first to the last shift of traffic."""
        return 0

    @property
    def total_minutes(self) -> int:
        """Minutes after which a deployment is late."""
        hooks = sum(len(hook.stages) * hook.timeout_minutes for hook in self.hooks)
        return self.deadline_minutes + self.shift_minutes + self.bake_minutes + hooks

    def configuration(self) -> dict[str, Any]:
        """The strategy's part of `deploymentConfiguration` in the ECS API, without hooks, which need a role."""
        # Both sets of tasks always run at once: the API requires these values.
        both = {"minimumHealthyPercent": 100, "maximumPercent": 200}
        return {"strategy": "BLUE_GREEN", "bakeTimeInMinutes": self.bake_minutes, **both}


@dataclass(frozen=True, kw_only=True)
class Canary(BlueGreen):
    """Like BlueGreen, but a percentage of the traffic goes to the new tasks first, and the rest if nothing fails.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/canary-deployment.html
    """

    percent: Annotated[float, tenths(0.1, 100)] = 10
    """Percentage of the traffic that the new tasks get first, with at most one decimal place."""

    canary_bake_minutes: BakeMinutes = 10
    """Minutes for which the new tasks get only this percentage."""

    @property
    def shift_minutes(self) -> int:
        return self.canary_bake_minutes

    def configuration(self) -> dict[str, Any]:
        canary = {"canaryPercent": self.percent, "canaryBakeTimeInMinutes": self.canary_bake_minutes}
        return {**super().configuration(), "strategy": "CANARY", "canaryConfiguration": canary}


@dataclass(frozen=True, kw_only=True)
class Linear(BlueGreen):
    """Like BlueGreen, but the traffic shifts in equal steps.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-type-linear.html
    """

    step_percent: Annotated[float, tenths(3, 100)] = 10
    """Percentage of the traffic that shifts with each step, with at most one decimal place."""

    step_bake_minutes: BakeMinutes = 6
    """Minutes between two steps."""

    @property
    def shift_minutes(self) -> int:
        # There is no bake time after the step that reaches 100 percent; a step of 0 percent is refused by its own rule.
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
"""CodeDeploy's predefined deployment configurations for ECS, with the minutes for which each shifts traffic.

https://docs.aws.amazon.com/codedeploy/latest/userguide/deployment-configurations.html"""


@dataclass(frozen=True, kw_only=True)
class CodeDeployBlueGreen:
    """CodeDeploy starts a second set of tasks and shifts the traffic to it. Use it if your processes depend on
    CodeDeploy; otherwise use BlueGreen, Canary or Linear, with which ECS does the same. If the tasks of a release do
    not start, it fails only after an hour, which is how long CodeDeploy waits for them.

    A change to or from this strategy replaces the ECS service, which serves no requests in the meantime: the provider
    cannot change the deployment controller of an existing service.
    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-type-bluegreen.html
    """

    deployment_config: Annotated[str, one_of(CODEDEPLOY_CONFIGS)] = "CodeDeployDefault.ECSCanary10Percent5Minutes"
    """CodeDeploy's deployment configuration, which defines how the traffic shifts."""

    on_ready: Annotated[str, one_of(("CONTINUE_DEPLOYMENT", "STOP_DEPLOYMENT"))] = "CONTINUE_DEPLOYMENT"
    """What happens when the new tasks are ready. CONTINUE_DEPLOYMENT shifts the traffic at once. STOP_DEPLOYMENT waits
    `wait_minutes` for somebody to run `aws deploy continue-deployment`; otherwise it stops the deployment and rolls
    back."""

    wait_minutes: Annotated[int, between(0, 600)] = 0
    """Minutes to wait with STOP_DEPLOYMENT."""

    termination_minutes: Annotated[int, between(0, 2880)] = 10
    """Minutes to keep the old tasks after the shift."""

    deadline_minutes: Annotated[int, between(3, 60)] = 10
    """Minutes after which a deployment is stopped and rolled back, not counting the other timers."""

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
            f"deadline_minutes, wait_minutes, termination_minutes and the shift must be at most {LONGEST_MINUTES} in "
            f"total, got {self.total_minutes}: CodePipeline ends an action after 24 hours",
        )

    @property
    def total_minutes(self) -> int:
        """Minutes after which a deployment is late."""
        shift = CODEDEPLOY_CONFIGS.get(self.deployment_config, 0)
        return self.deadline_minutes + self.wait_minutes + shift + self.termination_minutes

    def configuration(self) -> dict[str, Any]:
        """CodeDeploy controls how the tasks are replaced, so ECS gets no deployment configuration."""
        return {}


Strategy = Rolling | BlueGreen | Canary | Linear | CodeDeployBlueGreen
