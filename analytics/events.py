"""What the data plane writes beside the request log: verdicts on calls, and the content of calls that opted in. Pure.

The order of FeedbackEvent's fields IS its wire format, as RequestLog's is: appended to, never reordered or renamed.
"""

from __future__ import annotations

import msgspec

BOOLEAN = "boolean"
SCORE = "score"
CATEGORY = "category"


class FeedbackEvent(msgspec.Struct, array_like=True, frozen=True, gc=False, kw_only=True):
    """A verdict that a client gave on a call, a session or an agent run; at least one of the three is named.

    `value` is 0 or 1 for a boolean and the score for a score; `category` is set for a category. The same
    `idempotency_key` in a workspace is the same verdict: the one created last stands. Times are microseconds since
    the Unix epoch, UTC; `request_started_us` is None where the call is not known.
    """

    organization_id: str
    workspace_id: str
    idempotency_key: str
    created_us: int
    request_id: str = ""
    session: str = ""
    agent_run: str = ""
    name: str = "feedback"
    kind: str = BOOLEAN
    value: float | None = None
    category: str = ""
    comment: str = ""
    source: str = "api"
    request_started_us: int | None = None


class RequestContent(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What was asked and answered in one call of a workspace that opted in: JSON text, capped by the gateway."""

    organization_id: str
    workspace_id: str
    request_id: str
    started_us: int
    expires_us: int
    request: str = ""
    response: str = ""
    is_capped: int = 0


FEEDBACK_COLUMNS: tuple[str, ...] = FeedbackEvent.__struct_encode_fields__
CONTENT_COLUMNS: tuple[str, ...] = RequestContent.__struct_encode_fields__

_encoder = msgspec.json.Encoder()


def encode_feedback(event: FeedbackEvent) -> bytes:
    """Return the event as one line of JSONCompactEachRow, without the newline."""
    return _encoder.encode(event)
