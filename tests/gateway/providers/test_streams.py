"""Every recorded stream says the same to a client, however the network splits it."""

from __future__ import annotations

from itertools import pairwise

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import UPSTREAM_ERRORS
from tests.fixtures.providers import API_KEY, Case, cases
from tests.gateway.providers import answers

STREAMS = cases("stream")
_every_stream = pytest.mark.parametrize("case", STREAMS, ids=str)
# One provider of each protocol is split at every byte, the others byte by byte and at random: it is the same reader.
_SPLIT_EVERYWHERE = ("openai", "anthropic", "google")
_VOCABULARY = {"stop", "length", "tool_calls", "content_filter", "function_call"}


def _observed(case: Case, pieces: list[bytes]) -> dict[str, object]:
    reader = answers.reader_of(case)
    chunks = answers.read(reader, pieces)
    return {
        **answers.said(chunks),
        "finish": reader.finish_reason,
        "native": reader.native_finish_reason,
        "usage": answers.counts(reader.usage),
        "garbage": reader.garbage_lines,
        "error": reader.error.error_class if reader.error else "",
        "done": reader.is_done,
    }


def _expected(case: Case) -> dict[str, object]:
    return {name: value for name, value in case.expected.items() if name != "tier"}


@_every_stream
def test_it_says_what_the_provider_said(case: Case) -> None:
    assert _observed(case, [case.stream]) == _expected(case)


@pytest.mark.parametrize("case", [case for case in STREAMS if case.endpoint.provider in _SPLIT_EVERYWHERE], ids=str)
def test_a_split_at_any_byte_changes_nothing(case: Case) -> None:
    expected = _expected(case)
    for at in range(1, len(case.stream)):
        assert _observed(case, [case.stream[:at], case.stream[at:]]) == expected, at


@_every_stream
def test_single_bytes_change_nothing(case: Case) -> None:
    assert _observed(case, [bytes([byte]) for byte in case.stream]) == _expected(case)


@_every_stream
@pytest.mark.parametrize("line_end", [b"\r\n", b"\r"])
def test_other_line_ends_change_nothing(case: Case, line_end: bytes) -> None:
    stream = case.stream.replace(b"\n", line_end)
    assert _observed(case, [stream]) == _expected(case)
    assert _observed(case, [bytes([byte]) for byte in stream]) == _expected(case)


@_every_stream
def test_a_missing_last_blank_line_changes_nothing(case: Case) -> None:
    assert _observed(case, [case.stream.rstrip(b"\n")]) == _expected(case)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_way_of_splitting_changes_nothing(data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(STREAMS))
    places = sorted(data.draw(st.sets(st.integers(0, len(case.stream)), max_size=12)))
    bounds = [0, *places, len(case.stream)]
    pieces = [case.stream[start:end] for start, end in pairwise(bounds)]
    assert _observed(case, pieces) == _expected(case)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_stream_cut_anywhere_is_never_taken_for_a_whole_one(data: st.DataObject) -> None:
    case = data.draw(st.sampled_from([case for case in STREAMS if case.expected["finish"]]))
    end = data.draw(st.integers(0, len(case.stream)))
    reader = answers.reader_of(case)
    answers.read(reader, [case.stream[:end]])
    assert reader.finish_reason in ("", case.expected["finish"])
    if reader.finish_reason:
        assert f'"{case.expected["native"]}"'.encode() in case.stream[:end], "the provider itself had said so"


@_every_stream
def test_every_chunk_is_golden(case: Case) -> None:
    chunks = answers.read(answers.reader_of(case), [case.stream])
    for chunk in chunks:
        assert chunk["id"] == answers.CHUNK_ID
        assert chunk["created"] == answers.CREATED
        assert chunk["object"] == "chat.completion.chunk"
        assert chunk["model"] == case.endpoint.model
        assert chunk["provider"] == case.endpoint.provider
        assert isinstance(chunk["system_fingerprint"], str)
        assert not chunk.get("usage")
    numbers = [call["index"] for chunk in chunks for c in chunk["choices"] for call in c["delta"].get("tool_calls", ())]
    assert sorted(set(numbers)) == list(range(len(case.expected["tool_calls"])))
    for chunk in chunks:
        for choice in chunk["choices"]:
            delta = choice["delta"]
            assert {"index", "delta", "logprobs", "finish_reason"} <= choice.keys()
            assert choice["finish_reason"] in {None, *_VOCABULARY}
            assert delta.get("tool_calls", [1]), "tool_calls are there or are not: never null, never empty"
            assert isinstance(delta.get("content", ""), str | None)
    if chunks:
        assert chunks[0]["choices"][0]["delta"].get("role") == "assistant"
    finishing = [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"] if choice["finish_reason"]]
    assert finishing == ([case.expected["finish"]] if case.expected["finish"] else [])


@_every_stream
def test_tool_arguments_are_json(case: Case) -> None:
    for call_id, name, arguments in answers.said(answers.read(answers.reader_of(case), [case.stream]))["tool_calls"]:
        assert call_id
        assert name
        assert isinstance(orjson.loads(arguments), dict)


@pytest.mark.parametrize("case", [case for case in STREAMS if case.expected["error"]], ids=str)
def test_an_error_in_a_stream_is_classified_and_holds_no_key(case: Case) -> None:
    reader = answers.reader_of(case)
    answers.read(reader, [case.stream.replace(b"had an error", b"had an error for " + API_KEY.encode())])
    assert reader.error is not None
    assert reader.error.error_class in UPSTREAM_ERRORS
    assert API_KEY not in reader.error.message
    assert "sk-" not in reader.error.message
    assert reader.finish_reason == ""


@_every_stream
def test_output_is_noticed_with_the_first_token_and_not_before(case: Case) -> None:
    reader = answers.reader_of(case)
    for event in case.stream.split(b"\n\n"):
        had_output = reader.has_output
        out = b"".join(reader.feed(event + b"\n\n"))
        words = answers.said([orjson.loads(line[6:]) for line in out.split(b"\n\n")[:-1]])
        spoke = any(words[kind] for kind in ("content", "reasoning", "refusal", "tool_calls"))
        if spoke:
            assert reader.has_output
        elif not had_output and not words["signatures"]:
            # Gemini holds a refusal back with the finish, so it is known before it is said.
            assert not reader.has_output or case.expected["refusal"]


@_every_stream
def test_the_service_tier_is_kept(case: Case) -> None:
    if "tier" in case.expected:
        reader = answers.reader_of(case)
        answers.read(reader, [case.stream])
        assert reader.service_tier == case.expected["tier"]
