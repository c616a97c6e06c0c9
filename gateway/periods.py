"""Calendar periods in a time zone: the hour, day, week or month that a moment lies in, from local midnight. Pure.

An hour is an hour of the clock on the wall and lasts 3,600 seconds always; a day lasts 23 or 25 hours where the clocks
change, a week begins on Monday (ISO 8601), a month on its first. Moments are seconds since the Unix epoch.
"""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

HOUR, DAY, WEEK, MONTH, TOTAL = "hour", "day", "week", "month", "total"
PERIODS = (HOUR, DAY, WEEK, MONTH, TOTAL)
NEVER = 9e11  # the end of what does not end, in the year 30,489

_QUARTER_S = 900


@lru_cache(maxsize=256)
def zone(name: str) -> dt.tzinfo:
    """Return the time zone of an IANA name; UTC for one that this machine does not know."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return dt.UTC


def containing(at: float, period: str, time_zone: str) -> tuple[float, float]:
    """Return begin and end (exclusive) of the period that the moment lies in."""
    if period == TOTAL:
        return 0.0, NEVER
    where = zone(time_zone)
    local = dt.datetime.fromtimestamp(at, where)
    if period == HOUR:
        # Not by the calendar: the hour that the clocks repeat is two hours, and each of them has its own budget.
        start = at - (local.minute * 60 + local.second + local.microsecond / 1e6)
        return float(round(start)), float(round(start) + 3600)
    first = local.date()
    if period == WEEK:
        first -= dt.timedelta(days=first.weekday())
        last = first + dt.timedelta(days=7)
    elif period == MONTH:
        first = first.replace(day=1)
        last = (first + dt.timedelta(days=32)).replace(day=1)
    else:
        last = first + dt.timedelta(days=1)
    return _midnight(first, where), _midnight(last, where)


def _midnight(day: dt.date, where: dt.tzinfo) -> float:
    """Return the first moment of the day: where clocks go forward at midnight, that is not 0:00.

    Rounded to quarters of an hour, which the offsets of today's zones all are multiples of.
    """
    moment = dt.datetime.combine(day, dt.time.min, tzinfo=where).timestamp()
    if dt.datetime.fromtimestamp(moment, where).date() < day:  # the fold was resolved to the day before
        moment += 3600
    return float(round(moment / _QUARTER_S) * _QUARTER_S)
