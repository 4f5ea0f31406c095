"""Service Connect in the stand-in, as a client sees it."""

from __future__ import annotations

from typing import Any

import pytest
from standin.connect import HttpNamespace

from rules.test_ecs import WHERE, Params, StandIn, address, aws, refused, v1, v2

__all__ = ["address", "aws", "v1", "v2"]  # fixtures

NAMESPACE = "arn:aws:servicediscovery:us-east-1:123456789012:namespace/ns-1"
PORT = {"containerPort": 8080, "name": "http", "appProtocol": "http"}


def connect(name: str = "web", port: str = "http", namespace: str = NAMESPACE) -> Params:
    alias = {"port": 80, "dnsName": name}
    served = {"portName": port, "discoveryName": name, "clientAliases": [alias]}
    return {"serviceConnectConfiguration": {"enabled": True, "namespace": namespace, "services": [served]}}


def serve(aws: StandIn, image: str, name: str = "web", **inputs: Any) -> None:
    definition = aws.define(image, portMappings=[PORT])
    of = {"cluster": "main", "serviceName": name, "desiredCount": 1, "taskDefinition": definition}
    aws.ecs.create_service(**of, **{"deploymentConfiguration": {"strategy": "ROLLING"}, **inputs})
    aws.clock.sleep(60)


def message(refusal: Any, *call: Any, **params: Any) -> str:
    code, text = refused(refusal, *call, **params)
    assert code == "InvalidParameterException"
    return str(text)


def test_tasks_answer_at_the_name_of_their_revision_and_the_deployment_shows_it(aws: StandIn, v1: str, v2: str) -> None:
    serve(aws, v1, **connect())
    assert aws.engine.answers(NAMESPACE, "web") == {v1: 1}
    [deployment] = aws.service()["deployments"]
    assert deployment["serviceConnectConfiguration"] == connect()["serviceConnectConfiguration"]
    aws.update(taskDefinition=aws.define(v2, portMappings=[PORT]))
    aws.clock.sleep(120)
    assert aws.engine.answers(NAMESPACE, "web") == {v2: 1}
    aws.update(serviceConnectConfiguration={"enabled": False})
    aws.clock.sleep(120)
    assert (aws.engine.answers(NAMESPACE, "web"), aws.engine.answers("arn:other", "web")) == ({}, {})


def test_a_name_is_taken_once_in_a_namespace(aws: StandIn, v1: str) -> None:
    serve(aws, v1, **connect())
    of = {"cluster": "main", "serviceName": "other", "taskDefinition": aws.define(v1, portMappings=[PORT])}
    assert "already in use" in message(aws.ecs.create_service, **of, **connect())
    aws.ecs.create_service(**of, **connect(namespace=f"{NAMESPACE}b"))


def test_the_port_is_one_of_the_task_definition_with_that_name(aws: StandIn, v1: str) -> None:
    serve(aws, v1)
    assert "portName grpc is not defined" in message(aws.ecs.update_service, **WHERE, **connect(port="grpc"))
    unnamed = aws.define(v1)
    assert "is not defined" in message(aws.ecs.update_service, **WHERE, **connect(), taskDefinition=unnamed)
    aws.update(**connect())
    # The name must stay in what it runs later.
    assert "is not defined" in message(aws.ecs.update_service, **WHERE, taskDefinition=unnamed)


def test_the_protocol_of_a_name_stays(aws: StandIn, v1: str) -> None:
    serve(aws, v1, **connect())
    other = aws.define(v1, portMappings=[{**PORT, "appProtocol": "grpc"}])
    assert "cannot be changed" in message(aws.ecs.update_service, **WHERE, taskDefinition=other)
    aws.update(taskDefinition=other, **connect("web-grpc"))


def test_codedeploy_does_not_support_it(aws: StandIn, v1: str) -> None:
    of = {"cluster": "main", "serviceName": "web", "taskDefinition": aws.define(v1, portMappings=[PORT])}
    controlled = {"deploymentController": {"type": "CODE_DEPLOY"}}
    assert "requires the deployment controller ECS" in message(aws.ecs.create_service, **of, **controlled, **connect())


def test_a_rollback_brings_back_what_was_served(aws: StandIn, v1: str) -> None:
    breaker = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}
    serve(aws, v1, deploymentConfiguration=breaker)
    aws.engine.fault = lambda definition: "exit 1"
    aws.update(taskDefinition=aws.define(v1, portMappings=[PORT], command=["new"]), **connect())
    aws.clock.sleep(900)
    assert aws.statuses()[0] == "ROLLBACK_SUCCESSFUL"
    aws.engine.fault = lambda definition: None
    aws.update(forceNewDeployment=True)
    aws.clock.sleep(120)
    [deployment] = aws.service()["deployments"]
    assert deployment["serviceConnectConfiguration"] == {"enabled": False}


def test_a_namespace_that_a_service_uses_is_not_deleted(aws: StandIn, v1: str) -> None:
    namespace = HttpNamespace(aws.engine.active)
    serve(aws, v1, **connect())
    with pytest.raises(RuntimeError, match=r"^ResourceInUse: the namespace ns-1 has the service web$"):
        namespace.delete("ns-1", {"arn": NAMESPACE})
    aws.ecs.delete_service(**WHERE, force=True)
    namespace.delete("ns-1", {"arn": NAMESPACE})
