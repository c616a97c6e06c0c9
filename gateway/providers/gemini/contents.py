"""Translate canonical messages into Gemini's contents: parts, function calls with their thought signatures. Pure.

Gemini 3 and later refuse a replayed function call without the signature that came with it. Signatures travel with
our tool calls in two places, so that one survives: `extra_content.google.thought_signature` of the call (the name
that Google's own OpenAI-compatible API uses) and `reasoning_details`. Where a client kept neither, the documented
stand-in `UNSIGNED` is sent. Of parallel calls only the first carries one.
"""

from __future__ import annotations

import mimetypes
from typing import Any

import orjson

from gateway.errors import InvalidRequest
from gateway.providers import calling, media, shape

Json = dict[str, Any]

FORMAT = "google-gemini-v1"
UNSIGNED = "skip_thought_signature_validator"


def split(messages: list[Any], *, needs_signatures: bool) -> tuple[list[Json], list[Json]]:
    """Return (parts of the system instruction, contents).

    Raises:
        InvalidRequest: a part that cannot be said in this protocol, or nothing to answer.
    """
    system: list[Json] = []
    contents: list[Json] = []
    called: dict[str, str] = {}
    for index, message in enumerate(messages):
        param = f"messages[{index}]"
        if not isinstance(message, dict):
            raise InvalidRequest("Each message must be an object.", param=param)
        role = message.get("role")
        if role in ("system", "developer"):
            system += _parts(message.get("content"), param=param)
        elif role == "user":
            _append(contents, "user", _parts(message.get("content"), param=param))
        elif role == "assistant":
            parts = _assistant(message, param=param, needs_signatures=needs_signatures)
            _append(contents, "model", parts)
            called |= {
                part["functionCall"]["id"]: part["functionCall"]["name"] for part in parts if "functionCall" in part
            }
        elif role == "tool":
            _append(contents, "user", [_result(message, called, param=param)])
        else:
            raise InvalidRequest(f"The role {role!r} is not known.", param=f"{param}.role")
    if not contents and system:  # only instructions were given: they are the request
        system, contents = [], [{"role": "user", "parts": system}]
    if not contents:
        raise InvalidRequest("`messages` holds nothing to answer.", param="messages")
    return system, contents


def _append(contents: list[Json], role: str, parts: list[Json]) -> None:
    if not parts:
        return
    if contents and contents[-1]["role"] == role:
        contents[-1]["parts"] += parts
    else:
        contents.append({"role": role, "parts": parts})


def _parts(content: Any, *, param: str) -> list[Json]:
    if content is None or isinstance(content, str):
        return [{"text": content}] if content else []
    if not isinstance(content, list):
        raise InvalidRequest("`content` must be a text or a list of parts.", param=f"{param}.content")
    parts: list[Json] = []
    for index, part in enumerate(content):
        place = f"{param}.content[{index}]"
        if not isinstance(part, dict):
            raise InvalidRequest("Each part must be an object.", param=place)
        if part.get("type") in ("text", "refusal"):
            text = part.get("text") or part.get("refusal")
            parts += [{"text": text}] if text else []
        elif part.get("type") == "input_audio" and isinstance(part.get("input_audio"), dict):
            audio = part["input_audio"]
            parts.append(
                {"inlineData": {"mimeType": f"audio/{audio.get('format', 'wav')}", "data": audio.get("data", "")}}
            )
        else:
            parts.append(_media(part, param=place))
    return parts


def _media(part: Json, *, param: str) -> Json:
    found = media.of_part(part, param=param)
    if found.base64:
        return {"inlineData": {"mimeType": found.mime_type, "data": found.base64}}
    guessed = mimetypes.guess_type(found.url.split("?", 1)[0])[0]
    return {"fileData": {"mimeType": guessed or found.mime_type, "fileUri": found.url}}


def _assistant(message: Json, *, param: str, needs_signatures: bool) -> list[Json]:
    by_call, for_text = _signatures(message.get("reasoning_details"))
    parts = _parts(message.get("content") or message.get("refusal"), param=param)
    if for_text and parts:
        parts[-1]["thoughtSignature"] = for_text
    for index, call in enumerate(message.get("tool_calls") or ()):
        place = f"{param}.tool_calls[{index}]"
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not function.get("name"):
            raise InvalidRequest("Only calls of named functions are supported.", param=place)
        call_id = str(call.get("id") or f"call_{index}")
        arguments = calling.arguments(call, param=f"{place}.function.arguments")
        part: Json = {"functionCall": {"id": call_id, "name": function["name"], "args": arguments}}
        signature = _own_signature(call) or by_call.get(call_id)
        if signature or (index == 0 and needs_signatures):
            part["thoughtSignature"] = signature or UNSIGNED
        parts.append(part)
    return parts


def _own_signature(call: Json) -> str:
    extra = call.get("extra_content")
    google = extra.get("google") if isinstance(extra, dict) else None
    signature = google.get("thought_signature") if isinstance(google, dict) else None
    return signature if isinstance(signature, str) else ""


def _signatures(details: Any) -> tuple[dict[str, str], str]:
    """Return (signature by call id, signature of the text) of Gemini's own details; other models' mean nothing here."""
    by_call: dict[str, str] = {}
    for_text = ""
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and detail.get("format") == FORMAT and isinstance(detail.get("data"), str):
            if detail.get("id"):
                by_call[str(detail["id"])] = detail["data"]
            else:
                for_text = detail["data"]
    return by_call, for_text


def _result(message: Json, called: dict[str, str], *, param: str) -> Json:
    call_id = str(message.get("tool_call_id") or "")
    name = called.get(call_id) or message.get("name")
    if not name:
        raise InvalidRequest(
            "This tool message answers no tool call of this conversation.", param=f"{param}.tool_call_id"
        )
    text = shape.content_text(message.get("content"))
    try:
        decoded = orjson.loads(text)
    except orjson.JSONDecodeError:
        decoded = text
    response = decoded if isinstance(decoded, dict) else {"result": decoded}
    return {"functionResponse": {"id": call_id, "name": name, "response": response}}
