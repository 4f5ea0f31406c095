"""LoadBalancer: routes requests from the internet, or from inside a VPC, to services."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Annotated

import pulumi
import pulumi_aws as aws

from slipway._constraints import Must, arn, between, check, either, items, match
from slipway._outputs import concat
from slipway._rules import check_args, check_name
from slipway.access_logs import AccessLogs, log_access
from slipway.domain import Domain, addresses, zone_id
from slipway.domain import certificate as issue
from slipway.iam import Scope, in_region

# TLS 1.3 and 1.2.
# https://docs.aws.amazon.com/elasticloadbalancing/latest/application/describe-ssl-policies.html
TLS_POLICY = "ELBSecurityPolicy-TLS13-1-2-2021-06"
RULES = 60
"""Maximum number of inbound rules of a security group.

https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html"""


def is_ipv4_range(text: str) -> bool:
    """Whether AWS accepts the CIDR block: the first address and the length of the prefix."""
    try:
        return str(ipaddress.IPv4Network(text)) == text
    except ValueError:
        return False


Cidr = Annotated[
    pulumi.Input[str],
    Must(
        "be an IPv4 range such as 10.0.0.0/8",
        is_ipv4_range,
        {"pattern": r"^\d{1,3}(\.\d{1,3}){3}/\d{1,2}$"},
        good=["0.0.0.0/0", "10.0.0.0/8", "192.0.2.1/32"],
        bad=["", "10.0.0.1/8", "10.0.0.0", "10.0.0.0/33", "300.0.0.0/8", "::/0", "10.0.0.0/255.0.0.0"],
    ),
]
VpcId = Annotated[pulumi.Input[str], match(r"vpc-\w+", "be the id of a VPC, such as vpc-0a1b2c3d", "vpc-0a1b2c3d")]
SubnetId = Annotated[
    pulumi.Input[str], match(r"subnet-[\w-]+", "be the id of a subnet, such as subnet-0a1b2c3d", "subnet-0a1b2c3d")
]
TEST_PORT = Must(
    "be between 1 and 65535 and neither 80 nor 443",
    lambda port: 1 <= port <= 65535 and port not in (80, 443),
    {"minimum": 1, "maximum": 65535, "not": {"enum": [80, 443]}},
    good=[1, 79, 81, 442, 444, 65535],
    bad=[0, 80, 443, 65536],
)
CertificateArn = Annotated[
    pulumi.Input[str],
    either(
        arn("a certificate in ACM", "acm", r"certificate/[\w-]+", "certificate/1234abcd"),
        arn("one in IAM", "iam", r"server-certificate/[\w+=,.@/-]+", "server-certificate/shop", regional=False),
    ),
]

WebAclArn = Annotated[
    pulumi.Input[str],
    arn("a regional web ACL of AWS WAF", "wafv2", r"regional/webacl/[\w-]+/[\w-]+", "regional/webacl/shop/1234abcd"),
]


@dataclass(frozen=True, kw_only=True)
class TestListener:
    """A listener for test traffic. During a deployment by ECS or CodeDeploy, it reaches the new tasks before the public
    does.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/blue-green-deployment-how-it-works.html
    """

    ingress_cidrs: Annotated[Sequence[Cidr], items(1, distinct=True)]
    """IPv4 ranges that may connect: your own network, or that of the VPC."""

    port: Annotated[int, TEST_PORT] = 8443
    """Port of the listener, which uses the same protocol as the main listener."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class LoadBalancerSettings:
    """Settings of a LoadBalancer that can also be set in a stack file."""

    certificate_arn: CertificateArn | None = None
    """Certificate for HTTPS on port 443, in the same Region. Port 80 then redirects to HTTPS. Without a certificate,
    the load balancer serves plain HTTP on port 80."""

    internal: bool = False
    """Make the load balancer reachable only from inside the VPC."""

    ingress_cidrs: Annotated[Sequence[Cidr], items(1, distinct=True)] = ("0.0.0.0/0",)
    """IPv4 ranges that may connect."""

    test_listener: TestListener | None = None
    """Listener for test traffic, used only by strategies that shift traffic."""

    deletion_protection: bool = False
    """Protect the load balancer from deletion, including by `pulumi destroy`, until you turn this off."""

    idle_timeout_seconds: Annotated[int, between(1, 4000)] = 60
    """Seconds after which an idle connection is closed."""

    domain: Domain | None = None
    """Names under which the load balancer is reached, with a certificate that is made for them. By default, it has the
    DNS name that AWS gives it."""

    waf_acl_arn: WebAclArn | None = None
    """Web ACL of AWS WAF that requests must pass, in the same Region."""

    access_logs: AccessLogs | None = None
    """Write a line for each request to a bucket. By default, there are none."""

    def __post_init__(self) -> None:
        check(self)

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        rules = sum(map(len, open_ports(self).values()))
        yield (
            rules > RULES,
            f"ingress_cidrs must take at most {RULES} rules of a security group, one for each range and port, "
            f"got {rules}",
        )
        yield (
            self.domain is not None and self.certificate_arn is not None,
            "certificate_arn must not be set with domain, which makes a certificate of its own",
        )

    @property
    def is_encrypted(self) -> bool:
        return self.certificate_arn is not None or self.domain is not None


@dataclass(frozen=True, kw_only=True)
class LoadBalancerArgs(LoadBalancerSettings):
    """Arguments of LoadBalancer."""

    vpc_id: VpcId
    """VPC of the subnets."""

    subnet_ids: Annotated[pulumi.Input[Sequence[SubnetId]], items(2, distinct=True)]
    """Subnets in at least two Availability Zones. They must be public unless `internal` is set."""


class ListenerRules:
    """The priorities of the rules of a load balancer."""

    def __init__(self, services: dict[int, str] | None = None) -> None:
        """`services` has those that are given already, by priority."""
        self._services = {} if services is None else services

    def give_priority(self, service: str, priority: int | None, usual: int) -> int:
        """Reserve a priority for a service's rule: this one, or without one the first from `usual` that no other
        service has. Raises ValueError if another service has it.

        https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-rules.html
        """
        if priority is None:
            taken = {given for given, other in self._services.items() if other != service}
            priority = next(each for each in count(usual) if each not in taken)
        other = self._services.setdefault(priority, service)
        if other != service:
            raise ValueError(
                "listener_priority must be different for each service of a load balancer, "
                f"got {priority} for {other!r} and {service!r}"
            )
        return priority


class LoadBalancer(pulumi.ComponentResource, ListenerRules):
    """An Application Load Balancer that returns 404 until a Service attaches to its listener.

    `name` is its name. https://docs.aws.amazon.com/elasticloadbalancing/latest/application/introduction.html
    """

    arn: pulumi.Output[str]
    dns_name: pulumi.Output[str]
    url: pulumi.Output[str]
    """The load balancer's own DNS name. A certificate is issued for your domain name, not for this one."""
    listener_arn: pulumi.Output[str]
    """Listener for the rules of services."""
    test_listener_arn: pulumi.Output[str] | None
    """Listener for test traffic."""
    dns_records: pulumi.Output[list[dict[str, str]]]
    """The DNS records of its domain: `name`, `type` and `value`. Without a zone, somebody has to make them."""
    security_group_id: pulumi.Output[str]
    arn_suffix: pulumi.Output[str]
    """Name of the load balancer in CloudWatch metrics."""

    def __init__(self, name: str, args: LoadBalancerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Create the load balancer and its listeners.

        Raises ValueError if `name` is not a valid load balancer name, or if the certificate is in another Region.
        """
        check_name("load balancer", name, longest=32)
        check_args(args, LoadBalancerArgs)
        if name.startswith("internal-"):
            raise ValueError(f"a load balancer's name must not start with internal-, got {name!r}")
        super().__init__("slipway:index:LoadBalancer", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)

        certificates = {} if args.certificate_arn is None else {"certificate_arn": args.certificate_arn}
        why = "a load balancer takes a certificate of its own Region"
        certificate = in_region(self, "acm", certificates, why).get("certificate_arn")
        acls = {} if args.waf_acl_arn is None else {"waf_acl_arn": args.waf_acl_arn}
        acl = in_region(self, "wafv2", acls, "a load balancer takes a web ACL of its own Region").get("waf_acl_arn")
        records: list[pulumi.Output[list[dict[str, str]]]] = []
        zone = zone_id(args.domain, pulumi.InvokeOptions(parent=self)) if args.domain else None
        if args.domain is not None:
            certificate, proofs = issue(name, args.domain, zone, child)
            records.append(proofs)
        logs, before = log_access(name, args.access_logs, Scope.of(self), child) if args.access_logs else (None, [])

        security_group = let_in(name, args, child)
        balancer = aws.lb.LoadBalancer(
            name,
            name=name,
            load_balancer_type="application",
            internal=args.internal,
            subnets=args.subnet_ids,
            security_groups=[security_group.id],
            enable_deletion_protection=args.deletion_protection,
            # Requests with malformed headers do not reach the service.
            drop_invalid_header_fields=True,
            idle_timeout=args.idle_timeout_seconds,
            access_logs=logs,
            opts=child.merge(pulumi.ResourceOptions(depends_on=before)),
        )
        listener = main_listener(name, balancer, certificate, child)
        test_listener = None
        if args.test_listener is not None:
            test_listener = serving_listener(f"{name}-test", balancer, certificate, args.test_listener.port, child)

        if acl is not None:
            aws.wafv2.WebAclAssociation(f"{name}-waf", resource_arn=balancer.arn, web_acl_arn=acl, opts=child)
        if args.domain is not None:
            records.append(addresses(name, args.domain, zone, balancer, child))

        self.arn = balancer.arn
        self.dns_name = balancer.dns_name
        scheme = "http://" if certificate is None else "https://"
        host = args.domain.names[0] if args.domain else balancer.dns_name
        self.url = pulumi.Output.from_input(concat(scheme, host))
        self.dns_records = pulumi.Output.all(*records).apply(lambda lists: [each for one in lists for each in one])
        self.listener_arn = listener.arn
        self.test_listener_arn = test_listener.arn if test_listener else None
        self.security_group_id = security_group.id
        self.arn_suffix = balancer.arn_suffix
        # For its services and the program; not outputs.
        self.is_encrypted, self.needs_records = certificate is not None, args.domain is not None and zone is None
        ListenerRules.__init__(self)
        self.register_outputs(
            {
                "arn": self.arn,
                "dns_name": self.dns_name,
                "url": self.url,
                "listener_arn": self.listener_arn,
                "test_listener_arn": self.test_listener_arn,
                "dns_records": self.dns_records,
                "security_group_id": self.security_group_id,
                "arn_suffix": self.arn_suffix,
            }
        )


def let_in(name: str, args: LoadBalancerArgs, child: pulumi.ResourceOptions) -> aws.ec2.SecurityGroup:
    """Allows inbound traffic from clients. Services that attach add outbound rules, so rules are separate resources."""
    group = aws.ec2.SecurityGroup(
        f"{name}-balancer", description=f"Load balancer {name}", vpc_id=args.vpc_id, opts=child
    )
    for port, cidrs in open_ports(args).items():
        for number, cidr in enumerate(cidrs):
            # Named after the range: a rule that takes the place of another one would be there twice for a moment, which
            # EC2 refuses. Once, the names had the numbers.
            numbered = f"{name}-in-{port}-{number}"
            aws.vpc.SecurityGroupIngressRule(
                f"{name}-in-{port}-{cidr}" if isinstance(cidr, str) else numbered,
                security_group_id=group.id,
                description="Clients" if port in (80, 443) else "Test traffic",
                ip_protocol="tcp",
                from_port=port,
                to_port=port,
                cidr_ipv4=cidr,
                opts=child.merge(pulumi.ResourceOptions(aliases=[pulumi.Alias(name=numbered)])),
            )
    return group


def open_ports(args: LoadBalancerSettings) -> dict[int, Sequence[pulumi.Input[str]]]:
    """The ports of the listeners, each with the ranges that may connect."""
    ports = dict.fromkeys((80, 443) if args.is_encrypted else (80,), args.ingress_cidrs)
    return {**ports, **({args.test_listener.port: args.test_listener.ingress_cidrs} if args.test_listener else {})}


def main_listener(
    name: str, balancer: aws.lb.LoadBalancer, certificate: pulumi.Input[str] | None, child: pulumi.ResourceOptions
) -> aws.lb.Listener:
    """HTTPS with a redirect if there is a certificate; plain HTTP otherwise."""
    if certificate is None:
        return serving_listener(f"{name}-http", balancer, certificate, 80, child)
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
    return serving_listener(f"{name}-https", balancer, certificate, 443, child)


def serving_listener(
    name: str,
    balancer: aws.lb.LoadBalancer,
    certificate: pulumi.Input[str] | None,
    port: int,
    child: pulumi.ResourceOptions,
) -> aws.lb.Listener:
    """A listener for the rules of services, encrypted if there is a certificate."""
    nothing_here = aws.lb.ListenerDefaultActionArgs(
        type="fixed-response",
        fixed_response=aws.lb.ListenerDefaultActionFixedResponseArgs(
            content_type="text/plain", message_body="No service answers here.", status_code="404"
        ),
    )
    encrypted = certificate is not None
    return aws.lb.Listener(
        name,
        load_balancer_arn=balancer.arn,
        port=port,
        protocol="HTTPS" if encrypted else "HTTP",
        ssl_policy=TLS_POLICY if encrypted else None,
        certificate_arn=certificate,
        default_actions=[nothing_here],
        opts=child,
    )
