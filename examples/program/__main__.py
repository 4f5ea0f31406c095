"""Two services of one repository, and what they need, in one program: nothing is named that is not made here.

`web` answers requests behind a load balancer with HTTPS and is released blue/green; `worker` takes messages from a
queue. A push that changes `web/` releases the one, a push that changes `worker/` the other.
"""

import json

import pulumi
import pulumi_aws as aws
import pulumi_awsx as awsx
from slipway import (
    BlueGreen,
    Build,
    BuildArgs,
    Connection,
    DeployStage,
    Filter,
    Hook,
    LoadBalancer,
    LoadBalancerArgs,
    Pipeline,
    PipelineArgs,
    Push,
    Registry,
    RegistryArgs,
    Service,
    ServiceArgs,
    Tasks,
    allow,
)

CHECK = """
def handler(event, context):
    # A real one calls the test listener, and answers FAILED where the new tasks do not do what they should.
    return {"hookStatus": "SUCCEEDED"}
"""

vpc = awsx.ec2.Vpc("shop", enable_dns_hostnames=True)
cluster = aws.ecs.Cluster("shop")

key = aws.kms.Key("shop", description="Images and secrets of the shop", enable_key_rotation=True)
secret = aws.secretsmanager.Secret("payment", kms_key_id=key.arn)
bucket = aws.s3.Bucket("pictures")
queue = aws.sqs.Queue("orders", visibility_timeout_seconds=120)
certificate = aws.acm.Certificate("shop", domain_name="shop.example.com", validation_method="DNS")
validated = aws.acm.CertificateValidation("shop", certificate_arn=certificate.arn)
backlog = aws.cloudwatch.MetricAlarm(
    "backlog",
    namespace="AWS/SQS",
    metric_name="ApproximateAgeOfOldestMessage",
    dimensions={"QueueName": queue.name},
    statistic="Maximum",
    period=60,
    evaluation_periods=3,
    threshold=300,
    comparison_operator="GreaterThanThreshold",
)
hook_role = aws.iam.Role(
    "check",
    assume_role_policy=json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
            ],
        }
    ),
)
check = aws.lambda_.Function(
    "check",
    runtime=aws.lambda_.Runtime.PYTHON3D13,
    handler="check.handler",
    role=hook_role.arn,
    code=pulumi.AssetArchive({"check.py": pulumi.StringAsset(CHECK)}),
)
connection = aws.codeconnections.Connection("shop", provider_type="GitHub")

balancer = LoadBalancer(
    "shop",
    LoadBalancerArgs(
        vpc_id=vpc.vpc_id,
        subnet_ids=vpc.public_subnet_ids,
        # A listener takes the certificate only once it is validated.
        certificate_arn=validated.certificate_arn,
    ),
)


def registry(name: str) -> Registry:
    return Registry(f"shop-{name}", RegistryArgs(kms_key_arn=key.arn))


def pipeline(name: str, images: Registry, service: Service) -> Pipeline:
    """Builds the folder `name` of the repository, when a push changes it, and releases the service."""
    return Pipeline(
        f"shop-{name}",
        PipelineArgs(
            source=Connection(
                arn=connection.arn,
                repository="acme/shop",
                push=[Push(branches=Filter(includes=["main"]), file_paths=Filter(includes=[f"{name}/**"]))],
            ),
            build=Build(f"shop-{name}", BuildArgs(registry=images, context=name)),
            stages=[DeployStage(service=service)],
        ),
    )


web_images, worker_images = registry("web"), registry("worker")
web = Service(
    "shop-web",
    ServiceArgs(
        cluster=cluster,
        registry=web_images,
        load_balancer=balancer,
        vpc_id=vpc.vpc_id,
        subnet_ids=vpc.private_subnet_ids,
        environment={"PICTURES": bucket.bucket, "ORDERS": queue.url},
        secrets={"PAYMENT_KEY": secret.arn},
        secrets_kms_key_arns=[key.arn],
        task_statements=[
            allow("s3:GetObject", "s3:PutObject", on=pulumi.Output.concat(bucket.arn, "/*")),
            allow("sqs:SendMessage", on=queue.arn),
        ],
        strategy=BlueGreen(hooks=[Hook(stages=["POST_SCALE_UP"], function_arn=check.arn, timeout_minutes=5)]),
        tasks=Tasks(min=2, max=6),
        url="https://shop.example.com",
    ),
)
worker = Service(
    "shop-worker",
    ServiceArgs(
        cluster=cluster,
        registry=worker_images,
        vpc_id=vpc.vpc_id,
        subnet_ids=vpc.private_subnet_ids,
        port=None,
        error_alarm=None,
        alarm_names=[backlog.name],
        environment={"ORDERS": queue.url},
        task_statements=[allow("sqs:ReceiveMessage", "sqs:DeleteMessage", on=queue.arn)],
    ),
)

for name, images, service in (("web", web_images, web), ("worker", worker_images, worker)):
    pulumi.export(name, pipeline(name, images, service).console_url)
pulumi.export("url", web.url)
