"""`manage.py rebuild_rollups`: mark past hours so that their roll-ups are computed anew from the calls."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from analytics import rollups


class Command(BaseCommand):
    help = "Mark the hours of the last days, so that the worker computes their roll-ups anew from the calls."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--days", type=int, default=31, help="how many days back (default 31)")

    def handle(self, *args: Any, days: int, **options: Any) -> None:
        if days < 1:
            raise CommandError("--days must be at least 1.")
        end_at = timezone.now().replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
        try:
            marked = rollups.mark(start_at=end_at - timedelta(days=days), end_at=end_at)
        except rollups.StoreError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Marked {marked} hours; the worker computes them.")
