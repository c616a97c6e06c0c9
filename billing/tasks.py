"""The Celery tasks of billing: load segments, keep the roll-ups fresh, reconcile. Doors only: each makes one call."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from celery import Task, shared_task
from django.db import Error as DatabaseError
from django.utils import timezone

from analytics import loader, rollups
from billing import reconciliation, segments

logger = logging.getLogger(__name__)

FIRST_RETRY_SECONDS = 1
LAST_RETRY_SECONDS = 60
RECONCILED_DAYS = 3


@shared_task(bind=True, name="billing.tasks.load_segment", max_retries=None, acks_late=True, ignore_result=True)
def load_segment(self: Task[Any, Any], segment_id: str, body: str, sha256: str) -> None:
    """Load a sealed segment into ClickHouse and the ledger; safe to deliver any number of times.

    While a store does not answer the message is put back, after 1, 2, 4 … 60 seconds, for as long as it takes. A
    message that is damaged is dropped with an error: its segment is not marked, so the gateway sends it again.
    """
    try:
        segments.load(segment_id=segment_id, body=body, sha256=sha256)
    except segments.DamagedMessage as error:
        logger.error(
            "A segment's message is damaged and was dropped", extra={"segment_id": segment_id, "why": str(error)}
        )
    except (loader.StoreError, DatabaseError) as error:
        delay = min(LAST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2 ** min(self.request.retries, 6))
        logger.warning(
            "A segment waits for a store",
            extra={"segment_id": segment_id, "error": type(error).__name__, "retry_in_seconds": delay},
        )
        raise self.retry(countdown=delay, exc=error) from error


@shared_task(name="billing.tasks.refresh_rollups", ignore_result=True)
def refresh_rollups() -> None:
    """Compute the roll-ups of the hours that calls were loaded into."""
    try:
        rollups.refresh(now=timezone.now)
    except rollups.StoreError as error:
        logger.warning("The roll-ups wait for the log store", extra={"error": type(error).__name__})


@shared_task(name="billing.tasks.reconcile", ignore_result=True)
def reconcile() -> None:
    """Compare the ledger with the log store for the days before today; log each difference as an error."""
    today = timezone.now().date()
    try:
        differences = reconciliation.compare(
            first=today - timedelta(days=RECONCILED_DAYS), last=today - timedelta(days=1)
        )
    except reconciliation.StoreError as error:
        logger.warning("The reconciliation waits for the log store", extra={"error": type(error).__name__})
        return
    for difference in differences:
        logger.error("The ledger and the log store differ", extra={"difference": str(difference)})
