"""`manage.py dead_letters`: which lines the log store refused and why; load them again, or write them to a file."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from analytics.loader import StoreError
from billing import dead_letters, models


class Command(BaseCommand):
    help = "List the lines of segments that the log store refused; load them again after the reason is gone."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--retry", action="store_true", help="load them again")
        parser.add_argument(
            "--export", type=Path, help="write them to this file, one JSON object a line (base64 lines)"
        )

    def handle(self, *args: Any, retry: bool, export: Path | None, **options: Any) -> None:
        if export is not None:
            self.stdout.write(f"Wrote {_export(export)} dead letters to {export}.")
        if retry:
            try:
                result = dead_letters.retry()
            except StoreError as error:
                raise CommandError(str(error)) from error
            self.stdout.write(f"Loaded {result.loaded} dead letters; {result.refused} were refused again.")
        rows = dead_letters.reasons()
        for row in rows:
            self.stdout.write(f"{row.letters:>8}  {models.DeadLetter.Kind(row.kind).label:<9} {row.reason}")
        if not rows:
            self.stdout.write("There are no dead letters.")


def _export(path: Path) -> int:
    count = 0
    with path.open("x", encoding="utf-8") as file:
        path.chmod(0o600)
        for letter in models.DeadLetter.objects.order_by("id").iterator():
            row = {
                "segment_id": letter.segment_id,
                "kind": letter.kind,
                "position": letter.position,
                "reason": letter.reason,
                "columns": letter.columns,
                "line": base64.b64encode(bytes(letter.line)).decode("ascii"),
            }
            file.write(json.dumps(row) + "\n")
            count += 1
    return count
