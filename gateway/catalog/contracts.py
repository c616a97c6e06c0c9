"""What an organization agreed with a provider instead of the list price: rows of its own, each with its own version.

Pure: terms are read from the database by `gateway.snapshot`. A term is a percentage off the list, or fixed prices; what
it does not name stays at the list price. Fixed prices hold for prompts of any length and for the standard tier only:
other service tiers stay at theirs. A derived row has a `price_version` that names its very numbers, as list rows have.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from gateway.catalog import prices
from gateway.catalog.prices import STANDARD, PriceBook, PriceRow

WHOLE_BASIS_POINTS: Final = 10_000
_REMEMBERED = 4096


class Term(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One agreed price. `pattern` is a model's id, or begins like the ids that it is for and ends in `*`.

    Prices are nano-USD per million tokens. From equally exact patterns the one with the later `valid_from` wins.
    """

    term_id: str
    pattern: str
    valid_from: float  # epoch seconds
    valid_to: float | None = None  # exclusive
    discount_basis_points: int | None = None
    input: int | None = None
    cached_read: int | None = None
    cache_write: int | None = None
    output: int | None = None

    def matches(self, model: str, at: float) -> bool:
        """Return whether the term prices a call of a model that began at a moment."""
        if at < self.valid_from or (self.valid_to is not None and at >= self.valid_to):
            return False
        return model.startswith(self.pattern[:-1]) if self.pattern.endswith("*") else model == self.pattern


class Contracts:
    """The terms of one organization. Immutable but for a bounded memory of rows derived before."""

    __slots__ = ("_rows", "terms")

    def __init__(self, terms: Iterable[Term]) -> None:
        # The most exact pattern first: a whole id before a prefix, a longer prefix before a shorter.
        self.terms = tuple(
            sorted(terms, key=lambda t: (t.pattern.endswith("*"), -len(t.pattern), -t.valid_from, t.term_id))
        )
        self._rows: dict[tuple[str, str], PriceRow | None] = {}

    def row(self, book: PriceBook, model: str, at: float, service_tier: str = STANDARD) -> PriceRow | None:
        """Return the row that prices the organization's call: the agreed one, else the list's (`PriceBook.row`)."""
        listed = book.row(model, at, service_tier)
        for term in self.terms:
            if term.matches(model, at):
                place = (term.term_id, model if listed is None else listed.price_version)
                if place not in self._rows:
                    if len(self._rows) >= _REMEMBERED:
                        self._rows.clear()
                    self._rows[place] = _agreed(term, model, listed)
                return self._rows[place]
        return listed

    def by_version(self, book: PriceBook, price_version: str) -> PriceRow | None:
        """Return the row that a record of this organization names, None when it is not derived from its terms."""
        for term in self.terms:
            for listed in book.rows:
                if term.pattern == listed.model or (
                    term.pattern.endswith("*") and listed.model.startswith(term.pattern[:-1])
                ):
                    found = _agreed(term, listed.model, listed)
                    if found is not None and found.price_version == price_version:
                        return found
            found = None if term.pattern.endswith("*") else _agreed(term, term.pattern, None)
            if found is not None and found.price_version == price_version:
                return found
        return book.by_version(price_version)


def row_of(
    book: PriceBook, contracts: Contracts | None, model: str, at: float, service_tier: str = STANDARD
) -> PriceRow | None:
    """Return the row that prices a call of an organization, with or without terms of its own."""
    if contracts is None:
        return book.row(model, at, service_tier)
    return contracts.row(book, model, at, service_tier)


def _agreed(term: Term, model: str, listed: PriceRow | None) -> PriceRow | None:
    """Return the row that a term makes of a list row; the list row where it says nothing of it."""
    if listed is None:
        return _unlisted(term, model)
    document = listed.document()
    if term.discount_basis_points is not None:
        document["rates"] = _discounted(document["rates"], term.discount_basis_points)
        document["tiers"] = [
            [above, _discounted(rates, term.discount_basis_points)] for above, rates in document["tiers"]
        ]
        document["per_million_requests"] = _off(document["per_million_requests"], term.discount_basis_points)
    elif listed.service_tier != STANDARD:
        return listed
    else:
        document["rates"] = _fixed(document["rates"], term)
        document["tiers"] = []
        document["has_output_price"] = listed.has_output_price or term.output is not None
    return prices.from_document({**document, "source": f"contract {term.term_id} on {listed.source}"})


def _unlisted(term: Term, model: str) -> PriceRow | None:
    """Return the row of a model that no list prices: fixed prices for what goes in and out are enough."""
    if term.input is None or term.output is None:
        return None
    plain = dict.fromkeys(prices.Rates.__struct_fields__, term.input)
    plain |= dict.fromkeys(("output", "reasoning", "audio_output"), term.output)
    return prices.from_document(
        {
            "model": model,
            "priced_as": model,
            "source": f"contract {term.term_id}",
            "service_tier": STANDARD,
            "valid_from": None,
            "valid_to": None,
            "windows": [],
            "rates": _fixed(plain, term),
            "tiers": [],
            "per_million_requests": 0,
            "has_output_price": True,
        }
    )


def _fixed(rates: dict[str, int], term: Term) -> dict[str, int]:
    """Return rates with the agreed ones put in; a class that cost as another did goes on costing as it does."""
    made = dict(rates)
    agreed: tuple[tuple[int | None, str, tuple[str, ...]], ...] = (
        (term.input, "input", ("cached_read", "cached_audio_read", "cache_write", "cache_write_1h", "audio_input")),
        (term.cached_read, "cached_read", ("cached_audio_read",)),
        (term.cache_write, "cache_write", ("cache_write_1h",)),
        (term.output, "output", ("reasoning", "audio_output")),
    )
    for price, name, followers in agreed:
        if price is not None:
            made[name] = price
            made.update({follower: price for follower in followers if rates[follower] == rates[name]})
    return made


def _discounted(rates: dict[str, Any], basis_points: int) -> dict[str, int]:
    return {name: _off(rate, basis_points) for name, rate in rates.items()}


def _off(price: int, basis_points: int) -> int:
    """Return a price less its discount, rounded half to even."""
    exact = price * (WHOLE_BASIS_POINTS - basis_points)
    whole, rest = divmod(exact, WHOLE_BASIS_POINTS)
    half = WHOLE_BASIS_POINTS // 2
    return whole + (rest > half or (rest == half and whole & 1 == 1))
