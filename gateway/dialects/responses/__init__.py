"""OpenAI's Responses API as a client dialect: `POST /v1/responses`. Pure.

It is translated to the canonical form for every provider, OpenAI included: nothing is stored, and what a model has to
be reminded of (its encrypted reasoning) travels with the client.
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from gateway import errors
from gateway.context import ChatCall
from gateway.dialects.openai import OPENAI
from gateway.dialects.protocol import Dialect, Facts, StreamWriter
from gateway.dialects.responses import answer, body
from gateway.dialects.responses.stream import Writer
from gateway.native import NativeEvents
from gateway.providers.protocol import Completion


class Responses:
    """See `gateway.dialects.protocol.Dialect`."""

    name = body.NAME
    is_passed_through = False

    def parse(self, raw: bytes, headers: Mapping[bytes, bytes], *, is_test: bool) -> ChatCall:
        """Return the call. Raises `InvalidRequest`."""
        return body.parse(raw, headers, is_test=is_test)

    def answer(self, call: ChatCall, completion: Completion, facts: Facts) -> bytes:
        """Return the response object."""
        return orjson.dumps(answer.whole(call, completion, facts))

    def writer(self, call: ChatCall, facts: Facts, native: NativeEvents | None = None) -> StreamWriter:
        """Return a writer of typed events."""
        return Writer(call, facts)

    def error(self, error: errors.GatewayError, request_id: str) -> bytes:
        """Return OpenAI's error object."""
        return OPENAI.error(error, request_id)

    def status(self, error: errors.GatewayError) -> int:
        """Return the error's own status."""
        return error.http_status

    def headers(self, request_id: str) -> bytes:
        """Return none."""
        return b""


RESPONSES: Dialect = Responses()
