"""Hosts of AWS, which are different in China and in GovCloud: the only module that names one.

https://docs.aws.amazon.com/general/latest/gr/rande.html
"""

from __future__ import annotations

CONSOLES = {
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
}


CHINAS_OWN = """
account application-autoscaling appmesh-envoy-management athena autoscaling awsconnector backup batch cassandra
cloudcontrolapi cloudformation codedeploy-commands-secure databrew dms ebs ec2 ecr.api ecr.dkr eks elasticache
elasticbeanstalk elasticfilesystem elasticfilesystem-fips emr-containers execute-api fsx imagebuilder iot.data
iotsitewise.api iotsitewise.data kinesis-streams lambda license-manager monitoring polly rds redshift redshift-data
sagemaker.api sagemaker.featurestore-runtime sagemaker.runtime securityhub servicecatalog sms sqs states sts sync-states
synthetics transcribe transcribestreaming transfer workspaces xray
"""
"""Services whose VPC endpoints in China have names that begin with cn."""


def host(partition: str, service: str, region: str) -> str:
    """The host of a service such as `s3`, or of a registry such as `123456789012.dkr.ecr`, in a Region."""
    return f"{service}.{region}.amazonaws.com{'.cn' if partition == 'aws-cn' else ''}"


def console(partition: str, region: str) -> str:
    """The host of the console in a Region."""
    return f"{region}.{CONSOLES.get(partition, 'console.aws.amazon.com')}"


def endpoint(partition: str, service: str, region: str) -> str:
    """The name of a service for a VPC endpoint. In China, those of many services have another prefix, but not those of
    the gateways to S3 and DynamoDB.

    https://github.com/aws/aws-cdk/blob/main/packages/aws-cdk-lib/aws-ec2/lib/vpc-endpoint.ts
    """
    if partition != "aws-cn" or service not in CHINAS_OWN.split():
        return f"com.amazonaws.{region}.{service}"
    return f"cn.com.amazonaws.{region}.{service}{'.cn' if service == 'transcribe' else ''}"


def ec2(partition: str) -> str:
    """EC2 as a principal, the one of those in use here that has another name in China.

    https://github.com/aws/aws-cdk/blob/main/packages/aws-cdk-lib/region-info/lib/default.ts
    """
    return f"ec2.amazonaws.com{'.cn' if partition == 'aws-cn' else ''}"
