"""Take a segment's message through both stores: ClickHouse first, then the ledger with the mark that ends the matter.

A crash anywhere leaves the segment unmarked and it is delivered again: ClickHouse knows its token, the ledger its id.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from django.db import Error as DatabaseError
from django.db import transaction
from django.utils import timezone

from accounts import api_keys, encryption, provider_credentials
from analytics import deliveries, loader, spool, stored_records
from analytics.request_log import MANAGED
from analytics.stored_records import Account
from billing import ledger

logger = logging.getLogger(__name__)


class DamagedMessage(Exception):
    """The message does not hold the segment that it names; sending the segment again from its file helps."""


def load(*, segment_id: str, body: str, sha256: str) -> bool:
    """Load and post the segment; return False when that had happened before.

    Raises:
        DamagedMessage: nothing was loaded.
        loader.StoreError: ClickHouse does not take it now.
        django.db.Error: the ledger does not take it now.
    """
    if ledger.is_posted(segment_id=segment_id):
        return False
    try:
        data = spool.unpack(body, sha256)
        result = loader.load(data, open_content=encryption.open_content)
    except (spool.DamagedParcel, spool.DamagedSegment, stored_records.UnknownColumns) as error:
        raise DamagedMessage(str(error)) from error
    if result.segment_id != segment_id:
        raise DamagedMessage("The segment's header names another segment.")
    with transaction.atomic():
        is_new = ledger.post_segment(
            segment_id=segment_id, sha256=sha256, records=result.records, dead_letters=result.dead_letters
        )
        if is_new:
            _keep_for_collectors(data, result.records)
    if is_new:
        api_keys.touch_last_used(_last_uses(result.records))
        _note_credentials(result.records)
    return is_new


def _keep_for_collectors(data: bytes, records: Iterable[Account]) -> None:
    """Keep the records for the customers' collectors, in the transaction of the mark. A fault there fails no loading:
    telemetry may be missed, money may not."""
    try:
        with transaction.atomic():
            deliveries.keep(
                data=data, organization_ids={record.organization_id for record in records}, now=timezone.now()
            )
    except DatabaseError:
        raise
    except Exception as error:
        logger.error("A segment was not kept for its collectors", extra={"error": type(error).__name__})


def _note_credentials(records: Iterable[Account]) -> None:
    """Note when customers' provider keys were used last, and which calls went from them to the operator's."""
    used: dict[str, int] = {}
    fallen: dict[str, int] = {}
    for record in records:
        if record.credential_id:
            noted = fallen if record.key_source == MANAGED else used
            noted[record.credential_id] = max(record.started_us, noted.get(record.credential_id, 0))
    if used:
        provider_credentials.touch_last_used(_times(used))
    if fallen:
        for credential in provider_credentials.note_managed_fallbacks(_times(fallen)):
            logger.warning(
                "A customer's provider key could not serve, and the operator's did: the first time since it may",
                extra={"credential_id": credential.pk, "organization_id": credential.organization_id},
            )


def _last_uses(records: Iterable[Account]) -> dict[str, datetime]:
    newest: dict[str, int] = {}
    for record in records:
        if record.started_us > newest.get(record.api_key_id, 0):
            newest[record.api_key_id] = record.started_us
    return _times(newest)


def _times(started_us: Mapping[str, int]) -> dict[str, datetime]:
    return {found: datetime.fromtimestamp(at / 1_000_000, UTC) for found, at in started_us.items()}
