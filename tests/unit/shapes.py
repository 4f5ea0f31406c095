"""What an AWS API would refuse of a request: its shape, and the limits, patterns and values that botocore knows of."""

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
    """What ParamValidator leaves to AWS: the most there may be, patterns, and enums."""
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
    """RegisterTaskDefinition's request, of the inputs of a task definition."""
    ours = {"containerDefinitions", "skipDestroy", "tagsAll"}
    request = {key: value for key, value in inputs.items() if key not in ours}
    return {**request, "containerDefinitions": json.loads(inputs["containerDefinitions"])}


def pipeline(inputs: dict[str, Any]) -> dict[str, Any]:
    """CreatePipeline's request, of the inputs of a pipeline."""

    def artifacts(names: list[str]) -> list[dict[str, str]]:
        return [{"name": name} for name in names]

    def action(told: dict[str, Any]) -> dict[str, Any]:
        kind = ("category", "owner", "provider", "version")
        rest: dict[str, Any] = {key: told[key] for key in ("name", "configuration", "namespace") if key in told}
        return {
            **rest,
            "actionTypeId": {key: told[key] for key in kind},
            "runOrder": int(told.get("runOrder", 1)),
            "inputArtifacts": artifacts(told.get("inputArtifacts", [])),
            "outputArtifacts": artifacts(told.get("outputArtifacts", [])),
        }

    def push(told: dict[str, Any]) -> dict[str, Any]:
        return {"branches": told["branches"]}

    def trigger(told: dict[str, Any]) -> dict[str, Any]:
        git = told["gitConfiguration"]
        pushes = [push(each) for each in git["pushes"]]
        configuration = {"sourceActionName": git["sourceActionName"], "push": pushes}
        return {"providerType": told["providerType"], "gitConfiguration": configuration}

    definition = {
        "name": inputs["name"],
        "roleArn": inputs["roleArn"],
        "artifactStore": inputs["artifactStores"][0],
        "stages": [{"name": s["name"], "actions": [action(a) for a in s["actions"]]} for s in inputs["stages"]],
        "executionMode": inputs["executionMode"],
        "pipelineType": inputs["pipelineType"],
    }
    triggers = [trigger(told) for told in inputs.get("triggers") or []]
    return {"pipeline": {**definition, **({"triggers": triggers} if triggers else {})}}
