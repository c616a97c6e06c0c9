"""A call's record as spans: one for the call, of kind CLIENT, and one child per attempt at a provider. Pure.

Every id follows from the call's request id, so a batch that is sent twice says the same twice, and a collector that
knows a span by its id keeps it once.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any

import msgspec
import orjson

from analytics.request_log import RequestLog
from analytics.telemetry import attributes
from analytics.telemetry.attributes import attribute

_CLIENT = 3  # opentelemetry.proto.trace.v1.Span.SpanKind
_ERROR = 2  # opentelemetry.proto.trace.v1.Status.StatusCode
_TRACE_ID = re.compile(r"(?!0{32})[0-9a-f]{32}")
_SPAN_ID = re.compile(r"(?!0{16})[0-9a-f]{16}")
_RANDOM_BITS = 56  # how much of a trace id is random: W3C Trace Context Level 2


def export(records: Iterable[RequestLog], *, organization_id: str) -> bytes:
    """Return an ExportTraceServiceRequest in OTLP's JSON form."""
    spans = [span for record in records for span in of_call(record)]
    return orjson.dumps(
        {
            "resourceSpans": [
                {
                    "resource": attributes.resource(organization_id),
                    "scopeSpans": [{"scope": {"name": attributes.SERVICE}, "spans": spans}],
                }
            ]
        }
    )


def is_sampled(record: RequestLog, *, sample_ratio: float) -> bool:
    """Return whether the call's trace is sent: by the random bits of its trace id, so that all calls of a trace share
    the answer. A call that failed is always sent."""
    if sample_ratio >= 1 or record.error_class:
        return True
    random = int(trace_id(record), 16) & ((1 << _RANDOM_BITS) - 1)
    return random >= (1 - sample_ratio) * (1 << _RANDOM_BITS)


def trace_id(record: RequestLog) -> str:
    """Return the client's trace id, or one that follows from what the client sent instead, or from the request id."""
    theirs = record.trace_id.lower()
    if _TRACE_ID.fullmatch(theirs):
        return theirs
    return _digest("trace", theirs or record.request_id)[:32]


def of_call(record: RequestLog) -> list[dict[str, Any]]:
    """Return the call's span and its attempts' spans."""
    trace = trace_id(record)
    call_id = _digest("call", record.request_id)[:16]
    ended_us = record.started_us + record.latency_us
    span: dict[str, Any] = {
        "traceId": trace,
        "spanId": call_id,
        "name": f"{attributes.operation(record)} {record.requested_model or record.model}".strip(),
        "kind": _CLIENT,
        "startTimeUnixNano": _nanoseconds(record.started_us),
        "endTimeUnixNano": _nanoseconds(ended_us),
        "attributes": attributes.of_call(record),
    }
    parent = record.parent_span_id.lower()
    if _SPAN_ID.fullmatch(parent):
        span["parentSpanId"] = parent
    if record.error_class:
        span["status"] = {"code": _ERROR, "message": record.error_class}
    if record.trace_id and trace != record.trace_id.lower():
        span["attributes"].append(attribute("kairosroute.client_trace.id", record.trace_id))
    return [span, *_attempts(record, trace=trace, parent=call_id, ended_us=ended_us)]


class _Attempt(msgspec.Struct):
    """What the receipt keeps of an attempt. Receipts of other releases may say more."""

    model: str = ""
    provider: str = ""
    status: int = 0
    latency_ms: float = 0.0
    error_class: str = ""
    key_source: str = ""


class _Parts(msgspec.Struct):
    attempts: list[_Attempt] = []


_read_parts = msgspec.json.Decoder(_Parts).decode


def _attempts(record: RequestLog, *, trace: str, parent: str, ended_us: int) -> list[dict[str, Any]]:
    """Return one span per attempt, one after the other, ending with the call at the latest.

    The receipt has no start times; attempts follow each other, and what the gateway itself takes between them is far
    below a millisecond. An answer that was streamed goes on after its first output, where its attempt is counted to:
    the last span of a stream ends with the call.
    """
    try:
        found = _read_parts(record.receipt).attempts
    except msgspec.DecodeError:
        return []
    spans = []
    started_us = record.started_us
    for position, attempt in enumerate(found):
        stopped_us = min(ended_us, started_us + round(attempt.latency_ms * 1000))
        if record.is_stream and position == len(found) - 1 and not attempt.error_class:
            stopped_us = ended_us
        known: list[tuple[str, Any]] = [
            ("gen_ai.operation.name", attributes.operation(record)),
            ("gen_ai.provider.name", attributes.provider(attempt.provider)),
            ("gen_ai.request.model", attempt.model),
            ("http.response.status_code", attempt.status),
            ("error.type", attempt.error_class),
            ("kairosroute.attempt.number", position + 1),
            ("kairosroute.key_source", attempt.key_source),
        ]
        span: dict[str, Any] = {
            "traceId": trace,
            "spanId": _digest(f"attempt {position}", record.request_id)[:16],
            "parentSpanId": parent,
            "name": f"attempt {attempt.provider}".strip(),
            "kind": _CLIENT,
            "startTimeUnixNano": _nanoseconds(started_us),
            "endTimeUnixNano": _nanoseconds(stopped_us),
            "attributes": [attribute(key, value) for key, value in known if value not in {"", 0}],
        }
        if attempt.error_class:
            span["status"] = {"code": _ERROR, "message": attempt.error_class}
        spans.append(span)
        started_us = stopped_us
    return spans


def _digest(kind: str, name: str) -> str:
    return hashlib.sha256(f"kairosroute {kind}:{name}".encode()).hexdigest()


def _nanoseconds(microseconds: int) -> str:
    return str(microseconds * 1000)
