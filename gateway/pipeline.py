"""One chat call from its bytes to its answer and its record, readable as prose.

Authenticate, parse, decide, note the intent, dispatch, settle, record, answer. Every way out of here writes exactly one
record before the last byte goes out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from functools import lru_cache
from typing import Any, TypeVar

import orjson

from analytics.request_log import UNPRICED
from gateway import authentication, dispatch, errors, receipt, settlement, signals, sse
from gateway.catalog.prices import Rates
from gateway.context import ChatCall, KeySnapshot
from gateway.dialects import openai
from gateway.http import ClientGone, Headers, Request, end_stream, send_json, send_piece, start_stream
from gateway.listener import Listener
from gateway.providers.protocol import Usage
from gateway.recording import Draft
from gateway.settlement import Settlement
from gateway.state import State

_Found = TypeVar("_Found")

UNKNOWN_COST = Settlement(UNPRICED)

# A call that takes longer than this is watched for a client that hangs up; most are over before, and cost no watcher.
_WATCH_AFTER_S = 0.5


async def authenticate(state: State, request: Request, *, scope: str) -> KeySnapshot:
    """Return the key of a request, from memory or, the first time, from the database."""
    digest, key = authentication.known_key(state.snapshot, request.headers)
    if key is None:
        key = await state.snapshot.look_up(digest)
    return authentication.require_usable(key, scope=scope, now=request.now)


async def chat(state: State, request: Request) -> None:
    """Serve one chat call."""
    started = time.perf_counter()
    state.metrics.in_flight += 1
    try:
        key = await authenticate(state, request, scope="chat")
        draft = Draft(body=request.body_id, key=key, started_us=int(request.now * 1_000_000))
        try:
            raw = await request.read(state.max_request_bytes)
            draft.call = call = openai.parse_chat(raw, request.headers, is_test=key.is_test)
            draft.decision = decision = state.router.decide(call, key, call_id=request.body_id)
            draft.endpoint = decision.endpoints[0]
            state.recorder.intent(draft)
            if call.is_stream:
                await _stream(state, request, draft, call, started)
            else:
                await _whole(state, request, draft, call, started)
        except errors.GatewayError as error:
            draft.error = error
            await _record(state, draft, started)
            error.metadata.setdefault("receipt_id", f"rcpt_{draft.body}")
            raise
        except (ClientGone, asyncio.CancelledError):
            draft.is_client_gone = True
            draft.error = draft.error or errors.GatewayError("The client hung up.", status=499)
            await asyncio.shield(_record(state, draft, started))
            raise
    finally:
        state.metrics.in_flight -= 1


async def _whole(state: State, request: Request, draft: Draft, call: ChatCall, started: float) -> None:
    completion = await _unless_client_goes(request, dispatch.complete(state.providers, draft))
    body = completion.body
    draft.finish_reason = completion.finish_reason
    draft.native_finish_reason = completion.native_finish_reason
    draft.service_tier = completion.service_tier
    message = body["choices"][0]["message"] if body["choices"] else {}
    draft.signals = signals.of_completion(call.body, message, completion.finish_reason)
    if draft.key.stores_content:
        draft.response_text = orjson.dumps(message).decode()
    _settle(state, draft, completion.usage)
    x_kairosroute = _answer_object(draft)
    _complete_body(body, draft, x_kairosroute)
    data = orjson.dumps(body)
    await _record(state, draft, started)
    await send_json(request, data, _headers(draft, x_kairosroute, started))


async def _stream(state: State, request: Request, draft: Draft, call: ChatCall, started: float) -> None:
    chunk_id, created = f"gen_{draft.body}", int(request.now)
    opening = dispatch.open_stream(state.providers, draft, chunk_id=chunk_id, created=created)
    stream = await _unless_client_goes(request, opening)
    draft.first_token_us = round((time.perf_counter() - started) * 1e6)
    relay = Relay(request, draft, stream, Listener(call.body))
    state.metrics.streams += 1
    state.metrics.open_streams += 1
    try:
        await start_stream(request, _stream_headers(draft, started))
        rest = await relay.run()
    finally:
        relay.close()
        state.metrics.open_streams -= 1
    _settle(state, draft, stream.reader.usage)
    await _record(state, draft, started)
    if draft.is_client_gone:
        return
    endpoint = stream.endpoint
    if draft.error is not None:
        rest += sse.error_event(draft.error, draft.request_id, chunk_id=chunk_id, created=created, model=endpoint.model)
    usage = sse.usage_event(
        chunk_id=chunk_id,
        created=created,
        model=endpoint.model,
        provider=endpoint.provider,
        usage=_usage_object(draft),
        x_kairosroute=_answer_object(draft),
        was_asked_for=call.wants_usage,
    )
    await end_stream(request, b"%b%b%b" % (rest, usage, sse.DONE))


class Relay:
    """Passes a stream's events to the client until it ends, breaks, or the client hangs up."""

    def __init__(self, request: Request, draft: Draft, stream: dispatch.OpenStream, listener: Listener) -> None:
        self._request = request
        self._draft = draft
        self._stream = stream
        self._listener = listener
        self._kept: list[bytes] | None = [] if draft.key.stores_content else None
        self._watcher = asyncio.ensure_future(request.wait_for_disconnect())
        # A client that hangs up while the provider is silent: the provider is let go at once.
        self._watcher.add_done_callback(self._let_go)

    async def run(self) -> bytes:
        """Relay, fill the draft, and return the events that are still to be sent (the last ones, with the stream's
        end)."""
        stream, draft, reader = self._stream, self._draft, self._stream.reader
        waited = 0.0
        data = stream.pending
        try:
            while not stream.is_over:
                if data:
                    self._hear(data)
                    await send_piece(self._request, data)
                    data = b""  # sent: if the next piece fails, it must not go out again
                asked = time.perf_counter()
                piece = await stream.sent.response.piece()
                waited += time.perf_counter() - asked
                if self._watcher.done():
                    raise ClientGone
                if piece:
                    data = b"".join(reader.feed(piece))
                else:
                    stream.is_over = True
                    data = b"".join(reader.finish())
                if reader.error is not None:
                    raise dispatch.raised(reader.error, provider=stream.endpoint.provider)
                if reader.garbage_lines:
                    data = b""  # what follows a lost chunk would look like the answer and is not
                    raise errors.UpstreamGarbage(
                        "The provider sent a chunk that cannot be read; the answer is incomplete.",
                        provider=stream.endpoint.provider,
                    )
            if not reader.finish_reason:
                raise errors.UpstreamCut(
                    "The provider's stream ended before the answer was complete.", provider=stream.endpoint.provider
                )
        except errors.UpstreamFailed as error:
            if self._watcher.done():
                self._client_is_gone()
            else:
                draft.error = error
        except (ClientGone, asyncio.CancelledError):
            self._client_is_gone()
        if data:
            self._hear(data)
        draft.upstream_us += round(waited * 1e6)
        draft.finish_reason = reader.finish_reason if draft.error is None else "error"
        draft.native_finish_reason = reader.native_finish_reason
        draft.service_tier = reader.service_tier
        draft.signals = self._listener.finish(draft.finish_reason)
        if self._kept is not None:
            draft.response_text = b"".join(self._kept).decode("utf-8", "replace")
        return data

    def close(self) -> None:
        """Let go of the client's and the provider's connection."""
        self._watcher.remove_done_callback(self._let_go)
        self._watcher.cancel()
        self._stream.sent.close()

    def _let_go(self, watcher: asyncio.Future[None]) -> None:
        if not watcher.cancelled():
            self._stream.sent.response.abort()

    def _hear(self, data: bytes) -> None:
        self._listener.feed(data)
        if self._kept is not None:
            self._kept.append(data)

    def _client_is_gone(self) -> None:
        self._draft.is_client_gone = True
        self._draft.error = errors.GatewayError("The client hung up.", status=499)


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


def _settle(state: State, draft: Draft, usage: Usage | None) -> None:
    """Price what was used. Usage that the provider did not report has no known cost, which is not a cost of zero."""
    endpoint = draft.endpoint
    assert endpoint is not None
    if usage is None or not usage.is_reported:
        draft.settlement = UNKNOWN_COST
        return
    draft.usage = usage
    row = state.book.row(endpoint.model, draft.started_us / 1e6, draft.service_tier)
    draft.settlement = settlement.settle(usage, row, draft.key_source)
    if row is not None:
        draft.prices = _unit_prices(row.rates_for(usage.input_tokens))
    _compare(state, draft, usage)


def _compare(state: State, draft: Draft, usage: Usage) -> None:
    """Note what the same usage would have cost on the baseline that the request or the workspace names."""
    call = draft.call
    assert call is not None
    name = call.options.get("baseline") or draft.key.policy.baseline_model
    if not name:
        return
    models = state.catalog.resolve(name).models
    if models:
        draft.baseline_model = models[0].id
        row = state.book.row(models[0].id, draft.started_us / 1e6)
        draft.baseline_cost_nanousd = settlement.estimate(usage, row)


@lru_cache(maxsize=1024)
def _unit_prices(rates: Rates) -> dict[str, int]:
    """Return the prices that the receipt shows, in nano-USD per million tokens."""
    return {
        "input_nanousd_per_mtok": rates.input,
        "cached_read_nanousd_per_mtok": rates.cached_read,
        "cache_write_nanousd_per_mtok": rates.cache_write,
        "output_nanousd_per_mtok": rates.output,
    }


async def _record(state: State, draft: Draft, started: float) -> None:
    await state.recorder.record(draft, latency_us=round((time.perf_counter() - started) * 1e6))


def _answer_object(draft: Draft) -> dict[str, Any]:
    call, decision, endpoint, settled = draft.call, draft.decision, draft.endpoint, draft.settlement
    assert call is not None
    assert decision is not None
    assert endpoint is not None
    return receipt.answer_object(
        body=draft.body,
        requested_model=call.requested_model,
        model=endpoint.model,
        provider=endpoint.provider,
        task_type=call.task_type,
        route_reason=decision.route_reason,
        key_source=draft.key_source,
        price_state=settled.price_state,
        provider_cost_nanousd=settled.provider_cost_nanousd,
        billed_nanousd=settled.billed_nanousd,
        baseline_model=draft.baseline_model,
        baseline_cost_nanousd=draft.baseline_cost_nanousd,
        is_simulated=endpoint.is_simulated,
        attempts=len(draft.attempts),
    )


def _complete_body(body: dict[str, Any], draft: Draft, x_kairosroute: dict[str, Any]) -> None:
    """Put the provider, the cost and the receipt into a whole answer."""
    endpoint = draft.endpoint
    assert endpoint is not None
    body["provider"] = endpoint.provider
    usage = body.get("usage")
    if usage is not None:
        usage["cost"] = x_kairosroute["provider_cost_usd"]
        usage["is_byok"] = False
    body["x_kairosroute"] = x_kairosroute


def _usage_object(draft: Draft) -> dict[str, Any]:
    usage, settled = draft.usage, draft.settlement
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
            "audio_tokens": usage.audio_input_tokens,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": usage.audio_output_tokens,
        },
        "cost": None if settled.price_state == UNPRICED else receipt.usd(settled.provider_cost_nanousd),
        "is_byok": False,
    }


def _headers(draft: Draft, x_kairosroute: dict[str, Any], started: float) -> Headers:
    headers = _stream_headers(draft, started)
    cost, savings = x_kairosroute["provider_cost_usd"], x_kairosroute["savings_usd"]
    if cost is not None:
        headers.append((b"x-kairosroute-cost", b"%.9f" % cost))
    if savings is not None:
        headers.append((b"x-kairosroute-savings", b"%.9f" % savings))
    return headers


def _stream_headers(draft: Draft, started: float) -> Headers:
    call, endpoint = draft.call, draft.endpoint
    assert call is not None
    assert endpoint is not None
    overhead_us = (time.perf_counter() - started) * 1e6 - draft.upstream_us
    return [
        (b"x-generation-id", b"gen_%b" % draft.body.encode()),
        (b"x-kairosroute-receipt-id", b"rcpt_%b" % draft.body.encode()),
        (b"x-kairosroute-provider", endpoint.provider.encode("latin-1", "replace")),
        (b"x-kairosroute-model", endpoint.model.encode("latin-1", "replace")),
        (b"x-kairosroute-task", call.task_type.encode("latin-1", "replace")),
        (b"x-kairosroute-attempts", b"%d" % len(draft.attempts)),
        (b"x-kairosroute-overhead-ms", b"%.2f" % (overhead_us / 1000)),
    ]
