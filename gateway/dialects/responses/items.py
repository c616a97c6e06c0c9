"""Translate the input items of OpenAI's Responses API into canonical messages. Pure.

Reasoning, text and calls that follow each other are one assistant message; every call's output is a tool message.
"""

from __future__ import annotations

from typing import Any

from gateway.dialects import json_body, reasoning_state
from gateway.dialects.responses import tools
from gateway.errors import InvalidRequest

Json = dict[str, Any]


class Conversation:
    """Messages as they are put together from items. `left_out` names items that a chat model cannot be told of."""

    def __init__(self) -> None:
        self.messages: list[Json] = []
        self.left_out: list[str] = []

    def add(self, given: Any) -> None:
        """Add the body's `input`: a text or a list of items. Raises `InvalidRequest`."""
        if isinstance(given, str):
            self.messages.append({"role": "user", "content": given})
            return
        for index, item in enumerate(json_body.items(given, "input")):
            place = f"input[{index}]"
            self._item(json_body.mapping(item, place), place)

    def _item(self, item: Json, place: str) -> None:
        kind = item.get("type") or "message"
        if kind == "message":
            self._message(item, place)
        elif kind == "function_call":
            self._call(item, json_body.text(item.get("arguments"), f"{place}.arguments"), place)
        elif kind == "custom_tool_call":
            self._call(item, tools.custom_arguments(json_body.text(item.get("input"), f"{place}.input")), place)
        elif kind in ("function_call_output", "custom_tool_call_output"):
            self._output(item, place)
        elif kind == "reasoning":
            self._reasoning(item, place)
        elif kind == "item_reference":
            raise InvalidRequest(
                f"`{place}` refers to a stored item, and nothing is stored here. Send the item itself"
                ' (with `store: false` and `include: ["reasoning.encrypted_content"]` clients do).',
                param=place,
                code="not_stored",
            )
        else:
            self.left_out.append(f"{place} ({str(kind)[:40]})")

    def _message(self, item: Json, place: str) -> None:
        role = item.get("role")
        if role not in ("user", "assistant", "system", "developer"):
            raise json_body.wrong(f"{place}.role", "one of user, assistant, system or developer")
        given = item.get("content")
        content: Any = given
        if not isinstance(given, str):
            parts = [
                self._part(json_body.mapping(part, f"{place}.content[{index}]"), f"{place}.content[{index}]")
                for index, part in enumerate(json_body.items(given, f"{place}.content"))
            ]
            is_text = role == "assistant" or (len(parts) == 1 and parts[0]["type"] == "text")
            content = "".join(part.get("text", "") for part in parts) if is_text else parts
        if role == "assistant":
            message = self._assistant()
            message["content"] = "\n\n".join(text for text in (message["content"], content) if text)
        else:
            self.messages.append({"role": role, "content": content})

    def _part(self, part: Json, place: str) -> Json:
        kind = part.get("type")
        if kind in ("input_text", "output_text", "text"):
            return {"type": "text", "text": json_body.text(part.get("text"), f"{place}.text")}
        if kind == "refusal":
            return {"type": "text", "text": json_body.text(part.get("refusal"), f"{place}.refusal")}
        if kind == "input_image" and isinstance(part.get("image_url"), str):
            image: Json = {"url": part["image_url"]}
            if part.get("detail"):
                image["detail"] = part["detail"]
            return {"type": "image_url", "image_url": image}
        if kind == "input_file":
            address = part.get("file_data") or part.get("file_url")
            if isinstance(address, str):
                return {"type": "file", "file": {"filename": part.get("filename") or "document", "file_data": address}}
        if kind == "input_audio" and isinstance(part.get("input_audio"), dict):
            return {"type": "input_audio", "input_audio": part["input_audio"]}
        if part.get("file_id"):
            raise InvalidRequest(
                f"`{place}.file_id` names a file that was uploaded elsewhere. Send its content or its URL.",
                param=f"{place}.file_id",
                code="not_stored",
            )
        raise json_body.wrong(place, "input_text, input_image, input_file or output_text with its content")

    def _call(self, item: Json, arguments: str, place: str) -> None:
        call = {
            "id": json_body.text(item.get("call_id"), f"{place}.call_id"),
            "type": "function",
            "function": {"name": json_body.text(item.get("name"), f"{place}.name"), "arguments": arguments or "{}"},
        }
        self._assistant().setdefault("tool_calls", []).append(call)

    def _output(self, item: Json, place: str) -> None:
        output = item.get("output")
        pictures: list[Json] = []
        if not isinstance(output, str):
            parts = [
                self._part(json_body.mapping(part, f"{place}.output[{index}]"), f"{place}.output[{index}]")
                for index, part in enumerate(json_body.items(output, f"{place}.output"))
            ]
            output = "\n".join(part["text"] for part in parts if part["type"] == "text")
            pictures = [part for part in parts if part["type"] != "text"]
        call_id = json_body.text(item.get("call_id"), f"{place}.call_id")
        if pictures and not output:
            output = f"(The result of {call_id} is attached to the next message.)"
        message = {"role": "tool", "tool_call_id": call_id, "content": output}
        # All results answer the calls before anything else is said: pictures of an earlier one move behind.
        self.messages.append(message)
        if pictures:
            self.messages.append({"role": "user", "content": pictures, "_pictures": True})

    def _reasoning(self, item: Json, place: str) -> None:
        message = self._assistant()
        encrypted = item.get("encrypted_content")
        given = json_body.items(item.get("summary") or [], f"{place}.summary")
        summary = [part for part in given if isinstance(part, dict)]
        text = "\n\n".join(part["text"] for part in summary if isinstance(part.get("text"), str))
        if text:
            message["reasoning_content"] = message.get("reasoning_content", "") + text
        if isinstance(encrypted, str) and reasoning_state.is_packed(encrypted):
            message.setdefault("reasoning_details", []).extend(reasoning_state.unpack(encrypted))
        elif encrypted:
            self.left_out.append(f"{place}.encrypted_content")  # OpenAI's own: no chat endpoint takes it

    def _assistant(self) -> Json:
        """Return the assistant message that goes on, or a new one."""
        if self.messages and self.messages[-1]["role"] == "assistant":
            return self.messages[-1]
        message: Json = {"role": "assistant", "content": None}
        self.messages.append(message)
        return message

    def finished(self) -> list[Json]:
        """Return the messages: what was shown by tools behind all their results, no assistant message empty."""
        ordered: list[Json] = []
        shown: list[Json] = []
        for message in self.messages:
            if message.pop("_pictures", False):
                shown.append(message)
                continue
            if shown and message["role"] != "tool":
                ordered += shown
                shown = []
            if message["role"] == "assistant" and message["content"] is None and not message.get("tool_calls"):
                message["content"] = ""
            ordered.append(message)
        return ordered + shown
