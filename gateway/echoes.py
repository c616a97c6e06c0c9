"""Answer headers under the names that clients of other gateways read. Pure.

They are sent to a client that used that gateway's own headers. Names as in LiteLLM 1.109.1's proxy, Portkey's and
Helicone's pages on response headers, and Cloudflare's on its AI Gateway.
"""

from __future__ import annotations

from collections.abc import Callable

from analytics.request_log import HIT, MISS, OFF, REPLAY
from gateway.dialects import cloudflare, helicone, litellm, openrouter, portkey
from gateway.draft import Draft

Pairs = list[tuple[str, object]]

_VERSION = "KairosRoute"


def lines(draft: Draft, *, total_ms: float, cost_usd: float | None) -> bytes:
    """Return the header lines that the call's echoes ask for, each ended by CRLF.

    `total_ms`: since the call arrived. `cost_usd`: None at the beginning of a stream, or unknown.
    """
    call = draft.call
    assert call is not None
    pairs: Pairs = []
    for whose, write in _WRITERS.items():
        if whose in call.preferences.echoes:
            write(draft, pairs, total_ms, cost_usd)
    return b"".join(_line(name, value) for name, value in pairs if value is not None)


def _line(name: str, value: object) -> bytes:
    # Model names and ids come from the client: no line break may reach a header.
    shown = "".join(letter if letter.isprintable() else "_" for letter in str(value))
    return f"{name}: {shown}\r\n".encode("latin-1", "replace")


def _litellm(draft: Draft, pairs: Pairs, total_ms: float, cost_usd: float | None) -> None:
    call, endpoint = draft.call, draft.endpoint
    assert call is not None
    assert endpoint is not None
    pairs += [
        ("x-litellm-call-id", call.trace.client_request_id or draft.request_id),
        ("x-litellm-model-id", f"{endpoint.provider}:{endpoint.model}"),
        ("x-litellm-model-group", call.requested_model),
        ("x-litellm-model-name", endpoint.upstream_model or endpoint.model),
        ("x-litellm-response-cost", None if cost_usd is None else f"{cost_usd:.9f}"),
        ("x-litellm-response-duration-ms", f"{total_ms:.2f}"),
        ("x-litellm-overhead-duration-ms", f"{max(0.0, total_ms - draft.upstream_us / 1e3):.2f}"),
        ("x-litellm-attempted-retries", _retries(draft)),
        ("x-litellm-attempted-fallbacks", _option(draft)),
        ("x-litellm-version", _VERSION),
    ]


def _portkey(draft: Draft, pairs: Pairs, total_ms: float, cost_usd: float | None) -> None:
    call, endpoint = draft.call, draft.endpoint
    assert call is not None
    assert endpoint is not None
    pairs += [
        ("x-portkey-trace-id", call.trace.trace_id or draft.request_id),
        ("x-portkey-retry-attempt-count", _retries(draft)),
        ("x-portkey-cache-status", _CACHE_WORDS[draft.response_cache]),
        ("x-portkey-last-used-option-index", _option(draft)),
        ("x-portkey-provider", endpoint.provider),
        ("x-portkey-request-id", draft.request_id),
    ]


def _helicone(draft: Draft, pairs: Pairs, total_ms: float, cost_usd: float | None) -> None:
    call = draft.call
    assert call is not None
    pairs.append(("Helicone-Id", draft.request_id))
    if draft.response_cache != OFF:
        pairs.append(("Helicone-Cache", _CACHE_WORDS[draft.response_cache]))
    if call.preferences.models:
        pairs.append(("Helicone-Fallback-Index", _option(draft)))


def _cloudflare(draft: Draft, pairs: Pairs, total_ms: float, cost_usd: float | None) -> None:
    pairs += [("cf-aig-log-id", draft.request_id), ("cf-aig-step", _option(draft))]
    if draft.response_cache != OFF:
        pairs.append(("cf-aig-cache-status", _CACHE_WORDS[draft.response_cache]))


def _openrouter(draft: Draft, pairs: Pairs, total_ms: float, cost_usd: float | None) -> None:
    call = draft.call
    assert call is not None
    pairs.append(("X-OpenRouter-Cache-Status", _CACHE_WORDS[draft.response_cache]))
    if draft.response_cache != OFF:
        pairs.append(("X-OpenRouter-Cache-TTL", call.preferences.cache_ttl_s))


_CACHE_WORDS = {OFF: "DISABLED", MISS: "MISS", HIT: "HIT", REPLAY: "HIT"}
_WRITERS: dict[str, Callable[[Draft, Pairs, float, float | None], None]] = {
    litellm.ECHO: _litellm,
    portkey.ECHO: _portkey,
    helicone.ECHO: _helicone,
    cloudflare.ECHO: _cloudflare,
    openrouter.ECHO: _openrouter,
}


def _tried(draft: Draft) -> list[tuple[object, object]]:
    return [(one["model"], one["provider"]) for one in draft.attempts]


def _option(draft: Draft) -> int:
    """Return how many endpoints failed before the one that answered."""
    return max(0, len(dict.fromkeys(_tried(draft))) - 1)


def _retries(draft: Draft) -> int:
    """Return how many attempts went to the endpoint that answered, after its first."""
    tried = _tried(draft)
    return tried.count(tried[-1]) - 1 if tried else 0
