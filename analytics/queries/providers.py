"""How the providers that served an organization's calls did, in steps of time."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from analytics import timerange
from analytics.clickhouse import client
from analytics.clickhouse.errors import StoreError
from analytics.log_query import microseconds

__all__ = ["Step", "StoreError", "course"]


@dataclass(frozen=True, slots=True)
class Step:
    """The calls of one provider in one step of time, by when they began.

    A call counts for the provider of its last attempt: the columns know no other. `faults` are those that ended in a
    failure of that provider, `rescued` those that another endpoint had failed before. `p95_us` is of whole calls that
    succeeded, None where none did.
    """

    started_at: dt.datetime
    provider: str
    calls: int
    faults: int
    rescued: int
    p95_us: float | None


# What a provider refused because the request was wrong is no fault of its.
_FAULT = "startsWith(toString(error_class), 'Upstream') AND error_class != 'UpstreamRejected'"
_COURSE = f"""
SELECT
    toInt64(intDiv(started_us, {{step_us:Int64}})) AS step,
    toString(provider) AS provider_name,
    count() AS calls,
    countIf({_FAULT}) AS faults,
    countIf(is_fallback = 1 AND error_class = '') AS rescued,
    quantilesExactIf(0.95)(latency_us, error_class = '') AS latencies_us,
    countIf(error_class = '') AS answered
FROM request_logs FINAL
WHERE organization_id = {{organization_id:String}}
    AND started_at >= fromUnixTimestamp64Micro({{start_us:Int64}}, 'UTC')
    AND started_at < fromUnixTimestamp64Micro({{end_us:Int64}}, 'UTC')
    AND state = 'settled'
    AND attempts > 0
    AND provider != ''
GROUP BY step, provider
ORDER BY provider, step
LIMIT 100000
"""


def course(*, organization_id: str, start_at: dt.datetime, end_at: dt.datetime, step_seconds: int) -> list[Step]:
    """Return the steps in which calls went out, by provider and time."""
    parameters = {
        "organization_id": organization_id,
        "start_us": microseconds(start_at),
        "end_us": microseconds(end_at),
        "step_us": step_seconds * 1_000_000,
    }
    return [
        Step(
            timerange.moment(step * step_seconds * 1_000_000),
            provider,
            calls,
            faults,
            rescued,
            latencies[0] if answered else None,
        )
        for step, provider, calls, faults, rescued, latencies, answered in client.query(_COURSE, parameters)
    ]
