"""Organizations: a name, a slug that stays, an owner and a first workspace."""

from __future__ import annotations

import threading

import pytest
from django.db import connection
from django.utils import timezone

from accounts import audit, organizations
from accounts.models import ApiKey, AuditEvent, Membership, Organization
from tests.factories.accounts import make_api_key, make_organization, make_user


@pytest.mark.django_db
def test_a_new_organization_has_an_owner_and_a_workspace() -> None:
    alice = make_user()
    acme = make_organization("Acme", owner=alice)
    membership = acme.memberships.get()
    workspace = acme.workspaces.get()
    assert (membership.user, membership.role) == (alice, Membership.Role.OWNER)
    assert (workspace.name, workspace.slug, workspace.stores_content) == ("Production", "production", False)


@pytest.mark.django_db
def test_names_may_repeat_and_slugs_do_not() -> None:
    assert [make_organization(name).slug for name in ("Acme", "Acme", "ACME!", "東京", "東京")] == [
        "acme",
        "acme-2",
        "acme-3",
        "organization",
        "organization-2",
    ]


@pytest.mark.django_db(transaction=True)
def test_sign_ups_of_one_name_at_once_all_succeed() -> None:
    owners = [make_user() for _ in range(4)]
    failures: list[BaseException] = []

    def sign_up(owner: object) -> None:
        try:
            make_organization("Acme", owner=owner)  # type: ignore[arg-type]
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=sign_up, args=(owner,)) for owner in owners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted(Organization.objects.values_list("slug", flat=True)) == ["acme", "acme-2", "acme-3", "acme-4"]


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["", "   ", "x" * 201])
def test_a_name_has_1_to_200_characters(name: str) -> None:
    with pytest.raises(organizations.InvalidOrganization, match="1 to 200 characters"):
        organizations.create(name=name, owner=make_user(), actor=audit.SYSTEM, now=timezone.now())
    assert Organization.objects.count() == 0


@pytest.mark.django_db
def test_a_rename_keeps_the_slug_and_is_recorded() -> None:
    acme = make_organization("Acme")
    before = acme.changed_at
    organizations.rename(organization=acme, name=" Acme   Robotics ", actor=audit.SYSTEM, now=timezone.now())
    acme.refresh_from_db()
    assert (acme.name, acme.slug) == ("Acme Robotics", "acme")
    assert acme.changed_at > before
    event = AuditEvent.objects.get(action="organization.rename")
    assert (event.before, event.after) == ({"name": "Acme"}, {"name": "Acme Robotics"})


@pytest.mark.django_db
def test_the_same_name_again_is_no_change() -> None:
    acme = make_organization("Acme")
    organizations.rename(organization=acme, name="Acme", actor=audit.SYSTEM, now=timezone.now())
    assert not AuditEvent.objects.filter(action="organization.rename").exists()


@pytest.mark.django_db
def test_a_removed_demo_takes_its_keys_along_and_leaves_its_audit_event() -> None:
    demo = make_organization("Demo", is_demo=True)
    make_api_key(demo.workspaces.get())
    organization_id = demo.pk
    organizations.remove_demo(organization=demo, actor=audit.SYSTEM, now=timezone.now())
    assert not Organization.objects.exists()
    assert not ApiKey.objects.exists()
    event = AuditEvent.objects.get(action="organization.remove")
    assert (event.organization_id, event.before) == (organization_id, {"name": "Demo", "slug": "demo"})


@pytest.mark.django_db
def test_only_a_demo_is_removed() -> None:
    acme = make_organization("Acme")
    with pytest.raises(organizations.NotADemo):
        organizations.remove_demo(organization=acme, actor=audit.SYSTEM, now=timezone.now())
    assert Organization.objects.filter(pk=acme.pk).exists()
