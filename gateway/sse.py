"""The server-sent events that the gateway itself adds to a stream: the usage chunk, an error chunk, the end. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

NOTHING: Mapping[str, Any] = {}
DONE = b"data: [DONE]\n\n"

_EMPTY_DELTA = [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": None}]


def usage_event(
    *,
    chunk_id: str,
    created: int,
    model: str,
    provider: str,
    usage: Mapping[str, Any],
    x_kairosroute: Mapping[str, Any],
    was_asked_for: bool,
    extras: Mapping[str, Any] = NOTHING,
) -> bytes:
    """Return the last chunk: the usage with its cost, the receipt in short, and further objects.

    It has no choices, as OpenAI's has, when the client asked for it (`stream_options.include_usage`). A client that did
    not ask reads `chunk.choices[0]` of every chunk: for it the chunk carries an empty delta.
    """
    return b"data: %b\n\n" % orjson.dumps(
        {
            "id": chunk_id,
            "object": "chat.completion.chunk",
            "created": created,
            "model": model,
            "provider": provider,
            "system_fingerprint": "",
            "choices": [] if was_asked_for else _EMPTY_DELTA,
            "usage": usage,
            **({"x_kairosroute": x_kairosroute} if x_kairosroute else NOTHING),
            **extras,
        }
    )


def error_event(body: bytes, *, chunk_id: str, created: int, model: str) -> bytes:
    """Return the chunk that ends a broken stream: `finish_reason` "error" and a top-level `error`, at which SDKs
    raise. `body` is the JSON that a whole answer would have been."""
    return b"data: %b\n\n" % orjson.dumps(
        {
            "id": chunk_id,
            "object": "chat.completion.chunk",
            "created": created,
            "model": model,
            "system_fingerprint": "",
            "choices": [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "error"}],
            "error": orjson.loads(body)["error"],
        }
    )
