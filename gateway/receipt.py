"""What a call's receipt says: the object in the answer, the parts kept in the record, and the whole receipt by id.
Pure.

Amounts inside are integer nano-dollars; on the wire they are JSON numbers of US dollars (an integer below 2**53
divided by 10**9 prints back exactly).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from analytics.request_log import BYOK, UNPRICED, RequestLog
from gateway import identifiers
from gateway.providers.protocol import Endpoint
from gateway.routing.decision import Candidate, Decision

# A record must fit the room that the spool keeps for it on a full disk.
_MOST_SHOWN = 6
_LONGEST_REASON = 80


def usd(nanousd: int | None) -> float | None:
    """Return US dollars for JSON."""
    return None if nanousd is None else nanousd / 1_000_000_000


def answer_object(
    *,
    body: str,
    requested_model: str,
    model: str,
    provider: str,
    task_type: str,
    route_reason: str,
    key_source: str,
    price_state: str,
    provider_cost_nanousd: int,
    billed_nanousd: int,
    baseline_model: str,
    baseline_cost_nanousd: int | None,
    is_simulated: bool,
    attempts: int,
) -> dict[str, Any]:
    """Return `x_kairosroute`, the receipt in short that every answer carries. Unknown prices are null, never 0."""
    is_unpriced = price_state == UNPRICED
    cost = None if is_unpriced else usd(provider_cost_nanousd)
    savings = None
    if baseline_cost_nanousd is not None and not is_unpriced:
        savings = usd(baseline_cost_nanousd - provider_cost_nanousd)
    return {
        "receipt_id": f"rcpt_{body}",
        "provider": provider,
        "model": model,
        "routed_from": requested_model,
        "route_reason": route_reason,
        "task": task_type,
        "provider_cost_usd": cost,
        "billed_usd": None if is_unpriced else usd(billed_nanousd),
        "cost_usd": cost,
        "price_state": price_state,
        "key_source": key_source,
        "baseline_model": baseline_model or None,
        "savings_usd": savings,
        "attempts": attempts,
        "is_simulated": is_simulated,
    }


def parts(
    *,
    decision: Decision | None,
    attempts: Sequence[dict[str, Any]],
    dropped_params: Sequence[str],
    prices: dict[str, int] | None,
    not_applied: Sequence[str] = (),
    cache: dict[str, Any] | None = None,
    downgrade: Mapping[str, Any] | None = None,
    skipped: Sequence[tuple[Endpoint, str]] = (),
    switched: dict[str, Any] | None = None,
) -> str:
    """Return the receipt's parts that are no columns of their own, as the JSON text that the record keeps.

    `skipped`: endpoints that were left out, each with the state it was in. `switched`: what a conversation left.
    """
    found: dict[str, Any] = {"attempts": attempts}
    if skipped:
        found["skipped"] = [
            {"model": one.model, "provider": one.provider, "reason": why} for one, why in skipped[:_MOST_SHOWN]
        ]
    if switched is not None:
        found["session"] = switched
    if decision is not None:
        found.update(_decided(decision))
        not_applied = (*decision.not_applied, *not_applied)
    if not_applied:
        found["not_applied"] = not_applied
    if cache is not None:
        found["cache"] = cache
    if dropped_params:
        found["dropped_params"] = dropped_params
    if prices is not None:
        found["prices"] = prices
    if downgrade is not None:
        found["downgrade"] = downgrade
    return orjson.dumps(found).decode()


_DECIDED: dict[int, tuple[Decision, dict[str, Any]]] = {}
_MOST_DECIDED = 256


def _decided(decision: Decision) -> dict[str, Any]:
    """Return what a receipt says of a decision. Most calls share a few remembered ones: each is told once.

    What is kept holds the decision, so its id cannot become another's.
    """
    known = _DECIDED.get(id(decision))
    if known is not None:
        return known[1]
    found: dict[str, Any] = {}
    # The only candidate of a pinned model is the one that was chosen: the record's own columns name it.
    if len(decision.candidates) > 1:
        passed = sorted((one for one in decision.candidates if not one.gate), key=by_cost)
        stopped = [one for one in decision.candidates if one.gate]
        found["candidates"] = [candidate(one) for one in (*passed[:_MOST_SHOWN], *stopped[:_MOST_SHOWN])]
        found["funnel"] = {"passed": len(passed), **Counter(one.gate for one in stopped)}
    if len(decision.endpoints) > 1:
        found["fallback_chain"] = decision.fallback_chain[:_MOST_SHOWN]
    if decision.estimated_input_tokens is not None:
        found["estimate"] = {
            "input_tokens": decision.estimated_input_tokens,
            "cost_usd": usd(decision.estimated_cost_nanousd),
        }
    if decision.applied:
        found["applied"] = decision.applied
    if decision.warnings:
        found["warnings"] = [retirement_warning(model, day) for model, day in decision.warnings]
    if decision.estimated_input_tokens is None:  # remembered: a decision of one call has an estimate of its own
        if len(_DECIDED) >= _MOST_DECIDED:
            _DECIDED.clear()
        _DECIDED[id(decision)] = (decision, found)
    return found


def retirement_warning(model: str, day: str) -> str:
    """Return what a caller of a model is told that its provider retires soon; `day` is an ISO date."""
    return f"{model} is retired by its provider on {day}; move to a newer model"


def candidate(one: Candidate) -> dict[str, Any]:
    """Return what a receipt shows of a candidate."""
    shown: dict[str, Any] = {"model": one.model, "provider": one.provider}
    if one.cost_nanousd is not None:
        shown["est_cost_usd"] = usd(one.cost_nanousd)
    if one.gate:
        shown.update(filtered_out_by=one.gate, reason=one.reason[:_LONGEST_REASON])
    return shown


def by_cost(one: Candidate) -> tuple[bool, int]:
    """Return a key that sorts candidates by their estimated cost, unknown ones last."""
    return one.cost_nanousd is None, one.cost_nanousd or 0


def whole(record: RequestLog) -> dict[str, Any]:
    """Return the receipt of a record, as `GET /v1/receipts/{id}` answers it."""
    kept = orjson.loads(record.receipt or "{}")
    body = identifiers.body_of(record.request_id)
    is_unpriced = record.price_state == UNPRICED
    return {
        "object": "receipt",
        "receipt_id": f"rcpt_{body}",
        "request_id": record.request_id,
        "created": record.started_us // 1_000_000,
        "state": record.state,
        "http_status": record.http_status,
        "error_class": record.error_class or None,
        "operation": record.operation,
        "is_stream": bool(record.is_stream),
        "is_test": bool(record.is_test),
        "is_simulated": bool(record.is_simulated),
        "task": {"label": record.task_type, "confidence": record.task_confidence, "source": record.task_source},
        "requested_model": record.requested_model,
        "chosen": {"model": record.model, "provider": record.provider, "upstream_model": record.upstream_model},
        "pinned": bool(record.is_pinned),
        "routed_from": record.requested_model,
        "strategy": "single",
        "route_reason": record.route_reason,
        "policy_version": record.policy_version or None,
        "router_version": record.router_version or None,
        "experiment": {"id": record.experiment_id, "arm": record.experiment_arm} if record.experiment_id else None,
        "candidates": kept.get("candidates") or _only_candidate(record),
        "funnel": kept.get("funnel"),
        "estimate": kept.get("estimate"),
        "applied": kept.get("applied", []),
        "warnings": kept.get("warnings", []),
        "fallback_chain": kept.get("fallback_chain", []),
        "attempts": kept.get("attempts", []),
        "skipped": kept.get("skipped", []),
        "session_switched_from": kept.get("session", {}).get("from"),
        "session_switch_cost_usd": usd(kept.get("session", {}).get("cost_nanousd")),
        "is_fallback": bool(record.is_fallback),
        "response_cache": record.response_cache,
        "cache": kept.get("cache"),
        "dropped_params": kept.get("dropped_params", []),
        "downgrade": kept.get("downgrade"),
        "not_applied": kept.get("not_applied", []),
        "prompt_rewritten": False,
        "finish_reason": record.finish_reason or None,
        "native_finish_reason": record.native_finish_reason or None,
        "usage": {
            "input_tokens": record.input_tokens,
            "cached_read_tokens": record.cached_read_tokens,
            "cache_write_tokens": record.cache_write_tokens,
            "output_tokens": record.output_tokens,
            "reasoning_tokens": record.reasoning_tokens,
        },
        "cost": {
            "price_state": record.price_state,
            "price_version": record.price_version or None,
            "prices": kept.get("prices"),
            "input_usd": usd(record.input_cost_nanousd),
            "cached_read_usd": usd(record.cached_read_cost_nanousd),
            "cache_write_usd": usd(record.cache_write_cost_nanousd),
            "output_usd": usd(record.output_cost_nanousd),
            "provider_cost_usd": None if is_unpriced else usd(record.provider_cost_nanousd),
            "billed_usd": None if is_unpriced else usd(record.billed_nanousd),
            "is_byok": record.key_source == BYOK,
            "key_source": record.key_source,
        },
        "baseline": _baseline(record) if record.baseline_model else None,
        "quality": {
            "is_truncated": _flag(record.is_truncated),
            "is_refusal": _flag(record.is_refusal),
            "is_json_valid": _flag(record.is_json_valid),
            "is_schema_valid": _flag(record.is_schema_valid),
            "is_tool_call_valid": _flag(record.is_tool_call_valid),
            "output_characters": record.output_characters,
        },
        "timing_ms": {
            "total": record.latency_us / 1000,
            "first_token": None if record.first_token_us is None else record.first_token_us / 1000,
            "upstream": record.upstream_us / 1000,
            "overhead": record.overhead_us / 1000,
        },
        "attribution": {
            "workspace_id": record.workspace_id,
            "api_key_id": record.api_key_id,
            "agent": record.agent or None,
            "feature": record.feature or None,
            "agent_run": record.agent_run or None,
            "session": record.session or None,
            "end_user": record.end_user or None,
            "tags": record.tags,
        },
    }


def _only_candidate(record: RequestLog) -> list[dict[str, str]]:
    return [{"model": record.model, "provider": record.provider}] if record.model else []


def _baseline(record: RequestLog) -> dict[str, Any]:
    cost = record.baseline_cost_nanousd
    saving = None if cost is None or record.price_state == UNPRICED else usd(cost - record.provider_cost_nanousd)
    return {"model": record.baseline_model, "cost_usd": usd(cost), "saving_usd": saving}


def _flag(value: int | None) -> bool | None:
    return None if value is None else bool(value)
