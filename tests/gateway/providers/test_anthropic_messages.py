"""A canonical request becomes what Anthropic's own types describe, and says all that can be said there."""

from __future__ import annotations

from typing import Any

import orjson
import pydantic
import pytest
from anthropic.types import MessageCreateParams

from gateway.errors import InvalidRequest
from gateway.providers.anthropic_messages import ADAPTER, models
from gateway.providers.anthropic_messages.request import ANSWER_TOOL
from gateway.providers.protocol import UpstreamRequest
from tests.fixtures.providers import API_KEY, cases, endpoint

MODERN, BUDGETED, OLD = "claude-sonnet-5-5", "claude-sonnet-4-6", "claude-3-5-haiku-20241022"
_USER = {"role": "user", "content": "Hi"}
_WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather",
        "strict": True,
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
_ROOMS = {"type": "function", "function": {"name": "list_rooms"}}
_params: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(MessageCreateParams)


def _request(body: dict[str, Any], *, model: str = MODERN, is_stream: bool = False) -> UpstreamRequest:
    to = endpoint("anthropic_messages", provider="anthropic", upstream_model=model)
    return ADAPTER.request(body, orjson.dumps(body), endpoint=to, is_stream=is_stream)


def _sent(body: dict[str, Any], *, model: str = MODERN, is_stream: bool = False) -> dict[str, Any]:
    body = {"messages": [_USER], **body}
    before = orjson.dumps(body)
    sent: dict[str, Any] = orjson.loads(_request(body, model=model, is_stream=is_stream).body)
    _params.validate_python(sent)
    assert orjson.dumps(body) == before, "the client's body is never changed"
    return sent


def _dropped(body: dict[str, Any], *, model: str = MODERN) -> tuple[str, ...]:
    return _request({"messages": [_USER], **body}, model=model).dropped_params


def test_the_way_in() -> None:
    request = _request({"messages": [_USER]}, is_stream=True)
    assert request.path == "/v1/messages"
    assert dict(request.headers) == {
        "content-type": "application/json",
        "anthropic-version": "2023-06-01",
        "x-api-key": API_KEY,
    }
    assert orjson.loads(request.body) == {
        "model": MODERN,
        "max_tokens": 16_384,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
        "stream": True,
    }


def test_system_messages_stand_apart_and_turns_alternate() -> None:
    messages = [
        {"role": "system", "content": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]},
        {"role": "user", "content": "One"},
        {"role": "user", "content": "Two"},
        {"role": "assistant", "content": "Three"},
        {"role": "developer", "content": "Now in French."},
        {"role": "user", "content": ""},
        {"role": "user", "content": "Four"},
    ]
    sent = _sent({"messages": messages})
    assert sent["system"] == [
        {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "Now in French."},
    ]
    assert [(turn["role"], [block["text"] for block in turn["content"]]) for turn in sent["messages"]] == [
        ("user", ["One", "Two"]),
        ("assistant", ["Three"]),
        ("user", ["Four"]),
    ]


def test_instructions_alone_are_the_request() -> None:
    sent = _sent({"messages": [{"role": "system", "content": "Say hi."}]})
    assert sent["messages"] == [{"role": "user", "content": [{"type": "text", "text": "Say hi."}]}]
    assert "system" not in sent


def test_a_tool_loop_goes_back_with_its_thinking() -> None:
    details = [
        {"type": "reasoning.text", "text": "Hm", "signature": "U0lHTg==", "format": "anthropic-claude-v1", "index": 0},
        {"type": "reasoning.encrypted", "data": "ENC==", "format": "anthropic-claude-v1", "index": 1},
        {"type": "reasoning.encrypted", "data": "OTHER", "format": "google-gemini-v1", "index": 2},
    ]
    calls = [
        {"id": "toolu_a", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Oslo"}'}},
        {"id": "toolu_b", "type": "function", "function": {"name": "list_rooms", "arguments": ""}},
    ]
    messages = [
        _USER,
        {
            "role": "assistant",
            "content": None,
            "reasoning_content": "Hm",
            "reasoning_details": details,
            "tool_calls": calls,
        },
        {"role": "tool", "tool_call_id": "toolu_a", "content": "4 °C"},
        {"role": "tool", "tool_call_id": "toolu_b", "content": [{"type": "text", "text": "none"}]},
        {"role": "user", "content": "And now?"},
    ]
    sent = _sent({"messages": messages, "tools": [_WEATHER, _ROOMS]})
    assert sent["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "Hm", "signature": "U0lHTg=="},
        {"type": "redacted_thinking", "data": "ENC=="},
        {"type": "tool_use", "id": "toolu_a", "name": "get_weather", "input": {"city": "Oslo"}},
        {"type": "tool_use", "id": "toolu_b", "name": "list_rooms", "input": {}},
    ]
    assert sent["messages"][2]["content"] == [
        {"type": "tool_result", "tool_use_id": "toolu_a", "content": "4 °C"},
        {"type": "tool_result", "tool_use_id": "toolu_b", "content": [{"type": "text", "text": "none"}]},
        {"type": "text", "text": "And now?"},
    ]
    assert len(sent["messages"]) == 3


def test_what_was_answered_with_thinking_can_be_sent_back_unchanged() -> None:
    case = next(case for case in cases("body") if str(case) == "anthropic-parallel_tools")
    message = ADAPTER.completion(case.body, endpoint=case.endpoint).body["choices"][0]["message"]
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "ok"} for call in message["tool_calls"]]
    sent = _sent({"messages": [_USER, message, *results], "tools": [_WEATHER]})
    assert sent["messages"][1]["content"] == orjson.loads(case.body)["content"]


def test_tools_keep_description_strictness_and_cache_marks() -> None:
    marked = {**_ROOMS, "cache_control": {"type": "ephemeral"}}
    assert _sent({"tools": [_WEATHER, marked]})["tools"] == [
        {
            "name": "get_weather",
            "description": "Weather",
            "strict": True,
            "input_schema": _WEATHER["function"]["parameters"],  # type: ignore[index]
        },
        {"name": "list_rooms", "input_schema": {"type": "object"}, "cache_control": {"type": "ephemeral"}},
    ]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", {"type": "auto"}),
        ("none", {"type": "none"}),
        ("required", {"type": "any"}),
        ({"type": "function", "function": {"name": "list_rooms"}}, {"type": "tool", "name": "list_rooms"}),
    ],
)
def test_every_form_of_tool_choice(choice: Any, expected: dict[str, Any]) -> None:
    assert _sent({"tools": [_WEATHER, _ROOMS], "tool_choice": choice})["tool_choice"] == expected


def test_allowed_tools_limit_the_tools() -> None:
    allowed = {"mode": "auto", "tools": [{"type": "function", "function": {"name": "list_rooms"}}]}
    sent = _sent({"tools": [_WEATHER, _ROOMS], "tool_choice": {"type": "allowed_tools", "allowed_tools": allowed}})
    assert [tool["name"] for tool in sent["tools"]] == ["list_rooms"]
    assert sent["tool_choice"] == {"type": "auto"}


def test_calls_one_at_a_time() -> None:
    sent = _sent({"tools": [_ROOMS], "parallel_tool_calls": False})
    assert sent["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}


def test_pictures_and_documents() -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0="}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.jpg", "detail": "low"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}},
        {"type": "text", "text": "What is this?"},
    ]
    assert _sent({"messages": [{"role": "user", "content": parts}]})["messages"][0]["content"] == [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0="}},
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.jpg"}},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}},
        {"type": "text", "text": "What is this?"},
    ]


_SCHEMA = {"type": "object", "properties": {"city": {"type": "object", "properties": {"name": {"type": "string"}}}}}
_FORMAT = {"type": "json_schema", "json_schema": {"name": "answer", "schema": _SCHEMA}}


def test_a_json_schema_uses_the_native_format() -> None:
    sent = _sent({"response_format": _FORMAT, "reasoning_effort": "high"})
    schema = sent["output_config"]["format"]["schema"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["city"]["additionalProperties"] is False
    assert sent["output_config"]["effort"] == "high"
    assert "tools" not in sent


def test_older_models_and_json_mode_answer_by_a_forced_tool() -> None:
    for body, model in (({"response_format": _FORMAT}, OLD), ({"response_format": {"type": "json_object"}}, MODERN)):
        sent = _sent(body, model=model)
        assert sent["tool_choice"] == {"type": "tool", "name": ANSWER_TOOL}
        assert [tool["name"] for tool in sent["tools"]] == [ANSWER_TOOL]
    assert _dropped({"response_format": {"type": "json_object"}, "tools": [_ROOMS]}) == ("response_format",)


def test_thinking_by_generation() -> None:
    modern = _sent({"reasoning_effort": "medium", "max_tokens": 500})
    assert modern["thinking"] == {"type": "adaptive", "display": "summarized"}
    assert modern["output_config"] == {"effort": "medium"}
    budgeted = _sent({"reasoning_effort": "medium"}, model=BUDGETED)
    assert budgeted["thinking"] == {"type": "enabled", "budget_tokens": 8192}
    assert budgeted["max_tokens"] == 16_384 + 8192
    tight = _sent({"reasoning": {"max_tokens": 4000}, "max_tokens": 3000}, model=BUDGETED)
    assert tight["thinking"]["budget_tokens"] == 1500
    assert "thinking" not in _sent({"reasoning_effort": "none"})


@pytest.mark.parametrize(
    ("body", "model"),
    [
        ({"reasoning_effort": "high", "max_tokens": 100}, BUDGETED),
        ({"reasoning_effort": "high", "tools": [_ROOMS], "tool_choice": "required"}, MODERN),
        (
            {
                "reasoning_effort": "high",
                "messages": [
                    _USER,
                    {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{}"}}]},
                    {"role": "tool", "tool_call_id": "a", "content": "1"},
                ],
            },
            BUDGETED,
        ),
    ],
    ids=["no room", "forced tool", "loop without its thinking"],
)
def test_thinking_that_would_be_refused_is_dropped_and_named(body: dict[str, Any], model: str) -> None:
    assert "thinking" not in _sent(body, model=model)
    assert _dropped(body, model=model) == ("reasoning_effort",)


def test_sampling_by_generation() -> None:
    body = {"temperature": 1.7, "top_p": 0.9}
    assert _dropped(body) == ("temperature", "top_p")
    assert "temperature" not in _sent(body)
    assert _sent(body, model=BUDGETED)["temperature"] == 1.0
    assert _dropped(body, model=BUDGETED) == ("top_p",)
    assert _sent(body, model=OLD)["top_p"] == 0.9


def test_everything_else_is_carried_or_named() -> None:
    body = {
        "stop": ["END", "  "],
        "user": "u1",
        "service_tier": "default",
        "seed": 7,
        "logit_bias": {"1": 1},
        "n": 1,
        "frequency_penalty": 0,
        "presence_penalty": 0.5,
        "kairosroute": {"agent": "x"},
        "brand_new": True,
    }
    sent = _sent(body)
    assert (sent["stop_sequences"], sent["metadata"], sent["service_tier"]) == (
        ["END"],
        {"user_id": "u1"},
        "standard_only",
    )
    assert _dropped(body) == ("seed", "logit_bias", "presence_penalty", "brand_new", "stop")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"n": 2}, "n"),
        ({"messages": []}, "messages"),
        ({"messages": ["x"]}, "messages[0]"),
        ({"messages": [{"role": "alien", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages[0].content[0]"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///etc"}}]}]},
            "messages[0].content[0].image_url.url",
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,@@"}}],
                    }
                ]
            },
            "messages[0].content[0].image_url.url",
        ),
        (
            {
                "messages": [
                    {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{"}}]}
                ]
            },
            "messages[0].tool_calls[0].function.arguments",
        ),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"tools": [{"type": "custom", "custom": {}}]}, "tools[0]"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"tools": [_ROOMS], "tool_choice": 7}, "tool_choice"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema.schema"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_said_is_refused_with_its_place(body: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        _request({"messages": [_USER], **body})
    assert caught.value.param == param


def test_a_temperature_that_is_no_number_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        _request({"messages": [_USER], "temperature": "hot"}, model=BUDGETED)


@pytest.mark.parametrize(
    ("name", "is_modern", "has_format"),
    [
        ("claude-opus-5-5", True, True),
        ("claude-opus-4-8", True, True),
        ("claude-haiku-4-5-20251001", False, True),
        ("claude-sonnet-4-20250514", False, False),
        ("claude-3-5-haiku-20241022", False, False),
        ("global.anthropic.claude-sonnet-5-5", True, True),
        ("claude-opus-4-1@20250805", False, False),
    ],
)
def test_the_generation_is_read_from_the_name(name: str, is_modern: bool, has_format: bool) -> None:
    generation = models.of(name)
    assert generation.has_thinking_budget is not is_modern
    assert generation.has_sampling is not is_modern
    assert generation.has_output_format is has_format
