"""What newer price data would change: the difference between two price books, and which of it is hard to believe. Pure.

`manage.py refresh_prices` reads the data, prints this, and writes what somebody accepted.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from gateway.catalog.prices import STANDARD, PriceBook, PriceRow

# A price that becomes ten times as high or as low is more often a slip of a decimal point than a price.
_MOST_FACTOR: Final = 10
_DAY_S: Final = 86_400
_REQUESTS: Final = "million requests"


@dataclass(frozen=True, slots=True)
class Change:
    """One price that would be another. `at` (epoch seconds) is the first moment; None: from the moment asked about.

    Prices are nano-USD per million tokens (or requests); None is not priced.
    """

    model: str
    service_tier: str  # "" is standard
    unit: str  # a token class of `Rates`, with the length of the prompt where it depends on it
    old: int | None
    new: int | None
    at: int | None

    @property
    def is_suspicious(self) -> bool:
        """Whether it needs more than a glance: to or from zero or nothing, or ten times and more."""
        if not self.old:
            return self.old == 0 and bool(self.new)
        return not self.new or self.new >= self.old * _MOST_FACTOR or self.new * _MOST_FACTOR <= self.old


def changes(old: PriceBook, new: PriceBook, *, now: int) -> list[Change]:
    """Return what differs from `now` (epoch seconds) on, by model and time. Models that `new` lacks are left out."""
    found = []
    for model in sorted({row.model for row in new.rows}):
        tiers = {STANDARD} | old.service_tiers(model) | new.service_tiers(model)
        for tier in sorted(tiers):
            found += _of(model, tier, old, new, now)
    return found


def merged(old: PriceBook, new: PriceBook) -> list[PriceRow]:
    """Return the rows of `new`, and those of `old` for the models that it lacks: a model does not lose its price.

    A row that says the same keeps its old source, and with it its price version.
    """
    same = {_without_source(row): row for row in old.rows}
    known = {row.model for row in new.rows}
    rows = [same.get(_without_source(row), row) for row in new.rows]
    return [*rows, *(row for row in old.rows if row.model not in known)]


def missing(old: PriceBook, new: PriceBook) -> list[str]:
    """Return the models that `new` lacks."""
    return sorted({row.model for row in old.rows} - {row.model for row in new.rows})


def _without_source(row: PriceRow) -> str:
    return json.dumps({**row.document(), "source": ""}, sort_keys=True)


def _of(model: str, tier: str, old: PriceBook, new: PriceBook, now: int) -> list[Change]:
    """Return the changes of one model in one tier: each price once, from the first moment at which it differs."""
    seen: dict[tuple[str, int | None, int | None], Change] = {}
    for moment in _moments([row for book in (old, new) for row in book.rows if row.model == model], now):
        before, after = _prices(old.row(model, moment, tier)), _prices(new.row(model, moment, tier))
        for unit in (*after, *(unit for unit in before if unit not in after)):
            pair = before.get(unit), after.get(unit)
            if pair[0] != pair[1] and (unit, *pair) not in seen:
                seen[unit, *pair] = Change(model, tier, unit, *pair, None if moment - now < _DAY_S else moment)
    return list(seen.values())


def _moments(rows: Iterable[PriceRow], now: int) -> list[int]:
    """Return `now`, every later change of the rows' dates, and the hours of each of these days at which prices turn."""
    rows = list(rows)
    days = {now, *(edge for row in rows for edge in (row.valid_from, row.valid_to) if edge is not None and edge > now)}
    turns = {start for row in rows for start, _ in row.windows}
    return sorted(days | {day - day % _DAY_S + _DAY_S + turn for day in days for turn in turns})


def _prices(row: PriceRow | None) -> dict[str, int]:
    if row is None:
        return {}
    found = dict(_rates(row))
    if row.per_million_requests:
        found[_REQUESTS] = row.per_million_requests
    return found


def _rates(row: PriceRow) -> Iterator[tuple[str, int]]:
    for above, rates in ((0, row.rates), *row.tiers):
        for name, price in msgspec.structs.asdict(rates).items():
            if row.has_output_price or name not in ("output", "reasoning", "audio_output"):
                yield (f"{name} above {above} tokens" if above else name), price
