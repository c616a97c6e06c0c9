"""Say a canonical stream as the typed events of OpenAI's Responses API. Pure.

Every output item is added, filled and done; items of calls stay open to the end, because providers may interleave them.
A broken stream ends with an `error` event and `response.failed`. Wire format: OpenAI API reference, "Streaming events".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway import errors
from gateway.context import ChatCall
from gateway.dialects import reasoning_state
from gateway.dialects.openai import OPENAI
from gateway.dialects.protocol import Facts
from gateway.dialects.responses import answer, tools

Json = dict[str, Any]


@dataclass(slots=True)
class _Item:
    """An output item that is open. `texts` are pieces of its text, reasoning or arguments."""

    kind: str  # message, reasoning, function_call, custom_tool_call
    item_id: str
    index: int
    texts: list[str] = field(default_factory=list)
    parts: list[Json] = field(default_factory=list)  # a message's parts that are done
    part_kind: str = ""  # a message's open part: output_text or refusal
    call_id: str = ""
    name: str = ""

    def text(self) -> str:
        return "".join(self.texts)


class Writer:
    """See `gateway.dialects.protocol.StreamWriter`."""

    def __init__(self, call: ChatCall, facts: Facts) -> None:
        self._call = call
        self._ids = answer.Ids(facts)
        self._frame = answer.frame(call, facts, status=answer.IN_PROGRESS)
        self._custom = tools.custom_names({} if call.native is None else call.native.body)
        self._number = 0
        self._said: list[bytes] = []
        self._count = 0
        self._open: _Item | None = None  # the message or reasoning that is open
        self._calls: dict[int, _Item] = {}
        self._details: list[Json] = []
        self._output: dict[int, Json] = {}
        self._is_refused = False
        self._has_started = False

    def feed(self, events: bytes) -> bytes:
        self._start()
        for line in events.split(b"\n"):
            if line.startswith(b"data: {"):
                for choice in orjson.loads(line[6:]).get("choices") or ():
                    if choice.get("index", 0) == 0:
                        self._delta(choice.get("delta") or {})
        return self._taken()

    def end(self, error: errors.GatewayError | None, facts: Facts) -> bytes:
        self._start()
        if error is not None:
            self._fail(error, facts)
            return self._taken()
        is_cut = facts.finish_reason in ("length", "content_filter") and not self._is_refused
        self._close(is_cut=is_cut)
        if self._details:
            self._hide()
        for item in self._calls.values():
            self._finish_call(item)
        made = answer.end(
            self._frame,
            facts,
            output=[self._output[index] for index in sorted(self._output)],
            finish_reason=facts.finish_reason,
            is_refused=self._is_refused,
        )
        self._say(f"response.{made['status']}", response=made)
        return self._taken()

    def _start(self) -> None:
        if not self._has_started:
            self._has_started = True
            self._say("response.created", response=self._frame)
            self._say("response.in_progress", response=self._frame)

    def _delta(self, delta: Json) -> None:
        details = delta.get("reasoning_details")
        if isinstance(details, list):
            self._details += [detail for detail in details if isinstance(detail, dict)]
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(thought, str) and thought:
            self._think(thought)
        for name, kind in (("content", "output_text"), ("refusal", "refusal")):
            text = delta.get(name)
            if isinstance(text, str) and text:
                self._speak(kind, text)
        for call in delta.get("tool_calls") or ():
            self._call_tool(call)

    # -- reasoning

    def _think(self, text: str) -> None:
        item = self._open
        if item is None or item.kind != "reasoning":
            self._close()
            item = self._open = self._add("reasoning", "rs", lambda item: answer.reasoning_item(item.item_id, "", []))
            part = {"type": "summary_text", "text": ""}
            self._say_of(item, "response.reasoning_summary_part.added", summary_index=0, part=part)
        item.texts.append(text)
        self._say_of(item, "response.reasoning_summary_text.delta", summary_index=0, delta=text)

    def _finish_reasoning(self, item: _Item) -> None:
        text = item.text()
        details, self._details = reasoning_state.merge(self._details), []
        if text:
            self._say_of(item, "response.reasoning_summary_text.done", summary_index=0, text=text)
            part = {"type": "summary_text", "text": text}
            self._say_of(item, "response.reasoning_summary_part.done", summary_index=0, part=part)
        self._done(item, answer.reasoning_item(item.item_id, text, details))

    def _hide(self) -> None:
        """Hand over reasoning that is no text (a signature of a call, an encrypted thought) for the next turn."""
        item = self._add("reasoning", "rs", lambda item: answer.reasoning_item(item.item_id, "", []))
        self._finish_reasoning(item)

    # -- text

    def _speak(self, kind: str, text: str) -> None:
        item = self._open
        if item is None or item.kind != "message":
            self._close()
            if self._details:
                self._hide()
            item = self._open = self._add(
                "message", "msg", lambda item: answer.message_item(item.item_id, [], status=answer.IN_PROGRESS)
            )
        if item.part_kind != kind:
            self._finish_part(item)
            item.part_kind = kind
            self._is_refused = self._is_refused or kind == "refusal"
            self._say_of(item, "response.content_part.added", content_index=len(item.parts), part=_part(kind, ""))
        item.texts.append(text)
        more: Json = {"logprobs": []} if kind == "output_text" else {}
        self._say_of(item, f"response.{kind}.delta", content_index=len(item.parts), delta=text, **more)

    def _finish_part(self, item: _Item) -> None:
        if not item.part_kind:
            return
        text, index, kind = item.text(), len(item.parts), item.part_kind
        done: Json = {"refusal": text} if kind == "refusal" else {"text": text, "logprobs": []}
        self._say_of(item, f"response.{kind}.done", content_index=index, **done)
        part = _part(kind, text)
        self._say_of(item, "response.content_part.done", content_index=index, part=part)
        item.parts.append(part)
        item.texts, item.part_kind = [], ""

    def _close(self, *, is_cut: bool = False) -> None:
        item, self._open = self._open, None
        if item is None:
            return
        if item.kind == "reasoning":
            self._finish_reasoning(item)
            return
        self._finish_part(item)
        status = answer.INCOMPLETE if is_cut else answer.COMPLETED
        self._done(item, answer.message_item(item.item_id, item.parts, status=status))

    # -- calls

    def _call_tool(self, call: Json) -> None:
        index, function = call.get("index", 0), call.get("function") or {}
        item = self._calls.get(index)
        if item is None:
            self._close()
            if self._details:
                self._hide()
            name, call_id = function.get("name") or "", call.get("id") or ""
            is_custom = name in self._custom

            def opened(item: _Item) -> Json:
                if is_custom:
                    return answer.custom_item(item.item_id, call_id, name, "")
                return answer.function_item(item.item_id, call_id, name, "", status=answer.IN_PROGRESS)

            kind, prefix = ("custom_tool_call", "ctc") if is_custom else ("function_call", "fc")
            item = self._calls[index] = self._add(kind, prefix, opened)
            item.name, item.call_id = name, call_id
        arguments = function.get("arguments")
        if arguments:
            item.texts.append(arguments)
            if item.kind == "function_call":
                self._say_of(item, "response.function_call_arguments.delta", delta=arguments)

    def _finish_call(self, item: _Item) -> None:
        arguments = item.text() or "{}"
        if item.kind == "custom_tool_call":
            text = tools.custom_input(arguments)  # known when the JSON around it is whole
            self._say_of(item, "response.custom_tool_call_input.delta", delta=text)
            self._say_of(item, "response.custom_tool_call_input.done", input=text)
            self._done(item, answer.custom_item(item.item_id, item.call_id, item.name, text))
            return
        self._say_of(item, "response.function_call_arguments.done", name=item.name, arguments=arguments)
        done = answer.function_item(item.item_id, item.call_id, item.name, arguments, status=answer.COMPLETED)
        self._done(item, done)

    # -- what is said

    def _add(self, kind: str, prefix: str, opened: Any) -> _Item:
        item = _Item(kind, self._ids.new(prefix), self._count)
        self._count += 1
        self._say("response.output_item.added", output_index=item.index, item=opened(item))
        return item

    def _done(self, item: _Item, made: Json) -> None:
        self._output[item.index] = made
        self._say("response.output_item.done", output_index=item.index, item=made)

    def _fail(self, error: errors.GatewayError, facts: Facts) -> None:
        told = orjson.loads(OPENAI.error(error, facts.request_id))["error"]
        # The SDKs raise at `error`; its other fields are what the event has by its own schema.
        self._say("error", code=told["code"], message=told["message"], param=told["param"], error=told)
        code = "rate_limit_exceeded" if error.http_status == 429 else "server_error"
        made = {
            **self._frame,
            "status": answer.FAILED,
            "error": {"code": code, "message": error.message},
            "output": [self._output[index] for index in sorted(self._output)],
            "usage": answer.usage(facts.usage),
            **facts.additions,
        }
        self._say("response.failed", response=made)

    def _say_of(self, item: _Item, event: str, /, **data: Any) -> None:
        self._say(event, item_id=item.item_id, output_index=item.index, **data)

    def _say(self, name: str, /, **data: Any) -> None:
        event = {"type": name, "sequence_number": self._number, **data}
        self._number += 1
        self._said.append(b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps(event)))

    def _taken(self) -> bytes:
        said, self._said = b"".join(self._said), []
        return said


def _part(kind: str, text: str) -> Json:
    return answer.refusal_part(text) if kind == "refusal" else answer.text_part(text)
