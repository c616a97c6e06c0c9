"""One chat call in the express lane: from its bytes to its answer in the callbacks of two connections.

The client's connection is `gateway.express`; the provider's is `gateway.upstream`, and this is its sink. The steps that
do not wait are those of `gateway.chat`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.server import ServerState

from gateway import authentication, chat, dispatch, envelope, errors, idempotency, identifiers
from gateway.broadcast import Broadcast
from gateway.dialects.protocol import Dialect
from gateway.draft import Draft
from gateway.http import JSON_HEAD, SSE_HEAD
from gateway.preferences import NO_PREFERENCES
from gateway.providers.protocol import Endpoint, StreamReader
from gateway.state import State
from gateway.upstream import Connection

logger = logging.getLogger(__name__)

_PROTOCOL = "openai_chat"


class Client(Protocol):
    """The client's connection, as far as a call needs it."""

    headers: list[tuple[bytes, bytes]]
    transport: asyncio.Transport
    server_state: ServerState

    def hand_over(self, body: bytes, draft: Draft, *, keeps_alive: bool) -> None:
        """Let the ASGI application serve a call that the lane had admitted."""
        ...

    def end_call(self, *, keeps_alive: bool) -> None:
        """The answer is written: be ready for the next message, or close."""
        ...


def _default_lines(server: ServerState) -> bytes:
    return b"".join(b"%b: %b\r\n" % pair for pair in server.default_headers)


class LaneCall:
    """One call in the lane; it hears its provider's connection."""

    __slots__ = (
        "_answer",
        "_asked",
        "_body",
        "_broadcast",
        "_client",
        "_connection",
        "_dialect",
        "_draft",
        "_endpoint",
        "_is_client_gone",
        "_is_over",
        "_paused_at",
        "_pending",
        "_reader",
        "_request",
        "_started",
        "_state",
        "keeps_alive",
    )

    def __init__(self, client: Client, state: State, dialect: Dialect, *, keeps_alive: bool) -> None:
        self._client = client
        self._dialect = dialect
        self._state = state
        self.keeps_alive = keeps_alive
        self._broadcast: Broadcast | None = None
        self._reader: StreamReader | None = None
        self._pending: list[bytes] = []
        self._asked: float | None = None
        self._paused_at = 0.0
        self._is_client_gone = self._is_over = False

    def enter(self, body: bytes) -> bool:
        """Send the call on its way; False, and nothing is done, when it cannot take the lane."""
        state = self._state
        now = time.time()
        self._started = time.perf_counter()
        headers = dict(self._client.headers)
        draft: Draft | None = None
        try:
            if idempotency.HEADER in headers:
                return False
            _, key = authentication.known_key(state.snapshot, headers)
            if key is None or key.stores_content or key.guardrails.blocked:
                return False
            authentication.require_usable(key, scope="chat", now=now)
            draft = chat.new_draft(
                body_id=identifiers.new_body(int(now * 1000)), key=key, now=now, dialect=self._dialect
            )
            endpoint = self._endpoint_of(draft, body, headers)
            if endpoint is None or not state.admission.try_admit(draft):
                return False
            call = draft.call
            assert call is not None
            adapter = state.providers.adapters[_PROTOCOL]
            request = adapter.request(call.body, call.raw, endpoint=endpoint, is_stream=call.is_stream)
            pool = state.upstream.pool(endpoint.base_url)
            data = pool.request(request.path, request.headers, request.body)
            connection = pool.take()
            if connection is None:
                state.admission.release(draft)
                return False
        except Exception:
            if draft is not None:
                state.admission.release(draft)
            return False  # the ASGI way finds the same and says so
        draft.dropped_params = request.dropped_params
        self._body, self._draft, self._endpoint, self._connection = body, draft, endpoint, connection
        self._request = data
        state.metrics.in_flight += 1
        state.recorder.intent_soon(draft, self._go)
        return True

    def _go(self, refusal: errors.GatewayError | None) -> None:
        """The intent is noted: ask the provider."""
        try:
            self._ask(refusal)
        except Exception as fault:
            self._break(fault)

    def _ask(self, refusal: errors.GatewayError | None) -> None:
        connection = self._connection
        if refusal is not None or self._is_client_gone or connection.is_closed:
            connection.put_back()
            if self._is_client_gone:
                self._draft.has_intent = False  # nothing went out, so nothing was used
                chat.lose_client(self._state, self._draft, started=self._started)
            elif refusal is not None:
                self._refuse(refusal)
            else:
                self._leave()
            return
        self._asked = time.perf_counter()
        connection.begin_for(
            self,
            self._request,
            collects=not self._draft.call.is_stream,  # type: ignore[union-attr]
            timeouts=dispatch.timeouts_of(self._state.providers, self._draft),
            now=time.monotonic(),
        )

    def _endpoint_of(self, draft: Draft, body: bytes, headers: dict[bytes, bytes]) -> Endpoint | None:
        chat.read(draft, body, headers)
        call = draft.call
        assert call is not None
        if call.request_keys or (call.preferences is not NO_PREFERENCES and call.preferences.needs_asgi):
            return None
        chat.decide(self._state, draft)
        endpoint = draft.course.endpoint
        if endpoint.is_simulated or endpoint.protocol != _PROTOCOL or draft.course.is_probing:
            return None
        if self._state.recorder.is_awaited and call.is_stream:
            return None
        return endpoint

    # -- gateway.upstream.Sink

    def answered(self, connection: Connection) -> None:
        try:
            self._take_answer(connection)
        except Exception as fault:
            self._break(fault)

    def _take_answer(self, connection: Connection) -> None:
        adapter = self._state.providers.adapters[_PROTOCOL]
        answer = connection.response()
        try:
            if answer.status != 200:
                failure = adapter.error(answer.status, answer.headers, answer.body, endpoint=self._endpoint)
                raise dispatch.raised(failure, provider=self._endpoint.provider)
            completion = dispatch.completion_of(adapter, answer.body, endpoint=self._endpoint)
        except errors.UpstreamFailed as error:
            connection.finish()
            self._fail(error)
            return
        connection.finish()
        dispatch.note(self._state.providers, self._draft, self._endpoint, self._sent_at(), None)
        head, data = chat.answer(self._state, self._draft, completion, started=self._started)
        self._answer = b"%b%b%bcontent-length: %d\r\n\r\n%b" % (self._head(200), JSON_HEAD, head, len(data), data)
        self._is_over = True
        chat.record_soon(self._state, self._draft, self._started, self._give)

    def _give(self, error: errors.GatewayError | None) -> None:
        """The record is written: give the answer."""
        if self._is_client_gone:
            return
        if error is not None:
            self._refuse(error)
            return
        self._client.transport.write(self._answer)
        self._end()

    def arrived(self, connection: Connection, piece: bytes, *, is_over: bool) -> None:
        error: errors.UpstreamFailed | None = None
        try:
            if self._broadcast is None:
                self._begin(connection, piece, is_over=is_over)
            elif piece:
                data = self._broadcast.feed(piece)
                if data and not self._is_client_gone:
                    self._client.transport.write(b"%x\r\n%b\r\n" % (len(data), data))
            if not is_over:
                return
        except errors.UpstreamFailed as failure:
            error = failure
        except Exception as fault:
            self._break(fault)
            return
        try:
            if error is None:
                connection.finish()
            else:
                connection.drop()
            if self._broadcast is not None:
                self._finish_stream(error)
            elif error is not None:
                self._fail(error)
        except Exception as fault:
            self._break(fault)

    def failed(self, connection: Connection, error: errors.UpstreamFailed) -> None:
        try:
            self._take_failure(connection, error)
        except Exception as fault:
            self._break(fault)

    def _take_failure(self, connection: Connection, error: errors.UpstreamFailed) -> None:
        if self._broadcast is not None:
            self._finish_stream(error)
        elif isinstance(error, errors.UpstreamError) and not connection.has_answer_begun:
            # A kept connection that the provider closed under us: the ASGI way sends again on another.
            self._leave()
        else:
            self._fail(error)

    def _leave(self) -> None:
        """Let the ASGI way finish what was admitted here."""
        self._state.metrics.in_flight -= 1
        self._client.hand_over(self._body, self._draft, keeps_alive=self.keeps_alive)

    # -- the client's side

    def lose_client(self) -> None:
        """The client hung up: let the provider go, and record what is known."""
        self._is_client_gone = True
        self._state.metrics.in_flight -= 1
        if self._is_over or self._asked is None:
            return  # the answer is being recorded, or nothing has gone out yet: `_give` and `_go` see it
        if self._broadcast is None:
            self._connection.drop()
            chat.lose_client(self._state, self._draft, started=self._started)
        elif self._broadcast.is_all_said:
            # The client has all of the answer; what it cost is on its way.
            self._connection.resume()
            asyncio.get_running_loop().call_later(chat.USAGE_PATIENCE_S, self._give_up)
        else:
            self._connection.drop()
            self._finish_stream(None)

    def _give_up(self) -> None:
        if not self._is_over:
            self._connection.drop()
            self._finish_stream(None)

    def pause(self) -> None:
        self._paused_at = time.perf_counter()
        self._connection.pause()

    def resume(self) -> None:
        if self._broadcast is not None:
            self._broadcast.held_back_s += time.perf_counter() - self._paused_at
        self._connection.resume()

    # -- the stream

    def _begin(self, connection: Connection, piece: bytes, *, is_over: bool) -> None:
        """Read up to the first real output; then send the head and what was read.

        Raises:
            errors.UpstreamFailed: the stream ends or fails before.
        """
        state, draft, endpoint = self._state, self._draft, self._endpoint
        if connection.status != 200:
            raise errors.UpstreamGarbage("The provider answered with a redirection.", provider=endpoint.provider)
        reader = self._reader
        if reader is None:
            reader = self._reader = state.providers.adapters[_PROTOCOL].stream(
                endpoint=endpoint, chunk_id=f"gen_{draft.body}", created=draft.started_us // 1_000_000
            )
        self._pending += dispatch.pieces_of(reader, piece, endpoint=endpoint)
        if is_over:
            self._pending += dispatch.pieces_of(reader, None, endpoint=endpoint)
        dispatch.require_sound(reader, endpoint=endpoint, is_over=is_over and not reader.has_output)
        if not reader.has_output and not is_over:
            return
        dispatch.note(state.providers, draft, endpoint, self._sent_at(), None)
        connection.output_began()
        head = b"%b%b%btransfer-encoding: chunked\r\n\r\n" % (
            self._head(200),
            SSE_HEAD,
            envelope.stream_head(draft, self._started),
        )
        self._broadcast = broadcast = Broadcast(state, draft, endpoint, reader, started=self._started)
        data = broadcast.hear(b"".join(self._pending))
        self._client.transport.write(b"%b%x\r\n%b\r\n" % (head, len(data), data) if data else head)

    def _finish_stream(self, error: errors.UpstreamFailed | None) -> None:
        assert self._broadcast is not None
        self._is_over = True
        self._note_wait()
        if self._is_client_gone:
            self._broadcast.end(chat.client_gone(), is_client_gone=True)
            return
        last = self._broadcast.end(error)
        self._client.transport.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(last), last))
        self._end()

    def _sent_at(self) -> float:
        assert self._asked is not None
        return self._asked

    def _note_wait(self) -> None:
        """Count the time since the provider was asked as its own: what the lane adds comes before and after."""
        self._draft.upstream_us = round((time.perf_counter() - self._sent_at()) * 1e6)

    # -- ends

    def _fail(self, error: errors.UpstreamFailed) -> None:
        """Take the failure of the attempt: the ASGI way makes the next one, if there is one."""
        if dispatch.fail(self._state.providers, self._draft, self._endpoint, self._sent_at(), error):
            self._leave()
        else:
            self._refuse(error)

    def _refuse(self, error: errors.GatewayError) -> None:
        chat.fail(self._state, self._draft, error, started=self._started)
        self._say(error)

    def _say(self, error: errors.GatewayError) -> None:
        data = self._dialect.error(error, self._draft.request_id)
        lines = b"".join(b"%b: %b\r\n" % pair for pair in error.headers())
        self._client.transport.write(
            b"%b%b%bx-request-id: %b\r\ncontent-length: %d\r\n\r\n%b"
            % (self._head(error.http_status), JSON_HEAD, lines, self._draft.request_id.encode(), len(data), data)
        )
        self._end()

    def _break(self, fault: Exception) -> None:
        """End this call, and no other, after a fault of ours. Raises nothing."""
        logger.error("A call failed unexpectedly. request_id=%s", self._draft.request_id, exc_info=fault)
        try:
            if self._connection.is_heard_by(self):
                self._connection.drop()
            has_begun = self._broadcast is not None or self._is_over
            if self._broadcast is not None and not self._draft.is_recorded:
                self._state.metrics.open_streams -= 1
            error = chat.crash(self._state, self._draft, started=self._started)
            if self._is_client_gone:
                return
            self.keeps_alive = False  # where an answer has begun, the end of the connection says that it is not whole
            if has_begun:
                self._end()
            else:
                self._say(error)
        except Exception:
            logger.exception("A call could not be recorded. request_id=%s", self._draft.request_id)
            self._client.transport.close()

    def _head(self, status: int) -> bytes:
        """Return the status line and what the server says in every answer."""
        head = STATUS_LINE[status] + _default_lines(self._client.server_state)
        return head if self.keeps_alive else head + b"connection: close\r\n"

    def _end(self) -> None:
        self._state.metrics.in_flight -= 1
        self._client.end_call(keeps_alive=self.keeps_alive)
