"""OTLP's JSON form read by OpenTelemetry's own protobuf classes: an encoder nobody here wrote says what it means.

The form is protobuf's JSON mapping but for the ids, which are hexadecimal and not base64.
"""

from __future__ import annotations

import base64
import json
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.message import Message

_Kind = TypeVar("_Kind", bound=Message)
_IDS = {"traceId", "spanId", "parentSpanId"}


def parsed(body: bytes, kind: type[_Kind]) -> _Kind:
    """Return the message, or raise for a field that OTLP does not have."""
    return json_format.ParseDict(_with_base64_ids(json.loads(body)), kind())


def _with_base64_ids(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_base64_ids(one) for one in value]
    if isinstance(value, dict):
        return {
            name: base64.b64encode(bytes.fromhex(one)).decode() if name in _IDS else _with_base64_ids(one)
            for name, one in value.items()
        }
    return value
