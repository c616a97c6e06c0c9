"""One connection to a provider and the exchange on it: a request out, an answer in. `pool` keeps the connections."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any, Protocol

import httptools

from gateway import errors

_BUFFER_HIGH = 256 * 1024
_MAX_ANSWER = 64 * 1024 * 1024
_MAX_HEADERS = 200


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Bounds in seconds for each phase of an exchange."""

    connect: float = 5.0
    first_byte: float = 120.0
    first_token: float = 120.0  # of a stream: until `output_began` is called
    between_pieces: float = 60.0
    total: float = 600.0


class Response:
    """One answer. `body` holds all of it when it was collected; a streamed one is read piece by piece with
    `piece()`."""

    __slots__ = ("_connection", "body", "raw_headers", "status")

    def __init__(self, status: int, raw_headers: list[tuple[bytes, bytes]], connection: Connection) -> None:
        self.status = status
        self.raw_headers = raw_headers
        self.body = b""
        self._connection = connection

    @property
    def headers(self) -> dict[str, str]:
        """The headers, names in lower case, the last of equal names."""
        return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in self.raw_headers}

    async def piece(self) -> bytes:
        """Return the bytes that have arrived since the last call, waiting for some; b"" at the end of the body.

        Raises:
            errors.UpstreamCut: the connection ended before the body did.
            errors.UpstreamTimeout: nothing came within `between_pieces`, no output within `first_token`, or the
                whole took longer than `total`.
        """
        return await self._connection.next_piece()

    async def read(self) -> bytes:
        """Read what is left of the body into `body` and return it whole."""
        parts = [self.body]
        while data := await self.piece():
            parts.append(data)
        self.body = b"".join(parts)
        return self.body

    def output_began(self) -> None:
        """Say that the first real output is here: from now on only silence and `total` bound the answer."""
        self._connection.output_began()

    def abort(self) -> None:
        """Give the answer up: the connection is closed, the provider sees it."""
        self._connection.abort(errors.UpstreamCut("The answer was given up."))


class Sink(Protocol):
    """Hears of an exchange in callbacks instead of awaiting it. Nothing is called after the end or a failure."""

    def answered(self, connection: Connection) -> None:
        """Take a whole answer, when the exchange collects, or a refusal (a status of 400 or more)."""
        ...

    def arrived(self, connection: Connection, piece: bytes, *, is_over: bool) -> None:
        """Take some of a streamed answer with a status below 400."""
        ...

    def failed(self, connection: Connection, error: errors.UpstreamFailed) -> None:
        """Take the failure that ends the exchange."""
        ...


class Keeper(Protocol):
    """Who keeps a connection: it goes to `idle` after a complete answer and stands in `busy` meanwhile."""

    loop: asyncio.AbstractEventLoop
    idle: list[Connection]
    busy: set[Connection]


class Connection(asyncio.Protocol):
    """One connection, with at most one request in flight. Its users are `Upstream.send` and the sinks."""

    __slots__ = (
        "_buffered",
        "_collects",
        "_ended",
        "_error",
        "_headers",
        "_is_paused",
        "_keeps_alive",
        "_parser",
        "_parts",
        "_pool",
        "_sink",
        "_size",
        "_status",
        "_timeouts",
        "_total_deadline",
        "_waiter",
        "deadline",
        "hard_deadline",
        "has_answer_begun",
        "has_moved",
        "idle_since",
        "is_closed",
        "transport",
        "was_held_back",
    )

    def __init__(self, pool: Keeper) -> None:
        self._pool = pool
        self.is_closed = False
        self.idle_since = 0.0
        self.deadline = self.hard_deadline = self._total_deadline = 0.0
        self._waiter: asyncio.Future[None] | None = None
        self._error: errors.UpstreamFailed | None = None
        self._sink: Sink | None = None
        self._ended = True

    # -- one exchange

    def begin(self, data: bytes, *, collects: bool, timeouts: Timeouts, now: float) -> asyncio.Future[None]:
        """Send a request; the future is done when the answer is whole (`collects`) or its headers are."""
        self._start(data, collects=collects, timeouts=timeouts, now=now)
        self._waiter = waiter = self._pool.loop.create_future()
        return waiter

    def begin_for(self, sink: Sink, data: bytes, *, collects: bool, timeouts: Timeouts, now: float) -> None:
        """Send a request whose answer goes to `sink`."""
        self._sink = sink
        self._pool.busy.add(self)
        self._start(data, collects=collects, timeouts=timeouts, now=now)

    def _start(self, data: bytes, *, collects: bool, timeouts: Timeouts, now: float) -> None:
        self._parser: Any = httptools.HttpResponseParser(self)
        self._parts: list[bytes] = []
        self._headers: list[tuple[bytes, bytes]] = []
        self._buffered = self._size = 0
        self._is_paused = self._ended = self._keeps_alive = self.has_answer_begun = self.has_moved = False
        self.was_held_back = False
        self._error = None
        self._status = 0
        self._collects = collects
        self._timeouts = timeouts
        self.deadline = now + timeouts.first_byte
        self.hard_deadline = self._total_deadline = now + timeouts.total
        if not collects and timeouts.first_token < timeouts.total:
            self.hard_deadline = now + timeouts.first_token
        self.transport.write(data)

    def output_began(self) -> None:
        """Give the rest of a stream the time that `total` leaves it."""
        self.hard_deadline = self._total_deadline

    def response(self) -> Response:
        response = Response(self._status, self._headers, self)
        if self._collects:
            parts = self._parts
            response.body = parts[0] if len(parts) == 1 else b"".join(parts)
            self._parts = []
        return response

    async def next_piece(self) -> bytes:
        while True:
            parts = self._parts
            if parts:
                self._parts = []
                self._buffered = 0
                if self._is_paused:
                    self.resume()
                return parts[0] if len(parts) == 1 else b"".join(parts)
            if self._error is not None:
                raise self._error
            if self._ended:
                return b""
            self._waiter = self._pool.loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def pause(self) -> None:
        """Take no more from the provider until `resume`."""
        if not self._ended and not self.is_closed:
            self._is_paused = self.was_held_back = True
            self.transport.pause_reading()

    def resume(self) -> None:
        """Go on taking."""
        if not self._ended and not self.is_closed:
            # The client's slowness is not the provider's.
            self._is_paused = False
            self.deadline = time.monotonic() + self._timeouts.between_pieces
            self.transport.resume_reading()

    @property
    def patience(self) -> float:
        """How long the provider may be silent within an answer, in seconds."""
        return self._timeouts.between_pieces

    @property
    def status(self) -> int:
        """The answer's status, once its headers are in."""
        return self._status

    def expire(self, now: float) -> None:
        """End an exchange that is past its deadlines at `now`: as its client's fault where that held it back."""
        if now > self.deadline:
            is_clients, told = self._is_paused, "The provider stopped answering."
        elif now > self.hard_deadline:
            is_clients, told = self.was_held_back, "The provider took too long."
        else:
            return
        if is_clients:
            self.abort(errors.ClientTooSlow("The client took too little of the answer for too long."))
        else:
            self.abort(errors.UpstreamTimeout(told))

    def put_back(self) -> None:
        """Hand back a connection that was taken and not used."""
        if not self.is_closed:
            self._pool.idle.append(self)

    def is_heard_by(self, sink: Sink) -> bool:
        """Return whether an exchange is under way that `sink` hears."""
        return self._sink is sink

    def drop(self) -> None:
        """End an exchange that a sink heard before its end: the connection is closed, the provider sees it."""
        self._sink = None
        self._pool.busy.discard(self)
        self.transport.abort()

    def finish(self) -> None:
        """End an exchange that a sink heard to its end: the connection is handed back, or closed if it must be."""
        self._sink = None
        self._pool.busy.discard(self)
        self.release()

    def release(self) -> None:
        """Hand the connection back when its answer is complete, else close it."""
        if self._ended and self._keeps_alive and not self.is_closed and self._error is None:
            self.idle_since = time.monotonic()
            self._pool.idle.append(self)
        else:
            self.transport.close()

    def abort(self, error: errors.UpstreamFailed) -> None:
        self._fail(error)
        self.transport.abort()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    def _fail(self, error: errors.UpstreamFailed) -> None:
        if self._error is None and not self._ended:
            self._error = error
            sink, self._sink = self._sink, None
            if sink is not None:
                self._pool.busy.discard(self)
                sink.failed(self, error)
                return
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_exception(error)

    # -- asyncio.Protocol

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self._ended:  # bytes that no request asked for: the connection cannot be trusted any more
            self.is_closed = True
            self.transport.close()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            if not self._is_whole():
                self.abort(errors.UpstreamGarbage("The provider's answer is not HTTP."))
                return
            self._keeps_alive = False  # what came behind the answer belongs to nobody
        if self._sink is not None:
            self._tell()
        elif self._parts and not self._collects:
            self._wake()

    def _tell(self) -> None:
        """Give the sink what has arrived. Outside of the parser's callbacks, so that the connection may be used
        anew."""
        sink = self._sink
        if sink is None or self._error is not None:
            return
        if self._collects:
            if self._ended:
                sink.answered(self)
        elif self._ended or self._parts:
            parts = self._parts
            self._parts = []
            self._buffered = 0
            sink.arrived(self, parts[0] if len(parts) == 1 else b"".join(parts), is_over=self._ended)

    def _is_whole(self) -> bool:
        return self._ended

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.is_closed = True
        if self._ended:
            return
        if self.has_answer_begun and self._ends_with_connection():
            self._ended = True
            self._wake()
            self._tell()
            return
        self._fail(
            errors.UpstreamCut("The provider closed the connection before its answer was complete.")
            if self.has_answer_begun
            else errors.UpstreamError("The provider closed the connection without an answer.")
        )

    def _ends_with_connection(self) -> bool:
        """Whether the body has neither length nor chunks, so that only the end of the connection can end it."""
        return not any(name.lower() in {b"content-length", b"transfer-encoding"} for name, _ in self._headers)

    # -- httptools

    def on_message_begin(self) -> None:
        if self._ended:  # a second answer to one question: neither this one nor the connection is to be used
            raise ValueError("more than one answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self._headers) >= _MAX_HEADERS:
            raise ValueError("too many headers")
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()
        if self._status < 200:  # 100 Continue and 103 Early Hints precede the answer
            return
        self.has_answer_begun = True
        self.deadline = time.monotonic() + self._timeouts.between_pieces
        if self._status >= 400:
            self._collects = True  # errors are small and always read whole
        if not self._collects:
            self._wake()

    def on_body(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)
        if self._collects:
            if self._size > _MAX_ANSWER:
                self.abort(errors.UpstreamGarbage("The provider's answer is too large."))
            return
        self.has_moved = True
        self._buffered += len(data)
        if self._buffered > _BUFFER_HIGH and not self._is_paused and self._sink is None:
            self.pause()

    def on_message_complete(self) -> None:
        if self._status < 200:
            self._headers = []
            return
        self._ended = True
        # Only now: once the callback returns, the parser has moved on to the next message.
        self._keeps_alive = self._parser.should_keep_alive()
        self._wake()
