"""The roll-ups equal the calls, whatever the order, number and lateness of deliveries."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import call_command

from analytics import loader, models, rollups
from analytics.clickhouse import client, errors
from analytics.queries import rollups as rollup_queries
from analytics.request_log import RequestLog
from billing import ledger
from tests.factories.records import NOON_US, make_record, make_segment

pytestmark = [pytest.mark.clickhouse, pytest.mark.django_db, pytest.mark.usefixtures("log_store")]

NOON = datetime(2026, 11, 15, 12, tzinfo=UTC)

BY_ROLLUP = """
SELECT
    organization_id, hour_at, workspace_id, agent, model, state, error_class,
    calls, errors, input_tokens, cached_read_tokens, output_tokens, provider_cost_nanousd, billed_nanousd,
    baselined_calls, baseline_cost_nanousd, baselined_cost_nanousd, latency_us_sum, first_token_calls,
    truncated_of, truncated_true, json_valid_of, json_valid_true,
    finalizeAggregation(latency_us_quantiles)
FROM request_rollups FINAL
ORDER BY ALL
"""
BY_CALLS = """
SELECT
    organization_id, toDateTime64(toStartOfHour(started_at), 0, 'UTC'), workspace_id, agent, model, state, error_class,
    count(), countIf(error_class != '' OR state != 'settled'), sum(input_tokens), sum(cached_read_tokens),
    sum(output_tokens), sum(provider_cost_nanousd), sum(billed_nanousd),
    countIf(baseline_cost_nanousd IS NOT NULL), ifNull(sum(baseline_cost_nanousd), 0),
    sumIf(provider_cost_nanousd, baseline_cost_nanousd IS NOT NULL), sum(latency_us), count(first_token_us),
    count(is_truncated), ifNull(sum(is_truncated), 0), count(is_json_valid), ifNull(sum(is_json_valid), 0),
    quantilesDD(0.01, 0.5, 0.9, 0.95, 0.99)(latency_us)
FROM request_logs FINAL
GROUP BY 1, 2, 3, 4, 5, 6, 7
ORDER BY ALL
"""


class Clock:
    """A clock that runs a second a look, past every pause."""

    def __init__(self) -> None:
        self.at = datetime(2026, 11, 16, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.at += timedelta(milliseconds=1)
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


def deliver(records: list[RequestLog], segment_id: str = "") -> bytes:
    data = make_segment(records, segment_id=segment_id)
    deliver_again(data)
    return data


def deliver_again(data: bytes) -> None:
    result = loader.load(data, open_content=lambda envelope: envelope)
    ledger.post_segment(segment_id=result.segment_id, sha256="", records=result.records)


def refresh(clock: Clock) -> int:
    clock.at += timedelta(minutes=10)
    return rollups.refresh(now=clock)


def assert_exact() -> None:
    assert client.query(BY_ROLLUP) == client.query(BY_CALLS)


def test_the_sums_are_those_of_the_calls(clock: Clock) -> None:
    deliver(
        [
            make_record(is_truncated=1, is_json_valid=0, first_token_us=5, baseline_cost_nanousd=9_000_000),
            make_record(is_truncated=0, latency_us=3_000_000),
            make_record(error_class="UpstreamTimeout", agent="support"),
            make_record(state="interrupted"),
            make_record(started_us=NOON_US + ledger.HOUR_US),
            make_record(organization_id="org_other"),
        ]
    )
    assert refresh(clock) == 3
    assert_exact()
    assert models.StaleHour.objects.count() == 0


def test_a_segment_that_comes_again_changes_nothing(clock: Clock) -> None:
    data = deliver([make_record(), make_record()])
    refresh(clock)
    deliver_again(data)
    assert refresh(clock) == 0
    assert_exact()


def test_a_record_in_two_segments_counts_once(clock: Clock) -> None:
    record = make_record()
    deliver([record])
    refresh(clock)
    deliver([record])
    assert refresh(clock) == 1
    assert client.query("SELECT sum(calls) FROM request_rollups FINAL") == [(1,)]
    assert_exact()


def test_a_late_record_joins_its_hour(clock: Clock) -> None:
    deliver([make_record(started_us=NOON_US + 5 * ledger.HOUR_US), make_record()])
    refresh(clock)
    deliver([make_record()])
    assert refresh(clock) == 1
    assert client.query("SELECT calls FROM request_rollups FINAL ORDER BY hour_at") == [(2,), (1,)]
    assert_exact()


def test_a_record_that_leaves_its_row_leaves_no_row_behind(clock: Clock) -> None:
    interrupted = make_record(state="interrupted", model="")
    deliver([interrupted])
    refresh(clock)
    deliver([make_record(request_id=interrupted.request_id, started_us=interrupted.started_us)])
    refresh(clock)
    assert client.query("SELECT state, calls FROM request_rollups FINAL") == [("settled", 1)]
    assert_exact()


def test_a_crash_between_insert_and_mark_is_made_good(clock: Clock) -> None:
    data = make_segment([make_record()])
    loader.load(data, open_content=lambda envelope: envelope)
    assert refresh(clock) == 0
    deliver_again(data)
    assert refresh(clock) == 1
    assert_exact()


def test_a_crash_between_computing_and_unmarking_is_made_good(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    deliver([make_record()])

    def killed(_: list[int]) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(rollups, "_delete", killed)
        with pytest.raises(KeyboardInterrupt):
            refresh(clock)
    assert models.StaleHour.objects.count() == 1
    assert refresh(clock) == 1
    assert_exact()


def test_what_is_loaded_during_the_computation_stays_marked(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    deliver([make_record()])
    compute = rollup_queries.refresh

    def compute_and_load(**arguments: Any) -> None:
        compute(**arguments)
        deliver([make_record()])

    with monkeypatch.context() as patch:
        patch.setattr(rollup_queries, "refresh", compute_and_load)
        refresh(clock)
    assert models.StaleHour.objects.count() == 1
    refresh(clock)
    assert_exact()


def test_an_hour_that_fails_stays_marked(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    deliver([make_record()])

    def fail(**_: Any) -> None:
        raise errors.StoreUnavailable("no")

    with monkeypatch.context() as patch:
        patch.setattr(rollup_queries, "refresh", fail)
        with pytest.raises(errors.StoreUnavailable):
            refresh(clock)
    assert models.StaleHour.objects.count() == 1
    # It may still be running over there, so nobody computes before its limit has passed.
    assert rollups.refresh(now=clock) == 0
    assert refresh(clock) == 1
    assert_exact()


def test_two_runs_do_not_overlap(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    deliver([make_record()])
    inner: list[int] = []
    compute = rollup_queries.refresh

    def compute_twice(**arguments: Any) -> None:
        inner.append(rollups.refresh(now=clock))
        compute(**arguments)

    monkeypatch.setattr(rollup_queries, "refresh", compute_twice)
    assert refresh(clock) == 1
    assert inner == [0]


def test_any_history_of_deliveries_ends_with_exact_sums(clock: Clock) -> None:
    rng = random.Random(20261122)
    sent: list[bytes] = []
    records: list[RequestLog] = []
    for _ in range(40):
        action = rng.random()
        if action < 0.5 or not sent:
            fresh = [
                make_record(
                    organization_id=rng.choice(["org_a", "org_b"]),
                    started_us=NOON_US + rng.randrange(4) * ledger.HOUR_US + rng.randrange(10**9),
                    agent=rng.choice(["", "support"]),
                    state=rng.choice(["settled", "settled", "interrupted"]),
                    latency_us=rng.randrange(10**7),
                    is_truncated=rng.choice([None, 0, 1]),
                )
                for _ in range(rng.randint(1, 8))
            ]
            # some stand in an earlier segment too, some come again in another state
            again = rng.sample(records, min(len(records), rng.randrange(3)))
            records += fresh
            sent.append(deliver([*fresh, *again]))
        elif action < 0.75:
            deliver_again(rng.choice(sent))
        else:
            refresh(clock)
    refresh(clock)
    assert_exact()


def test_a_rebuild_makes_good_what_stands_wrong_in_the_rollup(clock: Clock) -> None:
    deliver([make_record(), make_record(started_us=NOON_US + 3 * ledger.HOUR_US)])
    refresh(clock)
    client.command("TRUNCATE TABLE request_rollups")
    marked = rollups.mark(start_at=NOON - timedelta(days=1), end_at=NOON + timedelta(days=1))
    assert marked == rollups.pending() == 2
    refresh(clock)
    assert_exact()


def test_a_rebuild_empties_an_hour_whose_calls_are_gone(clock: Clock) -> None:
    deliver([make_record()])
    refresh(clock)
    client.command("TRUNCATE TABLE request_logs")
    rollups.mark(start_at=NOON, end_at=NOON + timedelta(hours=1))
    refresh(clock)
    assert client.query("SELECT count() FROM request_rollups FINAL") == [(0,)]


def test_the_command_marks_the_last_days(capsys: pytest.CaptureFixture[str]) -> None:
    now_us = int(datetime.now(UTC).timestamp() * 1_000_000)
    deliver([make_record(started_us=now_us), make_record(started_us=now_us - 40 * ledger.DAY_US)])
    models.StaleHour.objects.all().delete()
    call_command("rebuild_rollups")
    assert "Marked 1 hours" in capsys.readouterr().out
    assert rollups.pending() == 1
