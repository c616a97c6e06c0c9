"""Bodies with one part replaced by anything: read, or refused by name; never an error of ours."""

from __future__ import annotations

import copy
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import errors
from gateway.dialects.anthropic import ANTHROPIC, counting
from gateway.dialects.completions import COMPLETIONS
from gateway.dialects.protocol import Dialect, Facts
from gateway.dialects.responses import RESPONSES, answer
from gateway.providers.anthropic_messages import ADAPTER as TO_ANTHROPIC
from gateway.providers.gemini import ADAPTER as TO_GEMINI
from gateway.providers.openai_chat import ADAPTER as TO_OPENAI
from tests.fixtures.providers import endpoint

_TEXT = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}
MESSAGES: dict[str, Any] = {
    "model": "m",
    "max_tokens": 9,
    "system": [_TEXT],
    "metadata": {"user_id": "u"},
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}},
    "tools": [{"name": "look", "description": "d", "input_schema": {"type": "object"}}],
    "tool_choice": {"type": "tool", "name": "look"},
    "stop_sequences": ["x"],
    "service_tier": "auto",
    "messages": [
        {
            "role": "user",
            "content": [
                _TEXT,
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}},
                {
                    "type": "document",
                    "title": "t",
                    "citations": {"enabled": True},
                    "source": {"type": "content", "content": [_TEXT]},
                },
                {"type": "search_result", "title": "t", "source": "s", "content": [_TEXT]},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "t", "signature": ""},
                {"type": "redacted_thinking", "data": "kr1.W10="},
                {"type": "tool_use", "id": "a", "name": "look", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "a", "content": [_TEXT], "is_error": True}],
        },
    ],
}
_IMAGE = {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"}
RESPONSE: dict[str, Any] = {
    "model": "m",
    "instructions": "S",
    "metadata": {"a": "b"},
    "include": ["reasoning.encrypted_content"],
    "reasoning": {"effort": "low", "summary": "auto"},
    "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}, "verbosity": "low"},
    "tools": [
        {"type": "function", "name": "look", "parameters": {"type": "object"}},
        {"type": "custom", "name": "patch", "format": {"type": "grammar", "syntax": "lark", "definition": "x"}},
        {"type": "web_search"},
    ],
    "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "look"}]},
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "x"}, _IMAGE]},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "t"}], "encrypted_content": "kr1.W10="},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "x"}]},
        {"type": "function_call", "call_id": "a", "name": "look", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "b", "name": "patch", "input": "x"},
        {"type": "function_call_output", "call_id": "a", "output": [{"type": "input_text", "text": "x"}, _IMAGE]},
        {"type": "custom_tool_call_output", "call_id": "b", "output": "x"},
        {"role": "user", "content": [{"type": "input_file", "filename": "f", "file_data": "data:a/b;base64,AA=="}]},
    ],
}
PROMPT: dict[str, Any] = {"model": "m", "prompt": ["x"], "logprobs": 1, "n": 1, "stop": ["x"], "metadata": {"a": "b"}}

_plain = st.none() | st.booleans() | st.integers(-2, 2) | st.just(0.5) | st.text(max_size=4)
_names = st.sampled_from(["type", "text", "a"])
_anything = st.recursive(
    _plain, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_names, inner, max_size=2), max_leaves=4
)
ENDPOINTS = (
    (TO_ANTHROPIC, endpoint("anthropic_messages", provider="anthropic", upstream_model="claude-haiku-4-5")),
    (TO_GEMINI, endpoint("gemini", provider="google", upstream_model="gemini-2.5-flash")),
    (TO_OPENAI, endpoint("openai_chat", provider="openai", upstream_model="gpt-4o-mini")),
    (TO_OPENAI, endpoint("openai_chat", provider="mistralai", upstream_model="m")),
)
FACTS = Facts(answer_id="gen_1", request_id="req_1", created=1, model="m", provider="p")


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return found + [deeper for name, child in children for deeper in _paths(child, (*path, name))]


@pytest.mark.parametrize(
    ("dialect", "body"),
    [(ANTHROPIC, MESSAGES), (RESPONSES, RESPONSE), (COMPLETIONS, PROMPT)],
    ids=["messages", "responses", "completions"],
)
@settings(max_examples=150)
@given(data=st.data())
def test_a_body_with_a_strange_part_is_read_or_refused(
    dialect: Dialect, body: dict[str, Any], data: st.DataObject
) -> None:
    mutated = copy.deepcopy(body)
    path = data.draw(st.sampled_from(_paths(body)))
    place = mutated
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = data.draw(_anything)
    with suppress(errors.InvalidRequest):
        call = dialect.parse(orjson.dumps(mutated), {}, is_test=True)
        counting.estimate(call.body)
        if dialect is RESPONSES:
            answer.frame(call, FACTS, status="completed")
        dialect.writer(call, FACTS).end(None, FACTS)
        for adapter, where in ENDPOINTS:
            adapter.request(call.body, call.raw, endpoint=where, is_stream=False, native=call.native)
