"""Cheaper models for calls that a budget has no room for, or soon will not have. Pure.

The router decides anew, for automatic routing under a ceiling of price and cost: every gate that the call has to pass
it passes again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import msgspec

from gateway import errors, estimation, refusals, sizes
from gateway.catalog import contracts
from gateway.catalog.models import Catalog
from gateway.catalog.prices import PriceBook
from gateway.context import ChatCall, KeySnapshot, PolicySnapshot
from gateway.counters import Meter, Purse
from gateway.draft import Draft
from gateway.preferences import MaxPrice, Preferences
from gateway.routing.decision import Decision
from gateway.sizes import Size

ROUTE_REASON = "budget-downgrade"


class Decides(Protocol):
    """A router."""

    def decide(self, call: ChatCall, key: KeySnapshot, *, call_id: str, at: float) -> Decision:
        """Return where a call of the moment `at` (epoch seconds) goes. Raises `errors.GatewayError`."""
        ...


def is_wanted(meter: Meter, purse: Purse) -> bool:
    limit = meter.limit
    if not limit.downgrades or limit.downgrade_percent >= 100:
        return False
    used = purse.spent + purse.reserved + purse.held_elsewhere
    return used * 100 >= purse.amount * limit.downgrade_percent


def cheaper(
    book: PriceBook, catalog: Catalog, router: Decides, draft: Draft, meters: Sequence[Meter], size: Size
) -> tuple[Decision, Size] | None:
    """Return a decision for cheaper models that fit what is left, None when there is none."""
    call, endpoint = draft.call, draft.endpoint
    assert call is not None
    assert endpoint is not None
    if call.operation == estimation.EMBEDDINGS:
        return None  # vectors of another model would be of no use beside those that the client has
    left = min(meter.purse.room for meter in meters if meter.purse is not None)
    asked = min(left, size.nanousd - 1)
    if asked <= 0:
        return None
    row = contracts.row_of(book, draft.key.contracts, endpoint.model, draft.started_us / 1e6)
    bound = call.preferences.max_price or MaxPrice()
    if row is not None:
        bound = msgspec.structs.replace(
            bound,
            prompt_nanousd_per_mtok=_least(bound.prompt_nanousd_per_mtok, row.rates.input),
            completion_nanousd_per_mtok=_least(bound.completion_nanousd_per_mtok, row.rates.output),
        )
    wishes = msgspec.structs.replace(
        call.preferences, max_price=bound, max_cost_nanousd=_least(call.preferences.max_cost_nanousd, asked)
    )
    try:
        decision = router.decide(
            _asking_for(call, "auto", wishes),
            # Neither a policy nor an experiment may choose a dear model here.
            replace(draft.key, policy=PolicySnapshot(), experiments=()),
            call_id=draft.body,
            at=draft.started_us / 1e6,
        )
    except errors.GatewayError:
        return None
    fitting = tuple(one for one in decision.endpoints if sizes.needed(book, catalog, draft, (one,)).nanousd <= asked)
    if not fitting:
        return None
    chosen = replace(decision, endpoints=fitting, route_reason=ROUTE_REASON, is_pinned=False)
    return chosen, sizes.needed(book, catalog, draft, fitting)


def note(draft: Draft, meters: Sequence[Meter], decision: Decision) -> dict[str, object]:
    """Return what the receipt says of a downgrade."""
    meter = refusals.tightest(meters)
    assert draft.endpoint is not None
    return {
        "from": draft.endpoint.model,
        "to": decision.endpoints[0].model,
        "limit_source": refusals.limit_source(meter),
        "limit": meter.limit.name,
    }


def _least(first: int | None, second: int) -> int:
    return second if first is None or second < first else first


def _asking_for(call: ChatCall, model: str, preferences: Preferences) -> ChatCall:
    """Return the call as the router sees it when it asks for another model."""
    return ChatCall(
        raw=call.raw,
        requested_model=model,
        is_stream=call.is_stream,
        wants_usage=call.wants_usage,
        task_type=call.task_type,
        task_source=call.task_source,
        attribution=call.attribution,
        options={**call.options, "experiment": "off"},
        shape=call.shape,
        body=call.body,
        operation=call.operation,
        dialect=call.dialect,
        preferences=preferences,
        trace=call.trace,
        not_applied=call.not_applied,
        request_keys=call.request_keys,
        output_tokens=call.output_tokens,
    )
