"""`manage.py migrate_clickhouse`: bring the log store's tables up to date."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from analytics.clickhouse import errors, migrate


class Command(BaseCommand):
    help = "Bring the log store's tables up to date; does nothing where they are."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if something is missing")
        parser.add_argument("--write-schema", action="store_true", help="write the built state to schema.sql")

    def handle(self, *args: Any, check: bool, write_schema: bool, **options: Any) -> None:
        try:
            if check:
                missing = migrate.pending()
                if missing:
                    raise CommandError(f"Not applied: {', '.join(missing)}. Run manage.py migrate_clickhouse.")
                self.stdout.write("The log store is up to date.")
                return
            applied = migrate.migrate(cluster=settings.CLICKHOUSE_CLUSTER)
            if write_schema:
                migrate.SCHEMA.write_text(migrate.describe(), encoding="utf-8")
        except (errors.StoreError, migrate.InvalidMigration) as error:
            raise CommandError(str(error)) from error
        if options["verbosity"] > 0:
            self.stdout.write(f"Applied {', '.join(applied)}." if applied else "The log store is up to date.")
