"""Say a canonical answer as OpenAI's response object, and its parts as output items. Pure.

Wire format: OpenAI API reference, "The response object".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.context import ChatCall
from gateway.dialects import reasoning_state
from gateway.dialects.protocol import Facts
from gateway.dialects.responses import tools
from gateway.providers import shape
from gateway.providers.protocol import Completion

Json = dict[str, Any]

COMPLETED, INCOMPLETE, IN_PROGRESS, FAILED = "completed", "incomplete", "in_progress", "failed"


def frame(call: ChatCall, facts: Facts, *, status: str) -> Json:
    """Return the response object around what was said: what was asked for, said back."""
    native = call.native
    asked: Mapping[str, Any] = {} if native is None else native.body
    text = asked.get("text") or {}
    reasoning = asked.get("reasoning") or {}
    made: Json = {
        "id": "resp_" + facts.answer_id.removeprefix("gen_"),
        "object": "response",
        "created_at": facts.created,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": asked.get("instructions"),
        "max_output_tokens": asked.get("max_output_tokens"),
        "max_tool_calls": asked.get("max_tool_calls"),
        "model": facts.model,
        "output": [],
        "parallel_tool_calls": asked.get("parallel_tool_calls") is not False,
        "previous_response_id": None,
        "reasoning": {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")},
        "service_tier": asked.get("service_tier") or "default",
        "store": False,
        "temperature": asked.get("temperature", 1.0),
        "text": {**text, "format": text.get("format") or {"type": "text"}},
        "tool_choice": asked.get("tool_choice") or "auto",
        "tools": [_told(tool) for tool in asked.get("tools") or ()],
        "top_logprobs": asked.get("top_logprobs") or 0,
        "top_p": asked.get("top_p", 1.0),
        "truncation": "disabled",
        "metadata": asked.get("metadata") or {},
        "provider": facts.provider,
    }
    for name in ("user", "safety_identifier", "prompt_cache_key"):
        if isinstance(asked.get(name), str):
            made[name] = asked[name]
    return made


def end(made: Json, facts: Facts, *, output: list[Json], finish_reason: str, is_refused: bool) -> Json:
    """Fill in how the response ended, what it used and what it cost."""
    made["output"] = output
    made["status"] = COMPLETED
    if finish_reason == "length":
        made["status"], made["incomplete_details"] = INCOMPLETE, {"reason": "max_output_tokens"}
    elif finish_reason == "content_filter" and not is_refused:
        made["status"], made["incomplete_details"] = INCOMPLETE, {"reason": "content_filter"}
    made["usage"] = usage(facts.usage)
    made.update(facts.additions)
    return made


def whole(call: ChatCall, completion: Completion, facts: Facts) -> Json:
    """Return the response object of a whole answer."""
    said = completion.message
    ids = Ids(facts)
    custom = tools.custom_names({} if call.native is None else call.native.body)
    is_cut = completion.finish_reason in ("length", "content_filter")
    output: list[Json] = []
    thought = said.get("reasoning_content") or said.get("reasoning")
    details = said.get("reasoning_details")
    details = details if isinstance(details, list) else []
    if thought or details:
        output.append(reasoning_item(ids.new("rs"), thought if isinstance(thought, str) else "", details))
    content, refusal = shape.content_text(said.get("content")), said.get("refusal")
    calls = said.get("tool_calls") or ()
    parts = [text_part(content)] if content else []
    if refusal:
        parts.append(refusal_part(refusal))
    if parts or not calls:
        parts = parts or [text_part("")]
        status = INCOMPLETE if is_cut and not refusal else COMPLETED
        output.append(message_item(ids.new("msg"), parts, status=status))
    for call_made in calls:
        function = call_made.get("function") or {}
        name, arguments = function.get("name") or "", function.get("arguments") or "{}"
        output.append(call_item(ids, call_made.get("id") or "", name, arguments, is_custom=name in custom))
    made = frame(call, facts, status=COMPLETED)
    if completion.service_tier:
        made["service_tier"] = completion.service_tier
    return end(made, facts, output=output, finish_reason=completion.finish_reason, is_refused=bool(refusal))


class Ids:
    """Numbers the output items of one response."""

    __slots__ = ("_body", "_count")

    def __init__(self, facts: Facts) -> None:
        self._body = facts.answer_id.removeprefix("gen_")
        self._count = 0

    def new(self, prefix: str) -> str:
        """Return the next item's id."""
        self._count += 1
        return f"{prefix}_{self._body}_{self._count}"


def text_part(text: str) -> Json:
    """Return a part of a message."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def refusal_part(text: str) -> Json:
    """Return the part that says that the model declined."""
    return {"type": "refusal", "refusal": text}


def message_item(item_id: str, parts: list[Json], *, status: str) -> Json:
    """Return a message."""
    return {"id": item_id, "type": "message", "status": status, "role": "assistant", "content": parts}


def reasoning_item(item_id: str, text: str, details: list[Json]) -> Json:
    """Return reasoning: its text as the summary, what the next turn needs of it as the encrypted content."""
    summary = [{"type": "summary_text", "text": text}] if text else []
    item: Json = {"id": item_id, "type": "reasoning", "summary": summary}
    if details:
        item["encrypted_content"] = reasoning_state.pack(details)
    return item


def call_item(ids: Ids, call_id: str, name: str, arguments: str, *, is_custom: bool) -> Json:
    """Return a call of a function or of a custom tool."""
    if is_custom:
        return custom_item(ids.new("ctc"), call_id, name, tools.custom_input(arguments))
    return function_item(ids.new("fc"), call_id, name, arguments, status=COMPLETED)


def function_item(item_id: str, call_id: str, name: str, arguments: str, *, status: str) -> Json:
    """Return a call of a function."""
    return {
        "id": item_id,
        "type": "function_call",
        "status": status,
        "call_id": call_id,
        "name": name,
        "arguments": arguments,
    }


def custom_item(item_id: str, call_id: str, name: str, text: str) -> Json:
    """Return a call of a custom tool."""
    return {"id": item_id, "type": "custom_tool_call", "call_id": call_id, "name": name, "input": text}


def usage(reported: Mapping[str, Any]) -> Json:
    """Return the counts under the names of this API, with their cost."""
    given = reported.get("prompt_tokens_details") or {}
    produced = reported.get("completion_tokens_details") or {}
    return {
        "input_tokens": reported.get("prompt_tokens") or 0,
        "input_tokens_details": {
            "cached_tokens": given.get("cached_tokens") or 0,
            "cache_write_tokens": given.get("cache_write_tokens") or 0,
        },
        "output_tokens": reported.get("completion_tokens") or 0,
        "output_tokens_details": {"reasoning_tokens": produced.get("reasoning_tokens") or 0},
        "total_tokens": reported.get("total_tokens") or 0,
        "cost": reported.get("cost"),
        "is_byok": reported.get("is_byok", False),
    }


def _told(tool: Any) -> Any:
    # OpenAI says a function back with all of its fields.
    if isinstance(tool, dict) and tool.get("type") == "function":
        return {"description": None, "strict": None, "parameters": None, **tool}
    return tool
