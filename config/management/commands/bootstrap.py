"""`manage.py bootstrap`: make the first owner, or get a new sign-in link for one."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from accounts import organizations, users
from config import bootstrap
from gateway.providers import registry


class Command(BaseCommand):
    help = "Make an organization with its owner and keys; a second run only makes a new sign-in link."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--organization", required=True, metavar="NAME", help="name of the organization")
        parser.add_argument("--email", required=True, help="e-mail address of its owner")
        parser.add_argument("--json", action="store_true", help="print one JSON object")
        parser.add_argument("--new-keys", action="store_true", help="make new keys though there are some; those stay")

    def handle(self, *args: Any, organization: str, email: str, new_keys: bool, **options: Any) -> None:
        _require_migrations()
        try:
            first = bootstrap.prepare(
                organization_name=organization,
                email=email,
                makes_new_keys=new_keys,
                base_url=settings.BASE_URL,
                provider_settings=settings.PROVIDER_SETTINGS,
                now=timezone.now(),
            )
        except (users.InvalidEmail, organizations.InvalidOrganization, registry.ProviderMisconfigured) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(_as_json(first) if options["json"] else _as_text(first))


def _require_migrations() -> None:
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise CommandError("The database is not up to date. Run `python manage.py migrate` first.")


def _as_json(first: bootstrap.FirstOwner) -> str:
    return json.dumps(
        {
            "organization": first.organization,
            "owner_email": first.owner_email,
            "sign_in_link": first.sign_in_link,
            "api_key": first.api_key,
            "test_api_key": first.test_api_key,
            "live_api_key": first.live_api_key,
        }
    )


def _as_text(first: bootstrap.FirstOwner) -> str:
    lines = [f"{first.organization}, owned by {first.owner_email}", f"Sign in once: {first.sign_in_link}"]
    if first.api_key is None:
        lines.append("Its keys were shown when they were made. --new-keys makes new ones.")
    else:
        reason = (
            "a provider is configured" if first.has_provider else "no provider is configured: the simulator answers"
        )
        lines += [
            f"API key that works now ({reason}): {first.api_key}",
            f"Test key: {first.test_api_key}",
            f"Live key: {first.live_api_key}",
        ]
    return "\n".join(lines)
