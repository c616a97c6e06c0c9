"""Let a client carry a model's reasoning from turn to turn in a field of its own protocol that it does not read. Pure.

Anthropic's clients send thinking blocks back with their `signature`, OpenAI's send reasoning items back with their
`encrypted_content`. Where the model behind is of another provider, its replayable reasoning (`reasoning_details`) is
put into that field, marked, so that the next turn has it again. It is no secret: it goes to whom it came from.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Any

import orjson

Json = dict[str, Any]

MARK = "kr1."


def pack(details: Sequence[Json]) -> str:
    """Return reasoning details as an opaque text."""
    return MARK + urlsafe_b64encode(orjson.dumps(details)).decode()


def is_packed(text: object) -> bool:
    """Return whether a text came from `pack`, as far as its mark tells."""
    return isinstance(text, str) and text.startswith(MARK)


def unpack(text: str) -> list[Json]:
    """Return the details that `pack` put in; none where the text is damaged: a turn can go on without."""
    try:
        found = orjson.loads(urlsafe_b64decode(text.removeprefix(MARK)))
    except (orjson.JSONDecodeError, binascii.Error, ValueError):
        return []
    return [detail for detail in found if isinstance(detail, dict)] if isinstance(found, list) else []


def merge(pieces: Sequence[Json]) -> list[Json]:
    """Return whole details from the pieces of a stream: texts of the same index joined, the last signature kept."""
    merged: list[Json] = []
    by_index: dict[tuple[Any, Any], Json] = {}
    for piece in pieces:
        key = (piece.get("index"), piece.get("type"))
        known = by_index.get(key) if piece.get("index") is not None else None
        if known is None or piece.get("type") == "reasoning.encrypted":
            known = dict(piece)
            merged.append(known)
            by_index[key] = known
            continue
        for name, value in piece.items():
            if name in ("text", "summary") and isinstance(known.get(name), str) and isinstance(value, str):
                known[name] += value
            elif value is not None:
                known[name] = value
    return merged
