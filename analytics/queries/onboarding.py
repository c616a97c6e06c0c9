"""Whether an organization's first call has arrived."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from analytics import timerange
from analytics.clickhouse import client
from analytics.clickhouse.errors import StoreError
from analytics.log_query import microseconds

__all__ = ["Arrival", "StoreError", "latest_arrival"]

_YEARS = dt.timedelta(days=400)
_DAY = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Arrival:
    """The newest call: enough to say what arrived and to link to its receipt."""

    request_id: str
    started_us: int
    model: str
    state: str
    error_class: str
    http_status: int
    price_state: str
    cost_nanousd: int
    latency_us: int
    is_simulated: int

    @property
    def started_at(self) -> dt.datetime:
        return timerange.moment(self.started_us)


_LATEST = """
SELECT
    request_id,
    started_us,
    model,
    state,
    error_class,
    http_status,
    price_state,
    provider_cost_nanousd,
    latency_us,
    is_simulated
FROM request_logs FINAL
WHERE organization_id = {organization_id:String}
    AND started_at >= fromUnixTimestamp64Micro({start_us:Int64}, 'UTC')
    AND started_at < fromUnixTimestamp64Micro({end_us:Int64}, 'UTC')
    AND ({with_failed:UInt8} = 1 OR (error_class = '' AND state = 'settled'))
ORDER BY started_at DESC, request_id DESC
LIMIT 1
"""


def latest_arrival(*, organization_id: str, now: dt.datetime, since: dt.datetime | None = None) -> Arrival | None:
    """Return the newest call that succeeded, else the newest at all; None while there is none since `since`."""
    parameters = {
        "organization_id": organization_id,
        "start_us": microseconds(since or now - _YEARS),
        "end_us": microseconds(now + _DAY),
    }
    for with_failed in (0, 1):
        if rows := client.query(_LATEST, parameters | {"with_failed": with_failed}):
            return Arrival(*rows[0])
    return None
