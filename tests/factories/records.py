"""Records, feedback and the segments that carry them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

from analytics import events, request_log, spool
from analytics.events import FeedbackEvent
from analytics.request_log import RequestLog
from analytics.spool import frames

NOON_US = 1_794_744_000_000_000  # 2026-11-15 12:00:00 UTC
COLUMNS = {"R": list(request_log.COLUMNS), "F": list(events.FEEDBACK_COLUMNS), "C": [], "I": list(request_log.COLUMNS)}

_numbers = count(1)


def make_record(**fields: Any) -> RequestLog:
    """Return a settled call of Acme's production workspace; each has an id of its own."""
    number = next(_numbers)
    return RequestLog(
        **{
            "request_id": f"req_{number:026x}",
            "organization_id": "org_acme",
            "workspace_id": "ws_production",
            "api_key_id": "key_one",
            "started_us": NOON_US + number,
            "http_status": 200,
            "model": "openai/gpt-5.4-mini",
            "provider": "openai",
            "input_tokens": 1000,
            "output_tokens": 100,
            "price_state": request_log.PRICED,
            "price_version": "2026-11-01",
            "provider_cost_nanousd": 1_250_000,
            "billed_nanousd": 1_300_000,
            "latency_us": 800_000,
            **fields,
        }
    )


def make_feedback(**fields: Any) -> FeedbackEvent:
    """Return a thumbs-up on a call of Acme's production workspace."""
    number = next(_numbers)
    return FeedbackEvent(
        **{
            "organization_id": "org_acme",
            "workspace_id": "ws_production",
            "idempotency_key": f"feedback-{number}",
            "created_us": NOON_US + number,
            "request_id": "req_one",
            "value": 1.0,
            **fields,
        }
    )


def make_segment(
    records: Sequence[RequestLog | bytes] = (),
    *,
    segment_id: str = "",
    feedback: Sequence[FeedbackEvent | bytes] = (),
    contents: Sequence[bytes] = (),
    columns: dict[str, list[str]] | None = None,
) -> bytes:
    """Return the bytes of a sealed segment; a line given as bytes goes in as it is."""
    segment_id = segment_id or f"test-{next(_numbers)}"
    parts = [frames.encode_header(segment_id, "test", columns or COLUMNS)]
    parts += [
        frames.encode(frames.RECORD, record if isinstance(record, bytes) else request_log.encode(record))
        for record in records
    ]
    parts += [
        frames.encode(frames.FEEDBACK, event if isinstance(event, bytes) else events.encode_feedback(event))
        for event in feedback
    ]
    parts += [frames.encode(frames.CONTENT, content) for content in contents]
    return b"".join(parts)


def make_message(data: bytes) -> dict[str, str]:
    """Return the arguments of `billing.tasks.load_segment` for a segment's bytes."""
    body, sha256 = spool.pack(data)
    return {"segment_id": spool.read_segment(data).segment_id, "body": body, "sha256": sha256}
