"""`GET /v1/generation?id=`: what became of a call, with OpenRouter's field names.

Source of the names: OpenRouter's OpenAPI document, `GenerationResponse`. What we do not have is null, never a guess;
the whole story stands in the receipt.
"""

from __future__ import annotations

import datetime as dt
from typing import Any
from urllib.parse import parse_qs

import orjson

from analytics.request_log import BYOK, UNPRICED, RequestLog
from gateway import errors, identifiers, pipeline, receipt
from gateway.dialects.protocol import Dialect
from gateway.endpoints import stored
from gateway.http import Request, send_json
from gateway.state import State

_API_TYPES = {"embeddings": "embeddings"}


async def handle(state: State, request: Request, dialect: Dialect) -> None:
    """Answer the call that `id` names: its `gen_`, `req_` or `rcpt_` id."""
    key = await pipeline.authenticate(state, request, scope="receipts")
    asked = parse_qs(request.scope.get("query_string", b"").decode("latin-1")).get("id", [""])[0]
    wanted = identifiers.request_id(asked)
    if not asked or wanted is None:
        raise errors.InvalidRequest(
            "Name the call: `?id=` and the answer's id, which looks like gen_ and 26 characters.",
            param="id",
            code="missing_id" if not asked else "invalid_id",
        )
    record = await stored.find(state, key, wanted)
    if record is None:
        raise errors.NotFound(
            "There is no call with this id in this key's workspace. A call can take a few seconds to arrive.",
            code="generation_not_found",
        )
    await send_json(request, orjson.dumps({"data": generation(record)}))


def generation(record: RequestLog) -> dict[str, Any]:
    """Return a record with OpenRouter's field names. Times in milliseconds, money in US dollars."""
    kept = orjson.loads(record.receipt or "{}")
    is_byok = record.key_source == BYOK
    is_known = record.price_state != UNPRICED
    billed = receipt.usd(record.billed_nanousd) if is_known else 0
    discount = _cache_discount(record, kept.get("prices"))
    return {
        "id": f"gen_{identifiers.body_of(record.request_id)}",
        "request_id": record.request_id,
        "upstream_id": None,
        "api_type": _API_TYPES.get(record.operation, "completions"),
        "created_at": dt.datetime.fromtimestamp(record.started_us / 1e6, dt.UTC).isoformat(),
        "model": record.model,
        "provider_name": record.provider or None,
        "router": None if record.is_pinned else record.requested_model,
        "preset_id": None,
        "streamed": bool(record.is_stream),
        "cancelled": bool(record.is_client_gone),
        "finish_reason": record.finish_reason or None,
        "native_finish_reason": record.native_finish_reason or None,
        "tokens_prompt": record.input_tokens,
        "tokens_completion": record.output_tokens,
        "native_tokens_prompt": record.input_tokens,
        "native_tokens_completion": record.output_tokens,
        "native_tokens_completion_images": None,
        "native_tokens_reasoning": record.reasoning_tokens,
        "native_tokens_cached": record.cached_read_tokens,
        "total_cost": billed,
        "usage": billed,
        "is_byok": is_byok,
        "upstream_inference_cost": receipt.usd(record.provider_cost_nanousd) if is_byok and is_known else None,
        "cache_discount": discount,
        "latency": record.latency_us / 1000 if record.first_token_us is None else record.first_token_us / 1000,
        "generation_time": record.latency_us / 1000,
        "moderation_latency": None,
        "provider_responses": [
            {
                "provider_name": attempt.get("provider"),
                "model_permaslug": attempt.get("model"),
                "status": attempt.get("status"),
                "latency": attempt.get("latency_ms"),
                "is_byok": attempt.get("key_source") == BYOK if "key_source" in attempt else is_byok,
            }
            for attempt in kept.get("attempts", ())
        ],
        "service_tier": record.service_tier or None,
        "session_id": record.session or None,
        "external_user": record.end_user or None,
        "workspace_id": record.workspace_id,
        "data_region": "global",
        "origin": "",
        "app_id": None,
        "user_agent": None,
        "http_referer": None,
        "num_media_prompt": None,
        "num_media_completion": None,
        "num_input_audio_prompt": None,
        "num_search_results": None,
        "num_fetches": None,
        "web_search_engine": None,
        "response_cache_source_id": None,
    }


def _cache_discount(record: RequestLog, prices: dict[str, int] | None) -> float | None:
    """Return what the provider's prompt cache saved in US dollars, negative where writing it cost more than it saved;
    None where no cached token was used or the prices are not known."""
    if prices is None or not (record.cached_read_tokens or record.cache_write_tokens):
        return None
    full = (record.cached_read_tokens + record.cache_write_tokens) * prices["input_nanousd_per_mtok"] / 1e6
    return round(full - record.cached_read_cost_nanousd - record.cache_write_cost_nanousd) / 1e9
