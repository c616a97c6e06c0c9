"""Let the simulator speak Gemini: generateContent requests in, answers and event streams out. Pure.

Like `anthropic_wire`: the answer is made in OpenAI's shape and only changes its clothes here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from gateway.providers import events, shape
from gateway.providers.protocol import Usage

Json = dict[str, Any]

_UPPER = re.compile(r"[A-Z]")
SIGNATURE = "c2ltdWxhdGVkLXNpZ25hdHVyZQ=="
FINISH_REASONS = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP", "content_filter": "SAFETY"}
_CONFIG = {
    "temperature": "temperature",
    "topP": "top_p",
    "maxOutputTokens": "max_tokens",
    "stopSequences": "stop",
    "seed": "seed",
    "candidateCount": "n",
}
_ERROR_WORDS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def canonical(body: Mapping[str, Any]) -> Json:
    """Return a generateContent request as a canonical chat body."""
    made: Json = {"kairosroute_fault": body["kairosroute_fault"]} if "kairosroute_fault" in body else {}
    messages: list[Json] = []
    system = _get(body, "systemInstruction")
    if isinstance(system, dict):
        messages.append({"role": "system", "content": _text(system.get("parts"))})
    for content in body.get("contents") or ():
        messages += _messages(content)
    made["messages"] = messages
    config = _get(body, "generationConfig") or {}
    made |= {ours: value for theirs, ours in _CONFIG.items() if (value := _get(config, theirs)) is not None}
    if _get(config, "responseJsonSchema"):
        schema = {"name": "answer", "schema": _get(config, "responseJsonSchema")}
        made["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif _get(config, "responseMimeType") == "application/json":
        made["response_format"] = {"type": "json_object"}
    thinking = _get(config, "thinkingConfig")
    is_hidden = not _get(thinking, "includeThoughts")
    if _get(thinking, "thinkingLevel"):
        made["reasoning"] = {"effort": _get(thinking, "thinkingLevel").lower(), "exclude": is_hidden}
    elif _get(thinking, "thinkingBudget"):
        made["reasoning"] = {"max_tokens": _get(thinking, "thinkingBudget"), "exclude": is_hidden}
    declared = [one for tool in body.get("tools") or () for one in _get(tool, "functionDeclarations") or ()]
    if declared:
        made["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": one.get("name", ""),
                    "parameters": _get(one, "parametersJsonSchema") or one.get("parameters") or {},
                },
            }
            for one in declared
        ]
    calling = _get(_get(body, "toolConfig"), "functionCallingConfig") or {}
    names = _get(calling, "allowedFunctionNames") or []
    if calling.get("mode") == "ANY":
        named = {"type": "function", "function": {"name": names[0]}} if len(names) == 1 else "required"
        made["tool_choice"] = named
    elif calling.get("mode"):
        made["tool_choice"] = calling["mode"].lower()
    return made


def _get(fields: Any, name: str) -> Any:
    """Return a field by its name or by that name in snake case: the API takes both, and Google's client mixes them."""
    if not isinstance(fields, dict):
        return None
    found = fields.get(name)
    return found if found is not None else fields.get(_UPPER.sub(lambda match: "_" + match[0].lower(), name))


def _text(parts: Any) -> str:
    return "".join(part.get("text", "") for part in parts or () if not part.get("thought"))


def _messages(content: Mapping[str, Any]) -> list[Json]:
    parts = [part for part in content.get("parts") or () if isinstance(part, dict)]
    made: list[Json] = []
    for part in parts:
        answered = _get(part, "functionResponse")
        if answered:
            text = orjson.dumps(answered.get("response")).decode()
            made.append({"role": "tool", "tool_call_id": answered.get("id") or answered.get("name"), "content": text})
    calls = []
    for part in parts:
        call = _get(part, "functionCall")
        if call:
            arguments = orjson.dumps(call.get("args") or {}).decode()
            calls.append(shape.tool_call(call_id=call.get("id") or "", name=call.get("name", ""), arguments=arguments))
    pictures = [
        {"type": "image_url", "image_url": {"url": "data:"}}
        for part in parts
        if _get(part, "inlineData") or _get(part, "fileData")
    ]
    text = _text(parts)
    if text or calls or pictures:
        role = "assistant" if content.get("role") == "model" else "user"
        said: Any = [{"type": "text", "text": text}, *pictures] if pictures else text
        made.append({"role": role, "content": said, **({"tool_calls": calls} if calls else {})})
    return made


def error(status: int, body: bytes) -> bytes:
    """Return an OpenAI-shaped error as Google's."""
    return orjson.dumps(_error(status, orjson.loads(body)))


def _error(status: int, body: Json) -> Json:
    word = _ERROR_WORDS.get(status, "UNAVAILABLE" if status >= 500 else "INVALID_ARGUMENT")
    return {"error": {"code": status, "message": body["error"]["message"], "status": word}}


def whole(body: bytes) -> bytes:
    """Return a completion as a generateContent answer; a body that a fault broke stays broken."""
    try:
        completion = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body.replace(b"choices", b"candidates")
    if "error" in completion:
        return orjson.dumps(_error(503, completion))
    candidates = []
    for choice in completion["choices"]:
        message = choice["message"]
        parts = _said(message.get("reasoning_content"), message.get("content"))
        parts += _calls([call["function"] | {"id": call["id"]} for call in message.get("tool_calls", ())])
        finish = "SAFETY" if message.get("refusal") else FINISH_REASONS[choice["finish_reason"]]
        candidates.append(
            {"content": {"role": "model", "parts": parts}, "finishReason": finish, "index": choice["index"]}
        )
    made: Json = {"candidates": candidates, **_labels(completion)}
    if "usage" in completion:
        made["usageMetadata"] = _usage(completion["usage"])
    return orjson.dumps(made)


def _labels(answer: Json) -> Json:
    return {"modelVersion": answer["model"], "responseId": answer["id"], "provider": answer["provider"]}


def _said(thought: str | None, text: str | None) -> list[Json]:
    parts: list[Json] = [{"text": thought, "thought": True}] if thought else []
    return parts + ([{"text": text}] if text else [])


def _calls(functions: list[Json]) -> list[Json]:
    parts: list[Json] = []
    for index, function in enumerate(functions):
        try:
            arguments = orjson.loads(function["arguments"])
        except orjson.JSONDecodeError:  # cut by max_tokens
            arguments = {}
        part: Json = {"functionCall": {"id": function["id"], "name": function["name"], "args": arguments}}
        parts.append(part | ({"thoughtSignature": SIGNATURE} if index == 0 else {}))
    return parts


def _usage(usage: Json) -> Json:
    thoughts = usage["completion_tokens_details"]["reasoning_tokens"]
    return {
        "promptTokenCount": usage["prompt_tokens"],
        "cachedContentTokenCount": usage["prompt_tokens_details"]["cached_tokens"],
        "candidatesTokenCount": usage["completion_tokens"] - thoughts,
        "thoughtsTokenCount": thoughts,
        "totalTokenCount": usage["total_tokens"],
    }


class StreamWriter:
    """Turns the simulator's chunks into Gemini's events, piece by piece. Function calls come whole, at the end."""

    def __init__(self, usage: Usage) -> None:
        self._prompt_tokens = usage.input_tokens
        self._functions: list[Json] = []
        self._is_refused = False

    def write(self, data: bytes) -> bytes:
        """Return the events that a piece of the simulator's stream means."""
        return b"".join(self._events(data))

    def _events(self, data: bytes) -> Iterator[bytes]:
        for raw in data.split(b"\n\n"):
            text = events.payload(raw)
            if not text or text == b"[DONE]":
                continue
            try:
                chunk = orjson.loads(text)
            except orjson.JSONDecodeError:
                yield b'data: {"candidates": [{"content": {"parts": [{"text": "broken\n\n'
                continue
            if "error" in chunk:
                yield b"data: " + orjson.dumps(_error(503, chunk)) + b"\n\n"
                continue
            for choice in chunk["choices"]:
                yield from self._choice(chunk, choice)
            if chunk.get("usage"):
                yield _event({"usageMetadata": _usage(chunk["usage"]), **_labels(chunk)})

    def _choice(self, chunk: Json, choice: Json) -> Iterator[bytes]:
        delta = choice["delta"]
        self._is_refused = self._is_refused or bool(delta.get("refusal"))
        for call in delta.get("tool_calls", ()):
            function = call["function"]
            if function.get("name"):
                self._functions.append({"id": call["id"], "name": function["name"], "arguments": ""})
            self._functions[-1]["arguments"] += function.get("arguments") or ""
        parts = _said(delta.get("reasoning_content"), delta.get("content"))
        candidate: Json = {"index": choice["index"]}
        if choice["finish_reason"]:
            parts += _calls(self._functions)
            self._functions = []
            candidate["finishReason"] = "SAFETY" if self._is_refused else FINISH_REASONS[choice["finish_reason"]]
        if parts or "finishReason" in candidate:
            candidate["content"] = {"role": "model", "parts": parts}
            so_far = {"promptTokenCount": self._prompt_tokens, "totalTokenCount": self._prompt_tokens}
            yield _event({"candidates": [candidate], "usageMetadata": so_far, **_labels(chunk)})


def _event(answer: Json) -> bytes:
    return b"data: " + orjson.dumps(answer) + b"\n\n"
