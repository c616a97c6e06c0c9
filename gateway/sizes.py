"""What a call may use and cost at the endpoints that may have to serve it, and what one call may cost. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gateway import estimation
from gateway.catalog import contracts
from gateway.catalog.models import Catalog
from gateway.catalog.prices import PriceBook
from gateway.context import ChatCall, KeySnapshot
from gateway.draft import Draft
from gateway.providers.protocol import Endpoint


class Size(NamedTuple):
    """What a call may use: tokens, and nano-USD at the dearest of its endpoints."""

    tokens: int
    nanousd: int


NOTHING = Size(0, 0)


def needed(book: PriceBook, catalog: Catalog, draft: Draft, endpoints: Sequence[Endpoint]) -> Size:
    """Return what the call may use at the dearest of the endpoints: any of them may have to serve it."""
    call = draft.call
    assert call is not None
    now = draft.started_us / 1e6
    asked = estimation.input_tokens(call)
    tier = call.body.get("service_tier") if b'"service_tier"' in call.raw else None
    if call.native is not None and call.native.body.get("speed") == "fast":  # Anthropic's fast mode, priced as a tier
        tier = "fast"
    nanousd = answered = 0
    last = ""
    for endpoint in endpoints:
        name = endpoint.model
        if name == last:
            continue
        last = name
        model = catalog.get(name)
        output = estimation.output_tokens(call, None if model is None else model.max_output_tokens)
        row = contracts.row_of(book, draft.key.contracts, name, now)
        cost = estimation.reservation(asked, output, row)
        if type(tier) is str:
            row = contracts.row_of(book, draft.key.contracts, name, now, tier)
            cost = max(cost, estimation.reservation(asked, output, row))
        nanousd = max(nanousd, cost)
        answered = max(answered, output)
    return Size(asked + answered, nanousd)


def cap(key: KeySnapshot, call: ChatCall) -> float:
    """Return what one call may cost, in nano-USD: the key's guardrail or the call's own wish, whichever is less."""
    own, asked = key.max_cost_per_request_nanousd, call.preferences.max_cost_nanousd
    if own is None:
        return float("inf") if asked is None else asked
    return own if asked is None or own < asked else asked
