"""`manage.py reconcile`: compare the ledger with the log store; exit 1 where they differ."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from billing import reconciliation

PAUSE_SECONDS = 2.0


class Command(BaseCommand):
    help = "Compare the usage ledger with the log store by organization and day; exit 1 where they differ."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--organization", default="", help="id of one organization; all by default")
        parser.add_argument("--days", type=int, default=7, help="how many UTC days, today included (default 7)")
        parser.add_argument(
            "--attempts", type=int, default=3, help="compare again, so that segments on their way can land (default 3)"
        )

    def handle(self, *args: Any, organization: str, days: int, attempts: int, **options: Any) -> None:
        if days < 1 or attempts < 1:
            raise CommandError("--days and --attempts must be at least 1.")
        last = timezone.now().date()
        first = last - timedelta(days=days - 1)
        for attempt in range(attempts):
            if attempt:
                time.sleep(PAUSE_SECONDS)
            try:
                differences = reconciliation.compare(first=first, last=last, organization_id=organization)
            except reconciliation.StoreError as error:
                raise CommandError(str(error)) from error
            if not differences:
                self.stdout.write(f"The ledger and the log store agree on {first} to {last}.")
                return
        for difference in differences:
            self.stdout.write(str(difference))
        raise CommandError(f"The ledger and the log store differ on {len(differences)} days of organizations.")
