"""Elastic Load Balancing, as far as shifting traffic needs it: the target groups that a listener rule forwards to.

Actions are stored as Pulumi passes them. Pages are named as in ecs.py (ELB: elasticloadbalancing/latest).
"""

from standin.api import Call, Params
from standin.clock import Clock


class Elb:
    def __init__(self, clock: Clock, calls: list[Call]) -> None:
        """`calls` records the calls that AWS's own services make here."""
        self._clock, self._calls = clock, calls
        self._rules: dict[str, list[Params]] = {}

    def set(self, rule: str, actions: list[Params]) -> None:
        self._rules[rule] = actions

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
        # "To add an item to a list ... you must provide the entire list": ELB APIReference/API_ModifyRule.
        self._rules[rule] = [{"type": "forward", "forward": {"targetGroups": groups}}]
