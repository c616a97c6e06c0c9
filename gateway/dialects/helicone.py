"""What Helicone's clients send: `Helicone-*` headers. Pure.

Source: Helicone's header directory (2026, the year of its maintenance mode).
"""

from __future__ import annotations

import re

import orjson

from gateway.dialects import values
from gateway.dialects.rows import Row, honoured, names, not_applied, tags
from gateway.dialects.values import Malformed
from gateway.dialects.wishes import Wishes

ECHO = "helicone"

_WEEK_S = 7 * 86_400
_RETRIES = 5
_MAX_AGE = re.compile(r"max-age=(\d{1,9})")


def _cache(wishes: Wishes, value: str) -> None:
    if not values.flag(value):
        wishes.prefer(cache_ttl_s=None)
        return
    found = _MAX_AGE.search(wishes.headers.get(b"cache-control", b"").decode("latin-1"))
    wishes.prefer(cache_ttl_s=values.age_s(found[1]) if found else _WEEK_S)


def _retries(wishes: Wishes, value: str) -> None:
    if values.flag(value):
        wishes.prefer(retries=wishes.asked("retries") or _RETRIES)


def _retry_count(wishes: Wishes, value: str) -> None:
    if wishes.asked("retries"):  # by itself it does not switch retries on
        wishes.prefer(retries=values.attempts(value))


def _omit(wishes: Wishes, value: str) -> None:
    if values.flag(value):
        wishes.prefer(keeps_content=False)


def _fallbacks(wishes: Wishes, value: str) -> None:
    try:
        entries = orjson.loads(value)
    except orjson.JSONDecodeError:
        raise Malformed("a JSON list") from None
    models: list[str] = []
    for entry in entries if isinstance(entries, list) else ():
        override = entry.get("bodyKeyOverride") if isinstance(entry, dict) else None
        model = override.get("model") if isinstance(override, dict) else None
        if isinstance(model, str):
            models.append(model)
    if not models:
        raise Malformed("a list of objects with `bodyKeyOverride.model`")
    wishes.deny("Helicone-Fallbacks[].target-url")  # which provider serves a model is ours to know
    wishes.prefer(models=values.names(models))


def read_property(wishes: Wishes, name: str, value: str) -> None:
    """Read `Helicone-Property-<Name>`: a tag."""
    wishes.tag(name, values.text(value))


def _key(wishes: Wishes, _value: str) -> None:
    wishes.bring_key("", values.foreign_key(wishes.headers))


_WAITS = not_applied("waits between attempts follow the provider's Retry-After")
_PLACE = not_applied("where providers are is set by the operator")

HEADERS: dict[str, Row] = {
    "Helicone-Auth": honoured("our key; a provider's key in `Authorization` beside it pays for the call", _key),
    "Helicone-User-Id": honoured("end user", names("end_user", values.text)),
    "Helicone-Session-Id": honoured("session", names("session", values.text)),
    "Helicone-Session-Name": honoured("tag `session_name`", tags("session_name", values.text)),
    "Helicone-Session-Path": honoured("tag `session_path`", tags("session_path", values.text)),
    "Helicone-Prompt-Id": honoured("tag `prompt_id`", tags("prompt_id", values.text)),
    "Helicone-Request-Id": honoured(
        "the record's client request id", lambda wishes, value: wishes.follow(client_request_id=values.text(value))
    ),
    "Helicone-Cache-Enabled": honoured(
        "`true`: the response cache, for the `max-age` of `Cache-Control`, else a week", _cache
    ),
    "Helicone-Cache-Seed": honoured(
        "a room of the cache of its own", lambda wishes, value: wishes.prefer(cache_namespace=values.text(value))
    ),
    "Helicone-Cache-Bucket-Max-Size": not_applied("one answer is kept for a question"),
    "Helicone-Retry-Enabled": honoured("`true`: up to 5 further attempts at the same endpoint", _retries),
    "Helicone-Retry-Num": honoured("with retries: how many", _retry_count),
    "Helicone-Retry-Factor": _WAITS,
    "Helicone-Retry-Min-Timeout": _WAITS,
    "Helicone-Retry-Max-Timeout": _WAITS,
    "Helicone-RateLimit-Policy": not_applied("limits are set for a key, an agent or an end user, not by a call"),
    "Helicone-Omit-Request": honoured("`true`: nothing of what is said is stored", _omit),
    "Helicone-Omit-Response": honoured("`true`: nothing of what is said is stored", _omit),
    "Helicone-Fallbacks": honoured("the models of `bodyKeyOverride`; target addresses are named", _fallbacks),
    "Helicone-Model-Override": not_applied("costs go by the model that answered"),
    "Helicone-Target-Url": _PLACE,
    "Helicone-OpenAI-Api-Base": _PLACE,
}
