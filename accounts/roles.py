"""Who may do what: the roles of a membership and the permissions that each grants. Pure."""

from __future__ import annotations

OWNER = "owner"
ADMIN = "admin"
DEVELOPER = "developer"
FINANCE = "finance"
VIEWER = "viewer"

ROLES = (OWNER, ADMIN, DEVELOPER, FINANCE, VIEWER)

VIEW_REQUESTS = "view_requests"
VIEW_CONTENT = "view_content"
VIEW_COSTS = "view_costs"
MANAGE_KEYS = "manage_keys"
MANAGE_PROVIDER_KEYS = "manage_provider_keys"
MANAGE_ROUTING = "manage_routing"
MANAGE_INTEGRATIONS = "manage_integrations"
MANAGE_MEMBERS = "manage_members"
MANAGE_ORGANIZATION = "manage_organization"
MANAGE_BILLING = "manage_billing"

_GRANTS: dict[str, frozenset[str]] = {
    VIEWER: frozenset({VIEW_REQUESTS, VIEW_COSTS}),
    FINANCE: frozenset({VIEW_COSTS, MANAGE_BILLING}),
    DEVELOPER: frozenset({VIEW_REQUESTS, VIEW_CONTENT, VIEW_COSTS, MANAGE_KEYS, MANAGE_ROUTING}),
    ADMIN: frozenset(
        {
            VIEW_REQUESTS,
            VIEW_CONTENT,
            VIEW_COSTS,
            MANAGE_KEYS,
            MANAGE_PROVIDER_KEYS,
            MANAGE_ROUTING,
            MANAGE_INTEGRATIONS,
            MANAGE_MEMBERS,
        }
    ),
    OWNER: frozenset(
        {
            VIEW_REQUESTS,
            VIEW_CONTENT,
            VIEW_COSTS,
            MANAGE_KEYS,
            MANAGE_PROVIDER_KEYS,
            MANAGE_ROUTING,
            MANAGE_INTEGRATIONS,
            MANAGE_MEMBERS,
            MANAGE_ORGANIZATION,
            MANAGE_BILLING,
        }
    ),
}


def grants(role: str, permission: str) -> bool:
    """Return whether `role` holds `permission`; an unknown role holds none."""
    return permission in _GRANTS.get(role, frozenset())


def permissions(role: str) -> frozenset[str]:
    """Return every permission of `role`; an unknown role has none."""
    return _GRANTS.get(role, frozenset())


def may_manage(role: str, other: str) -> bool:
    """Return whether a member with `role` may add, change or remove one with the role `other`.

    Owners are managed by owners only: otherwise an admin could make themselves one.
    """
    return grants(role, MANAGE_MEMBERS) and (other != OWNER or role == OWNER)
