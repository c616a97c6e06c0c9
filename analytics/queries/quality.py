"""Sufficient statistics of the quality signals before and after a moment, by task type.

Calls cluster: those of one session (else agent run) are summed first, so that the caller can tell scatter between
conversations from scatter between calls. No inference here.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

from analytics.clickhouse import client
from analytics.clickhouse.errors import StoreError
from analytics.queries import outcomes
from analytics.statistics.moments import RatioSample

__all__ = ["FEEDBACK", "SignalRow", "StoreError", "Window", "signals"]

FEEDBACK = "feedback"

# Clients name task types and feedback freely; one that names every call anew must not fill memory.
_MOST_ROWS = 2000

_MEASURES = (
    outcomes.LENGTH,
    outcomes.TOOL_CALL_VALIDITY,
    outcomes.JSON_VALIDITY,
    outcomes.SCHEMA_VALIDITY,
    outcomes.REFUSAL,
    outcomes.TRUNCATION,
    outcomes.ERRORS,
)


@dataclass(frozen=True, slots=True)
class Window:
    """Before is [start, boundary), after is [boundary, end): no gap between them."""

    start_at: dt.datetime
    boundary_at: dt.datetime
    end_at: dt.datetime


@dataclass(frozen=True, slots=True)
class SignalRow:
    """One signal of one task type on one side. `signal` is a measure's name or `feedback:<name>`."""

    task_type: str
    is_test: bool
    is_after: bool
    signal: str
    sample: RatioSample


_AFFECTED = f"""{outcomes.FAIR_CALLS}
        AND ({{task_type:String}} = '' OR task_type = {{task_type:String}})
        AND task_type NOT IN {{except_task_types:Array(String)}}
        AND ({{with_pinned:UInt8}} = 1 OR is_pinned = 0)
        AND ({{with_experiments:UInt8}} = 1 OR experiment_id = '')"""

_SIDES = f"""
SELECT
    task_type,
    is_test,
    is_after,
    {outcomes.sums_over_units(_MEASURES)}
FROM
(
    SELECT
        task_type,
        is_test,
        started_at >= fromUnixTimestamp64Micro({{boundary_us:Int64}}, 'UTC') AS is_after,
        multiIf(session != '', session, agent_run != '', agent_run, request_id) AS unit,
        count() AS calls,
        {outcomes.sums_within_unit(_MEASURES)}
    FROM request_logs FINAL
    WHERE {_AFFECTED}
    GROUP BY task_type, is_test, is_after, unit
)
GROUP BY task_type, is_test, is_after
ORDER BY sum(calls) DESC, task_type, is_test, is_after
LIMIT {{most_rows:UInt32}}
"""

_FEEDBACK = f"""
SELECT
    task_type,
    is_test,
    is_after,
    name,
    {outcomes.six_sums("value_sum", "value_count", is_whole=False)}
FROM
(
    SELECT
        calls.task_type AS task_type,
        calls.is_test AS is_test,
        calls.is_after AS is_after,
        calls.unit AS unit,
        verdicts.name AS name,
        sum(verdicts.verdict) AS value_sum,
        count() AS value_count
    FROM
    (
        SELECT
            request_id,
            task_type,
            is_test,
            started_at >= fromUnixTimestamp64Micro({{boundary_us:Int64}}, 'UTC') AS is_after,
            multiIf(session != '', session, agent_run != '', agent_run, request_id) AS unit
        FROM request_logs FINAL
        WHERE {_AFFECTED}
    ) AS calls
    INNER JOIN
    (
        -- One verdict a call and name: three thumbs on one answer are not three answers.
        SELECT request_id, name, avg(assumeNotNull(value)) AS verdict
        FROM feedback FINAL
        WHERE organization_id = {{organization_id:String}}
            AND workspace_id = {{workspace_id:String}}
            AND created_at >= fromUnixTimestamp64Micro({{start_us:Int64}}, 'UTC')
            AND request_id != ''
            AND isNotNull(value)
        GROUP BY request_id, name
    ) AS verdicts ON calls.request_id = verdicts.request_id
    GROUP BY task_type, is_test, is_after, unit, name
)
GROUP BY task_type, is_test, is_after, name
ORDER BY sum(value_count) DESC, task_type, is_test, is_after, name
LIMIT {{most_rows:UInt32}}
"""


def signals(
    *,
    organization_id: str,
    workspace_id: str,
    window: Window,
    task_type: str = "",
    except_task_types: tuple[str, ...] = (),
    with_pinned: bool = False,
    with_experiments: bool = False,
) -> list[SignalRow]:
    """Return every signal of every task type on both sides of the window's boundary.

    `task_type` narrows to one. Calls that named their model and calls of experiments are left out unless asked for:
    a policy does not route them.

    Raises:
        StoreError: ClickHouse does not answer or refuses.
    """
    parameters = {
        "organization_id": organization_id,
        "workspace_id": workspace_id,
        "start_us": outcomes.microseconds(window.start_at),
        "boundary_us": outcomes.microseconds(window.boundary_at),
        "end_us": outcomes.microseconds(window.end_at),
        "client_faults": list(outcomes.CLIENT_FAULTS),
        "task_type": task_type,
        "except_task_types": list(except_task_types),
        "with_pinned": int(with_pinned),
        "with_experiments": int(with_experiments),
        "most_rows": _MOST_ROWS,
    }
    rows = [*_measured(client.query(_SIDES, parameters))]
    for found_type, is_test, is_after, name, *sums in client.query(_FEEDBACK, parameters):
        rows.append(SignalRow(found_type, bool(is_test), bool(is_after), f"{FEEDBACK}:{name}"[:40], RatioSample(*sums)))
    return rows


def _measured(found: list[client.Row]) -> Iterator[SignalRow]:
    for task_type, is_test, is_after, *sums in found:
        for name, sample in outcomes.samples(sums, _MEASURES).items():
            if sample.n:
                yield SignalRow(task_type, bool(is_test), bool(is_after), name, sample)
