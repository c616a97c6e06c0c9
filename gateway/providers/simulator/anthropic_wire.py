"""Let the simulator speak Anthropic's Messages: requests in, messages and event streams out. Pure.

The answer itself is made in OpenAI's shape; here it only changes its clothes, so that both protocols tell the same
story, faults included. A signature here is a plain mark: nothing verifies it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from gateway.providers import events, shape
from gateway.providers.protocol import Usage

Json = dict[str, Any]

SIGNATURE = "c2ltdWxhdGVkLXNpZ25hdHVyZQ=="
STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
_SAME = (
    "model",
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "stream",
    "service_tier",
    "thinking",
    "kairosroute_fault",
)
_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def canonical(body: Mapping[str, Any]) -> Json:
    """Return a Messages request as a canonical chat body."""
    made: Json = {name: body[name] for name in _SAME if name in body}
    messages: list[Json] = []
    if body.get("system"):
        messages.append({"role": "system", "content": _content(body["system"])})
    for message in body.get("messages") or ():
        messages += _messages(message)
    made["messages"] = messages
    if body.get("stop_sequences"):
        made["stop"] = body["stop_sequences"]
    if body.get("tools"):
        made["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": tool.get("name", ""),
                    "description": tool.get("description", ""),
                    "parameters": tool.get("input_schema") or {},
                },
            }
            for tool in body["tools"]
        ]
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        made["tool_choice"] = {
            "any": "required",
            "tool": {"type": "function", "function": {"name": choice.get("name")}},
        }.get(str(choice.get("type")), choice.get("type"))
        if choice.get("disable_parallel_tool_use"):
            made["parallel_tool_calls"] = False
    output = body.get("output_config") or {}
    if output.get("format"):
        made["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": output["format"].get("schema")},
        }
    if output.get("effort"):
        made["reasoning_effort"] = output["effort"]
    return made


def _content(content: Any) -> Any:
    if isinstance(content, str):
        return content
    parts: list[Json] = []
    for block in content or ():
        kept = {"cache_control": block["cache_control"]} if block.get("cache_control") else {}
        if block.get("type") == "text":
            parts.append({"type": "text", "text": block.get("text", ""), **kept})
        elif block.get("type") in ("image", "document"):
            source = block.get("source") or {}
            url = source.get("url") or f"data:{source.get('media_type')};base64,{source.get('data', '')}"
            parts.append({"type": "image_url", "image_url": {"url": url}, **kept})
    return parts


def _messages(message: Mapping[str, Any]) -> list[Json]:
    role, content = message.get("role"), message.get("content")
    if isinstance(content, str) or role not in ("user", "assistant"):
        return [{"role": role, "content": content}]
    blocks = [block for block in content or () if isinstance(block, dict)]
    made = [
        {"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": _content(block.get("content"))}
        for block in blocks
        if block.get("type") == "tool_result"
    ]
    calls = [
        shape.tool_call(
            call_id=block.get("id", ""), name=block.get("name", ""), arguments=orjson.dumps(block.get("input")).decode()
        )
        for block in blocks
        if block.get("type") == "tool_use"
    ]
    said = _content(blocks)
    if said or calls:
        made.append({"role": role, "content": said, **({"tool_calls": calls} if calls else {})})
    return made


def error(status: int, body: bytes) -> bytes:
    """Return an OpenAI-shaped error as Anthropic's."""
    return orjson.dumps(_error(status, orjson.loads(body)))


def _error(status: int, body: Json) -> Json:
    kind = _ERROR_TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": body["error"]["message"]}}


def whole(body: bytes) -> bytes:
    """Return a completion as a message; a body that a fault broke stays broken."""
    try:
        completion = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body.replace(b"chat.completion", b"message")
    if "error" in completion:
        return orjson.dumps(_error(529, completion))
    choice = completion["choices"][0]
    message = choice["message"]
    blocks: list[Json] = []
    if message.get("reasoning_content"):
        blocks.append({"type": "thinking", "thinking": message["reasoning_content"], "signature": SIGNATURE})
    if message.get("content"):
        blocks.append({"type": "text", "text": message["content"]})
    for call in message.get("tool_calls", ()):
        blocks.append({"type": "tool_use", "id": call["id"], "name": call["function"]["name"], "input": _input(call)})
    made: Json = {
        "id": completion["id"].replace("chatcmpl-", "msg_"),
        "type": "message",
        "role": "assistant",
        "model": completion["model"],
        "content": blocks,
        "stop_reason": "refusal" if message.get("refusal") else STOP_REASONS[choice["finish_reason"]],
        "stop_sequence": None,
        "provider": completion["provider"],
    }
    if message.get("refusal"):
        made["stop_details"] = {"type": "refusal", "category": None, "explanation": message["refusal"]}
    if "usage" in completion:
        made["usage"] = _usage(completion["usage"])
    return orjson.dumps(made)


def _input(call: Json) -> Any:
    try:
        return orjson.loads(call["function"]["arguments"])
    except orjson.JSONDecodeError:  # cut by max_tokens
        return {}


def _usage(usage: Json) -> Json:
    details = usage["prompt_tokens_details"]
    read, written = details["cached_tokens"], details["cache_write_tokens"]
    return {
        "input_tokens": usage["prompt_tokens"] - read - written,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": written,
        "cache_creation": {"ephemeral_5m_input_tokens": written, "ephemeral_1h_input_tokens": 0},
        "output_tokens": usage["completion_tokens"],
        "output_tokens_details": {"thinking_tokens": usage["completion_tokens_details"]["reasoning_tokens"]},
        "service_tier": "standard",
    }


class StreamWriter:
    """Turns the simulator's chunks into Messages events, piece by piece: waits and faults stay where they are."""

    def __init__(self, usage: Usage) -> None:
        self._input = _usage(shape.usage_body(usage)) | {"output_tokens": 1}
        self._has_started = False
        self._block = -1
        self._kind = ""
        self._stop_reason = ""
        self._refusal = ""

    def write(self, data: bytes) -> bytes:
        """Return the events that a piece of the simulator's stream means."""
        return b"".join(self._events(data))

    def _events(self, data: bytes) -> Iterator[bytes]:
        for raw in data.split(b"\n\n"):
            text = events.payload(raw)
            if not text:
                if raw:
                    yield raw + b"\n\n"  # a comment
                continue
            if text == b"[DONE]":
                yield from self._done(None)
                continue
            try:
                chunk = orjson.loads(text)
            except orjson.JSONDecodeError:
                yield b'event: content_block_delta\ndata: {"type": "content_block_delta", "delta": {"broken\n\n'
                continue
            if "error" in chunk:
                yield _event(_error(529, chunk))
                continue
            if not self._has_started:
                self._has_started = True
                yield _event({"type": "message_start", "message": self._message(chunk)})
            for choice in chunk["choices"]:
                yield from self._delta(choice["delta"])
                if choice["finish_reason"]:
                    self._stop_reason = STOP_REASONS[choice["finish_reason"]]
                    yield from self._close()
            if chunk.get("usage"):
                yield from self._done(_usage(chunk["usage"]))

    def _message(self, chunk: Json) -> Json:
        return {
            "id": chunk["id"].replace("chatcmpl-", "msg_"),
            "type": "message",
            "role": "assistant",
            "model": chunk["model"],
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "provider": chunk["provider"],
            "usage": self._input,
        }

    def _delta(self, delta: Json) -> Iterator[bytes]:
        if delta.get("refusal"):
            self._refusal += delta["refusal"]
        if delta.get("reasoning_content"):
            yield from self._open("thinking", {"type": "thinking", "thinking": "", "signature": ""})
            yield self._block_delta({"type": "thinking_delta", "thinking": delta["reasoning_content"]})
        if delta.get("content"):
            yield from self._open("text", {"type": "text", "text": ""})
            yield self._block_delta({"type": "text_delta", "text": delta["content"]})
        for call in delta.get("tool_calls", ()):
            function = call["function"]
            if function.get("name"):
                block = {"type": "tool_use", "id": call["id"], "name": function["name"], "input": {}}
                yield from self._open(f"tool {call['index']}", block)
            # A call without arguments streams none, as the real API does.
            if function.get("arguments") not in ("", "{}", None):
                yield self._block_delta({"type": "input_json_delta", "partial_json": function["arguments"]})

    def _open(self, kind: str, block: Json) -> Iterator[bytes]:
        if kind != self._kind:
            yield from self._close()
            self._kind = kind
            self._block += 1
            yield _event({"type": "content_block_start", "index": self._block, "content_block": block})

    def _close(self) -> Iterator[bytes]:
        if self._kind == "thinking":
            yield self._block_delta({"type": "signature_delta", "signature": SIGNATURE})
        if self._kind:
            yield _event({"type": "content_block_stop", "index": self._block})
        self._kind = ""

    def _block_delta(self, delta: Json) -> bytes:
        return _event({"type": "content_block_delta", "index": self._block, "delta": delta})

    def _done(self, usage: Json | None) -> Iterator[bytes]:
        if self._stop_reason:
            delta: Json = {"stop_reason": self._stop_reason, "stop_sequence": None}
            if self._refusal:
                delta["stop_reason"] = "refusal"
                delta["stop_details"] = {"type": "refusal", "category": None, "explanation": self._refusal}
            self._stop_reason = ""
            yield _event({"type": "message_delta", "delta": delta, **({"usage": usage} if usage else {})})
            yield _event({"type": "message_stop"})


def _event(event: Json) -> bytes:
    return b"event: " + str(event["type"]).encode() + b"\ndata: " + orjson.dumps(event) + b"\n\n"
