"""Task definitions: the template with the released image, and the comparison of revisions."""

from __future__ import annotations

from typing import Any

# Properties that DescribeTaskDefinition returns and RegisterTaskDefinition accepts. ECS adds the others.
# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RegisterTaskDefinition.html
REGISTERED = (
    "taskRoleArn",
    "executionRoleArn",
    "networkMode",
    "containerDefinitions",
    "volumes",
    "placementConstraints",
    "requiresCompatibilities",
    "cpu",
    "memory",
    "pidMode",
    "ipcMode",
    "proxyConfiguration",
    "inferenceAccelerators",
    "ephemeralStorage",
    "runtimePlatform",
    "enableFaultInjection",
)


class TaskDefinitions:
    def __init__(self, ecs: Any, family: str, container: str) -> None:
        """`family` is the family of released revisions, `container` the container whose image a release replaces."""
        self.ecs, self.family, self.container = ecs, family, container
        self._read_before: dict[str, dict[str, Any]] = {}

    def released(self, template_arn: str, image: str) -> dict[str, Any]:
        """The template with this image, as it would be registered."""
        template = self.read(template_arn)
        definition = content(template)
        names = [c["name"] for c in definition["containerDefinitions"]]
        if self.container not in names:
            raise RuntimeError(
                f"the template {template_arn} has the containers {names}, and none is {self.container!r}"
            )
        definition["containerDefinitions"] = [
            {**c, "image": image} if c["name"] == self.container else c for c in definition["containerDefinitions"]
        ]
        return {**definition, "tags": template["tags"]}

    def same(self, task_definition: str, definition: dict[str, Any]) -> bool:
        """Whether a registered task definition has this content, ignoring its revision number and tags."""
        registered = self.read(task_definition)
        same = canonical(content(registered)) == canonical(content(definition))
        return bool(registered["family"] == self.family and same)

    def read(self, task_definition: str) -> dict[str, Any]:
        """A task definition with its tags. Its content never changes, so it is read once."""
        if task_definition not in self._read_before:
            answer = self.ecs.describe_task_definition(taskDefinition=task_definition, include=["TAGS"])
            self._read_before[task_definition] = {**answer["taskDefinition"], "tags": answer.get("tags", [])}
        return self._read_before[task_definition]

    def is_released(self, task_definition: str) -> bool:
        """Whether the revision was released, and is not the template that the service was created with."""
        return bool(self.read(task_definition)["family"] == self.family)

    def register(self, definition: dict[str, Any]) -> str:
        """The ARN of a revision with this content: the newest revision, if an interrupted run registered it, or a new
        one."""
        try:
            newest = self.ecs.describe_task_definition(taskDefinition=self.family)["taskDefinition"][
                "taskDefinitionArn"
            ]
            if self.same(newest, definition):
                return str(newest)
        except self.ecs.exceptions.ClientException:
            pass  # the family has no revision yet
        request = {key: value for key, value in definition.items() if key != "tags" or value}
        answer = self.ecs.register_task_definition(family=self.family, **request)
        revision = str(answer["taskDefinition"]["taskDefinitionArn"])
        if not self.same(revision, definition):  # otherwise every look would register another one
            raise RuntimeError(f"ECS registered {short(revision)} with another content than the template has")
        return revision

    def image(self, task_definition: str) -> str:
        """The image of the released container."""
        containers = self.read(task_definition)["containerDefinitions"]
        return next((str(c["image"]) for c in containers if c["name"] == self.container), "")

    def port_names(self, task_definition: str) -> set[str]:
        """The names of the ports of all containers."""
        containers = self.read(task_definition)["containerDefinitions"]
        return {port["name"] for each in containers for port in each.get("portMappings", []) if "name" in port}

    def settings(self, task_definition: str) -> dict[str, Any]:
        """A task definition without the image of the released container."""
        definition = self.read(task_definition)
        containers = [
            {**c, "image": None} if c["name"] == self.container else c for c in definition["containerDefinitions"]
        ]
        settings: dict[str, Any] = canonical({**content(definition), "containerDefinitions": containers})
        return settings


def content(definition: dict[str, Any]) -> dict[str, Any]:
    """The content of a task definition, without the properties that ECS adds."""
    return {key: definition[key] for key in REGISTERED if definition.get(key) is not None}


def canonical(value: Any) -> Any:
    """A part of a task definition in comparable form: ECS reorders named lists, and adds empty values."""
    if isinstance(value, dict):
        inner = {key: canonical(item) for key, item in value.items()}
        return {key: item for key, item in inner.items() if item not in (None, [], {})}
    if isinstance(value, list):
        return (
            sorted((canonical(item) for item in value), key=named)
            if all(map(named, value))
            else list(map(canonical, value))
        )
    return value


def named(value: Any) -> str:
    return str(value.get("name", "")) if isinstance(value, dict) else ""


def short(arn: str) -> str:
    """`family:revision` from a task definition's ARN."""
    return arn.rpartition("/")[2]
