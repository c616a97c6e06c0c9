"""Compare newer price data with the prices in force, print the difference, and put it in force once it is accepted."""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from gateway.catalog import listing, loader, refresh
from gateway.catalog.prices import PriceBook
from gateway.catalog.refresh import Change

_TIMEOUT_S = 30
_MOST_BYTES = 64 * 1024 * 1024


class Command(BaseCommand):
    help = "Compare newer genai-prices data with the prices in force; write nothing without --accept."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--from",
            dest="source",
            default=settings.PRICES_SOURCE,
            help="a data.json of genai-prices: path or https URL",
        )
        parser.add_argument("--accept", action="store_true", help="put the difference in force")
        parser.add_argument("--force", action="store_true", help="accept changes that are hard to believe, too")

    def handle(self, *args: Any, source: str, accept: bool, force: bool, **options: Any) -> None:
        if not source:
            raise CommandError(
                "Name the data: --from data.json or an https URL, or set KAIROS_PRICES_SOURCE. Nothing is read unasked."
            )
        data = _read(source)
        now = int(time.time())
        directory = settings.DATA_DIR / "prices"
        catalog, old = loader.load(directory, whole_providers=loader.WHOLE_PROVIDERS)
        label = f"genai-prices data {hashlib.sha256(data).hexdigest()[:12]}"
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            file.write(data)
            file.flush()
            try:
                rows = loader.flatten(
                    catalog, whole_providers=loader.WHOLE_PROVIDERS, data=Path(file.name), source=label
                )
            except loader.PricesUnavailable as error:
                raise CommandError(f"{source} is no data of genai-prices: {error}") from error
        new = PriceBook(rows)
        found = refresh.changes(old, new, now=now)
        self._report(found, refresh.missing(old, new))
        if not found:
            return
        suspicious = [change for change in found if change.is_suspicious]
        if not accept:
            self.stdout.write("Nothing is written. Put it in force with --accept.")
            return
        if suspicious and not force:
            raise CommandError(
                f"{len(suspicious)} changes, marked with !, are to or from zero, or tenfold: nothing is written."
                " Look at them, then repeat with --accept --force."
            )
        path = loader.accept(directory, refresh.merged(old, new), catalog, loader.WHOLE_PROVIDERS, source=label)
        self.stdout.write(f"Wrote {path}. Processes use it from their next start; receipts of the past keep theirs.")

    def _report(self, found: Sequence[Change], missing: Sequence[str]) -> None:
        if missing:
            shown = ", ".join(missing[:5]) + (" …" if len(missing) > 5 else "")
            self.stdout.write(f"{len(missing)} models are not in the data and keep their prices: {shown}")
        if not found:
            self.stdout.write("The data has the prices in force: no difference.")
            return
        self.stdout.write(f"  {'model':<44} {'tier':<10} {'per million':<34} {'old $':>12} {'new $':>12}  from (UTC)")
        for change in found:
            self.stdout.write(
                f"{'!' if change.is_suspicious else ' '} {change.model:<44} {change.service_tier or 'standard':<10} "
                f"{change.unit:<34} {_dollars(change.old):>12} {_dollars(change.new):>12}  {_day(change.at)}"
            )
        self.stdout.write(f"{len(found)} prices differ.")


def _read(source: str) -> bytes:
    try:
        if source.startswith("https://"):
            with urllib.request.urlopen(source, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - https, named by the operator
                data: bytes = answer.read(_MOST_BYTES + 1)
        elif "://" in source:
            raise CommandError("The data is read from a file or over https, from nowhere else.")
        else:
            data = Path(source).read_bytes()
    except OSError as error:
        raise CommandError(f"Cannot read {source}: {error}.") from error
    if len(data) > _MOST_BYTES:
        raise CommandError(f"{source} is longer than {_MOST_BYTES // 1024 // 1024} MiB: that is no price data.")
    try:
        if not isinstance(json.loads(data), list):
            raise ValueError("it holds no list of providers")
    except ValueError as error:
        raise CommandError(f"{source} is no data of genai-prices: {error}.") from error
    return data


def _dollars(nanousd: int | None) -> str:
    return "not priced" if nanousd is None else listing.usd_per_mtok(nanousd)


def _day(at: int | None) -> str:
    return "now" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")
