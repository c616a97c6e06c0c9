"""The record of a call by its id: from memory when this process served it lately, else from the log store."""

from __future__ import annotations

import asyncio

from analytics.request_log import RequestLog
from gateway import errors, identifiers
from gateway.context import KeySnapshot
from gateway.state import State


async def find(state: State, key: KeySnapshot, request_id: str) -> RequestLog | None:
    """Return the record of a call of the key's workspace; None for any other, and for one that has not arrived yet.

    Raises:
        errors.Unavailable: the log store does not answer.
    """
    record = state.recorder.recent(request_id)
    if record is None:
        record = await asyncio.to_thread(_stored, key.organization_id, request_id)
    return record if record is not None and record.workspace_id == key.workspace_id else None


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
