"""Send a Messages body as its client wrote it: the model's name and the stream switch replaced, all else kept. Pure."""

from __future__ import annotations

import msgspec
import orjson

from gateway.errors import InvalidRequest
from gateway.native import NativeRequest
from gateway.providers import authorization, shape
from gateway.providers.anthropic_messages.request import VERSION
from gateway.providers.protocol import Endpoint, UpstreamRequest

_encode = msgspec.json.Encoder().encode
# What counting takes of a body; the other fields speak of the answer.
_COUNTED = ("model", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "mcp_servers")


def build(native: NativeRequest, *, endpoint: Endpoint, is_stream: bool) -> UpstreamRequest:
    """Return the request.

    Raises:
        InvalidRequest: the body is no JSON object, or the endpoint's key is unusable.
    """
    parts = _fields(native.raw)
    parts["model"] = msgspec.Raw(orjson.dumps(endpoint.upstream_model))
    if is_stream:
        parts["stream"] = msgspec.Raw(b"true")
    else:
        parts.pop("stream", None)
    return UpstreamRequest("/v1/messages", _headers(native, endpoint), _encode(parts))


def count(native: NativeRequest, *, endpoint: Endpoint) -> UpstreamRequest:
    """Return the request that counts the input's tokens. Raises as `build`."""
    given = _fields(native.raw)
    parts = {name: given[name] for name in _COUNTED if name in given}
    parts["model"] = msgspec.Raw(orjson.dumps(endpoint.upstream_model))
    return UpstreamRequest("/v1/messages/count_tokens", _headers(native, endpoint), _encode(parts))


def _fields(raw: bytes) -> dict[str, msgspec.Raw]:
    try:
        return shape.raw_fields(raw)
    except msgspec.DecodeError as error:
        raise InvalidRequest("The request body is not a JSON object.", code="invalid_json") from error


def _headers(native: NativeRequest, endpoint: Endpoint) -> tuple[tuple[str, str], ...]:
    given = dict(native.headers)
    return (
        ("content-type", "application/json"),
        ("anthropic-version", given.pop("anthropic-version", VERSION)),
        *given.items(),
        *authorization.headers(endpoint),
    )
