"""Flatten `genai-prices` into price rows: run as `python -m gateway.catalog.flatten`, references in, rows out, as JSON.

The only module of the gateway that imports genai_prices, which costs 60 MB and a second: it runs in a process of its
own that `gateway.catalog.loader` starts. Rows are cut where genai-prices' own resolution can change (dates, hours of
the day, request context), and each cell takes what genai-prices resolves there, so the two cannot disagree.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any

from genai_prices import __version__ as library_version
from genai_prices import data_snapshot
from genai_prices.types import (
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)

# The request contexts that a chat call can have, and so the service tiers that a record can name.
_CONTEXTS = ("service_tier", "processing", "speed")
_FIELDS = (
    "input",
    "cached_read",
    "cached_audio_read",
    "cache_write",
    "cache_write_1h",
    "audio_input",
    "output",
    "reasoning",
    "audio_output",
)

Prices = dict[str, Any]


def flatten(references: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Return `{"source", "rows"}` for references `{"model", "provider", "upstream"}`; unknown models have no rows.

    The upstream name `*` means every model of the provider, its id put after the reference's `model`.
    """
    source = f"genai-prices {library_version}"
    rows = [
        {"model": name, "priced_as": f"{provider.id}/{model.id}", "source": source, **row}
        for reference in references
        for name, provider, model in _found(reference)
        for row in _rows(provider, model)
    ]
    return {"source": source, "rows": rows}


def use_data(path: Path) -> None:
    """Resolve with the data of a file in genai-prices' own format instead of the data that the library brings."""
    # The library reads its own downloads with this function and has no public one; its version is pinned.
    from genai_prices.types import _providers_from_raw  # pyright: ignore[reportPrivateUsage]

    providers = _providers_from_raw(json.loads(path.read_bytes()))
    data_snapshot.set_custom_snapshot(data_snapshot.DataSnapshot(providers, from_auto_update=False))


def _found(reference: Mapping[str, str]) -> Iterator[tuple[str, Provider, ModelInfo]]:
    snapshot = data_snapshot.get_snapshot()
    try:
        if reference["upstream"] == "*":
            provider = snapshot.find_provider(None, reference["provider"], None)
            yield from ((reference["model"] + model.id, provider, model) for model in provider.models)
        else:
            provider, model = snapshot.find_provider_model(reference["upstream"], None, reference["provider"], None)
            yield reference["model"], provider, model
    except LookupError:
        return


def _rows(provider: Provider, model: ModelInfo) -> Iterator[dict[str, Any]]:
    standard = list(_spans(model, None))
    if not standard or any(prices is None for span in standard for _, prices in span["day"]):
        return
    yield from _named("", standard)
    # genai-prices ignores the context when the model was found at a fallback provider (Azure's OpenAI models).
    if not any(model is own for own in provider.models):
        return
    for tier, context in _contexts(model).items():
        spans = list(_spans(model, context))
        if spans != standard:
            yield from _named(tier, spans)


def _contexts(model: ModelInfo) -> dict[str, dict[str, str]]:
    contexts = {}
    for variant in model.price_variants or ():
        if len(variant.when) == 1:
            ((key, value),) = variant.when.items()
            if key in _CONTEXTS:
                contexts[value] = {key: value}
    return contexts


def _named(service_tier: str, spans: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for span in spans:
        merged: list[tuple[Prices, list[list[int]]]] = []
        for window, prices in span["day"]:
            for known, windows in merged:
                if known == prices:
                    windows.append(window)
                    break
            else:
                merged.append((prices, [window]))
        for prices, windows in merged:
            yield {
                "service_tier": service_tier,
                "valid_from": span["valid_from"],
                "valid_to": span["valid_to"],
                "windows": [] if len(merged) == 1 else windows,
                **prices,
            }


def _spans(model: ModelInfo, context: dict[str, str] | None) -> Iterator[dict[str, Any]]:
    """Yield spans of dates with the prices of each part of the day; neighbours with equal days are one span."""
    dates, seconds = _cuts(model)
    pending: dict[str, Any] | None = None
    for start in (None, *dates):
        sample = (dates[0] - timedelta(days=1) if dates else date(2000, 1, 1)) if start is None else start
        day = []
        for begin, end in zip(seconds, [*seconds[1:], 86_400], strict=True):
            moment = datetime.combine(sample, time(), tzinfo=UTC) + timedelta(seconds=begin)
            day.append([[begin, end], _prices(model.get_prices(moment, context))])
        epoch = None if start is None else int(datetime.combine(start, time(), tzinfo=UTC).timestamp())
        if pending is not None and pending["day"] == day:
            continue
        if pending is not None:
            yield {**pending, "valid_to": epoch}
        pending = {"valid_from": epoch, "valid_to": None, "day": day}
    if pending is not None:
        yield pending


def _cuts(model: ModelInfo) -> tuple[list[date], list[int]]:
    """Return the dates and the seconds of the UTC day at which the model's prices can change."""
    constraints = [variant.constraint for variant in model.price_variants or ()]
    if not isinstance(model.prices, ModelPrice):
        conditional: list[ConditionalPrice] = model.prices
        constraints += [price.constraint for price in conditional]
    dates: set[date] = set()
    seconds = {0}
    for constraint in constraints:
        if isinstance(constraint, StartDateConstraint):
            dates.add(constraint.start_date)
        elif isinstance(constraint, TimeOfDateConstraint):
            seconds |= {_second(constraint.start_time), _second(constraint.end_time)}
    return sorted(dates), sorted(seconds)


def _second(moment: time) -> int:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    utc = datetime.combine(date(1970, 1, 2), aware).astimezone(UTC)
    return utc.hour * 3600 + utc.minute * 60 + utc.second


def _prices(price: ModelPrice) -> Prices | None:
    """Return the prices of one moment, None when the model is not priced by tokens."""
    if price.input_mtok is None:
        return None
    values = {key: value for key, value in vars(price).items() if isinstance(value, Decimal | TieredPrices)}
    starts = sorted(
        {tier.start for value in values.values() if isinstance(value, TieredPrices) for tier in value.tiers}
    )
    requests = values.get("requests_kcount")
    return {
        "rates": _rates(values, 0),
        "tiers": [[start, _rates(values, start + 1)] for start in starts],
        "per_million_requests": _nanousd(requests * 1000) if isinstance(requests, Decimal) else 0,
        "has_output_price": "output_mtok" in values,
    }


def _rates(values: Mapping[str, Decimal | TieredPrices], input_tokens: int) -> dict[str, int]:
    def at(key: str, otherwise: int) -> int:
        value = values.get(key)
        if isinstance(value, TieredPrices):
            reached = [tier.price for tier in value.tiers if input_tokens > tier.start]
            value = reached[-1] if reached else value.base
        return otherwise if value is None else _nanousd(value)

    plain = at("input_mtok", 0)
    cached = at("cache_read_mtok", plain)
    written = at("cache_write_mtok", plain)
    output = at("output_mtok", 0)
    prices = (
        plain,
        cached,
        at("cache_audio_read_mtok", cached),
        at("cache_write_5m_mtok", written),
        at("cache_write_1h_mtok", written),
        at("input_audio_mtok", plain),
        output,
        at("output_reasoning_mtok", output),
        at("output_audio_mtok", output),
    )
    return dict(zip(_FIELDS, prices, strict=True))


def _nanousd(usd: Decimal) -> int:
    # Some prices of aggregators are floats in disguise with 16 digits; below a nano-dollar a million they are noise.
    return int((usd * 1_000_000_000).to_integral_value(rounding=ROUND_HALF_EVEN))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        use_data(Path(sys.argv[1]))
    json.dump(flatten(json.load(sys.stdin)), sys.stdout, separators=(",", ":"))
