"""Where ECS places the tasks of a service, and what happens to those on Fargate Spot.

Pages as in ecs.py; KC is repost.aws/knowledge-center.
"""

from collections import Counter

from standin.api import Params

SPOT = "FARGATE_SPOT"
RETRY_SECONDS = 30.0
"""Between attempts to place a task without capacity. UNCONFIRMED: DG fargate-capacity-providers says only that the
service "retries launching tasks until the required capacity becomes available"."""
NO_CAPACITY = (
    "was unable to place a task. Reason: Capacity is unavailable at this time. Please try again later or in a "
    "different availability zone."
)
"""The event of a service without capacity: DG service-event-messages-list, KC ecs-fargate-runtask-capacity."""
WARNED = {
    "desiredStatus": "STOPPED",
    "stopCode": "SpotInterruption",
    "stoppedReason": "Your Spot Task was interrupted.",
}
"""A task that AWS takes back, which is RUNNING until it has stopped: KC fargate-spot-termination-notice."""
WARNING_SECONDS = 120.0
STOP_SECONDS = 30.0
"""API API_ContainerDefinition, stopTimeout."""


def provider(strategy: list[Params], taken: list[str]) -> str:
    """The capacity provider of a service's next task; "" without a strategy.

    API API_CapacityProviderStrategyItem: first the base, then in proportion to the weights. UNCONFIRMED: in which order
    providers get the tasks that do not divide evenly.
    """
    counts = Counter(taken)
    for item in strategy:
        if counts[item["capacityProvider"]] < item.get("base", 0):
            return str(item["capacityProvider"])
    weighted = [item for item in strategy if item.get("weight", 0)]

    def share(item: Params) -> float:
        return (counts[item["capacityProvider"]] + 1 - float(item.get("base", 0))) / float(item["weight"])

    return str(min(weighted, key=share)["capacityProvider"]) if weighted else ""


def stop_seconds(definition: Params) -> float:
    """Seconds from the warning until a task has stopped whose program uses all of its time after SIGTERM.

    UNCONFIRMED: that the load balancer sends it requests until then; KC fargate-spot-termination-notice says that it
    "might" be registered until it is STOPPED.
    """
    timeouts = (float(each.get("stopTimeout", STOP_SECONDS)) for each in definition["containerDefinitions"])
    return min(max(timeouts), WARNING_SECONDS)
