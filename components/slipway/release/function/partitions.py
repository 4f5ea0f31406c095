"""Hosts of AWS, which are different in China and in GovCloud: the only module that names one.

https://docs.aws.amazon.com/general/latest/gr/rande.html
"""

from __future__ import annotations

CONSOLES = {
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
}


def host(partition: str, service: str, region: str) -> str:
    """The host of a service such as `s3`, or of a registry such as `123456789012.dkr.ecr`, in a Region."""
    return f"{service}.{region}.amazonaws.com{'.cn' if partition == 'aws-cn' else ''}"


def console(partition: str, region: str) -> str:
    """The host of the console in a Region."""
    return f"{region}.{CONSOLES.get(partition, 'console.aws.amazon.com')}"


def endpoint(partition: str, service: str, region: str) -> str:
    """The name of a service for a VPC endpoint. In China, those of ECR have another prefix than most.

    https://docs.aws.amazon.com/vpc/latest/privatelink/aws-services-privatelink-support.html
    """
    prefix = "cn." if partition == "aws-cn" and service.startswith("ecr.") else ""
    return f"{prefix}com.amazonaws.{region}.{service}"


def ec2(partition: str) -> str:
    """EC2 as a principal, the one of those in use here that has another name in China.

    https://github.com/aws/aws-cdk/blob/main/packages/aws-cdk-lib/region-info/lib/default.ts
    """
    return f"ec2.amazonaws.com{'.cn' if partition == 'aws-cn' else ''}"
