"""Read a Messages body: into the canonical chat body, and kept as it is for endpoints of the same protocol. Pure.

Wire format: Anthropic API reference, "Create a Message", version 2023-06-01, and the request types of its Python SDK.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec
import orjson

from gateway import errors
from gateway.context import ChatCall
from gateway.dialects import chat_body, json_body
from gateway.dialects.anthropic import tools, turns
from gateway.dialects.anthropic.turns import Found
from gateway.native import NativeRequest
from gateway.providers import fields, quirks

Json = dict[str, Any]

NAME = "anthropic"
# Anthropic's own API has a field of this name, and on its path it is Anthropic's.
_OURS = fields.GATEWAY_ONLY - {"fallbacks"}
_SAME = ("temperature", "top_p", "top_k", "cache_control")
_HANDLED = frozenset(
    {
        *_SAME,
        "model",
        "messages",
        "system",
        "max_tokens",
        "metadata",
        "stop_sequences",
        "stream",
        "thinking",
        "tool_choice",
        "tools",
        "service_tier",
        "output_config",
        "output_format",
    }
)
# What runs at Anthropic: an answer without it is another answer.
_NATIVE_ONLY = ("mcp_servers", "container", "thread")
# OpenAI refuses longer ones.
_MAX_USER = 64
_MAX_TEXT = 256


def parse(raw: bytes, headers: Mapping[bytes, bytes], *, is_test: bool, is_counting: bool = False) -> ChatCall:
    """Return the call. `is_counting`: it only asks for its own size, so it needs no `max_tokens`.

    Raises:
        errors.InvalidRequest: it cannot be served as sent; the message names the field.
    """
    body = json_body.decode(raw)
    found = Found()
    canonical = _canonical(body, found, is_counting=is_counting)
    ours = body.keys() & _OURS
    canonical |= {name: body[name] for name in ours}
    call = chat_body.parse_chat(orjson.dumps(canonical), headers, is_test=is_test, dialect=NAME)
    user_id = (body.get("metadata") or {}).get("user_id")
    if isinstance(user_id, str) and len(user_id) > _MAX_USER:
        call.attribution = replace(call.attribution, end_user=user_id[:_MAX_TEXT])
    if ours or found.has_foreign_thinking:
        body = {name: value for name, value in body.items() if name not in ours}
        if found.has_foreign_thinking:
            _forget_foreign_thinking(body)
        raw = orjson.dumps(body)
    if found.needs and call.preferences.cache_ttl_s is not None:
        # What is kept of an answer is its canonical form, and that has no words for these.
        call.preferences = msgspec.structs.replace(call.preferences, cache_ttl_s=None)
        call.not_applied += ("cache",)
    call.native = NativeRequest(
        protocol=quirks.ANTHROPIC_MESSAGES,
        raw=raw,
        body=body,
        headers=_carried(headers),
        needs=tuple(found.needs),
        lost=tuple(found.lost),
    )
    return call


def _canonical(body: Json, found: Found, *, is_counting: bool) -> Json:
    made: Json = {"model": json_body.model(body)}
    made["messages"] = turns.system(body.get("system"), found) + turns.messages(body.get("messages"), found)
    limit = json_body.optional(body, "max_tokens", int, "a whole number of tokens")
    if limit is None and not is_counting:
        raise errors.InvalidRequest(
            "`max_tokens` is missing: give the most tokens that the answer may have, such as 4096.",
            param="max_tokens",
            code="missing_max_tokens",
        )
    if limit is not None:
        made["max_tokens"] = limit
    if json_body.optional(body, "stream", bool, "true or false"):
        made["stream"] = True
    made |= {name: body[name] for name in _SAME if body.get(name) is not None}
    made |= tools.translate(body, found)
    if body.get("stop_sequences"):
        made["stop"] = json_body.items(body["stop_sequences"], "stop_sequences")
    metadata = json_body.optional(body, "metadata", dict, "an object") or {}
    user = metadata.get("user_id")
    if isinstance(user, str) and user:
        made["user"] = user if len(user) <= _MAX_USER else hashlib.sha256(user.encode()).hexdigest()
    tier = json_body.optional(body, "service_tier", str, "auto or standard_only")
    if tier is not None:
        made["service_tier"] = {"standard_only": "default"}.get(tier, tier)
    _add_reasoning(made, body)
    _add_format(made, body, found)
    for name in body.keys() - _HANDLED - _OURS:
        if body[name] is None or body[name] == []:
            continue
        if name in _NATIVE_ONLY:
            found.need(name)
        else:
            found.lose(name[:64])
    return made


def _add_reasoning(made: Json, body: Json) -> None:
    thinking = json_body.optional(body, "thinking", dict, "an object") or {}
    output = json_body.optional(body, "output_config", dict, "an object") or {}
    effort = output.get("effort") if isinstance(output.get("effort"), str) else None
    kind = thinking.get("type")
    if kind == "disabled":
        made["reasoning"] = {"enabled": False}
    elif kind == "enabled":
        budget = thinking.get("budget_tokens")
        if type(budget) is not int:
            raise json_body.wrong("thinking.budget_tokens", "a whole number of tokens")
        made["reasoning"] = {"max_tokens": budget}
    elif kind == "adaptive":
        made["reasoning"] = {"effort": effort} if effort else {"enabled": True}
    elif kind is not None:
        raise json_body.wrong("thinking.type", "enabled, adaptive or disabled")
    elif effort:
        made["reasoning"] = {"effort": effort}
    if "reasoning" in made and thinking.get("display") == "omitted":
        made["reasoning"]["exclude"] = True


def _add_format(made: Json, body: Json, found: Found) -> None:
    output = body.get("output_config") or {}
    wanted = output.get("format") or body.get("output_format")
    for name in output.keys() - {"format", "effort"}:
        found.lose(f"output_config.{name}"[:64])
    if wanted is None:
        return
    schema = json_body.mapping(wanted, "output_config.format").get("schema")
    if wanted.get("type") != "json_schema" or not isinstance(schema, dict):
        raise json_body.wrong("output_config.format", "a json_schema with its schema")
    made["response_format"] = {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": schema, "strict": True},
    }


def _carried(headers: Mapping[bytes, bytes]) -> tuple[tuple[str, str], ...]:
    """Return the client's headers that Anthropic reads: its version and the betas asked for."""
    found = []
    for name in ("anthropic-version", "anthropic-beta"):
        value = headers.get(name.encode())
        if value:
            text = value.decode("latin-1")
            # A header is split by a line break only, but nothing beyond plain ASCII belongs into these.
            if text.isascii() and text.isprintable():
                found.append((name, text))
    return tuple(found)


def _forget_foreign_thinking(body: Json) -> None:
    """Take other models' thinking out, and the wish for more where a running tool loop is left without any.

    Anthropic refuses thinking that it has not signed, and with a budget also a tool loop that opens without thinking.
    """
    messages = [dict(turn) if isinstance(turn, dict) else turn for turn in body["messages"]]
    for turn in messages:
        if isinstance(turn.get("content"), list):
            turn["content"] = [block for block in turn["content"] if not turns.is_foreign(block)]
    body["messages"] = [turn for turn in messages if turn.get("content")]
    for turn in reversed(body["messages"]):
        if turn.get("role") == "assistant":
            kinds = [block.get("type") for block in turn["content"] if isinstance(block, dict)]
            opens_thinking = bool(kinds) and kinds[0] in ("thinking", "redacted_thinking")
            if "tool_use" in kinds and not opens_thinking and (body.get("thinking") or {}).get("type") == "enabled":
                del body["thinking"]
            return
