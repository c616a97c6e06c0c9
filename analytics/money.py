"""Amounts and measures as people read them: money, counts, durations, shares. No SQL, no templates.

Money comes as an integer number of nano-US-dollars and never becomes a float. Three forms:

- `usd` for tiles and tables, rounded half to even: two decimals from one dollar up, four from one cent up, six below
  ($1,204.18 · $0.0420 · $0.001330); an amount that would round to nothing is shown as <$0.000001, not as zero;
- `usd_exact` for receipts and titles: every digit there is, at least two decimals, six below one cent;
- `decimal` for CSV: the exact number without a sign for the currency.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

NANO = 1_000_000_000
_UNKNOWN = "—"
_POWERS = tuple(int("1" + "0" * places) for places in range(10))


def usd(nanousd: int | None) -> str:
    """Return an amount for reading at a glance; None (the price is not known) is a dash."""
    if nanousd is None:
        return _UNKNOWN
    magnitude = abs(nanousd)
    sign = "-" if nanousd < 0 else ""
    if magnitude == 0:
        return "$0.00"
    places = 2 if magnitude >= NANO else 4 if magnitude >= NANO // 100 else 6
    rounded = _round(magnitude, places)
    if rounded == 0:
        return f"{sign}<$0.000001"
    return f"{sign}${_fixed(rounded, places)}"


def usd_exact(nanousd: int | None, places: int | None = None) -> str:
    """Return an amount to its last digit; `places` gives it at least so many, so that a column lines up."""
    if nanousd is None:
        return _UNKNOWN
    least = places or (2 if nanousd == 0 or abs(nanousd) >= NANO // 100 else 6)
    whole, fraction = divmod(abs(nanousd), NANO)
    digits = f"{fraction:09d}".rstrip("0").ljust(least, "0")
    return f"{'-' if nanousd < 0 else ''}${whole:,}.{digits}"


def places(amounts: Iterable[int]) -> int:
    """Return how many decimals the most precise of the amounts has, at least six."""
    return max([6, *(len(f"{abs(amount) % NANO:09d}".rstrip("0")) for amount in amounts)])


def decimal(nanousd: int | None) -> str:
    """Return an amount as a plain decimal number of US dollars, exact; empty when it is not known."""
    if nanousd is None:
        return ""
    whole, fraction = divmod(abs(nanousd), NANO)
    return f"{'-' if nanousd < 0 else ''}{whole}.{fraction:09d}"


def count(number: int | None) -> str:
    """Return a whole number with separators."""
    return _UNKNOWN if number is None else f"{number:,}"


def compact(number: int | None) -> str:
    """Return a count in at most four characters and a unit: 982, 12.4K, 3.1M."""
    if number is None:
        return _UNKNOWN
    for limit, unit in ((1_000_000_000, "B"), (1_000_000, "M"), (10_000, "K")):
        if abs(number) >= limit:
            tenths = round(abs(number) / (1_000 if unit == "K" else limit) * 10)
            value = f"{tenths / 10:.1f}".removesuffix(".0") if tenths < 1000 else f"{round(tenths / 10):,}"
            return f"{'-' if number < 0 else ''}{value}{unit}"
    return f"{number:,}"


def duration(microseconds: int | float | None) -> str:
    """Return a time span: 420 µs, 38 ms, 2.41 s, 3 min 05 s."""
    if microseconds is None:
        return _UNKNOWN
    value = round(microseconds)
    if value < 1_000:
        return f"{value} µs"
    if value < 10_000:
        return f"{value / 1_000:.1f} ms"
    if value < 999_500:
        return f"{value / 1_000:.0f} ms"
    if value < 59_995_000:
        return f"{value / 1_000_000:.2f} s"
    minutes, seconds = divmod(round(value / 1_000_000), 60)
    return f"{minutes} min {seconds:02d} s"


def percent(part: int, whole: int, *, places: int = 1) -> str:
    """Return a share; a dash when there is no whole; never a flat 0 or 100 for what is not exactly that."""
    if whole == 0:
        return _UNKNOWN
    if part == 0 or part == whole:
        return "0%" if part == 0 else "100%"
    value = part / whole * 100
    least = 10.0**-places
    if value < least / 2:
        return f"<{least:.{places}f}%"
    return f"{value:.{places}f}%" if value < 100 - least / 2 else f"{value:.{places + 1}f}%"


def change(now: int | float | None, before: int | float | None) -> float | None:
    """Return the relative change, 0.1 for ten percent up; None where there is nothing to compare with."""
    if now is None or not before:
        return None
    return (now - before) / before


def signed_percent(ratio: float | None) -> str:
    """Return a change in words: +12.4%, a real minus sign in front of a fall, a factor beyond tenfold."""
    if ratio is None:
        return _UNKNOWN
    if ratio >= 9:
        return f"\u00d7{ratio + 1:.0f}"
    sign = "\u2212" if ratio < 0 else "+" if ratio > 0 else ""
    return f"{sign}{abs(ratio) * 100:.1f}%"


def points(difference: float) -> str:
    """Return the difference of two shares in percentage points: +0.12 pt."""
    sign = "\u2212" if difference < 0 else "+" if difference > 0 else ""
    return f"{sign}{abs(difference) * 100:.2f} pt"


def per_million(nanousd: int | None) -> str:
    """Return a unit price: what a million tokens cost."""
    return _UNKNOWN if nanousd is None else f"{usd_exact(nanousd)} / M"


def _round(nanousd: int, places: int) -> int:
    """Return the amount in units of 10**-places dollars, half to even."""
    unit = _POWERS[9 - places]
    whole, rest = divmod(nanousd, unit)
    if rest * 2 > unit or (rest * 2 == unit and whole & 1):
        return whole + 1
    return whole


def _fixed(units: int, places: int) -> str:
    whole, fraction = divmod(units, _POWERS[places])
    return f"{whole:,}.{fraction:0{places}d}"


FORMATS: dict[str, Callable[..., str]] = {
    "usd": usd,
    "usd_exact": usd_exact,
    "count": count,
    "compact": compact,
    "duration": duration,
    "per_million": per_million,
}
