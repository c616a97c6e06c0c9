"""Requests to OpenAI-shaped providers: the client's own bytes where the provider is exact, fitted where it is not."""

from __future__ import annotations

import dataclasses
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import InvalidRequest, UpstreamGarbage
from gateway.providers.openai_chat import ADAPTER
from gateway.providers.openai_chat.stream import ChatStreamReader
from tests.fixtures.providers import API_KEY, cases, endpoint
from tests.gateway.providers import answers

OPENAI = endpoint("openai_chat", provider="openai", upstream_model="gpt-5.4")
_MESSAGES = [{"role": "user", "content": "Hi"}]


def _sent(
    body: dict[str, Any], *, provider: str = "openai", is_stream: bool = False, raw: bytes | None = None
) -> dict[str, Any]:
    to = endpoint("openai_chat", provider=provider, upstream_model="their-model")
    request = ADAPTER.request(body, orjson.dumps(body) if raw is None else raw, endpoint=to, is_stream=is_stream)
    return orjson.loads(request.body)  # type: ignore[no-any-return]


def _dropped(body: dict[str, Any], *, provider: str) -> tuple[str, ...]:
    to = endpoint("openai_chat", provider=provider, upstream_model="their-model")
    return ADAPTER.request(body, orjson.dumps(body), endpoint=to, is_stream=False).dropped_params


def test_an_exact_provider_gets_the_clients_bytes_with_only_the_model_replaced() -> None:
    raw = (
        b'{"model":"auto", "messages":[{"role":"user","content":"say \\"model\\":\\"auto\\" \\u00e9"}],'
        b'"temperature":0.10,"new_field":{"model":"auto","x":1e2}}'
    )
    request = ADAPTER.request(orjson.loads(raw), raw, endpoint=OPENAI, is_stream=False)
    assert request.path == "/chat/completions"
    assert ("authorization", f"Bearer {API_KEY}") in request.headers
    assert request.body == (
        b'{"model":"gpt-5.4","messages":[{"role":"user","content":"say \\"model\\":\\"auto\\" \\u00e9"}],'
        b'"temperature":0.10,"new_field":{"model":"auto","x":1e2}}'
    )


@settings(max_examples=80, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=12),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["model", "a", "stream"]), inner, max_size=3)
        ),
        max_leaves=8,
    )
)
def test_a_model_anywhere_else_is_never_touched(extra: Any) -> None:
    body = {"messages": _MESSAGES, "prediction": extra, "model": "auto"}
    assert _sent(body) == {**body, "model": "their-model"}


def test_a_stream_always_asks_for_usage() -> None:
    assert _sent({"messages": _MESSAGES, "stream": True}, is_stream=True)["stream_options"] == {"include_usage": True}
    asked = {"include_usage": False, "include_obfuscation": False}
    sent = _sent({"messages": _MESSAGES, "stream": True, "stream_options": asked}, is_stream=True)
    assert sent["stream_options"] == {"include_usage": True, "include_obfuscation": False}
    assert sent["stream"] is True


def test_an_unstreamed_call_has_no_stream_options() -> None:
    assert "stream_options" not in _sent({"messages": _MESSAGES, "stream": False, "stream_options": None})


def test_fields_of_the_gateway_never_reach_a_provider() -> None:
    body = {
        "messages": _MESSAGES,
        "kairosroute": {"agent": "a"},
        "models": ["a"],
        "provider": {"sort": "price"},
        "kairosroute_fault": "429",
        "plugins": [],
    }
    for provider in ("openai", "deepseek", "openrouter", "unknown-server"):
        assert set(_sent(body, provider=provider)) == {"model", "messages"}


def test_a_fault_reaches_the_simulator_only() -> None:
    body = {"messages": _MESSAGES, "kairosroute_fault": "429"}
    simulator = endpoint("openai_chat", provider="simulator", upstream_model="m")
    simulator = dataclasses.replace(simulator, is_simulated=True, api_key="")
    request = ADAPTER.request(body, orjson.dumps(body), endpoint=simulator, is_stream=False)
    assert orjson.loads(request.body)["kairosroute_fault"] == "429"
    assert all(name != "authorization" for name, _ in request.headers)


@pytest.mark.parametrize(
    ("provider", "name"),
    [
        ("openai", "max_completion_tokens"),
        ("groq", "max_completion_tokens"),
        ("deepseek", "max_tokens"),
        ("mistralai", "max_tokens"),
    ],
)
@pytest.mark.parametrize("given_name", ["max_tokens", "max_completion_tokens"])
def test_the_output_limit_has_the_providers_name(provider: str, name: str, given_name: str) -> None:
    sent = _sent({"messages": _MESSAGES, given_name: 7}, provider=provider)
    assert sent[name] == 7
    assert len({"max_tokens", "max_completion_tokens"} & sent.keys()) == 1


def test_of_two_output_limits_the_newer_name_wins() -> None:
    for provider in ("openai", "deepseek"):
        sent = _sent({"messages": _MESSAGES, "max_completion_tokens": 5, "max_tokens": 9}, provider=provider)
        assert 5 in (sent.get("max_tokens"), sent.get("max_completion_tokens"))
        assert 9 not in (sent.get("max_tokens"), sent.get("max_completion_tokens"))


def test_what_a_provider_refuses_is_dropped_and_named() -> None:
    body = {"messages": _MESSAGES, "store": True, "metadata": {"a": "b"}, "temperature": 0.5, "logit_bias": {"1": 2}}
    assert _dropped(body, provider="mistralai") == ("store", "metadata", "logit_bias")
    assert _sent(body, provider="mistralai") == {"messages": _MESSAGES, "temperature": 0.5, "model": "their-model"}
    assert _dropped(body, provider="unknown-server") == ()
    assert _dropped({"messages": _MESSAGES, "store": None}, provider="mistralai") == ()


def test_mistral_gets_its_own_words_and_no_stream_options() -> None:
    body = {"messages": [{"role": "developer", "content": "x"}], "tool_choice": "required", "stream": True}
    sent = _sent(body, provider="mistralai", is_stream=True)
    assert sent["tool_choice"] == "any"
    assert sent["messages"] == [{"role": "system", "content": "x"}]
    assert "stream_options" not in sent


def _thought(**extra: Any) -> dict[str, Any]:
    message = {
        "role": "assistant",
        "content": "Blue.",
        "reasoning_content": "Hm",
        "reasoning": "Hm",
        "reasoning_details": [{}],
    }
    return {"messages": [*_MESSAGES, {**message, **extra}, *_MESSAGES]}


@pytest.mark.parametrize(
    ("provider", "kept"),
    [
        ("openai", {}),
        ("mistralai", {}),
        ("deepseek", {"reasoning_content": "Hm"}),
        ("groq", {"reasoning": "Hm"}),
        ("openrouter", {"reasoning": "Hm", "reasoning_details": [{}]}),
    ],
)
def test_earlier_reasoning_goes_back_as_the_provider_takes_it(provider: str, kept: dict[str, Any]) -> None:
    replayed = _sent(_thought(tool_calls=None, refusal=None), provider=provider)["messages"][1]
    assert replayed == {"role": "assistant", "content": "Blue.", **kept}


@pytest.mark.parametrize(
    ("provider", "wish", "expected"),
    [
        ("openai", {"reasoning_effort": "low"}, {"reasoning_effort": "low"}),
        ("openai", {"reasoning": {"effort": "high"}}, {"reasoning_effort": "high"}),
        ("openai", {"reasoning_effort": "none"}, {"reasoning_effort": "none"}),
        ("openai", {"reasoning": {"max_tokens": 3000}}, {"reasoning_effort": "low"}),
        ("openrouter", {"reasoning_effort": "high"}, {"reasoning": {"effort": "high"}}),
        ("openrouter", {"thinking": {"type": "enabled", "budget_tokens": 2000}}, {"reasoning": {"max_tokens": 2000}}),
        ("deepseek", {"reasoning_effort": "high"}, {"thinking": {"type": "enabled"}}),
        ("z-ai", {"reasoning": {"enabled": False}}, {"thinking": {"type": "disabled"}}),
        ("unknown-server", {"reasoning": {"effort": "high"}}, {"reasoning": {"effort": "high"}}),
    ],
)
def test_the_wish_to_reason_is_said_in_the_providers_words(
    provider: str, wish: dict[str, Any], expected: dict[str, Any]
) -> None:
    sent = _sent({"messages": _MESSAGES, **wish}, provider=provider)
    assert {name: value for name, value in sent.items() if name not in ("messages", "model")} == expected


@pytest.mark.parametrize(
    ("model", "wish", "expected", "dropped"),
    [
        ("gpt-4o-mini", {"reasoning": {"effort": "high"}}, None, ("reasoning",)),
        ("gpt-4.1", {"reasoning": {"enabled": False}}, None, ()),
        ("o3-mini", {"reasoning_effort": "none"}, "low", ()),
        ("gpt-5-mini", {"reasoning_effort": "none"}, "minimal", ()),
        ("gpt-5-mini", {"reasoning_effort": "max"}, "high", ()),
        ("gpt-5.4-mini", {"reasoning_effort": "none"}, "none", ()),
        ("gpt-6-luna", {"reasoning_effort": "max"}, "max", ()),
        ("my-deployment", {"reasoning_effort": "low"}, "low", ()),
    ],
)
def test_an_effort_is_one_that_openais_model_knows(
    model: str, wish: dict[str, Any], expected: str | None, dropped: tuple[str, ...]
) -> None:
    body = {"messages": _MESSAGES, **wish}
    where = endpoint("openai_chat", provider="openai", upstream_model=model)
    request = ADAPTER.request(body, orjson.dumps(body), endpoint=where, is_stream=False)
    assert orjson.loads(request.body).get("reasoning_effort") == expected
    assert request.dropped_params == dropped


def test_a_wish_that_cannot_be_said_is_named() -> None:
    assert _dropped({"messages": _MESSAGES, "reasoning": {"max_tokens": 99}}, provider="minimax") == ("reasoning",)


def test_a_body_that_is_no_object_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        ADAPTER.request({}, b"[1]", endpoint=OPENAI, is_stream=False)


def test_the_clients_body_is_never_changed() -> None:
    body = _thought(tool_calls=None) | {"tools": [{"type": "function", "function": {"name": "f"}}], "stream": True}
    before = orjson.dumps(body)
    for provider in ("openai", "deepseek", "mistralai", "openrouter"):
        _sent(body, provider=provider, is_stream=True)
    assert orjson.dumps(body) == before


def _plain_stream(case_name: str) -> tuple[ChatStreamReader, list[bytes]]:
    case = next(case for case in cases("stream") if str(case) == f"openai-{case_name}")
    reader = answers.reader_of(case)
    assert isinstance(reader, ChatStreamReader)
    return reader, [event + b"\n\n" for event in case.stream.split(b"\n\n")[:-1]]


@pytest.mark.parametrize("case_name", ["normal", "padded"])
def test_plain_chunks_pass_without_being_parsed(case_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, events = _plain_stream(case_name)
    for event in events[:2]:  # the role, and the first output, from which the reader learns
        list(reader.feed(event))

    def parsed(*args: Any) -> Any:
        raise AssertionError("a plain chunk was parsed")

    monkeypatch.setattr("gateway.providers.openai_chat.stream.orjson.loads", parsed)
    plain = events[2]
    out = b"".join(reader.feed(plain))
    assert out[out.index(b'"choices"') :] == plain[plain.index(b'"choices"') :], "everything but the head is untouched"
    assert b"".join(reader.feed(plain * 5)).count(b'"choices"') == 5
    with pytest.raises(AssertionError, match="parsed"):
        list(reader.feed(plain.replace(b'"finish_reason":null', b'"finish_reason":"stop"')))


def test_a_changed_chunk_leaves_the_fast_way() -> None:
    reader, events = _plain_stream("normal")
    for event in events[:3]:
        list(reader.feed(event))
    usage = b'"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}'
    list(reader.feed(events[2] + events[2].replace(b'"usage":null', usage) + events[2]))
    assert reader.usage is not None
    assert reader.usage.input_tokens == 3


def test_two_choices_are_both_read() -> None:
    reader, events = _plain_stream("normal")
    list(reader.feed(b"".join(events[:3])))
    second = events[2].replace(b'"index":0', b'"index":1').replace(b'"finish_reason":null', b'"finish_reason":"length"')
    list(reader.feed(second))
    assert reader.finish_reason == "length"


def test_an_exact_provider_that_streams_no_arguments_gets_them_completed() -> None:
    case = next(case for case in cases("stream") if str(case) == "openai-tools")
    events = [event for event in case.stream.split(b"\n\n") if b'\\"city' not in event and b"Oslo" not in event]
    said = answers.said(answers.read(answers.reader_of(case), [event + b"\n\n" for event in events]))
    assert said["tool_calls"] == [["call_a", "get_weather", "{}"]]


def test_an_endless_event_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.providers.events.MAX_EVENT_BYTES", 100)
    reader = ADAPTER.stream(endpoint=OPENAI, chunk_id="gen_x", created=1)
    for _ in range(3):
        list(reader.feed(b"data: " + b"x" * 20))
    with pytest.raises(UpstreamGarbage):
        list(reader.feed(b"data: " + b"x" * 20))


def test_a_key_that_would_split_the_header_is_refused() -> None:
    evil = dataclasses.replace(OPENAI, api_key="key\r\nx-evil: 1")
    with pytest.raises(InvalidRequest) as caught:
        ADAPTER.request({"messages": []}, b"{}", endpoint=evil, is_stream=False)
    assert "evil" not in caught.value.message
