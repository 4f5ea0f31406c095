"""Checks requests as an AWS API would: their shape, and the limits, patterns and values in botocore's model."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator


@cache
def description(service: str) -> dict[str, Any]:
    return dict(Loader().load_service_model(service, "service-2"))


def mistakes(service: str, operation: str, request: dict[str, Any]) -> list[str]:
    shape = ServiceModel(description(service), service).operation_model(operation).input_shape
    report = ParamValidator().validate(request, shape)
    return [*filter(None, report.generate_report().split("\n")), *limits(request, shape, "")]


def limits(value: Any, shape: Any, path: str) -> list[str]:
    """What ParamValidator does not check: maximums, patterns, and enums."""
    found = []
    size = value if shape.type_name in ("integer", "long") else len(value) if hasattr(value, "__len__") else 0
    most, pattern, choice = (shape.metadata.get(key) for key in ("max", "pattern", "enum"))
    if most is not None and size > most:
        found.append(f"{path}: {size} is more than {most}")
    if pattern and not re.fullmatch(pattern, value):
        found.append(f"{path}: {value!r} does not match {pattern}")
    if choice and value not in choice:
        found.append(f"{path}: {value!r} is not one of {choice}")
    if shape.type_name == "structure":
        known = [key for key in value if key in shape.members]
        return found + [m for key in known for m in limits(value[key], shape.members[key], f"{path}.{key}")]
    if shape.type_name == "list":
        return found + [m for number, v in enumerate(value) for m in limits(v, shape.member, f"{path}[{number}]")]
    if shape.type_name == "map":
        found += [m for key in value for m in limits(key, shape.key, f"{path}.{key}")]
        return found + [m for key, item in value.items() for m in limits(item, shape.value, f"{path}.{key}")]
    return found


def task_definition(inputs: dict[str, Any]) -> dict[str, Any]:
    """RegisterTaskDefinition's request, from the inputs of a task definition."""
    ours = {"containerDefinitions", "skipDestroy", "tagsAll"}
    request = {key: value for key, value in inputs.items() if key not in ours}
    if "ephemeralStorage" in request:
        request["ephemeralStorage"] = {"sizeInGiB": int(request["ephemeralStorage"]["sizeInGib"])}
    return {**request, "containerDefinitions": json.loads(inputs["containerDefinitions"])}


def update_service(settings: dict[str, Any]) -> dict[str, Any]:
    """UpdateService's request, as the release function sends it for its settings."""
    network = {"subnets": settings["subnets"], "securityGroups": settings["security_groups"]}
    return {
        "cluster": "dev",
        "service": "api",
        "taskDefinition": settings["template"],
        "desiredCount": settings["minimum"],
        "networkConfiguration": {"awsvpcConfiguration": {**network, "assignPublicIp": "DISABLED"}},
        "deploymentConfiguration": settings["deployment"],
        "availabilityZoneRebalancing": settings["availability_zone_rebalancing"],
        "forceNewDeployment": False,
        "loadBalancers": settings["load_balancers"],
    }


def project(inputs: dict[str, Any]) -> dict[str, Any]:
    """CreateProject's request, from the inputs of a CodeBuild project."""
    renamed = {"buildTimeout": "timeoutInMinutes"}
    request = {renamed.get(key, key): value for key, value in inputs.items()}
    logs = {"cloudWatchLogs": {"status": "ENABLED", **inputs["logsConfig"]["cloudwatchLogs"]}}
    return whole({**request, "logsConfig": logs})


def deployment_group(inputs: dict[str, Any]) -> dict[str, Any]:
    """CreateDeploymentGroup's request, from the inputs of a CodeDeploy deployment group."""

    def pair(args: dict[str, Any]) -> dict[str, Any]:
        routes = {key: route for key, route in args.items() if key.endswith("TrafficRoute")}
        return {"targetGroups": args["targetGroups"], **routes}

    def alarms(args: dict[str, Any]) -> dict[str, Any]:
        return {"enabled": args["enabled"], "alarms": [{"name": name} for name in args["alarms"]]}

    blue_green = inputs["blueGreenDeploymentConfig"]
    request = {
        "applicationName": inputs["appName"],
        "deploymentGroupName": inputs["deploymentGroupName"],
        "deploymentConfigName": inputs["deploymentConfigName"],
        "serviceRoleArn": inputs["serviceRoleArn"],
        "deploymentStyle": inputs["deploymentStyle"],
        "ecsServices": [inputs["ecsService"]],
        "loadBalancerInfo": {"targetGroupPairInfoList": [pair(inputs["loadBalancerInfo"]["targetGroupPairInfo"])]},
        "blueGreenDeploymentConfiguration": {
            key: blue_green[key] for key in ("deploymentReadyOption", "terminateBlueInstancesOnDeploymentSuccess")
        },
        "autoRollbackConfiguration": inputs["autoRollbackConfiguration"],
    }
    if "alarmConfiguration" in inputs:
        request["alarmConfiguration"] = alarms(inputs["alarmConfiguration"])
    return whole(request)


def create_deployment(group: dict[str, Any], appspec: dict[str, Any]) -> dict[str, Any]:
    """CreateDeployment's request, as the release function sends it for an appspec."""
    content = {"content": json.dumps(appspec)}
    return {
        "applicationName": group["appName"],
        "deploymentGroupName": group["deploymentGroupName"],
        "revision": {"revisionType": "AppSpecContent", "appSpecContent": content},
    }


def whole(request: dict[str, Any]) -> dict[str, Any]:
    """Numbers of inputs are JSON's, with a decimal point here; botocore's have none."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return whole(value)
        if isinstance(value, list):
            return [plain(item) for item in value]
        return int(value) if isinstance(value, float) and value == int(value) else value

    return {key: plain(value) for key, value in request.items()}


def pipeline(inputs: dict[str, Any]) -> dict[str, Any]:
    """CreatePipeline's request, from the inputs of a pipeline."""

    def artifacts(names: list[str]) -> list[dict[str, str]]:
        return [{"name": name} for name in names]

    def action(args: dict[str, Any]) -> dict[str, Any]:
        kind = ("category", "owner", "provider", "version")
        kept = ("name", "configuration", "namespace", "timeoutInMinutes", "runOrder")
        return {
            **{key: args[key] for key in kept if key in args},
            "actionTypeId": {key: args[key] for key in kind},
            "inputArtifacts": artifacts(args.get("inputArtifacts", [])),
            "outputArtifacts": artifacts(args.get("outputArtifacts", [])),
        }

    def stage(args: dict[str, Any]) -> dict[str, Any]:
        entry = {"beforeEntry": conditions(args["beforeEntry"])} if "beforeEntry" in args else {}
        return {"name": args["name"], "actions": [action(each) for each in args["actions"]], **entry}

    def conditions(args: dict[str, Any]) -> dict[str, Any]:
        return {"conditions": [args["condition"]]}

    def trigger(args: dict[str, Any]) -> dict[str, Any]:
        git = args["gitConfiguration"]
        named = {"pushes": "push", "pullRequests": "pullRequest", "sourceActionName": "sourceActionName"}
        return {**args, "gitConfiguration": {named[key]: value for key, value in git.items()}}

    definition = {
        "name": inputs["name"],
        "roleArn": inputs["roleArn"],
        "artifactStore": inputs["artifactStores"][0],
        "stages": [stage(each) for each in inputs["stages"]],
        "executionMode": inputs["executionMode"],
        "pipelineType": inputs["pipelineType"],
    }
    if "triggers" in inputs:
        definition["triggers"] = [trigger(args) for args in inputs["triggers"]]
    if "variables" in inputs:
        definition["variables"] = inputs["variables"]
    return {"pipeline": whole(definition)}
