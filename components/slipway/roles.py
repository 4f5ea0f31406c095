"""What all IAM roles of a program have in common, where an organization asks for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pulumi
from pulumi.runtime import register_stack_transformation

from slipway._constraints import check, match

ROLE = "aws:iam/role:Role"
BoundaryArn = Annotated[
    pulumi.Input[str],
    match(
        r"arn:aws(-[a-z]+)*:iam::(\d{12}|aws):policy/[\w+=,.@/-]+",
        "be the ARN of a policy, such as arn:aws:iam::123456789012:policy/boundary",
        "arn:aws:iam::aws:policy/PowerUserAccess",
        ["arn:aws:iam::123456789012:role/x", "arn:aws:iam::12:policy/x", "boundary"],
    ),
]
RolePath = Annotated[
    str,
    match(
        r"/([\w+=,.@-]+/)*",
        "be a path such as /teams/shop/ that begins and ends with /,",
        "/teams/shop/",
        ["", "teams", "/teams", "teams/", "//", "/a b/"],
        longest=512,
    ),
]
"""https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html"""


@dataclass(frozen=True, kw_only=True)
class RoleDefaults:
    """What every role has, also those that a program makes without these components.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_boundaries.html
    """

    permissions_boundary_arn: BoundaryArn | None = None
    """Policy that limits what the roles can do, whatever their own policies allow. It must allow all that these do, or
    releases fail."""

    path: RolePath = "/"
    """Path of the roles, such as `/teams/shop/`. A change replaces them."""

    def __post_init__(self) -> None:
        check(self)

    def register(self) -> None:
        """Apply to all roles of the stack that are declared after this call, except those that say otherwise."""
        given: dict[str, pulumi.Input[str]] = {}
        if self.permissions_boundary_arn is not None:
            given["permissions_boundary"] = self.permissions_boundary_arn
        if self.path != "/":
            given["path"] = self.path

        def apply(each: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
            if each.type_ != ROLE:
                return None
            own = {name: value for name, value in each.props.items() if value is not None}
            return pulumi.ResourceTransformationResult({**each.props, **given, **own}, each.opts)

        if given:
            register_stack_transformation(apply)
