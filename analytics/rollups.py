"""Keep the hourly roll-ups equal to the calls: compute each hour anew that calls were loaded into.

The loader's transaction leaves a mark for each hour that it touched. A hour's marks are read, the hour is computed
whole from `request_logs FINAL`, and exactly the marks that were read are deleted. So it does not matter how often a
segment is delivered, how late a record comes, or where a worker dies: a mark that remains is worked off again, and
computing an hour twice gives the same rows. See docs/decisions/0003-rollups.md.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta

from django.db import transaction

from analytics import models
from analytics.queries import StoreError
from analytics.queries import rollups as rollup_queries

__all__ = ["StoreError", "refresh"]

logger = logging.getLogger(__name__)

LEASE_NAME = "rollups"
# A computation is stopped by ClickHouse before the lease of a dead worker runs out, so two never overlap.
QUERY_SECONDS = 30
LEASE_SECONDS = 120
RUN_SECONDS = 30
# After a run the next may start when three times its duration has passed: at most a quarter of the time is spent here.
REST_FACTOR = 3
MARKS_A_RUN = 50_000


def refresh(*, now: Callable[[], datetime]) -> int:
    """Compute the marked hours, those marked first first, and return how many; 0 while another run holds the lease.

    Stops after RUN_SECONDS with the rest still marked.

    Raises:
        StoreError: ClickHouse does not answer; what was not computed is still marked.
    """
    started_at = now()
    if not _acquire(now=started_at):
        return 0
    computed = 0
    # Where it is not known how a computation ended it may still be running, so the next one waits for its limit.
    held_until = started_at + timedelta(seconds=LEASE_SECONDS)
    try:
        for (organization_id, hour_at), marks in _marked_hours().items():
            if now() - started_at > timedelta(seconds=RUN_SECONDS):
                break
            rollup_queries.refresh(
                organization_id=organization_id, hour_at=hour_at, max_execution_seconds=QUERY_SECONDS
            )
            _delete(marks)
            computed += 1
        held_until = now() + REST_FACTOR * (now() - started_at) if computed else now()
    finally:
        _release(until=held_until)
    return computed


def mark(*, start_at: datetime, end_at: datetime) -> int:
    """Mark every hour of the window to be computed anew, and return how many; both ends are UTC hours."""
    hours = sorted(rollup_queries.hours(start_at=start_at, end_at=end_at))
    models.StaleHour.objects.bulk_create(
        [models.StaleHour(organization_id=organization_id, hour_at=hour_at) for organization_id, hour_at in hours],
        batch_size=500,
    )
    return len(hours)


def pending() -> int:
    """Return how many marks wait."""
    return models.StaleHour.objects.count()


def _marked_hours() -> dict[tuple[str, datetime], list[int]]:
    """Return the ids of the marks by organization and hour, in the order of each hour's oldest mark."""
    marks: dict[tuple[str, datetime], list[int]] = defaultdict(list)
    rows = models.StaleHour.objects.order_by("id").values_list("organization_id", "hour_at", "id")[:MARKS_A_RUN]
    for organization_id, hour_at, mark in rows:
        marks[organization_id, hour_at].append(mark)
    return marks


def _delete(marks: list[int]) -> None:
    # By their ids and not by hour: a mark that was set during the computation may speak of calls that it did not see.
    for start in range(0, len(marks), 500):
        models.StaleHour.objects.filter(id__in=marks[start : start + 500]).delete()


def _acquire(*, now: datetime) -> bool:
    with transaction.atomic():
        models.JobLease.objects.get_or_create(name=LEASE_NAME, defaults={"held_until": now})
        leases = models.JobLease.objects.filter(name=LEASE_NAME, held_until__lte=now)
        return leases.update(held_until=now + timedelta(seconds=LEASE_SECONDS)) == 1


def _release(*, until: datetime) -> None:
    models.JobLease.objects.filter(name=LEASE_NAME).update(held_until=until)
