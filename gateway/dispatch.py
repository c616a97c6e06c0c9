"""From a decision to a provider's answer: attempts in order until one gives its first real output.

Failing over is possible until then; afterwards every failure is the pipeline's to end honestly.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Protocol

from gateway import errors, native
from gateway.draft import Draft
from gateway.providers.protocol import Adapter, Completion, Endpoint, ProviderError, StreamReader
from gateway.upstream import Timeouts

logger = logging.getLogger(__name__)


class Answer(Protocol):
    """What a transport gives back: status, headers, and the body whole or piece by piece."""

    @property
    def status(self) -> int: ...

    @property
    def body(self) -> bytes: ...

    @property
    def headers(self) -> dict[str, str]: ...

    async def piece(self) -> bytes: ...

    def abort(self) -> None: ...


class Sent(Protocol):
    """A request on its way. It must be closed."""

    @property
    def response(self) -> Answer: ...

    def close(self) -> None: ...


class Transport(Protocol):
    """Takes a request to a provider: `gateway.upstream` over sockets, `gateway.simulation` in this process."""

    async def send(
        self,
        base_url: str,
        path: str,
        headers: tuple[tuple[str, str], ...],
        body: bytes,
        *,
        collects: bool,
        timeouts: Timeouts,
    ) -> Sent: ...


@dataclass(frozen=True, slots=True)
class Providers:
    """How providers are reached: an adapter by protocol, and the two transports."""

    adapters: dict[str, Adapter]
    upstream: Transport
    simulation: Transport
    timeouts: Timeouts


@dataclass(slots=True)
class OpenStream:
    """A stream whose first real output has been seen. `pending` holds the events read so far."""

    endpoint: Endpoint
    reader: StreamReader
    sent: Sent
    pending: bytes
    is_over: bool


async def complete(providers: Providers, draft: Draft) -> Completion:
    """Return the first whole answer that an attempt gives, noting every attempt in the draft.

    Raises:
        errors.GatewayError: every attempt failed; the last failure.
    """
    for position, endpoint in enumerate(_endpoints(draft)):
        started = time.perf_counter()
        try:
            completion = await _complete_at(providers, draft, endpoint)
        except errors.UpstreamFailed as error:
            note(draft, endpoint, started, error)
            if not _may_go_on(draft, position, error):
                raise
        else:
            note(draft, endpoint, started, None)
            return completion
    raise AssertionError("a decision has at least one endpoint")


async def open_stream(providers: Providers, draft: Draft, *, chunk_id: str, created: int) -> OpenStream:
    """Return the first stream that gives a real output token, noting every attempt in the draft.

    Raises:
        errors.GatewayError: every attempt failed before its first output; the last failure.
    """
    for position, endpoint in enumerate(_endpoints(draft)):
        started = time.perf_counter()
        try:
            stream = await _open_at(providers, draft, endpoint, chunk_id=chunk_id, created=created)
        except errors.UpstreamFailed as error:
            note(draft, endpoint, started, error)
            if not _may_go_on(draft, position, error):
                raise
        else:
            note(draft, endpoint, started, None)
            return stream
    raise AssertionError("a decision has at least one endpoint")


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
    return kind(
        failure.message,
        code=failure.code,
        status=failure.status,
        retry_after_s=failure.retry_after_s,
        provider=provider,
        metadata={"is_retryable_upstream": failure.is_retryable},
    )


def _endpoints(draft: Draft) -> tuple[Endpoint, ...]:
    assert draft.decision is not None
    return draft.decision.endpoints


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
        return OpenStream(endpoint, reader, sent, b"".join(pending), is_over)
    except BaseException:
        sent.close()
        raise


async def _send(providers: Providers, draft: Draft, endpoint: Endpoint, adapter: Adapter, *, is_stream: bool) -> Sent:
    call = draft.call
    assert call is not None
    request = adapter.request(call.body, call.raw, endpoint=endpoint, is_stream=is_stream, native=call.native)
    draft.endpoint = endpoint
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
        timeouts=providers.timeouts,
    )


def _may_go_on(draft: Draft, position: int, error: errors.UpstreamFailed) -> bool:
    """Whether the next endpoint may be tried: there is one, and the failure was the provider's, not the request's."""
    return position + 1 < len(_endpoints(draft)) and not isinstance(error, errors.UpstreamRejected)


def note(draft: Draft, endpoint: Endpoint, started: float, error: errors.UpstreamFailed | None) -> None:
    """Note an attempt that began at `started` (perf_counter) and ended now."""
    elapsed_us = round((time.perf_counter() - started) * 1e6)
    draft.upstream_us += elapsed_us
    attempt: dict[str, object] = {
        "model": endpoint.model,
        "provider": endpoint.provider,
        "status": 200 if error is None else error.http_status,
        "latency_ms": elapsed_us / 1000,
    }
    if error is not None:
        attempt["error_class"] = error.error_class
    draft.attempts.append(attempt)
