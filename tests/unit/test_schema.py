from typing import Any

import pytest
from unit import shapes
from unit.schema import mistakes

SERVICE = "aws:ecs/service:Service"
RIGHT: dict[str, Any] = {
    "name": "api",
    "desiredCount": 0.0,
    "deploymentCircuitBreaker": {"enable": True, "rollback": True},
    "networkConfiguration": {"subnets": ["subnet-1"]},
    "loadBalancers": [{"containerName": "app", "containerPort": 8080}],
    "tags": {"a": "b"},
}


def test_valid_inputs_have_no_mistakes() -> None:
    assert mistakes(SERVICE, RIGHT) == []


@pytest.mark.parametrize(
    ("wrong", "mistake"),
    [
        ({"clusterArn": "x"}, ".clusterArn: unknown property"),
        ({"networkConfiguration": {}}, ".networkConfiguration.subnets: required"),
        (
            {"networkConfiguration": {"subnets": [], "public": True}},
            ".networkConfiguration.public: unknown property",
        ),
        ({"loadBalancers": [{"containerName": "app"}]}, ".loadBalancers[0].containerPort: required"),
        ({"loadBalancers": {}}, ".loadBalancers: {} is not a list"),
        ({"desiredCount": "many"}, ".desiredCount: 'many' is not int"),
        ({"desiredCount": 1.5}, ".desiredCount: 1.5 is not int"),
        ({"desiredCount": True}, ".desiredCount: True is not int"),
        (
            {"deploymentCircuitBreaker": {"enable": 1, "rollback": True}},
            ".deploymentCircuitBreaker.enable: 1 is not bool",
        ),
        ({"deploymentCircuitBreaker": "on"}, ".deploymentCircuitBreaker: 'on' is not an object"),
        ({"name": 3}, ".name: 3 is not str"),
        ({"tags": {"a": 1}}, ".tags.a: 1 is not str"),
        ({"tags": ["a"]}, ".tags: ['a'] is not a map"),
    ],
)
def test_a_mistake_is_reported_with_its_path(wrong: dict[str, Any], mistake: str) -> None:
    assert mistakes(SERVICE, {**RIGHT, **wrong}) == [mistake]


def test_missing_required_properties_are_reported() -> None:
    assert mistakes("aws:iam/role:Role", {"name": "x"}) == [".assumeRolePolicy: required"]


STAGE: dict[str, Any] = {"name": "Source", "actions": []}


@pytest.mark.parametrize(
    ("request_", "mistake"),
    [
        ({"stages": [STAGE]}, 'Missing required parameter in pipeline: "name"'),
        ({"name": "web", "stages": [STAGE], "mode": "x"}, 'Unknown parameter in pipeline: "mode"'),
        ({"name": "a" * 101, "stages": [STAGE]}, ".pipeline.name: 101 is more than 100"),
        ({"name": "a b", "stages": [STAGE]}, ".pipeline.name: 'a b' does not match [A-Za-z0-9.@\\-_]+"),
        (
            {"name": "web", "stages": [STAGE], "executionMode": "FAST"},
            ".pipeline.executionMode: 'FAST' is not one of ['QUEUED', 'SUPERSEDED', 'PARALLEL']",
        ),
        ({"name": "web", "stages": [{**STAGE, "name": "a/b"}]}, ".pipeline.stages[0].name: 'a/b' does not match"),
    ],
)
def test_requests_that_an_api_would_reject_are_reported(request_: dict[str, Any], mistake: str) -> None:
    role = "arn:aws:iam::123456789012:role/x"
    [args] = shapes.mistakes("codepipeline", "CreatePipeline", {"pipeline": {"roleArn": role, **request_}})
    assert args[: len(mistake)] == mistake
