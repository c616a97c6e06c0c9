"""Settle a call's draft: which usage counts, what it costs, what the baseline would have cost. Synchronous.

The arithmetic is `gateway.settlement`'s, the reading of sizes `gateway.estimation`'s; see docs/decisions on estimates.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from analytics.request_log import UNPRICED
from gateway import estimation, settlement
from gateway.catalog import contracts
from gateway.catalog.prices import STANDARD, PriceRow, Rates
from gateway.draft import Draft
from gateway.health.sessions import Seat
from gateway.providers.protocol import Usage
from gateway.settlement import Settlement
from gateway.state import State

UNKNOWN = Settlement(UNPRICED)

# What a record's column holds; no call uses as much, so whoever reports more cannot be believed.
_MOST_TOKENS = 2**32 - 1


def settle(
    state: State, draft: Draft, usage: Usage | None, bytes_said: Callable[[], int], *, is_final: bool = True
) -> None:
    """Price what was used.

    Where the provider did not report all of it (a cut, a client that left, no usage at all), the rest is estimated from
    what was passed on, and the settlement says so. `is_final` is False where the reported usage is of an answer that
    went on; `bytes_said` tells how many bytes of output were passed on.
    """
    endpoint = draft.endpoint
    assert endpoint is not None
    known = usage if usage is not None and usage.is_reported and _is_credible(usage) else None
    is_estimated = known is None or not is_final
    if is_estimated:
        assert draft.call is not None
        known = estimation.used(draft.call, bytes_said(), known)
        if known is None:
            draft.settlement = UNKNOWN
            return
    assert known is not None
    draft.usage = known
    if draft.seat is not None and not draft.seat.is_at(endpoint):
        draft.switched = _switch(state, draft, draft.seat)
    row = _row(state, draft, endpoint.model, draft.service_tier)
    settled = settlement.settle(known, row, draft.key_source)
    draft.settlement = settlement.as_estimate(settled) if is_estimated else settled
    if row is not None:
        draft.prices = unit_prices(row.rates_for(known.input_tokens))
    _compare(state, draft, known)


def _row(state: State, draft: Draft, model: str, service_tier: str = STANDARD) -> PriceRow | None:
    """Return the row that prices this organization's call: the agreed one, else the list's."""
    return contracts.row_of(state.book, draft.key.contracts, model, draft.started_us / 1e6, service_tier)


def _is_credible(usage: Usage) -> bool:
    return max(usage.input_tokens, usage.output_tokens) <= _MOST_TOKENS


def _switch(state: State, draft: Draft, seat: Seat) -> dict[str, Any]:
    """Return which endpoint a conversation left, and what the cache that it held of it was worth, in nano-USD."""
    row = _row(state, draft, seat.model)
    left: dict[str, Any] = {"from": f"{seat.provider}:{seat.model}"}
    if row is not None:
        saved = row.rates.input - row.rates.cached_read
        left["cost_nanousd"] = seat.cached_tokens * saved // 1_000_000
    return left


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
        row = _row(state, draft, models[0].id)
        draft.baseline_cost_nanousd = settlement.estimate(usage, row)


@lru_cache(maxsize=1024)
def unit_prices(rates: Rates) -> dict[str, int]:
    """Return the prices that the receipt shows, in nano-USD per million tokens."""
    return {
        "input_nanousd_per_mtok": rates.input,
        "cached_read_nanousd_per_mtok": rates.cached_read,
        "cache_write_nanousd_per_mtok": rates.cache_write,
        "cache_write_1h_nanousd_per_mtok": rates.cache_write_1h,
        "output_nanousd_per_mtok": rates.output,
        "reasoning_nanousd_per_mtok": rates.reasoning,
    }
