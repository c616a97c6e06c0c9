"""Build a chat completions request for an OpenAI-shaped provider. Pure.

An exact provider gets the client's own bytes, field by field, with the model replaced: unknown fields and number
formats survive, and a "model" inside a message is never touched. Others get a body fitted to their row in `quirks`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec
import orjson

from gateway.context import LazyBody
from gateway.errors import InvalidRequest
from gateway.providers import authorization, fields, quirks, shape
from gateway.providers.openai_chat import models
from gateway.providers.protocol import Endpoint, UpstreamRequest
from gateway.providers.quirks import Quirks

_encode = msgspec.json.Encoder().encode
_JSON = (("content-type", "application/json"),)
_INCLUDE_USAGE = msgspec.Raw(b'{"include_usage":true}')
_TRUE = msgspec.Raw(b"true")
_FALSE = msgspec.Raw(b"false")


def build(body: Mapping[str, Any], raw: bytes, *, endpoint: Endpoint, is_stream: bool) -> UpstreamRequest:
    """Return the request for one endpoint.

    Raises:
        InvalidRequest: the raw body is not a JSON object.
    """
    row = quirks.of(endpoint.provider)
    headers = _headers(endpoint)
    is_plain = type(body) is LazyBody and body.is_plain
    if row.is_exact and (is_plain or not _needs_fitting(raw)):
        spliced = _splice(body, raw, endpoint=endpoint, row=row, is_stream=is_stream, is_plain=is_plain)
        return UpstreamRequest("/chat/completions", headers, spliced)
    fitted, dropped = _fit(body, endpoint=endpoint, row=row, is_stream=is_stream)
    return UpstreamRequest("/chat/completions", headers, orjson.dumps(fitted), dropped)


@lru_cache(maxsize=1024)
def _headers(endpoint: Endpoint) -> tuple[tuple[str, str], ...]:
    return _JSON + authorization.headers(endpoint)


@lru_cache(maxsize=1024)
def _name(upstream_model: str) -> msgspec.Raw:
    return msgspec.Raw(orjson.dumps(upstream_model))


def _needs_fitting(raw: bytes) -> bool:
    # `"reasoning` also matches reasoning_effort: then the slow way is taken for nothing but comes to the same result.
    return b'"reasoning' in raw or b'"thinking' in raw or b'"cache_control"' in raw or b'"top_k"' in raw


def _splice(
    body: Mapping[str, Any], raw: bytes, *, endpoint: Endpoint, row: Quirks, is_stream: bool, is_plain: bool
) -> bytes:
    try:
        parts = shape.raw_fields(raw)
    except msgspec.DecodeError as error:
        raise InvalidRequest("The request body is not a JSON object.") from error
    if not is_plain and not fields.GATEWAY_ONLY.isdisjoint(parts):
        for name in fields.GATEWAY_ONLY.intersection(parts):
            if not (name in fields.SIMULATOR_ONLY and endpoint.is_simulated):
                del parts[name]
    parts["model"] = _name(endpoint.upstream_model)
    if is_stream:
        parts["stream"] = _TRUE
        options = body.get("stream_options") if "stream_options" in parts else None
        if isinstance(options, dict) and options.keys() - {"include_usage"}:
            parts["stream_options"] = msgspec.Raw(orjson.dumps({**options, "include_usage": True}))
        else:
            parts["stream_options"] = _INCLUDE_USAGE
    else:
        parts.pop("stream_options", None)
        if "stream" in parts:
            parts["stream"] = _FALSE
    if row.max_tokens_name == "max_completion_tokens" and "max_tokens" in parts:
        # Reasoning models refuse the old name, all models take the new one.
        limit = parts.pop("max_tokens")
        parts.setdefault("max_completion_tokens", limit)
    return _encode(parts)


def _fit(
    body: Mapping[str, Any], *, endpoint: Endpoint, row: Quirks, is_stream: bool
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the body as this provider takes it, and the names of what had to go."""
    fitted: dict[str, Any] = {}
    dropped: list[str] = []
    for name, value in body.items():
        if name in fields.GATEWAY_ONLY:
            if name in fields.SIMULATOR_ONLY and endpoint.is_simulated:
                fitted[name] = value
        elif name in fields.REASONING or name in ("stream", "stream_options", "model"):
            continue
        elif name in row.dropped or (name == "cache_control" and row.is_exact):
            if value is not None:
                dropped.append(name)
        elif name in ("max_tokens", "max_completion_tokens"):
            # Given both, the newer name wins; some providers know only one of them.
            if name == "max_completion_tokens" or "max_completion_tokens" not in body:
                fitted[row.max_tokens_name] = value
        else:
            fitted[name] = value
    fitted["model"] = endpoint.upstream_model
    fitted["messages"] = [_message(message, row=row) for message in body.get("messages") or ()]
    dropped += _reasoning(body, fitted, endpoint=endpoint, row=row)
    if is_stream:
        fitted["stream"] = True
        if row.has_stream_options:
            fitted["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
    if row is quirks.MISTRAL:
        _fit_mistral(fitted)
    return fitted, tuple(dropped)


def _reasoning(body: Mapping[str, Any], fitted: dict[str, Any], *, endpoint: Endpoint, row: Quirks) -> list[str]:
    """Say the wanted reasoning in the provider's words; return the names of what could not be said."""
    wish = fields.reasoning(body)
    if wish is None:
        return []
    if row is quirks.OPENROUTER:
        fitted["reasoning"] = wish.as_openrouter()
        return []
    if row in (quirks.DEEPSEEK, quirks.ZAI):
        fitted["thinking"] = {"type": "disabled" if wish.is_off else "enabled"}
        return []
    if row in (quirks.OPENAI, quirks.AZURE):
        word = models.effort(endpoint.upstream_model, "none" if wish.is_off else wish.effort_word())
        if word is not None:
            fitted["reasoning_effort"] = word
        # A model that does not reason needs not be told to leave it.
        return [] if word is not None or wish.is_off else _named(body)
    if row.provider in _TAKES_EFFORT:
        fitted["reasoning_effort"] = "none" if wish.is_off else wish.effort_word()
        return []
    if row is quirks.GENERIC:
        fitted.update({name: body[name] for name in ("reasoning_effort", "reasoning", "thinking") if name in body})
        return []
    return _named(body)


def _named(body: Mapping[str, Any]) -> list[str]:
    return [name for name in fields.REASONING if body.get(name) is not None]


_TAKES_EFFORT = frozenset(
    {
        "x-ai",
        "groq",
        "together",
        "fireworks",
        "cerebras",
        "mistralai",
        "bedrock",
        "meta",
        "cohere",
        "simulator",
    }
)


def _message(message: Any, *, row: Quirks) -> Any:
    """Take an earlier message back in: reasoning under the provider's name or left out, null fields left out."""
    if not isinstance(message, dict):
        return message
    fitted = {
        name: value for name, value in message.items() if name not in fields.MESSAGE_REASONING and name != "annotations"
    }
    if not row.has_developer_role and fitted.get("role") == "developer":
        fitted["role"] = "system"
    if fitted.get("role") == "assistant":
        for name in ("refusal", "tool_calls", "function_call", "audio", "name"):
            if fitted.get(name, "") is None or (name == "tool_calls" and fitted.get(name) == []):
                del fitted[name]
        text = message.get("reasoning_content") or message.get("reasoning")
        if row.replayed_reasoning_field and isinstance(text, str):
            fitted[row.replayed_reasoning_field] = text
        if row is quirks.OPENROUTER and message.get("reasoning_details"):
            fitted["reasoning_details"] = message["reasoning_details"]
    content = fitted.get("content")
    if row is not quirks.OPENROUTER and isinstance(content, list):
        fitted["content"] = [
            {name: value for name, value in part.items() if name != "cache_control"} if isinstance(part, dict) else part
            for part in content
        ]
    return fitted


def _fit_mistral(fitted: dict[str, Any]) -> None:
    # Mistral calls a forced tool "any" and refuses fields that it does not know inside messages.
    if fitted.get("tool_choice") == "required":
        fitted["tool_choice"] = "any"
    for message in fitted["messages"]:
        if isinstance(message, dict):
            message.pop("refusal", None)
            message.pop("name", None) if message.get("role") in ("user", "system") else None
