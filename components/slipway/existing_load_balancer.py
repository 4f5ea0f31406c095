"""ExistingLoadBalancer: a load balancer of another owner, which several services share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated
from weakref import WeakKeyDictionary

import pulumi
import pulumi_aws as aws
from pulumi.runtime import settings

from slipway._constraints import arn, between, check, match
from slipway._outputs import answered
from slipway._rules import check_args
from slipway.load_balancer import ListenerRules, LoadBalancer

BalancerName = Annotated[
    str,
    match(
        r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?",
        "be the name of a load balancer",
        "shared",
        ["-shared", "shared-", "a_b", "a b"],
        longest=32,
    ),
]
"""https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateLoadBalancer.html"""
BalancerArn = Annotated[
    str,
    arn(
        "an Application Load Balancer",
        "elasticloadbalancing",
        r"loadbalancer/app/[\w-]+/[0-9a-f]+",
        "loadbalancer/app/shared/0a1b2c3d4e5f6071",
    ),
]
SecurityGroupId = Annotated[str, match(r"sg-\w+", "be the id of a security group, such as sg-0a1b2c3d", "sg-0a1b2c3d")]
ListenerPort = Annotated[int, between(1, 65535)]


@dataclass(frozen=True, kw_only=True)
class ExistingLoadBalancerArgs:
    """An Application Load Balancer that is there already. It gets listener rules, and rules of its security group for
    the tasks; nothing else of it is changed, and it is not deleted.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/application/introduction.html
    """

    name: BalancerName | None = None
    """Name of the load balancer, in this account and Region. Either this or `arn` is required."""

    arn: BalancerArn | None = None
    """ARN of the load balancer."""

    listener_port: ListenerPort = 443
    """Port of its listener that gets the rules."""

    test_listener_port: ListenerPort | None = None
    """Port of its listener for test traffic, used only by strategies that shift traffic. By default, there is none."""

    security_group_id: SecurityGroupId | None = None
    """Security group of the load balancer from which the tasks allow traffic. By default, its only one."""

    def __post_init__(self) -> None:
        check(self)

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        given = [key for key in ("name", "arn") if getattr(self, key) is not None]
        yield len(given) != 1, f"name or arn must be set, and not both, got {' and '.join(given) or 'none'}"
        yield (
            self.test_listener_port == self.listener_port,
            f"test_listener_port must be different from listener_port, got {self.listener_port} for both",
        )


class ExistingLoadBalancer(ListenerRules):
    """An existing load balancer, for services. It is only looked up: a preview fails if it, or one of the listeners,
    does not exist.

    The listener rules of others are not known here. If AWS reports that a priority is in use, set `listener_priority`.
    """

    arn: pulumi.Output[str]
    dns_name: pulumi.Output[str]
    url: pulumi.Output[str]
    """Its own DNS name. A certificate is issued for your domain name, not for this one."""
    listener_arn: pulumi.Output[str]
    test_listener_arn: pulumi.Output[str] | None
    security_group_id: pulumi.Output[str]
    arn_suffix: pulumi.Output[str]

    def __init__(self, args: ExistingLoadBalancerArgs, opts: pulumi.InvokeOptions | None = None) -> None:
        """Look up the load balancer and its listeners.

        Raises pulumi.RunError if one of them does not exist, or if they do not fit a service.
        """
        check_args(args, ExistingLoadBalancerArgs)
        found = look_up(args, opts)
        called = args.name or args.arn
        if found.load_balancer_type != "application":
            raise pulumi.RunError(
                f"the load balancer {called} must be an Application Load Balancer, got {found.load_balancer_type}"
            )
        listener = find_listener(found.arn, args.listener_port, "listener_port", opts)
        # A program may look it up several times, as one stage after the other does.
        super().__init__(_GIVEN.setdefault(settings.get_monitor(), {}).setdefault(listener.arn, {}))
        test = None
        if args.test_listener_port is not None:
            test = find_listener(found.arn, args.test_listener_port, "test_listener_port", opts)

        self._vpc_id = found.vpc_id
        self.arn, self.dns_name, self.arn_suffix = known(found.arn), known(found.dns_name), known(found.arn_suffix)
        self.listener_arn = known(listener.arn)
        self.test_listener_arn = None if test is None else known(test.arn)
        self.security_group_id = known(security_group(found.security_groups, args))
        scheme, usual = ("https", 443) if listener.protocol == "HTTPS" else ("http", 80)
        port = "" if args.listener_port == usual else f":{args.listener_port}"
        self.url = known(f"{scheme}://{found.dns_name}{port}")
        self.is_encrypted, self.needs_records = listener.protocol == "HTTPS", False
        self.dns_records: pulumi.Output[list[dict[str, str]]] = pulumi.Output.from_input([])

    def check_vpc(self, vpc_id: pulumi.Input[str]) -> None:
        """Raise pulumi.RunError if tasks in this VPC cannot be its targets; an id that is not known yet is not checked.

        https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-target-groups.html
        """
        if isinstance(vpc_id, str) and vpc_id != self._vpc_id:
            raise pulumi.RunError(
                f"load_balancer must be in the VPC of the service, {vpc_id}, got one in {self._vpc_id}"
            )


_GIVEN: WeakKeyDictionary[object, dict[str, dict[int, str]]] = WeakKeyDictionary()
"""The priorities that the program has given, by its engine and the ARN of the listener."""


def known(value: str) -> pulumi.Output[str]:
    return pulumi.Output.from_input(answered(value))


def look_up(args: ExistingLoadBalancerArgs, opts: pulumi.InvokeOptions | None) -> aws.lb.AwaitableGetLoadBalancerResult:
    # At once, so that nothing is created if it does not exist.
    try:
        return aws.lb.get_load_balancer(name=args.name, arn=args.arn, opts=opts)
    except Exception as e:  # the SDK has no specific class for the error of an invoke
        raise pulumi.RunError(
            f"the load balancer {args.name or args.arn} cannot be looked up in this account and Region: {e}"
        ) from None


def find_listener(
    balancer: str, port: int, field: str, opts: pulumi.InvokeOptions | None
) -> aws.lb.AwaitableGetListenerResult:
    try:
        return aws.lb.get_listener(load_balancer_arn=balancer, port=port, opts=opts)
    except Exception as e:
        raise pulumi.RunError(
            f"{field} must be the port of a listener of {balancer}, got {port}, which cannot be looked up: {e}"
        ) from None


def security_group(groups: Sequence[str], args: ExistingLoadBalancerArgs) -> str:
    """The security group from which the tasks allow traffic."""
    given = args.security_group_id
    if given is None and len(groups) == 1:
        return groups[0]
    if given is None or given not in groups:
        got = "none" if given is None else repr(given)
        raise pulumi.RunError(
            f"security_group_id must be one of {list(groups)}, the security groups of the load balancer, got {got}"
        )
    return given


Balancer = LoadBalancer | ExistingLoadBalancer
"""What a service takes."""
