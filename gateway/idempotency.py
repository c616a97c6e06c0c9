"""Idempotency keys: the same request sent twice is served once, charged once, and answered alike.

A key belongs to its workspace and stands for one body on one path; with another it is refused. Parallel duplicates wait
for the first and get its bytes. Only whole, successful answers are kept: after a failure the key is free, so that a
retry is a real one. Contract as Stripe's (docs.stripe.com/api/idempotent_requests) but for that last point.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
import time

import msgspec

from gateway import errors
from gateway.context import KeySnapshot
from gateway.vault import Unreachable, Vault

logger = logging.getLogger(__name__)

HEADER = b"idempotency-key"
_MAX_KEY = 255
_MAX_KEPT_BYTES = 4 * 1024 * 1024
_CLAIM_S = 15  # a claim of a process that died is free after this long
_RENEW_S = 5.0
_LOOK_S = 0.1
_LOOK_MOST_S = 2.0
_PATIENCE_S = 600.0


class KeptAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What the first call answered. `body` is the whole body, in the client's dialect; a stream's events as sent."""

    fingerprint: bytes
    is_stream: bool
    body: bytes
    request_id: str
    model: str
    provider: str
    is_simulated: bool


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(KeptAnswer).decode


class Claim:
    """The right to serve a key. It must be `keep`t or `release`d."""

    def __init__(self, vault: Vault, name: bytes, fingerprint: bytes, token: bytes, *, ttl_s: int) -> None:
        self._vault = vault
        self._name = name
        self._token = token
        self._ttl_s = ttl_s
        self.fingerprint = fingerprint
        self._renewing = asyncio.ensure_future(self._renew())

    async def keep(self, answer: KeptAnswer) -> None:
        """Keep the answer for duplicates, and let those who wait have it."""
        try:
            if len(answer.body) <= _MAX_KEPT_BYTES:
                await self._vault.put(self._name, _encode(answer), ttl_s=self._ttl_s)
        except Unreachable:
            logger.warning("An answer could not be kept for its idempotency key.")
        await self.release()

    async def release(self) -> None:
        """Let the key be used again. More than once does no harm."""
        self._renewing.cancel()
        try:
            await self._vault.release(self._name, self._token)
        except Unreachable:
            logger.warning("An idempotency key could not be released; it is free in %d seconds.", _CLAIM_S)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_S)
            try:
                await self._vault.reserve(self._name, self._token, ttl_s=_CLAIM_S)
            except Unreachable:
                logger.warning("An idempotency key could not be renewed.")


class Desk:
    """Gives claims out. `ttl_s`: how long answers are kept."""

    def __init__(self, vault: Vault, *, ttl_s: int) -> None:
        self._vault = vault
        self._ttl_s = ttl_s

    async def claim(self, given: bytes, key: KeySnapshot, path: str, raw: bytes) -> Claim | KeptAnswer:
        """Return the right to serve a call with the key `given`, or the answer that was given before.

        Waits while another serves the same key.

        Raises:
            errors.InvalidRequest: the key is unusable, or was used with another request (422).
            errors.Unavailable: whether the key was used cannot be known now, or another serves it for ten minutes.
        """
        if not 0 < len(given) <= _MAX_KEY:
            raise errors.InvalidRequest(
                f"`Idempotency-Key` must have 1 to {_MAX_KEY} characters. A UUID will do.",
                param="Idempotency-Key",
                code="invalid_idempotency_key",
            )
        mode = b"test" if key.is_test else b"live"
        name = hashlib.sha256(b"\0".join((b"idempotency", key.workspace_id.encode(), mode, given))).digest()
        fingerprint = hashlib.sha256(path.encode() + b"\0" + raw).digest()
        token = secrets.token_bytes(16)
        until, wait_s = time.monotonic() + _PATIENCE_S, _LOOK_S
        try:
            while True:
                kept = await self._kept(name, fingerprint)
                if kept is not None:
                    return kept
                if await self._vault.reserve(name, token, ttl_s=_CLAIM_S):
                    return await self._claimed(name, fingerprint, token)
                if time.monotonic() > until:
                    raise errors.Unavailable(
                        "The first request with this `Idempotency-Key` is still being served.",
                        code="idempotency_key_in_use",
                        retry_after_s=5,
                    )
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 1.2, _LOOK_MOST_S)  # many who wait long must not keep the shelf busy
        except Unreachable:
            raise errors.Unavailable(
                "Whether this `Idempotency-Key` was used cannot be looked up now. Try again in a moment, or send the"
                " request without it.",
                code="idempotency_unavailable",
                retry_after_s=1,
            ) from None

    async def _claimed(self, name: bytes, fingerprint: bytes, token: bytes) -> Claim | KeptAnswer:
        # Between the look and the claim the first may have finished: its answer stands before its claim is free.
        kept = await self._kept(name, fingerprint)
        if kept is not None:
            await self._vault.release(name, token)
            return kept
        return Claim(self._vault, name, fingerprint, token, ttl_s=self._ttl_s)

    async def _kept(self, name: bytes, fingerprint: bytes) -> KeptAnswer | None:
        data = await self._vault.get(name)
        if data is None:
            return None
        answer = _decode(data)
        if answer.fingerprint != fingerprint:
            raise errors.InvalidRequest(
                "This `Idempotency-Key` was used with another request. Use a new key for a new request.",
                param="Idempotency-Key",
                code="idempotency_key_reused",
                status=422,
            )
        return answer
