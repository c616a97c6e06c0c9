"""Roles and permissions, written out: a change of the table in the code must be meant."""

from __future__ import annotations

import pytest

from accounts import roles
from accounts.models import Membership

# permission: who holds it, as owner, admin, developer, finance, viewer
TABLE = {
    roles.VIEW_REQUESTS: (True, True, True, False, True),
    roles.VIEW_CONTENT: (True, True, True, False, False),
    roles.VIEW_COSTS: (True, True, True, True, True),
    roles.MANAGE_KEYS: (True, True, True, False, False),
    roles.MANAGE_PROVIDER_KEYS: (True, True, False, False, False),
    roles.MANAGE_ROUTING: (True, True, True, False, False),
    roles.MANAGE_INTEGRATIONS: (True, True, False, False, False),
    roles.MANAGE_MEMBERS: (True, True, False, False, False),
    roles.MANAGE_ORGANIZATION: (True, False, False, False, False),
    roles.MANAGE_BILLING: (True, False, False, True, False),
}


@pytest.mark.parametrize("permission", TABLE)
def test_each_role_holds_what_the_table_says(permission: str) -> None:
    assert tuple(roles.grants(role, permission) for role in roles.ROLES) == TABLE[permission]


def test_the_table_names_every_permission() -> None:
    named = {value for name, value in vars(roles).items() if name.startswith(("VIEW_", "MANAGE_"))}
    assert named == set(TABLE)


def test_permissions_are_what_is_granted() -> None:
    for role in roles.ROLES:
        assert roles.permissions(role) == {permission for permission in TABLE if roles.grants(role, permission)}


def test_an_unknown_role_holds_nothing() -> None:
    assert roles.permissions("root") == frozenset()
    assert not roles.grants("root", roles.VIEW_COSTS)


def test_the_table_of_memberships_has_the_same_roles() -> None:
    assert tuple(Membership.Role.values) == roles.ROLES


@pytest.mark.parametrize("role", roles.ROLES)
def test_owners_manage_all_and_admins_all_but_owners(role: str) -> None:
    manageable = {other for other in roles.ROLES if roles.may_manage(role, other)}
    expected = {"owner": set(roles.ROLES), "admin": set(roles.ROLES) - {"owner"}}
    assert manageable == expected.get(role, set())
