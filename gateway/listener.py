"""Hear a relayed stream for its quality signals, at a cost that a relay can bear. Pure.

A plain answer is not parsed event by event: the JSON string pieces of its `content` fields are cut out and decoded as
one
string at the end (pieces of a JSON string, put together, are a JSON string). Where JSON was asked for or tools are
offered, every event is parsed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import orjson

from gateway import signals

_CONTENT = b'"content":"'
_REFUSAL = b'"refusal":"'


class Listener:
    """Feed it what goes to the client; ask for the signals once at the end."""

    __slots__ = ("_events", "_is_plain", "_request")

    def __init__(self, request: Mapping[str, Any]) -> None:
        self._request = request
        self._is_plain = "response_format" not in request and not request.get("tools") and not request.get("functions")
        self._events: list[bytes] = []

    def feed(self, data: bytes) -> None:
        """Take whole server-sent events as they are sent on."""
        self._events.append(data)

    def finish(self, finish_reason: str) -> signals.Signals:
        """Return the signals. `finish_reason` is empty or "error" where the stream did not end well."""
        data = b"".join(self._events)
        heard = signals.StreamSignals(self._request)
        if not self._is_plain or not _hear_plainly(data, heard):
            heard = signals.StreamSignals(self._request)
            _hear_everything(data, heard)
        return heard.result(finish_reason)

    def bytes_said(self) -> int:
        """Return the UTF-8 bytes of output that were passed on, in all choices. Dear: for streams that ended badly."""
        choices = (choice for chunk in _chunks(b"".join(self._events)) for choice in chunk.get("choices") or ())
        return sum(signals.bytes_said(choice.get("delta") or {}) for choice in choices)


def _chunks(data: bytes) -> Iterator[dict[str, Any]]:
    for line in data.split(b"\n"):
        if line.startswith(b"data: {"):
            with suppress(orjson.JSONDecodeError):
                yield orjson.loads(line[6:])


def _hear_plainly(data: bytes, heard: signals.StreamSignals) -> bool:
    """Hear content and refusal by cutting strings out; False where the text does not come out whole."""
    try:
        heard.content(_strings(data, _CONTENT))
        if _REFUSAL in data:
            heard.refusal(_strings(data, _REFUSAL))
    except orjson.JSONDecodeError:
        return False
    return True


def _strings(data: bytes, opening: bytes) -> str:
    pieces = []
    for part in data.split(opening)[1:]:
        end = part.find(b'"')
        while end > 0 and part[end - 1] == 0x5C and _is_escaped(part, end):
            end = part.find(b'"', end + 1)
        pieces.append(part[:end])
    text: str = orjson.loads(b'"%b"' % b"".join(pieces))
    return text


def _is_escaped(part: bytes, quote: int) -> bool:
    backslashes = 0
    while backslashes < quote and part[quote - 1 - backslashes] == 0x5C:
        backslashes += 1
    return backslashes % 2 == 1


def _hear_everything(data: bytes, heard: signals.StreamSignals) -> None:
    for chunk in _chunks(data):
        choices = chunk.get("choices")
        if choices and choices[0].get("index") == 0:
            heard.delta(choices[0].get("delta") or {})
