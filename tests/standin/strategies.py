"""How Amazon ECS deploys with the strategies BLUE_GREEN, LINEAR and CANARY: in stages, by shifting listener rules.

Pages as in ecs.py; the order of the stages is that of DG blue-green-deployment-how-it-works. Not here: Network Load
Balancers, Service Connect, the minutes that a shift itself takes. UNCONFIRMED: that a shift follows the hooks of its
stage, that hooks of one stage run one after the other, and that the rules of several load balancers shift at once.
"""

import math
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from standin.api import AwsError, Params
from standin.elb import Elb

if TYPE_CHECKING:
    from standin.ecs import Deployment, Service

SHIFTS = {"TEST_TRAFFIC_SHIFT", "PRODUCTION_TRAFFIC_SHIFT"}
# API API_DeploymentConfiguration, API_LinearConfiguration, API_CanaryConfiguration.
MINUTES = (0, 1440)
RANGES: dict[str, tuple[float, float]] = {
    "bakeTimeInMinutes": MINUTES,
    "canaryBakeTimeInMinutes": MINUTES,
    "canaryPercent": (0.1, 100),
    "stepBakeTimeInMinutes": MINUTES,
    "stepPercent": (3, 100),
}
LINEAR = {"stepPercent": 10.0, "stepBakeTimeInMinutes": 6}
CANARY = {"canaryPercent": 5.0, "canaryBakeTimeInMinutes": 10}


def check(configuration: Params, balancers: list[Params]) -> None:
    """Rejects what ECS rejects. Messages are UNCONFIRMED where they are not quoted."""

    def refuse(when: bool, why: str) -> None:
        if when:
            raise AwsError("InvalidParameterException", why)

    strategy = configuration["strategy"]
    timers = configuration | configuration.get("linearConfiguration", {}) | configuration.get("canaryConfiguration", {})
    for name in RANGES.keys() & timers.keys():
        least, most = RANGES[name]
        tenth = math.isclose(10 * timers[name], round(10 * timers[name]))
        refuse(not (tenth and least <= timers[name] <= most), f"{name} must be between {least} and {most}.")
    refuse(strategy == "BLUE_GREEN" and "bakeTimeInMinutes" not in timers, "bakeTimeInMinutes is required.")
    for kind in ("LINEAR", "CANARY"):
        key = f"{kind.lower()}Configuration"
        refuse(key in configuration and strategy != kind, f"{key} is only valid with the strategy {kind}.")
    for hook in configuration.get("lifecycleHooks", []):
        pause, stages = hook.get("targetType") == "PAUSE", set(hook["lifecycleStages"])
        if "PRE_PRODUCTION_TRAFFIC_SHIFT" in stages:
            raise AwsError("UnsupportedFeatureException", "not in the stand-in: PRE_PRODUCTION_TRAFFIC_SHIFT")
        # API API_DeploymentLifecycleHook; the limits: DG pause-lifecycle-hooks, lambda-lifecycle-hooks.
        refuse(pause and bool(stages & SHIFTS), f"A PAUSE hook cannot be configured at {sorted(stages & SHIFTS)}.")
        most = 20160 if pause else 1440
        minutes = hook.get("timeoutConfiguration", {}).get("timeoutInMinutes", 1440)
        refuse(not 1 <= minutes <= most, f"timeoutInMinutes must be between 1 and {most}.")
    if strategy == "ROLLING":
        return
    if strategy != "BLUE_GREEN" and not balancers:
        # DG blue-green-deployment-implementation; the code is UNCONFIRMED.
        raise AwsError("UnsupportedFeatureException", f"{strategy} needs something that shifts traffic.")
    for balancer in balancers:
        advanced = balancer.get("advancedConfiguration", {})
        lacks = not {"alternateTargetGroupArn", "productionListenerRule", "roleArn"} <= advanced.keys()
        # Both as DG troubleshooting-blue-green quotes them.
        field = "advancedConfiguration field is required for all loadBalancers"
        refuse(lacks, f"{field} when using a non-ROLLING deployment strategy")
        for key in {"productionListenerRule", "testListenerRule"} & advanced.keys():
            message = f"{key} has an invalid ARN format. Must be RuleArn for ALB or ListenerArn for NLB."
            refuse(":listener-rule/" not in advanced[key], f"{message} Got: {advanced[key]}")


def check_migration(before: Params, after: Params, completed: list[Params] | None) -> None:
    """Rejects a change between ROLLING and a strategy that shifts traffic where ECS requires other steps first.

    `before` and `after` are configurations; `completed` has the load balancers of the last completed deployment, or is
    None while a deployment is in progress. In both directions, DG update-rolling-to-bluegreen and
    update-bluegreen-to-rolling require all deployments to have ended. Before a strategy that shifts traffic, "if your
    service uses Elastic Load Balancing, update your service with the new advancedConfiguration and start a rolling
    deployment"; back to ROLLING, remaining hooks make it fail (aws/containers-roadmap 2664). UNCONFIRMED: the code and
    the messages; that ECS refuses the call instead of failing the deployment; that it compares nothing of the advanced
    configuration.
    """
    if (before["strategy"] == "ROLLING") == (after["strategy"] == "ROLLING"):
        return
    change = f"The deployment strategy cannot be changed from {before['strategy']} to {after['strategy']}"
    why = None
    if completed is None:
        why = "while a service deployment is in progress."
    elif after["strategy"] == "ROLLING" and after.get("lifecycleHooks"):
        why = "while lifecycleHooks are configured."
    elif not all("advancedConfiguration" in balancer for balancer in completed):
        why = "before a rolling deployment with the advancedConfiguration of all loadBalancers has completed."
    if why:
        raise AwsError("InvalidParameterException", f"{change} {why}")


class Failed(Exception):
    """Why a service deployment is rolled back: the text that follows "because"."""


class Stages:
    """The stages of one service deployment, whose tasks are the green ones."""

    def __init__(
        self,
        service: "Service",
        green: "Deployment",
        blue: "Deployment | None",
        elb: Elb,
        hook: Callable[[str, str], str],
    ) -> None:
        self.blue = blue
        """The deployment in service when this one began."""
        self.scaling = self.over = False
        """Whether green tasks may start, and whether blue ones may stop."""
        self.until = math.inf
        """When it continues, if nothing happens before."""
        self._service, self._green, self._elb, self._hook = service, green, elb, hook
        self._configuration: Params = green.shown["deploymentConfiguration"]
        self._balancers: list[Params] = green.revision.get("loadBalancers", [])
        self._steps, self._shifted = self._go(), False

    def advance(self) -> None:
        """Advances as far as possible at the current time. Raises Failed."""
        self.until = next(self._steps, math.inf)

    def give_back(self, to: "Deployment") -> None:
        """Returns all traffic to a deployment that is rolled back to, unless it never lost any."""
        for rule in ("testListenerRule", "productionListenerRule") if self._shifted or to is not self.blue else ():
            self._shift(rule, 100, to.groups)

    def _go(self) -> Iterator[float]:
        """Runs all stages in order; whenever it has to wait, yields the time until which it does."""
        service, green, blue = self._service, self._green, self.blue
        self._check_groups()
        # API API_DeploymentLifecycleHook: only "when you start a new service deployment with more than 1 service
        # revision in an ACTIVE state". What happens in it is UNCONFIRMED: here the other ones end.
        if blue and any(task.deployment not in (blue, green) for task in service.tasks):
            yield from self._stage("RECONCILE_SERVICE")
            self._shift("productionListenerRule", 100, blue.groups)
        yield from self._stage("PRE_SCALE_UP")
        self._enter("SCALE_UP")
        self.scaling = True
        while service.healthy(green) < service.shown["desiredCount"]:
            yield math.inf
        yield from self._stage("POST_SCALE_UP")
        yield from self._stage("TEST_TRAFFIC_SHIFT")
        self._shift("testListenerRule", 100, green.groups)
        yield from self._stage("POST_TEST_TRAFFIC_SHIFT")
        for percent, minutes in self._shifts():
            yield from self._stage("PRODUCTION_TRAFFIC_SHIFT")
            self._shift("productionListenerRule", percent, green.groups)
            yield from self._bake(minutes)
        yield from self._stage("POST_PRODUCTION_TRAFFIC_SHIFT")
        self._enter("BAKE_TIME")
        yield from self._bake(self._configuration.get("bakeTimeInMinutes", 0))
        self._enter("CLEAN_UP")
        self.over = True

    def _check_groups(self) -> None:
        """DG troubleshooting-blue-green and migrate-codedeploy-to-ecs-bluegreen, which has the message."""
        wrong = "of invalid networking configuration."
        for balancer in self._balancers:
            advanced = balancer["advancedConfiguration"]
            rules = [advanced["productionListenerRule"], advanced.get("testListenerRule", "")]
            if not {*_pair(balancer)} <= {group for rule in rules for group in self._elb.weights(rule)}:
                both = "Both targetGroup and alternateTargetGroup must be associated with the"
                raise Failed(f"{wrong} {both} productionListenerRule or testListenerRule")
        if self.blue and (same := {*self.blue.groups} & {*self._green.groups}):
            # UNCONFIRMED, as is the message; that ECS does not alternate then: hashicorp/terraform-provider-aws 45678.
            raise Failed(f"{wrong} The service revision in service is in the target group {same.pop()} already")

    def _shifts(self) -> list[tuple[float, float]]:
        """Percentages of the production traffic, and minutes before the next (API as for RANGES)."""
        match self.blue and self._configuration["strategy"]:  # UNCONFIRMED: a first deployment takes all traffic
            case "CANARY":
                canary = CANARY | self._configuration.get("canaryConfiguration", {})
                return [(canary["canaryPercent"], canary["canaryBakeTimeInMinutes"]), (100, 0)]
            case "LINEAR":
                linear = LINEAR | self._configuration.get("linearConfiguration", {})
                tenths = round(10 * linear["stepPercent"])
                return [(n / 10, linear["stepBakeTimeInMinutes"]) for n in range(tenths, 1000, tenths)] + [(100, 0)]
        return [(100, 0)]

    def _shift(self, rule: str, percent: float, groups: list[str]) -> None:
        # Weights are integers: ELB application/load-balancer-listeners. UNCONFIRMED: 1000 in all for tenths.
        total = 100 if float(percent).is_integer() else 1000
        for balancer in self._balancers:
            advanced, own = balancer["advancedConfiguration"], {*_pair(balancer)} & {*groups}
            if not own:  # a port that the deployment does not have
                continue
            [group] = own
            before = self._elb.weights(arn := advanced.get(rule, ""))
            share = round(percent * total / 100)
            weights = {each: share if each == group else total - share for each in _pair(balancer)}
            if before and before != weights:
                self._shifted = True
                self._elb.shift(arn, weights, advanced["roleArn"])

    def _bake(self, minutes: float) -> Iterator[float]:
        until = self._service.time + 60 * minutes
        while self._service.time < until and self._service.shown["desiredCount"]:  # UNCONFIRMED: without tasks, at once
            yield until

    def _enter(self, stage: str) -> None:
        self._green.shown |= {"lifecycleStage": stage, "lifecycleHookDetails": []}

    def _stage(self, stage: str) -> Iterator[float]:
        """With its hooks: "Both hooks must complete before the deployment proceeds", DG deployment-lifecycle-hooks."""
        self._enter(stage)
        for hook in self._configuration.get("lifecycleHooks", []):
            if stage in hook["lifecycleStages"]:
                detail = {"hookId": f"ecs-hook-{uuid.uuid4().hex}", "targetType": hook.get("targetType", "AWS_LAMBDA")}
                self._green.shown["lifecycleHookDetails"].append(detail)
                yield from (self._pause if detail["targetType"] == "PAUSE" else self._call)(stage, hook, detail)

    def _pause(self, stage: str, hook: Params, detail: Params) -> Iterator[float]:
        """DG pause-lifecycle-hooks, defaults: API API_DeploymentLifecycleHookTimeoutConfiguration."""
        timeout = {"timeoutInMinutes": 1440, "action": "ROLLBACK"} | hook.get("timeoutConfiguration", {})
        expires = self._service.time + 60 * timeout["timeoutInMinutes"]
        detail |= {"status": "AWAITING_ACTION", "expiresAt": expires, "timeoutAction": timeout["action"]}
        while detail["status"] == "AWAITING_ACTION":
            if self._service.time < expires:
                yield expires
                continue
            detail["status"] = "TIMED_OUT"
            if timeout["action"] == "ROLLBACK":  # UNCONFIRMED: after "failed."
                raise Failed(f"{stage} lifecycle hook(s) failed. Lifecycle hook {detail['hookId']} timed out")

    def _call(self, stage: str, hook: Params, detail: Params) -> Iterator[float]:
        """DG lambda-lifecycle-hooks: called again every 30 seconds while it is IN_PROGRESS."""
        detail |= {"targetArn": hook["hookTargetArn"], "status": "IN_PROGRESS"}
        while (status := self._hook(hook["hookTargetArn"], stage)) == "IN_PROGRESS":
            again = self._service.time + 30
            while self._service.time < again:
                yield again
        detail["status"] = status
        if status != "SUCCEEDED":  # as DG troubleshooting-blue-green quotes it
            target = f"Lifecycle hook target {hook['hookTargetArn']} returned {status} status"
            raise Failed(f"{stage} lifecycle hook(s) failed. {target}")


def _pair(balancer: Params) -> tuple[str, str]:
    return balancer["targetGroupArn"], balancer["advancedConfiguration"]["alternateTargetGroupArn"]
