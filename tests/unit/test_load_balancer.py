import pytest
from unit.examples import load_balancer
from unit.harness import Resource, deploy, named, of_type, only

BALANCER = "aws:lb/loadBalancer:LoadBalancer"
LISTENER = "aws:lb/listener:Listener"
INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
ARN = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/web/1"
CERTIFICATE = "arn:aws:acm:eu-west-1:123456789012:certificate/1"
NOTHING_HERE = {
    "type": "fixed-response",
    "fixedResponse": {"contentType": "text/plain", "messageBody": "No service answers here.", "statusCode": "404"},
}


def clients(resources: list[Resource]) -> list[tuple[str, int, int, str, str]]:
    rules = [r.inputs for r in of_type(resources, INGRESS)]
    return [(r["ipProtocol"], r["fromPort"], r["toPort"], r["cidrIpv4"], r["securityGroupId"]) for r in rules]


def test_the_balancer_drops_malformed_headers_and_is_reachable_from_outside() -> None:
    assert only(deploy(lambda: load_balancer("web")), BALANCER).inputs == {
        "name": "web",
        "loadBalancerType": "application",
        "internal": False,
        "subnets": ["subnet-1", "subnet-2"],
        "securityGroups": ["web-balancer-id"],
        "enableDeletionProtection": False,
        "dropInvalidHeaderFields": True,
        "idleTimeout": 60,
    }


def test_without_a_certificate_it_answers_plain_http_that_nothing_is_here() -> None:
    resources = deploy(lambda: load_balancer("web"))
    listener = only(resources, LISTENER)
    assert listener.name == "web-http"
    assert listener.inputs == {
        "loadBalancerArn": ARN,
        "port": 80,
        "protocol": "HTTP",
        "defaultActions": [NOTHING_HERE],
    }
    assert clients(resources) == [("tcp", 80, 80, "0.0.0.0/0", "web-balancer-id")]
    outputs = only(resources, "slipway:index:LoadBalancer").outputs
    assert (outputs["url"], outputs["listener_arn"]) == (
        "http://web.elb.example",
        "arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener/web-http",
    )


def test_with_a_certificate_it_answers_https_and_redirects_http_there() -> None:
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


def test_each_range_of_clients_may_connect_to_each_port_and_no_other() -> None:
    resources = deploy(
        lambda: load_balancer("web", certificate_arn=CERTIFICATE, ingress_cidrs=["10.0.0.0/8", "192.0.2.0/24"])
    )
    assert sorted(clients(resources)) == [
        ("tcp", 80, 80, "10.0.0.0/8", "web-balancer-id"),
        ("tcp", 80, 80, "192.0.2.0/24", "web-balancer-id"),
        ("tcp", 443, 443, "10.0.0.0/8", "web-balancer-id"),
        ("tcp", 443, 443, "192.0.2.0/24", "web-balancer-id"),
    ]


def test_the_security_group_opens_nothing_by_itself() -> None:
    resources = deploy(lambda: load_balancer("web"))
    assert named(resources, "web-balancer").inputs == {"description": "Load balancer web", "vpcId": "vpc-1"}
    assert of_type(resources, "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule") == []


def test_it_can_be_internal_protected_and_patient() -> None:
    program = deploy(lambda: load_balancer("web", internal=True, deletion_protection=True, idle_timeout_seconds=300))
    inputs = only(program, BALANCER).inputs
    assert (inputs["internal"], inputs["enableDeletionProtection"], inputs["idleTimeout"]) == (True, True, 300)


@pytest.mark.parametrize("name", ["ab", "web", "storefront-2", "a" * 32])
def test_names_of_balancers_are_accepted(name: str) -> None:
    assert only(deploy(lambda: load_balancer(name)), BALANCER).inputs["name"] == name


@pytest.mark.parametrize("name", ["", "-web", "web-", "web_1", "Web", "a" * 33])
def test_what_is_no_name_of_a_balancer_is_refused(name: str) -> None:
    with pytest.raises(ValueError) as error:
        load_balancer(name)
    assert str(error.value) == (
        "a load balancer's name must be 2 to 32 characters of a-z 0-9 and single - between them, "
        f"starting with a letter, got {name!r}"
    )


def test_a_name_that_elastic_load_balancing_keeps_for_itself_is_refused() -> None:
    with pytest.raises(ValueError) as error:
        load_balancer("internal-web")
    assert str(error.value) == "a load balancer's name must not start with internal-, got 'internal-web'"
