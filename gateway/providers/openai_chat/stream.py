"""Read a chat completions stream: bytes pass through where the provider is exact, else are brought into shape. Pure.

The fast way compares the two ends of an event. Within a stream of an exact provider everything up to `"delta":{` and
everything from `"finish_reason":null` on is the same bytes in each unfinished event; an event with these ends differs
from one that was parsed only inside its delta: it says nothing new and goes on, our id and model in its opening.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson

from gateway.native import NativeEvents
from gateway.providers import events, failures, quirks, shape
from gateway.providers.openai_chat import complaints
from gateway.providers.openai_chat import usage as usages
from gateway.providers.openai_chat.response import normalize_reasoning
from gateway.providers.protocol import Endpoint, ProviderError, Usage

Json = dict[str, Any]

_OPENING = re.compile(
    rb'data: ?\{"id": ?"[^"\\]*", ?"object": ?"chat\.completion\.chunk", ?"created": ?\d+, ?"model": ?"[^"\\]*"'
    rb'([^\[]*"choices": ?\[\{"index": ?0, ?"delta": ?\{)?'
)
# What follows may be `"usage":null` and OpenAI's padding, whose length and letters differ from chunk to chunk.
_UNFINISHED = re.compile(rb'"finish_reason": ?null\}\](?:, ?"usage": ?null)?(?:\}$|, ?"obfuscation": ?")')


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
        self.native: NativeEvents | None = None
        self._endpoint = endpoint
        self._row = quirks.of(endpoint.provider)
        self._splitter = events.EventSplitter()
        self._head: Json = {
            "id": chunk_id,
            "object": "chat.completion.chunk",
            "created": created,
            "model": endpoint.model,
        }
        self._our_head = b"data: " + orjson.dumps(self._head)[:-1]
        # How this stream's unfinished events begin and end; empty until learned.
        self._opening = self._ending = self._full_ending = self._our_opening = b""
        self._is_padded = False
        self._open_calls: dict[tuple[int, int], list[Any]] = {}  # (choice, call) -> [id, has arguments]

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what became whole; see `protocol.StreamReader.feed`."""
        opening = self._opening
        if (
            opening
            and data.startswith(opening)
            and not self._splitter.is_holding
            and b'"tool_calls"' not in data  # their arguments are watched, so they are parsed
        ):
            start = len(opening)
            if data.endswith(self._full_ending) and data.find(b"\n\n", start) == len(data) - 2:
                return iter((self._our_opening + data[start:],))
            plain = self._plain(data) if data.endswith(b"\n\n") else b""
            if plain:
                return iter((plain,))
        block = self._splitter.feed(data)
        joined = b"".join(self._events(block)) if block else b""
        return iter((joined,)) if joined else iter(())

    def finish(self) -> Iterator[bytes]:
        """Yield an event that no blank line ended, and close tool calls that never got arguments."""
        yield from self._events(self._splitter.finish())
        yield from self._close_calls()

    def _plain(self, data: bytes) -> bytes:
        """Return whole events with our opening if each of them is as plain as the learned one, else nothing."""
        opening, ending, is_padded = self._opening, self._ending, self._is_padded
        start, rest = len(opening), []
        for event in data[:-2].split(b"\n\n"):
            if not event.startswith(opening) or not _ends(event, ending, is_padded=is_padded):
                return b""
            rest.append(event[start:])
        return self._our_opening + (b"\n\n" + self._our_opening).join(rest) + b"\n\n"

    def _events(self, block: bytes) -> Iterator[bytes]:
        for raw in block.split(b"\n\n"):
            if not raw or self.is_done:
                continue
            opening = self._opening  # may be learned on the way
            if (
                opening
                and raw.startswith(opening)
                and _ends(raw, self._ending, is_padded=self._is_padded)
                and b'"tool_calls"' not in raw
            ):
                yield b"%b%b\n\n" % (self._our_opening, raw[len(opening) :])
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
        complaint = complaints.found(chunk, provider=self._endpoint.provider)
        if complaint is not None:
            self.error = failures.in_stream(complaint, endpoint=self._endpoint)
            return
        choices = chunk.get("choices")
        if not isinstance(choices, list) or not choices:
            return  # the usage chunk, Azure's filter preamble, or a heartbeat
        is_golden = self._row.is_exact and reported is None and b"\n" not in raw
        is_golden = is_golden and isinstance(chunk.get("system_fingerprint", ""), str)  # never null, see protocol
        for choice in choices:
            if not isinstance(choice, dict):
                self.garbage_lines += 1
                return
            is_golden = self._observe(choice) and is_golden
        if self.error is not None:
            return
        opening = _OPENING.match(raw) if is_golden else None
        if opening is None:
            yield self._normalized(chunk, choices)
            return
        head = self._our_head
        if "provider" not in chunk:  # OpenRouter's clients read who answered
            head += b',"provider":' + orjson.dumps(self._endpoint.provider)
        if any(choice["finish_reason"] for choice in choices):
            yield from self._close_calls()
        yield head + raw[opening.end(1) - len(opening[1]) if opening[1] else opening.end() :] + b"\n\n"
        if self.has_output and opening[1] and not self._opening:
            self._learn(raw, opening=opening, head=head)

    def _learn(self, raw: bytes, *, opening: re.Match[bytes], head: bytes) -> None:
        ending = _UNFINISHED.search(raw)
        if ending is not None and raw.startswith(b"data: "):
            self._opening, self._our_opening = opening.group(), head + opening[1]
            self._ending = ending.group()
            self._full_ending = self._ending + b"\n\n"
            self._is_padded = not self._ending.endswith(b"}")

    def _observe(self, choice: Json) -> bool:
        """Take in what a choice says; return whether it already has the one shape."""
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            return False
        content, calls = delta.get("content"), delta.get("tool_calls")
        if content or calls or delta.get("refusal") or delta.get("reasoning_content") or delta.get("reasoning"):
            self.has_output = True
        for call in calls if isinstance(calls, list) else ():
            if _is_golden_call(call):
                self._watch(choice.get("index"), call)
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
            self._watch(choice_index, call)
            if call.get("id"):
                call.setdefault("type", "function")

    def _watch(self, choice_index: Any, call: Json) -> None:
        known = self._open_calls.setdefault((choice_index, call["index"]), ["", False])
        known[0] = call.get("id") or known[0]
        known[1] = known[1] or bool(call["function"].get("arguments"))

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


def _ends(event: bytes, ending: bytes, *, is_padded: bool) -> bool:
    """Return whether an event ends as the learned one did."""
    if event.endswith(ending):
        return True
    at = event.rfind(ending) if is_padded else -1
    # Behind `"obfuscation":"` only the padding, its closing quote and the closing brace may follow.
    return at >= 0 and event.find(b'"', at + len(ending)) == len(event) - 2
