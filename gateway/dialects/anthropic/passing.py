"""Let a stream of Anthropic's through to a client of Anthropic's: its own bytes, with the model's name and the receipt.

What is changed: the model in message_start, and message_delta, which is held back until the call is settled and then
carries `x_kairosroute`. Pure.
"""

from __future__ import annotations

from typing import Any

import orjson

from gateway import errors
from gateway.dialects.anthropic import refusals
from gateway.dialects.anthropic.stream import event
from gateway.dialects.protocol import Facts
from gateway.native import NativeEvents
from gateway.providers import events as wire

Json = dict[str, Any]


class PassingWriter:
    """See `gateway.dialects.protocol.StreamWriter`. The canonical events only say that there is something new."""

    __slots__ = ("_facts", "_held", "_native")

    def __init__(self, facts: Facts, native: NativeEvents) -> None:
        self._facts = facts
        self._native = native
        self._held: list[bytes] = []  # from the message_delta with the stop reason on

    def feed(self, events: bytes) -> bytes:
        said = []
        for raw in self._native.take():
            if self._held or (b'"message_delta"' in raw and _has_stopped(raw)):
                self._held.append(raw)
            elif b'"message_start"' in raw:
                said.append(self._renamed(raw))
            else:
                said.append(raw + b"\n\n")
        return b"".join(said)

    def end(self, error: errors.GatewayError | None, facts: Facts) -> bytes:
        if error is not None:  # what came with the error was not heard, and is not passed on
            return refusals.event(error, facts)
        rest = self.feed(b"")
        held = [orjson.loads(wire.payload(raw)) for raw in self._held]
        said = [rest]
        for position, data in enumerate(held):
            name = data.pop("type")
            if position == 0:
                data.update(facts.additions)
            said.append(event(name, data))
        if not held or "message_stop" not in _names(self._held):
            said.append(event("message_stop", {}))
        return b"".join(said)

    def _renamed(self, raw: bytes) -> bytes:
        data = orjson.loads(wire.payload(raw))
        if data.get("type") != "message_start" or not isinstance(data.get("message"), dict):
            return raw + b"\n\n"
        data["message"]["model"] = self._facts.model
        return event("message_start", {"message": data["message"]})


def _has_stopped(raw: bytes) -> bool:
    data = orjson.loads(wire.payload(raw))
    delta = data.get("delta")
    return data.get("type") == "message_delta" and isinstance(delta, dict) and bool(delta.get("stop_reason"))


def _names(raws: list[bytes]) -> list[str]:
    return [orjson.loads(wire.payload(raw)).get("type", "") for raw in raws]
