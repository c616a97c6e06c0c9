"""Which endpoint holds the prompt cache of a conversation, and what leaving it costs. Pure; bounded memory.

A conversation is known by the session that the client names, by `prompt_cache_key`, or by a long first message: what a
provider caches is a prompt's beginning. `now` is given in seconds of a clock that never goes back.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass

import orjson

from gateway.context import ChatCall
from gateway.providers.protocol import Endpoint

# How long a prompt cache lives after its last use, in seconds. Anthropic: 5 minutes (docs: prompt caching); OpenAI and
# Azure: 5 to 10 minutes of inactivity (docs: prompt caching); others are not published.
_TTL_S = {"openai": 600.0, "azure": 600.0, "anthropic": 300.0, "bedrock": 300.0, "google": 300.0}
_OTHER_TTL_S = 300.0
_MOST = 20_000
# Providers cache prompts from about 1,000 tokens on.
_LONG_BYTES = 4096
_LONG_TEXT = 3000


@dataclass(slots=True)
class Seat:
    """Where a conversation was served last, until `until`; `cached_tokens` its provider then held of it."""

    base_url: str
    upstream_model: str
    credential_id: str
    provider: str
    model: str
    cached_tokens: int
    until: float

    def is_at(self, endpoint: Endpoint) -> bool:
        """Return whether the conversation sits at this endpoint, with this credential."""
        return (
            self.upstream_model == endpoint.upstream_model
            and self.base_url == endpoint.base_url
            and self.credential_id == endpoint.credential_id
        )


class Sessions:
    """The conversations of the last minutes; the longest unused go first."""

    def __init__(self, *, most: int = _MOST) -> None:
        self._most = most
        self._seats: OrderedDict[bytes, Seat] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seats)

    def find(self, key: bytes, now: float) -> Seat | None:
        """Return where a conversation sits, None when its cache has grown cold."""
        seat = self._seats.get(key)
        if seat is None:
            return None
        if now >= seat.until:
            del self._seats[key]
            return None
        return seat

    def keep(self, key: bytes, endpoint: Endpoint, now: float, *, cached_tokens: int) -> None:
        """Remember where a conversation was served."""
        self._seats[key] = Seat(
            endpoint.base_url,
            endpoint.upstream_model,
            endpoint.credential_id,
            endpoint.provider,
            endpoint.model,
            cached_tokens,
            now + _TTL_S.get(endpoint.provider, _OTHER_TTL_S),
        )
        self._seats.move_to_end(key)
        if len(self._seats) > self._most:
            self._seats.popitem(last=False)


def key_of(call: ChatCall, workspace_id: str, *, has_choice: bool) -> bytes | None:
    """Return what a call's conversation is known by, None when it has no name and no long beginning.

    The body is looked into only where there is a choice (`has_choice`) and the call is long or names a cache key. The
    prompt itself is not kept, only a digest.
    """
    session = call.attribution.session
    if session:
        return f"s\0{workspace_id}\0{call.requested_model}\0{session}".encode()
    if not has_choice:
        return None
    named = None
    if b'"prompt_cache_key"' in call.raw:
        named = call.body.get("prompt_cache_key")
    if isinstance(named, str) and named:
        return f"k\0{workspace_id}\0{call.requested_model}\0{named}".encode()
    if len(call.raw) < _LONG_BYTES:
        return None
    first = call.body["messages"][0]
    beginning = orjson.dumps(first)
    if len(beginning) < _LONG_TEXT:
        return None
    digest = hashlib.blake2b(beginning, digest_size=16).digest()
    return b"p\0%b\0%b\0%b" % (workspace_id.encode(), call.requested_model.encode(), digest)
