"""Elastic Load Balancing, as far as shifting traffic needs it: the target groups that a listener rule forwards to.

Actions are stored as Pulumi passes them. Pages are named as in ecs.py (ELB: elasticloadbalancing/latest).
"""

from standin.api import AwsError, Call, Params
from standin.clock import Clock


class Elb:
    def __init__(self, clock: Clock, calls: list[Call]) -> None:
        """`calls` records the calls that AWS's own services make here."""
        self._clock, self._calls = clock, calls
        self._rules: dict[str, list[Params]] = {}
        self._sticky: set[str] = set()
        """The target groups with stickiness."""

    def set(self, rule: str, actions: list[Params]) -> None:
        groups = _weighted(actions)
        if not groups_are_sticky(actions) and len(groups) > 1 and self._sticky & {each["arn"] for each in groups}:
            # ELB application/edit-rule, and as hashicorp/terraform users quote it.
            message = "You must enable group stickiness on a rule if you enabled target stickiness on one of its "
            raise AwsError("InvalidLoadBalancerAction", f"{message}target groups")
        self._rules[rule] = actions

    def stick(self, group: str, enabled: bool) -> None:
        """Stickiness of a target group."""
        for rule, actions in self._rules.items() if enabled and group not in self._sticky else ():
            groups = _weighted(actions)
            if len(groups) > 1 and group in {each["arn"] for each in groups} and not groups_are_sticky(actions):
                # As kubernetes-sigs/aws-load-balancer-controller 2734 quotes it.
                message = f"This target group appears behind a rule with group stickiness disabled ({rule}). You must "
                more = "enable group stickiness before enabling target stickiness"
                raise AwsError("InvalidConfigurationRequest", message + more)
        (self._sticky.add if enabled else self._sticky.discard)(group)

    def actions(self, rule: str) -> list[Params] | None:
        return self._rules.get(rule)

    def remove(self, rule: str) -> None:
        self._rules.pop(rule, None)

    def weights(self, rule: str) -> dict[str, int]:
        """Target groups that a rule forwards to; none if there is no such rule."""
        for action in self._rules.get(rule, []):
            if "forward" in action:
                # ELB application/load-balancer-listeners, forward actions; the default weight is 1.
                return {group["arn"]: int(group.get("weight", 1)) for group in action["forward"]["targetGroups"]}
            if action["type"] == "forward":
                return {action["targetGroupArn"]: 100}
        return {}

    def shift(self, rule: str, weights: dict[str, int], principal: str) -> None:
        """ModifyRule by one of AWS's services: all traffic of a rule, to these target groups."""
        named = [{"TargetGroupArn": group, "Weight": weight} for group, weight in weights.items()]
        params = {"RuleArn": rule, "Actions": [{"Type": "forward", "ForwardConfig": {"TargetGroups": named}}]}
        now, order = self._clock.now(), [*self.weights(rule), *weights]
        self._calls.append(Call(principal, "elasticloadbalancing", "ModifyRule", params, now, None))
        groups = [{"arn": group, "weight": weights[group]} for group in dict.fromkeys(order) if group in weights]
        # UNCONFIRMED: ECS and CodeDeploy keep the rule's stickiness; users report that releases work if it is on.
        forwards = [action["forward"] for action in self._rules.get(rule, []) if "forward" in action]
        sticky = {key: value for forward in forwards for key, value in forward.items() if key == "stickiness"}
        # "To add an item to a list ... you must provide the entire list": ELB APIReference/API_ModifyRule.
        self.set(rule, [{"type": "forward", "forward": {"targetGroups": groups, **sticky}}])


def _weighted(actions: list[Params]) -> list[Params]:
    """The target groups of a rule that forwards by weights."""
    return [group for action in actions if "forward" in action for group in action["forward"]["targetGroups"]]


def groups_are_sticky(actions: list[Params]) -> bool:
    """Whether a client stays with one of the target groups of a rule."""
    return any(action.get("forward", {}).get("stickiness", {}).get("enabled") for action in actions)
