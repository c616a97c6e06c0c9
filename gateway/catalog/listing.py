"""The content of `GET /v1/models`: OpenAI's list with the fields that OpenRouter's clients read. Pure.

Which providers are configured, and when the bytes are built anew, is the endpoint's knowledge.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from gateway.catalog.models import CHAT, Catalog, Model, Provider
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
    return orjson.dumps(document(models, catalog, book, at=at, parameters_of=parameters_of))


def document(
    models: Sequence[Model], catalog: Catalog, book: PriceBook, *, at: float, parameters_of: ParametersOf
) -> dict[str, Any]:
    """Return the list of some models, as `openai_list` encodes it."""
    entries = [entry(model, book.row(model.id, at), parameters_of, catalog) for model in models]
    if entries:
        entries.insert(0, _auto_entry([model for model in models if model.kind == CHAT] or models, parameters_of))
    # OpenRouter's SDK takes no list without its page links and its count.
    return {"object": "list", "data": entries, "links": {"next": None}, "total_count": len(entries)}


def openai_model(model: Model, catalog: Catalog, book: PriceBook, *, at: float, parameters_of: ParametersOf) -> bytes:
    """Return the JSON of one model with the prices of the moment `at`."""
    return orjson.dumps(entry(model, book.row(model.id, at), parameters_of, catalog))


def entry(model: Model, row: PriceRow | None, parameters_of: ParametersOf, catalog: Catalog) -> dict[str, Any]:
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
        "kairosroute": {
            "kind": model.kind,
            "upstream": model.upstream,
            "capabilities": sorted(model.capabilities),
            "dimensions": model.dimensions,
            "quantization": model.quantization,
            "aliases": list(model.aliases),
            "data_policy": data_policy(model, catalog.providers.get(model.provider)),
        },
    }


def data_policy(model: Model, provider: Provider | None) -> dict[str, Any]:
    """Return what is known of how a model's provider treats prompts; null is not known."""
    if provider is None:
        return {}
    return {
        "may_train": provider.may_train,
        "zero_data_retention": False if model.needs_retention else provider.zero_data_retention,
        "retention_days": provider.retention_days,
        "region": provider.region or None,
        "source": provider.policy_source or None,
    }


def endpoints(
    models: Sequence[Model],
    catalog: Catalog,
    book: PriceBook,
    *,
    at: float,
    parameters_of: ParametersOf,
    health_of: Callable[[Model], Mapping[str, Any]],
) -> bytes:
    """Return the JSON of the endpoints of one model, in the shape of OpenRouter's `/models/{author}/{slug}/endpoints`.

    `health_of` gives the fields that were measured: uptime, latency, throughput.
    """
    first = entry(models[0], book.row(models[0].id, at), parameters_of, catalog)
    found = []
    for model in models:
        shown = entry(model, book.row(model.id, at), parameters_of, catalog)
        provider = catalog.providers[model.provider]
        found.append(
            {
                "name": f"{provider.name} | {model.id}",
                "model_id": model.id,
                "model_name": model.display_name,
                "provider_name": provider.name,
                "tag": provider.slug,
                "context_length": model.context_tokens,
                "max_prompt_tokens": model.context_tokens,
                "max_completion_tokens": model.max_output_tokens,
                "quantization": model.quantization,
                "pricing": shown["pricing"],
                "supported_parameters": shown["supported_parameters"],
                "supports_implicit_caching": "prompt_cache" in model.capabilities,
                "expiration_date": model.deprecated_on,
                "data_policy": shown["kairosroute"]["data_policy"],
                **health_of(model),
            }
        )
    data = {name: first[name] for name in ("name", "created", "architecture")}
    return orjson.dumps({"data": {"id": models[0].family, "description": "", **data, "endpoints": found}})


def usd_per_token(per_million_nanousd: int) -> str:
    """Return a price as the decimal string of US dollars per token: 2_500_000_000 → "0.0000025"."""
    digits = f"{per_million_nanousd:0{_TOKEN_DIGITS + 1}d}"
    whole, fraction = digits[:-_TOKEN_DIGITS], digits[-_TOKEN_DIGITS:].rstrip("0")
    return f"{whole}.{fraction}" if fraction else whole


def usd_per_mtok(per_million_nanousd: int) -> str:
    """Return a price as the decimal string of US dollars per million tokens: 2_500_000_000 → "2.5"."""
    digits = f"{per_million_nanousd:010d}"
    fraction = digits[-9:].rstrip("0")
    return f"{digits[:-9]}.{fraction}" if fraction else digits[:-9]


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
