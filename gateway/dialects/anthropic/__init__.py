"""Anthropic's Messages API as a client dialect: `POST /v1/messages`. Pure.

An endpoint that speaks the protocol itself gets the client's own body and its answer goes back as it came
(`gateway.native`); for all others both are translated.
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from gateway import errors
from gateway.context import ChatCall
from gateway.dialects.anthropic import answer, body, refusals
from gateway.dialects.anthropic.passing import PassingWriter
from gateway.dialects.anthropic.stream import TranslatingWriter
from gateway.dialects.protocol import Dialect, Facts, StreamWriter
from gateway.native import NativeEvents
from gateway.providers import quirks
from gateway.providers.protocol import Completion


class Anthropic:
    """See `gateway.dialects.protocol.Dialect`."""

    name = body.NAME
    is_passed_through = False

    def parse(self, raw: bytes, headers: Mapping[bytes, bytes], *, is_test: bool) -> ChatCall:
        """Return the call. Raises `InvalidRequest`."""
        return body.parse(raw, headers, is_test=is_test)

    def answer(self, call: ChatCall, completion: Completion, facts: Facts) -> bytes:
        """Return the message: the provider's own, or the translated answer."""
        native = completion.native
        if native is not None and native.protocol == quirks.ANTHROPIC_MESSAGES:
            return answer.passed(native, facts)
        return answer.translated(completion, facts)

    def writer(self, call: ChatCall, facts: Facts, native: NativeEvents | None = None) -> StreamWriter:
        """Return a writer of Anthropic's events."""
        if native is not None and native.protocol == quirks.ANTHROPIC_MESSAGES:
            return PassingWriter(facts, native)
        return TranslatingWriter(facts)

    def error(self, error: errors.GatewayError, request_id: str) -> bytes:
        """Return Anthropic's error object."""
        return orjson.dumps(refusals.body(error, request_id))

    def status(self, error: errors.GatewayError) -> int:
        """Return the status: 529 where a provider is overloaded."""
        return refusals.status(error)

    def headers(self, request_id: str) -> bytes:
        """Return the request's id under the name that Anthropic's SDKs read."""
        return b"request-id: %b\r\n" % request_id.encode()


ANTHROPIC: Dialect = Anthropic()
