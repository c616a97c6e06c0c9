"""A stream's events put together again."""

from __future__ import annotations

from gateway import assembly
from tests.gateway.rig import chunk


def test_text_reasoning_and_tool_calls_come_out_whole() -> None:
    events = b"".join(
        [
            chunk({"role": "assistant", "content": "", "reasoning_content": "Hm"}),
            chunk({"reasoning_content": "m."}),
            chunk({"content": "Two "}),
            chunk({"content": "calls."}),
            chunk({"tool_calls": [{"index": 1, "id": "b", "function": {"name": "g", "arguments": ""}}]}),
            chunk({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"x"'}}]}),
            chunk({"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]}),
            chunk({"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]}),
            b": a comment\n\ndata: not json\n\n",
            chunk({}, "tool_calls"),
            b"data: [DONE]\n\n",
        ]
    )
    assert assembly.message(events) == {
        "role": "assistant",
        "content": "Two calls.",
        "reasoning_content": "Hmm.",
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
            {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
        ],
    }


def test_nothing_said_is_an_empty_message() -> None:
    assert assembly.message(b"") == {"role": "assistant", "content": None}
