"""The content of `GET /v1/models`: OpenAI's list with the fields that OpenRouter's clients read. Pure.

Which providers are configured, and when the bytes are built anew, is the endpoint's knowledge.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from gateway.catalog.models import CHAT, Catalog, Model
from gateway.catalog.prices import PriceBook, PriceRow, Rates

_TOKEN_DIGITS: Final = 15  # nano-USD per million tokens are 10^-15 USD per token
ParametersOf = Callable[[Model], Collection[str]]


def openai_list(
    catalog: Catalog,
    book: PriceBook,
    *,
    at: float,
    parameters_of: ParametersOf,
    providers: Collection[str] | None = None,
) -> bytes:
    """Return the JSON of the model list with the prices of the moment `at` (epoch seconds).

    `providers` are the slugs of the configured providers; None lists every model. `auto` leads the list where
    anything can be called.
    """
    models = [model for model in catalog if providers is None or model.provider in providers]
    entries = [entry(model, book.row(model.id, at), parameters_of) for model in models]
    if entries:
        entries.insert(0, _auto_entry([model for model in models if model.kind == CHAT] or models, parameters_of))
    # OpenRouter's SDK takes no list without its page links and its count.
    return orjson.dumps({"object": "list", "data": entries, "links": {"next": None}, "total_count": len(entries)})


def openai_model(model: Model, book: PriceBook, *, at: float, parameters_of: ParametersOf) -> bytes:
    """Return the JSON of one model with the prices of the moment `at`."""
    return orjson.dumps(entry(model, book.row(model.id, at), parameters_of))


def entry(model: Model, row: PriceRow | None, parameters_of: ParametersOf) -> dict[str, Any]:
    """Return one model of the list, as `GET /v1/models/{id}` shows it too. Without a price row `pricing` is null."""
    inputs = ["text"]
    inputs += ["image"] if "images" in model.capabilities else []
    inputs += ["file"] if "files" in model.capabilities else []
    inputs += ["audio"] if "audio_input" in model.capabilities else []
    output = "text" if model.kind == CHAT else "embeddings"
    return {
        "id": model.id,
        "object": "model",
        "created": _epoch(model.added_on),
        "owned_by": model.vendor,
        "name": model.display_name,
        "canonical_slug": model.family,
        "provider": model.provider,
        "context_length": model.context_tokens,
        "architecture": {
            "modality": f"{'+'.join(inputs)}->{output}",
            "input_modalities": inputs,
            "output_modalities": [output],
            "tokenizer": "Other",
            "instruct_type": None,
        },
        "pricing": None if row is None else _pricing(row),
        "top_provider": {
            "context_length": model.context_tokens,
            "max_completion_tokens": model.max_output_tokens,
            "is_moderated": False,
        },
        "per_request_limits": None,
        "default_parameters": None,
        "supported_voices": None,
        "links": {"details": f"/api/v1/models/{model.id}/endpoints"},
        "supported_parameters": sorted(parameters_of(model)),
        "expiration_date": model.deprecated_on,
    }


def usd_per_token(per_million_nanousd: int) -> str:
    """Return a price as the decimal string of US dollars per token: 2_500_000_000 → "0.0000025"."""
    digits = f"{per_million_nanousd:0{_TOKEN_DIGITS + 1}d}"
    whole, fraction = digits[:-_TOKEN_DIGITS], digits[-_TOKEN_DIGITS:].rstrip("0")
    return f"{whole}.{fraction}" if fraction else whole


def _pricing(row: PriceRow) -> dict[str, Any]:
    pricing: dict[str, Any] = {
        **_token_prices(row.rates),
        "request": usd_per_token(row.per_million_requests),
        "price_version": row.price_version,
    }
    if row.tiers:
        pricing["tiers"] = [{"above_input_tokens": above, **_token_prices(rates)} for above, rates in row.tiers]
    return pricing


def _token_prices(rates: Rates) -> dict[str, str]:
    return {
        "prompt": usd_per_token(rates.input),
        "completion": usd_per_token(rates.output),
        "input_cache_read": usd_per_token(rates.cached_read),
        "input_cache_write": usd_per_token(rates.cache_write),
        "internal_reasoning": usd_per_token(rates.reasoning),
    }


def _auto_entry(models: Collection[Model], parameters_of: ParametersOf) -> dict[str, Any]:
    """Return the entry of `auto`; its price depends on the model chosen, which OpenRouter's clients read as -1."""
    longest = max((model.context_tokens or 0 for model in models), default=0)
    return {
        "id": "auto",
        "object": "model",
        "created": min(_epoch(model.added_on) for model in models),
        "owned_by": "kairosroute",
        "name": "Auto",
        "canonical_slug": "kairos/auto",
        "provider": None,
        "context_length": longest or None,
        "architecture": {
            "modality": "text->text",
            "input_modalities": ["text"],
            "output_modalities": ["text"],
            "tokenizer": "Router",
            "instruct_type": None,
        },
        "pricing": {"prompt": "-1", "completion": "-1"},
        "top_provider": {"context_length": None, "max_completion_tokens": None, "is_moderated": False},
        "per_request_limits": None,
        "default_parameters": None,
        "supported_voices": None,
        "links": {"details": "/api/v1/models/auto/endpoints"},
        "supported_parameters": sorted({name for model in models for name in parameters_of(model)}),
        "expiration_date": None,
    }


def _epoch(iso_date: str) -> int:
    return int(datetime.fromisoformat(iso_date).replace(tzinfo=UTC).timestamp())
