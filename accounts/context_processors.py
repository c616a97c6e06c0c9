"""What every template knows: the current organization, what its reader may do there, and where else they may go."""

from __future__ import annotations

import functools
from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from accounts import access, roles
from accounts.models import Membership, Organization, Workspace


def organization(request: HttpRequest) -> dict[str, Any]:
    """Add `organization`, `membership`, `permissions`, `organizations` and `workspaces`.

    All are looked up at first use, so that a page which shows none of them asks the database nothing.
    `permissions` is a set of strings (`{% if "manage_keys" in permissions %}`).
    """

    @functools.cache
    def current() -> Membership | None:
        return access.current_membership(request) if hasattr(request, "user") else None

    def current_organization() -> Organization | None:
        found = current()
        return found.organization if found else None

    def permissions() -> frozenset[str]:
        found = current()
        return roles.permissions(found.role) if found else frozenset()

    def organizations() -> list[Organization]:
        if not hasattr(request, "user") or not request.user.is_authenticated:
            return []
        return list(Organization.objects.filter(memberships__user_id=request.user.pk).order_by("is_demo", "name", "pk"))

    def workspaces() -> list[Workspace]:
        found = current()
        if found is None:
            return []
        return list(Workspace.objects.for_organization(found.organization_id).order_by("created_at", "pk"))

    return {
        "organization": SimpleLazyObject(current_organization),
        "membership": SimpleLazyObject(current),
        "permissions": SimpleLazyObject(permissions),
        "organizations": SimpleLazyObject(organizations),
        "workspaces": SimpleLazyObject(workspaces),
    }
