"""Count and sum the calls of each organization and UTC day, with a digest that tells which calls they are.

The one query that may run over all organizations: the operator's reconciliation reads it, no page does.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from analytics.clickhouse import client

# request_log.digest in SQL; UInt64 sums wrap at 2**64, so the remainder by 2**63 is right whatever wrapped.
SELECT = """
SELECT
    organization_id,
    toString(toDate(started_at, 'UTC')) AS usage_date,
    count() AS calls,
    sum(provider_cost_nanousd) AS provider_cost_nanousd,
    sum(billed_nanousd) AS billed_nanousd,
    sum(reinterpretAsUInt64(reverse(substring(MD5(request_id), 1, 8)))) % 9223372036854775808 AS digest
FROM request_logs FINAL
WHERE started_at >= {start_at:DateTime64(6, 'UTC')}
    AND started_at < {end_at:DateTime64(6, 'UTC')}
    AND ({organization_id:String} = '' OR organization_id = {organization_id:String})
GROUP BY organization_id, usage_date
ORDER BY organization_id, usage_date
"""

MAX_EXECUTION_SECONDS = 30


@dataclass(frozen=True, slots=True)
class DailyTotal:
    """The calls of one organization on one day; `digest` is the sum of `request_log.digest` modulo 2**63."""

    organization_id: str
    usage_date: date
    calls: int
    provider_cost_nanousd: int
    billed_nanousd: int
    digest: int


def daily_totals(*, organization_id: str, first: date, last: date) -> list[DailyTotal]:
    """Return the totals of the days `first` to `last`, both included; of all organizations when the id is empty."""
    start_at = datetime.combine(first, time(), tzinfo=UTC)
    end_at = datetime.combine(last + timedelta(days=1), time(), tzinfo=UTC)
    rows = client.query(
        SELECT,
        {"organization_id": organization_id, "start_at": start_at, "end_at": end_at},
        settings={"max_execution_time": MAX_EXECUTION_SECONDS},
    )
    return [
        DailyTotal(organization, date.fromisoformat(usage_date), *numbers)
        for organization, usage_date, *numbers in rows
    ]
