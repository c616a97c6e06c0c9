"""`POST /v1/messages` through a real gateway: Anthropic's own client, providers of both protocols on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anthropic
import orjson
import pytest
from anthropic import AsyncAnthropic

from gateway.context import GuardrailSnapshot
from tests.factories.calls import make_key
from tests.fixtures.providers import Case, cases
from tests.gateway.rig import (
    ANSWER,
    KEY,
    WHOLE_STREAM,
    Reply,
    Running,
    Script,
    answering,
    ask,
    chunk,
    chunked,
    http,
    read_reply,
    request_bytes,
    running,
)
from tests.gateway.test_upstream import read_request

CLAUDE = "claude-haiku-4-5"
ASKED: dict[str, Any] = {"model": CLAUDE, "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]}
STREAMED = {**ASKED, "stream": True}
ELSEWHERE = {**ASKED, "model": "gpt-4o-mini"}
USAGE = {
    "input_tokens": 20,
    "cache_creation_input_tokens": 300,
    "cache_read_input_tokens": 1000,
    "cache_creation": {"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 100},
    "output_tokens": 50,
    "service_tier": "standard",
}
# 20 at 1, 1000 read at 0.10, 200 written at 1.25, 100 for an hour at 2 and 50 out at 5 dollars a million tokens
COST_NANOUSD = 20_000 + 100_000 + 250_000 + 200_000 + 250_000
MESSAGE = {
    "id": "msg_01",
    "type": "message",
    "role": "assistant",
    "model": "claude-haiku-4-5-20251001",
    "content": [{"type": "text", "text": "Hello.", "citations": [{"type": "char_location", "cited_text": "H"}]}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": USAGE,
    "container": {"id": "c_1"},
}


def said(name: str, **data: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps({"type": name, **data}))


START = said(
    "message_start", message={**MESSAGE, "content": [], "stop_reason": None, "usage": {**USAGE, "output_tokens": 1}}
)
TEXT = (
    said("content_block_start", index=0, content_block={"type": "text", "text": ""}),
    said("ping"),
    said("content_block_delta", index=0, delta={"type": "text_delta", "text": "Hel"}),
    said("content_block_delta", index=0, delta={"type": "text_delta", "text": "lo."}),
    said("content_block_delta", index=0, delta={"type": "citations_delta", "citation": {"cited_text": "H"}}),
    said("content_block_stop", index=0),
)
STOP = said("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": 50})
END = said("message_stop")
OVERLOADED = said("error", error={"type": "overloaded_error", "message": "busy"})
# Nothing was reported: the canonical body of 103 bytes is read as 26 tokens.
INPUT = 26 * 1_000


@asynccontextmanager
async def serving(tmp_path: Path, script: Script) -> AsyncIterator[Running]:
    """A gateway whose Anthropic is played by `script`; its OpenAI answers as in the other tests."""
    others = {"ANTHROPIC": script}
    async with running(tmp_path, openai(), has_lane=True, others=others) as gateway:
        yield gateway


def openai() -> Script:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            _, body = await read_request(reader)
            is_stream = orjson.loads(body).get("stream")
            writer.write(chunked(*WHOLE_STREAM) if is_stream else http(200, orjson.dumps(ANSWER)))

    return script


def keeping(kept: list[tuple[bytes, bytes]], *answers: bytes) -> Script:
    """A provider that notes what it is asked and gives these answers, the last one for ever."""
    waiting = list(answers)

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            kept.append(await read_request(reader))
            writer.write(waiting.pop(0) if len(waiting) > 1 else waiting[0])

    return script


def sdk(gateway: Running, key: str = KEY) -> AsyncAnthropic:
    return AsyncAnthropic(base_url=f"http://127.0.0.1:{gateway.port}", api_key=key, max_retries=0, timeout=5)


async def post(gateway: Running, body: Any, **options: Any) -> Reply:
    (reply,) = await ask(gateway, body, path="/v1/messages", **options)
    return reply


def events(reply: Reply) -> list[Any]:
    assert b"[DONE]" not in reply.body
    found = []
    for event in reply.body.split(b"\n\n")[:-1]:
        name, data = event.split(b"\n")
        decoded = orjson.loads(data.removeprefix(b"data: "))
        assert name == b"event: " + decoded["type"].encode()
        found.append(decoded)
    return found


# -- the provider speaks the same protocol


async def test_a_native_call_goes_out_as_it_was_written(tmp_path: Path) -> None:
    asked: list[tuple[bytes, bytes]] = []
    body = {
        **ASKED,
        "temperature": 0.70,
        "context_management": {"edits": []},
        "tools": [{"type": "web_search_20250305", "name": "web_search"}],
        "kairosroute": {"agent": "tester"},
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}]}
        ],
    }
    async with serving(tmp_path, keeping(asked, http(200, orjson.dumps(MESSAGE)))) as gateway:
        reply = await post(gateway, body, extra="anthropic-beta: a-2026,b\r\nanthropic-version: 2023-06-01\r\n")
        (record,) = gateway.records()
    head, sent = asked[0]
    assert orjson.loads(sent) == {
        **{name: value for name, value in body.items() if name != "kairosroute"},
        "model": CLAUDE,
    }
    assert b"\r\nanthropic-beta: a-2026,b\r\n" in head
    assert b"\r\nx-api-key: sk-secret\r\n" in head
    assert head.startswith(b"POST /v1/messages ")
    answer = reply.json()
    receipt = answer.pop("x_kairosroute")
    assert answer == {**MESSAGE, "model": "anthropic/claude-haiku-4-5"}
    assert receipt["provider_cost_usd"] == COST_NANOUSD / 1e9
    assert (record.dialect, record.operation, record.agent) == ("anthropic", "chat", "tester")
    assert (record.provider_cost_nanousd, record.finish_reason, record.native_finish_reason) == (
        COST_NANOUSD,
        "stop",
        "end_turn",
    )
    assert (record.input_tokens, record.cached_read_tokens, record.cache_write_tokens) == (1320, 1000, 300)
    assert record.output_characters == 6


async def test_a_native_stream_comes_back_as_it_was_said(tmp_path: Path) -> None:
    async with serving(tmp_path, answering(chunked(START, *TEXT, STOP, END))) as gateway:
        reply = await post(gateway, STREAMED)
        (record,) = gateway.records()
    assert b"".join(TEXT) in reply.body
    found = events(reply)
    assert found[0]["message"]["model"] == "anthropic/claude-haiku-4-5"
    assert found[0]["message"]["usage"] == {**USAGE, "output_tokens": 1}
    delta, stop = found[-2:]
    assert delta["usage"] == {"output_tokens": 50}
    assert delta["x_kairosroute"]["provider_cost_usd"] == COST_NANOUSD / 1e9
    assert delta["x_kairosroute"]["receipt_id"] == reply.headers["x-kairosroute-receipt-id"]
    assert stop == {"type": "message_stop"}
    assert (record.is_stream, record.provider_cost_nanousd, record.finish_reason) == (1, COST_NANOUSD, "stop")
    assert record.output_characters == 6
    assert record.first_token_us is not None


async def test_a_servers_tool_counts_as_output(tmp_path: Path) -> None:
    block = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    tool = said("content_block_start", index=0, content_block=block), said("content_block_stop", index=0)
    async with serving(tmp_path, answering(chunked(START, *tool, STOP, END))) as gateway:
        reply = await post(gateway, {**STREAMED, "tools": [{"type": "web_search_20260318", "name": "web_search"}]})
    assert b"".join(tool) in reply.body


RECORDED = [case for case in cases("stream") if case.protocol == "anthropic_messages" and case.name != "json_by_tool"]


@pytest.mark.parametrize("case", RECORDED, ids=str)
async def test_every_recorded_stream_is_settled_as_in_the_canonical_dialect(tmp_path: Path, case: Case) -> None:
    async with serving(tmp_path, answering(chunked(case.stream), chunked(case.stream))) as gateway:
        await post(gateway, STREAMED)
        await ask(gateway, {**STREAMED, "max_completion_tokens": 100})
        native, translated = gateway.records()
    assert native.price_state == translated.price_state
    for name in native.__struct_fields__:
        if native.price_state == "estimated" and name.endswith(("_tokens", "_nanousd")):
            continue  # estimates go by the size of the body, and the bodies differ
        if name.endswith(("_tokens", "_nanousd")) or name in (
            "price_state",
            "error_class",
            "is_truncated",
            "is_refusal",
            "is_tool_call_valid",
            "output_characters",
            "native_finish_reason",
        ):
            assert getattr(native, name) == getattr(translated, name), name
    assert native.finish_reason == translated.finish_reason


@pytest.mark.parametrize(
    ("pieces", "error_class", "cost_nanousd", "price_state"),
    [
        # the input as reported, and 6 bytes said, or 3 of them: 2 tokens, or the 1 that was reported, at 5 dollars
        ((START, *TEXT), "UpstreamCut", 570_000 + 10_000, "estimated"),
        ((START, *TEXT, OVERLOADED), "UpstreamOverloaded", 570_000 + 5_000, "estimated"),
        ((*TEXT, STOP.replace(b',"usage":{"output_tokens":50}', b""), END), "", INPUT + 10_000, "estimated"),
        ((*TEXT,), "UpstreamCut", INPUT + 10_000, "estimated"),
        ((START, *TEXT, STOP, END), "", COST_NANOUSD, "priced"),
    ],
    ids=["cut", "error event", "usage missing", "cut without usage", "whole"],
)
async def test_every_ending_costs_what_was_reported(
    tmp_path: Path, pieces: tuple[bytes, ...], error_class: str, cost_nanousd: int, price_state: str
) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(chunked(*pieces[:4], ends=False))
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(chunked(*pieces[4:]).partition(b"\r\n\r\n")[2])

    async with serving(tmp_path, script) as gateway:
        reply = await post(gateway, STREAMED)
        (record,) = gateway.records()
    assert (record.error_class, record.provider_cost_nanousd, record.price_state) == (
        error_class,
        cost_nanousd,
        price_state,
    )
    last = events(reply)[-1]
    if error_class:
        assert last["type"] == "error"
        assert last["x_kairosroute"]["price_state"] == price_state
        assert b"message_stop" not in reply.body
        assert b'"text":"Hel"' in reply.body
    else:
        assert last == {"type": "message_stop"}
    if error_class == "UpstreamOverloaded":
        assert last["error"]["type"] == "overloaded_error"


async def test_a_client_that_hangs_up_is_settled_with_what_was_reported(tmp_path: Path) -> None:
    is_gone = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(chunked(START, *TEXT, ends=False))
        await reader.read()
        is_gone.set()

    async with serving(tmp_path, script) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(request_bytes(STREAMED, path="/v1/messages"))
        await reader.readuntil(b"lo.")
        writer.close()
        await asyncio.wait_for(is_gone.wait(), 1)
        await asyncio.sleep(0)
        (record,) = gateway.records()
    assert (record.http_status, record.provider_cost_nanousd, record.price_state) == (499, 580_000, "estimated")


async def test_a_guardrail_reads_blocks_that_only_anthropic_knows(tmp_path: Path) -> None:
    found = {"type": "mcp_tool_result", "content": [{"type": "text", "text": "write to alice@acme.test"}]}
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "a@b.test"}}
    body = {**ASKED, "messages": [*ASKED["messages"], {"role": "assistant", "content": [found]}]}
    key = make_key(guardrails=GuardrailSnapshot(blocked=frozenset({"email"})))
    others = {"ANTHROPIC": answering(http(200, orjson.dumps(MESSAGE)))}
    async with running(tmp_path, openai(), has_lane=True, others=others, key=key) as gateway:
        refused = await post(gateway, body)
        (uncounted,) = await ask(gateway, body, path="/v1/messages/count_tokens")
        passed = await post(gateway, {**ASKED, "messages": [{"role": "user", "content": [picture]}]})
    assert (refused.status, refused.json()["error"]["code"]) == (403, "guardrail_blocked")
    assert uncounted.status == 403
    assert b"alice" not in refused.body
    assert passed.status == 200


async def test_a_guardrail_reads_documents_of_plain_text(tmp_path: Path) -> None:
    document = {
        "type": "document",
        "source": {"type": "text", "media_type": "text/plain", "data": "write to alice@acme.test"},
    }
    url = {"type": "document", "source": {"type": "url", "url": "https://x.test/?to=alice@acme.test"}}
    key = make_key(guardrails=GuardrailSnapshot(blocked=frozenset({"email"})))
    others = {"ANTHROPIC": answering(http(200, orjson.dumps(MESSAGE)))}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [document]}
    async with running(tmp_path, openai(), has_lane=True, others=others, key=key) as gateway:
        for block in (document, url, result):
            reply = await post(gateway, {**ASKED, "messages": [{"role": "user", "content": [block]}]})
            assert (block["type"], reply.status) == (block["type"], 403)


@pytest.mark.parametrize("is_stream", [False, True])
async def test_fast_mode_costs_what_fast_mode_costs(tmp_path: Path, is_stream: bool) -> None:
    used = {"input_tokens": 1_000_000, "output_tokens": 1_000_000, "service_tier": "standard", "speed": "fast"}
    start = said("message_start", message={**MESSAGE, "content": [], "stop_reason": None, "usage": used})
    answer = chunked(start, *TEXT, STOP, END) if is_stream else http(200, orjson.dumps({**MESSAGE, "usage": used}))
    body = {**ASKED, "model": "claude-opus-4-8", "speed": "fast", "stream": is_stream}
    async with serving(tmp_path, answering(answer)) as gateway:
        book = gateway.state.book
        await post(gateway, body)
        (record,) = gateway.records()
    fast = book.row("anthropic/claude-opus-4-8", record.started_us / 1e6, "fast")
    standard = book.row("anthropic/claude-opus-4-8", record.started_us / 1e6)
    assert fast is not None
    assert standard is not None
    assert fast.rates.input > standard.rates.input
    assert record.service_tier == "fast"
    assert record.input_cost_nanousd == fast.rates.input


# -- another protocol


async def test_a_call_to_another_protocol_is_translated_both_ways(tmp_path: Path) -> None:
    asked: list[tuple[bytes, bytes]] = []
    script = keeping(asked, http(200, orjson.dumps(ANSWER)))
    body = {**ELSEWHERE, "system": "Be brief.", "top_k": 5, "context_management": {"edits": []}}
    async with running(tmp_path, script, has_lane=True) as gateway:
        reply = await post(gateway, body)
        (record,) = gateway.records()
    assert orjson.loads(asked[0][1]) == {
        "model": "gpt-4o-mini",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}],
        "max_completion_tokens": 100,
    }
    answer = reply.json()
    assert answer["content"] == [{"type": "text", "text": "Hello."}]
    assert (answer["type"], answer["role"], answer["stop_reason"]) == ("message", "assistant", "end_turn")
    assert answer["model"] == "openai/gpt-4o-mini"
    usage = answer["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"], usage["output_tokens"]) == (60, 40, 10)
    assert answer["x_kairosroute"]["provider_cost_usd"] == 0.000018
    assert record.provider_cost_nanousd == 18_000
    dropped = orjson.loads(record.receipt)["dropped_params"]
    assert {"top_k", "context_management"} <= set(dropped)


async def test_a_translated_stream_ends_with_its_usage_and_its_cost(tmp_path: Path) -> None:
    async with running(tmp_path, openai(), has_lane=True) as gateway:
        reply = await post(gateway, {**ELSEWHERE, "stream": True})
        (record,) = gateway.records()
    assert [event["type"] for event in events(reply)] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    delta = events(reply)[-2]
    assert delta["usage"]["cache_read_input_tokens"] == 40
    assert delta["x_kairosroute"]["provider_cost_usd"] == 0.000018
    assert (record.provider_cost_nanousd, record.output_characters, record.dialect) == (18_000, 6, "anthropic")


async def test_a_translated_stream_that_is_cut_ends_in_an_error_event(tmp_path: Path) -> None:
    async with running(tmp_path, answering(chunked(*WHOLE_STREAM[:3])), has_lane=True) as gateway:
        reply = await post(gateway, {**ELSEWHERE, "stream": True})
        (record,) = gateway.records()
    assert events(reply)[-1]["error"]["code"] == "upstream_cut"
    assert (record.error_class, record.price_state) == ("UpstreamCut", "estimated")


async def test_what_only_anthropic_can_do_is_refused_elsewhere(tmp_path: Path) -> None:
    async with running(tmp_path, openai(), has_lane=True) as gateway:
        tools = [{"type": "web_search_20250305", "name": "web_search"}]
        reply = await post(gateway, {**ELSEWHERE, "tools": tools})
    assert reply.status == 400
    told = reply.json()["error"]
    assert told["type"] == "invalid_request_error"
    assert "tools[0] (web_search_20250305)" in told["message"]
    assert gateway.provider_hits == []


async def test_the_automatic_choice_falls_on_who_can_run_a_server_tool(tmp_path: Path) -> None:
    tools = [{"type": "web_search_20250305", "name": "web_search"}]
    async with serving(tmp_path, answering(http(200, orjson.dumps(MESSAGE)))) as gateway:
        await post(gateway, {**ASKED, "model": "auto"})
        reply = await post(gateway, {**ASKED, "model": "auto", "tools": tools})
        plain, native = gateway.records()
    assert reply.status == 200
    assert (plain.provider, native.provider) == ("openai", "anthropic")


@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_native_call_falls_back_to_another_protocol(tmp_path: Path, is_stream: bool) -> None:
    body = {**ASKED, "stream": is_stream, "models": ["gpt-4o-mini"], "context_management": {"edits": []}}
    async with serving(tmp_path, answering(http(529, b"{}"))) as gateway:
        reply = await post(gateway, body)
        (record,) = gateway.records()
    assert reply.status == 200
    assert b"Hel" in reply.body
    assert (record.provider, record.attempts, record.provider_cost_nanousd) == ("openai", 2, 18_000)
    assert "context_management" in orjson.loads(record.receipt)["dropped_params"]


async def test_reasoning_switched_on_by_the_models_name_reaches_claude(tmp_path: Path) -> None:
    asked: list[tuple[bytes, bytes]] = []
    async with serving(tmp_path, keeping(asked, http(200, orjson.dumps(MESSAGE)))) as gateway:
        reply = await post(gateway, {**ASKED, "max_tokens": 9000, "model": f"{CLAUDE}:thinking"})
    assert reply.json()["content"] == MESSAGE["content"]
    assert orjson.loads(asked[0][1])["thinking"]["type"] == "enabled"


# -- Anthropic's own client


async def test_the_sdk_reads_a_native_message(tmp_path: Path) -> None:
    async with serving(tmp_path, answering(http(200, orjson.dumps(MESSAGE)))) as gateway, sdk(gateway) as client:
        message = await client.messages.create(**ASKED)
    assert message.content[0].text == "Hello."
    assert message.usage.cache_read_input_tokens == 1000
    assert message.x_kairosroute["provider"] == "anthropic"  # type: ignore[attr-defined]


@pytest.mark.parametrize("model", [CLAUDE, "gpt-4o-mini"])
async def test_the_sdk_streams(tmp_path: Path, model: str) -> None:
    async with (
        serving(tmp_path, answering(chunked(START, *TEXT, STOP, END))) as gateway,
        sdk(gateway) as client,
        client.messages.stream(**{**ASKED, "model": model}) as stream,
    ):
        text = "".join([piece async for piece in stream.text_stream])
        message = await stream.get_final_message()
    assert text == "Hello."
    assert message.stop_reason == "end_turn"
    assert message.usage.output_tokens in (10, 50)
    assert message.usage.cache_read_input_tokens in (40, 1000)


async def test_thinking_keeps_its_signature_over_two_turns(tmp_path: Path) -> None:
    asked: list[tuple[bytes, bytes]] = []
    thinking = {"type": "thinking", "thinking": "Light scatters.", "signature": "EqQBsig=="}
    content = [thinking, {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}]
    first = http(200, orjson.dumps({**MESSAGE, "content": content, "stop_reason": "tool_use"}))
    script = keeping(asked, first, http(200, orjson.dumps(MESSAGE)))
    tools: Any = [{"name": "look", "input_schema": {"type": "object"}}]
    async with serving(tmp_path, script) as gateway, sdk(gateway) as client:
        one = await client.messages.create(**ASKED, tools=tools, thinking={"type": "enabled", "budget_tokens": 1024})
        result: Any = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "blue"}
        history: Any = [
            *ASKED["messages"],
            {"role": "assistant", "content": one.content},
            {"role": "user", "content": [result]},
        ]
        await client.messages.create(
            model=CLAUDE,
            max_tokens=2000,
            tools=tools,
            messages=history,
            thinking={"type": "enabled", "budget_tokens": 1024},
        )
    sent = orjson.loads(asked[1][1])["messages"][1]["content"]
    assert sent[0] == thinking
    assert sent[1]["input"] == {}


async def test_the_sdk_gets_parallel_tool_calls_from_another_protocol(tmp_path: Path) -> None:
    def call(index: int, **more: Any) -> bytes:
        return chunk({"tool_calls": [{"index": index, **more}]})

    pieces = (
        chunk({"role": "assistant", "content": ""}),
        call(0, id="a", type="function", function={"name": "first", "arguments": ""}),
        call(0, function={"arguments": '{"x"'}),
        call(1, id="b", type="function", function={"name": "second", "arguments": ""}),
        call(0, function={"arguments": ":1}"}),
        chunk({}, "tool_calls"),
        WHOLE_STREAM[-2],
        WHOLE_STREAM[-1],
    )
    async with (
        running(tmp_path, answering(chunked(*pieces)), has_lane=True) as gateway,
        sdk(gateway) as client,
        client.messages.stream(**ELSEWHERE) as stream,
    ):
        message = await stream.get_final_message()
    assert [(block.name, block.input) for block in message.content if block.type == "tool_use"] == [
        ("first", {"x": 1}),
        ("second", {}),
    ]
    assert message.stop_reason == "tool_use"


async def test_the_sdk_raises_at_an_error_inside_a_stream(tmp_path: Path) -> None:
    broken = chunked(START, *TEXT, said("error", error={"type": "overloaded_error", "message": "busy"}))

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        head, _, rest = broken.partition(b"event: error")
        size = head.rfind(b"\r\n", 0, -2)
        writer.write(head[: size + 2])
        await asyncio.sleep(0.05)
        writer.write(head[size + 2 :] + b"event: error" + rest)

    async with serving(tmp_path, script) as gateway, sdk(gateway) as client:
        with pytest.raises(anthropic.APIStatusError, match="busy"):
            async with client.messages.stream(**ASKED) as stream:
                await stream.get_final_message()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, anthropic.BadRequestError),
        (404, anthropic.NotFoundError),
        (429, anthropic.RateLimitError),
        (500, anthropic.InternalServerError),
        (529, anthropic._exceptions.OverloadedError),
    ],
)
async def test_the_sdk_raises_what_anthropic_would_have_raised(
    tmp_path: Path, status: int, kind: type[Exception]
) -> None:
    refusal = http(status, b'{"type":"error","error":{"type":"x","message":"no"}}', "retry-after: 7")
    async with serving(tmp_path, answering(refusal)) as gateway, sdk(gateway) as client:
        with pytest.raises(kind) as caught:
            await client.messages.create(**ASKED)
    assert caught.value.request_id.startswith("req_")  # type: ignore[attr-defined]
    if status == 429:
        assert caught.value.response.headers["retry-after"] == "7"  # type: ignore[attr-defined]


async def test_the_sdk_hears_of_a_bad_key_and_an_unknown_model(tmp_path: Path) -> None:
    async with serving(tmp_path, answering(b"")) as gateway:
        # Without a database behind the gateway, a strange key cannot be looked up: no key at all is refused before.
        async with sdk(gateway) as client:
            with pytest.raises(anthropic.NotFoundError, match="claude-haiku-4-5"):
                await client.messages.create(**{**ASKED, "model": "claude-haiku-4-6"})
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}")
        reply = await read_reply(reader)
        writer.close()
    assert (reply.status, reply.json()["error"]["type"]) == (401, "authentication_error")


# -- counting


async def test_tokens_are_counted_by_the_provider_where_it_can(tmp_path: Path) -> None:
    asked: list[tuple[bytes, bytes]] = []
    async with serving(tmp_path, keeping(asked, http(200, b'{"input_tokens":42}'))) as gateway, sdk(gateway) as client:
        counted = await client.messages.count_tokens(model=CLAUDE, messages=ASKED["messages"], system="Be brief.")
        assert gateway.records() == []
    assert counted.input_tokens == 42
    assert counted.x_kairosroute["is_estimate"] is False  # type: ignore[attr-defined]
    assert asked[0][0].startswith(b"POST /v1/messages/count_tokens ")
    assert orjson.loads(asked[0][1]).keys() == {"model", "messages", "system"}


@pytest.mark.parametrize("model", [CLAUDE, "gpt-4o-mini"])
async def test_tokens_are_estimated_where_nobody_counts(tmp_path: Path, model: str) -> None:
    async with serving(tmp_path, answering(http(500, b"{}"))) as gateway, sdk(gateway) as client:
        counted = await client.messages.count_tokens(
            model=model, messages=[{"role": "user", "content": "x" * 350}], system="y" * 35
        )
    assert counted.input_tokens == 118  # 385 characters at 3.5 a token, and 4 for each of two messages
    assert counted.x_kairosroute["is_estimate"] is True  # type: ignore[attr-defined]
