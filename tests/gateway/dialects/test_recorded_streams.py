"""Every recorded stream in the dialects that translate: nothing lost, every block and item begun and ended once."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.context import ChatCall
from gateway.dialects import reasoning_state
from gateway.dialects.anthropic import ANTHROPIC
from gateway.dialects.protocol import Dialect, Facts
from gateway.dialects.responses import RESPONSES
from gateway.providers import shape
from gateway.providers.protocol import Usage
from tests.fixtures.providers import Case, cases
from tests.gateway.providers import answers

WHOLE = [case for case in cases("stream") if case.expected.get("finish") and not case.expected.get("error")]
FACTS = Facts(answer_id="gen_1", request_id="req_1", created=1, model="m", provider="p")


def call() -> ChatCall:
    return ChatCall(raw=b'{"model":"m","messages":[]}', requested_model="m", is_stream=True)


def said(dialect: Dialect, case: Case, *, by_event: bool) -> tuple[list[Any], list[Any]]:
    """Return what the dialect says of a case, and the canonical chunks that it says it of."""
    reader = answers.reader_of(case)
    writer = dialect.writer(call(), FACTS)
    canonical = b"".join((*reader.feed(case.stream), *reader.finish()))
    pieces = [event + b"\n\n" for event in canonical.split(b"\n\n")[:-1]] if by_event else [canonical]
    usage = shape.usage_body(reader.usage or Usage())
    settled = Facts(
        answer_id="gen_1",
        request_id="req_1",
        created=1,
        model="m",
        provider="p",
        usage=usage,
        finish_reason=reader.finish_reason,
    )
    out = b"".join(writer.feed(piece) for piece in pieces) + writer.end(None, settled)
    events = [orjson.loads(event.split(b"\n")[1][6:]) for event in out.split(b"\n\n")[:-1]]
    return events, [orjson.loads(piece[6:]) for event in pieces for piece in event.split(b"\n\n")[:-1]]


def test_there_are_recorded_streams() -> None:
    assert len(WHOLE) > 20


@pytest.mark.parametrize("case", WHOLE, ids=str)
def test_anthropics_events_say_all_of_it(case: Case) -> None:
    events, chunks = said(ANTHROPIC, case, by_event=True)
    assert said(ANTHROPIC, case, by_event=False)[0] == events
    wanted = answers.said(chunks)
    assert [event["type"] for event in events[:1] + events[-2:]] == ["message_start", "message_delta", "message_stop"]
    blocks: dict[int, Any] = {}
    stopped: list[int] = []
    for event in events[1:-2]:
        index = event["index"]
        if event["type"] == "content_block_start":
            assert index == len(blocks)
            blocks[index] = {**event["content_block"], "pieces": ""}
        elif event["type"] == "content_block_delta":
            assert index not in stopped
            delta = event["delta"]
            if delta["type"] == "signature_delta":
                blocks[index]["signature"] = delta["signature"]
            else:
                kind = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}
                blocks[index]["pieces"] += delta[kind[delta["type"]]]
        else:
            stopped.append(index)
    assert sorted(stopped) == sorted(blocks)
    found = list(blocks.values())
    assert pieces(found, "text") == wanted["content"] + wanted["refusal"]
    assert pieces(found, "thinking") == wanted["reasoning"]
    assert [[block["id"], block["name"], block["pieces"]] for block in found if block["type"] == "tool_use"] == wanted[
        "tool_calls"
    ]
    packed = [block.get("signature") or block.get("data") for block in found]
    assert replayed(packed) == wanted["signatures"]
    assert events[-2]["usage"]["output_tokens"] >= 0


@pytest.mark.parametrize("case", WHOLE, ids=str)
def test_openais_typed_events_say_all_of_it(case: Case) -> None:
    events, chunks = said(RESPONSES, case, by_event=True)
    assert said(RESPONSES, case, by_event=False)[0] == events
    wanted = answers.said(chunks)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    added = [event["item"]["id"] for event in events if event["type"] == "response.output_item.added"]
    done = {event["item"]["id"]: event["item"] for event in events if event["type"] == "response.output_item.done"}
    assert sorted(added) == sorted(done)
    last = events[-1]["response"]
    assert last["output"] == [done[item_id] for item_id in added]
    parts = [part for item in last["output"] if item["type"] == "message" for part in item["content"]]
    assert "".join(part.get("text", "") for part in parts) == wanted["content"]
    assert "".join(part.get("refusal", "") for part in parts) == wanted["refusal"]
    deltas = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
    assert "".join(deltas) == wanted["content"]
    calls = [item for item in last["output"] if item["type"] == "function_call"]
    assert [[item["call_id"], item["name"], item["arguments"]] for item in calls] == wanted["tool_calls"]
    thoughts = [item for item in last["output"] if item["type"] == "reasoning"]
    assert "".join(part["text"] for item in thoughts for part in item["summary"]) == wanted["reasoning"]
    assert replayed([item.get("encrypted_content") for item in thoughts]) == wanted["signatures"]


def pieces(blocks: list[Any], kind: str) -> str:
    return "".join(block["pieces"] for block in blocks if block["type"] == kind)


def replayed(packed: list[Any]) -> list[str]:
    """Return the signatures that a client carries to the next turn."""
    return answers.signatures([detail for text in packed if text for detail in reasoning_state.unpack(text)])
