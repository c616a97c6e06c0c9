"""The steps of a chat call between the waiting: admit, settle, answer, and what a stream says. Synchronous.

The shells around it wait: `gateway.pipeline` as a coroutine, `gateway.express` in a connection's callbacks. Both tell
the same story, because every step of it stands here once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import chain
from typing import Any

from analytics.request_log import BYOK, ESTIMATED, UNPRICED, UNUSED
from gateway import assembly, costing, dispatch, echoes, errors, explanation, receipt, refusals, signals
from gateway.context import KeySnapshot
from gateway.dialects.protocol import Dialect, Facts
from gateway.draft import Draft
from gateway.listener import Listener
from gateway.preferences import NO_PREFERENCES
from gateway.providers import shape
from gateway.providers.protocol import Completion, Endpoint, StreamReader
from gateway.response_cache import MISS, OFF
from gateway.signals import NO_SIGNALS, Signals
from gateway.state import State

logger = logging.getLogger(__name__)

CLIENT_GONE = 499
# How long a provider may take to report the usage of an answer whose client hung up after its last word.
USAGE_PATIENCE_S = 2.0
# KairosRoute's own SDK reads a spent budget from a 429 and retries no other way.
_PLAIN_CLIENT = b"kairosroute-python/"


def read(draft: Draft, raw: bytes, headers: Mapping[bytes, bytes]) -> None:
    """Parse the call.

    Raises:
        errors.InvalidRequest: it cannot be served as sent.
    """
    draft.call = draft.dialect.parse(raw, headers, is_test=draft.key.is_test)
    draft.has_plain_errors = headers.get(b"user-agent", b"").startswith(_PLAIN_CLIENT)


def decide(state: State, draft: Draft) -> None:
    """Decide where the call goes.

    Raises:
        errors.GatewayError: it cannot be served; the draft holds what is known by then.
    """
    call = draft.call
    assert call is not None
    try:
        decision = state.router.decide(call, draft.key, call_id=draft.body, at=draft.started_us / 1e6)
    except errors.NoProvider as error:
        if not call.request_keys:
            raise _with_broken_keys(error, draft.key) from None
        raise errors.InvalidRequest(
            "The provider key that came with this request fits no provider of the model. Name its provider"
            " (`x-portkey-provider`), or leave it out.",
            code="provider_key_not_usable",
        ) from None
    if decision.turns_reasoning_on:
        draft.call = call.with_reasoning()
    draft.decision = decision
    dispatch.chart(state.providers, draft)


def _with_broken_keys(error: errors.NoProvider, key: KeySnapshot) -> errors.NoProvider:
    """Return the error with what the customer can mend: their keys that keep the operator's away and cannot be used."""
    held = () if key.credentials is None else chain.from_iterable(key.credentials.by_provider.values())
    broken = [one.label for one in held if not one.is_usable]
    if broken:
        labels = ", ".join(f"“{label}”" for label in broken)
        error.message += f" Of your provider keys, {labels} cannot be used: replace it under Provider keys."
    return error


def note_intent(state: State, draft: Draft) -> None:
    """Note that the call was decided and admitted: from here on it may go out.

    Raises:
        errors.Unavailable: it cannot be noted.
    """
    state.recorder.intent(draft)


def new_draft(*, body_id: str, key: KeySnapshot, now: float, dialect: Dialect) -> Draft:
    """Return the empty draft of a call that arrived `now` (seconds since the epoch)."""
    return Draft(body=body_id, key=key, started_us=int(now * 1_000_000), dialect=dialect)


def answer(state: State, draft: Draft, completion: Completion, *, started: float) -> tuple[bytes, bytes]:
    """Settle a whole answer; return its header lines and its body, to be given once the record is written."""
    call, endpoint = draft.call, draft.endpoint
    assert call is not None
    assert endpoint is not None
    draft.finish_reason = completion.finish_reason
    draft.native_finish_reason = completion.native_finish_reason
    draft.service_tier = completion.service_tier
    message = completion.message
    draft.signals = _judged(lambda: signals.of_completion(call.shape, message, completion.finish_reason))
    if draft.keeps_content:
        draft.response = message
    costing.settle(state, draft, completion.usage, lambda: signals.bytes_said(message))
    dispatch.note_end(state.providers, draft, None, seconds=draft.attempts[-1]["latency_ms"] / 1000)
    x_kairosroute = answer_object(draft)
    # What is passed through has its usage already.
    usage = {} if draft.dialect.is_passed_through else usage_object(draft)
    data = draft.dialect.answer(call, completion, _facts(draft, x_kairosroute, usage))
    return answer_head(draft, x_kairosroute, started), data


def fail(state: State, draft: Draft, error: errors.GatewayError, *, started: float) -> None:
    """Record a call that ends in an error before anything was sent, unless it has its record already."""
    if not draft.is_recorded:
        draft.error = error
        record(state, draft, started)
    error.metadata.setdefault("receipt_id", f"rcpt_{draft.body}")
    if draft.attempts:
        error.metadata.setdefault("attempts", draft.attempts)


def lose_client(state: State, draft: Draft, *, started: float) -> None:
    """Record a call whose client hung up before anything was sent. What the provider did for it is not known."""
    if draft.is_recorded:
        return
    draft.is_client_gone = True
    draft.error = errors.GatewayError("The client hung up.", status=CLIENT_GONE)
    if draft.has_intent:
        draft.settlement = costing.UNKNOWN
    record(state, draft, started)


def crash(state: State, draft: Draft, *, started: float) -> errors.GatewayError:
    """Record a call that ends in a fault of ours; return what the client is told. The log has the fault itself."""
    error = errors.GatewayError("Something went wrong on our side. The error is logged.")
    if draft.has_intent and not draft.is_recorded and draft.settlement.price_state == UNUSED:
        draft.settlement = costing.UNKNOWN
    fail(state, draft, error, started=started)
    return error


def client_gone() -> errors.GatewayError:
    """Return what the record of a call says whose client hung up."""
    return errors.GatewayError("The client hung up.", status=CLIENT_GONE)


def record(state: State, draft: Draft, started: float) -> None:
    """Settle the call with its limits and write its record."""
    state.admission.settle(draft)
    state.recorder.record(draft, latency_us=round((time.perf_counter() - started) * 1e6))
    draft.is_recorded = True


def record_soon(state: State, draft: Draft, started: float, then: Callable[[errors.GatewayError | None], None]) -> None:
    """As `record`, in this turn of the event loop, and say so once the record stands as the deployment asks."""
    state.admission.settle(draft)
    state.recorder.record_soon(draft, then, latency_us=round((time.perf_counter() - started) * 1e6))
    draft.is_recorded = True


class Broadcast:
    """A stream whose first real output has been seen: what is passed on, and how it ends.

    `feed` and `end` return what goes to the client; `end` settles and records first. After `end` nothing follows.
    """

    __slots__ = ("_began", "_draft", "_endpoint", "_kept", "_listener", "_started", "_state", "_writer", "reader")

    def __init__(self, state: State, draft: Draft, endpoint: Endpoint, reader: StreamReader, *, started: float) -> None:
        call = draft.call
        assert call is not None
        self._state = state
        self._draft = draft
        self._endpoint = endpoint
        self.reader = reader
        self._started = started
        self._listener = Listener(call.shape)
        self._writer = (
            None if draft.dialect.is_passed_through else draft.dialect.writer(call, first_facts(draft), reader.native)
        )
        is_kept = draft.keeps_content or draft.response_cache == MISS
        self._kept: list[bytes] | None = [] if is_kept else None
        self._began = time.perf_counter()
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
        draft.signals = _judged(lambda: self._listener.finish(draft.finish_reason))
        if self._kept is not None and draft.keeps_content:
            draft.response = assembly.message(self.events())
        is_final = bool(reader.finish_reason)  # what a cut stream reported so far is not all
        costing.settle(state, draft, reader.usage, self._listener.bytes_said, is_final=is_final)
        dispatch.note_end(state.providers, draft, error, seconds=time.perf_counter() - self._began)
        record(state, draft, self._started)
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
        writer = self._writer or draft.dialect.writer(call, first_facts(draft))
        return writer.end(draft.error, settled_facts(draft))


def _judged(judge: Callable[[], Signals]) -> Signals:
    """Return what the judgement says. A call that was served does not fail because it cannot be judged."""
    try:
        return judge()
    except Exception as error:
        logger.warning("An answer could not be judged: %s", type(error).__name__)
        return NO_SIGNALS


def answer_object(draft: Draft) -> dict[str, Any]:
    """Return `x_kairosroute` of a settled call."""
    call, decision, endpoint, settled = draft.call, draft.decision, draft.endpoint, draft.settlement
    assert call is not None
    assert decision is not None
    assert endpoint is not None
    found = receipt.answer_object(
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
    if draft.response_cache != OFF:
        found["response_cache"] = draft.response_cache
    return found


def first_facts(draft: Draft) -> Facts:
    """Return what is known of an answer before it is settled."""
    endpoint = draft.endpoint
    assert endpoint is not None
    return Facts(
        answer_id=f"gen_{draft.body}",
        request_id=draft.request_id,
        created=draft.started_us // 1_000_000,
        model=endpoint.model,
        provider=endpoint.provider,
        is_byok=endpoint.key_source == BYOK,
    )


def settled_facts(draft: Draft) -> Facts:
    """Return all that is known of a settled answer."""
    return _facts(draft, answer_object(draft), usage_object(draft))


def _facts(draft: Draft, x_kairosroute: Mapping[str, Any], usage: Mapping[str, Any]) -> Facts:
    call, endpoint, settled = draft.call, draft.endpoint, draft.settlement
    assert call is not None
    assert endpoint is not None
    facts = Facts(
        answer_id=f"gen_{draft.body}",
        request_id=draft.request_id,
        created=draft.started_us // 1_000_000,
        model=endpoint.model,
        provider=endpoint.provider,
        cost_usd=x_kairosroute["provider_cost_usd"],
        is_byok=endpoint.key_source == BYOK,
        usage=usage,
        x_kairosroute=x_kairosroute,
        finish_reason=draft.finish_reason,
        prompt_cost_nanousd=settled.provider_cost_nanousd - settled.output_cost_nanousd,
        completion_cost_nanousd=settled.output_cost_nanousd,
    )
    return facts if call.preferences is NO_PREFERENCES else explanation.told(draft, facts)


def usage_object(draft: Draft) -> dict[str, Any]:
    """Return a settled call's `usage` with its cost; an unknown one is left out (OpenRouter's clients refuse null)."""
    settled = draft.settlement
    found = {**shape.usage_body(draft.usage), "is_byok": draft.key_source == BYOK}
    if settled.price_state == ESTIMATED:
        found["is_estimated"] = True
    if settled.price_state != UNPRICED:
        found["cost"] = receipt.usd(settled.provider_cost_nanousd)
    return found


def stream_head(draft: Draft, started: float, *, cost_usd: float | None = None) -> bytes:
    """Return the header lines of an answer, each ended by CRLF. `cost_usd` is known of whole answers only."""
    call, endpoint = draft.call, draft.endpoint
    assert call is not None
    assert endpoint is not None
    body = draft.body.encode()
    total_ms = (time.perf_counter() - started) * 1e3
    head = b"x-request-id: req_%b\r\nx-generation-id: gen_%b\r\nx-kairosroute-receipt-id: rcpt_%b\r\n" % (
        body,
        body,
        body,
    ) + b"%bx-kairosroute-attempts: %d\r\nx-kairosroute-overhead-ms: %.2f\r\nopenai-processing-ms: %d\r\n%b" % (
        _names(endpoint.provider, endpoint.model, call.task_type),
        len(draft.attempts),
        total_ms - draft.upstream_us / 1e3,
        total_ms,
        b"" if draft.response_cache == OFF else b"x-kairosroute-cache: %b\r\n" % draft.response_cache.encode(),
    )
    if draft.hold is not None:
        head += refusals.rate_lines(draft.hold)
    if call.preferences.echoes:
        head += echoes.lines(draft, total_ms=total_ms, cost_usd=cost_usd)
    warnings = () if draft.decision is None else draft.decision.warnings
    if warnings:
        head += _warning(endpoint.model, warnings)
    return head if draft.dialect.is_passed_through else head + draft.dialect.headers(draft.request_id)


def answer_head(draft: Draft, x_kairosroute: Mapping[str, Any], started: float) -> bytes:
    """Return the header lines of a whole answer, each ended by CRLF."""
    cost, savings = x_kairosroute.get("provider_cost_usd"), x_kairosroute.get("savings_usd")
    head = stream_head(draft, started, cost_usd=cost)
    if cost is not None:
        head += b"x-kairosroute-cost: %.9f\r\n" % cost
    if savings is not None:
        head += b"x-kairosroute-savings: %.9f\r\n" % savings
    return head


def _warning(model: str, warnings: tuple[tuple[str, str], ...]) -> bytes:
    """Return the header line for a model that its provider retires soon, nothing for others."""
    for named, day in warnings:
        if named == model:
            return b"x-kairosroute-warning: %b\r\n" % receipt.retirement_warning(model, day).encode(
                "latin-1", "replace"
            )
    return b""


@lru_cache(maxsize=4096)
def _names(provider: str, model: str, task_type: str) -> bytes:
    # Task types and model names outside the catalog come from the client: no line break may reach a header.
    def line(name: str, value: str) -> bytes:
        shown = "".join(letter if letter.isprintable() else "_" for letter in value)
        return f"x-kairosroute-{name}: {shown}\r\n".encode("latin-1", "replace")

    return line("provider", provider) + line("model", model) + line("task", task_type)
