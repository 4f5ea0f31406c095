"""The names under which a load balancer is reached: certificate, validation and DNS records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import pulumi
import pulumi_aws as aws

from slipway._constraints import check, items, match

# Each name may have ten in its certificate by default.
# https://docs.aws.amazon.com/acm/latest/userguide/acm-limits.html
Names = Annotated[
    Sequence[
        Annotated[
            str,
            match(
                r"(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?",
                "be a name such as shop.example.com or *.shop.example.com",
                "shop.example.com",
                ["shop", "https://shop.example.com", "shop.example.com.", "Shop.example.com", "a.*.com", "-a.com"],
                longest=253,
            ),
        ]
    ],
    items(1, 10, distinct=True),
]
Zone = Annotated[
    pulumi.Input[str],
    match(
        r"Z[A-Z0-9]{5,31}|([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?",
        "be the name of a public hosted zone in Route 53, such as example.com, or its ID",
        "example.com",
        ["example", "example.com.", "z0873220N255IR3MTNR4"],
    ),
]


@dataclass(frozen=True, kw_only=True)
class Domain:
    """Names of a load balancer. It gets a certificate for them and serves HTTPS; HTTP redirects to it.

    https://docs.aws.amazon.com/acm/latest/userguide/dns-validation.html
    """

    names: Names
    """Names such as `shop.example.com`. The first one is the address of the service."""

    zone: Zone | None = None
    """Public hosted zone in Route 53 in this account, by name or ID, in which the records are made. Without it, `pulumi
    up` prints the records to make elsewhere, and waits until the certificate is issued."""

    def __post_init__(self) -> None:
        check(self)

    def cross_checks(self) -> Iterator[tuple[bool, str]]:
        first = self.names[0] if self.names else ""
        yield first.startswith("*."), f"names must begin with a name that has an address, got {first!r}"
        # https://docs.aws.amazon.com/acm/latest/APIReference/API_RequestCertificate.html
        yield len(first) > 64, f"names must begin with a name of at most 64 characters, got {len(first)}: {first!r}"
        zone = self.zone
        if isinstance(zone, str) and "." in zone:
            others = [name for name in self.names if name.removeprefix("*.") != zone and not name.endswith(f".{zone}")]
            yield bool(others), f"names must be in the zone {zone}, got {others}"


def certificate(
    name: str, domain: Domain, zone_id: pulumi.Input[str] | None, child: pulumi.ResourceOptions
) -> tuple[pulumi.Output[str], pulumi.Output[list[dict[str, str]]]]:
    """The ARN of the certificate once it is issued, and the records that prove who owns the names."""
    made = aws.acm.Certificate(
        f"{name}-certificate",
        domain_name=domain.names[0],
        subject_alternative_names=list(domain.names[1:]) or None,
        validation_method="DNS",
        opts=child,
    )
    # A name and its wildcard are validated by one record.
    owned = list(dict.fromkeys(each.removeprefix("*.") for each in domain.names))
    records = made.domain_validation_options.apply(lambda options: [validation(options, each) for each in owned])
    fqdns = None
    if zone_id is not None:
        fqdns = [
            aws.route53.Record(
                f"{name}-validation-{each}",
                zone_id=zone_id,
                name=records[number]["name"],
                type=records[number]["type"],
                records=[records[number]["value"]],
                ttl=300,
                # The record is the same for each certificate of the name in this account.
                allow_overwrite=True,
                opts=child,
            ).fqdn
            for number, each in enumerate(owned)
        ]
    issued = aws.acm.CertificateValidation(
        f"{name}-issued", certificate_arn=made.arn, validation_record_fqdns=fqdns, opts=child
    )
    if zone_id is None:
        records.apply(lambda known: pulumi.log.warn(to_make("so that the certificate is issued", known), made))
    return issued.certificate_arn, records


def validation(options: Sequence[Any], name: str) -> dict[str, str]:
    """The record that validates a name. ACM lists one for each name of the certificate, in any order."""
    found = next(each for each in options if each.domain_name.removeprefix("*.") == name)
    record = found.resource_record_name, found.resource_record_type, found.resource_record_value
    return dict(zip(("name", "type", "value"), record, strict=True))


def addresses(
    name: str,
    domain: Domain,
    zone_id: pulumi.Input[str] | None,
    balancer: aws.lb.LoadBalancer,
    child: pulumi.ResourceOptions,
) -> pulumi.Output[list[dict[str, str]]]:
    """Records that lead from the names to the load balancer."""
    for each in domain.names if zone_id is not None else ():
        aws.route53.Record(
            f"{name}-{each.replace('*', 'wildcard')}",
            zone_id=pulumi.Output.from_input(zone_id),
            name=each,
            type="A",
            aliases=[
                aws.route53.RecordAliasArgs(
                    name=balancer.dns_name, zone_id=balancer.zone_id, evaluate_target_health=True
                )
            ],
            opts=child,
        )
    records = balancer.dns_name.apply(
        lambda dns_name: [{"name": each, "type": "CNAME", "value": dns_name} for each in domain.names]
    )
    if zone_id is None:
        reach = "so that the names lead to the load balancer (ALIAS or ANAME for the name of a zone itself)"
        records.apply(lambda known: pulumi.log.warn(to_make(reach, known), balancer))
    return records


def to_make(why: str, records: Sequence[dict[str, str]]) -> str:
    lines = [f"  {record['name']} {record['type']} {record['value']}" for record in records]
    return "\n".join([f"make these records at your DNS provider, {why}:", *lines])


def zone_id(domain: Domain, opts: pulumi.InvokeOptions) -> pulumi.Input[str] | None:
    """The ID of the zone."""
    if domain.zone is None or not isinstance(domain.zone, str) or "." not in domain.zone:
        return domain.zone
    return aws.route53.get_zone_output(name=domain.zone, private_zone=False, opts=opts).zone_id
