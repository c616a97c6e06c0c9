"""A canonical request becomes what Google's own types describe, thought signatures included."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from google.genai import types

from gateway.errors import InvalidRequest
from gateway.providers.gemini import ADAPTER
from gateway.providers.gemini.contents import UNSIGNED
from gateway.providers.protocol import UpstreamRequest
from tests.fixtures.providers import API_KEY, cases, endpoint

NEW, OLD = "gemini-3.8-flash", "gemini-2.5-flash"
_USER = {"role": "user", "content": "Hi"}
_PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
_WEATHER = {
    "type": "function",
    "function": {"name": "get_weather", "description": "Weather", "parameters": _PARAMETERS},
}
_ROOMS = {"type": "function", "function": {"name": "list_rooms", "parameters": {"type": "object", "properties": {}}}}


def _request(body: dict[str, Any], *, model: str = NEW, is_stream: bool = False) -> UpstreamRequest:
    to = endpoint("gemini", provider="google", upstream_model=model)
    return ADAPTER.request(body, orjson.dumps(body), endpoint=to, is_stream=is_stream)


def _sent(body: dict[str, Any], *, model: str = NEW) -> dict[str, Any]:
    body = {"messages": [_USER], **body}
    before = orjson.dumps(body)
    sent: dict[str, Any] = orjson.loads(_request(body, model=model).body)
    # Google's own models refuse unknown names.
    for content in sent["contents"]:
        types.Content.model_validate(content)
    types.GenerationConfig.model_validate(sent.get("generationConfig", {}))
    for tool in sent.get("tools", ()):
        types.Tool.model_validate(tool)
    types.ToolConfig.model_validate(sent.get("toolConfig", {}))
    assert orjson.dumps(body) == before, "the client's body is never changed"
    return sent


def _dropped(body: dict[str, Any], *, model: str = NEW) -> tuple[str, ...]:
    return _request({"messages": [_USER], **body}, model=model).dropped_params


def test_the_way_in() -> None:
    request = _request({"messages": [{"role": "system", "content": "Be brief."}, _USER]})
    assert request.path == "/models/gemini-3.8-flash:generateContent"
    assert dict(request.headers) == {"content-type": "application/json", "x-goog-api-key": API_KEY}
    assert orjson.loads(request.body) == {
        "contents": [{"role": "user", "parts": [{"text": "Hi"}]}],
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
    }
    stream = _request({"messages": [_USER]}, model="a/../b", is_stream=True)
    assert stream.path == "/models/a%2F..%2Fb:streamGenerateContent?alt=sse"


def _call(call_id: str, name: str = "get_weather", **extra: Any) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": '{"city":"Oslo"}'}, **extra}


def _loop(*calls: dict[str, Any], details: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    results = [{"role": "tool", "tool_call_id": call["id"], "content": '{"degrees":4}'} for call in calls]
    said = {"role": "assistant", "content": None, "tool_calls": list(calls), "reasoning_details": details or []}
    return {"messages": [_USER, said, *results], "tools": [_WEATHER]}


def test_tool_results_go_back_under_the_name_of_their_call() -> None:
    body = _loop(_call("a"), _call("b"))
    body["messages"][-1]["content"] = "cold"
    answered = _sent(body)["contents"][2]
    assert answered["role"] == "user"
    assert [part["functionResponse"] for part in answered["parts"]] == [
        {"id": "a", "name": "get_weather", "response": {"degrees": 4}},
        {"id": "b", "name": "get_weather", "response": {"result": "cold"}},
    ]


def test_a_signature_survives_in_the_call_or_in_the_details() -> None:
    in_call = _loop(_call("a", extra_content={"google": {"thought_signature": "U0lHTg=="}}))
    detail = {"type": "reasoning.encrypted", "data": "U0lHTg==", "id": "a", "format": "google-gemini-v1", "index": 0}
    in_details = _loop(_call("a"), details=[detail])
    for body in (in_call, in_details):
        assert _sent(body)["contents"][1]["parts"][0]["thoughtSignature"] == "U0lHTg=="


def test_a_lost_signature_is_stood_in_for_once_a_turn_and_only_where_it_is_needed() -> None:
    parts = _sent(_loop(_call("a"), _call("b")))["contents"][1]["parts"]
    assert [part.get("thoughtSignature") for part in parts] == [UNSIGNED, None]
    assert "thoughtSignature" not in _sent(_loop(_call("a")), model=OLD)["contents"][1]["parts"][0]
    foreign = {"type": "reasoning.encrypted", "data": "ENC", "format": "anthropic-claude-v1", "id": "a"}
    assert _sent(_loop(_call("a"), details=[foreign]))["contents"][1]["parts"][0]["thoughtSignature"] == UNSIGNED


@pytest.mark.parametrize("name", ["tools", "parallel_tools", "thinking"])
def test_what_was_answered_can_be_sent_back_unchanged(name: str) -> None:
    case = next(case for case in cases("body") if str(case) == f"google-{name}")
    message = ADAPTER.completion(case.body, endpoint=case.endpoint).body["choices"][0]["message"]
    theirs = [part for part in orjson.loads(case.body)["candidates"][0]["content"]["parts"] if not part.get("thought")]
    sent = _sent({"messages": [_USER, message, _USER]})
    assert sent["contents"][1] == {"role": "model", "parts": theirs}


def test_a_tool_without_parameters_declares_none() -> None:
    assert _sent({"tools": [_WEATHER, _ROOMS]})["tools"] == [
        {
            "functionDeclarations": [
                {"name": "get_weather", "description": "Weather", "parametersJsonSchema": _PARAMETERS},
                {"name": "list_rooms"},
            ]
        }
    ]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        (
            {"type": "function", "function": {"name": "list_rooms"}},
            {"mode": "ANY", "allowedFunctionNames": ["list_rooms"]},
        ),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [{"type": "function", "function": {"name": "list_rooms"}}],
                },
            },
            {"mode": "ANY", "allowedFunctionNames": ["list_rooms"]},
        ),
    ],
)
def test_every_form_of_tool_choice(choice: Any, expected: dict[str, Any]) -> None:
    sent = _sent({"tools": [_WEATHER, _ROOMS], "tool_choice": choice})
    assert sent["toolConfig"]["functionCallingConfig"] == expected


def test_pictures_files_and_sound() -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0="}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.webp?x=1"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0="}},
        {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
    ]
    assert _sent({"messages": [{"role": "user", "content": parts}]})["contents"][0]["parts"] == [
        {"inlineData": {"mimeType": "image/png", "data": "iVBORw0="}},
        {"fileData": {"mimeType": "image/webp", "fileUri": "https://example.com/a.webp?x=1"}},
        {"inlineData": {"mimeType": "application/pdf", "data": "JVBERi0="}},
        {"inlineData": {"mimeType": "audio/wav", "data": "UklGRg=="}},
    ]


def test_json_output_is_native() -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "a", "schema": _PARAMETERS}}
    config = _sent({"response_format": wanted})["generationConfig"]
    assert config == {"responseMimeType": "application/json", "responseJsonSchema": _PARAMETERS}
    assert _sent({"response_format": {"type": "json_object"}})["generationConfig"] == {
        "responseMimeType": "application/json"
    }
    assert _dropped({"response_format": wanted, "tools": [_WEATHER]}, model=OLD) == ("response_format",)
    assert "responseJsonSchema" in _sent({"response_format": wanted, "tools": [_WEATHER]})["generationConfig"]


@pytest.mark.parametrize(
    ("wish", "model", "expected"),
    [
        ({"reasoning_effort": "high"}, NEW, {"includeThoughts": True, "thinkingLevel": "HIGH"}),
        ({"reasoning_effort": "xhigh"}, NEW, {"includeThoughts": True, "thinkingLevel": "HIGH"}),
        ({"reasoning": {"max_tokens": 3000, "exclude": True}}, OLD, {"includeThoughts": False, "thinkingBudget": 3000}),
        ({"reasoning_effort": "none"}, OLD, {"thinkingBudget": 0}),
        ({"reasoning_effort": "none"}, "gemini-2.5-pro", {"thinkingBudget": 128}),
        ({"reasoning_effort": "none"}, NEW, {"thinkingLevel": "MINIMAL"}),
    ],
)
def test_thinking_by_generation(wish: dict[str, Any], model: str, expected: dict[str, Any]) -> None:
    assert _sent(wish, model=model)["generationConfig"]["thinkingConfig"] == expected


def test_everything_else_is_carried_or_named() -> None:
    body = {
        "temperature": 0.3,
        "top_p": 0.9,
        "max_tokens": 50,
        "max_completion_tokens": 40,
        "n": 2,
        "seed": 7,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "stop": [str(number) for number in range(6)],
        "service_tier": "flex",
        "user": "u1",
        "logprobs": True,
        "parallel_tool_calls": False,
        "models": ["x"],
    }
    sent = _sent(body)
    assert sent["generationConfig"] == {
        "temperature": 0.3,
        "topP": 0.9,
        "candidateCount": 2,
        "seed": 7,
        "presencePenalty": 0.1,
        "frequencyPenalty": 0.2,
        "maxOutputTokens": 40,
        "stopSequences": ["0", "1", "2", "3", "4"],
    }
    assert sent["serviceTier"] == "flex"
    assert _dropped(body) == ("user", "logprobs", "parallel_tool_calls", "stop")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "tool_call_id": "nobody", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "user", "content": [{"type": "video"}]}]}, "messages[0].content[0]"),
        ({"temperature": "hot"}, "temperature"),
        ({"tools": [{"type": "web_search"}]}, "tools[0]"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_said_is_refused_with_its_place(body: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        _request({"messages": [_USER], **body})
    assert caught.value.param == param


def test_several_candidates_become_several_choices() -> None:
    body = orjson.dumps(
        {
            "candidates": [
                {"content": {"parts": [{"text": "One"}]}, "finishReason": "STOP"},
                {
                    "content": {"parts": [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]},
                    "finishReason": "MAX_TOKENS",
                },
            ]
        }
    )
    answer = ADAPTER.completion(body, endpoint=endpoint("gemini", provider="google", upstream_model=NEW))
    first, second = answer.body["choices"]
    assert (first["message"]["content"], second["finish_reason"], second["index"]) == ("One", "length", 1)
    assert second["message"]["images"] == [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
    assert answer.usage.is_reported is False


def test_calls_without_ids_get_distinct_ones() -> None:
    def ids(city: str) -> list[str]:
        part = {"functionCall": {"name": "get_weather", "args": {"city": city}}}
        body = orjson.dumps({"candidates": [{"content": {"parts": [part, part]}, "finishReason": "STOP"}]})
        answer = ADAPTER.completion(body, endpoint=endpoint("gemini", provider="google", upstream_model=NEW))
        return [call["id"] for call in answer.body["choices"][0]["message"]["tool_calls"]]

    assert len({*ids("Oslo"), *ids("Rome")}) == 4
