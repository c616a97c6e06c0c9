"""Headers that belong to no gateway: W3C's trace context, and those of the OpenAI SDK and of coding agents. Pure.

Sources: W3C Trace Context, level 2, §3.2; `openai` 3.54.0, `_base_client.py`.
"""

from __future__ import annotations

import re

from gateway.dialects import values
from gateway.dialects.rows import Row, granted, honoured, names, tags
from gateway.dialects.values import Malformed
from gateway.dialects.wishes import Wishes

RETRY_COUNT = b"x-stainless-retry-count"

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}")


def _traceparent(wishes: Wishes, value: str) -> None:
    found = _TRACEPARENT.match(value.strip())
    if found is None:
        raise Malformed("a trace context")
    wishes.follow(trace_id=found[1], parent_span_id=found[2])


def _retry_count(wishes: Wishes, value: str) -> None:
    wishes.follow(client_retry_count=values.whole(value, most=1000))


HEADERS: dict[str, Row] = {
    "X-Conversation-Id": honoured("session", names("session", values.text)),
    "X-Claude-Code-Session-Id": honoured("session", names("session", values.text)),
    "OpenAI-Organization": honoured("tag `openai_organization`", tags("openai_organization", values.text)),
    "OpenAI-Project": honoured("tag `project`", tags("project", values.text)),
    "X-Client-Request-Id": honoured(
        "the record's client request id", lambda wishes, value: wishes.follow(client_request_id=values.text(value))
    ),
    "traceparent": honoured("the record's trace and parent span", _traceparent),
    "x-stainless-retry-count": honoured("the record's client retry count", _retry_count),
    "x-stainless-read-timeout": granted("the client hangs up by itself, and the provider's call ends with it"),
    "Idempotency-Key": Row("the same request is served and charged once; duplicates get its answer"),
}
