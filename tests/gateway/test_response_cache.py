"""The response cache: asked for call by call, kept apart, free of charge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.dialects.openai import OPENAI
from gateway.response_cache import name_of
from tests.factories.calls import make_key
from tests.gateway.rig import (
    ANSWER,
    ASKED,
    STREAMED,
    WHOLE_STREAM,
    answering,
    ask,
    chunk,
    chunked,
    http,
    running,
)

CACHED = "X-OpenRouter-Cache: true\r\n"
GOOD = http(200, orjson.dumps(ANSWER))


async def test_the_second_answer_costs_nothing_and_names_the_first(tmp_path: Path, has_lane: bool) -> None:
    async with running(tmp_path, answering(GOOD, http(500, b"{}")), has_lane=has_lane) as gateway:
        (first,) = await ask(gateway, ASKED, extra=CACHED)
        (second,) = await ask(gateway, ASKED, extra=CACHED)
        records = gateway.records()
    assert (first.headers["x-kairosroute-cache"], second.headers["x-kairosroute-cache"]) == ("miss", "hit")
    assert second.json()["choices"] == first.json()["choices"]
    assert second.json()["usage"]["cost"] == second.json()["x_kairosroute"]["billed_usd"] == 0.0
    assert second.json()["usage"]["total_tokens"] == 0
    assert second.json()["x_kairosroute"]["response_cache"] == "hit"
    miss, hit = records
    assert (miss.response_cache, miss.billed_nanousd) == ("miss", 18_000)
    assert (hit.response_cache, hit.billed_nanousd, hit.input_tokens, hit.attempts) == ("hit", 0, 0, 0)
    assert (hit.model, hit.provider, hit.finish_reason) == (miss.model, miss.provider, "stop")
    assert orjson.loads(hit.receipt)["cache"] == {"from": miss.request_id, "avoided_usd": 0.000018}
    assert second.headers["x-request-id"] == hit.request_id


async def test_a_stream_is_replayed_under_its_new_id(tmp_path: Path, has_lane: bool) -> None:
    async with running(tmp_path, answering(chunked(*WHOLE_STREAM), http(500, b"{}")), has_lane=has_lane) as gateway:
        (first,) = await ask(gateway, STREAMED, extra=CACHED)
        (second,) = await ask(gateway, STREAMED, extra=CACHED)
        records = gateway.records()
    said = ["".join(e["choices"][0]["delta"].get("content") or "" for e in r.events()[:-1]) for r in (first, second)]
    assert said == ["Hello.", "Hello."]
    assert len({event["id"] for event in second.events()}) == 1
    assert second.events()[0]["id"] == second.headers["x-generation-id"] != first.headers["x-generation-id"]
    assert second.events()[-1]["usage"]["cost"] == 0.0
    assert [record.billed_nanousd for record in records] == [18_000, 0]


async def test_without_being_asked_nothing_is_kept(tmp_path: Path) -> None:
    async with running(tmp_path, answering(GOOD), has_lane=True) as gateway:
        (reply,) = await ask(gateway, ASKED)
        (asking,) = await ask(gateway, ASKED, extra=CACHED)
        (plain,) = await ask(gateway, ASKED)
    assert "x-kairosroute-cache" not in reply.headers
    assert asking.headers["x-kairosroute-cache"] == "miss"
    assert "x-kairosroute-cache" not in plain.headers


@pytest.mark.parametrize(
    "answer",
    [
        chunked(chunk({"role": "assistant", "content": "Hel"})),
        chunked(chunk({"role": "assistant", "content": "Hel"}), chunk({}, "content_filter"), b"data: [DONE]\n\n"),
    ],
    ids=["cut", "filtered"],
)
async def test_an_answer_that_did_not_end_well_is_not_kept(tmp_path: Path, answer: bytes) -> None:
    async with running(tmp_path, answering(answer), has_lane=True) as gateway:
        replies = [(await ask(gateway, STREAMED, extra=CACHED))[0] for _ in range(2)]
    assert [reply.headers["x-kairosroute-cache"] for reply in replies] == ["miss", "miss"]


def name(body: dict[str, Any] | None = None, headers: dict[bytes, bytes] | None = None, **key: Any) -> bytes:
    asked = {**ASKED, **(body or {})}
    call = OPENAI.parse(orjson.dumps(asked), {b"x-openrouter-cache": b"true", **(headers or {})}, is_test=False)
    return name_of(call, make_key(**key))


@pytest.mark.parametrize(
    "other",
    [
        name({"temperature": 0.5}),
        name({"model": "gpt-4.1"}),
        name({"messages": [{"role": "user", "content": "hi!"}]}),
        name({"stream": True}),
        name({"provider": {"only": ["azure"]}}),
        name(workspace_id="ws_2"),
        name(is_test=True),
    ],
)
def test_what_may_change_the_answer_is_kept_apart(other: bytes) -> None:
    assert other != name()


def test_what_cannot_change_the_answer_is_one_question() -> None:
    assert name() == name({"user": "ann", "metadata": {"a": "b"}})
    assert name() == name(headers={b"x-openrouter-cache-ttl": b"60"})
    reordered = dict(reversed([*ASKED.items(), ("temperature", 1)]))
    assert name_of(
        OPENAI.parse(orjson.dumps(reordered), {b"x-openrouter-cache": b"true"}, is_test=False), make_key()
    ) == name({"temperature": 1})
