"""From a planned call to its record, by the data plane's own parts and with the clock turned back.

The decision, the simulator's answer, the reading of it, the settlement, the signals and the record are those of a
served call; only the sockets and the waiting are left out. Every record says that it is simulated.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import orjson

from analytics import events, request_log
from analytics.spool import Writer
from config.demo.plan import PlannedCall
from gateway import costing, dispatch, errors, identifiers, settlement, signals, simulation
from gateway.catalog.models import Catalog, Model
from gateway.catalog.prices import PriceBook
from gateway.context import ChatCall, KeySnapshot
from gateway.dialects import chat_body
from gateway.draft import Draft
from gateway.listener import Listener
from gateway.providers import registry, simulator
from gateway.providers.protocol import Endpoint, Usage
from gateway.providers.simulator import SimulatedDisconnect, strength
from gateway.routing.decision import Router

_ADAPTER = registry.ADAPTERS["openai_chat"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a simulated provider gave, and when. `waits_s`: to the first piece, to the last."""

    status: int
    body: bytes
    first_s: float
    total_s: float
    is_cut: bool


class Traffic:
    """Makes records of planned calls and writes them to one spool."""

    def __init__(self, *, catalog: Catalog, book: PriceBook, writer: Writer) -> None:
        self._catalog = catalog
        self._book = book
        self._writer = writer
        self._router = Router(
            catalog=catalog,
            book=book,
            reach=_SimulatedEverywhere(),
        )

    def record(self, planned: PlannedCall, key: KeySnapshot) -> None:
        """Make the call at its planned time with the key and the routing of that time, and write what follows.

        Raises:
            analytics.spool.SpoolUnavailable: the spool cannot take it.
        """
        body = identifiers.new_body(int(planned.at * 1000))
        draft = Draft(body=body, key=key, started_us=int(planned.at * 1_000_000))
        draft.call = call = chat_body.parse_chat(orjson.dumps(planned.body), {}, is_test=True)
        draft.decision = self._router.decide(call, key, call_id=body, at=planned.at)
        draft.endpoint = endpoint = draft.decision.endpoints[0]
        self._writer.intent(draft.request_id, request_log.encode(draft.intent()))
        answer = _ask(call, endpoint, created=int(planned.at))
        try:
            self._read(draft, answer, endpoint)
        except errors.UpstreamFailed as error:
            draft.error = error
            draft.finish_reason = "error"
        _note_attempt(draft, answer, endpoint)
        overhead_us = 250 + int(planned.chance * 500)
        record = draft.finish(latency_us=draft.upstream_us + overhead_us)
        self._writer.record(draft.request_id, request_log.encode(record))
        if draft.error is None and planned.chance < planned.rated:
            self._writer.event("F", events.encode_feedback(_feedback(draft, planned, key)))

    def _read(self, draft: Draft, answer: Answer, endpoint: Endpoint) -> None:
        """Fill the draft from the answer, as the pipeline does.

        Raises:
            errors.UpstreamFailed: the provider failed, before or in its answer.
        """
        call = draft.call
        assert call is not None
        if answer.status != 200:
            raise dispatch.raised(
                _ADAPTER.error(answer.status, {}, answer.body, endpoint=endpoint), provider=endpoint.provider
            )
        if not call.is_stream:
            if answer.is_cut:
                raise errors.UpstreamCut("The simulated provider closed the connection.", provider=endpoint.provider)
            completion = _ADAPTER.completion(answer.body, endpoint=endpoint)
            message = completion.body["choices"][0]["message"]
            draft.finish_reason, draft.native_finish_reason = completion.finish_reason, completion.native_finish_reason
            draft.service_tier = completion.service_tier
            draft.signals = signals.of_completion(call.body, message, completion.finish_reason)
            self._settle(draft, completion.usage)
            return
        reader = _ADAPTER.stream(endpoint=endpoint, chunk_id=f"gen_{draft.body}", created=0)
        listener = Listener(call.body)
        for data in (*reader.feed(answer.body), *reader.finish()):
            listener.feed(data)
        draft.first_token_us = int(answer.first_s * 1_000_000)
        draft.finish_reason, draft.native_finish_reason = reader.finish_reason, reader.native_finish_reason
        draft.service_tier = reader.service_tier
        draft.signals = listener.finish(draft.finish_reason)
        if reader.usage is not None:
            self._settle(draft, reader.usage)
        if not reader.finish_reason:
            raise errors.UpstreamCut("The simulated provider closed the connection.", provider=endpoint.provider)

    def _settle(self, draft: Draft, usage: Usage) -> None:
        endpoint = draft.endpoint
        assert endpoint is not None
        at = draft.started_us / 1e6
        draft.usage = usage
        row = self._book.row(endpoint.model, at)
        draft.settlement = settlement.settle(usage, row, draft.key_source)
        if row is not None:
            draft.prices = costing.unit_prices(row.rates_for(usage.input_tokens))
        baseline = draft.key.policy.baseline_model
        if baseline:
            draft.baseline_model = baseline
            draft.baseline_cost_nanousd = settlement.estimate(usage, self._book.row(baseline, at))


class _SimulatedEverywhere:
    """The simulator in the place of every provider, under the provider's name: charts need more than one."""

    def endpoints(self, model: Model, call: ChatCall, key: KeySnapshot, *, call_id: str) -> tuple[Endpoint, ...]:
        endpoint = simulation.endpoint(model=model.id, upstream_model=model.upstream)
        return (replace(endpoint, provider=model.provider),)

    def named(self, name: str, call: ChatCall, key: KeySnapshot, *, call_id: str) -> tuple[Endpoint, ...]:
        return ()

    def is_settled(self, call: ChatCall, key: KeySnapshot) -> bool:
        return True


def _ask(call: ChatCall, endpoint: Endpoint, *, created: int) -> Answer:
    request = _ADAPTER.request(call.body, call.raw, endpoint=endpoint, is_stream=call.is_stream)
    answer = simulator.send(
        orjson.loads(request.body),
        model=endpoint.upstream_model,
        is_stream=call.is_stream,
        created=created,
    )
    waits: list[float] = []
    pieces: list[bytes] = []
    is_cut = False
    try:
        for seconds, data in answer.schedule(scale=1.0):
            waits.append(seconds)
            pieces.append(data)
    except SimulatedDisconnect:
        is_cut = True
    return Answer(answer.status, b"".join(pieces), waits[0] if waits else 0.1, sum(waits) or 0.1, is_cut)


def _note_attempt(draft: Draft, answer: Answer, endpoint: Endpoint) -> None:
    draft.upstream_us = int(answer.total_s * 1_000_000)
    attempt: dict[str, Any] = {
        "model": endpoint.model,
        "provider": endpoint.provider,
        "status": 200 if draft.error is None else draft.error.http_status,
        "latency_ms": draft.upstream_us / 1000,
    }
    if draft.error is not None:
        attempt["error_class"] = draft.error.error_class
    draft.attempts.append(attempt)


def _feedback(draft: Draft, planned: PlannedCall, key: KeySnapshot) -> events.FeedbackEvent:
    """Return a verdict that is kinder to stronger models and harsh on answers that do not fit their schema."""
    endpoint = draft.endpoint
    assert endpoint is not None
    pleased = 0.55 + 0.4 * strength.of(endpoint.model).value
    is_broken = draft.signals.is_schema_valid == 0 or draft.signals.is_tool_call_valid == 0
    is_good = not is_broken and planned.chance / planned.rated < pleased
    return events.FeedbackEvent(
        organization_id=key.organization_id,
        workspace_id=key.workspace_id,
        idempotency_key=f"{draft.request_id}|||feedback",
        created_us=draft.started_us + draft.upstream_us + 45_000_000,
        request_id=draft.request_id,
        session=planned.body["kairosroute"]["session"],
        value=1.0 if is_good else 0.0,
        request_started_us=draft.started_us,
    )
