"""Service Connect: which names a service has in a namespace, and what ECS refuses.

API is AmazonECS/latest/APIReference, DG AmazonECS/latest/developerguide. A namespace that Pulumi did not create exists.
UNCONFIRMED: the messages, and that a service that does not serve a name any more gives it up at once.
"""

from collections.abc import Iterable
from typing import Any

from standin.api import ACCOUNT, REGION, AwsError, Params
from standin.provider import Live, Props

NAMESPACE = f"arn:aws:servicediscovery:{REGION}:{ACCOUNT}:namespace/"


def served(shown: Params) -> dict[tuple[str, str], Params]:
    """What a service or a revision serves, by namespace and name."""
    configuration = shown.get("serviceConnectConfiguration") or {}
    if not configuration.get("enabled"):
        return {}
    return {
        (configuration["namespace"], each.get("discoveryName", each["portName"])): each
        for each in configuration.get("services", [])
    }


def protocols(shown: Params, definition: Params) -> dict[tuple[str, str], str]:
    """The protocol of each name, whose port must be one of the task definition."""
    ports = {p["name"]: p for c in definition["containerDefinitions"] for p in c.get("portMappings", []) if "name" in p}
    found = {}
    for name, each in served(shown).items():
        if each["portName"] not in ports:  # API API_ServiceConnectService, portName
            message = f"The portName {each['portName']} is not defined in the task definition."
            raise AwsError("InvalidParameterException", message)
        found[name] = str(ports[each["portName"]].get("appProtocol", "tcp"))
    return found


def check(shown: Params, definition: Params, before: dict[tuple[str, str], str], others: Iterable[Params]) -> None:
    """Refuses what ECS does not do for a service that had these names with these protocols."""
    configuration = shown.get("serviceConnectConfiguration") or {}
    if not configuration.get("enabled"):
        return
    if shown["deploymentController"]["type"] != "ECS":  # DG service-connect-concepts: rolling, and ECS blue/green
        raise AwsError("InvalidParameterException", "Service Connect requires the deployment controller ECS.")
    for name, protocol in protocols(shown, definition).items():
        # API API_PortMapping: "appProtocol is immutable in a Service Connect service".
        if before.get(name, protocol) != protocol:
            raise AwsError("InvalidParameterException", f"The appProtocol of {name[1]} cannot be changed.")
        # API API_ServiceConnectService: "This must be unique within the Cloud Map namespace."
        if any(name in served(other) for other in others):
            raise AwsError("InvalidParameterException", f"The discoveryName {name[1]} is already in use.")


class HttpNamespace(Live):
    """A namespace of Cloud Map, which cannot be deleted while a service uses it: cloud-map API_DeleteNamespace."""

    def __init__(self, services: Any) -> None:
        """`services` returns the active services."""
        self._services = services

    def delete(self, id: str, state: Props) -> None:
        for shown in self._services():
            configuration = shown.get("serviceConnectConfiguration") or {}
            if configuration.get("enabled") and configuration["namespace"] == state["arn"]:
                raise RuntimeError(f"ResourceInUse: the namespace {id} has the service {shown['serviceName']}")


def requested(given: Props) -> Params:
    """The configuration as the provider sends it."""
    services = [
        {("clientAliases" if key == "clientAlias" else key): value for key, value in each.items()}
        for each in given.get("services", [])
    ]
    return {**given, "services": services}


def shown_by_the_provider(configuration: Params) -> Props:
    """The configuration as the provider reads it."""
    services = [
        {("clientAlias" if key == "clientAliases" else key): value for key, value in each.items()}
        for each in configuration.get("services", [])
    ]
    return {**configuration, "services": services}
