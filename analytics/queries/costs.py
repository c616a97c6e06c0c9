"""What calls cost, by one dimension: rows that add up to their total, and their course over time."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from analytics import timerange
from analytics.clickhouse import client
from analytics.clickhouse.errors import StoreError
from analytics.log_query import IS_ERROR, LogQuery

__all__ = ["DIMENSIONS", "CostPoint", "CostRow", "Costs", "StoreError", "by", "course"]

# name in the URL -> column
DIMENSIONS: dict[str, str] = {
    "model": "model",
    "provider": "provider",
    "task": "task_type",
    "agent": "agent",
    "feature": "feature",
    "key": "api_key_id",
    "workspace": "workspace_id",
}
ROW_LIMIT = 200


@dataclass(frozen=True, slots=True)
class CostRow:
    """The sums of one value of the dimension. `value` is empty for calls that lack the attribute."""

    value: str
    calls: int
    errors: int
    unpriced: int
    input_tokens: int
    cached_read_tokens: int
    cache_write_tokens: int
    output_tokens: int
    cost_nanousd: int
    simulated_cost_nanousd: int
    estimated_cost_nanousd: int
    billed_nanousd: int
    baselined_calls: int
    baseline_nanousd: int
    baselined_cost_nanousd: int

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    @property
    def saved_nanousd(self) -> int | None:
        return self.baseline_nanousd - self.baselined_cost_nanousd if self.baselined_calls else None

    @property
    def cost_per_call_nanousd(self) -> int | None:
        """Return the average over the calls that have a price."""
        priced = self.calls - self.unpriced
        return round(self.cost_nanousd / priced) if priced else None


@dataclass(frozen=True, slots=True)
class Costs:
    """The dearest values, the rest as one row where there are more, and the total: rows + rest = total, exactly."""

    rows: list[CostRow]
    rest: CostRow | None
    total: CostRow


_BASELINED = "baseline_cost_nanousd IS NOT NULL AND price_state != 'unpriced'"
_BY = """
SELECT
    grouping({column}) AS is_total,
    toString({column}) AS value,
    count() AS calls,
    countIf({is_error}) AS errors,
    countIf(price_state = 'unpriced') AS unpriced,
    sum(input_tokens) AS input_tokens,
    sum(cached_read_tokens) AS cached_read_tokens,
    sum(cache_write_tokens) AS cache_write_tokens,
    sum(output_tokens) AS output_tokens,
    sum(provider_cost_nanousd) AS cost_nanousd,
    sumIf(provider_cost_nanousd, is_simulated = 1) AS simulated_cost_nanousd,
    sumIf(provider_cost_nanousd, price_state = 'estimated') AS estimated_cost_nanousd,
    sum(billed_nanousd) AS billed_nanousd,
    countIf({baselined}) AS baselined_calls,
    sumIf(assumeNotNull(baseline_cost_nanousd), {baselined}) AS baseline_nanousd,
    sumIf(provider_cost_nanousd, {baselined}) AS baselined_cost_nanousd
FROM request_logs FINAL
WHERE {conditions}
GROUP BY GROUPING SETS (({column}), ())
ORDER BY is_total DESC, cost_nanousd DESC, calls DESC, value
LIMIT {{limit:UInt32}}
SETTINGS force_grouping_standard_compatibility = 1
"""


def by(*, organization_id: str, query: LogQuery, dimension: str, limit: int = ROW_LIMIT) -> Costs:
    """Return what calls cost by one of DIMENSIONS, the dearest first; rows and total come from one statement."""
    sql = _BY.format(
        column=DIMENSIONS[dimension], conditions=query.conditions(), is_error=IS_ERROR, baselined=_BASELINED
    )
    found = client.query(sql, query.bindings(organization_id) | {"limit": limit + 2})
    totals = [CostRow("", *row[2:]) for row in found if row[0]]
    rows = [CostRow(*row[1:]) for row in found if not row[0]]
    total = totals[0] if totals else _EMPTY
    if len(rows) <= limit:
        return Costs(rows=rows, rest=None, total=total)
    rows = rows[:limit]
    return Costs(rows=rows, rest=_minus(total, rows), total=total)


@dataclass(frozen=True, slots=True)
class CostPoint:
    """What one value cost in one bucket; None stands for all values that are not among the named ones."""

    started_at: dt.datetime
    value: str | None
    cost_nanousd: int


_COURSE = """
SELECT
    toInt64(intDiv(started_us, {{bucket_us:Int64}})) AS bucket,
    {column} IN {{named:Array(String)}} AS is_named,
    if(is_named, toString({column}), '') AS value,
    sum(provider_cost_nanousd) AS cost_nanousd
FROM request_logs FINAL
WHERE {conditions}
GROUP BY bucket, is_named, value
ORDER BY bucket, is_named, value
"""


def course(*, organization_id: str, query: LogQuery, dimension: str, named: list[str]) -> list[CostPoint]:
    """Return what the named values cost by time, and all others together; buckets without calls are absent."""
    width = query.range.bucket_seconds
    sql = _COURSE.format(column=DIMENSIONS[dimension], conditions=query.conditions())
    parameters = query.bindings(organization_id) | {"bucket_us": width * 1_000_000, "named": named}
    return [
        CostPoint(timerange.moment(bucket * width * 1_000_000), value if is_named else None, cost)
        for bucket, is_named, value, cost in client.query(sql, parameters)
    ]


_EMPTY = CostRow("", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)


def _minus(total: CostRow, rows: list[CostRow]) -> CostRow:
    """Return what the rows leave of the total."""
    names = CostRow.__slots__[1:]
    return CostRow("", *(getattr(total, name) - sum(getattr(row, name) for row in rows) for name in names))
