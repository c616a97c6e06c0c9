"""Overview and costs on the real engine: exact sums, savings, the window before, rows that add up to their total."""

from __future__ import annotations

import datetime as dt
import statistics
from collections import Counter

import pytest

from analytics import log_query
from analytics.queries import costs, onboarding, overview
from analytics.request_log import RequestLog
from tests.factories import request_logs
from tests.factories.request_logs import Scope, make_request_log

pytestmark = [pytest.mark.clickhouse, pytest.mark.usefixtures("log_store")]

NOW = dt.datetime(2026, 11, 20, 18, 0, tzinfo=dt.UTC)
QUERY = log_query.default(now=NOW)
ACME = "org_acme"


@pytest.fixture
def records() -> list[RequestLog]:
    """Two weeks of Acme, loaded twice in part, and a call of somebody else."""
    made = request_logs.week(
        organization_id=ACME,
        scopes=[Scope("ws_1", "key_1"), Scope("ws_2", "key_2", is_test=True)],
        now=NOW,
        calls=800,
        days=14,
    )
    request_logs.load(made)
    request_logs.load(made[100:300])
    request_logs.load([make_request_log(organization_id="org_other", started_at=NOW - dt.timedelta(hours=1))])
    return made


def within(records: list[RequestLog], start: dt.datetime, end: dt.datetime) -> list[RequestLog]:
    bounds = (log_query.microseconds(start), log_query.microseconds(end))
    return [record for record in records if bounds[0] <= record.started_us < bounds[1]]


def test_totals_are_exact_for_the_window_and_the_one_before(records: list[RequestLog]) -> None:
    found = overview.totals(organization_id=ACME, query=QUERY)
    for totals, window in zip(found, (QUERY.range, QUERY.range.previous), strict=True):
        mine = within(records, window.start_at, window.end_at)
        assert totals.calls == len(mine) > 0
        assert totals.cost_nanousd == sum(record.provider_cost_nanousd for record in mine)
        assert totals.simulated_cost_nanousd == sum(r.provider_cost_nanousd for r in mine if r.is_simulated)
        assert totals.tokens == sum(record.input_tokens + record.output_tokens for record in mine)
        assert totals.errors == sum(record.error_class != "" for record in mine)
        assert totals.interrupted == sum(record.state == "interrupted" for record in mine)
        compared = [record for record in mine if record.baseline_cost_nanousd is not None]
        assert totals.baselined_calls == len(compared)
        saved = sum((record.baseline_cost_nanousd or 0) - record.provider_cost_nanousd for record in compared)
        assert totals.saved_nanousd == saved


def test_the_median_is_that_of_the_calls_that_were_answered(records: list[RequestLog]) -> None:
    totals, _ = overview.totals(organization_id=ACME, query=QUERY)
    mine = within(records, QUERY.range.start_at, QUERY.range.end_at)
    answered = [record.latency_us for record in mine if record.state == "settled" and not record.error_class]
    assert totals.p50_us is not None
    assert statistics.median_low(answered) <= totals.p50_us <= statistics.median_high(answered)


def test_the_course_and_the_parts_add_up_to_the_totals(records: list[RequestLog]) -> None:
    totals, _ = overview.totals(organization_id=ACME, query=QUERY)
    parts = overview.parts(organization_id=ACME, query=QUERY)
    course = parts.course
    assert sum(point.cost_nanousd for point in course) == totals.cost_nanousd
    assert sum(point.saved_nanousd for point in course) == totals.saved_nanousd
    assert [point.started_at for point in course] == QUERY.range.buckets()
    assert sum(point.calls for point in course) == totals.calls
    assert sum(point.cost_nanousd for point in parts.models) == totals.cost_nanousd
    assert sum(point.calls for point in parts.models) == totals.calls
    assert sum(task.cost_nanousd for task in parts.tasks) == totals.cost_nanousd
    mine = within(records, QUERY.range.start_at, QUERY.range.end_at)
    assert {task.task_type: task.calls for task in parts.tasks} == Counter(record.task_type for record in mine)


def test_no_calls_are_no_latency() -> None:
    assert overview.totals(organization_id=ACME, query=QUERY) == (overview.NO_CALLS, overview.NO_CALLS)


def test_a_call_without_a_price_adds_no_saving() -> None:
    request_logs.load(
        [
            make_request_log(
                started_at=NOW - dt.timedelta(hours=1),
                price_state="unpriced",
                baseline_model="m",
                baseline_cost_nanousd=1_000_000,
            )
        ]
    )
    totals, _ = overview.totals(organization_id=ACME, query=QUERY)
    assert (totals.unpriced, totals.baselined_calls, totals.saved_nanousd) == (1, 0, 0)


@pytest.mark.parametrize("dimension", costs.DIMENSIONS)
def test_rows_add_up_to_the_total_to_the_last_digit(records: list[RequestLog], dimension: str) -> None:
    found = costs.by(organization_id=ACME, query=QUERY, dimension=dimension)
    mine = within(records, QUERY.range.start_at, QUERY.range.end_at)
    assert found.total.cost_nanousd == sum(record.provider_cost_nanousd for record in mine)
    assert found.total.billed_nanousd == sum(record.billed_nanousd for record in mine)
    assert found.rest is None
    for name in costs.CostRow.__slots__[1:]:
        assert sum(getattr(row, name) for row in found.rows) == getattr(found.total, name), name


def test_many_values_become_the_dearest_and_one_rest(records: list[RequestLog]) -> None:
    whole = costs.by(organization_id=ACME, query=QUERY, dimension="model")
    found = costs.by(organization_id=ACME, query=QUERY, dimension="model", limit=3)
    assert found.rows == whole.rows[:3]
    assert found.rest is not None
    assert found.rest.cost_nanousd == sum(row.cost_nanousd for row in whole.rows[3:])
    assert found.rest.calls + sum(row.calls for row in found.rows) == found.total.calls


def test_the_course_by_value_adds_up_with_the_rest(records: list[RequestLog]) -> None:
    found = costs.by(organization_id=ACME, query=QUERY, dimension="agent")
    points = costs.course(organization_id=ACME, query=QUERY, dimension="agent", named=["support-triage", ""])
    assert sum(point.cost_nanousd for point in points) == found.total.cost_nanousd
    by_value = {row.value: row.cost_nanousd for row in found.rows}
    for value in ("support-triage", ""):
        assert sum(point.cost_nanousd for point in points if point.value == value) == by_value[value]


def test_no_calls_cost_nothing() -> None:
    found = costs.by(organization_id=ACME, query=QUERY, dimension="model")
    assert (found.rows, found.rest, found.total.calls) == ([], None, 0)


def test_the_newest_call_that_succeeded_is_the_arrival() -> None:
    assert onboarding.latest_arrival(organization_id=ACME, now=NOW) is None
    failed = make_request_log(started_at=NOW - dt.timedelta(minutes=1), error_class="UpstreamTimeout", http_status=504)
    request_logs.load([failed])
    arrival = onboarding.latest_arrival(organization_id=ACME, now=NOW)
    assert arrival is not None
    assert arrival.error_class == "UpstreamTimeout"
    fine = make_request_log(started_at=NOW - dt.timedelta(minutes=5))
    request_logs.load([fine])
    arrival = onboarding.latest_arrival(organization_id=ACME, now=NOW)
    assert arrival is not None
    assert arrival.request_id == fine.request_id
    assert onboarding.latest_arrival(organization_id="org_other", now=NOW) is None
