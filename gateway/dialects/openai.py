"""OpenAI's own dialect, which is the canonical form, and OpenRouter's, which differs in its error codes. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from gateway import errors, sse
from gateway.context import ChatCall
from gateway.dialects import chat_body
from gateway.dialects.protocol import Dialect, Facts, StreamWriter
from gateway.native import NativeEvents
from gateway.providers.protocol import Completion


class OpenAI:
    """`/v1`: bodies and events go through as they are."""

    name = "openai"
    is_passed_through = True

    def parse(self, raw: bytes, headers: Mapping[bytes, bytes], *, is_test: bool) -> ChatCall:
        """Return the call; see `chat_body.parse_chat`."""
        return chat_body.parse_chat(raw, headers, is_test=is_test, dialect=self.name)

    def answer(self, call: ChatCall, completion: Completion, facts: Facts) -> bytes:
        """Return the canonical answer with our additions."""
        return completion.answer(
            provider=facts.provider,
            cost_usd=facts.cost_usd,
            is_byok=facts.is_byok,
            x_kairosroute=facts.x_kairosroute,
        )

    def writer(self, call: ChatCall, facts: Facts, native: NativeEvents | None = None) -> StreamWriter:
        """Return a writer that lets events through."""
        return _Writer(call, self)

    def error(self, error: errors.GatewayError, request_id: str) -> bytes:
        """Return OpenAI's error object."""
        return error.body(request_id)

    def status(self, error: errors.GatewayError) -> int:
        """Return the error's own status."""
        return error.http_status

    def headers(self, request_id: str) -> bytes:
        """Return none."""
        return b""


class OpenRouter(OpenAI):
    """`/api/v1`: `error.code` is the HTTP status as an integer, as OpenRouter's clients read it."""

    name = "openrouter"

    def error(self, error: errors.GatewayError, request_id: str) -> bytes:
        """Return OpenRouter's error object; our code stands in `metadata.code`."""
        body = orjson.loads(error.body(request_id))
        told = body["error"]
        told["metadata"]["code"] = told["code"]
        if not error.keeps_code:
            told["code"] = error.http_status
        return orjson.dumps(body)


class _Writer:
    __slots__ = ("_call", "_dialect")

    def __init__(self, call: ChatCall, dialect: OpenAI) -> None:
        self._call = call
        self._dialect = dialect

    def feed(self, events: bytes) -> bytes:
        return events

    def end(self, error: errors.GatewayError | None, facts: Facts) -> bytes:
        said = b""
        if error is not None:
            said = sse.error_event(
                self._dialect.error(error, facts.request_id),
                chunk_id=facts.answer_id,
                created=facts.created,
                model=facts.model,
            )
        usage = sse.usage_event(
            chunk_id=facts.answer_id,
            created=facts.created,
            model=facts.model,
            provider=facts.provider,
            usage=facts.usage,
            x_kairosroute=facts.x_kairosroute,
            was_asked_for=self._call.wants_usage,
        )
        return b"%b%b%b" % (said, usage, sse.DONE)


OPENAI: Dialect = OpenAI()
OPENROUTER: Dialect = OpenRouter()
