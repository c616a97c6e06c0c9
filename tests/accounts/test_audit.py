"""The audit trail: append-only in code and in the database, and never with a secret."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from accounts import audit, tokens
from accounts.models import AuditEvent, AuditTrailIsAppendOnly
from tests.factories.accounts import make_api_key, make_organization, make_user


@pytest.mark.django_db
def test_an_event_says_who_did_what_to_what_from_where() -> None:
    alice, acme, now = make_user("alice@acme.example"), make_organization("Acme"), timezone.now()
    audit.record(
        organization_id=acme.pk,
        actor=audit.user(alice, ip="2001:db8::1"),
        action="organization.rename",
        target=acme,
        before={"name": "A"},
        after={"name": "Acme"},
        now=now,
    )
    event = AuditEvent.objects.for_organization(acme.pk).get(action="organization.rename")
    assert (event.actor_kind, event.actor_id, event.actor_label) == ("user", str(alice.pk), "alice@acme.example")
    assert (event.object_type, event.object_id, event.object_label) == ("organization", acme.pk, "Acme")
    assert (event.ip, event.at, event.before, event.after) == ("2001:db8::1", now, {"name": "A"}, {"name": "Acme"})


@pytest.mark.django_db
def test_the_trail_outlives_what_it_speaks_of() -> None:
    alice = make_user("alice@acme.example")
    acme = make_organization("Acme", owner=alice)
    organization_id = acme.pk
    acme.delete()
    alice.delete()
    assert AuditEvent.objects.for_organization(organization_id).filter(action="organization.create").exists()


@pytest.mark.django_db
def test_a_program_is_an_actor_by_its_keys_name_and_hint() -> None:
    new = make_api_key(name="bot")
    actor = audit.api_key(new.api_key)
    assert (actor.kind, actor.id, actor.label) == ("api_key", new.api_key.pk, f"bot ({new.api_key.hint})")


@pytest.mark.django_db
def test_an_api_key_is_cut_down_before_it_reaches_the_trail() -> None:
    key = tokens.make("live")
    acme = make_organization()
    acme.name = f"Acme {key}"
    event = audit.record(
        organization_id=acme.pk,
        actor=audit.Actor(kind="user", id="1", label=f"{key}@example.com"),
        action="x.y",
        target=acme,
        before={"plain": "ä“”"},
        after={"deep": [{"key": key}]},
        now=timezone.now(),
    )
    event.refresh_from_db()
    hint = tokens.hint(key)
    assert event.after == {"deep": [{"key": hint}]}
    assert event.before == {"plain": "ä“”"}
    assert (event.actor_label, event.object_label) == (f"{hint}@example.com", f"Acme {hint}")


@pytest.mark.django_db
def test_code_cannot_change_or_delete_events() -> None:
    make_organization()
    with pytest.raises(AuditTrailIsAppendOnly):
        AuditEvent.objects.update(action="nothing")
    with pytest.raises(AuditTrailIsAppendOnly):
        AuditEvent.objects.all().delete()
    with pytest.raises(AuditTrailIsAppendOnly):
        AuditEvent.objects.all()[0].delete()


@pytest.mark.django_db
def test_the_database_itself_refuses_a_change() -> None:
    make_organization()
    event = AuditEvent.objects.all()[0]
    event.action = "nothing"
    with pytest.raises(IntegrityError, match="audit events cannot be changed"), transaction.atomic():
        event.save()
    with (
        pytest.raises(IntegrityError, match="audit events cannot be changed"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute("UPDATE accounts_auditevent SET actor_label = 'mallory'")


@pytest.mark.django_db(transaction=True)
def test_the_migrations_of_accounts_go_back_and_forth() -> None:
    newest = MigrationExecutor(connection).loader.graph.leaf_nodes()  # other apps' tables go along, and come back
    MigrationExecutor(connection).migrate([("accounts", "0001_initial")])
    assert "accounts_auditevent" not in connection.introspection.table_names()
    MigrationExecutor(connection).migrate(newest)
    make_organization()
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE accounts_auditevent SET actor_label = 'mallory'")
