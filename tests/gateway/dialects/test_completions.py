"""Legacy completions: one prompt in, a text completion out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from openai import AsyncOpenAI

from gateway import errors
from gateway.dialects.completions import COMPLETIONS, OPENROUTER_COMPLETIONS
from tests.gateway.rig import ANSWER, KEY, WHOLE_STREAM, answering, ask, chunked, http, running

BASE: dict[str, Any] = {"model": "gpt-4o-mini", "prompt": "Say hi"}


def test_a_prompt_becomes_a_users_message() -> None:
    for prompt in ("Say hi", ["Say hi"]):
        call = COMPLETIONS.parse(
            orjson.dumps({**BASE, "prompt": prompt, "max_tokens": 5, "logprobs": 2, "echo": False}), {}, is_test=False
        )
        assert dict(call.body) == {
            "model": "gpt-4o-mini",
            "messages": [{"role": "user", "content": "Say hi"}],
            "max_tokens": 5,
        }
        assert (call.operation, call.dialect, call.not_applied) == ("text_completion", "completions", ("logprobs",))


@pytest.mark.parametrize(
    ("field", "param"),
    [
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": [1, 2]}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"suffix": "x"}, "suffix"),
        ({"echo": True}, "echo"),
        ({"best_of": 2}, "best_of"),
        ({"model": None}, "model"),
    ],
)
def test_what_a_chat_model_cannot_do_is_refused(field: dict[str, Any], param: str) -> None:
    with pytest.raises(errors.InvalidRequest) as caught:
        COMPLETIONS.parse(orjson.dumps({**BASE, **field}), {}, is_test=False)
    assert caught.value.param == param


def test_errors_are_told_as_on_the_paths_beside_it() -> None:
    error = errors.RateLimited("slow")
    assert orjson.loads(COMPLETIONS.error(error, "req_1"))["error"]["code"] == "rate_limit_exceeded"
    assert orjson.loads(OPENROUTER_COMPLETIONS.error(error, "req_1"))["error"]["code"] == 429


async def test_the_sdk_gets_a_text_completion_with_its_cost(tmp_path: Path) -> None:
    async with running(tmp_path, answering(http(200, orjson.dumps(ANSWER))), has_lane=True) as gateway:
        async with AsyncOpenAI(base_url=f"http://127.0.0.1:{gateway.port}/v1", api_key=KEY, max_retries=0) as client:
            answer = await client.completions.create(**BASE)
        (record,) = gateway.records()
    assert (answer.object, answer.choices[0].text, answer.choices[0].finish_reason) == (
        "text_completion",
        "Hello.",
        "stop",
    )
    assert answer.usage is not None
    assert answer.usage.cost == 0.000018  # type: ignore[attr-defined]
    assert (record.operation, record.dialect, record.provider_cost_nanousd) == (
        "text_completion",
        "completions",
        18_000,
    )


@pytest.mark.parametrize(
    ("pieces", "error", "cost_nanousd"),
    [(WHOLE_STREAM, "", 18_000), (WHOLE_STREAM[:3], "UpstreamCut", 21 * 150 + 2 * 600)],
    ids=["whole", "cut"],
)
async def test_a_stream_of_text_ends_honestly(
    tmp_path: Path, pieces: tuple[bytes, ...], error: str, cost_nanousd: int
) -> None:
    async with running(tmp_path, answering(chunked(*pieces)), has_lane=True) as gateway:
        (reply,) = await ask(gateway, {**BASE, "stream": True}, path="/api/v1/completions")
        (record,) = gateway.records()
    events = reply.events()
    assert "".join(choice["text"] for event in events for choice in event["choices"]) == "Hello."
    assert all(event["object"] == "text_completion" for event in events)
    assert any("error" in event for event in events) == bool(error)
    assert events[-1]["x_kairosroute"]["price_state"] == ("estimated" if error else "priced")
    assert (record.error_class, record.provider_cost_nanousd) == (error, cost_nanousd)
