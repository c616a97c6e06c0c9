"""Every provider has its recorded shapes, and what each said can be sent back to it.

How the shapes are read stands in test_streams.py and test_completions.py; here is the table, and the way back.
"""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.providers import quirks
from gateway.providers.protocol import Endpoint
from gateway.providers.registry import ADAPTERS
from tests.fixtures.providers import GENERIC, PROVIDERS, Case, cases
from tests.gateway.providers import answers

CASES = (
    *("normal", "tools", "parallel_tools", "tool_without_arguments", "thinking", "refusal"),
    *("cut", "stall", "error_event", "garbage_line", "usage_on_a_choice", "usage_missing"),
)
# Their usage has one place, which is not OpenAI's chunk.
_HAS_NO_SUCH_CASE = {("anthropic", "usage_on_a_choice"), ("google", "usage_on_a_choice")}
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}
    for name in ("get_weather", "list_cities", "get_time", "f", "g")
]


def _recorded(name: str) -> list[Any]:
    found = [case for case in cases("stream") if case.name == name]
    return [pytest.param(case, id=str(case)) for case in found]


def test_every_provider_has_every_case() -> None:
    known = {row.provider for row in quirks.TABLE} - {quirks.SIMULATOR.provider}
    speaking = {name for name in known if name not in _without_chat()}
    assert {*PROVIDERS} == speaking | {*GENERIC}
    there = {(case.endpoint.provider, case.name) for case in cases("stream")}
    wanted = {(provider, name) for provider in PROVIDERS for name in CASES} - _HAS_NO_SUCH_CASE
    assert sorted(wanted - there) == []


def test_every_answer_that_ends_is_recorded_whole_too() -> None:
    whole = {(case.endpoint.provider, case.name) for case in cases("body")}
    names = ("normal", "tools", "tool_without_arguments", "usage_missing")
    assert sorted({(provider, name) for provider in PROVIDERS for name in names} - whole) == []


def _asked(message: dict[str, Any]) -> dict[str, Any]:
    results = [
        {"role": "tool", "tool_call_id": call["id"], "content": "21 degrees"} for call in message.get("tool_calls", ())
    ]
    question = {"role": "user", "content": "What is the weather?"}
    follow_up = [] if results else [{"role": "user", "content": "And why?"}]
    return {"model": "m", "messages": [question, message, *results, *follow_up], "tools": TOOLS, "max_tokens": 50}


def _sent(body: dict[str, Any], endpoint: Endpoint, *, is_stream: bool) -> Any:
    raw = orjson.dumps(body | ({"stream": True} if is_stream else {}))
    return orjson.loads(ADAPTERS[endpoint.protocol].request(body, raw, endpoint=endpoint, is_stream=is_stream).body)


def _streamed_message(case: Case) -> dict[str, Any]:
    """Return the message that a client puts together from a stream, reasoning details included."""
    chunks = answers.read(answers.reader_of(case), [case.stream])
    said = answers.said(chunks)
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    message: dict[str, Any] = {"role": "assistant", "content": said["content"] or None}
    if said["reasoning"]:
        message["reasoning_content"] = message["reasoning"] = said["reasoning"]
    details = [detail for delta in deltas for detail in delta.get("reasoning_details", ())]
    if details:
        message["reasoning_details"] = _joined(details)
    if said["tool_calls"]:
        message["tool_calls"] = [
            {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
            for call_id, name, arguments in said["tool_calls"]
        ]
    return message


def _joined(details: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put the pieces of reasoning details together as OpenRouter's clients do: by index, texts one after another."""
    made: dict[Any, dict[str, Any]] = {}
    for detail in details:
        known = made.setdefault(detail.get("index"), {})
        for name, value in detail.items():
            known[name] = known.get(name, "") + value if name in ("text", "summary", "data") else value
    return list(made.values())


def _messages(case: Case) -> list[dict[str, Any]]:
    found = [_streamed_message(case)]
    if case.body:
        whole = ADAPTERS[case.protocol].completion(case.body, endpoint=case.endpoint)
        found.append({"role": "assistant", **whole.message})
    return found


def _texts(value: Any) -> list[str]:
    """Return all strings of a decoded body, and the JSON in them once more decoded."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for name, part in value.items() for text in (name, *_texts(part))]
    return [text for part in value for text in _texts(part)] if isinstance(value, list) else []


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(
    "case", [*_recorded("tools"), *_recorded("parallel_tools"), *_recorded("tool_without_arguments")]
)
def test_tool_calls_go_back_as_they_came(case: Case, is_stream: bool) -> None:
    for message in _messages(case):
        body = _sent(_asked(message), case.endpoint, is_stream=is_stream)
        calls = case.expected["tool_calls"]
        if case.protocol == quirks.OPENAI_CHAT:
            (sent,) = [one["tool_calls"] for one in body["messages"] if one["role"] == "assistant"]
            assert [[c["id"], c["function"]["name"], c["function"]["arguments"]] for c in sent] == calls
            assert [one["tool_call_id"] for one in body["messages"] if one["role"] == "tool"] == [c[0] for c in calls]
        elif case.protocol == quirks.ANTHROPIC_MESSAGES:
            blocks = [block for turn in body["messages"] for block in turn["content"]]
            sent = [block for block in blocks if block["type"] == "tool_use"]
            assert [[c["id"], c["name"], c["input"]] for c in sent] == [[i, n, orjson.loads(a)] for i, n, a in calls]
            assert [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"] == [c[0] for c in calls]
        else:
            parts = [part for content in body["contents"] for part in content["parts"]]
            sent = [part["functionCall"] for part in parts if "functionCall" in part]
            assert [[c["name"], c.get("args", {})] for c in sent] == [[n, orjson.loads(a)] for _, n, a in calls]
            assert len([part for part in parts if "functionResponse" in part]) == len(calls)
        assert bool(body.get("stream")) is (is_stream and case.protocol != quirks.GEMINI)


@pytest.mark.parametrize("case", _recorded("thinking"))
def test_reasoning_goes_back_where_the_provider_takes_it_and_nowhere_else(case: Case) -> None:
    row = quirks.of(case.endpoint.provider)
    for message in _messages(case):
        body = _sent(_asked(message), case.endpoint, is_stream=False)
        if case.protocol == quirks.OPENAI_CHAT:
            (sent,) = [one for one in body["messages"] if one["role"] == "assistant"]
            replayed = {name: sent[name] for name in ("reasoning", "reasoning_content") if name in sent}
            takes = bool(row.replayed_reasoning_field and case.expected["reasoning"])
            assert replayed == ({row.replayed_reasoning_field: case.expected["reasoning"]} if takes else {})
        assert all(signature in _texts(body) for signature in case.expected["signatures"])


def _without_chat() -> set[str]:
    """Providers that embed and do not chat."""
    return {"voyage"}
