"""A stream on its way to its client: what is passed on, and how it ends. Synchronous.

`gateway.pipeline` and `gateway.lane` do the waiting and the sending.
"""

from __future__ import annotations

import time

from analytics.request_log import MISS
from gateway import assembly, chat, costing, dispatch, envelope, errors
from gateway.draft import Draft
from gateway.listener import Listener
from gateway.providers.protocol import Endpoint, StreamReader
from gateway.state import State


class Broadcast:
    """A stream whose first real output has been seen: what is passed on, and how it ends.

    `feed` and `end` return what goes to the client; `end` settles and records first. After `end` nothing follows.
    """

    __slots__ = (
        "_began",
        "_draft",
        "_endpoint",
        "_kept",
        "_listener",
        "_started",
        "_state",
        "_writer",
        "held_back_s",
        "reader",
    )

    def __init__(self, state: State, draft: Draft, endpoint: Endpoint, reader: StreamReader, *, started: float) -> None:
        call = draft.call
        assert call is not None
        self._state = state
        self._draft = draft
        self._endpoint = endpoint
        self.reader = reader
        self._started = started
        self._listener = Listener(call.shape)
        self._writer = None
        if not draft.dialect.is_passed_through:
            self._writer = draft.dialect.writer(call, envelope.first_facts(draft), reader.native)
        is_kept = draft.keeps_content or draft.response_cache == MISS
        self._kept: list[bytes] | None = [] if is_kept else None
        self._began = time.perf_counter()
        self.held_back_s = 0.0  # how long the client kept the provider waiting
        draft.first_token_us = round((self._began - started) * 1e6)
        state.metrics.streams += 1
        state.metrics.open_streams += 1

    @property
    def is_all_said(self) -> bool:
        """Whether the provider has ended its answer, so that only the usage may be missing."""
        return bool(self.reader.finish_reason) and self.reader.error is None

    def hear(self, data: bytes) -> bytes:
        """Note what is passed on; return it in the client's dialect."""
        self._listener.feed(data)
        if self._kept is not None:
            self._kept.append(data)
        return data if self._writer is None else self._writer.feed(data)

    def feed(self, piece: bytes) -> bytes:
        """Take bytes from the provider; return the events that they complete.

        Raises:
            errors.UpstreamFailed: the stream says that it failed.
        """
        reader = self.reader
        data = b"".join(dispatch.pieces_of(reader, piece, endpoint=self._endpoint))
        if reader.error is not None or reader.garbage_lines:
            self._require_sound()
        return self.hear(data)

    def end(self, error: errors.GatewayError | None = None, *, is_client_gone: bool = False) -> bytes:
        """Settle and record the stream, ended by its provider or by an error; return the last events.

        A stream that ends without a finish reason was cut, and is never passed on as a success.
        """
        draft, reader, state = self._draft, self.reader, self._state
        rest = b""
        if error is None:
            try:
                rest = self.hear(b"".join(dispatch.pieces_of(reader, None, endpoint=self._endpoint)))
                self._require_sound()
            except errors.UpstreamFailed as failure:
                error = failure
            if error is None and not reader.finish_reason:
                error = errors.UpstreamCut(
                    "The provider's stream ended before the answer was complete.", provider=self._endpoint.provider
                )
        state.metrics.open_streams -= 1
        draft.error = error
        draft.is_client_gone = is_client_gone
        draft.finish_reason = reader.finish_reason if error is None else "error"
        draft.native_finish_reason = reader.native_finish_reason
        draft.service_tier = reader.service_tier
        draft.signals = chat.judged(lambda: self._listener.finish(draft.finish_reason))
        if self._kept is not None and draft.keeps_content:
            draft.response = assembly.message(self.events())
        is_final = bool(reader.finish_reason)  # what a cut stream reported so far is not all
        costing.settle(state, draft, reader.usage, self._listener.bytes_said, is_final=is_final)
        seconds = time.perf_counter() - self._began - self.held_back_s
        dispatch.note_end(state.providers, draft, error, seconds=seconds)
        chat.record(state, draft, self._started)
        return b"" if is_client_gone else rest + self._last_words()

    def events(self) -> bytes:
        """Return the canonical events that were passed on, where the call asked that they be kept."""
        return b"".join(self._kept or ())

    def _require_sound(self) -> None:
        """Raise what the stream has failed with: nothing after a gap is passed on."""
        if self.reader.error is not None:
            raise dispatch.raised(self.reader.error, provider=self._endpoint.provider)
        if self.reader.garbage_lines:
            raise errors.UpstreamGarbage(
                "The provider sent a chunk that cannot be read; the answer is incomplete.",
                provider=self._endpoint.provider,
            )

    def _last_words(self) -> bytes:
        draft = self._draft
        call = draft.call
        assert call is not None
        writer = self._writer or draft.dialect.writer(call, envelope.first_facts(draft))
        return writer.end(draft.error, envelope.settled_facts(draft))
