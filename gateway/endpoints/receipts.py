"""`GET /v1/receipts/{id}`: the whole receipt of a call, by its request, receipt or generation id."""

from __future__ import annotations

import orjson

from gateway import errors, identifiers, pipeline, receipt
from gateway.dialects.protocol import Dialect
from gateway.endpoints import stored
from gateway.http import Request, send_json
from gateway.state import State


async def handle(state: State, request: Request, dialect: Dialect) -> None:
    """Answer the receipt: from memory when this process served the call lately, else from the log store."""
    key = await pipeline.authenticate(state, request, scope="receipts")
    wanted = identifiers.request_id(request.path.rpartition("/")[2])
    if wanted is None:
        raise errors.NotFound("That is no receipt id. It looks like rcpt_ and 26 characters.", code="receipt_not_found")
    record = await stored.find(state, key, wanted)
    if record is None:
        raise errors.NotFound(
            "There is no receipt with this id in this key's workspace. A receipt can take a few seconds to arrive.",
            code="receipt_not_found",
        )
    await send_json(request, orjson.dumps(receipt.whole(record)))
