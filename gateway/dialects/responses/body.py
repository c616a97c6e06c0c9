"""Read a Responses body into the canonical chat body. Pure.

Wire format: OpenAI API reference, "Create a model response". Nothing is stored here, so what refers to stored
responses, conversations, prompts or files is refused with what to do instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from gateway.context import ChatCall
from gateway.dialects import chat_body, json_body
from gateway.dialects.responses import tools
from gateway.dialects.responses.items import Conversation
from gateway.errors import InvalidRequest
from gateway.native import NativeRequest
from gateway.providers import fields

Json = dict[str, Any]

NAME = "responses"
PROTOCOL = "openai_responses"
_OURS = fields.GATEWAY_ONLY - {"prompt"}
_SAME = (
    "temperature",
    "top_p",
    "metadata",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "service_tier",
)
_STORED = {
    "previous_response_id": "Responses are not stored here: send the conversation so far in `input`.",
    "conversation": "Conversations are not stored here: send the conversation so far in `input`.",
    "prompt": "Prompt templates are not stored here: send their text in `instructions`.",
}
_HANDLED = frozenset(
    {
        *_SAME,
        *_STORED,
        "model",
        "input",
        "instructions",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "text",
        "reasoning",
        "max_output_tokens",
        "stream",
        "stream_options",
        "store",
        "include",
        "truncation",
        "background",
        "top_logprobs",
    }
)
# Reasoning comes with its encrypted content anyway.
_INCLUDED = frozenset({"reasoning.encrypted_content"})


def parse(raw: bytes, headers: Mapping[bytes, bytes], *, is_test: bool) -> ChatCall:
    """Return the call.

    Raises:
        errors.InvalidRequest: it cannot be served as sent; the message names the field.
    """
    body = json_body.decode(raw)
    needs: list[str] = []
    not_applied: list[str] = []
    canonical = _canonical(body, needs=needs, not_applied=not_applied)
    canonical |= {name: body[name] for name in body.keys() & _OURS}
    call = chat_body.parse_chat(orjson.dumps(canonical), headers, is_test=is_test, dialect=NAME)
    call.not_applied += tuple(not_applied)
    call.native = NativeRequest(protocol=PROTOCOL, raw=raw, body=body, needs=tuple(needs))
    return call


def _canonical(body: Json, *, needs: list[str], not_applied: list[str]) -> Json:
    made: Json = {"model": json_body.model(body)}
    for name, advice in _STORED.items():
        if body.get(name) is not None:
            raise InvalidRequest(f"`{name}` cannot be used. {advice}", param=name, code="not_stored")
    if json_body.optional(body, "background", bool, "true or false"):
        raise InvalidRequest(
            "`background` is not supported: leave it out and wait for the answer, or stream it.",
            param="background",
            code="unsupported_parameter",
        )
    conversation = Conversation()
    instructions = json_body.optional(body, "instructions", str, "a string")
    if instructions:
        conversation.messages.append({"role": "system", "content": instructions})
    if body.get("input") is None:
        raise json_body.wrong("input", "a text or a list of items")
    conversation.add(body["input"])
    made["messages"] = conversation.finished()
    not_applied += conversation.left_out
    limit = json_body.optional(body, "max_output_tokens", int, "a whole number of tokens")
    if limit is not None:
        made["max_completion_tokens"] = limit
    if json_body.optional(body, "stream", bool, "true or false"):
        made["stream"] = True
    made |= {name: body[name] for name in _SAME if body.get(name) is not None}
    made |= tools.translate(body, needs=needs, not_applied=not_applied)
    _add_text(made, body)
    effort = (json_body.optional(body, "reasoning", dict, "an object") or {}).get("effort")
    if effort is not None:
        made["reasoning_effort"] = json_body.text(effort, "reasoning.effort")
    _note_rest(body, not_applied)
    return made


def _add_text(made: Json, body: Json) -> None:
    text = json_body.optional(body, "text", dict, "an object") or {}
    if text.get("verbosity") is not None:
        made["verbosity"] = text["verbosity"]
    form = text.get("format")
    if form is None:
        return
    kind = json_body.mapping(form, "text.format").get("type")
    if kind == "json_object":
        made["response_format"] = {"type": "json_object"}
    elif kind == "json_schema":
        schema = {
            name: form[name] for name in ("name", "schema", "strict", "description") if form.get(name) is not None
        }
        json_body.mapping(schema.get("schema"), "text.format.schema")
        json_body.text(schema.get("name"), "text.format.name")
        made["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif kind != "text":
        raise json_body.wrong("text.format.type", "text, json_object or json_schema")


def _note_rest(body: Json, not_applied: list[str]) -> None:
    if body.get("store") is True:
        not_applied.append("store")
    if body.get("truncation") not in (None, "disabled"):
        not_applied.append("truncation")
    if body.get("top_logprobs"):
        not_applied.append("top_logprobs")
    for name in json_body.optional(body, "include", list, "a list") or ():
        if str(name) not in _INCLUDED:
            not_applied.append(f"include.{str(name)[:64]}")
    for name in body.keys() - _HANDLED - _OURS:
        if body[name] is not None and body[name] != []:
            not_applied.append(name[:64])
