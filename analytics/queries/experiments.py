"""Sufficient statistics of an experiment by arm, summed by the unit that was assigned.

Exposure is the row itself: a call that carries the experiment's id and arm. No inference here.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from analytics.clickhouse import client
from analytics.clickhouse.errors import StoreError
from analytics.queries import outcomes
from analytics.statistics.moments import RatioSample

__all__ = ["Arm", "Exposure", "StoreError", "exposure"]

_MEASURES = (outcomes.SUCCESS, outcomes.COST, outcomes.LATENCY, outcomes.OUTPUT_TOKENS)
_OF_ALL_CALLS = (outcomes.FALLBACKS,)

# What a unit is called in request_logs. A call that lacks it was assigned by its own id.
_UNIT_COLUMNS = {"session": "session", "end_user": "end_user", "agent_run": "agent_run", "request": "request_id"}


@dataclass(frozen=True, slots=True)
class Arm:
    """What one arm saw. `units` counts everybody assigned, `samples` only calls that their arm's model answered."""

    name: str
    is_test: bool
    units: int
    calls: int
    fallback_calls: int
    samples: dict[str, RatioSample]


@dataclass(frozen=True, slots=True)
class Exposure:
    """Both arms, and how many units were seen in more than one."""

    arms: tuple[Arm, ...]
    units_in_both: int


_EXPOSED = f"""{outcomes.FAIR_CALLS}
        AND experiment_id = {{experiment_id:String}}"""

_UNIT = "if({unit_column} != '', {unit_column}, request_id) AS unit"

_ARMS = f"""
SELECT
    experiment_arm,
    is_test,
    count(),
    sum(calls),
    sum(fallback_calls),
    {outcomes.sums_over_units(_MEASURES)},
    {outcomes.sums_over_units(_OF_ALL_CALLS)}
FROM
(
    SELECT
        experiment_arm,
        is_test,
        $unit,
        count() AS calls,
        countIf({outcomes.RESCUED}) AS fallback_calls,
        {outcomes.sums_within_unit(outcomes.narrowed(_MEASURES, f"NOT {outcomes.RESCUED}"))},
        {outcomes.sums_within_unit(_OF_ALL_CALLS)}
    FROM request_logs FINAL
    WHERE {_EXPOSED}
    GROUP BY experiment_arm, is_test, unit
)
GROUP BY experiment_arm, is_test
ORDER BY experiment_arm, is_test
"""

_IN_BOTH = f"""
SELECT count()
FROM
(
    SELECT $unit
    FROM request_logs FINAL
    WHERE {_EXPOSED}
    GROUP BY unit
    HAVING uniqExact(experiment_arm) > 1
)
"""

_FEEDBACK = f"""
SELECT
    experiment_arm,
    is_test,
    name,
    {outcomes.six_sums("value_sum", "value_count", is_whole=False)}
FROM
(
    SELECT
        calls.experiment_arm AS experiment_arm,
        calls.is_test AS is_test,
        calls.unit AS unit,
        verdicts.name AS name,
        sum(verdicts.verdict) AS value_sum,
        count() AS value_count
    FROM
    (
        SELECT request_id, experiment_arm, is_test, $unit
        FROM request_logs FINAL
        WHERE {_EXPOSED} AND NOT {outcomes.RESCUED}
    ) AS calls
    INNER JOIN
    (
        SELECT request_id, name, avg(assumeNotNull(value)) AS verdict
        FROM feedback FINAL
        WHERE organization_id = {{organization_id:String}}
            AND workspace_id = {{workspace_id:String}}
            AND created_at >= fromUnixTimestamp64Micro({{start_us:Int64}}, 'UTC')
            AND request_id != ''
            AND isNotNull(value)
        GROUP BY request_id, name
    ) AS verdicts ON calls.request_id = verdicts.request_id
    GROUP BY experiment_arm, is_test, unit, name
)
GROUP BY experiment_arm, is_test, name
-- Clients name feedback freely; one that names every verdict anew must not fill memory.
ORDER BY sum(value_count) DESC, experiment_arm, is_test, name
LIMIT 200
"""


def exposure(
    *,
    organization_id: str,
    workspace_id: str,
    experiment_id: str,
    unit: str,
    start_at: dt.datetime,
    end_at: dt.datetime,
) -> Exposure:
    """Return both arms of an experiment between two moments; feedback's samples are named `feedback:<name>`.

    Raises:
        KeyError: no such unit.
        StoreError: ClickHouse does not answer or refuses.
    """
    column = _UNIT_COLUMNS[unit]
    parameters = {
        "organization_id": organization_id,
        "workspace_id": workspace_id,
        "experiment_id": experiment_id,
        "start_us": outcomes.microseconds(start_at),
        "end_us": outcomes.microseconds(end_at),
        "client_faults": list(outcomes.CLIENT_FAULTS),
    }
    feedback: dict[tuple[str, bool], dict[str, RatioSample]] = {}
    for name, is_test, verdict, *sums in client.query(_with_unit(_FEEDBACK, column), parameters):
        feedback.setdefault((name, bool(is_test)), {})[f"feedback:{verdict}"[:40]] = RatioSample(*sums)
    arms = []
    for name, is_test, units, calls, fallbacks, *sums in client.query(_with_unit(_ARMS, column), parameters):
        samples = outcomes.samples(sums, (*_MEASURES, *_OF_ALL_CALLS))
        arms.append(
            Arm(name, bool(is_test), units, calls, fallbacks, samples | feedback.get((name, bool(is_test)), {}))
        )
    in_both = client.query(_with_unit(_IN_BOTH, column), parameters)[0][0]
    return Exposure(tuple(arms), int(in_both))


def _with_unit(sql: str, column: str) -> str:
    # The column is one of four names of ours; an identifier cannot be bound.
    return sql.replace("$unit", _UNIT.format(unit_column=column))
