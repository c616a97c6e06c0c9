"""A stream's canonical events put together into the message that a whole answer would have had. Pure."""

from __future__ import annotations

from typing import Any

import orjson

_TEXTS = ("content", "refusal", "reasoning_content")


def message(events: bytes) -> dict[str, Any]:
    """Return the first choice's message: content, refusal and reasoning as whole strings, tool calls with their whole
    arguments. Events that are none are passed over."""
    texts: dict[str, list[str]] = {}
    calls: dict[int, dict[str, Any]] = {}
    for line in events.split(b"\n"):
        if not line.startswith(b"data: {"):
            continue
        try:
            choices = orjson.loads(line[6:]).get("choices") or ()
        except orjson.JSONDecodeError:
            continue
        for choice in choices:
            if choice.get("index") == 0:
                _add(choice.get("delta") or {}, texts, calls)
    found: dict[str, Any] = {"role": "assistant", "content": None}
    found |= {name: "".join(parts) for name, parts in texts.items()}
    if calls:
        found["tool_calls"] = [calls[index] for index in sorted(calls)]
    return found


def _add(delta: dict[str, Any], texts: dict[str, list[str]], calls: dict[int, dict[str, Any]]) -> None:
    for name in _TEXTS:
        if type(delta.get(name)) is str and delta[name]:
            texts.setdefault(name, []).append(delta[name])
    for part in delta.get("tool_calls") or ():
        function = part.get("function") or {}
        call = calls.setdefault(
            part.get("index", 0), {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
        )
        call["id"] = part.get("id") or call["id"]
        call["function"]["name"] += function.get("name") or ""
        call["function"]["arguments"] += function.get("arguments") or ""
