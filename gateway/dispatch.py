"""From a decision to a provider's answer: attempts in order until one gives its first real output.

Failing over is possible until then; afterwards every failure is the pipeline's to end honestly. The order is made by
`gateway.health`, what follows a failure by `gateway.fallback`; here the attempts are made.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass

from analytics.request_log import BYOK
from gateway import errors, fallback, native
from gateway.draft import Draft
from gateway.fallback import Course
from gateway.health import sessions
from gateway.health.board import KeyFallback
from gateway.providers.protocol import Adapter, Completion, Endpoint, ProviderError, StreamReader
from gateway.transports import Providers, Sent
from gateway.upstream import Timeouts

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class OpenStream:
    """A stream whose first real output has been seen. `pending` holds the events read so far."""

    endpoint: Endpoint
    reader: StreamReader
    sent: Sent
    pending: bytes
    is_over: bool


def chart(providers: Providers, draft: Draft) -> None:
    """Fix the course of a call whose decision stands: which endpoints it tries, in which order.

    Raises:
        errors.UpstreamRateLimited: every provider that could serve it said when to come back, and it is not then.
    """
    call, decision = draft.call, draft.decision
    assert call is not None
    assert decision is not None
    endpoints, preferences = decision.endpoints, call.preferences
    now = time.perf_counter()
    has_choice = len(endpoints) > 1
    stays_at = None
    draft.session_key = key = sessions.key_of(call, draft.key.workspace_id, has_choice=has_choice)
    if key is not None:
        draft.seat = seat = providers.sessions.find(key, now)
        stays_at = None if seat is None else seat.is_at
    if has_choice or providers.health.gates:
        plan = providers.health.plan(
            endpoints,
            now,
            traits_of=providers.traits_of,
            is_order_fixed=decision.is_order_fixed,
            stays_at=stays_at,
        )
        endpoints, skipped, is_probing = plan.endpoints, plan.skipped, plan.is_probing
        if not endpoints:
            draft.endpoint = waiting = skipped[0][0]
            draft.course = Course((), preferences=preferences, skipped=skipped)
            raise errors.UpstreamRateLimited(
                f"{waiting.provider} asked to wait before it takes further calls for this model.",
                retry_after_s=plan.retry_after_s,
                provider=waiting.provider,
            )
    else:
        skipped, is_probing = (), False
    draft.endpoint = endpoints[0]
    draft.course = Course(
        endpoints,
        preferences=preferences,
        skipped=skipped,
        is_probing=is_probing,
        max_attempts=providers.max_attempts,
        deadline=now + (preferences.timeout_s or providers.timeouts.total),
    )


async def complete(providers: Providers, draft: Draft) -> Completion:
    """Return the first whole answer that an attempt gives, noting every attempt in the draft.

    Raises:
        errors.GatewayError: every attempt failed; the last failure.
    """
    while True:
        started = time.perf_counter()
        endpoint = draft.course.endpoint
        try:
            completion = await _complete_at(providers, draft, endpoint)
        except errors.UpstreamFailed as error:
            await _go_on(providers, draft, endpoint, started, error)
        except errors.InvalidRequest as error:
            _pass_over(draft, error)
        else:
            note(providers, draft, endpoint, started, None)
            return completion


async def open_stream(providers: Providers, draft: Draft, *, chunk_id: str, created: int) -> OpenStream:
    """Return the first stream that gives a real output token, noting every attempt in the draft.

    Raises:
        errors.GatewayError: every attempt failed before its first output; the last failure.
    """
    while True:
        started = time.perf_counter()
        endpoint = draft.course.endpoint
        try:
            stream = await _open_at(providers, draft, endpoint, chunk_id=chunk_id, created=created)
        except errors.UpstreamFailed as error:
            await _go_on(providers, draft, endpoint, started, error)
        except errors.InvalidRequest as error:
            _pass_over(draft, error)
        else:
            note(providers, draft, endpoint, started, None)
            return stream


async def _go_on(
    providers: Providers, draft: Draft, endpoint: Endpoint, started: float, error: errors.UpstreamFailed
) -> None:
    """Note a failed attempt and return when the next one is due.

    Raises:
        errors.UpstreamFailed: there is none.
    """
    if not fail(providers, draft, endpoint, started, error):
        raise error
    wait_s = draft.course.wait_s
    if wait_s > 0.0:
        await asyncio.sleep(wait_s)


def _pass_over(draft: Draft, error: errors.InvalidRequest) -> None:
    """Leave out an endpoint whose protocol cannot say what the call asks.

    Raises:
        errors.GatewayError: no other is left; what went wrong first.
    """
    course = draft.course
    if not course.pass_over(error):
        assert course.first_failure is not None
        raise course.first_failure


def fail(providers: Providers, draft: Draft, endpoint: Endpoint, started: float, error: errors.UpstreamFailed) -> bool:
    """Note an attempt that failed; return whether the call goes on, at `draft.course.endpoint`."""
    note(providers, draft, endpoint, started, error)
    course = draft.course
    course.first_failure = course.first_failure or error
    why = course.fail(error, time.perf_counter(), traits_of=providers.traits_of, rng=providers.rng)
    if why:
        draft.attempts[-1]["then"] = why
        if endpoint.key_source == BYOK != course.endpoint.key_source:
            providers.health.key_fallbacks.append(
                KeyFallback(
                    draft.key.organization_id,
                    draft.key.workspace_id,
                    endpoint.credential_id,
                    endpoint.provider,
                    endpoint.model,
                    error.error_class,
                )
            )
        return True
    error.metadata["attempts"] = [
        {name: attempt[name] for name in ("model", "provider", "status", "error_class")} for attempt in draft.attempts
    ]
    return False


def require_sound(reader: StreamReader, *, endpoint: Endpoint, is_over: bool) -> None:
    """Raise what a stream that has given no output yet has failed with; return when it has not.

    Raises:
        errors.UpstreamFailed: it said so, sent what cannot be read, or ended without a finish reason.
    """
    if reader.error is not None:
        raise raised(reader.error, provider=endpoint.provider)
    if reader.garbage_lines:
        raise errors.UpstreamGarbage(
            "The provider sent a chunk that cannot be read; the answer is incomplete.", provider=endpoint.provider
        )
    if is_over and not reader.finish_reason:
        raise errors.UpstreamCut("The provider's stream ended before it said anything.", provider=endpoint.provider)


def completion_of(adapter: Adapter, body: bytes, *, endpoint: Endpoint) -> Completion:
    """Return the whole answer that a provider gave with status 200.

    Raises:
        errors.UpstreamFailed: it is none, in whatever way: a provider's mistake is never ours.
    """
    try:
        return adapter.completion(body, endpoint=endpoint)
    except errors.UpstreamFailed:
        raise
    except Exception as error:
        raise _garbage(error, endpoint) from None


def pieces_of(reader: StreamReader, data: bytes | None, *, endpoint: Endpoint) -> list[bytes]:
    """Return the events that `data` completes, at the end of the body (None) those that were held back.

    Raises:
        errors.UpstreamFailed: the provider sent what is no stream of answers.
    """
    try:
        return list(reader.finish() if data is None else reader.feed(data))
    except errors.UpstreamFailed:
        raise
    except Exception as error:
        raise _garbage(error, endpoint) from None


def _garbage(error: Exception, endpoint: Endpoint) -> errors.UpstreamGarbage:
    # The place and the kind only: an exception's text may quote the answer.
    where = error.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    place = "" if where is None else f"{where.tb_frame.f_code.co_filename.rpartition('/')[2]}:{where.tb_lineno}"
    logger.warning("An answer of %s cannot be read: %s at %s", endpoint.provider, type(error).__name__, place)
    return errors.UpstreamGarbage(
        "The provider's answer does not have the form that its protocol asks for.", provider=endpoint.provider
    )


def raised(failure: ProviderError, *, provider: str) -> errors.UpstreamFailed:
    """Return the exception that a classified provider error stands for."""
    kind = errors.UPSTREAM_ERRORS.get(failure.error_class, errors.UpstreamError)
    metadata: dict[str, object] = {"is_retryable_upstream": failure.is_retryable}
    if failure.code in (fallback.TOO_LONG, fallback.POLICY):
        metadata["error_type"] = failure.code
    error = kind(
        failure.message,
        code=failure.code,
        status=failure.status,
        retry_after_s=failure.retry_after_s,
        provider=provider,
        metadata=metadata,
    )
    error.has_status = True
    return error


async def _complete_at(providers: Providers, draft: Draft, endpoint: Endpoint) -> Completion:
    adapter = providers.adapters[endpoint.protocol]
    sent = await _send(providers, draft, endpoint, adapter, is_stream=False)
    try:
        answer = sent.response
        if answer.status != 200:
            raise raised(
                adapter.error(answer.status, answer.headers, answer.body, endpoint=endpoint), provider=endpoint.provider
            )
        return completion_of(adapter, answer.body, endpoint=endpoint)
    finally:
        sent.close()


async def _open_at(
    providers: Providers, draft: Draft, endpoint: Endpoint, *, chunk_id: str, created: int
) -> OpenStream:
    adapter = providers.adapters[endpoint.protocol]
    sent = await _send(providers, draft, endpoint, adapter, is_stream=True)
    try:
        answer = sent.response
        if answer.status != 200:
            raise raised(
                adapter.error(answer.status, answer.headers, answer.body, endpoint=endpoint), provider=endpoint.provider
            )
        keeps_native = draft.call is not None and native.of(draft.call.native, endpoint.protocol) is not None
        reader = adapter.stream(endpoint=endpoint, chunk_id=chunk_id, created=created, keeps_native=keeps_native)
        pending: list[bytes] = []
        is_over = False
        while not reader.has_output and not is_over:
            data = await answer.piece()
            if data:
                pending += pieces_of(reader, data, endpoint=endpoint)
            else:
                pending += pieces_of(reader, None, endpoint=endpoint)
                is_over = True
            require_sound(reader, endpoint=endpoint, is_over=is_over)
        answer.output_began()
        return OpenStream(endpoint, reader, sent, b"".join(pending), is_over)
    except BaseException:
        sent.close()
        raise


async def _send(providers: Providers, draft: Draft, endpoint: Endpoint, adapter: Adapter, *, is_stream: bool) -> Sent:
    call = draft.call
    assert call is not None
    request = adapter.request(call.body, call.raw, endpoint=endpoint, is_stream=is_stream, native=call.native)
    draft.endpoint = endpoint
    providers.health.begin(endpoint, time.perf_counter())
    dropped = request.dropped_params
    if call.native is not None and native.of(call.native, endpoint.protocol) is None:
        call.native.require_translatable()
        dropped += call.native.lost
    if dropped:
        draft.dropped_params = dropped
    transport = providers.simulation if endpoint.is_simulated else providers.upstream
    return await transport.send(
        endpoint.base_url,
        request.path,
        request.headers,
        request.body,
        collects=not is_stream,
        timeouts=timeouts_of(providers, draft),
    )


def timeouts_of(providers: Providers, draft: Draft) -> Timeouts:
    """Return the bounds of the next attempt: the operator's, tightened by the client's wishes and the time spent."""
    call = draft.call
    assert call is not None
    preferences, bounds = call.preferences, providers.timeouts
    if preferences.timeout_s is None and preferences.first_token_timeout_s is None and not draft.attempts:
        return bounds
    left = max(0.001, draft.course.seconds_left(time.perf_counter()))
    first_token = bounds.first_token
    if preferences.first_token_timeout_s is not None:
        first_token = min(first_token, preferences.first_token_timeout_s)
    return Timeouts(
        connect=min(bounds.connect, left),
        first_byte=min(bounds.first_byte, left),
        first_token=min(first_token, left),
        between_pieces=bounds.between_pieces,
        total=min(bounds.total, left),
    )


def note(
    providers: Providers, draft: Draft, endpoint: Endpoint, started: float, error: errors.UpstreamFailed | None
) -> None:
    """Note an attempt that began at `started` (perf_counter) and ended now, in the draft and in the endpoint's health.

    Of a stream an attempt ends with its first output.
    """
    now = time.perf_counter()
    elapsed_us = round((now - started) * 1e6)
    draft.upstream_us += elapsed_us
    attempt: dict[str, object] = {
        "model": endpoint.model,
        "provider": endpoint.provider,
        "key_source": endpoint.key_source,
        "status": 200,
        "latency_ms": elapsed_us / 1000,
    }
    draft.attempts.append(attempt)
    if error is None:
        providers.health.succeed(endpoint, now, elapsed_us if draft.call.is_stream else None)  # type: ignore[union-attr]
        return
    attempt["status"] = error.http_status
    attempt["error_class"] = error.error_class
    if not (isinstance(error, errors.UpstreamTimeout) and _is_impatient(draft)):
        providers.health.fail(endpoint, now, error)


def _is_impatient(draft: Draft) -> bool:
    """Whether the client set a time of its own: what runs out then says nothing about the endpoint."""
    call = draft.call
    return call is not None and (
        call.preferences.timeout_s is not None or call.preferences.first_token_timeout_s is not None
    )


def note_end(providers: Providers, draft: Draft, error: errors.GatewayError | None, *, seconds: float) -> None:
    """Note the end of an answer that had begun: a stream that broke, or how fast it came.

    `seconds`: of a stream since its first token, else since it was asked for. Answers of fewer than 16 tokens in a
    stream, 100 in whole, say nothing about throughput.
    """
    endpoint = draft.endpoint
    assert endpoint is not None
    assert draft.call is not None
    if endpoint.is_simulated:
        return
    if error is None:
        tokens = draft.usage.output_tokens
        if seconds > 0.0 and tokens >= (16 if draft.call.is_stream else 100):
            providers.health.note_rate(endpoint, tokens / seconds)
    elif isinstance(error, errors.UpstreamFailed) and not (
        isinstance(error, errors.UpstreamTimeout) and _is_impatient(draft)
    ):
        providers.health.fail(endpoint, time.perf_counter(), error, was_success=True)
    if draft.session_key is not None and error is None:
        providers.sessions.keep(
            draft.session_key,
            endpoint,
            time.perf_counter(),
            cached_tokens=draft.usage.cached_read_tokens + draft.usage.cache_write_tokens,
        )
