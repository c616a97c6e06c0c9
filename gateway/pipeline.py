"""One chat call as a coroutine, readable as prose: authenticate, admit, dispatch, answer.

The steps themselves stand in `gateway.chat`; here is only the waiting, and what happens when a client hangs up. Every
way out of here writes exactly one record before the last byte goes out.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable
from typing import Any, TypeVar

import msgspec

from analytics.request_log import MISS
from gateway import authentication, chat, dispatch, envelope, errors, explanation, guardrails, idempotency, replay
from gateway.broadcast import Broadcast
from gateway.context import ChatCall, KeySnapshot
from gateway.dialects.protocol import Dialect
from gateway.draft import Draft
from gateway.http import ClientGone, Request, end_stream, send_answer, send_json, send_piece, start_stream
from gateway.idempotency import KeptAnswer
from gateway.response_cache import CachedAnswer
from gateway.state import State

logger = logging.getLogger(__name__)

_Found = TypeVar("_Found")

# A call that takes longer than this is watched for a client that hangs up; most are over before, and cost no watcher.
_WATCH_AFTER_S = 0.5


async def authenticate(state: State, request: Request, *, scope: str) -> KeySnapshot:
    """Return the key of a request, from memory or, the first time, from the database."""
    digest, key = authentication.known_key(state.snapshot, request.headers)
    if key is None:
        key = await state.snapshot.look_up(digest)
    return authentication.require_usable(key, scope=scope, now=request.now)


async def serve_chat(state: State, request: Request, dialect: Dialect) -> None:
    """Serve one chat call."""
    started = time.perf_counter()
    state.metrics.in_flight += 1
    try:
        draft: Draft | None = request.scope.get("state", {}).get("draft")
        try:
            if draft is None:
                key = await authenticate(state, request, scope="chat")
                raw = await request.read(state.max_request_bytes)
                draft = chat.new_draft(body_id=request.body_id, key=key, now=request.now, dialect=dialect)
                await _serve(state, request, draft, raw, started)
            else:
                request.body_id = draft.body
                await request.read(state.max_request_bytes)
                await resume_chat(state, request, draft, started)
        except errors.GatewayError as error:
            if draft is not None:
                chat.fail(state, draft, error, started=started)
            raise
        except (ClientGone, asyncio.CancelledError):
            if draft is not None:
                chat.lose_client(state, draft, started=started)
            raise
        except Exception:
            if draft is None:
                raise
            logger.exception("A call failed unexpectedly. request_id=%s", draft.request_id)
            raise chat.crash(state, draft, started=started) from None
    finally:
        state.metrics.in_flight -= 1


async def _serve(state: State, request: Request, draft: Draft, raw: bytes, started: float) -> None:
    """Serve a call that has arrived: once for its idempotency key, from the cache where it asks for that."""
    chat.read(draft, raw, request.headers)
    assert draft.call is not None
    if draft.call.preferences.is_dry_run:
        chat.decide(state, draft)
        await send_json(request, explanation.dry_run(draft))
        return
    if idempotency.HEADER not in request.headers:
        await _serve_once(state, request, draft, started)
        return
    asking = state.idempotency.claim(request.headers[idempotency.HEADER], draft.key, request.path, raw)
    claim = await _unless_client_goes(request, asking)
    if isinstance(claim, KeptAnswer):
        head = replay.of_duplicate(state, draft, claim, started=started)
        await state.recorder.durable()
        await _give(request, head, claim.body, is_stream=claim.is_stream)
    else:
        request.kept = []
        try:
            await _serve_once(state, request, draft, started)
            if draft.error is None:
                await claim.keep(replay.kept_answer(draft, claim.fingerprint, b"".join(request.kept)))
        finally:
            await claim.release()


async def require_clean(call: ChatCall, key: KeySnapshot) -> None:
    """Refuse a call that says what the workspace keeps from providers.

    Raises:
        errors.PermissionDenied: it does.
    """
    if key.guardrails.blocked:
        said = (call.said,) if call.native is None else (call.said, call.native.texts())
        for _ in guardrails.searching(said, key.guardrails.blocked):
            await asyncio.sleep(0)  # a long prompt takes seconds to look through, and others are served meanwhile


async def _serve_once(state: State, request: Request, draft: Draft, started: float) -> None:
    call = draft.call
    assert call is not None
    await require_clean(call, draft.key)
    if call.preferences.cache_ttl_s is not None:
        cached = await state.responses.find(call, draft.key)
        if cached is not None:
            head, body = replay.from_cache(state, draft, cached, started=started)
            await state.recorder.durable()
            await _give(request, head, body, is_stream=call.is_stream)
            return
        draft.response_cache = MISS
    chat.decide(state, draft)
    decided = draft.decision
    await state.admission.admit(draft)
    if draft.decision is not decided:  # a cheaper model has to do
        dispatch.chart(state.providers, draft)
    chat.note_intent(state, draft)
    await resume_chat(state, request, draft, started)


async def _give(request: Request, head: bytes, body: bytes, *, is_stream: bool) -> None:
    """Give an answer that is whole already."""
    if is_stream:
        await start_stream(request, head)
        await end_stream(request, body)
    else:
        await send_answer(request, body, head)


async def resume_chat(state: State, request: Request, draft: Draft, started: float) -> None:
    """Serve a call that was admitted."""
    assert draft.call is not None
    if draft.call.is_stream:
        await _stream(state, request, draft, started)
    else:
        await _whole(state, request, draft, started)


async def _whole(state: State, request: Request, draft: Draft, started: float) -> None:
    completion = await _unless_client_goes(request, dispatch.complete(state.providers, draft))
    cached = replay.cached_whole(draft, completion) if draft.response_cache == MISS else None
    head, data = chat.answer(state, draft, completion, started=started)
    chat.record(state, draft, started)
    await state.recorder.durable()
    if cached is not None:
        await _keep(state, draft, cached)
    await send_answer(request, data, head)


async def _keep(state: State, draft: Draft, cached: CachedAnswer) -> None:
    """Keep an answer before its last byte goes out: whoever has it finds it."""
    call = draft.call
    assert call is not None
    await state.responses.keep(
        call, draft.key, msgspec.structs.replace(cached, cost_nanousd=draft.settlement.provider_cost_nanousd)
    )


async def _stream(state: State, request: Request, draft: Draft, started: float) -> None:
    opening = dispatch.open_stream(
        state.providers, draft, chunk_id=f"gen_{draft.body}", created=draft.started_us // 1_000_000
    )
    stream = await _unless_client_goes(request, opening)
    broadcast = Broadcast(state, draft, stream.endpoint, stream.reader, started=started)
    watcher = _StreamWatcher(request, stream)
    try:
        await start_stream(request, envelope.stream_head(draft, started))
        last = await _relay(request, draft, stream, broadcast, watcher)
    finally:
        watcher.stop()
        stream.sent.close()
    await state.recorder.durable()
    if not draft.is_client_gone:
        if draft.response_cache == MISS and draft.error is None:
            await _keep(state, draft, replay.cached_stream(draft, broadcast.events()))
        await end_stream(request, last)


async def _relay(
    request: Request, draft: Draft, stream: dispatch.OpenStream, broadcast: Broadcast, watcher: _StreamWatcher
) -> bytes:
    """Pass the stream on until it ends, breaks, or the client hangs up; return its last events, recorded by then."""
    waited = 0.0
    error: errors.GatewayError | None = None
    try:
        data = broadcast.hear(stream.pending)
        while True:
            if data and not watcher.has_seen_client_go:
                given = time.perf_counter()
                await send_piece(request, data)
                broadcast.held_back_s += time.perf_counter() - given
            if stream.is_over:
                break
            asked = time.perf_counter()
            piece = await stream.sent.response.piece()
            waited += time.perf_counter() - asked
            if watcher.has_seen_client_go and not broadcast.is_all_said:
                break
            stream.is_over = not piece
            data = broadcast.feed(piece) if piece else b""
    except errors.UpstreamFailed as failure:
        error = failure
    except Exception:
        logger.exception("A stream failed unexpectedly. request_id=%s", draft.request_id)
        error = errors.GatewayError("Something went wrong on our side. The error is logged.")
    except asyncio.CancelledError:
        watcher.has_seen_client_go = True
    draft.upstream_us += round(waited * 1e6)
    if watcher.has_seen_client_go:
        error = chat.client_gone()
    return broadcast.end(error, is_client_gone=watcher.has_seen_client_go)


class _StreamWatcher:
    """Lets the provider go as soon as the client hangs up, even while the provider is silent."""

    def __init__(self, request: Request, stream: dispatch.OpenStream) -> None:
        self.has_seen_client_go = False
        self._stream = stream
        self._patience: asyncio.TimerHandle | None = None
        self._task = asyncio.ensure_future(request.wait_for_disconnect())
        self._task.add_done_callback(self._let_go)

    def stop(self) -> None:
        self._task.remove_done_callback(self._let_go)
        self._task.cancel()
        if self._patience is not None:
            self._patience.cancel()

    def _let_go(self, task: asyncio.Future[None]) -> None:
        if task.cancelled():
            return
        self.has_seen_client_go = True
        if self._stream.reader.finish_reason:
            # The client has all of the answer; what it cost is on its way.
            self._patience = asyncio.get_running_loop().call_later(
                chat.USAGE_PATIENCE_S, self._stream.sent.response.abort
            )
        else:
            self._stream.sent.response.abort()


class _Watch:
    """Ends a task when its client hangs up."""

    __slots__ = ("_request", "_task", "_watcher", "has_fired")

    def __init__(self, request: Request, task: asyncio.Task[Any]) -> None:
        self._request = request
        self._task = task
        self._watcher: asyncio.Future[None] | None = None
        self.has_fired = False

    def start(self) -> None:
        self._watcher = asyncio.ensure_future(self._request.wait_for_disconnect())
        self._watcher.add_done_callback(self._fire)

    def stop(self) -> None:
        if self._watcher is not None:
            self._watcher.remove_done_callback(self._fire)
            self._watcher.cancel()

    def _fire(self, watcher: asyncio.Future[None]) -> None:
        if not watcher.cancelled():
            self.has_fired = True
            self._task.cancel()


async def _unless_client_goes(request: Request, work: Awaitable[_Found]) -> _Found:
    """Return what the work gives, unless the client hangs up first: then the work is cancelled.

    Raises:
        ClientGone: it hung up.
    """
    task = asyncio.current_task()
    assert task is not None
    watch = _Watch(request, task)
    timer = asyncio.get_running_loop().call_later(_WATCH_AFTER_S, watch.start)
    try:
        return await work
    except asyncio.CancelledError:
        if watch.has_fired:
            task.uncancel()
            raise ClientGone from None
        raise
    finally:
        timer.cancel()
        watch.stop()
