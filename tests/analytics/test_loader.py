"""Segments land in the log store: untouched, once, and without the lines that do not fit."""

from __future__ import annotations

import json

import pytest

from analytics import loader, request_log
from analytics.clickhouse import client
from tests.factories.records import make_feedback, make_record, make_segment

pytestmark = [pytest.mark.clickhouse, pytest.mark.usefixtures("log_store")]


def refuse(_: bytes) -> bytes:
    raise ValueError("no content is expected")


def load(data: bytes) -> loader.LoadResult:
    return loader.load(data, open_content=refuse)


def count(table: str = "request_logs") -> int:
    return int(client.query(f"SELECT count() FROM {table} FINAL")[0][0])


def with_field(column: str, value: object) -> bytes:
    """Return a record's line with one element replaced by anything JSON can say."""
    elements = json.loads(request_log.encode(make_record()))
    elements[request_log.COLUMNS.index(column)] = value
    return json.dumps(elements).encode()


def test_a_record_reads_back_as_it_was_written() -> None:
    record = make_record(
        agent="support", tags={"team": "a", "größe": "ü\n\0"}, task_confidence=0.25, is_refusal=0, first_token_us=7
    )
    load(make_segment([record]))
    columns = ", ".join(request_log.COLUMNS)
    rows = client.query(f"SELECT {columns}, started_at FROM request_logs FINAL")
    assert request_log.RequestLog(**dict(zip(request_log.COLUMNS, rows[0], strict=False))) == record
    assert int(rows[0][-1].timestamp() * 1_000_000) == record.started_us


def test_the_same_segment_twice_is_the_same_as_once() -> None:
    data = make_segment([make_record(), make_record()], feedback=[make_feedback()])
    assert len(load(data).records) == 2
    assert len(load(data).records) == 2
    # Without FINAL: the token kept the second delivery out, not the merge.
    assert client.query("SELECT count() FROM request_logs") == [(2,)]
    assert client.query("SELECT count() FROM feedback") == [(1,)]


def test_a_record_in_two_segments_counts_once() -> None:
    record = make_record()
    load(make_segment([record]))
    load(make_segment([record, make_record()]))
    assert count() == 2


def test_a_settled_record_wins_over_an_interrupted_one_whichever_comes_last() -> None:
    settled = make_record()
    interrupted = make_record(request_id=settled.request_id, started_us=settled.started_us, state="interrupted")
    load(make_segment([settled]))
    load(make_segment([interrupted]))
    assert client.query("SELECT state FROM request_logs FINAL") == [("settled",)]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("http_status", 65536),
        ("input_tokens", -1),
        ("output_tokens", 2**32),
        ("provider_cost_nanousd", 2**63),
        ("started_us", 0),
        ("started_us", 2**62),
        ("is_stream", 2),
        ("latency_us", 1.5),
        ("model", None),
        ("tags", ["a"]),
        ("organization_id", "org_" + "x" * 40),
        ("organization_id", "org_\0"),
    ],
)
def test_a_line_that_does_not_fit_becomes_a_dead_letter_and_the_rest_lands(column: str, value: object) -> None:
    poison = with_field(column, value)
    result = load(make_segment([make_record(), poison, make_record()]))
    assert [(letter.kind, letter.position, letter.line) for letter in result.dead_letters] == [("R", 1, poison)]
    assert len(result.records) == count() == 2


@pytest.mark.parametrize("poison", [b"", b"{}", b"[1", b"\xff\xfe", b'["req_1"]', b"null"])
def test_a_line_that_is_no_record_becomes_a_dead_letter(poison: bytes) -> None:
    result = load(make_segment([make_record(), poison]))
    assert [letter.line for letter in result.dead_letters] == [poison]
    assert len(result.records) == count() == 1


def test_a_dead_letter_names_the_place_and_not_the_value() -> None:
    result = load(make_segment([with_field("http_status", 65_999)]))
    assert "$[17]" in result.dead_letters[0].reason
    assert "65999" not in result.dead_letters[0].reason


def test_lines_that_only_clickhouse_refuses_are_found_by_halving() -> None:
    # One element short: our reading fills in a default, ClickHouse insists on every column.
    short = [json.dumps(json.loads(request_log.encode(make_record()))[:-1]).encode() for _ in range(2)]
    good = [make_record() for _ in range(9)]
    data = make_segment([*good[:4], short[0], *good[4:7], short[1], *good[7:]])
    result = load(data)
    assert [letter.position for letter in result.dead_letters] == [4, 8]
    assert {record.request_id for record in result.records} == {record.request_id for record in good}
    load(data)
    # Without FINAL: the halves have tokens of their own.
    assert client.query("SELECT count() FROM request_logs") == [(9,)]


def test_an_id_that_stands_twice_in_a_segment_is_loaded_once() -> None:
    record = make_record()
    result = load(make_segment([record, record]))
    assert len(result.records) == count() == 1
    assert [letter.reason for letter in result.dead_letters] == ["its id stands twice in the segment"]


def test_a_segment_of_an_older_release_lacks_the_newest_columns() -> None:
    older = list(request_log.COLUMNS[:-2])
    line = json.dumps(json.loads(request_log.encode(make_record()))[:-2]).encode()
    result = load(make_segment([line], columns={"R": older}))
    assert result.dead_letters == []
    assert client.query("SELECT client_retry_count, credential_id FROM request_logs") == [(0, "")]
    assert count() == 1


def test_flags_may_be_written_as_true_and_false() -> None:
    result = load(make_segment([with_field("is_stream", True), with_field("is_truncated", False)]))
    assert result.dead_letters == []
    assert count() == 2


def test_the_last_verdict_under_an_idempotency_key_stands() -> None:
    first = make_feedback(idempotency_key="one", value=0.0)
    load(make_segment(feedback=[first]))
    load(make_segment(feedback=[make_feedback(idempotency_key="one", value=1.0)]))
    assert client.query("SELECT value FROM feedback FINAL") == [(1.0,)]


def test_calls_of_two_months_in_one_segment_land() -> None:
    result = load(make_segment([make_record(), make_record(started_us=make_record().started_us + 40 * 86_400_000_000)]))
    assert len(result.records) == count() == 2
