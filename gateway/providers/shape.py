"""The one answer shape: OpenAI's chat completion and chunk, complete in every key that clients require. Pure.

Readers of other protocols build their answers from these parts; nothing here knows a provider.
Field list: OpenAI API reference, "The chat completion object" and "The chat completion chunk object".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import orjson

from gateway.providers.protocol import Usage

Json = dict[str, Any]

FINISH_REASONS: dict[str, str] = {
    # OpenAI's own
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "function_call": "function_call",
    # names that compatible servers use
    "eos": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "complete": "stop",
    "max_tokens": "length",
    "model_length": "length",
    "tool_use": "tool_calls",
    "tool_call": "tool_calls",
    "sensitive": "content_filter",
    "safety": "content_filter",
    "refusal": "content_filter",
    "error_toxic": "content_filter",
    "error_limit": "length",
}
INTERRUPTIONS = frozenset({"error", "network_error", "insufficient_system_resource", "abort"})

_raw_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


def finish_reason(native: str) -> str:
    """Return OpenAI's word for a native finish reason. Unknown words mean that the model ended by itself: `stop`."""
    return FINISH_REASONS.get(native.lower(), "stop")


def raw_fields(body: bytes) -> dict[str, msgspec.Raw]:
    """Split a JSON object into its top-level fields without decoding their values.

    Raises:
        msgspec.DecodeError: the body is not a JSON object.
    """
    return _raw_fields.decode(body)


def event(chunk: Mapping[str, Any]) -> bytes:
    """Return a chunk as a server-sent event. The space after `data:` is needed by KairosRoute's own SDK."""
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


def chunk(
    *,
    chunk_id: str,
    created: int,
    model: str,
    provider: str,
    delta: Json,
    index: int = 0,
    finish: str | None = None,
    native: str | None = None,
) -> bytes:
    """Return one chat.completion.chunk as an event. A finish reason brings its native word along."""
    choice: Json = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
    if native is not None:
        choice["native_finish_reason"] = native
    return event(
        {
            "id": chunk_id,
            "object": "chat.completion.chunk",
            "created": created,
            "model": model,
            "provider": provider,
            "system_fingerprint": "",
            "choices": [choice],
        }
    )


def tool_call(*, call_id: str, name: str, arguments: str) -> Json:
    """Return a tool call of a message. No arguments are `"{}"`: an empty string is not JSON."""
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments or "{}"}}


def reasoning(text: str, details: list[Json]) -> Json:
    """Return the reasoning keys of a message or delta: DeepSeek's name, OpenRouter's, and the replayable blocks."""
    fields: Json = {}
    if text:
        fields["reasoning_content"] = fields["reasoning"] = text
    if details:
        fields["reasoning_details"] = details
    return fields


def usage_body(usage: Usage) -> Json:
    """Return usage in OpenAI's shape: `prompt_tokens` includes cached reads and writes."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
            "audio_tokens": usage.audio_input_tokens,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": usage.audio_output_tokens,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def completion(
    *,
    answer_id: str,
    created: int,
    model: str,
    provider: str,
    message: Json,
    finish: str,
    native: str,
    usage: Usage,
    service_tier: str = "",
) -> Json:
    """Return a chat.completion with one choice. `message` holds what was said; the rest is filled in."""
    body: Json = {
        "id": answer_id,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "provider": provider,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": None, "refusal": None, **message},
                "logprobs": None,
                "finish_reason": finish,
                "native_finish_reason": native,
            }
        ],
        "usage": usage_body(usage),
        "system_fingerprint": "",
    }
    if service_tier:
        body["service_tier"] = service_tier
    return body


def content_text(content: object) -> str:
    """Return the text of a message's content, a string or a list of parts; parts without text count nothing."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str))
    return ""
