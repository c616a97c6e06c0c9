"""One whole record by its request id, as the data plane wrote it."""

from __future__ import annotations

import msgspec

from analytics.clickhouse import client
from analytics.request_log import COLUMNS, RequestLog

# The id tells when the call arrived; the window makes the look-up touch a few granules.
_WINDOW_US = 60_000_000

_FIND = f"""
SELECT {", ".join(COLUMNS)}
FROM request_logs FINAL
WHERE organization_id = {{organization_id:String}}
    AND started_at >= fromUnixTimestamp64Micro({{start_us:Int64}}, 'UTC')
    AND started_at < fromUnixTimestamp64Micro({{end_us:Int64}}, 'UTC')
    AND request_id = {{request_id:String}}
ORDER BY started_at, request_id
LIMIT 1
"""


def find(*, organization_id: str, request_id: str, started_us: int) -> RequestLog | None:
    """Return the record, None where there is none (yet). `started_us`: when the call arrived, to the minute.

    Raises:
        analytics.clickhouse.errors.StoreError: the log store cannot be asked.
    """
    rows = client.query(
        _FIND,
        {
            "organization_id": organization_id,
            "request_id": request_id,
            "start_us": started_us - _WINDOW_US,
            "end_us": started_us + _WINDOW_US,
        },
    )
    return msgspec.convert(rows[0], RequestLog) if rows else None
