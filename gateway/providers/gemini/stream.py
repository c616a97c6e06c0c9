"""Read a streamGenerateContent stream (`alt=sse`) and say it in canonical chunks. Pure.

The protocol has no end marker; its last event brings a finish reason, which some models repeat on every event. So
the finishing chunk is held back until the body has ended.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from gateway.native import NativeEvents
from gateway.providers import events, failures, shape
from gateway.providers.gemini import response
from gateway.providers.protocol import Endpoint, ProviderError, Usage

Json = dict[str, Any]


class ContentStreamReader:
    """See `protocol.StreamReader`."""

    def __init__(self, *, endpoint: Endpoint, chunk_id: str, created: int) -> None:
        self.usage: Usage | None = None
        self.finish_reason = ""
        self.native_finish_reason = ""
        self.service_tier = ""
        self.error: ProviderError | None = None
        self.has_output = False
        self.is_done = False
        self.garbage_lines = 0
        self.native: NativeEvents | None = None
        self._endpoint = endpoint
        self._splitter = events.EventSplitter()
        self._id = chunk_id
        self._created = created
        self._started: set[int] = set()
        self._call_counts: dict[int, int] = {}
        self._detail_counts: dict[int, int] = {}
        self._finished: dict[int, str] = {}  # choice -> native reason
        self._refusal = ""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what became whole; see `protocol.StreamReader.feed`."""
        joined = b"".join(self._read(self._splitter.feed(data)))
        if joined:
            yield joined

    def finish(self) -> Iterator[bytes]:
        """Yield an event that no blank line ended, and the held-back finishing chunks."""
        joined = b"".join((*self._read(self._splitter.finish()), *self._close()))
        if joined:
            yield joined

    def _read(self, block: bytes) -> Iterator[bytes]:
        for raw in block.split(b"\n\n"):
            data = events.payload(raw)
            if not data or self.error is not None:
                continue
            try:
                answer = orjson.loads(data)
            except orjson.JSONDecodeError:
                self.garbage_lines += 1
                continue
            if isinstance(answer, list) and answer:  # errors come wrapped in an array
                answer = answer[0]
            if isinstance(answer, dict):
                yield from self._answer(answer)
            else:
                self.garbage_lines += 1

    def _answer(self, answer: Json) -> Iterator[bytes]:
        reported = answer.get("usageMetadata")
        if isinstance(reported, dict):
            self.usage = response.usage(reported)
            self.service_tier = response.service_tier(reported) or self.service_tier
        if answer.get("error"):
            self.error = failures.in_stream(answer["error"], endpoint=self._endpoint)
            return
        blocked = response.block_reason(answer)
        if blocked:
            self.has_output = True
            self._refusal = f"The prompt was blocked ({blocked})."
            self._end(0, blocked)
        for position, candidate in enumerate(answer.get("candidates") or ()):
            if isinstance(candidate, dict):
                index = candidate.get("index")
                yield from self._candidate(candidate, index if type(index) is int else position)

    def _candidate(self, candidate: Json, index: int) -> Iterator[bytes]:
        for part in response.parts_of(candidate):
            delta = self._delta(part, index)
            if delta:
                yield from self._start(index)
                yield self._chunk(index, delta)
        native = candidate.get("finishReason")
        if native:
            self._end(index, str(native))

    def _delta(self, part: Json, index: int) -> Json:
        delta: Json = {}
        text = part.get("text")
        if isinstance(text, str) and text:
            delta = shape.reasoning(text, []) if part.get("thought") else {"content": text}
        number = self._call_counts.get(index, 0)
        call = response.tool_call(part, number=number, answer_id=f"{self._id}{index or ''}")
        if call is not None:
            self._call_counts[index] = number + 1
            delta["tool_calls"] = [{"index": number, **call}]
        image = response.image_of(part)
        if image is not None:
            delta["images"] = [image]
        self.has_output = self.has_output or bool(delta)
        signed = response.signature_detail(
            part, call_id=call["id"] if call else None, index=self._detail_counts.get(index, 0)
        )
        if signed is not None:
            self._detail_counts[index] = signed["index"] + 1
            delta["reasoning_details"] = [signed]
        return delta

    def _end(self, index: int, native: str) -> None:
        if native in response.BROKEN:
            self.error = ProviderError(
                502, "UpstreamError", f"{self._endpoint.provider} broke the answer off ({native}).", None, None, True
            )
            return
        self._finished[index] = native
        if index == 0:
            self.native_finish_reason = native
            self.finish_reason = response.finish_reason(native, has_calls=bool(self._call_counts.get(0)))
            self.is_done = True

    def _close(self) -> Iterator[bytes]:
        if self.error is not None:
            return
        for index, native in self._finished.items():
            yield from self._start(index)
            if self._refusal:
                yield self._chunk(index, {"refusal": self._refusal})
            finish = response.finish_reason(native, has_calls=bool(self._call_counts.get(index)))
            yield self._chunk(index, {}, finish=finish, native=native)
        self._finished = {}

    def _start(self, index: int) -> Iterator[bytes]:
        if index not in self._started:
            self._started.add(index)
            yield self._chunk(index, {"role": "assistant", "content": ""})

    def _chunk(self, index: int, delta: Json, *, finish: str | None = None, native: str | None = None) -> bytes:
        return shape.chunk(
            chunk_id=self._id,
            created=self._created,
            model=self._endpoint.model,
            provider=self._endpoint.provider,
            delta=delta,
            index=index,
            finish=finish,
            native=native,
        )
