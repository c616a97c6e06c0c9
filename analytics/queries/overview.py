"""What the overview shows: totals of a window and the one before, their course, the parts by model and task."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from typing import Any

from analytics import timerange
from analytics.clickhouse import client
from analytics.clickhouse.errors import StoreError
from analytics.log_query import IS_ERROR, LogQuery, microseconds
from analytics.timerange import TimeRange

__all__ = ["ModelPoint", "Parts", "Point", "StoreError", "TaskRow", "Totals", "parts", "totals"]


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over a window. Savings compare only the calls that have a baseline, both sides of it."""

    calls: int
    errors: int
    interrupted: int
    unpriced: int
    simulated: int
    cost_nanousd: int
    simulated_cost_nanousd: int
    input_tokens: int
    output_tokens: int
    cached_read_tokens: int
    baselined_calls: int
    baseline_nanousd: int
    baselined_cost_nanousd: int
    baseline_models: tuple[str, ...]
    p50_us: float | None
    p95_us: float | None

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    @property
    def saved_nanousd(self) -> int:
        return self.baseline_nanousd - self.baselined_cost_nanousd


NO_CALLS = Totals(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, (), None, None)

# Latency is that of calls which a provider answered: refusals by us take no time and would flatter the median.
_ANSWERED = "state = 'settled' AND error_class = ''"
_TOTALS = f"""
SELECT
    started_us >= {{boundary_us:Int64}} AS is_current,
    count() AS calls,
    countIf({IS_ERROR}) AS errors,
    countIf(state = 'interrupted') AS interrupted,
    countIf(price_state = 'unpriced') AS unpriced,
    countIf(is_simulated = 1) AS simulated,
    sum(provider_cost_nanousd) AS cost_nanousd,
    sumIf(provider_cost_nanousd, is_simulated = 1) AS simulated_cost_nanousd,
    sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens,
    sum(cached_read_tokens) AS cached_read_tokens,
    countIf(baseline_cost_nanousd IS NOT NULL AND price_state != 'unpriced') AS baselined_calls,
    sumIf(assumeNotNull(baseline_cost_nanousd), baseline_cost_nanousd IS NOT NULL AND price_state != 'unpriced')
        AS baseline_nanousd,
    sumIf(provider_cost_nanousd, baseline_cost_nanousd IS NOT NULL AND price_state != 'unpriced')
        AS baselined_cost_nanousd,
    arraySort(groupUniqArrayIf(6)(toString(baseline_model), baseline_model != '')) AS baseline_models,
    quantilesExactIf(0.5, 0.95)(latency_us, {_ANSWERED}) AS latencies_us,
    countIf({_ANSWERED}) AS answered
FROM request_logs FINAL
WHERE {{conditions}}
GROUP BY is_current
ORDER BY is_current
"""


def totals(*, organization_id: str, query: LogQuery) -> tuple[Totals, Totals]:
    """Return the sums of the window and of the one before it, in one statement."""
    wide = query.changed(range=_with_previous(query))
    sql = _TOTALS.replace("{conditions}", wide.conditions())
    parameters = wide.bindings(organization_id) | {"boundary_us": microseconds(query.range.start_at)}
    found = {bool(row[0]): _totals(row[1:]) for row in client.query(sql, parameters)}
    return found.get(True, NO_CALLS), found.get(False, NO_CALLS)


@dataclass(frozen=True, slots=True)
class Point:
    """One bucket of the course over time."""

    started_at: dt.datetime
    calls: int
    errors: int
    cost_nanousd: int
    tokens: int
    saved_nanousd: int
    p50_us: float
    p95_us: float


@dataclass(frozen=True, slots=True)
class ModelPoint:
    """What one model cost in one bucket."""

    started_at: dt.datetime
    model: str
    cost_nanousd: int
    calls: int


@dataclass(frozen=True, slots=True)
class TaskRow:
    """What one type of task cost."""

    task_type: str
    calls: int
    cost_nanousd: int


@dataclass(frozen=True, slots=True)
class Parts:
    """The window by time, by time and model, and by task; each adds up to the totals."""

    course: list[Point]  # every bucket is there
    models: list[ModelPoint]  # buckets without calls are absent
    tasks: list[TaskRow]  # the dearest first


# Three groupings in one statement: merging duplicates away (FINAL) costs more than the sums, so it is done once.
_PARTS = f"""
SELECT
    grouping(model) = 0 AS is_by_model,
    grouping(task_type) = 0 AS is_by_task,
    toInt64(intDiv(started_us, {{bucket_us:Int64}})) AS bucket,
    toString(model) AS model_name,
    toString(task_type) AS task,
    count() AS calls,
    countIf({IS_ERROR}) AS errors,
    sum(provider_cost_nanousd) AS cost_nanousd,
    sum(input_tokens) + sum(output_tokens) AS tokens,
    sumIf(
        assumeNotNull(baseline_cost_nanousd) - provider_cost_nanousd,
        baseline_cost_nanousd IS NOT NULL AND price_state != 'unpriced'
    ) AS saved_nanousd,
    quantilesExactIf(0.5, 0.95)(latency_us, {_ANSWERED}) AS latencies_us
FROM request_logs FINAL
WHERE {{conditions}}
GROUP BY GROUPING SETS ((bucket), (bucket, model), (task_type))
ORDER BY is_by_task, is_by_model, bucket, cost_nanousd DESC, model_name, task
LIMIT 100000
SETTINGS force_grouping_standard_compatibility = 1
"""


def parts(*, organization_id: str, query: LogQuery) -> Parts:
    """Return the window's figures by time, by model and by task, in one statement."""
    width = query.range.bucket_seconds
    sql = _PARTS.replace("{conditions}", query.conditions())
    parameters = query.bindings(organization_id) | {"bucket_us": width * 1_000_000}
    points: dict[dt.datetime, Point] = {}
    models: list[ModelPoint] = []
    tasks: list[TaskRow] = []
    for is_by_model, is_by_task, bucket, model, task, calls, errors, cost, *rest in client.query(sql, parameters):
        at = timerange.moment(bucket * width * 1_000_000)
        if is_by_task:
            tasks.append(TaskRow(task, calls, cost))
        elif is_by_model:
            models.append(ModelPoint(at, model, cost, calls))
        else:
            tokens, saved, (p50, p95) = rest
            points[at] = Point(at, calls, errors, cost, tokens, saved, _finite(p50), _finite(p95))
    course = [points.get(at) or Point(at, 0, 0, 0, 0, 0, 0.0, 0.0) for at in query.range.buckets()]
    return Parts(course, models, tasks)


def _finite(latency_us: float) -> float:
    """Return a quantile as a number: that of no calls is NaN, which draws as nothing."""
    return float(latency_us) if math.isfinite(latency_us) else 0.0


def _with_previous(query: LogQuery) -> TimeRange:
    return TimeRange("", query.range.previous.start_at, query.range.end_at)


def _totals(row: tuple[Any, ...]) -> Totals:
    sums, models, latencies, answered = row[:-3], row[-3], row[-2], row[-1]
    p50, p95 = (float(latencies[0]), float(latencies[1])) if answered else (None, None)
    values = dict(zip(Totals.__slots__, (*sums, tuple(models), p50, p95), strict=True))
    return Totals(**values)
