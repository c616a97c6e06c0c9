"""What clients of other gateways are answered: their headers, their objects, their reading of costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from analytics.spool import read_segment
from tests.factories.calls import make_key
from tests.gateway.rig import ANSWER, ASKED, KEY, STREAMED, WHOLE_STREAM, answering, ask, chunked, http, running

WHOLE = http(200, orjson.dumps(ANSWER))
STREAM = chunked(*WHOLE_STREAM)
OPENROUTER = "/api/v1/chat/completions"


async def test_a_plain_client_is_answered_in_no_other_gateways_headers(tmp_path: Path, has_lane: bool) -> None:
    async with running(tmp_path, answering(WHOLE), has_lane=has_lane) as gateway:
        reply = (await ask(gateway, ASKED, times=2))[-1]
    foreign = ("x-litellm-", "x-portkey-", "helicone-", "cf-aig-", "x-openrouter-")
    assert not [name for name in reply.headers if name.startswith(foreign)]
    assert reply.headers["openai-processing-ms"].isdigit()


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (
            "x-litellm-tags: a",
            {
                "x-litellm-model-group": "gpt-4o-mini",
                "x-litellm-model-id": "openai:openai/gpt-4o-mini",
                "x-litellm-response-cost": "0.000018000",
                "x-litellm-attempted-retries": "0",
                "x-litellm-attempted-fallbacks": "0",
            },
        ),
        (
            "x-portkey-trace-id: my-trace",
            {
                "x-portkey-trace-id": "my-trace",
                "x-portkey-cache-status": "DISABLED",
                "x-portkey-retry-attempt-count": "0",
                "x-portkey-last-used-option-index": "0",
            },
        ),
        ("cf-aig-metadata: {}", {"cf-aig-step": "0"}),
    ],
)
async def test_a_client_is_answered_in_its_own_gateways_headers(
    tmp_path: Path, has_lane: bool, sent: str, expected: dict[str, str]
) -> None:
    async with running(tmp_path, answering(WHOLE), has_lane=has_lane) as gateway:
        replies = await ask(gateway, ASKED, times=2, extra=f"{sent}\r\n")
    for reply in replies:
        assert {name: reply.headers.get(name) for name in expected} == expected


async def test_helicones_cache_header_tells_a_hit(tmp_path: Path, has_lane: bool) -> None:
    async with running(tmp_path, answering(WHOLE), has_lane=has_lane) as gateway:
        first, second = await ask(gateway, ASKED, times=2, extra="Helicone-Cache-Enabled: true\r\n")
        records = gateway.records()
    assert [first.headers["helicone-cache"], second.headers["helicone-cache"]] == ["MISS", "HIT"]
    assert [record.provider_cost_nanousd for record in records] == [18_000, 0]


async def test_openrouters_cache_header_tells_a_hit(tmp_path: Path, has_lane: bool) -> None:
    async with running(tmp_path, answering(WHOLE), has_lane=has_lane) as gateway:
        replies = await ask(gateway, ASKED, times=2, extra="X-OpenRouter-Cache: true\r\nX-OpenRouter-Cache-TTL: 60\r\n")
    assert [reply.headers["x-openrouter-cache-status"] for reply in replies] == ["MISS", "HIT"]
    assert replies[0].headers["x-openrouter-cache-ttl"] == "60"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"prompt": "hi"}),
        ("/v1/messages", {"messages": ASKED["messages"], "max_tokens": 50}),
        ("/v1/responses", {"input": "hi", "store": False}),
    ],
)
async def test_the_other_dialects_explain_as_much_as_asked_for(tmp_path: Path, path: str, body: dict[str, Any]) -> None:
    told: dict[str, Any] = {}
    async with running(tmp_path, answering(WHOLE), has_lane=False) as gateway:
        for level in ("none", "full"):
            extra = f"X-KairosRoute-Explain: {level}\r\n"
            (reply,) = await ask(gateway, {"model": "gpt-4o-mini", **body}, path=path, extra=extra)
            told[level] = reply.json()
    assert "x_kairosroute" not in told["none"]
    assert told["full"]["x_kairosroute"]["receipt"]["candidates"][0]["model"] == "openai/gpt-4o-mini"


async def test_no_line_break_of_a_client_reaches_an_answers_head(tmp_path: Path) -> None:
    body = {**ASKED, "session_id": "a\r\nset-cookie: b"}
    async with running(tmp_path, answering(WHOLE), has_lane=False) as gateway:
        (reply,) = await ask(gateway, {**body, "trace": {"trace_id": "x\r\nset-cookie: b"}}, extra="x-portkey-a: b\r\n")
    assert "set-cookie" not in reply.headers
    assert reply.headers["x-portkey-trace-id"] == "x__set-cookie: b"


async def test_openrouters_dialect_shows_names_and_parts_of_the_cost(tmp_path: Path, has_lane: bool) -> None:
    async with running(tmp_path, answering(WHOLE), has_lane=has_lane) as gateway:
        reply = (await ask(gateway, ASKED, times=2, path=OPENROUTER))[-1]
    body = reply.json()
    assert body["provider"] == "OpenAI"
    assert body["usage"]["cost"] == 0.000018
    assert body["usage"]["is_byok"] is False
    assert body["usage"]["cost_details"] == {
        "upstream_inference_cost": None,
        "upstream_inference_prompt_cost": 0.000012,
        "upstream_inference_completions_cost": 0.000006,
    }
    assert body["choices"][0]["native_finish_reason"] == "stop"


async def test_openrouters_dialect_streams_the_same(tmp_path: Path, has_lane: bool) -> None:
    async with running(tmp_path, answering(STREAM), has_lane=has_lane) as gateway:
        reply = (await ask(gateway, STREAMED, times=2, path=OPENROUTER))[-1]
    events = reply.events()
    assert {event["provider"] for event in events} == {"OpenAI"}
    assert events[-1]["usage"]["cost"] == 0.000018
    assert events[-1]["usage"]["cost_details"]["upstream_inference_prompt_cost"] == 0.000012


async def test_an_error_of_the_provider_is_told_as_openrouter_does(tmp_path: Path) -> None:
    refusal = http(400, orjson.dumps({"error": {"message": "too long", "code": "context_length_exceeded"}}))
    async with running(tmp_path, answering(refusal), has_lane=False) as gateway:
        (reply,) = await ask(gateway, ASKED, path=OPENROUTER)
    error = reply.json()["error"]
    assert error["code"] == 400
    assert error["metadata"]["provider_name"] == "OpenAI"
    assert error["metadata"]["provider_code"] == "context_length_exceeded"
    assert "too long" in error["metadata"]["raw"]
    assert [one["status"] for one in error["metadata"]["attempts"]] == [400]


@pytest.mark.parametrize("body", [ASKED, STREAMED], ids=["whole", "stream"])
async def test_openrouters_metadata_comes_when_asked_for(tmp_path: Path, has_lane: bool, body: dict[str, Any]) -> None:
    script = answering(STREAM if body is STREAMED else WHOLE)
    async with running(tmp_path, script, has_lane=has_lane) as gateway:
        reply = (await ask(gateway, body, times=2, extra="X-OpenRouter-Metadata: enabled\r\n"))[-1]
    told = (reply.events()[-1] if body is STREAMED else reply.json())["openrouter_metadata"]
    assert told["requested"] == "gpt-4o-mini"
    assert told["strategy"] == "direct"
    assert told["attempts"] == [{"model": "openai/gpt-4o-mini", "provider": "OpenAI", "status": 200}]
    assert told["endpoints"]["available"][0]["selected"] is True


@pytest.mark.parametrize("body", [ASKED, STREAMED], ids=["whole", "stream"])
async def test_the_receipt_in_the_answer_is_as_long_as_asked_for(
    tmp_path: Path, has_lane: bool, body: dict[str, Any]
) -> None:
    script = answering(STREAM if body is STREAMED else WHOLE)
    told: dict[str, Any] = {}
    async with running(tmp_path, script, has_lane=has_lane) as gateway:
        for level in ("none", "summary", "full"):
            reply = (await ask(gateway, body, times=2, extra=f"X-KairosRoute-Explain: {level}\r\n"))[-1]
            told[level] = reply.events()[-1] if body is STREAMED else reply.json()
            assert told[level]["usage"]["cost"] == 0.000018
    assert "x_kairosroute" not in told["none"]
    assert "receipt" not in told["summary"]["x_kairosroute"]
    receipt = told["full"]["x_kairosroute"]["receipt"]
    assert receipt["attempts"][0]["provider"] == "openai"
    assert receipt["candidates"][0]["model"] == "openai/gpt-4o-mini"
    assert receipt["prices"]["input_nanousd_per_mtok"] == 150_000_000


async def test_a_dry_run_says_where_a_call_would_go_and_costs_nothing(tmp_path: Path, has_lane: bool) -> None:
    body = {**ASKED, "transforms": ["middle-out"], "kairosroute": {"dry_run": True, "quality_bar": 0.5}}
    async with running(tmp_path, answering(WHOLE), has_lane=has_lane) as gateway:
        (reply,) = await ask(gateway, body)
        records = gateway.records()
    told = reply.json()
    assert told["object"] == "routing.dry_run"
    assert told["chosen"]["model"] == "openai/gpt-4o-mini"
    assert told["preferences"] == {"quality_bar": 0.5, "is_dry_run": True}
    assert sorted(told["not_applied"]) == [
        "quality_bar: models have no estimated quality here yet",
        "transforms[middle-out]",
    ]
    assert (told["cost_usd"], told["billed_usd"]) == (0, 0)
    assert gateway.provider_hits == []
    assert records == []


async def test_a_dry_run_of_a_model_that_is_not_there_fails_as_the_call_would(tmp_path: Path) -> None:
    async with running(tmp_path, answering(WHOLE), has_lane=False) as gateway:
        (reply,) = await ask(gateway, {**ASKED, "model": "gtp-4o", "kairosroute": {"dry_run": True}})
    assert (reply.status, reply.json()["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_mock_answer_is_given_to_a_test_key(tmp_path: Path, is_stream: bool) -> None:
    body = {**ASKED, "mock_response": "It is a mock.", "stream": is_stream}
    async with running(tmp_path, answering(WHOLE), has_lane=True, key=make_key(is_test=True)) as gateway:
        (reply,) = await ask(gateway, body)
    assert gateway.provider_hits == []
    if is_stream:
        text = "".join(
            event["choices"][0]["delta"].get("content") or "" for event in reply.events() if event["choices"]
        )
    else:
        text = reply.json()["choices"][0]["message"]["content"]
    assert text == "It is a mock."


async def test_a_call_that_forbids_it_leaves_no_content(tmp_path: Path) -> None:
    async with running(tmp_path, answering(WHOLE), has_lane=True, key=make_key(stores_content=True)) as gateway:
        await ask(gateway, ASKED)
        await ask(gateway, ASKED, extra="Helicone-Omit-Response: true\r\n")
        gateway.state.recorder._writer.seal()
    segments = [read_segment(path.read_bytes()) for path in sorted(gateway.directory.glob("*.sealed"))]
    assert sum(len(segment.lines("R")) for segment in segments) == 2
    assert sum(len(segment.lines("C")) for segment in segments) == 1


async def test_a_providers_key_beside_ours_never_reaches_an_answer_or_a_record(tmp_path: Path) -> None:
    secret = "sk-proj-canary-0123456789abcdef"
    extra = f"Helicone-Auth: Bearer {KEY}\r\n"
    async with running(tmp_path, answering(WHOLE), has_lane=True) as gateway:
        (reply,) = await ask(gateway, ASKED, key=secret, extra=extra)
        records = gateway.records()
    assert reply.status == 200
    assert secret not in repr(reply)
    assert secret not in repr(records)


async def test_what_is_not_applied_stands_in_the_receipt(tmp_path: Path, has_lane: bool) -> None:
    async with running(tmp_path, answering(WHOLE), has_lane=has_lane) as gateway:
        await ask(gateway, ASKED, times=2, extra="Helicone-RateLimit-Policy: 10;w=1000\r\nx-portkey-novel: 1\r\n")
        record = gateway.records()[-1]
    assert set(orjson.loads(record.receipt)["not_applied"]) == {"Helicone-RateLimit-Policy", "x-portkey-novel"}


async def test_a_trace_context_reaches_the_record(tmp_path: Path, has_lane: bool) -> None:
    extra = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\nx-stainless-retry-count: 2\r\n"
    async with running(tmp_path, answering(WHOLE), has_lane=has_lane) as gateway:
        await ask(gateway, ASKED, times=2, extra=extra)
        record = gateway.records()[-1]
    assert (record.trace_id, record.client_retry_count) == ("4bf92f3577b34da6a3ce929d0e0e4736", 2)


@pytest.mark.parametrize("body", [ASKED, STREAMED], ids=["whole", "stream"])
async def test_a_call_on_the_clients_own_key_costs_nothing_here_and_says_what_it_cost_there(
    tmp_path: Path, body: dict[str, Any]
) -> None:
    extra = f"Helicone-Auth: Bearer {KEY}\r\n"
    script = answering(STREAM if body is STREAMED else WHOLE)
    told: dict[str, Any] = {}
    for path in ("/v1/chat/completions", OPENROUTER):
        async with running(tmp_path / path.replace("/", "_"), script, has_lane=True) as gateway:
            (reply,) = await ask(gateway, body, key="sk-proj-0123456789abcdef", extra=extra, path=path)
        told[path] = (reply.events()[-1] if body is STREAMED else reply.json())["usage"]
    assert (told["/v1/chat/completions"]["cost"], told["/v1/chat/completions"]["is_byok"]) == (0.000018, True)
    assert (told[OPENROUTER]["cost"], told[OPENROUTER]["is_byok"]) == (0, True)
    assert told[OPENROUTER]["cost_details"]["upstream_inference_cost"] == 0.000018


@pytest.mark.parametrize("path", ["/v1/chat/completions", OPENROUTER])
async def test_a_call_over_its_cost_limit_is_refused_so_that_every_client_can_tell(tmp_path: Path, path: str) -> None:
    body = {**ASKED, "kairosroute": {"max_cost_usd": 0}}
    async with running(tmp_path, answering(WHOLE), has_lane=True) as gateway:
        (reply,) = await ask(gateway, body, path=path)
    error = reply.json()["error"]
    assert (reply.status, error["code"]) == (402, "COST_LIMIT_EXCEEDED")
    assert error["message"].startswith("COST_LIMIT_EXCEEDED: ")
    assert gateway.provider_hits == []
