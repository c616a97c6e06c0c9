"""Read a chat completions stream: bytes pass through where the provider is exact, else are brought into shape. Pure.

The fast way costs a handful of substring tests for a whole block of events. It is taken once a golden first output
was seen, and only while each event of the block provably says nothing new: it opens as all others do and its one
choice is unfinished. A JSON string cannot hold an unescaped quote, so `"finish_reason":null` is never content.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson

from gateway.providers import events, failures, quirks, shape
from gateway.providers.openai_chat import usage as usages
from gateway.providers.openai_chat.response import normalize_reasoning
from gateway.providers.protocol import Endpoint, ProviderError, Usage

Json = dict[str, Any]

_OPENING = re.compile(
    rb'data: ?\{"id": ?"[^"\\]*", ?"object": ?"chat\.completion\.chunk", ?"created": ?\d+, ?"model": ?"[^"\\]*"'
)


class ChatStreamReader:
    """See `protocol.StreamReader`. One block of several events may be yielded as one bytes object."""

    def __init__(self, *, endpoint: Endpoint, chunk_id: str, created: int) -> None:
        self.usage: Usage | None = None
        self.finish_reason = ""
        self.native_finish_reason = ""
        self.service_tier = ""
        self.error: ProviderError | None = None
        self.has_output = False
        self.is_done = False
        self.garbage_lines = 0
        self._endpoint = endpoint
        self._row = quirks.of(endpoint.provider)
        self._splitter = events.EventSplitter()
        self._head: Json = {
            "id": chunk_id,
            "object": "chat.completion.chunk",
            "created": created,
            "model": endpoint.model,
        }
        self._our_opening = b"data: " + orjson.dumps(self._head)[:-1]
        self._is_named = False
        self._opening = b""  # how this provider's events begin; empty while the fast way is closed
        self._open_calls: dict[tuple[int, int], list[Any]] = {}  # (choice, call) -> [id, has arguments]

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what became whole; see `protocol.StreamReader.feed`."""
        block = self._splitter.feed(data)
        if block:
            opening = self._opening
            if opening:
                count = block.count(b"\n\n")
                if (
                    block.count(opening) == count
                    and block.count(b'"finish_reason":null') == count
                    and b'"error"' not in block
                    and (b'"usage"' not in block or block.count(b'"usage":null') == count)
                ):
                    yield block.replace(opening, self._our_opening)
                    return
            joined = b"".join(self._events(block))
            if joined:
                yield joined

    def finish(self) -> Iterator[bytes]:
        """Yield an event that no blank line ended, and close tool calls that never got arguments."""
        yield from self._events(self._splitter.finish())
        yield from self._close_calls()

    def _events(self, block: bytes) -> Iterator[bytes]:
        for raw in block.split(b"\n\n"):
            if not raw or self.is_done:
                continue
            data = events.payload(raw)
            if not data:
                continue
            if data == b"[DONE]":
                self.is_done = True
                continue
            try:
                chunk = orjson.loads(data)
            except orjson.JSONDecodeError:
                self.garbage_lines += 1
                continue
            if not isinstance(chunk, dict):
                self.garbage_lines += 1
                continue
            yield from self._chunk(chunk, raw)

    def _chunk(self, chunk: Json, raw: bytes) -> Iterator[bytes]:
        reported = usages.find(chunk)
        if reported is not None:
            self.usage = usages.read(reported, counts_reasoning_apart=self._row.counts_reasoning_apart)
        tier = chunk.get("service_tier")
        if isinstance(tier, str):
            self.service_tier = tier
        if chunk.get("error"):
            self.error = failures.in_stream(
                chunk["error"], provider=self._endpoint.provider, api_key=self._endpoint.api_key
            )
            return
        choices = chunk.get("choices")
        if not isinstance(choices, list) or not choices:
            return  # the usage chunk, Azure's filter preamble, or a heartbeat
        is_golden = self._row.is_exact and reported is None and b"\n" not in raw
        for choice in choices:
            if not isinstance(choice, dict):
                self.garbage_lines += 1
                return
            is_golden = self._observe(choice) and is_golden
        if self.error is not None:
            return
        opening = _OPENING.match(raw) if is_golden else None
        if opening is not None:
            if self.has_output:
                self._opening = opening.group()
            if b'"provider"' not in raw and not self._is_named:
                self._is_named = (
                    True  # OpenRouter's clients read who answered; it costs nothing to say it in the opening
                )
                self._our_opening += b',"provider":' + orjson.dumps(self._endpoint.provider)
            yield self._our_opening + raw[opening.end() :] + b"\n\n"
            return
        yield self._normalized(chunk, choices)

    def _observe(self, choice: Json) -> bool:
        """Take in what a choice says; return whether it already has the one shape."""
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            return False
        content, calls = delta.get("content"), delta.get("tool_calls")
        if content or calls or delta.get("refusal") or delta.get("reasoning_content") or delta.get("reasoning"):
            self.has_output = True
        native = choice.get("finish_reason")
        if native:
            self._finish(str(choice.get("native_finish_reason") or native), str(native))
        is_plain = isinstance(content, str) or content is None
        return (
            is_plain
            and not (calls is None and "tool_calls" in delta)
            and "reasoning" not in delta
            and "reasoning_content" not in delta
            and "finish_reason" in choice
            and not (calls and not all(_is_golden_call(call) for call in calls))
        )

    def _finish(self, native: str, reason: str) -> None:
        if native.lower() in shape.INTERRUPTIONS or reason.lower() in shape.INTERRUPTIONS:
            self.error = ProviderError(
                502, "UpstreamError", f"{self._endpoint.provider} broke the answer off ({native}).", None, None, True
            )
            return
        self.native_finish_reason = native
        self.finish_reason = shape.finish_reason(reason)

    def _normalized(self, chunk: Json, choices: list[Json]) -> bytes:
        """Return a chunk in the one shape; known extras such as logprobs and citations stay."""
        closing: list[bytes] = []
        for position, choice in enumerate(choices):
            delta = choice.get("delta")
            if not isinstance(delta, dict):
                delta = choice["delta"] = {}
            normalize_reasoning(delta)
            if type(choice.get("index")) is not int:
                choice["index"] = position
            for name in ("refusal", "function_call", "tool_calls", "role", "audio"):
                if name in delta and delta[name] is None:
                    del delta[name]
            if delta.get("tool_calls"):
                self._normalize_calls(choice["index"], delta["tool_calls"])
            else:
                delta.pop("tool_calls", None)
            native = choice.get("finish_reason") or None
            if native:
                closing.extend(self._close_calls())
                choice["finish_reason"] = shape.finish_reason(str(native))
                choice["native_finish_reason"] = str(choice.get("native_finish_reason") or native)
            else:
                choice["finish_reason"] = None
            choice.setdefault("logprobs", None)
            choice.pop("usage", None)
        chunk.pop("usage", None)
        chunk.pop("x_groq", None)
        if chunk.get("service_tier", "") is None:
            del chunk["service_tier"]
        if not isinstance(chunk.get("system_fingerprint"), str):
            chunk["system_fingerprint"] = ""
        chunk |= self._head
        if chunk.get("provider") != "simulator":
            chunk["provider"] = self._endpoint.provider
        return b"".join(closing) + shape.event({**self._head, **chunk})

    def _normalize_calls(self, choice_index: int, calls: list[Json]) -> None:
        for position, call in enumerate(calls):
            if type(call.get("index")) is not int:
                # Servers that send whole calls leave the index out; the id tells one call from the next.
                call["index"] = self._index_of(choice_index, call.get("id"), position)
            function = call.get("function")
            if not isinstance(function, dict):
                function = call["function"] = {}
            arguments = function.get("arguments")
            if isinstance(arguments, dict):
                arguments = function["arguments"] = orjson.dumps(arguments).decode()
            elif arguments is None and "arguments" in function:
                arguments = function["arguments"] = ""
            for name in ("id", "type"):
                if name in call and call[name] is None:
                    del call[name]
            if function.get("name", "") is None:
                del function["name"]
            known = self._open_calls.setdefault((choice_index, call["index"]), [call.get("id"), False])
            known[1] = known[1] or bool(arguments)
            if call.get("id"):
                known[0] = call["id"]
                call.setdefault("type", "function")

    def _index_of(self, choice_index: int, call_id: object, position: int) -> int:
        mine = [(key[1], known[0]) for key, known in self._open_calls.items() if key[0] == choice_index]
        for index, known_id in mine:
            if call_id is None or call_id == known_id:
                return index if call_id is not None else mine[-1][0]
        return len(mine) if mine else position

    def _close_calls(self) -> Iterator[bytes]:
        """Say `{}` for tool calls that streamed no arguments: an empty string is not JSON."""
        for (choice_index, index), known in self._open_calls.items():
            if not known[1]:
                known[1] = True
                delta = {"tool_calls": [{"index": index, "function": {"arguments": "{}"}}]}
                choice = {"index": choice_index, "delta": delta, "logprobs": None, "finish_reason": None}
                yield shape.event(
                    {**self._head, "provider": self._endpoint.provider, "system_fingerprint": "", "choices": [choice]}
                )


def _is_golden_call(call: object) -> bool:
    if not isinstance(call, dict) or type(call.get("index")) is not int:
        return False
    function = call.get("function")
    return isinstance(function, dict) and isinstance(function.get("arguments", ""), str)
