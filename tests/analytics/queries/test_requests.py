"""Lists of calls against the real engine: order, paging, filters, tenancy, and records that were delivered twice."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

import pytest

from analytics import log_query, request_log
from analytics.events import RequestContent
from analytics.log_query import LogQuery
from analytics.queries import requests
from analytics.queries.requests import Cursor, InvalidCursor
from tests.factories import request_logs
from tests.factories.request_logs import Scope, make_request_log

pytestmark = [pytest.mark.clickhouse, pytest.mark.usefixtures("log_store")]

NOW = dt.datetime(2026, 11, 20, 18, 0, tzinfo=dt.UTC)
QUERY = log_query.default(now=NOW)
ACME, OTHER = "org_acme", "org_other"


def ids(query: LogQuery = QUERY, *, organization_id: str = ACME, **kwargs: Any) -> list[str]:
    found = requests.page(organization_id=organization_id, query=query, limit=kwargs.pop("limit", 100), **kwargs)
    return [row.request_id for row in found.rows]


def walked(query: LogQuery, *, block: int) -> list[str]:
    blocks = requests.walk(organization_id=ACME, query=query, limit=10_000, block=block)
    return [row.request_id for rows in blocks for row in rows]


@pytest.mark.parametrize("sort", log_query.SORTS)
def test_every_order_pages_through_all_calls_exactly_once(sort: str) -> None:
    records = request_logs.week(
        organization_id=ACME, scopes=[Scope("ws_1", "key_1")], now=NOW, calls=137, days=3, seed=3
    )
    same_moment = [make_request_log(started_at=NOW - dt.timedelta(hours=1)) for _ in range(20)]
    request_logs.load([*records, *same_moment])
    query = QUERY.changed(sort=sort)
    found = walked(query, block=10)
    assert len(found) == 157
    assert set(found) == {record.request_id for record in (*records, *same_moment)}
    assert found == ids(query, limit=1000)


def test_going_back_gives_the_same_page() -> None:
    request_logs.load([make_request_log(started_at=NOW - dt.timedelta(minutes=minute)) for minute in range(1, 11)])
    first = requests.page(organization_id=ACME, query=QUERY, limit=4)
    second = requests.page(organization_id=ACME, query=QUERY, limit=4, after=first.after)
    back = requests.page(organization_id=ACME, query=QUERY, limit=4, before=second.before)
    assert back.rows == first.rows
    assert first.before is None
    assert back.before is None
    last = requests.page(organization_id=ACME, query=QUERY, limit=4, after=second.after)
    assert (len(last.rows), last.after) == (2, None)


def test_a_record_delivered_twice_is_one_row_and_the_settled_one_wins() -> None:
    settled = make_request_log(started_at=NOW - dt.timedelta(hours=1))
    interrupted = make_request_log(
        request_id=settled.request_id,
        started_at=NOW - dt.timedelta(hours=1),
        state=request_log.INTERRUPTED,
        price_state=request_log.UNUSED,
    )
    request_logs.load([settled])
    request_logs.load([interrupted])
    request_logs.load([settled, make_request_log(started_at=NOW - dt.timedelta(hours=2))])
    rows = requests.page(organization_id=ACME, query=QUERY, limit=10).rows
    assert (rows[0].request_id, rows[0].state) == (settled.request_id, "settled")
    assert len(rows) == 2
    assert sum(bar.calls for bar in requests.histogram(organization_id=ACME, query=QUERY)) == 2


def test_nobody_sees_calls_of_another_organization() -> None:
    mine = make_request_log(started_at=NOW - dt.timedelta(hours=1))
    theirs = make_request_log(started_at=NOW - dt.timedelta(hours=1), organization_id=OTHER, agent="their-agent")
    content = RequestContent(
        organization_id=OTHER,
        workspace_id="ws",
        request_id=theirs.request_id,
        started_us=theirs.started_us,
        expires_us=log_query.microseconds(NOW) * 2,
        request='"secret"',
    )
    request_logs.load(
        [mine, theirs], feedback=[request_logs.make_feedback(theirs)], contents={theirs.request_id: content}
    )
    assert ids() == [mine.request_id]
    assert ids(QUERY.changed(request=theirs.request_id)) == []
    assert requests.find(organization_id=ACME, request_id=theirs.request_id, now=NOW) is None
    assert requests.verdicts(organization_id=ACME, record=theirs) == []
    assert requests.content(organization_id=ACME, record=theirs, now=NOW) is None
    assert requests.facets(organization_id=ACME, query=QUERY)["agent"] == [("", 1)]
    assert requests.find(organization_id=OTHER, request_id=theirs.request_id, now=NOW) == theirs
    assert len(requests.verdicts(organization_id=OTHER, record=theirs)) == 1


FILTERS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"mode": "test"}, {"is_test": 1}),
    ({"status": "error"}, {"error_class": "UpstreamTimeout", "http_status": 504}),
    ({"status": "interrupted"}, {"state": "interrupted"}),
    ({"status": "fallback"}, {"is_fallback": 1}),
    ({"error": "RateLimited"}, {"error_class": "RateLimited"}),
    ({"signal": "truncated"}, {"is_truncated": 1}),
    ({"signal": "refusal"}, {"is_refusal": 1}),
    ({"signal": "invalid_json"}, {"is_json_valid": 0}),
    ({"signal": "invalid_schema"}, {"is_schema_valid": 0}),
    ({"signal": "invalid_tool_call"}, {"is_tool_call_valid": 0}),
    ({"stream": "yes"}, {"is_stream": 1}),
    ({"workspace": "ws_2"}, {"workspace_id": "ws_2"}),
    ({"agent": "a"}, {"agent": "a"}),
    ({"feature": "f"}, {"feature": "f"}),
    ({"key": "key_2"}, {"api_key_id": "key_2"}),
    ({"model": "openai/gpt-5.4"}, {"model": "openai/gpt-5.4"}),
    ({"provider": "bedrock"}, {"provider": "bedrock"}),
    ({"task": "code"}, {"task_type": "code"}),
    ({"session": "s"}, {"session": "s"}),
    ({"run": "r"}, {"agent_run": "r"}),
    ({"user": "u"}, {"end_user": "u"}),
    ({"experiment": "exp_1"}, {"experiment_id": "exp_1"}),
    ({"arm": "treatment"}, {"experiment_arm": "treatment"}),
    ({"policy": "pol_1"}, {"policy_version": "pol_1"}),
    ({"min_cost_nanousd": 2_000_000}, {"output_tokens": 2_000}),
    ({"min_latency_ms": 5_000}, {"latency_us": 5_000_000}),
]


def test_every_filter_keeps_the_calls_that_it_names_and_no_others() -> None:
    at = NOW - dt.timedelta(hours=3)
    plain = make_request_log(started_at=at)
    odd = [make_request_log(started_at=at, **fields) for _, fields in FILTERS]
    request_logs.load([plain, *odd])
    for (changes, fields), record in zip(FILTERS, odd, strict=True):
        found = ids(QUERY.changed(**changes))
        assert record.request_id in found, changes
        assert plain.request_id not in found, changes
        alike = [
            other.request_id for other in odd if all(getattr(other, name) == value for name, value in fields.items())
        ]
        if not {"status", "min_cost_nanousd", "min_latency_ms"} & set(changes):
            assert sorted(found) == sorted(alike), changes
    assert ids(QUERY.changed(request=plain.request_id)) == [plain.request_id]
    assert plain.request_id in ids(QUERY.changed(agent=log_query.NONE, status="ok", stream="no", mode="live"))


def test_the_window_is_half_open() -> None:
    window = dataclasses.replace(QUERY.range, preset="", start_at=NOW - dt.timedelta(hours=1), end_at=NOW)
    at_start = make_request_log(started_at=window.start_at)
    at_end = make_request_log(started_at=window.end_at)
    request_logs.load([at_start, at_end])
    assert ids(QUERY.changed(range=window)) == [at_start.request_id]


def test_an_unknown_price_is_none_and_never_zero() -> None:
    request_logs.load([make_request_log(started_at=NOW - dt.timedelta(hours=1), price_state="unpriced")])
    (row,) = requests.page(organization_id=ACME, query=QUERY, limit=1).rows
    assert row.cost_nanousd is None


def test_content_is_gone_when_its_time_is_over() -> None:
    record = make_request_log(started_at=NOW - dt.timedelta(days=2))
    content = RequestContent(
        organization_id=ACME,
        workspace_id=record.workspace_id,
        request_id=record.request_id,
        started_us=record.started_us,
        expires_us=log_query.microseconds(NOW + dt.timedelta(days=3650)),
        request='{"messages": []}',
    )
    request_logs.load([record], contents={record.request_id: content})
    found = requests.content(organization_id=ACME, record=record, now=NOW)
    assert found is not None
    assert found.request == '{"messages": []}'
    assert requests.content(organization_id=ACME, record=record, now=NOW + dt.timedelta(days=3651)) is None


@pytest.mark.parametrize("text", ["", "x", "1.2", "a.b.c", f"{2**70}.1.req_x", "1.2." + "x" * 200])
def test_a_broken_cursor_is_refused(text: str) -> None:
    with pytest.raises(InvalidCursor):
        Cursor.decode(text)
