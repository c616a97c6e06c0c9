"""What clients of the LiteLLM proxy send: body fields and `x-litellm-*` headers. Pure.

Source: LiteLLM 1.109.1, its pages on request headers, caching, reliability and its adaptive router.
"""

from __future__ import annotations

from typing import Any

from gateway import errors
from gateway.dialects import values
from gateway.dialects.rows import Row, honoured, names, not_applied, prefers, structured
from gateway.dialects.values import Malformed
from gateway.dialects.wishes import Wishes
from gateway.preferences import DEFAULT_CACHE_TTL_S

ECHO = "litellm"

# LiteLLM's tiers: budget, middle, frontier.
_BAR_OF_TIER = {1: 0.0, 2: 0.5, 3: 0.8}


def _fallbacks(wishes: Wishes, value: Any) -> None:
    """Read `["a", "b"]`, `[{"model": "a", …}]` and the router's `[{"asked": ["a", "b"]}]`."""
    if not isinstance(value, list):
        raise Malformed("a list of model names or objects")
    models: list[str] = []
    for entry in value:
        if isinstance(entry, str):
            models.append(entry)
        elif isinstance(entry, dict) and isinstance(entry.get("model"), str):
            models.append(entry["model"])
            for name in entry:
                if name != "model":
                    wishes.deny(f"fallbacks[].{name}")
        elif isinstance(entry, dict) and entry:
            for named in entry.values():
                models += values.names(named)
        else:
            raise Malformed("a list of model names or objects")
    wishes.prefer(models=values.names(models))


def _drop_params(wishes: Wishes, value: Any) -> None:
    # What an endpoint cannot take is dropped and listed unless the client forbids it.
    wishes.prefer(requires_parameters=not values.flag(value))


def _mock(wishes: Wishes, value: Any) -> None:
    values.text(value)
    if not wishes.is_test:
        raise errors.InvalidRequest(
            "`mock_response` works with test keys only.", param="mock_response", code="test_key_required"
        )


def _ttl(wishes: Wishes, value: Any) -> None:
    wishes.prefer(cache_ttl_s=values.age_s(value))


def _use_cache(wishes: Wishes, value: Any) -> None:
    wishes.prefer(cache_ttl_s=(wishes.asked("cache_ttl_s") or DEFAULT_CACHE_TTL_S) if values.flag(value) else None)


def _no_cache(wishes: Wishes, value: Any) -> None:
    if values.flag(value):
        wishes.prefer(refreshes_cache=True)


def _no_store(wishes: Wishes, value: Any) -> None:
    if values.flag(value):
        wishes.prefer(cache_ttl_s=None)


CACHE: dict[str, Row] = {
    "ttl": honoured("the response cache, for so many seconds", _ttl),
    "s-maxage": honoured("the response cache, for so many seconds", _ttl),
    "use-cache": honoured("`true`: the response cache, for 300 seconds unless told", _use_cache),
    "no-cache": honoured("`true`: ask anew and keep the new answer", _no_cache),
    "no-store": honoured("`true`: not the response cache", _no_store),
    "namespace": honoured("a room of the cache of its own", prefers("cache_namespace", values.text)),
}

# A request that names an address would have our keys sent there (LiteLLM had it so, CVE-2024-6587).
_WHERE = not_applied("where providers are is set by the operator")

FIELDS: dict[str, Row] = {
    "fallbacks": honoured("further models, in order; other fields of an entry are named", _fallbacks),
    "num_retries": honoured("further attempts at the same endpoint", prefers("retries", values.attempts)),
    "timeout": honoured("the call's time-out, in seconds", prefers("timeout_s", values.seconds)),
    "stream_timeout": honoured(
        "the time to the first token, in seconds", prefers("first_token_timeout_s", values.seconds)
    ),
    "drop_params": honoured("`false`: only endpoints that take every parameter sent", _drop_params),
    "mock_response": honoured("test keys only: the simulator answers with this text", _mock),
    "cache": structured("the response cache", CACHE),
    "api_base": _WHERE,
    "base_url": _WHERE,
    "api_version": _WHERE,
    "api_key": not_applied("provider keys are stored under Provider keys, or come as `Authorization` beside ours"),
}


def _tier(wishes: Wishes, value: str) -> None:
    wishes.prefer(quality_bar=_BAR_OF_TIER[values.whole(value, least=1, most=3)])


def _redaction(wishes: Wishes, value: str) -> None:
    if values.flag(value):
        wishes.prefer(keeps_content=False)


def _key(wishes: Wishes, _value: str) -> None:
    wishes.bring_key("", values.foreign_key(wishes.headers))


HEADERS: dict[str, Row] = {
    "x-litellm-api-key": honoured("our key; a provider's key in `Authorization` beside it pays for the call", _key),
    "x-litellm-tags": honoured("tags, between commas", lambda wishes, value: wishes.tag_all(values.pairs(value))),
    "x-litellm-spend-logs-metadata": honoured(
        "tags, as JSON", lambda wishes, value: wishes.tag_all(values.json_object(value))
    ),
    "x-litellm-customer-id": honoured("end user", names("end_user", values.text)),
    "x-litellm-end-user-id": honoured("end user", names("end_user", values.text)),
    "x-litellm-agent-id": honoured("agent", names("agent", values.text)),
    "x-litellm-session-id": honoured("session", names("session", values.text)),
    "x-litellm-trace-id": honoured(
        "the record's trace", lambda wishes, value: wishes.follow(trace_id=values.text(value))
    ),
    "x-litellm-call-id": honoured(
        "the record's client request id", lambda wishes, value: wishes.follow(client_request_id=values.text(value))
    ),
    "x-litellm-timeout": honoured("the call's time-out, in seconds", prefers("timeout_s", values.seconds)),
    "x-litellm-stream-timeout": honoured(
        "the time to the first token, in seconds", prefers("first_token_timeout_s", values.seconds)
    ),
    "x-litellm-num-retries": honoured("further attempts at the same endpoint", prefers("retries", values.attempts)),
    "x-litellm-min-quality-tier": honoured("quality bar: 1, 2, 3 are 0, 0.5, 0.8", _tier),
    "x-litellm-enable-message-redaction": honoured("`true`: nothing of what is said is stored", _redaction),
    "x-litellm-keepalive-seconds": not_applied("a silent stream is kept open as the server sees fit"),
    "x-litellm-disable-callbacks": not_applied("where records go is set for the organization"),
}
