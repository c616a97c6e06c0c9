"""Answers kept for a while, encrypted: for the response cache and for idempotency keys.

In the embedded profile they are files below the data directory, in the full profile they stand in Redis, where all
gateways find them. What is kept and for how long is the business of `gateway.response_cache` and `gateway.idempotency`.

An envelope opens for its own name only: it cannot be put under another tenant's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import time
from pathlib import Path
from typing import Protocol

from redis import asyncio as redis
from redis.exceptions import RedisError

from accounts.encryption import Keyring, KeyringError

logger = logging.getLogger(__name__)

_PURPOSE = "kept-answer"
_EXPIRY_BYTES = 8
_SWEEP_EVERY = 256
_REDIS_TIMEOUT_S = 1.0


class Unreachable(Exception):
    """What is kept cannot be asked for now."""


class Shelf(Protocol):
    """Where envelopes stand until they expire. `name` is 32 bytes and says nothing of what it stands for."""

    async def get(self, name: bytes) -> bytes | None:
        """Return an envelope. Raises `Unreachable`."""
        ...

    async def put(self, name: bytes, envelope: bytes, *, ttl_s: int) -> None:
        """Keep an envelope. Raises `Unreachable`."""
        ...

    async def reserve(self, name: bytes, token: bytes, *, ttl_s: int) -> bool:
        """Take a name for whoever holds `token`, and keep it taken; False when another holds it. Raises
        `Unreachable`."""
        ...

    async def release(self, name: bytes, token: bytes) -> None:
        """Give a name back that `token` holds. Raises `Unreachable`."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class Vault:
    """A shelf whose content is encrypted under the deployment's master keys."""

    def __init__(self, shelf: Shelf, keyring: Keyring) -> None:
        self._shelf = shelf
        self._keyring = keyring
        self.reserve = shelf.reserve
        self.release = shelf.release
        self.close = shelf.close

    async def get(self, name: bytes) -> bytes | None:
        """Return what was kept under a name, None when nothing is, or nothing that opens. Raises `Unreachable`."""
        envelope = await self._shelf.get(name)
        if envelope is None:
            return None
        try:
            return self._keyring.decrypt(envelope, purpose=_purpose(name))
        except KeyringError as error:
            logger.warning("A kept answer cannot be opened: %s", type(error).__name__)
            return None

    async def put(self, name: bytes, value: bytes, *, ttl_s: int) -> None:
        """Keep a value under a name for `ttl_s` seconds. Raises `Unreachable`."""
        await self._shelf.put(name, self._keyring.encrypt(value, purpose=_purpose(name)), ttl_s=ttl_s)


def open_shelf(redis_url: str, directory: Path, *, max_bytes: int) -> Shelf:
    """Return the shelf of this deployment."""
    return RedisShelf(redis_url) if redis_url else FileShelf(directory, max_bytes=max_bytes)


class FileShelf:
    """One file a name, for the one process of the embedded profile. The oldest go when `max_bytes` are exceeded."""

    def __init__(self, directory: Path, *, max_bytes: int) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._held: dict[bytes, bytes] = {}
        self._puts = 0

    async def get(self, name: bytes) -> bytes | None:
        return await asyncio.to_thread(self._read, name)

    async def put(self, name: bytes, envelope: bytes, *, ttl_s: int) -> None:
        await asyncio.to_thread(self._write, name, envelope, ttl_s)

    async def reserve(self, name: bytes, token: bytes, *, ttl_s: int) -> bool:
        return self._held.setdefault(name, token) == token

    async def release(self, name: bytes, token: bytes) -> None:
        if self._held.get(name) == token:
            del self._held[name]

    async def close(self) -> None:
        return

    def _read(self, name: bytes) -> bytes | None:
        try:
            data = (self._directory / name.hex()).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unreachable from error
        if len(data) <= _EXPIRY_BYTES or int.from_bytes(data[:_EXPIRY_BYTES], "big") <= time.time():
            return None
        return data[_EXPIRY_BYTES:]

    def _write(self, name: bytes, envelope: bytes, ttl_s: int) -> None:
        path = self._directory / name.hex()
        part = path.with_suffix(f".{secrets.token_hex(4)}")
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            part.write_bytes(int(time.time() + ttl_s).to_bytes(_EXPIRY_BYTES, "big") + envelope)
            part.replace(path)
            self._puts += 1
            if self._puts % _SWEEP_EVERY == 1:
                self._sweep()
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink()
            raise Unreachable from error

    def _sweep(self) -> None:
        """Delete what has expired, then the oldest until the rest fits."""
        now, kept = time.time(), []
        for entry in os.scandir(self._directory):
            with contextlib.suppress(FileNotFoundError), open(entry.path, "rb") as file:
                stat = entry.stat()
                if int.from_bytes(file.read(_EXPIRY_BYTES), "big") <= now:
                    os.unlink(entry.path)
                else:
                    kept.append((stat.st_mtime, stat.st_size, entry.path))
        total = sum(size for _, size, _ in kept)
        for _, size, path in sorted(kept):
            if total <= self._max_bytes:
                return
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            total -= size


# Give a name back, or keep it longer, only while it is still ours.
_RELEASE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"
_RESERVE = """
local held = redis.call('get', KEYS[1])
if held and held ~= ARGV[1] then return 0 end
redis.call('set', KEYS[1], ARGV[1], 'EX', ARGV[2])
return 1
"""


class RedisShelf:
    """Envelopes in Redis, under `kairosroute:answer:` and `kairosroute:claim:`."""

    def __init__(self, url: str) -> None:
        self._redis = redis.Redis.from_url(
            url, socket_timeout=_REDIS_TIMEOUT_S, socket_connect_timeout=_REDIS_TIMEOUT_S
        )

    async def get(self, name: bytes) -> bytes | None:
        try:
            found = await self._redis.get(b"kairosroute:answer:" + name)
        except (RedisError, OSError) as error:
            raise Unreachable from error
        return found if isinstance(found, bytes) else None

    async def put(self, name: bytes, envelope: bytes, *, ttl_s: int) -> None:
        try:
            await self._redis.set(b"kairosroute:answer:" + name, envelope, ex=ttl_s)
        except (RedisError, OSError) as error:
            raise Unreachable from error

    async def reserve(self, name: bytes, token: bytes, *, ttl_s: int) -> bool:
        try:
            taken = await self._redis.eval(_RESERVE, 1, b"kairosroute:claim:" + name, token, str(ttl_s))
        except (RedisError, OSError) as error:
            raise Unreachable from error
        return bool(taken)

    async def release(self, name: bytes, token: bytes) -> None:
        try:
            await self._redis.eval(_RELEASE, 1, b"kairosroute:claim:" + name, token)
        except (RedisError, OSError) as error:
            raise Unreachable from error

    async def close(self) -> None:
        with contextlib.suppress(RedisError, OSError):
            await self._redis.aclose()


def _purpose(name: bytes) -> str:
    return f"{_PURPOSE} {name.hex()}"
