"""One call through a real server, a real spool and a scripted provider: the ASGI way and the express lane alike."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.upstream import Timeouts
from tests.gateway.rig import (
    ANSWER,
    ASKED,
    STREAMED,
    WHOLE_STREAM,
    Running,
    answering,
    ask,
    chunked,
    http,
    read_reply,
    request_bytes,
    running,
)
from tests.gateway.test_upstream import read_request

# The first call of a gateway opens the connection to the provider, so the lane is taken from the second on.


async def test_a_whole_answer_carries_its_cost_and_its_receipt(tmp_path: Path, has_lane: bool) -> None:
    async with running(tmp_path, answering(http(200, orjson.dumps(ANSWER))), has_lane=has_lane) as gateway:
        replies = await ask(gateway, ASKED, times=3)
        records = gateway.records()
    assert len(gateway.provider_hits) == 1
    assert len(records) == 3
    for reply, record in zip(replies, records, strict=True):
        body = reply.json()
        # 60 at 0.15, 40 cached at 0.075 and 10 at 0.60 dollars a million tokens
        assert body["usage"]["cost"] == 0.000018
        assert body["x_kairosroute"]["provider_cost_usd"] == body["x_kairosroute"]["billed_usd"] == 0.000018
        assert body["model"] == "openai/gpt-4o-mini"
        assert body["choices"] == [
            {
                **ANSWER["choices"][0],
                **({"native_finish_reason": "stop"} if "native_finish_reason" in body["choices"][0] else {}),
            }  # type: ignore[index,dict-item]
        ]
        assert reply.headers["x-kairosroute-receipt-id"] == body["x_kairosroute"]["receipt_id"]
        assert reply.headers["x-request-id"] == record.request_id
        assert (record.state, record.http_status, record.provider_cost_nanousd) == ("settled", 200, 18_000)
        assert (record.input_tokens, record.cached_read_tokens, record.output_tokens) == (100, 40, 10)
        assert record.output_characters == 6
        assert record.attempts == 1


async def test_calls_at_the_same_time_have_their_own_answers_and_records(tmp_path: Path, has_lane: bool) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            _, body = await read_request(reader)
            asked = orjson.loads(body)["messages"][0]["content"]
            message = {"role": "assistant", "content": f"{asked}!", "refusal": None}
            choice = {**ANSWER["choices"][0], "message": message}  # type: ignore[index,dict-item]
            writer.write(http(200, orjson.dumps({**ANSWER, "choices": [choice]})))

    async def client(gateway: Running, name: str) -> list[str]:
        replies = await ask(gateway, {**ASKED, "messages": [{"role": "user", "content": name}]}, times=10)
        return [reply.json()["choices"][0]["message"]["content"] for reply in replies]

    async with running(tmp_path, script, has_lane=has_lane) as gateway:
        answers = await asyncio.gather(*(client(gateway, f"client {number}") for number in range(20)))
        records = gateway.records()
    assert answers == [[f"client {number}!"] * 10 for number in range(20)]
    assert len({record.request_id for record in records}) == len(records) == 200
    assert gateway.state.metrics.in_flight == 0


async def test_a_stream_ends_with_usage_cost_and_receipt(tmp_path: Path, has_lane: bool) -> None:
    async with running(tmp_path, answering(chunked(*WHOLE_STREAM)), has_lane=has_lane) as gateway:
        replies = await ask(gateway, STREAMED, times=3)
        records = gateway.records()
    for reply, record in zip(replies, records, strict=True):
        events = reply.events()
        said = "".join(c["delta"].get("content") or "" for event in events for c in event["choices"])
        assert said == "Hello."
        assert events[-1]["choices"] == []
        assert events[-1]["usage"]["cost"] == 0.000018
        assert events[-1]["x_kairosroute"]["receipt_id"] == reply.headers["x-kairosroute-receipt-id"]
        assert [c["finish_reason"] for event in events for c in event["choices"] if c["finish_reason"]] == ["stop"]
        assert (record.is_stream, record.finish_reason, record.provider_cost_nanousd) == (1, "stop", 18_000)
        assert record.output_characters == 6
        assert record.first_token_us is not None


async def test_a_stream_that_is_cut_is_never_passed_on_as_success(tmp_path: Path, has_lane: bool) -> None:
    whole, cut = chunked(*WHOLE_STREAM), chunked(*WHOLE_STREAM[:3])
    async with running(
        tmp_path, answering(whole, cut, chunked(*WHOLE_STREAM[:3], ends=False), closes=False), has_lane=has_lane
    ) as gateway:
        await ask(gateway, STREAMED)
        (reply,) = await ask(gateway, STREAMED)
        records = gateway.records()
    events = reply.events()
    assert any(event.get("error", {}).get("code") == "upstream_cut" for event in events)
    assert [c["finish_reason"] for event in events for c in event["choices"] if c["finish_reason"]] == ["error"]
    assert (records[1].error_class, records[1].price_state, records[1].finish_reason) == (
        "UpstreamCut",
        "estimated",
        "error",
    )


async def test_a_stream_with_a_broken_chunk_is_an_error(tmp_path: Path, has_lane: bool) -> None:
    has_begun = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(chunked(*WHOLE_STREAM))
        await read_request(reader)
        writer.write(chunked(*WHOLE_STREAM[:2], ends=False))
        await has_begun.wait()
        broken = (b'data: {"choices": [{"delta": {"conte\n\n', *WHOLE_STREAM[2:])
        writer.write(chunked(*broken).partition(b"\r\n\r\n")[2])

    async with running(tmp_path, script, has_lane=has_lane) as gateway:
        await ask(gateway, STREAMED)
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(request_bytes(STREAMED))
        asyncio.get_running_loop().call_later(0.2, has_begun.set)
        reply = await read_reply(reader)
        writer.close()
        records = gateway.records()
    assert any(event.get("error", {}).get("code") == "upstream_garbage" for event in reply.events())
    assert b"lo." not in reply.body  # nothing after the gap
    assert records[1].error_class == "UpstreamGarbage"


@pytest.mark.parametrize("body", [ASKED, STREAMED])
@pytest.mark.parametrize(
    ("status", "expected", "error_class"),
    [
        (400, 400, "UpstreamRejected"),
        (429, 429, "UpstreamRateLimited"),
        (500, 502, "UpstreamError"),
        (503, 503, "UpstreamOverloaded"),
    ],
)
async def test_a_refusal_keeps_its_kind_and_costs_nothing(
    tmp_path: Path, has_lane: bool, body: dict[str, Any], status: int, expected: int, error_class: str
) -> None:
    refusal = http(status, b'{"error":{"message":"no: sk-secret"}}', "retry-after: 7")
    ok = chunked(*WHOLE_STREAM) if "stream" in body else http(200, orjson.dumps(ANSWER))
    async with running(tmp_path, answering(ok, refusal), has_lane=has_lane) as gateway:
        await ask(gateway, body)
        (reply,) = await ask(gateway, body)
        records = gateway.records()
    assert reply.status == expected
    assert b"sk-secret" not in reply.body
    assert reply.headers["x-should-retry"] == "false"
    assert reply.json()["error"]["metadata"]["receipt_id"].startswith("rcpt_")
    assert (records[1].error_class, records[1].price_state, records[1].provider_cost_nanousd) == (
        error_class,
        "unused",
        0,
    )
    if status == 429:
        assert reply.headers["retry-after"] == "7"


@pytest.mark.parametrize("body", [ASKED, STREAMED])
async def test_silence_becomes_a_timeout(tmp_path: Path, has_lane: bool, body: dict[str, Any]) -> None:
    ok = chunked(*WHOLE_STREAM) if "stream" in body else http(200, orjson.dumps(ANSWER))
    async with running(tmp_path, answering(ok, b""), has_lane=has_lane) as gateway:
        await ask(gateway, body)
        (reply,) = await ask(gateway, body)
        records = gateway.records()
    assert (reply.status, reply.json()["error"]["code"]) == (504, "upstream_timeout")
    assert records[1].error_class == "UpstreamTimeout"


async def test_what_is_no_answer_is_a_502(tmp_path: Path, has_lane: bool) -> None:
    async with running(
        tmp_path, answering(http(200, orjson.dumps(ANSWER)), http(200, b"<html>")), has_lane=has_lane
    ) as gateway:
        await ask(gateway, ASKED)
        (reply,) = await ask(gateway, ASKED)
        records = gateway.records()
    assert (reply.status, records[1].error_class) == (502, "UpstreamGarbage")


async def test_a_connection_that_the_provider_closed_meanwhile_is_replaced(tmp_path: Path, has_lane: bool) -> None:
    turns = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal turns
        turns += 1
        await read_request(reader)
        writer.write(http(200, orjson.dumps(ANSWER)))
        await read_request(reader)  # closes on the second request, without an answer

    async with running(tmp_path, script, has_lane=has_lane) as gateway:
        replies = await ask(gateway, ASKED, times=2)
        records = gateway.records()
    assert [reply.status for reply in replies] == [200, 200]
    assert turns == 2
    assert len(records) == 2  # one record for each call, however often it was sent
    assert len({record.request_id for record in records}) == 2


@pytest.mark.parametrize("has_begun", [False, True])
async def test_a_client_that_hangs_up_lets_the_provider_go(tmp_path: Path, has_lane: bool, has_begun: bool) -> None:
    gone = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(chunked(*WHOLE_STREAM))
        await read_request(reader)
        if has_begun:
            writer.write(chunked(*WHOLE_STREAM[:2], ends=False))
        with suppress(ConnectionError):
            await reader.read()
        gone.set()

    async with running(tmp_path, script, has_lane=has_lane) as gateway:
        gateway.state.providers = replace(gateway.state.providers, timeouts=Timeouts())
        await ask(gateway, STREAMED)
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(request_bytes(STREAMED))
        if has_begun:
            await reader.readuntil(b"Hel")
        else:
            await asyncio.sleep(0.7)  # longer than calls go unwatched
        writer.close()
        await asyncio.wait_for(gone.wait(), 2)
        for _ in range(100):
            if gateway.state.metrics.in_flight == 0:
                break
            await asyncio.sleep(0.01)
        records = gateway.records()
    # What was passed on is estimated; before the first token there is nothing to go by.
    expected = (1, 499, "estimated" if has_begun else "unpriced")
    assert (records[1].is_client_gone, records[1].http_status, records[1].price_state) == expected
    assert len(records) == 2


async def test_a_client_that_hangs_up_after_the_last_word_is_charged_for_it(tmp_path: Path, has_lane: bool) -> None:
    is_client_gone = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(chunked(*WHOLE_STREAM))
        await read_request(reader)
        writer.write(chunked(*WHOLE_STREAM[:4], ends=False))
        await is_client_gone.wait()
        writer.write(chunked(*WHOLE_STREAM[4:]).partition(b"\r\n\r\n")[2])
        await reader.read()

    async with running(tmp_path, script, has_lane=has_lane) as gateway:
        gateway.state.providers = replace(gateway.state.providers, timeouts=Timeouts())
        await ask(gateway, STREAMED)
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(request_bytes(STREAMED))
        await reader.readuntil(b'"finish_reason":"stop"')
        writer.close()
        await asyncio.sleep(0.2)
        is_client_gone.set()
        for _ in range(100):
            records = gateway.records()
            if len(records) == 2:
                break
            await asyncio.sleep(0.02)
    assert (records[1].is_client_gone, records[1].http_status) == (1, 499)
    assert (records[1].price_state, records[1].billed_nanousd) == ("priced", 18_000)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "invalid_json"),
        ({"model": "gpt-4o-mini"}, 400, "missing_messages"),
        ({**ASKED, "model": "gpt-nope"}, 404, "model_not_found"),
        ({**ASKED, "model": "claude-haiku-4-5"}, 503, "no_provider_configured"),
        (b'{"model": "' + b"x" * (3 * 1024 * 1024), 413, "payload_too_large"),
    ],
)
async def test_a_wrong_request_gets_its_documented_error(
    tmp_path: Path, has_lane: bool, body: Any, status: int, code: str
) -> None:
    async with running(tmp_path, answering(http(200, orjson.dumps(ANSWER))), has_lane=has_lane) as gateway:
        (reply,) = await ask(gateway, body)
        (after,) = await ask(gateway, ASKED)
        records = gateway.records()
    assert (reply.status, reply.json()["error"]["code"]) == (status, code)
    assert after.status == 200
    assert records[-1].http_status == 200
    assert gateway.state.metrics.in_flight == 0


async def test_a_long_body_is_served_too(tmp_path: Path, has_lane: bool) -> None:
    long = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "x" * (1536 * 1024)}]}
    async with running(tmp_path, answering(http(200, orjson.dumps(ANSWER))), has_lane=has_lane) as gateway:
        replies = await ask(gateway, long, times=2)
    assert [reply.status for reply in replies] == [200, 200]


async def test_a_request_sent_before_the_answer_ended_is_not_mixed_up(tmp_path: Path) -> None:
    async with running(tmp_path, answering(http(200, orjson.dumps(ANSWER))), has_lane=True) as gateway:
        await ask(gateway, ASKED)
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(request_bytes(ASKED) + request_bytes(ASKED))
        first = await read_reply(reader)
        rest = await asyncio.wait_for(reader.read(), 5)  # the connection ends: the second was not read
        writer.close()
    assert first.status == 200
    assert rest == b""


async def test_connection_close_is_honoured(tmp_path: Path, has_lane: bool) -> None:
    async with running(tmp_path, answering(http(200, orjson.dumps(ANSWER))), has_lane=has_lane) as gateway:
        await ask(gateway, ASKED)
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(request_bytes(ASKED, extra="connection: close\r\n"))
        reply = await read_reply(reader)
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
    assert reply.status == 200


async def test_an_awaited_record_is_on_the_disk_when_the_answer_ends(tmp_path: Path, has_lane: bool) -> None:
    answers = answering(http(200, orjson.dumps(ANSWER)))
    async with running(tmp_path, answers, has_lane=has_lane, sync_interval_ms=0) as gateway:
        await ask(gateway, ASKED, times=2)
        writer = gateway.state.recorder._writer
        assert writer._segment.synced == writer._position


async def test_a_running_stream_ends_before_the_server_stops(tmp_path: Path, has_lane: bool) -> None:
    release = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(chunked(*WHOLE_STREAM))
        await read_request(reader)
        whole = chunked(*WHOLE_STREAM)
        writer.write(whole[:-200])
        await release.wait()
        writer.write(whole[-200:])

    async with running(tmp_path, script, has_lane=has_lane) as gateway:
        await ask(gateway, STREAMED)
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(request_bytes(STREAMED))
        reply = asyncio.ensure_future(read_reply(reader))
        await asyncio.sleep(0.1)
        asyncio.get_running_loop().call_later(0.3, release.set)
    assert (await reply).events()[-1]["usage"]["cost"] == 0.000018
    writer.close()
