"""`GET /v1/key`: what the key that asks may do, what it has spent, and which budget will block it first.

The form is OpenRouter's (`GET /api/v1/key`), with `effective_budget` and our rate limits beside it.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import orjson
from django.db import Error as DatabaseError

from billing import usage
from gateway import control, errors, pipeline, refusals
from gateway.context import KeySnapshot
from gateway.counters import Meter
from gateway.dialects.protocol import Dialect
from gateway.http import Request, send_json
from gateway.state import State


async def handle(state: State, request: Request, dialect: Dialect) -> None:
    """Answer with the key's facts, its use and its limits. Any key may ask this about itself."""
    key = await pipeline.authenticate(state, request, scope="")
    meters = await state.admission.budgets(key, now=request.now)
    try:
        used = await asyncio.to_thread(_used, key, request.now)
    except DatabaseError:
        raise errors.Unavailable(
            "What the key has spent cannot be read now. Try again in a moment.",
            code="limits_unavailable",
            retry_after_s=2,
        ) from None
    own = next((meter for meter in meters if meter.limit.scope == "api_key"), None)
    data: dict[str, Any] = {
        "label": key.name,
        "id": key.api_key_id,
        **used,
        "limit": None if own is None or own.purse is None else own.purse.amount / 1e9,
        "limit_remaining": None if own is None else _remaining(own),
        "limit_reset": None if own is None else _reset(own),
        "include_byok_in_limit": True,
        "is_free_tier": False,
        "is_provisioning_key": False,
        "is_management_key": "keys" in key.scopes,
        "organization_id": key.organization_id,
        "workspace_id": key.workspace_id,
        "creator_user_id": None,
        "allowed_data_regions": ["global"],
        "free_model_daily_requests": {"limit": 0, "remaining": 0, "used": 0},
        "is_test": key.is_test,
        "expires_at": key.expires_at,
        "rate_limit": _rate_limit(state.admission.windows(key)),
        "rate_limits": [
            {
                "name": meter.limit.name,
                "scope": meter.limit.scope,
                "kind": meter.limit.kind,
                "limit": meter.limit.amount,
                "interval": "1m",
            }
            for meter in state.admission.windows(key)
        ],
        "effective_budget": _budget(meters[0]) if meters else None,
        "budgets": [_budget(meter) for meter in meters],
        "guardrails": {
            "quality_floor": key.quality_floor,
            "max_cost_per_request_usd": _usd(key.max_cost_per_request_nanousd),
        },
    }
    await send_json(request, orjson.dumps({"data": data}))


def _used(key: KeySnapshot, now: float) -> dict[str, float]:
    """Return what the ledger says that the key has used, in US dollars; days begin at midnight UTC.

    `usage` is what was billed here, `byok_usage` what the customer's own keys paid, as in lists of keys; budgets count
    both.
    """
    with control.connected():
        today = dt.datetime.fromtimestamp(now, dt.UTC).date()
        found = usage.by_key(organization_id=key.organization_id, api_key_ids=[key.api_key_id], today=today)
    return {name: amount / 1e9 for name, amount in found.get(key.api_key_id, usage.NOTHING).by_name().items()}


def _budget(meter: Meter) -> dict[str, Any]:
    purse, limit = meter.purse, meter.limit
    assert purse is not None
    return {
        "name": limit.name,
        "scope": limit.scope,
        "limit_source": refusals.limit_source(meter),
        "budget_id": None,
        "guardrail_id": None,
        "include_byok": True,
        "reset_interval": _reset(meter),
        "limit_usd": purse.amount / 1e9,
        "spend_usd": purse.spent / 1e9,
        "reserved_usd": (purse.reserved + purse.held_elsewhere) / 1e9,
        "remaining_usd": _remaining(meter),
        "period": limit.period,
        "resets_at": refusals.resets_at(purse),
        "on_exceed": "downgrade" if limit.downgrades else "block",
    }


def _remaining(meter: Meter) -> float:
    purse = meter.purse
    assert purse is not None
    return max(0, purse.amount - purse.spent - purse.reserved - purse.held_elsewhere) / 1e9


def _reset(meter: Meter) -> str | None:
    """Return the period in OpenRouter's word."""
    return {"day": "daily", "week": "weekly", "month": "monthly"}.get(meter.limit.period)


def _rate_limit(windows: list[Meter]) -> dict[str, Any]:
    """Return the tightest limit on requests as OpenRouter shows it; -1: none."""
    limits = [meter.limit.amount for meter in windows if meter.limit.kind == "requests"]
    return {
        "requests": min(limits, default=-1),
        "interval": "1m",
        "note": "x-ratelimit-* headers of answers tell what is left.",
    }


def _usd(nanousd: int | None) -> float | None:
    return None if nanousd is None else nanousd / 1e9
