"""Quality signals of one call, computed from request and answer without keeping either. Pure.

What the signals mean for a route or an experiment is decided in analytics. A flag is 1, 0, or None where the question
does not arise or cannot be answered: JSON was not asked for, the schema uses what we do not evaluate.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import orjson

from gateway import json_schema

# Longer answers are not parsed: validity would cost the event loop more than it is worth.
_MAX_PARSED_CHARACTERS: Final = 1_000_000
# How much of an answer's beginning is looked at for a refusal.
_LEAD_CHARACTERS: Final = 240
_JSON_FORMATS: Final = frozenset({"json_object", "json_schema"})

# The ways in which today's models begin a refusal, in English; an apology alone is not one ("I'm sorry, but the
# order is late" is an answer). Anchored and without nested repetition, so it is linear in the capped text.
_REFUSAL: Final = re.compile(
    r"(?:(?:i'm|i am) (?:very |really |so )?sorry[,.]?(?: but)? |sorry[,.]?(?: but)? |i apologi[sz]e[,.]?(?: but)? "
    r"|unfortunately,? |as an ai(?: language)?(?: model| assistant)?,? )?"
    r"(?:i (?:can't|cannot|can not|could not|couldn't|won't|will not|must decline|have to decline)"
    r"|i(?:'m| am) (?:unable|not able|not allowed|not permitted|not going) to|i(?:'m| am) not comfortable)"
    r" (?:in good conscience )?"
    r"(?:to )?(?:help|assist|comply|support|fulfil|fulfill|satisfy|engage|participate|provide|create|generate|write"
    r"|produce|share|discuss|answer|continue|do that|do this|give (?:you )?(?:instructions|advice)|facilitate|encourage"
    r"|creating|writing|generating|providing|helping|discussing|this request|that request|your request)\b"
)
_REFUSAL_INITIALS: Final = frozenset("iIsSuUaA")


class Signals(msgspec.Struct, frozen=True, gc=False):
    """The flags as `analytics.request_log.RequestLog` names them; `output_characters` counts the text a reader sees."""

    is_truncated: int | None = None
    is_refusal: int | None = None
    is_json_valid: int | None = None
    is_schema_valid: int | None = None
    is_tool_call_valid: int | None = None
    output_characters: int = 0


NO_SIGNALS: Final = Signals()


def of_completion(request: Mapping[str, Any], message: Mapping[str, Any], finish_reason: str) -> Signals:
    """Return the signals of a whole answer: canonical request body, the first choice's message and its finish reason.

    Without a finish reason, or with "error", there is no answer to judge: truncation and refusal are None.
    """
    content = message.get("content")
    text = content if isinstance(content, str) else _text(content)
    refusal = message.get("refusal") or ""
    tool_calls = message.get("tool_calls")
    is_json_asked = "response_format" in request and _asks_json(request)
    if not is_json_asked and not tool_calls:
        return _plain(text, refusal, finish_reason, len(text) + len(refusal))
    return _judged(request, text, refusal, tool_calls or [], finish_reason, is_json_asked)


def bytes_said(said: Mapping[str, Any]) -> int:
    """Return the UTF-8 bytes of all that a message or a delta says: text, refusal, reasoning, tool calls."""
    content = said.get("content")
    texts = [content if isinstance(content, str) else _text(content), said.get("refusal")]
    texts.append(said.get("reasoning_content") or said.get("reasoning"))
    for call in said.get("tool_calls") or ():
        named = call.get("function") or call.get("custom") or {}
        texts += (named.get("name"), named.get("arguments") or named.get("input"))
    return sum(len(text.encode("utf-8", "replace")) for text in texts if isinstance(text, str))


class StreamSignals:
    """Collects the signals of a streamed answer, fed with what the canonical chunks carry.

    It keeps text only where JSON was asked for, and the fragments of tool calls; of a plain answer only the beginning.
    """

    __slots__ = ("_calls", "_characters", "_is_json_asked", "_lead", "_refusal", "_request", "_texts")

    def __init__(self, request: Mapping[str, Any]) -> None:
        self._request = request
        self._is_json_asked = "response_format" in request and _asks_json(request)
        self._characters = 0
        self._lead = ""
        self._refusal = ""
        self._texts: list[str] = []
        self._calls: dict[int, tuple[list[str], list[str]]] = {}

    def content(self, text: str) -> None:
        """Take a piece of visible text."""
        if len(self._lead) < _LEAD_CHARACTERS:
            self._lead += text
        self._characters += len(text)
        if self._is_json_asked and self._characters <= _MAX_PARSED_CHARACTERS:
            self._texts.append(text)

    def refusal(self, text: str) -> None:
        """Take a piece of an explicit refusal."""
        self._refusal = self._refusal or text
        self._characters += len(text)

    def tool_call(self, index: int, *, name: str | None = None, arguments: str | None = None) -> None:
        """Take a fragment of the tool call at `index`."""
        names, parts = self._calls.setdefault(index, ([], []))
        if name:
            names.append(name)
        if arguments:
            parts.append(arguments)

    def delta(self, delta: Mapping[str, Any]) -> None:
        """Take the `delta` of a canonical chunk's first choice."""
        content = delta.get("content")
        if content:
            self.content(content)
        refusal = delta.get("refusal")
        if refusal:
            self.refusal(refusal)
        for call in delta.get("tool_calls") or ():
            if "custom" in call:
                continue  # free text by design: no question arises
            function = call.get("function") or {}
            self.tool_call(call.get("index", 0), name=function.get("name"), arguments=function.get("arguments"))

    def result(self, finish_reason: str) -> Signals:
        """Return the signals once the stream has ended; "" where it ended without a finish reason."""
        if not self._is_json_asked and not self._calls:
            return _plain(self._lead, self._refusal, finish_reason, self._characters)
        calls = [
            {"function": {"name": "".join(names), "arguments": "".join(parts)}}
            for _, (names, parts) in sorted(self._calls.items())
        ]
        is_whole = self._characters <= _MAX_PARSED_CHARACTERS
        text = "".join(self._texts) if self._is_json_asked and is_whole else self._lead
        signals = _judged(self._request, text, self._refusal, calls, finish_reason, self._is_json_asked and is_whole)
        return msgspec.structs.replace(signals, output_characters=self._characters)


def _plain(text: str, refusal: str, finish_reason: str, characters: int) -> Signals:
    if not finish_reason or finish_reason == "error":
        return Signals(output_characters=characters)
    return Signals(
        1 if finish_reason == "length" else 0,
        1 if refusal or finish_reason == "content_filter" or _is_refusal(text) else 0,
        None,
        None,
        None,
        characters,
    )


def _judged(
    request: Mapping[str, Any],
    text: str,
    refusal: str,
    tool_calls: list[Any],
    finish_reason: str,
    is_json_asked: bool,
) -> Signals:
    """Return the signals where JSON was asked for or tools were called."""
    plain = _plain(text, refusal, finish_reason, len(text) + len(refusal))
    is_json_valid = is_schema_valid = None
    # A refusal or a tool call in place of the text: nobody expects JSON there.
    if is_json_asked and (text or not (refusal or tool_calls)) and len(text) <= _MAX_PARSED_CHARACTERS:
        is_json_valid, is_schema_valid = _judge_json(request["response_format"], text)
    return msgspec.structs.replace(
        plain,
        is_json_valid=is_json_valid,
        is_schema_valid=is_schema_valid,
        is_tool_call_valid=_judge_tool_calls(request, tool_calls) if tool_calls else None,
    )


def _text(content: Any) -> str:
    """Return the text of content given as parts; OpenAI's shape allows a list of them."""
    if not isinstance(content, list):
        return ""
    return "".join(part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str))


def _asks_json(request: Mapping[str, Any]) -> bool:
    wanted = request["response_format"]
    return isinstance(wanted, dict) and wanted.get("type") in _JSON_FORMATS


def _is_refusal(text: str) -> bool:
    if text[:1] not in _REFUSAL_INITIALS:
        return False
    lead = text[:_LEAD_CHARACTERS].lower().replace("\u2019", "'")
    return _REFUSAL.match(lead) is not None


def _judge_json(wanted: Mapping[str, Any], text: str) -> tuple[int, int | None]:
    described = wanted.get("json_schema")
    schema = described.get("schema") if isinstance(described, dict) else None
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return 0, None if schema is None else 0
    if wanted.get("type") == "json_object":
        # JSON mode promises an object, not any JSON value.
        return int(isinstance(value, dict)), None
    return 1, None if schema is None else _flag(json_schema.check(value, schema))


def _judge_tool_calls(request: Mapping[str, Any], calls: list[Any]) -> int | None:
    """Return 1 when every call names an offered tool and its arguments fit; 0 when one does not; None when unknown."""
    offered = _offered_tools(request)
    result: int | None = 1
    for call in calls:
        verdict = _judge_tool_call(offered, call)
        if verdict == 0:
            return 0
        if verdict is None:
            result = None
    return result


def _offered_tools(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of the parameters by the name of the tool; True where anything goes."""
    offered: dict[str, Any] = {}
    for tool in request.get("tools") or ():
        function = tool.get("function") if isinstance(tool, dict) else None
        if isinstance(function, dict) and isinstance(function.get("name"), str):
            parameters = function.get("parameters")
            offered[function["name"]] = True if parameters is None else parameters
    return offered


def _judge_tool_call(offered: Mapping[str, Any], call: Any) -> int | None:
    if isinstance(call, dict) and "custom" in call:
        return None  # free text by design; its grammar is the provider's business
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or function.get("name") not in offered:
        return 0
    try:
        arguments = orjson.loads(function.get("arguments") or "{}")
    except (orjson.JSONDecodeError, TypeError):
        return 0
    if not isinstance(arguments, dict):
        return 0
    return _flag(json_schema.check(arguments, offered[function["name"]]))


def _flag(verdict: bool | None) -> int | None:
    return None if verdict is None else int(verdict)
