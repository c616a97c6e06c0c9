"""Read streams as a client would: put the chunks together and check that each one is golden."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from gateway.providers.protocol import StreamReader
from gateway.providers.registry import ADAPTERS
from tests.fixtures.providers import Case

CHUNK_ID = "gen_01TESTTESTTESTTESTTESTTEST"
CREATED = 1_763_800_000


def reader_of(case: Case) -> StreamReader:
    """Return a fresh reader for a case."""
    return ADAPTERS[case.protocol].stream(endpoint=case.endpoint, chunk_id=CHUNK_ID, created=CREATED)


def read(reader: StreamReader, pieces: Iterable[bytes]) -> list[dict[str, Any]]:
    """Return the chunks that a reader yields for a body that arrives in pieces."""
    out = b"".join(event for piece in pieces for event in reader.feed(piece)) + b"".join(reader.finish())
    assert not out or out.endswith(b"\n\n")
    events = out.split(b"\n\n")[:-1]
    assert all(event.startswith(b"data: {") for event in events)
    return [orjson.loads(event[6:]) for event in events]


def said(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what the first choice's deltas say together."""
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"] if choice["index"] == 0]
    calls: dict[int, list[str]] = {}
    for delta in deltas:
        for call in delta.get("tool_calls", ()):
            known = calls.setdefault(call["index"], ["", "", ""])
            known[0] += call.get("id", "")
            known[1] += call["function"].get("name", "")
            known[2] += call["function"].get("arguments", "")
    return {
        "content": "".join(delta.get("content") or "" for delta in deltas),
        "reasoning": "".join(delta.get("reasoning_content") or "" for delta in deltas),
        "refusal": "".join(delta.get("refusal") or "" for delta in deltas),
        "tool_calls": list(calls.values()),
        "signatures": signatures([detail for delta in deltas for detail in delta.get("reasoning_details", ())]),
    }


def signatures(details: list[dict[str, Any]]) -> list[str]:
    """Return what must be replayed, in order."""
    return [found for detail in details if (found := detail.get("signature") or detail.get("data"))]


def counts(usage: Any) -> dict[str, int] | None:
    """Return usage with the names of the fixtures; None where none was reported."""
    if usage is None or not usage.is_reported:
        return None
    return {
        "input": usage.input_tokens,
        "cached": usage.cached_read_tokens,
        "written": usage.cache_write_tokens,
        "written_1h": usage.cache_write_1h_tokens,
        "output": usage.output_tokens,
        "reasoning": usage.reasoning_tokens,
    }
