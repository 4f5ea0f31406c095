"""Several containers in a task of ECS: what RegisterTaskDefinition refuses, and how they end together.

Pages are named as in ecs.py. UNCONFIRMED: the messages.
"""

from standin.api import AwsError, Params

KILLED = 143
"""Exit code of a program that does not handle SIGTERM."""


def check_containers(definition: Params) -> None:
    """API API_ContainerDefinition (essential, cpu, memory, memoryReservation) and API_ContainerDependency."""
    containers = {each["name"]: each for each in definition["containerDefinitions"]}
    if len(containers) < len(definition["containerDefinitions"]):
        raise AwsError("ClientException", f"Container names must be unique: {[*containers]}")
    if len(containers) > 10:  # general/latest/gr/ecs-service
        raise AwsError("ClientException", "Too many containers.")
    if not any(each.get("essential", True) for each in containers.values()):
        raise AwsError("ClientException", "A task definition must have at least one essential container.")
    for name, each in containers.items():
        for dependency in each.get("dependsOn", []):
            _check_dependency(name, dependency, containers)
        if each.get("memoryReservation", 0) >= each.get("memory", float("inf")):
            raise AwsError("ClientException", f"memory of {name} must be greater than memoryReservation")
    _check_order(containers)
    _check_logs(containers)
    ports = [port["containerPort"] for each in containers.values() for port in each.get("portMappings", [])]
    if definition.get("networkMode") == "awsvpc" and len({*ports}) < len(ports):
        raise AwsError("ClientException", f"Ports of containers must be different: {ports}")
    used = {"cpu": sum(each.get("cpu", 0) for each in containers.values())}
    used["memory"] = sum(each.get("memory") or each.get("memoryReservation", 0) for each in containers.values())
    for size, total in used.items():
        if size in definition and total > int(definition[size]):
            raise AwsError("ClientException", f"{size} of the containers must not be above that of the task")


def _check_dependency(name: str, dependency: Params, containers: dict[str, Params]) -> None:
    other, condition = dependency["containerName"], dependency["condition"]
    if other not in containers or other == name:
        raise AwsError("ClientException", f"{name} cannot depend on {other}")
    if condition == "HEALTHY" and "healthCheck" not in containers[other]:
        raise AwsError("ClientException", f"{other} has no health check")
    if condition in ("COMPLETE", "SUCCESS") and containers[other].get("essential", True):
        raise AwsError("ClientException", f"{other} is essential, and cannot be {condition}")


def _check_order(containers: dict[str, Params]) -> None:
    """Containers whose dependencies can start, until there are no more."""
    started = set[str]()
    for _ in containers:
        for name, each in containers.items():
            if {dependency["containerName"] for dependency in each.get("dependsOn", [])} <= started:
                started.add(name)
    if started < containers.keys():
        raise AwsError("ClientException", f"Circular dependency of {sorted(containers.keys() - started)}")


def _check_logs(containers: dict[str, Params]) -> None:
    """API API_LogConfiguration: the drivers on Fargate. DG firelens-taskdef: awsfirelens needs a log router; the splunk
    driver, as Docker's page says, a URL and a token."""
    routers = [each for each in containers.values() if "firelensConfiguration" in each]
    for name, each in containers.items():
        log = each.get("logConfiguration", {})
        driver = log.get("logDriver", "awslogs")
        if driver not in ("awslogs", "splunk", "awsfirelens"):
            raise AwsError("ClientException", f"Log driver {driver} is not supported on Fargate")
        if driver == "awsfirelens" and len(routers) != 1:
            raise AwsError("ClientException", f"{name} needs one container with firelensConfiguration")
        given = {*log.get("options", {}), *(secret["name"] for secret in log.get("secretOptions", []))}
        if driver == "splunk" and not {"splunk-url", "splunk-token"} <= given:
            raise AwsError("ClientException", f"{name} needs splunk-url and splunk-token")


def ended(container: Params, end: Params, broken: str) -> Params:
    """How a container of a task has ended, of which one may have ended the task.

    API API_ContainerDefinition, essential: "if the essential parameter of a container is marked as true, and that
    container fails or stops for any reason, all other containers that are part of the task are stopped".
    """
    return {**end, "exitCode": KILLED} if "exitCode" in end and broken not in ("", container["name"]) else end
