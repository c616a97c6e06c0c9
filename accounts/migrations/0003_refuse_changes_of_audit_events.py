"""Make the audit trail append-only in the database itself: every UPDATE of a row is refused.

A later migration that alters the table on SQLite rebuilds it, and triggers do not survive that:
it must end with the same `RunPython` operation again.
"""

from django.db import migrations

TABLE = "accounts_auditevent"
MESSAGE = "audit events cannot be changed"

FORWARDS = {
    "sqlite": [
        f"CREATE TRIGGER audit_event_is_append_only BEFORE UPDATE ON {TABLE} "
        f"BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END",
    ],
    "postgresql": [
        "CREATE FUNCTION audit_event_is_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{MESSAGE}' USING ERRCODE = 'integrity_constraint_violation'; END $$",
        f"CREATE TRIGGER audit_event_is_append_only BEFORE UPDATE ON {TABLE} "
        "FOR EACH ROW EXECUTE FUNCTION audit_event_is_append_only()",
    ],
}
BACKWARDS = {
    "sqlite": ["DROP TRIGGER audit_event_is_append_only"],
    "postgresql": [
        f"DROP TRIGGER audit_event_is_append_only ON {TABLE}",
        "DROP FUNCTION audit_event_is_append_only()",
    ],
}


def create_trigger(apps, schema_editor):
    for statement in FORWARDS[schema_editor.connection.vendor]:
        schema_editor.execute(statement)


def drop_trigger(apps, schema_editor):
    for statement in BACKWARDS[schema_editor.connection.vendor]:
        schema_editor.execute(statement)


class Migration(migrations.Migration):

    dependencies = [
        ("accounts", "0002_add_invitations_links_and_audit"),
    ]

    operations = [
        migrations.RunPython(create_trigger, drop_trigger),
    ]
