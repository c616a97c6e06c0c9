"""What an answer says about its own routing when the client asks: the whole receipt, OpenRouter's metadata, a dry run.
Pure.
"""

from __future__ import annotations

from typing import Any

import msgspec
import orjson

from analytics.request_log import BYOK
from gateway import receipt
from gateway.dialects import openrouter
from gateway.dialects.protocol import Facts
from gateway.draft import Draft
from gateway.providers import quirks
from gateway.routing.decision import Decision

FULL, NONE = "full", "none"


def told(draft: Draft, facts: Facts) -> Facts:
    """Return the facts of a settled answer with as much explanation as the call asked for."""
    call = draft.call
    assert call is not None
    wishes = call.preferences
    if wishes.explain == FULL:
        facts = msgspec.structs.replace(facts, x_kairosroute={**facts.x_kairosroute, "receipt": whole(draft)})
    elif wishes.explain == NONE:
        facts = msgspec.structs.replace(facts, x_kairosroute={})
    if openrouter.METADATA in wishes.echoes:
        facts = msgspec.structs.replace(facts, extras={openrouter.METADATA: openrouter_metadata(draft)})
    return facts


def whole(draft: Draft) -> dict[str, Any]:
    """Return what the receipt keeps of a call's routing, with every candidate instead of the first few."""
    found: dict[str, Any] = orjson.loads(draft.receipt_parts())
    if draft.decision is not None:
        found["candidates"] = candidates(draft.decision)
    return found


def candidates(decision: Decision) -> list[dict[str, Any]]:
    """Return every model that was considered: those that passed first, the cheapest of them before the others."""
    if not decision.candidates:
        return [{"model": one.model, "provider": one.provider} for one in decision.endpoints]
    ranked = sorted(decision.candidates, key=lambda one: (bool(one.gate), receipt.by_cost(one)))
    return [receipt.candidate(one) for one in ranked]


def openrouter_metadata(draft: Draft) -> dict[str, Any]:
    """Return OpenRouter's object of this name (its API description, `OpenRouterMetadata`)."""
    call, decision, endpoint = draft.call, draft.decision, draft.endpoint
    assert call is not None
    assert decision is not None
    assert endpoint is not None
    available = [
        {
            "model": one.model,
            "provider": title(one.provider),
            "selected": (one.model, one.provider) == (endpoint.model, endpoint.provider),
        }
        for one in decision.endpoints
    ]
    return {
        "requested": call.requested_model,
        "strategy": "direct" if decision.is_pinned else "auto",
        "region": None,
        "summary": f"{decision.route_reason}: {endpoint.model} at {title(endpoint.provider)}",
        "attempt": max(1, len(draft.attempts)),
        "is_byok": draft.key_source == BYOK,
        "endpoints": {"total": len(available), "available": available},
        "attempts": [
            {"model": one["model"], "provider": title(str(one["provider"])), "status": one["status"]}
            for one in draft.attempts
        ],
    }


def title(provider: str) -> str:
    """Return a provider's name as people write it."""
    return quirks.of(provider).title or provider


def dry_run(draft: Draft) -> bytes:
    """Return the JSON answer to a call that asked where it would go: decided, not sent, not charged."""
    call, decision = draft.call, draft.decision
    assert call is not None
    assert decision is not None
    first = decision.endpoints[0]
    wishes = {name: value for name, value in msgspec.to_builtins(call.preferences).items() if name != "echoes"}
    usual = msgspec.to_builtins(type(call.preferences)())
    kept = orjson.loads(draft.receipt_parts())
    del kept["attempts"]
    return orjson.dumps(
        {
            "object": "routing.dry_run",
            "request_id": draft.request_id,
            "requested_model": call.requested_model,
            "task": {"label": call.task_type, "source": call.task_source},
            "chosen": {"model": first.model, "provider": first.provider, "upstream_model": first.upstream_model},
            "route_reason": decision.route_reason,
            "pinned": decision.is_pinned,
            "policy_version": decision.policy_version or None,
            "experiment": (
                {"id": decision.experiment_id, "arm": decision.experiment_arm} if decision.experiment_id else None
            ),
            "fallback_chain": [],
            "not_applied": [],
            **kept,
            "candidates": candidates(decision),
            "preferences": {name: value for name, value in wishes.items() if value != usual[name]},
            "is_simulated": first.is_simulated,
            "cost_usd": 0,
            "billed_usd": 0,
        }
    )
