"""ExistingCluster: an ECS cluster of another owner, which is only looked up."""

from __future__ import annotations

import pulumi
import pulumi_aws as aws

from slipway._outputs import answered


class ExistingCluster:
    """An existing ECS cluster in this account and Region, in place of an `aws.ecs.Cluster`. A preview fails if it does
    not exist.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/clusters.html
    """

    name: pulumi.Output[str]
    arn: pulumi.Output[str]
    namespace_arn: pulumi.Input[str] | None
    """The default namespace of its services, for Service Connect."""

    def __init__(self, name: str, opts: pulumi.InvokeOptions | None = None) -> None:
        """Look up the cluster.

        Raises pulumi.RunError if it does not exist, or is not active.
        """
        # At once, so that nothing is created if it does not exist.
        try:
            found = aws.ecs.get_cluster(cluster_name=name, opts=opts)
        except Exception as e:  # the SDK has no specific class for the error of an invoke
            if "couldn't find resource" not in str(e) and "ClusterNotFoundException" not in str(e):
                raise
            raise pulumi.RunError(f"there is no ECS cluster {name} in this account and Region") from None
        # A cluster that was deleted is shown for a while.
        # https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Cluster.html
        if found.status not in (None, "ACTIVE"):
            raise pulumi.RunError(f"the ECS cluster {name} must be ACTIVE, got {found.status}")
        self.name = pulumi.Output.from_input(name)
        self.arn = pulumi.Output.from_input(answered(found.arn))
        self.namespace_arn = next((each.namespace for each in found.service_connect_defaults or []), None)

    @classmethod
    def of(
        cls, *, name: pulumi.Input[str], arn: pulumi.Input[str], namespace_arn: pulumi.Input[str] | None = None
    ) -> ExistingCluster:
        """A cluster that need not be looked up."""
        made = cls.__new__(cls)
        made.name, made.arn = pulumi.Output.from_input(name), pulumi.Output.from_input(arn)
        made.namespace_arn = namespace_arn
        return made


Cluster = aws.ecs.Cluster | ExistingCluster
