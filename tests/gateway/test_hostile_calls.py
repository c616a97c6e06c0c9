"""What clients and providers do that nobody should: each call still ends, has its one record, and harms no other."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from analytics.clickhouse.errors import StoreUnavailable
from analytics.queries import records
from gateway import envelope, express
from tests.gateway.rig import (
    ANSWER,
    ASKED,
    KEY,
    STREAMED,
    USAGE,
    Running,
    answering,
    ask,
    chunk,
    chunked,
    http,
    make_key,
    read_reply,
    request_bytes,
    running,
)
from tests.gateway.test_upstream import read_request

GOOD = http(200, orjson.dumps(ANSWER))


async def closing_after_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A provider that answers once, and hangs up when it is asked again on the same connection."""
    await read_request(reader)
    writer.write(GOOD)
    await read_request(reader)


# -- the client's side


@pytest.mark.parametrize(
    "behind",
    [b"GET /elsewhere HTTP/1.1\r\nhost: y\r\nauthorization: Bearer other\r\n\r\n", b"POST /\xff HT", b"nonsense\r\n"],
    ids=["request", "half", "nonsense"],
)
async def test_bytes_sent_too_early_do_not_touch_a_call_that_leaves_the_lane(tmp_path: Path, behind: bytes) -> None:
    async with running(tmp_path, closing_after_first, has_lane=True) as gateway:
        await ask(gateway, ASKED)
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(request_bytes(ASKED))
        await asyncio.sleep(0)
        writer.write(behind)
        reply = await asyncio.wait_for(read_reply(reader), 5)
        rest = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        records = gateway.records()
    assert reply.status == 200
    assert rest == b""
    assert [record.http_status for record in records] == [200, 200]


async def test_requests_in_one_piece_do_not_touch_a_call_that_leaves_the_lane(tmp_path: Path) -> None:
    second = b"GET /elsewhere HTTP/1.1\r\nhost: y\r\nauthorization: Bearer other\r\n\r\n"
    async with running(tmp_path, closing_after_first, has_lane=True) as gateway:
        await ask(gateway, ASKED)
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(request_bytes(ASKED) + second)
        reply = await asyncio.wait_for(read_reply(reader), 5)
        rest = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        assert gateway.state.recorder._writer.open_calls == 0
    assert reply.status == 200
    assert rest == b""


async def test_connection_close_is_honoured_where_the_lane_is_left(tmp_path: Path) -> None:
    async with running(tmp_path, closing_after_first, has_lane=True) as gateway:
        await ask(gateway, ASKED)
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(request_bytes(ASKED, extra="connection: close\r\n"))
        reply = await asyncio.wait_for(read_reply(reader), 5)
        assert await asyncio.wait_for(reader.read(), 2) == b""
        writer.close()
    assert reply.headers["connection"] == "close"


async def test_an_error_of_a_call_that_left_the_lane_names_its_record(tmp_path: Path) -> None:
    hits = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal hits
        hits += 1
        await read_request(reader)
        writer.write(GOOD if hits == 1 else http(500, b"{}"))
        if hits == 1:
            await read_request(reader)

    async with running(tmp_path, script, has_lane=True) as gateway:
        _, reply = await ask(gateway, ASKED, times=2)
        records = gateway.records()
    assert reply.status == 502
    assert reply.headers["x-request-id"] == records[1].request_id


async def test_an_upload_is_not_cut_by_the_idle_timer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = express.ExpressProtocol.connection_made

    def hasty(protocol: Any, transport: Any) -> None:
        protocol.timeout_keep_alive = 0.2
        made(protocol, transport)

    monkeypatch.setattr(express.ExpressProtocol, "connection_made", hasty)
    async with running(tmp_path, answering(GOOD), has_lane=True) as gateway:
        await ask(gateway, ASKED)
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(request_bytes(ASKED))
        await read_reply(reader)
        data = request_bytes(ASKED)
        writer.write(data[:-10])
        await asyncio.sleep(0.5)
        writer.write(data[-10:])
        reply = await asyncio.wait_for(read_reply(reader), 5)
        assert await asyncio.wait_for(reader.read(), 5) == b""  # and idle it does end
        writer.close()
    assert reply.status == 200


@pytest.mark.parametrize("sent", [b"", b"POST /v1/chat", request_bytes(ASKED)[:-10]], ids=["nothing", "head", "body"])
async def test_a_message_that_does_not_arrive_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(express, "_ARRIVAL_S", 0.3)
    async with running(tmp_path, answering(GOOD), has_lane=True) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(sent)
        assert await asyncio.wait_for(reader.read(), 8) == b""
        writer.close()


async def test_a_head_without_end_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path, answering(GOOD), has_lane=True) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(b"GET / HTTP/1.1\r\nx: ")
        answer = asyncio.ensure_future(reader.readexactly(13))
        sent = 0
        while not answer.done() and sent < 10 * 1024 * 1024:
            writer.write(b"a" * 4096)
            sent += 4096
            await asyncio.sleep(0.002)
        assert await asyncio.wait_for(answer, 1) == b"HTTP/1.1 431 "
        writer.close()


async def test_a_client_that_reads_nothing_cannot_fill_the_memory(tmp_path: Path) -> None:
    long = {**ANSWER, "choices": [{**ANSWER["choices"][0], "message": _said("a" * 300_000)}]}  # type: ignore[index]
    async with running(tmp_path, answering(http(200, orjson.dumps(long))), has_lane=True) as gateway:
        await ask(gateway, ASKED)
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=1024)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        before = gateway.state.metrics
        served = []
        for _ in range(40):
            writer.write(request_bytes(ASKED))
            await asyncio.sleep(0.02)
            served.append(sum(row[1] for row in before._rows.values()))
        writer.close()
    assert served[-1] == served[-10]  # it came to a halt


@pytest.mark.parametrize("upgrade", ["websocket", "h2c"])
async def test_an_upgrade_is_no_way_around(tmp_path: Path, upgrade: str) -> None:
    async with running(tmp_path, answering(GOOD), has_lane=True) as gateway:
        await ask(gateway, ASKED)
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(request_bytes(ASKED, extra=f"connection: upgrade\r\nupgrade: {upgrade}\r\n"))
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        writer.close()
        await asyncio.sleep(0.05)
        assert gateway.state.recorder._writer.open_calls == 0
        assert gateway.state.metrics.in_flight == 0


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"x"}],"response_format":{"type":["json"]}}',
        b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"x"}],"logit_bias":{"1":1e999}}',
        b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"x"}],"unknown":1e999}',
        b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":[{"type":"text","text":"\xff"}]}]}',
        b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"x"}],"kairosroute":{"tags":{"a":"\xff"}}}',
        b'{"model":"' + b"a" * 300 + b'","messages":[{"role":"user","content":"x"}]}',
    ],
    ids=["format", "infinity", "unknown infinity", "part", "tags", "name"],
)
async def test_what_cannot_be_read_later_is_refused_at_once(tmp_path: Path, has_lane: bool, body: bytes) -> None:
    async with running(tmp_path, answering(GOOD), has_lane=has_lane) as gateway:
        gateway.state.snapshot.keys[hashlib.sha256(KEY.encode()).digest()] = replace(make_key(), stores_content=True)
        reply = (await ask(gateway, body))[0]
        assert gateway.state.recorder._writer.open_calls == 0
        records = gateway.records()
    if b"response_format" in body:  # the provider's to judge
        assert (reply.status, len(records)) == (200, 1)
    else:
        assert (reply.status, len(gateway.provider_hits)) == (400, 0)
        assert [record.http_status for record in records] == [400]


# -- the provider's side


def _said(content: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, "refusal": None}


ODD_ANSWERS = {
    "call": {**ANSWER, "choices": [{"index": 0, "message": {"tool_calls": [7]}, "finish_reason": "stop"}]},
    "details": {**ANSWER, "choices": [{"index": 0, "message": {"tool_calls": {"a": 1}}, "finish_reason": "stop"}]},
}


@pytest.mark.parametrize("odd", ODD_ANSWERS.values(), ids=ODD_ANSWERS)
async def test_an_odd_answer_is_a_502_with_a_record(tmp_path: Path, has_lane: bool, odd: dict[str, Any]) -> None:
    script = answering(GOOD, http(200, orjson.dumps(odd)))
    async with running(tmp_path, script, has_lane=has_lane) as gateway:
        _, reply = await asyncio.wait_for(ask(gateway, ASKED, times=2), 5)
        records = gateway.records()
        assert gateway.state.metrics.in_flight == 0
    assert reply.status == 502
    assert reply.json()["error"]["code"] == "upstream_garbage"
    assert [record.http_status for record in records] == [200, 502]


async def test_an_answer_that_cannot_be_judged_is_given(tmp_path: Path, has_lane: bool) -> None:
    odd = {**ANSWER, "choices": [{"index": 0, "message": _said(7), "finish_reason": "stop"}]}
    script = answering(GOOD, http(200, orjson.dumps(odd)))
    async with running(tmp_path, script, has_lane=has_lane) as gateway:
        _, reply = await asyncio.wait_for(ask(gateway, ASKED, times=2), 5)
        records = gateway.records()
    assert reply.status == 200
    assert records[1].provider_cost_nanousd > 0


@pytest.mark.parametrize(
    "event",
    [chunk({}, choices=7), chunk({"tool_calls": 7}), chunk({"tool_calls": [None]})],
    ids=["choices", "calls", "call"],
)
async def test_an_odd_stream_ends_with_an_error_and_a_record(tmp_path: Path, has_lane: bool, event: bytes) -> None:
    stream = chunked(chunk({"content": "Hel"}), event, chunk({}, "stop"), USAGE, b"data: [DONE]\n\n")

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(GOOD)
        await read_request(reader)
        end = stream.index(b"\n\n") + 4
        writer.write(stream[:end])
        await asyncio.sleep(0.05)
        writer.write(stream[end:])

    async with running(tmp_path, script, has_lane=has_lane) as gateway:
        await ask(gateway, ASKED)
        reply = (await asyncio.wait_for(ask(gateway, STREAMED), 5))[0]
        records = gateway.records()
        assert (gateway.state.metrics.in_flight, gateway.state.metrics.open_streams) == (0, 0)
    assert reply.events()[-2]["error"]["code"] == "upstream_garbage"
    assert records[1].error_class == "UpstreamGarbage"


async def test_a_count_of_tokens_beyond_belief_is_not_believed(tmp_path: Path, has_lane: bool) -> None:
    usage = {**ANSWER["usage"], "prompt_tokens": 2**62, "completion_tokens": 2**62}  # type: ignore[dict-item]
    script = answering(GOOD, http(200, orjson.dumps({**ANSWER, "usage": usage})))
    async with running(tmp_path, script, has_lane=has_lane) as gateway:
        _, reply = await asyncio.wait_for(ask(gateway, ASKED, times=2), 5)
        records = gateway.records()
    assert reply.status == 200
    assert (records[1].price_state, records[1].output_tokens) == ("estimated", 2)  # "Hello." at 4 bytes a token


@pytest.mark.parametrize("behind", [GOOD, b"garbage", GOOD[:40]], ids=["answer", "garbage", "half"])
async def test_bytes_behind_an_answer_reach_nobody(tmp_path: Path, has_lane: bool, behind: bytes) -> None:
    other = http(200, orjson.dumps({**ANSWER, "choices": [{**ANSWER["choices"][0], "message": _said("Bye.")}]}))  # type: ignore[index]
    async with running(tmp_path, answering(GOOD, GOOD + behind, other), has_lane=has_lane) as gateway:
        first, second, third = await asyncio.wait_for(ask(gateway, ASKED, times=3), 5)
        assert len(gateway.provider_hits) == 2  # the connection was not used again
    said = [reply.json()["choices"][0]["message"]["content"] for reply in (first, second, third)]
    assert said[:2] == ["Hello.", "Hello."]
    assert [reply.status for reply in (first, second, third)] == [200, 200, 200]


# -- our own faults


@pytest.mark.parametrize("body", [ASKED, STREAMED], ids=["whole", "stream"])
async def test_a_fault_of_ours_ends_one_call_with_a_record(
    tmp_path: Path, has_lane: bool, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    script = (
        answering(GOOD, chunked(chunk({"content": "Hello."}), chunk({}, "stop"), USAGE))
        if body is STREAMED
        else (answering(GOOD))
    )

    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    async with running(tmp_path, script, has_lane=has_lane) as gateway:
        await ask(gateway, ASKED)
        monkeypatch.setattr(envelope, "stream_head" if body is STREAMED else "answer_object", broken)
        reply = (await asyncio.wait_for(ask(gateway, body), 5))[0]
        monkeypatch.undo()
        again = (await ask(gateway, body))[0]
        assert gateway.state.metrics.in_flight == 0
        assert gateway.state.recorder._writer.open_calls == 0
        records = gateway.records()
    assert (reply.status, again.status) == (500, 200)
    assert [record.http_status for record in records] == [200, 500, 200]


async def _get(gateway: Running, path: str) -> tuple[int, Any]:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n\r\n".encode())
    reply = await asyncio.wait_for(read_reply(reader), 5)
    writer.close()
    return reply.status, reply.json()


async def test_a_receipt_says_when_the_log_store_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(**_: Any) -> None:
        raise StoreUnavailable("It is away.")

    monkeypatch.setattr(records, "find", away)
    async with running(tmp_path, answering(GOOD), has_lane=True) as gateway:
        known = "0199e0000000" + "a" * 14
        status, body = await _get(gateway, f"/v1/receipts/rcpt_{known}")
        assert (status, body["error"]["code"]) == (503, "log_store_unavailable")
        status, body = await _get(gateway, "/v1/receipts/rcpt_" + "f" * 26)  # no time of ours
        assert (status, body["error"]["code"]) == (404, "receipt_not_found")
