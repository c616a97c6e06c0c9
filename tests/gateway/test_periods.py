"""Budgets reset at local midnight, whatever the clocks do."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import periods


def at(text: str, zone: str) -> float:
    return dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def bounds(text: str, period: str, zone: str) -> list[str]:
    found = periods.containing(at(text, zone), period, zone)
    return [dt.datetime.fromtimestamp(moment, ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M") for moment in found]


@pytest.mark.parametrize(
    ("text", "period", "zone", "expected"),
    [
        ("2026-11-22 21:59", "hour", "Asia/Kathmandu", ["2026-11-22 21:00", "2026-11-22 22:00"]),
        ("2026-11-22 00:00", "day", "Europe/Berlin", ["2026-11-22 00:00", "2026-11-23 00:00"]),
        ("2026-11-22 23:59", "week", "America/New_York", ["2026-11-16 00:00", "2026-11-23 00:00"]),
        ("2026-12-31 12:00", "month", "Australia/Adelaide", ["2026-12-01 00:00", "2027-01-01 00:00"]),
        ("2028-02-29 12:00", "month", "UTC", ["2028-02-01 00:00", "2028-03-01 00:00"]),
        # in Beirut the clocks went from 0:00 to 1:00: that day begins at 1:00
        ("2022-03-27 12:00", "day", "Asia/Beirut", ["2022-03-27 01:00", "2022-03-28 00:00"]),
    ],
)
def test_a_period_begins_at_local_midnight(text: str, period: str, zone: str, expected: list[str]) -> None:
    assert bounds(text, period, zone) == expected


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-07-01", 24)])
def test_a_day_is_as_long_as_the_clocks_make_it(day: str, hours: int) -> None:
    start, end = periods.containing(at(f"{day} 12:00", "Europe/Berlin"), "day", "Europe/Berlin")
    assert end - start == hours * 3600


def test_each_of_the_two_hours_that_the_clocks_repeat_is_a_period() -> None:
    first = at("2026-10-25 02:30", "Europe/Berlin")  # summer time; the same words an hour later are winter time
    one = periods.containing(first, "hour", "Europe/Berlin")
    other = periods.containing(first + 3600, "hour", "Europe/Berlin")
    assert one[1] == other[0] == first + 1800


def test_a_total_never_ends_and_an_unknown_zone_is_utc() -> None:
    assert periods.containing(1.0, "total", "UTC") == (0.0, periods.NEVER)
    assert periods.containing(1.8e9, "day", "Mars/Olympus") == periods.containing(1.8e9, "day", "UTC")


@given(
    moment=st.integers(min_value=1_577_836_800, max_value=2_500_000_000),
    period=st.sampled_from(periods.PERIODS),
    zone=st.sampled_from(
        [
            "UTC",
            "Europe/Berlin",
            "America/New_York",
            "Australia/Lord_Howe",
            "Asia/Kathmandu",
            "Africa/Casablanca",
            "America/Santiago",
            "Pacific/Chatham",
            "Asia/Tehran",
            "Pacific/Apia",
        ]
    ),
)
def test_periods_cover_time_without_gap_or_overlap(moment: int, period: str, zone: str) -> None:
    start, end = periods.containing(moment, period, zone)
    assert start <= moment < end
    assert start % 900 == end % 900 == 0
    if period != "total":
        assert periods.containing(end, period, zone)[0] == end
        assert periods.containing(start - 1, period, zone)[1] == start
