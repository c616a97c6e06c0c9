"""The steps of a chat call between the waiting: admit, settle, answer, and what a stream says. Synchronous.

The shells around it wait: `gateway.pipeline` as a coroutine, `gateway.express` in a connection's callbacks. Both tell
the same story, because every step of it stands here once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from itertools import chain

from analytics.request_log import UNUSED
from gateway import costing, dispatch, envelope, errors, signals
from gateway.context import KeySnapshot
from gateway.dialects.protocol import Dialect
from gateway.draft import Draft
from gateway.providers.protocol import Completion
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
    draft.signals = judged(lambda: signals.of_completion(call.shape, message, completion.finish_reason))
    if draft.keeps_content:
        draft.response = message
    costing.settle(state, draft, completion.usage, lambda: signals.bytes_said(message))
    dispatch.note_end(state.providers, draft, None, seconds=draft.attempts[-1]["latency_ms"] / 1000)
    x_kairosroute = envelope.answer_object(draft)
    # What is passed through has its usage already, unless its provider counted nothing.
    usage = {}
    if not draft.usage.is_reported:
        completion.body["usage"] = usage = envelope.usage_object(draft)
    elif not draft.dialect.is_passed_through:
        usage = envelope.usage_object(draft)
    data = draft.dialect.answer(call, completion, envelope.facts_of(draft, x_kairosroute, usage))
    return envelope.answer_head(draft, x_kairosroute, started), data


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


def judged(judge: Callable[[], Signals]) -> Signals:
    """Return what the judgement says. A call that was served does not fail because it cannot be judged."""
    try:
        return judge()
    except Exception as error:
        logger.warning("An answer could not be judged: %s", type(error).__name__)
        return NO_SIGNALS
