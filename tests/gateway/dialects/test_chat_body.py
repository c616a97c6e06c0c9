"""What an OpenAI client sends, read; and every way to send it wrong, named."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway import errors
from gateway.dialects import chat_body

HELLO = [{"role": "user", "content": "hello"}]


def parse(body: Any, headers: dict[bytes, bytes] | None = None, *, is_test: bool = False) -> Any:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return chat_body.parse_chat(raw, headers or {}, is_test=is_test)


def test_a_plain_call_keeps_its_bytes() -> None:
    raw = orjson.dumps({"model": "gpt-5.4", "messages": HELLO, "stream": True, "an_unknown_field": 1})
    call = parse(raw)
    assert call.raw is raw
    assert (call.requested_model, call.is_stream, call.task_type, call.task_source) == (
        "gpt-5.4",
        True,
        "general",
        "shape",
    )


def test_our_options_are_taken_out_of_what_goes_to_the_provider() -> None:
    call = parse({"model": "auto", "messages": HELLO, "kairosroute": {"agent": "triage", "task": "extraction"}})
    assert "kairosroute" not in call.body
    assert b"kairosroute" not in call.raw
    assert call.attribution.agent == "triage"
    assert (call.task_type, call.task_source) == ("extraction", "request")


@pytest.mark.parametrize(
    ("extra", "task"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tool_calling"),
        ({"response_format": {"type": "json_object"}}, "structured_output"),
        ({"response_format": {"type": "text"}}, "general"),
    ],
)
def test_the_shape_of_a_call_tells_its_task(extra: dict[str, Any], task: str) -> None:
    assert parse({"model": "m", "messages": HELLO, **extra}).task_type == task


def test_attribution_comes_from_body_headers_and_metadata() -> None:
    call = parse(
        {"model": "m", "messages": HELLO, "user": "u_1", "metadata": {"team": "search"}},
        {
            b"x-kairosroute-agent": b"triage",
            b"x-kairosroute-session": b"s_9",
            b"x-kairosroute-tags": b"stage=beta, region=eu",
        },
    )
    who = call.attribution
    assert (who.agent, who.session, who.end_user) == ("triage", "s_9", "u_1")
    assert who.tags == {"team": "search", "stage": "beta", "region": "eu"}


def test_the_body_wins_over_a_header() -> None:
    call = parse(
        {"model": "m", "messages": HELLO, "kairosroute": {"agent": "body"}}, {b"x-kairosroute-agent": b"header"}
    )
    assert call.attribution.agent == "body"


def test_tags_are_bounded_in_number_and_length() -> None:
    call = parse({"model": "m", "messages": HELLO, "metadata": {f"k{i}": "v" * 1000 for i in range(100)}})
    assert len(call.attribution.tags) == 32
    assert {len(value) for value in call.attribution.tags.values()} == {256}


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (b"", "invalid_json", None),
        (b"{", "invalid_json", None),
        (b'{"model":"m","messages":[{"role":"user"}]}}', "invalid_json", None),
        (b"[]", "invalid_json", None),
        (b"7", "invalid_json", None),
        (b"\xff\xfe", "invalid_json", None),
        ({"messages": HELLO}, "missing_model", "model"),
        ({"model": 7, "messages": HELLO}, "invalid_type", "model"),
        ({"model": "m"}, "missing_messages", "messages"),
        ({"model": "m", "messages": []}, "missing_messages", "messages"),
        ({"model": "m", "messages": "hi"}, "invalid_type", "messages"),
        ({"model": "m", "messages": ["hi"]}, "invalid_type", "messages[0]"),
        ({"model": "m", "messages": [{"role": "king", "content": ""}]}, "invalid_role", "messages[0].role"),
        ({"model": "m", "messages": [{"role": "user", "content": 7}]}, "invalid_type", "messages[0].content"),
        ({"model": "m", "messages": HELLO, "temperature": "hot"}, "invalid_type", "temperature"),
        ({"model": "m", "messages": HELLO, "temperature": True}, "invalid_type", "temperature"),
        ({"model": "m", "messages": HELLO, "max_tokens": 1.5}, "invalid_type", "max_tokens"),
        ({"model": "m", "messages": HELLO, "stream": "yes"}, "invalid_type", "stream"),
        ({"model": "m", "messages": HELLO, "tools": {}}, "invalid_type", "tools"),
        (
            {"model": "m", "messages": HELLO, "kairosroute": {"qualty_bar": 1}},
            "unknown_option",
            "kairosroute.qualty_bar",
        ),
        ({"model": "m", "messages": HELLO, "kairosroute": {"agent": 1}}, "invalid_type", "kairosroute.agent"),
        ({"model": "m", "messages": HELLO, "kairosroute": {"fault": "500"}}, "test_key_required", "kairosroute.fault"),
    ],
)
def test_what_is_wrong_is_named(body: Any, code: str, param: str | None) -> None:
    with pytest.raises(errors.InvalidRequest) as caught:
        parse(body)
    assert (caught.value.http_status, caught.value.code, caught.value.param) == (400, code, param)


def test_the_error_for_bad_json_repeats_none_of_it() -> None:
    with pytest.raises(errors.InvalidRequest) as caught:
        parse(b'{"messages": [{"role": "user", "content": "my secret"')
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("opening", [b'{"a":', b"["])
def test_json_that_nests_too_deep_is_refused(opening: bytes) -> None:
    closing = b"}" if opening.startswith(b"{") else b"]"
    with pytest.raises(errors.InvalidRequest, match=r"deep|not valid JSON") as caught:
        parse(b'{"model":"m","messages":[{"role":"user"}],"x":' + opening * 500 + b"1" + closing * 500 + b"}")
    assert caught.value.http_status == 400
    with pytest.raises(errors.InvalidRequest):
        parse(opening * 100_000)


def test_many_shallow_messages_are_not_deep() -> None:
    parse({"model": "m", "messages": HELLO * 500})


def test_an_explicit_null_is_as_good_as_absent() -> None:
    call = parse(
        {"model": "m", "messages": HELLO, "temperature": None, "stream": None, "kairosroute": None, "tools": None}
    )
    assert call.is_stream is False
