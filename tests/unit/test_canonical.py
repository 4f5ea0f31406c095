"""Which task definitions are equal: what ECS returns is compared with what was requested."""

import random
from typing import Any

import pytest
from slipway.release.function.task_definitions import canonical, named
from unit.examples import service
from unit.harness import deploy, only

SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-a1b2c3"
CONTAINER: dict[str, Any] = {
    "name": "app",
    "image": "url@sha256:aa",
    "essential": True,
    "portMappings": [{"containerPort": 8080, "hostPort": 8080, "protocol": "tcp"}],
    "environment": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
    "secrets": [{"name": "P", "valueFrom": "arn:p"}, {"name": "T", "valueFrom": "arn:t"}],
    "readonlyRootFilesystem": True,
    "command": ["serve", "--all"],
    "dependsOn": [{"containerName": "log", "condition": "START"}, {"containerName": "proxy", "condition": "HEALTHY"}],
    "linuxParameters": {"initProcessEnabled": True},
    "stopTimeout": 30,
}
SIDE = {"name": "log", "image": "logger:1", "essential": False}
CONTAINERS = [CONTAINER, SIDE]


def but(**changed: Any) -> list[dict[str, Any]]:
    """The containers, with a change in the first one."""
    return [{**CONTAINER, **changed}, SIDE]


def without(key: str) -> list[dict[str, Any]]:
    return [{k: v for k, v in CONTAINER.items() if k != key}, SIDE]


@pytest.mark.parametrize(
    "other",
    [
        [SIDE, CONTAINER],
        but(environment=CONTAINER["environment"][::-1]),
        but(secrets=CONTAINER["secrets"][::-1]),
        [dict(reversed(CONTAINER.items())), SIDE],
        but(mountPoints=[], volumesFrom=[], systemControls=[]),
        but(dockerLabels={}),
        but(healthCheck=None),
        but(linuxParameters={"initProcessEnabled": True, "devices": [], "capabilities": {"add": [], "drop": []}}),
        but(repositoryCredentials={"credentialsParameter": None}),
        [SIDE, {**CONTAINER, "secrets": CONTAINER["secrets"][::-1], "cpu": None, "links": []}],
    ],
    ids=[
        "containers in another order",
        "variables in another order",
        "secrets in another order",
        "keys in another order",
        "empty lists",
        "an empty map",
        "nothing",
        "empty values in a value that is not empty",
        "a value that becomes empty",
        "all of these at once",
    ],
)
def test_the_order_of_named_lists_and_empty_values_do_not_matter(other: list[Any]) -> None:
    assert repr(other) != repr(CONTAINERS)
    assert canonical(other) == canonical(CONTAINERS)


@pytest.mark.parametrize(
    "other",
    [
        but(image="url@sha256:bb"),
        but(essential=False),
        but(stopTimeout=0),
        without("stopTimeout"),
        without("readonlyRootFilesystem"),
        but(readonlyRootFilesystem=False),
        but(linuxParameters={"initProcessEnabled": False}),
        without("linuxParameters"),
        but(environment=[{"name": "A", "value": "2"}, {"name": "B", "value": "1"}]),
        but(environment=[{"name": "A", "value": ""}, {"name": "B", "value": "2"}]),
        but(environment=[{"name": "a", "value": "1"}, {"name": "B", "value": "2"}]),
        but(environment=CONTAINER["environment"][:1]),
        but(environment=[]),
        but(environment=[*CONTAINER["environment"], {"name": "C", "value": "3"}]),
        but(environment=[*CONTAINER["environment"], CONTAINER["environment"][1]]),
        but(secrets=[{"name": "P", "valueFrom": "arn:t"}, {"name": "T", "valueFrom": "arn:p"}]),
        but(command=["--all", "serve"]),
        but(command=["serve"]),
        but(dependsOn=CONTAINER["dependsOn"][::-1]),
        but(portMappings=[{"containerPort": 8081, "hostPort": 8081, "protocol": "tcp"}]),
        but(user="root"),
        but(workingDirectory=""),
        but(privileged=False),
        but(mountPoints=[{}]),
        [CONTAINER],
        [*CONTAINERS, {"name": "more", "image": "logger:1"}],
        [],
    ],
    ids=[
        "another image",
        "another truth",
        "zero instead of a number",
        "a missing number",
        "a missing true",
        "false instead of true",
        "a different nested value",
        "a missing value",
        "swapped values of variables",
        "a variable emptied",
        "a variable renamed",
        "a variable gone",
        "all variables gone",
        "a variable more",
        "a variable twice",
        "swapped references of secrets",
        "a command in another order",
        "a missing word of a command",
        "an unnamed list in another order",
        "another port",
        "a text more",
        "an additional empty string",
        "a false more",
        "an empty object in a list",
        "a container gone",
        "a container more",
        "no containers",
    ],
)
def test_everything_else_matters(other: list[Any]) -> None:
    assert canonical(other) != canonical(CONTAINERS)


@pytest.mark.parametrize("value", ["256", "", 0, 1.5, True, False, None])
def test_a_plain_value_stays_the_same(value: Any) -> None:
    assert canonical(value) is value


def test_canonical_values_are_sorted_by_name_and_without_empty_values() -> None:
    args = [
        {"name": "b", "environment": [{"name": "Z", "value": ""}, {"name": "Y", "value": "1"}], "links": []},
        {"name": "a", "command": ["y", "x"], "logConfiguration": {"options": {}, "logDriver": None}, "cpu": 0},
    ]
    assert canonical(args) == [
        {"name": "a", "command": ["y", "x"], "cpu": 0},
        {"name": "b", "environment": [{"name": "Y", "value": "1"}, {"name": "Z", "value": ""}]},
    ]


@pytest.mark.parametrize(
    "args",
    [
        ["b", "a"],
        [{"name": "b"}, "a"],
        [{"name": "b"}, {"value": "a"}],
        [{"name": "b"}, {"name": ""}],
        [["b"], ["a"]],
    ],
    ids=["texts", "a text", "no name", "an empty name", "lists"],
)
def test_a_list_with_an_item_without_a_name_keeps_its_order(args: list[Any]) -> None:
    assert canonical(args) != canonical(args[::-1])


def test_the_compared_value_is_not_modified() -> None:
    before = repr(CONTAINERS)
    canonical([SIDE, {**CONTAINER, "secrets": []}])
    canonical(CONTAINERS)
    assert repr(CONTAINERS) == before


def test_a_canonical_value_stays_the_same() -> None:
    assert canonical(canonical(CONTAINERS)) == canonical(CONTAINERS)


@pytest.mark.parametrize(
    ("value", "name"),
    [({"name": "app"}, "app"), ({"name": 7}, "7"), ({"value": "x"}, ""), ({}, ""), ("app", ""), (["app"], ""), (3, "")],
)
def test_the_name_of_an_object_is_its_name_key(value: Any, name: str) -> None:
    assert named(value) == name


def returned(value: Any, chance: random.Random) -> Any:
    """The same as ECS may return it: named lists in another order, and empty values added or left out."""
    if isinstance(value, dict):
        filled = {key: returned(item, chance) for key, item in value.items()}
        empty: dict[str, Any] = {f"empty{n}": chance.choice([None, [], {}]) for n in range(chance.randrange(3))}
        return dict(chance.sample([*(filled | empty).items()], len(filled | empty)))
    if isinstance(value, list):
        items = [returned(item, chance) for item in value]
        return chance.sample(items, len(items)) if all(isinstance(i, dict) and "name" in i for i in items) else items
    return value


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all plain values."""
    if not isinstance(value, dict | list):
        return [path]
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return [leaf for key, item in items for leaf in leaves(item, (*path, key))]


def changed(value: Any, path: tuple[Any, ...]) -> Any:
    """The same with a different value at the end of a path."""
    if not path:
        return (not value) if isinstance(value, bool) else f"{value}x" if isinstance(value, str) else value + 1
    if isinstance(value, dict):
        return {**value, path[0]: changed(value[path[0]], path[1:])}
    return [changed(item, path[1:]) if number == path[0] else item for number, item in enumerate(value)]


def test_containers_are_equal_however_ecs_returns_them_and_different_after_any_change() -> None:
    made = deploy(lambda: service("api", environment={"A": "1", "B": "2"}, secrets={"P": SECRET, "T": f"{SECRET}t"}))
    containers = only(made, "aws:ecs/taskDefinition:TaskDefinition").json("containerDefinitions")
    chance = random.Random(3)
    for _ in range(100):
        assert canonical(returned(containers, chance)) == canonical(containers)
    others = [changed(containers, path) for path in leaves(containers)]
    assert [other for other in others if canonical(returned(other, chance)) == canonical(containers)] == []
    assert len(others) > 20
