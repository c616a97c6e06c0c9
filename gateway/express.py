"""The express lane: chat calls answered in the connection's own callbacks, without a task, a queue or an ASGI cycle.

uvicorn takes this class as its HTTP protocol. A call may take the lane when nothing has to be waited for but the
provider: a known key, one live endpoint of the OpenAI protocol, an idle connection to it, no content to store, and no
disk to await before a stream ends. Every other request, and every call that the lane cannot finish, goes the ASGI way
as if the lane did not exist; both ways take the steps of `gateway.chat`. The call itself is `gateway.lane`.

uvicorn's protocol class is no stable interface: its version is pinned, and `config.serving` can go without the lane.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from gateway import asgi
from gateway.dialects.openai import OPENAI, OPENROUTER
from gateway.draft import Draft
from gateway.lane import LaneCall

_DIALECTS = {b"/v1/chat/completions": OPENAI, b"/api/v1/chat/completions": OPENROUTER}
# Longer bodies are read with backpressure, the ASGI way.
_MAX_BODY = 1024 * 1024
# A head that goes on in further pieces of the network may grow this much; nobody has been authenticated by then.
_MAX_HEAD = 64 * 1024
# A head, or a body that may take the lane, has arrived after this long; so has the first byte of a new connection.
_ARRIVAL_S = 60.0


class ExpressProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with the lane in it."""

    _call: LaneCall | None = None
    _parts: list[bytes] | None = None  # the body, while its message may still take the lane
    _size = 0
    _is_deaf = False
    _is_in_head = False
    _head_size = 0
    _begun_at = 0.0
    _idle_since = 0.0
    _idle_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._idle_since = self.loop.time() + _ARRIVAL_S - self.timeout_keep_alive
        self._idle_timer = self.loop.call_later(min(_ARRIVAL_S, self.timeout_keep_alive), self._close_if_idle)

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            return
        if self._call is not None:
            self._refuse_pipelining()
            return
        was_in_head = self._is_in_head
        super().data_received(data)
        if self._is_in_head and was_in_head:
            self._head_size += len(data)
            if self._head_size > _MAX_HEAD:
                self._refuse_head()

    def send_400_response(self, msg: str) -> None:
        if self._call is not None:
            self._refuse_pipelining()  # what follows the request is nonsense; the request was none
        else:
            super().send_400_response(msg)

    def on_message_begin(self) -> None:
        if self._call is not None:
            self._refuse_pipelining()
            return
        self._is_in_head, self._head_size = True, 0
        self._begun_at = self.loop.time()
        # What uvicorn needs besides is made when the message turns out to be its own.
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self._parts = None

    def on_url(self, url: bytes) -> None:
        if not self._is_deaf:
            self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_deaf:
            return
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._is_deaf:
            return
        self._is_in_head = False
        if (
            self.url in _DIALECTS
            and self.parser.get_method() == b"POST"
            and not self.expect_100_continue
            and self._is_idle()
            and not self.flow.write_paused  # earlier answers are not read: the ASGI way waits until they are
            and not self.parser.should_upgrade()
        ):
            self._parts, self._size = [], 0
        else:
            self._go_the_asgi_way()

    def on_body(self, body: bytes) -> None:
        if self._is_deaf:
            return
        if self._parts is None:
            super().on_body(body)
            return
        self._parts.append(body)
        self._size += len(body)
        if self._size > _MAX_BODY:
            parts, self._parts = self._parts, None
            self._go_the_asgi_way()
            super().on_body(b"".join(parts))

    def on_message_complete(self) -> None:
        if self._is_deaf:
            return
        parts = self._parts
        if parts is None:
            super().on_message_complete()
            return
        self._parts = None
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        state = asgi.application.state
        if state is not None:
            call = LaneCall(self, state, _DIALECTS[self.url], keeps_alive=self._keeps_alive())
            if call.enter(body):
                self._call = call
                return
        self._go_the_asgi_way()
        self._finish_body(body)

    def hand_over(self, body: bytes, draft: Draft, *, keeps_alive: bool) -> None:
        """Let the ASGI application serve a call that the lane had admitted."""
        self._call = None
        self._go_the_asgi_way()
        # The parser is past this message, perhaps in the next: what it says of itself is not about this one.
        self.scope["method"] = "POST"
        self.scope["state"]["draft"] = draft
        self.cycle.keep_alive = keeps_alive
        self._finish_body(body)

    def _finish_body(self, body: bytes) -> None:
        super().on_body(body)
        super().on_message_complete()

    def end_call(self, *, keeps_alive: bool) -> None:
        """The answer is written: be ready for the next message, or close."""
        self._call = None
        self.server_state.total_requests += 1
        if not keeps_alive:
            self.transport.close()
            return
        self._idle_since = self.loop.time()
        if self._idle_timer is None:
            self._idle_timer = self.loop.call_later(self.timeout_keep_alive, self._close_if_idle)

    def on_response_complete(self) -> None:
        self._idle_since = self.loop.time()
        super().on_response_complete()

    def _close_if_idle(self) -> None:
        """One timer a connection looks again every few seconds, instead of one made and cancelled for every call."""
        self._idle_timer = None
        if self.transport.is_closing():
            return
        now = self.loop.time()
        if self._call is not None or not self._is_idle():
            waits = float(self.timeout_keep_alive)
        elif self._is_in_head or self._parts is not None:  # a message is arriving
            waits = self._begun_at + _ARRIVAL_S - now
        else:
            waits = self._idle_since + self.timeout_keep_alive - now
        if waits > 0.0:
            self._idle_timer = self.loop.call_later(min(waits, self.timeout_keep_alive), self._close_if_idle)
        else:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.lose_client()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._call is not None:
            self._call.pause()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._call is not None:
            self._call.resume()

    def shutdown(self) -> None:
        if self._call is not None:
            self._call.keeps_alive = False
        else:
            super().shutdown()

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _keeps_alive(self) -> bool:
        return bool(self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive())

    def _go_the_asgi_way(self) -> None:
        """Tell uvicorn of the message's head, as its parser would have."""
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers.extend(headers)
        super().on_headers_complete()

    def _refuse_pipelining(self) -> None:
        """Requests sent before the answer has ended are not read: the connection closes after it (RFC 9112 §9.3.2)."""
        self._is_deaf = True
        if self._call is not None:
            self._call.keeps_alive = False

    def _refuse_head(self) -> None:
        """Refuse a head that does not end (431 Request Header Fields Too Large)."""
        self._is_deaf = True
        if self._is_idle():
            self.transport.write(STATUS_LINE[431] + b"content-length: 0\r\nconnection: close\r\n\r\n")
        self.transport.close()
