"""Say a canonical stream as Anthropic's events. Pure.

Order: message_start, then for each block content_block_start, its deltas and content_block_stop, then message_delta
with the stop reason and the usage, then message_stop. Blocks of tool calls stay open to the end: providers may
interleave them. Wire format: Anthropic API reference, "Streaming messages".
"""

from __future__ import annotations

from typing import Any

import orjson

from gateway import errors
from gateway.dialects import reasoning_state
from gateway.dialects.anthropic import answer, refusals
from gateway.dialects.protocol import Facts

Json = dict[str, Any]


def event(name: str, data: Json) -> bytes:
    """Return one event; its name stands in the data as well."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps({"type": name, **data}))


class TranslatingWriter:
    """See `gateway.dialects.protocol.StreamWriter`."""

    __slots__ = ("_calls", "_count", "_details", "_facts", "_has_started", "_open", "_open_kind", "_thought")

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._has_started = False
        self._count = 0
        self._open: int | None = None  # the block of text or thinking that is open
        self._open_kind = ""
        self._calls: dict[int, int] = {}  # a call's canonical index -> its block
        self._details: list[Json] = []
        self._thought = False

    def feed(self, events: bytes) -> bytes:
        said = [] if self._has_started else self._start()
        for line in events.split(b"\n"):
            if line.startswith(b"data: {"):
                for choice in orjson.loads(line[6:]).get("choices") or ():
                    if choice.get("index", 0) == 0:
                        self._delta(choice.get("delta") or {}, said)
        return b"".join(said)

    def end(self, error: errors.GatewayError | None, facts: Facts) -> bytes:
        said = [] if self._has_started else self._start()
        if error is not None:
            said.append(refusals.event(error, facts))
            return b"".join(said)
        self._close(said)
        if self._details:  # reasoning without a word of text: a block of its own
            self._hide(said)
        said += [event("content_block_stop", {"index": index}) for index in self._calls.values()]
        reason = answer.STOP_REASONS.get(facts.finish_reason, "end_turn")
        if self._calls and reason == "end_turn":
            reason = "tool_use"
        said.append(
            event(
                "message_delta",
                {
                    "delta": {"stop_reason": reason, "stop_sequence": None},
                    "usage": answer.usage(facts.usage),
                    **facts.additions,
                },
            )
        )
        said.append(event("message_stop", {}))
        return b"".join(said)

    def _start(self) -> list[bytes]:
        self._has_started = True
        message = {
            **answer.head(self._facts),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 0, "output_tokens": 0},  # known at the end: message_delta has them
        }
        return [event("message_start", {"message": message})]

    def _delta(self, delta: Json, said: list[bytes]) -> None:
        details = delta.get("reasoning_details")
        if isinstance(details, list):
            self._details += [detail for detail in details if isinstance(detail, dict)]
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(thought, str) and thought:
            self._say("thinking", {"type": "thinking_delta", "thinking": thought}, said)
        text = delta.get("content") or delta.get("refusal")
        if isinstance(text, str) and text:
            self._say("text", {"type": "text_delta", "text": text}, said)
        for call in delta.get("tool_calls") or ():
            self._call(call, said)

    def _say(self, kind: str, delta: Json, said: list[bytes]) -> None:
        if self._open is None or self._open_kind != kind:
            self._close(said)
            block: Json = {"type": "text", "text": ""}
            if kind == "thinking":
                block = {"type": "thinking", "thinking": "", "signature": ""}
            self._open, self._open_kind = self._add(block, said), kind
        said.append(event("content_block_delta", {"index": self._open, "delta": delta}))

    def _call(self, call: Json, said: list[bytes]) -> None:
        index = call.get("index", 0)
        function = call.get("function") or {}
        if index not in self._calls:
            self._close(said)
            if self._details:
                self._hide(said)
            block: Json = {
                "type": "tool_use",
                "id": call.get("id") or "",
                "name": function.get("name") or "",
                "input": {},
            }
            self._calls[index] = self._add(block, said)
        arguments = function.get("arguments")
        if arguments:
            delta = {"type": "input_json_delta", "partial_json": arguments}
            said.append(event("content_block_delta", {"index": self._calls[index], "delta": delta}))

    def _hide(self, said: list[bytes]) -> None:
        """Hand over reasoning that is no text (a signature of a call, an encrypted thought) for the next turn."""
        data = reasoning_state.pack(reasoning_state.merge(self._details))
        self._details = []
        index = self._add({"type": "redacted_thinking", "data": data}, said)
        said.append(event("content_block_stop", {"index": index}))

    def _add(self, block: Json, said: list[bytes]) -> int:
        index = self._count
        self._count += 1
        said.append(event("content_block_start", {"index": index, "content_block": block}))
        return index

    def _close(self, said: list[bytes]) -> None:
        if self._open is None:
            return
        if self._open_kind == "thinking" and self._details:
            signature = reasoning_state.pack(reasoning_state.merge(self._details))
            self._details = []
            delta = {"type": "signature_delta", "signature": signature}
            said.append(event("content_block_delta", {"index": self._open, "delta": delta}))
        said.append(event("content_block_stop", {"index": self._open}))
        self._open = None
