"""`GET /v1/receipts/{id}`: the whole receipt of a call, by its request, receipt or generation id."""

from __future__ import annotations

import asyncio

import orjson

from analytics.request_log import RequestLog
from gateway import errors, identifiers, pipeline, receipt
from gateway.dialects.protocol import Dialect
from gateway.http import Request, send_json
from gateway.state import State


async def handle(state: State, request: Request, dialect: Dialect) -> None:
    """Answer the receipt: from memory when this process served the call lately, else from the log store."""
    key = await pipeline.authenticate(state, request, scope="receipts")
    wanted = identifiers.request_id(request.path.rpartition("/")[2])
    if wanted is None:
        raise errors.NotFound("That is no receipt id. It looks like rcpt_ and 26 characters.", code="receipt_not_found")
    record = state.recorder.recent(wanted)
    if record is None:
        record = await asyncio.to_thread(_stored, key.organization_id, wanted)
    if record is None or record.workspace_id != key.workspace_id:
        raise errors.NotFound(
            "There is no receipt with this id in this key's workspace. A receipt can take a few seconds to arrive.",
            code="receipt_not_found",
        )
    await send_json(request, orjson.dumps(receipt.whole(record)))


def _stored(organization_id: str, request_id: str) -> RequestLog | None:
    # Imported here: the log store's driver is loaded by the first look-up, not by every gateway process.
    from analytics.queries import StoreError, records

    try:
        return records.find(
            organization_id=organization_id, request_id=request_id, started_us=identifiers.started_us(request_id)
        )
    except StoreError:
        raise errors.Unavailable(
            "The log store does not answer now. Try again in a moment.", code="log_store_unavailable", retry_after_s=2
        ) from None
