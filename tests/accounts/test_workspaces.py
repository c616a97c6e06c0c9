"""Workspaces: a slug within the organization, and content that is stored only by choice."""

from __future__ import annotations

import pytest
from django.utils import timezone

from accounts import audit, workspaces
from accounts.models import AuditEvent, Workspace
from tests.factories.accounts import make_organization, make_workspace

pytestmark = pytest.mark.django_db


def test_slugs_repeat_across_organizations_but_not_within_one() -> None:
    acme, other = make_organization(), make_organization()
    assert [make_workspace(where, "Staging").slug for where in (acme, acme, other)] == [
        "staging",
        "staging-2",
        "staging",
    ]


def test_a_workspace_needs_a_name() -> None:
    with pytest.raises(workspaces.InvalidWorkspace, match="1 to 200 characters"):
        make_workspace(make_organization(), " ")


def test_a_rename_keeps_the_slug() -> None:
    workspace = make_workspace(make_organization(), "Staging")
    workspaces.rename(workspace=workspace, name="Pre-production", actor=audit.SYSTEM, now=timezone.now())
    workspace.refresh_from_db()
    assert (workspace.name, workspace.slug) == ("Pre-production", "staging")


def test_content_is_stored_only_after_an_explicit_choice() -> None:
    workspace = make_workspace(make_organization())
    assert workspace.stores_content is False
    before = workspace.changed_at
    _choose(workspace, stores_content=True, cap_bytes=2048, retention_days=7)
    workspace.refresh_from_db()
    assert (workspace.stores_content, workspace.content_cap_bytes, workspace.content_retention_days) == (True, 2048, 7)
    assert workspace.changed_at > before, "the data plane re-reads what changed"
    event = AuditEvent.objects.get(action="workspace.set_content_storage")
    assert event.before == {"stores_content": False, "cap_bytes": 65536, "retention_days": 30}
    assert event.after == {"stores_content": True, "cap_bytes": 2048, "retention_days": 7}


def test_the_same_choice_again_is_no_change() -> None:
    workspace = make_workspace(make_organization())
    _choose(workspace, stores_content=False, cap_bytes=65536, retention_days=30)
    assert not AuditEvent.objects.filter(action="workspace.set_content_storage").exists()


@pytest.mark.parametrize(
    ("cap_bytes", "retention_days", "reason"),
    [(1023, 30, "size cap"), (1024 * 1024 + 1, 30, "size cap"), (2048, 0, "retention"), (2048, 366, "retention")],
)
def test_cap_and_retention_have_bounds(cap_bytes: int, retention_days: int, reason: str) -> None:
    workspace = make_workspace(make_organization())
    with pytest.raises(workspaces.InvalidWorkspace, match=reason):
        _choose(workspace, stores_content=True, cap_bytes=cap_bytes, retention_days=retention_days)
    workspace.refresh_from_db()
    assert workspace.stores_content is False


def _choose(workspace: Workspace, *, stores_content: bool, cap_bytes: int, retention_days: int) -> None:
    workspaces.set_content_storage(
        workspace=workspace,
        stores_content=stores_content,
        cap_bytes=cap_bytes,
        retention_days=retention_days,
        actor=audit.SYSTEM,
        now=timezone.now(),
    )
