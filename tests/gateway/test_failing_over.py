"""A call with several endpoints through a real server: the ASGI way and the express lane alike."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway import receipt
from tests.gateway.rig import ANSWER, WHOLE_STREAM, Script, answering, ask, chunk, chunked, http, running
from tests.gateway.test_upstream import read_request

# Two endpoints of one model, the cheaper first.
ASKED = {"model": "gpt-oss-120b", "messages": [{"role": "user", "content": "hi"}]}
STREAMED = {**ASKED, "stream": True, "stream_options": {"include_usage": True}}
FIRST, SECOND = "GROQ", "CEREBRAS"

WHOLE = http(200, orjson.dumps(ANSWER))
STREAM = chunked(*WHOLE_STREAM)


def ok(body: dict[str, Any]) -> bytes:
    return STREAM if "stream" in body else WHOLE


def refusal(status: int, *headers: str, **error: str) -> bytes:
    return http(status, orjson.dumps({"error": {"message": "no", **error}}), *headers)


def asked_at(hits: dict[str, int], name: str, script: Script) -> Script:
    """Count the requests that a script takes."""

    async def counting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        class Counting:
            async def readexactly(self, count: int) -> bytes:
                return await reader.readexactly(count)

            async def readuntil(self, mark: bytes) -> bytes:
                head = await reader.readuntil(mark)
                hits[name] = hits.get(name, 0) + 1
                return head

        await script(Counting(), writer)  # type: ignore[arg-type]

    return counting


async def hanging_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)


@pytest.mark.parametrize("body", [ASKED, STREAMED])
@pytest.mark.parametrize(
    ("failure", "error_class"),
    [
        (refusal(500), "UpstreamError"),
        (refusal(503), "UpstreamOverloaded"),
        (refusal(429), "UpstreamRateLimited"),
        (refusal(401), "UpstreamError"),
        (refusal(404), "UpstreamRejected"),
        (b"", "UpstreamTimeout"),
        (http(200, b"<html>"), "UpstreamGarbage"),
        (chunked(WHOLE_STREAM[0]), "UpstreamCut"),
    ],
)
async def test_a_failure_before_the_first_token_is_another_endpoints_answer(
    tmp_path: Path, has_lane: bool, body: dict[str, Any], failure: bytes, error_class: str
) -> None:
    if "stream" in body and error_class == "UpstreamGarbage":
        failure = chunked(b"data: {nonsense\n\n")
    if "stream" not in body and error_class == "UpstreamCut":
        failure = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"
    others = {FIRST: answering(ok(body), failure, failure, closes=False), SECOND: answering(ok(body))}
    if error_class == "UpstreamCut":

        async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(ok(body))
            await read_request(reader)
            writer.write(failure)

        others[FIRST] = cut
    async with running(tmp_path, answering(WHOLE), has_lane=has_lane, others=others) as gateway:
        await ask(gateway, body)
        (reply,) = await ask(gateway, body)
        records = gateway.records()
    assert reply.status == 200
    told = reply.events()[-1] if "stream" in body else reply.json()
    assert told["x_kairosroute"]["provider"] == "cerebras"
    assert told["x_kairosroute"]["attempts"] == 2
    attempts = receipt.whole(records[1])["attempts"]
    assert [(one["provider"], one.get("error_class"), one.get("then")) for one in attempts] == [
        ("groq", error_class, "next_endpoint"),
        ("cerebras", None, None),
    ]
    assert all(one["key_source"] == "managed" and one["latency_ms"] >= 0 for one in attempts)
    assert (records[1].attempts, records[1].is_fallback, records[1].http_status) == (2, 1, 200)
    assert len(records) == 2
    assert gateway.state.metrics.in_flight == 0


async def test_after_the_first_token_the_client_is_told_and_nobody_else_is_asked(
    tmp_path: Path, has_lane: bool
) -> None:
    hits: dict[str, int] = {}
    others = {
        FIRST: answering(STREAM, chunked(*WHOLE_STREAM[:2])),
        SECOND: asked_at(hits, SECOND, answering(STREAM)),
    }
    async with running(tmp_path, answering(WHOLE), has_lane=has_lane, others=others) as gateway:
        await ask(gateway, STREAMED)
        (reply,) = await ask(gateway, STREAMED)
        (row,) = [row for row in gateway.state.providers.health.each() if row.provider == "groq"]
        figures = row.window.figures(time.perf_counter())
    assert any(event.get("error", {}).get("code") == "upstream_cut" for event in reply.events())
    assert hits == {}
    assert (figures.samples, figures.failures) == (2, {"UpstreamCut": 1})


async def test_reasoning_is_output(tmp_path: Path, has_lane: bool) -> None:
    thinking = chunked(WHOLE_STREAM[0], chunk({"reasoning": "Hm."}))
    others = {FIRST: answering(STREAM, thinking), SECOND: answering(STREAM)}
    async with running(tmp_path, answering(WHOLE), has_lane=has_lane, others=others) as gateway:
        await ask(gateway, STREAMED)
        (reply,) = await ask(gateway, STREAMED)
    assert b"Hm." in reply.body
    assert any("error" in event for event in reply.events())


async def test_an_endpoint_that_keeps_failing_is_left_out_until_a_probe_is_answered(
    tmp_path: Path, has_lane: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    hits: dict[str, int] = {}
    down = [refusal(503)] * 3
    others = {FIRST: asked_at(hits, FIRST, answering(*down, WHOLE)), SECOND: asked_at(hits, SECOND, answering(WHOLE))}
    async with running(tmp_path, answering(WHOLE), has_lane=has_lane, others=others) as gateway:
        replies = await ask(gateway, ASKED, times=10)
        assert hits == {FIRST: 3, SECOND: 10}
        (row,) = [row for row in gateway.state.providers.health.each() if row.provider == "groq"]
        row.window._open_until = time.perf_counter()  # its time is up
        replies += await ask(gateway, ASKED)
        assert hits == {FIRST: 4, SECOND: 10}
        assert row.window.is_closed
        records = gateway.records()
    assert [reply.status for reply in replies] == [200] * 11
    left_out = receipt.whole(records[9])
    assert left_out["skipped"] == [{"model": "groq/gpt-oss-120b", "provider": "groq", "reason": "open"}]
    assert [attempt["provider"] for attempt in left_out["attempts"]] == ["cerebras"]


@pytest.mark.parametrize("body", [ASKED, STREAMED])
async def test_a_provider_that_asks_to_wait_is_not_asked_meanwhile(
    tmp_path: Path, has_lane: bool, body: dict[str, Any]
) -> None:
    hits: dict[str, int] = {}
    limited = refusal(429, "retry-after: 30")
    others = {FIRST: asked_at(hits, FIRST, answering(limited)), SECOND: answering(*[ok(body)] * 5, limited)}
    async with running(tmp_path, answering(WHOLE), has_lane=has_lane, others=others) as gateway:
        replies = await ask(gateway, body, times=7)
        records = gateway.records()
    assert hits == {FIRST: 1}
    assert [reply.status for reply in replies] == [200] * 5 + [429, 429]
    for reply in replies[5:]:
        assert 28 <= int(reply.headers["retry-after"]) <= 30
        assert reply.headers["x-should-retry"] == "false"
    assert [record.attempts for record in records] == [2, 1, 1, 1, 1, 1, 0]
    assert (records[6].price_state, records[6].model) == ("unused", "groq/gpt-oss-120b")
    assert [one["reason"] for one in receipt.whole(records[6])["skipped"]] == ["limited", "limited"]


async def test_when_all_has_been_tried_the_error_names_the_attempts(tmp_path: Path, has_lane: bool) -> None:
    others = {FIRST: answering(refusal(503)), SECOND: answering(refusal(500))}
    async with running(tmp_path, answering(WHOLE), has_lane=has_lane, others=others) as gateway:
        (reply,) = await ask(gateway, ASKED)
    metadata = reply.json()["error"]["metadata"]
    assert (reply.status, reply.headers["x-should-retry"]) == (502, "false")
    assert [(one["provider"], one["error_class"]) for one in metadata["attempts"]] == [
        ("groq", "UpstreamOverloaded"),
        ("cerebras", "UpstreamError"),
    ]


async def test_a_lonely_provider_that_hangs_up_is_asked_once_more(tmp_path: Path, has_lane: bool) -> None:
    hits: dict[str, int] = {}
    script = asked_at(hits, "OPENAI", hanging_up)
    async with running(tmp_path, script, has_lane=has_lane) as gateway:
        (reply,) = await ask(gateway, {**ASKED, "model": "gpt-4o-mini"})
        records = gateway.records()
    assert (reply.status, hits) == (502, {"OPENAI": 2})
    assert [one.get("then") for one in receipt.whole(records[0])["attempts"]] == ["retry", None]


async def test_a_prompt_that_no_model_can_take_is_the_clients_error(tmp_path: Path, has_lane: bool) -> None:
    hits: dict[str, int] = {}
    too_long = refusal(400, code="context_length_exceeded")
    others = {FIRST: answering(too_long), SECOND: asked_at(hits, SECOND, answering(WHOLE))}
    async with running(tmp_path, answering(WHOLE), has_lane=has_lane, others=others) as gateway:
        (reply,) = await ask(gateway, ASKED)
        assert not list(gateway.state.providers.health.each())
    error = reply.json()["error"]
    assert (reply.status, error["code"], error["metadata"]["error_type"]) == (
        400,
        "context_length_exceeded",
        "context_length_exceeded",
    )
    assert hits == {}  # the same model elsewhere has the same window


async def test_a_conversation_stays_where_its_cache_is_and_leaving_has_a_price(tmp_path: Path, has_lane: bool) -> None:
    hits: dict[str, int] = {}
    session = "x-kairosroute-session: s1\r\n"
    others = {
        FIRST: asked_at(hits, FIRST, answering(refusal(503), WHOLE)),
        SECOND: asked_at(hits, SECOND, answering(WHOLE, WHOLE, refusal(503))),
    }
    async with running(tmp_path, answering(WHOLE), has_lane=has_lane, others=others) as gateway:
        await ask(gateway, ASKED, extra=session)
        await ask(gateway, ASKED, extra=session)
        assert hits == {FIRST: 1, SECOND: 2}  # the dearer one holds the cache
        await ask(gateway, ASKED)
        records = gateway.records()
    assert [record.provider for record in records] == ["cerebras", "cerebras", "groq"]


async def test_a_switch_is_on_the_receipt_with_what_it_costs(tmp_path: Path, has_lane: bool) -> None:
    session = "x-kairosroute-session: s1\r\n"
    others = {FIRST: answering(WHOLE, refusal(503)), SECOND: answering(WHOLE)}
    async with running(tmp_path, answering(WHOLE), has_lane=has_lane, others=others) as gateway:
        await ask(gateway, ASKED, times=2, extra=session)
        records = gateway.records()
    assert receipt.whole(records[0])["session_switched_from"] is None
    switched = receipt.whole(records[1])
    assert switched["session_switched_from"] == "groq:groq/gpt-oss-120b"
    # 40 cached tokens, read again at 0.15 instead of 0.075 dollars a million
    assert switched["session_switch_cost_usd"] == 0.000003


async def test_silence_before_the_first_token_is_bounded_by_a_time_of_its_own(tmp_path: Path, has_lane: bool) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(STREAM)
        await read_request(reader)
        writer.write(chunked(WHOLE_STREAM[0], ends=False))
        has_gone = asyncio.ensure_future(reader.read())
        while not has_gone.done():  # it lives, and says nothing
            writer.write(b"5\r\n: hm\n\r\n")
            await asyncio.wait([has_gone], timeout=0.1)

    others = {FIRST: silent, SECOND: answering(STREAM)}
    async with running(tmp_path, answering(WHOLE), has_lane=has_lane, others=others) as gateway:
        bounds = gateway.state.providers.timeouts
        object.__setattr__(bounds, "first_token", 0.6)
        await ask(gateway, STREAMED)
        started = time.monotonic()
        (reply,) = await ask(gateway, STREAMED)
    assert reply.events()[-1]["x_kairosroute"]["provider"] == "cerebras"
    assert time.monotonic() - started < 1.5
