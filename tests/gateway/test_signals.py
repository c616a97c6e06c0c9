"""Signals say what an answer was like, the same whether it came whole or in pieces."""

from __future__ import annotations

import json
import timeit
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import signals
from gateway.signals import Signals, StreamSignals

PLAIN: dict[str, Any] = {"model": "gpt-5.4", "messages": [{"role": "user", "content": "hi"}]}
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city"],
    "additionalProperties": False,
}
JSON_OBJECT = {**PLAIN, "response_format": {"type": "json_object"}}
JSON_SCHEMA = {
    **PLAIN,
    "response_format": {"type": "json_schema", "json_schema": {"name": "trip", "schema": SCHEMA, "strict": True}},
}
TOOLS = {
    **PLAIN,
    "tools": [
        {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}},
        {"type": "function", "function": {"name": "now"}},
        {"type": "function", "function": {"name": "odd", "parameters": {"if": {}, "then": {}}}},
    ],
}


def said(content: str | None, **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, "refusal": None, **fields}


def called(*calls: tuple[str, str]) -> dict[str, Any]:
    return said(
        None,
        tool_calls=[
            {"id": f"call_{index}", "type": "function", "function": {"name": name, "arguments": arguments}}
            for index, (name, arguments) in enumerate(calls)
        ],
    )


def test_a_plain_answer_raises_no_question_of_json_or_tools() -> None:
    assert signals.of_completion(PLAIN, said("Hello."), "stop") == Signals(0, 0, None, None, None, 6)


@pytest.mark.parametrize(
    ("finish_reason", "is_truncated", "is_refusal"),
    [
        ("stop", 0, 0),
        ("length", 1, 0),
        ("content_filter", 0, 1),
        ("tool_calls", 0, 0),
        ("", None, None),
        ("error", None, None),
    ],
)
def test_the_finish_reason_tells_truncation_and_filtering(
    finish_reason: str, is_truncated: int | None, is_refusal: int | None
) -> None:
    found = signals.of_completion(PLAIN, said("Once upon a time"), finish_reason)
    assert (found.is_truncated, found.is_refusal) == (is_truncated, is_refusal)
    assert found.output_characters == 16


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I’m sorry, but I can’t assist with that request.",  # noqa: RUF001 - the apostrophe that models use
        "I cannot provide instructions for building weapons.",
        "I can't help with creating malware.",
        "Sorry, but I cannot comply with this.",
        "I am unable to assist with that.",
        "As an AI language model, I cannot generate such content.",
        "I'm not able to help with identifying people in images.",
        "Unfortunately, I can't share that.",
        "I won't write that.",
        "I'm not comfortable creating that content.",
        "I must decline to answer.",
    ],
)
def test_it_hears_a_refusal(text: str) -> None:
    assert signals.of_completion(PLAIN, said(text), "stop").is_refusal == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Sure, here is the code.",
        "I'm sorry, but the order is late: it ships on Monday.",
        "I can help with that.",
        "I cannot recommend this book enough.",
        "I couldn't agree more.",
        "The model said: I'm sorry, but I can't help with that.",
        "Unfortunately, the server was down.",
        "As an AI language model, GPT predicts tokens.",
        "Sorry for the wait! Here you go.",
        "I won't lie: it is hard.",
    ],
)
def test_it_does_not_take_an_answer_for_a_refusal(text: str) -> None:
    assert signals.of_completion(PLAIN, said(text), "stop").is_refusal == 0


def test_an_explicit_refusal_counts_as_text_and_is_not_judged_as_json() -> None:
    found = signals.of_completion(JSON_SCHEMA, said(None, refusal="No."), "stop")
    assert found == Signals(0, 1, None, None, None, 3)


@pytest.mark.parametrize(
    ("request_body", "content", "is_json_valid", "is_schema_valid"),
    [
        (JSON_OBJECT, '{"a": 1}', 1, None),
        (JSON_OBJECT, "[1]", 0, None),
        (JSON_OBJECT, '```json\n{"a": 1}\n```', 0, None),
        (JSON_OBJECT, "", 0, None),
        (JSON_OBJECT, '{"a": NaN}', 0, None),
        (JSON_SCHEMA, '{"city": "Rome", "days": 3}', 1, 1),
        (JSON_SCHEMA, '{"city": "Rome", "days": 3.5}', 1, 0),
        (JSON_SCHEMA, '{"days": 3}', 1, 0),
        (JSON_SCHEMA, '{"city": "Ro', 0, 0),
        (PLAIN, '{"city": "Rome"}', None, None),
        ({**PLAIN, "response_format": {"type": "text"}}, "x", None, None),
        ({**PLAIN, "response_format": "json"}, "x", None, None),
        ({**PLAIN, "response_format": {"type": "json_schema"}}, "[1]", 1, None),
        ({**PLAIN, "response_format": {"type": "json_schema", "json_schema": {"schema": {"if": {}}}}}, "1", 1, None),
    ],
)
def test_json_is_judged_only_where_it_was_asked_for(
    request_body: dict[str, Any], content: str, is_json_valid: int | None, is_schema_valid: int | None
) -> None:
    found = signals.of_completion(request_body, said(content), "stop")
    assert (found.is_json_valid, found.is_schema_valid) == (is_json_valid, is_schema_valid)


@pytest.mark.parametrize(
    ("calls", "verdict"),
    [
        ([("weather", '{"city": "Rome"}')], 1),
        ([("weather", '{"city": "Rome"}'), ("now", "{}")], 1),
        ([("now", "")], 1),
        ([("now", '{"anything": "goes"}')], 1),
        ([("weather", '{"city": 5}')], 0),
        ([("weather", '{"city": "Rome"')], 0),
        ([("weather", '"Rome"')], 0),
        ([("forecast", '{"city": "Rome"}')], 0),
        ([("weather", '{"city": "Rome"}'), ("weather", "{}")], 0),
        ([("odd", "{}")], None),
        ([("odd", "{}"), ("forecast", "{}")], 0),
    ],
)
def test_tool_calls_must_name_an_offered_tool_and_fit_its_parameters(
    calls: list[tuple[str, str]], verdict: int | None
) -> None:
    found = signals.of_completion(TOOLS, called(*calls), "tool_calls")
    assert found.is_tool_call_valid == verdict
    assert found.is_json_valid is None


def test_a_call_without_offered_tools_is_invalid() -> None:
    assert signals.of_completion(PLAIN, called(("weather", "{}")), "tool_calls").is_tool_call_valid == 0


def test_offering_tools_alone_raises_no_question() -> None:
    assert signals.of_completion(TOOLS, said("It rains."), "stop").is_tool_call_valid is None


def test_a_free_text_tool_is_not_judged() -> None:
    call = {"id": "1", "type": "custom", "custom": {"name": "sql", "input": "SELECT 1"}}
    assert signals.of_completion(TOOLS, said(None, tool_calls=[call]), "tool_calls").is_tool_call_valid is None
    stream = StreamSignals(TOOLS)
    stream.delta({"tool_calls": [{"index": 0, **call}]})
    assert stream.result("tool_calls").is_tool_call_valid is None


def test_content_in_parts_is_read_as_text() -> None:
    message = {"content": [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}, {"type": "image"}, "x"]}
    assert signals.of_completion(PLAIN, message, "stop").output_characters == 5


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"content": 5},
        {"content": None, "tool_calls": [None]},
        {"tool_calls": [{"function": {"name": "weather", "arguments": 5}}]},
    ],
)
def test_a_malformed_message_is_judged_and_never_an_error(message: dict[str, Any]) -> None:
    found = signals.of_completion(TOOLS, message, "stop")
    assert found.output_characters == 0
    assert found.is_tool_call_valid in (None, 0)


def test_an_answer_too_long_to_parse_has_no_verdict() -> None:
    long = json.dumps({"city": "x" * 1_000_001})
    found = signals.of_completion(JSON_SCHEMA, said(long), "stop")
    assert (found.is_json_valid, found.is_schema_valid) == (None, None)
    stream = StreamSignals(JSON_SCHEMA)
    stream.content(long[:600_000])
    stream.content(long[600_000:])
    assert stream.result("stop") == found


def deltas_of(message: dict[str, Any], pieces: int) -> list[dict[str, Any]]:
    """Return the message as the deltas of a stream that cuts every string into `pieces`."""

    def cut(text: str) -> list[str]:
        size = max(1, -(-len(text) // pieces))
        return [text[at : at + size] for at in range(0, len(text), size)]

    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": piece} for piece in cut(message.get("content") or "")]
    deltas += [{"refusal": piece} for piece in cut(message.get("refusal") or "")]
    for index, call in enumerate(message.get("tool_calls") or ()):
        function = call["function"]
        start = {
            "index": index,
            "id": call["id"],
            "type": "function",
            "function": {"name": function["name"], "arguments": ""},
        }
        deltas.append({"tool_calls": [start]})
        deltas += [
            {"tool_calls": [{"index": index, "function": {"arguments": piece}}]} for piece in cut(function["arguments"])
        ]
    return deltas


_TEXTS = st.one_of(
    st.text(max_size=400),
    st.sampled_from(["I'm sorry, but I can't help with that.", '{"city": "Rome"}', '{"city": 1}', "[", "I can help."]),
)
_CALLS = st.lists(
    st.tuples(
        st.sampled_from(["weather", "now", "odd", "other"]), st.sampled_from(["", "{}", '{"city": "Rome"}', "{", "1"])
    ),
    max_size=3,
)


@settings(max_examples=300, deadline=None)
@given(
    request_body=st.sampled_from([PLAIN, JSON_OBJECT, JSON_SCHEMA, TOOLS, {**TOOLS, **JSON_SCHEMA}]),
    text=_TEXTS,
    refusal=st.sampled_from(["", "", "No, I will not."]),
    calls=_CALLS,
    finish_reason=st.sampled_from(["stop", "length", "tool_calls", "content_filter", "error", ""]),
    pieces=st.integers(1, 50),
)
def test_a_stream_has_the_signals_of_the_whole_answer(
    request_body: dict[str, Any],
    text: str,
    refusal: str,
    calls: list[tuple[str, str]],
    finish_reason: str,
    pieces: int,
) -> None:
    message = {**called(*calls), "content": text, "refusal": refusal or None}
    if not calls:
        del message["tool_calls"]
    stream = StreamSignals(request_body)
    for delta in deltas_of(message, pieces):
        stream.delta(delta)
    assert stream.result(finish_reason) == signals.of_completion(request_body, message, finish_reason)


def test_a_plain_stream_keeps_only_its_beginning() -> None:
    stream = StreamSignals(PLAIN)
    for _ in range(10_000):
        stream.content("word ")
    assert stream.result("stop").output_characters == 50_000
    assert len(stream._lead) < 300
    assert stream._texts == []


def test_judging_a_plain_answer_is_cheap() -> None:
    message = said("The capital of France is Paris. " * 20)
    best = min(timeit.repeat(lambda: signals.of_completion(PLAIN, message, "stop"), number=2_000, repeat=7)) / 2_000
    assert best < 1e-6 * 4  # measured 0.3 µs; the margin is for a busy machine
