"""What an environment costs when nobody uses it: the fixed prices of what a stack file makes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from unit.harness import Resource, named, of_type

PRICED_IN = "us-east-1"
AS_OF = "November 2026"
"""When the pages with the prices said so."""
HOURS = 730
"""Hours of a month, as AWS's calculator has them."""


@dataclass(frozen=True)
class Price:
    """A price in PRICED_IN, in USD, as of AS_OF."""

    amount: float
    per: str
    source: str


PRICES = {
    "NAT gateways": Price(0.045, "hour", "https://aws.amazon.com/vpc/pricing/"),
    "public IPv4 addresses": Price(0.005, "hour", "https://aws.amazon.com/vpc/pricing/"),
    "interface endpoints": Price(0.01, "hour", "https://aws.amazon.com/privatelink/pricing/"),
    "load balancers": Price(0.0225, "hour", "https://aws.amazon.com/elasticloadbalancing/pricing/"),
    "vCPU": Price(0.04048, "hour", "https://aws.amazon.com/fargate/pricing/"),
    "GB": Price(0.004445, "hour", "https://aws.amazon.com/fargate/pricing/"),
    "KMS keys": Price(1, "month", "https://aws.amazon.com/kms/pricing/"),
    "metrics of alarms": Price(0.1, "month", "https://aws.amazon.com/cloudwatch/pricing/"),
}
TRAFFIC = {
    "NAT gateways": Price(0.045, "GB", PRICES["NAT gateways"].source),
    "interface endpoints": Price(0.01, "GB", PRICES["interface endpoints"].source),
}
"""What they cost in addition when they are used."""

ENDPOINT = "aws:ec2/vpcEndpoint:VpcEndpoint"


def counted(resources: list[Resource]) -> Counter[str]:
    """How many of each there are while the service is idle and its minimum of tasks runs."""
    found: Counter[str] = Counter()
    for vpc in of_type(resources, "awsx:ec2:Vpc"):
        zones = int(vpc.inputs["numberOfAvailabilityZones"])
        gateways = {"Single": 1, "OnePerAz": zones, "None": 0}[vpc.inputs["natGateways"]["strategy"]]
        found["NAT gateways"] += gateways
        balancers = of_type(resources, "aws:lb/loadBalancer:LoadBalancer")
        public = sum(not balancer.inputs["internal"] for balancer in balancers)
        found["public IPv4 addresses"] += gateways + zones * public
        interfaces = [e for e in of_type(resources, ENDPOINT) if e.inputs["vpcEndpointType"] == "Interface"]
        found["interface endpoints"] += zones * len(interfaces)
    found["load balancers"] = len(of_type(resources, "aws:lb/loadBalancer:LoadBalancer"))
    found["KMS keys"] = len(of_type(resources, "aws:kms/key:Key"))
    for alarm in of_type(resources, "aws:cloudwatch/metricAlarm:MetricAlarm"):
        found["metrics of alarms"] += sum("metric" in query for query in alarm.inputs["metricQueries"])
    for service in of_type(resources, "aws:ecs/service:Service"):
        template = named(resources, f"{service.name}-template", "TaskDefinition").inputs
        rollout = named(resources, f"{service.name}-release-rollout-1").json("input")["rollout"]["settings"]
        found["vCPU"] += rollout["minimum"] * int(template["cpu"]) / 1024
        found["GB"] += rollout["minimum"] * int(template["memory"]) / 1024
        found["public IPv4 addresses"] += rollout["minimum"] if rollout.get("assign_public_ip") else 0
    return found


def monthly(resources: list[Resource]) -> dict[str, float]:
    """USD a month, by what they are for."""
    hours = {"hour": HOURS, "month": 1}
    found = counted(resources)
    return {name: found[name] * price.amount * hours[price.per] for name, price in PRICES.items()}
