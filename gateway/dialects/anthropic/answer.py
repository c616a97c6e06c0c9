"""Say a whole canonical answer as Anthropic's message object. Pure.

Wire format: Anthropic API reference, "Create a Message", version 2023-06-01.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import orjson

from gateway.dialects import reasoning_state
from gateway.dialects.protocol import Facts
from gateway.native import NativeAnswer
from gateway.providers import shape
from gateway.providers.protocol import Completion

Json = dict[str, Any]

STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
_encode = msgspec.json.Encoder().encode


def passed(native: NativeAnswer, facts: Facts) -> bytes:
    """Return a provider's own message with our name of the model and the receipt in short."""
    parts = shape.raw_fields(native.raw)
    parts["model"] = msgspec.Raw(orjson.dumps(facts.model))
    for name, value in facts.additions.items():
        parts[name] = msgspec.Raw(orjson.dumps(value))
    return _encode(parts)


def translated(completion: Completion, facts: Facts) -> bytes:
    """Return the message that a canonical answer amounts to."""
    said = completion.message
    blocks = _blocks(said)
    reason = STOP_REASONS.get(completion.finish_reason, "end_turn")
    if said.get("tool_calls") and reason == "end_turn":
        reason = "tool_use"
    return orjson.dumps(
        {
            **head(facts),
            "content": blocks,
            "stop_reason": reason,
            "stop_sequence": None,
            "usage": usage(facts.usage),
            **facts.additions,
        }
    )


def head(facts: Facts) -> Json:
    """Return the fields that do not depend on what was said."""
    message_id = "msg_" + facts.answer_id.removeprefix("gen_")
    return {"id": message_id, "type": "message", "role": "assistant", "model": facts.model}


def usage(reported: Mapping[str, Any]) -> Json:
    """Return the counts as Anthropic tells them: `input_tokens` without those read from or written to the cache."""
    read = write = thinking = 0
    details = reported.get("prompt_tokens_details")
    if isinstance(details, dict):
        read, write = details.get("cached_tokens") or 0, details.get("cache_write_tokens") or 0
    details = reported.get("completion_tokens_details")
    if isinstance(details, dict):
        thinking = details.get("reasoning_tokens") or 0
    return {
        "input_tokens": max(0, (reported.get("prompt_tokens") or 0) - read - write),
        "cache_creation_input_tokens": write,
        "cache_read_input_tokens": read,
        "output_tokens": reported.get("completion_tokens") or 0,
        "output_tokens_details": {"thinking_tokens": thinking},
    }


def thinking_block(text: str, details: list[Json]) -> Json | None:
    """Return another model's reasoning as a block that brings it back with the next turn, None where there is none."""
    if not text and not details:
        return None
    if details and not text:
        return {"type": "redacted_thinking", "data": reasoning_state.pack(details)}
    return {"type": "thinking", "thinking": text, "signature": reasoning_state.pack(details) if details else ""}


def _blocks(said: Mapping[str, Any]) -> list[Json]:
    blocks: list[Json] = []
    details = said.get("reasoning_details")
    text = said.get("reasoning_content") or said.get("reasoning")
    thinking = thinking_block(text if isinstance(text, str) else "", details if isinstance(details, list) else [])
    if thinking is not None:
        blocks.append(thinking)
    content = shape.content_text(said.get("content")) or said.get("refusal")
    if content:
        blocks.append({"type": "text", "text": content})
    for call in said.get("tool_calls") or ():
        function = call.get("function") or {}
        blocks.append(
            {
                "type": "tool_use",
                "id": call.get("id") or "",
                "name": function.get("name") or "",
                "input": _arguments(function.get("arguments")),
            }
        )
    return blocks


def _arguments(written: object) -> Json:
    """Return a call's arguments as an object; what a model wrote that is none is handed on for the client to judge."""
    if not isinstance(written, str) or not written.strip():
        return {}
    try:
        decoded = orjson.loads(written)
    except orjson.JSONDecodeError:
        return {"_invalid_json": written}
    return decoded if isinstance(decoded, dict) else {"_invalid_json": written}
