"""The cost of one call line by line, from its record alone: units times unit price, adding up to the total. Pure.

The amounts are the record's own parts, which the gateway settled; the unit prices are those that its receipt keeps.
A unit price is shown only where it explains its amount to the last digit, so a line never claims a multiplication that
does not hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from analytics.request_log import HAVING_PRICE, RequestLog

_MILLION = 1_000_000
_NAMES = {
    "input": "Input",
    "audio_input": "Audio input",
    "request": "Fee per request",
    "cached_read": "Cached input",
    "cached_audio_read": "Cached audio input",
    "cache_write": "Written to cache",
    "cache_write_1h": "Written to cache for an hour",
    "output": "Output",
    "reasoning": "Reasoning",
    "audio_output": "Audio output",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One line: `units` at `per_million_nanousd` each million cost `cost_nanousd`. The price is None where unknown."""

    name: str
    units: int
    per_million_nanousd: int | None
    cost_nanousd: int


def lines(record: RequestLog, prices: Mapping[str, int]) -> list[Line]:
    """Return the lines of a priced call, none otherwise; `prices` is what its receipt keeps, by class of unit."""
    if record.price_state not in HAVING_PRICE:
        return []
    rates = {name.removesuffix("_nanousd_per_mtok"): rate for name, rate in prices.items()}
    parts = (
        ("input", record.input_cost_nanousd, _input_classes(record, rates)),
        ("cached_read", record.cached_read_cost_nanousd, [("cached_read", record.cached_read_tokens)]),
        ("cache_write", record.cache_write_cost_nanousd, [("cache_write", record.cache_write_tokens)]),
        ("output", record.output_cost_nanousd, _output_classes(record)),
    )
    return [line for part, cost, classes in parts for line in _part_lines(part, cost, classes, rates)]


def _input_classes(record: RequestLog, rates: Mapping[str, int]) -> list[tuple[str, int]]:
    plain = record.input_tokens - record.cached_read_tokens - record.cache_write_tokens
    audio = min(record.audio_input_tokens, max(plain, 0)) if "audio_input" in rates else 0
    fee = 1 if rates.get("request") else 0
    return [("input", max(plain, 0) - audio), ("audio_input", audio), ("request", fee)]


def _output_classes(record: RequestLog) -> list[tuple[str, int]]:
    audio = record.audio_output_tokens
    reasoning = min(record.reasoning_tokens, record.output_tokens - audio)
    return [("output", record.output_tokens - audio - reasoning), ("reasoning", reasoning), ("audio_output", audio)]


def _part_lines(part: str, cost: int, classes: list[tuple[str, int]], rates: Mapping[str, int]) -> list[Line]:
    """Return a part's lines: one a class where the prices explain the part, else one for all of it."""
    used = [(name, units) for name, units in classes if units > 0]
    if not used:
        return [Line(_NAMES[part], 0, None, cost)] if cost else []
    known = [(name, units, rates[name]) for name, units in used if name in rates]
    exact = [units * rate for _, units, rate in known]
    if len(known) == len(used) and _explains(sum(exact), cost):
        return [
            Line(_NAMES[name], units, rate, amount)
            for (name, units, rate), amount in zip(known, _apportion(exact, cost), strict=True)
        ]
    # A class without a price of its own (reasoning, mostly) costs as the class that it belongs to.
    units = sum(units for name, units in used if name != "request")
    rate = rates.get(part)
    is_explained = rate is not None and _explains(units * rate, cost)
    return [Line(_NAMES[part], units, rate if is_explained else None, cost)]


def _explains(exact: int, cost: int) -> bool:
    """Return whether a product is the cost: parts are apportioned, so each may be off by less than a nano-dollar."""
    return abs(exact - cost * _MILLION) < _MILLION


def _apportion(exact: list[int], total: int) -> list[int]:
    """Return whole nano-dollars for exact millionths by largest remainder, summing to `total`."""
    amounts = [amount // _MILLION for amount in exact]
    missing = total - sum(amounts)
    order = sorted(range(len(exact)), key=lambda index: -(exact[index] % _MILLION))
    for index in order[: max(missing, 0)]:
        amounts[index] += 1
    if missing < 0:
        amounts[order[-1]] += missing
    return amounts
