"""What stands around an answer: the receipt in short, the usage with its cost, and the header lines. Pure, but for the
clock that says how long it took.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from analytics.request_log import BYOK, ESTIMATED, OFF, UNPRICED
from gateway import echoes, explanation, receipt, refusals
from gateway.dialects.protocol import Facts
from gateway.draft import Draft
from gateway.preferences import NO_PREFERENCES
from gateway.providers import shape


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
    return facts_of(draft, answer_object(draft), usage_object(draft))


def facts_of(draft: Draft, x_kairosroute: Mapping[str, Any], usage: Mapping[str, Any]) -> Facts:
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
