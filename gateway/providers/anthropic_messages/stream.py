"""Read an Anthropic message stream and say it in canonical chunks. Pure.

Events: message_start, content_block_start/delta/stop, message_delta, message_stop, ping, error. Blocks are numbered
over all kinds; tool calls get indexes of their own, 0, 1, ….
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.native import NativeEvents
from gateway.providers import events, failures, quirks, shape
from gateway.providers.anthropic_messages import response
from gateway.providers.anthropic_messages.request import ANSWER_TOOL
from gateway.providers.protocol import Endpoint, ProviderError, Usage

Json = dict[str, Any]


@dataclass(slots=True)
class _Block:
    kind: str
    call_index: int = -1
    detail_index: int = -1
    has_arguments: bool = False
    is_open: bool = True


class MessageStreamReader:
    """See `protocol.StreamReader`."""

    def __init__(self, *, endpoint: Endpoint, chunk_id: str, created: int, keeps_native: bool = False) -> None:
        self.usage: Usage | None = None
        self.finish_reason = ""
        self.native_finish_reason = ""
        self.service_tier = ""
        self.error: ProviderError | None = None
        self.has_output = False
        self.is_done = False
        self.garbage_lines = 0
        self.native: NativeEvents | None = NativeEvents(quirks.ANTHROPIC_MESSAGES) if keeps_native else None
        self._endpoint = endpoint
        self._splitter = events.EventSplitter()
        self._id = chunk_id
        self._created = created
        self._reported: Json = {}
        self._blocks: dict[int, _Block] = {}
        self._call_count = 0
        self._detail_count = 0
        self._is_json_answer = False
        self._has_started = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what became whole; see `protocol.StreamReader.feed`."""
        joined = b"".join(self._read(self._splitter.feed(data)))
        if joined:
            yield joined

    def finish(self) -> Iterator[bytes]:
        """Yield an event that no blank line ended, and close tool calls that a cut left without arguments."""
        joined = b"".join((*self._read(self._splitter.finish()), *self._close_calls()))
        if joined:
            yield joined

    def _read(self, block: bytes) -> Iterator[bytes]:
        for raw in block.split(b"\n\n"):
            data = events.payload(raw)
            if not data or self.is_done or self.error is not None:
                continue
            try:
                event = orjson.loads(data)
            except orjson.JSONDecodeError:
                self.garbage_lines += 1
                continue
            if isinstance(event, dict):
                if self.native is not None and event.get("type") != "error":
                    self.native.add(raw)
                yield from self._event(event)
            else:
                self.garbage_lines += 1

    def _event(self, event: Json) -> Iterator[bytes]:
        match event.get("type"):
            case "message_start":
                message = event.get("message")
                self._take_usage(message.get("usage") if isinstance(message, dict) else None)
                yield from self._start()
            case "content_block_start":
                yield from self._start()
                yield from self._block_start(event)
            case "content_block_delta":
                yield from self._block_delta(event)
            case "content_block_stop":
                yield from self._block_stop(event.get("index"))
            case "message_delta":
                self._take_usage(event.get("usage"))
                delta = event.get("delta")
                if isinstance(delta, dict) and delta.get("stop_reason"):
                    yield from self._stop(str(delta["stop_reason"]), delta.get("stop_details"))
            case "message_stop":
                self.is_done = True
            case "error":
                self.error = failures.in_stream(event.get("error"), endpoint=self._endpoint)

    def _start(self) -> Iterator[bytes]:
        if not self._has_started:
            self._has_started = True
            yield self._chunk({"role": "assistant", "content": ""})

    def _block_start(self, event: Json) -> Iterator[bytes]:
        content = event.get("content_block")
        if not isinstance(content, dict) or type(event.get("index")) is not int:
            self.garbage_lines += 1
            return
        block = self._blocks[event["index"]] = _Block(str(content.get("type")))
        match block.kind:
            case "text":
                yield from self._say(content.get("text"))
            case "tool_use" if content.get("name") == ANSWER_TOOL and self.native is None:
                self._is_json_answer = True
                block.kind = "json_answer"
            case "tool_use":
                block.call_index = self._call_count
                self._call_count += 1
                self.has_output = True
                function = {"name": content.get("name") or "", "arguments": ""}
                call = {"index": block.call_index, "id": content.get("id") or "", "type": "function"}
                yield self._chunk({"tool_calls": [{**call, "function": function}]})
            case "thinking":
                block.detail_index = self._detail_count
                self._detail_count += 1
            case "redacted_thinking":
                self.has_output = True
                detail = response.redacted_detail(content.get("data") or "", index=self._detail_count)
                self._detail_count += 1
                yield self._chunk({"reasoning_details": [detail]})
            case _:
                # The canonical form has no word for it (a server's tool at work); its own protocol's client sees it.
                self.has_output = self.has_output or self.native is not None

    def _block_delta(self, event: Json) -> Iterator[bytes]:
        block, delta = self._blocks.get(event.get("index", -1)), event.get("delta")
        if block is None or not isinstance(delta, dict):
            self.garbage_lines += 1
            return
        match delta.get("type"):
            case "text_delta":
                yield from self._say(delta.get("text"))
            case "thinking_delta" if delta.get("thinking"):
                self.has_output = True
                text = delta["thinking"]
                detail = {"type": "reasoning.text", "text": text, "format": response.FORMAT}
                yield self._chunk(shape.reasoning(text, [{**detail, "index": block.detail_index}]))
            case "signature_delta" if delta.get("signature"):
                detail = {"type": "reasoning.text", "signature": delta["signature"], "format": response.FORMAT}
                yield self._chunk({"reasoning_details": [{**detail, "index": block.detail_index}]})
            case "input_json_delta" if delta.get("partial_json"):
                yield from self._arguments(block, delta["partial_json"])

    def _say(self, text: Any) -> Iterator[bytes]:
        if isinstance(text, str) and text:
            self.has_output = True
            yield self._chunk({"content": text})

    def _arguments(self, block: _Block, text: str) -> Iterator[bytes]:
        block.has_arguments = True
        if block.kind == "json_answer":
            yield from self._say(text)
        elif block.call_index >= 0:
            yield self._chunk({"tool_calls": [{"index": block.call_index, "function": {"arguments": text}}]})

    def _block_stop(self, index: Any) -> Iterator[bytes]:
        block = self._blocks.get(index)
        if block is not None and block.is_open:
            block.is_open = False
            if not block.has_arguments and block.kind in ("tool_use", "json_answer"):
                yield from self._arguments(block, "{}")

    def _close_calls(self) -> Iterator[bytes]:
        for index in self._blocks:
            yield from self._block_stop(index)

    def _stop(self, native: str, details: object) -> Iterator[bytes]:
        yield from self._start()
        yield from self._close_calls()
        if native == "refusal":
            self.has_output = True
            yield self._chunk({"refusal": response.refusal(details) or response.REFUSED})
        self.native_finish_reason = native
        self.finish_reason = response.STOP_REASONS.get(native, "stop")
        if self._is_json_answer and native == "tool_use":
            self.finish_reason = "stop"
        yield self._chunk({}, finish=self.finish_reason, native=native)

    def _take_usage(self, reported: object) -> None:
        # message_start brings the input side, message_delta the totals so far: later numbers replace earlier ones.
        if isinstance(reported, dict):
            self._reported.update({name: value for name, value in reported.items() if value is not None})
            self.usage = response.usage(self._reported)
            self.service_tier = response.service_tier(self._reported)

    def _chunk(self, delta: Json, *, finish: str | None = None, native: str | None = None) -> bytes:
        return shape.chunk(
            chunk_id=self._id,
            created=self._created,
            model=self._endpoint.model,
            provider=self._endpoint.provider,
            delta=delta,
            finish=finish,
            native=native,
        )
