"""The same request twice: one upstream call, one charge, the same answer."""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
import pytest

from gateway import vault
from tests.factories.calls import make_key
from tests.gateway.rig import (
    ANSWER,
    ASKED,
    STREAMED,
    WHOLE_STREAM,
    Reply,
    Running,
    Script,
    answering,
    ask,
    chunk,
    chunked,
    http,
    request_bytes,
    running,
)
from tests.gateway.test_upstream import read_request

KEYED = "Idempotency-Key: order-7\r\n"
GOOD = http(200, orjson.dumps(ANSWER))


def slow(answer: bytes, asked: list[bytes], arrived: asyncio.Event | None = None) -> Script:
    """A provider that answers once three requests could have arrived."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            asked.append((await read_request(reader))[1])
            if arrived is not None:
                arrived.set()
            await asyncio.sleep(0.15)
            writer.write(answer)

    return script


async def in_parallel(gateway: Running, body: object, *, times: int) -> list[Reply]:
    replies = await asyncio.gather(*(ask(gateway, body, extra=KEYED) for _ in range(times)))
    return [found for (found,) in replies]


@pytest.mark.parametrize(
    ("body", "answer"), [(ASKED, GOOD), (STREAMED, chunked(*WHOLE_STREAM))], ids=["whole", "stream"]
)
async def test_parallel_duplicates_are_one_upstream_call_and_one_charge(
    tmp_path: Path, has_lane: bool, body: dict[str, object], answer: bytes
) -> None:
    asked: list[bytes] = []
    async with running(tmp_path, slow(answer, asked), has_lane=has_lane) as gateway:
        await ask(gateway, ASKED)  # from now on the lane has a connection
        replies = await in_parallel(gateway, body, times=5)
        records = gateway.records()[1:]
    assert len(asked) == 2
    assert len({reply.body for reply in replies}) == 1
    assert {reply.status for reply in replies} == {200}
    assert sorted(reply.headers.get("idempotent-replayed", "false") for reply in replies) == ["false"] + ["true"] * 4
    assert len({reply.headers["x-kairosroute-receipt-id"] for reply in replies}) == 1
    assert len({reply.headers["x-request-id"] for reply in replies}) == 5
    assert sorted(record.billed_nanousd for record in records) == [0, 0, 0, 0, 18_000]
    replayed = [record for record in records if record.response_cache == "replay"]
    origin = next(record for record in records if record.response_cache == "off")
    assert len(replayed) == 4
    for record in replayed:
        assert (record.price_state, record.input_tokens, record.attempts) == ("unused", 0, 0)
        assert orjson.loads(record.receipt)["cache"] == {"from": origin.request_id}


async def test_a_key_that_was_used_with_another_body_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path, answering(GOOD), has_lane=True) as gateway:
        await ask(gateway, ASKED, extra=KEYED)
        (reply,) = await ask(gateway, {**ASKED, "temperature": 1}, extra=KEYED)
        records = gateway.records()
    assert reply.status == 422
    assert reply.json()["error"]["code"] == "idempotency_key_reused"
    assert [record.billed_nanousd for record in records] == [18_000, 0]


async def test_after_a_failure_the_key_is_free_for_a_real_retry(tmp_path: Path) -> None:
    broken = http(500, b'{"error":{"message":"no"}}')
    async with running(tmp_path, answering(broken, broken, GOOD), has_lane=True) as gateway:
        first, second, third = [(await ask(gateway, ASKED, extra=KEYED))[0] for _ in range(3)]
    statuses = [first.status, second.status, third.status]
    assert statuses[-1] == 200
    assert statuses[0] != 200
    assert "idempotent-replayed" not in third.headers


async def test_a_stream_that_was_cut_is_not_replayed(tmp_path: Path) -> None:
    cut = chunked(chunk({"role": "assistant", "content": "Hel"}))
    async with running(tmp_path, answering(cut, chunked(*WHOLE_STREAM)), has_lane=True) as gateway:
        (first,) = await ask(gateway, STREAMED, extra=KEYED)
        (second,) = await ask(gateway, STREAMED, extra=KEYED)
    assert b'"finish_reason":"error"' in first.body
    assert "idempotent-replayed" not in second.headers
    assert b'"error"' not in second.body


async def test_another_workspace_may_use_the_same_key(tmp_path: Path) -> None:
    shelf = vault.FileShelf(tmp_path / "answers", max_bytes=1 << 20)
    async with running(tmp_path, answering(GOOD), has_lane=True) as gateway:
        await ask(gateway, ASKED, extra=KEYED)
        for digest in list(gateway.state.snapshot.keys):
            gateway.state.snapshot.keys[digest] = make_key(workspace_id="ws_2")
        (reply,) = await ask(gateway, ASKED, extra=KEYED)
    assert "idempotent-replayed" not in reply.headers
    assert await shelf.get(b"\0" * 32) is None


async def test_an_overlong_key_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path, answering(GOOD), has_lane=True) as gateway:
        (reply,) = await ask(gateway, ASKED, extra=f"Idempotency-Key: {'x' * 256}\r\n")
    assert reply.status == 400
    assert reply.json()["error"]["code"] == "invalid_idempotency_key"


async def test_a_client_that_hangs_up_frees_the_key(tmp_path: Path) -> None:
    arrived = asyncio.Event()
    async with running(tmp_path, slow(GOOD, [], arrived), has_lane=True) as gateway:
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(request_bytes({**ASKED, "stream": False}, extra=KEYED))
        await writer.drain()
        await arrived.wait()
        writer.close()
        (reply,) = await ask(gateway, {**ASKED, "stream": False}, extra=KEYED)
    assert reply.status == 200


async def test_what_is_kept_is_encrypted(tmp_path: Path) -> None:
    async with running(tmp_path, answering(GOOD), has_lane=True) as gateway:
        await ask(gateway, ASKED, extra=KEYED)
    (kept,) = (tmp_path / "answers").iterdir()
    data = kept.read_bytes()
    assert len(data) > 500
    assert b"Hello." not in data
    assert b"order-7" not in kept.name.encode() + data
