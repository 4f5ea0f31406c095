import dataclasses
import datetime
import json
from typing import Any

import pytest
from slipway import (
    AccessLogs,
    AllowedFinding,
    Approval,
    AuditTrailArgs,
    BlueGreen,
    Canary,
    CodeCommit,
    CodeDeployBlueGreen,
    CodeScan,
    Connection,
    Container,
    ContainerHealthCheck,
    Domain,
    EcrImage,
    EfsDirectory,
    EfsVolume,
    ErrorAlarm,
    ExistingLoadBalancerArgs,
    Fargate,
    FargateSpot,
    Filter,
    FireLens,
    HealthCheck,
    Hook,
    Job,
    Linear,
    MetricTarget,
    Migration,
    Notifications,
    Permission,
    Process,
    Push,
    QueueBacklog,
    RegistryArgs,
    Report,
    RoleDefaults,
    Rolling,
    Route,
    S3Object,
    Sbom,
    ScanGate,
    ScheduledBounds,
    ServiceConnect,
    Sidecar,
    Slack,
    StageTests,
    Stickiness,
    Tasks,
    Teams,
    Ulimit,
    Window,
)
from slipway import (
    TestListener as Listener,
)
from slipway.build.component import BuildSettings
from slipway.config.cluster import NewCluster, UsedCluster
from slipway.config.endpoints import VpcEndpoints
from slipway.config.errors import ConfigurationError
from slipway.config.load import Settings, StageSettings, read
from slipway.config.network import ExistingNetwork, NewNetwork
from slipway.config.schema import FeatureBranch, LoadBalancerKeys, StackFile, to_camel
from slipway.pipeline.component import PipelineSettings
from slipway.pull_requests import PullRequestSettings
from slipway.service.args import ServiceSettings
from unit.examples import UUID
from unit.harness import deploy_stack_file, named, of_type, only, refuse_stack_file

STACK = ["pulumi:pulumi:Stack"]
GITHUB = "arn:aws:codeconnections:eu-west-1:123456789012:connection/0f-1"
SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-a1b2c3"
KEY = "arn:aws:kms:eu-west-1:123456789012:key/k"
FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:check"
LEAST: dict[str, Any] = {"source": {"codecommit": {"repository": "storefront"}}}
IMAGE = {"image": {"repository": "storefront-dev", "tag": "verified-dev"}}
COMMANDS: dict[str, Any] = {
    "commands": ["make smoke"],
    "reports": [{"name": "smoke", "files": ["smoke.xml"]}],
    "environment": {"A": "1"},
    "notSecret": ["A"],
    "secrets": {"TOKEN": SECRET},
    "secretsKmsKeyArns": [KEY],
    "image": "example/tools:1",
    "computeType": "BUILD_GENERAL1_MEDIUM",
    "privileged": True,
    "timeoutMinutes": 20,
    "logRetentionDays": 7,
}
CERTIFICATE_ = "arn:aws:acm:eu-west-1:123456789012:certificate/1"
WEB_ACL = "arn:aws:wafv2:eu-west-1:123456789012:regional/webacl/shop/1234abcd"
FULL: dict[str, Any] = {
    "source": {
        "connection": {
            "arn": GITHUB,
            "repository": "acme/storefront",
            "branch": "release",
            "push": [
                {"branches": {"includes": ["release"]}, "filePaths": {"excludes": ["docs/**"]}},
                {"tags": {"includes": ["v*"], "excludes": ["*-rc*"]}},
            ],
            "fullClone": True,
            "submoduleRepositories": ["acme/theme"],
        }
    },
    "service": {
        "port": 3000,
        "healthPath": "/healthz",
        "entrypoint": ["/bin/sh", "-c"],
        "command": ["exec server"],
        "cpu": 1024,
        "memory": 4096,
        "cpuArchitecture": "ARM64",
        "capacity": {"fargateSpot": {"base": 2, "onDemandWeight": 0, "spotWeight": 1}},
        "tasks": {
            "min": 3,
            "max": 9,
            "targetCpuPercent": 40,
            "targetMemoryPercent": 50,
            "targetRequestsPerTask": 600,
            "queues": [{"arn": "arn:aws:sqs:eu-west-1:123456789012:orders", "messagesPerTask": 20}],
            "metrics": [
                {
                    "namespace": "Storefront",
                    "name": "JobsInProgress",
                    "target": 2.5,
                    "statistic": "Maximum",
                    "dimensions": {"Queue": "orders"},
                }
            ],
            "schedules": [
                {"schedule": "cron(0 8 ? * MON-FRI *)", "timeZone": "Europe/Berlin", "min": 5, "max": 12},
            ],
        },
        "processes": {
            "api": {
                "port": 3001,
                "capacity": {"fargate": {}},
                "entrypoint": ["/bin/tini"],
                "command": ["api"],
                "cpu": 512,
                "memory": 2048,
                "tasks": {"min": 1},
                "environment": {"QUEUE": "high"},
                "containerHealthCheck": {"command": ["CMD", "api", "check"]},
                "sidecars": ["otel", "init"],
                "targetContainer": "otel",
                "stopTimeoutSeconds": 60,
                "healthPath": "/api/healthz",
                "healthCheck": {"successCodes": "0-5"},
                "healthCheckGraceSeconds": 30,
                "protocolVersion": "GRPC",
                "drainSeconds": 10,
                "stickiness": {"durationSeconds": 60},
                "paths": ["/v2/*"],
                "hosts": ["api.example.com"],
                "headers": {"X-Api": ["1"]},
                "listenerPriority": 8,
            },
        },
        "order": ["api", "web"],
        "migration": {
            "command": ["migrate"],
            "entrypoint": ["/bin/tini"],
            "cpu": 256,
            "memory": 1024,
            "environment": {"LOCK": "1"},
            "timeoutMinutes": 15,
            "sidecars": ["init"],
        },
        "jobs": {
            "report": {
                "command": ["report"],
                "schedule": "cron(0 3 * * ? *)",
                "timeZone": "Europe/Berlin",
                "flexibleWindowMinutes": 15,
                "timeoutMinutes": 30,
                "retries": 2,
                "overlap": False,
                "sidecars": ["init"],
                "entrypoint": ["/bin/tini"],
                "cpu": 256,
                "memory": 512,
                "environment": {"FORMAT": "csv"},
            },
        },
        "environment": {"LOG_LEVEL": "debug"},
        "notSecret": ["LOG_LEVEL"],
        "secrets": {"PASSWORD": f"{SECRET}:password::"},
        "secretsKmsKeyArns": [KEY],
        "restartOnSecretChange": True,
        "permissions": [{"actions": ["sqs:ListQueues"], "resources": ["*"], "reason": "it supports no resource"}],
        "environmentFiles": ["arn:aws:s3:::acme-settings/shop.env"],
        "readOnlyRootFilesystem": False,
        "writablePaths": ["/var/cache/shop"],
        "volumes": {
            "uploads": {
                "fileSystemId": "fs-0123456789abcdef0",
                "path": "/data",
                "readOnly": True,
                "directory": {"path": "/uploads", "userId": 1001, "groupId": 1002, "permissions": "0750"},
                "securityGroupId": "sg-0a",
            },
            "shared": {
                "fileSystemId": "fs-0123456789abcdef0",
                "path": "/shared",
                "accessPointId": "fsap-0123456789abcdef0",
            },
        },
        "ephemeralStorageGib": 50,
        "container": {
            "user": "1000",
            "dropCapabilities": ["ALL"],
            "addCapabilities": ["SYS_PTRACE"],
            "ulimits": {"nofile": {"soft": 1024, "hard": 4096}},
            "initProcess": False,
        },
        "containerHealthCheck": {
            "command": ["CMD-SHELL", "test -f /tmp/ok"],
            "intervalSeconds": 10,
            "timeoutSeconds": 3,
            "retries": 2,
            "startPeriodSeconds": 20,
        },
        "sidecars": {
            "otel": {
                "image": "public.ecr.aws/otel:1",
                "entrypoint": ["/otel"],
                "command": ["--config", "/etc/otel"],
                "environment": {"LEVEL": "info"},
                "secrets": {"TOKEN": SECRET},
                "port": 4317,
                "essential": False,
                "cpu": 64,
                "memoryMib": 128,
                "memoryReservationMib": 64,
                "healthCheck": {"command": ["CMD", "/otel", "check"]},
                "dependsOn": {"init": "START"},
                "stopTimeoutSeconds": 10,
                "user": "1000",
                "readOnlyRootFilesystem": False,
                "writablePaths": ["/tmp"],
                "mounts": {"uploads": "/uploads"},
                "credentialsSecretArn": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:hub-a1b2c3",
            },
            "init": {"image": "public.ecr.aws/init:1", "essential": False},
        },
        "dependsOn": {"init": "SUCCESS"},
        "serviceConnect": {
            "namespaceArn": "arn:aws:servicediscovery:eu-west-1:123456789012:namespace/ns-0123456789abcdef",
            "name": "orders",
            "port": 9090,
            "clientPort": 80,
            "protocol": "http2",
            "clients": {"shop": "sg-0b"},
            "requestTimeoutSeconds": 30,
            "idleTimeoutSeconds": 600,
        },
        "logging": {
            "fireLens": {
                "options": {"Name": "datadog"},
                "secretOptions": {"apikey": SECRET},
                "configFile": "/etc/own.conf",
                "image": "public.ecr.aws/fluent-bit:1",
                "memoryReservationMib": 100,
            }
        },
        "targetContainer": "otel",
        "ecsExec": True,
        "healthCheckGraceSeconds": 90,
        "stopTimeoutSeconds": 20,
        "healthCheck": {
            "successCodes": "200,301",
            "intervalSeconds": 20,
            "timeoutSeconds": 10,
            "healthyCount": 3,
            "unhealthyCount": 4,
        },
        "protocolVersion": "HTTP2",
        "drainSeconds": 120,
        "stickiness": {"durationSeconds": 3600, "cookieName": "SESSION"},
        "paths": ["/api/*"],
        "hosts": ["shop.example.com", "*.example.org"],
        "headers": {"X-Version": ["beta*"]},
        "listenerPriority": 7,
        "routes": {
            "admin": {
                "port": 9090,
                "targetContainer": "otel",
                "paths": ["/admin/*"],
                "hosts": ["admin.example.com"],
                "headers": {"X-Admin": ["1"]},
                "healthPath": "/ready",
                "healthCheck": {"intervalSeconds": 10},
                "protocolVersion": "HTTP2",
                "listenerPriority": 6,
            }
        },
        "url": "https://shop.example.com",
        "errorAlarm": {"percent": 2, "requests": 100, "minutes": 3},
        "alarmNames": ["latency"],
        "keepVerified": 9,
        "retainReleaseState": False,
        "logRetentionDays": 7,
    },
    "stages": [
        {
            "name": "staging",
            "approval": {
                "notify": ["ops@example.com"],
                "timeoutMinutes": 60,
                "link": "https://github.com/acme/storefront/compare/{live_commit}...{commit}",
            },
            "strategy": {"rolling": {"minimumHealthyPercent": 50, "maximumPercent": 150, "deadlineMinutes": 20}},
            "tests": {**COMMANDS, "inVpc": True},
            "window": {"cron": "* * 9-16 ? * MON-FRI", "timeZone": "Europe/Berlin"},
            "service": {"keepVerified": 3},
            "loadBalancer": {"idleTimeoutSeconds": 30},
        }
    ],
    "build": {
        "context": "app",
        "dockerfile": "docker/Dockerfile",
        "target": "release",
        "cpuArchitectures": ["ARM64", "X86_64"],
        "secrets": {"npmrc": SECRET},
        "pullRepositories": ["arn:aws:ecr:eu-west-1:123456789012:repository/base/python"],
        "registryLogins": {"docker.io": SECRET},
        "dockerHubMirror": "public.ecr.aws/docker",
        "sbom": {"generator": "example/generator:1"},
        "permissions": [{"actions": ["sqs:SendMessage"], "resources": ["arn:aws:sqs:eu-west-1:123456789012:orders"]}],
        "secretsKmsKeyArns": [KEY],
        "testCommands": ["make test"],
        "reports": [{"name": "unit", "files": ["build/*.xml"], "format": "TESTNGXML"}],
        "buildArgs": {"VERSION": "1"},
        "notSecret": ["VERSION"],
        "computeType": "BUILD_GENERAL1_LARGE",
        "timeoutMinutes": 45,
        "builderImage": "example/buildkit:1",
        "logRetentionDays": 14,
    },
    "registry": {
        "keepImages": 50,
        "untaggedDays": 3,
        "kmsKeyArn": KEY,
        "pullPrincipals": ["arn:aws:iam::111122223333:role/x"],
        "expireDays": 90,
        "forceDelete": True,
        "forceDeleteEnvironments": ["prod"],
    },
    "loadBalancer": {
        "certificateArn": "arn:aws:acm:eu-west-1:123456789012:certificate/1",
        "internal": True,
        "ingressCidrs": ["10.0.0.0/8"],
        "testListener": {"ingressCidrs": ["10.1.0.0/16"], "port": 9443},
        "deletionProtection": True,
        "idleTimeoutSeconds": 300,
        "wafAclArn": WEB_ACL,
        "accessLogs": {"bucket": "acme-logs", "prefix": "shop", "days": 90},
    },
    "cluster": {"existing": {"name": "shared"}},
    "network": {
        "existing": {
            "vpcId": "vpc-0a",
            "publicSubnetIds": ["subnet-1", "subnet-2"],
            "privateSubnetIds": ["subnet-3"],
        }
    },
    "scanGate": {
        "threshold": "MEDIUM",
        "allow": [{"id": "CVE-2026-12345", "reason": "no fix upstream yet", "until": "2026-12-31"}],
        "timeoutMinutes": 40,
        "enhanced": True,
    },
    "codeScans": [
        {**COMMANDS, "name": "lint"},
        {"name": "style", "commands": ["make style"], "image": "example/tools:1"},
    ],
    "pullRequests": {
        **{key: value for key, value in COMMANDS.items() if not key.startswith(("secrets", "reports"))},
        "scans": ["style"],
        "branches": ["main", "release"],
        "approval": "ALL_PULL_REQUESTS",
    },
    "notifications": {
        "emails": ["ops@example.com"],
        "slack": {"teamId": "T0123ABC4", "channelId": "C0123ABC4"},
        "teams": {"tenantId": UUID, "teamId": UUID, "channelId": "19%3ab6ef%40thread.tacv2"},
    },
    "pipeline": {
        "executionMode": "QUEUED",
        "variables": {"LEVEL": "info"},
        "notSecret": ["LEVEL"],
        "parallelScans": True,
    },
    "roles": {"permissionsBoundaryArn": "arn:aws:iam::123456789012:policy/boundary", "path": "/teams/shop/"},
    "audit": {"retentionDays": 30, "lock": "COMPLIANCE", "allRegions": True},
}


def settings(data: dict[str, Any], stack: str = "dev", app: str = "storefront") -> Settings:
    return read(app, stack, {f"slipway:{key}": json.dumps(value) for key, value in data.items()}, set())


def keys(kind: Any) -> set[str]:
    return {to_camel(field.name) for field in dataclasses.fields(kind)}


def args(overrides: dict[str, Any], stack: str = "dev") -> list[str]:
    """The mistakes in a minimal stack file with these overrides."""
    with pytest.raises(ConfigurationError) as error:
        settings({**LEAST, **overrides}, stack)
    head, *lines = str(error.value).split("\n")
    many = "a mistake" if len(lines) == 1 else f"{len(lines)} mistakes"
    assert head == f"{many} in the configuration (Pulumi.yaml, Pulumi.{stack}.yaml):"
    assert [line for line in lines if not line.startswith("  ")] == []
    return [line[2:] for line in lines]


STAGE = StageSettings(
    environment_name="dev",
    service_name="storefront-dev",
    service=ServiceSettings(),
    load_balancer=LoadBalancerKeys(),
    strategy=Rolling(),
    approval=None,
    tests=None,
    window=None,
)


def test_a_minimal_stack_file_has_only_a_source() -> None:
    assert settings(LEAST) == Settings(
        name="storefront-dev",
        source=CodeCommit(repository="storefront"),
        image_repository=None,
        build=BuildSettings(),
        registry=RegistryArgs(),
        cpu_architecture="X86_64",
        stages=[STAGE],
        network=NewNetwork(),
        cluster=NewCluster(),
        scan_gate=None,
        code_scans=(),
        pull_requests=None,
        notifications=None,
        pipeline=PipelineSettings(),
        roles=RoleDefaults(),
        audit=None,
    )


def test_every_key_reaches_its_argument() -> None:
    service = ServiceSettings(
        port=3000,
        health_path="/healthz",
        entrypoint=["/bin/sh", "-c"],
        command=["exec server"],
        cpu=1024,
        memory=4096,
        cpu_architecture="ARM64",
        capacity=FargateSpot(base=2, on_demand_weight=0, spot_weight=1),
        tasks=Tasks(
            min=3,
            max=9,
            target_cpu_percent=40,
            target_memory_percent=50,
            target_requests_per_task=600,
            queues=[QueueBacklog(arn="arn:aws:sqs:eu-west-1:123456789012:orders", messages_per_task=20)],
            metrics=[
                MetricTarget(
                    namespace="Storefront",
                    name="JobsInProgress",
                    target=2.5,
                    statistic="Maximum",
                    dimensions={"Queue": "orders"},
                )
            ],
            schedules=[ScheduledBounds(schedule="cron(0 8 ? * MON-FRI *)", time_zone="Europe/Berlin", min=5, max=12)],
        ),
        processes={
            "api": Process(
                port=3001,
                capacity=Fargate(),
                entrypoint=["/bin/tini"],
                command=["api"],
                cpu=512,
                memory=2048,
                tasks=Tasks(min=1),
                environment={"QUEUE": "high"},
                container_health_check=ContainerHealthCheck(command=["CMD", "api", "check"]),
                sidecars=["otel", "init"],
                target_container="otel",
                stop_timeout_seconds=60,
                health_path="/api/healthz",
                health_check=HealthCheck(success_codes="0-5"),
                health_check_grace_seconds=30,
                protocol_version="GRPC",
                drain_seconds=10,
                stickiness=Stickiness(duration_seconds=60),
                paths=["/v2/*"],
                hosts=["api.example.com"],
                headers={"X-Api": ["1"]},
                listener_priority=8,
            )
        },
        order=["api", "web"],
        migration=Migration(
            command=["migrate"],
            entrypoint=["/bin/tini"],
            cpu=256,
            memory=1024,
            environment={"LOCK": "1"},
            timeout_minutes=15,
            sidecars=["init"],
        ),
        jobs={
            "report": Job(
                command=["report"],
                schedule="cron(0 3 * * ? *)",
                time_zone="Europe/Berlin",
                flexible_window_minutes=15,
                timeout_minutes=30,
                retries=2,
                overlap=False,
                sidecars=["init"],
                entrypoint=["/bin/tini"],
                cpu=256,
                memory=512,
                environment={"FORMAT": "csv"},
            )
        },
        environment={"LOG_LEVEL": "debug"},
        not_secret=["LOG_LEVEL"],
        secrets={"PASSWORD": f"{SECRET}:password::"},
        secrets_kms_key_arns=[KEY],
        restart_on_secret_change=True,
        permissions=[Permission(actions=["sqs:ListQueues"], resources=["*"], reason="it supports no resource")],
        environment_files=["arn:aws:s3:::acme-settings/shop.env"],
        read_only_root_filesystem=False,
        writable_paths=["/var/cache/shop"],
        volumes={
            "uploads": EfsVolume(
                file_system_id="fs-0123456789abcdef0",
                path="/data",
                read_only=True,
                directory=EfsDirectory(path="/uploads", user_id=1001, group_id=1002, permissions="0750"),
                security_group_id="sg-0a",
            ),
            "shared": EfsVolume(
                file_system_id="fs-0123456789abcdef0", path="/shared", access_point_id="fsap-0123456789abcdef0"
            ),
        },
        ephemeral_storage_gib=50,
        container=Container(
            user="1000",
            drop_capabilities=["ALL"],
            add_capabilities=["SYS_PTRACE"],
            ulimits={"nofile": Ulimit(soft=1024, hard=4096)},
            init_process=False,
        ),
        container_health_check=ContainerHealthCheck(
            command=["CMD-SHELL", "test -f /tmp/ok"],
            interval_seconds=10,
            timeout_seconds=3,
            retries=2,
            start_period_seconds=20,
        ),
        sidecars={
            "otel": Sidecar(
                image="public.ecr.aws/otel:1",
                entrypoint=["/otel"],
                command=["--config", "/etc/otel"],
                environment={"LEVEL": "info"},
                secrets={"TOKEN": SECRET},
                port=4317,
                essential=False,
                cpu=64,
                memory_mib=128,
                memory_reservation_mib=64,
                health_check=ContainerHealthCheck(command=["CMD", "/otel", "check"]),
                depends_on={"init": "START"},
                stop_timeout_seconds=10,
                user="1000",
                read_only_root_filesystem=False,
                writable_paths=["/tmp"],
                mounts={"uploads": "/uploads"},
                credentials_secret_arn="arn:aws:secretsmanager:eu-west-1:123456789012:secret:hub-a1b2c3",
            ),
            "init": Sidecar(image="public.ecr.aws/init:1", essential=False),
        },
        depends_on={"init": "SUCCESS"},
        service_connect=ServiceConnect(
            namespace_arn="arn:aws:servicediscovery:eu-west-1:123456789012:namespace/ns-0123456789abcdef",
            name="orders",
            port=9090,
            client_port=80,
            protocol="http2",
            clients={"shop": "sg-0b"},
            request_timeout_seconds=30,
            idle_timeout_seconds=600,
        ),
        logging=FireLens(
            options={"Name": "datadog"},
            secret_options={"apikey": SECRET},
            config_file="/etc/own.conf",
            image="public.ecr.aws/fluent-bit:1",
            memory_reservation_mib=100,
        ),
        target_container="otel",
        ecs_exec=True,
        health_check_grace_seconds=90,
        stop_timeout_seconds=20,
        health_check=HealthCheck(
            success_codes="200,301", interval_seconds=20, timeout_seconds=10, healthy_count=3, unhealthy_count=4
        ),
        protocol_version="HTTP2",
        drain_seconds=120,
        stickiness=Stickiness(duration_seconds=3600, cookie_name="SESSION"),
        paths=["/api/*"],
        hosts=["shop.example.com", "*.example.org"],
        headers={"X-Version": ["beta*"]},
        listener_priority=7,
        routes={
            "admin": Route(
                port=9090,
                target_container="otel",
                paths=["/admin/*"],
                hosts=["admin.example.com"],
                headers={"X-Admin": ["1"]},
                health_path="/ready",
                health_check=HealthCheck(interval_seconds=10),
                protocol_version="HTTP2",
                listener_priority=6,
            )
        },
        url="https://shop.example.com",
        error_alarm=ErrorAlarm(percent=2, requests=100, minutes=3),
        alarm_names=["latency"],
        keep_verified=3,
        retain_release_state=False,
        log_retention_days=7,
    )
    balancer = LoadBalancerKeys(
        certificate_arn="arn:aws:acm:eu-west-1:123456789012:certificate/1",
        internal=True,
        ingress_cidrs=["10.0.0.0/8"],
        test_listener=Listener(ingress_cidrs=["10.1.0.0/16"], port=9443),
        deletion_protection=True,
        idle_timeout_seconds=30,
        waf_acl_arn=WEB_ACL,
        access_logs=AccessLogs(bucket="acme-logs", prefix="shop", days=90),
    )
    commands: dict[str, Any] = {
        "commands": ["make smoke"],
        "reports": [Report(name="smoke", files=["smoke.xml"])],
        "environment": {"A": "1"},
        "not_secret": ["A"],
        "secrets": {"TOKEN": SECRET},
        "secrets_kms_key_arns": [KEY],
        "image": "example/tools:1",
        "compute_type": "BUILD_GENERAL1_MEDIUM",
        "privileged": True,
        "timeout_minutes": 20,
        "log_retention_days": 7,
    }
    link = "https://github.com/acme/storefront/compare/{live_commit}...{commit}"
    assert settings(FULL) == Settings(
        name="storefront-dev",
        source=Connection(
            arn=GITHUB,
            repository="acme/storefront",
            branch="release",
            push=[
                Push(branches=Filter(includes=["release"]), file_paths=Filter(excludes=["docs/**"])),
                Push(tags=Filter(includes=["v*"], excludes=["*-rc*"])),
            ],
            full_clone=True,
            submodule_repositories=["acme/theme"],
        ),
        image_repository=None,
        build=BuildSettings(
            context="app",
            dockerfile="docker/Dockerfile",
            target="release",
            cpu_architectures=["ARM64", "X86_64"],
            secrets={"npmrc": SECRET},
            pull_repositories=["arn:aws:ecr:eu-west-1:123456789012:repository/base/python"],
            registry_logins={"docker.io": SECRET},
            docker_hub_mirror="public.ecr.aws/docker",
            sbom=Sbom(generator="example/generator:1"),
            permissions=[
                Permission(actions=["sqs:SendMessage"], resources=["arn:aws:sqs:eu-west-1:123456789012:orders"])
            ],
            secrets_kms_key_arns=[KEY],
            test_commands=["make test"],
            reports=[Report(name="unit", files=["build/*.xml"], format="TESTNGXML")],
            build_args={"VERSION": "1"},
            not_secret=["VERSION"],
            compute_type="BUILD_GENERAL1_LARGE",
            timeout_minutes=45,
            builder_image="example/buildkit:1",
            log_retention_days=14,
        ),
        registry=RegistryArgs(
            keep_images=50,
            untagged_days=3,
            kms_key_arn=KEY,
            pull_principals=["arn:aws:iam::111122223333:role/x"],
            expire_days=90,
            force_delete=True,
            force_delete_environments=["staging", "prod"],
        ),
        cpu_architecture="ARM64",
        stages=[
            StageSettings(
                environment_name="staging",
                service_name="storefront-staging",
                service=service,
                load_balancer=balancer,
                strategy=Rolling(minimum_healthy_percent=50, maximum_percent=150, deadline_minutes=20),
                approval=Approval(notify=["ops@example.com"], timeout_minutes=60, link=link),
                tests=StageTests(**commands, in_vpc=True),
                window=Window(cron="* * 9-16 ? * MON-FRI", time_zone="Europe/Berlin"),
            )
        ],
        network=ExistingNetwork(
            vpc_id="vpc-0a", public_subnet_ids=["subnet-1", "subnet-2"], private_subnet_ids=["subnet-3"]
        ),
        cluster=UsedCluster(name="shared"),
        scan_gate=ScanGate(
            threshold="MEDIUM",
            allow=[
                AllowedFinding(id="CVE-2026-12345", reason="no fix upstream yet", until=datetime.date(2026, 12, 31))
            ],
            timeout_minutes=40,
            enhanced=True,
        ),
        code_scans=[
            CodeScan(**commands, name="lint"),
            CodeScan(name="style", commands=["make style"], image="example/tools:1"),
        ],
        pull_requests=PullRequestSettings(
            **{key: value for key, value in commands.items() if not key.startswith(("secrets", "reports"))},
            scans=["style"],
            branches=["main", "release"],
            approval="ALL_PULL_REQUESTS",
        ),
        notifications=Notifications(
            emails=["ops@example.com"],
            slack=Slack(team_id="T0123ABC4", channel_id="C0123ABC4"),
            teams=Teams(tenant_id=UUID, team_id=UUID, channel_id="19%3ab6ef%40thread.tacv2"),
        ),
        pipeline=PipelineSettings(
            execution_mode="QUEUED", variables={"LEVEL": "info"}, not_secret=["LEVEL"], parallel_scans=True
        ),
        roles=RoleDefaults(permissions_boundary_arn="arn:aws:iam::123456789012:policy/boundary", path="/teams/shop/"),
        audit=AuditTrailArgs(retention_days=30, lock="COMPLIANCE", all_regions=True),
    )


def test_the_complete_file_omits_no_key() -> None:
    stage, gate, channels = FULL["stages"][0], FULL["scanGate"], FULL["notifications"]
    assert keys(ServiceSettings) == FULL["service"].keys()
    assert keys(QueueBacklog) == FULL["service"]["tasks"]["queues"][0].keys()
    assert keys(MetricTarget) == FULL["service"]["tasks"]["metrics"][0].keys()
    assert keys(ScheduledBounds) == FULL["service"]["tasks"]["schedules"][0].keys()
    assert keys(Tasks) == FULL["service"]["tasks"].keys()
    assert keys(Process) == FULL["service"]["processes"]["api"].keys()
    assert keys(HealthCheck) == FULL["service"]["healthCheck"].keys()
    assert keys(Container) == FULL["service"]["container"].keys()
    assert keys(Ulimit) == FULL["service"]["container"]["ulimits"]["nofile"].keys()
    assert keys(FireLens) == FULL["service"]["logging"]["fireLens"].keys()
    assert keys(ServiceConnect) == FULL["service"]["serviceConnect"].keys()
    assert keys(Route) == FULL["service"]["routes"]["admin"].keys()
    assert keys(Sidecar) == FULL["service"]["sidecars"]["otel"].keys()
    volumes = FULL["service"]["volumes"]
    assert keys(EfsVolume) == volumes["uploads"].keys() | volumes["shared"].keys()
    assert keys(EfsDirectory) == volumes["uploads"]["directory"].keys()
    assert keys(ContainerHealthCheck) == FULL["service"]["containerHealthCheck"].keys()
    assert keys(Migration) == FULL["service"]["migration"].keys()
    assert keys(Job) == FULL["service"]["jobs"]["report"].keys()
    assert keys(ErrorAlarm) == FULL["service"]["errorAlarm"].keys()
    # A buildspec is rejected together with the settings of Slipway's own build.
    assert keys(BuildSettings) == FULL["build"].keys() | {"buildspec"}
    assert keys(Report) == FULL["build"]["reports"][0].keys()
    assert keys(RegistryArgs) == FULL["registry"].keys()
    # A domain makes a certificate of its own, and an existing load balancer has one.
    assert keys(LoadBalancerKeys) == FULL["loadBalancer"].keys() | {"domain", "existing"}
    assert keys(AccessLogs) == FULL["loadBalancer"]["accessLogs"].keys()
    assert keys(Domain) == {"names", "zone"}
    assert keys(Listener) == FULL["loadBalancer"]["testListener"].keys()
    # A connection is an existing one or a new one.
    assert keys(Connection) == FULL["source"]["connection"].keys() | {"providerType", "hostArn"}
    assert keys(Push) == {key for push in FULL["source"]["connection"]["push"] for key in push}
    # The function that finishes has no more settings than the one that deploys.
    assert keys(Rolling) == stage["strategy"]["rolling"].keys() | {"ecsAction"}
    # The tests of the stage are in the VPC.
    assert keys(FargateSpot) == FULL["service"]["capacity"]["fargateSpot"].keys()
    assert keys(UsedCluster) == FULL["cluster"]["existing"].keys()
    assert keys(ExistingNetwork) == FULL["network"]["existing"].keys() | {"assignPublicIp"}
    assert keys(Approval) == stage["approval"].keys()
    assert keys(StageTests) == stage["tests"].keys()
    assert keys(Window) == stage["window"].keys()
    assert keys(ScanGate) == gate.keys()
    assert keys(AllowedFinding) == gate["allow"][0].keys()
    assert keys(CodeScan) == FULL["codeScans"][0].keys()
    assert keys(PullRequestSettings) == FULL["pullRequests"].keys()
    assert (keys(Notifications), keys(Slack), keys(Teams)) == (
        channels.keys(),
        channels["slack"].keys(),
        channels["teams"].keys(),
    )
    assert keys(PipelineSettings) == FULL["pipeline"].keys()
    assert keys(FeatureBranch) == {"imageDays"}
    assert keys(RoleDefaults) == FULL["roles"].keys()
    assert keys(AuditTrailArgs) == FULL["audit"].keys()


HOST = "arn:aws:codeconnections:eu-west-1:123456789012:host/ghes/1"


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        (
            {"codecommit": {"repository": "web", "branch": "next", "fullClone": True}},
            CodeCommit(repository="web", branch="next", full_clone=True),
        ),
        (
            {"connection": {"providerType": "GitHub", "repository": "a/b"}},
            Connection(provider_type="GitHub", repository="a/b"),
        ),
        ({"connection": {"hostArn": HOST, "repository": "a/b"}}, Connection(host_arn=HOST, repository="a/b")),
        (
            {"s3": {"bucket": "sources", "key": "a.zip", "kmsKeyArn": KEY}},
            S3Object(bucket="sources", key="a.zip", kms_key_arn=KEY),
        ),
    ],
    ids=["codecommit", "provider", "host", "s3"],
)
def test_the_other_kinds_of_sources(source: dict[str, Any], kind: Any) -> None:
    assert (settings({"source": source}).source, settings({"source": source}).image_repository) == (kind, None)


def test_an_image_as_source_is_built_by_another_stack() -> None:
    read = settings({"source": IMAGE}, stack="prod")
    assert read.source == EcrImage(repository="storefront-dev", tag="verified-dev")
    assert read.image_repository == "storefront-dev"


def test_pull_requests_that_started_the_pipeline_have_a_key_of_their_own() -> None:
    requests = [{"events": ["OPEN"], "branches": {"includes": ["main"]}}]
    assert args(source(pullRequests=requests)) == [
        "slipway:source.connection.pullRequests is not a key any more: write slipway:pullRequests, which checks them "
        "in a project without rights: the pipeline, which can push images, does not build them any more"
    ]


HOOK = {"stages": ["PRE_SCALE_UP"], "functionArn": FUNCTION, "timeoutMinutes": 5, "onTimeout": "CONTINUE"}
TIMERS = {"bakeMinutes": 20, "deadlineMinutes": 15, "hooks": [HOOK]}
READ: dict[str, Any] = {
    "bake_minutes": 20,
    "deadline_minutes": 15,
    "hooks": [Hook(stages=["PRE_SCALE_UP"], function_arn=FUNCTION, timeout_minutes=5, on_timeout="CONTINUE")],
}
CODEDEPLOY = {
    "deploymentConfig": "CodeDeployDefault.ECSAllAtOnce",
    "onReady": "STOP_DEPLOYMENT",
    "waitMinutes": 30,
    "terminationMinutes": 5,
    "deadlineMinutes": 15,
}


@pytest.mark.parametrize(
    ("strategy", "kind"),
    [
        ({"rolling": {"ecsAction": True}}, Rolling(ecs_action=True)),
        ({"blueGreen": TIMERS}, BlueGreen(**READ)),
        (
            {"canary": {**TIMERS, "percent": 2.5, "canaryBakeMinutes": 3}},
            Canary(**READ, percent=2.5, canary_bake_minutes=3),
        ),
        (
            {"linear": {**TIMERS, "stepPercent": 25, "stepBakeMinutes": 3}},
            Linear(**READ, step_percent=25, step_bake_minutes=3),
        ),
        (
            {"codeDeployBlueGreen": CODEDEPLOY},
            CodeDeployBlueGreen(
                deployment_config="CodeDeployDefault.ECSAllAtOnce",
                on_ready="STOP_DEPLOYMENT",
                wait_minutes=30,
                termination_minutes=5,
                deadline_minutes=15,
            ),
        ),
        ({"blueGreen": {}}, BlueGreen()),
        ({"canary": {}}, Canary()),
        ({"linear": {}}, Linear()),
        ({"codeDeployBlueGreen": {}}, CodeDeployBlueGreen()),
    ],
    ids=lambda value: "" if isinstance(value, dict) else type(value).__name__,
)
def test_the_kinds_of_strategies(strategy: dict[str, Any], kind: Any) -> None:
    [stage] = settings({**LEAST, "stages": [{"strategy": strategy}]}).stages
    assert stage.strategy == kind
    [(name, options)] = strategy.items()
    if len(options) > 1:
        assert keys(type(kind)) == options.keys()


def test_the_other_kinds_of_builds_and_networks() -> None:
    read = settings(
        {
            **LEAST,
            "build": {"buildspec": "ci/buildspec.yml"},
            "network": {
                "new": {
                    "cidr": "10.8.0.0/16",
                    "zones": 3,
                    "natGateways": "OnePerAz",
                    "vpcEndpoints": {"services": ["sqs"]},
                }
            },
            "cluster": {"new": {"containerInsights": "enhanced"}},
        }
    )
    assert read.build == BuildSettings(buildspec="ci/buildspec.yml")
    assert read.network == NewNetwork(
        cidr="10.8.0.0/16", zones=3, nat_gateways="OnePerAz", vpc_endpoints=VpcEndpoints(services=["sqs"])
    )
    assert read.cluster == NewCluster(container_insights="enhanced")


def test_public_subnets_are_needed_only_for_what_is_public() -> None:
    def network(file: dict[str, Any]) -> ExistingNetwork:
        found = settings({**LEAST, **file}).network
        assert isinstance(found, ExistingNetwork)
        return found

    private = {"vpcId": "vpc-0a", "privateSubnetIds": ["subnet-3", "subnet-4"]}
    for file in (
        {"network": {"existing": private}, "loadBalancer": {"internal": True}},
        {"network": {"existing": {**private, "privateSubnetIds": ["subnet-3"]}}, "service": {"port": False}},
    ):
        assert network(file).public_subnet_ids == ()
    public = {"vpcId": "vpc-0a", "publicSubnetIds": ["subnet-1", "subnet-2"], "assignPublicIp": True}
    assert network({"network": {"existing": public}}).private_subnet_ids == ()


@pytest.mark.parametrize(
    "until", ["2026-12-31", "2026-12-31T00:00:00Z", "2026-12-31T00:00:00.000Z", "2026-12-31 00:00:00 +0000 UTC"]
)
def test_a_day_is_read_in_the_format_that_pulumi_passes(until: str) -> None:
    finding = {"id": "CVE-2026-1", "reason": "no fix upstream yet", "until": until}
    gate = settings({**LEAST, "scanGate": {"allow": [finding]}}).scan_gate
    assert gate == ScanGate(
        allow=[AllowedFinding(id="CVE-2026-1", reason="no fix upstream yet", until=datetime.date(2026, 12, 31))]
    )


def test_a_yaml_date_reaches_the_gate() -> None:
    finding = {"id": "CVE-2026-1", "reason": "no fix upstream yet", "until": datetime.date(2026, 12, 31)}
    resources = deploy_stack_file("dev", {"slipway:scanGate": {"allow": [finding]}})
    code = named(resources, "storefront-dev-scan-gate", ":Function").inputs["code"]
    assert json.loads(code.assets["release/scan_policy.json"].text)["allow"] == [{**finding, "until": "2026-12-31"}]


def test_a_string_that_looks_like_a_date_stays_a_string() -> None:
    service = {"environment": {"SINCE": "2026-12-31T00:00:00Z"}}
    [stage] = settings({**LEAST, "service": service}).stages
    assert stage.service.environment == {"SINCE": "2026-12-31T00:00:00Z"}


@pytest.mark.parametrize(
    "until",
    ["soon", "2026-12-31T10:30:00Z", 20261231],
)
def test_an_invalid_day_is_reported(until: Any) -> None:
    finding = {"id": "CVE-2026-1", "reason": "no fix upstream yet", "until": until}
    assert args({"scanGate": {"allow": [finding]}}) == [
        f"slipway:scanGate.allow[0].until must be a day, such as 2026-12-31, got {until!r}"
    ]


@pytest.mark.parametrize("gate", ["on", {"allow": "CVE-1"}, {"allow": ["CVE-1"]}])
def test_a_gate_of_another_type_is_reported(gate: Any) -> None:
    [line] = args({"scanGate": gate})
    assert line.startswith("slipway:scanGate")


def test_the_program_passes_on_every_setting_of_a_stack_file() -> None:
    resources = deploy_stack_file("dev", {f"slipway:{key}": value for key, value in FULL.items()})
    pipeline = only(resources, "aws:codepipeline/pipeline:Pipeline").inputs
    service = named(resources, "storefront-staging", "ecs/service:Service").inputs
    template = named(resources, "storefront-staging-template", ":TaskDefinition").inputs
    project = named(resources, "storefront-dev", ":Project").inputs
    function = named(resources, "storefront-staging-release", ":Function").inputs
    variables = function["environment"]["variables"]
    balancer = only(resources, "aws:lb/loadBalancer:LoadBalancer").inputs
    stages = [(stage["name"], [action["name"] for action in stage["actions"]]) for stage in pipeline["stages"]]

    assert stages == [
        ("Source", ["Source"]),
        ("Build", ["Build-ARM64", "Build-X86_64", "Index"]),
        ("Scan", ["lint", "style", "Image"]),
        ("staging", ["Inspect", "Approve", "Deploy"]),
    ]
    assert pipeline["executionMode"] == "QUEUED"
    assert [variable["name"] for variable in pipeline["variables"]] == ["LEVEL", "IMAGE_DIGEST", "REBUILD"]
    assert [sorted(push) for push in pipeline["triggers"][0]["gitConfiguration"]["pushes"]] == [
        ["branches", "filePaths"],
        ["tags"],
    ]
    assert pipeline["stages"][-1]["beforeEntry"]["condition"]["result"] == "FAIL"
    assert pipeline["stages"][0]["actions"][0]["configuration"]["FullRepositoryId"] == "acme/storefront"
    assert (service["name"], service["networkConfiguration"]["subnets"]) == ("storefront-staging", ["subnet-3"])
    assert (service["deploymentMinimumHealthyPercent"], service["deploymentMaximumPercent"]) == (50, 150)
    assert (template["cpu"], template["runtimePlatform"]["cpuArchitecture"]) == ("1024", "ARM64")
    assert (project["buildTimeout"], project["environment"]["type"]) == (45, "ARM_CONTAINER")
    assert (variables["ENVIRONMENT"], variables["KEEP_VERIFIED"]) == ("staging", "3")
    assert variables["SERVICE_URL"] == "https://shop.example.com"
    assert (balancer["idleTimeout"], balancer["subnets"]) == (30, ["subnet-1", "subnet-2"])
    assert only(resources, "aws:ecr/repository:Repository").inputs["forceDelete"] is True
    assert named(resources, "storefront-staging-tests", ":Project").inputs["buildTimeout"] == 20
    assert named(resources, "storefront-dev-lint", ":Project").inputs["buildTimeout"] == 20
    assert len(of_type(resources, "aws:chatbot/slackChannelConfiguration:SlackChannelConfiguration")) == 1
    assert len(of_type(resources, "aws:chatbot/teamsChannelConfiguration:TeamsChannelConfiguration")) == 1
    assert len(of_type(resources, "aws:lambda/invocation:Invocation")) == 4
    assert of_type(resources, "awsx:ec2:Vpc") == []


# Several stages

TWO = [
    {"name": "staging"},
    {
        "name": "production",
        "approval": {},
        "strategy": {"canary": {}},
        "service": {"cpu": 512, "memory": 1024, "environment": {"LEVEL": "warn"}},
        "loadBalancer": {"deletionProtection": True},
    },
]


def test_a_stage_overrides_some_keys_and_has_the_others_of_the_file() -> None:
    read = settings(
        {
            **LEAST,
            "service": {"port": 3000, "cpu": 256, "environment": {"LEVEL": "info", "COLOR": "blue"}},
            "loadBalancer": {"internal": True},
            "stages": TWO,
        }
    )
    staging, production = read.stages
    assert staging == dataclasses.replace(
        STAGE,
        environment_name="staging",
        service_name="storefront-staging",
        service=ServiceSettings(port=3000, environment={"LEVEL": "info", "COLOR": "blue"}),
        load_balancer=LoadBalancerKeys(internal=True),
    )
    # Entries are added to a map, and other keys replaced.
    assert production == dataclasses.replace(
        STAGE,
        environment_name="production",
        service_name="storefront-production",
        service=ServiceSettings(port=3000, cpu=512, memory=1024, environment={"LEVEL": "warn", "COLOR": "blue"}),
        load_balancer=LoadBalancerKeys(internal=True, deletion_protection=True),
        strategy=Canary(),
        approval=Approval(),
    )


def test_a_stage_changes_adds_and_removes_processes_and_jobs_by_name() -> None:
    report = {"command": ["report"], "schedule": "rate(1 hour)", "environment": {"FORMAT": "csv", "SIZE": "1"}}
    general = {
        "processes": {
            "worker": {
                "command": ["work"],
                "tasks": {"min": 2, "max": 5},
                "environment": {"QUEUE": "low", "SIZE": "1"},
            },
            "mail": {"command": ["mail"]},
        },
        "jobs": {"report": report, "clean": report},
        "migration": {"command": ["migrate"], "environment": {"LOCK": "1"}},
        "notSecret": ["FORMAT", "LOCK"],
    }
    own = {
        "processes": {
            "worker": {"tasks": {"min": 1}, "environment": {"QUEUE": "high", "SIZE": False}},
            "mail": False,
            "api": {"port": 81, "paths": ["/api"], "listenerPriority": 7},
        },
        "jobs": {"report": {"schedule": "rate(1 day)", "environment": {"FORMAT": False}}, "clean": False},
        "migration": {"timeoutMinutes": 5},
    }
    off = {"migration": False, "processes": {"worker": False, "mail": False}, "port": False}
    stages = [{"name": "a"}, {"name": "b", "service": own}, {"name": "c", "service": off}]
    first, second, third = settings({**LEAST, "service": general, "stages": stages}).stages
    job = Job(command=["report"], schedule="rate(1 hour)", environment={"FORMAT": "csv", "SIZE": "1"})
    environment = {"QUEUE": "low", "SIZE": "1"}
    worker = Process(command=["work"], tasks=Tasks(min=2, max=5), environment=environment)
    assert first.service == ServiceSettings(
        processes={"worker": worker, "mail": Process(command=["mail"])},
        jobs={"report": job, "clean": job},
        migration=Migration(command=["migrate"], environment={"LOCK": "1"}),
        not_secret=["FORMAT", "LOCK"],
    )
    assert second.service == ServiceSettings(
        processes={
            "worker": Process(command=["work"], tasks=Tasks(min=1, max=5), environment={"QUEUE": "high"}),
            "api": Process(port=81, paths=["/api"], listener_priority=7),
        },
        jobs={"report": Job(command=["report"], schedule="rate(1 day)", environment={"SIZE": "1"})},
        migration=Migration(command=["migrate"], environment={"LOCK": "1"}, timeout_minutes=5),
        not_secret=["LOCK"],
    )
    assert third.service == ServiceSettings(port=None, jobs={"report": job, "clean": job}, not_secret=["FORMAT"])
    assert [stage.load_balancer for stage in (first, second, third)] == [LoadBalancerKeys()] * 2 + [None]


def merged(general: dict[str, Any], own: dict[str, Any]) -> Any:
    """What a stage has that has these settings of its own."""
    network = {"existing": {**EXISTING["existing"], "publicSubnetIds": ["subnet-1", "subnet-2"]}}
    [stage] = settings({**LEAST, "network": network, **general, "stages": [own]}).stages
    return stage


def test_a_key_of_a_stage_takes_the_place_of_the_one_that_it_excludes() -> None:
    def balancer(general: dict[str, Any], own: dict[str, Any]) -> Any:
        url = {"service": {"url": "https://shop.example.com"}}
        return merged({"loadBalancer": general, **url}, {"loadBalancer": own}).load_balancer

    logs = {"accessLogs": {"bucket": "acme-logs"}}
    assert balancer({"accessLogs": {"days": 30}}, logs).access_logs == AccessLogs(bucket="acme-logs")
    arn = f"{ELB}:loadbalancer/app/shared/0a1b2c3d"
    existing = balancer({"existing": {"name": "shared", "listenerPort": 80}}, {"existing": {"arn": arn}}).existing
    assert existing == ExistingLoadBalancerArgs(arn=arn, listener_port=80)
    changed = balancer({"idleTimeoutSeconds": 120}, {"existing": {"name": "shared"}})
    assert changed == LoadBalancerKeys(existing=ExistingLoadBalancerArgs(name="shared"))
    domain = balancer({"certificateArn": CERTIFICATE}, {"domain": {"names": ["shop.example.com"]}})
    assert (domain.certificate_arn, domain.domain) == (None, Domain(names=["shop.example.com"]))
    efs = {"fileSystemId": "fs-0123456789abcdef0", "path": "/data", "directory": {"path": "/a"}}
    point = {"volumes": {"data": {"accessPointId": "fsap-0123456789abcdef0"}}}
    [volume] = merged({"service": {"volumes": {"data": efs}}}, {"service": point}).service.volumes.values()
    assert (volume.directory, volume.access_point_id) == (None, "fsap-0123456789abcdef0")


def test_what_a_stage_removes_is_removed_from_not_secret_with_its_commands() -> None:
    general = {"notSecret": ["commands"], "migration": {"command": ["run", "AKIA" + "IOSFODNN7EXAMPLE"]}}
    assert merged({"service": general}, {"service": {"migration": False}}).service.not_secret == []
    assert merged({"service": general}, {"service": {"cpu": 512, "memory": 1024}}).service.not_secret == ["commands"]


def test_a_blank_section_of_a_stage_has_the_settings_of_all_stages() -> None:
    [line] = args({"service": {"stickiness": {}}, "stages": [{"service": {"stickiness": None}}]})
    assert line == ("slipway:stages[0].service.stickiness is blank: write false to turn it off, or remove the key")


def test_a_stage_has_a_load_balancer_if_any_of_its_processes_has_a_port() -> None:
    api = {"port": 81, "paths": ["/api"], "listenerPriority": 7}
    service = {"port": False, "processes": {"api": api}}
    stages = [{"name": "a"}, {"name": "b", "service": {"processes": {"api": {"port": False, "paths": False}}}}]
    assert args({"service": service, "stages": stages}) == [
        "slipway:stages[1].service.processes.api.port is required with listenerPriority"
    ]
    stages[1] = {"name": "b", "service": {"processes": {"api": False}}}
    served, worker = settings({**LEAST, "service": service, "stages": stages}).stages
    assert (served.load_balancer, worker.load_balancer) == (LoadBalancerKeys(), None)


def test_a_stage_cannot_remove_a_process_that_the_file_does_not_have() -> None:
    stage = {"service": {"processes": {"woker": False}}}
    assert args({"service": {"processes": {"worker": {}}}, "stages": [stage]}) == [
        "slipway:stages[0].service.processes.woker must be a map, got False"
    ]


def test_a_mistake_in_a_process_is_reported_once_for_all_stages_and_with_the_others() -> None:
    processes = {"Worker": {"cpu": 3}, "api": {"port": 81, "prot": 1}, "mail": 1, "web": {"cpu": 512}}
    job = {"command": [], "schedule": "rate(1 hour)"}
    stages = [{"name": "a"}, {"name": "b", "service": {"processes": {"api": {"paths": ["/api"]}}}}]
    assert args({"service": {"processes": processes, "jobs": {"a": job}}, "stages": stages}) == [
        f"slipway:service.processes: the name 'Worker' must {A_NAME}",
        "slipway:service.processes.Worker.cpu must be one of [256, 512, 1024, 2048, 4096, 8192, 16384], got 3",
        f"slipway:service.processes.api.prot is not a key (did you mean port?); possible here: {PROCESS_KEYS}",
        "slipway:service.processes.mail must be a map, got 1",
        "slipway:service.jobs.a.command must have at least 1 item, got []",
        "slipway:service.processes.web.memory must be one of [1024, 2048, 3072, 4096] with cpu=512, got 512",
        "slipway:service.processes.api.paths, hosts or headers are required with a port: those of the service are for "
        "web",
    ]


def test_a_stage_can_be_a_worker_while_another_serves_requests() -> None:
    web, jobs = settings({**LEAST, "stages": [{"name": "web"}, {"name": "jobs", "service": {"port": False}}]}).stages
    assert (web.service.port, web.load_balancer) == (8080, LoadBalancerKeys())
    assert (jobs.service.port, jobs.load_balancer) == (None, None)


def test_a_mistake_that_applies_to_all_stages_is_reported_once() -> None:
    stages = [{"name": "a", "service": {"keepVerified": 3}}, {"name": "b", "service": {"stopTimeoutSeconds": 5}}]
    assert args({"service": {"port": 0, "tasks": {"min": 0}}, "stages": stages}) == [
        "slipway:service.port must be between 1 and 65535, got 0",
        "slipway:service.tasks.min must be between 1 and 5000, got 0",
    ]
    assert args({"loadBalancer": {"idleTimeoutSeconds": 0}, "stages": [{"loadBalancer": {"internal": True}}]}) == [
        "slipway:loadBalancer.idleTimeoutSeconds must be between 1 and 4000, got 0"
    ]
    assert args({"service": {"prot": 1}, "stages": stages}) == [
        f"slipway:service.prot is not a key (did you mean port?); possible here: {SERVICE_KEYS}"
    ]


def test_a_mistake_in_an_override_is_reported_for_its_stage() -> None:
    stages = [{"name": "a", "service": {"port": 99_999}}, {"name": "b", "service": {"memory": 1}}, {"name": "c"}]
    assert sorted(args({"service": {"port": 0}, "stages": stages})) == [
        "slipway:service.port must be between 1 and 65535, got 0",
        "slipway:stages[0].service.port must be between 1 and 65535, got 99999",
        "slipway:stages[1].service.memory must be one of [512, 1024, 2048] with cpu=256, got 1",
    ]


def test_the_environment_is_the_stack_unless_the_stage_has_a_name() -> None:
    [stage] = settings(LEAST, stack="prod").stages
    assert (stage.environment_name, stage.service_name) == ("prod", "storefront-prod")
    [stage] = settings({**LEAST, "stages": [{"name": "eu"}]}, stack="prod").stages
    assert (stage.environment_name, stage.service_name) == ("eu", "storefront-eu")


# A stack for a feature branch


def test_the_images_of_a_feature_branch_expire_soon() -> None:
    def expiry(**parts: Any) -> RegistryArgs:
        return settings({**LEAST, **parts}, stack="feature-x").registry

    assert expiry(featureBranch={}) == RegistryArgs(
        expire_days=14, force_delete=True, force_delete_environments=["feature-x"]
    )
    assert expiry(featureBranch={"imageDays": 3}, registry={"keepImages": 50}) == RegistryArgs(
        keep_images=50, expire_days=3, force_delete=True, force_delete_environments=["feature-x"]
    )
    assert expiry() == RegistryArgs()


def test_a_feature_branch_may_only_build() -> None:
    assert settings({**LEAST, "featureBranch": {}, "stages": []}, stack="feature-x").stages == []


SERVICE_KEYS = ", ".join(to_camel(field.name) for field in dataclasses.fields(ServiceSettings))
LOG_DAYS = "[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653]"
BRANCH = "the name of one branch, without spaces and patterns, of at most 255 characters"
STAGE_KEYS = "name, approval, strategy, tests, window, service, loadBalancer"
KINDS = "rolling, blueGreen, canary, linear, codeDeployBlueGreen"
EVERY_STAGE = (
    "['RECONCILE_SERVICE', 'PRE_SCALE_UP', 'POST_SCALE_UP', 'TEST_TRAFFIC_SHIFT', 'POST_TEST_TRAFFIC_SHIFT', "
    "'PRODUCTION_TRAFFIC_SHIFT', 'POST_PRODUCTION_TRAFFIC_SHIFT']"
)


PROCESS_KEYS = ", ".join(to_camel(field.name) for field in dataclasses.fields(Process))
A_NAME = (
    "be a name of a-z 0-9 and single - between them, starting with a letter, other than template, migration, release "
    "and names that end in -template, of at most 20 characters"
)


def rolling(**args: int) -> dict[str, Any]:
    return strategy("rolling", **args)


def strategy(kind: str, **args: Any) -> dict[str, Any]:
    return {"stages": [{"strategy": {kind: args}}]}


def source(**args: Any) -> dict[str, Any]:
    """A connection that exists, as source."""
    keys = {"arn": GITHUB, "repository": "acme/web", **args}
    return {"source": {"connection": {key: value for key, value in keys.items() if value is not None}}}


CERTIFICATE = "arn:aws:acm:eu-west-1:123456789012:certificate/1"
REPORT: dict[str, Any] = {"name": "unit", "files": ["build/*.xml"]}
SMOKE: dict[str, Any] = {"commands": ["make smoke"]}
ELB = "arn:aws:elasticloadbalancing:eu-west-1:123456789012"
LONG_NAME = f"{'a' * 61}.com"
EXISTING: dict[str, Any] = {"existing": {"vpcId": "vpc-0a", "privateSubnetIds": ["subnet-3", "subnet-4"]}}


def finding(**args: str) -> dict[str, str]:
    return {"id": "CVE-2026-1", "reason": "no fix upstream yet", "until": "2026-12-31", **args}


RULES: dict[str, tuple[dict[str, Any], str]] = {
    # source
    "a source is required": ({"source": None}, "source is required"),
    "a source is one of several": (
        {"source": {}},
        "source must have exactly one of codecommit, connection, s3, image, got none",
    ),
    "there are not two sources": (
        {
            "source": {
                "codecommit": {"repository": "a"},
                "connection": {"arn": GITHUB, "repository": "acme/a"},
            }
        },
        "source must have exactly one of codecommit, connection, s3, image, got codecommit, connection",
    ),
    "a repository is required": ({"source": {"codecommit": {}}}, "source.codecommit.repository is required"),
    "a repository of CodeCommit has a plain name": (
        {"source": {"codecommit": {"repository": "acme/web"}}},
        "source.codecommit.repository must be a name of A-Z a-z 0-9 . _ -, without .git at its end, of at most 100 "
        "characters, got 'acme/web'",
    ),
    "a branch is no pattern": (
        {"source": {"codecommit": {"repository": "web", "branch": "v*"}}},
        f"source.codecommit.branch must be {BRANCH}, got 'v*'",
    ),
    "a connection has an ARN": (
        {"source": {"connection": {"arn": "github", "repository": "acme/web"}}},
        "source.connection.arn must be the ARN of a connection, such as "
        "arn:aws:codeconnections:eu-west-1:123456789012:connection/0f-1, got 'github'",
    ),
    "a repository of a connection has an owner": (
        {"source": {"connection": {"arn": GITHUB, "repository": "web"}}},
        "source.connection.repository must be <owner>/<repository>, without the provider's address and .git, of at "
        "most 1000 characters, got 'web'",
    ),
    "a branch of a connection is no pattern": (
        {"source": {"connection": {"arn": GITHUB, "repository": "acme/web", "branch": "a b"}}},
        f"source.connection.branch must be {BRANCH}, got 'a b'",
    ),
    "a connection exists or is made": (
        source(arn=None),
        "source.connection.arn, providerType or hostArn must be set, but only one of them: an existing connection, "
        "or the provider or host of a new one, got 0",
    ),
    "a connection does not both exist and be made": (
        source(providerType="GitHub"),
        "source.connection.arn, providerType or hostArn must be set, but only one of them: an existing connection, "
        "or the provider or host of a new one, got 2",
    ),
    "there are providers": (
        source(arn=None, providerType="Gitea"),
        "source.connection.providerType must be one of ['Bitbucket', 'GitHub', 'GitLab', 'AzureDevOps'], got 'Gitea'",
    ),
    "a host has an ARN": (
        source(arn=None, hostArn="ghes"),
        "source.connection.hostArn must be the ARN of a host, such as "
        "arn:aws:codeconnections:eu-west-1:123456789012:host/0f-1, got 'ghes'",
    ),
    "a push is of a tag or of a branch": (
        source(push=[{"tags": {"includes": ["v*"]}, "filePaths": {"includes": ["app/**"]}}]),
        "source.connection.push[0].tags must not be combined with branches or filePaths: a push is either of a tag or "
        "of a branch, so nothing would ever match; write two entries",
    ),
    "a push has a filter": (
        source(push=[{"tags": {"includes": ["v*"]}}, {}]),
        "source.connection.push[1].branches, filePaths or tags must be given, got none",
    ),
    "a filter has a pattern": (
        source(push=[{"tags": {}}]),
        "source.connection.push[0].tags.includes or excludes must name a pattern, got none",
    ),
    "patterns are a list": (
        source(push=[{"tags": {"includes": "v*"}}]),
        "source.connection.push[0].tags.includes must be a list, got 'v*'",
    ),
    "there are three filters of pushes": (
        source(push=[{"tags": {"includes": [f"v{number}"]}} for number in range(4)]),
        "source.connection.push must have at most 3 items, all different, got a list of 4",
    ),
    "pull requests are those of a connection": (
        {"build": {"testCommands": ["make test"]}, "pullRequests": {}},
        "source must be a connection with pull requests, got CodeCommit",
    ),
    "CodeBuild has no webhooks of Azure DevOps": (
        {**source(arn=None, providerType="AzureDevOps"), "pullRequests": {"commands": ["make test"]}},
        "source must be a repository of GitHub, GitLab, Bitbucket with pull requests, got AzureDevOps: CodeBuild has "
        "no other webhooks through a connection",
    ),
    "a pull request is checked by something": (
        {**source(), "build": {}, "pullRequests": {}},
        "pullRequests.commands or scans must be given, unless the build has testCommands, got none",
    ),
    "the scans of pull requests exist": (
        {**source(), "pullRequests": {"scans": ["lint"]}},
        "pullRequests.scans must be names of codeScans, one of [], got ['lint']",
    ),
    "the scans of pull requests have no secrets": (
        {
            **source(),
            "codeScans": [{"name": "lint", "commands": ["make lint"], "secrets": {"TOKEN": SECRET}}],
            "pullRequests": {"scans": ["lint"]},
        },
        "pullRequests.scans must not have secrets, as ['lint'] have: the code in a pull request, which nobody has "
        "reviewed, could read them",
    ),
    "an archive is a zip": (
        {"source": {"s3": {"bucket": "sources", "key": "web.tar"}}},
        "source.s3.key must be the key of a .zip archive, without / at its start and without * ? $, of at most 1000 "
        "characters, got 'web.tar'",
    ),
    "a bucket has a name": (
        {"source": {"s3": {"bucket": "Sources", "key": "web.zip"}}},
        "source.s3.bucket must be the name of an S3 bucket, 3 to 63 characters of a-z 0-9 . -, got 'Sources'",
    ),
    "an image has a tag": (
        {"source": {"image": {"repository": "web", "tag": "a b"}}, "build": None},
        "source.image.tag must be a tag of an image, of at most 128 characters, got 'a b'",
    ),
    # service
    "a service is an object": ({"service": "web"}, "service must be a map, got 'web'"),
    "ports end at 65535": (
        {"service": {"port": 65536}},
        "service.port must be between 1 and 65535, got 65536",
    ),
    "a port is a number": ({"service": {"port": "80"}}, "service.port must be a whole number, got '80'"),
    "a health path is a path": (
        {"service": {"healthPath": "healthz"}},
        "service.healthPath must be a path such as /healthz without spaces, of at most 1024 characters, got 'healthz'",
    ),
    "cpu is a size of Fargate": (
        {"service": {"cpu": 300}},
        "service.cpu must be one of [256, 512, 1024, 2048, 4096, 8192, 16384], got 300",
    ),
    "memory goes with cpu": (
        {"service": {"cpu": 256, "memory": 4096}},
        "service.memory must be one of [512, 1024, 2048] with cpu=256, got 4096",
    ),
    "there are two architectures": (
        {"service": {"cpuArchitecture": "x86"}},
        "service.cpuArchitecture must be one of ['X86_64', 'ARM64'], got 'x86'",
    ),
    "some task runs": (
        {"service": {"tasks": {"min": 0}}},
        "service.tasks.min must be between 1 and 5000, got 0",
    ),
    "most tasks are not fewer than least": (
        {"service": {"tasks": {"min": 3, "max": 2}}},
        "service.tasks.max must be at least min=3, got 2",
    ),
    "scaling aims between 10 and 90 percent": (
        {"service": {"tasks": {"targetCpuPercent": 95}}},
        "service.tasks.targetCpuPercent must be between 10 and 90, got 95",
    ),
    "a variable is set once": (
        {"service": {"environment": {"TOKEN": "x"}, "secrets": {"TOKEN": SECRET}}},
        "service.environment must not have names that are also in secrets, got ['TOKEN']",
    ),
    "a secret is a reference and the value is not repeated": (
        {"service": {"secrets": {"TOKEN": "hunter2"}}},
        "service.secrets['TOKEN'] must be the ARN of a secret in Secrets Manager, such as "
        "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/db-a1b2c3:password::, or the ARN of a parameter in "
        "Parameter Store, such as arn:aws:ssm:eu-west-1:123456789012:parameter/prod/token, or the name of a parameter "
        "of this account and Region, such as ssm:/prod/token, or the name of a secret of this account and Region, such "
        "as secretsmanager:prod/db",
    ),
    "a grace period ends": (
        {"service": {"healthCheckGraceSeconds": 86401}},
        "service.healthCheckGraceSeconds must be between 0 and 86400, got 86401",
    ),
    "fargate waits two minutes at most for a task to stop": (
        {"service": {"stopTimeoutSeconds": 121}},
        "service.stopTimeoutSeconds must be between 2 and 120, got 121",
    ),
    "fargate waits two seconds at least for a task to stop": (
        {"service": {"stopTimeoutSeconds": 1}},
        "service.stopTimeoutSeconds must be between 2 and 120, got 1",
    ),
    "a rule has five paths at most": (
        {"service": {"paths": ["/1", "/2", "/3", "/4", "/5", "/6"]}},
        "service.paths must have 1 to 5 items, all different, got ['/1', '/2', '/3', '/4', '/5', '/6']",
    ),
    "a path starts with a slash": (
        {"service": {"paths": ["api/*"]}},
        "service.paths[0] must be a pattern such as /api/* of a-z A-Z 0-9 _-.$/~\"'@:+&;*? of at most 128 characters, "
        "got 'api/*'",
    ),
    "a rule has a priority": (
        {"service": {"listenerPriority": 0}},
        "service.listenerPriority must be between 1 and 50000, got 0",
    ),
    "some verified release is kept": (
        {"service": {"keepVerified": 21}},
        "service.keepVerified must be between 1 and 20, got 21",
    ),
    "an address has no path": (
        {"service": {"url": "https://example.com/shop"}},
        "service.url must be an address such as https://shop.example.com, without a path, got "
        "'https://example.com/shop'",
    ),
    "an alarm goes off at some share of the requests": (
        {"service": {"errorAlarm": {"percent": 100}}},
        "service.errorAlarm.percent must be between 1 and 99, got 100",
    ),
    "alarms have names": (
        {"service": {"alarmNames": ["latency,errors"]}},
        "service.alarmNames[0] must be the name of an alarm in CloudWatch, not its ARN, without spaces and commas, of "
        "at most 255 characters, got 'latency,errors'",
    ),
    "alarms are different": (
        {"service": {"alarmNames": ["latency", "errors", "latency"]}},
        "service.alarmNames must have at most 9 items, all different, got ['latency', 'errors', 'latency']",
    ),
    "CodeDeploy takes ten alarms with that of the service": (
        {"service": {"alarmNames": [*"abcdefghij"]}},
        f"service.alarmNames must have at most 9 items, all different, got {[*'abcdefghij']}",
    ),
    "logs are kept as long as CloudWatch can": (
        {"service": {"logRetentionDays": 2}},
        f"service.logRetentionDays must be one of {LOG_DAYS}, got 2",
    ),
    "a misspelled key is reported with the possible ones": (
        {"service": {"prot": 80}},
        f"service.prot is not a key (did you mean port?); possible here: {SERVICE_KEYS}",
    ),
    "keys are camelCase": (
        {"service": {"health_path": "/"}},
        f"service.health_path is not a key (did you mean healthPath?); possible here: {SERVICE_KEYS}",
    ),
    "settings of the program are not keys": (
        {"service": {"clusterArn": "x"}},
        f"service.clusterArn is not a key; possible here: {SERVICE_KEYS}",
    ),
    "a misspelled nested key is reported with the possible ones": (
        {"service": {"tasks": {"minimum": 1}}},
        "service.tasks.minimum is not a key; possible here: min, max, targetCpuPercent, targetMemoryPercent, "
        "targetRequestsPerTask, queues, metrics, schedules",
    ),
    # processes, the migration and jobs
    "the size of a process goes with that of the service": (
        {"service": {"processes": {"my-worker": {"cpu": 512}}}},
        "service.processes.my-worker.memory must be one of [1024, 2048, 3072, 4096] with cpu=512, got 512",
    ),
    "a rule for a key of a process has the key": (
        {"service": {"processes": {"worker": {"stopTimeoutSeconds": 1}}}},
        "service.processes.worker.stopTimeoutSeconds must be between 2 and 120, got 1",
    ),
    "a rule for the tasks of a process has its key": (
        {"service": {"processes": {"worker": {"tasks": {"min": 3, "max": 2}}}}},
        "service.processes.worker.tasks.max must be at least min=3, got 2",
    ),
    "a rule between processes has their keys": (
        {
            "service": {
                "listenerPriority": 100,
                "processes": {"api": {"port": 81, "paths": ["/api"], "listenerPriority": 100}},
            }
        },
        "service.processes.api.listenerPriority must be different from that of web, got 100 for both",
    ),
    "a misspelled key of a process is reported with the possible ones": (
        {"service": {"processes": {"worker": {"comand": ["a"]}}}},
        f"service.processes.worker.comand is not a key (did you mean command?); possible here: {PROCESS_KEYS}",
    ),
    "a process has a name": (
        {"service": {"processes": {"My_Worker": {}}}},
        f"service.processes: the name 'My_Worker' must {A_NAME}",
    ),
    "the name of a process is not that of another family": (
        {"service": {"processes": {"web-template": {}}}},
        f"service.processes: the name 'web-template' must {A_NAME}",
    ),
    "the name of a job is short": (
        {"service": {"jobs": {"a" * 21: {"command": ["a"], "schedule": "rate(1 day)"}}}},
        f"service.jobs: the name '{'a' * 21}' must {A_NAME}",
    ),
    "processes are a map": ({"service": {"processes": [{}]}}, "service.processes must be a map, got a list of 1"),
    "a process is a map": ({"service": {"processes": {"web": 1}}}, "service.processes.web must be a map, got 1"),
    "only a stage removes a process": (
        {"service": {"processes": {"web": False}}},
        "service.processes.web must be a map, got False",
    ),
    "a variable of a process is a string": (
        {"service": {"processes": {"worker": {"environment": {"A": 1}}}}},
        "service.processes.worker.environment['A'] must be a string, got 1",
    ),
    "a job has a schedule": ({"service": {"jobs": {"a": {"command": ["a"]}}}}, "service.jobs.a.schedule is required"),
    "a job runs again and again": (
        {"service": {"jobs": {"a": {"command": ["a"], "schedule": "at(2026-12-24T08:00:00)"}}}},
        "service.jobs.a.schedule must be cron(minutes hours day-of-month month day-of-week year) with a ? for exactly "
        "one of the two days, or rate(5 minutes), got 'at(2026-12-24T08:00:00)'",
    ),
    "a migration has a command": ({"service": {"migration": {}}}, "service.migration.command is required"),
    "the order has every process": (
        {"service": {"processes": {"worker": {}}, "order": ["worker"]}},
        "service.order must have each of ['web', 'worker'] exactly once, got ['worker']",
    ),
    "CodeDeploy deploys one service": (
        {
            "service": {"processes": {"api": {"port": 81, "paths": ["/api"], "listenerPriority": 7}}},
            "stages": [{"strategy": {"codeDeployBlueGreen": {}}}],
        },
        "stages[0].strategy must not be CodeDeployBlueGreen with a port for a process other than web, got ['api']: "
        "CodePipeline's action deploys one service",
    ),
    "a release of all groups and its migration fit into a day": (
        {
            "service": {"processes": {"worker": {}}, "migration": {"command": ["a"], "timeoutMinutes": 311}},
            "stages": [{"strategy": {"blueGreen": {"bakeMinutes": 370}}}],
        },
        "stages[0].tests must end, with a release and a rollback of 701 minutes each, within 1400 minutes, got 1402: "
        "CodePipeline ends an action after 24 hours",
    ),
    "tests reach the address of a process": (
        {
            "service": {
                "port": False,
                "processes": {"api": {"port": 81, "paths": ["/api"], "listenerPriority": 7}},
            },
            "loadBalancer": {"internal": True},
            "stages": [{"tests": {"commands": ["make smoke"]}}],
        },
        "stages[0].tests must set inVpc with an internal load balancer, which can be reached only from the VPC",
    ),
    "a process is not called like the service of another stage": (
        {"service": {"processes": {"worker": {}}}, "stages": [{"name": "eu"}, {"name": "eu-worker"}]},
        "stages must have names with which ECS services and task definitions of all of them are different, got "
        "['storefront-eu-worker', 'storefront-eu-worker-template'] twice: rename a stage, a process or a job",
    ),
    "a migration is not called like the service of another stage": (
        {"service": {"migration": {"command": ["a"]}}, "stages": [{"name": "eu"}, {"name": "eu-migration"}]},
        "stages must have names with which ECS services and task definitions of all of them are different, got "
        "['storefront-eu-migration', 'storefront-eu-migration-template'] twice: rename a stage, a process or a job",
    ),
    # stages
    "stages are a list": ({"stages": {}}, "stages must be a list, got a map"),
    "the name of an environment is a valid tag": (
        {"stages": [{"name": "Prod EU"}]},
        "stages[0].name must be 1 to 30 characters of a-z 0-9 -, got 'Prod EU'",
    ),
    "environments have different names": (
        {"stages": [{"name": "eu"}, {"name": "us"}, {"name": "eu"}]},
        "stages must have different names, got ['eu', 'us', 'eu']",
    ),
    "a stage without a name has the stack's": (
        {"stages": [{}, {}]},
        "stages must have different names, got ['dev', 'dev']",
    ),
    "a misspelled key of a stage is reported with the possible ones": (
        {"stages": [{"aproval": {}}]},
        f"stages[0].aproval is not a key (did you mean approval?); possible here: {STAGE_KEYS}",
    ),
    "a strategy is one of several": (
        {"stages": [{"strategy": {}}]},
        f"stages[0].strategy must have exactly one of {KINDS}, got none",
    ),
    "there are not two strategies": (
        {"stages": [{"strategy": {"canary": {}, "blueGreen": {}}}]},
        f"stages[0].strategy must have exactly one of {KINDS}, got blueGreen, canary",
    ),
    "an approval has people": (
        {"stages": [{"approval": {"notify": ["ops"]}}]},
        "stages[0].approval.notify[0] must be an e-mail address, got 'ops'",
    ),
    "an approval waits for two months at most": (
        {"stages": [{"approval": {"timeoutMinutes": 86_401}}]},
        "stages[0].approval.timeoutMinutes must be between 5 and 86400, got 86401",
    ),
    "an approval's link has only known placeholders": (
        {"stages": [{"approval": {"link": "https://x/{sha}"}}]},
        "stages[0].approval.link must start with https:// and may have {commit}, {live_commit} and {digest} in it, "
        "without spaces, of at most 600 characters, got 'https://x/{sha}'",
    ),
    "a window is in a time zone": (
        {"stages": [{"window": {"cron": "* * 9-16 ? * *", "timeZone": "Berlin"}}]},
        "stages[0].window.timeZone must be the name of a time zone, such as Europe/Berlin, got 'Berlin'",
    ),
    "a window has minutes": ({"stages": [{"window": {}}]}, "stages[0].window.cron is required"),
    "tests are commands": (
        {"stages": [{"tests": {"commands": []}}]},
        "stages[0].tests.commands must have at least 1 item, got []",
    ),
    "a secret of tests is a reference": (
        {"stages": [{"tests": {"commands": ["true"], "secrets": {"TOKEN": "hunter2"}}}]},
        "stages[0].tests.secrets['TOKEN'] must be the ARN of a secret in Secrets Manager, such as "
        "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/db-a1b2c3:password::, or the ARN of a parameter in "
        "Parameter Store, such as arn:aws:ssm:eu-west-1:123456789012:parameter/prod/token, or the name of a parameter "
        "of this account and Region, such as ssm:/prod/token, or the name of a secret of this account and Region, such "
        "as secretsmanager:prod/db",
    ),
    "overrides of a stage have the same keys": (
        {"stages": [{"service": {"prot": 80}}]},
        f"stages[0].service.prot is not a key (did you mean port?); possible here: {SERVICE_KEYS}",
    ),
    "overrides of a stage are an object": (
        {"stages": [{"service": "web"}]},
        "stages[0].service must be a map, got 'web'",
    ),
    "the image is built for one architecture": (
        {"stages": [{"name": "a"}, {"name": "b", "service": {"cpuArchitecture": "ARM64"}}]},
        "stages[1].service.cpuArchitecture must be X86_64, as the image was built for all stages, got 'ARM64': "
        "build.cpuArchitectures can be both",
    ),
    "an image for some architectures runs on no other": (
        {"build": {"cpuArchitectures": ["ARM64"]}, "stages": [{"service": {"cpuArchitecture": "X86_64"}}]},
        "stages[0].service.cpuArchitecture must be ARM64, as the image was built for all stages, got 'X86_64'",
    ),
    "a worker has no traffic to shift": (
        {"stages": [{"strategy": {"canary": {}}, "service": {"port": False}}]},
        "stages[0].strategy must be Rolling for a service without a port, got Canary: there is no load balancer whose "
        "traffic could be shifted",
    ),
    "the old tasks stay until the alarm could go off": (
        {
            "service": {"errorAlarm": {"minutes": 5}},
            "stages": [{"name": "a"}, {"strategy": {"linear": {"bakeMinutes": 4}}}],
        },
        "stages[1].strategy must have bakeMinutes of at least errorAlarm.minutes=5, got 4: the old tasks would be gone "
        "before the alarm could go off",
    ),
    "healthy tasks are a percentage": (
        rolling(minimumHealthyPercent=101),
        "stages[0].strategy.rolling.minimumHealthyPercent must be between 0 and 100, got 101",
    ),
    "at most twice the tasks run": (
        rolling(maximumPercent=201),
        "stages[0].strategy.rolling.maximumPercent must be between 100 and 200, got 201",
    ),
    "a deployment has room to stop or start a task": (
        rolling(maximumPercent=100),
        "stages[0].strategy.rolling.maximumPercent must be above 100 with minimumHealthyPercent=100, got 100: "
        "ECS could neither stop an old task nor start a new one",
    ),
    "a deadline is between three minutes and three hours": (
        rolling(deadlineMinutes=2),
        "stages[0].strategy.rolling.deadlineMinutes must be between 3 and 180, got 2",
    ),
    "CodePipeline's own action waits for an hour": (
        strategy("rolling", ecsAction=True, deadlineMinutes=61),
        "stages[0].strategy.rolling.deadlineMinutes must be at most 60 with ecsAction, got 61: CodePipeline's ECS "
        "action waits no longer",
    ),
    "a canary is a percentage": (
        strategy("canary", percent=0),
        "stages[0].strategy.canary.percent must be between 0.1 and 100, with at most one decimal, got 0",
    ),
    "a step is a percentage": (
        strategy("linear", stepPercent=2.9),
        "stages[0].strategy.linear.stepPercent must be between 3 and 100, with at most one decimal, got 2.9",
    ),
    "an action waits for a deployment and for its rollback": (
        strategy("blueGreen", bakeMinutes=651),
        "stages[0].strategy.blueGreen.bakeMinutes, deadlineMinutes and the other timers must be at most 660 in total, "
        "got 661: CodePipeline ends an action after 24 hours, in which a deployment and a rollback must fit",
    ),
    "a hook has a stage of a deployment": (
        strategy("canary", hooks=[{"stages": ["AFTER"]}]),
        f"stages[0].strategy.canary.hooks[0].stages[0] must be one of {EVERY_STAGE}, got 'AFTER'",
    ),
    "nothing pauses while traffic shifts": (
        strategy("canary", hooks=[{"stages": ["TEST_TRAFFIC_SHIFT"]}]),
        "stages[0].strategy.canary.hooks[0].stages of a hook without functionArn, a pause, must not be "
        "['TEST_TRAFFIC_SHIFT', 'PRODUCTION_TRAFFIC_SHIFT'], got ['TEST_TRAFFIC_SHIFT']: ECS cannot pause while it "
        "shifts traffic; pause at POST_TEST_TRAFFIC_SHIFT instead",
    ),
    "CodeDeploy waits only to stop": (
        strategy("codeDeployBlueGreen", waitMinutes=5),
        "stages[0].strategy.codeDeployBlueGreen.waitMinutes must be 0 with onReady=CONTINUE_DEPLOYMENT, got 5: "
        "CodeDeploy waits only to stop",
    ),
    # build
    "the context is inside the repository": (
        {"build": {"context": "../app"}},
        "build.context must be a path inside the repository, got '../app'",
    ),
    "the Dockerfile is inside the repository": (
        {"build": {"context": "app", "dockerfile": "../../Dockerfile"}},
        "build.dockerfile must be in the repository, got '../../Dockerfile', which is relative to the context 'app'",
    ),
    "a test command is one line": (
        {"build": {"testCommands": ["true", " "]}},
        "build.testCommands[1] must be a command of one line, got ' '",
    ),
    "test commands are a list": (
        {"build": {"testCommands": "make"}},
        "build.testCommands must be a list, got 'make'",
    ),
    "a build argument has a name": (
        {"build": {"buildArgs": {"A-B": "1", "D": "1"}}},
        "build.buildArgs: the name 'A-B' must be a name of A-Z a-z 0-9 _ that does not begin with a digit",
    ),
    "commands and arguments fit into the environment of a build": (
        {"build": {"testCommands": ["x" * 4400], "buildArgs": {"A": "y" * 66}}},
        "build.testCommands, buildArgs and the build's other settings must have at most 4500 characters in "
        "total, got 4501: put the commands into a script in the repository",
    ),
    "reports have different names": (
        {"build": {"testCommands": ["true"], "reports": [REPORT, REPORT]}},
        "build.reports must have different names, got ['unit'] more than once",
    ),
    "reports are written by commands": (
        {"build": {"reports": [REPORT]}},
        "build.reports must be empty without testCommands",
    ),
    "a report has a format of CodeBuild": (
        {"build": {"testCommands": ["true"], "reports": [{**REPORT, "format": "TAP"}]}},
        "build.reports[0].format must be one of ['CLOVERXML', 'COBERTURAXML', 'CUCUMBERJSON', 'JACOCOXML', 'JUNITXML', "
        "'NUNIT3XML', 'NUNITXML', 'SIMPLECOV', 'TESTNGXML', 'VISUALSTUDIOTRX'], got 'TAP'",
    ),
    "a project has five reports": (
        {"build": {"testCommands": ["true"], "reports": [{**REPORT, "name": f"r{n}"} for n in range(6)]}},
        "build.reports must have at most 5 items, got a list of 6",
    ),
    "a buildspec stands alone": (
        {"build": {"buildspec": "b.yml", "testCommands": ["true"]}},
        "build.buildspec must not be combined with testCommands, got 'b.yml': put that into the buildspec",
    ),
    "a buildspec is inside the repository": (
        {"build": {"buildspec": "/buildspec.yml"}},
        "build.buildspec must be a path inside the repository, got '/buildspec.yml'",
    ),
    "there are sizes of builds": (
        {"build": {"computeType": "SMALL"}},
        "build.computeType must be one of ['BUILD_GENERAL1_SMALL', 'BUILD_GENERAL1_MEDIUM', "
        "'BUILD_GENERAL1_LARGE', 'BUILD_GENERAL1_XLARGE'], got 'SMALL'",
    ),
    "a build takes five minutes to 36 hours": (
        {"build": {"timeoutMinutes": 4}},
        "build.timeoutMinutes must be between 5 and 2160, got 4",
    ),
    "logs of builds are kept as long as CloudWatch can": (
        {"build": {"logRetentionDays": 2}},
        f"build.logRetentionDays must be one of {LOG_DAYS}, got 2",
    ),
    # registry
    "some image is kept": (
        {"registry": {"keepImages": 0}},
        "registry.keepImages must be between 1 and 10000, got 0",
    ),
    "untagged images are kept for at least a day": (
        {"registry": {"untaggedDays": 0}},
        "registry.untaggedDays must be between 1 and 3650, got 0",
    ),
    "a key has an ARN": (
        {"registry": {"kmsKeyArn": "alias/mine"}},
        "registry.kmsKeyArn must be the ARN of a KMS key, such as arn:aws:kms:eu-west-1:123456789012:key/1234abcd, "
        "got 'alias/mine'",
    ),
    "an image lives for a day at least": (
        {"registry": {"expireDays": 0}},
        "registry.expireDays must be between 1 and 3650, got 0",
    ),
    "a principal that pulls has an ARN": (
        {"registry": {"pullPrincipals": ["111122223333"]}},
        "registry.pullPrincipals[0] must be the ARN of an account, a role or a user, such as "
        "arn:aws:iam::123456789012:role/deploy, or the ARN of a session, such as "
        "arn:aws:sts::123456789012:assumed-role/deploy/x, got '111122223333'",
    ),
    # loadBalancer
    "a certificate has an ARN": (
        {"loadBalancer": {"certificateArn": "mine"}},
        "loadBalancer.certificateArn must be the ARN of a certificate in ACM, such as "
        "arn:aws:acm:eu-west-1:123456789012:certificate/1234abcd, or the ARN of one in IAM, such as "
        "arn:aws:iam::123456789012:server-certificate/shop, got 'mine'",
    ),
    "clients have ranges": (
        {"loadBalancer": {"ingressCidrs": ["10.0.0.1/8"]}},
        "loadBalancer.ingressCidrs[0] must be an IPv4 range such as 10.0.0.0/8, got '10.0.0.1/8'",
    ),
    "an existing load balancer has no settings of a new one": (
        {
            "network": EXISTING,
            "loadBalancer": {"existing": {"name": "shared"}, "internal": True},
            "service": {"url": "https://shop.example.com"},
        },
        "loadBalancer.internal must not be set with existing: whoever made that load balancer decides",
    ),
    "tests reach a service behind an existing load balancer by a name": (
        {
            "network": EXISTING,
            "loadBalancer": {"existing": {"name": "shared"}},
            "stages": [{"tests": {"commands": ["make smoke"]}}],
        },
        "stages[0].tests need service.url with loadBalancer.existing, got none: they need a name of this service",
    ),
    "routes of stages that share a load balancer get different requests": (
        {
            "network": EXISTING,
            "loadBalancer": {"existing": {"name": "shared"}},
            "service": {"routes": {"admin": {"port": 9090, "paths": ["/admin/*"]}}},
            "stages": [{"name": name, "service": {"hosts": [f"{name}.example.com"]}} for name in ("a", "b")],
        },
        "stages must have different service.hosts, paths or headers with one loadBalancer.existing, got the same for a "
        "and b",
    ),
    "a route asks for something": (
        {"service": {"routes": {"admin": {"port": 9090}}}},
        "service.routes.admin.paths, hosts or headers are required: those of the service are for its own port",
    ),
    "stages that share a load balancer get different requests": (
        {
            "network": EXISTING,
            "loadBalancer": {"existing": {"name": "shared"}},
            "stages": [{"name": "a"}, {"name": "b"}],
        },
        "stages must have different service.hosts, paths or headers with one loadBalancer.existing, got the same for a "
        "and b",
    ),
    "tests in the VPC do not reach a public load balancer without a way to the internet": (
        {
            "network": {"new": {"natGateways": "None", "vpcEndpoints": {}}},
            "stages": [{"tests": {"commands": ["make smoke"], "inVpc": True}}],
        },
        "stages[0].tests must not set inVpc with network.new.natGateways=None, vpcEndpoints and a public load "
        "balancer, whose address is on the internet; without inVpc, they reach it",
    ),
    "a name and its wildcard belong to one stage": (
        {
            "stages": [
                {
                    "name": name,
                    "loadBalancer": {"domain": {"names": names}},
                    "service": {"url": "https://a.example.com"},
                }
                for name, names in (("a", ["shop.example.com"]), ("b", ["b.example.com", "*.shop.example.com"]))
            ]
        },
        "stages must have different names in loadBalancer.domain, got ['shop.example.com'] twice",
    ),
    "a process is as the service unless it says otherwise": (
        {"service": {"processes": {"web": {"stickiness": False}}}},
        "service.processes.web.stickiness must not be false: without the key, it is as in the service",
    ),
    "web has the port of the service": (
        {"service": {"processes": {"web": {"port": False}}}},
        "service.processes.web.port must not be false: without the key, it is as in the service",
    ),
    "a client of Service Connect is there once": (
        {
            "service": {"serviceConnect": {"clients": {"a": "sg-0a", "b": "sg-0a"}}},
            "cluster": {"new": {"namespace": "shop"}},
        },
        "service.serviceConnect.clients must have different security groups, got ['sg-0a'] twice",
    ),
    "an existing load balancer is in an existing network": (
        {
            "loadBalancer": {"existing": {"name": "shared"}},
            "service": {"hosts": ["a.example.com"], "url": "http://a.example.com"},
        },
        "stages[0].loadBalancer.existing must not be set with a new network, in which it is not; use network.existing",
    ),
    "stages that share a load balancer, by its name or its ARN, have different priorities": (
        {
            "network": EXISTING,
            "service": {"listenerPriority": 7},
            "stages": [
                {
                    "name": "a",
                    "service": {"hosts": ["a.example.com"]},
                    "loadBalancer": {"existing": {"name": "shared"}},
                },
                {
                    "name": "b",
                    "service": {"hosts": ["b.example.com"]},
                    "loadBalancer": {"existing": {"arn": f"{ELB}:loadbalancer/app/shared/0a1b2c3d"}},
                },
            ],
        },
        "stages must have different service.listenerPriority with one loadBalancer.existing, got 7 for a and b",
    ),
    "a sidecar comes from ECR where there is no way to other registries": (
        {
            "network": {"new": {"natGateways": "None", "vpcEndpoints": {}}},
            "service": {"sidecars": {"redis": {"image": "redis:7"}}},
        },
        "stages[0].service.sidecars.redis.image must be in ECR with network.new.natGateways=None and vpcEndpoints, got "
        "'redis:7': there is no way to other registries",
    ),
    "the log router comes from ECR where there is no way to other registries": (
        {
            "network": {"new": {"natGateways": "None", "vpcEndpoints": {}}},
            "service": {"logging": {"fireLens": {"options": {"Name": "cloudwatch"}}}},
        },
        "stages[0].service.logging.fireLens.image must be in ECR with network.new.natGateways=None and vpcEndpoints, "
        "got 'public.ecr.aws/aws-observability/aws-for-fluent-bit:stable': there is no way to other registries",
    ),
    "the first name of a certificate has 64 characters": (
        {"loadBalancer": {"domain": {"names": [LONG_NAME]}}},
        f"loadBalancer.domain.names must begin with a name of at most 64 characters, got 65: '{LONG_NAME}'",
    ),
    "processes with a port ask for different requests": (
        {"service": {"processes": {"a": {"port": 81, "paths": ["/a/*"]}, "b": {"port": 82, "paths": ["/a/*"]}}}},
        "service.processes['b'] must ask for other paths, hosts or headers than processes['a']: only one of them would "
        "get requests",
    ),
    "a process asks for other requests than web": (
        {"service": {"paths": ["/a/*"], "processes": {"a": {"port": 81, "paths": ["/a/*"]}}}},
        "service.processes['a'] must ask for other paths, hosts or headers than the service: only one of them would "
        "get requests",
    ),
    "a process checks its health with the codes of its protocol": (
        {
            "service": {
                "url": "https://shop.example.com",
                "healthCheck": {"successCodes": "200"},
                "processes": {"web": {"protocolVersion": "GRPC"}},
            },
            "loadBalancer": {"certificateArn": CERTIFICATE},
        },
        "service.processes.web.healthCheck.successCodes must be codes from 0 to 99 with protocolVersion=GRPC, got "
        "'200'",
    ),
    "a connection may be idle for 4000 seconds": (
        {"loadBalancer": {"idleTimeoutSeconds": 4001}},
        "loadBalancer.idleTimeoutSeconds must be between 1 and 4000, got 4001",
    ),
    "test traffic has a port of its own": (
        {"loadBalancer": {"testListener": {"ingressCidrs": ["10.0.0.0/8"], "port": 443}}},
        "loadBalancer.testListener.port must be between 1 and 65535 and neither 80 nor 443, got 443",
    ),
    "test traffic comes from somewhere": (
        {"loadBalancer": {"testListener": {}}},
        "loadBalancer.testListener.ingressCidrs is required",
    ),
    # scanGate, codeScans
    "there are severities": (
        {"scanGate": {"threshold": "high"}},
        "scanGate.threshold must be one of ['INFORMATIONAL', 'LOW', 'MEDIUM', 'HIGH', 'CRITICAL'], got 'high'",
    ),
    "a finding is allowed for a reason": (
        {"scanGate": {"allow": [finding(reason="because")]}},
        "scanGate.allow[0].reason must be a reason of 10 characters or more, got 'because'",
    ),
    "a finding is allowed once": (
        {"scanGate": {"allow": [finding(), finding(until="2027-12-31")]}},
        "scanGate.allow must name each finding once, got ['CVE-2026-1', 'CVE-2026-1']",
    ),
    "a scan has a name": ({"codeScans": [{"commands": ["true"]}]}, "codeScans[0].name is required"),
    "a scan has a short name": (
        {"codeScans": [{"name": "Lint", "commands": ["true"]}]},
        "codeScans[0].name must be a name of a-z 0-9 and single - between them, of at most 10 characters, got 'Lint'",
    ),
    "a scan has a name of its own": (
        {"codeScans": [{"name": "lint", "commands": ["true"]}] * 2},
        "codeScans must have different names, got ['lint', 'lint']",
    ),
    # notifications, pipeline
    "notifications have a recipient": (
        {"notifications": {}},
        "notifications.emails, slack or teams must be given, got none",
    ),
    "a channel has an id": (
        {"notifications": {"slack": {"teamId": "T0", "channelId": "#ops"}}},
        "notifications.slack.channelId must be the id of a channel, such as C0123ABC4, of at most 255 characters, "
        "got '#ops'",
    ),
    "executions do not run in parallel": (
        {"pipeline": {"executionMode": "PARALLEL"}},
        "pipeline.executionMode must be one of ['SUPERSEDED', 'QUEUED'], got 'PARALLEL'",
    ),
    "a variable of the pipeline overrides none of the build": (
        {"pipeline": {"variables": {"COMMIT_ID": "x"}}},
        "pipeline.variables must not have names that Slipway's build uses, got ['COMMIT_ID']",
    ),
    "a variable of the pipeline overrides none of a scan": (
        {
            "codeScans": [{"name": "lint", "commands": ["true"], "environment": {"LEVEL": "debug"}}],
            "pipeline": {"variables": {"LEVEL": "info"}},
        },
        "pipeline.variables must not have the names that codeScans have in environment or secrets, got ['LEVEL']: the "
        "scan would get the variable instead",
    ),
    # what tests of a stage can reach, and how long they may take
    "tests reach a name that the certificate is for": (
        {"loadBalancer": {"certificateArn": CERTIFICATE}, "stages": [{}, {"name": "b", "tests": SMOKE}]},
        "stages[1].tests need service.url with a certificate, got none: the certificate is for your domain name, not "
        "for the load balancer's",
    ),
    "tests of what is internal run in the VPC": (
        {"loadBalancer": {"internal": True}, "stages": [{"tests": SMOKE}]},
        "stages[0].tests must set inVpc with an internal load balancer, which can be reached only from the VPC",
    ),
    "tests of a load balancer without access from the internet run in the VPC": (
        {"loadBalancer": {"ingressCidrs": ["192.0.2.0/24"]}, "stages": [{"tests": SMOKE}]},
        "stages[0].tests must set inVpc if loadBalancer.ingressCidrs excludes the internet: CodeBuild connects from "
        "AWS's addresses; with inVpc, add the addresses of the NAT gateways to ingressCidrs",
    ),
    "a release with its tests and its rollback takes at most a day": (
        {"stages": [{"strategy": {"canary": {"bakeMinutes": 580}}, "tests": {**SMOKE, "timeoutMinutes": 201}}]},
        "stages[0].tests must end, with a release and a rollback of 600 minutes each, within 1400 minutes, got "
        "1401: CodePipeline ends an action after 24 hours",
    ),
    # featureBranch
    "images of a feature branch are kept for at least a day": (
        {"featureBranch": {"imageDays": 0}},
        "featureBranch.imageDays must be between 1 and 3650, got 0",
    ),
    "a feature branch deploys to no other environment": (
        {"featureBranch": {}, "stages": [{"name": "prod"}]},
        "stages must have no name with featureBranch, got ['prod']: it deploys to its own only",
    ),
    "the lifetime of a feature branch's images is set once": (
        {"featureBranch": {}, "registry": {"expireDays": 3}},
        "registry.expireDays must not be given with featureBranch: its imageDays say when images expire",
    ),
    # domain
    "the domain of a stage is its own": (
        {"loadBalancer": {"domain": {"names": ["shop.example.com"]}}, "stages": [{"name": "a"}, {"name": "b"}]},
        "stages must have different names in loadBalancer.domain, got ['shop.example.com'] twice",
    ),
    "a load balancer with a domain has one certificate": (
        {"loadBalancer": {"certificateArn": CERTIFICATE_, "domain": {"names": ["shop.example.com"]}}},
        "loadBalancer.certificateArn must not be set with domain, which makes a certificate of its own",
    ),
    # roles, audit
    "a boundary is a policy": (
        {"roles": {"permissionsBoundaryArn": "arn:aws:iam::123456789012:role/x"}},
        "roles.permissionsBoundaryArn must be the ARN of a policy, such as arn:aws:iam::123456789012:policy/boundary, "
        "got 'arn:aws:iam::123456789012:role/x'",
    ),
    "a path begins and ends with a slash": (
        {"roles": {"path": "teams"}},
        "roles.path must be a path such as /teams/shop/ that begins and ends with /, of at most 512 characters, got "
        "'teams'",
    ),
    "a record is locked in one of two ways": (
        {"audit": {"lock": "FOREVER"}},
        "audit.lock must be one of ['GOVERNANCE', 'COMPLIANCE'], got 'FOREVER'",
    ),
    # network
    "a network is one of several": (
        {"network": {}},
        "network must have exactly one of new, existing, got none",
    ),
    "a network has two to four zones": (
        {"network": {"new": {"zones": 1}}},
        "network.new.zones must be between 2 and 4, got 1",
    ),
    "a network has a range": (
        {"network": {"new": {"cidr": "10.0.0.0/99"}}},
        "network.new.cidr must be an IPv4 range of /16 to /24 such as 10.0.0.0/16, got '10.0.0.0/99'",
    ),
    "tasks need outbound access": (
        {"network": {"new": {"natGateways": "Many"}}},
        "network.new.natGateways must be one of ['Single', 'OnePerAz', 'None'], got 'Many'",
    ),
    "tests in the VPC need outbound access": (
        {"network": {"new": {"natGateways": "None"}}, "stages": [{"tests": {"commands": ["make"], "inVpc": True}}]},
        "stages[0].tests must not set inVpc with network.new.natGateways=None: CodeBuild gets no public IP address, so "
        "in a public subnet it reaches neither its source nor its log",
    ),
    "tests in an existing VPC need outbound access": (
        {
            "network": {"existing": {**FULL["network"]["existing"], "assignPublicIp": True}},
            "stages": [{"tests": {"commands": ["make"], "inVpc": True}}],
        },
        "stages[0].tests must not set inVpc with network.existing.assignPublicIp: CodeBuild gets no public IP address, "
        "so in a public subnet it reaches neither its source nor its log",
    ),
    "a VPC has an id": (
        {"network": {"existing": {**FULL["network"]["existing"], "vpcId": "mine"}}},
        "network.existing.vpcId must be the id of a VPC, such as vpc-0a1b2c3d, got 'mine'",
    ),
    "a balancer has two subnets": (
        {"network": {"existing": {**FULL["network"]["existing"], "publicSubnetIds": ["subnet-1"]}}},
        "network.existing.publicSubnetIds must have at least 2 items for a load balancer, got ['subnet-1']",
    ),
    "a balancer on the internet has public subnets": (
        {"network": {"existing": {"vpcId": "vpc-0a", "privateSubnetIds": ["subnet-3", "subnet-4"]}}},
        "network.existing.publicSubnetIds must have at least 2 items for a load balancer, got []",
    ),
    "an internal balancer has two subnets": (
        {
            "network": {"existing": {"vpcId": "vpc-0a", "privateSubnetIds": ["subnet-3"]}},
            "loadBalancer": {"internal": True},
            "stages": [{}],
        },
        "network.existing.privateSubnetIds must have at least 2 items for an internal load balancer without "
        "publicSubnetIds, got ['subnet-3']",
    ),
    "tasks have a subnet": (
        {"network": {"existing": {**FULL["network"]["existing"], "privateSubnetIds": []}}},
        "network.existing.privateSubnetIds must have 1 to 16 items without assignPublicIp, got 0: the tasks run there",
    ),
    "tasks with public addresses have a public subnet": (
        {
            "network": {"existing": {"vpcId": "vpc-0a", "privateSubnetIds": ["subnet-3"], "assignPublicIp": True}},
            "service": {"port": False},
        },
        "network.existing.publicSubnetIds must have 1 to 16 items with assignPublicIp, got 0: the tasks run there",
    ),
    # the file
    "an unknown part is reported with the possible ones": (
        {"sevice": {}},
        "sevice is not a key (did you mean service?); possible here: "
        + ", ".join(to_camel(field.name) for field in dataclasses.fields(StackFile)),
    ),
    "a string that is not JSON is reported as a string": (
        {"build": "{context: app"},
        "build must be a map, got '{context: app'",
    ),
    "a value is reported as it was written": (
        {"service": {"healthPath": "my_path"}},
        "service.healthPath must be a path such as /healthz without spaces, of at most 1024 characters, got 'my_path'",
    ),
}


@pytest.mark.parametrize(("overrides", "line"), RULES.values(), ids=RULES)
def test_a_mistake_is_reported_with_its_key_rule_and_value_before_anything_is_created(
    overrides: dict[str, Any], line: str
) -> None:
    message, made = refuse_stack_file("dev", {f"slipway:{key}": value for key, value in overrides.items()})
    assert message.split("\n") == [
        "a mistake in the configuration (Pulumi.yaml, Pulumi.dev.yaml):",
        f"  slipway:{line}",
    ]
    assert made == STACK


@pytest.mark.parametrize(
    ("service", "balancer", "tests"),
    [
        ({}, {}, SMOKE),
        ({"url": "https://shop.example.com"}, {"certificateArn": CERTIFICATE}, SMOKE),
        ({}, {"internal": True}, {**SMOKE, "inVpc": True}),
        ({}, {"ingressCidrs": ["192.0.2.0/24"]}, {**SMOKE, "inVpc": True}),
        ({}, {"ingressCidrs": ["192.0.2.0/24", "0.0.0.0/0"]}, SMOKE),
        # Without tests, or without an endpoint.
        ({}, {"internal": True, "certificateArn": CERTIFICATE}, None),
        ({"port": False}, {"internal": True, "certificateArn": CERTIFICATE}, SMOKE),
    ],
    ids=["in public", "by name", "inside", "from an office", "from anywhere", "no tests", "worker"],
)
def test_tests_that_can_reach_their_endpoint_are_accepted(
    service: dict[str, Any], balancer: dict[str, Any], tests: dict[str, Any] | None
) -> None:
    stage = {"tests": tests} if tests else {}
    [read] = settings({**LEAST, "service": service, "loadBalancer": balancer, "stages": [stage]}).stages
    assert (read.tests is not None) == (tests is not None)


@pytest.mark.parametrize(
    ("image", "repository", "tag"),
    [
        ({"stack": "dev"}, "storefront-dev", "verified-dev"),
        ({"stack": "staging", "tag": "live-eu"}, "storefront-staging", "live-eu"),
        ({"repository": "acme/shop", "tag": "stable"}, "acme/shop", "stable"),
    ],
)
def test_an_image_is_that_of_a_stack_or_of_a_repository(image: dict[str, Any], repository: str, tag: str) -> None:
    read = settings({"source": {"image": image}}, stack="prod")
    assert read.source == EcrImage(repository=repository, tag=tag)
    assert read.image_repository == repository


OF_IMAGES: dict[str, tuple[dict[str, Any], str]] = {
    "it is built already": ({"build": {}}, "build must not be set if the source is an image"),
    "its repository is there already": (
        {"registry": {}},
        "registry must not be set if the source is an image: the repository is another stack's",
    ),
    "it is released": ({"stages": []}, "stages must not be empty if the source is an image"),
    "it has no code": (
        {"codeScans": [{"name": "lint", "commands": ["true"]}]},
        "codeScans must be empty if the source is an image, got ['lint']: there is no code",
    ),
    "no build wrote what the ECS action takes": (
        {"stages": [{"name": "a"}, {"strategy": {"rolling": {"ecsAction": True}}}]},
        "stages must not have ecsAction with an image as source, as in ['prod']: CodePipeline's ECS action takes what "
        "a build wrote",
    ),
    "it is of a stack or of a repository": (
        {"source": {"image": {"stack": "dev", "repository": "web", "tag": "stable"}}},
        "source.image must have exactly one of stack, repository, got stack, repository",
    ),
    "it is of one of them": (
        {"source": {"image": {"tag": "stable"}}},
        "source.image must have exactly one of stack, repository, got none",
    ),
    "a repository has no default tag": (
        {"source": {"image": {"repository": "web"}}},
        "source.image.tag is required with repository",
    ),
    "its repository is not empty": (
        {"source": {"image": {"repository": "", "tag": "stable"}}},
        "source.image.repository must be the name of an ECR repository, got ''",
    ),
    "its tag is not empty": (
        {"source": {"image": {"repository": "web", "tag": ""}}},
        "source.image.tag must be a tag of an image, of at most 128 characters, got ''",
    ),
    "a stack is one of this project": (
        {"source": {"image": {"stack": "acme/dev"}}},
        "source.image.stack must be the name of a stack, of a-z 0-9 - of at most 30 characters, got 'acme/dev'",
    ),
    "a release does not start itself": (
        {"source": {"image": {"repository": "web", "tag": "verified-prod"}}},
        "source.image must not be the tag verified-prod, which the releases of this stack move: each would start the "
        "pipeline again",
    ),
    "a release does not start itself by what is live in one of several stages": (
        {"source": {"image": {"stack": "dev", "tag": "live-eu"}}, "stages": [{"name": "us"}, {"name": "eu"}]},
        "source.image must not be the tag live-eu, which the releases of this stack move: each would start the "
        "pipeline again",
    ),
    "a stack is not its own source": (
        {"source": {"image": {"stack": "prod"}}},
        "source.image must not be the tag verified-prod, which the releases of this stack move: each would start the "
        "pipeline again",
    ),
    "it cannot be the source of a feature branch": (
        {"featureBranch": {}},
        "source must not be an image with featureBranch, which builds its own",
    ),
}


@pytest.mark.parametrize(("overrides", "line"), OF_IMAGES.values(), ids=OF_IMAGES)
def test_invalid_combinations_with_an_image_are_reported(overrides: dict[str, Any], line: str) -> None:
    assert args({"source": IMAGE, **overrides}, "prod") == [f"slipway:{line}"]


@pytest.mark.parametrize(("zones", "smallest"), [(2, 24), (3, 23), (4, 23)])
def test_each_zone_has_room_for_its_subnets(zones: int, smallest: int) -> None:
    def network(length: int) -> dict[str, Any]:
        return {"network": {"new": {"cidr": f"10.0.0.0/{length}", "zones": zones}}}

    settings({**LEAST, **network(smallest)})
    assert args(network(smallest + 1))[-1].startswith("slipway:network.new.cidr must be ")


def test_a_file_has_as_many_stages_and_scans_as_a_pipeline_takes() -> None:
    def given(stages: int, scans: int) -> dict[str, Any]:
        named = [{"name": f"s{number}"} for number in range(stages)]
        return {"stages": named, "codeScans": [{"name": f"c{n}", "commands": ["x"]} for n in range(scans)]}

    assert len(settings({**LEAST, **given(47, 49)}).stages) == 47
    assert args(given(48, 50)) == [
        "slipway:stages must have at most 47 items, got a list of 48",
        "slipway:codeScans must have at most 49 items, got a list of 50",
    ]


def test_all_mistakes_are_reported_at_once() -> None:
    message, made = refuse_stack_file(
        "prod",
        {
            "slipway:source": None,
            "slipway:service": {"port": 0, "cpu": "256", "tasks": {"min": 0}},
            "slipway:stages": [
                {"strategy": {"canary": {"percent": 0}}, "tests": {}},
                {"name": "EU", "window": {"cron": "x"}},
            ],
            "slipway:notifications": {"slack": {"teamId": "T0", "channelId": "#ops"}},
            "slipway:token": "hunter2",
        },
        ["slipway:token"],
    )
    lines = message.split("\n")
    assert lines[0] == "10 mistakes in the configuration (Pulumi.yaml, Pulumi.prod.yaml):"
    assert sorted(lines[1:]) == [
        "  slipway:notifications.slack.channelId must be the id of a channel, such as C0123ABC4, of at most 255 "
        "characters, got '#ops'",
        "  slipway:service.cpu must be a whole number, got '256'",
        "  slipway:service.port must be between 1 and 65535, got 0",
        "  slipway:service.tasks.min must be between 1 and 5000, got 0",
        "  slipway:source is required",
        "  slipway:stages[0].strategy.canary.percent must be between 0.1 and 100, with at most one decimal, got 0",
        "  slipway:stages[0].tests.commands is required",
        "  slipway:stages[1].name must be 1 to 30 characters of a-z 0-9 -, got 'EU'",
        "  slipway:stages[1].window.cron must have 6 or 7 fields separated by spaces: seconds (always *), minutes "
        "0-59, hours 0-23, day of the month 1-31, month 1-12 or JAN-DEC, day of the week 1-7 or SUN-SAT, and "
        "optionally the year, got 'x'",
        "  slipway:token must not be secure: it would reach the state; put the value into Secrets Manager or Parameter "
        "Store and refer to it by ARN in slipway:service.secrets",
    ]
    assert made == STACK


def test_all_invalid_combinations_are_reported_at_once() -> None:
    overrides = {
        "pullRequests": {},
        "featureBranch": {},
        "registry": {"expireDays": 3},
        "codeScans": [{"name": "lint", "commands": ["true"]}] * 2,
        "stages": [
            {"name": "a", "service": {"port": False}, "strategy": {"blueGreen": {}}},
            {"name": "a", "strategy": {"canary": {"bakeMinutes": 1}}},
        ],
    }
    assert args(overrides) == [
        "slipway:codeScans must have different names, got ['lint', 'lint']",
        "slipway:source must be a connection with pull requests, got CodeCommit",
        "slipway:pullRequests.commands or scans must be given, unless the build has testCommands, got none",
        "slipway:stages must have different names, got ['a', 'a']",
        "slipway:registry.expireDays must not be given with featureBranch: its imageDays say when images expire",
        "slipway:stages must have no name with featureBranch, got ['a', 'a']: it deploys to its own only",
        "slipway:stages[0].strategy must be Rolling for a service without a port, got BlueGreen: there is no load "
        "balancer whose traffic could be shifted",
        "slipway:stages[1].strategy must have bakeMinutes of at least errorAlarm.minutes=2, got 1: the old tasks would "
        "be gone before the alarm could go off",
    ]


def test_an_invalid_key_is_not_also_reported_as_missing_or_by_a_rule_for_its_default() -> None:
    assert args({"service": {"cpu": 1024, "memory": "2048"}}) == [
        "slipway:service.memory must be a whole number, got '2048'"
    ]
    assert args(source(arn=7)) == ["slipway:source.connection.arn must be a string, got 7"]
    assert args({"notifications": {"emails": "ops@example.com"}}) == [
        "slipway:notifications.emails must be a list, got 'ops@example.com'"
    ]


@pytest.mark.parametrize(
    ("stages", "line"),
    [
        ([{"name": "Prod EU"}], "stages[0].name must be 1 to 30 characters of a-z 0-9 -, got 'Prod EU'"),
        ([{}, 1], "stages[1] must be a map, got 1"),
    ],
)
def test_mistakes_in_the_stages_are_reported_with_the_others(stages: list[Any], line: str) -> None:
    message, _ = refuse_stack_file("dev", {"slipway:service": {"port": 0}, "slipway:stages": stages})
    assert sorted(message.split("\n")[1:]) == [
        "  slipway:service.port must be between 1 and 65535, got 0",
        f"  slipway:{line}",
    ]


BLANKS: dict[str, tuple[dict[str, Any], str]] = {
    "an approval": (
        {"stages": [{"approval": None}]},
        "stages[0].approval is blank: write {} for the defaults, false to turn it off, or remove the key",
    ),
    "tests": (
        {"stages": [{"tests": None}]},
        "stages[0].tests is blank: write {} for the defaults, false to turn it off, or remove the key",
    ),
    "processes": ({"service": {"processes": None}}, "service.processes is blank: write {} for none, or remove the key"),
    "a process": (
        {"service": {"processes": {"worker": None}}},
        "service.processes.worker is blank: write {} for the defaults, or remove it",
    ),
    "a process in a stage": (
        {"service": {"processes": {"worker": {}}}, "stages": [{"service": {"processes": {"worker": None}}}]},
        "stages[0].service.processes.worker is blank: write {} for the defaults, or remove it",
    ),
    "a variable of a process": (
        {"service": {"processes": {"worker": {"environment": {"A": None}}}}},
        "service.processes.worker.environment['A'] is blank: write a value, or remove it",
    ),
    "a strategy": (
        {"stages": [{"strategy": None}]},
        "stages[0].strategy is blank: write {} for the defaults, or remove the key",
    ),
    "a kind of strategy": (
        {"stages": [{"strategy": {"canary": None}}]},
        "stages[0].strategy.canary is blank: write {} for the defaults",
    ),
    "a stage": ({"stages": [{}, None]}, "stages[1] is blank: write {} for the defaults, or remove it"),
    "a port": (
        {"service": {"port": None}},
        "service.port is blank: write a value, false to turn it off, or remove the key",
    ),
    "a number": ({"service": {"cpu": None}}, "service.cpu is blank: write a value, or remove the key"),
    "a variable": (
        {"service": {"environment": {"LEVEL": None}}},
        "service.environment['LEVEL'] is blank: write a value, or remove it",
    ),
    "a path": ({"service": {"paths": ["/a", None]}}, "service.paths[1] is blank: write a value, or remove it"),
    "a list": ({"service": {"paths": None}}, "service.paths is blank: write a value, or remove the key"),
    "a part": ({"service": None}, "service is blank: write {} for the defaults, or remove the key"),
    "a gate": (
        {"scanGate": None},
        "scanGate is blank: write {} for the defaults, false to turn it off, or remove the key",
    ),
    "the stages": ({"stages": None}, "stages is blank: write [] for none, or remove the key"),
    "an override of a stage": (
        {"service": {"port": 80}, "stages": [{"service": {"port": None}}]},
        "stages[0].service.port is blank: write a value, false to turn it off, or remove the key",
    ),
}


@pytest.mark.parametrize(("parts", "line"), BLANKS.values(), ids=BLANKS)
def test_a_blank_key_is_a_mistake_at_any_depth(parts: dict[str, Any], line: str) -> None:
    assert args(parts) == [f"slipway:{line}"]


def test_a_blank_part_reaches_the_program_as_an_empty_string_as_pulumi_passes_it() -> None:
    with pytest.raises(ConfigurationError, match="slipway:scanGate is blank"):
        read("storefront", "dev", {"slipway:source": json.dumps(LEAST["source"]), "slipway:scanGate": ""}, set())


def test_false_turns_off_optional_parts_and_nothing_else() -> None:
    [stage] = settings(
        {
            **LEAST,
            "service": {"errorAlarm": False, "url": "https://shop.example.com"},
            "stages": [{"approval": False, "tests": False, "service": {"url": False}}],
            "scanGate": False,
            "featureBranch": False,
        }
    ).stages
    assert (stage.approval, stage.tests, stage.service.error_alarm, stage.service.url) == (None, None, None, None)
    assert args({"build": False, "registry": False, "service": {"cpu": False, "paths": False}}) == [
        "slipway:service.cpu must be a whole number, got False",
        "slipway:service.paths must be a list, got False",
        "slipway:build must be a map, got False",
        "slipway:registry must be a map, got False",
    ]


def test_a_stage_removes_a_variable_that_the_file_says_is_no_secret() -> None:
    url = "postgres://shop:" + "hunter2@localhost/shop"
    general = {"environment": {"A": url, "B": url}, "notSecret": ["A", "B"]}
    [stage] = settings({**LEAST, "service": general, "stages": [{"service": {"environment": {"A": False}}}]}).stages
    assert (stage.service.environment, stage.service.not_secret) == ({"B": url}, ["B"])
    moved = {"environment": {"A": False}, "secrets": {"A": SECRET}}
    [stage] = settings({**LEAST, "service": general, "stages": [{"service": moved}]}).stages
    assert stage.service.not_secret == ["B"]
    own = {"environment": {"A": False}, "notSecret": ["A"]}
    assert args({"service": general, "stages": [{"service": own}]})[-1] == (
        "slipway:stages[0].service.notSecret must contain only names in environment, got ['A']"
    )


@pytest.mark.parametrize("wrong", [[], {}, [["A"]], 1, 1.5, True], ids=str)
def test_a_wrong_name_in_not_secret_is_reported_beside_a_stage_with_settings_of_its_own(wrong: Any) -> None:
    general = {"environment": {"A": "1"}, "notSecret": [wrong]}
    found = args({"service": general, "stages": [{"service": {"environment": {"A": False}}}]})
    assert [line.partition("notSecret")[0] for line in found] == ["slipway:service."]


def test_a_stage_removes_a_variable_of_the_file() -> None:
    service = {"environment": {"LEVEL": "info", "COLOR": "blue"}, "secrets": {"TOKEN": SECRET}}
    own = {"environment": {"LEVEL": False, "SIZE": "1"}, "secrets": {"TOKEN": False}}
    [stage] = settings({**LEAST, "service": service, "stages": [{"service": own}]}).stages
    assert (stage.service.environment, stage.service.secrets) == ({"COLOR": "blue", "SIZE": "1"}, {})
    assert args({"service": service, "stages": [{"service": {"environment": {"LEVLE": False}}}]}) == [
        "slipway:stages[0].service.environment['LEVLE'] must be a string, got False"
    ]


def test_rules_between_parts_are_checked_together_with_other_mistakes() -> None:
    assert args(
        {"source": IMAGE, "build": {}, "service": {"port": 99_999}, "stages": [{"name": "a"}, {"name": "a"}]}, "prod"
    ) == [
        "slipway:service.port must be between 1 and 65535, got 99999",
        "slipway:stages must have different names, got ['a', 'a']",
        "slipway:build must not be set if the source is an image",
    ]


CONSEQUENCES: dict[str, tuple[dict[str, Any], str]] = {
    "the shift of traffic without a port": (
        {"service": {"port": None}, "stages": [{"strategy": {"canary": {}}}]},
        "service.port is blank: write a value, false to turn it off, or remove the key",
    ),
    "the bake beside an alarm": (
        {"stages": [{"strategy": {"canary": {"bakeMinutes": -5}}}]},
        "stages[0].strategy.canary.bakeMinutes must be between ",
    ),
    "the memory of a size that there is not": (
        {"service": {"cpu": 300, "memory": 1}},
        "service.cpu must be one of ",
    ),
    "stages whose names are wrong": (
        {"stages": [{"name": "EU"}, {}]},
        "stages[0].name must be 1 to 30 characters of a-z 0-9 -, got 'EU'",
    ),
    "a source that is missing": ({"source": {}}, "source must have exactly one of "),
    "a wrong architecture": ({"service": {"cpuArchitecture": "ARM"}, "stages": [{}, {"name": "b"}]}, "service.cpuArch"),
}


@pytest.mark.parametrize(("parts", "line"), CONSEQUENCES.values(), ids=CONSEQUENCES)
def test_consequences_of_a_mistake_are_not_reported(parts: dict[str, Any], line: str) -> None:
    [found] = args(parts)
    assert found.startswith(f"slipway:{line}")


@pytest.mark.parametrize(
    ("key", "line"),
    [
        (
            "storefront:service",
            "storefront:service is not read; did you mean slipway:service? A key without a namespace "
            "has that of the project",
        ),
        (
            "storefront:loadbalancer",
            "storefront:loadbalancer is not read; did you mean slipway:loadBalancer? A key without a "
            "namespace has that of the project",
        ),
        ("slipways:service", "slipways:service is not read; did you mean slipway:service?"),
        ("Slipway:stages", "Slipway:stages is not read; did you mean slipway:stages?"),
        ("pulumi-slipway:stages", "pulumi-slipway:stages is not read; did you mean slipway:stages?"),
        (
            "storefront:scan_gate",
            "storefront:scan_gate is not read; did you mean slipway:scanGate? A key without a namespace has that of "
            "the project",
        ),
        (
            "storefront:slipway",
            "slipway is not read; write each key in it with the namespace, such as slipway:service",
        ),
        (
            "storefront:slipway.service",
            "slipway.service is not read; write each key in it with the namespace, such as slipway:service",
        ),
    ],
)
def test_a_key_outside_the_namespace_is_a_mistake(key: str, line: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        read("storefront", "dev", {"slipway:source": json.dumps(LEAST["source"]), key: "{}"}, set())
    assert str(error.value).split("\n")[1:] == [f"  {line}"]


@pytest.mark.parametrize(("key", "meant"), [("Service", "service"), ("loadbalancer", "loadBalancer")])
def test_a_key_with_other_capitalization_is_reported_with_the_right_one(key: str, meant: str) -> None:
    [line] = args({key: {}})
    assert line.startswith(f"slipway:{key} is not a key (did you mean {meant}?); possible here: ")


def test_a_project_with_a_name_like_the_namespace_has_keys_of_its_own() -> None:
    key = {"slipways:owner": "x", "slipways:services": "x"}
    assert read("slipways", "dev", {"slipway:source": json.dumps(LEAST["source"]), **key}, set()).name == "slipways-dev"


@pytest.mark.parametrize(
    "key",
    ["aws:region", "pulumi:tags", "storefront:owner", "storefront:registryUrl", "datadog:service", "slides:stages"],
)
def test_keys_of_other_namespaces_are_ignored(key: str) -> None:
    made = read("storefront", "dev", {"slipway:source": json.dumps(LEAST["source"]), key: "x"}, set())
    assert made == settings(LEAST)


@pytest.mark.parametrize(
    "overrides",
    [
        {"service": [{"secrets": {"TOKEN": "hunter2"}}]},
        {"service": {"port": {"secrets": {"TOKEN": "hunter2"}}}},
        {"service": {"secrets": ["hunter2"]}},
        {"stages": {"service": {"secrets": {"TOKEN": "hunter2"}}}},
        {"source": [{"TOKEN": "hunter2"}]},
        {"codeScans": [{"name": "lint", "commands": {"TOKEN": "hunter2"}}]},
    ],
)
def test_a_misplaced_value_is_not_printed_if_it_may_be_a_secret(overrides: dict[str, Any]) -> None:
    [*lines] = args(overrides)
    assert lines
    assert "hunter2" not in "\n".join(lines)


@pytest.mark.parametrize("key", ["service", "source", "token"])
def test_secure_values_are_rejected_and_never_printed(key: str) -> None:
    value = {"secrets": {"TOKEN": "hunter2"}}
    message, made = refuse_stack_file("dev", {f"slipway:{key}": value}, [f"slipway:{key}"])
    assert message.split("\n") == [
        "a mistake in the configuration (Pulumi.yaml, Pulumi.dev.yaml):",
        f"  slipway:{key} must not be secure: it would reach the state; put the value into Secrets Manager or "
        "Parameter Store and refer to it by ARN in slipway:service.secrets",
    ]
    assert made == STACK


def test_secure_values_of_other_namespaces_are_ignored() -> None:
    resources = deploy_stack_file("dev", {"datadog:apiKey": "hunter2"}, ["datadog:apiKey"])
    assert len(of_type(resources, "aws:ecs/service:Service")) == 1


@pytest.mark.parametrize("secrets", ["hunter2", {"TOKEN": 31337}, {"TOKEN": ["hunter2"]}])
def test_a_value_in_place_of_a_reference_is_never_printed(secrets: Any) -> None:
    message, made = refuse_stack_file("dev", {"slipway:service": {"secrets": secrets}})
    assert [secret for secret in ("hunter2", "31337") if secret in message] == []
    assert made == STACK


LONG = (
    "project and stack must together have a name of at most 32 characters of a-z 0-9 and single - between them, "
    "not starting with internal-, got "
)


@pytest.mark.parametrize(
    ("app", "stack"),
    [
        ("Store", "dev"),
        ("store_front", "dev"),
        ("1store", "dev"),
        ("s" * 29, "dev"),
        ("a-", "dev"),
        ("internal", "dev"),
    ],
)
def test_names_that_some_resource_could_not_have_are_rejected(app: str, stack: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        settings(LEAST, stack, app)
    assert str(error.value).split("\n") == [
        "a mistake in the configuration (Pulumi.yaml, Pulumi.dev.yaml):",
        f"  {LONG}'{app}-{stack}': change `name` in Pulumi.yaml, or the stack's name",
    ]


@pytest.mark.parametrize("environment", ["e" * 30, "e-", "a--b"])
def test_an_environment_whose_service_could_not_have_its_name_is_rejected(environment: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        settings({**LEAST, "stages": [{"name": environment}]}, app="s" * 27)
    assert str(error.value).split("\n")[1:] == [
        "  project and name of a stage must together have a name of at most 32 characters of a-z 0-9 and single - "
        f"between them, not starting with internal-, got '{'s' * 27}-{environment}': shorten {environment!r}"
    ]
