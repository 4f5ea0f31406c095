from collections.abc import Callable

import pulumi_aws as aws
import pytest
from slipway import RoleDefaults
from unit.harness import Resource, deploy, deploy_stack_file, named

ROLE = "aws:iam/role:Role"
BOUNDARY = "arn:aws:iam::123456789012:policy/boundary"


def roles(resources: list[Resource]) -> list[Resource]:
    found = [resource for resource in resources if resource.type == ROLE]
    assert found
    return found


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_every_role_of_a_stack_file_has_the_boundary_and_the_path(stack: str) -> None:
    given = {"permissionsBoundaryArn": BOUNDARY, "path": "/teams/shop/"}
    notified = {"slack": {"teamId": "T0123456", "channelId": "C0123456"}}
    resources = deploy_stack_file(stack, {"slipway:roles": given, "slipway:notifications": notified})
    assert {(role.inputs["permissionsBoundary"], role.inputs["path"]) for role in roles(resources)} == {
        (BOUNDARY, "/teams/shop/")
    }


def test_without_defaults_a_role_has_neither() -> None:
    inputs = [role.inputs for role in roles(deploy_stack_file("dev"))]
    assert [each for each in inputs if {"permissionsBoundary", "path"} & each.keys()] == []


def test_nothing_but_roles_is_changed() -> None:
    given = {"permissionsBoundaryArn": BOUNDARY, "path": "/teams/shop/"}
    plain, limited = deploy_stack_file("dev"), deploy_stack_file("dev", {"slipway:roles": given})
    changed = {a.type for a, b in zip(plain, limited, strict=True) if a.inputs.keys() != b.inputs.keys()}
    assert changed == {ROLE}


def role(path: str | None = None) -> Callable[[], aws.iam.Role]:
    return lambda: aws.iam.Role("own", assume_role_policy="{}", path=path)


def declare(defaults: RoleDefaults, program: Callable[[], object]) -> list[Resource]:
    def declared() -> None:
        defaults.register()
        program()

    return deploy(declared)


def test_a_role_of_the_program_itself_has_them_too_and_its_own_come_first() -> None:
    defaults = RoleDefaults(permissions_boundary_arn=BOUNDARY, path="/teams/shop/")
    assert named(declare(defaults, role()), "own").inputs == {
        "assumeRolePolicy": "{}",
        "permissionsBoundary": BOUNDARY,
        "path": "/teams/shop/",
    }
    assert named(declare(defaults, role(path="/other/")), "own").inputs["path"] == "/other/"


def test_the_boundary_may_be_a_policy_of_the_same_program() -> None:
    def program() -> None:
        policy = aws.iam.Policy("boundary", name="boundary", policy="{}")
        RoleDefaults(permissions_boundary_arn=policy.arn).register()
        role()()

    assert named(deploy(program), "own").inputs["permissionsBoundary"] == BOUNDARY
