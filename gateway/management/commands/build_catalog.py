"""Write `gateway/catalog/data/models.json` from a file of facts about chat models and from `catalog.embeddings`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from gateway.catalog import curation, embeddings, loader


class Command(BaseCommand):
    help = "Build the model catalog from a JSON list of model facts (limits, capabilities, deprecation)."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--from", dest="source", required=True, type=Path, help="the JSON list of facts")
        parser.add_argument("--to", dest="target", type=Path, default=loader.CATALOG_PATH, help="where to write")
        parser.add_argument("--check", action="store_true", help="write nothing; fail when the file would change")

    def handle(self, *args: Any, source: Path, target: Path, check: bool, **options: Any) -> None:
        try:
            facts = json.loads(source.read_text(encoding="utf-8"))
            document = curation.slim([*facts, *embeddings.FACTS] if isinstance(facts, list) else facts)
        except OSError as error:
            raise CommandError(f"Cannot read {source}: {error.strerror}.") from error
        except ValueError as error:
            raise CommandError(f"{source} is not a list of model facts: {error}") from error
        text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
        if check:
            if not target.exists() or target.read_text(encoding="utf-8") != text:
                raise CommandError(f"{target} is out of date: run build_catalog without --check.")
            self.stdout.write(f"{target} is up to date: {len(document['models'])} models.")
            return
        target.write_text(text, encoding="utf-8")
        self.stdout.write(f"Wrote {len(document['models'])} models to {target}.")
