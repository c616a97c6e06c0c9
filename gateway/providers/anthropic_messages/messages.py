"""Translate canonical messages into Anthropic's: system blocks apart, alternating turns, typed blocks. Pure."""

from __future__ import annotations

from typing import Any

from gateway.errors import InvalidRequest
from gateway.providers import calling, media, shape

Json = dict[str, Any]


def split(messages: list[Any]) -> tuple[list[Json], list[Json]]:
    """Return (system blocks, turns).

    System messages anywhere become system blocks, as the protocol has no other place for them. Turns of the same role
    are joined; tool results open the user turn that answers the calls.

    Raises:
        InvalidRequest: a part that cannot be said in this protocol, or nothing to answer.
    """
    system: list[Json] = []
    turns: list[Json] = []
    for index, message in enumerate(messages):
        param = f"messages[{index}]"
        if not isinstance(message, dict):
            raise InvalidRequest("Each message must be an object.", param=param)
        role = message.get("role")
        if role in ("system", "developer"):
            system += _blocks(message.get("content"), param=param)
        elif role == "user":
            _append(turns, "user", _blocks(message.get("content"), param=param))
        elif role == "assistant":
            _append(turns, "assistant", _assistant(message, param=param))
        elif role == "tool":
            _append(turns, "user", [_tool_result(message, param=param)])
        else:
            raise InvalidRequest(f"The role {role!r} is not known.", param=f"{param}.role")
    if not turns:  # only instructions were given: they are the request
        system, turns = [], [{"role": "user", "content": system}] if system else []
    if not turns:
        raise InvalidRequest("`messages` holds nothing to answer.", param="messages")
    if turns[0]["role"] == "assistant":
        turns.insert(0, {"role": "user", "content": [{"type": "text", "text": "(continued)"}]})
    _trim_prefill(turns[-1])
    return system, turns


def has_thinking(turns: list[Json]) -> bool:
    """Return whether the assistant turns of the running tool loop bring their thinking along; True outside of a loop.

    Budgeted thinking is refused when the turn that called the tools opens without it.
    """
    for turn in reversed(turns):
        if turn["role"] == "assistant":
            blocks = turn["content"]
            is_calling = any(block["type"] == "tool_use" for block in blocks)
            return not is_calling or blocks[0]["type"] in ("thinking", "redacted_thinking")
    return True


def _append(turns: list[Json], role: str, blocks: list[Json]) -> None:
    if not blocks:
        return
    if turns and turns[-1]["role"] == role:
        turns[-1]["content"] += blocks
    else:
        turns.append({"role": role, "content": blocks})


def _blocks(content: Any, *, param: str) -> list[Json]:
    if content is None or isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    if not isinstance(content, list):
        raise InvalidRequest("`content` must be a text or a list of parts.", param=f"{param}.content")
    blocks: list[Json] = []
    for index, part in enumerate(content):
        place = f"{param}.content[{index}]"
        if not isinstance(part, dict):
            raise InvalidRequest("Each part must be an object.", param=place)
        block = _block(part, param=place)
        if block is not None:
            if part.get("cache_control"):
                block["cache_control"] = part["cache_control"]
            blocks.append(block)
    return blocks


def _block(part: Json, *, param: str) -> Json | None:
    if part.get("type") in ("text", "refusal"):
        text = part.get("text") or part.get("refusal")
        return {"type": "text", "text": text} if text else None  # empty text blocks are refused
    found = media.of_part(part, param=param)
    kind = "image" if part["type"] == "image_url" else "document"
    if found.base64:
        return {"type": kind, "source": {"type": "base64", "media_type": found.mime_type, "data": found.base64}}
    return {"type": kind, "source": {"type": "url", "url": found.url}}


def _assistant(message: Json, *, param: str) -> list[Json]:
    blocks = _thinking(message.get("reasoning_details"))
    blocks += _blocks(message.get("content"), param=param)
    if not message.get("content") and message.get("refusal"):
        blocks.append({"type": "text", "text": message["refusal"]})
    for index, call in enumerate(message.get("tool_calls") or ()):
        place = f"{param}.tool_calls[{index}]"
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not function.get("name"):
            raise InvalidRequest("Only calls of named functions are supported.", param=place)
        use = {"type": "tool_use", "id": call.get("id") or f"call_{index}", "name": function["name"]}
        blocks.append({**use, "input": calling.arguments(call, param=f"{place}.function.arguments")})
    return blocks


def _thinking(details: Any) -> list[Json]:
    """Return the thinking blocks of an earlier answer of Claude's; reasoning without Claude's signature is left out."""
    blocks: list[Json] = []
    for detail in details if isinstance(details, list) else ():
        if not isinstance(detail, dict) or not str(detail.get("format", "anthropic")).startswith("anthropic"):
            continue
        if detail.get("type") == "reasoning.text" and detail.get("signature"):
            blocks.append({"type": "thinking", "thinking": detail.get("text") or "", "signature": detail["signature"]})
        elif detail.get("type") == "reasoning.encrypted" and detail.get("data"):
            blocks.append({"type": "redacted_thinking", "data": detail["data"]})
    return blocks


def _tool_result(message: Json, *, param: str) -> Json:
    if not message.get("tool_call_id"):
        raise InvalidRequest("A tool message needs its tool_call_id.", param=f"{param}.tool_call_id")
    content = message.get("content")
    result: Json = {"type": "tool_result", "tool_use_id": message["tool_call_id"]}
    if isinstance(content, list):
        result["content"] = _blocks(content, param=param)
    else:
        result["content"] = shape.content_text(content)
    if message.get("cache_control"):
        result["cache_control"] = message["cache_control"]
    return result


def _trim_prefill(turn: Json) -> None:
    # A text that the model is to continue must not end in white space.
    last = turn["content"][-1]
    if turn["role"] == "assistant" and last["type"] == "text":
        last["text"] = last["text"].rstrip() or "."
