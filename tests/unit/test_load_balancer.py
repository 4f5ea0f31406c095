from typing import Any

import pulumi
import pytest
from slipway import load_balancer as code
from slipway.load_balancer import LoadBalancerSettings
from unit.examples import load_balancer
from unit.harness import Resource, deploy, named, of_type, only, resolved, sg

BALANCER = "aws:lb/loadBalancer:LoadBalancer"
LISTENER = "aws:lb/listener:Listener"
INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
ARN = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/web/1"
CERTIFICATE = "arn:aws:acm:eu-west-1:123456789012:certificate/1"
NOTHING_HERE = {
    "type": "fixed-response",
    "fixedResponse": {"contentType": "text/plain", "messageBody": "No service answers here.", "statusCode": "404"},
}


def for_tests(**args: Any) -> Any:
    """A different name, because pytest would collect the class as tests."""
    return code.TestListener(**{"ingress_cidrs": ["10.0.0.0/8"], **args})


def clients(resources: list[Resource]) -> list[tuple[str, int, int, str, str]]:
    rules = [r.inputs for r in of_type(resources, INGRESS)]
    return [(r["ipProtocol"], r["fromPort"], r["toPort"], r["cidrIpv4"], r["securityGroupId"]) for r in rules]


def test_the_load_balancer_drops_invalid_headers_and_is_internet_facing() -> None:
    assert only(deploy(lambda: load_balancer("web")), BALANCER).inputs == {
        "name": "web",
        "loadBalancerType": "application",
        "internal": False,
        "subnets": ["subnet-1", "subnet-2"],
        "securityGroups": [sg("web-balancer")],
        "enableDeletionProtection": False,
        "dropInvalidHeaderFields": True,
        "idleTimeout": 60,
    }


def test_without_a_certificate_it_responds_to_plain_http_with_404() -> None:
    resources = deploy(lambda: load_balancer("web"))
    listener = only(resources, LISTENER)
    assert listener.name == "web-http"
    assert listener.inputs == {
        "loadBalancerArn": ARN,
        "port": 80,
        "protocol": "HTTP",
        "defaultActions": [NOTHING_HERE],
    }
    assert clients(resources) == [("tcp", 80, 80, "0.0.0.0/0", sg("web-balancer"))]
    outputs = only(resources, "slipway:index:LoadBalancer").outputs
    assert (outputs["url"], outputs["listener_arn"]) == (
        "http://web.elb.example",
        "arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener/web-http",
    )


def test_with_a_certificate_it_serves_https_and_redirects_http_to_it() -> None:
    resources = deploy(lambda: load_balancer("web", certificate_arn=CERTIFICATE))
    assert {listener.name: listener.inputs for listener in of_type(resources, LISTENER)} == {
        "web-http": {
            "loadBalancerArn": ARN,
            "port": 80,
            "protocol": "HTTP",
            "defaultActions": [
                {"type": "redirect", "redirect": {"protocol": "HTTPS", "port": "443", "statusCode": "HTTP_301"}}
            ],
        },
        "web-https": {
            "loadBalancerArn": ARN,
            "port": 443,
            "protocol": "HTTPS",
            "sslPolicy": "ELBSecurityPolicy-TLS13-1-2-2021-06",
            "certificateArn": CERTIFICATE,
            "defaultActions": [NOTHING_HERE],
        },
    }
    outputs = only(resources, "slipway:index:LoadBalancer").outputs
    assert (outputs["url"], outputs["listener_arn"]) == (
        "https://web.elb.example",
        "arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener/web-https",
    )


def test_each_range_of_clients_may_connect_to_each_port_and_to_no_other() -> None:
    resources = deploy(
        lambda: load_balancer("web", certificate_arn=CERTIFICATE, ingress_cidrs=["10.0.0.0/8", "192.0.2.0/24"])
    )
    assert sorted(clients(resources)) == [
        ("tcp", 80, 80, "10.0.0.0/8", sg("web-balancer")),
        ("tcp", 80, 80, "192.0.2.0/24", sg("web-balancer")),
        ("tcp", 443, 443, "10.0.0.0/8", sg("web-balancer")),
        ("tcp", 443, 443, "192.0.2.0/24", sg("web-balancer")),
    ]


def test_a_test_listener_uses_http_if_the_main_listener_does() -> None:
    resources = deploy(lambda: load_balancer("web", test_listener=for_tests()))
    assert {listener.name: listener.inputs for listener in of_type(resources, LISTENER)} == {
        "web-http": {"loadBalancerArn": ARN, "port": 80, "protocol": "HTTP", "defaultActions": [NOTHING_HERE]},
        "web-test": {"loadBalancerArn": ARN, "port": 8443, "protocol": "HTTP", "defaultActions": [NOTHING_HERE]},
    }


def test_a_test_listener_is_encrypted_if_the_main_listener_is() -> None:
    resources = deploy(lambda: load_balancer("web", certificate_arn=CERTIFICATE, test_listener=for_tests(port=9443)))
    assert [listener.name for listener in of_type(resources, LISTENER)] == ["web-http", "web-https", "web-test"]
    assert named(resources, "web-test").inputs == {
        "loadBalancerArn": ARN,
        "port": 9443,
        "protocol": "HTTPS",
        "sslPolicy": "ELBSecurityPolicy-TLS13-1-2-2021-06",
        "certificateArn": CERTIFICATE,
        "defaultActions": [NOTHING_HERE],
    }


def test_only_its_own_ranges_may_connect_to_the_test_listener() -> None:
    cidrs = ["10.1.0.0/16", "10.2.0.0/16"]
    resources = deploy(lambda: load_balancer("web", test_listener=for_tests(ingress_cidrs=cidrs, port=8080)))
    assert {rule.name: rule.inputs for rule in of_type(resources, INGRESS)} == {
        name: {
            "securityGroupId": sg("web-balancer"),
            "description": description,
            "ipProtocol": "tcp",
            "fromPort": port,
            "toPort": port,
            "cidrIpv4": cidr,
        }
        for name, description, port, cidr in [
            ("web-in-80-0.0.0.0/0", "Clients", 80, "0.0.0.0/0"),
            ("web-in-8080-10.1.0.0/16", "Test traffic", 8080, "10.1.0.0/16"),
            ("web-in-8080-10.2.0.0/16", "Test traffic", 8080, "10.2.0.0/16"),
        ]
    }


def test_the_url_for_test_traffic_is_an_output_if_there_is_a_test_listener() -> None:
    def outputs(**args: Any) -> Any:
        return only(deploy(lambda: load_balancer("web", **args)), "slipway:index:LoadBalancer").outputs

    place = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener"
    assert resolved(lambda: load_balancer("web").test_listener_arn is None) is True
    assert outputs(test_listener=for_tests())["test_listener_arn"] == f"{place}/web-test"
    assert outputs(test_listener=for_tests())["listener_arn"] == f"{place}/web-http"


def test_the_security_group_has_no_inline_rules() -> None:
    resources = deploy(lambda: load_balancer("web"))
    assert named(resources, "web-balancer").inputs == {"description": "Load balancer web", "vpcId": "vpc-1"}
    assert of_type(resources, "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule") == []


def test_it_can_be_internal_with_deletion_protection_and_an_idle_timeout() -> None:
    program = deploy(lambda: load_balancer("web", internal=True, deletion_protection=True, idle_timeout_seconds=300))
    inputs = only(program, BALANCER).inputs
    assert (inputs["internal"], inputs["enableDeletionProtection"], inputs["idleTimeout"]) == (True, True, 300)


@pytest.mark.parametrize("cidr", ["0.0.0.0/0", "10.0.0.0/8", "192.0.2.1/32"])
def test_ranges_of_addresses_are_accepted(cidr: str) -> None:
    assert (LoadBalancerSettings(ingress_cidrs=[cidr]).ingress_cidrs, for_tests(ingress_cidrs=[cidr]).port) == (
        [cidr],
        8443,
    )


# Python accepts an address as a range, and a mask as a length; AWS accepts neither.
@pytest.mark.parametrize("cidr", ["10.0.0.1/8", "10.0.0.1", "10.0.0.0/255.0.0.0", "10.0.0.0/33", "::/0", ""])
def test_an_invalid_range_is_rejected(cidr: str) -> None:
    for kind in (LoadBalancerSettings, code.TestListener):
        with pytest.raises(ValueError) as error:
            kind(ingress_cidrs=["10.0.0.0/8", cidr])
        assert str(error.value) == f"ingress_cidrs[1] must be an IPv4 range such as 10.0.0.0/8, got {cidr!r}"


def ranges(count: int) -> list[str]:
    return [f"10.0.{number}.0/24" for number in range(count)]


@pytest.mark.parametrize(
    ("args", "rules"),
    [
        ({"ingress_cidrs": ranges(60)}, 60),
        ({"ingress_cidrs": ranges(61)}, 61),
        ({"ingress_cidrs": ranges(30), "certificate_arn": CERTIFICATE}, 60),
        ({"ingress_cidrs": ranges(31), "certificate_arn": CERTIFICATE}, 62),
        ({"ingress_cidrs": ranges(40), "test_listener": for_tests(ingress_cidrs=ranges(20))}, 60),
        ({"ingress_cidrs": ranges(40), "test_listener": for_tests(ingress_cidrs=ranges(21))}, 61),
    ],
)
def test_a_security_group_can_have_sixty_rules(args: dict[str, Any], rules: int) -> None:
    if rules <= 60:
        assert sum(map(len, code.open_ports(LoadBalancerSettings(**args)).values())) == rules
        return
    with pytest.raises(ValueError) as error:
        LoadBalancerSettings(**args)
    assert str(error.value) == (
        "ingress_cidrs must take at most 60 rules of a security group, one for each range and port, got " + str(rules)
    )


@pytest.mark.parametrize("late", [False, True])
def test_a_certificate_in_another_region_is_rejected_before_the_load_balancer_is_created(late: bool) -> None:
    there = CERTIFICATE.replace("eu-west-1", "us-east-1")

    def program() -> None:
        load_balancer("web", certificate_arn=pulumi.Output.from_input(there) if late else there)

    with pytest.raises(Exception) as error:
        deploy(program)
    assert str(error.value) == (
        "certificate_arn must be in eu-west-1, got one in us-east-1: "
        "a load balancer takes a certificate of its own Region"
    )


def test_a_certificate_in_iam_has_no_region() -> None:
    arn = "arn:aws:iam::123456789012:server-certificate/shop"
    assert named(deploy(lambda: load_balancer("web", certificate_arn=arn)), "web-https").inputs["certificateArn"] == arn


@pytest.mark.parametrize("name", ["ab", "web", "storefront-2", "a" * 32])
def test_valid_names_of_load_balancers_are_accepted(name: str) -> None:
    assert only(deploy(lambda: load_balancer(name)), BALANCER).inputs["name"] == name


@pytest.mark.parametrize("name", ["", "-web", "web-", "web_1", "Web", "a" * 33])
def test_an_invalid_name_of_a_load_balancer_is_rejected(name: str) -> None:
    with pytest.raises(ValueError) as error:
        load_balancer(name)
    assert str(error.value) == (
        "a load balancer's name must be 2 to 32 characters of a-z 0-9 and single - between them, "
        f"starting with a letter, got {name!r}"
    )


def test_a_reserved_name_of_elastic_load_balancing_is_rejected() -> None:
    with pytest.raises(ValueError) as error:
        load_balancer("internal-web")
    assert str(error.value) == "a load balancer's name must not start with internal-, got 'internal-web'"
