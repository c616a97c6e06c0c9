"""Kept answers: encrypted, bound to their names, gone when their time is over."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from accounts.encryption import Keyring
from gateway.vault import FileShelf, RedisShelf, Shelf, Unreachable, Vault

KEYRING = Keyring.from_settings("", "secret")
NAME, OTHER = b"\1" * 32, b"\2" * 32


@pytest.fixture(params=["files", "redis"])
async def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Shelf]:
    if request.param == "files":
        yield FileShelf(tmp_path / "answers", max_bytes=1 << 20)
        return
    url = os.environ.get("REDIS_URL", "")
    if not url:  # the embedded profile keeps files, and has no Redis
        pytest.skip("REDIS_URL names no Redis: `make test-full` does")
    made = RedisShelf(url)
    yield made
    await made._redis.delete(b"kairosroute:answer:" + NAME, b"kairosroute:answer:" + OTHER)
    await made.close()


async def test_what_was_put_is_found_under_its_name_only(shelf: Shelf) -> None:
    vault = Vault(shelf, KEYRING)
    await vault.put(NAME, b"hello", ttl_s=60)
    assert await vault.get(NAME) == b"hello"
    assert await vault.get(OTHER) is None


async def test_an_envelope_does_not_open_under_another_name(shelf: Shelf) -> None:
    vault = Vault(shelf, KEYRING)
    await vault.put(NAME, b"hello", ttl_s=60)
    envelope = await shelf.get(NAME)
    assert envelope is not None
    assert b"hello" not in envelope
    await shelf.put(OTHER, envelope, ttl_s=60)
    assert await vault.get(OTHER) is None


async def test_a_name_is_held_by_one_token_until_it_is_released(shelf: Shelf) -> None:
    assert await shelf.reserve(NAME, b"mine", ttl_s=15)
    assert await shelf.reserve(NAME, b"mine", ttl_s=15)
    assert not await shelf.reserve(NAME, b"yours", ttl_s=15)
    await shelf.release(NAME, b"yours")
    assert not await shelf.reserve(NAME, b"yours", ttl_s=15)
    await shelf.release(NAME, b"mine")
    assert await shelf.reserve(NAME, b"yours", ttl_s=15)
    await shelf.release(NAME, b"yours")


async def test_an_expired_file_is_not_found_and_is_swept(tmp_path: Path) -> None:
    shelf = FileShelf(tmp_path, max_bytes=1 << 20)
    await shelf.put(NAME, b"envelope", ttl_s=-1)
    assert await shelf.get(NAME) is None
    shelf._sweep()
    assert os.listdir(tmp_path) == []


async def test_the_oldest_files_make_room(tmp_path: Path) -> None:
    shelf = FileShelf(tmp_path, max_bytes=250)
    for position in range(4):
        await shelf.put(bytes([position]) * 32, b"x" * 92, ttl_s=60)
        os.utime(tmp_path / (bytes([position]) * 32).hex(), (0, time.time() - 100 + position))
    shelf._sweep()
    assert sorted(name[:2] for name in os.listdir(tmp_path)) == ["02", "03"]


async def test_a_directory_that_cannot_be_written_is_unreachable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unreachable):
        await FileShelf(tmp_path / "file", max_bytes=1).put(NAME, b"x", ttl_s=1)


async def test_a_redis_that_is_away_is_unreachable() -> None:
    shelf = RedisShelf("redis://127.0.0.1:1/0")
    with pytest.raises(Unreachable):
        await shelf.get(NAME)
    with pytest.raises(Unreachable):
        await shelf.reserve(NAME, b"mine", ttl_s=1)
    await shelf.close()
