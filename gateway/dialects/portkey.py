"""What Portkey's clients send: `x-portkey-*` headers, a config among them. Pure.

A config written out as JSON is translated; the id of a config that lives at Portkey is not.
Source: Portkey's documentation of headers and of the config object (2026).
"""

from __future__ import annotations

from typing import Any

from gateway.dialects import rows, values
from gateway.dialects.rows import Row, granted, honoured, not_applied, prefers, structured
from gateway.dialects.values import Malformed
from gateway.dialects.wishes import Wishes
from gateway.preferences import DEFAULT_CACHE_TTL_S

ECHO = "portkey"
_CONFIG = "x-portkey-config"
_MOST_TARGETS = 16


def _metadata(wishes: Wishes, value: str) -> None:
    found = values.json_object(value)
    user = found.pop("_user", None)
    if isinstance(user, str):
        wishes.name(end_user=values.text(user))
    wishes.tag_all(found)


def _provider(wishes: Wishes, value: Any) -> None:
    wishes.prefer(provider_only=(values.provider(values.text(value)),))


def _refresh(wishes: Wishes, value: str) -> None:
    wishes.prefer(refreshes_cache=values.flag(value))


def _debug(wishes: Wishes, value: str) -> None:
    if not values.flag(value):
        wishes.prefer(keeps_content=False)


# -- the config


def _cache_mode(wishes: Wishes, value: Any) -> None:
    if value not in ("simple", "semantic"):
        raise Malformed("`simple` or `semantic`")
    if value == "semantic":  # a question that only resembles another is asked anew
        wishes.deny(f"{_CONFIG}.cache.mode=semantic")
    wishes.prefer(cache_ttl_s=wishes.asked("cache_ttl_s") or DEFAULT_CACHE_TTL_S)


def _cache(wishes: Wishes, value: Any) -> None:
    if isinstance(value, str):  # the short form, a mode
        _cache_mode(wishes, value)
        return
    rows.read_fields(wishes, values.json_object(value), _CACHE, path=f"{_CONFIG}.cache.")


_CACHE: dict[str, Row] = {
    "mode": honoured("`simple`; `semantic` is served as `simple` and named", _cache_mode),
    "max_age": honoured("how long, in seconds", prefers("cache_ttl_s", values.age_s)),
}

_RETRY: dict[str, Row] = {
    "attempts": honoured("further attempts at the same endpoint", prefers("retries", values.attempts)),
    "on_status_codes": not_applied("which failures are tried again is the gateway's to know"),
    "use_retry_after_headers": granted("Retry-After is obeyed"),
}


def _override(wishes: Wishes, value: Any) -> None:
    """Read a model that the config puts in the place of the body's; other parameters are named."""
    for name, given in values.json_object(value).items():
        if name == "model":
            wishes.model = values.text(given)
        else:
            wishes.deny(f"{_CONFIG}.override_params.{name}")


def _plan(wishes: Wishes, config: Any) -> None:
    """Translate `strategy` and `targets`: which providers, in which order, with which models."""
    config = values.json_object(config)
    strategy = config.get("strategy")
    mode = strategy.get("mode", "single") if isinstance(strategy, dict) else "single"
    if isinstance(strategy, dict):
        for name in strategy:
            if name != "mode":
                wishes.deny(f"{_CONFIG}.strategy.{name}")
    targets = config.get("targets")
    if targets is None:
        if mode != "single":
            raise Malformed("a config with `targets`")
        return
    if mode not in ("single", "fallback", "loadbalance"):
        wishes.deny(f"{_CONFIG}.strategy.mode={mode}"[:64])
        return
    if not isinstance(targets, list) or not 0 < len(targets) <= _MOST_TARGETS:
        raise Malformed(f"a config with 1 to {_MOST_TARGETS} `targets`")
    if mode == "single":
        targets = targets[:1]
    providers: list[str] = []
    models: list[str] = []
    for target in targets:
        _target(wishes, values.json_object(target), providers, models)
    if len(providers) == len(targets):
        wishes.prefer(provider_only=tuple(dict.fromkeys(providers)))
        if mode == "fallback":
            wishes.prefer(provider_order=tuple(dict.fromkeys(providers)))
    if models:
        wishes.model = models[0]
        if len(models) > 1:
            wishes.prefer(models=tuple(models[1:]))


def _target(wishes: Wishes, target: dict[str, Any], providers: list[str], models: list[str]) -> None:
    for name, value in target.items():
        if name == "provider" and isinstance(value, str):
            providers.append(values.provider(value))
        elif name == "override_params" and isinstance(value, dict):
            for param, given in value.items():
                if param == "model" and isinstance(given, str):
                    models.append(given)
                else:
                    wishes.deny(f"{_CONFIG}.targets[].override_params.{param}")
        elif name == "api_key" and isinstance(value, str) and isinstance(target.get("provider"), str):
            wishes.bring_key(values.provider(target["provider"]), value)
        else:  # weights, virtual keys, nested targets
            wishes.deny(f"{_CONFIG}.targets[].{name}")


_STORED_KEY = not_applied("store the key as a provider credential, or send it as `Authorization` beside ours")


def _read_as_a_whole(_wishes: Wishes, _value: Any) -> None:
    """`_plan` has read strategy and targets together."""


CONFIG: dict[str, Row] = {
    "strategy": honoured("`single`, `fallback`, `loadbalance`; other modes and conditions are named", _read_as_a_whole),
    "targets": honoured(
        "`provider`, `api_key` and `override_params.model` of each; the rest is named", _read_as_a_whole
    ),
    "provider": honoured("no other provider", _provider),
    "override_params": honoured("`model`; other parameters are named", _override),
    "retry": structured("further attempts at the same endpoint", _RETRY),
    "cache": honoured("the response cache", _cache),
    "request_timeout": honoured(
        "the call's time-out, in milliseconds",
        lambda wishes, value: wishes.prefer(timeout_s=values.seconds(value, per_second=1000)),
    ),
    "virtual_key": _STORED_KEY,
    "api_key": _STORED_KEY,
    "custom_host": not_applied("where providers are is set by the operator"),
}


def _config(wishes: Wishes, value: str) -> None:
    config = values.json_object(value)
    _plan(wishes, config)
    rows.read_fields(wishes, config, CONFIG, path=f"{_CONFIG}.")


def _key(wishes: Wishes, _value: str) -> None:
    provider = wishes.headers.get(b"x-portkey-provider", b"").decode("utf-8", "replace")
    wishes.bring_key(values.provider(provider), values.foreign_key(wishes.headers))


HEADERS: dict[str, Row] = {
    "x-portkey-api-key": honoured("our key; a provider's key in `Authorization` beside it pays for the call", _key),
    "x-portkey-config": Row("a config as JSON is translated; the id of a config at Portkey is named", read=_config),
    "x-portkey-provider": honoured("no other provider", _provider),
    "x-portkey-virtual-key": _STORED_KEY,
    "x-portkey-metadata": honoured("tags, as JSON; `_user` is the end user", _metadata),
    "x-portkey-trace-id": honoured(
        "the record's trace", lambda wishes, value: wishes.follow(trace_id=values.text(value))
    ),
    "x-portkey-span-id": honoured(
        "the record's parent span", lambda wishes, value: wishes.follow(parent_span_id=values.text(value))
    ),
    "x-portkey-span-name": honoured("tag `span_name`", rows.tags("span_name", values.text)),
    "x-portkey-cache-force-refresh": honoured("`true`: ask anew and keep the new answer", _refresh),
    "x-portkey-cache-namespace": honoured(
        "a room of the cache of its own", lambda wishes, value: wishes.prefer(cache_namespace=values.text(value))
    ),
    "x-portkey-request-timeout": honoured(
        "the call's time-out, in milliseconds",
        lambda wishes, value: wishes.prefer(timeout_s=values.seconds(value, per_second=1000)),
    ),
    "x-portkey-forward-headers": not_applied("a provider is sent its own headers only"),
    "x-portkey-custom-host": not_applied("where providers are is set by the operator"),
    "x-portkey-strict-open-ai-compliance": granted("OpenAI's fields keep their form; ours stand beside them"),
    "x-portkey-debug": honoured("`false`: nothing of what is said is stored", _debug),
    "x-portkey-package-version": granted("says which SDK is used"),
    "x-portkey-runtime": granted("says which SDK is used"),
    "x-portkey-runtime-version": granted("says which SDK is used"),
}
