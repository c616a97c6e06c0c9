"""Reading Responses bodies: what they become canonically, and what is refused with what to do instead."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import errors
from gateway.context import ChatCall
from gateway.dialects import reasoning_state
from gateway.dialects.responses import body, tools

HI = {"role": "user", "content": "hi"}


def parse(given: dict[str, Any]) -> ChatCall:
    return body.parse(orjson.dumps({"model": "m", "input": "hi", **given}), {}, is_test=False)


def messages(*items: dict[str, Any]) -> list[dict[str, Any]]:
    return list(parse({"input": list(items)}).body["messages"])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {}),
        ({"instructions": "S"}, {"messages": [{"role": "system", "content": "S"}, HI]}),
        ({"max_output_tokens": 9}, {"max_completion_tokens": 9}),
        ({"temperature": 0.5, "top_p": 1, "user": "u"}, {"temperature": 0.5, "top_p": 1, "user": "u"}),
        ({"reasoning": {"effort": "low", "summary": "auto"}}, {"reasoning_effort": "low"}),
        ({"text": {"format": {"type": "text"}, "verbosity": "low"}}, {"verbosity": "low"}),
        ({"text": {"format": {"type": "json_object"}}}, {"response_format": {"type": "json_object"}}),
        (
            {"text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}}},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True},
                }
            },
        ),
        ({"stream": True, "stream_options": {"include_obfuscation": False}}, {"stream": True}),
        ({"store": False, "include": ["reasoning.encrypted_content"], "truncation": "disabled"}, {}),
        ({"prompt_cache_key": "k", "safety_identifier": "s"}, {"prompt_cache_key": "k", "safety_identifier": "s"}),
    ],
)
def test_a_field_becomes_its_canonical_one(given: dict[str, Any], expected: dict[str, Any]) -> None:
    call = parse(given)
    assert dict(call.body) == {"model": "m", "messages": [HI], **expected}
    assert call.not_applied == ()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"store": True}, "store"),
        ({"truncation": "auto"}, "truncation"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"include": ["message.output_text.logprobs"]}, "include.message.output_text.logprobs"),
        ({"max_tool_calls": 3}, "max_tool_calls"),
        ({"tools": [{"type": "function", "name": "f"}, {"type": "web_search"}]}, "tools[1] (web_search)"),
        ({"input": [HI, {"type": "web_search_call", "id": "w"}]}, "input[1] (web_search_call)"),
        (
            {"input": [HI, {"type": "reasoning", "summary": [], "encrypted_content": "gAAA"}]},
            "input[1].encrypted_content",
        ),
    ],
)
def test_what_is_not_applied_is_named(given: dict[str, Any], named: str) -> None:
    assert named in parse(given).not_applied


@pytest.mark.parametrize(
    ("given", "param", "code"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id", "not_stored"),
        ({"conversation": "c"}, "conversation", "not_stored"),
        ({"prompt": {"id": "p"}}, "prompt", "not_stored"),
        ({"background": True}, "background", "unsupported_parameter"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0]", "not_stored"),
        ({"input": None}, "input", "invalid_type"),
        ({"input": []}, "messages", "missing_messages"),
        ({"input": [{"role": "tool", "content": ""}]}, "input[0].role", "invalid_type"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
            "input[0].content[0].file_id",
            "not_stored",
        ),
        ({"input": [{"role": "user", "content": [{"type": "odd"}]}]}, "input[0].content[0]", "invalid_type"),
        ({"tools": [{"type": "function"}]}, "tools[0].name", "invalid_type"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type", "invalid_type"),
        ({"model": None}, "model", "missing_model"),
    ],
)
def test_what_cannot_be_served_is_refused_with_its_field(given: dict[str, Any], param: str, code: str) -> None:
    with pytest.raises(errors.InvalidRequest) as caught:
        parse(given)
    assert (caught.value.param, caught.value.code) == (param, code)


@pytest.mark.parametrize("kind", ["file_search", "computer_use_preview", "code_interpreter", "mcp", "local_shell"])
def test_a_tool_that_openai_runs_bars_every_chat_model(kind: str) -> None:
    native = parse({"tools": [{"type": kind}, {"type": "function", "name": "f"}]}).native
    assert native is not None
    assert native.needs == (f"tools[0] ({kind})",)
    alone = parse({"tools": [{"type": "web_search"}]}).native
    assert alone is not None
    assert alone.needs == ("tools[0] (web_search)",)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", "auto"),
        ("required", "required"),
        ({"type": "function", "name": "f"}, {"type": "function", "function": {"name": "f"}}),
        (
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]},
            },
        ),
    ],
)
def test_the_choice_of_tools_is_said_the_other_way(choice: Any, expected: Any) -> None:
    call = parse({"tools": [{"type": "function", "name": "f"}], "tool_choice": choice, "parallel_tool_calls": False})
    assert call.body["tool_choice"] == expected
    assert call.body["parallel_tool_calls"] is False


def test_items_that_follow_each_other_are_one_assistants_message() -> None:
    details = [{"type": "reasoning.text", "text": "hm", "signature": "s", "index": 0}]
    picture = {"type": "input_image", "image_url": "https://x/y.png", "detail": "low"}
    found = messages(
        {"role": "user", "content": [{"type": "input_text", "text": "hi"}, picture]},
        {
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": "hm"}],
            "encrypted_content": reasoning_state.pack(details),
        },
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I look."}]},
        {"type": "function_call", "call_id": "a", "name": "look", "arguments": "{}"},
        {"type": "function_call", "call_id": "b", "name": "look", "arguments": ""},
        {"type": "function_call_output", "call_id": "a", "output": [{"type": "input_text", "text": "x"}, picture]},
        {"type": "function_call_output", "call_id": "b", "output": "y"},
        {"role": "user", "content": "and?"},
    )
    shown = {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}}
    look = {"name": "look", "arguments": "{}"}
    assert found == [
        {"role": "user", "content": [{"type": "text", "text": "hi"}, shown]},
        {
            "role": "assistant",
            "content": "I look.",
            "reasoning_content": "hm",
            "reasoning_details": details,
            "tool_calls": [
                {"id": "a", "type": "function", "function": look},
                {"id": "b", "type": "function", "function": look},
            ],
        },
        {"role": "tool", "tool_call_id": "a", "content": "x"},
        {"role": "tool", "tool_call_id": "b", "content": "y"},
        {"role": "user", "content": [shown]},
        {"role": "user", "content": "and?"},
    ]


def test_files_are_carried_and_a_lone_text_is_plain() -> None:
    (message,) = messages(
        {
            "role": "user",
            "content": [{"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA"}],
        }
    )
    assert message["content"] == [
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA"}}
    ]
    assert messages({"role": "developer", "content": [{"type": "input_text", "text": "S"}]}) == [
        {"role": "developer", "content": "S"}
    ]


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cs"])))
def test_a_custom_tools_text_survives_as_arguments(text: str) -> None:
    assert tools.custom_input(tools.custom_arguments(text)) == text


@given(st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=5) | st.integers(-9, 9), max_size=3), max_size=3))
def test_reasoning_survives_in_a_clients_hands(details: list[dict[str, Any]]) -> None:
    assert reasoning_state.unpack(reasoning_state.pack(details)) == details


@pytest.mark.parametrize("damaged", ["kr1.", "kr1.%%%", "kr1.e30=", "kr1.W10", "kr1.\u00e9"])
def test_damaged_reasoning_is_left_out(damaged: str) -> None:
    assert reasoning_state.unpack(damaged) == []
