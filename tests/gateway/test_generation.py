"""`GET /v1/generation`: a call with OpenRouter's field names."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import orjson
import pytest

from gateway.endpoints.generation import generation
from tests.factories.records import make_record
from tests.gateway.rig import (
    ANSWER,
    ASKED,
    KEY,
    STREAMED,
    WHOLE_STREAM,
    Reply,
    Running,
    answering,
    ask,
    chunk,
    chunked,
    http,
    read_reply,
    running,
)


async def get(gateway: Running, path: str) -> Reply:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n\r\n".encode())
    try:
        return await asyncio.wait_for(read_reply(reader), 10)
    finally:
        writer.close()


async def test_a_call_is_found_by_the_id_of_its_answer(tmp_path: Path) -> None:
    async with running(tmp_path, answering(http(200, orjson.dumps(ANSWER))), has_lane=False) as gateway:
        (reply,) = await ask(gateway, ASKED)
        generation_id = reply.headers["x-generation-id"]
        for root in ("/v1", "/api/v1"):
            data = (await get(gateway, f"{root}/generation?id={generation_id}")).json()["data"]
            assert data["id"] == generation_id
            assert (data["tokens_prompt"], data["tokens_completion"]) == (100, 10)
            assert data["native_tokens_cached"] == 40
            assert data["total_cost"] == reply.json()["usage"]["cost"]
            assert [one["status"] for one in data["provider_responses"]] == [200]
            assert data["cache_discount"] > 0


@pytest.mark.parametrize(("query", "status"), [("", 400), ("?id=", 400), ("?id=nonsense", 400)])
async def test_an_id_that_is_none_is_told(tmp_path: Path, query: str, status: int) -> None:
    async with running(tmp_path, answering(b""), has_lane=False) as gateway:
        assert (await get(gateway, f"/v1/generation{query}")).status == status


async def test_a_call_of_another_workspace_is_not_found(tmp_path: Path) -> None:
    async with running(tmp_path, answering(http(200, orjson.dumps(ANSWER))), has_lane=False) as gateway:
        (reply,) = await ask(gateway, ASKED)
        key = next(iter(gateway.state.snapshot.keys.values()))
        for digest in gateway.state.snapshot.keys:
            gateway.state.snapshot.keys[digest] = _elsewhere(key)
        answer = await get(gateway, f"/v1/generation?id={reply.headers['x-generation-id']}")
        assert (answer.status, answer.json()["error"]["code"]) == (404, "generation_not_found")


def _elsewhere(key: object) -> object:
    import dataclasses

    return dataclasses.replace(key, workspace_id="ws_other")  # type: ignore[type-var]


def test_byok_costs_nothing_here_and_names_the_providers_price() -> None:
    data = generation(make_record(key_source="byok", billed_nanousd=0, provider_cost_nanousd=1_250_000))
    assert (data["total_cost"], data["is_byok"], data["upstream_inference_cost"]) == (0, True, 0.00125)


def test_what_openrouters_client_reads_is_all_there() -> None:
    # The required fields of OpenRouter's GenerationResponseData.
    required = {
        "api_type", "app_id", "cache_discount", "cancelled", "created_at", "data_region", "external_user",
        "finish_reason", "generation_time", "http_referer", "id", "is_byok", "latency", "model", "moderation_latency",
        "native_finish_reason", "native_tokens_cached", "native_tokens_completion", "native_tokens_completion_images",
        "native_tokens_prompt", "native_tokens_reasoning", "num_fetches", "num_input_audio_prompt",
        "num_media_completion", "num_media_prompt", "num_search_results", "origin", "preset_id", "provider_name",
        "provider_responses", "router", "service_tier", "streamed", "tokens_completion", "tokens_prompt", "total_cost",
        "upstream_id", "upstream_inference_cost", "usage", "user_agent", "web_search_engine", "workspace_id",
    }  # fmt: skip
    assert required <= set(msgspec.json.decode(orjson.dumps(generation(make_record()))))


@pytest.mark.parametrize("has_lane", [True, False])
@pytest.mark.parametrize("pretty", [True, False])
async def test_the_id_of_an_answer_to_openrouters_clients_leads_to_the_call(
    tmp_path: Path, has_lane: bool, pretty: bool
) -> None:
    said = orjson.dumps(ANSWER, option=orjson.OPT_INDENT_2 if pretty else 0)
    async with running(tmp_path, answering(http(200, said)), has_lane=has_lane) as gateway:
        (reply,) = await ask(gateway, ASKED, path="/api/v1/chat/completions")
        answer_id = reply.json()["id"]
        assert answer_id == reply.headers["x-generation-id"]
        assert (await get(gateway, f"/api/v1/generation?id={answer_id}")).status == 200
        (plain,) = await ask(gateway, ASKED)
        assert plain.json()["id"] == ANSWER["id"]


@pytest.mark.parametrize("has_lane", [True, False])
async def test_all_chunks_of_a_stream_have_the_id_too(tmp_path: Path, has_lane: bool) -> None:
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    # A text that is the provider's id is a text all the same.
    chunks = (*WHOLE_STREAM[:2], chunk({"content": "c"}), chunk({"tool_calls": [call]}), *WHOLE_STREAM[3:])
    async with running(tmp_path, answering(chunked(*chunks)), has_lane=has_lane) as gateway:
        (reply,) = await ask(gateway, STREAMED, path="/api/v1/chat/completions")
        events = reply.events()
        assert {event["id"] for event in events} == {reply.headers["x-generation-id"]}
        assert b'"call_1"' in reply.body
        assert b'"content":"c"' in reply.body


async def test_an_id_in_the_middle_of_an_answer_is_found_as_well(tmp_path: Path) -> None:
    said = orjson.dumps({"object": "chat.completion", **ANSWER})
    async with running(tmp_path, answering(http(200, said)), has_lane=False) as gateway:
        (reply,) = await ask(gateway, ASKED, path="/api/v1/chat/completions")
        assert reply.json()["id"] == reply.headers["x-generation-id"]
