"""What the tasks of a service run on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from slipway import BlueGreen, CodeDeployBlueGreen, Ec2, Fargate, FargateSpot, Job, ManagedInstances, Migration, Process
from slipway.release.function.contract import MigrationTask
from slipway.release.function.reconcile import capacity_of
from slipway.service.args import ServiceSettings
from slipway.service.capacity import Capacity
from unit.examples import service, service_args
from unit.harness import (
    Resource,
    deploy,
    deploy_stack_file,
    granted,
    named,
    of_type,
    only,
    refuse_stack_file,
    rights,
    sg,
)
from unit.releases import SETTINGS

SERVICE = "aws:ecs/service:Service"
MACHINE = "aws:sfn/stateMachine:StateMachine"
ON_DEMAND = {"capacityProvider": "FARGATE", "weight": 1, "base": 1}
SPOT = {"capacityProvider": "FARGATE_SPOT", "weight": 3, "base": 0}
MANAGED: dict[str, Any] = {"capacity": {"managedInstances": {"capacityProvider": "instances"}}}
INSTANCES = {"capacityProvider": "instances", "weight": 1, "base": 0}
PARTS: dict[str, Any] = {
    "processes": {"worker": Process(command=["work"], capacity=FargateSpot(base=0, on_demand_weight=0))},
    "migration": Migration(command=["migrate"]),
    "jobs": {"report": Job(command=["report"], schedule="rate(1 hour)")},
}
every_kind = pytest.mark.parametrize(
    ("capacity", "strategy", "compatibility"),
    [
        (FargateSpot(), [ON_DEMAND, SPOT], "FARGATE"),
        (Ec2(capacity_provider="instances"), [INSTANCES], "EC2"),
        (ManagedInstances(capacity_provider="instances"), [INSTANCES], "MANAGED_INSTANCES"),
    ],
    ids=lambda value: type(value).__name__,
)


@cache
def on(capacity: Capacity) -> list[Resource]:
    return deploy(lambda: service("api", capacity=capacity, migration=PARTS["migration"], jobs=PARTS["jobs"]))


def settings(resources: list[Resource]) -> dict[str, Any]:
    return dict(named(resources, "api-release-rollout-1").json("input")["rollout"]["settings"])


def task(resources: list[Resource]) -> dict[str, Any]:
    """How the state machine of the job runs its task."""
    return dict(only(resources, MACHINE).json("definition")["States"]["Run"]["Arguments"])


@every_kind
def test_the_service_its_template_and_the_function_get_the_capacity(
    capacity: Capacity, strategy: list[dict[str, Any]], compatibility: str
) -> None:
    made = on(capacity)
    inputs = only(made, SERVICE).inputs
    assert (inputs["capacityProviderStrategies"], "launchType" in inputs) == (strategy, False)
    assert named(made, "api-template").inputs["requiresCompatibilities"] == [compatibility]
    assert settings(made)["capacity"] == strategy


def test_fargate_is_as_before_there_was_a_choice() -> None:
    made = on(Fargate())
    inputs = only(made, SERVICE).inputs
    assert (inputs["launchType"], "capacityProviderStrategies" in inputs) == ("FARGATE", False)
    assert "capacity" not in settings(made)
    assert "capacity" not in settings(made)["migration"]
    assert (task(made)["LaunchType"], "CapacityProviderStrategy" in task(made)) == ("FARGATE", False)


def test_a_migration_and_a_job_are_not_on_spot() -> None:
    made = on(FargateSpot())
    assert "capacity" not in settings(made)["migration"]
    assert task(made)["LaunchType"] == "FARGATE"
    assert named(made, "api-migration-template").inputs["requiresCompatibilities"] == ["FARGATE"]


def test_a_migration_and_a_job_are_on_the_instances_of_their_service() -> None:
    made = on(ManagedInstances(capacity_provider="instances"))
    assert settings(made)["migration"]["capacity"] == [INSTANCES]
    assert task(made)["CapacityProviderStrategy"] == [{"CapacityProvider": "instances", "Weight": 1, "Base": 0}]
    assert "LaunchType" not in task(made)
    for name in ("api-migration-template", "api-report-template"):
        assert named(made, name).inputs["requiresCompatibilities"] == ["MANAGED_INSTANCES"]


def test_a_process_has_the_capacity_of_its_service_or_one_of_its_own() -> None:
    made = deploy(lambda: service("api", capacity=FargateSpot(), **PARTS))
    [worker] = settings(made)["processes"]
    assert settings(made)["capacity"] == [ON_DEMAND, SPOT]
    assert worker["settings"]["capacity"] == [{**ON_DEMAND, "weight": 0, "base": 0}, SPOT]
    plain = {"worker": Process(command=["work"])}
    [worker] = settings(deploy(lambda: service("api", capacity=FargateSpot(), processes=plain)))["processes"]
    assert worker["settings"]["capacity"] == [ON_DEMAND, SPOT]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            {"capacity": Ec2(capacity_provider="instances"), "ephemeral_storage_gib": 50},
            "capacity must be on Fargate with ephemeral_storage_gib, got Ec2: the disk is that of the instance",
        ),
        (
            {"capacity": ManagedInstances(capacity_provider="instances"), "assign_public_ip": True},
            "capacity must be on Fargate with assign_public_ip, got ManagedInstances: tasks on instances get no public "
            "IP address",
        ),
        (
            {"capacity": FargateSpot(), "strategy": CodeDeployBlueGreen()},
            "strategy must not be CodeDeployBlueGreen with capacity FargateSpot: CodeDeploy supports no capacity "
            "providers; BlueGreen does",
        ),
    ],
    ids=["disk", "address", "CodeDeploy"],
)
def test_what_does_not_work_with_a_capacity_is_refused(args: dict[str, Any], message: str) -> None:
    def refused(**given: Any) -> str:
        with pytest.raises(ValueError) as error:
            deploy(lambda: service_args("api", **given) and None)
        return str(error.value)

    assert refused(**args) == message
    deploy(lambda: service_args("api", **{**args, "capacity": Fargate()}) and None)


def test_what_works_with_a_capacity_is_not_refused() -> None:
    deploy(lambda: service("api", capacity=FargateSpot(), assign_public_ip=True, ephemeral_storage_gib=50))
    deploy(lambda: service("api", capacity=Ec2(capacity_provider="instances"), strategy=BlueGreen()))
    spot = FargateSpot(on_demand_weight=0, base=0)
    assert ServiceSettings(capacity=spot, cpu_architecture="ARM64").capacity is spot


# Stack files


def program(**keys: Any) -> list[Resource]:
    return deploy_stack_file("dev", {f"slipway:{key}": value for key, value in keys.items()})


def test_a_new_cluster_is_associated_with_spot_before_the_service_is_created() -> None:
    made = program(service={"capacity": {"fargateSpot": {}}})
    [association] = of_type(made, "aws:ecs/clusterCapacityProviders:ClusterCapacityProviders")
    assert association.inputs == {
        "clusterName": "storefront-dev",
        "capacityProviders": ["FARGATE", "FARGATE_SPOT"],
    }
    found = only(made, SERVICE)
    assert found.inputs["cluster"] == "arn:aws:ecs:eu-west-1:123456789012:cluster/storefront-dev"
    assert association.name in found.depends_on


def test_a_cluster_without_spot_has_no_association() -> None:
    assert of_type(program(), "aws:ecs/clusterCapacityProviders:ClusterCapacityProviders") == []


def test_instances_are_those_of_an_existing_cluster() -> None:
    keys = {"service": {"capacity": {"ec2": {"capacityProvider": "instances"}}}}
    made = program(**keys, cluster={"existing": {"name": "shared"}})
    assert only(made, SERVICE).inputs["capacityProviderStrategies"] == [INSTANCES]
    error, _ = refuse_stack_file("dev", {"slipway:service": keys["service"]})
    assert (
        "slipway:stages[0].service.capacity.ec2.capacityProvider must be one of cluster.new.autoScalingGroups, [], in "
        "a new cluster"
    ) in error
    error, _ = refuse_stack_file("dev", {"slipway:service": MANAGED})
    assert (
        "slipway:stages[0].service.capacity.managedInstances.capacityProvider must be one of "
        "cluster.new.managedInstances, [], in a new cluster"
    ) in error


GROUP = (
    "arn:aws:autoscaling:eu-west-1:123456789012:autoScalingGroup:01234567-89ab-cdef-0123-456789abcdef:"
    "autoScalingGroupName/shop"
)


@pytest.mark.parametrize(
    ("target", "scaling"),
    [
        ({}, {"status": "ENABLED", "targetCapacity": 100}),
        ({"targetCapacityPercent": 90}, {"status": "ENABLED", "targetCapacity": 90}),
        ({"targetCapacityPercent": False}, {"status": "DISABLED"}),
    ],
    ids=["full", "room", "not scaled"],
)
def test_a_new_cluster_makes_a_provider_of_an_auto_scaling_group(target: dict[str, Any], scaling: Any) -> None:
    groups = {"instances": {"arn": GROUP, **target}}
    capacity = {"ec2": {"capacityProvider": "instances"}}
    worker = {"worker": {"command": ["work"], "capacity": {"fargateSpot": {}}}}
    made = program(service={"capacity": capacity, "processes": worker}, cluster={"new": {"autoScalingGroups": groups}})
    assert only(made, "aws:ecs/capacityProvider:CapacityProvider").inputs == {
        "name": "instances",
        "autoScalingGroupProvider": {
            "autoScalingGroupArn": GROUP,
            "managedScaling": scaling,
            "managedDraining": "ENABLED",
            "managedTerminationProtection": "DISABLED",
        },
    }
    [association] = of_type(made, "aws:ecs/clusterCapacityProviders:ClusterCapacityProviders")
    assert association.inputs["capacityProviders"] == ["FARGATE", "FARGATE_SPOT", "instances"]
    assert named(made, "storefront-dev", "ecs/service:Service").inputs["capacityProviderStrategies"] == [INSTANCES]


def test_a_new_cluster_makes_a_provider_of_managed_instances_with_roles_of_its_own() -> None:
    made = program(service=MANAGED, cluster={"new": {"managedInstances": {"instances": {}}}})
    provider = only(made, "aws:ecs/capacityProvider:CapacityProvider")
    role = "arn:aws:iam::123456789012:role/storefront-dev"
    subnets = named(made, "storefront-dev", "ecs/service:Service").inputs["networkConfiguration"]["subnets"]
    assert provider.inputs == {
        "name": "instances",
        "cluster": "storefront-dev",
        "managedInstancesProvider": {
            "infrastructureRoleArn": f"{role}-infrastructure-role",
            "instanceLaunchTemplate": {
                "ec2InstanceProfileArn": "arn:aws:iam::123456789012:instance-profile/storefront-dev-instance",
                "networkConfiguration": {
                    "subnets": subnets,
                    "securityGroups": [sg("storefront-dev-instances")],
                },
            },
        },
    }
    assert named(made, "storefront-dev-instance", "InstanceProfile").inputs["role"] == "storefront-dev-instance-role"
    # The service is created after the provider, and that after what its instances need.
    assert provider.name in named(made, "storefront-dev", "ecs/service:Service").depends_on
    assert {
        "storefront-dev-infrastructure-policy",
        "storefront-dev-instance-policy",
        "storefront-dev-instances-out",
    } <= set(provider.depends_on)


def test_the_roles_of_managed_instances_have_what_aws_documents_and_pass_one_role() -> None:
    made = program(service=MANAGED, cluster={"new": {"managedInstances": {"instances": {}}}})
    aws = "arn:aws:iam::aws:policy"

    def trusted(role: str) -> str:
        [statement] = named(made, role).json("assumeRolePolicy")["Statement"]
        return str(statement["Principal"]["Service"])

    def attached(role: str) -> list[str]:
        found = of_type(made, "aws:iam/rolePolicyAttachment:RolePolicyAttachment")
        return [each.inputs["policyArn"] for each in found if each.inputs["role"] == role]

    infrastructure, instance = "storefront-dev-infrastructure", "storefront-dev-instance"
    assert trusted(f"{infrastructure}-role") == "ecs.amazonaws.com"
    assert trusted(f"{instance}-role") == "ec2.amazonaws.com"
    assert attached(f"{infrastructure}-role") == [f"{aws}/AmazonECSInfrastructureRolePolicyForManagedInstances"]
    assert attached(f"{instance}-role") == [f"{aws}/AmazonECSInstanceRolePolicyForManagedInstances"]
    passed = f"arn:aws:iam::123456789012:role/{instance}-role"
    when = {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}
    assert rights(made, f"{infrastructure}-policy") == granted(
        [{"Effect": "Allow", "Action": "iam:PassRole", "Resource": passed, "Condition": when}]
    )
    inbound = of_type(made, "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule")
    assert [each for each in inbound if each.inputs["securityGroupId"] == sg("storefront-dev-instances")] == []


def test_the_types_of_managed_instances_may_be_listed() -> None:
    types = ["m7g.*", "t4g.large"]
    made = program(service=MANAGED, cluster={"new": {"managedInstances": {"instances": {"instanceTypes": types}}}})
    template = only(made, "aws:ecs/capacityProvider:CapacityProvider").inputs["managedInstancesProvider"]
    assert template["instanceLaunchTemplate"]["instanceRequirements"] == {
        "allowedInstanceTypes": types,
        "burstablePerformance": "included",
        "vcpuCount": {"min": 1},
        "memoryMib": {"min": 1},
    }


@pytest.mark.parametrize(
    ("service", "groups", "message"),
    [
        (
            {"capacity": {"fargateSpot": {}}},
            {},
            "slipway:stages[0].service.capacity must not be FargateSpot with cluster.new.managedInstances",
        ),
        (
            {"capacity": MANAGED["capacity"], "processes": {"worker": {"capacity": {"fargateSpot": {}}}}},
            {},
            "slipway:stages[0].service.processes.worker.capacity must not be FargateSpot with "
            "cluster.new.managedInstances",
        ),
        (
            MANAGED,
            {"group": {"arn": GROUP}},
            "slipway:cluster.new.autoScalingGroups must not be set with managedInstances",
        ),
    ],
    ids=["Spot", "a process on Spot", "a group"],
)
def test_managed_instances_are_alone_in_a_new_cluster(
    service: dict[str, Any], groups: dict[str, Any], message: str
) -> None:
    cluster = {"new": {"managedInstances": {"instances": {}}, "autoScalingGroups": groups}}
    error, _ = refuse_stack_file("dev", {"slipway:service": service, "slipway:cluster": cluster})
    assert message in error


@pytest.mark.parametrize(
    ("capacity", "more", "message"),
    [
        (
            {"ec2": {"capacityProvider": "other"}},
            {},
            "capacity.ec2.capacityProvider must be one of cluster.new.autoScalingGroups, [], in a new cluster",
        ),
        (
            {"managedInstances": {"capacityProvider": "other"}},
            {},
            "capacity.managedInstances.capacityProvider must be one of cluster.new.managedInstances, [], in a new "
            "cluster",
        ),
        (
            {"ec2": {"capacityProvider": "instances"}},
            {"slipway:network": {"new": {"natGateways": "None"}}, "slipway:cluster": {"existing": {"name": "shared"}}},
            "capacity must be on Fargate with network.new.natGateways=None, got Ec2",
        ),
    ],
)
@pytest.mark.parametrize(
    "part", [{"migration": {"command": ["a"]}}, {"jobs": {"a": {"command": ["a"], "schedule": "rate(1 day)"}}}]
)
def test_a_migration_and_jobs_run_where_the_service_does_though_each_process_runs_elsewhere(
    capacity: dict[str, Any], more: dict[str, Any], message: str, part: dict[str, Any]
) -> None:
    keys = {"capacity": capacity, "processes": {"web": {"capacity": {"fargate": {}}}}}
    error, _ = refuse_stack_file("dev", {"slipway:service": {**keys, **part}, **more})
    assert f"slipway:stages[0].service.{message}" in error
    # Without them, nothing runs there.
    deploy_stack_file("dev", {"slipway:service": keys, **more})


def test_instances_have_no_public_addresses() -> None:
    error, _ = refuse_stack_file(
        "dev",
        {
            "slipway:service": {"capacity": {"managedInstances": {"capacityProvider": "instances"}}},
            "slipway:cluster": {"existing": {"name": "shared"}},
            "slipway:network": {"new": {"natGateways": "None"}},
        },
    )
    assert (
        "slipway:stages[0].service.capacity must be on Fargate with network.new.natGateways=None, got "
        "ManagedInstances: tasks on instances get no public IP address"
    ) in error


# What the function compares


@pytest.mark.parametrize(
    ("wanted", "found", "same"),
    [
        ([], {}, True),
        ([], {"capacityProviderStrategy": []}, True),
        ([], {"capacityProviderStrategy": [SPOT]}, False),
        ([SPOT], {"launchType": "FARGATE"}, False),
        ([SPOT], {"capacityProviderStrategy": [SPOT]}, True),
        # AWS leaves out what is zero, and does not keep the order.
        ([SPOT], {"capacityProviderStrategy": [{"capacityProvider": "FARGATE_SPOT", "weight": 3}]}, True),
        ([ON_DEMAND, SPOT], {"capacityProviderStrategy": [SPOT, ON_DEMAND]}, True),
        ([ON_DEMAND, SPOT], {"capacityProviderStrategy": [SPOT, {**ON_DEMAND, "base": 2}]}, False),
        ([ON_DEMAND, SPOT], {"capacityProviderStrategy": [{**SPOT, "weight": 1}, ON_DEMAND]}, False),
    ],
)
def test_a_capacity_is_compared_by_providers_weights_and_bases(
    wanted: list[dict[str, Any]], found: dict[str, Any], same: bool
) -> None:
    assert capacity_of(replace(SETTINGS, capacity=wanted), found) is same


def test_an_older_program_says_nothing_of_capacity() -> None:
    assert (SETTINGS.capacity, MigrationTask("t", "f", 1, "g", "p").capacity) == ([], [])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: FargateSpot(spot_weight=0), "spot_weight must be between 1 and 1000, got 0"),
        (lambda: Ec2(capacity_provider="FARGATE"), "capacity_provider must be the name of a capacity provider"),
        (
            lambda: ManagedInstances(capacity_provider="a b"),
            "capacity_provider must be the name of a capacity provider",
        ),
    ],
)
def test_a_capacity_is_checked_where_it_is_written(wrong: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        wrong()
