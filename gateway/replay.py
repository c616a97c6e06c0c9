"""Answers that are given a second time: from the response cache, or to a duplicate of an idempotent request.

Nothing goes to a provider, nothing is used and nothing is charged; each replay has a record that names its origin.
"""

from __future__ import annotations

import orjson

from analytics.request_log import HIT, REPLAY
from gateway import chat, envelope, receipt
from gateway.draft import Draft
from gateway.idempotency import KeptAnswer
from gateway.providers import shape
from gateway.providers.protocol import Completion, Endpoint, Usage
from gateway.response_cache import CachedAnswer
from gateway.routing.decision import Decision
from gateway.state import State

_NOTHING_USED = Usage()


def cached_whole(draft: Draft, completion: Completion) -> CachedAnswer:
    """Return what the cache keeps of a whole answer. Before our own additions are made to it."""
    return _cached(
        draft,
        body=orjson.dumps(completion.body),
        finish_reason=completion.finish_reason,
        native_finish_reason=completion.native_finish_reason,
        service_tier=completion.service_tier,
    )


def cached_stream(draft: Draft, events: bytes) -> CachedAnswer:
    """Return what the cache keeps of a stream that has ended."""
    return _cached(
        draft,
        body=events,
        finish_reason=draft.finish_reason,
        native_finish_reason=draft.native_finish_reason,
        service_tier=draft.service_tier,
    )


def _cached(
    draft: Draft, *, body: bytes, finish_reason: str, native_finish_reason: str, service_tier: str
) -> CachedAnswer:
    endpoint = draft.endpoint
    assert endpoint is not None
    return CachedAnswer(
        body=body,
        answer_id=f"gen_{draft.body}",
        request_id=draft.request_id,
        model=endpoint.model,
        provider=endpoint.provider,
        is_simulated=endpoint.is_simulated,
        finish_reason=finish_reason,
        native_finish_reason=native_finish_reason,
        service_tier=service_tier,
        cost_nanousd=draft.settlement.provider_cost_nanousd,
    )


def from_cache(state: State, draft: Draft, cached: CachedAnswer, *, started: float) -> tuple[bytes, bytes]:
    """Return the header lines and the body of a cached answer, said anew for this call; its record is written."""
    call = draft.call
    assert call is not None
    _settle(
        draft, model=cached.model, provider=cached.provider, is_simulated=cached.is_simulated, reason="response-cache"
    )
    draft.response_cache = HIT
    draft.cache_note = {"from": cached.request_id, "avoided_usd": receipt.usd(cached.cost_nanousd)}
    draft.finish_reason, draft.native_finish_reason = cached.finish_reason, cached.native_finish_reason
    if call.is_stream:
        body = _events(draft, cached)
        head = envelope.stream_head(draft, started)
    else:
        found = orjson.loads(cached.body)
        found["usage"] = shape.usage_body(_NOTHING_USED)
        completion = Completion(
            found, _NOTHING_USED, cached.finish_reason, cached.native_finish_reason, cached.service_tier
        )
        facts = envelope.settled_facts(draft)
        body = draft.dialect.answer(call, completion, facts)
        head = envelope.answer_head(draft, facts.x_kairosroute, started)
    chat.record(state, draft, started)
    return head, body


def _events(draft: Draft, cached: CachedAnswer) -> bytes:
    call = draft.call
    assert call is not None
    draft.first_token_us = 0
    events = cached.body.replace(cached.answer_id.encode(), b"gen_" + draft.body.encode())
    writer = draft.dialect.writer(call, envelope.first_facts(draft))
    return writer.feed(events) + writer.end(None, envelope.settled_facts(draft))


def of_duplicate(state: State, draft: Draft, kept: KeptAnswer, *, started: float) -> bytes:
    """Return the header lines for an answer that an idempotency key kept; the replay's record is written."""
    _settle(draft, model=kept.model, provider=kept.provider, is_simulated=kept.is_simulated, reason="idempotent-replay")
    draft.response_cache = REPLAY
    draft.cache_note = {"from": kept.request_id}
    chat.record(state, draft, started)
    origin = kept.request_id.removeprefix("req_").encode()
    return b"x-request-id: %b\r\nx-generation-id: gen_%b\r\nx-kairosroute-receipt-id: rcpt_%b\r\n%b" % (
        draft.request_id.encode(),
        origin,
        origin,
        b"idempotent-replayed: true\r\n",
    )


def kept_answer(draft: Draft, fingerprint: bytes, body: bytes) -> KeptAnswer:
    """Return what an idempotency key keeps: the body as the first client got it."""
    call, endpoint = draft.call, draft.endpoint
    assert call is not None
    assert endpoint is not None
    return KeptAnswer(
        fingerprint=fingerprint,
        is_stream=call.is_stream,
        body=body,
        request_id=draft.request_id,
        model=endpoint.model,
        provider=endpoint.provider,
        is_simulated=endpoint.is_simulated,
    )


def _settle(draft: Draft, *, model: str, provider: str, is_simulated: bool, reason: str) -> None:
    endpoint = Endpoint(model, provider, "", "", "", is_simulated=is_simulated)
    draft.endpoint = endpoint
    draft.decision = Decision((endpoint,), reason, True)
    draft.usage = _NOTHING_USED
    draft.upstream_us = 0
