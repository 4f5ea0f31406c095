"""LoadBalancer: the way from the internet, or from inside a VPC, to services."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from slipway._rules import check_name, refuse

# TLS 1.3 and 1.2.
# https://docs.aws.amazon.com/elasticloadbalancing/latest/application/describe-ssl-policies.html
TLS_POLICY = "ELBSecurityPolicy-TLS13-1-2-2021-06"


@dataclass(frozen=True, kw_only=True)
class TestListener:
    """A listener for test traffic: while ECS or CodeDeploy deploys, it reaches the new tasks before the public does.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/blue-green-deployment-how-it-works.html
    """

    ingress_cidrs: Sequence[str]
    """IPv4 ranges that may connect: a network of your own, or that of the VPC."""

    port: int = 8443
    """Port of the listener; it speaks the protocol of the main one."""

    def __post_init__(self) -> None:
        refuse(
            (
                not self.ingress_cidrs or not all(is_ipv4_range(cidr) for cidr in self.ingress_cidrs),
                f"ingress_cidrs must be IPv4 ranges such as 10.0.0.0/8, got {list(self.ingress_cidrs)}",
            ),
            (
                not 1 <= self.port <= 65535 or self.port in (80, 443),
                f"port must be between 1 and 65535 and neither 80 nor 443, got {self.port}",
            ),
        )


@dataclass(frozen=True, kw_only=True)
class LoadBalancerSettings:
    """Settings of a LoadBalancer that a stack file can have too."""

    certificate_arn: str | None = None
    """Certificate, in the same Region, for HTTPS on port 443; port 80 then redirects there. Without it the balancer
    answers plain HTTP on port 80."""

    internal: bool = False
    """Reachable from inside the VPC only."""

    ingress_cidrs: Sequence[str] = ("0.0.0.0/0",)
    """IPv4 ranges that may connect."""

    test_listener: TestListener | None = None
    """Listener for test traffic; only strategies that shift traffic use it."""

    deletion_protection: bool = False
    """Refuse to be deleted, also by `pulumi destroy`, until this is taken back."""

    idle_timeout_seconds: int = 60
    """Seconds a connection may be silent."""

    def __post_init__(self) -> None:
        refuse(
            (
                self.certificate_arn is not None
                and not re.fullmatch(r"arn:[\w-]+:(acm|iam):\S+", self.certificate_arn),
                f"certificate_arn must be the ARN of a certificate in ACM, got {self.certificate_arn!r}",
            ),
            (
                not self.ingress_cidrs or not all(is_ipv4_range(cidr) for cidr in self.ingress_cidrs),
                f"ingress_cidrs must be IPv4 ranges such as 10.0.0.0/8, got {list(self.ingress_cidrs)}",
            ),
            (
                not 1 <= self.idle_timeout_seconds <= 4000,
                f"idle_timeout_seconds must be between 1 and 4000, got {self.idle_timeout_seconds}",
            ),
        )


def is_ipv4_range(text: str) -> bool:
    """Whether AWS takes it as a range: the first address, and the length of the prefix."""
    try:
        return str(ipaddress.IPv4Network(text)) == text
    except ValueError:
        return False


@dataclass(frozen=True, kw_only=True)
class LoadBalancerArgs(LoadBalancerSettings):
    """Arguments of LoadBalancer."""

    vpc_id: pulumi.Input[str]
    """VPC of the subnets."""

    subnet_ids: pulumi.Input[Sequence[str]]
    """Subnets in at least two Availability Zones: public ones, unless `internal`."""


class LoadBalancer(pulumi.ComponentResource):
    """An Application Load Balancer that answers 404 until a Service attaches to its listener.

    `name` is its name. https://docs.aws.amazon.com/elasticloadbalancing/latest/application/introduction.html
    """

    arn: pulumi.Output[str]
    dns_name: pulumi.Output[str]
    url: pulumi.Output[str]
    """The balancer's own address; a certificate is made out to a name of yours instead."""
    listener_arn: pulumi.Output[str]
    """Listener that rules of services belong to."""
    test_listener_arn: pulumi.Output[str] | None
    """Listener for test traffic."""
    security_group_id: pulumi.Output[str]
    arn_suffix: pulumi.Output[str]
    """What CloudWatch calls the balancer."""

    def __init__(self, name: str, args: LoadBalancerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Create the balancer and its listeners.

        Raises ValueError if `name` cannot be the name of a balancer.
        """
        check_name("load balancer", name, longest=32)
        refuse((name.startswith("internal-"), f"a load balancer's name must not start with internal-, got {name!r}"))
        super().__init__("slipway:index:LoadBalancer", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)

        # Its rules are resources of their own: where it may connect to is added by the services that attach.
        security_group = aws.ec2.SecurityGroup(
            f"{name}-balancer", description=f"Load balancer {name}", vpc_id=args.vpc_id, opts=child
        )
        for port, cidrs in open_ports(args).items():
            for number, cidr in enumerate(cidrs):
                aws.vpc.SecurityGroupIngressRule(
                    f"{name}-in-{port}-{number}",
                    security_group_id=security_group.id,
                    description="Clients" if port in (80, 443) else "Test traffic",
                    ip_protocol="tcp",
                    from_port=port,
                    to_port=port,
                    cidr_ipv4=cidr,
                    opts=child,
                )
        balancer = aws.lb.LoadBalancer(
            name,
            name=name,
            load_balancer_type="application",
            internal=args.internal,
            subnets=args.subnet_ids,
            security_groups=[security_group.id],
            enable_deletion_protection=args.deletion_protection,
            # Requests with malformed headers are not passed on to the service.
            drop_invalid_header_fields=True,
            idle_timeout=args.idle_timeout_seconds,
            opts=child,
        )
        listener = main_listener(name, balancer, args, child)
        test_listener = None
        if args.test_listener is not None:
            test_listener = serving_listener(f"{name}-test", balancer, args, args.test_listener.port, child)

        self.arn = balancer.arn
        self.dns_name = balancer.dns_name
        self.url = pulumi.Output.concat("https://" if args.certificate_arn else "http://", balancer.dns_name)
        self.listener_arn = listener.arn
        self.test_listener_arn = test_listener.arn if test_listener else None
        self.security_group_id = security_group.id
        self.arn_suffix = balancer.arn_suffix
        self.register_outputs(
            {
                "arn": self.arn,
                "dns_name": self.dns_name,
                "url": self.url,
                "listener_arn": self.listener_arn,
                "test_listener_arn": self.test_listener_arn,
                "security_group_id": self.security_group_id,
                "arn_suffix": self.arn_suffix,
            }
        )


def open_ports(args: LoadBalancerArgs) -> dict[int, Sequence[str]]:
    """The ports that are listened on, each with who may connect."""
    ports = dict.fromkeys((80, 443) if args.certificate_arn else (80,), args.ingress_cidrs)
    return {**ports, **({args.test_listener.port: args.test_listener.ingress_cidrs} if args.test_listener else {})}


def main_listener(
    name: str, balancer: aws.lb.LoadBalancer, args: LoadBalancerArgs, child: pulumi.ResourceOptions
) -> aws.lb.Listener:
    """HTTPS, and a redirect to it, where there is a certificate; plain HTTP otherwise."""
    if args.certificate_arn is None:
        return serving_listener(f"{name}-http", balancer, args, 80, child)
    to_https = aws.lb.ListenerDefaultActionArgs(
        type="redirect",
        redirect=aws.lb.ListenerDefaultActionRedirectArgs(protocol="HTTPS", port="443", status_code="HTTP_301"),
    )
    aws.lb.Listener(
        f"{name}-http",
        load_balancer_arn=balancer.arn,
        port=80,
        protocol="HTTP",
        default_actions=[to_https],
        opts=child,
    )
    return serving_listener(f"{name}-https", balancer, args, 443, child)


def serving_listener(
    name: str, balancer: aws.lb.LoadBalancer, args: LoadBalancerArgs, port: int, child: pulumi.ResourceOptions
) -> aws.lb.Listener:
    """A listener that rules of services belong to, encrypted where there is a certificate."""
    nothing_here = aws.lb.ListenerDefaultActionArgs(
        type="fixed-response",
        fixed_response=aws.lb.ListenerDefaultActionFixedResponseArgs(
            content_type="text/plain", message_body="No service answers here.", status_code="404"
        ),
    )
    encrypted = args.certificate_arn is not None
    return aws.lb.Listener(
        name,
        load_balancer_arn=balancer.arn,
        port=port,
        protocol="HTTPS" if encrypted else "HTTP",
        ssl_policy=TLS_POLICY if encrypted else None,
        certificate_arn=args.certificate_arn,
        default_actions=[nothing_here],
        opts=child,
    )
