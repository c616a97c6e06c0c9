"""Translate Anthropic's system text and turns into canonical messages. Pure.

One turn becomes several messages where it holds tool results: each result is a message of its own, what stands around
them is the user's. Where a block has no canonical word, `Found` notes it: a block that only Anthropic's own protocol
can carry makes the call native only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.dialects import json_body, reasoning_state
from gateway.providers import shape
from gateway.providers.anthropic_messages.response import redacted_detail, thinking_detail

Json = dict[str, Any]


@dataclass(slots=True)
class Found:
    """What the translation met. `needs`: only natively; `lost`: left out elsewhere; `has_foreign_thinking`: thinking
    blocks that another provider's model wrote, which Anthropic refuses."""

    needs: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    has_foreign_thinking: bool = False

    def need(self, what: str) -> None:
        """Note what only Anthropic's protocol carries."""
        if what not in self.needs:
            self.needs.append(what)

    def lose(self, what: str) -> None:
        """Note what other protocols go without."""
        if what not in self.lost:
            self.lost.append(what)


def system(given: Any, found: Found) -> list[Json]:
    """Return the system prompt as messages: none or one. Raises `InvalidRequest`."""
    if given is None or given == "" or given == []:
        return []
    if isinstance(given, str):
        return [{"role": "system", "content": given}]
    parts = [
        _part(json_body.mapping(block, f"system[{index}]"), f"system[{index}]", found)
        for index, block in enumerate(json_body.items(given, "system"))
    ]
    return [{"role": "system", "content": _content(_flat(parts))}]


def messages(given: Any, found: Found) -> list[Json]:
    """Return the turns as messages. Raises `InvalidRequest`."""
    translated: list[Json] = []
    for index, turn in enumerate(json_body.items(given, "messages")):
        place = f"messages[{index}]"
        role = json_body.mapping(turn, place).get("role")
        content = turn.get("content")
        if role not in ("user", "assistant", "system"):
            raise json_body.wrong(f"{place}.role", "one of user or assistant")
        if isinstance(content, str):
            translated.append({"role": role, "content": content})
        elif role == "assistant":
            translated.append(_assistant(json_body.items(content, f"{place}.content"), place, found))
        else:
            translated += _user(role, json_body.items(content, f"{place}.content"), place, found)
    if not translated:
        raise json_body.wrong("messages", "a list with at least one message")
    return translated


def is_foreign(block: Any) -> bool:
    """Return whether a block is thinking that no model of Anthropic's wrote: unsigned, or signed by our mark."""
    if not isinstance(block, dict):
        return False
    if block.get("type") == "thinking":
        return not block.get("signature") or reasoning_state.is_packed(block["signature"])
    return block.get("type") == "redacted_thinking" and reasoning_state.is_packed(block.get("data"))


def _user(role: str, blocks: list[Any], place: str, found: Found) -> list[Json]:
    translated: list[Json] = []
    parts: list[Json] = []
    shown: list[Json] = []  # pictures inside tool results: only a user's message may hold them elsewhere

    for index, block in enumerate(blocks):
        where = f"{place}.content[{index}]"
        if json_body.mapping(block, where).get("type") == "tool_result":
            if parts:
                translated.append({"role": role, "content": _content(parts)})
                parts = []
            message, pictures = _tool_result(block, where, found)
            translated.append(message)
            shown += pictures
        else:
            parts += _flat([_part(block, where, found)])
    parts = shown + parts
    if parts:
        translated.append({"role": role, "content": _content(parts)})
    return translated or [{"role": role, "content": ""}]


def _tool_result(block: Json, place: str, found: Found) -> tuple[Json, list[Json]]:
    call_id = json_body.text(block.get("tool_use_id"), f"{place}.tool_use_id")
    content = block.get("content")
    pictures: list[Json] = []
    if content is None or isinstance(content, str):
        text = content or ""
    else:
        parts = _flat(
            [
                _part(json_body.mapping(part, f"{place}.content[{index}]"), f"{place}.content[{index}]", found)
                for index, part in enumerate(json_body.items(content, f"{place}.content"))
            ]
        )
        text = "\n".join(part["text"] for part in parts if part["type"] == "text")
        pictures = [part for part in parts if part["type"] != "text"]
        if pictures:
            text = text or f"(The result of {call_id} is attached to the next message.)"
    if block.get("is_error") is True and not text.lower().startswith("error"):
        text = f"Error: {text}"  # the canonical form has no flag for it
    message: Json = {"role": "tool", "tool_call_id": call_id, "content": text}
    if block.get("cache_control"):
        message["cache_control"] = block["cache_control"]
    return message, pictures


def _assistant(blocks: list[Any], place: str, found: Found) -> Json:
    parts: list[Json] = []
    details: list[Json] = []
    calls: list[Json] = []
    for index, block in enumerate(blocks):
        where = f"{place}.content[{index}]"
        kind = json_body.mapping(block, where).get("type")
        if kind == "text":
            parts.append(_text(block, where))
        elif kind == "thinking":
            details += _thinking(block, index=len(details))
        elif kind == "redacted_thinking":
            data = json_body.text(block.get("data"), f"{where}.data")
            details += (
                reasoning_state.unpack(data)
                if reasoning_state.is_packed(data)
                else [redacted_detail(data, index=len(details))]
            )
        elif kind == "tool_use":
            calls.append(_call(block, where))
        else:
            found.need(f"{where} ({str(kind)[:40]})")
        found.has_foreign_thinking = found.has_foreign_thinking or is_foreign(block)
    message: Json = {"role": "assistant", "content": _content(parts) if parts else None}
    if details:
        message["reasoning_details"] = details
        said = "".join(detail["text"] for detail in details if isinstance(detail.get("text"), str))
        if said:
            message["reasoning_content"] = said
    if calls:
        message["tool_calls"] = calls
    elif not parts:
        message["content"] = ""
    return message


def _thinking(block: Json, *, index: int) -> list[Json]:
    signature = block.get("signature")
    text = block.get("thinking") if isinstance(block.get("thinking"), str) else ""
    if isinstance(signature, str) and reasoning_state.is_packed(signature):
        return reasoning_state.unpack(signature)
    if isinstance(signature, str) and signature:
        return [thinking_detail(text or "", signature, index=index)]
    return [{"type": "reasoning.text", "text": text, "format": "unknown", "index": index}] if text else []


def _call(block: Json, place: str) -> Json:
    name = json_body.text(block.get("name"), f"{place}.name")
    given = block.get("input")
    arguments = orjson.dumps(json_body.mapping({} if given is None else given, f"{place}.input")).decode()
    call_id = json_body.text(block.get("id"), f"{place}.id")
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _part(block: Json, place: str, found: Found) -> list[Json]:
    kind = block.get("type")
    if kind == "text":
        return [_text(block, place)]
    if kind == "image":
        return _kept(block, _image(block, place, found))
    if kind == "document":
        return _kept(block, _document(block, place, found))
    if kind == "search_result":
        return _kept(block, _search_result(block, place, found))
    found.need(f"{place} ({str(kind)[:40]})")
    return []


def _kept(block: Json, parts: list[Json]) -> list[Json]:
    if block.get("cache_control") and parts:
        parts[-1]["cache_control"] = block["cache_control"]
    return parts


def _text(block: Json, place: str) -> Json:
    part: Json = {"type": "text", "text": json_body.text(block.get("text"), f"{place}.text")}
    if block.get("cache_control"):
        part["cache_control"] = block["cache_control"]
    return part


def _image(block: Json, place: str, found: Found) -> list[Json]:
    source = json_body.mapping(block.get("source"), f"{place}.source")
    if source.get("type") == "base64":
        return [{"type": "image_url", "image_url": {"url": _data_url(source, f"{place}.source")}}]
    if source.get("type") == "url":
        return [{"type": "image_url", "image_url": {"url": json_body.text(source.get("url"), f"{place}.source.url")}}]
    found.need(f"{place}.source ({str(source.get('type'))[:40]})")
    return []


def _document(block: Json, place: str, found: Found) -> list[Json]:
    source = json_body.mapping(block.get("source"), f"{place}.source")
    kind = source.get("type")
    title = block.get("title") if isinstance(block.get("title"), str) else None
    if isinstance(block.get("citations"), dict) and block["citations"].get("enabled"):
        found.lose("citations")
    if kind == "text":
        text = json_body.text(source.get("data"), f"{place}.source.data")
        return [{"type": "text", "text": f"{title}\n\n{text}" if title else text}]
    if kind == "content":
        content = source.get("content")
        if isinstance(content, str):
            return [{"type": "text", "text": content}]
        where = f"{place}.source.content"
        return _flat(
            [
                _part(json_body.mapping(part, f"{where}[{index}]"), f"{where}[{index}]", found)
                for index, part in enumerate(json_body.items(content, where))
            ]
        )
    if kind == "base64":
        file = {"filename": title or "document.pdf", "file_data": _data_url(source, f"{place}.source")}
        return [{"type": "file", "file": file}]
    if kind == "url":
        address = json_body.text(source.get("url"), f"{place}.source.url")
        return [{"type": "file", "file": {"filename": title or "document.pdf", "file_data": address}}]
    found.need(f"{place}.source ({str(kind)[:40]})")
    return []


def _search_result(block: Json, place: str, found: Found) -> list[Json]:
    found.lose("citations")
    head = "\n".join(str(block[name]) for name in ("title", "source") if isinstance(block.get(name), str))
    parts = json_body.items(block.get("content") or [], f"{place}.content")
    return [{"type": "text", "text": "\n".join((head, shape.content_text(parts)))}]


def _data_url(source: Json, place: str) -> str:
    media_type = json_body.text(source.get("media_type"), f"{place}.media_type")
    return f"data:{media_type};base64,{json_body.text(source.get('data'), f'{place}.data')}"


def _flat(parts: list[list[Json]]) -> list[Json]:
    return [part for some in parts for part in some]


def _content(parts: list[Json]) -> Any:
    """Return a lone plain text as a string, as clients of the canonical form write it."""
    if len(parts) == 1 and parts[0].keys() == {"type", "text"}:
        return parts[0]["text"]
    return parts
