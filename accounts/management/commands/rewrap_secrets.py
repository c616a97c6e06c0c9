"""`manage.py rewrap_secrets`: encrypt stored secrets anew under the current master key, so that old keys can go."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts import provider_credentials


class Command(BaseCommand):
    help = "Encrypt stored provider keys anew under the first key of KAIROS_MASTER_KEYS. Run it again until it says 0."

    def handle(self, *args: Any, **options: Any) -> None:
        rewrapped, unreadable = provider_credentials.rewrap_all()
        self.stdout.write(f"Encrypted {rewrapped} secrets anew.")
        if unreadable:
            raise CommandError(
                f"{unreadable} secrets cannot be read with the master keys that are set. Put back the key that they"
                " were made with, or replace them under Provider keys."
            )
