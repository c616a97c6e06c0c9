"""Read a whole Anthropic message into the canonical completion. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from gateway.errors import UpstreamGarbage
from gateway.native import NativeAnswer
from gateway.providers import failures, quirks, shape
from gateway.providers.anthropic_messages.request import ANSWER_TOOL
from gateway.providers.protocol import Completion, Endpoint, Usage

Json = dict[str, Any]

STOP_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
FORMAT = "anthropic-claude-v1"
FAST = "fast"
REFUSED = "The model declined to answer."


def read(body: bytes, *, endpoint: Endpoint) -> Completion:
    """Return the message as a completion.

    Raises:
        UpstreamGarbage: not a message.
    """
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise UpstreamGarbage(f"{endpoint.provider} answered with something that is not JSON.") from error
    if isinstance(message, dict) and message.get("type") == "error":
        found = failures.in_stream(message.get("error"), endpoint=endpoint)
        raise UpstreamGarbage(f"{endpoint.provider} answered with an error under status 200: {found.message}")
    if not isinstance(message, dict) or not isinstance(message.get("content"), list):
        raise UpstreamGarbage(f"{endpoint.provider} answered without content.")
    native = message.get("stop_reason") or "end_turn"
    said = _said(message["content"])
    is_json = said.pop("is_json_answer", False)
    finish = "stop" if is_json and native == "tool_use" else STOP_REASONS.get(native, "stop")
    if native == "refusal":
        said["refusal"] = refusal(message.get("stop_details")) or said.get("content") or REFUSED
        said["content"] = None
    reported = message.get("usage")
    counted = usage(reported) if isinstance(reported, dict) else Usage(is_reported=False)
    tier = service_tier(reported)
    answer = shape.completion(
        answer_id=str(message.get("id") or ""),
        created=0,
        model=endpoint.model,
        provider=endpoint.provider,
        message=said,
        finish=finish,
        native=native,
        usage=counted,
        service_tier=tier,
    )
    passed = NativeAnswer(quirks.ANTHROPIC_MESSAGES, body)
    return Completion(answer, counted, finish, native, tier, passed)


def usage(reported: Mapping[str, Any]) -> Usage:
    """Return the counts. Anthropic's `input_tokens` leaves the cached ones out; ours includes them."""
    read_tokens = count(reported.get("cache_read_input_tokens"))
    written = count(reported.get("cache_creation_input_tokens"))
    lifetimes = reported.get("cache_creation")
    hour = count(lifetimes.get("ephemeral_1h_input_tokens")) if isinstance(lifetimes, dict) else 0
    details = reported.get("output_tokens_details")
    output = count(reported.get("output_tokens"))
    thinking = count(details.get("thinking_tokens")) if isinstance(details, dict) else 0
    return Usage(
        input_tokens=count(reported.get("input_tokens")) + read_tokens + written,
        cached_read_tokens=read_tokens,
        cache_write_tokens=written,
        cache_write_1h_tokens=min(hour, written),
        output_tokens=output,
        reasoning_tokens=min(thinking, output),
    )


def service_tier(reported: object) -> str:
    """Return the tier that served the call, in OpenAI's words; fast mode has a price of its own like a tier."""
    if not isinstance(reported, dict):
        return ""
    if reported.get("speed") == FAST:
        return FAST
    tier = reported.get("service_tier")
    return {"standard": "default"}.get(tier, tier) if isinstance(tier, str) else ""


def refusal(details: object) -> str:
    """Return the explanation of a refusal, if the model's provider gave one."""
    explanation = details.get("explanation") if isinstance(details, dict) else None
    return explanation if isinstance(explanation, str) else ""


def count(value: object) -> int:
    """Return a token count; what is not one is 0."""
    return value if type(value) is int and value > 0 else 0


def thinking_detail(text: str, signature: str, *, index: int) -> Json:
    """Return a thinking block as OpenRouter's `reasoning.text`."""
    return {"type": "reasoning.text", "text": text, "signature": signature, "format": FORMAT, "index": index}


def redacted_detail(data: str, *, index: int) -> Json:
    """Return a redacted thinking block as OpenRouter's `reasoning.encrypted`."""
    return {"type": "reasoning.encrypted", "data": data, "format": FORMAT, "index": index}


def _said(blocks: list[Any]) -> Json:
    texts: list[str] = []
    thoughts: list[str] = []
    details: list[Json] = []
    calls: list[Json] = []
    is_json_answer = False
    for block in blocks:
        if not isinstance(block, dict):
            continue
        kind = block.get("type")
        if kind == "text":
            texts.append(block.get("text") or "")
        elif kind == "thinking":
            thoughts.append(block.get("thinking") or "")
            details.append(
                thinking_detail(block.get("thinking") or "", block.get("signature") or "", index=len(details))
            )
        elif kind == "redacted_thinking":
            details.append(redacted_detail(block.get("data") or "", index=len(details)))
        elif kind == "tool_use":
            arguments = orjson.dumps(block.get("input") or {}).decode()
            if block.get("name") == ANSWER_TOOL:
                texts, is_json_answer = [arguments], True
            else:
                calls.append(
                    shape.tool_call(call_id=block.get("id") or "", name=block.get("name") or "", arguments=arguments)
                )
    said: Json = {"content": "".join(texts) if texts or not calls else None}
    said |= shape.reasoning("".join(thoughts), details)
    if calls:
        said["tool_calls"] = calls
    if is_json_answer:
        said["is_json_answer"] = True
    return said
