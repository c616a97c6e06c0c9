"""A window of time as a page's URL says it, relative (`last7d`) or fixed, and its division into buckets. Pure.

Times are UTC. A window is half-open: it includes its start and excludes its end.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

DEFAULT = "last7d"
MAX_DAYS = 400

# preset, words, length
_RELATIVE: dict[str, tuple[str, dt.timedelta]] = {
    "last1h": ("Last hour", dt.timedelta(hours=1)),
    "last6h": ("Last 6 hours", dt.timedelta(hours=6)),
    "last24h": ("Last 24 hours", dt.timedelta(hours=24)),
    "last7d": ("Last 7 days", dt.timedelta(days=7)),
    "last30d": ("Last 30 days", dt.timedelta(days=30)),
    "last90d": ("Last 90 days", dt.timedelta(days=90)),
}
_CALENDAR = {
    "today": "Today",
    "yesterday": "Yesterday",
    "thismonth": "This month",
    "lastmonth": "Last month",
}
PRESETS: dict[str, str] = {**{preset: words for preset, (words, _) in _RELATIVE.items()}, **_CALENDAR}

_BUCKETS = (60, 300, 900, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 86400, 7 * 86400)
_MOST_BUCKETS = 60
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class InvalidRange(ValueError):
    """The window cannot be understood; the message says what to write instead."""


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A window of time. `preset` is empty for fixed dates; a link keeps the preset, so that it stays relative."""

    preset: str
    start_at: dt.datetime
    end_at: dt.datetime

    @property
    def words(self) -> str:
        """The window as a button says it."""
        if self.preset:
            return PRESETS[self.preset]
        return f"{_moment(self.start_at)} \u2013 {_moment(self.end_at)}"

    @property
    def phrase(self) -> str:
        """The window inside a sentence: in the last 7 days, yesterday."""
        if self.preset in _RELATIVE:
            return f"in the {self.words.lower()}"
        return self.words.lower() if self.preset else f"from {_moment(self.start_at)} to {_moment(self.end_at)}"

    @property
    def previous(self) -> TimeRange:
        """The window of the same length right before this one."""
        return TimeRange("", self.start_at - (self.end_at - self.start_at), self.start_at)

    @property
    def bucket_seconds(self) -> int:
        """The width of a bucket, so that a chart has at most some sixty of them."""
        seconds = (self.end_at - self.start_at).total_seconds()
        return next((width for width in _BUCKETS if seconds / width <= _MOST_BUCKETS), _BUCKETS[-1])

    def buckets(self) -> list[dt.datetime]:
        """Return the start of every bucket that the window touches; buckets are aligned to the Unix epoch."""
        width = self.bucket_seconds
        first = int(self.start_at.timestamp()) // width * width
        last = -(-self.end_at.timestamp() // width) * width
        return [dt.datetime.fromtimestamp(at, dt.UTC) for at in range(first, int(last), width)]


def relative(preset: str, *, now: dt.datetime) -> TimeRange:
    """Return the window that a preset names at `now`.

    Raises:
        InvalidRange: there is no such preset.
    """
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    month = midnight.replace(day=1)
    if preset in _RELATIVE:
        return TimeRange(preset, now - _RELATIVE[preset][1], now)
    if preset == "today":
        return TimeRange(preset, midnight, now)
    if preset == "yesterday":
        return TimeRange(preset, midnight - dt.timedelta(days=1), midnight)
    if preset == "thismonth":
        return TimeRange(preset, month, now)
    if preset == "lastmonth":
        return TimeRange(preset, (month - dt.timedelta(days=1)).replace(day=1), month)
    raise InvalidRange(f"There is no time range “{preset[:40]}”. Use one of: {', '.join(PRESETS)}; or from= and to=.")


def fixed(start: str, end: str, *, now: dt.datetime) -> TimeRange:
    """Return the window between two ISO dates or times (UTC without an offset).

    An end that is a date includes that day; without an end it is `now`.

    Raises:
        InvalidRange: a time cannot be read, the end is not after the start, or the window is too long.
    """
    if not start:
        raise InvalidRange("Say from when: from=2026-11-01, or from=2026-11-01T09:30.")
    start_at = _parse(start, "from")
    end_at = _parse(end, "to", is_end=True) if end else now
    if end_at <= start_at:
        raise InvalidRange("The range ends before it begins: “to” must be after “from”.")
    if end_at - start_at > dt.timedelta(days=MAX_DAYS):
        raise InvalidRange(f"The range is too long: choose at most {MAX_DAYS} days.")
    return TimeRange("", start_at, end_at)


def moment(microseconds: int) -> dt.datetime:
    """Return the moment that so many microseconds after the Unix epoch are."""
    return _EPOCH + dt.timedelta(microseconds=microseconds)


def iso(at: dt.datetime) -> str:
    """Return a moment as URLs carry it: no offset, and no seconds where there are none."""
    plain = at.astimezone(dt.UTC).replace(tzinfo=None)
    return plain.isoformat(timespec="auto" if plain.microsecond else "seconds" if plain.second else "minutes")


def _parse(text: str, name: str, *, is_end: bool = False) -> dt.datetime:
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise InvalidRange(
            f"“{name}” cannot be read. Write a date or time such as 2026-11-01 or 2026-11-01T09:30."
        ) from None
    moment = moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)
    if not 2000 <= moment.year <= 2200:
        raise InvalidRange(f"“{name}” is out of range: choose a year between 2000 and 2200.")
    is_date = len(text) <= 10
    return moment + dt.timedelta(days=1) if is_end and is_date else moment


def _moment(moment: dt.datetime) -> str:
    words = f"{moment.day} {moment:%b}"
    if (moment.hour, moment.minute, moment.second) != (0, 0, 0):
        words += f" {moment:%H:%M}"
    return words
