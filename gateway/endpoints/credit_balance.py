"""`GET /v1/credits`: what an organization has used, with OpenRouter's field names.

Nothing is prepaid: `total_credits` is 0 and stops nobody. `total_usage` is the ledger's sum, so calls count once they
are loaded, a few seconds after they end.
"""

from __future__ import annotations

import asyncio

import orjson
from django.db import Error as DatabaseError

from billing import usage
from gateway import control, errors, pipeline, receipt
from gateway.dialects.protocol import Dialect
from gateway.http import Request, send_json
from gateway.state import State


async def handle(state: State, request: Request, dialect: Dialect) -> None:
    """Answer what the key's organization has used in all, in US dollars."""
    key = await pipeline.authenticate(state, request, scope="receipts")
    used = await asyncio.to_thread(_used_nanousd, key.organization_id)
    await send_json(request, orjson.dumps({"data": {"total_credits": 0.0, "total_usage": receipt.usd(used)}}))


def _used_nanousd(organization_id: str) -> int:
    with control.connected():
        try:
            return usage.billed_nanousd(organization_id=organization_id)
        except DatabaseError:
            raise errors.Unavailable(
                "The ledger does not answer now. Try again in a moment.", code="ledger_unavailable", retry_after_s=2
            ) from None
