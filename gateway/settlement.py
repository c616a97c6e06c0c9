"""What a call costs: tokens by class and a price row become integer nano-US-dollars.

Pure: which row applies is `gateway.catalog.prices.PriceBook`'s business, what is charged to a customer beyond the
provider's price is billing's. Prices are nano-USD per million tokens, so the exact cost of a call is an integer number
of millionths of a nano-dollar; it is rounded once, half to even, and the parts are apportioned by largest remainder,
so that they add up to the total. `genai_prices.calc_price` on the same usage, rounded half to even at the ninth
decimal, gives the same total.

Where a provider's numbers contradict each other: cached and written tokens are believed, and cost what their classes
cost even where they exceed the input tokens (the plain rest is zero then). Audio and reasoning tokens count up to the
input and output tokens that they are part of. Cached and audio tokens that together exceed the input overlap by at
least the excess: that much is cached audio.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from analytics.request_log import (
    BYOK,
    ESTIMATED,
    HAVING_PRICE,
    MANAGED,
    PRICED,
    SIMULATED,
    UNPRICED,
    UNUSED,
    RequestLog,
)
from gateway.catalog.prices import PriceRow
from gateway.providers.protocol import Usage

_MILLION: Final = 1_000_000
_HALF: Final = 500_000


class Settlement(msgspec.Struct, frozen=True, gc=False):
    """The cost of one call in nano-USD. The four parts add up to `provider_cost_nanousd`.

    `billed_nanousd` is what goes through our books for the call itself: the provider's price to the last digit for
    managed keys, nothing for the customer's own key (the provider bills it) and for simulated answers.
    """

    price_state: str = UNUSED
    price_version: str = ""
    input_cost_nanousd: int = 0
    cached_read_cost_nanousd: int = 0
    cache_write_cost_nanousd: int = 0
    output_cost_nanousd: int = 0
    provider_cost_nanousd: int = 0
    billed_nanousd: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a receipt's arithmetic: units times price per million, rounded so that the lines add up."""

    part: str  # input, cached_read, cache_write, output: the part of the settlement that the line belongs to
    unit: str  # what is counted: input, cached_read, cached_audio_read, ..., request
    units: int
    per_million_nanousd: int
    cost_nanousd: int


UNUSED_CALL: Final = Settlement()
_UNPRICED_CALL: Final = Settlement(UNPRICED)


def settle(usage: Usage | None, row: PriceRow | None, key_source: str = MANAGED) -> Settlement:
    """Return what a call with this usage costs by this row.

    No usage, or none but zeros, is `unused`: nothing was consumed. No row, or a row without a price for what was
    consumed, is `unpriced`: costs are zero because they are unknown, and the state says so.
    """
    if usage is None:
        return UNUSED_CALL
    input_tokens = usage.input_tokens
    output_tokens = usage.output_tokens
    cached = usage.cached_read_tokens
    written = usage.cache_write_tokens
    plain = input_tokens - cached - written
    if (
        row is None
        or (not row.is_plain and _needs_care(usage, row))
        or usage.cache_write_1h_tokens
        or plain < 0
        or cached < 0
        or written < 0
        or output_tokens < 0
        or (input_tokens == 0 and output_tokens == 0)
    ):
        return _settle_carefully(usage, row, key_source)

    rates = row.rates if input_tokens <= row.first_tier else row.rates_for(input_tokens)
    exact_input = plain * rates.input
    exact_output = output_tokens * rates.output
    if cached or written:
        return _settled(
            row, exact_input, cached * rates.cached_read, written * rates.cache_write, exact_output, key_source
        )
    # The common call has two parts: largest remainder by hand is half the price of `_apportion`.
    total = _rounded(exact_input + exact_output)
    input_cost, input_rest = divmod(exact_input, _MILLION)
    output_cost, output_rest = divmod(exact_output, _MILLION)
    missing = total - input_cost - output_cost  # 0, 1 or 2
    if missing:
        if missing == 2 or input_rest >= output_rest:
            input_cost += 1
        if missing == 2 or input_rest < output_rest:
            output_cost += 1
    return Settlement(
        PRICED,
        row.price_version,
        input_cost,
        0,
        0,
        output_cost,
        total,
        total if key_source == MANAGED else _billed(total, key_source),
    )


def estimate(usage: Usage | None, row: PriceRow | None) -> int | None:
    """Return in nano-USD what the same usage would cost by another row (a baseline model); None when that is unknown.

    The counterfactual assumes that the other model would count and cache the same tokens.
    """
    settlement = settle(usage, row)
    return settlement.provider_cost_nanousd if settlement.price_state == PRICED else None


def as_estimate(settlement: Settlement) -> Settlement:
    """Return the settlement of tokens that nobody reported: the same amounts, marked where there are any."""
    if settlement.price_state != PRICED:
        return settlement
    return msgspec.structs.replace(settlement, price_state=ESTIMATED)


def arithmetic(usage: Usage | None, row: PriceRow | None) -> list[Line]:
    """Return the lines of a call's cost: they add up to the settlement's parts and to its total, to the last digit.

    Lines without units are left out; an unused or unpriced call has no lines.
    """
    if usage is None or row is None or settle(usage, row).price_state != PRICED:
        return []
    classes = _classes(usage, row)
    parts = _apportion([_exact(classes, part) for part in _PARTS])
    lines: list[Line] = []
    for part, cost in zip(_PARTS, parts, strict=True):
        of_part = [entry for entry in classes if entry[0] == part and entry[2]]
        costs = _apportion([units * rate for _, _, units, rate in of_part], total=cost)
        lines += [
            Line(part=part, unit=unit, units=units, per_million_nanousd=rate, cost_nanousd=line_cost)
            for (_, unit, units, rate), line_cost in zip(of_part, costs, strict=True)
        ]
    return lines


def usage_of(record: RequestLog, row: PriceRow) -> Usage:
    """Return the usage that a record was settled with, for `arithmetic` by the row that the record names.

    A record counts cache writes without their lifetime; the tokens written for an hour follow from their cost, which
    is exact to a nano-dollar while one token's price difference is hundreds of them.
    """
    rates = row.rates_for(record.input_tokens)
    premium = rates.cache_write_1h - rates.cache_write
    paid = record.cache_write_cost_nanousd * _MILLION - record.cache_write_tokens * rates.cache_write
    written_1h = round(paid / premium) if premium and record.price_state in HAVING_PRICE else 0
    return Usage(
        input_tokens=record.input_tokens,
        cached_read_tokens=record.cached_read_tokens,
        cache_write_tokens=record.cache_write_tokens,
        cache_write_1h_tokens=min(max(written_1h, 0), record.cache_write_tokens),
        output_tokens=record.output_tokens,
        reasoning_tokens=record.reasoning_tokens,
        audio_input_tokens=record.audio_input_tokens,
        audio_output_tokens=record.audio_output_tokens,
    )


_PARTS: Final = ("input", "cached_read", "cache_write", "output")
_Class = tuple[str, str, int, int]  # part, unit, units, nano-USD per million


def _needs_care(usage: Usage, row: PriceRow) -> bool:
    """Return whether the call used something that this row prices in a way of its own."""
    return (
        not row.has_output_price
        or row.per_million_requests != 0
        or (row.has_audio_price and (usage.audio_input_tokens != 0 or usage.audio_output_tokens != 0))
        or (row.has_reasoning_price and usage.reasoning_tokens != 0)
    )


def _settle_carefully(usage: Usage, row: PriceRow | None, key_source: str) -> Settlement:
    """Settle what the fast path leaves out: separately priced classes, contradictory numbers, nothing used."""
    if not any(_counts(usage)):
        return UNUSED_CALL
    if row is None or (usage.output_tokens > 0 and not row.has_output_price):
        return _UNPRICED_CALL
    classes = _classes(usage, row)
    read, cached, written, output = (_exact(classes, part) for part in _PARTS)
    return _settled(row, read, cached, written, output, key_source)


def _settled(row: PriceRow, read: int, cached: int, written: int, output: int, key_source: str) -> Settlement:
    parts = _apportion([read, cached, written, output])
    total = parts[0] + parts[1] + parts[2] + parts[3]
    return Settlement(
        PRICED, row.price_version, parts[0], parts[1], parts[2], parts[3], total, _billed(total, key_source)
    )


def _billed(total: int, key_source: str) -> int:
    if key_source == MANAGED:
        return total
    if key_source in (BYOK, SIMULATED):
        return 0
    raise ValueError(f"Unknown key source {key_source!r}.")


def _counts(usage: Usage) -> tuple[int, ...]:
    return (
        max(usage.input_tokens, 0),
        max(usage.cached_read_tokens, 0),
        max(usage.cache_write_tokens, 0),
        max(usage.cache_write_1h_tokens, 0),
        max(usage.output_tokens, 0),
        max(usage.reasoning_tokens, 0),
        max(usage.audio_input_tokens, 0),
        max(usage.audio_output_tokens, 0),
    )


def _classes(usage: Usage, row: PriceRow) -> list[_Class]:
    """Return the disjoint token classes of a call with their prices. See the module's docstring for contradictions."""
    read, cached, written, written_1h, output, reasoning, audio_in, audio_out = _counts(usage)
    rates = row.rates_for(read)
    written = max(written, written_1h)
    unwritten = max(read - written, cached)
    audio_in = min(audio_in, unwritten)
    cached_audio = max(cached + audio_in - unwritten, 0)
    audio_out = min(audio_out, output)
    reasoning = min(reasoning, output - audio_out)
    return [
        ("input", "input", unwritten - cached - audio_in + cached_audio, rates.input),
        ("input", "audio_input", audio_in - cached_audio, rates.audio_input),
        ("input", "request", 1 if row.per_million_requests else 0, row.per_million_requests),
        ("cached_read", "cached_read", cached - cached_audio, rates.cached_read),
        ("cached_read", "cached_audio_read", cached_audio, rates.cached_audio_read),
        ("cache_write", "cache_write", written - written_1h, rates.cache_write),
        ("cache_write", "cache_write_1h", written_1h, rates.cache_write_1h),
        ("output", "output", output - reasoning - audio_out, rates.output),
        ("output", "reasoning", reasoning, rates.reasoning),
        ("output", "audio_output", audio_out, rates.audio_output),
    ]


def _exact(classes: list[_Class], part: str) -> int:
    return sum(units * rate for of_part, _, units, rate in classes if of_part == part)


def _rounded(exact: int) -> int:
    """Return millionths of a nano-dollar as nano-dollars, half to even."""
    whole, rest = divmod(exact, _MILLION)
    if rest > _HALF or (rest == _HALF and whole & 1):
        return whole + 1
    return whole


def _apportion(exact: list[int], *, total: int | None = None) -> list[int]:
    """Return whole nano-dollars for exact millionths, by largest remainder (the first of equals), summing to `total`.

    Without `total` it is the rounded sum.
    """
    if total is None:
        total = _rounded(sum(exact))
    costs = [amount // _MILLION for amount in exact]
    missing = total - sum(costs)
    if missing > 0:
        order = sorted(range(len(exact)), key=lambda index: -(exact[index] % _MILLION))
        for index in order[:missing]:
            costs[index] += 1
    return costs
