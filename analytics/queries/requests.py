"""The calls themselves: a page of them, one of them with its content and verdicts, and what they can be filtered by.

A record that was delivered twice replaces itself at merge time, so every read is FINAL.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from analytics import timerange
from analytics.clickhouse import client
from analytics.clickhouse.errors import StoreError
from analytics.log_query import IS_ERROR, LogQuery, microseconds
from analytics.request_log import COLUMNS, RequestLog

__all__ = ["Cursor", "InvalidCursor", "RequestPage", "RequestRow", "StoreError", "facets", "find", "histogram", "page"]

# What a page is ordered by before time and id. Newest first needs nothing before them, and is then the table's own
# order, read backwards until the page is full: four times as fast over a month of a million calls.
_SORT_VALUES = {
    "newest": "toInt64(0)",
    "cost": "provider_cost_nanousd",
    "latency": "toInt64(latency_us)",
    "tokens": "toInt64(input_tokens) + toInt64(output_tokens)",
}
_DAY_US = 86_400_000_000


class InvalidCursor(ValueError):
    """The place to go on from is not one that a page gave out."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place between two rows: what the row before it was sorted by."""

    value: int
    started_us: int
    request_id: str

    def encode(self) -> str:
        return f"{self.value}.{self.started_us}.{self.request_id}"

    @classmethod
    def decode(cls, text: str) -> Cursor:
        """Return the cursor that `encode` wrote.

        Raises:
            InvalidCursor: it was not written by `encode`.
        """
        try:
            value, started_us, request_id = text.split(".", 2)
            cursor = cls(int(value), int(started_us), request_id)
        except ValueError:
            raise InvalidCursor("This link to a further page is broken. Start from the first page.") from None
        if max(abs(cursor.value), abs(cursor.started_us)) >= 2**63 or len(request_id) > 100:
            raise InvalidCursor("This link to a further page is broken. Start from the first page.")
        return cursor


@dataclass(frozen=True, slots=True)
class RequestRow:
    """One call as lists and CSV show it. A price that is not known is None, never zero."""

    request_id: str
    started_us: int
    workspace_id: str
    api_key_id: str
    agent: str
    feature: str
    session: str
    requested_model: str
    model: str
    provider: str
    task_type: str
    state: str
    http_status: int
    error_class: str
    finish_reason: str
    key_source: str
    is_test: int
    is_simulated: int
    is_stream: int
    is_fallback: int
    input_tokens: int
    cached_read_tokens: int
    output_tokens: int
    price_state: str
    cost_nanousd: int | None
    latency_us: int
    first_token_us: int | None
    sort_value: int

    @property
    def started_at(self) -> dt.datetime:
        return timerange.moment(self.started_us)

    @property
    def cursor(self) -> Cursor:
        return Cursor(self.sort_value, self.started_us, self.request_id)


@dataclass(frozen=True, slots=True)
class RequestPage:
    """Some rows and whether there are more on either side; the cursors are those of the outer rows."""

    rows: list[RequestRow]
    before: Cursor | None
    after: Cursor | None


_PAGE_COLUMNS = tuple(field.name for field in fields(RequestRow))
_DERIVED = {
    "cost_nanousd": "if(price_state = 'unpriced', NULL, provider_cost_nanousd) AS cost_nanousd",
}

_PAGE = """
SELECT
    {columns},
    {sort_value} AS sort_value
FROM request_logs FINAL
WHERE {conditions}
    {place}
ORDER BY {order}
LIMIT {{limit:UInt32}}
"""
_ORDER = "sort_value {direction}, started_at {direction}, request_id {direction}"
_ORDER_BY_TIME = "started_at {direction}, request_id {direction}"
_PLACE = """AND (sort_value, started_us, request_id)
        {than} ({{cursor_value:Int64}}, {{cursor_us:Int64}}, {{cursor_id:String}})"""
# The primary key can only be used when the bound stands on its own column too.
_PLACE_BY_TIME = """AND started_at {than}= fromUnixTimestamp64Micro({{cursor_us:Int64}}, 'UTC')
    AND (started_us, request_id) {than} ({{cursor_us:Int64}}, {{cursor_id:String}})"""


def page(
    *,
    organization_id: str,
    query: LogQuery,
    limit: int,
    after: Cursor | None = None,
    before: Cursor | None = None,
) -> RequestPage:
    """Return the calls of a query in its order: the first ones, those after a place, or those before one."""
    is_backward = before is not None
    cursor = before or after
    parameters = query.bindings(organization_id) | {"limit": limit + 1}
    is_by_time = query.sort == "newest"
    place = ""
    if cursor is not None:
        place = (_PLACE_BY_TIME if is_by_time else _PLACE).format(than=">" if is_backward else "<")
        parameters |= {"cursor_value": cursor.value, "cursor_us": cursor.started_us, "cursor_id": cursor.request_id}
    sql = _PAGE.format(
        columns=",\n    ".join(_DERIVED.get(name, name) for name in _PAGE_COLUMNS[:-1]),
        sort_value=_SORT_VALUES[query.sort],
        conditions=query.conditions(),
        place=place,
        order=(_ORDER_BY_TIME if is_by_time else _ORDER).format(direction="ASC" if is_backward else "DESC"),
    )
    rows = [RequestRow(*row) for row in client.query(sql, parameters)]
    has_more = len(rows) > limit
    rows = rows[:limit]
    if is_backward:
        rows.reverse()
        return RequestPage(rows, rows[0].cursor if has_more else None, rows[-1].cursor if rows else None)
    return RequestPage(rows, rows[0].cursor if rows and after else None, rows[-1].cursor if has_more else None)


def walk(*, organization_id: str, query: LogQuery, limit: int, block: int = 5000) -> Iterator[list[RequestRow]]:
    """Yield the calls of a query in blocks, at most `limit` in all; each block is one bounded statement."""
    after: Cursor | None = None
    left = limit
    while left > 0:
        found = page(organization_id=organization_id, query=query, limit=min(block, left), after=after)
        if found.rows:
            yield found.rows
        left -= len(found.rows)
        after = found.after
        if after is None:
            return


@dataclass(frozen=True, slots=True)
class Bar:
    """One bucket of the histogram over the list."""

    started_at: dt.datetime
    ok: int
    errors: int

    @property
    def calls(self) -> int:
        return self.ok + self.errors


_HISTOGRAM = """
SELECT
    toInt64(intDiv(started_us, {{bucket_us:Int64}})) AS bucket,
    count() AS calls,
    countIf({is_error}) AS errors
FROM request_logs FINAL
WHERE {conditions}
GROUP BY bucket
ORDER BY bucket
"""


def histogram(*, organization_id: str, query: LogQuery) -> list[Bar]:
    """Return the calls of a query by time; every bucket of the window is there."""
    width = query.range.bucket_seconds
    sql = _HISTOGRAM.format(conditions=query.conditions(), is_error=IS_ERROR)
    parameters = query.bindings(organization_id) | {"bucket_us": width * 1_000_000}
    found = {bucket * width: (calls, errors) for bucket, calls, errors in client.query(sql, parameters)}
    bars = []
    for at in query.range.buckets():
        calls, errors = found.get(int(at.timestamp()), (0, 0))
        bars.append(Bar(at, calls - errors, errors))
    return bars


_FACETS: Mapping[str, str] = {
    "workspace": "workspace_id",
    "agent": "agent",
    "feature": "feature",
    "key": "api_key_id",
    "model": "model",
    "provider": "provider",
    "task": "task_type",
    "error": "error_class",
}
_FACET_LIMIT = 200

_FACET_COUNTS = """
SELECT
    {columns},
    {positions},
    count() AS calls
FROM request_logs FINAL
WHERE {conditions}
GROUP BY GROUPING SETS ({sets})
ORDER BY calls DESC, {columns}
LIMIT 10000
SETTINGS force_grouping_standard_compatibility = 1
"""


def facets(*, organization_id: str, query: LogQuery) -> dict[str, list[tuple[str, int]]]:
    """Return for each facet its values in the window with their calls, the most frequent first.

    Other filters do not narrow the values, so that one select can be changed into another value.
    """
    window = LogQuery(range=query.range, mode=query.mode)
    columns = tuple(_FACETS.values())
    sql = _FACET_COUNTS.format(
        columns=", ".join(columns),
        positions=", ".join(f"grouping({column})" for column in columns),
        sets=", ".join(f"({column})" for column in columns),
        conditions=window.conditions(),
    )
    found: dict[str, list[tuple[str, int]]] = {name: [] for name in _FACETS}
    for row in client.query(sql, window.bindings(organization_id)):
        values, absent, calls = row[: len(columns)], row[len(columns) : -1], row[-1]
        name, value = next(
            (name, value) for name, value, is_absent in zip(found, values, absent, strict=True) if not is_absent
        )
        if len(found[name]) < _FACET_LIMIT:
            found[name].append((value, calls))
    return found


@dataclass(frozen=True, slots=True)
class Verdict:
    """What somebody said about a call."""

    name: str
    kind: str
    value: float | None
    category: str
    comment: str
    created_us: int

    @property
    def created_at(self) -> dt.datetime:
        return timerange.moment(self.created_us)


@dataclass(frozen=True, slots=True)
class Content:
    """What was asked and answered, as JSON text."""

    request: str
    response: str
    is_capped: int
    expires_us: int

    @property
    def expires_at(self) -> dt.datetime:
        return timerange.moment(self.expires_us)


# The id alone does not say when the call ran; the index on it makes the whole range cheap.
_FIND = """
SELECT
    {columns}
FROM request_logs FINAL
WHERE organization_id = {{organization_id:String}}
    AND started_at >= fromUnixTimestamp64Micro({{start_us:Int64}}, 'UTC')
    AND started_at < fromUnixTimestamp64Micro({{end_us:Int64}}, 'UTC')
    AND request_id = {{request_id:String}}
ORDER BY started_us DESC, request_id
LIMIT 1
"""


def find(*, organization_id: str, request_id: str, now: dt.datetime) -> RequestLog | None:
    """Return the record of one call of the organization, None where there is none."""
    parameters = {
        "organization_id": organization_id,
        "request_id": request_id,
        "start_us": 0,
        "end_us": microseconds(now) + _DAY_US,
    }
    rows = client.query(_FIND.format(columns=",\n    ".join(COLUMNS)), parameters)
    if not rows:
        return None
    values: dict[str, Any] = dict(zip(COLUMNS, rows[0], strict=True))
    return RequestLog(**values)


_VERDICTS = """
SELECT name, kind, value, category, comment, created_us
FROM feedback FINAL
WHERE organization_id = {organization_id:String}
    AND created_at >= fromUnixTimestamp64Micro({start_us:Int64}, 'UTC')
    AND request_id = {request_id:String}
ORDER BY created_us, idempotency_key
LIMIT 100
"""


def verdicts(*, organization_id: str, record: RequestLog) -> list[Verdict]:
    """Return the feedback on one call, oldest first."""
    parameters = {
        "organization_id": organization_id,
        "request_id": record.request_id,
        "start_us": record.started_us - _DAY_US,
    }
    return [Verdict(*row) for row in client.query(_VERDICTS, parameters)]


_CONTENT = """
SELECT request, response, is_capped, expires_us
FROM request_contents FINAL
WHERE organization_id = {organization_id:String}
    AND started_at >= fromUnixTimestamp64Micro({start_us:Int64}, 'UTC')
    AND started_at < fromUnixTimestamp64Micro({end_us:Int64}, 'UTC')
    AND request_id = {request_id:String}
    AND expires_us > {now_us:Int64}
ORDER BY started_at, request_id
LIMIT 1
"""


def content(*, organization_id: str, record: RequestLog, now: dt.datetime) -> Content | None:
    """Return what was asked and answered in one call, None where it was not stored or its time is over."""
    parameters = {
        "organization_id": organization_id,
        "request_id": record.request_id,
        "start_us": record.started_us,
        "end_us": record.started_us + 1,
        "now_us": microseconds(now),
    }
    rows = client.query(_CONTENT, parameters)
    return Content(*rows[0]) if rows else None
