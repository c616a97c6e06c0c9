"""Workspaces: make, rename, and choose whether prompts and answers are stored."""

from __future__ import annotations

import datetime as dt

from django.db import transaction

from accounts import audit, slugs, tokens
from accounts.models import Organization, Workspace

MINIMUM_CAP_BYTES = 1024
MAXIMUM_CAP_BYTES = 1024 * 1024
MAXIMUM_RETENTION_DAYS = 365
DEFAULT_CAP_BYTES = 64 * 1024
DEFAULT_RETENTION_DAYS = 30


class InvalidWorkspace(ValueError):
    """The name or the content setting cannot be used; the message says what can."""


def create(*, organization: Organization, name: str, actor: audit.Actor, now: dt.datetime) -> Workspace:
    """Make a workspace that stores no content; its slug is the name's, with a number if that is taken.

    Raises:
        InvalidWorkspace: no name.
    """
    name = _clean_name(name)
    with transaction.atomic():
        # Two at once must not find the same slug free.
        Organization.objects.select_for_update().get(pk=organization.pk)
        taken = Workspace.objects.for_organization(organization.pk).values_list("slug", flat=True)
        workspace = Workspace.objects.create(
            organization=organization, name=name, slug=slugs.unused(name, taken=taken, fallback="workspace")
        )
        audit.record(
            organization_id=organization.pk,
            actor=actor,
            action="workspace.create",
            target=workspace,
            now=now,
            after={"name": name, "slug": workspace.slug},
        )
    return workspace


def rename(*, workspace: Workspace, name: str, actor: audit.Actor, now: dt.datetime) -> None:
    """Change the name; the slug stays, because links and filters carry it.

    Raises:
        InvalidWorkspace: no name.
    """
    name = _clean_name(name)
    if name == workspace.name:
        return
    before, workspace.name = workspace.name, name
    with transaction.atomic():
        workspace.save(update_fields=["name", "changed_at"])
        audit.record(
            organization_id=workspace.organization_id,
            actor=actor,
            action="workspace.rename",
            target=workspace,
            now=now,
            before={"name": before},
            after={"name": name},
        )


def set_content_storage(
    *,
    workspace: Workspace,
    stores_content: bool,
    cap_bytes: int,
    retention_days: int,
    actor: audit.Actor,
    now: dt.datetime,
) -> None:
    """Choose whether prompts and answers are stored, up to how many bytes of each, and for how many days.

    It holds for calls from now on: what was stored before stays until its own retention ends.

    Raises:
        InvalidWorkspace: the cap is not 1 KiB to 1 MiB, or the retention not 1 to 365 days.
    """
    if not MINIMUM_CAP_BYTES <= cap_bytes <= MAXIMUM_CAP_BYTES:
        raise InvalidWorkspace(f"The size cap must be {MINIMUM_CAP_BYTES:,} to {MAXIMUM_CAP_BYTES:,} bytes.")
    if not 1 <= retention_days <= MAXIMUM_RETENTION_DAYS:
        raise InvalidWorkspace(f"The retention must be 1 to {MAXIMUM_RETENTION_DAYS} days.")
    before = _content_setting(workspace)
    workspace.stores_content = stores_content
    workspace.content_cap_bytes = cap_bytes
    workspace.content_retention_days = retention_days
    if _content_setting(workspace) == before:
        return
    with transaction.atomic():
        workspace.save(update_fields=["stores_content", "content_cap_bytes", "content_retention_days", "changed_at"])
        audit.record(
            organization_id=workspace.organization_id,
            actor=actor,
            action="workspace.set_content_storage",
            target=workspace,
            now=now,
            before=before,
            after=_content_setting(workspace),
        )


def _clean_name(name: str) -> str:
    name = " ".join(name.split())
    if tokens.PATTERN.search(name):
        raise InvalidWorkspace(
            "That is an API key. A name is stored and shown to all members: choose another, and revoke that key."
        )
    if not name or len(name) > 200:
        raise InvalidWorkspace("Give the workspace a name of 1 to 200 characters.")
    return name


def _content_setting(workspace: Workspace) -> dict[str, bool | int]:
    return {
        "stores_content": workspace.stores_content,
        "cap_bytes": workspace.content_cap_bytes,
        "retention_days": workspace.content_retention_days,
    }
