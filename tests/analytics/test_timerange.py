from __future__ import annotations

import datetime as dt
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics import timerange
from analytics.timerange import InvalidRange, TimeRange

NOW = dt.datetime(2026, 11, 18, 15, 42, 7, tzinfo=dt.UTC)
UTC = dt.UTC


@pytest.mark.parametrize(
    ("preset", "start", "end"),
    [
        ("last1h", dt.datetime(2026, 11, 18, 14, 42, 7, tzinfo=UTC), NOW),
        ("last7d", dt.datetime(2026, 11, 11, 15, 42, 7, tzinfo=UTC), NOW),
        ("today", dt.datetime(2026, 11, 18, tzinfo=UTC), NOW),
        ("yesterday", dt.datetime(2026, 11, 17, tzinfo=UTC), dt.datetime(2026, 11, 18, tzinfo=UTC)),
        ("thismonth", dt.datetime(2026, 11, 1, tzinfo=UTC), NOW),
        ("lastmonth", dt.datetime(2026, 10, 1, tzinfo=UTC), dt.datetime(2026, 11, 1, tzinfo=UTC)),
    ],
)
def test_a_preset_follows_the_clock(preset: str, start: dt.datetime, end: dt.datetime) -> None:
    assert timerange.relative(preset, now=NOW) == TimeRange(preset, start, end)


def test_every_preset_can_be_asked_for() -> None:
    for preset, words in timerange.PRESETS.items():
        assert timerange.relative(preset, now=NOW).words == words


def test_an_end_that_is_a_date_includes_that_day() -> None:
    found = timerange.fixed("2026-11-01", "2026-11-02", now=NOW)
    assert (found.start_at, found.end_at) == (
        dt.datetime(2026, 11, 1, tzinfo=UTC),
        dt.datetime(2026, 11, 3, tzinfo=UTC),
    )


def test_an_offset_is_brought_to_utc() -> None:
    found = timerange.fixed("2026-11-01T09:30+02:00", "2026-11-01T12:00Z", now=NOW)
    assert found.start_at == dt.datetime(2026, 11, 1, 7, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        ("", "2026-11-02", "Say from when"),
        ("soon", "", "“from” cannot be read"),
        ("2026-11-02", "2026-11-01T00:00", "ends before it begins"),
        ("2020-01-01", "2026-01-01", "at most 400 days"),
        ("0001-01-01", "2026-01-01", "out of range"),
        ("2026-11-01", "9999-12-31", "out of range"),
    ],
)
def test_what_is_no_range_says_what_to_write(start: str, end: str, message: str) -> None:
    with pytest.raises(InvalidRange, match=message):
        timerange.fixed(start, end, now=NOW)


@pytest.mark.parametrize(
    ("window", "phrase"),
    [
        (timerange.relative("last7d", now=NOW), "in the last 7 days"),
        (timerange.relative("yesterday", now=NOW), "yesterday"),
        (TimeRange("", NOW - dt.timedelta(days=1), NOW), "from "),
    ],
)
def test_a_window_reads_inside_a_sentence(window: TimeRange, phrase: str) -> None:
    assert window.phrase.startswith(phrase)


def test_the_window_before_is_as_long_and_ends_where_this_one_starts() -> None:
    window = timerange.relative("last7d", now=NOW)
    assert window.previous.end_at == window.start_at
    assert window.previous.end_at - window.previous.start_at == dt.timedelta(days=7)


@given(
    start=st.integers(1_704_067_200_000_000, 1_800_000_000_000_000).map(timerange.moment),
    length=st.timedeltas(min_value=dt.timedelta(seconds=1), max_value=dt.timedelta(days=400)),
)
def test_buckets_cover_the_window_without_gaps(start: dt.datetime, length: dt.timedelta) -> None:
    window = TimeRange("", start, start + length)
    buckets = window.buckets()
    width = dt.timedelta(seconds=window.bucket_seconds)
    assert buckets[0] <= window.start_at < buckets[0] + width
    assert buckets[-1] < window.end_at <= buckets[-1] + width
    assert all(later - earlier == width for earlier, later in pairwise(buckets))
    assert len(buckets) <= 62
