"""Price rows in integer nano-US-dollars and the book that finds the row of a call: `PriceBook.row`.

Pure: rows are made by `gateway.catalog.flatten` and read by `gateway.catalog.loader`; what a call costs is computed
by `gateway.settlement`. All prices are nano-USD per one million units (tokens or requests), exact.
"""

from __future__ import annotations

import hashlib
import json
import sys
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

STANDARD: Final = ""
_DAY: Final = 86_400
_ALWAYS: Final = sys.maxsize


class Rates(msgspec.Struct, frozen=True, gc=False):
    """Nano-USD per million tokens, one price a token class.

    A class that the provider does not price apart has the price of the class that it belongs to: cached tokens cost
    as input where there is no cache price, reasoning tokens as output.
    """

    input: int
    cached_read: int
    cached_audio_read: int
    cache_write: int
    cache_write_1h: int
    audio_input: int
    output: int
    reasoning: int
    audio_output: int


@dataclass(frozen=True, slots=True)
class PriceRow:
    """The prices of one model at one provider in one service tier while they are valid.

    `price_version` names these very numbers: it is the hash of everything else in the row. `tiers` are the prices of
    long prompts: the highest `above` that the prompt exceeds applies to all its tokens.
    """

    model: str  # our id, or `provider:upstream` for a model that is not in the catalog
    priced_as: str  # provider/model in genai-prices
    source: str  # e.g. "genai-prices 0.2.3"
    service_tier: str  # "" is standard
    valid_from: int | None  # epoch seconds, None is ever
    valid_to: int | None  # exclusive, None is open
    windows: tuple[tuple[int, int], ...]  # seconds of the UTC day, end exclusive; () is the whole day
    rates: Rates
    tiers: tuple[tuple[int, Rates], ...]  # (above this many input tokens, rates), ascending
    per_million_requests: int
    has_output_price: bool
    # derived, so that settlement need not look: see `from_document`
    price_version: str
    first_tier: int
    has_audio_price: bool
    has_reasoning_price: bool
    is_plain: bool  # nothing but input, cached, written and output tokens is priced apart

    def rates_for(self, input_tokens: int) -> Rates:
        """Return the prices that apply to a prompt of this length."""
        if input_tokens <= self.first_tier:
            return self.rates
        return max((tier for tier in self.tiers if input_tokens > tier[0]), key=lambda tier: tier[0])[1]

    def document(self) -> dict[str, Any]:
        """Return the row as JSON data; `from_document` reads it back."""
        return {
            "model": self.model,
            "priced_as": self.priced_as,
            "source": self.source,
            "service_tier": self.service_tier,
            "valid_from": self.valid_from,
            "valid_to": self.valid_to,
            "windows": [list(window) for window in self.windows],
            "rates": msgspec.structs.asdict(self.rates),
            "tiers": [[above, msgspec.structs.asdict(rates)] for above, rates in self.tiers],
            "per_million_requests": self.per_million_requests,
            "has_output_price": self.has_output_price,
        }


def from_document(document: Mapping[str, Any]) -> PriceRow:
    """Return the row that `PriceRow.document` described; its version is computed anew, never trusted.

    Raises:
        KeyError, TypeError: the document is not a row.
    """
    rates = Rates(**document["rates"])
    tiers = tuple((above, Rates(**prices)) for above, prices in document["tiers"])
    facts = {key: document[key] for key in _FACTS}
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    every = (rates, *(prices for _, prices in tiers))
    has_audio_price = any(
        r.audio_input != r.input or r.cached_audio_read != r.cached_read or r.audio_output != r.output for r in every
    )
    has_reasoning_price = any(r.reasoning != r.output for r in every)
    is_by_token = bool(document["has_output_price"]) and not document["per_million_requests"]
    return PriceRow(
        **{
            **facts,
            "windows": tuple((start, end) for start, end in document["windows"]),
            "rates": rates,
            "tiers": tiers,
        },
        price_version=f"pv_{digest[:16]}",
        first_tier=tiers[0][0] if tiers else _ALWAYS,
        has_audio_price=has_audio_price,
        has_reasoning_price=has_reasoning_price,
        is_plain=is_by_token and not has_audio_price and not has_reasoning_price,
    )


_FACTS: Final = (
    "model",
    "priced_as",
    "source",
    "service_tier",
    "valid_from",
    "valid_to",
    "windows",
    "rates",
    "tiers",
    "per_million_requests",
    "has_output_price",
)


class _Schedule:
    """The rows of one model in one service tier over time: spans of dates, each cut into parts of the day."""

    __slots__ = ("_days", "_starts")

    def __init__(self, rows: list[PriceRow]) -> None:
        spans: dict[int, list[PriceRow]] = {}
        for row in rows:
            spans.setdefault(-_ALWAYS if row.valid_from is None else row.valid_from, []).append(row)
        self._starts = sorted(spans)
        self._days = [_cut_day(spans[start]) for start in self._starts]

    def at(self, seconds: int) -> PriceRow:
        cuts, rows = self._days[bisect_right(self._starts, seconds) - 1]
        if len(rows) == 1:
            return rows[0]
        return rows[bisect_right(cuts, seconds % _DAY) - 1]


def _cut_day(rows: list[PriceRow]) -> tuple[list[int], list[PriceRow]]:
    parts = sorted(((start, row) for row in rows for start, _ in row.windows or ((0, _DAY),)), key=lambda part: part[0])
    return [start for start, _ in parts], [row for _, row in parts]


class PriceBook:
    """Every price row, found by model, time and service tier, or by its version. Immutable."""

    def __init__(self, rows: Iterable[PriceRow], *, archived: Iterable[PriceRow] = ()) -> None:
        """`archived` rows are known by their version only: prices of earlier price files, which old records name."""
        current = list(rows)
        groups: dict[str, dict[str, list[PriceRow]]] = {}
        for row in current:
            groups.setdefault(row.model, {}).setdefault(row.service_tier, []).append(row)
        self._versions = {row.price_version: row for row in (*archived, *current)}
        self._single = {model: tiers[STANDARD][0] for model, tiers in groups.items() if len(tiers[STANDARD]) == 1}
        self._schedules = {
            model: {tier: _Schedule(tier_rows) for tier, tier_rows in tiers.items()} for model, tiers in groups.items()
        }
        self._tiers = {model: frozenset(tiers) - {STANDARD} for model, tiers in groups.items()}
        self.rows: tuple[PriceRow, ...] = tuple(current)

    def row(self, model: str, at: float | datetime, service_tier: str = STANDARD) -> PriceRow | None:
        """Return the row that prices a call of `model` that started at `at` (epoch seconds or aware datetime).

        A service tier that the provider does not price apart (also "default", "standard", "auto") costs the standard
        price. None means that no price is known: the call is unpriced, never free.
        """
        if service_tier and service_tier in self._tiers.get(model, ()):
            schedule = self._schedules[model][service_tier]
        else:
            single = self._single.get(model)
            if single is not None:
                return single
            tiers = self._schedules.get(model)
            if tiers is None:
                return None
            schedule = tiers[STANDARD]
        return schedule.at(int(at.timestamp() if isinstance(at, datetime) else at))

    def by_version(self, price_version: str) -> PriceRow | None:
        """Return the row that a record names, None when it is in no price file at hand."""
        return self._versions.get(price_version)

    def service_tiers(self, model: str) -> frozenset[str]:
        """Return the service tiers that cost other than standard at some time: flex, priority, fast, batch."""
        return self._tiers.get(model, frozenset())

    def cost_ranks(self, at: float | datetime) -> dict[str, int]:
        """Return by model the nano-USD of a million tokens at three of input to one of output, for `Catalog.ranked`."""
        ranks = {}
        for model in self._schedules:
            row = self.row(model, at)
            if row is not None:
                ranks[model] = (3 * row.rates.input + row.rates.output) // 4
        return ranks
