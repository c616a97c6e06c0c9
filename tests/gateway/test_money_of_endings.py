"""The cost of every way in which a stream can end, in three protocols, against genai-prices to the nano-dollar.

The provider's script is the independent journal: it knows what usage it reported and what it said by then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any

import genai_prices
import orjson
import pytest

from analytics.request_log import RequestLog
from gateway.upstream import Timeouts
from tests.gateway.rig import chunk, chunked, http, read_reply, request_bytes, running
from tests.gateway.test_upstream import read_request

FIRST, SECOND = "It begins. ", "你好, and so it ends."
PROMPT = "Say something in two languages, please: " * 9


@dataclass(frozen=True)
class Used:
    """Tokens by class, as a protocol's own counts say them; input includes cached and written ones."""

    input: int
    output: int
    cached: int = 0
    written: int = 0
    written_1h: int = 0
    reasoning: int = 0


PLAIN = Used(input=1247, output=183)
CACHED = Used(input=1247, output=183, cached=920, reasoning=57)
WRITTEN = Used(input=1247, output=183, cached=300, written=140, written_1h=40)


def _event(data: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (data["type"].encode(), orjson.dumps(data))


def _gemini(**answer: Any) -> bytes:
    return b"data: " + orjson.dumps(answer) + b"\r\n\r\n"


def _openai_usage(used: Used) -> dict[str, Any]:
    return {
        "prompt_tokens": used.input,
        "completion_tokens": used.output,
        "total_tokens": used.input + used.output,
        "prompt_tokens_details": {"cached_tokens": used.cached, "cache_write_tokens": used.written},
        "completion_tokens_details": {"reasoning_tokens": used.reasoning},
    }


def _anthropic_usage(used: Used, output: int) -> dict[str, Any]:
    return {
        "input_tokens": used.input - used.cached - used.written,
        "cache_read_input_tokens": used.cached,
        "cache_creation_input_tokens": used.written,
        "cache_creation": {
            "ephemeral_5m_input_tokens": used.written - used.written_1h,
            "ephemeral_1h_input_tokens": used.written_1h,
        },
        "output_tokens": output,
    }


def _gemini_usage(used: Used) -> dict[str, Any]:
    return {
        "promptTokenCount": used.input,
        "cachedContentTokenCount": used.cached,
        "candidatesTokenCount": used.output - used.reasoning,
        "thoughtsTokenCount": used.reasoning,
        "totalTokenCount": used.input + used.output,
    }


def _openai(used: Used | None) -> list[bytes]:
    usage = [] if used is None else [chunk({}, choices=[], usage=_openai_usage(used))]
    said = [chunk({"role": "assistant", "content": FIRST}), chunk({"content": SECOND})]
    return [*said, chunk({}, "stop"), *usage, b"data: [DONE]\n\n"]


def _anthropic(used: Used | None) -> list[bytes]:
    message: dict[str, Any] = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": []}
    end: dict[str, Any] = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
    if used is not None:
        message["usage"] = _anthropic_usage(used, 1)
        end["usage"] = {"output_tokens": used.output}
    start = _event({"type": "message_start", "message": message})
    start += _event({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})

    def said(text: str) -> bytes:
        return _event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}})

    stop = _event({"type": "content_block_stop", "index": 0}) + _event(end)
    return [start + said(FIRST), said(SECOND), stop, _event({"type": "message_stop"})]


def _google(used: Used | None) -> list[bytes]:
    def said(text: str, **more: Any) -> bytes:
        return _gemini(candidates=[{"index": 0, "content": {"role": "model", "parts": [{"text": text}]}, **more}])

    usage = {} if used is None else {"usageMetadata": _gemini_usage(used)}
    end = _gemini(candidates=[{"index": 0, "finishReason": "STOP"}], **usage)
    return [said(FIRST), said(SECOND), end]


@dataclass(frozen=True)
class Protocol:
    name: str
    setting: str
    model: str
    priced_as: tuple[str, str]  # provider and model in genai-prices
    stream: Callable[[Used | None], list[bytes]]
    error_event: bytes
    reports_prompt_first: bool = False


OPENAI = Protocol(
    "openai_chat",
    "OPENAI",
    "gpt-4o-mini",
    ("openai", "gpt-4o-mini"),
    _openai,
    b'data: {"error":{"message":"had an error","type":"server_error"}}\n\n',
)
ANTHROPIC = Protocol(
    "anthropic_messages",
    "ANTHROPIC",
    "anthropic/claude-sonnet-4-6",
    ("anthropic", "claude-sonnet-4-6"),
    _anthropic,
    _event({"type": "error", "error": {"type": "overloaded_error", "message": "had an error"}}),
    reports_prompt_first=True,
)
GOOGLE = Protocol(
    "gemini",
    "GOOGLE",
    "google/gemini-2.5-flash",
    ("google", "gemini-2.5-flash"),
    _google,
    b'data: {"error":{"code":503,"message":"had an error","status":"UNAVAILABLE"}}\r\n\r\n',
)
PROTOCOLS = (OPENAI, ANTHROPIC, GOOGLE)


@dataclass(frozen=True)
class Ending:
    """How a stream ends, and what its record must say."""

    name: str
    reported: Used | None
    error_classes: tuple[str, ...] = ("",)
    cut_after: int | None = None  # pieces; the rest is never sent
    tail: str = ""  # what follows the cut: an error event, or silence until the client has gone
    protocols: tuple[Protocol, ...] = PROTOCOLS

    @property
    def said(self) -> str:
        return FIRST + SECOND if self.cut_after is None else FIRST


ENDINGS = (
    Ending("complete", PLAIN),
    Ending("cached_tokens", CACHED),
    Ending("cache_writes", WRITTEN, protocols=(ANTHROPIC,)),
    Ending("usage_missing", None),
    Ending("cut", WRITTEN, ("UpstreamCut",), cut_after=1),
    Ending("error_event", WRITTEN, ("UpstreamError", "UpstreamOverloaded"), cut_after=1, tail="error"),
    Ending("client_gone", WRITTEN, ("GatewayError",), cut_after=1, tail="silence"),
)


def _asked(protocol: Protocol) -> bytes:
    return orjson.dumps(
        {
            "model": protocol.model,
            "stream": True,
            "stream_options": {"include_usage": True},
            "messages": [{"role": "user", "content": PROMPT}],
        }
    )


def _used(protocol: Protocol, ending: Ending) -> tuple[Used, bool]:
    """Return what the record must hold, and whether it is an estimate, from the rules as they are written down."""
    tokens_said = -(-len(ending.said.encode()) // 4)
    if ending.reported is not None and ending.cut_after is None:
        return ending.reported, False
    if ending.reported is not None and protocol.reports_prompt_first:
        return replace(ending.reported, output=max(1, tokens_said), reasoning=0), True
    return Used(input=(len(_asked(protocol)) // 3 + 1) * 3 // 4, output=tokens_said), True


def _price_nanousd(protocol: Protocol, used: Used, record: RequestLog) -> int:
    provider, model = protocol.priced_as
    price = genai_prices.calc_price(
        genai_prices.Usage(
            input_tokens=used.input,
            cache_read_tokens=used.cached,
            cache_write_tokens=used.written,
            cache_write_1h_tokens=used.written_1h,
            output_tokens=used.output,
            output_reasoning_tokens=used.reasoning,
        ),
        model,
        provider_id=provider,
        genai_request_timestamp=datetime.fromtimestamp(record.started_us / 1e6, tz=UTC),
    )
    return int((price.total_price * 10**9).quantize(Decimal(1), ROUND_HALF_EVEN))


@pytest.mark.parametrize(
    ("protocol", "ending"),
    [
        pytest.param(protocol, ending, id=f"{protocol.name}-{ending.name}")
        for ending in ENDINGS
        for protocol in ending.protocols
    ],
)
async def test_every_ending_costs_what_the_price_book_says(
    tmp_path: Path, protocol: Protocol, ending: Ending, has_lane: bool
) -> None:
    pieces = protocol.stream(ending.reported)
    has_begun, has_ended = asyncio.Event(), asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        sent = pieces[: ending.cut_after]
        writer.write(chunked(*sent, ends=not ending.tail))
        if ending.tail == "error":
            await has_begun.wait()
            writer.write(chunked(protocol.error_event).partition(b"\r\n\r\n")[2])
        if ending.tail == "silence":
            with suppress(ConnectionError):
                await reader.read()
            has_ended.set()

    async def unasked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(http(500, b"{}"))

    scripts = dict.fromkeys(("OPENAI", "ANTHROPIC", "GOOGLE"), unasked) | {protocol.setting: script}
    async with running(tmp_path, scripts.pop("OPENAI"), has_lane=has_lane, others=scripts) as gateway:
        gateway.state.providers = replace(gateway.state.providers, timeouts=Timeouts())
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(request_bytes(_asked(protocol)))
        if ending.tail == "silence":
            await reader.readuntil(FIRST.encode())
            writer.close()
            await asyncio.wait_for(has_ended.wait(), 2)
            async with asyncio.timeout(2):
                while gateway.state.metrics.in_flight:  # noqa: ASYNC110 - the gateway offers no event
                    await asyncio.sleep(0.01)
            last = None
        else:
            reply = asyncio.ensure_future(read_reply(reader))
            if ending.tail == "error":  # before the first token it would be an ordinary error
                async with asyncio.timeout(2):
                    while not gateway.state.metrics.open_streams:  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
                has_begun.set()
            last = (await asyncio.wait_for(reply, 5)).events()[-1]
            writer.close()
        (record,) = gateway.records()

    used, is_estimated = _used(protocol, ending)
    cost = _price_nanousd(protocol, used, record)
    assert cost > 0
    assert record.error_class in ending.error_classes
    assert record.price_state == ("estimated" if is_estimated else "priced")
    assert (record.input_tokens, record.output_tokens, record.cached_read_tokens, record.cache_write_tokens) == (
        used.input,
        used.output,
        used.cached,
        used.written,
    )
    assert record.provider_cost_nanousd == record.billed_nanousd == cost
    parts = (record.input_cost_nanousd, record.cached_read_cost_nanousd, record.cache_write_cost_nanousd)
    assert sum(parts) + record.output_cost_nanousd == cost
    assert record.is_client_gone == (ending.tail == "silence")
    if last is not None:
        assert last["usage"]["cost"] == pytest.approx(cost / 1e9, abs=1e-12)
        assert last["usage"].get("is_estimated", False) is is_estimated
        assert last["x_kairosroute"]["price_state"] == record.price_state


async def test_nothing_passed_on_and_nothing_reported_is_an_unknown_cost(tmp_path: Path, has_lane: bool) -> None:
    answer = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": []}
    answer["choices"] = [{"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": "stop"}]

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(http(200, orjson.dumps(answer)))

    async with running(tmp_path, script, has_lane=has_lane) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(request_bytes({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}))
        reply = await asyncio.wait_for(read_reply(reader), 5)
        writer.close()
        (record,) = gateway.records()

    assert (record.price_state, record.billed_nanousd, record.output_tokens) == ("unpriced", 0, 0)
    assert "cost" not in reply.json()["usage"]
