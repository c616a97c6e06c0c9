"""Say an error the way Anthropic's API does. Pure.

Type names by status: Anthropic API reference, "Errors".
"""

from __future__ import annotations

import orjson

from gateway import errors
from gateway.dialects.protocol import Facts

OVERLOADED = 529
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "timeout_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    504: "timeout_error",
    OVERLOADED: "overloaded_error",
}


def status(error: errors.GatewayError) -> int:
    """Return the error's status; a provider that is overloaded is 529 here."""
    return OVERLOADED if isinstance(error, errors.UpstreamOverloaded) else error.http_status


def body(error: errors.GatewayError, request_id: str) -> dict[str, object]:
    """Return Anthropic's error object; what ours says beyond it stands beside its type and message."""
    ours = orjson.loads(error.body(request_id))["error"]
    return {
        "type": "error",
        "error": {
            "type": _TYPES.get(status(error), "api_error" if error.http_status >= 500 else "invalid_request_error"),
            "message": error.message,
            "param": ours["param"],
            "code": ours["code"],
            "metadata": ours["metadata"],
        },
        "request_id": request_id,
    }


def event(error: errors.GatewayError, facts: Facts) -> bytes:
    """Return the event that ends a broken stream, with what the call has cost until then."""
    told = {**body(error, facts.request_id), **facts.additions}
    return b"event: error\ndata: %b\n\n" % orjson.dumps(told)
