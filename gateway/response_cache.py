"""The response cache: the same question of the same workspace, asked again within its time, costs nothing.

Only calls that ask for it (`Preferences.cache_ttl_s`) are looked up and kept: whole answers and streams apart, streams
as the canonical events that the first client heard. Nothing is shared between workspaces, nor between test and live
keys.
"""

from __future__ import annotations

import hashlib
import logging

import msgspec
import orjson

from gateway.context import ChatCall, KeySnapshot
from gateway.native import NativeRequest
from gateway.preferences import Preferences
from gateway.providers import fields
from gateway.vault import Unreachable, Vault

logger = logging.getLogger(__name__)

MAX_TTL_S = 30 * 86_400
_MAX_KEPT_BYTES = 4 * 1024 * 1024
# What does not change the answer, or is looked at apart.
_LEFT_OUT = (fields.GATEWAY_ONLY - fields.SIMULATOR_ONLY) | {
    "model",
    "stream",
    "stream_options",
    "user",
    "metadata",
    "safety_identifier",
    "prompt_cache_key",
    "store",
}
_GOOD_ENDS = frozenset({"stop", "tool_calls", "function_call", "length"})


class CachedAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer as it was given first. `body` is a chat.completion as JSON, or a stream's canonical events without the
    last two; `answer_id` is the id that stands in these events."""

    body: bytes
    answer_id: str
    request_id: str
    model: str
    provider: str
    is_simulated: bool
    finish_reason: str
    native_finish_reason: str
    service_tier: str
    cost_nanousd: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(CachedAnswer).decode


class ResponseCache:
    """Answers by what was asked."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def close(self) -> None:
        """Let go of what keeps the answers."""
        await self._vault.close()

    async def find(self, call: ChatCall, key: KeySnapshot) -> CachedAnswer | None:
        """Return the kept answer of a call that asked for one; None as well when the cache cannot be reached."""
        if call.preferences.refreshes_cache:
            return None
        try:
            data = await self._vault.get(name_of(call, key))
        except Unreachable:
            logger.warning("The response cache does not answer; calls go to their providers.")
            return None
        return None if data is None else _decode(data)

    async def keep(self, call: ChatCall, key: KeySnapshot, answer: CachedAnswer) -> None:
        """Keep an answer that ended well for the time that its call asked for."""
        ttl_s = call.preferences.cache_ttl_s
        if not ttl_s or answer.finish_reason not in _GOOD_ENDS or len(answer.body) > _MAX_KEPT_BYTES:
            return
        try:
            await self._vault.put(name_of(call, key), _encode(answer), ttl_s=min(ttl_s, MAX_TTL_S))
        except Unreachable:
            logger.warning("An answer could not be kept in the response cache.")


def name_of(call: ChatCall, key: KeySnapshot) -> bytes:
    """Return the name under which the answer of a call is kept: a digest of all that may change the answer."""
    wishes = msgspec.structs.replace(
        call.preferences,
        cache_ttl_s=None,
        refreshes_cache=False,
        cache_namespace="",
        echoes=frozenset(),
        explain="summary",
    )
    asked = {name: value for name, value in call.body.items() if name not in _LEFT_OUT}
    parts = (
        b"response",
        key.workspace_id.encode(),
        b"test" if key.is_test else b"live",
        call.preferences.cache_namespace.encode(),
        call.operation.encode(),
        b"stream" if call.is_stream else b"whole",
        call.requested_model.encode(),
        call.task_type.encode(),
        key.policy.version.encode(),
        msgspec.json.encode(wishes) if wishes != Preferences() else b"",
        orjson.dumps(asked, option=orjson.OPT_SORT_KEYS),
        b"" if call.native is None else _native(call.native),
    )
    digest = hashlib.sha256()
    for part in parts:  # lengths keep the parts apart
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


def _native(native: NativeRequest) -> bytes:
    """Return what the client's own body says that the canonical one may not."""
    said = {name: value for name, value in native.body.items() if name not in _LEFT_OUT}
    return orjson.dumps([native.protocol, native.headers, said], option=orjson.OPT_SORT_KEYS)
