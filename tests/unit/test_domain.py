"""The names, the certificate, the web ACL and the access logs of a load balancer."""

from __future__ import annotations

from typing import Any

import pytest
from slipway import AccessLogs, Domain
from unit.examples import load_balancer
from unit.harness import Resource, deploy, named, of_type, only, resolved, run

RECORD = "aws:route53/record:Record"
LISTENER = "aws:lb/listener:Listener"
CERTIFICATE = "arn:aws:acm:eu-west-1:123456789012:certificate/web-certificate"
NAMES = ["shop.example.com", "*.shop.example.com", "www.example.com"]
ACL = "arn:aws:wafv2:eu-west-1:123456789012:regional/webacl/shop/1234abcd"


def made(**args: Any) -> list[Resource]:
    return deploy(lambda: load_balancer("web", **args))


def with_domain(**args: Any) -> list[Resource]:
    return made(domain=Domain(**{"names": NAMES, "zone": "example.com", **args}))


def test_a_domain_gets_a_certificate_for_all_its_names() -> None:
    assert only(with_domain(), "aws:acm/certificate:Certificate").inputs == {
        "domainName": "shop.example.com",
        "subjectAlternativeNames": ["*.shop.example.com", "www.example.com"],
        "validationMethod": "DNS",
    }


def test_the_listener_waits_until_the_certificate_is_issued_and_http_redirects() -> None:
    resources = with_domain()
    https, http = named(resources, "web-https"), named(resources, "web-http")
    assert (https.inputs["certificateArn"], https.inputs["port"]) == (CERTIFICATE, 443)
    [redirect] = http.inputs["defaultActions"]
    assert (redirect["type"], redirect["redirect"]["port"]) == ("redirect", "443")
    validation = only(resources, "aws:acm/certificateValidation:CertificateValidation")
    assert validation.inputs == {
        "certificateArn": CERTIFICATE,
        "validationRecordFqdns": ["_proof.shop.example.com", "_proof.www.example.com"],
    }


@pytest.mark.parametrize(("zone", "id"), [("example.com", "Z1"), ("Z0873220N255", "Z0873220N255")])
def test_a_zone_gets_a_proof_for_each_name_and_a_record_that_leads_to_the_load_balancer(zone: str, id: str) -> None:
    records = {record.name: record.inputs for record in of_type(with_domain(zone=zone), RECORD)}
    assert {record["zoneId"] for record in records.values()} == {id}
    # A name and its wildcard have the same proof.
    assert records.keys() == {
        *("web-validation-shop.example.com", "web-validation-www.example.com"),
        *("web-shop.example.com", "web-wildcard.shop.example.com", "web-www.example.com"),
    }
    proof = records["web-validation-shop.example.com"]
    # Another certificate of the name in this account has the same one.
    assert proof["allowOverwrite"] is True
    assert (proof["name"], proof["type"], proof["records"]) == (
        "_proof.shop.example.com",
        "CNAME",
        ["_shop.example.com.acm"],
    )
    assert records["web-wildcard.shop.example.com"]["name"] == "*.shop.example.com"
    assert records["web-shop.example.com"]["aliases"] == [
        {"name": "web.elb.example", "zoneId": "Z1", "evaluateTargetHealth": True}
    ]


def test_without_a_zone_the_records_are_an_output_and_printed() -> None:
    recorder = run(lambda: load_balancer("web", domain=Domain(names=NAMES)), {}, [], "dev")
    resources = recorder.registered()
    assert of_type(resources, RECORD) == []
    assert "validationRecordFqdns" not in only(resources, "aws:acm/certificateValidation:CertificateValidation").inputs
    records = only(resources, "slipway:index:LoadBalancer").outputs["dns_records"]
    assert records == [
        {"name": "_proof.shop.example.com", "type": "CNAME", "value": "_shop.example.com.acm"},
        {"name": "_proof.www.example.com", "type": "CNAME", "value": "_www.example.com.acm"},
        *({"name": name, "type": "CNAME", "value": "web.elb.example"} for name in NAMES),
    ]
    proofs, addresses = (
        "\n".join(f"  {each['name']} CNAME {each['value']}" for each in part) for part in (records[:2], records[2:])
    )
    assert sorted(recorder.warnings) == [
        f"make these records at your DNS provider, so that the certificate is issued:\n{proofs}",
        "make these records at your DNS provider, so that the names lead to the load balancer (ALIAS or ANAME for the "
        f"name of a zone itself):\n{addresses}",
    ]


def test_the_address_is_the_first_name() -> None:
    assert resolved(lambda: load_balancer("web", domain=Domain(names=NAMES, zone="example.com")).url) == (
        "https://shop.example.com"
    )


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"names": []}, "names must have 1 to 10 items, all different, got []"),
        (
            {"names": ["*.example.com"], "zone": "example.com"},
            "names must begin with a name that has an address, got '*.example.com'",
        ),
        (
            {"names": ["shop.example.com", "shop.example.org", "myexample.com"], "zone": "example.com"},
            "names must be in the zone example.com, got ['shop.example.org', 'myexample.com']",
        ),
    ],
)
def test_names_that_cannot_work_are_refused(args: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        Domain(**args)
    assert str(error.value) == message


def test_the_name_of_the_zone_itself_is_in_the_zone() -> None:
    assert Domain(names=["example.com", "*.example.com"], zone="example.com").zone == "example.com"


def test_a_load_balancer_has_one_certificate() -> None:
    certificate = "arn:aws:acm:eu-west-1:123456789012:certificate/1"
    with pytest.raises(ValueError) as error:
        made(certificate_arn=certificate, domain=Domain(names=NAMES))
    assert str(error.value) == "certificate_arn must not be set with domain, which makes a certificate of its own"


def test_requests_pass_the_web_acl() -> None:
    association = only(made(waf_acl_arn=ACL), "aws:wafv2/webAclAssociation:WebAclAssociation")
    balancer = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/web/1"
    assert association.inputs == {"resourceArn": balancer, "webAclArn": ACL}


def test_a_web_acl_of_another_region_is_refused() -> None:
    with pytest.raises(ValueError) as error:
        made(waf_acl_arn=ACL.replace("eu-west-1", "us-east-1"))
    assert str(error.value) == (
        "waf_acl_arn must be in eu-west-1, got one in us-east-1: a load balancer takes a web ACL of its own Region"
    )


def test_access_logs_go_to_a_bucket_that_only_elastic_load_balancing_writes_to() -> None:
    resources = made(access_logs=AccessLogs(prefix="shop", days=7))
    balancer = named(resources, "web", "lb/loadBalancer:LoadBalancer")
    assert balancer.inputs["accessLogs"] == {"bucket": "web-access", "prefix": "shop", "enabled": True}
    assert "web-access-policy" in balancer.depends_on
    assert "web-access-private" in named(resources, "web-access-policy").depends_on
    [expiry] = named(resources, "web-access-expiry").inputs["rules"]
    assert expiry["expiration"] == {"days": 7}
    assert named(resources, "web-access-private").inputs["restrictPublicBuckets"] is True
    allowed, denied = named(resources, "web-access-policy").json("policy")["Statement"]
    assert allowed == {
        "Effect": "Allow",
        "Principal": {"Service": "logdelivery.elasticloadbalancing.amazonaws.com"},
        "Action": "s3:PutObject",
        "Resource": "arn:aws:s3:::web-access/shop/AWSLogs/123456789012/*",
        "Condition": {
            "ArnLike": {"aws:SourceArn": "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/*"}
        },
    }
    assert (denied["Effect"], denied["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


def test_access_logs_may_go_to_an_existing_bucket() -> None:
    resources = made(access_logs=AccessLogs(bucket="acme-logs"))
    assert named(resources, "web", "lb/loadBalancer:LoadBalancer").inputs["accessLogs"] == {
        "bucket": "acme-logs",
        "enabled": True,
    }
    assert of_type(resources, "aws:s3/bucket:Bucket") == []
    with pytest.raises(ValueError, match=r"^days must not be set for an existing bucket"):
        AccessLogs(bucket="acme-logs", days=7)


def test_a_plain_load_balancer_has_none_of_it() -> None:
    types = {resource.type.split(":")[1].split("/")[0] for resource in made()}
    assert not {"acm", "route53", "wafv2", "s3"} & types
    assert "accessLogs" not in named(made(), "web", "lb/loadBalancer:LoadBalancer").inputs
