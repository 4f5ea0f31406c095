import dataclasses
import json
from typing import Any

import pytest
from pydantic.alias_generators import to_camel
from slipway import Approval, CodeCommit, Connection, RegistryArgs, Rolling, Tasks
from slipway.build import BuildSettings
from slipway.load_balancer import LoadBalancerSettings
from slipway.service import ServiceSettings
from slipway.settings import ConfigurationError, ExistingNetwork, NewNetwork, Settings, read
from unit.harness import deploy_stack_file, of_type, only, refuse_stack_file

STACK = ["pulumi:pulumi:Stack"]
GITHUB = "arn:aws:codeconnections:eu-west-1:123456789012:connection/0f-1"
SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-a1b2c3"
LEAST = {"source": {"codecommit": {"repository": "storefront"}}, "service": {}}
FULL: dict[str, Any] = {
    "source": {"connection": {"arn": GITHUB, "repository": "acme/storefront", "branch": "release"}},
    "service": {
        "port": 3000,
        "healthPath": "/healthz",
        "cpu": 1024,
        "memory": 4096,
        "cpuArchitecture": "ARM64",
        "tasks": {"min": 3, "max": 9, "targetCpuPercent": 40},
        "environment": {"LOG_LEVEL": "debug"},
        "secrets": {"PASSWORD": f"{SECRET}:password::"},
        "secretsKmsKeyArns": ["arn:aws:kms:eu-west-1:123456789012:key/k"],
        "readOnlyRootFilesystem": False,
        "healthCheckGraceSeconds": 90,
        "stopTimeoutSeconds": 20,
        "paths": ["/api/*"],
        "listenerPriority": 7,
        "keepVerified": 9,
        "logRetentionDays": 7,
    },
    "stages": [
        {
            "name": "staging",
            "approval": {},
            "strategy": {"rolling": {"minimumHealthyPercent": 50, "maximumPercent": 150, "deadlineMinutes": 20}},
        }
    ],
    "build": {
        "context": "app",
        "dockerfile": "docker/Dockerfile",
        "testCommands": ["make test"],
        "buildArgs": {"VERSION": "1"},
        "computeType": "BUILD_GENERAL1_LARGE",
        "timeoutMinutes": 45,
        "builderImage": "example/buildkit:1",
        "logRetentionDays": 14,
    },
    "registry": {
        "keepImages": 50,
        "untaggedDays": 3,
        "kmsKeyArn": "arn:aws:kms:eu-west-1:123456789012:key/k",
        "pullPrincipals": ["arn:aws:iam::111122223333:role/x"],
        "retain": True,
    },
    "loadBalancer": {
        "certificateArn": "arn:aws:acm:eu-west-1:123456789012:certificate/1",
        "internal": True,
        "ingressCidrs": ["10.0.0.0/8"],
        "deletionProtection": True,
        "idleTimeoutSeconds": 300,
    },
    "network": {
        "existing": {
            "vpcId": "vpc-0a",
            "publicSubnetIds": ["subnet-1", "subnet-2"],
            "privateSubnetIds": ["subnet-3"],
        }
    },
}


def settings(data: dict[str, Any], stack: str = "dev", app: str = "storefront") -> Settings:
    return read(app, stack, {key: json.dumps(value) for key, value in data.items()}, set())


def keys(kind: Any) -> set[str]:
    return {to_camel(field.name) for field in dataclasses.fields(kind)}


def test_the_least_that_a_stack_file_says_is_where_commits_come_from() -> None:
    assert settings(LEAST) == Settings(
        name="storefront-dev",
        service_name="storefront-dev",
        environment_name="dev",
        source=CodeCommit(repository="storefront"),
        service=ServiceSettings(),
        strategy=Rolling(),
        approval=None,
        build=BuildSettings(),
        registry=RegistryArgs(),
        load_balancer=LoadBalancerSettings(),
        network=NewNetwork(),
    )


def test_every_key_reaches_what_it_is_for() -> None:
    assert settings(FULL) == Settings(
        name="storefront-dev",
        service_name="storefront-staging",
        environment_name="staging",
        source=Connection(arn=GITHUB, repository="acme/storefront", branch="release"),
        service=ServiceSettings(
            port=3000,
            health_path="/healthz",
            cpu=1024,
            memory=4096,
            cpu_architecture="ARM64",
            tasks=Tasks(min=3, max=9, target_cpu_percent=40),
            environment={"LOG_LEVEL": "debug"},
            secrets={"PASSWORD": f"{SECRET}:password::"},
            secrets_kms_key_arns=["arn:aws:kms:eu-west-1:123456789012:key/k"],
            read_only_root_filesystem=False,
            health_check_grace_seconds=90,
            stop_timeout_seconds=20,
            paths=["/api/*"],
            listener_priority=7,
            keep_verified=9,
            log_retention_days=7,
        ),
        strategy=Rolling(minimum_healthy_percent=50, maximum_percent=150, deadline_minutes=20),
        approval=Approval(),
        build=BuildSettings(
            context="app",
            dockerfile="docker/Dockerfile",
            test_commands=["make test"],
            build_args={"VERSION": "1"},
            compute_type="BUILD_GENERAL1_LARGE",
            timeout_minutes=45,
            builder_image="example/buildkit:1",
            log_retention_days=14,
        ),
        registry=RegistryArgs(
            keep_images=50,
            untagged_days=3,
            kms_key_arn="arn:aws:kms:eu-west-1:123456789012:key/k",
            pull_principals=["arn:aws:iam::111122223333:role/x"],
            retain=True,
        ),
        load_balancer=LoadBalancerSettings(
            certificate_arn="arn:aws:acm:eu-west-1:123456789012:certificate/1",
            internal=True,
            ingress_cidrs=["10.0.0.0/8"],
            deletion_protection=True,
            idle_timeout_seconds=300,
        ),
        network=ExistingNetwork(
            vpc_id="vpc-0a", public_subnet_ids=["subnet-1", "subnet-2"], private_subnet_ids=["subnet-3"]
        ),
    )


def test_the_file_that_says_everything_leaves_no_key_out() -> None:
    assert keys(ServiceSettings) == FULL["service"].keys()
    assert keys(Tasks) == FULL["service"]["tasks"].keys()
    # A buildspec of ones own is refused beside the settings of Slipway's build.
    assert keys(BuildSettings) == FULL["build"].keys() | {"buildspec"}
    assert keys(RegistryArgs) == FULL["registry"].keys()
    assert keys(LoadBalancerSettings) == FULL["loadBalancer"].keys()
    assert keys(Connection) == FULL["source"]["connection"].keys()
    assert keys(Rolling) == FULL["stages"][0]["strategy"]["rolling"].keys()
    assert keys(ExistingNetwork) == FULL["network"]["existing"].keys()
    assert keys(Approval) == FULL["stages"][0]["approval"].keys()


def test_the_other_kinds_of_each_choice() -> None:
    told = settings(
        {
            **LEAST,
            "source": {"codecommit": {"repository": "web", "branch": "next"}},
            "build": {"buildspec": "ci/buildspec.yml"},
            "network": {"new": {"cidr": "10.8.0.0/16", "zones": 3, "natGateways": "OnePerAz"}},
        }
    )
    assert told.source == CodeCommit(repository="web", branch="next")
    assert told.build == BuildSettings(buildspec="ci/buildspec.yml")
    assert told.network == NewNetwork(cidr="10.8.0.0/16", zones=3, nat_gateways="OnePerAz")


def test_the_program_hands_on_all_that_a_stack_file_says() -> None:
    resources = deploy_stack_file("dev", {f"slipway:{key}": value for key, value in FULL.items()})
    pipeline = only(resources, "aws:codepipeline/pipeline:Pipeline").inputs
    service = only(resources, "aws:ecs/service:Service").inputs
    template = only(resources, "aws:ecs/taskDefinition:TaskDefinition").inputs
    project = only(resources, "aws:codebuild/project:Project").inputs
    variables = only(resources, "aws:lambda/function:Function").inputs["environment"]["variables"]
    balancer = only(resources, "aws:lb/loadBalancer:LoadBalancer").inputs
    stages = [(stage["name"], [action["name"] for action in stage["actions"]]) for stage in pipeline["stages"]]

    assert stages == [("Source", ["Source"]), ("Build", ["Build"]), ("staging", ["Approve", "Deploy"])]
    assert pipeline["stages"][0]["actions"][0]["configuration"]["FullRepositoryId"] == "acme/storefront"
    assert (service["name"], service["networkConfiguration"]["subnets"]) == ("storefront-staging", ["subnet-3"])
    assert (service["deploymentMinimumHealthyPercent"], service["deploymentMaximumPercent"]) == (50, 150)
    assert (template["cpu"], template["runtimePlatform"]["cpuArchitecture"]) == ("1024", "ARM64")
    assert (project["buildTimeout"], project["environment"]["type"]) == (45, "ARM_CONTAINER")
    assert (variables["ENVIRONMENT"], variables["KEEP_VERIFIED"]) == ("staging", "9")
    assert (balancer["idleTimeout"], balancer["subnets"]) == (300, ["subnet-1", "subnet-2"])
    assert only(resources, "aws:ecr/repository:Repository").retain is True
    assert len(of_type(resources, "aws:lambda/invocation:Invocation")) == 2
    assert of_type(resources, "awsx:ec2:Vpc") == []


def test_the_stack_is_the_environment_unless_the_stage_has_a_name() -> None:
    assert settings(LEAST, stack="prod").environment_name == "prod"
    assert settings({**LEAST, "stages": [{"name": "eu"}]}, stack="prod").service_name == "storefront-eu"


SERVICE_KEYS = (
    "port, healthPath, cpu, memory, cpuArchitecture, tasks, environment, secrets, secretsKmsKeyArns, "
    "readOnlyRootFilesystem, healthCheckGraceSeconds, stopTimeoutSeconds, paths, listenerPriority, keepVerified, "
    "logRetentionDays"
)
LOG_DAYS = "[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653]"
BRANCH = "the name of one branch, without spaces and patterns, since what matches is released"


def rolling(**told: int) -> dict[str, Any]:
    return {"stages": [{"strategy": {"rolling": told}}]}


RULES: dict[str, tuple[dict[str, Any], str]] = {
    # source
    "a source is required": ({"source": None}, "source is required"),
    "a source is one of several": (
        {"source": {}},
        "source must say exactly one of codecommit, connection, got none",
    ),
    "there are not two sources": (
        {
            "source": {
                "codecommit": {"repository": "a"},
                "connection": {"arn": GITHUB, "repository": "acme/a"},
            }
        },
        "source must say exactly one of codecommit, connection, got codecommit, connection",
    ),
    "a repository is required": ({"source": {"codecommit": {}}}, "source.codecommit.repository is required"),
    "a repository of CodeCommit has a plain name": (
        {"source": {"codecommit": {"repository": "acme/web"}}},
        "source.codecommit.repository must be 1 to 100 characters of A-Z a-z 0-9 . _ -, got 'acme/web'",
    ),
    "a branch is no pattern": (
        {"source": {"codecommit": {"repository": "web", "branch": "v*"}}},
        f"source.codecommit.branch must be {BRANCH}, got 'v*'",
    ),
    "a connection has an ARN": (
        {"source": {"connection": {"arn": "github", "repository": "acme/web"}}},
        "source.connection.arn must be the ARN of a connection, "
        "arn:aws:codeconnections:<region>:<account>:connection/<id>, got 'github'",
    ),
    "a repository of a connection has an owner": (
        {"source": {"connection": {"arn": GITHUB, "repository": "web"}}},
        "source.connection.repository must be <owner>/<repository>, got 'web'",
    ),
    "a branch of a connection is no pattern": (
        {"source": {"connection": {"arn": GITHUB, "repository": "acme/web", "branch": "a b"}}},
        f"source.connection.branch must be {BRANCH}, got 'a b'",
    ),
    "S3 is no source yet": (
        {"source": {"s3": {"bucket": "b", "key": "k"}}},
        "source.s3 is not a key; possible here: codecommit, connection",
    ),
    "an image is no source yet": (
        {"source": {"image": {"repository": "r", "tag": "t"}}},
        "source.image is not a key; possible here: codecommit, connection",
    ),
    # service
    "a service is required": ({"service": None}, "service is required"),
    "a service is an object": ({"service": "web"}, 'service must be an object, got "web"'),
    "ports end at 65535": (
        {"service": {"port": 65536}},
        "service.port must be between 1 and 65535, got 65536",
    ),
    "a port is a number": ({"service": {"port": "80"}}, 'service.port must be a valid integer, got "80"'),
    "a health path is a path": (
        {"service": {"healthPath": "healthz"}},
        "service.healthPath must start with /, got 'healthz'",
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
        "service.tasks.max must be between min=3 and 5000, got 2",
    ),
    "scaling aims between 10 and 90 percent": (
        {"service": {"tasks": {"targetCpuPercent": 95}}},
        "service.tasks.targetCpuPercent must be between 10 and 90, got 95",
    ),
    "a variable is set once": (
        {"service": {"environment": {"TOKEN": "x"}, "secrets": {"TOKEN": SECRET}}},
        "service.environment must not have the names that secrets has, got ['TOKEN'] in both",
    ),
    "a secret is a reference and what stands there is not repeated": (
        {"service": {"secrets": {"TOKEN": "hunter2"}}},
        "service.secrets must be ARNs of secrets or parameters, and these are not: ['TOKEN']",
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
        "service.paths must be 1 to 5 patterns that start with /, got ['/1', '/2', '/3', '/4', '/5', '/6']",
    ),
    "a path starts with a slash": (
        {"service": {"paths": ["api/*"]}},
        "service.paths must be 1 to 5 patterns that start with /, got ['api/*']",
    ),
    "a rule has a priority": (
        {"service": {"listenerPriority": 0}},
        "service.listenerPriority must be between 1 and 50000, got 0",
    ),
    "some verified release is kept": (
        {"service": {"keepVerified": 21}},
        "service.keepVerified must be between 1 and 20, got 21",
    ),
    "logs are kept as long as CloudWatch can": (
        {"service": {"logRetentionDays": 2}},
        f"service.logRetentionDays must be one of {LOG_DAYS}, got 2",
    ),
    "a misspelt key is told with those there are": (
        {"service": {"prot": 80}},
        f"service.prot is not a key; possible here: {SERVICE_KEYS}",
    ),
    "keys are camelCase": (
        {"service": {"health_path": "/"}},
        f"service.health_path is not a key; possible here: {SERVICE_KEYS}",
    ),
    "what the program decides is no key": (
        {"service": {"clusterArn": "x"}},
        f"service.clusterArn is not a key; possible here: {SERVICE_KEYS}",
    ),
    "a misspelt key further in is told with those there": (
        {"service": {"tasks": {"minimum": 1}}},
        "service.tasks.minimum is not a key; possible here: min, max, targetCpuPercent",
    ),
    # stages
    "there is a stage": ({"stages": []}, "stages must be one deploy stage, got 0"),
    "there are not two stages yet": ({"stages": [{}, {}]}, "stages must be one deploy stage, got 2"),
    "an environment has a name that a tag can have": (
        {"stages": [{"name": "Prod EU"}]},
        "stages[0].name must be 1 to 30 characters of a-z 0-9 -, got 'Prod EU'",
    ),
    "a stage has no tests yet": (
        {"stages": [{"tests": {"commands": ["true"]}}]},
        "stages[0].tests is not a key; possible here: name, approval, strategy",
    ),
    "there is no canary yet": (
        {"stages": [{"strategy": {"canary": {"percent": 10}}}]},
        "stages[0].strategy.canary is not a key; possible here: rolling",
    ),
    "there is no blue and green yet": (
        {"stages": [{"strategy": {"blueGreen": {}}}]},
        "stages[0].strategy.blueGreen is not a key; possible here: rolling",
    ),
    "a strategy is one of several": (
        {"stages": [{"strategy": {}}]},
        "stages[0].strategy must say exactly one of rolling, got none",
    ),
    "an approval has no settings yet": (
        {"stages": [{"approval": {"notify": ["ops@example.com"]}}]},
        "stages[0].approval.notify is not a key; possible here: none",
    ),
    "healthy tasks are a share": (
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
    # build
    "the context is inside the repository": (
        {"build": {"context": "../app"}},
        "build.context must be a path inside the repository, got '../app'",
    ),
    "the Dockerfile is inside the context": (
        {"build": {"dockerfile": "/Dockerfile"}},
        "build.dockerfile must be a path inside the context, got '/Dockerfile'",
    ),
    "a test command is one line": (
        {"build": {"testCommands": ["true", " "]}},
        "build.testCommands must be commands of one line each, got [' ']",
    ),
    "test commands are a list": (
        {"build": {"testCommands": "make"}},
        'build.testCommands must be a valid array, got "make"',
    ),
    "a build argument has a name": (
        {"build": {"buildArgs": {"A-B": "1", "C": "x\ny", "D": "1"}}},
        "build.buildArgs must have names of A-Z a-z 0-9 _ and values of one line, got wrong ones: ['A-B', 'C']",
    ),
    "commands and arguments fit into the environment of a build": (
        {"build": {"testCommands": ["x" * 4400], "buildArgs": {"A": "y" * 98}}},
        "build.testCommands and buildArgs must have at most 4500 characters together, got 4501: "
        "put the commands into a script in the repository",
    ),
    "a buildspec stands alone": (
        {"build": {"buildspec": "b.yml", "testCommands": ["true"]}},
        "build.buildspec must not be given beside testCommands or buildArgs, got 'b.yml': put them into that file",
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
    "what has no tag is kept for a day at least": (
        {"registry": {"untaggedDays": 0}},
        "registry.untaggedDays must be between 1 and 3650, got 0",
    ),
    "a key has an ARN": (
        {"registry": {"kmsKeyArn": "alias/mine"}},
        "registry.kmsKeyArn must be the ARN of a KMS key, got 'alias/mine'",
    ),
    "whoever pulls has an ARN": (
        {"registry": {"pullPrincipals": ["111122223333"]}},
        "registry.pullPrincipals must be ARNs, such as arn:aws:iam::111122223333:role/x, got ['111122223333']",
    ),
    # loadBalancer
    "a certificate has an ARN": (
        {"loadBalancer": {"certificateArn": "mine"}},
        "loadBalancer.certificateArn must be the ARN of a certificate in ACM, got 'mine'",
    ),
    "clients have ranges": (
        {"loadBalancer": {"ingressCidrs": ["10.0.0.1/8"]}},
        "loadBalancer.ingressCidrs must be IPv4 ranges such as 10.0.0.0/8, got ['10.0.0.1/8']",
    ),
    "a connection may be silent for 4000 seconds": (
        {"loadBalancer": {"idleTimeoutSeconds": 4001}},
        "loadBalancer.idleTimeoutSeconds must be between 1 and 4000, got 4001",
    ),
    # network
    "a network is one of several": (
        {"network": {}},
        "network must say exactly one of new, existing, got none",
    ),
    "a network has two to four zones": (
        {"network": {"new": {"zones": 1}}},
        "network.new.zones must be between 2 and 4, got 1",
    ),
    "a network has a range": (
        {"network": {"new": {"cidr": "10.0.0.0/99"}}},
        "network.new.cidr must be an IPv4 range such as 10.0.0.0/16, got '10.0.0.0/99'",
    ),
    "tasks need a way out": (
        {"network": {"new": {"natGateways": "None"}}},
        "network.new.natGateways must be one of ['Single', 'OnePerAz'], got 'None'",
    ),
    "a VPC has an id": (
        {"network": {"existing": {**FULL["network"]["existing"], "vpcId": "mine"}}},
        "network.existing.vpcId must be the id of a VPC, got 'mine'",
    ),
    "a balancer has two subnets": (
        {"network": {"existing": {**FULL["network"]["existing"], "publicSubnetIds": ["subnet-1"]}}},
        "network.existing.publicSubnetIds must be at least two, got ['subnet-1']",
    ),
    "tasks have a subnet": (
        {"network": {"existing": {**FULL["network"]["existing"], "privateSubnetIds": []}}},
        "network.existing.privateSubnetIds must be at least one, got []",
    ),
    # the file
    "an unknown part is told with those there are": (
        {"sevice": {}},
        "sevice is not a key; possible here: source, service, stages, build, registry, loadBalancer, network",
    ),
    "text that is no JSON is told as what it is": (
        {"build": "{context: app"},
        'build must be an object, got "{context: app"',
    ),
    "a value is told as it was written": (
        {"service": {"healthPath": "my_path"}},
        "service.healthPath must start with /, got 'my_path'",
    ),
}


@pytest.mark.parametrize(("overrides", "line"), RULES.values(), ids=RULES)
def test_a_mistake_is_told_by_its_key_its_rule_and_its_value_before_anything_is_made(
    overrides: dict[str, Any], line: str
) -> None:
    message, made = refuse_stack_file("dev", {f"slipway:{key}": value for key, value in overrides.items()})
    assert message.split("\n") == [
        "a mistake in the configuration (Pulumi.yaml, Pulumi.dev.yaml):",
        f"  slipway:{line}",
    ]
    assert made == STACK


def test_all_mistakes_are_told_at_once() -> None:
    message, made = refuse_stack_file(
        "prod",
        {
            "slipway:source": None,
            "slipway:service": {"port": 0, "cpu": "256", "tasks": {"min": 0}},
            "slipway:stages": [{"strategy": {"canary": {}}, "tests": {}}],
            "slipway:token": "hunter2",
        },
        ["slipway:token"],
    )
    lines = message.split("\n")
    assert lines[0] == "7 mistakes in the configuration (Pulumi.yaml, Pulumi.prod.yaml):"
    assert sorted(lines[1:]) == [
        '  slipway:service.cpu must be a valid integer, got "256"',
        "  slipway:service.port must be between 1 and 65535, got 0",
        "  slipway:service.tasks.min must be between 1 and 5000, got 0",
        "  slipway:source is required",
        "  slipway:stages[0].strategy.canary is not a key; possible here: rolling",
        "  slipway:stages[0].tests is not a key; possible here: name, approval, strategy",
        "  slipway:token must not be secure: it would reach the state; put the value into Secrets Manager or Parameter "
        "Store and refer to it by ARN in slipway:service.secrets",
    ]
    assert made == STACK


@pytest.mark.parametrize(
    ("stages", "line"),
    [
        ([{"name": "Prod EU"}], "stages[0].name must be 1 to 30 characters of a-z 0-9 -, got 'Prod EU'"),
        ([], "stages must be one deploy stage, got 0"),
    ],
)
def test_mistakes_in_the_stages_are_told_with_those_elsewhere(stages: list[Any], line: str) -> None:
    message, _ = refuse_stack_file("dev", {"slipway:service": {"port": 0}, "slipway:stages": stages})
    assert sorted(message.split("\n")[1:]) == [
        "  slipway:service.port must be between 1 and 65535, got 0",
        f"  slipway:{line}",
    ]


@pytest.mark.parametrize("key", ["service", "source", "token"])
def test_secure_values_are_refused_and_never_printed(key: str) -> None:
    value = {"secrets": {"TOKEN": "hunter2"}}
    message, made = refuse_stack_file("dev", {f"slipway:{key}": value}, [f"slipway:{key}"])
    assert message.split("\n") == [
        "a mistake in the configuration (Pulumi.yaml, Pulumi.dev.yaml):",
        f"  slipway:{key} must not be secure: it would reach the state; put the value into Secrets Manager or "
        "Parameter Store and refer to it by ARN in slipway:service.secrets",
    ]
    assert made == STACK


def test_secure_values_of_others_are_none_of_our_business() -> None:
    resources = deploy_stack_file("dev", {"datadog:apiKey": "hunter2"}, ["datadog:apiKey"])
    assert len(of_type(resources, "aws:ecs/service:Service")) == 1


@pytest.mark.parametrize("secrets", ["hunter2", {"TOKEN": 31337}, {"TOKEN": ["hunter2"]}])
def test_what_stands_where_a_reference_should_is_never_printed(secrets: Any) -> None:
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
def test_names_that_some_resource_could_not_have_are_refused(app: str, stack: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        settings(LEAST, stack, app)
    assert str(error.value).split("\n") == [
        "a mistake in the configuration (Pulumi.yaml, Pulumi.dev.yaml):",
        f"  {LONG}'{app}-{stack}': change `name` in Pulumi.yaml, or the stack's name",
    ]


def test_an_environment_that_makes_the_services_name_too_long_is_refused() -> None:
    with pytest.raises(ConfigurationError) as error:
        settings({**LEAST, "stages": [{"name": "e" * 30}]}, app="s" * 27)
    assert str(error.value).split("\n")[1:] == [
        "  project and slipway:stages[0].name must together have a name of at most 40 characters of a-z 0-9 "
        f"and single - between them, got '{'s' * 27}-{'e' * 30}'"
    ]
