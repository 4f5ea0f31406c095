"""Sticky sessions: a client's requests go to the same task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pulumi_aws as aws

from slipway._constraints import between, check, match

CookieName = Annotated[
    str,
    match(
        r"(?!AWSALB)[A-Za-z0-9!#$%&'*+.^_`|~-]+",
        "be the name of a cookie of the application, which AWS does not let begin with AWSALB,",
        "SESSION",
        ["a b", "a;b", "a=b", "AWSALB", "AWSALBAPP-0", "ä"],
        longest=128,
    ),
]


@dataclass(frozen=True, kw_only=True)
class Stickiness:
    """Requests of a client go to the same task as long as it has a cookie and the task is healthy. While traffic
    shifts, they also go to the same one of the old and the new tasks.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html
    """

    duration_seconds: Annotated[int, between(1, 604_800)] = 86_400
    """Seconds for which the load balancer's cookie is valid, counted from the last request."""

    cookie_name: CookieName | None = None
    """Cookie of the application that begins a session. By default, the load balancer begins one with the first
    request."""

    def __post_init__(self) -> None:
        check(self)

    def of_target_group(self) -> aws.lb.TargetGroupStickinessArgs:
        if self.cookie_name is None:
            return aws.lb.TargetGroupStickinessArgs(type="lb_cookie", cookie_duration=self.duration_seconds)
        return aws.lb.TargetGroupStickinessArgs(
            type="app_cookie", cookie_name=self.cookie_name, cookie_duration=self.duration_seconds
        )

    def of_rule(self) -> aws.lb.ListenerRuleActionForwardStickinessArgs:
        """Elastic Load Balancing refuses a rule with several target groups without this, if one of them is sticky.

        https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-rule.html
        """
        return aws.lb.ListenerRuleActionForwardStickinessArgs(enabled=True, duration=self.duration_seconds)
