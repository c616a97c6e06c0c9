"""What a client dialect must be able to do: read a call, and say an answer, a stream and an error its own way. Pure.

The canonical form between dialects and providers is OpenAI's chat completion. OpenAI's own dialect passes it through;
the others translate both ways.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from gateway import errors
from gateway.context import ChatCall
from gateway.native import NativeEvents
from gateway.providers.protocol import Completion


class Facts(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What the gateway adds to an answer.

    `usage` is OpenAI's usage object with its cost, `x_kairosroute` the receipt
    in short: both are empty until the call is settled, and the second where the client wants no receipt.
    """

    answer_id: str  # gen_…
    request_id: str  # req_…
    created: int  # seconds since the epoch
    model: str
    provider: str
    cost_usd: float | None = None
    is_byok: bool = False
    usage: Mapping[str, Any] = {}
    x_kairosroute: Mapping[str, Any] = {}
    finish_reason: str = ""
    prompt_cost_nanousd: int = 0
    completion_cost_nanousd: int = 0
    extras: Mapping[str, Any] = {}  # further objects of the answer, beside `x_kairosroute`

    @property
    def additions(self) -> dict[str, Any]:
        """The objects that an answer has beyond its dialect's own."""
        return {"x_kairosroute": self.x_kairosroute, **self.extras} if self.x_kairosroute else {**self.extras}


class StreamWriter(Protocol):
    """Turns a canonical stream into the dialect's. Bytes in and out are whole server-sent events."""

    def feed(self, events: bytes) -> bytes:
        """Return what canonical events become; called with what one piece of the provider's stream completed."""
        ...

    def end(self, error: errors.GatewayError | None, facts: Facts) -> bytes:
        """Return the stream's last events: an error where it broke, the usage, the dialect's end marker."""
        ...


class Dialect(Protocol):
    """One client dialect. Stateless."""

    name: str  # as the record's column `dialect` has it
    is_passed_through: bool  # the client speaks the canonical form, so bytes may go through as they are

    def parse(self, raw: bytes, headers: Mapping[bytes, bytes], *, is_test: bool) -> ChatCall:
        """Return the call in the canonical form. `is_test`: a test key sent it.

        Raises:
            gateway.errors.InvalidRequest: it cannot be served as sent; the message names the field.
        """
        ...

    def answer(self, call: ChatCall, completion: Completion, facts: Facts) -> bytes:
        """Return a whole answer as JSON."""
        ...

    def writer(self, call: ChatCall, facts: Facts, native: NativeEvents | None = None) -> StreamWriter:
        """Return the writer of one stream; `facts` are those known at its first output.

        `native` gives the provider's own events, where it answers in the protocol that the client spoke.
        """
        ...

    def error(self, error: errors.GatewayError, request_id: str) -> bytes:
        """Return an error's JSON body."""
        ...

    def status(self, error: errors.GatewayError) -> int:
        """Return the HTTP status under which an error is told."""
        ...

    def headers(self, request_id: str) -> bytes:
        """Return the header lines that every answer has in this dialect beyond ours, each ended by CRLF."""
        ...
