"""What OpenRouter's clients send beside OpenAI's fields: body fields and headers, each with how it is read. Pure.

Source: OpenRouter's OpenAPI description (autumn 2026) and its pages on provider routing and response caching.
"""

from __future__ import annotations

from typing import Any

from gateway.dialects import values
from gateway.dialects.rows import Row, granted, honoured, names, not_applied, prefers, structured, tags
from gateway.dialects.values import Malformed
from gateway.dialects.wishes import Wishes
from gateway.preferences import DEFAULT_CACHE_TTL_S, MaxPrice

ECHO = "openrouter"
METADATA = "openrouter_metadata"  # the echo that puts the object of this name into the answer

_SORTS = {word: word for word in ("price", "throughput", "latency")}
_LONGEST_SESSION = 256
# `cost_tier` says how much may be spent; our router takes the quality that is wanted.
_BAR_OF_TIER = {"low": 0.0, "medium": 0.5, "high": 0.8}


def _sort(wishes: Wishes, value: Any) -> None:
    if isinstance(value, dict):
        if value.get("partition") not in (None, "model"):
            wishes.deny("provider.sort.partition")
        value = value.get("by")
        if value is None:
            return
    if value == "exacto":  # OpenRouter's own measure of tool calling
        wishes.deny("provider.sort.exacto")
        return
    expected = "`price`, `throughput` or `latency`, or an object with one of them as `by`"
    wishes.prefer(sort=values.word_of(_SORTS, value, expected=expected))


def _data_collection(wishes: Wishes, value: Any) -> None:
    if value not in ("allow", "deny"):
        raise Malformed("`allow` or `deny`")
    wishes.prefer(denies_data_collection=value == "deny")


def _usd_per_mtok(value: Any) -> int:
    return values.nanousd(value)


def _max_price(wishes: Wishes, value: Any) -> None:
    if not isinstance(value, dict):
        raise Malformed("an object")
    bounds: dict[str, int] = {}
    for name, price in value.items():
        field = _PRICE_FIELDS.get(name)
        if field is None:
            wishes.deny(f"provider.max_price.{name}")
        elif price is not None:
            bounds[field] = _usd_per_mtok(price)
    if bounds:
        wishes.prefer(max_price=MaxPrice(**bounds))


_PRICE_FIELDS = {
    "prompt": "prompt_nanousd_per_mtok",
    "completion": "completion_nanousd_per_mtok",
    "request": "request_nanousd",
}


def percentile(wishes: Wishes, value: Any, *, path: str, ours: str) -> float:
    """Return the bound at the percentile that we measure by; of an object with others only, the first.

    Raises:
        values.Malformed: neither a number nor an object of them.
    """
    if isinstance(value, dict):
        named = {name: bound for name, bound in value.items() if bound is not None}
        if not named:
            raise Malformed("a number, or an object with `p50`, `p75`, `p90` or `p99`")
        chosen = ours if ours in named else next(iter(named))
        for name in named:
            if name != chosen:
                wishes.deny(f"{path}.{name}")
        value = named[chosen]
    return values.number(value, expected="a number, or an object with `p50`, `p75`, `p90` or `p99`")


def _throughput(wishes: Wishes, value: Any) -> None:
    bound = percentile(wishes, value, path="provider.preferred_min_throughput", ours="p50")
    wishes.prefer(preferred_min_throughput=bound)


def _latency(wishes: Wishes, value: Any) -> None:
    # OpenRouter counts seconds here.
    bound = percentile(wishes, value, path="provider.preferred_max_latency", ours="p75")
    wishes.prefer(preferred_max_latency_ms=bound * 1000)


PROVIDER: dict[str, Row] = {
    "order": honoured("providers to try first, in this order", prefers("provider_order", values.providers)),
    "only": honoured("no other providers", prefers("provider_only", values.providers)),
    "ignore": honoured("not these providers", prefers("provider_ignore", values.providers)),
    "allow_fallbacks": honoured("`false`: the first choice or none", prefers("allows_fallbacks", values.flag)),
    "require_parameters": honoured(
        "only endpoints that take every parameter sent", prefers("requires_parameters", values.flag)
    ),
    "data_collection": honoured("`deny`: no provider that keeps or trains on prompts", _data_collection),
    "zdr": honoured("only endpoints with zero data retention", prefers("requires_zdr", values.flag)),
    "quantizations": honoured("only endpoints of these precisions", prefers("quantizations", values.names)),
    "sort": honoured("`price`, `throughput` or `latency`; of an object `by`, not `partition: none`", _sort),
    "max_price": honoured("`prompt`, `completion` (US dollars a million tokens), `request`; others named", _max_price),
    "preferred_min_throughput": honoured("tokens a second; of percentiles `p50`", _throughput),
    "preferred_max_latency": honoured("seconds to the first token; of percentiles `p75`", _latency),
    "enforce_distillable_text": not_applied("the catalog does not say which models allow distillation"),
}


def _plugins(wishes: Wishes, value: Any) -> None:
    if not isinstance(value, list):
        raise Malformed("a list")
    for plugin in value:
        name = plugin.get("id") if isinstance(plugin, dict) else plugin
        if not isinstance(name, str):
            raise Malformed("a list of objects with an `id`, or of names")
        if name in _AUTO_ROUTERS and isinstance(plugin, dict):
            if plugin.get("enabled") is not False:
                _auto_router(wishes, plugin, path=f"plugins[{name}]")
        elif not (isinstance(plugin, dict) and plugin.get("enabled") is False):
            wishes.deny(f"plugins[{name}]")


_AUTO_ROUTERS = ("auto-router", "auto-beta-router")


def _auto_router(wishes: Wishes, plugin: dict[str, Any], *, path: str) -> None:
    for name, value in plugin.items():
        if value is None or name in ("id", "enabled"):
            continue
        if name == "allowed_models":
            wishes.prefer(allowed_models=values.names(value))
        elif name == "excluded_models":
            wishes.prefer(excluded_models=values.names(value))
        elif name == "cost_quality_tradeoff":
            # 0 is all quality, 10 all thrift; a bar of 1 would let nothing pass.
            wishes.prefer(quality_bar=round(0.9 * (1 - values.number(value, most=10.0) / 10), 3))
        elif name == "cost_tier" and isinstance(value, str) and value in _BAR_OF_TIER:
            wishes.prefer(quality_bar=_BAR_OF_TIER[value])
        else:
            wishes.deny(f"{path}.{name}")


def _transforms(wishes: Wishes, value: Any) -> None:
    for name in values.names(value):
        wishes.deny(f"transforms[{name}]")


def _route(wishes: Wishes, value: Any) -> None:
    if value != "fallback":
        wishes.deny("route")


def _session(wishes: Wishes, value: Any) -> None:
    if not isinstance(value, str) or len(value) > _LONGEST_SESSION:
        raise Malformed(f"a string of at most {_LONGEST_SESSION} characters")
    wishes.name(session=value)


TRACE: dict[str, Row] = {
    "trace_id": honoured("the record's trace", lambda wishes, value: wishes.follow(trace_id=values.text(value))),
    "parent_span_id": honoured(
        "the record's parent span", lambda wishes, value: wishes.follow(parent_span_id=values.text(value))
    ),
    "trace_name": honoured("tag `trace_name`", tags("trace_name", values.text)),
    "span_name": honoured("tag `span_name`", tags("span_name", values.text)),
    "generation_name": honoured("tag `generation_name`", tags("generation_name", values.text)),
}

FIELDS: dict[str, Row] = {
    "models": honoured("further models, in order, when the first fails", prefers("models", values.names)),
    "provider": structured("which endpoints may serve the call, and in which order", PROVIDER),
    "plugins": honoured("`auto-router` is read; other plug-ins are named", _plugins),
    "route": honoured("`fallback` is what happens anyway; other words are named", _route),
    "transforms": honoured("prompts are not changed: each transform is named", _transforms),
    "usage": granted("usage and cost are in every answer"),
    "session_id": honoured("one conversation: attribution, and the same endpoint while it is warm", _session),
    "trace": structured("how the call hangs together with what the client observes", TRACE),
    "preset": not_applied("presets live at OpenRouter"),
    "debug": not_applied("the provider's request is not shown"),
}


def _cache(wishes: Wishes, value: str) -> None:
    if values.flag(value):
        wishes.echo(ECHO)
        wishes.prefer(cache_ttl_s=wishes.asked("cache_ttl_s") or DEFAULT_CACHE_TTL_S)
    else:
        wishes.prefer(cache_ttl_s=None)


def _cache_ttl(wishes: Wishes, value: str) -> None:
    if wishes.asked("cache_ttl_s"):  # by itself it does not switch the cache on
        wishes.prefer(cache_ttl_s=values.age_s(value))


def _cache_clear(wishes: Wishes, value: str) -> None:
    wishes.prefer(refreshes_cache=values.flag(value))


def _metadata(wishes: Wishes, value: str) -> None:
    if values.flag(value):
        wishes.echo(METADATA)


HEADERS: dict[str, Row] = {
    "HTTP-Referer": honoured("tag `app_url`", tags("app_url", values.text)),
    "X-Title": honoured("tag `app`", tags("app", values.text)),
    "X-OpenRouter-Title": honoured("tag `app`", tags("app", values.text)),
    "X-OpenRouter-Categories": honoured("tag `app_categories`", tags("app_categories", values.text)),
    "X-OpenRouter-Experimental-Metadata": honoured("`enabled`: `openrouter_metadata` in the answer", _metadata),
    "X-OpenRouter-Metadata": honoured("`enabled`: `openrouter_metadata` in the answer", _metadata),
    "X-OpenRouter-Cache": honoured("`true`: the response cache, for 300 seconds", _cache),
    "X-OpenRouter-Cache-TTL": honoured("with the cache: how long, in seconds", _cache_ttl),
    "X-OpenRouter-Cache-Clear": honoured("`true`: ask anew and keep the new answer", _cache_clear),
    "X-Session-Id": honoured("session; the body's `session_id` wins", names("session", values.text)),
}
